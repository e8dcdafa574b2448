//! Reading the log anew.
//!
//! ```text
//! list manifests -> read the newest -> list slots from its floor -> read them -> list manifests
//!       ^  none: closed     | gone                                                | newer
//!       +-------------------+-----------------------------------------------------+
//! ```
//!
//! The last list makes the view coherent: a slot number that was folded, collected and then
//! created again by a stalled writer can only have been read if a newer manifest exists by now.

use super::{Machine, Outcome, Phase, Request, Step, Task};
use crate::log::Event;
use crate::manifest::Manifest;
use crate::rules::{Held, SlotMark, View, held};
use crate::slot::Slot;

impl Machine {
    pub(super) fn reopen(&mut self) -> Step {
        self.view = None;
        self.events.clear();
        self.send(Phase::OpenNewest, Request::ListManifests(0))
    }

    pub(super) fn open_newest(&mut self, numbers: &[u64]) -> Step {
        match numbers.iter().max() {
            Some(newest) => self.send(Phase::OpenManifest(*newest), Request::GetManifest(*newest)),
            None => self.fail(Outcome::Closed),
        }
    }

    pub(super) fn open_manifest(&mut self, number: u64, found: Option<Manifest>) -> Step {
        match found {
            Some(manifest) => {
                let floor = manifest.floor;
                self.send(Phase::OpenList(manifest), Request::ListSlots(floor))
            }
            // Superseded and collected in between.
            None => self.send_manifests(Phase::OpenNewest, number),
        }
    }

    pub(super) fn open_listed(&mut self, manifest: Manifest, numbers: &[u64]) -> Step {
        let floor = manifest.floor;
        match numbers.iter().max() {
            Some(tip) => self.send(Phase::OpenRead(manifest), Request::GetSlots(floor, *tip)),
            None => self.check_open(manifest, Vec::new()),
        }
    }

    pub(super) fn open_read(&mut self, manifest: Manifest, slots: Vec<Option<Slot>>) -> Step {
        match slots.into_iter().collect::<Option<Vec<_>>>() {
            Some(slots) => self.check_open(manifest, slots),
            None => self.send_manifests(Phase::OpenGap(manifest.number), manifest.number),
        }
    }

    /// Slots were missing: right if a newer manifest has folded them, a broken log otherwise.
    pub(super) fn open_gap(&mut self, number: u64, numbers: &[u64]) -> Step {
        match numbers.iter().max() {
            Some(newest) if *newest == number => self.fail(Outcome::Corrupt),
            _ => self.open_newest(numbers),
        }
    }

    fn check_open(&mut self, manifest: Manifest, slots: Vec<Slot>) -> Step {
        if self.sole_writer {
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
        match numbers.iter().max() {
            Some(newest) if *newest == manifest.number => self.publish(manifest, slots),
            _ => self.open_newest(numbers),
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
        let ours = self.ours_among(&slots).or(self.committed());
        self.view = Some(View { manifest: manifest.clone(), tail });
        slots.retain(|slot| !slot.closes);
        self.events.push(Event::Reopened { manifest, slots });
        match &self.task {
            Task::CatchUp => self.done_unless_ended(),
            Task::Fold { .. } => self.done(Outcome::Superseded),
            Task::Commit(_) => self.commit_reopened(ours),
            Task::Idle | Task::Create { .. } => unreachable!("the task reads the log"),
            Task::Open | Task::Close { .. } => self.proceed(),
        }
    }

    /// Goes on with a commit: our slot may be in the log, or folded into the manifest.
    fn commit_reopened(&mut self, ours: Option<u64>) -> Step {
        if let Some(seq) = ours {
            return self.done(Outcome::Committed(seq));
        }
        let attempt = self.attempt();
        if !attempt.sent {
            return self.proceed();
        }
        let seq = attempt.slot.seq;
        match held(&self.rules, &self.view_known().manifest, &attempt.slot) {
            Held::Yes => self.done(Outcome::Committed(seq)),
            Held::Unknowable => self.fail(Outcome::Unknown),
            Held::No => self.proceed(),
        }
    }
}
