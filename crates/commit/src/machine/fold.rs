//! Committing a fold: the next manifest, created only on the one its body was derived from.
//!
//! ```text
//! create manifest n+1 -- created ----> list manifests -- none higher ---------> folded
//!        ^       |                                    +- higher: open --------> superseded
//!        |       +------ exists -----> read it: ours -> as created; another's -> open, superseded
//!        |       |                              | nothing there
//!        |       +------ unanswered -> list manifests: n -> again (three times, then unknown)
//!        +-----------------------------------+ n+1 -> as exists; higher -> open, superseded
//! ```

use bytes::Bytes;

use super::{CREATES_MAX, Machine, Outcome, Phase, Reply, Request, Step, Task, newest};
use crate::manifest::Manifest;
use crate::rules::{FoldStanding, View, judge_fold, next_manifest};

impl Machine {
    pub(super) fn create_fold(&mut self) -> Step {
        let view = self.view_known();
        let manifest = match &self.task {
            Task::Close { stamp } => {
                next_manifest(view, view.tip() + 1, (self.writer, *stamp), Bytes::new())
            }
            Task::Fold { .. } if view.ended() => return self.fail(Outcome::Closed),
            Task::Fold { fold, stamp } => {
                let standing = judge_fold(&self.rules, &view.manifest, fold.base, fold.from);
                if standing != FoldStanding::Stands && !self.is_unchecked_flush() {
                    return self.done(Outcome::Superseded);
                }
                next_manifest(view, fold.floor, (self.writer, *stamp), fold.body.clone())
            }
            _ => unreachable!("only a fold or a close creates manifests"),
        };
        self.send_fold(1, manifest)
    }

    /// Known bad: a flush that does not look whether the floor is still the one it started from.
    pub(super) fn is_unchecked_flush(&self) -> bool {
        let flushes = matches!(&self.task, Task::Fold { fold, .. } if fold.floor > fold.from);
        flushes && !self.rules.check_floor
    }

    pub(super) fn send_fold(&mut self, tries: u8, manifest: Manifest) -> Step {
        let request = Request::CreateManifest(manifest.clone());
        self.send(Phase::FoldCreate(tries, manifest), request)
    }

    pub(super) fn fold_created(&mut self, tries: u8, manifest: Manifest, reply: &Reply) -> Step {
        match reply {
            Reply::Created => self.check_fold(manifest),
            Reply::Exists => self.read_fold(tries, manifest),
            Reply::Refused if tries == 1 => self.done(Outcome::Failed),
            Reply::Refused | Reply::Unanswered => self.look_back_at_fold(tries, manifest),
            _ => unreachable!("a create is not answered so"),
        }
    }

    /// Our manifest exists: it counts if none is higher.
    fn check_fold(&mut self, manifest: Manifest) -> Step {
        if self.sole_writer || !self.rules.check_manifests {
            return self.folded(manifest);
        }
        let number = manifest.number;
        self.send_manifests(Phase::FoldCheck(manifest), number)
    }

    pub(super) fn fold_checked(&mut self, manifest: Manifest, numbers: &[u64]) -> Step {
        match newest(numbers) {
            None => self.fail(Outcome::Closed),
            Some(newest) if newest > manifest.number => self.fold_lost(),
            Some(_) => self.folded(manifest),
        }
    }

    fn look_back_at_fold(&mut self, tries: u8, manifest: Manifest) -> Step {
        let base = manifest.number.saturating_sub(1);
        self.send_manifests(Phase::FoldBack(tries, manifest), base)
    }

    fn read_fold(&mut self, tries: u8, manifest: Manifest) -> Step {
        let number = manifest.number;
        self.send(Phase::FoldRead(tries, manifest), Request::GetManifest(number))
    }

    pub(super) fn fold_read(
        &mut self,
        tries: u8,
        manifest: Manifest,
        found: Option<Manifest>,
    ) -> Step {
        // Superseded and collected, or said to exist because of a conflict with a failed create.
        let Some(found) = found else { return self.look_back_at_fold(tries, manifest) };
        let author = |manifest: &Manifest| (manifest.writer, manifest.stamp);
        let ours = author(&found) == author(&manifest);
        match self.rules.read_back && ours {
            true => self.check_fold(manifest),
            false => self.fold_lost(),
        }
    }

    pub(super) fn fold_back(&mut self, tries: u8, manifest: Manifest, numbers: &[u64]) -> Step {
        match newest(numbers) {
            None if manifest.number > 0 => self.fail(Outcome::Closed),
            Some(newest) if newest > manifest.number => self.fold_lost(),
            Some(newest) if newest == manifest.number => self.read_fold(tries, manifest),
            _ if tries < CREATES_MAX => self.send_fold(tries + 1, manifest),
            _ => self.fail(Outcome::Unknown),
        }
    }

    /// Another manifest came first.
    fn fold_lost(&mut self) -> Step {
        match self.task {
            Task::Create { .. } => self.fail(Outcome::Taken),
            _ => self.reopen(),
        }
    }

    fn folded(&mut self, manifest: Manifest) -> Step {
        let old = self.view.take().map_or_else(Vec::new, |view| view.tail);
        let tail = old.into_iter().filter(|mark| mark.seq >= manifest.floor).collect();
        self.life = Some(manifest.incarnation);
        self.view = Some(View { manifest, tail });
        // Had there been a newer manifest than the one before, ours would not count.
        self.checked = true;
        match self.task {
            Task::Close { .. } => self.proceed(),
            _ => self.done(Outcome::Folded),
        }
    }
}
