//! Searching segments by their clusters, and memtables by their codes: which rows are candidates, and how far each is exactly.
//!
//! ```text
//! targets --> lists of codes, by all targets together --> candidates --> their float rows --> ranks
//!   |   (missing: one wave)                               (missing: one wave, with the keys
//!   +-- rows that match, where they are few ---------------^            and metadata of the best)
//! ```
//!
//! Everything is found out by one thread without waiting when memory holds what is needed. Keys are
//! looked at last, and only those of candidates that may be answers.

use std::cell::RefCell;
use std::cmp::Ordering;
use std::sync::Arc;

use vb_search::ann::{self, Outcome, Request, RowCodes, RowMask, Searcher, Whole, Work};
use vb_search::{
    Candidate, CodesSource, Corrupt, DocId, KeyOrder, Part, PartId, Place, PreparedQuery,
    SectionKind, Segment, TopK, rank_row,
};

use crate::error::Error;
use crate::fetch::{Loaded, Missing, Wanted, window_bytes};
use crate::index::codes::Cell;
use crate::index::view::View;

/// Row codes are read list by list where this share of the rows counts, at least.
const SPARSE: f64 = 0.25;

/// About the size of an extent, for cutting candidates into windows.
const EXTENT_BYTES: usize = 8 << 10;

thread_local! {
    /// The scratch memory of this thread's searches.
    static SEARCHER: RefCell<Option<Searcher>> = const { RefCell::new(None) };
}

/// A segment, or a run of a memtable's chunks, to be searched.
#[derive(Debug)]
pub(super) struct Target {
    /// Number of the source; of a run, that of its first chunk.
    pub(super) source: usize,
    /// The codes of a run.
    pub(super) run: Option<Arc<[Cell]>>,
    /// Rows that count; `None`: all.
    pub(super) mask: Option<Arc<RowMask>>,
}

/// A segment that will be searched, before it is known which of its rows count.
#[derive(Clone, Copy, Debug)]
pub(super) struct Guess {
    pub(super) source: usize,
    /// The share of its rows that count, about.
    pub(super) share: f64,
}

impl Guess {
    fn part<'a>(&self, segments: &'a [Segment], field: usize) -> ann::Part<'a, Codes<'a>> {
        let segment = &segments[self.source];
        let index = segment.clusters(field).expect("it has a tree");
        let source = Codes::of_segment(segment, field, self.share);
        ann::Part { index, source, allowed: None }
    }
}

impl Target {
    fn part<'a>(&'a self, segments: &'a [Segment], field: usize) -> ann::Part<'a, Codes<'a>> {
        let allowed = self.mask.as_deref();
        match &self.run {
            None => {
                let segment = &segments[self.source];
                let index = segment.clusters(field).expect("targets have a tree");
                let count = allowed.map_or(index.rows(), RowMask::count);
                let share = f64::from(count) / f64::from(index.rows().max(1));
                ann::Part { index, source: Codes::of_segment(segment, field, share), allowed }
            }
            Some(cells) => {
                let codes = cells[field].get().expect("targets have codes");
                ann::Part { index: codes.index(), source: Codes::Run(codes.source()), allowed }
            }
        }
    }

    /// One of its rows, by the source that has it.
    fn row(&self, view: &View, field: usize, row: u32) -> Row {
        let mut found = Row { source: self.source, row: row as usize };
        while self.run.is_some() {
            let count = view.chunk(found.source).chunk.vector_count(field);
            if found.row < count {
                break;
            }
            found = Row { source: found.source + 1, row: found.row - count };
        }
        found
    }
}

/// Where the lists and codes of a target are.
#[derive(Clone, Copy, Debug)]
enum Codes<'a> {
    Segment(CodesSource<'a>),
    /// Of a segment of which few rows count: row codes of whole lists would be read for one or two of them.
    Sparse(CodesSource<'a>),
    Run(Whole<'a>),
}

impl<'a> Codes<'a> {
    /// Of a segment of which a share of the rows counts.
    fn of_segment(segment: &'a Segment, field: usize, share: f64) -> Self {
        let codes = segment.codes(field);
        if share < SPARSE { Self::Sparse(codes) } else { Self::Segment(codes) }
    }
}

impl ann::Source for Codes<'_> {
    #[inline]
    fn list(&self, list: u32) -> Option<&[u8]> {
        match self {
            Self::Segment(codes) | Self::Sparse(codes) => codes.list(list),
            Self::Run(codes) => codes.list(list),
        }
    }

    #[inline]
    fn row_codes(&self) -> RowCodes {
        match self {
            Self::Segment(codes) => codes.row_codes(),
            Self::Sparse(codes) => match codes.row_codes() {
                RowCodes::All => RowCodes::All,
                RowCodes::OfLists | RowCodes::None => RowCodes::None,
            },
            Self::Run(codes) => codes.row_codes(),
        }
    }

    #[inline]
    fn row(&self, row: u32) -> Option<&[u8]> {
        match self {
            Self::Segment(codes) | Self::Sparse(codes) => codes.row(row),
            Self::Run(codes) => codes.row(row),
        }
    }

    fn is_by_list(&self) -> bool {
        match self {
            Self::Segment(codes) | Self::Sparse(codes) => codes.is_by_list(),
            Self::Run(codes) => codes.is_by_list(),
        }
    }

    fn rows(&self, list: u32) -> Option<&[u8]> {
        match self {
            Self::Segment(codes) | Self::Sparse(codes) => codes.rows(list),
            Self::Run(codes) => codes.rows(list),
        }
    }
}

/// A row that may be among the nearest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) source: usize,
    pub(super) row: usize,
}

/// What to search for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish<'a> {
    pub(super) field: usize,
    pub(super) vector: &'a [f32],
    pub(super) top_k: usize,
    /// Share of the nearest to be found.
    pub(super) recall: f32,
    /// How this index's data differs from what probing expects.
    pub(super) calibration: f32,
    pub(super) with_metadata: bool,
}

impl Wish<'_> {
    fn request(&self) -> Request {
        Request {
            target: self.recall,
            calibration: self.calibration,
            ..Request::nearest(self.top_k)
        }
    }
}

/// The lists that a search of some segments will most likely look into first.
pub(super) fn likely_lists(loaded: &Loaded, wish: &Wish<'_>, guesses: &[Guess]) -> Vec<Wanted> {
    let segments = loaded.segments();
    let parts: Vec<_> = guesses.iter().map(|guess| guess.part(segments, wish.field)).collect();
    let shares: Vec<f32> = guesses.iter().map(|guess| guess.share as f32).collect();
    let kernels = loaded.origin().context.kernels;
    SEARCHER.with_borrow_mut(|searcher| {
        let searcher = searcher.get_or_insert_with(|| Searcher::new(kernels));
        searcher.foresee(wish.vector, &parts, &shares, &wish.request());
        missing(searcher, segments, wish.field, |part| guesses[part].source)
    })
}

/// What a searcher lacked, where `source` says which segment a part is of.
fn missing(
    searcher: &Searcher,
    segments: &[Segment],
    field: usize,
    source: impl Fn(usize) -> usize,
) -> Vec<Wanted> {
    let name = |part: u32, name: &dyn Fn(&Segment) -> PartId| {
        let source = source(part as usize);
        (source, name(&segments[source]))
    };
    let lists = searcher.missing().iter();
    let lists = lists.map(|&(part, list)| name(part, &|segment| segment.list_part(field, list)));
    let rows = searcher.missing_rows().iter();
    let rows = rows.map(|&(part, list)| name(part, &|segment| segment.rows_part(field, list)));
    lists.chain(rows).collect()
}

/// Compares two documents by their keys, in these segments.
pub(super) type SegmentKeyOrder<'a> = &'a (dyn Fn(&[Segment], Place, Place) -> Ordering + Sync);

/// The part of a search that goes by clusters.
#[derive(Debug, Default)]
pub(super) struct Probe {
    view: Arc<View>,
    targets: Vec<Target>,
    /// First the rows that match in segments where they are few; then what the clusters say.
    rows: Vec<Row>,
    searched: bool,
    /// Exact ranks, by the order of `rows`; of the best alone once all are `ranked`.
    ranks: Vec<Candidate>,
    ranked: bool,
    /// How many there were.
    candidates: usize,
    is_done: bool,
}

impl Probe {
    pub(super) fn new(view: Arc<View>, targets: Vec<Target>, matches: Vec<Row>) -> Self {
        Self { view, targets, rows: matches, ..Self::default() }
    }

    pub(super) fn is_done(&self) -> bool {
        self.is_done
    }

    /// Rows whose exact distance was computed.
    pub(super) fn candidates(&self) -> usize {
        self.candidates
    }

    /// Goes on as far as memory allows; `Some`: this has to be read first. At the end the best
    /// candidates are in `top`.
    pub(super) fn advance(
        &mut self,
        loaded: &mut Loaded,
        query: &PreparedQuery,
        wish: &Wish<'_>,
        work: &mut Work,
        top: &mut TopK,
        order: SegmentKeyOrder<'_>,
    ) -> Result<Option<Missing>, Error> {
        if !self.searched {
            if let Some(missing) = self.search(loaded, wish, work)? {
                return Ok(Some(missing));
            }
            self.searched = true;
        }
        if !self.ranked {
            if let Some(missing) = self.rank(loaded, query, wish)? {
                return Ok(Some(missing));
            }
            self.candidates = self.ranks.len();
            keep_best(&mut self.ranks, wish.top_k);
            self.ranked = true;
        }
        let keys = self.ranks.iter().filter_map(|candidate| key_part(loaded, candidate.place));
        let keys: Vec<Wanted> = keys.collect();
        if let Some(missing) = loaded.hold(keys)? {
            return Ok(Some(missing));
        }
        let segments = loaded.segments();
        let order: KeyOrder<'_> = &|a, b| order(segments, a, b);
        self.ranks.drain(..).for_each(|candidate| top.offer(candidate, order));
        self.is_done = true;
        Ok(None)
    }

    /// Searches the lists of all targets together.
    fn search(
        &mut self,
        loaded: &mut Loaded,
        wish: &Wish<'_>,
        work: &mut Work,
    ) -> Result<Option<Missing>, Error> {
        let request = wish.request();
        while !self.targets.is_empty() {
            let wanted = match self.search_once(loaded, wish, &request) {
                Ok(done) => {
                    *work = done;
                    return Ok(None);
                }
                Err(wanted) => wanted,
            };
            if let Some(missing) = hold_lists(loaded, wanted)? {
                return Ok(Some(missing));
            }
        }
        Ok(None)
    }

    /// `Err`: these lists are needed.
    fn search_once(
        &mut self,
        loaded: &Loaded,
        wish: &Wish<'_>,
        request: &Request,
    ) -> Result<Work, Vec<Wanted>> {
        let segments = loaded.segments();
        let parts = self.targets.iter().map(|target| target.part(segments, wish.field));
        let parts: Vec<_> = parts.collect();
        let kernels = loaded.origin().context.kernels;
        let (view, targets, rows) = (&self.view, &self.targets, &mut self.rows);
        SEARCHER.with_borrow_mut(|searcher| {
            let searcher = searcher.get_or_insert_with(|| Searcher::new(kernels));
            match searcher.search(wish.vector, &parts, request) {
                Outcome::Done(work) => {
                    let row = |near: &ann::Near| {
                        targets[near.part as usize].row(view, wish.field, near.row)
                    };
                    rows.extend(searcher.near().iter().map(row));
                    Ok(work)
                }
                Outcome::Missing => {
                    let source = |part: usize| targets[part].source;
                    Err(missing(searcher, segments, wish.field, source))
                }
            }
        })
    }

    /// Exact ranks of all rows, a window of them at a time.
    fn rank(
        &mut self,
        loaded: &mut Loaded,
        query: &PreparedQuery,
        wish: &Wish<'_>,
    ) -> Result<Option<Missing>, Error> {
        if self.rank_near(loaded, query, wish) {
            return Ok(None);
        }
        let window = (window_bytes(&loaded.origin().context) / EXTENT_BYTES).max(1);
        while self.ranks.len() < self.rows.len() {
            let rest = &self.rows[self.ranks.len()..];
            let rest = &rest[..window.min(rest.len())];
            let parts = match loaded.parts(extents(loaded.segments(), wish.field, rest))? {
                Ok(parts) => parts,
                Err(missing) => return Ok(Some(missing.and(answers_ahead(loaded, wish, rest)?))),
            };
            let segments = loaded.segments();
            let mut ranks = Vec::with_capacity(rest.len());
            for row in rest {
                let (values, doc) = match segments.get(row.source) {
                    Some(segment) => {
                        let values = values_of(segment, wish.field, *row, &parts);
                        let corrupt = |cause| loaded.corrupt(row.source, cause);
                        (values.map_err(corrupt)?, segment.doc_of_row(wish.field, row.row))
                    }
                    None => {
                        let chunk = &self.view.chunk(row.source).chunk;
                        let doc = chunk.doc_of(wish.field, row.row);
                        (chunk.rows(wish.field, row.row..row.row + 1).values, doc)
                    }
                };
                let rank = rank_row(query, values);
                let source = u32::try_from(row.source).expect("far below 2^32 sources");
                ranks.push(Candidate { rank, place: Place { source, doc } });
            }
            self.ranks.extend(ranks);
        }
        Ok(None)
    }
}

/// The rows whose values are brought into the cache ahead of the one that is ranked.
const AHEAD: usize = 6;

impl Probe {
    /// Exact ranks of all rows, if the values of all are within reach; false if not.
    fn rank_near(&mut self, loaded: &Loaded, query: &PreparedQuery, wish: &Wish<'_>) -> bool {
        let kernels = loaded.origin().context.kernels;
        let values = |row: &Row| near_values(loaded, &self.view, wish.field, *row);
        let Some(values) = self.rows.iter().map(values).collect::<Option<Vec<_>>>() else {
            return false;
        };
        let bring = |at: usize| values.get(at).into_iter().for_each(|v| kernels.prefetch(v));
        (0..AHEAD).for_each(bring);
        for (at, (row, values)) in self.rows.iter().zip(&values).enumerate() {
            bring(at + AHEAD);
            let doc = doc_of(loaded, &self.view, wish.field, *row);
            let source = u32::try_from(row.source).expect("far below 2^32 sources");
            self.ranks
                .push(Candidate { rank: rank_row(query, values), place: Place { source, doc } });
        }
        true
    }
}

/// The values of a row, if they are within reach and as they should be.
fn near_values<'a>(
    loaded: &'a Loaded,
    view: &'a View,
    field: usize,
    row: Row,
) -> Option<&'a [f32]> {
    let Some(segment) = loaded.segments().get(row.source) else {
        return Some(view.chunk(row.source).chunk.rows(field, row.row..row.row + 1).values);
    };
    let id = segment.vector_part(field, segment.extent_of_row(field, row.row));
    segment.values_in(loaded.near((row.source, id))?, field, row.row).ok()
}

fn doc_of(loaded: &Loaded, view: &View, field: usize, row: Row) -> DocId {
    match loaded.segments().get(row.source) {
        Some(segment) => segment.doc_of_row(field, row.row),
        None => view.chunk(row.source).chunk.doc_of(field, row.row),
    }
}

/// The extents of the segments that hold rows, each once.
fn extents(segments: &[Segment], field: usize, rows: &[Row]) -> Vec<Wanted> {
    let extent = |row: &Row| {
        let segment = segments.get(row.source)?;
        Some((row.source, segment.vector_part(field, segment.extent_of_row(field, row.row))))
    };
    let mut extents: Vec<Wanted> = rows.iter().filter_map(extent).collect();
    extents.sort_unstable();
    extents.dedup();
    extents
}

/// The values of a row that is in one of the parts, which ascend, or in its segment.
fn values_of<'a>(
    segment: &'a Segment,
    field: usize,
    row: Row,
    parts: &'a [(usize, Part)],
) -> Result<&'a [f32], Corrupt> {
    let id = segment.vector_part(field, segment.extent_of_row(field, row.row));
    let place =
        parts.binary_search_by_key(&(row.source, id), |(source, part)| (*source, part.id()));
    match place {
        Ok(place) => segment.values_in(&parts[place].1, field, row.row),
        Err(_) => Ok(segment.rows(field, row.row..row.row + 1).values),
    }
}

/// Keys and metadata of rows, any of which may be an answer: read beside their vectors they cost no
/// wait.
fn answers_ahead(loaded: &Loaded, wish: &Wish<'_>, rows: &[Row]) -> Result<Missing, Error> {
    let of_segments = rows.iter().filter(|row| row.source < loaded.segments().len());
    let parts = of_segments.flat_map(|row| {
        let segment = &loaded.segments()[row.source];
        let doc = segment.doc_of_row(wish.field, row.row);
        let metadata = wish.with_metadata.then(|| segment.metadata_part(doc)).flatten();
        let parts = segment.key_part(doc).into_iter().chain(metadata);
        parts.map(|part| (row.source, part))
    });
    let mut parts: Vec<Wanted> = parts.collect();
    parts.sort_unstable();
    parts.dedup();
    loaded.missing(parts)
}

fn key_part(loaded: &Loaded, place: Place) -> Option<Wanted> {
    let source = place.source as usize;
    Some((source, loaded.segments().get(source)?.key_part(place.doc)?))
}

/// Keeps the `count` best and all that are as good as the last of them.
fn keep_best(candidates: &mut Vec<Candidate>, count: usize) {
    candidates.sort_by(|a, b| a.rank.total_cmp(&b.rank).then(a.place.cmp(&b.place)));
    let Some(last) = count.checked_sub(1).and_then(|last| candidates.get(last)) else { return };
    let worst = last.rank;
    candidates.truncate(candidates.partition_point(|candidate| candidate.rank <= worst));
}

/// Takes lists in that are asked for one by one.
pub(super) fn hold_lists(
    loaded: &mut Loaded,
    wanted: Vec<Wanted>,
) -> Result<Option<Missing>, Error> {
    heat(loaded, &wanted);
    loaded.hold(wanted)
}

/// Notes that lists are asked for one by one.
fn heat(loaded: &Loaded, wanted: &[Wanted]) {
    for (source, part) in wanted {
        if let Some((range, _)) = loaded.segments()[*source].place(*part) {
            loaded.views()[*source].heat.add(range.end - range.start);
        }
    }
}

/// What of a segment is to be held whole rather than piece by piece.
///
/// Of codes: those in memory already, and those of which queries have asked for so much in pieces that they
/// may as well be read at once, if memory has room. Of a small segment, which is read whole, everything.
pub(super) fn resident(loaded: &Loaded, number: usize, field: usize) -> Vec<PartId> {
    if loaded.is_small(number) {
        let keys = PartId::Section(SectionKind::KEYS, 0);
        let codes = [SectionKind::CODES, SectionKind::ROW_CODES];
        let codes = codes.map(|kind| PartId::Section(kind, field as u8));
        return [keys].into_iter().chain(codes).collect();
    }
    let room = loaded.origin().context.budget.cache_bytes as u64 / 3;
    let segment = &loaded.segments()[number];
    let is_hot = |bytes: u64| bytes <= room && loaded.views()[number].heat.reached(bytes);
    let section = |kind| PartId::Section(kind, field as u8);
    let codes = section(SectionKind::CODES);
    let whole = segment.place(codes).map_or(0, |(range, _)| range.end - range.start);
    let hot = is_hot(whole);
    let wanted = [codes, section(SectionKind::ROW_CODES)].into_iter().filter(|part| {
        let bytes = segment.place(*part).map_or(u64::MAX, |(range, _)| range.end - range.start);
        loaded.has((number, *part)) || (hot && bytes <= room)
    });
    wanted.collect()
}

/// Rows of documents, as a mask.
pub(crate) fn mask(segment: &Segment, field: usize, docs: &roaring::RoaringBitmap) -> RowMask {
    let rows = segment.row_count(field) as u32;
    if segment.rows_are_docs(field) {
        return RowMask::from_bitmap(docs, rows);
    }
    RowMask::from_bitmap(&docs.iter().filter_map(|doc| row(segment, field, doc)).collect(), rows)
}

/// All rows but those of some documents, as a mask.
pub(crate) fn mask_without(
    segment: &Segment,
    field: usize,
    docs: &roaring::RoaringBitmap,
) -> RowMask {
    let rows = segment.row_count(field);
    let mut words = vec![u64::MAX; rows.div_ceil(64)];
    if let Some(last) = words.last_mut().filter(|_| !rows.is_multiple_of(64)) {
        *last = (1 << (rows % 64)) - 1;
    }
    let is_identity = segment.rows_are_docs(field);
    let gone = docs
        .iter()
        .filter_map(|doc| if is_identity { Some(doc) } else { row(segment, field, doc) });
    gone.for_each(|row| words[row as usize / 64] &= !(1 << (row % 64)));
    RowMask::from_words(words)
}

fn row(segment: &Segment, field: usize, doc: DocId) -> Option<u32> {
    segment.row_of(field, doc).map(|row| row as u32)
}
