//! Log slots: one group commit each, immutable once created.
//!
//! ```text
//!  0     "VBSL", version 1, flags (bit 0: closes the log), CRC32C                 (the frame)
//!  12    u32  count of batches
//!  16    u64  seq           the slot's own number
//!  24    u64  incarnation   the life of the log it belongs to
//!  32    u128 writer        random per process start
//!  48    count x { u64 batch number, u32 payload length }
//!  ..    payloads, one after the other
//! ```
//!
//! Batch numbers rise strictly within a slot. A slot holds at least one batch: the numbers are how
//! a writer recognises its own slot. A closing slot holds one empty batch.

use bytes::Bytes;

use crate::format::{FRAME_BYTES, FormatError, Frame, seal};

/// Longest slot object in bytes: one plain put, never multipart.
pub const SLOT_BYTES_MAX: usize = 32 << 20;

const FRAME: Frame =
    Frame { magic: *b"VBSL", version: 1, flags_known: CLOSES, bytes_max: SLOT_BYTES_MAX };
const CLOSES: u16 = 1;
const HEAD_BYTES: usize = FRAME_BYTES + 36;
const ENTRY_BYTES: usize = 12;

/// Payloads from this length on are handed to the store as they are; shorter ones are gathered,
/// since a chunk costs a system call.
const COPIED_BYTES_MAX: usize = 16 << 10;

/// Identity of one process start: random, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WriterId(pub u128);

impl WriterId {
    /// A fresh identity.
    ///
    /// # Panics
    ///
    /// If the operating system has no randomness to give.
    pub fn random() -> Self {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).expect("the operating system provides randomness");
        Self(u128::from_le_bytes(bytes))
    }
}

/// One group commit.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Slot {
    /// Its number in the log; the first is 1.
    pub seq: u64,
    /// Who wrote it.
    pub writer: WriterId,
    /// The life of the log it belongs to.
    pub incarnation: u64,
    /// Batch numbers, strictly rising, and their payloads; never empty.
    pub batches: Vec<(u64, Bytes)>,
    /// The log ends here: no later slot counts.
    pub closes: bool,
}

impl Slot {
    /// The object's bytes, in parts to be written one after the other; large payloads are shared,
    /// not copied.
    ///
    /// # Panics
    ///
    /// If a payload exceeds 4 GiB; callers keep slots below [`SLOT_BYTES_MAX`].
    pub fn encode(&self) -> Vec<Bytes> {
        let mut head = self.encode_head();
        seal(&mut head, self.batches.iter().map(|(_, payload)| payload));
        gather(head, self.batches.iter().map(|(_, payload)| payload))
    }

    fn encode_head(&self) -> Vec<u8> {
        let gathered: usize = self.batches.iter().map(|(_, p)| p.len().min(COPIED_BYTES_MAX)).sum();
        let capacity = HEAD_BYTES + ENTRY_BYTES * self.batches.len() + gathered;
        let count = u32::try_from(self.batches.len()).expect("a slot holds at most 32 MB");
        let mut out = FRAME.begin(if self.closes { CLOSES } else { 0 }, capacity);
        out.extend_from_slice(&count.to_le_bytes());
        out.extend_from_slice(&self.seq.to_le_bytes());
        out.extend_from_slice(&self.incarnation.to_le_bytes());
        out.extend_from_slice(&self.writer.0.to_le_bytes());
        for (number, payload) in &self.batches {
            let len = u32::try_from(payload.len()).expect("a slot holds at most 32 MB");
            out.extend_from_slice(&number.to_le_bytes());
            out.extend_from_slice(&len.to_le_bytes());
        }
        out
    }

    /// Reads a slot; payloads share `bytes`.
    ///
    /// # Errors
    ///
    /// Anything that [`Self::encode`] does not write.
    pub fn decode(bytes: Bytes) -> Result<Self, FormatError> {
        let (flags, mut fields) = FRAME.open(bytes)?;
        let count = fields.u32()? as usize;
        let seq = fields.u64()?;
        let incarnation = fields.u64()?;
        let writer = WriterId(fields.u128()?);
        if count == 0 || count > fields.remaining() / ENTRY_BYTES {
            return Err(FormatError::Field("count"));
        }
        let mut table = fields;
        let mut payloads = table.split_after(count * ENTRY_BYTES)?;
        let mut batches: Vec<(u64, Bytes)> = Vec::with_capacity(count);
        for _ in 0..count {
            let number = table.u64()?;
            let len = table.u32()? as usize;
            if batches.last().is_some_and(|(last, _)| *last >= number) {
                return Err(FormatError::Field("batch number"));
            }
            batches.push((number, payloads.take(len)?));
        }
        payloads.end()?;
        Ok(Self { seq, writer, incarnation, batches, closes: flags & CLOSES != 0 })
    }
}

/// Appends short payloads to the chunk before them and leaves long ones alone.
fn gather<'a>(head: Vec<u8>, payloads: impl Iterator<Item = &'a Bytes>) -> Vec<Bytes> {
    let mut parts = Vec::new();
    let mut chunk = head;
    for payload in payloads {
        if payload.len() <= COPIED_BYTES_MAX {
            chunk.extend_from_slice(payload);
            continue;
        }
        if !chunk.is_empty() {
            parts.push(Bytes::from(std::mem::take(&mut chunk)));
        }
        parts.push(payload.clone());
    }
    if !chunk.is_empty() {
        parts.push(Bytes::from(chunk));
    }
    parts
}

/// Encoded length in bytes of a slot that holds these batches.
pub fn slot_bytes(group: &[Bytes]) -> usize {
    group.iter().fold(HEAD_BYTES, |sum, payload| sum + ENTRY_BYTES + payload.len())
}

/// Splits batches, in order, into the fewest groups that each fit one slot.
///
/// A batch that fits no slot at all becomes a group of its own, which a commit then refuses.
pub fn groups(batches: Vec<Bytes>) -> Vec<Vec<Bytes>> {
    let mut groups: Vec<Vec<Bytes>> = Vec::new();
    let mut bytes = SLOT_BYTES_MAX;
    for batch in batches {
        let added = ENTRY_BYTES + batch.len();
        match groups.last_mut() {
            Some(group) if bytes + added <= SLOT_BYTES_MAX => {
                bytes += added;
                group.push(batch);
            }
            _ => {
                bytes = HEAD_BYTES + added;
                groups.push(vec![batch]);
            }
        }
    }
    groups
}
