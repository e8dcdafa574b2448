//! What queries find in segments that are searched by clusters: enough of the nearest records whatever
//! happened to the index, as many as were asked for, each at its true distance.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::collections::BTreeMap;

use common::{bucket, key, one_field, quiet, settings};
use vb_commit::Store;
use vb_engine::{
    Answer, BucketSettings, Engine, IndexHandle, Options, Precision, PutBatch, Query, Recall,
    VectorColumn,
};
use vb_search::{Attributes, Filter, Metric, Number, Scalar, Schema, Test, Value};

const DIMENSION: usize = 48;
const TOP_K: usize = 10;
/// The floor at the default target.
const FLOOR: f64 = 0.95;

/// Uniform numbers from a seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// About normal.
    fn value(&mut self) -> f32 {
        let uniform = |bits: u64| (bits >> 40) as f32 / (1u64 << 24) as f32 - 0.5;
        (0..4).map(|_| uniform(self.next())).sum::<f32>() * 1.7
    }

    fn vector(&mut self) -> Vec<f32> {
        (0..DIMENSION).map(|_| self.value()).collect()
    }
}

/// Vectors around many centres.
struct Source {
    random: Random,
    centres: Vec<Vec<f32>>,
}

impl Source {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let centres = (0..300).map(|_| random.vector()).collect();
        Self { random, centres }
    }

    fn vector(&mut self) -> Vec<f32> {
        let centre = self.random.next() as usize % self.centres.len();
        let noise = self.random.vector();
        self.centres[centre].iter().zip(noise).map(|(centre, noise)| centre + 0.5 * noise).collect()
    }
}

/// An index and what is in it.
struct World {
    engine: Engine,
    index: IndexHandle,
    metric: Metric,
    /// Every seventh record lacks the vector.
    sparse: bool,
    /// Those with a vector.
    records: BTreeMap<u64, Vec<f32>>,
}

fn schema(metric: Metric) -> Schema {
    let mut schema = one_field(DIMENSION as u32);
    schema.vector_fields[0].metric = metric;
    schema
}

impl World {
    async fn new(metric: Metric, store: Store, options: Options) -> Self {
        let engine = Engine::open(store, options).await.unwrap();
        engine.create_bucket(&bucket(), BucketSettings::default()).await.unwrap();
        let created = engine.create_index(&bucket(), b"index", settings(schema(metric))).await;
        created.unwrap();
        let index = engine.resolve(&bucket(), b"index").await.unwrap();
        Self { engine, index, metric, sparse: false, records: BTreeMap::new() }
    }

    async fn put(&mut self, rows: impl IntoIterator<Item = (u64, Vec<f32>)>) {
        let rows: Vec<_> = rows.into_iter().collect();
        for rows in rows.chunks(500) {
            let batch = PutBatch {
                keys: rows.iter().map(|(number, _)| key(*number as usize)).collect(),
                vectors: vec![VectorColumn {
                    values: rows.iter().flat_map(|(_, vector)| vector).copied().collect(),
                    present: Some(
                        rows.iter().map(|(number, _)| self.has_vector(*number)).collect(),
                    ),
                }],
                metadata: rows.iter().map(|(number, _)| Some(metadata(*number))).collect(),
                attributes: rows.iter().map(|(number, _)| attributes(*number)).collect(),
            };
            self.index.put(batch).await.unwrap();
        }
        let present = rows.into_iter().filter(|(number, _)| !self.sparse || number % 7 != 3);
        self.records.extend(present);
    }

    fn has_vector(&self, number: u64) -> bool {
        !self.sparse || number % 7 != 3
    }

    async fn delete(&mut self, numbers: impl IntoIterator<Item = u64>) {
        let numbers: Vec<u64> = numbers.into_iter().collect();
        for numbers in numbers.chunks(1000) {
            let keys = numbers.iter().map(|number| key(*number as usize)).collect();
            self.index.delete(keys).await.unwrap();
        }
        numbers.iter().for_each(|number| _ = self.records.remove(number));
    }

    fn distance(&self, query: &[f32], vector: &[f32]) -> f64 {
        let wide = |(a, b): (&f32, &f32)| (f64::from(*a), f64::from(*b));
        let sum = |term: &dyn Fn(f64, f64) -> f64| -> f64 {
            query.iter().zip(vector).map(wide).map(|(a, b)| term(a, b)).sum()
        };
        match self.metric {
            Metric::Euclidean => sum(&|a, b| (a - b) * (a - b)).sqrt(),
            Metric::InnerProduct => -sum(&|a, b| a * b),
            Metric::Cosine => {
                let norms = (sum(&|a, _| a * a) * sum(&|_, b| b * b)).sqrt();
                1.0 - sum(&|a, b| a * b) / norms
            }
        }
    }

    /// The nearest of all that match, in the plainest way.
    fn nearest(&self, query: &Query) -> Vec<(f64, u64)> {
        let matching = self.records.iter().filter(|(n, _)| query.filter.matches(&attributes(**n)));
        let mut all: Vec<(f64, u64)> =
            matching.map(|(n, v)| (self.distance(&query.vector, v), *n)).collect();
        all.sort_by(|a, b| a.0.total_cmp(&b.0));
        all.truncate(query.top_k);
        all
    }

    /// The share of the nearest that a query finds. Everything else about the answer must be right.
    async fn found(&self, query: &Query) -> (f64, Answer) {
        let expected = self.nearest(query);
        let answer = self.index.search(query.clone()).await.unwrap();
        let hits = &answer.hits;
        assert_eq!(hits.len(), expected.len(), "as many as match, up to top k");
        let numbers: BTreeMap<Vec<u8>, u64> =
            self.records.keys().map(|n| (key(*n as usize).into_vec(), *n)).collect();
        let mut near = 0;
        let mut seen = std::collections::BTreeSet::new();
        for hit in hits {
            let number = numbers[&hit.key.to_vec()];
            assert!(seen.insert(number), "no record twice");
            assert!(query.filter.matches(&attributes(number)), "only what matches");
            let distance = self.distance(&query.vector, &self.records[&number]);
            let slack = 1e-4 * distance.abs().max(1.0);
            assert!((f64::from(hit.distance) - distance).abs() < slack, "its true distance");
            assert_eq!(hit.metadata, Some(metadata(number)).filter(|_| query.with_metadata));
            near += usize::from(distance <= expected.last().unwrap().0 + slack);
        }
        assert!(hits.is_sorted_by(|a, b| a.distance <= b.distance), "nearest first");
        let share = if expected.is_empty() { 1.0 } else { near as f64 / expected.len() as f64 };
        (share, answer)
    }

    /// Mean recall of some queries is above the floor.
    async fn check(&self, what: &str, queries: &[Vec<f32>], filter: &Filter) {
        let (mut sum, mut probed) = (0.0, 0);
        for vector in queries {
            let (share, answer) = self.found(&question(vector, filter)).await;
            sum += share;
            probed += answer.explain.segments_probed;
        }
        let recall = sum / queries.len() as f64;
        assert!(recall >= FLOOR, "{what}: recall {recall} for {filter:?}");
        let expects_clusters = matches!(filter, Filter::All);
        assert!(probed > 0 || !expects_clusters, "{what}: by clusters");
    }
}

fn question(vector: &[f32], filter: &Filter) -> Query {
    Query { filter: filter.clone(), ..common::query(vector, TOP_K) }
}

fn metadata(number: u64) -> bytes::Bytes {
    format!("{{\"number\":{number}}}").into()
}

fn attributes(number: u64) -> Attributes {
    let scattered = (number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) % 1000;
    Attributes::from_pairs(vec![(
        "share".into(),
        Value::One(Scalar::Integer(i64::try_from(scattered).unwrap())),
    )])
}

/// So many of 1,000 records.
fn per_mille(count: i64) -> Filter {
    Filter::Test { key: "share".into(), test: Test::Lt(Number::Integer(count)) }
}

fn queries(source: &mut Source, count: usize) -> Vec<Vec<f32>> {
    (0..count).map(|_| source.vector()).collect()
}

#[tokio::test]
async fn enough_is_found_whatever_happens_to_an_index() {
    let mut world = World::new(Metric::Euclidean, Store::memory(), quiet()).await;
    let mut source = Source::new(1);
    let questions = queries(&mut source, 150);
    for round in 0..3u64 {
        let rows = (0..10_000).map(|n| (round * 10_000 + n, source.vector()));
        let rows: Vec<_> = rows.collect();
        world.put(rows).await;
        world.index.flush().await.unwrap();
        world.check("while inserting", &questions, &Filter::All).await;
    }
    world.put((30_000..31_000).map(|n| (n, source.vector())).collect::<Vec<_>>()).await;
    world.check("with a memtable", &questions, &Filter::All).await;
    let far: Vec<Vec<f32>> = (0..100).map(|_| source.random.vector()).collect();
    world.check("out of distribution", &far, &Filter::All).await;
    world.delete((0..31_000).filter(|n| n % 2 == 0)).await;
    world.check("half deleted", &questions, &Filter::All).await;
    world.index.compact().await.unwrap();
    world.check("merged", &questions, &Filter::All).await;
    let mut other = Source::new(2);
    let shifted = (40_000..52_000).map(|n| (n, other.vector().iter().map(|v| v + 3.0).collect()));
    let shifted: Vec<(u64, Vec<f32>)> = shifted.collect();
    let new: Vec<Vec<f32>> = shifted.iter().step_by(120).map(|(_, v)| v.clone()).collect();
    world.put(shifted).await;
    world.index.flush().await.unwrap();
    world.check("shifted", &questions, &Filter::All).await;
    world.check("shifted, new ones", &new, &Filter::All).await;
    world.index.compact().await.unwrap();
    world.check("shifted and merged", &questions, &Filter::All).await;
    world.check("shifted and merged, new ones", &new, &Filter::All).await;
    let numbers: Vec<u64> = world.records.keys().copied().collect();
    world.put(numbers.into_iter().map(|n| (n, source.vector())).collect::<Vec<_>>()).await;
    world.index.flush().await.unwrap();
    world.check("all overwritten", &questions, &Filter::All).await;
    world.engine.shutdown().await;
}

#[tokio::test]
async fn filters_of_every_ratio_leave_nothing_out() {
    for (metric, sparse) in [(Metric::Cosine, false), (Metric::InnerProduct, true)] {
        let mut world = World::new(metric, Store::memory(), quiet()).await;
        world.sparse = sparse;
        let mut source = Source::new(3);
        let questions = queries(&mut source, 60);
        let rows: Vec<_> = (0..20_000).map(|n| (n, source.vector())).collect();
        world.put(rows).await;
        world.index.flush().await.unwrap();
        world.delete((0..20_000).filter(|n| n % 5 == 0)).await;
        for ratio in [0, 1, 10, 50, 100, 500, 900, 1000] {
            world.check(&format!("filtered, {metric:?}"), &questions, &per_mille(ratio)).await;
        }
        world.engine.shutdown().await;
    }
}

#[tokio::test]
async fn exact_queries_find_all_and_wishes_decide_how_far_to_look() {
    let mut world = World::new(Metric::Euclidean, Store::memory(), quiet()).await;
    let mut source = Source::new(4);
    let rows: Vec<_> = (0..20_000).map(|n| (n, source.vector())).collect();
    world.put(rows).await;
    world.index.flush().await.unwrap();
    let mut lists = [0, 0];
    for vector in queries(&mut source, 20) {
        let exact = Query { precision: Precision::Exact, ..question(&vector, &Filter::All) };
        let (share, answer) = world.found(&exact).await;
        assert_eq!(share, 1.0);
        assert_eq!(answer.explain.segments_scanned, 1);
        for (place, wish) in [(0, 0.7), (1, 0.999)] {
            let wish = Precision::Recall(wish);
            let query = Query { precision: wish, ..question(&vector, &Filter::All) };
            lists[place] += world.found(&query).await.1.explain.lists;
        }
    }
    assert!(lists[0] < lists[1], "more is read for more recall: {lists:?}");
    world.engine.shutdown().await;
}

/// Memtables and small segments, all by codes, with the same filters before and after changes.
#[tokio::test]
async fn what_is_known_of_filters_never_outlives_a_change() {
    let options = Options { coded_bytes_min: 1, ..quiet() };
    let mut world = World::new(Metric::Euclidean, Store::memory(), options).await;
    let mut source = Source::new(7);
    let questions = queries(&mut source, 30);
    let check = async |world: &World, what: &str| {
        for _ in 0..2 {
            for ratio in [20, 300, 1000] {
                world.check(what, &questions, &per_mille(ratio)).await;
            }
            for vector in &questions {
                let (share, _) = world.found(&question(vector, &Filter::All)).await;
                assert!(share >= 0.7, "{what}: {share}");
            }
        }
    };
    // A whole run of two chunks or one, and what is behind it.
    world.put((0..4500).map(|n| (n, source.vector())).collect::<Vec<_>>()).await;
    check(&world, "memtable").await;
    let with_codes = async {
        let everything = question(&questions[0], &Filter::All);
        while world.found(&everything).await.1.explain.codes < 2000 {
            tokio::task::yield_now().await;
        }
    };
    let deadline = std::time::Duration::from_secs(60);
    tokio::time::timeout(deadline, with_codes).await.expect("codes are made");
    check(&world, "memtable with codes").await;
    world.delete((0..4500).filter(|n| n % 3 == 0)).await;
    check(&world, "some deleted").await;
    world.put((0..4500).step_by(4).map(|n| (n, source.vector())).collect::<Vec<_>>()).await;
    check(&world, "some overwritten").await;
    for small in 0..4u64 {
        world.index.flush().await.unwrap();
        check(&world, "flushed").await;
        let numbers = 5000 + 40 * small..5040 + 40 * small;
        world.put(numbers.map(|n| (n, source.vector())).collect::<Vec<_>>()).await;
        check(&world, "a few more").await;
    }
    world.delete((0..4500).filter(|n| n % 5 == 1)).await;
    check(&world, "more deleted").await;
    world.index.flush().await.unwrap();
    world.index.compact().await.unwrap();
    check(&world, "merged").await;
    world.engine.shutdown().await;
}

/// The same snapshot gives the same answer, whoever computes it.
#[tokio::test]
async fn answers_do_not_depend_on_threads() {
    let folder = tempfile::tempdir().unwrap();
    let local = || Store::local(folder.path(), vb_commit::LocalOptions { fsync: false }).unwrap();
    let mut source = Source::new(5);
    let questions = queries(&mut source, 20);
    let mut world = World::new(Metric::Cosine, local(), quiet()).await;
    let rows: Vec<_> = (0..15_000).map(|n| (n, source.vector())).collect();
    world.put(rows).await;
    world.index.flush().await.unwrap();
    world.engine.shutdown().await;
    drop(world);
    let mut answers = Vec::new();
    for threads in [1, 3] {
        let engine =
            Engine::open(local(), Options { threads: Some(threads), ..quiet() }).await.unwrap();
        let index = engine.resolve(&bucket(), b"index").await.unwrap();
        index.warm().await.unwrap();
        let mut all = Vec::new();
        for vector in &questions {
            all.push(index.query(question(vector, &per_mille(700))).await.unwrap());
        }
        answers.push(all);
        engine.shutdown().await;
    }
    assert_eq!(answers[0], answers[1]);
}

/// A search that finds too little looks further after a while.
#[tokio::test]
async fn samples_measure_recall() {
    let recall = Recall { sample_share: 0.5, ..Recall::default() };
    let options = Options { recall, ..quiet() };
    let mut world = World::new(Metric::Euclidean, Store::memory(), options).await;
    let mut source = Source::new(6);
    let rows: Vec<_> = (0..10_000).map(|n| (n, source.vector())).collect();
    world.put(rows).await;
    world.index.flush().await.unwrap();
    let vector = source.vector();
    let ask = async || {
        loop {
            world.index.query(question(&vector, &Filter::All)).await.unwrap();
            if let [measured] = world.engine.recalls()[..] {
                return measured;
            }
            tokio::task::yield_now().await;
        }
    };
    let deadline = std::time::Duration::from_secs(60);
    let measured = tokio::time::timeout(deadline, ask()).await.unwrap();
    assert_eq!(measured.index, world.index.id());
    assert!(measured.samples >= 1 && (0.0..=1.0).contains(&measured.recall));
    world.engine.shutdown().await;
}
