//! `_core.Events` and `_core.Follower`: what happened, pulled by Python.

use std::sync::Arc;
use std::time::SystemTime;

use dimse_net::events::{Event, Events as Hub, Follower as Following, Kinds, Told};
use dimse_proto::Uid;
use dimse_proto::connection::trace::Seen;
use dimse_proto::dimse::CommandField;
use dimse_proto::ul::associate::{Associate, Item};
use dimse_proto::ul::pdu::Pdu;
use dimse_proto::ul::user_info::UserItem;
use pyo3::IntoPyObjectExt;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};

use crate::blocking::OfProcess;
use crate::completions::{Then, settle};
use crate::facts::{address, contexts_of, texts};
use crate::message::command_to_py;
use crate::tls::TlsFacts;
use crate::{blocking, errors};

/// Events taken at a time.
const TOGETHER: usize = 1000;

/// Where events go: of a server, or of one association of ours.
#[pyclass(frozen, module = "dimse_rs._core")]
pub(crate) struct Events {
    pub(crate) inner: OfProcess<Hub>,
}

/// Whoever pulls events; what it wants is no longer told when it goes.
#[pyclass(frozen, module = "dimse_rs._core")]
pub(crate) struct Follower {
    inner: OfProcess<Arc<Following>>,
}

impl Follower {
    pub(crate) fn new(inner: Following) -> Self {
        Self {
            inner: Arc::new(inner).into(),
        }
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "arguments are taken over from Python"
)]
pub(crate) fn kinds(names: Vec<String>) -> PyResult<Kinds> {
    names.iter().try_fold(Kinds::NONE, |all, name| {
        let unknown = || PyValueError::new_err(format!("unknown kind of event {name:?}"));
        Ok(all | Kinds::named(name).ok_or_else(unknown)?)
    })
}

#[pymethods]
impl Events {
    #[new]
    fn new() -> Self {
        Self {
            inner: Hub::default().into(),
        }
    }

    /// Somebody who follows from now on, at most so many events behind.
    fn follow(&self, names: Vec<String>, most: usize) -> PyResult<Follower> {
        blocking::check_process()?;
        let following = self.inner.follow(kinds(names)?, None, most);
        Ok(Follower::new(following))
    }

    /// No more events will come.
    fn close(&self) -> PyResult<()> {
        blocking::check_process()?;
        self.inner.close();
        Ok(())
    }
}

#[pymethods]
impl Follower {
    /// Says what is wanted from now on.
    fn want(&self, names: Vec<String>) -> PyResult<()> {
        blocking::check_process()?;
        self.inner.want(kinds(names)?);
        Ok(())
    }

    /// Ends following; what was told before can still be taken.
    fn close(&self) -> PyResult<()> {
        blocking::check_process()?;
        self.inner.close();
        Ok(())
    }

    /// Events there are, waiting at most `within` seconds for the first: tuples (association, kind, facts). None
    /// when there will be no more.
    #[pyo3(signature = (within=None, *, then=None))]
    fn next(
        &self,
        py: Python<'_>,
        within: Option<f64>,
        then: Option<Then<'_>>,
    ) -> PyResult<Py<PyAny>> {
        let within = blocking::patience(within);
        let follower = Arc::clone(&self.inner);
        let next = async move {
            let first = async { Some(follower.next().await) };
            let mut taken = Vec::new();
            if let Some(first) = blocking::at_most(within, first).await {
                taken.push(first?);
                while taken.len() < TOGETHER {
                    let Some(next) = follower.try_next() else {
                        break;
                    };
                    taken.push(next);
                }
            }
            Some(taken)
        };
        settle(py, then, next, |py, taken| match taken {
            Some(taken) => told_to_py(py, &taken),
            None => Ok(py.None()),
        })
    }

    /// Events there are, without waiting.
    fn take(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        blocking::check_process()?;
        told_to_py(py, &self.inner.take(TOGETHER))
    }

    /// There is nothing to take, and there will be nothing.
    #[getter]
    fn over(&self) -> PyResult<bool> {
        blocking::check_process()?;
        Ok(self.inner.is_over())
    }

    /// Waits at most `within` seconds until there is something to take, or there will be nothing: says whether.
    #[pyo3(signature = (within=None, *, then=None))]
    fn ready(
        &self,
        py: Python<'_>,
        within: Option<f64>,
        then: Option<Then<'_>>,
    ) -> PyResult<Py<PyAny>> {
        let within = blocking::patience(within);
        let follower = Arc::clone(&self.inner);
        let ready = async move {
            let ready = async {
                follower.ready().await;
                Some(())
            };
            blocking::at_most(within, ready).await.is_some()
        };
        settle(py, then, ready, |py, ready| ready.into_py_any(py))
    }
}

fn told_to_py(py: Python<'_>, taken: &[Arc<Told>]) -> PyResult<Py<PyAny>> {
    let list = PyList::empty(py);
    for told in taken {
        let facts = PyDict::new(py);
        let peer = told.peer.map(address);
        facts.set_item("peer", peer)?;
        facts.set_item("calling", told.titles.calling.to_text())?;
        facts.set_item("called", told.titles.called.to_text())?;
        let at = told.at.duration_since(SystemTime::UNIX_EPOCH);
        facts.set_item("at", at.unwrap_or_default().as_secs_f64())?;
        let kind = event_to_py(py, &told.event, &facts)?;
        list.append((told.association, kind, facts))?;
    }
    Ok(list.into_any().unbind())
}

fn event_to_py(py: Python<'_>, event: &Event, facts: &Bound<'_, PyDict>) -> PyResult<&'static str> {
    Ok(match event {
        Event::Connected(agreed) => {
            let agreed = agreed.as_deref().map(|agreed| TlsFacts::of(py, agreed));
            facts.set_item("tls", agreed.transpose()?)?;
            "connected"
        }
        Event::Associated(negotiated) => {
            facts.set_item("contexts", contexts_of(negotiated))?;
            facts.set_item("max_length", negotiated.peer_max_length)?;
            facts.set_item("window", (negotiated.invoked, negotiated.performed))?;
            facts.set_item(
                "implementation",
                negotiated.peer_implementation_version.clone(),
            )?;
            facts.set_item("warnings", negotiated.warnings.clone())?;
            "associated"
        }
        Event::Rejected { rj, code, detail } => {
            facts.set_item("result", rj.result.0)?;
            facts.set_item("source", rj.source.0)?;
            facts.set_item("reason", rj.reason)?;
            facts.set_item("code", code)?;
            facts.set_item("detail", detail)?;
            "rejected"
        }
        Event::Pdu {
            sent,
            seen,
            classes,
        } => {
            facts.set_item("direction", direction(*sent))?;
            pdu_to_py(py, seen, classes, facts)?;
            "pdu"
        }
        Event::State(step) => {
            facts.set_item("from", step.from.to_string())?;
            facts.set_item("on", format!("{:?}", step.event))?;
            facts.set_item("action", step.action.to_string())?;
            facts.set_item("to", step.to.to_string())?;
            facts.set_item("data", step.is_data())?;
            "state"
        }
        Event::Message {
            sent,
            context_id,
            command,
            bytes,
        } => {
            facts.set_item("direction", direction(*sent))?;
            let name = command.field().and_then(CommandField::name);
            facts.set_item("type", name.unwrap_or("unknown"))?;
            facts.set_item("context", context_id)?;
            facts.set_item("command", command_to_py(py, command)?)?;
            let over = command.passed_over().map(|over| over.to_string());
            facts.set_item("passed_over", over)?;
            facts.set_item("bytes", bytes)?;
            "message"
        }
        Event::SubOperation(sub) => {
            facts.set_item("direction", direction(sub.sent))?;
            facts.set_item("of", sub.of)?;
            facts.set_item("class", &sub.sop_class)?;
            facts.set_item("uid", &sub.sop_instance)?;
            facts.set_item("status", sub.status)?;
            facts.set_item("detail", &sub.detail)?;
            "suboperation"
        }
        Event::Stored(stored) => {
            facts.set_item("uid", stored.sop_instance.to_text())?;
            facts.set_item("class", stored.sop_class.to_text())?;
            facts.set_item("syntax", stored.transfer_syntax.to_text())?;
            facts.set_item("status", stored.status)?;
            facts.set_item("detail", &stored.detail)?;
            facts.set_item("bytes", stored.bytes)?;
            facts.set_item("path", &stored.path)?;
            facts.set_item("kept", &stored.kept)?;
            facts.set_item("identical", stored.identical)?;
            facts.set_item("verified", stored.verified)?;
            facts.set_item("oddities", texts(&stored.oddities))?;
            "stored"
        }
        Event::Denied(denied) => {
            facts.set_item("field", denied.field.0)?;
            facts.set_item("class", denied.sop_class.to_text())?;
            facts.set_item("uid", denied.sop_instance.as_ref().map(Uid::to_text))?;
            facts.set_item("status", denied.status)?;
            "denied"
        }
        Event::Performed(performed) => {
            facts.set_item("field", performed.field.0)?;
            facts.set_item("message_id", performed.message_id)?;
            facts.set_item("class", performed.sop_class.to_text())?;
            facts.set_item("uid", performed.sop_instance.as_ref().map(Uid::to_text))?;
            facts.set_item("destination", &performed.destination)?;
            facts.set_item("syntax", performed.transfer_syntax.to_text())?;
            facts.set_item("status", performed.status)?;
            facts.set_item("identifier", PyBytes::new(py, &performed.identifier))?;
            let study = performed.subject.study.as_ref().map(Uid::to_text);
            facts.set_item("study", study)?;
            let patient = performed.subject.patient.as_deref();
            facts.set_item("patient", patient.map(|id| PyBytes::new(py, id)))?;
            facts.set_item("identical", performed.identical)?;
            facts.set_item("changed", performed.changed)?;
            "performed"
        }
        Event::Identity {
            identity_type,
            name,
            verified,
            accepted,
        } => {
            facts.set_item("type", identity_type)?;
            facts.set_item("name", name)?;
            facts.set_item("verified", verified)?;
            facts.set_item("accepted", accepted)?;
            "identity"
        }
        Event::Serving(begun) => {
            facts.set_item("begun", begun)?;
            "serving"
        }
        Event::Violation(error) => {
            facts.set_item("code", error.code)?;
            facts.set_item("detail", error.to_string())?;
            "violation"
        }
        Event::Ended {
            error,
            told,
            stored,
            messages,
        } => {
            let code = error.as_ref().map(|error| error.code().into_owned());
            facts.set_item("code", code)?;
            let exception = error
                .as_ref()
                .map(|error| errors::to_py(py, error).into_value(py));
            facts.set_item("error", exception)?;
            facts.set_item("told", told)?;
            facts.set_item("stored", stored)?;
            facts.set_item("messages", messages)?;
            "ended"
        }
        Event::AcceptFailed(detail) => {
            facts.set_item("detail", detail)?;
            "accept-failed"
        }
        Event::Evicted(detail) => {
            facts.set_item("detail", detail)?;
            "evicted"
        }
        Event::TlsFiles(detail) => {
            facts.set_item("detail", detail)?;
            "tls-files"
        }
        Event::Lost(count) => {
            facts.set_item("count", count)?;
            "lost"
        }
        _ => "other",
    })
}

const fn direction(sent: bool) -> &'static str {
    if sent { "sent" } else { "received" }
}

fn pdu_to_py(
    py: Python<'_>,
    seen: &Seen,
    classes: &[(u8, Uid)],
    facts: &Bound<'_, PyDict>,
) -> PyResult<()> {
    facts.set_item("type", seen.header.type_name())?;
    facts.set_item("length", seen.header.length)?;
    match &seen.pdu {
        Some(Pdu::AssociateRq(associate) | Pdu::AssociateAc(associate)) => {
            facts.set_item("items", associate_to_py(py, associate, classes)?)
        }
        Some(Pdu::AssociateRj(rj)) => {
            let items = PyDict::new(py);
            items.set_item("result", rj.result.0)?;
            items.set_item("source", rj.source.0)?;
            items.set_item("reason", rj.reason)?;
            facts.set_item("items", items)
        }
        Some(Pdu::Abort(abort)) => {
            let items = PyDict::new(py);
            items.set_item("source", abort.source.0)?;
            items.set_item("reason", abort.reason.0)?;
            facts.set_item("items", items)
        }
        _ => Ok(()),
    }
}

/// The items of an A-ASSOCIATE-RQ or -AC. Who the user is stays untold (PS3.7 D.3.3.7): only how it says so is.
fn associate_to_py<'py>(
    py: Python<'py>,
    associate: &Associate,
    classes: &[(u8, Uid)],
) -> PyResult<Bound<'py, PyDict>> {
    let all = PyDict::new(py);
    all.set_item("calling", associate.calling_ae().to_text())?;
    all.set_item("called", associate.called_ae().to_text())?;
    let texts = |uids: &[Uid]| uids.iter().map(Uid::to_text).collect::<Vec<_>>();
    let contexts = PyList::empty(py);
    for item in &associate.items {
        let context = PyDict::new(py);
        match item {
            Item::ApplicationContext(name) => {
                all.set_item("application_context", name.to_text())?;
                continue;
            }
            Item::PresentationContextRq(proposed) => {
                context.set_item("id", proposed.id)?;
                let class = proposed.abstract_syntaxes.first().map(Uid::to_text);
                context.set_item("class", class.unwrap_or_default())?;
                context.set_item("syntaxes", texts(&proposed.transfer_syntaxes))?;
            }
            Item::PresentationContextAc(answered) => {
                context.set_item("id", answered.id)?;
                let class = classes.iter().find(|(id, _)| *id == answered.id);
                let class = class.map(|(_, class)| class.to_text());
                context.set_item("class", class.unwrap_or_default())?;
                context.set_item("syntaxes", texts(&answered.transfer_syntaxes))?;
                context.set_item("result", answered.result.to_string())?;
            }
            _ => continue,
        }
        contexts.append(context)?;
    }
    all.set_item("contexts", contexts)?;
    let (roles, extended, common) = (PyList::empty(py), PyList::empty(py), PyList::empty(py));
    for item in associate.user_items() {
        match item {
            UserItem::MaximumLength(length) => all.set_item("max_length", length)?,
            UserItem::ImplementationClassUid(uid) => {
                all.set_item("implementation_class", uid.to_text())?;
            }
            UserItem::ImplementationVersion(name) => {
                all.set_item(
                    "implementation_version",
                    dimse_proto::wire::Shown(name).to_string(),
                )?;
            }
            UserItem::AsyncWindow { invoked, performed } => {
                all.set_item("window", (invoked, performed))?;
            }
            UserItem::Role {
                sop_class,
                scu,
                scp,
            } => roles.append((sop_class.to_text(), *scu == 1, *scp == 1))?,
            UserItem::ExtendedNegotiation { sop_class, info } => {
                extended.append((sop_class.to_text(), &info[..]))?;
            }
            UserItem::CommonExtendedNegotiation {
                sop_class,
                service_class,
                related,
            } => common.append((sop_class.to_text(), service_class.to_text(), texts(related)))?,
            UserItem::UserIdentityRq {
                identity_type,
                response_requested,
                ..
            } => all.set_item("identity", (identity_type, response_requested))?,
            UserItem::UserIdentityAc(_) => all.set_item("identity_response", true)?,
            UserItem::Unknown { .. } => {}
        }
    }
    for (name, list) in [("roles", roles), ("extended", extended), ("common", common)] {
        if !list.is_empty() {
            all.set_item(name, list)?;
        }
    }
    Ok(all)
}
