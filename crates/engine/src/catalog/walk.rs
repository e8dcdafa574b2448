//! The slow walk over all buckets, which finds deletions that a crash left half done.
//!
//! Nothing waits for it: whoever meets a half-done deletion completes it. The walk is for those that
//! nobody meets. It begins at the start of the process and once a day, reads one bucket after the
//! other, keeps none open, and pauses between them, so that it costs a store some dozen requests per
//! second and a process next to nothing. Dropped indexes whose last sweep is due only after the grace
//! period are remembered with their time, also when their bucket is closed meanwhile.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::read;
use super::state::Bucket;
use crate::driver::{clean, report};
use crate::engine::Inner;
use crate::error::Error;
use crate::records::BucketId;

/// Pause after each bucket.
const PAUSE: Duration = Duration::from_millis(20);
/// Buckets per step: a step is one job of the driver, and others want to run, too.
const STEP_BUCKETS: usize = 16;
/// Pause after a step that failed.
const REST: Duration = Duration::from_secs(10);
/// Sweeps that are remembered; further ones are found by the next walk.
const SWEEPS_MAX: usize = 10_000;

/// How far the walk has come.
#[derive(Debug, Default)]
pub(crate) struct Walk(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Whether a walk is under way; what is left of it is below.
    walking: bool,
    accounts: Vec<Box<[u8]>>,
    buckets: Vec<BucketId>,
    /// When to go on; `None`: at once.
    rest_until: Option<Instant>,
    /// When a bucket has a last sweep due, milliseconds since 1970.
    sweeps: BTreeSet<(u64, BucketId)>,
}

impl Walk {
    /// Whether [`Walk::step`] has something to do.
    pub(crate) fn is_due(&self, unix_ms: u64) -> bool {
        let state = self.0.lock();
        let rested = state.rest_until.is_none_or(|until| Instant::now() >= until);
        rested || state.sweeps.first().is_some_and(|(due, _)| *due <= unix_ms)
    }

    /// Remembers when the dropped indexes of a bucket are to be swept for the last time.
    pub(crate) fn remember(&self, id: &BucketId, bucket: &Bucket, grace: Duration) {
        let grace = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        let due = bucket.dropped.iter().map(|dropped| dropped.at_ms.saturating_add(grace)).min();
        let mut state = self.0.lock();
        if let Some(due) = due
            && state.sweeps.len() < SWEEPS_MAX
        {
            state.sweeps.insert((due, id.clone()));
        }
    }

    /// Goes on for a few buckets.
    pub(crate) async fn step(&self, inner: &Arc<Inner>) {
        self.sweep(inner).await;
        let rested = self.0.lock().rest_until.is_none_or(|until| Instant::now() >= until);
        if !rested {
            return;
        }
        for _ in 0..STEP_BUCKETS {
            match self.next(inner).await {
                Ok(Some(id)) => visit(inner, &id).await,
                Ok(None) => return self.rest(inner.context.options.walk_every),
                Err(error) => {
                    tracing::warn!(%error, "could not look for half-done deletions");
                    return self.rest(REST);
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn sweep(&self, inner: &Arc<Inner>) {
        for _ in 0..STEP_BUCKETS {
            let now = inner.context.unix_ms();
            let due = {
                let mut state = self.0.lock();
                let is_due = state.sweeps.first().is_some_and(|(due, _)| *due <= now);
                if is_due { state.sweeps.pop_first() } else { None }
            };
            let Some((_, id)) = due else { return };
            visit(inner, &id).await;
        }
    }

    fn rest(&self, time: Duration) {
        self.0.lock().rest_until = Some(Instant::now() + time);
    }

    /// The next bucket of the walk; `None` at its end.
    async fn next(&self, inner: &Inner) -> Result<Option<BucketId>, Error> {
        if !self.0.lock().walking {
            let accounts = inner.accounts().await?;
            let mut state = self.0.lock();
            (state.walking, state.rest_until) = (true, None);
            state.accounts = accounts;
        }
        loop {
            let account = {
                let mut state = self.0.lock();
                if let Some(bucket) = state.buckets.pop() {
                    return Ok(Some(bucket));
                }
                state.accounts.pop()
            };
            let Some(account) = account else {
                self.0.lock().walking = false;
                return Ok(None);
            };
            let buckets = inner.bucket_names(&account).await?;
            self.0.lock().buckets = buckets;
        }
    }
}

/// Looks at one bucket. Only one with something to do is opened, and closed again afterwards unless
/// somebody else had it open.
async fn visit(inner: &Arc<Inner>, id: &BucketId) {
    // Its own round of the driver looks after an open bucket.
    if inner.buckets.open(id).is_some() {
        return;
    }
    let bucket = match read::bucket(&inner.context.store, inner.context.writer, id).await {
        Ok(Some((bucket, _))) => bucket,
        Ok(None) => return,
        Err(error) => return report(id, Err(error)),
    };
    if !bucket.is_unfinished() {
        return;
    }
    report(id, clean(inner, id).await);
    if let Some(open) = inner.buckets.open(id) {
        inner.close_bucket(id, &open).await;
    }
}
