//! Chunks: the memtable's records, by column, in arrival order.
//!
//! A chunk only grows, and only while it is the last of its memtable; readers hold an older copy of
//! it meanwhile. What changes afterwards is which of its rows are dead, kept apart in
//! [`ChunkView`], so that overwriting a record copies some bits and never any vectors.

mod known;
mod runs;

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use bytes::{Bytes, BytesMut};
use roaring::RoaringBitmap;
use vb_kernel::Kernels;
use vb_search::ann::Params;
use vb_search::{
    AttributeTable, Attributes, DocId, Docs, Metric, RowFilter, Rows, Schema, key_hash, row_norm,
};

use self::known::Shared;
pub(crate) use self::runs::{Run, coded_runs, runs};
use super::event::{FieldRows, PutRows};

/// A chunk takes no further rows at this many bytes of vectors: what one small put copies at most.
const VECTOR_BYTES_FULL: usize = 256 << 10;
/// The same for records without vectors.
const ROWS_FULL: usize = 2048;
/// What a record costs beside its bytes: handles, hash, map entry.
const ROW_OVERHEAD: usize = 160;

/// Some records by column; row numbers are the document ids of the memtable's scans.
#[derive(Clone, Debug)]
pub(crate) struct Chunk {
    keys: Vec<Bytes>,
    hashes: Vec<u64>,
    metadata: Vec<Option<Bytes>>,
    attributes: Vec<Arc<Attributes>>,
    fields: Vec<Column>,
    /// Rows by (hash, key), made when a listing first asks for it.
    order: OnceLock<Box<[DocId]>>,
    /// Attributes of the run of full chunks that begins with this one, made when a filter of many tests
    /// first asks for it.
    table: OnceLock<Arc<AttributeTable>>,
    /// What queries know of that run, and of the piece of a run that begins with this one.
    run: Arc<Shared>,
    piece: Arc<Shared>,
}

/// One vector field.
#[derive(Clone, Debug)]
struct Column {
    dimension: usize,
    /// Bytes of a vector and of the codes that queries may make of it, about.
    row_bytes: usize,
    /// Row-major.
    values: Vec<f32>,
    /// One per stored vector for cosine, else empty.
    norms: Vec<f32>,
    /// The row of each stored vector, once a row lacks the field; `None`: every row has it.
    rows: Option<Vec<DocId>>,
}

/// A chunk and which of its rows are dead (overwritten or deleted).
#[derive(Clone, Debug)]
pub(crate) struct ChunkView {
    pub(crate) chunk: Arc<Chunk>,
    pub(crate) dead: Arc<RoaringBitmap>,
}

/// The rows of a put, made ready to be copied into chunks: its small values no longer share the
/// log slot's memory, its keys are hashed. Only keys and hashes are left once it was appended.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) keys: Vec<Bytes>,
    pub(crate) hashes: Vec<u64>,
    metadata: Vec<Option<Bytes>>,
    attributes: Vec<Arc<Attributes>>,
    fields: Vec<FieldRows>,
    /// Per field: how many vectors were copied so far.
    copied: Vec<usize>,
}

impl Incoming {
    pub(crate) fn new(rows: PutRows) -> Self {
        let hashes = rows.keys.iter().map(|key| key_hash(key)).collect();
        Self {
            keys: gather(&rows.keys),
            hashes,
            metadata: gather_some(rows.metadata),
            attributes: share(rows.attributes),
            copied: vec![0; rows.fields.len()],
            fields: rows.fields,
        }
    }
}

impl Incoming {
    /// Lets go of what was copied: the vectors share the memory of a whole log slot, and a replay
    /// has all slots at hand.
    fn release(&mut self) {
        self.metadata = Vec::new();
        self.attributes = Vec::new();
        self.fields = Vec::new();
    }
}

/// What a record takes beside its vectors.
fn small_bytes(key: &[u8], metadata: Option<&[u8]>, attributes: &Attributes) -> usize {
    ROW_OVERHEAD + key.len() + metadata.map_or(0, <[u8]>::len) + attributes.heap_bytes()
}

/// Copies byte strings into one buffer and slices it.
pub(crate) fn gather(parts: &[Bytes]) -> Vec<Bytes> {
    let mut buffer = BytesMut::with_capacity(parts.iter().map(Bytes::len).sum());
    for part in parts {
        buffer.extend_from_slice(part);
    }
    let mut buffer = buffer.freeze();
    parts.iter().map(|part| buffer.split_to(part.len())).collect()
}

fn gather_some(parts: Vec<Option<Bytes>>) -> Vec<Option<Bytes>> {
    let some: Vec<Bytes> = parts.iter().flatten().cloned().collect();
    let mut gathered = gather(&some).into_iter();
    parts.into_iter().map(|part| part.and_then(|_| gathered.next())).collect()
}

fn share(attributes: Vec<Attributes>) -> Vec<Arc<Attributes>> {
    let empty = Arc::new(Attributes::default());
    let shared = |attributes: Attributes| {
        let any = attributes.iter().next().is_some();
        if any { Arc::new(attributes) } else { Arc::clone(&empty) }
    };
    attributes.into_iter().map(shared).collect()
}

impl Chunk {
    fn new(schema: &Schema) -> Self {
        let column = |field: &vb_search::VectorField| Column {
            dimension: field.dimension as usize,
            row_bytes: field.dimension as usize * 4
                + Params::new(field.metric, field.dimension as usize).bytes_per_row(),
            values: Vec::new(),
            norms: Vec::new(),
            rows: None,
        };
        Self {
            keys: Vec::new(),
            hashes: Vec::new(),
            metadata: Vec::new(),
            attributes: Vec::new(),
            fields: schema.vector_fields.iter().map(column).collect(),
            order: OnceLock::new(),
            table: OnceLock::new(),
            run: Arc::new(Shared::new(schema.vector_fields.len())),
            piece: Arc::new(Shared::new(schema.vector_fields.len())),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(crate) fn key(&self, row: DocId) -> &Bytes {
        &self.keys[row as usize]
    }

    pub(crate) fn hash(&self, row: DocId) -> u64 {
        self.hashes[row as usize]
    }

    /// All rows in listing order, which is (hash, key).
    pub(crate) fn order(&self) -> &[DocId] {
        self.order.get_or_init(|| {
            let mut rows: Box<[DocId]> = (0..doc_id(self.len())).collect();
            rows.sort_unstable_by_key(|row| (self.hash(*row), self.key(*row)));
            rows
        })
    }

    pub(crate) fn metadata(&self, row: DocId) -> Option<&Bytes> {
        self.metadata[row as usize].as_ref()
    }

    pub(crate) fn attributes(&self, row: DocId) -> &Attributes {
        &self.attributes[row as usize]
    }

    /// The row's vector of a field, if it has one.
    pub(crate) fn vector(&self, field: usize, row: DocId) -> Option<&[f32]> {
        let column = &self.fields[field];
        let at = match &column.rows {
            None => row as usize,
            Some(rows) => rows.binary_search(&row).ok()?,
        };
        Some(&column.values[at * column.dimension..(at + 1) * column.dimension])
    }

    /// How many vectors a field has.
    pub(crate) fn vector_count(&self, field: usize) -> usize {
        let column = &self.fields[field];
        column.rows.as_ref().map_or(self.len(), Vec::len)
    }

    /// The row of a field's vector.
    pub(crate) fn doc_of(&self, field: usize, at: usize) -> DocId {
        self.fields[field].rows.as_ref().map_or_else(|| doc_id(at), |rows| rows[at])
    }

    /// A range of a field's vectors, for a scan.
    pub(crate) fn rows(&self, field: usize, range: Range<usize>) -> Rows<'_> {
        let column = &self.fields[field];
        Rows {
            values: &column.values[range.start * column.dimension..range.end * column.dimension],
            norms: (!column.norms.is_empty()).then(|| &column.norms[range.clone()]),
            docs: match &column.rows {
                None => Docs::Sequence { start: doc_id(range.start), len: range.len() },
                Some(rows) => Docs::Ids(&rows[range]),
            },
        }
    }

    /// Gives back room for further rows: there will be none.
    fn shrink(&mut self) {
        self.keys.shrink_to_fit();
        self.hashes.shrink_to_fit();
        self.metadata.shrink_to_fit();
        self.attributes.shrink_to_fit();
        for column in &mut self.fields {
            column.values.shrink_to_fit();
            column.norms.shrink_to_fit();
            if let Some(rows) = &mut column.rows {
                rows.shrink_to_fit();
            }
        }
    }

    /// Bytes of a row, about, as they count against the memtable.
    pub(crate) fn row_bytes(&self, row: DocId) -> usize {
        let has =
            |(field, column): (usize, &Column)| self.vector(field, row).map(|_| column.row_bytes);
        let metadata = self.metadata(row).map(AsRef::as_ref);
        small_bytes(self.key(row), metadata, self.attributes(row))
            + self.fields.iter().enumerate().filter_map(has).sum::<usize>()
    }

    fn is_full(&self) -> bool {
        let bytes: usize = self.fields.iter().map(|column| column.values.len() * 4).sum();
        bytes >= VECTOR_BYTES_FULL || self.len() >= ROWS_FULL
    }

    /// Copies one incoming record; returns the bytes it takes.
    fn push(&mut self, schema: &Schema, kernels: Kernels, from: &mut Incoming, at: usize) -> usize {
        let row = doc_id(self.len());
        self.order.take();
        let mut bytes =
            small_bytes(&from.keys[at], from.metadata[at].as_deref(), &from.attributes[at]);
        for (number, column) in self.fields.iter_mut().enumerate() {
            let rows = &from.fields[number];
            if !rows.has(at) {
                column.skip(row);
                continue;
            }
            let start = from.copied[number] * rows.row_bytes();
            let metric = schema.vector_fields[number].metric;
            column.push(kernels, metric, row, &rows.values[start..start + rows.row_bytes()]);
            from.copied[number] += 1;
            bytes += column.row_bytes;
        }
        self.keys.push(from.keys[at].clone());
        self.hashes.push(from.hashes[at]);
        self.metadata.push(from.metadata[at].take());
        self.attributes.push(Arc::clone(&from.attributes[at]));
        bytes
    }
}

impl Column {
    /// The row lacks the field: from now on rows are named.
    fn skip(&mut self, row: DocId) {
        self.rows.get_or_insert_with(|| (0..row).collect());
    }

    fn push(&mut self, kernels: Kernels, metric: Metric, row: DocId, bytes: &[u8]) {
        let (values, _) = bytes.as_chunks::<4>();
        let start = self.values.len();
        self.values.extend(values.iter().map(|value| f32::from_le_bytes(*value)));
        if metric == Metric::Cosine {
            self.norms.push(row_norm(kernels, &self.values[start..]));
        }
        if let Some(rows) = &mut self.rows {
            rows.push(row);
        }
    }
}

impl ChunkView {
    pub(crate) fn is_dead(&self, row: DocId) -> bool {
        self.dead.contains(row)
    }

    /// Marks a row dead; false if it was already.
    pub(crate) fn kill(&mut self, row: DocId) -> bool {
        !self.dead.contains(row) && Arc::make_mut(&mut self.dead).insert(row)
    }

    pub(crate) fn live(&self) -> u64 {
        self.chunk.len() as u64 - self.dead.len()
    }

    /// The live rows that the filter matches.
    pub(crate) fn select(&self, filter: &RowFilter<'_>) -> RoaringBitmap {
        let matches = |row: &DocId| filter.matches(self.chunk.attributes(*row));
        let mut selected = RoaringBitmap::new();
        selected.extend(self.live_rows().filter(matches));
        selected
    }

    pub(crate) fn live_rows(&self) -> impl Iterator<Item = DocId> {
        (0..doc_id(self.chunk.len())).filter(|row| !self.is_dead(*row))
    }
}

/// Appends every incoming record, opening new chunks as they fill. Returns where each went, in
/// order, and the bytes they take.
pub(crate) fn append(
    chunks: &mut Vec<ChunkView>,
    schema: &Schema,
    kernels: Kernels,
    incoming: &mut Incoming,
) -> (Vec<Place>, usize) {
    let mut bytes = 0;
    let mut places = Vec::with_capacity(incoming.keys.len());
    let mut at = 0;
    while at < incoming.keys.len() {
        if chunks.last().is_none_or(|last| last.chunk.is_full()) {
            chunks.push(ChunkView { chunk: Arc::new(Chunk::new(schema)), dead: Arc::default() });
        }
        let number = u32::try_from(chunks.len() - 1).expect("a memtable is far below 2^32 chunks");
        let last = chunks.last_mut().expect("a chunk was just made sure of");
        let chunk = Arc::make_mut(&mut last.chunk);
        while at < incoming.keys.len() && !chunk.is_full() {
            places.push(Place { chunk: number, row: doc_id(chunk.len()) });
            bytes += chunk.push(schema, kernels, incoming, at);
            at += 1;
        }
        if chunk.is_full() {
            chunk.shrink();
        }
    }
    incoming.release();
    (places, bytes)
}

/// Where a record stands in a memtable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) chunk: u32,
    pub(crate) row: DocId,
}

/// What a delete of a key costs until it is folded.
pub(crate) fn delete_bytes(key: &[u8]) -> usize {
    key.len() + 64
}

fn doc_id(row: usize) -> DocId {
    DocId::try_from(row).expect("a chunk is far below 2^32 rows")
}

#[cfg(test)]
mod tests {
    use vb_search::{Filter, Scalar, Test, Value};

    use super::super::event::{IndexEvent, decode, encode_put};
    use super::super::tests::{batch, kernels, schema};
    use super::*;

    fn chunks(count: i64) -> Vec<ChunkView> {
        let keys: Vec<String> = (0..count).map(|number| format!("{number}")).collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let mut batch = batch(&keys);
        let value = |number: i64| Value::One(Scalar::Integer(number % 100));
        let attributes = |number| Attributes::from_pairs(vec![("n".into(), value(number))]);
        batch.attributes = (0..count).map(attributes).collect();
        let Ok(IndexEvent::Put(rows)) = decode(&schema(), encode_put(&schema(), &batch)) else {
            panic!("a put decodes as a put");
        };
        let mut chunks = Vec::new();
        append(&mut chunks, &schema(), kernels(), &mut Incoming::new(rows));
        chunks
    }

    #[test]
    fn runs_find_what_rows_find() {
        let mut chunks = chunks(7000);
        for row in (0..2048).step_by(3) {
            chunks[1].kill(row);
        }
        let test =
            |number| Filter::Test { key: "n".into(), test: Test::Eq(Scalar::Integer(number)) };
        let filter = Filter::Or((0..40).map(|number| test(2 * number)).collect());
        let rows = RowFilter::new(&filter);
        let runs = runs(&chunks);
        assert_eq!(runs.iter().filter(|run| run.codes().is_some()).count(), 3);
        // Codes or none, every chunk is in one run, in order.
        let of = |runs: Vec<Run<'_>>| runs.iter().map(|run| run.chunks().len()).collect::<Vec<_>>();
        assert_eq!(of(runs.clone()), [1, 1, 1, 1]);
        let by_runs: Vec<_> =
            runs.into_iter().flat_map(|run| run.select(&filter, &rows, true)).collect();
        let by_rows: Vec<_> = chunks.iter().map(|view| Arc::new(view.select(&rows))).collect();
        assert_eq!(by_runs, by_rows);
        assert!(by_rows.iter().all(|rows| !rows.is_empty()));
    }

    #[test]
    fn what_a_filter_matched_is_known_until_a_row_dies() {
        let mut chunks = chunks(5000);
        let test =
            |number| Filter::Test { key: "n".into(), test: Test::Eq(Scalar::Integer(number)) };
        let (filter, other) = (test(7), test(8));
        let (rows, other_rows) = (RowFilter::new(&filter), RowFilter::new(&other));
        let first = |chunks: &[ChunkView]| runs(chunks)[0].select(&filter, &rows, false);
        let mask = |chunks: &[ChunkView], filter: &Filter, allowed: &[Arc<RoaringBitmap>]| {
            let allowed: Vec<_> = allowed.iter().cloned().map(Some).collect();
            runs(chunks)[0].row_mask(0, filter, &allowed).expect("some rows are left out")
        };
        assert!(!runs(&chunks)[0].knows(&filter));
        let matching = first(&chunks);
        assert!(runs(&chunks)[0].knows(&filter) && !runs(&chunks)[0].knows(&other));
        assert!(Arc::ptr_eq(&matching[0], &first(&chunks)[0]), "found once");
        let rows_of = mask(&chunks, &filter, &matching);
        assert!(Arc::ptr_eq(&rows_of, &mask(&chunks, &filter, &matching)), "made once");
        assert_eq!(rows_of.rows().collect::<Vec<_>>(), matching[0].iter().collect::<Vec<_>>());
        let others = runs(&chunks)[0].select(&other, &other_rows, true);
        assert!(others[0].is_disjoint(&matching[0]));
        chunks[0].kill(7);
        assert!(!runs(&chunks)[0].knows(&filter));
        let fewer = first(&chunks);
        assert_eq!(matching[0].len() - fewer[0].len(), 1);
        assert!(!mask(&chunks, &filter, &fewer).contains(7));
        assert!(runs(&chunks).last().is_some_and(|open| {
            open.select(&filter, &rows, true);
            !open.knows(&filter)
        }));
    }

    /// Chunks of vectors of 1 KiB, full at 256 of them.
    fn wide_chunks(count: usize) -> Vec<ChunkView> {
        let mut schema = schema();
        schema.vector_fields[0].dimension = 256;
        let keys: Vec<String> = (0..count).map(|number| format!("{number}")).collect();
        let mut batch = batch(&keys.iter().map(String::as_str).collect::<Vec<_>>());
        batch.vectors[0].values = vec![1.0; count * 256];
        let Ok(IndexEvent::Put(rows)) = decode(&schema, encode_put(&schema, &batch)) else {
            panic!("a put decodes as a put");
        };
        let mut chunks = Vec::new();
        append(&mut chunks, &schema, kernels(), &mut Incoming::new(rows));
        chunks
    }

    #[test]
    fn whole_runs_without_codes_are_cut_into_pieces() {
        let chunks = wide_chunks(256 * 6 + 100);
        let lengths = |runs: Vec<Run<'_>>| {
            runs.into_iter().map(|run| (run.chunks().len(), run.codes().is_some())).collect()
        };
        let runs: Vec<_> = lengths(runs(&chunks));
        assert_eq!(runs, [(4, true), (1, true), (1, true), (1, false)]);
        let coded: Vec<_> = lengths(coded_runs(&chunks, 0));
        let piece = (1, true);
        assert_eq!(coded, [piece, piece, piece, piece, piece, piece, (1, false)]);
    }
}
