//! A scanner over the bytes of a data set (PS3.5 section 7), which are pushed in as they arrive: is the data set
//! complete, and what are the values of a few wanted tags. It has no dictionary, interprets no value, changes nothing.
//!
//! Why: a data set that ends early, with its last fragment flagged, looks like a complete message (PS3.7 9.3.1.3 even
//! allows it after an early failure). Only the structure of the data set shows the difference.

use alloc::vec::Vec;

use super::encoding::Encoding;
use super::fault::ScanError;
use super::oddity::Oddity;
use super::tag::Tag;
use super::walk::{Walk, length_of};
use super::wanted::Element;

// Theory. Structure can be checked without knowing any attribute, because every element says its own length, and a
// sequence of undefined length ends at its delimiter. So the scanner jumps from header to header, and its cost is
// bounded whatever a peer sends: time is linear in the number of elements (an element takes at least 8 bytes of the
// peer's), a value of a gigabyte costs one subtraction, and memory is a stack of open sequences (`DEPTH_LIMIT`), the
// wanted values (`CAPTURE_LIMIT` each) and one oddity of each kind. No length field ever reserves memory.
//
// Where the standard is clear but writers are known to disagree, the bytes have two readings, and guessing would refuse
// good instances or lose the end of bad ones. There are exactly two such doubts (below). At the first element in doubt
// the walk forks: one copy goes on with each reading, over the same bytes. A wrong reading soon takes values for headers
// and fails. Each doubt is settled once for the whole data set, so at most four walks run.

/// Scans a data set that arrives in chunks of any size. The result does not depend on the sizes.
///
/// Memory is constant: 64 open sequences, the wanted values, and the first [`Oddity`] of each kind. Time is linear
/// in the number of elements; the length of a value does not matter.
///
/// A data set that can be read to its end in one way is complete, well formed or not. Two constructs can be read in two
/// ways. From the first of each on, a second walk runs beside the first.
/// - An explicit VR that the standard does not define has a 32-bit length (PS3.5 6.2), but some writers of private VRs
///   use 16 bits.
/// - A UN of undefined length holds Implicit VR (PS3.5 6.2.2), but some writers leave its items in Explicit VR.
///
/// The data set is complete if one walk reads it to its end. Values come from that walk, and if several do, from the
/// one that reads as the standard has it.
#[derive(Clone, Debug)]
pub struct Scanner {
    walk: Walk,
    /// Walks with the other readings.
    others: Vec<Walk>,
    offset: u64,
}

impl Scanner {
    /// A scanner that keeps the values of the `wanted` elements of the top level. If an element occurs twice, the first
    /// value is kept; two different values of an [identity](Tag::is_identity) are a fault.
    #[must_use]
    pub fn new(encoding: Encoding, wanted: &[Tag]) -> Self {
        Self {
            walk: Walk::new(encoding, wanted),
            others: Vec::new(),
            offset: 0,
        }
    }

    /// A scanner that refuses every oddity that some reader refuses. Odd lengths, elements out of order, delimiters
    /// with a length and unknown VRs are accepted nevertheless, because all readers accept them.
    #[must_use]
    pub fn strict(encoding: Encoding, wanted: &[Tag]) -> Self {
        let mut scanner = Self::new(encoding, wanted);
        scanner.walk.strict = true;
        scanner
    }

    /// Keeps the elements of the top level with these tags too, up to [`COLLECT_LIMIT`](super::COLLECT_LIMIT) bytes,
    /// for [`Self::element`]. If one occurs twice, the first is kept, and that is no fault.
    #[must_use]
    pub fn collecting(mut self, collected: &[Tag]) -> Self {
        for &tag in collected {
            self.walk.wanted.collect(tag);
        }
        self
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// The first fault; later calls return the same one.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), ScanError> {
        self.offset = self.offset.saturating_add(length_of(bytes));
        let mut forks = Vec::new();
        self.walk.advance(bytes, &mut forks);
        for other in &mut self.others {
            other.advance(bytes, &mut forks);
        }
        self.others.append(&mut forks);
        self.outcome()
    }

    /// Ends the data set.
    ///
    /// # Errors
    /// A fault found before, `Empty`, or `CutShort`.
    pub fn finish(&mut self) -> Result<(), ScanError> {
        self.walk.finish();
        for other in &mut self.others {
            other.finish();
        }
        self.outcome()
    }

    /// The bytes of a wanted element of the top level, with padding, once the whole value was received.
    #[must_use]
    pub fn value(&self, tag: Tag) -> Option<&[u8]> {
        self.element(tag).map(|(_, value)| value)
    }

    /// The VR in the header, and the bytes as by [`Self::value`]. For a collected sequence, or encapsulated pixel data,
    /// the bytes between header and delimiter.
    #[must_use]
    pub fn element(&self, tag: Tag) -> Option<(Option<[u8; 2]>, &[u8])> {
        self.best().wanted.element(tag)
    }

    /// The elements that were [collected](Self::collecting), as far as they are complete, in the order of tags.
    pub fn collected(&self) -> impl Iterator<Item = Element<'_>> + Clone {
        self.best().wanted.collected()
    }

    /// Whether all readers read what was scanned in the same way: it has no fault and no oddity but odd lengths, each
    /// construct has one reading, and each collected element that it has was kept. What a decoder would make of a
    /// plain data set is what was collected; of another one only the decoder knows.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.others.is_empty() && self.walk.is_plain()
    }

    /// The oddities so far, the first of each kind.
    #[must_use]
    pub fn oddities(&self) -> &[Oddity] {
        self.best().oddities.as_slice()
    }

    /// Number of bytes scanned so far.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Number of next bytes that belong to a value which is not kept: [`Self::pass`] skips them.
    #[must_use]
    pub fn passable(&self) -> u64 {
        // All walks must be inside such a value: what one of them skips, another may read as a header.
        let others = self.others.iter().map(Walk::passable);
        others.fold(self.walk.passable(), u64::min)
    }

    /// Skips bytes that are [passable](Self::passable), without having them: a reader of files seeks over them.
    pub fn pass(&mut self, bytes: u64) {
        let bytes = bytes.min(self.passable());
        self.offset = self.offset.saturating_add(bytes);
        self.walk.pass(bytes);
        for other in &mut self.others {
            other.pass(bytes);
        }
    }

    fn outcome(&self) -> Result<(), ScanError> {
        self.best().failed.map_or(Ok(()), Err)
    }

    /// The walk without a fault, and if there are several, the one nearest to the standard.
    fn best(&self) -> &Walk {
        self.others.iter().fold(&self.walk, |best, other| {
            if other.rank() < best.rank() {
                other
            } else {
                best
            }
        })
    }
}
