//! The nearest matching records of one snapshot: plan, fetch, scan, merge.
//!
//! 1. **plan** (pure): the filter becomes an exact set of documents per source of the snapshot
//!    (segments by their columns, memtable rows one by one or, for many tests, by columns as well), each segment is searched by its clusters,
//!    by the few rows that match or by a scan (`query/access.rs`), and what is left to scan is cut into
//!    pieces, the pieces into windows.
//! 2. **fetch**: what the next step reads and memory does not hold: directories, trees and columns before
//!    the plan; lists of codes; the vectors of candidates, or of a window before its scan; the
//!    winners' metadata before the merge. While one window is scanned the next is on its way.
//! 3. **scan**: the memtable first, exactly; then clusters (`query/clusters.rs`); then pieces on the CPU pool, each exact. Deleted and filtered documents are left out inside.
//! 4. **merge**: the k best by (distance, key), then the metadata of the winners.
//!
//! The first window is whatever is in memory already, so a query that finds all it needs there is one
//! job of the CPU pool ([`crate::fetch::run`]); a query small enough is one piece and never splits.
//! [`Scan`] is plan to scan alone: some segments, given by value, to their best candidates. Another
//! process can do that as well.

mod access;
mod clusters;
mod plan;
mod warm;

pub(crate) use clusters::{mask, mask_without};
pub(crate) use warm::Warming;

use std::cmp::Ordering;
use std::sync::Arc;

use rayon::prelude::*;
use vb_search::ann::Work;
use vb_search::{
    Candidate, Corrupt, Mask, Place, PreparedQuery, Rows, Schema, Segment, TopK, scan_rows,
};

use self::clusters::{Probe, Wish};
use self::plan::{PIECE_BYTES, Piece, Plan, Planner, Window, first_wave, second_wave};
use crate::error::Error;
use crate::fetch::{Job, Loaded, Missing, Origin, Step, Wanted};
use crate::index::view::{SegmentView, Snapshot, Source, View};
use crate::matching::{self, Matches};
use crate::requests::{Explain, Hit, Precision, Query};

/// What a query found.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) hits: Vec<Hit>,
    /// What each hit was ordered by, before keys: [`vb_search::Metric::distance`] makes it a distance.
    pub(crate) ranks: Vec<f64>,
    pub(crate) explain: Explain,
}

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

    fn is_brief(&self) -> bool {
        self.scan.is_brief()
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
    /// Lists that were asked for before it was known what the filter matches.
    foreseen: Vec<Wanted>,
    plan: Option<Plan>,
    top: TopK,
    explain: Explain,
}

impl Scan {
    fn new(query: Arc<Query>, origin: Origin, segments: Arc<[SegmentView]>) -> Self {
        let top = TopK::new(query.top_k);
        let loaded = Loaded::within_reach(origin, segments);
        Self {
            query,
            view: Arc::default(),
            loaded,
            foreseen: Vec::new(),
            plan: None,
            top,
            explain: Explain::default(),
        }
    }

    fn start(mut self, view: Arc<View>) -> Self {
        self.loaded.move_to(Arc::clone(&view.segments));
        self.view = view;
        self
    }

    fn schema(&self) -> &Schema {
        &self.loaded.origin().schema
    }

    /// Whether all of it is one small piece of work.
    fn is_brief(&self) -> bool {
        plan::is_brief(&self.query, &self.view, &self.loaded)
    }

    /// Takes in what the plan and the order of keys need.
    fn prepare(&mut self) -> Result<Option<Missing>, Error> {
        let wanted = first_wave(&self.query, &self.loaded);
        if let Some(missing) = self.loaded.hold(wanted)? {
            return Ok(Some(missing));
        }
        let wish = Self::wish_of(&self.query, self.loaded.origin());
        let missing = second_wave(&self.query, &self.loaded, &wish, &mut self.foreseen)?;
        Ok(Some(missing).filter(|missing| !missing.is_empty()))
    }

    /// Plans, scans the memtables, goes by clusters, then scans window after window.
    fn advance(&mut self) -> Result<Step<Vec<Candidate>>, Error> {
        if self.plan.is_none() {
            if let Some(missing) = self.prepare()? {
                return Ok(Step::Read(missing));
            }
            self.loaded.shelve();
            let matches = matching::of_segments(&mut self.loaded, &self.query.filter, |_| true)?;
            let matches = match matches {
                Ok(matches) => matches,
                Err(missing) => return Ok(Step::Read(missing)),
            };
            let foreseen = std::mem::take(&mut self.foreseen);
            if let Some(missing) = clusters::hold_lists(&mut self.loaded, foreseen)? {
                return Ok(Step::Read(missing));
            }
            let planner = Planner { query: &self.query, view: &self.view, loaded: &self.loaded };
            let (plan, explain) = planner.plan(matches);
            (self.plan, self.explain) = (Some(plan), explain);
        }
        let mut plan = self.plan.take().expect("the plan was just made");
        let step = self.work(&mut plan);
        self.plan = Some(plan);
        step
    }

    fn work(&mut self, plan: &mut Plan) -> Result<Step<Vec<Candidate>>, Error> {
        let memtable = std::mem::take(&mut plan.memtable);
        if !memtable.is_empty() {
            self.scan_window(&memtable, &plan.matches)?;
        }
        if !plan.probe.is_done()
            && let Some(missing) = self.probe(&mut plan.probe)?
        {
            let next = plan.windows.front().into_iter().flatten();
            let ahead = self.loaded.missing(next.filter_map(Piece::wanted))?;
            return Ok(Step::ReadAhead(missing, ahead));
        }
        self.scan_windows(plan)
    }

    fn scan_windows(&mut self, plan: &mut Plan) -> Result<Step<Vec<Candidate>>, Error> {
        while let Some(mut window) = plan.windows.pop_front() {
            match self.loaded.parts(window.iter().filter_map(Piece::wanted))? {
                Err(missing) => {
                    let ahead = self.ahead(plan)?;
                    plan.windows.push_front(window);
                    return Ok(Step::ReadAhead(missing, ahead));
                }
                Ok(found) => plan::attach(&mut window, found),
            }
            self.scan_window(&window, &plan.matches)?;
        }
        let snapshot = Snapshot { view: &self.view, segments: self.loaded.segments() };
        let top = std::mem::replace(&mut self.top, TopK::new(0));
        Ok(Step::Done(top.into_sorted(&|a, b| snapshot.key_order(a, b))))
    }

    /// What the next window has to read.
    fn ahead(&self, plan: &Plan) -> Result<Missing, Error> {
        let next = plan.windows.front().into_iter().flatten();
        self.loaded.missing(next.filter_map(Piece::wanted))
    }
}

// Scan.
impl Scan {
    /// Scans one window, whose extents were found.
    fn scan_window(&mut self, window: &Window, matches: &Matches) -> Result<(), Error> {
        let snapshot = Snapshot { view: &self.view, segments: self.loaded.segments() };
        let metric = self.schema().vector_fields[self.query.field].metric;
        let kernels = self.loaded.origin().context.kernels;
        let prepared = PreparedQuery::new(kernels, metric, &self.query.vector);
        let order = |a: Place, b: Place| -> Ordering { snapshot.key_order(a, b) };
        let scan_piece = |mut top: TopK, piece: &Piece| -> Result<TopK, Error> {
            let source = snapshot.source(piece.source);
            let deleted = Some(source.deleted()).filter(|deleted| !deleted.is_empty());
            let mask = Mask { allowed: matches[piece.source].as_deref(), deleted };
            let number = u32::try_from(piece.source).expect("far below 2^32 sources");
            let rows = rows(source, self.query.field, piece)
                .map_err(|cause| self.loaded.corrupt(piece.source, cause))?;
            scan_rows(&prepared, rows, mask, number, &mut top, &order);
            Ok(top)
        };
        let empty = || TopK::new(self.query.top_k);
        let compared: usize = window.iter().map(|piece| compared(piece, matches)).sum();
        let top = if compared * plan::row_bytes(&self.query, &self.loaded) <= PIECE_BYTES {
            window.iter().try_fold(empty(), scan_piece)?
        } else {
            let parts = window.par_iter().try_fold(empty, scan_piece);
            parts.try_reduce(empty, |mut top, other| {
                top.merge(other, &order);
                Ok(top)
            })?
        };
        self.top.merge(top, &order);
        self.explain.rows_scanned += window.iter().map(|piece| piece.rows.len()).sum::<usize>();
        Ok(())
    }

    /// Goes on with the search by clusters.
    fn probe(&mut self, probe: &mut Probe) -> Result<Option<Missing>, Error> {
        let origin = self.loaded.origin();
        let metric = self.schema().vector_fields[self.query.field].metric;
        let prepared = PreparedQuery::new(origin.context.kernels, metric, &self.query.vector);
        let query = Arc::clone(&self.query);
        let wish = Self::wish_of(&query, origin);
        let view = Arc::clone(&self.view);
        let order = |segments: &[Segment], a: Place, b: Place| {
            Snapshot { view: &view, segments }.key_order(a, b)
        };
        let mut work = Work { recall: self.explain.recall, ..Work::default() };
        let (loaded, top) = (&mut self.loaded, &mut self.top);
        let missing = probe.advance(loaded, &prepared, &wish, &mut work, top, &order)?;
        self.note(&work);
        if missing.is_none() {
            self.explain.candidates += probe.candidates();
        }
        Ok(missing)
    }

    fn wish_of<'a>(query: &'a Query, origin: &Origin) -> Wish<'a> {
        Wish {
            field: query.field,
            vector: &query.vector,
            top_k: query.top_k,
            recall: match query.precision {
                Precision::Recall(recall) => recall,
                Precision::Usual | Precision::Exact => origin.context.options.recall.target,
            },
            calibration: origin.context.recalls.calibration(origin.id),
            with_metadata: query.with_metadata,
        }
    }

    fn note(&mut self, work: &Work) {
        let explain = &mut self.explain;
        explain.lists += work.lists;
        explain.lists_skipped += work.lists_skipped;
        explain.codes += work.codes;
        explain.row_codes += work.rows;
        explain.bytes += work.bytes as u64;
        explain.recall = explain.recall.min(work.recall);
    }
}

/// How many rows of a piece match, at most.
fn compared(piece: &Piece, matches: &Matches) -> usize {
    let matching = matches[piece.source].as_ref().map_or(usize::MAX, |docs| docs.len() as usize);
    piece.rows.len().min(matching)
}

fn rows<'a>(source: Source<'a>, field: usize, piece: &'a Piece) -> Result<Rows<'a>, Corrupt> {
    let range = piece.rows.clone();
    match (source, &piece.part) {
        (Source::Segment(_, segment), Some(part)) => segment.rows_in(part, field, range),
        (Source::Segment(_, segment), None) => Ok(segment.rows(field, range)),
        (Source::Chunk(view), _) => Ok(view.chunk.rows(field, range)),
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
        Ok(Step::Done(Found { hits, ranks, explain: self.explained() }))
    }

    fn explained(&self) -> Explain {
        let reads = self.loaded.reads();
        let exact = (self.explain.rows_scanned + self.explain.candidates)
            * plan::row_bytes(&self.query, &self.loaded);
        Explain {
            bytes: self.explain.bytes + exact as u64,
            waves: reads.waves,
            reads: reads.parts,
            bytes_read: reads.bytes,
            ..self.explain
        }
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
