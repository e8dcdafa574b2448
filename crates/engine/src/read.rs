//! Records by key, and pages of the listing.
//!
//! The listing order is (hash of the key, key). Every source of a snapshot yields its live, matching
//! records in that order, and a page merges them. A memtable as a whole is not kept in that order:
//! each chunk sorts its rows once, when it is first listed, and a page starts by a binary search in
//! every chunk.
//!
//! Both calls find documents first, which takes keys and key indexes, and then read the rows: of
//! vectors and metadata only what holds these documents, a window at a time.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::iter::Peekable;
use std::sync::Arc;

use bytes::Bytes;
use roaring::RoaringBitmap;
use vb_search::{DocId, Filter, PartId, RowFilter, SectionKind, Segment, key_hash};

use crate::error::Error;
use crate::fetch::{Job, Loaded, Missing, Origin, Step, Wanted, window_bytes};
use crate::index::chunk::ChunkView;
use crate::index::view::{Found, Published, SegmentView, Snapshot, Source, View};
use crate::matching::{self, Matches};
use crate::requests::{GetRequest, ListPage, ListRequest, Position, Row};

const KEYS: PartId = PartId::Section(SectionKind::KEYS, 0);
const KEY_INDEX: PartId = PartId::Section(SectionKind::KEY_INDEX, 0);

/// What of a record to return.
#[derive(Clone, Copy, Debug)]
struct Columns {
    data: bool,
    metadata: bool,
}

impl Columns {
    /// What it takes to find out where a segment's rows lie.
    fn directories(self, fields: usize, segment: &Segment) -> Vec<PartId> {
        let of_field = |field: usize| {
            let number = u8::try_from(field).expect("a schema has at most 3 vector fields");
            let lists = PartId::Section(SectionKind::LISTS, number);
            [Some(lists), segment.vector_directory(field)].into_iter().flatten()
        };
        let fields = if self.data { fields } else { 0 };
        let metadata = self.metadata.then(|| segment.metadata_directory());
        (0..fields).flat_map(of_field).chain(metadata).collect()
    }

    /// The parts that hold a row. Needs the directories.
    fn of_row(self, fields: usize, segment: &Segment, doc: DocId) -> Vec<PartId> {
        let extent = |field| Some(segment.vector_part(field, segment.extent_of(field, doc)?));
        let fields = if self.data { fields } else { 0 };
        let metadata = self.metadata.then(|| segment.metadata_part(doc)).flatten();
        (0..fields).filter_map(extent).chain(metadata).collect()
    }
}

/// Reads rows of a snapshot.
struct Rows<'a> {
    snapshot: Snapshot<'a>,
    loaded: &'a Loaded,
    fields: usize,
    columns: Columns,
}

impl<'a> Rows<'a> {
    fn new(view: &'a View, segments: &'a [Segment], loaded: &'a Loaded, columns: Columns) -> Self {
        let fields = loaded.origin().schema.vector_fields.len();
        Self { snapshot: Snapshot { view, segments }, loaded, fields, columns }
    }

    /// Needs keys, and what [`Columns`] says.
    fn read(&self, at: Found) -> Result<Row, Error> {
        let source = self.snapshot.source(at.source);
        let fields = if self.columns.data { self.fields } else { 0 };
        let vector = |field| source.vector(field, at.doc).map(<[f32]>::to_vec);
        Ok(Row {
            key: source.key_bytes(at.doc),
            vectors: (0..fields).map(vector).collect(),
            metadata: if self.columns.metadata { self.metadata(at)? } else { None },
        })
    }

    fn metadata(&self, at: Found) -> Result<Option<Bytes>, Error> {
        match self.snapshot.source(at.source) {
            Source::Chunk(view) => Ok(view.chunk.metadata(at.doc).cloned()),
            Source::Segment(_, segment) => {
                segment.metadata(at.doc).map_err(|cause| self.loaded.corrupt(at.source, cause))
            }
        }
    }
}

/// What a part of a row is counted with when windows are cut: about one extent.
const PART_BYTES: usize = 16 << 10;

/// How many of the rows, at least one, are read together, and the parts that hold them.
fn next_window(
    loaded: &Loaded,
    columns: Columns,
    rows: impl Iterator<Item = Option<Found>>,
) -> (usize, BTreeSet<Wanted>) {
    let parts_max = window_bytes(&loaded.origin().context) / PART_BYTES;
    let fields = loaded.origin().schema.vector_fields.len();
    let (mut count, mut window) = (0, BTreeSet::new());
    for row in rows {
        let in_segment = row.and_then(|at| Some((at, loaded.segments().get(at.source)?)));
        if let Some((at, segment)) = in_segment {
            let parts = columns.of_row(fields, segment, at.doc).into_iter();
            let before = window.len();
            window.extend(parts.map(|part| (at.source, part)));
            if window.len() > before && window.len() > parts_max && count > 0 {
                break;
            }
        }
        count += 1;
    }
    (count, window)
}

/// Records being read by their keys.
pub(crate) struct Lookup {
    request: GetRequest,
    hashes: Vec<u64>,
    view: Arc<View>,
    loaded: Loaded,
    /// Where each key's record is, as far as is known; first in the memtables alone.
    found: Vec<Option<Found>>,
    in_segments: bool,
    rows: Vec<Option<Row>>,
}

impl Lookup {
    /// The segments that it will most likely meet are good enough to prepare it.
    pub(crate) fn new(origin: Origin, segments: Arc<[SegmentView]>, request: GetRequest) -> Self {
        Self {
            hashes: request.keys.iter().map(|key| key_hash(key)).collect(),
            view: Arc::default(),
            loaded: Loaded::new(origin, segments),
            found: vec![None; request.keys.len()],
            in_segments: false,
            rows: Vec::with_capacity(request.keys.len()),
            request,
        }
    }

    /// Takes the snapshot to read.
    pub(crate) fn start(mut self, published: &Published) -> Self {
        let keys: Vec<(u64, &[u8])> = self.keys().collect();
        let (view, found) = published.find_in_memtables(&keys);
        self.loaded.move_to(Arc::clone(&view.segments));
        (self.view, self.found) = (view, found);
        self
    }

    fn columns(&self) -> Columns {
        Columns { data: self.request.with_data, metadata: self.request.with_metadata }
    }

    fn keys(&self) -> impl Iterator<Item = (u64, &[u8])> {
        self.hashes.iter().copied().zip(self.request.keys.iter().map(AsRef::as_ref))
    }

    /// Segments in whose range a key lies that is in no memtable, and these keys' hashes.
    fn candidates(&self) -> Vec<(usize, Vec<u64>)> {
        let absent = self.hashes.iter().zip(&self.found).filter(|(_, found)| found.is_none());
        let absent: Vec<u64> = absent.map(|(hash, _)| *hash).collect();
        let of_view = |(number, view): (usize, &SegmentView)| {
            let hashes = absent.iter().copied().filter(|hash| view.may_hold(*hash));
            (number, hashes.collect::<Vec<_>>())
        };
        let all = self.loaded.views().iter().enumerate().map(of_view);
        all.filter(|(_, hashes)| !hashes.is_empty()).collect()
    }

    /// The live document of a key in the segments.
    fn find_in_segments(&self, hash: u64, key: &[u8]) -> Option<Found> {
        let numbered = self.view.segments.iter().zip(self.loaded.segments()).enumerate();
        let mut live = numbered.filter_map(|(source, (view, segment))| {
            let possible = view.may_hold(hash) && segment.may_contain(hash);
            let doc = if possible { segment.find_hashed(hash, key)? } else { return None };
            (!view.deleted.contains(doc)).then_some(Found { source, doc })
        });
        live.next()
    }
}

impl Job for Lookup {
    type Output = Vec<Option<Row>>;

    /// Filters first; where a filter does not say no, keys, key index and directories.
    fn prepare(&mut self) -> Result<Option<Missing>, Error> {
        let candidates = self.candidates();
        let filter = |number: usize| (number, self.loaded.segments()[number].key_filter_part());
        let filters: Vec<Wanted> = candidates.iter().map(|(number, _)| filter(*number)).collect();
        if let Some(missing) = self.loaded.hold(filters)? {
            return Ok(Some(missing));
        }
        let fields = self.loaded.origin().schema.vector_fields.len();
        let mut wanted = Vec::new();
        for (number, hashes) in candidates {
            let segment = &self.loaded.segments()[number];
            if hashes.iter().any(|hash| segment.may_contain(*hash)) {
                let parts = self.columns().directories(fields, segment);
                wanted
                    .extend([KEYS, KEY_INDEX].into_iter().chain(parts).map(|part| (number, part)));
            }
        }
        self.loaded.hold(wanted)
    }

    fn advance(&mut self) -> Result<Step<Self::Output>, Error> {
        if !self.in_segments {
            if let Some(missing) = self.prepare()? {
                return Ok(Step::Read(missing));
            }
            let keys = self.keys().zip(&self.found);
            let find = |((hash, key), found): ((u64, &[u8]), &Option<Found>)| {
                found.or_else(|| self.find_in_segments(hash, key))
            };
            self.found = keys.map(find).collect();
            self.in_segments = true;
        }
        self.read_rows()
    }

    fn loaded(&mut self) -> &mut Loaded {
        &mut self.loaded
    }
}

impl Lookup {
    fn read_rows(&mut self) -> Result<Step<Vec<Option<Row>>>, Error> {
        while self.rows.len() < self.found.len() {
            let rest = &self.found[self.rows.len()..];
            let (count, wanted) = next_window(&self.loaded, self.columns(), rest.iter().copied());
            let segments = match self.loaded.with(wanted)? {
                Err(missing) => return Ok(Step::Read(missing)),
                Ok(segments) => segments,
            };
            let rows = Rows::new(&self.view, &segments, &self.loaded, self.columns());
            let read = rest[..count].iter().map(|at| at.map(|at| rows.read(at)).transpose());
            self.rows.extend(read.collect::<Result<Vec<_>, _>>()?);
        }
        Ok(Step::Done(std::mem::take(&mut self.rows)))
    }
}

/// A page being read.
pub(crate) struct Page {
    request: ListRequest,
    view: Arc<View>,
    loaded: Loaded,
    /// The page's records and one more, in order, once they are known.
    entries: Option<Vec<(u64, Found)>>,
    page: ListPage,
    bytes: usize,
}

impl Page {
    /// The segments that it will most likely meet are good enough to prepare it.
    pub(crate) fn new(origin: Origin, segments: Arc<[SegmentView]>, request: ListRequest) -> Self {
        Self {
            request,
            view: Arc::default(),
            loaded: Loaded::new(origin, segments),
            entries: None,
            page: ListPage::default(),
            bytes: 0,
        }
    }

    /// Takes the snapshot to read.
    pub(crate) fn start(mut self, view: Arc<View>) -> Self {
        self.loaded.move_to(Arc::clone(&view.segments));
        self.view = view;
        self
    }

    fn columns(&self) -> Columns {
        Columns { data: self.request.with_data, metadata: self.request.with_metadata }
    }

    fn bounds(&self) -> Bounds {
        let (first, last) = hash_range(self.request.segment_index, self.request.segment_count);
        Bounds { first, last, after: self.request.after.clone() }
    }
}

impl Job for Page {
    type Output = ListPage;

    /// Keys, key index and directories of the segments in the range; then what the filter needs of their attributes.
    fn prepare(&mut self) -> Result<Option<Missing>, Error> {
        let bounds = self.bounds();
        let fields = self.loaded.origin().schema.vector_fields.len();
        let is_filtered = !matches!(self.request.filter, Filter::All);
        let (mut wanted, mut unknown) = (Vec::new(), Vec::new());
        for (number, view) in self.loaded.views().iter().enumerate() {
            if bounds.overlap(view) {
                let parts = self.columns().directories(fields, &self.loaded.segments()[number]);
                let parts = [KEYS, KEY_INDEX].into_iter().chain(parts);
                wanted.extend(parts.map(|part| (number, part)));
                if is_filtered {
                    wanted.extend(matching::directory(&self.loaded, number));
                    unknown.extend((!view.knows(&self.request.filter)).then_some(number));
                }
            }
        }
        if let Some(missing) = self.loaded.hold(wanted)? {
            return Ok(Some(missing));
        }
        let blocks = matching::blocks(&self.loaded, &self.request.filter, unknown.into_iter());
        let missing = self.loaded.missing(blocks)?;
        Ok(Some(missing).filter(|missing| !missing.is_empty()))
    }

    fn advance(&mut self) -> Result<Step<ListPage>, Error> {
        if self.entries.is_none() {
            if let Some(missing) = self.prepare()? {
                return Ok(Step::Read(missing));
            }
            let bounds = self.bounds();
            let is_asked = |view: &SegmentView| bounds.overlap(view);
            match matching::of_segments(&mut self.loaded, &self.request.filter, is_asked)? {
                Ok(matches) => self.entries = Some(self.find_entries(&bounds, &matches)),
                Err(missing) => return Ok(Step::Read(missing)),
            }
        }
        self.read_rows()
    }

    fn loaded(&mut self) -> &mut Loaded {
        &mut self.loaded
    }
}

impl Page {
    fn find_entries(&self, bounds: &Bounds, matches: &Matches) -> Vec<(u64, Found)> {
        let snapshot = Snapshot { view: &self.view, segments: self.loaded.segments() };
        let filter = RowFilter::new(&self.request.filter);
        let mut parts = parts(snapshot, matches, &filter, bounds);
        let mut entries = Vec::new();
        while entries.len() <= self.request.max {
            let Some(entry) = take_least(&mut parts) else { break };
            entries.push((entry.hash, Found { source: entry.source, doc: entry.doc }));
        }
        entries
    }

    /// Segments filter by their columns; memtable rows are tested as they come.
    fn read_rows(&mut self) -> Result<Step<ListPage>, Error> {
        let entries = self.entries.take().expect("the entries were just found");
        let mut full = false;
        while !full && self.page.rows.len() < entries.len() {
            let rest = &entries[self.page.rows.len()..];
            let found = rest.iter().map(|(_, at)| Some(*at));
            let (count, wanted) = next_window(&self.loaded, self.columns(), found);
            let segments = match self.loaded.with(wanted)? {
                Err(missing) => {
                    self.entries = Some(entries);
                    return Ok(Step::Read(missing));
                }
                Ok(segments) => segments,
            };
            full = self.add_rows(&segments, &rest[..count])?;
        }
        Ok(Step::Done(std::mem::take(&mut self.page)))
    }

    /// Adds rows until the page is full: then it ends before the first that does not fit.
    fn add_rows(&mut self, segments: &[Segment], entries: &[(u64, Found)]) -> Result<bool, Error> {
        let rows = Rows::new(&self.view, segments, &self.loaded, self.columns());
        for (_, at) in entries {
            let row = rows.read(*at)?;
            self.bytes += row_bytes(&row);
            let full =
                self.page.rows.len() >= self.request.max || self.bytes > self.request.bytes_max;
            if let (true, Some(last)) = (full, self.page.rows.last()) {
                self.page.next =
                    Some(Position { hash: key_hash(&last.key), key: last.key.clone() });
                return Ok(true);
            }
            self.page.rows.push(row);
        }
        Ok(false)
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
    /// Whether a segment has hashes between the ends.
    fn overlap(&self, view: &SegmentView) -> bool {
        let (low, high) = view.meta.hashes;
        let first = self.after.as_ref().map_or(self.first, |after| self.first.max(after.hash));
        low <= self.last && high >= first
    }

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

fn parts<'a>(
    snapshot: Snapshot<'a>,
    matches: &'a Matches,
    filter: &'a RowFilter<'a>,
    bounds: &'a Bounds,
) -> Vec<Entries<'a>> {
    let view = snapshot.view;
    let mut parts: Vec<Entries<'a>> = Vec::with_capacity(view.segments.len() + 1);
    let segments = view.segments.iter().zip(snapshot.segments).enumerate();
    for (number, (view, segment)) in segments.filter(|(_, (view, _))| bounds.overlap(view)) {
        let source = Source::Segment(view, segment);
        let entries = segment_entries(number, source, segment, matches[number].as_deref(), bounds);
        parts.push((Box::new(entries) as Box<dyn Iterator<Item = Entry<'a>> + 'a>).peekable());
    }
    let entries = memtable_entries(view, filter, bounds);
    parts.push((Box::new(entries) as Box<dyn Iterator<Item = Entry<'a>> + 'a>).peekable());
    parts
}

fn segment_entries<'a>(
    number: usize,
    source: Source<'a>,
    segment: &'a Segment,
    allowed: Option<&'a RoaringBitmap>,
    bounds: &'a Bounds,
) -> impl Iterator<Item = Entry<'a>> {
    let from_range = segment.rank_of_hash(bounds.first);
    let after = bounds.after.as_ref();
    let from_after = after.map_or(0, |after| segment.rank_after(after.hash, &after.key));
    let is_listed = move |doc: DocId| {
        allowed.is_none_or(|allowed| allowed.contains(doc)) && !source.deleted().contains(doc)
    };
    (from_range.max(from_after)..segment.docs())
        .map(|rank| (segment.hash_at(rank), segment.doc_at(rank)))
        .take_while(|(hash, _)| *hash <= bounds.last)
        .filter(move |(_, doc)| is_listed(*doc))
        .map(move |(hash, doc)| Entry { hash, key: segment.key(doc), source: number, doc })
}

/// Rows of all chunks in order: each chunk in its own order, a heap to merge them.
fn memtable_entries<'a>(
    view: &'a View,
    filter: &'a RowFilter<'a>,
    bounds: &'a Bounds,
) -> impl Iterator<Item = Entry<'a>> {
    let chunks = view.chunks().enumerate();
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

fn take_least<'a>(parts: &mut [Entries<'a>]) -> Option<Entry<'a>> {
    let number = least(parts)?;
    parts[number].next()
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
