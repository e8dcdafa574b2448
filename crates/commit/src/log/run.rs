//! The doing side: executes the machines' requests on a store.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};

use crate::collect::{Collector, CollectorStep};
use crate::error::{CommitError, StoreError, StoreErrorKind};
use crate::format::FormatError;
use crate::machine::{Machine, Outcome, Reply, Request, Step};
use crate::manifest::Manifest;
use crate::names::Series;
use crate::process::Process;
use crate::rules::CollectionPlan;
use crate::slot::Slot;
use crate::store::{ObjectInfo, Store};

/// How often a list or read that fails is sent.
const READS_MAX: u32 = 3;

/// Pause before the first repetition; doubled for each further one.
const PAUSE: Duration = Duration::from_millis(20);

/// How many slots are read at once.
const READS_AT_ONCE: usize = 16;

/// What a collection deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Collected {
    /// Slots.
    pub slots: u64,
    /// Manifests.
    pub manifests: u64,
}

/// Executes requests on the objects of one log.
#[derive(Debug)]
pub(super) struct Runner {
    store: Store,
    prefix: String,
    /// Why the last request failed.
    error: Option<StoreError>,
    /// How many creates in a row were not answered.
    unanswered: u32,
}

impl Runner {
    pub(super) fn new(store: &Store, prefix: &str) -> Self {
        Self { store: store.clone(), prefix: prefix.to_owned(), error: None, unanswered: 0 }
    }

    /// The process that runs the task.
    pub(super) fn process(&self) -> &Process {
        self.store.process()
    }

    /// Notes the newest manifest known, for a known-bad variant.
    pub(super) fn remember(&self, manifest: &Manifest) {
        self.process().remember(&self.prefix, manifest);
    }

    /// Runs a task to its outcome.
    pub(super) async fn run(&mut self, machine: &mut Machine, first: Step) -> Outcome {
        self.error = None;
        self.unanswered = 0;
        let mut step = first;
        loop {
            match step {
                Step::Done(outcome) => return outcome,
                Step::Send(request) => step = machine.reply(self.execute(request).await),
            }
        }
    }

    /// Tells an outcome as a caller of the log wants it.
    pub(super) fn outcome(&mut self, outcome: Outcome) -> Result<Outcome, CommitError> {
        match outcome {
            Outcome::Closed => Err(CommitError::Closed),
            Outcome::Unknown => Err(CommitError::Unknown(self.take_error())),
            Outcome::Failed | Outcome::Corrupt => Err(CommitError::Store(self.take_error())),
            outcome => Ok(outcome),
        }
    }

    /// Why the last request failed; if none did, the log's objects contradict each other.
    pub(super) fn take_error(&mut self) -> StoreError {
        self.error.take().unwrap_or_else(|| {
            StoreError::new(StoreErrorKind::Corrupt, self.prefix.as_str())
                .with_source("objects of the log are missing, or its outcome was overtaken")
        })
    }

    async fn execute(&mut self, request: Request) -> Reply {
        let result = match request {
            Request::CreateSlot(slot) => {
                let path = Series::Slots.name(&self.prefix, slot.seq);
                return self.create(&path, slot.encode()).await;
            }
            Request::CreateManifest(manifest) => {
                let path = Series::Manifests.name(&self.prefix, manifest.number);
                return self.create(&path, manifest.encode()).await;
            }
            Request::ListManifests(from) => self.list(Series::Manifests, from).await,
            Request::ListSlots(from) => self.list(Series::Slots, from).await,
            Request::ProbeManifests(number) => self.probe(number).await,
            Request::GetManifest(number) => self.manifest(number).await.map(Reply::Manifest),
            Request::GetSlots(from, to) => self.slots(from, to).await.map(Reply::Slots),
        };
        result.unwrap_or_else(|error| self.failed(error))
    }

    async fn create(&mut self, path: &str, parts: Vec<Bytes>) -> Reply {
        if self.unanswered > 0 {
            tokio::time::sleep(PAUSE * (1 << self.unanswered.min(6))).await;
        }
        match self.store.create_parts(path, parts).await {
            Ok(()) => Reply::Created,
            Err(error) if error.kind() == StoreErrorKind::AlreadyExists => Reply::Exists,
            Err(error) => self.failed(error),
        }
    }

    fn failed(&mut self, error: StoreError) -> Reply {
        let refused = error.is_not_executed();
        tracing::warn!(%error, refused, "a request of the commit protocol failed");
        self.error = Some(error);
        self.unanswered += 1;
        if refused { Reply::Refused } else { Reply::Unanswered }
    }

    async fn list(&self, series: Series, from: u64) -> Result<Reply, StoreError> {
        if from == 0 && series == Series::Manifests {
            // The list that begins an open: what it and the reads after it show must be durable.
            let folders = [Series::Slots, Series::Manifests].map(|s| s.folder(&self.prefix));
            self.store.settle(&folders).await?;
        }
        let listed = retry(|| list(&self.store, &self.prefix, series, from)).await?;
        Ok(Reply::Numbers(listed.into_iter().map(|(number, _)| number).collect()))
    }

    /// The known-bad way to the newest manifest; no sound rule asks for it.
    async fn probe(&self, number: u64) -> Result<Reply, StoreError> {
        let mut found = Vec::new();
        for number in [number, number + 1] {
            found.extend(self.manifest(number).await?.map(|manifest| manifest.number));
        }
        Ok(Reply::Numbers(found))
    }

    async fn manifest(&self, number: u64) -> Result<Option<Manifest>, StoreError> {
        let path = Series::Manifests.name(&self.prefix, number);
        let read = retry(|| self.store.get(&path)).await;
        decode(&path, read, Manifest::decode, |manifest| manifest.number == number)
    }

    async fn slots(&self, from: u64, to: u64) -> Result<Vec<Option<Slot>>, StoreError> {
        let reads: Vec<_> = (from..=to).map(|seq| self.slot(seq)).collect();
        futures_util::stream::iter(reads).buffered(READS_AT_ONCE).try_collect().await
    }

    async fn slot(&self, seq: u64) -> Result<Option<Slot>, StoreError> {
        let path = Series::Slots.name(&self.prefix, seq);
        let read = retry(|| self.store.get(&path)).await;
        decode(&path, read, Slot::decode, |slot| slot.seq == seq)
    }
}

async fn list(
    store: &Store,
    prefix: &str,
    series: Series,
    from: u64,
) -> Result<Vec<(u64, ObjectInfo)>, StoreError> {
    let after = from.checked_sub(1).map(|before| series.name(prefix, before));
    let listed = store.list_after(&series.folder(prefix), after.as_deref()).await?;
    let numbered = |object: ObjectInfo| Some((series.number(prefix, &object.path)?, object));
    Ok(listed.into_iter().filter_map(numbered).collect())
}

async fn retry<T, F>(request: impl Fn() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    for repeated in 0..READS_MAX - 1 {
        match request().await {
            Err(error) if error.kind() == StoreErrorKind::Unavailable => {
                tracing::debug!(%error, "a read is repeated");
                tokio::time::sleep(PAUSE * (1 << repeated)).await;
            }
            result => return result,
        }
    }
    request().await
}

fn decode<T>(
    path: &str,
    read: Result<Bytes, StoreError>,
    decode: impl Fn(Bytes) -> Result<T, FormatError>,
    is_right: impl Fn(&T) -> bool,
) -> Result<Option<T>, StoreError> {
    let bytes = match read {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == StoreErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let corrupt = || StoreError::new(StoreErrorKind::Corrupt, path);
    match decode(bytes) {
        Ok(value) if is_right(&value) => Ok(Some(value)),
        Ok(_) => Err(corrupt().with_source("the object's number is not that of its name")),
        Err(error) => Err(corrupt().with_source(error)),
    }
}

pub(super) async fn collect(
    store: &Store,
    prefix: &str,
    keep_since_ms: i64,
) -> Result<Collected, StoreError> {
    let mut runner = Runner::new(store, prefix);
    let process = store.process();
    let (mut collector, mut request) =
        Collector::begin(process.rules(), process.remembered(prefix));
    loop {
        match collector.reply(runner.execute(request).await) {
            CollectorStep::Send(next) => request = next,
            CollectorStep::Nothing => return runner.error.map_or(Ok(Collected::default()), Err),
            CollectorStep::Delete(plan) => return delete(store, prefix, plan, keep_since_ms).await,
        }
    }
}

async fn delete(
    store: &Store,
    prefix: &str,
    mut plan: CollectionPlan,
    keep_since_ms: i64,
) -> Result<Collected, StoreError> {
    let listed = list(store, prefix, Series::Manifests, 0).await?;
    let young = |number: &u64| {
        let of_number = listed.iter().find(|(listed, _)| listed == number);
        of_number.is_some_and(|(_, object)| object.modified_ms >= keep_since_ms)
    };
    plan.manifests.retain(|number| !young(number));
    let named = |series: Series, numbers: &[u64]| -> Vec<String> {
        numbers.iter().map(|number| series.name(prefix, *number)).collect()
    };
    store.delete_all(&named(Series::Slots, &plan.slots)).await?;
    store.delete_all(&named(Series::Manifests, &plan.manifests)).await?;
    Ok(Collected { slots: plan.slots.len() as u64, manifests: plan.manifests.len() as u64 })
}

/// Deletes all of a closed log but, if other writers may exist, its fence.
///
/// The fence goes last and by itself: while it is there the log is closed, and an older manifest
/// that outlived it after a power failure would make the log live again.
pub(super) async fn remove_closed(store: &Store, prefix: &str) -> Result<(), CommitError> {
    let fence = fence(store, prefix).await.map_err(CommitError::Store)?;
    delete_under(store, prefix, &fence).await.map_err(CommitError::Store)?;
    match store.sole_writer() {
        true => store.delete_all(&fence).await.map_err(CommitError::Store),
        false => Ok(()),
    }
}

/// The highest slot and the newest manifest.
async fn fence(store: &Store, prefix: &str) -> Result<Vec<String>, StoreError> {
    let mut fence = Vec::new();
    for series in [Series::Slots, Series::Manifests] {
        let listed = list(store, prefix, series, 0).await?;
        fence.extend(listed.into_iter().map(|(_, object)| object.path).max());
    }
    Ok(fence)
}

/// Deletes all objects under the prefix but those kept.
pub(super) async fn delete_under(
    store: &Store,
    prefix: &str,
    kept: &[String],
) -> Result<(), StoreError> {
    let listed = store.list_after(prefix, None).await?;
    let paths: Vec<_> = listed.into_iter().map(|object| object.path).collect();
    let doomed: Vec<_> = paths.into_iter().filter(|path| !kept.contains(path)).collect();
    store.delete_all(&doomed).await
}
