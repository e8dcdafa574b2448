//! Committing a group, and closing the log.
//!
//! ```text
//! create slot --- created ----> list manifests --- none newer ------------> committed
//!   ^   ^  |                         | newer: read it, judge -- counts ----> open, committed
//!   |   |  |                         +------------------------- rebase ----> open --+
//!   |   |  +--- exists -----> learn the tail: ours in it -----------------> committed
//!   |   +------------------------------- not in it <--------------------------------+
//!   |      |                  nothing there: again (three times, then unknown)
//!   |      +--- unanswered -> list manifests, read the newer one: holds ours -> open, committed
//!   |                            | read the slot: ours -> as created; another's -> as exists
//!   +----------------------------+ absent, at or above the floor (three times)
//!                                + absent below the floor -> unknown
//! ```
//!
//! Where the create is answered as it should be, the task ends there and the list is the common
//! check (`check`). A group whose create was not answered so waits until the one before it is told;
//! then it goes this way alone.

use super::check::Check;
use super::{Attempt, CREATES_MAX, Machine, Outcome, Phase, Reply, Request, Step, Task, newest};
use crate::manifest::Manifest;
use crate::rules::{Held, Verdict, held, is_ours, judge_slot};
use crate::slot::Slot;

impl Machine {
    /// Numbers the attempt behind the tip, or behind the group before it, and sends it.
    pub(super) fn create_slot(&mut self) -> Step {
        let view = self.view_known();
        if view.ended() {
            return self.fail(Outcome::Closed);
        }
        let incarnation = view.manifest.incarnation;
        let before = match self.at.checked_sub(1) {
            Some(before) => self.groups[before].slot.seq,
            None => view.tip(),
        };
        let attempt = self.attempt_mut();
        attempt.slot.seq = before + 1;
        attempt.slot.incarnation = incarnation;
        attempt.created = false;
        // Only of the very first create it is certain that it was not executed if it is refused.
        let tries = if attempt.sent { 2 } else { 1 };
        self.send_slot(tries)
    }

    fn send_slot(&mut self, tries: u8) -> Step {
        let attempt = self.attempt_mut();
        attempt.sent = true;
        let slot = attempt.slot.clone();
        self.send(Phase::SlotCreate(tries), Request::CreateSlot(slot))
    }

    pub(super) fn slot_created(&mut self, tries: u8, reply: Reply) -> Step {
        if reply == Reply::Created {
            return self.slot_exists();
        }
        if self.at > 0 {
            return self.hold(reply);
        }
        match reply {
            Reply::Exists => self.list_tail(),
            Reply::Refused if tries == 1 => self.group_failed(),
            Reply::Refused | Reply::Unanswered => self.look_back(tries),
            _ => unreachable!("a create is not answered so"),
        }
    }

    /// The create was answered as it should be. All groups wait for the common check, unless this
    /// one is looked after alone.
    fn slot_exists(&mut self) -> Step {
        self.attempt_mut().created = true;
        let last = self.at + 1 == self.groups.len();
        if self.sole_writer || !last || self.task != Task::Commit || !self.rules.check_slots {
            return self.check_slot();
        }
        self.task = Task::Idle;
        match std::mem::replace(&mut self.check, Check::Idle) {
            Check::Failed(trouble) => self.untangle(trouble),
            check => {
                self.check = check;
                Step::Rest
            }
        }
    }

    /// The create was refused because the number is taken, and nothing is there: a conflict of
    /// creates of which none was executed, or not yet.
    pub(super) fn create_again(&mut self) -> Step {
        let attempt = self.attempt_mut();
        attempt.conflicts += 1;
        match attempt.conflicts {
            conflicts if conflicts < CREATES_MAX => self.send_slot(conflicts + 1),
            _ => self.fail(Outcome::Unknown),
        }
    }

    /// The answer leads further only once the group before is told.
    fn hold(&mut self, reply: Reply) -> Step {
        self.phase = Phase::SlotHeld(reply);
        match std::mem::replace(&mut self.check, Check::Idle) {
            Check::Failed(trouble) => self.untangle(trouble),
            check => {
                self.check = check;
                Step::Rest
            }
        }
    }

    /// The first create was certainly not executed. A closing slot has nobody to be told.
    fn group_failed(&mut self) -> Step {
        match self.task {
            Task::Commit => self.group_told(Outcome::Failed),
            _ => {
                self.groups.clear();
                self.done(Outcome::Failed)
            }
        }
    }

    /// Our slot exists: it counts if no newer manifest says otherwise.
    pub(super) fn check_slot(&mut self) -> Step {
        if self.sole_writer || !self.rules.check_slots {
            return self.commit_ours();
        }
        let known = self.view_known().manifest.number;
        self.send_manifests(Phase::SlotCheck, known)
    }

    pub(super) fn slot_checked(&mut self, numbers: &[u64]) -> Step {
        match newest(numbers) {
            None => self.fail(Outcome::Closed),
            Some(newest) if newest > self.view_known().manifest.number => {
                self.send(Phase::SlotNewest, Request::GetManifest(newest))
            }
            Some(_) => {
                self.checked = true;
                self.commit_ours()
            }
        }
    }

    pub(super) fn slot_judged(&mut self, found: Option<Manifest>) -> Step {
        let Some(newest) = found else { return self.check_slot() };
        match judge_slot(&self.rules, &newest, &self.attempt().slot, &self.behind()) {
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
            _ => self.group_told(Outcome::Committed(seq)),
        }
    }

    /// What became of the first group is known: goes on with the one behind it.
    pub(super) fn group_told(&mut self, outcome: Outcome) -> Step {
        let group = self.groups.remove(0);
        self.tell(&group, outcome);
        self.at = 0;
        if self.groups.is_empty() {
            self.task = Task::Idle;
            return Step::Rest;
        }
        self.resume()
    }

    /// Goes on with the first group on a view that was read or proved after its create was sent:
    /// it may be in the view, or folded into the manifest.
    ///
    /// If it is neither, the number it was sent to is the one behind the tip, where it is sent
    /// again, or one that was used: there its create can succeed only as a ghost.
    pub(super) fn resume(&mut self) -> Step {
        let attempt = self.attempt();
        if let Some(seq) = self.seq_in_view(attempt) {
            return self.group_told(Outcome::Committed(seq));
        }
        if attempt.committed {
            return self.group_told(Outcome::Committed(attempt.slot.seq));
        }
        let view = self.view_known();
        if !attempt.sent {
            return self.proceed();
        }
        if attempt.created && attempt.slot.seq == view.tip() + 1 {
            return self.check_slot();
        }
        if attempt.slot.seq >= view.manifest.floor {
            // Not folded, and the slots from the floor on are in the view.
            return self.proceed();
        }
        match held(&self.rules, &view.manifest, &attempt.slot, &self.behind()) {
            Held::Yes => self.group_told(Outcome::Committed(attempt.slot.seq)),
            Held::Unknowable => self.fail(Outcome::Unknown),
            Held::No => self.proceed(),
        }
    }

    /// The create was not answered: the slot may exist, may have been folded, may come later.
    fn look_back(&mut self, tries: u8) -> Step {
        let known = self.view_known().manifest.number;
        self.send_manifests(Phase::BackNewest(tries), known)
    }

    pub(super) fn back_newest(&mut self, tries: u8, numbers: &[u64]) -> Step {
        match newest(numbers) {
            None => self.fail(Outcome::Closed),
            Some(newest) if newest > self.view_known().manifest.number => {
                self.send(Phase::BackManifest(tries), Request::GetManifest(newest))
            }
            Some(_) => self.back_slot(tries, None),
        }
    }

    pub(super) fn back_manifest(&mut self, tries: u8, found: Option<Manifest>) -> Step {
        let Some(newest) = found else { return self.look_back(tries) };
        match held(&self.rules, &newest, &self.attempt().slot, &self.behind()) {
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

    /// The number of the group's slot in the view, by writer and batches.
    fn seq_in_view(&self, attempt: &Attempt) -> Option<u64> {
        let last = attempt.slot.batches.last().map(|(number, _)| *number);
        let count = attempt.slot.batches.len() as u64;
        let ours = |writer, batch| writer == attempt.slot.writer && Some(batch) == last;
        let mut tail = self.view_known().tail.iter();
        let mark = tail.find(|mark| ours(mark.writer, mark.batch) && mark.count == count)?;
        (attempt.sent && self.rules.read_back).then_some(mark.seq)
    }

    /// The last batches of the groups behind the one that is looked after, as they were sent.
    fn behind(&self) -> Vec<u64> {
        let behind = self.groups.iter().skip(self.at + 1).filter(|group| group.sent);
        behind.filter_map(|group| group.slot.batches.last()).map(|(number, _)| *number).collect()
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
        self.groups.get(self.at).expect("only a commit or a close creates slots")
    }

    pub(super) fn attempt_mut(&mut self) -> &mut Attempt {
        self.groups.get_mut(self.at).expect("only a commit or a close creates slots")
    }
}
