//! How an engine's memory, and the share of the machine that background work may take, are divided.
//!
//! ```text
//! memory_limit (of the process)
//!   3/16  memtables of all open indexes together, frozen ones too
//!   3/16  the memory tier of the cache
//!   3/32  scans: what queries load beyond the cache, window by window
//!   3/32  flushes and merges: rows on their way into a segment
//!   4/16  requests: their bodies and answers, bounded by the server's admission
//!   3/16  left alone: code, maps and bitmaps of open indexes, the allocator's slack
//! ```
//!
//! A share is a [`Gate`] (ask, wait, give back when dropped) or a number. A single job larger than
//! its gate is let through alone, so nothing ever waits for room that cannot come.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use tokio::time::Instant;

use crate::gauge::Gauge;
use crate::options::{Background, Options};

/// The shares of one engine.
#[derive(Debug)]
pub(crate) struct Budget {
    pub(crate) memtables: Memtables,
    /// Bytes of the cache's memory tier.
    pub(crate) cache_bytes: usize,
    /// Bytes that queries hold beyond the cache.
    pub(crate) scans: Gate,
    /// Bytes of rows that flushes and merges hold.
    pub(crate) merges: Gate,
    pub(crate) pace: Pace,
}

impl Budget {
    pub(crate) fn new(options: &Options) -> Self {
        let limit = options.memory_limit;
        Self {
            memtables: Memtables::new(limit / 16 * 3),
            cache_bytes: options.cache_memory_bytes.unwrap_or(limit / 16 * 3),
            scans: Gate::new(limit / 32 * 3),
            merges: Gate::new(limit / 32 * 3),
            pace: Pace::new(&options.background),
        }
    }

    /// A memtable of this many bytes is flushed: as the options say, but at most a third of what
    /// all memtables may take, so that one fills while the one before is written.
    pub(crate) fn memtable_bytes_max(&self, options: &Options) -> usize {
        options.memtable_bytes_max.min(self.memtables.limit / 3).max(1)
    }
}

/// What all memtables of an engine take together.
#[derive(Debug)]
pub(crate) struct Memtables {
    limit: usize,
    total: Gauge,
}

impl Memtables {
    fn new(limit: usize) -> Self {
        Self { limit: limit.max(1), total: Gauge::default() }
    }

    /// An index's memtables went from `before` to `after` bytes.
    pub(crate) fn change(&self, before: usize, after: usize) {
        if before != after {
            self.total.modify(|total| (total + after).saturating_sub(before));
        }
    }

    /// Bytes of all memtables.
    pub(crate) fn bytes(&self) -> usize {
        self.total.get()
    }

    /// Whether flushing should begin, the largest memtable first.
    pub(crate) fn are_crowded(&self) -> bool {
        self.bytes() >= self.limit / 2
    }

    /// Whether writers have to wait.
    pub(crate) fn are_full(&self) -> bool {
        self.bytes() >= self.limit
    }

    /// Returns once there is room for writers.
    pub(crate) async fn room(&self) {
        self.total.wait_until(|total| total < self.limit).await;
    }
}

/// Bytes per permit of a gate: a semaphore counts in 32 bits.
const GATE_UNIT: usize = 64 << 10;

/// A number of bytes that several may hold parts of.
#[derive(Debug)]
pub(crate) struct Gate {
    semaphore: Semaphore,
    units: usize,
}

/// Bytes held; given back when dropped.
#[derive(Debug)]
pub(crate) struct Held<'a> {
    _permit: Option<SemaphorePermit<'a>>,
}

impl Gate {
    fn new(bytes: usize) -> Self {
        let units = (bytes / GATE_UNIT).clamp(1, Semaphore::MAX_PERMITS);
        Self { semaphore: Semaphore::new(units), units }
    }

    /// Bytes that fit at the same time.
    pub(crate) fn bytes(&self) -> usize {
        self.units * GATE_UNIT
    }

    /// Waits for room for `bytes`; more than there is at all counts as all there is.
    pub(crate) async fn take(&self, bytes: usize) -> Held<'_> {
        let units = bytes.div_ceil(GATE_UNIT).min(self.units);
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        // Never closed.
        Held { _permit: self.semaphore.acquire_many(units).await.ok() }
    }
}

/// Longest wait for queries to be done before a piece of background work goes on all the same.
const YIELD_MAX: Duration = Duration::from_millis(50);

/// Lets queries go first, and keeps background work to its bytes per second.
///
/// Background work comes in pieces of some milliseconds and asks before each. While a query is being
/// answered a piece waits, but not longer than [`YIELD_MAX`], so that it never starves.
#[derive(Debug)]
pub(crate) struct Pace {
    bytes_per_second: Option<u64>,
    /// Until when the bytes so far are paid for.
    paid_until: parking_lot::Mutex<Instant>,
    queries: AtomicUsize,
    idle: Notify,
}

/// A query that is being answered, until dropped.
#[derive(Debug)]
pub(crate) struct Foreground<'a>(&'a Pace);

impl Pace {
    fn new(background: &Background) -> Self {
        Self {
            bytes_per_second: background.bytes_per_second,
            paid_until: parking_lot::Mutex::new(Instant::now()),
            queries: AtomicUsize::new(0),
            idle: Notify::new(),
        }
    }

    /// Notes a query; background work holds back until it is dropped.
    pub(crate) fn foreground(&self) -> Foreground<'_> {
        self.queries.fetch_add(1, Relaxed);
        Foreground(self)
    }

    /// Returns when the next piece of background work, of `bytes` read or written, may go on.
    pub(crate) async fn turn(&self, bytes: usize) {
        if self.queries.load(Relaxed) > 0 {
            // The wait has an end of its own: a wake-up that was missed costs no more than that.
            let _ = tokio::time::timeout(YIELD_MAX, self.idle.notified()).await;
        }
        if let Some(until) = self.pay(bytes) {
            tokio::time::sleep_until(until).await;
        }
    }

    /// Charges for the bytes; returns when they are paid for, if that is not now.
    fn pay(&self, bytes: usize) -> Option<Instant> {
        let rate = self.bytes_per_second?.max(1);
        let cost = Duration::from_secs_f64(bytes as f64 / rate as f64);
        let now = Instant::now();
        let mut paid_until = self.paid_until.lock();
        let start = (*paid_until).max(now);
        *paid_until = start + cost;
        (start > now).then_some(start)
    }
}

impl Drop for Foreground<'_> {
    fn drop(&mut self) {
        if self.0.queries.fetch_sub(1, Relaxed) == 1 {
            self.0.idle.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(memory_limit: usize, background: Background) -> Budget {
        Budget::new(&Options { memory_limit, background, ..Options::default() })
    }

    #[tokio::test(start_paused = true)]
    async fn a_gate_bounds_what_is_held_and_lets_a_large_job_through_alone() {
        let gate = Gate::new(4 * GATE_UNIT);
        let first = gate.take(3 * GATE_UNIT).await;
        let wait = Duration::from_secs(1);
        assert!(tokio::time::timeout(wait, gate.take(2 * GATE_UNIT)).await.is_err());
        let small = gate.take(1).await;
        drop((first, small));
        let all = gate.take(100 * GATE_UNIT).await;
        assert!(tokio::time::timeout(wait, gate.take(1)).await.is_err());
        drop(all);
        gate.take(1).await;
    }

    #[tokio::test(start_paused = true)]
    async fn writers_wait_for_the_memtables_of_all_indexes_together() {
        let budget = budget(544, Background::default());
        let memtables = &budget.memtables;
        memtables.change(0, 40);
        memtables.change(0, 61);
        assert!(memtables.are_crowded() && !memtables.are_full());
        memtables.room().await;
        memtables.change(61, 62);
        assert!(memtables.are_full());
        let wait = Duration::from_secs(1);
        assert!(tokio::time::timeout(wait, memtables.room()).await.is_err());
        memtables.change(62, 0);
        memtables.room().await;
        assert_eq!(memtables.bytes(), 40);
        assert_eq!(budget.memtable_bytes_max(&Options::default()), 34);
    }

    #[tokio::test(start_paused = true)]
    async fn background_work_keeps_to_its_rate_and_lets_queries_go_first() {
        let rated = Background { bytes_per_second: Some(1000), ..Background::default() };
        let pace = budget(1 << 20, rated).pace;
        let started = Instant::now();
        for _ in 0..11 {
            pace.turn(100).await;
        }
        let took = started.elapsed();
        assert!((Duration::from_millis(1000)..Duration::from_millis(1100)).contains(&took));
        let free = budget(1 << 20, Background::default()).pace;
        let query = free.foreground();
        let started = Instant::now();
        free.turn(1).await;
        assert!(started.elapsed() >= YIELD_MAX, "a piece holds back while a query runs");
        drop(query);
        let started = Instant::now();
        free.turn(1).await;
        assert_eq!(started.elapsed(), Duration::ZERO);
    }
}
