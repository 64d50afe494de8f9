//! Element headers: tag, VR, length (PS3.5 7.1.2, 7.1.3).

use super::encoding::Encoding;
use super::tag::Tag;

/// Longest header: explicit VR with a 32-bit length.
pub(super) const HEADER_MAX: usize = 12;

/// The length field of a value that ends with a delimiter.
pub(super) const UNDEFINED: u32 = 0xffff_ffff;

/// How to read the length of an unknown VR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UnknownVr {
    /// No unknown VR was met so far: stop at the first, so that the walk can fork.
    NotMet,
    /// 32 bits, if the two reserved bytes before are zero, as they must be (PS3.5 7.1.2).
    Long,
    /// 16 bits.
    Short,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) tag: Tag,
    /// `None` in Implicit VR, and for items and delimiters.
    pub(super) vr: Option<[u8; 2]>,
    pub(super) length: u32,
    pub(super) size: u8,
}

pub(super) enum Parsed {
    Header(Header),
    /// The header needs more bytes.
    Partial,
    /// The first unknown VR.
    Unknown(Tag),
    /// The two bytes are no VR.
    Bad(Tag),
}

/// Reads an element header from the bytes received so far.
pub(super) fn parse_header(bytes: &[u8], encoding: Encoding, unknown_vr: UnknownVr) -> Parsed {
    // The VR decides whether the header has 8 or 12 bytes, so the first 8 are read before more are awaited. Items and
    // delimiters (group FFFE) have no VR in any encoding (PS3.5 7.5).
    let Some((&[g0, g1, e0, e1, v0, v1, l0, l1], rest)) = bytes.split_first_chunk() else {
        return Parsed::Partial;
    };
    let tag = Tag(encoding.u16_of([g0, g1]), encoding.u16_of([e0, e1]));
    if encoding == Encoding::ImplicitLe || tag.0 == 0xfffe {
        return Parsed::Header(Header {
            tag,
            vr: None,
            length: encoding.u32_of([v0, v1, l0, l1]),
            size: 8,
        });
    }
    let long = match (vr_form([v0, v1]), unknown_vr) {
        (VrForm::Short, _) | (VrForm::Unknown, UnknownVr::Short) => false,
        (VrForm::Long, _) => true,
        (VrForm::Unknown, UnknownVr::Long) => [l0, l1] == [0, 0],
        (VrForm::Unknown, UnknownVr::NotMet) => return Parsed::Unknown(tag),
        (VrForm::Not, _) => return Parsed::Bad(tag),
    };
    let vr = Some([v0, v1]);
    if !long {
        return Parsed::Header(Header {
            tag,
            vr,
            length: u32::from(encoding.u16_of([l0, l1])),
            size: 8,
        });
    }
    match rest.first_chunk() {
        Some(&length) => Parsed::Header(Header {
            tag,
            vr,
            length: encoding.u32_of(length),
            size: 12,
        }),
        None => Parsed::Partial,
    }
}

/// Whether these bytes are a VR with a 16-bit length.
pub(super) fn has_short_length(vr: [u8; 2]) -> bool {
    vr_form(vr) == VrForm::Short
}

/// Whether these bytes are a VR with a 32-bit length.
pub(super) fn has_long_length(vr: [u8; 2]) -> bool {
    vr_form(vr) == VrForm::Long
}

impl Encoding {
    fn u16_of(self, bytes: [u8; 2]) -> u16 {
        match self {
            Self::ImplicitLe | Self::ExplicitLe => u16::from_le_bytes(bytes),
            Self::ExplicitBe => u16::from_be_bytes(bytes),
        }
    }

    fn u32_of(self, bytes: [u8; 4]) -> u32 {
        match self {
            Self::ImplicitLe | Self::ExplicitLe => u32::from_le_bytes(bytes),
            Self::ExplicitBe => u32::from_be_bytes(bytes),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum VrForm {
    /// 16-bit length.
    Short,
    /// Two reserved bytes and a 32-bit length.
    Long,
    /// Two capital letters, but no VR of PS3.5 6.2.
    Unknown,
    /// Other bytes than two capital letters.
    Not,
}

/// How long the length field of a VR is (PS3.5 Tables 7.1-1 and 7.1-2).
fn vr_form(vr: [u8; 2]) -> VrForm {
    match &vr {
        b"AE" | b"AS" | b"AT" | b"CS" | b"DA" | b"DS" | b"DT" | b"FD" | b"FL" | b"IS" | b"LO"
        | b"LT" | b"PN" | b"SH" | b"SL" | b"SS" | b"ST" | b"TM" | b"UI" | b"UL" | b"US" => {
            VrForm::Short
        }
        b"OB" | b"OD" | b"OF" | b"OL" | b"OV" | b"OW" | b"SQ" | b"SV" | b"UC" | b"UN" | b"UR"
        | b"UT" | b"UV" => VrForm::Long,
        [first, second] if first.is_ascii_uppercase() && second.is_ascii_uppercase() => {
            VrForm::Unknown
        }
        _ => VrForm::Not,
    }
}
