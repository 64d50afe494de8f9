//! What each action of PS3.8 Tables 9-6 to 9-9 does. One function for each row; its doc is the row's meaning.

use alloc::boxed::Box;
use alloc::format;

use bytes::Bytes;

use super::connection::{Connection, Input, Role};
use super::output::{Indication, Output, PAbortOrigin};
use super::trace::{Seen, Trace};
use crate::DecodeError;
use crate::ul::associate::Associate;
use crate::ul::fsm::Action;
use crate::ul::negotiate::Negotiated;
use crate::ul::pdu::{Header, Pdu};
use crate::ul::reason::{Abort, AbortReason, AbortSource, AssociateRj};

impl Connection {
    /// Carries out an action. Returns which of two next states follows AE-6 and AR-8: true is the first one.
    pub(super) fn perform(&mut self, action: Action, input: Input) -> bool {
        match (action, input) {
            (Action::AE1, Input::Associate(request)) => self.ae_1(request),
            (Action::AE2, _) => self.ae_2(),
            (Action::AE3, Input::Accepted(answer, negotiated)) => self.ae_3(answer, negotiated),
            (Action::AE4, Input::Pdu(Pdu::AssociateRj(rj))) => self.ae_4(rj),
            (Action::AE5, _) => self.ae_5(),
            (Action::AE6, Input::Pdu(Pdu::AssociateRq(request))) => return self.ae_6(request),
            (Action::AE7, Input::Accept(answer, negotiated)) => self.ae_7(answer, negotiated),
            (Action::AE8, Input::Reject(rj)) => self.ae_8(rj),
            (Action::DT1 | Action::AR7, Input::Data(pdus)) => self.dt_1(pdus),
            (Action::DT2 | Action::AR6, Input::Pdu(Pdu::PData(pdvs))) => self.receive_pdvs(pdvs),
            (Action::AR1, _) => self.ar_1(),
            (Action::AR2, _) => self.ar_2(),
            (Action::AR3, _) => self.ar_3(),
            (Action::AR4, _) => self.ar_4(),
            (Action::AR5 | Action::AA5, _) => self.stop_artim(),
            (Action::AR8, _) => return self.ar_8(),
            (Action::AR9, _) => self.ar_9(),
            (Action::AR10, _) => self.ar_10(),
            (Action::AA1, input) => self.aa_1(input),
            (Action::AA2, _) => self.aa_2(),
            (Action::AA3, Input::Pdu(Pdu::Abort(abort))) => self.aa_3(abort),
            (Action::AA4, _) => self.aa_4(),
            (Action::AA6, _) => {}
            (Action::AA7, input) => self.aa_7(&input),
            (Action::AA8, input) => self.aa_8(input),
            // The other pairs do not occur: in Table 9-10 the event of the input never has that action.
            (_, _) => debug_assert!(false, "{action} with another event's input"),
        }
        true
    }

    /// AE-1: issue TRANSPORT CONNECT request to local transport service.
    fn ae_1(&mut self, request: Associate) {
        self.begin();
        self.request = Some(request);
        self.output(Output::Connect);
    }

    /// AE-2: send A-ASSOCIATE-RQ PDU.
    fn ae_2(&mut self) {
        // The request stays: the answer is read against it.
        if let Some(request) = self.request.clone() {
            self.transmit(&Pdu::AssociateRq(request));
        }
    }

    /// AE-3: issue A-ASSOCIATE confirmation (accept) primitive.
    fn ae_3(&mut self, answer: Associate, negotiated: Negotiated) {
        self.negotiated = Some(negotiated.clone());
        self.indicate(Indication::AssociateAccepted(answer, Box::new(negotiated)));
    }

    /// AE-4: issue A-ASSOCIATE confirmation (reject) primitive and close transport connection.
    fn ae_4(&mut self, rj: AssociateRj) {
        self.indicate(Indication::AssociateRejected(rj));
        self.output(Output::Close);
    }

    /// AE-5: issue transport connection response primitive; start ARTIM timer.
    fn ae_5(&mut self) {
        self.begin();
        self.output(Output::StartArtim);
    }

    /// AE-6: stop ARTIM timer; if the request is acceptable to the service-provider issue A-ASSOCIATE
    /// indication, else send A-ASSOCIATE-RJ and start ARTIM timer. The provider judges bit 0 of the protocol version
    /// alone (PS3.8 Table 9-11); all else is for the user to judge.
    fn ae_6(&mut self, request: Associate) -> bool {
        self.output(Output::StopArtim);
        let acceptable = request.protocol_version & 1 == 1;
        if acceptable {
            self.indicate(Indication::AssociateRequested(request));
        } else {
            let what = format!(
                "protocol version {:04X}H does not include version 1, the only one",
                request.protocol_version
            );
            self.indicate(Indication::Violation(DecodeError::new(
                "protocol-version",
                what,
                0,
                "PS3.8 9.3.2",
            )));
            self.transmit(&Pdu::AssociateRj(AssociateRj::PROTOCOL_VERSION));
            self.output(Output::StartArtim);
        }
        acceptable
    }

    /// AE-7: send A-ASSOCIATE-AC PDU.
    fn ae_7(&mut self, answer: Associate, negotiated: Negotiated) {
        self.negotiated = Some(negotiated);
        self.transmit(&Pdu::AssociateAc(answer));
    }

    /// AE-8: send A-ASSOCIATE-RJ PDU and start ARTIM timer.
    fn ae_8(&mut self, rj: AssociateRj) {
        self.transmit(&Pdu::AssociateRj(rj));
        self.output(Output::StartArtim);
    }

    /// DT-1, AR-7: send P-DATA-TF PDU. DT-2, AR-6 are `receive_pdvs`.
    fn dt_1(&mut self, pdus: Bytes) {
        self.note_sent(&pdus);
        self.output(Output::Transmit(pdus));
    }

    /// AR-1: send A-RELEASE-RQ PDU.
    fn ar_1(&mut self) {
        self.transmit(&Pdu::ReleaseRq);
    }

    /// AR-2: issue A-RELEASE indication primitive.
    fn ar_2(&mut self) {
        self.indicate(Indication::ReleaseRequested);
    }

    /// AR-3: issue A-RELEASE confirmation primitive and close transport connection.
    fn ar_3(&mut self) {
        self.indicate(Indication::ReleaseConfirmed);
        self.output(Output::Close);
    }

    /// AR-4: send A-RELEASE-RP PDU and start ARTIM timer.
    fn ar_4(&mut self) {
        self.transmit(&Pdu::ReleaseRp);
        self.output(Output::StartArtim);
    }

    /// AR-8: issue A-RELEASE indication (release collision): Sta9 on the requestor's side, else Sta10.
    fn ar_8(&mut self) -> bool {
        self.indicate(Indication::ReleaseRequested);
        self.role == Role::Requestor
    }

    /// AR-9: send A-RELEASE-RP PDU.
    fn ar_9(&mut self) {
        self.transmit(&Pdu::ReleaseRp);
    }

    /// AR-10: issue A-RELEASE confirmation primitive.
    fn ar_10(&mut self) {
        self.indicate(Indication::ReleaseConfirmed);
    }

    /// AA-1: send A-ABORT PDU (service-user source) and start (or restart) ARTIM timer. In Sta2 the table has this
    /// action for faults found by the *provider* too, and so names the wrong source. The table is followed.
    fn aa_1(&mut self, input: Input) {
        if let Input::Invalid(error, _) = input {
            self.indicate(Indication::Violation(error));
        } else if let Input::Refused(_) = input {
            self.indicate(Indication::Violation(unexpected_pdu()));
        }
        self.transmit_abort(Abort::USER);
        self.output(Output::StartArtim);
    }

    /// AA-2: stop ARTIM timer if running; close transport connection.
    fn aa_2(&mut self) {
        self.stop_artim();
        self.output(Output::Close);
    }

    /// AA-3: issue A-ABORT indication (service-user source) or A-P-ABORT indication; close transport
    /// connection.
    fn aa_3(&mut self, abort: Abort) {
        // Source 1 is reserved. Only the user's own source makes an A-ABORT indication, so 1 counts as the provider.
        self.indicate(if abort.source == AbortSource::SERVICE_USER {
            Indication::Aborted(abort)
        } else {
            Indication::PAborted {
                origin: PAbortOrigin::Peer,
                reason: abort.reason,
            }
        });
        self.output(Output::Close);
    }

    /// AA-4: issue A-P-ABORT indication primitive.
    fn aa_4(&mut self) {
        self.indicate(Indication::PAborted {
            origin: PAbortOrigin::Transport,
            reason: AbortReason::NOT_SPECIFIED,
        });
    }

    /// AA-7: send A-ABORT PDU. Its source is not specified; ours is the provider's. ARTIM is not restarted.
    fn aa_7(&mut self, input: &Input) {
        self.transmit_abort(Abort::provider(reason_of(input)));
    }

    /// AA-8: send A-ABORT PDU (service-provider source), issue A-P-ABORT indication, start ARTIM timer.
    fn aa_8(&mut self, input: Input) {
        // The cause is indicated before the A-ABORT is sent, and the A-P-ABORT after it: a log of outputs then reads in
        // the order of cause and effect, and a driver that stops at the end of the association has sent the abort.
        let reason = reason_of(&input);
        self.indicate(Indication::Violation(match input {
            Input::Invalid(error, _) => error,
            _ => unexpected_pdu(),
        }));
        self.transmit_abort(Abort::provider(reason));
        self.indicate(Indication::PAborted {
            origin: PAbortOrigin::Local,
            reason,
        });
        self.output(Output::StartArtim);
    }

    fn stop_artim(&mut self) {
        self.output(Output::StopArtim);
    }

    /// Sends the first A-ABORT of an association, and no second one.
    fn transmit_abort(&mut self, abort: Abort) {
        if !self.abort_sent {
            self.abort_sent = true;
            self.transmit(&Pdu::Abort(abort));
        }
    }

    fn transmit(&mut self, pdu: &Pdu) {
        let bytes = pdu.encode();
        if let Some(header) = bytes.first_chunk().map(Header::read) {
            self.note(self.mark(), || {
                Trace::Sent(Seen {
                    header,
                    pdu: Some(pdu.clone()),
                })
            });
        }
        self.output(Output::Transmit(bytes));
    }

    pub(super) fn indicate(&mut self, indication: Indication) {
        self.output(Output::Indicate(indication));
    }

    fn output(&mut self, output: Output) {
        self.outputs.push_back(output);
    }
}

/// The reason of an A-ABORT for an input. The standard does not map faults to reasons; this mapping is our own.
fn reason_of(input: &Input) -> AbortReason {
    match input {
        Input::Invalid(_, reason) => *reason,
        _ => AbortReason::UNEXPECTED_PDU,
    }
}

fn unexpected_pdu() -> DecodeError {
    DecodeError::new(
        "unexpected-pdu",
        "a PDU that is not allowed in this state",
        0,
        "PS3.8 Table 9-10",
    )
}
