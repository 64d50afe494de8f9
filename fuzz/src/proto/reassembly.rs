//! Messages through fragments, PDUs and segments, and back.

use arbitrary::{Arbitrary, Unstructured};
use bytes::{Bytes, BytesMut};
use dimse_proto::connection::output::{Indication, Output};
use dimse_proto::connection::{Config, Connection};
use dimse_proto::dimse::{CommandField, CommandSet};
use dimse_proto::ul::State;
use dimse_proto::ul::data::{Pdv, frame};
use dimse_proto::ul::pdu::Pdu;

use super::walk::{CLASS, SAMPLES};

#[derive(Arbitrary, Debug)]
struct Script {
    messages: Vec<Saying>,
    /// How many values share a PDU.
    together: Vec<u8>,
    segment: u8,
    lies: Vec<Lie>,
}

#[derive(Arbitrary, Debug)]
struct Saying {
    other: bool,
    field: u8,
    data: u16,
    fragment: u16,
    /// Fragments without bytes in front of the others.
    empty: u8,
}

/// Something about a value, by its number.
#[derive(Arbitrary, Clone, Copy, Debug)]
enum Lie {
    Last(u8),
    Command(u8),
    Context(u8, u8),
    Drop(u8),
    Twice(u8),
    Swap(u8),
    Short(u8),
}

type Message = (u8, Bytes, Vec<u8>);

/// Messages, how they are cut and put together, and what is wrong with it.
pub fn pdv_reassembly(data: &[u8]) {
    let Ok(script) = Script::arbitrary_take_rest(Unstructured::new(data)) else {
        return;
    };
    let mut said = vec![];
    let mut values = vec![];
    for saying in script.messages.iter().take(MESSAGES_AT_MOST) {
        let message = saying.message();
        saying.cut(&message, &mut values);
        said.push(message);
    }
    for lie in &script.lies {
        lie.tell(&mut values);
    }
    let honest = script.lies.is_empty();
    let wire = together(values, &script.together);
    let heard = Heard::of(&wire, usize::MAX);
    let segment = usize::from(script.segment).max(1 + wire.len() / 200);
    assert_eq!(Heard::of(&wire, segment), heard);
    if honest {
        assert_eq!(heard.fault, None);
        assert!(heard.whole);
        assert_eq!(heard.messages, said);
        unfragmented(&said);
    }
    assert_eq!(heard.fault.is_some(), heard.ended);
    let told = heard.messages.iter().map(|message| message.2.len());
    assert!(told.sum::<usize>() <= wire.len(), "more data than was sent");
}

/// So that a long script cannot take seconds.
const MESSAGES_AT_MOST: usize = 8;

/// What our own framing makes of the messages is read as well.
fn unfragmented(said: &[Message]) {
    let mut framed = BytesMut::new();
    for (index, (context, command, data)) in said.iter().enumerate() {
        let most = [16, 38, 117, 16378][index % 4];
        frame(&mut framed, *context, true, command, most);
        frame(&mut framed, *context, false, data, most);
    }
    let heard = Heard::of(&framed, 1000);
    assert_eq!((heard.fault, &*heard.messages), (None, said));
}

impl Saying {
    fn message(&self) -> Message {
        let fields = [
            CommandField::C_ECHO_RQ,
            CommandField::C_STORE_RQ,
            CommandField::C_FIND_RQ,
            CommandField::N_ACTION_RQ,
        ];
        let field = fields[usize::from(self.field) % fields.len()];
        let data: Vec<u8> = (0..self.data % 300).map(|n| n.to_le_bytes()[0]).collect();
        let Ok(mut command) = CommandSet::request(field, self.data, &CLASS) else {
            panic!("a request and a UID")
        };
        command.set_has_data_set(!data.is_empty());
        (if self.other { 3 } else { 1 }, command.encode(), data)
    }

    fn cut(&self, (context_id, command, data): &Message, values: &mut Vec<Pdv>) {
        let length = usize::from(self.fragment % 200).max(1);
        let parts = [(true, &command[..]), (false, &data[..])];
        for (command, part) in parts.into_iter().filter(|(_, part)| !part.is_empty()) {
            let mut fragments = vec![&part[..0]; usize::from(self.empty % 8)];
            // A few, so that a script does not take long.
            fragments.extend(part.chunks(length.max(part.len() / 16)));
            let count = fragments.len();
            values.extend(fragments.iter().enumerate().map(|(at, fragment)| Pdv {
                context_id: *context_id,
                command,
                last: at + 1 == count,
                fragment: Bytes::copy_from_slice(fragment),
            }));
        }
    }
}

impl Lie {
    fn tell(self, values: &mut Vec<Pdv>) {
        let (Self::Last(at)
        | Self::Command(at)
        | Self::Context(at, _)
        | Self::Drop(at)
        | Self::Twice(at)
        | Self::Swap(at)
        | Self::Short(at)) = self;
        if values.is_empty() {
            return;
        }
        let at = usize::from(at) % values.len();
        let value = &mut values[at];
        match self {
            Self::Last(_) => value.last = !value.last,
            Self::Command(_) => value.command = !value.command,
            Self::Context(_, id) => value.context_id = id,
            Self::Short(_) => value.fragment.truncate(value.fragment.len() / 2),
            Self::Drop(_) => drop(values.remove(at)),
            Self::Twice(_) => {
                let value = value.clone();
                values.insert(at, value);
            }
            Self::Swap(_) => {
                let other = (at + 1) % values.len();
                values.swap(at, other);
            }
        }
    }
}

/// PDUs of as many values as `counts` says, round and round.
fn together(values: Vec<Pdv>, counts: &[u8]) -> Vec<u8> {
    let mut wire = vec![];
    let mut counts = counts.iter().cycle();
    let mut values = values.into_iter().peekable();
    while values.peek().is_some() {
        let count = usize::from(counts.next().copied().unwrap_or(0) % 8) + 1;
        let pdu = Pdu::PData(values.by_ref().take(count).collect());
        wire.extend_from_slice(&pdu.encode());
    }
    wire
}

/// What an acceptor is told.
#[derive(Debug, PartialEq)]
struct Heard {
    messages: Vec<Message>,
    whole: bool,
    fault: Option<&'static str>,
    ended: bool,
}

impl Heard {
    fn of(wire: &[u8], segment: usize) -> Self {
        let mut connection = Connection::acceptor(Config {
            max_length: 0,
            ..Config::default()
        });
        connection.transport_connected();
        let mut buffer = BytesMut::from(&SAMPLES.received[0][..]);
        connection.receive(&mut buffer);
        let accepted = connection.accept(SAMPLES.answer.clone(), SAMPLES.negotiated.clone());
        assert!(accepted.is_ok() && buffer.is_empty());
        while connection.poll_output().is_some() {}
        let mut heard = Self {
            messages: vec![],
            whole: true,
            fault: None,
            ended: false,
        };
        for chunk in wire.chunks(segment.min(wire.len()).max(1)) {
            buffer.extend_from_slice(chunk);
            super::bounded(buffer.len(), || connection.receive(&mut buffer));
            while let Some(output) = connection.poll_output() {
                heard.hear(output);
            }
        }
        heard.ended = connection.state() != State::Sta6;
        assert!(heard.whole || heard.ended || connection.mid_message());
        heard
    }

    fn hear(&mut self, output: Output) {
        match output {
            Output::Indicate(Indication::Command {
                context_id,
                command,
            }) => {
                assert!(self.whole && self.fault.is_none());
                self.whole = !command.has_data_set();
                self.messages.push((context_id, command.encode(), vec![]));
            }
            Output::Indicate(Indication::Data {
                context_id,
                fragment,
                last,
            }) => {
                assert!(!self.whole && self.fault.is_none());
                let Some((id, _, data)) = self.messages.last_mut() else {
                    panic!("data without a command")
                };
                assert_eq!(*id, context_id);
                data.extend_from_slice(&fragment);
                self.whole = last;
            }
            Output::Indicate(Indication::Violation(error)) => {
                assert_eq!(self.fault, None, "one fault ends it");
                self.fault = Some(error.code);
            }
            _ => {}
        }
    }
}
