//! Command sets (PS3.7 6.3.1): elements of group 0000 in Implicit VR Little Endian, whatever the transfer syntax.
//!
//! A received command set is read leniently: the elements that its message defines are checked, the first of several
//! values is used, and everything else is ignored but recorded ([`PassedOver`]). A command set to be sent is checked
//! strictly.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;

use super::element::{self, Vr, check_value, has_size_of, trimmed};
use super::field::{CommandField, Row};
use super::status::{Category, Status};
use crate::dataset::Tag;
use crate::wire::{Reader, Writer};
use crate::{AeTitle, DecodeError, LocalError, Uid};

const SECTION: &str = "PS3.7 6.3.1";

/// Value of (0000,0800) when no data set follows; any other value means that a data set follows.
const NO_DATA_SET: u16 = 0x0101;

/// Value of (0000,0800) sent when a data set follows.
const DATA_SET: u16 = 0x0001;

/// The elements of a command, ascending, without (0000,0000), which [`CommandSet::encode`] computes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandSet {
    elements: Vec<(u16, Bytes)>,
    disordered: bool,
    group_length_wrong: bool,
    passed_over: Option<PassedOver>,
}

/// Elements of a received command set that were ignored, wholly or but for their first value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PassedOver {
    /// The first ignored element.
    pub first: Tag,
    /// Number of ignored elements.
    pub count: u32,
    /// Whether there is a fault among them, not only elements that the standard does not define or has retired.
    pub irregular: bool,
}

impl fmt::Display for PassedOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.first.fmt(f)?;
        match self.count.saturating_sub(1) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}

impl CommandSet {
    /// A request with the elements that every request of the kind has: command field, message id, SOP class (Affected
    /// or Requested), and medium priority if the kind has one. It announces no data set yet.
    ///
    /// # Errors
    /// `InvalidValue` for a `field` that is no known request with a message id, or a SOP class that is no UID.
    pub fn request(
        field: CommandField,
        message_id: u16,
        sop_class: &Uid,
    ) -> Result<Self, LocalError> {
        let Some(row) = field
            .row()
            .filter(|row| row.required.contains(&element::MESSAGE_ID))
        else {
            return Err(LocalError::invalid(
                format!("{field} is not a request"),
                "PS3.7 E.1",
            ));
        };
        let mut command = Self::begun(field);
        command.set_us(element::MESSAGE_ID, message_id);
        command.set_uid(class_elements(row).0, sop_class)?;
        if row.required.contains(&element::PRIORITY) {
            command.set_us(element::PRIORITY, 0x0000);
        }
        Ok(command)
    }

    /// The C-CANCEL-RQ for an operation (PS3.7 9.3.2.3).
    #[must_use]
    pub fn cancel(message_id: u16) -> Self {
        let mut command = Self::begun(CommandField::C_CANCEL_RQ);
        command.set_us(element::MESSAGE_ID_BEING_RESPONDED_TO, message_id);
        command
    }

    /// The response to `request`, with the SOP class, SOP instance, event type or action type of the request where
    /// this response may have them. Invalid UIDs of the request are left out. It announces no data set yet.
    ///
    /// # Errors
    /// `InvalidValue` if `request` is no request, or one that has no response.
    pub fn response_to(request: &Self, status: Status) -> Result<Self, LocalError> {
        let field = request.field().and_then(CommandField::response);
        let (Some(field), Some(message_id)) = (field, request.message_id()) else {
            return Err(LocalError::invalid(
                "not a request that can be answered",
                "PS3.7 E.1",
            ));
        };
        let mut response = Self::begun(field);
        response.set_us(element::MESSAGE_ID_BEING_RESPONDED_TO, message_id);
        response.set_us(element::STATUS, status.0);
        // PS3.7 lets most responses repeat the identifiers of their request. They are optional; a response has all that
        // it may have, and is understood without its request.
        let allowed = |element| field.row().is_some_and(|row| row.allows(element));
        let performed = matches!(status.category(), Category::Success | Category::Warning);
        if let Some(uid) = request.sop_class().filter(Uid::is_valid)
            && allowed(element::AFFECTED_SOP_CLASS_UID)
        {
            response.set_uid(element::AFFECTED_SOP_CLASS_UID, &uid)?;
        }
        if let Some(uid) = request.sop_instance().filter(Uid::is_valid)
            && allowed(element::AFFECTED_SOP_INSTANCE_UID)
            // The UID of an instance that was not created is left out (PS3.7 10.3.5.2).
            && (performed || field != CommandField::N_CREATE_RSP)
        {
            response.set_uid(element::AFFECTED_SOP_INSTANCE_UID, &uid)?;
        }
        for kind in [element::EVENT_TYPE_ID, element::ACTION_TYPE_ID] {
            if let Some(value) = request.us(kind)
                && allowed(kind)
                && performed
            {
                response.set_us(kind, value);
            }
        }
        Ok(response)
    }

    fn begun(field: CommandField) -> Self {
        let mut command = Self::default();
        command.set_us(element::COMMAND_FIELD, field.0);
        command.set_has_data_set(false);
        command
    }

    /// Decodes a command set. Values are slices of `bytes`.
    ///
    /// # Errors
    /// An element that is cut short or of undefined length, an element of this message that occurs twice, or a number
    /// of a wrong length.
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes, SECTION);
        let mut command = Self::default();
        let mut group_length = None;
        while !reader.is_empty() {
            let at = reader.offset();
            let [g0, g1, e0, e1, l0, l1, l2, l3] = reader.array("command element header")?;
            let tag = Tag(u16::from_le_bytes([g0, g1]), u16::from_le_bytes([e0, e1]));
            let length = u32::from_le_bytes([l0, l1, l2, l3]);
            if length == u32::MAX {
                let what = format!("{tag} of undefined length");
                return Err(DecodeError::new(
                    "command-undefined-length",
                    what,
                    at,
                    SECTION,
                ));
            }
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            let value = reader.take(length, "command element")?;
            // An element of another group is no command element, but its length is clear: it is skipped and recorded.
            if tag.0 != 0 {
                command.pass_over(tag, true);
            } else if tag.1 == element::COMMAND_GROUP_LENGTH {
                let follows = u32::try_from(reader.remaining()).ok();
                let right = at == 0 && follows.is_some() && follows == ul_of(&value);
                if group_length.replace(right).is_some() {
                    command.pass_over(tag, true);
                    group_length = Some(false);
                }
            } else {
                command.disordered |= command.elements.last().is_some_and(|last| last.0 > tag.1);
                command.elements.push((tag.1, value));
            }
        }
        // A wrong group length does no harm, because the fragments have already shown where the command set ends.
        command.group_length_wrong = group_length != Some(true);
        if command.disordered {
            command.elements.sort_by_key(|(element, _)| *element);
        }
        command.keep_readable(reader.offset())?;
        Ok(command)
    }

    /// Keeps those of the sorted elements that can be read.
    //
    // A fault matters where it could change what is done: in an element that the message defines. Two SOP Instance
    // UIDs, or a message id of 3 bytes, are an error, because readers differ in what they make of them. The same fault
    // in an element that means nothing here changes nothing: it is recorded, and the message goes on.
    fn keep_readable(&mut self, end: usize) -> Result<(), DecodeError> {
        let elements = core::mem::take(&mut self.elements);
        let field = elements
            .iter()
            .find(|(number, _)| *number == element::COMMAND_FIELD);
        let field = field
            .and_then(|(_, value)| value.first_chunk().copied())
            .map(|value| CommandField(u16::from_le_bytes(value)));
        for (number, value) in elements {
            let tag = Tag(0, number);
            let defined = defines(field, number);
            let again = self.elements.last().is_some_and(|last| last.0 == number);
            if again && defined == Defined::No {
                self.pass_over(tag, true);
                continue;
            }
            if again {
                let what = format!("{tag} occurs twice");
                return Err(DecodeError::new("command-duplicate", what, end, SECTION));
            }
            let Some(entry) = element::entry(number).filter(|entry| !entry.retired) else {
                self.pass_over(tag, false);
                self.elements.push((number, value));
                continue;
            };
            let first = first_value(entry, &value);
            if has_size_of(entry.vr, first.len()) {
                if first.len() != value.len() {
                    self.pass_over(tag, true);
                }
                self.elements.push((number, first));
            } else if defined == Defined::Mandatory
                || (defined == Defined::Optional && !value.is_empty())
            {
                let what = format!("{tag} {} of {} bytes", entry.keyword, value.len());
                return Err(DecodeError::new("command-value-length", what, end, SECTION));
            } else {
                self.pass_over(tag, true);
            }
        }
        Ok(())
    }

    fn pass_over(&mut self, tag: Tag, irregular: bool) {
        let over = self.passed_over.get_or_insert(PassedOver {
            first: tag,
            count: 0,
            irregular,
        });
        over.count = over.count.saturating_add(1);
        over.irregular |= irregular;
    }

    /// The bytes to send: elements in ascending order, padded to even lengths, with the group length.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let sizes = self.elements.iter().map(|(_, value)| padded(value.len()));
        let length = sizes.fold(0_usize, |sum, size| {
            sum.saturating_add(size).saturating_add(8)
        });
        let mut out = Writer::new();
        put(&mut out, element::COMMAND_GROUP_LENGTH, 4);
        out.u32_le(u32::try_from(length).unwrap_or(u32::MAX));
        for (number, value) in &self.elements {
            put(&mut out, *number, padded(value.len()));
            out.bytes(value);
            if !value.len().is_multiple_of(2) {
                out.u8(padding_of(*number));
            }
        }
        out.finish()
    }

    /// Whether elements were received out of order: a fault of the peer, for logs.
    #[must_use]
    pub fn disordered(&self) -> bool {
        self.disordered
    }

    /// Whether (0000,0000) was received wrong, misplaced or not at all: a fault of the peer, for logs.
    #[must_use]
    pub fn group_length_wrong(&self) -> bool {
        self.group_length_wrong
    }

    /// Elements beside those that the message defines, and values beyond a first one: for logs.
    #[must_use]
    pub fn passed_over(&self) -> Option<PassedOver> {
        self.passed_over
    }

    /// (0000,0100).
    #[must_use]
    pub fn field(&self) -> Option<CommandField> {
        self.us(element::COMMAND_FIELD).map(CommandField)
    }

    /// (0000,0110).
    #[must_use]
    pub fn message_id(&self) -> Option<u16> {
        self.us(element::MESSAGE_ID)
    }

    /// (0000,0120): message id of the request that this message answers or cancels.
    #[must_use]
    pub fn responding_to(&self) -> Option<u16> {
        self.us(element::MESSAGE_ID_BEING_RESPONDED_TO)
    }

    /// (0000,0900).
    #[must_use]
    pub fn status(&self) -> Option<Status> {
        self.us(element::STATUS).map(Status)
    }

    /// Whether a data set follows, by (0000,0800).
    #[must_use]
    pub fn has_data_set(&self) -> bool {
        let kind = self.us(element::COMMAND_DATA_SET_TYPE);
        kind.is_some_and(|kind| kind != NO_DATA_SET)
    }

    /// Sets (0000,0800): whether a data set follows.
    pub fn set_has_data_set(&mut self, has: bool) {
        let value = if has { DATA_SET } else { NO_DATA_SET };
        self.set_us(element::COMMAND_DATA_SET_TYPE, value);
    }

    /// The SOP class of the message: Affected or Requested SOP Class UID, as the standard has it for this message, and
    /// if that is missing, the other one. Even the standard confuses the two (PS3.4 CC.2.7.2), and peers do too.
    #[must_use]
    pub fn sop_class(&self) -> Option<Uid> {
        let row = self.field().and_then(CommandField::row);
        let (first, second) = row.map_or(AFFECTED_FIRST.0, class_elements);
        self.uid(first).or_else(|| self.uid(second))
    }

    /// The SOP instance of the message, found like [`Self::sop_class`].
    #[must_use]
    pub fn sop_instance(&self) -> Option<Uid> {
        let row = self.field().and_then(CommandField::row);
        let (first, second) = row.map_or(AFFECTED_FIRST.1, instance_elements);
        self.uid(first).or_else(|| self.uid(second))
    }

    /// The bytes of an element, padding included.
    #[must_use]
    pub fn get(&self, element: u16) -> Option<&Bytes> {
        let index = self.index_of(element).ok()?;
        self.elements.get(index).map(|(_, value)| value)
    }

    /// All elements, ascending.
    #[must_use]
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (u16, &Bytes)> {
        self.elements
            .iter()
            .map(|(element, value)| (*element, value))
    }

    /// A US value.
    #[must_use]
    pub fn us(&self, element: u16) -> Option<u16> {
        let value = self.get(element)?.as_ref().try_into().ok()?;
        Some(u16::from_le_bytes(value))
    }

    /// A UL value.
    #[must_use]
    pub fn ul(&self, element: u16) -> Option<u32> {
        ul_of(self.get(element)?)
    }

    /// A UI value without padding; not checked.
    #[must_use]
    pub fn uid(&self, element: u16) -> Option<Uid> {
        self.get(element).cloned().map(Uid::from_wire)
    }

    /// A text value without spaces and NULs at its ends. Bytes that are not UTF-8 are replaced, and control characters
    /// escaped, because the text is written to logs and terminals.
    #[must_use]
    pub fn text(&self, element: u16) -> Option<String> {
        let value = String::from_utf8_lossy(trimmed(self.get(element)?));
        let mut shown = String::with_capacity(value.len());
        for character in value.chars() {
            if character.is_control() {
                shown.extend(character.escape_default());
            } else {
                shown.push(character);
            }
        }
        Some(shown)
    }

    /// An AE value; `None` also for a value longer than 16 bytes: its first 16 could be the title of another node.
    #[must_use]
    pub fn ae(&self, element: u16) -> Option<AeTitle> {
        let value = trimmed(self.get(element)?);
        (value.len() <= 16).then(|| AeTitle::from_wire(value))
    }

    /// An AT value.
    #[must_use]
    pub fn tags(&self, element: u16) -> Option<Vec<Tag>> {
        let (tags, rest) = self.get(element)?.as_chunks();
        let tag = |&[g0, g1, e0, e1]: &[u8; 4]| {
            Tag(u16::from_le_bytes([g0, g1]), u16::from_le_bytes([e0, e1]))
        };
        rest.is_empty().then(|| tags.iter().map(tag).collect())
    }

    /// Sets a US value.
    pub fn set_us(&mut self, element: u16, value: u16) {
        self.set(element, Bytes::copy_from_slice(&value.to_le_bytes()));
    }

    /// Sets a UL value.
    pub fn set_ul(&mut self, element: u16, value: u32) {
        self.set(element, Bytes::copy_from_slice(&value.to_le_bytes()));
    }

    /// Sets a UI value.
    ///
    /// # Errors
    /// `InvalidValue` if `value` is not a valid UID.
    pub fn set_uid(&mut self, element: u16, value: &Uid) -> Result<(), LocalError> {
        self.set_checked(element, value.as_bytes())
    }

    /// Sets an AE value.
    ///
    /// # Errors
    /// `InvalidValue` for a received title with characters that must not be sent.
    pub fn set_ae(&mut self, element: u16, value: AeTitle) -> Result<(), LocalError> {
        self.set_checked(element, value.as_bytes())
    }

    /// Sets an LO, AE or UI value from text.
    ///
    /// # Errors
    /// `InvalidValue` for a value that the element cannot have: an LO has at most 64 characters of the default
    /// repertoire.
    pub fn set_text(&mut self, element: u16, value: &str) -> Result<(), LocalError> {
        self.set_checked(element, value.as_bytes())
    }

    /// Sets an AT value.
    pub fn set_tags(&mut self, element: u16, value: &[Tag]) {
        let bytes = value.iter().flat_map(|Tag(group, element)| {
            let [g0, g1] = group.to_le_bytes();
            let [e0, e1] = element.to_le_bytes();
            [g0, g1, e0, e1]
        });
        self.set(element, bytes.collect());
    }

    /// Removes an element and returns its value.
    pub fn remove(&mut self, element: u16) -> Option<Bytes> {
        let index = self.index_of(element).ok()?;
        Some(self.elements.remove(index).1)
    }

    fn set_checked(&mut self, element: u16, value: &[u8]) -> Result<(), LocalError> {
        check_value(element, value)?;
        let mut value = value.to_vec();
        if !value.len().is_multiple_of(2) {
            value.push(padding_of(element));
        }
        self.set(element, value.into());
        Ok(())
    }

    fn set(&mut self, element: u16, value: Bytes) {
        match self.index_of(element) {
            Ok(index) => {
                if let Some(slot) = self.elements.get_mut(index) {
                    slot.1 = value;
                }
            }
            Err(index) => self.elements.insert(index, (element, value)),
        }
    }

    fn index_of(&self, element: u16) -> Result<usize, usize> {
        self.elements
            .binary_search_by_key(&element, |(number, _)| *number)
    }
}

/// The elements of SOP class and SOP instance, Affected before Requested, as for an unknown message.
const AFFECTED_FIRST: ((u16, u16), (u16, u16)) = (
    (
        element::AFFECTED_SOP_CLASS_UID,
        element::REQUESTED_SOP_CLASS_UID,
    ),
    (
        element::AFFECTED_SOP_INSTANCE_UID,
        element::REQUESTED_SOP_INSTANCE_UID,
    ),
);

/// The element in which a message has its SOP class, and the one to look at otherwise.
fn class_elements(row: &Row) -> (u16, u16) {
    let (affected, requested) = AFFECTED_FIRST.0;
    if row.allows(requested) {
        (requested, affected)
    } else {
        (affected, requested)
    }
}

/// The element in which a message has its SOP instance, and the one to look at otherwise.
fn instance_elements(row: &Row) -> (u16, u16) {
    let (affected, requested) = AFFECTED_FIRST.1;
    if row.allows(requested) {
        (requested, affected)
    } else {
        (affected, requested)
    }
}

/// Whether a message defines an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Defined {
    Mandatory,
    /// An empty value counts as an absent element.
    Optional,
    No,
}

/// Whether the message of `field` defines the element. An unknown message is taken to define every element by which a
/// command is dispatched.
fn defines(field: Option<CommandField>, number: u16) -> Defined {
    let row = field.and_then(CommandField::row);
    let is_response = field.is_none_or(CommandField::is_response);
    let is_cancel = field.is_none_or(|field| field == CommandField::C_CANCEL_RQ);
    let allows = |one: u16, other: u16| row.is_none_or(|row| row.allows(one) || row.allows(other));
    let (affected, requested) = AFFECTED_FIRST.0;
    let (affected_instance, requested_instance) = AFFECTED_FIRST.1;
    let dispatched = match number {
        element::COMMAND_FIELD | element::COMMAND_DATA_SET_TYPE => true,
        element::MESSAGE_ID => row.is_none_or(|row| row.required.contains(&number)),
        element::MESSAGE_ID_BEING_RESPONDED_TO => is_response || is_cancel,
        element::STATUS => is_response,
        // Affected and Requested stand for each other, see `sop_class`.
        number if number == affected || number == requested => allows(affected, requested),
        number if number == affected_instance || number == requested_instance => {
            allows(affected_instance, requested_instance)
        }
        _ => false,
    };
    match row {
        _ if dispatched => Defined::Mandatory,
        // Priority is mandatory in the standard, but a missing one counts as medium.
        Some(row) if number == element::PRIORITY && row.allows(number) => Defined::Optional,
        Some(row) if row.required.contains(&number) => Defined::Mandatory,
        Some(row) if row.optional.contains(&number) => Defined::Optional,
        _ => Defined::No,
    }
}

/// The first of several values of an element that may have one.
fn first_value(entry: &element::Entry, value: &Bytes) -> Bytes {
    let size = match entry.vr {
        _ if entry.many => None,
        Vr::Us if value.len().is_multiple_of(2) => Some(2),
        Vr::Ul if value.len().is_multiple_of(4) => Some(4),
        Vr::Ui | Vr::Ae => value.iter().position(|byte| *byte == b'\\'),
        _ => None,
    };
    value.slice(..size.map_or(value.len(), |size| size.min(value.len())))
}

fn ul_of(value: &[u8]) -> Option<u32> {
    value.try_into().ok().map(u32::from_le_bytes)
}

fn padded(length: usize) -> usize {
    length.saturating_add(length & 1)
}

/// UIDs are padded with a NUL, all other text with a space (PS3.5 6.2).
fn padding_of(element: u16) -> u8 {
    let is_text = element::entry(element).is_some_and(|entry| entry.vr != Vr::Ui);
    if is_text { b' ' } else { 0 }
}

fn put(out: &mut Writer, element: u16, length: usize) {
    out.u16_le(0);
    out.u16_le(element);
    out.u32_le(u32::try_from(length).unwrap_or(u32::MAX));
}
