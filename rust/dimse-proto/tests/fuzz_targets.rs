//! The fuzz targets without a fuzzer: their corpora, and arbitrary input near enough to the valid to get deep.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

#[path = "support/corpus.rs"]
mod corpus;
#[path = "../../../fuzz/src/lies.rs"]
#[allow(dead_code, unreachable_pub)]
mod lies;
#[path = "../../../fuzz/src/proto/mod.rs"]
#[allow(unreachable_pub)]
mod targets;

use proptest::collection::vec;
use proptest::prelude::*;

use corpus::{inputs, replay};

#[test]
fn corpus_of_pdu_decode() {
    replay("pdu_decode", 366, targets::pdu_decode);
}

#[test]
fn corpus_of_pdu_roundtrip() {
    replay("pdu_roundtrip", 284, targets::pdu_roundtrip);
}

#[test]
fn corpus_of_command_set() {
    replay("command_set", 259, targets::command_set);
}

#[test]
fn corpus_of_assembler() {
    replay("assembler", 130, targets::assembler);
}

#[test]
fn corpus_of_fsm_walk() {
    replay("fsm_walk", 418, targets::fsm_walk);
}

#[test]
fn corpus_of_dataset_scan() {
    replay("dataset_scan", 218, targets::dataset_scan);
}

#[test]
fn corpus_of_ul_events() {
    replay("ul_events", 291, targets::ul_events);
}

#[test]
fn corpus_of_pdv_reassembly() {
    replay("pdv_reassembly", 297, targets::pdv_reassembly);
}

#[test]
fn corpus_of_user_info() {
    replay("user_info", 249, targets::user_info);
}

#[test]
fn corpus_of_negotiate() {
    replay("negotiate", 699, targets::negotiate);
}

#[test]
fn corpus_of_identifier() {
    replay("identifier", 480, targets::identifier);
}

/// What a mutator would make of the corpora: each input with some of its lengths and counts wrong.
#[test]
fn lies_break_nothing() {
    let shapes = [
        (
            "pdu_decode",
            lies::Shape::Pdu,
            targets::pdu_decode as fn(&[u8]),
        ),
        (
            "pdu_roundtrip",
            lies::Shape::TypedBody,
            targets::pdu_roundtrip,
        ),
        ("user_info", lies::Shape::UserItems, targets::user_info),
    ];
    for (target, shape, run) in shapes {
        let mut changed = 0;
        for (index, (_, input)) in inputs(target).into_iter().enumerate() {
            for turn in 0..8_u32 {
                let mut lied = input.clone();
                lies::lie(&mut lied, shape, index as u32 * 7919 + turn * 104_729);
                changed += usize::from(lied != input);
                run(&lied);
            }
        }
        assert!(changed > 100, "{changed} lies told to {target}");
    }
}

/// A step of `fsm_walk`; what leads on is more likely than what ends.
fn step() -> impl Strategy<Value = Vec<u8>> {
    let sample = 0_u8..16;
    prop_oneof![
        6 => (0_u8..6).prop_map(|request| vec![request]),
        4 => prop_oneof![Just(vec![0]), Just(vec![7]), Just(vec![0, 7])],
        1 => (6_u8..12).prop_map(|event| vec![event]),
        8 => vec(sample.clone(), 1..4).prop_map(segment_of),
        2 => (sample.clone(), any::<u8>()).prop_map(|(pdu, at)| vec![13, pdu, at, 14, pdu, at]),
        2 => (sample, any::<u8>(), any::<u8>()).prop_map(|(pdu, at, byte)| vec![15, pdu, at, byte]),
        1 => vec(any::<u8>(), 0..60).prop_map(|bytes| {
            [vec![12, u8::try_from(bytes.len()).unwrap()], bytes].concat()
        }),
    ]
}

/// Whole PDUs in one segment.
fn segment_of(samples: Vec<u8>) -> Vec<u8> {
    [vec![16, u8::try_from(samples.len()).unwrap()], samples].concat()
}

/// An end in one of the states a walk rarely gets to by chance: script by role.
fn opening() -> impl Strategy<Value = Vec<u8>> {
    const REQUESTOR: &[u8] = &[0, 7, 16, 1, 1];
    const ACCEPTOR: &[u8] = &[7, 16, 1, 0, 1];
    (any::<bool>(), any::<u8>(), 0_usize..5).prop_map(|(requestor, setup, more)| {
        let more: &[u8] = [
            &[][..],
            &[4],
            &[16, 1, 3],
            &[4, 16, 1, 3],
            &[4, 16, 1, 3, 5],
        ][more];
        let opening = if requestor { REQUESTOR } else { ACCEPTOR };
        [&[u8::from(requestor), setup & 0xf8], opening, more].concat()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn random_walks_keep_the_laws(opening in opening(), steps in vec(step(), 0..40)) {
        targets::fsm_walk(&[opening, steps.concat()].concat());
    }

    #[test]
    fn walks_from_idle_keep_the_laws(role in 0_u8..2, setup in any::<u8>(), steps in vec(step(), 0..40)) {
        targets::fsm_walk(&[vec![role, setup], steps.concat()].concat());
    }

    #[test]
    fn arbitrary_bytes_break_nothing(data in vec(any::<u8>(), 0..600)) {
        targets::pdu_decode(&data);
        targets::pdu_roundtrip(&data);
        targets::command_set(&data);
        targets::assembler(&data);
        targets::dataset_scan(&data);
        targets::fsm_walk(&data);
        targets::ul_events(&data);
        targets::pdv_reassembly(&data);
        targets::user_info(&data);
        targets::negotiate(&data);
        targets::identifier(&data);
    }
}
