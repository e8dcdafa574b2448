//! Numbers by rank, each as one integer: sorting integers takes no branches, and half the time of sorting records.

/// Something by its rank: ascending by [`f32::total_cmp`], equal ones by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ranked(u64);

impl Ranked {
    pub(super) fn new(rank: f32, number: u32) -> Self {
        Self(u64::from(ordered(rank)) << 32 | u64::from(number))
    }

    pub(super) fn rank(self) -> f32 {
        unordered((self.0 >> 32) as u32)
    }

    pub(super) fn number(self) -> u32 {
        self.0 as u32
    }
}

/// Something in a part by its rank; equal ones by part, then number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RankedIn(u128);

impl RankedIn {
    pub(super) fn new(rank: f32, part: u32, number: u32) -> Self {
        let place = u64::from(part) << 32 | u64::from(number);
        Self(u128::from(ordered(rank)) << 64 | u128::from(place))
    }

    pub(super) fn rank(self) -> f32 {
        unordered((self.0 >> 64) as u32)
    }

    pub(super) fn part(self) -> u32 {
        (self.0 >> 32) as u32
    }

    pub(super) fn number(self) -> u32 {
        self.0 as u32
    }
}

const SIGN: u32 = 1 << 31;

/// Ascends as [`f32::total_cmp`] does.
fn ordered(value: f32) -> u32 {
    let bits = value.to_bits();
    let is_negative = (bits.cast_signed() >> 31).cast_unsigned();
    bits ^ (is_negative | SIGN)
}

fn unordered(ordered: u32) -> f32 {
    let was_negative = !(ordered.cast_signed() >> 31).cast_unsigned();
    f32::from_bits(ordered ^ (was_negative | SIGN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_come_back_and_ascend_as_floats_do() {
        let values = [
            f32::NEG_INFINITY,
            -1e30,
            -1.5,
            -1e-40,
            -0.0,
            0.0,
            1e-40,
            2.5,
            f32::INFINITY,
            f32::NAN,
        ];
        for (place, a) in values.into_iter().enumerate() {
            for (other, b) in values.into_iter().enumerate() {
                assert_eq!(ordered(a).cmp(&ordered(b)), a.total_cmp(&b), "{place} {other}");
                let (first, second) = (RankedIn::new(a, 2, 9), RankedIn::new(b, 3, 1));
                assert_eq!(first < second, a.total_cmp(&b).is_le());
            }
            let (alone, inside) = (Ranked::new(a, u32::MAX), RankedIn::new(a, u32::MAX, 7));
            assert_eq!((alone.rank().to_bits(), alone.number()), (a.to_bits(), u32::MAX));
            let found = (inside.rank().to_bits(), inside.part(), inside.number());
            assert_eq!(found, (a.to_bits(), u32::MAX, 7));
        }
        assert!(Ranked::new(1.0, 2) < Ranked::new(1.0, 3));
    }
}
