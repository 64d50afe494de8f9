//! `_core.Listener`: a server that accepts associations.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use dimse_net::association::Settings;
use dimse_net::limits::Budget;
use dimse_net::listener::{self as net, Capacity};
use dimse_net::runtime;
use dimse_proto::ul::negotiate::{
    AcceptorPolicy, CalledTitles, Preference, SupportedContext, UnknownClasses, UnknownStorage,
};
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::association::Association;
use crate::completions::{Then, settle};
use crate::message::{title_of, uid_of};
use crate::service::Service;
use crate::{blocking, config, errors};

/// A listening server; it accepts from the moment it exists.
#[pyclass(frozen, module = "dimse_rs._core")]
pub(crate) struct Listener {
    inner: Arc<net::Listener>,
}

/// SOP class, transfer syntaxes (none: any), whether our order of them counts, requestor SCU, requestor SCP.
type SupportedArgs = (String, Vec<String>, bool, bool, bool);

#[pymethods]
impl Listener {
    /// `called`, `calling`: AE titles that are let in, None for any. `unknown`: "no", "announced" (by common
    /// extended negotiation) or "any" storage class beyond `contexts`.
    #[new]
    #[pyo3(signature = (host, port, *, contexts, service, called, calling, max_length, timeouts, limits,
                        unknown="no", max_ops_invoked=1, max_ops_performed=1))]
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
        max_ops_invoked: u16,
        max_ops_performed: u16,
    ) -> PyResult<Self> {
        blocking::check_process()?;
        let titles = |texts: Vec<String>| {
            texts
                .iter()
                .map(|text| title_of(text))
                .collect::<PyResult<Vec<_>>>()
        };
        let contexts = contexts
            .into_iter()
            .map(|(class, syntaxes, ours, scu, scp)| {
                Ok(SupportedContext {
                    abstract_syntax: uid_of(py, &class)?,
                    transfer_syntaxes: syntaxes
                        .iter()
                        .map(|text| uid_of(py, text))
                        .collect::<PyResult<_>>()?,
                    preference: preference(ours),
                    scu,
                    scp,
                })
            })
            .collect::<PyResult<Vec<_>>>()?;
        let mut policy = AcceptorPolicy::new(contexts);
        policy.called = match called {
            Some(texts) => CalledTitles::OneOf(titles(texts)?),
            None => CalledTitles::Any,
        };
        policy.calling = calling.map(titles).transpose()?;
        policy.max_length = max_length;
        policy.max_ops_invoked = max_ops_invoked;
        policy.max_ops_performed = max_ops_performed;
        policy.unknown_storage = match unknown {
            "no" => None,
            "announced" => Some(UnknownClasses::Announced),
            "any" => Some(UnknownClasses::Any),
            other => return Err(PyValueError::new_err(format!("unknown={other:?}"))),
        }
        .map(|classes| UnknownStorage {
            classes,
            transfer_syntaxes: Vec::new(),
            preference: Preference::Requestor,
        });
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
        let settings = Settings {
            timeouts: config::timeouts(timeouts)?,
            limits: config::limits(limits, max_length)?,
            budget: Budget::new(number("byte_budget", 256 << 20)?),
            service: Arc::clone(&service.get().inner),
        };
        let address = resolve(py, host, port)?;
        py.detach(|| net::Listener::start(address, policy, settings, capacity))
            .map(|inner| Self {
                inner: Arc::new(inner),
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
    fn associations(&self) -> Vec<Association> {
        let inside = self.inner.associations();
        inside
            .into_iter()
            .map(|inner| Association { inner })
            .collect()
    }

    /// Connections that have not sent their A-ASSOCIATE-RQ.
    #[getter]
    fn pending(&self) -> usize {
        self.inner.pending()
    }

    /// Stops accepting; what is being received may finish within `grace` seconds, the rest is aborted.
    #[pyo3(signature = (grace=5.0, *, then=None))]
    fn stop(&self, py: Python<'_>, grace: f64, then: Option<Then<'_>>) -> PyResult<Py<PyAny>> {
        let grace = config::duration(grace).unwrap_or(Duration::ZERO);
        let inner = Arc::clone(&self.inner);
        let stopped = async move { inner.stop(grace).await };
        settle(py, then, stopped, |py, ()| Ok(py.None()))
    }
}

const fn preference(ours: bool) -> Preference {
    if ours {
        Preference::Acceptor
    } else {
        Preference::Requestor
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
