//! `_core.Timeouts`, `_core.Limits` and `_core.Config`: how associations are run. Each setting crosses by its name,
//! and a name that the core does not have raises `TypeError`: a misspelt deadline must not be no deadline.

use std::sync::Arc;
use std::time::Duration;

use dimse_net::events::Events;
use dimse_net::listener::Capacity;
use dimse_net::service::Service as Answers;
use dimse_net::settings::Settings;
use dimse_net::{deadline, limits};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::blocking::duration;
use crate::service::Service;
use crate::tls::Tls;

/// Deadlines by name, in seconds; 0 is none. A deadline not named keeps the core's default.
#[pyclass(frozen, module = "dimse_rs._core")]
pub(crate) struct Timeouts {
    inner: deadline::Timeouts,
}

// A table rather than a match: `values` gives back the names that `new` takes, and neither can know one more.

/// The one table of names: what is read, and what is given back.
type Slot = fn(&mut deadline::Timeouts) -> &mut Option<Duration>;
const TIMEOUTS: [(&str, Slot); 11] = [
    ("artim", |all| &mut all.artim),
    ("connect", |all| &mut all.connect),
    ("tls", |all| &mut all.tls),
    ("acse", |all| &mut all.acse),
    ("release", |all| &mut all.release),
    ("write", |all| &mut all.write),
    ("idle", |all| &mut all.idle),
    ("dimse", |all| &mut all.dimse),
    ("store", |all| &mut all.store),
    ("retrieve", |all| &mut all.retrieve),
    ("progress", |all| &mut all.progress),
];

#[pymethods]
impl Timeouts {
    #[new]
    #[pyo3(signature = (**seconds))]
    fn new(seconds: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        // What is left out keeps its default: tests name one deadline, `dimse_rs.settings` names all.
        let mut inner = deadline::Timeouts::default();
        each(seconds, |name, value| {
            let (_, slot) = TIMEOUTS
                .iter()
                .find(|(known, _)| *known == name)
                .ok_or_else(|| unknown("Timeouts", name))?;
            *slot(&mut inner) = duration(value.extract()?);
            Ok(())
        })?;
        Ok(Self { inner })
    }

    /// Seconds by name.
    fn values(&self) -> Vec<(&'static str, f64)> {
        let mut inner = self.inner;
        TIMEOUTS
            .iter()
            .map(|(name, slot)| {
                let after = *slot(&mut inner);
                (*name, after.map_or(0.0, |after| after.as_secs_f64()))
            })
            .collect()
    }
}

/// Limits by name, those of one association and those that a server's associations share.
#[pyclass(frozen, module = "dimse_rs._core")]
pub(crate) struct Limits {
    inner: limits::Limits,
    pub(crate) capacity: Capacity,
    pub(crate) byte_budget: usize,
}

#[pymethods]
impl Limits {
    #[new]
    #[pyo3(signature = (**values))]
    fn new(values: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        let mut all = Self {
            inner: limits::Limits::default(),
            capacity: Capacity::default(),
            byte_budget: limits::BYTE_BUDGET,
        };
        each(values, |name, value| all.set(name, value))?;
        Ok(all)
    }

    /// Every limit by name.
    fn values(&self) -> [(&'static str, u64); 13] {
        let one = &self.inner;
        [
            ("max_associations", self.capacity.associations as u64),
            ("max_pending", self.capacity.pending as u64),
            (
                "max_pending_per_address",
                self.capacity.pending_per_address as u64,
            ),
            ("byte_budget", self.byte_budget as u64),
            ("associate", one.associate as u64),
            ("command", one.command as u64),
            ("dataset", one.dataset as u64),
            ("identifier", one.identifier as u64),
            ("spool_above", one.spool_above as u64),
            ("operations", one.queued as u64),
            ("errors", one.errors as u64),
            ("instance", one.instance),
            ("read_rate", u64::from(one.read_rate)),
        ]
    }
}

impl Limits {
    fn set(&mut self, name: &str, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let slot = match name {
            "max_associations" => &mut self.capacity.associations,
            "max_pending" => &mut self.capacity.pending,
            "max_pending_per_address" => &mut self.capacity.pending_per_address,
            "byte_budget" => &mut self.byte_budget,
            "associate" => &mut self.inner.associate,
            "command" => &mut self.inner.command,
            "dataset" => &mut self.inner.dataset,
            "identifier" => &mut self.inner.identifier,
            "spool_above" => &mut self.inner.spool_above,
            "operations" => &mut self.inner.queued,
            "errors" => &mut self.inner.errors,
            // These two have their own width: an instance may be longer than a pointer can say on a small machine.
            "instance" => {
                self.inner.instance = value.extract()?;
                return Ok(());
            }
            "read_rate" => {
                self.inner.read_rate = value.extract()?;
                return Ok(());
            }
            other => return Err(unknown("Limits", other)),
        };
        *slot = value.extract()?;
        Ok(())
    }
}

fn each(
    values: Option<&Bound<'_, PyDict>>,
    mut take: impl FnMut(&str, &Bound<'_, PyAny>) -> PyResult<()>,
) -> PyResult<()> {
    for (name, value) in values.into_iter().flatten() {
        take(&name.extract::<String>()?, &value)?;
    }
    Ok(())
}

// TypeError, as Python raises for a keyword that a function does not have.
fn unknown(what: &str, name: &str) -> PyErr {
    PyTypeError::new_err(format!("{what} has no {name:?}"))
}

/// How the associations of a node are run, whichever end opens them.
#[pyclass(frozen, module = "dimse_rs._core")]
pub(crate) struct Config {
    timeouts: deadline::Timeouts,
    limits: limits::Limits,
    pub(crate) capacity: Capacity,
    pub(crate) byte_budget: usize,
    service: Arc<Answers>,
    events: Events,
    pub(crate) tls: Option<Arc<dimse_net::transport::tls::Tls>>,
    pub(crate) max_ops_invoked: u16,
    pub(crate) max_ops_performed: u16,
}

#[pymethods]
impl Config {
    #[new]
    #[pyo3(signature = (timeouts, limits, *, max_length, max_ops_invoked=1, max_ops_performed=1, service=None,
                        tls=None))]
    fn new(
        timeouts: &Bound<'_, Timeouts>,
        limits: &Bound<'_, Limits>,
        max_length: u32,
        max_ops_invoked: u16,
        max_ops_performed: u16,
        service: Option<&Bound<'_, Service>>,
        tls: Option<&Bound<'_, Tls>>,
    ) -> Self {
        let limits = limits.get();
        // Without a service a node verifies at least: a peer may send C-ECHO on any association (PS3.4 A.4).
        let echo = || {
            Arc::new(Answers {
                echo: true,
                ..Answers::default()
            })
        };
        Self {
            timeouts: timeouts.get().inner,
            limits: limits::Limits {
                max_length,
                ..limits.inner
            },
            capacity: limits.capacity,
            byte_budget: limits.byte_budget,
            service: service.map_or_else(echo, |service| Arc::clone(&service.get().inner)),
            events: service.map_or_else(Events::default, |service| service.get().events.clone()),
            tls: tls.map(|tls| Arc::clone(&tls.get().inner)),
            max_ops_invoked,
            max_ops_performed,
        }
    }
}

impl Config {
    /// The largest P-DATA-TF that is announced.
    pub(crate) const fn max_length(&self) -> u32 {
        self.limits.max_length
    }

    /// The settings as the core takes them. The byte budget is the default one: `Limits.byte_budget` is of servers, which put it in.
    pub(crate) fn settings(&self) -> Settings {
        Settings {
            timeouts: self.timeouts,
            limits: self.limits,
            budget: limits::Budget::default(),
            service: Arc::clone(&self.service),
            events: self.events.clone(),
            tls: self.tls.clone(),
            metrics: None,
        }
    }
}
