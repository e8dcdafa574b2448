//! Bucket logging: a line per request, delivered as one object per bucket and hour.
//!
//! ```text
//! request -> Line -> queue -> Writer: Spool (files, or memory) -> Backlog -> Deliverer -> sink
//! ```
//!
//! - A request waits until its line is in its file, so that a killed process loses no line of a
//!   request that was answered; but no longer than [`WAIT_MAX`], and not at all while the disk
//!   stands still. Nothing else ever waits for a log.
//! - Queue, spool and open files are bounded; what does not fit is dropped, counted and reported.
//! - Every line is delivered at least once. Lines hold the request's id, which tells copies apart.
//! - No secret is in a line: see `escape`.
//!
//! `docs/logging.md` says what an operator sees of it.

mod asked;
mod counters;
mod deliver;
mod escape;
mod frame;
mod line;
mod piece;
mod plan;
mod sinks;
mod spool;
#[cfg(test)]
mod tests;
mod writer;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::oneshot;
use vb_commit::{Clock, Store};
use vb_engine::{BucketId, LoggingTarget};

pub(crate) use self::asked::Asked;
pub(crate) use self::counters::Counters;
use self::counters::Dropped;
use self::deliver::{Backlog, Deliverer};
pub(crate) use self::line::Line;
pub(crate) use self::piece::Destination;
use self::piece::Key;
use self::plan::Rules;
pub(crate) use self::sinks::LogTargets;
use self::sinks::Sinks;
use self::spool::Spool;
use self::writer::{Entry, Queue, Writer};
use crate::config::{Config, StoreUrl};
use crate::failure::Failure;

/// Longest time that a request waits for its line to be written.
const WAIT_MAX: Duration = Duration::from_millis(100);

/// Longest time that the end of the process waits for deliveries.
const CLOSE_PATIENCE: Duration = Duration::from_secs(10);

/// Buckets whose setting is remembered for requests that are refused before it is read.
const KNOWN_MAX: usize = 4096;

/// Files that are open at a time.
const OPEN_MAX: usize = 256;

/// Without a disk: bytes of a piece, and its age, at most.
const MEMORY_BYTES_MAX: u64 = 4 << 20;
const MEMORY_AGE_MAX_S: i64 = 300;

/// Without a disk: bytes of all pieces, at most.
const MEMORY_SPOOL_BYTES_MAX: u64 = 64 << 20;

/// Folder of the spool inside a local store.
const SPOOL_FOLDER: &str = "log-spool";

/// How a request learnt where its line goes.
pub(crate) enum Told {
    /// From the bucket's record, which the caller was allowed to have read.
    ByBucket(Arc<Destination>),
    /// It was refused before: by what is remembered, if anything. Such a request does not wait for
    /// its line, or its time would tell whether the bucket exists.
    ByMemory(BucketId),
}

/// The way of lines from requests to their sinks.
pub(crate) struct AccessLog {
    queue: Queue,
    known: RwLock<HashMap<BucketId, Arc<Destination>>>,
    counters: Arc<Counters>,
    clock: Arc<dyn Clock>,
    ending: Mutex<Option<Ending>>,
}

/// What [`AccessLog::close`] waits for.
struct Ending {
    writer: std::thread::JoinHandle<()>,
    delivery: tokio::task::JoinHandle<()>,
    backlog: Arc<Backlog>,
}

impl AccessLog {
    /// Opens spool and sinks, and begins to deliver what an earlier process left.
    ///
    /// # Errors
    /// A sink or a spool folder that cannot be used.
    pub(crate) fn start(
        config: &Config,
        store: Store,
        counters: Arc<Counters>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Failure> {
        let sinks = Sinks::open(config, store)?;
        let dir = spool_dir(config);
        let (rules, bytes_max) = rules(config, dir.is_some());
        let opened = Spool::open(dir.as_deref(), rules, bytes_max, Arc::clone(&counters));
        let (spool, left) = opened.map_err(|error| spool_failure(dir, &error))?;
        let backlog = Arc::<Backlog>::default();
        backlog.push(left);
        let writer = Writer {
            spool,
            backlog: Arc::clone(&backlog),
            counters: Arc::clone(&counters),
            clock: Arc::clone(&clock),
        };
        let (queue, writer) = writer.start().map_err(Failure::System)?;
        let deliverer =
            Deliverer { sinks, backlog: Arc::clone(&backlog), counters: Arc::clone(&counters) };
        let delivery = tokio::spawn(async move { deliverer.run().await });
        let ending = Mutex::new(Some(Ending { writer, delivery, backlog }));
        Ok(Self { queue, known: RwLock::default(), counters, clock, ending })
    }

    /// Where the lines of a bucket go, by its record; remembered for requests that are refused.
    pub(crate) fn learn(
        &self,
        bucket: &BucketId,
        target: Option<&LoggingTarget>,
    ) -> Option<Arc<Destination>> {
        let known = self.remembered(bucket);
        match (known, target) {
            (None, None) => None,
            (Some(known), Some(target)) if known.is(target) => Some(known),
            (_, Some(target)) => {
                let destination = Arc::new(Destination::new(bucket, target));
                self.remember(bucket, Arc::clone(&destination));
                Some(destination)
            }
            (Some(_), None) => {
                self.known.write().unwrap_or_else(PoisonError::into_inner).remove(bucket);
                None
            }
        }
    }

    fn remembered(&self, bucket: &BucketId) -> Option<Arc<Destination>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).get(bucket).cloned()
    }

    fn remember(&self, bucket: &BucketId, destination: Arc<Destination>) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() < KNOWN_MAX || known.contains_key(bucket) {
            known.insert(bucket.clone(), destination);
        }
    }

    /// The time, milliseconds since 1970.
    pub(crate) fn now_ms(&self) -> i64 {
        i64::try_from(self.clock.unix_ms()).unwrap_or(i64::MAX)
    }

    /// Writes the line of a finished request, whose head arrived `elapsed` ago, if its bucket is
    /// logged; `line` makes it of that time, seconds since 1970.
    pub(crate) async fn note(
        &self,
        told: Option<Told>,
        elapsed: Duration,
        line: impl FnOnce(i64) -> String,
    ) {
        let (destination, waits) = match told {
            Some(Told::ByBucket(destination)) => (Some(destination), true),
            Some(Told::ByMemory(bucket)) => (self.remembered(&bucket), false),
            None => (None, false),
        };
        let Some(destination) = destination else { return };
        let elapsed_ms = i64::try_from(elapsed.as_millis()).unwrap_or(0);
        let at_s = self.now_ms().saturating_sub(elapsed_ms).div_euclid(1000);
        let key = Key { destination, hour: plan::hour_of(at_s) };
        let (written, done) = oneshot::channel();
        if !self.queue.push(Entry { key, line: line(at_s), written }) {
            self.counters.line_dropped(&Dropped::QueueFull);
        } else if waits && !self.queue.stalled.load(Ordering::Relaxed) {
            let waited = tokio::time::timeout(WAIT_MAX, done).await;
            self.queue.stalled.fetch_or(waited.is_err(), Ordering::Relaxed);
        }
    }

    /// Ends the writing, and delivers what there is within a bounded time; the rest is on disk.
    pub(crate) async fn close(self: &Arc<Self>) {
        let ending = self.ending.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Ending { writer, delivery, backlog }) = ending else { return };
        let log = Arc::clone(self);
        let written = tokio::task::spawn_blocking(move || {
            log.queue.close();
            writer.join()
        });
        if !matches!(written.await, Ok(Ok(()))) {
            tracing::error!("the thread that writes access logs has panicked");
        }
        backlog.close();
        let abort = delivery.abort_handle();
        if tokio::time::timeout(CLOSE_PATIENCE, delivery).await.is_err() {
            abort.abort();
            tracing::warn!("not all access logs are delivered");
        }
    }
}

fn spool_dir(config: &Config) -> Option<PathBuf> {
    let of_store = || match &config.store {
        StoreUrl::Local(dir) => Some(dir.join(SPOOL_FOLDER)),
        StoreUrl::Memory | StoreUrl::Remote(_) => None,
    };
    config.logging.spool_dir.clone().or_else(of_store)
}

/// When pieces end, and what all of them may take.
fn rules(config: &Config, on_disk: bool) -> (Rules, u64) {
    let logging = &config.logging;
    let bytes_max = logging.object_bytes_max.0;
    let age_max_s = i64::try_from(logging.object_age_max.as_secs()).unwrap_or(i64::MAX);
    let spool_max = logging.spool_bytes_max.0;
    match on_disk {
        true => (Rules { bytes_max, age_max_s, open_max: OPEN_MAX }, spool_max),
        false => {
            let bytes_max = bytes_max.min(MEMORY_BYTES_MAX);
            let age_max_s = age_max_s.min(MEMORY_AGE_MAX_S);
            let rules = Rules { bytes_max, age_max_s, open_max: OPEN_MAX };
            (rules, spool_max.min(MEMORY_SPOOL_BYTES_MAX))
        }
    }
}

fn spool_failure(dir: Option<PathBuf>, error: &std::io::Error) -> Failure {
    let dir = dir.unwrap_or_default();
    Failure::Store(format!(
        "the spool of access logs, {}, cannot be used: {error}; free it, fix its owner, or set \
         logging.spool_dir to another folder",
        dir.display()
    ))
}
