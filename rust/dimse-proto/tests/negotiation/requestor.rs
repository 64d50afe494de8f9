//! What is asked, and how the answer is read.

use super::*;

fn request_for(contexts: Vec<ProposedContext>) -> Request {
    Request::new(title("US"), title("THEM"), contexts)
}

fn one(class: Uid) -> ProposedContext {
    ProposedContext::new(class, vec![EXPLICIT, IMPLICIT])
}

#[test]
fn a_plain_request_says_no_more_than_it_must() {
    let rq = request_for(vec![one(CT), one(VERIFICATION), one(CT)])
        .build()
        .unwrap();
    assert_eq!(
        (rq.called_ae(), rq.calling_ae()),
        (title("THEM"), title("US"))
    );
    let ids: Vec<u8> = rq.proposed().map(|context| context.id).collect();
    assert_eq!(ids, [1, 3, 5]);
    assert_eq!(rq.user_items().count(), 3, "51H, 52H and 55H");
}

#[test]
fn roles_are_proposed_once_for_a_class() {
    let scp = |class| ProposedContext {
        scu: false,
        scp: true,
        ..one(class)
    };
    let rq = request_for(vec![scp(CT), one(FIND), scp(CT)])
        .build()
        .unwrap();
    let roles: Vec<_> = rq
        .user_items()
        .filter(|item| matches!(item, UserItem::Role { .. }))
        .collect();
    let expected = UserItem::Role {
        sop_class: CT,
        scu: 0,
        scp: 1,
    };
    assert_eq!(roles, [&expected]);
    assert!(request_for(vec![scp(CT), one(CT)]).build().is_err());
}

#[test]
fn the_128th_context_has_id_255_and_there_is_no_129th() {
    let rq = request_for(vec![one(CT); 128]).build().unwrap();
    assert_eq!(rq.proposed().last().unwrap().id, 255);
    assert!(request_for(vec![one(CT); 129]).build().is_err());
    assert!(request_for(vec![]).build().is_err());
}

#[test]
fn refuses_to_send_what_the_standard_forbids() {
    type Break = fn(&mut Request);
    let cases: &[(&str, Break)] = &[
        ("no transfer syntax", |rq| {
            rq.contexts[0].transfer_syntaxes.clear();
        }),
        ("65 transfer syntaxes", |rq| {
            rq.contexts[0].transfer_syntaxes = vec![IMPLICIT; 65];
        }),
        ("not a UID", |rq| {
            rq.contexts[0].abstract_syntax = Uid::from_static("1..2");
        }),
        ("not a transfer syntax", |rq| {
            rq.contexts[0].transfer_syntaxes = vec![Uid::from_static("")];
        }),
        ("no role", |rq| rq.contexts[0].scu = false),
        ("length 7", |rq| rq.max_length = 7),
        ("long version", |rq| {
            rq.implementation_version = Bytes::from_static(&[b'x'; 17]);
        }),
        ("control in version", |rq| {
            rq.implementation_version = Bytes::from_static(b"a\n");
        }),
        ("class twice", |rq| {
            rq.extended = vec![(CT, Bytes::new()), (CT, Bytes::new())];
        }),
        ("64 KiB of information", |rq| {
            rq.extended = vec![(CT, vec![0; 65536].into())];
        }),
        ("reserved identity", |rq| {
            rq.identity.as_mut().unwrap().identity_type = 6;
        }),
        ("nobody", |rq| {
            rq.identity.as_mut().unwrap().primary = Secret::default();
        }),
        ("passcode of a ticket", |rq| {
            rq.identity.as_mut().unwrap().identity_type = 3;
        }),
        ("ticket of 64 KiB", |rq| {
            rq.identity.as_mut().unwrap().primary = Secret(vec![0; 65500].into());
        }),
    ];
    let mut whole = request_for(vec![one(CT)]);
    whole.identity = Some(UserIdentity {
        identity_type: 2,
        response_requested: true,
        primary: Secret(Bytes::from_static(b"bob")),
        secondary: Secret(Bytes::from_static(b"pass")),
    });
    assert!(whole.build().is_ok());
    for (name, break_it) in cases {
        let mut request = whole.clone();
        break_it(&mut request);
        assert!(request.build().is_err(), "{name}");
    }
}

/// Two CT contexts (1: Implicit, 3: Explicit) and an answer by items.
fn read(answers: Vec<Item>) -> Result<Negotiated, dimse_proto::DecodeError> {
    let request = proposal(
        vec![context(1, CT, &[IMPLICIT]), context(3, CT, &[EXPLICIT])],
        usual(),
    );
    outcome(&request, &proposal(answers, usual()))
}

#[test]
fn an_acceptance_that_contradicts_the_proposal_is_unusable() {
    for (name, bad) in [
        ("not proposed there", answered(1, 0, &[EXPLICIT])),
        ("two", answered(1, 0, &[IMPLICIT, IMPLICIT])),
        ("none", answered(1, 0, &[])),
    ] {
        let negotiated = read(vec![bad.clone(), answered(3, 0, &[EXPLICIT])]).unwrap();
        assert!(!negotiated.by_id(1).unwrap().is_accepted(), "{name}");
        assert!(negotiated.by_id(3).unwrap().is_accepted(), "{name}");
        assert_eq!(negotiated.warnings.len(), 1, "{name}");
        let error = read(vec![bad, answered(3, 3, &[])]).unwrap_err();
        assert_eq!(error.code, "no-usable-context", "{name}");
        assert_eq!(AbortReason::of(&error), AbortReason::INVALID_PDU_PARAMETER);
    }
}

#[test]
fn missing_answers_are_rejections_and_unknown_ids_are_ignored() {
    let negotiated = read(vec![
        answered(99, 0, &[IMPLICIT]),
        answered(3, 0, &[EXPLICIT]),
    ])
    .unwrap();
    assert_eq!(negotiated.contexts.len(), 2);
    assert_eq!(negotiated.contexts[0].result, ContextResult::NO_REASON);
    assert!(negotiated.contexts[1].is_accepted());
    assert_eq!(
        read(vec![answered(99, 0, &[IMPLICIT])]).unwrap_err().code,
        "no-usable-context"
    );
}

#[test]
fn an_association_without_accepted_context_is_established() {
    let negotiated = read(vec![answered(1, 3, &[]), answered(3, 4, &[IMPLICIT])]).unwrap();
    assert_eq!(negotiated.accepted().count(), 0);
    let results: Vec<u8> = negotiated.contexts.iter().map(|c| c.result.0).collect();
    assert_eq!(results, [3, 4]);
    assert!(read(vec![]).is_ok());
}

#[test]
fn answers_in_any_order_and_repeated_word_for_word_are_read() {
    let negotiated = read(vec![
        answered(3, 0, &[EXPLICIT]),
        answered(1, 0, &[IMPLICIT]),
        answered(3, 0, &[EXPLICIT]),
    ])
    .unwrap();
    assert_eq!(negotiated.accepted().count(), 2);
    assert_eq!(negotiated.contexts[0].id, 1, "in the order of the proposal");
    let error = read(vec![
        answered(1, 0, &[IMPLICIT]),
        answered(1, 3, &[IMPLICIT]),
    ])
    .unwrap_err();
    assert_eq!(error.code, "context-answered-twice");
}

#[test]
fn aborts_answers_that_cannot_be_used() {
    type Break = fn(&mut Associate);
    let cases: &[(&str, Break)] = &[
        ("protocol-version", |ac| ac.protocol_version = 2),
        ("application-context", |ac| {
            ac.items[0] = Item::ApplicationContext(Uid::from_static("1.2.3"));
        }),
        ("maximum-length-too-small", |ac| {
            ac.items[2] = Item::UserInformation(vec![UserItem::MaximumLength(7)]);
        }),
    ];
    let request = proposal(ct(), usual());
    let good = proposal(vec![answered(1, 0, &[IMPLICIT])], usual());
    assert!(outcome(&request, &good).is_ok());
    for (code, break_it) in cases {
        let mut answer = good.clone();
        break_it(&mut answer);
        assert_eq!(outcome(&request, &answer).unwrap_err().code, *code);
    }
}

#[test]
fn a_role_the_requestor_did_not_propose_is_not_granted() {
    let role = UserItem::Role {
        sop_class: CT,
        scu: 0,
        scp: 1,
    };
    let request = proposal(ct(), usual());
    let answer = proposal(vec![answered(1, 0, &[IMPLICIT])], usual_and(role.clone()));
    let negotiated = outcome(&request, &answer).unwrap();
    assert!(negotiated.contexts[0].scu && !negotiated.contexts[0].scp);
    // Proposed but not answered: the default roles.
    let request = proposal(ct(), usual_and(role));
    let answer = proposal(vec![answered(1, 0, &[IMPLICIT])], usual());
    let negotiated = outcome(&request, &answer).unwrap();
    assert!(negotiated.contexts[0].scu && !negotiated.contexts[0].scp);
}

#[test]
fn what_a_class_specialises_is_said_as_in_the_vector() {
    let log = Uid::from_static("1.2.840.10008.5.1.4.1.1.88.40");
    let common = CommonExtended {
        sop_class: log.clone(),
        service_class: Uid::from_static("1.2.840.10008.4.2"),
        related: vec![Uid::from_static("1.2.840.10008.5.1.4.1.1.88.22")],
    };
    let mut request = request_for(vec![one(log)]);
    request.common = vec![common.clone()];
    let wire = Pdu::AssociateRq(request.build().unwrap()).encode();
    // V14: ProcedureLog, Storage, EnhancedSR.
    let vector: &[u8] = b"\x57\0\0\x53\0\x1d1.2.840.10008.5.1.4.1.1.88.40\0\x111.2.840.10008.4.2\
        \0\x1f\0\x1d1.2.840.10008.5.1.4.1.1.88.22";
    assert!(wire.windows(vector.len()).any(|part| part == vector));
    request.common.push(common.clone());
    assert!(request.build().is_err(), "a class twice");
    for broken in [
        CommonExtended {
            related: vec![CT; 65],
            ..common.clone()
        },
        CommonExtended {
            service_class: Uid::from_static("1..2"),
            ..common
        },
    ] {
        request.common = vec![broken];
        assert!(request.build().is_err());
    }
}
