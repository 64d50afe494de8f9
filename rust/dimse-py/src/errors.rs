//! Rust errors as the exceptions of `dimse_rs.errors`, which Python defines and this asks for by kind.
//!
//! A dictionary is what crosses here: `from_core` takes the facts of every kind of exception, and most kinds have few.

use dimse_net::error::{Error, TlsAdvice};
use dimse_proto::connection::output::PAbortOrigin;
use dimse_proto::{DecodeError, LocalError};
use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;

// Looked up once: a peer that breaks off many associations makes an error of each.
static FROM_CORE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// Builds the exception that `dimse_rs.errors.from_core` has for a kind.
fn build(
    py: Python<'_>,
    kind: &str,
    fill: impl FnOnce(&Bound<'_, PyDict>) -> PyResult<()>,
) -> PyErr {
    // A failure in here, such as a KeyboardInterrupt while the module is imported, is raised in place of the error.
    let made = (|| {
        let from_core = FROM_CORE.get_or_try_init(py, || {
            py.import("dimse_rs.errors")?
                .getattr("from_core")
                .map(Bound::unbind)
        })?;
        let fields = PyDict::new(py);
        fill(&fields)?;
        from_core.bind(py).call1((kind, fields))
    })();
    match made {
        Ok(exception) => PyErr::from_value(exception),
        Err(error) => error,
    }
}

/// Why an association, or something on it, failed.
pub(crate) fn to_py(py: Python<'_>, error: &Error) -> PyErr {
    build(py, kind_of(error), |fields| fill(fields, error))
}

/// Which exception `dimse_rs.errors` makes of an error.
const fn kind_of(error: &Error) -> &'static str {
    match error {
        Error::Rejected(_) => "rejected",
        // A connection that broke is no A-ABORT of the peer's, though PS3.8 indicates both as A-P-ABORT.
        Error::PAborted(PAbortOrigin::Transport, _) | Error::Lost(_) => "lost",
        Error::Aborted(_)
        | Error::PAborted(..)
        | Error::LocalAbort
        | Error::Evicted
        | Error::Shutdown => "aborted",
        Error::Released => "released",
        Error::Connect(..) => "connect",
        Error::Tls(_) => "tls",
        Error::Timeout(..) => "timeout",
        Error::Local(_) => "local",
        Error::Remote(_) => "remote",
        Error::NoContext(_) => "no-context",
        Error::Input(_) | Error::Unreadable(..) => "input",
        Error::NotWhole { .. } => "decode",
        _ => "other",
    }
}

/// What the exception says of the error.
fn fill(fields: &Bound<'_, PyDict>, error: &Error) -> PyResult<()> {
    match error {
        Error::Rejected(rj) => {
            fields.set_item("result", rj.result.0)?;
            fields.set_item("source", rj.source.0)?;
            return fields.set_item("reason", rj.reason);
        }
        Error::Aborted(abort) => {
            fields.set_item("source", abort.source.0)?;
            return fields.set_item("reason", abort.reason.0);
        }
        Error::Timeout(which, after) => {
            fields.set_item("which", which.name())?;
            return fields.set_item("seconds", after.as_secs_f64());
        }
        Error::NotWhole {
            what,
            offset,
            section,
        } => {
            fields.set_item("offset", offset)?;
            fields.set_item("section", section)?;
            return fields.set_item("message", what);
        }
        Error::PAborted(origin, reason) => {
            fields.set_item("source", 2)?;
            fields.set_item("reason", reason.0)?;
            fields.set_item("local", *origin == PAbortOrigin::Local)?;
        }
        Error::LocalAbort | Error::Evicted | Error::Shutdown => {
            // As if the service-user of this end had aborted (PS3.8 9.3.8).
            fields.set_item("source", 0)?;
            fields.set_item("local", true)?;
        }
        Error::Connect(cause, _) => fields.set_item("errno", cause.raw_os_error())?,
        Error::Lost(cause) => {
            let errno = cause.as_ref().and_then(|cause| cause.raw_os_error());
            fields.set_item("errno", errno)?;
        }
        Error::Tls(fault) => fields.set_item("advice", fault.advice.map(TlsAdvice::name))?,
        Error::Remote(cause) => fields.set_item("code", cause.code)?,
        _ => {}
    }
    fields.set_item("message", error.to_string())
}

/// None, or why it failed.
pub(crate) fn none(py: Python<'_>, outcome: Result<(), Error>) -> PyResult<Py<PyAny>> {
    match outcome {
        Ok(()) => Ok(py.None()),
        Err(error) => Err(to_py(py, &error)),
    }
}

/// The caller asked for what the standard forbids.
pub(crate) fn local(py: Python<'_>, error: &LocalError) -> PyErr {
    build(py, "local", |fields| {
        fields.set_item("message", error.to_string())
    })
}

/// Bytes that are not what they must be.
pub(crate) fn decode(py: Python<'_>, error: &DecodeError) -> PyErr {
    build(py, "decode", |fields| {
        fields.set_item("message", error.what.as_ref())?;
        fields.set_item("offset", error.offset)?;
        fields.set_item("section", error.section)?;
        fields.set_item("code", error.code)
    })
}

/// An instance that could not be stored, as the status that answers it.
pub(crate) fn refusal(py: Python<'_>, refusal: &dimse_net::receive::Refusal) -> PyErr {
    build(py, "status", |fields| {
        fields.set_item("status", refusal.status)?;
        fields.set_item("comment", refusal.comment.as_ref())?;
        fields.set_item("hint", &refusal.detail)
    })
}

/// What the operating system refused, in its own words, and on what.
pub(crate) fn os(py: Python<'_>, error: &std::io::Error, what: &str) -> PyErr {
    let Some(number) = error.raw_os_error() else {
        return PyOSError::new_err(format!("{what}: {error}"));
    };
    // Python's words for the number, so that the message is the one that `open` would have given.
    let words = (|| {
        let os = py.import("os")?;
        os.getattr("strerror")?
            .call1((number,))?
            .extract::<String>()
    })();
    PyOSError::new_err((
        number,
        words.unwrap_or_else(|_| error.to_string()),
        what.to_owned(),
    ))
}

/// A file that cannot be sent.
pub(crate) fn input(py: Python<'_>, text: &str) -> PyErr {
    build(py, "input", |fields| fields.set_item("message", text))
}

/// A data set that is not whole; `what` names the file, if there is one.
pub(crate) fn not_whole(py: Python<'_>, what: &str, offset: u64, section: &str) -> PyErr {
    build(py, "decode", |fields| {
        fields.set_item("message", what)?;
        fields.set_item("offset", offset)?;
        fields.set_item("section", section)
    })
}

/// Decoding takes more than a limit allows; `what` names the file, if there is one.
pub(crate) fn over(py: Python<'_>, what: &str, limit: &str, most: u64) -> PyErr {
    build(py, "over", |fields| {
        fields.set_item("what", what)?;
        fields.set_item("limit", limit)?;
        fields.set_item("most", most)
    })
}
