//! Searching: route, scan, second stage.
//!
//! ```text
//! route    nearest lists of all parts through their trees, one order for all
//! probe    per list: fast scan of 1-bit codes -> those whose lower bound beats the k-th distance so far
//!          -> distance by CODES; after some lists: is the expected miss small enough?
//! ```
//!
//! The distances of a list's survivors are found while the next list is scanned: their rows have come from memory by then.
//! A part of which few rows count has just those scored. Nothing is allocated once the buffers have grown.

mod by_list;
mod few;
mod probe;
mod route;
mod scored;

use vb_kernel::{Kernels, Survivor};

use super::codes::{DEVIATION, Rounded, Table};
use super::index::Index;
use super::params::RowBits;
use super::ranked::RankedIn;
use super::recall::{strain, weight, weight_of_share};
use super::source::{Part, RowCodes, Source};
use super::tree::Scratch;
use crate::schema::Metric;
use by_list::MANY_DIMENSIONS;
pub(super) use probe::OPENING;
use scored::Scored;

/// Candidates beyond the wanted ones, for exact distances to decide.
const SPARE: usize = 6;
/// By 4-bit codes: always, and at most, if there are others within the error of the codes.
const SPARE_OF_FOUR_BITS: usize = 12;
const SPARE_OF_FOUR_BITS_MAX: usize = 100;
/// Up to this share of rows that count, there are fewer candidates by 1-bit codes alone.
const SPARSE: f32 = 0.25;
/// How many standard deviations of the error of 4-bit codes.
const MARGIN: f32 = 4.0;

/// What to search for.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// How many of the nearest.
    pub k: usize,
    /// The share of them to find, on average.
    pub target: f32,
    /// Above 1 looks further, below 1 less far, than the index expects to need for the target: what a sampler that compares
    /// with exact results turns. The lists looked into grow slowly with it: double it to see a difference.
    pub calibration: f32,
    /// Rows whose rank is not below are not wanted: that of the k-th nearest found elsewhere, in the unit of
    /// [`Near::rank`]; infinity if there is none.
    pub bound: f32,
    /// Never more lists than this, once there are `k` results. For measurements.
    pub lists_max: usize,
}

impl Request {
    /// The default recall.
    pub const TARGET: f32 = 0.98;

    /// The `k` nearest at the default recall.
    pub fn nearest(k: usize) -> Self {
        Self {
            k,
            target: Self::TARGET,
            calibration: 1.0,
            bound: f32::INFINITY,
            lists_max: usize::MAX,
        }
    }

    /// Standard deviations between an estimate and the bound that decides: 1.9 loses nothing, 1.2 little. Of flat indexes,
    /// which have few rows, nothing need be lost.
    fn deviations(&self, index: &Index) -> f32 {
        if self.target > 0.99 || index.is_flat() { 1.9 } else { 1.2 }
    }

    /// How far behind the last wanted one candidates may be that are ranked by bounds, in slacks of these. Measured.
    fn uncertain(&self, dimension: usize) -> f32 {
        let least = if dimension >= MANY_DIMENSIONS { 1.35 } else { 1.2 };
        least + self.near_default()
    }

    /// Without CODES, what strain counts for where lists are loaded one by one: searches look into all that they loaded at once, and
    /// those are enough for most. Measured.
    fn lenience(&self) -> f32 {
        4.0 + 4.0 * self.near_default()
    }

    /// How many rows may become candidates of which no more than a bound is known. Measured.
    fn unsure_max(&self) -> usize {
        52 + (12.0 * self.near_default()) as usize
    }

    /// 0 up to a target of 0.95, 1 from the default on.
    fn near_default(&self) -> f32 {
        ((self.target - 0.95) / (Self::TARGET - 0.95)).clamp(0.0, 1.0)
    }

    /// The share of what may be missed that is left to stopping: bounds and row codes miss the rest. Measured.
    ///
    /// With four bits more candidates are compared exactly, so that codes miss little near the default target; and the fewer rows
    /// count, the further they lie apart, and the less is missed.
    fn left(&self, index: &Index, share: f32) -> f32 {
        match index.shape.row_bits {
            RowBits::Eight => 0.85,
            RowBits::Four => (0.65 + 0.15 * self.near_default()) * weight_of_share(share),
        }
    }
}

/// A row that may be among the nearest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Near {
    /// Squared distance to the query or negated inner product, by CODES; without CODES a lower bound by 1-bit
    /// codes, or the mean of two; minus infinity if nothing is known.
    pub rank: f32,
    /// Which part.
    pub part: u32,
    /// Which of its rows.
    pub row: u32,
}

/// What a search did.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Work {
    /// Lists scanned.
    pub lists: usize,
    /// Lists left out because none of their rows counts.
    pub lists_skipped: usize,
    /// Vectors in the lists scanned.
    pub codes: usize,
    /// Rows of CODES read.
    pub rows: usize,
    /// Bytes of lists and CODES read.
    pub bytes: usize,
    /// Estimated share of the nearest that was found.
    pub recall: f32,
}

/// How a search ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Outcome {
    /// [`Searcher::near`] has the candidates.
    Done(Work),
    /// [`Searcher::missing`] names the lists to load before trying again.
    Missing,
}

/// What searches keep between them, so that none allocates. It fits any parts.
#[derive(Debug)]
pub struct Searcher {
    kernels: Kernels,
    /// The query, rotated, around the origin.
    rotated: Vec<f32>,
    queries: Vec<Query>,
    scratch: Scratch,
    /// Lists of trees by the squared distance of the query to their centroids, or the negated inner product, in that order as
    /// far as it was needed.
    stops: Vec<RankedIn>,
    /// Lists of flat parts.
    flats: Vec<RankedIn>,
    survivors: Vec<Survivor>,
    /// A word per block of the list being scanned.
    words: Vec<u32>,
    /// Survivors of the fast scan by their bounds.
    waiting: Vec<RankedIn>,
    scored: Scored,
    nearest: Vec<Near>,
    missing: Vec<(u32, u32)>,
    missing_rows: Vec<(u32, u32)>,
    /// Lists to load at once, before anything is known.
    at_start: usize,
    /// Rows within reach whose codes were not met, by their bounds.
    unsure: Vec<RankedIn>,
    work: Work,
    trace: Option<Vec<Checkpoint>>,
    /// How many are wanted.
    k: usize,
    /// How many candidates to keep, beside those of unknown rank.
    keep: usize,
    /// How many, if they are within `margin` of the last wanted one.
    keep_max: usize,
    margin: f32,
    /// Without CODES: the same, in slacks of bounds.
    uncertain: f32,
    /// Candidates of unknown rank, the first of all.
    named: usize,
    /// The rank of the k-th nearest elsewhere.
    bound: f32,
    /// Ranks from here on cannot enter the candidates.
    limit: f32,
    /// As long as no ranks are known: bounds from here on hardly are of candidates.
    opening: f32,
    /// How far bounds lie below distances in the lists of the opening, at most.
    slack: f32,
    /// What all parts have of CODES, and so what candidates are ranked by.
    rows: RowCodes,
}

/// The query as one part sees it.
#[derive(Clone, Debug, Default)]
struct Query {
    values: Vec<f32>,
    table: Table,
    rounded: Rounded,
    squared: f32,
    /// From an estimated sum to the one that bounds.
    margin: f32,
    /// What ranks by inner product lack because rows are around a centre.
    shift: f32,
    /// Its rows were scored without their lists.
    is_done: bool,
    /// No more of its lists are worth while.
    is_closed: bool,
    /// What was looked into, in lists of average size of which all rows count.
    looked: f32,
    /// The share of the rows that count.
    share: f32,
    /// What such a row counts in `looked`.
    weight: f32,
    /// Rows in the lists looked into, and those of them that count.
    met: f32,
    passed: f32,
    /// The distance of its nearest list with a fair share of rows that count.
    nearest: f32,
    /// The estimated share that was found.
    recall: f32,
}

/// What a traced search had before some list.
#[derive(Clone, Debug)]
pub(super) struct Checkpoint {
    /// Of looking into it.
    pub(super) strain: f32,
    /// The `k` nearest.
    pub(super) rows: Vec<u32>,
}

impl Searcher {
    /// With empty buffers.
    pub fn new(kernels: Kernels) -> Self {
        Self {
            kernels,
            rotated: Vec::new(),
            queries: Vec::new(),
            scratch: Scratch::default(),
            stops: Vec::new(),
            flats: Vec::new(),
            survivors: Vec::new(),
            words: Vec::new(),
            waiting: Vec::new(),
            scored: Scored::new(),
            nearest: Vec::new(),
            missing: Vec::new(),
            missing_rows: Vec::new(),
            at_start: 0,
            unsure: Vec::new(),
            work: Work::default(),
            trace: None,
            k: 0,
            keep: 0,
            keep_max: 0,
            margin: 0.0,
            uncertain: 0.0,
            named: 0,
            bound: f32::INFINITY,
            limit: f32::INFINITY,
            opening: f32::INFINITY,
            slack: 0.0,
            rows: RowCodes::All,
        }
    }

    /// Finds candidates for the `k` rows nearest to `vector` in all parts, or names what must be loaded. A pure function
    /// of the bytes of the parts: the same at every level and after every order of loading.
    ///
    /// There are at least as many candidates as the smaller of `k` and the rows that count, and some more: the
    /// caller's exact distances decide.
    ///
    /// # Panics
    /// If parts differ in metric or dimension, or the vector's dimension is another.
    pub fn search<S: Source>(
        &mut self,
        vector: &[f32],
        parts: &[Part<'_, S>],
        request: &Request,
    ) -> Outcome {
        if let Some(first) = parts.first() {
            self.rotate(vector, first.index);
        }
        self.search_rotated(parts, request)
    }

    /// Names what a search of parts will most likely look into first, of what is not loaded: before it is known which rows count, but
    /// about what share of each part: `shares`, in their order. There are no candidates.
    ///
    /// # Panics
    /// As [`Searcher::search`].
    pub fn foresee<S: Source>(
        &mut self,
        vector: &[f32],
        parts: &[Part<'_, S>],
        shares: &[f32],
        request: &Request,
    ) {
        if let Some(first) = parts.first() {
            self.rotate(vector, first.index);
        }
        self.begin(parts, request);
        for (query, share) in self.queries.iter_mut().zip(shares) {
            query.share = *share;
        }
        self.route(parts, request);
        self.name_missing(parts, 0);
    }

    fn rotate(&mut self, vector: &[f32], index: &Index) {
        assert_eq!(vector.len(), index.shape.dimension, "a vector of the index's dimension");
        self.rotated.resize(index.shape.padded(), 0.0);
        index.rotate(vector, &mut self.rotated);
    }

    /// Searches for the vector in `rotated`.
    fn search_rotated<S: Source>(&mut self, parts: &[Part<'_, S>], request: &Request) -> Outcome {
        self.begin(parts, request);
        if request.k > 0 {
            self.score_few(parts);
            self.route(parts, request);
            if !self.probe(parts, request) {
                return Outcome::Missing;
            }
        }
        Outcome::Done(self.work)
    }

    /// Searches for a rotated vector without ever having enough, and notes what there was after each list.
    pub(super) fn trace<S: Source>(
        &mut self,
        rotated: &[f32],
        parts: &[Part<'_, S>],
        request: &Request,
    ) -> (Vec<Checkpoint>, &[Near]) {
        self.rotated.clear();
        self.rotated.extend_from_slice(rotated);
        self.trace = Some(Vec::new());
        self.search_rotated(parts, request);
        (self.trace.take().unwrap_or_default(), &self.nearest)
    }

    /// The candidates of the last search, nearest first; equal ones by part and row.
    pub fn near(&self) -> &[Near] {
        &self.nearest
    }

    /// The lists that the last search lacked, all of this wave: (part, list).
    pub fn missing(&self) -> &[(u32, u32)] {
        &self.missing
    }

    /// The lists whose rows of CODES it lacked, of this wave too.
    pub fn missing_rows(&self) -> &[(u32, u32)] {
        &self.missing_rows
    }

    fn begin<S: Source>(&mut self, parts: &[Part<'_, S>], request: &Request) {
        self.work = Work { recall: 1.0, ..Work::default() };
        self.nearest.clear();
        self.missing.clear();
        self.missing_rows.clear();
        self.unsure.clear();
        self.waiting.clear();
        self.scored.clear();
        self.stops.clear();
        self.flats.clear();
        self.named = 0;
        let rows = parts.iter().map(|part| part.source.row_codes());
        self.rows = rows.max().unwrap_or(RowCodes::All);
        self.bound = request.bound;
        self.limit = request.bound;
        self.opening = f32::INFINITY;
        self.slack = 0.0;
        self.k = request.k;
        self.keep_max = 8 * request.k + 64;
        self.keep = self.keep_max;
        self.margin = 0.0;
        let Some(first) = parts.first() else { return };
        self.uncertain = request.uncertain(first.index.shape.dimension);
        let same = |part: &Part<'_, S>| (part.index.shape.metric, part.index.shape.dimension);
        assert!(parts.iter().all(|part| same(part) == same(first)), "parts of one index");
        self.queries.resize_with(parts.len().max(self.queries.len()), Query::default);
        for (query, part) in self.queries.iter_mut().zip(parts) {
            query.fill(&self.rotated, part, request, self.kernels);
        }
        if self.rows != RowCodes::None {
            self.keep_by_codes(parts);
        } else if self.queries[..parts.len()].iter().all(|query| query.share < SPARSE) {
            // Where few rows count, they lie apart.
            self.keep = self.keep_max.min(request.k + SPARE_OF_FOUR_BITS);
        }
    }

    /// How many candidates to keep if they are ranked by CODES.
    fn keep_by_codes<S>(&mut self, parts: &[Part<'_, S>]) {
        self.keep = self.k + SPARE;
        self.keep_max = self.keep;
        let pairs = self.queries.iter().zip(parts);
        let errors = pairs.map(|(query, part)| query.error(part.index)).fold(0.0, f32::max);
        if errors > 0.0 {
            self.keep = self.k + SPARE_OF_FOUR_BITS;
            self.keep_max = self.k + SPARE_OF_FOUR_BITS_MAX + self.k / 4;
            self.margin = MARGIN * errors;
        }
    }

    /// Ranks from here on cannot enter the candidates.
    fn threshold(&self) -> f32 {
        self.limit.min(self.opening)
    }

    /// What the threshold is by the candidates there are.
    fn new_limit(&self) -> f32 {
        let rank = |place: usize| self.nearest.get(self.named + place - 1).map(|near| near.rank);
        let Some(last) = rank(self.keep) else { return self.bound };
        if self.keep == self.keep_max {
            return last.min(self.bound);
        }
        let wanted = rank(self.k).expect("there are more than the wanted ones") + self.margin;
        let most = rank(self.keep_max).unwrap_or(f32::INFINITY);
        last.max(wanted.min(most)).min(self.bound)
    }

    /// Drops candidates that are out of reach by now.
    fn cut(&mut self) {
        let threshold = self.threshold();
        let keep = (self.named + self.keep).min(self.nearest.len());
        let near = self.nearest[keep..].iter().take_while(|near| near.rank < threshold).count();
        self.nearest.truncate(keep + near);
    }

    /// Takes a candidate in that is below the threshold, and may be known already.
    fn offer(&mut self, near: Near) {
        let is_known = |known: &Near| known.row == near.row && known.part == near.part;
        let Some(known) = self.nearest.iter().position(is_known) else {
            return self.offer_new(near);
        };
        let rank = self.nearest[known].rank;
        if self.rows == RowCodes::None {
            // Each of its two lists has a code of its own: the mean of two estimates errs less.
            self.nearest.remove(known);
            self.offer_new(Near { rank: 0.5 * (rank + near.rank), ..near });
        } else if near.rank < rank {
            self.nearest.remove(known);
            self.offer_new(near);
        }
    }

    /// Takes a candidate in that is not known.
    fn offer_new(&mut self, near: Near) {
        self.nearest.truncate(self.named + self.keep_max - 1);
        let order = |near: &Near| (near.rank, near.part, near.row);
        let place = self.nearest.partition_point(|known| order(known) < order(&near));
        self.nearest.insert(place, near);
        self.limit = self.new_limit();
    }
}

impl Query {
    fn fill<S>(
        &mut self,
        rotated: &[f32],
        part: &Part<'_, S>,
        request: &Request,
        kernels: Kernels,
    ) {
        let centre = &part.index.centre;
        self.values.clear();
        self.shift = 0.0;
        match part.index.shape.metric {
            Metric::InnerProduct => {
                self.values.extend_from_slice(rotated);
                self.shift = -kernels.dot(rotated, centre);
            }
            Metric::Euclidean | Metric::Cosine => {
                self.values
                    .extend(rotated.iter().zip(centre).map(|(value, centre)| value - centre));
            }
        }
        self.table.fill(&self.values);
        self.squared = kernels.norm_squared(&self.values);
        self.rounded.fill(&self.values);
        self.margin = request.deviations(part.index) * DEVIATION * self.squared.sqrt();
        self.is_done = false;
        self.is_closed = false;
        self.looked = 0.0;
        self.share = part.count() as f32 / part.index.rows.max(1) as f32;
        self.weight = weight(request.k) * weight_of_share(self.share) / part.index.rows_per_list;
        self.met = 0.0;
        self.passed = 0.0;
        self.nearest = f32::INFINITY;
        self.recall = 1.0;
    }

    /// The share of rows that count among those met, to their share of all.
    fn density(&self) -> f32 {
        if self.share < 1.0 { self.passed / (self.share * self.met) } else { 1.0 }
    }

    /// About the error of ranks by the 4-bit codes of a part, its standard deviation; 0 for 8 bits. A step is about a
    /// fifteenth of six deviations of a row's values.
    fn error(&self, index: &Index) -> f32 {
        const SHARE: f32 = 0.115;
        if index.shape.row_bits == RowBits::Eight {
            return 0.0;
        }
        let factor = if index.shape.metric == Metric::InnerProduct { 1.0 } else { 2.0 };
        let length = index.model.length / (index.shape.padded() as f32).sqrt();
        factor * SHARE * length * self.squared.sqrt()
    }

    /// The strain of looking into a list at `base`, with the k-th nearest at `rank`. Inner products count as squared distances
    /// between vectors of equal length.
    fn strain(&self, index: &Index, base: f32, rank: f32) -> f32 {
        /// A length that most rows are shorter than, to their root mean square.
        const LONG: f32 = 1.5;
        let distance = |rank: f32| match index.shape.metric {
            Metric::Euclidean | Metric::Cosine => rank,
            Metric::InnerProduct => {
                let whole = LONG * index.model.length * self.squared.sqrt();
                (rank - self.shift + whole).max(0.05 * whole)
            }
        };
        let (list, nearest, rank) = (distance(base), distance(self.nearest), distance(rank));
        let nearest = nearest.max(rank / 2.0).max(f32::MIN_POSITIVE);
        strain(self.looked, list / rank.max(f32::MIN_POSITIVE), list / nearest)
    }
}
