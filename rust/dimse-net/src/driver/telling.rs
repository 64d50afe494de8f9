//! What the driver tells of, while somebody follows it: PDUs, steps and messages.

use std::time::SystemTime;

use bytes::{Buf, Bytes, BytesMut};
use dimse_proto::Uid;
use dimse_proto::connection::trace::{Detail, Trace};
use dimse_proto::dimse::{CommandSet, Status};
use dimse_proto::ul::associate::Associate;
use dimse_proto::ul::pdu::{Header, Pdu};

use super::Driver;
use crate::events::told::{Event, Kinds, SubOperation, Told};

/// A message whose data set is not complete.
pub(super) struct Arriving {
    context_id: u8,
    command: CommandSet,
    bytes: u64,
}

impl Driver {
    pub(crate) fn event(&self, kinds: Kinds, event: impl FnOnce() -> Event) {
        let events = &self.settings.events;
        events.emit(self.life.id, kinds, || Told {
            association: self.life.id,
            titles: self.titles,
            peer: self.peer,
            at: SystemTime::now(),
            event: event(),
        });
    }

    /// Whether anybody follows one of these kinds.
    pub(crate) fn wants(&self, kinds: Kinds) -> bool {
        self.settings.events.wants(kinds)
    }

    /// Has the connection tell as much as is wanted.
    pub(super) fn look_on(&mut self) {
        self.connection.trace(if self.wants(Kinds::DATA) {
            Detail::All
        } else if self.wants(Kinds::TRACE) {
            Detail::Signals
        } else {
            Detail::Off
        });
    }

    /// What went by since the last output.
    pub(super) fn tell_traces(&mut self) {
        while let Some(trace) = self.connection.poll_trace() {
            let (sent, seen) = match trace {
                Trace::Step(step) if step.is_data() => {
                    self.event(Kinds::DATA_STATE, || Event::State(step));
                    continue;
                }
                Trace::Step(step) => {
                    self.event(Kinds::STATE, || Event::State(step));
                    continue;
                }
                Trace::Received(seen) => (false, seen),
                Trace::Sent(seen) => (true, seen),
            };
            let kinds = if seen.header.pdu_type == 0x04 {
                Kinds::DATA_PDU
            } else {
                Kinds::PDU
            };
            self.event(kinds, || {
                let classes = self.classes(seen.pdu.as_ref());
                Event::Pdu {
                    sent,
                    seen,
                    classes,
                }
            });
        }
    }

    /// What the contexts of an A-ASSOCIATE-AC were proposed for: it does not say that itself.
    fn classes(&self, pdu: Option<&Pdu>) -> Vec<(u8, Uid)> {
        let Some(Pdu::AssociateAc(_)) = pdu else {
            return Vec::new();
        };
        let established = self.life.established.get();
        let proposal = self.request.as_ref();
        proposal
            .or_else(|| established.map(|established| &established.request))
            .into_iter()
            .flat_map(Associate::proposed)
            .filter_map(|context| Some((context.id, context.abstract_syntaxes.first()?.clone())))
            .collect()
    }

    /// A command set was received: with it the message, if no data set follows.
    pub(super) fn tell_command(&mut self, context_id: u8, command: &CommandSet) {
        self.arriving = None;
        if !self.wants(Kinds::MESSAGE) {
            return;
        }
        self.arriving = Some(Box::new(Arriving {
            context_id,
            command: command.clone(),
            bytes: 0,
        }));
        if !command.has_data_set() {
            self.tell_data(0, true);
        }
    }

    /// More of the data set was received.
    pub(super) fn tell_data(&mut self, bytes: usize, last: bool) {
        let Some(arriving) = &mut self.arriving else {
            return;
        };
        arriving.bytes = arriving.bytes.saturating_add(bytes as u64);
        if last && let Some(arrived) = self.arriving.take() {
            let Arriving {
                context_id,
                command,
                bytes,
            } = *arrived;
            self.event(Kinds::MESSAGE, || Event::Message {
                sent: false,
                context_id,
                command,
                bytes,
            });
        }
    }

    /// A message is about to be sent.
    pub(crate) fn tell_message(&self, context_id: u8, command: &CommandSet, bytes: usize) {
        self.event(Kinds::MESSAGE, || Event::Message {
            sent: true,
            context_id,
            command: command.clone(),
            bytes: bytes as u64,
        });
    }

    /// A file is about to be sent, its C-STORE-RQ in front of it.
    pub(crate) fn tell_file(&self, framed: &Bytes, bytes: u64) {
        if !self.wants(Kinds::MESSAGE) {
            return;
        }
        if let Some((context_id, command)) = command_of(framed.clone()) {
            self.event(Kinds::MESSAGE, || Event::Message {
                sent: true,
                context_id,
                command,
                bytes,
            });
        }
    }

    /// A C-STORE of a retrieval is answered.
    pub(crate) fn tell_sub_operation(&self, of: u16, response: &CommandSet) {
        let text = |uid: Option<Uid>| uid.as_ref().map(Uid::to_text).unwrap_or_default();
        self.event(Kinds::SUB_OPERATION, || {
            Event::SubOperation(Box::new(SubOperation {
                sent: false,
                of,
                sop_class: text(response.sop_class()),
                sop_instance: text(response.sop_instance()),
                status: response.status().map(|Status(code)| code),
                detail: String::new(),
            }))
        });
    }
}

/// The command set that framed bytes begin with.
pub(super) fn command_of(mut framed: Bytes) -> Option<(u8, CommandSet)> {
    let mut whole = BytesMut::new();
    loop {
        let header = Header::read(framed.first_chunk()?);
        framed.advance(Header::LENGTH);
        let length = usize::try_from(header.length).ok()?;
        if header.pdu_type != 0x04 || length > framed.len() {
            return None;
        }
        let Ok(Pdu::PData(pdvs)) = Pdu::decode(header, framed.split_to(length)) else {
            return None;
        };
        for pdv in pdvs.into_iter().filter(|pdv| pdv.command) {
            whole.extend_from_slice(&pdv.fragment);
            if pdv.last {
                let command = CommandSet::decode(whole.freeze()).ok()?;
                return Some((pdv.context_id, command));
            }
        }
    }
}
