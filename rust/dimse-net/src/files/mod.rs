//! Files and data sets as they are on a disk: operations, headers, checks and walks.

pub(crate) mod bare;
pub(crate) mod check;
pub mod collected;
pub(crate) mod disk;
pub mod header;
pub(crate) mod open;
pub mod part10;
pub(crate) mod source_error;
pub mod walk;

pub use disk::{Disk, Files};
pub use source_error::{SourceError, SourceErrorKind};
