//! The tree over centroids: coarse groups, each centroid in the two nearest of them.
//!
//! Looking at the children of a few groups finds the nearest centroids while reading a fraction of
//! them; standing in two groups is what keeps it from missing those near a border.

use vb_kernel::Kernels;

use super::cluster::{Matrix, coarse};

/// Groups that each centroid stands in.
const GROUPS_EACH: usize = 2;

/// Children are stored per group, as 8-bit codes with their own scale: `value = low + step x code`.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    dimension: usize,
    centroids: usize,
    /// `groups x dimension`.
    coarse: Vec<f32>,
    coarse_norms: Vec<f32>,
    /// Where each group's children start; one more than there are groups.
    starts: Vec<u32>,
    /// Per child: which centroid, low, step, squared norm.
    children: Vec<Child>,
    /// `children x dimension`.
    codes: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Child {
    centroid: u32,
    low: f32,
    step: f32,
    norm: f32,
}

impl Tree {
    /// Groups looked at when vectors are assigned.
    pub(super) const GROUPS_ASSIGN: usize = 10;

    pub(super) fn build(centroids: Matrix<'_>, kernels: Kernels, seed: u64) -> Self {
        let count = centroids.rows();
        let groups = count.isqrt().max(1);
        let coarse = coarse(centroids, groups, kernels, seed);
        let coarse_norms: Vec<f32> =
            coarse.chunks_exact(centroids.dimension).map(|row| kernels.norm_squared(row)).collect();
        let mut members = vec![Vec::new(); groups];
        let mut scores = vec![0.0; groups];
        for centroid in 0..count as u32 {
            kernels.dot_rows(centroids.row(centroid), &coarse, &mut scores);
            let mut order: Vec<(f32, usize)> = (0..groups)
                .map(|group| (coarse_norms[group] - 2.0 * scores[group], group))
                .collect();
            order.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            order.iter().take(GROUPS_EACH).for_each(|(_, group)| members[*group].push(centroid));
        }
        let mut tree = Self {
            dimension: centroids.dimension,
            centroids: count,
            coarse,
            coarse_norms,
            starts: vec![0],
            children: Vec::new(),
            codes: Vec::new(),
        };
        for group in members {
            for centroid in group {
                tree.push(centroid, centroids.row(centroid), kernels);
            }
            tree.starts.push(tree.children.len() as u32);
        }
        tree
    }

    fn push(&mut self, centroid: u32, row: &[f32], kernels: Kernels) {
        let (low, step) = super::codes::encode_u8(row, &mut self.codes);
        self.children.push(Child { centroid, low, step, norm: kernels.norm_squared(row) });
    }

    /// A finder of the centroids nearest by distance, or of those with the largest inner product.
    pub(super) fn finder(&self, by_product: bool) -> Finder<'_> {
        Finder {
            tree: self,
            by_product,
            seen: vec![0; self.centroids],
            round: 0,
            groups: Vec::new(),
            scores: Vec::new(),
            found: Vec::new(),
        }
    }
}

/// Looks for nearest centroids, again and again without allocating.
#[derive(Debug)]
pub(super) struct Finder<'a> {
    tree: &'a Tree,
    by_product: bool,
    /// The last round that met each centroid.
    seen: Vec<u32>,
    round: u32,
    groups: Vec<(f32, u32)>,
    scores: Vec<f32>,
    found: Vec<(f32, u32)>,
}

impl Finder<'_> {
    /// Finds about the `count` nearest centroids, in the children of the `groups` nearest groups.
    pub(super) fn find(&mut self, vector: &[f32], count: usize, groups: usize, kernels: Kernels) {
        self.nearest_groups(vector, groups, kernels);
        self.found.clear();
        self.round = self.round.wrapping_add(1);
        let squared: f32 = kernels.norm_squared(vector);
        let sum: f32 = vector.iter().sum();
        for place in 0..self.groups.len() {
            self.look_into(self.groups[place].1 as usize, vector, squared, sum, kernels);
        }
        let order = |a: &(f32, u32), b: &(f32, u32)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1));
        if count < self.found.len() {
            self.found.select_nth_unstable_by(count, order);
            self.found.truncate(count);
        }
        self.found.sort_unstable_by(order);
    }

    /// What the last call found, nearest first: (squared distance or negated inner product, centroid).
    pub(super) fn found(&self) -> &[(f32, u32)] {
        &self.found
    }

    fn nearest_groups(&mut self, vector: &[f32], groups: usize, kernels: Kernels) {
        let tree = self.tree;
        self.scores.resize(tree.coarse_norms.len(), 0.0);
        kernels.dot_rows(vector, &tree.coarse, &mut self.scores);
        let by_product = self.by_product;
        let cost = |(norm, dot): (&f32, &f32)| if by_product { -dot } else { norm - 2.0 * dot };
        let costs = tree.coarse_norms.iter().zip(&self.scores).map(cost);
        self.groups.clear();
        self.groups.extend(costs.zip(0..));
        if groups < self.groups.len() {
            self.groups
                .select_nth_unstable_by(groups, |a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            self.groups.truncate(groups);
        }
    }

    fn look_into(
        &mut self,
        group: usize,
        vector: &[f32],
        squared: f32,
        sum: f32,
        kernels: Kernels,
    ) {
        let tree = self.tree;
        let range = tree.starts[group] as usize..tree.starts[group + 1] as usize;
        let codes = &tree.codes[range.start * tree.dimension..range.end * tree.dimension];
        self.scores.resize(range.len().max(self.scores.len()), 0.0);
        let scores = &mut self.scores[..range.len()];
        kernels.dot_u8_rows(vector, codes, tree.dimension, scores);
        for (child, score) in tree.children[range].iter().zip(scores) {
            let seen = &mut self.seen[child.centroid as usize];
            if std::mem::replace(seen, self.round) != self.round {
                let dot = child.low.mul_add(sum, child.step * *score);
                let distance = squared + child.norm - 2.0 * dot;
                self.found.push((if self.by_product { -dot } else { distance }, child.centroid));
            }
        }
    }
}
