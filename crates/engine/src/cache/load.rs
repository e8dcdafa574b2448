//! Reading what is wanted: from the disk tier, then from the store, checked and opened on the CPU
//! pool.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::sync::{Semaphore, SemaphorePermit};
use vb_commit::{Store, StoreErrorKind};
use vb_search::{Corrupt, Part, PartId};

use super::disk::{Disk, DiskKey, Stored};
use super::flight::Flight;
use super::memory::Memory;
use super::plan::{Span, plan, requests};
use super::{Counters, Key, ObjectRequest, PartRequest};
use crate::error::Error;
use crate::fetch::corrupt;
use crate::pool::Pool;

/// Reads of one call that are under way at the same time.
const READS_MAX: usize = 128;

/// Bytes read in vain rather than sending another request: on remote stores a request costs as much
/// time as some hundred KiB, on a local folder next to nothing.
const GAP_REMOTE: u64 = 256 << 10;
const GAP_LOCAL: u64 = 16 << 10;
/// The same between extents, blocks and lists: they are small, many, and far apart.
const GAP_PIECES: u64 = 32 << 10;

/// What a read counts at least, so that few bytes per read do not mean any number of reads.
const READ_CHARGE_MIN: u64 = 128 << 10;

/// The unit that reads are charged in.
const UNIT: u64 = 4 << 10;

/// Opening this many bytes is not worth a hand-over to the pool.
const INLINE_BYTES_MAX: u64 = 16 << 10;

/// A part to load.
#[derive(Debug)]
pub(super) struct WantedPart {
    pub(super) request: PartRequest,
    pub(super) flight: Flight<Key, Part>,
}

/// An object to load whole.
#[derive(Debug)]
pub(super) struct WantedObject {
    pub(super) request: ObjectRequest,
    pub(super) flight: Flight<u128, Vec<Part>>,
}

/// Loads parts. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct Loader(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    pool: Pool,
    /// Room for bytes being read, in units.
    room: Semaphore,
    units: u32,
    gap: u64,
    memory: Arc<Memory>,
    disk: Option<Disk>,
    counters: Arc<Counters>,
}

impl Loader {
    pub(super) fn new(
        store: Store,
        pool: Pool,
        bytes_max: u64,
        memory: Arc<Memory>,
        disk: Option<Disk>,
        counters: Arc<Counters>,
    ) -> Self {
        let units = u32::try_from(bytes_max / UNIT).unwrap_or(u32::MAX);
        let units = units.clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize) as u32);
        let gap = if store.sole_writer() { GAP_LOCAL } else { GAP_REMOTE };
        let room = Semaphore::new(units as usize);
        Self(Arc::new(Inner { store, pool, room, units, gap, memory, disk, counters }))
    }

    /// Loads parts in a task of its own: whoever asked may go away, others wait for the same.
    pub(super) fn start_parts(&self, wanted: Vec<WantedPart>) {
        let loader = Arc::clone(&self.0);
        tokio::spawn(async move { loader.parts(wanted).await });
    }

    /// As [`Loader::start_parts`].
    pub(super) fn start_object(&self, wanted: WantedObject) {
        let loader = Arc::clone(&self.0);
        tokio::spawn(async move { loader.object(wanted).await });
    }
}

impl Inner {
    async fn parts(self: Arc<Self>, wanted: Vec<WantedPart>) {
        let wanted = match &self.disk {
            Some(disk) => self.parts_from_disk(disk, wanted).await,
            None => wanted,
        };
        let mut objects: BTreeMap<u128, Vec<WantedPart>> = BTreeMap::new();
        for part in wanted {
            objects.entry(part.request.object).or_default().push(part);
        }
        let spans = objects.into_values().flat_map(|parts| cut(parts, self.gap));
        let reads = spans.map(|(range, parts)| self.span(range, parts)).collect::<Vec<_>>();
        stream::iter(reads).for_each_concurrent(READS_MAX, |read| read).await;
    }

    /// Reads some bytes of an object and opens the parts in them.
    async fn span(&self, range: Range<u64>, wanted: Vec<WantedPart>) {
        let path = Arc::clone(&wanted.first().expect("a span is of parts").request.path);
        let _room = self.room(range.end - range.start).await;
        match self.read(&path, range.clone()).await {
            Ok(bytes) => self.open_parts(range.start, bytes, wanted).await,
            Err(error) => wanted.into_iter().for_each(|part| part.flight.land(Err(error.clone()))),
        }
    }

    /// Opens parts that lie in bytes read at `offset`.
    async fn open_parts(&self, offset: u64, bytes: Bytes, wanted: Vec<WantedPart>) {
        let (memory, disk) = (Arc::clone(&self.memory), self.disk.clone());
        let length = bytes.len() as u64;
        let open = move || {
            for part in wanted {
                let range = &part.request.range;
                let own = (range.start - offset) as usize..(range.end - offset) as usize;
                part.open(bytes.slice(own), &memory, disk.as_ref());
            }
        };
        self.compute(length, open).await;
    }

    /// Takes from the disk tier what it has; returns the rest.
    async fn parts_from_disk(&self, disk: &Disk, wanted: Vec<WantedPart>) -> Vec<WantedPart> {
        let (here, mut rest): (Vec<_>, Vec<_>) =
            wanted.into_iter().partition(|part| disk.may_have(&part.request.disk_key()));
        self.counters.disk_misses.add(rest.len());
        let batches = disk_batches(here);
        let reads = batches.into_iter().map(|batch| self.disk_batch(disk, batch));
        let absent = stream::iter(reads).buffer_unordered(READS_MAX).collect::<Vec<_>>().await;
        rest.extend(absent.into_iter().flatten());
        rest
    }

    /// Opens some parts of the disk tier; returns those that it has not, or has damaged.
    async fn disk_batch(&self, disk: &Disk, wanted: Vec<WantedPart>) -> Vec<WantedPart> {
        let length = wanted.iter().map(|part| part.request.length()).sum();
        let _room = self.room(length).await;
        let files = wanted.iter().map(|part| (part.request.disk_key(), part.request.length()));
        let files = disk.read(files.collect()).await;
        let (memory, disk) = (Arc::clone(&self.memory), disk.clone());
        let open = move || {
            let opened = wanted.into_iter().zip(files).filter_map(|(part, file)| match file {
                Some(file) => part.open_file(&file, &memory, &disk),
                None => Some(part),
            });
            opened.collect::<Vec<_>>()
        };
        let absent = self.compute(length, open).await;
        self.counters.disk_misses.add(absent.len());
        absent
    }

    async fn object(self: Arc<Self>, wanted: WantedObject) {
        let WantedObject { request, flight } = wanted;
        let _room = self.room(request.length).await;
        let parts = match self.object_from_disk(&request).await {
            Some(parts) => Ok(parts),
            None => self.object_from_store(&request).await,
        };
        for part in parts.iter().flatten() {
            self.memory.put(request.object, part.clone());
        }
        flight.land(parts);
    }

    async fn object_from_disk(&self, request: &ObjectRequest) -> Option<Vec<Part>> {
        let disk = self.disk.as_ref()?;
        let key = DiskKey::whole(request.object);
        let file = match disk.may_have(&key) {
            true => disk.read(vec![(key, request.length)]).await.pop().flatten(),
            false => None,
        };
        let Some(file) = file else {
            self.counters.disk_misses.add(1);
            return None;
        };
        let (disk, request) = (disk.clone(), request.clone());
        let open = move || {
            let whole = vb_search::checksum(&file.bytes) == file.crc;
            let parts = whole.then(|| open_object(&request, &file.bytes).ok()).flatten();
            disk.judge(&key, parts.is_some());
            parts
        };
        self.compute(INLINE_BYTES_MAX + 1, open).await
    }

    async fn object_from_store(&self, request: &ObjectRequest) -> Result<Vec<Part>, Error> {
        let bytes = self.read(&request.path, 0..request.length).await?;
        let (own, object) = (request.clone(), bytes.clone());
        let parts = self.compute(request.length, move || open_object(&own, &object)).await?;
        if let Some(disk) = &self.disk {
            disk.store(DiskKey::whole(request.object), bytes, None);
        }
        Ok(parts)
    }

    /// Waits for room to read so many bytes.
    async fn room(&self, bytes: u64) -> SemaphorePermit<'_> {
        let units = bytes.max(READ_CHARGE_MIN).div_ceil(UNIT).min(u64::from(self.units));
        self.room.acquire_many(units as u32).await.expect("the semaphore is never closed")
    }

    async fn read(&self, path: &str, range: Range<u64>) -> Result<Bytes, Error> {
        let pieces = stream::iter(requests(range)).map(|piece| self.read_piece(path, piece));
        let mut pieces: Vec<Bytes> = pieces.buffered(READS_MAX).try_collect().await?;
        match pieces.len() {
            0 | 1 => Ok(pieces.pop().unwrap_or_default()),
            _ => Ok(pieces.concat().into()),
        }
    }

    async fn read_piece(&self, path: &str, range: Range<u64>) -> Result<Bytes, Error> {
        let (start, length) = (range.start, range.end - range.start);
        let bytes = match self.store.get_range(path, range).await {
            // Object stores refuse a range beyond the end, and so tell that the object was cut.
            Err(error) if error.kind() == StoreErrorKind::Invalid => {
                return Err(corrupt(path, start, "shorter than its manifest says"));
            }
            read => read?,
        };
        self.counters.reads.add(1);
        self.counters.read_bytes.add(bytes.len());
        if bytes.len() as u64 != length {
            let end = start + bytes.len() as u64;
            return Err(corrupt(path, end, "shorter than its manifest says"));
        }
        Ok(bytes)
    }

    /// Runs work over so many bytes: on the pool, unless they are few.
    async fn compute<T: Send + 'static>(
        &self,
        bytes: u64,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        if bytes <= INLINE_BYTES_MAX { work() } else { self.pool.run(work).await }
    }
}

/// Wanted parts of one object, by the bytes that are read together. Parts without bytes are told so.
fn cut(parts: Vec<WantedPart>, gap: u64) -> Vec<(Range<u64>, Vec<WantedPart>)> {
    let (parts, empty): (Vec<_>, Vec<_>) =
        parts.into_iter().partition(|part| !part.request.range.is_empty());
    for WantedPart { request, flight } in empty {
        flight.land(open(&request, &[]));
    }
    let is_piece = |part: &WantedPart| !matches!(part.request.id, PartId::Section(..));
    let gap = if parts.iter().all(is_piece) { gap.min(GAP_PIECES) } else { gap };
    let ranges: Vec<Range<u64>> = parts.iter().map(|part| part.request.range.clone()).collect();
    let mut parts: Vec<Option<WantedPart>> = parts.into_iter().map(Some).collect();
    let spans = plan(&ranges, gap).into_iter().map(|Span { range, wanted }| {
        let taken = wanted.into_iter().filter_map(|number| parts[number].take());
        (range, taken.collect())
    });
    spans.collect()
}

/// Bytes of files that are read and opened at a time.
const DISK_BATCH_BYTES: u64 = 1 << 20;

fn disk_batches(wanted: Vec<WantedPart>) -> Vec<Vec<WantedPart>> {
    let (mut batches, mut room) = (Vec::<Vec<WantedPart>>::new(), 0);
    for part in wanted {
        let length = part.request.length();
        match batches.last_mut() {
            Some(batch) if length <= room => {
                batch.push(part);
                room -= length;
            }
            _ => {
                batches.push(vec![part]);
                room = DISK_BATCH_BYTES.saturating_sub(length);
            }
        }
    }
    batches
}

impl PartRequest {
    fn length(&self) -> u64 {
        self.range.end.saturating_sub(self.range.start)
    }

    fn disk_key(&self) -> DiskKey {
        DiskKey::part(self.object, self.id)
    }
}

impl WantedPart {
    /// Checks, opens and keeps what the store gave.
    fn open(self, bytes: Bytes, memory: &Memory, disk: Option<&Disk>) {
        let Self { request, flight } = self;
        let part = open(&request, &bytes);
        if let Ok(part) = &part {
            memory.put(request.object, part.clone());
            if let Some(disk) = disk {
                disk.store(request.disk_key(), bytes, Some(request.crc));
            }
        }
        flight.land(part);
    }

    /// As [`WantedPart::open`], for what the disk tier had. `Some`: it is damaged.
    fn open_file(self, file: &Stored, memory: &Memory, disk: &Disk) -> Option<Self> {
        let part = match file.crc == self.request.crc {
            true => open(&self.request, &file.bytes).ok(),
            false => None,
        };
        disk.judge(&self.request.disk_key(), part.is_some());
        let Some(part) = part else {
            return Some(self);
        };
        memory.put(self.request.object, part.clone());
        self.flight.land(Ok(part));
        None
    }
}

/// A part from its bytes.
fn open(request: &PartRequest, bytes: &[u8]) -> Result<Part, Error> {
    let (path, start) = (&request.path, request.range.start);
    if vb_search::checksum(bytes) != request.crc {
        return Err(corrupt(path, start, "checksum mismatch"));
    }
    let part = Part::open(&request.schema, request.docs, request.id, bytes);
    part.map_err(|cause| corrupt(path, start, &cause.to_string()))
}

/// Every part of a segment, from its object's bytes.
fn open_object(request: &ObjectRequest, object: &[u8]) -> Result<Vec<Part>, Error> {
    let mut segment = request.blank.clone();
    let failed = |cause: Corrupt| corrupt(&request.path, 0, &cause.to_string());
    let mut parts = Vec::new();
    for id in segment.section_parts() {
        let part = open_in(request, &segment, object, id)?;
        // Directories lead to the pieces.
        segment.add(&part).map_err(failed)?;
        parts.push(part);
    }
    for id in segment.piece_parts() {
        parts.push(open_in(request, &segment, object, id)?);
    }
    Ok(parts)
}

fn open_in(
    request: &ObjectRequest,
    segment: &vb_search::Segment,
    object: &[u8],
    id: PartId,
) -> Result<Part, Error> {
    let place = segment.place(id).and_then(|(range, crc)| {
        let bytes = object.get(range.start as usize..range.end as usize)?;
        Some((bytes, range, crc))
    });
    let (bytes, range, crc) =
        place.ok_or_else(|| corrupt(&request.path, 0, "a part lies outside the object"))?;
    let request = PartRequest {
        path: Arc::clone(&request.path),
        object: request.object,
        id,
        range,
        crc,
        schema: Arc::clone(&request.schema),
        docs: request.docs,
    };
    open(&request, bytes)
}
