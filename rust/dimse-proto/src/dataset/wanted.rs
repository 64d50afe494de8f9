//! Values that a walk keeps of the top level: of wanted elements, which decide what becomes of an instance, and of
//! collected ones, which the caller reads afterwards.

use alloc::vec::Vec;

use super::header::{Header, UNDEFINED};
use super::tag::Tag;

/// A collected element of the top level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element<'a> {
    /// Which.
    pub tag: Tag,
    /// As the data set says it; none in Implicit VR.
    pub vr: Option<[u8; 2]>,
    /// Its length is undefined, and a delimiter ended it.
    pub delimited: bool,
    /// As encoded, padding included; of a sequence what is between header and delimiter.
    pub value: &'a [u8],
}

/// Longest value that is kept of a wanted element, in bytes. A longer value is skipped as if it were not wanted.
pub const CAPTURE_LIMIT: u32 = 1024;

/// Longest value that is kept of a collected element, in bytes.
pub const COLLECT_LIMIT: u32 = 4096;

/// Length of a delimiter: tag, and a length of zero (PS3.5 7.5).
const DELIMITER: usize = 8;

#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) tag: Tag,
    vr: Option<[u8; 2]>,
    delimited: bool,
    pub(super) value: Vec<u8>,
    pub(super) state: Capture,
    /// Wanted: a second element with another value is a fault or an oddity.
    pub(super) once: bool,
    /// Collected: kept for the caller, also if it is a sequence.
    collected: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Capture {
    NotMet,
    /// Met. The value is too long to keep, or not yet complete.
    Open,
    /// The value is complete.
    Whole,
    /// Met again at this offset; this many bytes were the same so far.
    Again(u64, usize),
}

impl Wanted {
    const fn new(tag: Tag) -> Self {
        Self {
            tag,
            vr: None,
            delimited: false,
            value: Vec::new(),
            state: Capture::NotMet,
            once: false,
            collected: false,
        }
    }

    /// The header was read and the value follows. Returns whether to keep the value.
    pub(super) fn met(&mut self, header: Header) -> bool {
        if self.state == Capture::NotMet {
            self.vr = header.vr;
            self.delimited = header.length == UNDEFINED;
            self.state = Capture::Open;
        }
        let limit = if self.collected {
            COLLECT_LIMIT
        } else {
            CAPTURE_LIMIT
        };
        header.length <= limit
    }

    /// Takes more of the value. Of an element that occurs twice, compares: the error is the offset of the second one.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<(), u64> {
        // The second value is compared as it arrives, in chunks of any size: no second buffer is needed, and the
        // fault is found at the first different byte.
        let Capture::Again(offset, same) = self.state else {
            self.value.extend_from_slice(bytes);
            return Ok(());
        };
        self.state = Capture::Again(offset, same.saturating_add(bytes.len()));
        let known = self.value.get(same..).unwrap_or_default();
        known.starts_with(bytes).then_some(()).ok_or(offset)
    }
}

/// All wanted and collected elements, in the order of tags.
#[derive(Clone, Debug)]
pub(super) struct KeptValues {
    all: Vec<Wanted>,
    /// The collected sequence or pixel data whose items are being read, by index, and whether a delimiter ends it.
    recording: Option<(usize, bool)>,
    /// A collected element was met and is not kept, since it is too long, or a sequence where a value is wanted.
    lost: bool,
}

impl KeptValues {
    pub(super) fn new(wanted: &[Tag]) -> Self {
        let mut kept = Self {
            all: Vec::with_capacity(wanted.len()),
            recording: None,
            lost: false,
        };
        for &tag in wanted {
            kept.want(tag, |wanted| wanted.once = true);
        }
        kept
    }

    pub(super) fn collect(&mut self, tag: Tag) {
        self.want(tag, |wanted| wanted.collected = true);
    }

    fn want(&mut self, tag: Tag, how: impl FnOnce(&mut Wanted)) {
        let index = self.index(tag).unwrap_or_else(|index| {
            self.all.insert(index, Wanted::new(tag));
            index
        });
        if let Some(wanted) = self.all.get_mut(index) {
            how(wanted);
        }
    }

    fn index(&self, tag: Tag) -> Result<usize, usize> {
        self.all.binary_search_by_key(&tag, |wanted| wanted.tag)
    }

    pub(super) fn find(&self, tag: Tag) -> Option<(usize, &Wanted)> {
        let index = self.index(tag).ok()?;
        Some((index, self.all.get(index)?))
    }

    pub(super) fn get_mut(&mut self, index: usize) -> Option<&mut Wanted> {
        self.all.get_mut(index)
    }

    /// VR and value of an element, if the value is complete.
    pub(super) fn element(&self, tag: Tag) -> Option<(Option<[u8; 2]>, &[u8])> {
        let (_, wanted) = self.find(tag)?;
        matches!(wanted.state, Capture::Whole | Capture::Again(..))
            .then_some((wanted.vr, wanted.value.as_slice()))
    }

    /// All collected elements whose value is complete, in the order of tags.
    pub(super) fn collected(&self) -> impl Iterator<Item = Element<'_>> + Clone {
        let all = self.all.iter().filter(|wanted| wanted.collected);
        all.filter(|wanted| matches!(wanted.state, Capture::Whole | Capture::Again(..)))
            .map(|wanted| Element {
                tag: wanted.tag,
                vr: wanted.vr,
                delimited: wanted.delimited,
                value: &wanted.value,
            })
    }

    /// Whether a collected element was met and is not kept.
    pub(super) fn has_lost(&self) -> bool {
        self.lost
    }

    /// The value of the element that begins is kept, or it is not.
    pub(super) fn keep(&mut self, index: usize, header: Header) -> Option<usize> {
        let wanted = self.all.get_mut(index)?;
        let kept = wanted.met(header);
        self.lost |= wanted.collected && !kept;
        kept.then_some(index)
    }

    /// A sequence or encapsulated pixel data of the top level begins: its items are kept, if it is collected.
    pub(super) fn begin_recording(&mut self, header: Header) {
        let Ok(index) = self.index(header.tag) else {
            return;
        };
        let Some(wanted) = self.all.get_mut(index).filter(|wanted| wanted.collected) else {
            return;
        };
        let delimited = header.length == UNDEFINED;
        let is_first = !wanted.once && wanted.state == Capture::NotMet;
        if is_first && (wanted.met(header) || delimited) {
            self.recording = Some((index, delimited));
        } else {
            self.lost = true;
        }
    }

    /// Keeps more bytes of a collected sequence, until they are too many: then none are kept.
    pub(super) fn record(&mut self, bytes: &[u8]) {
        let Some((index, delimited)) = self.recording else {
            return;
        };
        let Some(wanted) = self.all.get_mut(index) else {
            return;
        };
        let delimiter = if delimited { DELIMITER } else { 0 };
        let most = usize::try_from(COLLECT_LIMIT)
            .unwrap_or(usize::MAX)
            .saturating_add(delimiter);
        // The length of a sequence may be unknown until its delimiter arrives, so each chunk is checked.
        if wanted.value.len().saturating_add(bytes.len()) > most {
            wanted.value = Vec::new();
            self.recording = None;
            self.lost = true;
        } else {
            wanted.value.extend_from_slice(bytes);
        }
    }

    /// The collected sequence has ended; its delimiter is cut off.
    pub(super) fn end_recording(&mut self) {
        if let Some((index, delimited)) = self.recording.take()
            && let Some(wanted) = self.all.get_mut(index)
        {
            let delimiter = if delimited { DELIMITER } else { 0 };
            let length = wanted.value.len().saturating_sub(delimiter);
            wanted.value.truncate(length);
            wanted.state = Capture::Whole;
        }
    }
}
