//! Received bytes by the buffer protocol: no copy until a caller needs them in one piece.
//!
//! A payload owns its bytes: buffers that the driver read into and gave away, reference-counted, and charged to the
//! byte budget until the last owner goes. A memoryview owns the payload. Nothing here borrows from an association.

use std::ffi::c_int;
use std::sync::OnceLock;

use bytes::{Bytes, BytesMut};
use dimse_net::association::{Data, Parts};
use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyMemoryView};

use crate::blocking::OfProcess;

/// The bytes of a data set: read-only, one dimension, of the format "B". `bytes(payload)` copies,
/// `memoryview(payload)` does not; both stay valid after the association has ended.
#[pyclass(frozen, module = "dimse_rs._core")]
pub(crate) struct Payload {
    parts: OfProcess<Parts>,
    whole: OnceLock<Bytes>,
}

impl Payload {
    pub(crate) fn new(parts: Parts) -> Self {
        Self {
            parts: parts.into(),
            whole: OnceLock::new(),
        }
    }

    /// The slices, in order.
    pub(crate) fn fragments(&self) -> &[Bytes] {
        self.parts.fragments()
    }

    /// In one piece; joined on first use when it came in several.
    pub(crate) fn whole(&self) -> &Bytes {
        // A data set of one fragment is shared, not copied. Joined ones are kept beside the fragments: a view that was
        // given out must stay where it is.
        self.whole.get_or_init(|| match self.parts.fragments() {
            [one] => one.clone(),
            several => {
                let mut joined = BytesMut::with_capacity(self.parts.len());
                for part in several {
                    joined.extend_from_slice(part);
                }
                joined.freeze()
            }
        })
    }
}

#[pymethods]
impl Payload {
    fn __len__(&self) -> usize {
        self.parts.len()
    }

    fn __bytes__<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.whole())
    }

    fn __repr__(&self) -> String {
        format!("<Payload of {} bytes>", self.parts.len())
    }

    /// What says to Python before 3.12 that this is a buffer (PEP 688); later ones have it from the slot below.
    #[pyo3(signature = (flags, /))]
    #[expect(
        unused_variables,
        reason = "one view of immutable bytes is as good as another"
    )]
    fn __buffer__<'py>(slf: &Bound<'py, Self>, flags: c_int) -> PyResult<Bound<'py, PyMemoryView>> {
        PyMemoryView::from(slf)
    }

    /// Writes all of it to a binary file object, piece by piece; returns the number of bytes.
    fn write_to(&self, file: &Bound<'_, PyAny>) -> PyResult<usize> {
        let write = file.getattr("write")?;
        // Fragment by fragment: a large data set is written without being joined first.
        for part in self.parts.fragments() {
            write.call1((PyBytes::new(file.py(), part),))?;
        }
        Ok(self.parts.len())
    }

    #[expect(unsafe_code, reason = "the buffer protocol is a C interface")]
    #[expect(clippy::needless_pass_by_value, reason = "the signature is PyO3's")]
    unsafe fn __getbuffer__(
        slf: Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        let whole = slf.get().whole();
        let Ok(length) = isize::try_from(whole.len()) else {
            return Err(PyBufferError::new_err("longer than a buffer can be"));
        };
        // SAFETY: `view` is the interpreter's to be filled. The bytes are immutable and live as long as this
        // object, which the view keeps alive (PyBuffer_FillInfo takes a new reference).
        let filled = unsafe {
            ffi::PyBuffer_FillInfo(
                view,
                slf.as_ptr(),
                whole.as_ptr().cast_mut().cast(),
                length,
                1,
                flags,
            )
        };
        if filled == 0 {
            Ok(())
        } else {
            Err(PyErr::fetch(slf.py()))
        }
    }
}

/// The data set of a received message as Python gets it: in memory, and in a file.
pub(crate) fn payload_of(
    py: Python<'_>,
    data: Data,
) -> PyResult<(Option<Py<Payload>>, Option<dimse_net::receive::Spooled>)> {
    match data {
        Data::None => Ok((None, None)),
        Data::Memory(parts) => {
            Py::new(py, Payload::new(parts)).map(|payload| (Some(payload), None))
        }
        Data::File(spooled) => Ok((None, Some(spooled))),
    }
}

/// Bytes from Python without a copy where they cannot change, else with one.
pub(crate) fn bytes_of(object: &Bound<'_, PyAny>) -> PyResult<Bytes> {
    if let Ok(payload) = object.cast::<Payload>() {
        return Ok(payload.get().whole().clone());
    }
    // `bytes` cannot change, so the core sends from the object itself, and keeps a reference until the peer has all.
    if let Ok(bytes) = object.cast::<PyBytes>() {
        return Ok(Bytes::from_owner(pyo3::pybacked::PyBackedBytes::from(
            bytes.clone(),
        )));
    }
    let buffer = pyo3::buffer::PyBuffer::<u8>::get(object)?;
    Ok(Bytes::from(buffer.to_vec(object.py())?))
}
