//! User information sub-items 51H to 59H (PS3.8 Annex D.1, PS3.7 Annex D.3.3).

use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;

use super::item::{KeptItems, item, write_item};
use crate::Uid;
use crate::error::DecodeError;
use crate::wire::{Reader, Writer};

/// Bytes that must not reach a log: a passcode, a ticket, or a username, which names a person. `Debug` prints the
/// length alone.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(pub Bytes);

/// One sub-item of the User Information item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserItem {
    /// 51H: largest P-DATA-TF PDU-length the sender of this item can receive; 0 is no limit.
    MaximumLength(u32),
    /// 52H: implementation class UID (PS3.7 D.3.3.2).
    ImplementationClassUid(Uid),
    /// 53H: asynchronous operations window (PS3.7 D.3.3.3).
    AsyncWindow {
        /// Maximum number of operations invoked; 0 is no limit.
        invoked: u16,
        /// Maximum number of operations performed; 0 is no limit.
        performed: u16,
    },
    /// 54H: SCP/SCU role selection (PS3.7 D.3.3.4).
    Role {
        /// The SOP class that the roles are for.
        sop_class: Uid,
        /// SCU role: 0 or 1.
        scu: u8,
        /// SCP role: 0 or 1.
        scp: u8,
    },
    /// 55H: implementation version name, 1 to 16 characters (PS3.7 D.3.3.2).
    ImplementationVersion(Bytes),
    /// 56H: extended negotiation (PS3.7 D.3.3.5).
    ExtendedNegotiation {
        /// The SOP class that the information is for.
        sop_class: Uid,
        /// Service-class-application-information.
        info: Bytes,
    },
    /// 57H: common extended negotiation, version 0 (PS3.7 D.3.3.6).
    CommonExtendedNegotiation {
        /// The proposed SOP class.
        sop_class: Uid,
        /// Its service class.
        service_class: Uid,
        /// Related general SOP classes.
        related: Vec<Uid>,
    },
    /// 58H: user identity (PS3.7 D.3.3.7.1).
    UserIdentityRq {
        /// 1 username, 2 username and passcode, 3 Kerberos, 4 SAML, 5 JWT.
        identity_type: u8,
        /// Whether the requestor wants an answer (59H).
        response_requested: bool,
        /// Username or ticket.
        primary: Secret,
        /// Passcode; only for type 2.
        secondary: Secret,
    },
    /// 59H: answer to the user identity (PS3.7 D.3.3.7.2).
    UserIdentityAc(Secret),
    /// Any other type: has no effect (PS3.8 9.3.1), but is kept for logs.
    Unknown {
        /// Sub-item type.
        item_type: u8,
        /// The bytes after the length field.
        body: Bytes,
    },
}

/// Related general SOP classes kept of one 57H, at most.
pub(super) const MAX_RELATED: usize = 64;

/// How many sub-items of a type are kept: two where one is allowed, so that negotiation can notice the second.
const fn limit(item_type: u8) -> Option<u8> {
    match item_type {
        0x51..=0x53 | 0x55 | 0x58 | 0x59 => Some(2),
        0x54 | 0x56 | 0x57 => Some(128),
        _ => None,
    }
}

/// Decodes the body of a 50H item.
pub(super) fn decode(mut reader: Reader) -> Result<Vec<UserItem>, DecodeError> {
    let mut items = Vec::new();
    let mut kept = KeptItems::new();
    while let Some((item_type, body)) = item(&mut reader, "user information sub-item")? {
        if kept.admit(item_type, limit(item_type)) {
            items.push(UserItem::decode(item_type, body)?);
        }
    }
    Ok(items)
}

impl UserItem {
    fn decode(item_type: u8, mut body: Reader) -> Result<Self, DecodeError> {
        let item = match item_type {
            0x51 => Self::MaximumLength(body.u32("maximum length")?),
            0x52 => Self::ImplementationClassUid(Uid::from_wire(body.rest())),
            0x53 => Self::AsyncWindow {
                invoked: body.u16("maximum number of operations invoked")?,
                performed: body.u16("maximum number of operations performed")?,
            },
            0x54 => Self::Role {
                sop_class: counted_uid(&mut body)?,
                scu: body.u8("SCU role")?,
                scp: body.u8("SCP role")?,
            },
            0x55 => Self::ImplementationVersion(body.rest()),
            0x56 => Self::ExtendedNegotiation {
                sop_class: counted_uid(&mut body)?,
                info: body.rest(),
            },
            0x57 => {
                let item = Self::CommonExtendedNegotiation {
                    sop_class: counted_uid(&mut body)?,
                    service_class: counted_uid(&mut body)?,
                    related: related(&mut body)?,
                };
                // Fields of later versions of the item, which must not be tested (PS3.7 D.3.3.6).
                let _reserved = body.rest();
                item
            }
            0x58 => Self::UserIdentityRq {
                identity_type: body.u8("user identity type")?,
                response_requested: body.u8("positive response requested")? != 0,
                primary: Secret(counted(&mut body, "primary field")?),
                secondary: Secret(counted(&mut body, "secondary field")?),
            },
            0x59 => Self::UserIdentityAc(Secret(counted(&mut body, "server response")?)),
            _ => Self::Unknown {
                item_type,
                body: body.rest(),
            },
        };
        // Bytes left over mean that a length inside the item lies, and then the fields read before may be wrong too: a
        // role or an identity must not be guessed.
        if body.is_empty() {
            Ok(item)
        } else {
            let what = alloc::format!(
                "{} stray bytes at the end of a {item_type:02X}H sub-item",
                body.remaining()
            );
            Err(body.error("stray-bytes", what))
        }
    }

    pub(super) fn encode(&self, out: &mut Writer) {
        write_item(out, self.item_type(), |out| match self {
            Self::MaximumLength(length) => out.u32(*length),
            Self::ImplementationClassUid(uid) => out.bytes(uid.as_bytes()),
            Self::AsyncWindow { invoked, performed } => {
                out.u16(*invoked);
                out.u16(*performed);
            }
            Self::Role {
                sop_class,
                scu,
                scp,
            } => {
                write_uid(out, sop_class);
                out.bytes(&[*scu, *scp]);
            }
            Self::ExtendedNegotiation { sop_class, info } => {
                write_uid(out, sop_class);
                out.bytes(info);
            }
            Self::CommonExtendedNegotiation {
                sop_class,
                service_class,
                related,
            } => {
                write_uid(out, sop_class);
                write_uid(out, service_class);
                out.counted_u16(|out| related.iter().for_each(|uid| write_uid(out, uid)));
            }
            Self::UserIdentityRq {
                identity_type,
                response_requested,
                primary,
                secondary,
            } => {
                out.bytes(&[*identity_type, u8::from(*response_requested)]);
                out.counted_u16(|out| out.bytes(&primary.0));
                out.counted_u16(|out| out.bytes(&secondary.0));
            }
            Self::UserIdentityAc(response) => out.counted_u16(|out| out.bytes(&response.0)),
            Self::ImplementationVersion(body) | Self::Unknown { body, .. } => out.bytes(body),
        });
    }

    const fn item_type(&self) -> u8 {
        match self {
            Self::MaximumLength(_) => 0x51,
            Self::ImplementationClassUid(_) => 0x52,
            Self::AsyncWindow { .. } => 0x53,
            Self::Role { .. } => 0x54,
            Self::ImplementationVersion(_) => 0x55,
            Self::ExtendedNegotiation { .. } => 0x56,
            Self::CommonExtendedNegotiation { .. } => 0x57,
            Self::UserIdentityRq { .. } => 0x58,
            Self::UserIdentityAc(_) => 0x59,
            Self::Unknown { item_type, .. } => *item_type,
        }
    }
}

fn write_uid(out: &mut Writer, uid: &Uid) {
    out.counted_u16(|out| out.bytes(uid.as_bytes()));
}

fn counted(body: &mut Reader, what: &'static str) -> Result<Bytes, DecodeError> {
    let length = usize::from(body.u16(what)?);
    body.take(length, what)
}

fn counted_uid(body: &mut Reader) -> Result<Uid, DecodeError> {
    counted(body, "UID").map(Uid::from_wire)
}

fn related(body: &mut Reader) -> Result<Vec<Uid>, DecodeError> {
    let length = usize::from(body.u16("related general SOP classes")?);
    let mut list = body.sub(length, "related general SOP classes", "PS3.7 D.3.3.6")?;
    let mut uids = Vec::new();
    while !list.is_empty() {
        let uid = counted_uid(&mut list)?;
        if uids.len() < MAX_RELATED {
            uids.push(uid);
        }
    }
    Ok(uids)
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({} bytes)", self.0.len())
    }
}
