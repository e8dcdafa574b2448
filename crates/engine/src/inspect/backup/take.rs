//! Taking a backup.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use vb_commit::{Event, Log, Manifest, Slot, Store, StoreErrorKind, WriterId};

use super::copy::{self, Proof, is_missing};
use super::layout::{self, Backup, IndexBackup, Name, Object};
use super::{Watch, chosen, is_marked, label, read, read_label_of_store};
use crate::catalog::state::Bucket;
use crate::error::Error;
use crate::fetch::corrupt;
use crate::index::body::{Body, DeletedBitmap};
use crate::inspect::log::manifest_path;
use crate::paths;
use crate::records::{BucketId, IndexId};

/// Indexes copied at the same time.
const INDEXES_MAX: usize = 4;
/// Objects of one index copied at the same time.
const COPIES_MAX: usize = 4;
/// How often something that changes under the backup is read.
const TRIES_MAX: usize = 10;

/// A backup that was taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Its number.
    pub number: u64,
    /// Indexes in it.
    pub indexes: u64,
    /// Objects that it names, and their bytes.
    pub objects: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// Objects that were not there yet.
    pub objects_copied: u64,
    /// Bytes of these.
    pub bytes_copied: u64,
}

/// What is known about one place before a backup goes there.
struct Target<'a> {
    place: &'a Store,
    bucket: &'a BucketId,
    /// Objects of the bucket's last backup, by index, with checksums.
    known: BTreeMap<(IndexId, Name), Object>,
    watch: &'a dyn Watch,
}

/// An object to be copied, and how.
enum Wanted {
    /// Read already: part of the log.
    Here(Name, Vec<Bytes>),
    Segment(crate::index::body::SegmentMeta),
    Bitmap(crate::index::body::BitmapObject),
}

/// Copies a bucket into a place of backups, which is made if it is not there.
///
/// May run beside a service on a shared store. What a collection removes while it is copied is
/// looked for in a newer snapshot of the same index.
///
/// # Errors
/// [`Error::NoSuchBucket`]; [`Error::Conflict`] while the place is pruned, or if the bucket changes too
/// fast; [`Error::Corrupt`] if the source is damaged (then no backup is listed); or as a store fails.
pub async fn backup(
    source: &Store,
    place: &Store,
    bucket: &BucketId,
    now_ms: u64,
    watch: &dyn Watch,
) -> Result<Taken, Error> {
    label(place, true).await?;
    mark(place, bucket).await?;
    let taken = take(source, place, bucket, now_ms, watch).await;
    let unmarked = place.delete_all(&[layout::running(bucket)]).await;
    let taken = taken?;
    unmarked?;
    Ok(taken)
}

async fn take(
    source: &Store,
    place: &Store,
    bucket: &BucketId,
    now_ms: u64,
    watch: &dyn Watch,
) -> Result<Taken, Error> {
    let store = read_label_of_store(source).await?;
    if is_marked(place, layout::RUNNING, now_ms, |path| path == layout::PRUNE).await? {
        return Err(Error::Conflict);
    }
    let known = known(place, bucket).await?;
    let target = Target { place, bucket, known, watch };
    for _ in 0..TRIES_MAX {
        let Some((catalog, indexes, mut taken)) = target.indexes(source).await? else { continue };
        let backup = Backup { store, taken_ms: now_ms, bucket: bucket.clone(), catalog, indexes };
        taken.number = list(place, &backup).await?;
        return Ok(taken);
    }
    Err(Error::Conflict)
}

/// Tells prunings that copies are being made which no backup names yet.
async fn mark(place: &Store, bucket: &BucketId) -> Result<(), Error> {
    Ok(place.put(&layout::running(bucket), Bytes::from_static(b"backup\n")).await?)
}

/// The objects of the newest backup of the bucket; a damaged one is as good as none.
async fn known(
    place: &Store,
    bucket: &BucketId,
) -> Result<BTreeMap<(IndexId, Name), Object>, Error> {
    let newest = match chosen(place, bucket, None).await {
        Ok(number) => read(place, bucket, number).await,
        Err(error) => Err(error),
    };
    let indexes = match newest {
        Ok(backup) => backup.indexes,
        Err(Error::NoSuchBucket | Error::Corrupt { .. }) => Vec::new(),
        Err(error) => return Err(error),
    };
    let object = |id: IndexId| move |object: Object| ((id, object.name), object);
    Ok(indexes
        .into_iter()
        .flat_map(|index| index.objects.into_iter().map(object(index.id)))
        .collect())
}

/// Creates the list of the backup under the next free number: from now on it is one.
async fn list(place: &Store, backup: &Backup) -> Result<u64, Error> {
    let bytes = backup.encode();
    for _ in 0..TRIES_MAX {
        let number = match chosen(place, &backup.bucket, None).await {
            Ok(newest) => newest + 1,
            Err(Error::NoSuchBucket) => 1,
            Err(error) => return Err(error),
        };
        match place.create(&layout::backup(&backup.bucket, number), bytes.clone()).await {
            Ok(()) => return Ok(number),
            // Another backup of the bucket came first; or our own create was answered late, and the
            // same backup is then listed twice, which is as good.
            Err(error) if error.kind() == StoreErrorKind::AlreadyExists => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Error::Conflict)
}

impl Target<'_> {
    /// Copies every index of the bucket. `None`: one was dropped meanwhile, the catalog is another.
    async fn indexes(
        &self,
        source: &Store,
    ) -> Result<Option<(Bucket, Vec<IndexBackup>, Taken)>, Error> {
        let catalog = crate::inspect::bucket(source, self.bucket).await?;
        let catalog = catalog.ok_or(Error::NoSuchBucket)?.only_live();
        let live = catalog.live.as_ref().ok_or(Error::NoSuchBucket)?;
        let copies: Vec<_> =
            live.indexes.iter().map(|index| self.index(source, index.id)).collect();
        let copies: Option<Vec<(IndexBackup, Taken)>> = stream::iter(copies)
            .buffered(INDEXES_MAX)
            .try_collect::<Vec<_>>()
            .await?
            .into_iter()
            .collect();
        let Some(copies) = copies else { return Ok(None) };
        let mut taken = Taken { indexes: copies.len() as u64, ..Taken::default() };
        let mut indexes = Vec::with_capacity(copies.len());
        for (index, of_index) in copies {
            taken.objects += of_index.objects;
            taken.bytes += of_index.bytes;
            taken.objects_copied += of_index.objects_copied;
            taken.bytes_copied += of_index.bytes_copied;
            indexes.push(index);
        }
        Ok(Some((catalog, indexes, taken)))
    }

    /// Copies one snapshot of an index. `None`: it was dropped.
    async fn index(
        &self,
        source: &Store,
        id: IndexId,
    ) -> Result<Option<(IndexBackup, Taken)>, Error> {
        mark(self.place, self.bucket).await?;
        let there = self.there(id).await?;
        let mut last = None;
        for _ in 0..TRIES_MAX {
            let Some((manifest, slots)) = snapshot(source, id).await? else { return Ok(None) };
            // Missing twice in the same snapshot is not collection, it is damage.
            let number = manifest.number;
            match self.snapshot(source, id, manifest, slots, &there).await {
                Ok(copied) => return Ok(Some(copied)),
                Err(error) if is_missing(&error) && last != Some(number) => last = Some(number),
                Err(error) if is_missing(&error) => {
                    let path = manifest_path(&paths::index(id), number);
                    let reason = format!("it names an object that is not there: {error}");
                    return Err(corrupt(&path, 0, &reason));
                }
                Err(error) => return Err(error),
            }
        }
        Err(Error::Conflict)
    }

    /// Paths and lengths of the copies of an index that are there.
    async fn there(&self, id: IndexId) -> Result<BTreeSet<(String, u64)>, Error> {
        let listed = self.place.list_after(&layout::data(id), None).await?;
        Ok(listed.into_iter().map(|object| (object.path, object.size)).collect())
    }

    async fn snapshot(
        &self,
        source: &Store,
        id: IndexId,
        manifest: Manifest,
        slots: Vec<Slot>,
        there: &BTreeSet<(String, u64)>,
    ) -> Result<(IndexBackup, Taken), Error> {
        let path = manifest_path(&paths::index(id), manifest.number);
        let body = Body::decode(manifest.body.clone())
            .map_err(|error| corrupt(&path, error.offset as u64, error.reason))?;
        let mut wanted = Vec::new();
        for entry in body.segments {
            if let DeletedBitmap::Object(bitmap) = entry.deleted {
                wanted.push(Wanted::Bitmap(bitmap));
            }
            wanted.push(Wanted::Segment(entry.meta));
        }
        wanted.push(Wanted::Here(Name::Manifest(manifest.number), manifest.encode()));
        let slots = slots.iter().map(|slot| Wanted::Here(Name::Slot(slot.seq), slot.encode()));
        wanted.extend(slots);
        self.watch.expect(wanted.len() as u64);
        let copies: Vec<_> =
            wanted.into_iter().map(|wanted| self.object(source, id, wanted, there)).collect();
        let copied: Vec<(Object, bool)> =
            stream::iter(copies).buffered(COPIES_MAX).try_collect().await?;
        let mut taken = Taken::default();
        for (object, is_new) in &copied {
            taken.objects += 1;
            taken.bytes += object.length;
            taken.objects_copied += u64::from(*is_new);
            taken.bytes_copied += if *is_new { object.length } else { 0 };
        }
        let objects = copied.into_iter().map(|(object, _)| object).collect();
        Ok((IndexBackup { id, objects }, taken))
    }

    /// Copies an object unless it is there; says whether it did.
    async fn object(
        &self,
        source: &Store,
        id: IndexId,
        wanted: Wanted,
        there: &BTreeSet<(String, u64)>,
    ) -> Result<(Object, bool), Error> {
        let (name, length) = wanted.name();
        let (from, to) = (name.store_path(id), name.copy_path(id));
        let is_there = there.contains(&(to.clone(), length));
        let known = self.known.get(&(id, name)).filter(|known| known.length == length);
        let copied = match (known, &wanted) {
            (Some(known), _) if is_there => (*known, false),
            (_, Wanted::Here(_, parts)) => {
                let crc = parts.iter().fold(0, |crc, part| crc32c::crc32c_append(crc, part));
                if !is_there || copy::verify((self.place, &to), whole(length, crc)).await.is_err() {
                    self.place.put_parts(&to, parts.clone()).await?;
                }
                (Object { name, length, crc }, !is_there)
            }
            (_, Wanted::Segment(_) | Wanted::Bitmap(_)) => {
                // Left by a backup that was interrupted: objects appear whole or not at all.
                let found = match is_there {
                    true => copy::verify((self.place, &to), wanted.proof()).await.ok(),
                    false => None,
                };
                let crc = match found {
                    Some(crc) => crc,
                    None => copy::copy((source, &from), (self.place, &to), wanted.proof()).await?,
                };
                (Object { name, length, crc }, found.is_none())
            }
        };
        self.watch.done(&from);
        Ok(copied)
    }
}

fn whole(length: u64, crc: u32) -> Proof<'static> {
    Proof::Whole { length, crc }
}

impl Wanted {
    fn name(&self) -> (Name, u64) {
        match self {
            Self::Here(name, parts) => (*name, parts.iter().map(|part| part.len() as u64).sum()),
            Self::Segment(meta) => (Name::Segment(meta.name), meta.length),
            Self::Bitmap(bitmap) => (Name::Bitmap(bitmap.name), bitmap.length),
        }
    }

    fn proof(&self) -> Proof<'_> {
        match self {
            Self::Segment(meta) => Proof::Sections(meta),
            Self::Bitmap(bitmap) => whole(bitmap.length, bitmap.crc),
            Self::Here(..) => unreachable!("parts of the log are at hand"),
        }
    }
}

/// The newest manifest and the slots above it, as of now. `None`: the index was dropped.
async fn snapshot(source: &Store, id: IndexId) -> Result<Option<(Manifest, Vec<Slot>)>, Error> {
    let opened = Log::open(source, &paths::index(id), WriterId::random()).await?;
    let Some((mut log, opened)) = opened else { return Ok(None) };
    let (mut manifest, mut slots) = (opened.manifest, opened.slots);
    let events = match log.catch_up().await {
        Ok(events) => events,
        Err(vb_commit::CommitError::Closed) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    for event in events {
        match event {
            Event::Slot(slot) => slots.push(slot),
            Event::Reopened { manifest: newer, slots: anew, .. } => {
                (manifest, slots) = (newer, anew);
            }
        }
    }
    Ok(Some((manifest, slots)))
}
