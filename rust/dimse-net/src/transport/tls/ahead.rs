//! Reading ahead of rustls, which asks a socket for 4 KiB at a time.

// A CT slice of 512 KiB would take 128 reads. The buffer grows while it comes back full and goes away when it is
// empty, so that a thousand idle associations hold none.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

const SMALLEST: usize = 4 << 10;
const LARGEST: usize = 64 << 10;

/// A socket that is read in larger pieces while there is much to read. One that has nothing to say holds no buffer.
pub(super) struct Ahead<S> {
    socket: S,
    buffer: Vec<u8>,
    /// What of the buffer was not asked for yet.
    left: std::ops::Range<usize>,
    /// How large the next buffer is to be.
    size: usize,
}

impl<S> Ahead<S> {
    pub(super) fn new(socket: S) -> Self {
        Self {
            socket,
            buffer: Vec::new(),
            left: 0..0,
            size: SMALLEST,
        }
    }
}

impl<S: AsyncRead + Unpin> Ahead<S> {
    fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.buffer.len() < self.size {
            self.buffer = vec![0; self.size];
        }
        let mut into = ReadBuf::new(&mut self.buffer);
        let read = Pin::new(&mut self.socket).poll_read(context, &mut into);
        self.left = 0..into.filled().len();
        if self.left.end == self.size {
            self.size = self.size.saturating_mul(2).min(LARGEST);
        }
        // Nothing there: the buffer goes, and the next byte costs an allocation. An idle association outnumbers a busy
        // one by far on a server.
        if read.is_pending() {
            self.buffer = Vec::new();
        }
        read
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Ahead<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.left.is_empty() {
            ready!(this.poll_fill(context))?;
        }
        let there = this.buffer.get(this.left.clone()).unwrap_or_default();
        let count = there.len().min(out.remaining());
        out.put_slice(there.get(..count).unwrap_or_default());
        this.left.start = this.left.start.saturating_add(count);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Ahead<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use std::task::Waker;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn bytes_come_in_order_however_they_are_asked_for() {
        let sent: Vec<u8> = (0..=255).cycle().take(300_000).collect();
        let (mut ours, theirs) = duplex(100_000);
        let copy = sent.clone();
        let sender = tokio::spawn(async move { ours.write_all(&copy).await.unwrap() });
        let mut ahead = Ahead::new(theirs);
        let mut got = Vec::new();
        for size in [1, 4095, 4096, 7, 100_000].into_iter().cycle() {
            let mut piece = vec![0; size];
            match ahead.read(&mut piece).await.unwrap() {
                0 => break,
                count => got.extend_from_slice(piece.get(..count).unwrap()),
            }
        }
        sender.await.unwrap();
        assert_eq!(got, sent);
        assert_eq!(ahead.size, LARGEST);
    }

    #[tokio::test]
    async fn who_is_silent_holds_no_buffer() {
        let (mut ours, theirs) = duplex(64);
        let mut ahead = Ahead::new(theirs);
        ours.write_all(b"abc").await.unwrap();
        assert_eq!(ahead.read_u8().await.unwrap(), b'a');
        assert_eq!(ahead.buffer.len(), SMALLEST);
        let mut rest = [0; 8];
        assert_eq!(ahead.read(&mut rest).await.unwrap(), 2);
        let mut out = ReadBuf::new(&mut rest);
        let mut context = Context::from_waker(Waker::noop());
        assert!(
            Pin::new(&mut ahead)
                .poll_read(&mut context, &mut out)
                .is_pending()
        );
        assert_eq!(ahead.buffer.capacity(), 0);
    }
}
