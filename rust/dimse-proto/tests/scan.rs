//! The data-set scanner against hand-made vectors, and its laws: chunking does not matter, no prefix passes.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::trivially_copy_pass_by_ref
)]

use dimse_proto::dataset::{DEPTH_LIMIT, Encoding, Oddity, ScanError, ScanErrorKind, Scanner, Tag};
use hex_literal::hex;
use proptest::prelude::*;

use Encoding::{ExplicitBe, ExplicitLe, ImplicitLe};
use ScanErrorKind::{
    BadLength, BadStructure, CutShort, DepthExceeded, Empty, FileMeta, Repeated,
    UndefinedLengthNotAllowed,
};

fn scan(encoding: Encoding, bytes: &[u8]) -> Result<(), ScanError> {
    let mut scanner = Scanner::new(encoding, &[]);
    scanner.feed(bytes)?;
    scanner.finish()
}

fn strictly(encoding: Encoding, bytes: &[u8]) -> Result<(), ScanError> {
    let mut scanner = Scanner::strict(encoding, &[]);
    scanner.feed(bytes)?;
    scanner.finish()
}

fn kind(encoding: Encoding, bytes: &[u8]) -> Result<(), ScanErrorKind> {
    scan(encoding, bytes).map_err(|error| error.kind)
}

#[test]
fn wanted_values_of_the_top_level_are_kept() {
    let bytes = hex!(
        "0800 1600 5549 0400 312E3200"
        "0800 1800 5549 0600 312E322E3300"
        "0800 4011 5351 0000 1A000000  FEFF00E0 12000000 0800 1800 5549 0A00 392E392E392E392E3900"
        "2000 0D00 5549 0000"
    );
    let wanted = [
        Tag::SOP_CLASS_UID,
        Tag::SOP_INSTANCE_UID,
        Tag::STUDY_INSTANCE_UID,
        Tag::PATIENT_ID,
    ];
    let mut scanner = Scanner::new(ExplicitLe, &wanted);
    scanner.feed(&bytes).unwrap();
    scanner.finish().unwrap();
    assert_eq!(scanner.value(Tag::SOP_CLASS_UID), Some(&b"1.2\0"[..]));
    assert_eq!(scanner.value(Tag::SOP_INSTANCE_UID), Some(&b"1.2.3\0"[..]));
    assert_eq!(scanner.value(Tag::STUDY_INSTANCE_UID), Some(&b""[..]));
    assert_eq!(scanner.value(Tag::PATIENT_ID), None);
    assert_eq!(scanner.offset(), bytes.len() as u64);
}

#[test]
fn a_value_is_there_once_it_is_whole() {
    let mut scanner = Scanner::new(ImplicitLe, &[Tag::SOP_CLASS_UID]);
    scanner.feed(&hex!("0800 1600 04000000 312E")).unwrap();
    assert_eq!(scanner.value(Tag::SOP_CLASS_UID), None);
    scanner.feed(&hex!("3200")).unwrap();
    assert_eq!(scanner.value(Tag::SOP_CLASS_UID), Some(&b"1.2\0"[..]));
}

#[test]
fn values_over_the_capture_limit_are_passed_over() {
    for (length, kept) in [(1024_u32, true), (1025, false)] {
        let mut bytes = hex!("1000 2000").to_vec();
        bytes.extend(length.to_le_bytes());
        bytes.resize(bytes.len() + length as usize, b'x');
        let mut scanner = Scanner::new(ImplicitLe, &[Tag::PATIENT_ID]);
        scanner.feed(&bytes).unwrap();
        scanner.finish().unwrap();
        assert_eq!(scanner.value(Tag::PATIENT_ID).is_some(), kept, "{length}");
    }
}

/// A scanner that collects these, fed in chunks of so many bytes.
fn collected(encoding: Encoding, tags: &[Tag], bytes: &[u8], chunk: usize) -> Scanner {
    let mut scanner = Scanner::new(encoding, &[Tag::PATIENT_ID]).collecting(tags);
    for part in bytes.chunks(chunk) {
        scanner.feed(part).unwrap();
    }
    scanner.finish().unwrap();
    scanner
}

const OTHER_IDS: Tag = Tag(0x0010, 0x1002);
const PRIVATE: Tag = Tag(0x0011, 0x1001);

#[test]
fn collected_elements_have_their_vr_and_their_bytes_however_they_are_cut() {
    let item = hex!("FEFF00E0 0A000000 1000 2000 4C4F 0200 4235");
    let delimiter = hex!("FEFFDDE0 00000000");
    let bytes = [
        &hex!("1000 2000 4C4F 0200 4131")[..],
        &hex!("1000 0210 5351 0000 FFFFFFFF"),
        &item,
        &delimiter,
        &hex!("1100 0110 554E 0000 04000000 01020304"),
        &hex!("2000 0D00 5549 0000"),
    ]
    .concat();
    let tags = [PRIVATE, OTHER_IDS, Tag::PATIENT_ID, Tag::STUDY_INSTANCE_UID];
    for chunk in 1..=bytes.len() {
        let scanner = collected(ExplicitLe, &tags, &bytes, chunk);
        let element = |tag| scanner.element(tag);
        assert_eq!(element(Tag::PATIENT_ID), Some((Some(*b"LO"), &b"A1"[..])));
        assert_eq!(element(OTHER_IDS), Some((Some(*b"SQ"), &item[..])));
        assert_eq!(element(PRIVATE), Some((Some(*b"UN"), &[1, 2, 3, 4][..])));
        let study = element(Tag::STUDY_INSTANCE_UID);
        assert_eq!(study, Some((Some(*b"UI"), &b""[..])));
        assert_eq!(element(Tag::SERIES_INSTANCE_UID), None);
    }
}

#[test]
fn collected_elements_without_a_vr_say_so_and_big_endian_is_as_it_is() {
    let implicit = hex!("2800 1000 02000000 0002");
    let scanner = collected(ImplicitLe, &[Tag(0x0028, 0x0010)], &implicit, 3);
    let rows = scanner.element(Tag(0x0028, 0x0010));
    assert_eq!(rows, Some((None, &[0x00, 0x02][..])));
    let big = hex!("0028 0010 5553 0002 0200");
    let scanner = collected(ExplicitBe, &[Tag(0x0028, 0x0010)], &big, 3);
    let rows = scanner.element(Tag(0x0028, 0x0010));
    assert_eq!(rows, Some((Some(*b"US"), &[0x02, 0x00][..])));
}

#[test]
fn collected_elements_are_kept_up_to_four_kibibytes() {
    for (length, kept) in [(4096_u32, true), (4098, false)] {
        let mut value = hex!("1100 0110 554E 0000").to_vec();
        value.extend(length.to_le_bytes());
        value.resize(value.len() + length as usize, b'x');
        for defined in [true, false] {
            let inside = length - 8;
            let mut bytes = hex!("1000 0210 5351 0000").to_vec();
            bytes.extend((if defined { length } else { u32::MAX }).to_le_bytes());
            bytes.extend(hex!("FEFF00E0"));
            bytes.extend(inside.to_le_bytes());
            bytes.extend(hex!("1100 0110 554E 0000"));
            bytes.extend((inside - 12).to_le_bytes());
            bytes.resize(bytes.len() + inside as usize - 12, 0);
            if !defined {
                bytes.extend(hex!("FEFFDDE0 00000000"));
            }
            bytes.extend(&value);
            let scanner = collected(ExplicitLe, &[OTHER_IDS, PRIVATE], &bytes, 100);
            let length = kept.then_some(length as usize);
            let found = |tag| scanner.element(tag).map(|(_, value)| value.len());
            assert_eq!(found(OTHER_IDS), length, "{defined}");
            assert_eq!(found(PRIVATE), length);
        }
    }
}

#[test]
fn what_all_readers_read_alike_is_plain() {
    let plain: [(Encoding, &[u8]); 4] = [
        (ExplicitLe, &hex!("1000 2000 4C4F 0200 4131")),
        (ExplicitLe, &hex!("1000 2000 4C4F 0100 41")), // of odd length
        (ExplicitLe, &hex!("1000 0210 5351 0000 00000000")),
        (ImplicitLe, &hex!("1000 2000 02000000 4131")),
    ];
    for (encoding, bytes) in plain {
        assert!(
            collected(encoding, &[OTHER_IDS], bytes, 5).is_plain(),
            "{bytes:02x?}"
        );
    }
    let mut ambiguous: Vec<(Encoding, Vec<u8>)> = [
        // An unknown VR, a UN of undefined length, elements out of order, one that is repeated, zeros behind it.
        &hex!("1000 2000 5A5A 0200 4131")[..],
        &hex!("1000 2110 554E 0000 FFFFFFFF FEFFDDE0 00000000"),
        &hex!("2000 0D00 5549 0000 1000 2000 4C4F 0000"),
        &hex!("2000 0D00 5549 0000 2000 0D00 5549 0000"),
        &hex!("1000 2000 4C4F 0000 00000000 00000000"),
        // A sequence where a value is wanted.
        &hex!("1000 2000 5351 0000 FFFFFFFF FEFFDDE0 00000000"),
    ]
    .map(|bytes| (ExplicitLe, bytes.to_vec()))
    .to_vec();
    // The length of the first element looks like a VR, "OB"; and an element is too long to keep.
    let mut long = hex!("0800 0800 4F420000").to_vec();
    long.resize(8 + 0x424f, b'x');
    ambiguous.push((ImplicitLe, long));
    let mut long = hex!("1000 0210 08200000").to_vec();
    long.resize(8 + 0x2008, 0);
    ambiguous.push((ImplicitLe, long));
    for (encoding, bytes) in &ambiguous {
        let tags = [OTHER_IDS, Tag::PATIENT_ID];
        let scanner = collected(*encoding, &tags, bytes, 5);
        assert!(!scanner.is_plain(), "{:02x?}", &bytes[..12]);
    }
}

#[test]
fn collected_elements_are_listed_as_they_are_encoded() {
    let bytes = hex!(
        "1000 2000 4C4F 0200 4131"
        "1000 0210 5351 0000 FFFFFFFF FEFFDDE0 00000000"
        "1100 0110 4C4F 0200 4131"
    );
    let scanner = collected(ExplicitLe, &[PRIVATE, OTHER_IDS], &bytes, 7);
    let found: Vec<_> = scanner
        .collected()
        .map(|element| (element.tag, element.vr, element.delimited, element.value))
        .collect();
    let expected = [
        (OTHER_IDS, Some(*b"SQ"), true, &b""[..]),
        (PRIVATE, Some(*b"LO"), false, b"A1"),
    ];
    assert_eq!(found, expected, "the wanted element is not collected");
}

#[test]
fn nothing_is_refused_for_being_collected() {
    let bytes = hex!(
        "1000 0210 5351 0000 00000000"
        "1000 0210 4C4F 0200 4131"
        "1100 0110 4C4F 0200 4131  1100 0110 4C4F 0400 42323333"
    );
    let scanner = collected(ExplicitLe, &[OTHER_IDS, PRIVATE], &bytes, 7);
    assert_eq!(scanner.element(OTHER_IDS), Some((Some(*b"SQ"), &b""[..])));
    assert_eq!(scanner.element(PRIVATE), Some((Some(*b"LO"), &b"A1"[..])));
}

#[test]
fn rejects_a_wanted_element_with_two_values() {
    let two: [&[u8]; 3] = [
        &hex!("0800 1600 04000000 312E3200  0800 1600 04000000 312E3300"),
        &hex!("0800 1600 04000000 312E3200  0800 1600 06000000 312E322E3300"),
        &hex!("0800 1600 04000000 312E3200  0800 1600 00000000"),
    ];
    for bytes in two {
        for chunk in [1, 3, bytes.len()] {
            let mut scanner = Scanner::new(ImplicitLe, &[Tag::SOP_CLASS_UID]);
            let error = bytes
                .chunks(chunk)
                .find_map(|part| scanner.feed(part).err());
            let error = error.unwrap();
            assert_eq!((error.kind, error.offset), (Repeated, 12), "{chunk}");
            assert_eq!(scanner.finish().unwrap_err(), error);
        }
        assert_eq!(kind(ImplicitLe, bytes), Ok(()));
    }
}

#[test]
fn accepts_a_wanted_element_that_says_the_same_twice() {
    // As a palette of the standard's own does (winter.dcm).
    let bytes =
        hex!("0800 1600 04000000 312E3200  0800 1600 04000000 312E3200  0800 1800 00000000");
    for chunk in [1, 3, bytes.len()] {
        let mut scanner = Scanner::new(ImplicitLe, &[Tag::SOP_CLASS_UID]);
        for part in bytes.chunks(chunk) {
            scanner.feed(part).unwrap();
        }
        scanner.finish().unwrap();
        assert_eq!(scanner.value(Tag::SOP_CLASS_UID), Some(&b"1.2\0"[..]));
    }
}

#[test]
fn accepts_every_form_of_sequence() {
    let forms: [(Encoding, &[u8]); 9] = [
        // defined, defined
        (
            ExplicitLe,
            &hex!("0800 4011 5351 0000 10000000 FEFF00E0 08000000 0800 1800 5549 0000"),
        ),
        // undefined, undefined
        (
            ExplicitLe,
            &hex!(
                "0800 4011 5351 0000 FFFFFFFF FEFF00E0 FFFFFFFF 0800 1800 5549 0000 FEFF0DE0 00000000 FEFFDDE0 00000000"
            ),
        ),
        // defined sequence, undefined item
        (
            ExplicitLe,
            &hex!(
                "0800 4011 5351 0000 18000000 FEFF00E0 FFFFFFFF 0800 1800 5549 0000 FEFF0DE0 00000000"
            ),
        ),
        // undefined sequence, defined and empty items
        (
            ExplicitLe,
            &hex!(
                "0800 4011 5351 0000 FFFFFFFF FEFF00E0 08000000 0800 1800 5549 0000 FEFF00E0 00000000 FEFFDDE0 00000000"
            ),
        ),
        // empty sequences
        (
            ExplicitLe,
            &hex!("0800 4011 5351 0000 00000000  0800 4111 5351 0000 FFFFFFFF FEFFDDE0 00000000"),
        ),
        // implicit, undefined
        (
            ImplicitLe,
            &hex!(
                "0800 4011 FFFFFFFF FEFF00E0 FFFFFFFF 0800 1800 02000000 3100 FEFF0DE0 00000000 FEFFDDE0 00000000"
            ),
        ),
        // big endian, undefined
        (
            ExplicitBe,
            &hex!(
                "0008 1140 5351 0000 FFFFFFFF FFFEE000 FFFFFFFF 0008 0018 5549 0002 3100 FFFEE00D 00000000 FFFEE0DD 00000000"
            ),
        ),
        // UN of undefined length is implicit little endian inside, even in big endian
        (
            ExplicitBe,
            &hex!(
                "0009 1001 554E 0000 FFFFFFFF FEFF00E0 FFFFFFFF 0800 1800 02000000 3100 FEFF0DE0 00000000 FEFFDDE0 00000000"
            ),
        ),
        // delimiters with a length: it is ignored
        (
            ExplicitLe,
            &hex!(
                "0800 4011 5351 0000 FFFFFFFF FEFF00E0 FFFFFFFF FEFF0DE0 04000000 FEFFDDE0 FFFFFFFF"
            ),
        ),
    ];
    for (index, (encoding, bytes)) in forms.into_iter().enumerate() {
        assert_eq!(scan(encoding, bytes), Ok(()), "form {index}");
    }
}

#[test]
fn accepts_encapsulated_pixel_data() {
    let whole = hex!(
        "E07F 1000 4F42 0000 FFFFFFFF  FEFF00E0 00000000  FEFF00E0 04000000 FFD8FFD9  FEFF00E0 02000000 0000  FEFFDDE0 00000000"
        "FCFF FCFF 4F42 0000 02000000 0000"
    );
    assert_eq!(kind(ExplicitLe, &whole), Ok(()));
    // E14: no delimiter, an item that overruns, an item without length, an element among fragments.
    let head = hex!("E07F 1000 4F57 0000 FFFFFFFF");
    for (tail, expected) in [
        (&hex!("FEFF00E0 00000000")[..], CutShort),
        (&hex!("FEFF00E0 08000000 FFD8FFD9"), CutShort),
        (&hex!("FEFF00E0 FFFFFFFF"), UndefinedLengthNotAllowed),
        (&hex!("0800 1800 5549 0000"), BadStructure),
        (&hex!("FEFF0DE0 00000000"), BadStructure),
    ] {
        assert_eq!(
            kind(ExplicitLe, &[&head[..], tail].concat()),
            Err(expected),
            "{tail:02x?}"
        );
    }
    // Pixel data is never encapsulated in Implicit VR (PS3.5 A.1).
    assert_eq!(
        kind(
            ImplicitLe,
            &hex!("E07F 1000 FFFFFFFF FEFF00E0 00000000 FEFFDDE0 00000000")
        ),
        Err(UndefinedLengthNotAllowed)
    );
}

#[test]
fn encapsulated_pixel_data_may_stand_in_an_item() {
    let icon = hex!(
        "8800 0002 5351 0000 FFFFFFFF FEFF00E0 FFFFFFFF"
        "E07F 1000 4F42 0000 FFFFFFFF FEFF00E0 00000000 FEFF00E0 02000000 FFD8 FEFFDDE0 00000000"
        "FEFF0DE0 00000000 FEFFDDE0 00000000"
    );
    assert_eq!(kind(ExplicitLe, &icon), Ok(()));
}

#[test]
fn rejects_what_is_not_a_data_set() {
    let cases: [(&str, Encoding, &[u8], ScanErrorKind, u64); 19] = [
        ("E17 nothing", ExplicitLe, b"", Empty, 0),
        (
            "E07 group 0002",
            ExplicitLe,
            &hex!("0200 1000 5549 0000"),
            FileMeta,
            0,
        ),
        (
            "E07 group 0002 later",
            ImplicitLe,
            &hex!("0100 1000 00000000 0200 1000 00000000"),
            FileMeta,
            8,
        ),
        ("E07 preamble of zeros", ExplicitLe, &[0; 132], FileMeta, 0),
        ("E07 preamble of zeros", ImplicitLe, &[0; 132], FileMeta, 0),
        (
            "E09 length past the end",
            ExplicitLe,
            &hex!("E07F 1000 4F42 0000 F0FFFFFF 0000"),
            CutShort,
            14,
        ),
        (
            "E09 length past the item",
            ExplicitLe,
            &hex!("0800 4011 5351 0000 10000000 FEFF00E0 08000000 0800 1800 5549 0200 3100"),
            BadLength,
            20,
        ),
        (
            "item past the sequence",
            ExplicitLe,
            &hex!("0800 4011 5351 0000 08000000 FEFF00E0 08000000"),
            BadLength,
            12,
        ),
        (
            "undefined item past the sequence",
            ExplicitLe,
            &hex!("0800 4011 5351 0000 08000000 FEFF00E0 FFFFFFFF 0800 1800 5549 0000"),
            BadLength,
            20,
        ),
        (
            "stray bytes in an item",
            ExplicitLe,
            &hex!("0800 4011 5351 0000 0B000000 FEFF00E0 03000000 080018 00 5549 0000"),
            BadLength,
            20,
        ),
        (
            "E10 undefined LO",
            ExplicitLe,
            &hex!("1000 2000 4C4F FFFF"),
            CutShort,
            8,
        ),
        (
            "E10 undefined UT",
            ExplicitLe,
            &hex!("1000 2000 5554 0000 FFFFFFFF"),
            UndefinedLengthNotAllowed,
            0,
        ),
        (
            "E10 undefined OB",
            ExplicitLe,
            &hex!("0900 0110 4F42 0000 FFFFFFFF"),
            UndefinedLengthNotAllowed,
            0,
        ),
        (
            "E15 implicit as explicit",
            ExplicitLe,
            &hex!("0800 0500 0A000000 49534F5F495220313030"),
            BadStructure,
            0,
        ),
        (
            "E15 explicit as implicit",
            ImplicitLe,
            &hex!("0800 0500 4353 0A00 49534F5F495220313030"),
            BadStructure,
            0,
        ),
        (
            "item at top level",
            ImplicitLe,
            &hex!("FEFF00E0 00000000"),
            BadStructure,
            0,
        ),
        (
            "delimiter at top level",
            ImplicitLe,
            &hex!("0800 1800 00000000 FEFFDDE0 00000000"),
            BadStructure,
            8,
        ),
        (
            "delimiter in a defined item",
            ExplicitLe,
            &hex!("0800 4011 5351 0000 10000000 FEFF00E0 08000000 FEFF0DE0 00000000"),
            BadStructure,
            20,
        ),
        (
            "trailing zero padding",
            ImplicitLe,
            &hex!("0800 1800 00000000 00000000 00000000"),
            BadStructure,
            8,
        ),
    ];
    for (name, encoding, bytes, kind, offset) in cases {
        let error = strictly(encoding, bytes).unwrap_err();
        assert_eq!(
            (error.kind, error.offset),
            (kind, offset),
            "{name}: {error}"
        );
        // What stands in tests/oddities.rs is whole, though no other reader need think so.
        let whole = [
            "E07 group 0002",
            "E07 group 0002 later",
            "delimiter in a defined item",
            "trailing zero padding",
        ];
        let expected = if whole.contains(&name) {
            Ok(())
        } else {
            Err(error)
        };
        assert_eq!(scan(encoding, bytes), expected, "{name}");
    }
}

#[test]
fn errors_are_sticky_and_say_where() {
    let mut scanner = Scanner::new(ExplicitLe, &[]);
    let error = scanner
        .feed(&hex!("1000 2000 5554 0000 FFFFFFFF"))
        .unwrap_err();
    assert_eq!(scanner.feed(b"more").unwrap_err(), error);
    assert_eq!(scanner.finish().unwrap_err(), error);
    assert_eq!(
        error.to_string(),
        "undefined length is not allowed here: (0010,0020) at offset 0 (PS3.5 7.1.1)"
    );
}

fn nested(levels: usize, encoding: Encoding) -> Vec<u8> {
    let open: &[u8] = match encoding {
        ExplicitLe => &hex!("0800 4011 5351 0000 FFFFFFFF FEFF00E0 FFFFFFFF"),
        _ => &hex!("0800 4011 FFFFFFFF FEFF00E0 FFFFFFFF"),
    };
    let close = hex!("FEFF0DE0 00000000 FEFFDDE0 00000000");
    [open.repeat(levels), close.repeat(levels)].concat()
}

#[test]
fn depth_is_limited_to_64() {
    for encoding in [ExplicitLe, ImplicitLe] {
        assert_eq!(kind(encoding, &nested(DEPTH_LIMIT, encoding)), Ok(()));
        for levels in [DEPTH_LIMIT + 1, 1_000, 100_000] {
            assert_eq!(
                kind(encoding, &nested(levels, encoding)),
                Err(DepthExceeded)
            );
        }
    }
}

#[test]
fn unknown_vr_is_read_in_both_forms() {
    // E16. A 32-bit length, a 16-bit length, and a 16-bit zero that the 32-bit form would take for two more bytes
    // of header: the walk is whole if one of the two readings is.
    for whole in [
        &hex!("0900 0110 5A5A 0000 02000000 4142  0900 0210 5A5A 0000 00000000")[..],
        &hex!("0900 0110 5A5A 0200 4142  0900 0210 5A5A 0400 41424344"),
        &hex!("0900 0110 5A5A 0000  1000 2000 4C4F 0200 4142"),
        &hex!("1000 2000 4C4F 0200 4142  1100 0110 5A5A 0000"),
    ] {
        assert_eq!(scan(ExplicitLe, whole), Ok(()), "{whole:02x?}");
    }
    assert_eq!(
        kind(ExplicitLe, &hex!("0900 0110 5A5A 0000 FFFFFF0F 4142")),
        Err(CutShort)
    );
    assert_eq!(
        kind(ExplicitLe, &hex!("0900 0110 5A7A 0200 4142")),
        Err(BadStructure)
    );
}

#[test]
fn values_come_from_the_reading_that_holds() {
    let bytes = hex!("0900 0110 5A5A 0000  1000 2000 4C4F 0200 4142");
    let mut scanner = Scanner::new(ExplicitLe, &[Tag::PATIENT_ID]);
    for byte in bytes {
        scanner.feed(&[byte]).unwrap();
    }
    scanner.finish().unwrap();
    assert_eq!(scanner.value(Tag::PATIENT_ID), Some(&b"AB"[..]));
}

#[test]
fn odd_lengths_and_unsorted_elements_are_let_through() {
    assert_eq!(
        kind(
            ExplicitLe,
            &hex!("1000 2000 4C4F 0300 414243  0800 1800 5549 0100 31")
        ),
        Ok(())
    );
}

#[test]
fn a_million_tiny_elements_and_items_are_linear() {
    // E12: constant memory is by construction; what is left open at the end would be an error.
    let mut scanner = Scanner::new(ExplicitLe, &[Tag::PATIENT_ID]);
    let elements = hex!("0900 0110 4C4F 0000").repeat(1_000);
    for _ in 0..1_000 {
        scanner.feed(&elements).unwrap();
    }
    scanner.feed(&hex!("0900 0210 5351 0000 FFFFFFFF")).unwrap();
    let items = hex!("FEFF00E0 00000000").repeat(1_000);
    for _ in 0..100 {
        scanner.feed(&items).unwrap();
    }
    scanner.feed(&hex!("FEFFDDE0 00000000")).unwrap();
    scanner.finish().unwrap();
}

#[test]
fn counts_past_four_gigabytes() {
    // E18: two values of FFFFFFFE bytes.
    let chunk = vec![0; 1 << 24];
    let mut scanner = Scanner::new(ExplicitLe, &[]);
    for _ in 0..2 {
        scanner.feed(&hex!("E07F 1000 4F57 0000 FEFFFFFF")).unwrap();
        let mut left = 0xffff_fffe_usize;
        while left > 0 {
            let here = left.min(chunk.len());
            scanner.feed(&chunk[..here]).unwrap();
            left -= here;
        }
    }
    scanner.finish().unwrap();
    assert_eq!(scanner.offset(), 2 * (12 + 0xffff_fffe));
}

/// A data set as a tree, so that whole ones can be made at will.
#[derive(Clone, Debug)]
enum Element {
    Value(u16, Vec<u8>),
    Sequence {
        defined: bool,
        items: Vec<(bool, Vec<Self>)>,
    },
    Unknown(Vec<Vec<Self>>),
    Fragments(Vec<Vec<u8>>),
}

fn element() -> impl Strategy<Value = Element> {
    let value = prop::collection::vec(any::<u8>(), 0..40);
    let leaf = prop_oneof![
        4 => (3_u16..0x7000, value.clone()).prop_map(|(e, v)| Element::Value(e, v)),
        1 => prop::collection::vec(value, 0..4).prop_map(Element::Fragments),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let items = prop::collection::vec(inner.clone(), 0..4);
        prop_oneof![
            3 => (any::<bool>(), prop::collection::vec((any::<bool>(), items.clone()), 0..3))
                .prop_map(|(defined, items)| Element::Sequence { defined, items }),
            1 => prop::collection::vec(items, 0..3).prop_map(Element::Unknown),
        ]
    })
}

fn put16(out: &mut Vec<u8>, encoding: Encoding, value: u16) {
    match encoding {
        ExplicitBe => out.extend(value.to_be_bytes()),
        _ => out.extend(value.to_le_bytes()),
    }
}

fn put32(out: &mut Vec<u8>, encoding: Encoding, value: u32) {
    match encoding {
        ExplicitBe => out.extend(value.to_be_bytes()),
        _ => out.extend(value.to_le_bytes()),
    }
}

fn header(out: &mut Vec<u8>, encoding: Encoding, tag: (u16, u16), vr: &[u8; 2], length: u32) {
    put16(out, encoding, tag.0);
    put16(out, encoding, tag.1);
    if encoding != ImplicitLe && tag.0 != 0xfffe {
        out.extend(vr);
        if vr == b"LO" {
            put16(out, encoding, u16::try_from(length).unwrap());
            return;
        }
        out.extend([0, 0]);
    }
    put32(out, encoding, length);
}

fn items(out: &mut Vec<u8>, encoding: Encoding, items: &[(bool, Vec<Element>)]) {
    for (defined, elements) in items {
        let body = encode(elements, encoding);
        let length = if *defined {
            body.len() as u32
        } else {
            u32::MAX
        };
        header(out, encoding, (0xfffe, 0xe000), b"  ", length);
        out.extend(body);
        if !defined {
            header(out, encoding, (0xfffe, 0xe00d), b"  ", 0);
        }
    }
}

fn encode(elements: &[Element], encoding: Encoding) -> Vec<u8> {
    let mut out = Vec::new();
    for element in elements {
        match element {
            Element::Value(e, value) => {
                header(&mut out, encoding, (0x0009, *e), b"LO", value.len() as u32);
                out.extend(value);
            }
            Element::Sequence {
                defined,
                items: list,
            } => {
                let mut body = Vec::new();
                items(&mut body, encoding, list);
                let length = if *defined {
                    body.len() as u32
                } else {
                    u32::MAX
                };
                header(&mut out, encoding, (0x0040, 0x0100), b"SQ", length);
                out.extend(body);
                if !defined {
                    header(&mut out, encoding, (0xfffe, 0xe0dd), b"  ", 0);
                }
            }
            Element::Unknown(list) => {
                header(&mut out, encoding, (0x0041, 0x1001), b"UN", u32::MAX);
                for elements in list {
                    items(&mut out, ImplicitLe, &[(false, elements.clone())]);
                }
                header(&mut out, ImplicitLe, (0xfffe, 0xe0dd), b"  ", 0);
            }
            Element::Fragments(_) if encoding == ImplicitLe => {}
            Element::Fragments(list) => {
                header(&mut out, encoding, (0x7fe0, 0x0010), b"OB", u32::MAX);
                for fragment in list {
                    header(
                        &mut out,
                        encoding,
                        (0xfffe, 0xe000),
                        b"  ",
                        fragment.len() as u32,
                    );
                    out.extend(fragment);
                }
                header(&mut out, encoding, (0xfffe, 0xe0dd), b"  ", 0);
            }
        }
    }
    out
}

fn encodings() -> impl Strategy<Value = Encoding> {
    prop_oneof![Just(ImplicitLe), Just(ExplicitLe), Just(ExplicitBe)]
}

/// Bytes the scanner is likely to find plausible for a while.
fn near_misses() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(hex!("0900 0110 5A5A 0000").to_vec()),
        Just(hex!("0900 0110 5A5A 0000 02000000 4142").to_vec()),
        Just(hex!("0800 4011 5351 0000 FFFFFFFF").to_vec()),
        Just(hex!("FEFF00E0 FFFFFFFF").to_vec()),
        Just(hex!("FEFF0DE0 00000000").to_vec()),
        Just(hex!("FEFFDDE0 00000000").to_vec()),
        Just(hex!("0800 1800 5549 0200 3100").to_vec()),
        Just(hex!("0900 0110 554E 0000 FFFFFFFF").to_vec()),
        Just(hex!("0800 1800 5549 0200 3200").to_vec()),
        Just(hex!("1000 2000 4C4F 0200 4142").to_vec()),
        Just(hex!("1000 2000 4C4F 0200 4143").to_vec()),
        Just(hex!("0800 4011 5351 0000 18000000 FEFF00E0 08000000").to_vec()),
        Just(hex!("0200 1000 5549 0000").to_vec()),
        (1_usize..20).prop_map(|length| vec![0; length]),
        prop::collection::vec(any::<u8>(), 0..6),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

type Outcome = (Result<(), ScanError>, [Option<Vec<u8>>; 2], Vec<Oddity>);

fn outcome(encoding: Encoding, bytes: &[u8], cuts: &[usize]) -> Outcome {
    fed(Scanner::new(encoding, &ASKED_FOR), bytes, cuts)
}

const ASKED_FOR: [Tag; 2] = [Tag::SOP_INSTANCE_UID, Tag::PATIENT_ID];

fn fed(mut scanner: Scanner, bytes: &[u8], cuts: &[usize]) -> Outcome {
    let mut rest = bytes;
    for cut in cuts.iter().cycle() {
        if rest.is_empty() || cuts.is_empty() {
            break;
        }
        let (chunk, after) = rest.split_at((*cut).min(rest.len()));
        let _ = scanner.feed(chunk);
        rest = after;
    }
    let _ = scanner.feed(rest);
    let result = scanner.finish();
    (
        result,
        ASKED_FOR.map(|tag| scanner.value(tag).map(<[u8]>::to_vec)),
        scanner.oddities().to_vec(),
    )
}

proptest! {
    #[test]
    fn whole_data_sets_are_whole_however_they_are_cut(
        encoding in encodings(),
        elements in prop::collection::vec(element(), 1..8),
        cuts in prop::collection::vec(1_usize..20, 1..6),
    ) {
        let bytes = encode(&elements, encoding);
        prop_assume!(!bytes.is_empty());
        prop_assert_eq!(outcome(encoding, &bytes, &cuts).0, Ok(()));
    }

    #[test]
    fn chunking_never_matters(
        encoding in encodings(),
        bytes in near_misses(),
        cuts in prop::collection::vec(1_usize..20, 1..6),
    ) {
        prop_assert_eq!(outcome(encoding, &bytes, &cuts), outcome(encoding, &bytes, &[]));
    }

    #[test]
    fn what_is_whole_strictly_is_the_same_leniently(
        encoding in encodings(),
        bytes in near_misses(),
    ) {
        let lenient = outcome(encoding, &bytes, &[]);
        let strict = fed(Scanner::strict(encoding, &ASKED_FOR), &bytes, &[]);
        if strict.0.is_ok() {
            prop_assert_eq!(strict, lenient);
        } else if lenient.0.is_ok() {
            prop_assert!(!lenient.2.is_empty(), "{:?}", strict.0);
        }
    }

    #[test]
    fn a_prefix_is_cut_short_unless_it_ends_between_elements(
        encoding in encodings(),
        elements in prop::collection::vec(element(), 1..4),
    ) {
        let bytes = encode(&elements, encoding);
        let boundaries: Vec<usize> = (1..=elements.len()).map(|n| encode(&elements[..n], encoding).len()).collect();
        for end in 1..bytes.len() {
            let result = scan(encoding, &bytes[..end]);
            // A zero that makes pixel data of odd length even is padding, and so worth no more than a cut at the border.
            let padded = boundaries.iter().position(|border| border + 1 == end && end % 2 == 0);
            let padded = bytes[end - 1] == 0
                && padded.is_some_and(|last| matches!(elements[last], Element::Fragments(_)));
            if padded && encoding != ImplicitLe || boundaries.contains(&end) {
                prop_assert_eq!(result, Ok(()));
            } else {
                let error = result.unwrap_err();
                prop_assert_eq!((error.kind, error.offset), (CutShort, end as u64));
            }
        }
    }
}
