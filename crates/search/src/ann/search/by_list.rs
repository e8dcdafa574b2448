//! What is loaded of lists, and ranking by rows of CODES that were loaded with the nearest of them: a row has its codes beside its first
//! list; met in its second list alone, or farther away, it has but a bound.

use super::super::ranked::RankedIn;
use super::super::source::{Part, RowCodes, Source};
use super::{Near, Request, Searcher};

/// The share of the lists loaded at once, the nearest, that come with their rows where vectors have many dimensions: hardly a row in the
/// others has a bound that is less than the k-th distance in those, and the floats of these few are less to read. Measured.
const WITH_ROWS: f32 = 0.35;
/// From so many dimensions on. With fewer, bounds say less: at 100 all lists come with their rows.
pub(super) const MANY_DIMENSIONS: usize = 256;

impl Searcher {
    /// How many of the nearest lists are loaded with their rows, where these come with lists.
    pub(super) fn lists_with_rows<S>(&self, parts: &[Part<'_, S>]) -> usize {
        let dimension = parts.first().map_or(0, |part| part.index.shape.dimension);
        match dimension >= MANY_DIMENSIONS {
            true => (WITH_ROWS * self.at_start as f32).ceil() as usize,
            false => usize::MAX,
        }
    }

    /// Whether all that a search needs of the list at this place is loaded. A list that was read without its rows stays without them if it
    /// is not among the nearest: about how many rows count may have been guessed.
    pub(super) fn has_all<S: Source>(
        &self,
        parts: &[Part<'_, S>],
        stop: &RankedIn,
        place: usize,
    ) -> bool {
        let with_rows = match parts[stop.part() as usize].source.is_by_list() {
            true => self.lists_with_rows(parts) / 2,
            false => self.lists_with_rows(parts),
        };
        run(parts, stop).is_some() && (place >= with_rows || has_rows(parts, stop))
    }

    /// Whether something of a list was read for this search: then it may as well be looked into.
    pub(super) fn is_paid_for<S: Source>(&self, parts: &[Part<'_, S>], stop: &RankedIn) -> bool {
        let source = &parts[stop.part() as usize].source;
        match self.rows {
            RowCodes::All => false,
            _ if source.is_by_list() => run(parts, stop).is_some(),
            _ => source.row_codes() == RowCodes::OfLists && has_rows(parts, stop),
        }
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

    /// Adds to the candidates the best of those whose codes were not met.
    pub(super) fn take_unsure(&mut self, request: &Request) {
        if self.unsure.is_empty() {
            return;
        }
        // The lower of two bounds: cautious.
        self.unsure.sort_unstable_by_key(|found| (found.part(), found.number(), *found));
        self.unsure.dedup_by_key(|found| (found.part(), found.number()));
        self.unsure.sort_unstable();
        let last =
            self.nearest.get(self.named + self.k - 1).map_or(f32::INFINITY, |near| near.rank);
        let scored = &self.scored;
        let is_open = |found: &&RankedIn| !scored.has(found.part(), found.number());
        let within = self.unsure.iter().take_while(|found| found.rank() < last);
        let near =
            |found: &RankedIn| Near { rank: found.rank(), part: found.part(), row: found.number() };
        let best: Vec<Near> = within.filter(is_open).take(request.unsure_max()).map(near).collect();
        let is_known = |row: &Near| {
            self.nearest.iter().any(|near| (near.part, near.row) == (row.part, row.row))
        };
        let new: Vec<Near> = best.into_iter().filter(|row| !is_known(row)).collect();
        self.nearest.extend(new);
        self.nearest[self.named..]
            .sort_by(|a, b| a.rank.total_cmp(&b.rank).then((a.part, a.row).cmp(&(b.part, b.row))));
    }
}

/// Whether the rows of a list are loaded, if they come with lists.
pub(super) fn has_rows<S: Source>(parts: &[Part<'_, S>], stop: &RankedIn) -> bool {
    let part = &parts[stop.part() as usize];
    part.source.row_codes() != RowCodes::OfLists || rows(part, stop.number()).is_some()
}

/// The rows of a list that come with it.
fn rows<'a, S: Source>(part: &'a Part<'_, S>, list: u32) -> Option<&'a [u8]> {
    let place = part.index.rows_place(list)?;
    part.source.rows(list).filter(|rows| rows.len() as u64 == place.end - place.start)
}

/// The run of a stop, if it is loaded.
pub(super) fn run<'a, S: Source>(parts: &'a [Part<'_, S>], stop: &RankedIn) -> Option<&'a [u8]> {
    let part = &parts[stop.part() as usize];
    let place = part.index.list_place(stop.number());
    part.source.list(stop.number()).filter(|run| run.len() as u64 == place.end - place.start)
}
