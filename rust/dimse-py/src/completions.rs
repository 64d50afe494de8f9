//! `_core.Completions`: what the core finished for an event loop. Futures run as tasks of the core; the first outcome
//! in an empty queue wakes the loop once, and the loop takes every outcome that arrived meanwhile.
//!
//! No other file lets Rust wake Python. A thread of its own does so, and no I/O thread ever waits for the interpreter.

use std::collections::HashMap;
use std::future::Future;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use dimse_net::runtime;
use parking_lot::Mutex;
use pyo3::IntoPyObjectExt;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyCFunction, PyList};
use tokio::task::AbortHandle;

use crate::blocking;

/// What became of a future, as Python sees it: a closure that the loop's thread runs, because only a thread that holds
/// the interpreter can make Python objects.
type Outcome = Box<dyn FnOnce(Python<'_>) -> PyResult<Py<PyAny>> + Send>;

/// Where an outcome goes, and under which number.
pub(crate) type Then<'py> = (Bound<'py, Completions>, u64);

/// Outcomes for one event loop.
#[pyclass(frozen, module = "dimse_rs._core")]
pub(crate) struct Completions {
    pile: Arc<Pile>,
}

struct Pile {
    state: Mutex<State>,
    notes: Sender<Note>,
}

#[derive(Default)]
// The lock is held for a push or a swap and never while the interpreter is waited for. Otherwise a thread with the
// interpreter that waits for the lock, and one with the lock that waits for the interpreter, would wait for ever.
struct State {
    done: Vec<(u64, Outcome)>,
    running: HashMap<u64, AbortHandle>,
    /// `loop.call_soon_threadsafe` and what it is to call; None when closed.
    wake: Option<(Py<PyAny>, Py<PyAny>)>,
}

/// Waits for a future of the core and gives its outcome; or has it completed for an event loop, and gives None, or a
/// tuple with the outcome if that is there at once.
pub(crate) fn settle<T, F, C>(
    py: Python<'_>,
    then: Option<Then<'_>>,
    future: F,
    convert: C,
) -> PyResult<Py<PyAny>>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
    C: FnOnce(Python<'_>, T) -> PyResult<Py<PyAny>> + Send + 'static,
{
    let Some((completions, token)) = then else {
        return convert(py, blocking::wait(py, future)?);
    };
    blocking::check_process()?;
    let mut future = Box::pin(future);
    // Many responses are there before they are asked for: one poll is cheaper than waking the notifier and the loop.
    // The waker does nothing: a future that is not ready is polled again by the task below, with the task's waker.
    let first = {
        let _timers = runtime::handle().enter();
        future
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
    };
    if let Poll::Ready(outcome) = first {
        return (convert(py, outcome)?,).into_py_any(py);
    }
    completions.get().pile.submit(token, async {
        let outcome = future.await;
        Box::new(move |py: Python<'_>| convert(py, outcome)) as Outcome
    })?;
    Ok(py.None())
}

/// The same for the next item of something, or none that came within a time.
pub(crate) fn settle_next<T, F, C>(
    py: Python<'_>,
    then: Option<Then<'_>>,
    within: Option<Duration>,
    next: F,
    convert: C,
) -> PyResult<Py<PyAny>>
where
    T: Send + 'static,
    F: Future<Output = Option<T>> + Send + 'static,
    C: FnOnce(Python<'_>, Option<T>) -> PyResult<Py<PyAny>> + Send + 'static,
{
    if then.is_none() {
        return convert(py, blocking::wait_at_most(py, within, next)?);
    }
    settle(py, then, blocking::at_most(within, next), convert)
}

#[pymethods]
impl Completions {
    /// `call_soon_threadsafe` of the loop, and what it is to call there when there is something to take.
    #[new]
    fn new(py: Python<'_>, call_soon_threadsafe: Py<PyAny>, drain: Py<PyAny>) -> PyResult<Self> {
        blocking::check_process()?;
        let state = State {
            wake: Some((call_soon_threadsafe, drain)),
            ..State::default()
        };
        Ok(Self {
            pile: Arc::new(Pile {
                state: Mutex::new(state),
                notes: notifier(py)?.clone(),
            }),
        })
    }

    /// What is done: tuples (token, value, exception), in the order in which it was.
    fn take<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        // Swapped out under the lock, converted without it: a conversion makes Python objects, and these may run any
        // code, such as a destructor that submits to this queue.
        let done = std::mem::take(&mut self.pile.state.lock().done);
        let taken = done.into_iter().map(|(token, outcome)| match outcome(py) {
            Ok(value) => (token, value, None),
            Err(error) => (token, py.None(), Some(error.into_value(py))),
        });
        PyList::new(py, taken.collect::<Vec<_>>())
    }

    /// Gives up waiting for an outcome: its future is dropped where it stands.
    fn cancel(&self, token: u64) {
        if runtime::is_foreign() {
            return; // the task runs in the parent
        }
        let task = self.pile.state.lock().running.remove(&token);
        if let Some(task) = task {
            task.abort();
        }
    }

    /// Gives up waiting for every outcome.
    fn close(&self) {
        self.pile.close();
    }
}

impl Pile {
    fn submit(
        self: &Arc<Self>,
        token: u64,
        future: impl Future<Output = Outcome> + Send + 'static,
    ) -> PyResult<()> {
        let promise = Promise {
            pile: Arc::downgrade(self),
            token,
        };
        // Held until the task is known: it may be done before this thread goes on.
        let mut state = self.state.lock();
        if state.wake.is_none() {
            return Err(PyRuntimeError::new_err("the completions are closed"));
        }
        let task = runtime::handle().spawn(async move {
            let outcome = future.await;
            promise.keep(outcome);
        });
        state.running.insert(token, task.abort_handle());
        Ok(())
    }

    fn push(self: &Arc<Self>, token: u64, outcome: Outcome) {
        let mut state = self.state.lock();
        if state.running.remove(&token).is_none() {
            return; // cancelled: a cancelled call has no outcome
        }
        // Only the first outcome in an empty queue wakes the loop: `take` empties the queue as a whole, and a wake-up
        // for each outcome would cost a system call and a turn of the loop each.
        let edge = state.done.is_empty();
        state.done.push((token, outcome));
        drop(state);
        if edge {
            // At exit the notifier ends first; after that no loop runs that could be woken.
            let _at_exit = self.notes.send(Note::Wake(Arc::downgrade(self)));
        }
    }

    fn wake(&self, py: Python<'_>) {
        let wake = self
            .state
            .lock()
            .wake
            .as_ref()
            .map(|(call_soon, drain)| (call_soon.clone_ref(py), drain.clone_ref(py)));
        let Some((call_soon, drain)) = wake else {
            return;
        };
        if let Err(error) = call_soon.call1(py, (drain,)) {
            // A closed loop raises RuntimeError; it has no more callers that wait.
            if !error.is_instance_of::<PyRuntimeError>(py) {
                error.write_unraisable(py, None);
            }
            self.close();
        }
    }

    fn close(&self) {
        if runtime::is_foreign() {
            return; // the tasks run in the parent, and a thread of the parent may have held the lock at the fork
        }
        // Taken out first, dropped when the lock is free: a future that is dropped may take locks of its own.
        let state = std::mem::take(&mut *self.state.lock());
        for task in state.running.values() {
            task.abort();
        }
    }
}

impl Drop for Pile {
    fn drop(&mut self) {
        self.close();
    }
}

/// The promise of a task that there will be an outcome: a task that panics drops the promise, and that is one too.
struct Promise {
    pile: Weak<Pile>,
    token: u64,
}

impl Promise {
    fn keep(self, outcome: Outcome) {
        if let Some(pile) = self.pile.upgrade() {
            pile.push(self.token, outcome);
        }
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        if let Some(pile) = self.pile.upgrade() {
            let failed = || PyRuntimeError::new_err("a task of the core failed");
            pile.push(self.token, Box::new(move |_| Err(failed())));
        }
    }
}

/// A message to the thread that wakes event loops.
enum Note {
    Wake(Weak<Pile>),
    Stop,
}

/// The thread that wakes event loops, started on first use and ended before the interpreter.
fn notifier(py: Python<'_>) -> PyResult<&'static Sender<Note>> {
    static NOTIFIER: PyOnceLock<Sender<Note>> = PyOnceLock::new();
    NOTIFIER.get_or_try_init(py, || {
        runtime::handle(); // from the first use of the runtime on, a forked child is known as one
        let (notes, received) = channel();
        let thread = thread::Builder::new()
            .name("dimse-notify".to_owned())
            .spawn(move || {
                while let Ok(Note::Wake(pile)) = received.recv() {
                    // Waits for the interpreter; at exit there is none to be had, and the note is dropped.
                    Python::try_attach(|py| {
                        if let Some(pile) = pile.upgrade() {
                            pile.wake(py);
                        }
                    });
                }
            })?;
        let stop = notes.clone();
        let thread = Mutex::new(Some(thread));
        // Joined before the interpreter is finalised: a thread that attaches afterwards would hang or crash. The join
        // releases the interpreter, because the notifier may be waiting for it.
        let at_exit = PyCFunction::new_closure(py, None, None, move |args, _| {
            let thread = thread.lock().take().filter(|_| !runtime::is_foreign());
            if let Some(thread) = thread {
                let _gone = stop.send(Note::Stop);
                args.py().detach(|| thread.join().is_ok());
            }
        })?;
        py.import("atexit")?.call_method1("register", (at_exit,))?;
        Ok(notes)
    })
}
