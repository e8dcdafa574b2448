//! What a scan orders by.
//!
//! The *rank* of a row is its squared distance (euclidean), `1 - dot / (|q| |v|)` clamped to 0..2
//! (cosine), or the negated inner product. It is computed from float32 kernels, whose result
//! does not depend on the CPU level, the chunking or the source. Where float32 gives out, the row
//! is computed again in float64, whose range no sum of float32 products leaves:
//!
//! - a sum that overflows (infinite or NaN) is settled in float64;
//! - a row whose norm is outside 2^-30 ..= 2^60 is settled in float64, because its products with
//!   the query might underflow or overflow; within those bounds they cannot;
//! - a query outside those bounds is first scaled by a power of two, which keeps its direction;
//! - the cosine distance to or from a zero vector is 1, as to a perpendicular one.
//!
//! So a rank is never NaN, for any finite input. (Should damaged rows hold NaN, they rank last.)

use super::rows::{Piece, PieceDocs};
use crate::schema::Metric;
use std::ops::RangeInclusive;
use vb_kernel::Kernels;

const TWO_TO_60: f32 = (1u64 << 60) as f32;
const NORMS: RangeInclusive<f32> = 1.0 / (1u64 << 30) as f32..=TWO_TO_60;
const SQUARED_NORMS: RangeInclusive<f32> = 1.0 / TWO_TO_60..=TWO_TO_60 * TWO_TO_60;

/// The norm of a row, as cosine scans take it: beside the row, computed once.
pub fn row_norm(kernels: Kernels, row: &[f32]) -> f32 {
    let squared = kernels.norm_squared(row);
    if SQUARED_NORMS.contains(&squared) {
        squared.sqrt()
    } else {
        wide_norm(row).min(f64::from(f32::MAX)) as f32
    }
}

/// A query vector and what is computed from it once per query.
#[derive(Clone, Debug)]
pub struct PreparedQuery {
    kernels: Kernels,
    metric: Metric,
    /// Not empty. For cosine, scaled so that `norm` is in `NORMS`, or zero.
    vector: Box<[f32]>,
    /// For cosine.
    norm: f32,
}

impl PreparedQuery {
    /// # Panics
    /// If the vector is empty.
    pub fn new(kernels: Kernels, metric: Metric, vector: &[f32]) -> Self {
        assert!(!vector.is_empty(), "a vector has at least one dimension");
        let mut vector: Box<[f32]> = vector.into();
        let mut norm = row_norm(kernels, &vector);
        if metric == Metric::Cosine && !NORMS.contains(&norm) {
            scale_to_one(&mut vector);
            norm = row_norm(kernels, &vector);
        }
        Self { kernels, metric, vector, norm }
    }

    pub(super) fn dimension(&self) -> usize {
        self.vector.len()
    }

    /// The ranks of rows `start..start + ranks.len()` where float32 suffices. Elsewhere something
    /// that is not finite, or the rank after all.
    pub(super) fn fast_ranks(&self, piece: &Piece<'_>, start: usize, ranks: &mut [f32]) {
        let rows = start..start + ranks.len();
        let values = &piece.values[start * self.dimension()..rows.end * self.dimension()];
        match self.metric {
            Metric::Euclidean => self.kernels.l2_squared_rows(&self.vector, values, ranks),
            Metric::InnerProduct => {
                self.kernels.dot_rows(&self.vector, values, ranks);
                ranks.iter_mut().for_each(|rank| *rank = -*rank);
            }
            Metric::Cosine => {
                self.kernels.dot_rows(&self.vector, values, ranks);
                match piece.norms {
                    Some(norms) => self.cosines(ranks, norms[rows].iter().copied()),
                    None => {
                        let rows = values.chunks_exact(self.dimension());
                        self.cosines(ranks, rows.map(|row| row_norm(self.kernels, row)));
                    }
                }
            }
        }
    }

    fn cosines(&self, ranks: &mut [f32], norms: impl Iterator<Item = f32>) {
        for (rank, norm) in ranks.iter_mut().zip(norms) {
            let distance = (1.0 - *rank / (self.norm * norm)).clamp(0.0, 2.0);
            *rank = if NORMS.contains(&norm) { distance } else { f32::NAN };
        }
    }

    /// The rank of a row whose fast rank is known.
    pub(super) fn settle(&self, piece: &Piece<'_>, row: usize, fast_rank: f32) -> f64 {
        let rank = if fast_rank.is_finite() {
            f64::from(fast_rank)
        } else {
            self.wide_rank(piece.row(row, self.dimension()))
        };
        // Adding zero turns -0.0 into 0.0.
        if rank.is_nan() { f64::INFINITY } else { rank + 0.0 }
    }

    fn wide_rank(&self, row: &[f32]) -> f64 {
        match self.metric {
            Metric::Euclidean => wide_sum(&self.vector, row, |x, y| (x - y) * (x - y)),
            Metric::InnerProduct => -wide_sum(&self.vector, row, |x, y| x * y),
            Metric::Cosine => {
                let norms = wide_norm(&self.vector) * wide_norm(row);
                let dot = wide_sum(&self.vector, row, |x, y| x * y);
                if norms == 0.0 { 1.0 } else { (1.0 - dot / norms).clamp(0.0, 2.0) }
            }
        }
    }

    pub(super) fn prefetch(&self, piece: &Piece<'_>, row: usize) {
        self.kernels.prefetch(piece.row(row, self.dimension()));
    }
}

/// The rank of one row: what a scan finds.
///
/// # Panics
/// If the row has not the query's dimension.
pub fn rank_row(query: &PreparedQuery, row: &[f32]) -> f64 {
    assert_eq!(row.len(), query.dimension(), "a row of the query's dimension");
    let docs = PieceDocs::Sequence { start: 0, len: 1 };
    let piece = Piece { values: row, norms: None, docs };
    let mut rank = [0.0];
    query.fast_ranks(&piece, 0, &mut rank);
    query.settle(&piece, 0, rank[0])
}

impl Metric {
    /// The distance that a rank stands for: euclidean distances are square roots, the others are
    /// the rank itself. Always finite: what float32 cannot hold becomes its largest value.
    pub fn distance(self, rank: f64) -> f32 {
        let distance = match self {
            Metric::Euclidean => rank.sqrt(),
            Metric::Cosine | Metric::InnerProduct => rank,
        };
        distance.clamp(f64::from(f32::MIN), f64::from(f32::MAX)) as f32
    }
}

fn wide_sum(a: &[f32], b: &[f32], term: impl Fn(f64, f64) -> f64) -> f64 {
    a.iter().zip(b).map(|(&x, &y)| term(f64::from(x), f64::from(y))).sum()
}

fn wide_norm(vector: &[f32]) -> f64 {
    wide_sum(vector, vector, |x, y| x * y).sqrt()
}

/// Multiplies by the power of two that brings the norm near 1. A zero vector stays.
fn scale_to_one(vector: &mut [f32]) {
    let norm = wide_norm(vector);
    if norm > 0.0 {
        let scale = (-norm.log2().round()).exp2();
        vector.iter_mut().for_each(|value| *value = (f64::from(*value) * scale) as f32);
    }
}
