//! Copying objects between stores, checked on the way.

use std::ops::Range;

use bytes::Bytes;
use vb_commit::{Store, StoreErrorKind};

use super::layout::Object;
use crate::error::Error;
use crate::fetch::corrupt;
use crate::index::body::SegmentMeta;
use crate::inspect::checksum::Checksums;

/// Bytes that are read at a time.
const WINDOW: u64 = 8 << 20;

/// Where to find the checksums of an object before it has one of its own.
#[derive(Clone, Copy)]
pub(super) enum Proof<'a> {
    /// A segment: those of its sections.
    Sections(&'a SegmentMeta),
    /// One of the whole object.
    Whole { length: u64, crc: u32 },
}

impl Proof<'_> {
    fn length(&self) -> u64 {
        match self {
            Self::Sections(meta) => meta.length,
            Self::Whole { length, .. } => *length,
        }
    }

    fn checksums(&self) -> Checksums<()> {
        match self {
            Self::Sections(meta) => {
                Checksums::new(meta.sections.iter().map(|section| {
                    (section.offset..section.offset + section.length, section.crc, ())
                }))
            }
            Self::Whole { length, crc } => Checksums::new([(0..*length, *crc, ())]),
        }
    }
}

/// Copies one object; returns the CRC32C of the whole. The copy is there only if it is right.
///
/// # Errors
/// [`Error::Corrupt`] if the source differs from its checksums; a `NotFound` of the source comes as
/// [`Error::Storage`].
pub(super) async fn copy(
    from: (&Store, &str),
    to: (&Store, &str),
    proof: Proof<'_>,
) -> Result<u32, Error> {
    let mut writer = to.0.writer(to.1);
    match pass(from, proof, Some(&mut writer)).await {
        Ok(crc) => {
            writer.finish().await?;
            Ok(crc)
        }
        Err(error) => {
            writer.abort().await;
            Err(error)
        }
    }
}

/// Reads one object through its checksums; returns the CRC32C of the whole.
///
/// # Errors
/// As [`copy`].
pub(super) async fn verify(from: (&Store, &str), proof: Proof<'_>) -> Result<u32, Error> {
    pass(from, proof, None).await
}

async fn pass(
    (store, path): (&Store, &str),
    proof: Proof<'_>,
    mut writer: Option<&mut vb_commit::ObjectWriter>,
) -> Result<u32, Error> {
    let (length, mut checksums) = (proof.length(), proof.checksums());
    let (mut offset, mut crc) = (0, 0);
    while offset < length {
        let window = offset..(offset + WINDOW).min(length);
        let bytes = read(store, path, window.clone()).await?;
        if let Some(differs) = checksums.feed(offset, &bytes).first() {
            return Err(corrupt(path, differs.range.start, "checksum mismatch"));
        }
        crc = crc32c::crc32c_append(crc, &bytes);
        if let Some(writer) = writer.as_deref_mut() {
            writer.write(bytes).await?;
        }
        offset = window.end;
    }
    match checksums.left().first() {
        None => Ok(crc),
        Some(differs) => Err(corrupt(path, differs.range.start, "a section beyond its object")),
    }
}

async fn read(store: &Store, path: &str, range: Range<u64>) -> Result<Bytes, Error> {
    match store.get_range(path, range.clone()).await {
        // Object stores refuse a range beyond the end, and so tell that the object was cut.
        Err(error) if error.kind() == StoreErrorKind::Invalid => {
            Err(corrupt(path, range.start, "shorter than its length"))
        }
        read => Ok(read?),
    }
}

/// Whether an error says that there is no such object.
pub(super) fn is_missing(error: &Error) -> bool {
    matches!(error, Error::Storage(source) if source.kind() == StoreErrorKind::NotFound)
}

/// The bytes of a small copied object, checked.
///
/// # Errors
/// [`Error::Corrupt`] if it is missing or differs.
pub(super) async fn read_copy(store: &Store, path: &str, object: &Object) -> Result<Bytes, Error> {
    let bytes = store.get(path).await.map_err(|error| missing(error.into(), path))?;
    let same = bytes.len() as u64 == object.length && vb_search::checksum(&bytes) == object.crc;
    if same { Ok(bytes) } else { Err(corrupt(path, 0, "checksum mismatch")) }
}

/// What a backup names is there, or the backup is damaged.
pub(super) fn missing(error: Error, path: &str) -> Error {
    if is_missing(&error) { corrupt(path, 0, "named by a backup but missing") } else { error }
}
