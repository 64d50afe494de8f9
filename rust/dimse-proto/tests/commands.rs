//! Command sets: golden vectors, the 23 messages against a second transcription of PS3.7, hostile bytes.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

use bytes::Bytes;
use dimse_proto::dataset::Tag;
use dimse_proto::dimse::element::{self, DICTIONARY, Vr};
use dimse_proto::dimse::field::MESSAGES;
use dimse_proto::dimse::{CommandError, CommandField, CommandSet, DataSetUsage, Message, Status};
use dimse_proto::{AeTitle, Uid};
use hex_literal::hex;
use proptest::prelude::*;

const VERIFICATION: Uid = Uid::from_static("1.2.840.10008.1.1");
const SECONDARY_CAPTURE: Uid = Uid::from_static("1.2.840.10008.5.1.4.1.1.7");
const INSTANCE: Uid = Uid::from_static("1.2.3");

fn decode(bytes: &[u8]) -> CommandSet {
    CommandSet::decode(Bytes::copy_from_slice(bytes)).unwrap()
}

fn code(bytes: &[u8]) -> &'static str {
    CommandSet::decode(Bytes::copy_from_slice(bytes))
        .unwrap_err()
        .code
}

#[test]
fn golden_c_echo_rq() {
    let v3 = hex!(
        "0000 0000 04000000 38000000"
        "0000 0200 12000000 312e322e3834302e31303030382e312e3100"
        "0000 0001 02000000 3000  0000 1001 02000000 0100  0000 0008 02000000 0101"
    );
    let made = CommandSet::request(CommandField::C_ECHO_RQ, 1, &VERIFICATION).unwrap();
    assert_eq!(made.encode(), v3[..]);
    let read = decode(&v3);
    assert!(!read.disordered() && !read.group_length_wrong() && !read.has_data_set());
    assert_eq!(read.encode(), v3[..]);
    assert_eq!(read.sop_class(), Some(VERIFICATION));
}

#[test]
fn golden_c_echo_rsp() {
    let v4 = hex!(
        "0000 0000 04000000 42000000"
        "0000 0200 12000000 312e322e3834302e31303030382e312e3100"
        "0000 0001 02000000 3080  0000 2001 02000000 0100  0000 0008 02000000 0101  0000 0009 02000000 0000"
    );
    let request = CommandSet::request(CommandField::C_ECHO_RQ, 1, &VERIFICATION).unwrap();
    let made = CommandSet::response_to(&request, Status::SUCCESS).unwrap();
    assert_eq!(made.encode(), v4[..]);
    assert_eq!(decode(&v4).encode(), v4[..]);
    assert_eq!(decode(&v4).responding_to(), Some(1));
    assert_eq!(decode(&v4).status(), Some(Status::SUCCESS));
}

#[test]
fn golden_c_cancel_rq() {
    let v10 = hex!(
        "0000 0000 04000000 1e000000"
        "0000 0001 02000000 ff0f  0000 2001 02000000 0700  0000 0008 02000000 0101"
    );
    assert_eq!(CommandSet::cancel(7).encode(), v10[..]);
    assert_eq!(decode(&v10), CommandSet::cancel(7));
    assert_eq!(decode(&v10).validate(), Ok(()));
}

#[test]
fn golden_c_store_rq() {
    let v17 = hex!(
        "0000 0000 04000000 58000000"
        "0000 0200 1a000000 312e322e3834302e31303030382e352e312e342e312e312e3700"
        "0000 0001 02000000 0100  0000 1001 02000000 0200  0000 0007 02000000 0000  0000 0008 02000000 0100"
        "0000 0010 06000000 312e322e3300"
    );
    let mut made = CommandSet::request(CommandField::C_STORE_RQ, 2, &SECONDARY_CAPTURE).unwrap();
    made.set_uid(element::AFFECTED_SOP_INSTANCE_UID, &INSTANCE)
        .unwrap();
    let message = Message::new(5, made, Some(Bytes::from_static(b"data"))).unwrap();
    assert_eq!(message.command.encode(), v17[..]);
    assert_eq!(decode(&v17).encode(), v17[..]);
    assert_eq!(decode(&v17).sop_instance(), Some(INSTANCE));
    assert!(decode(&v17).has_data_set());
}

/// PS3.7 9.3 and 10.3, written down apart from the table under test: name, field, M, C and U, data set.
const TRANSCRIPT: &str = "
C-STORE-RQ          0001 | 0002 0110 0700 1000 | 1030 1031                | M
C-STORE-RSP         8001 | 0120 0900           | 0002 1000                | -
C-FIND-RQ           0020 | 0002 0110 0700      |                          | M
C-FIND-RSP          8020 | 0120 0900           | 0002                     | P
C-GET-RQ            0010 | 0002 0110 0700      |                          | M
C-GET-RSP           8010 | 0120 0900           | 0002 1020 1021 1022 1023 | C
C-MOVE-RQ           0021 | 0002 0110 0600 0700 |                          | M
C-MOVE-RSP          8021 | 0120 0900           | 0002 1020 1021 1022 1023 | C
C-ECHO-RQ           0030 | 0002 0110           |                          | -
C-ECHO-RSP          8030 | 0120 0900           | 0002                     | -
C-CANCEL-RQ         0FFF | 0120                |                          | -
N-EVENT-REPORT-RQ   0100 | 0002 0110 1000 1002 |                          | U
N-EVENT-REPORT-RSP  8100 | 0120 0900           | 0002 1000 1002           | C
N-GET-RQ            0110 | 0003 0110 1001      | 1005                     | -
N-GET-RSP           8110 | 0120 0900           | 0002 1000                | C
N-SET-RQ            0120 | 0003 0110 1001      |                          | M
N-SET-RSP           8120 | 0120 0900           | 0002 1000                | U
N-ACTION-RQ         0130 | 0003 0110 1001 1008 |                          | U
N-ACTION-RSP        8130 | 0120 0900           | 0002 1000 1008           | C
N-CREATE-RQ         0140 | 0002 0110           | 1000                     | U
N-CREATE-RSP        8140 | 0120 0900           | 0002 1000                | U
N-DELETE-RQ         0150 | 0003 0110 1001      |                          | -
N-DELETE-RSP        8150 | 0120 0900           | 0002 1000                | -
";

fn numbers(column: &str) -> Vec<u16> {
    column
        .split_whitespace()
        .map(|hex| u16::from_str_radix(hex, 16).unwrap())
        .collect()
}

#[test]
fn every_row_is_as_in_the_standard() {
    let lines: Vec<&str> = TRANSCRIPT.trim().lines().collect();
    assert_eq!(lines.len(), 23);
    assert_eq!(MESSAGES.len(), 23);
    for line in lines {
        let columns: Vec<&str> = line.split('|').map(str::trim).collect();
        let (name, field) = columns[0].split_once(' ').unwrap();
        let field = CommandField(numbers(field)[0]);
        let row = field.row().unwrap();
        let sorted = |list: &[u16]| {
            let mut list = list.to_vec();
            list.sort_unstable();
            list
        };
        assert_eq!(row.name, name);
        assert_eq!(sorted(row.required), numbers(columns[1]), "{name}");
        assert_eq!(sorted(row.optional), numbers(columns[2]), "{name}");
        let usage = match columns[3] {
            "M" => DataSetUsage::Mandatory,
            "U" => DataSetUsage::UserOption,
            "C" => DataSetUsage::Conditional,
            "P" => DataSetUsage::WhenPending,
            _ => DataSetUsage::None,
        };
        assert_eq!(row.data_set, usage, "{name}");
        assert_eq!(field.is_response(), name.ends_with("RSP"));
        assert_eq!(field.is_normalized(), name.starts_with("N-"));
        let response = field.response().and_then(CommandField::name);
        let expected = name.strip_suffix("RQ").filter(|stem| *stem != "C-CANCEL-");
        assert_eq!(
            response,
            expected.map(|stem| format!("{stem}RSP")).as_deref()
        );
    }
}

/// A value the dictionary allows for this element.
fn fill(command: &mut CommandSet, number: u16) {
    match element::entry(number).unwrap().vr {
        Vr::Us => command.set_us(number, 7),
        Vr::Ul => command.set_ul(number, 7),
        Vr::At => command.set_tags(number, &[Tag::PATIENT_ID, Tag::SOP_CLASS_UID]),
        Vr::Ui => command.set_uid(number, &INSTANCE).unwrap(),
        Vr::Ae => command
            .set_ae(number, AeTitle::new("STORE").unwrap())
            .unwrap(),
        _ => command.set_text(number, "odd").unwrap(),
    }
}

#[test]
fn all_messages_survive_the_wire() {
    for row in MESSAGES {
        let mut command = CommandSet::default();
        command.set_us(element::COMMAND_FIELD, row.field.0);
        for number in row.required.iter().chain(row.optional) {
            fill(&mut command, *number);
        }
        if row.field.is_response() {
            command.set_us(element::STATUS, Status::PENDING.0);
        }
        let data = (row.data_set != DataSetUsage::None).then(|| Bytes::from_static(b"data"));
        let message = Message::new(1, command, data).unwrap();
        let wire = message.command.encode();
        let read = decode(&wire);
        assert_eq!(read.encode(), wire, "{}", row.name);
        assert_eq!(read.validate(), Ok(()), "{}", row.name);
        assert_eq!(read.field(), Some(row.field));
        assert_eq!(read.iter().len(), message.command.iter().len());
        assert!(!read.disordered() && !read.group_length_wrong());
    }
}

#[test]
fn no_message_is_sent_without_a_mandatory_element() {
    for row in MESSAGES {
        for missing in row.required.iter().chain(&[element::COMMAND_FIELD]) {
            let mut command = CommandSet::default();
            command.set_us(element::COMMAND_FIELD, row.field.0);
            row.required
                .iter()
                .for_each(|number| fill(&mut command, *number));
            command.set_has_data_set(row.data_set == DataSetUsage::Mandatory);
            if row.field.is_response() {
                command.set_us(element::STATUS, 0);
            }
            assert_eq!(command.check_sendable(), Ok(()), "{}", row.name);
            command.remove(*missing).unwrap();
            assert!(
                command.check_sendable().is_err(),
                "{} {missing:04X}",
                row.name
            );
        }
    }
}

#[test]
fn requests_name_the_class_where_the_message_has_it() {
    let set = CommandSet::request(CommandField::N_SET_RQ, 3, &VERIFICATION).unwrap();
    assert_eq!(
        set.uid(element::REQUESTED_SOP_CLASS_UID),
        Some(VERIFICATION)
    );
    assert_eq!(set.uid(element::AFFECTED_SOP_CLASS_UID), None);
    assert_eq!(set.us(element::PRIORITY), None);
    for not_a_request in [
        CommandField::C_CANCEL_RQ,
        CommandField::C_ECHO_RSP,
        CommandField(0x42),
    ] {
        assert!(CommandSet::request(not_a_request, 1, &VERIFICATION).is_err());
    }
    assert!(CommandSet::request(CommandField::C_ECHO_RQ, 1, &Uid::from_static("x")).is_err());
}

#[test]
fn responses_copy_what_they_may() {
    let mut request = CommandSet::request(CommandField::N_ACTION_RQ, 9, &VERIFICATION).unwrap();
    request
        .set_uid(element::REQUESTED_SOP_INSTANCE_UID, &INSTANCE)
        .unwrap();
    request.set_us(element::ACTION_TYPE_ID, 4);
    let response = CommandSet::response_to(&request, Status::SUCCESS).unwrap();
    assert_eq!(
        response.uid(element::AFFECTED_SOP_CLASS_UID),
        Some(VERIFICATION)
    );
    assert_eq!(
        response.uid(element::AFFECTED_SOP_INSTANCE_UID),
        Some(INSTANCE)
    );
    assert_eq!(response.us(element::ACTION_TYPE_ID), Some(4));
    assert_eq!(response.check_sendable(), Ok(()));

    let mut find = CommandSet::request(CommandField::C_FIND_RQ, 9, &VERIFICATION).unwrap();
    find.set_uid(element::AFFECTED_SOP_INSTANCE_UID, &INSTANCE)
        .unwrap();
    let response = CommandSet::response_to(&find, Status::SUCCESS).unwrap();
    assert_eq!(response.sop_instance(), None);
    assert!(CommandSet::response_to(&response, Status::SUCCESS).is_err());
    assert!(CommandSet::response_to(&CommandSet::cancel(1), Status::SUCCESS).is_err());
}

#[test]
fn an_instance_that_was_not_created_is_not_named() {
    let mut create = CommandSet::request(CommandField::N_CREATE_RQ, 1, &VERIFICATION).unwrap();
    create
        .set_uid(element::AFFECTED_SOP_INSTANCE_UID, &INSTANCE)
        .unwrap();
    let named = |status| {
        CommandSet::response_to(&create, status)
            .unwrap()
            .sop_instance()
    };
    assert_eq!(named(Status::SUCCESS), Some(INSTANCE));
    assert_eq!(named(Status::DUPLICATE_SOP_INSTANCE), None);
}

#[test]
fn hostile_identifiers_are_not_echoed() {
    let request = decode(&hex!(
        "0000 0200 04000000 2e2e2f78  0000 0001 02000000 0100  0000 1001 02000000 0100"
        "0000 0007 02000000 0000  0000 0008 02000000 0100  0000 0010 02000000 2e2e"
    ));
    assert_eq!(request.validate(), Ok(()));
    let response = CommandSet::response_to(&request, Status::INVALID_SOP_INSTANCE).unwrap();
    assert_eq!(
        (response.sop_class(), response.sop_instance()),
        (None, None)
    );
    assert_eq!(response.check_sendable(), Ok(()));
}

#[test]
fn requested_and_affected_stand_in_for_each_other() {
    // E2-2: N-GET-RQ with the Affected elements.
    let get = decode(&hex!(
        "0000 0200 02000000 3100  0000 0001 02000000 1001  0000 1001 02000000 0100"
        "0000 0008 02000000 0101  0000 0010 02000000 3200"
    ));
    assert_eq!(get.validate(), Ok(()));
    assert_eq!(get.sop_class(), Some(Uid::from_static("1")));
    assert_eq!(get.sop_instance(), Some(Uid::from_static("2")));
}

#[test]
fn harmless_irregularities_are_let_through_and_remembered() {
    let id = hex!("0000 1001 02000000 0100");
    let field = hex!("0000 0001 02000000 3000");
    let length = hex!("0000 0000 04000000 14000000");
    let swapped = decode(&[&length[..], &id, &field].concat());
    assert!(swapped.disordered());
    assert_eq!(swapped.field(), Some(CommandField::C_ECHO_RQ));
    assert!(!decode(&[&field[..], &id].concat()).disordered());
    for wrong in [
        [&field[..], &id].concat(),
        [&length[..], &field].concat(),
        [&hex!("0000 0000 04000000 FFFFFFFF")[..], &field, &id].concat(),
        [&hex!("0000 0000 00000000")[..], &field, &id].concat(),
        [&field[..], &length, &id].concat(),
    ] {
        assert!(decode(&wrong).group_length_wrong(), "{wrong:02x?}");
    }
    // Retired and unknown elements are kept and mean nothing.
    let odd = decode(&hex!(
        "0000 0100 02000000 0000  0000 0400 03000000 414243  0000 5008 00000000"
    ));
    assert_eq!(
        odd.iter().map(|(element, _)| element).collect::<Vec<_>>(),
        [0x0001, 0x0004, 0x0850]
    );
}

#[test]
fn rejects_what_two_readers_would_read_differently() {
    let cases: [(&str, &[u8]); 14] = [
        ("truncated", &hex!("0000 0001 0200")),
        ("truncated", &hex!("0000 0001 02000000 30")),
        ("truncated", &hex!("0000 0001 FEFFFFFF 3000")),
        // D01: explicit VR, big endian.
        ("truncated", &hex!("0000 0000 554C 0400 38000000")),
        ("truncated", &hex!("0000 0000 00000004 00000038")),
        ("command-undefined-length", &hex!("0000 0001 FFFFFFFF")),
        (
            "command-duplicate",
            &hex!("0000 0001 02000000 3000 0000 0001 02000000 3000"),
        ),
        (
            "command-duplicate",
            &hex!("0000 0001 02000000 3000 0000 1001 02000000 0100 0000 0001 02000000 0100"),
        ),
        // D05: US of 0, 1, 3 and 4 bytes, half a tag.
        ("command-value-length", &hex!("0000 0001 00000000")),
        ("command-value-length", &hex!("0000 0001 01000000 30")),
        ("command-value-length", &hex!("0000 0001 03000000 300000")),
        // An N-GET-RQ with half a tag, a C-GET-RSP with a status and with a counter that are none.
        (
            "command-value-length",
            &hex!("0000 0001 02000000 1001  0000 0510 06000000 080016000800"),
        ),
        (
            "command-value-length",
            &hex!("0000 0001 02000000 1080  0000 0009 00000000"),
        ),
        (
            "command-value-length",
            &hex!("0000 0001 02000000 1080  0000 2110 01000000 05"),
        ),
    ];
    for (expected, bytes) in cases {
        assert_eq!(code(bytes), expected, "{bytes:02x?}");
    }
}

/// A C-GET-RSP of a failure, with two counters, and with `more` behind.
fn failed_get(more: &[u8]) -> CommandSet {
    let failed = hex!(
        "0000 0001 02000000 1080  0000 2001 02000000 0700  0000 0008 02000000 0101"
        "0000 0009 02000000 00C0  0000 2110 02000000 0300  0000 2210 02000000 0100"
    );
    decode(&[&failed[..], more].concat())
}

#[test]
fn a_status_is_not_lost_for_what_nobody_needs() {
    let plain = failed_get(&[]);
    assert_eq!(plain.passed_over(), None);
    for (more, shown) in [
        // DCMTK's status detail inside the command set.
        (&hex!("0800 5800 04000000 312E3200")[..], "(0008,0058)"),
        (
            &hex!("0800 5800 04000000 312E3200 0900 0000 00000000"),
            "(0008,0058) and 1 more",
        ),
        // Unknown, retired; a comment and an offending element that are none; an ID of one byte; all of it twice.
        (&hex!("0000 0477 04000000 77686174"), "(0000,7704)"),
        (&hex!("0000 5008 01000000 00"), "(0000,0850)"),
        (&hex!("0000 0109 03000000 080016"), "(0000,0901)"),
        (&hex!("0000 0309 01000000 00"), "(0000,0903)"),
        (
            &hex!("0000 0209 02000000 6F6B 0000 0209 02000000 6E6F"),
            "(0000,0902)",
        ),
        // A counter without a value, an event type in a C-GET-RSP.
        (&hex!("0000 2310 00000000"), "(0000,1023)"),
        (&hex!("0000 0210 03000000 000000"), "(0000,1002)"),
        (
            &hex!("0000 0000 04000000 00000000 0000 0000 00000000"),
            "(0000,0000)",
        ),
    ] {
        let read = failed_get(more);
        assert_eq!(read.validate(), Ok(()), "{more:02x?}");
        assert_eq!(read.status(), Some(Status(0xC000)), "{more:02x?}");
        assert_eq!(read.responding_to(), Some(7), "{more:02x?}");
        assert_eq!(read.us(0x1021), Some(3), "{more:02x?}");
        assert_eq!(read.us(0x1022), Some(1), "{more:02x?}");
        let over = read.passed_over().unwrap();
        assert_eq!(over.to_string(), shown, "{more:02x?}");
        // What was read can be sent on, and says the same.
        let again = decode(&read.encode());
        assert_eq!(again.status(), read.status());
    }
    let commented = failed_get(&hex!("0000 0209 02000000 6F6B 0000 0209 02000000 6E6F"));
    assert_eq!(commented.text(element::ERROR_COMMENT).unwrap(), "ok");
}

#[test]
fn of_several_values_the_first_is_taken() {
    let several = decode(&hex!(
        "0000 0200 08000000 312E325C312E3300  0000 0001 04000000 10801080  0000 2001 06000000 070008000900"
        "0000 0008 04000000 01010000  0000 0009 04000000 00C00000  0000 2110 04000000 03000400"
    ));
    assert_eq!(several.validate(), Ok(()));
    assert_eq!(several.sop_class(), Some(Uid::from_static("1.2")));
    assert_eq!(several.field(), Some(CommandField::C_GET_RSP));
    assert_eq!(several.responding_to(), Some(7));
    assert!(!several.has_data_set());
    assert_eq!(several.status(), Some(Status(0xC000)));
    assert_eq!(several.us(0x1021), Some(3));
    assert_eq!(several.passed_over().unwrap().count, 6);
    let moved = decode(&hex!(
        "0000 0001 02000000 2100  0000 0006 04000000 415C4220"
    ));
    assert_eq!(moved.ae(element::MOVE_DESTINATION), AeTitle::new("A").ok());
    // A list of attributes is no list of values that one could be taken from.
    let get = decode(&hex!(
        "0000 0001 02000000 1001  0000 0510 08000000 08001600 08001800"
    ));
    assert_eq!(
        get.tags(element::ATTRIBUTE_IDENTIFIER_LIST).unwrap().len(),
        2
    );
    assert_eq!(get.passed_over(), None);
}

#[test]
fn every_element_is_checked_where_its_message_defines_it_and_nowhere_else() {
    for row in MESSAGES {
        for entry in DICTIONARY.iter().filter(|entry| entry.vr == Vr::Us) {
            let dispatched = match entry.element {
                element::COMMAND_FIELD => continue,
                element::COMMAND_DATA_SET_TYPE => true,
                element::STATUS => row.field.is_response(),
                _ => false,
            };
            let [f0, f1] = row.field.0.to_le_bytes();
            let [e0, e1] = entry.element.to_le_bytes();
            let command = [0, 0, 0, 1, 2, 0, 0, 0, f0, f1, 0, 0, e0, e1, 1, 0, 0, 0, 9];
            let read = CommandSet::decode(Bytes::copy_from_slice(&command));
            let defined = dispatched || row.allows(entry.element);
            assert_eq!(read.is_err(), defined, "{} {}", row.name, entry.keyword);
        }
    }
}

#[test]
fn what_cannot_be_dispatched_says_what_it_deserves() {
    let unusable = |element| (CommandError::Unusable { element }, None);
    let missing = |field, element, status| (CommandError::Missing { field, element }, Some(status));
    let echo = hex!("0000 0001 02000000 3000");
    let store = hex!("0000 0001 02000000 0100");
    let delete = hex!("0000 0001 02000000 5001");
    let action = hex!("0000 0001 02000000 3001");
    let id = hex!("0000 1001 02000000 0100");
    let none = hex!("0000 0008 02000000 0101");
    let class = hex!("0000 0200 02000000 3100");
    let empty_class = hex!("0000 0200 00000000");
    let instance = hex!("0000 0010 02000000 3100");
    let unknown = hex!("0000 0001 02000000 3412");
    let unknown_response = hex!("0000 0001 02000000 3492");
    let respond = hex!("0000 2001 02000000 0100");
    let status = hex!("0000 0009 02000000 0000");
    let find_response = hex!("0000 0001 02000000 2080");
    let cases: [(&[&[u8]], _); 13] = [
        (&[], unusable(element::COMMAND_FIELD)),
        (&[&id, &none], unusable(element::COMMAND_FIELD)),
        (&[&class, &echo, &none], unusable(element::MESSAGE_ID)),
        (
            &[&class, &echo, &id],
            unusable(element::COMMAND_DATA_SET_TYPE),
        ),
        (
            &[&find_response, &respond, &none],
            unusable(element::STATUS),
        ),
        (
            &[&find_response, &none, &status],
            unusable(element::MESSAGE_ID_BEING_RESPONDED_TO),
        ),
        (
            &[&echo, &id, &none],
            missing(
                CommandField::C_ECHO_RQ,
                element::AFFECTED_SOP_CLASS_UID,
                Status::SOP_CLASS_NOT_SUPPORTED,
            ),
        ),
        (
            &[&empty_class, &echo, &id, &none],
            missing(
                CommandField::C_ECHO_RQ,
                element::AFFECTED_SOP_CLASS_UID,
                Status::SOP_CLASS_NOT_SUPPORTED,
            ),
        ),
        (
            &[&delete, &id, &none],
            missing(
                CommandField::N_DELETE_RQ,
                element::REQUESTED_SOP_CLASS_UID,
                Status::NO_SUCH_SOP_CLASS,
            ),
        ),
        (
            &[&class, &store, &id, &none],
            missing(
                CommandField::C_STORE_RQ,
                element::AFFECTED_SOP_INSTANCE_UID,
                Status::INVALID_SOP_INSTANCE,
            ),
        ),
        (
            &[&class, &action, &id, &none, &instance],
            missing(
                CommandField::N_ACTION_RQ,
                element::ACTION_TYPE_ID,
                Status::MISTYPED_ARGUMENT,
            ),
        ),
        (
            &[&unknown, &id, &none],
            (
                CommandError::UnknownField {
                    field: CommandField(0x1234),
                },
                Some(Status::UNRECOGNIZED_OPERATION),
            ),
        ),
        (
            &[&unknown_response, &respond, &none, &status],
            (
                CommandError::UnknownField {
                    field: CommandField(0x9234),
                },
                None,
            ),
        ),
    ];
    for (elements, (error, answer)) in cases {
        let found = decode(&elements.concat()).validate().unwrap_err();
        assert_eq!((found, found.answer()), (error, answer), "{found}");
    }
    // A missing priority counts as medium: received commands are read leniently.
    assert_eq!(
        decode(&[&class[..], &store, &id, &none, &instance].concat()).validate(),
        Ok(())
    );
}

#[test]
fn a_request_nobody_knows_can_be_answered() {
    let request = decode(&hex!(
        "0000 0001 02000000 3412 0000 1001 02000000 0500 0000 0008 02000000 0101"
    ));
    let response = CommandSet::response_to(&request, Status::UNRECOGNIZED_OPERATION).unwrap();
    let message = Message::new(1, response, None).unwrap();
    assert_eq!(message.command.field(), Some(CommandField(0x9234)));
    assert_eq!(message.command.responding_to(), Some(5));
    let other = CommandSet::response_to(&request, Status::SUCCESS).unwrap();
    assert!(Message::new(1, other, None).is_err());
}

#[test]
fn a_message_has_the_data_set_its_command_announces() {
    let data = || Some(Bytes::from_static(b"data"));
    let echo = CommandSet::request(CommandField::C_ECHO_RQ, 1, &VERIFICATION).unwrap();
    let find = CommandSet::request(CommandField::C_FIND_RQ, 1, &VERIFICATION).unwrap();
    let create = CommandSet::request(CommandField::N_CREATE_RQ, 1, &VERIFICATION).unwrap();
    assert!(Message::new(1, echo.clone(), None).is_ok());
    assert!(Message::new(1, echo.clone(), data()).is_err());
    assert!(Message::new(2, echo, None).is_err());
    assert!(
        Message::new(1, find.clone(), data())
            .unwrap()
            .command
            .has_data_set()
    );
    // A mandatory data set cannot be empty, an optional empty one is not announced.
    assert!(Message::new(1, find.clone(), Some(Bytes::new())).is_err());
    assert!(Message::new(1, find.clone(), None).is_err());
    let empty = Message::new(1, create, Some(Bytes::new())).unwrap();
    assert!(!empty.command.has_data_set());
    assert_eq!(empty.data, None);
    // C-FIND-RSP: a data set if and only if it is pending.
    for (status, data, fits) in [
        (Status::PENDING, data(), true),
        (Status::PENDING_WITH_WARNING, data(), true),
        (Status::PENDING, None, false),
        (Status::SUCCESS, data(), false),
        (Status::SUCCESS, None, true),
    ] {
        let response = CommandSet::response_to(&find, status).unwrap();
        assert_eq!(Message::new(1, response, data).is_ok(), fits, "{status}");
    }
}

#[test]
fn values_the_standard_forbids_are_not_sent() {
    let mut command = CommandSet::cancel(1);
    assert!(
        command
            .set_uid(element::AFFECTED_SOP_CLASS_UID, &Uid::from_static("1..2"))
            .is_err()
    );
    assert!(
        command
            .set_ae(element::MOVE_DESTINATION, AeTitle::from_wire(b"A\\B"))
            .is_err()
    );
    assert!(
        command
            .set_text(element::ERROR_COMMENT, &"x".repeat(65))
            .is_err()
    );
    assert!(
        command
            .set_text(element::ERROR_COMMENT, "caf\u{e9}")
            .is_err()
    );
    assert!(
        command
            .set_text(element::ERROR_COMMENT, "two\nlines")
            .is_err()
    );
    assert!(
        command
            .set_text(element::ERROR_COMMENT, &"x".repeat(64))
            .is_ok()
    );
    assert_eq!(command.check_sendable(), Ok(()));
    // A US where a UID belongs, an unknown element, a retired one.
    for number in [
        element::AFFECTED_SOP_CLASS_UID,
        0x0004,
        element::NUMBER_OF_MATCHES,
    ] {
        let mut command = CommandSet::cancel(1);
        command.set_us(number, 1);
        assert!(command.check_sendable().is_err(), "{number:04X}");
    }
}

#[test]
fn padding_is_stripped_and_added() {
    // A UID padded with a space or two NULs.
    let read = decode(&hex!(
        "0000 0200 04000000 312E3120  0000 0300 04000000 31310000"
        "0000 0006 08000000 2053544F52450000  0000 0209 04000000 6F646420"
    ));
    assert_eq!(
        read.uid(element::AFFECTED_SOP_CLASS_UID),
        Some(Uid::from_static("1.1"))
    );
    assert_eq!(
        read.uid(element::REQUESTED_SOP_CLASS_UID),
        Some(Uid::from_static("11"))
    );
    assert_eq!(
        read.ae(element::MOVE_DESTINATION),
        AeTitle::new("STORE").ok()
    );
    assert_eq!(read.text(element::ERROR_COMMENT).as_deref(), Some("odd"));

    let mut command = CommandSet::default();
    command
        .set_uid(element::AFFECTED_SOP_CLASS_UID, &INSTANCE)
        .unwrap();
    command.set_text(element::MOVE_DESTINATION, "ODD").unwrap();
    let wire = hex!(
        "0000 0000 04000000 1A000000  0000 0200 06000000 312E322E3300  0000 0006 04000000 4F444420"
    );
    assert_eq!(command.encode(), wire[..]);
}

#[test]
fn a_title_too_long_is_none() {
    let mut bytes = hex!("0000 0006 12000000").to_vec();
    bytes.extend(b"EIGHTEEN CHARACTER");
    assert_eq!(decode(&bytes).ae(element::MOVE_DESTINATION), None);
}

#[test]
fn decoded_values_share_the_received_bytes() {
    let bytes = Bytes::from_static(&hex!("0000 0200 04000000 312E3100"));
    let command = CommandSet::decode(bytes.clone()).unwrap();
    let value = command.get(element::AFFECTED_SOP_CLASS_UID).unwrap();
    assert_eq!(value.as_ptr(), bytes[8..].as_ptr());
}

fn arbitrary_command() -> impl Strategy<Value = CommandSet> {
    let known: Vec<&_> = DICTIONARY
        .iter()
        .filter(|entry| !entry.retired && entry.element != 0)
        .collect();
    prop::collection::vec(
        (
            prop::sample::select(known),
            any::<u16>(),
            "[ -\\[\\]-~]{0,64}",
            "[1-9](\\.[0-9]{1,5}){1,9}",
            "[A-Z]{1,16}",
        ),
        0..12,
    )
    .prop_map(|values| {
        let mut command = CommandSet::default();
        for (entry, number, text, uid, title) in values {
            match entry.vr {
                Vr::Us => command.set_us(entry.element, number),
                Vr::At => command.set_tags(entry.element, &[Tag(number, 0), Tag(0, number)]),
                Vr::Ui => command.set_text(entry.element, &uid).unwrap(),
                Vr::Ae => command.set_text(entry.element, &title).unwrap(),
                _ => command.set_text(entry.element, &text).unwrap(),
            }
        }
        command
    })
}

proptest! {
    #[test]
    fn what_is_set_is_what_is_read(command in arbitrary_command()) {
        let wire = command.encode();
        let read = CommandSet::decode(wire.clone()).unwrap();
        prop_assert_eq!(&read, &command);
        prop_assert_eq!(read.encode(), wire);
    }

    #[test]
    fn any_bytes_decode_to_something_stable_or_nothing(
        pieces in prop::collection::vec((0_u16..0x20, 0_u16..4, prop::collection::vec(any::<u8>(), 0..6)), 0..6),
        tail in prop::collection::vec(any::<u8>(), 0..9),
    ) {
        let mut bytes = Vec::new();
        for (element, high, value) in &pieces {
            bytes.extend([0, 0]);
            bytes.extend((element | high << 8).to_le_bytes());
            bytes.extend(u32::try_from(value.len()).unwrap().to_le_bytes());
            bytes.extend(value);
        }
        bytes.extend(tail);
        if let Ok(command) = CommandSet::decode(Bytes::from(bytes)) {
            let _ = command.validate();
            let once = command.encode();
            let again = CommandSet::decode(once.clone()).unwrap();
            prop_assert_eq!(again.encode(), once);
        }
    }
}

#[test]
fn text_of_the_peers_writes_no_lines_into_logs() {
    let wire = hex!("0000 0209 0E000000 6F6B 0A 4F 6B 1B5B33316D C3A9 FF 00");
    let read = decode(&wire);
    assert_eq!(
        read.text(element::ERROR_COMMENT).as_deref(),
        Some("ok\\nOk\\u{1b}[31m\u{e9}\u{fffd}")
    );
}
