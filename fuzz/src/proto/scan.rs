//! Data sets.

use dimse_proto::dataset::{CAPTURE_LIMIT, Encoding, Oddity, ScanError, Scanner, Tag};

const WANTED: [Tag; 4] = [
    Tag::SOP_CLASS_UID,
    Tag::SOP_INSTANCE_UID,
    Tag::STUDY_INSTANCE_UID,
    Tag::PIXEL_DATA,
];

/// A byte for the encoding, one for the chunks, and a data set.
pub fn dataset_scan(data: &[u8]) {
    let Some((&[encoding, cut], data)) = data.split_first_chunk() else {
        return;
    };
    let encoding = match encoding % 3 {
        0 => Encoding::ImplicitLe,
        1 => Encoding::ExplicitLe,
        _ => Encoding::ExplicitBe,
    };
    let new = || Scanner::new(encoding, &WANTED);
    let whole = scan(new(), [data]);
    assert_eq!(scan(new(), data.chunks(1)), whole);
    assert_eq!(scan(new(), data.chunks(2 + usize::from(cut % 29))), whole);
    let (head, tail) = data.split_at(usize::from(cut).min(data.len()));
    assert_eq!(scan(new(), [head, tail]), whole);
    // Lenience takes more, and what was taken without it as it was.
    let strict = scan(Scanner::strict(encoding, &WANTED), data.chunks(7));
    match (&strict.0, &whole.0) {
        (Ok(()), _) => assert_eq!(strict, whole),
        (Err(_), Ok(())) => assert!(!whole.2.is_empty(), "{strict:?}"),
        (Err(_), Err(_)) => {}
    }
}

type Scanned = (Result<(), ScanError>, Vec<Option<Vec<u8>>>, Vec<Oddity>);

fn scan<'a>(mut scanner: Scanner, chunks: impl IntoIterator<Item = &'a [u8]>) -> Scanned {
    let mut fault = None;
    let mut fed = 0;
    for chunk in chunks {
        fed += chunk.len() as u64;
        let result = scanner.feed(chunk);
        if fault.is_some() {
            assert_eq!(result.err(), fault, "a fault stays");
        }
        fault = result.err();
        assert_eq!(scanner.offset(), fed);
    }
    let outcome = scanner.finish();
    assert_eq!(scanner.finish(), outcome);
    if let Err(error) = outcome {
        assert!(fault.is_none_or(|fault| fault == error), "a fault stays");
        assert!(error.offset <= fed, "{error} beyond the end");
    }
    let values = WANTED.iter().map(|tag| {
        let value = scanner.value(*tag)?;
        assert!(value.len() <= CAPTURE_LIMIT as usize);
        Some(value.to_vec())
    });
    let oddities = scanner.oddities().to_vec();
    for odd in &oddities {
        assert!(odd.offset <= fed, "{odd} beyond the end");
    }
    (outcome, values.collect(), oddities)
}
