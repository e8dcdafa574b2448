//! The one background task: flushes, closes what is idle, completes and sweeps deletions.
//!
//! It looks at everything open once per round, or sooner when woken, lets [`crate::plan`] decide,
//! and runs the steps as jobs, a bounded number at a time and at most one per index or bucket. It
//! ends when the engine is gone.

use std::collections::HashSet;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::task::JoinSet;

use crate::catalog::command::Command;
use crate::catalog::idle_max;
use crate::engine::Inner;
use crate::error::Error;
use crate::index;
use crate::plan::{Step, plan};
use crate::records::{BucketId, IndexId};

/// Time between two rounds.
const ROUND: Duration = Duration::from_millis(500);
/// Jobs at a time.
const JOBS_MAX: usize = 4;

/// What a job works on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Subject {
    Index(IndexId),
    Bucket(BucketId),
    /// The walk over all buckets.
    Store,
}

/// Runs rounds until the engine is gone.
pub(crate) async fn run(engine: Weak<Inner>) {
    let mut jobs: JoinSet<Subject> = JoinSet::new();
    let mut busy = HashSet::new();
    loop {
        let Some(context) = engine.upgrade().map(|inner| Arc::clone(&inner.context)) else {
            return;
        };
        tokio::select! {
            Some(done) = jobs.join_next() => match done {
                Ok(subject) => {
                    busy.remove(&subject);
                }
                // A job that panicked names no subject: none is left busy for ever.
                Err(_) => busy.clear(),
            },
            () = context.wake.notified() => {}
            () = tokio::time::sleep(ROUND) => {}
        }
        let Some(inner) = engine.upgrade() else { return };
        start_jobs(&inner, &mut jobs, &mut busy);
    }
}

fn start_jobs(inner: &Arc<Inner>, jobs: &mut JoinSet<Subject>, busy: &mut HashSet<Subject>) {
    for (id, index) in inner.indexes.all() {
        let subject = Subject::Index(id);
        let step = plan(&index.facts(), &inner.context.options);
        if step == Step::Nothing || jobs.len() >= JOBS_MAX || !busy.insert(subject.clone()) {
            continue;
        }
        let inner = Arc::clone(inner);
        jobs.spawn(async move {
            match step {
                // The outcome is noted in the index's status.
                Step::Flush => drop(index.flush().await),
                Step::Close => {
                    index.close().await;
                    inner.indexes.forget(&id, &index);
                }
                Step::Nothing => {}
            }
            subject
        });
    }
    start_bucket_jobs(inner, jobs, busy);
    let walks = inner.walk.is_due(inner.context.unix_ms()) && jobs.len() < JOBS_MAX;
    if walks && busy.insert(Subject::Store) {
        let inner = Arc::clone(inner);
        jobs.spawn(async move {
            inner.walk.step(&inner).await;
            Subject::Store
        });
    }
}

fn start_bucket_jobs(inner: &Arc<Inner>, jobs: &mut JoinSet<Subject>, busy: &mut HashSet<Subject>) {
    let open = inner.buckets.all();
    let idle_max = idle_max(open.len(), &inner.context.options);
    for (id, bucket) in open {
        let subject = Subject::Bucket(id.clone());
        let idle = bucket.idle() >= idle_max;
        let work = bucket.has_background_work(|at_ms| inner.sweep_is_last(at_ms));
        if !(idle || work) || jobs.len() >= JOBS_MAX || !busy.insert(subject.clone()) {
            continue;
        }
        let inner = Arc::clone(inner);
        jobs.spawn(async move {
            if work {
                let cleaned = clean(&inner, &id).await;
                bucket.cleaned(&cleaned);
                report(&id, cleaned);
            } else {
                inner.close_bucket(&id, &bucket).await;
            }
            subject
        });
    }
}

/// Completes half-done deletions of a bucket and removes what is left of its dropped indexes.
pub(crate) async fn clean(inner: &Inner, bucket: &BucketId) -> Result<(), Error> {
    inner.complete_drops(bucket).await?;
    let state = inner.state(bucket).await?;
    for dropped in &state.dropped {
        // Another process may have had a write under way when the index was fenced; what it still
        // creates is found by the sweep after the grace period.
        let last = inner.sweep_is_last(dropped.at_ms);
        index::remove(&inner.context, dropped.id, last).await?;
        if last {
            inner.command(bucket, Command::Swept(dropped.id), false).await?;
        }
    }
    Ok(())
}

/// Logs what a cleaning failed for, unless the engine or the bucket is gone.
pub(crate) fn report(bucket: &BucketId, outcome: Result<(), Error>) {
    match outcome {
        Ok(()) | Err(Error::Closed | Error::NoSuchBucket) => {}
        Err(error) => tracing::warn!(?bucket, %error, "could not clean up after deletions"),
    }
}
