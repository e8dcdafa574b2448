//! Parts: what is read, checked and kept of a segment at a time.
//!
//! A part is a whole section, an extent of vectors or a block of metadata. Each has a CRC32C of its own: those
//! of sections stand in the table of sections, those of extents and blocks in the segment's
//! directories. Opening a part checks everything that its own bytes tell; adding it to a
//! [`super::Segment`] checks it against the parts that are there already.

use super::clusters::{CodeBytes, RowCodes, open_tree};
use super::columns::{AttributesSection, Block, Heads};
use super::key_filter::KeyFilter;
use super::key_index::KeyIndex;
use super::keys::{KeyBlock, KeyDirectory, Keys};
use super::lists::Lists;
use super::metadata::{Metadata, MetadataBlock, MetadataIndex};
use super::section::{Floats, SectionKind, aligned};
use super::vectors::{Extents, open_norms, open_vectors};
use crate::ann::Index;
use crate::decode::Corrupt;
use crate::schema::Schema;
use bytes::Bytes;
use std::ops::Range;
use std::sync::Arc;

/// Names a part of one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PartId {
    /// A whole section: its kind, and the vector field it belongs to (0 for those of the whole segment).
    Section(SectionKind, u8),
    /// Some rows of a vector field: the field, and the number of the extent.
    VectorExtent(u8, u32),
    /// The metadata of some documents: the number of the block.
    MetadataBlock(u32),
    /// The keys of some documents: the number of the block.
    KeyBlock(u32),
    /// The documents of some values of a key: the number of the block.
    AttributeBlock(u32),
    /// The 1-bit codes of one cluster of a vector field: the field, and the number of the list.
    CodeList(u8, u32),
    /// The row codes of the vectors whose first cluster is one: the field, and the number of its list.
    RowCodeList(u8, u32),
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

impl SectionPlace {
    pub(super) fn id(&self) -> PartId {
        PartId::Section(self.kind, self.field)
    }
}

/// A part, read and checked. Clones share it; it holds on to no memory but its own.
#[derive(Clone, Debug)]
pub struct Part {
    id: PartId,
    pub(super) docs: u32,
    weight: usize,
    pub(super) content: Content,
}

/// What a part holds.
#[derive(Clone, Debug)]
pub(super) enum Content {
    Keys(Arc<Keys>),
    KeyDirectory(Arc<KeyDirectory>),
    KeyBlock(Arc<KeyBlock>),
    KeyFilter(Arc<KeyFilter>),
    KeyIndex(Arc<KeyIndex>),
    Metadata(Arc<Metadata>),
    MetadataIndex(Arc<MetadataIndex>),
    MetadataBlock(Arc<MetadataBlock>),
    Attributes(Arc<AttributesSection>),
    AttributeHeads(Arc<Heads>),
    AttributeBlock(Arc<Block>),
    Lists(Arc<Lists>),
    Extents(Arc<Extents>),
    Vectors(Floats),
    Norms(Floats),
    Tree(Arc<Index>),
    Codes(Arc<CodeBytes>),
    RowCodes(RowCodes),
}

/// What a part costs beside its bytes: itself, and the entry of whoever keeps it.
const OVERHEAD: usize = 256;

impl Part {
    /// Reads a part of a segment of `docs` documents and copies what it needs of `bytes`; values
    /// of vectors then start at a multiple of 64 in memory.
    ///
    /// Checks all that can be checked of the part alone, in time proportional to its bytes: not
    /// work for a thread that others wait for. What it takes of memory is a small multiple of its
    /// bytes, whatever they are (a metadata block: up to 255 times as much).
    pub fn open(schema: &Schema, docs: u32, id: PartId, bytes: &[u8]) -> Result<Self, Corrupt> {
        let (content, weight) = match id {
            PartId::Section(kind, field) => {
                let section = aligned(bytes);
                let content = Content::open(schema, docs, (kind, field), &section)?;
                let weight = section.len() + content.extra_weight();
                (content, weight)
            }
            PartId::VectorExtent(field, _) => {
                let row_bytes = 4 * dimension(schema, field)? as usize;
                if bytes.is_empty() || !bytes.len().is_multiple_of(row_bytes) {
                    return Err(Corrupt { part: "vector extent", what: "not a number of rows" });
                }
                (Content::Vectors(Floats::new(aligned(bytes))), bytes.len())
            }
            PartId::MetadataBlock(_) => {
                let block = MetadataBlock::open(bytes)?;
                let weight = block.weight();
                (Content::MetadataBlock(block.into()), weight)
            }
            PartId::KeyBlock(_) => {
                let block = KeyBlock::open(Bytes::copy_from_slice(bytes))?;
                (Content::KeyBlock(block.into()), bytes.len())
            }
            PartId::AttributeBlock(_) => {
                let block = Block::open(docs, &Bytes::copy_from_slice(bytes))?;
                let weight = bytes.len() + block.extra_weight();
                (Content::AttributeBlock(block.into()), weight)
            }
            PartId::CodeList(..) => {
                let list = CodeBytes::new(aligned(bytes));
                (Content::Codes(list.into()), bytes.len())
            }
            PartId::RowCodeList(..) => {
                (Content::RowCodes(RowCodes::of_list(aligned(bytes))), bytes.len())
            }
        };
        Ok(Self { id, docs, weight: weight + OVERHEAD, content })
    }

    /// A whole section, in place.
    pub(super) fn of_section(
        schema: &Schema,
        docs: u32,
        (kind, field): (SectionKind, u8),
        section: &Bytes,
    ) -> Result<Self, Corrupt> {
        let content = Content::open(schema, docs, (kind, field), section)?;
        Ok(Self { id: PartId::Section(kind, field), docs, weight: 0, content })
    }

    /// Which part it is.
    pub fn id(&self) -> PartId {
        self.id
    }

    /// Bytes of memory that the part takes, about.
    pub fn weight(&self) -> usize {
        self.weight
    }
}

impl Content {
    fn open(
        schema: &Schema,
        docs: u32,
        (kind, field): (SectionKind, u8),
        section: &Bytes,
    ) -> Result<Self, Corrupt> {
        Ok(match kind {
            SectionKind::KEYS => Self::Keys(Keys::open(docs, section)?.into()),
            SectionKind::KEY_FILTER => Self::KeyFilter(KeyFilter::open(docs, section)?.into()),
            SectionKind::KEY_INDEX => Self::KeyIndex(KeyIndex::open(docs, section)?.into()),
            SectionKind::METADATA => Self::Metadata(Metadata::open(docs, section)?.into()),
            SectionKind::METADATA_INDEX => {
                Self::MetadataIndex(MetadataIndex::open(docs, section)?.into())
            }
            SectionKind::ATTRIBUTES => {
                Self::Attributes(AttributesSection::open(docs, section)?.into())
            }
            SectionKind::ATTRIBUTE_BLOCKS => {
                Self::AttributeHeads(Heads::open(docs, section)?.into())
            }
            SectionKind::LISTS => Self::Lists(Lists::open(docs, section)?.into()),
            SectionKind::VECTOR_EXTENTS => {
                Self::Extents(Extents::open(docs, dimension(schema, field)?, section)?.into())
            }
            SectionKind::VECTORS => {
                Self::Vectors(open_vectors(docs, dimension(schema, field)?, section)?)
            }
            SectionKind::NORMS => Self::Norms(open_norms(docs, section)?),
            SectionKind::KEY_BLOCKS => {
                Self::KeyDirectory(KeyDirectory::open(docs, section)?.into())
            }
            SectionKind::CENTROIDS => Self::Tree(open_tree(docs, section)?.into()),
            SectionKind::CODES => Self::Codes(CodeBytes::open(docs, section)?.into()),
            SectionKind::ROW_CODES => Self::RowCodes(RowCodes::open(docs, section)?),
            _ => return Err(Corrupt { part: "segment", what: "a section of unknown kind" }),
        })
    }

    /// Bytes of memory beside the section's own.
    fn extra_weight(&self) -> usize {
        match self {
            Self::Keys(keys) => keys.extra_weight(),
            Self::KeyDirectory(directory) => directory.extra_weight(),
            Self::KeyIndex(index) => index.extra_weight(),
            Self::MetadataIndex(index) => index.extra_weight(),
            Self::Attributes(attributes) => attributes.extra_weight(),
            Self::AttributeHeads(heads) => heads.extra_weight(),
            Self::Lists(lists) => lists.extra_weight(),
            Self::Codes(codes) => codes.extra_weight(),
            Self::Tree(_)
            | Self::KeyBlock(_)
            | Self::AttributeBlock(_)
            | Self::KeyFilter(_)
            | Self::RowCodes(_)
            | Self::Metadata(_)
            | Self::MetadataBlock(_)
            | Self::Extents(_)
            | Self::Vectors(_)
            | Self::Norms(_) => 0,
        }
    }
}

fn dimension(schema: &Schema, field: u8) -> Result<u32, Corrupt> {
    let field = schema.vector_fields.get(field as usize);
    Ok(field
        .ok_or(Corrupt { part: "segment", what: "a vector field that is not in the schema" })?
        .dimension)
}
