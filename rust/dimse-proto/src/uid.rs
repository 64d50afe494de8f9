//! Unique identifiers (PS3.5 section 9, PS3.8 Annex F).

use alloc::string::String;
use core::fmt;

use bytes::Bytes;

use crate::error::LocalError;
use crate::wire::Shown;

/// A UID as text without padding.
///
/// Received text is kept unchanged, as a slice of the PDU, so that a wrong UID can be answered and logged;
/// [`Uid::is_valid`] checks the rules. A UID to be sent is made by [`Uid::new`], which refuses an invalid one.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Uid(Bytes);

impl Uid {
    /// A UID to be sent.
    ///
    /// # Errors
    /// `InvalidValue` unless `text` is 1 to 64 characters `0-9` and `.`, without empty components.
    pub fn new(text: &str) -> Result<Self, LocalError> {
        let uid = Self(Bytes::copy_from_slice(text.as_bytes()));
        if uid.is_valid() {
            Ok(uid)
        } else {
            Err(LocalError::invalid(
                alloc::format!("{text:?} is not a UID"),
                "PS3.5 9.1",
            ))
        }
    }

    /// A UID known at compile time.
    #[must_use]
    pub const fn from_static(text: &'static str) -> Self {
        Self(Bytes::from_static(text.as_bytes()))
    }

    /// A received UID: trailing NULs and spaces are taken for padding, though PS3.8 F.1 allows none.
    #[must_use]
    pub fn from_wire(mut text: Bytes) -> Self {
        let kept = text
            .iter()
            .rposition(|b| *b != 0 && *b != b' ')
            .map_or(0, |last| last.saturating_add(1));
        text.truncate(kept);
        Self(text)
    }

    /// The text as bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The text; bytes outside printable ASCII are escaped.
    #[must_use]
    pub fn to_text(&self) -> String {
        alloc::format!("{self}")
    }

    /// Whether this UID can name a SOP Instance or a file: `[0-9]+(\.[0-9]+)*`, at most 64 characters. Leading
    /// zeros in a component break PS3.5 9.1 but occur in practice, and are accepted.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        !self.0.is_empty()
            && self.0.len() <= 64
            && self
                .0
                .split(|b| *b == b'.')
                .all(|part| !part.is_empty() && part.iter().all(u8::is_ascii_digit))
    }

    /// Whether the UID has no characters.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Shown(&self.0).fmt(f)
    }
}

impl fmt::Debug for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Uid({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trailing_padding_is_not_part_of_the_uid() {
        assert_eq!(
            Uid::from_wire(Bytes::from_static(b"1.2.3\0 \0")),
            Uid::from_static("1.2.3")
        );
        assert!(Uid::from_wire(Bytes::from_static(b"\0\0")).is_empty());
    }

    #[test]
    fn rejects_what_cannot_name_an_instance() {
        for bad in [
            "",
            ".",
            "1.",
            ".1",
            "1..2",
            "1.2/3",
            "../x",
            "1.2\u{0}3",
            "é",
        ] {
            assert!(Uid::new(bad).is_err(), "{bad:?}");
        }
        assert!(Uid::new(&"1".repeat(65)).is_err());
        assert!(Uid::new(&"1".repeat(64)).is_ok());
        assert!(Uid::new("1.02.3").is_ok());
    }
}
