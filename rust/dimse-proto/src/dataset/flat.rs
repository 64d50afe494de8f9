//! Data sets that are elements one after the other: where each value is, and headers for values to be written.

use alloc::vec::Vec;
use core::ops::Range;

use super::encoding::Encoding;
use super::header::{Parsed, UNDEFINED, UnknownVr, parse_header};
use super::tag::Tag;

/// Where an element of a data set in memory is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// Its tag.
    pub tag: Tag,
    /// `None` in Implicit VR.
    pub vr: Option<[u8; 2]>,
    /// Where its value is.
    pub value: Range<usize>,
}

/// Lists the elements of a data set, with sequences of defined length as values.
///
/// `None` for a data set that readers may take in different ways or that is not whole: with a value of undefined length,
/// an item or delimiter outside of a sequence, an unknown VR, bytes that are no header, or a first header that is one in
/// both Implicit and Explicit VR.
#[must_use]
pub fn elements(data: &[u8], encoding: Encoding) -> Option<Vec<Located>> {
    if encoding == Encoding::ImplicitLe && data.get(4..6)?.iter().all(u8::is_ascii_uppercase) {
        return None;
    }
    let mut found = Vec::new();
    let mut at = 0;
    while at < data.len() {
        let Parsed::Header(header) = parse_header(data.get(at..)?, encoding, UnknownVr::NotMet)
        else {
            return None;
        };
        if header.length == UNDEFINED || header.tag.0 == 0xfffe {
            return None;
        }
        let start = at.checked_add(usize::from(header.size))?;
        at = start.checked_add(usize::try_from(header.length).ok()?)?;
        if at > data.len() {
            return None;
        }
        found.push(Located {
            tag: header.tag,
            vr: header.vr,
            value: start..at,
        });
    }
    Some(found)
}

/// Writes the header of a value whose VR has a 16-bit length (PS3.5 7.1.2); Implicit VR leaves the VR out (7.1.3).
pub fn put_short_header(
    into: &mut Vec<u8>,
    encoding: Encoding,
    tag: Tag,
    vr: [u8; 2],
    length: u16,
) {
    let Tag(group, element) = tag;
    match encoding {
        Encoding::ImplicitLe => {
            into.extend_from_slice(&group.to_le_bytes());
            into.extend_from_slice(&element.to_le_bytes());
            into.extend_from_slice(&u32::from(length).to_le_bytes());
        }
        Encoding::ExplicitLe => {
            into.extend_from_slice(&group.to_le_bytes());
            into.extend_from_slice(&element.to_le_bytes());
            into.extend_from_slice(&vr);
            into.extend_from_slice(&length.to_le_bytes());
        }
        Encoding::ExplicitBe => {
            into.extend_from_slice(&group.to_be_bytes());
            into.extend_from_slice(&element.to_be_bytes());
            into.extend_from_slice(&vr);
            into.extend_from_slice(&length.to_be_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    const NAME: Tag = Tag(0x0010, 0x0010);

    #[test]
    fn what_is_written_is_listed() {
        for encoding in [
            Encoding::ImplicitLe,
            Encoding::ExplicitLe,
            Encoding::ExplicitBe,
        ] {
            let mut data = Vec::new();
            put_short_header(&mut data, encoding, NAME, *b"PN", 4);
            data.extend_from_slice(b"A^B ");
            put_short_header(&mut data, encoding, Tag::PATIENT_ID, *b"LO", 0);
            let vr = |vr: &[u8; 2]| (encoding != Encoding::ImplicitLe).then_some(*vr);
            let expected = vec![
                Located {
                    tag: NAME,
                    vr: vr(b"PN"),
                    value: 8..12,
                },
                Located {
                    tag: Tag::PATIENT_ID,
                    vr: vr(b"LO"),
                    value: 20..20,
                },
            ];
            assert_eq!(elements(&data, encoding), Some(expected));
            // Cut anywhere but between the two, it is not whole.
            for cut in (1..data.len()).filter(|cut| *cut != 12) {
                let cut_short = data.get(..cut).unwrap_or_default();
                assert_eq!(elements(cut_short, encoding), None, "{cut}");
            }
        }
    }

    #[test]
    fn what_readers_take_differently_is_not_listed() {
        let explicit = |data: &[u8]| elements(data, Encoding::ExplicitLe);
        assert_eq!(explicit(b"\x08\0\x40\x11SQ\0\0\xff\xff\xff\xff"), None); // undefined length
        assert_eq!(explicit(b"\xfe\xff\x0d\xe0\0\0\0\0"), None); // a delimiter
        assert_eq!(explicit(b"\x10\0\x10\0ZZ\0\0"), None); // an unknown VR
        assert_eq!(explicit(b"\x10\0\x10\0\0\0\0\0"), None); // no VR
        let implicit = b"\x10\0\x10\0LO\0\0"; // of 20,300 bytes, or explicit
        assert_eq!(elements(implicit, Encoding::ImplicitLe), None);
    }
}
