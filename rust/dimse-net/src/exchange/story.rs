//! What is told of the peer's requests while somebody wants to know who did what: for audit.

use bytes::Bytes;
use dimse_proto::dimse::{CommandField, CommandSet, Status, element};

use crate::association::message::{Data, field_of, is_composite};
use crate::driver::Driver;
use crate::events::told::{Event, Kinds, Performed};
use crate::receive::sink::Subject;

impl Driver {
    /// What is to be told of a request, if anybody wants to know.
    pub(super) fn story_of(
        &self,
        id: u16,
        context_id: u8,
        command: &CommandSet,
    ) -> Option<Box<Performed>> {
        self.wants(Kinds::PERFORMED).then(|| {
            Box::new(Performed {
                field: field_of(command),
                message_id: id,
                sop_class: command.sop_class().unwrap_or_default(),
                sop_instance: command.sop_instance(),
                destination: command.text(element::MOVE_DESTINATION),
                transfer_syntax: self.transfer_syntax(context_id),
                status: None,
                identifier: Bytes::new(),
                subject: Subject::default(),
                identical: false,
                changed: false,
            })
        })
    }

    /// What is to be told of an open request.
    pub(super) fn story(&mut self, command: &CommandSet) -> Option<&mut Performed> {
        let performing = &mut self.exchange.performing;
        performing
            .get_mut(&command.message_id()?)?
            .story
            .as_deref_mut()
    }

    /// Finds out what a data set for the user is about, if anybody wants to know.
    pub(super) fn look_into(&mut self, command: &CommandSet, data: &Data) {
        let Some(story) = self.story(command) else {
            return;
        };
        match (field_of(command), data) {
            (CommandField::C_STORE_RQ, Data::Memory(parts)) => {
                story.subject = Subject::of(&story.transfer_syntax, parts.fragments());
            }
            (CommandField::C_STORE_RQ, Data::File(spooled)) => {
                story.subject.clone_from(&spooled.subject);
            }
            (field, Data::Memory(parts)) if is_composite(field) => {
                let mut story = Box::new(story.clone());
                story.identifier = parts.fragments().concat().into();
                self.event(Kinds::PERFORMED, || Event::Performed(story));
            }
            _ => {}
        }
    }

    /// A request was answered.
    pub(super) fn end_story(&self, mut story: Box<Performed>, response: &CommandSet) {
        story.status = response.status().map(|Status(code)| code);
        self.event(Kinds::PERFORMED, || Event::Performed(story));
    }
}
