//! Encoding: 1-bit codes of residuals with their factors, and 8-bit codes of vectors.
//!
//! For a vector x in the list of centroid c, with residual r = x - c and signs s of r, RaBitQ estimates
//! `<r, q> = f <s, q>` with `f = |r|^2 / |r|_1` (the estimator of Gao and Long, SIGMOD 2024,
//! section 3, written without normalising). So with `S = <s, q>`, which the fast scan finds:
//!
//! ```text
//! |x - q|^2 = |q - c|^2 + (|r|^2 + 2 <r, c>) - 2 f S          offset |r|^2 + 2 <r, c>, slope 2 f
//!    -<x, q> = -<c, q>                       -   f S          offset 0,                slope f
//! ```
//!
//! The error of `S` is about `|q| sqrt(1 - t^2)` for `t^2 = |r|_1^2 / (D |r|^2)`, which after a random
//! rotation is close to 2 / pi for every vector. One constant per query therefore turns the estimate
//! into a lower bound, and no error factor is stored.

use vb_kernel::{BLOCK, GROUP_BYTES};

use super::Metric;

/// Standard deviations of `S` are this share of the query's length: `sqrt(1 - 2 / pi)`.
pub(super) const DEVIATION: f32 = 0.602_81;

/// Appends the 8-bit codes of `row`; returns low and step of `value = low + step x code`.
pub(super) fn encode_u8(row: &[f32], codes: &mut Vec<u8>) -> (f32, f32) {
    let low = row.iter().copied().fold(f32::INFINITY, f32::min);
    let high = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let step = (high - low) / 255.0;
    let inverse = if step > 0.0 { 1.0 / step } else { 0.0 };
    codes.extend(row.iter().map(|value| (value - low).mul_add(inverse, 0.5) as u8));
    (low, step)
}

/// The factors of a list's vectors as `u16`, with what 0 is worth and what a unit adds.
#[derive(Clone, Debug, Default)]
pub(super) struct Factors {
    pub(super) values: Vec<u16>,
    pub(super) linear: (f32, f32),
}

impl Factors {
    fn encode(values: &[f32], places: usize) -> Self {
        let low = values.iter().copied().fold(f32::INFINITY, f32::min);
        let high = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let step = (high - low) / 65_535.0;
        let inverse = if step > 0.0 { 1.0 / step } else { 0.0 };
        let code = |value: &f32| (value - low).mul_add(inverse, 0.5) as u16;
        let mut codes: Vec<u16> = values.iter().map(code).collect();
        codes.resize(places, 0);
        Self { values: codes, linear: (low, step) }
    }
}

/// A list's vectors as code blocks.
#[derive(Clone, Debug, Default)]
pub(super) struct ListCodes {
    pub(super) codes: Vec<u8>,
    pub(super) offsets: Factors,
    pub(super) slopes: Factors,
}

/// Encodes the vectors of one list; there is at least one.
pub(super) fn encode_list<'a>(
    metric: Metric,
    centroid: &[f32],
    vectors: impl ExactSizeIterator<Item = &'a [f32]>,
) -> ListCodes {
    let groups = centroid.len() / 4;
    let blocks = vectors.len().div_ceil(BLOCK);
    let mut codes = vec![0u8; blocks * groups * GROUP_BYTES];
    let (mut offsets, mut slopes) = (Vec::new(), Vec::new());
    let mut residual = vec![0.0; centroid.len()];
    for (place, vector) in vectors.enumerate() {
        let pairs = vector.iter().zip(centroid);
        residual.iter_mut().zip(pairs).for_each(|(r, (value, center))| *r = value - center);
        let block = &mut codes[place / BLOCK * groups * GROUP_BYTES..];
        set_signs(&residual, place % BLOCK, block);
        let (offset, slope) = factors(metric, &residual, centroid);
        offsets.push(offset);
        slopes.push(slope);
    }
    ListCodes {
        codes,
        offsets: Factors::encode(&offsets, blocks * BLOCK),
        slopes: Factors::encode(&slopes, blocks * BLOCK),
    }
}

fn set_signs(residual: &[f32], place: usize, block: &mut [u8]) {
    let shift = if place < BLOCK / 2 { 0 } else { 4 };
    for (group, values) in residual.chunks_exact(4).enumerate() {
        let bits = (0..4).fold(0, |bits, bit| bits | u8::from(values[bit] >= 0.0) << bit);
        block[group * GROUP_BYTES + place % (BLOCK / 2)] |= bits << shift;
    }
}

fn factors(metric: Metric, residual: &[f32], centroid: &[f32]) -> (f32, f32) {
    let sum = |terms: &mut dyn Iterator<Item = f64>| terms.sum::<f64>();
    let squared = sum(&mut residual.iter().map(|r| f64::from(*r) * f64::from(*r)));
    let absolute = sum(&mut residual.iter().map(|r| f64::from(r.abs())));
    let along = sum(&mut residual.iter().zip(centroid).map(|(r, c)| f64::from(*r) * f64::from(*c)));
    let slope = if absolute > 0.0 { squared / absolute } else { 0.0 };
    match metric {
        Metric::InnerProduct => (0.0, slope as f32),
        Metric::Euclidean | Metric::Cosine => ((squared + 2.0 * along) as f32, 2.0 * slope as f32),
    }
}

/// A query's table over groups of four signs; see [`vb_kernel::CodeQuery`].
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    pub(super) bytes: Vec<u8>,
    pub(super) scale: f32,
    pub(super) bias: f32,
}

impl Table {
    /// Makes the table of a rotated query.
    pub(super) fn fill(&mut self, query: &[f32]) {
        let spread = |values: &[f32]| 2.0 * values.iter().map(|value| value.abs()).sum::<f32>();
        let spreads = query.chunks_exact(4).map(spread);
        let (total, largest) =
            spreads.fold((0.0f32, 0.0f32), |(sum, most), next| (sum + next, most.max(next)));
        // A byte holds 255, a sum 65,535; rounding may add half a unit per group.
        let sums_max = 65_535.0 - query.len() as f32 / 4.0;
        self.scale = (largest / 255.0).max(total / sums_max).max(f32::MIN_POSITIVE);
        self.bias = -total / 2.0;
        let inverse = 1.0 / self.scale;
        self.bytes.clear();
        for values in query.chunks_exact(4) {
            let least = spread(values) / 2.0;
            let value = |pattern: u8| -> f32 {
                let term =
                    |bit: usize| if pattern >> bit & 1 == 1 { values[bit] } else { -values[bit] };
                (term(0) + term(1)) + (term(2) + term(3))
            };
            self.bytes.extend(
                (0..16u8).map(|pattern| (value(pattern) + least).mul_add(inverse, 0.5) as u8),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::random::Random;
    use super::*;
    use vb_kernel::{CodeBlocks, CodeQuery, Kernels};

    fn vector(random: &mut Random, dimension: usize) -> Vec<f32> {
        (0..dimension).map(|_| random.unit() - 0.5).collect()
    }

    /// The estimate is near the truth, and the bound below it nearly always.
    fn check(metric: Metric, exact: impl Fn(&[f32], &[f32]) -> f32) {
        let mut random = Random(3);
        let dimension = 128;
        let centroid = vector(&mut random, dimension);
        let vectors: Vec<Vec<f32>> = (0..200).map(|_| vector(&mut random, dimension)).collect();
        let query = vector(&mut random, dimension);
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        let length = dot(&query, &query).sqrt();
        let list = encode_list(metric, &centroid, vectors.iter().map(Vec::as_slice));
        let mut table = Table::default();
        table.fill(&query);
        let base = exact(&centroid, &query);
        let blocks = CodeBlocks {
            codes: &list.codes,
            offsets: &list.offsets.values,
            slopes: &list.slopes.values,
            count: vectors.len(),
        };
        let mut bounds = [Vec::new(), Vec::new()];
        for (deviations, bounds) in [0.0, 2.5].into_iter().zip(&mut bounds) {
            let code_query = CodeQuery {
                table: &table.bytes,
                scale: table.scale,
                bias: table.bias + deviations * DEVIATION * length,
                offsets: (list.offsets.linear.0 + base, list.offsets.linear.1),
                slopes: list.slopes.linear,
            };
            Kernels::detect().scan_codes(&blocks, &code_query, None, f32::INFINITY, bounds);
        }
        let truth: Vec<f32> = vectors.iter().map(|vector| exact(vector, &query)).collect();
        let errors = bounds[0].iter().zip(&truth).map(|(found, truth)| found.bound - truth);
        let mean = errors.sum::<f32>() / truth.len() as f32;
        let scale = truth.iter().map(|value| value.abs()).fold(1.0, f32::max);
        assert!(mean.abs() < 0.03 * scale, "biased by {mean} of {scale}");
        let above = bounds[1].iter().zip(&truth).filter(|(found, truth)| found.bound > **truth);
        assert!(above.count() <= 8, "a bound that is none");
    }

    #[test]
    fn estimates_are_unbiased_and_bounded() {
        check(Metric::Euclidean, |a, b| a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum());
        check(Metric::InnerProduct, |a, b| -a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>());
    }
}
