//! The doing side: executes the machines' requests on a store.

use std::collections::HashSet;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::FuturesUnordered;
use futures_util::{StreamExt, TryStreamExt};

use crate::collect::{Collector, CollectorStep};
use crate::error::{CommitError, StoreError, StoreErrorKind};
use crate::format::FormatError;
use crate::machine::{ListedSlot, Machine, Outcome, Reply, Request, Step};
use crate::manifest::{MANIFEST_BYTES_MAX, Manifest};
use crate::names::Series;
use crate::process::Process;
use crate::rules::CollectionPlan;
use crate::slot::{SLOT_BYTES_MAX, Slot};
use crate::store::{ObjectInfo, Store};

/// How often a list or read that fails is sent.
const READS_MAX: u32 = 3;

/// Pause before the first repetition; doubled for each further one.
const PAUSE: Duration = Duration::from_millis(20);

/// How many slots are read at once: a tail of more takes a further round.
const READS_AT_ONCE: usize = 128;

/// How many superseded manifests a collection leaves at most, however young: lists stay one page.
const SUPERSEDED_MAX: usize = 500;

/// What a collection deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Collected {
    /// Slots.
    pub slots: u64,
    /// Manifests.
    pub manifests: u64,
}

/// Which of a machine's requests was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lane {
    /// The n-th request of the task.
    Task(usize),
    Check,
}

type Flight = Pin<Box<dyn Future<Output = (Lane, Result<Reply, StoreError>)> + Send>>;

/// Executes a machine's requests on the objects of one log.
///
/// The requests under way are kept here and not in a caller's future: a caller may stop waiting at
/// any time and go on later.
#[derive(Debug)]
pub(super) struct Runner {
    store: Store,
    prefix: Arc<str>,
    /// Only ever used through `&mut`: the lock makes the runner `Sync` although flights are not.
    flights: Mutex<FuturesUnordered<Flight>>,
    /// Replies to the task's requests, as far as they are in.
    replies: Vec<Option<Reply>>,
    /// Why the last request failed.
    error: Option<StoreError>,
    /// How many creates in a row were not answered.
    unanswered: u32,
}

impl Runner {
    pub(super) fn new(store: &Store, prefix: &str) -> Self {
        Self {
            store: store.clone(),
            prefix: prefix.into(),
            flights: Mutex::default(),
            replies: Vec::new(),
            error: None,
            unanswered: 0,
        }
    }

    pub(super) fn store(&self) -> &Store {
        &self.store
    }

    pub(super) fn prefix(&self) -> &Arc<str> {
        &self.prefix
    }

    /// The process that runs the task.
    pub(super) fn process(&self) -> &Process {
        self.store.process()
    }

    /// Notes the newest manifest known, for a known-bad variant.
    pub(super) fn remember(&self, manifest: &Manifest) {
        self.process().remember(&self.prefix, manifest);
    }

    /// Runs a task that is no commit to its outcome.
    pub(super) async fn run(&mut self, machine: &mut Machine, first: Step) -> Outcome {
        self.error = None;
        self.unanswered = 0;
        self.flights().clear();
        let mut step = self.launch(machine, first);
        loop {
            match step {
                Some(outcome) => return outcome,
                None => {
                    step = self.advance(machine).await.expect("a task waits for its requests");
                }
            }
        }
    }

    /// Sends what the step asks for, and a check if one is due; the outcome if the task has ended.
    pub(super) fn launch(&mut self, machine: &mut Machine, step: Step) -> Option<Outcome> {
        let outcome = match step {
            Step::Done(outcome) => Some(outcome),
            Step::Rest => None,
            Step::Send(requests) => {
                self.replies = requests.iter().map(|_| None).collect();
                let settles = requests.contains(&Request::ListManifests(0));
                for (index, request) in requests.into_iter().enumerate() {
                    self.fly(Lane::Task(index), request, settles);
                }
                None
            }
        };
        if let Some(request) = machine.take_check() {
            self.fly(Lane::Check, request, false);
        }
        outcome
    }

    /// Waits for one reply and hands it in. `None`: no request is under way.
    ///
    /// Safe to be dropped: nothing is lost but the wait.
    pub(super) async fn advance(&mut self, machine: &mut Machine) -> Option<Option<Outcome>> {
        let (lane, result) = self.flights().next().await?;
        let reply = result.unwrap_or_else(|error| self.failed(error));
        let step = match lane {
            Lane::Check => machine.check_replied(&reply),
            Lane::Task(index) => {
                self.replies[index] = Some(reply);
                match self.replies.iter().all(Option::is_some) {
                    true => machine
                        .reply(std::mem::take(&mut self.replies).into_iter().flatten().collect()),
                    false => Step::Rest,
                }
            }
        };
        Some(self.launch(machine, step))
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
            StoreError::new(StoreErrorKind::Corrupt, &*self.prefix)
                .with_source("objects of the log are missing, or its outcome was overtaken")
        })
    }

    /// As [`Self::take_error`], of an error that others want to hear of too.
    pub(super) fn share_error(&mut self) -> StoreError {
        let error = self.take_error();
        self.error =
            Some(StoreError::new(error.kind(), error.path()).with_source(error.to_string()));
        error
    }

    /// Before the first of a row of groups: forgets a task that was broken off midway.
    pub(super) fn begin(&mut self, machine: &mut Machine) {
        self.error = None;
        self.unanswered = 0;
        if !machine.is_idle() {
            machine.forget();
        }
        self.flights().clear();
    }

    fn flights(&mut self) -> &mut FuturesUnordered<Flight> {
        self.flights.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    fn fly(&mut self, lane: Lane, request: Request, settles: bool) {
        let objects = Objects { store: self.store.clone(), prefix: Arc::clone(&self.prefix) };
        let pause = match self.unanswered {
            0 => Duration::ZERO,
            unanswered => PAUSE * (1 << unanswered.min(6)),
        };
        let flight = async move { (lane, objects.execute(request, pause, settles).await) };
        self.flights().push(Box::pin(flight));
    }

    fn failed(&mut self, error: StoreError) -> Reply {
        let refused = error.is_not_executed();
        tracing::warn!(%error, refused, "a request of the commit protocol failed");
        self.error = Some(error);
        self.unanswered += 1;
        if refused { Reply::Refused } else { Reply::Unanswered }
    }
}

/// The objects of one log.
#[derive(Debug, Clone)]
struct Objects {
    store: Store,
    prefix: Arc<str>,
}

impl Objects {
    /// Executes a request; creates wait a `pause` before. `settles`: it belongs to the lists that
    /// begin an open, so what they and the reads after them show must be durable.
    async fn execute(
        &self,
        request: Request,
        pause: Duration,
        settles: bool,
    ) -> Result<Reply, StoreError> {
        if settles {
            let folders = [Series::Slots, Series::Manifests].map(|s| s.folder(&self.prefix));
            self.store.settle(&folders).await?;
        }
        match request {
            Request::CreateSlot(slot) => {
                let path = Series::Slots.name(&self.prefix, slot.seq);
                self.create(&path, slot.encode(), pause).await
            }
            Request::CreateManifest(manifest) => {
                let path = Series::Manifests.name(&self.prefix, manifest.number);
                self.create(&path, manifest.encode(), pause).await
            }
            Request::ListManifests(from) => {
                let listed = self.list(Series::Manifests, from).await?;
                Ok(Reply::Manifests(listed.into_iter().map(|(number, _)| number).collect()))
            }
            Request::ListSlots(from) => {
                let listed = self.list(Series::Slots, from).await?;
                let slot =
                    |(seq, object): (u64, ObjectInfo)| ListedSlot { seq, bytes: object.size };
                Ok(Reply::SlotList(listed.into_iter().map(slot).collect()))
            }
            Request::ProbeManifests(number) => self.probe(number).await,
            Request::GetManifest(number) => self.manifest(number).await.map(Reply::Manifest),
            Request::GetSlots(from, to) => self.slots(from, to).await.map(Reply::Slots),
        }
    }

    async fn create(
        &self,
        path: &str,
        parts: Vec<Bytes>,
        pause: Duration,
    ) -> Result<Reply, StoreError> {
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        match self.store.create_parts(path, parts).await {
            Ok(()) => Ok(Reply::Created),
            Err(error) if error.kind() == StoreErrorKind::AlreadyExists => Ok(Reply::Exists),
            Err(error) => Err(error),
        }
    }

    async fn list(&self, series: Series, from: u64) -> Result<Vec<(u64, ObjectInfo)>, StoreError> {
        retry(|| list(&self.store, &self.prefix, series, from)).await
    }

    /// The known-bad way to the newest manifest; no sound rule asks for it.
    async fn probe(&self, number: u64) -> Result<Reply, StoreError> {
        let mut found = Vec::new();
        for number in [number, number + 1] {
            found.extend(self.manifest(number).await?.map(|manifest| manifest.number));
        }
        Ok(Reply::Manifests(found))
    }

    async fn manifest(&self, number: u64) -> Result<Option<Manifest>, StoreError> {
        let path = Series::Manifests.name(&self.prefix, number);
        let read = retry(|| self.store.get_at_most(&path, MANIFEST_BYTES_MAX)).await;
        decode(&path, read, Manifest::decode, |manifest| manifest.number == number)
    }

    async fn slots(&self, from: u64, to: u64) -> Result<Vec<Option<Slot>>, StoreError> {
        let reads: Vec<_> = (from..=to).map(|seq| self.slot(seq)).collect();
        futures_util::stream::iter(reads).buffered(READS_AT_ONCE).try_collect().await
    }

    async fn slot(&self, seq: u64) -> Result<Option<Slot>, StoreError> {
        let path = Series::Slots.name(&self.prefix, seq);
        let read = retry(|| self.store.get_at_most(&path, SLOT_BYTES_MAX)).await;
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

/// The highest slot that a list from `from` on shows.
pub(super) async fn highest_slot(
    store: &Store,
    prefix: &str,
    from: u64,
) -> Result<Option<u64>, StoreError> {
    let listed = retry(|| list(store, prefix, Series::Slots, from)).await?;
    Ok(listed.into_iter().map(|(seq, _)| seq).max())
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
    let objects = Objects { store: store.clone(), prefix: prefix.into() };
    let process = store.process();
    let (mut collector, mut request) =
        Collector::begin(process.rules(), process.remembered(prefix));
    loop {
        let settles = request == Request::ListManifests(0);
        let reply = objects.execute(request, Duration::ZERO, settles).await?;
        match collector.reply(reply) {
            CollectorStep::Send(next) => request = next,
            CollectorStep::Nothing => return Ok(Collected::default()),
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
    let superseded = superseded_before(&listed, keep_since_ms);
    plan.manifests.retain(|number| superseded.contains(number));
    let named = |series: Series, numbers: &[u64]| -> Vec<String> {
        numbers.iter().map(|number| series.name(prefix, *number)).collect()
    };
    store.delete_all(&named(Series::Slots, &plan.slots)).await?;
    store.delete_all(&named(Series::Manifests, &plan.manifests)).await?;
    Ok(Collected { slots: plan.slots.len() as u64, manifests: plan.manifests.len() as u64 })
}

/// The manifests of a list that were superseded before a time, which is when the next one was
/// written, and all but the newest [`SUPERSEDED_MAX`] of those that were since.
fn superseded_before(listed: &[(u64, ObjectInfo)], keep_since_ms: i64) -> HashSet<u64> {
    let pairs = listed.windows(2).rev().enumerate();
    let old = pairs.filter(|(younger, pair)| {
        *younger >= SUPERSEDED_MAX || pair[1].1.modified_ms < keep_since_ms
    });
    old.map(|(_, pair)| pair[0].0).collect()
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
