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

/// A proposal to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Calling AE title: of this end.
    pub calling: AeTitle,
    /// Called AE title: of the peer.
    pub called: AeTitle,
    /// 1 to 128 contexts; they get the ids 1, 3, 5 in this order.
    pub contexts: Vec<ProposedContext>,
    /// Largest P-DATA-TF to announce, in bytes; 0 is no limit. Default 131072.
    pub max_length: u32,
    /// Implementation class UID (52H).
    pub implementation_class: Uid,
    /// Implementation version name (55H), 1 to 16 characters; empty sends none.
    pub implementation_version: Bytes,
    /// Operations that this end wants to have outstanding at the peer; 0 is no limit. Default 1.
    pub max_ops_invoked: u16,
    /// Operations of the peer that this end performs at a time; 0 is no limit. Default 1.
    pub max_ops_performed: u16,
    /// User identity. Default: none.
    pub identity: Option<UserIdentity>,
    /// Extended negotiation, once for a SOP class: service-class-application-information.
    pub extended: Vec<(Uid, Bytes)>,
    /// Common extended negotiation, once for a SOP class.
    pub common: Vec<CommonExtended>,
}

/// For a SOP class that the peer may not know: its service class, and the classes it specialises (PS3.7 D.3.3.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommonExtended {
    /// The proposed class.
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
    /// Propose to be SCU, the default role.
    pub scu: bool,
    /// Propose to be SCP. All contexts of a SOP class must propose the same roles.
    pub scp: bool,
}

/// A user identity (PS3.7 D.3.3.7).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserIdentity {
    /// 1 username, 2 username and passcode, 3 Kerberos, 4 SAML, 5 JWT.
    pub identity_type: u8,
    /// Whether the acceptor is to confirm that the identity was verified.
    pub response_requested: bool,
    /// Username or ticket.
    pub primary: Secret,
    /// Passcode; only for type 2.
    pub secondary: Secret,
}

impl UserIdentity {
    /// The user identity in an A-ASSOCIATE-RQ, also of a type that the standard does not define.
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

    /// Whether the identity is of type 2, a username with a passcode.
    #[must_use]
    pub fn has_passcode(&self) -> bool {
        self.identity_type == 2
    }

    /// Whether the standard defines the type. An identity of another type counts as none.
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
    /// A request with the defaults given at each field.
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
    /// `InvalidValue` for a value that the standard does not allow.
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
        // Ids are odd (PS3.8 9.3.2.2), so there are 128 of them.
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
        // A missing 53H means (1, 1) (PS3.7 D.3.3.3).
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

    /// One 57H for each entry of `common`.
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

    /// One 54H for each class with other roles than the default ones. A 54H belongs to a SOP class, not to a context
    /// (PS3.7 D.3.3.4), so two contexts of a class cannot differ in their roles.
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

/// Checks that an item, and so every item inside, is short enough for its 16-bit length field.
pub(super) fn fits(item: &Item) -> Result<(), LocalError> {
    let mut out = Writer::new();
    item.encode(&mut out);
    let length = out.finish().len().saturating_sub(4);
    if u16::try_from(length).is_ok() {
        return Ok(());
    }
    let what = format!("an item of {length} bytes, at most 65535 can be sent");
    Err(LocalError::invalid(what, "PS3.8 9.3.1"))
}

/// Reads the answer to `request`.
///
/// # Errors
/// A fault that makes the association unusable: the connection aborts it.
pub fn outcome(request: &Associate, answer: &Associate) -> Result<Negotiated, DecodeError> {
    // The answer is read in the order of the proposal: contexts that were not proposed have no effect, and contexts
    // that were not answered count as rejected.
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
    // An acceptance of an unknown id, or not as proposed, is a fault only when no context is left to use. A context
    // whose role was refused is no contradiction: the acceptor refused in its own way.
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

/// Refuses an answer of another protocol, or with a maximum length too small for any message.
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

/// One context as both ends can use it. An acceptance that contradicts the proposal cannot be used.
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
        // A role counts only if proposed and answered (PS3.7 D.3.3.4); otherwise the default roles hold.
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
