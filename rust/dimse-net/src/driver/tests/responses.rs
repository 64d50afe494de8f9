//! Operations with many responses: slow takers, and ends that have to come.

use super::*;
use crate::association::message::Response;

impl Rig {
    fn cancel(&self, message_id: u16) {
        self.association
            .send(1, cancel_rq(message_id), None)
            .unwrap();
    }
}

impl Peer {
    /// Sends so many pending responses, as far as anybody reads them; says how many were.
    async fn pend(&mut self, request: &CommandSet, count: usize, bytes: usize) -> usize {
        let mut pending = answer(request, 0xFF00);
        pending.set_has_data_set(true);
        let framed = message(1, &pending, Some(&vec![b'x'; bytes]));
        for sent in 0..count {
            if timeout(seconds(1), self.io.write_all(&framed))
                .await
                .is_err()
            {
                return sent;
            }
        }
        count
    }

    async fn finish(&mut self, request: &CommandSet) {
        self.send(&message(1, &answer(request, 0), None)).await;
    }
}

async fn asked(setup: Setup, within: Option<u64>) -> (Rig, Invocation) {
    let mut rig = setup.established().await;
    let invocation = rig.invoke(&find_rq(1), None, within);
    rig.peer.command().await;
    (rig, invocation)
}

async fn taken(invocation: &mut Invocation) -> Response {
    sometime(invocation.next()).await.unwrap().unwrap()
}

/// Takes what there is until the final response; says how many pending ones there were.
async fn take_all(invocation: &mut Invocation) -> usize {
    let mut count = 0;
    while taken(invocation).await.command.status() == Some(Status(0xFF00)) {
        count += 1;
    }
    assert!(sometime(invocation.next()).await.is_none());
    count
}

/// Every deadline that could pass is short.
fn hurried() -> Setup {
    let mut setup = Setup::timeouts(|t| {
        t.idle = Some(seconds(10));
        t.progress = Some(seconds(10));
        t.write = Some(seconds(10));
    });
    setup.pipe = 1024;
    setup
}

#[tokio::test(start_paused = true)]
async fn responses_that_nobody_takes_stop_the_reading() {
    for (bytes, most) in [(0, 1100), (2, 1100), (20_000, 190), (3 << 20, 3)] {
        let (mut rig, mut invocation) = asked(hurried(), Some(10)).await;
        let sent = if bytes == 0 {
            // Without an identifier (H05).
            let framed = message(1, &answer(&find_rq(1), 0xFF00), None);
            let mut sent = 0;
            while timeout(seconds(1), rig.peer.io.write_all(&framed))
                .await
                .is_ok()
            {
                sent += 1;
            }
            sent
        } else {
            rig.peer.pend(&find_rq(1), 3000, bytes).await
        };
        assert!(sent > 0 && sent <= most, "{sent} of {bytes} bytes");
        sleep(seconds(3600)).await;
        assert!(rig.association.ended().is_none(), "we are the slow side");
        let first = taken(&mut invocation).await;
        assert_eq!(first.command.status(), Some(Status(0xFF00)));
    }
}

#[tokio::test(start_paused = true)]
async fn reading_goes_on_when_responses_are_taken() {
    let (mut rig, mut invocation) = asked(hurried(), Some(10)).await;
    let mut peer = rig.peer;
    let sending = tokio::spawn(async move {
        let mut pending = answer(&find_rq(1), 0xFF00);
        pending.set_has_data_set(true);
        let framed = message(1, &pending, Some(b"xx"));
        for _ in 0..5000 {
            peer.io.write_all(&framed).await.unwrap();
        }
        peer.finish(&find_rq(1)).await;
        peer
    });
    let mut count = 0;
    loop {
        if count % 1000 == 0 {
            sleep(seconds(100)).await;
        }
        if taken(&mut invocation).await.command.status() == Some(Status(0)) {
            break;
        }
        count += 1;
    }
    assert_eq!(count, 5000);
    rig.peer = sending.await.unwrap();
    assert!(rig.association.ended().is_none());
}

#[tokio::test(start_paused = true)]
async fn it_is_not_idle_while_its_responses_are_dealt_with() {
    let (mut rig, mut invocation) = asked(hurried(), Some(10)).await;
    assert_eq!(rig.peer.pend(&find_rq(1), 100, 2).await, 100);
    rig.peer.finish(&find_rq(1)).await;
    taken(&mut invocation).await;
    sleep(seconds(1)).await;
    let mut ready = 1;
    while invocation.next_ready().is_some() {
        ready += 1;
    }
    assert_eq!(ready, 100, "the final one waits for its turn");
    sleep(seconds(3600)).await;
    assert!(rig.association.ended().is_none());
    assert_eq!(take_all(&mut invocation).await, 0);
    let begun = Instant::now();
    let error = sometime(rig.association.wait_ended()).await;
    assert!(is_timeout(&error, Deadline::Idle));
    assert!(begun.elapsed() <= seconds(10));
}

#[tokio::test(start_paused = true)]
async fn an_operation_that_was_left_does_not_keep_it_from_being_idle() {
    let (mut rig, invocation) = asked(hurried(), Some(10)).await;
    rig.peer.finish(&find_rq(1)).await;
    sleep(seconds(3600)).await;
    drop(invocation);
    let error = sometime(rig.association.wait_ended()).await;
    assert!(is_timeout(&error, Deadline::Idle));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_for_its_turn_is_not_kept_by_a_slow_taker() {
    let (mut rig, mut slow) = asked(hurried(), Some(10)).await;
    let mut next = rig.invoke(&echo_rq(2), None, Some(10));
    assert_eq!(rig.peer.pend(&find_rq(1), 3000, 2).await, 3000);
    rig.peer.finish(&find_rq(1)).await;
    assert_eq!(rig.peer.command().await.message_id(), Some(2));
    rig.peer
        .send(&message(1, &answer(&echo_rq(2), 0), None))
        .await;
    taken(&mut next).await;
    assert_eq!(take_all(&mut slow).await, 3000);
}

#[tokio::test(start_paused = true)]
async fn an_operation_beside_a_slow_taker_gets_its_response() {
    let mut setup = hurried();
    setup.window = 2;
    let (mut rig, mut slow) = asked(setup, Some(10)).await;
    let mut quick = rig.invoke(&echo_rq(2), None, Some(10));
    rig.peer.command().await;
    assert_eq!(rig.peer.pend(&find_rq(1), 3000, 2).await, 3000);
    rig.peer
        .send(&message(1, &answer(&echo_rq(2), 0), None))
        .await;
    taken(&mut quick).await;
    let more = rig.peer.pend(&find_rq(1), 3000, 2).await;
    assert!(more < 20, "now it is alone");
    taken(&mut slow).await;
}

#[tokio::test(start_paused = true)]
async fn a_release_reads_what_nobody_took() {
    let (mut rig, _invocation) = asked(hurried(), Some(10)).await;
    let releasing = rig.release();
    assert_eq!(rig.peer.pend(&find_rq(1), 3000, 2).await, 3000);
    rig.peer.finish(&find_rq(1)).await;
    assert_eq!(rig.peer.pdu().await.0, 5);
    rig.peer.send(&RELEASE_RP).await;
    sometime(releasing).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_was_taken_weighs_on_no_budget() {
    let setup = Setup {
        budget: 1 << 20,
        ..hurried()
    };
    let (mut rig, mut invocation) = asked(setup, Some(10)).await;
    assert_eq!(rig.peer.pend(&find_rq(1), 3, 100_000).await, 3);
    let mut kept = vec![taken(&mut invocation).await];
    assert!(rig.budget.used() > 0, "those that wait do");
    for _ in 0..2 {
        kept.push(taken(&mut invocation).await);
    }
    assert_eq!(rig.budget.used(), 0);
    for _ in 0..20 {
        assert_eq!(rig.peer.pend(&find_rq(1), 1, 100_000).await, 1);
        kept.push(taken(&mut invocation).await);
    }
    rig.peer.finish(&find_rq(1)).await;
    assert_eq!(take_all(&mut invocation).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_operation_ends_in_time_however_much_comes() {
    for kept in [false, true] {
        let (mut rig, invocation) = asked(Setup::default(), Some(60)).await;
        let mut invocation = Some(invocation);
        let begun = Instant::now();
        rig.cancel(1);
        assert_eq!(rig.peer.command().await.responding_to(), Some(1));
        if !kept {
            invocation = None;
        }
        while rig.association.ended().is_none() {
            rig.peer.pend(&find_rq(1), 1, 2).await;
            sleep(seconds(7)).await;
        }
        assert!(is_timeout(
            &rig.association.ended().unwrap(),
            Deadline::Dimse
        ));
        let lasted = begun.elapsed();
        assert!(lasted >= seconds(60) && lasted < seconds(68), "{lasted:?}");
        rig.peer.aborted(0, 0).await;
        drop(invocation);
    }
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_operation_that_ends_leaves_nothing_behind() {
    let (mut rig, mut invocation) = asked(Setup::default(), Some(60)).await;
    rig.cancel(1);
    rig.peer.command().await;
    sleep(seconds(59)).await;
    rig.peer
        .send(&message(1, &answer(&find_rq(1), 0xFE00), None))
        .await;
    let end = taken(&mut invocation).await;
    assert_eq!(end.command.status(), Some(Status(0xFE00)));
    sleep(seconds(3600)).await;
    let mut next = rig.invoke(&echo_rq(2), None, Some(60));
    rig.peer.command().await;
    sleep(seconds(59)).await;
    rig.peer
        .send(&message(1, &answer(&echo_rq(2), 0), None))
        .await;
    taken(&mut next).await;
}

#[tokio::test(start_paused = true)]
async fn one_that_was_only_left_ends_in_time_too() {
    let (mut rig, invocation) = asked(Setup::default(), Some(60)).await;
    drop(invocation);
    let begun = Instant::now();
    while rig.association.ended().is_none() {
        rig.peer.pend(&find_rq(1), 1, 2).await;
        sleep(seconds(7)).await;
    }
    assert!(is_timeout(
        &rig.association.ended().unwrap(),
        Deadline::Dimse
    ));
    assert!(begun.elapsed() < seconds(70));
}

#[tokio::test(start_paused = true)]
async fn a_cancel_reads_on_whether_anybody_takes_it_or_not() {
    for dropped in [false, true] {
        let (mut rig, invocation) = asked(hurried(), Some(10)).await;
        let mut invocation = Some(invocation);
        let mut pending = answer(&find_rq(1), 0xFF00);
        pending.set_has_data_set(true);
        let framed = message(1, &pending, Some(b"xx"));
        let mut left = framed.clone();
        // Until it stops reading, in the middle of a message perhaps.
        while let Ok(written) = timeout(seconds(1), rig.peer.io.write(&left)).await {
            left = left.slice(written.unwrap()..);
            if left.is_empty() {
                left = framed.clone();
            }
        }
        if dropped {
            invocation = None;
        } else {
            rig.cancel(1);
        }
        sometime(rig.peer.io.write_all(&left)).await.unwrap();
        assert_eq!(rig.peer.pend(&find_rq(1), 1000, 2).await, 1000);
        rig.peer.finish(&find_rq(1)).await;
        if let Some(invocation) = &mut invocation {
            assert_eq!(rig.peer.command().await.responding_to(), Some(1));
            assert!(take_all(invocation).await > 2000);
        }
        let mut next = rig.invoke(&echo_rq(2), None, Some(10));
        rig.peer.command().await;
        rig.peer
            .send(&message(1, &answer(&echo_rq(2), 0), None))
            .await;
        taken(&mut next).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_has_not_left_is_cancelled_without_a_word() {
    let (mut rig, _first) = asked(Setup::default(), None).await;
    let mut cancelled = rig.invoke(&find_rq(2), None, None);
    let abandoned = rig.invoke(&find_rq(3), None, None);
    let mut next = rig.invoke(&echo_rq(4), None, None);
    rig.cancel(2);
    let end = taken(&mut cancelled).await;
    assert_eq!(end.command.status(), Some(Status(0xFE00)));
    assert!(sometime(cancelled.next()).await.is_none());
    drop(abandoned);
    rig.peer.finish(&find_rq(1)).await;
    assert_eq!(rig.peer.command().await.message_id(), Some(4));
    rig.peer
        .send(&message(1, &answer(&echo_rq(4), 0), None))
        .await;
    taken(&mut next).await;
}
