//! Which lists, in which order, of all parts.

use super::super::ranked::{Ranked, RankedIn};
use super::super::source::{Part, RowCodes, Source};
use super::super::tree::Lookup;
use super::by_list::MANY_DIMENSIONS;
use super::{Request, Searcher};
use crate::schema::Metric;

/// Lists of a part that are put in order first; more only if those were not enough.
const FIRST: f32 = 256.0;

/// A tree of so few groups is looked at whole: it has a few hundred lists, whose distances take microseconds, and queries
/// by inner product lost three hundredths of their recall to the groups left out.
const GROUPS_WHOLE: usize = 16;

/// Groups of a tree to look into for a recall.
fn groups(groups: usize, target: f32) -> usize {
    if groups <= GROUPS_WHOLE {
        return groups;
    }
    let share = match target {
        ..0.93 => 0.9,
        ..0.96 => 1.2,
        ..0.985 => 1.7,
        _ => 2.8,
    };
    (((groups as f32).sqrt() * share).ceil() as usize).max(4)
}

impl Searcher {
    /// Fills `stops` with the nearest lists of parts with trees, and `flats` with all lists of flat ones. Says how many of these will be
    /// needed.
    pub(super) fn route<S: Source>(&mut self, parts: &[Part<'_, S>], request: &Request) {
        for (number, part) in (0..).zip(parts) {
            if self.queries[number as usize].is_done || part.count() == 0 {
                continue;
            }
            match &part.index.tree {
                None => self.all_lists(number, part),
                Some(tree) => {
                    // The fewer rows count, the more lists will be needed.
                    const MORE_MAX: f32 = 8.0;
                    let share = self.queries[number as usize].share;
                    let more = (1.0 / share.sqrt()).min(MORE_MAX);
                    let groups = groups(tree.groups(), request.target) as f32 * more;
                    self.nearest_lists(number, part, groups as usize, (FIRST * more) as usize);
                }
            }
        }
        self.at_start = self.stops.first().map_or(0, |stop| {
            let number = stop.part() as usize;
            lists_at_start(&parts[number], self.queries[number].share, request)
        });
    }

    /// Adds the lists of parts with trees that `route` left out; false if there was none.
    pub(super) fn route_rest<S: Source>(&mut self, parts: &[Part<'_, S>]) -> bool {
        let before = self.stops.len();
        let mut known: Vec<Vec<bool>> =
            parts.iter().map(|part| vec![false; part.index.lists.len()]).collect();
        for stop in &self.stops {
            known[stop.part() as usize][stop.number() as usize] = true;
        }
        for (number, part) in (0..).zip(parts) {
            if !self.queries[number as usize].is_done && part.count() > 0 {
                self.nearest_lists(number, part, usize::MAX, usize::MAX);
            }
        }
        let mut place = 0;
        self.stops.retain(|stop| {
            place += 1;
            place <= before || !known[stop.part() as usize][stop.number() as usize]
        });
        self.stops.len() > before
    }

    fn nearest_lists<S>(&mut self, number: u32, part: &Part<'_, S>, groups: usize, count: usize) {
        let Some(tree) = &part.index.tree else { return };
        let query = &self.queries[number as usize];
        let by_product = part.index.shape.metric == Metric::InnerProduct;
        let lookup = Lookup { groups, by_product, kernels: self.kernels };
        tree.find(&query.values, &query.rounded, &lookup, &mut self.scratch);
        let found = &mut self.scratch.found;
        if count < found.len() {
            found.select_nth_unstable(count);
            found.truncate(count);
        }
        let stop =
            |found: &Ranked| RankedIn::new(found.rank() + query.shift, number, found.number());
        self.stops.extend(found.iter().map(stop));
    }

    fn all_lists<S>(&mut self, number: u32, part: &Part<'_, S>) {
        let query = &self.queries[number as usize];
        let base = match part.index.shape.metric {
            Metric::InnerProduct => query.shift,
            Metric::Euclidean | Metric::Cosine => query.squared,
        };
        let lists = 0..part.index.lists.len() as u32;
        self.flats.extend(lists.map(|list| RankedIn::new(base, number, list)));
    }
}

/// How many lists to load at once for a search of a part, of whose rows a share counts. The fewer count, the farther away are the
/// nearest of them, and the less of all near them may be missed. Measured with rows that count at random.
fn lists_at_start<S: Source>(part: &Part<'_, S>, share: f32, request: &Request) -> usize {
    // Rows that come to the exact step by their bounds make up for lists.
    let (may_miss, times) = match part.source.row_codes() {
        RowCodes::None => (1.6, 1.0),
        RowCodes::OfLists if part.index.shape.dimension >= MANY_DIMENSIONS => (1.0, 0.7),
        RowCodes::OfLists | RowCodes::All => (1.0, 1.0),
    };
    let left = may_miss * request.left(part.index, share) * share.sqrt();
    let lists = times * part.index.model.lists(1.0 - (1.0 - request.target) * left);
    // Where all nearest rows are in a few lists, those that count are not.
    const ROWS: f32 = 8.0;
    let rows = ROWS * request.k as f32 / share.max(f32::MIN_POSITIVE);
    let lists = if share < 1.0 { lists.max(rows / part.index.rows_per_list) } else { lists };
    // Lists grow a little slower than the strain at which searches stop.
    let half = request.calibration.sqrt();
    (lists * half * half.sqrt()) as usize
}
