//! From a Part 10 file to P-DATA-TF PDUs (PS3.10 7.1, PS3.8 9.3.5): the data set as it stands, undecoded.
//!
//! [`probe`] says what a file is for planning presentation contexts; [`Outgoing`] frames it. Neither maps a file
//! into memory: one that shrinks is an error here, not a signal. Everything here blocks.

use std::io::{self, IoSliceMut};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use bytes::{BufMut, Bytes, BytesMut};
use dimse_proto::Uid;
use dimse_proto::dataset::{Tag, is_deflated};
use rustix::io::retry_on_intr;

use crate::files::check::{Check, CheckError};
use crate::files::open::{Opened, open, read_at, shorter, widen};
use crate::files::source_error::{SourceError, SourceErrorKind};

/// How far into the data set its SOP UIDs are looked for. They are among the first elements.
const SEARCH_LIMIT: u64 = 1024 * 1024;

/// PDU header, PDV length, context id and message control header (PS3.8 9.3.5, Annex E.2).
const FRAME_HEADER: usize = 12;

/// What a file is, for planning and for its C-STORE request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileInfo {
    /// As it was given.
    pub path: PathBuf,
    /// (0008,0016); of group 0002 only where the transfer syntax is unknown.
    pub sop_class: Uid,
    /// (0008,0018); of group 0002 only where the transfer syntax is unknown.
    pub sop_instance: Uid,
    /// (0002,0010)
    pub transfer_syntax: Uid,
    /// Where the data set starts.
    pub data_offset: u64,
    /// Length of the data set in the file. An odd deflated one is sent with one byte more.
    pub data_length: u64,
    /// Size of the file.
    pub size: u64,
}

/// Says what a file is, from its first bytes: 16 KiB, and at most 1 MiB each for an unusual group 0002 and for
/// elements before the SOP UIDs. One without preamble is read whole.
///
/// # Errors
/// When it cannot be sent: see [`SourceErrorKind`].
pub fn probe(path: &Path) -> Result<FileInfo, SourceError> {
    Outgoing::open(path).map(|(_, info)| info)
}

/// An open file on its way out.
#[derive(Debug)]
pub struct Outgoing {
    file: OwnedFd,
    /// The first bytes of the file, read already.
    head: Bytes,
    /// Offset in the file of the next byte to send.
    at: u64,
    /// Bytes of the file still to send.
    left: u64,
    /// A 00H is still to be sent after them (PS3.5 A.5).
    pad: bool,
}

impl Outgoing {
    /// Opens a file to be sent.
    ///
    /// # Errors
    /// When it cannot be sent: see [`SourceErrorKind`].
    pub fn open(path: &Path) -> Result<(Self, FileInfo), SourceError> {
        Self::inspect(path, false)
    }

    /// The same, of a file that is whole: its data set was walked to the end. What deflate makes so large that it
    /// would not be inflated passes, and so do transfer syntaxes that are not known.
    ///
    /// # Errors
    /// When it cannot be sent, or is cut short.
    pub fn open_whole(path: &Path) -> Result<(Self, FileInfo), SourceError> {
        Self::inspect(path, true)
    }

    fn inspect(path: &Path, whole: bool) -> Result<(Self, FileInfo), SourceError> {
        inspect(path, whole).map_err(|kind| SourceError {
            path: path.to_owned(),
            kind,
        })
    }

    /// Whether the fragment flagged as last was framed.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.left == 0 && !self.pad
    }

    /// Frames P-DATA-TF PDUs of one fragment each, as many as fit into `buffer`, and says how many bytes of it they
    /// took. Fragments have at most `max_fragment` bytes (the peer's maximum length less 6), and an even number of
    /// them. Nothing is framed where there is not room for 14 bytes.
    ///
    /// # Errors
    /// When the file cannot be read or became shorter. What was sent of the message cannot be completed then: the
    /// association has to be aborted.
    pub fn fill(
        &mut self,
        context_id: u8,
        max_fragment: usize,
        buffer: &mut [u8],
    ) -> io::Result<usize> {
        let max_fragment = even(max_fragment);
        let mut used = 0_usize;
        let mut at = self.at;
        let mut left = self.left;
        let mut pad = self.pad;
        // First all headers, with gaps between them for the fragments; then one positioned read fills the gaps. A file
        // that shrinks fails that read: the framed part is dropped before any of it is sent.
        let mut gaps = Vec::new();
        for frame in buffer.chunks_mut(FRAME_HEADER.saturating_add(max_fragment)) {
            let Some((header, body)) = frame.split_at_mut_checked(FRAME_HEADER) else {
                break;
            };
            let wanted = shorter(left.saturating_add(u64::from(pad)), max_fragment);
            let length = wanted.min(body.len() & !1);
            // A cut-off end of the buffer is worth a fragment only if that is not a crumb.
            if length == 0 || (length < wanted / 2 && used > 0) {
                break;
            }
            let (body, _) = body.split_at_mut(length);
            let from_file = shorter(left, length);
            left = left.saturating_sub(widen(from_file));
            let (gap, padding) = body.split_at_mut(from_file);
            if !padding.is_empty() {
                padding.fill(0);
                pad = false;
            }
            header.copy_from_slice(&frame_header(context_id, length, left == 0 && !pad));
            used = used.saturating_add(FRAME_HEADER).saturating_add(length);
            let gap = self.copy_head(at, gap);
            at = at.saturating_add(widen(from_file));
            if !gap.is_empty() {
                gaps.push(IoSliceMut::new(gap));
            }
        }
        let read_from = self.at.max(widen(self.head.len()));
        read_exact_at(&self.file, &mut gaps, read_from)?;
        self.at = at;
        self.left = left;
        self.pad = pad;
        Ok(used)
    }

    /// Ends the message early, after the peer has answered before it got everything: appends one fragment of two
    /// zero bytes, flagged as last, unless the last one was framed already.
    pub fn end_early(&mut self, context_id: u8, out: &mut BytesMut) {
        if !self.is_done() {
            self.left = 0;
            self.pad = false;
            out.put_slice(&frame_header(context_id, 2, true));
            out.put_slice(&[0, 0]);
        }
    }

    /// Copies what of a gap at a file offset was read with the head; what is not comes back.
    fn copy_head<'a>(&self, at: u64, gap: &'a mut [u8]) -> &'a mut [u8] {
        let known = usize::try_from(at)
            .ok()
            .and_then(|at| self.head.get(at..))
            .unwrap_or_default();
        let length = known.len().min(gap.len());
        let (now, later) = gap.split_at_mut(length);
        now.copy_from_slice(known.get(..length).unwrap_or_default());
        later
    }
}

/// Opens a file and reads as much of it as is needed to know what it is, and whether it is whole if that is asked.
fn inspect(path: &Path, whole: bool) -> Result<(Outgoing, FileInfo), SourceErrorKind> {
    let Opened {
        file,
        size,
        head,
        meta,
    } = open(path)?;
    let transfer_syntax = needed(meta.transfer_syntax, "Transfer Syntax UID (0002,0010)")?;
    let data_offset = widen(meta.data_offset);
    let data_length = size.saturating_sub(data_offset);
    if data_length == 0 {
        return Err(SourceErrorKind::BadDataSet("it is empty".into()));
    }
    let mut check = Check::new(
        &transfer_syntax,
        &[Tag::SOP_CLASS_UID, Tag::SOP_INSTANCE_UID],
    );
    // The data set is what is sent, so its UIDs count, not those of group 0002, which may differ. Only where it cannot
    // be read they have to be believed.
    let (sop_class, sop_instance) = if matches!(check, Check::Opaque) {
        (
            needed(meta.sop_class, "Media Storage SOP Class UID (0002,0002)")?,
            needed(
                meta.sop_instance,
                "Media Storage SOP Instance UID (0002,0003)",
            )?,
        )
    } else {
        let start = head.slice(meta.data_offset..);
        find_uids(&mut check, &file, start, data_offset, size, whole)?;
        let found = |tag| check.uid(tag).unwrap_or_default();
        (
            needed(found(Tag::SOP_CLASS_UID), "SOP Class UID (0008,0016)")?,
            needed(found(Tag::SOP_INSTANCE_UID), "SOP Instance UID (0008,0018)")?,
        )
    };
    let odd = data_length % 2 == 1;
    // PS3.5 A.5: a deflated data set of odd length is padded with one 00H. Any other one cannot have an odd length.
    let pad = odd && is_deflated(&transfer_syntax);
    if odd && !pad {
        return Err(SourceErrorKind::OddLength(data_length));
    }
    let outgoing = Outgoing {
        file,
        head,
        at: data_offset,
        left: data_length,
        pad,
    };
    let info = FileInfo {
        path: path.to_owned(),
        sop_class,
        sop_instance,
        transfer_syntax,
        data_offset,
        data_length,
        size,
    };
    Ok((outgoing, info))
}

/// Feeds the data set to the scanner until both SOP UIDs are known, and to its end if it has to be whole. If it has
/// not, what is wrong behind them is for the peer to find.
fn find_uids(
    check: &mut Check,
    file: &OwnedFd,
    mut chunk: Bytes,
    data_offset: u64,
    size: u64,
    whole: bool,
) -> Result<(), SourceErrorKind> {
    let mut at = data_offset;
    loop {
        let fed = check.feed(&chunk);
        at = at.saturating_add(widen(chunk.len()));
        let found = [Tag::SOP_CLASS_UID, Tag::SOP_INSTANCE_UID]
            .iter()
            .all(|tag| check.uid(*tag).is_some());
        if found && !whole {
            return Ok(());
        }
        if found || whole {
            fed.map_err(|error| not_whole(&error, check, data_offset))?;
        } else {
            fed.map_err(|error| SourceErrorKind::BadDataSet(error.to_string()))?;
        }
        // Without both UIDs in the first mebibyte the file is not sent: the caller reports which one is missing.
        if !found && at.saturating_sub(data_offset) >= SEARCH_LIMIT {
            return Ok(());
        }
        at = at.saturating_add(check.pass(size.saturating_sub(at)));
        chunk = Bytes::from(read_at(file, at)?);
        if chunk.is_empty() {
            break;
        }
    }
    if whole {
        let finished = check.finish();
        finished.map_err(|error| not_whole(&error, check, data_offset))?;
    }
    Ok(())
}

fn not_whole(error: &CheckError, check: &Check, data_offset: u64) -> SourceErrorKind {
    // Offsets in what was inflated say nothing about the file.
    let inflated = matches!((check, error), (Check::Deflated(_), CheckError::Scan(_)));
    SourceErrorKind::NotWhole {
        what: error.what(),
        offset: error
            .offset()
            .saturating_add(if inflated { 0 } else { data_offset }),
        section: error.section(),
    }
}

fn needed(uid: Uid, name: &'static str) -> Result<Uid, SourceErrorKind> {
    if uid.is_valid() {
        Ok(uid)
    } else {
        Err(SourceErrorKind::MissingUid(name))
    }
}

/// Fills all the gaps from one stretch of the file.
fn read_exact_at(file: &OwnedFd, gaps: &mut [IoSliceMut<'_>], mut at: u64) -> io::Result<()> {
    let mut gaps = gaps;
    while !gaps.is_empty() {
        let read = match retry_on_intr(|| rustix::io::preadv(file, gaps, at))? {
            0 => {
                let text = format!("the file ends at {at}: it became shorter while it was sent");
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
            }
            read => read,
        };
        at = at.saturating_add(widen(read));
        IoSliceMut::advance_slices(&mut gaps, read);
    }
    Ok(())
}

/// P-DATA-TF with one PDV of a data set (PS3.8 Table 9-22, 9-23, Annex E.2).
fn frame_header(context_id: u8, fragment: usize, last: bool) -> [u8; FRAME_HEADER] {
    let fragment = u32::try_from(fragment).unwrap_or(u32::MAX);
    let control = if last { 0x02 } else { 0x00 };
    let mut header = [0x04, 0, 0, 0, 0, 0, 0, 0, 0, 0, context_id, control];
    header[2..6].copy_from_slice(&fragment.saturating_add(6).to_be_bytes());
    header[6..10].copy_from_slice(&fragment.saturating_add(2).to_be_bytes());
    header
}

/// The longest even fragment, and never none at all.
fn even(max_fragment: usize) -> usize {
    // Far beyond any maximum length that makes sense, and short of what the length fields hold.
    (max_fragment & !1).clamp(2, 1 << 30)
}
