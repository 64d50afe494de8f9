//! The user's end of an association: a handle that any thread or task may hold.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use dimse_proto::connection::{AssemblyLimits, Config, Connection};
use dimse_proto::dimse::{CommandSet, Status};
use dimse_proto::ul::associate::Associate;
use dimse_proto::ul::negotiate::Negotiated;
use dimse_proto::{AeTitle, LocalError};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, mpsc, oneshot, watch};

use crate::admission::inquiry::Decision;
use crate::association::invocation::{Invocation, Responses};
use crate::deadline::Timeouts;
use crate::driver::Driver;
use crate::error::Error;
use crate::events::hub::{Events, Follower};
use crate::events::told::{AssociationId, Event, Kinds, SubOperation, Titles, Told};
use crate::limits::{Budget, Limits};
use crate::metrics::Metrics;
use crate::runtime;
use crate::send::bulk;
use crate::service::{Data, Service};
use crate::transport::stream::Stream;
use crate::transport::tls::{Facts, Tls};

static NEXT_ASSOCIATION: AtomicU64 = AtomicU64::new(1);

/// What an association end needs to know besides its peer.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long each wait may take.
    pub timeouts: Timeouts,
    /// What it may use.
    pub limits: Limits,
    /// Shared with the other associations of a server.
    pub budget: Budget,
    /// What it does with the peer's requests.
    pub service: Arc<Service>,
    /// What secures its connections; `None` for plain TCP.
    pub tls: Option<Arc<Tls>>,
    /// Where a server counts: a listener sees to it. Associations of ours are not counted.
    pub metrics: Option<Arc<Metrics>>,
}

impl Settings {
    pub(crate) fn connection(&self) -> Config {
        Config {
            max_length: self.limits.max_length,
            max_associate: u32::try_from(self.limits.associate).unwrap_or(u32::MAX),
            messages: AssemblyLimits {
                command_bytes: self.limits.command,
                ..AssemblyLimits::default()
            },
        }
    }
}

/// A received response.
#[derive(Debug)]
pub struct Response {
    /// Presentation context.
    pub context_id: u8,
    /// Command set.
    pub command: CommandSet,
    /// Data set.
    pub data: Data,
}

/// What this end answered to the C-STOREs that came while a C-GET of its own was outstanding.
#[derive(Clone, Debug, Default)]
pub struct Received {
    /// Success, or a warning.
    pub stored: u64,
    /// Failures: the status, the first Error Comment that went with it, and how many.
    pub refused: Vec<(u16, String, u64)>,
}

impl Received {
    pub(crate) fn count(&mut self, status: Status, comment: String) {
        if !status.is_failure() {
            self.stored = self.stored.saturating_add(1);
            return;
        }
        let known = self.refused.iter_mut().find(|(code, ..)| *code == status.0);
        if let Some((_, _, count)) = known {
            *count = count.saturating_add(1);
        } else {
            self.refused.push((status.0, comment, 1));
        }
    }
}

/// One end of an association. Clones are the same association; it is aborted when the last one a requestor holds
/// goes away without a release.
#[derive(Clone, Debug)]
pub struct Association {
    pub(crate) shared: Arc<Shared>,
    /// Held by users' handles alone: the driver's own copies do not keep the association alive.
    _owner: Option<Arc<AbortOnDrop>>,
}

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) id: AssociationId,
    /// Boxed: a channel has room for many from the first, and most associations have none on their way.
    pub(crate) commands: mpsc::UnboundedSender<Box<Command>>,
    pub(crate) established: OnceLock<Established>,
    pub(crate) ended: watch::Sender<Option<Error>>,
    pub(crate) events: Events,
    /// Everything was told.
    pub(crate) told: AtomicBool,
    /// Invocations whose end nobody has taken yet: to their users they are not over.
    pub(crate) untold: AtomicUsize,
    /// Responses that many others waited behind were taken.
    pub(crate) taken: Notify,
    /// What became of the instances of our C-GETs.
    pub(crate) received: Mutex<Received>,
    next_message_id: AtomicU16,
}

#[derive(Debug)]
struct AbortOnDrop(mpsc::UnboundedSender<Box<Command>>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        // A driver that is gone has nothing left to abort.
        let _gone = self.0.send(Box::new(Command::Abort));
    }
}

/// What was agreed, and with whom.
#[derive(Debug)]
pub struct Established {
    /// Result of the negotiation, from this end's point of view.
    pub negotiated: Arc<Negotiated>,
    /// The A-ASSOCIATE-RQ.
    pub request: Associate,
    /// Both titles.
    pub titles: Titles,
    /// Where the peer is.
    pub peer: Option<SocketAddr>,
    /// Where we are.
    pub local: Option<SocketAddr>,
    /// What the TLS handshake agreed on; `None` over plain TCP.
    pub tls: Option<Arc<Facts>>,
}

/// What a handle asks of its driver.
#[derive(Debug)]
pub(crate) enum Command {
    Invoke(Invoke),
    Send {
        context_id: u8,
        command: CommandSet,
        data: Option<Bytes>,
        done: Option<oneshot::Sender<Result<(), Error>>>,
    },
    Bulk(bulk::Feed),
    /// The user's word on the proposal.
    Admit(Decision),
    Release(oneshot::Sender<Result<(), Error>>),
    Abort,
    /// Close the connection, without a word.
    Close(Error),
    Shutdown,
}

/// A request to be sent and its responses delivered.
#[derive(Debug)]
pub(crate) struct Invoke {
    pub(crate) message_id: u16,
    pub(crate) context_id: u8,
    pub(crate) command: CommandSet,
    pub(crate) data: Option<Bytes>,
    pub(crate) responses: Responses,
    pub(crate) within: Option<Duration>,
    /// How often it is sent again, as long as nothing fails.
    pub(crate) again: u64,
}

impl Association {
    /// Connects and asks for an association; returns when it is established.
    ///
    /// # Errors
    /// `Connect`, `Timeout`, `Rejected`, `Aborted` and their kin.
    pub async fn request(
        host: String,
        port: u16,
        request: Associate,
        settings: Settings,
    ) -> Result<Self, Error> {
        let (shared, commands) = Shared::new(settings.service.events.clone());
        let association = Self {
            _owner: Some(Arc::new(AbortOnDrop(shared.commands.clone()))),
            shared: Arc::clone(&shared),
        };
        shared.events.adopt(shared.id);
        let (opened, outcome) = oneshot::channel();
        let connection = Connection::requestor(settings.connection());
        let driver = Driver::new(connection, shared, settings, commands);
        runtime::handle().spawn(driver.run_requestor(host, port, request, opened));
        outcome.await.unwrap_or(Err(Error::Shutdown))?;
        Ok(association)
    }

    /// The same over a stream that is open already, on whatever runtime the two futures are polled: the first
    /// resolves when it is established, the second carries the association to its end.
    ///
    /// # Errors
    /// A request that cannot be sent.
    pub fn request_over(
        stream: impl AsyncRead + AsyncWrite + Send + 'static,
        request: Associate,
        settings: Settings,
    ) -> Result<
        (
            impl Future<Output = Result<Self, Error>> + Send,
            impl Future<Output = ()> + Send,
        ),
        Error,
    > {
        let (shared, commands) = Shared::new(settings.service.events.clone());
        let association = Self {
            _owner: Some(Arc::new(AbortOnDrop(shared.commands.clone()))),
            shared: Arc::clone(&shared),
        };
        let (opened, outcome) = oneshot::channel();
        let connection = Connection::requestor(settings.connection());
        let driver = Driver::new(connection, shared, settings, commands);
        let driver = driver.run_requestor_over(Stream::layered(stream), request, opened)?;
        let established = async {
            outcome.await.unwrap_or(Err(Error::Shutdown))?;
            Ok(association)
        };
        Ok((established, driver))
    }

    /// Takes over an accepted socket. `policy` is asked once, when the A-ASSOCIATE-RQ is there.
    pub(crate) fn of_acceptor(
        stream: Stream,
        settings: Settings,
        policy: Arc<dyn crate::listener::Admission>,
    ) -> Self {
        let (shared, commands) = Shared::new(settings.service.events.clone());
        let connection = Connection::acceptor(settings.connection());
        let driver = Driver::new(connection, Arc::clone(&shared), settings, commands);
        runtime::handle().spawn(driver.run_acceptor(stream, policy));
        Self {
            shared,
            _owner: None,
        }
    }

    /// Number of this association, unique in the process.
    #[must_use]
    pub fn id(&self) -> AssociationId {
        self.shared.id
    }

    /// What was agreed; `None` before that.
    #[must_use]
    pub fn established(&self) -> Option<&Established> {
        self.shared.established.get()
    }

    /// Why it is over; `None` while it lives.
    #[must_use]
    pub fn ended(&self) -> Option<Error> {
        self.shared.ended.borrow().clone()
    }

    /// Whether it is over.
    pub(crate) fn is_over(&self) -> bool {
        self.shared.ended.borrow().is_some()
    }

    /// Somebody who follows what happens on it, from now until it has ended: see [`Events::follow`].
    #[must_use]
    pub fn follow(&self, kinds: Kinds, most: usize) -> Follower {
        let events = &self.shared.events;
        let follower = events.follow(kinds, Some(self.id()), most);
        if self.shared.told.load(Ordering::SeqCst) {
            events.over(self.id()); // it had been before
        }
        follower
    }

    /// Tells of a sub-operation of a retrieval that was asked for on this association.
    pub fn tell_sub_operation(&self, of: impl FnOnce() -> SubOperation) {
        self.shared
            .events
            .emit(self.id(), Kinds::SUB_OPERATION, || Told {
                association: self.id(),
                titles: self
                    .established()
                    .map_or_else(no_titles, |known| known.titles),
                peer: self.established().and_then(|known| known.peer),
                at: SystemTime::now(),
                event: Event::SubOperation(Box::new(of())),
            });
    }

    /// Resolves when it is over.
    pub async fn wait_ended(&self) -> Error {
        let mut ended = self.shared.ended.subscribe();
        loop {
            if let Some(error) = ended.borrow_and_update().clone() {
                return error;
            }
            if ended.changed().await.is_err() {
                return Error::Shutdown;
            }
        }
    }

    /// What became of the instances of C-GETs so far.
    #[must_use]
    pub fn received(&self) -> Received {
        self.shared.received.lock().clone()
    }

    /// The next Message ID, unique among those outstanding (PS3.7 9.1.1.1.1).
    #[must_use]
    pub fn next_message_id(&self) -> u16 {
        self.shared.next_message_id()
    }

    /// Sends a request. It waits, in order, while as many operations are outstanding as were negotiated.
    ///
    /// # Errors
    /// What is not fit to be sent. Everything later comes as the invocation's response.
    pub fn invoke(
        &self,
        context_id: u8,
        command: CommandSet,
        data: Option<Bytes>,
        within: Option<Duration>,
    ) -> Result<Invocation, Error> {
        self.invoke_again(context_id, command, data, within, 0)
    }

    /// As [`Self::invoke`], and the same `again` times more, with Message IDs of their own: the next leaves as soon
    /// as the one before it is answered with Success or a warning, without the caller. The invocation gives the
    /// last response, or the first other one.
    ///
    /// # Errors
    /// As [`Self::invoke`].
    pub fn invoke_again(
        &self,
        context_id: u8,
        command: CommandSet,
        data: Option<Bytes>,
        within: Option<Duration>,
        again: u64,
    ) -> Result<Invocation, Error> {
        let Some(message_id) = command.message_id() else {
            return Err(LocalError::invalid("a request needs a Message ID", "PS3.7 E.1").into());
        };
        let (responses, invocation) = Invocation::new(message_id, &self.shared);
        self.shared.command(Command::Invoke(Invoke {
            message_id,
            context_id,
            command,
            data,
            responses,
            within,
            again,
        }))?;
        Ok(invocation)
    }

    /// Sends a message that has no response: an answer, or C-CANCEL.
    ///
    /// # Errors
    /// When the association is over.
    pub fn send(
        &self,
        context_id: u8,
        command: CommandSet,
        data: Option<Bytes>,
    ) -> Result<(), Error> {
        self.shared.command(Command::Send {
            context_id,
            command,
            data,
            done: None,
        })
    }

    /// As [`Self::send`], returning when the message has left: what a performer of many responses waits for.
    ///
    /// # Errors
    /// When the association ends first.
    pub async fn send_and_wait(
        &self,
        context_id: u8,
        command: CommandSet,
        data: Option<Bytes>,
    ) -> Result<(), Error> {
        let (done, outcome) = oneshot::channel();
        self.shared.command(Command::Send {
            context_id,
            command,
            data,
            done: Some(done),
        })?;
        outcome.await.unwrap_or_else(|_| Err(self.end_reason()))
    }

    /// Sends files, undecoded, as many at a time as were negotiated. One result a file comes out.
    ///
    /// # Errors
    /// When the association is over.
    pub fn send_files(
        &self,
        files: Vec<bulk::ToSend>,
        options: bulk::Options,
    ) -> Result<bulk::Sending, Error> {
        let established = self.established().ok_or(Error::Released)?;
        let (feed, sending) = bulk::start(
            Arc::clone(&self.shared),
            Arc::clone(&established.negotiated),
            files,
            options,
        );
        self.shared.command(Command::Bulk(feed))?;
        Ok(sending)
    }

    /// Releases the association in an orderly way, after the operations outstanding are confirmed.
    ///
    /// # Errors
    /// When it ends otherwise.
    pub async fn release(&self) -> Result<(), Error> {
        let (done, outcome) = oneshot::channel();
        self.shared.command(Command::Release(done))?;
        outcome.await.unwrap_or_else(|_| Err(self.end_reason()))
    }

    /// Aborts the association: outstanding operations fail on both sides. Harmless when it is over.
    pub fn abort(&self) {
        let _over = self.shared.command(Command::Abort);
    }

    /// Ends the association because the server stops: what is being received may finish first.
    pub(crate) fn shutdown(&self) {
        let _over = self.shared.command(Command::Shutdown);
    }

    /// Closes the connection, whatever state it is in: of a peer that has not asked for an association, or that
    /// was told that it is over and does not go.
    pub(crate) fn close(&self, why: Error) {
        let _gone = self.shared.commands.send(Box::new(Command::Close(why)));
    }

    fn end_reason(&self) -> Error {
        self.ended().unwrap_or(Error::Shutdown)
    }
}

impl Shared {
    pub(crate) fn new(events: Events) -> (Arc<Self>, mpsc::UnboundedReceiver<Box<Command>>) {
        let (commands, receiver) = mpsc::unbounded_channel();
        let shared = Arc::new(Self {
            id: NEXT_ASSOCIATION.fetch_add(1, Ordering::Relaxed),
            commands,
            established: OnceLock::new(),
            ended: watch::channel(None).0,
            events,
            told: AtomicBool::new(false),
            untold: AtomicUsize::new(0),
            taken: Notify::new(),
            received: Mutex::default(),
            next_message_id: AtomicU16::new(1),
        });
        (shared, receiver)
    }

    pub(crate) fn next_message_id(&self) -> u16 {
        self.next_message_id.fetch_add(1, Ordering::Relaxed)
    }

    fn command(&self, command: Command) -> Result<(), Error> {
        if let Some(error) = self.ended.borrow().clone() {
            return Err(error);
        }
        self.commands
            .send(Box::new(command))
            .map_err(|_| self.ended.borrow().clone().unwrap_or(Error::Shutdown))
    }
}

/// A handle for those that the driver hands out: it does not keep the association alive.
pub(crate) fn handle_of(shared: &Arc<Shared>) -> Association {
    Association {
        shared: Arc::clone(shared),
        _owner: None,
    }
}

/// Titles as an A-ASSOCIATE carries them.
pub(crate) fn titles_of(associate: &Associate) -> Titles {
    Titles {
        called: associate.called_ae(),
        calling: associate.calling_ae(),
    }
}

/// Titles before any are known.
pub(crate) fn no_titles() -> Titles {
    Titles {
        called: AeTitle::from_wire(b""),
        calling: AeTitle::from_wire(b""),
    }
}
