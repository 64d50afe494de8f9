//! The walk over a data set that may be deflated or in a transfer syntax unknown here: [`Scanner`] behind a
//! streaming inflater (PS3.5 A.5).

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use dimse_proto::Uid;
use dimse_proto::dataset::{
    Encoding, Meter, Oddity, ScanError, ScanErrorKind, Scanner, Tag, is_deflated,
};
use flate2::{Decompress, FlushDecompress, Status};

use crate::files::collected::{Collected, Reading};

/// Inflated bytes that are scanned whatever the ratio. Real segmentation masks exceed 1000:1, so the ratio alone
/// is no sign of an attack; this bounds the processor time one instance can take.
const INFLATE_BUDGET: u64 = 256 * 1024 * 1024;

/// What each received byte adds to the budget, so that an ordinary large instance is always scanned.
const INFLATE_RATIO: u64 = 16;

const INFLATE_BUFFER: usize = 64 * 1024;

/// Scans a data set as it passes by.
#[derive(Debug)]
pub(crate) enum Check {
    Plain(Box<Walker>),
    Deflated(Box<Inflater>),
    /// Unknown transfer syntax: nothing can be said about the bytes.
    Opaque,
}

/// Why a data set is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CheckError {
    Scan(ScanError),
    /// The deflate stream is broken at this received byte.
    Inflate {
        offset: u64,
    },
}

impl CheckError {
    /// In at most 64 characters and without anything the peer wrote.
    pub(crate) fn comment(&self) -> String {
        match self {
            Self::Scan(error) if error.kind == ScanErrorKind::Empty => "data set is empty".into(),
            Self::Scan(error) if error.kind == ScanErrorKind::FileMeta => {
                format!("file meta in data set at offset {}", error.offset)
            }
            Self::Scan(error) if error.kind == ScanErrorKind::Repeated => {
                format!("second value of an element at offset {}", error.offset)
            }
            Self::Scan(ScanError { offset, .. }) => {
                format!("data set not whole at offset {offset}")
            }
            Self::Inflate { offset } => format!("deflated data set not whole at offset {offset}"),
        }
    }
}

impl CheckError {
    /// What is wrong, without where.
    pub(crate) fn what(&self) -> String {
        match self {
            Self::Scan(ScanError {
                kind,
                tag: Some(tag),
                ..
            }) => format!("{}: {tag}", kind.text()),
            Self::Scan(error) => error.kind.text().into(),
            Self::Inflate { .. } => "the deflate stream breaks".into(),
        }
    }

    /// Where, in bytes from the start of the data set.
    pub(crate) const fn offset(&self) -> u64 {
        match self {
            Self::Scan(ScanError { offset, .. }) | Self::Inflate { offset } => *offset,
        }
    }

    /// The broken clause.
    pub(crate) const fn section(&self) -> &'static str {
        match self {
            Self::Scan(error) => error.kind.section(),
            Self::Inflate { .. } => "PS3.5 A.5",
        }
    }
}

impl fmt::Display for CheckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scan(error) => error.fmt(f),
            Self::Inflate { offset } => {
                write!(
                    f,
                    "the deflate stream breaks at offset {offset} (PS3.5 A.5)"
                )
            }
        }
    }
}

impl From<ScanError> for CheckError {
    fn from(error: ScanError) -> Self {
        Self::Scan(error)
    }
}

impl Check {
    /// A walk that keeps the values of the `wanted` tags.
    pub(crate) fn new(transfer_syntax: &Uid, wanted: &[Tag]) -> Self {
        Self::with(Scanner::new, transfer_syntax, wanted)
    }

    /// The same, of which nothing comes through that is not well formed.
    pub(crate) fn strict(transfer_syntax: &Uid, wanted: &[Tag]) -> Self {
        Self::with(Scanner::strict, transfer_syntax, wanted)
    }

    /// Keeps elements too, and finds out whether decoders read the data set as this walk does.
    pub(crate) fn collecting(self, reading: &Reading) -> Self {
        match self {
            Self::Plain(walker) => Self::Plain(Box::new(walker.collecting(reading))),
            Self::Deflated(inflater) => {
                let mut inflater = *inflater;
                inflater.walker = inflater.walker.collecting(reading);
                Self::Deflated(Box::new(inflater))
            }
            Self::Opaque => Self::Opaque,
        }
    }

    fn with(
        scanner: fn(Encoding, &[Tag]) -> Scanner,
        transfer_syntax: &Uid,
        wanted: &[Tag],
    ) -> Self {
        let Some(encoding) = Encoding::of_transfer_syntax(transfer_syntax) else {
            return Self::Opaque;
        };
        let walker = Walker {
            scanner: scanner(encoding, wanted),
            encoding,
            gauge: None,
        };
        if is_deflated(transfer_syntax) {
            Self::Deflated(Box::new(Inflater::new(walker)))
        } else {
            Self::Plain(Box::new(walker))
        }
    }

    /// Takes the next received bytes.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<(), CheckError> {
        match self {
            Self::Plain(walker) => Ok(walker.feed(bytes)?),
            Self::Deflated(inflater) => inflater.feed(bytes),
            Self::Opaque => Ok(()),
        }
    }

    /// Bytes from here on, so many at most, that need not be fed: they are a value that is of no interest.
    pub(crate) fn pass(&mut self, most: u64) -> u64 {
        // Of pixel data the scanner knows the length and needs nothing else: gigabytes need not be read for it. What is
        // deflated has to be inflated to know where it ends.
        let Self::Plain(walker) = self else {
            return 0;
        };
        if walker.gauge.is_some() {
            return 0; // what costs has to be seen
        }
        let scanner = &mut walker.scanner;
        let passed = scanner.passable().min(most);
        scanner.pass(passed);
        passed
    }

    /// Says that there are no more bytes. Whether the walk covered them all.
    pub(crate) fn finish(&mut self) -> Result<bool, CheckError> {
        match self {
            Self::Plain(walker) => {
                walker.scanner.finish()?;
                Ok(true)
            }
            Self::Deflated(inflater) => inflater.finish(),
            Self::Opaque => Ok(false),
        }
    }

    /// A wanted value, once it was received whole.
    pub(crate) fn value(&self, tag: Tag) -> Option<&[u8]> {
        self.scanner()?.value(tag)
    }

    /// What was collected, once the walk is finished.
    pub(crate) fn collected(&self) -> Collected {
        let (walker, covered) = match self {
            Self::Plain(walker) => (walker.as_ref(), true),
            Self::Deflated(inflater) => (&inflater.walker, inflater.state == Inflating::Ended),
            Self::Opaque => return Collected::default(),
        };
        let most = match (self, &walker.gauge) {
            (Self::Deflated(_), Some(gauge)) => gauge.inflated,
            _ => u64::MAX,
        };
        let within = walker.scanner.offset() <= most;
        Collected::new(
            walker.scanner.collected(),
            covered && within && walker.is_plain(),
        )
    }

    /// What is not well formed in what was walked, the first of each kind. Of a deflated data set offsets count
    /// inflated bytes.
    pub(crate) fn oddities(&self) -> &[Oddity] {
        self.scanner().map_or(&[], Scanner::oddities)
    }

    fn scanner(&self) -> Option<&Scanner> {
        match self {
            Self::Plain(walker) => Some(&walker.scanner),
            Self::Deflated(inflater) => Some(&inflater.walker.scanner),
            Self::Opaque => None,
        }
    }

    /// A wanted UID, likewise.
    pub(crate) fn uid(&self, tag: Tag) -> Option<Uid> {
        let value = self.value(tag)?;
        Some(Uid::from_wire(Bytes::copy_from_slice(value)))
    }
}

/// The walk itself, and what it would cost to decode what is walked, where elements are collected.
#[derive(Debug)]
pub(crate) struct Walker {
    scanner: Scanner,
    encoding: Encoding,
    gauge: Option<Box<Gauge>>,
}

#[derive(Debug)]
struct Gauge {
    meter: Meter,
    /// A bound is passed.
    over: bool,
    /// The most that a deflated data set may inflate to.
    inflated: u64,
}

impl Walker {
    fn collecting(self, reading: &Reading) -> Self {
        let dictionary = Arc::clone(&reading.dictionary);
        let meter = Meter::new(self.encoding, dictionary, reading.limits.bounds);
        Self {
            scanner: self.scanner.collecting(&reading.tags),
            gauge: Some(Box::new(Gauge {
                meter,
                over: false,
                inflated: reading.limits.inflated,
            })),
            ..self
        }
    }

    fn feed(&mut self, bytes: &[u8]) -> Result<(), ScanError> {
        // What costs too much is stored nevertheless: it is for whoever decodes it to refuse.
        if let Some(gauge) = &mut self.gauge
            && !gauge.over
        {
            gauge.over = gauge.meter.feed(bytes).is_err();
        }
        self.scanner.feed(bytes)
    }

    fn is_plain(&self) -> bool {
        let gauge = self.gauge.as_ref();
        self.scanner.is_plain() && gauge.is_some_and(|gauge| !gauge.over && !gauge.meter.searches())
    }
}

/// A scanner fed with what a raw deflate stream inflates to, in constant memory.
#[derive(Debug)]
pub(crate) struct Inflater {
    walker: Walker,
    inflate: Decompress,
    buffer: Box<[u8]>,
    state: Inflating,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Inflating {
    Running,
    /// The stream ended. What follows is the pad byte, or tolerated and kept.
    Ended,
    /// Past the budget: no longer scanned.
    GivenUp,
}

impl Inflater {
    fn new(walker: Walker) -> Self {
        Self {
            walker,
            inflate: Decompress::new(false),
            buffer: vec![0; INFLATE_BUFFER].into_boxed_slice(),
            state: Inflating::Running,
        }
    }

    fn feed(&mut self, mut bytes: &[u8]) -> Result<(), CheckError> {
        while self.state == Inflating::Running {
            let (taken, made) = (self.inflate.total_in(), self.inflate.total_out());
            let status = self
                .inflate
                .decompress(bytes, &mut self.buffer, FlushDecompress::None)
                .map_err(|_| CheckError::Inflate { offset: taken })?;
            let taken = self.inflate.total_in().saturating_sub(taken);
            let made = self.inflate.total_out().saturating_sub(made);
            bytes = rest(bytes, taken);
            let made = usize::try_from(made).unwrap_or(usize::MAX);
            self.walker
                .feed(self.buffer.get(..made).unwrap_or_default())?;
            let budget = self
                .inflate
                .total_in()
                .saturating_mul(INFLATE_RATIO)
                .saturating_add(INFLATE_BUDGET);
            if status == Status::StreamEnd {
                self.state = Inflating::Ended;
            } else if self.inflate.total_out() > budget {
                self.state = Inflating::GivenUp;
            } else if made < self.buffer.len() {
                // All input is used up, or the stream cannot go on: then finish() says so.
                break;
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<bool, CheckError> {
        match self.state {
            Inflating::Running => Err(CheckError::Inflate {
                offset: self.inflate.total_in(),
            }),
            Inflating::Ended => {
                self.walker.scanner.finish()?;
                Ok(true)
            }
            Inflating::GivenUp => Ok(false),
        }
    }
}

fn rest(bytes: &[u8], taken: u64) -> &[u8] {
    usize::try_from(taken)
        .ok()
        .and_then(|taken| bytes.get(taken..))
        .unwrap_or_default()
}
