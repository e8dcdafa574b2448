//! Segments: records in immutable sections, built once and read in place.
//!
//! ```text
//! one per segment:        keys | key index | metadata | attributes
//! one per vector field:   lists | vectors | norms (cosine only)
//! ```
//!
//! Documents are numbered from 0; their order is the builder's. The order of a listing, by
//! `(hash, key)`, is that of *ranks*, which the key index turns into documents. Sections check their
//! own bytes when opened and are checked against each other by [`Segment::open`], so that a
//! `Segment` that exists answers every question about its documents, whatever bytes it was given.
//! Where a section lies and its checksum are the business of whoever stores it.

mod builder;
mod columns;
pub(crate) mod fuzz;
mod key_index;
mod keys;
mod lists;
mod metadata;
mod part;
mod section;
#[cfg(test)]
mod tests;
mod vectors;
mod writer;

pub use builder::{BuiltSegment, RowRef, SegmentBuilder};
#[cfg(test)]
pub(crate) use lists::build as build_lists;
pub(crate) use lists::{ListPiece, Lists};
pub use metadata::MetadataCursor;
pub use part::{Part, PartId, SectionPlace};
pub use section::{SECTION_ALIGN, SectionKind, checksum};
pub use writer::{
    KeysBuilder, ListBuilder, MergeInput, MetadataWriter, NormsBuilder, StreamedSection,
    VectorsWriter, merge_attributes,
};

use crate::DocId;
use crate::attributes::Attributes;
use crate::decode::Corrupt;
use crate::filter::Filter;
use crate::key_hash::key_hash;
use crate::scan::{Docs, ListRange, Rows};
use crate::schema::{Metric, Schema, VectorField};
use bytes::Bytes;
use columns::Columns;
use key_index::KeyIndex;
use keys::Keys;
use metadata::Metadata;
use roaring::RoaringBitmap;
use section::Floats;
use std::ops::Range;
use std::sync::Arc;

/// The most documents of a segment: sets of documents, a bit for each, stay far from 32-bit limits.
const DOCS_MAX: u32 = 1 << 30;

/// Reader of one segment whose sections are in memory. Clones share it.
///
/// Methods panic if given a document, rank, field or row that the segment does not have.
#[derive(Clone, Debug)]
pub struct Segment(Arc<Sections>);

#[derive(Debug)]
struct Sections {
    docs: u32,
    keys: Keys,
    key_index: KeyIndex,
    metadata: Metadata,
    columns: Columns,
    fields: Vec<Field>,
}

/// The rows of one vector field.
#[derive(Debug)]
struct Field {
    dimension: usize,
    lists: Lists,
    vectors: Floats,
    norms: Option<Floats>,
}

/// A section as it is stored: its kind, the vector field it belongs to (0 for those of the whole
/// segment), its bytes.
pub type StoredSection = (SectionKind, u8, Bytes);

impl Segment {
    /// Opens a segment of `docs` documents from its sections, in any order. Kinds that this crate
    /// does not know are left alone. No bytes are copied, except float32 values that are not
    /// aligned to 4 bytes.
    pub fn open(schema: &Schema, docs: u32, sections: &[StoredSection]) -> Result<Self, Corrupt> {
        if docs > DOCS_MAX {
            return Err(corrupt("number of documents"));
        }
        let section = |kind| find(sections, kind, 0);
        let keys = Keys::open(docs, section(SectionKind::KEYS)?)?;
        let key_index = KeyIndex::open(docs, section(SectionKind::KEY_INDEX)?)?;
        if !key_index.is_in_key_order(&keys) {
            return Err(corrupt("keys of one hash are not ascending"));
        }
        let metadata = Metadata::open(docs, section(SectionKind::METADATA)?)?;
        let columns = Columns::open(docs, section(SectionKind::ATTRIBUTES)?)?;
        let fields = (0..).zip(&schema.vector_fields);
        let fields = fields
            .map(|(number, field)| Field::open(docs, field, number, sections))
            .collect::<Result<_, _>>()?;
        Ok(Self(Arc::new(Sections { docs, keys, key_index, metadata, columns, fields })))
    }

    /// A segment of which nothing is loaded: `table` says where its sections lie.
    pub fn of_parts(
        _schema: &Schema,
        _docs: u32,
        _table: Vec<SectionPlace>,
    ) -> Result<Self, Corrupt> {
        todo!()
    }

    /// Adds a part that was read. Directories (lists, vector extents, metadata index) come before
    /// the extents and blocks they lead to.
    pub fn add(&mut self, _part: &Part) -> Result<(), Corrupt> {
        todo!()
    }

    /// Whether a part was added.
    pub fn has(&self, _id: PartId) -> bool {
        todo!()
    }

    /// Where a part lies in the object, and its CRC32C. Extents and blocks have a place once their
    /// directory was added. `None` if the segment has no such part.
    pub fn place(&self, _id: PartId) -> Option<(Range<u64>, u32)> {
        todo!()
    }

    /// The part that [`Segment::may_contain`] needs.
    pub fn key_filter_part(&self) -> PartId {
        todo!()
    }

    /// The part that says where the extents of a field lie; `None` if its vectors are one part.
    pub fn vector_directory(&self, _field: usize) -> Option<PartId> {
        todo!()
    }

    /// How many extents the field's rows are cut into.
    pub fn extent_count(&self, _field: usize) -> u32 {
        todo!()
    }

    /// The rows of one extent.
    pub fn extent_rows(&self, _field: usize, _extent: u32) -> Range<usize> {
        todo!()
    }

    /// The part with the values of one extent.
    pub fn vector_part(&self, _field: usize, _extent: u32) -> PartId {
        todo!()
    }

    /// Cuts rows by extents.
    pub fn extents_of_rows(&self, _field: usize, _rows: Range<usize>) -> Vec<(u32, Range<usize>)> {
        todo!()
    }

    /// The extents that hold vectors of any of these documents, ascending.
    pub fn extents_with(&self, _field: usize, _docs: &RoaringBitmap) -> Vec<u32> {
        todo!()
    }

    /// The extent with the vector of a document; `None` if it lacks the field.
    pub fn extent_of(&self, _field: usize, _doc: DocId) -> Option<u32> {
        todo!()
    }

    /// The row with the vector of a document; `None` if it lacks the field.
    pub fn row_of(&self, _field: usize, _doc: DocId) -> Option<usize> {
        todo!()
    }

    /// The norm of a row; `None` if the field is not a cosine field.
    pub fn norm(&self, _field: usize, _row: usize) -> Option<f32> {
        todo!()
    }

    /// The part that says where the blocks of metadata lie. If [`Segment::metadata_part`] is `None`
    /// for its documents, it has the metadata itself.
    pub fn metadata_directory(&self) -> PartId {
        todo!()
    }

    /// The part with the metadata of a document; `None` if the directory has it.
    pub fn metadata_part(&self, _doc: DocId) -> Option<PartId> {
        todo!()
    }

    /// False if no document has a key of this hash; rarely true though none has.
    pub fn may_contain(&self, _hash: u64) -> bool {
        todo!()
    }

    /// The number of documents.
    pub fn docs(&self) -> u32 {
        self.0.docs
    }

    /// The document with this key.
    pub fn find(&self, key: &[u8]) -> Option<DocId> {
        self.find_hashed(key_hash(key), key)
    }

    /// As [`Segment::find`], where `hash` is the key's [`key_hash`]. Nearly always a few
    /// nanoseconds if the segment does not have the key.
    pub fn find_hashed(&self, hash: u64, key: &[u8]) -> Option<DocId> {
        self.0.key_index.find(hash, key, &self.0.keys)
    }

    /// The key of a document.
    pub fn key(&self, doc: DocId) -> &[u8] {
        self.0.keys.at(doc)
    }

    /// The metadata of a document, as it was written. Unpacks a block of some kilobytes.
    pub fn metadata(&self, doc: DocId) -> Result<Option<Bytes>, Corrupt> {
        self.0.metadata.at(doc)
    }

    /// For the metadata of many documents: neighbours are unpacked together.
    pub fn metadata_cursor(&self) -> MetadataCursor<'_> {
        MetadataCursor::new(&self.0.metadata)
    }

    /// The vector of a document, bit for bit as written, if it has this field.
    pub fn vector(&self, field: usize, doc: DocId) -> Option<&[f32]> {
        let field = &self.0.fields[field];
        let row = field.lists.row_of(doc)?;
        Some(&field.vectors.as_slice()[row * field.dimension..][..field.dimension])
    }

    /// Exactly the documents that the filter matches.
    pub fn select(&self, filter: &Filter) -> RoaringBitmap {
        self.0.columns.select(filter)
    }

    /// The attributes of every document, by document. Arrays come back in value order, each element
    /// once; filters cannot tell the difference.
    pub fn attributes(&self) -> Vec<Attributes> {
        self.0.columns.attributes()
    }

    /// How many documents have this field.
    pub fn row_count(&self, field: usize) -> usize {
        self.0.fields[field].lists.rows()
    }

    /// Some of the field's rows, for [`crate::scan_rows`]. Scan them in pieces of any size.
    pub fn rows(&self, field: usize, range: Range<usize>) -> Rows<'_> {
        let field = &self.0.fields[field];
        let docs = Docs::Lists(ListRange::new(&field.lists, &range));
        let values = range.start * field.dimension..range.end * field.dimension;
        Rows {
            values: &field.vectors.as_slice()[values],
            norms: field.norms.as_ref().map(|norms| &norms.as_slice()[range]),
            docs,
        }
    }

    /// The document at a rank of the `(hash, key)` order.
    pub fn doc_at(&self, rank: u32) -> DocId {
        self.0.key_index.doc_at(rank)
    }

    /// The key hash at a rank of the `(hash, key)` order.
    pub fn hash_at(&self, rank: u32) -> u64 {
        self.0.key_index.hash_at(rank)
    }

    /// The first rank whose hash is not below `hash`; [`Segment::docs`] if there is none.
    pub fn rank_of_hash(&self, hash: u64) -> u32 {
        self.0.key_index.rank_of_hash(hash)
    }

    /// The first rank after `(hash, key)`; [`Segment::docs`] if there is none.
    pub fn rank_after(&self, hash: u64, key: &[u8]) -> u32 {
        self.0.key_index.rank_after(hash, key, &self.0.keys)
    }
}

impl Field {
    fn open(
        docs: u32,
        field: &VectorField,
        number: u8,
        sections: &[StoredSection],
    ) -> Result<Self, Corrupt> {
        let section = |kind| find(sections, kind, number);
        let lists = Lists::open(docs, section(SectionKind::LISTS)?)?;
        let rows = lists.rows();
        let vectors = section(SectionKind::VECTORS)?;
        let vectors = vectors::open_vectors(docs, rows, field.dimension, vectors)?;
        let norms = match field.metric {
            Metric::Cosine => Some(vectors::open_norms(docs, rows, section(SectionKind::NORMS)?)?),
            Metric::Euclidean | Metric::InnerProduct => None,
        };
        Ok(Self { dimension: field.dimension as usize, lists, vectors, norms })
    }
}

fn find(sections: &[StoredSection], kind: SectionKind, field: u8) -> Result<&Bytes, Corrupt> {
    let found = sections.iter().find(|section| (section.0, section.1) == (kind, field));
    Ok(&found.ok_or(Corrupt { part: kind.name(), what: "missing" })?.2)
}

fn corrupt(what: &'static str) -> Corrupt {
    Corrupt { part: "segment", what }
}
