//! Manifests.
use bytes::Bytes;
use crate::slot::WriterId;
/// One version of what the log was folded into.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Manifest {
    /// Its number.
    pub number: u64,
    /// Who wrote it.
    pub writer: WriterId,
    /// Tells two manifests of one writer apart.
    pub stamp: u64,
    /// The life of the log.
    pub incarnation: u64,
    /// Slots below are folded.
    pub floor: u64,
    /// The log has ended.
    pub closed: bool,
    /// Batches folded since the log began.
    pub batches: u64,
    /// Per writer the highest folded batch and the slot it was in, sorted by writer.
    pub folded: Vec<FoldedWriter>,
    /// All `folded` entries of slots below this were pruned.
    pub folded_since: u64,
    /// Opaque to the log.
    pub body: Bytes,
}
/// The newest folded batch of one writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FoldedWriter { 
    /// The writer.
    pub writer: WriterId, 
    /// Its highest folded batch.
    pub batch: u64, 
    /// The slot that batch was in.
    pub seq: u64 }
