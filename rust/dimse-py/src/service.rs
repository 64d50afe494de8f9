//! `_core.Service`: what this node answers by itself, and the queues from which Python pulls the rest.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use dimse_net::events::{Events as Hub, SubOperation};
use dimse_net::limits::Budget;
use dimse_net::queue::Queue;
use dimse_net::receive::{self as sink, Arrival, OnStored};
use dimse_net::service::{self as net, StoreService};
use dimse_net::terms::Classes;
use dimse_proto::LocalError;
use dimse_proto::dimse::CommandField;
use parking_lot::Mutex;
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::association::Association;
use crate::blocking::OfProcess;
use crate::completions::{Then, settle_next};
use crate::events::Events;
use crate::facts::{Cancellation, SavedFacts, uid_of};
use crate::folder::Folder;
use crate::message::Message;
use crate::scan::Reserved;
use crate::verdict::Arrivals;
use crate::{blocking, errors};

/// Answers, sink and queues of a node. One may serve many associations.
#[pyclass(frozen, module = "dimse_rs._core")]
pub(crate) struct Service {
    pub(crate) inner: OfProcess<Arc<net::Service>>,
    /// Where what happens on its associations goes.
    pub(crate) events: Hub,
    operations: OfProcess<Arc<Queue<net::Operation>>>,
    /// What is stored and waits for a verdict of Python, where there is a function for that.
    arrivals: Option<OfProcess<Arc<Queue<Arrival>>>>,
    /// The releases whose answers Python holds, where there is a function for that.
    releases: Option<OfProcess<Arc<Queue<net::HeldRelease>>>>,
}

/// SOP classes, or None for all that were negotiated.
type ClassArgs = Option<Vec<String>>;

pub(crate) fn classes(py: Python<'_>, args: ClassArgs) -> PyResult<Classes> {
    let Some(texts) = args else {
        return Ok(Classes::All);
    };
    texts
        .iter()
        .map(|text| uid_of(py, text))
        .collect::<PyResult<HashSet<_>>>()
        .map(Classes::These)
}

/// A folder with the SOP classes whose instances go there.
#[pyclass(frozen, module = "dimse_rs._core")]
pub(crate) struct Sink {
    folder: Arc<sink::Folder>,
    classes: Classes,
    verdict_within: Option<f64>,
}

#[pymethods]
impl Sink {
    /// `classes`: None for all that were negotiated; `but`: those less these. `verdict_within`: what is stored comes out
    /// of `Service.next_arrivals`, and is answered when it is settled, or after so many seconds, 0 for none.
    #[new]
    #[pyo3(signature = (folder, classes=None, *, but=None, verdict_within=None))]
    fn new(
        py: Python<'_>,
        folder: &Bound<'_, Folder>,
        classes: ClassArgs,
        but: ClassArgs,
        verdict_within: Option<f64>,
    ) -> PyResult<Self> {
        let classes = match self::classes(py, but)? {
            Classes::These(others) => Classes::AllBut(others),
            _ => self::classes(py, classes)?,
        };
        Ok(Self {
            folder: Arc::clone(&folder.get().inner),
            classes,
            verdict_within,
        })
    }
}

#[pymethods]
impl Service {
    /// `echo`: answer C-ECHO. `sink`: what instances go to. `handled`: Command Field -> classes that are for Python.
    /// `spool`: where large instances for Python wait. `events`: where they go. `lenient_roles`: take the instances of
    /// a C-GET of this node without the SCP role, and on its own context. `hold_releases`: answers to releases wait for
    /// `next_release`.
    #[new]
    #[pyo3(signature = (*, echo=true, sink=None, handled=None, spool=None, events=None, lenient_roles=false,
                        hold_releases=false))]
    #[expect(
        clippy::too_many_arguments,
        reason = "each is a setting of a service, named on the Python side"
    )]
    fn new(
        py: Python<'_>,
        echo: bool,
        sink: Option<&Bound<'_, Sink>>,
        handled: Option<HashMap<u16, ClassArgs>>,
        spool: Option<&Bound<'_, Folder>>,
        events: Option<&Bound<'_, Events>>,
        lenient_roles: bool,
        hold_releases: bool,
    ) -> PyResult<Self> {
        let mut folder = None;
        let mut arrivals = None;
        if let Some(sink) = sink.map(Bound::get) {
            let mut on_stored = None;
            if let Some(seconds) = sink.verdict_within {
                // Bounded by the windows of the peers: an instance here is a C-STORE that is not answered.
                let (queue, pulled) = Queue::new(usize::MAX);
                let within = blocking::duration(seconds);
                on_stored = Some(OnStored { queue, within });
                arrivals = Some(Arc::new(pulled).into());
            }
            folder = Some(StoreService {
                folder: Arc::clone(&sink.folder),
                classes: sink.classes.clone(),
                on_stored,
            });
        }
        let handled = handled
            .unwrap_or_default()
            .into_iter()
            .map(|(field, args)| classes(py, args).map(|classes| (CommandField(field), classes)))
            .collect::<PyResult<_>>()?;
        // Without a bound of its own: the windows and `Limits.operations` of each association bound what waits here.
        let (sender, operations) = Queue::new(usize::MAX);
        // An association has one release: their number is the bound.
        let (asked, releases) = hold_releases.then(|| Queue::new(usize::MAX)).unzip();
        Ok(Self {
            inner: OfProcess::from(Arc::new(net::Service {
                echo,
                folder,
                lenient_roles,
                handled,
                operations: Some(sender),
                spool: spool.map(|spool| Arc::clone(&spool.get().inner)),
                releases: asked,
            })),
            events: events
                .map(|events| Hub::clone(&events.get().inner))
                .unwrap_or_default(),
            operations: Arc::new(operations).into(),
            arrivals,
            releases: releases.map(|releases| Arc::new(releases).into()),
        })
    }

    /// Stored instances that wait for a verdict, 256 at most; None when none came within `within` seconds, or none
    /// will come.
    #[pyo3(signature = (within=None, *, then=None))]
    fn next_arrivals(
        &self,
        py: Python<'_>,
        within: Option<f64>,
        then: Option<Then<'_>>,
    ) -> PyResult<Py<PyAny>> {
        let within = blocking::patience(within);
        let queue = self.arrivals.as_ref().map(|queue| Arc::clone(queue));
        let next = async move { Arrivals::next(queue?).await };
        settle_next(py, then, within, next, |py, arrivals| match arrivals {
            Some(arrivals) => arrivals.into_py_any(py),
            None => Ok(py.None()),
        })
    }

    /// Takes no more for `next_arrivals`, and has what waits there answered as a failure.
    fn close_arrivals(&self, py: Python<'_>) -> PyResult<()> {
        blocking::check_process()?;
        if let Some(queue) = &self.arrivals {
            py.detach(|| queue.close());
        }
        Ok(())
    }

    /// The next request for Python; None when none came within `within` seconds.
    #[pyo3(signature = (within=None, *, then=None))]
    fn next_operation(
        &self,
        py: Python<'_>,
        within: Option<f64>,
        then: Option<Then<'_>>,
    ) -> PyResult<Py<PyAny>> {
        let within = blocking::patience(within);
        let operations = Arc::clone(&self.operations);
        let next = async move { operations.next().await };
        settle_next(py, then, within, next, |py, operation| match operation {
            Some(operation) => Operation::new(py, operation)?.into_py_any(py),
            None => Ok(py.None()),
        })
    }

    /// The next release to be answered; None when none came within `within` seconds.
    #[pyo3(signature = (within=None, *, then=None))]
    fn next_release(
        &self,
        py: Python<'_>,
        within: Option<f64>,
        then: Option<Then<'_>>,
    ) -> PyResult<Py<PyAny>> {
        let within = blocking::patience(within);
        let queue = self.releases.as_ref().map(|queue| Arc::clone(queue));
        let next = async move { queue?.next().await };
        settle_next(py, then, within, next, |py, held| match held {
            Some(held) => HeldRelease::new(py, held)?.into_py_any(py),
            None => Ok(py.None()),
        })
    }

    /// Takes no more for `next_release`; releases that wait are answered.
    fn close_releases(&self, py: Python<'_>) -> PyResult<()> {
        blocking::check_process()?;
        if let Some(queue) = &self.releases {
            py.detach(|| queue.close());
        }
        Ok(())
    }
}

/// A release of the peer that is answered when Python lets it go, or at the deadline of releases.
#[pyclass(frozen, module = "dimse_rs._core")]
pub(crate) struct HeldRelease {
    association: Py<Association>,
    held: Mutex<Option<OfProcess<net::HeldRelease>>>,
}

impl HeldRelease {
    fn new(py: Python<'_>, held: net::HeldRelease) -> PyResult<Self> {
        Ok(Self {
            association: Py::new(py, Association::from(held.association().clone()))?,
            held: Mutex::new(Some(held.into())),
        })
    }
}

#[pymethods]
impl HeldRelease {
    /// What is to be released.
    #[getter]
    fn association(&self, py: Python<'_>) -> Py<Association> {
        self.association.clone_ref(py)
    }

    /// Answers the release.
    fn let_go(&self) {
        drop(self.held.lock().take());
    }
}

/// A request of the peer that Python answers.
#[pyclass(frozen, module = "dimse_rs._core")]
pub(crate) struct Operation {
    // Python objects from the start: a handler asks for both many times, and gets the same ones.
    message: Py<Message>,
    association: Py<Association>,
    cancelled: Arc<std::sync::atomic::AtomicBool>,
    budget: OfProcess<Budget>,
    /// Of a C-STORE: the Message IDs of this node's C-GETs that were under way when the request came.
    #[pyo3(get)]
    retrievals: Vec<u16>,
    // A lock and not a flag: to ask and to set is one step, or two threads could both answer.
    answered: Mutex<bool>,
}

impl Operation {
    fn new(py: Python<'_>, operation: net::Operation) -> PyResult<Self> {
        let message =
            Message::received(py, operation.context_id, operation.command, operation.data)?;
        Ok(Self {
            message: Py::new(py, message)?,
            association: Py::new(py, Association::from(operation.association))?,
            cancelled: operation.cancelled,
            budget: operation.budget.into(),
            retrievals: operation.retrievals,
            answered: Mutex::new(false),
        })
    }
}

#[pymethods]
impl Operation {
    /// The request.
    #[getter]
    fn message(&self, py: Python<'_>) -> Py<Message> {
        self.message.clone_ref(py)
    }

    /// Where it came from.
    #[getter]
    fn association(&self, py: Python<'_>) -> Py<Association> {
        self.association.clone_ref(py)
    }

    /// The peer sent C-CANCEL, or the association ended.
    #[getter]
    fn cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// The same as an object: for what goes on without Python, and has to stop with the operation.
    #[getter]
    fn cancellation(&self) -> Cancellation {
        Cancellation {
            flag: Arc::clone(&self.cancelled),
        }
    }

    /// What a Part 10 file of the instance of a C-STORE begins with: preamble and group 0002, as of a stored one.
    fn file_head<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let request = self.association.get().store_request(self.message.get());
        let head = request.head();
        head.map(|head| PyBytes::new(py, &head))
            .map_err(|refusal| errors::refusal(py, &refusal))
    }

    /// Room in the byte budget for what is about to be made of the data set.
    fn reserve(&self, py: Python<'_>, bytes: usize) -> PyResult<Reserved> {
        blocking::check_process()?;
        Reserved::new(py, &self.budget, bytes)
    }

    /// Stores the instance of a C-STORE request in a folder, as a sink would.
    fn store(&self, py: Python<'_>, folder: &Bound<'_, Folder>) -> PyResult<SavedFacts> {
        blocking::check_process()?;
        let message = self.message.get();
        let request = self.association.get().store_request(message);
        folder
            .get()
            .store(py, request, message)
            .map(SavedFacts::from)
    }

    /// Sends a response: `command` has Status and what goes with it, identifiers of the request are filled in.
    /// `wait`: until it has left.
    #[pyo3(signature = (command, data=None, *, wait=true, then=None))]
    fn respond(
        &self,
        py: Python<'_>,
        command: &Bound<'_, PyDict>,
        data: Option<&Bound<'_, PyAny>>,
        wait: bool,
        then: Option<Then<'_>>,
    ) -> PyResult<Py<PyAny>> {
        blocking::check_process()?;
        let status: u16 = match command.get_item("Status")? {
            Some(status) => status.extract()?,
            None => 0,
        };
        let status = dimse_proto::dimse::Status(status);
        let request = self.message.get();
        // What the response repeats of its request (PS3.7 9.3, 10.3) is filled in here, so that no handler can get it
        // wrong.
        let base = dimse_proto::dimse::CommandSet::response_to(&request.command, status)
            .map_err(|error| errors::local(py, &error))?;
        let response = Message::answer(py, request.context_id, base, command, data)?;
        // Checked before the request counts as answered: a response that cannot be sent has answered nothing.
        let (context_id, command, data) = response.parts(py)?;
        {
            // One final response to a request (PS3.7 7.5), also when a handler and its deadline race for it. The lock
            // ends before the send: a wait in `send_parts` must not keep others from seeing that it is answered.
            let mut answered = self.answered.lock();
            if *answered {
                let again = LocalError::invalid("the request was answered before", "PS3.7 7.5");
                return Err(errors::local(py, &again));
            }
            *answered = !status.is_pending();
        }
        let association = self.association.get();
        if wait {
            return association.send_parts(py, (context_id, command, data), then);
        }
        errors::none(py, association.inner.send(context_id, command, data))
    }

    /// Emits the event of a sub-operation: the instance, and the status of its C-STORE or why there is none.
    fn tell_sub_operation(
        &self,
        sop_class: String,
        sop_instance: String,
        status: Option<u16>,
        detail: String,
    ) {
        let of = self.message.get().command.message_id().unwrap_or_default();
        let association = &self.association.get().inner;
        // A closure: the event is made only where a follower wants its kind.
        association.tell_sub_operation(|| SubOperation {
            sent: true,
            of,
            sop_class,
            sop_instance,
            status,
            detail,
        });
    }

    /// A final response was sent.
    #[getter]
    fn answered(&self) -> bool {
        *self.answered.lock()
    }
}
