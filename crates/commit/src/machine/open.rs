//! Reading the log anew.
//!
//! ```text
//! list manifests --> read the newest --> the slots were those read? publish, or check:
//! list slots     --> read the last       no: read the rest first        list manifests
//!       ^  none: closed     | gone                                             | newer
//!       +-------------------+--------------------------------------------------+
//! ```
//!
//! Two rounds as a rule: which slots the manifest leaves is not known before it is read, but they
//! are the last ones without a gap. The last list makes the view coherent: a slot number that was
//! folded, collected and then created again by a stalled writer can only have been read if a newer
//! manifest exists by now. An open leaves that list to the next task (the view is *unchecked*), but
//! not where what was read looks closed or contradictory.

use super::{ListedSlot, Machine, Outcome, Phase, Request, Step, Task, newest};
use crate::log::Event;
use crate::manifest::Manifest;
use crate::rules::{SlotMark, View};
use crate::slot::Slot;

/// How many bytes of slots are read before it is known whether they are needed.
const GUESS_BYTES_MAX: u64 = 32 << 20;

/// The listed slots at the end of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Tail {
    /// Those from here on were listed without a gap.
    from: u64,
    /// Those from here on are read beside the manifest; above `tip`: none.
    guess: u64,
    /// The highest; 0: none.
    tip: u64,
}

impl Tail {
    /// The slots at the end of a list; at most `slots_max` of them are to be read at once.
    fn of(listed: &[ListedSlot], slots_max: u64) -> Self {
        let mut falling = listed.to_vec();
        falling.sort_unstable_by_key(|slot| std::cmp::Reverse(slot.seq));
        let tip = falling.first().map_or(0, |slot| slot.seq);
        let (mut from, mut guess, mut bytes) = (tip + 1, tip + 1, 0u64);
        for slot in falling {
            if slot.seq + 1 != from {
                break;
            }
            bytes = bytes.saturating_add(slot.bytes);
            if guess == from && bytes <= GUESS_BYTES_MAX && tip - slot.seq < slots_max {
                guess = slot.seq;
            }
            from = slot.seq;
        }
        Self { from, guess, tip }
    }
}

impl Machine {
    pub(super) fn reopen(&mut self) -> Step {
        self.view = None;
        self.checked = false;
        self.events.clear();
        self.phase = Phase::OpenNewest;
        Step::Send(vec![Request::ListManifests(0), Request::ListSlots(0)])
    }

    pub(super) fn open_newest(&mut self, numbers: &[u64], slots: &[ListedSlot]) -> Step {
        let Some(newest) = newest(numbers) else { return self.fail(Outcome::Closed) };
        let tail = Tail::of(slots, self.rules.guess_slots);
        self.phase = Phase::OpenRead(newest, tail);
        let slots = (tail.guess <= tail.tip).then_some(Request::GetSlots(tail.guess, tail.tip));
        Step::Send([Request::GetManifest(newest)].into_iter().chain(slots).collect())
    }

    pub(super) fn open_read(
        &mut self,
        number: u64,
        tail: Tail,
        found: Option<Manifest>,
        slots: Vec<Option<Slot>>,
    ) -> Step {
        // If not found: superseded and collected in between.
        let Some(manifest) = found else {
            return self.send_both(Phase::OpenNewest, number, 0);
        };
        let floor = manifest.floor;
        if tail.tip < floor {
            return self.opened(manifest, Vec::new());
        }
        let guessed = slots.into_iter().zip(tail.guess..);
        let needed = guessed.filter(|(_, seq)| *seq >= floor).map(|(slot, _)| slot);
        match needed.collect::<Option<Vec<_>>>() {
            _ if floor < tail.from => self.look_for_gap(manifest.number),
            None => self.look_for_gap(manifest.number),
            Some(later) if floor < tail.guess => self
                .send(Phase::OpenRest(manifest, later), Request::GetSlots(floor, tail.guess - 1)),
            Some(slots) => self.opened(manifest, slots),
        }
    }

    pub(super) fn open_rest(
        &mut self,
        manifest: Manifest,
        slots: Vec<Option<Slot>>,
        later: Vec<Slot>,
    ) -> Step {
        match slots.into_iter().collect::<Option<Vec<_>>>() {
            Some(slots) => self.opened(manifest, slots.into_iter().chain(later).collect()),
            None => self.look_for_gap(manifest.number),
        }
    }

    /// Slots are missing: right if a newer manifest has folded them, a broken log otherwise.
    fn look_for_gap(&mut self, number: u64) -> Step {
        self.send_both(Phase::OpenGap(number), number, 0)
    }

    pub(super) fn open_gap(&mut self, number: u64, numbers: &[u64], slots: &[ListedSlot]) -> Step {
        match newest(numbers) {
            Some(newest) if newest == number => self.fail(Outcome::Corrupt),
            _ => self.open_newest(numbers, slots),
        }
    }

    /// All was read: publishes it, unchecked if it may be.
    fn opened(&mut self, manifest: Manifest, slots: Vec<Slot>) -> Step {
        let sound = slots.iter().all(|slot| slot.incarnation == manifest.incarnation)
            && !slots.last().is_some_and(|slot| slot.closes);
        if self.sole_writer || (sound && self.task == Task::Open) {
            return self.publish(manifest, slots);
        }
        let number = manifest.number;
        self.send_manifests(Phase::OpenCheck(manifest, slots), number)
    }

    pub(super) fn open_checked(
        &mut self,
        manifest: Manifest,
        slots: Vec<Slot>,
        numbers: &[u64],
    ) -> Step {
        match newest(numbers) {
            None => self.fail(Outcome::Closed),
            Some(newest) if newest == manifest.number => {
                self.checked = true;
                self.publish(manifest, slots)
            }
            Some(newest) => self.send_both(Phase::OpenNewest, newest, 0),
        }
    }

    fn publish(&mut self, manifest: Manifest, mut slots: Vec<Slot>) -> Step {
        if slots.iter().any(|slot| slot.incarnation != manifest.incarnation) {
            return self.fail(Outcome::Corrupt);
        }
        if *self.life.get_or_insert(manifest.incarnation) != manifest.incarnation {
            // The log was dropped, and another lives in its place.
            return self.fail(Outcome::Closed);
        }
        let closing = matches!(self.task, Task::Open | Task::Close { .. });
        if manifest.closed && !closing {
            // Also for a group that was committed before: it went with the log.
            return self.fail(Outcome::Closed);
        }
        let tail = slots.iter().map(SlotMark::of).collect();
        self.view = Some(View { manifest: manifest.clone(), tail });
        slots.retain(|slot| !slot.closes);
        self.events.push(Event::Reopened { manifest, slots });
        match &self.task {
            Task::CatchUp => self.done_unless_ended(),
            Task::Fold { .. } if self.is_unchecked_flush() => self.create_fold(),
            Task::Fold { .. } => self.done(Outcome::Superseded),
            Task::Commit => self.resume(),
            Task::Idle | Task::Create { .. } => unreachable!("the task reads the log"),
            Task::Open | Task::Close { .. } => self.proceed(),
        }
    }
}
