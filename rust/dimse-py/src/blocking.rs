//! Waiting for the core from a Python thread: without the interpreter, and with an ear for Ctrl-C.
//!
//! A future of the core is polled on the thread that waits; tasks of the core do the work. So a call needs no thread of
//! its own, and an outcome that is ready costs one poll.

use std::future::{Future, poll_fn};
use std::mem::ManuallyDrop;
use std::ops::Deref;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use dimse_net::runtime;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

/// How often a waiting thread looks for a signal. Ctrl-C is to reach a blocking call within 0.2 s.
const GLANCE: Duration = Duration::from_millis(100);

/// Refuses what needs the threads that a `fork` left behind, or may wait for a lock that one of them held.
#[pyfunction]
pub(crate) fn check_process() -> PyResult<()> {
    if runtime::is_foreign() {
        return Err(PyRuntimeError::new_err(
            "dimse_rs was used before this process was forked, and its threads did not come along: \
             use the 'spawn' or 'forkserver' start method, or fork before the first association",
        ));
    }
    Ok(())
}

/// A value of the core. A forked child inherits it and leaves it alone: to drop it there could wait for a thread that
/// did not come along, and would remove files that are the parent's.
pub(crate) struct OfProcess<T>(ManuallyDrop<T>);

impl<T> From<T> for OfProcess<T> {
    fn from(value: T) -> Self {
        Self(ManuallyDrop::new(value))
    }
}

impl<T> Deref for OfProcess<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> Drop for OfProcess<T> {
    #[expect(unsafe_code, reason = "not to drop is what this is for")]
    fn drop(&mut self) {
        if !runtime::is_foreign() {
            // SAFETY: nothing else drops the value, and no code can reach the value after this destructor.
            unsafe { ManuallyDrop::drop(&mut self.0) }
        }
    }
}

/// Waits for a future of the core.
pub(crate) fn wait<T: Send>(py: Python<'_>, future: impl Future<Output = T> + Send) -> PyResult<T> {
    check_process()?;
    let mut future = pin!(future);
    // One waker for the whole wait: a poll that finds the waker unchanged does not store it again.
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    loop {
        // The interpreter is free while this thread waits, and taken back between two glances: only a thread that
        // holds it can run signal handlers. A KeyboardInterrupt drops the future, which gives up what it waited for.
        match py.detach(|| poll_for_a_while(future.as_mut(), &waker, GLANCE)) {
            Poll::Ready(outcome) => return Ok(outcome),
            Poll::Pending => py.check_signals()?,
        }
    }
}

/// Waits so long for the next item of something; for ever by default.
pub(crate) fn wait_at_most<T: Send>(
    py: Python<'_>,
    within: Option<Duration>,
    next: impl Future<Output = Option<T>> + Send,
) -> PyResult<Option<T>> {
    // The deadline is this thread's own: a timer of the runtime wakes an I/O thread when it is set, for each item.
    let due = within.and_then(|within| Instant::now().checked_add(within));
    check_process()?;
    let mut next = pin!(next);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    loop {
        let left = due.map(|due| due.saturating_duration_since(Instant::now()));
        let most = left.map_or(GLANCE, |left| left.min(GLANCE));
        match py.detach(|| poll_for_a_while(next.as_mut(), &waker, most)) {
            Poll::Ready(item) => return Ok(item),
            Poll::Pending if left.is_some_and(|left| left <= most) => return Ok(None),
            Poll::Pending => py.check_signals()?,
        }
    }
}

/// Wakes a waiting thread.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits on this thread, so long at most. A timer of the runtime would do the same, but setting one
/// wakes an I/O thread.
fn poll_for_a_while<T>(
    mut future: Pin<&mut impl Future<Output = T>>,
    waker: &Waker,
    most: Duration,
) -> Poll<T> {
    // Deadlines inside the future register with the timer of the runtime that is entered here.
    let _timers_work = runtime::handle().enter();
    let started = Instant::now();
    loop {
        if let Poll::Ready(outcome) = future.as_mut().poll(&mut Context::from_waker(waker)) {
            return Poll::Ready(outcome);
        }
        // A wake-up between the poll and the park is not lost: `unpark` leaves a permit, and `park` returns at once.
        let left = most.saturating_sub(started.elapsed());
        if left.is_zero() {
            return Poll::Pending;
        }
        thread::park_timeout(left);
    }
}

/// Seconds as Python writes a deadline: 0 or less is none.
pub(crate) fn duration(seconds: f64) -> Option<Duration> {
    if seconds > 0.0 {
        Duration::try_from_secs_f64(seconds).ok()
    } else {
        None
    }
}

/// Seconds as Python writes how long a call waits: None is for ever, 0 not at all.
pub(crate) fn patience(within: Option<f64>) -> Option<Duration> {
    within.map(|seconds| duration(seconds).unwrap_or(Duration::ZERO))
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
