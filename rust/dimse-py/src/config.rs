//! Settings from Python: plain values that `dimse_rs` has checked, by name.

use std::time::Duration;

use bytes::Bytes;
use dimse_net::deadline::Timeouts;
use dimse_net::limits::Limits;
use dimse_proto::Uid;
use dimse_proto::ul::negotiate::{
    CommonExtended, Preference, ProposedContext, SupportedContext, UserIdentity,
};
use dimse_proto::ul::user_info::Secret;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyDict};

use crate::message::uid_of;

/// Seconds by name; 0 is none. Names that only Python needs are left out of account.
pub(crate) fn timeouts(values: &Bound<'_, PyDict>) -> PyResult<Timeouts> {
    let mut timeouts = Timeouts::default();
    for (name, slot) in [
        ("artim", &mut timeouts.artim),
        ("connect", &mut timeouts.connect),
        ("tls", &mut timeouts.tls),
        ("acse", &mut timeouts.acse),
        ("release", &mut timeouts.release),
        ("write", &mut timeouts.write),
        ("idle", &mut timeouts.idle),
        ("dimse", &mut timeouts.dimse),
        ("store", &mut timeouts.store),
        ("retrieve", &mut timeouts.retrieve),
        ("progress", &mut timeouts.progress),
    ] {
        if let Some(seconds) = values.get_item(name)? {
            *slot = duration(seconds.extract()?);
        }
    }
    Ok(timeouts)
}

/// Seconds; 0 or less is none.
pub(crate) fn duration(seconds: f64) -> Option<Duration> {
    if seconds > 0.0 {
        Duration::try_from_secs_f64(seconds).ok()
    } else {
        None
    }
}

/// How long to wait: None is for ever, 0 not at all.
pub(crate) fn patience(within: Option<f64>) -> Option<Duration> {
    within.map(|seconds| duration(seconds).unwrap_or(Duration::ZERO))
}

/// Limits by name.
pub(crate) fn limits(values: &Bound<'_, PyDict>, max_length: u32) -> PyResult<Limits> {
    let mut limits = Limits {
        max_length,
        ..Limits::default()
    };
    for (name, slot) in [
        ("associate", &mut limits.associate),
        ("command", &mut limits.command),
        ("dataset", &mut limits.dataset),
        ("identifier", &mut limits.identifier),
        ("spool_above", &mut limits.spool_above),
        ("operations", &mut limits.queued),
        ("errors", &mut limits.errors),
    ] {
        if let Some(value) = values.get_item(name)? {
            *slot = value.extract()?;
        }
    }
    if let Some(value) = values.get_item("instance")? {
        limits.instance = value.extract()?;
    }
    if let Some(value) = values.get_item("read_rate")? {
        limits.read_rate = value.extract()?;
    }
    Ok(limits)
}

/// A proposed context: SOP class, transfer syntaxes, and what the requestor is to be on it.
pub(crate) type ContextArgs = (String, Vec<String>, bool, bool);

pub(crate) fn contexts(
    py: Python<'_>,
    contexts: Vec<ContextArgs>,
) -> PyResult<Vec<ProposedContext>> {
    contexts
        .into_iter()
        .map(|(abstract_syntax, transfer_syntaxes, scu, scp)| {
            let transfer_syntaxes = uids(py, transfer_syntaxes)?;
            let mut context =
                ProposedContext::new(uid_of(py, &abstract_syntax)?, transfer_syntaxes);
            context.scu = scu;
            context.scp = scp;
            Ok(context)
        })
        .collect()
}

/// A supported context: SOP class, transfer syntaxes (none: any), whether our order of them counts, requestor
/// SCU, requestor SCP.
pub(crate) type SupportedArgs = (String, Vec<String>, bool, bool, bool);

pub(crate) fn supported(
    py: Python<'_>,
    contexts: Vec<SupportedArgs>,
) -> PyResult<Vec<SupportedContext>> {
    contexts
        .into_iter()
        .map(|(class, syntaxes, ours, scu, scp)| {
            Ok(SupportedContext {
                abstract_syntax: uid_of(py, &class)?,
                transfer_syntaxes: uids(py, syntaxes)?,
                preference: preference(ours),
                scu,
                scp,
            })
        })
        .collect()
}

pub(crate) const fn preference(ours: bool) -> Preference {
    if ours {
        Preference::Acceptor
    } else {
        Preference::Requestor
    }
}

pub(crate) fn uids(py: Python<'_>, texts: Vec<String>) -> PyResult<Vec<Uid>> {
    texts.into_iter().map(|text| uid_of(py, &text)).collect()
}

/// SOP class and service-class-application-information.
pub(crate) type ExtendedArgs = (String, PyBackedBytes);

pub(crate) fn extended(py: Python<'_>, args: Vec<ExtendedArgs>) -> PyResult<Vec<(Uid, Bytes)>> {
    args.into_iter()
        .map(|(class, info)| Ok((uid_of(py, &class)?, Bytes::copy_from_slice(&info))))
        .collect()
}

/// SOP class, its service class, related general SOP classes.
pub(crate) type CommonArgs = (String, String, Vec<String>);

pub(crate) fn common(py: Python<'_>, args: Vec<CommonArgs>) -> PyResult<Vec<CommonExtended>> {
    args.into_iter()
        .map(|(class, service_class, related)| {
            Ok(CommonExtended {
                sop_class: uid_of(py, &class)?,
                service_class: uid_of(py, &service_class)?,
                related: uids(py, related)?,
            })
        })
        .collect()
}

/// User identity: type, whether a response is asked for, primary and secondary field.
pub(crate) type IdentityArgs = (u8, bool, PyBackedBytes, PyBackedBytes);

pub(crate) fn identity(
    (identity_type, requested, primary, secondary): IdentityArgs,
) -> UserIdentity {
    UserIdentity {
        identity_type,
        response_requested: requested,
        primary: secret(&primary),
        secondary: secret(&secondary),
    }
}

pub(crate) fn secret(bytes: &[u8]) -> Secret {
    Secret(Bytes::copy_from_slice(bytes))
}

/// The same, to Python.
pub(crate) type IdentityFacts<'py> = (u8, bool, Bound<'py, PyBytes>, Bound<'py, PyBytes>);

pub(crate) fn identity_facts<'py>(py: Python<'py>, said: &UserIdentity) -> IdentityFacts<'py> {
    (
        said.identity_type,
        said.response_requested,
        PyBytes::new(py, &said.primary.0),
        PyBytes::new(py, &said.secondary.0),
    )
}
