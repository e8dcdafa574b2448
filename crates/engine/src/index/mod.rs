//! One index: its log, memtable and segments.
//!
//! ```text
//!   put, delete --> [writer] --commit--> log
//!                      | apply            slots
//!                      v                    |  replay when opened ([open])
//!                  [tables] --publish--> [view] <-- query, get, list
//!                      | freeze
//!                      v
//!                  [flush] --> segment objects --+--> [fold]: manifest
//!                  [merge] --> one for several --+      |
//!                                                       v
//!                                                   [collect]
//! ```

pub(crate) mod body;
pub(crate) mod chunk;
mod clusters;
pub(crate) mod codes;
pub(crate) mod collect;
mod compact;
pub(crate) mod event;
pub(crate) mod flush;
mod fold;
mod group;
mod keymap;
pub(crate) mod merge;
pub(crate) mod object;
mod open;
mod pace;
mod tables;
pub(crate) mod view;
mod writer;

#[cfg(test)]
pub(crate) mod tests;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use vb_commit::{CommitError, CreateError, Log, Tip};
use vb_search::Schema;

pub(crate) use group::PAYLOAD_BYTES_MAX;

use crate::context::Context;
use crate::error::Error;
use crate::fetch::{self, Origin};
use crate::gauge::Gauge;
use crate::mailbox::{Mailbox, Unanswered, mailbox};
use crate::options::ReadConsistency;
use crate::paths;
use crate::plan::{IndexFacts, SLOTS_MAX, SegmentFacts};
use crate::records::{IndexId, IndexSettings};
use crate::registry::Opened;
use body::Body;
use collect::Wanted;
use pace::Pace;
use view::{Published, SegmentView};
use writer::{At, Request, Writer};

/// An open index: what its readers see, and the way to its writer task.
#[derive(Debug)]
pub(crate) struct OpenIndex {
    origin: Origin,
    pub(crate) id: IndexId,
    published: Arc<Published>,
    /// When the last proof began that the view was current.
    proved_at: Mutex<Option<Instant>>,
    mailbox: Mailbox<Request>,
    /// One flush at a time.
    flushes: Semaphore,
    /// One merge at a time.
    merges: Semaphore,
    pub(crate) status: Status,
}

/// What the driver and the metrics need to know, as of the writer's last step.
#[derive(Debug, Default)]
pub(crate) struct Status {
    /// Bytes in memtables; writers wait for it to fall.
    unflushed: Gauge,
    active_bytes: AtomicUsize,
    slots: AtomicUsize,
    segments: AtomicUsize,
    since: Mutex<Option<Instant>>,
    flushing: AtomicBool,
    flush_tries: Tries,
    merge_tries: Tries,
    /// Last use and last write, milliseconds of the context's uptime.
    used_ms: AtomicU64,
    written_ms: AtomicU64,
}

impl Status {
    /// Nothing is open any more.
    fn clear(&self, context: &Context) {
        self.set_unflushed(context, 0);
        self.active_bytes.store(0, Ordering::Relaxed);
        self.slots.store(0, Ordering::Relaxed);
        self.segments.store(0, Ordering::Relaxed);
        *self.since.lock() = None;
        self.flushing.store(false, Ordering::Relaxed);
    }

    /// Notes how much waits for flushes, here and in the engine's budget.
    fn set_unflushed(&self, context: &Context, bytes: usize) {
        let before = self.unflushed.set(bytes);
        context.budget.memtables.change(before, bytes);
    }

    pub(crate) fn unflushed_bytes(&self) -> usize {
        self.unflushed.get()
    }

    pub(crate) fn segment_count(&self) -> usize {
        self.segments.load(Ordering::Relaxed)
    }
}

/// Failures in a row of one kind of work, and when it may be tried again.
#[derive(Debug, Default)]
struct Tries {
    failures: AtomicUsize,
    retry_at: Mutex<Option<Instant>>,
}

impl Tries {
    fn succeeded(&self) {
        self.failures.store(0, Ordering::Relaxed);
        *self.retry_at.lock() = None;
    }

    /// Returns how long the work rests now.
    fn failed(&self) -> Duration {
        let rest = retry_delay(self.failures.fetch_add(1, Ordering::Relaxed));
        *self.retry_at.lock() = Some(Instant::now() + rest);
        rest
    }

    fn is_resting(&self) -> bool {
        self.retry_at.lock().is_some_and(|at| Instant::now() < at)
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
            proved_at: Mutex::default(),
            mailbox,
            flushes: Semaphore::new(1),
            merges: Semaphore::new(1),
            status,
        });
        index.touch();
        index.note_strays(opened.manifest.number);
        let writer = Writer {
            origin,
            published: Arc::clone(&index.published),
            index: Arc::downgrade(&index),
            log,
            at,
            tables: Some(tables),
            counters,
            flush: None,
            early: Vec::new(),
            gathering: None,
            pace: Pace::default(),
            started: VecDeque::new(),
            readers: Vec::new(),
            waiting: Vec::new(),
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
        self.status.used_ms.store(self.now_ms(), Ordering::Relaxed);
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.origin.context.uptime().as_millis()).unwrap_or(u64::MAX)
    }

    /// A crash in the middle of a flush or merge leaves objects behind; so does closing an index before
    /// its garbage was due. An index that was never folded has none of the kind that is worth a look.
    fn note_strays(&self, manifest: u64) {
        let context = &self.origin.context;
        if manifest > 0 {
            let sole_writer = context.store.sole_writer();
            let after = if sole_writer { Duration::ZERO } else { context.options.collect_grace };
            context.garbage.note(self.id, Wanted::All, after);
        }
    }

    /// Whether the view is current without asking anybody.
    pub(crate) fn is_current(&self) -> bool {
        self.origin.context.store.sole_writer() && !self.published.is_behind()
    }

    /// Makes every write visible that was acknowledged before now, by any process; or, where reads may
    /// be stale, that was acknowledged so long ago.
    ///
    /// One list that proves the log's tip, shared by all who wait, is enough where nothing is new; the
    /// writer task is asked only for slots that are not visible yet.
    pub(crate) async fn catch_up(&self) -> Result<(), WriteError> {
        if self.is_current() {
            return Ok(());
        }
        let began = Instant::now();
        let up_to = match self.published.prover() {
            Some(_) if self.is_fresh_enough(began) => return Ok(()),
            Some(prover) => match prover.tip().await {
                Ok(Tip::At(tip)) if self.published.shows(tip) => {
                    *self.proved_at.lock() = Some(began);
                    return Ok(());
                }
                Ok(Tip::At(tip)) => Some(tip),
                Ok(Tip::Unclear) => None,
                Err(error) => return Err(WriteError::Failed(error.into())),
            },
            None => None,
        };
        let asked = self.mailbox.ask(|reply| Request::CatchUp { up_to, reply }).await;
        let answered = self.answer(asked);
        if answered.is_ok() {
            *self.proved_at.lock() = Some(began);
        }
        answered
    }

    /// Looks for a newer manifest, because objects that this one names are gone.
    pub(crate) async fn read_anew(&self) -> Result<(), WriteError> {
        self.answer(self.mailbox.ask(|reply| Request::ReadAnew { reply }).await)
    }

    fn is_fresh_enough(&self, now: Instant) -> bool {
        match self.origin.context.options.read_consistency {
            ReadConsistency::Strong => false,
            ReadConsistency::Bounded(age) => {
                self.proved_at.lock().is_some_and(|proved| now - proved <= age)
            }
        }
    }

    /// Commits a batch; returns once it is durable and visible.
    pub(crate) async fn write(&self, payload: Bytes) -> Result<(), WriteError> {
        if payload.len() > PAYLOAD_BYTES_MAX {
            let (bytes, bytes_max) = (payload.len(), PAYLOAD_BYTES_MAX);
            return Err(WriteError::Failed(Error::TooLarge { bytes, bytes_max }));
        }
        self.status.written_ms.store(self.now_ms(), Ordering::Relaxed);
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

    /// Back-pressure: waits while too much is unflushed, here or in all indexes together.
    async fn wait_for_room(&self) -> Result<(), Error> {
        let context = &self.origin.context;
        if self.has_room() && !context.budget.memtables.are_full() {
            return Ok(());
        }
        context.wake.notify_one();
        let started = Instant::now();
        let waited = tokio::time::timeout(context.options.write_delay_max, self.room()).await;
        context.meters.write_delay_micros.add_time(started.elapsed());
        waited.map_err(|_| {
            context.meters.writes_refused.add(1);
            Error::Busy
        })
    }

    /// Four memtables' worth of records, and some thousand slots, may be unflushed.
    fn has_room(&self) -> bool {
        let context = &self.origin.context;
        let bytes_max = context.budget.memtable_bytes_max(&context.options).saturating_mul(4);
        let slots = self.status.slots.load(Ordering::Relaxed);
        self.status.unflushed_bytes() < bytes_max && slots < SLOTS_MAX
    }

    async fn room(&self) {
        let memtables = &self.origin.context.budget.memtables;
        while !self.has_room() || memtables.are_full() {
            self.status.unflushed.wait_until(|_| self.has_room()).await;
            memtables.room().await;
        }
    }

    /// Facts for the driver's planner.
    pub(crate) fn facts(&self) -> IndexFacts {
        let status = &self.status;
        let since = *status.since.lock();
        let uptime = self.origin.context.uptime();
        let ago = |at: &AtomicU64| {
            uptime.saturating_sub(Duration::from_millis(at.load(Ordering::Relaxed)))
        };
        let fact = |view: &SegmentView| SegmentFacts {
            name: view.meta.name,
            bytes: view.meta.length,
            docs: u64::from(view.docs()),
            deleted: view.folded.bits.len(),
            unfolded: view.deleted.len() - view.folded.bits.len(),
        };
        IndexFacts {
            active_bytes: status.active_bytes.load(Ordering::Relaxed),
            slots: status.slots.load(Ordering::Relaxed),
            age: since.map_or(Duration::ZERO, |since| since.elapsed()),
            crowded: false,
            frozen: status.flushing.load(Ordering::Relaxed),
            flush_rests: status.flush_tries.is_resting() || self.flushes.available_permits() == 0,
            merge_rests: status.merge_tries.is_resting(),
            merging: self.merges.available_permits() == 0,
            unwritten: ago(&status.written_ms),
            idle: ago(&status.used_ms),
            segments: self.published.view().segments.iter().map(fact).collect(),
        }
    }

    /// Carries out one flush, if there is anything to flush.
    pub(crate) async fn flush(&self) -> Result<(), Error> {
        let _one = self.flushes.acquire().await.map_err(|_| Error::Closed)?;
        let flushed = self.try_flush().await;
        match &flushed {
            // Another flush came first, and took the same records.
            Ok(()) | Err(Error::Conflict) => self.status.flush_tries.succeeded(),
            Err(error) => {
                self.origin.context.meters.flushes_failed.add(1);
                let rest = self.status.flush_tries.failed();
                tracing::warn!(index = %self.id, %error, ?rest, "a flush failed; the log keeps the records");
            }
        }
        flushed
    }

    async fn try_flush(&self) -> Result<(), Error> {
        // A task that is gone has nothing to flush.
        let frozen = self.mailbox.ask(|reply| Request::Freeze { reply }).await;
        let Ok(frozen) = frozen else { return Ok(()) };
        let Some(flush) = frozen? else { return Ok(()) };
        let flushed = Box::new(flush::run(&self.origin, &flush).await?);
        let written = flushed.written.clone();
        let folded = self.mailbox.ask(|reply| Request::Fold { flush, flushed, reply }).await;
        self.unless_unsent(folded, written).await
    }

    /// Merges these segments into one, or all of them.
    pub(crate) async fn merge(&self, names: Option<BTreeSet<u128>>) -> Result<(), Error> {
        let _one = self.merges.acquire().await.map_err(|_| Error::Closed)?;
        let merged = self.try_merge(names).await;
        let meters = &self.origin.context.meters;
        match &merged {
            Ok(()) => self.status.merge_tries.succeeded(),
            // Another process merged them first: soon there may be others to merge.
            Err(Error::Conflict) => {
                meters.merges_failed.add(1);
                self.status.merge_tries.failed();
            }
            Err(error) => {
                meters.merges_failed.add(1);
                let rest = self.status.merge_tries.failed();
                tracing::warn!(index = %self.id, %error, ?rest, "a merge failed; its inputs stay");
            }
        }
        merged
    }

    async fn try_merge(&self, names: Option<BTreeSet<u128>>) -> Result<(), Error> {
        // A task that is gone has nothing to merge.
        let begun = self.mailbox.ask(|reply| Request::BeginMerge { names, reply }).await;
        let Ok(begun) = begun else { return Ok(()) };
        let Some(merge) = begun? else { return Ok(()) };
        let merged = match merge::run(&self.origin, merge).await {
            // Another process replaced and collected an input meanwhile.
            Err(error) if fetch::is_gone(&error) => return Err(Error::Conflict),
            merged => Box::new(merged?),
        };
        let path = paths::segment(self.id, merged.merge.name);
        let written = merged.output.as_ref().map(|_| path).into_iter().collect();
        let answer = self.mailbox.ask(|reply| Request::Merged { merged, reply }).await;
        self.unless_unsent(answer, written).await
    }

    /// What a fold came to. If the index was closed or dropped before its writer saw it, no manifest
    /// will name the objects.
    async fn unless_unsent(
        &self,
        answer: Result<Result<(), Error>, Unanswered>,
        written: Vec<String>,
    ) -> Result<(), Error> {
        if let Err(Unanswered::NotSent) = answer {
            flush::discard(&self.origin.context.store, written).await;
        }
        answer.unwrap_or(Err(Error::Closed))
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
