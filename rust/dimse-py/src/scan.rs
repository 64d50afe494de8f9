//! `_core.scan` and `_core.scan_file`: whether a data set is whole, and what decoding it costs, before Python decodes it.

use std::path::PathBuf;
use std::sync::Arc;

use dimse_net::files::SourceErrorKind;
use dimse_net::files::collected::DecodeLimits;
use dimse_net::files::walk::{self, Coding, WalkFault, Walked};
use dimse_net::limits;
use dimse_proto::dataset::{self, Encoding};
use parking_lot::Mutex;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::blocking::OfProcess;
use crate::bytes::{Payload, bytes_of};
use crate::errors;

/// VRs by tag: `standard` and, of private elements, by group and last byte of the element.
#[pyclass(frozen, module = "dimse_rs._core")]
pub(crate) struct Dictionary {
    inner: Arc<dataset::Dictionary>,
}

impl Dictionary {
    pub(crate) fn core(&self) -> Arc<dataset::Dictionary> {
        Arc::clone(&self.inner)
    }
}

#[pymethods]
impl Dictionary {
    #[new]
    #[expect(clippy::needless_pass_by_value, reason = "the signature is PyO3's")]
    fn new(
        standard: Vec<(u32, String)>,
        repeated: Vec<(u32, u32, String)>,
        private: Vec<(u32, String)>,
    ) -> PyResult<Self> {
        let repeated = repeated
            .iter()
            .map(|(tag, mask, vr)| Ok((*tag, *mask, vr_of(vr)?)))
            .collect::<PyResult<_>>()?;
        let inner = dataset::Dictionary::new(entries(&standard)?, repeated, entries(&private)?);
        Ok(Self {
            inner: Arc::new(inner),
        })
    }
}

fn entries(pairs: &[(u32, String)]) -> PyResult<Vec<(u32, [u8; 2])>> {
    pairs
        .iter()
        .map(|(tag, vr)| Ok((*tag, vr_of(vr)?)))
        .collect()
}

fn vr_of(text: &str) -> PyResult<[u8; 2]> {
    <[u8; 2]>::try_from(text.as_bytes())
        .map_err(|_| PyValueError::new_err(format!("not a VR: {text:?}")))
}

/// What is known of a whole data set.
#[pyclass(frozen, get_all, module = "dimse_rs._core")]
pub(crate) struct Scan {
    /// Of a file: (0002,0010).
    transfer_syntax: String,
    /// Of a file: where the data set starts.
    data_offset: u64,
    /// Length, inflated, in bytes.
    size: u64,
    /// Data elements and items, at every level.
    elements: u64,
    /// Sequences inside sequences, at most.
    depth: usize,
    /// Bytes of memory that the single values of multi-valued elements take.
    values: u64,
}

impl From<Walked> for Scan {
    fn from(facts: Walked) -> Self {
        Self {
            transfer_syntax: facts.transfer_syntax.to_text(),
            data_offset: facts.data_offset,
            size: facts.size,
            elements: facts.cost.elements,
            depth: facts.cost.depth,
            values: facts.cost.values,
        }
    }
}

/// What decoding one data set may take.
#[pyclass(frozen, module = "dimse_rs._core")]
pub(crate) struct Bounds {
    inner: DecodeLimits,
}

impl Bounds {
    pub(crate) const fn core(&self) -> DecodeLimits {
        self.inner
    }
}

#[pymethods]
impl Bounds {
    /// `inflated`: bytes. `elements`: with items, at every level. `depth`: of sequences inside sequences.
    #[new]
    #[pyo3(signature = (*, inflated, elements, depth))]
    const fn new(inflated: u64, elements: u64, depth: usize) -> Self {
        Self {
            inner: DecodeLimits {
                inflated,
                bounds: dataset::Bounds { elements, depth },
            },
        }
    }
}

/// Reads the name of an encoding. Names and not UIDs: the encodings of PS3.5 are three, whatever transfer syntax a data
/// set comes in.
pub(crate) fn encoding_of(name: &str) -> PyResult<Encoding> {
    match name {
        "implicit" => Ok(Encoding::ImplicitLe),
        "explicit" => Ok(Encoding::ExplicitLe),
        "big" => Ok(Encoding::ExplicitBe),
        other => Err(PyValueError::new_err(format!("encoding={other:?}"))),
    }
}

/// Walks a data set in memory. `encoding`: "implicit", "explicit" or "big". `lenient`: refuse only what is cut short.
#[pyfunction]
#[pyo3(signature = (data, encoding, deflated, limits, dictionary, *, lenient=false))]
pub(crate) fn scan(
    py: Python<'_>,
    data: &Bound<'_, PyAny>,
    encoding: &str,
    deflated: bool,
    limits: &Bound<'_, Bounds>,
    dictionary: &Bound<'_, Dictionary>,
    lenient: bool,
) -> PyResult<Scan> {
    let reading = Coding {
        encoding: encoding_of(encoding)?,
        deflated,
        lenient,
    };
    let dictionary = Arc::clone(&dictionary.get().inner);
    let limits = limits.get().inner;
    // The walk runs without the interpreter: a data set of hundreds of megabytes takes a while. A payload is walked
    // fragment by fragment, and is not joined for this.
    let walked = if let Ok(payload) = data.cast::<Payload>() {
        let payload = payload.get();
        py.detach(|| walk::memory(payload.fragments(), reading, limits, dictionary))
    } else {
        let bytes = bytes_of(data)?;
        py.detach(|| walk::memory(&[bytes], reading, limits, dictionary))
    };
    walked
        .map(Scan::from)
        .map_err(|fault| error(py, &fault, ""))
}

/// Walks the data set of a Part 10 file; of a large value nothing is read.
#[pyfunction]
#[pyo3(signature = (path, limits, dictionary))]
#[expect(
    clippy::needless_pass_by_value,
    reason = "arguments are taken over from Python"
)]
pub(crate) fn scan_file(
    py: Python<'_>,
    path: PathBuf,
    limits: &Bound<'_, Bounds>,
    dictionary: &Bound<'_, Dictionary>,
) -> PyResult<Scan> {
    let dictionary = Arc::clone(&dictionary.get().inner);
    let limits = limits.get().inner;
    py.detach(|| walk::file(&path, limits, dictionary))
        .map(Scan::from)
        .map_err(|fault| error(py, &fault, &path.display().to_string()))
}

/// The exception for a data set that is refused; `name` is that of the file.
pub(crate) fn error(py: Python<'_>, fault: &WalkFault, name: &str) -> PyErr {
    let named = |what: &str| {
        if name.is_empty() {
            what.to_owned()
        } else {
            format!("{name}: {what}")
        }
    };
    match fault {
        WalkFault::Source(SourceErrorKind::Io(cause)) => errors::os(py, cause, name),
        WalkFault::Source(kind) => errors::input(py, &named(&kind.to_string())),
        WalkFault::NotWhole {
            what,
            offset,
            section,
        } => errors::not_whole(py, &named(what), *offset, section),
        WalkFault::Over(limit, most) => errors::over(py, name, limit, *most),
        _ => errors::input(py, &named("cannot be read")),
    }
}

/// Room in the byte budget; given back by `release`, or when the object goes.
#[pyclass(frozen, module = "dimse_rs._core")]
pub(crate) struct Reserved {
    // Taken out by `release`, which may be called twice, and from another thread than the one that decodes.
    inner: Mutex<Option<OfProcess<limits::Reserved>>>,
}

impl Reserved {
    pub(crate) fn new(py: Python<'_>, budget: &limits::Budget, bytes: usize) -> PyResult<Self> {
        let reserved = budget
            .reserve(bytes)
            .map_err(|limit| errors::over(py, "", "byte_budget", limit as u64))?;
        Ok(Self {
            inner: Mutex::new(Some(reserved.into())),
        })
    }
}

#[pymethods]
impl Reserved {
    /// Gives it back.
    fn release(&self) {
        drop(self.inner.lock().take());
    }
}
