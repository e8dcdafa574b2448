//! Segments: records in immutable sections, built once and read in place.
//!
//! ```text
//! one per segment:       keys | key blocks | key filter | key index | metadata | metadata index | attributes
//! one per vector field:  lists | vectors | vector extents | norms (cosine only)
//!                        centroids | codes | row codes (in old segments only of many vectors)
//! ```
//!
//! Documents are numbered from 0; their order is the builder's. The order of a listing, by
//! `(hash, key)`, is that of *ranks*, which the key index turns into documents.
//!
//! A segment need not be in memory whole. Its *parts* are what is read at a time: a section, an
//! extent of vectors, a block of metadata. [`Segment::of_parts`] starts with none, [`Segment::place`]
//! says where one lies, [`Segment::add`] takes it in, and each question names the parts it needs:
//!
//! ```text
//! may_contain                      key filter
//! find, rank_of_hash, rank_after   key index, keys
//! key                              keys, or key directory and the documents' blocks
//! select                           attribute directory, the filter's blocks; or attributes
//! row_count, row_of                lists
//! rows, vector                     lists, vector directory, their extents; norms
//! clusters, codes                  centroids; codes or some of their lists; row codes
//! metadata                         metadata directory, the documents' blocks
//! ```
//!
//! Parts check their own bytes when opened and are checked against each other when added, so that a
//! `Segment` answers every question whose parts it has, whatever bytes they were.

mod builder;
mod clusters;
mod columns;
pub(crate) mod fuzz;
mod key_filter;
mod key_index;
mod keys;
mod lists;
mod metadata;
mod part;
mod parts;
mod section;
#[cfg(test)]
mod tests;
mod vectors;
mod writer;

pub use builder::{BuiltSegment, RowRef, SegmentBuilder};
pub use clusters::{CodesSource, cluster_sections};
pub use columns::{AttributeTable, AttributesBuilder, MergeInput, merge_attributes};
pub use keys::KeysBuilder;
pub use lists::ListBuilder;
#[cfg(test)]
pub(crate) use lists::build as build_lists;
pub(crate) use lists::{ListPiece, Lists};
pub use metadata::MetadataWriter;
pub use part::{Part, PartId, SectionPlace};
pub use section::{SECTION_ALIGN, SectionKind, aligned, checksum};
pub use vectors::{NormsBuilder, VectorsWriter};
pub use writer::StreamedSection;

use crate::DocId;
use crate::ann::Index;
use crate::attributes::Attributes;
use crate::decode::Corrupt;
use crate::filter::Filter;
use crate::key_hash::key_hash;
use crate::scan::{Docs, ListRange, Rows};
use crate::schema::Schema;
use bytes::Bytes;
use clusters::{list_place, rows_place};
use columns::Columns;
use key_index::KeyIndex;
use keys::Keys;
use metadata::MetadataBlock;
use parts::{Field, Parts};
use roaring::RoaringBitmap;
use std::ops::Range;
use std::sync::Arc;

/// The most documents of a segment: sets of documents, a bit for each, stay far from 32-bit limits.
const DOCS_MAX: u32 = 1 << 30;

/// Reader of one segment. Clones share its parts, and are cheap; a part added to one of them is not
/// in the others.
///
/// Methods panic if given a document, rank, field or row that the segment does not have, or if a
/// part that they need was not added.
#[derive(Clone, Debug)]
pub struct Segment(Arc<Parts>);

/// How many pieces of each kind a segment has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PieceCounts {
    /// Extents of each vector field.
    pub extents: Vec<u32>,
    /// Blocks of keys.
    pub key_blocks: u32,
    /// Blocks of metadata.
    pub metadata_blocks: u32,
    /// Blocks of attributes.
    pub attribute_blocks: u32,
}

/// A section as it is stored: its kind, the vector field it belongs to (0 for those of the whole
/// segment), its bytes.
pub type StoredSection = (SectionKind, u8, Bytes);

/// Of a segment in memory whole.
impl Segment {
    /// Opens a segment of `docs` documents from all its sections, in any order. Kinds that this crate
    /// does not know are left alone. No bytes are copied, except float32 values that are not
    /// aligned to 4 bytes. Every question may then be asked, and rows need not be cut by extents.
    pub fn open(schema: &Schema, docs: u32, sections: &[StoredSection]) -> Result<Self, Corrupt> {
        let mut segment = Self::of_parts(schema, docs, Vec::new())?;
        for (kind, field, section) in sections.iter().filter(|section| is_known(section.0)) {
            segment.add(&Part::of_section(schema, docs, (*kind, *field), section)?)?;
        }
        match segment.0.missing(schema) {
            None => Ok(segment),
            Some(kind) => Err(Corrupt { part: kind.name(), what: "missing" }),
        }
    }
}

/// Taking parts in.
impl Segment {
    /// A segment of which nothing is loaded. `table` says where its sections lie; sections of
    /// unknown kinds are left alone.
    pub fn of_parts(schema: &Schema, docs: u32, table: Vec<SectionPlace>) -> Result<Self, Corrupt> {
        if docs > DOCS_MAX {
            return Err(corrupt("number of documents"));
        }
        Ok(Self(Arc::new(Parts::new(schema, docs, table))))
    }

    /// Adds a part, and checks it against those that were added before. A part that is there
    /// already is replaced.
    ///
    /// After an error the segment is not to be used any more.
    ///
    /// # Panics
    /// If an extent or a block comes before the directory that leads to it.
    pub fn add(&mut self, part: &Part) -> Result<(), Corrupt> {
        if part.docs != self.docs() {
            return Err(corrupt("a part of another segment"));
        }
        Arc::make_mut(&mut self.0).add(part)
    }

    /// Whether a part was added.
    pub fn has(&self, id: PartId) -> bool {
        self.0.has(id)
    }

    /// The sections of the table that are parts: all of known kinds, but neither vectors nor metadata
    /// that a directory cuts into pieces. In an order in which [`Segment::add`] takes them.
    pub fn section_parts(&self) -> Vec<PartId> {
        let is_cut = |row: &SectionPlace| match row.kind {
            SectionKind::VECTORS => self.vector_directory(row.field as usize).is_some(),
            SectionKind::METADATA => self.metadata_directory() != row.id(),
            _ => false,
        };
        let rows = self.0.table.iter().filter(|row| is_known(row.kind) && !is_cut(row));
        rows.map(SectionPlace::id).collect()
    }

    /// The extents and blocks that the directories added so far lead to.
    pub fn piece_parts(&self) -> Vec<PartId> {
        let extents = (0..).zip(&self.0.fields).flat_map(|(number, field)| {
            let count = field.directory.as_ref().map_or(0, |directory| directory.count());
            (0..count).map(move |extent| PartId::VectorExtent(number, extent))
        });
        let blocks = self.0.metadata_index.as_ref().map_or(0, |index| index.count());
        extents.chain((0..blocks).map(PartId::MetadataBlock)).collect()
    }

    /// How many extents and blocks the directories added so far lead to.
    pub fn piece_counts(&self) -> PieceCounts {
        let extents = |field: &Field| field.directory.as_ref().map_or(0, |extents| extents.count());
        PieceCounts {
            extents: self.0.fields.iter().map(extents).collect(),
            key_blocks: self.0.key_directory.as_ref().map_or(0, |directory| directory.count()),
            metadata_blocks: self.0.metadata_index.as_ref().map_or(0, |index| index.count()),
            attribute_blocks: self.0.attribute_heads.as_ref().map_or(0, |heads| heads.count()),
        }
    }

    /// Whether two have the same parts, as clones have until one is added to.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Where a part lies in the object, and its CRC32C. `None` if the segment has no such part.
    ///
    /// # Panics
    /// If an extent or a block is asked for before the directory that leads to it was added.
    pub fn place(&self, id: PartId) -> Option<(Range<u64>, u32)> {
        match id {
            PartId::Section(kind, field) => {
                self.0.table_row(kind, field).map(|row| (row.range.clone(), row.crc))
            }
            PartId::VectorExtent(field, extent) => {
                let place = self.field(field as usize).directory().place(extent)?;
                self.0.inside(SectionKind::VECTORS, field, place)
            }
            PartId::MetadataBlock(block) => {
                let place = self.0.metadata_index().place(block)?;
                self.0.inside(SectionKind::METADATA, 0, place)
            }
            PartId::KeyBlock(block) => {
                let place = self.0.key_directory().place(block)?;
                self.0.inside(SectionKind::KEYS, 0, place)
            }
            PartId::AttributeBlock(block) => {
                let place = self.0.heads().place(block)?;
                self.0.inside(SectionKind::ATTRIBUTES, 0, place)
            }
            PartId::CodeList(field, list) => {
                let tree = self.field(field as usize).tree();
                let place = (list < tree.lists()).then(|| list_place(tree, list))?;
                self.0.inside(SectionKind::CODES, field, place)
            }
            PartId::RowCodeList(field, list) => {
                let tree = self.field(field as usize).tree();
                let place = (list < tree.lists()).then(|| rows_place(tree, list))??;
                self.0.inside(SectionKind::ROW_CODES, field, place)
            }
        }
    }
}

/// Records by key.
impl Segment {
    /// The number of documents.
    pub fn docs(&self) -> u32 {
        self.0.docs
    }

    /// The part that [`Segment::may_contain`] needs.
    pub fn key_filter_part(&self) -> PartId {
        match self.0.table_row(SectionKind::KEY_FILTER, 0) {
            Some(_) => PartId::Section(SectionKind::KEY_FILTER, 0),
            None => PartId::Section(SectionKind::KEY_INDEX, 0),
        }
    }

    /// False if no document has a key of this hash; of 250 hashes that no key has, about one is true.
    /// A few nanoseconds.
    pub fn may_contain(&self, hash: u64) -> bool {
        // Without a filter in its table, a segment has its index asked.
        let (filter, index) = (self.0.filter(), &self.0.key_index);
        assert!(filter.is_some() || index.is_some(), "the key filter was added");
        filter.is_none_or(|filter| filter.may_contain(hash))
    }

    /// The document with this key.
    pub fn find(&self, key: &[u8]) -> Option<DocId> {
        self.find_hashed(key_hash(key), key)
    }

    /// As [`Segment::find`], where `hash` is the key's [`key_hash`]. Asks the key filter first if it
    /// was added.
    pub fn find_hashed(&self, hash: u64, key: &[u8]) -> Option<DocId> {
        let may_contain = self.0.filter().is_none_or(|filter| filter.may_contain(hash));
        may_contain.then(|| self.key_index().find(hash, key, self.keys())).flatten()
    }

    /// The key of a document.
    pub fn key(&self, doc: DocId) -> &[u8] {
        self.0.key(doc)
    }

    /// The part that leads to keys: where their blocks lie or, in old segments, all keys.
    pub fn key_directory(&self) -> PartId {
        match self.0.table_row(SectionKind::KEY_BLOCKS, 0) {
            Some(_) => PartId::Section(SectionKind::KEY_BLOCKS, 0),
            None => PartId::Section(SectionKind::KEYS, 0),
        }
    }

    /// The part with the key of a document; `None` if all keys were added. Needs the directory.
    pub fn key_part(&self, doc: DocId) -> Option<PartId> {
        let of_block = || PartId::KeyBlock(self.0.key_directory().block_of(doc));
        self.0.keys.is_none().then(of_block)
    }

    /// The document at a rank of the `(hash, key)` order.
    pub fn doc_at(&self, rank: u32) -> DocId {
        self.key_index().doc_at(rank)
    }

    /// The key hash at a rank of the `(hash, key)` order.
    pub fn hash_at(&self, rank: u32) -> u64 {
        self.key_index().hash_at(rank)
    }

    /// The first rank whose hash is not below `hash`; [`Segment::docs`] if there is none.
    pub fn rank_of_hash(&self, hash: u64) -> u32 {
        self.key_index().rank_of_hash(hash)
    }

    /// The first rank after `(hash, key)`; [`Segment::docs`] if there is none.
    pub fn rank_after(&self, hash: u64, key: &[u8]) -> u32 {
        self.key_index().rank_after(hash, key, self.keys())
    }

    fn keys(&self) -> &Keys {
        self.0.keys.as_deref().expect("the keys were added")
    }

    fn key_index(&self) -> &KeyIndex {
        self.0.key_index.as_deref().expect("the key index was added")
    }
}

/// Metadata.
impl Segment {
    /// The part that leads to metadata: an index of its blocks or, in old segments, all of it.
    pub fn metadata_directory(&self) -> PartId {
        match self.0.table_row(SectionKind::METADATA_INDEX, 0) {
            Some(_) => PartId::Section(SectionKind::METADATA_INDEX, 0),
            None => PartId::Section(SectionKind::METADATA, 0),
        }
    }

    /// The part with the metadata of a document; `None` if the directory itself has it. Needs the
    /// directory.
    pub fn metadata_part(&self, doc: DocId) -> Option<PartId> {
        assert!(doc < self.docs(), "a document of the segment");
        match self.metadata_directory() {
            PartId::Section(SectionKind::METADATA_INDEX, _) => {
                Some(PartId::MetadataBlock(self.0.metadata_index().block_of(doc)))
            }
            _ => None,
        }
    }

    /// The metadata of a document, as it was written. Where metadata is in memory as one section,
    /// a block of some kilobytes is unpacked, which fails if it is damaged.
    pub fn metadata(&self, doc: DocId) -> Result<Option<Bytes>, Corrupt> {
        self.metadata_cursor().get(doc)
    }

    /// For the metadata of many documents: neighbours are unpacked together.
    pub fn metadata_cursor(&self) -> MetadataCursor<'_> {
        MetadataCursor { segment: self, last: None }
    }

    /// The part that leads to attributes: an index of their blocks or, in old segments, all of them.
    pub fn attribute_directory(&self) -> PartId {
        match self.0.table_row(SectionKind::ATTRIBUTE_BLOCKS, 0) {
            Some(_) => PartId::Section(SectionKind::ATTRIBUTE_BLOCKS, 0),
            None => PartId::Section(SectionKind::ATTRIBUTES, 0),
        }
    }

    /// The blocks that [`Segment::select`] needs for a filter; none if all attributes were added. Needs the directory.
    pub fn filter_parts(&self, filter: &Filter) -> Vec<PartId> {
        if self.0.attributes.is_some() {
            return Vec::new();
        }
        self.0.heads().parts(filter).into_iter().map(PartId::AttributeBlock).collect()
    }

    /// About the share of the documents that a filter matches, as far as the directory of attributes tells; exact for no
    /// filter in particular.
    pub fn estimate(&self, filter: &Filter) -> f64 {
        self.0.heads().estimate(filter)
    }

    /// Exactly the documents that the filter matches. Needs the attributes, or their directory and
    /// [`Segment::filter_parts`].
    pub fn select(&self, filter: &Filter) -> RoaringBitmap {
        self.columns().select(filter)
    }

    fn columns(&self) -> Columns<'_> {
        self.0.columns()
    }

    /// The attributes of every document, by document. Arrays come back in value order, each element
    /// once; filters cannot tell the difference.
    pub fn attributes(&self) -> Vec<Attributes> {
        self.columns().attributes()
    }
}

/// Reads metadata of many documents and keeps the block last unpacked, which neighbours share.
pub struct MetadataCursor<'a> {
    segment: &'a Segment,
    last: Option<(MetadataBlock, Range<DocId>)>,
}

impl MetadataCursor<'_> {
    /// As [`Segment::metadata`].
    pub fn get(&mut self, doc: DocId) -> Result<Option<Bytes>, Corrupt> {
        if !self.last.as_ref().is_some_and(|(_, docs)| docs.contains(&doc)) {
            self.last = Some(self.segment.0.metadata_block(doc)?);
        }
        let (block, docs) = self.last.as_ref().expect("set above");
        Ok(block.at((doc - docs.start) as usize))
    }
}

/// Vectors.
impl Segment {
    /// The part that says how the rows of a field are cut into extents; `None` in old segments, whose
    /// vectors are one part.
    pub fn vector_directory(&self, field: usize) -> Option<PartId> {
        let kind = SectionKind::VECTOR_EXTENTS;
        self.0.table_row(kind, field as u8).map(|_| PartId::Section(kind, field as u8))
    }

    /// How many extents the rows of a field are cut into. Needs the directory, or lists if there is
    /// none.
    pub fn extent_count(&self, field: usize) -> u32 {
        match &self.field(field).directory {
            Some(directory) => directory.count(),
            None => u32::from(self.row_count(field) > 0),
        }
    }

    /// The rows of one extent; none beyond the last. Needs the same as [`Segment::extent_count`].
    pub fn extent_rows(&self, field: usize, extent: u32) -> Range<usize> {
        match &self.field(field).directory {
            Some(directory) => directory.rows_of(extent),
            None if extent == 0 => 0..self.row_count(field),
            None => 0..0,
        }
    }

    /// The part with the values of one extent. Needs the directory.
    pub fn vector_part(&self, field: usize, extent: u32) -> PartId {
        match &self.field(field).directory {
            Some(_) => PartId::VectorExtent(field as u8, extent),
            None => PartId::Section(SectionKind::VECTORS, field as u8),
        }
    }

    /// Cuts rows by extents: each extent touched, and the rows of it. Needs the same as
    /// [`Segment::extent_count`].
    pub fn extents_of_rows(&self, field: usize, rows: Range<usize>) -> Vec<(u32, Range<usize>)> {
        if rows.is_empty() {
            return Vec::new();
        }
        let first = self.extent_of_row(field, rows.start);
        let last = self.extent_of_row(field, rows.end - 1);
        let cut = (first..=last).map(|extent| {
            let all = self.extent_rows(field, extent);
            (extent, rows.start.max(all.start)..rows.end.min(all.end))
        });
        cut.collect()
    }

    /// The extents that hold a vector of one of these documents, ascending. Needs lists and the
    /// directory.
    pub fn extents_with(&self, field: usize, docs: &RoaringBitmap) -> Vec<u32> {
        let lists = self.field(field).lists();
        let holds = |extent: &u32| lists.any_in(self.extent_rows(field, *extent), docs);
        (0..self.extent_count(field)).filter(holds).collect()
    }

    /// The extent with the vector of a document; `None` if it lacks the field. Needs lists and the
    /// directory.
    pub fn extent_of(&self, field: usize, doc: DocId) -> Option<u32> {
        self.row_of(field, doc).map(|row| self.extent_of_row(field, row))
    }

    /// The extent with a row. Needs the directory.
    pub fn extent_of_row(&self, field: usize, row: usize) -> u32 {
        self.field(field).directory.as_ref().map_or(0, |directory| directory.of_row(row))
    }

    /// How many documents have this field. Needs lists.
    pub fn row_count(&self, field: usize) -> usize {
        self.field(field).lists().rows()
    }

    /// The row with the vector of a document; `None` if it lacks the field. Needs lists.
    pub fn row_of(&self, field: usize, doc: DocId) -> Option<usize> {
        self.field(field).lists().row_of(doc)
    }

    /// The norm of a row; `None` if the field has none because it is not a cosine field, or because
    /// the norms section was not added.
    pub fn norm(&self, field: usize, row: usize) -> Option<f32> {
        self.field(field).norms.as_ref().map(|norms| norms.as_slice()[row])
    }

    /// The vector of a document, bit for bit as written, if it has this field. Needs lists, and the
    /// extent with the vector.
    pub fn vector(&self, field: usize, doc: DocId) -> Option<&[f32]> {
        let row = self.row_of(field, doc)?;
        Some(self.field(field).values(row..row + 1))
    }

    /// Some of the field's rows, for [`crate::scan_rows`]: in pieces of any size inside one extent
    /// ([`Segment::extents_of_rows`] cuts them), or anywhere if the vectors are in memory as one
    /// part. Needs lists and the extent; without norms, cosine scans compute them.
    ///
    /// # Panics
    /// If the rows are not in one extent.
    pub fn rows(&self, field: usize, range: Range<usize>) -> Rows<'_> {
        let field = self.field(field);
        Rows {
            values: field.values(range.clone()),
            norms: field.norms.as_ref().map(|norms| &norms.as_slice()[range.clone()]),
            docs: Docs::Lists(ListRange::new(field.lists(), &range)),
        }
    }

    /// The values of a row in a part, which is the one with its extent ([`Segment::vector_part`]): for a few rows, without
    /// adding the part. Needs the directory.
    ///
    /// # Errors
    /// If the part does not have the rows that the directory says.
    ///
    /// # Panics
    /// If the part is not of vectors.
    pub fn values_in<'a>(
        &self,
        part: &'a Part,
        field: usize,
        row: usize,
    ) -> Result<&'a [f32], Corrupt> {
        self.field(field).values_in(part, row..row + 1)
    }

    /// [`Segment::rows`] of a part that has their extent and was not added. Needs lists and the directory.
    ///
    /// # Errors
    /// If the part does not have the rows that the directory says.
    ///
    /// # Panics
    /// If the part is not of vectors, or the rows are not in one extent.
    pub fn rows_in<'a>(
        &'a self,
        part: &'a Part,
        field: usize,
        range: Range<usize>,
    ) -> Result<Rows<'a>, Corrupt> {
        let field = self.field(field);
        Ok(Rows {
            values: field.values_in(part, range.clone())?,
            norms: field.norms.as_ref().map(|norms| &norms.as_slice()[range.clone()]),
            docs: Docs::Lists(ListRange::new(field.lists(), &range)),
        })
    }

    fn field(&self, field: usize) -> &Field {
        &self.0.fields[field]
    }
}

/// The cluster index of a vector field.
impl Segment {
    /// The part that leads to the codes of a field: its tree. `None` if there is no cluster index.
    pub fn tree_part(&self, field: usize) -> Option<PartId> {
        let kind = SectionKind::CENTROIDS;
        self.0.table_row(kind, field as u8).map(|_| PartId::Section(kind, field as u8))
    }

    /// The part with the codes of one list; the one with all of them if that was added. Needs the
    /// tree.
    pub fn list_part(&self, field: usize, list: u32) -> PartId {
        match self.field(field).codes {
            Some(_) => PartId::Section(SectionKind::CODES, field as u8),
            None => PartId::CodeList(field as u8, list),
        }
    }

    /// The part with the row codes of one list; the one with all of them if that was added. Needs the tree.
    pub fn rows_part(&self, field: usize, list: u32) -> PartId {
        match self.field(field).row_codes {
            Some(_) => PartId::Section(SectionKind::ROW_CODES, field as u8),
            None => PartId::RowCodeList(field as u8, list),
        }
    }

    /// The tree of a field, if it was added.
    pub fn clusters(&self, field: usize) -> Option<&Index> {
        self.field(field).tree.as_deref()
    }

    /// The codes of a field, as far as they were added. Needs the tree.
    pub fn codes(&self, field: usize) -> CodesSource<'_> {
        let field = self.field(field);
        CodesSource {
            index: field.tree(),
            all: field.codes.as_deref(),
            lists: &field.code_lists,
            rows: field.row_codes.as_ref(),
            rows_of_lists: &field.row_lists,
        }
    }

    /// All lists and all row codes, as a merge takes them. Needs both sections.
    ///
    /// # Panics
    /// If one of them was not added.
    pub fn whole_codes(&self, field: usize) -> (&[u8], &[u8]) {
        let field = self.field(field);
        let lists = field.codes.as_deref().expect("the codes were added");
        let rows = field.row_codes.as_ref().expect("the row codes were added");
        (lists.bytes(), rows.bytes())
    }

    /// The document of a row. Needs lists.
    pub fn doc_of_row(&self, field: usize, row: usize) -> DocId {
        self.field(field).lists().doc_of_row(row)
    }

    /// Whether row r of a field belongs to document r, for all of them. Needs lists.
    pub fn rows_are_docs(&self, field: usize) -> bool {
        let lists = self.field(field).lists();
        lists.rows() == self.docs() as usize && lists.is_identity()
    }
}

fn is_known(kind: SectionKind) -> bool {
    matches!(
        kind,
        SectionKind::KEYS
            | SectionKind::KEY_FILTER
            | SectionKind::KEY_INDEX
            | SectionKind::METADATA
            | SectionKind::METADATA_INDEX
            | SectionKind::ATTRIBUTES
            | SectionKind::LISTS
            | SectionKind::VECTORS
            | SectionKind::VECTOR_EXTENTS
            | SectionKind::NORMS
            | SectionKind::CENTROIDS
            | SectionKind::CODES
            | SectionKind::ROW_CODES
            | SectionKind::KEY_BLOCKS
            | SectionKind::ATTRIBUTE_BLOCKS
    )
}

fn corrupt(what: &'static str) -> Corrupt {
    Corrupt { part: "segment", what }
}
