//! The structure of data sets (PS3.5 section 7): the encoding of a transfer syntax, and whether bytes are a complete
//! data set. Values are opaque, but for the few that the caller of [`Scanner`] names.
//!
//! | file | carries |
//! |---|---|
//! | `scan` | [`Scanner`]: is a data set complete; runs one or more walks |
//! | `walk` | one reading of the bytes: open sequences and items, and what each element means |
//! | `wanted` | values that a walk keeps |
//! | `fault`, `oddity` | what is refused, and what is accepted although the standard forbids it |
//! | `meter` | [`Meter`]: what decoding would cost, before it is done |
//! | `flat` | a data set in memory as a list of elements, and headers to be written |
//! | `header`, `tag`, `encoding` | element headers, tags, transfer syntaxes |

mod encoding;
mod fault;
mod flat;
mod header;
mod meter;
mod oddity;
mod scan;
mod tag;
mod walk;
mod wanted;

pub use encoding::{Encoding, is_deflated, is_encapsulated};
pub use fault::{DEPTH_LIMIT, ScanError, ScanErrorKind};
pub use flat::{Located, elements, put_short_header};
pub use meter::{Bounds, Cost, Dictionary, Meter, MeterError};
pub use oddity::{Oddity, OddityKind};
pub use scan::Scanner;
pub use tag::Tag;
pub use wanted::{CAPTURE_LIMIT, COLLECT_LIMIT, Element};
