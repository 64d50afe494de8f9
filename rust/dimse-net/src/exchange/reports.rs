//! Events of messages: what was sent, and for audit what the peer asked for and how that was answered.

use bytes::{Buf, Bytes, BytesMut};
use dimse_proto::Uid;
use dimse_proto::dimse::{CommandField, CommandSet, Status, element};
use dimse_proto::ul::pdu::{Header, Pdu};

use super::Exchange;
use super::line::Line;
use crate::association::message::{Data, field_of, is_composite};
use crate::events::event::{Event, Kinds, Performed, StoredEvent, SubOperation};
use crate::receive::refusal::Refusal;
use crate::receive::sink::{PatientStudy, Stored};

impl Exchange {
    /// The report on an open request, while one is wanted.
    pub(super) fn report(&mut self, command: &CommandSet) -> Option<&mut Performed> {
        let performing = self.performing.get_mut(&command.message_id()?)?;
        performing.report.as_deref_mut()
    }

    /// Finds out what a data set for the user is about, while that is wanted. An identifier is reported when it
    /// came: a request that is never answered was made all the same.
    pub(super) fn look_into(&mut self, line: &Line, command: &CommandSet, data: &Data) {
        let Some(report) = self.report(command) else {
            return;
        };
        match (field_of(command), data) {
            (CommandField::C_STORE_RQ, Data::Memory(parts)) => {
                report.subject = PatientStudy::of(&report.transfer_syntax, parts.fragments());
            }
            (CommandField::C_STORE_RQ, Data::File(spooled)) => {
                report.subject.clone_from(&spooled.subject);
            }
            (field, Data::Memory(parts)) if is_composite(field) => {
                let mut report = Box::new(report.clone());
                report.identifier = parts.fragments().concat().into();
                line.event(Kinds::PERFORMED, || Event::Performed(report));
            }
            _ => {}
        }
    }

    /// An instance of the peer's was stored, or refused.
    pub(super) fn store_event(
        &self,
        line: &Line,
        command: &CommandSet,
        bytes: u64,
        outcome: Result<&Stored, &Refusal>,
    ) {
        let kinds = Kinds::STORED.problem_if(outcome.is_err());
        line.event(kinds, || {
            let performing = command.message_id().and_then(|id| self.performing.get(&id));
            let mut event = StoredEvent {
                sop_class: command.sop_class().unwrap_or_default(),
                sop_instance: command.sop_instance().unwrap_or_default(),
                transfer_syntax: performing
                    .map(|performing| performing.transfer_syntax.clone())
                    .unwrap_or_default(),
                status: Status::SUCCESS.0,
                detail: String::new(),
                bytes,
                path: None,
                kept: None,
                identical: false,
                verified: false,
                oddities: Vec::new(),
                study: None,
                series: None,
            };
            match outcome {
                Ok(stored) => {
                    event.path = Some(stored.path.clone());
                    event.kept.clone_from(&stored.kept);
                    event.identical = stored.identical;
                    event.verified = stored.verified;
                    event.oddities.clone_from(&stored.oddities);
                    event.study.clone_from(&stored.subject.study);
                    event.series.clone_from(&stored.series);
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

/// A report on a request in a context of this transfer syntax, if one is wanted.
pub(super) fn report_of(
    line: &Line,
    id: u16,
    command: &CommandSet,
    transfer_syntax: &Uid,
) -> Option<Box<Performed>> {
    line.wants(Kinds::PERFORMED).then(|| {
        Box::new(Performed {
            field: field_of(command),
            message_id: id,
            sop_class: command.sop_class().unwrap_or_default(),
            sop_instance: command.sop_instance(),
            destination: command.text(element::MOVE_DESTINATION),
            transfer_syntax: transfer_syntax.clone(),
            status: None,
            identifier: Bytes::new(),
            subject: PatientStudy::default(),
            identical: false,
            changed: false,
        })
    })
}

/// A request was answered.
pub(super) fn answered(line: &Line, mut report: Box<Performed>, response: &CommandSet) {
    report.status = response.status().map(|Status(code)| code);
    line.event(Kinds::PERFORMED, || Event::Performed(report));
}

/// A message is about to be sent.
pub(super) fn message_sent(line: &Line, context_id: u8, command: &CommandSet, bytes: usize) {
    line.event(Kinds::MESSAGE, || Event::Message {
        sent: true,
        context_id,
        command: command.clone(),
        bytes: bytes as u64,
    });
}

/// A file is about to be sent, its C-STORE-RQ in front of it.
pub(super) fn file_sent(line: &Line, framed: &Bytes, bytes: u64) {
    if !line.wants(Kinds::MESSAGE) {
        return;
    }
    if let Some((context_id, command)) = command_of(framed.clone()) {
        line.event(Kinds::MESSAGE, || Event::Message {
            sent: true,
            context_id,
            command,
            bytes,
        });
    }
}

/// A C-STORE of the retrieval `of` is answered.
pub(super) fn sub_operation(line: &Line, of: u16, response: &CommandSet) {
    let text = |uid: Option<Uid>| uid.as_ref().map(Uid::to_text).unwrap_or_default();
    line.event(Kinds::SUB_OPERATION, || {
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

/// The command set that framed bytes begin with.
pub(crate) fn command_of(mut framed: Bytes) -> Option<(u8, CommandSet)> {
    // The reading thread framed it long before, without knowing whether the event would have a follower.
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
