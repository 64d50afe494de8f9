//! What Rust knows and Python reads: frozen classes with named fields, and the texts of small values. The ground
//! floor of the crate: nothing here knows an association, a service or an event.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use dimse_net::receive::Stored;
use dimse_net::send::FileInfo;
use dimse_proto::dataset::{Oddity, Tag};
use dimse_proto::dimse::{CommandField, Status};
use dimse_proto::ul::negotiate::{Negotiated, NegotiatedContext};
use dimse_proto::ul::reason::ContextResult;
use dimse_proto::{AeTitle, Uid};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::errors;

/// The AE titles of an association or of a proposal (PS3.8 9.3.2); empty before the titles are known.
#[pyclass(frozen, get_all, module = "dimse_rs._core")]
pub(crate) struct TitlesFacts {
    /// Of the requestor.
    pub(crate) calling: String,
    /// Of the acceptor.
    pub(crate) called: String,
}

/// Where a peer, or a listener, is.
#[pyclass(frozen, get_all, module = "dimse_rs._core")]
#[derive(Clone)]
pub(crate) struct AddressFacts {
    /// The IP address.
    host: String,
    /// The TCP port.
    port: u16,
}

impl From<SocketAddr> for AddressFacts {
    fn from(address: SocketAddr) -> Self {
        Self {
            // Never a host name: a name server that is slow or wrong must not decide on what is logged.
            host: address.ip().to_string(),
            port: address.port(),
        }
    }
}

/// What implements an application entity (PS3.7 D.3.3.2); empty where a peer did not name it.
#[pyclass(frozen, get_all, module = "dimse_rs._core")]
pub(crate) struct ImplementationFacts {
    /// Implementation Class UID.
    pub(crate) class_uid: String,
    /// Implementation Version Name.
    pub(crate) version: String,
}

/// The asynchronous operations window (PS3.7 D.3.3.3), from this end's point of view; 0 is no limit.
#[pyclass(frozen, get_all, module = "dimse_rs._core")]
pub(crate) struct WindowFacts {
    /// Operations that this end may have outstanding.
    pub(crate) invoked: u16,
    /// Operations that the peer may have outstanding.
    pub(crate) performed: u16,
}

/// What was agreed on one presentation context (PS3.8 9.3.3.2), from this end's point of view.
#[pyclass(frozen, get_all, module = "dimse_rs._core")]
pub(crate) struct ContextFacts {
    /// Presentation context id.
    id: u8,
    /// Abstract syntax.
    sop_class: String,
    /// Result/Reason, as the number of PS3.8 Table 9-18.
    result: u8,
    /// The one that the acceptor picked; None when the context was not accepted.
    transfer_syntax: Option<String>,
    /// This end may invoke operations on it.
    scu: bool,
    /// This end may perform operations on it.
    scp: bool,
}

#[pymethods]
impl ContextFacts {
    /// The context can carry messages: it was accepted, and in one transfer syntax.
    #[getter]
    fn accepted(&self) -> bool {
        // An acceptance without a transfer syntax is a mistake of the acceptor: no data set could be encoded.
        self.result == ContextResult::ACCEPTANCE.0 && self.transfer_syntax.is_some()
    }

    /// The result in the words of the standard.
    #[getter]
    fn reason(&self) -> String {
        let result = ContextResult(self.result);
        // A number without a name is the peer's mistake, and is shown as it came.
        let unnamed = || format!("result {}", self.result);
        result.name().map_or_else(unnamed, str::to_owned)
    }
}

impl From<&NegotiatedContext> for ContextFacts {
    fn from(context: &NegotiatedContext) -> Self {
        Self {
            id: context.id,
            sop_class: context.abstract_syntax.to_text(),
            result: context.result.0,
            transfer_syntax: context.transfer_syntax.as_ref().map(Uid::to_text),
            scu: context.scu,
            scp: context.scp,
        }
    }
}

/// What was agreed on each context, in the order proposed.
pub(crate) fn contexts_of(negotiated: &Negotiated) -> Vec<ContextFacts> {
    negotiated.contexts.iter().map(ContextFacts::from).collect()
}

/// The results of presentation contexts that have a name (PS3.8 Table 9-18).
#[pyfunction]
pub(crate) fn context_results() -> Vec<(u8, &'static str)> {
    // Every number is asked for its name, so that the table of the protocol crate is the only list.
    let named = |number| Some((number, ContextResult(number).name()?));
    (0..=u8::MAX).filter_map(named).collect()
}

/// The Command Fields with the standard's names of the messages (PS3.7 E.1).
#[pyfunction]
pub(crate) fn command_fields() -> Vec<(u16, &'static str)> {
    let named = |number| Some((number, CommandField(number).name()?));
    (0..=u16::MAX).filter_map(named).collect()
}

/// The status codes that the core knows by name (PS3.7 C).
#[pyfunction]
pub(crate) fn status_codes() -> Vec<(&'static str, u16)> {
    Status::NAMED
        .iter()
        .map(|(name, status)| (*name, status.0))
        .collect()
}

/// What a Part 10 file is, as its beginning says.
#[pyclass(frozen, get_all, module = "dimse_rs._core")]
pub(crate) struct FileFacts {
    /// SOP class of the instance.
    sop_class: String,
    /// SOP instance UID.
    sop_instance: String,
    /// How the data set is encoded.
    transfer_syntax: String,
    /// Length of the data set in bytes.
    size: u64,
}

impl From<&FileInfo> for FileFacts {
    fn from(info: &FileInfo) -> Self {
        Self {
            sop_class: info.sop_class.to_text(),
            sop_instance: info.sop_instance.to_text(),
            transfer_syntax: info.transfer_syntax.to_text(),
            size: info.data_length,
        }
    }
}

// `size` is the length in the file: a peer gets as many bytes, but for the padding of an odd deflated data set.
impl FileFacts {
    /// SOP class, SOP instance, transfer syntax and size.
    pub(crate) fn parts(&self) -> (&str, &str, &str, u64) {
        (
            &self.sop_class,
            &self.sop_instance,
            &self.transfer_syntax,
            self.size,
        )
    }
}

/// An instance that a handler has saved.
#[pyclass(frozen, get_all, module = "dimse_rs._core")]
pub(crate) struct SavedFacts {
    /// The Part 10 file.
    path: PathBuf,
    /// What is odd in its data set.
    oddities: Vec<String>,
}

impl From<Stored> for SavedFacts {
    fn from(stored: Stored) -> Self {
        Self {
            oddities: texts(&stored.oddities),
            path: stored.path,
        }
    }
}

/// What became of the C-STOREs that came while a C-GET of this end was outstanding.
#[pyclass(frozen, get_all, module = "dimse_rs._core")]
pub(crate) struct ReceivedFacts {
    /// Answered with Success, or a warning.
    pub(crate) stored: u64,
    /// Answered with a failure.
    pub(crate) refused: Vec<RefusedFacts>,
}

/// Instances that were refused for the same reason.
#[pyclass(frozen, get_all, module = "dimse_rs._core")]
#[derive(Clone)]
pub(crate) struct RefusedFacts {
    /// The status that answered them.
    status: u16,
    /// The first Error Comment that went with it.
    comment: String,
    /// How many.
    count: u64,
}

impl From<(u16, String, u64)> for RefusedFacts {
    fn from((status, comment, count): (u16, String, u64)) -> Self {
        Self {
            status,
            comment,
            count,
        }
    }
}

/// Whether an operation is cancelled: one flag that the driver sets and that files being sent look at. The flag is
/// shared, so that the sending stops before Python hears of the C-CANCEL.
#[pyclass(frozen, module = "dimse_rs._core")]
pub(crate) struct Cancellation {
    // Relaxed reads and writes do: the flag guards no other memory.
    pub(crate) flag: Arc<AtomicBool>,
}

#[pymethods]
impl Cancellation {
    /// The peer sent C-CANCEL, or the association ended.
    #[getter]
    fn cancelled(&self) -> bool {
        self.flag.load(Ordering::Relaxed)
    }
}

/// What is odd in a data set, as texts for a log and for JSON.
pub(crate) fn texts(oddities: &[Oddity]) -> Vec<String> {
    oddities.iter().map(Oddity::to_string).collect()
}

/// A tag from the number that Python writes it as.
pub(crate) fn tag_of(number: u32) -> Tag {
    let [a, b, c, d] = number.to_be_bytes();
    Tag(u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]))
}

/// A UID that Python gives.
pub(crate) fn uid_of(py: Python<'_>, text: &str) -> PyResult<Uid> {
    Uid::new(text).map_err(|error| errors::local(py, &error))
}

/// UIDs that Python gives.
pub(crate) fn uids_of(py: Python<'_>, texts: &[String]) -> PyResult<Vec<Uid>> {
    texts.iter().map(|text| uid_of(py, text)).collect()
}

/// An AE title that Python gives.
pub(crate) fn title_of(text: &str) -> PyResult<AeTitle> {
    AeTitle::new(text).map_err(|error| PyValueError::new_err(error.to_string()))
}
