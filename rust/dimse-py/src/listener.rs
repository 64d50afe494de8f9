//! `_core.Listener`: a server that accepts associations.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dimse_net::admission::Ask;
use dimse_net::association::Settings;
use dimse_net::limits::Budget;
use dimse_net::listener::{self as net, Capacity};
use dimse_net::metrics::{Reading, Spread};
use dimse_net::runtime;
use dimse_proto::ul::negotiate::{
    AcceptorPolicy, CalledTitles, ExtendedAnswer, UnknownClasses, UnknownStorage,
};
use pyo3::IntoPyObjectExt;
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{IntoPyDict, PyDict};

use crate::association::Association;
use crate::blocking::OfProcess;
use crate::completions::{Then, settle};
use crate::config::SupportedArgs;
use crate::message::{title_of, uid_of};
use crate::proposal::Proposal;
use crate::service::Service;
use crate::tls::Tls;
use crate::{blocking, config, errors};

/// A listening server; it accepts from the moment it exists.
#[pyclass(frozen, module = "dimse_rs._core")]
pub(crate) struct Listener {
    inner: OfProcess<Arc<net::Listener>>,
}

/// SOP class, service-class-application-information, and whether it is declared or agreed to option by option.
type AnswerArgs = (String, PyBackedBytes, bool);

#[pymethods]
impl Listener {
    /// `called`, `calling`: AE titles that are let in, None for any. `unknown`: "no", "announced" (by common
    /// extended negotiation) or "any" storage class beyond `contexts`. `unknown_syntaxes`: for those, none for any,
    /// `unknown_ours`: whether our order of them counts. `extended`: answers to extended
    /// negotiation. `ask`: "never", "identities" or "always", which proposals come out of `next_proposal`.
    #[new]
    #[pyo3(signature = (host, port, *, contexts, service, called, calling, max_length, timeouts, limits,
                        unknown="no", unknown_syntaxes=vec![], unknown_ours=false, max_ops_invoked=1, max_ops_performed=1, extended=vec![],
                        require_identity=false, refuse_passcode=false, ask="never", tls=None))]
    #[expect(
        clippy::too_many_arguments,
        reason = "named on the Python side, private to dimse_rs"
    )]
    fn new(
        py: Python<'_>,
        host: &str,
        port: u16,
        contexts: Vec<SupportedArgs>,
        service: &Bound<'_, Service>,
        called: Option<Vec<String>>,
        calling: Option<Vec<String>>,
        max_length: u32,
        timeouts: &Bound<'_, PyDict>,
        limits: &Bound<'_, PyDict>,
        unknown: &str,
        unknown_syntaxes: Vec<String>,
        unknown_ours: bool,
        max_ops_invoked: u16,
        max_ops_performed: u16,
        extended: Vec<AnswerArgs>,
        require_identity: bool,
        refuse_passcode: bool,
        ask: &str,
        tls: Option<&Bound<'_, Tls>>,
    ) -> PyResult<Self> {
        blocking::check_process()?;
        let titles = |texts: Vec<String>| {
            texts
                .iter()
                .map(|text| title_of(text))
                .collect::<PyResult<Vec<_>>>()
        };
        let mut policy = AcceptorPolicy::new(config::supported(py, contexts)?);
        policy.called = match called {
            Some(texts) => CalledTitles::OneOf(titles(texts)?),
            None => CalledTitles::Any,
        };
        policy.calling = calling.map(titles).transpose()?;
        policy.max_length = max_length;
        policy.max_ops_invoked = max_ops_invoked;
        policy.max_ops_performed = max_ops_performed;
        policy.require_identity = require_identity;
        policy.refuse_passcode = refuse_passcode;
        let unknown_syntaxes = config::uids(py, unknown_syntaxes)?;
        policy.unknown_storage = unknown_classes(unknown)?.map(|classes| UnknownStorage {
            classes,
            transfer_syntaxes: unknown_syntaxes,
            preference: config::preference(unknown_ours),
        });
        for (class, info, declared) in extended {
            let info = Bytes::copy_from_slice(&info);
            let answer = if declared {
                ExtendedAnswer::Declare(info)
            } else {
                ExtendedAnswer::Agree(info)
            };
            policy.extended.insert(uid_of(py, &class)?, answer);
        }
        let ask = match ask {
            "never" => Ask::Never,
            "identities" => Ask::Identities,
            "always" => Ask::Always,
            other => return Err(PyValueError::new_err(format!("ask={other:?}"))),
        };
        let number = |name: &str, default: usize| -> PyResult<usize> {
            limits
                .get_item(name)?
                .map_or(Ok(default), |value| value.extract())
        };
        let usual = Capacity::default();
        let capacity = Capacity {
            associations: number("max_associations", usual.associations)?,
            pending: number("max_pending", usual.pending)?,
            pending_per_address: number("max_pending_per_address", usual.pending_per_address)?,
        };
        let tls = tls.map(|tls| Arc::clone(&tls.get().inner));
        if let Some(tls) = &tls {
            py.detach(|| tls.check_acceptor())
                .map_err(|error| errors::to_py(py, &error))?;
        }
        let settings = Settings {
            tls,
            timeouts: config::timeouts(timeouts)?,
            limits: config::limits(limits, max_length)?,
            budget: Budget::new(number("byte_budget", 256 << 20)?),
            service: Arc::clone(&service.get().inner),
            metrics: None,
        };
        let address = resolve(py, host, port)?;
        py.detach(|| net::Listener::start(address, policy, settings, capacity, ask))
            .map(|inner| Self {
                inner: Arc::new(inner).into(),
            })
            .map_err(|error| errors::os(py, &error, &address.to_string()))
    }

    /// Host and port it listens on.
    #[getter]
    fn address(&self) -> (String, u16) {
        let address = self.inner.address();
        (address.ip().to_string(), address.port())
    }

    /// Established associations.
    #[getter]
    fn associations(&self) -> PyResult<Vec<Association>> {
        blocking::check_process()?;
        let inside = self.inner.associations();
        Ok(inside.into_iter().map(Association::from).collect())
    }

    /// Connections that have not sent their A-ASSOCIATE-RQ.
    #[getter]
    fn pending(&self) -> PyResult<usize> {
        blocking::check_process()?;
        Ok(self.inner.pending())
    }

    /// What there is and what happened: numbers, dicts of them, and histograms (bounds, counts, sum).
    fn metrics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        blocking::check_process()?;
        let facts = PyDict::new(py);
        for (name, reading) in self.inner.metrics() {
            match reading {
                Reading::Number(number) => facts.set_item(name, number)?,
                Reading::Numbers(numbers) => facts.set_item(name, numbers.into_py_dict(py)?)?,
                Reading::Spread(one) => facts.set_item(name, spread(one))?,
                Reading::Spreads(all) => {
                    let all = all.into_iter().map(|(of, one)| (of, spread(one)));
                    facts.set_item(name, all.into_py_dict(py)?)?;
                }
            }
        }
        Ok(facts)
    }

    /// The next proposal to be decided on; None when none came within `within` seconds.
    #[pyo3(signature = (within=None, *, then=None))]
    fn next_proposal(
        &self,
        py: Python<'_>,
        within: Option<f64>,
        then: Option<Then<'_>>,
    ) -> PyResult<Py<PyAny>> {
        let within = within.map(|seconds| config::duration(seconds).unwrap_or(Duration::ZERO));
        let inquiries = Arc::clone(self.inner.inquiries());
        let next = async move {
            loop {
                let inquiry = blocking::at_most(within, inquiries.next()).await?;
                // One that the peer gave up, or that is overdue, is nobody's business any more.
                if inquiry.is_open() {
                    return Some(Proposal {
                        inner: inquiry.into(),
                    });
                }
            }
        };
        settle(py, then, next, |py, proposal| match proposal {
            Some(proposal) => proposal.into_py_any(py),
            None => Ok(py.None()),
        })
    }

    /// Stops accepting; for `patience` seconds the peers may release, what is being received may finish
    /// within `grace` more, the rest is aborted.
    #[pyo3(signature = (grace=5.0, patience=0.0, *, then=None))]
    fn stop(
        &self,
        py: Python<'_>,
        grace: f64,
        patience: f64,
        then: Option<Then<'_>>,
    ) -> PyResult<Py<PyAny>> {
        let [grace, patience] =
            [grace, patience].map(|time| config::duration(time).unwrap_or(Duration::ZERO));
        let inner = Arc::clone(&self.inner);
        let stopped = async move { inner.stop(patience, grace).await };
        settle(py, then, stopped, |py, ()| Ok(py.None()))
    }
}

/// Bounds, counts and sum of a histogram.
fn spread(one: Spread) -> (Vec<f64>, Vec<u64>, f64) {
    (one.bounds, one.counts, one.sum)
}

fn unknown_classes(policy: &str) -> PyResult<Option<UnknownClasses>> {
    match policy {
        "no" => Ok(None),
        "announced" => Ok(Some(UnknownClasses::Announced)),
        "any" => Ok(Some(UnknownClasses::Any)),
        other => Err(PyValueError::new_err(format!("unknown={other:?}"))),
    }
}

/// An address as it stands, or the first that a name has.
fn resolve(py: Python<'_>, host: &str, port: u16) -> PyResult<SocketAddr> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(SocketAddr::new(address, port));
    }
    let unknown = |why: &str| PyOSError::new_err(format!("{host}: {why}"));
    blocking::wait(py, runtime::lookup(host, port))?
        .map_err(|error| unknown(&error.to_string()))?
        .ok_or_else(|| unknown("the name has no address"))
}
