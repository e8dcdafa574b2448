//! Parts of which few rows count: those are scored, and no list is read. Without CODES they are candidates, if they are no more
//! than there would be candidates anyway.

use super::super::codes::Row;
use super::super::source::{Part, RowCodes, Source};
use super::{Near, Searcher};
use crate::schema::Metric;

/// Rows to prefetch ahead of the one being scored.
const AHEAD: usize = 12;
/// Bytes of rows that cost about what a search through lists does.
const BYTES_MAX: usize = 2_000_000;
/// Fewer rows than this are scored whatever they cost.
const ROWS_MIN: usize = 64;

/// Whether scoring `count` rows of `bytes` each costs less than looking through lists. A row costs its bytes and a wait.
fn is_few(count: u32, bytes: usize) -> bool {
    const WAIT_BYTES: usize = 64;
    count as usize <= ROWS_MIN || count as usize * (bytes + WAIT_BYTES) <= BYTES_MAX
}

impl Searcher {
    /// Scores the rows of parts with few of them.
    pub(super) fn score_few<S: Source>(&mut self, parts: &[Part<'_, S>]) {
        for (number, part) in (0..).zip(parts) {
            let bytes = part.index.row_bytes();
            let is_few = match self.rows {
                RowCodes::All => is_few(part.count(), bytes),
                // Each of them costs the caller a read.
                RowCodes::OfLists | RowCodes::None => part.count() as usize <= self.keep_max,
            };
            if part.allowed.is_none() || !is_few {
                continue;
            }
            self.queries[number as usize].is_done = true;
            if self.rows == RowCodes::All {
                self.score_rows(number, part);
            } else {
                self.name_rows(number, part);
            }
        }
    }

    fn score_rows<S: Source>(&mut self, number: u32, part: &Part<'_, S>) {
        let Some(mask) = part.allowed else { return };
        let rows = || mask.rows().take_while(|row| *row < part.index.rows);
        let mut ahead = rows();
        let prefetch = |row: Option<u32>| {
            if let Some(bytes) = row.and_then(|row| part.source.row(row)) {
                self.kernels.prefetch_bytes(bytes);
            }
        };
        ahead.by_ref().take(AHEAD).for_each(|row| prefetch(Some(row)));
        for row in rows() {
            if let Some(bytes) = ahead.next().and_then(|row| part.source.row(row)) {
                self.kernels.prefetch_bytes(bytes);
            }
            if let Some(near) = self.score(number, row, part) {
                self.offer_new(near);
            }
        }
    }

    /// Ranks a row by its codes; `None` if it is not near enough.
    pub(super) fn score<S: Source>(
        &mut self,
        number: u32,
        row: u32,
        part: &Part<'_, S>,
    ) -> Option<Near> {
        self.score_codes(number, row, part.source.row(row)?, part)
    }

    /// The same, of these codes.
    pub(super) fn score_codes<S>(
        &mut self,
        number: u32,
        row: u32,
        bytes: &[u8],
        part: &Part<'_, S>,
    ) -> Option<Near> {
        let shape = part.index.shape;
        if bytes.len() != shape.row_bytes() {
            return None;
        }
        self.work.rows += 1;
        self.work.bytes += bytes.len();
        let query = &self.queries[number as usize];
        let row_codes = Row::open(bytes);
        let dot = row_codes.dot(shape.row_bits, &query.rounded, self.kernels);
        let rank = match shape.metric {
            Metric::InnerProduct => query.shift - dot,
            Metric::Euclidean | Metric::Cosine => query.squared + row_codes.norm - 2.0 * dot,
        };
        (rank < self.threshold()).then_some(Near { rank, part: number, row })
    }

    /// Makes all rows that count candidates, whatever their distance.
    fn name_rows<S: Source>(&mut self, number: u32, part: &Part<'_, S>) {
        let Some(mask) = part.allowed else { return };
        let rows = mask.rows().take_while(|row| *row < part.index.rows);
        let near = |row| Near { rank: f32::NEG_INFINITY, part: number, row };
        let before = self.nearest.len();
        self.nearest.extend(rows.map(near));
        // They do not crowd out those of other parts.
        self.named += self.nearest.len() - before;
    }
}
