//! What every part of one engine shares.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use vb_commit::{Store, WriterId};
use vb_kernel::Kernels;

use crate::budget::Budget;
use crate::cache::{Cache, CacheOptions, DiskOptions};
use crate::index::collect::Garbage;
use crate::options::{DiskCache, Options};
use crate::pool::Pool;
use crate::recall::Recalls;
use crate::stats::Meters;

/// The surroundings of one engine.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) store: Store,
    /// Parts of segments, of all indexes.
    pub(crate) cache: Cache,
    pub(crate) options: Options,
    pub(crate) pool: Pool,
    /// For work of seconds: on the same threads, queries would wait for it.
    pub(crate) builders: Pool,
    pub(crate) kernels: Kernels,
    /// This engine as a writer of logs.
    pub(crate) writer: WriterId,
    pub(crate) meters: Meters,
    /// How memory and background work are divided.
    pub(crate) budget: Budget,
    /// How much queries find, by index.
    pub(crate) recalls: Arc<Recalls>,
    /// What is, or will be, no longer needed in the store.
    pub(crate) garbage: Garbage,
    /// Tells the driver that there may be something to do before its next round.
    pub(crate) wake: Notify,
    started: Instant,
}

impl Context {
    /// `store_id` tells the store's objects from those of others in a cache on disk.
    pub(crate) fn new(
        store: Store,
        store_id: u128,
        mut options: Options,
        kernels: Kernels,
    ) -> Self {
        // A memtable of no size would be full while it is empty, and never take a write.
        options.memtable_bytes_max = options.memtable_bytes_max.max(1);
        let pool = Pool::new(options.threads);
        let builders = Pool::background(options.threads);
        let budget = Budget::new(&options);
        let cache_options = CacheOptions {
            memory_bytes: budget.cache_bytes as u64,
            load_bytes_max: budget.scans.bytes() as u64,
            disk: options.cache.clone().map(|DiskCache { dir, bytes_max }| DiskOptions {
                dir,
                bytes_max,
                store_id,
            }),
        };
        Self {
            cache: Cache::new(store.clone(), pool.clone(), cache_options),
            store,
            pool,
            builders,
            kernels,
            writer: WriterId(options.random.id()),
            meters: Meters::default(),
            budget,
            recalls: Arc::default(),
            garbage: Garbage::default(),
            wake: Notify::new(),
            started: Instant::now(),
            options,
        }
    }

    /// Time since the engine was opened, by the runtime's clock.
    pub(crate) fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    pub(crate) fn random(&self) -> u128 {
        self.options.random.id()
    }

    pub(crate) fn unix_ms(&self) -> u64 {
        self.options.clock.unix_ms()
    }
}
