//! What was asked when, and what it came to.
//!
//! Times are ticks: a count of everything that the simulation saw, so that of two calls the one
//! that ended before the other began certainly did so, whatever the clocks of their nodes showed.

use super::calls::{Call, Outcome, Told};

/// No tick is later.
pub(super) const NEVER: u64 = u64::MAX;

/// One call.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) id: u64,
    pub(super) node: usize,
    pub(super) call: Call,
    pub(super) began: u64,
    /// When it was answered; for a call whose outcome is unknown, when nothing of it was under way
    /// any more.
    pub(super) ended: u64,
    /// Nothing until it is answered; a call on a node that crashed stays unanswered.
    pub(super) told: Option<Told>,
    /// If its outcome is unknown: the requests below this number are all that can still be of it.
    pub(super) barrier: Option<u64>,
}

impl Entry {
    /// Whether it certainly took place.
    pub(super) fn is_done(&self) -> bool {
        matches!(self.outcome(), Some(Outcome::Done))
    }

    /// Whether it may have taken place, and nobody was told.
    pub(super) fn may_be_done(&self) -> bool {
        matches!(self.outcome(), None | Some(Outcome::Unknown))
    }

    pub(super) fn outcome(&self) -> Option<&Outcome> {
        self.told.as_ref().map(|told| &told.outcome)
    }

    /// The index that the call reached, by its creating call.
    pub(super) fn creation(&self) -> Option<u64> {
        self.told.as_ref().and_then(|told| told.creation)
    }
}

/// All calls of a run.
#[derive(Debug, Default)]
pub(super) struct History {
    pub(super) entries: Vec<Entry>,
    /// The bucket is made.
    pub(super) prepared: bool,
    tick: u64,
}

impl History {
    pub(super) fn tick(&mut self) -> u64 {
        self.tick += 1;
        self.tick
    }

    /// Begins a call and returns its number, from 1 on.
    pub(super) fn begin(&mut self, node: usize, call: Call) -> u64 {
        let (began, id) = (self.tick(), self.entries.len() as u64 + 1);
        let entry = Entry { id, node, call, began, ended: NEVER, told: None, barrier: None };
        self.entries.push(entry);
        id
    }

    pub(super) fn entry(&mut self, id: u64) -> &mut Entry {
        &mut self.entries[id as usize - 1]
    }

    /// The call is answered. `next`: the number of the store's next request.
    pub(super) fn end(&mut self, id: u64, told: Told, next: u64) {
        let tick = self.tick();
        let entry = self.entry(id);
        entry.told = Some(told);
        match entry.may_be_done() {
            true => entry.barrier = Some(next),
            false => entry.ended = tick,
        }
    }

    /// The call will never be answered.
    pub(super) fn abandon(&mut self, id: u64, next: u64) {
        self.entry(id).barrier = Some(next);
    }

    /// What was unknown and can no longer change has ended. `lowest` is the lowest request under
    /// way of a node.
    pub(super) fn settle(&mut self, node: usize, lowest: Option<u64>) {
        let settled = |entry: &Entry| {
            entry.node == node
                && entry.barrier.is_some_and(|barrier| lowest.is_none_or(|low| low >= barrier))
        };
        if self.entries.iter().any(settled) {
            let tick = self.tick();
            for entry in self.entries.iter_mut().filter(|entry| settled(entry)) {
                (entry.barrier, entry.ended) = (None, tick);
            }
        }
    }
}
