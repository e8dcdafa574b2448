//! The one task that writes a bucket's log.
//!
//! Commands that waited are committed as one group; each gets the outcome decided at its own place
//! in the log. A command that the proven tip already refuses is answered without a write.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::oneshot;
use vb_commit::{CommitError, Event, Fold, FoldError, Log, Manifest, Slot};

use super::command::Command;
use super::state::{Applied, Bucket, Rejection};
use super::{PublishedBucket, uptime_ms};
use crate::context::Context;
use crate::error::Error;
use crate::fetch::corrupt;
use crate::mailbox::Inbox;

/// So many slots are folded into a manifest.
const FOLD_SLOTS: u64 = 32;
/// Commands per group.
const GROUP_MAX: usize = 256;

/// What a bucket's task is asked for.
#[derive(Debug)]
pub(crate) enum Request {
    Command { command: Command, reply: oneshot::Sender<Result<Applied, Error>> },
    CatchUp { reply: oneshot::Sender<Result<(), Error>> },
    Close,
}

/// The task's state.
pub(crate) struct Writer {
    pub(crate) context: Arc<Context>,
    pub(crate) prefix: String,
    pub(crate) published: Arc<PublishedBucket>,
    pub(crate) log: Log,
    pub(crate) state: Arc<Bucket>,
}

type Outcome = Result<Applied, Rejection>;

/// A command and who waits for it.
struct Waiting {
    command: Command,
    reply: oneshot::Sender<Result<Applied, Error>>,
}

impl Writer {
    /// Serves the inbox until the bucket is closed, or broken.
    pub(crate) async fn run(mut self, mut inbox: Inbox<Request>) {
        while let Some(request) = inbox.receiver.recv().await {
            if let Err(error) = self.serve(request, &mut inbox).await {
                tracing::error!(bucket = self.prefix, %error, "a bucket is closed");
                break;
            }
        }
    }

    async fn serve(&mut self, first: Request, inbox: &mut Inbox<Request>) -> Result<(), Error> {
        let mut commands = Vec::new();
        let mut catch_ups = Vec::new();
        let mut next = Some(first);
        while let Some(request) = next {
            match request {
                Request::Command { command, reply } => commands.push(Waiting { command, reply }),
                Request::CatchUp { reply } => catch_ups.push(reply),
                Request::Close => inbox.receiver.close(),
            }
            let room = commands.len() < GROUP_MAX;
            next = if room { inbox.receiver.try_recv().ok() } else { None };
        }
        let proven = self.catch_up().await;
        for reply in catch_ups {
            // Those who no longer wait do not mind.
            let _ = reply.send(proven.clone());
        }
        match proven {
            Ok(()) => self.run_commands(commands).await,
            Err(error) => {
                answer_all(commands, &error);
                if is_broken(&error) { Err(error) } else { Ok(()) }
            }
        }
    }

    async fn catch_up(&mut self) -> Result<(), Error> {
        let events = self.log.catch_up().await?;
        self.apply(events, &[])?;
        self.published.proven_ms.store(uptime_ms(&self.context), Ordering::Relaxed);
        Ok(())
    }

    /// Judges commands at the proven tip, commits those that may take effect.
    async fn run_commands(&mut self, commands: Vec<Waiting>) -> Result<(), Error> {
        let mut group = Vec::new();
        for waiting in commands {
            match self.state.judge(&waiting.command) {
                // An earlier command of the same group may make room for a later one.
                Err(_) | Ok(Applied::BucketThere) if group.is_empty() => {
                    let _ = waiting.reply.send(to_answer(self.state.judge(&waiting.command)));
                }
                _ => group.push(waiting),
            }
        }
        if group.is_empty() {
            return Ok(());
        }
        let committed = self.commit(&group).await;
        let failed = committed.as_ref().err().filter(|error| is_broken(error)).cloned();
        match committed {
            Ok(outcomes) => {
                for (waiting, outcome) in group.into_iter().zip(outcomes) {
                    let _ = waiting.reply.send(outcome);
                }
                self.fold_if_due().await
            }
            Err(error) => {
                // Readers take the published state for current: what became of an unknown outcome
                // must be in it before anybody is told to look.
                let settled = if self.log.is_stale() { self.catch_up().await } else { Ok(()) };
                answer_all(group, &error);
                let unsettled = settled.err().filter(is_broken);
                failed.or(unsettled).map_or(Ok(()), Err)
            }
        }
    }

    async fn commit(&mut self, group: &[Waiting]) -> Result<Vec<Result<Applied, Error>>, Error> {
        let payloads = group.iter().map(|waiting| waiting.command.encode()).collect();
        let committed = self.log.commit(payloads).await?;
        // Durable from here on: whatever goes wrong, nobody must be told that nothing happened.
        let outcomes = self.apply(committed.events, &committed.batches);
        let outcomes = outcomes.map_err(|error| {
            tracing::error!(bucket = self.prefix, %error, "the log does not apply");
            error
        })?;
        let outcome_of = |number: &u64| {
            let mine = outcomes.iter().find(|(batch, _)| batch == number);
            // Another process folded the group before this one saw it.
            mine.map_or(Err(Error::OutcomeUnknown), |(_, outcome)| to_answer(*outcome))
        };
        Ok(committed.batches.iter().map(outcome_of).collect())
    }

    /// Applies events in order and publishes; returns the outcomes of own batches.
    fn apply(&mut self, events: Vec<Event>, own: &[u64]) -> Result<Vec<(u64, Outcome)>, Error> {
        if events.is_empty() {
            return Ok(Vec::new());
        }
        let writer = self.context.writer;
        let mut state = (*self.state).clone();
        let mut outcomes = Vec::new();
        for event in events {
            let slots = match event {
                Event::Slot(slot) => vec![slot],
                Event::Reopened { manifest, slots, .. } => {
                    state = decode_manifest(&self.prefix, &manifest)?;
                    slots
                }
            };
            for slot in slots {
                let of_slot = apply_slot(&self.prefix, &mut state, &slot)?;
                let mine =
                    |(number, _): &(u64, Outcome)| slot.writer == writer && own.contains(number);
                outcomes.extend(of_slot.into_iter().filter(mine));
            }
        }
        self.state = Arc::new(state);
        self.published.publish(Arc::clone(&self.state));
        Ok(outcomes)
    }

    /// Failing to fold costs nothing but a longer log.
    async fn fold_if_due(&mut self) -> Result<(), Error> {
        let manifest = self.log.manifest();
        let (base, from, floor) = (manifest.number, manifest.floor, self.log.tip() + 1);
        if floor - from < FOLD_SLOTS {
            return Ok(());
        }
        let fold = Fold { base, from, floor, body: self.state.encode() };
        match self.log.fold(fold).await {
            Ok(folded) => {
                self.apply(folded.events, &[])?;
                self.collect().await;
            }
            Err(FoldError::Superseded(events)) => {
                self.apply(events, &[])?;
            }
            Err(FoldError::Failed(error)) => {
                tracing::warn!(bucket = self.prefix, %error, "could not fold a bucket's log");
            }
        }
        Ok(())
    }

    /// Folded slots and older manifests go at once, also when others read the log at this moment:
    /// they find something missing, and read anew.
    async fn collect(&self) {
        let store = &self.context.store;
        if let Err(error) = Log::collect(store, &self.prefix, i64::MAX).await {
            tracing::warn!(bucket = self.prefix, %error, "could not remove folded log slots");
        }
    }
}

fn to_answer(outcome: Outcome) -> Result<Applied, Error> {
    outcome.map_err(Error::from)
}

fn answer_all(commands: Vec<Waiting>, error: &Error) {
    for waiting in commands {
        // Those who no longer wait do not mind.
        let _ = waiting.reply.send(Err(error.clone()));
    }
}

/// Whether the task cannot go on: what the log holds cannot be applied.
fn is_broken(error: &Error) -> bool {
    matches!(error, Error::Corrupt { .. })
}

/// The state that a manifest holds.
pub(super) fn decode_manifest(prefix: &str, manifest: &Manifest) -> Result<Bucket, Error> {
    let path = format!("{prefix}/manifest/{:020}", manifest.number);
    Bucket::decode(manifest.body.clone())
        .map_err(|error| corrupt(&path, error.offset as u64, error.reason))
}

/// Applies slots whose outcomes nobody waits for.
pub(super) fn apply_slots(prefix: &str, state: &mut Bucket, slots: &[Slot]) -> Result<(), Error> {
    slots.iter().try_for_each(|slot| apply_slot(prefix, state, slot).map(drop))
}

fn apply_slot(prefix: &str, state: &mut Bucket, slot: &Slot) -> Result<Vec<(u64, Outcome)>, Error> {
    let apply = |(number, payload): &(u64, bytes::Bytes)| {
        let command = Command::decode(payload.clone()).map_err(|error| {
            let path = format!("{prefix}/log/{:020}", slot.seq);
            corrupt(&path, error.offset as u64, error.reason)
        })?;
        Ok((*number, state.apply(&command)))
    };
    slot.batches.iter().map(apply).collect()
}

impl From<CommitError> for Error {
    /// Names what the caller should do. A closed log is up to the caller: here it means that the
    /// bucket's log itself was removed.
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Closed => Self::NoSuchBucket,
            CommitError::Unknown(cause) => {
                tracing::warn!(%cause, "the outcome of a commit is unknown");
                Self::OutcomeUnknown
            }
            CommitError::TooLarge { bytes } => {
                Self::TooLarge { bytes, bytes_max: vb_commit::SLOT_BYTES_MAX }
            }
            CommitError::Store(error) => error.into(),
        }
    }
}
