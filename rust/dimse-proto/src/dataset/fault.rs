//! Why bytes are not a complete data set (PS3.5 section 7).

use core::fmt;

use super::tag::Tag;

/// Sequences inside sequences, at most.
pub const DEPTH_LIMIT: usize = 64;

/// Why bytes are not a complete data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ScanErrorKind {
    /// There is no byte.
    Empty,
    /// The bytes end inside an element, item or sequence.
    CutShort,
    /// The bytes begin with a preamble or with File Meta Information (group 0002, PS3.10 7.1).
    FileMeta,
    /// Sequences are nested deeper than [`DEPTH_LIMIT`].
    DepthExceeded,
    /// A value, item or sequence is longer than the item or sequence around it.
    BadLength,
    /// An element of undefined length that is neither a sequence nor encapsulated pixel data.
    UndefinedLengthNotAllowed,
    /// No VR, an item or delimiter at the wrong place, or a forbidden group.
    BadStructure,
    /// A wanted element occurs twice, with different values.
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

    /// The fault as text.
    #[must_use]
    pub const fn text(self) -> &'static str {
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

    /// The clause that the bytes break.
    #[must_use]
    pub const fn section(self) -> &'static str {
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

/// A fault, and where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanError {
    /// The kind of fault.
    pub kind: ScanErrorKind,
    /// Offset in bytes of the faulty element from the start of the data set; of a data set cut short, of its end.
    pub offset: u64,
    /// The element, if its tag was read.
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
