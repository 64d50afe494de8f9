//! The acceptor's side: judging an A-ASSOCIATE-RQ.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;

use super::negotiated::{
    APPLICATION_CONTEXT, IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME, Negotiated,
    NegotiatedContext, async_window, detached, first, role, smaller_window,
};
use super::requestor::{UserIdentity, fits};
use crate::ul::associate::{Associate, Item, PresentationContextAc, PresentationContextRq};
use crate::ul::data::max_fragment;
use crate::ul::reason::{AssociateRj, ContextResult};
use crate::ul::user_info::{Secret, UserItem};
use crate::{AeTitle, Uid};

const IMPLICIT_VR_LITTLE_ENDIAN: Uid = Uid::from_static("1.2.840.10008.1.2");
const STORAGE_SERVICE_CLASS: &[u8] = b"1.2.840.10008.4.2";

/// Operations granted to a requestor that asks for no limit, from a policy without a limit (case B18): each operation
/// outstanding costs memory here.
const WINDOW_CAP: u16 = 64;

/// An abstract syntax that this node accepts, and the terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SupportedContext {
    /// SOP class or meta SOP class.
    pub abstract_syntax: Uid,
    /// Transfer syntaxes, the preferred first. Empty accepts any.
    pub transfer_syntaxes: Vec<Uid>,
    /// Which end's order decides between several transfer syntaxes.
    pub preference: Preference,
    /// The requestor may be SCU, the default role.
    pub scu: bool,
    /// The requestor may be SCP, if the requestor proposes the role.
    pub scp: bool,
}

/// Which end's order of transfer syntaxes decides. The standard leaves the choice to the acceptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Preference {
    /// The requestor's: for storage, so that compressed images are sent as they are.
    #[default]
    Requestor,
    /// The acceptor's: for queries.
    Acceptor,
}

/// Called AE titles that this node accepts (PS3.8 C.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CalledTitles {
    /// Any title but an empty one.
    Any,
    /// One of these.
    OneOf(Vec<AeTitle>),
}

/// Accepting SOP classes that are not in the policy, to store their instances (PS3.4 B.4.1.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownStorage {
    /// Which classes.
    pub classes: UnknownClasses,
    /// Transfer syntaxes, the preferred first. Empty accepts any.
    pub transfer_syntaxes: Vec<Uid>,
    /// Which end's order decides between several transfer syntaxes.
    pub preference: Preference,
}

/// Which unknown SOP classes count as storage classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownClasses {
    /// Classes whose 57H names the Storage service class, or a related general class in the policy (PS3.4 B.4.1.2).
    Announced,
    /// Those, every private class, and all classes of DICOM under the storage root `1.2.840.10008.5.1.4.1.1`.
    Any,
}

/// How extended negotiation (56H) of a SOP class is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExtendedAnswer {
    /// For each byte the smaller of offer and answer, as long as the shorter of both: for options of 0 or 1, as in
    /// query/retrieve (PS3.4 C.5.1.1).
    Agree(Bytes),
    /// These bytes, whatever the offer: for what an SCP declares about itself, as in storage (PS3.4 B.3.1).
    Declare(Bytes),
}

/// What this node accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptorPolicy {
    /// Called AE titles. Default: any.
    pub called: CalledTitles,
    /// Accepted calling AE titles. Default `None`: all.
    pub calling: Option<Vec<AeTitle>>,
    /// Reject any application context but DICOM's. Default true.
    pub check_application_context: bool,
    /// Contexts by abstract syntax.
    pub contexts: BTreeMap<Uid, SupportedContext>,
    /// Terms for other abstract syntaxes. Default `None`: they are rejected.
    pub unknown_storage: Option<UnknownStorage>,
    /// Largest P-DATA-TF to announce, in bytes; 0 is no limit. Default 131072.
    pub max_length: u32,
    /// Implementation class UID (52H) of the answer.
    pub implementation_class: Uid,
    /// Implementation version name (55H) of the answer, 1 to 16 characters; empty sends none.
    pub implementation_version: Bytes,
    /// Operations that this end wants to have outstanding at the requestor; 0 is no limit. Default 1.
    pub max_ops_invoked: u16,
    /// Operations of the requestor that this end performs at a time; 0 is no limit. Default 1.
    pub max_ops_performed: u16,
    /// Answers to extended negotiation, by SOP class; a class without gets none.
    pub extended: BTreeMap<Uid, ExtendedAnswer>,
    /// Reject requestors without a user identity, or with one of a type that the standard does not define. Default
    /// false.
    pub require_identity: bool,
    /// Reject user identities of type 2, whose passcode is readable on the network without TLS. Default false.
    pub refuse_passcode: bool,
    /// The 59H for a requestor that wants a positive response. `None`, the default, when no identity was verified:
    /// then the answer has no 59H, and the requestor decides whether to go on (PS3.7 D.3.3.7).
    pub identity_response: Option<Secret>,
}

impl AcceptorPolicy {
    /// A policy for these contexts, with the defaults given at each field.
    pub fn new(contexts: impl IntoIterator<Item = SupportedContext>) -> Self {
        Self {
            called: CalledTitles::Any,
            calling: None,
            check_application_context: true,
            contexts: contexts
                .into_iter()
                .map(|context| (context.abstract_syntax.clone(), context))
                .collect(),
            unknown_storage: None,
            max_length: 131_072,
            implementation_class: IMPLEMENTATION_CLASS_UID,
            implementation_version: Bytes::from_static(IMPLEMENTATION_VERSION_NAME.as_bytes()),
            max_ops_invoked: 1,
            max_ops_performed: 1,
            extended: BTreeMap::new(),
            require_identity: false,
            refuse_passcode: false,
            identity_response: None,
        }
    }

    /// The terms for an abstract syntax; `None` to reject the context.
    fn terms(&self, request: &Associate, class: &Uid) -> Option<Terms<'_>> {
        if let Some(known) = self.contexts.get(class) {
            return Some(Terms {
                transfer_syntaxes: &known.transfer_syntaxes,
                preference: known.preference,
                scu: known.scu,
                scp: known.scp,
            });
        }
        let unknown = self.unknown_storage.as_ref()?;
        let taken = self.is_announced(request, class)
            || (unknown.classes == UnknownClasses::Any && may_be_storage(class));
        (class.is_valid() && taken).then_some(Terms {
            transfer_syntaxes: &unknown.transfer_syntaxes,
            preference: unknown.preference,
            scu: true,
            scp: false,
        })
    }

    /// Whether the request says, by a 57H, that the unknown class is a storage class.
    fn is_announced(&self, request: &Associate, class: &Uid) -> bool {
        first(request, |item| match item {
            UserItem::CommonExtendedNegotiation {
                sop_class,
                service_class,
                related,
            } if sop_class == class => Some(
                service_class.as_bytes() == STORAGE_SERVICE_CLASS
                    || related.iter().any(|uid| self.contexts.contains_key(uid)),
            ),
            _ => None,
        })
        .unwrap_or(false)
    }
}

fn may_be_storage(class: &Uid) -> bool {
    !class.as_bytes().starts_with(b"1.2.840.10008.")
        || class.as_bytes().starts_with(b"1.2.840.10008.5.1.4.1.1.")
}

/// What this node accepts for one abstract syntax.
struct Terms<'a> {
    transfer_syntaxes: &'a [Uid],
    preference: Preference,
    scu: bool,
    scp: bool,
}

impl Terms<'_> {
    fn choose(&self, proposed: &[Uid]) -> Option<Uid> {
        let ours = self.transfer_syntaxes;
        if ours.is_empty() {
            return proposed.iter().find(|uid| uid.is_valid()).map(detached);
        }
        // The UID returned is the policy's own: a slice of the request would keep the whole PDU alive.
        match self.preference {
            // Both lists are short: at most 64 of a proposal are kept.
            Preference::Acceptor => ours.iter().find(|uid| proposed.contains(uid)),
            Preference::Requestor => proposed
                .iter()
                .find_map(|uid| ours.iter().find(|our| *our == uid)),
        }
        .cloned()
    }
}

/// The judgement on an A-ASSOCIATE-RQ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Send `answer` as A-ASSOCIATE-AC. All presentation contexts may be rejected in it: an association without a
    /// usable context is still an association.
    Accept {
        /// The answer.
        answer: Associate,
        /// What both ends agreed on.
        negotiated: Box<Negotiated>,
    },
    /// Send `rj`.
    Reject {
        /// Result, source and reason.
        rj: AssociateRj,
        /// Stable name of the cause, finer than the triple: `context-id-twice`.
        code: &'static str,
        /// What the requestor proposed, and what this node accepts.
        detail: String,
    },
}

/// Judges a request by a policy.
#[must_use]
pub fn answer(request: &Associate, policy: &AcceptorPolicy) -> Verdict {
    match refusal(request, policy) {
        Err((rj, code, detail)) => Verdict::Reject { rj, code, detail },
        Ok(()) => accept(request, policy),
    }
}

type Refusal = (AssociateRj, &'static str, String);

/// The checks that reject the association as a whole. Of several causes the first one reaches the requestor: protocol,
/// then AE titles, then the proposal, then the user identity.
fn refusal(request: &Associate, policy: &AcceptorPolicy) -> Result<(), Refusal> {
    if request.protocol_version & 1 == 0 {
        let detail = format!(
            "protocol version {:04X}H does not include version 1, the only one (PS3.8 9.3.2)",
            request.protocol_version
        );
        return Err((AssociateRj::PROTOCOL_VERSION, "protocol-version", detail));
    }
    application_context(request, policy)?;
    titles(request, policy)?;
    context_ids(request)?;
    user_information(request)?;
    identity(request, policy)
}

fn identity(request: &Associate, policy: &AcceptorPolicy) -> Result<(), Refusal> {
    let said = UserIdentity::of(request);
    if policy.refuse_passcode && said.as_ref().is_some_and(UserIdentity::has_passcode) {
        let detail = "user identity of type 2 without TLS: its passcode is readable on the network";
        return Err((
            AssociateRj::ACSE_NO_REASON,
            "passcode-in-clear",
            detail.to_string(),
        ));
    }
    if !policy.require_identity || said.as_ref().is_some_and(UserIdentity::is_known) {
        return Ok(());
    }
    let asked = said.map_or_else(
        || "no user identity".to_string(),
        |said| format!("user identity of type {}", said.identity_type),
    );
    let detail = format!("{asked}; this node requires a user identity (PS3.7 D.3.3.7)");
    Err((AssociateRj::ACSE_NO_REASON, "no-user-identity", detail))
}

fn application_context(request: &Associate, policy: &AcceptorPolicy) -> Result<(), Refusal> {
    let mut names = request.application_contexts();
    let asked = match (names.next(), names.next()) {
        (_, Some(_)) => {
            let detail = "more than one application context (PS3.7 D.3.1)".to_string();
            return Err(malformed("application-context-twice", detail));
        }
        (Some(name), None) if *name == APPLICATION_CONTEXT => return Ok(()),
        (Some(name), None) => format!("application context {name}"),
        (None, None) => "no application context".to_string(),
    };
    if !policy.check_application_context {
        return Ok(());
    }
    let detail = format!("{asked}; this node accepts {APPLICATION_CONTEXT}");
    Err((
        AssociateRj::APPLICATION_CONTEXT,
        "application-context",
        detail,
    ))
}

fn titles(request: &Associate, policy: &AcceptorPolicy) -> Result<(), Refusal> {
    let called = request.called_ae();
    let known = match &policy.called {
        CalledTitles::Any => !called.is_empty(),
        CalledTitles::OneOf(titles) => titles.contains(&called),
    };
    if !known {
        let node = match &policy.called {
            CalledTitles::Any => "any title but an empty one".to_string(),
            CalledTitles::OneOf(titles) => {
                let titles: Vec<_> = titles.iter().map(|title| title.to_text()).collect();
                titles.join(", ")
            }
        };
        let detail = format!("called AE title '{called}'; this node is {node}");
        return Err((AssociateRj::CALLED_AE, "called-ae-title", detail));
    }
    let calling = request.calling_ae();
    let allowed = match &policy.calling {
        None => !calling.is_empty(),
        Some(titles) => titles.contains(&calling),
    };
    if !allowed {
        let detail = format!("calling AE title '{calling}' is not accepted by this node");
        return Err((AssociateRj::CALLING_AE, "calling-ae-title", detail));
    }
    Ok(())
}

fn context_ids(request: &Associate) -> Result<(), Refusal> {
    let mut ids = BTreeSet::new();
    for context in request.proposed() {
        let id = context.id;
        if id & 1 == 0 {
            let detail = format!("presentation context id {id} is not odd (PS3.8 9.3.2.2)");
            return Err(malformed("context-id-even", detail));
        }
        if !ids.insert(id) {
            let detail = format!("presentation context id {id} proposed twice (PS3.8 7.1.1.13)");
            return Err(malformed("context-id-twice", detail));
        }
    }
    if ids.is_empty() {
        let detail = "no presentation context proposed (PS3.8 9.3.2)".to_string();
        return Err(malformed("no-context", detail));
    }
    Ok(())
}

fn user_information(request: &Associate) -> Result<(), Refusal> {
    let count = |wanted: fn(&UserItem) -> bool| request.user_items().filter(|i| wanted(i)).count();
    // Sub-items of which a second one would leave open what is meant. Of others the first one counts.
    let sections = request
        .items
        .iter()
        .filter(|item| matches!(item, Item::UserInformation(_)));
    let (code, what) = if sections.count() > 1 {
        ("user-information-twice", "user information item")
    } else if count(|item| matches!(item, UserItem::MaximumLength(_))) > 1 {
        ("maximum-length-twice", "maximum length sub-item")
    } else if count(|item| matches!(item, UserItem::UserIdentityRq { .. })) > 1 {
        ("user-identity-twice", "user identity sub-item")
    } else {
        let unusable = request.user_items().find_map(|item| match item {
            UserItem::MaximumLength(length) if max_fragment(*length).is_none() => Some(length),
            _ => None,
        });
        return unusable.map_or(Ok(()), |length| {
            let detail = format!("maximum length {length} has no room for a fragment (PS3.8 D.1)");
            Err(malformed("maximum-length-too-small", detail))
        });
    };
    Err(malformed(
        code,
        format!("more than one {what} (PS3.8 9.3.2.3)"),
    ))
}

/// A proposal that decodes but contradicts itself. The standard has no reason for it; the code names the contradiction.
fn malformed(code: &'static str, detail: String) -> Refusal {
    (AssociateRj::ACSE_NO_REASON, code, detail)
}

fn accept(request: &Associate, policy: &AcceptorPolicy) -> Verdict {
    let mut negotiated = Negotiated::about(request);
    let mut items = vec![Item::ApplicationContext(
        request
            .application_contexts()
            .next()
            .cloned()
            .unwrap_or(APPLICATION_CONTEXT),
    )];
    for proposed in request.proposed() {
        let context = judge(proposed, request, policy);
        // The answer to a rejected context has a transfer syntax too, which is not significant (PS3.8 9.3.3.2), but
        // peers exist that fail without one.
        let shown = context
            .transfer_syntax
            .clone()
            .or_else(|| {
                proposed
                    .transfer_syntaxes
                    .iter()
                    .find(|uid| uid.is_valid())
                    .cloned()
            })
            .unwrap_or(IMPLICIT_VR_LITTLE_ENDIAN);
        items.push(Item::PresentationContextAc(PresentationContextAc {
            id: context.id,
            result: context.result,
            transfer_syntaxes: vec![shown],
        }));
        negotiated.contexts.push(context);
    }
    // The policy's answers may be longer than the offers, so an answer can be too long although its request was not.
    let user_items = Item::UserInformation(user_items(request, policy, &mut negotiated));
    if let Err(error) = fits(&user_items) {
        return Verdict::Reject {
            rj: AssociateRj::ACSE_NO_REASON,
            code: "answer-too-long",
            detail: error.to_string(),
        };
    }
    items.push(user_items);
    Verdict::Accept {
        answer: Associate {
            protocol_version: 1,
            called: request.called,
            calling: request.calling,
            reserved: request.reserved,
            items,
        },
        negotiated: Box::new(negotiated),
    }
}

/// The answer to one presentation context.
fn judge(
    proposed: &PresentationContextRq,
    request: &Associate,
    policy: &AcceptorPolicy,
) -> NegotiatedContext {
    let rejected = |result| NegotiatedContext {
        id: proposed.id,
        abstract_syntax: proposed
            .abstract_syntaxes
            .first()
            .map_or_else(Uid::default, detached),
        result,
        transfer_syntax: None,
        scu: false,
        scp: false,
    };
    let [class] = proposed.abstract_syntaxes.as_slice() else {
        return rejected(ContextResult::NO_REASON);
    };
    let Some(terms) = policy.terms(request, class) else {
        return rejected(ContextResult::ABSTRACT_SYNTAX_NOT_SUPPORTED);
    };
    // Without a 54H the requestor is SCU and the acceptor SCP (PS3.7 D.3.3.4). Both PDUs name the requestor's roles.
    let (scu, scp) = role(request, class).unwrap_or((true, false));
    let (scu, scp) = (scu && terms.scu, scp && terms.scp);
    if !scu && !scp {
        return rejected(ContextResult::USER_REJECTION);
    }
    let Some(transfer_syntax) = terms.choose(&proposed.transfer_syntaxes) else {
        return rejected(ContextResult::TRANSFER_SYNTAXES_NOT_SUPPORTED);
    };
    NegotiatedContext {
        transfer_syntax: Some(transfer_syntax),
        scu: scp,
        scp: scu,
        ..rejected(ContextResult::ACCEPTANCE)
    }
}

/// The user information of the answer, in ascending order of type: any order is legal, but old peers expect this one.
fn user_items(
    request: &Associate,
    policy: &AcceptorPolicy,
    negotiated: &mut Negotiated,
) -> Vec<UserItem> {
    let mut items = vec![
        UserItem::MaximumLength(policy.max_length),
        UserItem::ImplementationClassUid(policy.implementation_class.clone()),
    ];
    if let Some((invoked, performed)) = async_window(request) {
        negotiated.performed = grant(invoked, policy.max_ops_performed);
        negotiated.invoked = grant(performed, policy.max_ops_invoked);
        items.push(UserItem::AsyncWindow {
            invoked: negotiated.performed,
            performed: negotiated.invoked,
        });
    }
    push_roles(request, negotiated, &mut items);
    if !policy.implementation_version.is_empty() {
        let version = policy.implementation_version.clone();
        items.push(UserItem::ImplementationVersion(version));
    }
    push_extended(request, policy, negotiated, &mut items);
    let response_requested = request.user_items().any(|item| {
        matches!(
            item,
            UserItem::UserIdentityRq {
                response_requested: true,
                ..
            }
        )
    });
    if response_requested {
        negotiated
            .identity_response
            .clone_from(&policy.identity_response);
        let response = policy.identity_response.clone();
        items.extend(response.map(UserItem::UserIdentityAc));
    }
    items
}

/// One 54H for each accepted class whose roles the requestor asked for.
fn push_roles(request: &Associate, negotiated: &Negotiated, items: &mut Vec<UserItem>) {
    // `scu` and `scp` of a 54H are roles of the requestor, those of a negotiated context are roles of this end: where
    // the requestor is SCU, this end is SCP.
    let mut roles: BTreeMap<Uid, (bool, bool)> = negotiated
        .accepted()
        .map(|context| (context.abstract_syntax.clone(), (context.scp, context.scu)))
        .collect();
    for item in request.user_items() {
        if let UserItem::Role { sop_class, .. } = item
            && let Some((sop_class, (scu, scp))) = roles.remove_entry(sop_class)
        {
            items.push(UserItem::Role {
                sop_class,
                scu: u8::from(scu),
                scp: u8::from(scp),
            });
        }
    }
}

/// One 56H for each accepted class whose options the requestor offered and the policy answers.
fn push_extended(
    request: &Associate,
    policy: &AcceptorPolicy,
    negotiated: &mut Negotiated,
    items: &mut Vec<UserItem>,
) {
    let accepted = negotiated.accepted();
    let mut classes: BTreeSet<Uid> = accepted
        .map(|context| context.abstract_syntax.clone())
        .collect();
    for item in request.user_items() {
        if let UserItem::ExtendedNegotiation { sop_class, info } = item
            && let Some(answer) = policy.extended.get(sop_class)
            && let Some(sop_class) = classes.take(sop_class)
        {
            let info = answer.to(info);
            negotiated.extended.push((sop_class.clone(), info.clone()));
            items.push(UserItem::ExtendedNegotiation { sop_class, info });
        }
    }
}

/// The number of operations to answer with: never more than offered, and never without limit (case B18).
fn grant(offered: u16, ours: u16) -> u16 {
    let ours = if ours == 0 { WINDOW_CAP } else { ours };
    if offered == 0 {
        ours.min(WINDOW_CAP)
    } else {
        smaller_window(offered, ours)
    }
}

impl ExtendedAnswer {
    /// The answer to an offer.
    fn to(&self, offered: &[u8]) -> Bytes {
        match self {
            Self::Agree(ours) => offered
                .iter()
                .zip(ours)
                .map(|(offered, ours)| *offered.min(ours))
                .collect(),
            Self::Declare(ours) => ours.clone(),
        }
    }
}
