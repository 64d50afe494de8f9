//! The byte stream under an association: TCP with small writes sent at once.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::AsyncReadExt;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use crate::error::{Deadline, Error};

/// An open connection.
#[derive(Debug)]
pub(crate) struct Stream {
    tcp: TcpStream,
}

impl Stream {
    /// Takes over a connected socket.
    pub(crate) fn new(tcp: TcpStream) -> Self {
        // Command and data set leave in separate PDUs, answers are small: with Nagle's algorithm each would wait
        // for the peer's delayed acknowledgement. A failure here costs speed, nothing else.
        let _slower = tcp.set_nodelay(true);
        Self { tcp }
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
        self.tcp.local_addr().ok()
    }

    pub(crate) fn peer_addr(&self) -> Option<SocketAddr> {
        self.tcp.peer_addr().ok()
    }

    /// The two directions, each for one waiter.
    pub(crate) fn split(&mut self) -> (Reader<'_>, Writer<'_>) {
        let (reader, writer) = self.tcp.split();
        (Reader(reader), Writer(writer))
    }

    /// Writes what the socket takes now. `Ok(None)` when it takes nothing.
    pub(crate) fn try_write(&self, slices: &[IoSlice<'_>]) -> io::Result<Option<usize>> {
        match self.tcp.try_write_vectored(slices) {
            Ok(count) => Ok(Some(count)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The receiving direction.
pub(crate) struct Reader<'a>(ReadHalf<'a>);

impl Reader<'_> {
    /// Reads into the spare capacity of `buffer`; 0 is the end of the stream. Without any capacity it only waits
    /// for something to arrive, and an idle association holds no buffer. Cancel-safe.
    pub(crate) async fn read(&mut self, buffer: &mut BytesMut) -> io::Result<Option<usize>> {
        if buffer.capacity() == buffer.len() {
            self.0.readable().await?;
            return Ok(None);
        }
        self.0.read_buf(buffer).await.map(Some)
    }
}

/// The sending direction.
pub(crate) struct Writer<'a>(WriteHalf<'a>);

impl Writer<'_> {
    /// Resolves when a write may go through.
    pub(crate) async fn ready(&self) -> io::Result<()> {
        self.0.writable().await
    }
}
