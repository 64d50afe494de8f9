//! What comes from the peer: responses find their caller, requests are routed, data sets are kept, stored or passed
//! over.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use dimse_proto::dimse::{CommandError, CommandField, CommandSet, Status, element};
use dimse_proto::ul::negotiate::NegotiatedContext;
use dimse_proto::{DecodeError, Uid};

use super::arriving::{Arriving, Collected, Fate, Measured};
use super::line::Line;
use super::reports::report_of;
use super::{Exchange, Invoked, Performing, Recipient};
use crate::association::mailbox::Invoke;
use crate::association::message::{Data, Response, field_of, is_composite};
use crate::events::event::{Denied, Event, Kinds};
use crate::metrics::Running;
use crate::receive::folder::Folder;
use crate::receive::jobs::{Finished, Outcome, Purpose};
use crate::receive::refusal::{OUT_OF_RESOURCES, Refusal};
use crate::receive::sink::{StoreRequest, Stored};
use crate::receive::verdict::OnStored;
use crate::service::{Operation, Route};
use crate::terms::denial_of;

impl Exchange {
    /// A complete command set has arrived.
    pub(crate) fn receive_command(&mut self, line: &mut Line, context_id: u8, command: CommandSet) {
        let field = field_of(&command);
        line.count(|metrics| metrics.received(field));
        self.arriving = Arriving::begin(line, context_id, &command);
        if field.is_response() {
            self.receive_response(line, context_id, command);
        } else if field == CommandField::C_CANCEL_RQ {
            self.receive_cancel(&command);
        } else {
            self.messages = self.messages.saturating_add(1);
            self.receive_request(line, context_id, command);
        }
    }

    /// A C-CANCEL only leaves a mark: the performer of the operation looks at it between two responses, and its final
    /// response says whether it came in time. One for an operation that is unknown or finished is ignored.
    fn receive_cancel(&mut self, cancel: &CommandSet) {
        let performing = cancel
            .responding_to()
            .and_then(|id| self.performing.get(&id));
        if let Some(performing) = performing {
            performing.cancelled.store(true, Ordering::Relaxed);
        }
        if cancel.has_data_set() {
            self.arriving.fate = Fate::Discard;
        }
    }

    fn receive_response(&mut self, line: &mut Line, context_id: u8, command: CommandSet) {
        let id = command.responding_to().unwrap_or_default();
        let expected = self
            .invoked
            .get(&id)
            .and_then(|invoked| invoked.field.response());
        if expected != command.field() {
            return line.violation(DecodeError::new(
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
        if !pending && self.mid_file == Some(id) {
            // An early failed response: the data set may be cut short, and its end must still be sent.
            if let Some(transfer) = self.transfers.front() {
                transfer.cut.store(u32::from(id), Ordering::Relaxed);
            }
        }
        if command.has_data_set() {
            self.arriving.fate = Fate::Response(self.collect(context_id, command));
        } else {
            self.deliver(line, context_id, command, Data::None);
        }
    }

    /// Gives a complete response to who asked.
    fn deliver(&mut self, line: &Line, context_id: u8, command: CommandSet, data: Data) {
        let id = command.responding_to().unwrap_or_default();
        let pending = command.status().is_some_and(Status::is_pending);
        let response = Response {
            context_id,
            command,
            data,
        };
        // A pending response leaves the operation open, whatever becomes of it; any other status is the end, and gives
        // the place in the window back.
        if pending {
            if let Some(Invoked {
                recipient: Recipient::Caller(invoke),
                leaving,
                ..
            }) = self.invoked.get_mut(&id)
            {
                // The caller may have left; the rest is read all the same.
                *leaving |= !invoke.responses.give(Ok(response));
            }
        } else if let Some(invoked) = self.invoked.remove(&id) {
            match invoked.recipient {
                Recipient::Caller(invoke)
                    if invoke.options.again > 0
                        && !response.command.status().is_none_or(Status::is_failure)
                        && !invoke.responses.is_abandoned() =>
                {
                    self.invoke_again(line, *invoke);
                }
                recipient => recipient.give(Ok(response)),
            }
        }
    }

    /// Puts a request back into the queue, as a new message.
    fn invoke_again(&mut self, line: &Line, mut invoke: Invoke) {
        invoke.options.again = invoke.options.again.saturating_sub(1);
        invoke.message_id = line.life.next_message_id();
        // 16 bits come round quickly: an operation that takes its time keeps its own.
        while self.invoked.contains_key(&invoke.message_id) {
            invoke.message_id = line.life.next_message_id();
        }
        let id = invoke.message_id;
        invoke.command.set_us(element::MESSAGE_ID, id);
        self.waiting.push_back(invoke);
    }

    fn receive_request(&mut self, line: &mut Line, context_id: u8, command: CommandSet) {
        let Some(id) = command.message_id() else {
            return; // the assembler lets no such request through
        };
        // Requests beyond the negotiated window are harmless while they are few: they wait in the user's queue like the
        // others. What ends the association is a flood.
        if self.performing.len() >= self.tolerated {
            return line.violation(DecodeError::new(
                "window-overrun",
                format!(
                    "{} requests outstanding, far more than negotiated",
                    self.performing.len()
                ),
                0,
                "PS3.7 D.3.3.3",
            ));
        }
        if self.performing.contains_key(&id) {
            // The same Message ID twice (PS3.7 9.1.1.1.1). No entry of its own: its answer must not end the other's.
            if self.tolerates(line) {
                let status = Status::DUPLICATE_INVOCATION;
                self.answer_after_data(line, context_id, command, status, "duplicate invocation");
            }
            return;
        }
        let context = line.context(context_id);
        let transfer_syntax = context
            .and_then(|context| context.transfer_syntax.clone())
            .unwrap_or_default();
        // An unfinished command set is answered by name where it can be; where not, the assembler aborted.
        let invalid = command.validate().err().and_then(CommandError::answer);
        let route = invalid
            .map(|status| Route::Answer(status, "element missing or unknown operation"))
            .or_else(|| Some(self.route(line, context?, &command)))
            .unwrap_or(Route::Answer(Status::SOP_CLASS_NOT_SUPPORTED, ""));
        if matches!(route, Route::Answer(status, _) if status.is_failure()) && !self.tolerates(line)
        {
            return;
        }
        self.begin(line, id, &command, &route, transfer_syntax);
        self.follow_route(line, route, context_id, command);
    }

    /// Sends a request on the way that was found for it.
    fn follow_route(&mut self, line: &mut Line, route: Route, context_id: u8, command: CommandSet) {
        match route {
            Route::Answer(status, comment) => {
                self.answer_after_data(line, context_id, command, status, comment);
            }
            // Not a mistake to be counted: each of a thousand instances has its honest answer.
            Route::Denied(status) => {
                self.answer_after_data(line, context_id, command, status, "not authorized");
            }
            Route::Folder(folder, on_stored) => {
                self.store(line, context_id, command, folder, on_stored);
            }
            Route::Queue if command.has_data_set() => {
                self.arriving.fate = Fate::Request(self.collect(context_id, command));
            }
            Route::Queue => self.enqueue(line, context_id, command, Data::None),
        }
    }

    /// Has the instance to come written to the folder.
    fn store(
        &mut self,
        line: &mut Line,
        context_id: u8,
        command: CommandSet,
        folder: Arc<Folder>,
        on_stored: Option<OnStored>,
    ) {
        match Purpose::publish(folder, self.store_request(line, &command)) {
            Ok(purpose) => {
                let charge = self.budget.account();
                let key = self
                    .jobs
                    .open(purpose, context_id, command, charge, on_stored);
                self.arriving.fate = Fate::Store(key);
            }
            Err(refusal) => self.refuse_store(line, context_id, command, &refusal),
        }
    }

    /// Whether one more request by which no service can be meant is answered: a peer may go on making the same
    /// mistake, but not for ever.
    fn tolerates(&mut self, line: &mut Line) -> bool {
        self.errors = self.errors.saturating_add(1);
        let most = line.settings.limits.errors;
        let tolerated = self.errors <= most;
        if !tolerated {
            line.violation(DecodeError::new(
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
    fn begin(
        &mut self,
        line: &Line,
        id: u16,
        command: &CommandSet,
        route: &Route,
        transfer_syntax: Uid,
    ) {
        let field = field_of(command);
        let metrics = line.settings.metrics.as_ref();
        let report = match route {
            Route::Answer(..) | Route::Denied(_) => None,
            Route::Folder(..) | Route::Queue => report_of(line, id, command, &transfer_syntax),
        };
        let performing = Performing {
            cancelled: Arc::default(),
            transfer_syntax,
            part_of: self.part_of(line, command),
            retrievals: match field {
                CommandField::C_STORE_RQ => self.retrieving().followed,
                _ => Vec::new(),
            },
            running: metrics.map(|metrics| Running::new(metrics, field)),
            report,
        };
        self.arriving.measured = metrics.is_some().then_some(Measured {
            message_id: id,
            is_store: field == CommandField::C_STORE_RQ,
        });
        self.performing.insert(id, performing);
    }

    /// The data set of a request is whole: its size is known, and the time to its answer begins.
    fn measure(&mut self, line: &Line) {
        let Some(measured) = self.arriving.measured.take() else {
            return;
        };
        if measured.is_store {
            let bytes = self.arriving.bytes;
            line.count(|metrics| metrics.store_came(bytes));
        }
        if let Some(performing) = self.performing.get_mut(&measured.message_id)
            && let Some(running) = &mut performing.running
        {
            running.is_whole();
        }
    }

    /// The retrieval that a C-STORE is a sub-operation of, while its events have a follower.
    fn part_of(&self, line: &Line, command: &CommandSet) -> Option<u16> {
        if field_of(command) != CommandField::C_STORE_RQ || !line.wants(Kinds::SUB_OPERATION) {
            return None;
        }
        // A C-MOVE names itself in its sub-operations (PS3.7 9.1.4). Those of a C-GET come on the association of the
        // C-GET and say nothing: it is the one that is outstanding.
        let moved = command.us(element::MOVE_ORIGINATOR_MESSAGE_ID);
        let gets = self.invoked.iter();
        moved.or_else(|| {
            gets.filter(|(_, invoked)| invoked.field == CommandField::C_GET_RQ)
                .map(|(id, _)| *id)
                .next()
        })
    }

    /// Where a request goes, if its peer may make it at all.
    fn route(&self, line: &Line, context: &NegotiatedContext, command: &CommandSet) -> Route {
        let field = field_of(command);
        let class = &context.abstract_syntax;
        let permit = self.permit.as_ref();
        if permit.is_none_or(|permit| permit.allows(field, class)) {
            let retrieving = self.retrieving();
            return line.settings.service.route(command, context, &retrieving);
        }
        let status = denial_of(field);
        line.event(Kinds::DENIED | Kinds::PROBLEM, || {
            Event::Denied(Box::new(Denied {
                field,
                sop_class: command.sop_class().unwrap_or_default(),
                sop_instance: command.sop_instance(),
                status: status.0,
            }))
        });
        Route::Denied(status)
    }

    fn collect(&self, context_id: u8, command: CommandSet) -> Collected {
        Collected {
            context_id,
            command,
            fragments: Vec::new(),
            charge: self.budget.account(),
        }
    }

    /// Success may be said only after the data set is complete; so is everything else, for simplicity.
    fn answer_after_data(
        &mut self,
        line: &mut Line,
        context_id: u8,
        command: CommandSet,
        status: Status,
        comment: impl Into<Cow<'static, str>>,
    ) {
        let comment = comment.into();
        if command.has_data_set() {
            self.arriving.fate = Fate::Answered(command, context_id, status, comment);
        } else {
            self.respond(line, context_id, &command, status, &comment);
        }
    }

    fn refuse_store(
        &mut self,
        line: &mut Line,
        context_id: u8,
        command: CommandSet,
        refusal: &Refusal,
    ) {
        self.store_event(line, &command, 0, Err(refusal));
        let (status, comment) = (Status(refusal.status), refusal.comment.clone());
        self.answer_after_data(line, context_id, command, status, comment);
    }

    fn store_request(&self, line: &Line, command: &CommandSet) -> StoreRequest {
        let performing = command.message_id().and_then(|id| self.performing.get(&id));
        StoreRequest {
            sop_class: command.sop_class().unwrap_or_default(),
            sop_instance: command.sop_instance().unwrap_or_default(),
            transfer_syntax: performing
                .map(|performing| performing.transfer_syntax.clone())
                .unwrap_or_default(),
            calling_ae: line.titles.calling,
            called_ae: line.titles.called,
        }
    }

    /// A fragment of the data set of the message that is arriving.
    pub(crate) fn receive_data(&mut self, line: &mut Line, fragment: Bytes, last: bool) {
        self.arriving.count(line, fragment.len(), last);
        if last {
            self.measure(line);
        }
        match &mut self.arriving.fate {
            Fate::None | Fate::Discard | Fate::Answered(..) => {
                self.pass_over(line, fragment.len());
            }
            Fate::Store(key) => {
                let key = *key;
                self.jobs.push(key, fragment, last);
                if last {
                    self.arriving.fate = Fate::None;
                } else if self.arriving.bytes > self.arriving.bound {
                    let most = self.arriving.bound;
                    self.refuse_arriving(
                        line,
                        format!("longer than {most} bytes (Limits.instance)"),
                    );
                }
                return;
            }
            Fate::Response(collected) | Fate::Request(collected) => {
                collected.charge.add(fragment.len());
                collected.fragments.push(fragment);
                self.check_size(line);
            }
        }
        if last {
            self.complete(line);
        }
    }

    /// The message is whole.
    fn complete(&mut self, line: &mut Line) {
        let bytes = self.arriving.bytes;
        match std::mem::replace(&mut self.arriving.fate, Fate::None) {
            Fate::Response(collected) => {
                let (context_id, command, data) = collected.into_data(bytes, line.read_size);
                self.deliver(line, context_id, command, data);
            }
            Fate::Request(collected) => {
                let (context_id, command, data) = collected.into_data(bytes, line.read_size);
                self.enqueue(line, context_id, command, data);
            }
            Fate::Answered(command, context_id, status, comment) => {
                self.respond(line, context_id, &command, status, &comment);
            }
            // A store that was moved to a file by this very fragment has to learn that it was the last.
            Fate::Store(key) => self.jobs.push(key, Bytes::new(), true),
            Fate::None | Fate::Discard => {}
        }
    }

    /// Bytes that no part of this node has a use for cannot go on for ever: at the bound the message is answered,
    /// twice that is a fault (C20, C21).
    fn pass_over(&mut self, line: &mut Line, bytes: usize) {
        let arriving = &mut self.arriving;
        arriving.passed = arriving.passed.saturating_add(bytes as u64);
        if arriving.passed <= arriving.bound {
            return;
        }
        arriving.passed = 0;
        match arriving.discard() {
            // But Success is said to a whole request only.
            Fate::Answered(command, context_id, status, comment) if status != Status::SUCCESS => {
                self.respond(line, context_id, &command, status, &comment);
            }
            _ => line.violation(DecodeError::new(
                "endless-data-set",
                format!(
                    "a data set that is not wanted went on for {} bytes",
                    self.arriving.bound
                ),
                0,
                "PS3.7 9.3",
            )),
        }
    }

    /// A data set in memory has its bound: a C-STORE goes on in a file, anything else is refused (C20).
    fn check_size(&mut self, line: &mut Line) {
        let limits = line.settings.limits;
        let bytes = usize::try_from(self.arriving.bytes).unwrap_or(usize::MAX);
        let Fate::Request(collected) = &self.arriving.fate else {
            if bytes > limits.dataset {
                line.violation(DecodeError::new(
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
        if field == CommandField::C_STORE_RQ && line.settings.service.spool.is_some() {
            if bytes > limits.spool_above {
                self.spool(line);
            }
        } else if bytes > most {
            self.refuse_arriving(line, format!("longer than {most} bytes"));
        }
    }

    /// Moves the C-STORE being collected to a file.
    fn spool(&mut self, line: &mut Line) {
        let Some(spool) = line.settings.service.spool.clone() else {
            return;
        };
        let Fate::Request(collected) = self.arriving.discard() else {
            return;
        };
        let Collected {
            context_id,
            command,
            fragments,
            charge,
        } = collected;
        match Purpose::spool(spool, self.store_request(line, &command)) {
            Ok(purpose) => {
                let key = self.jobs.open(purpose, context_id, command, charge, None);
                for fragment in fragments {
                    self.jobs.push(key, fragment, false);
                }
                self.arriving.fate = Fate::Store(key);
            }
            Err(refusal) => self.refuse_store(line, context_id, command, &refusal),
        }
    }

    /// Answers the message that is arriving before it is complete and forgets what came of it.
    pub(crate) fn refuse_arriving(&mut self, line: &mut Line, why: impl Into<String>) {
        const COMMENT: &str = "out of resources";
        match self.arriving.discard() {
            Fate::Request(collected) => {
                let status = if is_composite(field_of(&collected.command)) {
                    Status::OUT_OF_RESOURCES
                } else {
                    Status::RESOURCE_LIMITATION
                };
                self.respond(
                    line,
                    collected.context_id,
                    &collected.command,
                    status,
                    COMMENT,
                );
            }
            Fate::Store(key) => {
                if let Some((context_id, command)) = self.jobs.forget(key) {
                    let refusal = Refusal::new(OUT_OF_RESOURCES, COMMENT, why);
                    self.answer_refused(line, context_id, &command, 0, &refusal);
                }
            }
            other => self.arriving.fate = other,
        }
    }

    /// Gives a request to the user.
    fn enqueue(&mut self, line: &mut Line, context_id: u8, command: CommandSet, data: Data) {
        self.look_into(line, &command, &data);
        // The mark that C-CANCEL and the end of the association leave: the same one for as long as the request is open.
        let (cancelled, retrievals) = command
            .message_id()
            .and_then(|id| self.performing.get_mut(&id))
            .map(|performing| {
                let retrievals = std::mem::take(&mut performing.retrievals);
                (Arc::clone(&performing.cancelled), retrievals)
            })
            .unwrap_or_default();
        let operation = Operation {
            association: line.handle(),
            context_id,
            command,
            data,
            cancelled,
            budget: self.budget.clone(),
            retrievals,
        };
        let Some(operations) = &line.settings.service.operations else {
            return;
        };
        if let Err(refused) = operations.send(operation) {
            // The user stopped pulling: the request is answered, not lost.
            let Operation { command, .. } = refused;
            let status = Status::OUT_OF_RESOURCES;
            self.respond(line, context_id, &command, status, "not serving");
        }
    }

    /// An instance is stored, spooled or refused.
    pub(super) fn job_finished(&mut self, line: &mut Line, finished: Finished) {
        let Finished {
            context_id,
            command,
            bytes,
            on_stored,
            outcome,
            ..
        } = finished;
        match outcome {
            Ok(Outcome::Stored(stored)) => self.answer_stored(line, context_id, &command, &stored),
            Ok(Outcome::Tentative(tentative)) => {
                if let Some(on_stored) = on_stored {
                    self.ask(line, context_id, command, tentative, &on_stored);
                }
            }
            // A handler could not answer any more.
            Ok(Outcome::Spooled(_)) if line.life.is_over() => {}
            Ok(Outcome::Spooled(spooled)) => {
                self.enqueue(line, context_id, command, Data::File(spooled));
            }
            Err(refusal) => self.answer_refused(line, context_id, &command, bytes, &refusal),
        }
    }

    /// An instance is stored for good.
    pub(super) fn answer_stored(
        &mut self,
        line: &mut Line,
        context_id: u8,
        command: &CommandSet,
        stored: &Stored,
    ) {
        if let Some(report) = self.report(command) {
            report.subject.clone_from(&stored.subject);
            report.identical = stored.identical;
            report.changed = stored.kept.is_some();
        }
        self.store_event(line, command, stored.bytes, Ok(stored));
        self.respond(line, context_id, command, Status::SUCCESS, "");
    }

    /// An instance of which so many bytes came is refused.
    pub(super) fn answer_refused(
        &mut self,
        line: &mut Line,
        context_id: u8,
        command: &CommandSet,
        bytes: u64,
        refusal: &Refusal,
    ) {
        self.store_event(line, command, bytes, Err(refusal));
        let status = Status(refusal.status);
        self.respond(line, context_id, command, status, &refusal.comment);
    }
}
