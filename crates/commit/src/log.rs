//! One open log: runs the protocol's machine against a store.
//!
//! A log is owned by one task. Groups are committed one after the other with [`Log::commit`], or in
//! a row: [`Log::start`] sends a group and [`Log::progress`] tells when the next may be started
//! (while the check of the last one is under way) and what became of each.
//!
//! ```text
//! owner:   start 1          start 2          start 3
//! create:  |---- 1 --------||---- 2 --------||---- 3 ----
//! check:                    |---- 1 --------||---- 2 ----
//! owner:                    ^ MayStart       ^ Told 1: apply, answer
//! ```
//!
//! Waiting in `progress` may be broken off at any time. Any other call should be run to its end: if
//! its future is dropped midway the log has no view, and the next call opens it anew.

mod prove;
mod run;

use std::collections::VecDeque;

use bytes::Bytes;

pub use self::prove::{Prover, Tip};
pub use self::run::Collected;
use self::run::Runner;
use crate::error::{CommitError, CreateError, StoreError};
use crate::machine::{Machine, Outcome, Step, Told};
use crate::manifest::Manifest;
use crate::slot::{SLOT_BYTES_MAX, Slot, WriterId, slot_bytes};
use crate::store::Store;

/// What the owner of a log must apply, in order.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Event {
    /// The next slot of the log, another writer's or our own.
    Slot(Slot),
    /// The log was read anew: this replaces all that was applied so far.
    Reopened {
        /// The newest manifest.
        manifest: Manifest,
        /// All slots from its floor to the tip.
        slots: Vec<Slot>,
    },
}

/// A committed group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The slot that holds the group.
    pub seq: u64,
    /// Numbers of the group's batches, in order.
    pub batches: Vec<u64>,
    /// To be applied, in order, before the group is acknowledged. Our own group is among them once
    /// (as a slot, among the slots of a re-open, or folded into its manifest), or among events
    /// that were handed out before.
    pub events: Vec<Event>,
}

/// What happened to groups that were started.
#[derive(Debug)]
pub enum Progress {
    /// The last group's create has returned: another one may be started.
    MayStart,
    /// What became of the oldest group that was not told yet.
    Told {
        /// As [`Log::start`] returned it.
        ticket: u64,
        /// As [`Log::commit`] would have returned it.
        outcome: Result<Committed, CommitError>,
    },
}

/// The state in which a log was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// The newest manifest.
    pub manifest: Manifest,
    /// All slots from its floor to the tip.
    pub slots: Vec<Slot>,
}

/// A fold to be committed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Fold {
    /// Number of the manifest that the body was derived from.
    pub base: u64,
    /// The floor that the flush started from.
    pub from: u64,
    /// The new floor: slots below it are in the body.
    pub floor: u64,
    /// The new manifest's body.
    pub body: Bytes,
}

/// A committed fold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folded {
    /// The manifest, now the newest.
    pub manifest: Manifest,
    /// To be applied, in order.
    pub events: Vec<Event>,
}

/// Why a fold did not commit.
#[derive(Debug)]
pub enum FoldError {
    /// Another manifest came first. Apply the events; if the floor is still the one that the flush
    /// started from, derive the body anew and fold again, else discard the flush's segments.
    Superseded(Vec<Event>),
    /// The log failed as a commit does. After `Unknown` the segments may or may not be named.
    Failed(CommitError),
}

/// One open log.
#[derive(Debug)]
pub struct Log {
    machine: Machine,
    runner: Runner,
    writer: WriterId,
    /// The newest manifest that was handed out.
    manifest: Manifest,
    /// The highest slot that was handed out.
    tip: u64,
    prover: Prover,
    /// The groups on their way, in order: the numbers of their batches.
    started: VecDeque<Vec<u64>>,
    /// Groups whose outcome is known and was not told.
    told: VecDeque<(u64, Result<Committed, CommitError>)>,
    /// The owner was told (or knows) that it may start a group.
    may_start_told: bool,
}

impl Log {
    /// Creates a log with this body as its first manifest's.
    ///
    /// At the place of a closed log, a new life of it: numbers go on, the incarnation is another.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` if a log is there that is not closed (perhaps half: see [`Self::remove`]).
    pub async fn create(
        store: &Store,
        prefix: &str,
        writer: WriterId,
        body: Bytes,
    ) -> Result<Self, CreateError> {
        let mut machine = Machine::new(store.process().rules(), writer, store.sole_writer());
        let mut runner = Runner::new(store, prefix);
        let process = store.process();
        let first = machine.create(body, process.take_numbers(1), process.incarnation());
        match runner.run(&mut machine, first).await {
            Outcome::Folded => Ok(Self::with_view(machine, runner, writer)),
            Outcome::Taken => Err(CreateError::AlreadyExists),
            Outcome::Failed => Err(CreateError::Store(runner.take_error())),
            _ => Err(CreateError::Unknown(runner.take_error())),
        }
    }

    /// Opens a log. `None`: it was closed or never existed.
    ///
    /// # Errors
    ///
    /// What the store answered, or `Corrupt` if objects of the log are damaged or missing.
    pub async fn open(
        store: &Store,
        prefix: &str,
        writer: WriterId,
    ) -> Result<Option<(Self, Opened)>, StoreError> {
        let mut machine = Machine::new(store.process().rules(), writer, store.sole_writer());
        let mut runner = Runner::new(store, prefix);
        let first = machine.open();
        match runner.run(&mut machine, first).await {
            Outcome::Current if machine.view().is_some_and(|view| view.ended()) => Ok(None),
            Outcome::Closed => Ok(None),
            Outcome::Current => {
                let opened = machine.take_events().into_iter().find_map(|event| match event {
                    Event::Reopened { manifest, slots } => Some(Opened { manifest, slots }),
                    Event::Slot(_) => None,
                });
                let opened = opened.expect("an open log was read");
                Ok(Some((Self::with_view(machine, runner, writer), opened)))
            }
            _ => Err(runner.take_error()),
        }
    }

    fn with_view(machine: Machine, runner: Runner, writer: WriterId) -> Self {
        let view = machine.view().expect("the log was opened or created");
        let (manifest, tip) = (view.manifest.clone(), view.tip());
        let prover = Prover::new(runner.store(), runner.prefix(), tip);
        let (started, told) = (VecDeque::new(), VecDeque::new());
        Self { machine, runner, writer, manifest, tip, prover, started, told, may_start_told: true }
    }

    /// Commits a group of batches as one slot, all or none. Durable and visible on return.
    ///
    /// Numbers are given to the batches here, when the slot is about to be numbered. The group must
    /// fit one slot: see [`crate::groups`] and [`SLOT_BYTES_MAX`]. Groups that were started before
    /// are waited for; what became of them is for [`Self::progress`] to tell.
    ///
    /// # Errors
    ///
    /// No error leaves anything to apply: events that were learnt meanwhile come with the next
    /// call. After `Unknown` that call opens the log anew, and the group is then in it, or comes
    /// later, or never does; once seen it stays.
    ///
    /// # Panics
    ///
    /// If the group is empty.
    pub async fn commit(&mut self, group: Vec<Bytes>) -> Result<Committed, CommitError> {
        self.settle().await;
        let ticket = self.start(group);
        self.settle().await;
        let (told, outcome) = self.told.pop_back().expect("a started group is told");
        assert_eq!(told, ticket, "groups are told in the order of their start");
        let mut committed = outcome?;
        committed.events = self.with_untold(committed.events);
        Ok(committed)
    }

    /// Whether [`Self::start`] may be called: no create is under way, and at most one group waits
    /// for its check.
    pub fn may_start(&self) -> bool {
        self.machine.may_commit() || self.started.is_empty()
    }

    /// Whether groups are on their way or to be told, so that [`Self::progress`] has something to
    /// wait for.
    pub fn is_busy(&self) -> bool {
        !self.started.is_empty() || !self.told.is_empty()
    }

    /// Starts to commit a group; returns a ticket by which [`Self::progress`] tells its outcome.
    ///
    /// # Panics
    ///
    /// If the group is empty, or none [may be started](Self::may_start).
    pub fn start(&mut self, group: Vec<Bytes>) -> u64 {
        assert!(!group.is_empty(), "a slot holds at least one batch");
        assert!(self.may_start(), "one create at a time");
        let first = self.runner.process().take_numbers(group.len());
        let bytes = slot_bytes(&group);
        if bytes > SLOT_BYTES_MAX {
            self.told.push_back((first, Err(CommitError::TooLarge { bytes })));
            return first;
        }
        if self.started.is_empty() {
            self.runner.begin(&mut self.machine);
        }
        let batches: Vec<_> = (first..).zip(group).collect();
        self.started.push_back(batches.iter().map(|(number, _)| *number).collect());
        self.may_start_told = false;
        let step = self.machine.commit(batches);
        self.runner.launch(&mut self.machine, step);
        self.collect_told();
        first
    }

    /// Waits for the next thing that happens to started groups. `None`: there is none.
    ///
    /// Safe to be dropped while it waits. Groups are told in the order of their start; events of one
    /// that failed come with the next outcome or call.
    pub async fn progress(&mut self) -> Option<Progress> {
        loop {
            if let Some((ticket, outcome)) = self.told.pop_front() {
                return Some(Progress::Told { ticket, outcome });
            }
            if self.started.is_empty() {
                return None;
            }
            if self.may_start() && !std::mem::replace(&mut self.may_start_told, true) {
                return Some(Progress::MayStart);
            }
            self.advance().await;
        }
    }

    /// Waits until no group is on its way.
    async fn settle(&mut self) {
        while !self.started.is_empty() {
            self.advance().await;
        }
    }

    async fn advance(&mut self) {
        self.runner.advance(&mut self.machine).await.expect("a group waits for requests");
        self.collect_told();
    }

    /// Takes over what the machine tells of groups.
    fn collect_told(&mut self) {
        for Told { number, outcome, events } in self.machine.take_told() {
            let batches = self.started.pop_front().expect("only started groups are told");
            debug_assert_eq!(batches.first(), Some(&number), "in the order of their start");
            let outcome = match outcome {
                Outcome::Committed(seq) => Ok(Committed { seq, batches, events }),
                Outcome::Closed => Err(CommitError::Closed),
                Outcome::Unknown => Err(CommitError::Unknown(self.runner.share_error())),
                _ => Err(CommitError::Store(self.runner.share_error())),
            };
            self.told.push_back((number, outcome));
        }
        self.note_view();
    }

    /// Events that come before `events` and were not handed out yet, then those.
    fn with_untold(&mut self, events: Vec<Event>) -> Vec<Event> {
        let committed = self.told.iter_mut().filter_map(|(_, outcome)| outcome.as_mut().ok());
        let untold = committed.flat_map(|committed| std::mem::take(&mut committed.events));
        untold.collect::<Vec<_>>().into_iter().chain(events).collect()
    }

    /// Brings the log up to date: afterwards every batch that was acknowledged anywhere before the
    /// call is among the events handed out. No request on a store with a sole writer.
    ///
    /// # Errors
    ///
    /// `Closed`, or what the store answered: then nothing is known about newer batches.
    pub async fn catch_up(&mut self) -> Result<Vec<Event>, CommitError> {
        self.settle().await;
        let step = self.machine.catch_up();
        self.run(step).await?;
        Ok(self.take_events())
    }

    /// As [`Self::catch_up`], but reads the log anew whatever is known of it.
    ///
    /// The proof of the tip does not look for newer manifests: a log without new slots can have one,
    /// and objects that only older ones name are deleted some time later. This is for an owner who
    /// finds such an object missing.
    ///
    /// # Errors
    ///
    /// As [`Self::catch_up`].
    pub async fn read_anew(&mut self) -> Result<Vec<Event>, CommitError> {
        self.settle().await;
        self.machine.forget();
        let step = self.machine.catch_up();
        self.run(step).await?;
        Ok(self.take_events())
    }

    /// Folds: creates the next manifest.
    ///
    /// # Errors
    ///
    /// See [`FoldError`].
    pub async fn fold(&mut self, fold: Fold) -> Result<Folded, FoldError> {
        self.settle().await;
        let stamp = self.runner.process().take_numbers(1);
        let step = self.machine.fold(fold, stamp);
        match self.run(step).await.map_err(FoldError::Failed)? {
            Outcome::Folded => {
                let events = self.take_events();
                Ok(Folded { manifest: self.manifest.clone(), events })
            }
            _ => Err(FoldError::Superseded(self.take_events())),
        }
    }

    /// Ends the log: a closing slot, which fences every writer, then a closed manifest without body.
    ///
    /// May be repeated, also by another process, until it succeeds. Afterwards every use of the log
    /// anywhere says `Closed`.
    ///
    /// # Errors
    ///
    /// What the store answered; the log may be half closed, which fences already.
    pub async fn close(&mut self) -> Result<(), CommitError> {
        self.settle().await;
        let number = self.runner.process().take_numbers(1);
        let step = self.machine.close(number);
        match self.run(step).await {
            Err(CommitError::Closed) => Ok(()),
            Err(error) => Err(error),
            Ok(outcome) => unreachable!("a close does not come to {outcome:?}"),
        }
    }

    /// Completes a drop: closes the log if that was not done, then deletes what is under the prefix.
    ///
    /// A store with several writers keeps the closing slot and the closed manifest (under 200 bytes
    /// each): they fence processes that were stalled before the drop, however long. Nothing there is
    /// no error.
    ///
    /// # Errors
    ///
    /// As [`Self::close`]; to be repeated.
    pub async fn remove(store: &Store, prefix: &str, writer: WriterId) -> Result<(), CommitError> {
        let mut machine = Machine::new(store.process().rules(), writer, store.sole_writer());
        let mut runner = Runner::new(store, prefix);
        let first = machine.close(store.process().take_numbers(1));
        let outcome = runner.run(&mut machine, first).await;
        match runner.outcome(outcome) {
            Err(CommitError::Closed) => run::remove_closed(store, prefix).await,
            Err(error) => Err(error),
            Ok(outcome) => unreachable!("a close does not come to {outcome:?}"),
        }
    }

    /// Deletes everything under the prefix of a removed log, its fence included.
    ///
    /// Only for a sweep so much later that no request of a process that had the log open before its
    /// drop can still be executed: without the fence such a request would find an empty place.
    ///
    /// # Errors
    ///
    /// What the store answered.
    pub async fn purge(store: &Store, prefix: &str) -> Result<(), StoreError> {
        run::delete_under(store, prefix, &[]).await
    }

    /// Deletes folded slots and superseded manifests, decided from fresh lists. Manifests that were
    /// superseded at or after `keep_since_ms` (milliseconds since 1970, by the store's clock) stay,
    /// but for more than 500 of them: so lists of a log that is collected stay one page.
    ///
    /// Slots have no such grace: a process whose view is older than the newest manifest finds them
    /// missing and opens anew.
    ///
    /// # Errors
    ///
    /// What the store answered; the rest is left to the next collection.
    pub async fn collect(
        store: &Store,
        prefix: &str,
        keep_since_ms: i64,
    ) -> Result<Collected, StoreError> {
        run::collect(store, prefix, keep_since_ms).await
    }

    /// The newest manifest of which the caller was told.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The floor of [`Self::manifest`].
    pub fn floor(&self) -> u64 {
        self.manifest.floor
    }

    /// The highest slot of which the caller was told; `floor - 1` if none is unfolded.
    pub fn tip(&self) -> u64 {
        self.tip
    }

    /// Whether the next call must open the log anew, as after an unknown outcome.
    pub fn is_stale(&self) -> bool {
        self.machine.view().is_none()
    }

    /// Whether what was handed out is certain to be part of the log.
    ///
    /// A log just opened on a shared store is not: among the slots may be some that do not count.
    /// Nothing is to be answered from them before one [`Self::catch_up`] has succeeded and its
    /// events were applied. To commit, fold or close is safe; after a success the log is checked.
    pub fn is_checked(&self) -> bool {
        self.machine.is_checked()
    }

    /// Proves where the log ends, beside whatever the log is doing. `None` while the log is not
    /// [checked](Self::is_checked): to be taken, and handed to readers, once the events that the
    /// check brought were applied and are visible to them.
    pub fn prover(&self) -> Option<Prover> {
        self.is_checked().then(|| self.prover.clone())
    }

    /// Who writes through this log.
    pub fn writer(&self) -> WriterId {
        self.writer
    }

    async fn run(&mut self, step: Step) -> Result<Outcome, CommitError> {
        let outcome = self.runner.run(&mut self.machine, step).await;
        self.runner.outcome(outcome)
    }

    fn take_events(&mut self) -> Vec<Event> {
        self.note_view();
        let events = self.machine.take_events();
        self.with_untold(events)
    }

    fn note_view(&mut self) {
        if let Some(view) = self.machine.view() {
            if self.manifest.number != view.manifest.number {
                self.manifest = view.manifest.clone();
                self.runner.remember(&self.manifest);
            }
            self.tip = view.tip();
            self.prover.note(self.tip);
        }
    }
}

#[cfg(test)]
mod tests;
