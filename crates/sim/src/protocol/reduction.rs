//! Which orders of steps need not be told apart.
//!
//! **A settled request** is one whose reply no other party can change any more, and which changes
//! nothing: executing it now leads to the same futures as executing it at any later time, so where
//! one is outstanding only its process takes steps. (Its process sees no less for it: what it then
//! reports or acknowledges early only makes the checks on others stricter.) The known-bad variants
//! are explored without this, since they break what it rests on.
//!
//! **A spent create** is one afloat on a number that is taken for good: it will never do anything.
//!
//! **Symmetry**: where all processes have the same to do, the first step is taken by the first.

use vb_commit::machine::Request;
use vb_commit::rules::Rules;

use super::actor::{Asked, Place};
use super::scenario::Scenario;
use super::world::World;

impl World {
    /// An outstanding request that is settled, and whose.
    pub(super) fn settled(&self, scenario: &Scenario) -> Option<(usize, Place)> {
        let sound = Rules { guess_slots: scenario.rules.guess_slots, ..Rules::SOUND };
        if scenario.rules != sound || scenario.hasty_proofs || !scenario.reduced {
            return None;
        }
        let last_manifest = !self.manifests_may_come();
        let settled = |asked: &Asked| match &asked.request {
            // Only the highest number is looked at, and that one stays.
            Request::ListManifests(_) => last_manifest,
            Request::GetManifest(number) => self.manifest_stays(*number, last_manifest),
            Request::GetSlots(..) => self.slot_stays(asked.next_slot(), last_manifest),
            _ => false,
        };
        let of = |(index, actor): (usize, &super::shared::Shared<super::actor::Actor>)| {
            let (place, _) = actor.outstanding().find(|(_, asked)| settled(asked))?;
            Some((index, place))
        };
        self.actors.iter().enumerate().find_map(of)
    }

    fn manifest_stays(&self, number: u64, last_manifest: bool) -> bool {
        let newest = self.objects.manifests.keys().next_back() == Some(&number);
        let there = self.objects.manifests.contains_key(&number);
        there && (!self.deletes_may_come() || (newest && last_manifest))
    }

    fn slot_stays(&self, seq: u64, last_manifest: bool) -> bool {
        let newest = self.objects.manifests.values().next_back();
        let unfolded = newest.is_some_and(|newest| seq >= newest.floor);
        let there = self.objects.slots.contains_key(&seq);
        there && (!self.deletes_may_come() || (unfolded && last_manifest))
    }

    fn deletes_may_come(&self) -> bool {
        self.left.collections > 0 || !self.collection.is_idle()
    }

    fn manifests_may_come(&self) -> bool {
        let afloat = self.afloat.iter().any(|late| matches!(late, Request::CreateManifest(_)));
        let wanted = self.left.flushes + self.left.closes + self.left.lives > 0;
        afloat || wanted || self.actors.iter().any(|actor| actor.may_write_manifest())
    }

    /// Forgets creates that will never do anything.
    pub(super) fn drop_spent(&mut self, scenario: &Scenario) {
        if self.afloat.is_empty() || self.deletes_may_come() || !scenario.reduced {
            return;
        }
        let Self { afloat, objects, .. } = self;
        afloat.retain(|late| match late {
            Request::CreateSlot(slot) => !objects.slots.contains_key(&slot.seq),
            Request::CreateManifest(made) => !objects.manifests.contains_key(&made.number),
            _ => false,
        });
    }

    /// How many processes may begin something here.
    pub(super) fn beginners(&self, scenario: &Scenario) -> usize {
        let alike = scenario.batches.windows(2).all(|pair| pair[0] == pair[1]);
        let untouched = self.actors.iter().all(|actor| actor.is_untouched());
        if scenario.reduced && alike && untouched { 1 } else { self.actors.len() }
    }
}
