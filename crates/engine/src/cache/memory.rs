//! Opened parts in memory.

use std::sync::Arc;

use quick_cache::{Lifecycle, OptionsBuilder, Weighter, sync};
use rustc_hash::FxBuildHasher;
use vb_search::Part;

use super::shelf::Shelves;
use super::{Counters, Key};

/// A shard takes no part larger than itself, and keys of large segments are some tens of MiB.
const SHARD_BYTES_MIN: u64 = 1 << 30;
const SHARDS_MAX: u64 = 8;

/// What a part weighs, about: only to size the table of parts that were pushed out lately.
const PART_BYTES: u64 = 128 << 10;

/// Parts by key. Those used again outlive those of one large scan (the replacement is S3-FIFO, by
/// quick_cache).
#[derive(Debug)]
pub(super) struct Memory {
    // A fixed hasher: what is pushed out must not depend on chance. Nobody chooses the keys: they hold random names.
    parts: sync::Cache<Key, Part, ByWeight, FxBuildHasher, Evictions>,
}

#[derive(Clone, Debug)]
struct ByWeight;

impl Weighter<Key, Part> for ByWeight {
    fn weight(&self, _: &Key, part: &Part) -> u64 {
        part.weight() as u64
    }
}

#[derive(Clone, Debug)]
struct Evictions {
    counters: Arc<Counters>,
    shelves: Arc<Shelves>,
}

impl Lifecycle<Key, Part> for Evictions {
    type RequestState = ();

    fn on_evict(&self, (): &mut (), _: Key, _: Part) {
        self.counters.memory_evictions.add(1);
        self.shelves.clear();
    }
}

impl Memory {
    /// Whenever a part is pushed out, the shelves are cleared.
    pub(super) fn new(bytes_max: u64, counters: Arc<Counters>, shelves: Arc<Shelves>) -> Self {
        let shards = (bytes_max / SHARD_BYTES_MIN).clamp(1, SHARDS_MAX);
        let options = OptionsBuilder::new()
            .shards(shards as usize)
            .weight_capacity(bytes_max)
            .estimated_items_capacity((bytes_max / PART_BYTES) as usize)
            .build()
            .expect("both capacities are set");
        let evictions = Evictions { counters, shelves };
        Self { parts: sync::Cache::with_options(options, ByWeight, FxBuildHasher, evictions) }
    }

    pub(super) fn get(&self, key: &Key) -> Option<Part> {
        self.parts.get(key)
    }

    pub(super) fn contains(&self, key: &Key) -> bool {
        self.parts.contains_key(key)
    }

    /// Keeps a part of the object, if there is room for one of its size at all.
    pub(super) fn put(&self, object: u128, part: Part) {
        self.parts.insert((object, part.id()), part);
    }

    pub(super) fn forget(&self, objects: &[u128]) {
        self.parts.retain(|(object, _), _| !objects.contains(object));
    }

    pub(super) fn bytes(&self) -> u64 {
        self.parts.weight()
    }
}
