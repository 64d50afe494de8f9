//! `_core.Folder`: a folder that receives instances.

use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use dimse_net::files::Disk;
use dimse_net::files::collected::Reading;
use dimse_net::receive::{self as sink, Duplicates, Durability, Layout};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::errors;
use crate::header::Headers;
use crate::message::Message;

/// What a folder keeps of each instance for a function that decides on it.
#[pyclass(frozen, module = "dimse_rs._core")]
pub(crate) struct Collect {
    reading: Option<Arc<Reading>>,
    digest: bool,
}

#[pymethods]
impl Collect {
    /// `headers`: says which elements of the data set. `digest`: its BLAKE3.
    #[new]
    #[pyo3(signature = (headers=None, *, digest=false))]
    fn new(headers: Option<&Bound<'_, Headers>>, digest: bool) -> Self {
        Self {
            reading: headers.map(|headers| headers.get().reading()),
            digest,
        }
    }
}

/// A folder that receives instances.
#[pyclass(frozen, module = "dimse_rs._core")]
pub(crate) struct Folder {
    pub(crate) inner: Arc<sink::Folder>,
}

#[pymethods]
impl Folder {
    /// Makes the folder if needed and removes what a crash left unfinished in it. One whose mode is "temporary" is
    /// this process's alone, and made anew when it was removed.
    #[new]
    #[pyo3(signature = (path, mode="durable", layout="flat", duplicates="keep-both", *, reserve=None, strict=false,
                        collect=None))]
    #[expect(
        clippy::too_many_arguments,
        reason = "each is a setting of a folder, named on the Python side"
    )]
    fn new(
        py: Python<'_>,
        path: PathBuf,
        mode: &str,
        layout: &str,
        duplicates: &str,
        reserve: Option<u64>,
        strict: bool,
        collect: Option<&Bound<'_, Collect>>,
    ) -> PyResult<Self> {
        let unknown =
            |what: &str, value: &str| PyValueError::new_err(format!("unknown {what} {value:?}"));
        let durability = match mode {
            "durable" => Durability::Durable,
            "file-only" => Durability::FileOnly,
            "fast" | "temporary" => Durability::Fast,
            other => return Err(unknown("mode", other)),
        };
        let layout = match layout {
            "flat" => Layout::Flat,
            "study" => Layout::Study,
            other => return Err(unknown("layout", other)),
        };
        let duplicates = match duplicates {
            "keep-both" => Duplicates::KeepBoth,
            "reject" => Duplicates::Reject,
            other => return Err(unknown("duplicates", other)),
        };
        let shown = path.display().to_string();
        let folder =
            py.detach(|| sink::Folder::open(path, durability, layout, duplicates, Arc::new(Disk)));
        let mut folder = folder
            .map_err(|error| errors::os(py, &error, &shown))?
            .strictly(strict);
        if let Some(bytes) = reserve {
            folder = folder.with_reserve(bytes);
        }
        if let Some(collect) = collect.map(Bound::get) {
            if let Some(reading) = &collect.reading {
                folder = folder.with_collected(Arc::clone(reading));
            }
            if collect.digest {
                folder = folder.with_digest();
            }
        }
        if mode == "temporary" {
            folder = folder.private();
        }
        Ok(Self {
            inner: Arc::new(folder),
        })
    }
}

/// Bytes of a spooled instance copied at a time.
const COPY_CHUNK: usize = 1 << 20;

impl Folder {
    /// Stores the instance of a C-STORE request, as a sink would.
    pub(crate) fn store(
        &self,
        py: Python<'_>,
        request: sink::StoreRequest,
        message: &Message,
    ) -> PyResult<sink::Stored> {
        let stored = match (message.fragments(), message.spooled()) {
            // Disk work without the interpreter, and on the handler's thread: an I/O thread never waits for a disk here.
            (Some(fragments), _) => {
                py.detach(|| sink::store_whole(Arc::clone(&self.inner), request, fragments))
            }
            (None, Some(spooled)) => py.detach(|| self.copy(request, spooled)),
            (None, None) => return Err(PyValueError::new_err("the request has no data set")),
        };
        stored.map_err(|refusal| errors::refusal(py, &refusal))
    }

    /// Stores what is in a spooled file.
    fn copy(
        &self,
        request: sink::StoreRequest,
        spooled: &sink::Spooled,
    ) -> Result<sink::Stored, sink::Refusal> {
        let mut writer = sink::Writer::new(Arc::clone(&self.inner), request)?;
        // Copied, not renamed: the spool may be on another file system, and a message can be stored twice.
        let mut file = spooled.open_data()?;
        loop {
            let mut chunk = Vec::with_capacity(COPY_CHUNK);
            let read = (&mut file)
                .take(COPY_CHUNK as u64)
                .read_to_end(&mut chunk)
                .map_err(|error| sink::Refusal::io("read the spooled instance", &error))?;
            if read == 0 {
                return writer.commit();
            }
            writer.write(&[Bytes::from(chunk)])?;
        }
    }
}
