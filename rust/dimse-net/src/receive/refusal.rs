//! Why an instance was not stored: status and comment of the C-STORE response (PS3.4 B.2.3, PS3.7 9.1.1.1.9), and the
//! text for the log.

use std::borrow::Cow;
use std::fmt;
use std::io;

use dimse_proto::dimse::Status;
use rustix::io::Errno;

/// Out of resources: this node failed, and a later attempt may succeed.
pub(crate) const OUT_OF_RESOURCES: u16 = Status::OUT_OF_RESOURCES.0;
/// Error Comment of a full disk.
pub(crate) const NO_SPACE: &str = "no space left";
/// Out of resources, and the storage itself failed: an operator should look at it.
pub(crate) const STORAGE_FAILED: u16 = 0xa701;
/// The data set does not match the SOP class or instance of the command.
pub(crate) const MISMATCH: u16 = Status::DATA_SET_MISMATCH.0;
/// Cannot understand.
pub(crate) const CANNOT_UNDERSTAND: u16 = Status::CANNOT_PROCESS.0;
/// Cannot understand, where the instance is stored already with other bytes and the policy is to reject.
pub(crate) const DUPLICATE: u16 = 0xc111;
/// Invalid SOP instance.
pub(crate) const INVALID_INSTANCE: u16 = Status::INVALID_SOP_INSTANCE.0;
/// SOP class not supported.
pub(crate) const CLASS_NOT_SUPPORTED: u16 = Status::SOP_CLASS_NOT_SUPPORTED.0;

/// A store that left the folder as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Status (0000,0900) of the response.
    pub status: u16,
    /// Error Comment (0000,0902): at most 64 characters, nothing of what the peer sent.
    pub comment: Cow<'static, str>,
    /// All of it for the log, with the numbers and the operating system's words.
    pub detail: String,
}

impl Refusal {
    pub(crate) fn new(
        status: u16,
        comment: impl Into<Cow<'static, str>>,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            status,
            comment: comment.into(),
            detail: detail.into(),
        }
    }

    /// A file operation failed. After an input/output error nothing is known about what was written, so it has a
    /// status of its own and is never tried again.
    #[must_use]
    pub fn io(doing: &str, error: &io::Error) -> Self {
        let (status, comment) = match Errno::from_io_error(error) {
            // After a failed write-back the kernel takes the pages for clean: a second sync would succeed and the bytes
            // be lost. So the instance is refused for good, and the operator has to look at the disk.
            Some(Errno::IO) => (STORAGE_FAILED, "storage failed"),
            Some(Errno::NOSPC) => (OUT_OF_RESOURCES, NO_SPACE),
            Some(Errno::DQUOT) => (OUT_OF_RESOURCES, "quota exceeded"),
            Some(Errno::ROFS | Errno::ACCESS | Errno::PERM) => {
                (OUT_OF_RESOURCES, "storage is not writable")
            }
            Some(Errno::MFILE | Errno::NFILE) => (OUT_OF_RESOURCES, "too many open files"),
            Some(Errno::FBIG) => (OUT_OF_RESOURCES, "instance too large for the storage"),
            Some(Errno::NOENT) => (OUT_OF_RESOURCES, "storage folder is missing"),
            _ => (OUT_OF_RESOURCES, "cannot store"),
        };
        Self::new(status, comment, format!("cannot {doing}: {error}"))
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (status {:04X})", self.detail, self.status)
    }
}

impl std::error::Error for Refusal {}
