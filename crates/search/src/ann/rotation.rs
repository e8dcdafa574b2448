//! A random rotation that costs little: signs and Hadamard transforms.
//!
//! After it, the coordinates of any vector look like independent draws, which is what makes one bit each
//! a good code. A Hadamard transform needs a power of two; other lengths are covered by two
//! overlapping ones, in rounds (as Ailon and Chazelle, STOC 2006, with the overlap of the RaBitQ library).

use super::random::Random;

/// Rounds of signs and a transform. Four are enough for two overlapping halves to mix; six leave a margin.
const ROUNDS: usize = 6;
/// One rotation per dimension, for ever: rows of different indexes can be joined as they are.
const SEED: u64 = 0x5EED;

/// A fixed rotation of vectors of one dimension.
#[derive(Clone, Debug)]
pub(super) struct Rotation {
    dimension: usize,
    /// Length after padding: a multiple of 8.
    padded: usize,
    /// `ROUNDS x padded`, each 1 or -1.
    signs: Vec<f32>,
}

impl Rotation {
    pub(super) fn new(dimension: usize) -> Self {
        let padded = dimension.next_multiple_of(8);
        let mut random = Random(SEED);
        let sign = |_| if random.next() & 1 == 0 { 1.0 } else { -1.0 };
        Self { dimension, padded, signs: (0..ROUNDS * padded).map(sign).collect() }
    }

    /// Rotates `out`, whose first values are the vector and the rest zeros.
    pub(super) fn apply(&self, out: &mut [f32]) {
        debug_assert_eq!(out.len(), self.padded, "{} values, padded", self.dimension);
        let length = 1 << self.padded.ilog2();
        for (round, signs) in self.signs.chunks_exact(self.padded).enumerate() {
            out.iter_mut().zip(signs).for_each(|(value, sign)| *value *= sign);
            let start = if round % 2 == 0 { 0 } else { self.padded - length };
            hadamard(&mut out[start..start + length]);
        }
    }
}

/// The orthonormal Walsh-Hadamard transform, in place; the length is a power of two.
fn hadamard(values: &mut [f32]) {
    let mut half = 1;
    while half < values.len() {
        for pair in values.chunks_exact_mut(2 * half) {
            let (low, high) = pair.split_at_mut(half);
            for (a, b) in low.iter_mut().zip(high) {
                (*a, *b) = (*a + *b, *a - *b);
            }
        }
        half *= 2;
    }
    let scale = 1.0 / (values.len() as f32).sqrt();
    values.iter_mut().for_each(|value| *value *= scale);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_angles_stay() {
        for dimension in [1, 7, 8, 100, 128, 384, 769] {
            let rotation = Rotation::new(dimension);
            let mut random = Random(dimension as u64);
            let mut vector = || {
                let mut values = vec![0.0; rotation.padded];
                values[..dimension].iter_mut().for_each(|value| *value = random.unit() - 0.5);
                values
            };
            let (a, b) = (vector(), vector());
            let (mut x, mut y) = (a.clone(), b.clone());
            rotation.apply(&mut x);
            rotation.apply(&mut y);
            let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
            assert!((dot(&a, &a) - dot(&x, &x)).abs() < 1e-3 * dot(&a, &a).max(1.0));
            assert!((dot(&a, &b) - dot(&x, &y)).abs() < 1e-3 * dot(&a, &a).max(1.0));
        }
    }

    #[test]
    fn one_coordinate_is_spread_over_all() {
        let rotation = Rotation::new(100);
        let mut values = vec![0.0; rotation.padded];
        values[3] = 1.0;
        rotation.apply(&mut values);
        assert!(values.iter().all(|value| value.abs() < 0.5), "{values:?}");
    }
}
