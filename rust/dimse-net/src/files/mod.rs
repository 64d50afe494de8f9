//! Files and data sets as they are on a disk: operations, headers, walks.

pub(crate) mod bare;
pub(crate) mod check;
pub(crate) mod disk;
pub mod part10;
pub mod walk;

pub use disk::{Disk, Files};
