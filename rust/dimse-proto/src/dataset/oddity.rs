//! Faults of a data set that leave no doubt where each element ends, and are accepted (PS3.5 section 7).

use core::fmt;

use alloc::vec::Vec;

use super::tag::Tag;

/// One way in which a complete data set breaks the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OddityKind {
    /// Zeros after the last element, to the end.
    TrailingZeros,
    /// A Sequence Delimitation Item at the end of a sequence of defined length (PS3.5 7.5.2).
    SequenceDelimiter,
    /// An Item Delimitation Item at the end of an item of defined length (PS3.5 7.5.2).
    ItemDelimiter,
    /// An element of group 0002 in a data set (PS3.10 7.1).
    FileMeta,
    /// An element occurs twice (PS3.5 7.1).
    Repeated,
    /// A UN of undefined length whose items are in Explicit VR (PS3.5 6.2.2, note 4).
    ExplicitUn,
    /// An element stands after one with a higher tag (PS3.5 7.1).
    OutOfOrder,
    /// A value or fragment of odd length (PS3.5 7.1.1, A.4).
    OddLength,
    /// A delimiter with a length (PS3.5 7.5).
    DelimiterLength,
    /// A VR that PS3.5 6.2 does not define.
    UnknownVr,
}

impl OddityKind {
    /// Stable, kebab-case name, for logs, events and tests.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::TrailingZeros => "trailing-zeros",
            Self::SequenceDelimiter => "sequence-delimiter",
            Self::ItemDelimiter => "item-delimiter",
            Self::FileMeta => "file-meta",
            Self::Repeated => "repeated-element",
            Self::ExplicitUn => "explicit-un",
            Self::OutOfOrder => "out-of-order",
            Self::OddLength => "odd-length",
            Self::DelimiterLength => "delimiter-length",
            Self::UnknownVr => "unknown-vr",
        }
    }
}

/// A kind of oddity, and where it was met first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Oddity {
    /// The kind.
    pub kind: OddityKind,
    /// The element; none for zeros after the last element.
    pub tag: Option<Tag>,
    /// Offset in bytes from the start of the data set.
    pub offset: u64,
}

impl fmt::Display for Oddity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.code())?;
        if let Some(tag) = self.tag {
            write!(f, " {tag}")?;
        }
        write!(f, " at offset {}", self.offset)
    }
}

/// The first oddity of each kind, in the order met. One for each kind is the most, however many a peer sends.
#[derive(Clone, Debug, Default)]
pub(super) struct Oddities {
    met: Vec<Oddity>,
    /// Some reader may read what was walked in another way.
    pub(super) ambiguous: bool,
}

impl Oddities {
    pub(super) fn add(&mut self, oddity: Oddity) {
        // A length is a length, odd or even. Every other oddity is passed over by some readers and not by others.
        self.ambiguous |= oddity.kind != OddityKind::OddLength;
        if !self.met.iter().any(|met| met.kind == oddity.kind) {
            self.met.push(oddity);
        }
    }

    pub(super) fn as_slice(&self) -> &[Oddity] {
        &self.met
    }
}
