//! The protocol as a machine without I/O: what is known, what was answered -> what to ask next.
//!
//! [`Machine`] holds one process's view of one log. A task is begun with `open`, `commit`,
//! `catch_up`, `fold` or `close`; each returns a [`Step`]: requests to execute, in any order or at
//! once, whose replies are handed to [`Machine::reply`] together, or the task's outcome. The
//! asynchronous runner and the model checker drive the same machine, so what is checked is what
//! runs.
//!
//! ```text
//! tasks:   create n | create n+1 |  create n+2 ...      one at a time
//! checks:           |  check n   |  check n+1 ...       beside them: take_check, check_replied
//! told:                          n              n+1     take_told, in the order of the commits
//! ```
//!
//! A commit's task ends when its create returned. The check of the slot goes on beside the next
//! commit's create, and only then the group is told (and applied) as committed. Any other task
//! waits until no group is on its way.
//!
//! Invariants:
//! - No slot is numbered before its predecessor is known (the view has no gaps), or created by us.
//! - At most two groups are on their way, and the second is looked after only once the first is
//!   told, unless it needs no more than the common check.
//! - A view is published only if no higher manifest existed after its slots were read; the one
//!   exception is a view just opened, which is not checked until the next task has done so.
//! - A task that is abandoned midway leaves no view: the next one opens anew.
//!
//! Reading the log anew (`open`), learning the slots behind the tip (`tail`), committing a group
//! (`commit`, `check`), folding (`fold`) and creating a log (`create`) are a file each; the requests they wait
//! for are [`Phase`]s.

mod check;
mod commit;
mod create;
mod fold;
mod open;
mod tail;

use bytes::Bytes;

use self::check::Check;
use crate::log::{Event, Fold};
use crate::manifest::Manifest;
use crate::rules::{Rules, SlotMark, View};
use crate::slot::{Slot, WriterId};

/// How often an unanswered create is sent again before its outcome is reported as unknown.
const CREATES_MAX: u8 = 3;

/// How many groups may be on their way: one being created, one being checked.
const ON_THE_WAY_MAX: usize = 2;

/// One request to the store.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Request {
    /// Numbers of all manifests from this one on.
    ListManifests(u64),
    /// Known bad, see [`Rules::newest_by_list`]: this number, and the next if a read finds it.
    ProbeManifests(u64),
    /// One manifest.
    GetManifest(u64),
    /// Numbers and lengths of all slots from this one on.
    ListSlots(u64),
    /// The slots of these numbers, both included.
    GetSlots(u64, u64),
    /// Create a slot if its number is free.
    CreateSlot(Slot),
    /// Create a manifest if its number is free.
    CreateManifest(Manifest),
}

/// One listed slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ListedSlot {
    /// Its number.
    pub seq: u64,
    /// Length of its object in bytes.
    pub bytes: u64,
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Reply {
    /// To a list of manifests; in any order.
    Manifests(Vec<u64>),
    /// To a list of slots; in any order.
    SlotList(Vec<ListedSlot>),
    /// To a read of a manifest.
    Manifest(Option<Manifest>),
    /// To a read of slots, one entry per number.
    Slots(Vec<Option<Slot>>),
    /// To a create: it was executed.
    Created,
    /// To a create: the number is taken, perhaps by an earlier copy of this very request. (Some
    /// stores say so of a conflict with a request that then fails: nothing may be there.)
    Exists,
    /// No answer, or one that leaves open whether the request was or will be executed.
    Unanswered,
    /// The request was certainly not executed and never will be.
    Refused,
}

/// What a task comes to, or a group.
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

/// What became of a group.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Told {
    /// The number of its first batch.
    pub number: u64,
    /// `Committed`, `Closed`, `Unknown`, `Failed` or `Corrupt`.
    pub outcome: Outcome,
    /// What happened up to here since events were last taken; to be applied, in order. A committed
    /// group is among them or among those taken before.
    pub events: Vec<Event>,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Step {
    /// Execute the requests and hand in their replies, in the order of the requests.
    Send(Vec<Request>),
    /// Nothing now: a commit's create has returned, or the task waits for a check.
    Rest,
    /// The task (but for a commit, which is told) has ended.
    Done(Outcome),
}

/// What the machine is to bring about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Task {
    Idle,
    Open,
    Create {
        body: Bytes,
        stamp: u64,
        incarnation: u64,
    },
    CatchUp,
    /// The group [`Machine::at`] is looked after.
    Commit,
    Fold {
        fold: Fold,
        stamp: u64,
    },
    /// The only group on its way is the closing slot.
    Close {
        stamp: u64,
    },
}

/// A group on its way into the log.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Attempt {
    /// As it is to be created; `seq` changes when the attempt moves behind a new tip.
    slot: Slot,
    /// A create was sent, so the slot may exist.
    sent: bool,
    /// How often a create of it was answered "exists" although nothing was there.
    conflicts: u8,
    /// A create was answered: the slot exists (but may not count).
    created: bool,
    /// It is known to be committed; only the view is to be brought up to it.
    committed: bool,
}

/// What the outstanding requests are for. Creates carry how often they were sent.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Phase {
    Rest,
    CreateNewest,
    CreateOn(u64),
    OpenNewest,
    /// The newest manifest, and beside it the slots that are probably needed.
    OpenRead(u64, open::Tail),
    OpenRest(Manifest, Vec<Slot>),
    OpenGap(u64),
    OpenCheck(Manifest, Vec<Slot>),
    TailList,
    TailProve,
    TailRead,
    TailCheck(Vec<Slot>),
    SlotCreate(u8),
    /// Not outstanding: a create's answer that waits until the group before is told.
    SlotHeld(Reply),
    SlotCheck,
    SlotNewest,
    BackNewest(u8),
    BackManifest(u8),
    BackRead(u8, Option<u64>),
    FoldCreate(u8, Manifest),
    FoldCheck(Manifest),
    FoldRead(u8, Manifest),
    FoldBack(u8, Manifest),
}

/// One process's side of the protocol on one log.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Machine {
    rules: Rules,
    writer: WriterId,
    sole_writer: bool,
    view: Option<View>,
    /// No higher manifest existed after the view's slots were read.
    checked: bool,
    /// The incarnation of the log that was opened or created: all tasks are for this one.
    life: Option<u64>,
    events: Vec<Event>,
    task: Task,
    phase: Phase,
    /// Groups on their way, in order; all but the last were created behind each other.
    groups: Vec<Attempt>,
    /// The group that the task looks after.
    at: usize,
    check: Check,
    told: Vec<Told>,
}

impl Machine {
    /// A machine that knows nothing yet. `sole_writer`: no other process can write to the store,
    /// so neither the checks after a create nor the proof of the tip are needed.
    pub fn new(rules: Rules, writer: WriterId, sole_writer: bool) -> Self {
        Self {
            rules,
            writer,
            sole_writer,
            view: None,
            checked: false,
            life: None,
            events: Vec::new(),
            task: Task::Idle,
            phase: Phase::Rest,
            groups: Vec::new(),
            at: 0,
            check: Check::Idle,
            told: Vec::new(),
        }
    }

    /// The view; `None` if the next task must open the log (anew) first. Groups on their way are
    /// not in it.
    pub fn view(&self) -> Option<&View> {
        // A task that was abandoned midway may have been about to find the view out of date.
        self.view.as_ref().filter(|_| matches!(self.task, Task::Idle | Task::Commit))
    }

    /// Whether the view is certain to show nothing that does not count.
    pub fn is_checked(&self) -> bool {
        self.checked || self.sole_writer
    }

    /// What happened since the last call and must be applied, in order. To be taken after all that
    /// was [told](Self::take_told).
    pub fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// What became of groups since the last call, in the order of their commits.
    pub fn take_told(&mut self) -> Vec<Told> {
        std::mem::take(&mut self.told)
    }

    /// How many groups are on their way.
    pub fn on_the_way(&self) -> usize {
        self.groups.len()
    }

    /// Whether [`Self::commit`] may be called now.
    pub fn may_commit(&self) -> bool {
        self.task == Task::Idle && self.groups.len() < ON_THE_WAY_MAX
    }

    /// Whether another task may be begun now.
    pub fn is_idle(&self) -> bool {
        self.task == Task::Idle && self.groups.is_empty()
    }

    /// Creates the log, or a new life of it behind a closed manifest. `stamp` is a fresh batch
    /// number, `incarnation` random.
    pub fn create(&mut self, body: Bytes, stamp: u64, incarnation: u64) -> Step {
        self.begin(Task::Create { body, stamp, incarnation })
    }

    /// Reads the log: newest manifest and all slots behind its floor. The view may be unchecked.
    pub fn open(&mut self) -> Step {
        self.begin(Task::Open)
    }

    /// Proves the tip or learns what is behind it. Asks nothing of a store with a sole writer.
    pub fn catch_up(&mut self) -> Step {
        self.begin(Task::CatchUp)
    }

    /// Commits a group of numbered batches as one slot. May follow a commit whose create returned;
    /// its outcome is [told](Self::take_told).
    pub fn commit(&mut self, batches: Vec<(u64, Bytes)>) -> Step {
        if !self.may_commit() {
            self.forget();
        }
        let attempt = self.new_attempt(batches, false);
        self.groups.push(attempt);
        self.at = self.groups.len() - 1;
        self.task = Task::Commit;
        match self.view {
            Some(_) => self.create_slot(),
            None => self.reopen(),
        }
    }

    /// Commits a fold. `stamp` is a fresh batch number.
    pub fn fold(&mut self, fold: Fold, stamp: u64) -> Step {
        self.begin(Task::Fold { fold, stamp })
    }

    /// Ends the log: a closing slot, then a closed manifest without body. `number` is a fresh batch
    /// number.
    pub fn close(&mut self, number: u64) -> Step {
        self.begin(Task::Close { stamp: number })
    }

    /// Forgets the view and any task under way, as after a failure: the next task opens anew. The
    /// outcome of groups on their way is unknown.
    pub fn forget(&mut self) {
        self.abandon_groups(&Outcome::Unknown);
        self.view = None;
        self.checked = false;
        self.events.clear();
        self.task = Task::Idle;
        self.phase = Phase::Rest;
        self.check = Check::Idle;
    }

    /// Takes the replies to the outstanding requests, in the order of the requests.
    ///
    /// # Panics
    ///
    /// If no request is outstanding or the replies are not those to the requests.
    pub fn reply(&mut self, replies: Vec<Reply>) -> Step {
        let phase = std::mem::replace(&mut self.phase, Phase::Rest);
        let failed = replies.iter().any(|r| matches!(r, Reply::Unanswered | Reply::Refused));
        let mut replies = replies.into_iter();
        match (phase, replies.next(), replies.next()) {
            (Phase::SlotCreate(tries), Some(reply), None) => self.slot_created(tries, reply),
            (Phase::FoldCreate(tries, manifest), Some(reply), None) => {
                self.fold_created(tries, manifest, &reply)
            }
            (phase, ..) if failed => self.unreadable(&phase),
            (phase, Some(Reply::Manifests(numbers)), None) => {
                self.manifests_listed(phase, &numbers)
            }
            (phase, Some(Reply::Manifests(numbers)), Some(Reply::SlotList(slots))) => {
                self.both_listed(&phase, &numbers, &slots)
            }
            (Phase::TailList, Some(Reply::SlotList(slots)), None) => self.tail_listed(&slots),
            (phase, Some(Reply::Manifest(found)), None) => self.manifest_read(phase, found),
            (
                Phase::OpenRead(number, tail),
                Some(Reply::Manifest(found)),
                Some(Reply::Slots(slots)),
            ) => self.open_read(number, tail, found, slots),
            (phase, Some(Reply::Slots(slots)), None) => self.slots_read(phase, slots),
            (phase, ..) => unreachable!("not the replies to the requests of {phase:?}"),
        }
    }

    fn new_attempt(&self, batches: Vec<(u64, Bytes)>, closes: bool) -> Attempt {
        let slot = Slot { seq: 0, writer: self.writer, incarnation: 0, batches, closes };
        Attempt { slot, sent: false, conflicts: 0, created: false, committed: false }
    }

    fn begin(&mut self, task: Task) -> Step {
        if !self.is_idle() || self.phase != Phase::Rest {
            self.forget();
        }
        let anew = matches!(task, Task::Open | Task::Create { .. });
        if anew {
            self.forget();
            self.life = None;
        }
        if let Task::Close { stamp } = task {
            let attempt = self.new_attempt(vec![(stamp, Bytes::new())], true);
            self.groups.push(attempt);
            self.at = 0;
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
            Task::Commit => self.create_slot(),
            Task::Fold { .. } => self.create_fold(),
            Task::Close { .. } => self.go_on_closing(),
        }
    }

    fn manifests_listed(&mut self, phase: Phase, numbers: &[u64]) -> Step {
        match phase {
            Phase::CreateNewest => self.lives_listed(numbers),
            Phase::OpenCheck(manifest, slots) => self.open_checked(manifest, slots, numbers),
            Phase::TailCheck(slots) => self.tail_checked(slots, numbers),
            Phase::SlotCheck => self.slot_checked(numbers),
            Phase::BackNewest(tries) => self.back_newest(tries, numbers),
            Phase::FoldCheck(manifest) => self.fold_checked(manifest, numbers),
            Phase::FoldBack(tries, manifest) => self.fold_back(tries, manifest, numbers),
            _ => unreachable!("the phase sent no list of manifests"),
        }
    }

    fn both_listed(&mut self, phase: &Phase, numbers: &[u64], slots: &[ListedSlot]) -> Step {
        match phase {
            Phase::OpenNewest => self.open_newest(numbers, slots),
            Phase::OpenGap(number) => self.open_gap(*number, numbers, slots),
            Phase::TailProve => self.tail_proved(numbers, slots),
            _ => unreachable!("the phase sent no two lists"),
        }
    }

    fn manifest_read(&mut self, phase: Phase, found: Option<Manifest>) -> Step {
        match phase {
            Phase::CreateOn(number) => self.life_read(number, found),
            Phase::OpenRead(number, tail) => self.open_read(number, tail, found, Vec::new()),
            Phase::SlotNewest => self.slot_judged(found),
            Phase::BackManifest(tries) => self.back_manifest(tries, found),
            Phase::FoldRead(tries, manifest) => self.fold_read(tries, manifest, found),
            _ => unreachable!("the phase read no manifest"),
        }
    }

    fn slots_read(&mut self, phase: Phase, slots: Vec<Option<Slot>>) -> Step {
        match phase {
            Phase::OpenRest(manifest, later) => self.open_rest(manifest, slots, later),
            Phase::TailRead => self.tail_read(slots),
            Phase::BackRead(tries, newer) => self.back_read(tries, newer, slots),
            _ => unreachable!("the phase read no slots"),
        }
    }

    /// A list or read failed for good. What was sent before decides what is known.
    fn unreadable(&mut self, phase: &Phase) -> Step {
        let tail = matches!(
            phase,
            Phase::TailList | Phase::TailProve | Phase::TailRead | Phase::TailCheck(_)
        );
        let sent = match (&self.task, phase) {
            (Task::Commit | Task::Close { .. }, _) => {
                self.groups.first().is_some_and(|group| group.sent)
            }
            (_, Phase::FoldCheck(_) | Phase::FoldRead(..) | Phase::FoldBack(..)) => true,
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
        Step::Send(vec![request])
    }

    /// Asks for the manifests from `number` on.
    fn send_manifests(&mut self, phase: Phase, number: u64) -> Step {
        let request = self.list_manifests(number);
        self.send(phase, request)
    }

    /// Asks for the manifests from `number` on, and for the slots from `seq` on.
    fn send_both(&mut self, phase: Phase, number: u64, seq: u64) -> Step {
        self.phase = phase;
        Step::Send(vec![self.list_manifests(number), Request::ListSlots(seq)])
    }

    fn list_manifests(&self, number: u64) -> Request {
        match self.rules.newest_by_list {
            true => Request::ListManifests(number),
            false => Request::ProbeManifests(number),
        }
    }

    /// Ends the task; the view stays.
    fn done(&mut self, outcome: Outcome) -> Step {
        self.task = Task::Idle;
        Step::Done(outcome)
    }

    /// Ends the task with a view that may be wrong: the next task opens anew.
    fn fail(&mut self, outcome: Outcome) -> Step {
        let commit = self.task == Task::Commit;
        self.abandon_groups(&outcome);
        self.forget();
        match commit {
            true => Step::Rest,
            false => Step::Done(outcome),
        }
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

/// The highest number of a list.
fn newest(numbers: &[u64]) -> Option<u64> {
    numbers.iter().max().copied()
}
