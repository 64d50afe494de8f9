//! Data sets made by hand, and files that fail on demand.
#![allow(dead_code, unreachable_pub, missing_docs)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing
)]
#![allow(clippy::cast_possible_truncation, clippy::missing_errors_doc)]

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, IoSlice, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};

use bytes::Bytes;
use dimse_net::files::{Disk, Files};
use dimse_net::receive::{
    Duplicates, Durability, Folder, Layout, Refusal, StoreRequest, Stored, store_whole,
};
use dimse_proto::{AeTitle, Uid};

pub const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
pub const EXPLICIT: &str = "1.2.840.10008.1.2.1";
pub const IMPLICIT: &str = "1.2.840.10008.1.2";
pub const DEFLATED: &str = "1.2.840.10008.1.2.1.99";
pub const PRIVATE: &str = "1.3.6.1.4.1.55555.1.2";
pub const STUDY: &str = "1.2.3.1";
pub const SERIES: &str = "1.2.3.2";

/// Explicit VR Little Endian, with a 16-bit length unless the VR is OB.
pub fn element(group: u16, number: u16, vr: &str, value: &[u8]) -> Vec<u8> {
    let mut padded = value.to_vec();
    if padded.len() % 2 == 1 {
        padded.push(0);
    }
    let mut out = Vec::new();
    out.extend_from_slice(&group.to_le_bytes());
    out.extend_from_slice(&number.to_le_bytes());
    out.extend_from_slice(vr.as_bytes());
    if vr == "OB" {
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(&(padded.len() as u32).to_le_bytes());
    } else {
        out.extend_from_slice(&(padded.len() as u16).to_le_bytes());
    }
    out.extend_from_slice(&padded);
    out
}

/// A CT image with this instance UID and these pixels.
pub fn instance(uid: &str, pixels: &[u8]) -> Vec<u8> {
    [
        element(0x0008, 0x0016, "UI", CT.as_bytes()),
        element(0x0008, 0x0018, "UI", uid.as_bytes()),
        element(0x0020, 0x000d, "UI", STUDY.as_bytes()),
        element(0x0020, 0x000e, "UI", SERIES.as_bytes()),
        element(0x7fe0, 0x0010, "OB", pixels),
    ]
    .concat()
}

/// A raw deflate stream (PS3.5 A.5).
pub fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn uid(text: &str) -> Uid {
    Uid::from_wire(Bytes::copy_from_slice(text.as_bytes()))
}

pub fn title(text: &str) -> AeTitle {
    AeTitle::from_wire(text.as_bytes())
}

pub fn request(instance: &str, transfer_syntax: &str) -> StoreRequest {
    StoreRequest {
        sop_class: uid(CT),
        sop_instance: uid(instance),
        transfer_syntax: uid(transfer_syntax),
        calling_ae: title("MODALITY"),
        called_ae: title("STORE"),
    }
}

/// Stores a whole instance; a refusal must be fit for Error Comment (0000,0902).
pub fn store(
    folder: &Arc<Folder>,
    name: &str,
    syntax: &str,
    data: &[u8],
) -> Result<Stored, Refusal> {
    let data = [Bytes::copy_from_slice(data)];
    let stored = store_whole(Arc::clone(folder), request(name, syntax), &data);
    if let Err(refusal) = &stored {
        assert!(refusal.comment.len() <= 64, "{}", refusal.comment);
        assert!(
            refusal
                .comment
                .bytes()
                .all(|b| (0x20..0x7f).contains(&b) && b != b'\\')
        );
    }
    stored
}

pub fn flat(root: &Path) -> Arc<Folder> {
    folder(root, Durability::Fast, Layout::Flat, Arc::new(Disk))
}

pub fn folder(
    root: &Path,
    durability: Durability,
    layout: Layout,
    files: Arc<dyn Files>,
) -> Arc<Folder> {
    Arc::new(Folder::open(root, durability, layout, Duplicates::KeepBoth, files).unwrap())
}

/// A file as `header` and data set.
pub fn part10(instance: &str, transfer_syntax: &str, data: &[u8]) -> Vec<u8> {
    let request = request(instance, transfer_syntax);
    let mut file = dimse_net::files::part10::header(
        &request.sop_class,
        &request.sop_instance,
        &request.transfer_syntax,
        request.calling_ae,
        request.called_ae,
    );
    file.extend_from_slice(data);
    file
}

/// The data set of a stored file.
pub fn data_of(file: &[u8]) -> Vec<u8> {
    let meta = dimse_net::files::part10::Meta::parse(Bytes::copy_from_slice(file)).unwrap();
    file[meta.data_offset..].to_vec()
}

/// Everything under a folder: files with their contents, links as `-> target`, folders as `/`.
pub fn tree(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let path = entry.path();
            let name = path
                .strip_prefix(root)
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned();
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                found.insert(name, b"/".to_vec());
                folders.push(path);
            } else if kind.is_symlink() {
                let target = fs::read_link(path).unwrap();
                found.insert(name, format!("-> {}", target.display()).into_bytes());
            } else {
                found.insert(name, fs::read(path).unwrap());
            }
        }
    }
    found
}

/// Operations to fail, counted from the moment it is armed.
#[derive(Debug, Default)]
struct Plan {
    /// Operations still to succeed before the fault; `None` when not armed.
    countdown: Option<usize>,
    persistent: bool,
    /// `None` panics.
    errno: Option<i32>,
    fired: bool,
    log: Vec<&'static str>,
    shortest_writes: bool,
    held: Option<&'static str>,
    free: Option<u64>,
}

/// The disk, with an order book: the Nth operation fails, once or from then on.
#[derive(Debug, Default)]
pub struct Faulty(Mutex<Plan>, Condvar);

impl Faulty {
    pub fn arm(&self, succeed: usize, persistent: bool, errno: i32) {
        *self.0.lock().unwrap() = Plan {
            countdown: Some(succeed),
            persistent,
            errno: Some(errno),
            ..Plan::default()
        };
    }

    /// The operation after so many panics, once.
    pub fn arm_panic(&self, succeed: usize) {
        *self.0.lock().unwrap() = Plan {
            countdown: Some(succeed),
            ..Plan::default()
        };
    }

    /// Operations of this name wait until `let_go`.
    pub fn hold(&self, name: &'static str) {
        self.0.lock().unwrap().held = Some(name);
    }

    pub fn let_go(&self) {
        self.0.lock().unwrap().held = None;
        self.1.notify_all();
    }

    /// The file system has a tebibyte, and this much of it is free.
    pub fn leave_free(&self, bytes: u64) {
        self.0.lock().unwrap().free = Some(bytes);
    }

    /// Each write takes three bytes at most.
    pub fn shorten_writes(&self) {
        self.0.lock().unwrap().shortest_writes = true;
    }

    pub fn fired(&self) -> bool {
        self.0.lock().unwrap().fired
    }

    pub fn forget(&self) {
        self.0.lock().unwrap().log.clear();
    }

    pub fn log(&self) -> Vec<&'static str> {
        self.0.lock().unwrap().log.clone()
    }

    fn step(&self, name: &'static str) -> io::Result<()> {
        let mut plan = self.0.lock().unwrap();
        plan.log.push(name);
        while plan.held == Some(name) {
            plan = self.1.wait(plan).unwrap();
        }
        match &mut plan.countdown {
            None => Ok(()),
            Some(0) => {
                plan.fired = true;
                let error = plan.errno.map(io::Error::from_raw_os_error);
                if !plan.persistent {
                    plan.countdown = None;
                }
                drop(plan);
                Err(error.expect("a panic on demand"))
            }
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }
}

impl Files for Faulty {
    fn open_root(&self, path: &Path) -> io::Result<OwnedFd> {
        self.step("open_root").and_then(|()| Disk.open_root(path))
    }
    fn make_private(&self, path: &Path) -> io::Result<OwnedFd> {
        self.step("make_private")
            .and_then(|()| Disk.make_private(path))
    }
    fn open_folder(&self, folder: &OwnedFd, name: &OsStr) -> io::Result<OwnedFd> {
        self.step("open_folder")
            .and_then(|()| Disk.open_folder(folder, name))
    }
    fn make_folder(&self, folder: &OwnedFd, name: &OsStr) -> io::Result<()> {
        self.step("make_folder")
            .and_then(|()| Disk.make_folder(folder, name))
    }
    fn remove_folder(&self, folder: &OwnedFd, name: &OsStr) -> io::Result<()> {
        self.step("remove_folder")
            .and_then(|()| Disk.remove_folder(folder, name))
    }
    fn lock_alone(&self, folder: &OwnedFd) -> io::Result<bool> {
        self.step("lock_alone")
            .and_then(|()| Disk.lock_alone(folder))
    }
    fn lock_shared(&self, folder: &OwnedFd) -> io::Result<()> {
        self.step("lock_shared")
            .and_then(|()| Disk.lock_shared(folder))
    }
    fn list(&self, folder: &OwnedFd) -> io::Result<Vec<OsString>> {
        self.step("list").and_then(|()| Disk.list(folder))
    }
    fn create(&self, folder: &OwnedFd, name: &OsStr) -> io::Result<OwnedFd> {
        self.step("create").and_then(|()| Disk.create(folder, name))
    }
    fn open(&self, folder: &OwnedFd, name: &OsStr) -> io::Result<OwnedFd> {
        self.step("open").and_then(|()| Disk.open(folder, name))
    }
    fn identity(&self, folder: &OwnedFd) -> io::Result<(u64, u64)> {
        Disk.identity(folder) // asks the kernel, not the disk
    }
    fn space(&self, folder: &OwnedFd) -> io::Result<(u64, u64)> {
        let free = self.0.lock().unwrap().free;
        free.map_or_else(|| Disk.space(folder), |free| Ok((free, 1 << 40)))
    }
    fn size(&self, file: &OwnedFd) -> io::Result<u64> {
        self.step("size").and_then(|()| Disk.size(file))
    }
    fn read_at(&self, file: &OwnedFd, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.step("read_at")
            .and_then(|()| Disk.read_at(file, buffer, offset))
    }
    fn write(&self, file: &OwnedFd, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.step("write")?;
        if self.0.lock().unwrap().shortest_writes {
            let some = &slices[0][..slices[0].len().min(3)];
            return Disk.write(file, &[IoSlice::new(some)]);
        }
        Disk.write(file, slices)
    }
    fn sync(&self, file: &OwnedFd) -> io::Result<()> {
        self.step("sync").and_then(|()| Disk.sync(file))
    }
    fn sync_folder(&self, folder: &OwnedFd) -> io::Result<()> {
        self.step("sync_folder")
            .and_then(|()| Disk.sync_folder(folder))
    }
    fn publish(&self, from: (&OwnedFd, &OsStr), to: (&OwnedFd, &OsStr)) -> io::Result<()> {
        self.step("publish").and_then(|()| Disk.publish(from, to))
    }
    fn replace(&self, from: (&OwnedFd, &OsStr), to: (&OwnedFd, &OsStr)) -> io::Result<()> {
        self.step("replace").and_then(|()| Disk.replace(from, to))
    }
    fn link(&self, folder: &OwnedFd, from: &OsStr, to: &OsStr) -> io::Result<()> {
        self.step("link").and_then(|()| Disk.link(folder, from, to))
    }
    fn remove(&self, folder: &OwnedFd, name: &OsStr) -> io::Result<()> {
        self.step("remove").and_then(|()| Disk.remove(folder, name))
    }
}
