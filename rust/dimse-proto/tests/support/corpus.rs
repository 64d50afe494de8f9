//! The inputs of the fuzz targets: `fuzz/corpus/<target>.tar`, which `tests/support/corpus.py` packs.

use std::fs::File;
use std::io::Read;
use std::panic::{catch_unwind, resume_unwind};
use std::path::Path;

/// Replays a corpus: what was found once stays fixed, and what was covered stays covered.
///
/// `least` is how many inputs the archive holds at least: a corpus does not shrink unseen.
pub(crate) fn replay(target: &str, least: usize, run: fn(&[u8])) {
    let inputs = inputs(target);
    let count = inputs.len();
    assert!(count >= least, "{count} of {least} inputs for {target}");
    for (name, input) in inputs {
        if let Err(fault) = catch_unwind(|| run(&input)) {
            eprintln!("{target} is broken by {name}");
            resume_unwind(fault);
        }
    }
}

/// Name and bytes of each input, in the order of the archive.
pub(crate) fn inputs(target: &str) -> Vec<(String, Vec<u8>)> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    let archive = File::open(corpus.join(target).with_extension("tar")).unwrap();
    let mut inputs = vec![];
    for entry in tar::Archive::new(archive).entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().display().to_string();
        let mut input = vec![];
        entry.read_to_end(&mut input).unwrap();
        assert!(input.len() < 0x1_0000, "{name} is too long");
        inputs.push((name, input));
    }
    inputs
}
