//! An instance that is taken back leaves what was there before, whatever fails meanwhile and whoever stores beside it.
#![allow(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing
)]

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use bytes::Bytes;
use common::{
    DEFLATED, EXPLICIT, Faulty, SERIES, STUDY, deflate, element, flat, folder, instance, request,
    tree,
};
use dimse_net::files::Disk;
use dimse_net::files::collected::{DecodeLimits, Reading};
use dimse_net::receive::{
    Duplicates, Durability, Folder, Layout, Tentative, Writer, store_tentatively, store_whole,
};
use dimse_proto::dataset::{Bounds, Tag};

const EIO: i32 = 5;
const EROFS: i32 = 30;
const UID: &str = "1.2.3";

#[derive(Clone, Copy, Debug, PartialEq)]
enum Before {
    Nothing,
    TheSame,
    Another,
}

fn tempdir() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

fn data(fill: u8) -> Bytes {
    instance(UID, &[fill; 3000]).into()
}

fn tentatively(folder: &Arc<Folder>, name: &str, data: Bytes) -> Tentative {
    let request = request(name, EXPLICIT);
    let hold = folder.try_hold(&request.sop_instance).unwrap();
    store_tentatively(Arc::clone(folder), request, &[data], hold).unwrap()
}

/// What is there, and an instance that was stored over it and not decided on.
fn case(
    root: &Path,
    before: Before,
    folder: &Arc<Folder>,
) -> (BTreeMap<String, Vec<u8>>, Tentative) {
    if before != Before::Nothing {
        let fill = if before == Before::TheSame { 2 } else { 1 };
        store_whole(Arc::clone(folder), request(UID, EXPLICIT), &[data(fill)]).unwrap();
    }
    let there = tree(root);
    let tentative = tentatively(folder, UID, data(2));
    assert_eq!(tentative.stored.identical, before == Before::TheSame);
    assert_eq!(tentative.stored.kept.is_some(), before == Before::Another);
    (there, tentative)
}

fn cases() -> Vec<(Before, Durability, Layout)> {
    let mut cases = Vec::new();
    for before in [Before::Nothing, Before::TheSame, Before::Another] {
        for durability in [Durability::Durable, Durability::FileOnly, Durability::Fast] {
            for layout in [Layout::Flat, Layout::Study] {
                cases.push((before, durability, layout));
            }
        }
    }
    cases
}

#[test]
fn what_was_there_before_comes_back_and_is_synced_in_mode_durable() {
    for (before, durability, layout) in cases() {
        let root = tempdir();
        let faulty = Arc::new(Faulty::default());
        let folder = folder(root.path(), durability, layout, faulty.clone());
        let (there, tentative) = case(root.path(), before, &folder);
        faulty.forget();
        tentative.put_back().unwrap();
        assert_eq!(
            tree(root.path()),
            there,
            "{before:?} {durability:?} {layout:?}"
        );
        let moved: &[&str] = match before {
            Before::Nothing => &["open", "remove"],
            Before::TheSame => &[],
            Before::Another => &["open", "replace"],
        };
        let synced = durability == Durability::Durable && before != Before::TheSame;
        let expected: Vec<_> = moved
            .iter()
            .chain(synced.then_some(&"sync_folder"))
            .copied()
            .collect();
        let log: Vec<_> = faulty
            .log()
            .into_iter()
            .filter(|step| !step.ends_with("_folder") || *step == "sync_folder")
            .collect();
        assert_eq!(log, expected, "{before:?} {durability:?} {layout:?}");
    }
}

#[test]
fn whatever_fails_the_earlier_version_is_there_and_nothing_is_half() {
    let mut faults = 0;
    for (before, durability, layout) in cases() {
        for (errno, persistent) in [(EIO, false), (EROFS, true)] {
            for nth in 0.. {
                let root = tempdir();
                let faulty = Arc::new(Faulty::default());
                let folder = folder(root.path(), durability, layout, faulty.clone());
                let (there, tentative) = case(root.path(), before, &folder);
                faulty.arm(nth, persistent, errno);
                let put_back = tentative.put_back();
                if !faulty.fired() {
                    break;
                }
                faults += 1;
                let what = format!("{before:?} {durability:?} {layout:?} {nth}");
                let mut after = tree(root.path());
                after.retain(|_, content| content != b"/");
                for (name, content) in there.iter().filter(|(_, content)| *content != b"/") {
                    assert!(after.values().any(|found| found == content), "{what}");
                    assert!(after.contains_key(name), "{what}: it has no name");
                }
                if put_back.is_ok() && before != Before::Nothing {
                    let mut there = there.clone();
                    there.retain(|_, content| content != b"/");
                    assert_eq!(after, there, "{what}");
                }
                let again = common::folder(root.path(), durability, layout, Arc::new(Disk));
                tentatively(&again, UID, data(3));
            }
        }
    }
    assert!(faults > 60, "only {faults}");
}

#[test]
fn what_somebody_else_put_there_is_left_alone() {
    for before in [Before::Nothing, Before::Another] {
        let root = tempdir();
        let folder = flat(root.path());
        let (_, tentative) = case(root.path(), before, &folder);
        let path = tentative.stored.path.clone();
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, b"of the operator").unwrap();
        tentative.put_back().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"of the operator");

        let (_, tentative) = case(root.path(), Before::Another, &folder);
        std::fs::remove_file(tentative.stored.kept.as_ref().unwrap()).unwrap();
        tentative.put_back().unwrap();
        assert!(
            !path.exists(),
            "the earlier version is gone, so is the refused one"
        );
    }
}

#[test]
fn one_uid_has_one_undecided_instance() {
    let root = tempdir();
    let folder = flat(root.path());
    let tentative = tentatively(&folder, UID, data(1));
    assert!(folder.try_hold(&common::uid(UID)).is_none());
    assert!(folder.try_hold(&common::uid("1.2.4")).is_some());
    drop(tentative);
    assert!(folder.try_hold(&common::uid(UID)).is_some());
    assert!(root.path().join("1.2.3.dcm").exists());
}

#[test]
fn a_store_whose_series_a_refusal_removes_meanwhile_makes_it_anew() {
    let root = tempdir();
    let faulty = Arc::new(Faulty::default());
    let (mode, layout) = (Durability::Durable, Layout::Study);
    let folder = folder(root.path(), mode, layout, faulty.clone());
    let refused = tentatively(&folder, UID, data(1));
    faulty.forget();
    faulty.hold("publish");
    thread::scope(|scope| {
        let store = scope.spawn(|| {
            let data = Bytes::from(instance("1.2.4", &[2; 100]));
            tentatively(&folder, "1.2.4", data).stored.path
        });
        while !faulty.log().contains(&"publish") {
            thread::yield_now();
        }
        refused.put_back().unwrap();
        assert!(!root.path().join(STUDY).exists(), "nothing is left in it");
        faulty.let_go();
        assert!(store.join().unwrap().exists());
    });
}

#[test]
fn a_series_that_was_left_empty_is_made_anew_and_its_name_is_synced() {
    let root = tempdir();
    let faulty = Arc::new(Faulty::default());
    let (mode, layout) = (Durability::Durable, Layout::Study);
    let folder = folder(root.path(), mode, layout, faulty.clone());
    tentatively(&folder, UID, data(1)).put_back().unwrap();
    assert!(tree(root.path()).is_empty());
    faulty.forget();
    tentatively(&folder, UID, data(1));
    let syncs = faulty
        .log()
        .iter()
        .filter(|step| **step == "sync_folder")
        .count();
    assert_eq!(syncs, 3, "root, study and series");
    assert!(root.path().join(STUDY).join(SERIES).exists());
}

#[test]
fn values_and_digest_are_taken_while_it_is_stored() {
    let reading = Arc::new(Reading {
        tags: vec![
            Tag(0x0021, 0x1001),
            Tag::SOP_INSTANCE_UID,
            Tag(0x0040, 0xa730),
        ],
        limits: DecodeLimits {
            inflated: 1 << 20,
            bounds: Bounds {
                elements: 100,
                depth: 4,
            },
        },
        dictionary: Arc::default(),
    });
    let mut data = instance(UID, &[7; 3000]);
    data.truncate(data.len() - 3012);
    data.extend(element(0x0021, 0x1001, "LO", b"kept"));
    data.extend(element(0x7fe0, 0x0010, "OB", &[7; 3000]));
    for (syntax, bytes) in [(EXPLICIT, data.clone()), (DEFLATED, deflate(&data))] {
        let root = tempdir();
        let open = Folder::open(
            root.path(),
            Durability::Fast,
            Layout::Flat,
            Duplicates::KeepBoth,
            Arc::new(Disk),
        );
        let folder = Arc::new(
            open.unwrap()
                .with_collected(Arc::clone(&reading))
                .with_digest(),
        );
        let mut writer = Writer::new(folder, request(UID, syntax)).unwrap();
        for part in bytes.chunks(100) {
            writer.write(&[Bytes::copy_from_slice(part)]).unwrap();
        }
        let stored = writer.commit().unwrap();
        assert_eq!(stored.digest, Some(*blake3::hash(&bytes).as_bytes()));
        let expected = b"\x18\0\x08\0UI\x06\x001.2.3\0\x01\x10\x21\0LO\x04\0kept";
        assert_eq!(stored.collected.packed, expected);
        assert!(stored.collected.plain);
        assert_eq!(stored.series, Some(common::uid(SERIES)));
    }
}
