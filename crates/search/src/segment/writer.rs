//! Writing the sections of a segment piece by piece, in memory bounded by directories and keys.

use super::Segment;
use super::section::SectionKind;
use crate::DocId;
use bytes::Bytes;

/// A section too large for memory, written: its bytes have gone out in chunks.
#[derive(Debug)]
pub struct StreamedSection {
    /// What it holds.
    pub kind: SectionKind,
    /// Bytes in all.
    pub length: u64,
    /// CRC32C of all of them.
    pub crc: u32,
    /// The section that says where its pieces lie, which must be stored as well: kind and bytes.
    pub directory: (SectionKind, Vec<u8>),
}

/// Writes the vectors of one field, extent by extent.
#[derive(Debug)]
pub struct VectorsWriter {}

impl VectorsWriter {
    /// For `rows` vectors in a segment of `docs` documents.
    pub fn new(_docs: u32, _rows: u32, _dimension: u32) -> Self {
        todo!()
    }

    /// Adds whole rows, one after another.
    pub fn push(&mut self, _rows: &[f32]) {
        todo!()
    }

    /// The bytes of the section that are finished and were not taken yet.
    pub fn take(&mut self) -> Vec<Bytes> {
        todo!()
    }

    /// Closes the section: its last bytes, and what is known of all of them.
    pub fn finish(self) -> (Vec<Bytes>, StreamedSection) {
        todo!()
    }
}

/// Writes metadata, block by block.
#[derive(Debug)]
pub struct MetadataWriter {}

impl MetadataWriter {
    /// For a segment of `docs` documents.
    pub fn new(_docs: u32) -> Self {
        todo!()
    }

    /// Adds the next document.
    pub fn push(&mut self, _metadata: Option<&[u8]>) {
        todo!()
    }

    /// The bytes of the section that are finished and were not taken yet.
    pub fn take(&mut self) -> Vec<Bytes> {
        todo!()
    }

    /// Closes the section: its last bytes, and what is known of all of them.
    pub fn finish(self) -> (Vec<Bytes>, StreamedSection) {
        todo!()
    }
}

/// Collects the keys of a segment: the sections KEYS, KEY_INDEX and KEY_FILTER.
#[derive(Debug, Default)]
pub struct KeysBuilder {}

impl KeysBuilder {
    /// Adds the key of the next document, strictly ascending by `(hash, key)`.
    pub fn push(&mut self, _hash: u64, _key: &[u8]) -> DocId {
        todo!()
    }

    /// The three sections.
    pub fn finish(self) -> Vec<(SectionKind, u8, Vec<u8>)> {
        todo!()
    }
}

/// Collects the documents that have one vector field: its LISTS section, of one list.
#[derive(Debug, Default)]
pub struct ListBuilder {}

impl ListBuilder {
    /// Adds the document of the next row; documents ascend.
    pub fn push(&mut self, _doc: DocId) {
        todo!()
    }

    /// How many rows were added.
    pub fn rows(&self) -> u32 {
        todo!()
    }

    /// The section, for a segment of `docs` documents.
    pub fn finish(self, _docs: u32) -> Vec<u8> {
        todo!()
    }
}

/// Collects the norms of the rows of one cosine field: its NORMS section.
#[derive(Debug, Default)]
pub struct NormsBuilder {}

impl NormsBuilder {
    /// Adds the norm of the next row, from [`Segment::norm`] or [`crate::row_norm`].
    pub fn push(&mut self, _norm: f32) {
        todo!()
    }

    /// The section, for a segment of `docs` documents.
    pub fn finish(self, _docs: u32) -> Vec<u8> {
        todo!()
    }
}

/// A segment to merge, and where its documents go.
#[derive(Clone, Copy, Debug)]
pub struct MergeInput<'a> {
    /// Its attributes must have been added.
    pub segment: &'a Segment,
    /// By old document: the new one, or [`MergeInput::DROPPED`]. Kept documents ascend.
    pub docs: &'a [DocId],
}

impl MergeInput<'_> {
    /// Stands for a document that the merge leaves behind.
    pub const DROPPED: DocId = DocId::MAX;
}

/// The ATTRIBUTES section of the merged segment of `docs` documents, one column after another.
pub fn merge_attributes(_inputs: &[MergeInput<'_>], _docs: u32) -> Vec<u8> {
    todo!()
}
