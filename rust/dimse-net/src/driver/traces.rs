//! What followers see of the protocol: PDUs that went by, and steps of the state machine.

use dimse_proto::Uid;
use dimse_proto::connection::trace::{Detail, Trace};
use dimse_proto::ul::associate::Associate;
use dimse_proto::ul::pdu::Pdu;

use crate::events::event::{Event, Kinds};
use crate::exchange::line::Line;

/// Has the connection record as much as its followers want.
pub(super) fn follow(line: &mut Line) {
    let detail = if line.wants(Kinds::DATA) {
        Detail::All
    } else if line.wants(Kinds::TRACE) {
        Detail::Signals
    } else {
        Detail::Off
    };
    line.connection.trace(detail);
}

/// Gives what went by since the last output to the followers. `request` is our proposal while it is open.
pub(super) fn emit(line: &mut Line, request: Option<&Associate>) {
    // Before each output: the trace of a step comes before the events of what the step caused.
    while let Some(trace) = line.connection.poll_trace() {
        let (sent, seen) = match trace {
            Trace::Step(step) if step.is_data() => {
                line.event(Kinds::DATA_STATE, || Event::State(step));
                continue;
            }
            Trace::Step(step) => {
                line.event(Kinds::STATE, || Event::State(step));
                continue;
            }
            Trace::Received(seen) => (false, seen),
            Trace::Sent(seen) => (true, seen),
        };
        let kinds = if seen.header.pdu_type == 0x04 {
            Kinds::DATA_PDU
        } else {
            Kinds::PDU
        };
        line.event(kinds, || {
            let classes = classes(line, request, seen.pdu.as_ref());
            Event::Pdu {
                sent,
                seen,
                classes,
            }
        });
    }
}

/// What the contexts of an A-ASSOCIATE-AC were proposed for: it does not say that itself.
fn classes(line: &Line, request: Option<&Associate>, pdu: Option<&Pdu>) -> Vec<(u8, Uid)> {
    let Some(Pdu::AssociateAc(_)) = pdu else {
        return Vec::new();
    };
    let established = line.life.established.get();
    request
        .or_else(|| established.map(|established| &established.request))
        .into_iter()
        .flat_map(Associate::proposed)
        .filter_map(|context| Some((context.id, context.abstract_syntaxes.first()?.clone())))
        .collect()
}
