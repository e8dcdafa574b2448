//! The one background task: flushes, merges, collects, closes what is idle, completes and sweeps
//! deletions.
//!
//! It looks at everything open once per round, or sooner when woken, lets [`crate::plan`] decide,
//! and runs the steps as jobs, a bounded number at a time and at most one of a kind per index or
//! bucket. Flushes go before merges, and always find a place: merges leave one free. It ends when the
//! engine is gone.

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::task::JoinSet;

use crate::catalog::command::Command;
use crate::catalog::idle_max;
use crate::engine::Inner;
use crate::error::Error;
use crate::index;
use crate::index::OpenIndex;
use crate::index::merge::docs_max;
use crate::plan::{IndexFacts, Limits, plan};
use crate::records::{BucketId, IndexId};
use crate::registry::Opened;

/// Time between two rounds.
const ROUND: Duration = Duration::from_millis(500);
/// Collections that are begun in one round.
const COLLECTIONS_MAX: usize = 2;

/// What a job works on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    /// Flushing or closing.
    Index(IndexId),
    Merge(IndexId),
    Collection(IndexId),
    Bucket(BucketId),
    /// The walk over all buckets.
    Store,
}

/// Runs rounds until the engine is gone.
pub(crate) async fn run(engine: Weak<Inner>) {
    let mut jobs: JoinSet<Subject> = JoinSet::new();
    let mut busy = BTreeSet::new();
    loop {
        let Some(context) = engine.upgrade().map(|inner| Arc::clone(&inner.context)) else {
            return;
        };
        tokio::select! {
            biased;
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

fn start_jobs(inner: &Arc<Inner>, jobs: &mut JoinSet<Subject>, busy: &mut BTreeSet<Subject>) {
    start_index_jobs(inner, jobs, busy);
    start_collections(inner, jobs, busy);
    start_bucket_jobs(inner, jobs, busy);
    let walks = inner.walk.is_due(inner.context.unix_ms()) && has_place(inner, jobs);
    if walks && busy.insert(Subject::Store) {
        let inner = Arc::clone(inner);
        jobs.spawn(async move {
            inner.walk.step(&inner).await;
            Subject::Store
        });
    }
}

/// Whether another job may begin.
fn has_place(inner: &Inner, jobs: &JoinSet<Subject>) -> bool {
    jobs.len() < inner.context.options.background.jobs_max.max(2)
}

/// Merged segments may always reach this size.
const SEGMENT_BYTES_LEAST: u64 = 64 << 20;

fn limits(inner: &Inner) -> Limits {
    let (options, budget) = (&inner.context.options, &inner.context.budget);
    let mut compaction = options.compaction;
    // A merge holds the codes of its inputs and its output, somewhat over half of their bytes.
    let held_bytes = (options.memory_limit as u64 / 2).max(SEGMENT_BYTES_LEAST);
    compaction.segment_bytes_max = compaction.segment_bytes_max.min(held_bytes);
    Limits {
        memtable_bytes_max: budget.memtable_bytes_max(options),
        flush_age: options.flush_age,
        idle_after: options.idle_after,
        compaction,
        docs_max: docs_max(budget.merges.bytes()),
    }
}

/// What is known about everything open. When memtables take too much together, the largest goes first.
fn all_facts(inner: &Inner) -> Vec<(IndexId, Arc<OpenIndex>, IndexFacts)> {
    let facts = |(id, index): (IndexId, Arc<OpenIndex>)| {
        let facts = index.facts();
        (id, index, facts)
    };
    let open = inner.indexes.all().into_iter().filter(|(_, index)| !index.is_ending());
    let mut all: Vec<_> = open.map(facts).collect();
    all.sort_unstable_by_key(|(id, _, facts)| (std::cmp::Reverse(facts.active_bytes), *id));
    let crowded = inner.context.budget.memtables.are_crowded();
    let mut by_size = all.iter_mut().filter(|_| crowded);
    if let Some((_, _, largest)) = by_size.find(|(_, _, facts)| !facts.flush_rests) {
        largest.crowded = true;
    }
    all
}

fn start_index_jobs(inner: &Arc<Inner>, jobs: &mut JoinSet<Subject>, busy: &mut BTreeSet<Subject>) {
    let limits = limits(inner);
    forget_ended(inner, jobs, busy);
    let mut merges = Vec::new();
    for (id, index, facts) in all_facts(inner) {
        let steps = plan(&facts, &limits);
        merges.extend(steps.merge.map(|names| (id, Arc::clone(&index), names)));
        let subject = Subject::Index(id);
        let wanted = steps.flush || steps.close;
        if !wanted || !has_place(inner, jobs) || !busy.insert(subject.clone()) {
            continue;
        }
        let inner = Arc::clone(inner);
        jobs.spawn(async move {
            if steps.flush {
                // The outcome is noted in the index's status.
                let _ = index.flush().await;
                inner.context.wake.notify_one();
            } else {
                index.close().await;
                inner.indexes.forget(&id, &index);
            }
            subject
        });
    }
    start_merges(inner, merges, jobs, busy);
}

/// An index whose task ended by itself (dropped elsewhere, broken) has no more work to do, and must
/// not be kept in memory until somebody happens to ask for it.
fn forget_ended(inner: &Arc<Inner>, jobs: &mut JoinSet<Subject>, busy: &mut BTreeSet<Subject>) {
    for (id, index) in inner.indexes.all() {
        let subject = Subject::Index(id);
        if !index.is_ending() || !busy.insert(subject.clone()) {
            continue;
        }
        let inner = Arc::clone(inner);
        jobs.spawn(async move {
            index.ended().await;
            inner.indexes.forget(&id, &index);
            subject
        });
    }
}

fn start_merges(
    inner: &Arc<Inner>,
    merges: Vec<(IndexId, Arc<OpenIndex>, Vec<u128>)>,
    jobs: &mut JoinSet<Subject>,
    busy: &mut BTreeSet<Subject>,
) {
    let background = &inner.context.options.background;
    let merges_max = background.merges_max.max(1).min(background.jobs_max.max(2) - 1);
    let mut under_way = busy.iter().filter(|busy| matches!(busy, Subject::Merge(_))).count();
    for (id, index, names) in merges {
        let subject = Subject::Merge(id);
        let place = under_way < merges_max && has_place(inner, jobs);
        if !place || !busy.insert(subject.clone()) {
            continue;
        }
        under_way += 1;
        let inner = Arc::clone(inner);
        jobs.spawn(async move {
            // The outcome is noted in the index's status.
            let _ = index.merge(Some(names.into_iter().collect())).await;
            inner.context.wake.notify_one();
            subject
        });
    }
}

fn start_collections(
    inner: &Arc<Inner>,
    jobs: &mut JoinSet<Subject>,
    busy: &mut BTreeSet<Subject>,
) {
    if !has_place(inner, jobs) {
        return;
    }
    for (id, wanted) in inner.context.garbage.take_due(COLLECTIONS_MAX) {
        let subject = Subject::Collection(id);
        if !busy.insert(subject.clone()) {
            inner.context.garbage.note(id, wanted, ROUND);
            continue;
        }
        let inner = Arc::clone(inner);
        jobs.spawn(async move {
            if let Err(error) = index::collect::run(&inner.context, id, wanted).await {
                tracing::warn!(index = %id, %error, "could not collect what is no longer needed");
            }
            subject
        });
    }
}

fn start_bucket_jobs(
    inner: &Arc<Inner>,
    jobs: &mut JoinSet<Subject>,
    busy: &mut BTreeSet<Subject>,
) {
    let open = inner.buckets.all();
    let idle_max = idle_max(open.len(), &inner.context.options);
    for (id, bucket) in open {
        let subject = Subject::Bucket(id.clone());
        let idle = bucket.idle() >= idle_max;
        let work = bucket.has_background_work(|at_ms| inner.sweep_is_last(at_ms));
        if !(idle || work) || !has_place(inner, jobs) || !busy.insert(subject.clone()) {
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
