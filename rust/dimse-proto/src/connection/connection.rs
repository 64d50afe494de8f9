//! One end of an association: inputs in, outputs out (PS3.8 sections 7 and 9).
//!
//! The driver reports inputs (bytes arrive, the transport opens or closes, ARTIM expires, the local user makes a
//! request), and the [`Connection`] queues [`Output`]s. **After every input the driver polls
//! [`Connection::poll_output`] until it returns `None`**: an output left in the queue is a PDU not sent or a timer not
//! stopped. The run loop:
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
use super::trace::{Detail, Place, Seen, Step, Trace, TraceQueue};
use crate::ul::State;
use crate::ul::associate::Associate;
use crate::ul::data::{Pdv, max_fragment};
use crate::ul::fsm::{self, Event, Next};
use crate::ul::negotiate::{self, Negotiated};
use crate::ul::pdu::{Header, Pdu, PduLimits};
use crate::ul::reason::{Abort, AbortReason, AbortSource, AssociateRj};
use crate::{DecodeError, LocalError};

// How inputs, steps and outputs relate.
//
// Every input becomes one event of Table 9-10, with the PDU or parameters that come with the event (`Input`). `step`
// looks the cell up, `perform` (actions.rs) carries the action out, and only then the state changes. A step never waits
// and never calls the driver: it appends outputs, and returns. That is why one input can cause several outputs (AE-8
// sends a PDU and starts ARTIM), why one `receive` can cause several steps (one for each complete PDU in the buffer),
// and why the driver needs no lock and no callback.
//
// A connection cannot wake its driver. Whatever it does follows an input, so the driver has three reasons to wake up:
// bytes or the end of the transport connection, the timer that `StartArtim` asked for, and a request of the local user.
// All other deadlines (connect, ACSE, DIMSE, idle) belong to the driver: when one expires, the driver calls `abort`.
//
// A local request in a blank cell is the caller's mistake and comes back as `NotInState`. An observation (PDU,
// transport, timer) in a blank cell is late: the timer ran out while the PDU that stops it was in the buffer, say. It
// is ignored, because the state that it was about is gone.

/// Most bytes that are read and discarded in Sta13, where the peer is expected to close.
const DISCARD_LIMIT: usize = 1 << 20;

/// Capacity of the output queue that an idle connection keeps. One PDU can hold thousands of fragments, each an output,
/// and a server has thousands of idle connections.
const KEPT_OUTPUTS: usize = 32;

/// The limits of a connection. Memory is never reserved for a length that a peer announces.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Largest P-DATA-TF PDU-length that this end announces and accepts, in bytes; 0 announces no limit.
    pub max_length: u32,
    /// Largest A-ASSOCIATE-RQ or -AC body, in bytes.
    pub max_associate: u32,
    /// Limits of command sets and fragments.
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

/// The role of this end (PS3.8 7.1), which decides a release collision.
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
    /// The A-ASSOCIATE-RQ of a requestor, against which the answer is read.
    pub(super) request: Option<Associate>,
    pub(super) negotiated: Option<Negotiated>,
    pub(super) outputs: VecDeque<Output>,
    /// An A-ABORT was sent. AA-7 sends another for each further event; this end sends one (DEVIATION: a flood of
    /// PDUs must not cause a flood of answers).
    pub(super) abort_sent: bool,
    /// Bytes of a refused PDU, header included, that are still to be discarded.
    skip: usize,
    /// An invalid header arrived. Its length cannot be trusted, so the beginning of the next PDU is unknown: all
    /// further bytes are discarded.
    framing_lost: bool,
    /// Number of bytes discarded.
    discarded: usize,
    pub(super) traces: Option<Box<TraceQueue>>,
}

/// An event, with the PDU or parameters that come with it.
pub(super) enum Input {
    Associate(Associate),
    TransportConfirmed,
    TransportIndicated,
    Pdu(Pdu),
    Accepted(Associate, Negotiated),
    /// A PDU refused by its header: its body is not awaited.
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
    /// The end that requests an association.
    #[must_use]
    pub fn requestor(config: Config) -> Self {
        Self::new(Role::Requestor, config)
    }

    /// The end that accepts or rejects an association.
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
            framing_lost: false,
            discarded: 0,
            traces: None,
        }
    }

    /// An association begins (AE-1, AE-5). Of an earlier association only outputs and traces not yet polled stay.
    pub(super) fn begin(&mut self) {
        let outputs = core::mem::take(&mut self.outputs);
        let traces = self.traces.take();
        *self = Self {
            outputs,
            traces,
            ..Self::new(self.role, self.config)
        };
    }

    /// The state of the protocol machine.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// The role of this end.
    #[must_use]
    pub const fn role(&self) -> Role {
        self.role
    }

    /// The outcome of negotiation, once the association is accepted.
    #[must_use]
    pub const fn negotiated(&self) -> Option<&Negotiated> {
        self.negotiated.as_ref()
    }

    /// Largest fragment that the peer accepts, in bytes: even and at least 2. Zero before acceptance.
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

    /// The next output, in order; `None` when the driver may wait for the next input.
    pub fn poll_output(&mut self) -> Option<Output> {
        let output = self.outputs.pop_front();
        if output.is_none() {
            self.outputs.shrink_to(KEPT_OUTPUTS);
        } else if let Some(traces) = &mut self.traces {
            traces.output_polled();
        }
        output
    }

    /// A-ASSOCIATE request.
    ///
    /// # Errors
    /// `NotInState` unless the connection is idle; `InvalidValue` on an acceptor.
    pub fn associate(&mut self, request: Associate) -> Result<(), LocalError> {
        if self.role == Role::Acceptor {
            return Err(LocalError::invalid(
                "an acceptor does not ask for an association",
                "PS3.8 7.1",
            ));
        }
        self.step(Input::Associate(request))
    }

    /// The transport connection is open: confirmed on a requestor, indicated on an acceptor.
    pub fn transport_connected(&mut self) {
        let input = match self.role {
            Role::Requestor => Input::TransportConfirmed,
            Role::Acceptor => Input::TransportIndicated,
        };
        self.observe(input);
    }

    /// A-ASSOCIATE response, accepting. Both parameters come from [`negotiate::answer`].
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

    /// P-DATA request, of P-DATA-TF PDUs framed by [`crate::ul::data`] within [`Self::max_fragment`].
    ///
    /// # Errors
    /// `NotInState` unless the association is established, or the peer requested its release and waits for the answer
    /// (AR-7).
    pub fn send(&mut self, pdus: Bytes) -> Result<(), LocalError> {
        self.step(Input::Data(pdus))
    }

    /// Whether a P-DATA request is allowed now.
    ///
    /// # Errors
    /// `NotInState`, as [`Self::send`] would return.
    pub fn check_send(&self) -> Result<(), LocalError> {
        self.check(Event::Evt9).map(|_| ())
    }

    /// A-RELEASE request.
    ///
    /// # Errors
    /// `NotInState` unless the association is established.
    pub fn release(&mut self) -> Result<(), LocalError> {
        self.step(Input::Release)
    }

    /// A-RELEASE response.
    ///
    /// # Errors
    /// `NotInState` unless the peer requested a release and waits for the answer.
    pub fn release_response(&mut self) -> Result<(), LocalError> {
        self.step(Input::ReleaseResponse)
    }

    /// A-ABORT request.
    ///
    /// # Errors
    /// `NotInState` without an association to abort.
    pub fn abort(&mut self) -> Result<(), LocalError> {
        self.step(Input::Abort)
    }

    /// A fault in the peer's DIMSE messages, found by the layer above. It is indicated by
    /// [`Indication::Violation`] and answered by an A-ABORT of the service-user: the service-provider transfers
    /// messages and does not judge them (case D04). Without an association to abort the fault is late and ignored.
    pub fn dimse_violation(&mut self, error: DecodeError) {
        if self.check(Event::Evt15).is_ok() {
            self.indicate(Indication::Violation(error));
            self.observe(Input::Abort);
        }
    }

    /// A fault that counts as an invalid PDU, but that only the layer above can notice: a message whose fragments stop
    /// coming (case C22).
    pub fn provider_violation(&mut self, error: DecodeError, reason: AbortReason) {
        self.observe(Input::Invalid(error, reason));
    }

    /// The transport connection is closed. All bytes that arrived before must have been given to [`Self::receive`].
    pub fn transport_closed(&mut self) {
        self.observe(Input::TransportClosed);
    }

    /// The ARTIM timer ran out.
    pub fn artim_expired(&mut self) {
        self.observe(Input::ArtimExpired);
    }

    /// Takes the complete PDUs from the front of `buffer`. The bytes left are the beginning of the next PDU: the driver
    /// keeps them and appends to them.
    pub fn receive(&mut self, buffer: &mut BytesMut) {
        // A header is judged before its body is awaited, in this order: an abort ends the association whatever its
        // length; an impossible length or type is refused; a PDU that this state refuses is discarded as it arrives.
        // So a peer cannot make this end buffer what is going to be refused anyway, and what the buffer can grow to is
        // the limit of a PDU that is welcome in this state.
        let limits = PduLimits {
            associate: self.config.max_associate,
            p_data: self.config.max_length,
        };
        loop {
            if matches!(self.state, State::Sta1 | State::Sta4) {
                buffer.clear(); // bytes after the end of an association belong to no PDU
                return;
            }
            let unwanted = if self.framing_lost {
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
                // An abort of a wrong length is still an abort: it ends the association, and an answer to it could
                // be answered in turn (case C25).
                let abort = Pdu::Abort(Abort::provider(AbortReason::NOT_SPECIFIED));
                self.note_received(header, Some(&abort));
                self.observe(Input::Pdu(abort));
                continue;
            }
            if let Err(error) = header.check(&limits) {
                self.framing_lost = true;
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

    /// Discards bytes. ARTIM bounds how long a peer may go on sending; this bounds how much: past the limit the
    /// connection closes as if ARTIM had expired.
    fn discard(&mut self, buffer: &mut BytesMut, count: usize) {
        buffer.advance(count);
        self.skip = self.skip.saturating_sub(count);
        self.discarded = self.discarded.saturating_add(count);
        if self.discarded > DISCARD_LIMIT {
            self.observe(Input::ArtimExpired);
        }
    }

    /// The event of a PDU whose type is a fault, or is ignored, in the current state: its body is not needed.
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
        // AA-1, AA-7 and AA-8 abort and AA-6 ignores: none of the four looks into the PDU.
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
            // DEVIATION from the AR-2 cell: a release before the end of a message would lose the message, and
            // neither user would learn of the loss (case C16).
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

    /// Reads an A-ASSOCIATE-AC against the request. A fault in the answer makes the PDU an invalid one (Evt19).
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
        // Each fragment is indicated at once, without waiting for the end of its message: a data set of gigabytes
        // passes through in slices of the PDUs that brought it, and the user decides what to keep.
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

    /// A step for what the peer, the transport or the timer did. In a blank cell the event came late: ignored.
    fn observe(&mut self, input: Input) {
        let _stale = self.step(input);
    }

    fn step(&mut self, input: Input) -> Result<(), LocalError> {
        let event = input.event();
        let action = self.check(event)?;
        // The state changes at the end of the action, as in the standard. But a fragment can be a fault, found while
        // DT-2 runs: then AA-8 is a step inside this step, its next state (Sta13) is the right one, and DT-2's is not.
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
    /// Sets how much [`Self::poll_trace`] returns from now on. A new connection traces nothing.
    pub fn trace(&mut self, detail: Detail) {
        if detail == Detail::Off {
            self.traces = None;
        } else {
            self.traces.get_or_insert_default().data = detail == Detail::All;
        }
    }

    /// The next trace that comes before the next output. A driver may leave traces unpolled.
    pub fn poll_trace(&mut self) -> Option<Trace> {
        self.traces.as_mut()?.poll()
    }

    /// The place of the next trace; `None` when nothing is traced.
    pub(super) fn mark(&self) -> Option<Place> {
        Some(self.traces.as_ref()?.mark(self.outputs.len()))
    }

    pub(super) fn note(&mut self, at: Option<Place>, trace: impl FnOnce() -> Trace) {
        if let (Some(traces), Some(at)) = (&mut self.traces, at) {
            traces.note(at, trace());
        }
    }

    pub(super) fn note_sent(&mut self, pdus: &Bytes) {
        if let (Some(at), Some(traces)) = (self.mark(), &mut self.traces) {
            traces.note_sent(at, pdus);
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
