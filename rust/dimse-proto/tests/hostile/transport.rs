//! A: what arrives on a fresh transport connection. C25: aborts, whatever they look like.

use dimse_proto::connection::Role;
use dimse_proto::connection::output::PAbortOrigin;
use dimse_proto::ul::State::{Sta1, Sta2, Sta3, Sta6, Sta13};

use super::Case;
use super::support::*;

/// Nothing is allocated for what a header only declares, beyond the answer and its telling.
const LITTLE: usize = 4096;

fn header(pdu_type: u8, length: u32) -> Vec<u8> {
    [&[pdu_type, 0][..], &length.to_be_bytes()].concat()
}

#[test]
fn a03_a_request_of_4_gib_is_refused_on_its_header() {
    Case::new("A03", Sta2, header(1, u32::MAX))
        .aborts(0, 0, "pdu-too-long")
        .holds(LITTLE)
        .check();
}

#[test]
fn a04_a_request_over_the_cap_or_shorter_than_its_fixed_part() {
    Case::new("A04", Sta2, header(1, (1 << 20) + 1))
        .aborts(0, 0, "pdu-too-long")
        .holds(LITTLE)
        .check();
    // One byte less is awaited.
    Case::new("A04", Sta2, header(1, 1 << 20)).holds(0).check();
    for length in 0..68 {
        Case::new("A04", Sta2, header(1, length))
            .aborts(0, 0, "pdu-too-short")
            .check();
    }
}

#[test]
fn a05_any_other_pdu_first() {
    for first in [AC, &rj(1, 1, 1), ECHO_RQ, RELEASE_RQ, RELEASE_RP] {
        Case::new("A05", Sta2, first)
            .aborts(0, 0, "unexpected-pdu")
            .check();
        // Its kind is enough.
        Case::new("A05", Sta2, &first[..6])
            .aborts(0, 0, "unexpected-pdu")
            .check();
    }
    Case::new("A05", Sta2, abort(0, 0)).ends(Sta1, []).check();
}

#[test]
fn a06_a_pdu_of_unknown_type_is_not_awaited() {
    for pdu_type in (0x08..=0xff).chain([0x00]) {
        // A TLS alert: a requestor without TLS has called a port with it, and is to be told so.
        let code = if pdu_type == 0x15 {
            "tls-alert"
        } else {
            "unknown-pdu"
        };
        for length in [0, 4, u32::MAX] {
            for trailing in 0..=5 {
                let wire = [header(pdu_type, length), vec![0xaa; trailing]].concat();
                Case::new("A06", Sta2, wire)
                    .aborts(0, 0, code)
                    .holds(LITTLE)
                    .check();
            }
        }
    }
}

#[test]
fn a07_other_protocols() {
    let hello = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3, 0xde, 0xad];
    let greetings: [&[u8]; 6] = [
        b"GET / HTTP/1.1\r\nHost: pacs\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        &hello,
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x0bMSH|^~\\&|HIS|RIH|EKG|EKG|\x1c\r",
        b"\r\n\r\n\r\n",
    ];
    for greeting in greetings {
        Case::new("A07", Sta2, greeting)
            .aborts(0, 0, "unknown-pdu")
            .check();
    }
}

#[test]
fn a08_segments_do_not_matter() {
    Case::new("A08", Sta2, RQ)
        .ends(Sta6, AC)
        .tells(&["indicate A-ASSOCIATE"])
        .check();
    Case::new("A08", Sta2, [RQ, &abort(0, 0)].concat())
        .answered_by(None)
        .ends(Sta1, [])
        .tells(&["indicate A-ASSOCIATE", "indicate A-ABORT"])
        .check();
    Case::new("A08", Sta6, [ECHO_RQ, ECHO_RQ, &RELEASE_RP[..7]].concat())
        .aborts(2, 2, "unexpected-pdu")
        .tells(&["indicate P-DATA", "indicate P-DATA"])
        .check();
}

#[test]
fn a09_the_end_of_the_stream_comes_after_what_was_sent() {
    for answers in [None, Some(policy())] {
        let mut end = End::reach(Role::Acceptor, Sta2).unwrap();
        let answered = answers.is_some();
        end.answers = answers;
        end.feed(RQ);
        end.closed();
        assert_eq!(end.state(), Sta1);
        assert_eq!(end.sent, if answered { AC } else { &[] });
        assert_eq!(end.told.len(), 2);
        assert_eq!(end.told[1], p_abort(PAbortOrigin::Transport, 0));
    }
}

#[test]
fn a10_a_reset_at_every_byte() {
    let association = [RQ, ECHO_RQ, RELEASE_RQ].concat();
    for at in 0..association.len() {
        let mut end = End::reach(Role::Acceptor, Sta2).unwrap();
        end.answers = Some(policy());
        end.feed_in(association[..at].chunks(1));
        end.closed();
        assert_eq!(end.state(), Sta1, "at {at}");
    }
}

#[test]
fn a13_a_prefix_that_does_not_belong_there() {
    let prefixes: [&[u8]; 4] = [
        b"PROXY TCP4 192.0.2.1 192.0.2.2 35646 104\r\n",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c",
        &[0],
        &[0xff; 7],
    ];
    for prefix in prefixes {
        Case::new("A13", Sta2, [prefix, RQ].concat())
            .aborts(0, 0, "unknown-pdu")
            .check();
    }
}

#[test]
fn b25_a_second_request_while_the_user_decides() {
    Case::new("B25", Sta3, RQ)
        .aborts(2, 2, "unexpected-pdu")
        .check();
    Case::new("B25", Sta2, [RQ, RQ].concat())
        .answered_by(None)
        .aborts(2, 2, "unexpected-pdu")
        .tells(&["indicate A-ASSOCIATE"])
        .check();
}

#[test]
fn c25_an_abort_is_never_answered_with_an_abort() {
    for from in [Sta2, Sta3, Sta6, Sta13] {
        for length in [0, 1, 3, 5, 8, 1024, 1025, u32::MAX] {
            let told: &[_] = match from {
                Sta3 | Sta6 => &["indicate A-P-ABORT"],
                _ => &[],
            };
            let wire = [header(7, length), vec![0; 8]].concat();
            Case::new("C25", from, wire)
                .ends(Sta1, [])
                .tells(told)
                .holds(LITTLE)
                .check();
        }
        for (source, reason) in [(0, 6), (1, 0), (2, 3), (2, 255), (3, 0), (255, 255)] {
            let told: &[_] = match (from, source) {
                (Sta3 | Sta6, 0) => &["indicate A-ABORT"],
                (Sta3 | Sta6, _) => &["indicate A-P-ABORT"],
                _ => &[],
            };
            Case::new("C25", from, abort(source, reason))
                .ends(Sta1, [])
                .tells(told)
                .check();
        }
    }
}
