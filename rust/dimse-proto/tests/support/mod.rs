//! What the tests of a whole connection share: PDUs byte by byte, one end with what its driver would keep, and a
//! way into each state by public inputs alone.
//!
//! The bytes are written here, not by the crate's encoder, so that both can be compared with the standard.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use bytes::{Bytes, BytesMut};
use dimse_proto::connection::output::{Indication, Output, PAbortOrigin};
use dimse_proto::connection::{Config, Connection, Role};
use dimse_proto::ul::State;
use dimse_proto::ul::associate::Associate;
use dimse_proto::ul::fsm::Event;
use dimse_proto::ul::negotiate::{AcceptorPolicy, Preference, SupportedContext, Verdict, answer};
use dimse_proto::ul::pdu::{Header, Pdu};
use dimse_proto::ul::reason::AssociateRj;
use dimse_proto::{LocalError, Uid};
use hex_literal::hex;

/// Golden vector V1: `ECHOSCU` asks `ANY-SCP` for Verification, context 1, Implicit VR Little Endian.
pub const RQ: &[u8] = &hex!(
    "01 00 000000b2 0001 0000"
    "414e592d534350202020202020202020 4543484f534355202020202020202020"
    "0000000000000000000000000000000000000000000000000000000000000000"
    "10 00 0015 312e322e3834302e31303030382e332e312e312e31"
    "20 00 002e 01 00 00 00"
    "30 00 0011 312e322e3834302e31303030382e312e31"
    "40 00 0011 312e322e3834302e31303030382e312e32"
    "50 00 001f 51 00 0004 00004000 52 00 0007 312e322e332e34 55 00 0008 44494d53455f5253"
);
/// V2: the answer to V1.
pub const AC: &[u8] = &hex!(
    "02 00 0000009d 0001 0000"
    "414e592d534350202020202020202020 4543484f534355202020202020202020"
    "0000000000000000000000000000000000000000000000000000000000000000"
    "10 00 0015 312e322e3834302e31303030382e332e312e312e31"
    "21 00 0019 01 00 00 00"
    "40 00 0011 312e322e3834302e31303030382e312e32"
    "50 00 001f 51 00 0004 00004000 52 00 0007 312e322e332e34 55 00 0008 44494d53455f5253"
);
/// V3: C-ECHO-RQ, message 1, on context 1.
pub const ECHO_RQ: &[u8] = &hex!(
    "04 00 0000004a 00000046 01 03"
    "0000 0000 04000000 38000000"
    "0000 0200 12000000 312e322e3834302e31303030382e312e3100"
    "0000 0001 02000000 3000"
    "0000 1001 02000000 0100"
    "0000 0008 02000000 0101"
);
/// V4: its answer.
pub const ECHO_RSP: &[u8] = &hex!(
    "04 00 00000054 00000050 01 03"
    "0000 0000 04000000 42000000"
    "0000 0200 12000000 312e322e3834302e31303030382e312e3100"
    "0000 0001 02000000 3080"
    "0000 2001 02000000 0100"
    "0000 0008 02000000 0101"
    "0000 0009 02000000 0000"
);
/// V5 and V6.
pub const RELEASE_RQ: &[u8] = &hex!("05 00 00000004 00000000");
pub const RELEASE_RP: &[u8] = &hex!("06 00 00000004 00000000");

pub const fn rj(result: u8, source: u8, reason: u8) -> [u8; 10] {
    [3, 0, 0, 0, 0, 4, 0, result, source, reason]
}

pub const fn abort(source: u8, reason: u8) -> [u8; 10] {
    [7, 0, 0, 0, 0, 4, 0, 0, source, reason]
}

pub fn pdu(pdu_type: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    [&[pdu_type, 0], &length[..], body].concat()
}

/// An item or sub-item of A-ASSOCIATE.
pub fn item(item_type: u8, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    [&[item_type, 0], &length[..], body].concat()
}

/// A presentation data value, for the body of [`pdu`] 04H.
pub fn pdv(context_id: u8, control: u8, fragment: impl AsRef<[u8]>) -> Vec<u8> {
    let fragment = fragment.as_ref();
    let length = u32::try_from(fragment.len() + 2).unwrap().to_be_bytes();
    [&length[..], &[context_id, control], fragment].concat()
}

/// A P-DATA-TF of one value.
pub fn p_data(context_id: u8, control: u8, fragment: impl AsRef<[u8]>) -> Vec<u8> {
    pdu(4, &pdv(context_id, control, fragment))
}

/// An element of a command set.
pub fn element(number: u16, value: impl AsRef<[u8]>) -> Vec<u8> {
    let value = value.as_ref();
    let length = u32::try_from(value.len()).unwrap().to_le_bytes();
    [&[0, 0], &number.to_le_bytes()[..], &length, value].concat()
}

pub const VERIFICATION: Uid = Uid::from_static("1.2.840.10008.1.1");
pub const CT: Uid = Uid::from_static("1.2.840.10008.5.1.4.1.1.2");
pub const IMPLICIT: Uid = Uid::from_static("1.2.840.10008.1.2");
pub const EXPLICIT: Uid = Uid::from_static("1.2.840.10008.1.2.1");

/// What makes the acceptor answer V1 with V2.
pub fn policy() -> AcceptorPolicy {
    let serves = |class| SupportedContext {
        abstract_syntax: class,
        transfer_syntaxes: vec![IMPLICIT, EXPLICIT],
        preference: Preference::Requestor,
        scu: true,
        scp: false,
    };
    AcceptorPolicy {
        max_length: 16384,
        implementation_class: Uid::from_static("1.2.3.4"),
        implementation_version: Bytes::from_static(b"DIMSE_RS"),
        ..AcceptorPolicy::new([serves(VERIFICATION), serves(CT)])
    }
}

pub fn config() -> Config {
    Config {
        max_length: 16384,
        ..Config::default()
    }
}

/// The request of these bytes, which are a whole A-ASSOCIATE-RQ.
pub fn request_of(wire: &[u8]) -> Associate {
    let (header, body) = wire.split_first_chunk().unwrap();
    match Pdu::decode(Header::read(header), Bytes::copy_from_slice(body)) {
        Ok(Pdu::AssociateRq(request)) => request,
        other => panic!("not a request: {other:?}"),
    }
}

/// One end of an association with what its driver would keep.
pub struct End {
    pub connection: Connection,
    /// Received and not yet taken.
    pub buffer: BytesMut,
    /// ARTIM runs.
    pub artim: bool,
    /// The transport connection is open, as far as this end knows.
    pub open: bool,
    /// All that was transmitted.
    pub sent: Vec<u8>,
    /// All that was indicated.
    pub told: Vec<Indication>,
    /// What A-ASSOCIATE indications are answered with; `None` leaves them unanswered.
    pub answers: Option<AcceptorPolicy>,
}

impl End {
    pub fn new(role: Role) -> Self {
        Self::with(role, config())
    }

    pub fn with(role: Role, config: Config) -> Self {
        Self {
            connection: match role {
                Role::Requestor => Connection::requestor(config),
                Role::Acceptor => Connection::acceptor(config),
            },
            buffer: BytesMut::new(),
            artim: false,
            open: false,
            sent: Vec::new(),
            told: Vec::new(),
            answers: None,
        }
    }

    pub fn state(&self) -> State {
        self.connection.state()
    }

    /// Carries out what the connection asks. The laws of every drain are checked here: ARTIM runs in Sta2 and
    /// Sta13 alone, nothing is transmitted without a transport connection.
    pub fn settle(&mut self) -> Vec<Output> {
        let mut outputs = Vec::new();
        while let Some(output) = self.connection.poll_output() {
            match &output {
                Output::Connect => assert!(!self.open, "connects twice"),
                Output::Transmit(bytes) => {
                    assert!(self.open, "transmits without a connection");
                    self.sent.extend_from_slice(bytes);
                }
                Output::Close => self.open = false,
                Output::StartArtim => self.artim = true,
                Output::StopArtim => self.artim = false,
                Output::Indicate(indication) => {
                    if let (Indication::AssociateRequested(request), Some(policy)) =
                        (indication, &self.answers)
                    {
                        match answer(request, policy) {
                            Verdict::Accept { answer, negotiated } => {
                                let _late = self.connection.accept(answer, *negotiated);
                            }
                            Verdict::Reject { rj, .. } => {
                                let _late = self.connection.reject(rj);
                            }
                        }
                    }
                    self.told.push(indication.clone());
                }
            }
            outputs.push(output);
        }
        let state = self.state();
        let waits = matches!(state, State::Sta2 | State::Sta13);
        assert_eq!(self.artim, waits, "ARTIM in {state}");
        outputs
    }

    /// Bytes arrive in one segment.
    pub fn feed(&mut self, bytes: &[u8]) -> Vec<Output> {
        self.buffer.extend_from_slice(bytes);
        self.connection.receive(&mut self.buffer);
        self.settle()
    }

    /// Bytes arrive in several segments.
    pub fn feed_in<'a>(&mut self, segments: impl IntoIterator<Item = &'a [u8]>) {
        for segment in segments {
            self.feed(segment);
        }
    }

    /// Makes a local request that is allowed.
    pub fn ask(&mut self, request: impl FnOnce(&mut Connection) -> Result<(), LocalError>) {
        request(&mut self.connection).unwrap();
        self.settle();
    }

    /// The driver reports what did not happen to this end.
    pub fn report(&mut self, event: impl FnOnce(&mut Connection)) -> Vec<Output> {
        event(&mut self.connection);
        self.settle()
    }

    /// The transport connection opens.
    pub fn connected(&mut self) -> Vec<Output> {
        self.open = true;
        self.connection.transport_connected();
        self.settle()
    }

    /// The transport connection closes.
    pub fn closed(&mut self) -> Vec<Output> {
        self.open = false;
        self.connection.transport_closed();
        self.settle()
    }

    /// ARTIM runs out.
    pub fn expired(&mut self) -> Vec<Output> {
        self.artim = false;
        self.connection.artim_expired();
        self.settle()
    }

    /// An end in this state, `None` where this role never gets. Sta13 comes after a release, so that no A-ABORT
    /// was sent.
    pub fn reach(role: Role, state: State) -> Option<Self> {
        Self::reach_with(role, state, config())
    }

    pub fn reach_with(role: Role, state: State, config: Config) -> Option<Self> {
        use State::*;
        let mut end = Self::with(role, config);
        let requestor = role == Role::Requestor;
        let established = |end: &mut Self| {
            if requestor {
                end.ask(|c| c.associate(request_of(RQ)));
                end.connected();
                end.feed(AC);
            } else {
                end.answers = Some(policy());
                end.connected();
                end.feed(RQ);
            }
        };
        match state {
            Sta1 => {}
            Sta2 | Sta3 | Sta10 | Sta12 if requestor => return None,
            Sta4 | Sta5 | Sta9 | Sta11 if !requestor => return None,
            Sta2 => {
                end.connected();
            }
            Sta3 => {
                end.connected();
                end.feed(RQ);
            }
            Sta4 => end.ask(|c| c.associate(request_of(RQ))),
            Sta5 => {
                end.ask(|c| c.associate(request_of(RQ)));
                end.connected();
            }
            _ => established(&mut end),
        }
        match state {
            Sta7 | Sta9 | Sta10 | Sta11 | Sta12 => end.ask(Connection::release),
            Sta8 | Sta13 => {
                end.feed(RELEASE_RQ);
            }
            _ => {}
        }
        if matches!(state, Sta9 | Sta10 | Sta11 | Sta12) {
            end.feed(RELEASE_RQ);
        }
        match state {
            Sta11 | Sta13 => end.ask(Connection::release_response),
            Sta12 => {
                end.feed(RELEASE_RP);
            }
            _ => {}
        }
        assert_eq!(end.state(), state);
        Some(end)
    }

    /// Makes the event happen by public inputs; `None` where this role cannot. A local primitive answers.
    pub fn cause(&mut self, event: Event) -> Option<Result<Vec<Output>, LocalError>> {
        use Event::*;
        let requestor = self.connection.role() == Role::Requestor;
        let connection = &mut self.connection;
        let done = match event {
            Evt1 | Evt2 if !requestor => return None,
            Evt5 if requestor => return None,
            Evt2 | Evt5 => return Some(Ok(self.connected())),
            Evt1 => connection.associate(request_of(RQ)),
            Evt7 => {
                let Verdict::Accept { answer, negotiated } = answer(&request_of(RQ), &policy())
                else {
                    panic!("V1 is acceptable")
                };
                connection.accept(answer, *negotiated)
            }
            Evt8 => connection.reject(AssociateRj::CALLED_AE),
            Evt9 => connection.send(Bytes::from_static(ECHO_RQ)),
            Evt11 => connection.release(),
            Evt14 => connection.release_response(),
            Evt15 => connection.abort(),
            Evt3 => return Some(Ok(self.feed(AC))),
            Evt4 => return Some(Ok(self.feed(&rj(1, 1, 1)))),
            Evt6 => return Some(Ok(self.feed(RQ))),
            Evt10 => return Some(Ok(self.feed(ECHO_RQ))),
            Evt12 => return Some(Ok(self.feed(RELEASE_RQ))),
            Evt13 => return Some(Ok(self.feed(RELEASE_RP))),
            Evt16 => return Some(Ok(self.feed(&abort(0, 0)))),
            Evt17 => return Some(Ok(self.closed())),
            Evt18 => return Some(Ok(self.expired())),
            Evt19 => return Some(Ok(self.feed(&pdu(0x0a, &[])))),
        };
        Some(done.map(|()| self.settle()))
    }
}

/// What an output is, in the words of Tables 9-6 to 9-9. `None` for what they do not know.
pub fn effect(output: &Output) -> Option<String> {
    Some(match output {
        Output::Connect => "connect".into(),
        Output::Close => "close".into(),
        Output::StartArtim => "start ARTIM".into(),
        Output::StopArtim => "stop ARTIM".into(),
        Output::Transmit(wire) => match wire[0] {
            1 => "send A-ASSOCIATE-RQ".into(),
            2 => "send A-ASSOCIATE-AC".into(),
            3 => "send A-ASSOCIATE-RJ".into(),
            4 => "send P-DATA-TF".into(),
            5 => "send A-RELEASE-RQ".into(),
            6 => "send A-RELEASE-RP".into(),
            7 => format!("send A-ABORT of source {}", wire[8]),
            other => panic!("transmits a PDU of type {other}"),
        },
        Output::Indicate(indication) => match indication {
            Indication::AssociateRequested(_) => "indicate A-ASSOCIATE".into(),
            Indication::AssociateAccepted(..) => "confirm A-ASSOCIATE (accept)".into(),
            Indication::AssociateRejected(_) => "confirm A-ASSOCIATE (reject)".into(),
            Indication::Command { .. } | Indication::Data { .. } => "indicate P-DATA".into(),
            Indication::ReleaseRequested => "indicate A-RELEASE".into(),
            Indication::ReleaseConfirmed => "confirm A-RELEASE".into(),
            Indication::Aborted(_) => "indicate A-ABORT".into(),
            Indication::PAborted { .. } => "indicate A-P-ABORT".into(),
            Indication::Violation(_) => return None,
        },
    })
}

pub fn p_abort(origin: PAbortOrigin, reason: u8) -> Indication {
    Indication::PAborted {
        origin,
        reason: dimse_proto::ul::reason::AbortReason(reason),
    }
}
