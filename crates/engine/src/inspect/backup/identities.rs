//! Backups of who may call: what the store of identities hands over, kept and given back as bytes.
//!
//! One object each, numbered from 1 as the backups of a bucket are; created whole. What the bytes mean
//! is the business of the store of identities.

use bytes::Bytes;
use vb_commit::{Store, StoreErrorKind};

use super::copy::is_missing;
use super::layout::{self, Identities};
use super::{label, read_label_of_store};
use crate::error::Error;
use crate::format;
use crate::options::{Random, SystemRandom};

/// How often another backup may take the number that was free.
const TRIES_MAX: usize = 10;

/// One backup of identities in a place of backups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdentitiesInfo {
    /// Its number; they count from 1.
    pub number: u64,
    /// When it was taken, milliseconds since 1970.
    pub taken_ms: u64,
    /// Bytes of the identities.
    pub bytes: u64,
}

/// Puts a copy of a store's identities into a place of backups, which is made if it is not there.
/// Returns its number.
///
/// # Errors
/// [`Error::Invalid`] if the place is a store of the service; [`Error::Conflict`] if others put theirs
/// there all the time; or as a store fails.
pub async fn put_identities(
    source: &Store,
    place: &Store,
    content: Bytes,
    now_ms: u64,
) -> Result<u64, Error> {
    label(place, true).await?;
    let store = match read_label_of_store(source).await {
        // Who may call can be said before there is a service.
        Err(error) if is_missing(&error) => 0,
        read => read?,
    };
    let bytes = Identities { store, taken_ms: now_ms, content }.encode();
    for _ in 0..TRIES_MAX {
        let number = numbers(place).await?.last().map_or(1, |newest| newest + 1);
        match place.create(&layout::identities(number), bytes.clone()).await {
            Ok(()) => return Ok(number),
            // Another backup came first; or our own create was answered late, and the same is there
            // twice, which is as good.
            Err(error) if error.kind() == StoreErrorKind::AlreadyExists => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Error::Conflict)
}

/// The copy of this number, or the newest one; with its path, number and content. `None`: there is none.
///
/// # Errors
/// [`Error::Corrupt`] if it is damaged, or as the store fails.
pub async fn identities(
    place: &Store,
    number: Option<u64>,
) -> Result<Option<(String, IdentitiesInfo, Bytes)>, Error> {
    let there = numbers(place).await?;
    let chosen = match number {
        Some(number) => there.contains(&number).then_some(number),
        None => there.last().copied(),
    };
    let Some(number) = chosen else { return Ok(None) };
    let path = layout::identities(number);
    let read = Identities::decode(&path, &place.get(&path).await?)?;
    let bytes = read.content.len() as u64;
    let info = IdentitiesInfo { number, taken_ms: read.taken_ms, bytes };
    Ok(Some((path, info, read.content)))
}

/// Every backup of identities of a place, by number.
///
/// # Errors
/// [`Error::Corrupt`] if one is damaged, or as the store fails.
pub async fn list_identities(place: &Store) -> Result<Vec<IdentitiesInfo>, Error> {
    let mut infos = Vec::new();
    for number in numbers(place).await? {
        infos.extend(identities(place, Some(number)).await?.map(|(_, info, _)| info));
    }
    Ok(infos)
}

/// Makes sure that a store into which something is restored has its label.
///
/// # Errors
/// [`Error::Corrupt`] if the label is damaged or of another format; or as the store fails.
pub async fn prepare(store: &Store) -> Result<(), Error> {
    format::check(store, SystemRandom.id()).await.map(drop)
}

/// Numbers of the backups of identities, rising.
pub(super) async fn numbers(place: &Store) -> Result<Vec<u64>, Error> {
    let listed = place.list_level(layout::IDENTITIES).await?.objects;
    Ok(listed.iter().filter_map(|object| layout::identities_number(&object.path)).collect())
}
