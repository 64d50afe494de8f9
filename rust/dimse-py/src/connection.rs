//! `_core.Connection`: one association end without I/O, for tests and for those who bring their own.

use bytes::BytesMut;
use dimse_net::association::Data;
use dimse_proto::LocalError;
use dimse_proto::connection::output::{Indication, Output, PAbortOrigin};
use dimse_proto::connection::{Config, Connection as Core};
use dimse_proto::ul::associate::Associate;
use dimse_proto::ul::data::frame;
use dimse_proto::ul::negotiate::{
    self, AcceptorPolicy, Preference, Request, SupportedContext, Verdict,
};
use dimse_proto::ul::reason::AssociateRj;
use parking_lot::Mutex;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};

use crate::bytes::bytes_of;
use crate::errors;
use crate::facts::{contexts_of, title_of, uid_of, uids_of};
use crate::items::{self, ProposedContext};
use crate::message::Message;

/// One end of an association without I/O (PS3.8 9.2). After every call, take `outputs()` and carry them out in order:
/// ("connect", None), ("transmit", bytes), ("close", None), ("start-artim", None), ("stop-artim", None) and
/// ("indicate", (name, facts)).
#[pyclass(frozen, module = "dimse_rs._core")]
pub(crate) struct Connection {
    inner: Mutex<Inner>,
}

// One lock around all: the state machine is a sequence of calls, and two threads must not interleave their parts.
struct Inner {
    core: Core,
    buffer: BytesMut,
    request: Option<Associate>,
    policy: Option<AcceptorPolicy>,
    pending: Option<Associate>,
}

impl Connection {
    fn new(core: Core, request: Option<Associate>, policy: Option<AcceptorPolicy>) -> Self {
        Self {
            inner: Mutex::new(Inner {
                core,
                buffer: BytesMut::new(),
                request,
                policy,
                pending: None,
            }),
        }
    }
}

fn raised(py: Python<'_>, outcome: Result<(), LocalError>) -> PyResult<()> {
    outcome.map_err(|error| errors::local(py, &error))
}

#[pymethods]
impl Connection {
    /// The end that asks.
    #[staticmethod]
    #[pyo3(signature = (*, calling, called, contexts, max_length=131_072))]
    fn requestor(
        py: Python<'_>,
        calling: &str,
        called: &str,
        contexts: Vec<Bound<'_, ProposedContext>>,
        max_length: u32,
    ) -> PyResult<Self> {
        let contexts = items::proposed(py, contexts)?;
        let mut request = Request::new(title_of(calling)?, title_of(called)?, contexts);
        request.max_length = max_length;
        let request = request.build().map_err(|error| errors::local(py, &error))?;
        let core = Core::requestor(Config {
            max_length,
            ..Config::default()
        });
        Ok(Self::new(core, Some(request), None))
    }

    /// The acceptor's end: `contexts` are (SOP class, transfer syntaxes), any syntax when there are none.
    #[staticmethod]
    #[pyo3(signature = (*, contexts, max_length=131_072))]
    fn acceptor(
        py: Python<'_>,
        contexts: Vec<(String, Vec<String>)>,
        max_length: u32,
    ) -> PyResult<Self> {
        let contexts = contexts
            .into_iter()
            .map(|(class, syntaxes)| {
                Ok(SupportedContext {
                    abstract_syntax: uid_of(py, &class)?,
                    transfer_syntaxes: uids_of(py, &syntaxes)?,
                    preference: Preference::Requestor,
                    scu: true,
                    scp: false,
                })
            })
            .collect::<PyResult<Vec<_>>>()?;
        let mut policy = AcceptorPolicy::new(contexts);
        policy.max_length = max_length;
        let core = Core::acceptor(Config {
            max_length,
            ..Config::default()
        });
        Ok(Self::new(core, None, Some(policy)))
    }

    /// "Sta1" to "Sta13".
    #[getter]
    fn state(&self) -> String {
        self.inner.lock().core.state().to_string()
    }

    /// A-ASSOCIATE request.
    fn associate(&self, py: Python<'_>) -> PyResult<()> {
        let mut inner = self.inner.lock();
        // Taken: a connection asks once, and the second request is the caller's mistake (PS3.8 9.2.3).
        match inner.request.take() {
            Some(request) => raised(py, inner.core.associate(request)),
            None => raised(
                py,
                Err(LocalError::invalid("nothing to propose", "PS3.8 7.1.1")),
            ),
        }
    }

    /// The transport connection is open.
    fn transport_connected(&self) {
        self.inner.lock().core.transport_connected();
    }

    /// The transport connection closed.
    fn transport_closed(&self) {
        self.inner.lock().core.transport_closed();
    }

    /// ARTIM ran out.
    fn artim_expired(&self) {
        self.inner.lock().core.artim_expired();
    }

    /// Bytes arrived.
    fn receive(&self, data: &Bound<'_, PyAny>) -> PyResult<()> {
        let data = bytes_of(data)?;
        let mut inner = self.inner.lock();
        // The rest of a PDU that is cut by the end of the bytes stays in the buffer.
        let Inner { core, buffer, .. } = &mut *inner;
        buffer.extend_from_slice(&data);
        core.receive(buffer);
        Ok(())
    }

    /// Answers the A-ASSOCIATE indication by the contexts given to `acceptor`.
    fn answer(&self, py: Python<'_>) -> PyResult<()> {
        let mut inner = self.inner.lock();
        let verdict = match (&inner.pending, &inner.policy) {
            (Some(request), Some(policy)) => negotiate::answer(request, policy),
            _ => {
                return raised(
                    py,
                    Err(LocalError::invalid("nothing to answer", "PS3.8 7.1.1")),
                );
            }
        };
        // Answered once: the negotiation is the same function that a listener uses.
        inner.pending = None;
        raised(
            py,
            match verdict {
                Verdict::Accept { answer, negotiated } => inner.core.accept(answer, *negotiated),
                Verdict::Reject { rj, .. } => inner.core.reject(rj),
            },
        )
    }

    /// A-ASSOCIATE response, rejecting.
    fn reject(&self, py: Python<'_>, result: u8, source: u8, reason: u8) -> PyResult<()> {
        let rj = AssociateRj::new(result, source, reason);
        raised(py, self.inner.lock().core.reject(rj))
    }

    /// P-DATA request: a whole message, framed for the peer.
    fn send(&self, py: Python<'_>, message: &Bound<'_, Message>) -> PyResult<()> {
        let (context_id, command, data) = message.get().parts(py)?;
        let mut inner = self.inner.lock();
        // Asked first: in a state in which nothing can be sent there is no maximum length to frame by.
        raised(py, inner.core.check_send())?;
        let max_fragment = inner.core.max_fragment();
        // Command and data set go as fragments of PDVs that fit the peer's Maximum Length (PS3.8 D.1).
        let mut framed = BytesMut::new();
        frame(
            &mut framed,
            context_id,
            true,
            &command.encode(),
            max_fragment,
        );
        if let Some(data) = data {
            frame(&mut framed, context_id, false, &data, max_fragment);
        }
        raised(py, inner.core.send(framed.freeze()))
    }

    /// A-RELEASE request.
    fn release(&self, py: Python<'_>) -> PyResult<()> {
        raised(py, self.inner.lock().core.release())
    }

    /// A-RELEASE response.
    fn release_response(&self, py: Python<'_>) -> PyResult<()> {
        raised(py, self.inner.lock().core.release_response())
    }

    /// A-ABORT request.
    fn abort(&self, py: Python<'_>) -> PyResult<()> {
        raised(py, self.inner.lock().core.abort())
    }

    /// What is to be done now, in order; each is given once.
    fn outputs<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let list = PyList::empty(py);
        let mut inner = self.inner.lock();
        while let Some(output) = inner.core.poll_output() {
            match output {
                Output::Connect => list.append(("connect", py.None()))?,
                Output::Transmit(bytes) => {
                    list.append(("transmit", PyBytes::new(py, &bytes)))?;
                }
                Output::Close => list.append(("close", py.None()))?,
                Output::StartArtim => list.append(("start-artim", py.None()))?,
                Output::StopArtim => list.append(("stop-artim", py.None()))?,
                Output::Indicate(indication) => {
                    // Kept for `answer`, which negotiates on what was asked.
                    if let Indication::AssociateRequested(request) = &indication {
                        inner.pending = Some(request.clone());
                    }
                    list.append(("indicate", indication_to_py(py, indication)?))?;
                }
            }
        }
        Ok(list)
    }
}

fn indication_to_py(
    py: Python<'_>,
    indication: Indication,
) -> PyResult<(&'static str, Bound<'_, PyDict>)> {
    let facts = PyDict::new(py);
    let name = match indication {
        Indication::AssociateRequested(request) => {
            facts.set_item("calling", request.calling_ae().to_text())?;
            facts.set_item("called", request.called_ae().to_text())?;
            "associate-requested"
        }
        Indication::AssociateAccepted(_, negotiated) => {
            facts.set_item("contexts", contexts_of(&negotiated))?;
            facts.set_item("max_length", negotiated.peer_max_length)?;
            "associate-accepted"
        }
        Indication::AssociateRejected(rj) => {
            facts.set_item("result", rj.result.0)?;
            facts.set_item("source", rj.source.0)?;
            facts.set_item("reason", rj.reason)?;
            "associate-rejected"
        }
        Indication::Command {
            context_id,
            command,
        } => {
            let message = Message::received(py, context_id, command, Data::None)?;
            facts.set_item("message", Py::new(py, message)?)?;
            "command"
        }
        Indication::Data {
            context_id,
            fragment,
            last,
        } => {
            facts.set_item("context_id", context_id)?;
            facts.set_item("fragment", PyBytes::new(py, &fragment))?;
            facts.set_item("last", last)?;
            "data"
        }
        Indication::ReleaseRequested => "release-requested",
        Indication::ReleaseConfirmed => "release-confirmed",
        Indication::Aborted(abort) => {
            facts.set_item("source", abort.source.0)?;
            facts.set_item("reason", abort.reason.0)?;
            "aborted"
        }
        Indication::PAborted { origin, reason } => {
            facts.set_item("origin", name_of(origin))?;
            facts.set_item("reason", reason.0)?;
            "p-aborted"
        }
        Indication::Violation(error) => {
            facts.set_item("error", errors::decode(py, &error).into_value(py))?;
            "violation"
        }
    };
    Ok((name, facts))
}

const fn name_of(origin: PAbortOrigin) -> &'static str {
    match origin {
        PAbortOrigin::Local => "local",
        PAbortOrigin::Peer => "peer",
        PAbortOrigin::Transport => "transport",
    }
}
