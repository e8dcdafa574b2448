//! The index against a look at every row.

mod bytes;
mod filters;
mod merging;
mod parts;

use super::random::Random;
use super::*;
use crate::schema::Metric;
use roaring::RoaringBitmap;
use vb_kernel::Kernels;

const DIMENSION: usize = 48;
const METRICS: [Metric; 3] = [Metric::Euclidean, Metric::Cosine, Metric::InnerProduct];

/// Clustered vectors, as embeddings are; the last seed decides the centres.
fn vectors(count: usize, seed: u64, centres: u64) -> Vec<f32> {
    let mut random = Random(centres);
    let around: Vec<f32> = (0..60 * DIMENSION).map(|_| random.unit() - 0.5).collect();
    let mut random = Random(seed);
    let mut values = Vec::with_capacity(count * DIMENSION);
    for _ in 0..count {
        let centre = random.below(60) * DIMENSION;
        let near = |i: usize| around[centre + i] + 0.7 * (random.unit() - 0.5) + 0.2;
        values.extend((0..DIMENSION).map(near));
    }
    values
}

/// Vectors with zeros behind their values.
fn widened(vectors: &[f32], dimension: usize) -> Vec<f32> {
    let zeros = vec![0.0; dimension - DIMENSION];
    vectors.chunks(DIMENSION).flat_map(|vector| vector.iter().chain(&zeros)).copied().collect()
}

fn exact_rank(metric: Metric, a: &[f32], b: &[f32]) -> f64 {
    let sum = |f: &dyn Fn(f64, f64) -> f64| -> f64 {
        a.iter().zip(b).map(|(a, b)| f(f64::from(*a), f64::from(*b))).sum()
    };
    let dot = sum(&|a, b| a * b);
    match metric {
        Metric::Euclidean => sum(&|a, b| (a - b) * (a - b)),
        Metric::InnerProduct => -dot,
        Metric::Cosine => -dot / (sum(&|a, _| a * a) * sum(&|_, b| b * b)).sqrt(),
    }
}

/// The `k` nearest of some vectors, by exact rank.
fn nearest(
    metric: Metric,
    data: &[f32],
    query: &[f32],
    rows: impl Iterator<Item = u32>,
    k: usize,
) -> Vec<u32> {
    let vector = |row: u32| &data[row as usize * DIMENSION..][..DIMENSION];
    let mut ranked: Vec<(f64, u32)> =
        rows.map(|row| (exact_rank(metric, vector(row), query), row)).collect();
    ranked.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    ranked.into_iter().take(k).map(|(_, row)| row).collect()
}

/// An index over `data`, which are its rows in the order in which they were pushed.
struct World {
    metric: Metric,
    data: Vec<f32>,
    built: Built,
    index: Index,
    slots: Option<Slots>,
}

impl World {
    fn new(metric: Metric, data: Vec<f32>, change: impl Fn(&mut Params)) -> Self {
        Self::wide(metric, data, DIMENSION, change)
    }

    /// With zeros behind the values, so many that vectors have this dimension: distances stay as they are.
    fn wide(
        metric: Metric,
        data: Vec<f32>,
        dimension: usize,
        change: impl Fn(&mut Params),
    ) -> Self {
        let mut params = Params::new(metric, dimension);
        change(&mut params);
        let built = build(&widened(&data, dimension), params, Kernels::detect());
        let index = Index::open(&built.tree).expect("it was just built");
        let slots = index.slots(&built.lists).expect("it was just built");
        Self { metric, data, built, index, slots }
    }

    fn source(&self) -> Whole<'_> {
        whole(&self.index, &self.built, self.slots.as_ref())
    }

    /// Recall of `request` over the queries among the rows of `allowed` (numbers as pushed).
    fn recall(
        &self,
        queries: &[f32],
        request: &Request,
        source: Whole<'_>,
        allowed: Option<&dyn Fn(u32) -> bool>,
    ) -> f64 {
        let counts = |old: u32| allowed.is_none_or(|allowed| allowed(old));
        let bits: RoaringBitmap = (0..self.index.rows()).filter(|row| counts(*row)).collect();
        let mask = RowMask::from_bitmap(&bits, self.index.rows());
        let parts =
            [Part { index: &self.index, source, allowed: allowed.is_some().then_some(&mask) }];
        let mut searcher = Searcher::new(Kernels::detect());
        let (mut hits, mut wanted) = (0, 0);
        for query in queries.chunks(DIMENSION) {
            let all = (0..self.index.rows()).filter(|old| counts(*old));
            let truth = nearest(self.metric, &self.data, query, all, request.k);
            let outcome = searcher.search(query, &parts, request);
            assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
            let mut found: Vec<u32> = searcher.near().iter().map(|near| near.row).collect();
            assert!(found.len() >= truth.len(), "{} of {}", found.len(), truth.len());
            assert!(found.iter().all(|old| counts(*old)), "a row that does not count");
            found = nearest(self.metric, &self.data, query, found.into_iter(), request.k);
            assert!(found.windows(2).all(|pair| pair[0] != pair[1]), "a row twice");
            wanted += truth.len();
            hits += truth.iter().filter(|old| found.contains(old)).count();
        }
        hits as f64 / wanted.max(1) as f64
    }
}

fn whole<'a>(index: &'a Index, built: &'a Built, slots: Option<&'a Slots>) -> Whole<'a> {
    Whole { index, lists: &built.lists, codes: &built.codes, slots }
}

fn request(k: usize) -> Request {
    Request::nearest(k)
}

#[test]
fn every_metric_finds_nearly_all_of_the_nearest() {
    for metric in METRICS {
        let world = World::new(metric, vectors(12_000, 1, 9), |_| {});
        assert!(!world.index.is_flat());
        for k in [1, 10, 100] {
            let recall = world.recall(&vectors(60, 2, 9), &request(k), world.source(), None);
            assert!(recall > 0.95, "{metric:?}, {k}: {recall}");
        }
    }
}

#[test]
fn four_bits_find_as_much() {
    let world = World::new(Metric::Cosine, vectors(12_000, 1, 9), |params| {
        params.row_bits = RowBits::Four;
    });
    let recall = world.recall(&vectors(60, 2, 9), &request(10), world.source(), None);
    assert!(recall > 0.94, "{recall}");
}

/// A cold query has no CODES: more candidates, ranked by 1-bit codes, among which the nearest are.
#[test]
fn lists_alone_lead_to_the_nearest() {
    for metric in METRICS {
        let world = World::new(metric, vectors(12_000, 1, 9), |_| {});
        let source = Whole { codes: &[], ..world.source() };
        let recall = world.recall(&vectors(60, 2, 9), &request(10), source, None);
        assert!(recall > 0.93, "{metric:?}: {recall}");
    }
}

#[test]
fn queries_unlike_the_rows_find_theirs_too() {
    for metric in METRICS {
        let world = World::new(metric, vectors(12_000, 1, 9), |_| {});
        let recall = world.recall(&vectors(60, 3, 77), &request(10), world.source(), None);
        assert!(recall > 0.95, "{metric:?}: {recall}");
    }
}
