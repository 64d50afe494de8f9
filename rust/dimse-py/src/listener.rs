//! `_core.Listener`: a server that accepts associations.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use dimse_net::limits::Budget;
use dimse_net::listener as net;
use dimse_net::runtime;
use dimse_net::settings::Settings;
use dimse_net::terms::Ask;
use pyo3::IntoPyObjectExt;
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;

use crate::association::Association;
use crate::blocking::OfProcess;
use crate::completions::{Then, settle};
use crate::config::Config;
use crate::facts::AddressFacts;
use crate::metrics::MetricsFacts;
use crate::policy::Policy;
use crate::proposal::Proposal;
use crate::{blocking, errors};

/// A listening server, which accepts connections from the moment it exists.
#[pyclass(frozen, module = "dimse_rs._core")]
pub(crate) struct Listener {
    inner: OfProcess<Arc<net::Listener>>,
}

#[pymethods]
impl Listener {
    /// `ask`: "never", "identities" or "always", which proposals come out of `next_proposal`.
    #[new]
    #[pyo3(signature = (host, port, policy, config, *, ask="never"))]
    fn new(
        py: Python<'_>,
        host: &str,
        port: u16,
        policy: &Bound<'_, Policy>,
        config: &Bound<'_, Config>,
        ask: &str,
    ) -> PyResult<Self> {
        blocking::check_process()?;
        let ask = match ask {
            "never" => Ask::Never,
            "identities" => Ask::Identities,
            "always" => Ask::Always,
            other => return Err(PyValueError::new_err(format!("ask={other:?}"))),
        };
        let config = config.get();
        // Certificates are read before the port is bound: a server with bad files must not look as if it were there.
        if let Some(tls) = &config.tls {
            py.detach(|| tls.check_acceptor())
                .map_err(|error| errors::to_py(py, &error))?;
        }
        let policy = policy.get().with(config);
        let settings = Settings {
            // One budget for all associations of the server: what one peer fills is missing to the others.
            budget: Budget::new(config.byte_budget),
            ..config.settings()
        };
        let capacity = config.capacity;
        let address = resolve(py, host, port)?;
        py.detach(|| net::Listener::start(address, policy, settings, capacity, ask))
            .map(|inner| Self {
                inner: Arc::new(inner).into(),
            })
            .map_err(|error| errors::os(py, &error, &address.to_string()))
    }

    /// Where it listens.
    #[getter]
    fn address(&self) -> AddressFacts {
        AddressFacts::from(self.inner.address())
    }

    /// Established associations.
    #[getter]
    fn associations(&self) -> PyResult<Vec<Association>> {
        blocking::check_process()?;
        // Handles, not copies: each of these keeps its association's facts alive, and aborts nothing when it goes.
        let inside = self.inner.associations();
        Ok(inside.into_iter().map(Association::from).collect())
    }

    /// Connections that have not sent their A-ASSOCIATE-RQ.
    #[getter]
    fn pending(&self) -> PyResult<usize> {
        blocking::check_process()?;
        Ok(self.inner.pending())
    }

    /// What the server holds and what it counted.
    fn metrics(&self, py: Python<'_>) -> PyResult<MetricsFacts> {
        blocking::check_process()?;
        MetricsFacts::new(py, self.inner.metrics())
    }

    /// The next proposal to be decided on; None when none came within `within` seconds.
    #[pyo3(signature = (within=None, *, then=None))]
    fn next_proposal(
        &self,
        py: Python<'_>,
        within: Option<f64>,
        then: Option<Then<'_>>,
    ) -> PyResult<Py<PyAny>> {
        let within = blocking::patience(within);
        let admission_requests = Arc::clone(self.inner.admission_requests());
        let next = async move {
            loop {
                let request = blocking::at_most(within, admission_requests.next()).await?;
                // A proposal that the peer gave up, or that the core has rejected by its deadline, needs no decision.
                if request.is_open() {
                    return Some(Proposal {
                        inner: request.into(),
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
            [grace, patience].map(|time| blocking::duration(time).unwrap_or(Duration::ZERO));
        // The future owns the listener: the object in Python may go while others still wait for the end.
        let inner = Arc::clone(&self.inner);
        let stopped = async move { inner.stop(patience, grace).await };
        settle(py, then, stopped, |py, ()| Ok(py.None()))
    }
}

/// An address as it stands, or the first that a name has.
fn resolve(py: Python<'_>, host: &str, port: u16) -> PyResult<SocketAddr> {
    // An address needs no resolver, which may wait for seconds where there is no network.
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(SocketAddr::new(address, port));
    }
    let unknown = |why: &str| PyOSError::new_err(format!("{host}: {why}"));
    blocking::wait(py, runtime::lookup(host, port))?
        .map_err(|error| unknown(&error.to_string()))?
        .ok_or_else(|| unknown("the name has no address"))
}
