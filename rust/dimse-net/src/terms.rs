//! What a requestor may have and ask for: the user's decision on a proposal, as data.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use dimse_proto::Uid;
use dimse_proto::dimse::{CommandField, Status};
use dimse_proto::ul::negotiate::{AcceptorPolicy, ExtendedAnswer, SupportedContext};
use dimse_proto::ul::reason::AssociateRj;
use dimse_proto::ul::user_info::Secret;

/// Which proposals the user is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Ask {
    /// None: the policy alone decides.
    #[default]
    Never,
    /// Proposals with a user identity of a type that the standard defines.
    Identities,
    /// All proposals that the policy accepts.
    Always,
}

/// What the user adds to the policy, for one proposal.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    /// Contexts, which replace the policy's contexts of the same abstract syntaxes.
    pub contexts: Vec<SupportedContext>,
    /// Answers to extended negotiation.
    pub extended: Vec<(Uid, Bytes)>,
    /// The 59H sub-item, for a requestor that asks for a response and whose identity was verified.
    pub identity_response: Option<Secret>,
    /// The requests that the requestor may make; `None` is all that the node serves.
    pub permit: Option<Arc<Permit>>,
}

/// Why a proposal is rejected.
#[derive(Clone, Debug)]
pub struct Rejection {
    /// The A-ASSOCIATE-RJ.
    pub rj: AssociateRj,
    /// Stable name of the cause.
    pub code: &'static str,
    /// For the log.
    pub detail: String,
}

/// The user's decision on a proposal.
pub type Decision = Result<Box<Terms>, Rejection>;

/// What a peer may ask for.
#[derive(Clone, Debug)]
pub struct Permit {
    /// Requests by Command Field; `None` is all.
    pub services: Option<HashSet<CommandField>>,
    /// Abstract syntaxes of the presentation contexts in which they may be made.
    pub classes: Classes,
}

/// A set of SOP classes.
#[derive(Clone, Debug)]
pub enum Classes {
    /// Whatever was negotiated.
    All,
    /// These classes.
    These(HashSet<Uid>),
    /// Whatever was negotiated but these.
    AllBut(HashSet<Uid>),
}

impl Terms {
    /// The policy with these terms in it.
    pub(crate) fn apply(&self, policy: &AcceptorPolicy) -> AcceptorPolicy {
        // A copy for each decision: the policy of the node stays what it is for all other proposals.
        let mut policy = policy.clone();
        for context in &self.contexts {
            let class = context.abstract_syntax.clone();
            policy.contexts.insert(class, context.clone());
        }
        for (class, info) in &self.extended {
            let answer = ExtendedAnswer::Declare(info.clone());
            policy.extended.insert(class.clone(), answer);
        }
        policy.identity_response.clone_from(&self.identity_response);
        policy
    }
}

impl Permit {
    /// Whether a request may be made in the context of a class.
    pub(crate) fn allows(&self, field: CommandField, class: &Uid) -> bool {
        let services = self.services.as_ref();
        services.is_none_or(|fields| fields.contains(&field)) && self.classes.contain(class)
    }
}

impl Classes {
    pub(crate) fn contain(&self, class: &Uid) -> bool {
        match self {
            Self::All => true,
            Self::These(these) => these.contains(class),
            Self::AllBut(these) => !these.contains(class),
        }
    }
}

/// What a request is answered that its peer may not make: where PS3.7 has no 0124 for it (9.1.5.1, 10.1.1.1), as if
/// it were not served.
pub(crate) fn denial_of(field: CommandField) -> Status {
    match field {
        CommandField::C_ECHO_RQ => Status::SOP_CLASS_NOT_SUPPORTED,
        CommandField::N_EVENT_REPORT_RQ => Status::UNRECOGNIZED_OPERATION,
        _ => Status::NOT_AUTHORIZED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CT: Uid = Uid::from_static("1.2.840.10008.5.1.4.1.1.2");
    const MR: Uid = Uid::from_static("1.2.840.10008.5.1.4.1.1.4");

    #[test]
    fn a_permit_is_for_its_services_and_its_classes() {
        let permit = Permit {
            services: Some(HashSet::from([CommandField::C_STORE_RQ])),
            classes: Classes::These(HashSet::from([CT])),
        };
        assert!(permit.allows(CommandField::C_STORE_RQ, &CT));
        assert!(!permit.allows(CommandField::C_STORE_RQ, &MR));
        assert!(!permit.allows(CommandField::C_ECHO_RQ, &CT));
        let everything = Permit {
            services: None,
            classes: Classes::All,
        };
        assert!(everything.allows(CommandField::C_ECHO_RQ, &MR));
    }

    #[test]
    fn every_service_is_denied_with_a_status_that_it_has() {
        let status = |field: u16| denial_of(CommandField(field)).0;
        assert_eq!(
            [0x0001, 0x0010, 0x0020, 0x0021].map(status),
            [0x0124; 4],
            "C-services"
        );
        assert_eq!(
            [0x0110, 0x0120, 0x0130, 0x0140, 0x0150].map(status),
            [0x0124; 5],
            "N-services"
        );
        assert_eq!([0x0030, 0x0100].map(status), [0x0122, 0x0211]);
    }
}
