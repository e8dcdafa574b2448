//! Collection: which slots and manifests nobody needs any more.
//!
//! Decided from lists made for the purpose, never from an open log's memory. A process whose view
//! is older than the newest manifest finds its slots missing and opens anew.

use crate::machine::{Reply, Request};
use crate::manifest::Manifest;
use crate::rules::{CollectionPlan, Rules, plan_collection};

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum CollectorStep {
    /// Execute the request and hand in its reply.
    Send(Request),
    /// Delete these.
    Delete(CollectionPlan),
    /// A request failed, or there is no log: delete nothing.
    Nothing,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Phase {
    Manifests,
    Newest(Vec<u64>),
    Slots(Manifest, Vec<u64>),
}

/// Decides one collection, without I/O.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Collector {
    rules: Rules,
    remembered: Option<Manifest>,
    phase: Phase,
}

impl Collector {
    /// Begins a collection; `remembered` is used by a known-bad variant only.
    pub fn begin(rules: Rules, remembered: Option<Manifest>) -> (Self, Request) {
        let remembered = remembered.filter(|_| !rules.collect_fresh);
        (Self { rules, remembered, phase: Phase::Manifests }, Request::ListManifests(0))
    }

    /// Takes the reply to the outstanding request.
    pub fn reply(&mut self, reply: Reply) -> CollectorStep {
        match (std::mem::replace(&mut self.phase, Phase::Manifests), reply) {
            (Phase::Manifests, Reply::Manifests(numbers)) => self.listed(numbers),
            (Phase::Newest(numbers), Reply::Manifest(Some(newest))) => {
                self.list_slots(newest, numbers)
            }
            // Superseded and collected in between.
            (Phase::Newest(_), Reply::Manifest(None)) => {
                CollectorStep::Send(Request::ListManifests(0))
            }
            (Phase::Slots(newest, manifests), Reply::SlotList(slots)) => {
                let slots: Vec<_> = slots.into_iter().map(|slot| slot.seq).collect();
                CollectorStep::Delete(plan_collection(&self.rules, &newest, &slots, &manifests))
            }
            _ => CollectorStep::Nothing,
        }
    }

    fn listed(&mut self, numbers: Vec<u64>) -> CollectorStep {
        match (self.remembered.take(), numbers.iter().max().copied()) {
            (Some(remembered), _) => self.list_slots(remembered, numbers),
            (None, Some(newest)) => {
                self.phase = Phase::Newest(numbers);
                CollectorStep::Send(Request::GetManifest(newest))
            }
            (None, None) => CollectorStep::Nothing,
        }
    }

    fn list_slots(&mut self, newest: Manifest, manifests: Vec<u64>) -> CollectorStep {
        self.phase = Phase::Slots(newest, manifests);
        CollectorStep::Send(Request::ListSlots(0))
    }
}
