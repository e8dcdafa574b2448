//! The collector: a process of its own, which knows only what it lists.

use vb_commit::machine::Request;
use vb_commit::rules::Rules;
use vb_commit::{Collector, CollectorStep, Manifest};

use super::world::Objects;

/// How far a collection is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) enum Collection {
    #[default]
    Idle,
    Asking(Box<(Collector, Request)>),
    Deleting(Vec<Doomed>),
}

/// One object to be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Doomed {
    Slot(u64),
    Manifest(u64),
}

impl Collection {
    pub(super) fn is_idle(&self) -> bool {
        matches!(self, Self::Idle)
    }

    /// How many different steps it can take now.
    pub(super) fn choices(&self, any_order: bool, may_begin: bool) -> usize {
        match self {
            Self::Idle => usize::from(may_begin),
            Self::Deleting(doomed) if any_order => doomed.len(),
            Self::Asking(_) | Self::Deleting(_) => 1,
        }
    }

    pub(super) fn begin(&mut self, rules: Rules, remembered: Option<Manifest>) {
        let (collector, request) = Collector::begin(rules, remembered);
        *self = Self::Asking(Box::new((collector, request)));
    }

    pub(super) fn step(&mut self, objects: &mut Objects, index: usize) {
        match self {
            Self::Idle => unreachable!("a collection is under way"),
            Self::Asking(asking) => {
                let (collector, request) = asking.as_mut();
                match collector.reply(objects.read(request)) {
                    CollectorStep::Send(next) => *request = next,
                    CollectorStep::Nothing => *self = Self::Idle,
                    CollectorStep::Delete(plan) => {
                        let slots = plan.slots.into_iter().map(Doomed::Slot);
                        let manifests = plan.manifests.into_iter().map(Doomed::Manifest);
                        *self = Self::deleting(slots.chain(manifests).collect());
                    }
                }
            }
            Self::Deleting(doomed) => {
                match doomed.remove(index) {
                    Doomed::Slot(seq) => drop(objects.slots.remove(&seq)),
                    Doomed::Manifest(number) => drop(objects.manifests.remove(&number)),
                }
                *self = Self::deleting(std::mem::take(doomed));
            }
        }
    }

    fn deleting(doomed: Vec<Doomed>) -> Self {
        match doomed.is_empty() {
            true => Self::Idle,
            false => Self::Deleting(doomed),
        }
    }
}
