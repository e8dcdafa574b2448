//! What slots and manifests share: the frame of an object and bounded little-endian reading.
//!
//! ```text
//!  0        4         6       8           12
//!  | magic  | version | flags | CRC32C    | fields ...
//!  | 4 B    | u16     | u16   | u32       |
//! ```
//!
//! The checksum is that of the fields, followed by the two bytes of the flags where any is set: a
//! flag ends a log, and one flipped bit must not. A wrong magic or version is noticed as such.
//!
//! All numbers are little-endian. Reading never panics and allocates no more than the length of
//! the bytes at hand allows.

use std::fmt;

use bytes::Bytes;

/// Bytes before the checksummed part.
pub(crate) const FRAME_BYTES: usize = 12;

/// Why bytes are not a slot or a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FormatError {
    /// The object is shorter than its fields.
    Truncated,
    /// The object is longer than its kind may be.
    TooLong,
    /// The first four bytes are those of another kind of object.
    Magic,
    /// A format version this program does not know.
    Version(u16),
    /// Flag bits this program does not know.
    Flags(u16),
    /// The checksum does not match.
    Checksum,
    /// A field contradicts another; its name is given.
    Field(&'static str),
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("truncated"),
            Self::TooLong => f.write_str("too long"),
            Self::Magic => f.write_str("wrong magic bytes"),
            Self::Version(version) => write!(f, "unknown format version {version}"),
            Self::Flags(flags) => write!(f, "unknown flags {flags:#06x}"),
            Self::Checksum => f.write_str("checksum mismatch"),
            Self::Field(name) => write!(f, "invalid field {name}"),
        }
    }
}

impl std::error::Error for FormatError {}

/// What the frame of one kind of object looks like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame {
    pub(crate) magic: [u8; 4],
    pub(crate) version: u16,
    pub(crate) flags_known: u16,
    pub(crate) bytes_max: usize,
}

impl Frame {
    /// Starts an object: the frame with an empty checksum.
    pub(crate) fn begin(&self, flags: u16, capacity: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(capacity);
        out.extend_from_slice(&self.magic);
        out.extend_from_slice(&self.version.to_le_bytes());
        out.extend_from_slice(&flags.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out
    }

    /// Checks frame and checksum; returns the flags and a reader of the fields.
    pub(crate) fn open(&self, bytes: Bytes) -> Result<(u16, Fields), FormatError> {
        if bytes.len() > self.bytes_max {
            return Err(FormatError::TooLong);
        }
        let mut fields = Fields { bytes };
        if fields.array()? != self.magic {
            return Err(FormatError::Magic);
        }
        let version = u16::from_le_bytes(fields.array()?);
        if version != self.version {
            return Err(FormatError::Version(version));
        }
        let flags = u16::from_le_bytes(fields.array()?);
        let checksum = fields.u32()?;
        if flags & !self.flags_known != 0 {
            return Err(FormatError::Flags(flags));
        }
        match with_flags(crc32c::crc32c(&fields.bytes), flags) == checksum {
            true => Ok((flags, fields)),
            false => Err(FormatError::Checksum),
        }
    }
}

fn with_flags(checksum: u32, flags: u16) -> u32 {
    match flags {
        0 => checksum,
        _ => crc32c::crc32c_append(checksum, &flags.to_le_bytes()),
    }
}

/// Writes the checksum of the fields, which are `head` from its byte 12, then `parts`, and of the flags.
pub(crate) fn seal<'a>(head: &mut [u8], parts: impl Iterator<Item = &'a Bytes>) {
    let checksum = parts
        .fold(crc32c::crc32c(&head[FRAME_BYTES..]), |sum, part| crc32c::crc32c_append(sum, part));
    let checksum = with_flags(checksum, u16::from_le_bytes([head[6], head[7]]));
    head[FRAME_BYTES - 4..FRAME_BYTES].copy_from_slice(&checksum.to_le_bytes());
}

/// The fields not yet read.
#[derive(Debug)]
pub(crate) struct Fields {
    bytes: Bytes,
}

impl Fields {
    pub(crate) fn take(&mut self, len: usize) -> Result<Bytes, FormatError> {
        if len > self.bytes.len() {
            return Err(FormatError::Truncated);
        }
        Ok(self.bytes.split_to(len))
    }

    /// Leaves the next `len` bytes here and returns what follows them.
    pub(crate) fn split_after(&mut self, len: usize) -> Result<Self, FormatError> {
        if len > self.bytes.len() {
            return Err(FormatError::Truncated);
        }
        Ok(Self { bytes: self.bytes.split_off(len) })
    }

    pub(crate) fn remaining(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn u32(&mut self) -> Result<u32, FormatError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, FormatError> {
        self.array().map(u64::from_le_bytes)
    }

    pub(crate) fn u128(&mut self) -> Result<u128, FormatError> {
        self.array().map(u128::from_le_bytes)
    }

    /// All bytes were used.
    pub(crate) fn end(&self) -> Result<(), FormatError> {
        match self.bytes.is_empty() {
            true => Ok(()),
            false => Err(FormatError::Field("length")),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        let field = self.take(N)?;
        let mut array = [0; N];
        array.copy_from_slice(&field);
        Ok(array)
    }
}
