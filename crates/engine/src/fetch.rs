//! Reading immutable objects: the one place through which segment and bitmap bytes come in, so that
//! a cache can stand here.

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use vb_commit::{Store, StoreErrorKind};
use vb_search::StoredSection;

use crate::error::Error;
use crate::index::body::{BitmapObject, SectionEntry};
use crate::pool::Pool;

/// Ranged reads of one segment that are under way at the same time.
const READS_MAX: usize = 8;

/// Every section of a segment object, in table order, each checked against its CRC32C.
pub(crate) async fn sections(
    store: &Store,
    pool: &Pool,
    path: &str,
    table: &[SectionEntry],
) -> Result<Vec<StoredSection>, Error> {
    let reads: Vec<_> = table.iter().map(|entry| section(store, pool, path, *entry)).collect();
    stream::iter(reads).buffered(READS_MAX).try_collect().await
}

async fn section(
    store: &Store,
    pool: &Pool,
    path: &str,
    entry: SectionEntry,
) -> Result<StoredSection, Error> {
    let bytes = range(store, path, entry.offset, entry.length).await?;
    check(pool, path, entry.offset, bytes.clone(), entry.crc).await?;
    Ok((entry.kind, entry.field, bytes))
}

/// A deletion bitmap object.
pub(crate) async fn bitmap(
    store: &Store,
    pool: &Pool,
    path: &str,
    object: &BitmapObject,
) -> Result<Bytes, Error> {
    let bytes = range(store, path, 0, object.length).await?;
    check(pool, path, 0, bytes.clone(), object.crc).await?;
    Ok(bytes)
}

async fn range(store: &Store, path: &str, offset: u64, length: u64) -> Result<Bytes, Error> {
    if length == 0 {
        return Ok(Bytes::new());
    }
    let bytes = match store.get_range(path, offset..offset + length).await {
        // Object stores refuse a range beyond the end, and so tell that the object was cut.
        Err(error) if error.kind() == StoreErrorKind::Invalid => {
            return Err(corrupt(path, offset, "shorter than its manifest says"));
        }
        read => read?,
    };
    if bytes.len() as u64 != length {
        return Err(corrupt(path, offset + bytes.len() as u64, "shorter than its manifest says"));
    }
    Ok(bytes)
}

/// Small sections are not worth a hand-over.
const CHECK_INLINE_MAX: usize = 16 << 10;

async fn check(pool: &Pool, path: &str, offset: u64, bytes: Bytes, crc: u32) -> Result<(), Error> {
    let actual = if bytes.len() <= CHECK_INLINE_MAX {
        vb_search::checksum(&bytes)
    } else {
        pool.run(move || vb_search::checksum(&bytes)).await
    };
    if actual == crc { Ok(()) } else { Err(corrupt(path, offset, "checksum mismatch")) }
}

pub(crate) fn corrupt(path: &str, offset: u64, reason: &str) -> Error {
    Error::Corrupt { path: path.to_owned(), offset, reason: reason.to_owned() }
}
