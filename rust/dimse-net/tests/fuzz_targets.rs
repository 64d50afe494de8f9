//! The fuzz targets of this crate without a fuzzer: their corpora, and arbitrary input.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

#[path = "../../dimse-proto/tests/support/corpus.rs"]
mod corpus;
#[path = "../../../fuzz/src/net/mod.rs"]
#[allow(unreachable_pub)]
mod targets;

use proptest::collection::vec;
use proptest::prelude::*;

use corpus::replay;

#[test]
fn corpus_of_scu_responses() {
    replay("scu_responses", 262, targets::scu_responses);
}

#[test]
fn corpus_of_uid_path() {
    replay("uid_path", 203, targets::uid_path);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_break_nothing(data in vec(any::<u8>(), 0..300)) {
        targets::scu_responses(&data);
        targets::uid_path(&data);
    }
}
