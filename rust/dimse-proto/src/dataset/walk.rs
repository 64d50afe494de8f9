//! One reading of a data set, for [`Scanner`](super::scan::Scanner): what is open, and what each element means
//! where it stands (PS3.5 7.1, 7.5).

use alloc::vec::Vec;

use super::encoding::Encoding;
use super::fault::{DEPTH_LIMIT, ScanError, ScanErrorKind};
use super::header::{
    HEADER_MAX, Header, Parsed, UNDEFINED, UnknownVr, has_short_length, parse_header,
};
use super::oddity::{Oddities, Oddity, OddityKind};
use super::tag::Tag;
use super::wanted::{Capture, Kept};

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
    /// The last element of an item.
    last: Option<Tag>,
}

/// How to read what a UN of undefined length holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum UnItems {
    /// None was met: stop there, so that the walk can fork.
    NotMet,
    /// As Implicit VR Little Endian (PS3.5 6.2.2).
    Implicit,
    /// As the data set around it.
    Explicit,
}

/// What can be read in two ways.
#[derive(Clone, Copy, Debug)]
enum Doubt {
    UnknownVr,
    UnItems,
}

/// One reading of the bytes.
#[derive(Clone, Debug)]
pub(super) struct Walk {
    encoding: Encoding,
    /// Nothing is excused.
    pub(super) strict: bool,
    unknown_vr: UnknownVr,
    un_items: UnItems,
    /// Offset of the next byte; of the first one of the zeros behind the last element.
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
    pub(super) wanted: Kept,
    stack: Vec<Frame>,
    /// The last element of the top level.
    last: Option<Tag>,
    /// Only zeros may follow.
    zeros: bool,
    pub(super) oddities: Oddities,
    /// Something was let through that is a fault where `strict`.
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
            wanted: Kept::new(wanted),
            stack: Vec::new(),
            last: None,
            zeros: false,
            oddities: Oddities::default(),
            lenient: false,
            failed: None,
        }
    }

    /// The smaller the better: one that holds, without what is a fault where strict, and then the standard's.
    pub(super) fn rank(&self) -> (bool, bool, bool, bool) {
        let failed = self.failed.is_some();
        (
            failed,
            !failed && self.lenient,
            self.un_items == UnItems::Explicit,
            self.unknown_vr == UnknownVr::Short,
        )
    }

    /// Takes `bytes`; the other readings of what is met in them go to `born`.
    pub(super) fn advance(&mut self, mut bytes: &[u8], born: &mut Vec<Self>) {
        while let Some((rest, doubt)) = self.feed(bytes) {
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
            // There are two doubts, so this goes no deeper than that.
            other.advance(rest, born);
            born.push(other);
            bytes = rest;
        }
    }

    /// Takes `bytes`, or stops before what can be read in two ways and gives back what it did not take.
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

    /// Bytes of the current value that may be left out; any number once it does not matter.
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

    /// Behind a whole element of the top level, zeros harm nobody.
    fn may_be_padded(&self) -> bool {
        !self.strict && self.stack.is_empty() && self.at > 0
    }

    /// Whether one zero can only be padding. Two are group 0000, which is none, but one may be the first byte of a
    /// tag (2000 in little endian). Behind pixel data of odd length there is none that it begins.
    fn is_at_odd_end(&self) -> bool {
        self.at & 1 == 1 && self.last.is_some_and(|last| last.0 >= Tag::PIXEL_DATA.0)
    }

    /// Zeros where an element of the top level should begin.
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

    /// The first UN of undefined length that is a sequence.
    fn is_un_in_doubt(&self, header: Header) -> bool {
        self.un_items == UnItems::NotMet
            && !self.strict
            && header.vr == Some(*b"UN")
            && header.length == UNDEFINED
            && header.tag != Tag::PIXEL_DATA
    }

    /// Remembers what is let through.
    fn note(&mut self, kind: OddityKind, tag: Option<Tag>) {
        self.oddities.add(Oddity {
            kind,
            tag,
            offset: self.at,
        });
    }

    /// Lets something through that is a fault where strict.
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
            // At the end of what has a length they say the same once more. Anywhere else, readers that heed them
            // would go on where others are still inside.
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
        // Explicit VR taken for implicit: "CS" where a length should begin. No data set starts with an element of
        // 16 KiB or more.
        let [low, high, ..] = header.length.to_le_bytes();
        if self.at == 0 && header.vr.is_none() && has_short_length([low, high]) {
            return Err(ScanErrorKind::BadStructure);
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
                // Whatever the transfer syntax, Implicit VR Little Endian inside (PS3.5 6.2.2).
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

    /// Elements stand in ascending order, each once (PS3.5 7.1).
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

    /// Groups no data element has (PS3.5 7.8.1, PS3.10 7.1).
    fn forbidden_group(&self, tag: Tag) -> Option<ScanErrorKind> {
        match tag.0 {
            0x0002 if self.stack.is_empty() && (self.strict || self.is_file_meta(tag)) => {
                Some(ScanErrorKind::FileMeta)
            }
            // A preamble is zeros unless somebody put another file's head there.
            0x0000 if self.at == 0 => Some(ScanErrorKind::FileMeta),
            // Padding or pixels taken for an element.
            0x0000 | 0xffff => Some(ScanErrorKind::BadStructure),
            _ => None,
        }
    }

    /// Whether an element of group 0002 is more than a stray one. In front of the others, where those who sort
    /// elements put it, it becomes one with the File Meta Information of the file that it is stored in: there it
    /// must not begin another (0002,0000 to 0003), nor be in an encoding that this has not (PS3.10 7.1).
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
            // Of what is collected only, the first is kept, and nothing is refused for it.
            _ if !wanted.once => return Ok(()),
            // The same again harms nobody and occurs.
            Capture::Whole if known == u64::from(header.length) => {
                self.note(OddityKind::Repeated, Some(header.tag));
                Capture::Again(self.at, 0)
            }
            // Readers differ in which of two they believe; an instance with two identities is not stored.
            _ if header.tag.is_identity() => return Err(ScanErrorKind::Repeated),
            _ => {
                let kind = OddityKind::Repeated;
                return self.excuse(kind, header.tag, ScanErrorKind::Repeated);
            }
        };
        if let Some(wanted) = self.wanted.get_mut(index) {
            wanted.state = state;
            self.keeping = wanted.met(header).then_some(index);
        }
        Ok(())
    }

    /// A wanted element that began at `offset` is not the same again: an instance with two identities is not
    /// stored; of other values the first stays.
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
