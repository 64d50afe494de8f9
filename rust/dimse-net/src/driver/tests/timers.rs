//! Deadlines that the other files do not come by: every field of [`Timeouts`] has a test somewhere here.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

use super::*;
use crate::association::mailbox::Command;
use crate::send::bulk::{Item, Transfer};
use crate::send::source::FileInfo;

/// A port whose queue is full, so that the next connection is neither accepted nor refused.
fn crowded() -> (TcpListener, Vec<Socket>, SocketAddr) {
    let socket = || Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).unwrap();
    let listening = socket();
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    listening.bind(&any.into()).unwrap();
    listening.listen(0).unwrap();
    let listener = TcpListener::from(listening);
    let address = listener.local_addr().unwrap();
    let queued = (0..4).map(|_| {
        let one = socket();
        one.set_nonblocking(true).unwrap();
        let _in_progress = one.connect(&address.into());
        one
    });
    let queued = queued.collect();
    (listener, queued, address)
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_does_not_open_ends_at_connect() {
    let (_listener, _queued, address) = crowded();
    let setup = Setup::timeouts(|t| t.connect = Some(seconds(10)));
    let (settings, _operations) = setup.settings();
    let connection = Connection::requestor(settings.connection());
    let (_association, driver) = prepare(connection, settings);
    let (opened, outcome) = oneshot::channel();
    let begun = Instant::now();
    let host = address.ip().to_string();
    driver
        .run_requestor(host, address.port(), proposal(1), opened)
        .await;
    let error = outcome.await.unwrap().unwrap_err();
    assert!(is_timeout(&error, Deadline::Connect), "{error}");
    assert_eq!(begun.elapsed(), seconds(10));
}

#[cfg(feature = "tls")]
#[tokio::test(start_paused = true)]
async fn a_handshake_that_does_not_come_ends_at_tls() {
    let rules = crate::transport::tls::Rules {
        cert: None,
        key: None,
        password: None,
        ca: Vec::new(),
        crl: Vec::new(),
        pinned: Vec::new(),
        verify: crate::transport::tls::Verify::Off,
        server_name: None,
        tls13_only: false,
    };
    let setup = Setup::timeouts(|t| t.tls = Some(seconds(10)));
    let (mut settings, _operations) = setup.settings();
    settings.tls = Some(Arc::new(crate::transport::tls::Tls::new(rules)));
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let listener = listener.await.unwrap();
    let silent = tokio::net::TcpStream::connect(listener.local_addr().unwrap());
    let _silent = silent.await.unwrap();
    let (accepted, _) = listener.accept().await.unwrap();
    let connection = Connection::acceptor(settings.connection());
    let (association, driver) = prepare(connection, settings);
    let admission = Arc::new(Open {
        policy: AcceptorPolicy::new([]),
        admission_requests: None,
        gone: AtomicUsize::new(0),
    });
    let begun = Instant::now();
    driver.run_acceptor(Stream::new(accepted), admission).await;
    let error = association.ended().expect("it said why");
    assert!(is_timeout(&error, Deadline::Tls), "{error}");
    assert_eq!(begun.elapsed(), seconds(10));
}

#[tokio::test(start_paused = true)]
async fn a_file_without_response_ends_at_its_own_deadline() {
    let mut rig = Setup::default().established().await;
    let (items, mut transfer, results) = Transfer::by_hand();
    transfer.within = Some(seconds(300));
    let info = FileInfo {
        path: "a file".into(),
        sop_class: STORAGE,
        sop_instance: Uid::from_static("1.2.3"),
        transfer_syntax: IMPLICIT,
        data_offset: 0,
        data_length: 0,
        size: 0,
    };
    let item = Item::Start {
        index: 0,
        info: Box::new(info),
        message_id: 1,
        bytes: message(3, &store_rq(1), None),
        end: true,
    };
    items.try_send(vec![item]).unwrap();
    assert!(rig.association.mailbox.send(Command::Bulk(transfer)));
    assert_eq!(rig.peer.command().await.message_id(), Some(1));
    let begun = Instant::now();
    let failed = sometime(results.next()).await.unwrap();
    let error = failed.outcome.unwrap_err();
    assert!(is_timeout(&error, Deadline::Dimse), "{error}");
    assert_eq!(begun.elapsed(), seconds(300));
    rig.peer.aborted(0, 0).await;
}

#[tokio::test(start_paused = true)]
async fn without_deadlines_nothing_passes() {
    let mut rig = Setup::default().accepted().await;
    sleep(FOR_EVER).await;
    rig.peer.echoes().await;
    let rig = Setup::default().established().await;
    let _asked = rig.invoke(&echo_rq(1), None, None);
    let _releasing = rig.release();
    sleep(FOR_EVER).await;
    assert!(rig.association.ended().is_none());
}
