//! The nearest matching records of one snapshot: plan, fetch, scan, merge.
//!
//! 1. **plan** (pure): the filter becomes an exact set of documents per part of the snapshot
//!    (segments by their columns, memtable rows one by one), and what is left to scan is cut into
//!    pieces.
//! 2. **fetch**: what the plan reads and memory does not hold. An open index holds all its
//!    sections, so nothing is fetched here yet; [`crate::fetch`] is where it will come from.
//! 3. **scan**: pieces on the CPU pool, each exact, deleted and filtered documents left out inside
//!    the scan.
//! 4. **merge**: the k best by (distance, key), then the metadata of the winners.
//!
//! The whole of it is one job of the CPU pool; a query small enough is one piece and never splits.

use std::cmp::Ordering;
use std::ops::Range;

use rayon::prelude::*;
use roaring::RoaringBitmap;
use vb_kernel::Kernels;
use vb_search::{
    Candidate, Corrupt, Filter, Mask, Place, PreparedQuery, RowFilter, Schema, TopK, scan_rows,
};

use crate::index::chunk::ChunkView;
use crate::index::view::{Source, View, key_order};
use crate::requests::{Hit, Query};

/// Bytes of vectors per piece: long enough to stream, short enough to share out.
const PIECE_BYTES: usize = 1 << 20;

/// What a query found.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) hits: Vec<Hit>,
    /// Vectors gone over.
    pub(crate) scanned: usize,
}

/// A part of a snapshot that could not be read.
#[derive(Debug)]
pub(crate) struct Damaged {
    /// Name of the segment.
    pub(crate) segment: u128,
    pub(crate) cause: Corrupt,
}

/// Which documents of each part match; `None`: all.
pub(crate) type Matches = Vec<Option<RoaringBitmap>>;

/// One part's rows, some of them.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Piece {
    source: usize,
    rows: Range<usize>,
}

/// Answers a query on a snapshot. Called on the CPU pool.
pub(crate) fn run(
    view: &View,
    schema: &Schema,
    kernels: Kernels,
    query: &Query,
) -> Result<Found, Damaged> {
    let matches = matches(view, &query.filter);
    let pieces = plan(view, schema, query, &matches);
    let scanned = pieces.iter().map(|piece| piece.rows.len()).sum();
    let best = scan(view, schema, kernels, query, &matches, &pieces);
    let hits = merge(view, schema, query, best)?;
    Ok(Found { hits, scanned })
}

/// The filter as an exact set of documents per part.
pub(crate) fn matches(view: &View, filter: &Filter) -> Matches {
    if matches!(filter, Filter::All) {
        return vec![None; view.source_count()];
    }
    let sources: Vec<Source<'_>> = view.sources().collect();
    let rows = RowFilter::new(filter);
    let select = |source: Source<'_>| match source {
        Source::Segment(view) => view.segment.select(filter),
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

/// Cuts what is left to scan into pieces; parts without a match are left out.
fn plan(view: &View, schema: &Schema, query: &Query, matches: &Matches) -> Vec<Piece> {
    let row_bytes = schema.vector_fields[query.field].dimension as usize * 4;
    let rows_max = (PIECE_BYTES / row_bytes).max(1);
    let mut pieces = Vec::new();
    for (number, (source, allowed)) in view.sources().zip(matches).enumerate() {
        if allowed.as_ref().is_some_and(RoaringBitmap::is_empty) {
            continue;
        }
        let count = source.vector_count(query.field);
        let piece = |start| Piece { source: number, rows: start..count.min(start + rows_max) };
        pieces.extend((0..count).step_by(rows_max).map(piece));
    }
    pieces
}

/// The k best candidates of all pieces.
fn scan(
    view: &View,
    schema: &Schema,
    kernels: Kernels,
    query: &Query,
    matches: &Matches,
    pieces: &[Piece],
) -> Vec<Candidate> {
    let metric = schema.vector_fields[query.field].metric;
    let prepared = PreparedQuery::new(kernels, metric, &query.vector);
    let order = |a: Place, b: Place| -> Ordering { key_order(view, a, b) };
    let scan_piece = |mut top: TopK, piece: &Piece| {
        let source = view.source(piece.source);
        let rows = match source {
            Source::Segment(view) => view.segment.rows(query.field, piece.rows.clone()),
            Source::Chunk(view) => view.chunk.rows(query.field, piece.rows.clone()),
        };
        let deleted = Some(source.deleted()).filter(|deleted| !deleted.is_empty());
        let mask = Mask { allowed: matches[piece.source].as_ref(), deleted };
        let number = u32::try_from(piece.source).expect("a snapshot is far below 2^32 parts");
        scan_rows(&prepared, rows, mask, number, &mut top, &order);
        top
    };
    let empty = || TopK::new(query.top_k);
    let row_bytes = prepared_row_bytes(schema, query.field);
    let bytes: usize = pieces.iter().map(|piece| piece.rows.len() * row_bytes).sum();
    let top = if bytes <= PIECE_BYTES {
        pieces.iter().fold(empty(), scan_piece)
    } else {
        let parts = pieces.par_iter().fold(empty, scan_piece);
        parts.reduce(empty, |mut top, other| {
            top.merge(other, &order);
            top
        })
    };
    top.into_sorted(&order)
}

fn prepared_row_bytes(schema: &Schema, field: usize) -> usize {
    schema.vector_fields[field].dimension as usize * 4
}

/// Candidates as hits, nearest first.
fn merge(
    view: &View,
    schema: &Schema,
    query: &Query,
    best: Vec<Candidate>,
) -> Result<Vec<Hit>, Damaged> {
    let metric = schema.vector_fields[query.field].metric;
    let hit = |candidate: Candidate| {
        let Place { source, doc } = candidate.place;
        let source = view.source(source as usize);
        Ok(Hit {
            key: source.key_bytes(doc),
            distance: metric.distance(candidate.rank),
            metadata: if query.with_metadata { source.metadata(doc)? } else { None },
        })
    };
    best.into_iter().map(hit).collect()
}
