//! Settings of an engine, and the two doors through which time and chance enter.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use vb_commit::{Clock, SystemClock};
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
    /// With more buckets open than this, those idle for some seconds are closed.
    pub buckets_open_max: usize,
    /// How often all buckets are looked through for deletions that a crash left half done.
    pub walk_every: Duration,
    /// On a store with other writers, how old a cached bucket record may be for name resolution.
    pub catalog_age_max: Duration,
    /// After how long a dropped index's prefix is swept for the second and last time, on a store
    /// with other writers.
    pub sweep_grace: Duration,
    /// Bytes of memory of the process, about: records not yet in segments, cached parts of segments,
    /// scans and merges get their shares of it, and a quarter is left to the bodies of requests, which
    /// the caller bounds. `budget.rs` says how it is divided.
    pub memory_limit: usize,
    /// Where parts of segments are kept on a local disk; `None`: nowhere, or the store is local.
    pub cache: Option<DiskCache>,
    /// Bytes of parts of segments in memory; `None`: the share of `memory_limit`.
    pub cache_memory_bytes: Option<usize>,
    /// A segment object up to this length is read whole as soon as any of it is missing: one round for
    /// everything that calls will need of it.
    pub whole_bytes_max: u64,
    /// How much of what is near queries find.
    pub recall: Recall,
    /// Bytes of a field's vectors from which on a segment, or a run of a memtable, is searched by codes. With
    /// fewer it is scanned; segments have codes all the same, for those that they are merged into.
    pub coded_bytes_min: usize,
    /// How current reads are on a store with other writers.
    pub read_consistency: ReadConsistency,
    /// When segments are merged and rewritten.
    pub compaction: Compaction,
    /// On a store with other writers, how long an object stays after the last manifest that names it
    /// was superseded, so that readers of older snapshots find it. Without other writers an object
    /// goes when the last snapshot of this process lets go of it.
    pub collect_grace: Duration,
    /// How much of the machine background work may take.
    pub background: Background,
    /// Known-bad variants, which the simulation must find.
    #[doc(hidden)]
    pub sabotage: Sabotage,
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
            buckets_open_max: 512,
            walk_every: Duration::from_secs(24 * 3600),
            catalog_age_max: Duration::from_secs(2),
            sweep_grace: Duration::from_secs(3600),
            memory_limit: 1 << 30,
            cache: None,
            cache_memory_bytes: None,
            whole_bytes_max: 2 << 20,
            recall: Recall::default(),
            coded_bytes_min: 256 << 10,
            read_consistency: ReadConsistency::Strong,
            compaction: Compaction::default(),
            collect_grace: Duration::from_secs(3600),
            background: Background::default(),
            sabotage: Sabotage::None,
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

/// A folder for parts of segments that were read from a remote store. It may be deleted at any time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskCache {
    /// The folder; several stores and processes may share it.
    pub dir: PathBuf,
    /// Bytes it may take, about.
    pub bytes_max: u64,
}

/// What a read is promised to see of other processes' writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadConsistency {
    /// Every write that was acknowledged anywhere before the read began.
    Strong,
    /// Every write that was acknowledged anywhere this long before, and all writes of this process.
    Bounded(Duration),
}

/// How much of what is near queries find, where they do not say themselves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Recall {
    /// Mean share of the nearest records that queries for up to 100 of them find.
    pub target: f32,
    /// Share of a core that goes into comparing answers with exact ones, while there are queries; 0:
    /// nothing is compared.
    pub sample_share: f64,
    /// Indexes with more bytes in segments are compared with a search that looks much further instead
    /// of an exact one.
    pub sample_bytes_max: u64,
}

impl Default for Recall {
    fn default() -> Self {
        Self { target: 0.98, sample_share: 0.02, sample_bytes_max: 256 << 20 }
    }
}

/// When segments are merged and rewritten; `docs/design/compaction.md` has the arithmetic.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Compaction {
    /// Whether it happens by itself; else only when asked for.
    pub automatic: bool,
    /// Segments of an index once it is at rest, those near `segment_bytes_max` not counted.
    pub segments_at_rest: usize,
    /// Segments of an index under load, those near `segment_bytes_max` not counted: at this many,
    /// records wait in the memtable until a merge is done.
    pub segments_max: usize,
    /// This many segments of about one size become one.
    pub fan_in: usize,
    /// Bytes of a segment at most, about.
    pub segment_bytes_max: u64,
    /// Under load, a segment is rewritten when deleted documents are this share of it.
    pub deleted_share_max: f64,
    /// At rest, an index is rewritten as far as needed until its segments take at most this many
    /// times the bytes of what is live in them.
    pub bytes_at_rest_max: f64,
    /// An index is at rest when nobody wrote to it for this long.
    pub rest_after: Duration,
}

impl Default for Compaction {
    fn default() -> Self {
        Self {
            automatic: true,
            segments_at_rest: 6,
            segments_max: 12,
            fan_in: 4,
            segment_bytes_max: 4 << 30,
            deleted_share_max: 0.5,
            bytes_at_rest_max: 1.15,
            rest_after: Duration::from_secs(10),
        }
    }
}

/// How much of the machine background work may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Background {
    /// Flushes, merges, collections and closings under way at a time, over all indexes.
    pub jobs_max: usize,
    /// Merges among them.
    pub merges_max: usize,
    /// Bytes per second that merges read and write together; `None`: as fast as it goes.
    pub bytes_per_second: Option<u64>,
}

impl Default for Background {
    fn default() -> Self {
        Self { jobs_max: 4, merges_max: 2, bytes_per_second: None }
    }
}

/// Known-bad variants of the engine: each breaks one rule that a test must notice is broken.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Sabotage {
    /// The engine as it should be.
    #[default]
    None,
    /// A merge forgets what was deleted or overwritten while it ran.
    CompactionDropsBitmap,
    /// A flush forgets what was deleted or overwritten in segments before it began.
    FlushDropsBitmap,
    /// When a newer manifest is taken over, the slots behind its floor are not resolved against its
    /// segments: those known before keep their deletions, the others have the manifest's alone.
    OverlayNotResolved,
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
