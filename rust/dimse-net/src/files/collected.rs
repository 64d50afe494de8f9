//! Elements that were collected while a data set passed by, packed into one piece of memory: an index keeps those of
//! many instances, undecoded.
//!
//! An element is eight bytes and its value. The eight bytes, in little endian: the tag as a number of 32 bits, of which
//! the group is the upper half; the VR, zeros in Implicit VR; the length of the value in 16 bits, of which the highest
//! says that the data set leaves the length undefined. The value is as encoded, of a sequence without its delimiter.

use std::sync::Arc;

use dimse_proto::dataset::{Bounds, Dictionary, Element, Tag};

const HEAD: usize = 8;

/// In the length: a delimiter ends the value in the data set.
const DELIMITED: u16 = 0x8000;

/// The most that decoding may take.
#[derive(Clone, Copy, Debug)]
pub struct DecodeLimits {
    /// Length of the data set once it is inflated, in bytes.
    pub inflated: u64,
    /// Elements and depth.
    pub bounds: Bounds,
}

/// What is collected.
#[derive(Clone, Debug)]
pub struct Reading {
    /// The elements, of the top level.
    pub tags: Vec<Tag>,
    /// Of decoding the whole data set.
    pub limits: DecodeLimits,
    /// VRs, for Implicit VR.
    pub dictionary: Arc<Dictionary>,
}

/// Elements of the top level of a data set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// In the order of tags, as the head of this file explains.
    pub packed: Vec<u8>,
    /// All readers read the data set in the same way, nothing that was asked for is missing for its length, and to
    /// decode the data set takes no more than the limits that were given.
    pub plain: bool,
}

impl Collected {
    /// Packs elements.
    pub(crate) fn new<'a>(
        elements: impl Iterator<Item = Element<'a>> + Clone,
        plain: bool,
    ) -> Self {
        let size = elements
            .clone()
            .map(|element| element.value.len().saturating_add(HEAD))
            .fold(0, usize::saturating_add);
        let mut packed = Vec::with_capacity(size);
        for element in elements {
            // `COLLECT_LIMIT` is far below this.
            let Ok(length) = u16::try_from(element.value.len()) else {
                continue;
            };
            let mark = if element.delimited { DELIMITED } else { 0 };
            packed.extend_from_slice(&number_of(element.tag).to_le_bytes());
            packed.extend_from_slice(&element.vr.unwrap_or_default());
            packed.extend_from_slice(&(length | mark).to_le_bytes());
            packed.extend_from_slice(element.value);
        }
        Self { packed, plain }
    }
}

/// Takes packed elements apart into packed groups, as many as are asked for; elements without a value are left out,
/// and so are those that belong to no group.
#[must_use]
pub fn split(
    packed: &[u8],
    groups: usize,
    group_of: impl Fn(u32) -> Option<usize>,
) -> Vec<Vec<u8>> {
    let mut parts = vec![Vec::new(); groups];
    let mut rest = packed;
    while let Some(&[t0, t1, t2, t3, _, _, l0, l1]) = rest.first_chunk::<HEAD>() {
        let length = usize::from(u16::from_le_bytes([l0, l1]) & !DELIMITED);
        let Some((element, next)) = rest.split_at_checked(length.saturating_add(HEAD)) else {
            break;
        };
        let tag = u32::from_le_bytes([t0, t1, t2, t3]);
        let part = group_of(tag).and_then(|group| parts.get_mut(group));
        if let Some(part) = part
            && length > 0
        {
            part.extend_from_slice(element);
        }
        rest = next;
    }
    parts
}

fn number_of(tag: Tag) -> u32 {
    (u32::from(tag.0) << 16) | u32::from(tag.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(tag: Tag, value: &[u8], delimited: bool) -> Element<'_> {
        Element {
            tag,
            vr: (!delimited).then_some(*b"LO"),
            delimited,
            value,
        }
    }

    #[test]
    fn packed_elements_fall_into_their_groups() {
        let elements = [
            element(Tag(0x0008, 0x0005), b"ISO_IR 100", false),
            element(Tag(0x0010, 0x0020), b"", false),
            element(Tag(0x0010, 0x1002), b"items", true),
            element(Tag(0x0020, 0x0010), b"1 ", false),
        ];
        let packed = Collected::new(elements.iter().copied(), true).packed;
        assert_eq!(&packed[..10], b"\x05\0\x08\0LO\x0a\0IS");
        let parts = split(&packed, 2, |tag| match tag >> 16 {
            0x0008 => Some(0),
            0x0010 => Some(1),
            _ => None,
        });
        assert_eq!(parts[0], packed[..18]);
        assert_eq!(parts[1], *b"\x02\x10\x10\0\0\0\x05\x80items");
    }

    #[test]
    fn what_is_cut_short_is_left_out() {
        let elements = [element(Tag(0x0010, 0x0020), b"1234", false)];
        let packed = Collected::new(elements.iter().copied(), true).packed;
        for length in 0..packed.len() {
            assert_eq!(split(&packed[..length], 1, |_| Some(0)), [[]]);
        }
    }
}
