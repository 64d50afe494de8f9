//! `_core.Proposal`: an A-ASSOCIATE-RQ that waits for a decision of Python.
//!
//! The driver of the association waits for the decision with its own deadline (`Timeouts.acse`), and other
//! associations go on: a decision may take a directory service or a database.

use std::collections::HashSet;
use std::sync::Arc;

use dimse_net::admission::AdmissionRequest;
use dimse_net::terms as net;
use dimse_net::terms::{Rejection, Terms};
use dimse_proto::Uid;
use dimse_proto::dimse::CommandField;
use dimse_proto::ul::negotiate::{Negotiated, UserIdentity};
use dimse_proto::ul::reason::AssociateRj;
use dimse_proto::ul::user_info::UserItem;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;

use crate::blocking::{self, OfProcess};
use crate::facts::{AddressFacts, TitlesFacts};
use crate::items::{
    self, CommonExtended, ExtendedArgs, Identity, ProposedContext, SupportedContext,
};
use crate::service;
use crate::tls::TlsFacts;

/// A proposal to be decided on, once. One that is dropped undecided is rejected.
#[pyclass(frozen, module = "dimse_rs._core")]
pub(crate) struct Proposal {
    pub(crate) inner: OfProcess<AdmissionRequest>,
}

/// What a peer may ask for.
#[pyclass(frozen, module = "dimse_rs._core")]
pub(crate) struct Permit {
    inner: Arc<net::Permit>,
}

#[pymethods]
impl Permit {
    /// Command Fields, and classes of presentation contexts; None for all.
    #[new]
    fn new(
        py: Python<'_>,
        services: Option<HashSet<u16>>,
        classes: Option<Vec<String>>,
    ) -> PyResult<Self> {
        Ok(Self {
            inner: Arc::new(net::Permit {
                services: services.map(|fields| fields.into_iter().map(CommandField).collect()),
                classes: service::classes(py, classes)?,
            }),
        })
    }
}

#[pymethods]
impl Proposal {
    /// Number that the association has, once it is admitted.
    #[getter]
    fn association(&self) -> u64 {
        self.inner.association()
    }

    /// Where the requestor is.
    #[getter]
    fn peer(&self) -> Option<AddressFacts> {
        self.inner.peer().map(AddressFacts::from)
    }

    /// Calling and called AE title.
    #[getter]
    fn titles(&self) -> TitlesFacts {
        let request = self.inner.request();
        TitlesFacts {
            calling: request.calling_ae().to_text(),
            called: request.called_ae().to_text(),
        }
    }

    /// Largest P-DATA-TF that the requestor takes, 0 for no limit; Implementation Class UID and Implementation Version
    /// Name, each None where the requestor sent none.
    #[getter]
    fn about(&self) -> (u32, Option<String>, Option<String>) {
        let about = Negotiated::about(self.inner.request());
        let class = about.peer_implementation_class.as_ref().map(Uid::to_text);
        (
            about.peer_max_length,
            class,
            about.peer_implementation_version,
        )
    }

    /// Contexts with one valid abstract syntax, in order.
    #[getter]
    fn contexts(&self) -> Vec<ProposedContext> {
        let request = self.inner.request();
        // A role selection item is for a SOP Class, not for a context; without one the requestor is SCU (PS3.7 D.3.3.4).
        let role = |class: &Uid| {
            request.user_items().find_map(|item| match item {
                UserItem::Role {
                    sop_class,
                    scu,
                    scp,
                } if sop_class == class => Some((*scu == 1, *scp == 1)),
                _ => None,
            })
        };
        request
            .proposed()
            .filter_map(|context| match context.abstract_syntaxes.as_slice() {
                // A context without one valid abstract syntax is rejected by the core, whatever Python decides.
                [class] if class.is_valid() => {
                    let syntaxes = context.transfer_syntaxes.iter();
                    let syntaxes = syntaxes.filter(|uid| uid.is_valid()).map(Uid::to_text);
                    let (scu, scp) = role(class).unwrap_or((true, false));
                    Some(ProposedContext {
                        sop_class: class.to_text(),
                        transfer_syntaxes: syntaxes.collect(),
                        scu,
                        scp,
                    })
                }
                _ => None,
            })
            .collect()
    }

    /// What the TLS handshake agreed on; None without TLS.
    #[getter]
    fn tls(&self, py: Python<'_>) -> PyResult<Option<TlsFacts>> {
        let agreed = self.inner.tls();
        agreed.map(|agreed| TlsFacts::of(py, agreed)).transpose()
    }

    /// User identity.
    #[getter]
    fn identity(&self, py: Python<'_>) -> Option<Identity> {
        let said = UserIdentity::of(self.inner.request())?;
        Some(Identity::of(py, &said))
    }

    /// Extended negotiation: SOP class and information.
    #[getter]
    fn extended<'py>(&self, py: Python<'py>) -> Vec<(String, Bound<'py, PyBytes>)> {
        let items = self.inner.request().user_items();
        items
            .filter_map(|item| match item {
                UserItem::ExtendedNegotiation { sop_class, info } => {
                    Some((sop_class.to_text(), PyBytes::new(py, info)))
                }
                _ => None,
            })
            .collect()
    }

    /// Common extended negotiation.
    #[getter]
    fn common(&self) -> Vec<CommonExtended> {
        let items = self.inner.request().user_items();
        items
            .filter_map(|item| match item {
                UserItem::CommonExtendedNegotiation {
                    sop_class,
                    service_class,
                    related,
                } => Some(CommonExtended {
                    sop_class: sop_class.to_text(),
                    service_class: service_class.to_text(),
                    related: related.iter().map(Uid::to_text).collect(),
                }),
                _ => None,
            })
            .collect()
    }

    /// Admits it, on the listener's policy and these terms: contexts and answers to extended negotiation in place
    /// of the policy's, the response to a verified identity, and what it may ask for.
    #[pyo3(signature = (*, contexts=vec![], extended=vec![], identity_response=None, permit=None))]
    fn admit(
        &self,
        py: Python<'_>,
        contexts: Vec<Bound<'_, SupportedContext>>,
        extended: Vec<ExtendedArgs>,
        identity_response: Option<PyBackedBytes>,
        permit: Option<&Bound<'_, Permit>>,
    ) -> PyResult<()> {
        blocking::check_process()?;
        // The terms are parsed before the decision is given away: a bad UID raises here, and the proposal is still open.
        self.inner.decide(Ok(Box::new(Terms {
            contexts: items::supported(py, contexts)?,
            extended: items::extended(py, extended)?,
            identity_response: identity_response.map(|bytes| items::secret(&bytes)),
            permit: permit.map(|permit| Arc::clone(&permit.get().inner)),
        })));
        Ok(())
    }

    /// Rejects it. `code`: "user-identity", "not-allowed" or "not-let-in"; `detail` is for the log.
    fn reject(
        &self,
        result: u8,
        source: u8,
        reason: u8,
        code: &str,
        detail: String,
    ) -> PyResult<()> {
        // A stable name in logs and events: only names that the documentation lists.
        let code = match code {
            "user-identity" => "user-identity",
            "not-allowed" => "not-allowed",
            "not-let-in" => "not-let-in",
            other => return Err(PyValueError::new_err(format!("code={other:?}"))),
        };
        blocking::check_process()?;
        self.inner.decide(Err(Rejection {
            rj: AssociateRj::new(result, source, reason),
            code,
            detail,
        }));
        Ok(())
    }
}
