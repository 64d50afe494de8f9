//! What is counted, and the requests that are counted against a peer.

use super::*;
use crate::metrics::{Reading, Spread};

/// An association that is counted.
async fn counted(setup: Setup) -> (Rig, Arc<Metrics>) {
    let metrics = Arc::new(Metrics::default());
    let setup = Setup {
        metrics: Some(Arc::clone(&metrics)),
        ..setup
    };
    (setup.accepted().await, metrics)
}

fn reading(metrics: &Metrics, name: &str) -> Reading {
    let all = metrics.read();
    let found = all.into_iter().find(|(known, _)| *known == name);
    found.expect("it is a metric").1
}

fn number(metrics: &Metrics, name: &str) -> u64 {
    match reading(metrics, name) {
        Reading::Number(number) => number,
        other => panic!("{name} is {other:?}"),
    }
}

/// Those that are not 0.
fn numbers(metrics: &Metrics, name: &str) -> Vec<(String, u64)> {
    match reading(metrics, name) {
        Reading::Numbers(numbers) => numbers
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .map(|(name, count)| (name.into_owned(), count))
            .collect(),
        other => panic!("{name} is {other:?}"),
    }
}

/// How many values, and their sum.
fn spread(spread: &Spread) -> (u64, f64) {
    (spread.counts.iter().sum(), spread.sum)
}

fn times(metrics: &Metrics) -> Vec<(&'static str, u64, f64)> {
    match reading(metrics, "answer_seconds") {
        Reading::Spreads(all) => all
            .iter()
            .map(|(service, one)| (*service, spread(one).0, spread(one).1))
            .collect(),
        other => panic!("{other:?}"),
    }
}

fn one(name: &str, count: u64) -> Vec<(String, u64)> {
    vec![(name.to_owned(), count)]
}

#[tokio::test(start_paused = true)]
async fn an_answer_takes_from_the_last_fragment_to_the_response() {
    let setup = Setup {
        handled: true,
        ..Setup::default()
    };
    let (mut rig, metrics) = counted(setup).await;
    assert_eq!(number(&metrics, "accepted"), 1);
    let whole = message(3, &store_rq(1), Some(&[0; 1500]));
    let (first, last) = whole.split_at(whole.len() - 100);
    rig.peer.send(first).await;
    sleep(seconds(7)).await;
    assert_eq!(number(&metrics, "operations"), 1);
    rig.peer.send(last).await;
    sleep(seconds(2)).await;
    assert_eq!(times(&metrics), []);
    rig.answer_one(0xb000);
    rig.peer.command().await;
    assert_eq!(times(&metrics), [("C-STORE", 1, 2.0)]);
    assert_eq!(number(&metrics, "operations"), 0);
    assert_eq!(numbers(&metrics, "instances"), one("stored", 1));
    assert_eq!(numbers(&metrics, "statuses"), one("warning", 1));
    assert_eq!(numbers(&metrics, "received"), one("C-STORE-RQ", 1));
    assert_eq!(numbers(&metrics, "sent"), one("C-STORE-RSP", 1));
    let Reading::Spread(sizes) = reading(&metrics, "store_bytes") else {
        panic!("a histogram");
    };
    assert_eq!(spread(&sizes), (1, 1500.0));
}

#[tokio::test(start_paused = true)]
async fn what_is_open_when_an_association_ends_is_no_longer_in_progress() {
    let setup = Setup {
        handled: true,
        ..Setup::default()
    };
    let (mut rig, metrics) = counted(setup).await;
    rig.peer.send(&message(1, &echo_rq(1), None)).await;
    sleep(seconds(5)).await;
    assert_eq!(number(&metrics, "operations"), 1);
    drop(rig.peer);
    rig.driver.await.unwrap();
    assert_eq!(number(&metrics, "operations"), 0);
    assert_eq!(times(&metrics), []);
    assert_eq!(numbers(&metrics, "ended"), one("connection-lost", 1));
    assert_eq!(numbers(&metrics, "failed"), []);
    let Reading::Spread(lives) = reading(&metrics, "association_seconds") else {
        panic!("a histogram");
    };
    assert_eq!(spread(&lives), (1, 5.0));
}

#[tokio::test(start_paused = true)]
async fn every_byte_is_counted_on_its_way_in_and_out() {
    let (mut rig, metrics) = counted(Setup::default()).await;
    let (came, left) = (
        number(&metrics, "received_bytes"),
        number(&metrics, "sent_bytes"),
    );
    let request = message(1, &echo_rq(1), None);
    rig.peer.send(&request).await;
    let (_, body) = rig.peer.pdu().await;
    let sent = body.len() as u64 + 6;
    assert_eq!(
        number(&metrics, "received_bytes"),
        came + request.len() as u64
    );
    assert_eq!(number(&metrics, "sent_bytes"), left + sent);
    let proposed = Pdu::AssociateRq(proposal(1)).encode().len();
    assert_eq!(came, proposed as u64);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_asks_for_nothing_is_no_association() {
    let metrics = Arc::new(Metrics::default());
    let mut setup = Setup::timeouts(|t| t.artim = Some(seconds(30)));
    setup.metrics = Some(Arc::clone(&metrics));
    let mut rig = setup.acceptor();
    rig.over().await;
    assert_eq!(numbers(&metrics, "failed"), one("timeout-artim", 1));
    assert_eq!(numbers(&metrics, "ended"), []);
    assert_eq!(number(&metrics, "accepted"), 0);
}

#[tokio::test(start_paused = true)]
async fn requests_that_mean_no_service_are_answered_until_there_are_too_many() {
    let mut setup = Setup::default();
    setup.limits.errors = 3;
    let mut rig = setup.accepted().await;
    for id in 1..=3 {
        rig.peer.send(&message(1, &find_rq(id), None)).await;
        let status = rig.peer.command().await.status().unwrap();
        assert!(status.is_failure(), "{status}");
        rig.peer.echoes().await; // what is right is not counted against it
    }
    rig.peer.send(&message(1, &find_rq(4), None)).await;
    rig.peer.aborted(0, 0).await;
    drop(rig.peer);
    rig.driver.await.unwrap();
    let ended = rig.association.ended().unwrap();
    assert!(matches!(ended, Error::Remote(fault) if fault.code == "too-many-errors"));
}

#[tokio::test(start_paused = true)]
async fn a_message_id_that_is_outstanding_counts_against_the_peer() {
    let mut setup = Setup {
        handled: true,
        ..Setup::default()
    };
    setup.limits.errors = 1;
    let mut rig = setup.accepted().await;
    rig.peer.send(&message(1, &echo_rq(1), None)).await;
    rig.peer.send(&message(1, &echo_rq(1), None)).await;
    assert_eq!(rig.peer.command().await.status(), Some(Status(0x0210)));
    rig.peer.send(&message(1, &echo_rq(1), None)).await;
    rig.peer.aborted(0, 0).await;
}
