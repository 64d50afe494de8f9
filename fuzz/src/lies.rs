//! Lies: an A-ASSOCIATE body with a length, a count or an order that is not what it should be, and all else kept.
//!
//! A mutator that knows no structure breaks the outermost length nearly always, and never gets past it. These
//! keep the lengths around the lie true, or not, as the seed says.

/// Where the items of an input begin.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// Behind the six bytes of a header, whose length follows; 68 bytes further on for an A-ASSOCIATE.
    Pdu,
    /// Behind one byte of type.
    TypedBody,
    /// At once: the sub-items of a 50H.
    UserItems,
}

/// An item: where its length stands, and where it ends.
#[derive(Clone, Copy, Debug)]
struct Field {
    item: usize,
    length: usize,
    end: usize,
    /// Index of the field whose item holds this one.
    parent: Option<usize>,
    wide: bool,
}

/// One mutation of the first `size` bytes of `data` as a fuzzer asks for it: a lie, or one of its own.
pub fn mutate(
    data: &mut [u8],
    size: usize,
    max_size: usize,
    seed: u32,
    shape: Shape,
    other: impl FnOnce(&mut [u8], usize, usize) -> usize,
) -> usize {
    if seed & 1 == 1 {
        return other(data, size, max_size);
    }
    let mut lied = data[..size].to_vec();
    lie(&mut lied, shape, seed >> 1);
    let length = lied.len().min(max_size);
    data[..length].copy_from_slice(&lied[..length]);
    length
}

/// Changes `data` by one lie that `seed` picks. An input without any structure stays as it is.
pub fn lie(data: &mut Vec<u8>, shape: Shape, seed: u32) {
    let mut fields = vec![];
    collect(data, shape, &mut fields);
    let Some(&field) = fields.get(seed as usize % fields.len().max(1)) else {
        return;
    };
    let [kind, repaired, ..] = (seed / 7).to_le_bytes();
    let before = data.len();
    let bytes = data[field.item..field.end].to_vec();
    match kind % 10 {
        0 => return add(data, field, 1),
        1 => return add(data, field, u32::MAX),
        2 => return set(data, field, 0),
        3 => return set(data, field, u32::MAX),
        4 => return set(data, field, u32::from(repaired)),
        5 => drop(data.drain(field.item..field.end)),
        6 => drop(data.splice(field.end..field.end, bytes)),
        7 => drop(data.splice(
            field.end..field.end,
            bytes.repeat(1 + usize::from(kind / 10)),
        )),
        8 => drop(data.drain(field.end - usize::from(field.end > field.item + 4)..field.end)),
        // Out of order: last what was somewhere.
        _ => {
            data.drain(field.item..field.end);
            data.extend_from_slice(&bytes);
            return;
        }
    }
    if repaired & 1 == 0 {
        let by = (data.len() as u32).wrapping_sub(before as u32);
        let mut parent = field.parent;
        while let Some(holder) = parent.and_then(|index| fields.get(index)) {
            add(data, *holder, by);
            parent = holder.parent;
        }
    }
}

fn collect(data: &[u8], shape: Shape, fields: &mut Vec<Field>) {
    let (at, parent) = match (shape, data.first()) {
        (Shape::UserItems, _) => (0, None),
        (_, None) => return,
        (Shape::Pdu, Some(_)) => {
            if data.len() < 6 {
                return;
            }
            fields.push(Field {
                item: 0,
                length: 2,
                end: data.len(),
                parent: None,
                wide: true,
            });
            (6, Some(0))
        }
        (Shape::TypedBody, Some(_)) => (1, None),
    };
    match (shape, data.first()) {
        (Shape::Pdu | Shape::TypedBody, Some(4)) => values(data, at, parent, fields),
        (Shape::Pdu | Shape::TypedBody, Some(1 | 2)) => {
            items(data, at + 68, data.len(), parent, fields);
        }
        (Shape::UserItems, _) => items(data, at, data.len(), parent, fields),
        _ => {}
    }
}

/// Items with a type, a reserved byte and a 16-bit length, and those inside them.
fn items(data: &[u8], mut at: usize, end: usize, parent: Option<usize>, fields: &mut Vec<Field>) {
    while at + 4 <= end {
        let length = usize::from(u16::from_be_bytes([data[at + 2], data[at + 3]]));
        let item_end = (at + 4 + length).min(end);
        let index = fields.len();
        fields.push(Field {
            item: at,
            length: at + 2,
            end: item_end,
            parent,
            wide: false,
        });
        match data[at] {
            0x20 | 0x21 => items(data, at + 8, item_end, Some(index), fields),
            0x50 => items(data, at + 4, item_end, Some(index), fields),
            // Those that count something inside: a UID, or an identity behind two bytes.
            0x54 | 0x56 | 0x57 if at + 6 <= item_end => {
                counted(data, at + 4, item_end, index, fields);
            }
            0x58 if at + 8 <= item_end => counted(data, at + 6, item_end, index, fields),
            _ => {}
        }
        at = item_end;
    }
}

/// Fields behind a 16-bit length of their own.
fn counted(data: &[u8], mut at: usize, end: usize, parent: usize, fields: &mut Vec<Field>) {
    while at + 2 <= end {
        let length = usize::from(u16::from_be_bytes([data[at], data[at + 1]]));
        let field_end = (at + 2 + length).min(end);
        fields.push(Field {
            item: at,
            length: at,
            end: field_end,
            parent: Some(parent),
            wide: false,
        });
        at = field_end;
    }
}

/// Presentation data values.
fn values(data: &[u8], mut at: usize, parent: Option<usize>, fields: &mut Vec<Field>) {
    while let Some(&[a, b, c, d]) = data.get(at..).and_then(<[u8]>::first_chunk) {
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        let end = at.saturating_add(4).saturating_add(length).min(data.len());
        fields.push(Field {
            item: at,
            length: at,
            end,
            parent,
            wide: true,
        });
        at = end;
    }
}

fn set(data: &mut [u8], field: Field, value: u32) {
    let bytes = value.to_be_bytes();
    let bytes = if field.wide { &bytes[..] } else { &bytes[2..] };
    if let Some(there) = data.get_mut(field.length..field.length + bytes.len()) {
        there.copy_from_slice(bytes);
    }
}

fn add(data: &mut [u8], field: Field, by: u32) {
    let width = if field.wide { 4 } else { 2 };
    let Some(there) = data.get(field.length..field.length + width) else {
        return;
    };
    let value = there
        .iter()
        .fold(0_u32, |sum, byte| sum << 8 | u32::from(*byte));
    set(data, field, value.wrapping_add(by));
}
