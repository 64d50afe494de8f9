//! The targets of `dimse-proto`.
//!
//! | target | law |
//! |---|---|
//! | `pdu_decode` | a PDU body is decoded or refused, and holds no more than it brought; a request has an answer |
//! | `pdu_roundtrip` | what was decoded is encoded to something that decodes to the same |
//! | `command_set` | the same for command sets; every request that can be answered has an answer that can be sent |
//! | `assembler` | where fragments are cut does not matter |
//! | `fsm_walk` | any events in any order: Table 9-10, ARTIM, what may be sent and told when; segments do not matter |
//! | `dataset_scan` | where chunks are cut does not matter; values and errors lie inside what was fed |
//! | `ul_events` | two ends of ours, whatever their users do, never accuse each other, and hear what was said |
//! | `pdv_reassembly` | messages framed in any way come out as they went in; with a lie, none comes out that was not in |
//! | `user_info` | user information is read, written and judged; no secret can be seen in what is logged |
//! | `negotiate` | both ends read the same out of a proposal and its answer, and nothing out of a lying answer |
//! | `identifier` | the elements that were asked for are found in data sets of any shape, and only there |

mod events;
mod identifier;
#[path = "../../../rust/dimse-proto/tests/support/memory.rs"]
mod memory;
mod messages;
mod negotiate;
mod pdu;
mod reassembly;
mod scan;
mod user_info;
mod walk;

pub use events::ul_events;
pub use identifier::identifier;
pub use messages::{assembler, command_set};
pub use negotiate::negotiate;
pub use pdu::{pdu_decode, pdu_roundtrip};
pub use reassembly::pdv_reassembly;
pub use scan::dataset_scan;
pub use user_info::user_info;
pub use walk::fsm_walk;

/// Most bytes that decoding may hold at a time: so much for each byte received, and a little.
const HELD_PER_BYTE: usize = 64;
const HELD_ANYWAY: usize = 4096;

/// Runs a decoder; what a peer declares must not be what is allocated.
fn bounded<T>(received: usize, decode: impl FnOnce() -> T) -> T {
    let mut decoded = None;
    let held = memory::peak(|| decoded = Some(decode()));
    assert!(
        held <= received * HELD_PER_BYTE + HELD_ANYWAY,
        "held {held} bytes for {received}"
    );
    let Some(decoded) = decoded else {
        panic!("it ran")
    };
    decoded
}
