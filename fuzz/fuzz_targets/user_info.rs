#![no_main]

use dimse_fuzz::lies::{Shape, mutate};
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

fuzz_target!(|data: &[u8]| dimse_fuzz::proto::user_info(data));

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutate(data, size, max_size, seed, Shape::UserItems, fuzzer_mutate)
});
