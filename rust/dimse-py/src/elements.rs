//! `_core.encode_elements` and `_core.raw_elements`: the elements of pydicom's data sets as bytes, and the reverse.
//!
//! Both do the common part of the work, and leave the rest to Python with its rules for character sets and sequences.

use dimse_proto::dataset::{self, Tag};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};

use crate::scan::encoding_of;

/// Lengths from here on may not fit into 16 bits with their padding.
const LONG: usize = 0xfffe;
/// Characters of the longest DS and IS (PS3.5 6.2).
const DS_LONGEST: usize = 16;
const IS_LONGEST: usize = 12;
/// Component groups of a PN: alphabetic, ideographic, phonetic.
const GROUPS: usize = 3;

/// Encodes the elements whose values are plain, in ascending order of their tags; without groups 0000 and 0002 and group
/// lengths. Gives bytes, and the tag of each element that is not among them in its place.
///
/// `elements`: pydicom's, by tag. `utf8`: whether text goes out as UTF-8, of a data set that was made in this process.
#[pyfunction]
pub(crate) fn encode_elements<'py>(
    py: Python<'py>,
    elements: &Bound<'py, PyDict>,
    encoding: &str,
    utf8: bool,
) -> PyResult<Bound<'py, PyList>> {
    let encoding = encoding_of(encoding)?;
    let mut sorted = elements
        .iter()
        .map(|(tag, element)| Ok((tag.extract::<u32>()?, tag, element)))
        .collect::<PyResult<Vec<_>>>()?;
    sorted.sort_by_key(|(number, ..)| *number);
    let parts = PyList::empty(py);
    let mut run = Vec::new();
    let mut content = Vec::new();
    for (number, key, element) in sorted {
        let [g0, g1, e0, e1] = number.to_be_bytes();
        let tag = Tag(u16::from_be_bytes([g0, g1]), u16::from_be_bytes([e0, e1]));
        if matches!(tag, Tag(0x0000 | 0x0002, _)) || (tag.1 == 0 && tag.0 > 6) {
            continue; // commands and File Meta Information are no part of a data set; group lengths are retired
        }
        content.clear();
        let written = put(&element, utf8, &mut content)?;
        match written.zip(u16::try_from(content.len()).ok()) {
            Some((vr, length)) if content.len() < LONG => {
                dataset::put_short_header(&mut run, encoding, tag, vr, length);
                run.extend_from_slice(&content);
            }
            _ => {
                if !run.is_empty() {
                    parts.append(PyBytes::new(py, &run))?;
                    run.clear();
                }
                parts.append(key)?;
            }
        }
    }
    if !run.is_empty() {
        parts.append(PyBytes::new(py, &run))?;
    }
    Ok(parts)
}

/// What the values of a VR are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Text of the default repertoire.
    Ascii,
    /// Text in the character set of (0008,0005).
    Text,
    Name,
    Integer,
    Decimal,
}

/// Writes the value of an element, padded, and gives its VR; `None` when it is left to Python.
fn put(element: &Bound<'_, PyAny>, utf8: bool, into: &mut Vec<u8>) -> PyResult<Option<[u8; 2]>> {
    let py = element.py();
    if element.is_instance_of::<PyTuple>() {
        return Ok(None); // a value that was read and not decoded
    }
    let vr = element.getattr(intern!(py, "VR"))?;
    let vr = match vr.cast::<PyString>() {
        Ok(text) => <[u8; 2]>::try_from(text.to_str()?.as_bytes()).unwrap_or_default(),
        Err(_) => return Ok(None),
    };
    let kind = match &vr {
        b"AE" | b"AS" | b"CS" | b"DA" | b"DT" | b"TM" | b"UI" => Kind::Ascii,
        b"LO" | b"LT" | b"SH" | b"ST" => Kind::Text,
        b"PN" => Kind::Name,
        b"IS" => Kind::Integer,
        b"DS" => Kind::Decimal,
        _ => return Ok(None),
    };
    let Some(value) = element.getattr_opt(intern!(py, "_value"))? else {
        return Ok(None);
    };
    if !put_values(&value, kind, utf8, into)? {
        return Ok(None);
    }
    if into.len() % 2 == 1 {
        into.push(if &vr == b"UI" { 0 } else { b' ' });
    }
    Ok(Some(vr))
}

/// Writes one value or several; whether that was possible.
fn put_values(
    value: &Bound<'_, PyAny>,
    kind: Kind,
    utf8: bool,
    into: &mut Vec<u8>,
) -> PyResult<bool> {
    if value.is_none() {
        return Ok(true);
    }
    if value.is_instance_of::<PyString>() {
        return put_value(value, kind, utf8, into);
    }
    // pydicom's `MultiValue` has its values in a list of this name.
    let several = value.getattr_opt(intern!(value.py(), "_list"))?;
    let Some(Ok(several)) = several.map(Bound::cast_into::<PyList>) else {
        return put_value(value, kind, utf8, into);
    };
    for (place, one) in several.iter().enumerate() {
        if place > 0 {
            into.push(b'\\');
        }
        if !put_value(&one, kind, utf8, into)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn put_value(
    value: &Bound<'_, PyAny>,
    kind: Kind,
    utf8: bool,
    into: &mut Vec<u8>,
) -> PyResult<bool> {
    let py = value.py();
    let utf8 = utf8 && matches!(kind, Kind::Text | Kind::Name);
    if let Ok(text) = value.cast::<PyString>() {
        // Text in place of a number is padding, or malformed: both are Python's.
        let number = matches!(kind, Kind::Integer | Kind::Decimal);
        return Ok(!(number && text.len()? > 0) && put_text(text, utf8, into));
    }
    // The text that a number was made of goes out as it came in.
    let original = || value.getattr_opt(intern!(py, "original_string"));
    match kind {
        Kind::Name => match value.getattr_opt(intern!(py, "_components"))? {
            Some(groups) => Ok(put_name(&groups, utf8, into)),
            None => Ok(false),
        },
        Kind::Integer if value.is_instance_of::<PyInt>() && !value.is_instance_of::<PyBool>() => {
            match (value.extract::<i32>(), original()?) {
                (Ok(_), Some(text)) => put_number(&text, IS_LONGEST, into),
                (Ok(number), None) => {
                    into.extend_from_slice(number.to_string().as_bytes());
                    Ok(true)
                }
                _ => Ok(false),
            }
        }
        Kind::Decimal if value.is_instance_of::<PyFloat>() => match original()? {
            Some(text) if value.extract::<f64>()?.is_finite() => {
                put_number(&text, DS_LONGEST, into)
            }
            _ => Ok(false),
        },
        _ => Ok(false),
    }
}

fn put_number(text: &Bound<'_, PyAny>, longest: usize, into: &mut Vec<u8>) -> PyResult<bool> {
    match text.cast::<PyString>() {
        Ok(text) if text.len()? <= longest => Ok(put_text(text, false, into)),
        _ => Ok(false),
    }
}

/// Writes the decoded component groups of a name, which pydicom has not when it has read the name and not looked at it.
fn put_name(groups: &Bound<'_, PyAny>, utf8: bool, into: &mut Vec<u8>) -> bool {
    let Ok(groups) = groups.cast::<PyTuple>() else {
        return false;
    };
    let start = into.len();
    for (place, group) in groups.iter().enumerate() {
        let Ok(group) = group.cast::<PyString>() else {
            return false;
        };
        if place > 0 {
            into.push(b'=');
        }
        if !put_text(group, utf8, into) {
            return false;
        }
    }
    let written = into.get(start..).unwrap_or_default();
    // Beyond ASCII a name has to come back as it is: a reader ends it at a backslash.
    written.is_ascii() || (groups.len() <= GROUPS && !written.contains(&b'\\'))
}

/// Writes ASCII, the same in every character set; or UTF-8. Not escapes, nor what stands for bytes without a meaning.
fn put_text(text: &Bound<'_, PyString>, utf8: bool, into: &mut Vec<u8>) -> bool {
    let Ok(text) = text.to_str() else {
        return false; // lone surrogates
    };
    if text.contains(['\x1b', '\u{fffd}']) || !(utf8 || text.is_ascii()) {
        return false;
    }
    into.extend_from_slice(text.as_bytes());
    true
}

/// Splits a data set into pydicom's raw elements, by tag; `None` when only pydicom can tell how it reads the bytes.
///
/// `data`: a whole data set. `tag`: makes a tag of a number. `element`: makes a raw element of a tuple of its tag, VR,
/// length, value and offset of the value, and of what is in `common`.
#[pyfunction]
pub(crate) fn raw_elements<'py>(
    py: Python<'py>,
    data: &Bound<'py, PyBytes>,
    encoding: &str,
    tag: &Bound<'py, PyAny>,
    element: &Bound<'py, PyAny>,
    common: &Bound<'py, PyTuple>,
) -> PyResult<Option<Bound<'py, PyDict>>> {
    let encoding = encoding_of(encoding)?;
    let bytes = data.as_bytes();
    let Some(elements) = dataset::elements(bytes, encoding) else {
        return Ok(None);
    };
    let common: Vec<_> = common.iter().collect();
    let found = PyDict::new(py);
    for one in elements {
        let number = (u32::from(one.tag.0) << 16) | u32::from(one.tag.1);
        let tag = tag.call1((number,))?;
        let value = match bytes.get(one.value.clone()).unwrap_or_default() {
            [] if !empty_is_bytes(one.vr) => py.None().into_bound(py),
            value => PyBytes::new(py, value).into_any(),
        };
        let vr = match &one.vr {
            // Two capital letters: an unknown VR would not be here.
            Some(vr) => PyString::intern(py, &String::from_utf8_lossy(vr)).into_any(),
            None => py.None().into_bound(py),
        };
        let mut fields = vec![
            tag.clone(),
            vr,
            one.value.len().into_pyobject(py)?.into_any(),
            value,
            one.value.start.into_pyobject(py)?.into_any(),
        ];
        fields.extend_from_slice(&common);
        found.set_item(tag, element.call1((PyTuple::new(py, fields)?,))?)?;
    }
    Ok(Some(found))
}

/// Whether pydicom reads an empty value of a VR as no bytes, and not as None.
fn empty_is_bytes(vr: Option<[u8; 2]>) -> bool {
    vr.is_some_and(|vr| {
        matches!(
            &vr,
            b"AE"
                | b"AS"
                | b"CS"
                | b"DA"
                | b"DT"
                | b"LO"
                | b"LT"
                | b"PN"
                | b"SH"
                | b"SQ"
                | b"ST"
                | b"TM"
                | b"UC"
                | b"UI"
                | b"UR"
                | b"UT"
        )
    })
}
