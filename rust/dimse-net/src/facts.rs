//! What is known of an association: its number, its titles, and what secures it.

use dimse_proto::AeTitle;
use dimse_proto::ul::associate::Associate;

/// Number of an association, unique in the process.
pub type AssociationId = u64;

/// Both AE titles of an association.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Titles {
    /// Called AE title.
    pub called: AeTitle,
    /// Calling AE title.
    pub calling: AeTitle,
}

/// Titles as an A-ASSOCIATE carries them.
pub(crate) fn titles_of(associate: &Associate) -> Titles {
    Titles {
        called: associate.called_ae(),
        calling: associate.calling_ae(),
    }
}

/// Titles before any are known.
pub(crate) fn no_titles() -> Titles {
    Titles {
        called: AeTitle::from_wire(b""),
        calling: AeTitle::from_wire(b""),
    }
}

/// What a handshake agreed on.
#[derive(Clone, Debug)]
pub struct TlsFacts {
    /// `TLSv1_2` or `TLSv1_3`.
    pub version: String,
    /// The cipher suite, by its IANA name.
    pub cipher_suite: String,
    /// The peer's certificate, DER.
    pub certificate: Option<Vec<u8>>,
}
