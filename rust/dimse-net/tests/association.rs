//! Two associations of ours over TCP, with what can go wrong underneath them.
#![allow(missing_docs)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

mod common;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::{CT, EXPLICIT, Faulty, instance, part10, title, tree, uid};
use dimse_net::association::Association;
use dimse_net::deadline::Timeouts;
use dimse_net::error::Error;
use dimse_net::events::{Event, EventRecord, Events, Follower, Kinds};
use dimse_net::limits::{Budget, Limits};
use dimse_net::listener::{Capacity, Listener};
use dimse_net::receive::{Duplicates, Durability, Folder, Layout};
use dimse_net::runtime;
use dimse_net::send::{BulkResult, Options, Sending, ToSend};
use dimse_net::service::{Service, StoreService};
use dimse_net::settings::Settings;
use dimse_net::terms::{Ask, Classes};
use dimse_proto::dimse::{CommandField, CommandSet, Status, element};
use dimse_proto::ul::negotiate::{
    AcceptorPolicy, Preference, ProposedContext, Request, SupportedContext,
};
use tokio::time::timeout;

const WITHIN: Duration = Duration::from_secs(10);

/// A server that stores, on files that fail on demand.
struct Node {
    listener: Listener,
    files: Arc<Faulty>,
    folder: Arc<Folder>,
    events: Follower,
}

impl Node {
    fn start(root: &Path, durability: Durability) -> Self {
        let files = Arc::new(Faulty::default());
        let folder = Folder::open(
            root,
            durability,
            Layout::Flat,
            Duplicates::KeepBoth,
            Arc::clone(&files) as _,
        );
        let folder = Arc::new(folder.unwrap());
        let events = Events::default();
        let pulled = events.follow(Kinds::STORED | Kinds::ENDED, None, usize::MAX);
        let service = Service {
            echo: true,
            folder: Some(StoreService {
                on_stored: None,
                folder: Arc::clone(&folder),
                classes: Classes::All,
            }),
            ..Service::default()
        };
        let policy = AcceptorPolicy::new([CT].map(|class| SupportedContext {
            abstract_syntax: uid(class),
            transfer_syntaxes: Vec::new(),
            preference: Preference::Requestor,
            scu: true,
            scp: false,
        }));
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = Listener::start(
            address,
            policy,
            settings(service, events),
            Capacity::default(),
            Ask::Never,
        )
        .unwrap();
        Self {
            listener,
            files,
            folder,
            events: pulled,
        }
    }

    fn associate(&self) -> Association {
        let contexts = vec![ProposedContext::new(uid(CT), vec![uid(EXPLICIT)])];
        let request = Request::new(title("SCU"), title("SCP"), contexts);
        let address = self.listener.address();
        runtime::handle()
            .block_on(Association::request(
                address.ip().to_string(),
                address.port(),
                request.build().unwrap(),
                settings(Service::default(), Events::default()),
            ))
            .unwrap()
    }

    fn event(&self) -> Arc<EventRecord> {
        runtime::handle()
            .block_on(async { timeout(WITHIN, self.events.next()).await })
            .unwrap()
            .unwrap()
    }

    /// The outcome of the next instance: its status.
    fn stored(&self) -> u16 {
        loop {
            if let Event::Stored(stored) = &self.event().event {
                return stored.status;
            }
        }
    }
}

fn settings(service: Service, events: Events) -> Settings {
    Settings {
        tls: None,
        timeouts: Timeouts {
            artim: Some(Duration::from_millis(500)),
            ..Timeouts::default()
        },
        limits: Limits::default(),
        budget: Budget::default(),
        service: Arc::new(service),
        events,
        metrics: None,
    }
}

fn request(association: &Association, instance: &str) -> CommandSet {
    let id = association.next_message_id();
    let mut command = CommandSet::request(CommandField::C_STORE_RQ, id, &uid(CT)).unwrap();
    command
        .set_uid(element::AFFECTED_SOP_INSTANCE_UID, &uid(instance))
        .unwrap();
    command.set_us(element::PRIORITY, 0);
    command.set_has_data_set(true);
    command
}

fn store(association: &Association, name: &str, pixels: usize) -> Status {
    let data = Bytes::from(instance(name, &vec![0; pixels]));
    let command = request(association, name);
    let mut invocation = association
        .invoke(1, command, Some(data), Some(WITHIN))
        .unwrap();
    let response = runtime::handle().block_on(invocation.next());
    response.unwrap().unwrap().command.status().unwrap()
}

#[test]
fn a_panic_while_storing_refuses_the_instance_and_nothing_else() {
    for durability in [Durability::Fast, Durability::Durable] {
        for pixels in [10, 100_000, 3_000_000] {
            let root = tempfile::tempdir().unwrap();
            let node = Node::start(root.path(), durability);
            let association = node.associate();
            let mut panics = 0;
            loop {
                node.files.arm_panic(panics);
                let name = format!("1.{panics}");
                let status = store(&association, &name, pixels);
                if !node.files.fired() {
                    assert_eq!(status, Status(0));
                    break;
                }
                assert_eq!(status, Status(0xA700));
                panics += 1;
            }
            assert!(panics > 2, "every operation has its turn: {panics}");
            node.files.arm(usize::MAX, false, 0);
            assert_eq!(store(&association, "1.2.3", 10), Status(0));
            runtime::handle().block_on(association.release()).unwrap();
            let left = tree(root.path());
            assert!(
                left.keys().all(|name| !name.contains(".part")),
                "{:?}",
                left.keys()
            );
        }
    }
}

#[test]
fn an_instance_that_came_whole_is_stored_and_told_of_though_the_peer_went() {
    let root = tempfile::tempdir().unwrap();
    let node = Node::start(root.path(), Durability::Durable);
    let association = node.associate();
    node.files.hold("sync");
    let data = Bytes::from(instance("1.2.3", &[0; 100]));
    let command = request(&association, "1.2.3");
    let _invocation = association.invoke(1, command, Some(data), None).unwrap();
    while !node.files.log().contains(&"sync") {
        std::thread::yield_now();
    }
    association.abort();
    runtime::handle().block_on(association.wait_ended());
    assert_eq!(tree(root.path()).len(), 1, "a temporary file");
    node.files.let_go();
    assert_eq!(node.stored(), 0);
    let ended = node.event();
    assert!(matches!(ended.event, Event::Ended { stored: 1, .. }));
    assert!(root.path().join("1.2.3.dcm").exists());
    assert_eq!(tree(root.path()).len(), 1);
}

#[test]
fn a_server_that_stops_finishes_what_it_received() {
    let root = tempfile::tempdir().unwrap();
    let node = Node::start(root.path(), Durability::Durable);
    let association = node.associate();
    let idle = node.associate();
    node.files.hold("sync");
    let data = Bytes::from(instance("1.2.3", &[0; 100]));
    let command = request(&association, "1.2.3");
    let mut invocation = association.invoke(1, command, Some(data), None).unwrap();
    while !node.files.log().contains(&"sync") {
        std::thread::yield_now();
    }
    std::thread::scope(|scope| {
        let stopping =
            scope.spawn(|| runtime::handle().block_on(node.listener.stop(Duration::ZERO, WITHIN)));
        runtime::handle().block_on(idle.wait_ended());
        assert!(!stopping.is_finished());
        node.files.let_go();
        let response = runtime::handle().block_on(invocation.next());
        let status = response.unwrap().unwrap().command.status();
        assert_eq!(status, Some(Status(0)));
        runtime::handle().block_on(association.wait_ended());
        stopping.join().unwrap();
    });
    assert_eq!(node.listener.associations().len(), 0);
    assert_eq!(node.listener.pending(), 0);
}

/// Files to be sent: small ones, which travel in batches, and some that take several chunks.
fn files(root: &Path, count: usize) -> Vec<ToSend> {
    (0..count)
        .map(|index| {
            let name = format!("1.2.{index}");
            let path = root.join(&name);
            let pixels = if index % 20 == 19 { 3_000_000 } else { 1000 };
            let data = instance(&name, &vec![0; pixels]);
            fs::write(&path, part10(&name, EXPLICIT, &data)).unwrap();
            ToSend { index, path }
        })
        .collect()
}

fn results(sending: &Sending) -> Vec<BulkResult> {
    runtime::handle()
        .block_on(async { timeout(WITHIN, sending.next(Duration::ZERO)).await })
        .unwrap()
        .unwrap_or_default()
}

#[test]
fn every_file_has_one_result_however_the_association_ends() {
    let root = tempfile::tempdir().unwrap();
    let node = Node::start(&root.path().join("stored"), Durability::Fast);
    let files = files(root.path(), 200);
    for after in [0, 1, 10, 19, 25, 60, 150, 200] {
        let association = node.associate();
        let sending = association
            .send_files(files.clone(), Options::default())
            .unwrap();
        let mut seen = vec![0; files.len()];
        let mut taken = 0;
        while taken < files.len() {
            if taken >= after {
                association.abort();
            }
            for result in results(&sending) {
                seen[result.index] += 1;
                taken += 1;
                assert!(result.begun || result.outcome.is_err());
            }
        }
        assert!(results(&sending).is_empty(), "none after the last");
        assert!(seen.iter().all(|count| *count == 1), "{after}: {seen:?}");
    }
    assert!(node.folder.root().exists());
}

#[test]
fn files_not_begun_are_not_sent_once_the_user_stopped() {
    let root = tempfile::tempdir().unwrap();
    let node = Node::start(&root.path().join("stored"), Durability::Durable);
    let association = node.associate();
    node.files.hold("sync");
    let sending = association
        .send_files(files(root.path(), 200), Options::default())
        .unwrap();
    while !node.files.log().contains(&"sync") {
        std::thread::yield_now();
    }
    sending.stop();
    node.files.let_go();
    let mut all = Vec::new();
    while all.len() < 200 {
        all.extend(results(&sending));
    }
    all.sort_by_key(|result| result.index);
    let first = all.remove(0);
    assert_eq!(first.outcome.unwrap().status(), Some(Status(0)));
    for result in all {
        assert!(!result.begun);
        assert!(matches!(result.outcome, Err(Error::Stopped)));
    }
    assert_eq!(store(&association, "1.3", 10), Status(0), "it lives on");
}

#[test]
fn many_sendings_at_once_leave_threads_for_the_others() {
    let root = tempfile::tempdir().unwrap();
    let node = Node::start(&root.path().join("stored"), Durability::Durable);
    let association = node.associate();
    let path = root.path().join("large");
    let data = instance("1.2", &vec![0; 8_000_000]);
    fs::write(&path, part10("1.2", EXPLICIT, &data)).unwrap();
    // More than the runtime has threads for files, which the server in this process needs as well.
    let all: Vec<_> = (0..600)
        .map(|index| {
            let file = ToSend {
                index,
                path: path.clone(),
            };
            let sending = association.send_files(vec![file], Options::default());
            sending.unwrap()
        })
        .collect();
    for sending in &all[..5] {
        let result = results(sending).pop().unwrap();
        assert_eq!(result.outcome.unwrap().status(), Some(Status(0)));
    }
    association.abort();
    for sending in &all[5..] {
        assert!(results(sending).pop().unwrap().outcome.is_err());
    }
}
