//! `_core.Arrivals`: instances that are stored and wait for a verdict, pulled together and settled together.
//!
//! A C-STORE is answered after the verdict, because a peer deletes its copy on Success. What a verdict refuses is taken
//! back first: the file goes, and an earlier version returns to its place.

use std::path::PathBuf;
use std::sync::Arc;

use dimse_net::queue::Queue;
use dimse_net::receive::{self, Arrival, Met, Stored};
use dimse_net::runtime;
use dimse_proto::Uid;
use parking_lot::Mutex;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use tokio::task::JoinSet;

use crate::blocking::{self, OfProcess};
use crate::completions::{Then, settle};
use crate::facts::{AddressFacts, texts};

/// Instances given to Python at a time.
const TOGETHER: usize = 256;

/// Refusals that are carried out at the same time: they share syncs.
const AT_ONCE: usize = 32;

/// Some stored instances. Dropped unsettled they stay, and are answered as failures.
#[pyclass(frozen, module = "dimse_rs._core")]
pub(crate) struct Arrivals {
    inner: OfProcess<Mutex<Vec<Arrival>>>,
}

impl Arrivals {
    /// Waits for the next one, and takes those that came with it.
    pub(crate) async fn next(queue: Arc<Queue<Arrival>>) -> Option<Self> {
        // One is waited for, the others are those that arrived meanwhile: under load a function sees many at once and
        // can use one transaction for all, and without load the first does not wait.
        let mut arrivals = vec![queue.next().await?];
        arrivals.extend(queue.take(TOGETHER.saturating_sub(1)));
        Some(Self {
            inner: Mutex::new(arrivals).into(),
        })
    }
}

/// The verdict that an instance is not to be kept.
#[pyclass(frozen, get_all, module = "dimse_rs._core")]
#[derive(Clone)]
pub(crate) struct Refusal {
    /// The failure status that answers the C-STORE.
    status: u16,
    /// The Error Comment beside it; may be empty.
    comment: String,
}

#[pymethods]
impl Refusal {
    #[new]
    const fn new(status: u16, comment: String) -> Self {
        Self { status, comment }
    }
}

#[pymethods]
impl Arrivals {
    /// What is known of each.
    fn facts(&self, py: Python<'_>) -> PyResult<Vec<StoredFacts>> {
        blocking::check_process()?;
        let arrivals = self.inner.lock();
        let facts = arrivals.iter().map(|arrival| StoredFacts::of(py, arrival));
        Ok(facts.collect())
    }

    /// Has each answered: None for Success, or a refusal, after what was there before is back.
    /// Gives for each what its verdict met: "" for in time, "late", "gone", or why it could not be put back.
    #[pyo3(signature = (verdicts, *, then=None))]
    fn settle(
        &self,
        py: Python<'_>,
        verdicts: Vec<Option<Bound<'_, Refusal>>>,
        then: Option<Then<'_>>,
    ) -> PyResult<Py<PyAny>> {
        blocking::check_process()?;
        // Taken: a second call finds none, and each instance has one verdict.
        let arrivals = std::mem::take(&mut *self.inner.lock());
        if arrivals.len() != verdicts.len() {
            let (wanted, given) = (arrivals.len(), verdicts.len());
            let what = format!("{given} verdicts for {wanted} instances");
            return Err(PyValueError::new_err(what));
        }
        let verdicts = verdicts
            .into_iter()
            .map(|verdict| verdict.map(|refusal| refusal.get().clone()))
            .collect();
        settle(py, then, carry_out(arrivals, verdicts), |py, met| {
            Ok(met.into_pyobject(py)?.into_any().unbind())
        })
    }
}

async fn carry_out(arrivals: Vec<Arrival>, verdicts: Vec<Option<Refusal>>) -> Vec<String> {
    let mut met = vec![Met::InTime; arrivals.len()];
    let mut refused = Vec::new();
    for ((index, arrival), verdict) in arrivals.into_iter().enumerate().zip(verdicts) {
        match verdict {
            Some(verdict) => refused.push((index, arrival, verdict)),
            // Nothing to do on the disk: answered here, before the refusals are carried out.
            None => put(&mut met, index, arrival.accept()),
        }
    }
    // A window of work: each refusal needs a thread of the runtime, which other disk work needs as well.
    let mut working = JoinSet::new();
    let mut refused = refused.into_iter();
    loop {
        while working.len() < AT_ONCE
            && let Some((index, arrival, Refusal { status, comment })) = refused.next()
        {
            let refusal = receive::Refusal {
                status,
                detail: format!("refused by on_stored: {comment}"),
                comment: comment.into(),
            };
            // Renames and syncs, on threads for blocking work: an I/O thread has sockets to serve.
            let work = move || (index, arrival.refuse(refusal));
            working.spawn_blocking_on(work, runtime::handle());
        }
        match working.join_next().await {
            Some(Ok((index, what))) => put(&mut met, index, what),
            Some(Err(_runtime_goes_away)) => {}
            None => break,
        }
    }
    let texts = met.into_iter().map(|met| match met {
        Met::InTime => String::new(),
        Met::TooLate => "late".to_owned(),
        Met::Gone => "gone".to_owned(),
        Met::NotPutBack(refusal) => refusal.to_string(),
    });
    texts.collect()
}

fn put(met: &mut [Met], index: usize, what: Met) {
    if let Some(slot) = met.get_mut(index) {
        *slot = what;
    }
}

/// What is known of one stored instance.
#[pyclass(frozen, get_all, module = "dimse_rs._core")]
pub(crate) struct StoredFacts {
    /// The Part 10 file.
    path: PathBuf,
    sop_class: String,
    sop_instance: String,
    transfer_syntax: String,
    /// Study Instance UID; empty when the data set has none.
    study: String,
    /// Series Instance UID; empty when the data set has none.
    series: String,
    /// Length of the data set in bytes.
    size: u64,
    /// BLAKE3 of the data set, when that was asked for.
    digest: Option<Py<PyBytes>>,
    /// Number of the association that it came over.
    association: u64,
    calling: String,
    called: String,
    /// Where the sender is.
    peer: Option<AddressFacts>,
    /// The same bytes were there already.
    identical: bool,
    /// Where an earlier version with other bytes went.
    kept: Option<PathBuf>,
    oddities: Vec<String>,
    /// The elements that were asked for, as `HeaderFacts.packed`.
    packed: Py<PyBytes>,
    /// As `HeaderFacts.plain`.
    plain: bool,
}

impl StoredFacts {
    fn of(py: Python<'_>, arrival: &Arrival) -> Self {
        let stored: &Stored = &arrival.stored;
        let text = |uid: &Option<Uid>| uid.as_ref().map(Uid::to_text).unwrap_or_default();
        let digest = stored.digest.map(|digest| PyBytes::new(py, &digest));
        Self {
            path: stored.path.clone(),
            sop_class: stored.sop_class.to_text(),
            sop_instance: stored.sop_instance.to_text(),
            transfer_syntax: stored.transfer_syntax.to_text(),
            study: text(&stored.subject.study),
            series: text(&stored.series),
            size: stored.bytes,
            digest: digest.map(Bound::unbind),
            association: arrival.association,
            calling: arrival.titles.calling.to_text(),
            called: arrival.titles.called.to_text(),
            peer: arrival.peer.map(AddressFacts::from),
            identical: stored.identical,
            kept: stored.kept.clone(),
            oddities: texts(&stored.oddities),
            packed: PyBytes::new(py, &stored.collected.packed).unbind(),
            plain: stored.collected.plain,
        }
    }
}
