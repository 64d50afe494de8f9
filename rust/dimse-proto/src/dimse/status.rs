//! Status codes (PS3.7 Annex C).

use core::fmt;

/// (0000,0900): the outcome of an operation. Holds the number on the wire, also one that the standard does not define.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Status(pub u16);

/// The class of a status, by which a service user decides how to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Category {
    /// The operation was carried out.
    Success,
    /// The operation was carried out, with remarks.
    Warning,
    /// The operation was not carried out.
    Failure,
    /// The operation was ended by C-CANCEL.
    Cancel,
    /// More responses follow.
    Pending,
}

impl Status {
    /// The class of the code (PS3.7 C.1). A code outside all ranges counts as a failure: a peer that sends one has not
    /// said that the operation was carried out.
    #[must_use]
    pub const fn category(self) -> Category {
        match self.0 {
            0x0000 => Category::Success,
            // The first three are warnings of DIMSE-N outside the range Bxxx (PS3.7 C.4).
            0x0001 | 0x0107 | 0x0116 | 0xb000..=0xbfff => Category::Warning,
            0xfe00 => Category::Cancel,
            0xff00 | 0xff01 => Category::Pending,
            _ => Category::Failure,
        }
    }

    /// Whether the operation was not carried out, or not to its end.
    #[must_use]
    pub const fn is_failure(self) -> bool {
        matches!(self.category(), Category::Failure | Category::Cancel)
    }

    /// Whether more responses follow.
    #[must_use]
    pub const fn is_pending(self) -> bool {
        matches!(self.category(), Category::Pending)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{:04X}H {name}", self.0),
            None => write!(f, "{:04X}H", self.0),
        }
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Status({self})")
    }
}

macro_rules! statuses {
    ($($name:ident $code:literal $text:literal;)+) => {
        impl Status {
            $(#[doc = concat!(stringify!($code), ": ", $text, ".")] pub const $name: Self = Self($code);)+

            /// Every code that has a constant, with its name.
            pub const NAMED: &[(&'static str, Self)] = &[$((stringify!($name), Self::$name),)+];

            /// The meaning of the code, if it is the same for every service. Codes Axxx, Bxxx and Cxxx are defined by
            /// each service class; only those with one meaning in all classes have a name here.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($code => Some($text),)+
                    _ => None,
                }
            }
        }
    };
}

statuses! {
    SUCCESS 0x0000 "success";
    OPTIONAL_ATTRIBUTES_NOT_SUPPORTED 0x0001 "requested optional attributes are not supported";
    NO_SUCH_ATTRIBUTE 0x0105 "no such attribute";
    INVALID_ATTRIBUTE_VALUE 0x0106 "invalid attribute value";
    ATTRIBUTE_LIST_ERROR 0x0107 "attribute list error";
    PROCESSING_FAILURE 0x0110 "processing failure";
    DUPLICATE_SOP_INSTANCE 0x0111 "duplicate SOP instance";
    NO_SUCH_SOP_INSTANCE 0x0112 "no such SOP instance";
    NO_SUCH_EVENT_TYPE 0x0113 "no such event type";
    NO_SUCH_ARGUMENT 0x0114 "no such argument";
    INVALID_ARGUMENT_VALUE 0x0115 "invalid argument value";
    ATTRIBUTE_VALUE_OUT_OF_RANGE 0x0116 "attribute value out of range";
    INVALID_SOP_INSTANCE 0x0117 "invalid SOP instance";
    NO_SUCH_SOP_CLASS 0x0118 "no such SOP class";
    CLASS_INSTANCE_CONFLICT 0x0119 "class-instance conflict";
    MISSING_ATTRIBUTE 0x0120 "missing attribute";
    MISSING_ATTRIBUTE_VALUE 0x0121 "missing attribute value";
    SOP_CLASS_NOT_SUPPORTED 0x0122 "refused: SOP class not supported";
    NO_SUCH_ACTION_TYPE 0x0123 "no such action type";
    NOT_AUTHORIZED 0x0124 "refused: not authorized";
    DUPLICATE_INVOCATION 0x0210 "duplicate invocation";
    UNRECOGNIZED_OPERATION 0x0211 "unrecognized operation";
    MISTYPED_ARGUMENT 0x0212 "mistyped argument";
    RESOURCE_LIMITATION 0x0213 "resource limitation";
    OUT_OF_RESOURCES 0xa700 "refused: out of resources";
    DATA_SET_MISMATCH 0xa900 "data set or identifier does not match SOP class";
    CANNOT_PROCESS 0xc000 "cannot understand or unable to process";
    CANCEL 0xfe00 "cancel";
    PENDING 0xff00 "pending";
    PENDING_WITH_WARNING 0xff01 "pending, optional keys not supported";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_the_category_of_its_range() {
        for code in 0..=u16::MAX {
            let expected = match code {
                0x0000 => Category::Success,
                0x0001 | 0x0107 | 0x0116 => Category::Warning,
                0xfe00 => Category::Cancel,
                0xff00 | 0xff01 => Category::Pending,
                _ if code >> 12 == 0xb => Category::Warning,
                _ => Category::Failure,
            };
            assert_eq!(Status(code).category(), expected, "{code:04X}");
        }
    }

    #[test]
    fn a_status_prints_its_number_and_meaning() {
        assert_eq!(
            alloc::format!("{}", Status(0x0122)),
            "0122H refused: SOP class not supported"
        );
        assert_eq!(alloc::format!("{}", Status(0xd000)), "D000H");
    }
}
