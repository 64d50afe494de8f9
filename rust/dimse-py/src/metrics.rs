//! `_core.MetricsFacts`: the counts of a listener, with a named attribute for each.

use std::collections::HashMap;

use dimse_net::metrics::{Reading, Readings, Spread};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{IntoPyDict, PyDict};

/// What a listener holds and what it counted. Dictionaries are by code, by message or by service.
#[pyclass(frozen, get_all, module = "dimse_rs._core")]
pub(crate) struct MetricsFacts {
    associations: u64,
    pending: u64,
    buffered_bytes: u64,
    operations: u64,
    connections: u64,
    accept_failures: u64,
    accepted: u64,
    rejected: Py<PyDict>,
    failed: Py<PyDict>,
    ended: Py<PyDict>,
    received: Py<PyDict>,
    sent: Py<PyDict>,
    statuses: Py<PyDict>,
    received_bytes: u64,
    sent_bytes: u64,
    instances: Py<PyDict>,
    events_lost: u64,
    panics: u64,
    association_seconds: Py<HistogramFacts>,
    answer_seconds: Py<PyDict>,
    store_bytes: Py<HistogramFacts>,
    sync_seconds: Py<PyDict>,
    sync_stores: Py<HistogramFacts>,
}

impl MetricsFacts {
    /// Gives each reading its attribute.
    pub(crate) fn new(py: Python<'_>, readings: Readings) -> PyResult<Self> {
        let mut left = Left(readings.into_iter().collect());
        let facts = Self {
            associations: left.number("associations")?,
            pending: left.number("pending")?,
            buffered_bytes: left.number("buffered_bytes")?,
            operations: left.number("operations")?,
            connections: left.number("connections")?,
            accept_failures: left.number("accept_failures")?,
            accepted: left.number("accepted")?,
            rejected: left.numbers(py, "rejected")?,
            failed: left.numbers(py, "failed")?,
            ended: left.numbers(py, "ended")?,
            received: left.numbers(py, "received")?,
            sent: left.numbers(py, "sent")?,
            statuses: left.numbers(py, "statuses")?,
            received_bytes: left.number("received_bytes")?,
            sent_bytes: left.number("sent_bytes")?,
            instances: left.numbers(py, "instances")?,
            events_lost: left.number("events_lost")?,
            panics: left.number("panics")?,
            association_seconds: left.histogram(py, "association_seconds")?,
            answer_seconds: left.histograms(py, "answer_seconds")?,
            store_bytes: left.histogram(py, "store_bytes")?,
            sync_seconds: left.histograms(py, "sync_seconds")?,
            sync_stores: left.histogram(py, "sync_stores")?,
        };
        // A metric that the network crate gained needs an attribute here, or its count would be lost in silence.
        match left.0.into_keys().next() {
            None => Ok(facts),
            Some(name) => Err(mismatch(name)),
        }
    }
}

/// The readings that have no attribute yet.
struct Left(HashMap<&'static str, Reading>);

impl Left {
    fn number(&mut self, name: &'static str) -> PyResult<u64> {
        match self.0.remove(name) {
            Some(Reading::Number(number)) => Ok(number),
            _ => Err(mismatch(name)),
        }
    }

    fn numbers(&mut self, py: Python<'_>, name: &'static str) -> PyResult<Py<PyDict>> {
        match self.0.remove(name) {
            Some(Reading::Numbers(numbers)) => Ok(numbers.into_py_dict(py)?.unbind()),
            _ => Err(mismatch(name)),
        }
    }

    fn histogram(&mut self, py: Python<'_>, name: &'static str) -> PyResult<Py<HistogramFacts>> {
        match self.0.remove(name) {
            Some(Reading::Spread(one)) => Py::new(py, HistogramFacts::from(one)),
            _ => Err(mismatch(name)),
        }
    }

    fn histograms(&mut self, py: Python<'_>, name: &'static str) -> PyResult<Py<PyDict>> {
        let Some(Reading::Spreads(all)) = self.0.remove(name) else {
            return Err(mismatch(name));
        };
        let all = all
            .into_iter()
            .map(|(of, one)| (of, HistogramFacts::from(one)));
        Ok(all.into_py_dict(py)?.unbind())
    }
}

/// The crates differ on a metric: a fault of this package.
fn mismatch(name: &str) -> PyErr {
    PyRuntimeError::new_err(format!("the core and its metrics differ on {name:?}"))
}

/// A histogram.
#[pyclass(frozen, get_all, module = "dimse_rs._core")]
pub(crate) struct HistogramFacts {
    /// Upper bounds of the buckets, but for the last one, which has none.
    bounds: Vec<f64>,
    /// Observations in each bucket.
    counts: Vec<u64>,
    /// Sum of all observations.
    sum: f64,
}

impl From<Spread> for HistogramFacts {
    fn from(one: Spread) -> Self {
        Self {
            bounds: one.bounds,
            counts: one.counts,
            sum: one.sum,
        }
    }
}
