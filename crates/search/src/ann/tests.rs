//! The index against a look at every row.

use super::fuzz::fuzz_input;
use super::random::Random;
use super::*;
use crate::schema::Metric;
use roaring::RoaringBitmap;
use vb_kernel::{Kernels, Level};

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
}

impl World {
    fn new(metric: Metric, data: Vec<f32>, change: impl Fn(&mut Params)) -> Self {
        let mut params = Params::new(metric, DIMENSION);
        change(&mut params);
        let built = build(&data, params, Kernels::detect());
        let index = Index::open(&built.tree).expect("it was just built");
        Self { metric, data, built, index }
    }

    fn source(&self) -> Whole<'_> {
        Whole { index: &self.index, lists: &self.built.lists, codes: &self.built.codes }
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
        let rows = (0..).zip(&self.built.order).filter(|(_, old)| counts(**old));
        let bits: RoaringBitmap = rows.map(|(row, _)| row).collect();
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
            let near = searcher.near().iter().map(|near| self.built.order[near.row as usize]);
            let mut found: Vec<u32> = near.collect();
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

fn request(k: usize) -> Request {
    Request::nearest(k)
}

#[test]
fn every_metric_finds_nearly_all_of_the_nearest() {
    for metric in METRICS {
        let world = World::new(metric, vectors(12_000, 1, 9), |_| {});
        assert!(!world.index.is_flat());
        let recall = world.recall(&vectors(60, 2, 9), &request(10), world.source(), None);
        assert!(recall > 0.93, "{metric:?}: {recall}");
    }
}

#[test]
fn four_bits_and_another_order_find_as_much() {
    let world = World::new(Metric::Cosine, vectors(12_000, 1, 9), |params| {
        params.row_bits = RowBits::Four;
        params.order = RowOrder::Clustered;
    });
    let recall = world.recall(&vectors(60, 2, 9), &request(10), world.source(), None);
    assert!(recall > 0.94, "{recall}");
    let mut order = world.built.order.clone();
    order.sort_unstable();
    assert!(order.into_iter().eq(0..12_000));
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

/// Whatever share of the rows counts: enough results, of those that count, and nearly the nearest ones.
#[test]
fn filters_of_any_share_find_their_nearest() {
    for metric in METRICS {
        let world = World::new(metric, vectors(12_000, 1, 9), |_| {});
        for every in [1, 2, 10, 100, 1000, 6000] {
            let allowed = |old: u32| old.is_multiple_of(every);
            let queries = vectors(25, 2, 9);
            let recall = world.recall(&queries, &request(10), world.source(), Some(&allowed));
            assert!(recall > 0.95, "{metric:?}, one in {every}: {recall}");
        }
        // Rows of one neighbourhood, and none at all.
        let centre = &vectors(1, 5, 9);
        let near = nearest(metric, &world.data, centre, 0..12_000, 300);
        let queries = vectors(25, 2, 9);
        let recall =
            world.recall(&queries, &request(10), world.source(), Some(&|old| near.contains(&old)));
        assert!(recall > 0.95, "{metric:?}, a neighbourhood: {recall}");
        world.recall(&queries, &request(10), world.source(), Some(&|_| false));
    }
}

/// More wanted than rows count: all of them, also when lists must be looked through to the last.
#[test]
fn results_are_never_fewer_than_there_are() {
    let world = World::new(Metric::Euclidean, vectors(9000, 1, 9), |_| {});
    let queries = vectors(3, 2, 9);
    assert!((world.recall(&queries, &request(9000), world.source(), None) - 1.0).abs() < 1e-9);
    let most = |old: u32| !old.is_multiple_of(9);
    assert!(world.recall(&queries, &request(9000), world.source(), Some(&most)) > 0.999);
    for (count, k) in [(1, 10), (2, 1), (47, 100), (300, 10)] {
        let equal = World::new(Metric::Cosine, vec![0.25; count * DIMENSION], |_| {});
        assert!(equal.index.is_flat());
        equal.recall(&queries, &request(k), equal.source(), None);
    }
    let equal = World::new(Metric::Euclidean, vec![0.25; 9000 * DIMENSION], |_| {});
    equal.recall(&queries, &request(10), equal.source(), None);
}

/// Several indexes and one that grows, searched as one.
#[test]
fn parts_are_searched_as_one() {
    let data = vectors(13_000, 1, 9);
    for metric in METRICS {
        let params = Params::new(metric, DIMENSION);
        let (large, rest) = data.split_at(9000 * DIMENSION);
        let (small, fresh) = rest.split_at(3000 * DIMENSION);
        let of = |rows: &[f32]| build(rows, params, Kernels::detect());
        let (large, small) = (of(large), of(small));
        let open = |built: &Built| Index::open(&built.tree).expect("it was just built");
        let (large_index, small_index) = (open(&large), open(&small));
        let mut growing = FlatCodes::new(&params, Some(&large_index), Kernels::detect());
        fresh.chunks(DIMENSION).for_each(|vector| _ = growing.push(vector));
        let sources = [
            Either::Built(Whole { index: &large_index, lists: &large.lists, codes: &large.codes }),
            Either::Built(Whole { index: &small_index, lists: &small.lists, codes: &small.codes }),
            Either::Growing(&growing),
        ];
        let indexes = [&large_index, &small_index, growing.index()];
        let starts = [0, 9000, 12_000];
        let parts: Vec<Part<'_, Either<'_>>> = indexes
            .into_iter()
            .zip(sources)
            .map(|(index, source)| Part { index, source, allowed: None })
            .collect();
        let mut searcher = Searcher::new(Kernels::detect());
        let mut hits = 0;
        for query in vectors(50, 2, 9).chunks(DIMENSION) {
            searcher.search(query, &parts, &request(10));
            let found: Vec<u32> =
                searcher.near().iter().map(|near| starts[near.part as usize] + near.row).collect();
            let truth = nearest(metric, &data, query, 0..13_000, 10);
            hits += truth.iter().filter(|row| found.contains(row)).count();
        }
        assert!(hits > 475, "{metric:?}: {hits} of 500");
    }
}

/// Built or growing.
enum Either<'a> {
    Built(Whole<'a>),
    Growing(&'a FlatCodes),
}

impl Source for Either<'_> {
    fn list(&self, list: u32) -> Option<&[u8]> {
        match self {
            Either::Built(whole) => whole.list(list),
            Either::Growing(flat) => flat.list(list),
        }
    }

    fn has_rows(&self) -> bool {
        true
    }

    fn row(&self, row: u32) -> Option<&[u8]> {
        match self {
            Either::Built(whole) => whole.row(row),
            Either::Growing(flat) => flat.row(row),
        }
    }
}

/// Lists that come in one by one.
struct Loading<'a> {
    whole: Whole<'a>,
    loaded: &'a [bool],
}

impl Source for Loading<'_> {
    fn list(&self, list: u32) -> Option<&[u8]> {
        self.loaded[list as usize].then(|| self.whole.list(list))?
    }

    fn has_rows(&self) -> bool {
        false
    }

    fn row(&self, _: u32) -> Option<&[u8]> {
        None
    }
}

/// Missing lists are named in few waves, and the answer is that of an index loaded whole.
#[test]
fn missing_lists_are_named_together() {
    let world = World::new(Metric::Cosine, vectors(20_000, 1, 9), |_| {});
    let whole = Whole { codes: &[], ..world.source() };
    let mut searcher = Searcher::new(Kernels::detect());
    let (mut waves, queries) = (0, 40);
    for query in vectors(queries, 2, 9).chunks(DIMENSION) {
        let parts = [Part { index: &world.index, source: whole, allowed: None }];
        searcher.search(query, &parts, &request(10));
        let expected = searcher.near().to_vec();
        let mut loaded = vec![false; world.index.lists() as usize];
        loop {
            let source = Loading { whole, loaded: &loaded };
            let parts = [Part { index: &world.index, source, allowed: None }];
            if searcher.search(query, &parts, &request(10)) != Outcome::Missing {
                break;
            }
            assert!(!searcher.missing().is_empty(), "nothing to load");
            let missing = searcher.missing().to_vec();
            for (_, list) in missing {
                assert!(!std::mem::replace(&mut loaded[list as usize], true), "named again");
            }
            waves += 1;
        }
        assert_eq!(searcher.near(), expected);
    }
    assert!(waves <= queries * 2, "{waves} waves of {queries} queries");
}

/// A bound from elsewhere ends the search early and keeps out what is beyond it.
#[test]
fn a_bound_from_elsewhere_is_kept() {
    let world = World::new(Metric::Euclidean, vectors(12_000, 1, 9), |_| {});
    let parts = [Part { index: &world.index, source: world.source(), allowed: None }];
    let mut searcher = Searcher::new(Kernels::detect());
    let query = vectors(1, 2, 9);
    searcher.search(&query, &parts, &request(10));
    let bound = searcher.near()[4].rank;
    searcher.search(&query, &parts, &Request { bound, ..request(10) });
    assert_eq!(searcher.near().len(), 4);
}

/// Everything that a search can see of an index.
fn answers(built: &Built, kernels: Kernels) -> Vec<(u32, u32)> {
    let index = Index::open(&built.tree).expect("it was just built");
    let source = Whole { index: &index, lists: &built.lists, codes: &built.codes };
    let parts = [Part { index: &index, source, allowed: None }];
    let mut searcher = Searcher::new(kernels);
    let mut answers = Vec::new();
    for query in vectors(20, 3, 9).chunks(DIMENSION) {
        searcher.search(query, &parts, &request(10));
        answers.extend(searcher.near().iter().map(|near| (near.rank.to_bits(), near.row)));
    }
    answers
}

#[test]
fn threads_and_levels_change_nothing() {
    let data = vectors(9000, 2, 9);
    for bits in [RowBits::Four, RowBits::Eight] {
        let params = Params { row_bits: bits, ..Params::new(Metric::Cosine, DIMENSION) };
        let build = |threads: usize, kernels: Kernels| {
            let pool =
                rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
            pool.install(|| build(&data, params, kernels))
        };
        let scalar = Kernels::at(Level::Scalar).expect("the scalar level is everywhere");
        let first = build(1, scalar);
        let expected = answers(&first, scalar);
        for kernels in Level::ALL.into_iter().filter_map(Kernels::at) {
            let built = build(3, kernels);
            assert!(built == first, "{}", kernels.level());
            assert_eq!(answers(&built, kernels), expected, "{}", kernels.level());
        }
    }
}

/// Vectors whose squares overflow are indexed and found, and disturb no others.
#[test]
fn huge_vectors_are_tamed() {
    let mut data = vectors(9000, 1, 9);
    data[..DIMENSION].fill(f32::MAX);
    data[DIMENSION..2 * DIMENSION].fill(-1e30);
    for metric in [Metric::Cosine, Metric::Euclidean] {
        let world = World::new(metric, data.clone(), |_| {});
        let recall = world.recall(&vectors(20, 2, 9), &request(10), world.source(), None);
        let floor = if metric == Metric::Cosine { 0.95 } else { 0.0 };
        assert!(recall >= floor, "{metric:?}: {recall}");
    }
}

#[test]
fn damaged_lists_are_noticed() {
    let world = World::new(Metric::Cosine, vectors(9000, 1, 9), |_| {});
    let place = world.index.list_place(3);
    let run = &world.built.lists[place.start as usize..place.end as usize];
    assert_eq!(world.index.check_list(3, run), Ok(()));
    assert!(world.index.check_list(4, run).is_err());
    assert!(world.index.check_list(3, &run[1..]).is_err());
    assert!(world.index.check_list(u32::MAX, run).is_err());
    let mut damaged = run.to_vec();
    damaged[100] ^= 1;
    assert!(world.index.check_list(3, &damaged).is_err());
}

/// Bytes with a few changes never make anything panic.
#[test]
fn hostile_bytes_are_boring() {
    let mut random = Random(11);
    for metric in METRICS {
        let world = World::new(metric, vectors(8300, 1, 9), |_| {});
        let small = World::new(metric, vectors(70, 1, 9), |_| {});
        for built in [&world.built, &small.built] {
            for _ in 0..60 {
                let mut framed = fuzz_input(built);
                for _ in 0..random.below(6) {
                    // Headers are where it hurts.
                    let reach = if random.below(2) == 0 { 200 } else { framed.len() };
                    let place = random.below(reach.min(framed.len()));
                    framed[place] = random.next() as u8;
                }
                if random.below(4) == 0 {
                    framed.truncate(random.below(framed.len()));
                }
                fuzz(&framed);
            }
        }
    }
    for length in [0, 3, 11, 12, 80, 500] {
        let bytes: Vec<u8> = (0..length).map(|_| random.next() as u8).collect();
        fuzz(&bytes);
    }
}
