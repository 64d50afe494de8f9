//! Table 9-10 cell by cell, and the actions of Tables 9-6 to 9-9, against transcriptions of the standard.
#![allow(missing_docs, clippy::unwrap_used)]

#[path = "../examples/table_9_10.rs"]
#[allow(dead_code)]
mod example;
mod support;

use std::collections::{BTreeMap, BTreeSet};

use dimse_proto::LocalError;
use dimse_proto::connection::output::{Indication, Output};
use dimse_proto::connection::{Connection, Role};
use dimse_proto::ul::State;
use dimse_proto::ul::fsm::{Event, Next, action};
use support::{End, abort, effect};

/// PS3.8 Table 9-10, extracted from the text of the standard.
const PUBLISHED: &str = include_str!("data/ps3_8_table_9_10.csv");

/// Tables 9-6 to 9-9: what each action does, in order. Where the standard lets a condition decide, each outcome
/// has a row.
const EFFECTS: [(&str, &[&str]); 30] = [
    ("AE-1", &["connect"]),
    ("AE-2", &["send A-ASSOCIATE-RQ"]),
    ("AE-3", &["confirm A-ASSOCIATE (accept)"]),
    ("AE-4", &["confirm A-ASSOCIATE (reject)", "close"]),
    ("AE-5", &["start ARTIM"]),
    ("AE-6", &["stop ARTIM", "indicate A-ASSOCIATE"]),
    (
        "AE-6",
        &["stop ARTIM", "send A-ASSOCIATE-RJ", "start ARTIM"],
    ),
    ("AE-7", &["send A-ASSOCIATE-AC"]),
    ("AE-8", &["send A-ASSOCIATE-RJ", "start ARTIM"]),
    ("DT-1", &["send P-DATA-TF"]),
    ("DT-2", &["indicate P-DATA"]),
    ("AR-1", &["send A-RELEASE-RQ"]),
    ("AR-2", &["indicate A-RELEASE"]),
    ("AR-3", &["confirm A-RELEASE", "close"]),
    ("AR-4", &["send A-RELEASE-RP", "start ARTIM"]),
    ("AR-5", &["stop ARTIM"]),
    ("AR-6", &["indicate P-DATA"]),
    ("AR-7", &["send P-DATA-TF"]),
    ("AR-8", &["indicate A-RELEASE"]),
    ("AR-9", &["send A-RELEASE-RP"]),
    ("AR-10", &["confirm A-RELEASE"]),
    ("AA-1", &["send A-ABORT of source 0", "start ARTIM"]),
    ("AA-2", &["stop ARTIM", "close"]),
    ("AA-3", &["indicate A-ABORT", "close"]),
    ("AA-3", &["indicate A-P-ABORT", "close"]),
    ("AA-4", &["indicate A-P-ABORT"]),
    ("AA-5", &["stop ARTIM"]),
    ("AA-6", &[]),
    // The standard leaves the source open.
    ("AA-7", &["send A-ABORT of source 2"]),
    (
        "AA-8",
        &[
            "send A-ABORT of source 2",
            "indicate A-P-ABORT",
            "start ARTIM",
        ],
    ),
];

/// Event and state of each filled cell, with its action and next state.
fn published() -> BTreeMap<(String, String), (&'static str, &'static str)> {
    let lines = PUBLISHED.lines().skip(1);
    let cells: BTreeMap<_, _> = lines
        .map(|line| {
            let [event, state, action, next] = line.split(',').collect::<Vec<_>>()[..] else {
                panic!("not a cell: {line}")
            };
            ((event.into(), state.into()), (action, next))
        })
        .collect();
    assert_eq!(cells.len(), 123);
    cells
}

/// Calls `check` with every event in every state both roles can be brought to, and whether the cell is filled.
fn every_cell(mut check: impl FnMut(End, Event, Option<(&'static str, &'static str)>)) {
    let published = published();
    for event in Event::ALL {
        for state in State::ALL {
            for role in [Role::Requestor, Role::Acceptor] {
                let Some(end) = End::reach(role, state) else {
                    continue;
                };
                let cell = published.get(&(format!("{event:?}"), state.to_string()));
                check(end, event, cell.copied());
            }
        }
    }
}

fn next_of(next: &str, role: Role) -> &str {
    match (next.split_once('|'), role) {
        (None, _) => next,
        // Both conditions are true of the requestor and V1: Sta9 is the requestor's side, V1 is acceptable.
        (Some((first, _)), Role::Requestor) | (Some((first @ "Sta3", _)), _) => first,
        (Some((_, second)), Role::Acceptor) => second,
    }
}

#[test]
fn table_9_10_matches_the_published_standard() {
    let published = published();
    let mut wrong = Vec::new();
    for event in Event::ALL {
        for state in State::ALL {
            let expected = published.get(&(format!("{event:?}"), state.to_string()));
            let expected = expected.map(|(action, next)| format!("{action} to {next}"));
            let actual = action(state, event).map(|action| match action.next() {
                Next::To(next) => format!("{action} to {next}"),
                Next::Either(first, second) => format!("{action} to {first}|{second}"),
            });
            if actual != expected {
                wrong.push(format!(
                    "{event:?} in {state}: {actual:?}, published {expected:?}"
                ));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn the_example_prints_exactly_the_123_lines() {
    let published: Vec<_> = PUBLISHED.lines().skip(1).collect();
    assert_eq!(example::lines().collect::<Vec<_>>(), published);
}

#[test]
fn actions_9_6_to_9_9_have_the_published_effects() {
    let mut driven = BTreeSet::new();
    let mut actions = BTreeSet::new();
    every_cell(|mut end, event, cell| {
        let state = end.state();
        let Some((action, next)) = cell else { return };
        let Some(outputs) = end.cause(event) else {
            return;
        };
        let outputs = outputs.unwrap();
        let effects: Vec<_> = outputs.iter().filter_map(effect).collect();
        let rows: Vec<_> = EFFECTS.iter().filter(|(name, _)| *name == action).collect();
        assert!(
            rows.iter().any(|(_, published)| **published == effects),
            "{event:?} in {state}: {action} did {effects:?}"
        );
        let expected = next_of(next, end.connection.role());
        assert_eq!(end.state().to_string(), expected, "{event:?} in {state}");
        driven.insert((event, state));
        actions.insert(action);
    });
    assert_eq!(driven.len(), 123);
    assert_eq!(actions.len(), 28);
}

#[test]
fn conditions_of_the_standard_decide_between_two_effects() {
    let effects = |outputs: &[Output]| outputs.iter().filter_map(effect).collect::<Vec<_>>();
    let mut old = support::RQ.to_vec();
    old[7] = 0xfe; // protocol version without bit 0
    let mut end = End::reach(Role::Acceptor, State::Sta2).unwrap();
    assert_eq!(
        effects(&end.feed(&old)),
        ["stop ARTIM", "send A-ASSOCIATE-RJ", "start ARTIM"]
    );
    assert_eq!(end.state(), State::Sta13);

    for (source, expected) in [
        (0, "indicate A-ABORT"),
        (1, "indicate A-P-ABORT"),
        (2, "indicate A-P-ABORT"),
    ] {
        let mut end = End::reach(Role::Requestor, State::Sta6).unwrap();
        assert_eq!(effects(&end.feed(&abort(source, 2))), [expected, "close"]);
    }
}

#[test]
fn artim_runs_only_in_sta2_and_sta13() {
    // `End::settle` keeps the books and checks them after every input; here they are checked once more by name.
    let mut cells = 0;
    every_cell(|mut end, event, _| {
        let state = end.state();
        if end.cause(event).is_some_and(|done| done.is_ok()) {
            let waits = matches!(end.state(), State::Sta2 | State::Sta13);
            assert_eq!(end.artim, waits, "{event:?} in {state}");
            cells += 1;
        }
    });
    assert_eq!(cells, 224);
}

#[test]
fn local_primitives_in_blank_cells_are_refused_and_change_nothing() {
    let mut refused = 0;
    every_cell(|mut end, event, cell| {
        let (Some(primitive), None) = (event.primitive(), cell) else {
            return;
        };
        let state = end.state();
        if let Some(done) = end.cause(event) {
            assert_eq!(done, Err(LocalError::NotInState { primitive, state }));
            assert_eq!(end.connection.poll_output(), None);
            assert_eq!(end.state(), state);
            refused += 1;
        }
    });
    assert_eq!(refused, 91);
}

#[test]
fn stale_events_of_transport_timer_and_peer_are_ignored() {
    let mut ignored = 0;
    every_cell(|mut end, event, cell| {
        if event.primitive().is_some() || cell.is_some() {
            return;
        }
        let state = end.state();
        let (artim, open) = (end.artim, end.open);
        // Only the report is stale: what it is about has not happened to this end.
        let outputs = match event {
            Event::Evt2 if end.connection.role() == Role::Acceptor => return,
            Event::Evt5 if end.connection.role() == Role::Requestor => return,
            Event::Evt2 | Event::Evt5 => end.report(Connection::transport_connected),
            Event::Evt17 => end.report(Connection::transport_closed),
            Event::Evt18 => end.report(Connection::artim_expired),
            _ => end.cause(event).unwrap().unwrap(),
        };
        assert_eq!(outputs, [], "{event:?} in {state}");
        assert!(end.buffer.is_empty(), "{event:?} in {state} left bytes");
        assert_eq!((end.state(), end.artim, end.open), (state, artim, open));
        ignored += 1;
    });
    assert_eq!(ignored, 57);
}

#[test]
fn an_acceptor_does_not_ask() {
    let mut end = End::new(Role::Acceptor);
    let done = end.connection.associate(support::request_of(support::RQ));
    assert!(matches!(done, Err(LocalError::InvalidValue { .. })));
    assert_eq!((end.settle(), end.state()), (vec![], State::Sta1));
}

#[test]
fn a_violation_precedes_the_abort_that_answers_it() {
    for (role, state) in [
        (Role::Acceptor, State::Sta2),
        (Role::Requestor, State::Sta6),
    ] {
        let mut end = End::reach(role, state).unwrap();
        let outputs = end.feed(support::RELEASE_RP);
        assert!(matches!(
            outputs[..2],
            [
                Output::Indicate(Indication::Violation(_)),
                Output::Transmit(_)
            ]
        ));
    }
}
