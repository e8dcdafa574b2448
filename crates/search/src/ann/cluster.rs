//! Clustering: balanced centroids by hierarchical k-means, and the two lists of each vector.
//!
//! ```text
//! build   sample -> sqrt(k) coarse centroids -> each one's vectors -> its share of the k centroids
//!         -> assign all -> upkeep
//! upkeep  assign new vectors roughly -> move the centroids of lists that they joined -> split lists above
//!         SIZE_MAX, dissolve those below SIZE_MIN -> assign the new ones, whoever was in such lists, or in a list
//!         near one that is new
//! assign  through the tree: the nearest centroid, and the second list by the SOAR rule
//! ```
//!
//! The second list of a vector is not its second nearest: it is the one that serves queries which the
//! first serves badly, those whose offset is parallel to the first residual (Sun et al., "SOAR",
//! NeurIPS 2023). Sums are made in the order of rows, so that results do not depend on threads.
//! Upkeep is what SPFresh (Xu et al., SOSP 2023) calls LIRE.

use rayon::prelude::*;
use vb_kernel::Kernels;

use super::build::Members;
use super::codes::{Rounded, Row};
use super::params::Shape;
use super::random::Random;
use super::ranked::Ranked;
use super::tree::{Lookup, Scratch, Tree};

/// Vectors per list, on average, each counted once.
const SIZE: usize = 128;
/// A larger list is split.
const SIZE_MAX: usize = 256;
/// A smaller one is dissolved.
const SIZE_MIN: usize = 48;
/// k-means looks at so many points per centroid.
const POINTS_PER_CENTROID: usize = 256;
const ITERATIONS: usize = 6;
const UPKEEP_ROUNDS: usize = 3;
/// Weight of the parallel part of the second residual.
const SOAR: f32 = 1.0;
/// Nearest centroids among which the second list is chosen.
const SECOND_CHOICES: usize = 24;
/// Groups of the tree that assignment looks into, and those of a rough one.
const GROUPS: usize = 8;
const GROUPS_AT_FIRST: usize = 3;
/// Lists around a new one whose vectors are assigned anew.
const NEIGHBOURS: usize = 8;
/// Vectors per job.
const CHUNK: usize = 256;
/// No list yet.
pub(super) const NONE: u32 = u32::MAX;

/// The rows of a CODES section as vectors.
#[derive(Clone, Copy, Debug)]
pub(super) struct Vectors<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) shape: Shape,
}

impl Vectors<'_> {
    pub(super) fn rows(&self) -> usize {
        self.bytes.len() / self.shape.row_bytes()
    }

    pub(super) fn decode(&self, row: u32, out: &mut [f32]) {
        let bytes = self.shape.row_bytes();
        let row = &self.bytes[row as usize * bytes..][..bytes];
        Row::open(row).decode(self.shape.row_bits, out);
    }
}

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

/// What can be clustered.
trait Points: Copy + Sync {
    fn dimension(self) -> usize;
    fn read(self, point: u32, out: &mut [f32]);
}

impl Points for Matrix<'_> {
    fn dimension(self) -> usize {
        self.dimension
    }

    fn read(self, point: u32, out: &mut [f32]) {
        out.copy_from_slice(self.row(point));
    }
}

impl Points for Vectors<'_> {
    fn dimension(self) -> usize {
        self.shape.padded()
    }

    fn read(self, point: u32, out: &mut [f32]) {
        self.decode(point, out);
    }
}

/// Centroids and which lists each vector stands in.
#[derive(Clone, Debug)]
pub(super) struct Clusters {
    /// `lists x padded`.
    pub(super) centroids: Vec<f32>,
    /// Per vector: its first list, and its second (the same one if there is no other).
    pub(super) lists: Vec<[u32; 2]>,
}

impl Clusters {
    /// The tree over the centroids.
    pub(super) fn tree(&self, shape: Shape, kernels: Kernels, seed: u64) -> Tree {
        let centroids = Matrix { values: &self.centroids, dimension: shape.padded() };
        Tree::build(centroids, kernels, seed)
    }

    /// Puts the centroids around a centre that has moved.
    pub(super) fn shift(&mut self, shift: &[f32]) {
        for centroid in self.centroids.chunks_exact_mut(shift.len()) {
            centroid.iter_mut().zip(shift).for_each(|(value, shift)| *value -= shift);
        }
    }

    /// The rows of each list.
    pub(super) fn members(&self, padded: usize) -> Vec<Members> {
        let mut members = vec![Members::default(); self.centroids.len() / padded];
        for (row, lists) in (0..).zip(&self.lists) {
            members[lists[0] as usize].rows.push(row);
        }
        members.iter_mut().for_each(|list| list.firsts = list.rows.len());
        for (row, lists) in (0..).zip(&self.lists).filter(|(_, lists)| lists[1] != lists[0]) {
            members[lists[1] as usize].rows.push(row);
        }
        members
    }
}

/// Clusters vectors; there is at least one.
pub(super) fn cluster(vectors: Vectors<'_>, kernels: Kernels, seed: u64) -> Clusters {
    let centroids = hierarchical(vectors, kernels, &mut Random(seed));
    let lists = vec![[NONE; 2]; vectors.rows()];
    upkeep(vectors, Clusters { centroids, lists }, kernels, seed)
}

fn hierarchical(vectors: Vectors<'_>, kernels: Kernels, random: &mut Random) -> Vec<f32> {
    let all: Vec<u32> = (0..vectors.rows() as u32).collect();
    let total = (all.len() / SIZE).max(1);
    let coarse_count = total.isqrt().max(1);
    let coarse = k_means(vectors, &all, coarse_count, kernels, random);
    let coarse = Matrix { values: &coarse, dimension: vectors.dimension() };
    let nearest = nearest(vectors, &all, coarse, kernels);
    let mut seeds: Vec<(u64, Vec<u32>)> = members_of(&all, &nearest, coarse.rows())
        .into_iter()
        .map(|group| (random.next(), group))
        .collect();
    seeds.retain(|(_, group)| !group.is_empty());
    let parts: Vec<Vec<f32>> = seeds
        .into_par_iter()
        .map(|(seed, group)| {
            let mut random = Random(seed);
            let count = (group.len() / SIZE).max(1);
            let centroids = k_means(vectors, &group, count, kernels, &mut random);
            balanced(vectors, &group, &centroids, kernels, &mut random)
        })
        .collect();
    parts.concat()
}

/// The centroids of one group after splitting and dissolving, as upkeep does, but without assigning anew.
fn balanced(
    vectors: Vectors<'_>,
    group: &[u32],
    centroids: &[f32],
    kernels: Kernels,
    random: &mut Random,
) -> Vec<f32> {
    let centroids = Matrix { values: centroids, dimension: vectors.dimension() };
    let nearest = nearest(vectors, group, centroids, kernels);
    let members = members_of(group, &nearest, centroids.rows());
    let parts: Vec<Vec<f32>> =
        members.iter().map(|members| part(vectors, members, kernels, random.next())).collect();
    let balanced = parts.concat();
    if balanced.is_empty() { mean(vectors, group) } else { balanced }
}

/// What becomes of a list: nothing, its mean, or several centroids.
fn part(vectors: Vectors<'_>, members: &[u32], kernels: Kernels, seed: u64) -> Vec<f32> {
    match members.len() {
        0..SIZE_MIN => Vec::new(),
        SIZE_MIN..=SIZE_MAX => mean(vectors, members),
        large => k_means(vectors, members, large.div_ceil(SIZE), kernels, &mut Random(seed)),
    }
}

/// Assigns vectors without lists, and keeps lists in bounds.
///
/// Lists that need not change keep their vectors, but for those near a list that did. Their centroids move to where the vectors
/// are, if any joined. Whoever had no list is assigned twice, at first roughly, so that it finds the lists as they are after that.
pub(super) fn upkeep(
    vectors: Vectors<'_>,
    mut clusters: Clusters,
    kernels: Kernels,
    seed: u64,
) -> Clusters {
    let is_new: Vec<bool> = clusters.lists.iter().map(|lists| lists[0] == NONE).collect();
    assign(vectors, &mut clusters, Choice::First, kernels, seed);
    follow(vectors, &mut clusters, &is_new);
    rebalance(vectors, &mut clusters, kernels, seed);
    let new = clusters.lists.iter_mut().zip(&is_new).filter(|(_, is_new)| **is_new);
    new.for_each(|(lists, _)| *lists = [NONE; 2]);
    assign(vectors, &mut clusters, Choice::Both, kernels, seed);
    for round in 1..=UPKEEP_ROUNDS as u64 {
        if !rebalance(vectors, &mut clusters, kernels, seed.wrapping_add(round)) {
            break;
        }
        assign(vectors, &mut clusters, Choice::Both, kernels, seed);
    }
    follow(vectors, &mut clusters, &is_new);
    clusters
}

/// Moves the centroids of lists that new vectors joined to where their vectors are.
fn follow(vectors: Vectors<'_>, clusters: &mut Clusters, is_new: &[bool]) {
    let padded = vectors.dimension();
    let members = clusters.members(padded);
    let pairs = clusters.centroids.par_chunks_exact_mut(padded).zip(&members);
    pairs.for_each(|(centroid, list)| {
        let firsts = &list.rows[..list.firsts];
        if firsts.iter().any(|row| is_new[*row as usize]) {
            centroid.copy_from_slice(&mean(vectors, firsts));
        }
    });
}

/// Splits large lists and dissolves small ones; their vectors, and those near, are without lists then. False if
/// nothing changed.
fn rebalance(vectors: Vectors<'_>, clusters: &mut Clusters, kernels: Kernels, seed: u64) -> bool {
    let padded = vectors.dimension();
    let members = clusters.members(padded);
    let is_kept = |list: &Members| (SIZE_MIN..=SIZE_MAX).contains(&list.firsts);
    if members.iter().all(is_kept) || members.len() == 1 && members[0].firsts <= SIZE_MAX {
        return false;
    }
    let mut random = Random(seed);
    let seeds: Vec<u64> = members.iter().map(|_| random.next()).collect();
    let parts: Vec<Option<Vec<f32>>> = members
        .par_iter()
        .zip(seeds)
        .map(|(list, seed)| {
            (!is_kept(list)).then(|| part(vectors, &list.rows[..list.firsts], kernels, seed))
        })
        .collect();
    let mut next = Renumbering::default();
    for (part, centroid) in parts.iter().zip(clusters.centroids.chunks_exact(padded)) {
        match part {
            None => next.keep(centroid, padded),
            Some(part) => next.replace(part, padded),
        }
    }
    if next.centroids.is_empty() {
        let largest = members.iter().max_by_key(|list| list.firsts).expect("there is a list");
        next.centroids = mean(vectors, &largest.rows[..largest.firsts]);
    }
    let touched = touched(&next, padded, kernels, seed);
    let renumber = |list: u32| next.new.get(list as usize).copied().flatten();
    for lists in &mut clusters.lists {
        let new = lists.map(|list| renumber(list).filter(|list| !touched[*list as usize]));
        *lists = match new {
            [Some(first), Some(second)] => [first, second],
            _ => [NONE; 2],
        };
    }
    clusters.centroids = next.centroids;
    true
}

/// Centroids after a rebalance.
#[derive(Debug, Default)]
struct Renumbering {
    centroids: Vec<f32>,
    /// The number of each old list that stays.
    new: Vec<Option<u32>>,
    /// Numbers of new lists.
    added: Vec<u32>,
}

impl Renumbering {
    fn keep(&mut self, centroid: &[f32], padded: usize) {
        self.new.push(Some((self.centroids.len() / padded) as u32));
        self.centroids.extend_from_slice(centroid);
    }

    fn replace(&mut self, part: &[f32], padded: usize) {
        self.new.push(None);
        let start = self.centroids.len() / padded;
        self.added.extend((start..start + part.len() / padded).map(|list| list as u32));
        self.centroids.extend_from_slice(part);
    }
}

/// For each list, whether it is near a new one.
fn touched(next: &Renumbering, padded: usize, kernels: Kernels, seed: u64) -> Vec<bool> {
    let centroids = Matrix { values: &next.centroids, dimension: padded };
    let mut touched = vec![false; centroids.rows()];
    if next.added.is_empty() {
        return touched;
    }
    let tree = Tree::build(centroids, kernels, seed);
    let lookup = Lookup { groups: GROUPS, by_product: false, kernels };
    let near: Vec<Vec<u32>> = next
        .added
        .par_chunks(CHUNK)
        .flat_map_iter(|added| {
            let (mut scratch, mut rounded) = (Scratch::default(), Rounded::default());
            added
                .iter()
                .map(|list| {
                    rounded.fill(centroids.row(*list));
                    tree.find(centroids.row(*list), &rounded, &lookup, &mut scratch);
                    scratch.nearest(NEIGHBOURS + 1).iter().map(|near| near.number()).collect()
                })
                .collect::<Vec<_>>()
        })
        .collect();
    near.into_iter().flatten().for_each(|list| touched[list as usize] = true);
    touched
}

fn mean(vectors: impl Points, rows: &[u32]) -> Vec<f32> {
    let mut sum = vec![0.0f32; vectors.dimension()];
    let mut vector = sum.clone();
    for row in rows {
        vectors.read(*row, &mut vector);
        sum.iter_mut().zip(&vector).for_each(|(sum, value)| *sum += value);
    }
    let scale = 1.0 / rows.len() as f32;
    sum.iter_mut().for_each(|value| *value *= scale);
    sum
}

/// Lloyd's algorithm on a sample of `rows`; a centroid that nobody is near to starts over at a random row.
fn k_means(
    vectors: impl Points,
    rows: &[u32],
    count: usize,
    kernels: Kernels,
    random: &mut Random,
) -> Vec<f32> {
    let sample = random.sample(rows, POINTS_PER_CENTROID * count);
    let dimension = vectors.dimension();
    let mut centroids = vec![0.0; count * dimension];
    for (place, centroid) in centroids.chunks_exact_mut(dimension).enumerate() {
        vectors.read(sample[place % sample.len()], centroid);
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
                None => vectors.read(sample[random.below(sample.len())], centroid),
            }
        }
    }
    centroids
}

/// The nearest centroid of each of `rows`, looking at all centroids.
fn nearest(
    vectors: impl Points,
    rows: &[u32],
    centroids: Matrix<'_>,
    kernels: Kernels,
) -> Vec<u32> {
    let norms: Vec<f32> = centroids
        .values
        .chunks_exact(centroids.dimension)
        .map(|row| kernels.norm_squared(row))
        .collect();
    let nearest = |(vector, scores): &mut (Vec<f32>, Vec<f32>), row: &u32| {
        vectors.read(*row, vector);
        kernels.dot_rows(vector, centroids.values, scores);
        let cost = |place: usize| norms[place] - 2.0 * scores[place];
        let better =
            |best: usize, place: usize| if cost(place) < cost(best) { place } else { best };
        (1..norms.len()).fold(0, better) as u32
    };
    rows.par_chunks(CHUNK)
        .flat_map_iter(|rows| {
            let mut buffers = (vec![0.0; centroids.dimension], vec![0.0; norms.len()]);
            rows.iter().map(|row| nearest(&mut buffers, row)).collect::<Vec<_>>()
        })
        .collect()
}

/// Which lists to choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Choice {
    /// The nearest, or one that is nearly so.
    First,
    /// A second one as well.
    Both,
}

/// Gives lists to the vectors that have none.
fn assign(
    vectors: Vectors<'_>,
    clusters: &mut Clusters,
    choice: Choice,
    kernels: Kernels,
    seed: u64,
) {
    if clusters.lists.iter().all(|lists| lists[0] != NONE) {
        return;
    }
    let groups = match choice {
        Choice::First => GROUPS_AT_FIRST,
        Choice::Both => GROUPS,
    };
    let lookup = Lookup { groups, by_product: false, kernels };
    let tree = clusters.tree(vectors.shape, kernels, seed);
    let centroids = Matrix { values: &clusters.centroids, dimension: vectors.dimension() };
    clusters.lists.par_chunks_mut(CHUNK).enumerate().for_each(|(chunk, lists)| {
        let (mut scratch, mut rounded) = (Scratch::default(), Rounded::default());
        let mut buffers = (vec![0.0; centroids.dimension], vec![0.0; centroids.dimension]);
        for (row, lists) in (chunk * CHUNK..).zip(lists) {
            if lists[0] == NONE {
                let (vector, residual) = &mut buffers;
                vectors.decode(row as u32, vector);
                rounded.fill(vector);
                tree.find(vector, &rounded, &lookup, &mut scratch);
                *lists = match choice {
                    Choice::First => [scratch.nearest(1)[0].number(); 2],
                    Choice::Both => {
                        let near = scratch.nearest(SECOND_CHOICES);
                        [near[0].number(), second_list(vector, residual, near, centroids, kernels)]
                    }
                };
            }
        }
    });
}

/// The list whose residual is short and not parallel to the first. `residual` is a buffer.
fn second_list(
    vector: &[f32],
    residual: &mut [f32],
    near: &[Ranked],
    centroids: Matrix<'_>,
    kernels: Kernels,
) -> u32 {
    let first = near[0].number();
    let pairs = vector.iter().zip(centroids.row(first));
    residual.iter_mut().zip(pairs).for_each(|(r, (value, center))| *r = value - center);
    let length = kernels.norm_squared(residual).max(f32::MIN_POSITIVE);
    let along = kernels.dot(vector, residual);
    let cost = |near: &Ranked| {
        let parallel = along - kernels.dot(centroids.row(near.number()), residual);
        near.rank() + SOAR * parallel * parallel / length
    };
    let others = near[1..].iter().map(|choice| (cost(choice), choice.number()));
    others.min_by(|a, b| a.0.total_cmp(&b.0)).map_or(first, |(_, list)| list)
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
