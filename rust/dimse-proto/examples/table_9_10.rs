//! Prints the 123 filled cells of PS3.8 Table 9-10 as `event,state,action,next` lines.

#![allow(clippy::print_stdout, reason = "printing is what this program is for")]

use dimse_proto::ul::State;
use dimse_proto::ul::fsm::{Event, Next, action};

fn main() {
    for event in Event::ALL {
        for state in State::ALL {
            match action(state, event).map(|action| (action, action.next())) {
                Some((action, Next::To(next))) => println!("{event:?},{state},{action},{next}"),
                Some((action, Next::Either(first, second))) => {
                    println!("{event:?},{state},{action},{first}|{second}");
                }
                None => {}
            }
        }
    }
}
