//! What a local folder needs beyond `LocalFileSystem`: a lock, durable folders, a sweep.
//!
//! `LocalFileSystem` with fsync writes `name#1`, syncs it, links it to `name` and syncs the folder.
//! It syncs folders that it creates itself, and no others. That leaves three gaps, closed here:
//!
//! - Two creates race into one new folder: the one that finds the folder made syncs nothing above
//!   it, and may be acknowledged before the other has. So [`LocalFolder::prepare`] makes and syncs
//!   the chain of folders once per process before anything is written into it.
//! - A process killed between making and syncing a folder, or between linking and syncing, leaves
//!   entries that are visible but not durable. So folders are synced again by the next process:
//!   by `prepare` before the first write, by [`LocalFolder::settle`] before a log is read.
//! - A sync of the folder that fails after the link leaves an object that is there but not durable,
//!   and a later sync may report success without having written it. So the store then refuses
//!   everything until it is opened anew.
//!
//! The lock is `flock` on the file `lock#0`; names of that form are no objects to `LocalFileSystem`.
//! The file holds the owner's process id and is emptied on an orderly end: if it is not empty when
//! the lock is taken, the owner was killed, and its staged `name#n` files are swept in the background,
//! for a folder of many indexes takes seconds to walk. The sweep knows our own staged files by their
//! time; if clocks jumped it may take one for a leftover, whose write then fails. A sweep that did
//! not come to its end is left to the next owner.

use std::collections::HashSet;
use std::error::Error as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path as FilePath, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::SystemTime;

use object_store::local::LocalFileSystem;
use object_store::path::Path;
use rustix::fs::FlockOperation;

use crate::error::{StoreError, StoreErrorKind};

const LOCK_NAME: &str = "lock#0";

/// How many folders are remembered as durable; beyond it they are forgotten and synced again.
const DURABLE_MAX: usize = 1 << 16;

/// How a local folder is used as a store.
#[derive(Debug, Clone, Copy)]
pub struct LocalOptions {
    /// Sync files and folders before a write is acknowledged. Off only in tests and benchmarks.
    pub fsync: bool,
}

impl Default for LocalOptions {
    fn default() -> Self {
        Self { fsync: true }
    }
}

/// A locked folder.
#[derive(Debug, Clone)]
pub(super) struct LocalFolder(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    lock: File,
    fsync: bool,
    /// Folders (below the root) that are known to exist durably.
    durable: Mutex<HashSet<PathBuf>>,
    /// A sync failed behind a link: what is visible may not be durable.
    unsynced: AtomicBool,
    sweep: Arc<Sweep>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.sweep.ends.store(true, Ordering::Release);
        if self.sweep.done.load(Ordering::Acquire) {
            // Tells the next owner that nothing is to be swept; without it, it sweeps in vain.
            let _ = self.lock.set_len(0);
        }
    }
}

impl LocalFolder {
    pub(super) fn open(dir: &FilePath, options: LocalOptions) -> Result<Self, StoreError> {
        let error = |source: io::Error| from_io(dir.display().to_string(), source);
        make_folder(dir, options.fsync).map_err(error)?;
        let root = fs::canonicalize(dir).map_err(error)?;
        let lock = take_lock(&root)?;
        let closed = was_closed(&lock).map_err(error)?;
        sign(&lock, options.fsync).map_err(error)?;
        let sweep = Arc::new(Sweep::default());
        match closed {
            true => sweep.done.store(true, Ordering::Release),
            false => sweep.begin(&root, lock.metadata().and_then(|meta| meta.modified())),
        }
        let (durable, unsynced) = (Mutex::default(), AtomicBool::new(false));
        Ok(Self(Arc::new(Inner { root, lock, fsync: options.fsync, durable, unsynced, sweep })))
    }

    pub(super) fn objects(&self) -> Result<LocalFileSystem, StoreError> {
        let objects = LocalFileSystem::new_with_prefix(&self.0.root);
        let root = self.0.root.display().to_string();
        Ok(objects.map_err(|error| super::from_prefix(&root, error))?.with_fsync(self.0.fsync))
    }

    /// Makes sure, before an object is written, that the folder it goes into exists durably.
    pub(super) async fn prepare(&self, location: &Path) -> Result<(), StoreError> {
        self.check_synced(location.as_ref())?;
        let folder = self.folder_of(location.as_ref());
        if !self.0.fsync || self.is_durable(&folder) {
            return Ok(());
        }
        let inner = Arc::clone(&self.0);
        blocking(location.as_ref(), move || inner.make_durable(&folder)).await
    }

    /// Tells what a failed create has left: nothing, or an object whose folder was not synced.
    pub(super) async fn judge_create(&self, location: &Path, error: StoreError) -> StoreError {
        if error.kind() == StoreErrorKind::AlreadyExists {
            return error;
        }
        let file = self.0.root.join(location.as_ref());
        let linked = blocking(location.as_ref(), move || match fs::symlink_metadata(file) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        });
        match linked.await {
            Ok(false) => error.not_executed(),
            Ok(true) | Err(_) => {
                self.0.unsynced.store(true, Ordering::Release);
                error
            }
        }
    }

    /// Syncs the folders of deleted objects.
    pub(super) async fn sync_parents(&self, paths: &[String]) -> Result<(), StoreError> {
        let folders: HashSet<_> = paths.iter().map(|path| self.folder_of(path)).collect();
        self.sync_folders(folders.into_iter().collect()).await
    }

    /// Syncs what is visible in `folders` and makes sure that they exist durably.
    pub(super) async fn settle(&self, folders: &[String]) -> Result<(), StoreError> {
        let root = self.0.root.display().to_string();
        self.check_synced(&root)?;
        let folders: Vec<_> = folders.iter().map(|folder| self.0.root.join(folder)).collect();
        self.sync_folders(folders).await
    }

    async fn sync_folders(&self, folders: Vec<PathBuf>) -> Result<(), StoreError> {
        if !self.0.fsync {
            return Ok(());
        }
        let inner = Arc::clone(&self.0);
        let root = self.0.root.display().to_string();
        blocking(&root, move || {
            for folder in folders.iter().filter(|folder| folder.is_dir()) {
                inner.make_durable(folder)?;
                sync_folder(folder)?;
            }
            Ok(())
        })
        .await
    }

    fn folder_of(&self, path: &str) -> PathBuf {
        let file = self.0.root.join(path);
        file.parent().map_or(self.0.root.clone(), FilePath::to_path_buf)
    }

    fn is_durable(&self, folder: &FilePath) -> bool {
        folder == self.0.root || self.0.durable_folders().contains(folder)
    }

    fn check_synced(&self, path: &str) -> Result<(), StoreError> {
        match self.0.unsynced.load(Ordering::Acquire) {
            false => Ok(()),
            true => Err(StoreError::new(StoreErrorKind::Unavailable, path)
                .with_source("a sync of the folder failed before: check the disk, then restart")),
        }
    }
}

impl Inner {
    /// Makes the folder and syncs every folder above it, up to the root, that is not known durable.
    fn make_durable(&self, folder: &FilePath) -> io::Result<()> {
        fs::create_dir_all(folder)?;
        let below_root = |path: &&FilePath| *path != self.root && path.starts_with(&self.root);
        let chain: Vec<_> = folder.ancestors().take_while(below_root).collect();
        for link in chain.into_iter().rev() {
            if self.durable_folders().contains(link) {
                continue;
            }
            sync_folder(link.parent().unwrap_or(&self.root))?;
            let mut durable = self.durable_folders();
            if durable.len() >= DURABLE_MAX {
                durable.clear();
            }
            durable.insert(link.to_path_buf());
        }
        Ok(())
    }

    fn durable_folders(&self) -> std::sync::MutexGuard<'_, HashSet<PathBuf>> {
        self.durable.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes the store's folder and syncs the folders above it whose entries changed.
fn make_folder(dir: &FilePath, fsync: bool) -> io::Result<()> {
    let absolute = std::path::absolute(dir)?;
    let existed = absolute.ancestors().find(|above| above.exists()).map(FilePath::to_path_buf);
    fs::create_dir_all(&absolute)?;
    let Some(existed) = existed.filter(|existed| fsync && *existed != absolute) else {
        return Ok(());
    };
    let changed = absolute.ancestors().skip(1).take_while(|above| above.starts_with(&existed));
    changed.into_iter().try_for_each(sync_folder)
}

fn take_lock(root: &FilePath) -> Result<File, StoreError> {
    let path = root.join(LOCK_NAME);
    let error = |source: io::Error| from_io(root.display().to_string(), source);
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create(true).truncate(false).open(path);
    let mut file = file.map_err(error)?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut owner = String::new();
            let _ = file.read_to_string(&mut owner);
            Err(StoreError::new(StoreErrorKind::Locked, root.display().to_string())
                .with_source(format!("owner: process {}", owner.trim())))
        }
        Err(errno) => Err(error(errno.into())),
    }
}

fn was_closed(lock: &File) -> io::Result<bool> {
    Ok(lock.metadata()?.len() == 0)
}

fn sign(mut lock: &File, fsync: bool) -> io::Result<()> {
    lock.set_len(0)?;
    io::Seek::rewind(&mut lock)?;
    writeln!(lock, "{}", std::process::id())?;
    if fsync { lock.sync_all() } else { Ok(()) }
}

/// Removes the staged uploads of a killed process.
#[derive(Debug, Default)]
struct Sweep {
    /// It came to its end, or there was nothing to sweep.
    done: AtomicBool,
    /// The store is no longer used.
    ends: AtomicBool,
}

impl Sweep {
    /// Sweeps, beside everything else, what was staged before `start`.
    fn begin(self: &Arc<Self>, root: &FilePath, start: io::Result<SystemTime>) {
        let (sweep, root) = (Arc::clone(self), root.to_path_buf());
        let work = move || {
            let swept = start.and_then(|start| sweep.run(&root, start));
            match swept {
                Ok(()) => sweep.done.store(!sweep.ends.load(Ordering::Acquire), Ordering::Release),
                Err(error) => tracing::warn!(%error, "staged files of a killed owner stay"),
            }
        };
        if let Err(error) = thread::Builder::new().name("sweep".into()).spawn(work) {
            tracing::warn!(%error, "staged files of a killed owner stay");
        }
    }

    fn run(&self, root: &FilePath, start: SystemTime) -> io::Result<()> {
        let mut folders = vec![root.to_path_buf()];
        while let Some(folder) = folders.pop() {
            if self.ends.load(Ordering::Acquire) {
                return Ok(());
            }
            // Collection may have removed the folder.
            let Some(entries) = unless_gone(fs::read_dir(&folder))? else { continue };
            for entry in entries {
                let entry = entry?;
                let kind = unless_gone(entry.file_type())?;
                if kind.is_some_and(|kind| kind.is_dir()) {
                    folders.push(entry.path());
                } else if kind.is_some_and(|kind| kind.is_file()) && is_leftover(&entry, start)? {
                    unless_gone(fs::remove_file(entry.path()))?;
                }
            }
        }
        Ok(())
    }
}

fn unless_gone<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}

/// Whether it was staged before `start`. The lock, which is named like it, was signed then.
fn is_leftover(entry: &fs::DirEntry, start: SystemTime) -> io::Result<bool> {
    let modified = match is_staged(&entry.file_name().to_string_lossy()) {
        true => unless_gone(entry.metadata().and_then(|meta| meta.modified()))?,
        false => None,
    };
    Ok(modified.is_some_and(|modified| modified < start))
}

/// Names that `LocalFileSystem` stages under, and never lists.
fn is_staged(name: &str) -> bool {
    name.split_once('#').is_some_and(|(_, suffix)| {
        !suffix.is_empty() && suffix.bytes().all(|byte| byte.is_ascii_digit())
    })
}

fn sync_folder(folder: &FilePath) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

async fn blocking<T: Send + 'static>(
    path: &str,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(|error| from_io(path.to_owned(), error)),
        Err(error) => Err(StoreError::new(StoreErrorKind::Unavailable, path).with_source(error)),
    }
}

fn from_io(path: String, error: io::Error) -> StoreError {
    StoreError::new(kind_of(&error).unwrap_or(StoreErrorKind::Unavailable), path).with_source(error)
}

/// The kind of the operating system's error behind `error`, if it is a telling one.
pub(super) fn io_kind(error: &object_store::Error) -> Option<StoreErrorKind> {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(kind) = error.downcast_ref::<io::Error>().and_then(kind_of) {
            return Some(kind);
        }
        cause = error.source();
    }
    None
}

fn kind_of(error: &io::Error) -> Option<StoreErrorKind> {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            Some(StoreErrorKind::Full)
        }
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => Some(StoreErrorKind::Denied),
        ErrorKind::NotADirectory | ErrorKind::InvalidFilename => Some(StoreErrorKind::Invalid),
        _ => None,
    }
}
