//! What lies in a place of backups, byte by byte.
//!
//! ```text
//! backup.json                        label of the place
//! bucket/{account}/{bucket}/{n}      one backup of a bucket, created when all it names is there
//! identity/{n}                       one backup of who may call
//! data/{id}/manifest|log/{n}         copies of objects of index {id}, bit for bit
//! data/{id}/segment|bitmap/{name}
//! running/{account}/{bucket}         a backup under way
//! running/prune                      a pruning under way
//! ```
//!
//! A backup, and (in a store) the journal of a restore under way, are sealed blocks:
//!
//! ```text
//! magic 8 bytes | version u32 = 1 | CRC32C u32 of all that follows
//!
//! "vbbackup"    store id u128 | taken_ms u64 | account block | bucket block
//!               catalog: block, a catalog manifest's body (docs/format.md)
//!               list of index: id u128 | list of object: tag u8, name u128, length u64, crc32c u32
//!                              tags 0 manifest, 1 slot, 2 segment, 3 bitmap
//! "vbidents"    store id u128 | taken_ms u64 | body of an identity manifest block
//! "vbrestor"    backup place id u128 | account block | bucket block | number u64
//!               list of (old id u128, new id u128)
//! ```

use bytes::Bytes;

use crate::catalog::state::Bucket;
use crate::codec::{DecodeError, Reader, Write};
use crate::error::Error;
use crate::fetch::corrupt;
use crate::paths;
use crate::records::{BucketId, IndexId};

pub(super) const LABEL: &str = "backup.json";
pub(super) const RUNNING: &str = "running";
pub(super) const PRUNE: &str = "running/prune";
pub(super) const DATA: &str = "data";
pub(super) const BUCKETS: &str = "bucket";
pub(super) const IDENTITIES: &str = "identity";

const VERSION: u32 = 1;
const HEAD_BYTES: usize = 16;
const BACKUP: &[u8; 8] = b"vbbackup";
const RESTORE: &[u8; 8] = b"vbrestor";
const WHO: &[u8; 8] = b"vbidents";

/// One backup of a bucket.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Backup {
    /// The store that it was taken from.
    pub(super) store: u128,
    pub(super) taken_ms: u64,
    pub(super) bucket: BucketId,
    pub(super) catalog: Bucket,
    pub(super) indexes: Vec<IndexBackup>,
}

/// The objects of one index: a manifest, the slots above it, and what the manifest names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct IndexBackup {
    pub(super) id: IndexId,
    pub(super) objects: Vec<Object>,
}

/// One copied object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Object {
    pub(super) name: Name,
    pub(super) length: u64,
    pub(super) crc: u32,
}

/// An object of an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Name {
    Manifest(u64),
    Slot(u64),
    Segment(u128),
    Bitmap(u128),
}

impl Name {
    /// The object's path under the prefix of its index.
    fn path(self) -> String {
        match self {
            Self::Manifest(number) => format!("manifest/{number:020}"),
            Self::Slot(number) => format!("log/{number:020}"),
            Self::Segment(name) => format!("segment/{name:032x}"),
            Self::Bitmap(name) => format!("bitmap/{name:032x}"),
        }
    }

    /// Path of the copy in a place of backups.
    pub(super) fn copy_path(self, id: IndexId) -> String {
        format!("{}/{}", data(id), self.path())
    }

    /// Path in a store.
    pub(super) fn store_path(self, id: IndexId) -> String {
        format!("{}/{}", paths::index(id), self.path())
    }

    fn encode(self, out: &mut Vec<u8>) {
        let (tag, name) = match self {
            Self::Manifest(number) => (0, u128::from(number)),
            Self::Slot(number) => (1, u128::from(number)),
            Self::Segment(name) => (2, name),
            Self::Bitmap(name) => (3, name),
        };
        out.put_u8(tag);
        out.put_u128(name);
    }

    fn decode(reader: &mut Reader) -> Result<Self, DecodeError> {
        let (tag, name) = (reader.u8()?, reader.u128()?);
        let number = u64::try_from(name).map_err(|_| reader.error("a number beyond 64 bits"));
        Ok(match tag {
            0 => Self::Manifest(number?),
            1 => Self::Slot(number?),
            2 => Self::Segment(name),
            3 => Self::Bitmap(name),
            _ => return Err(reader.error("unknown kind of object")),
        })
    }
}

/// Folder of an index's copies.
pub(super) fn data(id: IndexId) -> String {
    format!("{DATA}/{id}")
}

/// Folder of a bucket's backups.
pub(super) fn backups(bucket: &BucketId) -> String {
    format!("{BUCKETS}/{}", bucket_part(bucket))
}

/// Path of one backup.
pub(super) fn backup(bucket: &BucketId, number: u64) -> String {
    format!("{}/{number:020}", backups(bucket))
}

/// Reads [`backup`].
pub(super) fn number(bucket: &BucketId, path: &str) -> Option<u64> {
    digits(path.strip_prefix(&backups(bucket))?)
}

/// Path of one backup of identities.
pub(super) fn identities(number: u64) -> String {
    format!("{IDENTITIES}/{number:020}")
}

/// Reads [`identities`].
pub(super) fn identities_number(path: &str) -> Option<u64> {
    digits(path.strip_prefix(IDENTITIES)?)
}

fn digits(end: &str) -> Option<u64> {
    let digits = end.strip_prefix('/')?;
    let fits = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    if fits { digits.parse().ok() } else { None }
}

/// The mark of a backup under way.
pub(super) fn running(bucket: &BucketId) -> String {
    format!("{RUNNING}/{}", bucket_part(bucket))
}

/// In a store: the journal of a restore under way.
pub(super) fn journal(bucket: &BucketId) -> String {
    format!("{}/{}", paths::RESTORE, bucket_part(bucket))
}

fn bucket_part(bucket: &BucketId) -> String {
    let account = paths::encode_name(&bucket.account);
    format!("{account}/{}", paths::encode_name(&bucket.name))
}

impl Backup {
    pub(super) fn encode(&self) -> Bytes {
        let mut out = vec![0; HEAD_BYTES];
        out.put_u128(self.store);
        out.put_u64(self.taken_ms);
        out.put_block(&self.bucket.account);
        out.put_block(&self.bucket.name);
        out.put_block(&self.catalog.encode());
        out.put_list(&self.indexes, |out, index| {
            out.put_u128(index.id.0);
            out.put_list(&index.objects, |out, object| {
                object.name.encode(out);
                out.put_u64(object.length);
                out.put_u32(object.crc);
            });
        });
        seal(BACKUP, out)
    }

    /// # Errors
    /// [`Error::Corrupt`] about `path`.
    pub(super) fn decode(path: &str, bytes: &Bytes) -> Result<Self, Error> {
        let read = |reader: &mut Reader| {
            Ok(Self {
                store: reader.u128()?,
                taken_ms: reader.u64()?,
                bucket: BucketId::new(reader.block()?, reader.block()?),
                catalog: Bucket::decode(reader.block()?)?,
                indexes: reader.list(20, read_index)?,
            })
        };
        let backup = unseal(BACKUP, path, bytes, read)?;
        let named: Vec<IndexId> = backup.indexes.iter().map(|index| index.id).collect();
        let live = backup.catalog.live.iter().flat_map(|live| live.indexes.iter());
        if backup.catalog.live.is_none() || live.map(|index| index.id).ne(named) {
            return Err(corrupt(path, 0, "the indexes are not those of the catalog"));
        }
        Ok(backup)
    }
}

fn read_index(reader: &mut Reader) -> Result<IndexBackup, DecodeError> {
    let id = IndexId(reader.u128()?);
    let objects = reader.list(29, |reader| {
        Ok(Object { name: Name::decode(reader)?, length: reader.u64()?, crc: reader.u32()? })
    })?;
    Ok(IndexBackup { id, objects })
}

/// One backup of who may call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identities {
    /// The store that it was taken from.
    pub(super) store: u128,
    pub(super) taken_ms: u64,
    /// What the store of identities handed over.
    pub(super) content: Bytes,
}

impl Identities {
    pub(super) fn encode(&self) -> Bytes {
        let mut out = vec![0; HEAD_BYTES];
        out.put_u128(self.store);
        out.put_u64(self.taken_ms);
        out.put_block(&self.content);
        seal(WHO, out)
    }

    /// # Errors
    /// [`Error::Corrupt`] about `path`.
    pub(super) fn decode(path: &str, bytes: &Bytes) -> Result<Self, Error> {
        unseal(WHO, path, bytes, |reader| {
            Ok(Self {
                store: reader.u128()?,
                taken_ms: reader.u64()?,
                content: Bytes::copy_from_slice(&reader.block()?),
            })
        })
    }
}

/// Which backup is being restored, and under which ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Journal {
    /// Id of the place of backups.
    pub(super) place: u128,
    pub(super) bucket: BucketId,
    pub(super) number: u64,
    /// Old and new ids of the indexes.
    pub(super) ids: Vec<(IndexId, IndexId)>,
}

impl Journal {
    pub(super) fn encode(&self) -> Bytes {
        let mut out = vec![0; HEAD_BYTES];
        out.put_u128(self.place);
        out.put_block(&self.bucket.account);
        out.put_block(&self.bucket.name);
        out.put_u64(self.number);
        out.put_list(&self.ids, |out, (old, new)| {
            out.put_u128(old.0);
            out.put_u128(new.0);
        });
        seal(RESTORE, out)
    }

    /// # Errors
    /// [`Error::Corrupt`] about `path`.
    pub(super) fn decode(path: &str, bytes: &Bytes) -> Result<Self, Error> {
        unseal(RESTORE, path, bytes, |reader| {
            Ok(Self {
                place: reader.u128()?,
                bucket: BucketId::new(reader.block()?, reader.block()?),
                number: reader.u64()?,
                ids: reader
                    .list(32, |reader| Ok((IndexId(reader.u128()?), IndexId(reader.u128()?))))?,
            })
        })
    }
}

/// Fills in the head that [`HEAD_BYTES`] left room for.
fn seal(magic: &[u8; 8], mut out: Vec<u8>) -> Bytes {
    let crc = vb_search::checksum(&out[HEAD_BYTES..]);
    out[..8].copy_from_slice(magic);
    out[8..12].copy_from_slice(&VERSION.to_le_bytes());
    out[12..16].copy_from_slice(&crc.to_le_bytes());
    out.into()
}

fn unseal<T>(
    magic: &[u8; 8],
    path: &str,
    bytes: &Bytes,
    read: impl FnOnce(&mut Reader) -> Result<T, DecodeError>,
) -> Result<T, Error> {
    let mut reader = Reader::new(bytes.clone());
    let opened = (|| {
        if reader.take(8)?.as_ref() != magic {
            return Err(reader.error("not what its name says"));
        }
        if reader.u32()? != VERSION {
            return Err(reader.error("a version that this program does not know"));
        }
        let crc = reader.u32()?;
        if vb_search::checksum(&bytes[HEAD_BYTES..]) != crc {
            return Err(reader.error("checksum mismatch"));
        }
        let value = read(&mut reader)?;
        reader.finish()?;
        Ok(value)
    })();
    opened.map_err(|error| corrupt(path, error.offset as u64, error.reason))
}

/// The label of a place of backups: one line.
pub(super) fn label(id: u128) -> Bytes {
    format!("{{\"backup\":1,\"id\":\"{id:032x}\"}}\n").into()
}

/// Reads [`label`].
pub(super) fn read_label(bytes: &[u8]) -> Option<u128> {
    let text = std::str::from_utf8(bytes).ok()?;
    let id = text.strip_prefix("{\"backup\":1,\"id\":\"")?.strip_suffix("\"}\n")?;
    let id = paths::object_name(id)?;
    (label(id) == bytes).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::tests::full_bucket;

    fn sample() -> Backup {
        let catalog = full_bucket();
        let live = catalog.live.as_ref().unwrap();
        let object = |name| Object { name, length: 7, crc: 9 };
        let names = [Name::Manifest(3), Name::Slot(9), Name::Segment(1 << 100), Name::Bitmap(5)];
        let objects: Vec<Object> = names.into_iter().map(object).collect();
        let ids = live.indexes.iter().map(|index| index.id);
        let indexes = ids.map(|id| IndexBackup { id, objects: objects.clone() }).collect();
        let bucket = BucketId::new("1", "b/c");
        Backup { store: 77, taken_ms: 5, bucket, catalog, indexes }
    }

    #[test]
    fn backups_and_journals_read_back_and_no_damage_passes() {
        let backup = sample();
        let bytes = backup.encode();
        assert_eq!(Backup::decode("p", &bytes).unwrap(), backup);
        let journal = Journal {
            place: 1,
            bucket: BucketId::new("1", "b"),
            number: 4,
            ids: vec![(IndexId(1), IndexId(2))],
        };
        let journal_bytes = journal.encode();
        assert_eq!(Journal::decode("p", &journal_bytes).unwrap(), journal);
        for at in 0..bytes.len() {
            let mut bad = bytes.to_vec();
            bad[at] ^= 1;
            assert!(Backup::decode("p", &bad.into()).is_err(), "flip at {at}");
            assert!(Backup::decode("p", &bytes.slice(..at)).is_err(), "cut at {at}");
        }
        let who = Identities { store: 7, taken_ms: 9, content: Bytes::from_static(b"body") };
        let who_bytes = who.encode();
        assert_eq!(Identities::decode("p", &who_bytes).unwrap(), who);
        for at in 0..who_bytes.len() {
            let mut bad = who_bytes.to_vec();
            bad[at] ^= 1;
            assert!(Identities::decode("p", &bad.into()).is_err(), "flip at {at}");
            assert!(Identities::decode("p", &who_bytes.slice(..at)).is_err(), "cut at {at}");
        }
        for at in 0..journal_bytes.len() {
            assert!(Journal::decode("p", &journal_bytes.slice(..at)).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn names_are_those_of_the_store() {
        let id = IndexId(0xab);
        assert_eq!(Name::Segment(3).store_path(id), paths::segment(id, 3));
        assert_eq!(Name::Bitmap(3).store_path(id), paths::bitmap(id, 3));
        let bucket = BucketId::new("1", "x");
        assert_eq!(number(&bucket, &backup(&bucket, 12)), Some(12));
        assert_eq!(identities_number(&identities(12)), Some(12));
        assert_eq!(identities_number("identity/1"), None);
        assert_eq!(read_label(&label(5)), Some(5));
        assert_eq!(read_label(b"{}"), None);
    }
}
