//! One reading of a data set, for [`Scanner`](super::scan::Scanner): which sequences and items are open, and what each
//! element means at its place (PS3.5 7.1, 7.5).

use alloc::vec::Vec;

use super::encoding::Encoding;
use super::fault::{DEPTH_LIMIT, ScanError, ScanErrorKind};
use super::header::{
    HEADER_MAX, Header, Parsed, UNDEFINED, UnknownVr, has_short_length, parse_header,
};
use super::oddity::{Oddities, Oddity, OddityKind};
use super::tag::Tag;
use super::wanted::{Capture, KeptValues};

// The state of a walk is the stack of open frames, the bytes left of the current value, and a header that the end of a
// chunk may have cut in two. Every frame carries its own limit, the smaller of its own end and that of the frame around
// it, so one comparison in `enter` refuses every length that lies, at any depth.
//
// An element is refused only if readers could disagree about the bytes after it (where it ends, what holds it, which
// instance this is). Everything else is noted as an oddity and passes: an archive that refused every imperfect instance
// would lose images that all its readers can show.

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
    /// Whether it has a length and ends at `limit`; otherwise it ends at its delimiter.
    defined: bool,
    /// The offset that nothing inside may pass: its own end, or that of the frame around it.
    limit: u64,
    encoding: Encoding,
    /// Of an item: its last element so far.
    last: Option<Tag>,
}

/// How to read the items of a UN of undefined length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum UnItems {
    /// No such UN was met so far: stop at the first, so that the walk can fork.
    NotMet,
    /// As Implicit VR Little Endian (PS3.5 6.2.2).
    Implicit,
    /// In the encoding of the data set.
    Explicit,
}

/// A construct with two readings.
#[derive(Clone, Copy, Debug)]
enum Doubt {
    UnknownVr,
    UnItems,
}

/// One reading of the bytes.
#[derive(Clone, Debug)]
pub(super) struct Walk {
    encoding: Encoding,
    /// Whether an oddity that some reader refuses is a fault.
    pub(super) strict: bool,
    unknown_vr: UnknownVr,
    un_items: UnItems,
    /// Offset of the next byte; behind the last element, of the first of the zeros.
    at: u64,
    /// The element met last, for errors.
    tag: Option<Tag>,
    /// The beginning of a header that the end of a chunk cut in two.
    partial: [u8; HEADER_MAX],
    partial_length: usize,
    /// Bytes of the current value still to come.
    skip: u64,
    /// Index into `wanted` of the value being kept.
    keeping: Option<usize>,
    pub(super) wanted: KeptValues,
    stack: Vec<Frame>,
    /// The last element of the top level.
    last: Option<Tag>,
    /// Padding was met: only zeros may follow.
    zeros: bool,
    pub(super) oddities: Oddities,
    /// An oddity was accepted that is a fault where `strict`.
    lenient: bool,
    pub(super) failed: Option<ScanError>,
}

impl Walk {
    pub(super) fn new(encoding: Encoding, wanted: &[Tag]) -> Self {
        Self {
            encoding,
            strict: false,
            unknown_vr: UnknownVr::NotMet,
            un_items: UnItems::NotMet,
            at: 0,
            tag: None,
            partial: [0; HEADER_MAX],
            partial_length: 0,
            skip: 0,
            keeping: None,
            wanted: KeptValues::new(wanted),
            stack: Vec::new(),
            last: None,
            zeros: false,
            oddities: Oddities::default(),
            lenient: false,
            failed: None,
        }
    }

    /// Order of preference among the walks of a scanner, the smallest first: without a fault, then without an oddity
    /// that is a fault where strict, then with the standard's reading of each doubt.
    pub(super) fn rank(&self) -> (bool, bool, bool, bool) {
        let failed = self.failed.is_some();
        (
            failed,
            !failed && self.lenient,
            self.un_items == UnItems::Explicit,
            self.unknown_vr == UnknownVr::Short,
        )
    }

    /// Reads `bytes`. Walks with the other reading of a doubt met in them are appended to `forks`.
    pub(super) fn advance(&mut self, mut bytes: &[u8], forks: &mut Vec<Self>) {
        while let Some((rest, doubt)) = self.feed(bytes) {
            self.oddities.ambiguous = true;
            let mut other = self.clone();
            match doubt {
                Doubt::UnknownVr => {
                    self.unknown_vr = UnknownVr::Long;
                    other.unknown_vr = UnknownVr::Short;
                }
                Doubt::UnItems => {
                    self.un_items = UnItems::Implicit;
                    other.un_items = UnItems::Explicit;
                }
            }
            // The fork reads the rest of the chunk at once and may meet the other doubt. Each doubt is met once, so
            // the recursion is two deep.
            other.advance(rest, forks);
            forks.push(other);
            bytes = rest;
        }
    }

    /// Reads `bytes`, or stops before a doubt and returns the bytes from there on.
    fn feed<'a>(&mut self, mut bytes: &'a [u8]) -> Option<(&'a [u8], Doubt)> {
        while self.failed.is_none() {
            bytes = self.pass_value(bytes);
            if bytes.is_empty() || self.failed.is_some() {
                return None;
            }
            if self.zeros {
                if bytes.iter().any(|byte| *byte != 0) {
                    self.failed = Some(self.error(ScanErrorKind::BadStructure));
                }
                return None;
            }
            let (window, filled) = self.window(bytes);
            let header = window.get(..filled).unwrap_or(&window);
            match parse_header(header, self.current_encoding(), self.unknown_vr) {
                // Padding is looked for before the header is believed: as an element, it would be one of group 0000.
                _ if self.begins_zeros(header) => self.enter_zeros(),
                Parsed::Header(header) => {
                    if self.is_un_in_doubt(header) {
                        return Some((bytes, Doubt::UnItems));
                    }
                    let taken = usize::from(header.size).saturating_sub(self.partial_length);
                    bytes = bytes.get(taken..).unwrap_or_default();
                    self.partial_length = 0;
                    self.tag = Some(header.tag);
                    let taken = window.get(..usize::from(header.size));
                    self.wanted.record(taken.unwrap_or_default());
                    self.failed = self.enter(header).err().map(|kind| self.error(kind));
                }
                Parsed::Partial => {
                    self.partial = window;
                    self.partial_length = filled;
                    return None;
                }
                Parsed::Unknown(tag) => {
                    self.note(OddityKind::UnknownVr, Some(tag));
                    return Some((bytes, Doubt::UnknownVr));
                }
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

    /// Number of next bytes that this walk need not see; without bound after a fault.
    pub(super) fn passable(&self) -> u64 {
        match (self.failed, self.keeping) {
            (Some(_), _) => u64::MAX,
            (None, Some(_)) => 0,
            (None, None) => self.skip,
        }
    }

    pub(super) fn pass(&mut self, bytes: u64) {
        if self.failed.is_none() && bytes > 0 {
            self.skip = self.skip.saturating_sub(bytes);
            self.at = self.at.saturating_add(bytes);
            if self.skip == 0 {
                self.value_ended();
            }
        }
    }

    pub(super) fn finish(&mut self) {
        if self.failed.is_some() {
            return;
        }
        let partial = self.partial.get(..self.partial_length).unwrap_or_default();
        if self.may_be_padded()
            && (partial.len() >= 2 || self.is_at_odd_end())
            && !partial.is_empty()
            && partial.iter().all(|byte| *byte == 0)
        {
            self.enter_zeros();
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

    /// Whether zeros may follow here: behind a complete element of the top level, where readers stop at them.
    fn may_be_padded(&self) -> bool {
        !self.strict && self.stack.is_empty() && self.at > 0
    }

    /// Whether a single zero must be padding. Two zeros are group 0000, which no data element has, but one may be the
    /// first byte of a tag (such as 2000H in little endian). After pixel data of odd length no such tag can follow.
    fn is_at_odd_end(&self) -> bool {
        self.at & 1 == 1 && self.last.is_some_and(|last| last.0 >= Tag::PIXEL_DATA.0)
    }

    /// Whether padding stands where an element of the top level would begin.
    fn begins_zeros(&self, header: &[u8]) -> bool {
        self.may_be_padded()
            && header
                .first_chunk()
                .is_some_and(|tag_and_length: &[u8; 8]| *tag_and_length == [0; 8])
    }

    fn enter_zeros(&mut self) {
        self.zeros = true;
        self.partial_length = 0;
        self.tag = Some(Tag(0, 0));
        self.lenient = true;
        self.note(OddityKind::TrailingZeros, None);
    }

    /// Whether the element is the first UN of undefined length, whose items have two readings.
    fn is_un_in_doubt(&self, header: Header) -> bool {
        self.un_items == UnItems::NotMet
            && !self.strict
            && header.vr == Some(*b"UN")
            && header.length == UNDEFINED
            && header.tag != Tag::PIXEL_DATA
    }

    /// Whether all readers read what was walked in the same way, and every collected element was kept.
    pub(super) fn is_plain(&self) -> bool {
        !self.oddities.ambiguous && self.failed.is_none() && !self.wanted.has_lost()
    }

    /// Records an oddity that is accepted.
    fn note(&mut self, kind: OddityKind, tag: Option<Tag>) {
        self.oddities.add(Oddity {
            kind,
            tag,
            offset: self.at,
        });
    }

    /// Accepts an oddity, unless the walk is strict.
    fn excuse(
        &mut self,
        kind: OddityKind,
        tag: Tag,
        fault: ScanErrorKind,
    ) -> Result<(), ScanErrorKind> {
        if self.strict {
            return Err(fault);
        }
        self.lenient = true;
        self.note(kind, Some(tag));
        Ok(())
    }

    /// Skips the bytes of the current value, keeping those that are wanted, and returns the rest of `bytes`.
    fn pass_value<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        if self.skip == 0 {
            return bytes;
        }
        let here = usize::try_from(self.skip).map_or(bytes.len(), |skip| skip.min(bytes.len()));
        let (value, rest) = bytes.split_at_checked(here).unwrap_or((bytes, &[]));
        if let Some(wanted) = self.keeping.and_then(|index| self.wanted.get_mut(index))
            && let Err(offset) = wanted.take(value)
        {
            self.differs(offset);
            if self.failed.is_some() {
                return rest;
            }
        }
        self.wanted.record(value);
        self.skip = self.skip.saturating_sub(length_of(value));
        self.at = self.at.saturating_add(length_of(value));
        if self.skip == 0 {
            self.value_ended();
        }
        rest
    }

    /// The next header as far as it was received: the bytes left from the last chunk, then `bytes`.
    fn window(&self, bytes: &[u8]) -> ([u8; HEADER_MAX], usize) {
        let mut window = self.partial;
        let mut filled = self.partial_length;
        for (slot, byte) in window.iter_mut().skip(self.partial_length).zip(bytes) {
            *slot = *byte;
            filled = filled.saturating_add(1);
        }
        (window, filled)
    }

    /// Decides what an element, item or delimiter means at its place.
    fn enter(&mut self, header: Header) -> Result<(), ScanErrorKind> {
        let value = self.at.saturating_add(u64::from(header.size));
        let defined = header.length != UNDEFINED;
        let end = match header.tag {
            // The length of a delimiter is zero (PS3.5 7.5). Readers ignore another length and look for the next
            // element right after the header, so this walk does the same.
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
                self.note_odd_length(header);
            }
            (Tag::ITEM, Some((Inside::Fragments, _))) => {
                return Err(ScanErrorKind::UndefinedLengthNotAllowed);
            }
            (Tag::ITEM_DELIMITATION, Some((Inside::Item, false)))
            | (Tag::SEQUENCE_DELIMITATION, Some((Inside::Sequence | Inside::Fragments, false))) => {
                if header.length != 0 {
                    self.note(OddityKind::DelimiterLength, Some(header.tag));
                }
                self.stack.pop();
            }
            // At the end of an item or sequence that has a length, a delimiter repeats what the length says. Anywhere
            // else, readers that go by delimiters would leave the item where readers that go by lengths stay inside.
            (Tag::ITEM_DELIMITATION, Some((Inside::Item, true))) if value == self.limit() => {
                let kind = OddityKind::ItemDelimiter;
                self.excuse(kind, header.tag, ScanErrorKind::BadStructure)?;
            }
            (Tag::SEQUENCE_DELIMITATION, Some((Inside::Sequence, true)))
                if value == self.limit() =>
            {
                let kind = OddityKind::SequenceDelimiter;
                self.excuse(kind, header.tag, ScanErrorKind::BadStructure)?;
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
        // Explicit VR in a transfer syntax of Implicit VR: the VR ("CS") stands where the length should begin. As a
        // length, two capital letters are at least 16 KiB, and no data set begins with an element that long.
        let [low, high, ..] = header.length.to_le_bytes();
        if self.at == 0 && header.vr.is_none() {
            if has_short_length([low, high]) {
                return Err(ScanErrorKind::BadStructure);
            }
            // Some readers take any two capital letters there for a VR.
            self.oddities.ambiguous |= low.is_ascii_uppercase() && high.is_ascii_uppercase();
        }
        self.order(header.tag)?;
        let is_sequence = header.length == UNDEFINED || header.vr == Some(*b"SQ");
        if top && is_sequence {
            self.wanted.begin_recording(header);
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
                // The items are in Implicit VR Little Endian, in all transfer syntaxes (PS3.5 6.2.2), or in the
                // encoding of the data set, by writers that turned SQ into UN and left the items alone.
                Some([b'U', b'N']) if self.un_items == UnItems::Explicit => {
                    self.lenient = true;
                    self.note(OddityKind::ExplicitUn, Some(header.tag));
                    self.open_sequence(false, end, self.encoding)
                }
                Some([b'U', b'N']) => self.open_sequence(false, end, Encoding::ImplicitLe),
                Some(_) => Err(ScanErrorKind::UndefinedLengthNotAllowed),
            };
        }
        if header.vr == Some(*b"SQ") {
            return self.open_sequence(true, end, encoding);
        }
        self.skip = u64::from(header.length);
        self.note_odd_length(header);
        if top {
            self.keep(header)?;
        }
        Ok(())
    }

    fn note_odd_length(&mut self, header: Header) {
        if header.length & 1 == 1 {
            self.note(OddityKind::OddLength, Some(header.tag));
        }
    }

    /// Notes an element out of order or repeated: a data set has each once, ascending (PS3.5 7.1).
    fn order(&mut self, tag: Tag) -> Result<(), ScanErrorKind> {
        if tag.0 == 0x0002 && self.stack.is_empty() {
            return self.excuse(OddityKind::FileMeta, tag, ScanErrorKind::FileMeta);
        }
        let last = match self.stack.last_mut() {
            Some(item) => item.last.replace(tag),
            None => self.last.replace(tag),
        };
        match last {
            Some(last) if last == tag => self.note(OddityKind::Repeated, Some(tag)),
            Some(last) if last > tag => self.note(OddityKind::OutOfOrder, Some(tag)),
            _ => {}
        }
        Ok(())
    }

    /// The fault of a group that no data element has (PS3.5 7.8.1, PS3.10 7.1).
    fn forbidden_group(&self, tag: Tag) -> Option<ScanErrorKind> {
        match tag.0 {
            0x0002 if self.stack.is_empty() && (self.strict || self.is_file_meta(tag)) => {
                Some(ScanErrorKind::FileMeta)
            }
            // The preamble of a Part 10 file, which is usually zeros.
            0x0000 if self.at == 0 => Some(ScanErrorKind::FileMeta),
            // No element: padding, or pixels behind a wrong length.
            0x0000 | 0xffff => Some(ScanErrorKind::BadStructure),
            _ => None,
        }
    }

    /// Whether an element of group 0002 is dangerous, not only misplaced. If it is the first element, readers of the
    /// file in which the data set is stored take it for a part of the File Meta Information, which stands just before.
    /// So it must not be one that File Meta Information begins with (0002,0000 to 0003), nor in Implicit VR, which File
    /// Meta Information never has (PS3.10 7.1).
    fn is_file_meta(&self, tag: Tag) -> bool {
        self.last.is_none() && (tag.1 < 0x0010 || self.encoding == Encoding::ImplicitLe)
    }

    /// Starts keeping the value if it is wanted and not too long.
    fn keep(&mut self, header: Header) -> Result<(), ScanErrorKind> {
        let Some((index, wanted)) = self.wanted.find(header.tag) else {
            return Ok(());
        };
        let (state, known) = (wanted.state, length_of(&wanted.value));
        let state = match state {
            Capture::NotMet => state,
            // A collected element that is not wanted: the first one is kept, and a second is no fault.
            _ if !wanted.once => return Ok(()),
            // A second element of the same length is accepted if the value is the same too: `Wanted::take` compares.
            Capture::Whole if known == u64::from(header.length) => {
                self.note(OddityKind::Repeated, Some(header.tag));
                Capture::Again(self.at, 0)
            }
            // Readers differ in which of two they use, so an instance with two identities is not stored.
            _ if header.tag.is_identity() => return Err(ScanErrorKind::Repeated),
            _ => {
                let kind = OddityKind::Repeated;
                return self.excuse(kind, header.tag, ScanErrorKind::Repeated);
            }
        };
        if let Some(wanted) = self.wanted.get_mut(index) {
            wanted.state = state;
        }
        self.keeping = self.wanted.keep(index, header);
        Ok(())
    }

    /// The second element of a wanted tag, at `offset`, has another value: a fault for an identity, otherwise the first
    /// value is kept.
    fn differs(&mut self, offset: u64) {
        let Some(wanted) = self.keeping.and_then(|index| self.wanted.get_mut(index)) else {
            return;
        };
        if self.strict || wanted.tag.is_identity() {
            let error = self.error(ScanErrorKind::Repeated);
            self.failed = Some(ScanError { offset, ..error });
        } else {
            wanted.state = Capture::Whole;
            self.keeping = None;
            self.lenient = true;
        }
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
        if self.stack.is_empty() {
            self.wanted.end_recording();
        }
    }

    fn open_sequence(
        &mut self,
        defined: bool,
        end: u64,
        encoding: Encoding,
    ) -> Result<(), ScanErrorKind> {
        // Sequences and items alternate on the stack, so it holds two frames for each level.
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
            last: None,
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

pub(super) fn length_of(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
