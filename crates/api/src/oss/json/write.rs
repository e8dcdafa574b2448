//! JSON out: strings and numbers straight into bytes.

use crate::oss::Error;

/// Writes a JSON string with its quotes.
pub(crate) fn write_string(out: &mut Vec<u8>, text: &str) {
    // Writing into a Vec cannot fail, and every str is a JSON string.
    serde_json::to_writer(out, text).expect("a str serialises into memory");
}

/// Writes the shortest digits that read back to the same `f32`.
///
/// JSON has no infinity: a distance that overflowed is written as the largest float.
pub(crate) fn write_float(out: &mut Vec<u8>, number: f32) {
    let finite = if number.is_finite() { number } else { f32::MAX };
    serde_json::to_writer(out, &finite).expect("an f32 serialises into memory");
}

/// The length of a string in compact JSON, quotes included.
pub(crate) fn string_len(text: &str) -> usize {
    2 + text.chars().map(char_len).sum::<usize>()
}

/// The length of a character in compact JSON.
pub(crate) fn char_len(c: char) -> usize {
    match c {
        '"' | '\\' | '\u{8}' | '\u{c}' | '\n' | '\r' | '\t' => 2,
        '\0'..'\u{20}' => 6,
        _ => c.len_utf8(),
    }
}

/// A JSON object being written; members in call order, closed by [`Object::end`].
pub(crate) struct Object<'o> {
    out: &'o mut Vec<u8>,
    separator: u8,
}

impl<'o> Object<'o> {
    /// Opens an object.
    pub(crate) fn begin(out: &'o mut Vec<u8>) -> Self {
        Self { out, separator: b'{' }
    }

    /// Writes the name of a member; the value follows through the returned buffer.
    pub(crate) fn name(&mut self, name: &str) -> &mut Vec<u8> {
        self.out.push(self.separator);
        self.separator = b',';
        write_string(self.out, name);
        self.out.push(b':');
        self.out
    }

    pub(crate) fn string(&mut self, name: &str, value: &str) -> &mut Self {
        write_string(self.name(name), value);
        self
    }

    pub(crate) fn integer(&mut self, name: &str, value: usize) -> &mut Self {
        let out = self.name(name);
        out.extend_from_slice(value.to_string().as_bytes());
        self
    }

    pub(crate) fn boolean(&mut self, name: &str, value: bool) -> &mut Self {
        let text: &[u8] = if value { b"true" } else { b"false" };
        self.name(name).extend_from_slice(text);
        self
    }

    /// A string member that is left out when there is none.
    pub(crate) fn optional(&mut self, name: &str, value: Option<&str>) -> &mut Self {
        if let Some(value) = value {
            self.string(name, value);
        }
        self
    }

    /// A nested object.
    pub(crate) fn object(&mut self, name: &str, fill: impl FnOnce(&mut Object<'_>)) -> &mut Self {
        let mut inner = Object::begin(self.name(name));
        fill(&mut inner);
        inner.end();
        self
    }

    /// An array whose items are written one by one.
    pub(crate) fn array<T>(
        &mut self,
        name: &str,
        items: impl IntoIterator<Item = T>,
        mut write: impl FnMut(&mut Vec<u8>, T),
    ) -> &mut Self {
        let out = self.name(name);
        out.push(b'[');
        for (place, item) in items.into_iter().enumerate() {
            if place > 0 {
                out.push(b',');
            }
            write(out, item);
        }
        out.push(b']');
        self
    }

    /// Closes the object.
    pub(crate) fn end(self) {
        if self.separator == b'{' {
            self.out.push(b'{');
        }
        self.out.push(b'}');
    }
}

// Errors carry owned text; keep them cheap to move through the decoders.
const _: () = assert!(size_of::<Error>() <= 64);
