//! One process: the production machine, and what an owner of a log keeps beside it.

use bytes::Bytes;
use vb_commit::machine::{ListedSlot, Machine, Outcome, Reply, Request, Step, Told};
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
    /// Open the log, as after a restart.
    Open,
    /// Commit the next batch.
    Commit,
    /// Write all that is not folded into a segment, to be folded later.
    Flush,
    /// Commit the flush.
    Fold,
    /// Read strongly, through the log.
    Read,
    /// Read strongly, with a proof beside whatever the log does.
    Prove,
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

/// Which of a process's outstanding requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Place {
    /// The n-th of its task.
    Task(usize),
    /// The check of created slots.
    Check,
    /// The list of a proof.
    Proof,
}

/// An outstanding request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Asked {
    pub(super) request: Request,
    /// Slots read so far.
    read: Vec<Option<Slot>>,
    reply: Option<Reply>,
}

impl Asked {
    fn new(request: Request) -> Self {
        Self { request, read: Vec::new(), reply: None }
    }

    /// The slot that is read next.
    pub(super) fn next_slot(&self) -> u64 {
        match self.request {
            Request::GetSlots(from, _) => from + self.read.len() as u64,
            _ => unreachable!("slots are being read"),
        }
    }
}

/// A strong read by proof.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Proof {
    list: Option<Asked>,
    /// What must be seen.
    owed: u64,
    /// The slot up to which it waits for the log to be applied.
    upto: u64,
}

/// One process.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Actor {
    index: u8,
    rules: Rules,
    pipelined: bool,
    hasty_proofs: bool,
    /// Which series of numbers it takes from.
    series: u8,
    machine: Machine,
    /// What it has applied; the first `folded` of it are in the manifest's body.
    content: Vec<u8>,
    folded: usize,
    /// The slot up to which it has applied the log.
    tip: u64,
    begun: u8,
    batches: u8,
    flush: Option<Flush>,
    /// Its task, unless that is a commit.
    doing: Option<Wish>,
    /// Batches on their way, in order.
    started: Vec<u8>,
    asked: Vec<Asked>,
    check: Option<Asked>,
    proof: Option<Proof>,
    /// What must be seen by the strong read that is its task.
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
                pipelined: scenario.pipelined,
                hasty_proofs: scenario.hasty_proofs,
                series: series as u8,
                machine: Machine::new(scenario.rules, WriterId(series as u128 + 1), false),
                content: Vec::new(),
                folded: 0,
                tip: 0,
                begun: 0,
                batches: *batches,
                flush: None,
                doing: None,
                started: Vec::new(),
                asked: Vec::new(),
                check: None,
                proof: None,
                owed: 0,
                ended: false,
            }
        };
        scenario.batches.iter().enumerate().map(actor).collect()
    }

    /// The requests that can be executed now.
    pub(super) fn outstanding(&self) -> impl Iterator<Item = (Place, &Asked)> {
        let task = self.asked.iter().enumerate().filter(|(_, asked)| asked.reply.is_none());
        let task = task.map(|(index, asked)| (Place::Task(index), asked));
        let check = self.check.iter().filter(|asked| asked.reply.is_none());
        let check = check.map(|asked| (Place::Check, asked));
        let proof = self.proof.iter().filter_map(|proof| proof.list.as_ref());
        task.chain(check).chain(proof.map(|asked| (Place::Proof, asked)))
    }

    /// The replies that are on their way back. (Where only one request is under way a reply is
    /// delivered at once: see the module's opening.)
    pub(super) fn deliverable(&self) -> impl Iterator<Item = Place> + use<> {
        let all = !self.asked.is_empty() && self.asked.iter().all(|asked| asked.reply.is_some());
        let check = self.check.as_ref().is_some_and(|asked| asked.reply.is_some());
        [all.then_some(Place::Task(0)), check.then_some(Place::Check)].into_iter().flatten()
    }

    pub(super) fn asked(&self, place: Place) -> &Asked {
        let found = self.outstanding().find(|(at, _)| *at == place);
        found.expect("the request is outstanding").1
    }

    fn asked_mut(&mut self, place: Place) -> &mut Asked {
        let asked = match place {
            Place::Task(index) => self.asked.get_mut(index),
            Place::Check => self.check.as_mut(),
            Place::Proof => self.proof.as_mut().and_then(|proof| proof.list.as_mut()),
        };
        asked.expect("the request is outstanding")
    }

    /// Whether it has nothing under way.
    pub(super) fn is_idle(&self) -> bool {
        self.asked.is_empty() && self.machine.is_idle()
    }

    /// Whether it could begin a strong read through the log now.
    pub(super) fn may_read(&self) -> bool {
        !self.ended && self.is_idle()
    }

    /// Whether it could begin a strong read by proof now.
    pub(super) fn may_prove(&self) -> bool {
        !self.ended && self.machine.is_checked()
    }

    /// Whether it may yet send a create of a manifest.
    pub(super) fn may_write_manifest(&self) -> bool {
        self.flush.is_some() || matches!(self.doing, Some(Wish::Close | Wish::Create))
    }

    /// Whether it has done nothing but open the log.
    pub(super) fn is_untouched(&self) -> bool {
        self.begun == 0 && self.content.is_empty() && self.is_idle() && self.proof.is_none()
    }

    pub(super) fn remembered(&self) -> Option<Manifest> {
        self.machine.view().map(|view| view.manifest.clone())
    }

    /// What it may begin now.
    pub(super) fn wishes(&self, left: &Left) -> impl Iterator<Item = Wish> + use<> {
        let (live, unfolded) = (!self.ended, self.content.len() > self.folded);
        let can = |possible: bool, wish: Wish| possible.then_some(wish);
        let (idle, live_idle) = (self.is_idle(), live && self.is_idle());
        let flush = live_idle && left.flushes > 0 && self.flush.is_none() && unfolded;
        let known = self.machine.view().is_some();
        let commit = match self.pipelined {
            true => self.asked.is_empty() && self.machine.may_commit(),
            false => idle,
        };
        let proof = self.may_prove() && self.proof.is_none();
        [
            can(live && commit && self.begun < self.batches, Wish::Commit),
            can(flush && known, Wish::Flush),
            can(live_idle && self.flush.is_some(), Wish::Fold),
            can(live_idle && left.reads > 0, Wish::Read),
            can(proof && left.proofs > 0, Wish::Prove),
            can(live_idle && left.closes > 0, Wish::Close),
            can(live_idle && left.opens > 0, Wish::Open),
            can(self.ended && idle && left.lives > 0, Wish::Create),
        ]
        .into_iter()
        .flatten()
    }

    pub(super) fn begin(
        &mut self,
        wish: Wish,
        left: &mut Left,
        owed: u64,
        oracle: &mut Oracle,
    ) -> Result<(), Violation> {
        let step = match wish {
            Wish::Commit => {
                let payload =
                    Bytes::from_static(std::slice::from_ref(&IDS[usize::from(self.id())]));
                self.started.push(self.id());
                self.begun += 1;
                let number = self.number(left);
                self.machine.commit(vec![(number, payload)])
            }
            Wish::Flush => {
                left.flushes -= 1;
                self.begin_flush();
                return Ok(());
            }
            Wish::Prove => {
                left.proofs -= 1;
                self.begin_proof(owed);
                return Ok(());
            }
            task => {
                self.doing = Some(task);
                self.begin_task(task, left, owed)
            }
        };
        self.go(step, oracle)
    }

    fn begin_task(&mut self, task: Wish, left: &mut Left, owed: u64) -> Step {
        match task {
            Wish::Create => {
                left.lives -= 1;
                self.ended = false;
                (self.content, self.folded, self.tip) = (Vec::new(), 0, 0);
                let stamp = self.number(left);
                self.machine.create(Bytes::new(), stamp, (u64::from(self.index) << 8) + stamp)
            }
            Wish::Open => {
                left.opens -= 1;
                (self.flush, self.proof) = (None, None);
                self.machine.open()
            }
            Wish::Fold => {
                let stamp = self.number(left);
                let fold = self.fold();
                self.machine.fold(fold, stamp)
            }
            Wish::Read => {
                left.reads -= 1;
                self.owed = owed;
                self.machine.catch_up()
            }
            Wish::Close => {
                left.closes -= 1;
                let number = self.number(left);
                self.machine.close(number)
            }
            Wish::Commit | Wish::Flush | Wish::Prove => unreachable!("no task of this kind"),
        }
    }

    pub(super) fn begin_proof(&mut self, owed: u64) {
        let list = Some(Asked::new(Request::ListSlots(self.tip)));
        self.proof = Some(Proof { list, owed, upto: 0 });
    }

    fn id(&self) -> u8 {
        self.index * 8 + self.begun
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
    }

    /// The fold of the flush on the manifest as it is known.
    fn fold(&self) -> Fold {
        let flush = self.flush.as_ref().expect("a flush waits");
        let (base, body) = match self.machine.view() {
            Some(view) => (view.manifest.number, view.manifest.body.clone()),
            None => (u64::MAX, Bytes::new()),
        };
        let body = [&body[..], &flush.batches].concat().into();
        Fold { base, from: flush.from, floor: flush.floor, body }
    }

    /// Executes the next read of an outstanding request; all slots once they are complete.
    pub(super) fn read_on(&mut self, place: Place, objects: &Objects) -> Option<Vec<Option<Slot>>> {
        let asked = self.asked_mut(place);
        let next = asked.next_slot();
        asked.read.push(objects.slot(next));
        let complete = matches!(asked.request, Request::GetSlots(_, to) if to == next);
        complete.then(|| std::mem::take(&mut asked.read))
    }

    pub(super) fn reply(
        &mut self,
        place: Place,
        reply: Reply,
        oracle: &mut Oracle,
    ) -> Result<(), Violation> {
        if place == Place::Proof {
            return self.proved(&reply, oracle);
        }
        let asked = self.asked_mut(place);
        asked.read.clear();
        asked.reply = Some(reply);
        match self.delivers_later(place) {
            true => Ok(()),
            false => self.deliver(place, oracle),
        }
    }

    /// Whether something else may happen to the process between the execution and the reply.
    fn delivers_later(&self, place: Place) -> bool {
        let groups = self.pipelined && (self.begun < self.batches || !self.asked.is_empty());
        match place {
            Place::Task(_) => {
                self.asked.iter().any(|asked| asked.reply.is_none())
                    || (self.check.is_some() && self.pipelined)
            }
            Place::Check => groups,
            Place::Proof => false,
        }
    }

    /// Hands in the replies of the check, or of all requests of the task.
    pub(super) fn deliver(&mut self, place: Place, oracle: &mut Oracle) -> Result<(), Violation> {
        let step = match place {
            Place::Check => {
                let check = self.check.take().and_then(|asked| asked.reply);
                self.machine.check_replied(&check.expect("the check was executed"))
            }
            _ => {
                let asked = std::mem::take(&mut self.asked).into_iter();
                self.machine.reply(asked.filter_map(|asked| asked.reply).collect())
            }
        };
        self.go(step, oracle)
    }

    fn go(&mut self, step: Step, oracle: &mut Oracle) -> Result<(), Violation> {
        if let Step::Send(requests) = &step {
            self.asked = requests.iter().cloned().map(Asked::new).collect();
        }
        if let Some(request) = self.machine.take_check() {
            self.check = Some(Asked::new(request));
        }
        for told in self.machine.take_told() {
            self.told(told, oracle)?;
        }
        match step {
            Step::Done(outcome) => {
                let doing = self.doing.take().expect("a task was begun");
                self.ends(doing, &outcome, oracle)?;
            }
            Step::Send(_) | Step::Rest => {}
        }
        self.complete_proof(oracle)
    }

    /// A batch's outcome is known.
    fn told(&mut self, told: Told, oracle: &mut Oracle) -> Result<(), Violation> {
        let id = self.started.remove(0);
        match told.outcome {
            Outcome::Committed(_) => {
                self.apply(told.events);
                oracle.acknowledge(id)?;
                self.holds(id)?;
                self.compare(oracle)
            }
            Outcome::Failed => oracle.deny(id),
            Outcome::Unknown => Ok(()),
            Outcome::Closed => self.end(oracle),
            _ => Err(Violation("the log looks corrupt".into())),
        }
    }

    fn end(&mut self, oracle: &Oracle) -> Result<(), Violation> {
        self.ended = true;
        (self.flush, self.proof) = (None, None);
        self.begun = self.batches;
        oracle.ended()
    }

    fn ends(&mut self, did: Wish, outcome: &Outcome, oracle: &mut Oracle) -> Result<(), Violation> {
        let owed = std::mem::take(&mut self.owed);
        match outcome {
            Outcome::Closed => return self.end(oracle),
            Outcome::Corrupt => return Err(Violation("the log looks corrupt".into())),
            _ => {
                let events = self.machine.take_events();
                self.apply(events);
            }
        }
        match (did, outcome) {
            (Wish::Read, Outcome::Current) => oracle.read(&self.content, owed)?,
            (Wish::Fold, Outcome::Superseded) => self.judge_flush(),
            (Wish::Fold, Outcome::Folded) => {
                self.flush = None;
                oracle.folded(&self.machine.view().expect("a fold has a view").manifest)?;
            }
            (Wish::Fold, _) => self.flush = None,
            (Wish::Open, Outcome::Current) if self.machine.view().is_some_and(|v| v.ended()) => {
                return self.end(oracle);
            }
            _ => {}
        }
        self.compare(oracle)
    }

    fn compare(&self, oracle: &Oracle) -> Result<(), Violation> {
        match self.machine.view() {
            Some(view) if self.machine.is_checked() => {
                oracle.compare(&self.content, view.manifest.incarnation)
            }
            _ => Ok(()),
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

    fn apply(&mut self, events: Vec<Event>) {
        for event in events {
            match event {
                Event::Slot(slot) => {
                    self.content.extend(ids(&slot));
                    self.tip = slot.seq;
                }
                Event::Reopened { manifest, slots } => {
                    self.content = manifest.body.to_vec();
                    self.content.extend(slots.iter().flat_map(ids));
                    self.tip = slots.last().map_or(manifest.floor - 1, |slot| slot.seq);
                }
            }
        }
        if let Some(view) = self.machine.view() {
            self.folded = view.manifest.body.len();
        }
    }

    fn holds(&self, id: u8) -> Result<(), Violation> {
        match self.content.contains(&id) {
            true => Ok(()),
            false => Err(Violation(format!("batch {id} is acknowledged unapplied"))),
        }
    }

    /// The list of a proof was executed.
    fn proved(&mut self, reply: &Reply, oracle: &mut Oracle) -> Result<(), Violation> {
        let proof = self.proof.as_mut().expect("a proof is under way");
        proof.list = None;
        let highest = match reply {
            Reply::SlotList(listed) => listed.iter().map(|slot: &ListedSlot| slot.seq).max(),
            _ => None,
        };
        match highest {
            // Known bad: slots on their way are not acknowledged, so what?
            Some(_) if self.hasty_proofs && !self.started.is_empty() => proof.upto = 0,
            Some(highest) => proof.upto = highest,
            // No answer, or one that only the log itself can interpret.
            None => self.proof = None,
        }
        self.complete_proof(oracle)
    }

    /// A proof is good once all up to the listed slot is applied.
    fn complete_proof(&mut self, oracle: &mut Oracle) -> Result<(), Violation> {
        match &self.proof {
            Some(Proof { list: None, owed, upto }) if *upto <= self.tip => {
                let owed = *owed;
                self.proof = None;
                oracle.read(&self.content, owed)
            }
            _ => Ok(()),
        }
    }
}
