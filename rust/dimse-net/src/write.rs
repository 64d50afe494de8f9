//! Bytes on their way to the socket.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use bytes::{Buf, Bytes};
use tokio::sync::oneshot;

use crate::error::Error;
use crate::transport::Stream;

/// Slices of one gathering write.
const SLICES: usize = 64;

/// A queue of slices, written with as few system calls as the socket allows.
#[derive(Debug, Default)]
pub(crate) struct WriteQueue {
    chunks: VecDeque<Bytes>,
    bytes: usize,
    /// Bytes ever queued; marks are positions on this count.
    queued: u64,
    /// The front chunk has left in part.
    started: bool,
    marks: VecDeque<(u64, oneshot::Sender<Result<(), Error>>)>,
}

impl WriteQueue {
    pub(crate) fn push(&mut self, chunk: Bytes) {
        if !chunk.is_empty() {
            self.bytes = self.bytes.saturating_add(chunk.len());
            self.queued = self.queued.saturating_add(chunk.len() as u64);
            self.chunks.push_back(chunk);
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

    /// Drops what has not begun to leave: an abort goes before it.
    pub(crate) fn cut(&mut self) {
        self.chunks.truncate(usize::from(self.started));
        let kept = self.chunks.front().map_or(0, Bytes::len);
        self.queued = self
            .queued
            .saturating_sub(self.bytes.saturating_sub(kept) as u64);
        self.bytes = kept;
        self.marks.clear();
    }

    /// Drops everything: there is nobody to write to.
    pub(crate) fn clear(&mut self) {
        self.started = false;
        self.cut();
    }

    /// Writes until the queue is empty or the socket is full. Tells whether anything went.
    pub(crate) fn flush(&mut self, stream: &Stream) -> io::Result<bool> {
        let mut progress = false;
        while !self.chunks.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let mut count = 0_usize;
            for (slot, chunk) in slices.iter_mut().zip(&self.chunks) {
                *slot = IoSlice::new(chunk);
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
        Ok(progress)
    }

    fn advance(&mut self, mut written: usize) {
        self.bytes = self.bytes.saturating_sub(written);
        while let Some(front) = self.chunks.front_mut() {
            if written < front.len() {
                front.advance(written);
                self.started |= written > 0;
                break;
            }
            written = written.saturating_sub(front.len());
            self.started = false;
            self.chunks.pop_front();
        }
        let gone = self.queued.saturating_sub(self.bytes as u64);
        while self.marks.front().is_some_and(|(at, _)| *at <= gone) {
            if let Some((_, done)) = self.marks.pop_front() {
                // Whoever waited may have gone.
                let _nobody = done.send(Ok(()));
            }
        }
    }
}
