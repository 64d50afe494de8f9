//! Some elements of many files, each of which is walked from end to end as by [`walk::file`]: what is refused there is
//! refused here. Blocks.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, available_parallelism};

use dimse_proto::Uid;
use parking_lot::Mutex;

use crate::files::collected::{Collected, Reading};
use crate::files::walk::{self, WalkFault};

/// Threads that read at the same time, at most: on a disk that seeks, more of them are in each other's way.
const THREADS: usize = 4;

/// Files for which one more thread is worth its start.
const FILES_FOR_A_THREAD: usize = 32;

/// Some elements of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Header {
    /// (0002,0010), or what the file turned out to be in.
    pub transfer_syntax: Uid,
    /// The elements.
    pub collected: Collected,
}

/// Reads the headers of files, on a few threads; the results are in the order of the files, and fail as
/// [`walk::file`] does.
#[must_use]
pub fn headers(reading: &Reading, paths: &[PathBuf]) -> Vec<Result<Header, WalkFault>> {
    let next = AtomicUsize::new(0);
    let found = Mutex::new(Vec::with_capacity(paths.len()));
    let work = || {
        while let Some((index, path)) = {
            let index = next.fetch_add(1, Ordering::Relaxed);
            paths.get(index).map(|path| (index, path))
        } {
            let header = header(reading, path);
            found.lock().push((index, header));
        }
    };
    let cores = available_parallelism().map_or(1, usize::from);
    let worthy = paths.len().div_ceil(FILES_FOR_A_THREAD);
    thread::scope(|scope| {
        for _ in 1..cores.min(worthy).min(THREADS) {
            let thread = thread::Builder::new().name("dimse-read".into());
            // Where the system has no thread left, this one reads all of them.
            if thread.spawn_scoped(scope, work).is_err() {
                break;
            }
        }
        work();
    });
    let mut found = found.into_inner();
    found.sort_unstable_by_key(|(index, _)| *index);
    found.into_iter().map(|(_, header)| header).collect()
}

fn header(reading: &Reading, path: &Path) -> Result<Header, WalkFault> {
    let dictionary = Arc::clone(&reading.dictionary);
    let (walked, collected) = walk::collecting(path, reading.limits, dictionary, &reading.tags)?;
    Ok(Header {
        transfer_syntax: walked.transfer_syntax,
        collected,
    })
}
