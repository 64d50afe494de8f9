//! Proposals that wait for the user's word.

use dimse_proto::ul::reason::AssociateRj;
use dimse_proto::ul::user_info::{Secret, UserItem};

use super::*;

const REJECT: u8 = 3;

/// An acceptor that asks, and the proposal that it asks about.
async fn asked(mut setup: Setup) -> (Rig, AdmissionRequest) {
    let (admission_requests, inquiries) = Queue::new(usize::MAX);
    setup.admission_requests = Some(admission_requests);
    let mut rig = setup.acceptor();
    rig.peer.send(&Pdu::AssociateRq(proposal(1)).encode()).await;
    // Virtual time: this passes once nobody else has anything to do.
    sleep(seconds(1)).await;
    let inquiry = inquiries.try_next().expect("the user is asked");
    (rig, inquiry)
}

#[tokio::test(start_paused = true)]
async fn a_proposal_waits_for_the_word_as_long_as_there_is_no_deadline() {
    let (mut rig, inquiry) = asked(Setup::default()).await;
    sleep(seconds(86_400)).await;
    assert!(inquiry.is_open());
    assert_eq!(inquiry.request().calling_ae().to_text(), "SCU");
    assert!(rig.association.established().is_none());
    inquiry.decide(Ok(Box::default()));
    assert_eq!(rig.peer.pdu().await.0, 2);
    rig.peer.echoes().await;
}

#[tokio::test(start_paused = true)]
async fn the_users_terms_are_in_the_answer() {
    let (admission_requests, inquiries) = Queue::new(usize::MAX);
    let setup = Setup {
        admission_requests: Some(admission_requests),
        ..Setup::default()
    };
    let mut rig = setup.acceptor();
    let mut request = proposal(1);
    let identity = UserItem::UserIdentityRq {
        identity_type: 3,
        response_requested: true,
        primary: Secret(Bytes::from_static(b"ticket")),
        secondary: Secret::default(),
    };
    if let Some(dimse_proto::ul::associate::Item::UserInformation(items)) = request.items.last_mut()
    {
        items.push(identity);
    }
    rig.peer.send(&Pdu::AssociateRq(request).encode()).await;
    sleep(seconds(1)).await;
    let inquiry = inquiries.try_next().unwrap();
    let response = Secret(Bytes::from_static(b"server ticket"));
    inquiry.decide(Ok(Box::new(Terms {
        identity_response: Some(response.clone()),
        ..Terms::default()
    })));
    let (kind, body) = rig.peer.pdu().await;
    assert_eq!(kind, 2);
    assert!(body.windows(13).any(|part| part == b"server ticket"));
    let established = rig.association.established().unwrap();
    assert_eq!(established.negotiated.identity_response, Some(response));
}

#[tokio::test(start_paused = true)]
async fn the_first_word_counts() {
    let (mut rig, inquiry) = asked(Setup::default()).await;
    inquiry.decide(Err(Rejection {
        rj: AssociateRj::ACSE_NO_REASON,
        code: "user-identity",
        detail: String::new(),
    }));
    inquiry.decide(Ok(Box::default()));
    drop(inquiry);
    assert_eq!(rig.peer.pdu().await, (REJECT, vec![0, 1, 2, 1]));
}

#[tokio::test(start_paused = true)]
async fn no_word_within_the_deadline_is_a_transient_rejection() {
    let (mut rig, inquiry) = asked(Setup::timeouts(|t| t.acse = Some(seconds(30)))).await;
    let begun = Instant::now();
    assert_eq!(rig.peer.pdu().await, (REJECT, vec![0, 2, 3, 1]));
    assert_eq!(begun.elapsed(), seconds(29));
    assert!(!inquiry.is_open());
    inquiry.decide(Ok(Box::default()));
    drop(rig.peer);
    assert!(matches!(
        sometime(rig.association.wait_ended()).await,
        Error::Rejected(_)
    ));
}

#[tokio::test(start_paused = true)]
async fn a_proposal_that_is_dropped_is_rejected() {
    let (mut rig, inquiry) = asked(Setup::default()).await;
    drop(inquiry);
    assert_eq!(rig.peer.pdu().await, (REJECT, vec![0, 2, 3, 1]));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_goes_meanwhile_is_over_at_once() {
    let (mut rig, inquiry) = asked(Setup::default()).await;
    drop(std::mem::replace(&mut rig.peer.io, tokio::io::duplex(1).0));
    rig.over().await;
    assert!(!inquiry.is_open());
    inquiry.decide(Ok(Box::default()));
}

#[tokio::test(start_paused = true)]
async fn a_message_before_the_answer_is_a_violation() {
    let (mut rig, inquiry) = asked(Setup::default()).await;
    rig.peer.send(&message(1, &echo_rq(1), None)).await;
    rig.peer.aborted(2, 2).await;
    inquiry.decide(Ok(Box::default()));
    assert!(rig.association.ended().is_some());
}
