//! User information sub-items 51H to 59H (PS3.8 Annex D.1, PS3.7 Annex D.3.3).

use alloc::vec::Vec;

use bytes::Bytes;

use crate::Uid;

/// One sub-item of the User Information item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserItem {
    /// 51H: largest P-DATA-TF PDU-length the sender of this item can receive; 0 is no limit.
    MaximumLength(u32),
    /// 52H.
    ImplementationClassUid(Uid),
    /// 53H (PS3.7 D.3.3.3).
    AsyncWindow {
        /// Maximum number of operations invoked; 0 is no limit.
        invoked: u16,
        /// Maximum number of operations performed; 0 is no limit.
        performed: u16,
    },
    /// 54H (PS3.7 D.3.3.4).
    Role {
        /// The class the roles are for.
        sop_class: Uid,
        /// SCU role: 0 or 1.
        scu: u8,
        /// SCP role: 0 or 1.
        scp: u8,
    },
    /// 55H: 1 to 16 characters.
    ImplementationVersion(Bytes),
    /// 56H (PS3.7 D.3.3.5).
    ExtendedNegotiation {
        /// The class the information is for.
        sop_class: Uid,
        /// Service-class-application-information.
        info: Bytes,
    },
    /// 57H (PS3.7 D.3.3.6), version 0.
    CommonExtendedNegotiation {
        /// The class proposed.
        sop_class: Uid,
        /// Its service class.
        service_class: Uid,
        /// Related general SOP classes.
        related: Vec<Uid>,
    },
    /// 58H (PS3.7 D.3.3.7.1).
    UserIdentityRq {
        /// 1 username, 2 username and passcode, 3 Kerberos, 4 SAML, 5 JWT.
        identity_type: u8,
        /// Whether an answer (59H) is asked for.
        response_requested: bool,
        /// Username or ticket.
        primary: Bytes,
        /// Passcode; only for type 2.
        secondary: Bytes,
    },
    /// 59H (PS3.7 D.3.3.7.2).
    UserIdentityAc(Bytes),
    /// Any other type: ignored, but shown.
    Unknown {
        /// Sub-item type.
        item_type: u8,
        /// What its length counted.
        body: Bytes,
    },
}
