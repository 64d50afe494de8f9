//! A data set walked from end to end before it is decoded, or sent as whole: in memory or in a file, deflated
//! or not (PS3.5 7, A.5). What it inflates to is bounded while it is inflated, and of a file only what has to be seen
//! is read.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::files::check::CheckError;
use crate::files::collected::{Collected, DecodeLimits};
use crate::files::open::{CHUNK, open, read_at, widen};
use crate::files::source_error::SourceErrorKind;
use bytes::Bytes;
use dimse_proto::Uid;
use dimse_proto::dataset::{
    Cost, Dictionary, Encoding, Meter, MeterError, ScanError, Scanner, Tag, is_deflated,
};
use flate2::{Decompress, FlushDecompress, Status};

/// What is known of a whole data set.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Walked {
    /// Of a file: (0002,0010).
    pub transfer_syntax: Uid,
    /// Of a file: where the data set starts.
    pub data_offset: u64,
    /// Length, inflated, in bytes.
    pub size: u64,
    /// What decoding makes.
    pub cost: Cost,
}

/// Why a data set is not to be decoded.
#[derive(Debug)]
#[non_exhaustive]
pub enum WalkFault {
    /// The file is none, or cannot be read.
    Source(SourceErrorKind),
    /// It is not whole. The offset counts from the start of what was given.
    NotWhole {
        /// What is wrong, and the section.
        what: String,
        /// Where.
        offset: u64,
        /// Broken clause.
        section: &'static str,
    },
    /// It takes more than this limit of `dimse_rs.DecodeLimits`, which is so much.
    Over(&'static str, u64),
}

impl From<SourceErrorKind> for WalkFault {
    fn from(kind: SourceErrorKind) -> Self {
        Self::Source(kind)
    }
}

impl From<io::Error> for WalkFault {
    fn from(error: io::Error) -> Self {
        Self::Source(error.into())
    }
}

/// How the bytes of a data set are to be read.
#[derive(Clone, Copy, Debug)]
pub struct Coding {
    /// After inflation.
    pub encoding: Encoding,
    /// It is deflated.
    pub deflated: bool,
    /// What stands out of place, but can be passed over, is for the decoder to judge: only what is cut short is
    /// refused.
    pub lenient: bool,
}

/// Walks a data set in memory.
///
/// # Errors
/// When it is not whole, or takes more than the limits.
pub fn memory(
    fragments: &[Bytes],
    reading: Coding,
    limits: DecodeLimits,
    dictionary: Arc<Dictionary>,
) -> Result<Walked, WalkFault> {
    let mut walk = Walk::new(reading, limits, dictionary, 0);
    for fragment in fragments {
        walk.feed(fragment)?;
    }
    walk.finish(Uid::default(), 0)
}

/// Walks the data set of a Part 10 file. In a transfer syntax that is not known it is taken for Explicit or Implicit
/// VR Little Endian, by its first element, as decoders do.
///
/// # Errors
/// As [`memory`], and when it is no Part 10 file or cannot be read.
pub fn file(
    path: &Path,
    limits: DecodeLimits,
    dictionary: Arc<Dictionary>,
) -> Result<Walked, WalkFault> {
    collecting(path, limits, dictionary, &[]).map(|(walked, _nothing)| walked)
}

/// The same, and collects elements of the top level on the way. Where the transfer syntax is not known nothing is plain.
///
/// # Errors
/// As [`file`].
pub(crate) fn collecting(
    path: &Path,
    limits: DecodeLimits,
    dictionary: Arc<Dictionary>,
    tags: &[Tag],
) -> Result<(Walked, Collected), WalkFault> {
    let opened = open(path)?;
    let start = opened.head.slice(opened.meta.data_offset..);
    let syntax = opened.meta.transfer_syntax;
    let known = Encoding::of_transfer_syntax(&syntax);
    let encoding = known.unwrap_or_else(|| guess(&start));
    let reading = Coding {
        encoding,
        deflated: is_deflated(&syntax),
        lenient: false,
    };
    let data_offset = widen(opened.meta.data_offset);
    let mut walk = Walk::new(reading, limits, dictionary, data_offset);
    walk.scanner = walk.scanner.collecting(tags);
    let mut at = widen(opened.head.len());
    walk.feed(&start)?;
    while at < opened.size {
        let passed = walk.pass(opened.size.saturating_sub(at));
        at = at.saturating_add(passed);
        let chunk = read_at(&opened.file, at)?;
        if chunk.is_empty() {
            break;
        }
        walk.feed(&chunk)?;
        at = at.saturating_add(widen(chunk.len()));
    }
    let walked = walk.finish(syntax, data_offset)?;
    let plain = known.is_some() && walk.scanner.is_plain() && !walk.meter.searches();
    let collected = Collected::new(walk.scanner.collected(), plain);
    Ok((walked, collected))
}

fn guess(start: &[u8]) -> Encoding {
    match start.get(4..6) {
        Some(vr) if vr.iter().all(u8::is_ascii_uppercase) => Encoding::ExplicitLe,
        _ => Encoding::ImplicitLe,
    }
}

/// The scanner says whether it is whole, the meter what it costs.
struct Walk {
    scanner: Scanner,
    /// The scanner has lost its way; the meter goes on.
    lost: Option<ScanError>,
    lenient: bool,
    meter: Meter,
    inflate: Option<Inflating>,
    limits: DecodeLimits,
    /// Where the data set starts in what was given.
    base: u64,
}

struct Inflating {
    stream: Decompress,
    buffer: Box<[u8]>,
    ended: bool,
}

impl Walk {
    fn new(reading: Coding, limits: DecodeLimits, dictionary: Arc<Dictionary>, base: u64) -> Self {
        Self {
            scanner: Scanner::new(reading.encoding, &[]),
            lost: None,
            lenient: reading.lenient,
            meter: Meter::new(reading.encoding, dictionary, limits.bounds),
            inflate: reading.deflated.then(|| Inflating {
                stream: Decompress::new(false),
                buffer: vec![0; CHUNK].into_boxed_slice(),
                ended: false,
            }),
            limits,
            base,
        }
    }

    fn feed(&mut self, mut bytes: &[u8]) -> Result<(), WalkFault> {
        let Some(mut inflate) = self.inflate.take() else {
            return self.inspect(bytes, self.base);
        };
        while !inflate.ended {
            let (taken, made) = (inflate.stream.total_in(), inflate.stream.total_out());
            let status = inflate
                .stream
                .decompress(bytes, &mut inflate.buffer, FlushDecompress::None)
                .map_err(|_| self.broken(taken))?;
            let taken = inflate.stream.total_in().saturating_sub(taken);
            let made = inflate.stream.total_out().saturating_sub(made);
            let made = usize::try_from(made).unwrap_or(usize::MAX);
            bytes = usize::try_from(taken)
                .ok()
                .and_then(|taken| bytes.get(taken..))
                .unwrap_or_default();
            // Deflate expands a thousandfold: the bound is on what comes out, and looked at after each buffer of it.
            if inflate.stream.total_out() > self.limits.inflated {
                return Err(WalkFault::Over("inflated", self.limits.inflated));
            }
            // Offsets in what was inflated say nothing about the file.
            self.inspect(inflate.buffer.get(..made).unwrap_or_default(), 0)?;
            inflate.ended = status == Status::StreamEnd;
            if made < inflate.buffer.len() {
                break; // all input is used up, or the stream cannot go on: then `finish` says so
            }
        }
        self.inflate = Some(inflate);
        Ok(())
    }

    fn inspect(&mut self, bytes: &[u8], base: u64) -> Result<(), WalkFault> {
        self.meter.feed(bytes).map_err(|error| self.over(error))?;
        match self.scanner.feed(bytes) {
            // Decoders read on behind what is out of place, so the meter does too: the cost has to be that of decoding.
            Err(error) if self.lenient => self.lost = Some(error),
            scanned => scanned.map_err(|error| not_whole(&error.into(), base))?,
        }
        Ok(())
    }

    /// Passes over bytes that need not be looked at, so many at most; says how many.
    fn pass(&mut self, most: u64) -> u64 {
        if self.inflate.is_some() {
            return 0;
        }
        // Both have to be inside the same value, or one of them would miss elements.
        let passable = self.scanner.passable().min(self.meter.passable());
        let passed = passable.min(most);
        // Less than is read at a time is not worth it.
        if passed < widen(CHUNK) && passed < most {
            return 0;
        }
        self.scanner.pass(passed);
        self.meter.pass(passed);
        passed
    }

    fn finish(&mut self, transfer_syntax: Uid, data_offset: u64) -> Result<Walked, WalkFault> {
        let base = match &self.inflate {
            Some(inflate) if !inflate.ended => {
                return Err(self.broken(inflate.stream.total_in()));
            }
            Some(_) => 0,
            None => self.base,
        };
        match (self.scanner.finish(), self.lost.take()) {
            (Err(_), Some(_)) if self.meter.is_whole() => {}
            (finished, _) => finished.map_err(|error| not_whole(&error.into(), base))?,
        }
        Ok(Walked {
            transfer_syntax,
            data_offset,
            size: self.scanner.offset(),
            cost: self.meter.cost(),
        })
    }

    fn broken(&self, taken: u64) -> WalkFault {
        not_whole(&CheckError::Inflate { offset: taken }, self.base)
    }

    fn over(&self, error: MeterError) -> WalkFault {
        match error {
            MeterError::Elements => WalkFault::Over("elements", self.limits.bounds.elements),
            MeterError::Depth => WalkFault::Over("depth", widen(self.limits.bounds.depth)),
        }
    }
}

/// Why a data set that starts at `base` is not whole.
pub(crate) fn not_whole(error: &CheckError, base: u64) -> WalkFault {
    WalkFault::NotWhole {
        what: error.what(),
        offset: base.saturating_add(error.offset()),
        section: error.section(),
    }
}
