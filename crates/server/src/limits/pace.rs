//! When a request comes too early: a token bucket as one number, the generic cell rate algorithm
//! (ITU-T I.371).
//!
//! A caller's *debt* is the time at which its bucket is full again; a caller that is not known has
//! none. Each request adds one interval to the debt, and is refused while the debt lies further
//! ahead than the burst allows. Pure: time comes from outside, nanoseconds of a monotonic clock.
//!
//! Guarantee: within any span of `t`, at most `burst + t / interval` requests are admitted.

use crate::config::Rate;

/// A rate in the form that decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pace {
    /// Nanoseconds from one request to the next on average.
    interval: u64,
    /// Nanoseconds that a debt may lie ahead when a request comes.
    tolerance: u64,
}

impl Pace {
    /// Intervals are rounded up: rather too few requests than too many.
    pub(super) fn new(rate: Rate) -> Self {
        let period = u64::try_from(rate.per.as_nanos()).unwrap_or(u64::MAX);
        let interval = period.div_ceil(u64::from(rate.count.max(1))).max(1);
        let tolerance = interval.saturating_mul(u64::from(rate.burst.max(1) - 1));
        Self { interval, tolerance }
    }

    /// Whether a request may come now.
    pub(super) fn is_open(self, debt: u64, now: u64) -> bool {
        debt <= now.saturating_add(self.tolerance)
    }

    /// The debt after a request that may come now; `None` if it may not.
    pub(super) fn admit(self, debt: u64, now: u64) -> Option<u64> {
        self.is_open(debt, now).then(|| debt.max(now).saturating_add(self.interval))
    }

    /// The debt after something that cannot be refused any more. It never lies further ahead than
    /// after the last request that would be admitted, so that a flood is over when it ends.
    pub(super) fn charge(self, debt: u64, now: u64) -> u64 {
        let full = now.saturating_add(self.tolerance).saturating_add(self.interval);
        debt.max(now).saturating_add(self.interval).min(full)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn rate(count: u32, burst: u32) -> Rate {
        Rate { count, per: Duration::from_secs(1), burst }
    }

    #[test]
    fn a_burst_and_then_the_rate() {
        let pace = Pace::new(rate(10, 3));
        let mut debt = 0;
        let mut admitted = Vec::new();
        for now in (0..1_000_000_000).step_by(10_000_000) {
            if let Some(after) = pace.admit(debt, now) {
                debt = after;
                admitted.push(now / 1_000_000);
            }
        }
        assert_eq!(admitted, [0, 10, 20, 100, 200, 300, 400, 500, 600, 700, 800, 900]);
    }

    #[test]
    fn a_flood_of_failures_is_over_when_it_ends() {
        let pace = Pace::new(rate(10, 3));
        let mut debt = 0;
        for now in 0..100_000 {
            debt = pace.charge(debt, now);
        }
        assert!(!pace.is_open(debt, 100_000));
        assert!(pace.is_open(debt, 100_000 + 100_000_000));
    }

    proptest! {
        #[test]
        fn never_more_than_burst_and_rate(
            count in 1u32..5000,
            burst in 1u32..50,
            steps in prop::collection::vec(0u64..5_000_000, 1..300),
        ) {
            let pace = Pace::new(rate(count, burst));
            let (mut now, mut debt, mut admitted) = (0, 0, Vec::new());
            for step in steps {
                now += step;
                if let Some(after) = pace.admit(debt, now) {
                    prop_assert!(after > debt);
                    debt = after;
                    admitted.push(now);
                }
            }
            // Every span that begins and ends with an admitted request.
            for (first, start) in admitted.iter().enumerate() {
                for (number, end) in admitted[first..].iter().enumerate() {
                    let most = u64::from(burst) + (end - start) * u64::from(count) / 1_000_000_000;
                    prop_assert!((number as u64) < most, "{number} within {}", end - start);
                }
            }
        }

        #[test]
        fn who_keeps_the_rate_is_never_refused(
            count in 1u32..5000,
            burst in 1u32..50,
            late in prop::collection::vec(0u64..5_000_000, 1..300),
        ) {
            let pace = Pace::new(rate(count, burst));
            let (mut now, mut debt) = (0, 0);
            for late in late {
                now += pace.interval + late;
                debt = pace.admit(debt, now).unwrap();
            }
        }

        #[test]
        fn no_number_panics(debt: u64, now: u64, count: u32, burst: u32) {
            let pace = Pace::new(rate(count, burst));
            let charged = pace.charge(debt, now);
            prop_assert!(pace.admit(debt, now).is_none_or(|after| after >= charged));
        }
    }
}
