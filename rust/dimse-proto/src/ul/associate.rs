//! A-ASSOCIATE-RQ and A-ASSOCIATE-AC (PS3.8 9.3.2, 9.3.3): one layout, so one type.

use alloc::vec::Vec;

use bytes::Bytes;

use super::reason::ContextResult;
use super::user_info::UserItem;
use crate::{AeTitle, Uid};

/// The body of an A-ASSOCIATE-RQ or A-ASSOCIATE-AC PDU, as faithful as it arrived: order, duplicates and items
/// of unknown type are kept, so that meaning is judged in one place ([`super::negotiate`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Associate {
    /// Bit 0 set is version 1; only that bit is tested (PS3.8 Table 9-11).
    pub protocol_version: u16,
    /// Called AE title, 16 bytes as on the wire: an AC echoes them.
    pub called: [u8; 16],
    /// Calling AE title, 16 bytes as on the wire.
    pub calling: [u8; 16],
    /// Reserved; an AC echoes what the RQ carried.
    pub reserved: [u8; 32],
    /// Variable items.
    pub items: Vec<Item>,
}

/// A variable item of an A-ASSOCIATE PDU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// 10H.
    ApplicationContext(Uid),
    /// 20H, in requests.
    PresentationContextRq(PresentationContextRq),
    /// 21H, in answers.
    PresentationContextAc(PresentationContextAc),
    /// 50H.
    UserInformation(Vec<UserItem>),
    /// Any other type: ignored, but shown.
    Unknown {
        /// Item type.
        item_type: u8,
        /// What its length counted.
        body: Bytes,
    },
}

/// A proposed presentation context (20H). Exactly one abstract syntax and at least one transfer syntax make it
/// well formed; what arrived is what stands here.
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
    /// Acceptance or why not.
    pub result: ContextResult,
    /// 40H sub-items: exactly one and significant when accepted, else not tested (E-30).
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
