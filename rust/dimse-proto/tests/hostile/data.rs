//! C: P-DATA and sequence in an established association. G: release and what comes after an abort.

use bytes::BytesMut;
use dimse_proto::connection::output::{Indication, Output};
use dimse_proto::connection::{Config, Connection, Role};
use dimse_proto::ul::State::{Sta1, Sta2, Sta6, Sta7, Sta8, Sta13};

use super::support::*;
use super::{Case, memory};

/// MCH: command or data, last or not.
const COMMAND: u8 = 1;
const LAST_COMMAND: u8 = 3;
const DATA: u8 = 0;
const LAST_DATA: u8 = 2;

const TOLD: &str = "indicate P-DATA";

/// A C-STORE-RQ that announces a data set. That its class is not the context's is for the layer above.
fn store() -> Vec<u8> {
    [
        element(0x0002, b"1.2.840.10008.5.1.4.1.1.7\0"),
        element(0x0100, [1, 0]),
        element(0x0110, [7, 0]),
        element(0x0700, [0, 0]),
        element(0x0800, [1, 0]),
        element(0x1000, b"1.2.3\0"),
    ]
    .concat()
}

/// The echo of V3 without its headers.
fn echo() -> &'static [u8] {
    &ECHO_RQ[12..]
}

fn case(id: &'static str, wire: impl Into<Vec<u8>>) -> Case {
    Case::new(id, Sta6, wire)
}

/// After a whole store command.
fn storing(id: &'static str, wire: impl AsRef<[u8]>) -> Case {
    let command = p_data(1, LAST_COMMAND, store());
    case(id, [&command, wire.as_ref()].concat()).tells(&[TOLD])
}

#[test]
fn c01_c02_and_c06_p_data_of_impossible_length() {
    for length in [16385_u32, 131_072, 0x7fff_ffff, u32::MAX] {
        let wire = [&[4, 0][..], &length.to_be_bytes(), &[0; 40]].concat();
        case("C01", wire)
            .aborts(2, 6, "pdu-too-long")
            .holds(4096)
            .check();
    }
    for length in 0..6 {
        let wire = [4, 0, 0, 0, 0, length, 0, 0, 0, 2, 1, 3];
        case("C02", &wire[..6 + usize::from(length)])
            .aborts(2, 6, "pdu-too-short")
            .check();
    }
    // The maximum itself counts the body alone (PS3.8 D.1).
    let full = p_data(1, COMMAND, vec![0; 16384 - 6]);
    assert_eq!(full.len(), 16390);
    case("C01", full).check();
}

#[test]
fn c03_to_c05_values_that_lie_about_their_length() {
    for length in [0, 1] {
        let wire = pdu(4, &[0, 0, 0, length, 1, 3, 0, 0]);
        case("C03", wire).aborts(2, 6, "pdv-too-short").check();
    }
    for length in [9_u32, 0x7fff_ffff, 0x8000_0000, 0xffff_fffd, u32::MAX] {
        let value = [&length.to_be_bytes()[..], &[1, 3], &[0; 6]].concat();
        case("C04", pdu(4, &value))
            .aborts(2, 6, "pdv-overrun")
            .check();
        // Nothing of a PDU is believed that is not whole.
        case("C04", pdu(4, &[pdv(1, 3, echo()), value].concat()))
            .aborts(2, 6, "pdv-overrun")
            .check();
    }
    for stray in 1..=5 {
        let body = [pdv(1, LAST_COMMAND, echo()), vec![0; stray]].concat();
        case("C05", pdu(4, &body))
            .aborts(2, 6, "stray-bytes")
            .check();
    }
}

#[test]
fn c07_empty_fragments() {
    let empty = |control, count| pdv(1, control, []).repeat(count);
    let command = pdv(1, LAST_COMMAND, echo());
    case(
        "C07",
        pdu(4, &[empty(COMMAND, 64), command.clone()].concat()),
    )
    .tells(&[TOLD])
    .check();
    case("C07", pdu(4, &[empty(COMMAND, 65), command].concat()))
        .aborts(2, 6, "empty-fragments")
        .check();
    let spread = p_data(1, DATA, []).repeat(64);
    let data = p_data(1, DATA, b"data");
    let last = p_data(1, LAST_DATA, []);
    storing("C07", [&spread[..], &data, &spread[..60], &last].concat())
        .tells(&[TOLD, TOLD])
        .check();
    storing("C07", [&spread[..], &last].concat())
        .aborts(2, 6, "empty-fragments")
        .check();
}

#[test]
fn c08_odd_fragments() {
    let (head, tail) = echo().split_at(21);
    let odd = [p_data(1, COMMAND, head), p_data(1, LAST_COMMAND, tail)].concat();
    case("C08", odd.clone()).tells(&[TOLD]).check();
    case("C08", odd)
        .strict()
        .aborts(2, 6, "odd-fragment")
        .check();
}

#[test]
fn c09_contexts_that_were_not_accepted() {
    for id in [0, 2, 3, 254, 255] {
        case("C09", p_data(id, LAST_COMMAND, echo()))
            .aborts(2, 6, "unknown-context")
            .check();
    }
    // The rest of the PDU is not looked at.
    let good = pdv(1, LAST_COMMAND, echo());
    let bad = pdv(3, LAST_COMMAND, echo());
    case("C09", pdu(4, &[good.clone(), bad, good].concat()))
        .tells(&[TOLD])
        .aborts(2, 6, "unknown-context")
        .check();
    // Proposed, and rejected.
    let nonsense = item(0x30, b"1.2.3.4.5");
    let syntax = item(0x40, b"1.2.840.10008.1.2");
    let second = item(0x20, [&[3, 0, 0, 0], &nonsense[..], &syntax].concat());
    let request = pdu(1, &[&RQ[6..149], &second, &RQ[149..]].concat());
    let refused = item(0x21, [&[3, 0, 3, 0], &syntax[..]].concat());
    let answer = pdu(2, &[&AC[6..128], &refused, &AC[128..]].concat());
    let wire = [request, p_data(3, LAST_COMMAND, echo())].concat();
    let mut end = End::reach(Role::Acceptor, Sta2).unwrap();
    end.answers = Some(policy());
    end.feed_in(wire.chunks(1));
    assert_eq!(
        (end.state(), end.sent),
        (Sta13, [&answer[..], &abort(2, 6)].concat())
    );
}

#[test]
fn c10_to_c14_and_c23_fragments_out_of_sequence() {
    // Context 3 is accepted too, so that only the change is wrong.
    let contexts = |result: &[u8], item_type| {
        let syntaxes = if item_type == 0x20 {
            &RQ[107..149]
        } else {
            &AC[107..128]
        };
        item(item_type, [result, syntaxes].concat())
    };
    let request = [&RQ[6..149], &contexts(&[3, 0, 0, 0], 0x20), &RQ[149..]].concat();
    let answer = [&AC[6..128], &contexts(&[3, 0, 0, 0], 0x21), &AC[128..]].concat();
    let change = |first: &[u8], second: &[u8]| {
        let mut end = End::reach(Role::Acceptor, Sta2).unwrap();
        end.answers = Some(policy());
        let wire = [&pdu(1, &request)[..], first, second].concat();
        end.feed_in(wire.chunks(1));
        let expected = [&pdu(2, &answer)[..], &abort(2, 5)].concat();
        assert_eq!((end.state(), end.sent), (Sta13, expected), "C10");
    };
    let (head, tail) = echo().split_at(20);
    change(&p_data(1, COMMAND, head), &p_data(3, LAST_COMMAND, tail));
    change(
        &p_data(1, LAST_COMMAND, store()),
        &p_data(3, LAST_DATA, b"data"),
    );

    for reserved in [0x04, 0x80, 0xfc] {
        case("C11", p_data(1, LAST_COMMAND | reserved, echo()))
            .tells(&[TOLD])
            .check();
    }
    for control in [DATA, LAST_DATA] {
        case("C12", p_data(1, control, b"data"))
            .aborts(2, 5, "data-without-command")
            .check();
    }
    let half = p_data(1, COMMAND, head);
    case("C12", [half, p_data(1, LAST_DATA, b"data")].concat())
        .aborts(2, 5, "data-inside-command")
        .check();
    let command = p_data(1, LAST_COMMAND, store());
    storing("C13", &command)
        .aborts(2, 5, "command-inside-data")
        .check();
    case("C14", [ECHO_RQ, &p_data(1, LAST_DATA, b"data")].concat())
        .aborts(2, 5, "data-without-command")
        .tells(&[TOLD])
        .check();
    storing("C23", [&p_data(1, DATA, b"data")[..], &command].concat())
        .aborts(2, 5, "command-inside-data")
        .tells(&[TOLD])
        .check();
}

#[test]
fn c15_and_c16_other_pdus_inside_a_message() {
    for other in [RQ, AC, &rj(1, 1, 1)] {
        storing("C15", other).aborts(2, 2, "unexpected-pdu").check();
    }
    // DEVIATION from AR-2: a release would lose the message without a word.
    storing("C16", RELEASE_RQ)
        .aborts(2, 2, "release-mid-message")
        .check();
    let half = p_data(1, COMMAND, &echo()[..20]);
    case("C16", [&half[..], RELEASE_RQ].concat())
        .aborts(2, 2, "release-mid-message")
        .check();
    storing(
        "C16",
        [&p_data(1, LAST_DATA, b"data")[..], RELEASE_RQ].concat(),
    )
    .tells(&[TOLD, "indicate A-RELEASE"])
    .ends(Sta8, [])
    .check();
}

#[test]
fn c17_ten_thousand_values_of_one_byte() {
    let values = 10_000;
    let body = pdv(1, DATA, b"x").repeat(values);
    let mut told = vec![TOLD; values];
    told.push(TOLD);
    let mut case = case(
        "C17",
        [p_data(1, LAST_COMMAND, store()), pdu(4, &body)].concat(),
    );
    case.config.max_length = 131_072;
    // Each is a slice to be told of: what that costs must not grow faster than their number.
    case.holds(400 * values).tells(&told).check();

    // An association that is idle again has given it back.
    let mut end = End::reach(Role::Acceptor, Sta6).unwrap();
    end.feed(&p_data(1, LAST_COMMAND, store()));
    let kept = memory::kept(|| {
        let body = pdv(1, DATA, b"x").repeat(2000);
        let mut buffer = BytesMut::from(&pdu(4, &body)[..]);
        end.connection.receive(&mut buffer);
        while end.connection.poll_output().is_some() {}
    });
    assert!(kept <= 4096, "kept {kept} bytes");
}

#[test]
fn c18_messages_in_one_pdu_and_a_message_in_a_million() {
    let three = pdu(4, &pdv(1, LAST_COMMAND, echo()).repeat(3));
    case("C18", three.clone()).tells(&[TOLD; 3]).check();
    case("C18", three)
        .strict()
        .aborts(2, 5, "pdu-of-two-messages")
        .tells(&[TOLD])
        .check();
    case("C18", ECHO_RQ.repeat(3))
        .strict()
        .tells(&[TOLD; 3])
        .check();

    let mut end = End::reach(Role::Acceptor, Sta6).unwrap();
    end.feed(&p_data(1, LAST_COMMAND, store()));
    let thousand = p_data(1, DATA, b"ab").repeat(1000);
    let mut fragments = 0;
    for _ in 0..1000 {
        end.buffer.extend_from_slice(&thousand);
        let held = memory::peak(|| end.connection.receive(&mut end.buffer));
        assert!(held < 512 * 1000, "held {held} bytes");
        fragments += end.settle().len();
        end.told.clear();
    }
    end.feed(&p_data(1, LAST_DATA, b"ab"));
    assert_eq!((fragments, end.state()), (1_000_000, Sta6));
    assert!(!end.connection.mid_message());
}

#[test]
fn c19_a_command_that_never_ends() {
    let part = p_data(1, COMMAND, vec![0; 16_000]);
    // 64 KiB are 4.096 of these.
    case("C19", part.repeat(4)).holds(200_000).check();
    case("C19", part.repeat(5))
        .aborts(0, 0, "command-too-long")
        .holds(200_000)
        .check();
    // What follows is not kept.
    case("C19", part.repeat(60))
        .aborts(0, 0, "command-too-long")
        .holds(200_000)
        .check();
}

#[test]
fn c26_and_c27_releases_that_are_none() {
    for pdu_type in [5, 6] {
        for length in [0_u8, 3, 5, 255] {
            let wire = [&[pdu_type, 0, 0, 0, 0, length][..], &[0; 5]].concat();
            case("C26", wire).aborts(2, 6, "pdu-length").check();
        }
    }
    case("C27", RELEASE_RP)
        .aborts(2, 2, "unexpected-pdu")
        .check();
}

#[test]
fn g03_data_around_a_release() {
    Case::new("G03", Sta7, ECHO_RQ).tells(&[TOLD]).check();
    Case::new("G03", Sta8, ECHO_RQ)
        .aborts(2, 2, "unexpected-pdu")
        .check();
}

#[test]
fn g04_a_flood_after_the_end_is_not_answered_in_kind() {
    // 1,000 requests are 184 KB, garbage goes on to the limit of 1 MiB.
    let floods: [&[u8]; 4] = [
        &RQ.repeat(1000),
        &vec![0xff; 1 << 20],
        &ECHO_RQ.repeat(1000),
        &[RELEASE_RQ, RELEASE_RP, AC, &rj(1, 1, 1)]
            .concat()
            .repeat(100),
    ];
    for (index, flood) in floods.iter().enumerate() {
        for aborted in [true, false] {
            let mut end = End::reach(Role::Acceptor, if aborted { Sta6 } else { Sta13 }).unwrap();
            if aborted {
                end.ask(Connection::abort);
            }
            end.sent.clear();
            for segment in flood.chunks(1000) {
                end.buffer.extend_from_slice(segment);
                let held = memory::peak(|| end.connection.receive(&mut end.buffer));
                assert!(held < 4096, "held {held} bytes");
                let outputs = end.settle();
                // Not told to anybody, and above all: ARTIM goes on.
                assert!(outputs.iter().all(|o| matches!(o, Output::Transmit(_))));
            }
            assert_eq!(end.state(), Sta13);
            // AA-7 answers an A-ASSOCIATE-RQ and garbage, AA-6 ignores the rest.
            let answer: &[_] = match (aborted, index) {
                (false, 0) => &abort(2, 2),
                (false, 1) => &abort(2, 1),
                _ => &[],
            };
            assert_eq!(end.sent, answer);
            end.expired();
            assert_eq!(end.state(), Sta1);
        }
    }
}

#[test]
fn a_maximum_of_zero_announces_no_limit_and_has_one() {
    let mut end = End::reach_with(
        Role::Acceptor,
        Sta6,
        Config {
            max_length: 0,
            ..config()
        },
    )
    .unwrap();
    let mut buffer = BytesMut::from(&[4, 0, 1, 0, 0, 0][..]);
    end.connection.receive(&mut buffer);
    assert_eq!((end.settle(), end.state()), (vec![], Sta6));
    buffer[5] = 1;
    end.connection.receive(&mut buffer);
    let outputs = end.settle();
    assert!(
        matches!(&outputs[0], Output::Indicate(Indication::Violation(error)) if error.code == "pdu-too-long")
    );
}
