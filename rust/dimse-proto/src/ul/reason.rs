//! Code values of A-ASSOCIATE-RJ, A-ASSOCIATE-AC and A-ABORT (PS3.8 9.3.3.2, 9.3.4, 9.3.8).
//!
//! Each type holds the number on the wire and names the values that the standard defines. A value that the standard
//! does not define is kept, sent again unchanged, and printed as a number.

use crate::error::DecodeError;

/// Declares an open enumeration: a newtype over the wire value, constants, and a name for each.
macro_rules! open_enum {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident = $value:literal $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub u8);

        impl $name {
            $($(#[$vmeta])* #[doc = $text] pub const $variant: Self = Self($value);)+

            /// The standard's name, if this value has one.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($value => Some($text),)+
                    _ => None,
                }
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                match self.name() {
                    Some(name) => f.write_str(name),
                    None => write!(f, "reserved value {}", self.0),
                }
            }
        }

        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                write!(f, "{}({})", stringify!($name), self)
            }
        }
    };
}

open_enum! {
    /// Result field of A-ASSOCIATE-RJ.
    RejectResult {
        PERMANENT = 1 "rejected-permanent",
        TRANSIENT = 2 "rejected-transient",
    }
}

open_enum! {
    /// Source field of A-ASSOCIATE-RJ. The meaning of the reason depends on it.
    RejectSource {
        SERVICE_USER = 1 "DICOM UL service-user",
        ACSE = 2 "DICOM UL service-provider (ACSE)",
        PRESENTATION = 3 "DICOM UL service-provider (presentation)",
    }
}

open_enum! {
    /// Result field of a presentation context in A-ASSOCIATE-AC.
    ContextResult {
        ACCEPTANCE = 0 "acceptance",
        USER_REJECTION = 1 "user-rejection",
        NO_REASON = 2 "no-reason",
        ABSTRACT_SYNTAX_NOT_SUPPORTED = 3 "abstract-syntax-not-supported",
        TRANSFER_SYNTAXES_NOT_SUPPORTED = 4 "transfer-syntaxes-not-supported",
    }
}

open_enum! {
    /// Source field of A-ABORT.
    AbortSource {
        SERVICE_USER = 0 "DICOM UL service-user",
        SERVICE_PROVIDER = 2 "DICOM UL service-provider",
    }
}

open_enum! {
    /// Reason field of A-ABORT; significant when the source is the service-provider.
    AbortReason {
        NOT_SPECIFIED = 0 "reason-not-specified",
        UNRECOGNIZED_PDU = 1 "unrecognized-PDU",
        UNEXPECTED_PDU = 2 "unexpected-PDU",
        UNRECOGNIZED_PDU_PARAMETER = 4 "unrecognized-PDU-parameter",
        UNEXPECTED_PDU_PARAMETER = 5 "unexpected-PDU-parameter",
        INVALID_PDU_PARAMETER = 6 "invalid-PDU-parameter-value",
    }
}

impl AbortReason {
    /// The reason that AA-8 gives for a PDU that could not be decoded. The standard does not map faults to reasons:
    /// this mapping is our own.
    #[must_use]
    pub fn of(error: &DecodeError) -> Self {
        match error.code {
            "unknown-pdu" => Self::UNRECOGNIZED_PDU,
            _ => Self::INVALID_PDU_PARAMETER,
        }
    }
}

/// A-ASSOCIATE-RJ (PS3.8 9.3.4). Any triple can be held; the constants are the triples that this library sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AssociateRj {
    /// Permanent or transient.
    pub result: RejectResult,
    /// The rejecting layer.
    pub source: RejectSource,
    /// Reason/Diag., to be read together with the source.
    pub reason: u8,
}

impl AssociateRj {
    /// (1,1,2) application-context-name-not-supported.
    pub const APPLICATION_CONTEXT: Self = Self::new(1, 1, 2);
    /// (1,1,3) calling-AE-title-not-recognized.
    pub const CALLING_AE: Self = Self::new(1, 1, 3);
    /// (1,1,7) called-AE-title-not-recognized.
    pub const CALLED_AE: Self = Self::new(1, 1, 7);
    /// (1,2,1) provider (ACSE), no reason given: a proposal that contradicts itself, or a refused user identity.
    pub const ACSE_NO_REASON: Self = Self::new(1, 2, 1);
    /// (1,2,2) protocol-version-not-supported.
    pub const PROTOCOL_VERSION: Self = Self::new(1, 2, 2);
    /// (2,3,1) temporary-congestion.
    pub const CONGESTION: Self = Self::new(2, 3, 1);
    /// (2,3,2) local-limit-exceeded.
    pub const LOCAL_LIMIT: Self = Self::new(2, 3, 2);
    /// (2,1,1) transient, service-user, no reason given.
    pub const USER_TRANSIENT: Self = Self::new(2, 1, 1);

    /// The triple as the standard writes it: result, source, reason.
    #[must_use]
    pub const fn new(result: u8, source: u8, reason: u8) -> Self {
        Self {
            result: RejectResult(result),
            source: RejectSource(source),
            reason,
        }
    }

    /// The standard's name of the reason, which depends on the source.
    #[must_use]
    pub const fn reason_name(self) -> Option<&'static str> {
        match (self.source.0, self.reason) {
            (1 | 2, 1) => Some("no-reason-given"),
            (1, 2) => Some("application-context-name-not-supported"),
            (1, 3) => Some("calling-AE-title-not-recognized"),
            (1, 7) => Some("called-AE-title-not-recognized"),
            (2, 2) => Some("protocol-version-not-supported"),
            (3, 1) => Some("temporary-congestion"),
            (3, 2) => Some("local-limit-exceeded"),
            _ => None,
        }
    }
}

/// A-ABORT (PS3.8 9.3.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Abort {
    /// The aborting layer.
    pub source: AbortSource,
    /// The reason; zero and not significant when the source is the service-user.
    pub reason: AbortReason,
}

impl Abort {
    /// Abort by the service-user.
    pub const USER: Self = Self {
        source: AbortSource::SERVICE_USER,
        reason: AbortReason::NOT_SPECIFIED,
    };

    /// Abort by the service-provider.
    #[must_use]
    pub const fn provider(reason: AbortReason) -> Self {
        Self {
            source: AbortSource::SERVICE_PROVIDER,
            reason,
        }
    }
}
