//! `_core.Policy`: what a server accepts without asking Python (PS3.8 9.3.3, PS3.7 D.3.3).

use bytes::Bytes;
use dimse_proto::ul::negotiate as proto;
use dimse_proto::ul::negotiate::{AcceptorPolicy, CalledTitles, UnknownStorage};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;

use crate::config::Config;
use crate::facts::{title_of, uid_of, uids_of};
use crate::items::{self, SupportedContext, preference};

/// What becomes of storage classes that no list has (PS3.4 B.4.1.2).
#[pyclass(frozen, module = "dimse_rs._core")]
pub(crate) struct UnknownClasses {
    inner: UnknownStorage,
}

#[pymethods]
impl UnknownClasses {
    /// `which`: "announced" (by common extended negotiation) or "any". `transfer_syntaxes`: none for any. `own_order`:
    /// whether our order of them decides.
    #[new]
    #[pyo3(signature = (which, transfer_syntaxes=vec![], *, own_order=false))]
    #[expect(
        clippy::needless_pass_by_value,
        reason = "arguments are taken over from Python"
    )]
    fn new(
        py: Python<'_>,
        which: &str,
        transfer_syntaxes: Vec<String>,
        own_order: bool,
    ) -> PyResult<Self> {
        let classes = match which {
            "announced" => proto::UnknownClasses::Announced,
            "any" => proto::UnknownClasses::Any,
            other => return Err(PyValueError::new_err(format!("which={other:?}"))),
        };
        Ok(Self {
            inner: UnknownStorage {
                classes,
                transfer_syntaxes: uids_of(py, &transfer_syntaxes)?,
                preference: preference(own_order),
            },
        })
    }
}

/// How extended negotiation of one SOP class is answered (PS3.7 D.3.3.5).
#[pyclass(frozen, module = "dimse_rs._core")]
pub(crate) struct ExtendedAnswer {
    sop_class: String,
    inner: proto::ExtendedAnswer,
}

#[pymethods]
impl ExtendedAnswer {
    /// `declared`: the answer is the information as it is; otherwise the smaller of each two bytes.
    #[new]
    #[pyo3(signature = (sop_class, info, *, declared=false))]
    #[expect(
        clippy::needless_pass_by_value,
        reason = "arguments are taken over from Python"
    )]
    fn new(sop_class: String, info: PyBackedBytes, declared: bool) -> Self {
        let info = Bytes::copy_from_slice(&info);
        let inner = if declared {
            proto::ExtendedAnswer::Declare(info)
        } else {
            proto::ExtendedAnswer::Agree(info)
        };
        Self { sop_class, inner }
    }
}

/// What a server accepts.
#[pyclass(frozen, module = "dimse_rs._core")]
pub(crate) struct Policy {
    inner: AcceptorPolicy,
}

#[pymethods]
impl Policy {
    /// `called`, `calling`: AE titles that are let in, None for any. `unknown`: storage classes beyond `contexts`, None
    /// for none. `extended`: answers to extended negotiation.
    #[new]
    #[pyo3(signature = (contexts, *, called=None, calling=None, unknown=None, extended=vec![], require_identity=false,
                        refuse_passcode=false))]
    #[expect(
        clippy::too_many_arguments,
        reason = "each is a term of the policy, named on the Python side"
    )]
    fn new(
        py: Python<'_>,
        contexts: Vec<Bound<'_, SupportedContext>>,
        called: Option<Vec<String>>,
        calling: Option<Vec<String>>,
        unknown: Option<&Bound<'_, UnknownClasses>>,
        extended: Vec<Bound<'_, ExtendedAnswer>>,
        require_identity: bool,
        refuse_passcode: bool,
    ) -> PyResult<Self> {
        let titles = |texts: Vec<String>| {
            let titles = texts.iter().map(|text| title_of(text));
            titles.collect::<PyResult<Vec<_>>>()
        };
        let mut inner = AcceptorPolicy::new(items::supported(py, contexts)?);
        // Titles are compared as AE titles, without padding (PS3.5 6.2); an empty list lets no peer in.
        inner.called = match called {
            Some(texts) => CalledTitles::OneOf(titles(texts)?),
            None => CalledTitles::Any,
        };
        inner.calling = calling.map(titles).transpose()?;
        inner.unknown_storage = unknown.map(|unknown| unknown.get().inner.clone());
        inner.require_identity = require_identity;
        inner.refuse_passcode = refuse_passcode;
        // A mapping in the core: of two answers for a class the last one counts, and Python gives each class once.
        for answer in extended {
            let ExtendedAnswer {
                sop_class,
                inner: answer,
            } = answer.get();
            let class = uid_of(py, sop_class)?;
            inner.extended.insert(class, answer.clone());
        }
        Ok(Self { inner })
    }
}

impl Policy {
    /// The same with what a server says of itself on every association.
    pub(crate) fn with(&self, config: &Config) -> AcceptorPolicy {
        AcceptorPolicy {
            max_length: config.max_length(),
            max_ops_invoked: config.max_ops_invoked,
            max_ops_performed: config.max_ops_performed,
            ..self.inner.clone()
        }
    }
}
