//! The bodies of the fuzz targets: any bytes in, a panic out if a law of `dimse-proto` is broken.
//!
//! | target | law |
//! |---|---|
//! | `pdu_decode` | a PDU body is decoded or refused, and holds no more than it brought; a request has an answer |
//! | `pdu_roundtrip` | what was decoded is encoded to something that decodes to the same |
//! | `command_set` | the same for command sets; every request that can be answered has an answer that can be sent |
//! | `assembler` | where fragments are cut does not matter |
//! | `fsm_walk` | any events in any order: Table 9-10, ARTIM, what may be sent and told when; segments do not matter |
//! | `dataset_scan` | where chunks are cut does not matter; values and errors lie inside what was fed |
//!
//! The tests of `dimse-proto` include this file and replay the corpora, so it stays free of the fuzzer.

mod messages;
mod pdu;
mod scan;
mod walk;

pub use messages::{assembler, command_set};
pub use pdu::{pdu_decode, pdu_roundtrip};
pub use scan::dataset_scan;
pub use walk::fsm_walk;
