//! Counters and gauges for metrics.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::cache::CacheStats;

/// What an engine has done and holds. Counters only grow while the process lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Gauge: indexes that are open.
    pub indexes_open: u64,
    /// Gauge: buckets whose catalog log is open.
    pub buckets_open: u64,
    /// Gauge: bytes of records that are not in a segment yet, over all open indexes.
    pub memtable_bytes: u64,
    /// Gauge: segments of all open indexes.
    pub segments: u64,
    /// Gauge: live records of all open indexes.
    pub records: u64,
    /// Indexes opened (log replayed).
    pub opens: u64,
    /// Flushes that were committed.
    pub flushes: u64,
    /// Flushes that failed and are tried again.
    pub flushes_failed: u64,
    /// Bytes of segment objects written, by flushes and merges.
    pub segment_bytes_written: u64,
    /// Merges that were committed.
    pub merges: u64,
    /// Merges that failed, or whose inputs were gone when they were done.
    pub merges_failed: u64,
    /// Bytes of segment objects written by merges.
    pub merge_bytes_written: u64,
    /// Time that writers stood still for merges to be committed, microseconds.
    pub merge_commit_micros: u64,
    /// Segments and bitmaps deleted because nobody needed them any more.
    pub objects_collected: u64,
    /// Gauge: whether all memtables together take so much that writers wait.
    pub memtables_full: u64,
    /// Group commits.
    pub commits: u64,
    /// Batches in those groups.
    pub batches: u64,
    /// Time spent in group commits, microseconds.
    pub commit_micros: u64,
    /// Records put.
    pub puts: u64,
    /// Keys named in deletes.
    pub deletes: u64,
    /// Writes refused with `Busy`.
    pub writes_refused: u64,
    /// Time writes were delayed by back-pressure, microseconds.
    pub write_delay_micros: u64,
    /// Gets.
    pub gets: u64,
    /// List pages.
    pub lists: u64,
    /// Queries.
    pub queries: u64,
    /// Time spent in queries, microseconds.
    pub query_micros: u64,
    /// Shares of scans that other processes were asked for.
    pub shares: u64,
    /// Those of them that were scanned here after all.
    pub shares_failed: u64,
    /// Shares of scans answered for other processes.
    pub shares_served: u64,
    /// Vectors that queries went over.
    pub rows_scanned: u64,
    /// Parts of segments in memory and on the local disk.
    pub cache: CacheStats,
    /// Requests to the store.
    pub store_requests: u64,
    /// Requests to the store that failed.
    pub store_failures: u64,
    /// Bytes read from the store.
    pub store_bytes_read: u64,
    /// Bytes written to the store.
    pub store_bytes_written: u64,
}

/// What samples say about the queries of one index.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MeasuredRecall {
    /// The index.
    pub index: crate::records::IndexId,
    /// Mean share of the nearest records that queries found, of late samples.
    pub recall: f32,
    /// How much further queries look than they would by themselves; 1: as far.
    pub calibration: f32,
    /// Samples so far.
    pub samples: u64,
}

/// The counters while they are being counted.
#[derive(Debug, Default)]
pub(crate) struct Meters {
    pub(crate) opens: Meter,
    pub(crate) flushes: Meter,
    pub(crate) flushes_failed: Meter,
    pub(crate) segment_bytes_written: Meter,
    pub(crate) merges: Meter,
    pub(crate) merges_failed: Meter,
    pub(crate) merge_bytes_written: Meter,
    pub(crate) merge_commit_micros: Meter,
    pub(crate) objects_collected: Meter,
    pub(crate) commits: Meter,
    pub(crate) batches: Meter,
    pub(crate) commit_micros: Meter,
    pub(crate) puts: Meter,
    pub(crate) deletes: Meter,
    pub(crate) writes_refused: Meter,
    pub(crate) write_delay_micros: Meter,
    pub(crate) gets: Meter,
    pub(crate) lists: Meter,
    pub(crate) queries: Meter,
    pub(crate) query_micros: Meter,
    pub(crate) shares: Meter,
    pub(crate) shares_failed: Meter,
    pub(crate) shares_served: Meter,
    pub(crate) rows_scanned: Meter,
}

/// One counter.
#[derive(Debug, Default)]
pub(crate) struct Meter(AtomicU64);

impl Meter {
    pub(crate) fn add(&self, amount: usize) {
        self.0.fetch_add(amount as u64, Ordering::Relaxed);
    }

    pub(crate) fn add_time(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.0.fetch_add(micros, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Meters {
    /// The counters; gauges are zero.
    pub(crate) fn stats(&self) -> Stats {
        Stats {
            opens: self.opens.get(),
            flushes: self.flushes.get(),
            flushes_failed: self.flushes_failed.get(),
            segment_bytes_written: self.segment_bytes_written.get(),
            merges: self.merges.get(),
            merges_failed: self.merges_failed.get(),
            merge_bytes_written: self.merge_bytes_written.get(),
            merge_commit_micros: self.merge_commit_micros.get(),
            objects_collected: self.objects_collected.get(),
            commits: self.commits.get(),
            batches: self.batches.get(),
            commit_micros: self.commit_micros.get(),
            puts: self.puts.get(),
            deletes: self.deletes.get(),
            writes_refused: self.writes_refused.get(),
            write_delay_micros: self.write_delay_micros.get(),
            gets: self.gets.get(),
            lists: self.lists.get(),
            queries: self.queries.get(),
            query_micros: self.query_micros.get(),
            shares: self.shares.get(),
            shares_failed: self.shares_failed.get(),
            shares_served: self.shares_served.get(),
            rows_scanned: self.rows_scanned.get(),
            ..Stats::default()
        }
    }
}
