//! What is sent to the peer: requests within the window, answers, files.

use bytes::{Bytes, BytesMut};
use dimse_proto::LocalError;
use dimse_proto::dimse::{CommandField, CommandSet, Status, element};
use dimse_proto::ul::data::{frame, pdv_header};
use tokio::sync::oneshot;

use super::line::Line;
use super::{Exchange, Invoked, Recipient, reports};
use crate::association::mailbox::Invoke;
use crate::association::message::{Data, Response, field_of};
use crate::error::Error;
use crate::send::bulk::Item;

/// Data sets up to this size are copied behind their headers and leave in one write; larger ones are written as
/// slices.
const COPY_BELOW: usize = 64 << 10;

/// What a response takes beside its bytes while it waits to be written.
const RESPONSE_COST: usize = 128;

/// Bytes of files that wait for a peer to read them.
const FILES_LIMIT: usize = 1 << 20;

impl Exchange {
    /// The write queue has room for files, and they may be sent: behind the peer's request to release only the rest
    /// of one that is half sent.
    pub(crate) fn wants_files(&self, line: &Line) -> bool {
        line.write.len() < FILES_LIMIT
            && line.connection.check_send().is_ok()
            && (!line.release_asked || self.is_mid_file())
    }

    /// No two operations outstanding have the same Message ID.
    fn check_unused(&self, message_id: u16) -> Result<(), Error> {
        if self.invoked.contains_key(&message_id) {
            let what = format!("Message ID {message_id} is outstanding");
            return Err(LocalError::invalid(what, "PS3.7 9.1.1.1.1").into());
        }
        Ok(())
    }

    /// Sends what the first transfer has read.
    pub(super) fn send_piece(&mut self, line: &mut Line, item: Item) {
        if let Item::Start { message_id, .. } = &item
            && let Err(error) = self.check_unused(*message_id)
        {
            if let Some(transfer) = self.transfers.front_mut() {
                transfer.refuse(item, &error);
            }
            return;
        }
        let (bytes, end) = match item {
            Item::Start {
                index,
                info,
                message_id,
                bytes,
                end,
            } => {
                reports::file_sent(line, &bytes, info.data_length);
                line.count(|metrics| metrics.sent(CommandField::C_STORE_RQ, None));
                let Some(transfer) = self.transfers.front() else {
                    return;
                };
                let recipient = Recipient::Bulk {
                    index,
                    info,
                    results: transfer.results(),
                };
                self.invoked.insert(
                    message_id,
                    Invoked::new(CommandField::C_STORE_RQ, transfer.within, recipient),
                );
                self.mid_file = Some(message_id);
                self.files_next = false;
                (bytes, end)
            }
            Item::More { bytes, end } => (bytes, end),
            Item::Broken(error) => {
                // A message once begun can only be ended by its end.
                return line.abort(error);
            }
        };
        let mut sent = line.connection.send(bytes);
        if end {
            self.mid_file = None;
            // Round robin: the next file is that of another sending.
            self.transfers.rotate_left(1);
            for bytes in std::mem::take(&mut self.deferred) {
                sent = sent.and_then(|()| line.connection.send(bytes));
            }
        }
        if let Err(error) = sent {
            line.abort(error.into());
        }
    }

    /// Sends what waits, while the window is open and no file is half sent: requests in their order, in turns with
    /// files.
    pub(crate) fn start_waiting(&mut self, line: &mut Line) {
        while self.mid_file.is_none()
            && self.invoked.len() < self.window
            && !line.release_asked
            && line.connection.check_send().is_ok()
        {
            // Calls and files alternate: a sending of thousands of files must not keep a C-ECHO waiting, nor the other
            // way round.
            let files_turn = self.files_next || self.waiting.is_empty();
            if files_turn
                && self.wants_files(line)
                && let Some(item) = self.ready_file()
            {
                self.send_piece(line, item);
            } else if let Some(invoke) = self.next_waiting() {
                if !invoke.responses.is_abandoned() {
                    self.start(line, invoke);
                }
            } else {
                return;
            }
        }
    }

    /// The next request that may leave. A C-GET waits for the end of one that was closed: the instances of both come as
    /// C-STORE requests that name neither (PS3.7 9.1.3), and those of the first would be taken for the second's. What is
    /// behind it need not wait.
    fn next_waiting(&mut self) -> Option<Invoke> {
        let waits = self.retrieves_in_vain();
        let next = self
            .waiting
            .iter()
            .position(|invoke| !(waits && field_of(&invoke.command) == CommandField::C_GET_RQ))?;
        self.waiting.remove(next)
    }

    fn start(&mut self, line: &mut Line, invoke: Invoke) {
        self.files_next = true;
        let data = invoke.data.as_ref();
        let sent = self
            .check_unused(invoke.message_id)
            .and_then(|()| self.send_message(line, invoke.context_id, &invoke.command, data));
        if let Err(error) = sent {
            invoke.responses.give(Err(error));
            return;
        }
        self.invoked.insert(
            invoke.message_id,
            Invoked::new(
                field_of(&invoke.command),
                invoke.options.within,
                Recipient::Caller(Box::new(invoke)),
            ),
        );
    }

    /// Sends an answer or C-CANCEL that the user made.
    pub(crate) fn send_answer(
        &mut self,
        line: &mut Line,
        context_id: u8,
        command: &CommandSet,
        data: Option<&Bytes>,
        done: Option<oneshot::Sender<Result<(), Error>>>,
    ) {
        // Cancellation of ours (PS3.7 9.3.2.3): a request that still waits is taken back without a byte on the wire.
        // One that has left is only marked: the peer answers it with its final response, Cancel or not, and until
        // then it keeps its place in the window.
        if field_of(command) == CommandField::C_CANCEL_RQ && self.cancel_waiting(command) {
            if let Some(done) = done {
                let _gone = done.send(Ok(()));
            }
            return;
        }
        let sent = self.send_message(line, context_id, command, data);
        if sent.is_ok() && field_of(command).is_response() {
            self.finish_performing(line, command);
        } else if let Some(cancelled) = command.responding_to() {
            self.leave(cancelled);
        }
        match (sent, done) {
            (Ok(()), Some(done)) => line.write.mark(done),
            (Err(error), Some(done)) => {
                let _gone = done.send(Err(error));
            }
            (_, None) => {}
        }
    }

    /// Whether the request to be cancelled has not left: then it does not, and its invocation ends with Cancel.
    fn cancel_waiting(&mut self, cancel: &CommandSet) -> bool {
        let waiting = &mut self.waiting;
        let position = waiting
            .iter()
            .position(|invoke| Some(invoke.message_id) == cancel.responding_to());
        let Some(invoke) = position.and_then(|index| waiting.remove(index)) else {
            return false;
        };
        if let Ok(command) = CommandSet::response_to(&invoke.command, Status::CANCEL) {
            invoke.responses.give(Ok(Response {
                context_id: invoke.context_id,
                command,
                data: Data::None,
            }));
        }
        true
    }

    fn finish_performing(&mut self, line: &Line, response: &CommandSet) {
        let pending = response.status().is_some_and(Status::is_pending);
        if let Some(id) = response.responding_to().filter(|_| !pending) {
            let Some(performed) = self.performing.remove(&id) else {
                return;
            };
            self.count_store(line, response);
            if let Some(running) = &performed.running {
                running.answered(response.status().unwrap_or(Status::SUCCESS));
            }
            if let Some(of) = performed.part_of {
                reports::sub_operation(line, of, response);
            }
            if let Some(report) = performed.report {
                reports::answered(line, report, response);
            }
        }
    }

    /// Counts what became of an instance: of the association, and of the C-GET of ours that is outstanding.
    fn count_store(&mut self, line: &Line, response: &CommandSet) {
        if response.field() != CommandField::C_STORE_RQ.response() {
            return;
        }
        let status = response.status().unwrap_or(Status::SUCCESS);
        if !status.is_failure() {
            self.stored = self.stored.saturating_add(1);
        }
        if !self.retrieving().contexts.is_empty() {
            let comment = response.text(element::ERROR_COMMENT).unwrap_or_default();
            line.life.received.lock().count(status, comment);
        }
    }

    /// Answers a request without asking the user.
    pub(super) fn respond(
        &mut self,
        line: &mut Line,
        context_id: u8,
        request: &CommandSet,
        status: Status,
        comment: &str,
    ) {
        let duplicate = status == Status::DUPLICATE_INVOCATION;
        let Ok(mut response) = CommandSet::response_to(request, status) else {
            return; // only requests that can be answered get this far
        };
        if !comment.is_empty() {
            // Ours, short and of the default repertoire: it always fits.
            let _fits = response.set_text(element::ERROR_COMMENT, comment);
        }
        if !duplicate {
            self.finish_performing(line, &response);
        }
        // When the association is gone, so is who asked.
        let _gone = self.send_message(line, context_id, &response, None);
    }

    /// Frames a message for the peer and sends it. While a file is half sent it waits for the file's end:
    /// messages must not interleave.
    fn send_message(
        &mut self,
        line: &mut Line,
        context_id: u8,
        command: &CommandSet,
        data: Option<&Bytes>,
    ) -> Result<(), Error> {
        line.connection.check_send()?;
        let frames = framed(line.connection.max_fragment(), context_id, command, data);
        // Counted when it is framed: it is owed whether it waits in `deferred` or in the write queue.
        if field_of(command).is_response() {
            let bytes: usize = frames.iter().map(Bytes::len).sum();
            let owed = bytes.saturating_add(RESPONSE_COST);
            self.owed = self.owed.saturating_add(owed);
        }
        if self.mid_file.is_some() {
            self.deferred.extend(frames);
        } else {
            for bytes in frames {
                line.connection.send(bytes)?;
            }
        }
        reports::message_sent(line, context_id, command, data.map_or(0, Bytes::len));
        line.count(|metrics| metrics.sent(field_of(command), command.status()));
        Ok(())
    }
}

/// A message as PDUs of one fragment each, its data set copied or as slices.
fn framed(
    max_fragment: usize,
    context_id: u8,
    command: &CommandSet,
    data: Option<&Bytes>,
) -> Vec<Bytes> {
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
    // A small copy costs less than more slices in the system call, and holds no buffer of the user's.
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
