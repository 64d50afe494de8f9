//! Whole is not the same as well formed: what can be walked to its end without a doubt is let through and told of.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

use dimse_proto::dataset::{Encoding, OddityKind, ScanErrorKind, Scanner, Tag};
use hex_literal::hex;

use Encoding::{ExplicitBe, ExplicitLe, ImplicitLe};
use ScanErrorKind::{BadLength, BadStructure, CutShort, FileMeta, Repeated};

const WANTED: [Tag; 3] = [
    Tag::SOP_INSTANCE_UID,
    Tag::PATIENT_ID,
    Tag::STUDY_INSTANCE_UID,
];

/// What is odd, as code and offset; the same however the bytes are cut.
fn odd(encoding: Encoding, bytes: &[u8]) -> Result<Vec<(&'static str, u64)>, ScanErrorKind> {
    let whole = odd_in_chunks(encoding, bytes, bytes.len().max(1));
    for chunk in [1, 3, 8] {
        assert_eq!(odd_in_chunks(encoding, bytes, chunk), whole, "{chunk}");
    }
    whole
}

fn odd_in_chunks(
    encoding: Encoding,
    bytes: &[u8],
    chunk: usize,
) -> Result<Vec<(&'static str, u64)>, ScanErrorKind> {
    let mut scanner = Scanner::new(encoding, &WANTED);
    for part in bytes.chunks(chunk) {
        let _ = scanner.feed(part);
    }
    scanner.finish().map_err(|error| error.kind)?;
    let met = scanner.oddities().iter();
    Ok(met.map(|odd| (odd.kind.code(), odd.offset)).collect())
}

fn strict(encoding: Encoding, bytes: &[u8]) -> Result<(), ScanErrorKind> {
    let mut scanner = Scanner::strict(encoding, &WANTED);
    let fed = scanner.feed(bytes);
    fed.and_then(|()| scanner.finish())
        .map_err(|error| error.kind)
}

#[test]
fn a_well_formed_data_set_has_no_oddity() {
    let bytes = hex!("0800 1800 5549 0200 3100  1000 2000 4C4F 0200 4142");
    assert_eq!(odd(ExplicitLe, &bytes), Ok(vec![]));
    assert_eq!(strict(ExplicitLe, &bytes), Ok(()));
}

#[test]
fn zeros_behind_the_last_element_are_let_through_if_they_run_to_the_end() {
    let elements = [
        (ImplicitLe, &hex!("0800 1800 02000000 3100")[..]),
        (ExplicitLe, &hex!("0800 1800 5549 0200 3100")),
        (ExplicitBe, &hex!("0008 0018 5549 0002 3100")),
    ];
    for (encoding, element) in elements {
        for zeros in [2, 4, 7, 8, 9, 12, 374, 100_000] {
            let padded = [element, &vec![0; zeros]].concat();
            assert_eq!(
                odd(encoding, &padded),
                Ok(vec![("trailing-zeros", 10)]),
                "{zeros}"
            );
            assert!(strict(encoding, &padded).is_err(), "{zeros}");
            let more = [&padded[..], element].concat();
            assert!(odd(encoding, &more).is_err(), "{zeros} zeros, then more");
        }
        // The first byte of a tag, maybe.
        assert_eq!(odd(encoding, &[element, &[0]].concat()), Err(CutShort));
    }
    // Nor is it behind pixel data of odd length.
    for (encoding, pixels) in [
        (ImplicitLe, &hex!("E07F 1000 03000000 010203")[..]),
        (ExplicitLe, &hex!("E07F 1000 4F57 0000 03000000 010203")),
        (ExplicitBe, &hex!("7FE0 0010 4F57 0000 00000003 010203")),
    ] {
        let end = pixels.len() as u64;
        let padded = [pixels, &[0]].concat();
        assert_eq!(
            odd(encoding, &padded),
            Ok(vec![("odd-length", 0), ("trailing-zeros", end)])
        );
        assert_eq!(strict(encoding, &padded), Err(CutShort));
        assert_eq!(odd(encoding, &[pixels, &[8]].concat()), Err(CutShort));
    }
    // No data set, and zeros where a value, an item or a sequence is not over.
    assert_eq!(odd(ImplicitLe, &[0; 132]), Err(FileMeta));
    for open in [
        &hex!("0800 1800 5549 4000 3100")[..],
        &hex!("0800 4011 5351 0000 FFFFFFFF"),
        &hex!("0800 4011 5351 0000 FFFFFFFF FEFF00E0 FFFFFFFF"),
        &hex!("0800 4011 5351 0000 40000000 FEFF00E0 30000000"),
        &hex!("E07F 1000 4F42 0000 FFFFFFFF FEFF00E0 00000000"),
    ] {
        for zeros in [4, 32] {
            let bytes = [open, &vec![0; zeros]].concat();
            let whole = odd(ExplicitLe, &bytes);
            assert!(
                matches!(whole, Err(CutShort | BadStructure)),
                "{bytes:02x?}: {whole:?}"
            );
        }
    }
}

#[test]
fn a_delimiter_at_the_end_of_what_has_a_length_is_let_through() {
    // A sequence as Philips writes it: 32 bytes, the last 8 of them its delimiter.
    let sequence = hex!(
        "0520 0110 5351 0000 20000000"
        "FEFF00E0 FFFFFFFF 0800 1800 5549 0000 FEFF0DE0 00000000 FEFFDDE0 00000000"
        "0520 0210 4C4F 0200 4142"
    );
    assert_eq!(
        odd(ExplicitLe, &sequence),
        Ok(vec![("sequence-delimiter", 36)])
    );
    assert_eq!(strict(ExplicitLe, &sequence), Err(BadStructure));
    let item = hex!(
        "4000 6002 5351 0000 18000000 FEFF00E0 10000000 0800 1800 5549 0000 FEFF0DE0 00000000"
        "4000 6102 4C4F 0200 4142"
    );
    assert_eq!(odd(ExplicitLe, &item), Ok(vec![("item-delimiter", 28)]));
    assert_eq!(strict(ExplicitLe, &item), Err(BadStructure));
    let implicit = hex!(
        "4000 6002 20000000 FEFF00E0 10000000 0800 1800 00000000 FEFF0DE0 00000000"
        "FEFFDDE0 00000000"
    );
    // In implicit VR a sequence of defined length is a value like any other.
    assert_eq!(odd(ImplicitLe, &implicit), Ok(vec![]));
}

#[test]
fn a_delimiter_that_does_not_end_what_has_a_length_is_not() {
    for (name, bytes, kind) in [
        (
            "a sequence goes on",
            &hex!(
                "0520 0110 5351 0000 20000000 FEFF00E0 00000000 FEFFDDE0 00000000 FEFF00E0 00000000"
                "FEFFDDE0 00000000"
            )[..],
            BadStructure,
        ),
        (
            "an item goes on",
            &hex!(
                "0520 0110 5351 0000 18000000 FEFF00E0 10000000 FEFF0DE0 00000000 0800 1800 5549 0000"
            ),
            BadStructure,
        ),
        (
            "the other delimiter",
            &hex!("0520 0110 5351 0000 10000000 FEFF00E0 08000000 FEFFDDE0 00000000"),
            BadStructure,
        ),
        (
            "half a delimiter",
            &hex!("0520 0110 5351 0000 04000000 FEFFDDE0 00000000"),
            BadLength,
        ),
        (
            "outside",
            &hex!("0520 0110 5351 0000 08000000 FEFF00E0 00000000 FEFFDDE0 00000000"),
            BadStructure,
        ),
    ] {
        assert_eq!(odd(ExplicitLe, bytes), Err(kind), "{name}");
        assert_eq!(strict(ExplicitLe, bytes), Err(kind), "{name}");
    }
}

#[test]
fn group_0002_behind_the_first_element_is_let_through() {
    for (encoding, bytes) in [
        (
            ExplicitLe,
            &hex!("0800 0500 4353 0000 0200 1000 5549 0200 3100 0800 1800 5549 0200 3100")[..],
        ),
        (
            ImplicitLe,
            &hex!("0800 0500 00000000 0200 1000 02000000 3100 0800 1800 02000000 3100"),
        ),
    ] {
        assert_eq!(odd(encoding, bytes), Ok(vec![("file-meta", 8)]));
        assert_eq!(strict(encoding, bytes), Err(FileMeta));
        // In front it becomes part of the File Meta Information of the stored file, which is in Explicit VR.
        let in_front = if encoding == ExplicitLe {
            Ok(vec![("file-meta", 0)])
        } else {
            Err(FileMeta)
        };
        assert_eq!(odd(encoding, &bytes[8..]), in_front);
        assert_eq!(strict(encoding, &bytes[8..]), Err(FileMeta));
    }
    for begins in [
        &hex!("0200 0000 554C 0400 00000000")[..],
        &hex!("0200 0100 4F42 0000 02000000 0001"),
        &hex!("0200 0200 5549 0200 3100"),
        &hex!("0200 0300 5549 0200 3100"),
        &hex!("0200 1000 5549 0200 3100 0200 0300 5549 0200 3100"),
    ] {
        let meta = [begins, &hex!("0800 1800 5549 0200 3100")].concat();
        assert_eq!(odd(ExplicitLe, &meta), Err(FileMeta), "{begins:02x?}");
    }
}

#[test]
fn a_repeated_element_keeps_its_first_value() {
    for second in [
        &hex!("1000 2000 4C4F 0200 4344")[..],
        &hex!("1000 2000 4C4F 0400 41424344"),
        &hex!("1000 2000 4C4F 0000"),
    ] {
        let bytes = [&hex!("1000 2000 4C4F 0200 4142")[..], second].concat();
        assert_eq!(
            odd(ExplicitLe, &bytes),
            Ok(vec![("repeated-element", 10)]),
            "{second:02x?}"
        );
        assert_eq!(strict(ExplicitLe, &bytes), Err(Repeated));
        for chunk in 1..9 {
            let mut scanner = Scanner::new(ExplicitLe, &WANTED);
            for part in bytes.chunks(chunk) {
                scanner.feed(part).unwrap();
            }
            scanner.finish().unwrap();
            assert_eq!(scanner.value(Tag::PATIENT_ID), Some(&b"AB"[..]), "{chunk}");
        }
    }
    // The same three times is what every reader reads.
    let same = hex!("1000 2000 4C4F 0200 4142").repeat(3);
    assert_eq!(odd(ExplicitLe, &same), Ok(vec![("repeated-element", 10)]));
    assert_eq!(strict(ExplicitLe, &same), Ok(()));
    // What nobody asked for, and far away.
    let far = hex!("0900 0110 4C4F 0000 0900 0210 4C4F 0000 0900 0110 4C4F 0000");
    assert_eq!(odd(ExplicitLe, &far), Ok(vec![("out-of-order", 16)]));
    assert_eq!(strict(ExplicitLe, &far), Ok(()));
}

#[test]
fn an_instance_has_one_identity() {
    for tag in ["08001800", "08001600", "20000D00", "20000E00"] {
        let tag: Vec<u8> = (0..4)
            .map(|at| u8::from_str_radix(&tag[at * 2..at * 2 + 2], 16).unwrap())
            .collect();
        let element = |value: &[u8; 2]| [&tag[..], &hex!("5549 0200"), value].concat();
        let wanted = [Tag(
            u16::from_le_bytes([tag[0], tag[1]]),
            u16::from_le_bytes([tag[2], tag[3]]),
        )];
        let between = hex!("1000 2000 4C4F 0200 4142");
        for between in [&[][..], &between] {
            let two = [&element(b"1\0"), between, &element(b"2\0")].concat();
            let mut scanner = Scanner::new(ExplicitLe, &wanted);
            assert_eq!(scanner.feed(&two).unwrap_err().kind, Repeated);
            let same = [&element(b"1\0"), between, &element(b"1\0")].concat();
            let mut scanner = Scanner::new(ExplicitLe, &wanted);
            scanner.feed(&same).unwrap();
            scanner.finish().unwrap();
            assert_eq!(scanner.value(wanted[0]), Some(&b"1\0"[..]));
            let met = scanner.oddities().iter();
            assert!(
                met.map(|odd| odd.kind)
                    .any(|kind| kind == OddityKind::Repeated)
            );
        }
    }
}

#[test]
fn a_un_of_undefined_length_may_hold_explicit_vr() {
    let un = hex!("0120 5F10 554E 0000 FFFFFFFF");
    let explicit = hex!(
        "FEFF00E0 FFFFFFFF 0800 0001 5348 0200 4120 0800 4011 5351 0000 08000000 FEFF00E0 00000000"
        "FEFF0DE0 00000000 FEFFDDE0 00000000"
    );
    let implicit =
        hex!("FEFF00E0 FFFFFFFF 0800 0001 02000000 4120 FEFF0DE0 00000000 FEFFDDE0 00000000");
    let id = hex!("1000 2000 4C4F 0200 4142");
    let odd_one = [&un[..], &explicit, &id].concat();
    assert_eq!(
        odd(ExplicitLe, &odd_one),
        Ok(vec![("explicit-un", 0), ("out-of-order", 66)])
    );
    assert!(strict(ExplicitLe, &odd_one).is_err());
    let mut scanner = Scanner::new(ExplicitLe, &WANTED);
    scanner.feed(&odd_one).unwrap();
    scanner.finish().unwrap();
    assert_eq!(scanner.value(Tag::PATIENT_ID), Some(&b"AB"[..]));
    // The standard's reading comes first, and what is empty can be read either way.
    for standard in [
        &implicit[..],
        &hex!("FEFF00E0 00000000 FEFFDDE0 00000000"),
        &hex!("FEFFDDE0 00000000"),
    ] {
        let bytes = [&un[..], standard].concat();
        assert_eq!(odd(ExplicitLe, &bytes), Ok(vec![]));
        assert_eq!(strict(ExplicitLe, &bytes), Ok(()));
    }
    // Inside a sequence, in big endian, beside an unknown VR with a length of 16 bits, and cut at any byte.
    let inside = [
        &hex!("0800 4011 5351 0000 FFFFFFFF FEFF00E0 FFFFFFFF")[..],
        &un,
        &explicit,
        &hex!("FEFF0DE0 00000000 FEFFDDE0 00000000"),
    ]
    .concat();
    assert_eq!(odd(ExplicitLe, &inside), Ok(vec![("explicit-un", 20)]));
    let big = hex!(
        "2001 105F 554E 0000 FFFFFFFF FFFEE000 FFFFFFFF 0008 0100 5348 0002 4120 FFFEE00D 00000000 FFFEE0DD 00000000"
    );
    assert_eq!(odd(ExplicitBe, &big), Ok(vec![("explicit-un", 0)]));
    let beside = [&hex!("0900 0110 5A5A 0200 4142")[..], &odd_one].concat();
    assert_eq!(
        odd(ExplicitLe, &beside),
        Ok(vec![
            ("unknown-vr", 0),
            ("explicit-un", 10),
            ("out-of-order", 76)
        ])
    );
    let beside = [&odd_one[..], &hex!("1100 0110 5A5A 0200 4142")].concat();
    assert_eq!(
        odd(ExplicitLe, &beside),
        Ok(vec![
            ("explicit-un", 0),
            ("out-of-order", 66),
            ("unknown-vr", 76)
        ])
    );
    for end in 1..un.len() + explicit.len() {
        assert!(odd(ExplicitLe, &odd_one[..end]).is_err(), "{end}");
    }
}

#[test]
fn a_reading_that_is_well_formed_goes_before_one_that_is_padded() {
    // A length of 32 bits would reach into zeros that look like padding; one of 16 bits is exact.
    let bytes = hex!(
        "0900 0110 5A5A 0000 1000 2000 4C4F 0200 4142 0100 0110 4F42 0000 10000000 0000 0000 0000 0000 0000 0000 0000 0000"
    );
    let mut scanner = Scanner::new(ExplicitLe, &WANTED);
    scanner.feed(&bytes).unwrap();
    scanner.finish().unwrap();
    assert_eq!(scanner.value(Tag::PATIENT_ID), Some(&b"AB"[..]));
}

#[test]
fn what_every_reader_takes_is_told_of_and_not_refused_where_strict() {
    for (bytes, expected) in [
        (&hex!("1000 2000 4C4F 0300 414243")[..], ("odd-length", 0)),
        (
            &hex!("1000 2000 4C4F 0200 4142 0800 1800 5549 0000"),
            ("out-of-order", 10),
        ),
        (
            &hex!("0800 4011 5351 0000 FFFFFFFF FEFFDDE0 FFFFFFFF"),
            ("delimiter-length", 12),
        ),
        (
            &hex!("0900 0110 5A5A 0000 02000000 4142"),
            ("unknown-vr", 0),
        ),
        (
            &hex!(
                "E07F 1000 4F42 0000 FFFFFFFF FEFF00E0 00000000 FEFF00E0 03000000 FFD8FF FEFFDDE0 00000000"
            ),
            ("odd-length", 20),
        ),
        (
            &hex!(
                "0800 4011 5351 0000 18000000 FEFF00E0 10000000 0800 1800 5549 0000 0800 1600 5549 0000"
            ),
            ("out-of-order", 28),
        ),
    ] {
        assert_eq!(odd(ExplicitLe, bytes), Ok(vec![expected]));
        assert_eq!(strict(ExplicitLe, bytes), Ok(()), "{expected:?}");
    }
}

#[test]
fn no_peer_makes_the_list_of_oddities_long() {
    let mut scanner = Scanner::new(ExplicitLe, &WANTED);
    let odd = hex!("0900 0210 4C4F 0100 41 0900 0110 4C4F 0100 41 0900 0110 4C4F 0100 41");
    scanner.feed(&odd.repeat(10_000)).unwrap();
    scanner.feed(&[0; 1_000]).unwrap();
    scanner.finish().unwrap();
    let codes: Vec<_> = scanner.oddities().iter().map(ToString::to_string).collect();
    assert_eq!(
        codes,
        [
            "odd-length (0009,1002) at offset 0",
            "out-of-order (0009,1001) at offset 9",
            "repeated-element (0009,1001) at offset 18",
            "trailing-zeros at offset 270000",
        ]
    );
}
