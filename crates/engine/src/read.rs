//! Records by key, and pages of the listing.
//!
//! The listing order is (hash of the key, key). Every part of a snapshot yields its live, matching
//! records in that order, and a page merges them. A memtable as a whole is not kept in that order:
//! each chunk sorts its rows once, when it is first listed, and a page starts by a binary search in
//! every chunk.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::iter::Peekable;

use bytes::Bytes;
use roaring::RoaringBitmap;
use vb_search::{DocId, Filter, MetadataCursor, RowFilter, Schema, key_hash};

use crate::index::chunk::ChunkView;
use crate::index::view::{Found, Published, SegmentView, Source, View};
use crate::query::{Damaged, Matches, matches};
use crate::requests::{GetRequest, ListPage, ListRequest, Position, Row};

/// What of a record to return.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    data: bool,
    metadata: bool,
}

/// Reads records by key. Called on the CPU pool.
pub(crate) fn get(
    published: &Published,
    schema: &Schema,
    request: &GetRequest,
) -> Result<Vec<Option<Row>>, Damaged> {
    let hashed: Vec<(u64, &[u8])> =
        request.keys.iter().map(|key| (key_hash(key), key.as_ref())).collect();
    let (view, found) = published.find(&hashed);
    let wanted = Wanted { data: request.with_data, metadata: request.with_metadata };
    let mut reader = RowReader::new(&view, schema, wanted);
    let read = |found: Option<Found>| found.map(|at| reader.read(at.source, at.doc)).transpose();
    found.into_iter().map(read).collect()
}

/// Reads rows of a snapshot; near ones share the work of unpacking a metadata block.
struct RowReader<'a> {
    view: &'a View,
    fields: usize,
    wanted: Wanted,
    /// One per segment.
    metadata: Vec<MetadataCursor<'a>>,
}

impl<'a> RowReader<'a> {
    fn new(view: &'a View, schema: &Schema, wanted: Wanted) -> Self {
        Self {
            view,
            fields: if wanted.data { schema.vector_fields.len() } else { 0 },
            wanted,
            metadata: view.segments.iter().map(|view| view.segment.metadata_cursor()).collect(),
        }
    }

    fn read(&mut self, number: usize, doc: DocId) -> Result<Row, Damaged> {
        let source = self.view.source(number);
        let vector = |field| source.vector(field, doc).map(<[f32]>::to_vec);
        Ok(Row {
            key: source.key_bytes(doc),
            vectors: (0..self.fields).map(vector).collect(),
            metadata: if self.wanted.metadata { self.metadata(number, doc)? } else { None },
        })
    }

    fn metadata(&mut self, number: usize, doc: DocId) -> Result<Option<Bytes>, Damaged> {
        match self.view.source(number) {
            Source::Chunk(view) => Ok(view.chunk.metadata(doc).cloned()),
            Source::Segment(view) => self.metadata[number]
                .get(doc)
                .map_err(|cause| Damaged { segment: view.meta.name, cause }),
        }
    }
}

fn row_bytes(row: &Row) -> usize {
    let vectors: usize = row.vectors.iter().flatten().map(|vector| vector.len() * 4).sum();
    row.key.len() + vectors + row.metadata.as_ref().map_or(0, Bytes::len)
}

/// The key hashes of part `index` of `count`: equal ranges of [0, 2^64), both ends included.
fn hash_range(index: u32, count: u32) -> (u64, u64) {
    let start = |part: u128| (part << 64).div_ceil(u128::from(count.max(1)));
    let first = start(u128::from(index));
    let last = start(u128::from(index) + 1) - 1;
    let clamp = |hash: u128| u64::try_from(hash).unwrap_or(u64::MAX);
    (clamp(first), clamp(last))
}

/// Where a page starts and ends.
#[derive(Clone, Debug)]
struct Bounds {
    first: u64,
    last: u64,
    after: Option<Position>,
}

impl Bounds {
    /// Whether the page starts after this place.
    fn is_after(&self, hash: u64, key: &[u8]) -> bool {
        let passed = |after: &Position| (hash, key) <= (after.hash, after.key.as_ref());
        hash < self.first || self.after.as_ref().is_some_and(passed)
    }
}

/// A record's place in the order and in the snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry<'a> {
    hash: u64,
    key: &'a [u8],
    source: usize,
    doc: DocId,
}

type Entries<'a> = Peekable<Box<dyn Iterator<Item = Entry<'a>> + 'a>>;

/// Reads one page. Called on the CPU pool.
pub(crate) fn list(
    view: &View,
    schema: &Schema,
    request: &ListRequest,
) -> Result<ListPage, Damaged> {
    let matches = segment_matches(view, &request.filter);
    let (first, last) = hash_range(request.segment_index, request.segment_count);
    let bounds = Bounds { first, last, after: request.after.clone() };
    let rows = RowFilter::new(&request.filter);
    let mut parts = parts(view, &matches, &rows, &bounds);
    let wanted = Wanted { data: request.with_data, metadata: request.with_metadata };
    let mut reader = RowReader::new(view, schema, wanted);
    let mut page = ListPage::default();
    let mut bytes = 0;
    let mut end = None;
    while let Some(entry) = peek_least(&mut parts) {
        let row = reader.read(entry.source, entry.doc)?;
        bytes += row_bytes(&row);
        let full = page.rows.len() >= request.max || bytes > request.bytes_max;
        if full && !page.rows.is_empty() {
            page.next = end;
            break;
        }
        end = Some(Position { hash: entry.hash, key: row.key.clone() });
        page.rows.push(row);
        take_least(&mut parts);
    }
    Ok(page)
}

/// Segments filter by their columns; memtable rows are tested as they come.
fn segment_matches(view: &View, filter: &Filter) -> Matches {
    let segments = View { segments: view.segments.clone(), ..View::default() };
    matches(&segments, filter)
}

fn parts<'a>(
    view: &'a View,
    matches: &'a Matches,
    filter: &'a RowFilter<'a>,
    bounds: &'a Bounds,
) -> Vec<Entries<'a>> {
    let mut parts: Vec<Entries<'a>> = Vec::with_capacity(view.segments.len() + 1);
    for (number, segment) in view.segments.iter().enumerate() {
        let entries = segment_entries(number, segment, matches[number].as_ref(), bounds);
        parts.push((Box::new(entries) as Box<dyn Iterator<Item = Entry<'a>> + 'a>).peekable());
    }
    let entries = memtable_entries(view, filter, bounds);
    parts.push((Box::new(entries) as Box<dyn Iterator<Item = Entry<'a>> + 'a>).peekable());
    parts
}

fn segment_entries<'a>(
    number: usize,
    view: &'a SegmentView,
    allowed: Option<&'a RoaringBitmap>,
    bounds: &'a Bounds,
) -> impl Iterator<Item = Entry<'a>> {
    let segment = &view.segment;
    let from_range = segment.rank_of_hash(bounds.first);
    let after = bounds.after.as_ref();
    let from_after = after.map_or(0, |after| segment.rank_after(after.hash, &after.key));
    (from_range.max(from_after)..segment.docs())
        .map(|rank| (segment.hash_at(rank), segment.doc_at(rank)))
        .take_while(|(hash, _)| *hash <= bounds.last)
        .filter(move |(_, doc)| {
            allowed.is_none_or(|allowed| allowed.contains(*doc)) && !view.deleted.contains(*doc)
        })
        .map(move |(hash, doc)| Entry { hash, key: segment.key(doc), source: number, doc })
}

/// Rows of all chunks in order: each chunk in its own order, a heap to merge them.
fn memtable_entries<'a>(
    view: &'a View,
    filter: &'a RowFilter<'a>,
    bounds: &'a Bounds,
) -> impl Iterator<Item = Entry<'a>> {
    let chunks = view.frozen.iter().chain(view.active.iter()).enumerate();
    let mut cursors: Vec<_> = chunks
        .map(|(number, chunk)| chunk_entries(view.segments.len() + number, chunk, filter, bounds))
        .collect();
    let heads = cursors.iter_mut().zip(0usize..);
    let mut heap: BinaryHeap<Reverse<(Entry<'a>, usize)>> =
        heads.filter_map(|(cursor, number)| Some(Reverse((cursor.next()?, number)))).collect();
    std::iter::from_fn(move || {
        let Reverse((least, number)) = heap.pop()?;
        heap.extend(cursors[number].next().map(|entry| Reverse((entry, number))));
        Some(least)
    })
}

fn chunk_entries<'a>(
    number: usize,
    view: &'a ChunkView,
    filter: &'a RowFilter<'a>,
    bounds: &'a Bounds,
) -> impl Iterator<Item = Entry<'a>> {
    let chunk = &view.chunk;
    let order = chunk.order();
    let start = order.partition_point(|row| bounds.is_after(chunk.hash(*row), chunk.key(*row)));
    order[start..]
        .iter()
        .take_while(|row| chunk.hash(**row) <= bounds.last)
        .filter(|row| !view.is_dead(**row) && filter.matches(chunk.attributes(**row)))
        .map(move |row| Entry {
            hash: chunk.hash(*row),
            key: chunk.key(*row),
            source: number,
            doc: *row,
        })
}

/// The part whose next record comes first.
fn least(parts: &mut [Entries<'_>]) -> Option<usize> {
    let heads = parts
        .iter_mut()
        .enumerate()
        .filter_map(|(number, part)| part.peek().map(|entry| (*entry, number)));
    heads.min().map(|(_, number)| number)
}

fn peek_least<'a>(parts: &mut [Entries<'a>]) -> Option<Entry<'a>> {
    let number = least(parts)?;
    parts[number].peek().copied()
}

fn take_least(parts: &mut [Entries<'_>]) {
    if let Some(number) = least(parts) {
        parts[number].next();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_ranges_are_disjoint_and_cover_everything() {
        for count in 1..=17 {
            let ranges: Vec<_> = (0..count).map(|index| hash_range(index, count)).collect();
            assert_eq!(ranges[0].0, 0);
            assert_eq!(ranges[count as usize - 1].1, u64::MAX);
            assert!(ranges.windows(2).all(|pair| pair[0].1 + 1 == pair[1].0), "{ranges:?}");
        }
        assert_eq!(hash_range(1, 2), (1 << 63, u64::MAX));
    }

    #[test]
    fn the_documented_example_key_is_in_the_second_half() {
        let (first, last) = hash_range(1, 2);
        assert!((first..=last).contains(&key_hash(b"vector-key-1")));
    }
}
