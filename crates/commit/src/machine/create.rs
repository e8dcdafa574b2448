//! Creating a log: its first manifest, or the first of a new life behind a closed one.
//!
//! The manifest takes the way of a fold's (`fold`); where a fold is superseded, a create finds the
//! place taken.

use super::{Machine, Outcome, Phase, Request, Step, Task, newest};
use crate::manifest::Manifest;
use crate::rules::first_manifest;

impl Machine {
    pub(super) fn list_lives(&mut self) -> Step {
        self.send(Phase::CreateNewest, Request::ListManifests(0))
    }

    pub(super) fn lives_listed(&mut self, numbers: &[u64]) -> Step {
        match newest(numbers) {
            Some(newest) => self.send(Phase::CreateOn(newest), Request::GetManifest(newest)),
            None => self.create_first(None),
        }
    }

    pub(super) fn life_read(&mut self, number: u64, found: Option<Manifest>) -> Step {
        match found {
            Some(last) if last.closed => self.create_first(Some(&last)),
            Some(_) => self.fail(Outcome::Taken),
            None => self.send_manifests(Phase::CreateNewest, number),
        }
    }

    fn create_first(&mut self, last: Option<&Manifest>) -> Step {
        let Task::Create { body, stamp, incarnation } = &self.task else {
            unreachable!("a create is under way")
        };
        let manifest = first_manifest(last, (self.writer, *stamp), *incarnation, body.clone());
        self.send_fold(1, manifest)
    }
}
