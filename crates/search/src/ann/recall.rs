//! When to stop: how many of the nearest are expected in lists not looked into yet.
//!
//! A vector x of a list with centroid c and mean squared residual s has squared distance
//! `|q - c|^2 + s - 2 <r, q - c>` to the query, where the last term is about normal with deviation
//! `2 sqrt(s / E) |q - c|`: directions of residuals look random in E dimensions. So a list of n vectors has
//!
//! ```text
//! n Q(z)   z = (|q - c|^2 + s - R) sqrt(E) / (2 sqrt(s) |q - c|)      inner products: z = (R' - <q, c>) sqrt(E) / (sqrt(s) |q|)
//! ```
//!
//! vectors nearer than the k-th found so far (at R). A search stops when the next lists hold few of those, per list and wanted
//! vector: the *gain* falls below a stop. So work goes where it finds most, over all queries: those for which every list
//! is as good as the next do not take the work of others. (Going on until the sum over all lists left was small needed three times
//! the lists for the same recall on average.)
//!
//! Residuals are neither normal nor independent, and a second list often holds what the first had. Which gain stands for
//! which recall is therefore measured when an index is built, with some of its own rows as queries, and kept as the [`Model`] of
//! the index.

use crate::decode::{Corrupt, Input};

/// The recalls that stops are known for, ascending.
pub(super) const TARGETS: [f32; 8] = [0.8, 0.9, 0.95, 0.97, 0.98, 0.99, 0.995, 0.999];
/// Gains at which searches stop if nothing was measured.
const STOPS: [f32; 8] = [0.02, 0.01, 0.005, 0.003, 0.002, 0.001, 0.000_5, 0.000_1];

/// What is known of an index beside its lists.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Model {
    /// Dimensions that residuals look random in.
    pub(super) effective: f32,
    /// The gain at which a search for each of [`TARGETS`] stops, descending.
    pub(super) stops: [f32; 8],
    /// How many are missed for each that is expected in the lists left.
    pub(super) missed: f32,
    /// Lists that most searches at the default target look into.
    pub(super) lists_at_start: u32,
}

impl Default for Model {
    fn default() -> Self {
        Self { effective: 1.0, stops: STOPS, missed: 0.5, lists_at_start: 16 }
    }
}

impl Model {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.effective.to_le_bytes());
        out.extend(self.stops.map(f32::to_le_bytes).as_flattened());
        out.extend(self.missed.to_le_bytes());
        out.extend(self.lists_at_start.to_le_bytes());
    }

    pub(super) fn decode(input: &mut Input<'_>) -> Result<Self, Corrupt> {
        let mut number = || input.u32().map(f32::from_bits);
        let effective = number()?;
        let mut stops = [0.0; 8];
        for stop in &mut stops {
            *stop = number()?;
        }
        let positive = |value: &f32| value.is_finite() && *value > 0.0;
        let missed = number()?;
        if !positive(&effective) || !positive(&missed) || !stops.iter().all(positive) {
            return Err(input.corrupt("recall model"));
        }
        Ok(Self { effective, stops, missed, lists_at_start: input.u32()?.clamp(1, 1 << 20) })
    }

    /// The gain at which a search for `target` stops.
    pub(super) fn stop(&self, target: f32) -> f32 {
        between(target, &TARGETS, &self.stops)
    }

    /// The recall of a search that leaves lists in which `miss` of each wanted row are expected.
    pub(super) fn recall(&self, miss: f32) -> f32 {
        (1.0 - self.missed * miss).clamp(0.0, 1.0)
    }
}

/// The value at `x` of the line through points of ascending `xs`, level beyond them.
fn between(x: f32, xs: &[f32; 8], ys: &[f32; 8]) -> f32 {
    let Some(place) = xs.iter().position(|known| *known >= x) else { return ys[7] };
    if place == 0 {
        return ys[0];
    }
    let (low, high) = (xs[place - 1], xs[place]);
    let share = if high > low { (x - low) / (high - low) } else { 1.0 };
    ys[place - 1] + share * (ys[place] - ys[place - 1])
}

/// Steps of a table of the normal tail per unit of z.
const STEPS: f32 = 16.0;
const Z_MIN: f32 = -4.0;
const CELLS: usize = 208;

/// `Q(z)`, the share of a normal distribution beyond z, as a table.
#[derive(Clone, Debug)]
pub(super) struct NormalTail(Box<[f32; CELLS]>);

impl NormalTail {
    pub(super) fn new() -> Self {
        let mut cells = Box::new([0.0; CELLS]);
        // Simpson's rule, from far out inwards.
        let step = 1.0 / f64::from(STEPS);
        let mut tail = 0.0f64;
        for place in (0..CELLS).rev() {
            let z = f64::from(Z_MIN) + place as f64 * step;
            tail += step / 6.0 * (density(z) + 4.0 * density(z + step / 2.0) + density(z + step));
            cells[place] = tail as f32;
        }
        Self(cells)
    }

    pub(super) fn at(&self, z: f32) -> f32 {
        // Far out the cast saturates; the last cells are 0 in effect. NaN counts as cell 0.
        let cell = ((z - Z_MIN) * STEPS) as usize;
        self.0[cell.min(CELLS - 1)]
    }
}

/// The normal density, by plain arithmetic: the same on every machine.
fn density(z: f64) -> f64 {
    let half = z * z / 2.0;
    // e^half as the square of squares of a short series.
    let small = half / 256.0;
    let series = (1..12).rev().fold(1.0, |sum, n| 1.0 + small / f64::from(n) * sum);
    let power = (0..8).fold(series, |power, _| power * power);
    0.398_942_280_401_432_7 / power
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_normal_tail_is_that_of_tables() {
        let tail = NormalTail::new();
        for (z, expected) in [(-8.0, 1.0), (0.0, 0.5), (1.0, 0.158_655), (2.0, 0.022_750), (4.0, 3.167e-5)] {
            assert!((tail.at(z) - expected).abs() < 1e-4 * expected + 1e-6, "{z}: {}", tail.at(z));
        }
        assert!(tail.at(100.0) < 1e-12 && tail.at(f32::INFINITY) < 1e-12);
        assert!(tail.at(f32::NAN) <= 1.0);
    }

    #[test]
    fn stops_lie_between_those_of_targets() {
        let model = Model::default();
        assert_eq!(model.stop(0.5), STOPS[0]);
        assert_eq!(model.stop(0.95), STOPS[2]);
        assert_eq!(model.stop(2.0), STOPS[7]);
        let stop = model.stop(0.96);
        assert!(stop < STOPS[2] && stop > STOPS[3], "{stop}");
    }

    #[test]
    fn models_round_trip() {
        let model = Model { effective: 33.5, lists_at_start: 40, ..Model::default() };
        let mut bytes = Vec::new();
        model.encode(&mut bytes);
        assert_eq!(Model::decode(&mut Input::new("model", &bytes)), Ok(model));
        bytes[..4].copy_from_slice(&f32::NAN.to_le_bytes());
        assert!(Model::decode(&mut Input::new("model", &bytes)).is_err());
    }
}
