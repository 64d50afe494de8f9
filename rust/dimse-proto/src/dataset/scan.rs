//! A push scanner over data-set bytes (PS3.5 section 7): is it structurally whole, and the values of a few
//! asked-for tags. No more: no dictionary, no value is interpreted, nothing is changed.
//!
//! A data set cut short with the last fragment flagged looks like a complete message (PS3.7 9.3.1.3 even allows
//! it after an early failure); only this walk tells the two apart.

use alloc::vec::Vec;

use super::encoding::Encoding;
use super::fault::ScanError;
use super::oddity::Oddity;
use super::tag::Tag;
use super::walk::{Walk, length_of};

/// Walks a data set handed over in chunks of any size; the result does not depend on how it was cut.
///
/// Memory is constant: 64 open sequences, the wanted values, and the first [`Oddity`] of each kind. Time is linear
/// in elements, and a value costs the same however long it is.
///
/// What can be walked to its end without a doubt is whole, well formed or not. Two things can be read in two ways,
/// and are: from the first one on, another walk runs beside the first.
/// - An explicit VR nobody knows has a 32-bit length (PS3.5 6.2), but some writers of private VRs disagree.
/// - A UN of undefined length holds Implicit VR (PS3.5 6.2.2), but some writers leave what it holds as it was.
///
/// The data set is whole if one walk says so; values come from the reading that holds, the standard's if it does.
#[derive(Clone, Debug)]
pub struct Scanner {
    walk: Walk,
    /// Of the other readings.
    others: Vec<Walk>,
    offset: u64,
}

impl Scanner {
    /// A scanner that keeps the values of the `wanted` elements of the top level. Of two different values the
    /// first is kept; an element that [is an identity](Tag::is_identity) has one.
    #[must_use]
    pub fn new(encoding: Encoding, wanted: &[Tag]) -> Self {
        Self {
            walk: Walk::new(encoding, wanted),
            others: Vec::new(),
            offset: 0,
        }
    }

    /// A scanner that takes nothing which another reader might not. Odd lengths, unsorted elements, delimiters
    /// with a length and unknown VRs are let through even so: every reader takes those.
    #[must_use]
    pub fn strict(encoding: Encoding, wanted: &[Tag]) -> Self {
        let mut scanner = Self::new(encoding, wanted);
        scanner.walk.strict = true;
        scanner
    }

    /// Has the elements of the top level with these tags kept too, up to [`COLLECT_LIMIT`], for [`Self::element`].
    /// Nothing is refused for them: of two elements with one tag the first is kept.
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
    /// The first fault, again on every later call.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), ScanError> {
        self.offset = self.offset.saturating_add(length_of(bytes));
        let mut born = Vec::new();
        self.walk.advance(bytes, &mut born);
        for other in &mut self.others {
            other.advance(bytes, &mut born);
        }
        self.others.append(&mut born);
        self.outcome()
    }

    /// Says that there are no more bytes.
    ///
    /// # Errors
    /// The fault found before, `Empty`, or `CutShort`.
    pub fn finish(&mut self) -> Result<(), ScanError> {
        self.walk.finish();
        for other in &mut self.others {
            other.finish();
        }
        self.outcome()
    }

    /// The bytes of a wanted element of the top level, padding included, once it was received whole.
    #[must_use]
    pub fn value(&self, tag: Tag) -> Option<&[u8]> {
        self.element(tag).map(|(_, value)| value)
    }

    /// The same with the VR that its header has; of a sequence or encapsulated pixel data, if it is collected, what
    /// stands between its header and its delimiter.
    #[must_use]
    pub fn element(&self, tag: Tag) -> Option<(Option<[u8; 2]>, &[u8])> {
        self.best().wanted.element(tag)
    }

    /// What is not well formed in what was walked so far: the first of each kind.
    #[must_use]
    pub fn oddities(&self) -> &[Oddity] {
        self.best().oddities.as_slice()
    }

    /// Bytes fed so far.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Bytes from here on that are a value nobody asked for: [`Self::pass`] tells of them without having them.
    #[must_use]
    pub fn passable(&self) -> u64 {
        let others = self.others.iter().map(Walk::passable);
        others.fold(self.walk.passable(), u64::min)
    }

    /// Takes it that so many bytes went by, of those that are [passable](Self::passable).
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

    /// The reading that holds, the least odd of those that do.
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
