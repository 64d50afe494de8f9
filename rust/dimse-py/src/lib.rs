//! The module `dimse_rs._core`: what Python sees of the core. The crate holds no protocol knowledge: it moves values
//! across the border, releases the interpreter while a call waits, and answers Ctrl-C.
//!
//! Rust never calls user code: Python pulls everything, or takes it when the crate has woken an event loop.
//!
//! | Files, from the ground up | What they are for |
//! |---|---|
//! | `blocking`, `errors` | waiting without the interpreter; errors as exceptions |
//! | `facts`, `metrics`, `bytes`, `completions`, `pdu` | what Rust knows as classes; buffers; outcomes for event loops |
//! | `items`, `message`, `scan`, `tls` | negotiation items; DIMSE messages; data sets before they are decoded |
//! | `elements` | data sets as bytes, and as the objects of pydicom |
//! | `event`, `events`, `bulk`, `connection`, `verdict` | what happened; files on their way; stored instances |
//! | `header`, `folder` | some elements of files and of received data sets; a folder that receives |
//! | `association`, `service` | the handle of an association; what a node answers, and its queues |
//! | `config`, `policy`, `proposal` | settings; what a server accepts by itself, and what it asks Python about |
//! | `open`, `listener` | the two ends that begin associations |

mod association;
mod blocking;
mod bulk;
mod bytes;
mod completions;
mod config;
mod connection;
mod elements;
mod errors;
mod event;
mod events;
mod facts;
mod folder;
mod header;
mod items;
mod listener;
mod message;
mod metrics;
mod open;
mod pdu;
mod policy;
mod proposal;
mod scan;
mod service;
mod tls;
mod verdict;

use dimse_net::files::SourceErrorKind;
use pyo3::prelude::*;

/// The native core of `dimse_rs`; private, see `_core.pyi`.
// Every class is frozen, and shared state stands behind its own lock, so the module needs no global lock either.
#[pymodule(gil_used = false)]
mod _core {
    #[pymodule_export]
    use super::association::{Association, Invocation, MoveOriginator};
    #[pymodule_export]
    use super::blocking::check_process;
    #[pymodule_export]
    use super::bulk::{Bulk, FileResult};
    #[pymodule_export]
    use super::bytes::Payload;
    #[pymodule_export]
    use super::completions::Completions;
    #[pymodule_export]
    use super::config::{Config, Limits, Timeouts};
    #[pymodule_export]
    use super::connection::Connection;
    #[pymodule_export]
    use super::elements::{encode_elements, raw_elements};
    #[pymodule_export]
    use super::event::{EventFacts, event_kinds, followed_kinds};
    #[pymodule_export]
    use super::events::{Events, Follower};
    #[pymodule_export]
    use super::facts::{
        AddressFacts, Cancellation, ContextFacts, FileFacts, ImplementationFacts, ReceivedFacts,
        RefusedFacts, SavedFacts, TitlesFacts, WindowFacts, command_fields, context_results,
        status_codes,
    };
    #[pymodule_export]
    use super::folder::{Collect, Folder};
    #[pymodule_export]
    use super::header::{Groups, HeaderFacts, Headers};
    #[pymodule_export]
    use super::items::{CommonExtended, Identity, ProposedContext, SupportedContext};
    #[pymodule_export]
    use super::listener::Listener;
    #[pymodule_export]
    use super::message::Message;
    #[pymodule_export]
    use super::metrics::{HistogramFacts, MetricsFacts};
    #[pymodule_export]
    use super::open::{AssociateRequest, associate};
    #[pymodule_export]
    use super::policy::{ExtendedAnswer, Policy, UnknownClasses};
    #[pymodule_export]
    use super::proposal::{Permit, Proposal};
    #[pymodule_export]
    use super::scan::{Bounds, Dictionary, Reserved, Scan, scan, scan_file};
    #[pymodule_export]
    use super::service::{HeldRelease, Operation, Service, Sink};
    #[pymodule_export]
    use super::tls::{CertificateFacts, Credentials, Tls, TlsFacts};
    #[pymodule_export]
    use super::verdict::{Arrivals, Refusal, StoredFacts};
    #[pymodule_export]
    use super::{
        FixedLimits, alive_tasks, fixed_limits, implementation, is_debug_build, panics, probe,
    };

    /// Of the package, as Cargo.toml has it.
    #[pymodule_export]
    #[expect(non_upper_case_globals, reason = "as Python calls it")]
    const __version__: &str = env!("CARGO_PKG_VERSION");
}

/// What implements this node (PS3.7 D.3.3.2).
#[pyfunction]
fn implementation() -> facts::ImplementationFacts {
    use dimse_proto::ul::negotiate::{IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME};
    facts::ImplementationFacts {
        class_uid: IMPLEMENTATION_CLASS_UID.to_text(),
        version: IMPLEMENTATION_VERSION_NAME.to_owned(),
    }
}

/// Whether the core was built without optimisation, and is many times slower than it should be.
#[pyfunction]
const fn is_debug_build() -> bool {
    cfg!(debug_assertions)
}

/// Limits that no setting changes.
#[pyclass(frozen, get_all, module = "dimse_rs._core")]
struct FixedLimits {
    /// Presentation contexts of a proposal.
    contexts: usize,
    /// Transfer syntaxes of a presentation context.
    transfer_syntaxes: usize,
    /// Sequences inside each other in a data set.
    sequence_depth: usize,
    /// Fragments without bytes in a message.
    empty_fragments: u32,
}

/// Limits that no setting changes.
#[pyfunction]
fn fixed_limits() -> FixedLimits {
    use dimse_proto::connection::AssemblyLimits;
    use dimse_proto::dataset::DEPTH_LIMIT;
    use dimse_proto::ul::associate::{MAX_CONTEXTS, MAX_TRANSFER_SYNTAXES};
    FixedLimits {
        contexts: MAX_CONTEXTS,
        transfer_syntaxes: MAX_TRANSFER_SYNTAXES,
        sequence_depth: DEPTH_LIMIT,
        empty_fragments: AssemblyLimits::default().empty_fragments,
    }
}

/// Panics of the core in this process, since its threads were started. Each panic is a fault of the core.
#[pyfunction]
fn panics() -> u64 {
    dimse_net::runtime::panics()
}

/// Tasks of the core that are alive in this process, to see that none is left behind.
#[pyfunction]
fn alive_tasks() -> PyResult<usize> {
    // The counter of a forked child shows tasks of the parent, which do not run in the child.
    blocking::check_process()?;
    Ok(dimse_net::runtime::alive_tasks())
}

/// What a Part 10 file is. Reads its beginning only.
#[pyfunction]
#[expect(
    clippy::needless_pass_by_value,
    reason = "arguments are taken over from Python"
)]
fn probe(py: Python<'_>, path: std::path::PathBuf) -> PyResult<facts::FileFacts> {
    // A file on a network share may take seconds to open: other Python threads go on meanwhile.
    let info = py
        .detach(|| dimse_net::send::probe(&path))
        .map_err(|error| match &error.kind {
            // What the operating system refused stays an OSError with its number: callers tell ENOENT from a bad file.
            SourceErrorKind::Io(cause) => errors::os(py, cause, &path.display().to_string()),
            _ => errors::input(py, &error.to_string()),
        })?;
    Ok(facts::FileFacts::from(&info))
}
