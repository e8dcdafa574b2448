#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| vb_engine::fuzz::cache_file(bytes));
