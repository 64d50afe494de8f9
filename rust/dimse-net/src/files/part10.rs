//! The File Meta Information of a DICOM file (PS3.10 section 7.1): preamble, `DICM`, group 0002. What follows it
//! is the data set, which is none of this module's business.

use bytes::Bytes;
use dimse_proto::dataset::is_deflated;
use dimse_proto::wire::Reader;
use dimse_proto::{AeTitle, DecodeError, Uid};

use dimse_proto::ul::negotiate::{IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME};

/// The most bytes a preamble and group 0002 may take in a file that is read. Real ones take a few hundred.
pub const META_LIMIT: usize = 1024 * 1024;

const PREAMBLE: usize = 128;
const SECTION: &str = "PS3.10 7.1";

/// The bytes a file starts with when it holds a data set received from a network: a preamble of zeros, so that
/// the file cannot pose as another format, and group 0002.
///
/// `source` goes into (0002,0016) and `receiver` into (0002,0018), each if it is a proper AE title. Neither UID
/// may be longer than 64 bytes.
#[must_use]
pub fn header(
    sop_class: &Uid,
    sop_instance: &Uid,
    transfer_syntax: &Uid,
    source: AeTitle,
    receiver: AeTitle,
) -> Vec<u8> {
    // Written by hand: nine elements of one fixed layout, before any byte of the data set, on the way of each instance.
    let mut group = Vec::with_capacity(512);
    // The version has VR OB, whose length field is 32 bits.
    group.extend_from_slice(b"\x02\0\x01\0OB\0\0\x02\0\0\0\x00\x01");
    let implementation = IMPLEMENTATION_CLASS_UID;
    let version = IMPLEMENTATION_VERSION_NAME.as_bytes();
    element(&mut group, 0x0002, *b"UI", sop_class.as_bytes());
    element(&mut group, 0x0003, *b"UI", sop_instance.as_bytes());
    element(&mut group, 0x0010, *b"UI", transfer_syntax.as_bytes());
    element(&mut group, 0x0012, *b"UI", implementation.as_bytes());
    element(&mut group, 0x0013, *b"SH", version);
    for (number, title) in [(0x0016, source), (0x0018, receiver)] {
        if is_proper(title) {
            element(&mut group, number, *b"AE", title.as_bytes());
        }
    }
    let length = u32::try_from(group.len()).unwrap_or(u32::MAX);

    let mut header = Vec::with_capacity(group.len().saturating_add(PREAMBLE + 16));
    header.resize(PREAMBLE, 0);
    header.extend_from_slice(b"DICM");
    element(&mut header, 0x0000, *b"UL", &length.to_le_bytes());
    header.append(&mut group);
    header
}

/// Whether a received title may be written as VR AE.
fn is_proper(title: AeTitle) -> bool {
    str::from_utf8(title.as_bytes()).is_ok_and(|text| AeTitle::new(text).is_ok())
}

fn element(out: &mut Vec<u8>, number: u16, vr: [u8; 2], value: &[u8]) {
    let odd = value.len() % 2 == 1;
    let length = u16::try_from(value.len().saturating_add(usize::from(odd))).unwrap_or(u16::MAX);
    out.extend_from_slice(&0x0002_u16.to_le_bytes());
    out.extend_from_slice(&number.to_le_bytes());
    out.extend_from_slice(&vr);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(value);
    if odd {
        out.push(if vr == *b"UI" { 0 } else { b' ' });
    }
}

/// What group 0002 of a file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Meta {
    /// (0002,0002), empty if missing.
    pub sop_class: Uid,
    /// (0002,0003), empty if missing.
    pub sop_instance: Uid,
    /// (0002,0010), empty if missing.
    pub transfer_syntax: Uid,
    /// Where the data set starts, in bytes from the start of the file.
    pub data_offset: usize,
}

impl Meta {
    /// Reads the start of a file, which must reach past group 0002.
    ///
    /// The group ends where another group starts: (0002,0000) is often missing or wrong, so it counts only where
    /// the data set is deflated and its first bytes may look like anything. A group written in Implicit VR is read
    /// too.
    ///
    /// # Errors
    /// `not-part10` when there is no `DICM` at offset 128, `truncated` when `head` ends too early,
    /// `bad-file-meta` when an element has an undefined length.
    pub fn parse(head: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(head.clone(), SECTION);
        let not_part10 = DecodeError::new("not-part10", "no DICM prefix", PREAMBLE, SECTION);
        if reader.take(PREAMBLE, "preamble").is_err() {
            return Err(not_part10);
        }
        if !reader.array("DICM").is_ok_and(|prefix| prefix == *b"DICM") {
            return Err(not_part10);
        }
        Self::parse_group(head, reader.offset())
    }

    /// The same where the group starts, whatever stands before it.
    ///
    /// # Errors
    /// As [`Self::parse`], but for `not-part10`.
    pub(crate) fn parse_group(head: Bytes, start: usize) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(head, SECTION);
        reader.take(start, "preamble")?;
        let mut meta = Self::default();
        let mut declared_end = None;
        loop {
            meta.data_offset = reader.offset();
            if reader.is_empty() || starts_data_set(&reader)? {
                return Ok(meta);
            }
            // Deflated bytes have no group to tell them by: there alone the declared length decides.
            if declared_end == Some(meta.data_offset) && is_deflated(&meta.transfer_syntax) {
                return Ok(meta);
            }
            let (number, value) = read_element(&mut reader)?;
            match number {
                0x0000 => {
                    declared_end = <[u8; 4]>::try_from(&*value)
                        .ok()
                        .and_then(|length| usize::try_from(u32::from_le_bytes(length)).ok())
                        .and_then(|length| length.checked_add(reader.offset()));
                }
                0x0002 => meta.sop_class = Uid::from_wire(value),
                0x0003 => meta.sop_instance = Uid::from_wire(value),
                0x0010 => meta.transfer_syntax = Uid::from_wire(value),
                _ => {}
            }
        }
    }
}

fn starts_data_set(reader: &Reader) -> Result<bool, DecodeError> {
    Ok(reader.clone().array("group number")? != 0x0002_u16.to_le_bytes())
}

fn read_element(reader: &mut Reader) -> Result<(u16, Bytes), DecodeError> {
    let _group = reader.array::<2>("group number")?;
    let number = u16::from_le_bytes(reader.array("element number")?);
    let vr_or_length = reader.array::<4>("VR and length")?;
    let [first, second, low, high] = vr_or_length;
    let length = match [first, second] {
        [b'O', b'B' | b'D' | b'F' | b'L' | b'V' | b'W']
        | [b'S', b'Q' | b'V']
        | [b'U', b'C' | b'N' | b'R' | b'T' | b'V'] => {
            u32::from_le_bytes(reader.array("32-bit length")?)
        }
        vr if vr.iter().all(u8::is_ascii_uppercase) => u32::from(u16::from_le_bytes([low, high])),
        _ => u32::from_le_bytes(vr_or_length),
    };
    if length == u32::MAX {
        return Err(reader.error("bad-file-meta", "an undefined length in group 0002"));
    }
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    Ok((number, reader.take(length, "a value of group 0002")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPLICIT_LE: Uid = Uid::from_static("1.2.840.10008.1.2.1");

    fn title(text: &str) -> AeTitle {
        AeTitle::from_wire(text.as_bytes())
    }

    fn written() -> Vec<u8> {
        let class = Uid::from_static("1.2.840.10008.5.1.4.1.1.2");
        let instance = Uid::from_static("1.2.3.45");
        header(
            &class,
            &instance,
            &EXPLICIT_LE,
            title("MODALITY"),
            title("STORE"),
        )
    }

    fn parse(bytes: &[u8]) -> Result<Meta, DecodeError> {
        Meta::parse(Bytes::copy_from_slice(bytes))
    }

    #[test]
    fn header_is_zeros_dicm_and_a_group_of_the_declared_length() {
        let header = written();
        assert!(header[..128].iter().all(|byte| *byte == 0));
        assert_eq!(&header[128..132], b"DICM");
        assert_eq!(&header[132..140], b"\x02\0\0\0UL\x04\0");
        let length = u32::from_le_bytes(header[140..144].try_into().unwrap());
        assert_eq!(usize::try_from(length).unwrap(), header.len() - 144);
        assert_eq!(&header[144..158], b"\x02\0\x01\0OB\0\0\x02\0\0\0\x00\x01");
        assert!(IMPLEMENTATION_VERSION_NAME.len() <= 16);
        assert!(IMPLEMENTATION_CLASS_UID.is_valid());
    }

    #[test]
    fn reads_back_what_it_wrote() {
        let mut file = written();
        let offset = file.len();
        file.extend_from_slice(b"\x08\0\x05\0CS\0\0");
        let meta = parse(&file).unwrap();
        assert_eq!(meta.sop_instance, Uid::from_static("1.2.3.45"));
        assert_eq!(meta.transfer_syntax, EXPLICIT_LE);
        assert_eq!(meta.data_offset, offset);
    }

    #[test]
    fn titles_that_are_not_proper_are_left_out() {
        let class = Uid::from_static("1.2");
        let long = header(&class, &class, &class, title("A"), title("B"));
        let short = header(&class, &class, &class, title("A\nB"), title(""));
        assert_eq!(long.len(), short.len() + 20);
    }

    #[test]
    fn a_missing_or_wrong_group_length_is_tolerated() {
        let mut file = written();
        file.extend_from_slice(b"\x08\0\x05\0CS\0\0");
        let expected = parse(&file).unwrap();
        let mut wrong = file.clone();
        wrong[140] = 14;
        assert_eq!(parse(&wrong).unwrap(), expected);
        file.drain(132..144);
        assert_eq!(parse(&file).unwrap().data_offset + 12, expected.data_offset);
    }

    #[test]
    fn deflated_bytes_that_look_like_group_0002_are_the_data_set() {
        let class = Uid::from_static("1.2");
        let deflated = Uid::from_static("1.2.840.10008.1.2.1.99");
        let mut file = header(&class, &class, &deflated, title("A"), title("B"));
        let offset = file.len();
        file.extend_from_slice(b"\x02\0\xff\xff\xff\xff\xff\xff");
        assert_eq!(parse(&file).unwrap().data_offset, offset);
    }

    #[test]
    fn a_group_in_implicit_vr_is_read() {
        let mut file = vec![0; 128];
        file.extend_from_slice(b"DICM\x02\0\x10\0\x12\0\0\x001.2.840.10008.1.2\0\x08\0");
        assert_eq!(
            parse(&file).unwrap().transfer_syntax,
            Uid::from_static("1.2.840.10008.1.2")
        );
    }

    #[test]
    fn every_strict_prefix_is_refused_or_ends_on_an_element() {
        let header = written();
        for length in 0..header.len() {
            match parse(&header[..length]) {
                Ok(meta) => assert_eq!(meta.data_offset, length),
                Err(error) if length < 132 => assert_eq!(error.code, "not-part10"),
                Err(error) => assert_eq!(error.code, "truncated", "{length}: {error}"),
            }
        }
    }

    #[test]
    fn lying_lengths_are_refused() {
        let mut file = written();
        file[142..144].copy_from_slice(b"\xff\xff");
        assert!(parse(&file).is_ok(), "a lying group length is not believed");
        file[140..144].copy_from_slice(b"\0\0\0\0");
        file[152..156].copy_from_slice(b"\xff\xff\xff\xff");
        assert_eq!(parse(&file).unwrap_err().code, "bad-file-meta");
        file[152..156].copy_from_slice(b"\xff\xff\xff\x7f");
        assert_eq!(parse(&file).unwrap_err().code, "truncated");
    }
}
