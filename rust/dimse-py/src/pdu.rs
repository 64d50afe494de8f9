//! What a PDU says, as Python shows it: the items of an A-ASSOCIATE-RQ or -AC, and the codes of A-ASSOCIATE-RJ and
//! A-ABORT (PS3.8 9.3). These are dictionaries, because a PDU has the items that its sender put there.

use dimse_proto::Uid;
use dimse_proto::ul::associate::{Associate, Item};
use dimse_proto::ul::pdu::Pdu;
use dimse_proto::ul::user_info::UserItem;
use dimse_proto::wire::Shown;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

/// The items of a PDU; None when it has nothing that is shown. `classes`: of an A-ASSOCIATE-AC, the abstract syntaxes
/// that its context ids were proposed for, which it does not repeat.
pub(crate) fn items_of<'py>(
    py: Python<'py>,
    pdu: &Pdu,
    classes: &[(u8, Uid)],
) -> PyResult<Option<Bound<'py, PyDict>>> {
    let all = PyDict::new(py);
    match pdu {
        Pdu::AssociateRq(associate) | Pdu::AssociateAc(associate) => {
            all.set_item("calling", associate.calling_ae().to_text())?;
            all.set_item("called", associate.called_ae().to_text())?;
            contexts(&all, associate, classes)?;
            user_items(&all, associate)?;
        }
        Pdu::AssociateRj(rj) => {
            all.set_item("result", rj.result.0)?;
            all.set_item("source", rj.source.0)?;
            all.set_item("reason", rj.reason)?;
        }
        Pdu::Abort(abort) => {
            all.set_item("source", abort.source.0)?;
            all.set_item("reason", abort.reason.0)?;
        }
        _ => return Ok(None),
    }
    Ok(Some(all))
}

fn texts(uids: &[Uid]) -> Vec<String> {
    uids.iter().map(Uid::to_text).collect()
}

fn contexts(all: &Bound<'_, PyDict>, associate: &Associate, classes: &[(u8, Uid)]) -> PyResult<()> {
    let contexts = PyList::empty(all.py());
    for item in &associate.items {
        let context = PyDict::new(all.py());
        match item {
            Item::ApplicationContext(name) => {
                all.set_item("application_context", name.to_text())?;
                continue;
            }
            Item::PresentationContextRq(proposed) => {
                context.set_item("id", proposed.id)?;
                let class = proposed.abstract_syntaxes.first().map(Uid::to_text);
                context.set_item("class", class.unwrap_or_default())?;
                context.set_item("syntaxes", texts(&proposed.transfer_syntaxes))?;
            }
            Item::PresentationContextAc(answered) => {
                context.set_item("id", answered.id)?;
                let class = classes.iter().find(|(id, _)| *id == answered.id);
                let class = class.map(|(_, class)| class.to_text());
                context.set_item("class", class.unwrap_or_default())?;
                context.set_item("syntaxes", texts(&answered.transfer_syntaxes))?;
                context.set_item("result", answered.result.to_string())?;
            }
            // Items that PS3.8 does not define are passed over (PS3.8 9.3.1).
            _ => continue,
        }
        contexts.append(context)?;
    }
    all.set_item("contexts", contexts)
}

/// The user information. Of a user identity only its type is shown (PS3.7 D.3.3.7): the fields are a person's, or
/// secrets.
fn user_items(all: &Bound<'_, PyDict>, associate: &Associate) -> PyResult<()> {
    let py = all.py();
    let (roles, extended, common) = (PyList::empty(py), PyList::empty(py), PyList::empty(py));
    for item in associate.user_items() {
        match item {
            UserItem::MaximumLength(length) => all.set_item("max_length", length)?,
            UserItem::ImplementationClassUid(uid) => {
                all.set_item("implementation_class", uid.to_text())?;
            }
            UserItem::ImplementationVersion(name) => {
                all.set_item("implementation_version", Shown(name).to_string())?;
            }
            UserItem::AsyncWindow { invoked, performed } => {
                all.set_item("window", (invoked, performed))?;
            }
            UserItem::Role {
                sop_class,
                scu,
                scp,
            } => roles.append((sop_class.to_text(), *scu == 1, *scp == 1))?,
            UserItem::ExtendedNegotiation { sop_class, info } => {
                extended.append((sop_class.to_text(), &info[..]))?;
            }
            UserItem::CommonExtendedNegotiation {
                sop_class,
                service_class,
                related,
            } => common.append((sop_class.to_text(), service_class.to_text(), texts(related)))?,
            UserItem::UserIdentityRq {
                identity_type,
                response_requested,
                ..
            } => all.set_item("identity", (identity_type, response_requested))?,
            UserItem::UserIdentityAc(_) => all.set_item("identity_response", true)?,
            // Of another standard or a private one: no name and no format that a log could show.
            UserItem::Unknown { .. } => {}
        }
    }
    // What no item says has no key: a log shows the lines that a PDU has.
    for (name, list) in [("roles", roles), ("extended", extended), ("common", common)] {
        if !list.is_empty() {
            all.set_item(name, list)?;
        }
    }
    Ok(())
}
