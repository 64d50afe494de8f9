//! Waiting for the core from a Python thread: without the interpreter, and never deaf to Ctrl-C.

use std::future::Future;
use std::pin::pin;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use dimse_net::runtime;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

/// How often a waiting thread looks for a signal. Ctrl-C is to reach a blocking call within 0.2 s.
const GLANCE: Duration = Duration::from_millis(100);

/// Refuses to wait for threads that a `fork` left behind.
pub(crate) fn check_process() -> PyResult<()> {
    if runtime::is_foreign() {
        return Err(PyRuntimeError::new_err(
            "dimse_rs was used before this process was forked, and its threads did not come along: \
             use the 'spawn' or 'forkserver' start method, or fork before the first association",
        ));
    }
    Ok(())
}

/// Waits for a future of the core.
pub(crate) fn wait<T: Send>(py: Python<'_>, future: impl Future<Output = T> + Send) -> PyResult<T> {
    check_process()?;
    let mut future = pin!(future);
    loop {
        let turn = py.detach(|| {
            runtime::handle().block_on(async { tokio::time::timeout(GLANCE, &mut future).await })
        });
        match turn {
            Ok(outcome) => return Ok(outcome),
            Err(_elapsed) => py.check_signals()?,
        }
    }
}

/// Waits for the next item of a queue: `None` when the time is over or the other end is gone.
pub(crate) fn next<T: Send>(
    py: Python<'_>,
    queue: &Receiver<T>,
    within: Option<Duration>,
) -> PyResult<Option<T>> {
    check_process()?;
    if let Ok(item) = queue.try_recv() {
        return Ok(Some(item));
    }
    let deadline = within.and_then(|within| Instant::now().checked_add(within));
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let glance = left.map_or(GLANCE, |left| left.min(GLANCE));
        match py.detach(|| queue.recv_timeout(glance)) {
            Ok(item) => return Ok(Some(item)),
            Err(RecvTimeoutError::Disconnected) => return Ok(None),
            Err(RecvTimeoutError::Timeout) => {
                py.check_signals()?;
                if left.is_some_and(|left| left <= glance) {
                    return Ok(None);
                }
            }
        }
    }
}
