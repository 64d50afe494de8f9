//! Received instances become files.

pub(crate) mod folder;
pub(crate) mod group;
pub(crate) mod jobs;
pub(crate) mod publish;
pub(crate) mod refusal;
pub(crate) mod sink;
pub(crate) mod undo;
pub(crate) mod verdict;

pub use folder::{Duplicates, Durability, Folder, Layout};
pub use refusal::Refusal;
pub use sink::{
    PatientStudy, Spooled, StoreRequest, Stored, Tentative, Writer, store_tentatively, store_whole,
};
pub use undo::Hold;
pub use verdict::{Arrival, Met, OnStored};
