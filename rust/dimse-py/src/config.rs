//! Settings from Python: plain values that `dimse_rs` has checked, by name.

use std::time::Duration;

use dimse_net::deadline::Timeouts;
use dimse_net::limits::Limits;
use dimse_proto::ul::negotiate::ProposedContext;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::message::uid_of;

/// Seconds by name; 0 is none. Names that only Python needs are left out of account.
pub(crate) fn timeouts(values: &Bound<'_, PyDict>) -> PyResult<Timeouts> {
    let mut timeouts = Timeouts::default();
    for (name, slot) in [
        ("artim", &mut timeouts.artim),
        ("connect", &mut timeouts.connect),
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
            let transfer_syntaxes = transfer_syntaxes
                .iter()
                .map(|text| uid_of(py, text))
                .collect::<PyResult<_>>()?;
            let mut context =
                ProposedContext::new(uid_of(py, &abstract_syntax)?, transfer_syntaxes);
            context.scu = scu;
            context.scp = scp;
            Ok(context)
        })
        .collect()
}
