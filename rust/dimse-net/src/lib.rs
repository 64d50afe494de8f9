//! DICOM associations over sockets, and SOP instances to and from files, on top of `dimse-proto`.
//!
//! The rooms, from the top: each uses only rooms below its own floor (`tests/unit/test_rooms_rust.py`).
//!
//! | floor | room | carries |
//! |---|---|---|
//! | 12 | [`listener`] | accepting: pending connections, established associations, how many of both |
//! | 11 | `driver` | one task for each association, between a socket and the sans-IO core; `open` starts it |
//! | 10 | `exchange` | messages and their windows; `line` is what they need of the association |
//! | 9 | [`settings`] | what an association end needs to know besides its peer |
//! | 8 | [`service`] | what the node does with a peer's requests: sink, queue, or a preset answer |
//! | 8 | [`admission`] | proposals: what judges them, and those that wait for the user's decision |
//! | 7 | [`association`] | the user's handle, the mailbox of the driver, responses on their way to their callers |
//! | 6 | [`send`] | Part 10 files become C-STORE requests, read ahead and framed on a thread |
//! | 5 | [`life`], [`transport`] | how an association stands; the byte stream under it, TCP or TLS |
//! | 4 | [`events`] | what happened, and its followers |
//! | 3 | [`receive`] | instances become files: scanned, synced, published by rename, taken back by a verdict |
//! | 2 | [`files`] | file operations behind one trait, file meta information, checks and walks of data sets |
//! | 2 | [`metrics`], [`deadline`] | what a server counts; how long each wait may take |
//! | 1 | [`error`], [`facts`], [`limits`], [`queue`], [`runtime`], [`terms`] | what all of them speak of |
//!
//! Nothing here calls user code: what the user decides is pulled from a queue. Disks are waited for on threads that are
//! meant to block. One exception: a small instance that is not synced is written by the association's own task, which
//! tells the runtime so first (`receive::jobs`), because that takes less time than waking a thread.
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
