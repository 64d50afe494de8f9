//! The acceptor in Sta3: the node's policy answers, or the user is asked and the proposal waits.

use std::sync::Arc;
use std::time::Duration;

use dimse_proto::ul::associate::Associate;
use dimse_proto::ul::negotiate::UserIdentity;
use dimse_proto::ul::reason::AssociateRj;

use super::Driver;
use crate::admission::gate::Judgement;
use crate::admission::request::AdmissionRequest;
use crate::error::{Deadline, Error};
use crate::events::event::{Event, Kinds};
use crate::facts::titles_of;
use crate::terms::{Decision, Rejection, Terms};

impl Driver {
    /// The A-ASSOCIATE-RQ is complete: the node's policy answers it, with the user's terms when there are any.
    pub(super) fn judge(&mut self, request: Associate, terms: Option<&Terms>) {
        self.line.titles = titles_of(&request);
        let Some(registration) = &self.admission else {
            return;
        };
        match registration
            .admission
            .judge(&request, self.line.life.id, terms)
        {
            Judgement::Accept(answer, negotiated) => {
                let agreed = Arc::new(negotiated.as_ref().clone());
                if self.line.connection.accept(*answer, *negotiated).is_ok() {
                    self.tell_identity(&request, true, terms);
                    self.establish(Some(request), agreed);
                }
            }
            Judgement::Reject(rejection) => self.refuse(&request, rejection),
            Judgement::Ask(requests) => {
                let admission_request = AdmissionRequest::new(
                    self.line.handle(),
                    request.clone(),
                    self.line.peer,
                    self.tls.clone(),
                );
                self.asking = Some(request);
                self.deadlines
                    .set(Deadline::Acse, self.line.settings.timeouts.acse);
                // Where the queue is closed the request is dropped here, and that is an answer.
                let _closed = requests.send(admission_request);
            }
        }
    }

    /// The user's word on the proposal.
    pub(super) fn decided(&mut self, decision: Decision) {
        let Some(request) = self.asking.take() else {
            return; // it came too late
        };
        self.deadlines.clear(Deadline::Acse);
        match decision {
            Ok(terms) => {
                self.exchange.permit.clone_from(&terms.permit);
                self.judge(request, Some(&terms));
            }
            Err(rejection) => self.refuse(&request, rejection),
        }
    }

    /// The user's word did not come.
    pub(super) fn undecided(&mut self, after: Duration) {
        let Some(request) = self.asking.take() else {
            return;
        };
        let rejection = Rejection {
            rj: AssociateRj::CONGESTION,
            code: "undecided",
            detail: format!(
                "the proposal was not decided on within {} s",
                after.as_secs_f64()
            ),
        };
        self.refuse(&request, rejection);
    }

    fn refuse(&mut self, request: &Associate, rejection: Rejection) {
        let Rejection { rj, code, detail } = rejection;
        self.line.end_with(Error::Rejected(rj));
        self.line.count(|metrics| metrics.rejected(code));
        if code == "user-identity" {
            self.tell_identity(request, false, None);
        }
        let kinds = Kinds::REJECTED | Kinds::PROBLEM;
        self.line
            .event(kinds, || Event::Rejected { rj, code, detail });
        // Only Sta3 gets here, where a rejection is always allowed.
        let _sta3 = self.line.connection.reject(rj);
    }

    /// Emits the event of the requestor's user identity, without the passcode, ticket or token that proves it.
    fn tell_identity(&self, request: &Associate, accepted: bool, terms: Option<&Terms>) {
        if !self.line.wants(Kinds::IDENTITY) {
            return;
        }
        let Some(said) = UserIdentity::of(request).filter(UserIdentity::is_known) else {
            return;
        };
        let named = said.identity_type <= 2;
        self.line.event(Kinds::IDENTITY, || Event::Identity {
            identity_type: said.identity_type,
            name: named.then(|| String::from_utf8_lossy(&said.primary.0).into_owned()),
            verified: terms.is_some_and(|terms| terms.identity_response.is_some()),
            accepted,
        });
    }
}
