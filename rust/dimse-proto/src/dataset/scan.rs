//! A push scanner over data-set bytes (PS3.5 section 7): is it structurally whole, and the values of a few
//! asked-for tags. No more: no dictionary, no value is interpreted, nothing is changed.
//!
//! A data set cut short with the last fragment flagged looks like a complete message (PS3.7 9.3.1.3 even allows
//! it after an early failure); only this walk tells the two apart.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use super::encoding::Encoding;
use super::header::{
    HEADER_MAX, Header, Parsed, UNDEFINED, UnknownVr, has_short_length, parse_header,
};
use super::tag::Tag;

/// Sequences inside sequences, at most.
pub const DEPTH_LIMIT: usize = 64;

/// Longest wanted value that is kept, in bytes. A longer one is passed over as if it had not been asked for.
pub const CAPTURE_LIMIT: u32 = 1024;

/// Why bytes are not a whole data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ScanErrorKind {
    /// No byte at all.
    Empty,
    /// The bytes end inside an element, item or sequence.
    CutShort,
    /// A preamble or File Meta Information (group 0002, PS3.10 7.1) stands where a data set should.
    FileMeta,
    /// Sequences are nested deeper than [`DEPTH_LIMIT`].
    DepthExceeded,
    /// A value, item or sequence is longer than the item or sequence it stands in.
    BadLength,
    /// Undefined length where neither a sequence nor encapsulated pixel data can be.
    UndefinedLengthNotAllowed,
    /// Not a VR, an item or delimiter out of place, or a forbidden group.
    BadStructure,
    /// A wanted element is there again, with another value.
    Repeated,
}

impl ScanErrorKind {
    /// Stable, kebab-case name, for logs and tests.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Empty => "dataset-empty",
            Self::CutShort => "dataset-cut-short",
            Self::FileMeta => "dataset-file-meta",
            Self::DepthExceeded => "dataset-too-deep",
            Self::BadLength => "dataset-bad-length",
            Self::UndefinedLengthNotAllowed => "dataset-undefined-length",
            Self::BadStructure => "dataset-bad-structure",
            Self::Repeated => "dataset-repeated-element",
        }
    }

    const fn text(self) -> &'static str {
        match self {
            Self::Empty => "the data set has no element",
            Self::CutShort => "the data set is cut short",
            Self::FileMeta => "a file preamble or group 0002 in a data set",
            Self::DepthExceeded => "sequences nested deeper than 64",
            Self::BadLength => "longer than what holds it",
            Self::UndefinedLengthNotAllowed => "undefined length is not allowed here",
            Self::BadStructure => "not a data element",
            Self::Repeated => "a second value of an element that occurs once",
        }
    }

    const fn section(self) -> &'static str {
        match self {
            Self::Empty
            | Self::CutShort
            | Self::BadLength
            | Self::BadStructure
            | Self::Repeated => "PS3.5 7.1",
            Self::FileMeta => "PS3.10 7.1",
            Self::DepthExceeded => "PS3.5 7.5",
            Self::UndefinedLengthNotAllowed => "PS3.5 7.1.1",
        }
    }
}

/// Where and why the walk over a data set ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanError {
    /// What is wrong.
    pub kind: ScanErrorKind,
    /// Bytes from the start of the data set to the faulty element, or to the end of what was received when it is
    /// cut short.
    pub offset: u64,
    /// The element concerned, if its tag was read.
    pub tag: Option<Tag>,
}

impl fmt::Display for ScanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.text())?;
        if let Some(tag) = self.tag {
            write!(f, ": {tag}")?;
        }
        write!(f, " at offset {} ({})", self.offset, self.kind.section())
    }
}

impl core::error::Error for ScanError {}

/// Walks a data set handed over in chunks of any size; the result does not depend on how it was cut.
///
/// Memory is constant: 64 open sequences and the wanted values. Time is linear in elements, and a value costs the
/// same however long it is. Odd lengths and unsorted elements are let through: they harm nobody and occur.
///
/// An explicit VR nobody knows has a 32-bit length (PS3.5 6.2), but some writers of private VRs disagree. From the
/// first one on, a second walk runs beside the first and takes all of them as 16-bit; the data set is whole if
/// either walk says so, and values come from the standard reading if it holds.
#[derive(Clone, Debug)]
pub struct Scanner {
    walk: Walk,
    other: Option<Box<Walk>>,
    offset: u64,
}

impl Scanner {
    /// A scanner that keeps the values of the `wanted` elements of the top level.
    #[must_use]
    pub fn new(encoding: Encoding, wanted: &[Tag]) -> Self {
        Self {
            walk: Walk::new(encoding, wanted),
            other: None,
            offset: 0,
        }
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// The first fault, again on every later call.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), ScanError> {
        self.offset = self.offset.saturating_add(length_of(bytes));
        if let Some(other) = &mut self.other {
            other.feed(bytes);
            self.walk.feed(bytes);
        } else if let Some(rest) = self.walk.feed(bytes) {
            let other = self.other.insert(Box::new(self.walk.clone()));
            other.unknown_vr = UnknownVr::Short;
            self.walk.unknown_vr = UnknownVr::Long;
            other.feed(rest);
            self.walk.feed(rest);
        }
        self.outcome()
    }

    /// Says that there are no more bytes.
    ///
    /// # Errors
    /// The fault found before, `Empty`, or `CutShort`.
    pub fn finish(&mut self) -> Result<(), ScanError> {
        self.walk.finish();
        if let Some(other) = &mut self.other {
            other.finish();
        }
        self.outcome()
    }

    /// The bytes of a wanted element of the top level, padding included, once it was received whole.
    #[must_use]
    pub fn value(&self, tag: Tag) -> Option<&[u8]> {
        match &self.other {
            Some(other) if self.walk.failed.is_some() => other.value(tag),
            _ => self.walk.value(tag),
        }
    }

    /// Bytes fed so far.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    fn outcome(&self) -> Result<(), ScanError> {
        match (self.walk.failed, &self.other) {
            (Some(error), None) => Err(error),
            (Some(error), Some(other)) if other.failed.is_some() => Err(error),
            _ => Ok(()),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Inside {
    Sequence,
    Item,
    /// Encapsulated pixel data (PS3.5 A.4): items without elements.
    Fragments,
}

/// An open sequence or item.
#[derive(Clone, Copy, Debug)]
struct Frame {
    inside: Inside,
    /// Ends at `limit`; otherwise at its delimiter.
    defined: bool,
    /// Nothing inside may reach past this offset: its own end, or that of what holds it.
    limit: u64,
    encoding: Encoding,
}

#[derive(Clone, Debug)]
struct Wanted {
    tag: Tag,
    value: Vec<u8>,
    state: Capture,
}

impl Wanted {
    /// Takes more of the value, or says where the element began that differs from what was there before.
    fn take(&mut self, bytes: &[u8]) -> Result<(), u64> {
        let Capture::Again(offset, same) = self.state else {
            self.value.extend_from_slice(bytes);
            return Ok(());
        };
        self.state = Capture::Again(offset, same.saturating_add(bytes.len()));
        let known = self.value.get(same..).unwrap_or_default();
        known.starts_with(bytes).then_some(()).ok_or(offset)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Capture {
    NotMet,
    /// Met, and too long or not yet whole.
    Open,
    Whole,
    /// Met again at this offset, and so far the same in so many bytes.
    Again(u64, usize),
}

/// One reading of the bytes.
#[derive(Clone, Debug)]
struct Walk {
    encoding: Encoding,
    unknown_vr: UnknownVr,
    /// Offset of the next byte.
    at: u64,
    /// Element last met, for errors.
    tag: Option<Tag>,
    /// A header cut by the end of a chunk.
    partial: [u8; HEADER_MAX],
    partial_length: usize,
    /// Bytes of the current value still to come.
    skip: u64,
    /// Index into `wanted` of the value being kept.
    keeping: Option<usize>,
    wanted: Vec<Wanted>,
    stack: Vec<Frame>,
    failed: Option<ScanError>,
}

impl Walk {
    fn new(encoding: Encoding, wanted: &[Tag]) -> Self {
        Self {
            encoding,
            unknown_vr: UnknownVr::NotMet,
            at: 0,
            tag: None,
            partial: [0; HEADER_MAX],
            partial_length: 0,
            skip: 0,
            keeping: None,
            wanted: wanted
                .iter()
                .map(|&tag| Wanted {
                    tag,
                    value: Vec::new(),
                    state: Capture::NotMet,
                })
                .collect(),
            stack: Vec::new(),
            failed: None,
        }
    }

    fn value(&self, tag: Tag) -> Option<&[u8]> {
        self.wanted
            .iter()
            .find(|wanted| {
                wanted.tag == tag && matches!(wanted.state, Capture::Whole | Capture::Again(..))
            })
            .map(|wanted| wanted.value.as_slice())
    }

    /// Takes `bytes`, or stops before the first unknown VR and gives back what it did not take.
    fn feed<'a>(&mut self, mut bytes: &'a [u8]) -> Option<&'a [u8]> {
        while self.failed.is_none() {
            bytes = self.pass_value(bytes);
            if bytes.is_empty() || self.failed.is_some() {
                return None;
            }
            let (window, filled) = self.window(bytes);
            let header = window.get(..filled).unwrap_or(&window);
            match parse_header(header, self.current_encoding(), self.unknown_vr) {
                Parsed::Header(header) => {
                    let taken = usize::from(header.size).saturating_sub(self.partial_length);
                    bytes = bytes.get(taken..).unwrap_or_default();
                    self.partial_length = 0;
                    self.tag = Some(header.tag);
                    self.failed = self.enter(header).err().map(|kind| self.error(kind));
                }
                Parsed::Partial => {
                    self.partial = window;
                    self.partial_length = filled;
                    return None;
                }
                Parsed::Unknown => return Some(bytes),
                Parsed::Bad(tag) => {
                    self.tag = Some(tag);
                    let kind = self
                        .forbidden_group(tag)
                        .unwrap_or(ScanErrorKind::BadStructure);
                    self.failed = Some(self.error(kind));
                }
            }
        }
        None
    }

    fn finish(&mut self) {
        if self.failed.is_some() {
            return;
        }
        let cut = self.skip > 0 || self.partial_length > 0 || !self.stack.is_empty();
        if cut || self.at == 0 {
            let kind = if cut {
                ScanErrorKind::CutShort
            } else {
                ScanErrorKind::Empty
            };
            let mut error = self.error(kind);
            error.offset = error
                .offset
                .saturating_add(u64::try_from(self.partial_length).unwrap_or_default());
            self.failed = Some(error);
        }
    }

    /// Passes over what `bytes` holds of the current value and returns the rest.
    fn pass_value<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        if self.skip == 0 {
            return bytes;
        }
        let here = usize::try_from(self.skip).map_or(bytes.len(), |skip| skip.min(bytes.len()));
        let (value, rest) = bytes.split_at_checked(here).unwrap_or((bytes, &[]));
        if let Some(wanted) = self.keeping.and_then(|index| self.wanted.get_mut(index))
            && let Err(offset) = wanted.take(value)
        {
            let error = self.error(ScanErrorKind::Repeated);
            self.failed = Some(ScanError { offset, ..error });
            return rest;
        }
        self.skip = self.skip.saturating_sub(length_of(value));
        self.at = self.at.saturating_add(length_of(value));
        if self.skip == 0 {
            self.value_ended();
        }
        rest
    }

    /// The next header as far as it was received: what was left over from the last chunk, then `bytes`.
    fn window(&self, bytes: &[u8]) -> ([u8; HEADER_MAX], usize) {
        let mut window = self.partial;
        let mut filled = self.partial_length;
        for (slot, byte) in window.iter_mut().skip(self.partial_length).zip(bytes) {
            *slot = *byte;
            filled = filled.saturating_add(1);
        }
        (window, filled)
    }

    /// Decides what an element, item or delimiter means where it stands.
    fn enter(&mut self, header: Header) -> Result<(), ScanErrorKind> {
        let value = self.at.saturating_add(u64::from(header.size));
        let defined = header.length != UNDEFINED;
        let end = match header.tag {
            // The length of a delimiter is zero (PS3.5 7.5). Readers ignore anything else and look for the next
            // element right behind it, so that is where it must stand here too.
            Tag::ITEM_DELIMITATION | Tag::SEQUENCE_DELIMITATION => value,
            _ if defined => value.saturating_add(u64::from(header.length)),
            _ => value,
        };
        if end > self.limit() {
            return Err(ScanErrorKind::BadLength);
        }
        let inside = self.stack.last().map(|frame| (frame.inside, frame.defined));
        match (header.tag, inside) {
            (Tag::ITEM, Some((Inside::Sequence, _))) => {
                self.open(Inside::Item, defined, end, self.current_encoding());
            }
            (Tag::ITEM, Some((Inside::Fragments, _))) if defined => {
                self.skip = u64::from(header.length);
            }
            (Tag::ITEM, Some((Inside::Fragments, _))) => {
                return Err(ScanErrorKind::UndefinedLengthNotAllowed);
            }
            (Tag::ITEM_DELIMITATION, Some((Inside::Item, false)))
            | (Tag::SEQUENCE_DELIMITATION, Some((Inside::Sequence | Inside::Fragments, false))) => {
                self.stack.pop();
            }
            (Tag(0xfffe, _), _) | (_, Some((Inside::Sequence | Inside::Fragments, _))) => {
                return Err(ScanErrorKind::BadStructure);
            }
            (_, None | Some((Inside::Item, _))) => self.enter_element(header, end)?,
        }
        self.at = value;
        if self.skip == 0 {
            self.value_ended();
        }
        Ok(())
    }

    /// An element of the data set or of an item.
    fn enter_element(&mut self, header: Header, end: u64) -> Result<(), ScanErrorKind> {
        let top = self.stack.is_empty();
        if let Some(kind) = self.forbidden_group(header.tag) {
            return Err(kind);
        }
        let encoding = self.current_encoding();
        // Explicit VR taken for implicit: "CS" where a length should begin. No data set starts with an element of
        // 16 KiB or more.
        let [low, high, ..] = header.length.to_le_bytes();
        if self.at == 0 && header.vr.is_none() && has_short_length([low, high]) {
            return Err(ScanErrorKind::BadStructure);
        }
        if header.length == UNDEFINED {
            let is_pixel_data = header.tag == Tag::PIXEL_DATA;
            return match header.vr {
                Some([b'O', b'B' | b'W'] | [b'U', b'N']) if is_pixel_data => {
                    self.open(Inside::Fragments, false, end, encoding);
                    Ok(())
                }
                None if is_pixel_data => Err(ScanErrorKind::UndefinedLengthNotAllowed),
                None | Some([b'S', b'Q']) => self.open_sequence(false, end, encoding),
                // Whatever the transfer syntax, Implicit VR Little Endian inside (PS3.5 6.2.2).
                Some([b'U', b'N']) => self.open_sequence(false, end, Encoding::ImplicitLe),
                Some(_) => Err(ScanErrorKind::UndefinedLengthNotAllowed),
            };
        }
        if header.vr == Some(*b"SQ") {
            return self.open_sequence(true, end, encoding);
        }
        self.skip = u64::from(header.length);
        if top {
            self.keep(header)?;
        }
        Ok(())
    }

    /// Groups no data element has (PS3.5 7.8.1, PS3.10 7.1).
    fn forbidden_group(&self, tag: Tag) -> Option<ScanErrorKind> {
        match tag.0 {
            0x0002 if self.stack.is_empty() => Some(ScanErrorKind::FileMeta),
            // A preamble is zeros unless somebody put another file's head there.
            0x0000 if self.at == 0 => Some(ScanErrorKind::FileMeta),
            // Padding or pixels taken for an element.
            0x0000 | 0xffff => Some(ScanErrorKind::BadStructure),
            _ => None,
        }
    }

    /// Starts keeping the value if it is wanted and not too long.
    fn keep(&mut self, header: Header) -> Result<(), ScanErrorKind> {
        let found = self
            .wanted
            .iter_mut()
            .enumerate()
            .find(|(_, wanted)| wanted.tag == header.tag);
        if let Some((index, wanted)) = found {
            wanted.state = match wanted.state {
                Capture::NotMet => Capture::Open,
                // The same again harms nobody and occurs.
                Capture::Whole if length_of(&wanted.value) == u64::from(header.length) => {
                    Capture::Again(self.at, 0)
                }
                // Readers differ in which of two they believe; an instance with two identities is not stored.
                _ => return Err(ScanErrorKind::Repeated),
            };
            self.keeping = (header.length <= CAPTURE_LIMIT).then_some(index);
        }
        Ok(())
    }

    /// At the end of a value, closes the items and sequences whose length is used up.
    fn value_ended(&mut self) {
        if let Some(wanted) = self
            .keeping
            .take()
            .and_then(|index| self.wanted.get_mut(index))
        {
            wanted.state = Capture::Whole;
        }
        while let Some(frame) = self.stack.last()
            && frame.defined
            && frame.limit == self.at
        {
            self.stack.pop();
        }
    }

    fn open_sequence(
        &mut self,
        defined: bool,
        end: u64,
        encoding: Encoding,
    ) -> Result<(), ScanErrorKind> {
        // Sequences and items alternate on the stack.
        if self.stack.len() >= DEPTH_LIMIT.saturating_mul(2) {
            return Err(ScanErrorKind::DepthExceeded);
        }
        self.open(Inside::Sequence, defined, end, encoding);
        Ok(())
    }

    fn open(&mut self, inside: Inside, defined: bool, end: u64, encoding: Encoding) {
        let limit = if defined { end } else { self.limit() };
        self.stack.push(Frame {
            inside,
            defined,
            limit,
            encoding,
        });
    }

    fn limit(&self) -> u64 {
        self.stack.last().map_or(u64::MAX, |frame| frame.limit)
    }

    fn current_encoding(&self) -> Encoding {
        self.stack
            .last()
            .map_or(self.encoding, |frame| frame.encoding)
    }

    fn error(&self, kind: ScanErrorKind) -> ScanError {
        ScanError {
            kind,
            offset: self.at,
            tag: self.tag,
        }
    }
}

fn length_of(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
