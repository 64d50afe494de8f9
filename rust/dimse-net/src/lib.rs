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
pub mod deadline;
mod driver;
pub mod error;
pub mod events;
mod exchange;
pub mod facts;
pub mod files;
pub mod life;
pub mod limits;
pub mod listener;
pub mod metrics;
pub mod queue;
pub mod receive;
pub mod runtime;
pub mod send;
pub mod service;
pub mod settings;
pub mod terms;
pub mod transport;
