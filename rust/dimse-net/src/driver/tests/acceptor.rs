//! The acceptor's deadlines and endings.

use super::*;

#[tokio::test(start_paused = true)]
async fn artim_closes_a_connection_that_asks_for_nothing() {
    let mut rig = Setup::timeouts(|t| t.artim = Some(seconds(30))).acceptor();
    let begun = Instant::now();
    rig.peer.closed().await;
    assert_eq!(begun.elapsed(), seconds(30));
    assert!(is_timeout(&rig.over().await, Deadline::Artim));
}

#[tokio::test(start_paused = true)]
async fn artim_is_not_restarted_by_bytes() {
    let mut rig = Setup::timeouts(|t| t.artim = Some(seconds(30))).acceptor();
    let begun = Instant::now();
    for byte in Pdu::AssociateRq(proposal(1)).encode().iter().take(29) {
        rig.peer.send(&[*byte]).await;
        sleep(seconds(1)).await;
    }
    rig.peer.closed().await;
    assert_eq!(begun.elapsed(), seconds(30));
}

#[tokio::test(start_paused = true)]
async fn artim_is_not_restarted_by_bytes_after_an_abort() {
    let mut rig = Setup::timeouts(|t| t.artim = Some(seconds(30)))
        .accepted()
        .await;
    sleep(seconds(100)).await;
    rig.peer.send(&[0xFF, 0, 0, 0, 0, 0]).await;
    rig.peer.aborted(2, 1).await;
    let begun = Instant::now();
    for _ in 0..29 {
        rig.peer.send(&RELEASE_RQ).await;
        sleep(seconds(1)).await;
    }
    rig.peer.closed().await;
    assert_eq!(begun.elapsed(), seconds(30));
    assert!(matches!(rig.over().await, Error::Remote(fault) if fault.code == "unknown-pdu"));
}

#[tokio::test(start_paused = true)]
async fn artim_waits_for_the_close_after_a_release() {
    let mut rig = Setup::timeouts(|t| t.artim = Some(seconds(30)))
        .accepted()
        .await;
    rig.peer.send(&RELEASE_RQ).await;
    assert_eq!(rig.peer.pdu().await, (6, vec![0; 4]));
    let begun = Instant::now();
    assert!(matches!(
        sometime(rig.association.wait_ended()).await,
        Error::Released
    ));
    assert_eq!(begun.elapsed(), seconds(0), "told before the close");
    rig.peer.closed().await;
    assert_eq!(begun.elapsed(), seconds(30));
}

#[tokio::test(start_paused = true)]
async fn without_artim_a_silent_connection_stays() {
    let mut rig = Setup::default().acceptor();
    sleep(seconds(86_400)).await;
    rig.peer.send(&Pdu::AssociateRq(proposal(1)).encode()).await;
    assert_eq!(rig.peer.pdu().await.0, 2);
}

#[tokio::test(start_paused = true)]
async fn idle_counts_from_the_last_message() {
    let mut rig = Setup::timeouts(|t| t.idle = Some(seconds(60)))
        .accepted()
        .await;
    let begun = Instant::now();
    sleep(seconds(50)).await;
    rig.peer.echoes().await;
    rig.peer.aborted(0, 0).await;
    assert_eq!(begun.elapsed(), seconds(110));
    assert!(is_timeout(
        &sometime(rig.association.wait_ended()).await,
        Deadline::Idle
    ));
}

#[tokio::test(start_paused = true)]
async fn idle_does_not_count_while_an_operation_is_open() {
    let mut setup = Setup::timeouts(|t| t.idle = Some(seconds(60)));
    setup.handled = true;
    let mut rig = setup.accepted().await;
    rig.peer.send(&message(1, &echo_rq(5), None)).await;
    sleep(seconds(3600)).await;
    assert!(rig.association.ended().is_none());
    let begun = Instant::now();
    rig.answer_one(0);
    assert_eq!(rig.peer.command().await.responding_to(), Some(5));
    rig.peer.aborted(0, 0).await;
    assert_eq!(begun.elapsed(), seconds(60));
}

#[tokio::test(start_paused = true)]
async fn an_operation_that_is_open_at_the_end_is_cancelled() {
    let setup = Setup {
        handled: true,
        ..Setup::default()
    };
    let mut rig = setup.accepted().await;
    rig.peer.send(&message(1, &echo_rq(5), None)).await;
    sleep(seconds(1)).await;
    let operation = rig.operations.try_next().unwrap();
    assert!(!operation.cancelled.load(Ordering::Relaxed));
    drop(rig.peer);
    sometime(rig.association.wait_ended()).await;
    assert!(operation.cancelled.load(Ordering::Relaxed));
}

/// An acceptor that owes answers to a peer that does not read them.
async fn unread() -> Rig {
    let mut setup = Setup::timeouts(|t| t.write = Some(seconds(60)));
    setup.pipe = 300;
    let mut rig = setup.accepted().await;
    for id in 0..4 {
        rig.peer.send(&message(1, &echo_rq(id), None)).await;
    }
    rig
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_is_dropped_at_the_write_deadline() {
    let mut rig = unread().await;
    let begun = Instant::now();
    assert!(is_timeout(&rig.over().await, Deadline::Write));
    assert_eq!(begun.elapsed(), seconds(60));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_is_soon_not_read_either() {
    let setup = Setup {
        pipe: READ_SMALLEST,
        ..Setup::default()
    };
    let mut rig = setup.accepted().await;
    let request = message(1, &echo_rq(1), None);
    let mut taken = 0;
    while let Ok(sent) = timeout(seconds(1), rig.peer.io.write_all(&request)).await {
        sent.unwrap();
        taken += request.len();
    }
    assert!(taken < OWED_LIMIT, "{taken} bytes of requests were taken");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_never_pauses_has_its_turn_like_others() {
    let setup = Setup {
        pipe: 1 << 20,
        ..Setup::default()
    };
    let mut rig = setup.accepted().await;
    let request = message(1, &echo_rq(1), None);
    let many = request.repeat(1000);
    rig.peer.send(&many).await;
    tokio::task::yield_now().await;
    let mut answers = vec![0; many.len()];
    let count = rig.peer.io.read(&mut answers).await.unwrap();
    assert!(
        count < many.len() / 2,
        "{count} bytes of answers in one turn"
    );
}

#[tokio::test(start_paused = true)]
async fn the_write_deadline_counts_from_the_last_byte_taken() {
    let mut rig = unread().await;
    let begun = Instant::now();
    sleep(seconds(50)).await;
    let mut byte = [0];
    rig.peer.io.read_exact(&mut byte).await.unwrap();
    assert!(is_timeout(&rig.over().await, Deadline::Write));
    assert_eq!(begun.elapsed(), seconds(110));
}

#[tokio::test(start_paused = true)]
async fn a_message_that_stops_is_a_fault() {
    let store = message(3, &store_rq(1), None);
    let echo = message(1, &echo_rq(1), None);
    let mut half_fragment = BytesMut::from(&*store);
    frame(&mut half_fragment, 3, false, &[0; 100], 1000);
    half_fragment.truncate(half_fragment.len() - 1);
    for beginning in [
        store,
        echo.slice(..3),
        echo.slice(..echo.len() - 1),
        half_fragment.freeze(),
    ] {
        let mut setup = Setup::timeouts(|t| t.progress = Some(seconds(60)));
        setup.timeouts.idle = Some(seconds(30));
        setup.handled = true;
        let mut rig = setup.accepted().await;
        rig.peer.send(&beginning).await;
        let begun = Instant::now();
        rig.peer.aborted(2, 0).await;
        assert_eq!(begun.elapsed(), seconds(60));
        let error = sometime(rig.association.wait_ended()).await;
        assert!(matches!(error, Error::Remote(fault) if fault.code == "stalled-message"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_pause_in_a_message_is_none() {
    let mut setup = Setup::timeouts(|t| t.progress = Some(seconds(60)));
    setup.limits.read_rate = 0;
    let mut rig = setup.accepted().await;
    for byte in message(1, &echo_rq(9), None) {
        rig.peer.send(&[byte]).await;
        sleep(seconds(59)).await;
    }
    assert_eq!(rig.peer.command().await.responding_to(), Some(9));
}

#[tokio::test(start_paused = true)]
async fn a_message_must_make_its_rate() {
    let mut fragment = BytesMut::new();
    frame(&mut fragment, 3, false, &[0; 200], 100);
    // 112 bytes with their headers: once a second is too slow for 1 KiB/s, ten times is not.
    let fragment = &fragment[..112];
    for (every, survives) in [(1000, false), (100, true)] {
        let mut setup = Setup::timeouts(|t| t.progress = Some(seconds(60)));
        setup.handled = true;
        let mut rig = setup.accepted().await;
        rig.peer.send(&message(3, &store_rq(1), None)).await;
        let begun = Instant::now();
        while begun.elapsed() < seconds(200) && rig.association.ended().is_none() {
            rig.peer.send(fragment).await;
            sleep(Duration::from_millis(every)).await;
        }
        assert_eq!(rig.association.ended().is_none(), survives);
        if !survives {
            rig.peer.aborted(2, 0).await;
            assert!(begun.elapsed() <= seconds(61), "{:?}", begun.elapsed());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_message_that_is_over_soon_is_fine() {
    let mut rig = Setup::timeouts(|t| t.progress = Some(seconds(60)))
        .accepted()
        .await;
    for id in 0..10 {
        let echo = message(1, &echo_rq(id), None);
        rig.peer.send(&echo[..10]).await;
        sleep(seconds(50)).await;
        rig.peer.send(&echo[10..]).await;
        assert_eq!(rig.peer.command().await.responding_to(), Some(id));
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_byte_budget_cannot_hold_is_refused_and_passed_over() {
    let setup = Setup {
        budget: 1500,
        handled: true,
        ..Setup::default()
    };
    let mut rig = setup.accepted().await;
    let begun = Instant::now();
    let (read, mut write) = tokio::io::split(rig.peer.io);
    let sending = tokio::spawn(async move {
        let bytes = message(3, &store_rq(3), Some(&vec![0; 1_000_000]));
        write.write_all(&bytes).await.unwrap();
        write
    });
    let mut reader = Peer { io: read };
    let response = reader.command().await;
    assert_eq!(response.status(), Some(Status(0xA700)));
    assert_eq!(begun.elapsed(), BUDGET_WAIT);
    let sent = timeout(FOR_EVER, sending).await;
    let write = sent.expect("the rest is read").unwrap();
    rig.peer = Peer {
        io: reader.io.unsplit(write),
    };
    rig.peer.send(&message(1, &echo_rq(78), None)).await;
    sleep(seconds(1)).await;
    rig.answer_one(0);
    assert_eq!(rig.peer.command().await.responding_to(), Some(78));
    assert_eq!(rig.budget.used(), 0);
}

#[tokio::test(start_paused = true)]
async fn room_in_the_byte_budget_lets_a_message_go_on() {
    let setup = Setup {
        budget: 50_000,
        handled: true,
        ..Setup::default()
    };
    let mut rig = setup.accepted().await;
    let mut others = rig.budget.account();
    others.add(49_999);
    let data = vec![0; 40_000];
    rig.peer.send(&message(3, &store_rq(3), Some(&data))).await;
    sleep(seconds(4)).await;
    assert!(rig.operations.try_next().is_none());
    drop(others);
    sleep(seconds(4)).await;
    let operation = rig.operations.try_next().expect("it is complete");
    let crate::association::message::Data::Memory(parts) = &operation.data else {
        panic!("in memory");
    };
    assert_eq!(parts.len(), 40_000);
    assert_eq!(rig.budget.used(), 40_000);
    drop(operation);
    assert_eq!(rig.budget.used(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_exhausted_byte_budget_keeps_nobody_from_echo_and_release() {
    let mut rig = Setup::default().accepted().await;
    let mut others = rig.budget.account();
    others.add(256 << 20);
    rig.peer.echoes().await;
    rig.peer.send(&RELEASE_RQ).await;
    assert_eq!(rig.peer.pdu().await.0, 6);
}

#[tokio::test(start_paused = true)]
async fn the_read_buffer_goes_back_after_a_moment() {
    let (settings, _operations) = Setup::default().settings();
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let connection = Connection::acceptor(settings.connection());
    let (_association, mut driver) = prepare(connection, settings);
    driver.line.connection.transport_connected();
    let mut stream = Stream::layered(ours);
    let mut peer = Peer { io: theirs };
    driver.pump(&mut stream);
    peer.send(&Pdu::AssociateRq(proposal(1)).encode()[..100])
        .await;
    let turn = driver.wait(&mut stream).await;
    driver.take(turn);
    assert_eq!(driver.read.len(), 100);
    assert!(driver.read.capacity() >= READ_SMALLEST);
    let begun = Instant::now();
    let turn = driver.wait(&mut stream).await;
    driver.take(turn);
    assert_eq!(begun.elapsed(), COOLING);
    assert_eq!(driver.read.len(), 100, "half a PDU is kept");
    driver.read.clear();
    let turn = driver.wait(&mut stream).await;
    driver.take(turn);
    assert_eq!(driver.read.capacity(), 0);
    let waiting = timeout(seconds(86_400), driver.wait(&mut stream)).await;
    assert!(waiting.is_err(), "an idle association is not woken");
    assert!(driver.read.capacity() <= LEAST_BUFFER);
}

#[tokio::test]
async fn what_waits_for_a_peer_is_small() {
    let (settings, _operations) = Setup::default().settings();
    let (ours, _theirs) = tokio::io::duplex(1);
    let connection = Connection::acceptor(settings.connection());
    let (_association, driver) = prepare(connection, settings);
    let itself = size_of_val(&*driver);
    let admission = Arc::new(Open {
        policy: AcceptorPolicy::new([]),
        admission_requests: None,
        gone: AtomicUsize::new(0),
    });
    let future = driver.run_acceptor(Stream::layered(ours), admission);
    let size = itself + size_of_val(&future);
    assert!(size < 4 << 10, "an association takes {size} bytes");
}

#[tokio::test(start_paused = true)]
async fn a_release_behind_a_message_in_one_segment_is_answered() {
    let mut rig = Setup::default().accepted().await;
    let mut both = BytesMut::from(&*message(1, &echo_rq(1), None));
    both.extend_from_slice(&RELEASE_RQ);
    rig.peer.send(&both).await;
    assert_eq!(rig.peer.command().await.responding_to(), Some(1));
    assert_eq!(rig.peer.pdu().await.0, 6);
    assert!(matches!(
        sometime(rig.association.wait_ended()).await,
        Error::Released
    ));
}

#[tokio::test(start_paused = true)]
async fn a_release_waits_for_what_the_peer_asked() {
    let setup = Setup {
        handled: true,
        ..Setup::default()
    };
    let mut rig = setup.accepted().await;
    rig.peer.send(&message(1, &echo_rq(1), None)).await;
    rig.peer.send(&RELEASE_RQ).await;
    sleep(seconds(5)).await;
    rig.answer_one(0);
    assert_eq!(rig.peer.command().await.responding_to(), Some(1));
    assert_eq!(rig.peer.pdu().await.0, 6);
}

#[tokio::test(start_paused = true)]
async fn in_a_release_collision_the_acceptor_answers_second() {
    let mut rig = Setup::default().accepted().await;
    let association = rig.association.clone();
    let releasing = tokio::spawn(async move { association.release().await });
    assert_eq!(rig.peer.pdu().await.0, 5);
    rig.peer.send(&RELEASE_RQ).await;
    sleep(seconds(5)).await;
    rig.peer.send(&RELEASE_RP).await;
    assert_eq!(rig.peer.pdu().await.0, 6);
    sometime(releasing).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn more_requests_than_anybody_agreed_to_are_a_fault() {
    let setup = Setup {
        handled: true,
        ..Setup::default()
    };
    let mut rig = setup.accepted().await;
    for id in 0..70 {
        rig.peer.send(&message(1, &echo_rq(id), None)).await;
    }
    rig.peer.aborted(0, 0).await;
    let error = sometime(rig.association.wait_ended()).await;
    assert!(matches!(error, Error::Remote(fault) if fault.code == "window-overrun"));
    let queued = std::iter::from_fn(|| rig.operations.try_next()).count();
    assert_eq!(queued, 65);
}

#[tokio::test(start_paused = true)]
async fn a_message_id_in_use_is_refused() {
    let setup = Setup {
        handled: true,
        ..Setup::default()
    };
    let mut rig = setup.accepted().await;
    rig.peer.send(&message(1, &echo_rq(4), None)).await;
    rig.peer.send(&message(1, &echo_rq(4), None)).await;
    let response = rig.peer.command().await;
    assert_eq!(response.status(), Some(Status(0x0210)));
    rig.answer_one(0);
    assert_eq!(rig.peer.command().await.status(), Some(Status(0)));
}

#[tokio::test(start_paused = true)]
async fn what_follows_a_fault_is_not_carried_out() {
    let setup = Setup {
        handled: true,
        ..Setup::default()
    };
    let mut rig = setup.accepted().await;
    let mut bytes = BytesMut::from(&*message(1, &answer(&echo_rq(1), 0), None));
    bytes.extend_from_slice(&message(1, &echo_rq(2), None));
    rig.peer.send(&bytes).await;
    rig.peer.aborted(0, 0).await;
    assert!(rig.operations.try_next().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stops_waits_for_open_operations_only() {
    let mut setup = Setup::timeouts(|t| t.artim = Some(seconds(30)));
    setup.handled = true;
    let mut rig = setup.accepted().await;
    rig.peer.send(&message(1, &echo_rq(1), None)).await;
    sleep(seconds(1)).await;
    rig.association.shutdown();
    sleep(seconds(100)).await;
    assert!(rig.association.ended().is_none());
    rig.answer_one(0);
    assert_eq!(rig.peer.command().await.status(), Some(Status(0)));
    rig.peer.aborted(0, 0).await;
    let begun = Instant::now();
    sleep(seconds(5)).await;
    rig.association.close(Error::Shutdown);
    rig.peer.closed().await;
    assert_eq!(begun.elapsed(), seconds(5), "it does not wait for ARTIM");
    assert!(matches!(rig.over().await, Error::Shutdown));
}

#[tokio::test(start_paused = true)]
async fn requests_do_not_keep_a_blocked_write_alive() {
    let mut setup = Setup::timeouts(|t| t.write = Some(seconds(60)));
    setup.pipe = 64;
    let mut rig = setup.accepted().await;
    let begun = Instant::now();
    let request = message(1, &echo_rq(1), None);
    while rig.association.ended().is_none() {
        // Its answers are never read (D16).
        let _full = timeout(seconds(1), rig.peer.io.write_all(&request)).await;
        sleep(seconds(20)).await;
    }
    let error = rig.association.ended().unwrap();
    assert!(is_timeout(&error, Deadline::Write), "{error}");
    assert!(begun.elapsed() < seconds(90), "{:?}", begun.elapsed());
}
