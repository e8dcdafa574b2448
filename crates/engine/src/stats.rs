//! Counters and gauges for metrics.

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
    /// Bytes of segment objects written.
    pub segment_bytes_written: u64,
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
    /// Vectors whose distance was computed.
    pub rows_scanned: u64,
    /// Requests to the store.
    pub store_requests: u64,
    /// Bytes read from the store.
    pub store_bytes_read: u64,
    /// Bytes written to the store.
    pub store_bytes_written: u64,
}
