//! Messages out of fragments, and what a peer gets that breaks their order.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

use bytes::Bytes;
use dimse_proto::Uid;
use dimse_proto::connection::{Assembler, AssemblyError, AssemblyEvent, AssemblyLimits};
use dimse_proto::dimse::{CommandField, CommandSet};
use dimse_proto::ul::data::Pdv;
use dimse_proto::ul::reason::{Abort, AbortReason};
use hex_literal::hex;
use proptest::prelude::*;

const UNEXPECTED: Abort = Abort::provider(AbortReason::UNEXPECTED_PDU_PARAMETER);
const INVALID: Abort = Abort::provider(AbortReason::INVALID_PDU_PARAMETER);

fn assembler() -> Assembler {
    Assembler::new(AssemblyLimits::default())
}

fn strict() -> Assembler {
    Assembler::new(AssemblyLimits {
        strict: true,
        ..AssemblyLimits::default()
    })
}

fn pdv(command: bool, last: bool, fragment: impl AsRef<[u8]>) -> Pdv {
    Pdv {
        context_id: 1,
        command,
        last,
        fragment: Bytes::copy_from_slice(fragment.as_ref()),
    }
}

/// A C-STORE-RQ or a C-ECHO-RQ.
fn command(data: bool) -> CommandSet {
    let field = if data {
        CommandField::C_STORE_RQ
    } else {
        CommandField::C_ECHO_RQ
    };
    let mut command =
        CommandSet::request(field, 1, &Uid::from_static("1.2.840.10008.1.1")).unwrap();
    command.set_has_data_set(data);
    if data {
        command.set_uid(0x1000, &Uid::from_static("1.2.3")).unwrap();
    }
    command
}

fn abort(result: Result<Option<AssemblyEvent>, AssemblyError>) -> (Abort, &'static str) {
    let error = result.unwrap_err();
    (error.abort, error.cause.code)
}

#[test]
fn a_command_in_one_fragment_is_not_copied() {
    let wire = command(false).encode();
    let mut fragment = pdv(true, true, b"");
    fragment.fragment = wire.clone();
    let Some(AssemblyEvent::Command { command: read, .. }) = assembler().feed(fragment).unwrap()
    else {
        panic!("no command");
    };
    let value = read.get(0x0002).unwrap();
    assert_eq!(value.as_ptr(), wire[20..].as_ptr());
}

#[test]
fn data_fragments_are_handed_on_as_they_arrive() {
    let mut assembler = assembler();
    assert!(!assembler.mid_message());
    assembler
        .feed(pdv(true, true, command(true).encode()))
        .unwrap()
        .unwrap();
    assert!(assembler.mid_message());
    let data = pdv(false, false, b"data");
    let address = data.fragment.as_ptr();
    let Some(AssemblyEvent::Data {
        fragment,
        last: false,
        context_id: 1,
    }) = assembler.feed(data).unwrap()
    else {
        panic!("no data");
    };
    assert_eq!(fragment.as_ptr(), address);
    assert_eq!(assembler.feed(pdv(false, false, b"")).unwrap(), None);
    let end = AssemblyEvent::Data {
        context_id: 1,
        fragment: Bytes::new(),
        last: true,
    };
    assert_eq!(assembler.feed(pdv(false, true, b"")).unwrap(), Some(end));
    assert!(!assembler.mid_message());
}

#[test]
fn an_echo_with_a_data_set_is_read_to_its_end() {
    // Case D15.
    let mut echo = command(false);
    echo.set_us(0x0800, 0x0102);
    let mut assembler = assembler();
    assembler
        .feed(pdv(true, true, echo.encode()))
        .unwrap()
        .unwrap();
    assert!(assembler.feed(pdv(false, true, b"data")).unwrap().is_some());
    assert!(!assembler.mid_message());
}

#[test]
fn fragments_out_of_sequence_are_unexpected() {
    let store = command(true).encode();
    let echo = command(false).encode();
    let half = &store[..20];
    let other = |mut pdv: Pdv| {
        pdv.context_id = 3;
        pdv
    };
    let cases = [
        (
            "C12",
            vec![pdv(false, true, b"data")],
            "data-without-command",
        ),
        (
            "C12",
            vec![pdv(true, false, half), pdv(false, true, b"data")],
            "data-inside-command",
        ),
        (
            "C13",
            vec![pdv(true, true, &store), pdv(true, true, &echo)],
            "command-inside-data",
        ),
        (
            "C23",
            vec![
                pdv(true, true, &store),
                pdv(false, false, b"data"),
                pdv(true, true, &store),
            ],
            "command-inside-data",
        ),
        (
            "C14",
            vec![pdv(true, true, &echo), pdv(false, true, b"data")],
            "data-without-command",
        ),
        (
            "C10",
            vec![pdv(true, false, half), other(pdv(true, true, &store[20..]))],
            "context-changed",
        ),
        (
            "C10",
            vec![pdv(true, true, &store), other(pdv(false, true, b"data"))],
            "context-changed",
        ),
    ];
    for (name, mut fragments, code) in cases {
        let mut assembler = assembler();
        let wrong = fragments.pop().unwrap();
        for fragment in fragments {
            assembler.feed(fragment).unwrap();
        }
        assert_eq!(abort(assembler.feed(wrong)), (UNEXPECTED, code), "{name}");
    }
}

#[test]
fn messages_may_use_one_context_after_the_other() {
    let mut assembler = assembler();
    for context_id in [1, 3, 5] {
        let mut fragment = pdv(true, true, command(false).encode());
        fragment.context_id = context_id;
        let event = assembler.feed(fragment).unwrap().unwrap();
        assert!(matches!(event, AssemblyEvent::Command { context_id: id, .. } if id == context_id));
    }
}

#[test]
fn empty_fragments_are_let_through_up_to_a_limit() {
    // C07.
    let mut assembler = assembler();
    assembler
        .feed(pdv(true, true, command(true).encode()))
        .unwrap();
    for _ in 0..2 {
        for _ in 0..64 {
            assert_eq!(assembler.feed(pdv(false, false, b"")).unwrap(), None);
        }
        assembler.feed(pdv(false, false, b"data")).unwrap();
    }
    for _ in 0..64 {
        assembler.feed(pdv(false, false, b"")).unwrap();
    }
    assert_eq!(
        abort(assembler.feed(pdv(false, false, b""))),
        (INVALID, "empty-fragments")
    );
    assert_eq!(assembler.irregularities().empty_fragments, 193);
}

#[test]
fn empty_command_fragments_count_too() {
    let mut assembler = assembler();
    for _ in 0..64 {
        assembler.feed(pdv(true, false, b"")).unwrap();
    }
    assert_eq!(
        abort(assembler.feed(pdv(true, false, b""))),
        (INVALID, "empty-fragments")
    );
}

#[test]
fn odd_fragments_are_counted_or_refused() {
    // C08.
    let wire = command(false).encode();
    let mut lenient = assembler();
    lenient.feed(pdv(true, false, &wire[..3])).unwrap();
    assert!(lenient.feed(pdv(true, true, &wire[3..])).unwrap().is_some());
    assert_eq!(lenient.irregularities().odd_fragments, 2);
    assert_eq!(
        abort(strict().feed(pdv(true, false, &wire[..3]))),
        (INVALID, "odd-fragment")
    );
}

#[test]
fn two_messages_in_one_pdu_are_counted_or_refused() {
    // PS3.8 E.1 forbids the second message.
    let wire = command(false).encode();
    for mut assembler in [assembler(), strict()] {
        for _ in 0..2 {
            assembler.begin_pdu();
            assert!(assembler.feed(pdv(true, true, &wire)).unwrap().is_some());
        }
        assert_eq!(assembler.irregularities().shared_pdus, 0);
    }
    let mut lenient = assembler();
    lenient.begin_pdu();
    for _ in 0..3 {
        assert!(lenient.feed(pdv(true, true, &wire)).unwrap().is_some());
    }
    assert_eq!(lenient.irregularities().shared_pdus, 2);
    let mut strict = strict();
    strict.begin_pdu();
    strict
        .feed(pdv(true, true, command(true).encode()))
        .unwrap();
    strict.feed(pdv(false, true, b"data")).unwrap();
    assert_eq!(
        abort(strict.feed(pdv(true, true, &wire))),
        (UNEXPECTED, "pdu-of-two-messages")
    );
}

#[test]
fn a_command_that_never_ends_is_cut_off() {
    // C19: memory is bounded by the limit.
    let mut assembler = assembler();
    for _ in 0..64 {
        assembler.feed(pdv(true, false, [0; 1024])).unwrap();
    }
    assert_eq!(
        abort(assembler.feed(pdv(true, false, [0; 2]))),
        (Abort::USER, "command-too-long")
    );
    let whole = vec![0; 0x1_0002];
    assert_eq!(
        abort(self::assembler().feed(pdv(true, true, whole))),
        (Abort::USER, "command-too-long")
    );
}

#[test]
fn commands_that_cannot_be_answered_are_the_users_abort() {
    let cases: [(&[u8], &str); 4] = [
        (b"", "command-unusable"),
        (
            &hex!("0000 0001 02000000 3000 0000 0008 02000000 0101"),
            "command-unusable",
        ),
        (&hex!("0000 0001 02000000"), "truncated"),
        (
            &hex!("0000 0001 02000000 3000 0000 0001 02000000 3000"),
            "command-duplicate",
        ),
    ];
    for (bytes, code) in cases {
        assert_eq!(
            abort(assembler().feed(pdv(true, true, bytes))),
            (Abort::USER, code)
        );
    }
    // Without a SOP class it can be answered, so it is passed on.
    let echo = hex!("0000 0001 02000000 3000 0000 1001 02000000 0100 0000 0008 02000000 0101");
    assert!(assembler().feed(pdv(true, true, echo)).unwrap().is_some());
}

#[test]
fn the_cause_is_said_in_full() {
    let error = assembler().feed(pdv(false, true, b"data")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "a data set fragment that no command announced at offset 0 (PS3.8 E.1)"
    );
}

/// Cuts bytes into fragments at the given sizes.
fn fragments(command: bool, bytes: &[u8], sizes: &[usize]) -> Vec<Pdv> {
    let mut rest = bytes;
    let mut out = Vec::new();
    for size in sizes.iter().cycle() {
        let (now, later) = rest.split_at((*size).min(rest.len()));
        rest = later;
        out.push(pdv(command, rest.is_empty(), now));
        if rest.is_empty() {
            return out;
        }
    }
    out
}

proptest! {
    #[test]
    fn messages_come_out_however_they_are_cut(
        sizes in prop::collection::vec(1_usize..40, 1..5),
        data in prop::collection::vec(any::<u8>(), 1..200),
    ) {
        let mut assembler = assembler();
        let sent = command(true);
        for _ in 0..2 {
            let mut got = None;
            for fragment in fragments(true, &sent.encode(), &sizes) {
                prop_assert!(got.is_none());
                got = assembler.feed(fragment).unwrap();
            }
            let Some(AssemblyEvent::Command { command, .. }) = got else {
                return Err(TestCaseError::fail("no command"));
            };
            prop_assert_eq!(command.encode(), sent.encode());
            let mut received = Vec::new();
            for fragment in fragments(false, &data, &sizes) {
                let ends = fragment.last;
                let Some(AssemblyEvent::Data { fragment, last, .. }) = assembler.feed(fragment).unwrap() else {
                    return Err(TestCaseError::fail("no data"));
                };
                prop_assert_eq!(last, ends);
                received.extend_from_slice(&fragment);
            }
            prop_assert_eq!(&received, &data);
            prop_assert!(!assembler.mid_message());
        }
    }
}
