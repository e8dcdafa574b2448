//! Proving the tip, or learning the slots behind it.
//!
//! The list starts at the tip itself: while the log lives its highest slot is never deleted, so a
//! list that shows the tip and nothing behind it proves a checked view current, in one request. A
//! view that is not checked, or that knows of no slot, takes a list of the manifests beside it.
//! New slots are read first and believed only if no newer manifest exists after that.

use super::{ListedSlot, Machine, Outcome, Phase, Request, Step, Task, newest};
use crate::slot::Slot;

impl Machine {
    pub(super) fn prove_tip(&mut self) -> Step {
        let view = self.view_known();
        if self.sole_writer || (view.ended() && self.checked) {
            return self.done_unless_ended();
        }
        let (tip, known) = (view.tip(), view.manifest.number);
        match self.checked && tip > 0 {
            true => self.list_tail(),
            false => self.send_both(Phase::TailProve, known, tip),
        }
    }

    pub(super) fn tail_proved(&mut self, numbers: &[u64], slots: &[ListedSlot]) -> Step {
        match newest(numbers) {
            None => return self.fail(Outcome::Closed),
            Some(newest) if newest > self.view_known().manifest.number => {
                if self.checked || self.rules.check_opened {
                    return self.reopen();
                }
            }
            Some(_) => {}
        }
        self.checked = true;
        let tip = self.view_known().tip();
        match slots.iter().any(|slot| slot.seq > tip) {
            true => self.tail_listed(slots),
            false => self.done_unless_ended(),
        }
    }

    pub(super) fn list_tail(&mut self) -> Step {
        let tip = self.view_known().tip();
        self.send(Phase::TailList, Request::ListSlots(tip))
    }

    pub(super) fn tail_listed(&mut self, slots: &[ListedSlot]) -> Step {
        let tip = self.view_known().tip();
        let behind = slots.iter().filter(|slot| slot.seq > tip).count() as u64;
        match slots.iter().map(|slot| slot.seq).max() {
            Some(newest) if newest > tip && newest - tip == behind => {
                self.send(Phase::TailRead, Request::GetSlots(tip + 1, newest))
            }
            // Folded and collected meanwhile.
            Some(newest) if newest > tip => self.reopen(),
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
        match newest(numbers) {
            None => self.fail(Outcome::Closed),
            Some(newest) if newest > self.view_known().manifest.number => self.reopen(),
            Some(_) => self.apply_tail(slots),
        }
    }

    fn apply_tail(&mut self, slots: Vec<Slot>) -> Step {
        self.checked = true;
        let incarnation = self.view_known().manifest.incarnation;
        if slots.iter().any(|slot| slot.incarnation != incarnation) {
            return self.fail(Outcome::Corrupt);
        }
        // A commit comes here because its number is said to be taken.
        if slots.is_empty() && self.task != Task::CatchUp {
            return self.create_again();
        }
        for slot in slots {
            self.apply(slot);
        }
        match &self.task {
            Task::CatchUp => self.done_unless_ended(),
            Task::Commit => self.resume(),
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
