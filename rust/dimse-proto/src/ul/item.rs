//! Items of A-ASSOCIATE PDUs as type, length and value (PS3.8 9.3.1): what all of them share.

use crate::error::DecodeError;
use crate::wire::{Reader, Writer};

/// The next item: its type, and a reader over its body alone. `None` at the end of the parent.
pub(super) fn item(
    parent: &mut Reader,
    what: &'static str,
) -> Result<Option<(u8, Reader)>, DecodeError> {
    if parent.is_empty() {
        return Ok(None);
    }
    // The second byte is reserved in all items but 57H, where it is a version. Version 0 is the only one, and later
    // versions may only append fields (PS3.7 D.3.3.6), so the byte needs no test there either.
    let [item_type, _, high, low] = parent.array("item header")?;
    let length = usize::from(u16::from_be_bytes([high, low]));
    let section = section(item_type);
    Ok(Some((item_type, parent.sub(length, what, section)?)))
}

const fn section(item_type: u8) -> &'static str {
    match item_type {
        0x10 => "PS3.8 9.3.2.1",
        0x20 | 0x30 | 0x40 => "PS3.8 9.3.2.2",
        0x21 => "PS3.8 9.3.3.2",
        0x50 => "PS3.8 9.3.2.3",
        0x51 => "PS3.8 D.1",
        0x52 | 0x55 => "PS3.7 D.3.3.2",
        0x53 => "PS3.7 D.3.3.3",
        0x54 => "PS3.7 D.3.3.4",
        0x56 => "PS3.7 D.3.3.5",
        0x57 => "PS3.7 D.3.3.6",
        0x58 | 0x59 => "PS3.7 D.3.3.7",
        _ => "PS3.8 9.3.1",
    }
}

pub(super) fn write_item(out: &mut Writer, item_type: u8, body: impl FnOnce(&mut Writer)) {
    out.bytes(&[item_type, 0]);
    out.counted_u16(body);
}

/// Counts the items kept of each type, and of all unknown types together.
//
// An empty item takes 4 bytes on the wire and about a hundred in memory, so a PDU of 1 MiB could become some 25 MiB. Of
// each type as many are kept as negotiation can need (two where one is allowed, so that the second is noticed); the
// rest is read, checked and dropped.
pub(super) struct KeptItems {
    counts: [u8; 256],
    unknown: u8,
}

impl KeptItems {
    const MAX_UNKNOWN: u8 = 64;

    pub(super) const fn new() -> Self {
        Self {
            counts: [0; 256],
            unknown: 0,
        }
    }

    /// Whether one more item of the type is kept, and counts it. A type without a limit is an unknown type.
    pub(super) fn admit(&mut self, item_type: u8, limit: Option<u8>) -> bool {
        let (count, limit) = match (limit, self.counts.get_mut(usize::from(item_type))) {
            (Some(limit), Some(count)) => (count, limit),
            _ => (&mut self.unknown, Self::MAX_UNKNOWN),
        };
        let room = *count < limit;
        *count = count.saturating_add(u8::from(room));
        room
    }
}
