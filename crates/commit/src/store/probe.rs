//! Tries out, on real objects, what the commit protocol needs of a store.

use bytes::Bytes;
use futures_util::future::join_all;

use super::Store;
use crate::error::{StoreError, StoreErrorKind};
use crate::slot::WriterId;

const FOLDER: &str = "probe";

/// How many creates race for one name.
const RACERS: u8 = 8;

pub(super) async fn probe(store: &Store) -> Result<(), StoreError> {
    let stem = format!("{FOLDER}/{:032x}", WriterId::random().0);
    let names = [format!("{stem}-first"), format!("{stem}-race")];
    let result = probe_names(store, &names).await;
    if result.as_ref().is_err_and(StoreError::is_not_executed) {
        // Refused or out of reach: there is nothing to remove, or no way to.
        return result;
    }
    let cleared = store.delete_all(&names).await;
    result.and(cleared)
}

async fn probe_names(store: &Store, [first, second]: &[String; 2]) -> Result<(), StoreError> {
    store.create(first, Bytes::from_static(b"0123456789")).await?;
    require(is_listed(store, first).await?, first, "a list shows a new object")?;
    let again = store.create(first, Bytes::from_static(b"again")).await;
    let refused = again.is_err_and(|error| error.kind() == StoreErrorKind::AlreadyExists);
    require(refused, first, "a create is refused if the name is taken")?;
    let middle = store.get_range(first, 3..7).await?;
    require(middle == b"3456"[..], first, "a ranged read returns the first object's bytes")?;
    race(store, second).await?;
    store.delete(first).await?;
    require(!is_listed(store, first).await?, first, "a list no longer shows a deleted object")?;
    let read = store.get(first).await;
    let gone = read.is_err_and(|error| error.kind() == StoreErrorKind::NotFound);
    require(gone, first, "a deleted object is not found")
}

async fn is_listed(store: &Store, path: &str) -> Result<bool, StoreError> {
    let listed = store.list_after(FOLDER, None).await?;
    Ok(listed.iter().any(|object| object.path == path))
}

async fn race(store: &Store, path: &str) -> Result<(), StoreError> {
    let racers = (0..RACERS).map(|racer| store.create(path, Bytes::from(vec![racer])));
    let mut winners = Vec::new();
    for (racer, result) in (0..RACERS).zip(join_all(racers).await) {
        match result {
            Ok(()) => winners.push(racer),
            Err(error) if error.kind() == StoreErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    require(winners.len() == 1, path, "of several creates of one name exactly one succeeds")?;
    let read = store.get(path).await?;
    require(read[..] == winners[..], path, "the object is that of the create that succeeded")
}

fn require(kept: bool, path: &str, promise: &'static str) -> Result<(), StoreError> {
    match kept {
        true => Ok(()),
        false => Err(StoreError::new(StoreErrorKind::Corrupt, path)
            .with_source(format!("the store does not keep its promise that {promise}"))),
    }
}
