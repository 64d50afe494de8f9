//! From a received SOP instance to a file (PS3.7 9.1.1, PS3.10 7.1): all of it, or nothing.
//!
//! ```text
//! StoreRequest -> Writer::write ... -> Writer::commit -> Stored     the file is there, as durable as promised
//!                     |                    |
//!                     `-- Refusal <--------'                        the folder is as it was
//! ```
//! Bytes go to a hidden temporary file in the root of the folder while the data set is scanned. Only a whole data
//! set whose UIDs agree with the command is published, by a rename that never replaces. In mode
//! [`Durability::Durable`] the order is: sync the file, publish, sync the folder (and the parents of new folders).
//!
//! Everything here blocks. A [`Folder`] is shared by all threads; it serialises stores of the same UID within the
//! process. Two processes may share a folder, but then two different versions of one instance that arrive in the
//! same instant can replace each other.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, IoSlice, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use dimse_proto::dataset::{Oddity, OddityKind, Tag};
use dimse_proto::{AeTitle, Uid};

use crate::files::check::{Check, CheckError};
use crate::files::collected::Collected;
use crate::files::part10;
use crate::receive::folder::{Folder, Layout, Temporary, TemporaryName};
use crate::receive::publish::Instance;
use crate::receive::refusal::{
    CANNOT_UNDERSTAND, CLASS_NOT_SUPPORTED, INVALID_INSTANCE, MISMATCH, Refusal,
};
use crate::receive::undo::{Hold, Undo};

const WANTED: [Tag; 6] = [
    Tag::TRANSFER_SYNTAX_UID,
    Tag::SOP_CLASS_UID,
    Tag::SOP_INSTANCE_UID,
    Tag::PATIENT_ID,
    Tag::STUDY_INSTANCE_UID,
    Tag::SERIES_INSTANCE_UID,
];

/// What is known of an instance from its C-STORE request and presentation context, before its data set comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreRequest {
    /// Affected SOP Class UID (0000,0002).
    pub sop_class: Uid,
    /// Affected SOP Instance UID (0000,1000).
    pub sop_instance: Uid,
    /// Transfer syntax of the presentation context.
    pub transfer_syntax: Uid,
    /// Who sends: becomes (0002,0016).
    pub calling_ae: AeTitle,
    /// As whom we were called: becomes (0002,0018).
    pub called_ae: AeTitle,
}

impl StoreRequest {
    /// Refuses what cannot be stored whatever the data set is, before any of it arrived.
    ///
    /// # Errors
    /// 0117 for a malformed SOP Instance UID, 0122 for a malformed UID of a SOP class or transfer syntax.
    pub fn check(&self) -> Result<(), Refusal> {
        if !self.sop_instance.is_valid() {
            let detail = format!("SOP Instance UID {:?} is not a UID", self.sop_instance);
            let comment = "SOP Instance UID is not a UID";
            return Err(Refusal::new(INVALID_INSTANCE, comment, detail));
        }
        for uid in [&self.sop_class, &self.transfer_syntax] {
            if !uid.is_valid() {
                let detail = format!("SOP class or transfer syntax {uid:?} is not a UID");
                let comment = "SOP Class UID is not a UID";
                return Err(Refusal::new(CLASS_NOT_SUPPORTED, comment, detail));
            }
        }
        Ok(())
    }

    /// What a Part 10 file of the instance begins with: preamble and File Meta Information.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub fn head(&self) -> Result<Vec<u8>, Refusal> {
        self.check()?;
        Ok(part10::header(
            &self.sop_class,
            &self.sop_instance,
            &self.transfer_syntax,
            self.calling_ae,
            self.called_ae,
        ))
    }
}

/// The study and the patient of an instance, from its data set.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct PatientStudy {
    /// Study Instance UID (0020,000D).
    pub study: Option<Uid>,
    /// Patient ID (0010,0020), as encoded.
    pub patient: Option<Bytes>,
}

/// Of a data set in memory this much is looked at for its subject: it stands among the first elements.
const LOOKED_AT: usize = 64 << 10;

/// So much at a time, since it may be deflated.
const LOOK: usize = 4 << 10;

impl PatientStudy {
    /// Of a data set in memory.
    pub(crate) fn of(transfer_syntax: &Uid, data: &[Bytes]) -> Self {
        let mut check = Check::new(transfer_syntax, &[Tag::PATIENT_ID, Tag::STUDY_INSTANCE_UID]);
        let mut looked_at = 0_usize;
        for part in data.iter().flat_map(|bytes| bytes.chunks(LOOK)) {
            looked_at = looked_at.saturating_add(part.len());
            // In order: what stands before the study has been met.
            let over = check.feed(part).is_err() || check.uid(Tag::STUDY_INSTANCE_UID).is_some();
            if over || looked_at >= LOOKED_AT {
                break;
            }
        }
        Self::met(&check)
    }

    fn met(check: &Check) -> Self {
        Self {
            study: check.uid(Tag::STUDY_INSTANCE_UID),
            patient: check.value(Tag::PATIENT_ID).map(Bytes::copy_from_slice),
        }
    }
}

/// An instance that is in the folder, as durable as the folder's mode promises.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stored {
    /// The file.
    pub path: PathBuf,
    /// Length of the data set as received.
    pub bytes: u64,
    /// Where the earlier version with other bytes went, if there was one.
    pub kept: Option<PathBuf>,
    /// The same data set was there already; nothing was changed.
    pub identical: bool,
    /// SOP class of the instance.
    pub sop_class: Uid,
    /// SOP instance UID.
    pub sop_instance: Uid,
    /// Transfer syntax of the data set.
    pub transfer_syntax: Uid,
    /// Whether the data set was walked to its end. Not in unknown transfer syntaxes, nor where a deflated data
    /// set expands beyond reason: those are stored as received.
    pub verified: bool,
    /// What it belongs to.
    pub subject: PatientStudy,
    /// What is not well formed in it, the first of each kind.
    pub oddities: Vec<Oddity>,
    /// Series Instance UID (0020,000E).
    pub series: Option<Uid>,
    /// BLAKE3 of the data set as received, where the folder hashes.
    pub digest: Option<[u8; 32]>,
    /// What the folder collects.
    pub collected: Collected,
}

/// An instance that is in the folder until the user has decided. Dropped, it stays.
#[derive(Debug)]
pub struct Tentative {
    /// As if it were for good.
    pub stored: Stored,
    pub(crate) undo: Undo,
}

impl Tentative {
    /// Puts back what was there before, as durable as the folder's mode promises.
    ///
    /// # Errors
    /// When that fails; then the instance may still be there, whole, and an earlier version beside it.
    pub fn put_back(self) -> Result<(), Refusal> {
        self.undo.put_back()
    }
}

/// A received instance as a closed file for a handler; the file is removed when this is dropped.
#[derive(Debug)]
#[non_exhaustive]
pub struct Spooled {
    /// Where the data set starts in the file.
    pub data_offset: u64,
    /// Length of the data set as received.
    pub data_length: u64,
    /// Whether the data set was walked to its end, as in [`Stored::verified`].
    pub verified: bool,
    /// What it belongs to.
    pub subject: PatientStudy,
    path: PathBuf,
    _name: TemporaryName,
}

impl Spooled {
    /// The file, a whole Part 10 file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the file at its data set.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open_data(&self) -> Result<File, Refusal> {
        let open = || {
            let mut file = File::open(&self.path)?;
            file.seek(SeekFrom::Start(self.data_offset))?;
            Ok(file)
        };
        open().map_err(|error| Refusal::io("read the spooled instance", &error))
    }
}

/// Receives one instance. Dropped before its end, it leaves nothing.
#[derive(Debug)]
pub struct Writer {
    folder: Arc<Folder>,
    request: StoreRequest,
    check: Check,
    digest: Option<Box<blake3::Hasher>>,
    /// File meta that is not written yet.
    header: Vec<u8>,
    data_offset: u64,
    data_length: u64,
    /// Made with the first bytes, so that what is refused before costs no file.
    temporary: Option<Temporary>,
    refused: Option<Refusal>,
}

impl Writer {
    /// Begins to receive; no file is touched yet.
    ///
    /// # Errors
    /// As [`StoreRequest::check`].
    pub fn new(folder: Arc<Folder>, request: StoreRequest) -> Result<Self, Refusal> {
        let header = request.head()?;
        let check = if folder.is_strict() {
            Check::strict(&request.transfer_syntax, &WANTED)
        } else {
            Check::new(&request.transfer_syntax, &WANTED)
        };
        Ok(Self {
            check: match folder.collected() {
                Some(reading) => check.collecting(reading),
                None => check,
            },
            digest: folder.digests().then(Box::default),
            data_offset: u64::try_from(header.len()).unwrap_or(u64::MAX),
            data_length: 0,
            temporary: None,
            refused: None,
            folder,
            request,
            header,
        })
    }

    /// Takes the next bytes of the data set, in as many slices as they came.
    ///
    /// # Errors
    /// C000 as soon as the data set cannot be whole, A700 or A701 when it cannot be written; from then on always
    /// the same. The temporary file is gone by then.
    pub fn write(&mut self, batch: &[Bytes]) -> Result<(), Refusal> {
        if let Some(refusal) = &self.refused {
            return Err(refusal.clone());
        }
        let written = self.examine(batch).and_then(|()| self.append(batch));
        self.refused = written.clone().err();
        // The space is given back at once, and not when the peer has sent the rest, which may be gigabytes.
        if written.is_err() {
            self.temporary = None;
        }
        written
    }

    /// Ends the instance and puts it in its place.
    ///
    /// # Errors
    /// As [`Writer::write`], and: C000 when the data set is cut short, empty or without the UIDs it must have,
    /// A900 when it is not the instance or class of the request, C111 when it is there with other bytes and the
    /// folder rejects duplicates.
    pub fn commit(mut self) -> Result<Stored, Refusal> {
        let findings = self.conclude()?;
        let (stored, _kept) = self.publish(findings)?;
        Ok(stored)
    }

    /// The same, but it can be taken back: `hold` is the turn of its UID.
    pub(crate) fn commit_tentatively(mut self, hold: Hold) -> Result<Tentative, Refusal> {
        let findings = self.conclude()?;
        self.publish_tentatively(findings, hold)
    }

    /// Ends the instance and leaves it a temporary file, for a handler that decides what becomes of it.
    ///
    /// # Errors
    /// As [`Writer::commit`], duplicates aside.
    pub fn finish_spooled(mut self) -> Result<Spooled, Refusal> {
        let findings = self.conclude()?;
        let temporary = self.temporary.take().ok_or_else(empty)?;
        Ok(Spooled {
            data_offset: self.data_offset,
            data_length: self.data_length,
            verified: findings.verified,
            subject: findings.subject,
            path: temporary.name.path(),
            _name: temporary.name,
        })
    }

    /// Scans bytes that are about to be written.
    fn examine(&mut self, batch: &[Bytes]) -> Result<(), Refusal> {
        for bytes in batch {
            let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
            self.data_length = self.data_length.saturating_add(length);
            self.check.feed(bytes).map_err(|error| not_whole(&error))?;
            if let Some(digest) = &mut self.digest {
                digest.update(bytes);
            }
        }
        Ok(())
    }

    /// Writes bytes, after the file meta if they are the first.
    fn append(&mut self, batch: &[Bytes]) -> Result<(), Refusal> {
        let temporary = match &self.temporary {
            Some(temporary) => temporary,
            None => self.temporary.insert(self.folder.temporary()?),
        };
        let header = std::mem::take(&mut self.header);
        let mut slices: Vec<_> = std::iter::once(&*header)
            .chain(batch.iter().map(|bytes| &**bytes))
            .filter(|slice| !slice.is_empty())
            .map(IoSlice::new)
            .collect();
        let mut rest = slices.as_mut_slice();
        // One system call for header and batch; the rest of a short write follows.
        while !rest.is_empty() {
            let written = match self.folder.files().write(&temporary.file, rest) {
                Ok(0) => Err(io::ErrorKind::WriteZero.into()),
                written => written,
            };
            let written = written.map_err(|error| Refusal::io("write the file", &error))?;
            IoSlice::advance_slices(&mut rest, written);
        }
        Ok(())
    }

    /// Whether what was received is the instance that was announced.
    fn conclude(&mut self) -> Result<Findings, Refusal> {
        if let Some(refusal) = self.refused.take() {
            return Err(refusal);
        }
        if self.data_length == 0 {
            return Err(empty());
        }
        // The scanner says whether the last element is whole; in a transfer syntax it does not know it cannot.
        let verified = self.check.finish().map_err(|error| not_whole(&error))?;
        for (tag, announced, name) in [
            (Tag::SOP_CLASS_UID, &self.request.sop_class, "SOP Class UID"),
            (
                Tag::SOP_INSTANCE_UID,
                &self.request.sop_instance,
                "SOP Instance UID",
            ),
        ] {
            match self.check.uid(tag) {
                Some(found) if found == *announced => {}
                // Not walked, so not found: it is stored on the word of the command.
                None if !verified => {}
                None => return Err(lacks(name)),
                Some(found) => {
                    // What is no UID may be anything, a patient's name too: not for logs and events.
                    let found = if found.is_valid() {
                        format!("{found} in the data set")
                    } else {
                        "what is no UID in the data set".to_owned()
                    };
                    return Err(Refusal::new(
                        MISMATCH,
                        format!("{name} of command and data set differ"),
                        format!("{name} is {announced} in the command, {found}"),
                    ));
                }
            }
        }
        // A reader of the file takes it for a part of the File Meta Information when it stands in front of the data
        // set. It is kept as long as it says the same; another transfer syntax would make the file unreadable.
        let stray = self.check.uid(Tag::TRANSFER_SYNTAX_UID);
        if stray.is_some_and(|uid| uid != self.request.transfer_syntax) && self.begins_with_meta() {
            let text = "another transfer syntax in front of the data set";
            return Err(Refusal::new(CANNOT_UNDERSTAND, text, text));
        }
        let series = match self.folder.layout() {
            Layout::Flat => None,
            Layout::Study => {
                let valid = |tag| self.check.uid(tag).filter(Uid::is_valid);
                let study = valid(Tag::STUDY_INSTANCE_UID);
                let series = valid(Tag::SERIES_INSTANCE_UID);
                Some((
                    study.ok_or_else(|| lacks("Study Instance UID"))?,
                    series.ok_or_else(|| lacks("Series Instance UID"))?,
                ))
            }
        };
        Ok(Findings {
            verified,
            series,
            subject: PatientStudy::met(&self.check),
        })
    }

    fn begins_with_meta(&self) -> bool {
        let mut oddities = self.check.oddities().iter();
        oddities.any(|odd| odd.kind == OddityKind::FileMeta && odd.offset == 0)
    }

    fn publish_tentatively(self, findings: Findings, hold: Hold) -> Result<Tentative, Refusal> {
        let series = findings.series.clone();
        let file = self.temporary.as_ref().ok_or_else(empty)?;
        let file = self.folder.files().identity(&file.file);
        let file = file.map_err(|error| Refusal::io("look at the file", &error))?;
        let (stored, kept) = self.publish(findings)?;
        let undo = Undo {
            hold,
            series,
            file,
            kept,
            identical: stored.identical,
        };
        Ok(Tentative { stored, undo })
    }

    /// Gives the instance its name; with the one that an earlier version got.
    fn publish(mut self, findings: Findings) -> Result<(Stored, Option<OsString>), Refusal> {
        let Findings {
            verified,
            series,
            subject,
        } = findings;
        let collected = match self.folder.collected() {
            Some(_) => self.check.collected(),
            None => Collected::default(),
        };
        let temporary = self.temporary.take().ok_or_else(empty)?;
        self.folder.sync_contents(&temporary.file)?;
        let instance = Instance {
            uid: &self.request.sop_instance,
            transfer_syntax: &self.request.transfer_syntax,
            series: series.as_ref().map(|(study, series)| (study, series)),
            data_offset: self.data_offset,
            data_length: self.data_length,
            stray_meta: self.begins_with_meta(),
        };
        let published = self.folder.publish(temporary, &instance)?;
        let kept = published.kept.as_deref().and_then(Path::file_name);
        let kept = kept.map(OsStr::to_owned);
        let stored = Stored {
            path: published.path,
            bytes: self.data_length,
            kept: published.kept,
            identical: published.identical,
            sop_class: self.request.sop_class,
            sop_instance: self.request.sop_instance,
            transfer_syntax: self.request.transfer_syntax,
            verified,
            subject,
            oddities: self.check.oddities().to_vec(),
            series: self.check.uid(Tag::SERIES_INSTANCE_UID),
            digest: self.digest.map(|digest| *digest.finalize().as_bytes()),
            collected,
        };
        Ok((stored, kept))
    }
}

/// Stores an instance that was received as a whole; a data set that is refused costs no file operation.
///
/// # Errors
/// As [`Writer::commit`].
pub fn store_whole(
    folder: Arc<Folder>,
    request: StoreRequest,
    data: &[Bytes],
) -> Result<Stored, Refusal> {
    // Scanned before a file is made: what is refused here costs no file operation.
    let (writer, findings) = write_whole(folder, request, data)?;
    let (stored, _kept) = writer.publish(findings)?;
    Ok(stored)
}

/// The same, but it can be taken back: `hold` is the turn of its UID.
///
/// # Errors
/// As [`Writer::commit`].
pub fn store_tentatively(
    folder: Arc<Folder>,
    request: StoreRequest,
    data: &[Bytes],
    hold: Hold,
) -> Result<Tentative, Refusal> {
    let (writer, findings) = write_whole(folder, request, data)?;
    writer.publish_tentatively(findings, hold)
}

fn write_whole(
    folder: Arc<Folder>,
    request: StoreRequest,
    data: &[Bytes],
) -> Result<(Writer, Findings), Refusal> {
    let mut writer = Writer::new(folder, request)?;
    writer.examine(data)?;
    let findings = writer.conclude()?;
    writer.append(data)?;
    Ok((writer, findings))
}

/// What the data set turned out to be.
struct Findings {
    verified: bool,
    /// Study and Series Instance UID, where the layout needs them.
    series: Option<(Uid, Uid)>,
    subject: PatientStudy,
}

fn empty() -> Refusal {
    let text = "data set is empty";
    Refusal::new(CANNOT_UNDERSTAND, text, text)
}

fn not_whole(error: &CheckError) -> Refusal {
    Refusal::new(CANNOT_UNDERSTAND, error.comment(), error.to_string())
}

fn lacks(name: &str) -> Refusal {
    let text = format!("data set has no valid {name}");
    Refusal::new(CANNOT_UNDERSTAND, text.clone(), text)
}
