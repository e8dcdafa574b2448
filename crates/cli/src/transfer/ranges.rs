//! A set of row numbers, kept as ranges: batches finish out of order, but mostly near each other.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// Disjoint, sorted, non-touching half-open ranges.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<(u64, u64)>", into = "Vec<(u64, u64)>")]
pub(super) struct Ranges(Vec<Range<u64>>);

impl Ranges {
    /// Adds a range, joining it with those it overlaps or touches.
    pub(super) fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let first = self.0.partition_point(|known| known.end < range.start);
        let end = self.0.partition_point(|known| known.start <= range.end);
        let joined = match self.0.get(first..end) {
            Some([low, .., high]) => range.start.min(low.start)..range.end.max(high.end),
            Some([only]) => range.start.min(only.start)..range.end.max(only.end),
            _ => range,
        };
        self.0.splice(first..end.max(first), [joined]);
    }

    pub(super) fn contains(&self, number: u64) -> bool {
        let after = self.0.partition_point(|range| range.start <= number);
        after.checked_sub(1).is_some_and(|last| number < self.0[last].end)
    }

    /// How many numbers the set holds.
    pub(super) fn count(&self) -> u64 {
        self.0.iter().map(|range| range.end - range.start).sum()
    }
}

/// Any pairs make a set: a file that says nonsense cannot break the order.
impl From<Vec<(u64, u64)>> for Ranges {
    fn from(pairs: Vec<(u64, u64)>) -> Self {
        let mut ranges = Self::default();
        pairs.into_iter().for_each(|(start, end)| ranges.insert(start..end));
        ranges
    }
}

impl From<Ranges> for Vec<(u64, u64)> {
    fn from(ranges: Ranges) -> Self {
        ranges.0.into_iter().map(|range| (range.start, range.end)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::Ranges;

    proptest! {
        #[test]
        fn equals_a_plain_set(pairs in prop::collection::vec((0u64..60, 0u64..60), 0..40)) {
            let ranges = Ranges::from(pairs.clone());
            let model: BTreeSet<u64> = pairs.iter().flat_map(|(start, end)| *start..*end).collect();
            for number in 0..70 {
                prop_assert_eq!(ranges.contains(number), model.contains(&number));
            }
            prop_assert_eq!(ranges.count(), model.len() as u64);
            let stored = Vec::<(u64, u64)>::from(ranges.clone());
            prop_assert!(stored.windows(2).all(|pair| pair[0].1 < pair[1].0), "{:?}", stored);
            prop_assert_eq!(Ranges::from(stored), ranges);
        }
    }
}
