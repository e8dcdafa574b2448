//! Request ids: 24 uppercase hex characters.

use std::fmt;

/// The id of one request, also sent as `x-oss-request-id`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RequestId([u8; 24]);

impl RequestId {
    /// An id from twelve random bytes.
    pub fn from_random(bytes: [u8; 12]) -> Self {
        const HEX: &[u8; 16] = b"0123456789ABCDEF";
        let mut text = [0; 24];
        for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
            pair[0] = HEX[usize::from(byte >> 4)];
            pair[1] = HEX[usize::from(byte & 15)];
        }
        Self(text)
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("hex digits are ASCII")
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_uppercase_hex() {
        let id = RequestId::from_random([
            0x69, 0x57, 0xe1, 0xa5, 0xc0, 0xff, 0xee, 1, 0x23, 0x45, 0x67, 0x89,
        ]);
        assert_eq!(id.as_str(), "6957E1A5C0FFEE0123456789");
    }
}
