//! The requestor's deadlines and endings.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncWrite, ReadBuf};

use super::*;
use crate::association::mailbox::InvokeOptions;

#[tokio::test(start_paused = true)]
async fn a_proposal_without_answer_ends_at_acse() {
    let mut setup = Setup::timeouts(|t| t.acse = Some(seconds(30)));
    setup.timeouts.artim = Some(seconds(20));
    let mut rig = setup.requestor();
    let begun = Instant::now();
    assert_eq!(rig.peer.pdu().await.0, 1);
    let outcome = sometime(rig.opened.take().unwrap()).await.unwrap();
    assert!(is_timeout(&outcome.unwrap_err(), Deadline::Acse));
    assert_eq!(begun.elapsed(), seconds(30), "told before the peer closes");
    rig.peer.aborted(0, 0).await;
    rig.peer.closed().await;
    assert_eq!(begun.elapsed(), seconds(50));
}

#[tokio::test(start_paused = true)]
async fn acse_is_not_restarted_by_bytes() {
    let mut rig = Setup::timeouts(|t| t.acse = Some(seconds(30))).requestor();
    let begun = Instant::now();
    let (_, rq) = rig.peer.pdu().await;
    for byte in answer_to(&rq).iter().take(29) {
        rig.peer.send(&[*byte]).await;
        sleep(seconds(1)).await;
    }
    let outcome = sometime(rig.opened.take().unwrap()).await.unwrap();
    assert!(is_timeout(&outcome.unwrap_err(), Deadline::Acse));
    assert_eq!(begun.elapsed(), seconds(30));
}

#[tokio::test(start_paused = true)]
async fn a_response_that_does_not_come_is_named_at_once() {
    let mut rig = Setup::timeouts(|t| t.artim = Some(seconds(30)))
        .established()
        .await;
    let begun = Instant::now();
    let mut invocation = rig.invoke(&echo_rq(1), None, Some(60));
    let error = failure(&mut invocation).await;
    assert!(is_timeout(&error, Deadline::Dimse));
    assert_eq!(begun.elapsed(), seconds(60), "told before the peer closes");
    assert_eq!(rig.peer.pdu().await.0, 4);
    rig.peer.aborted(0, 0).await;
    rig.peer.closed().await;
    assert_eq!(begun.elapsed(), seconds(90));
}

#[tokio::test(start_paused = true)]
async fn the_response_deadline_counts_from_the_last_byte_sent() {
    let setup = Setup {
        pipe: 1000,
        ..Setup::default()
    };
    let mut rig = setup.established().await;
    let begun = Instant::now();
    let request = store_rq(1);
    let data = Bytes::from(vec![0; 10_000]);
    let mut invocation = rig.invoke(&request, Some(data.clone()), Some(60));
    let total = message(3, &request, None).len() + 12 + data.len();
    let mut left = total;
    while left > 0 {
        sleep(seconds(10)).await;
        let mut some = vec![0; left.min(100)];
        rig.peer.io.read_exact(&mut some).await.unwrap();
        left -= some.len();
        if left <= 1000 {
            break; // the rest has left, and is on its way
        }
    }
    let sent = begun.elapsed();
    assert!(sent > seconds(600), "{sent:?}");
    let error = failure(&mut invocation).await;
    assert!(is_timeout(&error, Deadline::Dimse));
    assert_eq!(begun.elapsed(), sent + seconds(60));
}

#[tokio::test(start_paused = true)]
async fn any_progress_restarts_the_response_deadline() {
    let mut rig = Setup::default().established().await;
    let begun = Instant::now();
    let mut invocation = rig.invoke(&echo_rq(1), None, Some(60));
    rig.peer.pdu().await;
    for byte in &message(1, &answer(&echo_rq(1), 0), None)[..5] {
        sleep(seconds(50)).await;
        rig.peer.send(&[*byte]).await;
    }
    let error = failure(&mut invocation).await;
    assert!(is_timeout(&error, Deadline::Dimse));
    assert_eq!(begun.elapsed(), seconds(310));
}

#[tokio::test(start_paused = true)]
async fn the_most_patient_operation_sets_the_response_deadline() {
    let setup = Setup {
        window: 8,
        ..Setup::default()
    };
    let rig = setup.established().await;
    let begun = Instant::now();
    let mut short = rig.invoke(&echo_rq(1), None, Some(60));
    let _long = rig.invoke(&echo_rq(2), None, Some(300));
    let error = failure(&mut short).await;
    assert!(is_timeout(&error, Deadline::Dimse));
    assert_eq!(begun.elapsed(), seconds(300));
}

#[tokio::test(start_paused = true)]
async fn idle_does_not_count_while_a_response_is_due() {
    let mut rig = Setup::timeouts(|t| t.idle = Some(seconds(60)))
        .established()
        .await;
    let mut invocation = rig.invoke(&echo_rq(1), None, None);
    sleep(seconds(3600)).await;
    rig.peer.pdu().await;
    rig.peer
        .send(&message(1, &answer(&echo_rq(1), 0), None))
        .await;
    assert!(sometime(invocation.next()).await.unwrap().is_ok());
    let begun = Instant::now();
    let error = sometime(rig.association.wait_ended()).await;
    assert!(is_timeout(&error, Deadline::Idle));
    assert_eq!(begun.elapsed(), seconds(60));
}

#[tokio::test(start_paused = true)]
async fn a_release_without_answer_ends_at_release() {
    let mut rig = Setup::timeouts(|t| t.release = Some(seconds(10)))
        .established()
        .await;
    let begun = Instant::now();
    let error = sometime(rig.association.release()).await.unwrap_err();
    assert!(is_timeout(&error, Deadline::Release));
    assert_eq!(begun.elapsed(), seconds(10));
    assert_eq!(rig.peer.pdu().await.0, 5);
    rig.peer.aborted(0, 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_release_waits_for_our_operations() {
    let mut rig = Setup::default().established().await;
    let mut invocation = rig.invoke(&echo_rq(1), None, None);
    let releasing = rig.release();
    assert_eq!(rig.peer.pdu().await.0, 4);
    sleep(seconds(5)).await;
    let mut behind = rig.invoke(&echo_rq(2), None, None);
    let refused = sometime(behind.next()).await.unwrap().unwrap_err();
    assert!(matches!(refused, Error::Released), "{refused}");
    rig.peer
        .send(&message(1, &answer(&echo_rq(1), 0), None))
        .await;
    assert!(sometime(invocation.next()).await.unwrap().is_ok());
    assert_eq!(rig.peer.pdu().await.0, 5);
    rig.peer.send(&RELEASE_RP).await;
    sometime(releasing).await.unwrap().unwrap();
    rig.peer.closed().await;
}

#[tokio::test(start_paused = true)]
async fn in_a_release_collision_the_requestor_answers_first() {
    let mut rig = Setup::default().established().await;
    let releasing = rig.release();
    assert_eq!(rig.peer.pdu().await.0, 5);
    rig.peer.send(&RELEASE_RQ).await;
    assert_eq!(rig.peer.pdu().await.0, 6);
    rig.peer.send(&RELEASE_RP).await;
    sometime(releasing).await.unwrap().unwrap();
    rig.peer.closed().await;
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_releases_ends_what_it_did_not_answer() {
    let mut rig = Setup::default().established().await;
    let mut asked = rig.invoke(&echo_rq(1), None, None);
    let mut waiting = rig.invoke(&echo_rq(2), None, None);
    assert_eq!(rig.peer.pdu().await.0, 4);
    rig.peer.send(&RELEASE_RQ).await;
    assert_eq!(rig.peer.pdu().await.0, 6, "and nothing new before it");
    assert!(matches!(failure(&mut asked).await, Error::Released));
    assert!(matches!(failure(&mut waiting).await, Error::Released));
}

#[tokio::test(start_paused = true)]
async fn an_abort_gets_past_a_blocked_write_as_a_pdu_of_its_own() {
    for read_first in [0, 5, 12, 100, 160, 1012, 1500] {
        let mut setup = Setup::timeouts(|t| t.artim = Some(seconds(30)));
        setup.pipe = 64;
        let mut rig = setup.established().await;
        // Longer than what is copied behind its headers: header and fragment are queued apart.
        let data = Bytes::from(vec![0; 200_000]);
        let mut invocation = rig.invoke(&store_rq(1), Some(data), None);
        let mut bytes = vec![0; read_first];
        rig.peer.io.read_exact(&mut bytes).await.unwrap();
        sleep(seconds(1)).await;
        let begun = Instant::now();
        rig.association.abort();
        assert!(matches!(failure(&mut invocation).await, Error::LocalAbort));
        assert_eq!(begun.elapsed(), seconds(0));
        rig.peer.io.read_to_end(&mut bytes).await.unwrap();
        let mut kinds = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            let length = u32::from_be_bytes(bytes[at + 2..at + 6].try_into().unwrap());
            kinds.push(bytes[at]);
            at += 6 + length as usize;
        }
        assert_eq!(at, bytes.len(), "whole PDUs");
        assert_eq!(kinds.pop(), Some(ABORT));
        assert!(kinds.len() <= 2, "{} PDUs before it", kinds.len());
    }
}

#[tokio::test(start_paused = true)]
async fn an_abort_that_nobody_reads_closes_at_artim() {
    let mut setup = Setup::timeouts(|t| t.artim = Some(seconds(30)));
    setup.pipe = 64;
    let mut rig = setup.established().await;
    let _invocation = rig.invoke(&store_rq(1), Some(Bytes::from(vec![0; 200_000])), None);
    sleep(seconds(1)).await;
    let begun = Instant::now();
    rig.association.abort();
    assert!(matches!(rig.over().await, Error::LocalAbort));
    assert_eq!(begun.elapsed(), seconds(30));
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_requests_while_a_response_is_due_is_not_queued_without_end() {
    let mut setup = Setup {
        pipe: 4096,
        ..Setup::default()
    };
    setup.limits.errors = usize::MAX;
    let mut rig = setup.established().await;
    let _invocation = rig.invoke(&echo_rq(1), None, None);
    let flood = message(1, &echo_rq(9), None);
    let mut taken = 0;
    let writing = async {
        while taken < 4 << 20 {
            rig.peer.io.write_all(&flood).await.unwrap();
            taken += flood.len();
        }
    };
    let blocked = timeout(seconds(1000), writing).await;
    assert!(
        blocked.is_err() && taken < 2 << 20,
        "{taken} bytes were read"
    );
    assert!(rig.association.ended().is_none());
}

/// A peer that accepts, takes whatever it is sent, and never stops talking for a while.
struct Endless {
    talk: Bytes,
    message: Bytes,
    until: std::time::Instant,
}

impl AsyncRead for Endless {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.talk.is_empty() && std::time::Instant::now() < self.until {
            self.talk = self.message.clone();
        }
        let some = self.talk.len().min(buffer.remaining());
        buffer.put_slice(&self.talk.split_to(some));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Endless {
    fn poll_write(
        self: Pin<&mut Self>,
        _context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// In real time: virtual time passes only when nobody talks.
#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_never_stops_talking_does_not_stop_the_clock() {
    let mut setup = Setup::timeouts(|t| t.release = Some(Duration::from_millis(100)));
    setup.timeouts.artim = Some(Duration::from_millis(100));
    setup.limits.errors = usize::MAX;
    let endless = Endless {
        talk: answer_to(&Pdu::AssociateRq(proposal(1)).encode()[6..]),
        message: message(1, &echo_rq(9), None),
        until: std::time::Instant::now() + seconds(3),
    };
    let mut rig = setup.requestor_on(endless);
    sometime(rig.opened.take().unwrap()).await.unwrap().unwrap();
    let error = sometime(rig.association.release()).await.unwrap_err();
    assert!(is_timeout(&error, Deadline::Release), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_command_after_the_end_is_refused_at_once() {
    let mut rig = Setup::default().established().await;
    rig.peer.send(&[0xFF, 0, 0, 0, 0, 0]).await;
    rig.peer.aborted(2, 1).await;
    let error = sometime(rig.association.wait_ended()).await;
    assert!(matches!(error, Error::Remote(_)));
    let refused = rig.association.invoke(1, echo_rq(1), None, None);
    assert!(matches!(refused, Err(Error::Remote(_))));
    assert!(sometime(rig.association.release()).await.is_err());
}

fn again(again: u64) -> InvokeOptions {
    InvokeOptions {
        again,
        ..InvokeOptions::default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_is_repeated_by_itself_until_it_fails() {
    for (statuses, sent) in [(&[0x0000, 0xB000, 0x0000][..], 3), (&[0x0000, 0x0122], 2)] {
        let mut rig = Setup::default().established().await;
        let first = rig.association.next_message_id();
        let mut invocation = rig
            .association
            .invoke_with(1, echo_rq(first), None, again(2))
            .unwrap();
        let releasing = rig.release();
        for (number, status) in (first..).zip(statuses) {
            let request = rig.peer.command().await;
            assert_eq!(request.message_id(), Some(number));
            rig.peer
                .send(&message(1, &answer(&request, *status), None))
                .await;
        }
        let last = sometime(invocation.next()).await.unwrap().unwrap();
        assert_eq!(last.command.status(), Some(Status(statuses[sent - 1])));
        assert_eq!(last.command.responding_to(), Some(first + sent as u16 - 1));
        assert!(invocation.next().await.is_none());
        // A release waits for the last of them.
        assert_eq!(rig.peer.pdu().await.0, 5);
        rig.peer.send(&RELEASE_RP).await;
        sometime(releasing).await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_repeated_request_keeps_clear_of_the_message_ids_outstanding() {
    let setup = Setup {
        window: 2,
        ..Setup::default()
    };
    let mut rig = setup.established().await;
    let first = rig.association.next_message_id();
    let _slow = rig.invoke(&echo_rq(first + 1), None, None);
    let _fast = rig
        .association
        .invoke_with(1, echo_rq(first), None, again(1))
        .unwrap();
    assert_eq!(rig.peer.command().await.message_id(), Some(first + 1));
    let request = rig.peer.command().await;
    rig.peer.send(&message(1, &answer(&request, 0), None)).await;
    assert_eq!(rig.peer.command().await.message_id(), Some(first + 2));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_repeated_for_nobody() {
    let mut rig = Setup::default().established().await;
    let first = rig.association.next_message_id();
    let invocation = rig
        .association
        .invoke_with(1, echo_rq(first), None, again(1))
        .unwrap();
    let request = rig.peer.command().await;
    drop(invocation);
    rig.peer.send(&message(1, &answer(&request, 0), None)).await;
    let releasing = rig.release();
    assert_eq!(rig.peer.pdu().await.0, 5);
    rig.peer.send(&RELEASE_RP).await;
    sometime(releasing).await.unwrap().unwrap();
}
