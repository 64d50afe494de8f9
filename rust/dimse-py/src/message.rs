//! `_core.Message`: a command set by keyword, and its data set.

use dimse_net::receive::Spooled;
use dimse_proto::dataset::Tag;
use dimse_proto::dimse::element::{self, Vr};
use dimse_proto::dimse::{CommandField, CommandSet};
use dimse_proto::{AeTitle, Uid};
use pyo3::exceptions::{PyKeyError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use crate::blocking::OfProcess;
use crate::bytes::{Payload, bytes_of, payload_of};
use crate::errors;
use crate::facts::tag_of;

/// Context id, command set and data set of a message that may be sent.
pub(crate) type Parts = (u8, CommandSet, Option<bytes::Bytes>);

/// A DIMSE message (PS3.7 6.3): `Message(context_id, command, data)` to send, or one that was received.
///
/// `command` maps keywords of the command dictionary (PS3.7 Annex E) to values: UIDs, AE titles and text as `str`,
/// numbers as `int`, tags as lists of `int`. (0000,0000) and (0000,0800) are filled in.
#[pyclass(frozen, module = "dimse_rs._core")]
pub(crate) struct Message {
    pub(crate) context_id: u8,
    pub(crate) command: CommandSet,
    // One of three: bytes that Python gave, bytes that were received, or a spooled file that goes with this object.
    outgoing: Option<bytes::Bytes>,
    payload: Option<Py<Payload>>,
    spooled: Option<OfProcess<Spooled>>,
}

impl Message {
    pub(crate) fn received(
        py: Python<'_>,
        context_id: u8,
        command: CommandSet,
        data: dimse_net::association::Data,
    ) -> PyResult<Self> {
        let (payload, spooled) = payload_of(py, data)?;
        Ok(Self {
            context_id,
            command,
            outgoing: None,
            payload,
            spooled: spooled.map(OfProcess::from),
        })
    }

    /// A response: `base` says what it answers, `values` the rest.
    pub(crate) fn answer(
        py: Python<'_>,
        context_id: u8,
        base: CommandSet,
        values: &Bound<'_, PyDict>,
        data: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let mut command = base;
        fill(py, &mut command, values)?;
        let outgoing = data.map(bytes_of).transpose()?;
        // (0000,0800) is never the caller's: a command set that announces a data set without one stalls the peer.
        command.set_has_data_set(outgoing.is_some());
        Ok(Self {
            context_id,
            command,
            outgoing,
            payload: None,
            spooled: None,
        })
    }

    /// The data set as it was received, when it is in memory.
    pub(crate) fn fragments(&self) -> Option<&[bytes::Bytes]> {
        self.payload
            .as_ref()
            .map(|payload| payload.get().fragments())
    }

    // A spooled data set is in a file from the start: a large instance never is in memory as a whole.
    /// The data set when it is in a file.
    pub(crate) fn spooled(&self) -> Option<&Spooled> {
        self.spooled.as_deref()
    }

    /// What a checked message is sent as.
    pub(crate) fn parts(&self, py: Python<'_>) -> PyResult<Parts> {
        // A clone of the data counts a reference. A received message can be sent on as it is: its fragments are joined on
        // first use.
        let data = self.outgoing.clone().or_else(|| {
            self.payload
                .as_ref()
                .map(|payload| payload.get().whole().clone())
        });
        let message = dimse_proto::dimse::Message::new(self.context_id, self.command.clone(), data)
            .map_err(|error| errors::local(py, &error))?;
        Ok((message.context_id, message.command, message.data))
    }
}

#[pymethods]
impl Message {
    #[new]
    #[pyo3(signature = (context_id, command, data=None))]
    fn new(
        py: Python<'_>,
        context_id: u8,
        command: &Bound<'_, PyDict>,
        data: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        Self::answer(py, context_id, CommandSet::default(), command, data)
    }

    /// Presentation context id.
    #[getter]
    const fn context_id(&self) -> u8 {
        self.context_id
    }

    /// (0000,0100).
    #[getter]
    fn field(&self) -> u16 {
        self.command.field().map_or(0, |field| field.0)
    }

    /// The standard's name of the message: "C-ECHO-RQ"; None for an unknown Command Field.
    #[getter]
    fn name(&self) -> Option<&'static str> {
        self.command.field().and_then(CommandField::name)
    }

    /// (0000,0110), in requests.
    #[getter]
    fn message_id(&self) -> Option<u16> {
        self.command.message_id()
    }

    /// (0000,0120), in responses and C-CANCEL.
    #[getter]
    fn responding_to(&self) -> Option<u16> {
        self.command.responding_to()
    }

    /// (0000,0900), in responses.
    #[getter]
    fn status(&self) -> Option<u16> {
        self.command.status().map(|status| status.0)
    }

    /// Affected or Requested SOP Class UID.
    #[getter]
    fn sop_class(&self) -> Option<String> {
        self.command.sop_class().map(|uid| uid.to_text())
    }

    /// Affected or Requested SOP Instance UID.
    #[getter]
    fn sop_instance(&self) -> Option<String> {
        self.command.sop_instance().map(|uid| uid.to_text())
    }

    /// All elements by keyword; unknown ones by tag, as bytes.
    #[getter]
    fn command<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        command_to_py(py, &self.command)
    }

    /// The value of one element by keyword; None when it is absent.
    fn get<'py>(&self, py: Python<'py>, keyword: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
        let entry = element::by_keyword(keyword)
            .ok_or_else(|| PyKeyError::new_err(format!("{keyword} is no command element")))?;
        if self.command.get(entry.element).is_none() {
            return Ok(None);
        }
        get(py, &self.command, entry).map(Some)
    }

    /// The data set of a received message, when it is in memory.
    #[getter]
    fn data(&self, py: Python<'_>) -> Option<Py<Payload>> {
        self.payload.as_ref().map(|payload| payload.clone_ref(py))
    }

    /// The data set of a received message, when it is in a file: a Part 10 file that goes with this message.
    #[getter]
    fn path(&self) -> Option<std::path::PathBuf> {
        self.spooled
            .as_ref()
            .map(|spooled| spooled.path().to_owned())
    }

    /// Where the data set starts in that file, in bytes.
    #[getter]
    fn data_offset(&self) -> Option<u64> {
        self.spooled.as_ref().map(|spooled| spooled.data_offset)
    }

    /// The message as its peers see it: the command set, encoded (PS3.7 6.3.1).
    fn encode_command<'py>(&self, py: Python<'py>) -> Bound<'py, pyo3::types::PyBytes> {
        pyo3::types::PyBytes::new(py, &self.command.encode())
    }

    fn __repr__(&self) -> String {
        let name = self.name().unwrap_or("unknown message");
        match self.status() {
            Some(status) => format!("<{name} status={status:04X} context={}>", self.context_id),
            None => format!("<{name} context={}>", self.context_id),
        }
    }
}

fn fill(py: Python<'_>, set: &mut CommandSet, values: &Bound<'_, PyDict>) -> PyResult<()> {
    // By keyword (PS3.7 E.1) and never by number: a keyword that is misspelt raises, a wrong number would be sent.
    for (keyword, value) in values {
        let keyword: String = keyword.extract()?;
        let entry = element::by_keyword(&keyword)
            .ok_or_else(|| PyKeyError::new_err(format!("{keyword} is no command element")))?;
        put(py, set, entry, &value)?;
    }
    Ok(())
}

fn put(
    py: Python<'_>,
    set: &mut CommandSet,
    entry: &element::Entry,
    value: &Bound<'_, PyAny>,
) -> PyResult<()> {
    // None is an element that is absent: callers pass every keyword that a message may have.
    if value.is_none() {
        return Ok(());
    }
    // The dictionary says how a value is encoded: a number for a UID raises here, and not at the peer.
    let stored = match entry.vr {
        Vr::Us => {
            set.set_us(entry.element, value.extract()?);
            Ok(())
        }
        Vr::Ul => {
            set.set_ul(entry.element, value.extract()?);
            Ok(())
        }
        Vr::At => {
            let tags: Vec<u32> = value.extract()?;
            let tags: Vec<Tag> = tags.into_iter().map(tag_of).collect();
            set.set_tags(entry.element, &tags);
            Ok(())
        }
        Vr::Ui => {
            // `str` and its subclasses: UIDs of the package are classes of their own.
            let text: String = value.str()?.extract()?;
            Uid::new(&text).and_then(|uid| set.set_uid(entry.element, &uid))
        }
        Vr::Ae => {
            let text: String = value.extract()?;
            AeTitle::new(&text).and_then(|title| set.set_ae(entry.element, title))
        }
        Vr::Lo => {
            let text: String = value.extract()?;
            set.set_text(entry.element, &text)
        }
        _ => {
            return Err(PyTypeError::new_err(format!(
                "{} is retired and not sent",
                entry.keyword
            )));
        }
    };
    stored.map_err(|error| errors::local(py, &error))
}

/// All elements by keyword; unknown ones by tag, as bytes.
pub(crate) fn command_to_py<'py>(
    py: Python<'py>,
    command: &CommandSet,
) -> PyResult<Bound<'py, PyDict>> {
    let all = PyDict::new(py);
    for (number, value) in command.iter() {
        match element::entry(number) {
            Some(entry) => all.set_item(entry.keyword, get(py, command, entry)?)?,
            None => all.set_item(format!("(0000,{number:04X})"), &value[..])?,
        }
    }
    Ok(all)
}

fn get<'py>(
    py: Python<'py>,
    set: &CommandSet,
    entry: &element::Entry,
) -> PyResult<Bound<'py, PyAny>> {
    Ok(match entry.vr {
        Vr::Us => set.us(entry.element).into_pyobject(py)?,
        Vr::Ul => set.ul(entry.element).into_pyobject(py)?,
        Vr::At => {
            let tags = set.tags(entry.element).unwrap_or_default();
            let numbers = tags
                .iter()
                .map(|tag| (u32::from(tag.0) << 16) | u32::from(tag.1));
            PyList::new(py, numbers.collect::<Vec<_>>())?.into_any()
        }
        Vr::Ui => set
            .uid(entry.element)
            .map(|uid| uid.to_text())
            .into_pyobject(py)?,
        _ => set.text(entry.element).into_pyobject(py)?,
    })
}
