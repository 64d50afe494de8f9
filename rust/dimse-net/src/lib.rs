//! DICOM associations over sockets, and SOP instances to and from files, on top of `dimse-proto`.
//!
//! | room | carries |
//! |---|---|
//! | [`files`] | every file operation the sink needs, behind one trait: the seam for fault tests |
//! | [`part10`] | PS3.10 section 7.1: the file meta information, written and read |
//! | [`sink`] | a received SOP instance becomes a file: scanned, synced, published by rename, or gone |
//! | [`source`] | a Part 10 file becomes P-DATA-TF PDUs, undecoded |
//!
//! The file rooms are plain blocking code; the driver calls them on writer threads.
#![forbid(unsafe_code)]

mod check;
pub mod files;
mod folder;
pub mod part10;
mod refusal;
pub mod sink;
pub mod source;

/// Names this implementation in A-ASSOCIATE (PS3.7 D.3.3.2) and in (0002,0012) of the files it writes.
pub const IMPLEMENTATION_CLASS_UID: &str = "2.25.324413136831325849851459817967476109970";

/// Names the version of this implementation, at most 16 characters (PS3.7 D.3.3.2, (0002,0013)).
pub const IMPLEMENTATION_VERSION_NAME: &str = concat!(
    "DIMSE_RS_",
    env!("CARGO_PKG_VERSION_MAJOR"),
    env!("CARGO_PKG_VERSION_MINOR")
);
