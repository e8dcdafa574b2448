//! Buckets: one small commit log each.
//!
//! A bucket's log orders everything that concerns the bucket and which indexes it has ([`state`]).
//! A deleted bucket keeps its log, so that deletion and re-creation are ordered, too. An open bucket
//! is one task that owns the log, and a published state that name resolution reads. Open
//! buckets are few and close when idle; lists of buckets read records without opening ([`read`]).

pub(crate) mod command;
mod indexes;
pub(crate) mod read;
mod record;
pub(crate) mod state;
#[cfg(test)]
pub(crate) mod tests;
pub(crate) mod walk;
mod writer;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::time::Instant;
use vb_commit::{CreateError, Log};

use crate::context::Context;
use crate::error::Error;
use crate::mailbox::{Mailbox, Unanswered, mailbox};
use crate::options::Options;
use crate::paths;
use crate::records::{BucketId, IndexId};
use crate::registry::Opened;
use command::Command;
use state::{Applied, Bucket};
use writer::{Request, Writer};

/// An open bucket.
#[derive(Debug)]
pub(crate) struct OpenBucket {
    context: Arc<Context>,
    published: Arc<PublishedBucket>,
    mailbox: Mailbox<Request>,
    used_ms: AtomicU64,
    cleaning: Mutex<Cleaning>,
}

/// How far the removal of dropped indexes has come.
#[derive(Debug, Default)]
struct Cleaning {
    /// Swept once, to be swept again after the grace period.
    swept: BTreeSet<IndexId>,
    /// After a failure, when to try again.
    retry_at: Option<Instant>,
}

/// Pause after a failed cleaning.
const CLEANING_REST: Duration = Duration::from_secs(10);

/// With more buckets open than `buckets_open_max`, those that were idle for this long are closed.
const IDLE_CROWDED: Duration = Duration::from_secs(2);

/// How long a bucket may be idle before it is closed, when so many are open.
pub(crate) fn idle_max(open: usize, options: &Options) -> Duration {
    let crowded = open > options.buckets_open_max;
    if crowded { options.idle_after.min(IDLE_CROWDED) } else { options.idle_after }
}

/// The bucket's state as last read from its log.
#[derive(Debug)]
pub(crate) struct PublishedBucket {
    state: ArcSwap<Bucket>,
    /// Whether the state has something to clean; looked at twice a second for every open bucket.
    unfinished: AtomicBool,
    /// When the tip was last proven, milliseconds of the context's uptime.
    proven_ms: AtomicU64,
}

impl PublishedBucket {
    fn new(state: Arc<Bucket>, proven_ms: u64) -> Self {
        let unfinished = AtomicBool::new(state.is_unfinished());
        Self { state: ArcSwap::new(state), unfinished, proven_ms: AtomicU64::new(proven_ms) }
    }

    fn publish(&self, state: Arc<Bucket>) {
        self.unfinished.store(state.is_unfinished(), Ordering::Relaxed);
        self.state.store(state);
    }
}

/// Why the bucket's task gave no answer.
pub(crate) enum AskError {
    /// The task is ending and never saw the request: open the bucket again and repeat.
    NotSent,
    /// Tell the caller.
    Failed(Error),
}

impl Opened for OpenBucket {
    fn is_ending(&self) -> bool {
        self.mailbox.is_ending()
    }

    async fn ended(&self) {
        self.mailbox.ended().await;
    }
}

impl OpenBucket {
    /// Opens a bucket's log; `create` makes it first if there is none, else [`Error::NoSuchBucket`].
    pub(crate) async fn open(
        context: &Arc<Context>,
        id: &BucketId,
        create: bool,
    ) -> Result<Arc<Self>, Error> {
        let prefix = paths::bucket(id);
        // What is read now is at least as new as this moment, which is all that a cached record
        // claims. Whoever needs the bucket as of now proves the tip, and so that the view is coherent.
        let proven_ms = uptime_ms(context);
        let mut opened = Log::open(&context.store, &prefix, context.writer).await?;
        if opened.is_none() && create {
            create_log(context, &prefix).await?;
            opened = Log::open(&context.store, &prefix, context.writer).await?;
        }
        let (log, opened) = opened.ok_or(Error::NoSuchBucket)?;
        let mut state = writer::decode_manifest(&prefix, &opened.manifest)?;
        writer::apply_slots(&prefix, &mut state, &opened.slots)?;
        let state = Arc::new(state);
        let published = Arc::new(PublishedBucket::new(Arc::clone(&state), proven_ms));
        let (mailbox, inbox) = mailbox();
        let writer = Writer {
            context: Arc::clone(context),
            prefix,
            published: Arc::clone(&published),
            log,
            state,
        };
        tokio::spawn(writer.run(inbox));
        let used_ms = AtomicU64::new(uptime_ms(context));
        let cleaning = Mutex::default();
        Ok(Arc::new(Self { context: Arc::clone(context), published, mailbox, used_ms, cleaning }))
    }

    /// The state as of now: on a store with other writers, the tip is proven first.
    pub(crate) async fn now(&self) -> Result<Arc<Bucket>, AskError> {
        self.touch();
        if !self.context.store.sole_writer() {
            self.ask(|reply| Request::CatchUp { reply }).await?;
        }
        Ok(self.published.state.load_full())
    }

    /// The state at most `catalog_age_max` old.
    pub(crate) async fn recent(&self) -> Result<Arc<Bucket>, AskError> {
        let proven = Duration::from_millis(self.published.proven_ms.load(Ordering::Relaxed));
        let age = self.context.uptime().saturating_sub(proven);
        if age > self.context.options.catalog_age_max {
            return self.now().await;
        }
        self.touch();
        Ok(self.published.state.load_full())
    }

    /// Commits a command; its outcome is the one at its place in the log.
    pub(crate) async fn command(&self, command: Command) -> Result<Applied, AskError> {
        self.touch();
        self.ask(|reply| Request::Command { command, reply }).await
    }

    /// Time since the last use.
    pub(crate) fn idle(&self) -> Duration {
        let used = Duration::from_millis(self.used_ms.load(Ordering::Relaxed));
        self.context.uptime().saturating_sub(used)
    }

    /// Whether deletions wait to be completed or dropped indexes to be removed. `is_last` tells
    /// whether a sweep of an index dropped at that time would be the last one needed.
    pub(crate) fn has_background_work(&self, is_last: impl Fn(u64) -> bool) -> bool {
        if !self.published.unfinished.load(Ordering::Relaxed) {
            return false;
        }
        let cleaning = self.cleaning.lock();
        if cleaning.retry_at.is_some_and(|at| Instant::now() < at) {
            return false;
        }
        let state = self.published.state.load();
        let due = |dropped: &state::Dropped| {
            !cleaning.swept.contains(&dropped.id) || is_last(dropped.at_ms)
        };
        !state.half_dropped().is_empty() || state.dropped.iter().any(due)
    }

    /// Notes the outcome of a cleaning.
    pub(crate) fn cleaned(&self, outcome: &Result<(), Error>) {
        let mut cleaning = self.cleaning.lock();
        cleaning.retry_at = outcome.is_err().then(|| Instant::now() + CLEANING_REST);
        if outcome.is_ok() {
            let state = self.published.state.load();
            cleaning.swept = state.dropped.iter().map(|dropped| dropped.id).collect();
        }
    }

    /// The state as last read.
    pub(crate) fn last_known(&self) -> Arc<Bucket> {
        self.published.state.load_full()
    }

    /// Ends the task after what waits in its inbox; returns when it is gone.
    pub(crate) async fn close(&self) {
        // A closed inbox means that the task is ending already.
        let _ = self.mailbox.send(Request::Close).await;
        self.mailbox.ended().await;
    }

    fn touch(&self) {
        self.used_ms.store(uptime_ms(&self.context), Ordering::Relaxed);
    }

    async fn ask<T>(
        &self,
        request: impl FnOnce(tokio::sync::oneshot::Sender<Result<T, Error>>) -> Request,
    ) -> Result<T, AskError> {
        match self.mailbox.ask(request).await {
            Ok(answer) => answer.map_err(AskError::Failed),
            Err(Unanswered::NotSent) => Err(AskError::NotSent),
            Err(Unanswered::Lost) => Err(AskError::Failed(Error::OutcomeUnknown)),
        }
    }
}

/// A log that somebody else created meanwhile is as good.
async fn create_log(context: &Context, prefix: &str) -> Result<(), Error> {
    let body = Bucket::default().encode();
    match Log::create(&context.store, prefix, context.writer, body).await {
        Ok(_) | Err(CreateError::AlreadyExists) => Ok(()),
        Err(CreateError::Unknown(_)) => Err(Error::OutcomeUnknown),
        Err(CreateError::Store(error)) => Err(error.into()),
    }
}

fn uptime_ms(context: &Context) -> u64 {
    u64::try_from(context.uptime().as_millis()).unwrap_or(u64::MAX)
}
