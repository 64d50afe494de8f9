//! What the peer says: responses find who asked, requests are routed, data sets are kept, stored or passed over.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use dimse_proto::DecodeError;
use dimse_proto::dimse::{CommandError, CommandField, CommandSet, Status, element};

use super::{Answer, Arriving, Collected, Inbound, Invoked, Performing};
use crate::association::mailbox::Invoke;
use crate::association::message::Response;
use crate::association::message::{Data, field_of, is_composite};
use crate::driver::Driver;
use crate::events::told::{Denied, Event, Kinds, Performed, StoredEvent};
use crate::metrics::Running;
use crate::receive::jobs::{Finished, Outcome, Purpose};
use crate::receive::refusal::Refusal;
use crate::receive::sink::{StoreRequest, Stored};
use crate::service::{Operation, Route};
use crate::terms::denial_of;

impl Driver {
    /// A complete command set has arrived.
    pub(crate) fn receive_command(&mut self, context_id: u8, command: CommandSet) {
        let field = field_of(&command);
        self.count(|metrics| metrics.received(field));
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
                answer: Answer::Caller(invoke),
                leaving,
                ..
            }) = self.exchange.invoked.get_mut(&id)
            {
                // Whoever asked may have left; the rest is read all the same.
                *leaving |= !invoke.responses.give(Ok(response));
            }
        } else if let Some(invoked) = self.exchange.invoked.remove(&id) {
            match invoked.answer {
                Answer::Caller(invoke)
                    if invoke.again > 0
                        && !response.command.status().is_none_or(Status::is_failure)
                        && !invoke.responses.is_abandoned() =>
                {
                    self.invoke_again(*invoke);
                }
                answer => answer.give(Ok(response)),
            }
        }
    }

    /// Puts a request back in line, as a new message.
    fn invoke_again(&mut self, mut invoke: Invoke) {
        invoke.again = invoke.again.saturating_sub(1);
        invoke.message_id = self.life.next_message_id();
        // 16 bits come round quickly: an operation that takes its time keeps its own.
        while self.exchange.invoked.contains_key(&invoke.message_id) {
            invoke.message_id = self.life.next_message_id();
        }
        let id = invoke.message_id;
        invoke.command.set_us(element::MESSAGE_ID, id);
        self.exchange.waiting.push_back(invoke);
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
            if !self.tolerates() {
                return;
            }
            return self.answer_after_data(
                context_id,
                command,
                Status::DUPLICATE_INVOCATION.0,
                "duplicate invocation",
            );
        }
        // An unfinished command set is answered by name where it can be; where not, the assembler aborted.
        let invalid = command.validate().err().and_then(CommandError::answer);
        let route = invalid
            .map(|status| Route::Answer(status.0, "element missing or unknown operation"))
            .or_else(|| self.route(context_id, &command))
            .unwrap_or(Route::Answer(Status::SOP_CLASS_NOT_SUPPORTED.0, ""));
        if matches!(route, Route::Answer(status, _) if Status(status).is_failure())
            && !self.tolerates()
        {
            return;
        }
        let story = match route {
            Route::Answer(..) | Route::Denied(_) => None,
            Route::Folder(..) | Route::Queue => self.story_of(id, context_id, &command),
        };
        self.begin(id, &command, story);
        match route {
            Route::Answer(status, comment) => {
                self.answer_after_data(context_id, command, status, comment);
            }
            // Not a mistake to be counted: each of a thousand instances has its honest answer.
            Route::Denied(status) => {
                self.answer_after_data(context_id, command, status, "not authorized");
            }
            Route::Folder(folder, desk) => {
                let request = self.store_request(context_id, &command);
                match Purpose::publish(folder, request) {
                    Ok(purpose) => {
                        let charge = self.exchange.budget.account();
                        let key = self
                            .exchange
                            .jobs
                            .open(purpose, context_id, command, charge, desk);
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

    /// Whether one more request by which no service can be meant is answered: a peer may go on making the same
    /// mistake, but not for ever.
    fn tolerates(&mut self) -> bool {
        self.exchange.errors = self.exchange.errors.saturating_add(1);
        let most = self.settings.limits.errors;
        let tolerated = self.exchange.errors <= most;
        if !tolerated {
            self.violation(DecodeError::new(
                "too-many-errors",
                format!(
                    "more than {most} requests that no service could be meant by (Limits.errors)"
                ),
                0,
                "PS3.7 C.5",
            ));
        }
        tolerated
    }

    /// An operation of the peer's is in progress from here on.
    fn begin(&mut self, id: u16, command: &CommandSet, story: Option<Box<Performed>>) {
        let field = field_of(command);
        let metrics = self.settings.metrics.as_ref();
        let performing = Performing {
            cancelled: Arc::default(),
            part_of: self.part_of(command),
            running: metrics.map(|metrics| Running::new(metrics, field)),
            story,
        };
        self.exchange.arriving =
            (metrics.is_some() && command.has_data_set()).then_some(Arriving {
                message_id: id,
                is_store: field == CommandField::C_STORE_RQ,
                bytes: 0,
            });
        self.exchange.performing.insert(id, performing);
    }

    /// Counts what arrives of a request's data set.
    fn count_data(&mut self, bytes: usize, last: bool) {
        let Some(arriving) = &mut self.exchange.arriving else {
            return;
        };
        arriving.bytes = arriving.bytes.saturating_add(bytes as u64);
        if !last {
            return;
        }
        if arriving.is_store {
            let bytes = arriving.bytes;
            self.count(|metrics| metrics.store_came(bytes));
        }
        if let Some(arrived) = self.exchange.arriving.take()
            && let Some(performing) = self.exchange.performing.get_mut(&arrived.message_id)
            && let Some(running) = &mut performing.running
        {
            running.is_whole();
        }
    }

    /// The retrieval that a C-STORE is a sub-operation of, if anybody wants to know.
    fn part_of(&self, command: &CommandSet) -> Option<u16> {
        if field_of(command) != CommandField::C_STORE_RQ || !self.wants(Kinds::SUB_OPERATION) {
            return None;
        }
        let moved = command.us(element::MOVE_ORIGINATOR_MESSAGE_ID);
        let gets = self.exchange.invoked.iter();
        moved.or_else(|| {
            gets.filter(|(_, invoked)| invoked.field == CommandField::C_GET_RQ)
                .map(|(id, _)| *id)
                .next()
        })
    }

    fn route(&mut self, context_id: u8, command: &CommandSet) -> Option<Route> {
        let context = self.connection.negotiated()?.by_id(context_id)?;
        let field = field_of(command);
        let class = &context.abstract_syntax;
        let permit = self.exchange.permit.as_ref();
        if permit.is_none_or(|permit| permit.allows(field, class)) {
            let retrieving = self.exchange.retrieving();
            return Some(self.settings.service.route(command, context, &retrieving));
        }
        let status = denial_of(field);
        self.event(Kinds::DENIED | Kinds::PROBLEM, || {
            Event::Denied(Box::new(Denied {
                field,
                sop_class: command.sop_class().unwrap_or_default(),
                sop_instance: command.sop_instance(),
                status,
            }))
        });
        Some(Route::Denied(status))
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
        StoreRequest {
            sop_class: command.sop_class().unwrap_or_default(),
            sop_instance: command.sop_instance().unwrap_or_default(),
            transfer_syntax: self.transfer_syntax(context_id),
            calling_ae: self.titles.calling,
            called_ae: self.titles.called,
        }
    }

    /// A fragment of the data set of the message in progress.
    pub(crate) fn receive_data(&mut self, fragment: Bytes, last: bool) {
        self.count_data(fragment.len(), last);
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
                let (context_id, command, data) = collected.into_data(self.read_size);
                self.deliver(context_id, command, data);
            }
            Inbound::Request(collected) => {
                let (context_id, command, data) = collected.into_data(self.read_size);
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
            // But Success is said to a whole request only.
            Inbound::Answered(command, context_id, status, comment) if status != 0 => {
                self.respond(context_id, &command, status, &comment);
            }
            _ => self.violation(DecodeError::new(
                "endless-data-set",
                format!(
                    "a data set that nobody wants went on for {} bytes",
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
                    .open(purpose, context_id, command, charge, None);
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
                    Status::OUT_OF_RESOURCES.0
                } else {
                    Status::RESOURCE_LIMITATION.0
                };
                self.respond(collected.context_id, &collected.command, status, COMMENT);
            }
            Inbound::Store(key) => {
                if let Some((context_id, command)) = self.exchange.jobs.forget(key) {
                    let refusal = Refusal::new(Status::OUT_OF_RESOURCES.0, COMMENT, why);
                    self.store_event(context_id, &command, 0, Err(&refusal));
                    self.respond(context_id, &command, refusal.status, &refusal.comment);
                }
            }
            other => self.exchange.inbound = other,
        }
    }

    fn enqueue(&mut self, context_id: u8, command: CommandSet, data: Data) {
        self.look_into(&command, &data);
        let cancelled = command
            .message_id()
            .and_then(|id| self.exchange.performing.get(&id))
            .map(|performing| Arc::clone(&performing.cancelled))
            .unwrap_or_default();
        let operation = Operation {
            association: self.handle(),
            context_id,
            command,
            data,
            cancelled,
            budget: self.exchange.budget.clone(),
        };
        let Some(operations) = self.settings.service.operations.clone() else {
            return;
        };
        if let Err(refused) = operations.send(operation) {
            // The user stopped pulling: the request is answered, not lost.
            let Operation { command, .. } = refused;
            self.respond(
                context_id,
                &command,
                Status::OUT_OF_RESOURCES.0,
                "not serving",
            );
        }
    }

    /// An instance is stored, spooled or refused.
    pub(crate) fn job_finished(&mut self, finished: Finished) {
        let Finished {
            context_id,
            command,
            bytes,
            desk,
            outcome,
            ..
        } = finished;
        match outcome {
            Ok(Outcome::Stored(stored)) => self.stored(context_id, &command, &stored),
            Ok(Outcome::Tentative(tentative)) => {
                if let Some(desk) = desk {
                    self.ask(context_id, command, tentative, &desk);
                }
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

    /// An instance is stored, and nobody has a word in it any more.
    pub(super) fn stored(&mut self, context_id: u8, command: &CommandSet, stored: &Stored) {
        self.exchange.stored = self.exchange.stored.saturating_add(1);
        if let Some(story) = self.story(command) {
            story.subject.clone_from(&stored.subject);
            story.identical = stored.identical;
            story.changed = stored.kept.is_some();
        }
        self.store_event(context_id, command, stored.bytes, Ok(stored));
        self.respond(context_id, command, Status::SUCCESS.0, "");
    }

    pub(super) fn store_event(
        &self,
        context_id: u8,
        command: &CommandSet,
        bytes: u64,
        outcome: Result<&Stored, &Refusal>,
    ) {
        let kinds = Kinds::STORED.problem_if(outcome.is_err());
        self.event(kinds, || {
            let mut event = StoredEvent {
                sop_class: command.sop_class().unwrap_or_default(),
                sop_instance: command.sop_instance().unwrap_or_default(),
                transfer_syntax: self.transfer_syntax(context_id),
                status: Status::SUCCESS.0,
                detail: String::new(),
                bytes,
                path: None,
                kept: None,
                identical: false,
                verified: false,
                oddities: Vec::new(),
            };
            match outcome {
                Ok(stored) => {
                    event.path = Some(stored.path.clone());
                    event.kept.clone_from(&stored.kept);
                    event.identical = stored.identical;
                    event.verified = stored.verified;
                    event.oddities.clone_from(&stored.oddities);
                }
                Err(refusal) => {
                    event.status = refusal.status;
                    event.detail.clone_from(&refusal.detail);
                }
            }
            Event::Stored(Box::new(event))
        });
    }
}
