//! One index: its log, memtable and segments.
//!
//! ```text
//!   put, delete --> [writer] --commit--> log
//!                      | apply            slots
//!                      v                    |  replay when opened ([open])
//!                  [tables] --publish--> [view] <-- query, get, list
//!                      | freeze
//!                      v
//!                  [flush] --> segment object, manifest
//! ```

pub(crate) mod body;
pub(crate) mod chunk;
pub(crate) mod event;
pub(crate) mod flush;
mod keymap;
mod open;
mod tables;
pub(crate) mod view;
mod writer;

#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;
use vb_commit::{CommitError, CreateError, Log};
use vb_search::Schema;

pub(crate) use writer::PAYLOAD_BYTES_MAX;

use crate::context::Context;
use crate::error::Error;
use crate::fetch::Origin;
use crate::mailbox::{Mailbox, Unanswered, mailbox};
use crate::paths;
use crate::plan::IndexFacts;
use crate::records::{IndexId, IndexSettings};
use crate::registry::Opened;
use body::Body;
use view::Published;
use writer::{At, Request, Writer};

/// An open index: what its readers see, and the way to its writer task.
#[derive(Debug)]
pub(crate) struct OpenIndex {
    origin: Origin,
    pub(crate) id: IndexId,
    published: Arc<Published>,
    mailbox: Mailbox<Request>,
    /// One flush at a time.
    flushes: Semaphore,
    pub(crate) status: Status,
}

/// What the driver and the metrics need to know, as of the writer's last step.
#[derive(Debug)]
pub(crate) struct Status {
    /// Bytes in memtables; writers wait for it to fall.
    unflushed: watch::Sender<usize>,
    active_bytes: AtomicUsize,
    slots: AtomicUsize,
    segments: AtomicUsize,
    since: Mutex<Option<Instant>>,
    flushing: AtomicBool,
    /// When a failed flush may be tried again.
    retry_at: Mutex<Option<Instant>>,
    failures: AtomicUsize,
    /// Last use, milliseconds of the context's uptime.
    used_ms: AtomicU64,
}

impl Default for Status {
    fn default() -> Self {
        Self {
            unflushed: watch::Sender::new(0),
            active_bytes: AtomicUsize::default(),
            slots: AtomicUsize::default(),
            segments: AtomicUsize::default(),
            since: Mutex::default(),
            flushing: AtomicBool::default(),
            retry_at: Mutex::default(),
            failures: AtomicUsize::default(),
            used_ms: AtomicU64::default(),
        }
    }
}

impl Status {
    /// Nothing is open any more.
    fn clear(&self) {
        self.unflushed.send_replace(0);
        self.active_bytes.store(0, Ordering::Relaxed);
        self.slots.store(0, Ordering::Relaxed);
        self.segments.store(0, Ordering::Relaxed);
        *self.since.lock() = None;
        self.flushing.store(false, Ordering::Relaxed);
    }

    pub(crate) fn unflushed_bytes(&self) -> usize {
        *self.unflushed.borrow()
    }

    pub(crate) fn segment_count(&self) -> usize {
        self.segments.load(Ordering::Relaxed)
    }
}

/// Why a write was not answered with success.
pub(crate) enum WriteError {
    /// The task is ending and never saw it: open the index again and repeat.
    NotSent,
    /// Tell the caller.
    Failed(Error),
}

impl Opened for OpenIndex {
    fn is_ending(&self) -> bool {
        self.mailbox.is_ending()
    }

    async fn ended(&self) {
        self.mailbox.ended().await;
    }
}

impl OpenIndex {
    /// Opens an index: reads its manifest and the slots above, and starts its writer task. Nothing is
    /// read of its segments; that is left to the first call. [`Error::NoSuchIndex`] if the index was
    /// dropped or never existed.
    pub(crate) async fn open(
        context: &Arc<Context>,
        id: IndexId,
        settings: &IndexSettings,
    ) -> Result<Arc<Self>, Error> {
        let schema = Arc::new(settings.schema.clone());
        let origin = Origin { context: Arc::clone(context), id, schema };
        let opened = Log::open(&context.store, &paths::index(id), context.writer).await?;
        let (log, opened) = opened.ok_or(Error::NoSuchIndex)?;
        let published = Arc::new(Published::default());
        let slots = opened.slots.len();
        let at = At::new(&opened.manifest, &opened.slots);
        let of = Arc::clone(&published);
        let (tables, counters) =
            open::tables(&origin, &opened.manifest, opened.slots, &[], of).await?;
        published.fall_behind(tables.segments());
        context.meters.opens.add(1);
        let (mailbox, inbox) = mailbox();
        let status = Status::default();
        let index = Arc::new(Self {
            origin: origin.clone(),
            id,
            published,
            mailbox,
            flushes: Semaphore::new(1),
            status,
        });
        index.touch();
        let writer = Writer {
            origin,
            published: Arc::clone(&index.published),
            index: Arc::downgrade(&index),
            log,
            at,
            tables: Some(tables),
            counters,
            flush: None,
            slots,
            since: (slots > 0).then(Instant::now),
        };
        writer.show_status();
        tokio::spawn(writer.run(inbox));
        Ok(index)
    }

    /// What readers see. [`OpenIndex::catch_up`] comes first.
    pub(crate) fn published(&self) -> &Published {
        &self.published
    }

    /// Where its objects are.
    pub(crate) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Notes that somebody uses the index.
    pub(crate) fn touch(&self) {
        let now = u64::try_from(self.origin.context.uptime().as_millis()).unwrap_or(u64::MAX);
        self.status.used_ms.store(now, Ordering::Relaxed);
    }

    /// Whether the view is current without asking anybody.
    pub(crate) fn is_current(&self) -> bool {
        self.origin.context.store.sole_writer() && !self.published.is_behind()
    }

    /// Makes every write visible that was acknowledged before now, by any process.
    pub(crate) async fn catch_up(&self) -> Result<(), WriteError> {
        if self.is_current() {
            return Ok(());
        }
        self.answer(self.mailbox.ask(|reply| Request::CatchUp { reply }).await)
    }

    /// Commits a batch; returns once it is durable and visible.
    pub(crate) async fn write(&self, payload: Bytes) -> Result<(), WriteError> {
        if payload.len() > PAYLOAD_BYTES_MAX {
            let (bytes, bytes_max) = (payload.len(), PAYLOAD_BYTES_MAX);
            return Err(WriteError::Failed(Error::TooLarge { bytes, bytes_max }));
        }
        self.wait_for_room().await.map_err(WriteError::Failed)?;
        self.answer(self.mailbox.ask(|reply| Request::Write { payload, reply }).await)
    }

    fn answer(&self, answered: Result<Result<(), Error>, Unanswered>) -> Result<(), WriteError> {
        match answered {
            Ok(answer) => answer.map_err(WriteError::Failed),
            Err(Unanswered::NotSent) => Err(WriteError::NotSent),
            Err(Unanswered::Lost) => Err(WriteError::Failed(Error::OutcomeUnknown)),
        }
    }

    /// Back-pressure: waits while four memtables' worth of records is unflushed.
    async fn wait_for_room(&self) -> Result<(), Error> {
        let options = &self.origin.context.options;
        let limit = options.memtable_bytes_max.saturating_mul(4);
        if self.status.unflushed_bytes() < limit {
            return Ok(());
        }
        self.origin.context.wake.notify_one();
        let started = Instant::now();
        let mut unflushed = self.status.unflushed.subscribe();
        let room = unflushed.wait_for(|bytes| *bytes < limit);
        let waited = tokio::time::timeout(options.write_delay_max, room).await;
        let meters = &self.origin.context.meters;
        meters.write_delay_micros.add_time(started.elapsed());
        match waited {
            Ok(_) => Ok(()),
            Err(_) => {
                meters.writes_refused.add(1);
                Err(Error::Busy)
            }
        }
    }

    /// Facts for the driver's planner.
    pub(crate) fn facts(&self) -> IndexFacts {
        let status = &self.status;
        let now = Instant::now();
        let since = *status.since.lock();
        let retry_at = *status.retry_at.lock();
        let used = Duration::from_millis(status.used_ms.load(Ordering::Relaxed));
        IndexFacts {
            active_bytes: status.active_bytes.load(Ordering::Relaxed),
            slots: status.slots.load(Ordering::Relaxed),
            age: since.map_or(Duration::ZERO, |since| now - since),
            frozen: status.flushing.load(Ordering::Relaxed),
            resting: retry_at.is_some_and(|at| now < at) || self.flushes.available_permits() == 0,
            idle: self.origin.context.uptime().saturating_sub(used),
        }
    }

    /// Carries out one flush, if there is anything to flush.
    pub(crate) async fn flush(&self) -> Result<(), Error> {
        let _one = self.flushes.acquire().await.map_err(|_| Error::Closed)?;
        let flushed = self.try_flush().await;
        let mut retry_at = self.status.retry_at.lock();
        match &flushed {
            Ok(()) => {
                self.status.failures.store(0, Ordering::Relaxed);
                *retry_at = None;
            }
            // Another flush came first, and took the same records.
            Err(Error::Conflict) => *retry_at = None,
            Err(error) => {
                self.origin.context.meters.flushes_failed.add(1);
                let failures = self.status.failures.fetch_add(1, Ordering::Relaxed);
                let rest = retry_delay(failures);
                tracing::warn!(index = %self.id, %error, ?rest, "a flush failed; the log keeps the records");
                *retry_at = Some(Instant::now() + rest);
            }
        }
        flushed
    }

    async fn try_flush(&self) -> Result<(), Error> {
        // A task that is gone has nothing to flush.
        let frozen = self.mailbox.ask(|reply| Request::Freeze { reply }).await;
        let Ok(frozen) = frozen else { return Ok(()) };
        let Some(flush) = frozen? else { return Ok(()) };
        let flushed = Box::new(flush::run(&self.origin.context, Arc::clone(&flush)).await?);
        let written = flushed.written.clone();
        let folded = self.mailbox.ask(|reply| Request::Fold { flush, flushed, reply }).await;
        if let Err(Unanswered::NotSent) = folded {
            // The index was closed or dropped meanwhile: no manifest will name these objects.
            flush::discard(&self.origin.context.store, written).await;
        }
        folded.unwrap_or(Err(Error::Closed))?;
        collect_folded(&self.origin.context, self.id).await;
        Ok(())
    }

    /// Ends the log, so that no write is ever acknowledged again.
    pub(crate) async fn fence(&self) -> Result<(), WriteError> {
        self.answer(self.mailbox.ask(|reply| Request::Drop { reply }).await)
    }

    /// Ends the task after what waits in its inbox; returns when it is gone.
    pub(crate) async fn close(&self) {
        // A closed inbox means that the task is ending already.
        let _ = self.mailbox.send(Request::Close).await;
        self.mailbox.ended().await;
    }
}

/// Half a second, doubled with every failure in a row, one minute at most.
fn retry_delay(failures: usize) -> Duration {
    let doubled = 1u32 << failures.min(7);
    (Duration::from_millis(500) * doubled).min(Duration::from_secs(60))
}

/// Writes the manifest of a new, empty index.
pub(crate) async fn create(context: &Context, id: IndexId, schema: &Schema) -> Result<(), Error> {
    let body = Body::empty(schema.clone()).encode();
    match Log::create(&context.store, &paths::index(id), context.writer, body).await {
        Ok(_) => Ok(()),
        Err(CreateError::AlreadyExists) => Err(Error::Conflict),
        Err(CreateError::Unknown(_)) => Err(Error::OutcomeUnknown),
        Err(CreateError::Store(error)) => Err(error.into()),
    }
}

/// On a store without other writers, removes slots that the newest manifest has folded. Elsewhere
/// they may still be read, and are collected after a grace period. What cannot be removed now costs
/// space only, and the next flush tries again.
async fn collect_folded(context: &Context, id: IndexId) {
    if !context.store.sole_writer() {
        return;
    }
    if let Err(error) = Log::collect(&context.store, &paths::index(id), i64::MAX).await {
        tracing::warn!(index = %id, %error, "could not remove folded log slots");
    }
}

/// Ends the log of an index that is not open here. No write is acknowledged on it any more.
pub(crate) async fn fence(context: &Context, id: IndexId) -> Result<(), Error> {
    let opened = Log::open(&context.store, &paths::index(id), context.writer).await?;
    let Some((mut log, _)) = opened else { return Ok(()) };
    match log.close().await {
        Ok(()) | Err(CommitError::Closed) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Removes what is left of a fenced index. On a store with other writers the fence itself stays, for
/// writers that were stalled before the drop, until a `last` removal so much later that none is left.
pub(crate) async fn remove(context: &Context, id: IndexId, last: bool) -> Result<(), Error> {
    let prefix = paths::index(id);
    match Log::remove(&context.store, &prefix, context.writer).await {
        Ok(()) | Err(CommitError::Closed) => {}
        Err(error) => return Err(error.into()),
    }
    if last {
        Log::purge(&context.store, &prefix).await?;
    }
    Ok(())
}
