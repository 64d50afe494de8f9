//! Application Entity titles (PS3.8 9.3.2, PS3.5 6.2 VR AE).

use alloc::string::String;
use core::fmt;

use crate::error::LocalError;
use crate::wire::Shown;

/// An AE title without its leading and trailing spaces, which are not significant (PS3.8 9.3.2). A title made by
/// [`AeTitle::new`] is not empty and has no control character or backslash; a received title may have any bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AeTitle {
    // Bytes after `length` are spaces, so that equal titles have equal bytes and the derived comparisons are right.
    bytes: [u8; 16],
    length: u8,
}

impl AeTitle {
    /// A title to be sent or listened for.
    ///
    /// # Errors
    /// `InvalidValue` unless `text` has 1 to 16 significant characters of the default repertoire.
    pub fn new(text: &str) -> Result<Self, LocalError> {
        let trimmed = text.trim_matches(' ').as_bytes();
        let allowed = |b: &u8| (0x20..0x7f).contains(b) && *b != b'\\';
        if trimmed.is_empty() || trimmed.len() > 16 || !trimmed.iter().all(allowed) {
            return Err(LocalError::invalid(
                alloc::format!("{text:?} is not an AE title of 1 to 16 characters"),
                "PS3.5 6.2",
            ));
        }
        Ok(Self::from_wire(trimmed))
    }

    /// A received title: spaces and NULs at both ends are taken for padding, bytes past the 16th are dropped. The
    /// standard knows no NUL here, but peers that fill the field with them are common.
    #[must_use]
    pub fn from_wire(field: &[u8]) -> Self {
        let padding = |b: &u8| *b == b' ' || *b == 0;
        let start = field
            .iter()
            .position(|b| !padding(b))
            .unwrap_or(field.len());
        let mut bytes = [b' '; 16];
        let mut length = 0_u8;
        for (slot, byte) in bytes.iter_mut().zip(field.iter().skip(start)) {
            *slot = *byte;
        }
        for (index, byte) in (1_u8..).zip(&bytes) {
            if !padding(byte) {
                length = index;
            }
        }
        for slot in bytes.iter_mut().skip(usize::from(length)) {
            *slot = b' ';
        }
        Self { bytes, length }
    }

    /// The 16 bytes of the PDU field, padded with spaces.
    #[must_use]
    pub fn to_field(self) -> [u8; 16] {
        self.bytes
    }

    /// The significant bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or(&[])
    }

    /// Whether the title has no significant character. PS3.8 9.3.2 forbids such titles, but peers send them.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The title as text; bytes outside printable ASCII are escaped.
    #[must_use]
    pub fn to_text(self) -> String {
        alloc::format!("{self}")
    }
}

impl fmt::Display for AeTitle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Shown(self.as_bytes()).fmt(f)
    }
}

impl fmt::Debug for AeTitle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AeTitle({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spaces_and_nuls_at_both_ends_are_not_significant() {
        let title = AeTitle::from_wire(b"  ANY SCP\0\0     ");
        assert_eq!(title, AeTitle::new("ANY SCP").unwrap());
        assert_eq!(&title.to_field(), b"ANY SCP         ");
        assert!(AeTitle::from_wire(&[b' '; 16]).is_empty());
    }

    #[test]
    fn is_shown_as_it_is_where_that_can_be_read() {
        assert_eq!(AeTitle::from_wire(b"O'NEIL\"S").to_text(), "O'NEIL\"S");
        assert_eq!(
            AeTitle::from_wire(b"A\\B\n\xe9").to_text(),
            "A\\\\B\\n\\xe9"
        );
    }

    #[test]
    fn refuses_to_send_what_the_standard_forbids() {
        for bad in ["", "   ", "A\\B", "A\nB", "seventeen letters", "é"] {
            assert!(AeTitle::new(bad).is_err(), "{bad:?}");
        }
    }
}
