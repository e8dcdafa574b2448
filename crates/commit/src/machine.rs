//! The protocol as a machine without I/O: what is known, what was answered -> what to ask next.
//!
//! [`Machine`] holds one process's view of one log. A task is begun with `open`, `commit`,
//! `catch_up`, `fold` or `close`; each returns a [`Step`]: a request to execute, whose [`Reply`] is
//! handed to [`Machine::reply`], or the task's outcome. At most one request is outstanding. The
//! asynchronous runner and the model checker drive the same machine, so what is checked is what
//! runs.
//!
//! Invariants:
//! - No slot is numbered before its predecessor is known (the view has no gaps).
//! - A view is published only if no higher manifest existed after its slots were read.
//! - A task that is abandoned midway leaves no view: the next one opens anew.
//!
//! Reading the log anew (`open`), learning the slots behind the tip (`tail`), committing a group
//! (`commit`), folding (`fold`) and creating a log (`create`) are a file each; the requests they wait for are [`Phase`]s.

mod commit;
mod create;
mod fold;
mod open;
mod tail;

use bytes::Bytes;

use crate::log::{Event, Fold};
use crate::manifest::Manifest;
use crate::rules::{Rules, SlotMark, View};
use crate::slot::{Slot, WriterId};

/// How often an unanswered create is sent again before its outcome is reported as unknown.
const CREATES_MAX: u8 = 3;

/// One request to the store.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Request {
    /// Numbers of all manifests from this one on.
    ListManifests(u64),
    /// Known bad, see [`Rules::newest_by_list`]: this number, and the next if a read finds it.
    ProbeManifests(u64),
    /// One manifest.
    GetManifest(u64),
    /// Numbers of all slots from this one on.
    ListSlots(u64),
    /// The slots of these numbers, both included.
    GetSlots(u64, u64),
    /// Create a slot if its number is free.
    CreateSlot(Slot),
    /// Create a manifest if its number is free.
    CreateManifest(Manifest),
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Reply {
    /// To a list; in any order.
    Numbers(Vec<u64>),
    /// To a read of a manifest.
    Manifest(Option<Manifest>),
    /// To a read of slots, one entry per number.
    Slots(Vec<Option<Slot>>),
    /// To a create: it was executed.
    Created,
    /// To a create: the number is taken, perhaps by an earlier copy of this very request.
    Exists,
    /// No answer, or one that leaves open whether the request was or will be executed.
    Unanswered,
    /// The request was certainly not executed and never will be.
    Refused,
}

/// What a task comes to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The view is as current as the task promises.
    Current,
    /// The group is committed in this slot (also if it was folded since).
    Committed(u64),
    /// The fold (or the created log's first manifest) is the newest manifest.
    Folded,
    /// A log lives there already.
    Taken,
    /// The fold does not count; the view is that of the manifest that came first.
    Superseded,
    /// The log has ended or does not exist.
    Closed,
    /// Whether the group or fold was written is not known.
    Unknown,
    /// Nothing was written.
    Failed,
    /// The store's objects contradict each other.
    Corrupt,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Step {
    /// Execute the request and hand in its reply.
    Send(Request),
    /// The task has ended.
    Done(Outcome),
}

/// What the machine is to bring about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Task {
    Idle,
    Open,
    Create { body: Bytes, stamp: u64, incarnation: u64 },
    CatchUp,
    Commit(Attempt),
    Fold { fold: Fold, stamp: u64 },
    Close { attempt: Attempt, stamp: u64 },
}

/// A group on its way into the log.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Attempt {
    /// As it is to be created; `seq` changes when the attempt moves behind a new tip.
    slot: Slot,
    /// A create was sent, so the slot may exist.
    sent: bool,
    /// It is known to be committed; only the view is to be brought up to it.
    committed: bool,
}

/// What the outstanding request is for. Creates carry how often they were sent.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Phase {
    Rest,
    CreateNewest,
    CreateOn(u64),
    OpenNewest,
    OpenManifest(u64),
    OpenList(Manifest),
    OpenRead(Manifest),
    OpenGap(u64),
    OpenCheck(Manifest, Vec<Slot>),
    TailList,
    TailRead,
    TailCheck(Vec<Slot>),
    SlotCreate(u8),
    SlotCheck,
    SlotNewest,
    BackNewest(u8),
    BackManifest(u8),
    BackRead(u8, Option<u64>),
    FoldCreate(u8, Manifest),
    FoldCheck(Manifest),
    FoldRead(Manifest),
    FoldBack(u8, Manifest),
}

/// One process's side of the protocol on one log.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Machine {
    rules: Rules,
    writer: WriterId,
    sole_writer: bool,
    view: Option<View>,
    /// The incarnation of the log that was opened or created: all tasks are for this one.
    life: Option<u64>,
    events: Vec<Event>,
    task: Task,
    phase: Phase,
}

impl Machine {
    /// A machine that knows nothing yet. `sole_writer`: no other process can write to the store,
    /// so neither the checks after a create nor the proof of the tip are needed.
    pub fn new(rules: Rules, writer: WriterId, sole_writer: bool) -> Self {
        let (task, phase) = (Task::Idle, Phase::Rest);
        Self { rules, writer, sole_writer, view: None, life: None, events: Vec::new(), task, phase }
    }

    /// The view; `None` if the next task must open the log (anew) first.
    pub fn view(&self) -> Option<&View> {
        // A task that was abandoned midway may have been about to find the view out of date.
        self.view.as_ref().filter(|_| self.task == Task::Idle)
    }

    /// What happened since the last call and must be applied, in order.
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// Creates the log, or a new life of it behind a closed manifest. `stamp` is a fresh batch
    /// number, `incarnation` random.
    pub fn create(&mut self, body: Bytes, stamp: u64, incarnation: u64) -> Step {
        self.begin(Task::Create { body, stamp, incarnation })
    }

    /// Reads the log: newest manifest and all slots behind its floor.
    pub fn open(&mut self) -> Step {
        self.begin(Task::Open)
    }

    /// Proves the tip or learns what is behind it. Asks nothing of a store with a sole writer.
    pub fn catch_up(&mut self) -> Step {
        self.begin(Task::CatchUp)
    }

    /// Commits a group of numbered batches as one slot.
    pub fn commit(&mut self, batches: Vec<(u64, Bytes)>) -> Step {
        let attempt = self.new_attempt(batches, false);
        self.begin(Task::Commit(attempt))
    }

    /// Commits a fold. `stamp` is a fresh batch number.
    pub fn fold(&mut self, fold: Fold, stamp: u64) -> Step {
        self.begin(Task::Fold { fold, stamp })
    }

    /// Ends the log: a closing slot, then a closed manifest without body. `number` is a fresh batch
    /// number.
    pub fn close(&mut self, number: u64) -> Step {
        let attempt = self.new_attempt(vec![(number, Bytes::new())], true);
        self.begin(Task::Close { attempt, stamp: number })
    }

    /// Forgets the view and any task under way, as after a failure: the next task opens anew.
    pub fn forget(&mut self) {
        self.view = None;
        self.events.clear();
        self.task = Task::Idle;
        self.phase = Phase::Rest;
    }

    /// Takes the reply to the outstanding request.
    ///
    /// # Panics
    ///
    /// If no request is outstanding or the reply is not one to the request.
    pub fn reply(&mut self, reply: Reply) -> Step {
        match (std::mem::replace(&mut self.phase, Phase::Rest), reply) {
            (Phase::SlotCreate(tries), reply) => self.slot_created(tries, &reply),
            (Phase::FoldCreate(tries, manifest), reply) => {
                self.fold_created(tries, manifest, &reply)
            }
            (phase, Reply::Unanswered | Reply::Refused) => self.unreadable(&phase),
            (phase, Reply::Numbers(numbers)) => self.listed(phase, &numbers),
            (phase, Reply::Manifest(found)) => self.manifest_read(phase, found),
            (phase, Reply::Slots(slots)) => self.slots_read(phase, slots),
            (_, Reply::Created | Reply::Exists) => unreachable!("only a create is answered so"),
        }
    }

    fn new_attempt(&self, batches: Vec<(u64, Bytes)>, closes: bool) -> Attempt {
        let slot = Slot { seq: 0, writer: self.writer, incarnation: 0, batches, closes };
        Attempt { slot, sent: false, committed: false }
    }

    fn begin(&mut self, task: Task) -> Step {
        if self.task != Task::Idle || self.phase != Phase::Rest {
            self.forget();
        }
        let anew = matches!(task, Task::Open | Task::Create { .. });
        if anew {
            self.forget();
            self.life = None;
        }
        self.task = task;
        match (&self.task, &self.view) {
            (Task::Create { .. }, _) => self.list_lives(),
            (_, Some(_)) => self.proceed(),
            (_, None) => self.reopen(),
        }
    }

    /// Goes on with the task on a view that is current or at least coherent.
    fn proceed(&mut self) -> Step {
        match &self.task {
            Task::Idle | Task::Create { .. } => unreachable!("a task on a view is under way"),
            Task::Open => self.done(Outcome::Current),
            Task::CatchUp => self.prove_tip(),
            Task::Commit(_) => self.create_slot(),
            Task::Fold { .. } => self.create_fold(),
            Task::Close { .. } => self.go_on_closing(),
        }
    }

    fn listed(&mut self, phase: Phase, numbers: &[u64]) -> Step {
        match phase {
            Phase::CreateNewest => self.lives_listed(numbers),
            Phase::OpenNewest => self.open_newest(numbers),
            Phase::OpenList(manifest) => self.open_listed(manifest, numbers),
            Phase::OpenCheck(manifest, slots) => self.open_checked(manifest, slots, numbers),
            Phase::TailList => self.tail_listed(numbers),
            Phase::TailCheck(slots) => self.tail_checked(slots, numbers),
            Phase::SlotCheck => self.slot_checked(numbers),
            Phase::BackNewest(tries) => self.back_newest(tries, numbers),
            Phase::OpenGap(number) => self.open_gap(number, numbers),
            Phase::FoldCheck(manifest) => self.fold_checked(manifest, numbers),
            Phase::FoldBack(tries, manifest) => self.fold_back(tries, manifest, numbers),
            _ => unreachable!("the phase sent no list"),
        }
    }

    fn manifest_read(&mut self, phase: Phase, found: Option<Manifest>) -> Step {
        match phase {
            Phase::CreateOn(number) => self.life_read(number, found),
            Phase::OpenManifest(number) => self.open_manifest(number, found),
            Phase::SlotNewest => self.slot_judged(found),
            Phase::BackManifest(tries) => self.back_manifest(tries, found),
            Phase::FoldRead(manifest) => self.fold_read(manifest, found),
            _ => unreachable!("the phase read no manifest"),
        }
    }

    fn slots_read(&mut self, phase: Phase, slots: Vec<Option<Slot>>) -> Step {
        match phase {
            Phase::OpenRead(manifest) => self.open_read(manifest, slots),
            Phase::TailRead => self.tail_read(slots),
            Phase::BackRead(tries, newer) => self.back_read(tries, newer, slots),
            _ => unreachable!("the phase read no slots"),
        }
    }

    /// A list or read failed for good. What was sent before decides what is known.
    fn unreadable(&mut self, phase: &Phase) -> Step {
        let tail = matches!(phase, Phase::TailList | Phase::TailRead | Phase::TailCheck(_));
        let sent = match (&self.task, phase) {
            (Task::Commit(attempt) | Task::Close { attempt, .. }, _) => attempt.sent,
            (_, Phase::FoldCheck(_) | Phase::FoldRead(_) | Phase::FoldBack(..)) => true,
            _ => false,
        };
        match (sent, &self.task) {
            (true, _) => self.fail(Outcome::Unknown),
            (false, Task::CatchUp) if tail => self.done(Outcome::Failed),
            (false, _) => self.fail(Outcome::Failed),
        }
    }

    fn view_known(&self) -> &View {
        self.view.as_ref().expect("the phase follows an open")
    }

    fn send(&mut self, phase: Phase, request: Request) -> Step {
        self.phase = phase;
        Step::Send(request)
    }

    /// Asks for the manifests from `number` on.
    fn send_manifests(&mut self, phase: Phase, number: u64) -> Step {
        self.send(
            phase,
            match self.rules.newest_by_list {
                true => Request::ListManifests(number),
                false => Request::ProbeManifests(number),
            },
        )
    }

    /// Ends the task; the view stays.
    fn done(&mut self, outcome: Outcome) -> Step {
        self.task = Task::Idle;
        Step::Done(outcome)
    }

    /// Ends the task with a view that may be wrong: the next task opens anew.
    fn fail(&mut self, outcome: Outcome) -> Step {
        self.forget();
        Step::Done(outcome)
    }

    /// Appends a slot to the view and reports it. A closing slot has nothing to apply.
    fn apply(&mut self, slot: Slot) {
        let view = self.view.as_mut().expect("slots are applied to a view");
        debug_assert_eq!(view.tip() + 1, slot.seq, "slots are applied in order");
        view.tail.push(SlotMark::of(&slot));
        if !slot.closes {
            self.events.push(Event::Slot(slot));
        }
    }
}
