//! Accepting associations: which proposals are admitted, how many, and what happens when there are too many.

// A connection is pending until its A-ASSOCIATE-RQ is judged; then it is established, or gone. Pending connections
// cost a peer nothing and this node a task, so they are bounded, for each address and in all, and at the bound the
// oldest is closed: a new peer always gets in, however many silent ones there are. Established associations are
// bounded too, but at that bound the new proposal is rejected (local limit exceeded, PS3.8 9.3.4).
//
// A proposal that the policy admits gets its place before the user is asked about it. So the queue of admission
// requests is never longer than the number of associations allowed, and an admission never comes too late for a place.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use dimse_proto::ul::associate::Associate;
use dimse_proto::ul::negotiate::{self, AcceptorPolicy, UserIdentity, Verdict};
use dimse_proto::ul::reason::AssociateRj;
use parking_lot::Mutex;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::admission::gate::{Admission, Judgement};
use crate::admission::request::AdmissionRequest;
use crate::association::handle::Association;
use crate::driver::open;
use crate::error::Error;
use crate::events::event::{Event, EventRecord, Kinds};
use crate::facts::{AssociationId, no_titles};
use crate::metrics::{Metrics, Reading, Readings, Syncs};
use crate::queue::{Queue, Sender};
use crate::runtime;
use crate::settings::Settings;
use crate::terms::{Ask, Rejection, Terms};
use crate::transport::stream::Stream;

/// How long accepting rests when the operating system has no descriptors left.
const BACK_OFF: Duration = Duration::from_millis(100);

/// How long closures are counted before they become one event.
const CLOSURES: Duration = Duration::from_secs(1);

/// Connections waiting in the kernel.
const BACKLOG: i32 = 1024;

/// How many a server takes.
#[derive(Clone, Copy, Debug)]
pub struct Capacity {
    /// Established associations.
    pub associations: usize,
    /// Connections that have not sent their A-ASSOCIATE-RQ; past this the oldest goes.
    pub pending: usize,
    /// The same from one address.
    pub pending_per_address: usize,
}

impl Default for Capacity {
    fn default() -> Self {
        Self {
            associations: 1000,
            pending: 1024,
            // A proxy is one address: half of all, so that one address cannot have the places of all others.
            pending_per_address: 512,
        }
    }
}

/// A listening server.
#[derive(Debug)]
pub struct Listener {
    acceptor: Arc<Acceptor>,
    address: SocketAddr,
    /// The accept loop; every caller of `stop` waits for it.
    accepting: tokio::sync::Mutex<Option<JoinHandle<()>>>,
    admission_requests: Arc<Queue<AdmissionRequest>>,
}

/// The accepting side: what a connection needs, and the connections there are.
#[derive(Debug)]
struct Acceptor {
    settings: Settings,
    metrics: Arc<Metrics>,
    policy: AcceptorPolicy,
    capacity: Capacity,
    ask: Ask,
    /// Where the user is asked.
    asked: Sender<AdmissionRequest>,
    connections: Mutex<Connections>,
    closures: Mutex<Closures>,
    stopping: AtomicBool,
    /// Its end is reported.
    stopped: AtomicBool,
    stop: Notify,
    /// The last one has left.
    empty: Notify,
}

#[derive(Debug, Default)]
struct Connections {
    /// In order of arrival: ids only grow.
    pending: std::collections::BTreeMap<AssociationId, Pending>,
    /// Established, or about to be: the user is asked.
    established: HashMap<AssociationId, Association>,
}

/// Connections that were closed to make room, and are in no event yet.
#[derive(Debug, Default)]
struct Closures {
    count: u64,
    last: Option<IpAddr>,
}

#[derive(Debug)]
struct Pending {
    association: Association,
    address: IpAddr,
}

impl Listener {
    /// Binds and starts to accept. Port 0 takes a free one. `ask`: which proposals come out of `admission_requests`.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub fn start(
        address: SocketAddr,
        policy: AcceptorPolicy,
        mut settings: Settings,
        capacity: Capacity,
        ask: Ask,
    ) -> io::Result<Self> {
        let domain = Domain::for_address(address);
        let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
        if cfg!(unix) {
            // A server that restarts must not wait for the last one's connections to be forgotten.
            socket.set_reuse_address(true)?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        let _context = runtime::handle().enter();
        let listener = TcpListener::from_std(socket.into())?;
        let address = listener.local_addr()?;
        let (asked, admission_requests) = Queue::new(usize::MAX);
        let metrics = Arc::clone(settings.metrics.get_or_insert_default());
        let acceptor = Arc::new(Acceptor {
            settings,
            metrics,
            policy,
            capacity,
            ask,
            asked,
            connections: Mutex::default(),
            closures: Mutex::default(),
            stopping: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            stop: Notify::new(),
            empty: Notify::new(),
        });
        acceptor.tell(Event::Serving(true));
        let accepting = runtime::handle().spawn(Arc::clone(&acceptor).accept(listener));
        Ok(Self {
            acceptor,
            address,
            accepting: tokio::sync::Mutex::new(Some(accepting)),
            admission_requests: Arc::new(admission_requests),
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Proposals that wait for the user's decision, in order. There are not more than established associations
    /// are allowed.
    #[must_use]
    pub fn admission_requests(&self) -> &Arc<Queue<AdmissionRequest>> {
        &self.admission_requests
    }

    /// Established associations.
    #[must_use]
    pub fn associations(&self) -> Vec<Association> {
        let mut inside = self.inside();
        inside.retain(|association| association.established().is_some());
        inside
    }

    fn inside(&self) -> Vec<Association> {
        let connections = self.acceptor.connections.lock();
        connections.established.values().cloned().collect()
    }

    /// Connections without an association yet.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.acceptor.connections.lock().pending.len()
    }

    /// What there is and what happened, as it stands: see [`Metrics`].
    #[must_use]
    pub fn metrics(&self) -> Readings {
        let acceptor = &self.acceptor;
        let (pending, established) = {
            let connections = acceptor.connections.lock();
            // Those that are over are counted as such; they are here until their socket is closed.
            let silent = connections
                .pending
                .values()
                .map(|connection| &connection.association);
            let established = connections.established.values();
            (
                silent.filter(|connection| !connection.is_over()).count(),
                established
                    .filter(|connection| {
                        connection.established().is_some() && !connection.is_over()
                    })
                    .count(),
            )
        };
        let service = &acceptor.settings.service;
        let mut readings = vec![
            ("associations", Reading::Number(established as u64)),
            ("pending", Reading::Number(pending as u64)),
            (
                "buffered_bytes",
                Reading::Number(acceptor.settings.budget.used() as u64),
            ),
            (
                "events_lost",
                Reading::Number(acceptor.settings.events.lost()),
            ),
            ("panics", Reading::Number(runtime::panics())),
        ];
        readings.extend(acceptor.metrics.read());
        readings.extend(match &service.folder {
            Some(store) => store.folder.syncs.read(),
            None => Syncs::default().read(),
        });
        readings
    }

    /// Stops accepting; new proposals are rejected as congested. For `patience` the peers may release what is
    /// established; then what is being received may finish within `grace`, and the rest is aborted.
    pub async fn stop(&self, patience: Duration, grace: Duration) {
        // The order of stopping: no new connection, no new proposal; then the peers' time to release; then what is
        // being received; then everything is aborted. Each step ends as soon as no association is left.
        self.acceptor.stopping.store(true, Ordering::Release);
        self.acceptor.stop.notify_one();
        // Behind this point the port is free: a caller may bind it again.
        let mut accepting = self.accepting.lock().await;
        if let Some(task) = accepting.as_mut() {
            let _ended = task.await;
        }
        *accepting = None;
        drop(accepting);
        let _ = tokio::time::timeout(patience, self.acceptor.wait_empty()).await;
        for association in self.inside() {
            association.shutdown();
        }
        if tokio::time::timeout(grace, self.acceptor.wait_empty())
            .await
            .is_err()
        {
            for association in self.inside() {
                association.abort();
                association.close(Error::Shutdown);
            }
        }
        let pending: Vec<_> = {
            let mut connections = self.acceptor.connections.lock();
            std::mem::take(&mut connections.pending)
                .into_values()
                .collect()
        };
        for connection in pending {
            connection.association.close(Error::Shutdown);
        }
        self.acceptor.tell_closures();
        if !self.acceptor.stopped.swap(true, Ordering::AcqRel) {
            self.acceptor.tell(Event::Serving(false));
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.acceptor.stopping.store(true, Ordering::Release);
        self.acceptor.stop.notify_one();
        for association in self.inside() {
            association.abort();
        }
    }
}

impl Acceptor {
    async fn accept(self: Arc<Self>, listener: TcpListener) {
        let mut failing = false;
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = self.stop.notified() => break,
            };
            match accepted {
                Ok((tcp, address)) => {
                    failing = false;
                    self.metrics.connected();
                    // A TLS handshake is part of the association's task: a slow one does not delay the next accept.
                    self.take_in(Stream::accepted(tcp), address);
                }
                Err(error) if is_of_the_peer(&error) => {}
                Err(error) => {
                    self.metrics.accept_failed();
                    // Out of descriptors: the connection stays in the kernel's queue until one is free.
                    // Reported once, not ten times a second.
                    if !std::mem::replace(&mut failing, true) {
                        self.tell(Event::AcceptFailed(error.to_string()));
                    }
                    tokio::time::sleep(BACK_OFF).await;
                }
            }
        }
        // A child process that was forked meanwhile must not keep the port.
        let _on_linux = SockRef::from(&listener).shutdown(Shutdown::Both);
    }

    /// Emits an event that concerns no association.
    fn tell(&self, event: Event) {
        let kinds = match event {
            Event::Serving(_) => Kinds::SERVING,
            Event::Evicted(_) => Kinds::EVICTED | Kinds::PROBLEM,
            _ => Kinds::ACCEPT_FAILED | Kinds::PROBLEM,
        };
        self.settings.events.emit(0, kinds, || EventRecord {
            association: 0,
            titles: no_titles(),
            peer: None,
            at: SystemTime::now(),
            event,
        });
    }

    fn take_in(self: &Arc<Self>, stream: Stream, address: SocketAddr) {
        let admission = Arc::clone(self) as Arc<dyn Admission>;
        let mut connections = self.connections.lock();
        // Under one lock: the driver may ask for admission before this function returns, and has to find its entry.
        let evicted = connections.evict(&self.capacity, address.ip());
        let association = open::accept(stream, self.settings.clone(), admission);
        let id = association.id();
        let pending = Pending {
            association,
            address: address.ip(),
        };
        connections.pending.insert(id, pending);
        drop(connections);
        if let Some(evicted) = evicted {
            evicted.association.close(Error::Evicted);
            self.count_closure(evicted.address);
        }
    }

    /// Reports a closure together with those of the next second: many closures are one line in the log.
    fn count_closure(self: &Arc<Self>, address: IpAddr) {
        let mut closures = self.closures.lock();
        closures.count = closures.count.saturating_add(1);
        closures.last = Some(address);
        if closures.count == 1 {
            let acceptor = Arc::clone(self);
            runtime::handle().spawn(async move {
                tokio::time::sleep(CLOSURES).await;
                acceptor.tell_closures();
            });
        }
    }

    fn tell_closures(&self) {
        let closures = std::mem::take(&mut *self.closures.lock());
        if let Some(last) = closures.last {
            self.tell(Event::Evicted(format!(
                "{} connections without an association were closed to make room, each the oldest, the last of {last}: \
                 there may be {} of an address (max_pending_per_address), {} in all (max_pending)",
                closures.count, self.capacity.pending_per_address, self.capacity.pending
            )));
        }
    }

    async fn wait_empty(&self) {
        loop {
            // Made before the look: a last association that goes in between is not missed.
            let empty = self.empty.notified();
            if self.connections.lock().established.is_empty() {
                return;
            }
            empty.await;
        }
    }
}

impl Connections {
    /// Makes room for one more silent connection: the oldest from this address, or of all, goes (case A12).
    fn evict(&mut self, capacity: &Capacity, address: IpAddr) -> Option<Pending> {
        let of_address = self
            .pending
            .iter()
            .filter(|(_, pending)| pending.address == address);
        // Numbers only grow, so the first entry of the map is the oldest: nothing has to be sorted under the lock.
        let oldest = if of_address.clone().count() >= capacity.pending_per_address {
            of_address.map(|(id, _)| *id).next()
        } else if self.pending.len() >= capacity.pending {
            self.pending.keys().next().copied()
        } else {
            None
        };
        self.pending.remove(&oldest?)
    }
}

impl Acceptor {
    /// Gives a proposal its place among the associations, if there is one.
    fn establish(&self, association: AssociationId) -> Result<(), Rejection> {
        let mut connections = self.connections.lock();
        if connections.established.contains_key(&association) {
            return Ok(());
        }
        if connections.established.len() >= self.capacity.associations {
            return Err(Rejection {
                rj: AssociateRj::LOCAL_LIMIT,
                code: "too-many-associations",
                detail: format!(
                    "{} associations are established, the limit of this node (max_associations)",
                    connections.established.len()
                ),
            });
        }
        let Some(pending) = connections.pending.remove(&association) else {
            return Err(Rejection {
                rj: AssociateRj::CONGESTION,
                code: "evicted",
                detail: Error::Evicted.to_string(),
            });
        };
        connections
            .established
            .insert(association, pending.association);
        Ok(())
    }

    fn asks(&self, request: &Associate) -> bool {
        match self.ask {
            Ask::Never => false,
            Ask::Identities => UserIdentity::of(request).is_some_and(|said| said.is_known()),
            Ask::Always => true,
        }
    }
}

impl Admission for Acceptor {
    fn judge(
        &self,
        request: &Associate,
        association: AssociationId,
        terms: Option<&Terms>,
    ) -> Judgement {
        if self.stopping.load(Ordering::Acquire) {
            return Judgement::Reject(Rejection {
                rj: AssociateRj::CONGESTION,
                code: "stopping",
                detail: "this node is stopping".to_owned(),
            });
        }
        let verdict = match terms {
            None => negotiate::answer(request, &self.policy),
            Some(terms) => negotiate::answer(request, &terms.apply(&self.policy)),
        };
        let (answer, negotiated) = match verdict {
            Verdict::Reject { rj, code, detail } => {
                return Judgement::Reject(Rejection { rj, code, detail });
            }
            Verdict::Accept { answer, negotiated } => (answer, negotiated),
        };
        // The place first: an admission by the user must not be lost for want of one.
        if let Err(rejection) = self.establish(association) {
            return Judgement::Reject(rejection);
        }
        if terms.is_none() && self.asks(request) {
            return Judgement::Ask(self.asked.clone());
        }
        Judgement::Accept(Box::new(answer), negotiated)
    }

    fn over(&self, association: AssociationId) {
        let mut connections = self.connections.lock();
        let gone = (
            connections.pending.remove(&association),
            connections.established.remove(&association),
        );
        if connections.established.is_empty() {
            self.empty.notify_waiters();
        }
        drop(connections);
        drop(gone); // the last handle of an association may have more to drop than a lock should wait for
    }
}

/// A connection that was gone before it was accepted says nothing about this node.
fn is_of_the_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}
