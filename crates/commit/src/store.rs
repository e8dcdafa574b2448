//! The one narrow place through which objects are read and written.
//!
//! What the commit protocol assumes of a store, and [`Store::probe`] tries out at start: a create
//! is refused if the name is taken (of several at once exactly one succeeds), and reads and lists
//! see every write that was acknowledged. On a local folder this file adds what a file system
//! needs for that: the folder's lock, and syncs of every new folder (see `local`).

mod count;
mod hedge;
mod local;
mod pace;
mod probe;
mod remote;
mod retry;
mod writer;

use std::fmt;
use std::ops::Range;
use std::path::Path as FilePath;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};

use self::count::{Counters, Verb};
pub use self::count::{StoreCounts, VerbCount};
use self::local::LocalFolder;
pub use self::local::LocalOptions;
use self::remote::OssStore;
pub use self::remote::{Cloud, RemoteOptions};
pub use self::writer::ObjectWriter;
use crate::error::{StoreError, StoreErrorKind};
use crate::process::Process;

/// How many deletes are under way at once.
const DELETES_AT_ONCE: usize = 16;

/// One listed object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Full path in the store.
    pub path: String,
    /// Length in bytes.
    pub size: u64,
    /// Last modification in milliseconds since 1970, by the store's clock.
    pub modified_ms: i64,
}

/// One level of the store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// Objects directly under the prefix, sorted by path.
    pub objects: Vec<ObjectInfo>,
    /// "Folders" directly under the prefix (full paths without a trailing `/`), sorted.
    pub prefixes: Vec<String>,
}

/// A store of objects; clones share it. The last clone of a local store releases its lock.
///
/// Paths are `/`-separated, not empty, without a leading or trailing `/`, without empty, `.` and
/// `..` segments and without `#` followed by digits at the end; callers percent-encode names.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    objects: Arc<dyn ObjectStore>,
    local: Option<LocalFolder>,
    sole_writer: bool,
    counters: Arc<Counters>,
    /// The same store by its own type, if it needs a check of its own at start.
    oss: Option<Arc<OssStore>>,
    process: Process,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({})", self.0.objects)
    }
}

impl Store {
    /// Opens a local folder as a store, creating it if needed.
    ///
    /// Takes the folder's lock: while the store lives, this process is its only writer, and the
    /// operating system releases the lock however the process ends.
    ///
    /// # Errors
    ///
    /// `Locked` if another process (or another store of this one) holds the folder, `Denied` or
    /// `Full` if it cannot be created or written.
    pub fn local(dir: impl AsRef<FilePath>, options: LocalOptions) -> Result<Self, StoreError> {
        let folder = LocalFolder::open(dir.as_ref(), options)?;
        let objects = Arc::new(folder.objects()?);
        Ok(Self::new(objects, Some(folder), true))
    }

    /// Opens a bucket of a remote service, without sending anything yet.
    ///
    /// Credentials come from the environment variables of the service's own SDK; `docs/stores.md`
    /// lists them. Requests have deadlines; those that fail are repeated within them, but a create
    /// only if it certainly was not sent; slow reads are sent a second time. Call
    /// [`Self::probe`] before serving.
    ///
    /// # Errors
    ///
    /// `Invalid` for settings that cannot be right, plain HTTP to another machine among them;
    /// `Denied` for missing credentials.
    pub fn open(options: &RemoteOptions) -> Result<Self, StoreError> {
        let counters = Arc::new(Counters::by_wire());
        let remote = remote::open(options, &counters)?;
        let (objects, oss, process) = (remote.objects, remote.oss, Process::real());
        let (local, sole_writer) = (None, false);
        Ok(Self(Arc::new(Inner { objects, local, sole_writer, counters, oss, process })))
    }

    /// A store in memory, gone with its last clone.
    ///
    /// Clones may be used as if by several processes: it does not claim a sole writer.
    pub fn memory() -> Self {
        Self::from_object_store(Arc::new(object_store::memory::InMemory::new()), false)
    }

    /// Any object store. `sole_writer`: it is certain that no other process writes to it.
    pub fn from_object_store(objects: Arc<dyn ObjectStore>, sole_writer: bool) -> Self {
        Self::new(objects, None, sole_writer)
    }

    /// As [`Self::from_object_store`], for one of several simulated processes.
    #[doc(hidden)]
    pub fn simulated(objects: Arc<dyn ObjectStore>, sole_writer: bool, process: Process) -> Self {
        let counters = Arc::default();
        Self(Arc::new(Inner { objects, local: None, sole_writer, counters, oss: None, process }))
    }

    fn new(objects: Arc<dyn ObjectStore>, local: Option<LocalFolder>, sole_writer: bool) -> Self {
        let (counters, process) = (Arc::default(), Process::real());
        Self(Arc::new(Inner { objects, local, sole_writer, counters, oss: None, process }))
    }

    /// Known bad, see [`crate::rules::Rules::collect_fresh`]: the manifest of a log that this process
    /// remembers. Nothing by all the rules.
    #[doc(hidden)]
    pub fn remembered(&self, prefix: &str) -> Option<crate::Manifest> {
        self.0.process.remembered(prefix)
    }

    /// The process that uses the store.
    pub(crate) fn process(&self) -> &Process {
        &self.0.process
    }

    /// Whether no other process can write to this store.
    pub fn sole_writer(&self) -> bool {
        self.0.sole_writer
    }

    /// Requests and bytes per verb so far.
    pub fn counts(&self) -> StoreCounts {
        self.0.counters.read()
    }

    /// Tries out what the protocol needs of the store. Leaves nothing behind.
    ///
    /// # Errors
    ///
    /// `Corrupt` if the store breaks one of its promises (the error names it), else what the store
    /// answered. Do not serve on a store that fails.
    pub async fn probe(&self) -> Result<(), StoreError> {
        if let Some(oss) = &self.0.oss {
            oss.refuse_versioning().await?;
        }
        probe::probe(self).await
    }

    /// Creates an object if the name is free. On return it is durable.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` if the name is taken, perhaps by an earlier copy of this very request. For
    /// any other error [`StoreError::is_not_executed`] tells whether the object may exist.
    pub async fn create(&self, path: &str, bytes: Bytes) -> Result<(), StoreError> {
        self.create_parts(path, vec![bytes]).await
    }

    /// As [`Self::create`], of parts to be written one after the other.
    ///
    /// # Errors
    ///
    /// As [`Self::create`].
    pub async fn create_parts(&self, path: &str, parts: Vec<Bytes>) -> Result<(), StoreError> {
        self.write(Verb::Create, PutMode::Create, path, parts).await
    }

    /// Writes an object, replacing any of that name. On return it is durable.
    ///
    /// # Errors
    ///
    /// What the store answered; the old or the new object is there.
    pub async fn put(&self, path: &str, bytes: Bytes) -> Result<(), StoreError> {
        self.put_parts(path, vec![bytes]).await
    }

    /// As [`Self::put`], of parts to be written one after the other.
    ///
    /// # Errors
    ///
    /// As [`Self::put`].
    pub async fn put_parts(&self, path: &str, parts: Vec<Bytes>) -> Result<(), StoreError> {
        self.write(Verb::Put, PutMode::Overwrite, path, parts).await
    }

    /// Writes a large object piece by piece, replacing any of that name once it is complete.
    pub fn writer(&self, path: &str) -> ObjectWriter {
        ObjectWriter::new(self, path)
    }

    async fn write(
        &self,
        verb: Verb,
        mode: PutMode,
        path: &str,
        parts: Vec<Bytes>,
    ) -> Result<(), StoreError> {
        let location = parse(path).map_err(StoreError::not_executed)?;
        let payload = PutPayload::from_iter(parts);
        let bytes = payload.content_length() as u64;
        let result = self.write_now(mode, &location, payload).await;
        self.0.counters.note(verb, bytes, result.as_ref().err());
        result
    }

    async fn write_now(
        &self,
        mode: PutMode,
        location: &Path,
        payload: PutPayload,
    ) -> Result<(), StoreError> {
        if let Some(folder) = &self.0.local {
            folder.prepare(location).await.map_err(StoreError::not_executed)?;
        }
        let create = mode == PutMode::Create;
        let options = PutOptions { mode, ..PutOptions::default() };
        match self.0.objects.put_opts(location, payload, options).await {
            Ok(_) => Ok(()),
            Err(error) => {
                let error = from_object_store(location, error);
                match &self.0.local {
                    Some(folder) if create => Err(folder.judge_create(location, error).await),
                    _ => Err(error),
                }
            }
        }
    }

    /// Reads an object.
    ///
    /// # Errors
    ///
    /// `NotFound`, or what the store answered.
    pub async fn get(&self, path: &str) -> Result<Bytes, StoreError> {
        let location = parse(path)?;
        let read = async { self.0.objects.get(&location).await?.bytes().await };
        let result = read.await.map_err(|error| from_object_store(&location, error));
        self.note_read(&result);
        result
    }

    /// Reads an object that is not to be longer than `bytes_max`.
    ///
    /// # Errors
    ///
    /// As [`Self::get`]; `Corrupt` if the object is longer, of which nothing is read then.
    pub async fn get_at_most(&self, path: &str, bytes_max: usize) -> Result<Bytes, StoreError> {
        let location = parse(path)?;
        let read = async {
            let found = self.0.objects.get(&location).await?;
            match found.meta.size <= bytes_max as u64 {
                true => found.bytes().await.map(Ok),
                false => Ok(Err(found.meta.size)),
            }
        };
        let result = match read.await {
            Ok(Ok(bytes)) => Ok(bytes),
            Ok(Err(size)) => Err(StoreError::new(StoreErrorKind::Corrupt, path)
                .with_source(format!("{size} bytes, where {bytes_max} are the most"))),
            Err(error) => Err(from_object_store(&location, error)),
        };
        self.note_read(&result);
        result
    }

    /// Reads the bytes `range` of an object.
    ///
    /// # Errors
    ///
    /// `NotFound`, or what the store answered; `Corrupt` if the object ends before the range does.
    pub async fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        let location = parse(path)?;
        let read = self.0.objects.get_range(&location, range.clone()).await;
        let result = read
            .map_err(|error| from_object_store(&location, error))
            .and_then(|bytes| whole(path, bytes, &range));
        self.note_read(&result);
        result
    }

    /// Reads several ranges of an object, in as few requests as is sensible.
    ///
    /// # Errors
    ///
    /// As [`Self::get_range`].
    pub async fn get_ranges(
        &self,
        path: &str,
        ranges: &[Range<u64>],
    ) -> Result<Vec<Bytes>, StoreError> {
        let location = parse(path)?;
        let read = self.0.objects.get_ranges(&location, ranges).await;
        let result = read.map_err(|error| from_object_store(&location, error)).and_then(|parts| {
            parts.into_iter().zip(ranges).map(|(bytes, range)| whole(path, bytes, range)).collect()
        });
        let bytes = result
            .as_ref()
            .map_or(0, |parts: &Vec<Bytes>| parts.iter().map(|part| part.len() as u64).sum());
        self.0.counters.note(Verb::Get, bytes, result.as_ref().err());
        result
    }

    /// Lists all objects under `prefix/`, strictly behind `start_after`, sorted by path.
    ///
    /// # Errors
    ///
    /// What the store answered.
    pub async fn list_after(
        &self,
        prefix: &str,
        start_after: Option<&str>,
    ) -> Result<Vec<ObjectInfo>, StoreError> {
        let folder = parse_prefix(prefix)?;
        let offset = start_after.map(parse).transpose()?;
        let stream = match &offset {
            Some(offset) => self.0.objects.list_with_offset(folder.as_ref(), offset),
            None => self.0.objects.list(folder.as_ref()),
        };
        let result = stream.map_ok(info).try_collect::<Vec<_>>().await;
        let result = result.map_err(|error| from_prefix(prefix, error)).map(|mut found| {
            found.sort_unstable_by(|a, b| a.path.cmp(&b.path));
            found
        });
        self.0.counters.note(Verb::List, 0, result.as_ref().err());
        result
    }

    /// Lists one level under `prefix/`; an empty prefix is the root.
    ///
    /// # Errors
    ///
    /// What the store answered.
    pub async fn list_level(&self, prefix: &str) -> Result<Listing, StoreError> {
        let folder = parse_prefix(prefix)?;
        let result = self.0.objects.list_with_delimiter(folder.as_ref()).await;
        let result = result.map_err(|error| from_prefix(prefix, error)).map(|found| {
            let mut objects: Vec<_> = found.objects.into_iter().map(info).collect();
            objects.sort_unstable_by(|a, b| a.path.cmp(&b.path));
            let mut prefixes: Vec<_> =
                found.common_prefixes.into_iter().map(String::from).collect();
            prefixes.sort_unstable();
            Listing { objects, prefixes }
        });
        self.0.counters.note(Verb::List, 0, result.as_ref().err());
        result
    }

    /// Deletes an object; one that is not there is no error.
    ///
    /// On a local folder the delete itself is not synced: after a power failure the object may be
    /// back. See [`Self::delete_all`].
    ///
    /// # Errors
    ///
    /// What the store answered.
    pub async fn delete(&self, path: &str) -> Result<(), StoreError> {
        let location = parse(path)?;
        let result = match self.0.objects.delete(&location).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(from_object_store(&location, error)),
        };
        self.0.counters.note(Verb::Delete, 0, result.as_ref().err());
        result
    }

    /// Deletes objects, several at a time; on return the deletes are durable.
    ///
    /// # Errors
    ///
    /// What the store answered first; some of the objects may be left.
    pub async fn delete_all(&self, paths: &[String]) -> Result<(), StoreError> {
        // Collected first: a stream over borrowing closures makes a future that is not `Send`.
        let deletes: Vec<_> = paths.iter().map(|path| self.delete(path)).collect();
        let deletes = futures_util::stream::iter(deletes).buffer_unordered(DELETES_AT_ONCE);
        deletes.try_collect::<()>().await?;
        match &self.0.local {
            Some(folder) => folder.sync_parents(paths).await,
            None => Ok(()),
        }
    }

    /// Makes durable what is visible in folders that a killed process may have left unsynced.
    /// Nothing to do but on a local folder.
    pub(crate) async fn settle(&self, folders: &[String]) -> Result<(), StoreError> {
        match &self.0.local {
            Some(folder) => folder.settle(folders).await,
            None => Ok(()),
        }
    }

    fn note_read(&self, result: &Result<Bytes, StoreError>) {
        let bytes = result.as_ref().map_or(0, |bytes| bytes.len() as u64);
        self.0.counters.note(Verb::Get, bytes, result.as_ref().err());
    }
}

fn parse(path: &str) -> Result<Path, StoreError> {
    let invalid = || StoreError::new(StoreErrorKind::Invalid, path);
    match Path::parse(path) {
        Ok(location) if location.as_ref() == path && !path.is_empty() => Ok(location),
        Ok(_) => Err(invalid()),
        Err(error) => Err(invalid().with_source(error)),
    }
}

fn parse_prefix(prefix: &str) -> Result<Option<Path>, StoreError> {
    match prefix {
        "" => Ok(None),
        _ => parse(prefix).map(Some),
    }
}

fn info(meta: ObjectMeta) -> ObjectInfo {
    let modified_ms = meta.last_modified.timestamp_millis();
    ObjectInfo { path: meta.location.into(), size: meta.size, modified_ms }
}

fn whole(path: &str, bytes: Bytes, range: &Range<u64>) -> Result<Bytes, StoreError> {
    match bytes.len() as u64 == range.end.saturating_sub(range.start) {
        true => Ok(bytes),
        false => Err(StoreError::new(StoreErrorKind::Corrupt, path)
            .with_source(format!("{} bytes instead of {range:?}", bytes.len()))),
    }
}

fn from_object_store(location: &Path, error: object_store::Error) -> StoreError {
    from_prefix(location.as_ref(), error)
}

/// Tells an object store's error by what the caller can do.
fn from_prefix(path: &str, error: object_store::Error) -> StoreError {
    use object_store::Error as E;
    let (kind, refused) = match &error {
        E::NotFound { .. } => (StoreErrorKind::NotFound, false),
        E::AlreadyExists { .. } | E::Precondition { .. } => (StoreErrorKind::AlreadyExists, false),
        E::PermissionDenied { .. } | E::Unauthenticated { .. } => (StoreErrorKind::Denied, true),
        E::InvalidPath { .. }
        | E::NotSupported { .. }
        | E::NotImplemented { .. }
        | E::UnknownConfigurationKey { .. } => (StoreErrorKind::Invalid, true),
        _ => remote::judge(&error).unwrap_or_else(|| {
            (local::io_kind(&error).unwrap_or(StoreErrorKind::Unavailable), false)
        }),
    };
    let told = StoreError::new(kind, path).with_source(error);
    if refused { told.not_executed() } else { told }
}

#[cfg(test)]
mod tests;
