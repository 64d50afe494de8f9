//! P-DATA-TF: presentation data values and fragmentation (PS3.8 9.3.5, Annexes D and E).

use alloc::format;
use alloc::vec::Vec;

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::error::DecodeError;
use crate::wire::Writer;

/// A presentation data value: one fragment of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pdv {
    /// Presentation context id.
    pub context_id: u8,
    /// Bit 0 of the message control header: command set (else data set).
    pub command: bool,
    /// Bit 1: the last fragment of the command set or data set.
    pub last: bool,
    /// The fragment, a slice of the received PDU.
    pub fragment: Bytes,
}

/// Bytes in front of a fragment that is alone in its PDU: PDU type and length, item length, context id, control header.
pub const PDV_HEADER: usize = 12;

/// The longest P-DATA-TF body that this library sends, even to a receiver without limit. Longer PDUs gain nothing:
/// 12 bytes of header in 128 KiB are a ten-thousandth, and a receiver must hold a PDU whole.
const SEND_CAP: u32 = 0x0002_0000;

/// Presentation data values accepted in one PDU. A sender needs one or two. A value without data takes 6 bytes on the
/// wire and several times that in memory, so the number is bounded, not only the bytes.
const MAX_PDVS: usize = 0x0001_0000;

const COMMAND: u8 = 0x01;
const LAST: u8 = 0x02;

/// The largest fragment for a receiver that announced `max_length`: even (PS3.8 E.1), and small enough for a PDU of
/// 128 KiB, also for a receiver without limit (0). `None` when no fragment fits (1 to 7).
#[must_use]
pub const fn max_fragment(max_length: u32) -> Option<usize> {
    let body = if max_length == 0 || max_length > SEND_CAP {
        SEND_CAP
    } else {
        max_length
    };
    // `max_length` counts the item length (4 bytes), the context id and the control header too. A fragment of odd
    // length would be a fault (PS3.8 E.1), so an odd maximum is rounded down.
    match body.saturating_sub(6) & !1 {
        0 => None,
        fragment => Some(fragment as usize),
    }
}

/// The bytes in front of a fragment of `fragment_length` bytes that travels in a P-DATA-TF of its own.
#[must_use]
pub fn pdv_header(
    context_id: u8,
    command: bool,
    last: bool,
    fragment_length: usize,
) -> [u8; PDV_HEADER] {
    let item = u32::try_from(fragment_length)
        .unwrap_or(u32::MAX)
        .saturating_add(2);
    let [p0, p1, p2, p3] = item.saturating_add(4).to_be_bytes();
    let [i0, i1, i2, i3] = item.to_be_bytes();
    let control = control(command, last);
    [0x04, 0, p0, p1, p2, p3, i0, i1, i2, i3, context_id, control]
}

/// Appends `part`, a whole command set or data set, as P-DATA-TF PDUs of one fragment each, the last one flagged.
///
/// The length of `part` is even (PS3.8 E.1) and `max_fragment` comes from [`max_fragment`]. For an empty part nothing
/// is appended, because PS3.8 E.1 forbids empty fragments.
pub fn frame(
    out: &mut BytesMut,
    context_id: u8,
    command: bool,
    mut part: &[u8],
    max_fragment: usize,
) {
    let max_fragment = (max_fragment & !1).max(2);
    let pdus = part.len().div_ceil(max_fragment);
    out.reserve(part.len().saturating_add(pdus.saturating_mul(PDV_HEADER)));
    while !part.is_empty() {
        let (fragment, rest) = part.split_at(max_fragment.min(part.len()));
        out.put_slice(&pdv_header(
            context_id,
            command,
            rest.is_empty(),
            fragment.len(),
        ));
        out.put_slice(fragment);
        part = rest;
    }
}

/// Decodes a P-DATA-TF body. Bits 2 to 7 of the control header are not tested (PS3.8 E.2).
pub(super) fn decode(mut body: Bytes) -> Result<Vec<Pdv>, DecodeError> {
    const SECTION: &str = "PS3.8 9.3.5";
    let whole = body.len();
    // Nearly every PDU holds one value. Room for more is made as values arrive, not as a length field announces.
    let mut pdvs = Vec::with_capacity(1);
    while let Some(&[a, b, c, d, context_id, control]) = body.first_chunk() {
        let offset = whole.saturating_sub(body.len());
        let declared = u32::from_be_bytes([a, b, c, d]);
        body.advance(6);
        let fragment = declared.checked_sub(2).ok_or_else(|| {
            let what = format!("presentation data value of length {declared}, at least 2");
            DecodeError::new("pdv-too-short", what, offset, SECTION)
        })?;
        let length = usize::try_from(fragment).unwrap_or(usize::MAX);
        if length > body.len() {
            let what = format!(
                "presentation data value of length {declared} overruns its PDU, {} bytes left",
                body.len().saturating_add(2)
            );
            return Err(DecodeError::new("pdv-overrun", what, offset, SECTION));
        }
        if pdvs.len() == MAX_PDVS {
            let what = format!("more than {MAX_PDVS} presentation data values in one PDU");
            return Err(DecodeError::new("too-many-pdvs", what, offset, SECTION));
        }
        pdvs.push(Pdv {
            context_id,
            command: control & COMMAND != 0,
            last: control & LAST != 0,
            fragment: body.split_to(length),
        });
    }
    let offset = whole.saturating_sub(body.len());
    if !body.is_empty() {
        let what = format!(
            "{} stray bytes after the last presentation data value",
            body.len()
        );
        return Err(DecodeError::new("stray-bytes", what, offset, SECTION));
    }
    if pdvs.is_empty() {
        let what = "P-DATA-TF without a presentation data value";
        return Err(DecodeError::new("no-pdv", what, offset, SECTION));
    }
    Ok(pdvs)
}

impl Pdv {
    pub(super) fn encode(&self, out: &mut Writer) {
        out.counted_u32(|out| {
            out.u8(self.context_id);
            out.u8(control(self.command, self.last));
            out.bytes(&self.fragment);
        });
    }
}

const fn control(command: bool, last: bool) -> u8 {
    (if command { COMMAND } else { 0 }) | (if last { LAST } else { 0 })
}
