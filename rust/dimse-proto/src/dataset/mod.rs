//! Data sets as structure only (PS3.5 section 7): which encoding a transfer syntax means, and whether bytes are
//! a whole data set. Values are opaque, apart from the few a caller asks [`Scanner`] for.

mod encoding;
mod fault;
mod header;
mod meter;
mod oddity;
mod scan;
mod tag;
mod walk;
mod wanted;

pub use encoding::{Encoding, is_deflated, is_encapsulated};
pub use fault::{DEPTH_LIMIT, ScanError, ScanErrorKind};
pub use meter::{Bounds, Cost, Dictionary, Meter, MeterError};
pub use oddity::{Oddity, OddityKind};
pub use scan::Scanner;
pub use tag::Tag;
pub use wanted::{CAPTURE_LIMIT, COLLECT_LIMIT};
