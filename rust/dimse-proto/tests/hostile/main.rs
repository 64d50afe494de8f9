//! What broken and hostile peers get: stimulus bytes, the bytes transmitted, the state at the end. Each case is
//! run in one segment and byte by byte, with the same result, and with a bound on memory where one is promised.
//!
//! Ids are those of the project's list of hostile input: A transport and first PDU, B A-ASSOCIATE-RQ, C P-DATA and
//! sequence, D command sets, G release and abort.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

mod command_sets;
mod data;
#[path = "../support/memory.rs"]
mod memory;
mod proposals;
#[path = "../support/mod.rs"]
mod support;
mod transport;

use dimse_proto::connection::output::{Indication, Output};
use dimse_proto::connection::{Config, Role};
use dimse_proto::ul::State;
use dimse_proto::ul::negotiate::AcceptorPolicy;
use support::{End, policy};

/// A row of the table: what an acceptor in a state gets, and what it does about it.
struct Case {
    id: &'static str,
    from: State,
    config: Config,
    answers: Option<AcceptorPolicy>,
    wire: Vec<u8>,
    sent: Vec<u8>,
    end: State,
    /// What the violation told to the user is called.
    fault: Option<&'static str>,
    /// What is told before that, in the words of the standard.
    told: Vec<&'static str>,
    /// The provider aborts, and says so.
    provider: bool,
    /// Most bytes held at a time while one segment is taken in, beyond the segment.
    held: Option<usize>,
}

impl Case {
    /// Expects nothing to happen in Sta6 and a wait for more bytes in Sta2, until told otherwise.
    fn new(id: &'static str, from: State, wire: impl Into<Vec<u8>>) -> Self {
        Self {
            id,
            from,
            config: support::config(),
            answers: Some(policy()),
            wire: wire.into(),
            sent: Vec::new(),
            end: from,
            fault: None,
            told: Vec::new(),
            provider: false,
            held: None,
        }
    }

    fn ends(mut self, end: State, sent: impl Into<Vec<u8>>) -> Self {
        self.end = end;
        self.sent = sent.into();
        self
    }

    /// The end aborts: with source 0 in Sta2 and for DIMSE faults, with an indication otherwise.
    fn aborts(mut self, source: u8, reason: u8, fault: &'static str) -> Self {
        self.provider = source == 2;
        self.names(fault)
            .ends(State::Sta13, support::abort(source, reason))
    }

    /// The user is told what was wrong.
    fn names(mut self, fault: &'static str) -> Self {
        self.fault = Some(fault);
        self
    }

    fn tells(mut self, told: &[&'static str]) -> Self {
        self.told.extend(told);
        self
    }

    fn holds(mut self, bytes: usize) -> Self {
        self.held = Some(bytes);
        self
    }

    fn strict(mut self) -> Self {
        self.config.messages.strict = true;
        self
    }

    fn answered_by(mut self, answers: Option<AcceptorPolicy>) -> Self {
        self.answers = answers;
        self
    }

    #[track_caller]
    fn check(self) {
        let id = self.id;
        let mut end = self.start();
        end.buffer.extend_from_slice(&self.wire);
        let held = memory::peak(|| end.connection.receive(&mut end.buffer));
        end.settle();
        let whole = Outcome::of(end);
        let mut end = self.start();
        end.feed_in(self.wire.chunks(1));
        let bytewise = Outcome::of(end);
        assert!(whole == bytewise, "{id} depends on segments");
        let seen = format!("{whole:?}").chars().take(500).collect::<String>();
        assert_eq!(whole.sent, self.sent, "{id} {seen}");
        assert_eq!(whole.state, self.end, "{id} {seen}");
        assert_eq!(whole.fault, self.fault, "{id} {seen}");
        let last = self.provider.then_some("indicate A-P-ABORT");
        let told: Vec<_> = self.told.into_iter().chain(last).collect();
        assert!(whole.effects == told, "{id} {seen}");
        if let Some(bound) = self.held {
            assert!(held <= bound, "{id} held {held} bytes, at most {bound}");
        }
    }

    fn start(&self) -> End {
        let mut end = End::reach_with(Role::Acceptor, self.from, self.config).unwrap();
        end.answers.clone_from(&self.answers);
        end.sent.clear();
        end.told.clear();
        end
    }
}

/// What can be seen of an end from outside.
#[derive(Debug, PartialEq)]
struct Outcome {
    state: State,
    sent: Vec<u8>,
    told: Vec<Indication>,
    fault: Option<&'static str>,
    effects: Vec<String>,
}

impl Outcome {
    fn of(end: End) -> Self {
        let outputs = end.told.iter().cloned().map(Output::Indicate);
        Self {
            state: end.state(),
            effects: outputs.filter_map(|o| support::effect(&o)).collect(),
            fault: end.told.iter().find_map(|indication| match indication {
                Indication::Violation(error) => Some(error.code),
                _ => None,
            }),
            sent: end.sent,
            told: end.told,
        }
    }
}
