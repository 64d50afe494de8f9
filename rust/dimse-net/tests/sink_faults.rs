//! Every file operation of a store fails in turn, once and from then on (robustness 4.2 G1-G5, 4.3 V4, V5).
//!
//! Failing from then on is also what a process that is killed at that point leaves behind.
#![allow(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing
)]

mod common;

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use common::{EXPLICIT, Faulty, SERIES, STUDY, data_of, flat, folder, instance, request, tree};
use dimse_net::files::Disk;
use dimse_net::receive::{
    Duplicates, Durability, Folder, Layout, Refusal, Stored, Writer, store_whole,
};

const EIO: i32 = 5;
const EMFILE: i32 = 24;
const EFBIG: i32 = 27;
const ENOSPC: i32 = 28;
const EROFS: i32 = 30;
const EACCES: i32 = 13;
const EDQUOT: i32 = 122;

/// What the system says, and what the sender is told.
const ERRORS: [(i32, u16); 7] = [
    (ENOSPC, 0xa700),
    (EDQUOT, 0xa700),
    (EROFS, 0xa700),
    (EACCES, 0xa700),
    (EMFILE, 0xa700),
    (EFBIG, 0xa700),
    (EIO, 0xa701),
];

#[derive(Clone, Copy, Debug)]
enum Scenario {
    New,
    Identical,
    Different,
}

#[derive(Clone, Copy, Debug)]
struct Case {
    scenario: Scenario,
    durability: Durability,
    layout: Layout,
    persistent: bool,
    errno: i32,
    status: u16,
}

/// In memory where there is such a folder: thousands of stores are synced here, and none has to last.
fn tempdir() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for scenario in [Scenario::New, Scenario::Identical, Scenario::Different] {
        for durability in [Durability::Durable, Durability::FileOnly, Durability::Fast] {
            for layout in [Layout::Flat, Layout::Study] {
                for persistent in [false, true] {
                    for (errno, status) in ERRORS {
                        cases.push(Case {
                            scenario,
                            durability,
                            layout,
                            persistent,
                            errno,
                            status,
                        });
                    }
                }
            }
        }
    }
    cases
}

fn old() -> Vec<u8> {
    instance("1.2.3", &[1; 3000])
}

fn new(scenario: Scenario) -> Vec<u8> {
    match scenario {
        Scenario::Different => instance("1.2.3", &[2; 3000]),
        Scenario::New | Scenario::Identical => old(),
    }
}

/// The data sets under names that are not hidden.
fn visible(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = tree(root);
    files.retain(|name, content| !name.starts_with('.') && content != b"/");
    files
        .into_iter()
        .map(|(name, file)| (name, data_of(&file)))
        .collect()
}

fn name(layout: Layout) -> String {
    match layout {
        Layout::Flat => "1.2.3.dcm".into(),
        Layout::Study => format!("{STUDY}/{SERIES}/1.2.3.dcm"),
    }
}

/// Stores in two writes while operation number `nth` fails. `None` when there are not that many.
fn store_with_fault(root: &Path, case: Case, nth: usize) -> Option<Result<Stored, Refusal>> {
    if !matches!(case.scenario, Scenario::New) {
        let folder = folder(root, case.durability, case.layout, Arc::new(Disk));
        store_whole(folder, request("1.2.3", EXPLICIT), &[Bytes::from(old())]).unwrap();
    }
    let faulty = Arc::new(Faulty::default());
    let folder = folder(root, case.durability, case.layout, faulty.clone());
    faulty.arm(nth, case.persistent, case.errno);
    let data = Bytes::from(new(case.scenario));
    let mut writer = Writer::new(folder, request("1.2.3", EXPLICIT)).unwrap();
    let result = writer
        .write(&[data.slice(..1000)])
        .and_then(|()| writer.write(&[data.slice(1000..)]))
        .and_then(|()| writer.commit());
    let syncs = faulty.log().iter().filter(|name| **name == "sync").count();
    if result.is_err() && !matches!(case.scenario, Scenario::Identical) {
        assert!(syncs <= 1, "a failed sync is never tried again");
    }
    faulty.fired().then_some(result)
}

#[test]
fn whatever_fails_success_means_stored_and_failure_means_untouched() {
    for case in cases() {
        let mut faults = 0;
        for nth in 0.. {
            let root = tempdir();
            let Some(result) = store_with_fault(root.path(), case, nth) else {
                break;
            };
            faults += 1;
            let what = format!("{case:?}, operation {nth}");
            let visible = visible(root.path());
            let current = visible.get(&name(case.layout));
            for data in visible.values() {
                assert!(
                    *data == old() || *data == new(case.scenario),
                    "{what}: half a file"
                );
            }
            if !matches!(case.scenario, Scenario::New) {
                assert!(
                    visible.values().any(|data| *data == old()),
                    "{what}: old copy lost"
                );
            }
            match result {
                Ok(stored) => {
                    assert_eq!(current, Some(&new(case.scenario)), "{what}");
                    assert_eq!(
                        stored.identical,
                        matches!(case.scenario, Scenario::Identical)
                    );
                }
                Err(refusal) => {
                    assert_eq!(refusal.status, case.status, "{what}: {refusal}");
                    assert!(refusal.comment.len() <= 64);
                    if !case.persistent {
                        let before = match case.scenario {
                            Scenario::New => BTreeMap::new(),
                            _ => BTreeMap::from([(name(case.layout), old())]),
                        };
                        assert_eq!(visible, before, "{what}");
                    }
                }
            }

            // After the fault, or the crash: sweeping leaves no temporary file, and the sender's next try works.
            let swept = folder(root.path(), case.durability, case.layout, Arc::new(Disk));
            assert!(
                tree(root.path()).keys().all(|name| !name.starts_with('.')),
                "{what}"
            );
            let data = [Bytes::from(new(case.scenario))];
            let again = store_whole(swept, request("1.2.3", EXPLICIT), &data).unwrap();
            assert_eq!(
                data_of(&std::fs::read(again.path).unwrap()),
                new(case.scenario)
            );
        }
        assert!(faults >= 4, "{case:?}: only {faults} operations");
    }
}

#[test]
fn a_fault_that_passes_leaves_no_trace_at_all() {
    for case in cases().into_iter().filter(|case| !case.persistent) {
        for nth in 0.. {
            let root = tempdir();
            let before = if matches!(case.scenario, Scenario::New) {
                BTreeMap::new()
            } else {
                let folder = folder(root.path(), case.durability, case.layout, Arc::new(Disk));
                store_whole(folder, request("1.2.3", EXPLICIT), &[Bytes::from(old())]).unwrap();
                tree(root.path())
            };
            match store_with_fault(root.path(), case, nth) {
                None => break,
                Some(Err(_)) => assert_eq!(tree(root.path()), before, "{case:?}, operation {nth}"),
                Some(Ok(_)) => {}
            }
        }
    }
}

#[test]
fn one_folder_recovers_from_every_error_at_every_operation() {
    for (errno, status) in ERRORS {
        let root = tempdir();
        let faulty = Arc::new(Faulty::default());
        let folder = folder(
            root.path(),
            Durability::Durable,
            Layout::Flat,
            faulty.clone(),
        );
        let data = [Bytes::from(old())];
        let mut faults = 0;
        loop {
            faulty.arm(faults, false, errno);
            let stored = store_whole(folder.clone(), request("1.2.3", EXPLICIT), &data);
            if !faulty.fired() {
                stored.unwrap();
                break;
            }
            faults += 1;
            let refusal = stored.unwrap_err();
            assert_eq!(refusal.status, status, "{refusal}");
            assert!(tree(root.path()).is_empty(), "errno {errno}, {faults}");
        }
        assert_eq!(faults, 5, "create, write, sync, publish, sync_folder");
    }
}

#[test]
fn a_sync_that_failed_is_final() {
    let root = tempdir();
    let faulty = Arc::new(Faulty::default());
    let folder = folder(
        root.path(),
        Durability::Durable,
        Layout::Flat,
        faulty.clone(),
    );
    faulty.arm(2, false, EIO);
    let data = [Bytes::from(old())];
    let refusal = store_whole(folder, request("1.2.3", EXPLICIT), &data).unwrap_err();
    assert_eq!(refusal.status, 0xa701);
    assert_eq!(faulty.log(), ["create", "write", "sync", "remove"]);
}

#[test]
fn a_stored_copy_whose_sync_failed_gives_way_to_the_same_bytes() {
    let data = [Bytes::from(old())];
    let root = tempdir();
    let stored = store_whole(flat(root.path()), request("1.2.3", EXPLICIT), &data).unwrap();
    let inode = |path: &Path| std::fs::metadata(path).unwrap().ino();
    let doubtful = inode(&stored.path);

    let faulty = Arc::new(Faulty::default());
    let (mode, layout) = (Durability::Durable, Layout::Flat);
    let folder = folder(root.path(), mode, layout, faulty.clone());
    faulty.forget();
    let untouched = store_whole(folder.clone(), request("1.2.3", EXPLICIT), &data).unwrap();
    assert_eq!(inode(&untouched.path), doubtful);
    let nth = faulty.log().iter().rposition(|name| *name == "sync");

    faulty.arm(nth.unwrap(), false, EIO);
    let stored = store_whole(folder, request("1.2.3", EXPLICIT), &data).unwrap();
    assert!(faulty.fired() && stored.identical && stored.kept.is_none());
    assert_ne!(inode(&stored.path), doubtful);
    assert_eq!(
        visible(root.path()),
        BTreeMap::from([(name(layout), old())])
    );
    let log = faulty.log();
    assert_eq!(log[log.len() - 3..], ["sync", "replace", "sync_folder"]);
}

#[test]
fn a_disk_at_its_reserve_takes_nothing_until_there_is_room() {
    let data = [Bytes::from(old())];
    for (reserve, least) in [(None, 1 << 30), (Some(0), 0), (Some(5000), 5000)] {
        let root = tempdir();
        let faulty = Arc::new(Faulty::default());
        let (mode, layout) = (Durability::Durable, Layout::Flat);
        let made = Folder::open(
            root.path(),
            mode,
            layout,
            Duplicates::KeepBoth,
            faulty.clone(),
        );
        let made = made.unwrap();
        let folder = Arc::new(match reserve {
            Some(bytes) => made.with_reserve(bytes),
            None => made,
        });
        faulty.forget();
        if let Some(less) = u64::checked_sub(least, 1) {
            faulty.leave_free(less);
            let mut writer = Writer::new(folder.clone(), request("1.2.3", EXPLICIT)).unwrap();
            let refusal = writer.write(&[data[0].slice(..1000)]).unwrap_err();
            assert_eq!(
                (refusal.status, &*refusal.comment),
                (0xa700, "no space left")
            );
            assert!(faulty.log().is_empty(), "refused before a file was touched");
        }
        faulty.leave_free(least);
        store_whole(folder, request("1.2.3", EXPLICIT), &data).unwrap();
    }
}
