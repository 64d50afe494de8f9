//! The driver: one task for each association, which carries bytes between a socket and a [`Connection`], and time to
//! it.

// One turn of the loop: carry out the connection's outputs, hand messages over, write what the socket takes,
// set the deadlines, then wait for whichever comes first: the socket, the user, a writer thread, room in the
// byte budget, a deadline.

mod admission;
mod endings;
pub(crate) mod open;
#[cfg(test)]
mod tests;
mod time;
mod traces;

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use dimse_proto::LocalError;
use dimse_proto::connection::Connection;
use dimse_proto::connection::output::{Indication, Output};
use dimse_proto::ul::State;
use dimse_proto::ul::associate::Associate;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout};

use crate::admission::gate::Admission;
use crate::association::mailbox::{Command, Commands, Mailbox};
use crate::deadline::Deadlines;
use crate::error::{Deadline, Error, TlsAdvice, TlsFault};
use crate::events::event::{Event, Kinds};
use crate::exchange::Exchange;
use crate::exchange::line::Line;
use crate::facts::{AssociationId, TlsFacts, titles_of};
use crate::life::{Established, Life};
use crate::metrics::Metrics;
use crate::settings::Settings;
use crate::transport::stream::Stream;

/// Requests without data sets are read by this much: more would keep others waiting while they are answered.
const READ_SMALLEST: usize = 4 << 10;
const READ_LARGEST: usize = 512 << 10;

/// Bytes we owe a peer that does not read them; past this its requests are not read either.
const OWED_LIMIT: usize = 256 << 10;

/// How long a read buffer is kept for the next byte.
const COOLING: Duration = Duration::from_millis(500);

/// How long a message may wait for the byte budget before it is refused.
const BUDGET_WAIT: Duration = Duration::from_secs(5);

/// Everything one association end is.
pub(crate) struct Driver {
    line: Line,
    exchange: Exchange,
    commands: Commands,
    deadlines: Deadlines,
    read: BytesMut,
    request: Option<Associate>,
    opened: Option<oneshot::Sender<Result<(), Error>>>,
    releasing: Vec<oneshot::Sender<Result<(), Error>>>,
    /// Whether the answer to the peer's release waits for the user.
    hold: Hold,
    admission: Option<Registration>,
    /// The proposal that waits for the user's decision.
    asking: Option<Associate>,
    /// The transport is to be closed, or is.
    closed: bool,
    /// The server stops: finish what is being received, then end.
    draining: bool,
    /// Bytes ever received, and how many when the pace was last looked at.
    received: u64,
    paced: u64,
    local: Option<std::net::SocketAddr>,
    /// When the association was established.
    since: Option<Instant>,
    tls: Option<Arc<TlsFacts>>,
}

/// Whether the answer to the peer's release waits for the user, who is asked once.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hold {
    NotAsked,
    Waiting,
    Over,
}

/// An acceptor's entry with its listener, removed however the driver ends.
struct Registration {
    admission: Arc<dyn Admission>,
    association: AssociationId,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.admission.over(self.association);
    }
}

/// What the loop waited for.
enum Turn {
    /// Bytes that were read; `None` when there are some to be read.
    Read(std::io::Result<Option<usize>>),
    /// The socket takes more, the byte budget has room, or responses were taken: the loop's own work.
    Again,
    Command(Option<Box<Command>>),
    Exchange(crate::exchange::Progress),
    Time,
}

impl Driver {
    // The state of the association is one value in one box, and each `run` is a future that holds the box: a thousand
    // idle associations cost a few kilobytes each (`what_waits_for_a_peer_is_small` holds the number).
    /// Boxed: it goes from future to future, and would take its place in each of them.
    pub(crate) fn new(
        connection: Connection,
        life: Arc<Life>,
        settings: Settings,
        (mailbox, commands): (Mailbox, Commands),
    ) -> Box<Self> {
        let exchange = Exchange::new(&settings);
        Box::new(Self {
            line: Line::new(connection, life, mailbox, settings, READ_SMALLEST),
            exchange,
            commands,
            deadlines: Deadlines::default(),
            read: BytesMut::new(),
            request: None,
            opened: None,
            releasing: Vec::new(),
            hold: Hold::NotAsked,
            admission: None,
            asking: None,
            closed: false,
            draining: false,
            received: 0,
            paced: 0,
            local: None,
            since: None,
            tls: None,
        })
    }

    /// Connects, proposes, and serves the association to its end.
    pub(crate) async fn run_requestor(
        mut self: Box<Self>,
        host: String,
        port: u16,
        request: Associate,
        opened: oneshot::Sender<Result<(), Error>>,
    ) {
        // The proposal is made first: what is wrong with it is found out without a connection.
        let mut stream = None;
        if let Err(error) = self.propose(request, opened) {
            self.line.end_with(error.into());
        } else {
            let connecting = open(&host, port, &self.line.settings);
            // The only thing a user can want meanwhile is to stop (PS3.8 7.1.2).
            let connected = tokio::select! {
                connected = connecting => connected,
                _stop = self.commands.recv() => Err(Error::LocalAbort),
            };
            match connected {
                Ok(open) => {
                    stream = Some(open);
                    self.connected();
                }
                Err(error) => {
                    self.line.end_with(error);
                    self.line.connection.transport_closed();
                }
            }
        }
        self.run(stream).await;
    }

    /// The same over a connection that is open already.
    pub(crate) fn run_requestor_over(
        mut self: Box<Self>,
        stream: Stream,
        request: Associate,
        opened: oneshot::Sender<Result<(), Error>>,
    ) -> Result<impl Future<Output = ()>, LocalError> {
        self.propose(request, opened)?;
        self.connected();
        Ok(self.run(Some(stream)))
    }

    fn propose(
        &mut self,
        request: Associate,
        opened: oneshot::Sender<Result<(), Error>>,
    ) -> Result<(), LocalError> {
        traces::follow(&mut self.line);
        self.line.titles = titles_of(&request);
        self.request = Some(request.clone());
        self.opened = Some(opened);
        self.line.connection.associate(request)
    }

    fn connected(&mut self) {
        self.line.connection.transport_connected();
        let acse = self.line.settings.timeouts.acse;
        self.deadlines.set(Deadline::Acse, acse);
    }

    /// Waits for the peer's proposal and serves the association to its end.
    pub(crate) async fn run_acceptor(
        mut self: Box<Self>,
        stream: Stream,
        admission: Arc<dyn Admission>,
    ) {
        self.admission = Some(Registration {
            admission,
            association: self.line.life.id,
        });
        traces::follow(&mut self.line);
        let stream = match self.secure(stream).await {
            Ok(stream) => {
                self.line.connection.transport_connected();
                Some(stream)
            }
            Err(error) => {
                self.line.end_with(error);
                None
            }
        };
        self.run(stream).await;
    }

    /// Has the TLS handshake where there is to be one. It runs in this association's task: no other one waits for it.
    async fn secure(&mut self, stream: Stream) -> Result<Stream, Error> {
        let Some(tls) = self.line.settings.tls.clone() else {
            return Ok(stream);
        };
        self.line.peer = stream.peer_addr();
        let events = self.line.settings.events.clone();
        // In a box: once it is over it would be the better part of what an idle association takes.
        let securing = Box::pin(async move { tls.accept(stream, &events).await });
        tokio::select! {
            secured = in_time(securing, Deadline::Tls, self.line.settings.timeouts.tls) => secured,
            command = self.commands.recv() => Err(match command.map(|command| *command) {
                Some(Command::Close(why)) => why,
                Some(Command::Shutdown) | None => Error::Shutdown,
                Some(_) => Error::LocalAbort,
            }),
        }
    }

    async fn run(mut self: Box<Self>, stream: Option<Stream>) {
        if let Some(mut stream) = stream {
            self.line.peer = stream.peer_addr();
            self.local = stream.local_addr();
            self.tls = stream.facts().map(Arc::new);
            self.line
                .event(Kinds::CONNECTED, || Event::Connected(self.tls.clone()));
            self.pump(&mut stream);
            while !self.closed {
                let turn = self.wait(&mut stream).await;
                let more = matches!(turn, Turn::Read(_)) && self.has_filled_buffer();
                self.take(turn);
                self.pump(&mut stream);
                if more {
                    tokio::task::yield_now().await; // a peer that never pauses has its turn like all others
                }
            }
            stream.close();
        }
        self.finish().await;
    }

    async fn wait(&mut self, stream: &mut Stream) -> Turn {
        self.arm();
        let reading = self.wants_read();
        let writing = !self.line.write.is_empty() || stream.is_unflushed();
        let starved = self.is_starved();
        let behind = self.is_behind();
        let may_send_file = self.exchange.wants_files(&self.line);
        let timer = self.deadlines.next();
        // A peer that never pauses must not keep a deadline from passing.
        if timer.is_some_and(|at| at <= Instant::now()) {
            return Turn::Time;
        }
        let (mut reader, writer) = stream.split();
        // The order is a decision: the user first, so that an abort is not delayed by a peer that never pauses; then
        // the socket, since what it brings may end what the rest waits for. Each branch is cancel-safe: a branch that
        // loses has taken nothing.
        tokio::select! {
            biased;
            command = self.commands.recv() => Turn::Command(command),
            read = reader.read(&mut self.read), if reading => Turn::Read(read),
            _writable = writer.ready(), if writing => Turn::Again,
            progress = self.exchange.progress(may_send_file) => Turn::Exchange(progress),
            () = self.line.settings.budget.room(), if starved => Turn::Again,
            () = self.line.life.taken.notified(), if behind => Turn::Again,
            () = sleep_until(timer.unwrap_or_else(Instant::now)), if timer.is_some() => Turn::Time,
        }
    }

    fn take(&mut self, turn: Turn) {
        traces::follow(&mut self.line);
        match turn {
            Turn::Read(Ok(count)) => self.received(count),
            Turn::Read(Err(error)) => self.lost(error),
            Turn::Command(Some(command)) => self.command(*command),
            // The driver's own handle keeps the channel open: this is a lost runtime.
            Turn::Command(None) => self.closed = true,
            Turn::Exchange(progress) => self.exchange.carry_on(&mut self.line, progress),
            Turn::Again => {}
            Turn::Time => self.expire(),
        }
    }

    /// Carries out what the connection asks, starts what may start, and writes.
    fn pump(&mut self, stream: &mut Stream) {
        // Twice: what starts may make the connection ask for output, and what is carried out first may have opened the
        // window. A release is looked at last, when it is known whether anything is outstanding.
        self.carry_out();
        self.exchange.start_waiting(&mut self.line);
        self.carry_out();
        self.finish_release();
        self.flush(stream);
        // A server that stops aborts only when the last answer has left.
        if self.draining
            && self.line.write.is_empty()
            && self.exchange.is_quiet()
            && self.line.connection.state() == State::Sta6
        {
            self.line.abort(Error::Shutdown);
            self.carry_out();
            self.flush(stream);
        }
        // The socket may take a while to close (ARTIM): callers learn of the end before that.
        if self.line.connection.state() == State::Sta13 {
            self.conclude();
        }
    }

    fn flush(&mut self, stream: &mut Stream) {
        if !self.line.write.is_empty() || stream.is_unflushed() {
            let before = self.line.write.len();
            let flushed = self.line.write.flush(stream);
            let left = before.saturating_sub(self.line.write.len());
            self.line.count(|metrics| metrics.sent_bytes(left as u64));
            match flushed {
                Ok(true) => self.bytes_left(),
                Ok(false) => {}
                // What the peer said before it went is still to be read; reading will find the end.
                Err(_) => self.line.write.clear(),
            }
        }
        if self.line.write.is_empty() {
            self.exchange.all_written();
        }
    }

    fn carry_out(&mut self) {
        loop {
            traces::emit(&mut self.line, self.request.as_ref());
            let Some(output) = self.line.connection.poll_output() else {
                break;
            };
            match output {
                Output::Connect => {} // done before the loop: there is one connection to one place
                Output::Transmit(bytes) => self.line.write.push(bytes),
                Output::Close => self.closed = true,
                Output::StartArtim => {
                    let artim = self.line.settings.timeouts.artim;
                    self.deadlines.set(Deadline::Artim, artim);
                }
                Output::StopArtim => self.deadlines.clear(Deadline::Artim),
                Output::Indicate(indication) => self.indicate(indication),
            }
        }
        if self.line.connection.state() == State::Sta1 {
            self.closed = true;
        }
    }

    fn indicate(&mut self, indication: Indication) {
        match indication {
            // What arrived behind a fault is not carried out, whichever way the bytes were cut.
            Indication::Command { .. } | Indication::Data { .. } if self.line.is_ending() => {}
            Indication::Command {
                context_id,
                command,
            } => {
                self.exchange
                    .receive_command(&mut self.line, context_id, command);
            }
            Indication::Data {
                context_id: _,
                fragment,
                last,
            } => {
                self.exchange.receive_data(&mut self.line, fragment, last);
            }
            Indication::AssociateRequested(request) => self.judge(request, None),
            Indication::AssociateAccepted(_, negotiated) => {
                self.deadlines.clear(Deadline::Acse);
                let request = self.request.take();
                self.establish(request, Arc::from(negotiated));
            }
            // The transport is still open: the state machine closes it, and the caller learns the cause with that.
            Indication::AssociateRejected(rj) => self.line.end_with(Error::Rejected(rj)),
            Indication::ReleaseRequested => self.line.release_asked = true,
            Indication::ReleaseConfirmed => {
                self.deadlines.clear(Deadline::Release);
                self.line.end_with(Error::Released);
            }
            Indication::Aborted(abort) => self.line.end_with(Error::Aborted(abort)),
            Indication::PAborted { origin, reason } => {
                self.line.end_with(Error::PAborted(origin, reason));
            }
            Indication::Violation(error) => {
                let kinds = Kinds::VIOLATION | Kinds::PROBLEM;
                self.line.event(kinds, || Event::Violation(error.clone()));
                self.line.end_with(match error.code {
                    "tls-alert" if self.opened.is_some() => Error::Tls(TlsFault {
                        code: "tls-spoken",
                        what: "the peer speaks TLS on this port, and this node does not".to_owned(),
                        advice: Some(TlsAdvice::UseTls),
                    }),
                    _ => Error::Remote(error),
                });
            }
        }
    }

    fn establish(
        &mut self,
        request: Option<Associate>,
        negotiated: Arc<dimse_proto::ul::negotiate::Negotiated>,
    ) {
        let Some(request) = request else { return };
        self.exchange.establish(&negotiated);
        let established = Established {
            negotiated: Arc::clone(&negotiated),
            request,
            titles: self.line.titles,
            peer: self.line.peer,
            local: self.local,
            tls: self.tls.clone(),
        };
        let _once = self.line.life.established.set(established);
        self.since = Some(Instant::now());
        self.line.count(Metrics::established);
        self.line
            .event(Kinds::ASSOCIATED, || Event::Associated(negotiated));
        if let Some(opened) = self.opened.take() {
            // The asker may have gone: then its handle has asked for an abort.
            let _gone = opened.send(Ok(()));
        }
    }

    fn command(&mut self, command: Command) {
        if self.line.life.is_over() {
            return self.too_late(command, self.line.why());
        }
        // Once a release is asked for nothing new is begun: it would never find a quiet moment.
        if !self.releasing.is_empty() && matches!(command, Command::Invoke(_) | Command::Bulk(_)) {
            return self.too_late(command, Error::Released);
        }
        match command {
            Command::Invoke(invoke) => self.exchange.waiting.push_back(invoke),
            Command::Send {
                context_id,
                command,
                data,
                done,
            } => {
                self.exchange.send_answer(
                    &mut self.line,
                    context_id,
                    &command,
                    data.as_ref(),
                    done,
                );
            }
            Command::Bulk(transfer) => self.exchange.transfers.push_back(transfer),
            Command::Admit(decision) => self.decided(decision),
            Command::Release(done) => self.releasing.push(done),
            Command::LetGo => self.hold = Hold::Over,
            Command::Abort => self.line.abort(Error::LocalAbort),
            Command::Close(why) => {
                self.line.end_with(why);
                self.closed = true;
                self.exchange.undecided.hurried = true;
            }
            Command::Shutdown => self.draining = true,
        }
    }

    /// Back pressure on the peer is not to read: its kernel, then its program stops sending. Reading stops while the
    /// message could not be kept, its user or the disk is behind, or the peer does not take what it asked for. An end
    /// that has requests outstanding reads on all the same, however full its write queue is: otherwise two ends that
    /// both wait to write would never read, and never finish.
    fn wants_read(&self) -> bool {
        !self.is_starved()
            && !self.is_behind()
            && !self.exchange.is_congested()
            && self.exchange.owed() < OWED_LIMIT
            && (self.line.write.len() < OWED_LIMIT || self.exchange.asks())
    }

    /// Waiting for room in the byte budget. Only for what would have to be kept: a C-ECHO, a release or the rest
    /// of a refused instance need none.
    fn is_starved(&self) -> bool {
        self.exchange.keeps_inbound() && self.line.settings.budget.is_exhausted()
    }

    /// Our user does not take what is here already; a release waits for the rest of it.
    fn is_behind(&self) -> bool {
        self.releasing.is_empty() && self.exchange.is_behind()
    }

    /// The last read took all there was room for: there may be more.
    fn has_filled_buffer(&self) -> bool {
        !self.read.is_empty() && self.read.len() == self.read.capacity()
    }

    /// In the middle of a PDU or a message.
    fn is_receiving(&self) -> bool {
        self.line.connection.mid_message() || !self.read.is_empty()
    }

    /// Takes what was read, and makes room for more.
    fn received(&mut self, count: Option<usize>) {
        match count {
            // Everything it brought has been taken: now, and only now, it is closed (Decision 7).
            Some(0) => return self.line.connection.transport_closed(),
            Some(count) => {
                self.received = self.received.saturating_add(count as u64);
                let full = self.has_filled_buffer();
                self.line
                    .count(|metrics| metrics.received_bytes(count as u64));
                self.bytes_came();
                self.line.connection.receive(&mut self.read);
                self.carry_out();
                // What is large is worth more room, much that is small is not.
                let large =
                    self.line.connection.mid_message() || self.read.len() > self.line.read_size / 2;
                if full && large {
                    self.line.read_size = self.line.read_size.saturating_mul(2).min(READ_LARGEST);
                }
            }
            None => {}
        }
        // The buffer's memory is what PDUs and data sets are slices of. Asking for more gives back what no slice holds,
        // or a new buffer; the slices keep the old one for as long as their user has them.
        let spare = self.read.capacity().saturating_sub(self.read.len());
        if spare < self.line.read_size / 2 {
            self.read.reserve(self.line.read_size);
        }
    }
}

/// Opens a connection, and secures it where it is to be.
async fn open(host: &str, port: u16, settings: &Settings) -> Result<Stream, Error> {
    let stream = Stream::connect(host, port, settings.timeouts.connect).await?;
    match &settings.tls {
        None => Ok(stream),
        Some(tls) => {
            let securing = Box::pin(tls.connect(stream, host));
            in_time(securing, Deadline::Tls, settings.timeouts.tls).await
        }
    }
}

async fn in_time<T>(
    work: impl Future<Output = Result<T, Error>>,
    which: Deadline,
    within: Option<Duration>,
) -> Result<T, Error> {
    match within {
        None => work.await,
        Some(within) => timeout(within, work)
            .await
            .unwrap_or(Err(Error::Timeout(which, within))),
    }
}
