//! Encoding: 1-bit codes of residuals with their factors, and codes of 8 or 4 bits of whole vectors.
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
//!
//! A row of CODES is `f32 low | f32 step | f32 squared norm | codes`, for values `low + step x code`.

use vb_kernel::{BLOCK, Kernels, TABLE_MAX};

use super::params::{ROW_HEADER, RowBits, Shape};
use crate::schema::Metric;

/// Standard deviations of `S` are this share of the query's length: `sqrt(1 - 2 / pi)`.
pub(super) const DEVIATION: f32 = 0.602_81;
/// A place of a list's last block that no row stands in.
pub(super) const NO_ROW: u32 = u32::MAX;
/// Codes of a run of 4-bit codes; see [`vb_kernel`].
const RUN: usize = 32;

/// Appends the codes of `values` as bytes up to `largest`; returns low and step.
pub(super) fn encode_bytes(values: &[f32], largest: u8, codes: &mut Vec<u8>) -> (f32, f32) {
    let low = values.iter().copied().fold(f32::INFINITY, f32::min);
    let high = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let step = (high - low) / f32::from(largest);
    let inverse = if step > 0.0 { 1.0 / step } else { 0.0 };
    codes.extend(values.iter().map(|value| ((value - low) * inverse + 0.5) as u8));
    (low, step)
}

/// Appends the row of `values`.
pub(super) fn encode_row(values: &[f32], bits: RowBits, kernels: Kernels, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; ROW_HEADER]);
    let (low, step) = match bits {
        RowBits::Eight => encode_bytes(values, 255, out),
        RowBits::Four => {
            let mut codes = Vec::with_capacity(values.len());
            let linear = encode_bytes(values, 15, &mut codes);
            codes.chunks(RUN).for_each(|run| {
                let (low, high) = run.split_at(run.len() / 2);
                out.extend(low.iter().zip(high).map(|(low, high)| low | high << 4));
            });
            linear
        }
    };
    let header = [low, step, kernels.norm_squared(values)].map(f32::to_le_bytes);
    out[start..][..ROW_HEADER].copy_from_slice(header.as_flattened());
}

/// A row of CODES, taken apart.
#[derive(Clone, Copy)]
pub(super) struct Row<'a> {
    pub(super) low: f32,
    pub(super) step: f32,
    pub(super) norm: f32,
    codes: &'a [u8],
}

impl<'a> Row<'a> {
    /// Of the right number of bytes.
    pub(super) fn open(bytes: &'a [u8]) -> Self {
        let (header, codes) = bytes.split_at(ROW_HEADER);
        let (numbers, _) = header.as_chunks::<4>();
        let [low, step, norm] = [0, 1, 2].map(|place| f32::from_le_bytes(numbers[place]));
        Self { low, step, norm, codes }
    }

    /// The inner product with a query.
    pub(super) fn dot(&self, bits: RowBits, query: &Rounded, kernels: Kernels) -> f32 {
        let dot = match bits {
            RowBits::Eight => kernels.dot_u8(self.codes, &query.values),
            RowBits::Four => kernels.dot_u4(self.codes, &query.values),
        };
        query.dot(self.low, self.step, dot)
    }

    /// The values.
    pub(super) fn decode(&self, bits: RowBits, out: &mut [f32]) {
        let value = |code: u8| self.step * f32::from(code) + self.low;
        match bits {
            RowBits::Eight => {
                out.iter_mut().zip(self.codes).for_each(|(out, code)| *out = value(*code));
            }
            RowBits::Four => {
                for (out, run) in out.chunks_mut(RUN).zip(self.codes.chunks(RUN / 2)) {
                    let (low, high) = out.split_at_mut(run.len());
                    for ((low, high), byte) in low.iter_mut().zip(high).zip(run) {
                        (*low, *high) = (value(byte & 15), value(byte >> 4));
                    }
                }
            }
        }
    }
}

/// The nearest whole number of a value of at most 12 bits; `round` is a call where CPUs of the baseline are asked for.
fn nearest(value: f32) -> i16 {
    const ABOVE: f32 = 4096.0;
    ((value + (ABOVE + 0.5)) as i32 - ABOVE as i32) as i16
}

/// A query in whole numbers, for products with codes. They have 12 bits, up to 4,096 dimensions, and fewer beyond: no sum of products
/// with bytes leaves an `i32`.
#[derive(Clone, Debug, Default)]
pub(super) struct Rounded {
    pub(super) values: Vec<i16>,
    /// What one is worth.
    unit: f32,
    /// Of the query's values.
    sum: f32,
}

impl Rounded {
    pub(super) fn fill(&mut self, query: &[f32]) {
        const LARGEST: usize = 2047;
        let largest = LARGEST.min(i32::MAX as usize / (255 * query.len().max(1)));
        let most = query.iter().map(|value| value.abs()).fold(0.0, f32::max);
        self.unit = (most / largest as f32).max(f32::MIN_POSITIVE);
        self.sum = query.iter().sum();
        let inverse = 1.0 / self.unit;
        self.values.clear();
        self.values.extend(query.iter().map(|value| nearest(value * inverse)));
    }

    /// The inner product with values `low + step x code`, from the codes' sum of products.
    pub(super) fn dot(&self, low: f32, step: f32, sum: i32) -> f32 {
        low * self.sum + step * (self.unit * sum as f32)
    }
}

/// One vector of a list while it is encoded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Factors {
    offset: f32,
    slope: f32,
}

/// Appends blocks of vectors that are no longer in flux, and the run of a list.
#[derive(Debug)]
pub(super) struct ListEncoder<'a> {
    shape: Shape,
    centroid: &'a [f32],
    residual: Vec<f32>,
    blocks: Vec<u8>,
    rows: Vec<u32>,
    /// Of the last block.
    factors: Vec<Factors>,
    /// Of all residuals' squared lengths.
    spread: f64,
}

impl<'a> ListEncoder<'a> {
    pub(super) fn new(shape: Shape, centroid: &'a [f32]) -> Self {
        Self {
            shape,
            centroid,
            residual: vec![0.0; shape.padded()],
            blocks: Vec::new(),
            rows: Vec::new(),
            factors: Vec::new(),
            spread: 0.0,
        }
    }

    pub(super) fn push(&mut self, row: u32, vector: &[f32]) {
        let pairs = vector.iter().zip(self.centroid);
        self.residual.iter_mut().zip(pairs).for_each(|(r, (value, center))| *r = value - center);
        let (factors, squared) = factors(self.shape.metric, &self.residual, self.centroid);
        self.spread += squared;
        let (place, bytes) = (self.rows.len() % BLOCK, self.shape.block_bytes());
        if place == 0 {
            self.factors.clear();
            self.blocks.resize(self.blocks.len() + bytes, 0);
        }
        let start = self.blocks.len() - bytes;
        let block = &mut self.blocks[start..];
        set_signs(&self.residual, place, block);
        self.factors.push(factors);
        self.rows.push(row);
        if self.factors.len() == BLOCK {
            write_factors(&self.factors, block);
        }
    }

    /// The run of the list, and its residuals' mean squared length.
    pub(super) fn finish(mut self) -> (Vec<u8>, f32) {
        let count = self.rows.len();
        if !count.is_multiple_of(BLOCK) {
            let start = self.blocks.len() - self.shape.block_bytes();
            write_factors(&self.factors, &mut self.blocks[start..]);
        }
        self.rows.resize(count.next_multiple_of(BLOCK), NO_ROW);
        self.blocks.extend(self.rows.iter().flat_map(|row| row.to_le_bytes()));
        (self.blocks, (self.spread / count.max(1) as f64) as f32)
    }
}

/// Puts the signs of a residual at `place` of a block of zeros there.
pub(super) fn set_signs(residual: &[f32], place: usize, block: &mut [u8]) {
    let shift = if place < BLOCK / 2 { 0 } else { 4 };
    for (group, values) in residual.chunks_exact(4).enumerate() {
        let bits = (0..4).fold(0, |bits, bit| bits | u8::from(values[bit] >= 0.0) << bit);
        block[group * vb_kernel::GROUP_BYTES + place % (BLOCK / 2)] |= bits << shift;
    }
}

/// Writes the factors of a block, at most 32 of them, and what they are worth.
pub(super) fn write_factors(factors: &[Factors], block: &mut [u8]) {
    let start = block.len() - vb_kernel::FACTOR_BYTES;
    let (offsets, rest) = block[start..].split_at_mut(2 * BLOCK);
    let (slopes, linear) = rest.split_at_mut(2 * BLOCK);
    let offset = write_u16(factors.iter().map(|factors| factors.offset), offsets);
    let slope = write_u16(factors.iter().map(|factors| factors.slope), slopes);
    let numbers = [offset.0, offset.1, slope.0, slope.1].map(f32::to_le_bytes);
    linear.copy_from_slice(numbers.as_flattened());
}

/// Writes values as `u16`; returns what 0 is worth and what a unit adds.
fn write_u16(values: impl Iterator<Item = f32> + Clone, out: &mut [u8]) -> (f32, f32) {
    let low = values.clone().fold(f32::INFINITY, f32::min);
    let high = values.clone().fold(f32::NEG_INFINITY, f32::max);
    let step = (high - low) / 65_535.0;
    let inverse = if step > 0.0 { 1.0 / step } else { 0.0 };
    for (value, out) in values.zip(out.as_chunks_mut::<2>().0) {
        *out = (((value - low) * inverse + 0.5) as u16).to_le_bytes();
    }
    (low, step)
}

/// The factors of a residual, and its squared length.
pub(super) fn factors(metric: Metric, residual: &[f32], centroid: &[f32]) -> (Factors, f64) {
    // Sixteen sums side by side: a fixed order that compilers turn into vector code.
    let (mut squared, mut absolute, mut along) = ([0.0f32; 16], [0.0f32; 16], [0.0f32; 16]);
    for (residual, centroid) in residual.chunks(16).zip(centroid.chunks(16)) {
        for (lane, (r, c)) in residual.iter().zip(centroid).enumerate() {
            squared[lane] += r * r;
            absolute[lane] += r.abs();
            along[lane] += r * c;
        }
    }
    let total = |lanes: [f32; 16]| lanes.iter().map(|lane| f64::from(*lane)).sum::<f64>();
    let (squared, absolute, along) = (total(squared), total(absolute), total(along));
    let slope = if absolute > 0.0 { squared / absolute } else { 0.0 };
    let factors = match metric {
        Metric::InnerProduct => Factors { offset: 0.0, slope: slope as f32 },
        Metric::Euclidean | Metric::Cosine => {
            Factors { offset: (squared + 2.0 * along) as f32, slope: 2.0 * slope as f32 }
        }
    };
    (factors, squared)
}

/// A query's table over groups of four signs; see [`vb_kernel::CodeQuery`].
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    pub(super) bytes: Vec<u8>,
    pub(super) scale: f32,
    pub(super) bias: f32,
}

impl Table {
    /// For a query of a multiple of 8 values.
    pub(super) fn fill(&mut self, query: &[f32]) {
        let (fours, _) = query.as_chunks::<4>();
        let spread = |values: &[f32; 4]| 2.0 * values.iter().map(|value| value.abs()).sum::<f32>();
        let (total, largest) = fours
            .iter()
            .map(spread)
            .fold((0.0f32, 0.0f32), |(sum, most), next| (sum + next, most.max(next)));
        // A sum holds 65,535; rounding may add half a unit per group.
        let sums_max = 65_535.0 - query.len() as f32 / 4.0;
        self.scale = (largest / f32::from(TABLE_MAX)).max(total / sums_max).max(f32::MIN_POSITIVE);
        self.bias = -total / 2.0;
        let inverse = 1.0 / self.scale;
        self.bytes.resize(fours.len() * 16, 0);
        let (tables, _) = self.bytes.as_chunks_mut::<16>();
        for (values, table) in fours.iter().zip(tables) {
            let least = spread(values) / 2.0;
            // Sums of the first two signs, and of the last two.
            let pair = |a: f32, b: f32| [-a - b, a - b, b - a, a + b];
            let (low, high) = (pair(values[0], values[1]), pair(values[2], values[3]));
            for (pattern, byte) in table.iter_mut().enumerate() {
                let value = low[pattern & 3] + high[pattern >> 2];
                *byte = ((value + least) * inverse + 0.5) as u8;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::random::Random;
    use super::*;
    use vb_kernel::{CodeBlocks, CodeQuery};

    fn vector(random: &mut Random, dimension: usize) -> Vec<f32> {
        (0..dimension).map(|_| random.unit() - 0.5).collect()
    }

    /// The estimate is near the truth, and the bound below it nearly always.
    fn check(metric: Metric, exact: impl Fn(&[f32], &[f32]) -> f32) {
        let mut random = Random(3);
        let dimension = 128;
        let shape = Shape { metric, dimension, row_bits: RowBits::Eight };
        let centroid = vector(&mut random, dimension);
        let vectors: Vec<Vec<f32>> = (0..200).map(|_| vector(&mut random, dimension)).collect();
        let query = vector(&mut random, dimension);
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        let length = dot(&query, &query).sqrt();
        let mut list = ListEncoder::new(shape, &centroid);
        (0..).zip(&vectors).for_each(|(row, vector)| list.push(row, vector));
        let (run, _) = list.finish();
        let blocks =
            CodeBlocks { bytes: &run[..7 * shape.block_bytes()], count: vectors.len(), next: &[] };
        let mut table = Table::default();
        table.fill(&query);
        let mut bounds = [Vec::new(), Vec::new()];
        for (deviations, bounds) in [0.0, 2.5].into_iter().zip(&mut bounds) {
            let code_query = CodeQuery {
                table: &table.bytes,
                scale: table.scale,
                bias: table.bias + deviations * DEVIATION * length,
                base: exact(&centroid, &query),
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

    #[test]
    fn rows_are_close_to_their_vectors() {
        let mut random = Random(5);
        for (bits, dimension) in
            [(RowBits::Four, 104), (RowBits::Four, 8), (RowBits::Eight, 104), (RowBits::Four, 64)]
        {
            let (values, query) = (vector(&mut random, dimension), vector(&mut random, dimension));
            let mut bytes = Vec::new();
            encode_row(&values, bits, Kernels::detect(), &mut bytes);
            let shape = Shape { metric: Metric::Cosine, dimension, row_bits: bits };
            assert_eq!(bytes.len(), shape.row_bytes());
            let row = Row::open(&bytes);
            let mut decoded = vec![0.0; dimension];
            row.decode(bits, &mut decoded);
            let largest =
                values.iter().zip(&decoded).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(largest <= row.step * 0.5001, "{largest} of {}", row.step);
            let expected: f32 = decoded.iter().zip(&query).map(|(a, b)| a * b).sum();
            let mut rounded = Rounded::default();
            rounded.fill(&query);
            let found = row.dot(bits, &rounded, Kernels::detect());
            assert!((found - expected).abs() < 2e-3, "{found} {expected}");
        }
    }
}
