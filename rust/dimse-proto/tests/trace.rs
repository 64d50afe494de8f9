//! What an onlooker is told, and that the outputs are the same whether anybody looks on or not.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::panic
)]

mod support;

use bytes::{Bytes, BytesMut};
use dimse_proto::connection::output::{Indication, Output};
use dimse_proto::connection::trace::{Detail, Seen, Step, Trace};
use dimse_proto::connection::{Config, Connection};
use dimse_proto::dimse::{CommandField, CommandSet};
use dimse_proto::ul::State;
use dimse_proto::ul::data::frame;
use dimse_proto::ul::fsm::{Action, Event};
use dimse_proto::ul::negotiate::{self, Verdict};
use dimse_proto::ul::pdu::Pdu;
use support::*;

/// A trace as a line.
fn line(trace: &Trace) -> String {
    let seen = |arrow, seen: &Seen| {
        let Seen { header, pdu } = seen;
        let known = if pdu.is_some() { "" } else { "?" };
        format!("{arrow} {}{known} {}", header.type_name(), header.length)
    };
    match trace {
        Trace::Received(pdu) => seen(">>", pdu),
        Trace::Sent(pdu) => seen("<<", pdu),
        Trace::Step(step) => step.to_string(),
    }
}

/// All that an end tells and wants, in order; bytes to be written are appended to `wire`.
fn drain(end: &mut Connection, wire: &mut BytesMut) -> Vec<String> {
    let mut lines = Vec::new();
    loop {
        while let Some(trace) = end.poll_trace() {
            lines.push(line(&trace));
        }
        match end.poll_output() {
            None => return lines,
            Some(Output::Transmit(bytes)) => wire.extend_from_slice(&bytes),
            Some(Output::Indicate(Indication::AssociateRequested(request))) => {
                lines.push("indicate".to_owned());
                let Verdict::Accept { answer, negotiated } = negotiate::answer(&request, &policy())
                else {
                    panic!("it is accepted")
                };
                end.accept(answer, *negotiated).unwrap();
            }
            Some(Output::Indicate(_)) => lines.push("indicate".to_owned()),
            Some(_) => {}
        }
    }
}

/// Two ends, bytes between them, and what each tells.
struct Scene {
    ends: [Connection; 2],
    wires: [BytesMut; 2],
    lines: [Vec<String>; 2],
}

impl Scene {
    fn new(detail: Detail) -> Self {
        let config = Config::default();
        let mut ends = [Connection::requestor(config), Connection::acceptor(config)];
        for end in &mut ends {
            end.trace(detail);
        }
        ends[0].associate(request_of(RQ)).unwrap();
        ends[0].transport_connected();
        ends[1].transport_connected();
        let mut scene = Self {
            ends,
            wires: Default::default(),
            lines: Default::default(),
        };
        scene.carry();
        scene
    }

    fn carry(&mut self) {
        for turn in [0, 1, 0, 1, 0, 1] {
            self.lines[turn].extend(drain(&mut self.ends[turn], &mut self.wires[turn]));
            let mut bytes = self.wires[turn].split();
            self.ends[1 - turn].receive(&mut bytes);
        }
    }

    fn take(&mut self) -> [Vec<String>; 2] {
        std::mem::take(&mut self.lines)
    }
}

fn echo(max_fragment: usize) -> Bytes {
    let class = dimse_proto::Uid::new("1.2.840.10008.1.1").unwrap();
    let command = CommandSet::request(CommandField::C_ECHO_RQ, 1, &class).unwrap();
    let mut out = BytesMut::new();
    frame(&mut out, 1, true, &command.encode(), max_fragment);
    out.freeze()
}

#[test]
fn an_association_is_told_as_the_standard_names_it() {
    let mut scene = Scene::new(Detail::Signals);
    scene.ends[0].send(echo(1 << 14)).unwrap();
    scene.carry();
    scene.ends[0].release().unwrap();
    scene.carry();
    scene.ends[1].release_response().unwrap();
    scene.carry();
    let rq = scene.lines[1][1].clone();
    let ac = scene.lines[0][3].clone();
    assert!(rq.starts_with(">> A-ASSOCIATE-RQ "), "{rq}");
    assert!(ac.starts_with(">> A-ASSOCIATE-AC "), "{ac}");
    assert_eq!(
        scene.take(),
        [
            vec![
                "Sta1 + Evt1 -> AE-1 -> Sta4",
                "Sta4 + Evt2 -> AE-2 -> Sta5",
                &rq.replace(">>", "<<"),
                // What was sent is told before what came back.
                &ac,
                "Sta5 + Evt3 -> AE-3 -> Sta6",
                "indicate",
                "Sta6 + Evt11 -> AR-1 -> Sta7",
                "<< A-RELEASE-RQ 4",
                ">> A-RELEASE-RP 4",
                "Sta7 + Evt13 -> AR-3 -> Sta1",
                "indicate",
            ]
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>(),
            vec![
                "Sta1 + Evt5 -> AE-5 -> Sta2",
                &rq,
                "Sta2 + Evt6 -> AE-6 -> Sta3",
                "indicate",
                "Sta3 + Evt7 -> AE-7 -> Sta6",
                &ac.replace(">>", "<<"),
                "indicate",
                ">> A-RELEASE-RQ 4",
                "Sta6 + Evt12 -> AR-2 -> Sta8",
                "indicate",
                "Sta8 + Evt14 -> AR-4 -> Sta13",
                "<< A-RELEASE-RP 4",
            ]
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>(),
        ]
    );
}

#[test]
fn data_is_told_pdu_by_pdu_however_it_is_cut() {
    let whole = echo(40);
    for cut in [whole.len(), 52, 12] {
        let mut scene = Scene::new(Detail::All);
        scene.take();
        // As the driver gives it: a header and its fragment may be two slices, or the whole one.
        let mut rest = whole.clone();
        let mut lengths = Vec::new();
        while !rest.is_empty() {
            let take = if cut == 12 {
                let body = u32::from_be_bytes([rest[2], rest[3], rest[4], rest[5]]) as usize;
                scene.ends[0].send(rest.split_to(12)).unwrap();
                body + 6 - 12
            } else {
                cut.min(rest.len())
            };
            scene.ends[0].send(rest.split_to(take)).unwrap();
        }
        scene.carry();
        let [sent, received] = scene.take();
        let sent: Vec<_> = sent.iter().filter(|line| line.starts_with("<<")).collect();
        for line in &received {
            if let Some(length) = line.strip_prefix(">> P-DATA-TF? ") {
                lengths.push(length.to_owned());
            }
        }
        assert!(lengths.len() > 1, "it has several PDUs");
        let told: Vec<_> = lengths
            .iter()
            .map(|n| format!("<< P-DATA-TF? {n}"))
            .collect();
        assert_eq!(
            sent,
            told.iter().collect::<Vec<_>>(),
            "cut every {cut} bytes"
        );
        // Each PDU and its step come before what the message indicates.
        assert_eq!(received[1], "Sta6 + Evt10 -> DT-2 -> Sta6");
        assert_eq!(received.last().unwrap(), "indicate");
    }
}

#[test]
fn what_is_not_understood_is_told_before_it_is_answered() {
    let mut end = Connection::acceptor(Config::default());
    end.trace(Detail::Signals);
    end.transport_connected();
    let mut wire = BytesMut::new();
    drain(&mut end, &mut wire);
    let mut bytes = BytesMut::from(&b"GET / HTTP/1.1\r\n"[..]);
    end.receive(&mut bytes);
    assert_eq!(
        drain(&mut end, &mut wire),
        [
            ">> unknown PDU? 1411395360",
            "Sta2 + Evt19 -> AA-1 -> Sta13",
            "indicate",
            "<< A-ABORT 4",
        ]
    );
}

#[test]
fn a_fault_inside_of_data_is_a_step_of_its_own() {
    let mut scene = Scene::new(Detail::All);
    scene.take();
    let mut bad = BytesMut::new();
    frame(&mut bad, 255, true, &[0; 8], 1 << 14);
    scene.ends[1].receive(&mut bad);
    scene.carry();
    let [_, lines] = scene.take();
    assert_eq!(
        lines[..4],
        [
            ">> P-DATA-TF? 14",
            "Sta6 + Evt10 -> DT-2 -> Sta6",
            "Sta6 + Evt19 -> AA-8 -> Sta13",
            "indicate",
        ]
    );
}

#[test]
fn the_items_of_an_association_are_told_and_nothing_of_its_data() {
    let mut end = Connection::acceptor(Config::default());
    end.trace(Detail::Signals);
    end.transport_connected();
    let rq = Pdu::AssociateRq(request_of(RQ));
    end.receive(&mut BytesMut::from(&rq.encode()[..]));
    while end.poll_output().is_some() {}
    let seen = std::iter::from_fn(|| end.poll_trace()).find_map(|trace| match trace {
        Trace::Received(seen) => seen.pdu,
        _ => None,
    });
    assert_eq!(seen, Some(rq));
}

#[test]
fn without_an_onlooker_nothing_is_kept_and_the_outputs_are_the_same() {
    let mut outputs = Vec::new();
    for detail in [Detail::Off, Detail::Signals, Detail::All] {
        let mut end = Connection::acceptor(Config::default());
        end.trace(detail);
        end.transport_connected();
        let rq = Pdu::AssociateRq(request_of(RQ)).encode();
        end.receive(&mut BytesMut::from(&rq[..]));
        outputs.push(std::iter::from_fn(|| end.poll_output()).collect::<Vec<_>>());
        assert_eq!(end.poll_trace().is_none(), detail == Detail::Off);
        end.trace(Detail::Off);
        assert_eq!(end.poll_trace(), None);
    }
    assert_eq!(outputs[0], outputs[1]);
    assert_eq!(outputs[0], outputs[2]);
}

#[test]
fn a_step_shows_itself_as_a_cell_of_the_table() {
    let step = Step {
        from: State::Sta5,
        event: Event::Evt3,
        action: Action::AE3,
        to: State::Sta6,
    };
    assert_eq!(step.to_string(), "Sta5 + Evt3 -> AE-3 -> Sta6");
    assert!(!step.is_data());
}
