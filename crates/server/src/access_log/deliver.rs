//! Sealed pieces become objects.
//!
//! An object is created under a name that is the piece's own, and its lines never change: so a
//! delivery may be repeated, and a name that is taken means that it was done before. The piece
//! leaves the spool after that. A sink that fails is left alone for a while; others go on.

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::Instant;
use vb_commit::StoreErrorKind;

use super::counters::Counters;
use super::frame;
use super::piece::{Content, Sealed};
use super::sinks::Sinks;

/// How long a sink that failed is left alone, at first and at most.
const REST: Duration = Duration::from_secs(1);
const REST_MAX: Duration = Duration::from_secs(60);

/// Pieces that wait for their delivery; bounded by what the spool may hold.
#[derive(Default)]
pub(super) struct Backlog {
    waiting: Mutex<VecDeque<Sealed>>,
    came: Notify,
    closing: AtomicBool,
}

impl Backlog {
    /// Adds pieces behind those that wait.
    pub(super) fn push(&self, sealed: Vec<Sealed>) {
        if !sealed.is_empty() {
            self.waiting.lock().unwrap_or_else(PoisonError::into_inner).extend(sealed);
            self.came.notify_one();
        }
    }

    /// Nothing comes any more.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Release);
        self.came.notify_one();
    }

    /// Takes out the first piece whose sink is not resting.
    fn take(&self, resting: &HashMap<Box<str>, Rest>) -> Option<Sealed> {
        let now = Instant::now();
        let rests = |sealed: &Sealed| {
            resting.get(&sealed.key.destination.sink).is_some_and(|rest| rest.until > now)
        };
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let at = waiting.iter().position(|sealed| !rests(sealed))?;
        waiting.remove(at)
    }

    fn put_back(&self, sealed: Sealed) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).push_front(sealed);
    }
}

/// A sink that failed.
struct Rest {
    until: Instant,
    length: Duration,
}

/// Delivers what waits.
pub(super) struct Deliverer {
    pub(super) sinks: Sinks,
    pub(super) backlog: Arc<Backlog>,
    pub(super) counters: Arc<Counters>,
}

/// Why a piece was not delivered.
#[derive(Debug)]
pub(super) enum Failed {
    /// Its lines could not be read or taken away.
    Spool(std::io::Error),
    /// Its sink did not take them.
    Sink(vb_commit::StoreError),
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Spool(error) => write!(f, "spool: {error}"),
            Self::Sink(error) => error.fmt(f),
        }
    }
}

impl Deliverer {
    /// Delivers what comes, until nothing does any more; then tries once more what is left.
    pub(super) async fn run(&self) {
        let mut resting = HashMap::new();
        while !self.backlog.closing.load(Ordering::Acquire) {
            self.deliver_ready(&mut resting).await;
            // Of a sink that is ready nothing waits now.
            resting.retain(|_, rest| rest.until > Instant::now());
            let wake = resting.values().map(|rest| rest.until).min();
            tokio::select! {
                () = self.backlog.came.notified() => {}
                () = until(wake) => {}
            }
        }
        self.deliver_ready(&mut HashMap::new()).await;
    }

    /// Delivers until what still waits is for sinks that rest.
    async fn deliver_ready(&self, resting: &mut HashMap<Box<str>, Rest>) {
        while let Some(sealed) = self.backlog.take(resting) {
            self.attempt(sealed, resting).await;
        }
    }

    async fn attempt(&self, sealed: Sealed, resting: &mut HashMap<Box<str>, Rest>) {
        let sink = sealed.key.destination.sink.clone();
        match self.deliver(&sealed).await {
            Ok(()) => {
                resting.remove(&sink);
            }
            Err(failed) => {
                self.counters.delivery_failed();
                let length = resting.get(&sink).map_or(REST, |rest| rest.length * 2).min(REST_MAX);
                if length == REST {
                    tracing::warn!(%sink, error = %failed, "logs are not delivered; trying again");
                }
                resting.insert(sink, Rest { until: Instant::now() + length, length });
                self.backlog.put_back(sealed);
            }
        }
    }

    /// Delivers one piece and takes it out of the spool.
    ///
    /// # Errors
    /// The piece is still in the spool; its object may exist.
    pub(super) async fn deliver(&self, sealed: &Sealed) -> Result<(), Failed> {
        let lines = read(&sealed.content).await.map_err(Failed::Spool)?;
        if !lines.is_empty() {
            let (store, path) = self.sinks.place(&sealed.key, &sealed.unique);
            match store.create(&path, lines).await {
                Ok(()) => self.counters.delivered(),
                Err(error) if error.kind() == StoreErrorKind::AlreadyExists => {}
                Err(error) => return Err(Failed::Sink(error)),
            }
        }
        if let Content::File(path) = &sealed.content {
            remove(path.clone()).await.map_err(Failed::Spool)?;
        }
        self.counters.freed(sealed.bytes);
        Ok(())
    }
}

async fn until(wake: Option<Instant>) {
    match wake {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// The lines of a piece, each ended by a line feed. Of a file that is gone there are none: somebody
/// took it away, and there is nothing left to repeat.
async fn read(content: &Content) -> std::io::Result<Bytes> {
    match content {
        Content::Memory(lines) => Ok(lines.clone()),
        Content::File(path) => blocking(path.clone(), |path| read_file(&path)).await,
    }
}

fn read_file(path: &Path) -> std::io::Result<Bytes> {
    let file = match std::fs::read(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Bytes::new()),
        Err(error) => return Err(error),
    };
    let (lines, torn) = frame::lines(file);
    if torn > 0 {
        tracing::info!(file = %path.display(), torn, "bytes of log lines that were not whole");
    }
    Ok(lines.into())
}

async fn remove(path: PathBuf) -> std::io::Result<()> {
    blocking(path, |path| match std::fs::remove_file(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        done => done,
    })
    .await
}

async fn blocking<T: Send + 'static>(
    path: PathBuf,
    work: impl FnOnce(PathBuf) -> std::io::Result<T> + Send + 'static,
) -> std::io::Result<T> {
    let done = tokio::task::spawn_blocking(move || work(path)).await;
    // It neither panics nor is cancelled, but for the end of the runtime.
    done.map_err(std::io::Error::other)?
}
