#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| vb_search::fuzz::key_filter(bytes));
