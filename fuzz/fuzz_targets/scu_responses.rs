#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dimse_fuzz::net::scu_responses(data));
