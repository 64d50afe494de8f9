//! A-ASSOCIATE-RQ and A-ASSOCIATE-AC (PS3.8 9.3.2, 9.3.3): one layout, so one type.

use alloc::vec::Vec;

use bytes::Bytes;

use super::item::{KeptItems, item, write_item};
use super::reason::ContextResult;
use super::user_info::{self, UserItem};
use crate::error::DecodeError;
use crate::wire::{Reader, Writer};
use crate::{AeTitle, Uid};

/// The body of an A-ASSOCIATE-RQ or A-ASSOCIATE-AC PDU, as it arrived: order, duplicates and items of unknown type are
/// kept, so that one place judges them ([`super::negotiate`]). Past a limit for each type further items are dropped, so
/// that a body of 1 MiB cannot take much more memory than that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Associate {
    /// Bit 0 means version 1; no other bit is tested (PS3.8 Table 9-11).
    pub protocol_version: u16,
    /// Called AE title, 16 bytes as on the wire: an AC repeats them byte for byte (PS3.8 9.3.3).
    pub called: [u8; 16],
    /// Calling AE title, 16 bytes as on the wire.
    pub calling: [u8; 16],
    /// Reserved; an AC repeats these bytes of the RQ.
    pub reserved: [u8; 32],
    /// Variable items.
    pub items: Vec<Item>,
}

/// A variable item of an A-ASSOCIATE PDU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// 10H: application context.
    ApplicationContext(Uid),
    /// 20H: presentation context, in requests.
    PresentationContextRq(PresentationContextRq),
    /// 21H: presentation context, in answers.
    PresentationContextAc(PresentationContextAc),
    /// 50H: user information.
    UserInformation(Vec<UserItem>),
    /// Any other type: has no effect (PS3.8 9.3.1), but is kept for logs.
    Unknown {
        /// Item type.
        item_type: u8,
        /// The bytes after the length field.
        body: Bytes,
    },
}

/// A proposed presentation context (20H), as it arrived. A well-formed one has exactly one abstract syntax and at least
/// one transfer syntax.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PresentationContextRq {
    /// Odd, 1 to 255, when well formed.
    pub id: u8,
    /// 30H sub-items.
    pub abstract_syntaxes: Vec<Uid>,
    /// 40H sub-items, in the requestor's order.
    pub transfer_syntaxes: Vec<Uid>,
}

/// An answered presentation context (21H).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PresentationContextAc {
    /// The id of the proposal.
    pub id: u8,
    /// Acceptance, or the reason of the rejection.
    pub result: ContextResult,
    /// 40H sub-items: exactly one for an acceptance; not significant for a rejection, and then not tested.
    pub transfer_syntaxes: Vec<Uid>,
}

impl Associate {
    /// The called AE title, trimmed.
    #[must_use]
    pub fn called_ae(&self) -> AeTitle {
        AeTitle::from_wire(&self.called)
    }

    /// The calling AE title, trimmed.
    #[must_use]
    pub fn calling_ae(&self) -> AeTitle {
        AeTitle::from_wire(&self.calling)
    }

    /// Application context names, in order.
    pub fn application_contexts(&self) -> impl Iterator<Item = &Uid> {
        self.items.iter().filter_map(|item| match item {
            Item::ApplicationContext(name) => Some(name),
            _ => None,
        })
    }

    /// Proposed contexts, in order.
    pub fn proposed(&self) -> impl Iterator<Item = &PresentationContextRq> {
        self.items.iter().filter_map(|item| match item {
            Item::PresentationContextRq(context) => Some(context),
            _ => None,
        })
    }

    /// Answered contexts, in order.
    pub fn answered(&self) -> impl Iterator<Item = &PresentationContextAc> {
        self.items.iter().filter_map(|item| match item {
            Item::PresentationContextAc(context) => Some(context),
            _ => None,
        })
    }

    /// User information sub-items of all 50H items, in order.
    pub fn user_items(&self) -> impl Iterator<Item = &UserItem> {
        self.items
            .iter()
            .filter_map(|item| match item {
                Item::UserInformation(items) => Some(items),
                _ => None,
            })
            .flatten()
    }
}

/// Presentation contexts of a proposal, at most: their ids are odd (PS3.8 9.3.2.2).
pub const MAX_CONTEXTS: usize = 128;

/// Transfer syntaxes kept of one context; what follows them is ignored.
pub const MAX_TRANSFER_SYNTAXES: usize = 64;

/// How many items of a type are kept: one more than is allowed, so that "too many" can be judged.
const fn limit(item_type: u8) -> Option<u8> {
    match item_type {
        0x10 | 0x50 => Some(2),
        0x20 | 0x21 => Some(129),
        _ => None,
    }
}

impl Associate {
    /// What is decoded shares one copy of the body: it is remembered for as long as the association lasts, and must
    /// not keep the buffer that it came in from being used again.
    pub(super) fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let body = Bytes::copy_from_slice(body);
        let mut reader = Reader::new(body, "PS3.8 9.3.2");
        let protocol_version = reader.u16("protocol version")?;
        let _reserved = reader.u16("reserved field")?;
        let mut associate = Self {
            protocol_version,
            called: reader.array("called AE title")?,
            calling: reader.array("calling AE title")?,
            reserved: reader.array("reserved field")?,
            items: Vec::new(),
        };
        let mut kept = KeptItems::new();
        while let Some((item_type, body)) = item(&mut reader, "item")? {
            if kept.admit(item_type, limit(item_type)) {
                associate.items.push(Item::decode(item_type, body)?);
            }
        }
        Ok(associate)
    }

    pub(super) fn encode(&self, out: &mut Writer) {
        out.u16(self.protocol_version);
        out.u16(0);
        out.bytes(&self.called);
        out.bytes(&self.calling);
        out.bytes(&self.reserved);
        for item in &self.items {
            item.encode(out);
        }
    }
}

impl Item {
    fn decode(item_type: u8, mut body: Reader) -> Result<Self, DecodeError> {
        Ok(match item_type {
            0x10 => Self::ApplicationContext(Uid::from_wire(body.rest())),
            0x20 => {
                let [id, _, _, _] = body.array("presentation context item")?;
                let syntaxes = Syntaxes::decode(body)?;
                Self::PresentationContextRq(PresentationContextRq {
                    id,
                    abstract_syntaxes: syntaxes.of_abstract,
                    transfer_syntaxes: syntaxes.of_transfer,
                })
            }
            0x21 => {
                let [id, _, result, _] = body.array("presentation context item")?;
                Self::PresentationContextAc(PresentationContextAc {
                    id,
                    result: ContextResult(result),
                    transfer_syntaxes: Syntaxes::decode(body)?.of_transfer,
                })
            }
            0x50 => Self::UserInformation(user_info::decode(body)?),
            _ => Self::Unknown {
                item_type,
                body: body.rest(),
            },
        })
    }

    /// Writes the item. The builder of an item refuses a body too long for the 16-bit length field.
    pub(super) fn encode(&self, out: &mut Writer) {
        match self {
            Self::ApplicationContext(name) => {
                write_item(out, 0x10, |out| out.bytes(name.as_bytes()));
            }
            Self::PresentationContextRq(context) => write_item(out, 0x20, |out| {
                out.bytes(&[context.id, 0, 0, 0]);
                for uid in &context.abstract_syntaxes {
                    write_item(out, 0x30, |out| out.bytes(uid.as_bytes()));
                }
                write_transfer_syntaxes(out, &context.transfer_syntaxes);
            }),
            Self::PresentationContextAc(context) => write_item(out, 0x21, |out| {
                out.bytes(&[context.id, 0, context.result.0, 0]);
                write_transfer_syntaxes(out, &context.transfer_syntaxes);
            }),
            Self::UserInformation(items) => {
                write_item(out, 0x50, |out| {
                    for item in items {
                        item.encode(out);
                    }
                });
            }
            Self::Unknown { item_type, body } => write_item(out, *item_type, |out| out.bytes(body)),
        }
    }
}

/// The sub-items of a presentation context.
struct Syntaxes {
    of_abstract: Vec<Uid>,
    of_transfer: Vec<Uid>,
}

impl Syntaxes {
    fn decode(mut body: Reader) -> Result<Self, DecodeError> {
        let mut syntaxes = Self {
            of_abstract: Vec::new(),
            of_transfer: Vec::new(),
        };
        while let Some((item_type, mut uid)) = item(&mut body, "syntax sub-item")? {
            let (list, limit) = match item_type {
                0x30 => (&mut syntaxes.of_abstract, 2),
                0x40 => (&mut syntaxes.of_transfer, MAX_TRANSFER_SYNTAXES),
                _ => continue,
            };
            if list.len() < limit {
                list.push(Uid::from_wire(uid.rest()));
            }
        }
        Ok(syntaxes)
    }
}

fn write_transfer_syntaxes(out: &mut Writer, uids: &[Uid]) {
    for uid in uids {
        write_item(out, 0x40, |out| out.bytes(uid.as_bytes()));
    }
}
