#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| walproof_fuzz::record(data));
