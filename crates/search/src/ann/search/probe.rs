//! Looking into lists, nearest first, until going on is not worth while.

use std::ops::Range;

use vb_kernel::{CodeBlocks, CodeQuery};

use super::super::index::{Index, is_row};
use super::super::ranked::RankedIn;
use super::super::recall::care;
use super::super::source::{Part, RowCodes, Source};
use super::by_list::{has_rows, run};
use super::{Checkpoint, Near, Query, Request, Searcher};
use crate::schema::Metric;

/// Stops that are put in order at a time.
const ORDERED: usize = 64;
/// Lists that are scanned before any distance by CODES is found: the *opening*. Their survivors are looked at together and best
/// first, so that the threshold falls soon.
pub(in super::super) const OPENING: usize = 3;
/// Survivors of the opening are dropped as soon as there are so many times as could be candidates.
const MANY: usize = 4;
/// Survivors of the opening that are looked at before the threshold is applied to the others again.
const BEST: usize = 48;
/// The share of rows that count from which on most blocks have one: of 32 at random, four fifths.
const DENSE: f32 = 0.05;
/// Survivors whose rows are prefetched.
const PREFETCHED_ROWS: usize = 96;

/// How far a search has come.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    /// Stops looked into, or passed by.
    place: usize,
    /// Stops in order.
    ordered: usize,
    /// Whether all lists of trees are among the stops.
    is_whole: bool,
    /// Whether the flat parts were looked into.
    is_flat_done: bool,
}

impl Searcher {
    /// Looks into lists until there is enough; false if lists are missing.
    pub(super) fn probe<S: Source>(&mut self, parts: &[Part<'_, S>], request: &Request) -> bool {
        let mut progress = Progress::default();
        while self.goes_on(parts, request, &mut progress) {
            let stop = self.stops[progress.place];
            if self.is_enough(&stop, parts, request, progress.place)
                && !self.is_paid_for(parts, &stop)
            {
                if self.close(&stop, parts) {
                    break;
                }
                progress.place += 1;
                continue;
            }
            let has_all = self.has_all(parts, &stop, progress.place);
            let Some(run) = run(parts, &stop).filter(|_| has_all) else {
                self.name_missing(parts, progress.place);
                return false;
            };
            let next = self.ahead(parts, self.stops.get(progress.place + 1));
            self.look_into(&stop, run, next, parts, progress.place < OPENING);
            progress.place += 1;
            if progress.place == OPENING {
                self.end_opening(parts);
                if !self.probe_flats(parts, &mut progress) {
                    self.name_missing(parts, progress.place);
                    return false;
                }
            }
        }
        if progress.place < OPENING {
            self.end_opening(parts);
        }
        if !self.probe_flats(parts, &mut progress) {
            self.name_missing(parts, progress.place);
            return false;
        }
        self.second_stage(parts, self.waiting.len());
        self.cut();
        self.take_unsure(request);
        self.work.recall = self.estimate(parts);
        true
    }

    /// Whether there is another list; makes it the next in order.
    fn goes_on<S: Source>(
        &mut self,
        parts: &[Part<'_, S>],
        request: &Request,
        progress: &mut Progress,
    ) -> bool {
        let place = progress.place;
        if place >= request.lists_max && self.known_rank(request.k).is_some() {
            return false;
        }
        if place == self.stops.len()
            && (std::mem::replace(&mut progress.is_whole, true) || !self.route_rest(parts))
        {
            return false;
        }
        if place >= progress.ordered {
            progress.ordered = self.order(place, ORDERED);
        }
        true
    }

    /// Puts the next `count` stops from `start` in order; returns where they end.
    fn order(&mut self, start: usize, count: usize) -> usize {
        let rest = &mut self.stops[start..];
        let count = count.min(rest.len());
        if count < rest.len() {
            rest.select_nth_unstable(count);
        }
        rest[..count].sort_unstable();
        start + count
    }

    /// The rank of the k-th nearest so far, here or elsewhere.
    fn known_rank(&self, k: usize) -> Option<f32> {
        let known = self.nearest.get(self.named + k - 1).map(|near| near.rank.min(self.bound));
        known.or(Some(self.bound).filter(|bound| *bound < f32::INFINITY))
    }

    /// Whether this list, and so those after it of its part, are not worth while.
    fn is_enough<S: Source>(
        &mut self,
        stop: &RankedIn,
        parts: &[Part<'_, S>],
        request: &Request,
        place: usize,
    ) -> bool {
        let query = &mut self.queries[stop.part() as usize];
        if query.is_closed {
            return true;
        }
        let index = parts[stop.part() as usize].index;
        let is_among_some = query.share < 1.0 && query.passed < query.share * index.rows_per_list;
        if query.nearest == f32::INFINITY || is_among_some {
            query.nearest = stop.rank();
        }
        let Some(rank) = self.known_rank(request.k) else { return false };
        let query = &self.queries[stop.part() as usize];
        let slack = if self.rows == RowCodes::None { self.slack(index, stop) } else { 0.0 };
        // The next list would have to be read.
        let is_dear =
            self.rows == RowCodes::None && parts[stop.part() as usize].source.is_by_list();
        let lenience = if is_dear { request.lenience() } else { 1.0 };
        let strain = lenience * query.strain(index, stop.rank(), rank + slack);
        if let Some(trace) = &mut self.trace {
            let rows = self.nearest.iter().take(request.k).map(|near| near.row).collect();
            trace.push(Checkpoint { strain, rows });
            return false;
        }
        let left = care(query.density()) * request.left(index, query.share);
        let aim = 1.0 - (1.0 - request.target) * left;
        if place < OPENING || strain <= index.model.stop(aim) * request.calibration {
            return false;
        }
        let missed = (1.0 - index.model.recall(strain)) / left;
        self.queries[stop.part() as usize].recall = (1.0 - missed).max(0.0);
        true
    }

    /// Looks into no more lists of a part; true if no part is left.
    fn close<S>(&mut self, stop: &RankedIn, parts: &[Part<'_, S>]) -> bool {
        self.queries[stop.part() as usize].is_closed = true;
        let is_over = |(query, part): (&Query, &Part<'_, S>)| {
            query.is_closed || query.is_done || part.index.is_flat() || part.count() == 0
        };
        self.queries.iter().zip(parts).all(is_over)
    }

    /// The estimated share of the wanted that was found, over all parts.
    fn estimate<S>(&self, parts: &[Part<'_, S>]) -> f32 {
        let of = |(sum, rows): (f32, f32), (query, part): (&Query, &Part<'_, S>)| {
            let count = part.count() as f32;
            (sum + count * query.recall, rows + count)
        };
        let (sum, rows) = self.queries.iter().zip(parts).fold((0.0, 0.0), of);
        if rows > 0.0 { sum / rows } else { 1.0 }
    }

    /// How far bounds lie below distances, about.
    fn slack(&self, index: &Index, stop: &RankedIn) -> f32 {
        const SQRT_HALF_PI: f32 = 1.253_314;
        let spread = index.lists[stop.number() as usize].spread;
        let slope = SQRT_HALF_PI * (spread / index.shape.padded() as f32).sqrt();
        let factor = if index.shape.metric == Metric::InnerProduct { 1.0 } else { 2.0 };
        factor * slope * self.queries[stop.part() as usize].margin
    }

    /// Looks into all lists of flat parts, once; false if one is missing.
    fn probe_flats<S: Source>(&mut self, parts: &[Part<'_, S>], progress: &mut Progress) -> bool {
        if std::mem::replace(&mut progress.is_flat_done, true) {
            return true;
        }
        for place in 0..self.flats.len() {
            let stop = self.flats[place];
            let Some(run) = run(parts, &stop).filter(|_| has_rows(parts, &stop)) else {
                return false;
            };
            let next = self.ahead(parts, self.flats.get(place + 1));
            self.look_into(&stop, run, next, parts, place < OPENING);
            if place + 1 == OPENING.min(self.flats.len()) {
                self.end_opening(parts);
            }
        }
        true
    }

    /// What to bring into the cache while a list is scanned, because the next one is `stop`. Where few of the rows met so far count it
    /// is nothing of a list but its row numbers, which are looked at first: perhaps none of its blocks will be.
    fn ahead<'a, S: Source>(&self, parts: &'a [Part<'_, S>], stop: Option<&RankedIn>) -> &'a [u8] {
        let Some((stop, next)) = stop.and_then(|stop| Some((stop, run(parts, stop)?))) else {
            return &[];
        };
        let part = &parts[stop.part() as usize];
        let query = &self.queries[stop.part() as usize];
        if part.allowed.is_some_and(|mask| mask.knows_empty(stop.number())) {
            return &[];
        }
        if part.allowed.is_none() || query.passed >= DENSE * query.met {
            return next;
        }
        let list = &part.index.lists[stop.number() as usize];
        let rows = &next[part.index.shape.blocks_bytes(list.count as usize)..];
        self.kernels.prefetch_bytes(rows);
        &[]
    }

    /// Names all lists that are missing of those that the search is likely to look into next.
    pub(super) fn name_missing<S: Source>(&mut self, parts: &[Part<'_, S>], place: usize) {
        let first = self.at_start;
        let more = match self.rows {
            RowCodes::None => place + 8,
            RowCodes::All | RowCodes::OfLists => place / 2 + 8,
        };
        let wave = if place == 0 { first } else { more.max(first.saturating_sub(place)) };
        self.order(place, wave);
        let wave = &self.stops[place..][..wave.min(self.stops.len() - place)];
        let name = |stop: &RankedIn| (stop.part(), stop.number());
        let missing = wave.iter().chain(&self.flats).filter(|stop| run(parts, stop).is_none());
        self.missing.extend(missing.map(name));
        let with_rows = self.lists_with_rows(parts).saturating_sub(place).min(wave.len());
        let with_rows = wave[..with_rows].iter().chain(&self.flats);
        let missing = with_rows.filter(|stop| !has_rows(parts, stop));
        self.missing_rows.extend(missing.map(name));
    }

    /// Scans a list, and finds the distances of the survivors of the one before; not yet in the opening. Brings `next` into the cache.
    fn look_into<S: Source>(
        &mut self,
        stop: &RankedIn,
        run: &[u8],
        next: &[u8],
        parts: &[Part<'_, S>],
        is_opening: bool,
    ) {
        let before = self.waiting.len();
        let part = &parts[stop.part() as usize];
        if !self.scan(stop, run, next, part) {
            self.work.lists_skipped += 1;
        }
        if self.rows == RowCodes::None {
            self.margin = self.margin.max(self.uncertain * self.slack(part.index, stop));
        }
        if self.rows != RowCodes::All {
            return;
        }
        if is_opening {
            self.narrow(self.slack(part.index, stop), parts);
        } else {
            self.prefetch_rows(parts, before..self.waiting.len());
            self.second_stage(parts, before);
        }
    }

    /// Scans a list for vectors that may be near enough; false if none of its rows counts.
    fn scan<S: Source>(
        &mut self,
        stop: &RankedIn,
        run: &[u8],
        next: &[u8],
        part: &Part<'_, S>,
    ) -> bool {
        let index = part.index;
        let list = &index.lists[stop.number() as usize];
        let (blocks, rows) = run.split_at(index.shape.blocks_bytes(list.count as usize));
        let (rows, _) = rows.as_chunks::<4>();
        let rows = &rows[..list.count as usize];
        let mut counts = list.count;
        self.queries[stop.part() as usize].met += list.count as f32;
        if let Some(mask) = part.allowed {
            if mask.knows_empty(stop.number()) {
                return false;
            }
            self.words.clear();
            self.kernels.mask_words(rows, mask.words(), &mut self.words);
            counts = self.words.iter().map(|word| word.count_ones()).sum();
            if counts == 0 {
                mask.note_empty(stop.number(), index.lists.len());
                return false;
            }
        }
        let query = &mut self.queries[stop.part() as usize];
        query.passed += counts as f32;
        query.looked += query.weight * counts as f32;
        let words = part.allowed.map(|_| self.words.as_slice());
        let query = &self.queries[stop.part() as usize];
        let code_query = CodeQuery {
            table: &query.table.bytes,
            scale: query.table.scale,
            bias: query.table.bias + query.margin,
            base: stop.rank(),
        };
        let blocks = CodeBlocks { bytes: blocks, count: list.count as usize, next };
        let threshold = self.threshold();
        self.survivors.clear();
        self.kernels.scan_codes(&blocks, &code_query, words, threshold, &mut self.survivors);
        self.work.lists += 1;
        self.work.codes += list.count as usize;
        self.work.bytes += run.len();
        self.take_survivors(stop, rows, part);
        true
    }

    /// Puts survivors among the waiting, or, without all of CODES, among the candidates.
    fn take_survivors<S: Source>(&mut self, stop: &RankedIn, rows: &[[u8; 4]], part: &Part<'_, S>) {
        let number = stop.part();
        for place in 0..self.survivors.len() {
            let survivor = self.survivors[place];
            let row = u32::from_le_bytes(rows[survivor.place as usize]);
            if !is_row(row, part.index.rows) || self.scored.has(number, row) {
                continue;
            }
            let found = RankedIn::new(survivor.bound, number, row);
            match self.rows {
                RowCodes::All => self.waiting.push(found),
                _ if survivor.bound >= self.threshold() => {}
                RowCodes::OfLists => self.score_at(survivor.place, stop.number(), found, part),
                RowCodes::None => self.offer(Near { rank: survivor.bound, part: number, row }),
            }
        }
    }

    fn prefetch_rows<S: Source>(&self, parts: &[Part<'_, S>], places: Range<usize>) {
        for waiting in self.waiting[places].iter().take(PREFETCHED_ROWS) {
            if let Some(row) = parts[waiting.part() as usize].source.row(waiting.number()) {
                self.kernels.prefetch_bytes(row);
            }
        }
    }

    /// Drops those waiting that are hardly among the nearest, in the opening, once they are many. No row is in more than two lists, so
    /// the bounds of twice as many entries as candidates wanted say where those may end.
    fn narrow<S: Source>(&mut self, slack: f32, parts: &[Part<'_, S>]) {
        self.slack = self.slack.max(slack);
        let enough = 2 * self.keep;
        if self.waiting.len() > MANY * enough {
            let (_, last, _) = self.waiting.select_nth_unstable(enough - 1);
            self.opening = last.rank() + 2.0 * self.slack;
            self.prefetch_rows(parts, 0..enough);
            let limit = self.opening;
            self.waiting.retain(|waiting| waiting.rank() <= limit);
        }
    }

    /// Finds the distances by CODES of those that wait after the opening, best first.
    fn end_opening<S: Source>(&mut self, parts: &[Part<'_, S>]) {
        self.opening = f32::INFINITY;
        while self.waiting.len() > BEST {
            self.waiting.select_nth_unstable(BEST - 1);
            self.prefetch_rows(parts, 0..BEST);
            self.second_stage(parts, BEST);
            let threshold = self.threshold();
            self.waiting.retain(|waiting| waiting.rank() < threshold);
        }
        self.prefetch_rows(parts, 0..self.waiting.len());
        self.second_stage(parts, self.waiting.len());
    }

    /// Finds the distances by CODES of the first `count` of the waiting, as far as they may be near enough.
    fn second_stage<S: Source>(&mut self, parts: &[Part<'_, S>], count: usize) {
        for place in 0..count {
            let waiting = self.waiting[place];
            let (part, row) = (waiting.part(), waiting.number());
            if waiting.rank() < self.threshold()
                && self.scored.insert(part, row)
                && let Some(near) = self.score(part, row, &parts[part as usize])
            {
                self.offer(near);
            }
        }
        self.waiting.drain(..count);
    }
}
