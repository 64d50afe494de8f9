//! The requestor's side: writing an A-ASSOCIATE-RQ and reading the A-ASSOCIATE-AC.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;

use super::negotiated::{
    APPLICATION_CONTEXT, IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME, Negotiated,
    NegotiatedContext, async_window, counted_window, detached, first, role, smaller_window,
};
use crate::error::{DecodeError, LocalError};
use crate::ul::associate::{
    Associate, Item, MAX_CONTEXTS, MAX_TRANSFER_SYNTAXES, PresentationContextAc,
    PresentationContextRq,
};
use crate::ul::data::max_fragment;
use crate::ul::reason::ContextResult;
use crate::ul::user_info::{MAX_RELATED, Secret, UserItem};
use crate::wire::Writer;
use crate::{AeTitle, Uid};

/// What to ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Our AE title.
    pub calling: AeTitle,
    /// The peer's AE title.
    pub called: AeTitle,
    /// 1 to 128 contexts; they get the ids 1, 3, 5 in this order.
    pub contexts: Vec<ProposedContext>,
    /// Largest P-DATA-TF we receive, in bytes; 0 is no limit. Default 131072.
    pub max_length: u32,
    /// 52H.
    pub implementation_class: Uid,
    /// 55H, 1 to 16 characters; empty sends none.
    pub implementation_version: Bytes,
    /// Operations we want to have outstanding at the peer; 0 is no limit. Default 1.
    pub max_ops_invoked: u16,
    /// Operations of the peer we serve at a time; 0 is no limit. Default 1.
    pub max_ops_performed: u16,
    /// Who is asking. Default: nobody says.
    pub identity: Option<UserIdentity>,
    /// Extended negotiation, once for a SOP class: service-class-application-information.
    pub extended: Vec<(Uid, Bytes)>,
    /// Common extended negotiation, once for a SOP class.
    pub common: Vec<CommonExtended>,
}

/// What an unknown SOP class is a specialisation of (PS3.7 D.3.3.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommonExtended {
    /// The class proposed.
    pub sop_class: Uid,
    /// Its service class.
    pub service_class: Uid,
    /// Related general SOP classes, at most 64.
    pub related: Vec<Uid>,
}

/// A presentation context to propose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProposedContext {
    /// SOP class or meta SOP class.
    pub abstract_syntax: Uid,
    /// 1 to 64, the preferred first.
    pub transfer_syntaxes: Vec<Uid>,
    /// We want to be SCU, as is the default.
    pub scu: bool,
    /// We want to be SCP. All contexts of a SOP class ask for the same roles.
    pub scp: bool,
}

/// Who is asking (PS3.7 D.3.3.7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserIdentity {
    /// 1 username, 2 username and passcode, 3 Kerberos, 4 SAML, 5 JWT.
    pub identity_type: u8,
    /// Ask the acceptor to say that it verified the identity.
    pub response_requested: bool,
    /// Username or ticket.
    pub primary: Secret,
    /// Passcode; only for type 2.
    pub secondary: Secret,
}

impl UserIdentity {
    /// The identity that an A-ASSOCIATE-RQ says, of whatever type.
    #[must_use]
    pub fn of(request: &Associate) -> Option<Self> {
        first(request, |item| match item {
            UserItem::UserIdentityRq {
                identity_type,
                response_requested,
                primary,
                secondary,
            } => Some(Self {
                identity_type: *identity_type,
                response_requested: *response_requested,
                primary: primary.clone(),
                secondary: secondary.clone(),
            }),
            _ => None,
        })
    }

    /// Type 2: a passcode goes with the name.
    #[must_use]
    pub fn has_passcode(&self) -> bool {
        self.identity_type == 2
    }

    /// A type that the standard defines. One that it does not is as good as none.
    #[must_use]
    pub fn is_known(&self) -> bool {
        (1..=5).contains(&self.identity_type)
    }
}

impl ProposedContext {
    /// A context with the default roles.
    #[must_use]
    pub fn new(abstract_syntax: Uid, transfer_syntaxes: Vec<Uid>) -> Self {
        Self {
            abstract_syntax,
            transfer_syntaxes,
            scu: true,
            scp: false,
        }
    }
}

impl Request {
    /// A request with the defaults said at each field.
    #[must_use]
    pub fn new(calling: AeTitle, called: AeTitle, contexts: Vec<ProposedContext>) -> Self {
        Self {
            calling,
            called,
            contexts,
            max_length: 131_072,
            implementation_class: IMPLEMENTATION_CLASS_UID,
            implementation_version: Bytes::from_static(IMPLEMENTATION_VERSION_NAME.as_bytes()),
            max_ops_invoked: 1,
            max_ops_performed: 1,
            identity: None,
            extended: Vec::new(),
            common: Vec::new(),
        }
    }

    /// Writes the A-ASSOCIATE-RQ.
    ///
    /// # Errors
    /// `InvalidValue` for whatever the standard does not allow to be sent.
    pub fn build(&self) -> Result<Associate, LocalError> {
        if self.called.is_empty() || self.calling.is_empty() {
            return Err(LocalError::invalid("an empty AE title", "PS3.8 9.3.2"));
        }
        let mut items = vec![Item::ApplicationContext(APPLICATION_CONTEXT)];
        items.extend(self.context_items()?);
        items.push(Item::UserInformation(self.user_items()?));
        items.iter().try_for_each(fits)?;
        Ok(Associate {
            protocol_version: 1,
            called: self.called.to_field(),
            calling: self.calling.to_field(),
            reserved: [0; 32],
            items,
        })
    }

    fn context_items(&self) -> Result<Vec<Item>, LocalError> {
        const SECTION: &str = "PS3.8 9.3.2.2";
        let count = self.contexts.len();
        if !(1..=MAX_CONTEXTS).contains(&count) {
            let what =
                format!("{count} presentation contexts, 1 to {MAX_CONTEXTS} can be proposed");
            return Err(LocalError::invalid(what, SECTION));
        }
        let propose = |(id, context): (u8, &ProposedContext)| {
            let class = &context.abstract_syntax;
            let count = context.transfer_syntaxes.len();
            if !(1..=MAX_TRANSFER_SYNTAXES).contains(&count) {
                let what =
                    format!("{count} transfer syntaxes for {class}, 1 to 64 can be proposed");
                return Err(LocalError::invalid(what, SECTION));
            }
            context.transfer_syntaxes.iter().try_for_each(sendable)?;
            sendable(class)?;
            Ok(Item::PresentationContextRq(PresentationContextRq {
                id,
                abstract_syntaxes: vec![class.clone()],
                transfer_syntaxes: context.transfer_syntaxes.clone(),
            }))
        };
        let ids = (1..=u8::MAX).step_by(2);
        ids.zip(&self.contexts).map(propose).collect()
    }

    fn user_items(&self) -> Result<Vec<UserItem>, LocalError> {
        if max_fragment(self.max_length).is_none() {
            let what = format!(
                "maximum length {} has no room for a fragment",
                self.max_length
            );
            return Err(LocalError::invalid(what, "PS3.8 D.1"));
        }
        sendable(&self.implementation_class)?;
        let mut items = vec![
            UserItem::MaximumLength(self.max_length),
            UserItem::ImplementationClassUid(self.implementation_class.clone()),
        ];
        if (self.max_ops_invoked, self.max_ops_performed) != (1, 1) {
            items.push(UserItem::AsyncWindow {
                invoked: self.max_ops_invoked,
                performed: self.max_ops_performed,
            });
        }
        self.push_roles(&mut items)?;
        let version = &self.implementation_version;
        if version.len() > 16 || !version.iter().all(|b| (0x20..0x7f).contains(b)) {
            let what = format!("implementation version name \"{}\"", version.escape_ascii());
            return Err(LocalError::invalid(what, "PS3.7 D.3.3.2.3"));
        }
        if !version.is_empty() {
            items.push(UserItem::ImplementationVersion(version.clone()));
        }
        let mut classes = BTreeSet::new();
        for (class, info) in &self.extended {
            sendable(class)?;
            if !classes.insert(class) {
                let what = format!("extended negotiation of {class} given twice");
                return Err(LocalError::invalid(what, "PS3.7 D.3.3.5"));
            }
            items.push(UserItem::ExtendedNegotiation {
                sop_class: class.clone(),
                info: info.clone(),
            });
        }
        self.push_common(&mut items)?;
        if let Some(identity) = &self.identity {
            items.push(identity.to_item()?);
        }
        Ok(items)
    }

    /// One 57H for each class that says what it is a specialisation of.
    fn push_common(&self, items: &mut Vec<UserItem>) -> Result<(), LocalError> {
        const SECTION: &str = "PS3.7 D.3.3.6";
        let mut classes = BTreeSet::new();
        for common in &self.common {
            sendable(&common.sop_class)?;
            sendable(&common.service_class)?;
            common.related.iter().try_for_each(sendable)?;
            let class = &common.sop_class;
            if !classes.insert(class) {
                let what = format!("common extended negotiation of {class} given twice");
                return Err(LocalError::invalid(what, SECTION));
            }
            let count = common.related.len();
            if count > MAX_RELATED {
                let what = format!("{count} related general SOP classes of {class}, at most 64");
                return Err(LocalError::invalid(what, SECTION));
            }
            items.push(UserItem::CommonExtendedNegotiation {
                sop_class: class.clone(),
                service_class: common.service_class.clone(),
                related: common.related.clone(),
            });
        }
        Ok(())
    }

    /// One 54H for each class whose roles are not the default ones.
    fn push_roles(&self, items: &mut Vec<UserItem>) -> Result<(), LocalError> {
        const SECTION: &str = "PS3.7 D.3.3.4";
        let mut roles = BTreeMap::new();
        for context in &self.contexts {
            let class = &context.abstract_syntax;
            let wanted = (context.scu, context.scp);
            if wanted == (false, false) {
                let what = format!("{class} proposed without a role");
                return Err(LocalError::invalid(what, SECTION));
            }
            match roles.insert(class, wanted) {
                None if wanted != (true, false) => items.push(UserItem::Role {
                    sop_class: class.clone(),
                    scu: u8::from(context.scu),
                    scp: u8::from(context.scp),
                }),
                Some(before) if before != wanted => {
                    let what = format!("{class} proposed with different roles");
                    return Err(LocalError::invalid(what, SECTION));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

impl UserIdentity {
    fn to_item(&self) -> Result<UserItem, LocalError> {
        const SECTION: &str = "PS3.7 D.3.3.7";
        if !self.is_known() {
            let what = format!(
                "user identity type {}, known are 1 to 5",
                self.identity_type
            );
            return Err(LocalError::invalid(what, SECTION));
        }
        if self.primary.0.is_empty() {
            return Err(LocalError::invalid("an empty user identity", SECTION));
        }
        if self.identity_type != 2 && !self.secondary.0.is_empty() {
            let what = "a passcode goes with user identity type 2 alone";
            return Err(LocalError::invalid(what, SECTION));
        }
        Ok(UserItem::UserIdentityRq {
            identity_type: self.identity_type,
            response_requested: self.response_requested,
            primary: self.primary.clone(),
            secondary: self.secondary.clone(),
        })
    }
}

fn sendable(uid: &Uid) -> Result<(), LocalError> {
    if uid.is_valid() {
        return Ok(());
    }
    let what = format!("\"{uid}\" is not a UID");
    Err(LocalError::invalid(what, "PS3.8 F.1"))
}

/// Whether the 16-bit length of an item, and so that of everything inside it, can be said.
pub(super) fn fits(item: &Item) -> Result<(), LocalError> {
    let mut out = Writer::new();
    item.encode(&mut out);
    let length = out.finish().len().saturating_sub(4);
    if u16::try_from(length).is_ok() {
        return Ok(());
    }
    let what = format!("an item of {length} bytes, 65535 can be sent");
    Err(LocalError::invalid(what, "PS3.8 9.3.1"))
}

/// Reads the answer to `request`.
///
/// # Errors
/// What makes the association unusable: it is aborted with the reason of [`crate::ul::reason::AbortReason::of`].
pub fn outcome(request: &Associate, answer: &Associate) -> Result<Negotiated, DecodeError> {
    let mut negotiated = Negotiated::about(answer);
    check_fixed_part(answer, negotiated.peer_max_length)?;
    for proposed in request.proposed() {
        let mut answers = answer
            .answered()
            .filter(|context| context.id == proposed.id);
        let first = answers.next();
        if answers.any(|other| Some(other) != first) {
            let what = format!("presentation context {} answered twice", proposed.id);
            return fault("context-answered-twice", what, "PS3.8 7.1.1.14");
        }
        let context = read_context(proposed, first, request, answer, &mut negotiated.warnings);
        negotiated.contexts.push(context);
    }
    // An acceptance of what was not proposed, or not as it was proposed; a refused role is none.
    let contradiction = answer.answered().any(|context| {
        context.result == ContextResult::ACCEPTANCE
            && negotiated
                .by_id(context.id)
                .is_none_or(|ours| ours.result == ContextResult::NO_REASON)
    });
    if contradiction && negotiated.accepted().next().is_none() {
        let what = format!(
            "no accepted presentation context is usable: {}",
            negotiated.warnings.join("; ")
        );
        return fault("no-usable-context", what, "PS3.8 9.3.3.2");
    }
    if let (Some((invoke, perform)), Some((granted, asked))) =
        (async_window(request), async_window(answer))
    {
        negotiated.invoked = counted_window(smaller_window(invoke, granted));
        negotiated.performed = counted_window(smaller_window(perform, asked));
    }
    read_user_items(answer, &mut negotiated);
    Ok(negotiated)
}

fn fault<T>(code: &'static str, what: String, section: &'static str) -> Result<T, DecodeError> {
    Err(DecodeError::new(code, what, 0, section))
}

/// Refuses an answer that speaks another protocol, or leaves no room for a message.
fn check_fixed_part(answer: &Associate, max_length: u32) -> Result<(), DecodeError> {
    if answer.protocol_version & 1 == 0 {
        let what = format!("protocol version {:04X}H", answer.protocol_version);
        return fault("protocol-version", what, "PS3.8 9.3.3");
    }
    if let Some(name) = answer
        .application_contexts()
        .find(|name| **name != APPLICATION_CONTEXT)
    {
        let what = format!("answered with application context {name}");
        return fault("application-context", what, "PS3.7 A.1");
    }
    if max_fragment(max_length).is_none() {
        let what = format!("maximum length {max_length} has no room for a fragment");
        return fault("maximum-length-too-small", what, "PS3.8 D.1");
    }
    Ok(())
}

/// Takes over the answers to extended negotiation and to the user identity, the first of each.
fn read_user_items(answer: &Associate, negotiated: &mut Negotiated) {
    for item in answer.user_items() {
        match item {
            UserItem::ExtendedNegotiation { sop_class, info } => {
                let sop_class = detached(sop_class);
                if !negotiated
                    .extended
                    .iter()
                    .any(|(class, _)| *class == sop_class)
                {
                    let info = Bytes::copy_from_slice(info);
                    negotiated.extended.push((sop_class, info));
                }
            }
            UserItem::UserIdentityAc(Secret(response))
                if negotiated.identity_response.is_none() =>
            {
                let response = Bytes::copy_from_slice(response);
                negotiated.identity_response = Some(Secret(response));
            }
            _ => {}
        }
    }
}

/// One context as it can be used; an acceptance that contradicts the proposal cannot (E-31, E-32).
fn read_context(
    proposed: &PresentationContextRq,
    answered: Option<&PresentationContextAc>,
    request: &Associate,
    answer: &Associate,
    warnings: &mut Vec<String>,
) -> NegotiatedContext {
    let id = proposed.id;
    let abstract_syntax = proposed
        .abstract_syntaxes
        .first()
        .cloned()
        .unwrap_or_default();
    let mut context = NegotiatedContext {
        id,
        abstract_syntax,
        result: ContextResult::NO_REASON,
        transfer_syntax: None,
        scu: false,
        scp: false,
    };
    let Some(answered) = answered else {
        warnings.push(format!("presentation context {id} was not answered"));
        return context;
    };
    if answered.result != ContextResult::ACCEPTANCE {
        context.result = answered.result;
        return context;
    }
    let [chosen] = answered.transfer_syntaxes.as_slice() else {
        let count = answered.transfer_syntaxes.len();
        warnings.push(format!(
            "presentation context {id} accepted with {count} transfer syntaxes instead of 1"
        ));
        return context;
    };
    let Some(transfer_syntax) = proposed.transfer_syntaxes.iter().find(|our| *our == chosen) else {
        let chosen = detached(chosen);
        warnings.push(format!(
            "presentation context {id} accepted with transfer syntax {chosen}, which was not proposed"
        ));
        return context;
    };
    let class = &context.abstract_syntax;
    (context.scu, context.scp) = match (role(request, class), role(answer, class)) {
        (Some(asked), Some(granted)) => (asked.0 && granted.0, asked.1 && granted.1),
        // A role that was not proposed cannot be granted, one that was not answered is not.
        _ => (true, false),
    };
    if context.scu || context.scp {
        context.result = ContextResult::ACCEPTANCE;
        context.transfer_syntax = Some(transfer_syntax.clone());
    } else {
        context.result = ContextResult::USER_REJECTION;
        warnings.push(format!("presentation context {id} accepted without a role"));
    }
    context
}
