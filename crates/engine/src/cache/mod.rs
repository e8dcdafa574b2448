//! Parts of segments in memory, on the local disk, and on their way from the store.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use vb_commit::Store;
use vb_search::{Part, PartId, Schema, Segment};

use crate::error::Error;
use crate::pool::Pool;

/// How much may be kept where.
#[derive(Clone, Debug)]
pub(crate) struct CacheOptions {
    /// Decoded parts in memory, in bytes.
    pub(crate) memory_bytes: u64,
    /// Bytes being read from the store at a time.
    pub(crate) load_bytes_max: u64,
    /// Parts on the local disk.
    pub(crate) disk: Option<DiskOptions>,
}

/// A folder of parts as they are stored.
#[derive(Clone, Debug)]
pub(crate) struct DiskOptions {
    /// The folder; several stores and processes may share it.
    pub(crate) dir: PathBuf,
    /// How many bytes of it this cache may use.
    pub(crate) bytes_max: u64,
    /// Tells this store's parts from those of others.
    pub(crate) store_id: u128,
}

/// A part to read.
#[derive(Clone, Debug)]
pub(crate) struct PartRequest {
    /// Path of the segment object.
    pub(crate) path: Arc<str>,
    /// Name of the segment.
    pub(crate) object: u128,
    pub(crate) id: PartId,
    /// Bytes of the part in the object.
    pub(crate) range: Range<u64>,
    /// CRC32C of these bytes.
    pub(crate) crc: u32,
    pub(crate) schema: Arc<Schema>,
    /// Documents of the segment.
    pub(crate) docs: u32,
}

/// A small segment object to read whole.
#[derive(Clone, Debug)]
pub(crate) struct ObjectRequest {
    /// Path of the segment object.
    pub(crate) path: Arc<str>,
    /// Name of the segment.
    pub(crate) object: u128,
    /// Bytes of the object.
    pub(crate) length: u64,
    /// Documents of the segment.
    pub(crate) docs: u32,
    pub(crate) schema: Arc<Schema>,
    /// The segment without any part: it knows its table of sections.
    pub(crate) blank: Segment,
}

/// What a cache did since it was made, and what it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CacheStats {
    /// Parts found in memory.
    pub(crate) memory_hits: u64,
    /// Parts that were not.
    pub(crate) memory_misses: u64,
    /// Bytes of parts in memory.
    pub(crate) memory_bytes: u64,
    /// Parts pushed out of memory.
    pub(crate) memory_evictions: u64,
    /// Parts found on disk.
    pub(crate) disk_hits: u64,
    /// Parts looked for on disk in vain.
    pub(crate) disk_misses: u64,
    /// Bytes of parts on disk.
    pub(crate) disk_bytes: u64,
    /// Parts pushed off the disk.
    pub(crate) disk_evictions: u64,
    /// Files of the disk tier that were damaged.
    pub(crate) disk_damaged: u64,
    /// Ranged reads of the store.
    pub(crate) reads: u64,
    /// Bytes that they read, gaps included.
    pub(crate) read_bytes: u64,
}

/// The parts of all open segments.
#[derive(Debug)]
pub(crate) struct Cache {}

impl Cache {
    /// An empty cache before `store`; the disk tier is looked through in the background.
    pub(crate) fn new(_store: Store, _pool: Pool, _options: CacheOptions) -> Self {
        todo!()
    }

    /// The parts asked for, in order. Parts in memory cost nothing; the others are read from the
    /// disk tier, or from the store in one round.
    pub(crate) async fn get(&self, _requests: Vec<PartRequest>) -> Result<Vec<Part>, Error> {
        todo!()
    }

    /// Every part of a small segment, in an order in which [`Segment::add`] takes them, in one read.
    pub(crate) async fn load_object(&self, _request: ObjectRequest) -> Result<Vec<Part>, Error> {
        todo!()
    }

    /// Whether a part is in memory; does not count as a use.
    pub(crate) fn contains(&self, _object: u128, _id: PartId) -> bool {
        todo!()
    }

    /// A part, if it is in memory.
    pub(crate) fn peek(&self, _object: u128, _id: PartId) -> Option<Part> {
        todo!()
    }

    /// Drops all parts of these segments, which are no more.
    pub(crate) fn forget(&self, _objects: &[u128]) {
        todo!()
    }

    pub(crate) fn stats(&self) -> CacheStats {
        todo!()
    }
}
