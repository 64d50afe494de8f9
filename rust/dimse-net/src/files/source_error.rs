//! Why a file cannot be read as an instance, or be sent.

use std::fmt;
use std::io;
use std::path::PathBuf;

use dimse_proto::DecodeError;

/// A file that cannot be sent.
#[derive(Debug)]
#[non_exhaustive]
pub struct SourceError {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub kind: SourceErrorKind,
}

/// Why a file cannot be sent.
#[derive(Debug)]
#[non_exhaustive]
pub enum SourceErrorKind {
    /// The operating system reported an error.
    Io(io::Error),
    /// A folder, a pipe, a device.
    NotAFile,
    /// No preamble with `DICM`, and no data set without one.
    NotDicom,
    /// Group 0002 cannot be read.
    BadMeta(DecodeError),
    /// There is no data set, or its start cannot be read, for this reason.
    BadDataSet(String),
    /// An element that is needed is missing, empty or no UID: `SOP Instance UID (0008,0018)`.
    MissingUid(&'static str),
    /// A data set of this many bytes, which cannot be a sequence of elements of even length (PS3.5 7.1).
    OddLength(u64),
    /// It ends inside an element, item or sequence, or has something else where one should be.
    NotWhole {
        /// What is wrong.
        what: String,
        /// Where, in bytes from the start of the file; in what a deflated data set inflates to from its start.
        offset: u64,
        /// The broken clause of the standard.
        section: &'static str,
    },
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.kind)
    }
}

impl fmt::Display for SourceErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::NotAFile => f.write_str("not a regular file"),
            Self::NotDicom => f.write_str(
                "not a DICOM file: no preamble and DICM prefix (PS3.10 7.1), nor a data set",
            ),
            Self::BadMeta(error) => write!(f, "file meta information cannot be read: {error}"),
            Self::BadDataSet(reason) => write!(f, "the data set cannot be read: {reason}"),
            Self::MissingUid(name) => write!(f, "no valid {name}"),
            Self::OddLength(length) => write!(
                f,
                "the data set has an odd length, {length} bytes, and is not sent (PS3.5 7.1)"
            ),
            Self::NotWhole {
                what,
                offset,
                section,
            } => write!(f, "{what} at byte {offset} ({section})"),
        }
    }
}

impl std::error::Error for SourceError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.kind {
            SourceErrorKind::Io(error) => Some(error),
            SourceErrorKind::BadMeta(error) => Some(error),
            _ => None,
        }
    }
}

impl From<io::Error> for SourceErrorKind {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}
