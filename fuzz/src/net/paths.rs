//! UIDs of a peer become names of files.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arbitrary::{Arbitrary, Unstructured};
use bytes::Bytes;
use dimse_net::files::Disk;
use dimse_net::receive::{
    Duplicates, Durability, Folder, Layout, StoreRequest, Writer, store_whole,
};
use dimse_proto::{AeTitle, Uid};
use tempfile::TempDir;

#[derive(Arbitrary, Debug)]
struct Script {
    way: u8,
    class: Name,
    instance: Name,
    study: Option<Name>,
    series: Option<Name>,
    /// What the data set says instead.
    other_class: Option<Name>,
    other_instance: Option<Name>,
    title: [u8; 16],
    /// A symbolic link of this name is there already, and leads out.
    planted: Option<Name>,
}

#[derive(Arbitrary, Clone, Debug)]
enum Name {
    Good(u16),
    Long(u8),
    Bad(u8),
    Any(Vec<u8>),
}

const BAD: [&[u8]; 18] = [
    b"",
    b".",
    b"..",
    b"../x",
    b"../../x",
    b"/tmp/x",
    b"1/2",
    b"1.2/../../3",
    b"1..2",
    b".1",
    b"1.",
    b"1\0.2",
    b"1.2\n",
    b"1.2 3",
    b"con",
    b"1:2",
    b"1\\2",
    b"\xc3\xa9",
];

impl Name {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Good(number) => format!("1.2.{number}").into_bytes(),
            Self::Long(length) => vec![b'1'; usize::from(*length)],
            Self::Bad(index) => BAD[usize::from(*index) % BAD.len()].to_vec(),
            Self::Any(bytes) => bytes.clone(),
        }
    }

    fn uid(&self) -> Uid {
        Uid::from_wire(self.bytes().into())
    }
}

/// Where a store may write, and where it must not.
struct Ground {
    outside: TempDir,
    root: PathBuf,
}

impl Ground {
    fn new() -> Self {
        // In memory where there is such a folder.
        let outside = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        let Ok(outside) = outside else {
            panic!("a temporary folder")
        };
        let root = outside.path().join("root");
        Self { outside, root }
    }

    fn folder(&self, layout: Layout) -> Arc<Folder> {
        let disk = Arc::new(Disk);
        let folder = Folder::open(
            &self.root,
            Durability::Fast,
            layout,
            Duplicates::KeepBoth,
            disk,
        );
        let Ok(folder) = folder else {
            panic!("a folder to store in")
        };
        Arc::new(folder.with_reserve(0))
    }

    /// All that is there, but the planted link, by its path below `outside`.
    fn files(&self) -> Vec<PathBuf> {
        let mut found = vec![];
        let mut folders = vec![self.outside.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                match entry.file_type() {
                    Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                    Ok(kind) if kind.is_file() => found.push(entry.path()),
                    _ => {}
                }
            }
        }
        found
    }
}

/// The UIDs of a C-STORE, in the command and in the data set.
pub fn uid_path(data: &[u8]) {
    let Ok(script) = Script::arbitrary_take_rest(Unstructured::new(data)) else {
        return;
    };
    let ground = Ground::new();
    let layout = if script.way & 1 == 0 {
        Layout::Study
    } else {
        Layout::Flat
    };
    let folder = ground.folder(layout);
    let planted = script
        .planted
        .as_ref()
        .is_some_and(|name| plant(&ground, name));
    let request = StoreRequest {
        sop_class: script.class.uid(),
        sop_instance: script.instance.uid(),
        transfer_syntax: Uid::from_static("1.2.840.10008.1.2"),
        calling_ae: AeTitle::from_wire(&script.title),
        called_ae: AeTitle::from_wire(b"STORE"),
    };
    let bytes = script.data_set();
    if script.way & 2 != 0 {
        spooled(folder, request, &bytes, &ground.root);
        assert!(ground.files().is_empty(), "left behind");
        return;
    }
    match store_whole(folder, request.clone(), &[bytes]) {
        Ok(stored) => {
            assert!(script.is_good(layout));
            let name = format!("{}.dcm", request.sop_instance);
            let place = match (layout, &script.study, &script.series) {
                (Layout::Study, Some(study), Some(series)) => ground
                    .root
                    .join(study.uid().to_text())
                    .join(series.uid().to_text()),
                _ => ground.root.clone(),
            };
            assert_eq!(stored.path, place.join(name));
            assert_eq!(ground.files(), [stored.path]);
        }
        Err(refusal) => {
            // A link in the way is a good reason.
            assert!(planted || !script.is_good(layout), "{refusal:?}");
            let comment = refusal.comment.as_bytes();
            assert!(comment.len() <= 64 && comment.iter().all(|b| (b' '..=b'~').contains(b)));
            assert!(
                matches!(
                    refusal.status,
                    0x0117 | 0x0122 | 0xa700..=0xa702 | 0xa900 | 0xc000
                ),
                "{refusal:?}"
            );
            assert!(ground.files().is_empty(), "left behind");
        }
    }
}

/// A spooled instance is in the folder while somebody holds it, and then no more.
fn spooled(folder: Arc<Folder>, request: StoreRequest, bytes: &Bytes, root: &Path) {
    let Ok(mut writer) = Writer::new(folder, request) else {
        return;
    };
    if writer.write(std::slice::from_ref(bytes)).is_ok()
        && let Ok(spooled) = writer.finish_spooled()
    {
        assert_eq!(spooled.path().parent(), Some(root));
        assert!(spooled.open_data().is_ok());
    }
}

fn plant(ground: &Ground, name: &Name) -> bool {
    let elsewhere = ground.outside.path().join("elsewhere");
    let made = fs::create_dir_all(elsewhere.join("1.2.0"));
    let text = name.uid();
    made.is_ok()
        && text.is_valid()
        && [text.to_text(), format!("{text}.dcm")]
            .iter()
            .all(|name| symlink(&elsewhere, ground.root.join(name)).is_ok())
}

impl Script {
    /// Implicit VR Little Endian.
    fn data_set(&self) -> Bytes {
        let elements = [
            (
                8,
                0x16,
                Some(self.other_class.as_ref().unwrap_or(&self.class)),
            ),
            (
                8,
                0x18,
                Some(self.other_instance.as_ref().unwrap_or(&self.instance)),
            ),
            (0x20, 0x0d, self.study.as_ref()),
            (0x20, 0x0e, self.series.as_ref()),
        ];
        let mut bytes = vec![];
        for (group, number, name) in elements {
            let Some(name) = name else { continue };
            let mut value = name.bytes();
            value.resize(value.len().next_multiple_of(2), 0);
            bytes.extend([group, 0, number, 0]);
            bytes.extend((value.len() as u32).to_le_bytes());
            bytes.extend(value);
        }
        bytes.into()
    }

    fn is_good(&self, layout: Layout) -> bool {
        let same = |other: &Option<Name>, name: &Name| {
            other.as_ref().is_none_or(|other| other.uid() == name.uid())
        };
        let valid = |name: &Option<Name>| name.as_ref().is_some_and(|name| name.uid().is_valid());
        self.class.uid().is_valid()
            && self.instance.uid().is_valid()
            && same(&self.other_class, &self.class)
            && same(&self.other_instance, &self.instance)
            && (layout == Layout::Flat || valid(&self.study) && valid(&self.series))
    }
}
