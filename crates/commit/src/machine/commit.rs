//! Committing a group, and closing the log.
//!
//! ```text
//! create slot --- created ----> list manifests --- none newer ------------> committed
//!   ^   ^  |                         | newer: read it, judge -- counts ----> open, committed
//!   |   |  |                         +------------------------- rebase ----> open --+
//!   |   |  +--- exists -----> learn the tail: ours in it -----------------> committed
//!   |   +------------------------------- not in it <--------------------------------+
//!   |      +--- unanswered -> list manifests, read the newer one: holds ours -> open, committed
//!   |                            | read the slot: ours -> as created; another's -> as exists
//!   +----------------------------+ absent, at or above the floor (three times)
//!                                + absent below the floor -> unknown
//! ```

use super::{Attempt, CREATES_MAX, Machine, Outcome, Phase, Reply, Request, Step, Task};
use crate::manifest::Manifest;
use crate::rules::{Held, Verdict, held, is_ours, judge_slot};
use crate::slot::Slot;

impl Machine {
    /// Numbers the attempt behind the tip and sends it.
    pub(super) fn create_slot(&mut self) -> Step {
        let view = self.view_known();
        if view.ended() {
            return self.fail(Outcome::Closed);
        }
        let (seq, incarnation) = (view.tip() + 1, view.manifest.incarnation);
        let attempt = self.attempt_mut();
        attempt.slot.seq = seq;
        attempt.slot.incarnation = incarnation;
        self.send_slot(1)
    }

    fn send_slot(&mut self, tries: u8) -> Step {
        let attempt = self.attempt_mut();
        attempt.sent = true;
        let slot = attempt.slot.clone();
        self.send(Phase::SlotCreate(tries), Request::CreateSlot(slot))
    }

    pub(super) fn slot_created(&mut self, tries: u8, reply: &Reply) -> Step {
        match reply {
            Reply::Created => self.check_slot(),
            Reply::Exists => self.list_tail(),
            Reply::Refused if tries == 1 => self.done(Outcome::Failed),
            Reply::Refused | Reply::Unanswered => self.look_back(tries),
            Reply::Numbers(_) | Reply::Manifest(_) | Reply::Slots(_) => {
                unreachable!("a create is not answered so")
            }
        }
    }

    /// Our slot exists: it counts if no newer manifest says otherwise.
    fn check_slot(&mut self) -> Step {
        if self.sole_writer || !self.rules.check_slots {
            return self.commit_ours();
        }
        let known = self.view_known().manifest.number;
        self.send_manifests(Phase::SlotCheck, known)
    }

    pub(super) fn slot_checked(&mut self, numbers: &[u64]) -> Step {
        match numbers.iter().max() {
            None => self.fail(Outcome::Closed),
            Some(newest) if *newest > self.view_known().manifest.number => {
                self.send(Phase::SlotNewest, Request::GetManifest(*newest))
            }
            Some(_) => self.commit_ours(),
        }
    }

    pub(super) fn slot_judged(&mut self, found: Option<Manifest>) -> Step {
        let Some(newest) = found else { return self.check_slot() };
        match judge_slot(&self.rules, &newest, &self.attempt().slot) {
            Verdict::Counts => self.reopen_committed(),
            Verdict::Rebase => self.reopen(),
            Verdict::Closed => self.fail(Outcome::Closed),
            Verdict::Unknowable => self.fail(Outcome::Unknown),
        }
    }

    /// Our slot is the next of the log and the view's manifest is the newest.
    fn commit_ours(&mut self) -> Step {
        let slot = self.attempt().slot.clone();
        let seq = slot.seq;
        self.apply(slot);
        match self.task {
            Task::Close { .. } => self.proceed(),
            _ => self.done(Outcome::Committed(seq)),
        }
    }

    /// The create was not answered: the slot may exist, may have been folded, may come later.
    fn look_back(&mut self, tries: u8) -> Step {
        let known = self.view_known().manifest.number;
        self.send_manifests(Phase::BackNewest(tries), known)
    }

    pub(super) fn back_newest(&mut self, tries: u8, numbers: &[u64]) -> Step {
        match numbers.iter().max() {
            None => self.fail(Outcome::Closed),
            Some(newest) if *newest > self.view_known().manifest.number => {
                self.send(Phase::BackManifest(tries), Request::GetManifest(*newest))
            }
            Some(_) => self.back_slot(tries, None),
        }
    }

    pub(super) fn back_manifest(&mut self, tries: u8, found: Option<Manifest>) -> Step {
        let Some(newest) = found else { return self.look_back(tries) };
        match held(&self.rules, &newest, &self.attempt().slot) {
            Held::Yes => self.reopen_committed(),
            Held::Unknowable => self.fail(Outcome::Unknown),
            Held::No => self.back_slot(tries, Some(newest.floor)),
        }
    }

    /// Reads the slot; `newer_floor` is that of a manifest newer than the view's.
    fn back_slot(&mut self, tries: u8, newer_floor: Option<u64>) -> Step {
        let seq = self.attempt().slot.seq;
        self.send(Phase::BackRead(tries, newer_floor), Request::GetSlots(seq, seq))
    }

    pub(super) fn back_read(
        &mut self,
        tries: u8,
        newer_floor: Option<u64>,
        slots: Vec<Option<Slot>>,
    ) -> Step {
        let tried = &self.attempt().slot;
        let folded = newer_floor.is_some_and(|floor| tried.seq < floor);
        match slots.into_iter().flatten().next() {
            Some(found) if is_ours(&self.rules, &found, tried) => self.check_slot(),
            Some(_) if newer_floor.is_some() => self.reopen(),
            Some(_) => self.list_tail(),
            None if !folded && tries < CREATES_MAX => self.send_slot(tries + 1),
            None => self.fail(Outcome::Unknown),
        }
    }

    /// The number of our slot among slots of the log.
    pub(super) fn ours_among(&self, slots: &[Slot]) -> Option<u64> {
        let (Task::Commit(attempt) | Task::Close { attempt, .. }) = &self.task else { return None };
        let ours = |slot: &&Slot| attempt.sent && is_ours(&self.rules, slot, &attempt.slot);
        slots.iter().find(ours).map(|slot| slot.seq)
    }

    /// The slot of our group if it is known to be committed already.
    pub(super) fn committed(&self) -> Option<u64> {
        match &self.task {
            Task::Commit(attempt) if attempt.committed => Some(attempt.slot.seq),
            _ => None,
        }
    }

    /// Our group is committed, but under a manifest that the view does not show yet.
    fn reopen_committed(&mut self) -> Step {
        self.attempt_mut().committed = true;
        self.reopen()
    }

    /// The next step of closing: a closing slot, then a closed manifest over all slots.
    pub(super) fn go_on_closing(&mut self) -> Step {
        let view = self.view_known();
        match (view.manifest.closed, view.ended()) {
            (true, _) => self.fail(Outcome::Closed),
            (false, true) => self.create_fold(),
            (false, false) => self.create_slot(),
        }
    }

    pub(super) fn attempt(&self) -> &Attempt {
        match &self.task {
            Task::Commit(attempt) | Task::Close { attempt, .. } => attempt,
            _ => unreachable!("only a commit or a close creates slots"),
        }
    }

    fn attempt_mut(&mut self) -> &mut Attempt {
        match &mut self.task {
            Task::Commit(attempt) | Task::Close { attempt, .. } => attempt,
            _ => unreachable!("only a commit or a close creates slots"),
        }
    }
}
