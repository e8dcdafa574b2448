//! Sets of documents.

use crate::DocId;
use roaring::RoaringBitmap;

/// The portable bytes of ascending documents, in the smallest form.
pub(super) fn of_docs(docs: &[DocId]) -> Vec<u8> {
    let bitmap = RoaringBitmap::from_sorted_iter(docs.iter().copied());
    to_bytes(&bitmap.expect("documents ascend"))
}

/// The portable bytes of a bitmap, in the smallest form.
pub(super) fn to_bytes(bitmap: &RoaringBitmap) -> Vec<u8> {
    let mut bitmap = bitmap.clone();
    bitmap.optimize();
    let mut out = Vec::with_capacity(bitmap.serialized_size());
    bitmap.serialize_into(&mut out).expect("a vector takes every byte");
    out
}

/// Reads the whole of `bytes` as a bitmap of documents below `docs`.
pub(super) fn read(bytes: &[u8], docs: u32) -> Option<RoaringBitmap> {
    let mut rest = bytes;
    let bitmap = RoaringBitmap::deserialize_from(&mut rest).ok()?;
    let inside = bitmap.max().is_none_or(|last| last < docs);
    (rest.is_empty() && inside).then_some(bitmap)
}

/// Bytes of memory that a bitmap takes, about.
pub(super) fn weight(bitmap: &RoaringBitmap) -> usize {
    const CONTAINER: usize = 48;
    let containers = bitmap.statistics().n_containers as usize;
    size_of::<RoaringBitmap>() + containers * CONTAINER + bitmap.serialized_size()
}

/// A plain set of documents: many documents enter it faster than a bitmap in containers.
#[derive(Debug)]
pub(super) struct DocBits(Vec<u8>);

impl DocBits {
    /// Room for the documents below `docs`.
    pub(super) fn new(docs: u32) -> Self {
        Self(vec![0; (docs as usize).div_ceil(8)])
    }

    /// Adds a document.
    ///
    /// # Panics
    /// If there is no room for it.
    pub(super) fn set(&mut self, doc: DocId) {
        self.0[doc as usize / 8] |= 1 << (doc % 8);
    }

    /// How many were added.
    pub(super) fn count(&self) -> u64 {
        self.0.iter().map(|byte| u64::from(byte.count_ones())).sum()
    }
}

impl From<DocBits> for RoaringBitmap {
    fn from(bits: DocBits) -> Self {
        RoaringBitmap::from_lsb0_bytes(0, &bits.0)
    }
}
