//! Negotiation, seen from both ends.

use arbitrary::{Arbitrary, Unstructured};
use bytes::Bytes;
use dimse_proto::ul::associate::{Associate, Item};
use dimse_proto::ul::negotiate::{
    AcceptorPolicy, CalledTitles, CommonExtended, ExtendedAnswer, Negotiated, NegotiatedContext,
    Preference, ProposedContext, Request, SupportedContext, UnknownClasses, UnknownStorage,
    UserIdentity, Verdict, answer, outcome,
};
use dimse_proto::ul::pdu::{Header, Pdu};
use dimse_proto::ul::reason::ContextResult;
use dimse_proto::ul::user_info::{Secret, UserItem};
use dimse_proto::{AeTitle, Uid};

/// Few, so that both ends often mean the same.
static UIDS: [Uid; 8] = [
    Uid::from_static("1.2.840.10008.1.1"),
    Uid::from_static("1.2.840.10008.5.1.4.1.1.7"),
    Uid::from_static("1.2.840.10008.4.2"),
    Uid::from_static("1.2.840.10008.1.2"),
    Uid::from_static("1.2.840.10008.1.2.1"),
    Uid::from_static("1.2.3"),
    Uid::from_static("2.25.1"),
    Uid::from_static("../x"),
];

#[derive(Arbitrary, Debug)]
struct Script {
    contexts: Vec<Proposed>,
    requestor: Terms,
    common: Vec<(u8, u8, Vec<u8>)>,
    identity: Option<(u8, bool, Vec<u8>, Vec<u8>)>,
    supported: Vec<Supported>,
    acceptor: Terms,
    unknown: Option<(bool, Vec<u8>, bool)>,
    titles: [Option<bool>; 2],
    require_identity: bool,
    lies: Vec<Lie>,
}

#[derive(Arbitrary, Debug)]
struct Proposed {
    class: u8,
    syntaxes: Vec<u8>,
    scu: bool,
    scp: bool,
}

#[derive(Arbitrary, Debug)]
struct Supported {
    class: u8,
    syntaxes: Vec<u8>,
    prefers: bool,
    scu: bool,
    scp: bool,
}

/// What both ends can say.
#[derive(Arbitrary, Debug)]
struct Terms {
    max_length: u32,
    window: (u16, u16),
    extended: Vec<(u8, Vec<u8>)>,
    response: Option<Vec<u8>>,
}

/// What an answer says that it should not.
#[derive(Arbitrary, Debug)]
enum Lie {
    Id(u8, u8),
    Result(u8, u8),
    Syntax(u8, Vec<u8>),
    Again(u8),
    Gone(u8),
    Role(u8, u8, u8),
    Window(u16, u16),
    MaxLength(u32),
    Extended(u8, Vec<u8>),
    Version(u16),
    Application(u8),
}

/// A proposal, a policy, and what a peer may make of the answer.
pub fn negotiate(data: &[u8]) {
    let Ok(script) = Script::arbitrary_take_rest(Unstructured::new(data)) else {
        return;
    };
    let Ok(request) = script.request().build() else {
        return;
    };
    let request = carried(&request, 1);
    let Verdict::Accept { answer, negotiated } = answer(&request, &script.policy()) else {
        return;
    };
    let mut answer = carried(&answer, 2);
    let Ok(theirs) = outcome(&request, &answer) else {
        panic!("an answer of ours is not understood")
    };
    mirrored(&theirs, &negotiated);
    stays_inside(&theirs, &request, &answer);
    for lie in &script.lies {
        lie.tell(&mut answer);
    }
    if let Ok(theirs) = outcome(&request, &answer) {
        stays_inside(&theirs, &request, &answer);
    }
}

/// As it comes out at the other end.
fn carried(associate: &Associate, pdu_type: u8) -> Associate {
    let pdu = match pdu_type {
        1 => Pdu::AssociateRq(associate.clone()),
        _ => Pdu::AssociateAc(associate.clone()),
    };
    let wire = pdu.encode();
    let Some((header, body)) = wire.split_first_chunk() else {
        panic!("no header")
    };
    let body = Bytes::copy_from_slice(body);
    let decoded = super::bounded(body.len(), || Pdu::decode(Header::read(header), body));
    assert_eq!(decoded, Ok(pdu));
    associate.clone()
}

/// What one may, the other lets it.
fn mirrored(requestor: &Negotiated, acceptor: &Negotiated) {
    assert_eq!(requestor.contexts.len(), acceptor.contexts.len());
    for (ours, theirs) in requestor.contexts.iter().zip(&acceptor.contexts) {
        assert_eq!(
            (ours.scp, ours.scu),
            (theirs.scu, theirs.scp),
            "{ours:?} {theirs:?}"
        );
        assert_eq!(ours.is_accepted(), ours.scu || ours.scp);
        let swapped = NegotiatedContext {
            scu: ours.scp,
            scp: ours.scu,
            ..ours.clone()
        };
        assert_eq!(swapped, *theirs);
    }
    assert_eq!(
        (requestor.invoked, requestor.performed),
        (acceptor.performed, acceptor.invoked)
    );
    assert_eq!(requestor.extended, acceptor.extended);
    assert_eq!(requestor.identity_response, acceptor.identity_response);
    assert_eq!(requestor.warnings, [""; 0]);
}

/// An answer cannot give what was not asked for.
fn stays_inside(theirs: &Negotiated, request: &Associate, answer: &Associate) {
    assert!(theirs.invoked >= 1 && theirs.performed >= 1);
    assert_eq!(theirs.contexts.len(), request.proposed().count());
    for (context, proposed) in theirs.contexts.iter().zip(request.proposed()) {
        assert_eq!(context.id, proposed.id);
        assert_eq!(theirs.by_id(context.id), Some(context));
        assert_eq!(context.is_accepted(), context.transfer_syntax.is_some());
        assert_eq!(context.is_accepted(), context.scu || context.scp);
        if let Some(syntax) = &context.transfer_syntax {
            assert!(proposed.transfer_syntaxes.contains(syntax));
        }
        // Roles are granted of those that were asked for; without an answer it is the default.
        let asked = role(request, &context.abstract_syntax);
        let granted = role(answer, &context.abstract_syntax);
        let (scu, scp) = asked.and(granted).and(asked).unwrap_or((true, false));
        assert!((scu || !context.scu) && (scp || !context.scp));
    }
}

fn role(associate: &Associate, class: &Uid) -> Option<(bool, bool)> {
    associate.user_items().find_map(|item| match item {
        UserItem::Role {
            sop_class,
            scu,
            scp,
        } if sop_class == class => Some((*scu == 1, *scp == 1)),
        _ => None,
    })
}

fn uid(index: u8) -> Uid {
    UIDS[usize::from(index) % UIDS.len()].clone()
}

fn uids(indices: &[u8]) -> Vec<Uid> {
    indices.iter().copied().map(uid).collect()
}

fn bytes(list: &[u8]) -> Bytes {
    Bytes::copy_from_slice(list)
}

impl Script {
    fn request(&self) -> Request {
        let title = AeTitle::from_wire(b"NODE");
        let contexts = self.contexts.iter().map(|proposed| ProposedContext {
            abstract_syntax: uid(proposed.class),
            transfer_syntaxes: uids(&proposed.syntaxes),
            scu: proposed.scu,
            scp: proposed.scp,
        });
        let mut request = Request::new(title, title, contexts.collect());
        request.max_length = self.requestor.max_length;
        (request.max_ops_invoked, request.max_ops_performed) = self.requestor.window;
        let extended = self.requestor.extended.iter();
        request.extended = extended
            .map(|(class, info)| (uid(*class), bytes(info)))
            .collect();
        request.common = self
            .common
            .iter()
            .map(|(class, service, related)| CommonExtended {
                sop_class: uid(*class),
                service_class: uid(*service),
                related: uids(related),
            })
            .collect();
        request.identity = self
            .identity
            .as_ref()
            .map(|(kind, asks, one, two)| UserIdentity {
                identity_type: *kind,
                response_requested: *asks,
                primary: Secret(bytes(one)),
                secondary: Secret(bytes(two)),
            });
        request
    }

    fn policy(&self) -> AcceptorPolicy {
        let preference = |ours| {
            if ours {
                Preference::Acceptor
            } else {
                Preference::Requestor
            }
        };
        let mut policy =
            AcceptorPolicy::new(self.supported.iter().map(|supported| SupportedContext {
                abstract_syntax: uid(supported.class),
                transfer_syntaxes: uids(&supported.syntaxes),
                preference: preference(supported.prefers),
                scu: supported.scu,
                scp: supported.scp,
            }));
        let unknown = self.unknown.as_ref();
        policy.unknown_storage = unknown.map(|(any, syntaxes, ours)| UnknownStorage {
            classes: if *any {
                UnknownClasses::Any
            } else {
                UnknownClasses::Announced
            },
            transfer_syntaxes: uids(syntaxes),
            preference: preference(*ours),
        });
        // A policy that could not be sent is its maker's fault.
        policy.max_length = match self.acceptor.max_length {
            short @ 1..=7 => short + 7,
            other => other,
        };
        (policy.max_ops_invoked, policy.max_ops_performed) = self.acceptor.window;
        let extended = self.acceptor.extended.iter();
        policy.extended = extended
            .map(|(class, info)| {
                let answer = match class >> 7 {
                    0 => ExtendedAnswer::Agree(bytes(info)),
                    _ => ExtendedAnswer::Declare(bytes(info)),
                };
                (uid(*class), answer)
            })
            .collect();
        policy.identity_response = self
            .acceptor
            .response
            .as_ref()
            .map(|text| Secret(bytes(text)));
        policy.require_identity = self.require_identity;
        let title = |known| AeTitle::from_wire(if known { b"NODE" } else { b"ELSE" });
        if let Some(known) = self.titles[0] {
            policy.called = CalledTitles::OneOf(vec![title(known)]);
        }
        policy.calling = self.titles[1].map(|known| vec![title(known)]);
        policy
    }
}

impl Lie {
    fn tell(&self, answer: &mut Associate) {
        match self {
            Self::Version(version) => answer.protocol_version = *version,
            Self::Application(name) => answer.items[0] = Item::ApplicationContext(uid(*name)),
            Self::Again(at) | Self::Gone(at) => {
                let at = usize::from(*at) % answer.items.len();
                let item = answer.items[at].clone();
                if matches!(self, Self::Again(_)) {
                    answer.items.push(item);
                } else if answer.items.len() > 1 {
                    answer.items.remove(at);
                }
            }
            Self::Id(..) | Self::Result(..) | Self::Syntax(..) => self.of_context(answer),
            Self::Role(..) | Self::Window(..) | Self::MaxLength(_) | Self::Extended(..) => {
                let lie = self.of_user();
                let users = answer.items.iter_mut().find_map(|item| match item {
                    Item::UserInformation(items) => Some(items),
                    _ => None,
                });
                // The first of its kind is believed.
                users.into_iter().zip(lie).for_each(|(items, lie)| {
                    items.retain(|item| {
                        std::mem::discriminant(item) != std::mem::discriminant(&lie)
                    });
                    items.push(lie);
                });
            }
        }
    }

    fn of_context(&self, answer: &mut Associate) {
        let (Self::Id(at, _) | Self::Result(at, _) | Self::Syntax(at, _)) = self else {
            return;
        };
        let count = answer.answered().count().max(1);
        let context = answer
            .items
            .iter_mut()
            .filter_map(|item| match item {
                Item::PresentationContextAc(context) => Some(context),
                _ => None,
            })
            .nth(usize::from(*at) % count);
        match (self, context) {
            (Self::Id(_, id), Some(context)) => context.id = *id,
            (Self::Result(_, result), Some(context)) => context.result = ContextResult(*result),
            (Self::Syntax(_, list), Some(context)) => context.transfer_syntaxes = uids(list),
            _ => {}
        }
    }

    fn of_user(&self) -> Option<UserItem> {
        Some(match self {
            Self::Role(class, scu, scp) => UserItem::Role {
                sop_class: uid(*class),
                scu: *scu,
                scp: *scp,
            },
            Self::Window(invoked, performed) => UserItem::AsyncWindow {
                invoked: *invoked,
                performed: *performed,
            },
            Self::MaxLength(length) => UserItem::MaximumLength(*length),
            Self::Extended(class, info) => UserItem::ExtendedNegotiation {
                sop_class: uid(*class),
                info: bytes(info),
            },
            _ => return None,
        })
    }
}
