//! An instance that is there already: nothing is changed, or nothing is lost (robustness Decision 3, E19, E21).
#![allow(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing
)]

mod common;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Barrier};
use std::thread;

use common::{EXPLICIT, Faulty, data_of, flat, folder, instance, part10, store, tree};
use dimse_net::files::Disk;
use dimse_net::receive::{Duplicates, Durability, Folder, Layout, Stored};

#[test]
fn identical_bytes_sent_again_change_nothing() {
    for durability in [Durability::Durable, Durability::Fast] {
        let root = tempfile::tempdir().unwrap();
        let folder = folder(root.path(), durability, Layout::Flat, Arc::new(Disk));
        let data = instance("1.2.3", &vec![5; 300_000]);
        let first = store(&folder, "1.2.3", EXPLICIT, &data).unwrap();
        let inode = fs::metadata(&first.path).unwrap().ino();
        let again = store(&folder, "1.2.3", EXPLICIT, &data).unwrap();
        assert!(again.identical && again.kept.is_none());
        assert_eq!(again.path, first.path);
        assert_eq!(fs::metadata(&first.path).unwrap().ino(), inode);
        assert_eq!(tree(root.path()).len(), 1);
    }
}

#[test]
fn identical_bytes_are_as_durable_as_the_mode_promises() {
    let root = tempfile::tempdir().unwrap();
    let data = instance("1.2.3", b"px");
    store(&flat(root.path()), "1.2.3", EXPLICIT, &data).unwrap();
    let faulty = Arc::new(Faulty::default());
    let folder = folder(
        root.path(),
        Durability::Durable,
        Layout::Flat,
        faulty.clone(),
    );
    faulty.forget();
    assert!(store(&folder, "1.2.3", EXPLICIT, &data).unwrap().identical);
    let log = faulty.log();
    assert_eq!(log[log.len() - 3..], ["sync", "sync_folder", "remove"]);
}

#[test]
fn other_bytes_become_current_and_every_earlier_version_is_kept() {
    let root = tempfile::tempdir().unwrap();
    let folder = flat(root.path());
    let versions: Vec<_> = (0..4_u8).map(|n| instance("1.2.3", &[n; 99])).collect();
    for (number, version) in versions.iter().enumerate() {
        let stored = store(&folder, "1.2.3", EXPLICIT, version).unwrap();
        let kept = stored.kept.map(|path| path.file_name().unwrap().to_owned());
        let expected = (number > 0).then(|| format!("1.2.3.dcm~{number}~").into());
        assert_eq!(kept, expected);
    }
    let tree = tree(root.path());
    assert_eq!(tree.len(), 4);
    assert_eq!(data_of(&tree["1.2.3.dcm"]), versions[3]);
    assert_eq!(data_of(&tree["1.2.3.dcm~1~"]), versions[0]);
    assert_eq!(data_of(&tree["1.2.3.dcm~3~"]), versions[2]);
}

#[test]
fn the_same_bytes_in_another_transfer_syntax_are_another_version() {
    let root = tempfile::tempdir().unwrap();
    let folder = flat(root.path());
    let data = instance("1.2.3", b"px");
    store(&folder, "1.2.3", EXPLICIT, &data).unwrap();
    let jpeg = store(&folder, "1.2.3", "1.2.840.10008.1.2.4.70", &data).unwrap();
    assert!(jpeg.kept.is_some());
}

#[test]
fn a_damaged_earlier_copy_is_superseded_and_kept() {
    let data = instance("1.2.3", b"pixels");
    let whole = part10("1.2.3", EXPLICIT, &data);
    let mut flipped = whole.clone();
    *flipped.last_mut().unwrap() ^= 1;
    for damaged in [
        b"".to_vec(),
        whole[..200].to_vec(),
        flipped,
        vec![0; 100_000],
    ] {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("1.2.3.dcm"), &damaged).unwrap();
        let stored = store(&flat(root.path()), "1.2.3", EXPLICIT, &data).unwrap();
        assert_eq!(fs::read(stored.path).unwrap(), whole);
        assert_eq!(fs::read(stored.kept.unwrap()).unwrap(), damaged);
    }
}

#[test]
fn reject_refuses_other_bytes_and_still_accepts_the_same() {
    let root = tempfile::tempdir().unwrap();
    let (mode, layout) = (Durability::Durable, Layout::Flat);
    let folder = Folder::open(
        root.path(),
        mode,
        layout,
        Duplicates::Reject,
        Arc::new(Disk),
    );
    let folder = Arc::new(folder.unwrap());
    let data = instance("1.2.3", b"one");
    store(&folder, "1.2.3", EXPLICIT, &data).unwrap();
    let before = tree(root.path());
    let refusal = store(&folder, "1.2.3", EXPLICIT, &instance("1.2.3", b"two")).unwrap_err();
    assert_eq!(refusal.status, 0xc111);
    assert!(store(&folder, "1.2.3", EXPLICIT, &data).unwrap().identical);
    assert_eq!(tree(root.path()), before);
}

fn store_at_once(folders: &[Arc<Folder>], contents: &[Vec<u8>]) -> Vec<Stored> {
    let barrier = Barrier::new(contents.len());
    thread::scope(|scope| {
        let threads: Vec<_> = contents
            .iter()
            .zip(folders.iter().cycle())
            .map(|(data, folder)| {
                scope.spawn(|| {
                    barrier.wait();
                    store(folder, "1.2.3", EXPLICIT, data).unwrap()
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    })
}

#[test]
fn one_instance_from_many_at_once_is_stored_once() {
    for layout in [Layout::Flat, Layout::Study] {
        let root = tempfile::tempdir().unwrap();
        let folders: Vec<_> = (0..2)
            .map(|_| folder(root.path(), Durability::Durable, layout, Arc::new(Disk)))
            .collect();
        let stored = store_at_once(&folders, &vec![instance("1.2.3", &[1; 10_000]); 16]);
        assert_eq!(stored.iter().filter(|stored| !stored.identical).count(), 1);
        let files = tree(root.path());
        assert_eq!(
            files.values().filter(|content| **content != b"/").count(),
            1
        );
    }
}

#[test]
fn many_versions_at_once_are_all_kept() {
    let root = tempfile::tempdir().unwrap();
    let folders = [flat(root.path()), flat(root.path())];
    let versions: Vec<_> = (0..16_u8).map(|n| instance("1.2.3", &[n; 999])).collect();
    store_at_once(&folders, &versions);
    let mut found: Vec<_> = tree(root.path())
        .values()
        .map(|file| data_of(file))
        .collect();
    found.sort();
    assert_eq!(found, versions);
}
