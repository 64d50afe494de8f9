//! What is answered to a request.

use super::*;

#[test]
fn rejects_what_means_nothing() {
    type Break = fn(&mut Associate);
    let cases: &[(&str, AssociateRj, Break)] = &[
        ("protocol-version", AssociateRj::PROTOCOL_VERSION, |rq| {
            rq.protocol_version = 0xfffe;
        }),
        (
            "application-context",
            AssociateRj::APPLICATION_CONTEXT,
            |rq| {
                rq.items.remove(0);
            },
        ),
        (
            "application-context",
            AssociateRj::APPLICATION_CONTEXT,
            |rq| {
                rq.items[0] = Item::ApplicationContext(Uid::from_static("1.2.3"));
            },
        ),
        (
            "application-context-twice",
            AssociateRj::ACSE_NO_REASON,
            |rq| {
                rq.items.insert(0, rq.items[0].clone());
            },
        ),
        ("called-ae-title", AssociateRj::CALLED_AE, |rq| {
            rq.called = [b' '; 16];
        }),
        ("calling-ae-title", AssociateRj::CALLING_AE, |rq| {
            rq.calling = [0; 16];
        }),
        ("no-context", AssociateRj::ACSE_NO_REASON, |rq| {
            rq.items.remove(1);
        }),
        ("context-id-twice", AssociateRj::ACSE_NO_REASON, |rq| {
            rq.items.push(context(1, VERIFICATION, &[IMPLICIT]));
        }),
        ("context-id-even", AssociateRj::ACSE_NO_REASON, |rq| {
            rq.items.push(context(2, CT, &[IMPLICIT]));
        }),
        ("context-id-even", AssociateRj::ACSE_NO_REASON, |rq| {
            rq.items.push(context(0, CT, &[IMPLICIT]));
        }),
        ("context-id-twice", AssociateRj::ACSE_NO_REASON, |rq| {
            let ids = (3..=255).step_by(2).chain([255]);
            rq.items.extend(ids.map(|id| context(id, CT, &[IMPLICIT])));
        }),
        (
            "user-information-twice",
            AssociateRj::ACSE_NO_REASON,
            |rq| {
                rq.items.push(Item::UserInformation(vec![]));
            },
        ),
        ("maximum-length-twice", AssociateRj::ACSE_NO_REASON, |rq| {
            rq.items[2] = Item::UserInformation(usual_and(UserItem::MaximumLength(16384)));
        }),
    ];
    assert!(matches!(
        answer(&proposal(ct(), usual()), &policy()),
        Verdict::Accept { .. }
    ));
    for (code, rj, break_it) in cases {
        let mut request = proposal(ct(), usual());
        break_it(&mut request);
        let (got_rj, got_code, detail) = rejected(&request, &policy());
        assert_eq!((got_code, got_rj), (*code, *rj), "{detail}");
    }
}

#[test]
fn rejects_a_maximum_length_without_room_for_a_fragment() {
    for length in 1..8 {
        let request = proposal(ct(), vec![UserItem::MaximumLength(length)]);
        let (rj, code, _) = rejected(&request, &policy());
        assert_eq!(
            (rj, code),
            (AssociateRj::ACSE_NO_REASON, "maximum-length-too-small")
        );
    }
    for length in [0, 8, 9, u32::MAX] {
        let request = proposal(ct(), vec![UserItem::MaximumLength(length)]);
        assert_eq!(accepted(&request, &policy()).1.peer_max_length, length);
    }
}

#[test]
fn accepts_what_looks_odd_but_is_legal() {
    let mut request = proposal(ct(), usual());
    request.protocol_version = 0xffff;
    request.reserved = [0xff; 32];
    request.called = *b"   ANY-SCP\0\0\0\0\0\0";
    request.items.reverse();
    request.items.push(Item::Unknown {
        item_type: 0x99,
        body: Bytes::new(),
    });
    let mut policy = policy();
    policy.called = CalledTitles::OneOf(vec![title("ANY-SCP")]);
    let (answer, _) = accepted(&request, &policy);
    assert_eq!(answer.protocol_version, 1);
    assert_eq!(
        (answer.called, answer.calling, answer.reserved),
        (request.called, request.calling, request.reserved),
        "the answer is a byte copy"
    );
    assert_eq!(results(&answer), [0]);
}

#[test]
fn a_request_without_user_information_gets_the_defaults() {
    let mut request = proposal(ct(), usual());
    request.items.pop();
    let (_, negotiated) = accepted(&request, &policy());
    assert_eq!(negotiated.peer_max_length, 16384);
    assert_eq!((negotiated.invoked, negotiated.performed), (1, 1));
    assert_eq!(negotiated.peer_implementation_class, None);
    assert_eq!(negotiated.warnings.len(), 1);
}

#[test]
fn rejects_unknown_titles_and_says_what_this_node_is() {
    let request = proposal(ct(), usual());
    let mut policy = policy();
    policy.called = CalledTitles::OneOf(vec![title("ARCHIVE"), title("BACKUP")]);
    let (rj, _, detail) = rejected(&request, &policy);
    assert_eq!(rj, AssociateRj::CALLED_AE);
    for part in ["ANY-SCP", "ARCHIVE", "BACKUP"] {
        assert!(detail.contains(part), "{detail}");
    }
    policy.called = CalledTitles::Any;
    policy.calling = Some(vec![title("MODALITY")]);
    assert_eq!(rejected(&request, &policy).0, AssociateRj::CALLING_AE);
    policy.calling = Some(vec![title("MODALITY"), title("US")]);
    accepted(&request, &policy);
}

#[test]
fn hostile_titles_are_never_matched_and_shown_escaped() {
    let mut request = proposal(ct(), usual());
    request.called = *b"ANY-SCP\x1b[2J\n    ";
    let mut policy = policy();
    policy.called = CalledTitles::OneOf(vec![title("ANY-SCP")]);
    let (rj, _, detail) = rejected(&request, &policy);
    assert_eq!(rj, AssociateRj::CALLED_AE);
    assert!(
        detail.is_ascii() && !detail.contains(char::is_control),
        "{detail}"
    );
}

#[test]
fn another_application_context_is_accepted_only_when_told_so() {
    let mut request = proposal(ct(), usual());
    let other = Uid::from_static("1.2.3");
    request.items[0] = Item::ApplicationContext(other.clone());
    let mut policy = policy();
    policy.check_application_context = false;
    let (answer, _) = accepted(&request, &policy);
    assert_eq!(answer.application_contexts().collect::<Vec<_>>(), [&other]);
}

#[test]
fn each_context_is_judged_on_its_own_in_the_order_proposed() {
    let bare = |id, abstract_syntaxes: &[Uid], transfer_syntaxes: &[Uid]| {
        Item::PresentationContextRq(PresentationContextRq {
            id,
            abstract_syntaxes: abstract_syntaxes.to_vec(),
            transfer_syntaxes: transfer_syntaxes.to_vec(),
        })
    };
    let request = proposal(
        vec![
            context(255, CT, &[JPEG]),
            context(3, CT, &[JPEG, IMPLICIT]),
            context(7, PRIVATE, &[IMPLICIT]),
            bare(5, &[], &[IMPLICIT]),
            bare(9, &[CT, VERIFICATION], &[IMPLICIT]),
            bare(11, &[CT], &[]),
            context(13, Uid::from_static(""), &[EXPLICIT]),
            context(15, Uid::from_static("not a uid"), &[EXPLICIT]),
            context(1, CT, &[EXPLICIT]),
        ],
        usual(),
    );
    let (answer, negotiated) = accepted(&request, &policy());
    let ids: Vec<u8> = answer.answered().map(|context| context.id).collect();
    assert_eq!(ids, [255, 3, 7, 5, 9, 11, 13, 15, 1]);
    assert_eq!(results(&answer), [4, 0, 3, 2, 2, 4, 3, 3, 0]);
    let shown: Vec<Uid> = answer
        .answered()
        .map(|context| {
            assert_eq!(context.transfer_syntaxes.len(), 1);
            context.transfer_syntaxes[0].clone()
        })
        .collect();
    assert_eq!(
        shown,
        [
            JPEG, IMPLICIT, IMPLICIT, IMPLICIT, IMPLICIT, IMPLICIT, EXPLICIT, EXPLICIT, EXPLICIT
        ]
    );
    for id in ids {
        assert_eq!(negotiated.by_id(id).unwrap().id, id);
    }
    assert_eq!(negotiated.by_id(2), None);
    assert_eq!(negotiated.by_id(17), None);
}

#[test]
fn transfer_syntax_by_preference() {
    let request = proposal(vec![context(1, CT, &[JPEG, IMPLICIT, EXPLICIT])], usual());
    let ours = [EXPLICIT, IMPLICIT];
    for (transfer_syntaxes, preference, expected) in [
        (&ours[..], Preference::Requestor, IMPLICIT),
        (&ours, Preference::Acceptor, EXPLICIT),
        (&[], Preference::Requestor, JPEG),
        (&[], Preference::Acceptor, JPEG),
    ] {
        let mut supported = serves(CT, transfer_syntaxes);
        supported.preference = preference;
        let policy = AcceptorPolicy::new([supported]);
        assert_eq!(chosen(&request, &policy), [expected], "{preference:?}");
    }
}

#[test]
fn role_matrix() {
    // Proposed (none = no 54H), allowed to the requestor -> result, roles of the requestor.
    type Roles = (bool, bool);
    type Row = (Option<(u8, u8)>, Roles, u8, Roles);
    let none = None;
    let rows: &[Row] = &[
        (none, (true, true), 0, (true, false)),
        (none, (true, false), 0, (true, false)),
        (none, (false, true), 1, (false, false)),
        (Some((1, 0)), (true, true), 0, (true, false)),
        (Some((0, 1)), (true, true), 0, (false, true)),
        (Some((1, 1)), (true, true), 0, (true, true)),
        (Some((1, 1)), (true, false), 0, (true, false)),
        (Some((1, 1)), (false, true), 0, (false, true)),
        (Some((0, 1)), (true, false), 1, (false, false)),
        (Some((1, 0)), (false, true), 1, (false, false)),
        (Some((0, 0)), (true, true), 1, (false, false)),
        (Some((1, 1)), (false, false), 1, (false, false)),
    ];
    for &(offered, allowed, result, roles) in rows {
        let role = offered.map(|(scu, scp)| UserItem::Role {
            sop_class: CT,
            scu,
            scp,
        });
        let request = proposal(ct(), usual().into_iter().chain(role).collect());
        let mut supported = serves(CT, &[IMPLICIT]);
        (supported.scu, supported.scp) = allowed;
        let (answer, acceptor) = accepted(&request, &AcceptorPolicy::new([supported]));
        let row = format!("{offered:?} against {allowed:?}");
        assert_eq!(results(&answer), [result], "{row}");
        let ours = &acceptor.contexts[0];
        assert_eq!((ours.scp, ours.scu), roles, "{row}: acceptor");
        let requestor = outcome(&request, &answer).unwrap();
        let theirs = &requestor.contexts[0];
        assert_eq!((theirs.scu, theirs.scp), roles, "{row}: requestor");
        let said: Vec<_> = answer
            .user_items()
            .filter_map(|item| match item {
                UserItem::Role { scu, scp, .. } => Some((*scu == 1, *scp == 1)),
                _ => None,
            })
            .collect();
        let expected = if offered.is_some() && result == 0 {
            vec![roles]
        } else {
            vec![]
        };
        assert_eq!(said, expected, "{row}: 54H only when offered");
    }
}

#[test]
fn roles_are_answered_once_and_only_for_what_was_proposed() {
    let role = |sop_class| UserItem::Role {
        sop_class,
        scu: 1,
        scp: 1,
    };
    let mut user_items = usual();
    user_items.extend([role(CT), role(CT), role(FIND), role(PRIVATE)]);
    let request = proposal(
        vec![context(1, CT, &[IMPLICIT]), context(3, CT, &[EXPLICIT])],
        user_items,
    );
    let (answer, _) = accepted(&request, &policy());
    let roles = answer
        .user_items()
        .filter(|item| matches!(item, UserItem::Role { .. }));
    assert_eq!(roles.count(), 1);
}

#[test]
fn async_window_matrix() {
    // Offered (None = no 53H), ours (invoked, performed) -> answer, ours (invoked, performed).
    type Window = (u16, u16);
    let rows: &[(Option<Window>, Window, Option<Window>, Window)] = &[
        (None, (8, 8), None, (1, 1)),
        (Some((1, 1)), (8, 8), Some((1, 1)), (1, 1)),
        (Some((3, 5)), (8, 8), Some((3, 5)), (5, 3)),
        (Some((30, 50)), (2, 8), Some((8, 2)), (2, 8)),
        (Some((0, 0)), (0, 0), Some((64, 64)), (64, 64)),
        (Some((0, 0)), (2, 100), Some((64, 2)), (2, 64)),
        (Some((65535, 65535)), (0, 16), Some((16, 64)), (64, 16)),
        (Some((7, 0)), (0, 0), Some((7, 64)), (64, 7)),
    ];
    for &(offered, (invoked, performed), said, result) in rows {
        let window =
            offered.map(|(invoked, performed)| UserItem::AsyncWindow { invoked, performed });
        let request = proposal(ct(), usual().into_iter().chain(window).collect());
        let mut policy = policy();
        (policy.max_ops_invoked, policy.max_ops_performed) = (invoked, performed);
        let (answer, negotiated) = accepted(&request, &policy);
        let got = answer.user_items().find_map(|item| match item {
            UserItem::AsyncWindow { invoked, performed } => Some((*invoked, *performed)),
            _ => None,
        });
        assert_eq!(got, said, "{offered:?}");
        assert_eq!(
            (negotiated.invoked, negotiated.performed),
            result,
            "{offered:?}"
        );
    }
}

#[test]
fn requestor_reads_the_window_with_zero_as_infinity() {
    type Window = (u16, u16);
    let rows: &[(Option<Window>, Option<Window>, Window)] = &[
        (None, None, (1, 1)),
        (Some((4, 4)), None, (1, 1)),
        (None, Some((4, 4)), (1, 1)),
        (Some((4, 4)), Some((2, 3)), (2, 3)),
        (Some((4, 4)), Some((9, 0)), (4, 4)),
        (Some((0, 0)), Some((9, 0)), (9, 65535)),
    ];
    for &(asked, said, result) in rows {
        let window = |w: Option<Window>| {
            let item = w.map(|(invoked, performed)| UserItem::AsyncWindow { invoked, performed });
            usual().into_iter().chain(item).collect()
        };
        let request = proposal(ct(), window(asked));
        let answer = proposal(vec![answered(1, 0, &[IMPLICIT])], window(said));
        let got = outcome(&request, &answer).unwrap();
        assert_eq!((got.invoked, got.performed), result, "{asked:?} {said:?}");
    }
}

#[test]
fn unknown_classes_are_stored_only_when_told_so() {
    let common = |service_class, related| UserItem::CommonExtendedNegotiation {
        sop_class: PRIVATE,
        service_class,
        related,
    };
    let storage = Uid::from_static("1.2.840.10008.4.2");
    let new_storage = Uid::from_static("1.2.840.10008.5.1.4.1.1.999");
    let other = Uid::from_static("1.2.840.10008.4.99");
    let contexts = vec![
        context(1, PRIVATE, &[JPEG]),
        context(3, new_storage, &[JPEG]),
        context(5, FIND, &[IMPLICIT]),
        context(7, Uid::from_static("1..2"), &[IMPLICIT]),
    ];
    let nothing = UserItem::MaximumLength(16384);
    for (classes, item, expected) in [
        (None, nothing.clone(), [3, 3, 3, 3]),
        (None, common(storage.clone(), vec![]), [3, 3, 3, 3]),
        (
            Some(UnknownClasses::Announced),
            nothing.clone(),
            [3, 3, 3, 3],
        ),
        (
            Some(UnknownClasses::Announced),
            common(storage, vec![]),
            [0, 3, 3, 3],
        ),
        (
            Some(UnknownClasses::Announced),
            common(other.clone(), vec![CT]),
            [0, 3, 3, 3],
        ),
        (
            Some(UnknownClasses::Announced),
            common(other, vec![FIND]),
            [3, 3, 3, 3],
        ),
        (Some(UnknownClasses::Any), nothing, [0, 0, 3, 3]),
    ] {
        let request = proposal(contexts.clone(), vec![item.clone()]);
        let mut policy = policy();
        policy.unknown_storage = classes.map(|classes| UnknownStorage {
            classes,
            transfer_syntaxes: vec![],
            preference: Preference::Requestor,
        });
        let (answer, _) = accepted(&request, &policy);
        assert_eq!(results(&answer), expected, "{classes:?} {item:?}");
    }
}

#[test]
fn extended_negotiation_is_answered_by_policy_and_never_unasked() {
    let offer = |info: &'static [u8]| UserItem::ExtendedNegotiation {
        sop_class: FIND,
        info: Bytes::from_static(info),
    };
    let mut policy = AcceptorPolicy::new([serves(FIND, &[IMPLICIT]), serves(CT, &[IMPLICIT])]);
    let declared = Bytes::from_static(&[2, 0, 3, 0, 1, 0]);
    policy.extended = [
        (FIND, ExtendedAnswer::Agree(Bytes::from_static(&[1, 0, 1]))),
        (CT, ExtendedAnswer::Declare(declared.clone())),
    ]
    .into();
    let contexts = vec![context(1, FIND, &[IMPLICIT]), context(3, CT, &[IMPLICIT])];
    let ask = |items| {
        let request = proposal(contexts.clone(), items);
        let (answer, acceptor) = accepted(&request, &policy);
        let requestor = outcome(&request, &answer).unwrap();
        assert_eq!(requestor.extended, acceptor.extended);
        requestor.extended
    };
    assert_eq!(ask(usual()), []);
    assert_eq!(ask(vec![offer(&[1])]), [(FIND, Bytes::from_static(&[1]))]);
    assert_eq!(
        ask(vec![offer(&[1, 1, 0, 1, 1]), offer(&[0])]),
        [(FIND, Bytes::from_static(&[1, 0, 0]))]
    );
    let storage = UserItem::ExtendedNegotiation {
        sop_class: CT,
        info: Bytes::from_static(&[3, 0, 0, 0, 2, 0]),
    };
    assert_eq!(ask(vec![storage]), [(CT, declared)]);
}

#[test]
fn identity_is_answered_when_verified_and_asked_for() {
    for (requested, verified, expected) in [
        (true, Some(Secret::default()), Some(Secret::default())),
        (true, None, None),
        (false, Some(Secret::default()), None),
    ] {
        let identity = UserItem::UserIdentityRq {
            identity_type: 2,
            response_requested: requested,
            primary: Secret(Bytes::from_static(b"bob")),
            secondary: Secret(Bytes::from_static(b"pass")),
        };
        let request = proposal(ct(), usual_and(identity));
        let mut policy = policy();
        policy.identity_response = verified;
        let (answer, _) = accepted(&request, &policy);
        let got = outcome(&request, &answer).unwrap().identity_response;
        assert_eq!(got, expected);
    }
}

#[test]
fn whoever_does_not_say_who_it_is_is_rejected_when_told_so() {
    let identity = |identity_type| UserItem::UserIdentityRq {
        identity_type,
        response_requested: false,
        primary: Secret(Bytes::from_static(b"bob")),
        secondary: Secret::default(),
    };
    let mut policy = policy();
    policy.require_identity = true;
    for item in [UserItem::MaximumLength(16384), identity(0), identity(6)] {
        let request = proposal(ct(), vec![item]);
        let (rj, code, _) = rejected(&request, &policy);
        assert_eq!(
            (rj, code),
            (AssociateRj::ACSE_NO_REASON, "no-user-identity")
        );
    }
    for known in 1..=5 {
        accepted(&proposal(ct(), usual_and(identity(known))), &policy);
    }
    policy.refuse_passcode = true;
    for known in [1, 3, 4, 5] {
        accepted(&proposal(ct(), usual_and(identity(known))), &policy);
    }
    let (rj, code, _) = rejected(&proposal(ct(), usual_and(identity(2))), &policy);
    assert_eq!(
        (rj, code),
        (AssociateRj::ACSE_NO_REASON, "passcode-in-clear")
    );
}

#[test]
fn an_answer_too_long_to_be_said_is_a_rejection() {
    let identity = UserItem::UserIdentityRq {
        identity_type: 3,
        response_requested: true,
        primary: Secret(Bytes::from_static(b"ticket")),
        secondary: Secret::default(),
    };
    let request = proposal(ct(), usual_and(identity));
    let mut policy = policy();
    policy.identity_response = Some(Secret(vec![0; 65500].into()));
    assert_eq!(rejected(&request, &policy).1, "answer-too-long");
}

#[test]
fn what_is_negotiated_does_not_keep_the_request_alive() {
    let wire: Bytes = vec![b'1'; 64].into();
    let class = Uid::from_wire(wire.clone());
    let request = proposal(
        vec![
            context(1, class.clone(), &[Uid::from_wire(wire.clone())]),
            context(3, CT, std::slice::from_ref(&class)),
        ],
        vec![UserItem::ImplementationClassUid(class)],
    );
    let mut policy = policy();
    policy.unknown_storage = Some(UnknownStorage {
        classes: UnknownClasses::Any,
        transfer_syntaxes: vec![],
        preference: Preference::Requestor,
    });
    let (answer, negotiated) = accepted(&request, &policy);
    assert!(negotiated.contexts[0].is_accepted());
    drop((request, answer));
    assert!(wire.is_unique(), "{negotiated:?} holds a slice of it");
}
