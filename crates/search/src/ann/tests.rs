//! The index against a look at every row.

use super::random::Random;
use super::*;
use vb_kernel::Level;

const DIMENSION: usize = 48;

/// Clustered vectors, as embeddings are.
fn vectors(count: usize, seed: u64) -> Vec<f32> {
    let mut random = Random(seed);
    let centers: Vec<f32> = (0..40 * DIMENSION).map(|_| random.unit() - 0.5).collect();
    let mut values = Vec::with_capacity(count * DIMENSION);
    for _ in 0..count {
        let center = random.below(40) * DIMENSION;
        values.extend(
            (0..DIMENSION).map(|i| centers[center + i] + 0.7 * (random.unit() - 0.5) + 0.2),
        );
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

/// The numbers of the ten nearest allowed vectors.
fn truth(metric: Metric, data: &[f32], query: &[f32], allowed: impl Fn(u32) -> bool) -> Vec<u32> {
    let rows = (0..).zip(data.chunks_exact(DIMENSION)).filter(|(row, _)| allowed(*row));
    let mut ranked: Vec<(f64, u32)> =
        rows.map(|(row, vector)| (exact_rank(metric, vector, query), row)).collect();
    ranked.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    ranked.into_iter().take(10).map(|(_, row)| row).collect()
}

const EFFORT: Effort = Effort { lists: 16, groups: 6, deviations: 1.9 };

/// Recall at 10 over some queries, of all that stand in `allowed`.
fn recall(metric: Metric, allowed: impl Fn(u32) -> bool + Copy) -> f64 {
    let data = vectors(6000, 1);
    let queries = vectors(50, 1);
    let index = AnnIndex::build(metric, &data, DIMENSION, Kernels::detect());
    let mut bits = vec![0u64; data.len() / DIMENSION / 64 + 1];
    for (row, vector) in index.order().iter().enumerate() {
        bits[row / 64] |= u64::from(allowed(*vector)) << (row % 64);
    }
    let mut searcher = index.searcher();
    let mut hits = 0;
    for query in queries.chunks_exact(DIMENSION) {
        let expected = truth(metric, &data, query, allowed);
        let (near, _) = searcher.search(query, 10, EFFORT, Some(&bits));
        let found: Vec<u32> = near.iter().map(|near| index.order()[near.row as usize]).collect();
        assert!(found.iter().all(|vector| allowed(*vector)), "a row that is not allowed");
        hits += expected.iter().filter(|vector| found.contains(vector)).count();
    }
    hits as f64 / 500.0
}

#[test]
fn every_metric_finds_nearly_all_of_the_nearest() {
    for metric in [Metric::Euclidean, Metric::Cosine, Metric::InnerProduct] {
        let recall = recall(metric, |_| true);
        assert!(recall > 0.97, "{metric:?}: {recall}");
    }
}

#[test]
fn rows_that_are_not_allowed_are_left_out_and_others_are_found() {
    let recall = recall(Metric::Euclidean, |vector| vector % 3 == 0);
    assert!(recall > 0.97, "{recall}");
}

/// Everything that a search can see of an index.
fn answers(index: &AnnIndex) -> Vec<(u32, u32)> {
    let queries = vectors(20, 3);
    let mut searcher = index.searcher();
    let mut answers = Vec::new();
    for query in queries.chunks_exact(DIMENSION) {
        let (near, _) = searcher.search(query, 10, EFFORT, None);
        answers.extend(near.iter().map(|near| (near.rank.to_bits(), near.row)));
    }
    answers
}

#[test]
fn threads_and_levels_change_nothing() {
    let data = vectors(3000, 2);
    let build = |threads: usize, kernels: Kernels| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
        pool.install(|| AnnIndex::build(Metric::Cosine, &data, DIMENSION, kernels))
    };
    let first = build(1, Kernels::at(Level::Scalar).expect("the scalar level is everywhere"));
    let expected = answers(&first);
    for kernels in Level::ALL.into_iter().filter_map(Kernels::at) {
        let index = build(3, kernels);
        assert_eq!(index.order(), first.order(), "{}", kernels.level());
        assert_eq!(answers(&index), expected, "{}", kernels.level());
    }
}

#[test]
fn few_and_equal_vectors_are_indexed_too() {
    for count in [1, 2, 47, 300] {
        let data = vec![0.25f32; count * DIMENSION];
        let index = AnnIndex::build(Metric::Euclidean, &data, DIMENSION, Kernels::detect());
        let mut searcher = index.searcher();
        let (near, _) = searcher.search(&data[..DIMENSION], 10, EFFORT, None);
        assert!(near.len() >= count.min(10), "{} of {count}", near.len());
        assert!(near.iter().all(|near| near.rank.abs() < 1e-3));
    }
}
