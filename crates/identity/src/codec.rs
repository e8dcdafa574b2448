//! Little-endian reading and writing of this crate's own byte formats.
//!
//! *Block* is a u32 length and that many bytes, *string* a block of UTF-8, *list* a u32 count and
//! the items, *option* a byte 0, or a byte 1 and the value. A [`Reader`] never panics and never
//! allocates more than the bytes it was given: every length is checked against what is left.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

/// Bytes that are not what an encoder of ours writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DecodeError {
    /// Where, counted from the start of the decoded bytes.
    pub(crate) offset: usize,
    /// What was expected there.
    pub(crate) reason: &'static str,
}

/// A cursor over bytes.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// An error at the current place.
    pub(crate) fn error(&self, reason: &'static str) -> DecodeError {
        DecodeError { offset: self.at, reason }
    }

    fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        if length > self.left() {
            return Err(self.error("shorter than its lengths say"));
        }
        let taken = &self.bytes[self.at..self.at + length];
        self.at += length;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let array = *self.bytes[self.at..]
            .first_chunk::<N>()
            .ok_or(self.error("shorter than its fields"))?;
        self.at += N;
        Ok(array)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(self.array::<1>()?[0])
    }

    pub(crate) fn length(&mut self) -> Result<usize, DecodeError> {
        Ok(u32::from_le_bytes(self.array()?) as usize)
    }

    pub(crate) fn block(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = self.length()?;
        self.take(length)
    }

    pub(crate) fn string(&mut self) -> Result<&'a str, DecodeError> {
        let start = self.at;
        std::str::from_utf8(self.block()?)
            .map_err(|_| DecodeError { offset: start, reason: "not UTF-8" })
    }

    /// Fails unless everything was read.
    pub(crate) fn finish(&self) -> Result<(), DecodeError> {
        if self.left() == 0 { Ok(()) } else { Err(self.error("bytes after the end")) }
    }
}

/// Writes what [`Reader`] reads.
pub(crate) trait Write {
    fn put_length(&mut self, length: usize);
    fn put_block(&mut self, bytes: &[u8]);
    fn put_str(&mut self, text: &str);
}

impl Write for Vec<u8> {
    fn put_length(&mut self, length: usize) {
        length_u32(length).write(self);
    }

    fn put_block(&mut self, bytes: &[u8]) {
        self.put_length(bytes.len());
        self.extend_from_slice(bytes);
    }

    fn put_str(&mut self, text: &str) {
        self.put_block(text.as_bytes());
    }
}

fn length_u32(length: usize) -> u32 {
    u32::try_from(length).expect("one encoded item is below 4 GiB")
}

/// A value with a byte format: what [`Self::write`] writes, [`Self::read`] reads.
pub(crate) trait Format: Sized {
    fn write(&self, out: &mut Vec<u8>);
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError>;

    fn encode(&self) -> Bytes {
        let mut out = Vec::new();
        self.write(&mut out);
        out.into()
    }

    fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let value = Self::read(&mut reader)?;
        reader.finish()?;
        Ok(value)
    }
}

/// The format of a struct: its fields in this order.
macro_rules! format_of_fields {
    ($type:ident { $($field:ident),* $(,)? }) => {
        impl $crate::codec::Format for $type {
            fn write(&self, out: &mut Vec<u8>) {
                $($crate::codec::Format::write(&self.$field, out);)*
            }

            fn read(
                reader: &mut $crate::codec::Reader<'_>,
            ) -> Result<Self, $crate::codec::DecodeError> {
                Ok(Self { $($field: $crate::codec::Format::read(reader)?),* })
            }
        }
    };
}
pub(crate) use format_of_fields;

/// The format of a type that is a string by a rule of its own.
macro_rules! format_of_text {
    ($type:ident, $reason:literal) => {
        impl $crate::codec::Format for $type {
            fn write(&self, out: &mut Vec<u8>) {
                $crate::codec::Write::put_str(out, self.as_str());
            }

            fn read(
                reader: &mut $crate::codec::Reader<'_>,
            ) -> Result<Self, $crate::codec::DecodeError> {
                let before = reader.clone();
                Self::parse(reader.string()?).ok_or_else(|| before.error($reason))
            }
        }
    };
}
pub(crate) use format_of_text;

impl Format for bool {
    fn write(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match reader.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(reader.error("a flag is 0 or 1")),
        }
    }
}

impl Format for u32 {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_le_bytes());
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.array().map(Self::from_le_bytes)
    }
}

impl Format for u64 {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_le_bytes());
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.array().map(Self::from_le_bytes)
    }
}

impl Format for Box<str> {
    fn write(&self, out: &mut Vec<u8>) {
        out.put_str(self);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.string().map(Self::from)
    }
}

impl Format for Arc<str> {
    fn write(&self, out: &mut Vec<u8>) {
        out.put_str(self);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.string().map(Self::from)
    }
}

impl<T: Format> Format for Arc<T> {
    fn write(&self, out: &mut Vec<u8>) {
        T::write(self, out);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        T::read(reader).map(Self::new)
    }
}

impl<T: Format> Format for Option<T> {
    fn write(&self, out: &mut Vec<u8>) {
        self.is_some().write(out);
        if let Some(value) = self {
            value.write(out);
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        if bool::read(reader)? { T::read(reader).map(Some) } else { Ok(None) }
    }
}

/// Every item takes at least one byte.
impl<T: Format> Format for Vec<T> {
    fn write(&self, out: &mut Vec<u8>) {
        out.put_length(self.len());
        self.iter().for_each(|item| item.write(out));
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let count = reader.length()?;
        if count > reader.left() {
            return Err(reader.error("more entries than bytes"));
        }
        // Not reserved: an item in memory may be far larger than the byte it is checked against.
        let mut items = Self::new();
        for _ in 0..count {
            items.push(T::read(reader)?);
        }
        Ok(items)
    }
}

impl<K: Format, V: Format> Format for (K, V) {
    fn write(&self, out: &mut Vec<u8>) {
        self.0.write(out);
        self.1.write(out);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok((K::read(reader)?, V::read(reader)?))
    }
}

/// As a list of pairs, keys rising: a map has one encoding.
impl<K: Format + Ord, V: Format> Format for BTreeMap<K, V> {
    fn write(&self, out: &mut Vec<u8>) {
        out.put_length(self.len());
        for (key, value) in self {
            key.write(out);
            value.write(out);
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let pairs = Vec::<(K, V)>::read(reader)?;
        match pairs.is_sorted_by(|(a, _), (b, _)| a < b) {
            true => Ok(pairs.into_iter().collect()),
            false => Err(reader.error("keys do not rise")),
        }
    }
}

/// As a list, rising.
impl<T: Format + Ord> Format for BTreeSet<T> {
    fn write(&self, out: &mut Vec<u8>) {
        out.put_length(self.len());
        self.iter().for_each(|item| item.write(out));
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let items = Vec::<T>::read(reader)?;
        match items.is_sorted_by(|a, b| a < b) {
            true => Ok(items.into_iter().collect()),
            false => Err(reader.error("items do not rise")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_beyond_the_end_are_errors() {
        assert_eq!(Reader::new(&[5, 0, 0, 0, 1]).block().unwrap_err().offset, 4);
        assert!(Vec::<bool>::decode(&[255; 4]).is_err());
        assert!(bool::decode(&[2]).is_err());
        assert!(Box::<str>::decode(&[1, 0, 0, 0, 255]).is_err());
        assert!(bool::decode(&[0, 0]).is_err());
    }

    #[test]
    fn what_is_written_is_read() {
        type All = (Option<u64>, (Vec<u32>, (Arc<str>, BTreeMap<Box<str>, Arc<bool>>)));
        let map = [("a".into(), Arc::new(true)), ("b".into(), Arc::new(false))].into();
        let value: All = (Some(3), (vec![1, 2], ("text".into(), map)));
        assert_eq!(All::decode(&value.encode()), Ok(value));
    }

    #[test]
    fn maps_and_sets_have_one_encoding() {
        assert!(BTreeSet::<bool>::decode(&[2, 0, 0, 0, 1, 0]).is_err());
        assert!(BTreeMap::<bool, bool>::decode(&[2, 0, 0, 0, 1, 0, 1, 0]).is_err());
    }
}
