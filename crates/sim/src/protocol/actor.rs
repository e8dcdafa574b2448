//! One process: the production machine, and what an owner of a log keeps beside it.

use bytes::Bytes;
use vb_commit::machine::{Machine, Outcome, Reply, Request, Step};
use vb_commit::rules::{FoldStanding, Rules, judge_fold};
use vb_commit::{Event, Fold, Manifest, Slot, WriterId};

use super::oracle::{Oracle, ids};
use super::scenario::Scenario;
use super::world::{Left, Objects, Violation};

/// Batch ids: eight for each process.
static IDS: [u8; 32] = {
    let mut ids = [0; 32];
    let mut id = 0;
    while id < ids.len() {
        ids[id] = id as u8;
        id += 1;
    }
    ids
};

/// What an idle process may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Wish {
    /// Create the log, or its next life.
    Create,
    /// Open the log.
    Open,
    /// Commit the next batch.
    Commit,
    /// Write all that is not folded into a segment, to be folded later.
    Flush,
    /// Commit the flush.
    Fold,
    /// Read strongly.
    Read,
    /// Close the log.
    Close,
}

/// A flush that waits to be folded.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Flush {
    from: u64,
    floor: u64,
    batches: Vec<u8>,
}

/// One process.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Actor {
    index: u8,
    rules: Rules,
    /// Which series of numbers it takes from.
    series: u8,
    machine: Machine,
    /// What it has applied; the first `folded` of it are in the manifest's body.
    content: Vec<u8>,
    folded: usize,
    committed: u8,
    batches: u8,
    flush: Option<Flush>,
    doing: Option<Wish>,
    request: Option<Request>,
    /// Slots read so far for the outstanding request.
    read: Vec<Option<Slot>>,
    /// What was acknowledged when its strong read began.
    owed: u64,
    ended: bool,
}

impl Actor {
    pub(super) fn all(scenario: &Scenario) -> Vec<Self> {
        let actor = |(index, batches): (usize, &u8)| {
            let series = if scenario.one_identity { 0 } else { index };
            Self {
                index: index as u8,
                rules: scenario.rules,
                series: series as u8,
                machine: Machine::new(scenario.rules, WriterId(series as u128 + 1), false),
                content: Vec::new(),
                folded: 0,
                committed: 0,
                batches: *batches,
                flush: None,
                doing: None,
                request: None,
                read: Vec::new(),
                owed: 0,
                ended: false,
            }
        };
        scenario.batches.iter().enumerate().map(actor).collect()
    }

    pub(super) fn request(&self) -> Option<&Request> {
        self.request.as_ref()
    }

    pub(super) fn is_busy(&self) -> bool {
        self.request.is_some()
    }

    /// Whether it could begin a strong read now.
    pub(super) fn may_read(&self) -> bool {
        !self.ended && self.request.is_none()
    }

    pub(super) fn slots_read(&self) -> usize {
        self.read.len()
    }

    /// Whether it may yet send a create of a manifest.
    pub(super) fn may_write_manifest(&self) -> bool {
        self.flush.is_some() || matches!(self.doing, Some(Wish::Close | Wish::Create))
    }

    /// Whether it has done nothing but open the log.
    pub(super) fn is_untouched(&self) -> bool {
        self.committed == 0 && self.content.is_empty() && self.request.is_none()
    }

    pub(super) fn remembered(&self) -> Option<Manifest> {
        self.machine.view().map(|view| view.manifest.clone())
    }

    /// What it may begin now.
    pub(super) fn wishes(&self, left: &Left) -> impl Iterator<Item = Wish> + use<> {
        let (live, unfolded) = (!self.ended, self.content.len() > self.folded);
        let can = |possible: bool, wish: Wish| possible.then_some(wish);
        let flush = live && left.flushes > 0 && self.flush.is_none() && unfolded;
        let known = self.machine.view().is_some();
        [
            can(live && self.committed < self.batches, Wish::Commit),
            can(flush && known, Wish::Flush),
            can(live && self.flush.is_some(), Wish::Fold),
            can(live && left.reads > 0, Wish::Read),
            can(live && left.closes > 0, Wish::Close),
            can(self.ended && left.lives > 0, Wish::Create),
        ]
        .into_iter()
        .flatten()
    }

    pub(super) fn begin(
        &mut self,
        wish: Wish,
        left: &mut Left,
        acked: u64,
        oracle: &mut Oracle,
    ) -> Result<(), Violation> {
        self.doing = Some(wish);
        let step = match wish {
            Wish::Create => {
                left.lives = left.lives.saturating_sub(1);
                self.ended = false;
                (self.content, self.folded) = (Vec::new(), 0);
                let stamp = self.number(left);
                self.machine.create(Bytes::new(), stamp, (u64::from(self.index) << 8) + stamp)
            }
            Wish::Open => self.machine.open(),
            Wish::Commit => {
                let payload =
                    Bytes::from_static(std::slice::from_ref(&IDS[usize::from(self.id())]));
                let number = self.number(left);
                self.machine.commit(vec![(number, payload)])
            }
            Wish::Flush => {
                left.flushes -= 1;
                self.begin_flush();
                return Ok(());
            }
            Wish::Fold => {
                let stamp = self.number(left);
                match self.fold() {
                    Some(fold) => self.machine.fold(fold, stamp),
                    None => return Ok(()),
                }
            }
            Wish::Read => {
                left.reads -= 1;
                self.owed = acked;
                self.machine.catch_up()
            }
            Wish::Close => {
                left.closes -= 1;
                let number = self.number(left);
                self.machine.close(number)
            }
        };
        self.go(step, oracle)
    }

    fn id(&self) -> u8 {
        self.index * 8 + self.committed
    }

    fn number(&self, left: &mut Left) -> u64 {
        let next = &mut left.numbers[usize::from(self.series)];
        *next += 1;
        *next - 1
    }

    fn begin_flush(&mut self) {
        let view = self.machine.view().expect("only an open log is flushed");
        let batches = self.content[self.folded..].to_vec();
        self.flush = Some(Flush { from: view.manifest.floor, floor: view.tip() + 1, batches });
        self.doing = None;
    }

    /// The fold of the flush on the manifest as it is known; `None`: the flush was discarded.
    fn fold(&mut self) -> Option<Fold> {
        let flush = self.flush.as_ref()?;
        let (base, body) = match self.machine.view() {
            Some(view) => (view.manifest.number, view.manifest.body.clone()),
            None => (u64::MAX, Bytes::new()),
        };
        let body = [&body[..], &flush.batches].concat().into();
        Some(Fold { base, from: flush.from, floor: flush.floor, body })
    }

    /// Executes the next read of the outstanding request; all slots once they are complete.
    pub(super) fn read_on(&mut self, objects: &Objects) -> Option<Vec<Option<Slot>>> {
        let Some(Request::GetSlots(from, to)) = self.request else {
            unreachable!("slots are being read")
        };
        let next = from + self.read.len() as u64;
        self.read.push(objects.slot(next));
        (next == to).then(|| std::mem::take(&mut self.read))
    }

    pub(super) fn reply(&mut self, reply: Reply, oracle: &mut Oracle) -> Result<(), Violation> {
        self.read.clear();
        let step = self.machine.reply(reply);
        self.go(step, oracle)
    }

    fn go(&mut self, step: Step, oracle: &mut Oracle) -> Result<(), Violation> {
        match step {
            Step::Send(request) => {
                self.request = Some(request);
                Ok(())
            }
            Step::Done(outcome) => {
                self.request = None;
                let doing = self.doing.take().expect("something was begun");
                self.ends(doing, &outcome, oracle)
            }
        }
    }

    fn ends(&mut self, did: Wish, outcome: &Outcome, oracle: &mut Oracle) -> Result<(), Violation> {
        let owed = std::mem::take(&mut self.owed);
        match outcome {
            Outcome::Closed => {
                self.ended = true;
                self.flush = None;
                self.committed = self.batches;
                return oracle.ended();
            }
            Outcome::Corrupt => return Err(Violation("the log looks corrupt".into())),
            _ => self.apply(),
        }
        match (did, outcome) {
            (Wish::Commit, Outcome::Committed(_)) => {
                oracle.acknowledge(self.id())?;
                self.holds_own()?;
                self.committed += 1;
            }
            (Wish::Commit, Outcome::Failed) => {
                oracle.deny(self.id())?;
                self.committed += 1;
            }
            (Wish::Commit, _) => self.committed += 1,
            (Wish::Read, Outcome::Current) => oracle.read(&self.content, owed)?,
            (Wish::Fold, Outcome::Superseded) => self.judge_flush(),
            (Wish::Fold, Outcome::Folded) => {
                self.flush = None;
                oracle.folded(&self.machine.view().expect("a fold has a view").manifest)?;
            }
            (Wish::Fold, _) => self.flush = None,
            _ => {}
        }
        match self.machine.view() {
            Some(view) => oracle.compare(&self.content, view.manifest.incarnation),
            None => Ok(()),
        }
    }

    /// After a fold that came second: the flush stays good only on the floor it began at.
    fn judge_flush(&mut self) {
        let manifest = &self.machine.view().expect("a superseded fold has a view").manifest;
        let from = self.flush.as_ref().map_or(0, |flush| flush.from);
        if judge_fold(&self.rules, manifest, u64::MAX, from) == FoldStanding::Discard {
            self.flush = None;
        }
    }

    fn apply(&mut self) {
        for event in self.machine.take_events() {
            match event {
                Event::Slot(slot) => self.content.extend(ids(&slot)),
                Event::Reopened { manifest, slots } => {
                    self.content = manifest.body.to_vec();
                    self.content.extend(slots.iter().flat_map(ids));
                }
            }
        }
        if let Some(view) = self.machine.view() {
            self.folded = view.manifest.body.len();
        }
    }

    fn holds_own(&self) -> Result<(), Violation> {
        match self.content.contains(&self.id()) {
            true => Ok(()),
            false => Err(Violation(format!("batch {} is acknowledged unapplied", self.id()))),
        }
    }
}
