//! Removing old backups, and copies that no backup names any more.

use std::collections::BTreeSet;

use bytes::Bytes;
use vb_commit::Store;

use super::layout::{self, Name};
use super::{identities, is_marked, label, numbers, read};
use crate::error::Error;
use crate::records::{BucketId, IndexId};

/// What a pruning removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Backups.
    pub backups: u64,
    /// Copies of objects that no backup named any more.
    pub objects: u64,
    /// Bytes of these.
    pub bytes: u64,
}

/// Keeps the newest `keep` backups of each bucket, and of identities (or of the one bucket given), and
/// removes the rest, then every copy that none of the place's backups names.
///
/// # Errors
/// [`Error::Conflict`] while a backup is being taken into the place (or one was interrupted less than
/// a day ago: take it again first); [`Error::Corrupt`] if a backup to be kept cannot be read: then
/// nothing is removed; or as the store fails.
///
/// # Panics
/// If nothing is to be kept.
pub async fn prune(
    place: &Store,
    bucket: Option<&BucketId>,
    keep: usize,
    now_ms: u64,
) -> Result<Pruned, Error> {
    assert!(keep > 0, "a pruning keeps at least one backup");
    label(place, false).await?;
    place.put(layout::PRUNE, Bytes::from_static(b"prune\n")).await?;
    let pruned = match is_marked(place, layout::RUNNING, now_ms, |path| path != layout::PRUNE).await
    {
        Ok(false) => remove(place, bucket, keep).await,
        Ok(true) => Err(Error::Conflict),
        Err(error) => Err(error),
    };
    place.delete_all(&[layout::PRUNE.to_owned()]).await?;
    pruned
}

async fn remove(place: &Store, bucket: Option<&BucketId>, keep: usize) -> Result<Pruned, Error> {
    let (mut old, mut kept) = (Vec::new(), BTreeSet::new());
    for (of, numbers) in numbers(place, None).await? {
        let pruned = bucket.is_none_or(|bucket| *bucket == of);
        let excess = if pruned { numbers.len().saturating_sub(keep) } else { 0 };
        let (goes, stays) = numbers.split_at(excess);
        old.extend(goes.iter().map(|number| layout::backup(&of, *number)));
        for number in stays {
            for index in read(place, &of, *number).await?.indexes {
                kept.extend(index.objects.iter().map(|object| (index.id, object.name)));
            }
        }
    }
    if bucket.is_none() {
        let numbers = identities::numbers(place).await?;
        let goes = &numbers[..numbers.len().saturating_sub(keep)];
        old.extend(goes.iter().map(|number| layout::identities(*number)));
    }
    place.delete_all(&old).await?;
    let mut pruned = Pruned { backups: old.len() as u64, ..Pruned::default() };
    unnamed(place, &kept, &mut pruned).await?;
    Ok(pruned)
}

/// Removes the copies that are not among `kept`.
async fn unnamed(
    place: &Store,
    kept: &BTreeSet<(IndexId, Name)>,
    pruned: &mut Pruned,
) -> Result<(), Error> {
    let named: BTreeSet<String> = kept.iter().map(|(id, name)| name.copy_path(*id)).collect();
    for folder in place.list_level(layout::DATA).await?.prefixes {
        let mut copies = place.list_after(&folder, None).await?;
        copies.retain(|copy| !named.contains(&copy.path));
        pruned.objects += copies.len() as u64;
        pruned.bytes += copies.iter().map(|copy| copy.size).sum::<u64>();
        let paths: Vec<String> = copies.into_iter().map(|copy| copy.path).collect();
        place.delete_all(&paths).await?;
    }
    Ok(())
}
