//! A received instance becomes a file, or nothing (robustness cases E01-E21).
#![allow(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing
)]

mod common;

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Arc;

use bytes::Bytes;
use common::{
    DEFLATED, EXPLICIT, Faulty, PRIVATE, SERIES, STUDY, data_of, deflate, element, flat, folder,
    instance, part10, request, store, tree, uid,
};
use dimse_net::files::Disk;
use dimse_net::receive::{Duplicates, Durability, Folder, Layout, Writer};

#[test]
fn a_stored_file_is_our_header_and_exactly_the_received_bytes() {
    let root = tempfile::tempdir().unwrap();
    let data = instance("1.2.3", &[7; 5001]);
    let stored = store(&flat(root.path()), "1.2.3", EXPLICIT, &data).unwrap();
    assert_eq!(stored.path, root.path().join("1.2.3.dcm"));
    assert_eq!(
        fs::read(&stored.path).unwrap(),
        part10("1.2.3", EXPLICIT, &data)
    );
    assert_eq!(stored.bytes, data.len() as u64);
    assert!(stored.verified && !stored.identical && stored.kept.is_none());
    assert_eq!(tree(root.path()).len(), 1);
}

#[test]
fn a_stored_instance_says_what_it_belongs_to() {
    let root = tempfile::tempdir().unwrap();
    let patient = element(0x0010, 0x0020, "LO", b"P1");
    let data = [patient, instance("1.2.3", &[7; 8])].concat();
    let stored = store(&flat(root.path()), "1.2.3", EXPLICIT, &data).unwrap();
    assert_eq!(stored.subject.study, Some(uid(STUDY)));
    assert_eq!(stored.subject.patient.as_deref(), Some(&b"P1"[..]));
    let stored = store(
        &flat(root.path()),
        "1.2.4",
        EXPLICIT,
        &instance("1.2.4", &[7]),
    )
    .unwrap();
    assert_eq!(stored.subject.patient, None);
}

#[test]
fn slices_and_batches_of_any_number_give_the_same_file() {
    let root = tempfile::tempdir().unwrap();
    let folder = flat(root.path());
    let data = Bytes::from(instance("1.2.3", &[7; 5000]));
    let mut writer = Writer::new(Arc::clone(&folder), request("1.2.3", EXPLICIT)).unwrap();
    let mut slices: Vec<Bytes> = (0..data.len()).map(|at| data.slice(at..=at)).collect();
    slices.insert(3, Bytes::new());
    for batch in slices.chunks(2500) {
        writer.write(batch).unwrap();
    }
    let stored = writer.commit().unwrap();
    assert_eq!(
        fs::read(&stored.path).unwrap(),
        part10("1.2.3", EXPLICIT, &data)
    );
}

#[test]
fn short_writes_are_continued() {
    let root = tempfile::tempdir().unwrap();
    let faulty = Arc::new(Faulty::default());
    let folder = folder(root.path(), Durability::Fast, Layout::Flat, faulty.clone());
    faulty.shorten_writes();
    let data = instance("1.2.3", &[7; 50]);
    let stored = store(&folder, "1.2.3", EXPLICIT, &data).unwrap();
    assert_eq!(
        fs::read(&stored.path).unwrap(),
        part10("1.2.3", EXPLICIT, &data)
    );
}

#[test]
fn each_mode_does_what_it_promises_in_order_and_no_more() {
    use Durability::{Durable, Fast, FileOnly};
    let study = [
        "create",
        "write",
        "sync", // the contents, before any name
        "open_folder",
        "make_folder",
        "open_folder", // study
        "open_folder",
        "make_folder",
        "open_folder", // series
        "sync_folder",
        "sync_folder", // root and study
        "publish",
        "sync_folder",
    ];
    let cases: [(Durability, Layout, &[&str]); 4] = [
        (Fast, Layout::Flat, &["create", "write", "publish"]),
        (
            FileOnly,
            Layout::Flat,
            &["create", "write", "sync", "publish"],
        ),
        (
            Durable,
            Layout::Flat,
            &["create", "write", "sync", "publish", "sync_folder"],
        ),
        (Durable, Layout::Study, &study),
    ];
    for (durability, layout, expected) in cases {
        let root = tempfile::tempdir().unwrap();
        let faulty = Arc::new(Faulty::default());
        let folder = folder(root.path(), durability, layout, faulty.clone());
        faulty.forget();
        store(&folder, "1.2.3", EXPLICIT, &instance("1.2.3", b"px")).unwrap();
        assert_eq!(faulty.log(), expected, "{durability:?} {layout:?}");
        faulty.forget();
        store(&folder, "1.2.4", EXPLICIT, &instance("1.2.4", b"px")).unwrap();
        assert!(!faulty.log().contains(&"make_folder"));
    }
}

#[test]
fn a_folder_that_was_removed_meanwhile_is_made_durable_again() {
    let root = tempfile::tempdir().unwrap();
    let faulty = Arc::new(Faulty::default());
    let folder = folder(
        root.path(),
        Durability::Durable,
        Layout::Study,
        faulty.clone(),
    );
    for _ in 0..2 {
        faulty.forget();
        store(&folder, "1.2.3", EXPLICIT, &instance("1.2.3", b"px")).unwrap();
        let log = faulty.log();
        assert_eq!(log.iter().filter(|name| **name == "sync_folder").count(), 3);
        fs::remove_dir_all(root.path().join(STUDY)).unwrap();
    }
}

#[test]
fn a_hostile_instance_uid_is_refused_before_any_file_is_touched() {
    let root = tempfile::tempdir().unwrap();
    let inside = root.path().join("inside");
    let folder = flat(&inside);
    let long = "1".repeat(65);
    let longer = "1".repeat(255);
    for hostile in [
        "../x",
        "/etc/passwd",
        "..",
        ".",
        "",
        "con",
        "a:b",
        "1..2",
        "1.",
        "1\u{0}2",
        "1 2",
        &long,
        &longer,
    ] {
        let refusal = store(&folder, hostile, EXPLICIT, &instance(hostile, b"px")).unwrap_err();
        assert_eq!(refusal.status, 0x0117, "{hostile:?}");
    }
    assert_eq!(tree(root.path()).len(), 1);
}

#[test]
fn a_data_set_that_is_not_what_was_announced_is_refused() {
    let class = |value: &str| element(0x0008, 0x0016, "UI", value.as_bytes());
    let instance_uid = |value: &str| element(0x0008, 0x0018, "UI", value.as_bytes());
    let ct = common::CT;
    let cases = [
        (
            "another instance",
            [class(ct), instance_uid("1.2.4")].concat(),
            0xa900,
        ),
        (
            "hostile instance",
            [class(ct), instance_uid("../x")].concat(),
            0xa900,
        ),
        (
            "another class",
            [class("1.2.5"), instance_uid("1.2.3")].concat(),
            0xa900,
        ),
        ("no instance", class(ct), 0xc000),
        (
            "empty instance",
            [class(ct), instance_uid("")].concat(),
            0xa900,
        ),
        ("no class", instance_uid("1.2.3"), 0xc000),
        ("no bytes", Vec::new(), 0xc000),
        (
            "a file",
            part10("1.2.3", EXPLICIT, &instance("1.2.3", b"px")),
            0xc000,
        ),
        (
            "group 0002",
            element(0x0002, 0x0010, "UI", EXPLICIT.as_bytes()),
            0xc000,
        ),
    ];
    for (name, data, status) in cases {
        let root = tempfile::tempdir().unwrap();
        let faulty = Arc::new(Faulty::default());
        let folder = folder(
            root.path(),
            Durability::Durable,
            Layout::Flat,
            faulty.clone(),
        );
        faulty.forget();
        let refusal = store(&folder, "1.2.3", EXPLICIT, &data).unwrap_err();
        assert_eq!(refusal.status, status, "{name}: {refusal}");
        assert!(
            faulty.log().is_empty(),
            "{name}: a refused instance costs no file"
        );

        let mut writer = Writer::new(Arc::clone(&folder), request("1.2.3", EXPLICIT)).unwrap();
        let streamed = writer
            .write(&[Bytes::from(data)])
            .and_then(|()| writer.commit().map(|_| ()));
        assert_eq!(streamed, Err(refusal), "{name}");
        assert!(tree(root.path()).is_empty(), "{name}");
    }
}

#[test]
fn every_strict_prefix_is_refused_with_the_offset_and_leaves_nothing() {
    let root = tempfile::tempdir().unwrap();
    let folder = flat(root.path());
    let data = instance("1.2.3", b"pixels");
    // Where an element ends behind the SOP UIDs, nothing tells that more should follow.
    let pixels = data.len() - 12 - b"pixels".len();
    let series = pixels - 8 - 8;
    let study = series - 8 - 8;
    for length in 1..data.len() {
        let stored = store(&folder, "1.2.3", EXPLICIT, &data[..length]);
        if [study, series, pixels].contains(&length) {
            fs::remove_file(stored.unwrap().path).unwrap();
        } else {
            assert_eq!(stored.unwrap_err().status, 0xc000, "{length}");
        }
        assert!(tree(root.path()).is_empty());
    }
    let refusal = store(&folder, "1.2.3", EXPLICIT, &data[..data.len() - 1]).unwrap_err();
    assert_eq!(
        refusal.comment,
        format!("data set not whole at offset {}", data.len() - 1)
    );
}

#[test]
fn a_writer_that_failed_or_is_dropped_leaves_nothing() {
    let root = tempfile::tempdir().unwrap();
    let folder = flat(root.path());
    let data = Bytes::from(instance("1.2.3", &[1; 100]));
    let mut writer = Writer::new(Arc::clone(&folder), request("1.2.3", EXPLICIT)).unwrap();
    writer.write(&[data.slice(..50)]).unwrap();
    assert_eq!(tree(root.path()).len(), 1);
    drop(writer);
    assert!(tree(root.path()).is_empty());

    let mut writer = Writer::new(folder, request("1.2.3", EXPLICIT)).unwrap();
    writer.write(&[data]).unwrap();
    let garbage = [Bytes::from_static(&[
        0x10, 0, 0x10, 0, 0xff, 0xff, 0xff, 0xff,
    ])];
    let refusal = writer.write(&garbage).unwrap_err();
    assert_eq!(refusal.status, 0xc000);
    assert!(tree(root.path()).is_empty(), "gone at once, not at the end");
    assert_eq!(writer.write(&[Bytes::new()]), Err(refusal.clone()));
    assert_eq!(writer.commit().unwrap_err(), refusal);
}

#[test]
fn layout_study_uses_valid_uids_of_the_data_set() {
    let root = tempfile::tempdir().unwrap();
    let folder = folder(root.path(), Durability::Fast, Layout::Study, Arc::new(Disk));
    let stored = store(&folder, "1.2.3", EXPLICIT, &instance("1.2.3", b"px")).unwrap();
    assert_eq!(
        stored.path,
        root.path().join(STUDY).join(SERIES).join("1.2.3.dcm")
    );
    fs::remove_dir_all(root.path().join(STUDY)).unwrap();

    let start = [
        element(0x0008, 0x0016, "UI", common::CT.as_bytes()),
        element(0x0008, 0x0018, "UI", b"1.2.3"),
    ]
    .concat();
    for (study, series) in [
        ("..", "1.2"),
        ("1.2", "../.."),
        ("", "1.2"),
        ("/tmp", "1.2"),
    ] {
        let data = [
            start.clone(),
            element(0x0020, 0x000d, "UI", study.as_bytes()),
            element(0x0020, 0x000e, "UI", series.as_bytes()),
        ]
        .concat();
        let refusal = store(&folder, "1.2.3", EXPLICIT, &data).unwrap_err();
        assert_eq!(refusal.status, 0xc000, "{study} {series}");
    }
    assert_eq!(
        store(&folder, "1.2.3", EXPLICIT, &start)
            .unwrap_err()
            .status,
        0xc000
    );
    assert_eq!(
        store(&folder, "1.2.3", PRIVATE, b"??").unwrap_err().status,
        0xc000
    );
    assert!(tree(root.path()).is_empty());
}

#[test]
fn symbolic_links_inside_the_folder_are_not_followed() {
    let outside = tempfile::tempdir().unwrap();
    let victim = outside.path().join("victim");
    let data = instance("1.2.3", b"px");
    fs::write(&victim, part10("1.2.3", EXPLICIT, &data)).unwrap();
    let before = tree(outside.path());

    let root = tempfile::tempdir().unwrap();
    symlink(&victim, root.path().join("1.2.3.dcm")).unwrap();
    let stored = store(&flat(root.path()), "1.2.3", EXPLICIT, &data).unwrap();
    assert!(!stored.identical);
    assert!(fs::symlink_metadata(&stored.path).unwrap().is_file());
    assert!(
        fs::symlink_metadata(stored.kept.unwrap())
            .unwrap()
            .is_symlink()
    );
    assert_eq!(tree(outside.path()), before);

    let root = tempfile::tempdir().unwrap();
    symlink(outside.path(), root.path().join(STUDY)).unwrap();
    let folder = folder(root.path(), Durability::Fast, Layout::Study, Arc::new(Disk));
    let refusal = store(&folder, "1.2.3", EXPLICIT, &data).unwrap_err();
    assert_eq!(refusal.status, 0xa700);
    assert_eq!(tree(outside.path()), before);
    assert_eq!(tree(root.path()).len(), 1);
}

#[test]
fn a_deflated_data_set_is_checked_inflated_and_kept_deflated() {
    let root = tempfile::tempdir().unwrap();
    let folder = flat(root.path());
    let deflated = deflate(&instance("1.2.3", &vec![9; 300_000]));
    let stored = store(&folder, "1.2.3", DEFLATED, &deflated).unwrap();
    assert!(stored.verified);
    assert_eq!(data_of(&fs::read(stored.path).unwrap()), deflated);

    let padded = [deflate(&instance("1.2.4", &[9; 1000])), vec![0]].concat();
    let stored = store(&folder, "1.2.4", DEFLATED, &padded).unwrap();
    assert!(stored.verified);
    assert_eq!(data_of(&fs::read(stored.path).unwrap()), padded);

    for (name, data, status) in [
        ("cut short", deflated[..deflated.len() - 1].to_vec(), 0xc000),
        ("garbage", vec![0xff; 100], 0xc000),
        ("not deflated", instance("1.2.5", b"px"), 0xc000),
        (
            "another instance",
            deflate(&instance("1.2.6", b"px")),
            0xa900,
        ),
        (
            "cut inside",
            deflate(&instance("1.2.5", &[9; 100])[..150]),
            0xc000,
        ),
    ] {
        let refusal = store(&folder, "1.2.5", DEFLATED, &data).unwrap_err();
        assert_eq!(refusal.status, status, "{name}: {refusal}");
    }
    assert_eq!(tree(root.path()).len(), 2);
}

#[test]
fn a_deflate_bomb_is_stored_as_received_and_not_verified() {
    let root = tempfile::tempdir().unwrap();
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut data = instance("1.2.3", &[]);
    data.truncate(data.len() - 4);
    data.extend_from_slice(&(320_u32 << 20).to_le_bytes());
    std::io::Write::write_all(&mut encoder, &data).unwrap();
    for _ in 0..320 {
        std::io::Write::write_all(&mut encoder, &vec![0; 1 << 20]).unwrap();
    }
    let bomb = encoder.finish().unwrap();
    let stored = store(&flat(root.path()), "1.2.3", DEFLATED, &bomb).unwrap();
    assert!(!stored.verified);
    assert_eq!(data_of(&fs::read(stored.path).unwrap()), bomb);
}

#[test]
fn an_unknown_transfer_syntax_is_opaque_bytes() {
    let root = tempfile::tempdir().unwrap();
    let folder = flat(root.path());
    let stored = store(&folder, "1.2.3", PRIVATE, b"anything").unwrap();
    assert!(!stored.verified);
    assert_eq!(data_of(&fs::read(stored.path).unwrap()), b"anything");
    assert_eq!(
        store(&folder, "1.2.4", PRIVATE, b"").unwrap_err().status,
        0xc000
    );
}

#[test]
fn what_a_crash_left_is_swept_unless_somebody_is_still_writing() {
    let root = tempfile::tempdir().unwrap();
    let stale = root.path().join(".dimse-0123456789abcdef-7.part");
    fs::write(&stale, b"half").unwrap();
    fs::write(root.path().join(".dimse-notes"), b"mine").unwrap();
    let first = flat(root.path());
    assert_eq!(
        tree(root.path()).into_keys().collect::<Vec<_>>(),
        [".dimse-notes"]
    );

    let data = Bytes::from(instance("1.2.3", b"px"));
    let mut writer = Writer::new(first, request("1.2.3", EXPLICIT)).unwrap();
    writer.write(&[data.slice(..20)]).unwrap();
    let _second = flat(root.path());
    writer.write(&[data.slice(20..)]).unwrap();
    writer.commit().unwrap();
    assert!(root.path().join("1.2.3.dcm").exists());
}

#[test]
fn a_folder_that_cannot_be_used_keeps_the_systems_error() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("file");
    fs::write(&file, b"").unwrap();
    for path in [file.clone(), file.join("below")] {
        const NOT_A_DIRECTORY: i32 = 20;
        let (mode, layout) = (Durability::Fast, Layout::Flat);
        let error = Folder::open(&path, mode, layout, Duplicates::KeepBoth, Arc::new(Disk));
        assert_eq!(error.unwrap_err().raw_os_error(), Some(NOT_A_DIRECTORY));
    }
    let faulty = Arc::new(Faulty::default());
    faulty.arm(4, false, 30); // EROFS when the trial file is created
    let (mode, layout) = (Durability::Fast, Layout::Flat);
    let error = Folder::open(
        root.path(),
        mode,
        layout,
        Duplicates::KeepBoth,
        faulty.clone(),
    );
    assert_eq!(
        error.unwrap_err().kind(),
        std::io::ErrorKind::ReadOnlyFilesystem
    );
    assert_eq!(faulty.log().last(), Some(&"create"));
}

#[test]
fn a_missing_folder_is_made_with_its_parents() {
    let root = tempfile::tempdir().unwrap();
    let deep = root.path().join("a/b/c");
    let folder = folder(&deep, Durability::Durable, Layout::Flat, Arc::new(Disk));
    store(&folder, "1.2.3", EXPLICIT, &instance("1.2.3", b"px")).unwrap();
    assert!(deep.join("1.2.3.dcm").exists());
}

#[test]
fn a_folder_that_is_removed_and_comes_back_is_found_again() {
    let root = tempfile::tempdir().unwrap();
    let inside = root.path().join("inside");
    let folder = flat(&inside);
    let data = instance("1.2.3", b"px");
    fs::remove_dir(&inside).unwrap();
    assert_eq!(
        store(&folder, "1.2.3", EXPLICIT, &data).unwrap_err().status,
        0xa700
    );
    assert!(!inside.exists());
    fs::create_dir(&inside).unwrap();
    store(&folder, "1.2.3", EXPLICIT, &data).unwrap();
}

#[test]
fn a_spooled_instance_is_a_whole_file_until_it_is_let_go() {
    let root = tempfile::tempdir().unwrap();
    let folder = flat(root.path());
    let data = Bytes::from(instance("1.2.3", b"px"));
    let mut writer = Writer::new(Arc::clone(&folder), request("1.2.3", EXPLICIT)).unwrap();
    writer.write(std::slice::from_ref(&data)).unwrap();
    let spooled = writer.finish_spooled().unwrap();
    let file = fs::read(spooled.path()).unwrap();
    assert_eq!(file, part10("1.2.3", EXPLICIT, &data));
    assert_eq!(spooled.data_offset + spooled.data_length, file.len() as u64);
    assert!(spooled.verified);
    drop(spooled);
    assert!(tree(root.path()).is_empty());

    let mut writer = Writer::new(folder, request("1.2.4", EXPLICIT)).unwrap();
    writer.write(&[data]).unwrap();
    assert_eq!(writer.finish_spooled().unwrap_err().status, 0xa900);
    assert!(tree(root.path()).is_empty());
}

#[test]
fn a_class_that_is_no_uid_is_not_supported() {
    let root = tempfile::tempdir().unwrap();
    let mut odd = request("1.2.3", EXPLICIT);
    odd.sop_class = uid("1.2.x");
    assert_eq!(
        Writer::new(flat(root.path()), odd).unwrap_err().status,
        0x0122
    );
}
