//! Parts: what is read, checked and cached of a segment at a time.

use super::section::SectionKind;
use crate::decode::Corrupt;
use crate::schema::Schema;
use bytes::Bytes;
use std::ops::Range;

/// Names a part of one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PartId {
    /// A whole section: its kind, and the vector field it belongs to (0 for those of the whole segment).
    Section(SectionKind, u8),
    /// Some rows of a vector field: the field, and the number of the extent.
    VectorExtent(u8, u32),
    /// The metadata of some documents: the number of the block.
    MetadataBlock(u32),
}

/// Where a section lies in its object: a row of the table of sections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SectionPlace {
    /// What it holds.
    pub kind: SectionKind,
    /// The vector field it belongs to; 0 for sections of the whole segment.
    pub field: u8,
    /// Its bytes in the object.
    pub range: Range<u64>,
    /// CRC32C of these bytes.
    pub crc: u32,
}

/// A part, read and checked. Clones share it.
#[derive(Clone, Debug)]
pub struct Part {
    id: PartId,
}

impl Part {
    /// Reads a part of a segment of `docs` documents. Computes: checks every number, unpacks.
    pub fn open(_schema: &Schema, _docs: u32, id: PartId, _bytes: &Bytes) -> Result<Self, Corrupt> {
        Ok(Self { id })
    }

    /// Which part it is.
    pub fn id(&self) -> PartId {
        self.id
    }

    /// Bytes of memory that the part takes.
    pub fn weight(&self) -> usize {
        todo!()
    }
}
