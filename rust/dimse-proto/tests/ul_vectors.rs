//! Whole PDUs byte for byte, both ways, and what is refused of them.
#![allow(missing_docs, clippy::unwrap_used)]

use bytes::{Bytes, BytesMut};
use dimse_proto::ul::associate::{Associate, Item, PresentationContextAc, PresentationContextRq};
use dimse_proto::ul::data::{self, Pdv};
use dimse_proto::ul::pdu::{Header, Pdu, PduLimits};
use dimse_proto::ul::reason::{Abort, AbortReason, AssociateRj, ContextResult};
use dimse_proto::ul::user_info::{Secret, UserItem};
use dimse_proto::{DecodeError, Uid};
use hex_literal::hex;

const HEADER: &[u8] = &hex!("0001 0000");
const TITLES: &[u8] = b"ANY-SCP         ECHOSCU         ";
const RESERVED: &[u8] = &[0; 32];

fn uid(text: &'static str) -> Uid {
    Uid::from_static(text)
}

fn associate(items: Vec<Item>) -> Associate {
    Associate {
        protocol_version: 1,
        called: *b"ANY-SCP         ",
        calling: *b"ECHOSCU         ",
        reserved: [0; 32],
        items,
    }
}

fn decode(wire: &[u8]) -> Result<Pdu, DecodeError> {
    let (header, body) = wire.split_first_chunk().unwrap();
    let header = Header::read(header);
    header.check(&PduLimits::default())?;
    assert_eq!(header.length as usize, body.len(), "vector of wrong length");
    Pdu::decode(header, Bytes::copy_from_slice(body))
}

#[track_caller]
fn both_ways(wire: &[u8], pdu: &Pdu) {
    assert_eq!(decode(wire).as_ref(), Ok(pdu));
    assert_eq!(&pdu.encode()[..], wire);
}

/// Wraps a variable part in an A-ASSOCIATE-RQ with the fixed fields of the vectors.
fn request(items: &[u8]) -> Vec<u8> {
    let body = [HEADER, TITLES, RESERVED, items].concat();
    let mut wire = vec![1, 0];
    wire.extend(u32::try_from(body.len()).unwrap().to_be_bytes());
    wire.extend(body);
    wire
}

fn user_information(sub_items: &[u8]) -> Vec<u8> {
    let mut item = vec![0x50, 0];
    item.extend(u16::try_from(sub_items.len()).unwrap().to_be_bytes());
    item.extend(sub_items);
    request(&item)
}

#[track_caller]
fn user_item_both_ways(wire: &[u8], item: UserItem) {
    let pdu = Pdu::AssociateRq(associate(vec![Item::UserInformation(vec![item])]));
    both_ways(&user_information(wire), &pdu);
}

fn echo_user_information() -> Item {
    Item::UserInformation(vec![
        UserItem::MaximumLength(16384),
        UserItem::ImplementationClassUid(uid("1.2.3.4")),
        UserItem::ImplementationVersion(Bytes::from_static(b"DIMSE_RS")),
    ])
}

const APPLICATION_CONTEXT: &[u8] = &hex!("10 00 0015 312e322e3834302e31303030382e332e312e312e31");
const USER_INFORMATION: &[u8] = &hex!(
    "50 00 001f"
    "51 00 0004 00004000"
    "52 00 0007 312e322e332e34"
    "55 00 0008 44494d53455f5253"
);

#[test]
fn v1_associate_rq() {
    let wire = [
        &hex!("01 00 000000b2")[..],
        HEADER,
        TITLES,
        RESERVED,
        APPLICATION_CONTEXT,
        &hex!(
            "20 00 002e 01 000000"
            "30 00 0011 312e322e3834302e31303030382e312e31"
            "40 00 0011 312e322e3834302e31303030382e312e32"
        ),
        USER_INFORMATION,
    ]
    .concat();
    let pdu = Pdu::AssociateRq(associate(vec![
        Item::ApplicationContext(uid("1.2.840.10008.3.1.1.1")),
        Item::PresentationContextRq(PresentationContextRq {
            id: 1,
            abstract_syntaxes: vec![uid("1.2.840.10008.1.1")],
            transfer_syntaxes: vec![uid("1.2.840.10008.1.2")],
        }),
        echo_user_information(),
    ]));
    both_ways(&wire, &pdu);
}

#[test]
fn a_proposal_does_not_hold_the_buffer_it_came_in() {
    let wire = request(APPLICATION_CONTEXT);
    let (header, body) = wire.split_first_chunk().unwrap();
    let header = Header::read(header);
    let body = Bytes::copy_from_slice(body);
    let came_in = body.clone();
    let pdu = Pdu::decode(header, body).unwrap();
    assert!(came_in.is_unique(), "{pdu:?} shares it");
}

#[test]
fn v2_associate_ac() {
    let wire = [
        &hex!("02 00 0000009d")[..],
        HEADER,
        TITLES,
        RESERVED,
        APPLICATION_CONTEXT,
        &hex!(
            "21 00 0019 01 00 00 00"
            "40 00 0011 312e322e3834302e31303030382e312e32"
        ),
        USER_INFORMATION,
    ]
    .concat();
    let pdu = Pdu::AssociateAc(associate(vec![
        Item::ApplicationContext(uid("1.2.840.10008.3.1.1.1")),
        Item::PresentationContextAc(PresentationContextAc {
            id: 1,
            result: ContextResult::ACCEPTANCE,
            transfer_syntaxes: vec![uid("1.2.840.10008.1.2")],
        }),
        echo_user_information(),
    ]));
    both_ways(&wire, &pdu);
}

#[test]
fn v5_to_v9_pdus_of_fixed_length() {
    both_ways(&hex!("05 00 00000004 00000000"), &Pdu::ReleaseRq);
    both_ways(&hex!("06 00 00000004 00000000"), &Pdu::ReleaseRp);
    both_ways(
        &hex!("03 00 00000004 00 01 01 07"),
        &Pdu::AssociateRj(AssociateRj::CALLED_AE),
    );
    both_ways(
        &hex!("07 00 00000004 0000 02 02"),
        &Pdu::Abort(Abort::provider(AbortReason::UNEXPECTED_PDU)),
    );
    both_ways(&hex!("07 00 00000004 0000 00 00"), &Pdu::Abort(Abort::USER));
}

#[test]
fn v11_async_window() {
    user_item_both_ways(
        &hex!("53 00 0004 0003 0000"),
        UserItem::AsyncWindow {
            invoked: 3,
            performed: 0,
        },
    );
}

#[test]
fn v12_role_selection() {
    user_item_both_ways(
        &hex!(
            "54 00 001d"
            "0019 312e322e3834302e31303030382e352e312e342e312e312e32"
            "00 01"
        ),
        UserItem::Role {
            sop_class: uid("1.2.840.10008.5.1.4.1.1.2"),
            scu: 0,
            scp: 1,
        },
    );
}

#[test]
fn v13_extended_negotiation() {
    user_item_both_ways(
        &hex!(
            "56 00 0024"
            "001b 312e322e3834302e31303030382e352e312e342e312e322e322e31"
            "01010001000101"
        ),
        UserItem::ExtendedNegotiation {
            sop_class: uid("1.2.840.10008.5.1.4.1.2.2.1"),
            info: Bytes::from_static(&[1, 1, 0, 1, 0, 1, 1]),
        },
    );
}

#[test]
fn v14_common_extended_negotiation() {
    user_item_both_ways(
        &hex!(
            "57 00 0053"
            "001d 312e322e3834302e31303030382e352e312e342e312e312e38382e3430"
            "0011 312e322e3834302e31303030382e342e32"
            "001f"
            "001d 312e322e3834302e31303030382e352e312e342e312e312e38382e3232"
        ),
        UserItem::CommonExtendedNegotiation {
            sop_class: uid("1.2.840.10008.5.1.4.1.1.88.40"),
            service_class: uid("1.2.840.10008.4.2"),
            related: vec![uid("1.2.840.10008.5.1.4.1.1.88.22")],
        },
    );
}

#[test]
fn v15_v16_user_identity() {
    user_item_both_ways(
        &hex!("58 00 000d 02 01 0003 626f62 0004 70617373"),
        UserItem::UserIdentityRq {
            identity_type: 2,
            response_requested: true,
            primary: Secret(Bytes::from_static(b"bob")),
            secondary: Secret(Bytes::from_static(b"pass")),
        },
    );
    user_item_both_ways(
        &hex!("59 00 0002 0000"),
        UserItem::UserIdentityAc(Secret::default()),
    );
}

#[test]
fn debug_shows_no_identity() {
    let identity = UserItem::UserIdentityRq {
        identity_type: 2,
        response_requested: true,
        primary: Secret(Bytes::from_static(b"bob")),
        secondary: Secret(Bytes::from_static(b"pass")),
    };
    let shown = format!("{identity:?}");
    assert!(
        shown.contains("3 bytes") && shown.contains("4 bytes"),
        "{shown}"
    );
    assert!(!shown.contains("bob") && !shown.contains("pass"), "{shown}");
}

#[test]
fn command_and_data_share_a_pdu() {
    both_ways(
        &hex!("04 00 00000010 00000004 05 03 aabb 00000004 05 02 ccdd"),
        &Pdu::PData(vec![
            Pdv {
                context_id: 5,
                command: true,
                last: true,
                fragment: Bytes::from_static(&[0xaa, 0xbb]),
            },
            Pdv {
                context_id: 5,
                command: false,
                last: true,
                fragment: Bytes::from_static(&[0xcc, 0xdd]),
            },
        ]),
    );
}

#[test]
fn reserved_bits_and_fields_are_not_tested() {
    let Ok(Pdu::PData(pdvs)) = decode(&hex!("04 ff 00000006 00000002 01 fc")) else {
        panic!("an empty fragment is accepted")
    };
    assert!(!pdvs[0].command && !pdvs[0].last && pdvs[0].fragment.is_empty());
    assert_eq!(decode(&hex!("05 ff 00000004 ffffffff")), Ok(Pdu::ReleaseRq));
}

#[test]
fn fragments_are_slices_of_the_pdu() {
    let body = Bytes::from(hex!("00000004 05 03 aabb").to_vec());
    let range = body.as_ptr_range();
    let header = Header {
        pdu_type: 4,
        length: 8,
    };
    let Ok(Pdu::PData(pdvs)) = Pdu::decode(header, body.clone()) else {
        panic!("well formed")
    };
    assert!(range.contains(&pdvs[0].fragment.as_ptr()));
}

#[test]
fn headers_are_judged_before_their_body() {
    let limits = PduLimits {
        associate: 0x0010_0000,
        p_data: 16384,
    };
    let cases: &[(u8, u32, Option<&str>)] = &[
        (0x01, 67, Some("pdu-too-short")),
        (0x01, 68, None),
        (0x01, 0x0010_0000, None),
        (0x01, 0x0010_0001, Some("pdu-too-long")),
        (0x02, u32::MAX, Some("pdu-too-long")),
        (0x03, 3, Some("pdu-length")),
        (0x03, 4, None),
        (0x04, 0, Some("pdu-too-short")),
        (0x04, 5, Some("pdu-too-short")),
        (0x04, 6, None),
        (0x04, 16384, None),
        (0x04, 16385, Some("pdu-too-long")),
        (0x04, u32::MAX, Some("pdu-too-long")),
        (0x05, 0, Some("pdu-length")),
        (0x05, 5, Some("pdu-length")),
        (0x06, 0, Some("pdu-length")),
        (0x07, 0, None),
        (0x07, 5, None),
        (0x07, u32::MAX, Some("pdu-too-long")),
        (0x00, 4, Some("unknown-pdu")),
        (0x08, 0, Some("unknown-pdu")),
        (0x16, u32::MAX, Some("unknown-pdu")),
        (0xff, 4, Some("unknown-pdu")),
    ];
    for &(pdu_type, length, expected) in cases {
        let got = Header { pdu_type, length }.check(&limits);
        assert_eq!(
            got.as_ref().err().map(|error| error.code),
            expected,
            "type {pdu_type:02X}H length {length}"
        );
    }
}

#[test]
fn too_long_p_data_says_the_numbers_and_the_section() {
    let header = Header {
        pdu_type: 4,
        length: 131_078,
    };
    let limits = PduLimits {
        p_data: 16384,
        ..PduLimits::default()
    };
    let error = header.check(&limits).unwrap_err();
    assert_eq!(
        error.what,
        "P-DATA-TF of 131078 bytes exceeds the negotiated maximum 16384"
    );
    assert_eq!(error.section, "PS3.8 D.1");
    assert_eq!(AbortReason::of(&error), AbortReason::INVALID_PDU_PARAMETER);
}

#[test]
fn no_announced_limit_is_still_a_limit() {
    let check = |length| {
        Header {
            pdu_type: 4,
            length,
        }
        .check(&PduLimits::default())
    };
    assert!(check(16 << 20).is_ok());
    assert!(check((16 << 20) + 1).is_err());
}

#[test]
fn an_abort_of_any_length_is_an_abort() {
    for wire in [
        &hex!("07 00 00000000")[..],
        &hex!("07 00 00000003 000003"),
        &hex!("07 00 00000005 0000 03 ff 00"),
    ] {
        assert!(matches!(decode(wire), Ok(Pdu::Abort(_))), "{wire:02x?}");
    }
}

#[test]
fn rejects_malformed_p_data() {
    for (wire, code) in [
        (&hex!("04 00 00000006 00000000 0103")[..], "pdv-too-short"),
        (&hex!("04 00 00000006 00000001 0103"), "pdv-too-short"),
        (&hex!("04 00 00000006 00000003 0103"), "pdv-overrun"),
        (&hex!("04 00 00000006 7fffffff 0103"), "pdv-overrun"),
        (&hex!("04 00 00000006 ffffffff 0103"), "pdv-overrun"),
        (&hex!("04 00 00000007 00000002 0103 00"), "stray-bytes"),
        (&hex!("04 00 00000009 00000002 0103 000000"), "stray-bytes"),
        (
            &hex!("04 00 0000000b 00000002 0103 0000000201"),
            "stray-bytes",
        ),
    ] {
        assert_eq!(decode(wire).unwrap_err().code, code, "{wire:02x?}");
    }
    let header = Header {
        pdu_type: 4,
        length: 0,
    };
    let error = Pdu::decode(header, Bytes::new()).unwrap_err();
    assert_eq!(error.code, "no-pdv");
}

#[test]
fn rejects_items_that_outrun_their_parent_or_leave_strays() {
    for (name, items) in [
        ("item overruns the PDU", &hex!("10 00 0002 31")[..]),
        ("item length FFFFH", &hex!("50 00 ffff")),
        ("one stray byte", &hex!("10 00 0001 31 00")),
        ("three stray bytes", &hex!("10 00 0001 31 000000")),
        (
            "sub-item overruns its item, not the PDU",
            &hex!("20 00 0009 01000000 40 00 0002 31 10 00 0001 31"),
        ),
        ("context without its fixed part", &hex!("20 00 0003 010000")),
        (
            "maximum length of 3 bytes",
            &hex!("50 00 0007 51 00 0003 000000"),
        ),
        (
            "maximum length of 5 bytes",
            &hex!("50 00 0009 51 00 0005 0000000000"),
        ),
        (
            "extended negotiation UID longer than its item",
            &hex!("50 00 0007 56 00 0003 0002 31"),
        ),
        (
            "role UID takes the role bytes",
            &hex!("50 00 0008 54 00 0004 0003 3131"),
        ),
        (
            "related list overruns",
            &hex!("50 00 000a 57 00 0006 0000 0000 0001"),
        ),
        (
            "related UID overruns the list",
            &hex!("50 00 000c 57 00 0008 0000 0000 0002 0001"),
        ),
        (
            "identity without a secondary length",
            &hex!("50 00 0009 58 00 0005 0201 0001 62"),
        ),
    ] {
        let error = decode(&request(items)).expect_err(name);
        assert!(
            ["truncated", "stray-bytes"].contains(&error.code),
            "{name}: {error}"
        );
        assert_eq!(AbortReason::of(&error), AbortReason::INVALID_PDU_PARAMETER);
    }
}

#[test]
fn unknown_items_are_kept_up_to_a_cap_and_never_hurt() {
    let unknown = hex!("99 00 0002 abcd").repeat(100);
    let inside = [
        &hex!("20 00 000f 01000000 77 00 0001 00 30 00 0002 3131")[..],
        &hex!("50 00 000b 5e 00 0000 ff 00 0003 010203"),
        &unknown,
        APPLICATION_CONTEXT,
    ]
    .concat();
    let Ok(Pdu::AssociateRq(rq)) = decode(&request(&inside)) else {
        panic!("well formed")
    };
    assert_eq!(rq.proposed().next().unwrap().abstract_syntaxes.len(), 1);
    assert_eq!(rq.application_contexts().count(), 1);
    assert_eq!(rq.user_items().count(), 2);
    let kept = rq.items.iter().filter(
        |item| matches!(item, Item::Unknown { item_type: 0x99, body } if body[..] == [0xab, 0xcd]),
    );
    assert_eq!(kept.count(), 64);
}

#[test]
fn what_is_kept_of_a_packed_request_is_bounded() {
    let mut context = hex!("20 00 f904 01000000").to_vec();
    context.extend(hex!("40 00 0000").repeat(0xf900 / 4));
    let mut roles = hex!("50 00 fa00").to_vec();
    roles.extend(hex!("54 00 0004 0000 0101").repeat(0xfa00 / 8));
    let mut items = context.repeat(10);
    items.extend(roles);
    items.extend(hex!("20 00 0004 03000000").repeat(300));
    let Ok(Pdu::AssociateRq(rq)) = decode(&request(&items)) else {
        panic!("well formed")
    };
    assert_eq!(rq.proposed().count(), 129);
    assert_eq!(rq.proposed().next().unwrap().transfer_syntaxes.len(), 64);
    assert_eq!(rq.user_items().count(), 128);
}

#[test]
fn padding_of_uids_is_stripped_and_never_sent() {
    let padded = hex!("10 00 0006 312e32 00 20 00");
    let Ok(Pdu::AssociateRq(rq)) = decode(&request(&padded)) else {
        panic!("tolerated")
    };
    assert_eq!(rq.application_contexts().next(), Some(&uid("1.2")));
    let sent = Pdu::AssociateRq(rq).encode();
    assert!(sent.ends_with(&hex!("10 00 0003 312e32")));
}

#[test]
fn largest_fragment_is_even_and_fits() {
    for (max_length, fragment) in [
        (0, Some(131_066)),
        (1, None),
        (7, None),
        (8, Some(2)),
        (9, Some(2)),
        (127, Some(120)),
        (16384, Some(16378)),
        (131_072, Some(131_066)),
        (u32::MAX, Some(131_066)),
    ] {
        assert_eq!(data::max_fragment(max_length), fragment, "{max_length}");
    }
}

#[test]
fn framing_splits_evenly_and_flags_the_last_fragment() {
    let mut out = BytesMut::new();
    data::frame(&mut out, 5, false, &[1, 2, 3, 4, 5, 6], 4);
    data::frame(&mut out, 5, true, &[7, 8], 4);
    data::frame(&mut out, 5, false, &[], 4);
    assert_eq!(
        out[..],
        hex!(
            "04 00 0000000a 00000006 05 00 01020304"
            "04 00 00000008 00000004 05 02 0506"
            "04 00 00000008 00000004 05 03 0708"
        )
    );
}
