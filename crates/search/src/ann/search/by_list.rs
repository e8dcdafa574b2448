//! What is loaded of lists, and ranking by rows of CODES that were loaded with them: a row has its codes beside its first list; met in
//! its second list alone, it has but a bound.

use super::super::ranked::RankedIn;
use super::super::source::{Part, RowCodes, Source};
use super::{Near, Searcher};

/// Rows of which no more than a bound is known, at most, that become candidates.
const UNSURE_MAX: usize = 24;

impl Searcher {
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
        if self.unsure.is_empty() {
            return;
        }
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
}

/// The run of a stop, if all that a search needs of the list is loaded.
pub(super) fn loaded_run<'a, S: Source>(
    parts: &'a [Part<'_, S>],
    stop: &RankedIn,
) -> Option<&'a [u8]> {
    run(parts, stop).filter(|_| has_rows(parts, stop))
}

/// Whether it is loaded, and not with everything else.
pub(super) fn is_loaded_apart<S: Source>(parts: &[Part<'_, S>], stop: &RankedIn) -> bool {
    parts[stop.part() as usize].source.is_by_list() && loaded_run(parts, stop).is_some()
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
