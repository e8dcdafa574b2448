//! Parts of which few rows count: those are scored, and no list is read. Without CODES they are candidates, if they are no more
//! than there would be candidates anyway.

use super::super::codes::Row;
use super::super::ranked::RankedIn;
use super::super::source::{Part, RowCodes, Source};
use super::probe::rows;
use super::{Near, Searcher};
use crate::schema::Metric;

/// Rows of which no more than a bound is known, at most, that become candidates.
const UNSURE_MAX: usize = 24;
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
                RowCodes::OfLists | RowCodes::None => part.count() as usize <= self.keep,
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

    fn score_codes<S>(
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

    /// Ranks a row found at a place of a list by its codes, if these were loaded beside the list: then it is its first list. Otherwise it is
    /// unsure how near the row is.
    pub(super) fn score_at<S: Source>(
        &mut self,
        place: u32,
        list: u32,
        found: RankedIn,
        part: &Part<'_, S>,
    ) {
        let (number, row) = (found.part(), found.number());
        let codes = match part.source.row_codes() {
            RowCodes::All => part.source.row(row),
            _ => {
                let bytes = part.index.row_bytes();
                let start = place as usize * bytes;
                rows(part, list).and_then(|rows| rows.get(start..start + bytes))
            }
        };
        let Some(codes) = codes else { return self.unsure.push(found) };
        if self.scored.insert(number, row)
            && let Some(near) = self.score_codes(number, row, codes, part)
        {
            self.offer(near);
        }
    }

    /// Adds to the candidates the best of those whose codes were not met: of rows that are near their second list alone.
    pub(super) fn take_unsure(&mut self) {
        self.unsure.sort_unstable();
        let last =
            self.nearest.get(self.named + self.k - 1).map_or(f32::INFINITY, |near| near.rank);
        let scored = &self.scored;
        let is_open = |found: &&RankedIn| !scored.has(found.part(), found.number());
        let within = self.unsure.iter().take_while(|found| found.rank() < last);
        let near =
            |found: &RankedIn| Near { rank: found.rank(), part: found.part(), row: found.number() };
        let best: Vec<Near> = within.filter(is_open).take(UNSURE_MAX).map(near).collect();
        let is_known = |row: &Near| {
            self.nearest.iter().any(|near| (near.part, near.row) == (row.part, row.row))
        };
        let new: Vec<Near> = best.into_iter().filter(|row| !is_known(row)).collect();
        self.nearest.extend(new);
        self.nearest[self.named..]
            .sort_by(|a, b| a.rank.total_cmp(&b.rank).then((a.part, a.row).cmp(&(b.part, b.row))));
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
