//! `_core.associate`: an association that this node asks for. The top floor: it makes what `association` describes,
//! as `config` and `service` say.

use dimse_net::association as net;
use dimse_proto::ul::associate::Associate;
use dimse_proto::ul::negotiate::Request;
use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;

use crate::association::Association;
use crate::completions::{Then, settle};
use crate::config::Config;
use crate::errors;
use crate::facts::title_of;
use crate::items::{self, CommonExtended, ExtendedArgs, Identity, ProposedContext};

/// What an A-ASSOCIATE-RQ says (PS3.8 9.3.2) beside what `Config` has for every association.
#[pyclass(frozen, module = "dimse_rs._core")]
pub(crate) struct AssociateRequest {
    request: Request,
}

#[pymethods]
impl AssociateRequest {
    #[new]
    #[pyo3(signature = (calling, called, contexts, *, identity=None, extended=vec![], common=vec![]))]
    fn new(
        py: Python<'_>,
        calling: &str,
        called: &str,
        contexts: Vec<Bound<'_, ProposedContext>>,
        identity: Option<&Bound<'_, Identity>>,
        extended: Vec<ExtendedArgs>,
        common: Vec<Bound<'_, CommonExtended>>,
    ) -> PyResult<Self> {
        let contexts = items::proposed(py, contexts)?;
        let mut request = Request::new(title_of(calling)?, title_of(called)?, contexts);
        request.identity = identity.map(|identity| identity.get().core(py));
        request.extended = items::extended(py, extended)?;
        request.common = items::common(py, common)?;
        Ok(Self { request })
    }
}

impl AssociateRequest {
    fn build(&self, py: Python<'_>, config: &Config) -> PyResult<Associate> {
        // The three that both ends have are in `Config`; the rest is the requestor's alone.
        let mut request = self.request.clone();
        request.max_length = config.max_length();
        request.max_ops_invoked = config.max_ops_invoked;
        request.max_ops_performed = config.max_ops_performed;
        request.build().map_err(|error| errors::local(py, &error))
    }
}

/// Connects and asks for an association; gives it when it is established.
#[pyfunction]
#[pyo3(signature = (host, port, request, config, *, then=None))]
pub(crate) fn associate(
    py: Python<'_>,
    host: String,
    port: u16,
    request: &Bound<'_, AssociateRequest>,
    config: &Bound<'_, Config>,
    then: Option<Then<'_>>,
) -> PyResult<Py<PyAny>> {
    let config = config.get();
    // Built before anything is opened: what cannot be asked raises without a connection.
    let request = request.get().build(py, config)?;
    let association = net::Association::request(host, port, request, config.settings());
    settle(py, then, association, |py, outcome| match outcome {
        Ok(inner) => Association::from(inner).into_py_any(py),
        Err(error) => Err(errors::to_py(py, &error)),
    })
}
