//! Queries and rows of other distributions.

use vb_search::ann::Request;

use super::Bench;
use super::data::{Random, Set, exact, normalise};
use super::measure::{Run, Segment};

/// Queries of each kind.
const COUNT: usize = 200;
/// Rows of the first distribution, of each step of the second, and steps.
const FIRST: usize = 60_000;
const STEP: usize = 12_000;
const STEPS: usize = 8;

impl Bench {
    /// Queries unlike the rows.
    pub(crate) fn odd(&self, segment: &Segment) {
        let other = Set::resized(&self.other().queries, self.other().dimension, self.set.dimension);
        let kinds = [
            ("noise", self.noisy()),
            ("means", self.means()),
            ("opposite", self.set.queries.iter().map(|value| -value).collect()),
            ("random", self.random()),
            ("other set", other),
        ];
        for (name, mut queries) in kinds {
            queries.truncate(COUNT * self.set.dimension);
            let truth = self.exact(&queries, 100, &[vec![true; self.set.rows()]]);
            let run = self.run(segment, &queries, &truth[0]);
            println!("{name:15} {}", run.figures(&Request::nearest(10), 2));
        }
    }

    fn other(&self) -> Set {
        let name = if self.arguments[0] == "glove100" { "minilm384" } else { "glove100" };
        Set::load(name, 200_000)
    }

    /// Rows with noise of their own length.
    fn noisy(&self) -> Vec<f32> {
        let mut random = Random(3);
        let scale = 1.0 / (self.set.dimension as f32).sqrt();
        let mut queries = Vec::new();
        for _ in 0..COUNT {
            let row = self.set.row(random.below(self.set.rows()) as u32);
            queries.extend(row.iter().map(|value| value + scale * random.normal()));
        }
        queries.chunks_mut(self.set.dimension).for_each(normalise);
        queries
    }

    /// Means of two rows.
    fn means(&self) -> Vec<f32> {
        let mut random = Random(4);
        let mut queries = Vec::new();
        for _ in 0..COUNT {
            let mut row = || self.set.row(random.below(self.set.rows()) as u32);
            let (a, b) = (row(), row());
            queries.extend(a.iter().zip(b).map(|(a, b)| a + b));
        }
        queries.chunks_mut(self.set.dimension).for_each(normalise);
        queries
    }

    fn random(&self) -> Vec<f32> {
        let mut random = Random(6);
        let mut queries: Vec<f32> =
            (0..COUNT * self.set.dimension).map(|_| random.normal()).collect();
        queries.chunks_mut(self.set.dimension).for_each(normalise);
        queries
    }

    /// Rows of this set, then more and more of the other: before and after each merge.
    pub(crate) fn drift(&self) {
        let dimension = self.set.dimension;
        let other = self.other();
        let new = Set::resized(&other.base, other.dimension, dimension);
        let new_queries = Set::resized(&other.queries, other.dimension, dimension);
        let params = self.params;
        let (old, new) = (shuffled(&self.set.base, dimension), shuffled(&new, dimension));
        let mut merged = Segment::build(&old[..FIRST * dimension], 0, params, self.kernels);
        let queries = [&self.set.queries, &new_queries];
        let queries = queries.map(|queries| &queries[..COUNT * dimension]);
        for step in 0..STEPS {
            let start = merged.index.rows();
            let rows = &new[step * STEP * dimension..(step + 1) * STEP * dimension];
            let next = Segment::build(rows, start, params, self.kernels);
            let both = merged.merged(&next, &params, self.kernels);
            let base = &both.floats;
            let all = [vec![true; base.len() / dimension]];
            let apart = [merged, next];
            let together = std::slice::from_ref(&both);
            for (kind, queries) in ["old", "new"].iter().zip(queries) {
                let truth = exact(base, queries, dimension, 100, &all, self.kernels).remove(0);
                for (how, segments) in [("apart", apart.as_slice()), ("merged", together)] {
                    let kernels = self.kernels;
                    let run = Run {
                        segments,
                        mask: None,
                        queries,
                        truth: &truth,
                        has_codes: true,
                        kernels,
                    };
                    let figures = run.figures(&Request::nearest(10), 1);
                    println!("step {step} {kind} queries, {how:6} {figures}");
                }
            }
            merged = both;
        }
    }
}

/// The vectors in another order.
fn shuffled(vectors: &[f32], dimension: usize) -> Vec<f32> {
    let mut order: Vec<usize> = (0..vectors.len() / dimension).collect();
    let mut random = Random(8);
    for place in 1..order.len() {
        order.swap(place, random.below(place + 1));
    }
    order.iter().flat_map(|row| &vectors[row * dimension..][..dimension]).copied().collect()
}
