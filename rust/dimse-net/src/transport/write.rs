//! Bytes on their way to the socket.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use bytes::{Buf, Bytes};
use tokio::sync::oneshot;

use crate::error::Error;
use crate::transport::stream::Stream;

/// Slices of one gathering write.
const SLICES: usize = 64;

/// PDU type, a reserved byte, length.
const PDU_HEADER: usize = 6;

/// A queue of slices, written with as few system calls as the socket allows.
#[derive(Debug, Default)]
pub(crate) struct WriteQueue {
    chunks: VecDeque<Chunk>,
    bytes: usize,
    /// Bytes ever queued; marks are positions on this count.
    queued: u64,
    /// What is still to be queued of the PDU that was queued last, in bytes.
    unfinished: usize,
    marks: VecDeque<(u64, oneshot::Sender<Result<(), Error>>)>,
}

#[derive(Debug)]
struct Chunk {
    bytes: Bytes,
    /// A PDU begins here, and no byte of the chunk has left: whatever is before it can stand alone.
    begins: bool,
}

impl WriteQueue {
    /// Queues PDUs. A PDU may come in several chunks, its header in one.
    pub(crate) fn push(&mut self, chunk: Bytes) {
        if !chunk.is_empty() {
            let begins = self.unfinished == 0;
            self.unfinished = left_of_last_pdu(&chunk, self.unfinished);
            self.bytes = self.bytes.saturating_add(chunk.len());
            self.queued = self.queued.saturating_add(chunk.len() as u64);
            self.chunks.push_back(Chunk {
                bytes: chunk,
                begins,
            });
        }
    }

    /// Answers `done` when everything queued so far has been written.
    pub(crate) fn mark(&mut self, done: oneshot::Sender<Result<(), Error>>) {
        self.marks.push_back((self.queued, done));
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Drops what has not begun to leave: an abort goes before it. A PDU that has is kept to its end, or the
    /// abort would be read as a part of it.
    pub(crate) fn cut(&mut self) {
        // `begins` is false for the rest of a PDU, and for a chunk of which a byte has left: the first chunk that
        // begins a PDU is where the queue can be cut. There is none while one large PDU fills the queue.
        let kept = self.chunks.iter().position(|chunk| chunk.begins);
        if let Some(kept) = kept {
            for chunk in self.chunks.drain(kept..) {
                self.bytes = self.bytes.saturating_sub(chunk.bytes.len());
                self.queued = self.queued.saturating_sub(chunk.bytes.len() as u64);
            }
            self.unfinished = 0;
        }
        self.marks.clear();
    }

    /// Drops everything: the peer is gone.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Writes until the queue is empty or the socket is full. Tells whether anything went.
    pub(crate) fn flush(&mut self, stream: &mut Stream) -> io::Result<bool> {
        let mut progress = false;
        while !self.chunks.is_empty() {
            // On the stack: a queue of any length is written without an allocation.
            let mut slices = [IoSlice::new(&[]); SLICES];
            let mut count = 0_usize;
            for (slot, chunk) in slices.iter_mut().zip(&self.chunks) {
                *slot = IoSlice::new(&chunk.bytes);
                count = count.saturating_add(1);
            }
            match stream.try_write(slices.get(..count).unwrap_or_default())? {
                None => return Ok(progress),
                Some(written) => {
                    progress = true;
                    self.advance(written);
                }
            }
        }
        stream.try_flush()?;
        Ok(progress)
    }

    fn advance(&mut self, mut written: usize) {
        self.bytes = self.bytes.saturating_sub(written);
        while let Some(front) = self.chunks.front_mut() {
            if written < front.bytes.len() {
                front.bytes.advance(written);
                front.begins &= written == 0;
                break;
            }
            written = written.saturating_sub(front.bytes.len());
            self.chunks.pop_front();
        }
        // A position is an absolute count, so it needs no update when the queue moves.
        let gone = self.queued.saturating_sub(self.bytes as u64);
        while self.marks.front().is_some_and(|(at, _)| *at <= gone) {
            if let Some((_, done)) = self.marks.pop_front() {
                // The caller may have gone.
                let _gone = done.send(Ok(()));
            }
        }
    }
}

/// What comes after `chunk` of the PDU that is open at its end, when `open` bytes of one were due at its start.
fn left_of_last_pdu(chunk: &[u8], open: usize) -> usize {
    let mut at = open;
    while let Some([_, _, a, b, c, d]) = chunk.get(at..).and_then(<[u8]>::first_chunk) {
        let body = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        at = at.saturating_add(PDU_HEADER).saturating_add(body);
    }
    at.saturating_sub(chunk.len())
}
