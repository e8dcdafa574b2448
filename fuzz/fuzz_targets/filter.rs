#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| vb_api::oss::fuzz::filter(bytes));
