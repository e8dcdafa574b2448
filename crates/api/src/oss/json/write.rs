//! JSON out: strings and numbers straight into bytes.

/// Writes a JSON string with its quotes.
pub(crate) fn write_string(out: &mut Vec<u8>, text: &str) {
    // Writing into a Vec cannot fail, and every str is a JSON string.
    serde_json::to_writer(out, text).expect("a str serialises into memory");
}

/// Writes the shortest digits that read back to the same `f32`. The number must be finite.
pub(crate) fn write_float(out: &mut Vec<u8>, number: f32) {
    debug_assert!(number.is_finite());
    serde_json::to_writer(out, &number).expect("an f32 serialises into memory");
}
