//! One end of an association: inputs in, outputs out (PS3.8 sections 7 and 9).
//!
//! A [`Connection`] is told what happens (bytes arrive, the transport opens or closes, ARTIM expires, the local
//! user wants something) and queues [`Output`]s. **Every input must be followed by a complete drain of
//! [`Connection::poll_output`]**: an output left behind is a byte not sent or a timer not stopped. The run loop:
//!
//! ```
//! use bytes::BytesMut;
//! use dimse_proto::connection::{Config, Connection};
//! use dimse_proto::connection::output::Output;
//!
//! /// The driver's side: what a socket, a timer and a user are to a real one.
//! #[derive(Default)]
//! struct Driver { written: Vec<u8>, artim: bool, open: bool }
//!
//! fn drain(connection: &mut Connection, driver: &mut Driver) {
//!     while let Some(output) = connection.poll_output() {
//!         match output {
//!             Output::Connect => driver.open = true,
//!             Output::Transmit(bytes) => driver.written.extend_from_slice(&bytes),
//!             Output::Close => driver.open = false,
//!             Output::StartArtim => driver.artim = true,
//!             Output::StopArtim => driver.artim = false,
//!             Output::Indicate(indication) => println!("{indication:?}"),
//!         }
//!     }
//! }
//!
//! let mut connection = Connection::acceptor(Config::default());
//! let mut driver = Driver { open: true, ..Driver::default() };
//! let mut buffer = BytesMut::new();
//! connection.transport_connected();
//! drain(&mut connection, &mut driver);
//! assert!(driver.artim);
//! buffer.extend_from_slice(b"GET / HTTP/1.1\r\n"); // what a socket read would bring
//! connection.receive(&mut buffer);
//! drain(&mut connection, &mut driver);
//! assert_eq!(driver.written, [7, 0, 0, 0, 0, 4, 0, 0, 0, 0]); // A-ABORT
//! connection.artim_expired();
//! drain(&mut connection, &mut driver);
//! assert!(!driver.open);
//! ```

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::vec::Vec;

use bytes::{Buf, Bytes, BytesMut};

use super::assembler::{Assembler, AssemblyEvent, AssemblyLimits};
use super::output::{Indication, Output};
use super::trace::{Detail, Mark, Seen, Step, Tape, Trace};
use crate::ul::State;
use crate::ul::associate::Associate;
use crate::ul::data::{Pdv, max_fragment};
use crate::ul::fsm::{self, Event, Next};
use crate::ul::negotiate::{self, Negotiated};
use crate::ul::pdu::{Header, Pdu, PduLimits};
use crate::ul::reason::{Abort, AbortReason, AbortSource, AssociateRj};
use crate::{DecodeError, LocalError};

/// Most bytes read and thrown away while waiting for the peer to close (Sta13).
const DISCARD_LIMIT: usize = 1 << 20;

/// Room for outputs that an idle connection keeps. One PDU can hold thousands of fragments to tell of.
const KEPT_OUTPUTS: usize = 32;

/// What bounds a connection. Nothing a peer says is allocated for beyond these.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Largest P-DATA-TF PDU-length we announce and accept, in bytes; 0 announces no limit.
    pub max_length: u32,
    /// Largest A-ASSOCIATE-RQ or -AC body, in bytes.
    pub max_associate: u32,
    /// Command-set and strictness limits.
    pub messages: AssemblyLimits,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_length: 131_072,
            max_associate: 1 << 20,
            messages: AssemblyLimits::default(),
        }
    }
}

/// Which end this is (PS3.8 7.1); it decides a release collision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Association-requestor.
    Requestor,
    /// Association-acceptor.
    Acceptor,
}

/// One end of one association.
#[derive(Debug)]
pub struct Connection {
    pub(super) role: Role,
    pub(super) state: State,
    config: Config,
    pub(super) assembler: Assembler,
    /// What we proposed; a requestor reads the answer against it.
    pub(super) request: Option<Associate>,
    pub(super) negotiated: Option<Negotiated>,
    pub(super) outputs: VecDeque<Output>,
    /// AA-7 asks for an A-ABORT per event; one is enough (DEVIATION: a flood must not be answered in kind).
    pub(super) abort_sent: bool,
    /// Bytes of a refused PDU, header included, that are still to be thrown away.
    skip: usize,
    /// Framing is lost after a header that cannot be believed: everything else is thrown away.
    deaf: bool,
    discarded: usize,
    pub(super) tape: Option<Box<Tape>>,
}

/// An event with what it carries.
pub(super) enum Input {
    Associate(Associate),
    TransportConfirmed,
    TransportIndicated,
    Pdu(Pdu),
    Accepted(Associate, Negotiated),
    /// A PDU refused on its header alone: its body is not awaited.
    Refused(Event),
    Accept(Associate, Negotiated),
    Reject(AssociateRj),
    Data(Bytes),
    Release,
    ReleaseResponse,
    Abort,
    TransportClosed,
    ArtimExpired,
    Invalid(DecodeError, AbortReason),
}

impl Input {
    const fn event(&self) -> Event {
        match self {
            Self::Associate(_) => Event::Evt1,
            Self::TransportConfirmed => Event::Evt2,
            Self::Accepted(..) => Event::Evt3,
            Self::TransportIndicated => Event::Evt5,
            Self::Accept(..) => Event::Evt7,
            Self::Reject(_) => Event::Evt8,
            Self::Data(_) => Event::Evt9,
            Self::Release => Event::Evt11,
            Self::ReleaseResponse => Event::Evt14,
            Self::Abort => Event::Evt15,
            Self::TransportClosed => Event::Evt17,
            Self::ArtimExpired => Event::Evt18,
            Self::Invalid(..) => Event::Evt19,
            Self::Refused(event) => *event,
            Self::Pdu(pdu) => match pdu {
                Pdu::AssociateAc(_) => Event::Evt3,
                Pdu::AssociateRj(_) => Event::Evt4,
                Pdu::AssociateRq(_) => Event::Evt6,
                Pdu::PData(_) => Event::Evt10,
                Pdu::ReleaseRq => Event::Evt12,
                Pdu::ReleaseRp => Event::Evt13,
                Pdu::Abort(_) => Event::Evt16,
            },
        }
    }
}

impl Connection {
    /// The end that asks for an association.
    #[must_use]
    pub fn requestor(config: Config) -> Self {
        Self::new(Role::Requestor, config)
    }

    /// The end that is asked.
    #[must_use]
    pub fn acceptor(config: Config) -> Self {
        Self::new(Role::Acceptor, config)
    }

    fn new(role: Role, config: Config) -> Self {
        Self {
            role,
            state: State::Sta1,
            config,
            assembler: Assembler::new(config.messages),
            request: None,
            negotiated: None,
            outputs: VecDeque::new(),
            abort_sent: false,
            skip: 0,
            deaf: false,
            discarded: 0,
            tape: None,
        }
    }

    /// An association begins (AE-1, AE-5): nothing of an earlier one is left but what was not yet polled.
    pub(super) fn begin(&mut self) {
        let outputs = core::mem::take(&mut self.outputs);
        let tape = self.tape.take();
        *self = Self {
            outputs,
            tape,
            ..Self::new(self.role, self.config)
        };
    }

    /// Where the protocol machine stands.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// Which end this is.
    #[must_use]
    pub const fn role(&self) -> Role {
        self.role
    }

    /// What was agreed, from the moment of acceptance on.
    #[must_use]
    pub const fn negotiated(&self) -> Option<&Negotiated> {
        self.negotiated.as_ref()
    }

    /// Largest fragment the peer takes, in bytes: even, at least 2 (R-156). Zero before acceptance.
    #[must_use]
    pub fn max_fragment(&self) -> usize {
        self.negotiated
            .as_ref()
            .and_then(|negotiated| max_fragment(negotiated.peer_max_length))
            .unwrap_or(0)
    }

    /// Whether the peer is in the middle of sending a message.
    #[must_use]
    pub fn mid_message(&self) -> bool {
        self.assembler.mid_message()
    }

    /// The next thing to do, in order; `None` when the driver may wait.
    pub fn poll_output(&mut self) -> Option<Output> {
        let output = self.outputs.pop_front();
        if output.is_none() {
            self.outputs.shrink_to(KEPT_OUTPUTS);
        } else if let Some(tape) = &mut self.tape {
            tape.output_polled();
        }
        output
    }

    /// A-ASSOCIATE request.
    ///
    /// # Errors
    /// `NotInState` unless idle; `InvalidValue` from an acceptor.
    pub fn associate(&mut self, request: Associate) -> Result<(), LocalError> {
        if self.role == Role::Acceptor {
            return Err(LocalError::invalid(
                "an acceptor does not ask for an association",
                "PS3.8 7.1",
            ));
        }
        self.step(Input::Associate(request))
    }

    /// The transport connection is open: the confirmation of ours, or the indication of a peer's.
    pub fn transport_connected(&mut self) {
        let input = match self.role {
            Role::Requestor => Input::TransportConfirmed,
            Role::Acceptor => Input::TransportIndicated,
        };
        self.observe(input);
    }

    /// A-ASSOCIATE response, accepting: `answer` and what it means come from [`negotiate::answer`].
    ///
    /// # Errors
    /// `NotInState` unless a request is waiting for its answer.
    pub fn accept(&mut self, answer: Associate, negotiated: Negotiated) -> Result<(), LocalError> {
        self.step(Input::Accept(answer, negotiated))
    }

    /// A-ASSOCIATE response, rejecting.
    ///
    /// # Errors
    /// `NotInState` unless a request is waiting for its answer.
    pub fn reject(&mut self, rj: AssociateRj) -> Result<(), LocalError> {
        self.step(Input::Reject(rj))
    }

    /// P-DATA request: P-DATA-TF PDUs framed by [`crate::ul::data`] within [`Self::max_fragment`].
    ///
    /// # Errors
    /// `NotInState` unless established, or asked to release and not yet answered (AR-7).
    pub fn send(&mut self, pdus: Bytes) -> Result<(), LocalError> {
        self.step(Input::Data(pdus))
    }

    /// Whether a P-DATA request is allowed now.
    ///
    /// # Errors
    /// `NotInState`, as [`Self::send`] would say.
    pub fn check_send(&self) -> Result<(), LocalError> {
        self.check(Event::Evt9).map(|_| ())
    }

    /// A-RELEASE request.
    ///
    /// # Errors
    /// `NotInState` unless established.
    pub fn release(&mut self) -> Result<(), LocalError> {
        self.step(Input::Release)
    }

    /// A-RELEASE response.
    ///
    /// # Errors
    /// `NotInState` unless the peer's request waits for it.
    pub fn release_response(&mut self) -> Result<(), LocalError> {
        self.step(Input::ReleaseResponse)
    }

    /// A-ABORT request.
    ///
    /// # Errors
    /// `NotInState` when there is no association to abort.
    pub fn abort(&mut self) -> Result<(), LocalError> {
        self.step(Input::Abort)
    }

    /// A fault in what the peer's DIMSE user said, found above this layer: it is told by
    /// [`Indication::Violation`] and answered by an A-ABORT of the service-user (DIMSE faults are not the
    /// provider's, robustness case D04). Where there is no association to abort it is stale and ignored.
    pub fn dimse_violation(&mut self, error: DecodeError) {
        if self.check(Event::Evt15).is_ok() {
            self.indicate(Indication::Violation(error));
            self.observe(Input::Abort);
        }
    }

    /// A fault that PS3.8 calls an invalid PDU but that only the user can see (a stalled message, case C22).
    pub fn provider_violation(&mut self, error: DecodeError, reason: AbortReason) {
        self.observe(Input::Invalid(error, reason));
    }

    /// The transport connection closed, after everything it brought was given to [`Self::receive`].
    pub fn transport_closed(&mut self) {
        self.observe(Input::TransportClosed);
    }

    /// The ARTIM timer ran out.
    pub fn artim_expired(&mut self) {
        self.observe(Input::ArtimExpired);
    }

    /// Takes the complete PDUs off the front of `buffer`. What is left is the beginning of one that is to come;
    /// leave it there and append to it.
    pub fn receive(&mut self, buffer: &mut BytesMut) {
        let limits = PduLimits {
            associate: self.config.max_associate,
            p_data: self.config.max_length,
        };
        loop {
            if matches!(self.state, State::Sta1 | State::Sta4) {
                buffer.clear(); // bytes behind the end of an association mean nothing
                return;
            }
            let unwanted = if self.deaf {
                buffer.len()
            } else {
                self.skip.min(buffer.len())
            };
            if unwanted > 0 {
                self.discard(buffer, unwanted);
                continue;
            }
            let Some(header) = buffer.first_chunk().map(Header::read) else {
                return;
            };
            if header.pdu_type == 0x07 && header.length != 4 {
                // Whatever its length, it is an abort, it ends the association, and it is never answered (C25).
                let abort = Pdu::Abort(Abort::provider(AbortReason::NOT_SPECIFIED));
                self.note_received(header, Some(&abort));
                self.observe(Input::Pdu(abort));
                continue;
            }
            if let Err(error) = header.check(&limits) {
                self.deaf = true;
                self.note_received(header, None);
                let reason = AbortReason::of(&error);
                self.observe(Input::Invalid(error, reason));
                continue;
            }
            let length = header.length as usize;
            if let Some(event) = self.refused_on_header(header) {
                self.skip = length.saturating_add(Header::LENGTH);
                self.note_received(header, None);
                self.observe(Input::Refused(event));
                continue;
            }
            if buffer.len().saturating_sub(Header::LENGTH) < length {
                return;
            }
            buffer.advance(Header::LENGTH);
            let body = buffer.split_to(length).freeze();
            let decoded = Pdu::decode(header, body);
            self.note_received(header, decoded.as_ref().ok());
            match decoded {
                Ok(pdu) => self.receive_pdu(pdu),
                Err(error) => {
                    let reason = AbortReason::of(&error);
                    self.observe(Input::Invalid(error, reason));
                }
            }
        }
    }

    /// Throws bytes away, until there were too many of them: then it is over as if ARTIM had expired.
    fn discard(&mut self, buffer: &mut BytesMut, count: usize) {
        buffer.advance(count);
        self.skip = self.skip.saturating_sub(count);
        self.discarded = self.discarded.saturating_add(count);
        if self.discarded > DISCARD_LIMIT {
            self.observe(Input::ArtimExpired);
        }
    }

    /// The event of a PDU whose kind alone, in this state, is a fault or to be ignored.
    fn refused_on_header(&self, header: Header) -> Option<Event> {
        let event = match header.pdu_type {
            0x01 => Event::Evt6,
            0x02 => Event::Evt3,
            0x03 => Event::Evt4,
            0x04 => Event::Evt10,
            0x05 => Event::Evt12,
            0x06 => Event::Evt13,
            _ => return None,
        };
        let action = fsm::action(self.state, event)?;
        matches!(
            action,
            fsm::Action::AA1 | fsm::Action::AA6 | fsm::Action::AA7 | fsm::Action::AA8
        )
        .then_some(event)
    }

    fn receive_pdu(&mut self, pdu: Pdu) {
        let input = match (self.state, pdu) {
            (State::Sta5, Pdu::AssociateAc(answer)) => self.read_answer(answer),
            // DEVIATION from the AR-2 cell: a release in the middle of a message would lose the message
            // without a word (case C16).
            (_, Pdu::ReleaseRq) if self.assembler.mid_message() => Input::Invalid(
                DecodeError::new(
                    "release-mid-message",
                    "A-RELEASE-RQ before the last fragment of a message",
                    0,
                    "PS3.8 E.1",
                ),
                AbortReason::UNEXPECTED_PDU,
            ),
            (_, pdu) => Input::Pdu(pdu),
        };
        self.observe(input);
    }

    fn read_answer(&self, answer: Associate) -> Input {
        let outcome = self
            .request
            .as_ref()
            .ok_or_else(|| DecodeError::new("no-request", "no request to answer", 0, "PS3.8 7.1"))
            .and_then(|request| negotiate::outcome(request, &answer));
        match outcome {
            Ok(negotiated) => Input::Accepted(answer, negotiated),
            Err(error) => Input::Invalid(error, AbortReason::INVALID_PDU_PARAMETER),
        }
    }

    /// P-DATA indication (DT-2, AR-6): fragments become command sets and data.
    pub(super) fn receive_pdvs(&mut self, pdvs: Vec<Pdv>) {
        self.assembler.begin_pdu();
        for pdv in pdvs {
            let accepted = self
                .negotiated
                .as_ref()
                .and_then(|negotiated| negotiated.by_id(pdv.context_id))
                .is_some_and(negotiate::NegotiatedContext::is_accepted);
            if !accepted {
                let error = DecodeError::new(
                    "unknown-context",
                    format!("presentation context {} was not accepted", pdv.context_id),
                    0,
                    "PS3.8 9.3.5.1",
                );
                return self.observe(Input::Invalid(error, AbortReason::INVALID_PDU_PARAMETER));
            }
            match self.assembler.feed(pdv) {
                Ok(None) => {}
                Ok(Some(AssemblyEvent::Command {
                    context_id,
                    command,
                })) => self.indicate(Indication::Command {
                    context_id,
                    command,
                }),
                Ok(Some(AssemblyEvent::Data {
                    context_id,
                    fragment,
                    last,
                })) => self.indicate(Indication::Data {
                    context_id,
                    fragment,
                    last,
                }),
                Err(fault) if fault.abort.source == AbortSource::SERVICE_USER => {
                    return self.dimse_violation(fault.cause);
                }
                Err(fault) => {
                    return self.observe(Input::Invalid(fault.cause, fault.abort.reason));
                }
            }
        }
    }

    fn check(&self, event: Event) -> Result<fsm::Action, LocalError> {
        fsm::action(self.state, event).ok_or_else(|| LocalError::NotInState {
            primitive: event.primitive().unwrap_or("event"),
            state: self.state,
        })
    }

    /// What the peer, the transport or a timer does: a blank cell is a stale event and ignored.
    fn observe(&mut self, input: Input) {
        let _stale = self.step(input);
    }

    fn step(&mut self, input: Input) -> Result<(), LocalError> {
        let event = input.event();
        let action = self.check(event)?;
        // A state is left when the standard says so: at the end of the action. But what P-DATA brings can
        // itself be a fault (AA-8 inside DT-2), and then that action has the last word.
        let before = self.state;
        let at = self.mark();
        let first = self.perform(action, input);
        let next = match action.next() {
            Next::Either(state, _) if first => state,
            Next::To(state) | Next::Either(_, state) => state,
        };
        if self.state == before {
            self.state = next;
        }
        self.note(at, || {
            Trace::Step(Step {
                from: before,
                event,
                action,
                to: next,
            })
        });
        Ok(())
    }
}

impl Connection {
    /// Says how much is to be told by [`Self::poll_trace`] from now on; at first nothing.
    pub fn trace(&mut self, detail: Detail) {
        if detail == Detail::Off {
            self.tape = None;
        } else {
            self.tape.get_or_insert_default().data = detail == Detail::All;
        }
    }

    /// What went by before the next output. No output depends on it: it may be left behind.
    pub fn poll_trace(&mut self) -> Option<Trace> {
        self.tape.as_mut()?.poll()
    }

    /// Where the next trace goes; `None` when nobody looks on.
    pub(super) fn mark(&self) -> Option<Mark> {
        Some(self.tape.as_ref()?.mark(self.outputs.len()))
    }

    pub(super) fn note(&mut self, at: Option<Mark>, trace: impl FnOnce() -> Trace) {
        if let (Some(tape), Some(at)) = (&mut self.tape, at) {
            tape.note(at, trace());
        }
    }

    pub(super) fn note_sent(&mut self, pdus: &Bytes) {
        if let (Some(at), Some(tape)) = (self.mark(), &mut self.tape) {
            tape.note_sent(at, pdus);
        }
    }

    pub(super) fn note_received(&mut self, header: Header, pdu: Option<&Pdu>) {
        self.note(self.mark(), || {
            Trace::Received(Seen {
                header,
                pdu: pdu.filter(|pdu| !matches!(pdu, Pdu::PData(_))).cloned(),
            })
        });
    }
}
