//! The byte stream under an association: TCP with small writes sent at once, or anything layered on it.

use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::net::{Shutdown, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use bytes::BytesMut;
use parking_lot::Mutex;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use crate::error::{Deadline, Error};
use crate::facts::TlsFacts;

/// Room for the first bytes where an empty buffer cannot be waited with.
pub(crate) const LEAST_BUFFER: usize = 1 << 10;

/// Bytes that a peer has not made room for and the kernel keeps, of what a server says. Left alone it would take
/// megabytes of answers for each peer that asks and does not read, and the time to make them.
#[cfg(target_os = "linux")]
const UNSENT_LIMIT: u32 = 256 << 10;

/// An open connection.
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
    Layered(Layered),
}

/// What can carry an association.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> Io for T {}

/// A stream that the operating system knows nothing of.
pub(crate) struct Layered {
    io: Pin<Box<dyn Io>>,
    writable: Arc<Writable>,
    /// Written bytes have not all left the layer.
    unflushed: bool,
    local: Option<SocketAddr>,
    peer: Option<SocketAddr>,
    facts: Option<TlsFacts>,
    /// What reading failed with behind bytes that were not handed over yet.
    failed: Option<io::Error>,
}

impl Stream {
    /// Takes over a connected socket.
    pub(crate) fn new(tcp: TcpStream) -> Self {
        // Command and data set leave in separate PDUs, answers are small: with Nagle's algorithm each would wait
        // for the peer's delayed acknowledgement. A failure here costs speed, nothing else.
        let _slower = tcp.set_nodelay(true);
        Self::Tcp(tcp)
    }

    /// The same for a peer's connection.
    pub(crate) fn accepted(tcp: TcpStream) -> Self {
        #[cfg(target_os = "linux")]
        let _more = SockRef::from(&tcp).set_tcp_notsent_lowat(UNSENT_LIMIT);
        Self::new(tcp)
    }

    /// Anything else that carries bytes both ways.
    pub(crate) fn layered(io: impl Io + 'static) -> Self {
        Self::Layered(Layered {
            io: Box::pin(io),
            writable: Arc::default(),
            unflushed: false,
            local: None,
            peer: None,
            facts: None,
            failed: None,
        })
    }

    /// A connection under TLS.
    #[cfg(feature = "tls")]
    pub(crate) fn secured(
        io: impl Io + 'static,
        local: Option<SocketAddr>,
        peer: Option<SocketAddr>,
        facts: TlsFacts,
    ) -> Self {
        Self::Layered(Layered {
            io: Box::pin(io),
            writable: Arc::default(),
            unflushed: false,
            local,
            peer,
            facts: Some(facts),
            failed: None,
        })
    }

    /// Opens a connection, trying each address of the name in turn.
    pub(crate) async fn connect(
        host: &str,
        port: u16,
        within: Option<Duration>,
    ) -> Result<Self, Error> {
        let peer = || {
            if host.contains(':') {
                format!("[{host}]:{port}")
            } else {
                format!("{host}:{port}")
            }
        };
        // One address after the other, as they come: what a name stands for is a matter of its administrator.
        let attempt = async {
            let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
            for address in lookup_host((host, port)).await? {
                match TcpStream::connect(address).await {
                    Ok(tcp) => return Ok(tcp),
                    Err(error) => last = error,
                }
            }
            Err(last)
        };
        let outcome = match within {
            Some(within) => timeout(within, attempt)
                .await
                .map_err(|_| Error::Timeout(Deadline::Connect, within))?,
            None => attempt.await,
        };
        outcome
            .map(Self::new)
            .map_err(|error| Error::Connect(Arc::new(error), peer()))
    }

    pub(crate) fn local_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(tcp) => tcp.local_addr().ok(),
            Self::Layered(layered) => layered.local,
        }
    }

    pub(crate) fn peer_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(tcp) => tcp.peer_addr().ok(),
            Self::Layered(layered) => layered.peer,
        }
    }

    /// What the TLS handshake agreed on.
    pub(crate) fn facts(&self) -> Option<TlsFacts> {
        match self {
            Self::Tcp(_) => None,
            Self::Layered(layered) => layered.facts.clone(),
        }
    }

    /// Closes the connection, with the word that the layer has for it (`close_notify` of TLS) if it can be said at
    /// once. To let go of it may not be enough: a child process that was forked meanwhile has it too.
    pub(crate) fn close(&mut self) {
        match self {
            Self::Tcp(tcp) => {
                // Both directions: a child process that inherited the socket would keep the connection open.
                let _closed_by_the_peer = SockRef::from(&*tcp).shutdown(Shutdown::Both);
            }
            Self::Layered(layered) => {
                let waker = Waker::from(Arc::clone(&layered.writable));
                let mut context = Context::from_waker(&waker);
                let _unsaid = layered.io.as_mut().poll_shutdown(&mut context);
            }
        }
    }

    /// The two directions, each for one waiter.
    pub(crate) fn split(&mut self) -> (ReadEnd<'_>, WriteEnd<'_>) {
        match self {
            Self::Tcp(tcp) => {
                let (reader, writer) = tcp.split();
                (ReadEnd::Tcp(reader), WriteEnd::Tcp(writer))
            }
            Self::Layered(layered) => (
                ReadEnd::Layered(&mut layered.io, &mut layered.failed),
                WriteEnd::Layered(&layered.writable),
            ),
        }
    }

    /// Writes what the stream takes now. `Ok(None)` when it takes nothing.
    pub(crate) fn try_write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<Option<usize>> {
        // Tried and not awaited: the driver has other things to wait for while the socket is full.
        let written = match self {
            Self::Tcp(tcp) => tcp.try_write_vectored(slices),
            Self::Layered(layered) => return layered.try_write(slices),
        };
        match written {
            Ok(count) => Ok(Some(count)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether written bytes have not all left; [`Self::try_flush`] is to be called when the writer is ready.
    pub(crate) fn is_unflushed(&self) -> bool {
        match self {
            Self::Tcp(_) => false,
            Self::Layered(layered) => layered.unflushed,
        }
    }

    pub(crate) fn try_flush(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(_) => Ok(()),
            Self::Layered(layered) => layered.try_flush(),
        }
    }
}

impl Layered {
    fn try_write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<Option<usize>> {
        let waker = Waker::from(Arc::clone(&self.writable));
        let mut context = Context::from_waker(&waker);
        match self.io.as_mut().poll_write_vectored(&mut context, slices) {
            Poll::Ready(Ok(0)) => Err(io::ErrorKind::WriteZero.into()),
            Poll::Ready(written) => {
                self.unflushed = true;
                written.map(Some)
            }
            Poll::Pending => Ok(None),
        }
    }

    fn try_flush(&mut self) -> io::Result<()> {
        if self.unflushed {
            let waker = Waker::from(Arc::clone(&self.writable));
            let mut context = Context::from_waker(&waker);
            if let Poll::Ready(flushed) = self.io.as_mut().poll_flush(&mut context) {
                self.unflushed = false;
                return flushed;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Layered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Layered").finish_non_exhaustive()
    }
}

/// Remembers that a layer which took no more takes more again: there is no asking it.
#[derive(Debug, Default)]
pub(crate) struct Writable {
    again: AtomicBool,
    waiter: Mutex<Option<Waker>>,
}

impl Wake for Writable {
    fn wake(self: Arc<Self>) {
        self.again.store(true, Ordering::Release);
        if let Some(waiter) = self.waiter.lock().take() {
            waiter.wake();
        }
    }
}

impl Writable {
    async fn wait(&self) {
        poll_fn(|context| {
            // The order matters: a layer such as TLS reports that it takes more only once, to the waker of the write
            // that it refused. Registered before looking: a wake-up in between finds the waiter or leaves the mark.
            *self.waiter.lock() = Some(context.waker().clone());
            if self.again.swap(false, Ordering::Acquire) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }
}

/// The receiving direction.
pub(crate) enum ReadEnd<'a> {
    Tcp(ReadHalf<'a>),
    Layered(&'a mut Pin<Box<dyn Io>>, &'a mut Option<io::Error>),
}

impl ReadEnd<'_> {
    /// Reads into the spare capacity of `buffer`; 0 is the end of the stream. Without any capacity it only waits
    /// for something to arrive where that is possible, so that an idle association holds no buffer. Cancel-safe.
    pub(crate) async fn read(&mut self, buffer: &mut BytesMut) -> io::Result<Option<usize>> {
        let full = buffer.capacity() == buffer.len();
        match self {
            Self::Tcp(tcp) if full => tcp.readable().await.map(|()| None),
            Self::Tcp(tcp) => tcp.read_buf(buffer).await.map(Some),
            Self::Layered(io, failed) => {
                if let Some(error) = failed.take() {
                    return Err(error);
                }
                if full {
                    buffer.reserve(LEAST_BUFFER);
                }
                let mut count = match io.read_buf(buffer).await {
                    // An end without close_notify: whether anything was cut off, the release of DICOM shows.
                    Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => 0,
                    read => read?,
                };
                // A layer gives a record at a time (16 KiB in TLS); those that are there already go along, so that the
                // driver runs once for many. An error behind bytes is kept for the next call: bytes come first.
                while count > 0 && buffer.capacity() > buffer.len() {
                    let more = poll_fn(|context| {
                        Poll::Ready(pin!(io.read_buf(buffer)).as_mut().poll(context))
                    });
                    match more.await {
                        Poll::Ready(Ok(more @ 1..)) => count = count.saturating_add(more),
                        Poll::Ready(Err(error)) if error.kind() != io::ErrorKind::UnexpectedEof => {
                            **failed = Some(error);
                            break;
                        }
                        _ => break, // nothing more now; an end comes again
                    }
                }
                Ok(Some(count))
            }
        }
    }
}

/// The sending direction.
pub(crate) enum WriteEnd<'a> {
    Tcp(WriteHalf<'a>),
    Layered(&'a Writable),
}

impl WriteEnd<'_> {
    /// Resolves when a write may go through that did not before.
    pub(crate) async fn ready(&self) -> io::Result<()> {
        match self {
            Self::Tcp(tcp) => tcp.writable().await,
            Self::Layered(writable) => {
                writable.wait().await;
                Ok(())
            }
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
#[allow(clippy::unwrap_used, clippy::panic, reason = "a test")]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn the_kernel_keeps_little_for_a_peer_that_does_not_read() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (_peer, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let Stream::Tcp(tcp) = Stream::accepted(accepted.unwrap().0) else {
            panic!("it is one");
        };
        let limit = SockRef::from(&tcp).tcp_notsent_lowat().unwrap();
        assert_eq!(limit, UNSENT_LIMIT);
    }
}
