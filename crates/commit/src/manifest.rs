//! Manifests: numbered versions of what the log was folded into.
//!
//! ```text
//!  0     "VBMF", version 1, flags (bit 0: closed), CRC32C                         (the frame)
//!  12    u32  count of writers
//!  16    u64  number         the manifest's own number
//!  24    u64  incarnation    the life of the log
//!  32    u128 writer         who wrote it
//!  48    u64  stamp          tells two manifests of one writer apart
//!  56    u64  floor          slots below it are folded
//!  64    u64  batches        folded since the log began
//!  72    u64  folded_since   writers seen only in slots below it were forgotten
//!  80    u64  body length
//!  88    count x { u128 writer, u64 highest batch folded, u64 highest slot folded }
//!  ..    body
//! ```
//!
//! Writers rise strictly. The body is opaque to the log; a closed manifest has none.

use bytes::Bytes;

use crate::format::{FRAME_BYTES, FormatError, Frame, seal};
use crate::names::NUMBER_MAX;
use crate::slot::WriterId;

/// Longest manifest object in bytes.
pub const MANIFEST_BYTES_MAX: usize = 256 << 20;

/// How many writers a manifest remembers.
pub const FOLDED_WRITERS_MAX: usize = 64;

const FRAME: Frame =
    Frame { magic: *b"VBMF", version: 1, flags_known: CLOSED, bytes_max: MANIFEST_BYTES_MAX };
const CLOSED: u16 = 1;
const HEAD_BYTES: usize = FRAME_BYTES + 76;
const ENTRY_BYTES: usize = 32;

/// One version of what the log was folded into.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Manifest {
    /// Its number; the first is 0.
    pub number: u64,
    /// Who wrote it.
    pub writer: WriterId,
    /// With `writer`, tells it apart from every other manifest.
    pub stamp: u64,
    /// The life of the log: a log created again at the place of a dropped one has another.
    pub incarnation: u64,
    /// Slots below are folded into the body; the log goes on at the floor.
    pub floor: u64,
    /// The log has ended: nothing is ever acknowledged on it any more.
    pub closed: bool,
    /// Batches folded since the log began (all lives).
    pub batches: u64,
    /// What was folded of each writer, sorted by writer.
    pub folded: Vec<FoldedWriter>,
    /// Writers seen only in slots below this number may be missing from `folded`.
    pub folded_since: u64,
    /// The caller's.
    pub body: Bytes,
}

/// What was folded of one writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FoldedWriter {
    /// Who.
    pub writer: WriterId,
    /// Its highest batch number in any folded slot.
    pub batch: u64,
    /// The highest folded slot it wrote.
    pub seq: u64,
}

impl Manifest {
    /// The object's bytes, in parts to be written one after the other; the body is shared.
    ///
    /// # Panics
    ///
    /// If more than 4 billion writers are listed; folding keeps [`FOLDED_WRITERS_MAX`].
    pub fn encode(&self) -> Vec<Bytes> {
        let count = u32::try_from(self.folded.len()).expect("folding bounds the writers");
        let capacity = HEAD_BYTES + ENTRY_BYTES * self.folded.len();
        let mut out = FRAME.begin(if self.closed { CLOSED } else { 0 }, capacity);
        out.extend_from_slice(&count.to_le_bytes());
        out.extend_from_slice(&self.number.to_le_bytes());
        out.extend_from_slice(&self.incarnation.to_le_bytes());
        out.extend_from_slice(&self.writer.0.to_le_bytes());
        let body_len = self.body.len() as u64;
        for field in [self.stamp, self.floor, self.batches, self.folded_since, body_len] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        for entry in &self.folded {
            out.extend_from_slice(&entry.writer.0.to_le_bytes());
            out.extend_from_slice(&entry.batch.to_le_bytes());
            out.extend_from_slice(&entry.seq.to_le_bytes());
        }
        seal(&mut out, std::iter::once(&self.body));
        vec![Bytes::from(out), self.body.clone()]
    }

    /// Reads a manifest; the body shares `bytes`.
    ///
    /// # Errors
    ///
    /// Anything that [`Self::encode`] does not write for a manifest made by a fold.
    pub fn decode(bytes: Bytes) -> Result<Self, FormatError> {
        let (flags, mut fields) = FRAME.open(bytes)?;
        let count = fields.u32()? as usize;
        let number = fields.u64()?;
        let incarnation = fields.u64()?;
        let writer = WriterId(fields.u128()?);
        let [stamp, floor] = [fields.u64()?, fields.u64()?];
        let [batches, folded_since, body_len] = [fields.u64()?, fields.u64()?, fields.u64()?];
        if count > fields.remaining() / ENTRY_BYTES {
            return Err(FormatError::Field("count"));
        }
        let mut folded: Vec<FoldedWriter> = Vec::with_capacity(count);
        for _ in 0..count {
            let writer = WriterId(fields.u128()?);
            let entry = FoldedWriter { writer, batch: fields.u64()?, seq: fields.u64()? };
            check_entry(folded.last(), &entry, folded_since..floor)?;
            folded.push(entry);
        }
        if body_len != fields.remaining() as u64 {
            return Err(FormatError::Field("body length"));
        }
        if number > NUMBER_MAX {
            return Err(FormatError::Field("number"));
        }
        if floor == 0 || floor > NUMBER_MAX || folded_since > floor {
            return Err(FormatError::Field("floor"));
        }
        let body = fields.take(fields.remaining())?;
        let closed = flags & CLOSED != 0;
        Ok(Self {
            number,
            writer,
            stamp,
            incarnation,
            floor,
            closed,
            batches,
            folded,
            folded_since,
            body,
        })
    }

    /// What was folded of `writer`, if the manifest remembers it.
    pub fn folded_of(&self, writer: WriterId) -> Option<&FoldedWriter> {
        let at = self.folded.binary_search_by_key(&writer, |entry| entry.writer).ok()?;
        self.folded.get(at)
    }
}

fn check_entry(
    last: Option<&FoldedWriter>,
    entry: &FoldedWriter,
    seqs: std::ops::Range<u64>,
) -> Result<(), FormatError> {
    if last.is_some_and(|last| last.writer >= entry.writer) {
        return Err(FormatError::Field("writer"));
    }
    match seqs.contains(&entry.seq) {
        true => Ok(()),
        false => Err(FormatError::Field("folded slot")),
    }
}
