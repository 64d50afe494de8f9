//! The driver against scripted peers on a stream in memory, in virtual time: every deadline is exact.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::panic
)]

mod acceptor;
mod admission;
mod counting;
mod events;
mod requestor;
mod responses;
mod timers;
mod window;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use dimse_proto::connection::Connection;
use dimse_proto::dimse::{CommandField, CommandSet, Status};
use dimse_proto::ul::associate::Associate;
use dimse_proto::ul::data::frame;
use dimse_proto::ul::negotiate::{
    self, AcceptorPolicy, ProposedContext, Request, SupportedContext, Verdict,
};
use dimse_proto::ul::pdu::Pdu;
use dimse_proto::{AeTitle, Uid};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use super::open::prepare;
use super::{BUDGET_WAIT, COOLING, OWED_LIMIT, READ_SMALLEST};
use crate::admission::gate::{Admission, Judgement};
use crate::admission::request::AdmissionRequest;
use crate::association::handle::Association;
use crate::association::invocation::Invocation;
use crate::deadline::Timeouts;
use crate::error::{Deadline, Error};
use crate::events::hub::Events;
use crate::facts::AssociationId;
use crate::limits::{Budget, Limits};
use crate::metrics::Metrics;
use crate::queue::{Queue, Sender};
use crate::service::{Operation, Service};
use crate::settings::Settings;
use crate::terms::{Classes, Rejection, Terms};
use crate::transport::stream::{Io, LEAST_BUFFER, Stream};

const VERIFICATION: Uid = Uid::from_static("1.2.840.10008.1.1");
const STORAGE: Uid = Uid::from_static("1.2.840.10008.5.1.4.1.1.7");
const IMPLICIT: Uid = Uid::from_static("1.2.840.10008.1.2");

const ABORT: u8 = 7;
const RELEASE_RQ: [u8; 10] = [5, 0, 0, 0, 0, 4, 0, 0, 0, 0];
const RELEASE_RP: [u8; 10] = [6, 0, 0, 0, 0, 4, 0, 0, 0, 0];

/// Longer than any deadline that a test is about: whatever ends earlier ended by itself.
const FOR_EVER: Duration = Duration::from_secs(100_000);

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// No deadline but those that a test sets.
fn no_timeouts() -> Timeouts {
    Timeouts {
        artim: None,
        connect: None,
        tls: None,
        acse: None,
        release: None,
        write: None,
        idle: None,
        dimse: None,
        store: None,
        retrieve: None,
        progress: None,
    }
}

/// Lets everybody in, or asks first, and counts who left.
#[derive(Debug)]
struct Open {
    policy: AcceptorPolicy,
    admission_requests: Option<Sender<AdmissionRequest>>,
    gone: AtomicUsize,
}

impl Admission for Open {
    fn judge(
        &self,
        request: &Associate,
        _association: AssociationId,
        terms: Option<&Terms>,
    ) -> Judgement {
        let policy = terms.map_or_else(|| self.policy.clone(), |terms| terms.apply(&self.policy));
        match negotiate::answer(request, &policy) {
            Verdict::Accept { answer, negotiated } => match (&self.admission_requests, terms) {
                (Some(admission_requests), None) => Judgement::Ask(admission_requests.clone()),
                _ => Judgement::Accept(Box::new(answer), negotiated),
            },
            Verdict::Reject { rj, code, detail } => {
                Judgement::Reject(Rejection { rj, code, detail })
            }
        }
    }

    fn over(&self, _association: AssociationId) {
        self.gone.fetch_add(1, Ordering::Relaxed);
    }
}

/// A driver under test and what surrounds it.
struct Rig {
    peer: Peer,
    association: Association,
    driver: JoinHandle<()>,
    operations: Queue<Operation>,
    budget: Budget,
    opened: Option<oneshot::Receiver<Result<(), Error>>>,
}

/// What a test wants to be different.
struct Setup {
    timeouts: Timeouts,
    limits: Limits,
    budget: usize,
    /// Bytes that the stream holds in each direction.
    pipe: usize,
    /// C-STORE and C-ECHO go to the user.
    handled: bool,
    window: u16,
    /// Where the user is asked about proposals.
    admission_requests: Option<Sender<AdmissionRequest>>,
    /// Where it is counted.
    metrics: Option<Arc<Metrics>>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            timeouts: no_timeouts(),
            limits: Limits::default(),
            budget: 256 << 20,
            pipe: 1 << 16,
            handled: false,
            window: 1,
            admission_requests: None,
            metrics: None,
        }
    }
}

impl Setup {
    fn timeouts(set: impl FnOnce(&mut Timeouts)) -> Self {
        let mut setup = Self::default();
        set(&mut setup.timeouts);
        setup
    }

    fn settings(&self) -> (Settings, Queue<Operation>) {
        let (sender, operations) = Queue::new(usize::MAX);
        let handled = if self.handled {
            HashMap::from([
                (CommandField::C_STORE_RQ, Classes::All),
                (CommandField::C_ECHO_RQ, Classes::All),
            ])
        } else {
            HashMap::new()
        };
        let service = Service {
            echo: true,
            handled,
            operations: Some(sender),
            ..Service::default()
        };
        let settings = Settings {
            timeouts: self.timeouts,
            limits: self.limits,
            budget: Budget::new(self.budget),
            service: Arc::new(service),
            events: Events::default(),
            tls: None,
            metrics: self.metrics.clone(),
        };
        (settings, operations)
    }

    fn acceptor(self) -> Rig {
        let (settings, operations) = self.settings();
        let (ours, theirs) = tokio::io::duplex(self.pipe);
        let budget = settings.budget.clone();
        let connection = Connection::acceptor(settings.connection());
        let (association, driver) = prepare(connection, settings);
        let mut policy =
            AcceptorPolicy::new([VERIFICATION, STORAGE].map(|class| SupportedContext {
                abstract_syntax: class,
                transfer_syntaxes: Vec::new(),
                preference: negotiate::Preference::Requestor,
                scu: true,
                scp: false,
            }));
        policy.max_ops_performed = self.window;
        let admission = Arc::new(Open {
            policy,
            admission_requests: self.admission_requests,
            gone: AtomicUsize::new(0),
        });
        let driver = tokio::spawn(driver.run_acceptor(Stream::layered(ours), admission));
        Rig {
            peer: Peer { io: theirs },
            association,
            driver,
            operations,
            budget,
            opened: None,
        }
    }

    /// A requestor whose connection is open and whose proposal is on its way.
    fn requestor(self) -> Rig {
        let (ours, theirs) = tokio::io::duplex(self.pipe);
        let mut rig = self.requestor_on(ours);
        rig.peer = Peer { io: theirs };
        rig
    }

    /// The same on a stream that plays the peer itself.
    fn requestor_on(self, stream: impl Io + 'static) -> Rig {
        let (settings, operations) = self.settings();
        let budget = settings.budget.clone();
        let connection = Connection::requestor(settings.connection());
        let (association, mut driver) = prepare(connection, settings);
        let (opened, outcome) = oneshot::channel();
        driver.propose(proposal(self.window), opened).unwrap();
        driver.connected();
        let driver = tokio::spawn(driver.run(Some(Stream::layered(stream))));
        Rig {
            peer: Peer {
                io: tokio::io::duplex(1).0,
            },
            association,
            driver,
            operations,
            budget,
            opened: Some(outcome),
        }
    }

    /// An acceptor with an association.
    async fn accepted(self) -> Rig {
        let window = self.window;
        let mut rig = self.acceptor();
        rig.peer
            .send(&Pdu::AssociateRq(proposal(window)).encode())
            .await;
        assert_eq!(rig.peer.pdu().await.0, 2);
        rig
    }

    /// A requestor with an association.
    async fn established(self) -> Rig {
        let mut rig = self.requestor();
        let (kind, rq) = rig.peer.pdu().await;
        assert_eq!(kind, 1);
        rig.peer.send(&answer_to(&rq)).await;
        sometime(rig.opened.take().unwrap()).await.unwrap().unwrap();
        rig
    }
}

impl Rig {
    /// The user answers the oldest request.
    fn answer_one(&self, status: u16) {
        let operation = self.operations.try_next().expect("a request was handed on");
        let response = answer(&operation.command, status);
        self.association
            .send(operation.context_id, response, None)
            .unwrap();
    }

    /// Asks, on the context for storage if there is a data set.
    fn invoke(&self, request: &CommandSet, data: Option<Bytes>, within: Option<u64>) -> Invocation {
        let context_id = if data.is_some() { 3 } else { 1 };
        self.association
            .invoke(context_id, request.clone(), data, within.map(seconds))
            .unwrap()
    }

    fn release(&self) -> JoinHandle<Result<(), Error>> {
        let association = self.association.clone();
        tokio::spawn(async move { association.release().await })
    }

    /// Waits for the socket to be closed and the driver to be gone.
    async fn over(&mut self) -> Error {
        sometime(&mut self.driver).await.unwrap();
        self.association.ended().expect("it said why")
    }
}

async fn failure(invocation: &mut Invocation) -> Error {
    sometime(invocation.next()).await.unwrap().unwrap_err()
}

fn proposal(window: u16) -> Associate {
    let contexts = [VERIFICATION, STORAGE]
        .map(|class| ProposedContext::new(class, vec![IMPLICIT]))
        .to_vec();
    let title = |text| AeTitle::new(text).unwrap();
    let mut request = Request::new(title("SCU"), title("SCP"), contexts);
    request.max_ops_invoked = window;
    request.build().unwrap()
}

/// An A-ASSOCIATE-AC to the body of an A-ASSOCIATE-RQ.
fn answer_to(rq: &[u8]) -> Bytes {
    let header = dimse_proto::ul::pdu::Header {
        pdu_type: 1,
        length: rq.len() as u32,
    };
    let Ok(Pdu::AssociateRq(request)) = Pdu::decode(header, Bytes::copy_from_slice(rq)) else {
        panic!("no A-ASSOCIATE-RQ");
    };
    let mut policy = AcceptorPolicy::new([VERIFICATION, STORAGE].map(|class| SupportedContext {
        abstract_syntax: class,
        transfer_syntaxes: Vec::new(),
        preference: negotiate::Preference::Requestor,
        scu: true,
        scp: false,
    }));
    policy.max_ops_performed = 0;
    match negotiate::answer(&request, &policy) {
        Verdict::Accept { answer, .. } => Pdu::AssociateAc(answer).encode(),
        Verdict::Reject { detail, .. } => panic!("{detail}"),
    }
}

/// A message, framed; data sets in fragments of at most 1000 bytes.
fn message(context_id: u8, command: &CommandSet, data: Option<&[u8]>) -> Bytes {
    let mut framed = BytesMut::new();
    frame(&mut framed, context_id, true, &command.encode(), 1000);
    if let Some(data) = data {
        frame(&mut framed, context_id, false, data, 1000);
    }
    framed.freeze()
}

fn echo_rq(message_id: u16) -> CommandSet {
    CommandSet::request(CommandField::C_ECHO_RQ, message_id, &VERIFICATION).unwrap()
}

fn store_rq(message_id: u16) -> CommandSet {
    use dimse_proto::dimse::element::{AFFECTED_SOP_INSTANCE_UID, PRIORITY};
    let mut command = CommandSet::request(CommandField::C_STORE_RQ, message_id, &STORAGE).unwrap();
    command
        .set_uid(AFFECTED_SOP_INSTANCE_UID, &Uid::from_static("1.2.3"))
        .unwrap();
    command.set_us(PRIORITY, 0);
    command.set_has_data_set(true);
    command
}

/// A C-FIND; no rule of the driver's asks which context it is on.
fn find_rq(message_id: u16) -> CommandSet {
    let mut command =
        CommandSet::request(CommandField::C_FIND_RQ, message_id, &VERIFICATION).unwrap();
    command.set_us(dimse_proto::dimse::element::PRIORITY, 0);
    command
}

fn cancel_rq(message_id: u16) -> CommandSet {
    let mut command = CommandSet::default();
    command.set_us(dimse_proto::dimse::element::COMMAND_FIELD, 0x0FFF);
    command.set_us(
        dimse_proto::dimse::element::MESSAGE_ID_BEING_RESPONDED_TO,
        message_id,
    );
    command
}

fn answer(request: &CommandSet, status: u16) -> CommandSet {
    CommandSet::response_to(request, Status(status)).unwrap()
}

/// The other end.
struct Peer<T = DuplexStream> {
    io: T,
}

impl<T: AsyncRead + Unpin> Peer<T> {
    /// The next PDU: type and body.
    async fn pdu(&mut self) -> (u8, Vec<u8>) {
        let mut header = [0; 6];
        sometime(self.io.read_exact(&mut header))
            .await
            .expect("it is open");
        let length = u32::from_be_bytes([header[2], header[3], header[4], header[5]]);
        let mut body = vec![0; length as usize];
        self.io.read_exact(&mut body).await.expect("it is open");
        (header[0], body)
    }

    /// The next message without data set: its status, if it is a response.
    async fn command(&mut self) -> CommandSet {
        let (kind, body) = self.pdu().await;
        assert_eq!((kind, body[5]), (4, 3), "one whole command set");
        CommandSet::decode(Bytes::copy_from_slice(&body[6..])).unwrap()
    }
}

impl Peer {
    async fn send(&mut self, bytes: &[u8]) {
        self.io.write_all(bytes).await.expect("it is open");
    }

    async fn aborted(&mut self, source: u8, reason: u8) {
        assert_eq!(self.pdu().await, (ABORT, vec![0, 0, source, reason]));
    }

    /// The stream ends without another byte.
    async fn closed(&mut self) {
        let mut rest = Vec::new();
        sometime(self.io.read_to_end(&mut rest)).await.unwrap();
        assert_eq!(rest, []);
    }

    /// The message is answered like on any healthy association.
    async fn echoes(&mut self) {
        let request = echo_rq(77);
        self.send(&message(1, &request, None)).await;
        let response = self.command().await;
        assert_eq!(response.responding_to(), Some(77));
        assert_eq!(response.status(), Some(Status(0)));
    }
}

/// Waits for what must happen before the end of time.
async fn sometime<T>(future: impl Future<Output = T>) -> T {
    timeout(FOR_EVER, future).await.expect("it happens at all")
}

fn is_timeout(error: &Error, which: Deadline) -> bool {
    matches!(error, Error::Timeout(passed, _) if *passed == which)
}
