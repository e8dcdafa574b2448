#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| vb_identity::fuzz::session_token(bytes));
