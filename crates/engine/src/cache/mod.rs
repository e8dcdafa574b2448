//! Parts of segments in memory, on the local disk, and on their way from the store.
//!
//! ```text
//!  asked for --> memory --> under way already? --> disk --> store
//!                  ^             | wait for it      |         | few ranged reads, in parallel
//!                  +-------------+------------------+---------+ check, open, keep, write to disk
//! ```
//!
//! - `memory.rs`: opened parts, weighted by the memory they take.
//! - `shelf.rs`: those of them that queries need again and again, by number rather than by key.
//! - `flight.rs`: a part is loaded once, however many ask for it meanwhile.
//! - `disk/`: parts as they are stored, for stores that are not a local folder themselves.
//! - `plan.rs`: which bytes to read in one request.
//! - `load.rs`: reads them, checks every CRC32C, opens the parts on the CPU pool.
//!
//! Invariants: what comes out was checked against the checksum its manifest leads to, wherever it came
//! from; segments never change, so nothing here is ever stale; everything is bounded in bytes (memory,
//! disk, reads under way, writes to disk under way); a disk tier that fails costs time only. Without
//! a disk tier no thread but those of the CPU pool takes part, so a simulation stays deterministic.

mod disk;
mod flight;
mod load;
mod memory;
mod plan;
mod shelf;
#[cfg(test)]
mod tests;

pub(crate) use disk::fuzz_file;
pub(crate) use shelf::{Near, Shelf};

use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use vb_commit::Store;
use vb_search::{Part, PartId, Schema, Segment};

use self::disk::Disk;
use self::flight::{Flights, Ticket};
use self::load::{Loader, WantedObject, WantedPart};
use self::memory::Memory;
use self::shelf::Shelves;
use crate::error::Error;
use crate::pool::Pool;
use crate::stats::Meter;

/// How much may be kept where.
#[derive(Clone, Debug)]
pub(crate) struct CacheOptions {
    /// Opened parts in memory, in bytes.
    pub(crate) memory_bytes: u64,
    /// Bytes being read at a time.
    pub(crate) load_bytes_max: u64,
    /// Parts on the local disk. Left alone if the store is a local folder itself.
    pub(crate) disk: Option<DiskOptions>,
}

/// A folder of parts as they are stored.
#[derive(Clone, Debug)]
pub(crate) struct DiskOptions {
    /// The folder, for one process at a time; caches of several stores may share it.
    pub(crate) dir: PathBuf,
    /// How many bytes this store's parts may take of it.
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

/// What the cache of parts of segments did, and what it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheStats {
    /// Parts looked for and found in memory. Those within reach of a query are not looked for.
    pub memory_hits: u64,
    /// Parts and whole objects that were not, and had to be loaded or waited for.
    pub memory_misses: u64,
    /// Gauge: bytes of parts in memory.
    pub memory_bytes: u64,
    /// Parts pushed out of memory.
    pub memory_evictions: u64,
    /// Parts and whole objects found on disk.
    pub disk_hits: u64,
    /// Those looked for on disk in vain.
    pub disk_misses: u64,
    /// Gauge: bytes of files on disk.
    pub disk_bytes: u64,
    /// Files pushed off the disk.
    pub disk_evictions: u64,
    /// Files of the disk tier that were damaged.
    pub disk_damaged: u64,
    /// Reads of the store.
    pub reads: u64,
    /// Bytes that they read, gaps included.
    pub read_bytes: u64,
}

/// Counted as it happens.
#[derive(Debug, Default)]
struct Counters {
    memory_hits: Meter,
    memory_misses: Meter,
    memory_evictions: Meter,
    disk_hits: Meter,
    disk_misses: Meter,
    disk_evictions: Meter,
    disk_damaged: Meter,
    reads: Meter,
    read_bytes: Meter,
}

/// Loads are given up only when the runtime goes down, or in favour of what is in memory already.
const ATTEMPTS_MAX: usize = 8;

/// Names a part among those of all segments.
type Key = (u128, PartId);

/// The parts of all open segments.
#[derive(Debug)]
pub(crate) struct Cache {
    counters: Arc<Counters>,
    memory: Arc<Memory>,
    memory_bytes_max: u64,
    shelves: Arc<Shelves>,
    disk: Option<Disk>,
    loader: Loader,
    parts: Flights<Key, Part>,
    objects: Flights<u128, Vec<Part>>,
}

impl Cache {
    /// An empty cache before `store`. A disk tier is looked through in the background: the calling
    /// thread must belong to a runtime then.
    pub(crate) fn new(store: Store, pool: Pool, options: CacheOptions) -> Self {
        let counters = Arc::new(Counters::default());
        let shelves = Arc::new(Shelves::default());
        let memory = Memory::new(options.memory_bytes, Arc::clone(&counters), Arc::clone(&shelves));
        let memory = Arc::new(memory);
        // The folder of a sole writer is as near as a cache would be.
        let disk = options.disk.filter(|_| !store.sole_writer());
        let disk = disk.map(|disk| Disk::open(&disk, Arc::clone(&counters)));
        let loader = Loader::new(
            store,
            pool,
            options.load_bytes_max,
            Arc::clone(&memory),
            disk.clone(),
            Arc::clone(&counters),
        );
        Self {
            counters,
            memory,
            memory_bytes_max: options.memory_bytes,
            shelves,
            disk,
            loader,
            parts: Flights::default(),
            objects: Flights::default(),
        }
    }

    /// The parts asked for, in order. If all are in memory nothing is waited for; the others come from
    /// the disk tier, or from the store in one round. Asking for a part that is on its way waits for
    /// it. A call that is given up leaves its reads to those who wait for the same.
    ///
    /// # Errors
    /// [`Error::Corrupt`] if bytes are not what was written, [`Error::Storage`] as the store fails,
    /// [`Error::Closed`] if the runtime goes down.
    pub(crate) async fn get(&self, requests: Vec<PartRequest>) -> Result<Vec<Part>, Error> {
        let found = requests.iter().map(|request| self.memory.get(&request.key()));
        let mut found: Vec<Option<Part>> = found.collect();
        let missed = found.iter().filter(|part| part.is_none()).count();
        self.counters.memory_hits.add(found.len() - missed);
        self.counters.memory_misses.add(missed);
        for _ in 0..ATTEMPTS_MAX {
            if found.iter().all(Option::is_some) {
                return Ok(found.into_iter().flatten().collect());
            }
            self.get_missing(&requests, &mut found).await?;
        }
        Err(Error::Closed)
    }

    /// Loads or waits for what is missing. What another call gave up stays missing.
    async fn get_missing(
        &self,
        requests: &[PartRequest],
        found: &mut [Option<Part>],
    ) -> Result<(), Error> {
        let (mut mine, mut others) = (Vec::new(), Vec::new());
        let missing = requests.iter().zip(&mut *found).enumerate();
        for (place, (request, part)) in missing.filter(|(_, (_, part))| part.is_none()) {
            match self.parts.board(request.key()) {
                // It may have landed since memory was asked.
                Ticket::Mine(flight) => match self.memory.get(&request.key()) {
                    Some(landed) => *part = Some(landed),
                    None => {
                        others.push((place, flight.wait()));
                        mine.push(WantedPart { request: request.clone(), flight });
                    }
                },
                Ticket::Others(wait) => others.push((place, wait)),
            }
        }
        if !mine.is_empty() {
            self.loader.start_parts(mine);
        }
        for (place, wait) in others {
            found[place] = wait.landed().await.transpose()?;
        }
        Ok(())
    }

    /// Every part of a small segment, in an order in which [`Segment::add`] takes them, in one read.
    ///
    /// # Errors
    /// As [`Cache::get`].
    pub(crate) async fn load_object(&self, request: ObjectRequest) -> Result<Vec<Part>, Error> {
        self.counters.memory_misses.add(1);
        for _ in 0..ATTEMPTS_MAX {
            let wait = match self.objects.board(request.object) {
                Ticket::Others(wait) => wait,
                Ticket::Mine(flight) => {
                    let wait = flight.wait();
                    self.loader.start_object(WantedObject { request: request.clone(), flight });
                    wait
                }
            };
            if let Some(landed) = wait.landed().await {
                return landed;
            }
        }
        Err(Error::Closed)
    }

    /// Keeps a part that was just written, if it is not so large that it would push out most others.
    pub(crate) fn keep(&self, object: u128, part: Part) {
        if (part.weight() as u64) < self.memory_bytes_max / 3 {
            self.memory.put(object, part);
        }
    }

    /// A part, if it is in memory.
    pub(crate) fn peek(&self, object: u128, id: PartId) -> Option<Part> {
        let part = self.memory.get(&(object, id));
        self.counters.memory_hits.add(usize::from(part.is_some()));
        part
    }

    /// How often parts within reach were let go of, because others were pushed out of memory.
    pub(crate) fn clearings(&self) -> u64 {
        self.shelves.clearings()
    }

    /// Puts parts within reach that were all in memory after so many clearings; later ones forbid it.
    pub(crate) fn shelve(&self, shelf: &Arc<Shelf>, near: Near, clearings: u64) {
        self.shelves.fill(shelf, near, clearings);
    }

    /// Whether a part is in memory; does not count as a use.
    pub(crate) fn contains(&self, object: u128, id: PartId) -> bool {
        self.memory.contains(&(object, id))
    }

    /// Drops all parts of these segments, which are no more.
    pub(crate) fn forget(&self, objects: &[u128]) {
        self.memory.forget(objects);
        if let Some(disk) = &self.disk {
            disk.forget(objects);
        }
    }

    pub(crate) fn stats(&self) -> CacheStats {
        let counters = &self.counters;
        CacheStats {
            memory_hits: counters.memory_hits.get(),
            memory_misses: counters.memory_misses.get(),
            memory_bytes: self.memory.bytes(),
            memory_evictions: counters.memory_evictions.get(),
            disk_hits: counters.disk_hits.get(),
            disk_misses: counters.disk_misses.get(),
            disk_bytes: self.disk.as_ref().map_or(0, Disk::bytes),
            disk_evictions: counters.disk_evictions.get(),
            disk_damaged: counters.disk_damaged.get(),
            reads: counters.reads.get(),
            read_bytes: counters.read_bytes.get(),
        }
    }
}

impl PartRequest {
    fn key(&self) -> Key {
        (self.object, self.id)
    }
}
