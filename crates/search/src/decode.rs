//! Reading encoded bytes, trusting none of them.
//!
//! All numbers are little-endian. Lengths are checked against the bytes that are there before
//! anything is allocated for them, so hostile input costs at most its own size.

use std::fmt;

/// Bytes that no encoder of this crate wrote: damaged, truncated or hostile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corrupt {
    /// The encoded thing, for example a section.
    pub part: &'static str,
    /// What is wrong with it.
    pub what: &'static str,
}

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "corrupt {}: {}", self.part, self.what)
    }
}

impl std::error::Error for Corrupt {}

/// Bytes still to be read of one encoded `part`.
#[derive(Clone, Copy)]
pub(crate) struct Input<'a> {
    part: &'static str,
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    pub(crate) fn new(part: &'static str, bytes: &'a [u8]) -> Self {
        Self { part, rest: bytes }
    }

    pub(crate) fn corrupt(&self, what: &'static str) -> Corrupt {
        Corrupt { part: self.part, what }
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], Corrupt> {
        let (taken, rest) =
            self.rest.split_at_checked(count).ok_or(self.corrupt("ends too early"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Corrupt> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(self.corrupt("ends too early"))?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Corrupt> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Corrupt> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Corrupt> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(crate) fn i64(&mut self) -> Result<i64, Corrupt> {
        Ok(i64::from_le_bytes(self.array()?))
    }

    /// A float that is not NaN.
    pub(crate) fn f64(&mut self) -> Result<f64, Corrupt> {
        let value = f64::from_le_bytes(self.array()?);
        if value.is_nan() { Err(self.corrupt("NaN")) } else { Ok(value) }
    }

    /// A count or length: 7 bits per byte, least significant first, the top bit on all but the last.
    pub(crate) fn length(&mut self) -> Result<usize, Corrupt> {
        let mut length = 0u64;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.u8()?;
            length |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                let length = u32::try_from(length).map_err(|_| self.corrupt("length"))?;
                return Ok(length as usize);
            }
        }
        Err(self.corrupt("length"))
    }

    /// A number of up to 64 bits, 7 per byte as in [`Input::length`].
    pub(crate) fn varint(&mut self) -> Result<u64, Corrupt> {
        let mut value = 0u64;
        for shift in (0..u64::BITS).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7F);
            if bits << shift >> shift != bits {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.corrupt("number"))
    }

    /// What is left.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The length of a list whose items take at least one byte each.
    pub(crate) fn item_count(&mut self) -> Result<usize, Corrupt> {
        let count = self.length()?;
        if count > self.rest.len() { Err(self.corrupt("ends too early")) } else { Ok(count) }
    }

    /// A length and as many bytes of UTF-8.
    pub(crate) fn text(&mut self) -> Result<&'a str, Corrupt> {
        let length = self.length()?;
        let bytes = self.take(length)?;
        std::str::from_utf8(bytes).map_err(|_| self.corrupt("text is not UTF-8"))
    }

    /// Checks that everything was read.
    pub(crate) fn end(&self) -> Result<(), Corrupt> {
        if self.rest.is_empty() { Ok(()) } else { Err(self.corrupt("bytes left over")) }
    }
}

/// Writes what [`Input::varint`] reads.
pub(crate) fn write_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Writes what [`Input::length`] reads.
///
/// # Panics
/// If the length does not fit 32 bits.
pub(crate) fn write_length(length: usize, out: &mut Vec<u8>) {
    let mut rest = u32::try_from(length).expect("lengths fit 32 bits");
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Writes what [`Input::text`] reads.
pub(crate) fn write_text(text: &str, out: &mut Vec<u8>) {
    write_length(text.len(), out);
    out.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::{Input, write_length, write_varint};

    #[test]
    fn varints_round_trip() {
        for value in [0, 1, 127, 128, 1 << 35, u64::MAX >> 1, u64::MAX] {
            let mut bytes = Vec::new();
            write_varint(value, &mut bytes);
            let mut input = Input::new("number", &bytes);
            assert_eq!(input.varint(), Ok(value));
            assert_eq!(input.end(), Ok(()));
        }
        for bytes in [&[0x80; 3][..], &[0xFF; 10], &[0x80; 11]] {
            assert!(Input::new("number", bytes).varint().is_err());
        }
    }

    #[test]
    fn lengths_round_trip() {
        for length in [0, 1, 127, 128, 300, 16_383, 16_384, (1 << 28) - 1, 1 << 28, u32::MAX] {
            let mut bytes = Vec::new();
            write_length(length as usize, &mut bytes);
            let mut input = Input::new("length", &bytes);
            assert_eq!(input.length(), Ok(length as usize));
            assert_eq!(input.end(), Ok(()));
        }
    }

    #[test]
    fn overlong_lengths_are_corrupt() {
        for bytes in [&[0x80][..], &[0xFF; 5], &[0x80, 0x80, 0x80, 0x80, 0x10], &[0x80; 9]] {
            assert!(Input::new("length", bytes).length().is_err(), "{bytes:?}");
        }
    }
}
