//! Clustering: balanced centroids by hierarchical k-means, and the two lists of each vector.
//!
//! ```text
//! sample -> sqrt(k) coarse centroids -> each one's vectors -> its share of the k centroids
//! twice:  assign all -> split clusters above SIZE_MAX, dissolve those below SIZE_MIN
//! assign all through the tree: the nearest centroid, and the second list by the SOAR rule
//! ```
//!
//! The second list of a vector is not its second nearest: it is the one that serves queries which the
//! first serves badly, those whose offset is parallel to the first residual (Sun et al., "SOAR",
//! NeurIPS 2023). Sums are made in fixed chunks, so that results do not depend on threads.

use rayon::prelude::*;
use vb_kernel::Kernels;

use super::random::Random;
use super::tree::Tree;

/// Vectors per cluster, on average.
pub(super) const SIZE: usize = 128;
/// A larger cluster is split.
const SIZE_MAX: usize = 256;
/// A smaller one is dissolved.
const SIZE_MIN: usize = 48;
/// k-means looks at so many points per centroid.
const POINTS_PER_CENTROID: usize = 256;
const ITERATIONS: usize = 6;
const BALANCE_ROUNDS: usize = 2;
/// Weight of the parallel part of the second residual.
const SOAR: f32 = 1.0;
/// Nearest centroids among which the second list is chosen.
const SECOND_CHOICES: usize = 24;
/// Vectors per job.
const CHUNK: usize = 256;

/// Row-major vectors of one dimension.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    pub(super) values: &'a [f32],
    pub(super) dimension: usize,
}

impl<'a> Matrix<'a> {
    pub(super) fn row(self, row: u32) -> &'a [f32] {
        &self.values[row as usize * self.dimension..][..self.dimension]
    }

    pub(super) fn rows(self) -> usize {
        self.values.len() / self.dimension
    }
}

/// Centroids and which lists each vector stands in.
pub(super) struct Clusters {
    /// `k x dimension`.
    pub(super) centroids: Vec<f32>,
    /// Per vector: its first list, and its second (the same one if there is no other).
    pub(super) lists: Vec<[u32; 2]>,
}

/// Clusters vectors; there is at least one.
pub(super) fn cluster(vectors: Matrix<'_>, kernels: Kernels, seed: u64) -> Clusters {
    let mut random = Random(seed);
    let mut centroids = hierarchical(vectors, kernels, &mut random);
    for _ in 0..BALANCE_ROUNDS {
        let members = members(
            &nearest_all(vectors, &centroids, kernels, seed),
            centroids.len() / vectors.dimension,
        );
        let (balanced, changed) = balance(vectors, &members, kernels, &mut random);
        centroids = balanced;
        if !changed {
            break;
        }
    }
    let lists = assign(vectors, &centroids, kernels, seed);
    Clusters { centroids, lists }
}

fn hierarchical(vectors: Matrix<'_>, kernels: Kernels, random: &mut Random) -> Vec<f32> {
    let all: Vec<u32> = (0..vectors.rows() as u32).collect();
    let total = (all.len() / SIZE).max(1);
    let coarse_count = total.isqrt().max(1);
    let coarse = k_means(vectors, &all, coarse_count, kernels, random);
    let coarse = Matrix { values: &coarse, dimension: vectors.dimension };
    let groups = members(&nearest(vectors, &all, coarse, kernels), coarse.rows());
    let mut seeds: Vec<(u64, Vec<u32>)> =
        groups.into_iter().map(|group| (random.next(), group)).collect();
    seeds.retain(|(_, group)| !group.is_empty());
    let parts: Vec<Vec<f32>> = seeds
        .into_par_iter()
        .map(|(seed, group)| {
            let count = (group.len() / SIZE).max(1);
            k_means(vectors, &group, count, kernels, &mut Random(seed))
        })
        .collect();
    parts.concat()
}

/// Splits large clusters and leaves small ones out; their vectors go elsewhere with the next assignment.
fn balance(
    vectors: Matrix<'_>,
    members: &[Vec<u32>],
    kernels: Kernels,
    random: &mut Random,
) -> (Vec<f32>, bool) {
    let seeds: Vec<u64> = members.iter().map(|_| random.next()).collect();
    let part = |(members, seed): (&Vec<u32>, u64)| match members.len() {
        0..SIZE_MIN => Vec::new(),
        SIZE_MIN..=SIZE_MAX => mean(vectors, members),
        large => k_means(vectors, members, large.div_ceil(SIZE), kernels, &mut Random(seed)),
    };
    let parts: Vec<Vec<f32>> = members.par_iter().zip(seeds).map(part).collect();
    let changed = parts.iter().any(|part| part.len() != vectors.dimension);
    let centroids = parts.concat();
    if centroids.is_empty() {
        let all: Vec<u32> = members.iter().flatten().copied().collect();
        return (mean(vectors, &all), false);
    }
    (centroids, changed)
}

fn mean(vectors: Matrix<'_>, rows: &[u32]) -> Vec<f32> {
    let mut sum = vec![0.0f32; vectors.dimension];
    for row in rows {
        sum.iter_mut().zip(vectors.row(*row)).for_each(|(sum, value)| *sum += value);
    }
    let scale = 1.0 / rows.len() as f32;
    sum.iter_mut().for_each(|value| *value *= scale);
    sum
}

/// Lloyd's algorithm on a sample of `rows`; a centroid that nobody is near to starts over at a random row.
fn k_means(
    vectors: Matrix<'_>,
    rows: &[u32],
    count: usize,
    kernels: Kernels,
    random: &mut Random,
) -> Vec<f32> {
    let sample = random.sample(rows, POINTS_PER_CENTROID * count);
    let dimension = vectors.dimension;
    let mut centroids = Vec::with_capacity(count * dimension);
    for place in 0..count {
        centroids.extend_from_slice(vectors.row(sample[place % sample.len()]));
    }
    for _ in 0..ITERATIONS {
        let current = Matrix { values: &centroids, dimension };
        let members = members_of(&sample, &nearest(vectors, &sample, current, kernels), count);
        let means: Vec<Option<Vec<f32>>> = members
            .par_iter()
            .map(|rows| (!rows.is_empty()).then(|| mean(vectors, rows)))
            .collect();
        for (centroid, mean) in centroids.chunks_exact_mut(dimension).zip(means) {
            match mean {
                Some(mean) => centroid.copy_from_slice(&mean),
                None => centroid.copy_from_slice(vectors.row(sample[random.below(sample.len())])),
            }
        }
    }
    centroids
}

/// The nearest centroid of each of `rows`, looking at all centroids.
fn nearest(vectors: Matrix<'_>, rows: &[u32], centroids: Matrix<'_>, kernels: Kernels) -> Vec<u32> {
    let norms: Vec<f32> = centroids
        .values
        .chunks_exact(centroids.dimension)
        .map(|row| kernels.norm_squared(row))
        .collect();
    let nearest = |scores: &mut Vec<f32>, row: &u32| {
        scores.resize(norms.len(), 0.0);
        kernels.dot_rows(vectors.row(*row), centroids.values, scores);
        let cost = |place: usize| norms[place] - 2.0 * scores[place];
        let better =
            |best: usize, place: usize| if cost(place) < cost(best) { place } else { best };
        (1..norms.len()).fold(0, better) as u32
    };
    rows.par_chunks(CHUNK)
        .flat_map_iter(|rows| {
            let mut scores = Vec::new();
            rows.iter().map(|row| nearest(&mut scores, row)).collect::<Vec<_>>()
        })
        .collect()
}

/// The nearest centroid of every vector, through a tree.
fn nearest_all(vectors: Matrix<'_>, centroids: &[f32], kernels: Kernels, seed: u64) -> Vec<u32> {
    assign_with(vectors, centroids, kernels, seed, 1, |_, near| near[0].1)
}

fn assign(vectors: Matrix<'_>, centroids: &[f32], kernels: Kernels, seed: u64) -> Vec<[u32; 2]> {
    let matrix = Matrix { values: centroids, dimension: vectors.dimension };
    assign_with(vectors, centroids, kernels, seed, SECOND_CHOICES, |vector, near| {
        [near[0].1, second_list(vector, near, matrix, kernels)]
    })
}

/// Looks at the `choices` nearest centroids of every vector: (squared distance, centroid), nearest first.
fn assign_with<T: Send>(
    vectors: Matrix<'_>,
    centroids: &[f32],
    kernels: Kernels,
    seed: u64,
    choices: usize,
    choose: impl Fn(&[f32], &[(f32, u32)]) -> T + Sync,
) -> Vec<T> {
    let tree =
        Tree::build(Matrix { values: centroids, dimension: vectors.dimension }, kernels, seed);
    let rows: Vec<u32> = (0..vectors.rows() as u32).collect();
    rows.par_chunks(CHUNK)
        .flat_map_iter(|rows| {
            let mut near = tree.finder(false);
            rows.iter()
                .map(|row| {
                    let vector = vectors.row(*row);
                    near.find(vector, choices, Tree::GROUPS_ASSIGN, kernels);
                    choose(vector, near.found())
                })
                .collect::<Vec<_>>()
        })
        .collect()
}

/// The list whose residual is short and not parallel to the first.
fn second_list(
    vector: &[f32],
    near: &[(f32, u32)],
    centroids: Matrix<'_>,
    kernels: Kernels,
) -> u32 {
    let first = near[0].1;
    let residual: Vec<f32> =
        vector.iter().zip(centroids.row(first)).map(|(value, center)| value - center).collect();
    let length = kernels.norm_squared(&residual).max(f32::MIN_POSITIVE);
    let along = kernels.dot(vector, &residual);
    let cost = |(squared, list): (f32, u32)| {
        let parallel = along - kernels.dot(centroids.row(list), &residual);
        squared + SOAR * parallel * parallel / length
    };
    let others = near[1..].iter().map(|&choice| (cost(choice), choice.1));
    others.min_by(|a, b| a.0.total_cmp(&b.0)).map_or(first, |(_, list)| list)
}

fn members(nearest: &[u32], count: usize) -> Vec<Vec<u32>> {
    let rows: Vec<u32> = (0..nearest.len() as u32).collect();
    members_of(&rows, nearest, count)
}

fn members_of(rows: &[u32], nearest: &[u32], count: usize) -> Vec<Vec<u32>> {
    let mut members = vec![Vec::new(); count];
    for (row, list) in rows.iter().zip(nearest) {
        members[*list as usize].push(*row);
    }
    members
}

/// Coarse centroids over centroids, for trees.
pub(super) fn coarse(centroids: Matrix<'_>, count: usize, kernels: Kernels, seed: u64) -> Vec<f32> {
    let all: Vec<u32> = (0..centroids.rows() as u32).collect();
    k_means(centroids, &all, count, kernels, &mut Random(seed))
}
