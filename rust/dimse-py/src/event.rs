//! `_core.EventFacts`: one event as Python reads it. The table in this file is the one place of the crate that knows the
//! kinds of events; `dimse_rs.observe._kinds` is the one place of the package.
//!
//! An event becomes Python objects when it is pulled, on the thread that pulls: an event without a follower costs
//! nothing, and no I/O thread waits for the interpreter.

use std::time::SystemTime;

use dimse_net::error::Error;
use dimse_net::events::{self as net, Denied, Event, Performed, StoredEvent, SubOperation};
use dimse_net::facts::TlsFacts as Agreed;
use dimse_proto::connection::trace::{Seen, Step};
use dimse_proto::dimse::{CommandField, CommandSet};
use dimse_proto::ul::negotiate::Negotiated;
use dimse_proto::ul::reason::AssociateRj;
use dimse_proto::{DecodeError, Uid};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::errors;
use crate::facts::{AddressFacts, contexts_of, texts};
use crate::message::command_to_py;
use crate::pdu::items_of;
use crate::tls::TlsFacts;

/// Something that happened.
#[pyclass(frozen, get_all, module = "dimse_rs._core")]
pub(crate) struct EventFacts {
    /// Number of the association; 0 for what concerns none.
    association: u64,
    /// One of `event_kinds()`.
    kind: &'static str,
    /// What is known of it, by name; of every kind `peer`, `calling`, `called` and `at`.
    facts: Py<PyDict>,
}

impl EventFacts {
    pub(crate) fn of(py: Python<'_>, told: &net::EventRecord) -> PyResult<Self> {
        // One dictionary for each event: its keys differ by kind, and Python makes a flat event of it by the same names.
        let facts = PyDict::new(py);
        facts.set_item("peer", told.peer.map(AddressFacts::from))?;
        facts.set_item("calling", told.titles.calling.to_text())?;
        facts.set_item("called", told.titles.called.to_text())?;
        // A clock that was set back before 1970 gives 0: an event is never lost for its time.
        let at = told.at.duration_since(SystemTime::UNIX_EPOCH);
        facts.set_item("at", at.unwrap_or_default().as_secs_f64())?;
        Ok(Self {
            association: told.association,
            kind: fill(&told.event, &facts)?,
            facts: facts.unbind(),
        })
    }
}

type Facts<'py> = Bound<'py, PyDict>;

/// Makes of one table the names of all kinds, and the function that fills in the facts of an event. The match has no
/// arm for the rest: a new event of dimse-net does not compile here until it has a line.
macro_rules! kinds {
    (|$facts:ident| { $($pattern:pat => $name:literal $fill:expr,)+ }) => {
        const KINDS: &[&str] = &[$($name,)+];

        fn fill(event: &Event, $facts: &Facts<'_>) -> PyResult<&'static str> {
            match event {
                $($pattern => {
                    $fill?;
                    Ok($name)
                })+
            }
        }
    };
}

kinds!(|facts| {
    Event::Connected(agreed) => "connected" connected(facts, agreed.as_deref()),
    Event::Associated(negotiated) => "associated" associated(facts, negotiated),
    Event::Rejected { rj, code, detail } => "rejected" rejected(facts, *rj, code, detail),
    Event::Pdu { sent, seen, classes } => "pdu" pdu(facts, *sent, seen, classes),
    Event::State(step) => "state" state(facts, *step),
    Event::Message { sent, context_id, command, bytes } =>
        "message" message(facts, *sent, *context_id, (command, *bytes)),
    Event::SubOperation(sub) => "suboperation" sub_operation(facts, sub),
    Event::Stored(event) => "stored" stored(facts, event),
    Event::Denied(event) => "denied" denied(facts, event),
    Event::Performed(event) => "performed" performed(facts, event),
    Event::Identity { identity_type, name, verified, accepted } =>
        "identity" identity(facts, (*identity_type, name.as_deref()), *verified, *accepted),
    Event::Serving(begun) => "serving" facts.set_item("begun", begun),
    Event::Violation(error) => "violation" violation(facts, error),
    Event::Ended { error, told, stored, messages } =>
        "ended" ended(facts, error.as_ref(), *told, (*stored, *messages)),
    Event::AcceptFailed(detail) => "accept-failed" facts.set_item("detail", detail),
    Event::Evicted(detail) => "evicted" facts.set_item("detail", detail),
    Event::TlsFiles(detail) => "tls-files" facts.set_item("detail", detail),
    Event::Lost(count) => "lost" facts.set_item("count", count),
});

/// Every kind of event that comes out of a follower.
#[pyfunction]
pub(crate) fn event_kinds() -> Vec<&'static str> {
    KINDS.to_vec()
}

/// Every name by which `follow` is asked for events.
#[pyfunction]
pub(crate) fn followed_kinds() -> Vec<&'static str> {
    net::Kinds::NAMES.to_vec()
}

fn connected(facts: &Facts<'_>, agreed: Option<&Agreed>) -> PyResult<()> {
    let agreed = agreed.map(|agreed| TlsFacts::of(facts.py(), agreed));
    facts.set_item("tls", agreed.transpose()?)
}

fn associated(facts: &Facts<'_>, negotiated: &Negotiated) -> PyResult<()> {
    facts.set_item("contexts", contexts_of(negotiated))?;
    facts.set_item("max_length", negotiated.peer_max_length)?;
    facts.set_item("window", (negotiated.invoked, negotiated.performed))?;
    facts.set_item(
        "implementation",
        negotiated.peer_implementation_version.clone(),
    )?;
    facts.set_item("warnings", negotiated.warnings.clone())
}

fn rejected(facts: &Facts<'_>, rj: AssociateRj, code: &str, detail: &str) -> PyResult<()> {
    facts.set_item("result", rj.result.0)?;
    facts.set_item("source", rj.source.0)?;
    facts.set_item("reason", rj.reason)?;
    facts.set_item("code", code)?;
    facts.set_item("detail", detail)
}

fn state(facts: &Facts<'_>, step: Step) -> PyResult<()> {
    facts.set_item("from", step.from.to_string())?;
    facts.set_item("on", format!("{:?}", step.event))?;
    facts.set_item("action", step.action.to_string())?;
    facts.set_item("to", step.to.to_string())?;
    facts.set_item("data", step.is_data())
}

fn message(
    facts: &Facts<'_>,
    sent: bool,
    context_id: u8,
    (command, bytes): (&CommandSet, u64),
) -> PyResult<()> {
    let py = facts.py();
    facts.set_item("direction", direction(sent))?;
    // A Command Field that PS3.7 does not have is shown too: logs are read to find such peers.
    let name = command.field().and_then(CommandField::name);
    facts.set_item("type", name.unwrap_or("unknown"))?;
    facts.set_item("context", context_id)?;
    facts.set_item("command", command_to_py(py, command)?)?;
    let over = command.passed_over().map(|over| over.to_string());
    facts.set_item("passed_over", over)?;
    facts.set_item("bytes", bytes)
}

fn sub_operation(facts: &Facts<'_>, sub: &SubOperation) -> PyResult<()> {
    facts.set_item("direction", direction(sub.sent))?;
    facts.set_item("of", sub.of)?;
    facts.set_item("class", &sub.sop_class)?;
    facts.set_item("uid", &sub.sop_instance)?;
    facts.set_item("status", sub.status)?;
    facts.set_item("detail", &sub.detail)
}

fn stored(facts: &Facts<'_>, stored: &StoredEvent) -> PyResult<()> {
    facts.set_item("uid", stored.sop_instance.to_text())?;
    facts.set_item("class", stored.sop_class.to_text())?;
    facts.set_item("syntax", stored.transfer_syntax.to_text())?;
    facts.set_item("status", stored.status)?;
    facts.set_item("detail", &stored.detail)?;
    facts.set_item("bytes", stored.bytes)?;
    facts.set_item("path", &stored.path)?;
    facts.set_item("kept", &stored.kept)?;
    facts.set_item("identical", stored.identical)?;
    // Not verified: an encoding that the core cannot read is stored as it came.
    facts.set_item("verified", stored.verified)?;
    facts.set_item("oddities", texts(&stored.oddities))?;
    facts.set_item("study", stored.study.as_ref().map(Uid::to_text))?;
    facts.set_item("series", stored.series.as_ref().map(Uid::to_text))
}

fn denied(facts: &Facts<'_>, denied: &Denied) -> PyResult<()> {
    facts.set_item("field", denied.field.0)?;
    facts.set_item("class", denied.sop_class.to_text())?;
    facts.set_item("uid", denied.sop_instance.as_ref().map(Uid::to_text))?;
    facts.set_item("status", denied.status)
}

fn performed(facts: &Facts<'_>, performed: &Performed) -> PyResult<()> {
    let py = facts.py();
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
    facts.set_item("changed", performed.changed)
}

fn identity(
    facts: &Facts<'_>,
    (identity_type, name): (u8, Option<&str>),
    verified: bool,
    accepted: bool,
) -> PyResult<()> {
    facts.set_item("type", identity_type)?;
    facts.set_item("name", name)?;
    facts.set_item("verified", verified)?;
    facts.set_item("accepted", accepted)
}

fn violation(facts: &Facts<'_>, error: &DecodeError) -> PyResult<()> {
    facts.set_item("code", error.code)?;
    facts.set_item("detail", error.to_string())
}

fn ended(
    facts: &Facts<'_>,
    error: Option<&Error>,
    told: bool,
    (stored, messages): (u64, u64),
) -> PyResult<()> {
    let py = facts.py();
    let code = error.as_ref().map(|error| error.code().into_owned());
    facts.set_item("code", code)?;
    // An exception as the calls on the association raise it, so that logs and callers speak of one error.
    let exception = error
        .as_ref()
        .map(|error| errors::to_py(py, error).into_value(py));
    facts.set_item("error", exception)?;
    facts.set_item("told", told)?;
    facts.set_item("stored", stored)?;
    facts.set_item("messages", messages)
}

fn pdu(facts: &Facts<'_>, sent: bool, seen: &Seen, classes: &[(u8, Uid)]) -> PyResult<()> {
    facts.set_item("direction", direction(sent))?;
    facts.set_item("type", seen.header.type_name())?;
    facts.set_item("length", seen.header.length)?;
    match &seen.pdu {
        Some(pdu) => facts.set_item("items", items_of(facts.py(), pdu, classes)?),
        None => Ok(()),
    }
}

const fn direction(sent: bool) -> &'static str {
    if sent { "sent" } else { "received" }
}
