//! What followers are told, and that without one nothing is made for them.

use super::*;
use crate::events::event::{Event, Kinds};
use crate::events::hub::{Events, Follower};

const EVERYTHING: Kinds = Kinds(u32::MAX);

/// An association on which the peer echoes, stores and releases; what was told of it.
async fn observed(kinds: Kinds) -> (Events, Vec<String>) {
    let mut rig = Setup::default().acceptor();
    let events = rig.association.life.events.clone();
    let follower = events.follow(kinds, None, 1000);
    rig.peer.send(&Pdu::AssociateRq(proposal(1)).encode()).await;
    assert_eq!(rig.peer.pdu().await.0, 2);
    rig.peer.echoes().await;
    rig.peer
        .send(&message(3, &store_rq(9), Some(b"0123456789")))
        .await;
    assert_eq!(rig.peer.command().await.status(), Some(Status(0x0122)));
    rig.peer.send(&RELEASE_RQ).await;
    assert_eq!(rig.peer.pdu().await.0, 6);
    drop(rig.peer);
    sometime(&mut rig.driver).await.unwrap();
    (events, lines(&follower))
}

fn lines(follower: &Follower) -> Vec<String> {
    let all = std::iter::from_fn(|| follower.try_next());
    all.map(|told| match &told.event {
        Event::Pdu {
            sent,
            seen,
            classes,
        } => {
            let arrow = if *sent { "<<" } else { ">>" };
            format!(
                "{arrow} {} {}",
                seen.header.type_name(),
                if classes.is_empty() { "" } else { "classes" }
            )
        }
        Event::State(step) => step.to_string(),
        Event::Message {
            sent,
            context_id,
            command,
            bytes,
        } => {
            let arrow = if *sent { "<<" } else { ">>" };
            let name = command.field().unwrap().name().unwrap();
            format!("{arrow} {name} in {context_id}, {bytes} bytes")
        }
        Event::Ended { error, .. } => format!("ended {}", error.is_some()),
        Event::Connected(_) => "connected".to_owned(),
        Event::Associated(_) => "associated".to_owned(),
        other => format!("{other:?}"),
    })
    .collect()
}

#[tokio::test(start_paused = true)]
async fn without_a_follower_no_event_is_built() {
    let (events, lines) = observed(Kinds::NONE).await;
    assert_eq!((events.built(), lines.len()), (0, 0));
    let (events, lines) = observed(Kinds::ENDED).await;
    assert_eq!((events.built(), lines), (1, vec!["ended false".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn messages_are_told_with_the_length_of_their_data_sets() {
    let (_, lines) = observed(Kinds::MESSAGE).await;
    assert_eq!(
        lines,
        [
            ">> C-ECHO-RQ in 1, 0 bytes",
            "<< C-ECHO-RSP in 1, 0 bytes",
            ">> C-STORE-RQ in 3, 10 bytes",
            "<< C-STORE-RSP in 3, 0 bytes",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn everything_is_told_in_its_order() {
    let (_, lines) = observed(EVERYTHING).await;
    assert_eq!(
        lines[..10],
        [
            "connected",
            "Sta1 + Evt5 -> AE-5 -> Sta2",
            ">> A-ASSOCIATE-RQ ",
            "Sta2 + Evt6 -> AE-6 -> Sta3",
            "associated",
            "Sta3 + Evt7 -> AE-7 -> Sta6",
            "<< A-ASSOCIATE-AC classes",
            ">> P-DATA-TF ",
            "Sta6 + Evt10 -> DT-2 -> Sta6",
            ">> C-ECHO-RQ in 1, 0 bytes",
        ]
    );
    assert_eq!(lines.last().unwrap(), "ended false");
    assert!(lines.contains(&"Sta13 + Evt17 -> AR-5 -> Sta1".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_follower_that_comes_later_is_told_from_then_on() {
    let mut rig = Setup::default().accepted().await;
    rig.peer.echoes().await;
    let follower = rig.association.follow(Kinds::DATA | Kinds::MESSAGE, 100);
    rig.peer.echoes().await;
    let told = lines(&follower);
    assert_eq!(told[0], ">> P-DATA-TF ");
    assert_eq!(told.len(), 6);
    drop(follower);
    let built = rig.association.life.events.built();
    rig.peer.echoes().await;
    assert_eq!(rig.association.life.events.built(), built);
}

#[tokio::test(start_paused = true)]
async fn following_what_is_over_ends_at_once() {
    let mut rig = Setup::default().accepted().await;
    let before = rig.association.follow(Kinds::ENDED, 100);
    drop(rig.peer);
    sometime(&mut rig.driver).await.unwrap();
    assert!(sometime(before.next()).await.is_some());
    assert!(sometime(before.next()).await.is_none());
    let after = rig.association.follow(Kinds::ENDED, 100);
    assert!(sometime(after.next()).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_file_is_told_as_the_message_that_it_becomes() {
    use crate::exchange::reports::command_of;
    let command = store_rq(5);
    let mut framed = BytesMut::new();
    frame(&mut framed, 3, true, &command.encode(), 32);
    frame(&mut framed, 3, false, &[0; 100], 32);
    let (context_id, decoded) = command_of(framed.freeze()).unwrap();
    assert_eq!((context_id, decoded.message_id()), (3, Some(5)));
    assert_eq!(command_of(Bytes::from_static(b"junk")), None);
}
