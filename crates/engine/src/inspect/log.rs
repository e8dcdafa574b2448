//! One log as it lies in the store: what is listed, the newest manifest, the slots from its floor.
//!
//! Unlike [`vb_commit::Log`] it does not stop at the first object that is damaged or missing: that is
//! what whoever looks wants to know. It writes nothing and repairs nothing.

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use vb_commit::{Manifest, ObjectInfo, Slot, Store, StoreErrorKind};

use crate::error::Error;

/// Slots read at the same time: each is up to 32 MB.
const READS_MAX: usize = 4;

/// The objects under a log's prefix.
#[derive(Debug, Default)]
pub(crate) struct Listed {
    /// Slots by number, ascending.
    pub(crate) slots: Vec<(u64, ObjectInfo)>,
    /// Manifests by number, ascending.
    pub(crate) manifests: Vec<(u64, ObjectInfo)>,
    /// All others, by path.
    pub(crate) others: Vec<ObjectInfo>,
}

/// What one object should have been.
#[derive(Debug)]
pub(crate) enum Read<T> {
    Good(T),
    /// Gone between the listing and the read.
    Missing,
    /// The object's bytes do not decode; why.
    Damaged(String),
}

impl Listed {
    pub(crate) async fn read(store: &Store, prefix: &str) -> Result<Self, Error> {
        let mut listed = Self::default();
        for object in store.list_after(prefix, None).await? {
            let rest = object.path.strip_prefix(prefix).unwrap_or_default();
            match (number(rest, "/log/"), number(rest, "/manifest/")) {
                (Some(slot), _) => listed.slots.push((slot, object)),
                (_, Some(manifest)) => listed.manifests.push((manifest, object)),
                (None, None) => listed.others.push(object),
            }
        }
        Ok(listed)
    }

    /// The newest manifest and its number.
    pub(crate) fn newest(&self) -> Option<u64> {
        self.manifests.last().map(|(number, _)| *number)
    }

    /// The highest slot.
    pub(crate) fn highest(&self) -> Option<u64> {
        self.slots.last().map(|(number, _)| *number)
    }

    /// The slots that the manifest has not folded.
    pub(crate) fn tail(&self, floor: u64) -> &[(u64, ObjectInfo)] {
        &self.slots[self.slots.partition_point(|(number, _)| *number < floor)..]
    }

    /// Numbers that must be there and are not: between the floor and the highest slot, and the
    /// highest slot itself, which is never deleted. As the first and last of each gap.
    pub(crate) fn gaps(&self, floor: u64) -> Vec<(u64, u64)> {
        let mut gaps = Vec::new();
        let mut next = floor;
        for (number, _) in self.tail(floor) {
            if *number > next {
                gaps.push((next, number - 1));
            }
            next = number + 1;
        }
        let folded = floor.saturating_sub(1);
        if folded > 0 && self.highest().is_none_or(|highest| highest < folded) {
            gaps.push((folded, folded));
        }
        gaps
    }

    /// When anything under the prefix was written last, milliseconds since 1970.
    pub(crate) fn modified_ms(&self) -> i64 {
        let numbered = self.slots.iter().chain(&self.manifests).map(|(_, object)| object);
        numbered.chain(&self.others).map(|object| object.modified_ms).max().unwrap_or(0)
    }
}

fn number(rest: &str, series: &str) -> Option<u64> {
    let digits = rest.strip_prefix(series)?;
    let fits = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    if fits { digits.parse().ok() } else { None }
}

/// Path of a manifest.
pub(crate) fn manifest_path(prefix: &str, number: u64) -> String {
    format!("{prefix}/manifest/{number:020}")
}

/// Path of a slot.
pub(crate) fn slot_path(prefix: &str, number: u64) -> String {
    format!("{prefix}/log/{number:020}")
}

/// Reads a manifest.
///
/// # Errors
/// As the store fails; what is wrong with the object itself is no error.
pub(crate) async fn manifest(
    store: &Store,
    prefix: &str,
    number: u64,
) -> Result<Read<Manifest>, Error> {
    let bytes = get(store, &manifest_path(prefix, number)).await?;
    Ok(decoded(bytes, Manifest::decode, |manifest| manifest.number == number))
}

/// Reads the slots of these numbers, in order, and hands each to `take`.
///
/// # Errors
/// As the store fails.
pub(crate) async fn slots(
    store: &Store,
    prefix: &str,
    numbers: impl Iterator<Item = u64>,
    mut take: impl FnMut(u64, Read<Slot>),
) -> Result<(), Error> {
    let reads: Vec<_> = numbers.map(|number| slot(store, prefix, number)).collect();
    let mut reads = stream::iter(reads).buffered(READS_MAX);
    while let Some(read) = reads.next().await {
        let (number, read) = read?;
        take(number, read);
    }
    Ok(())
}

async fn slot(store: &Store, prefix: &str, number: u64) -> Result<(u64, Read<Slot>), Error> {
    let bytes = get(store, &slot_path(prefix, number)).await?;
    Ok((number, decoded(bytes, Slot::decode, |slot| slot.seq == number)))
}

fn decoded<T>(
    bytes: Option<Bytes>,
    decode: impl Fn(Bytes) -> Result<T, vb_commit::FormatError>,
    is_right: impl Fn(&T) -> bool,
) -> Read<T> {
    let Some(bytes) = bytes else { return Read::Missing };
    match decode(bytes) {
        Ok(value) if is_right(&value) => Read::Good(value),
        Ok(_) => Read::Damaged("the number inside is not that of the name".to_owned()),
        Err(error) => Read::Damaged(error.to_string()),
    }
}

/// An object's bytes; `None` if there is no such object.
pub(crate) async fn get(store: &Store, path: &str) -> Result<Option<Bytes>, Error> {
    match store.get(path).await {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == StoreErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(slots: &[u64]) -> Listed {
        let object = |path| ObjectInfo { path, size: 1, modified_ms: 0 };
        let slots = slots.iter().map(|number| (*number, object(slot_path("p", *number))));
        Listed { slots: slots.collect(), ..Listed::default() }
    }

    #[test]
    fn gaps_are_what_must_be_there() {
        let check = |slots: &[u64], floor: u64, expected: &[(u64, u64)]| {
            assert_eq!(listed(slots).gaps(floor), expected, "{slots:?} from {floor}");
        };
        check(&[], 1, &[]);
        check(&[1, 2, 3], 1, &[]);
        check(&[2, 3], 1, &[(1, 1)]);
        check(&[1, 5], 1, &[(2, 4)]);
        check(&[9], 10, &[]);
        check(&[3, 9], 10, &[]);
        check(&[], 10, &[(9, 9)]);
        check(&[8], 10, &[(9, 9)]);
        check(&[9, 10, 12], 10, &[(11, 11)]);
        check(&[10], 10, &[]);
    }

    #[test]
    fn only_numbered_objects_belong_to_a_series() {
        assert_eq!(number("/log/00000000000000000007", "/log/"), Some(7));
        for other in ["/log/7", "/log/0000000000000000000x", "/manifest/00000000000000000007"] {
            assert_eq!(number(other, "/log/"), None, "{other}");
        }
    }
}
