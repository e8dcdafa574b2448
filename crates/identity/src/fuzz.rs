//! Bodies of fuzz targets: every decoder of this crate, on any bytes. None may panic, and whatever
//! decodes must encode to the same bytes.
#![doc(hidden)]

use crate::codec::Format;
use crate::command::Entry;
use crate::ring::KeyRing;
use crate::seal;
use crate::state::State;
use crate::token::Claims;

/// A command of the log; whatever it says, the machine takes or rejects it.
pub fn identity_command(bytes: &[u8]) {
    if let Ok(entry) = Entry::decode(bytes) {
        assert_eq!(entry.encode(), bytes, "a command has one encoding");
        let mut state = State::default();
        if state.apply(&entry).is_ok() {
            assert_eq!(State::decode(&state.encode()).as_ref(), Ok(&state));
        }
    }
}

/// A manifest body.
pub fn identity_manifest(bytes: &[u8]) {
    if let Ok(state) = State::decode(bytes) {
        assert_eq!(state.encode(), bytes, "a manifest has one encoding");
    }
}

/// The content of a session token, and a token and a sealed blob as they come from outside.
pub fn session_token(bytes: &[u8]) {
    if let Ok(claims) = Claims::decode_content(bytes) {
        assert_eq!(claims.encode(), bytes[1..], "a token's content has one encoding");
    }
    let ring = KeyRing::parse("fuzz:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
        .expect("a valid key ring");
    if let Ok(text) = std::str::from_utf8(bytes) {
        assert!(Claims::open(&ring, text).is_none(), "nobody can guess a token");
    }
    let opened = seal::open(ring.keys(), seal::Purpose::Secret, b"", bytes);
    assert!(opened.is_err(), "nobody can guess a sealed secret");
}

/// A key ring as text.
pub fn key_ring(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Ok(ring) = KeyRing::parse(text)
    {
        assert!(ring.ids().all(|id| !id.is_empty()) && ring.ids().len() <= 16);
    }
}
