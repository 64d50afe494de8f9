//! Two ends of an association, bytes carried between them: the procedures of PS3.8 section 7 as they happen.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

mod support;

use bytes::{Bytes, BytesMut};
use dimse_proto::connection::output::{Indication, Output, PAbortOrigin};
use dimse_proto::connection::{Connection, Role};
use dimse_proto::dimse::{CommandField, CommandSet, Status};
use dimse_proto::ul::State;
use dimse_proto::ul::data::frame;
use dimse_proto::ul::reason::{Abort, AbortReason, AssociateRj, ContextResult};
use dimse_proto::{DecodeError, LocalError};
use support::*;

/// Two ends and the wire between them. Nothing moves but when told to.
struct Pair {
    requestor: End,
    acceptor: End,
    /// Bytes of each end the other has not got yet begin here.
    carried: [usize; 2],
    /// Longest segment.
    chunk: usize,
}

impl Pair {
    /// Both ends with a transport connection, before a byte was carried.
    fn connected(chunk: usize) -> Self {
        let mut requestor = End::new(Role::Requestor);
        let mut acceptor = End::new(Role::Acceptor);
        acceptor.answers = Some(policy());
        requestor.ask(|c| c.associate(request_of(RQ)));
        requestor.connected();
        acceptor.connected();
        Self {
            requestor,
            acceptor,
            carried: [0, 0],
            chunk,
        }
    }

    fn established(chunk: usize) -> Self {
        let mut pair = Self::connected(chunk);
        pair.carry();
        assert_eq!(pair.states(), [State::Sta6; 2]);
        pair
    }

    /// Carries bytes both ways until neither end has more to say, then the end of the stream of who closed.
    fn carry(&mut self) {
        loop {
            let [there, back] = &mut self.carried;
            let there = Self::flow(&self.requestor, &mut self.acceptor, there, self.chunk);
            let back = Self::flow(&self.acceptor, &mut self.requestor, back, self.chunk);
            if !there && !back {
                break;
            }
        }
        match (self.requestor.open, self.acceptor.open) {
            (false, true) => self.acceptor.closed(),
            (true, false) => self.requestor.closed(),
            _ => return,
        };
    }

    /// Whether there was anything to carry.
    fn flow(from: &End, to: &mut End, carried: &mut usize, chunk: usize) -> bool {
        let bytes = from.sent[*carried..].to_vec();
        if to.open {
            to.feed_in(bytes.chunks(chunk));
        }
        *carried = from.sent.len();
        !bytes.is_empty()
    }

    fn states(&self) -> [State; 2] {
        [self.requestor.state(), self.acceptor.state()]
    }

    /// What both ends were told, in the words of the standard.
    fn told(&self) -> [Vec<String>; 2] {
        [&self.requestor, &self.acceptor].map(|end| {
            let outputs = end.told.iter().cloned().map(Output::Indicate);
            outputs.filter_map(|output| effect(&output)).collect()
        })
    }
}

fn framed(end: &End, command: &CommandSet, data: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    let room = end.connection.max_fragment();
    frame(&mut out, 1, true, &command.encode(), room);
    frame(&mut out, 1, false, data, room);
    out.freeze()
}

fn echo() -> CommandSet {
    CommandSet::request(CommandField::C_ECHO_RQ, 1, &VERIFICATION).unwrap()
}

fn p_data_last(end: &End) -> &Indication {
    end.told.last().unwrap()
}

const IDLE: [State; 2] = [State::Sta1; 2];

#[test]
fn associate_echo_release() {
    for chunk in [1, 7, usize::MAX] {
        let mut pair = Pair::established(chunk);
        let request = framed(&pair.requestor, &echo(), b"");
        assert_eq!(request, ECHO_RQ);
        pair.requestor.ask(|c| c.send(request));
        pair.carry();
        let Indication::Command { command, .. } = p_data_last(&pair.acceptor) else {
            panic!("no command")
        };
        let answer = CommandSet::response_to(command, Status::SUCCESS).unwrap();
        let answer = framed(&pair.acceptor, &answer, b"");
        assert_eq!(answer, ECHO_RSP);
        pair.acceptor.ask(|c| c.send(answer));
        pair.carry();
        pair.requestor.ask(Connection::release);
        pair.carry();
        assert_eq!(pair.states(), [State::Sta7, State::Sta8]);
        pair.acceptor.ask(Connection::release_response);
        pair.carry();
        assert_eq!(pair.states(), IDLE);
        assert_eq!(pair.requestor.sent, [RQ, ECHO_RQ, RELEASE_RQ].concat());
        assert_eq!(pair.acceptor.sent, [AC, ECHO_RSP, RELEASE_RP].concat());
        let [requestor, acceptor] = pair.told();
        assert_eq!(
            requestor,
            [
                "confirm A-ASSOCIATE (accept)",
                "indicate P-DATA",
                "confirm A-RELEASE"
            ]
        );
        assert_eq!(
            acceptor,
            [
                "indicate A-ASSOCIATE",
                "indicate P-DATA",
                "indicate A-RELEASE"
            ]
        );
    }
}

#[test]
fn rejection_reaches_the_requestor() {
    let mut pair = Pair::connected(usize::MAX);
    pair.acceptor.answers = None;
    pair.carry();
    assert_eq!(pair.states(), [State::Sta5, State::Sta3]);
    pair.acceptor.ask(|c| c.reject(AssociateRj::LOCAL_LIMIT));
    pair.carry();
    assert_eq!(pair.states(), IDLE);
    assert_eq!(
        pair.requestor.told,
        [Indication::AssociateRejected(AssociateRj::LOCAL_LIMIT)]
    );
    assert_eq!(pair.acceptor.sent, rj(2, 3, 2));
}

#[test]
fn abort_by_the_user_is_told_to_the_other_user() {
    for by_requestor in [true, false] {
        let mut pair = Pair::established(3);
        let [by, other] = if by_requestor {
            [&mut pair.requestor, &mut pair.acceptor]
        } else {
            [&mut pair.acceptor, &mut pair.requestor]
        };
        by.ask(Connection::abort);
        assert_eq!((by.state(), other.state()), (State::Sta13, State::Sta6));
        pair.carry();
        assert_eq!(pair.states(), IDLE);
        let other = if by_requestor {
            &pair.acceptor
        } else {
            &pair.requestor
        };
        assert_eq!(other.told.last(), Some(&Indication::Aborted(Abort::USER)));
    }
}

#[test]
fn abort_by_the_provider_is_told_to_both_users() {
    let mut pair = Pair::established(1);
    pair.acceptor.feed(AC);
    pair.carry();
    assert_eq!(pair.states(), IDLE);
    assert_eq!(
        pair.acceptor.told.last(),
        Some(&p_abort(PAbortOrigin::Local, 2))
    );
    assert_eq!(
        pair.requestor.told.last(),
        Some(&p_abort(PAbortOrigin::Peer, 2))
    );
}

#[test]
fn release_collision_goes_through_sta9_to_sta12() {
    // PS3.8 7.2.2: the requestor answers first, then the acceptor.
    let mut pair = Pair::established(usize::MAX);
    pair.requestor.ask(Connection::release);
    pair.acceptor.ask(Connection::release);
    assert_eq!(pair.states(), [State::Sta7, State::Sta7]);
    pair.carry();
    assert_eq!(pair.states(), [State::Sta9, State::Sta10]);
    assert!(pair.acceptor.connection.release_response().is_err());
    pair.requestor.ask(Connection::release_response);
    assert_eq!(pair.requestor.state(), State::Sta11);
    pair.carry();
    assert_eq!(pair.states(), [State::Sta11, State::Sta12]);
    pair.acceptor.ask(Connection::release_response);
    assert_eq!(pair.acceptor.state(), State::Sta13);
    pair.carry();
    assert_eq!(pair.states(), IDLE);
    let [requestor, acceptor] = pair.told();
    for told in [requestor, acceptor] {
        assert_eq!(told[1..], ["indicate A-RELEASE", "confirm A-RELEASE"]);
    }
}

#[test]
fn data_behind_a_release_request_of_ours_is_delivered() {
    // AR-6 and AR-7, G03: the side that was asked finishes its answers before it agrees.
    let mut pair = Pair::established(usize::MAX);
    pair.requestor.ask(|c| c.send(Bytes::from_static(ECHO_RQ)));
    pair.requestor.ask(Connection::release);
    assert!(matches!(
        pair.requestor.connection.check_send(),
        Err(LocalError::NotInState { .. })
    ));
    pair.carry();
    assert_eq!(pair.states(), [State::Sta7, State::Sta8]);
    pair.acceptor.ask(|c| c.send(Bytes::from_static(ECHO_RSP)));
    pair.carry();
    assert!(matches!(
        p_data_last(&pair.requestor),
        Indication::Command { .. }
    ));
    assert_eq!(pair.states(), [State::Sta7, State::Sta8]);
    pair.acceptor.ask(Connection::release_response);
    assert!(pair.acceptor.connection.check_send().is_err());
    pair.carry();
    assert_eq!(pair.states(), IDLE);
}

#[test]
fn artim_expiry_closes_without_a_word() {
    // Case A01: ARTIM expires in Sta2 and Sta13.
    let mut silent = End::reach(Role::Acceptor, State::Sta2).unwrap();
    silent.feed(&RQ[..100]);
    assert_eq!(silent.expired(), [Output::StopArtim, Output::Close]);
    // G05: a peer that never closes after our A-ABORT.
    let mut deaf = End::reach(Role::Requestor, State::Sta6).unwrap();
    deaf.ask(Connection::abort);
    assert_eq!(deaf.expired(), [Output::StopArtim, Output::Close]);
    for end in [silent, deaf] {
        assert_eq!(end.state(), State::Sta1);
        assert!(!matches!(
            end.told.last(),
            Some(Indication::PAborted { .. } | Indication::Aborted(_))
        ));
    }
}

#[test]
fn a_lost_transport_is_a_provider_abort() {
    // Case A09: what earlier segments brought is indicated first.
    for role in [Role::Requestor, Role::Acceptor] {
        for state in State::ALL {
            let Some(mut end) = End::reach(role, state) else {
                continue;
            };
            let quiet = matches!(state, State::Sta1 | State::Sta2 | State::Sta13);
            let told = end.told.len();
            end.closed();
            assert_eq!(end.state(), State::Sta1);
            let lost = p_abort(PAbortOrigin::Transport, 0);
            let expected: &[_] = if quiet { &[] } else { &[lost] };
            assert_eq!(end.told[told..], *expected, "{state}");
        }
    }
}

#[test]
fn a_pdu_may_be_split_at_every_byte_and_share_its_segment() {
    let script = [RQ, ECHO_RQ, ECHO_RQ, RELEASE_RQ].concat();
    let run = |segments: &[&[u8]]| {
        let mut end = End::reach(Role::Acceptor, State::Sta2).unwrap();
        end.answers = Some(policy());
        // The request stands alone: its answer decides what may follow it.
        let (request, rest) = segments.split_first().unwrap();
        end.feed(request);
        end.feed_in(rest.iter().copied());
        (end.state(), end.sent, end.told)
    };
    let (request, rest) = script.split_at(RQ.len());
    let whole = run(&[request, rest]);
    assert_eq!(whole.0, State::Sta8);
    assert_eq!(whole.1, AC);
    assert_eq!(whole.2.len(), 4);
    for at in 1..rest.len() {
        assert_eq!(run(&[request, &rest[..at], &rest[at..]]), whole, "at {at}");
    }
    for at in 1..request.len() {
        assert_eq!(run(&[&request[..at], &request[at..], rest]), whole);
    }
    assert_eq!(run(&script.chunks(1).collect::<Vec<_>>()), whole);
}

#[test]
fn data_right_behind_the_answer_is_delivered() {
    let mut end = End::reach(Role::Requestor, State::Sta5).unwrap();
    end.feed(&[AC, ECHO_RQ].concat());
    assert_eq!(end.state(), State::Sta6);
    assert!(matches!(
        end.told[..],
        [
            Indication::AssociateAccepted(..),
            Indication::Command { context_id: 1, .. }
        ]
    ));
}

#[test]
fn data_before_the_answer_is_unexpected() {
    for early in [ECHO_RQ, RELEASE_RQ, RQ] {
        let mut end = End::reach(Role::Acceptor, State::Sta2).unwrap();
        end.feed(&[RQ, early].concat());
        assert_eq!(
            (end.state(), &end.sent[..]),
            (State::Sta13, &abort(2, 2)[..])
        );
        // The answer of a user who was still deciding comes too late and harms nothing.
        let late = end.connection.reject(AssociateRj::CALLED_AE);
        assert!(matches!(late, Err(LocalError::NotInState { .. })));
        assert_eq!(end.settle(), []);
    }
}

/// A-ASSOCIATE-AC with these items behind the fixed fields of V2.
fn answered(items: &[Vec<u8>]) -> Vec<u8> {
    pdu(
        2,
        &[&AC[6..74], &AC[74..99], &items.concat(), &AC[128..]].concat(),
    )
}

fn context_ac(id: u8, result: u8, transfer_syntaxes: &[&[u8]]) -> Vec<u8> {
    let syntaxes = transfer_syntaxes.iter().flat_map(|uid| item(0x40, uid));
    let body: Vec<_> = [id, 0, result, 0].into_iter().chain(syntaxes).collect();
    item(0x21, body)
}

#[test]
fn h01_an_answer_that_contradicts_the_proposal() {
    const LE: &[u8] = b"1.2.840.10008.1.2";
    const OTHER: &[u8] = b"1.2.840.10008.1.2.4.50";
    assert_eq!(answered(&[context_ac(1, 0, &[LE])]), AC);
    let unusable: [&[Vec<u8>]; 6] = [
        // Context never proposed, transfer syntax not offered, two, none; answered twice differently.
        &[context_ac(3, 0, &[LE])],
        &[context_ac(1, 0, &[OTHER])],
        &[context_ac(1, 0, &[LE, OTHER])],
        &[context_ac(1, 0, &[])],
        &[context_ac(1, 0, &[LE]), context_ac(1, 3, &[LE])],
        &[context_ac(1, 0, &[LE]), context_ac(1, 0, &[OTHER])],
    ];
    for items in unusable {
        let mut end = End::reach(Role::Requestor, State::Sta5).unwrap();
        end.sent.clear();
        end.feed(&answered(items));
        assert_eq!(end.sent, abort(2, 6), "{items:02x?}");
        assert_eq!(end.state(), State::Sta13);
        assert_eq!(end.told.last(), Some(&p_abort(PAbortOrigin::Local, 6)));
    }
    // An unknown id beside a usable one is ignored.
    let mut end = End::reach(Role::Requestor, State::Sta5).unwrap();
    end.feed(&answered(&[
        context_ac(3, 0, &[LE]),
        context_ac(1, 0, &[LE]),
        context_ac(5, 3, &[]),
    ]));
    assert_eq!(end.state(), State::Sta6);
    let negotiated = end.connection.negotiated().unwrap();
    assert_eq!(negotiated.contexts.len(), 1);
    assert!(negotiated.by_id(1).unwrap().is_accepted());
}

#[test]
fn h02_an_answer_without_an_accepted_context_can_be_released() {
    let mut end = End::reach(Role::Requestor, State::Sta5).unwrap();
    end.feed(&answered(&[context_ac(1, 3, &[])]));
    assert_eq!(end.state(), State::Sta6);
    let context = end.connection.negotiated().unwrap().by_id(1).unwrap();
    assert_eq!(context.result, ContextResult::ABSTRACT_SYNTAX_NOT_SUPPORTED);
    end.ask(Connection::release);
    end.feed(RELEASE_RP);
    assert_eq!(end.state(), State::Sta1);
}

#[test]
fn h03_everything_else_that_can_answer_a_request() {
    let outcome = |wire: &[u8]| {
        let mut end = End::reach(Role::Requestor, State::Sta5).unwrap();
        end.sent.clear();
        end.feed(wire);
        (end.state(), end.sent, end.told.pop())
    };
    // Reserved and undefined values are kept unchanged.
    for values in [(1, 1, 7), (2, 3, 2), (0, 0, 0), (3, 1, 1), (255, 255, 255)] {
        let (result, source, reason) = values;
        let told = Indication::AssociateRejected(AssociateRj::new(result, source, reason));
        let expected = (State::Sta1, vec![], Some(told));
        assert_eq!(outcome(&rj(result, source, reason)), expected);
    }
    let told = Some(Indication::Aborted(Abort::USER));
    assert_eq!(outcome(&abort(0, 0)), (State::Sta1, vec![], told));
    for reason in [0, 1, 2, 3, 6, 255] {
        let told = Some(p_abort(PAbortOrigin::Peer, reason));
        assert_eq!(outcome(&abort(2, reason)), (State::Sta1, vec![], told));
    }
    let faults: [(&[u8], u8); 5] = [
        (b"HTTP/1.1 400 Bad Request", 1),
        (
            &AC[..6].iter().chain(&[0; 157]).copied().collect::<Vec<_>>(),
            6,
        ),
        (RQ, 2),
        (RELEASE_RP, 2),
        (&pdu(3, &[0, 1, 1]), 6),
    ];
    for (wire, reason) in faults {
        let told = Some(p_abort(PAbortOrigin::Local, reason));
        let expected = (State::Sta13, abort(2, reason).to_vec(), told);
        assert_eq!(outcome(wire), expected, "{wire:02x?}");
    }
    // Nothing at all: the timer above this layer asks for an abort.
    let mut end = End::reach(Role::Requestor, State::Sta5).unwrap();
    end.sent.clear();
    end.ask(Connection::abort);
    assert_eq!(
        (end.state(), &end.sent[..]),
        (State::Sta13, &abort(0, 0)[..])
    );
}

#[test]
fn an_abort_while_the_transport_opens_sends_nothing() {
    // In Sta4 an abort sends nothing. A transport connection that opens nevertheless is late.
    let mut end = End::reach(Role::Requestor, State::Sta4).unwrap();
    end.ask(Connection::abort);
    assert_eq!(end.state(), State::Sta1);
    assert_eq!(end.report(Connection::transport_connected), []);
    assert!(end.sent.is_empty());
}

#[test]
fn faults_found_above_are_answered_where_there_is_an_association() {
    let fault = || DecodeError::new("unexpected-response", "nobody asked", 0, "PS3.7 9.1");
    let mut end = End::reach(Role::Acceptor, State::Sta6).unwrap();
    end.sent.clear();
    end.connection.dimse_violation(fault());
    assert_eq!(
        end.settle(),
        [
            Output::Indicate(Indication::Violation(fault())),
            Output::Transmit(Bytes::copy_from_slice(&abort(0, 0))),
            Output::StartArtim
        ]
    );
    // A second one in the same segment, and one whose association is over.
    end.connection.dimse_violation(fault());
    assert_eq!(end.settle(), []);
    for state in [State::Sta1, State::Sta2, State::Sta13] {
        let mut end = End::reach(Role::Acceptor, state).unwrap();
        end.connection.dimse_violation(fault());
        assert_eq!((end.settle(), end.state()), (vec![], state));
    }
    // C22: a message that stalls is the provider's to abort.
    let mut end = End::reach(Role::Acceptor, State::Sta6).unwrap();
    end.sent.clear();
    end.connection
        .provider_violation(fault(), AbortReason::NOT_SPECIFIED);
    end.settle();
    assert_eq!(end.sent, abort(2, 0));
    assert_eq!(end.told.last(), Some(&p_abort(PAbortOrigin::Local, 0)));
}

#[test]
fn discarding_ends_after_a_mebibyte_whatever_it_is_made_of() {
    // Decision 7. 1 MiB of whole PDUs, headers included, of garbage, and of one PDU longer than that.
    let mut long = vec![4, 0, 0, 0, 64, 0];
    long.resize(6 + 0x4000, 0);
    for flood in [RELEASE_RQ, &long[..], &[0xff; 1000]] {
        for whole in [true, false] {
            let mut end = End::reach(Role::Acceptor, State::Sta6).unwrap();
            end.ask(Connection::abort);
            let flood = flood.repeat((1 << 20) / flood.len() + 2);
            let (within, rest) = flood.split_at(1 << 20);
            end.feed_in(within.chunks(4096));
            assert_eq!(end.state(), State::Sta13);
            let rest = if whole {
                rest
            } else {
                &rest[..long.len().min(rest.len())]
            };
            let outputs = end.feed(rest);
            assert_eq!(outputs, [Output::StopArtim, Output::Close]);
            assert!(end.buffer.is_empty());
        }
    }
}

#[test]
fn nothing_of_one_association_reaches_the_next() {
    // Each role's end is used again after an association that ended badly in the middle of a message.
    for role in [Role::Requestor, Role::Acceptor] {
        let mut end = End::reach(role, State::Sta6).unwrap();
        end.feed(&p_data(1, 0x01, b"half a command"));
        assert!(end.connection.mid_message());
        end.feed(&pdu(0x42, &[0; 4]));
        end.feed(&[0xff; 100]);
        end.closed();
        end.sent.clear();
        if role == Role::Requestor {
            end.ask(|c| c.associate(request_of(RQ)));
            assert!(!end.connection.mid_message());
            end.connected();
            end.feed(AC);
        } else {
            end.connected();
            end.feed(RQ);
        }
        end.feed(ECHO_RQ);
        assert_eq!(end.state(), State::Sta6);
        assert!(matches!(p_data_last(&end), Indication::Command { .. }));
        end.sent.clear();
        end.ask(Connection::abort);
        assert_eq!(end.sent, abort(0, 0));
    }
}

#[test]
fn a_release_inside_a_message_of_the_peer_is_refused_in_a_collision_too() {
    for released in [false, true] {
        let mut end = End::reach(Role::Requestor, State::Sta6).unwrap();
        if released {
            end.ask(Connection::release);
        }
        end.feed(&p_data(1, 0x01, b"half a command"));
        end.sent.clear();
        end.feed(RELEASE_RQ);
        assert_eq!(
            (end.state(), &end.sent[..]),
            (State::Sta13, &abort(2, 2)[..])
        );
    }
}
