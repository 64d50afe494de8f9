//! What decoding a data set would cost, counted from its bytes before a decoder makes objects of them.
//!
//! [`Scanner`](super::Scanner) checks whether a data set is complete and has no dictionary: in Implicit VR it takes a
//! sequence of defined length for a value. A decoder looks inside. A [`Meter`] reads as pydicom does, so that it counts
//! the objects that pydicom would make: an unknown VR has a 16-bit length, an item may be in Implicit VR where the data
//! set is not (PS3.5 6.2.2), a value of undefined length ends at the first delimiter.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::encoding::Encoding;
use super::header::{UNDEFINED, has_long_length};
use super::tag::Tag;

// Why a second walk. A data set of 8 MB can hold a million elements of 8 bytes, or one text element of four million
// values, and a decoder makes an object of some hundred bytes of each. The sender pays for bytes, the receiver for
// objects, and an attack lives on the ratio. The meter finds the number of objects, and the depth that a recursive
// decoder would reach, from the headers alone. It stops at the bound, so its own cost is linear in the bytes and its
// memory is a stack as deep as the bound allows. Only text is read byte by byte, to count the backslashes in it.
//
// The meter must follow the decoder, not the standard. Where pydicom reads differently, reading as the standard has it
// would let elements pass uncounted. In doubt it counts the dearer reading.

/// VRs by tag, as a number of which the group is the upper half: for encodings without VRs.
#[derive(Debug, Default)]
pub struct Dictionary {
    /// Sorted by tag.
    standard: Vec<(u32, [u8; 2])>,
    /// Repeating groups and elements: a tag, and a mask of its significant bits.
    repeated: Vec<(u32, u32, [u8; 2])>,
    /// Private elements, by group and the last byte of the element: of all creators the VR that costs most.
    private: Vec<(u32, [u8; 2])>,
}

impl Dictionary {
    /// A dictionary of standard elements, of repeating ones, and of private ones without their block number.
    #[must_use]
    pub fn new(
        mut standard: Vec<(u32, [u8; 2])>,
        repeated: Vec<(u32, u32, [u8; 2])>,
        mut private: Vec<(u32, [u8; 2])>,
    ) -> Self {
        standard.sort_unstable_by_key(|entry| entry.0);
        private.sort_unstable_by_key(|entry| entry.0);
        Self {
            standard,
            repeated,
            private,
        }
    }

    fn vr(&self, tag: Tag) -> Option<[u8; 2]> {
        let number = (u32::from(tag.0) << 16) | u32::from(tag.1);
        if !tag.0.is_multiple_of(2) {
            return match tag.1 {
                0x10..=0xff => Some(*b"LO"),
                _ => find(&self.private, number & 0xffff_00ff),
            };
        }
        find(&self.standard, number).or_else(|| {
            let mut entries = self.repeated.iter();
            let found = entries.find(|(of, mask, _)| number & mask == *of);
            found.map(|entry| entry.2)
        })
    }
}

fn find(entries: &[(u32, [u8; 2])], tag: u32) -> Option<[u8; 2]> {
    let at = entries.binary_search_by_key(&tag, |entry| entry.0).ok()?;
    entries.get(at).map(|entry| entry.1)
}

/// What decoding costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Number of data elements and items, at all levels.
    pub elements: u64,
    /// Depth of nested sequences.
    pub depth: usize,
    /// Memory, in bytes, of the single values of multi-valued elements once a program reads them.
    pub values: u64,
}

/// The most that decoding may cost.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// See [`Cost::elements`].
    pub elements: u64,
    /// See [`Cost::depth`].
    pub depth: usize,
}

/// The bound that was passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MeterError {
    /// More elements and items than the bound.
    Elements,
    /// Sequences nested deeper than the bound.
    Depth,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Inside {
    /// Elements of the data set or of an item. `fresh`: none was read yet.
    Elements { implicit: bool, fresh: bool },
    /// Items of a sequence.
    Sequence { implicit: bool, defined: bool },
    /// A value up to a delimiter, of which `matched` bytes were read.
    Bytes { matched: usize },
}

#[derive(Clone, Copy, Debug)]
struct Frame {
    inside: Inside,
    /// The offset of its end, or of the end of the frame around it. Contents that reach further are cut off.
    limit: u64,
}

/// Counts what decoding a data set would cost. The data set arrives in chunks of any size.
///
/// Memory is bounded by [`Bounds::depth`], time is linear in the number of elements and the length of text.
#[derive(Debug)]
pub struct Meter {
    big: bool,
    dictionary: Arc<Dictionary>,
    bounds: Bounds,
    cost: Cost,
    /// Offset of the next byte.
    at: u64,
    partial: Vec<u8>,
    /// Bytes of the current value still to come.
    skip: u64,
    /// Memory of each value of the current text; 0 when the value is no text.
    each: u64,
    stack: Vec<Frame>,
    /// An element of zeros was met: padding, which is counted once.
    padding: bool,
    /// The end of a value was looked for in its bytes.
    searched: bool,
    failed: Option<MeterError>,
}

/// The tag of a Sequence Delimitation Item, in little and in big endian.
const DELIMITER: [[u8; 4]; 2] = [[0xfe, 0xff, 0xdd, 0xe0], [0xff, 0xfe, 0xe0, 0xdd]];

/// Memory of an item of a value that may be a sequence, and is not looked into.
const ITEM_BYTES: u64 = 1024;

impl Meter {
    /// A meter of a data set in this encoding.
    #[must_use]
    pub fn new(encoding: Encoding, dictionary: Arc<Dictionary>, bounds: Bounds) -> Self {
        let inside = Inside::Elements {
            implicit: encoding == Encoding::ImplicitLe,
            fresh: true,
        };
        Self {
            big: encoding == Encoding::ExplicitBe,
            dictionary,
            bounds,
            cost: Cost::default(),
            at: 0,
            partial: Vec::new(),
            skip: 0,
            each: 0,
            stack: alloc::vec![Frame {
                inside,
                limit: u64::MAX,
            }],
            padding: false,
            searched: false,
            failed: None,
        }
    }

    /// The cost so far.
    #[must_use]
    pub fn cost(&self) -> Cost {
        self.cost
    }

    /// Whether a decoder finds the end of some value by its first bytes that look like a delimiter, which may stand
    /// elsewhere than a reader of its structure finds the end. Pixel data of the top level does not count: a decoder of
    /// headers stops before it.
    #[must_use]
    pub fn searches(&self) -> bool {
        self.searched
    }

    /// Number of next bytes that belong to a value of no interest: [`Self::pass`] skips them.
    #[must_use]
    pub fn passable(&self) -> u64 {
        if self.each == 0 { self.skip } else { 0 }
    }

    /// Skips bytes that are [passable](Self::passable), without having them.
    pub fn pass(&mut self, bytes: u64) {
        let bytes = bytes.min(self.passable());
        self.skip = self.skip.saturating_sub(bytes);
        self.at = self.at.saturating_add(bytes);
    }

    /// Whether no value, sequence or item is open.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        let mut open = self.stack.iter().skip(1);
        self.skip == 0 && self.partial.is_empty() && open.all(|frame| frame.limit <= self.at)
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// The first bound passed; later calls return the same one.
    pub fn feed(&mut self, mut bytes: &[u8]) -> Result<(), MeterError> {
        while self.failed.is_none() && !bytes.is_empty() {
            bytes = self.value(bytes);
            if self.skip > 0 || bytes.is_empty() {
                break;
            }
            self.close();
            let Some(frame) = self.stack.last().copied() else {
                break; // a decoder reads no further
            };
            if let Inside::Bytes { matched } = frame.inside {
                bytes = self.look_for_delimiter(matched, bytes);
                continue;
            }
            let wanted = self.header_size(frame);
            let left = frame.limit.saturating_sub(self.at);
            if u64::try_from(wanted).is_ok_and(|wanted| wanted > left) {
                // What is left of the item is shorter than a header: a decoder skips it. Some of it may be in
                // `partial` already.
                let taken = length_of(&core::mem::take(&mut self.partial));
                self.at = self.at.saturating_add(taken);
                self.skip = left.saturating_sub(taken);
                continue;
            }
            let (more, rest) = bytes
                .split_at_checked(wanted.saturating_sub(self.partial.len()))
                .unwrap_or((bytes, &[]));
            self.partial.extend_from_slice(more);
            bytes = rest;
            // With the VR read, the header may turn out to have 12 bytes instead of 8.
            if self.partial.len() == wanted && self.header_size(frame) == wanted {
                self.failed = self.header(frame).err();
                self.partial.clear();
            }
        }
        self.failed.map_or(Ok(()), Err)
    }

    /// Skips the bytes of the current value, and counts the values in a text.
    fn value<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let here = usize::try_from(self.skip).map_or(bytes.len(), |skip| skip.min(bytes.len()));
        let (value, rest) = bytes.split_at_checked(here).unwrap_or((bytes, &[]));
        if self.each > 0 {
            let separators = value.split(|byte| *byte == b'\\').count();
            let values = u64::try_from(separators).unwrap_or(u64::MAX);
            self.charge(values.saturating_sub(1), self.each);
        }
        let length = length_of(value);
        self.skip = self.skip.saturating_sub(length);
        self.at = self.at.saturating_add(length);
        if self.skip == 0 {
            self.each = 0;
        }
        rest
    }

    fn charge(&mut self, values: u64, each: u64) {
        let all = values.saturating_mul(each);
        self.cost.values = self.cost.values.saturating_add(all);
    }

    /// Closes sequences and items that end here.
    fn close(&mut self) {
        while self.partial.is_empty()
            && let Some(frame) = self.stack.last()
            && frame.limit <= self.at
        {
            self.stack.pop();
        }
    }

    /// Skips a value of undefined length that is no sequence: it ends at the first bytes that look like a delimiter.
    fn look_for_delimiter<'a>(&mut self, mut matched: usize, bytes: &'a [u8]) -> &'a [u8] {
        let delimiter = if self.big { DELIMITER[1] } else { DELIMITER[0] };
        let mut taken = 0_usize;
        for byte in bytes {
            taken = taken.saturating_add(1);
            matched = match delimiter.get(matched) {
                Some(next) if next == byte => matched.saturating_add(1),
                _ => usize::from(delimiter.first() == Some(byte)),
            };
            if matched == delimiter.len() {
                break;
            }
        }
        let (passed, rest) = bytes.split_at_checked(taken).unwrap_or((bytes, &[]));
        self.at = self.at.saturating_add(length_of(passed));
        if matched == delimiter.len() {
            self.stack.pop();
            self.skip = 4; // the length field of the delimiter
        } else if let Some(frame) = self.stack.last_mut() {
            frame.inside = Inside::Bytes { matched };
        }
        rest
    }

    /// Length of the header that begins here, as far as the bytes read so far show.
    fn header_size(&self, frame: Frame) -> usize {
        match (frame.inside, self.partial.get(4..6)) {
            (Inside::Elements { .. }, Some(&[first, second])) => {
                let explicit = !self.implicit_here(frame.inside, [first, second]);
                if explicit && has_long_length([first, second]) {
                    12
                } else {
                    8
                }
            }
            _ => 8,
        }
    }

    /// Whether elements from here on are in Implicit VR. Like pydicom, this looks at the first element of a data set or
    /// item: two capital letters are a VR.
    fn implicit_here(&self, inside: Inside, vr: [u8; 2]) -> bool {
        let Inside::Elements { implicit, fresh } = inside else {
            return true;
        };
        let top = self.stack.len() == 1;
        if fresh && (top || !implicit) {
            return !vr.iter().all(u8::is_ascii_uppercase);
        }
        implicit
    }

    fn header(&mut self, frame: Frame) -> Result<(), MeterError> {
        let header = core::mem::take(&mut self.partial);
        let Some((&[g0, g1, e0, e1, v0, v1, l0, l1], rest)) = header.split_first_chunk() else {
            return Ok(());
        };
        let tag = Tag(self.short([g0, g1]), self.short([e0, e1]));
        self.at = self.at.saturating_add(length_of(&header));
        if let Inside::Sequence { implicit, .. } = frame.inside {
            return self.item(frame, tag, self.long([v0, v1, l0, l1]), implicit);
        }
        let implicit = self.implicit_here(frame.inside, [v0, v1]);
        if let Some(Frame { inside, .. }) = self.stack.last_mut() {
            *inside = Inside::Elements {
                implicit,
                fresh: false,
            };
        }
        if tag == Tag::ITEM_DELIMITATION {
            self.stack.pop();
            return Ok(());
        }
        let (vr, length) = match (implicit, rest.first_chunk()) {
            (true, _) => (None, self.long([v0, v1, l0, l1])),
            (false, Some(&length)) => (Some([v0, v1]), self.long(length)),
            // No VR: pydicom reads the element as Implicit VR.
            (false, None) if !(*b"AA"..=*b"ZZ").contains(&[v0, v1]) => {
                (None, self.long([v0, v1, l0, l1]))
            }
            (false, None) => (Some([v0, v1]), u32::from(self.short([l0, l1]))),
        };
        // Zeros after the last element read as (0000,0000) over and over; a decoder keeps one of them.
        let zeros = (tag, length) == (Tag(0, 0), 0) && self.stack.len() <= 1;
        if !(zeros && self.padding) {
            self.count()?;
        }
        self.padding |= zeros;
        self.element(frame, tag, vr, length, implicit)
    }

    fn item(
        &mut self,
        frame: Frame,
        tag: Tag,
        length: u32,
        implicit: bool,
    ) -> Result<(), MeterError> {
        if tag == Tag::SEQUENCE_DELIMITATION {
            self.stack.pop();
            // A decoder leaves a sequence at a delimiter and skips the rest of its length.
            if frame.inside
                == (Inside::Sequence {
                    implicit,
                    defined: true,
                })
            {
                self.skip = frame.limit.saturating_sub(self.at);
            }
            return Ok(());
        }
        // A decoder takes any tag here for an item.
        self.count()?;
        let end = match length {
            UNDEFINED => u64::MAX,
            length => self.at.saturating_add(u64::from(length)),
        };
        self.stack.push(Frame {
            inside: Inside::Elements {
                implicit,
                fresh: true,
            },
            limit: end.min(frame.limit),
        });
        Ok(())
    }

    fn element(
        &mut self,
        frame: Frame,
        tag: Tag,
        vr: Option<[u8; 2]>,
        length: u32,
        implicit: bool,
    ) -> Result<(), MeterError> {
        let open = vr.is_none() || vr == Some(*b"UN");
        let known = if open { self.dictionary.vr(tag) } else { vr };
        let private = !tag.0.is_multiple_of(2);
        if length == UNDEFINED {
            // Undefined length makes an element without a known VR a sequence.
            let bytes = !open && vr != Some(*b"SQ")
                || vr.is_none() && !private && known.is_some_and(|known| known != *b"SQ");
            return if bytes {
                let pixels = matches!(tag, Tag(0x7fe0, 0x0008 | 0x0009 | 0x0010));
                self.searched |= !(pixels && self.stack.len() == 1);
                self.stack.push(Frame {
                    inside: Inside::Bytes { matched: 0 },
                    limit: frame.limit,
                });
                Ok(())
            } else {
                self.sequence(false, frame.limit, implicit)
            };
        }
        let end = self.at.saturating_add(u64::from(length)).min(frame.limit);
        let length = end.saturating_sub(self.at);
        if known == Some(*b"SQ") && length > 0 {
            if !(open && (private || vr.is_some())) {
                return self.sequence(true, end, implicit);
            }
            // Whether this is a sequence depends on the private creator. Counted as the items it could hold, at least 8
            // bytes each.
            self.charge(length.div_ceil(8), ITEM_BYTES);
        }
        self.skip = length;
        self.each = 0;
        match size_of_value(known.unwrap_or(*b"UN")) {
            Size::Text(each) => self.each = each,
            Size::Words(bytes) if length > bytes => self.charge(length.div_ceil(bytes), 64),
            Size::Opaque | Size::Words(_) => {}
        }
        Ok(())
    }

    fn sequence(&mut self, defined: bool, limit: u64, implicit: bool) -> Result<(), MeterError> {
        self.stack.push(Frame {
            inside: Inside::Sequence { implicit, defined },
            limit,
        });
        let sequences = self.stack.iter();
        let depth = sequences
            .filter(|frame| matches!(frame.inside, Inside::Sequence { .. }))
            .count();
        self.cost.depth = self.cost.depth.max(depth);
        if depth > self.bounds.depth {
            return Err(MeterError::Depth);
        }
        Ok(())
    }

    fn count(&mut self) -> Result<(), MeterError> {
        self.cost.elements = self.cost.elements.saturating_add(1);
        if self.cost.elements > self.bounds.elements {
            return Err(MeterError::Elements);
        }
        Ok(())
    }

    fn short(&self, bytes: [u8; 2]) -> u16 {
        if self.big {
            u16::from_be_bytes(bytes)
        } else {
            u16::from_le_bytes(bytes)
        }
    }

    fn long(&self, bytes: [u8; 4]) -> u32 {
        if self.big {
            u32::from_be_bytes(bytes)
        } else {
            u32::from_le_bytes(bytes)
        }
    }
}

enum Size {
    /// One value.
    Opaque,
    /// Values between backslashes; the memory of each, in bytes.
    Text(u64),
    /// Binary values; the length of each in the data set, in bytes.
    Words(u64),
}

/// How the values of an element of a VR are separated (PS3.5 6.2, 6.4), and the memory of one value in pydicom.
fn size_of_value(vr: [u8; 2]) -> Size {
    match &vr {
        b"PN" | b"DS" | b"IS" => Size::Text(512),
        b"AE" | b"AS" | b"CS" | b"DA" | b"DT" | b"LO" | b"SH" | b"TM" | b"UC" | b"UI" => {
            Size::Text(192)
        }
        b"US" | b"SS" => Size::Words(2),
        b"UL" | b"SL" | b"FL" | b"AT" => Size::Words(4),
        b"FD" | b"SV" | b"UV" => Size::Words(8),
        _ => Size::Opaque,
    }
}

fn length_of(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
