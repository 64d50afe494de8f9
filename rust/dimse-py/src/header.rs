//! `_core.Headers`: some elements of many files at once, undecoded; and `_core.Groups`, which parts them for an index.

use std::path::PathBuf;
use std::sync::Arc;

use dimse_net::files::collected::{Reading, split};
use dimse_net::files::header::headers;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};

use crate::facts::tag_of;
use crate::scan::{Bounds, Dictionary, error};

/// Which elements are collected, and the limits of decoding the data sets that have them.
#[pyclass(frozen, module = "dimse_rs._core")]
pub(crate) struct Headers {
    reading: Arc<Reading>,
}

impl Headers {
    pub(crate) fn reading(&self) -> Arc<Reading> {
        Arc::clone(&self.reading)
    }
}

/// Elements of one data set.
#[pyclass(frozen, get_all, module = "dimse_rs._core")]
pub(crate) struct HeaderFacts {
    transfer_syntax: String,
    /// The elements in the order of tags. Each is `<I2sH` and the value: tag, VR (zeros in Implicit VR), and length, of
    /// which the highest bit says that the data set has a delimiter instead.
    packed: Py<PyBytes>,
    /// Decoders read the data set as the core does, no element was left out for its length, and decoding the data
    /// set takes no more than the limits.
    plain: bool,
}

#[pymethods]
impl Headers {
    #[new]
    #[expect(clippy::needless_pass_by_value, reason = "the signature is PyO3's")]
    fn new(tags: Vec<u32>, limits: &Bound<'_, Bounds>, dictionary: &Bound<'_, Dictionary>) -> Self {
        Self {
            reading: Arc::new(Reading {
                tags: tags.iter().copied().map(tag_of).collect(),
                limits: limits.get().core(),
                dictionary: dictionary.get().core(),
            }),
        }
    }

    /// Reads files, each from end to end as `scan_file`. Gives for each the facts, or the exception.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "arguments are taken over from Python"
    )]
    fn read(&self, py: Python<'_>, paths: Vec<PathBuf>) -> PyResult<Vec<Py<PyAny>>> {
        let found = py.detach(|| headers(&self.reading, &paths));
        let results = found.into_iter().zip(&paths);
        let results = results.map(|(found, path)| match found {
            Ok(header) => {
                let facts = HeaderFacts {
                    transfer_syntax: header.transfer_syntax.to_text(),
                    packed: PyBytes::new(py, &header.collected.packed).unbind(),
                    plain: header.collected.plain,
                };
                Ok(Py::new(py, facts)?.into_any())
            }
            Err(fault) => {
                let refused = error(py, &fault, &path.display().to_string());
                Ok(refused.into_value(py).into_any())
            }
        });
        results.collect()
    }
}

/// Groups of tags.
#[pyclass(frozen, module = "dimse_rs._core")]
pub(crate) struct Groups {
    /// Tags, each with its group, in order.
    groups: Vec<(u32, usize)>,
    count: usize,
}

#[pymethods]
impl Groups {
    #[new]
    #[expect(clippy::needless_pass_by_value, reason = "the signature is PyO3's")]
    fn new(groups: Vec<Vec<u32>>) -> Self {
        let numbered = groups.iter().enumerate();
        let mut all: Vec<_> = numbered
            .flat_map(|(number, tags)| tags.iter().map(move |tag| (*tag, number)))
            .collect();
        all.sort_unstable();
        Self {
            groups: all,
            count: groups.len(),
        }
    }

    /// The elements of each group, packed as they were; without those that have no value.
    fn split<'py>(&self, py: Python<'py>, packed: &[u8]) -> PyResult<Bound<'py, PyTuple>> {
        let parts = split(packed, self.count, |tag| {
            let at = self.groups.binary_search_by_key(&tag, |(of, _)| *of).ok()?;
            self.groups.get(at).map(|(_, group)| *group)
        });
        PyTuple::new(py, parts.iter().map(|part| PyBytes::new(py, part)))
    }
}
