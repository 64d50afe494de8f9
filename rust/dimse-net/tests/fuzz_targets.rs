//! The fuzz targets of this crate without a fuzzer: their corpora, and arbitrary input.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

#[path = "../../../fuzz/src/net/mod.rs"]
#[allow(unreachable_pub)]
mod targets;

use std::fs;
use std::panic::{catch_unwind, resume_unwind};
use std::path::Path;

use proptest::collection::vec;
use proptest::prelude::*;

/// Replays `fuzz/corpus/<target>`: what was found once stays fixed, and what was covered stays covered.
fn replay(target: &str, run: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    let mut inputs = 0;
    for entry in fs::read_dir(corpus.join(target)).unwrap() {
        let path = entry.unwrap().path();
        let input = fs::read(&path).unwrap();
        if let Err(fault) = catch_unwind(|| run(&input)) {
            eprintln!("broken by {}", path.display());
            resume_unwind(fault);
        }
        inputs += 1;
    }
    assert!(inputs > 20, "{inputs} inputs for {target}");
}

#[test]
fn corpus_of_scu_responses() {
    replay("scu_responses", targets::scu_responses);
}

#[test]
fn corpus_of_uid_path() {
    replay("uid_path", targets::uid_path);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_break_nothing(data in vec(any::<u8>(), 0..300)) {
        targets::scu_responses(&data);
        targets::uid_path(&data);
    }
}
