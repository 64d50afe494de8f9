//! Waiting for the core from a Python thread: without the interpreter, and never deaf to Ctrl-C.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

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

/// Waits so long for the next item of something; for ever by default.
pub(crate) async fn at_most<T>(
    within: Option<Duration>,
    next: impl Future<Output = Option<T>>,
) -> Option<T> {
    match within {
        Some(Duration::ZERO) => {
            let mut next = pin!(next);
            // A timer would take a millisecond to see that the time is over.
            poll_fn(|context| match next.as_mut().poll(context) {
                Poll::Ready(item) => Poll::Ready(item),
                Poll::Pending => Poll::Ready(None),
            })
            .await
        }
        Some(within) => tokio::time::timeout(within, next).await.ok().flatten(),
        None => next.await,
    }
}
