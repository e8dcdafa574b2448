//! The check of slots that were created, beside the creation of the next one.
//!
//! ```text
//! list manifests -- none newer --> all slots created before it was sent count: told
//!                +- otherwise ---> wait for the create under way, then look after
//!                                  the groups one by one, from the first
//! ```
//!
//! A check covers the slots whose create had returned when it was sent, and no later one: a slot
//! created meanwhile may be a ghost of which a manifest tells that the list did not show yet.

use super::{Attempt, Machine, Outcome, Phase, Reply, Request, Step, Task, Told, newest};

/// How far the check of created slots is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Check {
    Idle,
    /// Outstanding; covers the slots up to this one.
    Sent(u64),
    /// It ended so while a create was under way.
    Failed(Trouble),
}

/// Why a check did not confirm the slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Trouble {
    /// There is a manifest that the view does not show.
    Newer(u64),
    /// There is no manifest any more.
    Gone,
    /// No answer.
    Unanswered,
}

impl Machine {
    /// The check to be sent now, beside the task's requests; to be asked for after every step. Its
    /// reply goes to [`Self::check_replied`].
    pub fn take_check(&mut self) -> Option<Request> {
        let beside = self.task == Task::Idle || (self.task == Task::Commit && self.at > 0);
        if self.check != Check::Idle || !beside {
            return None;
        }
        let last = self.groups.iter().take_while(|group| group.created).last()?;
        self.check = Check::Sent(last.slot.seq);
        Some(self.list_manifests(self.view_known().manifest.number))
    }

    /// Takes the reply to the outstanding check.
    ///
    /// # Panics
    ///
    /// If no check is outstanding or the reply is not one to a list.
    pub fn check_replied(&mut self, reply: &Reply) -> Step {
        let Check::Sent(upto) = std::mem::replace(&mut self.check, Check::Idle) else {
            unreachable!("a check is outstanding")
        };
        let known = self.view_known().manifest.number;
        let trouble = match reply {
            Reply::Manifests(numbers) => match newest(numbers) {
                None => Trouble::Gone,
                Some(newest) if newest > known => Trouble::Newer(newest),
                Some(_) => return self.confirm(upto),
            },
            Reply::Unanswered | Reply::Refused => Trouble::Unanswered,
            _ => unreachable!("a list is not answered so"),
        };
        match self.phase {
            Phase::SlotCreate(_) => {
                self.check = Check::Failed(trouble);
                Step::Rest
            }
            _ => self.untangle(trouble),
        }
    }

    /// No manifest is newer than the view's: the slots up to `upto` are the next of the log.
    fn confirm(&mut self, upto: u64) -> Step {
        self.checked = true;
        let upto = if self.rules.check_behind_create { upto } else { u64::MAX };
        let counts = |group: &&Attempt| group.created && group.slot.seq <= upto;
        let confirmed = self.groups.iter().take_while(counts).count();
        for group in self.groups.drain(..confirmed).collect::<Vec<_>>() {
            self.apply(group.slot.clone());
            self.tell(&group, Outcome::Committed(group.slot.seq));
        }
        self.at = self.at.saturating_sub(confirmed);
        match std::mem::replace(&mut self.phase, Phase::Rest) {
            Phase::SlotHeld(reply) => self.slot_created(1, reply),
            phase => {
                self.phase = phase;
                Step::Rest
            }
        }
    }

    /// The slots are not confirmed and no request is under way: looks after the groups one by one.
    pub(super) fn untangle(&mut self, trouble: Trouble) -> Step {
        if let Phase::SlotHeld(Reply::Refused) = std::mem::replace(&mut self.phase, Phase::Rest) {
            // Certainly never executed.
            self.attempt_mut().sent = false;
        }
        self.task = Task::Commit;
        self.at = 0;
        match trouble {
            Trouble::Gone => self.fail(Outcome::Closed),
            Trouble::Unanswered => self.fail(Outcome::Unknown),
            Trouble::Newer(number) => self.send(Phase::SlotNewest, Request::GetManifest(number)),
        }
    }

    /// Reports what became of a group.
    pub(super) fn tell(&mut self, group: &Attempt, outcome: Outcome) {
        let number = group.slot.batches.first().map_or(0, |(number, _)| *number);
        let events = match outcome {
            Outcome::Committed(_) => self.take_events(),
            _ => Vec::new(),
        };
        self.told.push(Told { number, outcome, events });
    }

    /// Ends all groups: the first so, those behind it by what was sent of them.
    pub(super) fn abandon_groups(&mut self, outcome: &Outcome) {
        for (at, group) in std::mem::take(&mut self.groups).into_iter().enumerate() {
            let outcome = match (outcome, group.sent) {
                (Outcome::Closed, _) => Outcome::Closed,
                (outcome, _) if at == 0 && self.at == 0 => outcome.clone(),
                (_, true) => Outcome::Unknown,
                (_, false) => Outcome::Failed,
            };
            if !group.slot.closes {
                self.tell(&group, outcome);
            }
        }
        self.at = 0;
    }
}
