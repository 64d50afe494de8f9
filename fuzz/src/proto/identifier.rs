//! Data sets as identifiers are: a few elements asked for, among others and inside sequences.

use arbitrary::{Arbitrary, Unstructured};
use dimse_proto::dataset::{CAPTURE_LIMIT, Encoding, ScanError, ScanErrorKind, Scanner, Tag};

const ASKED_FOR: [Tag; 5] = [
    Tag(0x0008, 0x0005),
    Tag::QUERY_RETRIEVE_LEVEL,
    Tag::PATIENT_ID,
    Tag::STUDY_INSTANCE_UID,
    Tag::SOP_INSTANCE_UID,
];

#[derive(Arbitrary, Debug)]
struct Script {
    encoding: u8,
    elements: Vec<Element>,
    /// A byte that is something else, and how much arrives.
    lie: Option<(u16, u8)>,
    cut: Option<u16>,
    chunk: u8,
}

#[derive(Arbitrary, Debug)]
struct Element {
    tag: u8,
    content: Content,
}

#[derive(Arbitrary, Debug)]
enum Content {
    Value(u8, Vec<u8>),
    /// Lengths that are given, or delimiters.
    Sequence(bool, Vec<(bool, Vec<Element>)>),
    /// Encapsulated pixel data.
    Fragments(Vec<Vec<u8>>),
}

/// A data set by its elements, and what becomes of it on the way.
pub fn identifier(data: &[u8]) {
    let Ok(script) = Script::arbitrary_take_rest(Unstructured::new(data)) else {
        return;
    };
    let encoding = match script.encoding % 3 {
        0 => Encoding::ImplicitLe,
        1 => Encoding::ExplicitLe,
        _ => Encoding::ExplicitBe,
    };
    let mut written = Written {
        encoding,
        bytes: vec![],
        depth: 0,
    };
    // The values that will be found, and where an element of the top level ends.
    let mut found: Vec<Option<Vec<u8>>> = vec![None; ASKED_FOR.len()];
    let mut ends = vec![];
    for element in &script.elements {
        let asked = ASKED_FOR.iter().position(|tag| *tag == element.tag());
        match (&element.content, asked.map(|at| &mut found[at])) {
            // An element occurs once.
            (_, Some(Some(_))) => continue,
            (Content::Value(_, value), Some(found)) => *found = Some(padded(value)),
            // What is asked for has a value.
            (_, Some(None)) => continue,
            (_, None) => {}
        }
        written.element(element);
        ends.push(written.bytes.len());
    }
    let mut bytes = written.bytes;
    let received = script.cut.map_or(bytes.len(), |at| {
        usize::from(at).min(bytes.len()) // mostly all of it
    });
    bytes.truncate(received);
    let honest = script.lie.is_none();
    if let Some((at, byte)) = script.lie {
        let at = usize::from(at) % bytes.len().max(1);
        if let Some(there) = bytes.get_mut(at) {
            *there = byte;
        }
    }
    let (outcome, values) = scan(encoding, &bytes, usize::MAX);
    let chunk = usize::from(script.chunk).max(1);
    assert_eq!(scan(encoding, &bytes, chunk), (outcome, values.clone()));
    if !honest {
        return;
    }
    let whole = bytes.is_empty() || ends.contains(&bytes.len());
    match outcome {
        Ok(()) => assert!(whole && !bytes.is_empty()),
        Err(error) if bytes.is_empty() => assert_eq!(error.kind, ScanErrorKind::Empty),
        Err(error) => {
            assert!(!whole, "{error}");
            assert_eq!(error.kind, ScanErrorKind::CutShort, "{error}");
        }
    }
    if ends.last() == Some(&bytes.len()) {
        assert_eq!(values, found);
    }
}

type Scanned = (Result<(), ScanError>, Vec<Option<Vec<u8>>>);

fn scan(encoding: Encoding, bytes: &[u8], chunk: usize) -> Scanned {
    let mut scanner = Scanner::new(encoding, &ASKED_FOR);
    // What is open and what is asked for, whatever arrives.
    // In four readings at most.
    let limit = 4 * (0x3000 + ASKED_FOR.len() * 2 * CAPTURE_LIMIT as usize);
    let held = super::memory::peak(|| {
        for chunk in bytes.chunks(chunk.min(bytes.len()).max(1)) {
            if scanner.feed(chunk).is_err() {
                break;
            }
        }
    });
    assert!(held <= limit, "held {held} bytes");
    let outcome = scanner.finish();
    let values = ASKED_FOR.iter();
    let values = values.map(|tag| scanner.value(*tag).map(<[u8]>::to_vec));
    (outcome, values.collect())
}

const VRS: [&[u8; 2]; 16] = [
    b"CS", b"LO", b"UI", b"PN", b"DA", b"US", b"AT", b"FD", b"SH", b"IS", b"OB", b"OW", b"UT",
    b"UN", b"UC", b"OV",
];

/// Those with 32-bit lengths begin here.
const LONG: usize = 10;

fn padded(value: &[u8]) -> Vec<u8> {
    let mut value = value.to_vec();
    if value.len() % 2 == 1 {
        value.push(b' ');
    }
    value
}

impl Element {
    fn tag(&self) -> Tag {
        match (&self.content, usize::from(self.tag)) {
            (Content::Fragments(_), _) => Tag::PIXEL_DATA,
            (_, asked) if asked < ASKED_FOR.len() => ASKED_FOR[asked],
            (_, other) => Tag(0x0009 + (other as u16 & 0x70), 0x1000 + other as u16),
        }
    }
}

struct Written {
    encoding: Encoding,
    bytes: Vec<u8>,
    depth: usize,
}

impl Written {
    fn element(&mut self, element: &Element) {
        let tag = element.tag();
        match &element.content {
            Content::Value(vr, value) => {
                let vr = usize::from(*vr) % VRS.len();
                let value = padded(value);
                self.header(tag, Some(*VRS[vr]), vr >= LONG, value.len() as u32);
                self.bytes.extend(value);
            }
            // 64 deep is as deep as it goes.
            Content::Sequence(defined, items) if self.depth < 60 => {
                self.depth += 1;
                let length = |length| if *defined { length } else { u32::MAX };
                let mut inner = self.inner();
                for item in items {
                    inner.item(item);
                }
                let inner = inner.bytes;
                self.depth -= 1;
                self.header(tag, Some(*b"SQ"), true, length(inner.len() as u32));
                self.bytes.extend(inner);
                if !*defined {
                    self.header(Tag::SEQUENCE_DELIMITATION, None, true, 0);
                }
            }
            Content::Fragments(fragments) if self.encoding != Encoding::ImplicitLe => {
                self.header(tag, Some(*b"OB"), true, u32::MAX);
                for fragment in fragments {
                    let fragment = padded(fragment);
                    self.header(Tag::ITEM, None, true, fragment.len() as u32);
                    self.bytes.extend(fragment);
                }
                self.header(Tag::SEQUENCE_DELIMITATION, None, true, 0);
            }
            Content::Sequence(..) | Content::Fragments(_) => {
                self.header(tag, Some(*b"UN"), true, 0);
            }
        }
    }

    fn item(&mut self, (defined, elements): &(bool, Vec<Element>)) {
        let mut inner = self.inner();
        for element in elements {
            inner.element(element);
        }
        let inner = inner.bytes;
        let length = if *defined {
            inner.len() as u32
        } else {
            u32::MAX
        };
        self.header(Tag::ITEM, None, true, length);
        self.bytes.extend(inner);
        if !*defined {
            self.header(Tag::ITEM_DELIMITATION, None, true, 0);
        }
    }

    fn inner(&self) -> Self {
        Self {
            encoding: self.encoding,
            bytes: vec![],
            depth: self.depth,
        }
    }

    fn header(&mut self, tag: Tag, vr: Option<[u8; 2]>, long: bool, length: u32) {
        self.number(tag.0.to_le_bytes());
        self.number(tag.1.to_le_bytes());
        match vr.filter(|_| self.encoding != Encoding::ImplicitLe) {
            Some(vr) if !long => {
                self.bytes.extend(vr);
                return self.number((length as u16).to_le_bytes());
            }
            Some([v0, v1]) => self.bytes.extend([v0, v1, 0, 0]),
            None => {}
        }
        self.number(length.to_le_bytes());
    }

    fn number<const N: usize>(&mut self, mut little: [u8; N]) {
        if self.encoding == Encoding::ExplicitBe {
            little.reverse();
        }
        self.bytes.extend(little);
    }
}
