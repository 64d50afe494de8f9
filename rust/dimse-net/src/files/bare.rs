//! Files without the preamble and `DICM` of PS3.10 7.1, known by their data set: as they lie about everywhere, and
//! other software sends them. Nothing but the data set says what they are, so all of it is walked.

use std::io;
use std::os::fd::OwnedFd;

use bytes::Bytes;
use dimse_proto::Uid;
use dimse_proto::dataset::Tag;
use rustix::buffer::spare_capacity;
use rustix::io::retry_on_intr;

use crate::files::check::Check;
use crate::files::part10::Meta;
use crate::files::source_error::SourceErrorKind;

const IMPLICIT: Uid = Uid::from_static("1.2.840.10008.1.2");
const EXPLICIT: Uid = Uid::from_static("1.2.840.10008.1.2.1");

/// Bytes read at a time.
const CHUNK: usize = 256 * 1024;

/// What such a file is: its group 0002 as far as it has one, and what its data set says.
///
/// The transfer syntax is that of group 0002, else Explicit or Implicit VR Little Endian by the looks of the first
/// element. It must begin in group 0008 and be whole, with both SOP UIDs in it.
///
/// # Errors
/// `NotDicom` when it is no such file; `BadDataSet` when it is an instance that is not whole.
pub(crate) fn look(file: &OwnedFd, head: &Bytes) -> Result<Meta, SourceErrorKind> {
    let mut meta = Meta::default();
    if head.starts_with(&0x0002_u16.to_le_bytes()) {
        meta = Meta::parse_group(head.clone(), 0).map_err(|_| SourceErrorKind::NotDicom)?;
    }
    let start = head.get(meta.data_offset..).unwrap_or_default();
    let Some([0x08, 0x00, _, _, first, second]) = start.first_chunk::<6>() else {
        return Err(SourceErrorKind::NotDicom);
    };
    // PS3.5 7.1.2: in Explicit VR two capital letters follow the tag. In Implicit VR a length does, of which two
    // capital letters would make a first element of 16 KiB at least.
    if !meta.transfer_syntax.is_valid() {
        let explicit = first.is_ascii_uppercase() && second.is_ascii_uppercase();
        meta.transfer_syntax = if explicit { EXPLICIT } else { IMPLICIT };
    }
    let wanted = [Tag::SOP_CLASS_UID, Tag::SOP_INSTANCE_UID];
    let mut check = Check::new(&meta.transfer_syntax, &wanted);
    let walked = walk(&mut check, file, meta.data_offset)?;
    let [class, instance] = wanted.map(|tag| check.uid(tag).unwrap_or_default());
    if !class.is_valid() || !instance.is_valid() {
        return Err(SourceErrorKind::NotDicom);
    }
    walked.map_err(SourceErrorKind::BadDataSet)?;
    Ok(meta)
}

/// Walks the data set to the end of the file, and says what is wrong with it.
fn walk(check: &mut Check, file: &OwnedFd, from: usize) -> io::Result<Result<(), String>> {
    let mut at = u64::try_from(from).unwrap_or(u64::MAX);
    loop {
        let mut chunk = Vec::with_capacity(CHUNK);
        let read = retry_on_intr(|| rustix::io::pread(file, spare_capacity(&mut chunk), at))?;
        if read == 0 {
            return Ok(check
                .finish()
                .map(|_walked| ())
                .map_err(|error| error.to_string()));
        }
        if let Err(error) = check.feed(&chunk) {
            return Ok(Err(error.to_string()));
        }
        at = at.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
    }
}
