//! The meter: what a decoder makes of a data set, by hand-made vectors; and that chunking does not matter.
#![allow(missing_docs, clippy::unwrap_used, clippy::arithmetic_side_effects)]

use std::sync::Arc;

use dimse_proto::dataset::{Bounds, Cost, Dictionary, Encoding, Meter, MeterError};
use hex_literal::hex;
use proptest::prelude::*;

use Encoding::{ExplicitLe, ImplicitLe};

const MANY: Bounds = Bounds {
    elements: 1000,
    depth: 64,
};

fn dictionary() -> Arc<Dictionary> {
    let standard = vec![
        (0x0008_0008, *b"CS"),
        (0x0008_1110, *b"SQ"),
        (0x0010_0010, *b"PN"),
        (0x0028_0010, *b"US"),
    ];
    let repeated = vec![(0x5000_2600, 0xff00_ffff, *b"SQ")];
    Arc::new(Dictionary::new(
        standard,
        repeated,
        vec![(0x0029_0010, *b"SQ")],
    ))
}

fn meter(encoding: Encoding, bytes: &[u8], bounds: Bounds) -> Result<(Cost, bool), MeterError> {
    let mut meter = Meter::new(encoding, dictionary(), bounds);
    meter.feed(bytes)?;
    Ok((meter.cost(), meter.is_whole()))
}

fn cost(encoding: Encoding, bytes: &[u8]) -> Cost {
    meter(encoding, bytes, MANY).unwrap().0
}

#[test]
fn a_sequence_of_defined_length_in_implicit_vr_is_counted_by_the_dictionary() {
    let items = hex!("08001011 10000000  FEFF00E0 00000000  FEFF00E0 00000000");
    assert_eq!(
        cost(ImplicitLe, &items),
        Cost {
            elements: 3,
            depth: 1,
            values: 0
        }
    );
    let repeated = hex!("02500026 08000000  FEFF00E0 00000000");
    assert_eq!(cost(ImplicitLe, &repeated).elements, 2);
    let value = hex!("08000800 08000000  FEFF00E0 00000000");
    assert_eq!(cost(ImplicitLe, &value).elements, 1);
}

#[test]
fn what_only_looks_like_items_is_counted_as_items_too() {
    let zeros = hex!("08001011 10000000  00000000 00000000  00000000 00000000");
    assert_eq!(cost(ImplicitLe, &zeros).elements, 3);
    let beyond = hex!("08001011 0A000000  FEFF00E0 FFFFFF7F  0800 10000000 0400 31323334");
    assert!(cost(ImplicitLe, &beyond).elements >= 3);
}

#[test]
fn an_item_in_implicit_vr_inside_explicit_vr_is_read_as_such() {
    let un = hex!(
        "08001011 554E 0000 FFFFFFFF  FEFF00E0 10000000  08001011 08000000 FEFF00E0 00000000"
        "FEFFDDE0 00000000"
    );
    assert_eq!(
        cost(ExplicitLe, &un),
        Cost {
            elements: 4,
            depth: 2,
            values: 0
        }
    );
}

#[test]
fn a_delimiter_inside_a_fragment_ends_the_pixel_data() {
    let pixels = hex!(
        "E07F1000 4F42 0000 FFFFFFFF  FEFF00E0 10000000 FEFFDDE0 00000000"
        "0800 0800 4353 0000"
        "0800 0800 4353 0000"
    );
    assert_eq!(cost(ExplicitLe, &pixels).elements, 3);
}

#[test]
fn values_of_an_element_with_many_are_counted() {
    let names = hex!("10001000 04000000 5C5C5C5C");
    assert_eq!(cost(ImplicitLe, &names).values, 4 * 512);
    let numbers = hex!("28001000 08000000 0100 0200 0300 0400");
    assert_eq!(cost(ImplicitLe, &numbers).values, 4 * 64);
    let private = hex!("29001010 10000000 00000000 00000000 00000000 00000000");
    assert_eq!(cost(ImplicitLe, &private).values, 2 * 1024);
}

#[test]
fn more_than_the_bounds_is_refused() {
    let items = hex!("08001011 10000000  FEFF00E0 00000000  FEFF00E0 00000000");
    let two = Bounds {
        elements: 2,
        depth: 64,
    };
    assert_eq!(meter(ImplicitLe, &items, two), Err(MeterError::Elements));
    let flat = Bounds {
        elements: 9,
        depth: 0,
    };
    assert_eq!(meter(ImplicitLe, &items, flat), Err(MeterError::Depth));
}

#[test]
fn what_is_cut_short_is_not_whole() {
    let bytes = hex!(
        "08001011 5351 0000 FFFFFFFF FEFF00E0 FFFFFFFF 08000800 4353 0200 4142 FEFF0DE0 00000000"
        "FEFFDDE0 00000000"
    );
    for length in 0..bytes.len() {
        let (_, whole) = meter(ExplicitLe, &bytes[..length], MANY).unwrap();
        assert_eq!(whole, length == 0, "{length}");
    }
    assert!(meter(ExplicitLe, &bytes, MANY).unwrap().1);
}

proptest! {
    #[test]
    fn chunking_does_not_matter(
        bytes in prop::collection::vec(
            prop_oneof![
                Just(b"\x08\0\x10\x11".to_vec()),
                Just(b"\x10\0\x10\0".to_vec()),
                Just(b"\xfe\xff\0\xe0".to_vec()),
                Just(b"\xfe\xff\x0d\xe0".to_vec()),
                Just(b"\xfe\xff\xdd\xe0".to_vec()),
                Just(b"\xff\xff\xff\xff".to_vec()),
                Just(b"SQ\0\0".to_vec()),
                Just(b"OB\0\0".to_vec()),
                Just(b"\x08\0\0\0".to_vec()),
                prop::collection::vec(any::<u8>(), 1..9),
            ],
            0..40,
        ).prop_map(|parts| parts.concat()),
        implicit in any::<bool>(),
        size in 1_usize..20,
    ) {
        let encoding = if implicit { ImplicitLe } else { ExplicitLe };
        let mut chunked = Meter::new(encoding, dictionary(), MANY);
        let mut fed = Ok(());
        for chunk in bytes.chunks(size) {
            fed = chunked.feed(chunk);
        }
        let outcome = fed.map(|()| (chunked.cost(), chunked.is_whole()));
        prop_assert_eq!(outcome, meter(encoding, &bytes, MANY));
    }
}

#[test]
fn a_value_whose_end_is_looked_for_is_told() {
    let searches = |bytes: &[u8]| {
        let mut meter = Meter::new(ImplicitLe, dictionary(), MANY);
        meter.feed(bytes).unwrap();
        meter.searches()
    };
    let delimiter = hex!("FEFFDDE0 00000000");
    assert!(searches(
        &[&hex!("08000800 FFFFFFFF")[..], &delimiter].concat()
    ));
    assert!(!searches(
        &[&hex!("08001011 FFFFFFFF")[..], &delimiter].concat()
    ));
    // A reader of headers stops before pixel data of the top level.
    let pixels = [&hex!("E07F1000 4F42 0000 FFFFFFFF")[..], &delimiter].concat();
    let mut meter = Meter::new(ExplicitLe, dictionary(), MANY);
    meter.feed(&pixels).unwrap();
    assert!(!meter.searches());
}
