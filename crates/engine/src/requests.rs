//! Requests on the records of one index and their answers.

use bytes::Bytes;
use vb_search::{Attributes, Filter};

/// Records to put, by column. A key that exists already is overwritten completely.
///
/// All columns have one entry per key. A batch is all or nothing. When a key occurs twice, its last
/// occurrence wins.
#[derive(Clone, Debug, Default)]
pub struct PutBatch {
    /// Keys, opaque.
    pub keys: Vec<Box<[u8]>>,
    /// One column per vector field of the schema, in schema order.
    pub vectors: Vec<VectorColumn>,
    /// Metadata as it will be returned; `None`: the record has none.
    pub metadata: Vec<Option<Bytes>>,
    /// Typed values of the filterable metadata keys.
    pub attributes: Vec<Attributes>,
}

/// The values of one vector field for every record of a batch.
#[derive(Clone, Debug, Default)]
pub struct VectorColumn {
    /// Row-major, keys x dimension, also for records that lack the field (their rows are ignored).
    pub values: Vec<f32>,
    /// Which records have the field; `None`: all.
    pub present: Option<Vec<bool>>,
}

/// Keys to read and what of their records to return.
#[derive(Clone, Debug, Default)]
pub struct GetRequest {
    /// Keys; duplicates are allowed.
    pub keys: Vec<Box<[u8]>>,
    /// Return the vectors.
    pub with_data: bool,
    /// Return the metadata.
    pub with_metadata: bool,
}

/// One record as returned by get and list.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    /// The record's key.
    pub key: Bytes,
    /// One entry per vector field, `None` where the record lacks it; empty unless data was asked for.
    pub vectors: Vec<Option<Vec<f32>>>,
    /// Metadata as it was put; `None` also when it was not asked for.
    pub metadata: Option<Bytes>,
}

/// A nearest-records query.
#[derive(Clone, Debug)]
pub struct Query {
    /// Which vector field, by position in the schema.
    pub field: usize,
    /// The query vector; its length is the field's dimension.
    pub vector: Vec<f32>,
    /// How many records to return at most.
    pub top_k: usize,
    /// Only records that match are candidates.
    pub filter: Filter,
    /// Return the metadata of the winners.
    pub with_metadata: bool,
    /// How sure to be that no nearer record is missed.
    pub precision: Precision,
}

/// How sure a query is to be that no nearer record is missed. However it is set, it returns as many
/// records as there are, up to `top_k`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Precision {
    /// As the engine is set ([`crate::Options::recall`]).
    #[default]
    Usual,
    /// This share of the nearest records on average, above 0 and at most 1.
    Recall(f32),
    /// All of them: every record is looked at.
    Exact,
}

/// The answer of a query.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// Nearest first.
    pub hits: Vec<Hit>,
    /// How they were found.
    pub explain: Explain,
}

/// How a query was answered, over all that took part.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Explain {
    /// Segments whose clusters were looked into.
    pub segments_probed: usize,
    /// Segments of which every matching record was looked at, because they are few.
    pub segments_matched: usize,
    /// Segments that were scanned whole.
    pub segments_scanned: usize,
    /// Segments without a matching record.
    pub segments_skipped: usize,
    /// Records whose exact distance was computed in a scan.
    pub rows_scanned: usize,
    /// Posting lists that were read.
    pub lists: usize,
    /// Posting lists without a matching record, left unread.
    pub lists_skipped: usize,
    /// 1-bit codes that were compared.
    pub codes: usize,
    /// 8-bit codes that were compared.
    pub row_codes: usize,
    /// Candidates whose exact distance decided.
    pub candidates: usize,
    /// Bytes of codes and vectors that were gone over.
    pub bytes: u64,
    /// Waits for reads: of the disk tier or the store.
    pub waves: usize,
    /// Parts that were read then; neighbours share a request.
    pub reads: usize,
    /// Their bytes.
    pub bytes_read: u64,
    /// Estimated share of the nearest records that was found.
    pub recall: f32,
}

impl Explain {
    /// Vectors whose exact distance was computed.
    pub fn rows_compared(&self) -> usize {
        self.rows_scanned + self.candidates
    }

    /// Adds what was done elsewhere for the same query.
    pub(crate) fn add(&mut self, other: &Self) {
        self.segments_probed += other.segments_probed;
        self.segments_matched += other.segments_matched;
        self.segments_scanned += other.segments_scanned;
        self.segments_skipped += other.segments_skipped;
        self.rows_scanned += other.rows_scanned;
        self.lists += other.lists;
        self.lists_skipped += other.lists_skipped;
        self.codes += other.codes;
        self.row_codes += other.row_codes;
        self.candidates += other.candidates;
        self.bytes += other.bytes;
        self.waves = self.waves.max(other.waves);
        self.reads += other.reads;
        self.bytes_read += other.bytes_read;
        self.recall = self.recall.min(other.recall);
    }
}

/// One answer of a query.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// The record's key.
    pub key: Bytes,
    /// Distance as the wire shows it: Euclidean length, 1 - cos, or the negated inner product.
    pub distance: f32,
    /// Metadata, if it was asked for and the record has any.
    pub metadata: Option<Bytes>,
}

/// A place in the listing order, which is (hash of the key, key).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// [`vb_search::key_hash`] of the key.
    pub hash: u64,
    /// The key.
    pub key: Bytes,
}

/// One page of a listing.
#[derive(Clone, Debug)]
pub struct ListRequest {
    /// Which part of the index, below `segment_count`.
    pub segment_index: u32,
    /// Into how many equal ranges of the key hash the index is divided, at least 1.
    pub segment_count: u32,
    /// Start after this place.
    pub after: Option<Position>,
    /// Most rows on the page.
    pub max: usize,
    /// The page ends once its rows (keys, vectors and metadata as returned) reach this many bytes;
    /// at least one row is returned.
    pub bytes_max: usize,
    /// Only records that match are listed.
    pub filter: Filter,
    /// Return the vectors.
    pub with_data: bool,
    /// Return the metadata.
    pub with_metadata: bool,
}

/// Rows in listing order.
#[derive(Clone, Debug, Default)]
pub struct ListPage {
    /// The rows.
    pub rows: Vec<Row>,
    /// Where the next page starts after; `None`: nothing follows.
    pub next: Option<Position>,
}
