//! Nearest neighbours without looking at every row: clusters, 1-bit codes, bounds.
//!
//! ```text
//! build   centre, rotate -> balanced clusters, two lists per vector -> 1-bit codes per list,
//!         8-bit codes per vector, rows in the order of first lists
//! search  rotate the query -> nearest lists through the tree -> per list: fast scan of 1-bit codes
//!         -> those whose lower bound beats the k-th distance so far: 8-bit distance
//!         -> the best few: exact distance on their float rows, by the caller
//! ```
//!
//! A row's number is its place in the order of first lists ([`AnnIndex::order`]). Vectors of cosine fields are
//! taken at unit length. The same input gives the same index and the same answers, whatever the number of threads
//! or the CPU level.

mod cluster;
mod codes;
mod random;
mod rotation;
mod tree;

use std::ops::Range;

use rayon::prelude::*;
use vb_kernel::{BLOCK, CodeBlocks, CodeQuery, Kernels, Survivor};

use crate::schema::Metric;
use cluster::{Clusters, Matrix, cluster};
use codes::{DEVIATION, ListCodes, Table, encode_list, encode_u8};
use rotation::Rotation;
use tree::{Finder, Tree};

/// Rows beyond the wanted ones whose exact distances decide.
const SPARE: usize = 6;
/// Lists whose survivors are looked at best first, so that the threshold falls soon.
const SORTED_LISTS: usize = 3;
const SEED: u64 = 0x5EED;

/// The lists of one vector field.
#[derive(Debug)]
pub struct AnnIndex {
    metric: Metric,
    kernels: Kernels,
    mean: Vec<f32>,
    rotation: Rotation,
    tree: Tree,
    lists: Vec<List>,
    codes: Vec<u8>,
    offsets: Vec<u16>,
    slopes: Vec<u16>,
    /// Rows of the second parts of lists.
    seconds: Vec<u32>,
    /// Row to the number that the vector had when the index was built.
    order: Vec<u32>,
    /// `rows x stride`: low, step, squared norm as f32, then the codes.
    rows: Vec<u8>,
    stride: usize,
}

/// A list: the rows of its first part are neighbours, those of its second are named.
#[derive(Clone, Debug)]
struct List {
    first: Range<u32>,
    seconds: Range<u32>,
    block: u32,
    offsets: (f32, f32),
    slopes: (f32, f32),
}

/// How hard to look.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Lists to look into.
    pub lists: usize,
    /// Coarse groups of lists to look into.
    pub groups: usize,
    /// Standard deviations between an estimate and the bound that decides: 1.9 loses nothing, 1.2 little.
    pub deviations: f32,
}

/// A row that may be among the nearest, with its distance from 8-bit codes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Near {
    /// Squared distance to the query, or the negated inner product.
    pub rank: f32,
    /// Row; see [`AnnIndex::order`].
    pub row: u32,
}

/// What a search did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Work {
    /// Vectors whose 1-bit codes were scanned.
    pub scanned: usize,
    /// Vectors whose 8-bit codes were read.
    pub survivors: usize,
}

/// What searches keep between them, so that none allocates.
#[derive(Debug)]
pub struct Searcher<'a> {
    index: &'a AnnIndex,
    finder: Finder<'a>,
    query: Vec<f32>,
    table: Table,
    survivors: Vec<Survivor>,
    /// A word per block of the list being scanned.
    allowed: Vec<u32>,
    waiting: Vec<(f32, u32)>,
    nearest: Vec<Near>,
}

const ROW_HEADER: usize = 12;

impl AnnIndex {
    /// Builds the index of row-major `vectors`, at least one, on the calling thread pool.
    pub fn build(metric: Metric, vectors: &[f32], dimension: usize, kernels: Kernels) -> Self {
        let mean = mean(metric, vectors, dimension);
        let rotation = Rotation::new(dimension, SEED);
        let padded = rotation.padded();
        let mut rotated = vec![0.0f32; vectors.len() / dimension * padded];
        rotated.par_chunks_mut(padded).zip(vectors.par_chunks(dimension)).for_each(|(out, row)| {
            transform(metric, row, &mean, &rotation, out);
        });
        let rotated = Matrix { values: &rotated, dimension: padded };
        let clusters = cluster(rotated, kernels, SEED);
        Self::assemble(metric, mean, rotation, rotated, &clusters, kernels)
    }

    fn assemble(
        metric: Metric,
        mean: Vec<f32>,
        rotation: Rotation,
        vectors: Matrix<'_>,
        clusters: &Clusters,
        kernels: Kernels,
    ) -> Self {
        let padded = vectors.dimension;
        let centroids = Matrix { values: &clusters.centroids, dimension: padded };
        let members = list_members(&clusters.lists, centroids.rows());
        let order: Vec<u32> = members.iter().flat_map(|list| list[0].iter().copied()).collect();
        let mut row_of = vec![0u32; order.len()];
        (0..).zip(&order).for_each(|(row, &vector)| row_of[vector as usize] = row);
        let encoded: Vec<ListCodes> = members
            .par_iter()
            .zip(0..centroids.rows() as u32)
            .map(|(list, number)| {
                let all: Vec<&[f32]> =
                    list.iter().flatten().map(|&vector| vectors.row(vector)).collect();
                encode_list(metric, centroids.row(number), all.into_iter())
            })
            .collect();
        let stride = ROW_HEADER + padded;
        let rows = encode_rows(vectors, &order, kernels);
        let tree = Tree::build(centroids, kernels, SEED);
        let mut index = Self {
            metric,
            kernels,
            mean,
            rotation,
            tree,
            lists: Vec::new(),
            codes: Vec::new(),
            offsets: Vec::new(),
            slopes: Vec::new(),
            seconds: Vec::new(),
            order,
            rows,
            stride,
        };
        for (list, codes) in members.iter().zip(encoded) {
            index.push_list(list, codes, &row_of);
        }
        index
    }

    fn push_list(&mut self, members: &[Vec<u32>; 2], codes: ListCodes, row_of: &[u32]) {
        let first = self.lists.last().map_or(0, |list| list.first.end);
        let second = self.seconds.len() as u32;
        self.lists.push(List {
            first: first..first + members[0].len() as u32,
            seconds: second..second + members[1].len() as u32,
            block: (self.offsets.len() / BLOCK) as u32,
            offsets: codes.offsets.linear,
            slopes: codes.slopes.linear,
        });
        self.seconds.extend(members[1].iter().map(|&vector| row_of[vector as usize]));
        self.codes.extend_from_slice(&codes.codes);
        self.offsets.extend_from_slice(&codes.offsets.values);
        self.slopes.extend_from_slice(&codes.slopes.values);
    }

    /// Which vector of those the index was built from each row is.
    pub fn order(&self) -> &[u32] {
        &self.order
    }

    /// How many lists there are.
    pub fn lists(&self) -> usize {
        self.lists.len()
    }

    /// Bytes that every search may touch (`.0`), and those of the 8-bit codes (`.1`).
    pub fn bytes(&self) -> (usize, usize) {
        let lists = self.codes.len()
            + 2 * (self.offsets.len() + self.slopes.len())
            + 4 * self.seconds.len();
        (lists, self.rows.len())
    }

    /// For searches one after another.
    pub fn searcher(&self) -> Searcher<'_> {
        Searcher {
            index: self,
            finder: self.tree.finder(self.metric == Metric::InnerProduct),
            query: vec![0.0; self.rotation.padded()],
            table: Table::default(),
            survivors: Vec::new(),
            allowed: Vec::new(),
            waiting: Vec::new(),
            nearest: Vec::new(),
        }
    }
}

fn mean(metric: Metric, vectors: &[f32], dimension: usize) -> Vec<f32> {
    const CHUNK: usize = 4096;
    let part = |rows: &[f32]| {
        let mut sum = vec![0.0f64; dimension];
        for row in rows.chunks_exact(dimension) {
            let scale = f64::from(unit_scale(metric, row));
            sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += f64::from(*value) * scale);
        }
        sum
    };
    let parts: Vec<Vec<f64>> = vectors.par_chunks(CHUNK * dimension).map(part).collect();
    let count = (vectors.len() / dimension) as f64;
    (0..dimension).map(|i| (parts.iter().map(|part| part[i]).sum::<f64>() / count) as f32).collect()
}

/// What makes a vector of a cosine field one of unit length.
fn unit_scale(metric: Metric, row: &[f32]) -> f32 {
    let norm: f64 = row.iter().map(|value| f64::from(*value) * f64::from(*value)).sum();
    if metric == Metric::Cosine && norm > 0.0 { (1.0 / norm.sqrt()) as f32 } else { 1.0 }
}

fn transform(metric: Metric, row: &[f32], mean: &[f32], rotation: &Rotation, out: &mut [f32]) {
    let scale = unit_scale(metric, row);
    out.fill(0.0);
    let values = row.iter().zip(mean).map(|(value, mean)| value * scale - mean);
    out.iter_mut().zip(values).for_each(|(out, value)| *out = value);
    rotation.apply(out);
}

fn list_members(lists: &[[u32; 2]], count: usize) -> Vec<[Vec<u32>; 2]> {
    let mut members = vec![[Vec::new(), Vec::new()]; count];
    for (vector, [first, second]) in (0..).zip(lists) {
        members[*first as usize][0].push(vector);
        if second != first {
            members[*second as usize][1].push(vector);
        }
    }
    members
}

/// The bits of `rows`, 32 to a word.
fn mask(allowed: &[u64], rows: impl Iterator<Item = u32>, words: &mut Vec<u32>) {
    for (place, row) in rows.enumerate() {
        if place % BLOCK == 0 {
            words.push(0);
        }
        let bit = (allowed[row as usize / 64] >> (row % 64) & 1) as u32;
        *words.last_mut().expect("a word was just pushed") |= bit << (place % BLOCK);
    }
}

fn encode_rows(vectors: Matrix<'_>, order: &[u32], kernels: Kernels) -> Vec<u8> {
    let encode = |&vector: &u32| {
        let row = vectors.row(vector);
        let mut codes = Vec::with_capacity(row.len());
        let (low, step) = encode_u8(row, &mut codes);
        let header = [low, step, kernels.norm_squared(row)].map(f32::to_le_bytes);
        [header.as_flattened(), &codes].concat()
    };
    order.par_iter().flat_map_iter(encode).collect()
}

impl Searcher<'_> {
    /// The nearest rows by 8-bit codes, some more than `wanted` ([`SPARE`]), nearest first. `allowed` has a bit
    /// per row. Exact distances are the caller's.
    pub fn search(
        &mut self,
        vector: &[f32],
        wanted: usize,
        effort: Effort,
        allowed: Option<&[u64]>,
    ) -> (&[Near], Work) {
        let index = self.index;
        // Products are linear: leaving the mean out of the rows shifts all of them alike.
        let none;
        let mean = match index.metric {
            Metric::InnerProduct => {
                none = vec![0.0; vector.len()];
                &none
            }
            Metric::Euclidean | Metric::Cosine => &index.mean,
        };
        transform(index.metric, vector, mean, &index.rotation, &mut self.query);
        self.finder.find(&self.query, effort.lists, effort.groups, index.kernels);
        self.table.fill(&self.query);
        let squared = index.kernels.norm_squared(&self.query);
        let sum: f32 = self.query.iter().sum();
        let margin = effort.deviations * DEVIATION * squared.sqrt();
        self.nearest.clear();
        let mut work = Work::default();
        let keep = wanted + SPARE;
        for place in 0..self.finder.found().len() {
            let (distance, list) = self.finder.found()[place];
            self.prefetch_list(place + 1);
            // Distances of the list before: its rows have come from memory meanwhile.
            self.second_stage(keep, squared, sum, &mut work);
            self.scan_list(list, distance, margin, keep, allowed, &mut work);
            if place < SORTED_LISTS {
                self.waiting.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
                if place == 0 {
                    self.second_stage(keep, squared, sum, &mut work);
                }
            }
        }
        self.second_stage(keep, squared, sum, &mut work);
        (&self.nearest, work)
    }

    fn threshold(&self, keep: usize) -> f32 {
        if self.nearest.len() < keep { f32::INFINITY } else { self.nearest[keep - 1].rank }
    }

    fn scan_list(
        &mut self,
        number: u32,
        base: f32,
        margin: f32,
        keep: usize,
        allowed: Option<&[u64]>,
        work: &mut Work,
    ) {
        let index = self.index;
        let list = &index.lists[number as usize];
        let count = list.first.len() + list.seconds.len();
        let blocks = count.div_ceil(BLOCK);
        let table_bytes = self.table.bytes.len();
        let start = list.block as usize;
        let codes = CodeBlocks {
            codes: &index.codes[start * table_bytes..][..blocks * table_bytes],
            offsets: &index.offsets[start * BLOCK..][..blocks * BLOCK],
            slopes: &index.slopes[start * BLOCK..][..blocks * BLOCK],
            count,
        };
        let query = CodeQuery {
            table: &self.table.bytes,
            scale: self.table.scale,
            bias: self.table.bias + margin,
            offsets: (list.offsets.0 + base, list.offsets.1),
            slopes: list.slopes,
        };
        if let Some(allowed) = allowed {
            self.allowed.clear();
            let rows = list.first.clone().chain(
                index.seconds[list.seconds.start as usize..list.seconds.end as usize]
                    .iter()
                    .copied(),
            );
            mask(allowed, rows, &mut self.allowed);
            if self.allowed.iter().all(|word| *word == 0) {
                return;
            }
        }
        let mask = allowed.map(|_| self.allowed.as_slice());
        let threshold = self.threshold(keep);
        self.survivors.clear();
        index.kernels.scan_codes(&codes, &query, mask, threshold, &mut self.survivors);
        work.scanned += count;
        for survivor in &self.survivors {
            let place = survivor.place as usize;
            let row = match place.checked_sub(list.first.len()) {
                None => list.first.start + survivor.place,
                Some(second) => index.seconds[list.seconds.start as usize + second],
            };
            self.waiting.push((survivor.bound, row));
        }
        if self.waiting.len() < 64 {
            for (_, row) in &self.waiting {
                index.kernels.prefetch_bytes(index.row(*row));
            }
        }
    }

    fn prefetch_list(&self, place: usize) {
        let Some(&(_, list)) = self.finder.found().get(place) else { return };
        let index = self.index;
        let start = index.lists[list as usize].block as usize;
        let table_bytes = self.table.bytes.len();
        let head = &index.codes[start * table_bytes..];
        index.kernels.prefetch_bytes(&head[..head.len().min(512)]);
    }

    /// Distances from 8-bit codes of the rows that wait.
    fn second_stage(&mut self, keep: usize, squared: f32, sum: f32, work: &mut Work) {
        let index = self.index;
        let mut threshold = self.threshold(keep);
        for place in 0..self.waiting.len() {
            let (bound, row) = self.waiting[place];
            if bound >= threshold {
                continue;
            }
            work.survivors += 1;
            let rank = index.rank(row, &self.query, squared, sum);
            if rank < threshold && self.nearest.iter().all(|near| near.row != row) {
                self.nearest.truncate(keep - 1);
                let at = self.nearest.partition_point(|near| (near.rank, near.row) < (rank, row));
                self.nearest.insert(at, Near { rank, row });
                threshold = self.threshold(keep);
            }
        }
        self.waiting.clear();
    }
}

impl AnnIndex {
    fn row(&self, row: u32) -> &[u8] {
        &self.rows[row as usize * self.stride..][..self.stride]
    }

    fn rank(&self, row: u32, query: &[f32], squared: f32, sum: f32) -> f32 {
        let (header, codes) = self.row(row).split_at(ROW_HEADER);
        let (numbers, _) = header.as_chunks::<4>();
        let [low, step, norm] = [0, 1, 2].map(|place| f32::from_le_bytes(numbers[place]));
        let dot = low.mul_add(sum, step * self.kernels.dot_u8(codes, query));
        match self.metric {
            Metric::InnerProduct => -dot,
            Metric::Euclidean | Metric::Cosine => squared + norm - 2.0 * dot,
        }
    }
}

#[cfg(test)]
mod tests;
