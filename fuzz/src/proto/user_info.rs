//! User information of an A-ASSOCIATE-RQ.

use bytes::Bytes;
use dimse_proto::ul::associate::{Associate, Item, PresentationContextRq};
use dimse_proto::ul::negotiate::{
    APPLICATION_CONTEXT, AcceptorPolicy, ExtendedAnswer, Preference, SupportedContext,
    UserIdentity, Verdict, answer, outcome,
};
use dimse_proto::ul::pdu::{Header, Pdu};
use dimse_proto::ul::user_info::{Secret, UserItem};
use dimse_proto::{AeTitle, Uid};

const CLASS: Uid = Uid::from_static("1.2.840.10008.1.1");
const OTHER: Uid = Uid::from_static("1.2");
const SYNTAX: Uid = Uid::from_static("1.2.840.10008.1.2");

/// The body of a 50H.
pub fn user_info(data: &[u8]) {
    let Ok(length) = u16::try_from(data.len()) else {
        return;
    };
    let empty = Pdu::AssociateRq(request(vec![])).encode();
    let mut wire = empty[..empty.len() - 2].to_vec();
    wire.extend(length.to_be_bytes());
    wire.extend(data);
    let body = Bytes::from(wire).slice(Header::LENGTH..);
    let header = Header {
        pdu_type: 1,
        length: u32::try_from(body.len()).unwrap_or(u32::MAX),
    };
    let Ok(Pdu::AssociateRq(read)) = super::bounded(body.len(), || Pdu::decode(header, body))
    else {
        return;
    };
    let again = Pdu::AssociateRq(read.clone()).encode();
    let Some((header, body)) = again.split_first_chunk() else {
        panic!("no header")
    };
    let decoded = Pdu::decode(Header::read(header), Bytes::copy_from_slice(body));
    assert_eq!(decoded, Ok(Pdu::AssociateRq(read.clone())));
    hides_secrets(&read);
    judge(&read);
}

/// What is shown of a request says nothing about the bytes of a secret.
fn hides_secrets(read: &Associate) {
    let hidden = |secret: &Secret| Secret(vec![b'*'; secret.0.len()].into());
    let mut other = read.clone();
    for item in &mut other.items {
        let Item::UserInformation(items) = item else {
            continue;
        };
        for item in items {
            match item {
                UserItem::UserIdentityRq {
                    primary, secondary, ..
                } => {
                    *primary = hidden(primary);
                    *secondary = hidden(secondary);
                }
                UserItem::UserIdentityAc(response) => *response = hidden(response),
                _ => {}
            }
        }
    }
    assert_eq!(format!("{read:?}"), format!("{other:?}"));
    let (said, hidden) = (UserIdentity::of(read), UserIdentity::of(&other));
    assert_eq!(format!("{said:?}"), format!("{hidden:?}"));
}

fn judge(read: &Associate) {
    let Verdict::Accept { answer, negotiated } = answer(read, &policy()) else {
        return;
    };
    assert!((1..=64).contains(&negotiated.performed) && (1..=64).contains(&negotiated.invoked));
    let count = |wanted: fn(&UserItem) -> bool| answer.user_items().filter(|i| wanted(i)).count();
    assert_eq!(count(|item| matches!(item, UserItem::MaximumLength(_))), 1);
    // Each class is answered once, and no other than what was asked for.
    assert!(count(|item| matches!(item, UserItem::Role { .. })) <= 2);
    assert!(count(|item| matches!(item, UserItem::ExtendedNegotiation { .. })) <= 2);
    for item in answer.user_items() {
        let asked = |wanted: &dyn Fn(&UserItem) -> bool| read.user_items().any(wanted);
        match item {
            UserItem::Role {
                sop_class,
                scu,
                scp,
            } => {
                assert!(*scu <= 1 && *scp <= 1);
                assert!(asked(
                    &|i| matches!(i, UserItem::Role { sop_class: of, scu: u, scp: p }
                    if of == sop_class && u >= scu && p >= scp)
                ));
            }
            UserItem::ExtendedNegotiation { sop_class, info } => assert!(asked(
                &|i| matches!(i, UserItem::ExtendedNegotiation { sop_class: of, info: offered }
                    if of == sop_class && (*sop_class == OTHER || offered.len() >= info.len()))
            )),
            UserItem::AsyncWindow { .. } => {
                assert!(asked(&|i| matches!(i, UserItem::AsyncWindow { .. })));
            }
            UserItem::UserIdentityAc(_) => assert!(asked(&|i| matches!(
                i,
                UserItem::UserIdentityRq {
                    response_requested: true,
                    ..
                }
            ))),
            _ => {}
        }
    }
    let Ok(theirs) = outcome(read, &answer) else {
        panic!("an answer of ours is not understood")
    };
    assert_eq!(theirs.extended, negotiated.extended);
    assert_eq!(theirs.identity_response, negotiated.identity_response);
}

fn request(user_items: Vec<UserItem>) -> Associate {
    let context = |id, class: Uid| {
        Item::PresentationContextRq(PresentationContextRq {
            id,
            abstract_syntaxes: vec![class],
            transfer_syntaxes: vec![SYNTAX],
        })
    };
    Associate {
        protocol_version: 1,
        called: AeTitle::from_wire(b"SCP").to_field(),
        calling: AeTitle::from_wire(b"SCU").to_field(),
        reserved: [0; 32],
        items: vec![
            Item::ApplicationContext(APPLICATION_CONTEXT),
            context(1, CLASS),
            context(3, OTHER),
            Item::UserInformation(user_items),
        ],
    }
}

fn policy() -> AcceptorPolicy {
    let mut policy = AcceptorPolicy::new([CLASS, OTHER].map(|class| SupportedContext {
        abstract_syntax: class,
        transfer_syntaxes: vec![],
        preference: Preference::Requestor,
        scu: true,
        scp: true,
    }));
    policy.max_ops_invoked = 0;
    policy.max_ops_performed = 16;
    policy.extended = [
        (
            CLASS,
            ExtendedAnswer::Agree(Bytes::from_static(&[1, 1, 0, 1])),
        ),
        (OTHER, ExtendedAnswer::Declare(Bytes::from_static(&[2, 0]))),
    ]
    .into();
    policy.identity_response = Some(Secret(Bytes::from_static(b"known")));
    policy
}
