//! Bringing a bucket back from a backup.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use vb_commit::{CommitError, CreateError, Log, Manifest, Slot, Store, StoreErrorKind, WriterId};

use super::copy::{self, Proof};
use super::layout::{self, Backup, IndexBackup, Journal, Name, Object};
use super::{Watch, chosen, label, read};
use crate::catalog::command::{Command, CreateIndex};
use crate::catalog::state::{Bucket, LiveBucket};
use crate::error::Error;
use crate::fetch::corrupt;
use crate::format;
use crate::options::{Random, SystemRandom};
use crate::paths;
use crate::records::{BucketChange, BucketId, BucketSettings, IndexId};

/// Indexes restored at the same time.
const INDEXES_MAX: usize = 4;
/// Objects of one index copied at the same time.
const COPIES_MAX: usize = 4;

/// A bucket that was restored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// The backup's number.
    pub number: u64,
    /// Indexes.
    pub indexes: u64,
    /// Objects of the backup.
    pub objects: u64,
    /// Bytes of these.
    pub bytes: u64,
}

/// Brings a bucket back from a backup (`None`: its newest one) into a store, as the bucket `to`.
///
/// May run beside a service on a shared store. Nothing of the bucket can be seen before all of it is
/// there. Interrupted, the same call goes on where it was.
///
/// # Errors
/// [`Error::NoSuchBucket`] if there is no such backup; [`Error::BucketExists`] if `to` exists in the
/// store; [`Error::Conflict`] if the restore of another backup to `to` is unfinished there;
/// [`Error::Corrupt`] if the backup is damaged; or as a store fails.
pub async fn restore(
    place: &Store,
    bucket: &BucketId,
    number: Option<u64>,
    store: &Store,
    to: &BucketId,
    watch: &dyn Watch,
) -> Result<Restored, Error> {
    let place_id = label(place, false).await?;
    let number = chosen(place, bucket, number).await?;
    let backup = read(place, bucket, number).await?;
    format::check(store, SystemRandom.id()).await?;
    let path = layout::journal(to);
    let begun = begun(store, &path).await?;
    if is_there(store, to).await? {
        return match begun {
            // All was done but the journal's removal, or somebody else made a bucket of this name.
            Some(journal) => finish_found(store, to, &path, &backup, number, &journal).await,
            None => Err(Error::BucketExists),
        };
    }
    let journal = match begun {
        Some(journal) => journal,
        None => begin(store, &path, place_id, &backup, number).await?,
    };
    if (journal.place, &journal.bucket, journal.number) != (place_id, bucket, number) {
        return Err(Error::Conflict);
    }
    let ids: BTreeMap<IndexId, IndexId> = journal.ids.iter().copied().collect();
    if !backup.indexes.iter().all(|index| ids.contains_key(&index.id)) {
        return Err(corrupt(&path, 0, "the journal names other indexes than the backup"));
    }
    let copies: Vec<_> =
        backup.indexes.iter().map(|from| index(place, store, from, ids[&from.id], watch)).collect();
    stream::iter(copies).buffer_unordered(INDEXES_MAX).try_collect::<()>().await?;
    let live = backup.catalog.live.as_ref().ok_or(Error::NoSuchBucket)?;
    publish(store, to, live, &ids).await?;
    store.delete_all(&[path]).await?;
    Ok(summary(&backup, number))
}

fn summary(backup: &Backup, number: u64) -> Restored {
    let objects = || backup.indexes.iter().flat_map(|index| &index.objects);
    Restored {
        number,
        indexes: backup.indexes.len() as u64,
        objects: objects().count() as u64,
        bytes: objects().map(|object| object.length).sum(),
    }
}

/// Ids of indexes that unfinished restores are filling, with the journals' paths.
pub(crate) async fn unfinished(store: &Store) -> Result<Vec<(String, Vec<IndexId>)>, Error> {
    let mut found = Vec::new();
    for object in store.list_after(paths::RESTORE, None).await? {
        if let Some(journal) = begun(store, &object.path).await? {
            let ids = journal.ids.iter().map(|(_, new)| *new).collect();
            found.push((object.path, ids));
        }
    }
    Ok(found)
}

async fn begun(store: &Store, path: &str) -> Result<Option<Journal>, Error> {
    match store.get(path).await {
        Ok(bytes) => Journal::decode(path, &bytes).map(Some),
        Err(error) if error.kind() == StoreErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Chooses new ids and notes them, so that an interrupted restore goes on with the same.
async fn begin(
    store: &Store,
    path: &str,
    place: u128,
    backup: &Backup,
    number: u64,
) -> Result<Journal, Error> {
    let ids = backup.indexes.iter().map(|index| (index.id, IndexId(SystemRandom.id())));
    let journal = Journal { place, bucket: backup.bucket.clone(), number, ids: ids.collect() };
    match store.create(path, journal.encode()).await {
        Ok(()) => Ok(journal),
        // Another restore began at this moment; or it is our own, answered late: what counts is there.
        Err(error) if error.kind() == StoreErrorKind::AlreadyExists => {
            begun(store, path).await?.ok_or(Error::Conflict)
        }
        Err(error) => Err(error.into()),
    }
}

async fn is_there(store: &Store, to: &BucketId) -> Result<bool, Error> {
    let bucket = crate::inspect::bucket(store, to).await?;
    Ok(bucket.is_some_and(|bucket| bucket.live.is_some()))
}

/// A restore whose bucket exists is finished if the bucket has its indexes.
async fn finish_found(
    store: &Store,
    to: &BucketId,
    path: &str,
    backup: &Backup,
    number: u64,
    journal: &Journal,
) -> Result<Restored, Error> {
    let bucket = crate::inspect::bucket(store, to).await?.unwrap_or_default();
    let ours = journal.number == number
        && journal.ids.iter().all(|(_, new)| bucket.index_of(*new).is_some());
    if !ours {
        return Err(Error::BucketExists);
    }
    store.delete_all(&[path.to_owned()]).await?;
    Ok(summary(backup, number))
}

/// Fills one index: its objects, its log's first manifest, then the slots, each as one commit.
async fn index(
    place: &Store,
    store: &Store,
    from: &IndexBackup,
    to: IndexId,
    watch: &dyn Watch,
) -> Result<(), Error> {
    watch.expect(from.objects.len() as u64);
    let there: BTreeMap<String, u64> = store
        .list_after(&paths::index(to), None)
        .await?
        .into_iter()
        .map(|object| (object.path, object.size))
        .collect();
    let is_bulk = |object: &&Object| matches!(object.name, Name::Segment(_) | Name::Bitmap(_));
    let copies: Vec<_> = from
        .objects
        .iter()
        .filter(is_bulk)
        .map(|object| bulk(place, store, from.id, to, *object, &there, watch))
        .collect();
    stream::iter(copies).buffer_unordered(COPIES_MAX).try_collect::<()>().await?;
    let mut log = log(place, store, from, to).await?;
    let slots = from.objects.iter().filter(|object| matches!(object.name, Name::Slot(_)));
    // Slots of the new log count from 1, one for each of the old.
    for (seq, object) in (1..).zip(slots) {
        if seq > log.tip() {
            commit(place, &mut log, from.id, object).await?;
        }
        watch.done(&object.name.copy_path(from.id));
    }
    watch.done(&paths::index(to));
    Ok(())
}

/// Copies a segment or bitmap; those are written whole or not at all.
async fn bulk(
    place: &Store,
    store: &Store,
    old: IndexId,
    new: IndexId,
    object: Object,
    there: &BTreeMap<String, u64>,
    watch: &dyn Watch,
) -> Result<(), Error> {
    let (from, to) = (object.name.copy_path(old), object.name.store_path(new));
    if there.get(&to) != Some(&object.length) {
        let proof = Proof::Whole { length: object.length, crc: object.crc };
        let copied = copy::copy((place, &from), (store, &to), proof).await;
        copied.map_err(|error| copy::missing(error, &from))?;
    }
    watch.done(&from);
    Ok(())
}

/// The log of the new index, created from the backup's manifest unless it is there.
async fn log(place: &Store, store: &Store, from: &IndexBackup, to: IndexId) -> Result<Log, Error> {
    let (prefix, writer) = (paths::index(to), WriterId::random());
    if let Some((mut log, _)) = Log::open(store, &prefix, writer).await? {
        log.catch_up().await?;
        return Ok(log);
    }
    let is_manifest = |object: &&Object| matches!(object.name, Name::Manifest(_));
    let object = from.objects.iter().find(is_manifest);
    let object = object.ok_or_else(|| corrupt(&layout::data(from.id), 0, "no manifest"))?;
    let path = object.name.copy_path(from.id);
    let bytes = copy::read_copy(place, &path, object).await?;
    let manifest =
        Manifest::decode(bytes).map_err(|error| corrupt(&path, 0, &error.to_string()))?;
    match Log::create(store, &prefix, writer, manifest.body).await {
        Ok(log) => Ok(log),
        Err(CreateError::AlreadyExists) => Err(Error::Conflict),
        Err(CreateError::Unknown(_)) => Err(Error::OutcomeUnknown),
        Err(CreateError::Store(error)) => Err(error.into()),
    }
}

async fn commit(place: &Store, log: &mut Log, old: IndexId, object: &Object) -> Result<(), Error> {
    let path = object.name.copy_path(old);
    let bytes = copy::read_copy(place, &path, object).await?;
    let slot = Slot::decode(bytes).map_err(|error| corrupt(&path, 0, &error.to_string()))?;
    let payloads: Vec<Bytes> = slot.batches.into_iter().map(|(_, payload)| payload).collect();
    log.commit(payloads).await?;
    Ok(())
}

/// Makes the bucket and all its indexes exist, in one slot of its log.
async fn publish(
    store: &Store,
    to: &BucketId,
    live: &LiveBucket,
    ids: &BTreeMap<IndexId, IndexId>,
) -> Result<(), Error> {
    let (prefix, writer) = (paths::bucket(to), WriterId::random());
    let mut log = match Log::open(store, &prefix, writer).await? {
        Some((log, _)) => log,
        None => match Log::create(store, &prefix, writer, Bucket::default().encode()).await {
            Ok(log) => log,
            Err(CreateError::AlreadyExists) => return Err(Error::Conflict),
            Err(CreateError::Unknown(_)) => return Err(Error::OutcomeUnknown),
            Err(CreateError::Store(error)) => return Err(error.into()),
        },
    };
    let group = commands(live, ids).iter().map(Command::encode).collect();
    match log.commit(group).await {
        Ok(_) => {}
        Err(CommitError::Closed) => return Err(Error::Conflict),
        Err(error) => return Err(error.into()),
    }
    // Whoever created a bucket of this name at the same moment has it now, with these indexes in it.
    let bucket = crate::inspect::bucket(store, to).await?.unwrap_or_default();
    let all = ids.values().all(|id| bucket.index_of(*id).is_some());
    if all { Ok(()) } else { Err(Error::Conflict) }
}

fn commands(live: &LiveBucket, ids: &BTreeMap<IndexId, IndexId>) -> Vec<Command> {
    let settings =
        BucketSettings { resource_group: live.resource_group.clone(), tags: live.tags.clone() };
    let mut commands = vec![Command::CreateBucket { created_ms: live.created_ms, settings }];
    let changes = [
        live.policy.clone().map(|policy| BucketChange::Policy(Some(policy))),
        live.logging.clone().map(|target| BucketChange::Logging(Some(target))),
    ];
    commands.extend(changes.into_iter().flatten().map(Command::Configure));
    commands.extend(live.indexes.iter().map(|index| {
        Command::CreateIndex(CreateIndex {
            name: index.name.clone(),
            id: ids[&index.id],
            created_ms: index.created_ms,
            indexes_max: u32::MAX,
            settings: Arc::clone(&index.settings),
        })
    }));
    commands
}
