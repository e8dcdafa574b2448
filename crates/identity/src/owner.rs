//! The one task that owns the identity log.
//!
//! It proves the tip when somebody asks or when the snapshot in use gets old, applies what is new,
//! publishes a snapshot, and commits commands. Commands that waited are one group; each gets the
//! outcome decided at its own place in the log. The log is created with the first command.
//!
//! ```text
//! misses:   a  b c        d
//! proofs:   |-----| pause |-----|      b and c share the second proof: it began after they came
//! ```

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior};
use vb_commit::{
    CreateError, Event, Fold, FoldError, Log, Manifest, Opened, Slot, Store, WriterId,
};

use crate::Error;
use crate::codec::Format;
use crate::command::{Action, Command, Entry, KeyUse};
use crate::outside::number;
use crate::shared::Shared;
use crate::state::{Outcome, State};
use crate::store::{Options, PREFIX};

/// So many slots are folded into a manifest.
const FOLD_SLOTS: u64 = 32;
/// Commands per group.
const GROUP_MAX: usize = 256;
/// Keys per command that notes their use.
const USES_MAX: usize = 1000;
/// How much later than stored a use must be to be stored.
const USE_STEP: Duration = Duration::from_secs(3600);

/// What the task is asked for.
#[derive(Debug)]
pub(crate) enum Request {
    Command {
        command: Command,
        reply: oneshot::Sender<Result<(), Error>>,
    },
    /// Prove the tip.
    Refresh {
        reply: oneshot::Sender<Result<(), Error>>,
    },
    /// Prove the tip, but not more often than is sensible.
    Miss {
        reply: oneshot::Sender<Result<(), Error>>,
    },
    Close {
        reply: oneshot::Sender<()>,
    },
}

type Reply = oneshot::Sender<Result<(), Error>>;

/// The task's state.
pub(crate) struct Owner {
    store: Store,
    writer: WriterId,
    options: Options,
    shared: Arc<Shared>,
    log: Option<Log>,
    state: Arc<State>,
    /// Who waits for the next proof that a miss may cause.
    misses: Vec<Reply>,
    /// When the last proof was begun.
    proof_begun: Instant,
}

impl Owner {
    pub(crate) fn new(
        store: &Store,
        options: Options,
        shared: Arc<Shared>,
        state: Arc<State>,
    ) -> Self {
        Self {
            store: store.clone(),
            writer: WriterId(number(&*options.random)),
            options,
            shared,
            log: None,
            state,
            misses: Vec::new(),
            proof_begun: Instant::now(),
        }
    }

    /// Serves the inbox until the store is closed.
    pub(crate) async fn run(mut self, mut inbox: mpsc::Receiver<Request>) {
        let mut ticks = tokio::time::interval(self.options.age_max);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stored_uses = Instant::now();
        loop {
            let miss_due = self.proof_begun + self.options.miss_pause;
            tokio::select! {
                request = inbox.recv() => match request {
                    Some(request) => {
                        if let Some(closer) = self.serve(request, &mut inbox).await {
                            self.store_uses(Duration::ZERO).await;
                            // Nobody is told before the store, and a folder's lock, is let go.
                            drop((self, inbox));
                            // Whoever closed may have gone.
                            let _ = closer.send(());
                            return;
                        }
                    }
                    None => return,
                },
                () = tokio::time::sleep_until(miss_due), if !self.misses.is_empty() => {
                    // A failure was noted, and told to those who wait.
                    let _ = self.prove(Vec::new()).await;
                }
                _ = ticks.tick() => {
                    if self.shared.take_used() {
                        // A failure was noted.
                        let _ = self.prove(Vec::new()).await;
                    }
                    if stored_uses.elapsed() >= USE_STEP {
                        stored_uses = Instant::now();
                        self.store_uses(USE_STEP).await;
                    }
                }
            }
        }
    }

    /// Serves a request, and with it those commands and proofs that wait behind it; returns who
    /// asked to close.
    async fn serve(
        &mut self,
        first: Request,
        inbox: &mut mpsc::Receiver<Request>,
    ) -> Option<oneshot::Sender<()>> {
        let (mut commands, mut refreshes, mut closing) = (Vec::new(), Vec::new(), None);
        let mut next = Some(first);
        while let Some(request) = next {
            match request {
                Request::Command { command, reply } => commands.push((command, reply)),
                Request::Refresh { reply } => refreshes.push(reply),
                Request::Miss { reply } => self.misses.push(reply),
                Request::Close { reply } => closing = Some(reply),
            }
            let go_on = commands.len() < GROUP_MAX && closing.is_none();
            next = if go_on { inbox.try_recv().ok() } else { None };
        }
        if !(commands.is_empty() && refreshes.is_empty()) {
            let proven = self.prove(refreshes).await;
            match proven {
                Ok(()) => self.run_commands(commands).await,
                Err(error) => answer_all(commands, &error),
            }
        }
        closing
    }

    /// Proves the tip for everybody who waits, and publishes what is new.
    async fn prove(&mut self, waiting: Vec<Reply>) -> Result<(), Error> {
        let waiting = waiting.into_iter().chain(std::mem::take(&mut self.misses));
        let waiting: Vec<Reply> = waiting.collect();
        self.proof_begun = Instant::now();
        let begun_ms = self.shared.uptime_ms();
        let proven = self.catch_up().await;
        match &proven {
            Ok(()) => self.shared.note_proof(begun_ms),
            Err(error) => self.shared.note_failure(error),
        }
        for reply in waiting {
            // Those who no longer wait do not mind.
            let _ = reply.send(proven.clone());
        }
        proven
    }

    pub(crate) async fn catch_up(&mut self) -> Result<(), Error> {
        if self.log.is_none() {
            match Log::open(&self.store, PREFIX, self.writer).await {
                Ok(Some((log, opened))) => self.take_over(log, opened)?,
                // Never written: there is nobody. A closed log is as good as none.
                Ok(None) => return self.reset(),
                Err(error) => return Err((&error).into()),
            }
        }
        let log = self.log.as_mut().expect("the log was opened");
        let caught_up = log.catch_up().await;
        match caught_up {
            Ok(events) => self.apply(events, &[]).map(drop),
            Err(error) => {
                self.log = None;
                Err(error.into())
            }
        }
    }

    /// Nothing of what was opened is published before it is checked by a proof.
    fn take_over(&mut self, log: Log, opened: Opened) -> Result<(), Error> {
        let event = Event::Reopened { manifest: opened.manifest, slots: opened.slots };
        self.log = Some(log);
        let is_checked = self.store.sole_writer();
        self.apply_quietly(vec![event], &[])?;
        if is_checked {
            self.publish();
        }
        Ok(())
    }

    fn reset(&mut self) -> Result<(), Error> {
        if *self.state != State::default() {
            self.state = Arc::default();
            self.publish();
        }
        Ok(())
    }

    /// Judges commands at the proven tip, commits those that may take effect.
    async fn run_commands(&mut self, commands: Vec<(Command, Reply)>) {
        let mut group: Vec<(Entry, Reply)> = Vec::new();
        for (command, reply) in commands {
            let entry = self.options.entry(command);
            match self.state.judge(&entry) {
                // An earlier command of the same group may make room for a later one.
                Err(rejection) if group.is_empty() => {
                    let _ = reply.send(Err(rejection.into()));
                }
                _ => group.push((entry, reply)),
            }
        }
        if group.is_empty() {
            return;
        }
        let entries: Vec<&Entry> = group.iter().map(|(entry, _)| entry).collect();
        match self.commit(&entries).await {
            Ok(outcomes) => {
                for ((_, reply), outcome) in group.into_iter().zip(outcomes) {
                    let _ = reply.send(outcome);
                }
                self.fold_if_due().await;
            }
            Err(error) => {
                // What became of an unknown outcome must be in the snapshot before anybody is told
                // to look.
                if let Err(error) = self.catch_up().await {
                    self.shared.note_failure(&error);
                }
                for (_, reply) in group {
                    let _ = reply.send(Err(error.clone()));
                }
            }
        }
    }

    async fn commit(&mut self, entries: &[&Entry]) -> Result<Vec<Result<(), Error>>, Error> {
        if self.log.is_none() {
            self.create_log().await?;
        }
        let log = self.log.as_mut().expect("the log was created");
        let committed = log.commit(entries.iter().map(|entry| entry.encode()).collect()).await?;
        // Durable from here on: whatever goes wrong, nobody must be told that nothing happened.
        let outcomes = self.apply(committed.events, &committed.batches);
        let outcomes = outcomes.map_err(|error| {
            tracing::error!(%error, "the identity log does not apply");
            Error::OutcomeUnknown
        })?;
        let outcome_of = |number: &u64| {
            let mine = outcomes.iter().find(|(batch, _)| batch == number);
            // Another process folded the group before this one saw it.
            mine.map_or(Err(Error::OutcomeUnknown), |(_, outcome)| outcome.map_err(Error::from))
        };
        Ok(committed.batches.iter().map(outcome_of).collect())
    }

    /// A log that somebody else created meanwhile is as good.
    async fn create_log(&mut self) -> Result<(), Error> {
        match Log::create(&self.store, PREFIX, self.writer, State::default().encode()).await {
            Ok(_) | Err(CreateError::AlreadyExists) => {}
            Err(error) => return Err(error.into()),
        }
        self.catch_up().await?;
        match &self.log {
            Some(_) => Ok(()),
            None => Err(Error::OutcomeUnknown),
        }
    }

    /// Applies events in order and publishes; returns the outcomes of own batches.
    fn apply(&mut self, events: Vec<Event>, own: &[u64]) -> Result<Vec<(u64, Outcome)>, Error> {
        let before = Arc::clone(&self.state);
        let outcomes = self.apply_quietly(events, own)?;
        // Also what was opened before the proof that brought no events.
        if !Arc::ptr_eq(&before, &self.state) || !self.shared.shows(&self.state) {
            self.publish();
        }
        Ok(outcomes)
    }

    fn apply_quietly(
        &mut self,
        events: Vec<Event>,
        own: &[u64],
    ) -> Result<Vec<(u64, Outcome)>, Error> {
        if events.is_empty() {
            return Ok(Vec::new());
        }
        let mut state = (*self.state).clone();
        let mut outcomes = Vec::new();
        for event in events {
            let applied = apply_event(&mut state, event, self.writer, own, &mut outcomes);
            if let Err(error) = applied {
                // The log has gone on without the state: it is read anew next time.
                self.log = None;
                return Err(error);
            }
        }
        self.state = Arc::new(state);
        Ok(outcomes)
    }

    fn publish(&self) {
        self.shared.publish(&self.state);
    }

    /// Failing to fold costs nothing but a longer log.
    async fn fold_if_due(&mut self) {
        let Some(log) = self.log.as_mut() else { return };
        let manifest = log.manifest();
        let (base, from, floor) = (manifest.number, manifest.floor, log.tip() + 1);
        if floor - from < FOLD_SLOTS {
            return;
        }
        let folded = log.fold(Fold { base, from, floor, body: self.state.encode() }).await;
        let applied = match folded {
            Ok(folded) => {
                let applied = self.apply(folded.events, &[]);
                self.collect().await;
                applied
            }
            Err(FoldError::Superseded(events)) => self.apply(events, &[]),
            Err(FoldError::Failed(error)) => Err(error.into()),
        };
        if let Err(error) = applied {
            tracing::warn!(%error, "could not fold the identity log");
        }
    }

    /// Folded slots and older manifests go at once, also when others read the log at this moment:
    /// they find something missing, and read anew.
    async fn collect(&self) {
        if let Err(error) = Log::collect(&self.store, PREFIX, i64::MAX).await {
            tracing::warn!(%error, "could not remove folded slots of the identity log");
        }
    }

    /// Stores when keys were used, of those that were used `later` than stored. A failure is made
    /// up for by the next time.
    async fn store_uses(&mut self, later: Duration) {
        let by_ms = u64::try_from(later.as_millis()).unwrap_or(u64::MAX);
        let mut by_account = std::collections::BTreeMap::<_, Vec<KeyUse>>::new();
        for (account, user, key, used_ms) in self.shared.snapshot().used_since(by_ms) {
            by_account.entry(account).or_default().push(KeyUse { user, key, used_ms });
        }
        for (account, uses) in by_account {
            for keys in uses.chunks(USES_MAX) {
                let action = Action::NoteUse { keys: keys.to_vec() };
                let entry = self.options.entry(Command { account: account.clone(), action });
                if let Err(error) = self.commit(&[&entry]).await {
                    tracing::warn!(%error, "could not store when access keys were used");
                    return;
                }
            }
        }
    }
}

fn answer_all(commands: Vec<(Command, Reply)>, error: &Error) {
    for (_, reply) in commands {
        // Those who no longer wait do not mind.
        let _ = reply.send(Err(error.clone()));
    }
}

/// Applies one event; notes the outcomes of the writer's own batches.
pub(crate) fn apply_event(
    state: &mut State,
    event: Event,
    writer: WriterId,
    own: &[u64],
    outcomes: &mut Vec<(u64, Outcome)>,
) -> Result<(), Error> {
    let slots = match event {
        Event::Slot(slot) => vec![slot],
        Event::Reopened { manifest, slots } => {
            *state = decode_manifest(&manifest)?;
            slots
        }
    };
    for slot in slots {
        for (number, payload) in &slot.batches {
            let entry = decode_entry(&slot, payload)?;
            let outcome = state.apply(&entry);
            if slot.writer == writer && own.contains(number) {
                outcomes.push((*number, outcome));
            }
        }
    }
    Ok(())
}

fn decode_manifest(manifest: &Manifest) -> Result<State, Error> {
    State::decode(&manifest.body).map_err(|error| Error::Corrupt {
        path: format!("{PREFIX}/manifest/{:020}", manifest.number).into(),
        offset: error.offset,
        reason: error.reason,
    })
}

fn decode_entry(slot: &Slot, payload: &[u8]) -> Result<Entry, Error> {
    Entry::decode(payload).map_err(|error| Error::Corrupt {
        path: format!("{PREFIX}/log/{:020}", slot.seq).into(),
        offset: error.offset,
        reason: error.reason,
    })
}
