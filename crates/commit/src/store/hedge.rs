//! When a slow read is sent a second time: decisions over plain values.
//!
//! Most reads of an object store are fast and a few are very slow; a second copy of a slow one is
//! usually answered long before the first. It is sent once a read takes longer than 19 in 20 of
//! those before it (Dean and Barroso, "The Tail at Scale", 2013), and at most one read in 20 is
//! doubled, so that a store that is slow as a whole is not asked twice for everything.

use std::time::Duration;

/// The share of reads that may be doubled, and what they are compared with.
const SHARE: f64 = 0.05;

/// How many doubled reads may be saved up.
const CREDIT_MAX: f64 = 10.0;

/// Bounds of the wait before the second copy.
const WAIT_MIN: Duration = Duration::from_millis(20);
const WAIT_MAX: Duration = Duration::from_secs(2);

/// A pace that any store beats: the time of large reads is compared without that of their bytes.
const BYTES_PER_SECOND: f64 = 32.0 * 1024.0 * 1024.0;

/// What is known of the times that reads take.
#[derive(Debug)]
pub(super) struct Hedge {
    /// About the 95th percentile, in seconds.
    slow: f64,
    /// How many reads may be doubled now.
    credit: f64,
}

impl Default for Hedge {
    fn default() -> Self {
        Self { slow: 0.5, credit: CREDIT_MAX }
    }
}

impl Hedge {
    /// How long to wait for a read of `bytes` before it is sent again.
    pub(super) fn wait(&self, bytes: u64) -> Duration {
        let wait = Duration::from_secs_f64(self.slow).clamp(WAIT_MIN, WAIT_MAX);
        wait + Duration::from_secs_f64(transfer(bytes))
    }

    /// Whether a read may be doubled now; if so, that is counted.
    pub(super) fn spend(&mut self) -> bool {
        let may = self.credit >= 1.0;
        if may {
            self.credit -= 1.0;
        }
        may
    }

    /// Learns that a read of `bytes` took `time`: the estimate goes up by 19 small steps for each
    /// read above it and down by one for each below.
    pub(super) fn note(&mut self, bytes: u64, time: Duration) {
        let time = (time.as_secs_f64() - transfer(bytes)).max(0.0);
        let step = (self.slow * 0.05).max(0.000_1);
        let change = if time > self.slow { step * (1.0 - SHARE) } else { -step * SHARE };
        self.slow = (self.slow + change).clamp(0.001, WAIT_MAX.as_secs_f64());
        self.credit = (self.credit + SHARE).min(CREDIT_MAX);
    }
}

fn transfer(bytes: u64) -> f64 {
    bytes as f64 / BYTES_PER_SECOND
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Times with a long tail: one read in 50 takes a second, the others up to 40 ms.
    fn time(n: u64) -> Duration {
        if n.is_multiple_of(50) {
            Duration::from_secs(1)
        } else {
            Duration::from_millis(n * 7 % 40)
        }
    }

    #[test]
    fn the_wait_settles_above_most_reads_and_below_the_slow_ones() {
        let mut hedge = Hedge::default();
        for n in 0..20_000 {
            hedge.note(0, time(n));
        }
        let wait = hedge.wait(0);
        assert!(wait > Duration::from_millis(30) && wait < Duration::from_millis(200), "{wait:?}");
        assert!(hedge.wait(32 << 20) >= wait + Duration::from_secs(1), "bytes take their time");
    }

    #[test]
    fn at_most_one_read_in_twenty_is_doubled() {
        let mut hedge = Hedge::default();
        let mut doubled = 0;
        for _ in 0..10_000 {
            hedge.note(0, Duration::from_secs(3));
            doubled += u32::from(hedge.spend());
        }
        assert!((490..=511).contains(&doubled), "{doubled}");
    }
}
