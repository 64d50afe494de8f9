//! The bodies of the fuzz targets: any bytes in, a panic out if a law is broken.
//!
//! `docs/fuzzing.md` lists the targets and their laws. The tests of `dimse-proto` and `dimse-net` include these
//! modules and replay the corpora, so they stay free of the fuzzer.

pub mod lies;
pub mod net;
pub mod proto;
