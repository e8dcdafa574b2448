//! Settings of an engine, and the two doors through which time and chance enter.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use vb_kernel::Level;

use crate::spread::Spread;

/// How an engine behaves. `Options::default()` suits a server.
#[derive(Clone, Debug)]
pub struct Options {
    /// A memtable of this many bytes is flushed into a segment.
    pub memtable_bytes_max: usize,
    /// A memtable is flushed when its oldest record has waited this long.
    pub flush_age: Duration,
    /// Writes wait, then fail with [`crate::Error::Busy`], after this long above four times
    /// `memtable_bytes_max` of unflushed records.
    pub write_delay_max: Duration,
    /// An index or bucket that nobody used for this long is closed; the next use opens it again.
    pub idle_after: Duration,
    /// How many indexes and buckets may be opened at the same time.
    pub opens_max: usize,
    /// On a store with other writers, how old a cached bucket record may be for name resolution.
    pub catalog_age_max: Duration,
    /// After how long a dropped index's prefix is swept for the second and last time, on a store
    /// with other writers.
    pub sweep_grace: Duration,
    /// The vector instruction level; `None`: the best the CPU has.
    pub level: Option<Level>,
    /// Threads of the CPU pool; `None`: one per core.
    pub threads: Option<usize>,
    /// Buckets per account.
    pub buckets_max: usize,
    /// Indexes per bucket.
    pub indexes_max: usize,
    /// Other processes over the same store that can scan segments for this one; `None`: none.
    pub spread: Option<Arc<dyn Spread>>,
    /// Where time comes from.
    pub clock: Arc<dyn Clock>,
    /// Where random ids come from.
    pub random: Arc<dyn Random>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            memtable_bytes_max: 64 << 20,
            flush_age: Duration::from_secs(300),
            write_delay_max: Duration::from_secs(5),
            idle_after: Duration::from_secs(600),
            opens_max: 16,
            catalog_age_max: Duration::from_secs(2),
            sweep_grace: Duration::from_secs(3600),
            level: None,
            threads: None,
            buckets_max: 100,
            indexes_max: 100,
            spread: None,
            clock: Arc::new(SystemClock),
            random: Arc::new(SystemRandom),
        }
    }
}

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

/// Random 128-bit ids of indexes and objects.
pub trait Random: fmt::Debug + Send + Sync {
    /// An id that was never returned before by any process.
    fn id(&self) -> u128;
}

/// The operating system's random source.
#[derive(Clone, Copy, Debug)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn id(&self) -> u128 {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).expect("the operating system has a random source");
        u128::from_le_bytes(bytes)
    }
}
