//! A Part 10 file becomes P-DATA-TF PDUs, or a clear reason why not.
#![allow(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing
)]

mod common;

use std::ffi::CString;
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use common::{
    CT, DEFLATED, EXPLICIT, IMPLICIT, PRIVATE, deflate, element, flat, instance, part10, request,
    uid,
};
use dimse_net::files::SourceErrorKind;
use dimse_net::receive::store_whole;
use dimse_net::send::{Outgoing, probe};
use proptest::prelude::*;
use tempfile::TempDir;

fn write(folder: &TempDir, content: &[u8]) -> PathBuf {
    let path = folder.path().join("file.dcm");
    fs::write(&path, content).unwrap();
    path
}

struct Fragment {
    data: Vec<u8>,
    last: bool,
}

/// Takes P-DATA-TF PDUs of one PDV apart (PS3.8 9.3.5).
fn fragments(mut wire: &[u8], context_id: u8) -> Vec<Fragment> {
    let mut found = Vec::new();
    while !wire.is_empty() {
        assert_eq!(wire[..2], [0x04, 0x00]);
        let pdu = u32::from_be_bytes(wire[2..6].try_into().unwrap()) as usize;
        let pdv = u32::from_be_bytes(wire[6..10].try_into().unwrap()) as usize;
        assert_eq!(pdu, pdv + 4);
        assert_eq!(wire[10], context_id);
        assert_eq!(wire[11] & !0x02, 0, "data set, not command");
        found.push(Fragment {
            data: wire[12..pdu + 6].to_vec(),
            last: wire[11] & 0x02 != 0,
        });
        wire = &wire[pdu + 6..];
    }
    found
}

/// Frames a whole file with a buffer of this capacity, and checks every fragment.
fn frame(path: &Path, max_fragment: usize, capacity: usize) -> Vec<u8> {
    let (mut outgoing, _) = Outgoing::open(path).unwrap();
    let mut wire = Vec::new();
    let mut buffer = vec![0xEE; capacity];
    while !outgoing.is_done() {
        let used = outgoing.fill(3, max_fragment, &mut buffer).unwrap();
        assert!(used > 0, "each call makes progress");
        wire.extend_from_slice(&buffer[..used]);
    }
    let fragments = fragments(&wire, 3);
    let (last, others) = fragments.split_last().unwrap();
    assert!(last.last && others.iter().all(|fragment| !fragment.last));
    for fragment in &fragments {
        assert!(fragment.data.len() <= max_fragment.max(2));
        assert_eq!(fragment.data.len() % 2, 0);
        assert!(!fragment.data.is_empty());
    }
    fragments
        .into_iter()
        .flat_map(|fragment| fragment.data)
        .collect()
}

#[test]
fn the_facts_come_from_the_data_set_not_from_the_file_meta() {
    let folder = TempDir::new().unwrap();
    let data = instance("1.2.3", b"px");
    let file = part10("9.9.9", EXPLICIT, &data);
    let path = write(&folder, &file);
    let info = probe(&path).unwrap();
    assert_eq!(info.sop_instance, uid("1.2.3"));
    assert_eq!(info.sop_class, uid(CT));
    assert_eq!(info.transfer_syntax, uid(EXPLICIT));
    assert_eq!(info.data_length, data.len() as u64);
    assert_eq!(info.data_offset + info.data_length, info.size);
    assert_eq!(info.size, file.len() as u64);
    assert_eq!(info.path, path);
}

#[test]
fn the_facts_of_a_deflated_data_set_are_inflated() {
    let folder = TempDir::new().unwrap();
    let path = write(
        &folder,
        &part10("9.9.9", DEFLATED, &deflate(&instance("1.2.3", b"px"))),
    );
    assert_eq!(probe(&path).unwrap().sop_instance, uid("1.2.3"));
}

#[test]
fn an_unknown_transfer_syntax_takes_its_facts_from_the_file_meta() {
    let folder = TempDir::new().unwrap();
    let path = write(&folder, &part10("9.9.9", PRIVATE, b"??????"));
    assert_eq!(probe(&path).unwrap().sop_instance, uid("9.9.9"));
}

#[test]
fn uids_behind_a_long_file_meta_or_long_first_elements_are_found() {
    let folder = TempDir::new().unwrap();
    let long = vec![0; 60_000];
    let data = [
        element(0x0008, 0x0001, "OB", &long),
        instance("1.2.3", b"px"),
    ]
    .concat();
    let mut file = part10("9.9.9", EXPLICIT, b"");
    file.extend(element(0x0002, 0x0102, "OB", &long));
    file.extend(&data);
    let path = write(&folder, &file);
    assert_eq!(probe(&path).unwrap().sop_instance, uid("1.2.3"));
    assert_eq!(frame(&path, 16_378, 1 << 20), data);
}

#[test]
fn a_fault_behind_the_uids_is_for_the_peer_to_find() {
    let folder = TempDir::new().unwrap();
    let mut data = instance("1.2.3", b"pixels");
    data.truncate(data.len() - 2);
    let path = write(&folder, &part10("1.2.3", EXPLICIT, &data));
    assert_eq!(frame(&path, 16_378, 1 << 20), data);
}

#[test]
fn what_cannot_be_sent_says_why() {
    let folder = TempDir::new().unwrap();
    let class = element(0x0008, 0x0016, "UI", CT.as_bytes());
    let odd = [instance("1.2.3", b"px"), vec![0]].concat();
    let hostile = [class.clone(), element(0x0008, 0x0018, "UI", b"1.2/3")].concat();
    let mut no_syntax = vec![0; 128];
    no_syntax.extend_from_slice(b"DICM");
    no_syntax.extend(element(0x0002, 0x0002, "UI", CT.as_bytes()));
    let mut cut_meta = part10("1.2.3", EXPLICIT, b"");
    cut_meta.truncate(200);
    let cases: [(&str, Vec<u8>); 11] = [
        ("not a DICOM file", Vec::new()),
        ("not a DICOM file", vec![0; 4000]),
        ("not a DICOM file", class.clone()),
        ("file meta information cannot be read", cut_meta),
        ("no valid Transfer Syntax UID (0002,0010)", no_syntax),
        (
            "the data set cannot be read: it is empty",
            part10("1.2.3", EXPLICIT, b""),
        ),
        (
            "the data set cannot be read",
            part10("1.2.3", EXPLICIT, &[0xff; 100]),
        ),
        (
            "the data set cannot be read",
            part10("1.2.3", DEFLATED, &[0xff; 100]),
        ),
        (
            "no valid SOP Instance UID (0008,0018)",
            part10("1.2.3", EXPLICIT, &class),
        ),
        (
            "no valid SOP Instance UID (0008,0018)",
            part10("1.2.3", EXPLICIT, &hostile),
        ),
        (
            "the data set has an odd length, ",
            part10("1.2.3", EXPLICIT, &odd),
        ),
    ];
    for (expected, file) in cases {
        let path = write(&folder, &file);
        let error = probe(&path).unwrap_err();
        assert!(
            error.kind.to_string().starts_with(expected),
            "{expected}: {error}"
        );
        assert!(error.to_string().starts_with(path.to_str().unwrap()));
    }
    let error = probe(&folder.path().join("missing")).unwrap_err();
    assert!(matches!(error.kind, SourceErrorKind::Io(_)));
    assert!(matches!(
        probe(folder.path()).unwrap_err().kind,
        SourceErrorKind::NotAFile
    ));
}

/// A data set in Implicit VR Little Endian, with the elements of `instance`.
fn implicit(uid: &str, pixels: &[u8]) -> Vec<u8> {
    let mut data = Vec::new();
    let mut rest = &instance(uid, pixels)[..];
    while let [group, more, number, next, vr @ ..] = rest {
        let (header, length) = if vr.starts_with(b"OB") {
            (12, u32::from_le_bytes(rest[8..12].try_into().unwrap()))
        } else {
            (
                8,
                u32::from(u16::from_le_bytes(rest[6..8].try_into().unwrap())),
            )
        };
        data.extend_from_slice(&[*group, *more, *number, *next]);
        data.extend_from_slice(&length.to_le_bytes());
        let end = header + length as usize;
        data.extend_from_slice(&rest[header..end]);
        rest = &rest[end..];
    }
    data
}

#[test]
fn a_data_set_without_preamble_is_known_by_itself() {
    let folder = TempDir::new().unwrap();
    let pixels = vec![7; 300_000]; // more than is read at a time
    let with_meta = part10("9.9.9", EXPLICIT, &instance("1.2.3", &pixels));
    for (file, syntax, data) in [
        (
            instance("1.2.3", &pixels),
            EXPLICIT,
            instance("1.2.3", &pixels),
        ),
        (
            implicit("1.2.3", &pixels),
            IMPLICIT,
            implicit("1.2.3", &pixels),
        ),
        // Group 0002 without preamble and prefix.
        (
            with_meta[132..].to_vec(),
            EXPLICIT,
            instance("1.2.3", &pixels),
        ),
    ] {
        let path = write(&folder, &file);
        let info = probe(&path).unwrap();
        assert_eq!(info.sop_instance, uid("1.2.3"));
        assert_eq!(info.sop_class, uid(CT));
        assert_eq!(info.transfer_syntax, uid(syntax));
        assert_eq!(info.data_length, data.len() as u64);
        assert_eq!(frame(&path, 16_378, 1 << 20), data);
    }
}

#[test]
fn a_data_set_without_preamble_that_is_not_whole_is_no_instance_to_send() {
    let folder = TempDir::new().unwrap();
    for whole in [instance("1.2.3", &[7; 5000]), implicit("1.2.3", &[7; 5000])] {
        let path = write(&folder, &whole[..whole.len() - 2]);
        assert!(matches!(
            probe(&path).unwrap_err().kind,
            SourceErrorKind::BadDataSet(_)
        ));
        // Cut before both UIDs are there, nothing says that it is an instance.
        let path = write(&folder, &whole[..40]);
        assert!(matches!(
            probe(&path).unwrap_err().kind,
            SourceErrorKind::NotDicom
        ));
    }
}

#[test]
fn a_pipe_is_no_file_and_is_not_waited_for() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("pipe");
    let name = CString::new(path.as_os_str().as_bytes()).unwrap();
    let kind = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, name, kind, 0o600.into(), 0).unwrap();
    assert!(matches!(
        probe(&path).unwrap_err().kind,
        SourceErrorKind::NotAFile
    ));
}

#[test]
fn fragments_join_to_the_data_set_whatever_the_sizes() {
    let folder = TempDir::new().unwrap();
    let pixels: Vec<u8> = (0..600_000_u32)
        .map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1])
        .collect();
    let data = instance("1.2.3", &pixels);
    let path = write(&folder, &part10("1.2.3", EXPLICIT, &data));
    for max_fragment in [10, 4090, 16_378, 16_379, 131_066, 16 << 20] {
        for capacity in [14, 100, 65_536, 1 << 20] {
            assert_eq!(
                frame(&path, max_fragment, capacity),
                data,
                "{max_fragment} {capacity}"
            );
        }
    }
}

#[test]
fn a_small_file_takes_one_buffer_and_full_fragments() {
    let folder = TempDir::new().unwrap();
    let path = write(
        &folder,
        &part10("1.2.3", EXPLICIT, &instance("1.2.3", &vec![1; 500_000])),
    );
    let (mut outgoing, _) = Outgoing::open(&path).unwrap();
    let mut buffer = vec![0; 1 << 20];
    let used = outgoing.fill(1, 131_066, &mut buffer).unwrap();
    assert!(outgoing.is_done());
    assert_eq!(fragments(&buffer[..used], 1).len(), 4);
}

#[test]
fn the_end_of_a_buffer_is_not_used_for_a_crumb_of_a_fragment() {
    let folder = TempDir::new().unwrap();
    let path = write(
        &folder,
        &part10("1.2.3", EXPLICIT, &instance("1.2.3", &vec![1; 100_000])),
    );
    for (spare, expected) in [(0, 4), (4000, 4), (6000, 5)] {
        let (mut outgoing, _) = Outgoing::open(&path).unwrap();
        let mut buffer = vec![0; 4 * (12 + 10_000) + spare];
        let used = outgoing.fill(1, 10_000, &mut buffer).unwrap();
        assert_eq!(fragments(&buffer[..used], 1).len(), expected);
    }
}

#[test]
fn an_odd_deflated_data_set_gets_one_zero_byte() {
    let folder = TempDir::new().unwrap();
    let odd = (0..100)
        .map(|n| deflate(&instance("1.2.3", &vec![3; n * 100])))
        .find(|stream| stream.len() % 2 == 1)
        .unwrap();
    let path = write(&folder, &part10("1.2.3", DEFLATED, &odd));
    assert_eq!(probe(&path).unwrap().data_length, odd.len() as u64);
    let padded = [odd, vec![0]].concat();
    for max_fragment in [2, 4, 16_378] {
        assert_eq!(frame(&path, max_fragment, 1000), padded);
    }
    // And a sink takes it.
    let sent = [Bytes::from(padded)];
    let root = TempDir::new().unwrap();
    assert!(
        store_whole(flat(root.path()), request("1.2.3", DEFLATED), &sent)
            .unwrap()
            .verified
    );
}

#[test]
fn a_file_that_shrinks_is_an_error_not_a_wrong_message() {
    let folder = TempDir::new().unwrap();
    let path = write(
        &folder,
        &part10("1.2.3", EXPLICIT, &instance("1.2.3", &vec![1; 3 << 20])),
    );
    let (mut outgoing, _) = Outgoing::open(&path).unwrap();
    let mut buffer = vec![0; 1 << 20];
    outgoing.fill(1, 131_066, &mut buffer).unwrap();
    fs::File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(2 << 20)
        .unwrap();
    let error = loop {
        match outgoing.fill(1, 131_066, &mut buffer) {
            Ok(used) => assert!(used > 0 && !outgoing.is_done()),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
    assert!(error.to_string().contains("became shorter"));
    assert!(!outgoing.is_done());
}

#[test]
fn ending_early_adds_one_short_last_fragment() {
    let folder = TempDir::new().unwrap();
    let path = write(
        &folder,
        &part10("1.2.3", EXPLICIT, &instance("1.2.3", &vec![1; 100_000])),
    );
    let (mut outgoing, _) = Outgoing::open(&path).unwrap();
    outgoing.fill(1, 10_000, &mut vec![0; 20_000]).unwrap();
    let mut out = BytesMut::new();
    outgoing.end_early(1, &mut out);
    let end = fragments(&out, 1);
    assert!(end.len() == 1 && end[0].last && end[0].data == [0, 0]);
    assert!(outgoing.is_done());
    outgoing.end_early(1, &mut out);
    assert_eq!(fragments(&out, 1).len(), 1, "only once");
    assert_eq!(outgoing.fill(1, 10_000, &mut vec![0; 20_000]).unwrap(), 0);
}

#[test]
fn more_than_4_gib_are_counted() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("file.dcm");
    let mut file = fs::File::create(&path).unwrap();
    file.write_all(&part10("1.2.3", EXPLICIT, &instance("1.2.3", b"px")))
        .unwrap();
    file.set_len(5 << 30).unwrap(); // sparse
    let (mut outgoing, info) = Outgoing::open(&path).unwrap();
    assert_eq!(info.data_offset + info.data_length, 5 << 30);
    let mut buffer = vec![0; 1 << 20];
    let used = outgoing.fill(1, 131_066, &mut buffer).unwrap();
    assert_eq!(fragments(&buffer[..used], 1).len(), 8);
    assert!(!outgoing.is_done());
}

proptest! {
    #[test]
    fn any_length_fragment_and_buffer(
        pixels in 0_usize..40_000,
        max_fragment in 2_usize..5000,
        capacity in 14_usize..20_000,
    ) {
        let folder = TempDir::new().unwrap();
        let data = instance("1.2.3", &vec![7; pixels]);
        let path = write(&folder, &part10("1.2.3", EXPLICIT, &data));
        prop_assert_eq!(frame(&path, max_fragment, capacity), data);
    }
}

fn why(path: &Path) -> Option<(String, u64)> {
    match Outgoing::open_whole(path).err()?.kind {
        SourceErrorKind::NotWhole { what, offset, .. } => Some((what, offset)),
        other => Some((other.to_string(), 0)),
    }
}

#[test]
fn a_file_cut_at_any_byte_behind_its_uids_is_not_whole() {
    let folder = tempfile::tempdir().unwrap();
    let pixels = 200_000;
    let data = [
        instance("1.2.3", &vec![1; pixels]),
        element(0xfffc, 0xfffc, "OB", &[0; 8]),
    ]
    .concat();
    let file = part10("1.2.3", EXPLICIT, &data);
    let borders = [file.len() - 20 - pixels - 12, file.len() - 20];
    let every = (borders[0] - 14..file.len()).filter(|length| {
        let near = |at: usize| length.abs_diff(at) < 64;
        length % 2 == 0 && (near(borders[0]) || near(borders[1]) || length % 4096 == 0)
    });
    for length in every {
        let path = write(&folder, &file[..length]);
        assert!(Outgoing::open(&path).is_ok(), "its beginning is there");
        let expected = (!borders.contains(&length)).then_some(length as u64);
        assert_eq!(why(&path).map(|(_, offset)| offset), expected, "{length}");
    }
    assert_eq!(why(&write(&folder, &file)), None);
}

#[test]
fn a_deflated_file_is_whole_when_its_stream_and_its_data_set_are() {
    let folder = tempfile::tempdir().unwrap();
    let data = instance("1.2.3", &[1; 5000]);
    let packed = deflate(&data);
    let whole = part10("1.2.3", DEFLATED, &packed);
    assert_eq!(why(&write(&folder, &whole)), None);
    let broken = why(&write(&folder, &whole[..whole.len() - 4])).unwrap();
    assert_eq!(broken.0, "the deflate stream breaks");
    let cut = part10("1.2.3", DEFLATED, &deflate(&data[..data.len() - 2]));
    let (what, offset) = why(&write(&folder, &cut)).unwrap();
    assert_eq!(what, "the data set is cut short: (7FE0,0010)");
    assert_eq!(offset, data.len() as u64 - 2, "of what was inflated");
}
