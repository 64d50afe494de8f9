//! The items of a negotiation as Python gives them and reads them: presentation contexts, common extended negotiation
//! and the user identity (PS3.8 9.3.2, PS3.7 D.3.3). Classes with names: two of these have two booleans side by side.

use bytes::Bytes;
use dimse_proto::Uid;
use dimse_proto::ul::negotiate as proto;
use dimse_proto::ul::user_info::Secret;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;

use crate::facts::{uid_of, uids_of};

// UIDs are kept as text here and are checked where the core takes them over: an object of this kind says what was
// written, also when a peer wrote it.

/// A presentation context that a requestor proposes (PS3.8 9.3.2.2).
#[pyclass(frozen, get_all, module = "dimse_rs._core")]
pub(crate) struct ProposedContext {
    pub(crate) sop_class: String,
    pub(crate) transfer_syntaxes: Vec<String>,
    /// The requestor may invoke operations on it.
    pub(crate) scu: bool,
    /// The requestor may perform operations on it.
    pub(crate) scp: bool,
}

#[pymethods]
impl ProposedContext {
    #[new]
    #[pyo3(signature = (sop_class, transfer_syntaxes, scu=true, scp=false))]
    const fn new(sop_class: String, transfer_syntaxes: Vec<String>, scu: bool, scp: bool) -> Self {
        Self {
            sop_class,
            transfer_syntaxes,
            scu,
            scp,
        }
    }
}

/// What a requestor proposes, as the core takes it.
pub(crate) fn proposed(
    py: Python<'_>,
    contexts: Vec<Bound<'_, ProposedContext>>,
) -> PyResult<Vec<proto::ProposedContext>> {
    let one = |context: Bound<'_, ProposedContext>| {
        let context = context.get();
        let mut made = proto::ProposedContext::new(
            uid_of(py, &context.sop_class)?,
            uids_of(py, &context.transfer_syntaxes)?,
        );
        made.scu = context.scu;
        made.scp = context.scp;
        Ok(made)
    };
    contexts.into_iter().map(one).collect()
}

/// A presentation context that an acceptor takes (PS3.8 9.3.3.2).
#[pyclass(frozen, get_all, module = "dimse_rs._core")]
pub(crate) struct SupportedContext {
    sop_class: String,
    /// Any when there are none.
    transfer_syntaxes: Vec<String>,
    /// The acceptor's order of transfer syntaxes decides, or the requestor's.
    own_order: bool,
    /// The requestor may be SCU.
    scu: bool,
    /// The requestor may be SCP.
    scp: bool,
}

#[pymethods]
impl SupportedContext {
    #[new]
    #[pyo3(signature = (sop_class, transfer_syntaxes=vec![], *, own_order=false, scu=true, scp=false))]
    const fn new(
        sop_class: String,
        transfer_syntaxes: Vec<String>,
        own_order: bool,
        scu: bool,
        scp: bool,
    ) -> Self {
        Self {
            sop_class,
            transfer_syntaxes,
            own_order,
            scu,
            scp,
        }
    }
}

/// What an acceptor takes, as the core takes it.
pub(crate) fn supported(
    py: Python<'_>,
    contexts: Vec<Bound<'_, SupportedContext>>,
) -> PyResult<Vec<proto::SupportedContext>> {
    let one = |context: Bound<'_, SupportedContext>| {
        let context = context.get();
        Ok(proto::SupportedContext {
            abstract_syntax: uid_of(py, &context.sop_class)?,
            transfer_syntaxes: uids_of(py, &context.transfer_syntaxes)?,
            preference: preference(context.own_order),
            scu: context.scu,
            scp: context.scp,
        })
    };
    contexts.into_iter().map(one).collect()
}

/// The end whose order of transfer syntaxes decides.
pub(crate) const fn preference(own_order: bool) -> proto::Preference {
    if own_order {
        proto::Preference::Acceptor
    } else {
        proto::Preference::Requestor
    }
}

/// Common extended negotiation of one class (PS3.7 D.3.3.6).
#[pyclass(frozen, get_all, module = "dimse_rs._core")]
pub(crate) struct CommonExtended {
    pub(crate) sop_class: String,
    pub(crate) service_class: String,
    /// Related general SOP classes.
    pub(crate) related: Vec<String>,
}

#[pymethods]
impl CommonExtended {
    #[new]
    const fn new(sop_class: String, service_class: String, related: Vec<String>) -> Self {
        Self {
            sop_class,
            service_class,
            related,
        }
    }
}

/// Common extended negotiation, as the core takes it.
pub(crate) fn common(
    py: Python<'_>,
    items: Vec<Bound<'_, CommonExtended>>,
) -> PyResult<Vec<proto::CommonExtended>> {
    let one = |item: Bound<'_, CommonExtended>| {
        let item = item.get();
        Ok(proto::CommonExtended {
            sop_class: uid_of(py, &item.sop_class)?,
            service_class: uid_of(py, &item.service_class)?,
            related: uids_of(py, &item.related)?,
        })
    };
    items.into_iter().map(one).collect()
}

// Pairs rather than a class: Python has them in a mapping, and a pair is the item of a mapping.

/// SOP class extended negotiation: information by SOP class, as a pair like the item of a mapping (PS3.7 D.3.3.5).
pub(crate) type ExtendedArgs = (String, PyBackedBytes);

/// SOP class extended negotiation, as the core takes it.
pub(crate) fn extended(py: Python<'_>, args: Vec<ExtendedArgs>) -> PyResult<Vec<(Uid, Bytes)>> {
    args.into_iter()
        .map(|(class, info)| Ok((uid_of(py, &class)?, Bytes::copy_from_slice(&info))))
        .collect()
}

/// A user identity (PS3.7 D.3.3.7). No `repr` shows its fields: they are secrets.
#[pyclass(frozen, get_all, module = "dimse_rs._core")]
pub(crate) struct Identity {
    r#type: u8,
    response_requested: bool,
    // Python objects, not Rust bytes: no copy of a secret is made for each time that Python looks.
    primary: Py<PyBytes>,
    secondary: Py<PyBytes>,
}

#[pymethods]
impl Identity {
    #[new]
    const fn new(
        r#type: u8,
        response_requested: bool,
        primary: Py<PyBytes>,
        secondary: Py<PyBytes>,
    ) -> Self {
        Self {
            r#type,
            response_requested,
            primary,
            secondary,
        }
    }
}

impl Identity {
    /// The user identity of an A-ASSOCIATE-RQ.
    pub(crate) fn of(py: Python<'_>, said: &proto::UserIdentity) -> Self {
        Self {
            r#type: said.identity_type,
            response_requested: said.response_requested,
            primary: PyBytes::new(py, &said.primary.0).unbind(),
            secondary: PyBytes::new(py, &said.secondary.0).unbind(),
        }
    }

    /// What the core sends.
    pub(crate) fn core(&self, py: Python<'_>) -> proto::UserIdentity {
        proto::UserIdentity {
            identity_type: self.r#type,
            response_requested: self.response_requested,
            primary: secret(self.primary.as_bytes(py)),
            secondary: secret(self.secondary.as_bytes(py)),
        }
    }
}

/// Bytes that no log shows.
pub(crate) fn secret(bytes: &[u8]) -> Secret {
    Secret(Bytes::copy_from_slice(bytes))
}
