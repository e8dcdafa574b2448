//! The writer's part of flushes and merges: what they start from, and committing their manifests.
//!
//! ```text
//!   freeze --> [flush] --> fold --+                            the newest manifest
//!                                 +--> create manifest n+1 --> and one published swap
//!   begin_merge --> [merge] ------+
//!                    waits while a flush is under way
//! ```
//!
//! A flush's manifest is derived from the manifest at the freeze, so nothing else may change it in
//! between; a merge's is derived when it is committed, from whatever is there then
//! ([`super::compact`]).
//!
//! Objects of a flush or merge that did not come about are removed only if certainly no manifest names
//! them, now or later. After [`FoldError::Superseded`] ours may have been created and folded on by
//! another process before we looked; after an unknown outcome it may yet be created. What is left goes
//! by collection.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;
use vb_commit::{CommitError, Event, Fold, FoldError, Folded, Manifest};

use super::collect::{Wanted, Writing};
use super::compact::{self, Commit, Unfit};
use super::flush::{Flush, Flushed, discard};
use super::merge::{Merge, Merged};
use super::object::object_name;
use super::writer::{At, Step, Writer, commit_error, fatal, slots_from};
use crate::error::Error;
use crate::paths;

/// How often a merge is derived anew because another process's manifest came first.
const DERIVATIONS_MAX: usize = 4;

/// When folded slots are collected, on a store with other writers.
const SLOTS_AFTER: Duration = Duration::from_secs(10);

/// A merge that waits for a flush to be committed.
#[derive(Debug)]
pub(super) struct WaitingMerge {
    merged: Box<Merged>,
    reply: oneshot::Sender<Result<(), Error>>,
}

/// What came of a fold, and whether the task goes on.
type Outcome = (Result<(), Error>, Step);

impl Writer {
    pub(super) fn freeze(&mut self) -> Option<Arc<Flush>> {
        let tables = self.tables.as_mut().expect("tables are at rest between steps");
        if self.flush.is_none() && tables.active_bytes() > 0 {
            self.flush = Some(Arc::new(Flush {
                id: self.origin.id,
                schema: Arc::clone(&self.origin.schema),
                base: self.at.manifest,
                from: self.at.floor,
                counters: self.counters,
                floor: self.at.tip + 1,
                frozen: tables.freeze(),
            }));
            self.slots = 0;
            self.since = None;
        }
        self.flush.clone()
    }

    pub(super) async fn fold(
        &mut self,
        flush: &Arc<Flush>,
        flushed: Flushed,
        reply: oneshot::Sender<Result<(), Error>>,
    ) -> Step {
        let current = self.flush.as_ref().is_some_and(|current| Arc::ptr_eq(current, flush));
        let ready = match current {
            true => self.settle().await,
            false => Err(Error::Conflict),
        };
        let (answer, step) = match ready {
            Ok(()) => self.fold_current(flush, flushed).await,
            Err(error) => {
                discard(&self.origin.context.store, flushed.written).await;
                (Err(error), Ok(()))
            }
        };
        // A driver that went away meanwhile sees the outcome in the index's status.
        let _ = reply.send(answer);
        step
    }

    async fn fold_current(&mut self, flush: &Flush, flushed: Flushed) -> Outcome {
        let body = flushed.body.encode();
        let fold = Fold { base: flush.base, from: flush.from, floor: flush.floor, body };
        match self.log.fold(fold).await {
            Ok(folded) => (Ok(()), self.folded(flush, flushed, folded).await),
            Err(FoldError::Superseded(events)) => {
                let step = self.superseded(events, flushed.written).await;
                // Unless the events replaced the state that the flush began with, go and read it.
                let step =
                    step.and(if self.flush.is_none() { Ok(()) } else { Err(Error::Conflict) });
                (Err(Error::Conflict), step)
            }
            Err(FoldError::Failed(error)) => {
                self.fold_failed(error, flushed.written, flushed.writing).await
            }
        }
    }

    /// Another manifest came first, and the state is that of the newest now. It may be derived from
    /// ours; objects that it names are no garbage, and the others will never be named.
    async fn superseded(&mut self, events: Vec<Event>, written: Vec<String>) -> Step {
        // What cannot be shown now waits for the next call.
        let (_, step) = self.show(events).await;
        if step.is_ok() {
            let named = self.tables().object_paths(self.origin.id);
            let unnamed = written.into_iter().filter(|path| !named.contains(path)).collect();
            discard(&self.origin.context.store, unnamed).await;
        }
        step
    }

    /// An unknown outcome is settled by reading the log anew. Whether the objects are garbage is
    /// certain only where nobody else writes, and not even there while a create may be under way.
    async fn fold_failed(
        &mut self,
        error: CommitError,
        written: Vec<String>,
        writing: Vec<Arc<Writing>>,
    ) -> Outcome {
        let step = fatal(&error);
        if matches!(error, CommitError::Unknown(_)) {
            // Kept from collection for the life of the process.
            std::mem::forget(writing);
            return (Err(commit_error(error)), self.catch_up(Vec::new()).await);
        }
        if self.origin.context.store.sole_writer() {
            discard(&self.origin.context.store, written).await;
        }
        (Err(commit_error(error)), step)
    }

    /// The flush is the newest manifest: its segment takes the frozen memtable's place.
    async fn folded(&mut self, flush: &Flush, flushed: Flushed, folded: Folded) -> Step {
        let context = Arc::clone(&self.origin.context);
        context.meters.flushes.add(1);
        context.meters.segment_bytes_written.add(usize::try_from(flushed.bytes).unwrap_or(0));
        let Folded { manifest, events } = folded;
        let step = if was_reopened(&events) {
            self.reopen_at(&manifest, events).await
        } else {
            self.advance_to(&manifest);
            self.counters = flushed.body.counters;
            self.flush = None;
            self.retire(&flushed.emptied.iter().copied().collect());
            self.tables_mut().swap(&flush.frozen, flushed);
            self.show(events).await.1
        };
        self.note_garbage();
        step
    }

    /// The log had been read anew before the fold: so is the state, from the new manifest.
    async fn reopen_at(&mut self, manifest: &Manifest, events: Vec<Event>) -> Step {
        let slots = slots_from(manifest.floor, events);
        self.reopen(manifest, slots).await?;
        // What cannot be shown now waits for the next call.
        self.show(Vec::new()).await.1
    }

    fn advance_to(&mut self, manifest: &Manifest) {
        self.at = At { manifest: manifest.number, floor: manifest.floor, tip: self.at.tip };
    }

    /// Segments that the newest manifest does not name: their objects stay as long as a snapshot of
    /// this process has them.
    fn retire(&self, names: &BTreeSet<u128>) {
        let views = self.tables().segments().iter();
        for view in views.filter(|view| names.contains(&view.meta.name)) {
            self.origin.context.garbage.retire(&view.meta);
        }
    }

    fn note_garbage(&self) {
        let context = &self.origin.context;
        let sole_writer = context.store.sole_writer();
        if sole_writer {
            context.garbage.note(self.origin.id, Wanted::All, Duration::ZERO);
        } else {
            context.garbage.note(self.origin.id, Wanted::Slots, SLOTS_AFTER);
            context.garbage.note(self.origin.id, Wanted::All, context.options.collect_grace);
        }
        context.wake.notify_one();
    }

    /// Makes the state visible and, on a store with other writers, proves it.
    async fn prove(&mut self) -> Outcome {
        if self.origin.context.store.sole_writer() {
            return (self.settle().await, Ok(()));
        }
        match self.log.catch_up().await {
            Ok(events) => self.show(events).await,
            Err(error) => {
                let step = fatal(&error);
                (Err(commit_error(error)), step)
            }
        }
    }

    /// What a merge of these segments (all, if none are named) starts from; `None` if one of them is
    /// not there, or there is nothing to gain. On a store with other writers the state is proven
    /// first, so that nothing is merged that another process has merged already.
    pub(super) async fn begin_merge(
        &mut self,
        names: Option<&BTreeSet<u128>>,
    ) -> (Result<Option<Merge>, Error>, Step) {
        let (proven, step) = self.prove().await;
        if proven.is_err() || step.is_err() {
            return (proven.map(|()| None), step);
        }
        let views = self.tables().segments().iter();
        let wanted = |name: &u128| names.is_none_or(|names| names.contains(name));
        let inputs: Vec<_> = views.filter(|view| wanted(&view.meta.name)).cloned().collect();
        let all = names.is_none_or(|names| names.len() == inputs.len());
        let gains = inputs.len() > 1 || inputs.iter().any(|view| !view.folded.bits.is_empty());
        if !all || !gains {
            return (Ok(None), Ok(()));
        }
        let name = object_name(self.origin.context.random(), self.at.manifest);
        (Ok(Some(Merge { inputs: inputs.into(), name })), Ok(()))
    }

    /// Commits a merge whose object is written, or keeps it until the flush under way is committed.
    pub(super) async fn merged(
        &mut self,
        merged: Box<Merged>,
        reply: oneshot::Sender<Result<(), Error>>,
    ) -> Step {
        if self.flush.is_some() {
            self.waiting.push(WaitingMerge { merged, reply });
            return Ok(());
        }
        let started = Instant::now();
        let (answer, step) = self.commit_merge(*merged).await;
        self.origin.context.meters.merge_commit_micros.add_time(started.elapsed());
        // A driver that went away meanwhile sees the segments change.
        let _ = reply.send(answer);
        step
    }

    /// Commits merges that had to wait.
    pub(super) async fn commit_waiting(&mut self) -> Step {
        while self.flush.is_none() {
            let Some(WaitingMerge { merged, reply }) = self.waiting.pop() else { break };
            self.merged(merged, reply).await?;
        }
        Ok(())
    }

    /// Objects of merges that will not be committed any more; no manifest can name them.
    pub(super) async fn discard_waiting(&mut self) {
        for waiting in std::mem::take(&mut self.waiting) {
            let written = self.written_by(&waiting.merged, None);
            discard(&self.origin.context.store, written).await;
        }
    }

    pub(super) fn written_by(&self, merged: &Merged, bitmap: Option<u128>) -> Vec<String> {
        let id = self.origin.id;
        let segment = merged.output.as_ref().map(|_| paths::segment(id, merged.merge.name));
        segment.into_iter().chain(bitmap.map(|name| paths::bitmap(id, name))).collect()
    }

    async fn commit_merge(&mut self, merged: Merged) -> Outcome {
        let context = Arc::clone(&self.origin.context);
        for _ in 0..DERIVATIONS_MAX {
            let bitmap = object_name(context.random(), self.at.manifest);
            let writing = vec![Arc::new(context.garbage.writing(bitmap))];
            let commit = match self.derive(&merged, bitmap).await {
                Ok(commit) => commit,
                Err(error) => {
                    let written = self.written_by(&merged, None);
                    discard(&self.origin.context.store, written).await;
                    return (Err(error), Ok(()));
                }
            };
            let bitmap = commit.bitmap.as_ref().map(|(name, _)| *name);
            let written = self.written_by(&merged, bitmap);
            if let Err(error) = self.put_bitmap(&commit).await {
                discard(&self.origin.context.store, written).await;
                return (Err(error), Ok(()));
            }
            let At { manifest, floor, .. } = self.at;
            let body = commit.body.encode();
            let fold = Fold { base: manifest, from: floor, floor, body };
            match self.log.fold(fold).await {
                Ok(folded) => return (Ok(()), self.merge_committed(&merged, commit, folded).await),
                Err(FoldError::Superseded(events)) => {
                    let (_, step) = self.show(events).await;
                    if let Err(error) = step {
                        return (Err(error.clone()), Err(error));
                    }
                    if self.has_segment(merged.merge.name) {
                        return (Ok(()), Ok(()));
                    }
                }
                Err(FoldError::Failed(error)) => {
                    let writing = writing.into_iter().chain([merged.writing]).collect();
                    return self.fold_failed(error, written, writing).await;
                }
            }
        }
        let written = self.written_by(&merged, None);
        discard(&self.origin.context.store, written).await;
        (Err(Error::Conflict), Ok(()))
    }

    fn has_segment(&self, name: u128) -> bool {
        self.tables().segments().iter().any(|view| view.meta.name == name)
    }

    /// The manifest of a merge, from the newest state. What has to wait or go is an error.
    async fn derive(&mut self, merged: &Merged, bitmap: u128) -> Result<Commit, Error> {
        self.settle().await?;
        let context = Arc::clone(&self.origin.context);
        let segments = self.tables().segments().to_vec();
        let (schema, counters) = (Arc::clone(&self.origin.schema), self.counters);
        let (next, sabotage) = (self.at.manifest + 1, context.options.sabotage);
        let job = merged.clone();
        let work = move || {
            compact::plan_commit(&schema, counters, &segments, next, &job, bitmap, sabotage)
        };
        let planned = context.pool.run(work).await;
        planned.map_err(|unfit| {
            match &unfit {
                Unfit::Replaced => {}
                Unfit::Late | Unfit::Revived | Unfit::Corrupt(_) => {
                    tracing::warn!(index = %self.origin.id, ?unfit, "a merge is given up");
                }
            }
            Error::Conflict
        })
    }

    async fn put_bitmap(&self, commit: &Commit) -> Result<(), Error> {
        let Some((name, bytes)) = &commit.bitmap else { return Ok(()) };
        let path = paths::bitmap(self.origin.id, *name);
        Ok(self.origin.context.store.put(&path, bytes.clone().into()).await?)
    }

    /// The merge is the newest manifest: its segment takes the place of its inputs.
    async fn merge_committed(&mut self, merged: &Merged, commit: Commit, folded: Folded) -> Step {
        let meters = &self.origin.context.meters;
        meters.merges.add(1);
        let bytes = merged.output.as_ref().map_or(0, |meta| meta.length);
        let bytes = usize::try_from(bytes).unwrap_or(0);
        meters.segment_bytes_written.add(bytes);
        meters.merge_bytes_written.add(bytes);
        let Folded { manifest, events } = folded;
        let step = if was_reopened(&events) {
            self.reopen_at(&manifest, events).await
        } else {
            self.advance_to(&manifest);
            self.counters = commit.body.counters;
            self.retire(&merged.merge.inputs.iter().map(|view| view.meta.name).collect());
            self.tables_mut().swap_merged(merged, commit.output);
            self.show(events).await.1
        };
        self.note_garbage();
        step
    }
}

fn was_reopened(events: &[Event]) -> bool {
    events.iter().any(|event| matches!(event, Event::Reopened { .. }))
}
