//! Looking into lists, nearest first, until the expected miss is small.

use vb_kernel::{BLOCK, CodeBlocks, CodeQuery};

use super::super::index::{Index, is_row};
use super::super::mask::RowMask;
use super::super::source::{Part, Source};
use super::route::{Stop, by_base};
use super::{Checkpoint, Near, Request, Searcher, Waiting};
use crate::schema::Metric;

/// Stops that are put in order at a time.
const ORDERED: usize = 64;
/// Lists whose survivors are looked at at once and best first, so that the threshold falls soon.
const SORTED_LISTS: usize = 3;
/// Survivors of such a list that are put in order.
const SORTED_SURVIVORS: usize = 64;
/// The expected miss is looked at after so many lists first, then ever less often.
const CHECK_FIRST: usize = 4;
/// Lists whose expected gain decides whether to go on.
const WINDOW: usize = 8;
/// Bytes of the next list to prefetch; the processor itself goes on from there.
const HEAD_BYTES: usize = 1024;
/// Survivors whose rows are prefetched.
const PREFETCHED_ROWS: usize = 96;

/// How far a search has come.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    /// Stops looked into.
    place: usize,
    /// Stops in order.
    ordered: usize,
    /// Where to look at the expected miss next.
    check: usize,
    /// Whether all lists of trees are among the stops.
    is_whole: bool,
    /// Whether the flat parts were looked into.
    is_flat_done: bool,
}

impl Searcher {
    /// Looks into lists until there is enough; false if lists are missing.
    pub(super) fn probe<S: Source>(&mut self, parts: &[Part<'_, S>], request: &Request) -> bool {
        let mut progress = Progress { check: CHECK_FIRST, ..Progress::default() };
        while self.goes_on(parts, request, &mut progress) {
            let stop = self.stops[progress.place];
            let Some(run) = run(parts, &stop) else {
                self.name_missing(parts, &mut progress);
                return false;
            };
            self.prefetch(parts, self.stops.get(progress.place + 1));
            self.look_into(&stop, run, parts, progress.place < SORTED_LISTS);
            progress.place += 1;
            if progress.place == SORTED_LISTS && !self.probe_flats(parts, &mut progress) {
                self.name_missing(parts, &mut progress);
                return false;
            }
        }
        if !self.probe_flats(parts, &mut progress) {
            self.name_missing(parts, &mut progress);
            return false;
        }
        self.second_stage(parts, self.waiting.len());
        self.work.recall = self.estimate(parts, request.k, progress.place);
        true
    }

    /// Whether another list is to be looked into; makes it the next in order.
    fn goes_on<S: Source>(
        &mut self,
        parts: &[Part<'_, S>],
        request: &Request,
        progress: &mut Progress,
    ) -> bool {
        let place = progress.place;
        if place >= request.lists_max && self.kth_rank(request.k).is_some() {
            return false;
        }
        if place + WINDOW > progress.ordered && progress.ordered < self.stops.len() {
            progress.ordered = self.order(progress.ordered, ORDERED);
        }
        if place >= progress.check && place < self.stops.len() {
            progress.check = place + if self.trace.is_some() { 1 } else { (place / 8).max(2) };
            if self.is_enough(parts, request, place) {
                return false;
            }
        }
        if place == self.stops.len() {
            if std::mem::replace(&mut progress.is_whole, true) || !self.route_rest(parts) {
                return false;
            }
            progress.ordered = self.order(place, ORDERED);
        }
        true
    }

    /// Puts the next `count` stops from `start` in order; returns where they end.
    fn order(&mut self, start: usize, count: usize) -> usize {
        let rest = &mut self.stops[start..];
        let count = count.min(rest.len());
        if count < rest.len() {
            rest.select_nth_unstable_by(count, by_base);
        }
        rest[..count].sort_unstable_by(by_base);
        start + count
    }

    /// The rank of the k-th nearest so far.
    fn kth_rank(&self, k: usize) -> Option<f32> {
        self.nearest.get(self.named + k - 1).map(|near| near.rank)
    }

    /// Whether the next lists are not expected to hold enough of the wanted to be worth their while.
    fn is_enough<S>(&mut self, parts: &[Part<'_, S>], request: &Request, place: usize) -> bool {
        let Some(rank) = self.known_rank(parts, request.k) else { return false };
        let next = &self.stops[place..self.stops.len().min(place + WINDOW)];
        let gain = self.expected(next, rank) / (WINDOW * request.k) as f32;
        if self.trace.is_some() {
            let miss = self.expected(&self.stops[place..], rank) / request.k as f32;
            let rows = self.nearest.iter().take(request.k).map(|near| near.row).collect();
            self.trace.get_or_insert_default().push(Checkpoint { gain, miss, rows });
            return false;
        }
        let Some(first) = self.stops.first() else { return true };
        gain * request.calibration <= parts[first.part as usize].index.model.stop(request.target)
    }

    /// Vectors expected in stops that are nearer than `rank`.
    fn expected(&self, stops: &[Stop], rank: f32) -> f32 {
        stops.iter().fold(0.0, |sum, stop| sum + stop.expected(&self.tail, rank))
    }

    /// The distance of the k-th nearest so far, about.
    fn known_rank<S>(&self, parts: &[Part<'_, S>], k: usize) -> Option<f32> {
        let rank = self.kth_rank(k)?;
        let first = self.stops.first().filter(|_| !self.by_codes);
        Some(rank + first.map_or(0.0, |stop| self.slack(parts[stop.part as usize].index, stop)))
    }

    /// The share of the wanted that was found, by what is expected in the stops from `place` on.
    fn estimate<S>(&self, parts: &[Part<'_, S>], k: usize, place: usize) -> f32 {
        let (Some(first), Some(rank)) = (self.stops.first(), self.known_rank(parts, k)) else { return 1.0 };
        let miss = self.expected(&self.stops[place..], rank) / k as f32;
        parts[first.part as usize].index.model.recall(miss)
    }

    /// How far bounds lie below distances, about.
    fn slack(&self, index: &Index, stop: &Stop) -> f32 {
        const SQRT_HALF_PI: f32 = 1.253_314;
        let spread = index.lists[stop.list as usize].spread;
        let slope = SQRT_HALF_PI * (spread / index.shape.padded() as f32).sqrt();
        let factor = if index.shape.metric == Metric::InnerProduct { 1.0 } else { 2.0 };
        factor * slope * self.queries[stop.part as usize].margin
    }

    /// Looks into all lists of flat parts, once; false if one is missing.
    fn probe_flats<S: Source>(
        &mut self,
        parts: &[Part<'_, S>],
        progress: &mut Progress,
    ) -> bool {
        if std::mem::replace(&mut progress.is_flat_done, true) {
            return true;
        }
        for place in 0..self.flats.len() {
            let stop = self.flats[place];
            let Some(run) = run(parts, &stop) else { return false };
            self.prefetch(parts, self.flats.get(place + 1));
            self.look_into(&stop, run, parts, place < SORTED_LISTS);
        }
        true
    }

    fn prefetch<S: Source>(&self, parts: &[Part<'_, S>], stop: Option<&Stop>) {
        if let Some(next) = stop.and_then(|stop| run(parts, stop)) {
            self.kernels.prefetch_bytes(&next[..next.len().min(HEAD_BYTES)]);
        }
    }

    /// Names all lists that are missing of those that the search is likely to look into next.
    fn name_missing<S: Source>(&mut self, parts: &[Part<'_, S>], progress: &mut Progress) {
        let place = progress.place;
        let part = |stop: &Stop| &parts[stop.part as usize];
        let first = self.stops.first().map_or(0, |stop| lists_at_start(part(stop)));
        let wave = if place == 0 { first } else { (place / 2 + 8).max(first.saturating_sub(place)) };
        self.order(place, wave);
        let wave = self.stops[place..].iter().take(wave).chain(&self.flats);
        let missing = wave.filter(|stop| run(parts, stop).is_none());
        self.missing.extend(missing.map(|stop| (stop.part, stop.list)));
    }

    /// Scans a list, and finds the distances of the survivors of the one before, or of its own.
    fn look_into<S: Source>(
        &mut self,
        stop: &Stop,
        run: &[u8],
        parts: &[Part<'_, S>],
        at_once: bool,
    ) {
        let before = self.waiting.len();
        let part = &parts[stop.part as usize];
        if !self.scan(stop, run, part) {
            self.work.lists_skipped += 1;
        }
        if !self.by_codes {
            return;
        }
        self.prefetch_rows(parts, before);
        if at_once {
            self.sort_best();
            self.second_stage(parts, self.waiting.len());
        } else {
            self.second_stage(parts, before);
        }
    }

    /// Scans a list for vectors that may be near enough; false if none of its rows counts.
    fn scan<S>(&mut self, stop: &Stop, run: &[u8], part: &Part<'_, S>) -> bool {
        let index = part.index;
        let list = &index.lists[stop.list as usize];
        let blocks_bytes = (list.count as usize).div_ceil(BLOCK) * index.shape.block_bytes();
        let (blocks, rows) = run.split_at(blocks_bytes);
        let (rows, _) = rows.as_chunks::<4>();
        let rows = &rows[..list.count as usize];
        if let Some(mask) = part.allowed {
            fill_words(mask, rows, &mut self.words);
            if self.words.iter().all(|word| *word == 0) {
                return false;
            }
        }
        let words = part.allowed.map(|_| self.words.as_slice());
        let query = &self.queries[stop.part as usize];
        let code_query = CodeQuery {
            table: &query.table.bytes,
            scale: query.table.scale,
            bias: query.table.bias + query.margin,
            base: stop.base,
        };
        let blocks = CodeBlocks { bytes: blocks, count: list.count as usize };
        let threshold = self.threshold();
        self.survivors.clear();
        self.kernels.scan_codes(&blocks, &code_query, words, threshold, &mut self.survivors);
        self.work.lists += 1;
        self.work.codes += list.count as usize;
        self.work.bytes += run.len();
        self.take_survivors(stop.part, rows, index.rows);
        true
    }

    /// Puts survivors among the waiting, or, without CODES, among the candidates.
    fn take_survivors(&mut self, part: u32, rows: &[[u8; 4]], rows_end: u32) {
        for place in 0..self.survivors.len() {
            let survivor = self.survivors[place];
            let row = u32::from_le_bytes(rows[survivor.place as usize]);
            if !is_row(row, rows_end) {
                continue;
            }
            if self.by_codes {
                self.waiting.push(Waiting { bound: survivor.bound, part, row });
            } else if survivor.bound < self.threshold() {
                self.offer(Near { rank: survivor.bound, part, row });
            }
        }
    }

    fn prefetch_rows<S: Source>(&self, parts: &[Part<'_, S>], from: usize) {
        for waiting in self.waiting[from..].iter().take(PREFETCHED_ROWS) {
            if let Some(row) = parts[waiting.part as usize].source.row(waiting.row) {
                self.kernels.prefetch_bytes(row);
            }
        }
    }

    /// Puts those of the waiting with the lowest bounds first.
    fn sort_best(&mut self) {
        let order = |a: &Waiting, b: &Waiting| a.bound.total_cmp(&b.bound).then(a.row.cmp(&b.row));
        let count = SORTED_SURVIVORS.min(self.waiting.len());
        if count < self.waiting.len() {
            self.waiting.select_nth_unstable_by(count, order);
        }
        self.waiting[..count].sort_unstable_by(order);
    }

    /// Finds the distances by CODES of the first `count` of the waiting, as far as they may be near enough.
    fn second_stage<S: Source>(&mut self, parts: &[Part<'_, S>], count: usize) {
        for place in 0..count {
            let Waiting { bound, part, row } = self.waiting[place];
            if bound < self.threshold() {
                self.score(part, row, &parts[part as usize]);
            }
        }
        self.waiting.drain(..count);
    }
}

/// The run of a stop, if it is loaded.
fn run<'a, S: Source>(parts: &'a [Part<'_, S>], stop: &Stop) -> Option<&'a [u8]> {
    let part = &parts[stop.part as usize];
    let place = part.index.list_place(stop.list);
    part.source.list(stop.list).filter(|run| run.len() as u64 == place.end - place.start)
}

/// How many lists to load at once for a search of a part.
fn lists_at_start<S>(part: &Part<'_, S>) -> usize {
    const MORE_MAX: f32 = 6.0;
    let share = part.count() as f32 / part.index.rows.max(1) as f32;
    let more = if share > 0.0 { (1.0 / share.sqrt()).min(MORE_MAX) } else { MORE_MAX };
    (part.index.model.lists_at_start as f32 * more) as usize
}

/// The bits of `rows`, 32 to a word.
fn fill_words(mask: &RowMask, rows: &[[u8; 4]], words: &mut Vec<u32>) {
    words.clear();
    words.extend(rows.chunks(BLOCK).map(|rows| {
        let bit = |(place, row): (usize, &[u8; 4])| {
            u32::from(mask.contains(u32::from_le_bytes(*row))) << place
        };
        rows.iter().enumerate().map(bit).fold(0, |word, bit| word | bit)
    }));
}
