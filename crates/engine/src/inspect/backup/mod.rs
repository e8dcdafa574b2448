//! Buckets copied to another store, and back: the work behind `vectorbucket backup` and `restore`.
//!
//! A backup of a bucket is its catalog state at one moment, and of every index that lives then one
//! snapshot (a manifest and the slots above it), taken while writers go on. Objects of indexes never
//! change once they are written, so they are copied as they are, bit for bit, and a later backup
//! copies only what is new. The list of what belongs to a backup is created when all of it is there
//! and durable: a backup that is listed is whole. Interrupted at any point, the same command goes on.
//!
//! ```text
//! catalog -> per index: [open log: manifest, slots] -> copy what is not there yet -> create the list
//!    ^  dropped meanwhile    ^  collected meanwhile       |
//!    +-----------------------+----------------------------+
//! ```
//!
//! A restore gives every index a new id, puts its objects there, creates its log from the manifest's
//! body and commits the slots behind it, all through the commit protocol. The bucket and all its
//! indexes then appear in one slot of the bucket's log. Until then nothing can be seen of it.
//!
//! Who may call is kept beside the buckets, as one piece of bytes of the store of identities.

mod copy;
mod identities;
mod layout;
mod prune;
mod restore;
mod take;

use vb_commit::{Store, StoreErrorKind};

use super::Watch;
use crate::error::Error;
use crate::fetch::corrupt;
use crate::format;
use crate::options::{Random, SystemRandom};
use crate::paths;
use crate::records::BucketId;
use layout::Backup;

pub use identities::{IdentitiesInfo, identities, list_identities, prepare, put_identities};
pub use prune::{Pruned, prune};
pub(crate) use restore::unfinished;
pub use restore::{Restored, restore};
pub use take::{Taken, backup};

/// A mark of work under way counts for this long.
const MARK_AGE_MAX_MS: u64 = 24 * 3600 * 1000;

/// One backup in a place of backups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupInfo {
    /// The bucket that it is of.
    pub bucket: BucketId,
    /// Its number; backups of one bucket count from 1.
    pub number: u64,
    /// When it was taken, milliseconds since 1970.
    pub taken_ms: u64,
    /// Indexes.
    pub indexes: u64,
    /// Objects that it names.
    pub objects: u64,
    /// Bytes of these; backups share what did not change between them.
    pub bytes: u64,
}

/// Every backup of a place, or of one bucket, by bucket and number.
///
/// # Errors
/// [`Error::Corrupt`] if one is damaged, or as the store fails.
pub async fn list(place: &Store, bucket: Option<&BucketId>) -> Result<Vec<BackupInfo>, Error> {
    let mut infos = Vec::new();
    for (bucket, numbers) in numbers(place, bucket).await? {
        for number in numbers {
            let backup = read(place, &bucket, number).await?;
            let objects = || backup.indexes.iter().flat_map(|index| &index.objects);
            infos.push(BackupInfo {
                bucket: bucket.clone(),
                number,
                taken_ms: backup.taken_ms,
                indexes: backup.indexes.len() as u64,
                objects: objects().count() as u64,
                bytes: objects().map(|object| object.length).sum(),
            });
        }
    }
    Ok(infos)
}

/// Reads every byte of a backup; `None`: of the newest one. Returns its number and what is wrong,
/// as errors that name the objects.
///
/// # Errors
/// [`Error::NoSuchBucket`] if there is no such backup, or as the store fails.
pub async fn verify(
    place: &Store,
    bucket: &BucketId,
    number: Option<u64>,
    watch: &dyn Watch,
) -> Result<(u64, Vec<Error>), Error> {
    let number = chosen(place, bucket, number).await?;
    let backup = read(place, bucket, number).await?;
    let mut wrong = Vec::new();
    for index in &backup.indexes {
        watch.expect(index.objects.len() as u64);
        for object in &index.objects {
            let path = object.name.copy_path(index.id);
            let proof = copy::Proof::Whole { length: object.length, crc: object.crc };
            match copy::verify((place, &path), proof).await {
                Ok(_) => {}
                Err(error) => match copy::missing(error, &path) {
                    damaged @ Error::Corrupt { .. } => wrong.push(damaged),
                    error => return Err(error),
                },
            }
            watch.done(&path);
        }
    }
    Ok((number, wrong))
}

/// Numbers of backups by bucket.
async fn numbers(
    place: &Store,
    bucket: Option<&BucketId>,
) -> Result<Vec<(BucketId, Vec<u64>)>, Error> {
    let buckets = match bucket {
        Some(bucket) => vec![bucket.clone()],
        None => buckets(place).await?,
    };
    let mut found = Vec::new();
    for bucket in buckets {
        let listed = place.list_level(&layout::backups(&bucket)).await?.objects;
        let numbers = listed.iter().filter_map(|object| layout::number(&bucket, &object.path));
        let numbers = numbers.collect();
        found.push((bucket, numbers));
    }
    Ok(found)
}

/// Buckets that have a folder of backups.
async fn buckets(place: &Store) -> Result<Vec<BucketId>, Error> {
    let mut buckets = Vec::new();
    let name = |path: &String| paths::decode_name(path.rsplit('/').next()?);
    for folder in place.list_level(layout::BUCKETS).await?.prefixes {
        let Some(account) = name(&folder) else { continue };
        let names = place.list_level(&folder).await?.prefixes;
        let bucket = |name| BucketId { account: account.clone(), name };
        buckets.extend(names.iter().filter_map(name).map(bucket));
    }
    Ok(buckets)
}

/// The number asked for, or that of the newest backup.
async fn chosen(place: &Store, bucket: &BucketId, number: Option<u64>) -> Result<u64, Error> {
    let numbers = numbers(place, Some(bucket)).await?.pop().map(|(_, numbers)| numbers);
    let numbers = numbers.unwrap_or_default();
    let found = match number {
        Some(number) => numbers.contains(&number).then_some(number),
        None => numbers.last().copied(),
    };
    found.ok_or(Error::NoSuchBucket)
}

async fn read(place: &Store, bucket: &BucketId, number: u64) -> Result<Backup, Error> {
    let path = layout::backup(bucket, number);
    let backup = Backup::decode(&path, &place.get(&path).await?)?;
    if backup.bucket != *bucket {
        return Err(corrupt(&path, 0, "a backup of another bucket"));
    }
    Ok(backup)
}

/// The id of a place of backups; `create` labels a new one.
async fn label(place: &Store, create: bool) -> Result<u128, Error> {
    if exists(place, paths::FORMAT).await? {
        return Err(Error::Invalid("this is a store of the service, not a place for backups"));
    }
    let bytes = match place.get(layout::LABEL).await {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == StoreErrorKind::NotFound && create => {
            let label = layout::label(SystemRandom.id());
            match place.create(layout::LABEL, label).await {
                Ok(()) => {}
                Err(error) if error.kind() == StoreErrorKind::AlreadyExists => {}
                Err(error) => return Err(error.into()),
            }
            place.get(layout::LABEL).await?
        }
        Err(error) if error.kind() == StoreErrorKind::NotFound => {
            return Err(Error::Invalid("there are no backups here"));
        }
        Err(error) => return Err(error.into()),
    };
    layout::read_label(&bytes)
        .ok_or_else(|| corrupt(layout::LABEL, 0, "not a label of a place of backups"))
}

/// The id of the store that a backup is taken from.
async fn read_label_of_store(source: &Store) -> Result<u128, Error> {
    format::read(&source.get(paths::FORMAT).await?)
}

async fn exists(store: &Store, path: &str) -> Result<bool, Error> {
    match store.get(path).await {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == StoreErrorKind::NotFound => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Whether a mark of work under way (by its path, or under it) is young enough to count. A folder
/// that this process has locked has nobody else at work.
async fn is_marked(
    place: &Store,
    folder: &str,
    now_ms: u64,
    counts: impl Fn(&str) -> bool,
) -> Result<bool, Error> {
    if place.sole_writer() {
        return Ok(false);
    }
    let marks = place.list_after(folder, None).await?;
    Ok(marks.iter().any(|mark| {
        let modified = u64::try_from(mark.modified_ms).unwrap_or(0);
        counts(&mark.path) && now_ms.saturating_sub(modified) < MARK_AGE_MAX_MS
    }))
}
