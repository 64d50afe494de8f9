//! Cursors over bytes: a [`Reader`] that cannot read past the item it stands in, a [`Writer`] that fills in length
//! fields afterwards, and [`Shown`], which prints received bytes.

use alloc::format;
use alloc::vec::Vec;
use core::fmt::{self, Write};

use bytes::Bytes;

use crate::error::DecodeError;

/// A cursor over received bytes. Every length is checked against the bytes left before bytes are taken.
//
// Why a type of its own: a length field of a peer is never used as an index. `take` compares it with the bytes that
// arrived, and `sub` narrows the view, so that an item with a lying length cannot read its neighbour's bytes. What is
// taken is a slice of the PDU (`Bytes` counts references), so reading costs no copy and reserves no memory: the memory
// of a decoded PDU is bounded by the bytes the peer had to send.
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

    /// Number of bytes left.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.bytes.len()
    }

    /// Whether no byte is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Offset of the next byte from the start of the outermost unit.
    #[must_use]
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// A decode error at the current offset.
    pub fn error(
        &self,
        code: &'static str,
        what: impl Into<alloc::borrow::Cow<'static, str>>,
    ) -> DecodeError {
        DecodeError::new(code, what, self.offset, self.section)
    }

    /// The next `length` bytes, as a slice of the received ones.
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

    /// A reader over the next `length` bytes alone: an item inside cannot read past its end.
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

    /// All bytes left.
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

/// Received bytes as text for a log: printable ASCII unchanged, every other byte and the backslash escaped. Quotes are
/// unchanged too, because an AE title may have them.
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

/// Bytes to be sent. A length field is filled in once its content is written.
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

    /// Writes a big-endian 16-bit length and then what `body` writes. For a body longer than 65535 bytes the
    /// length saturates: callers check lengths before they encode.
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

    /// The bytes written.
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
