//! search
#![allow(missing_docs, unused_variables, dead_code, clippy::unimplemented, clippy::needless_pass_by_value, reason = "signatures first")]
use bytes::Bytes;
use roaring::RoaringBitmap;
use std::cmp::Ordering;
use std::fmt;
use std::ops::Range;
use vb_kernel::Kernels;

pub type DocId = u32;

/// Bytes that no encoder of this crate wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corrupt { pub part: &'static str, pub what: &'static str }
impl fmt::Display for Corrupt { fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { write!(f, "corrupt {}: {}", self.part, self.what) } }
impl std::error::Error for Corrupt {}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Metric { Euclidean, Cosine, InnerProduct }
impl Metric {
    /// Wire value (f32, finite) of a rank.
    pub fn distance(self, rank: f64) -> f32 { unimplemented!() }
}
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VectorField { pub name: Box<str>, pub dimension: u32, pub metric: Metric }
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema { pub vector_fields: Vec<VectorField>, pub non_filterable: Vec<Box<str>> }
impl Schema {
    pub fn encode(&self, out: &mut Vec<u8>) { unimplemented!() }
    pub fn decode(bytes: &[u8]) -> Result<Self, Corrupt> { unimplemented!() }
}

#[derive(Clone, Debug)]
pub enum Scalar { String(Box<str>), Integer(i64), Float(f64), Bool(bool) }
#[derive(Clone, Copy, Debug)]
pub enum Number { Integer(i64), Float(f64) }
#[derive(Clone, Debug)]
pub enum Value { One(Scalar), Many(Box<[Scalar]>) }
#[derive(Clone, Debug, Default)]
pub struct Attributes { pairs: Box<[(Box<str>, Value)]> }
impl Attributes {
    /// Sorts; of equal keys the last wins; NaN is dropped (present, but equal to nothing).
    pub fn from_pairs(pairs: Vec<(Box<str>, Value)>) -> Self { unimplemented!() }
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> { self.pairs.iter().map(|(k, v)| (&**k, v)) }
    pub fn get(&self, key: &str) -> Option<&Value> { unimplemented!() }
    pub fn encode(&self, out: &mut Vec<u8>) { unimplemented!() }
    /// The whole slice must be one encoding.
    pub fn decode(bytes: &[u8]) -> Result<Self, Corrupt> { unimplemented!() }
}

#[derive(Clone, Debug)]
pub enum Filter { All, And(Vec<Filter>), Or(Vec<Filter>), Test { key: Box<str>, test: Test } }
#[derive(Clone, Debug)]
pub enum Test { Eq(Scalar), Ne(Scalar), Gt(Number), Gte(Number), Lt(Number), Lte(Number), In(Vec<Scalar>), NotIn(Vec<Scalar>), Exists(bool) }
impl Filter { pub fn matches(&self, attributes: &Attributes) -> bool { unimplemented!() } }

pub fn key_hash(key: &[u8]) -> u64 { unimplemented!() }
/// CRC32C of a section.
pub fn checksum(section: &[u8]) -> u32 { unimplemented!() }

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SectionKind(pub u16);
impl SectionKind {
    pub const KEYS: Self = Self(1);
    pub const KEY_INDEX: Self = Self(2);
    pub const METADATA: Self = Self(3);
    pub const ATTRIBUTES: Self = Self(4);
    pub const VECTORS: Self = Self(5);
    pub const NORMS: Self = Self(6);
    pub const LISTS: Self = Self(7);
    pub const CENTROIDS: Self = Self(8);
    pub const CODES: Self = Self(9);
    pub const TEXT: Self = Self(10);
}
/// Start every section at a multiple of this many bytes.
pub const SECTION_ALIGN: usize = 64;

/// One row to store; `vectors` has one entry per vector field of the schema.
#[derive(Clone, Copy, Debug)]
pub struct RowRef<'a> { pub key: &'a [u8], pub vectors: &'a [Option<&'a [f32]>], pub metadata: Option<&'a [u8]>, pub attributes: &'a Attributes }
pub struct SegmentBuilder(());
pub struct BuiltSegment { pub sections: Vec<(SectionKind, u8, Vec<u8>)>, pub docs: u32 }
impl SegmentBuilder {
    pub fn new(schema: &Schema, kernels: Kernels) -> Self { unimplemented!() }
    /// Rows come in strictly ascending (key_hash(key), key) order, else panics. Returns the row's doc id (0, 1, 2 ..).
    pub fn push(&mut self, row: RowRef<'_>) -> DocId { unimplemented!() }
    pub fn finish(self) -> BuiltSegment { unimplemented!() }
}

/// Reader over the sections of one segment. Cheap clone (Arc inside).
#[derive(Clone, Debug)]
pub struct Segment(());
impl Segment {
    pub fn open(schema: &Schema, docs: u32, sections: Vec<(SectionKind, u8, Bytes)>) -> Result<Self, Corrupt> { unimplemented!() }
    pub fn docs(&self) -> u32 { unimplemented!() }
    pub fn find(&self, key: &[u8]) -> Option<DocId> { unimplemented!() }
    /// As find, with key_hash(key) already known.
    pub fn find_hashed(&self, hash: u64, key: &[u8]) -> Option<DocId> { unimplemented!() }
    pub fn key(&self, doc: DocId) -> &[u8] { unimplemented!() }
    pub fn metadata(&self, doc: DocId) -> Result<Option<Bytes>, Corrupt> { unimplemented!() }
    /// For many documents in a row: keeps the last decompressed block.
    pub fn metadata_cursor(&self) -> MetadataCursor<'_> { unimplemented!() }
    pub fn vector(&self, field: usize, doc: DocId) -> Option<&[f32]> { unimplemented!() }
    pub fn select(&self, filter: &Filter) -> RoaringBitmap { unimplemented!() }
    /// Rows of a field (<= docs); scan them in chunks of any size.
    pub fn row_count(&self, field: usize) -> usize { unimplemented!() }
    pub fn rows(&self, field: usize, range: Range<usize>) -> Rows<'_> { unimplemented!() }
    /// Ranks 0..docs number the documents in (hash, key) order.
    pub fn doc_at(&self, rank: u32) -> DocId { unimplemented!() }
    pub fn hash_at(&self, rank: u32) -> u64 { unimplemented!() }
    /// First rank whose hash is >= `hash` (docs() if none).
    pub fn rank_of_hash(&self, hash: u64) -> u32 { unimplemented!() }
    /// First rank whose (hash, key) is > the given one.
    pub fn rank_after(&self, hash: u64, key: &[u8]) -> u32 { unimplemented!() }
}
pub struct MetadataCursor<'a>(&'a ());
impl MetadataCursor<'_> { pub fn get(&mut self, doc: DocId) -> Result<Option<Bytes>, Corrupt> { unimplemented!() } }

/// Row-major vectors and the documents they belong to.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// `docs.len() * dimension` values.
    pub values: &'a [f32],
    /// One norm per row (`row_norm`), or None: computed in the scan when the metric is cosine.
    pub norms: Option<&'a [f32]>,
    pub docs: Docs<'a>,
}
/// Which document each row belongs to.
#[derive(Clone, Copy, Debug)]
pub enum Docs<'a> {
    /// Row i is document start + i.
    Sequence { start: DocId, len: usize },
    /// Row i is document ids[i]; strictly ascending.
    Ids(&'a [DocId]),
    /// A range of a segment's posting lists.
    Lists(ListRange<'a>),
}
#[derive(Clone, Copy, Debug)]
pub struct ListRange<'a>(&'a ());

/// The norm kept beside a row of a cosine field.
pub fn row_norm(kernels: Kernels, row: &[f32]) -> f32 { unimplemented!() }

/// A query vector made ready once per query (shared by all chunks).
#[derive(Clone, Debug)]
pub struct PreparedQuery(());
impl PreparedQuery { pub fn new(kernels: Kernels, metric: Metric, vector: &[f32]) -> Self { unimplemented!() } }

/// Where a candidate lives: `source` is the caller's number (segment, memtable chunk).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place { pub source: u32, pub doc: DocId }
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate { pub rank: f64, pub place: Place }
/// Orders two places by their record keys; asked only on equal ranks.
pub type KeyOrder<'a> = &'a (dyn Fn(Place, Place) -> Ordering + Sync);

/// The k best candidates by (rank, key). Never more than k are kept.
#[derive(Clone, Debug)]
pub struct TopK(());
impl TopK {
    pub fn new(k: usize) -> Self { unimplemented!() }
    pub fn offer(&mut self, candidate: Candidate, order: KeyOrder<'_>) { unimplemented!() }
    pub fn merge(&mut self, other: TopK, order: KeyOrder<'_>) { unimplemented!() }
    pub fn into_sorted(self, order: KeyOrder<'_>) -> Vec<Candidate> { unimplemented!() }
}

/// Which documents count: those allowed (None: all) and not deleted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mask<'a> { pub allowed: Option<&'a RoaringBitmap>, pub deleted: Option<&'a RoaringBitmap> }

/// Exact scan of rows into `top`. Chunks may be scanned in any order, in parallel into several TopKs, merged later.
pub fn scan_rows(query: &PreparedQuery, rows: Rows<'_>, mask: Mask<'_>, source: u32, top: &mut TopK, order: KeyOrder<'_>) { unimplemented!() }
