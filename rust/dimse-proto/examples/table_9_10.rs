//! Prints the 123 filled cells of PS3.8 Table 9-10 as `event,state,action,next` lines.

#![allow(clippy::print_stdout, reason = "printing is what this program is for")]

use dimse_proto::ul::State;
use dimse_proto::ul::fsm::{Event, Next, action};

fn main() {
    for line in lines() {
        println!("{line}");
    }
}

/// The filled cells, row by row. A test compares them with the published table.
pub(crate) fn lines() -> impl Iterator<Item = String> {
    let cells = Event::ALL
        .into_iter()
        .flat_map(|event| State::ALL.map(|state| (event, state)));
    cells.filter_map(|(event, state)| {
        let action = action(state, event)?;
        Some(match action.next() {
            Next::To(next) => format!("{event:?},{state},{action},{next}"),
            Next::Either(first, second) => format!("{event:?},{state},{action},{first}|{second}"),
        })
    })
}
