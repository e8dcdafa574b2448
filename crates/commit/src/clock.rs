//! Wall-clock time, as whatever keeps a log tells it. The log itself asks no clock.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

/// Wall-clock time. Durations and timers use the runtime's clock, which a simulation can pause.
pub trait Clock: fmt::Debug + Send + Sync {
    /// Milliseconds since the Unix epoch.
    fn unix_ms(&self) -> u64;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn unix_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}
