//! Exact search: the k nearest of some rows, whatever order and pieces they are scanned in.
//!
//! The result is that of "compute every rank, sort by (rank, key), take k". A [`PreparedQuery`] is
//! shared by all scans of a query; each scan fills its own [`TopK`], and merging those gives the
//! same answer in any order. Rows may be a segment's or any row-major slice.
//!
//! ```text
//! if most rows are allowed (or all):      otherwise:
//!   for 256 rows at a time:                 for each allowed row, prefetching ahead:
//!     distances by a row kernel               its distance
//!     those within the bound of the top k:    if within the bound: offer to the top k
//!       if allowed and not deleted: offer
//! ```
//!
//! The dense form reads memory as a stream and looks at the bitmaps for the few rows that would
//! enter the result.

mod rank;
mod rows;
#[cfg(test)]
mod tests;
mod top_k;

pub use rank::{PreparedQuery, rank_row, row_norm};
pub use rows::{Docs, ListRange, Rows};
pub use top_k::{Candidate, KeyOrder, Place, TopK};

use crate::DocId;
use roaring::RoaringBitmap;
use rows::Piece;

/// Rows per call of a row kernel.
const DENSE_ROWS: usize = 256;

/// A row read alone costs as much as its own bytes and this many more in a stream: measured were
/// about 65 ns beside 25 GB/s. Below the share of allowed rows at which the two break even, rows
/// are read alone.
const LONE_ROW_BYTES: u64 = 1600;

/// Bytes of rows to prefetch ahead of the one being scored.
const PREFETCH_BYTES: usize = 4096;

/// Which documents count.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mask<'a> {
    /// Only these; `None` allows every document.
    pub allowed: Option<&'a RoaringBitmap>,
    /// Not these.
    pub deleted: Option<&'a RoaringBitmap>,
}

impl Mask<'_> {
    fn admits(&self, doc: DocId) -> bool {
        self.allowed.is_none_or(|allowed| allowed.contains(doc)) && !self.is_deleted(doc)
    }

    fn is_deleted(&self, doc: DocId) -> bool {
        self.deleted.is_some_and(|deleted| deleted.contains(doc))
    }
}

/// Offers every row that `mask` admits to `top`, as a candidate of `source`.
///
/// Rows are `rows.docs.len()` vectors of the query's dimension. `order` must order places of all
/// sources by their keys, which no two live records share.
///
/// # Panics
/// If values or norms are not of that shape.
pub fn scan_rows(
    query: &PreparedQuery,
    rows: Rows<'_>,
    mask: Mask<'_>,
    source: u32,
    top: &mut TopK,
    order: KeyOrder<'_>,
) {
    let mut scan = Scan { query, mask, source, top, order };
    rows.for_each_piece(query.dimension(), |piece| scan.piece(piece));
}

/// One running scan.
struct Scan<'a> {
    query: &'a PreparedQuery,
    mask: Mask<'a>,
    source: u32,
    top: &'a mut TopK,
    order: KeyOrder<'a>,
}

impl Scan<'_> {
    fn piece(&mut self, piece: &Piece<'_>) {
        let Some(range) = piece.docs.range() else {
            return;
        };
        let Some(allowed) = self.mask.allowed else {
            return self.dense(piece);
        };
        let count = allowed.range_cardinality(range);
        let row_bytes = 4 * self.query.dimension() as u64;
        if count * (row_bytes + LONE_ROW_BYTES) >= piece.docs.len() as u64 * row_bytes {
            self.dense(piece);
        } else if count > 0 {
            self.sparse(piece, &piece.docs.rows_of(allowed));
        }
    }

    fn dense(&mut self, piece: &Piece<'_>) {
        let mut ranks = [0.0; DENSE_ROWS];
        let count = piece.docs.len();
        for start in (0..count).step_by(DENSE_ROWS) {
            let ranks = &mut ranks[..DENSE_ROWS.min(count - start)];
            self.query.fast_ranks(piece, start, ranks);
            if any_within(ranks, self.top.bound()) {
                self.offer_all(piece, start, ranks);
            }
        }
    }

    fn offer_all(&mut self, piece: &Piece<'_>, start: usize, ranks: &[f32]) {
        for (index, &rank) in ranks.iter().enumerate() {
            let row = start + index;
            if is_within(rank, self.top.bound()) && self.mask.admits(piece.docs.at(row)) {
                self.offer(piece, row, rank);
            }
        }
    }

    fn sparse(&mut self, piece: &Piece<'_>, rows: &[u32]) {
        let ahead = (PREFETCH_BYTES / 4 / self.query.dimension()).max(1);
        for (index, &row) in rows.iter().enumerate() {
            if let Some(&next) = rows.get(index + ahead) {
                self.query.prefetch(piece, next as usize);
            }
            self.one(piece, row as usize);
        }
    }

    fn one(&mut self, piece: &Piece<'_>, row: usize) {
        let mut rank = [0.0];
        self.query.fast_ranks(piece, row, &mut rank);
        if is_within(rank[0], self.top.bound()) && !self.mask.is_deleted(piece.docs.at(row)) {
            self.offer(piece, row, rank[0]);
        }
    }

    fn offer(&mut self, piece: &Piece<'_>, row: usize, fast_rank: f32) {
        let rank = self.query.settle(piece, row, fast_rank);
        let place = Place { source: self.source, doc: piece.docs.at(row) };
        self.top.offer(Candidate { rank, place }, self.order);
    }
}

/// Whether a rank may enter a top k with this bound. A rank that is not finite may: it overflowed,
/// and only [`PreparedQuery::settle`] tells where it belongs.
fn is_within(rank: f32, bound: f32) -> bool {
    !(rank > bound && rank < f32::INFINITY)
}

/// Whether any rank is within the bound, without an early exit: the loop is vectorised.
fn any_within(ranks: &[f32], bound: f32) -> bool {
    ranks.iter().fold(false, |any, &rank| any | is_within(rank, bound))
}
