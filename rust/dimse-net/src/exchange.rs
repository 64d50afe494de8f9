//! Messages of one association: requests matched to responses by Message ID, requests of the peer routed, data
//! sets collected in memory or given to a writer thread.

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use dimse_proto::dimse::{CommandError, CommandField, CommandSet, Status, element};
use dimse_proto::ul::data::{frame, pdv_header};
use dimse_proto::ul::negotiate::Negotiated;
use dimse_proto::{DecodeError, LocalError};
use tokio::sync::{mpsc, oneshot};

use crate::association::{Invoke, Response, Settings, handle_of};
use crate::bulk::{BulkResult, Feed, Item};
use crate::driver::Driver;
use crate::error::Error;
use crate::event::{Event, StoredEvent, Weight};
use crate::limits::{Budget, Charge};
use crate::service::{Data, Operation, Parts, Route, field_of, is_composite};
use crate::sink::{Refusal, StoreRequest};
use crate::source::FileInfo;
use crate::store::{Done, Finished, Jobs, Outcome, Purpose};

/// Data sets up to this size are copied behind their headers and leave in one write; larger ones are written as
/// slices.
const COPY_BELOW: usize = 64 << 10;

/// Message-level state of an association.
pub(crate) struct Exchange {
    /// Requests that wait for the window.
    pub(crate) waiting: VecDeque<Invoke>,
    /// Files to be sent, a feed after the other.
    pub(crate) feeds: VecDeque<Feed>,
    /// The message being written by the first feed is not complete.
    feeding: Option<u16>,
    /// Framed messages that wait for the end of that one.
    deferred: Vec<Bytes>,
    /// Bytes of responses that were framed since everything had been written.
    owed: usize,
    /// Our operations outstanding, by Message ID.
    invoked: HashMap<u16, Invoked>,
    /// The peer's operations not finally answered, by Message ID.
    performing: HashMap<u16, Performing>,
    inbound: Inbound,
    /// Most bytes of the inbound data set that are taken, and how many of them nobody wanted.
    bound: u64,
    unwanted: u64,
    jobs: Jobs,
    budget: Budget,
    /// Operations we may have outstanding.
    window: usize,
    /// Operations the peer may have outstanding before we lose patience.
    tolerated: usize,
    pub(crate) stored: u64,
    pub(crate) messages: u64,
}

struct Invoked {
    field: CommandField,
    within: Option<Duration>,
    answer: Answer,
}

/// Where a response goes.
enum Answer {
    Caller(mpsc::UnboundedSender<Result<Response, Error>>),
    Bulk {
        index: usize,
        info: Box<FileInfo>,
        results: crossbeam_channel::Sender<BulkResult>,
    },
}

struct Performing {
    cancelled: Arc<AtomicBool>,
}

/// The message whose data set is arriving. There is at most one.
enum Inbound {
    None,
    /// A response to one of our requests.
    Response(Collected),
    /// A request for the user.
    Request(Collected),
    /// A C-STORE on its way to a file.
    Store(u64),
    /// Answered with this when its data set is complete.
    Answered(CommandSet, u8, u16, Cow<'static, str>),
    /// Answered already, or to be forgotten.
    Discard,
}

struct Collected {
    context_id: u8,
    command: CommandSet,
    fragments: Vec<Bytes>,
    bytes: usize,
    charge: Charge,
}

impl Collected {
    fn into_data(self) -> (u8, CommandSet, Data) {
        let parts = Parts {
            fragments: self.fragments,
            _charge: self.charge,
        };
        (self.context_id, self.command, Data::Memory(parts))
    }
}

/// What the loop waited for on behalf of the messages.
pub(crate) enum Progress {
    Job(Done),
    Feed(Option<Item>),
}

impl Exchange {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            waiting: VecDeque::new(),
            feeds: VecDeque::new(),
            feeding: None,
            deferred: Vec::new(),
            owed: 0,
            invoked: HashMap::new(),
            performing: HashMap::new(),
            inbound: Inbound::None,
            bound: 0,
            unwanted: 0,
            jobs: Jobs::default(),
            budget: settings.budget.clone(),
            window: 1,
            tolerated: settings.limits.queued.saturating_add(1),
            stored: 0,
            messages: 0,
        }
    }

    /// The windows of PS3.7 D.3.3.3; 0 is no limit, which 16-bit Message IDs set all the same.
    pub(crate) fn establish(&mut self, negotiated: &Negotiated) {
        let limit = |operations: u16| match operations {
            0 => usize::from(u16::MAX),
            some => usize::from(some),
        };
        self.window = limit(negotiated.invoked);
        self.tolerated = self
            .tolerated
            .saturating_sub(1)
            .saturating_add(limit(negotiated.performed).min(usize::from(u8::MAX)));
    }

    /// The next thing that happens by itself: a writer thread is done, or a file's bytes are there.
    pub(crate) async fn progress(&mut self, may_feed: bool) -> Progress {
        let may_feed = may_feed && self.may_feed();
        let jobs = &mut self.jobs;
        match self.feeds.front_mut() {
            Some(feed) if may_feed => tokio::select! {
                biased;
                done = jobs.next() => Progress::Job(done),
                item = feed.next() => Progress::Feed(item),
            },
            _ => Progress::Job(jobs.next().await),
        }
    }

    fn may_feed(&self) -> bool {
        self.feeding.is_some() || (self.waiting.is_empty() && self.invoked.len() < self.window)
    }

    /// No operation is open on either side and nothing waits.
    pub(crate) fn is_quiet(&self) -> bool {
        self.asks_nothing() && self.owes_nothing() && matches!(self.inbound, Inbound::None)
    }

    /// We have operations outstanding.
    pub(crate) fn asks(&self) -> bool {
        !self.invoked.is_empty()
    }

    pub(crate) fn asks_nothing(&self) -> bool {
        self.invoked.is_empty() && self.waiting.is_empty() && self.feeds.is_empty()
    }

    /// The peer's requests are answered, and no message of ours is half sent.
    pub(crate) fn owes_nothing(&self) -> bool {
        self.performing.is_empty() && !self.is_feeding()
    }

    /// A file is half sent.
    pub(crate) fn is_feeding(&self) -> bool {
        self.feeding.is_some()
    }

    /// What arrives now takes memory.
    pub(crate) fn keeps_inbound(&self) -> bool {
        match self.inbound {
            Inbound::Response(_) | Inbound::Request(_) | Inbound::Store(_) => true,
            Inbound::None | Inbound::Answered(..) | Inbound::Discard => false,
        }
    }

    /// Responses that the peer has not taken yet, in bytes.
    pub(crate) fn owed(&self) -> usize {
        self.owed
    }

    /// Everything that was sent has left.
    pub(crate) fn all_written(&mut self) {
        if self.deferred.is_empty() {
            self.owed = 0;
        }
    }

    /// The association is over: the next instance of those that came whole. What is not whole is given up.
    pub(crate) async fn last_job(&mut self) -> Option<Finished> {
        self.jobs.give_up_unfinished();
        while !self.jobs.is_empty() {
            let done = self.jobs.next().await;
            if let Some(finished) = self.jobs.done(done) {
                return Some(finished);
            }
        }
        None
    }

    /// The writer threads cannot keep up: the socket waits.
    pub(crate) fn is_congested(&self) -> bool {
        match self.inbound {
            Inbound::Store(key) => self.jobs.is_congested(key),
            _ => self.jobs.is_full(),
        }
    }

    /// How long the most patient of our operations outstanding waits; `None` is for ever.
    pub(crate) fn response_within(&self) -> Option<Duration> {
        let mut longest = Some(Duration::ZERO);
        for invoked in self.invoked.values() {
            longest = Some(longest?.max(invoked.within?));
        }
        longest
    }

    /// The association is over.
    pub(crate) fn fail_all(&mut self, why: &Error) {
        for invoke in self.waiting.drain(..) {
            let _gone = invoke.responses.send(Err(why.clone()));
        }
        for (_, invoked) in self.invoked.drain() {
            invoked.answer.give(Err(why.clone()));
        }
        for performing in self.performing.values() {
            performing.cancelled.store(true, Ordering::Relaxed);
        }
        for feed in self.feeds.drain(..) {
            feed.fail(why);
        }
    }
}

impl Answer {
    fn give(self, outcome: Result<Response, Error>) {
        match self {
            Self::Caller(responses) => {
                let _gone = responses.send(outcome);
            }
            Self::Bulk {
                index,
                info,
                results,
            } => {
                let _gone = results.send(BulkResult {
                    index,
                    info: Some(*info),
                    begun: true,
                    outcome: outcome.map(|response| response.command),
                });
            }
        }
    }
}

impl Driver {
    /// A complete command set has arrived.
    pub(crate) fn receive_command(&mut self, context_id: u8, command: CommandSet) {
        let field = field_of(&command);
        let limits = &self.settings.limits;
        self.exchange.unwanted = 0;
        self.exchange.bound = match field {
            CommandField::C_STORE_RQ => limits.instance,
            field if is_composite(field) => limits.identifier as u64,
            _ => limits.dataset as u64,
        };
        if field.is_response() {
            self.receive_response(context_id, command);
        } else if field == CommandField::C_CANCEL_RQ {
            // Unknown or finished: ignored.
            if let Some(performing) = command
                .responding_to()
                .and_then(|id| self.exchange.performing.get(&id))
            {
                performing.cancelled.store(true, Ordering::Relaxed);
            }
            if command.has_data_set() {
                self.exchange.inbound = Inbound::Discard;
            }
        } else {
            self.exchange.messages = self.exchange.messages.saturating_add(1);
            self.receive_request(context_id, command);
        }
    }

    fn receive_response(&mut self, context_id: u8, command: CommandSet) {
        let id = command.responding_to().unwrap_or_default();
        let expected = self
            .exchange
            .invoked
            .get(&id)
            .and_then(|invoked| invoked.field.response());
        if expected != command.field() {
            return self.violation(DecodeError::new(
                "unexpected-response",
                format!(
                    "{} to message {id}, which was not asked",
                    field_of(&command)
                ),
                0,
                "PS3.7 9.1",
            ));
        }
        let pending = command.status().is_some_and(Status::is_pending);
        if !pending && self.exchange.feeding == Some(id) {
            // An early failed response: the data set may be cut short, and its end must still be sent.
            if let Some(feed) = self.exchange.feeds.front() {
                feed.cut.store(u32::from(id), Ordering::Relaxed);
            }
        }
        let collected = self.collect(context_id, command);
        if collected.command.has_data_set() {
            self.exchange.inbound = Inbound::Response(collected);
        } else {
            let Collected {
                context_id,
                command,
                ..
            } = collected;
            self.deliver(context_id, command, Data::None);
        }
    }

    /// Gives a complete response to who asked.
    fn deliver(&mut self, context_id: u8, command: CommandSet, data: Data) {
        let id = command.responding_to().unwrap_or_default();
        let pending = command.status().is_some_and(Status::is_pending);
        let response = Response {
            context_id,
            command,
            data,
        };
        if pending {
            if let Some(Invoked {
                answer: Answer::Caller(responses),
                ..
            }) = self.exchange.invoked.get(&id)
            {
                // Whoever asked may have left; the rest is read all the same.
                let _gone = responses.send(Ok(response));
            }
        } else if let Some(invoked) = self.exchange.invoked.remove(&id) {
            invoked.answer.give(Ok(response));
        }
    }

    fn receive_request(&mut self, context_id: u8, command: CommandSet) {
        let Some(id) = command.message_id() else {
            return; // the assembler lets no such request through
        };
        if self.exchange.performing.len() >= self.exchange.tolerated {
            return self.violation(DecodeError::new(
                "window-overrun",
                format!(
                    "{} requests outstanding, far more than negotiated",
                    self.exchange.performing.len()
                ),
                0,
                "PS3.7 D.3.3.3",
            ));
        }
        if self.exchange.performing.contains_key(&id) {
            // No entry of its own: its answer must not end the other's.
            return self.answer_after_data(context_id, command, 0x0210, "duplicate invocation");
        }
        // An unfinished command set is answered by name where it can be; where not, the assembler aborted.
        let invalid = command.validate().err().and_then(CommandError::answer);
        let route = invalid
            .map(|status| Route::Answer(status.0, "element missing or unknown operation"))
            .or_else(|| self.route(context_id, &command))
            .unwrap_or(Route::Answer(0x0122, ""));
        self.exchange.performing.insert(
            id,
            Performing {
                cancelled: Arc::default(),
            },
        );
        match route {
            Route::Answer(status, comment) => {
                self.answer_after_data(context_id, command, status, comment);
            }
            Route::Folder(folder) => {
                let request = self.store_request(context_id, &command);
                match Purpose::publish(folder, request) {
                    Ok(purpose) => {
                        let charge = self.exchange.budget.account();
                        let key = self
                            .exchange
                            .jobs
                            .open(purpose, context_id, command, charge);
                        self.exchange.inbound = Inbound::Store(key);
                    }
                    Err(refusal) => self.refuse_store(context_id, command, &refusal),
                }
            }
            Route::Queue => {
                let collected = self.collect(context_id, command);
                if collected.command.has_data_set() {
                    self.exchange.inbound = Inbound::Request(collected);
                } else {
                    let Collected {
                        context_id,
                        command,
                        ..
                    } = collected;
                    self.enqueue(context_id, command, Data::None);
                }
            }
        }
    }

    fn route(&self, context_id: u8, command: &CommandSet) -> Option<Route> {
        let context = self.connection.negotiated()?.by_id(context_id)?;
        Some(self.settings.service.route(command, context))
    }

    fn collect(&self, context_id: u8, command: CommandSet) -> Collected {
        Collected {
            context_id,
            command,
            fragments: Vec::new(),
            bytes: 0,
            charge: self.exchange.budget.account(),
        }
    }

    /// Success may be said only after the data set is complete; so is everything else, for simplicity.
    fn answer_after_data(
        &mut self,
        context_id: u8,
        command: CommandSet,
        status: u16,
        comment: impl Into<Cow<'static, str>>,
    ) {
        let comment = comment.into();
        if command.has_data_set() {
            self.exchange.inbound = Inbound::Answered(command, context_id, status, comment);
        } else {
            self.respond(context_id, &command, status, &comment);
        }
    }

    fn refuse_store(&mut self, context_id: u8, command: CommandSet, refusal: &Refusal) {
        self.store_event(context_id, &command, 0, Err(refusal));
        self.answer_after_data(context_id, command, refusal.status, refusal.comment.clone());
    }

    fn store_request(&self, context_id: u8, command: &CommandSet) -> StoreRequest {
        let transfer_syntax = self
            .connection
            .negotiated()
            .and_then(|negotiated| negotiated.by_id(context_id))
            .and_then(|context| context.transfer_syntax.clone())
            .unwrap_or_default();
        StoreRequest {
            sop_class: command.sop_class().unwrap_or_default(),
            sop_instance: command.sop_instance().unwrap_or_default(),
            transfer_syntax,
            calling_ae: self.titles.calling,
            called_ae: self.titles.called,
        }
    }

    /// A fragment of the data set of the message in progress.
    pub(crate) fn receive_data(&mut self, fragment: Bytes, last: bool) {
        match &mut self.exchange.inbound {
            Inbound::None | Inbound::Discard | Inbound::Answered(..) => {
                self.pass_over(fragment.len());
            }
            Inbound::Store(key) => {
                let key = *key;
                let bytes = self.exchange.jobs.push(key, fragment, last);
                if last {
                    self.exchange.inbound = Inbound::None;
                } else if bytes > self.exchange.bound {
                    let most = self.exchange.bound;
                    self.refuse_inbound(format!("longer than {most} bytes (Limits.instance)"));
                }
                return;
            }
            Inbound::Response(collected) | Inbound::Request(collected) => {
                collected.charge.add(fragment.len());
                collected.bytes = collected.bytes.saturating_add(fragment.len());
                collected.fragments.push(fragment);
                let bytes = collected.bytes;
                self.check_size(bytes);
            }
        }
        if !last {
            return;
        }
        match std::mem::replace(&mut self.exchange.inbound, Inbound::None) {
            Inbound::Response(collected) => {
                let (context_id, command, data) = collected.into_data();
                self.deliver(context_id, command, data);
            }
            Inbound::Request(collected) => {
                let (context_id, command, data) = collected.into_data();
                self.enqueue(context_id, command, data);
            }
            Inbound::Answered(command, context_id, status, comment) => {
                self.respond(context_id, &command, status, &comment);
            }
            // A store that was moved to a file by this very fragment still wants to know that it was the last.
            Inbound::Store(key) => {
                self.exchange.jobs.push(key, Bytes::new(), true);
            }
            Inbound::None | Inbound::Discard => {}
        }
    }

    /// Nobody wants these bytes, but they cannot go on for ever: at the bound the message is answered, twice that
    /// is a fault (C20, C21).
    fn pass_over(&mut self, bytes: usize) {
        self.exchange.unwanted = self.exchange.unwanted.saturating_add(bytes as u64);
        if self.exchange.unwanted <= self.exchange.bound {
            return;
        }
        self.exchange.unwanted = 0;
        match std::mem::replace(&mut self.exchange.inbound, Inbound::Discard) {
            Inbound::Answered(command, context_id, status, comment) => {
                self.respond(context_id, &command, status, &comment);
            }
            _ => self.violation(DecodeError::new(
                "endless-data-set",
                format!(
                    "a refused data set went on for {} bytes",
                    self.exchange.bound
                ),
                0,
                "PS3.7 9.3",
            )),
        }
    }

    /// A data set in memory has its bound: a C-STORE goes on in a file, anything else is refused (C20).
    fn check_size(&mut self, bytes: usize) {
        let limits = self.settings.limits;
        let Inbound::Request(collected) = &self.exchange.inbound else {
            if bytes > limits.dataset {
                self.violation(DecodeError::new(
                    "dataset-too-long",
                    format!(
                        "data set of a response longer than {} bytes",
                        limits.dataset
                    ),
                    0,
                    "PS3.7 9.3",
                ));
            }
            return;
        };
        let field = field_of(&collected.command);
        let most = if is_composite(field) && field != CommandField::C_STORE_RQ {
            limits.identifier
        } else {
            limits.dataset
        };
        if field == CommandField::C_STORE_RQ && self.settings.service.spool.is_some() {
            if bytes > limits.spool_above {
                self.spool();
            }
        } else if bytes > most {
            self.refuse_inbound(format!("longer than {most} bytes"));
        }
    }

    /// Moves the C-STORE being collected to a file.
    fn spool(&mut self) {
        let Some(spool) = self.settings.service.spool.clone() else {
            return;
        };
        let Inbound::Request(collected) =
            std::mem::replace(&mut self.exchange.inbound, Inbound::Discard)
        else {
            return;
        };
        let Collected {
            context_id,
            command,
            fragments,
            charge,
            ..
        } = collected;
        let request = self.store_request(context_id, &command);
        match Purpose::spool(spool, request) {
            Ok(purpose) => {
                let key = self
                    .exchange
                    .jobs
                    .open(purpose, context_id, command, charge);
                for fragment in fragments {
                    self.exchange.jobs.push(key, fragment, false);
                }
                self.exchange.inbound = Inbound::Store(key);
            }
            Err(refusal) => self.refuse_store(context_id, command, &refusal),
        }
    }

    /// Answers the message in progress before it is complete and forgets what came of it.
    pub(crate) fn refuse_inbound(&mut self, why: impl Into<String>) {
        const COMMENT: &str = "out of resources";
        let inbound = std::mem::replace(&mut self.exchange.inbound, Inbound::Discard);
        match inbound {
            Inbound::Request(collected) => {
                let status = if is_composite(field_of(&collected.command)) {
                    0xA700
                } else {
                    0x0213
                };
                self.respond(collected.context_id, &collected.command, status, COMMENT);
            }
            Inbound::Store(key) => {
                if let Some((context_id, command)) = self.exchange.jobs.forget(key) {
                    let refusal = Refusal::new(0xA700, COMMENT, why);
                    self.store_event(context_id, &command, 0, Err(&refusal));
                    self.respond(context_id, &command, refusal.status, &refusal.comment);
                }
            }
            other => self.exchange.inbound = other,
        }
    }

    fn enqueue(&mut self, context_id: u8, command: CommandSet, data: Data) {
        let cancelled = command
            .message_id()
            .and_then(|id| self.exchange.performing.get(&id))
            .map(|performing| Arc::clone(&performing.cancelled))
            .unwrap_or_default();
        let operation = Operation {
            association: handle_of(&self.shared),
            context_id,
            command,
            data,
            cancelled,
        };
        let Some(operations) = self.settings.service.operations.clone() else {
            return;
        };
        if let Err(refused) = operations.send(operation) {
            // The user stopped pulling: the request is answered, not lost.
            let Operation { command, .. } = refused.into_inner();
            self.respond(context_id, &command, 0xA700, "not serving");
        }
    }

    /// A writer thread is done, or a file's next bytes are there.
    pub(crate) fn exchange_progress(&mut self, progress: Progress) {
        match progress {
            Progress::Feed(None) => {
                self.exchange.feeds.pop_front();
                if self.exchange.is_feeding() {
                    let why = "the thread that read it failed in the middle of a file";
                    self.abort(Error::Input(why.to_owned()));
                }
            }
            Progress::Feed(Some(item)) => self.feed(item),
            Progress::Job(done) => {
                if let Some(finished) = self.exchange.jobs.done(done) {
                    if matches!(self.exchange.inbound, Inbound::Store(key) if key == finished.key) {
                        self.exchange.inbound = Inbound::Discard;
                    }
                    self.job_finished(finished);
                }
            }
        }
    }

    /// An instance is stored, spooled or refused.
    pub(crate) fn job_finished(&mut self, finished: Finished) {
        let Finished {
            context_id,
            command,
            bytes,
            outcome,
            ..
        } = finished;
        match outcome {
            Ok(Outcome::Stored(stored)) => {
                self.exchange.stored = self.exchange.stored.saturating_add(1);
                self.store_event(context_id, &command, bytes, Ok(stored));
                self.respond(context_id, &command, 0x0000, "");
            }
            // A handler could not answer any more.
            Ok(Outcome::Spooled(_)) if self.is_over() => {}
            Ok(Outcome::Spooled(spooled)) => {
                self.enqueue(context_id, command, Data::File(spooled));
            }
            Err(refusal) => {
                self.store_event(context_id, &command, bytes, Err(&refusal));
                self.respond(context_id, &command, refusal.status, &refusal.comment);
            }
        }
    }

    fn store_event(
        &self,
        context_id: u8,
        command: &CommandSet,
        bytes: u64,
        outcome: Result<crate::sink::Stored, &Refusal>,
    ) {
        let weight = if outcome.is_ok() {
            Weight::Detail
        } else {
            Weight::Problem
        };
        self.event(weight, || {
            let transfer_syntax = self
                .connection
                .negotiated()
                .and_then(|negotiated| negotiated.by_id(context_id))
                .and_then(|context| context.transfer_syntax.clone())
                .unwrap_or_default();
            let mut event = StoredEvent {
                titles: self.titles,
                sop_class: command.sop_class().unwrap_or_default(),
                sop_instance: command.sop_instance().unwrap_or_default(),
                transfer_syntax,
                status: 0x0000,
                detail: String::new(),
                bytes,
                path: None,
                kept: None,
                identical: false,
                verified: false,
            };
            match outcome {
                Ok(stored) => {
                    event.path = Some(stored.path);
                    event.kept = stored.kept;
                    event.identical = stored.identical;
                    event.verified = stored.verified;
                }
                Err(refusal) => {
                    event.status = refusal.status;
                    event.detail.clone_from(&refusal.detail);
                }
            }
            Event::Stored(Box::new(event))
        });
    }

    fn feed(&mut self, item: Item) {
        let (bytes, end) = match item {
            Item::Start {
                index,
                info,
                message_id,
                bytes,
                end,
            } => {
                let Some(feed) = self.exchange.feeds.front() else {
                    return;
                };
                let answer = Answer::Bulk {
                    index,
                    info,
                    results: feed.results.clone(),
                };
                self.exchange.invoked.insert(
                    message_id,
                    Invoked {
                        field: CommandField::C_STORE_RQ,
                        within: feed.within,
                        answer,
                    },
                );
                self.exchange.feeding = Some(message_id);
                (bytes, end)
            }
            Item::More { bytes, end } => (bytes, end),
            Item::Broken(error) => {
                // A message once begun can only be ended by its end.
                return self.abort(error);
            }
        };
        let mut sent = self.connection.send(bytes);
        if end {
            self.exchange.feeding = None;
            for bytes in std::mem::take(&mut self.exchange.deferred) {
                sent = sent.and_then(|()| self.connection.send(bytes));
            }
        }
        if let Err(error) = sent {
            self.abort(error.into());
        }
    }

    /// Sends requests that wait, while the window is open and no file is half sent.
    pub(crate) fn start_waiting(&mut self) {
        while self.exchange.feeding.is_none()
            && self.exchange.invoked.len() < self.exchange.window
            && !self.is_ending()
            && self.connection.check_send().is_ok()
        {
            let Some(invoke) = self.exchange.waiting.pop_front() else {
                return;
            };
            if self.exchange.invoked.contains_key(&invoke.message_id) {
                let error = LocalError::invalid(
                    format!("Message ID {} is outstanding", invoke.message_id),
                    "PS3.7 9.1.1.1.1",
                );
                let _gone = invoke.responses.send(Err(error.into()));
                continue;
            }
            let data = invoke.data.as_ref();
            if let Err(error) = self.send_message(invoke.context_id, &invoke.command, data) {
                let _gone = invoke.responses.send(Err(error));
                continue;
            }
            self.exchange.invoked.insert(
                invoke.message_id,
                Invoked {
                    field: field_of(&invoke.command),
                    within: invoke.within,
                    answer: Answer::Caller(invoke.responses),
                },
            );
        }
    }

    /// Sends an answer or C-CANCEL that the user made.
    pub(crate) fn send_answer(
        &mut self,
        context_id: u8,
        command: &CommandSet,
        data: Option<&Bytes>,
        done: Option<oneshot::Sender<Result<(), Error>>>,
    ) {
        let sent = self.send_message(context_id, command, data);
        if sent.is_ok() && field_of(command).is_response() {
            self.finish_performing(command);
        }
        match (sent, done) {
            (Ok(()), Some(done)) => self.write.mark(done),
            (Err(error), Some(done)) => {
                let _gone = done.send(Err(error));
            }
            (_, None) => {}
        }
    }

    fn finish_performing(&mut self, response: &CommandSet) {
        let pending = response.status().is_some_and(Status::is_pending);
        if let Some(id) = response.responding_to().filter(|_| !pending) {
            self.exchange.performing.remove(&id);
        }
    }

    /// Answers a request without asking the user.
    fn respond(&mut self, context_id: u8, request: &CommandSet, status: u16, comment: &str) {
        let duplicate = status == 0x0210;
        let Ok(mut response) = CommandSet::response_to(request, Status(status)) else {
            return; // only requests that can be answered get this far
        };
        if !comment.is_empty() {
            // Ours, short and of the default repertoire: it always fits.
            let _fits = response.set_text(element::ERROR_COMMENT, comment);
        }
        if !duplicate {
            self.finish_performing(&response);
        }
        // When the association is gone, so is who asked.
        let _gone = self.send_message(context_id, &response, None);
    }

    /// Frames a message for the peer and sends it. While a file is half sent it waits for the file's end:
    /// messages must not interleave.
    fn send_message(
        &mut self,
        context_id: u8,
        command: &CommandSet,
        data: Option<&Bytes>,
    ) -> Result<(), Error> {
        self.connection.check_send()?;
        let frames = self.frame(context_id, command, data);
        if field_of(command).is_response() {
            let bytes = frames.iter().map(Bytes::len).sum();
            self.exchange.owed = self.exchange.owed.saturating_add(bytes);
        }
        if self.exchange.feeding.is_some() {
            self.exchange.deferred.extend(frames);
        } else {
            for bytes in frames {
                self.connection.send(bytes)?;
            }
        }
        Ok(())
    }

    fn frame(&self, context_id: u8, command: &CommandSet, data: Option<&Bytes>) -> Vec<Bytes> {
        let max_fragment = self.connection.max_fragment();
        let mut framed = BytesMut::new();
        frame(
            &mut framed,
            context_id,
            true,
            &command.encode(),
            max_fragment,
        );
        let Some(data) = data else {
            return vec![framed.freeze()];
        };
        if data.len() <= COPY_BELOW {
            frame(&mut framed, context_id, false, data, max_fragment);
            return vec![framed.freeze()];
        }
        let mut frames = vec![framed.split().freeze()];
        let mut rest = data.clone();
        while !rest.is_empty() {
            let fragment = rest.split_to(max_fragment.clamp(2, rest.len().max(2)).min(rest.len()));
            let header = pdv_header(context_id, false, rest.is_empty(), fragment.len());
            framed.extend_from_slice(&header);
            frames.push(framed.split().freeze());
            frames.push(fragment);
        }
        frames
    }
}
