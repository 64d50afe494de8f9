//! The DICOM Upper Layer state machine (PS3.8 section 9.2). Pure: it knows no bytes, clock or socket.
//!
//! An association end is in one of thirteen states; nineteen kinds of event reach it; Table 9-10 says, for each
//! pair, which of the actions of Tables 9-6 to 9-9 follows, and an action says which state comes next. The table
//! below is the standard's, row for row and column for column, so that a reader can compare the two by eye.
//!
//! Rule 1: every transition stands here. Rule 2: what an action *does* stands in `connection/actions.rs`, one function
//! for each row. Rule 3: a blank cell reached by a local primitive is the caller's mistake; reached by a timer or the
//! transport the event came late and is ignored. No PDU of a peer reaches a blank cell in a state with a connection.

use core::fmt;

use crate::state::State;

/// Events of the protocol machine, in the row order of PS3.8 Table 9-10.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Event {
    /// A-ASSOCIATE request (local user).
    Evt1 = 1,
    /// Transport connection confirmation.
    Evt2,
    /// A-ASSOCIATE-AC PDU received.
    Evt3,
    /// A-ASSOCIATE-RJ PDU received.
    Evt4,
    /// Transport connection indication.
    Evt5,
    /// A-ASSOCIATE-RQ PDU received.
    Evt6,
    /// A-ASSOCIATE response, accept (local user).
    Evt7,
    /// A-ASSOCIATE response, reject (local user).
    Evt8,
    /// P-DATA request (local user).
    Evt9,
    /// P-DATA-TF PDU received.
    Evt10,
    /// A-RELEASE request (local user).
    Evt11,
    /// A-RELEASE-RQ PDU received.
    Evt12,
    /// A-RELEASE-RP PDU received.
    Evt13,
    /// A-RELEASE response (local user).
    Evt14,
    /// A-ABORT request (local user).
    Evt15,
    /// A-ABORT PDU received.
    Evt16,
    /// Transport connection closed.
    Evt17,
    /// ARTIM timer expired.
    Evt18,
    /// Unrecognized or invalid PDU received.
    Evt19,
}

impl Event {
    /// All events in the standard's order.
    pub const ALL: [Self; 19] = [
        Self::Evt1,
        Self::Evt2,
        Self::Evt3,
        Self::Evt4,
        Self::Evt5,
        Self::Evt6,
        Self::Evt7,
        Self::Evt8,
        Self::Evt9,
        Self::Evt10,
        Self::Evt11,
        Self::Evt12,
        Self::Evt13,
        Self::Evt14,
        Self::Evt15,
        Self::Evt16,
        Self::Evt17,
        Self::Evt18,
        Self::Evt19,
    ];

    /// The service primitive behind a local event; `None` for what the peer, the transport or ARTIM causes.
    #[must_use]
    pub const fn primitive(self) -> Option<&'static str> {
        match self {
            Self::Evt1 => Some("A-ASSOCIATE request"),
            Self::Evt7 => Some("A-ASSOCIATE response (accept)"),
            Self::Evt8 => Some("A-ASSOCIATE response (reject)"),
            Self::Evt9 => Some("P-DATA request"),
            Self::Evt11 => Some("A-RELEASE request"),
            Self::Evt14 => Some("A-RELEASE response"),
            Self::Evt15 => Some("A-ABORT request"),
            _ => None,
        }
    }
}

/// Actions of PS3.8 Tables 9-6 (association establishment), 9-7 (data transfer), 9-8 (release), 9-9 (abort).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(
    missing_docs,
    reason = "the standard's names; what each does is documented in actions.rs"
)]
pub enum Action {
    AE1,
    AE2,
    AE3,
    AE4,
    AE5,
    AE6,
    AE7,
    AE8,
    DT1,
    DT2,
    AR1,
    AR2,
    AR3,
    AR4,
    AR5,
    AR6,
    AR7,
    AR8,
    AR9,
    AR10,
    AA1,
    AA2,
    AA3,
    AA4,
    AA5,
    AA6,
    AA7,
    AA8,
}

/// The state after an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// One state.
    To(State),
    /// AE-6: the first if the request is acceptable to the provider. AR-8: the first on the requestor's side.
    Either(State, State),
}

impl Action {
    /// The next state, given in the standard's tables by the last sentence of the action.
    #[must_use]
    pub const fn next(self) -> Next {
        use State::*;
        Next::To(match self {
            Self::AE4 | Self::AR3 | Self::AR5 | Self::AA2 | Self::AA3 | Self::AA4 | Self::AA5 => {
                Sta1
            }
            Self::AE5 => Sta2,
            Self::AE1 => Sta4,
            Self::AE2 => Sta5,
            Self::AE3 | Self::AE7 | Self::DT1 | Self::DT2 => Sta6,
            Self::AR1 | Self::AR6 => Sta7,
            Self::AR2 | Self::AR7 => Sta8,
            Self::AR9 => Sta11,
            Self::AR10 => Sta12,
            Self::AE8 | Self::AR4 | Self::AA1 | Self::AA6 | Self::AA7 | Self::AA8 => Sta13,
            Self::AE6 => return Next::Either(Sta3, Sta13),
            Self::AR8 => return Next::Either(Sta9, Sta10),
        })
    }

    const fn parts(self) -> (&'static str, u8) {
        match self {
            Self::AE1 => ("AE", 1),
            Self::AE2 => ("AE", 2),
            Self::AE3 => ("AE", 3),
            Self::AE4 => ("AE", 4),
            Self::AE5 => ("AE", 5),
            Self::AE6 => ("AE", 6),
            Self::AE7 => ("AE", 7),
            Self::AE8 => ("AE", 8),
            Self::DT1 => ("DT", 1),
            Self::DT2 => ("DT", 2),
            Self::AR1 => ("AR", 1),
            Self::AR2 => ("AR", 2),
            Self::AR3 => ("AR", 3),
            Self::AR4 => ("AR", 4),
            Self::AR5 => ("AR", 5),
            Self::AR6 => ("AR", 6),
            Self::AR7 => ("AR", 7),
            Self::AR8 => ("AR", 8),
            Self::AR9 => ("AR", 9),
            Self::AR10 => ("AR", 10),
            Self::AA1 => ("AA", 1),
            Self::AA2 => ("AA", 2),
            Self::AA3 => ("AA", 3),
            Self::AA4 => ("AA", 4),
            Self::AA5 => ("AA", 5),
            Self::AA6 => ("AA", 6),
            Self::AA7 => ("AA", 7),
            Self::AA8 => ("AA", 8),
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (group, number) = self.parts();
        write!(f, "{group}-{number}")
    }
}

impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Braces keep rustfmt out, so that the table below stays a table.
macro_rules! table {
    ($($($cell:ident)+;)+) => { [$([$(table!(@$cell)),+]),+] };
    (@__) => { None };
    (@$action:ident) => { Some(Action::$action) };
}

/// PS3.8 Table 9-10, row for row and column for column. `__` is a blank cell.
const TABLE: [[Option<Action>; 13]; 19] = table! {
    // Sta1 Sta2 Sta3 Sta4 Sta5 Sta6 Sta7 Sta8 Sta9 Sta10 Sta11 Sta12 Sta13
    AE1  __   __   __   __   __   __   __   __   __    __    __    __   ; //  1 A-ASSOCIATE request (local user)
    __   __   __   AE2  __   __   __   __   __   __    __    __    __   ; //  2 Transport connection confirmation
    __   AA1  AA8  __   AE3  AA8  AA8  AA8  AA8  AA8   AA8   AA8   AA6  ; //  3 A-ASSOCIATE-AC PDU
    __   AA1  AA8  __   AE4  AA8  AA8  AA8  AA8  AA8   AA8   AA8   AA6  ; //  4 A-ASSOCIATE-RJ PDU
    AE5  __   __   __   __   __   __   __   __   __    __    __    __   ; //  5 Transport connection indication
    __   AE6  AA8  __   AA8  AA8  AA8  AA8  AA8  AA8   AA8   AA8   AA7  ; //  6 A-ASSOCIATE-RQ PDU
    __   __   AE7  __   __   __   __   __   __   __    __    __    __   ; //  7 A-ASSOCIATE response (accept)
    __   __   AE8  __   __   __   __   __   __   __    __    __    __   ; //  8 A-ASSOCIATE response (reject)
    __   __   __   __   __   DT1  __   AR7  __   __    __    __    __   ; //  9 P-DATA request
    __   AA1  AA8  __   AA8  DT2  AR6  AA8  AA8  AA8   AA8   AA8   AA6  ; // 10 P-DATA-TF PDU
    __   __   __   __   __   AR1  __   __   __   __    __    __    __   ; // 11 A-RELEASE request
    __   AA1  AA8  __   AA8  AR2  AR8  AA8  AA8  AA8   AA8   AA8   AA6  ; // 12 A-RELEASE-RQ PDU
    __   AA1  AA8  __   AA8  AA8  AR3  AA8  AA8  AR10  AR3   AA8   AA6  ; // 13 A-RELEASE-RP PDU
    __   __   __   __   __   __   __   AR4  AR9  __    __    AR4   __   ; // 14 A-RELEASE response
    __   __   AA1  AA2  AA1  AA1  AA1  AA1  AA1  AA1   AA1   AA1   __   ; // 15 A-ABORT request
    __   AA2  AA3  __   AA3  AA3  AA3  AA3  AA3  AA3   AA3   AA3   AA2  ; // 16 A-ABORT PDU
    __   AA5  AA4  AA4  AA4  AA4  AA4  AA4  AA4  AA4   AA4   AA4   AR5  ; // 17 Transport connection closed
    __   AA2  __   __   __   __   __   __   __   __    __    __    AA2  ; // 18 ARTIM timer expired
    __   AA1  AA8  __   AA8  AA8  AA8  AA8  AA8  AA8   AA8   AA8   AA7  ; // 19 Unrecognized or invalid PDU
};

/// The cell of Table 9-10 for an event in a state; `None` where the standard leaves it blank.
#[must_use]
#[expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "discriminants run from 1 to the table's dimensions"
)]
pub const fn action(state: State, event: Event) -> Option<Action> {
    TABLE[event as usize - 1][state as usize - 1]
}
