//! `_core.Bulk` and `_core.FileResult`: files on their way, and what became of each.
//!
//! The files are read, checked and sent by tasks of the core. What was learned of a file on that way goes with its
//! result, so that Python never opens the file again to learn it.

use std::sync::Arc;
use std::time::Duration;

use dimse_net::error::Error;
use dimse_net::send::{BulkResult, Sending};
use dimse_proto::dimse::element;
use parking_lot::Mutex;
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::{PyIterator, PyList};

use crate::blocking::{self, OfProcess, duration};
use crate::completions::{Then, settle};
use crate::errors;
use crate::facts::FileFacts;
use crate::message::Message;

/// Files on their way: one result each.
#[pyclass(frozen, module = "dimse_rs._core")]
pub(crate) struct Bulk {
    // Shared with the future of a call that waits: the call may outlive this object.
    sending: OfProcess<Arc<Sending>>,
    /// What `next` gave last: Python drops what a call returns when Ctrl-C comes in that moment.
    last: Arc<Mutex<Option<Py<PyList>>>>,
}

/// How long the first result waits for others, so that one call takes several.
const GATHER: Duration = Duration::from_millis(5);

#[pymethods]
impl Bulk {
    /// The results there are, waiting at most `within` seconds for the first: a list of `FileResult`s, or None when all
    /// were given.
    /// `gather`: wait a moment for others, or give the first at once.
    #[pyo3(signature = (within=0.1, *, gather=true, then=None))]
    fn next(
        &self,
        py: Python<'_>,
        within: f64,
        gather: bool,
        then: Option<Then<'_>>,
    ) -> PyResult<Py<PyAny>> {
        let within = duration(within).unwrap_or(Duration::ZERO);
        // Never longer than the caller waits: a poll without patience gives what is there.
        let gather = if gather {
            GATHER.min(within)
        } else {
            Duration::ZERO
        };
        let sending = Arc::clone(&self.sending);
        let next = async move {
            let next = async { Some(sending.next(gather).await) };
            blocking::at_most(Some(within), next).await
        };
        let last = Arc::clone(&self.last);
        settle(py, then, next, move |py, results| {
            // Nothing within the time is an empty list, the end is None: a caller can look for a C-CANCEL in between.
            let Some(results) = results.unwrap_or_else(|| Some(Vec::new())) else {
                return Ok(py.None());
            };
            let list = PyList::empty(py);
            for result in results {
                list.append(FileResult::of(py, result)?)?;
            }
            *last.lock() = Some(list.clone().unbind());
            Ok(list.into_any().unbind())
        })
    }

    /// The results that `next` gave last, once more.
    fn last(&self, py: Python<'_>) -> Py<PyList> {
        let last = self.last.lock();
        last.as_ref()
            .map_or_else(|| PyList::empty(py).unbind(), |list| list.clone_ref(py))
    }

    /// Files not begun are not sent, and their results say so; what is begun goes on.
    fn stop(&self) {
        self.sending.stop();
    }
}

impl From<Sending> for Bulk {
    fn from(sending: Sending) -> Self {
        Self {
            sending: Arc::new(sending).into(),
            last: Arc::default(),
        }
    }
}

/// What became of one file: there is either a response, or an error.
#[pyclass(frozen, get_all, module = "dimse_rs._core")]
pub(crate) struct FileResult {
    /// Its place in the list that was given.
    index: usize,
    /// What the file is; None when it was not read, or could not be.
    info: Option<Py<FileFacts>>,
    /// The request was given to the association: the peer may have got some of it, or all.
    begun: bool,
    /// The peer's answer.
    response: Option<Py<Message>>,
    /// (0000,0900) of it.
    status: Option<u16>,
    /// (0000,0902) of it.
    comment: Option<String>,
    /// Why there is no answer.
    error: Option<Py<PyAny>>,
    /// The `OSError`, when that is why.
    unreadable: Option<Py<PyAny>>,
}

impl FileResult {
    fn of(py: Python<'_>, result: BulkResult) -> PyResult<Self> {
        let info = result.info.as_ref().map(FileFacts::from);
        // Converted here, on the thread that took it: tasks of the core never hold the interpreter.
        let mut all = Self {
            index: result.index,
            info: info.map(|info| Py::new(py, info)).transpose()?,
            begun: result.begun,
            response: None,
            status: None,
            comment: None,
            error: None,
            unreadable: None,
        };
        match result.outcome {
            Ok(command) => {
                all.status = command.status().map(|status| status.0);
                all.comment = command.text(element::ERROR_COMMENT);
                let message =
                    Message::received(py, 0, command, dimse_net::association::Data::None)?;
                all.response = Some(Py::new(py, message)?);
            }
            Err(error) => {
                if let Error::Unreadable(path, cause) = &error {
                    // Beside the DimseError, not in its place: `send` reports the one, `c_store` raises the other.
                    let cause = errors::os(py, cause, &path.display().to_string());
                    all.unreadable = Some(cause.into_value(py).into_any());
                }
                all.error = Some(errors::to_py(py, &error).into_value(py).into_any());
            }
        }
        Ok(all)
    }
}

#[pymethods]
impl FileResult {
    /// Unpacks as (index, file or None when it was not begun, response, error), which `Association.send_files`
    /// promises to its users.
    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        let begun = self.info.as_ref().filter(|_| self.begun);
        let file = begun.map(|info| info.get().parts());
        let parts = (self.index, file, &self.response, &self.error);
        parts.into_bound_py_any(py)?.try_iter()
    }
}
