//! Events in any order, at one end of an association.

use std::sync::LazyLock;

use bytes::{Bytes, BytesMut};
use dimse_proto::connection::output::{Indication, Output, PAbortOrigin};
use dimse_proto::connection::{AssemblyLimits, Config, Connection, Role};
use dimse_proto::dimse::{CommandField, CommandSet};
use dimse_proto::ul::State;
use dimse_proto::ul::associate::Associate;
use dimse_proto::ul::data::frame;
use dimse_proto::ul::fsm::{self, Action, Event, Next};
use dimse_proto::ul::negotiate::{
    AcceptorPolicy, Negotiated, Preference, ProposedContext, Request, SupportedContext, Verdict,
    answer,
};
use dimse_proto::ul::pdu::Pdu;
use dimse_proto::ul::reason::{Abort, AbortReason, AssociateRj};
use dimse_proto::{AeTitle, DecodeError, LocalError, Uid};

/// Two bytes say which end and how it is set up; then each event is a byte, with what it needs behind it.
pub fn fsm_walk(data: &[u8]) {
    let Some((&[role, setup], data)) = data.split_first_chunk() else {
        return;
    };
    let config = Config {
        max_length: [16384, 64, 0, 200][usize::from(setup & 3)],
        max_associate: if setup & 4 == 0 { 1 << 20 } else { 300 },
        messages: AssemblyLimits {
            strict: setup & 8 != 0,
            ..AssemblyLimits::default()
        },
    };
    let role = if role & 1 == 0 {
        Role::Acceptor
    } else {
        Role::Requestor
    };
    let mut script = Script(data);
    // The same events twice, received bytes in one segment and in several.
    let segment = [31, 1, 7, 64][usize::from(setup >> 6)];
    let mut walk = Walk::new(role, config);
    let mut cut = Walk::new(role, config);
    let mut received = 0;
    while let Some(step) = script.step()
        && received < RECEIVED_AT_MOST
    {
        received += match &step {
            Step::Receive(bytes) => bytes.len(),
            _ => 40,
        };
        let outputs = walk.take(&step, usize::MAX);
        assert_eq!(
            cut.take(&step, segment),
            outputs,
            "segments matter: {step:?}"
        );
        assert_eq!(cut.buffer, walk.buffer);
        assert_eq!(cut.connection.state(), walk.connection.state());
    }
}

/// Where a walk ends, so that a long script cannot take seconds; an event that brings no bytes counts as 40.
const RECEIVED_AT_MOST: usize = 2000;

/// What the steps of a script are made of.
pub(super) struct Samples {
    pub(super) request: Associate,
    pub(super) answer: Associate,
    pub(super) negotiated: Negotiated,
    data: Bytes,
    pub(super) received: Vec<Bytes>,
}

pub(super) const CLASS: Uid = Uid::from_static("1.2.840.10008.1.1");
const SYNTAX: Uid = Uid::from_static("1.2.840.10008.1.2");

/// Two contexts of a class that [`policy`] knows, and one of another.
pub(super) fn proposal() -> Request {
    let title = AeTitle::from_wire(b"WALK");
    let proposed = ProposedContext::new(CLASS, vec![SYNTAX]);
    let other = ProposedContext::new(Uid::from_static("1.2.3"), vec![SYNTAX]);
    Request::new(title, title, vec![proposed.clone(), proposed, other])
}

pub(super) fn policy() -> AcceptorPolicy {
    AcceptorPolicy::new([SupportedContext {
        abstract_syntax: CLASS,
        transfer_syntaxes: vec![SYNTAX],
        preference: Preference::Requestor,
        scu: true,
        scp: false,
    }])
}

pub(super) static SAMPLES: LazyLock<Samples> = LazyLock::new(|| {
    let Ok(request) = proposal().build() else {
        panic!("a request that cannot be sent")
    };
    let Verdict::Accept { answer, negotiated } = answer(&request, &policy()) else {
        panic!("a request that is not accepted")
    };
    let message = |field, data: &[u8], max| {
        let mut out = BytesMut::new();
        if let Ok(mut command) = CommandSet::request(field, 1, &CLASS) {
            command.set_has_data_set(!data.is_empty());
            frame(&mut out, 1, true, &command.encode(), max);
            frame(&mut out, 1, false, data, max);
        }
        out.freeze()
    };
    let echo = message(CommandField::C_ECHO_RQ, b"", 16378);
    let store = message(CommandField::C_STORE_RQ, b"data in fragments", 6);
    let last = store.len() - 12 - 6 - 1;
    let mut old = request.clone();
    old.protocol_version = 2;
    let mut refusing = answer.clone();
    refusing.items.truncate(1);
    let rj = AssociateRj::CALLED_AE;
    let pdus = [
        Pdu::AssociateRq(request.clone()),
        Pdu::AssociateAc(answer.clone()),
        Pdu::AssociateRj(rj),
        Pdu::ReleaseRq,
        Pdu::ReleaseRp,
        Pdu::Abort(Abort::USER),
        Pdu::Abort(Abort::provider(AbortReason::UNEXPECTED_PDU)),
        Pdu::AssociateRq(old),
        Pdu::AssociateAc(refusing),
    ];
    let mut received: Vec<_> = pdus.iter().map(Pdu::encode).collect();
    received.extend([
        echo.clone(),
        store.slice(..last),
        store.slice(last..),
        store,
        Bytes::from_static(&[4, 0, 0, 0, 0, 8, 0, 0, 0, 4, 1, 0, b'x', b'y']),
        Bytes::from_static(&[0xff; 6]),
        Bytes::from_static(&[7, 0, 0, 0, 0, 9]),
    ]);
    Samples {
        request,
        answer,
        negotiated: *negotiated,
        data: echo,
        received,
    }
});

#[derive(Debug)]
enum Step {
    /// A request of the local user.
    Local(Event),
    TransportConnected,
    TransportClosed,
    ArtimExpired,
    DimseViolation,
    ProviderViolation,
    Receive(Vec<u8>),
}

struct Script<'a>(&'a [u8]);

impl Script<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(byte)
    }

    fn step(&mut self) -> Option<Step> {
        let received = &SAMPLES.received;
        Some(match self.byte()? {
            0 => Step::Local(Event::Evt1),
            1 => Step::Local(Event::Evt7),
            2 => Step::Local(Event::Evt8),
            3 => Step::Local(Event::Evt9),
            4 => Step::Local(Event::Evt11),
            5 => Step::Local(Event::Evt14),
            6 => Step::Local(Event::Evt15),
            7 => Step::TransportConnected,
            8 => Step::TransportClosed,
            9 => Step::ArtimExpired,
            10 => Step::DimseViolation,
            11 => Step::ProviderViolation,
            // So many raw bytes.
            12 => {
                let length = usize::from(self.byte()?).min(self.0.len());
                let (bytes, rest) = self.0.split_at(length);
                self.0 = rest;
                Step::Receive(bytes.to_vec())
            }
            // A sample up to a byte, and from one on.
            13 => {
                let sample = &received[usize::from(self.byte()?) % received.len()];
                Step::Receive(sample[..usize::from(self.byte()?).min(sample.len())].to_vec())
            }
            14 => {
                let sample = &received[usize::from(self.byte()?) % received.len()];
                Step::Receive(sample[usize::from(self.byte()?).min(sample.len())..].to_vec())
            }
            // A sample with a byte changed.
            15 => {
                let mut sample = received[usize::from(self.byte()?) % received.len()].to_vec();
                let at = usize::from(self.byte()?) % sample.len();
                sample[at] = self.byte()?;
                Step::Receive(sample)
            }
            // Several in one segment.
            16 => {
                let count = self.byte()? & 7;
                let mut bytes = vec![];
                for _ in 0..count {
                    bytes.extend_from_slice(&received[usize::from(self.byte()?) % received.len()]);
                }
                Step::Receive(bytes)
            }
            sample => Step::Receive(received[usize::from(sample) % received.len()].to_vec()),
        })
    }
}

/// One end, its driver's books, and what may still happen.
struct Walk {
    connection: Connection,
    buffer: BytesMut,
    open: bool,
    artim: bool,
    association: Association,
}

/// What was told and sent of the present association.
#[derive(Default)]
#[allow(clippy::struct_excessive_bools)] // each is a primitive that was told, or not
struct Association {
    /// The request was told to an acceptor, or the answer to a requestor.
    answered: bool,
    established: bool,
    in_data: Option<u8>,
    release_requested: bool,
    release_confirmed: bool,
    violated: bool,
    /// Nothing more is told.
    over: bool,
    aborts: usize,
    rejects: usize,
    releases_answered: usize,
}

impl Walk {
    fn new(role: Role, config: Config) -> Self {
        Self {
            connection: match role {
                Role::Requestor => Connection::requestor(config),
                Role::Acceptor => Connection::acceptor(config),
            },
            buffer: BytesMut::new(),
            open: false,
            artim: false,
            association: Association::default(),
        }
    }

    fn take(&mut self, step: &Step, segment: usize) -> Vec<Output> {
        let state = self.connection.state();
        match step {
            Step::Local(event) => return self.ask(*event),
            Step::TransportConnected => match (state, self.connection.role()) {
                (State::Sta1, Role::Acceptor) => {
                    self.association = Association::default();
                    self.happens(Event::Evt5, Connection::transport_connected);
                }
                (State::Sta4, _) => self.happens(Event::Evt2, Connection::transport_connected),
                _ => self.connection.transport_connected(),
            },
            Step::TransportClosed => self.happens(Event::Evt17, Connection::transport_closed),
            Step::ArtimExpired => self.happens(Event::Evt18, Connection::artim_expired),
            Step::ProviderViolation => self.happens(Event::Evt19, |c| {
                c.provider_violation(fault(), AbortReason::NOT_SPECIFIED);
            }),
            Step::DimseViolation => self.happens(Event::Evt15, |c| c.dimse_violation(fault())),
            Step::Receive(bytes) => {
                let mut outputs = vec![];
                for chunk in bytes.chunks(segment.min(bytes.len()).max(1)) {
                    self.buffer.extend_from_slice(chunk);
                    self.connection.receive(&mut self.buffer);
                    outputs.extend(self.settle());
                }
                if !self.open && !bytes.is_empty() {
                    assert!(self.buffer.is_empty(), "bytes outlive an association");
                }
                return outputs;
            }
        }
        self.settle()
    }

    /// An event that is ignored where Table 9-10 is blank.
    fn happens(&mut self, event: Event, cause: impl FnOnce(&mut Connection)) {
        let before = self.connection.state();
        match event {
            Event::Evt2 | Event::Evt5 => self.open = true,
            Event::Evt17 => {
                self.open = false;
                self.buffer.clear(); // it went with the socket
            }
            Event::Evt18 => self.artim &= !matches!(before, State::Sta2 | State::Sta13),
            _ => {}
        }
        cause(&mut self.connection);
        self.arrived(before, event);
    }

    /// A primitive that is refused where Table 9-10 is blank.
    fn ask(&mut self, event: Event) -> Vec<Output> {
        let before = self.connection.state();
        let connection = &mut self.connection;
        let samples = &*SAMPLES;
        let asked = match event {
            Event::Evt1 => connection.associate(samples.request.clone()),
            Event::Evt7 => connection.accept(samples.answer.clone(), samples.negotiated.clone()),
            Event::Evt8 => connection.reject(AssociateRj::LOCAL_LIMIT),
            Event::Evt9 => connection.send(samples.data.clone()),
            Event::Evt11 => connection.release(),
            Event::Evt14 => connection.release_response(),
            _ => connection.abort(),
        };
        let asks_wrongly = event == Event::Evt1 && connection.role() == Role::Acceptor;
        match asked {
            Ok(()) => {
                assert!(fsm::action(before, event).is_some() && !asks_wrongly);
                self.arrived(before, event);
            }
            Err(LocalError::NotInState { state, .. }) => {
                assert_eq!(fsm::action(before, event), None);
                assert_eq!((state, self.connection.state()), (before, before));
            }
            Err(error) => assert!(asks_wrongly, "{error}"),
        }
        match event {
            _ if asked_nothing(&self.connection, before, event) => {}
            Event::Evt1 => self.association = Association::default(),
            Event::Evt7 => self.association.established = true,
            // The user knows.
            Event::Evt8 | Event::Evt15 => self.association.over = true,
            Event::Evt14 => self.association.over = before != State::Sta9,
            _ => {}
        }
        self.settle()
    }

    /// The state is the one Table 9-10 leads to.
    fn arrived(&self, before: State, event: Event) {
        let state = self.connection.state();
        let expected = match fsm::action(before, event).map(Action::next) {
            None => before,
            Some(Next::To(next)) => next,
            Some(Next::Either(..)) => panic!("caused by no event but received bytes"),
        };
        assert_eq!(state, expected, "{event:?} in {before}");
    }

    /// Carries out the outputs; each must be allowed where it stands.
    fn settle(&mut self) -> Vec<Output> {
        let mut outputs = vec![];
        while let Some(output) = self.connection.poll_output() {
            match &output {
                Output::Connect => assert!(!self.open),
                Output::Close => self.open = false,
                Output::StartArtim => self.artim = true,
                Output::StopArtim => self.artim = false,
                Output::Transmit(bytes) => {
                    assert!(self.open, "transmits after Close");
                    self.association.transmits(bytes);
                }
                Output::Indicate(indication) => {
                    self.association.tells(indication, self.connection.role());
                }
            }
            outputs.push(output);
        }
        let state = self.connection.state();
        let waits = matches!(state, State::Sta2 | State::Sta13);
        assert_eq!(self.artim, waits, "ARTIM in {state}");
        assert_eq!(
            self.open,
            !matches!(state, State::Sta1 | State::Sta4),
            "{state}"
        );
        outputs
    }
}

/// Whether a request of the local user was refused.
fn asked_nothing(connection: &Connection, before: State, event: Event) -> bool {
    fsm::action(before, event).is_none()
        || (event == Event::Evt1 && connection.role() == Role::Acceptor)
}

fn fault() -> DecodeError {
    DecodeError::new("found-above", "found above", 0, "PS3.7")
}

impl Association {
    fn transmits(&mut self, bytes: &[u8]) {
        assert_eq!(self.aborts, 0, "transmits after A-ABORT");
        let ended = self.rejects > 0 || self.releases_answered > 0;
        match bytes.first() {
            Some(7) => self.aborts += 1,
            Some(3) => self.rejects += 1,
            // A second answer would be a second association's; the collision has one each way.
            Some(6) => self.releases_answered += 1,
            Some(1..=5) => assert!(!ended, "transmits after the end"),
            other => panic!("transmits {other:?}"),
        }
        assert!(self.rejects <= 1 && self.releases_answered <= 1);
    }

    fn tells(&mut self, indication: &Indication, role: Role) {
        assert!(!self.over, "tells after the end: {indication:?}");
        if self.violated {
            let origin = PAbortOrigin::Local;
            assert!(matches!(indication, Indication::PAborted { origin: o, .. } if *o == origin));
        }
        match indication {
            Indication::AssociateRequested(_) => {
                assert!(role == Role::Acceptor && !self.answered);
                self.answered = true;
            }
            Indication::AssociateAccepted(..) => {
                assert!(role == Role::Requestor && !self.answered);
                (self.answered, self.established) = (true, true);
            }
            Indication::AssociateRejected(_) => {
                assert!(role == Role::Requestor && !self.answered);
                self.over = true;
            }
            Indication::Command {
                context_id,
                command,
            } => {
                self.may_receive();
                assert_eq!(self.in_data, None, "a command inside a data set");
                self.in_data = command.has_data_set().then_some(*context_id);
            }
            Indication::Data {
                context_id,
                fragment,
                last,
            } => {
                self.may_receive();
                assert_eq!(self.in_data, Some(*context_id), "data without a command");
                assert!(*last || !fragment.is_empty());
                if *last {
                    self.in_data = None;
                }
            }
            Indication::ReleaseRequested => {
                self.may_receive();
                assert_eq!(self.in_data, None, "a release inside a message");
                self.release_requested = true;
            }
            Indication::ReleaseConfirmed => {
                assert!(self.established && !self.release_confirmed);
                self.release_confirmed = true;
            }
            Indication::Violation(_) => self.violated = true,
            Indication::Aborted(_) | Indication::PAborted { .. } => self.over = true,
        }
    }

    /// A peer that asked for release sends nothing more.
    fn may_receive(&self) {
        assert!(self.established && !self.release_requested && !self.release_confirmed);
    }
}
