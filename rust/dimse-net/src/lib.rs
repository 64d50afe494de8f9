//! DICOM associations over sockets, and SOP instances to and from files, on top of `dimse-proto`.
//!
//! | room | carries |
//! |---|---|
//! | [`association`] | the user's handle of an association, requestor or acceptor |
//! | `driver`, `exchange` | one task an association: bytes, time and messages between a socket and the sans-IO core |
//! | `invocation` | responses on their way to whoever asked |
//! | [`listener`] | accepting: who is let in, and how many |
//! | [`tls`] | certificates, and the handshake before an association |
//! | [`service`] | what the node does with a peer's requests: sink, queue, or a preset answer |
//! | [`bulk`], [`source`] | Part 10 files become C-STORE requests, read ahead and framed on a thread |
//! | `store`, [`sink`] | received instances become files on writer threads: scanned, synced, published by rename |
//! | `folder`, `group` | names in a folder of instances; one folder sync for all who wait for one |
//! | [`verdict`] | stored instances that wait for the user's word |
//! | [`files`], [`part10`] | the file operations behind one trait; the file meta information (PS3.10 7.1) |
//! | [`event`], `follow` | what happened, for whoever pulls it |
//! | [`metrics`] | how often it did, and how long it took, for whoever asks |
//!
//! Nothing here ever calls user code, and no task ever blocks on a disk.
#![forbid(unsafe_code)]

pub mod admission;
pub mod association;
mod bare;
pub mod bulk;
mod check;
pub mod deadline;
mod driver;
pub mod error;
pub mod event;
mod exchange;
pub mod files;
mod folder;
mod follow;
mod group;
mod invocation;
pub mod limits;
pub mod listener;
pub mod metrics;
pub mod part10;
pub mod queue;
mod refusal;
pub mod runtime;
pub mod service;
pub mod sink;
pub mod source;
mod store;
#[cfg(feature = "tls")]
pub mod tls;
#[cfg(not(feature = "tls"))]
#[path = "no_tls.rs"]
pub mod tls;
mod transport;
pub mod verdict;
pub mod walk;
mod write;
