//! Little-endian reading and writing of the engine's own byte formats.
//!
//! A [`Reader`] never panics and never allocates more than the bytes it was given: every length is
//! checked against what is left before it is used.

use bytes::Bytes;

/// Bytes that are not what an encoder of ours writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DecodeError {
    /// Where, counted from the start of the decoded bytes.
    pub(crate) offset: usize,
    /// What was expected there.
    pub(crate) reason: &'static str,
}

/// A cursor over shared bytes; slices it hands out share their memory.
#[derive(Clone, Debug)]
pub(crate) struct Reader {
    bytes: Bytes,
    at: usize,
}

impl Reader {
    pub(crate) fn new(bytes: Bytes) -> Self {
        Self { bytes, at: 0 }
    }

    /// An error at the current place.
    pub(crate) fn error(&self, reason: &'static str) -> DecodeError {
        DecodeError { offset: self.at, reason }
    }

    pub(crate) fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// The next `length` bytes.
    pub(crate) fn take(&mut self, length: usize) -> Result<Bytes, DecodeError> {
        if length > self.left() {
            return Err(self.error("shorter than its lengths say"));
        }
        let taken = self.bytes.slice(self.at..self.at + length);
        self.at += length;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let rest = &self.bytes[self.at..];
        let array = *rest.first_chunk::<N>().ok_or(self.error("shorter than its fields"))?;
        self.at += N;
        Ok(array)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(self.array::<1>()?[0])
    }

    pub(crate) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_le_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn u128(&mut self) -> Result<u128, DecodeError> {
        self.array().map(u128::from_le_bytes)
    }

    /// A `u32` that fits a `usize` on every supported machine.
    pub(crate) fn length(&mut self) -> Result<usize, DecodeError> {
        Ok(self.u32()? as usize)
    }

    /// A `u32` count of things that take at least `size_min` bytes each.
    pub(crate) fn count(&mut self, size_min: usize) -> Result<usize, DecodeError> {
        let count = self.length()?;
        match count.checked_mul(size_min.max(1)) {
            Some(bytes) if bytes <= self.left() => Ok(count),
            _ => Err(self.error("more entries than bytes")),
        }
    }

    /// A `u32` length and that many bytes.
    pub(crate) fn block(&mut self) -> Result<Bytes, DecodeError> {
        let length = self.length()?;
        self.take(length)
    }

    /// A block of UTF-8.
    pub(crate) fn string(&mut self) -> Result<String, DecodeError> {
        let start = self.at;
        String::from_utf8(self.block()?.to_vec())
            .map_err(|_| DecodeError { offset: start, reason: "not UTF-8" })
    }

    /// A presence byte, then the value if it is 1.
    pub(crate) fn option<T>(
        &mut self,
        value: impl FnOnce(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Option<T>, DecodeError> {
        match self.u8()? {
            0 => Ok(None),
            1 => value(self).map(Some),
            _ => Err(self.error("presence is 0 or 1")),
        }
    }

    /// A `u32` count, then that many values of at least `size_min` bytes each.
    pub(crate) fn list<T>(
        &mut self,
        size_min: usize,
        mut value: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let count = self.count(size_min)?;
        (0..count).map(|_| value(self)).collect()
    }

    /// Fails unless everything was read.
    pub(crate) fn finish(&self) -> Result<(), DecodeError> {
        if self.left() == 0 { Ok(()) } else { Err(self.error("bytes after the end")) }
    }
}

/// Writes what [`Reader`] reads.
pub(crate) trait Write {
    fn put_u8(&mut self, value: u8);
    fn put_u16(&mut self, value: u16);
    fn put_u32(&mut self, value: u32);
    fn put_u64(&mut self, value: u64);
    fn put_u128(&mut self, value: u128);
    fn put_block(&mut self, bytes: &[u8]);
    fn put_option<T>(&mut self, value: Option<T>, put: impl FnOnce(&mut Self, T));
    fn put_list<T>(&mut self, values: &[T], put: impl FnMut(&mut Self, &T));
}

impl Write for Vec<u8> {
    fn put_u8(&mut self, value: u8) {
        self.push(value);
    }

    fn put_u16(&mut self, value: u16) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    fn put_u32(&mut self, value: u32) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    fn put_u64(&mut self, value: u64) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    fn put_u128(&mut self, value: u128) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    fn put_block(&mut self, bytes: &[u8]) {
        self.put_u32(length_u32(bytes.len()));
        self.extend_from_slice(bytes);
    }

    fn put_option<T>(&mut self, value: Option<T>, put: impl FnOnce(&mut Self, T)) {
        self.push(u8::from(value.is_some()));
        if let Some(value) = value {
            put(self, value);
        }
    }

    fn put_list<T>(&mut self, values: &[T], mut put: impl FnMut(&mut Self, &T)) {
        self.put_u32(length_u32(values.len()));
        for value in values {
            put(self, value);
        }
    }
}

/// A length as the formats hold it. What the engine encodes is bounded by the size of a log slot or
/// of a segment, both far below 4 GiB per item.
pub(crate) fn length_u32(length: usize) -> u32 {
    u32::try_from(length).expect("one encoded item is below 4 GiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_beyond_the_end_are_errors() {
        let mut reader = Reader::new(Bytes::from_static(&[5, 0, 0, 0, 1]));
        assert_eq!(reader.block().unwrap_err().offset, 4);
        let mut reader = Reader::new(Bytes::from_static(&[255, 255, 255, 255]));
        assert!(reader.list(1, Reader::u8).is_err());
    }

    #[test]
    fn what_is_written_is_read() {
        let mut bytes = Vec::new();
        bytes.put_u16(7);
        bytes.put_option(Some(3u64), |w, v| w.put_u64(v));
        bytes.put_option(None::<u64>, |w, v| w.put_u64(v));
        bytes.put_list(&[1u128, 2], |w, v| w.put_u128(*v));
        bytes.put_block(b"text");
        let mut reader = Reader::new(bytes.into());
        assert_eq!(reader.u16(), Ok(7));
        assert_eq!(reader.option(Reader::u64), Ok(Some(3)));
        assert_eq!(reader.option(Reader::u64), Ok(None));
        assert_eq!(reader.list(16, Reader::u128), Ok(vec![1, 2]));
        assert_eq!(reader.string(), Ok("text".to_owned()));
        assert_eq!(reader.finish(), Ok(()));
    }
}
