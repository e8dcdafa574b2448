//! What a query has to read and to go over: functions of what is known before any vector was read.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use roaring::RoaringBitmap;
use vb_search::{Filter, Metric, Part, PartId, RowFilter, SectionKind, Segment};

use super::access::{self, Access};
use super::clusters::{self, Probe, Target};
use crate::error::Error;
use crate::fetch::{Loaded, Missing, Wanted, window_bytes};
use crate::index::chunk::{self, ChunkView, Run};
use crate::index::codes;
use crate::index::view::{SegmentView, Snapshot, View};
use crate::matching::{self, Matches};
use crate::pool;
use crate::requests::{Explain, Precision, Query};

/// Bytes of memtable vectors per piece: long enough to stream, short enough to share out. A piece of
/// a segment is one extent.
pub(super) const PIECE_BYTES: usize = 1 << 20;

/// One source's rows, some of them.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub(super) source: usize,
    pub(super) rows: Range<usize>,
    /// The extent of a segment that has these rows.
    extent: Option<PartId>,
    /// It, once it was found. None if the segment has it already.
    pub(super) part: Option<Part>,
}

impl Piece {
    /// The extent, until it was found.
    pub(super) fn wanted(&self) -> Option<Wanted> {
        let extent = self.extent.filter(|_| self.part.is_none());
        extent.map(|extent| (self.source, extent))
    }
}

/// Gives pieces the parts that were found for them, in the order of the pieces.
pub(super) fn attach(window: &mut Window, found: Vec<(usize, Part)>) {
    let mut found = found.into_iter().peekable();
    for piece in window {
        if let Some(wanted) = piece.wanted() {
            let is_its = |(number, part): &(usize, Part)| (*number, part.id()) == wanted;
            piece.part = found.next_if(is_its).map(|(_, part)| part);
        }
    }
}

/// Pieces that are scanned together.
pub(super) type Window = Vec<Piece>;

/// What there is to scan.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) matches: Matches,
    /// Every row of the memtables.
    pub(super) memtable: Window,
    pub(super) probe: Probe,
    pub(super) windows: VecDeque<Window>,
}

/// Whether a query goes by the clusters of the segment of a number.
fn by_clusters(query: &Query, loaded: &Loaded, number: usize) -> bool {
    let view = &loaded.views()[number];
    query.precision != Precision::Exact
        && view.blank.tree_part(query.field).is_some()
        && is_worth_codes(query, loaded, view.docs() as usize)
}

/// Whether so many rows are searched by codes rather than one by one.
fn is_worth_codes(query: &Query, loaded: &Loaded, rows: usize) -> bool {
    rows * row_bytes(query, loaded) >= loaded.origin().context.options.coded_bytes_min
}

/// Parts of every segment that a query needs before it can plan, and for its answers.
pub(super) fn first_wave(query: &Query, loaded: &Loaded) -> Vec<Wanted> {
    let field = query.field;
    let number = u8::try_from(field).expect("a schema has at most 3 vector fields");
    let cosine = loaded.origin().schema.vector_fields[field].metric == Metric::Cosine;
    let filtered = !matches!(query.filter, Filter::All);
    let parts_of = |at: usize, segment: &Segment| {
        let clusters = by_clusters(query, loaded, at);
        let keys = PartId::Section(SectionKind::KEYS, 0);
        let norms = PartId::Section(SectionKind::NORMS, number);
        // All of them, where they were brought into memory.
        let by_blocks = clusters && !loaded.has((at, keys));
        let parts = [
            Some(if by_blocks { segment.key_directory() } else { keys }),
            Some(PartId::Section(SectionKind::LISTS, number)),
            (cosine && !clusters).then_some(norms),
            segment.vector_directory(field),
            query.with_metadata.then(|| segment.metadata_directory()),
            segment.tree_part(field).filter(|_| clusters),
        ];
        parts.into_iter().flatten()
    };
    let mut wanted = Vec::with_capacity(8 * loaded.segments().len());
    for (at, segment) in loaded.segments().iter().enumerate() {
        wanted.extend(parts_of(at, segment).map(|part| (at, part)));
        if filtered {
            wanted.extend(matching::directory(loaded, at));
        }
        if by_clusters(query, loaded, at) {
            let codes = clusters::resident(loaded, at, field);
            wanted.extend(codes.into_iter().map(|part| (at, part)));
        }
    }
    wanted
}

/// What the filter needs of the attributes of segments, where it is not known what it matches, and the lists that the search
/// will most likely look into once it is, which `foreseen` tells: both take one wave. Needs the first.
pub(super) fn second_wave(
    query: &Query,
    loaded: &Loaded,
    wish: &clusters::Wish<'_>,
    foreseen: &mut Vec<Wanted>,
) -> Result<Missing, Error> {
    if matches!(query.filter, Filter::All) {
        return Ok(Missing::default());
    }
    let is_unknown = |(_, view): &(usize, &SegmentView)| !view.knows(&query.filter);
    let unknown = loaded.views().iter().enumerate().filter(is_unknown).map(|(number, _)| number);
    let missing = loaded.missing(matching::blocks(loaded, &query.filter, unknown))?;
    if missing.is_empty() {
        return Ok(missing);
    }
    let mut guesses = Vec::new();
    for (source, segment) in loaded.segments().iter().enumerate() {
        if by_clusters(query, loaded, source) {
            let share = segment.estimate(&query.filter);
            let rows = segment.row_count(query.field);
            let matching = (share * rows as f64).ceil() as u64;
            let access = choose(query, loaded, rows, Some(matching), true);
            let is_probed = access == Access::Clusters;
            guesses.extend(is_probed.then_some(clusters::Guess { source, share }));
        }
    }
    *foreseen = clusters::likely_lists(loaded, wish, &guesses);
    Ok(missing.and(loaded.missing(foreseen.iter().copied())?))
}

/// A query for more results, or for more of the nearest, may go over so much that it belongs on the pool.
const BRIEF_TOP_K: usize = 100;
const BRIEF_RECALL: f32 = 0.99;
/// So does one that goes over so many bytes without an index, or so many rows of memtables with a filter.
const BRIEF_BYTES: usize = 1 << 20;
const BRIEF_ROWS: usize = 2048;

/// Whether a query is some hundred microseconds of work, if memory has what it needs.
pub(super) fn is_brief(query: &Query, view: &View, loaded: &Loaded) -> bool {
    let is_usual = match query.precision {
        Precision::Exact => false,
        Precision::Usual => true,
        Precision::Recall(recall) => recall <= BRIEF_RECALL,
    };
    let is_filtered = !matches!(query.filter, Filter::All);
    let knows = |segment: &SegmentView| !is_filtered || segment.knows(&query.filter);
    let is_simple = query.filter.tests() < MANY_TESTS;
    if !is_usual || query.top_k > BRIEF_TOP_K || !is_simple || !view.segments.iter().all(knows) {
        return false;
    }
    let scanned = compared_rows(query, view) + scanned_rows(query, loaded);
    scanned * row_bytes(query, loaded) <= BRIEF_BYTES
        && (!is_filtered || unknown_rows(query, view) <= BRIEF_ROWS)
}

fn chunk_rows(query: &Query, view: &View) -> usize {
    view.chunks().map(|view| view.chunk.vector_count(query.field)).sum()
}

/// Rows of runs of which it is not known whether they match.
fn unknown_rows(query: &Query, view: &View) -> usize {
    let unknown = runs_of(view).filter(|run| !run.knows(&query.filter));
    unknown.map(|run| run.vector_count(query.field)).sum()
}

/// Rows of runs without codes that are compared, as far as that is known before the plan.
fn compared_rows(query: &Query, view: &View) -> usize {
    let field = query.field;
    let is_all = matches!(query.filter, Filter::All);
    let rows = |run: Run<'_>| match is_all {
        false => run.matching_rows(&query.filter).unwrap_or_else(|| run.vector_count(field)),
        true => run.uncoded_rows(field),
    };
    runs_of(view).filter(|run| !run.is_coded(field)).map(rows).sum()
}

fn runs_of(view: &View) -> impl Iterator<Item = Run<'_>> {
    [&view.frozen, &view.active].into_iter().flat_map(|chunks| chunk::runs(chunks))
}

/// Rows, at most, of segments that are scanned.
fn scanned_rows(query: &Query, loaded: &Loaded) -> usize {
    let segments = loaded.views().iter().enumerate();
    let scanned = segments.filter(|(number, _)| !by_clusters(query, loaded, *number));
    scanned.map(|(_, view)| view.docs() as usize).sum()
}

/// What a plan is made of.
#[derive(Clone, Copy)]
pub(super) struct Planner<'a> {
    pub(super) query: &'a Query,
    pub(super) view: &'a Arc<View>,
    /// With the parts of [`first_wave`].
    pub(super) loaded: &'a Loaded,
}

impl Planner<'_> {
    fn row_bytes(&self) -> usize {
        row_bytes(self.query, self.loaded)
    }

    /// What is to be scanned in which order: first what is in memory. `matches` is of segments alone.
    pub(super) fn plan(self, mut matches: Matches) -> (Plan, Explain) {
        let snapshot = Snapshot { view: self.view, segments: self.loaded.segments() };
        matches.extend(memtable_matches(self.view, &self.query.filter));
        let (memtable, mut targets) = self.memtable(&matches);
        let (mut few, mut pieces) = (Vec::new(), Vec::new());
        let mut explain = Explain { recall: 1.0, ..Explain::default() };
        let segments = self.view.segments.iter().zip(snapshot.segments).zip(&matches);
        for (number, ((view, segment), allowed)) in segments.enumerate() {
            let allowed = allowed.as_ref();
            let docs = allowed.map(Arc::as_ref);
            let count = segment.row_count(self.query.field);
            let has_clusters = by_clusters(self.query, self.loaded, number);
            let matching = allowed.map(|docs| docs.len());
            match self.access(count, matching, has_clusters) {
                Access::Skip => explain.segments_skipped += 1,
                Access::Matches => {
                    explain.segments_matched += 1;
                    few.extend(self.matching_rows(number, segment, docs));
                }
                Access::Clusters => {
                    explain.segments_probed += 1;
                    let mask = view.row_mask(segment, self.query.field, allowed);
                    targets.push(Target { source: number, run: None, mask });
                }
                Access::Scan => {
                    explain.segments_scanned += 1;
                    pieces.extend(self.extents(number, segment, docs));
                }
            }
        }
        let look = |piece: Piece| {
            let part = piece.wanted().and_then(|wanted| self.loaded.peek(wanted));
            Piece { part, ..piece }
        };
        let is_there = |(number, id): Wanted| snapshot.segments[number].has(id);
        let is_near = |piece: &Piece| piece.wanted().is_none_or(is_there);
        let (near, far): (Vec<_>, Vec<_>) = pool::map(pieces, look).into_iter().partition(is_near);
        let mut windows: VecDeque<_> = [near].into_iter().filter(|near| !near.is_empty()).collect();
        let window_bytes = window_bytes(&self.loaded.origin().context);
        windows.extend(cut(far, (window_bytes / self.row_bytes()).max(1)));
        (
            Plan {
                matches,
                memtable,
                probe: Probe::new(Arc::clone(self.view), targets, few),
                windows,
            },
            explain,
        )
    }

    fn access(&self, rows: usize, matching: Option<u64>, has_clusters: bool) -> Access {
        choose(self.query, self.loaded, rows, matching, has_clusters)
    }

    fn matching_rows(
        &self,
        source: usize,
        segment: &Segment,
        allowed: Option<&RoaringBitmap>,
    ) -> Vec<clusters::Row> {
        let row = |doc| Some(clusters::Row { source, row: segment.row_of(self.query.field, doc)? });
        allowed.into_iter().flatten().filter_map(row).collect()
    }

    /// The memtables: what is scanned, and the runs that are searched by their codes. Codes that are not there yet
    /// are asked for.
    fn memtable(&self, matches: &Matches) -> (Window, Vec<Target>) {
        let (mut pieces, mut targets, mut wishes) = (Vec::new(), Vec::new(), Vec::new());
        let mut number = self.view.segments.len();
        let by_codes = self.memtable_access(&matches[number..]) == Access::Clusters;
        for chunks in [&self.view.frozen, &self.view.active] {
            if by_codes {
                wishes.extend(chunk::runs(chunks).into_iter().filter_map(|run| self.wish(run)));
            }
            for run in chunk::coded_runs(chunks, self.query.field) {
                let allowed = &matches[number..number + run.chunks().len()];
                let target = by_codes.then(|| self.run_target(number, run, allowed));
                match target.flatten() {
                    Some(target) => targets.push(target),
                    None => self.scan_chunks(number, run.chunks(), allowed, &mut pieces),
                }
                number += run.chunks().len();
            }
        }
        codes::make_soon(self.loaded.origin(), wishes);
        (pieces, targets)
    }

    /// How the memtables as a whole are best searched, given what matches in each chunk.
    fn memtable_access(&self, matches: &[Option<Arc<RoaringBitmap>>]) -> Access {
        let rows = chunk_rows(self.query, self.view);
        let matching = matches.iter().map(|docs| docs.as_ref().map(|docs| docs.len())).sum();
        self.access(rows, matching, true)
    }

    /// The codes that a run should have, and nobody makes.
    fn wish(&self, run: Run<'_>) -> Option<codes::Wish> {
        let field = self.query.field;
        let rows = run.vector_count(field);
        is_worth_codes(self.query, self.loaded, rows).then(|| run.wish_codes(field)).flatten()
    }

    /// The run as a target, once it has codes.
    fn run_target(
        &self,
        number: usize,
        run: Run<'_>,
        allowed: &[Option<Arc<RoaringBitmap>>],
    ) -> Option<Target> {
        let field = self.query.field;
        let cells = run.codes().filter(|_| run.is_coded(field))?;
        let mask = run.row_mask(field, &self.query.filter, allowed);
        Some(Target { source: number, run: Some(Arc::clone(cells)), mask })
    }

    /// All rows of chunks; those without a match are left out.
    fn scan_chunks(
        &self,
        number: usize,
        chunks: &[ChunkView],
        allowed: &[Option<Arc<RoaringBitmap>>],
        pieces: &mut Window,
    ) {
        let rows_max = (PIECE_BYTES / self.row_bytes()).max(1);
        for ((source, view), allowed) in (number..).zip(chunks).zip(allowed) {
            if allowed.as_ref().is_some_and(|docs| docs.is_empty()) {
                continue;
            }
            let count = view.chunk.vector_count(self.query.field);
            let rows = |start| start..count.min(start + rows_max);
            let piece = |start| Piece { source, rows: rows(start), extent: None, part: None };
            pieces.extend((0..count).step_by(rows_max).map(piece));
        }
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
            part: None,
        };
        match allowed {
            None => (0..segment.extent_count(field)).map(piece).collect(),
            Some(docs) => segment.extents_with(field, docs).into_iter().map(piece).collect(),
        }
    }
}

/// How to search so many rows.
fn choose(
    query: &Query,
    loaded: &Loaded,
    rows: usize,
    matching: Option<u64>,
    has_clusters: bool,
) -> Access {
    access::choose(access::Rows {
        rows: rows as u64,
        matching,
        row_bytes: row_bytes(query, loaded) as u64,
        has_clusters,
        exact: query.precision == Precision::Exact,
    })
}

/// Bytes of a vector.
pub(super) fn row_bytes(query: &Query, loaded: &Loaded) -> usize {
    loaded.origin().schema.vector_fields[query.field].dimension as usize * 4
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
/// Which documents of each chunk of the memtables match.
fn memtable_matches(view: &View, filter: &Filter) -> Matches {
    let mut matches = Vec::new();
    if matches!(filter, Filter::All) {
        matches.resize(view.source_count() - view.segments.len(), None);
        return matches;
    }
    let rows = RowFilter::new(filter);
    for chunks in [&view.frozen, &view.active] {
        let by_columns = filter.tests() >= MANY_TESTS || chunks.len() >= MANY_CHUNKS;
        let select = |run: Run<'_>| run.select(filter, &rows, by_columns);
        let selected = pool::map(chunk::runs(chunks), select);
        matches.extend(selected.into_iter().flatten().map(Some));
    }
    matches
}

/// A filter of so many tests goes by columns through memtables, too.
const MANY_TESTS: usize = 16;
/// So does every filter through so many chunks.
const MANY_CHUNKS: usize = 16;
