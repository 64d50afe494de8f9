//! `_core.Association`, `_core.Invocation`, `_core.Bulk`: the handle of an association, blocking.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use dimse_net::association as net;
use dimse_net::limits::Budget;
use dimse_net::send::{BulkResult, Options, Sending, ToSend};
use dimse_net::service::Service as Answers;
use dimse_proto::ul::negotiate::{Negotiated, NegotiatedContext, Request, UserIdentity};
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};
use tokio::sync::Mutex;

use crate::blocking::OfProcess;
use crate::completions::{Then, settle};
use crate::config::{self, CommonArgs, ContextArgs, ExtendedArgs, IdentityArgs, IdentityFacts};
use crate::errors;
use crate::events::{Follower, kinds};
use crate::message::{Message, title_of};
use crate::service::{Operation, Service};
use crate::tls::{self, Tls, TlsFacts};
use crate::{blocking, message};

/// One end of an association. Any thread may use it; it is aborted when a requestor's last handle goes away.
#[pyclass(frozen, module = "dimse_rs._core")]
pub(crate) struct Association {
    pub(crate) inner: OfProcess<net::Association>,
}

/// (id, abstract syntax, result, transfer syntax, SCU, SCP)
pub(crate) type ContextFacts = (u8, String, u8, Option<String>, bool, bool);

/// What was agreed on each context, from this end's point of view.
pub(crate) fn context_facts(negotiated: &Negotiated) -> Vec<ContextFacts> {
    negotiated.contexts.iter().map(facts_of).collect()
}

fn facts_of(context: &NegotiatedContext) -> ContextFacts {
    (
        context.id,
        context.abstract_syntax.to_text(),
        context.result.0,
        context
            .transfer_syntax
            .as_ref()
            .map(dimse_proto::Uid::to_text),
        context.scu,
        context.scp,
    )
}

impl From<net::Association> for Association {
    fn from(inner: net::Association) -> Self {
        Self {
            inner: inner.into(),
        }
    }
}

impl Association {
    /// Sends a message that was checked, and waits until it has left.
    pub(crate) fn send_parts(
        &self,
        py: Python<'_>,
        (context_id, command, data): message::Parts,
        then: Option<Then<'_>>,
    ) -> PyResult<Py<PyAny>> {
        let inner = net::Association::clone(&self.inner);
        let sent = async move { inner.send_and_wait(context_id, command, data).await };
        settle(py, then, sent, errors::none)
    }

    /// What a C-STORE request and its context say about the instance.
    pub(crate) fn store_request(&self, message: &Message) -> dimse_net::receive::StoreRequest {
        let titles = self
            .inner
            .established()
            .map(|established| established.titles);
        let none = dimse_proto::AeTitle::from_wire(b"");
        dimse_net::receive::StoreRequest {
            sop_class: message.command.sop_class().unwrap_or_default(),
            sop_instance: message.command.sop_instance().unwrap_or_default(),
            transfer_syntax: self
                .negotiated()
                .and_then(|agreed| agreed.by_id(message.context_id))
                .and_then(|context| context.transfer_syntax.clone())
                .unwrap_or_default(),
            calling_ae: titles.map_or(none, |titles| titles.calling),
            called_ae: titles.map_or(none, |titles| titles.called),
        }
    }

    fn negotiated(&self) -> Option<&Negotiated> {
        self.inner
            .established()
            .map(|established| &*established.negotiated)
    }
}

#[pymethods]
impl Association {
    /// Connects and asks for an association; returns when it is established.
    #[staticmethod]
    #[pyo3(signature = (host, port, *, calling, called, contexts, max_length, timeouts, limits,
                        max_ops_invoked=1, max_ops_performed=1, service=None, identity=None,
                        extended=vec![], common=vec![], tls=None, then=None))]
    #[expect(
        clippy::too_many_arguments,
        reason = "named on the Python side, private to dimse_rs"
    )]
    fn request(
        py: Python<'_>,
        host: String,
        port: u16,
        calling: &str,
        called: &str,
        contexts: Vec<ContextArgs>,
        max_length: u32,
        timeouts: &Bound<'_, PyDict>,
        limits: &Bound<'_, PyDict>,
        max_ops_invoked: u16,
        max_ops_performed: u16,
        service: Option<&Bound<'_, Service>>,
        identity: Option<IdentityArgs>,
        extended: Vec<ExtendedArgs>,
        common: Vec<CommonArgs>,
        tls: Option<&Bound<'_, Tls>>,
        then: Option<Then<'_>>,
    ) -> PyResult<Py<PyAny>> {
        let contexts = config::contexts(py, contexts)?;
        let mut request = Request::new(title_of(calling)?, title_of(called)?, contexts);
        request.max_length = max_length;
        request.max_ops_invoked = max_ops_invoked;
        request.max_ops_performed = max_ops_performed;
        request.identity = identity.map(config::identity);
        request.extended = config::extended(py, extended)?;
        request.common = config::common(py, common)?;
        let request = request.build().map_err(|error| errors::local(py, &error))?;
        let settings = net::Settings {
            timeouts: config::timeouts(timeouts)?,
            limits: config::limits(limits, max_length)?,
            budget: Budget::default(),
            tls: tls.map(|tls| Arc::clone(&tls.get().inner)),
            service: service.map_or_else(
                || {
                    Arc::new(Answers {
                        echo: true,
                        ..Answers::default()
                    })
                },
                |service| Arc::clone(&service.get().inner),
            ),
            metrics: None,
        };
        let association = net::Association::request(host, port, request, settings);
        settle(py, then, association, |py, outcome| match outcome {
            Ok(inner) => Self::from(inner).into_py_any(py),
            Err(error) => Err(errors::to_py(py, &error)),
        })
    }

    /// Number of the association, unique in the process.
    #[getter]
    fn id(&self) -> u64 {
        self.inner.id()
    }

    /// Every presentation context: (id, abstract syntax, result, transfer syntax, SCU, SCP).
    #[getter]
    fn contexts(&self) -> Vec<ContextFacts> {
        self.negotiated().map(context_facts).unwrap_or_default()
    }

    /// One presentation context, as in `contexts`; None for an id that was not proposed.
    fn context(&self, id: u8) -> Option<ContextFacts> {
        self.negotiated()?.by_id(id).map(facts_of)
    }

    /// The peer's Maximum Length in bytes; 0 is no limit.
    #[getter]
    fn peer_max_length(&self) -> u32 {
        self.negotiated().map_or(0, |agreed| agreed.peer_max_length)
    }

    /// Operations this end may have outstanding, and the peer may.
    #[getter]
    fn window(&self) -> (u16, u16) {
        self.negotiated()
            .map_or((1, 1), |agreed| (agreed.invoked, agreed.performed))
    }

    /// The peer's Implementation Class UID and version name.
    #[getter]
    fn peer_implementation(&self) -> (Option<String>, Option<String>) {
        self.negotiated().map_or((None, None), |agreed| {
            (
                agreed
                    .peer_implementation_class
                    .as_ref()
                    .map(dimse_proto::Uid::to_text),
                agreed.peer_implementation_version.clone(),
            )
        })
    }

    /// Mistakes of the peer in the negotiation that were let through.
    #[getter]
    fn warnings(&self) -> Vec<String> {
        self.negotiated()
            .map(|agreed| agreed.warnings.clone())
            .unwrap_or_default()
    }

    /// Extended negotiation as answered: (SOP class, information).
    #[getter]
    fn extended<'py>(&self, py: Python<'py>) -> Vec<(String, Bound<'py, PyBytes>)> {
        self.negotiated().map_or_else(Vec::new, |agreed| {
            let answered = agreed.extended.iter();
            answered
                .map(|(class, info)| (class.to_text(), PyBytes::new(py, info)))
                .collect()
        })
    }

    /// The user identity that the requestor said: type, whether a response was asked for, primary and secondary
    /// field.
    #[getter]
    fn identity<'py>(&self, py: Python<'py>) -> Option<IdentityFacts<'py>> {
        let said = UserIdentity::of(&self.inner.established()?.request)?;
        Some(config::identity_facts(py, &said))
    }

    /// The server's response to it; None when there was none.
    #[getter]
    fn identity_response<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        let response = self.negotiated()?.identity_response.as_ref()?;
        Some(PyBytes::new(py, &response.0))
    }

    /// What the TLS handshake agreed on: version, cipher suite, the peer's certificate. None without TLS.
    #[getter]
    fn tls<'py>(&self, py: Python<'py>) -> Option<TlsFacts<'py>> {
        let agreed = self.inner.established()?.tls.as_ref()?;
        Some(tls::facts(py, agreed))
    }

    /// Calling and called AE title.
    #[getter]
    fn titles(&self) -> (String, String) {
        self.inner.established().map_or_else(
            || (String::new(), String::new()),
            |established| {
                (
                    established.titles.calling.to_text(),
                    established.titles.called.to_text(),
                )
            },
        )
    }

    /// Host and port of the peer.
    #[getter]
    fn peer(&self) -> Option<(String, u16)> {
        let peer = self.inner.established()?.peer?;
        Some((peer.ip().to_string(), peer.port()))
    }

    /// Why it is over, as an exception; None while it lives.
    #[getter]
    fn ended<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        blocking::check_process()?;
        let why = |error| errors::to_py(py, &error).into_value(py).into_bound(py);
        Ok(self.inner.ended().map(|error| why(error).into_any()))
    }

    /// Somebody who follows what happens on it from now on, at most so many events behind.
    fn follow(&self, names: Vec<String>, most: usize) -> PyResult<Follower> {
        blocking::check_process()?;
        let following = self.inner.follow(kinds(names)?, most);
        Ok(Follower::new(following))
    }

    /// What this end made of the C-STOREs that came while a C-GET was outstanding: how many were stored, and
    /// (status, Error Comment, how many) for those refused.
    #[getter]
    fn received(&self) -> (u64, Vec<(u16, String, u64)>) {
        let received = self.inner.received();
        (received.stored, received.refused)
    }

    /// The next Message ID.
    fn next_message_id(&self) -> u16 {
        self.inner.next_message_id()
    }

    /// Sends a request; responses come from the invocation. `within`: seconds a response may take, 0 for ever.
    /// `again`: how many times more it is sent, as long as nothing fails; the last answer is the invocation's.
    #[pyo3(signature = (message, within=0.0, again=0))]
    fn invoke(
        &self,
        py: Python<'_>,
        message: &Bound<'_, Message>,
        within: f64,
        again: u64,
    ) -> PyResult<Invocation> {
        blocking::check_process()?;
        let (context_id, command, data) = message.get().parts(py)?;
        self.inner
            .invoke_again(context_id, command, data, config::duration(within), again)
            .map(|invocation| Invocation {
                inner: Arc::new(Mutex::new(invocation)).into(),
            })
            .map_err(|error| errors::to_py(py, &error))
    }

    /// Sends an answer, or C-CANCEL. `wait`: until it has left.
    #[pyo3(signature = (message, *, wait=true, then=None))]
    fn send(
        &self,
        py: Python<'_>,
        message: &Bound<'_, Message>,
        wait: bool,
        then: Option<Then<'_>>,
    ) -> PyResult<Py<PyAny>> {
        blocking::check_process()?;
        let parts = message.get().parts(py)?;
        if wait {
            return self.send_parts(py, parts, then);
        }
        let (context_id, command, data) = parts;
        self.inner
            .send(context_id, command, data)
            .map(|()| py.None())
            .map_err(|error| errors::to_py(py, &error))
    }

    /// Sends files, undecoded, as many at a time as were negotiated. `part_of`: of a request whose cancellation stops
    /// them. `check`: only those that are whole.
    #[expect(
        clippy::too_many_arguments,
        reason = "named on the Python side, private to dimse_rs"
    )]
    #[pyo3(signature = (paths, *, priority=0, within=0.0, move_originator=None, part_of=None, check=true))]
    fn send_files(
        &self,
        py: Python<'_>,
        paths: Vec<PathBuf>,
        priority: u16,
        within: f64,
        move_originator: Option<(String, u16)>,
        part_of: Option<&Bound<'_, Operation>>,
        check: bool,
    ) -> PyResult<Bulk> {
        blocking::check_process()?;
        let move_originator = match move_originator {
            Some((title, id)) => Some((title_of(&title)?, id)),
            None => None,
        };
        let options = Options {
            priority,
            move_originator,
            within: config::duration(within),
            cancelled: part_of.map(|operation| operation.get().cancellation()),
            unchecked: !check,
        };
        let files = paths
            .into_iter()
            .enumerate()
            .map(|(index, path)| ToSend { index, path })
            .collect();
        self.inner
            .send_files(files, options)
            .map(|sending| Bulk {
                sending: Arc::new(sending).into(),
            })
            .map_err(|error| errors::to_py(py, &error))
    }

    /// Releases the association after what is outstanding is confirmed.
    #[pyo3(signature = (*, then=None))]
    fn release(&self, py: Python<'_>, then: Option<Then<'_>>) -> PyResult<Py<PyAny>> {
        let inner = net::Association::clone(&self.inner);
        let released = async move { inner.release().await };
        settle(py, then, released, errors::none)
    }

    /// Aborts the association and waits until the connection is closed, at most a second.
    #[pyo3(signature = (*, then=None))]
    fn abort(&self, py: Python<'_>, then: Option<Then<'_>>) -> PyResult<Py<PyAny>> {
        blocking::check_process()?;
        self.inner.abort();
        let inner = net::Association::clone(&self.inner);
        let gone = async move {
            // A peer that does not close is left to its ARTIM timer.
            let _still_open = tokio::time::timeout(FAREWELL, inner.wait_ended()).await;
        };
        settle(py, then, gone, |py, ()| Ok(py.None()))
    }

    fn __repr__(&self) -> String {
        let (calling, called) = self.titles();
        format!("<_core.Association {} {called}<-{calling}>", self.id())
    }
}

/// How long an abort waits for the connection to be closed.
const FAREWELL: Duration = Duration::from_secs(1);

/// An operation at the peer.
#[pyclass(frozen, module = "dimse_rs._core")]
pub(crate) struct Invocation {
    inner: OfProcess<Arc<Mutex<net::Invocation>>>,
}

#[pymethods]
impl Invocation {
    /// The next response as a Message; None after the final one. Whoever else waits has the one after.
    #[pyo3(signature = (*, then=None))]
    fn next(&self, py: Python<'_>, then: Option<Then<'_>>) -> PyResult<Py<PyAny>> {
        let inner = Arc::clone(&self.inner);
        let next = async move { inner.lock().await.next().await };
        settle(py, then, next, |py, response| match response {
            None => Ok(py.None()),
            Some(Ok(net::Response {
                context_id,
                command,
                data,
            })) => Message::received(py, context_id, command, data)?.into_py_any(py),
            Some(Err(error)) => Err(errors::to_py(py, &error)),
        })
    }

    /// The responses there are, waiting for the first: a list of Messages, empty after the final one. The final
    /// one, or an error, comes by itself, when those before it were dealt with.
    #[pyo3(signature = (*, then=None))]
    fn next_many(&self, py: Python<'_>, then: Option<Then<'_>>) -> PyResult<Py<PyAny>> {
        let inner = Arc::clone(&self.inner);
        let next = async move { inner.lock().await.next_many(AT_ONCE).await };
        settle(py, then, next, |py, responses| {
            let responses = responses.map_err(|error| errors::to_py(py, &error))?;
            let list = PyList::empty(py);
            for response in responses {
                let net::Response {
                    context_id,
                    command,
                    data,
                } = response;
                list.append(Message::received(py, context_id, command, data)?)?;
            }
            list.into_py_any(py)
        })
    }
}

/// Most responses given to Python at once.
const AT_ONCE: usize = 256;

/// Files on their way: one result each.
#[pyclass(frozen, module = "dimse_rs._core")]
pub(crate) struct Bulk {
    sending: OfProcess<Arc<Sending>>,
}

/// How long results wait for company.
const GATHER: Duration = Duration::from_millis(5);

#[pymethods]
impl Bulk {
    /// The results there are, waiting at most `within` seconds for the first: a list of tuples (index, file,
    /// response, exception), or None when all were given. `file` is (SOP class, SOP instance, transfer syntax,
    /// bytes), or None when nothing of it was sent; `response` a Message or None.
    /// `gather`: wait a moment for company, or give the first at once.
    #[pyo3(signature = (within=0.1, *, gather=true, then=None))]
    fn next(
        &self,
        py: Python<'_>,
        within: f64,
        gather: bool,
        then: Option<Then<'_>>,
    ) -> PyResult<Py<PyAny>> {
        let within = config::duration(within).unwrap_or(Duration::ZERO);
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
        settle(py, then, next, |py, results| {
            let Some(results) = results.unwrap_or_else(|| Some(Vec::new())) else {
                return Ok(py.None());
            };
            let list = PyList::empty(py);
            for result in results {
                list.append(bulk_result(py, result)?)?;
            }
            Ok(list.into_any().unbind())
        })
    }

    /// Files not begun are not sent, and their results say so; what is begun goes on.
    fn stop(&self) {
        self.sending.stop();
    }
}

type FileFacts = (String, String, String, u64);

type BulkFacts<'py> = (
    usize,
    Option<FileFacts>,
    Option<Message>,
    Option<Bound<'py, PyAny>>,
);

fn bulk_result(py: Python<'_>, result: BulkResult) -> PyResult<BulkFacts<'_>> {
    let facts = result.info.filter(|_| result.begun).map(|info| {
        (
            info.sop_class.to_text(),
            info.sop_instance.to_text(),
            info.transfer_syntax.to_text(),
            info.data_length,
        )
    });
    let (response, error) = match result.outcome {
        Ok(command) => {
            let message = Message::received(py, 0, command, dimse_net::service::Data::None)?;
            (Some(message), None)
        }
        Err(error) => {
            let exception = errors::to_py(py, &error).into_value(py);
            (None, Some(exception.into_bound(py).into_any()))
        }
    };
    Ok((result.index, facts, response, error))
}
