//! The nearest matching records of one snapshot: plan, fetch, scan, merge.
//!
//! 1. **plan** (pure): the filter becomes an exact set of documents per source of the snapshot
//!    (segments by their columns, memtable rows one by one), and what is left to scan is cut into
//!    pieces, the pieces into windows.
//! 2. **fetch**: what the next step reads and memory does not hold: keys, lists and columns before the
//!    plan, a window's vectors before its scan, the winners' metadata before the merge. While one
//!    window is scanned the next is on its way.
//! 3. **scan**: pieces on the CPU pool, each exact, deleted and filtered documents left out inside
//!    the scan.
//! 4. **merge**: the k best by (distance, key), then the metadata of the winners.
//!
//! The first window is whatever is in memory already, so a query that finds all it needs there is one
//! job of the CPU pool ([`crate::fetch::run`]); a query small enough is one piece and never splits.
//! [`Scan`] is plan to scan alone: some segments, given by value, to their best candidates. Another
//! process can do that as well.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use rayon::prelude::*;
use roaring::RoaringBitmap;
use vb_search::{
    Candidate, Filter, Mask, Metric, PartId, Place, PreparedQuery, RowFilter, Rows, Schema,
    SectionKind, Segment, TopK, scan_rows,
};

use crate::error::Error;
use crate::fetch::{Job, Loaded, Missing, Origin, Step, Wanted, window_bytes};
use crate::index::chunk::ChunkView;
use crate::index::view::{SegmentView, Snapshot, Source, View};
use crate::requests::{Hit, Query};

/// Bytes of memtable vectors per piece: long enough to stream, short enough to share out. A piece of
/// a segment is one extent.
const PIECE_BYTES: usize = 1 << 20;

/// What a query found.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) hits: Vec<Hit>,
    /// What each hit was ordered by, before keys: [`Metric::distance`] makes it a distance.
    pub(crate) ranks: Vec<f64>,
    /// Vectors gone over.
    pub(crate) scanned: usize,
}

/// Which documents of each source match; `None`: all.
pub(crate) type Matches = Vec<Option<RoaringBitmap>>;

/// One source's rows, some of them.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Piece {
    source: usize,
    rows: Range<usize>,
    /// The extent of a segment that has these rows.
    extent: Option<PartId>,
}

impl Piece {
    fn wanted(&self) -> Option<Wanted> {
        self.extent.map(|extent| (self.source, extent))
    }
}

/// Pieces that are scanned together.
type Window = Vec<Piece>;

/// A query on its way to an answer.
#[derive(Debug)]
pub(crate) struct Search {
    scan: Scan,
    /// What the scan found, once it is done.
    best: Option<Vec<Candidate>>,
}

impl Search {
    /// The segments that it will most likely meet are good enough to prepare it.
    pub(crate) fn new(query: Arc<Query>, origin: Origin, segments: Arc<[SegmentView]>) -> Self {
        Self { scan: Scan::new(query, origin, segments), best: None }
    }

    /// Takes the snapshot to search.
    pub(crate) fn start(self, view: Arc<View>) -> Self {
        Self { scan: self.scan.start(view), best: None }
    }
}

impl Job for Search {
    type Output = Found;

    fn prepare(&mut self) -> Result<Option<Missing>, Error> {
        self.scan.prepare()
    }

    fn advance(&mut self) -> Result<Step<Found>, Error> {
        if self.best.is_none() {
            match self.scan.advance()? {
                Step::Done(best) => self.best = Some(best),
                Step::Read(missing) => return Ok(Step::Read(missing)),
                Step::ReadAhead(now, ahead) => return Ok(Step::ReadAhead(now, ahead)),
            }
        }
        let best = self.best.as_deref().unwrap_or_default();
        self.scan.winners(best)
    }

    fn loaded(&mut self) -> &mut Loaded {
        &mut self.scan.loaded
    }
}

/// The best candidates of a snapshot's segments and memtables.
#[derive(Debug)]
pub(crate) struct Scan {
    query: Arc<Query>,
    view: Arc<View>,
    loaded: Loaded,
    plan: Option<Plan>,
    top: TopK,
    scanned: usize,
}

/// What there is to scan.
#[derive(Debug)]
struct Plan {
    matches: Matches,
    windows: VecDeque<Window>,
}

/// Parts of every segment that a query needs before it can plan, and for its answers.
fn first_wave(field: usize, filtered: bool, with_metadata: bool, loaded: &Loaded) -> Vec<Wanted> {
    let number = u8::try_from(field).expect("a schema has at most 3 vector fields");
    let cosine = loaded.origin().schema.vector_fields[field].metric == Metric::Cosine;
    let parts_of = |segment: &Segment| {
        let parts = [
            Some(PartId::Section(SectionKind::KEYS, 0)),
            Some(PartId::Section(SectionKind::LISTS, number)),
            cosine.then_some(PartId::Section(SectionKind::NORMS, number)),
            segment.vector_directory(field),
            filtered.then_some(PartId::Section(SectionKind::ATTRIBUTES, 0)),
            with_metadata.then(|| segment.metadata_directory()),
        ];
        parts.into_iter().flatten()
    };
    let numbered = loaded.segments().iter().enumerate();
    numbered
        .flat_map(|(number, segment)| parts_of(segment).map(move |part| (number, part)))
        .collect()
}

impl Scan {
    fn new(query: Arc<Query>, origin: Origin, segments: Arc<[SegmentView]>) -> Self {
        let top = TopK::new(query.top_k);
        let loaded = Loaded::new(origin, segments);
        Self { query, view: Arc::default(), loaded, plan: None, top, scanned: 0 }
    }

    fn start(mut self, view: Arc<View>) -> Self {
        self.loaded.move_to(Arc::clone(&view.segments));
        self.view = view;
        self
    }

    /// Takes in what the plan and the order of keys need.
    fn prepare(&mut self) -> Result<Option<Missing>, Error> {
        let query = &self.query;
        let filtered = !matches!(query.filter, Filter::All);
        let wanted = first_wave(query.field, filtered, query.with_metadata, &self.loaded);
        self.loaded.hold(wanted)
    }

    /// Plans, then scans window after window.
    fn advance(&mut self) -> Result<Step<Vec<Candidate>>, Error> {
        if self.plan.is_none() {
            if let Some(missing) = self.prepare()? {
                return Ok(Step::Read(missing));
            }
            self.plan = Some(self.plan());
        }
        let mut plan = self.plan.take().expect("the plan was just made");
        let step = self.scan_windows(&mut plan);
        self.plan = Some(plan);
        step
    }

    fn scan_windows(&mut self, plan: &mut Plan) -> Result<Step<Vec<Candidate>>, Error> {
        while let Some(window) = plan.windows.front() {
            match self.loaded.with(window.iter().filter_map(Piece::wanted))? {
                Err(missing) => return Ok(Step::ReadAhead(missing, self.ahead(plan)?)),
                Ok(segments) => self.scan_window(&segments, window, &plan.matches),
            }
            plan.windows.pop_front();
        }
        let snapshot = Snapshot { view: &self.view, segments: self.loaded.segments() };
        let top = std::mem::replace(&mut self.top, TopK::new(0));
        Ok(Step::Done(top.into_sorted(&|a, b| snapshot.key_order(a, b))))
    }

    /// What the window after the next one has to read.
    fn ahead(&self, plan: &Plan) -> Result<Missing, Error> {
        let next = plan.windows.get(1).into_iter().flatten();
        self.loaded.missing(next.filter_map(Piece::wanted))
    }
}

// Plan.
impl Scan {
    fn schema(&self) -> &Schema {
        &self.loaded.origin().schema
    }

    fn row_bytes(&self) -> usize {
        self.schema().vector_fields[self.query.field].dimension as usize * 4
    }

    /// What matches, and what of it is to be scanned in which order: first what is in memory.
    fn plan(&self) -> Plan {
        let snapshot = Snapshot { view: &self.view, segments: self.loaded.segments() };
        let matches = matches(snapshot, &self.query.filter);
        let pieces = self.pieces(snapshot, &matches);
        let at_hand = |piece: &Piece| piece.wanted().is_none_or(|part| self.loaded.has(part));
        let (near, far): (Vec<_>, Vec<_>) = pieces.into_iter().partition(at_hand);
        let mut windows: VecDeque<_> = [near].into();
        let window_bytes = window_bytes(&self.loaded.origin().context);
        windows.extend(cut(far, (window_bytes / self.row_bytes()).max(1)));
        Plan { matches, windows }
    }

    /// Everything that is left to scan; sources without a match are left out.
    fn pieces(&self, snapshot: Snapshot<'_>, matches: &Matches) -> Vec<Piece> {
        let rows_max = (PIECE_BYTES / self.row_bytes()).max(1);
        let mut pieces = Vec::new();
        for (number, (source, allowed)) in snapshot.sources().zip(matches).enumerate() {
            if allowed.as_ref().is_some_and(RoaringBitmap::is_empty) {
                continue;
            }
            match source {
                Source::Segment(_, segment) => {
                    pieces.extend(self.extents(number, segment, allowed.as_ref()));
                }
                Source::Chunk(view) => {
                    let count = view.chunk.vector_count(self.query.field);
                    let rows = |start| start..count.min(start + rows_max);
                    let piece = |start| Piece { source: number, rows: rows(start), extent: None };
                    pieces.extend((0..count).step_by(rows_max).map(piece));
                }
            }
        }
        pieces
    }

    fn extents(
        &self,
        source: usize,
        segment: &Segment,
        allowed: Option<&RoaringBitmap>,
    ) -> Vec<Piece> {
        let field = self.query.field;
        let piece = |extent| Piece {
            source,
            rows: segment.extent_rows(field, extent),
            extent: Some(segment.vector_part(field, extent)),
        };
        match allowed {
            None => (0..segment.extent_count(field)).map(piece).collect(),
            Some(docs) => segment.extents_with(field, docs).into_iter().map(piece).collect(),
        }
    }
}

/// Cuts pieces, in order, into windows of about so many rows.
fn cut(pieces: Vec<Piece>, rows_max: usize) -> Vec<Window> {
    let mut windows: Vec<Window> = Vec::new();
    let mut rows = rows_max;
    for piece in pieces {
        let count = piece.rows.len();
        match windows.last_mut() {
            Some(last) if rows + count <= rows_max => {
                rows += count;
                last.push(piece);
            }
            _ => {
                rows = count;
                windows.push(vec![piece]);
            }
        }
    }
    windows
}

/// The filter as an exact set of documents per source. Needs attributes.
fn matches(snapshot: Snapshot<'_>, filter: &Filter) -> Matches {
    if matches!(filter, Filter::All) {
        return vec![None; snapshot.view.source_count()];
    }
    let sources: Vec<Source<'_>> = snapshot.sources().collect();
    let rows = RowFilter::new(filter);
    let select = |source: Source<'_>| match source {
        Source::Segment(view, segment) => segment.select(filter) - view.deleted.as_ref(),
        Source::Chunk(view) => select_rows(view, &rows),
    };
    sources.into_par_iter().map(|source| Some(select(source))).collect()
}

fn select_rows(view: &ChunkView, filter: &RowFilter<'_>) -> RoaringBitmap {
    let matches = |row: &u32| filter.matches(view.chunk.attributes(*row));
    let mut selected = RoaringBitmap::new();
    selected.extend(view.live_rows().filter(matches));
    selected
}

// Scan.
impl Scan {
    /// Scans one window; `segments` have its extents.
    fn scan_window(&mut self, segments: &[Segment], window: &Window, matches: &Matches) {
        let snapshot = Snapshot { view: &self.view, segments };
        let metric = self.schema().vector_fields[self.query.field].metric;
        let kernels = self.loaded.origin().context.kernels;
        let prepared = PreparedQuery::new(kernels, metric, &self.query.vector);
        let order = |a: Place, b: Place| -> Ordering { snapshot.key_order(a, b) };
        let scan_piece = |mut top: TopK, piece: &Piece| {
            let source = snapshot.source(piece.source);
            let deleted = Some(source.deleted()).filter(|deleted| !deleted.is_empty());
            let mask = Mask { allowed: matches[piece.source].as_ref(), deleted };
            let number = u32::try_from(piece.source).expect("far below 2^32 sources");
            let rows = rows(source, self.query.field, piece.rows.clone());
            scan_rows(&prepared, rows, mask, number, &mut top, &order);
            top
        };
        let empty = || TopK::new(self.query.top_k);
        let rows: usize = window.iter().map(|piece| piece.rows.len()).sum();
        let top = if rows * self.row_bytes() <= PIECE_BYTES {
            window.iter().fold(empty(), scan_piece)
        } else {
            let parts = window.par_iter().fold(empty, scan_piece);
            parts.reduce(empty, |mut top, other| {
                top.merge(other, &order);
                top
            })
        };
        self.top.merge(top, &order);
        self.scanned += rows;
    }
}

fn rows(source: Source<'_>, field: usize, rows: Range<usize>) -> Rows<'_> {
    match source {
        Source::Segment(_, segment) => segment.rows(field, rows),
        Source::Chunk(view) => view.chunk.rows(field, rows),
    }
}

// Merge.
impl Scan {
    /// Candidates as hits, nearest first.
    fn winners(&mut self, best: &[Candidate]) -> Result<Step<Found>, Error> {
        if self.query.with_metadata {
            let wanted = self.metadata_parts(best);
            if let Some(missing) = self.loaded.hold(wanted)? {
                return Ok(Step::Read(missing));
            }
        }
        let hits = best.iter().map(|candidate| self.hit(candidate)).collect::<Result<_, _>>()?;
        let ranks = best.iter().map(|candidate| candidate.rank).collect();
        Ok(Step::Done(Found { hits, ranks, scanned: self.scanned }))
    }

    fn metadata_parts(&self, best: &[Candidate]) -> Vec<Wanted> {
        let part = |candidate: &Candidate| {
            let number = candidate.place.source as usize;
            let segment = self.loaded.segments().get(number)?;
            Some((number, segment.metadata_part(candidate.place.doc)?))
        };
        best.iter().filter_map(part).collect()
    }

    fn hit(&self, candidate: &Candidate) -> Result<Hit, Error> {
        let Place { source: number, doc } = candidate.place;
        let snapshot = Snapshot { view: &self.view, segments: self.loaded.segments() };
        let source = snapshot.source(number as usize);
        let metadata = match source {
            _ if !self.query.with_metadata => None,
            Source::Chunk(view) => view.chunk.metadata(doc).cloned(),
            Source::Segment(_, segment) => segment
                .metadata(doc)
                .map_err(|cause| self.loaded.corrupt(number as usize, cause))?,
        };
        let metric = self.schema().vector_fields[self.query.field].metric;
        Ok(Hit { key: source.key_bytes(doc), distance: metric.distance(candidate.rank), metadata })
    }
}

/// Reads into the cache what queries need.
#[derive(Debug)]
pub(crate) struct Warming {
    loaded: Loaded,
    /// Extents that were not looked at yet, once the directories were read.
    extents: Option<VecDeque<Wanted>>,
}

impl Warming {
    pub(crate) fn new(origin: Origin, segments: Arc<[SegmentView]>) -> Self {
        Self { loaded: Loaded::new(origin, segments), extents: None }
    }

    /// Takes the snapshot to warm.
    pub(crate) fn start(mut self, view: &View) -> Self {
        self.loaded.move_to(Arc::clone(&view.segments));
        self
    }

    fn fields(&self) -> usize {
        self.loaded.origin().schema.vector_fields.len()
    }

    /// Vectors as far as the cache has room beside what it holds for this index already.
    fn extents(&self) -> VecDeque<Wanted> {
        let of_segment = |(number, segment): (usize, &Segment)| {
            let of_field = |field| (0..segment.extent_count(field)).map(move |n| (field, n));
            let all = (0..self.fields()).flat_map(of_field);
            all.map(|(field, n)| (number, segment.vector_part(field, n))).collect::<Vec<_>>()
        };
        let room = self.loaded.origin().context.budget.cache_bytes / 2;
        let mut bytes = 0;
        let fits = |(number, part): &Wanted| {
            let place = self.loaded.segments()[*number].place(*part);
            bytes += place.map_or(0, |(range, _)| range.end - range.start);
            bytes <= room as u64
        };
        self.loaded.segments().iter().enumerate().flat_map(of_segment).take_while(fits).collect()
    }
}

impl Job for Warming {
    type Output = ();

    fn prepare(&mut self) -> Result<Option<Missing>, Error> {
        let mut wanted = Vec::new();
        for field in 0..self.fields() {
            wanted.extend(first_wave(field, true, true, &self.loaded));
        }
        let key_index = PartId::Section(SectionKind::KEY_INDEX, 0);
        wanted.extend((0..self.loaded.segments().len()).map(|number| (number, key_index)));
        self.loaded.hold(wanted)
    }

    fn advance(&mut self) -> Result<Step<()>, Error> {
        if self.extents.is_none() {
            if let Some(missing) = self.prepare()? {
                return Ok(Step::Read(missing));
            }
            self.extents = Some(self.extents());
        }
        let count = (window_bytes(&self.loaded.origin().context) / EXTENT_BYTES).max(1);
        let extents = self.extents.as_mut().expect("they were just listed");
        while !extents.is_empty() {
            let window: Vec<Wanted> = extents.drain(..count.min(extents.len())).collect();
            let missing = self.loaded.missing(window)?;
            if !missing.is_empty() {
                return Ok(Step::Read(missing));
            }
        }
        Ok(Step::Done(()))
    }

    /// What was read is in the cache; nothing of a window is kept here.
    fn loaded(&mut self) -> &mut Loaded {
        &mut self.loaded
    }
}

/// About the size of an extent.
const EXTENT_BYTES: usize = 256 << 10;
