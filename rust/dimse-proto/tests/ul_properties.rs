//! Laws of the Upper Layer codec and of negotiation, over arbitrary input.
#![allow(missing_docs, clippy::unwrap_used, clippy::arithmetic_side_effects)]

use bytes::{Bytes, BytesMut};
use dimse_proto::ul::associate::{Associate, Item, PresentationContextAc, PresentationContextRq};
use dimse_proto::ul::data::{self, Pdv};
use dimse_proto::ul::negotiate::{
    AcceptorPolicy, Negotiated, NegotiatedContext, Preference, ProposedContext, Request,
    SupportedContext, UnknownClasses, UnknownStorage, Verdict, answer, outcome,
};
use dimse_proto::ul::pdu::{Header, Pdu, PduLimits};
use dimse_proto::ul::reason::{Abort, AbortReason, AbortSource, AssociateRj, ContextResult};
use dimse_proto::ul::user_info::{Secret, UserItem};
use dimse_proto::{AeTitle, Uid};
use proptest::collection::vec;
use proptest::prelude::*;

fn text(range: std::ops::Range<usize>) -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), range).prop_map(Bytes::from)
}

/// Any text that trailing padding is not part of.
fn uid() -> impl Strategy<Value = Uid> {
    prop_oneof![
        "[0-9]{1,3}(\\.[0-9]{1,4}){0,8}".prop_map(|text| Uid::new(&text).unwrap()),
        text(0..70).prop_map(Uid::from_wire),
    ]
}

fn uids() -> impl Strategy<Value = Vec<Uid>> {
    vec(uid(), 0..5)
}

fn user_item() -> impl Strategy<Value = UserItem> {
    prop_oneof![
        uid().prop_map(UserItem::ImplementationClassUid),
        (uid(), any::<u8>(), any::<u8>()).prop_map(|(sop_class, scu, scp)| UserItem::Role {
            sop_class,
            scu,
            scp
        }),
        (uid(), text(0..9))
            .prop_map(|(sop_class, info)| UserItem::ExtendedNegotiation { sop_class, info }),
        (uid(), uid(), uids()).prop_map(|(sop_class, service_class, related)| {
            UserItem::CommonExtendedNegotiation {
                sop_class,
                service_class,
                related,
            }
        }),
        (any::<u8>(), any::<bool>(), text(0..40), text(0..40)).prop_map(
            |(identity_type, response_requested, primary, secondary)| UserItem::UserIdentityRq {
                identity_type,
                response_requested,
                primary: Secret(primary),
                secondary: Secret(secondary),
            }
        ),
        any::<u32>().prop_map(UserItem::MaximumLength),
        (any::<u16>(), any::<u16>())
            .prop_map(|(invoked, performed)| UserItem::AsyncWindow { invoked, performed }),
        text(0..20).prop_map(UserItem::ImplementationVersion),
        text(0..20).prop_map(|response| UserItem::UserIdentityAc(Secret(response))),
        (prop_oneof![0_u8..0x51, 0x5a_u8..], text(0..20))
            .prop_map(|(item_type, body)| UserItem::Unknown { item_type, body }),
    ]
}

fn item() -> impl Strategy<Value = Item> {
    prop_oneof![
        1 => uid().prop_map(Item::ApplicationContext),
        4 => (any::<u8>(), uids(), uids()).prop_map(|(id, mut abstract_syntaxes, transfer_syntaxes)| {
            abstract_syntaxes.truncate(2);
            Item::PresentationContextRq(PresentationContextRq { id, abstract_syntaxes, transfer_syntaxes })
        }),
        4 => (any::<u8>(), any::<u8>(), uids()).prop_map(|(id, result, transfer_syntaxes)| {
            Item::PresentationContextAc(PresentationContextAc {
                id,
                result: ContextResult(result),
                transfer_syntaxes,
            })
        }),
        2 => vec(user_item(), 0..12).prop_map(Item::UserInformation),
        1 => (0x60_u8.., text(0..20)).prop_map(|(item_type, body)| Item::Unknown { item_type, body }),
    ]
}

/// Drops what a decoder keeps no more than two of.
fn within_caps(mut associate: Associate) -> Associate {
    let mut sections = 0;
    let mut names = 0;
    associate.items.retain_mut(|item| {
        let count = match item {
            Item::ApplicationContext(_) => &mut names,
            Item::UserInformation(items) => {
                let mut kinds = Vec::new();
                items.retain(|item| {
                    let kind = std::mem::discriminant(item);
                    kinds.push(kind);
                    kinds.iter().filter(|other| **other == kind).count() <= 2
                });
                &mut sections
            }
            _ => return true,
        };
        *count += 1;
        *count <= 2
    });
    associate
}

fn associate() -> impl Strategy<Value = Associate> {
    (
        any::<u16>(),
        any::<[u8; 16]>(),
        any::<[u8; 16]>(),
        any::<[u8; 32]>(),
        vec(item(), 0..16),
    )
        .prop_map(|(protocol_version, called, calling, reserved, items)| {
            within_caps(Associate {
                protocol_version,
                called,
                calling,
                reserved,
                items,
            })
        })
}

fn pdv() -> impl Strategy<Value = Pdv> {
    (any::<u8>(), any::<bool>(), any::<bool>(), text(0..300)).prop_map(
        |(context_id, command, last, fragment)| Pdv {
            context_id,
            command,
            last,
            fragment,
        },
    )
}

fn pdu() -> impl Strategy<Value = Pdu> {
    prop_oneof![
        4 => associate().prop_map(Pdu::AssociateRq),
        4 => associate().prop_map(Pdu::AssociateAc),
        1 => any::<(u8, u8, u8)>().prop_map(|(result, source, reason)| {
            Pdu::AssociateRj(AssociateRj::new(result, source, reason))
        }),
        4 => vec(pdv(), 1..6).prop_map(Pdu::PData),
        1 => Just(Pdu::ReleaseRq),
        1 => Just(Pdu::ReleaseRp),
        1 => any::<(u8, u8)>().prop_map(|(source, reason)| Pdu::Abort(Abort {
            source: AbortSource(source),
            reason: AbortReason(reason),
        })),
    ]
}

/// Bytes that look enough like items to get deep into the decoder.
fn item_soup() -> impl Strategy<Value = Vec<u8>> {
    let known = prop_oneof![
        Just(0x10_u8),
        Just(0x20),
        Just(0x21),
        Just(0x30),
        Just(0x40),
        Just(0x50),
        0x51_u8..=0x59,
        any::<u8>(),
    ];
    let header = (known, any::<u8>(), 0_u16..40, vec(any::<u8>(), 0..40));
    vec(header, 0..20).prop_map(|items| {
        let mut soup = Vec::new();
        for (item_type, reserved, length, body) in items {
            soup.extend([item_type, reserved]);
            soup.extend(length.to_be_bytes());
            soup.extend(body);
        }
        soup
    })
}

fn decode(pdu_type: u8, body: &[u8]) -> Option<Pdu> {
    let header = Header {
        pdu_type,
        length: u32::try_from(body.len()).unwrap(),
    };
    Pdu::decode(header, Bytes::copy_from_slice(body)).ok()
}

/// Roughly what a decoded PDU holds, in values.
fn values(pdu: &Pdu) -> usize {
    match pdu {
        Pdu::AssociateRq(associate) | Pdu::AssociateAc(associate) => {
            let nested: usize = associate
                .items
                .iter()
                .map(|item| match item {
                    Item::PresentationContextRq(context) => {
                        context.abstract_syntaxes.len() + context.transfer_syntaxes.len()
                    }
                    Item::PresentationContextAc(context) => context.transfer_syntaxes.len(),
                    Item::UserInformation(items) => items.len(),
                    _ => 0,
                })
                .sum();
            associate.items.len() + nested
        }
        Pdu::PData(pdvs) => pdvs.len(),
        _ => 1,
    }
}

proptest! {
    #[test]
    fn decoding_an_encoded_pdu_gives_it_back(pdu in pdu()) {
        let wire = pdu.encode();
        let (header, body) = wire.split_first_chunk().unwrap();
        let header = Header::read(header);
        prop_assert_eq!(header.check(&PduLimits::default()), Ok(()));
        prop_assert_eq!(header.length as usize, body.len());
        let decoded = Pdu::decode(header, wire.slice(Header::LENGTH..));
        prop_assert_eq!(decoded, Ok(pdu));
    }

    #[test]
    fn arbitrary_bytes_never_panic_and_never_grow(pdu_type in 0_u8..10, body in vec(any::<u8>(), 0..2000)) {
        if let Some(pdu) = decode(pdu_type, &body) {
            prop_assert!(values(&pdu) <= body.len() / 4 + 1);
        }
    }

    #[test]
    fn arbitrary_items_never_panic_never_grow_and_are_judged(soup in item_soup(), fixed in any::<[u8; 32]>()) {
        let body = [&[0, 1, 0, 0][..], &fixed, &[0; 32], &soup].concat();
        let wrapped = [&[0, 1, 0, 0][..], &fixed, &[0; 32], &[0x50, 0],
            &u16::try_from(soup.len()).unwrap().to_be_bytes()[..], &soup].concat();
        for body in [body, wrapped] {
            if let Some(Pdu::AssociateRq(request)) = decode(1, &body) {
                prop_assert!(values(&Pdu::AssociateRq(request.clone())) <= body.len() / 4 + 1);
                let _ = format!("{request:?}");
                let _ = answer(&request, &AcceptorPolicy::new([]));
                let _ = outcome(&request, &request);
            }
        }
    }

    #[test]
    fn one_changed_byte_never_panics(pdu in pdu(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut body = pdu.encode()[Header::LENGTH..].to_vec();
        let at = at.index(body.len());
        body[at] = byte;
        let _ = decode(pdu.pdu_type(), &body);
    }

    #[test]
    fn framed_parts_come_back_whole(
        part in vec(any::<u8>(), 0..2000), max_length in 8_u32..600, id in any::<u8>(), command in any::<bool>(),
    ) {
        let max_fragment = data::max_fragment(max_length).unwrap();
        let mut out = BytesMut::new();
        data::frame(&mut out, id, command, &part, max_fragment);
        let mut wire = out.freeze();
        let mut received = Vec::new();
        while !wire.is_empty() {
            let header = Header::read(wire.first_chunk().unwrap());
            let limits = PduLimits { p_data: max_length, ..PduLimits::default() };
            prop_assert_eq!(header.check(&limits), Ok(()));
            let pdu = wire.split_to(Header::LENGTH + header.length as usize);
            let Ok(Pdu::PData(pdvs)) = Pdu::decode(header, pdu.slice(Header::LENGTH..)) else {
                panic!("not a P-DATA-TF")
            };
            prop_assert_eq!(pdvs.len(), 1);
            let pdv = &pdvs[0];
            prop_assert_eq!((pdv.context_id, pdv.command, pdv.last), (id, command, wire.is_empty()));
            prop_assert!(!pdv.fragment.is_empty());
            prop_assert!(pdv.last || pdv.fragment.len() % 2 == 0);
            received.extend_from_slice(&pdv.fragment);
        }
        prop_assert_eq!(received, part);
    }

    #[test]
    fn any_proposal_ends_in_an_answer_or_a_rejection(request in associate(), any_class in any::<bool>()) {
        let mut policy = AcceptorPolicy::new([]);
        policy.unknown_storage = any_class.then(|| UnknownStorage {
            classes: UnknownClasses::Any,
            transfer_syntaxes: vec![],
            preference: Preference::Requestor,
        });
        policy.check_application_context = false;
        if let Verdict::Accept { answer, negotiated } = answer(&request, &policy) {
            let proposed: Vec<u8> = request.proposed().map(|context| context.id).collect();
            let answered: Vec<u8> = answer.answered().map(|context| context.id).collect();
            prop_assert_eq!(&answered, &proposed);
            prop_assert!(answer.answered().all(|context| context.transfer_syntaxes.len() == 1));
            for context in &negotiated.contexts {
                prop_assert_eq!(negotiated.by_id(context.id), Some(context));
                prop_assert_eq!(context.is_accepted(), context.transfer_syntax.is_some());
                prop_assert_eq!(context.is_accepted(), context.scu || context.scp);
            }
            let wire = Pdu::AssociateAc(answer.clone()).encode();
            prop_assert_eq!(decode(2, &wire[Header::LENGTH..]), Some(Pdu::AssociateAc(answer)));
        }
    }

    #[test]
    fn both_ends_agree(
        classes in vec((0_u8..6, vec(0_u8..4, 1..4), prop_oneof![Just((true, false)), Just((false, true)), Just((true, true))]), 1..20),
        served in vec((0_u8..6, vec(0_u8..4, 0..4), any::<(bool, bool, bool)>()), 0..6),
        windows in any::<[u16; 4]>(), lengths in (prop_oneof![Just(0), 8_u32..], prop_oneof![Just(0), 8_u32..]),
    ) {
        let class = |n: u8| Uid::new(&format!("1.2.3.{n}")).unwrap();
        let syntaxes = |list: &[u8]| -> Vec<Uid> { list.iter().map(|n| class(100 + n)).collect() };
        let mut roles = std::collections::BTreeMap::new();
        let contexts = classes.iter().map(|(n, transfer, wanted)| {
            let (scu, scp) = *roles.entry(*n).or_insert(*wanted);
            ProposedContext { abstract_syntax: class(*n), transfer_syntaxes: syntaxes(transfer), scu, scp }
        });
        let title = AeTitle::new("BOTH").unwrap();
        let mut request = Request::new(title, title, contexts.collect());
        request.max_length = lengths.0;
        (request.max_ops_invoked, request.max_ops_performed) = (windows[0], windows[1]);
        let request = request.build().unwrap();

        let mut policy = AcceptorPolicy::new(served.iter().map(|(n, transfer, (acceptor, scu, scp))| {
            let preference = if *acceptor { Preference::Acceptor } else { Preference::Requestor };
            SupportedContext {
                abstract_syntax: class(*n), transfer_syntaxes: syntaxes(transfer), preference, scu: *scu, scp: *scp,
            }
        }));
        policy.max_length = lengths.1;
        (policy.max_ops_invoked, policy.max_ops_performed) = (windows[2], windows[3]);
        let Verdict::Accept { answer, negotiated: acceptor } = answer(&request, &policy) else {
            panic!("a request of ours is well formed")
        };
        let requestor = outcome(&request, &answer).unwrap();
        prop_assert_eq!(requestor.peer_max_length, lengths.1);
        prop_assert_eq!(acceptor.peer_max_length, lengths.0);
        prop_assert!(acceptor.performed >= 1 && acceptor.invoked >= 1);
        let mirrored = |n: &Negotiated| -> Vec<NegotiatedContext> {
            n.contexts.iter().cloned().map(|c| NegotiatedContext { scu: c.scp, scp: c.scu, ..c }).collect()
        };
        prop_assert_eq!(&requestor.contexts, &mirrored(&acceptor));
        prop_assert_eq!((requestor.invoked, requestor.performed), (acceptor.performed, acceptor.invoked));
    }
}
