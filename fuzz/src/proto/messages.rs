//! Command sets, and messages out of fragments.

use std::sync::LazyLock;

use bytes::Bytes;
use dimse_proto::connection::{Assembler, AssemblyEvent, AssemblyLimits};
use dimse_proto::dimse::{CommandField, CommandSet, DataSetUsage, Status};
use dimse_proto::ul::data::Pdv;
use dimse_proto::ul::reason::Abort;
use dimse_proto::{LocalError, Uid};

/// The bytes of a command set.
pub fn command_set(data: &[u8]) {
    let Ok(command) = CommandSet::decode(Bytes::copy_from_slice(data)) else {
        return;
    };
    let wire = command.encode();
    let Ok(again) = CommandSet::decode(wire.clone()) else {
        panic!("what was read cannot be sent")
    };
    assert!(!again.disordered() && !again.group_length_wrong());
    assert_eq!(again.encode(), wire);
    assert_eq!(again.validate(), command.validate());
    let sendable = command.check_sendable().is_ok(); // the error shows the padding
    assert_eq!(again.check_sendable().is_ok(), sendable);
    for (element, value) in command.iter() {
        assert_eq!(command.get(element), Some(value));
        let _ = (
            command.us(element),
            command.ul(element),
            command.uid(element),
        );
        let _ = (
            command.ae(element),
            command.text(element),
            command.tags(element),
        );
    }
    let statuses: &[Status] = match command.validate() {
        Ok(()) => &[
            Status(0x0000),
            Status(0x0110),
            Status(0xb000),
            Status(0xff00),
        ],
        Err(error) => match error.answer() {
            Some(status) => &[status],
            None => return,
        },
    };
    for status in statuses {
        if command.field().and_then(CommandField::response).is_some() {
            answer(&command, *status);
        }
    }
}

fn answer(request: &CommandSet, status: Status) {
    let Ok(mut response) = CommandSet::response_to(request, status) else {
        panic!("no answer to a request that can be answered")
    };
    let usage = response.field().and_then(CommandField::row);
    response.set_has_data_set(match usage.map(|row| row.data_set) {
        Some(DataSetUsage::Mandatory) => true,
        Some(DataSetUsage::WhenPending) => status.is_pending(),
        _ => false,
    });
    if let Err(error) = response.check_sendable() {
        // Only the service can know the type of an event or action, and an unknown request has one answer.
        let known = usage.is_some() || status == Status::UNRECOGNIZED_OPERATION;
        assert!(!known, "{error}: {response:?}");
    }
}

/// Fragments: a byte of flags, a length, and so many bytes, or a part of a known command.
pub fn assembler(data: &[u8]) {
    let Some((&mode, data)) = data.split_first() else {
        return;
    };
    let limits = AssemblyLimits {
        command_bytes: if mode & 1 == 0 { 0x1_0000 } else { 200 },
        strict: mode & 2 != 0,
        ..AssemblyLimits::default()
    };
    let pdvs = fragments(data);
    let whole = assemble(
        limits,
        pdvs.iter().map(|(begins, pdv, _)| (*begins, pdv.clone())),
    );
    // Odd fragments are a fault only where strict, and cutting makes them.
    if !limits.strict {
        let cut = pdvs.into_iter().flat_map(|(begins, mut pdv, at)| {
            let at = match pdv.fragment.len() {
                0 | 1 => return vec![(begins, pdv)],
                length => 1 + usize::from(at) % (length - 1),
            };
            let mut first = pdv.clone();
            first.fragment = pdv.fragment.split_to(at);
            first.last = false;
            vec![(begins, first), (false, pdv)]
        });
        assert_eq!(assemble(limits, cut), whole);
    }
}

/// A C-STORE-RQ, a C-ECHO-RQ, and a C-CANCEL-RQ with a data set, which is read although there should be none.
static COMMANDS: LazyLock<Vec<Bytes>> = LazyLock::new(|| {
    let class = Uid::from_static("1.2");
    let commands = [
        (
            CommandSet::request(CommandField::C_STORE_RQ, 1, &class),
            true,
        ),
        (
            CommandSet::request(CommandField::C_ECHO_RQ, 2, &class),
            false,
        ),
        (Ok(CommandSet::cancel(7)), true),
    ];
    let encode = |(command, has_data_set): (Result<CommandSet, LocalError>, bool)| {
        let mut command = command.expect("a request and a UID");
        command.set_has_data_set(has_data_set);
        command.encode()
    };
    commands.into_iter().map(encode).collect()
});

/// Whether each begins a PDU, and where it may be cut.
fn fragments(mut data: &[u8]) -> Vec<(bool, Pdv, u8)> {
    let mut list = vec![];
    while let Some((&[flags, length, at], rest)) = data.split_first_chunk() {
        data = rest;
        let fragment = if flags & 0x10 == 0 {
            let (fragment, rest) = data.split_at(usize::from(length).min(data.len()));
            data = rest;
            Bytes::copy_from_slice(fragment)
        } else {
            let command = &COMMANDS[usize::from(length & 3) % COMMANDS.len()];
            // From where to where: all of it, its head, its tail.
            let cut = usize::from(length >> 3).min(command.len());
            match flags & 0x60 {
                0x20 => command.slice(..cut),
                0x40 => command.slice(cut..),
                _ => command.clone(),
            }
        };
        let pdv = Pdv {
            context_id: 1 + (flags >> 2 & 2),
            command: flags & 1 != 0,
            last: flags & 2 != 0,
            fragment,
        };
        list.push((flags & 4 != 0, pdv, at));
    }
    list
}

/// What came out, with the data of a message in one piece, and how it ended.
#[derive(Debug, PartialEq)]
struct Assembled {
    events: Vec<AssemblyEvent>,
    fault: Option<(Abort, &'static str)>,
    mid_message: bool,
    shared_pdus: u64,
}

fn assemble(limits: AssemblyLimits, pdvs: impl Iterator<Item = (bool, Pdv)>) -> Assembled {
    let mut assembler = Assembler::new(limits);
    let mut assembled = Assembled {
        events: vec![],
        fault: None,
        mid_message: false,
        shared_pdus: 0,
    };
    for (begins, pdv) in pdvs {
        if begins {
            assembler.begin_pdu();
        }
        match assembler.feed(pdv) {
            Ok(None) => {}
            Ok(Some(event)) => assembled.push(event),
            Err(error) => {
                assembled.fault = Some((error.abort, error.cause.code));
                return assembled;
            }
        }
    }
    assembled.mid_message = assembler.mid_message();
    assembled.shared_pdus = assembler.irregularities().shared_pdus;
    assembled
}

impl Assembled {
    fn push(&mut self, event: AssemblyEvent) {
        if let AssemblyEvent::Data {
            context_id: id,
            fragment: more,
            last: ends,
        } = &event
        {
            match self.events.last_mut() {
                Some(AssemblyEvent::Data {
                    context_id,
                    fragment,
                    last: last @ false,
                }) => {
                    assert_eq!(context_id, id);
                    *fragment = [&fragment[..], more].concat().into();
                    *last = *ends;
                    return;
                }
                Some(AssemblyEvent::Command { command, .. }) => assert!(command.has_data_set()),
                _ => panic!("data without a command"),
            }
        }
        self.events.push(event);
    }
}
