//! The command dictionary (PS3.7 Annex E). All elements are of group 0000.

use alloc::borrow::Cow;
use alloc::format;

use crate::dataset::Tag;
use crate::{AeTitle, LocalError, Uid};

/// The value representations that occur in command sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are those of PS3.5 6.2")]
pub enum Vr {
    Ae,
    At,
    Cs,
    Is,
    Lo,
    Lt,
    Sh,
    Ui,
    Ul,
    Us,
}

/// One element of PS3.7 Annex E.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    /// Element number; the group is 0000.
    pub element: u16,
    /// `AffectedSOPClassUID`.
    pub keyword: &'static str,
    /// Value representation.
    pub vr: Vr,
    /// Value multiplicity 1-n instead of 1.
    pub many: bool,
    /// Of PS3.7 E.2: ignored when received, never sent.
    pub retired: bool,
}

/// The entry of an element; `None` for one that the standard does not define.
#[must_use]
pub fn entry(element: u16) -> Option<&'static Entry> {
    let index = DICTIONARY.binary_search_by_key(&element, |entry| entry.element);
    index.ok().and_then(|index| DICTIONARY.get(index))
}

/// The entry with this keyword.
#[must_use]
pub fn by_keyword(keyword: &str) -> Option<&'static Entry> {
    DICTIONARY.iter().find(|entry| entry.keyword == keyword)
}

macro_rules! dictionary {
    (@many 1) => { false };
    (@many n) => { true };
    (@retired) => { false };
    (@retired retired) => { true };
    ($($name:ident $element:literal $keyword:literal $vr:ident $vm:tt $($retired:ident)?;)+) => {
        $(
            #[doc = concat!($keyword, " (0000,", stringify!($element), ").")]
            pub const $name: u16 = $element;
        )+

        /// Every element of PS3.7 E.1 and E.2, ascending.
        pub const DICTIONARY: &[Entry] = &[$(
            Entry {
                element: $element,
                keyword: $keyword,
                vr: Vr::$vr,
                many: dictionary!(@many $vm),
                retired: dictionary!(@retired $($retired)?),
            },
        )+];
    };
}

dictionary! {
    COMMAND_GROUP_LENGTH 0x0000 "CommandGroupLength" Ul 1;
    COMMAND_LENGTH_TO_END 0x0001 "CommandLengthToEnd" Ul 1 retired;
    AFFECTED_SOP_CLASS_UID 0x0002 "AffectedSOPClassUID" Ui 1;
    REQUESTED_SOP_CLASS_UID 0x0003 "RequestedSOPClassUID" Ui 1;
    COMMAND_RECOGNITION_CODE 0x0010 "CommandRecognitionCode" Sh 1 retired;
    COMMAND_FIELD 0x0100 "CommandField" Us 1;
    MESSAGE_ID 0x0110 "MessageID" Us 1;
    MESSAGE_ID_BEING_RESPONDED_TO 0x0120 "MessageIDBeingRespondedTo" Us 1;
    INITIATOR 0x0200 "Initiator" Ae 1 retired;
    RECEIVER 0x0300 "Receiver" Ae 1 retired;
    FIND_LOCATION 0x0400 "FindLocation" Ae 1 retired;
    MOVE_DESTINATION 0x0600 "MoveDestination" Ae 1;
    PRIORITY 0x0700 "Priority" Us 1;
    COMMAND_DATA_SET_TYPE 0x0800 "CommandDataSetType" Us 1;
    NUMBER_OF_MATCHES 0x0850 "NumberOfMatches" Us 1 retired;
    RESPONSE_SEQUENCE_NUMBER 0x0860 "ResponseSequenceNumber" Us 1 retired;
    STATUS 0x0900 "Status" Us 1;
    OFFENDING_ELEMENT 0x0901 "OffendingElement" At n;
    ERROR_COMMENT 0x0902 "ErrorComment" Lo 1;
    ERROR_ID 0x0903 "ErrorID" Us 1;
    AFFECTED_SOP_INSTANCE_UID 0x1000 "AffectedSOPInstanceUID" Ui 1;
    REQUESTED_SOP_INSTANCE_UID 0x1001 "RequestedSOPInstanceUID" Ui 1;
    EVENT_TYPE_ID 0x1002 "EventTypeID" Us 1;
    ATTRIBUTE_IDENTIFIER_LIST 0x1005 "AttributeIdentifierList" At n;
    ACTION_TYPE_ID 0x1008 "ActionTypeID" Us 1;
    NUMBER_OF_REMAINING_SUBOPERATIONS 0x1020 "NumberOfRemainingSuboperations" Us 1;
    NUMBER_OF_COMPLETED_SUBOPERATIONS 0x1021 "NumberOfCompletedSuboperations" Us 1;
    NUMBER_OF_FAILED_SUBOPERATIONS 0x1022 "NumberOfFailedSuboperations" Us 1;
    NUMBER_OF_WARNING_SUBOPERATIONS 0x1023 "NumberOfWarningSuboperations" Us 1;
    MOVE_ORIGINATOR_AE_TITLE 0x1030 "MoveOriginatorApplicationEntityTitle" Ae 1;
    MOVE_ORIGINATOR_MESSAGE_ID 0x1031 "MoveOriginatorMessageID" Us 1;
    DIALOG_RECEIVER 0x4000 "DialogReceiver" Lt 1 retired;
    TERMINAL_TYPE 0x4010 "TerminalType" Lt 1 retired;
    MESSAGE_SET_ID 0x5010 "MessageSetID" Sh 1 retired;
    END_MESSAGE_ID 0x5020 "EndMessageID" Sh 1 retired;
    DISPLAY_FORMAT 0x5110 "DisplayFormat" Lt 1 retired;
    PAGE_POSITION_ID 0x5120 "PagePositionID" Lt 1 retired;
    TEXT_FORMAT_ID 0x5130 "TextFormatID" Cs 1 retired;
    NORMAL_REVERSE 0x5140 "NormalReverse" Cs 1 retired;
    ADD_GRAY_SCALE 0x5150 "AddGrayScale" Cs 1 retired;
    BORDERS 0x5160 "Borders" Cs 1 retired;
    COPIES 0x5170 "Copies" Is 1 retired;
    COMMAND_MAGNIFICATION_TYPE 0x5180 "CommandMagnificationType" Cs 1 retired;
    ERASE 0x5190 "Erase" Cs 1 retired;
    PRINT 0x51a0 "Print" Cs 1 retired;
    OVERLAYS 0x51b0 "Overlays" Us n retired;
}

/// Checks that an element may be sent and may have this value, padded or not.
pub(super) fn check_value(number: u16, value: &[u8]) -> Result<(), LocalError> {
    let Some(entry) = entry(number).filter(|entry| !entry.retired) else {
        let what = format!("{} is not an element to be sent", Tag(0, number));
        return Err(LocalError::invalid(what, "PS3.7 E.1"));
    };
    let text = core::str::from_utf8(value).unwrap_or("\u{fffd}");
    let fits = has_size_of(entry.vr, value.len())
        && match entry.vr {
            Vr::Ui => Uid::new(text.strip_suffix('\0').unwrap_or(text)).is_ok(),
            Vr::Ae => AeTitle::new(text).is_ok(),
            Vr::At => !value.is_empty(),
            Vr::Us | Vr::Ul => true,
            _ => {
                let allowed = |b: &u8| matches!(b, b' '..=b'~') && *b != b'\\';
                trimmed(value).len() <= 64 && value.iter().all(allowed)
            }
        };
    if fits {
        return Ok(());
    }
    Err(LocalError::invalid(
        format!("{} cannot be \"{}\"", name_of(number), value.escape_ascii()),
        "PS3.5 6.2",
    ))
}

/// Whether a value of this VR can have this length. A text may have any: its reader checks the content.
pub(super) fn has_size_of(vr: Vr, length: usize) -> bool {
    match vr {
        Vr::Us => length == 2,
        Vr::Ul => length == 4,
        Vr::At => length.is_multiple_of(4),
        _ => true,
    }
}

/// Tag and keyword of an element, for messages.
pub(super) fn name_of(number: u16) -> Cow<'static, str> {
    match entry(number) {
        Some(entry) => format!("{} {}", Tag(0, number), entry.keyword).into(),
        None => format!("{}", Tag(0, number)).into(),
    }
}

/// The value without spaces and NULs at both ends.
pub(super) fn trimmed(value: &[u8]) -> &[u8] {
    let padding = |b: &u8| matches!(b, 0 | b' ');
    let start = value
        .iter()
        .position(|b| !padding(b))
        .unwrap_or(value.len());
    let end = value
        .iter()
        .rposition(|b| !padding(b))
        .map_or(start, |last| last.saturating_add(1));
    value.get(start..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dictionary_is_ascending_and_found() {
        assert!(DICTIONARY.is_sorted_by(|a, b| a.element < b.element));
        assert_eq!(DICTIONARY.iter().filter(|entry| !entry.retired).count(), 24);
        assert_eq!(DICTIONARY.iter().filter(|entry| entry.retired).count(), 22);
        for known in DICTIONARY {
            assert_eq!(entry(known.element), Some(known));
            assert_eq!(by_keyword(known.keyword), Some(known));
        }
        assert_eq!(entry(0x0004), None);
    }
}
