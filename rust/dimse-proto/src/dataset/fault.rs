//! Why bytes are not a whole data set (PS3.5 section 7).

use core::fmt;

use super::tag::Tag;

/// Sequences inside sequences, at most.
pub const DEPTH_LIMIT: usize = 64;

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

    /// What is wrong, in words.
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

    /// The broken clause of the standard.
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
