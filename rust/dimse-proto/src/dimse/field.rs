//! The messages of DIMSE, one row per Command Field (PS3.7 9.3, 10.3 and Annex E).

use core::fmt;

use super::element;

/// (0000,0100): the kind of message. Holds the number on the wire, also one that the standard does not define.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CommandField(pub u16);

/// What the standard says about the data set of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DataSetUsage {
    /// Never a data set: (0000,0800) is 0101H.
    None,
    /// M: always a data set.
    Mandatory,
    /// U: a data set if the sender wants one.
    UserOption,
    /// C: a data set depending on status and service.
    Conditional,
    /// C: a data set if and only if the status is Pending.
    WhenPending,
}

/// One message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// (0000,0100).
    pub field: CommandField,
    /// The standard's name: `C-STORE-RQ`.
    pub name: &'static str,
    /// Mandatory elements beyond (0000,0000), (0000,0100) and (0000,0800), which all messages have.
    pub required: &'static [u16],
    /// Conditional and optional elements. Elements that belong to a status (PS3.7 C.4, C.5) are not listed: any
    /// response may have them.
    pub optional: &'static [u16],
    /// Whether a data set follows.
    pub data_set: DataSetUsage,
}

impl Row {
    /// Whether the message may have this element.
    #[must_use]
    pub fn allows(&self, element: u16) -> bool {
        self.required.contains(&element) || self.optional.contains(&element)
    }
}

impl CommandField {
    /// The row of this message; `None` for a message that the standard does not define.
    #[must_use]
    pub fn row(self) -> Option<&'static Row> {
        MESSAGES.iter().find(|row| row.field == self)
    }

    /// The standard's name; `None` for a message that the standard does not define.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        self.row().map(|row| row.name)
    }

    /// Whether the message is a response: bit 15 is set.
    #[must_use]
    pub const fn is_response(self) -> bool {
        self.0 & 0x8000 != 0
    }

    /// The response to this request, also to an unknown one; `None` for a response and for C-CANCEL-RQ.
    #[must_use]
    pub const fn response(self) -> Option<Self> {
        if self.is_response() || self.0 == Self::C_CANCEL_RQ.0 {
            None
        } else {
            Some(Self(self.0 | 0x8000))
        }
    }

    /// Whether the message is of DIMSE-N (PS3.7 section 10) rather than DIMSE-C (section 9).
    #[must_use]
    pub const fn is_normalized(self) -> bool {
        matches!(self.0 & 0x7fff, 0x0100..=0x0150)
    }
}

impl fmt::Display for CommandField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "command field {:04X}H", self.0),
        }
    }
}

impl fmt::Debug for CommandField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CommandField({self})")
    }
}

macro_rules! messages {
    ($($name:ident $field:literal $text:literal, [$($required:ident),*], [$($optional:ident),*], $data_set:ident;)+) => {
        impl CommandField {
            $(#[doc = $text] pub const $name: Self = Self($field);)+
        }

        /// The 23 messages.
        pub const MESSAGES: &[Row] = &[$(
            Row {
                field: CommandField::$name,
                name: $text,
                required: &[$(element::$required),*],
                optional: &[$(element::$optional),*],
                data_set: DataSetUsage::$data_set,
            },
        )+];
    };
}

// The tables of PS3.7 9.3 and 10.3. All other files ask this table: which elements make a request, which of them a
// response repeats, what a received command lacks, and what must not be sent. So a new message is a new row.
messages! {
    C_STORE_RQ 0x0001 "C-STORE-RQ",
        [AFFECTED_SOP_CLASS_UID, MESSAGE_ID, PRIORITY, AFFECTED_SOP_INSTANCE_UID],
        [MOVE_ORIGINATOR_AE_TITLE, MOVE_ORIGINATOR_MESSAGE_ID], Mandatory;
    C_STORE_RSP 0x8001 "C-STORE-RSP",
        [MESSAGE_ID_BEING_RESPONDED_TO, STATUS],
        [AFFECTED_SOP_CLASS_UID, AFFECTED_SOP_INSTANCE_UID], None;
    C_GET_RQ 0x0010 "C-GET-RQ",
        [AFFECTED_SOP_CLASS_UID, MESSAGE_ID, PRIORITY],
        [], Mandatory;
    C_GET_RSP 0x8010 "C-GET-RSP",
        [MESSAGE_ID_BEING_RESPONDED_TO, STATUS],
        [AFFECTED_SOP_CLASS_UID, NUMBER_OF_REMAINING_SUBOPERATIONS, NUMBER_OF_COMPLETED_SUBOPERATIONS,
         NUMBER_OF_FAILED_SUBOPERATIONS, NUMBER_OF_WARNING_SUBOPERATIONS], Conditional;
    C_FIND_RQ 0x0020 "C-FIND-RQ",
        [AFFECTED_SOP_CLASS_UID, MESSAGE_ID, PRIORITY],
        [], Mandatory;
    C_FIND_RSP 0x8020 "C-FIND-RSP",
        [MESSAGE_ID_BEING_RESPONDED_TO, STATUS],
        [AFFECTED_SOP_CLASS_UID], WhenPending;
    C_MOVE_RQ 0x0021 "C-MOVE-RQ",
        [AFFECTED_SOP_CLASS_UID, MESSAGE_ID, MOVE_DESTINATION, PRIORITY],
        [], Mandatory;
    C_MOVE_RSP 0x8021 "C-MOVE-RSP",
        [MESSAGE_ID_BEING_RESPONDED_TO, STATUS],
        [AFFECTED_SOP_CLASS_UID, NUMBER_OF_REMAINING_SUBOPERATIONS, NUMBER_OF_COMPLETED_SUBOPERATIONS,
         NUMBER_OF_FAILED_SUBOPERATIONS, NUMBER_OF_WARNING_SUBOPERATIONS], Conditional;
    C_ECHO_RQ 0x0030 "C-ECHO-RQ",
        [AFFECTED_SOP_CLASS_UID, MESSAGE_ID],
        [], None;
    C_ECHO_RSP 0x8030 "C-ECHO-RSP",
        [MESSAGE_ID_BEING_RESPONDED_TO, STATUS],
        [AFFECTED_SOP_CLASS_UID], None;
    C_CANCEL_RQ 0x0fff "C-CANCEL-RQ",
        [MESSAGE_ID_BEING_RESPONDED_TO],
        [], None;
    N_EVENT_REPORT_RQ 0x0100 "N-EVENT-REPORT-RQ",
        [AFFECTED_SOP_CLASS_UID, MESSAGE_ID, AFFECTED_SOP_INSTANCE_UID, EVENT_TYPE_ID],
        [], UserOption;
    N_EVENT_REPORT_RSP 0x8100 "N-EVENT-REPORT-RSP",
        [MESSAGE_ID_BEING_RESPONDED_TO, STATUS],
        [AFFECTED_SOP_CLASS_UID, AFFECTED_SOP_INSTANCE_UID, EVENT_TYPE_ID], Conditional;
    N_GET_RQ 0x0110 "N-GET-RQ",
        [REQUESTED_SOP_CLASS_UID, MESSAGE_ID, REQUESTED_SOP_INSTANCE_UID],
        [ATTRIBUTE_IDENTIFIER_LIST], None;
    N_GET_RSP 0x8110 "N-GET-RSP",
        [MESSAGE_ID_BEING_RESPONDED_TO, STATUS],
        [AFFECTED_SOP_CLASS_UID, AFFECTED_SOP_INSTANCE_UID], Conditional;
    N_SET_RQ 0x0120 "N-SET-RQ",
        [REQUESTED_SOP_CLASS_UID, MESSAGE_ID, REQUESTED_SOP_INSTANCE_UID],
        [], Mandatory;
    N_SET_RSP 0x8120 "N-SET-RSP",
        [MESSAGE_ID_BEING_RESPONDED_TO, STATUS],
        [AFFECTED_SOP_CLASS_UID, AFFECTED_SOP_INSTANCE_UID], UserOption;
    N_ACTION_RQ 0x0130 "N-ACTION-RQ",
        [REQUESTED_SOP_CLASS_UID, MESSAGE_ID, REQUESTED_SOP_INSTANCE_UID, ACTION_TYPE_ID],
        [], UserOption;
    N_ACTION_RSP 0x8130 "N-ACTION-RSP",
        [MESSAGE_ID_BEING_RESPONDED_TO, STATUS],
        [AFFECTED_SOP_CLASS_UID, AFFECTED_SOP_INSTANCE_UID, ACTION_TYPE_ID], Conditional;
    N_CREATE_RQ 0x0140 "N-CREATE-RQ",
        [AFFECTED_SOP_CLASS_UID, MESSAGE_ID],
        [AFFECTED_SOP_INSTANCE_UID], UserOption;
    N_CREATE_RSP 0x8140 "N-CREATE-RSP",
        [MESSAGE_ID_BEING_RESPONDED_TO, STATUS],
        [AFFECTED_SOP_CLASS_UID, AFFECTED_SOP_INSTANCE_UID], UserOption;
    N_DELETE_RQ 0x0150 "N-DELETE-RQ",
        [REQUESTED_SOP_CLASS_UID, MESSAGE_ID, REQUESTED_SOP_INSTANCE_UID],
        [], None;
    N_DELETE_RSP 0x8150 "N-DELETE-RSP",
        [MESSAGE_ID_BEING_RESPONDED_TO, STATUS],
        [AFFECTED_SOP_CLASS_UID, AFFECTED_SOP_INSTANCE_UID], None;
}
