//! `_core.Events` and `_core.Follower`: what happened, pulled by Python.
//!
//! The driver puts events into a bounded queue of each follower and goes on: a follower that is slow loses events, which
//! are counted, and never slows an association down.

use std::sync::Arc;

use dimse_net::events::{self as net, Events as Hub, Follower as Following, Kinds};
use pyo3::IntoPyObjectExt;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::blocking::{self, OfProcess};
use crate::completions::{Then, settle};
use crate::event::EventFacts;

/// Events taken at a time: the interpreter is not held for longer than these take.
const TOGETHER: usize = 1000;

/// The hub of events of a server, or of one association that this node requests.
#[pyclass(frozen, module = "dimse_rs._core")]
pub(crate) struct Events {
    pub(crate) inner: OfProcess<Hub>,
}

/// One end that pulls events; no events are made for it any more when it goes.
#[pyclass(frozen, module = "dimse_rs._core")]
pub(crate) struct Follower {
    // Shared with the future of a call that waits, so that `close` on another thread ends the wait.
    inner: OfProcess<Arc<Following>>,
}

impl Follower {
    pub(crate) fn new(inner: Following) -> Self {
        Self {
            inner: Arc::new(inner).into(),
        }
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "arguments are taken over from Python"
)]
pub(crate) fn kinds(names: Vec<String>) -> PyResult<Kinds> {
    // One unknown name refuses all: a follower that asks for a misspelt kind would wait for ever.
    names.iter().try_fold(Kinds::NONE, |all, name| {
        let unknown = || PyValueError::new_err(format!("unknown kind of event {name:?}"));
        Ok(all | Kinds::named(name).ok_or_else(unknown)?)
    })
}

#[pymethods]
impl Events {
    #[new]
    fn new() -> Self {
        Self {
            inner: Hub::default().into(),
        }
    }

    /// A follower from now on, at most so many events behind.
    fn follow(&self, names: Vec<String>, most: usize) -> PyResult<Follower> {
        blocking::check_process()?;
        let following = self.inner.follow(kinds(names)?, None, most);
        Ok(Follower::new(following))
    }

    /// No more events will come.
    fn close(&self) -> PyResult<()> {
        blocking::check_process()?;
        self.inner.close();
        Ok(())
    }
}

#[pymethods]
impl Follower {
    /// Follows these kinds instead, from now on.
    fn want(&self, names: Vec<String>) -> PyResult<()> {
        blocking::check_process()?;
        self.inner.want(kinds(names)?);
        Ok(())
    }

    /// Ends following; events that are there can still be taken.
    fn close(&self) -> PyResult<()> {
        blocking::check_process()?;
        self.inner.close();
        Ok(())
    }

    /// Events there are, waiting at most `within` seconds for the first: a list of `EventFacts`. None when there will be
    /// no more.
    #[pyo3(signature = (within=None, *, then=None))]
    fn next(
        &self,
        py: Python<'_>,
        within: Option<f64>,
        then: Option<Then<'_>>,
    ) -> PyResult<Py<PyAny>> {
        let within = blocking::patience(within);
        let follower = Arc::clone(&self.inner);
        let next = async move {
            let first = async { Some(follower.next().await) };
            let mut taken = Vec::new();
            if let Some(first) = blocking::at_most(within, first).await {
                // The first is waited for, the others are taken as far as they are there.
                taken.push(first?);
                while taken.len() < TOGETHER {
                    let Some(next) = follower.try_next() else {
                        break;
                    };
                    taken.push(next);
                }
            }
            Some(taken)
        };
        settle(py, then, next, |py, taken| match taken {
            Some(taken) => all(py, &taken)?.into_py_any(py),
            None => Ok(py.None()),
        })
    }

    /// Events there are, without waiting.
    fn take(&self, py: Python<'_>) -> PyResult<Vec<EventFacts>> {
        blocking::check_process()?;
        all(py, &self.inner.take(TOGETHER))
    }

    /// There is nothing to take, and there will be nothing.
    #[getter]
    fn over(&self) -> PyResult<bool> {
        blocking::check_process()?;
        Ok(self.inner.is_over())
    }

    /// Waits at most `within` seconds for an event or the end of events; false when neither came.
    #[pyo3(signature = (within=None, *, then=None))]
    fn ready(
        &self,
        py: Python<'_>,
        within: Option<f64>,
        then: Option<Then<'_>>,
    ) -> PyResult<Py<PyAny>> {
        let within = blocking::patience(within);
        let follower = Arc::clone(&self.inner);
        let ready = async move {
            // Takes nothing: the thread of the log waits here, and the next line that is logged takes the events
            // that came before it, in their order.
            let ready = async {
                follower.ready().await;
                Some(())
            };
            blocking::at_most(within, ready).await.is_some()
        };
        settle(py, then, ready, |py, ready| ready.into_py_any(py))
    }
}

fn all(py: Python<'_>, taken: &[Arc<net::EventRecord>]) -> PyResult<Vec<EventFacts>> {
    taken.iter().map(|told| EventFacts::of(py, told)).collect()
}
