//! The one task that writes an index: owner of its log and its tables.
//!
//! It takes whatever waits in the inbox, commits all puts and deletes among it as one group,
//! applies the log's events in order, publishes, and only then answers. So an answer means durable
//! and visible. While one create is under way the next group gathers; it is sent as soon as that
//! create returns, beside the check whether it counts ([`super::group`]).
//!
//! What the log says is staged in the tables and then settled, which may have to read key indexes. If
//! such a read fails, the call fails with it, and everything that is staged waits for the next one.
//!
//! A task that cannot go on (its log was dropped, or is corrupt) answers with the error and ends; the
//! next use opens the index anew and meets the cause itself.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use futures_util::future::{join, try_join};
use futures_util::{StreamExt, TryStreamExt, stream};
use roaring::RoaringBitmap;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};
use vb_commit::{CommitError, Event, Log, Manifest, Progress, Slot};
use vb_search::Part;

use super::OpenIndex;
use super::body::Counters;
use super::flush::{Flush, Flushed, discard};
use super::fold::WaitingMerge;
use super::group::{Group, Reader, answer_all, gather_catch_ups};
use super::merge::{Merge, Merged};
use super::open;
use super::pace::Pace;
use super::tables::Tables;
use super::view::Published;
use crate::error::Error;
use crate::fetch::{self, Loaded, Missing, Origin};
use crate::mailbox::Inbox;

/// What a writer task is asked for.
#[derive(Debug)]
pub(crate) enum Request {
    /// Commits one batch.
    Write { payload: Bytes, reply: oneshot::Sender<Result<(), Error>> },
    /// Makes everything visible that was committed before now, by any process; or all slots up to
    /// one, if that is known to be enough.
    CatchUp { up_to: Option<u64>, reply: oneshot::Sender<Result<(), Error>> },
    /// Reads the log anew: objects of the snapshot are gone, so a newer manifest must be there.
    ReadAnew { reply: oneshot::Sender<Result<(), Error>> },
    /// Sets the memtable aside, or returns the flush that is still to be done.
    Freeze { reply: oneshot::Sender<Result<Option<Arc<Flush>>, Error>> },
    /// Commits a flush whose objects are written.
    Fold { flush: Arc<Flush>, flushed: Box<Flushed>, reply: oneshot::Sender<Result<(), Error>> },
    /// Says what a merge of these segments, or of all, starts from; `None` if there is nothing to do.
    BeginMerge {
        names: Option<BTreeSet<u128>>,
        reply: oneshot::Sender<Result<Option<Merge>, Error>>,
    },
    /// Commits a merge whose object is written, after the flush under way.
    Merged { merged: Box<Merged>, reply: oneshot::Sender<Result<(), Error>> },
    /// Ends the log for good: no write is ever acknowledged again.
    Drop { reply: oneshot::Sender<Result<(), Error>> },
    /// Ends the task; the log stays.
    Close,
}

impl Request {
    pub(super) fn is_write(&self) -> bool {
        matches!(self, Self::Write { .. })
    }
}

/// So few staged rows are settled on the async thread: handing over would cost more.
const SETTLE_INLINE_MAX: usize = 64;

/// Bitmap objects that are read at the same time.
const BITMAP_READS_MAX: usize = 16;

/// The task's state.
pub(crate) struct Writer {
    pub(crate) origin: Origin,
    pub(crate) published: Arc<Published>,
    /// Weak: a task whose callers are all gone ends.
    pub(crate) index: Weak<OpenIndex>,
    pub(crate) log: Log,
    pub(crate) at: At,
    /// `None` only while the pool works on them.
    pub(crate) tables: Option<Tables>,
    /// Counters of the newest manifest.
    pub(crate) counters: Counters,
    pub(crate) flush: Option<Arc<Flush>>,
    /// Read for the next attempt to settle, beside a proof.
    pub(super) early: Vec<(u128, Part)>,
    /// The group that gathers until it may be sent.
    pub(super) gathering: Option<Group>,
    pub(super) pace: Pace,
    /// Groups on their way, in the order of their start.
    pub(super) started: VecDeque<Group>,
    /// Readers who wait for slots that our own groups on their way may bring.
    pub(super) readers: Vec<Reader>,
    /// Merges that wait for the flush under way to be committed.
    pub(super) waiting: Vec<WaitingMerge>,
    /// Slots applied since the last freeze, and when the first of them was.
    pub(crate) slots: usize,
    pub(crate) since: Option<Instant>,
}

/// What the tables stand for: this manifest and the slots up to `tip`.
///
/// The log may know more than was handed out, or (after a failure) nothing until it is read anew.
#[derive(Clone, Copy, Debug)]
pub(crate) struct At {
    pub(super) manifest: u64,
    pub(super) floor: u64,
    pub(super) tip: u64,
}

impl At {
    pub(crate) fn new(manifest: &Manifest, slots: &[Slot]) -> Self {
        let (number, floor) = (manifest.number, manifest.floor);
        let tip = slots.last().map_or(floor.saturating_sub(1), |slot| slot.seq);
        Self { manifest: number, floor, tip }
    }
}

pub(super) type Waiting = Vec<oneshot::Sender<Result<(), Error>>>;

/// What the task does next.
enum Next {
    Serve(Request),
    Send,
    Note(Option<Progress>),
    End,
}

/// Whether the task goes on.
pub(super) type Step = Result<(), Error>;

impl Writer {
    /// Serves the inbox until the index is closed, dropped, or broken.
    pub(crate) async fn run(mut self, mut inbox: Inbox<Request>) {
        let mut pending = None;
        loop {
            let step = match self.next(&mut inbox, &mut pending).await {
                Next::Serve(request) => self.serve(request, &mut inbox, &mut pending).await,
                Next::Send => {
                    self.start();
                    Ok(())
                }
                Next::Note(Some(progress)) => self.note(progress).await,
                Next::Note(None) => Ok(()),
                Next::End => break,
            };
            let step = match step {
                Ok(()) => self.commit_waiting().await,
                Err(error) => Err(error),
            };
            self.show_status();
            if let Err(error) = step {
                self.refuse_started(&error).await;
                self.refuse_gathering(&error);
                self.refuse_rest(&error, &mut inbox, pending.take()).await;
                break;
            }
        }
        self.discard_waiting().await;
        if let Some(index) = self.index.upgrade() {
            index.status.clear(&self.origin.context);
        }
        // Only now is the task gone for those who wait to open the index again.
        drop(self);
        drop(inbox);
    }

    /// Waits for the log to tell of groups on their way, for the group that gathers to be due, or
    /// for a request. A write that does not fit into that group is pending until it was sent.
    async fn next(&mut self, inbox: &mut Inbox<Request>, pending: &mut Option<Request>) -> Next {
        let due = self.due(pending.as_ref());
        if due.is_some_and(|due| due <= Instant::now()) {
            return Next::Send;
        }
        let gathers = self.gathering.is_some();
        if let Some(request) = pending.take_if(|next| !gathers || !next.is_write()) {
            return Next::Serve(request);
        }
        let takes = pending.is_none();
        tokio::select! {
            biased;
            progress = self.log.progress(), if self.log.is_busy() => Next::Note(progress),
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => Next::Note(None),
            request = inbox.receiver.recv(), if takes => match request {
                Some(request) => Next::Serve(request),
                // Nobody asks any more; what was sent is seen to its end.
                None if self.log.is_busy() => Next::Note(self.log.progress().await),
                None if gathers => Next::Send,
                None => Next::End,
            },
        }
    }

    /// Requests that were never looked at certainly had no effect.
    async fn refuse_rest(
        &self,
        error: &Error,
        inbox: &mut Inbox<Request>,
        pending: Option<Request>,
    ) {
        match error {
            Error::NoSuchIndex => tracing::debug!(index = %self.origin.id, "dropped"),
            error => tracing::error!(index = %self.origin.id, %error, "an index is closed"),
        }
        inbox.receiver.close();
        let mut next = pending;
        while let Some(request) = next.or_else(|| inbox.receiver.try_recv().ok()) {
            match request {
                Request::Write { reply, .. }
                | Request::CatchUp { reply, .. }
                | Request::ReadAnew { reply } => {
                    answer_all(vec![reply], &Err(error.clone()));
                }
                // No manifest will name its objects.
                Request::Fold { flushed, .. } => {
                    discard(&self.origin.context.store, flushed.written).await;
                }
                Request::Merged { merged, .. } => {
                    let written = self.written_by(&merged, None);
                    discard(&self.origin.context.store, written).await;
                }
                // Their senders take a missing answer for "ended".
                Request::Freeze { .. }
                | Request::BeginMerge { .. }
                | Request::Drop { .. }
                | Request::Close => {}
            }
            next = None;
        }
    }

    async fn serve(
        &mut self,
        request: Request,
        inbox: &mut Inbox<Request>,
        pending: &mut Option<Request>,
    ) -> Step {
        match request {
            write @ Request::Write { .. } => {
                self.gather(write, inbox, pending);
                Ok(())
            }
            Request::CatchUp { up_to: Some(seq), reply } => {
                self.readers.push(Reader { seq, reply });
                self.answer_readers().await
            }
            read @ Request::CatchUp { up_to: None, .. } if self.gathering.is_some() => {
                self.gather(read, inbox, pending);
                Ok(())
            }
            Request::CatchUp { up_to: None, reply } => {
                let waiting = gather_catch_ups(reply, inbox, pending);
                self.catch_up(waiting).await
            }
            Request::ReadAnew { reply } => self.read_anew(reply).await,
            Request::Freeze { reply } => {
                let frozen = match self.settle().await {
                    Ok(()) => Ok(self.freeze()),
                    Err(error) => Err(error),
                };
                // A driver that went away meanwhile asks again.
                let _ = reply.send(frozen);
                Ok(())
            }
            Request::Fold { flush, flushed, reply } => self.fold(&flush, *flushed, reply).await,
            Request::BeginMerge { names, reply } => {
                let (merge, step) = self.begin_merge(names.as_ref()).await;
                // A driver that went away meanwhile begins another one.
                let _ = reply.send(merge);
                step
            }
            Request::Merged { merged, reply } => self.merged(merged, reply).await,
            Request::Drop { reply } => self.drop_log(reply).await,
            Request::Close => {
                inbox.receiver.close();
                Ok(())
            }
        }
    }

    pub(super) async fn catch_up(&mut self, waiting: Waiting) -> Step {
        let tables = self.tables.as_ref().expect("tables are at rest between steps");
        let early = early_reads(&self.origin, tables);
        let (caught, early) = join(self.log.catch_up(), early).await;
        let (answer, step) = match caught {
            Ok(events) => {
                self.early = early.unwrap_or_default();
                self.show(events).await
            }
            Err(error) => {
                let step = fatal(&error);
                (Err(commit_error(error)), step)
            }
        };
        answer_all(waiting, &answer);
        step
    }

    async fn read_anew(&mut self, reply: oneshot::Sender<Result<(), Error>>) -> Step {
        let (answer, step) = match self.log.read_anew().await {
            Ok(events) => self.show(events).await,
            Err(error) => {
                let step = fatal(&error);
                (Err(commit_error(error)), step)
            }
        };
        answer_all(vec![reply], &answer);
        step
    }

    /// Applies the log's events and makes them visible. The first result is the callers', the second
    /// tells whether the task goes on.
    pub(super) async fn show(&mut self, events: Vec<Event>) -> (Result<(), Error>, Step) {
        let applied = self.apply(events).await;
        match applied {
            Ok(()) => (self.settle().await, Ok(())),
            Err(error) => (Err(error.clone()), Err(error)),
        }
    }

    /// Makes visible what is staged. A segment that is gone has been replaced by a newer manifest,
    /// which is looked for, or was lost.
    pub(super) async fn settle(&mut self) -> Result<(), Error> {
        let settled = match self.try_settle().await {
            Err(error) if fetch::is_gone(&error) && !self.origin.context.store.sole_writer() => {
                let events = self.log.read_anew().await.map_err(commit_error)?;
                self.apply(events).await?;
                self.try_settle().await
            }
            settled => settled,
        };
        match &settled {
            Ok(()) => self.published.reach(self.at.tip, self.log.prover()),
            Err(_) => {
                if let Some(tables) = &self.tables {
                    self.published.fall_behind(tables.segments());
                }
            }
        }
        settled.map_err(fetch::lost)
    }

    async fn try_settle(&mut self) -> Result<(), Error> {
        let views = self.tables().segments().into();
        let mut loaded = Loaded::new(self.origin.clone(), views);
        loaded.receive(std::mem::take(&mut self.early));
        loop {
            let step;
            (loaded, step) = self.settle_with(loaded).await;
            let Some(missing) = step? else { return Ok(()) };
            let (parts, bitmaps) = try_join(
                fetch::read(&self.origin.context, missing),
                unread_bitmaps(&self.origin, self.tables()),
            )
            .await?;
            loaded.receive(parts);
            self.take_bitmaps(bitmaps)?;
        }
    }

    /// One attempt to settle, on the pool if there is much to do.
    async fn settle_with(
        &mut self,
        mut loaded: Loaded,
    ) -> (Loaded, Result<Option<Missing>, Error>) {
        if self.tables().is_settled() {
            return (loaded, Ok(None));
        }
        if self.tables().staged_rows() <= SETTLE_INLINE_MAX {
            let step = self.tables_mut().settle(&mut loaded);
            return (loaded, step);
        }
        let mut tables = self.tables.take().expect("tables are at rest between steps");
        let work = move || {
            let step = tables.settle(&mut loaded);
            (tables, loaded, step)
        };
        let (tables, loaded, step) = self.origin.context.pool.run(work).await;
        self.tables = Some(tables);
        (loaded, step)
    }

    fn take_bitmaps(&mut self, bitmaps: Vec<RoaringBitmap>) -> Result<(), Error> {
        if bitmaps.is_empty() {
            return Ok(());
        }
        let deleted = self.counters.deleted;
        match self.tables_mut().take_bitmaps(bitmaps, deleted) {
            true => Ok(()),
            false => Err(open::wrong_deletions(self.origin.id, self.at.manifest)),
        }
    }

    pub(super) fn tables(&self) -> &Tables {
        self.tables.as_ref().expect("tables are at rest between steps")
    }

    pub(super) fn tables_mut(&mut self) -> &mut Tables {
        self.tables.as_mut().expect("tables are at rest between steps")
    }

    /// Stages the log's events in order.
    async fn apply(&mut self, events: Vec<Event>) -> Step {
        let mut slots = Vec::new();
        for event in events {
            match event {
                Event::Slot(slot) => slots.push(slot),
                Event::Reopened { manifest, slots: since, .. } => {
                    slots.clear();
                    self.reopen(&manifest, since).await?;
                }
            }
        }
        self.stage(slots).await
    }

    async fn stage(&mut self, slots: Vec<Slot>) -> Step {
        if slots.is_empty() {
            return Ok(());
        }
        self.at.tip = slots.last().map_or(self.at.tip, |slot| slot.seq);
        self.slots += slots.len();
        self.since.get_or_insert_with(Instant::now);
        let tables = self.tables.take().expect("tables are at rest between steps");
        self.tables = Some(open::stage(&self.origin, tables, slots).await?);
        Ok(())
    }

    /// The log was read anew: everything applied so far is replaced in one swap. A flush under way
    /// started from a state that is no more.
    pub(super) async fn reopen(&mut self, manifest: &Manifest, slots: Vec<Slot>) -> Step {
        self.flush = None;
        self.at = At::new(manifest, &slots);
        self.slots = slots.len();
        self.since = (!slots.is_empty()).then(Instant::now);
        let known = self.tables.as_ref().map_or(Vec::new(), |tables| tables.segments().to_vec());
        let published = Arc::clone(&self.published);
        let (tables, counters) =
            open::tables(&self.origin, manifest, slots, &known, published).await?;
        self.tables = Some(tables);
        self.counters = counters;
        Ok(())
    }

    async fn drop_log(&mut self, reply: oneshot::Sender<Result<(), Error>>) -> Step {
        match self.log.close().await {
            Ok(()) | Err(CommitError::Closed) => {
                // The dropper notices by itself if it went away.
                let _ = reply.send(Ok(()));
                Err(Error::NoSuchIndex)
            }
            Err(error) => {
                let _ = reply.send(Err(commit_error(error)));
                Ok(())
            }
        }
    }

    /// Notes what the driver and the metrics need to know.
    pub(crate) fn show_status(&self) {
        let (Some(tables), Some(index)) = (&self.tables, self.index.upgrade()) else { return };
        let status = &index.status;
        status.active_bytes.store(tables.active_bytes(), Ordering::Relaxed);
        status.slots.store(self.slots, Ordering::Relaxed);
        status.set_unflushed(&self.origin.context, tables.unflushed_bytes());
        status.segments.store(tables.segment_count(), Ordering::Relaxed);
        *status.since.lock() = self.since;
        status.flushing.store(tables.is_frozen(), Ordering::Relaxed);
        let context = &self.origin.context;
        let bytes_max = context.budget.memtable_bytes_max(&context.options);
        if !tables.is_frozen() && tables.active_bytes() >= bytes_max {
            context.wake.notify_one();
        }
    }
}

/// What the tables need first to settle. What fails is read again when they do.
async fn early_reads(origin: &Origin, tables: &Tables) -> Result<Vec<(u128, Part)>, Error> {
    match tables.first_reads(origin)? {
        Some(missing) => fetch::read(&origin.context, missing).await,
        None => Ok(Vec::new()),
    }
}

/// The bitmaps that the tables have not read yet.
async fn unread_bitmaps(origin: &Origin, tables: &Tables) -> Result<Vec<RoaringBitmap>, Error> {
    let docs = |name: u128| {
        let view = tables.segments().iter().find(|view| view.meta.name == name);
        view.map_or(0, |view| view.docs())
    };
    let reads =
        tables.unread().iter().map(|(name, object)| open::bitmap(origin, *object, docs(*name)));
    let reads: Vec<_> = reads.collect();
    stream::iter(reads).buffered(BITMAP_READS_MAX).try_collect().await
}

/// All slots of the events from a floor on, each once.
pub(super) fn slots_from(floor: u64, events: Vec<Event>) -> Vec<Slot> {
    let mut slots: Vec<Slot> = Vec::new();
    for event in events {
        match event {
            Event::Slot(slot) => slots.push(slot),
            Event::Reopened { slots: all, .. } => slots = all,
        }
    }
    slots.retain(|slot| slot.seq >= floor);
    slots
}

/// Whether the task cannot go on after this error.
pub(super) fn fatal(error: &CommitError) -> Step {
    match error {
        CommitError::Closed => Err(Error::NoSuchIndex),
        CommitError::Unknown(_) | CommitError::TooLarge { .. } | CommitError::Store(_) => Ok(()),
    }
}

/// What the callers of a failed commit are told.
pub(super) fn commit_error(error: CommitError) -> Error {
    match error {
        CommitError::Closed => Error::NoSuchIndex,
        other => other.into(),
    }
}
