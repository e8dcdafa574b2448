//! Proving the tip, or learning the slots behind it.
//!
//! The list starts at the tip itself: while the log lives its highest slot is never deleted, so a
//! list that shows the tip and nothing behind it proves the view current, in one request. New slots
//! are read first and believed only if no newer manifest exists after that.

use super::{Machine, Outcome, Phase, Request, Step, Task};
use crate::slot::Slot;

impl Machine {
    pub(super) fn prove_tip(&mut self) -> Step {
        if self.sole_writer || self.view_known().ended() {
            return self.done_unless_ended();
        }
        self.list_tail()
    }

    pub(super) fn list_tail(&mut self) -> Step {
        let tip = self.view_known().tip();
        self.send(Phase::TailList, Request::ListSlots(tip))
    }

    pub(super) fn tail_listed(&mut self, numbers: &[u64]) -> Step {
        let tip = self.view_known().tip();
        match numbers.iter().max() {
            Some(newest) if *newest > tip => {
                self.send(Phase::TailRead, Request::GetSlots(tip + 1, *newest))
            }
            Some(_) if self.task == Task::CatchUp => self.done(Outcome::Current),
            // No slot was ever written, or the log is gone: only the manifests can tell.
            _ => self.check_tail(Vec::new()),
        }
    }

    pub(super) fn tail_read(&mut self, slots: Vec<Option<Slot>>) -> Step {
        match slots.into_iter().collect::<Option<Vec<_>>>() {
            Some(slots) => self.check_tail(slots),
            None => self.reopen(),
        }
    }

    fn check_tail(&mut self, slots: Vec<Slot>) -> Step {
        let known = self.view_known().manifest.number;
        if self.sole_writer {
            return self.tail_checked(slots, &[known]);
        }
        self.send_manifests(Phase::TailCheck(slots), known)
    }

    pub(super) fn tail_checked(&mut self, slots: Vec<Slot>, numbers: &[u64]) -> Step {
        match numbers.iter().max() {
            None => self.fail(Outcome::Closed),
            Some(newest) if *newest > self.view_known().manifest.number => self.reopen(),
            Some(_) => self.apply_tail(slots),
        }
    }

    fn apply_tail(&mut self, slots: Vec<Slot>) -> Step {
        let incarnation = self.view_known().manifest.incarnation;
        // A commit comes here because its number is taken: then a slot must be there.
        let stuck = slots.is_empty() && self.task != Task::CatchUp;
        if stuck || slots.iter().any(|slot| slot.incarnation != incarnation) {
            return self.fail(Outcome::Corrupt);
        }
        let ours = self.ours_among(&slots);
        for slot in slots {
            self.apply(slot);
        }
        match (&self.task, ours) {
            (Task::CatchUp, _) => self.done_unless_ended(),
            (Task::Commit(_), Some(seq)) => self.done(Outcome::Committed(seq)),
            _ => self.proceed(),
        }
    }

    pub(super) fn done_unless_ended(&mut self) -> Step {
        match self.view_known().ended() {
            true => self.fail(Outcome::Closed),
            false => self.done(Outcome::Current),
        }
    }
}
