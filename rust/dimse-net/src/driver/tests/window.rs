//! The asynchronous operations window (PS3.7 D.3.3.3): who may send, in which order, and what too many get.

use std::sync::atomic::AtomicBool;

use tokio::sync::mpsc::Sender;

use super::*;
use crate::association::invocation::Invocation;
use crate::association::mailbox::Command;
use crate::send::bulk::{BulkResult, Item, Transfer};
use crate::send::source::FileInfo;

fn setup(window: u16) -> Setup {
    Setup {
        window,
        ..Setup::default()
    }
}

async fn status(invocation: &mut Invocation) -> u16 {
    let response = sometime(invocation.next()).await.unwrap().unwrap();
    response.command.status().unwrap().0
}

/// Files by these Message IDs, as a reading thread would hand them over; each is one PDU long.
fn files(ids: impl IntoIterator<Item = u16>) -> Vec<Item> {
    ids.into_iter().map(|id| file(id, true)).collect()
}

fn file(id: u16, end: bool) -> Item {
    let info = FileInfo {
        path: "a file".into(),
        sop_class: STORAGE,
        sop_instance: Uid::from_static("1.2.3"),
        transfer_syntax: IMPLICIT,
        data_offset: 0,
        data_length: 0,
        size: 0,
    };
    Item::Start {
        index: usize::from(id),
        info: Box::new(info),
        message_id: id,
        bytes: message(3, &store_rq(id), None),
        end,
    }
}

impl Rig {
    /// A sending whose files a test reads.
    fn transfer(&self) -> (Sender<Vec<Item>>, Queue<BulkResult>) {
        let (items, transfer, results) = Transfer::by_hand();
        assert!(self.association.mailbox.send(Command::Bulk(transfer)));
        (items, results)
    }

    /// A sending of files that are read already.
    fn send_files(&self, ids: impl IntoIterator<Item = u16>) -> Queue<BulkResult> {
        let (items, results) = self.transfer();
        items.try_send(files(ids)).unwrap();
        results
    }

    /// Reads so many requests, each answered before the next is read; gives their Message IDs.
    async fn served(&mut self, count: usize) -> Vec<u16> {
        let mut ids = Vec::new();
        for _ in 0..count {
            let request = self.peer.command().await;
            ids.push(request.message_id().unwrap());
            self.answer(&request, 0).await;
        }
        ids
    }

    async fn answer(&mut self, request: &CommandSet, status: u16) {
        self.peer
            .send(&message(1, &answer(request, status), None))
            .await;
    }

    /// Nothing is sent, however long one waits.
    async fn is_silent(&mut self) {
        let mut byte = [0];
        let sent = timeout(seconds(1000), self.peer.io.read(&mut byte)).await;
        assert!(sent.is_err(), "something was sent");
    }
}

// ---- the invoking side

#[tokio::test(start_paused = true)]
async fn as_many_as_agreed_are_outstanding_and_the_rest_wait_in_order() {
    let mut rig = setup(3).established().await;
    let _waiting: Vec<_> = (1..=6)
        .map(|id| rig.invoke(&echo_rq(id), None, None))
        .collect();
    for id in [1, 2, 3] {
        assert_eq!(rig.peer.command().await.message_id(), Some(id));
    }
    rig.is_silent().await;
    for (answered, begun) in [(2, 4), (3, 5), (1, 6)] {
        rig.answer(&echo_rq(answered), 0).await;
        assert_eq!(rig.peer.command().await.message_id(), Some(begun));
        rig.is_silent().await;
    }
}

#[tokio::test(start_paused = true)]
async fn responses_in_any_order_reach_who_asked() {
    let mut rig = setup(4).established().await;
    let mut asked: Vec<_> = (1..=4)
        .map(|id| rig.invoke(&echo_rq(id), None, None))
        .collect();
    for (id, status) in [
        (3, 0xFF00),
        (1, 0xFF00),
        (4, 0xB004),
        (3, 0xFF01),
        (2, 0xB002),
        (1, 0xB001),
        (3, 0xB003),
    ] {
        rig.answer(&echo_rq(id), status).await;
    }
    let expected: [&[u16]; 4] = [
        &[0xFF00, 0xB001],
        &[0xB002],
        &[0xFF00, 0xFF01, 0xB003],
        &[0xB004],
    ];
    for (invocation, statuses) in asked.iter_mut().zip(expected) {
        for expected in statuses {
            assert_eq!(status(invocation).await, *expected);
        }
        assert!(sometime(invocation.next()).await.is_none());
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_id_outstanding_is_not_used_again() {
    let mut rig = setup(4).established().await;
    let mut first = rig.invoke(&echo_rq(1), None, None);
    let mut again = rig.invoke(&echo_rq(1), None, None);
    let results = rig.send_files([1, 2]);
    assert!(matches!(failure(&mut again).await, Error::Local(_)));
    let refused = sometime(results.next()).await.unwrap();
    assert!(!refused.begun);
    assert!(matches!(refused.outcome, Err(Error::Local(_))));
    assert_eq!(rig.served(2).await, [1, 2]);
    assert_eq!(status(&mut first).await, 0);
    assert_eq!(sometime(results.next()).await.unwrap().index, 2);
}

#[tokio::test(start_paused = true)]
async fn files_and_single_requests_take_turns() {
    for window in [1, 2] {
        let mut rig = setup(window).established().await;
        let _results = rig.send_files(101..=105);
        let _asked: Vec<_> = (1..=3)
            .map(|id| rig.invoke(&echo_rq(id), None, None))
            .collect();
        let order = rig.served(8).await;
        let alone = 101 + window;
        let alternating = (1..=3).flat_map(|id| [id, 100 + window + id]);
        let expected: Vec<_> = (101..alone).chain(alternating).take(8).collect();
        assert_eq!(order[..6], expected[..6], "window {window}");
        rig.is_silent().await;
    }
}

#[tokio::test(start_paused = true)]
async fn files_of_an_operation_that_is_cancelled_are_not_begun() {
    let mut rig = setup(1).established().await;
    let cancelled = Arc::new(AtomicBool::new(false));
    let (items, transfer, results) = Transfer::by_hand_of(Arc::clone(&cancelled));
    assert!(rig.association.mailbox.send(Command::Bulk(transfer)));
    items.try_send(files(101..=105)).unwrap();
    assert_eq!(rig.served(2).await, [101, 102]);
    let third = rig.peer.command().await;
    cancelled.store(true, Ordering::Relaxed);
    rig.answer(&third, 0).await;
    rig.is_silent().await;
    for index in 101..=105 {
        let result = sometime(results.next()).await.unwrap();
        let stopped = matches!(result.outcome, Err(Error::Stopped));
        assert_eq!((result.index, stopped), (index, index > 103));
    }
}

#[tokio::test(start_paused = true)]
async fn single_requests_without_end_do_not_keep_a_file_waiting() {
    let mut rig = setup(1).established().await;
    let mut asked: Vec<_> = (1..=20)
        .map(|id| rig.invoke(&echo_rq(id), None, None))
        .collect();
    assert_eq!(rig.served(1).await, [1]);
    let results = rig.send_files([101, 102]);
    asked.extend((21..=40).map(|id| rig.invoke(&echo_rq(id), None, None)));
    let order = rig.served(6).await;
    let files: Vec<_> = order.iter().filter(|id| **id > 100).collect();
    assert_eq!(files, [&101, &102], "{order:?}");
    assert!(sometime(results.next()).await.unwrap().outcome.is_ok());
}

#[tokio::test(start_paused = true)]
async fn sendings_take_turns_file_by_file() {
    let mut rig = setup(1).established().await;
    let _long = rig.send_files(101..=104);
    let _short = rig.send_files([201]);
    let _third = rig.send_files([131, 132]);
    let order = rig.served(7).await;
    assert_eq!(order, [101, 102, 201, 131, 103, 132, 104]);
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_is_slow_keeps_no_request_waiting() {
    let mut rig = setup(1).established().await;
    let (items, results) = rig.transfer();
    let _asked: Vec<_> = (1..=4)
        .map(|id| rig.invoke(&echo_rq(id), None, None))
        .collect();
    assert_eq!(rig.served(3).await, [1, 2, 3]);
    items.try_send(files([101])).unwrap();
    drop(items);
    let mut rest = rig.served(2).await;
    rest.sort_unstable();
    assert_eq!(rest, [4, 101]);
    assert!(sometime(results.next()).await.unwrap().outcome.is_ok());
    assert!(sometime(results.next()).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn no_request_comes_into_the_middle_of_a_file() {
    let mut rig = setup(4).established().await;
    let (items, _results) = rig.transfer();
    items.try_send(vec![file(101, false)]).unwrap();
    assert_eq!(rig.peer.command().await.message_id(), Some(101));
    let _asked = rig.invoke(&echo_rq(1), None, None);
    rig.is_silent().await;
    let mut rest = BytesMut::new();
    frame(&mut rest, 3, false, &[0; 8], 1000);
    items
        .try_send(vec![Item::More {
            bytes: rest.freeze(),
            end: true,
        }])
        .unwrap();
    assert_eq!(rig.peer.pdu().await.1[5], 2, "the last of the data set");
    assert_eq!(rig.peer.command().await.message_id(), Some(1));
}

// ---- the performing side

#[tokio::test(start_paused = true)]
async fn requests_of_a_window_are_answered_in_any_order() {
    let mut wide = setup(8);
    wide.handled = true;
    let mut rig = wide.accepted().await;
    for id in 1..=8 {
        rig.peer.send(&message(1, &echo_rq(id), None)).await;
    }
    let mut operations = Vec::new();
    for _ in 1..=8 {
        operations.push(sometime(rig.operations.next()).await.unwrap());
    }
    for operation in operations.iter().rev() {
        let response = answer(&operation.command, 0);
        rig.association.send(1, response, None).unwrap();
    }
    for id in (1..=8).rev() {
        assert_eq!(rig.peer.command().await.responding_to(), Some(id));
    }
}

#[tokio::test(start_paused = true)]
async fn a_window_without_limit_is_answered_with_one_and_held_to_it() {
    let mut unlimited = setup(0);
    unlimited.handled = true;
    let mut rig = unlimited.accepted().await;
    let agreed = rig.association.established().unwrap();
    let performed = agreed.negotiated.performed;
    assert!((1..=64).contains(&performed), "{performed}");
    // As many may wait beyond it as beyond any other.
    for id in 0..performed + 64 {
        rig.peer.send(&message(1, &echo_rq(id), None)).await;
    }
    sleep(seconds(1)).await;
    assert!(rig.association.ended().is_none());
    rig.peer.send(&message(1, &echo_rq(9999), None)).await;
    rig.peer.aborted(0, 0).await;
    let error = sometime(rig.association.wait_ended()).await;
    assert!(matches!(error, Error::Remote(fault) if fault.code == "window-overrun"));
}
