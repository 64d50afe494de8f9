//! The byte stream under an association, plain or secured.

pub(crate) mod stream;
#[cfg(feature = "tls")]
pub mod tls;
#[cfg(not(feature = "tls"))]
#[path = "no_tls.rs"]
pub mod tls;
pub(crate) mod write;
