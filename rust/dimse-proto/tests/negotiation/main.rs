//! Negotiation, law by law (PS3.8 7.1.1, PS3.7 D.3).
#![allow(missing_docs, clippy::unwrap_used)]

mod acceptor;
mod requestor;

use bytes::Bytes;
use dimse_proto::ul::associate::{Associate, Item, PresentationContextAc, PresentationContextRq};
use dimse_proto::ul::negotiate::{
    AcceptorPolicy, CalledTitles, CommonExtended, ExtendedAnswer, Negotiated, Preference,
    ProposedContext, Request, SupportedContext, UnknownClasses, UnknownStorage, UserIdentity,
    Verdict, answer, outcome,
};
use dimse_proto::ul::pdu::Pdu;
use dimse_proto::ul::reason::{AbortReason, AssociateRj, ContextResult};
use dimse_proto::ul::user_info::{Secret, UserItem};
use dimse_proto::{AeTitle, Uid};

const CT: Uid = Uid::from_static("1.2.840.10008.5.1.4.1.1.2");
const FIND: Uid = Uid::from_static("1.2.840.10008.5.1.4.1.2.2.1");
const VERIFICATION: Uid = Uid::from_static("1.2.840.10008.1.1");
const PRIVATE: Uid = Uid::from_static("1.3.6.1.4.1.99999.1");
const IMPLICIT: Uid = Uid::from_static("1.2.840.10008.1.2");
const EXPLICIT: Uid = Uid::from_static("1.2.840.10008.1.2.1");
const JPEG: Uid = Uid::from_static("1.2.840.10008.1.2.4.50");

fn title(text: &str) -> AeTitle {
    AeTitle::new(text).unwrap()
}

fn context(id: u8, class: Uid, transfer_syntaxes: &[Uid]) -> Item {
    Item::PresentationContextRq(PresentationContextRq {
        id,
        abstract_syntaxes: vec![class],
        transfer_syntaxes: transfer_syntaxes.to_vec(),
    })
}

fn answered(id: u8, result: u8, transfer_syntaxes: &[Uid]) -> Item {
    Item::PresentationContextAc(PresentationContextAc {
        id,
        result: ContextResult(result),
        transfer_syntaxes: transfer_syntaxes.to_vec(),
    })
}

/// A request for CT by items, so that it can break any rule.
fn proposal(contexts: Vec<Item>, user_items: Vec<UserItem>) -> Associate {
    let mut items = vec![Item::ApplicationContext(Uid::from_static(
        "1.2.840.10008.3.1.1.1",
    ))];
    items.extend(contexts);
    items.push(Item::UserInformation(user_items));
    Associate {
        protocol_version: 1,
        called: title("ANY-SCP").to_field(),
        calling: title("US").to_field(),
        reserved: [0; 32],
        items,
    }
}

fn usual() -> Vec<UserItem> {
    vec![
        UserItem::MaximumLength(16384),
        UserItem::ImplementationClassUid(Uid::from_static("1.2.3.4")),
    ]
}

fn usual_and(item: UserItem) -> Vec<UserItem> {
    let mut items = usual();
    items.push(item);
    items
}

fn ct() -> Vec<Item> {
    vec![context(1, CT, &[IMPLICIT])]
}

fn serves(class: Uid, transfer_syntaxes: &[Uid]) -> SupportedContext {
    SupportedContext {
        abstract_syntax: class,
        transfer_syntaxes: transfer_syntaxes.to_vec(),
        preference: Preference::Requestor,
        scu: true,
        scp: false,
    }
}

fn policy() -> AcceptorPolicy {
    AcceptorPolicy::new([
        serves(CT, &[EXPLICIT, IMPLICIT]),
        serves(VERIFICATION, &[IMPLICIT]),
    ])
}

#[track_caller]
fn accepted(request: &Associate, policy: &AcceptorPolicy) -> (Associate, Negotiated) {
    match answer(request, policy) {
        Verdict::Accept { answer, negotiated } => (answer, *negotiated),
        Verdict::Reject { code, detail, .. } => panic!("rejected: {code}: {detail}"),
    }
}

#[track_caller]
fn rejected(request: &Associate, policy: &AcceptorPolicy) -> (AssociateRj, &'static str, String) {
    match answer(request, policy) {
        Verdict::Reject { rj, code, detail } => (rj, code, detail),
        Verdict::Accept { answer, .. } => panic!("accepted: {answer:?}"),
    }
}

fn results(answer: &Associate) -> Vec<u8> {
    answer.answered().map(|context| context.result.0).collect()
}

fn chosen(request: &Associate, policy: &AcceptorPolicy) -> Vec<Uid> {
    let (_, negotiated) = accepted(request, policy);
    negotiated
        .accepted()
        .map(|context| context.transfer_syntax.clone().unwrap())
        .collect()
}
