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
use crate::engine::Inner;
use crate::error::Error;
use crate::index;
use crate::paths;
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
    /// The search for half-done deletions at the start.
    Store,
}

/// Runs rounds until the engine is gone.
pub(crate) async fn run(engine: Weak<Inner>) {
    let mut jobs: JoinSet<Subject> = JoinSet::new();
    let mut busy = HashSet::new();
    if let Some(inner) = engine.upgrade() {
        busy.insert(Subject::Store);
        jobs.spawn(async move {
            recover(&inner).await;
            Subject::Store
        });
    }
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
}

fn start_bucket_jobs(inner: &Arc<Inner>, jobs: &mut JoinSet<Subject>, busy: &mut HashSet<Subject>) {
    for (id, bucket) in inner.buckets.all() {
        let subject = Subject::Bucket(id.clone());
        let idle = bucket.idle() >= inner.context.options.idle_after;
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
                bucket.close().await;
                inner.buckets.forget(&id, &bucket);
            }
            subject
        });
    }
}

/// Completes half-done deletions of a bucket and removes what is left of its dropped indexes.
async fn clean(inner: &Inner, bucket: &BucketId) -> Result<(), Error> {
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

/// Opens every bucket once, so that deletions a crash left half done are completed.
async fn recover(inner: &Inner) {
    let accounts = match inner.context.store.list_level(paths::CATALOG).await {
        Ok(listing) => listing.prefixes,
        Err(error) => {
            tracing::warn!(%error, "could not look for half-done deletions");
            return;
        }
    };
    let names = accounts.iter().filter_map(|path| paths::decode_name(path.rsplit('/').next()?));
    let names: Vec<_> = names.collect();
    for account in names {
        match inner.bucket_names(&account).await {
            Ok(buckets) => {
                for bucket in buckets {
                    report(&bucket, clean(inner, &bucket).await);
                }
            }
            Err(error) => tracing::warn!(%error, "could not look for half-done deletions"),
        }
    }
}

fn report(bucket: &BucketId, outcome: Result<(), Error>) {
    match outcome {
        Ok(()) | Err(Error::Closed | Error::NoSuchBucket) => {}
        Err(error) => tracing::warn!(?bucket, %error, "could not clean up after deletions"),
    }
}
