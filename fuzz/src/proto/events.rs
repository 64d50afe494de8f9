//! Two ends of ours and what lies between them: whatever both users do, and whenever anything arrives.

use std::collections::VecDeque;

use arbitrary::{Arbitrary, Unstructured};
use bytes::{Bytes, BytesMut};
use dimse_proto::LocalError;
use dimse_proto::connection::output::{Indication, Output, PAbortOrigin};
use dimse_proto::connection::{Config, Connection, Role};
use dimse_proto::dimse::{CommandField, CommandSet};
use dimse_proto::ul::State;
use dimse_proto::ul::associate::Associate;
use dimse_proto::ul::data::frame;
use dimse_proto::ul::fsm::{self, Event};
use dimse_proto::ul::negotiate::{Verdict, answer};
use dimse_proto::ul::reason::AssociateRj;

use super::walk::{CLASS, SAMPLES, policy, proposal};

#[derive(Arbitrary, Debug)]
struct Script {
    max_length: [u16; 2],
    steps: Vec<Step>,
}

#[derive(Arbitrary, Debug)]
enum Step {
    /// A user asks for something.
    Ask(End, Primitive),
    /// So many bytes arrive; or the news that the connection is open, or closed.
    Carry(End, u16),
    /// Nobody did anything for long.
    Expire(End),
    /// What a peer would never send arrives, between what it sent.
    Forge(End, Vec<u8>),
    /// One of the PDUs of a walk.
    Sample(End, u8),
    /// The network breaks.
    Cut(End),
}

#[derive(Arbitrary, Clone, Copy, Debug, PartialEq)]
enum End {
    Requestor,
    Acceptor,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Primitive {
    Associate,
    Accept,
    Reject,
    Send { other: bool, length: u16 },
    Release,
    ReleaseResponse,
    Abort,
}

/// Steps of two users and a network.
pub fn ul_events(data: &[u8]) {
    let Ok(script) = Script::arbitrary_take_rest(Unstructured::new(data)) else {
        return;
    };
    let mut link = Link::new(script.max_length);
    for step in script.steps.into_iter().take(STEPS_AT_MOST) {
        link.take(step);
        link.agrees();
    }
    link.ends();
}

/// So that a long script cannot take seconds.
const STEPS_AT_MOST: usize = 200;

struct Link {
    nodes: [Node; 2],
    /// The requestor has asked for a transport connection.
    calling: bool,
    /// Nobody but the two ends has put anything on the wire, or broken it.
    honest: bool,
}

/// One end, its driver's books, and the wire to it.
#[allow(clippy::struct_excessive_bools)] // each is a page of the books
struct Node {
    connection: Connection,
    buffer: BytesMut,
    max_length: u32,
    /// The proposal that its user was told of.
    asked: Option<Associate>,
    open: bool,
    artim: bool,
    wire: VecDeque<u8>,
    /// The other end has closed, behind what is on the wire.
    closing: bool,
    /// Messages as the user gave them, and as they were told to the other end's.
    said: Vec<(u8, Bytes, Vec<u8>)>,
    heard: Vec<(u8, Bytes, Vec<u8>)>,
    whole: bool,
}

impl Link {
    fn new(max_length: [u16; 2]) -> Self {
        let node = |role, max: u16| {
            // Any that a fragment fits into, or no limit.
            let max_length = match max {
                1..=7 => 8,
                other => u32::from(other),
            };
            let config = Config {
                max_length,
                ..Config::default()
            };
            Node {
                connection: match role {
                    Role::Requestor => Connection::requestor(config),
                    Role::Acceptor => Connection::acceptor(config),
                },
                buffer: BytesMut::new(),
                max_length,
                asked: None,
                open: false,
                artim: false,
                wire: VecDeque::new(),
                closing: false,
                said: vec![],
                heard: vec![],
                whole: true,
            }
        };
        Self {
            nodes: [
                node(Role::Requestor, max_length[0]),
                node(Role::Acceptor, max_length[1]),
            ],
            calling: false,
            honest: true,
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Ask(end, primitive) => self.ask(end, primitive),
            Step::Carry(end, bytes) => self.carry(end, usize::from(bytes)),
            Step::Expire(end) => {
                if std::mem::take(&mut self.node(end).artim) {
                    self.node(end).connection.artim_expired();
                }
                self.settle(end);
            }
            Step::Forge(end, bytes) => self.forge(end, &bytes),
            Step::Sample(end, index) => {
                let samples = &SAMPLES.received;
                self.forge(end, &samples[usize::from(index) % samples.len()]);
            }
            Step::Cut(end) => {
                let node = self.node(end);
                if node.open {
                    (node.open, node.closing) = (false, false);
                    node.wire.clear();
                    node.buffer.clear();
                    node.connection.transport_closed();
                    self.honest = false;
                    self.node(other(end)).closing = true;
                }
                self.settle(end);
            }
        }
    }

    fn node(&mut self, end: End) -> &mut Node {
        &mut self.nodes[end as usize]
    }

    fn forge(&mut self, end: End, bytes: &[u8]) {
        let node = self.node(end);
        if node.open && !node.closing {
            node.wire.extend(bytes);
            self.honest = false;
        }
    }

    fn ask(&mut self, end: End, primitive: Primitive) {
        let idle = |node: &Node| node.connection.state() == State::Sta1;
        let apart = self.nodes.iter().all(idle);
        let node = self.node(end);
        let before = node.connection.state();
        let (event, asked) = match primitive {
            Primitive::Associate => {
                if end == End::Requestor && before == State::Sta1 {
                    if !apart {
                        return;
                    }
                    self.begin();
                }
                let node = self.node(end);
                let mut request = proposal();
                request.max_length = node.max_length;
                let Ok(request) = request.build() else {
                    panic!("a request that cannot be sent")
                };
                (Event::Evt1, node.connection.associate(request))
            }
            Primitive::Accept => {
                let mut policy = policy();
                policy.max_length = node.max_length;
                let request = node.asked.as_ref().unwrap_or(&SAMPLES.request);
                let Verdict::Accept { answer, negotiated } = answer(request, &policy) else {
                    return; // it was forged
                };
                (Event::Evt7, node.connection.accept(answer, *negotiated))
            }
            Primitive::Reject => (
                Event::Evt8,
                node.connection.reject(AssociateRj::LOCAL_LIMIT),
            ),
            Primitive::Send { other, length } => {
                let message = message(other, length);
                let (command, data) = (&message.1, &message.2);
                let mut framed = BytesMut::new();
                let most = node.connection.max_fragment();
                frame(&mut framed, message.0, true, command, most);
                frame(&mut framed, message.0, false, data, most);
                let sent = node.connection.send(framed.freeze());
                if sent.is_ok() {
                    node.said.push(message);
                }
                (Event::Evt9, sent)
            }
            Primitive::Release => (Event::Evt11, node.connection.release()),
            Primitive::ReleaseResponse => (Event::Evt14, node.connection.release_response()),
            Primitive::Abort => (Event::Evt15, node.connection.abort()),
        };
        match asked {
            Ok(()) => assert!(fsm::action(before, event).is_some()),
            Err(LocalError::NotInState { .. }) => assert!(fsm::action(before, event).is_none()),
            Err(error) => assert!(end == End::Acceptor && event == Event::Evt1, "{error}"),
        }
        self.settle(end);
    }

    /// Another association between the same two.
    fn begin(&mut self) {
        for node in &mut self.nodes {
            (node.said, node.heard) = (vec![], vec![]);
            (node.whole, node.asked) = (true, None);
        }
        self.honest = true;
    }

    fn carry(&mut self, end: End, bytes: usize) {
        if self.calling {
            // The three-way handshake.
            self.calling = false;
            for end in [End::Requestor, End::Acceptor] {
                let node = self.node(end);
                node.wire.clear();
                node.buffer.clear();
                (node.open, node.closing) = (true, false);
                node.connection.transport_connected();
                self.settle(end);
            }
            return;
        }
        let node = self.node(end);
        if !node.open {
            return;
        }
        let count = bytes.min(node.wire.len());
        node.buffer.extend(node.wire.drain(..count));
        let received = node.buffer.len();
        super::bounded(received, || node.connection.receive(&mut node.buffer));
        self.settle(end);
        let node = self.node(end);
        if node.open && node.wire.is_empty() && node.closing {
            (node.open, node.closing) = (false, false);
            node.buffer.clear();
            node.connection.transport_closed();
        }
        self.settle(end);
    }

    fn settle(&mut self, end: End) {
        let honest = self.honest;
        while let Some(output) = self.node(end).connection.poll_output() {
            let node = &mut self.nodes[end as usize];
            match output {
                Output::Connect => {
                    assert!(!node.open && end == End::Requestor);
                    self.calling = true;
                }
                Output::Transmit(bytes) => {
                    assert!(node.open, "transmits after Close");
                    assert!(!bytes.is_empty());
                    let peer = self.node(other(end));
                    if peer.open && !peer.closing {
                        peer.wire.extend(bytes);
                    }
                }
                Output::Close => {
                    assert!(node.open || self.calling, "closes twice");
                    node.open = false;
                    node.wire.clear();
                    node.buffer.clear();
                    if end == End::Requestor && self.calling {
                        self.calling = false; // it never came to a connection
                    } else {
                        self.node(other(end)).closing = true;
                    }
                }
                Output::StartArtim => node.artim = true,
                Output::StopArtim => node.artim = false,
                Output::Indicate(indication) => node.hears(indication, honest),
            }
        }
        let node = self.node(end);
        let waits = matches!(node.connection.state(), State::Sta2 | State::Sta13);
        assert_eq!(node.artim, waits);
        let state = node.connection.state();
        let calling = self.calling && end == End::Requestor;
        let open = self.node(end).open || calling;
        assert_eq!(open, state != State::Sta1, "{state}");
    }

    /// What one says, the other hears, in that order and nothing else.
    fn agrees(&self) {
        let [one, two] = &self.nodes;
        if !self.honest {
            return;
        }
        for (from, to) in [(one, two), (two, one)] {
            let heard = &to.heard[..to.heard.len() - usize::from(!to.whole)];
            assert!(from.said.starts_with(heard), "something else was heard");
            // One that arrives is the next that was said, as far as it has come.
            if let (false, Some(partial)) = (to.whole, to.heard.last()) {
                let Some(said) = from.said.get(heard.len()) else {
                    panic!("heard what was not said")
                };
                assert_eq!((said.0, &said.1), (partial.0, &partial.1));
                assert!(said.2.starts_with(&partial.2));
            }
        }
    }

    /// Whatever was going on ends when both are told to stop and everything arrives.
    fn ends(&mut self) {
        for _ in 0..3 {
            for end in [End::Requestor, End::Acceptor] {
                self.carry(end, usize::MAX);
                self.agrees();
            }
        }
        let [one, two] = &self.nodes;
        let settled = State::Sta6;
        if self.honest && (one.connection.state(), two.connection.state()) == (settled, settled) {
            assert_eq!(one.said, two.heard);
            assert_eq!(two.said, one.heard);
        }
        for end in [End::Requestor, End::Acceptor] {
            self.ask(end, Primitive::Abort);
        }
        for _ in 0..3 {
            for end in [End::Requestor, End::Acceptor] {
                self.carry(end, usize::MAX);
            }
        }
        for end in [End::Requestor, End::Acceptor] {
            self.take(Step::Expire(end));
            self.carry(end, 0);
        }
        for node in &self.nodes {
            assert!(!node.open && node.connection.state() == State::Sta1);
        }
    }
}

impl Node {
    fn hears(&mut self, indication: Indication, honest: bool) {
        match indication {
            Indication::AssociateRequested(request) => self.asked = Some(request),
            Indication::Violation(error) => assert!(!honest, "accused of {error}"),
            Indication::PAborted {
                origin: PAbortOrigin::Local,
                reason,
            } => assert!(!honest, "aborts with {reason:?}"),
            Indication::Command {
                context_id,
                command,
            } => {
                assert!(self.whole, "a command inside a data set");
                self.whole = !command.has_data_set();
                self.heard.push((context_id, command.encode(), vec![]));
            }
            Indication::Data {
                context_id,
                fragment,
                last,
            } => {
                let Some((id, _, data)) = self.heard.last_mut().filter(|_| !self.whole) else {
                    panic!("data without a command")
                };
                assert_eq!(*id, context_id);
                data.extend_from_slice(&fragment);
                self.whole = last;
            }
            _ => {}
        }
    }
}

fn other(end: End) -> End {
    match end {
        End::Requestor => End::Acceptor,
        End::Acceptor => End::Requestor,
    }
}

/// A whole message: C-ECHO-RQ, or C-STORE-RQ with so much data.
fn message(other: bool, length: u16) -> (u8, Bytes, Vec<u8>) {
    let data = vec![b'x'; usize::from(length % 3000) & !1];
    let field = if data.is_empty() {
        CommandField::C_ECHO_RQ
    } else {
        CommandField::C_STORE_RQ
    };
    let Ok(mut command) = CommandSet::request(field, length, &CLASS) else {
        panic!("a request and a UID")
    };
    command.set_has_data_set(!data.is_empty());
    (if other { 3 } else { 1 }, command.encode(), data)
}
