//! When to stop looking into lists.
//!
//! Let D be the squared distance of the query to the centroid of the next list, N that to the nearest centroid, R that to the
//! k-th nearest row so far, and i how much was looked into, in lists of average size. A search stops as soon as
//!
//! ```text
//! i (D / R)^10 (D / N)^16 > stop                      the *strain* of going on
//! ```
//!
//! The place alone (a fixed number of lists) gives easy queries too much; D / R alone gives hard ones, for which every list is
//! about as far as the next, too much. Over 1,000 queries of each data set the product needs 0.58 to 0.70 times the lists
//! of a fixed number for the same recall; a normal model of the residuals in each list, summed into expected hits, needed more than the
//! fixed number. D / N adds little to that, but it knows queries unlike all rows: for them all lists are about as
//! far as the nearest, and the search goes on.
//!
//! Of a filtered search only rows that count make up i, so that it goes on for longer; R is larger then as well, and in itself
//! enough for rows that count at random: the smaller their share, the more does each make up ([`weight_of_share`]). Rows that count
//! may lie anywhere, though. So N is then the distance at which as many of them were met as stand in a list on average, and the
//! search aims higher ([`care`]).
//!
//! The more rows are wanted, the less does a list count: beyond ten by the root.
//!
//! Which stop stands for which recall is measured when an index is built, with some of its own rows as queries, and kept as the
//! [`Model`] of the index.

use crate::decode::{Corrupt, Input};

/// The recalls that stops are known for, ascending.
pub(super) const TARGETS: [f32; 8] = [0.8, 0.9, 0.95, 0.97, 0.98, 0.99, 0.995, 0.999];
/// What searches stop at if nothing was measured.
const STOPS: [f32; 8] = [20.0, 60.0, 150.0, 250.0, 400.0, 900.0, 1800.0, 6000.0];

/// What is known of an index beside its lists.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Model {
    /// The strain at which a search for each of [`TARGETS`] stops, ascending.
    pub(super) stops: [f32; 8],
    /// Lists that most searches for each of [`TARGETS`] look into, ascending.
    pub(super) lists_at_start: [u32; 8],
    /// Root mean square of the lengths of rows, around the centre.
    pub(super) length: f32,
}

impl Default for Model {
    fn default() -> Self {
        Self { stops: STOPS, lists_at_start: [16; 8], length: 1.0 }
    }
}

impl Model {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.stops.map(f32::to_le_bytes).as_flattened());
        out.extend(self.lists_at_start.map(u32::to_le_bytes).as_flattened());
        out.extend(self.length.to_le_bytes());
    }

    /// Reads what [`Model::encode`] appends, or what version 1 of the section has: the lists of the default target alone.
    pub(super) fn decode(input: &mut Input<'_>, has_all: bool) -> Result<Self, Corrupt> {
        let mut stops = [0.0; 8];
        for stop in &mut stops {
            *stop = f32::from_bits(input.u32()?);
        }
        let mut lists_at_start = [input.u32()?; 8];
        if has_all {
            for lists in &mut lists_at_start[1..] {
                *lists = input.u32()?;
            }
        }
        let lists_at_start = lists_at_start.map(|lists| lists.clamp(1, 1 << 20));
        let length = f32::from_bits(input.u32()?);
        let are_sound = stops.iter().all(|stop| *stop > 0.0) && stops.is_sorted();
        if !are_sound || !length.is_finite() {
            return Err(input.corrupt("recall model"));
        }
        Ok(Self { stops, lists_at_start, length })
    }

    /// The strain at which a search for `target` stops.
    pub(super) fn stop(&self, target: f32) -> f32 {
        between(target, &TARGETS, &self.stops)
    }

    /// Lists that most searches for `target` look into.
    pub(super) fn lists(&self, target: f32) -> f32 {
        between(target, &TARGETS, &self.lists_at_start.map(|lists| lists as f32))
    }

    /// The recall that stopping at a strain stands for.
    pub(super) fn recall(&self, strain: f32) -> f32 {
        between(strain, &self.stops, &TARGETS)
    }
}

/// The strain of going on, of `D / R` and `D / N`; see the module.
pub(super) fn strain(looked: f32, by_rank: f32, by_nearest: f32) -> f32 {
    let square = |value: f32| value * value;
    let fourth = square(square(by_rank));
    looked * (fourth * fourth * square(by_rank)) * square(square(square(square(by_nearest))))
}

/// What a row that counts weighs, if they are this share of all.
pub(super) fn weight_of_share(share: f32) -> f32 {
    1.0 / share.max(f32::MIN_POSITIVE).sqrt().sqrt()
}

/// What a filtered search may miss, for each that it may miss at that place among all rows. `density` is the share of rows that count
/// among those it met, to their share of all: about 1 if they lie anywhere, and then the model holds. Where it is not, they
/// lie where no query of the model was.
pub(super) fn care(density: f32) -> f32 {
    const LEAST: f32 = 0.5;
    /// The densities between which care grows, or one over them.
    const CHANCE: f32 = 1.2;
    const CORRELATED: f32 = 1.6;
    let off = density.max(1.0 / density.max(f32::MIN_POSITIVE));
    LEAST + (1.0 - LEAST) * ((CORRELATED - off) / (CORRELATED - CHANCE)).clamp(0.0, 1.0)
}

/// What a list counts if `k` rows are wanted.
pub(super) fn weight(k: usize) -> f32 {
    match k {
        0..10 => (k as f32 + 20.0) / 30.0,
        _ => (10.0 / k as f32).sqrt(),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_strain_is_a_product_of_powers() {
        assert_eq!(strain(3.0, 2.0, 1.0), 3072.0);
        assert_eq!(strain(3.0, 1.0, 2.0), 196_608.0);
        assert_eq!(strain(0.0, 2.0, 2.0), 0.0);
        assert_eq!(strain(1.0, f32::INFINITY, 1.0), f32::INFINITY);
        assert_eq!((weight(1), weight(10), weight(40)), (0.7, 1.0, 0.5));
        assert_eq!((weight_of_share(1.0), weight_of_share(0.0625)), (1.0, 2.0));
        assert_eq!(
            (care(1.0), care(1.1), care(2.0), care(0.5), care(0.0)),
            (1.0, 1.0, 0.5, 0.5, 0.5)
        );
    }

    #[test]
    fn stops_and_recalls_are_inverse() {
        let model = Model::default();
        for target in [0.8, 0.85, 0.93, 0.98, 0.991] {
            let recall = model.recall(model.stop(target));
            assert!((recall - target).abs() < 1e-4, "{target} {recall}");
        }
        assert_eq!((model.stop(0.1), model.stop(2.0)), (STOPS[0], STOPS[7]));
        assert_eq!(model.recall(f32::INFINITY), TARGETS[7]);
    }

    #[test]
    fn models_round_trip() {
        let lists_at_start = [4, 5, 6, 7, 8, 9, 10, 40];
        let model = Model { lists_at_start, length: 0.5, ..Model::default() };
        let mut bytes = Vec::new();
        model.encode(&mut bytes);
        assert_eq!(Model::decode(&mut Input::new("model", &bytes), true), Ok(model));
        let lists_at_start = [4; 8];
        let before = [&bytes[..36], &bytes[64..]].concat();
        let known = Model::decode(&mut Input::new("model", &before), false);
        assert_eq!(known, Ok(Model { lists_at_start, ..model }));
        bytes[..4].copy_from_slice(&f32::NAN.to_le_bytes());
        assert!(Model::decode(&mut Input::new("model", &bytes), true).is_err());
    }
}
