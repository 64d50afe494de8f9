//! `_core.Association` and `_core.Invocation`: the handle of an association, and an operation at the peer.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use dimse_net::association as net;
use dimse_net::runtime;
use dimse_net::send::{Options, ToSend};
use dimse_proto::ul::negotiate::{Negotiated, UserIdentity};
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use tokio::sync::Mutex;

use crate::blocking::{self, OfProcess, duration};
use crate::bulk::Bulk;
use crate::completions::{Then, settle};
use crate::errors;
use crate::events::{Follower, kinds};
use crate::facts::{
    AddressFacts, Cancellation, ContextFacts, ImplementationFacts, ReceivedFacts, RefusedFacts,
    TitlesFacts, WindowFacts, contexts_of, title_of,
};
use crate::folder::Folder;
use crate::items::Identity;
use crate::message::{self, Message};
use crate::tls::TlsFacts;

/// One end of an association. Any thread may use it; an association that this node asked for is aborted when its last
/// handle goes.
#[pyclass(frozen, module = "dimse_rs._core")]
pub(crate) struct Association {
    pub(crate) inner: OfProcess<net::Association>,
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
        // The future owns a handle: Python may drop this object while the call waits.
        let inner = net::Association::clone(&self.inner);
        let sent = async move { inner.send_and_wait(context_id, command, data).await };
        settle(py, then, sent, errors::none)
    }

    /// What is known of the instance from its C-STORE request and context.
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
    /// Number of the association, unique in the process.
    #[getter]
    fn id(&self) -> u64 {
        self.inner.id()
    }

    /// Every presentation context, in the order proposed.
    #[getter]
    fn contexts(&self) -> Vec<ContextFacts> {
        self.negotiated().map(contexts_of).unwrap_or_default()
    }

    /// One presentation context; None for an id that was not proposed.
    fn context(&self, id: u8) -> Option<ContextFacts> {
        self.negotiated()?.by_id(id).map(ContextFacts::from)
    }

    /// The peer's Maximum Length in bytes; 0 is no limit.
    #[getter]
    fn peer_max_length(&self) -> u32 {
        self.negotiated().map_or(0, |agreed| agreed.peer_max_length)
    }

    /// Operations this end may have outstanding, and the peer may.
    #[getter]
    fn window(&self) -> WindowFacts {
        // Without the item in the negotiation the standard's window is one operation at a time.
        let (invoked, performed) = self
            .negotiated()
            .map_or((1, 1), |agreed| (agreed.invoked, agreed.performed));
        WindowFacts { invoked, performed }
    }

    /// What the peer says implements it.
    #[getter]
    fn peer_implementation(&self) -> ImplementationFacts {
        let agreed = self.negotiated();
        let class = agreed.and_then(|agreed| agreed.peer_implementation_class.as_ref());
        let version = agreed.and_then(|agreed| agreed.peer_implementation_version.clone());
        ImplementationFacts {
            class_uid: class.map(dimse_proto::Uid::to_text).unwrap_or_default(),
            version: version.unwrap_or_default(),
        }
    }

    /// Mistakes of the peer in the negotiation that were tolerated.
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

    /// The user identity that the requestor sent.
    #[getter]
    fn identity(&self, py: Python<'_>) -> Option<Identity> {
        let said = UserIdentity::of(&self.inner.established()?.request)?;
        Some(Identity::of(py, &said))
    }

    /// The server's response to it; None when there was none.
    #[getter]
    fn identity_response<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        let response = self.negotiated()?.identity_response.as_ref()?;
        Some(PyBytes::new(py, &response.0))
    }

    /// What the TLS handshake agreed on; None without TLS.
    #[getter]
    fn tls(&self, py: Python<'_>) -> PyResult<Option<TlsFacts>> {
        let agreed = self.inner.established().and_then(|all| all.tls.as_ref());
        agreed.map(|agreed| TlsFacts::of(py, agreed)).transpose()
    }

    /// Calling and called AE title.
    #[getter]
    fn titles(&self) -> TitlesFacts {
        self.inner.established().map_or_else(
            || TitlesFacts {
                calling: String::new(),
                called: String::new(),
            },
            |established| TitlesFacts {
                calling: established.titles.calling.to_text(),
                called: established.titles.called.to_text(),
            },
        )
    }

    /// Where the peer is; None before the association is established.
    #[getter]
    fn peer(&self) -> Option<AddressFacts> {
        self.inner.established()?.peer.map(AddressFacts::from)
    }

    /// Why it is over, as an exception; None while it lives.
    #[getter]
    fn ended<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        blocking::check_process()?;
        let why = |error| errors::to_py(py, &error).into_value(py).into_bound(py);
        Ok(self.inner.ended().map(|error| why(error).into_any()))
    }

    /// A follower of what happens on it from now on, at most so many events behind.
    fn follow(&self, names: Vec<String>, most: usize) -> PyResult<Follower> {
        blocking::check_process()?;
        let following = self.inner.follow(kinds(names)?, most);
        Ok(Follower::new(following))
    }

    /// What this end made of the C-STOREs that came while a C-GET was outstanding.
    #[getter]
    fn received(&self) -> ReceivedFacts {
        let received = self.inner.received();
        let refused = received.refused.into_iter();
        ReceivedFacts {
            stored: received.stored,
            refused: refused.map(RefusedFacts::from).collect(),
        }
    }

    /// The next Message ID.
    fn next_message_id(&self) -> u16 {
        self.inner.next_message_id()
    }

    /// Sends a request; responses come from the invocation. `within`: seconds a response may take, 0 for ever.
    /// `again`: how many times more it is sent, as long as nothing fails; the last answer is the invocation's.
    /// `into`: where the instances of a C-GET go, until the invocation is closed.
    #[pyo3(signature = (message, within=0.0, again=0, into=None))]
    fn invoke(
        &self,
        py: Python<'_>,
        message: &Bound<'_, Message>,
        within: f64,
        again: u64,
        into: Option<&Bound<'_, Folder>>,
    ) -> PyResult<Invocation> {
        blocking::check_process()?;
        let (context_id, command, data) = message.get().parts(py)?;
        let options = net::InvokeOptions {
            within: duration(within),
            again,
            into: into.map(|folder| Arc::clone(&folder.get().inner)),
        };
        self.inner
            .invoke_with(context_id, command, data, options)
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
        // Queued for the driver: a C-CANCEL must not wait behind a peer that does not read.
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
        move_originator: Option<&Bound<'_, MoveOriginator>>,
        part_of: Option<&Bound<'_, Cancellation>>,
        check: bool,
    ) -> PyResult<Bulk> {
        blocking::check_process()?;
        // Parsed before the first file is read: a bad title is the caller's, and no file must be blamed for it.
        let move_originator = match move_originator {
            Some(originator) => {
                let MoveOriginator { title, message_id } = originator.get();
                Some((title_of(title)?, *message_id))
            }
            None => None,
        };
        let options = Options {
            priority,
            move_originator,
            within: duration(within),
            cancelled: part_of.map(|operation| Arc::clone(&operation.get().flag)),
            unchecked: !check,
        };
        let files = paths
            .into_iter()
            .enumerate()
            .map(|(index, path)| ToSend { index, path })
            .collect();
        self.inner
            .send_files(files, options)
            .map(Bulk::from)
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
        // Aborted at once, and waited for afterwards: a caller that gives up waiting has aborted all the same.
        self.inner.abort();
        let inner = net::Association::clone(&self.inner);
        let gone = async move {
            // A peer that does not close is left to its ARTIM timer.
            let _still_open = tokio::time::timeout(ABORTED_WITHIN, inner.wait_ended()).await;
        };
        settle(py, then, gone, |py, ()| Ok(py.None()))
    }

    fn __repr__(&self) -> String {
        let TitlesFacts { calling, called } = self.titles();
        format!("<_core.Association {} {called}<-{calling}>", self.id())
    }
}

/// The C-MOVE that files are sent for (PS3.7 9.1.1.1).
#[pyclass(frozen, get_all, module = "dimse_rs._core")]
pub(crate) struct MoveOriginator {
    /// AE title of the node that asked for the C-MOVE.
    title: String,
    /// Message ID of the C-MOVE.
    message_id: u16,
}

#[pymethods]
impl MoveOriginator {
    /// `title`: checked when files are sent.
    #[new]
    const fn new(title: String, message_id: u16) -> Self {
        Self { title, message_id }
    }
}

/// How long an abort waits for the connection to be closed.
const ABORTED_WITHIN: Duration = Duration::from_secs(1);

/// An operation at the peer.
#[pyclass(frozen, module = "dimse_rs._core")]
pub(crate) struct Invocation {
    // An async lock: it is held across an await, and callers that wait in it get their responses in order.
    inner: OfProcess<Arc<Mutex<net::Invocation>>>,
}

#[pymethods]
impl Invocation {
    /// Leaves the operation: its folder takes no further instance, and nothing more is kept for `next`. Python drops an
    /// invocation late, when a traceback has the frame that holds it.
    fn close(&self) {
        if runtime::is_foreign() {
            return; // the association is the parent's
        }
        if let Ok(mut invocation) = self.inner.try_lock() {
            invocation.close();
        } else {
            // A call of an event loop that was given up a moment ago still has the lock.
            let inner = Arc::clone(&self.inner);
            runtime::handle().spawn(async move { inner.lock().await.close() });
        }
    }

    /// The next response as a Message; None after the final one. Another caller gets the one after.
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
        // Many at once: a C-FIND has thousands of small responses, and taking the interpreter for each would cost more
        // than the response.
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
