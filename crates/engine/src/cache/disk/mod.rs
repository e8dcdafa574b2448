//! Parts as they are stored, in a folder of the local disk.
//!
//! ```text
//! {dir}/{store id}/{2 hex}/{segment}-{part}           one file per part; see file.rs
//! {dir}/{store id}/{2 hex}/{segment}-{part}.{n}.tmp   on its way; renamed when it is complete
//! ```
//!
//! The folder is a cache and nothing else: all of it may be deleted at any time, also while the
//! process runs. Files are written under a temporary name and renamed, without fsync: what a crash
//! leaves is either complete or, like any damage, found out by its checksum when read, deleted and
//! fetched again. A disk that is full or cannot be written stops writing for some minutes, is
//! warned of once, and harms nothing else.
//!
//! What is there is known from a walk through the folder at the start, and kept in an [`Index`] in the
//! order of use (after a restart: in the order of writing), least recently used files giving way. Until the
//! walk is over nothing is written, and reads just try.

mod file;
mod index;

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::Instant;

pub(super) use self::file::{DiskKey, Stored};
use self::index::Index;
use super::{Counters, DiskOptions};

pub(crate) use self::file::fuzz as fuzz_file;

/// Bytes on their way to the disk; more is not written at all.
const PENDING_BYTES_MAX: usize = 64 << 20;

/// After a write failed, nothing is written for this long.
const PAUSE: Duration = Duration::from_secs(300);

/// Clones share the folder.
#[derive(Clone, Debug)]
pub(super) struct Disk(Arc<Tier>);

#[derive(Debug)]
struct Tier {
    root: PathBuf,
    /// Whose blocking threads do the work: files are judged and stored from CPU threads as well.
    runtime: Handle,
    index: Mutex<Index>,
    /// The index knows all files.
    walked: AtomicBool,
    /// Room for bytes on their way to the disk; none before the walk is over.
    pending: Arc<Semaphore>,
    /// How many writes began.
    writes: AtomicU64,
    paused_until: Mutex<Option<Instant>>,
    warned: AtomicBool,
    counters: Arc<Counters>,
}

impl Disk {
    /// Takes over the folder, and looks through it in the background.
    pub(super) fn open(options: &DiskOptions, counters: Arc<Counters>) -> Self {
        let tier = Arc::new(Tier {
            root: options.dir.join(format!("{:032x}", options.store_id)),
            runtime: Handle::current(),
            index: Mutex::new(Index::new(options.bytes_max)),
            walked: AtomicBool::new(false),
            pending: Arc::new(Semaphore::new(0)),
            writes: AtomicU64::new(0),
            paused_until: Mutex::new(None),
            warned: AtomicBool::new(false),
            counters,
        });
        let walker = Arc::clone(&tier);
        tier.runtime.spawn_blocking(move || walker.walk());
        Self(tier)
    }

    /// False if there is certainly no file of this key.
    pub(super) fn may_have(&self, key: &DiskKey) -> bool {
        !self.0.walked.load(Ordering::Acquire) || self.0.index.lock().has(key)
    }

    /// Reads files, whose contents must have these lengths. Their bytes are not checked yet:
    /// [`Disk::judge`] is to be told.
    pub(super) async fn read(&self, keys: Vec<(DiskKey, u64)>) -> Vec<Option<Stored>> {
        let (tier, count) = (Arc::clone(&self.0), keys.len());
        let read = move || keys.into_iter().map(|(key, length)| tier.read(&key, length)).collect();
        // A panic there would be one of this file's; nothing found is always a right answer.
        self.0.runtime.spawn_blocking(read).await.unwrap_or_else(|_| vec![None; count])
    }

    /// A file that was read turned out to be sound, or damaged: then it goes.
    pub(super) fn judge(&self, key: &DiskKey, sound: bool) {
        if sound {
            self.0.counters.disk_hits.add(1);
            self.0.index.lock().touch(key);
        } else {
            self.0.damaged(*key);
        }
    }

    /// Writes a file in the background. `crc`: the checksum of the bytes, if it is known.
    ///
    /// Left undone while too much is on its way, after a failure, and before the walk is over.
    pub(super) fn store(&self, key: DiskKey, bytes: Bytes, crc: Option<u32>) {
        if self.0.is_paused() || self.0.index.lock().has(&key) {
            return;
        }
        let weight = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let Ok(pending) = Arc::clone(&self.0.pending).try_acquire_many_owned(weight) else {
            return;
        };
        let tier = Arc::clone(&self.0);
        self.0.runtime.spawn_blocking(move || {
            let crc = crc.unwrap_or_else(|| vb_search::checksum(&bytes));
            tier.write(key, &Stored { bytes, crc });
            drop(pending);
        });
    }

    /// Deletes all files of these segments in the background.
    pub(super) fn forget(&self, objects: &[u128]) {
        let keys: Vec<DiskKey> = {
            let mut index = self.0.index.lock();
            objects.iter().flat_map(|object| index.remove_object(*object)).collect()
        };
        if !keys.is_empty() {
            let tier = Arc::clone(&self.0);
            self.0.runtime.spawn_blocking(move || keys.iter().for_each(|key| tier.delete(key)));
        }
    }

    /// Bytes of all files.
    pub(super) fn bytes(&self) -> u64 {
        self.0.index.lock().bytes()
    }

    /// Waits until the folder was looked through and nothing is on its way to it.
    #[cfg(test)]
    pub(super) async fn settled(&self) {
        let all = self.0.pending.acquire_many(PENDING_BYTES_MAX as u32).await;
        drop(all.expect("never closed"));
    }
}

impl Tier {
    fn path(&self, key: &DiskKey) -> PathBuf {
        self.root.join(key.folder()).join(key.file_name())
    }

    fn read(&self, key: &DiskKey, length: u64) -> Option<Stored> {
        let path = self.path(key);
        match read_file(&path, length) {
            Ok(Some(bytes)) => {
                let stored = file::decode(key, &bytes);
                if stored.is_none() {
                    self.damaged(*key);
                }
                stored
            }
            Ok(None) => {
                self.damaged(*key);
                None
            }
            Err(_) => {
                self.index.lock().remove(key);
                None
            }
        }
    }

    fn damaged(&self, key: DiskKey) {
        self.counters.disk_damaged.add(1);
        self.index.lock().remove(&key);
        self.delete(&key);
    }

    fn delete(&self, key: &DiskKey) {
        // If it cannot be deleted it stays, and is found by the next walk.
        let _ = fs::remove_file(self.path(key));
    }

    fn write(&self, key: DiskKey, stored: &Stored) {
        let bytes = file::encode(&key, stored);
        let path = self.path(&key);
        let number = self.writes.fetch_add(1, Ordering::Relaxed);
        match write_file(&path, number, &bytes) {
            Ok(()) => {
                let evicted =
                    self.index.lock().insert(key, file::room_of(stored.bytes.len() as u64));
                self.counters.disk_evictions.add(evicted.len());
                evicted.iter().for_each(|key| self.delete(key));
            }
            Err(error) => self.pause(&path, &error),
        }
    }

    fn is_paused(&self) -> bool {
        self.paused_until.lock().is_some_and(|until| Instant::now() < until)
    }

    fn pause(&self, path: &Path, error: &io::Error) {
        *self.paused_until.lock() = Some(Instant::now() + PAUSE);
        if !self.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(path = %path.display(), %error, "the disk cache cannot be written; going on without");
        }
    }

    /// Gets to know the files, oldest first, and sweeps what a killed process left.
    fn walk(&self) {
        let mut files = Vec::new();
        for folder in entries(&self.root) {
            for entry in entries(&folder.path()) {
                files.extend(self.look_at(&entry));
            }
        }
        files.sort_unstable();
        let evicted: BTreeSet<DiskKey> = {
            let mut index = self.index.lock();
            files.into_iter().flat_map(|(_, key, bytes)| index.insert(key, bytes)).collect()
        };
        self.counters.disk_evictions.add(evicted.len());
        evicted.iter().for_each(|key| self.delete(key));
        self.walked.store(true, Ordering::Release);
        self.pending.add_permits(PENDING_BYTES_MAX);
    }

    /// When a file was written, which, and what room it takes; `None` if it is none of a cache.
    fn look_at(&self, entry: &fs::DirEntry) -> Option<(SystemTime, DiskKey, u64)> {
        let name = entry.file_name();
        let name = name.to_str()?;
        if let Some((name, _)) = name.strip_suffix(TEMPORARY).and_then(|name| name.rsplit_once('.'))
        {
            DiskKey::parse(name)?;
            // Nothing is written before the walk is over: it is left from another time.
            let _ = fs::remove_file(entry.path());
            return None;
        }
        let key = DiskKey::parse(name)?;
        let metadata = entry.metadata().ok().filter(fs::Metadata::is_file)?;
        let written = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        Some((written, key, file::room_of_file(metadata.len())))
    }
}

const TEMPORARY: &str = ".tmp";

fn entries(folder: &Path) -> impl Iterator<Item = fs::DirEntry> {
    fs::read_dir(folder).into_iter().flatten().flatten()
}

/// The file's bytes; `None` if it has not the length of one with such contents.
fn read_file(path: &Path, length: u64) -> io::Result<Option<Bytes>> {
    let file = fs::File::open(path)?;
    if file.metadata()?.len() != file::file_length(length) {
        return Ok(None);
    }
    Ok(Some(fs::read(path)?.into()))
}

/// Writes a file that is there whole or not at all. No two writes have the same number.
fn write_file(path: &Path, number: u64, bytes: &[u8]) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(format!(".{number}{TEMPORARY}"));
    let temporary = Path::new(&temporary);
    let write = || fs::write(temporary, bytes).and_then(|()| fs::rename(temporary, path));
    let result = match write() {
        // The folder is new, or somebody deleted it.
        Err(error) if error.kind() == ErrorKind::NotFound => {
            make_private_folder(path.parent().unwrap_or(path)).and_then(|()| write())
        }
        written => written,
    };
    if result.is_err() {
        let _ = fs::remove_file(temporary);
    }
    result
}

/// Makes a folder that other users cannot look into: it holds records.
fn make_private_folder(folder: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}
