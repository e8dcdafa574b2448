//! One open log: runs the protocol's machine against a store.
//!
//! A log is owned by one task. A call should be run to its end: a commit whose future is dropped
//! midway leaves its outcome unknown, just as an unanswered one does. It corrupts nothing, since
//! the log then has no view and the next call opens it anew.

mod run;

use bytes::Bytes;

pub use self::run::Collected;
use self::run::Runner;
use crate::error::{CommitError, CreateError, StoreError};
use crate::machine::{Machine, Outcome, Step};
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
    /// To be applied, in order, before the group is acknowledged. Our own group is among them once:
    /// as a slot, among the slots of a re-open, or folded into its manifest.
    pub events: Vec<Event>,
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
        Self { machine, runner, writer, manifest, tip }
    }

    /// Commits a group of batches as one slot, all or none. Durable and visible on return.
    ///
    /// Numbers are given to the batches here, when the slot is about to be numbered. The group must
    /// fit one slot: see [`crate::groups`] and [`SLOT_BYTES_MAX`].
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
        assert!(!group.is_empty(), "a slot holds at least one batch");
        let bytes = slot_bytes(&group);
        if bytes > SLOT_BYTES_MAX {
            return Err(CommitError::TooLarge { bytes });
        }
        let first = self.runner.process().take_numbers(group.len());
        let batches: Vec<_> = (first..).zip(group).collect();
        let numbers = batches.iter().map(|(number, _)| *number).collect();
        let step = self.machine.commit(batches);
        match self.run(step).await? {
            Outcome::Committed(seq) => {
                Ok(Committed { seq, batches: numbers, events: self.take_events() })
            }
            outcome => unreachable!("a commit does not come to {outcome:?}"),
        }
    }

    /// Brings the log up to date: afterwards every batch that was acknowledged anywhere before the
    /// call is among the events handed out. No request on a store with a sole writer.
    ///
    /// # Errors
    ///
    /// `Closed`, or what the store answered: then nothing is known about newer batches.
    pub async fn catch_up(&mut self) -> Result<Vec<Event>, CommitError> {
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

    /// Deletes folded slots and superseded manifests, decided from fresh lists. Manifests written
    /// at or after `keep_since_ms` (milliseconds since 1970, by the store's clock) stay.
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

    /// Who writes through this log.
    pub fn writer(&self) -> WriterId {
        self.writer
    }

    async fn run(&mut self, step: Step) -> Result<Outcome, CommitError> {
        let outcome = self.runner.run(&mut self.machine, step).await;
        self.runner.outcome(outcome)
    }

    fn take_events(&mut self) -> Vec<Event> {
        if let Some(view) = self.machine.view() {
            self.manifest = view.manifest.clone();
            self.tip = view.tip();
            self.runner.remember(&self.manifest);
        }
        self.machine.take_events()
    }
}

#[cfg(test)]
mod tests;
