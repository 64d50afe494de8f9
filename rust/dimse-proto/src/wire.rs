//! Byte cursors: a [`Reader`] that cannot outrun its parent, a [`Writer`] with back-patched lengths; and bytes
//! [`Shown`] as text.

use alloc::format;
use alloc::vec::Vec;
use core::fmt::{self, Write};

use bytes::Bytes;

use crate::error::DecodeError;

/// A cursor over received bytes. Every length is checked against what is left before anything is taken.
#[derive(Clone, Debug)]
pub struct Reader {
    bytes: Bytes,
    offset: usize,
    section: &'static str,
}

impl Reader {
    /// Reads `bytes`; errors name `section` and count offsets from the first byte.
    #[must_use]
    pub fn new(bytes: Bytes, section: &'static str) -> Self {
        Self {
            bytes,
            offset: 0,
            section,
        }
    }

    /// Bytes left.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.bytes.len()
    }

    /// Nothing left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Offset of the next byte from the start of the outermost unit.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// An error at the cursor.
    pub fn error(
        &self,
        code: &'static str,
        what: impl Into<alloc::borrow::Cow<'static, str>>,
    ) -> DecodeError {
        DecodeError::new(code, what, self.offset, self.section)
    }

    /// The next `length` bytes, shared, not copied.
    ///
    /// # Errors
    /// `truncated` when fewer are left.
    pub fn take(&mut self, length: usize, what: &'static str) -> Result<Bytes, DecodeError> {
        if length > self.bytes.len() {
            return Err(self.error(
                "truncated",
                format!("{what} of {length} bytes, only {} left", self.bytes.len()),
            ));
        }
        let taken = self.bytes.split_to(length);
        self.offset = self.offset.saturating_add(length);
        Ok(taken)
    }

    /// A reader over the next `length` bytes, so that nothing inside can read past them.
    ///
    /// # Errors
    /// `truncated` when fewer are left.
    pub fn sub(
        &mut self,
        length: usize,
        what: &'static str,
        section: &'static str,
    ) -> Result<Self, DecodeError> {
        let offset = self.offset;
        let bytes = self.take(length, what)?;
        Ok(Self {
            bytes,
            offset,
            section,
        })
    }

    /// Everything that is left.
    #[must_use]
    pub fn rest(&mut self) -> Bytes {
        let taken = core::mem::take(&mut self.bytes);
        self.offset = self.offset.saturating_add(taken.len());
        taken
    }

    /// A fixed number of bytes.
    ///
    /// # Errors
    /// `truncated` when fewer are left.
    pub fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], DecodeError> {
        let mut out = [0; N];
        out.copy_from_slice(&self.take(N, what)?);
        Ok(out)
    }

    /// One byte.
    ///
    /// # Errors
    /// `truncated` at the end.
    pub fn u8(&mut self, what: &'static str) -> Result<u8, DecodeError> {
        Ok(u8::from_be_bytes(self.array(what)?))
    }

    /// Big-endian 16 bits, as in all PDU and item fields.
    ///
    /// # Errors
    /// `truncated` when fewer than 2 bytes are left.
    pub fn u16(&mut self, what: &'static str) -> Result<u16, DecodeError> {
        Ok(u16::from_be_bytes(self.array(what)?))
    }

    /// Big-endian 32 bits.
    ///
    /// # Errors
    /// `truncated` when fewer than 4 bytes are left.
    pub fn u32(&mut self, what: &'static str) -> Result<u32, DecodeError> {
        Ok(u32::from_be_bytes(self.array(what)?))
    }

    /// Little-endian 16 bits, as in command sets.
    ///
    /// # Errors
    /// `truncated` when fewer than 2 bytes are left.
    pub fn u16_le(&mut self, what: &'static str) -> Result<u16, DecodeError> {
        Ok(u16::from_le_bytes(self.array(what)?))
    }

    /// Little-endian 32 bits.
    ///
    /// # Errors
    /// `truncated` when fewer than 4 bytes are left.
    pub fn u32_le(&mut self, what: &'static str) -> Result<u32, DecodeError> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }
}

/// Received bytes as text that is fit for a log: printable ASCII as it is, anything else and the backslash escaped.
/// A quote is as good a character as any other: it is allowed in an AE title.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a>(pub &'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| match byte {
            b'\'' | b'"' => f.write_char(char::from(*byte)),
            other => write!(f, "{}", other.escape_ascii()),
        })
    }
}

/// Bytes to be sent, with lengths written after what they count.
#[derive(Clone, Debug, Default)]
pub struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    /// An empty writer.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends one byte.
    pub fn u8(&mut self, value: u8) {
        self.bytes.push(value);
    }

    /// Appends big-endian 16 bits.
    pub fn u16(&mut self, value: u16) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    /// Appends big-endian 32 bits.
    pub fn u32(&mut self, value: u32) {
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    /// Appends little-endian 16 bits.
    pub fn u16_le(&mut self, value: u16) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    /// Appends little-endian 32 bits.
    pub fn u32_le(&mut self, value: u32) {
        self.bytes.extend_from_slice(&value.to_le_bytes());
    }

    /// Appends bytes as they are.
    pub fn bytes(&mut self, value: &[u8]) {
        self.bytes.extend_from_slice(value);
    }

    /// Writes a big-endian 16-bit length and then what `body` writes. A body longer than 65535 bytes
    /// cannot be said in the field: the length saturates, so callers validate before they encode.
    pub fn counted_u16(&mut self, body: impl FnOnce(&mut Self)) {
        let at = self.bytes.len();
        self.u16(0);
        body(self);
        let written = self.bytes.len().saturating_sub(at).saturating_sub(2);
        self.patch(
            at,
            &u16::try_from(written).unwrap_or(u16::MAX).to_be_bytes(),
        );
    }

    /// Writes a big-endian 32-bit length and then what `body` writes.
    pub fn counted_u32(&mut self, body: impl FnOnce(&mut Self)) {
        let at = self.bytes.len();
        self.u32(0);
        body(self);
        let written = self.bytes.len().saturating_sub(at).saturating_sub(4);
        self.patch(
            at,
            &u32::try_from(written).unwrap_or(u32::MAX).to_be_bytes(),
        );
    }

    /// What was written.
    #[must_use]
    pub fn finish(self) -> Bytes {
        Bytes::from(self.bytes)
    }

    fn patch(&mut self, at: usize, value: &[u8]) {
        for (slot, byte) in self.bytes.iter_mut().skip(at).zip(value) {
            *slot = *byte;
        }
    }
}
