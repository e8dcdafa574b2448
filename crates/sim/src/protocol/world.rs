//! The state of the world and its steps.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use vb_commit::machine::{ListedSlot, Reply, Request};
use vb_commit::{Manifest, Slot};

use super::actor::{Actor, Place, Wish};
use super::collector::Collection;
use super::fingerprint::fingerprint;
use super::oracle::Oracle;
use super::scenario::Scenario;
use super::shared::Shared;

/// The log's objects.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Objects {
    pub(super) slots: BTreeMap<u64, Arc<Slot>>,
    pub(super) manifests: BTreeMap<u64, Arc<Manifest>>,
}

impl Objects {
    /// Executes a create; `false`: the number is taken.
    pub(super) fn create(&mut self, request: &Request) -> bool {
        match request {
            Request::CreateSlot(slot) => {
                let free = !self.slots.contains_key(&slot.seq);
                if free {
                    self.slots.insert(slot.seq, Arc::new(slot.clone()));
                }
                free
            }
            Request::CreateManifest(manifest) => {
                let free = !self.manifests.contains_key(&manifest.number);
                if free {
                    self.manifests.insert(manifest.number, Arc::new(manifest.clone()));
                }
                free
            }
            _ => unreachable!("only creates change the store"),
        }
    }

    pub(super) fn slot(&self, seq: u64) -> Option<Slot> {
        self.slots.get(&seq).map(|slot| Slot::clone(slot))
    }

    /// Executes a request that only reads, in one piece.
    pub(super) fn read(&self, request: &Request) -> Reply {
        match request {
            Request::ListManifests(from) => {
                Reply::Manifests(self.manifests.range(from..).map(|(number, _)| *number).collect())
            }
            Request::ListSlots(from) => {
                let listed = |(seq, _): (&u64, _)| ListedSlot { seq: *seq, bytes: 0 };
                Reply::SlotList(self.slots.range(from..).map(listed).collect())
            }
            Request::ProbeManifests(number) => {
                let there = |number: &u64| self.manifests.contains_key(number);
                Reply::Manifests([*number, number + 1].into_iter().filter(there).collect())
            }
            Request::GetManifest(number) => {
                Reply::Manifest(self.manifests.get(number).map(|found| Manifest::clone(found)))
            }
            Request::GetSlots(..) => unreachable!("slots are read one by one"),
            Request::CreateSlot(_) | Request::CreateManifest(_) => unreachable!("a read"),
        }
    }
}

/// One state of the world.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct World {
    pub(super) objects: Shared<Objects>,
    pub(super) actors: Vec<Shared<Actor>>,
    pub(super) collection: Collection,
    /// Creates without an answer that may still be executed.
    pub(super) afloat: Vec<Request>,
    pub(super) oracle: Oracle,
    pub(super) left: Left,
}

/// What may still happen.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Left {
    pub(super) flushes: u8,
    pub(super) collections: u8,
    pub(super) reads: u8,
    pub(super) proofs: u8,
    pub(super) opens: u8,
    pub(super) faults: u8,
    pub(super) closes: u8,
    pub(super) lives: u8,
    /// Next batch number (and stamp) of each writer.
    pub(super) numbers: Vec<u64>,
}

/// How a request fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Executed and answered.
    Fine,
    /// Not answered; a create stays afloat.
    Lost,
    /// A create that is executed and answered as if the object had been there.
    Echoed,
    /// A create that is answered as if the object were there, and stays afloat.
    Denied,
}

/// One step of the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// An idle process begins something and its first request fares so.
    Begin(usize, Wish, Fate),
    /// One of a process's outstanding requests fares so.
    Execute(usize, Place, Fate),
    /// A reply arrives.
    Deliver(usize, Place),
    /// A create that was given up by its sender is executed.
    Surface(usize),
    /// The collector's next request is executed, or its n-th delete.
    Collect(usize),
}

/// What went wrong, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Violation(pub(super) String);

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Begin(actor, wish, Fate::Fine) => write!(f, "P{actor} begins {wish:?}"),
            Self::Begin(actor, wish, fate) => write!(f, "P{actor} begins {wish:?}: {fate:?}"),
            Self::Execute(actor, place, Fate::Fine) => write!(f, "P{actor} goes on ({place:?})"),
            Self::Execute(actor, place, fate) => {
                write!(f, "P{actor} goes on ({place:?}): {fate:?}")
            }
            Self::Deliver(actor, place) => write!(f, "P{actor} is answered ({place:?})"),
            Self::Surface(index) => write!(f, "late create {index} is executed"),
            Self::Collect(index) => write!(f, "the collector goes on ({index})"),
        }
    }
}

impl World {
    /// A log just created, opened by every process.
    pub(super) fn begin(scenario: &Scenario) -> Self {
        let writers = scenario.batches.len();
        let mut world = Self {
            objects: Shared::new(Objects::default()),
            actors: Actor::all(scenario).into_iter().map(Shared::new).collect(),
            collection: Collection::default(),
            afloat: Vec::new(),
            oracle: Oracle::default(),
            left: Left {
                flushes: scenario.flushes,
                collections: scenario.collections,
                reads: scenario.reads,
                proofs: scenario.proofs,
                opens: scenario.opens,
                faults: scenario.faults,
                closes: scenario.closes,
                lives: scenario.lives,
                numbers: vec![1; if scenario.one_identity { 1 } else { writers }],
            },
        };
        world.set_up();
        world
    }

    fn set_up(&mut self) {
        for actor in 0..self.actors.len() {
            // What this uses up is none of what may happen later.
            let wish = if actor == 0 { Wish::Create } else { Wish::Open };
            self.left.lives += u8::from(wish == Wish::Create);
            self.left.opens += u8::from(wish == Wish::Open);
            self.wish(actor, wish).expect("nothing can go wrong yet");
            self.finish(actor).expect("nothing can go wrong yet");
            if wish == Wish::Open {
                // Checked from the start; unchecked logs are those of worlds with opens.
                self.left.reads += 1;
                self.wish(actor, Wish::Read).expect("nothing can go wrong yet");
                self.finish(actor).expect("nothing can go wrong yet");
            }
        }
    }

    /// Executes all that a process asks, one request after the other.
    fn finish(&mut self, actor: usize) -> Result<(), Violation> {
        loop {
            let first = self.actors[actor].outstanding().next().map(|(place, _)| place);
            let answered = self.actors[actor].deliverable().next();
            let Self { actors, oracle, .. } = self;
            match (first, answered) {
                (_, Some(place)) => actors[actor].change(|actor| actor.deliver(place, oracle))?,
                (Some(place), None) => self.execute(actor, place, Fate::Fine)?,
                (None, None) => return Ok(()),
            }
        }
    }

    /// All steps that can be taken here.
    pub(super) fn actions(&self, scenario: &Scenario) -> Vec<Action> {
        let mut actions = Vec::new();
        if let Some((actor, place)) = self.settled(scenario) {
            let request = &self.actors[actor].asked(place).request;
            actions.extend(self.fates(request).map(|fate| Action::Execute(actor, place, fate)));
            return actions;
        }
        let beginners = self.beginners(scenario);
        for (index, actor) in self.actors.iter().enumerate() {
            for (place, asked) in actor.outstanding() {
                let fates = self.fates(&asked.request);
                actions.extend(fates.map(|fate| Action::Execute(index, place, fate)));
            }
            actions.extend(actor.deliverable().map(|place| Action::Deliver(index, place)));
            if index < beginners {
                self.beginnings(index, &mut actions);
            }
        }
        actions.extend((0..self.afloat.len()).map(Action::Surface));
        let deletes = self.collection.choices(scenario.any_order, self.left.collections > 0);
        actions.extend((0..deletes).map(Action::Collect));
        actions
    }

    /// What a process may begin. A first request may fail too, so it has all its fates.
    fn beginnings(&self, index: usize, actions: &mut Vec<Action>) {
        for wish in self.actors[index].wishes(&self.left) {
            let mut begun = self.clone();
            if begun.wish(index, wish).is_err() {
                actions.push(Action::Begin(index, wish, Fate::Fine));
                continue;
            }
            match begun.first_of(index, wish) {
                Some(place) => {
                    let fates = begun.fates(&begun.actors[index].asked(place).request);
                    actions.extend(fates.map(|fate| Action::Begin(index, wish, fate)));
                }
                None => actions.push(Action::Begin(index, wish, Fate::Fine)),
            }
        }
    }

    /// The request that is executed together with the beginning of a task: what a process does
    /// before touches nobody. Where several were sent, others may come between any two of them, so
    /// none is.
    fn first_of(&self, actor: usize, wish: Wish) -> Option<Place> {
        let mut first = self.actors[actor].outstanding().filter(|(place, _)| match wish {
            Wish::Prove => *place == Place::Proof,
            _ => matches!(place, Place::Task(_)),
        });
        let (place, _) = first.next()?;
        first.next().is_none().then_some(place)
    }

    fn fates(&self, request: &Request) -> impl Iterator<Item = Fate> + use<> {
        let faults = self.left.faults > 0;
        let free = match request {
            Request::CreateSlot(slot) => !self.objects.slots.contains_key(&slot.seq),
            Request::CreateManifest(manifest) => {
                !self.objects.manifests.contains_key(&manifest.number)
            }
            _ => false,
        };
        let lost = faults.then_some(Fate::Lost);
        let echoed = (faults && free).then_some(Fate::Echoed);
        let denied = (faults && free).then_some(Fate::Denied);
        [Some(Fate::Fine), lost, echoed, denied].into_iter().flatten()
    }

    /// Takes one step.
    pub(super) fn step(&mut self, scenario: &Scenario, action: Action) -> Result<(), Violation> {
        self.step_only(scenario, action)?;
        self.drop_spent(scenario);
        Ok(())
    }

    fn step_only(&mut self, scenario: &Scenario, action: Action) -> Result<(), Violation> {
        match action {
            Action::Begin(actor, wish, fate) => {
                self.wish(actor, wish)?;
                match self.first_of(actor, wish) {
                    Some(place) => self.execute(actor, place, fate),
                    None => Ok(()),
                }
            }
            Action::Execute(actor, place, fate) => self.execute(actor, place, fate),
            Action::Deliver(actor, place) => {
                let Self { actors, oracle, .. } = self;
                actors[actor].change(|actor| actor.deliver(place, oracle))
            }
            Action::Surface(index) => {
                let request = self.afloat.remove(index);
                self.create(&request);
                self.observe()
            }
            Action::Collect(index) => self.collect(scenario, index),
        }
    }

    fn wish(&mut self, actor: usize, wish: Wish) -> Result<(), Violation> {
        let owed = self.oracle.owed();
        let Self { actors, left, oracle, .. } = self;
        actors[actor].change(|actor| actor.begin(wish, left, owed, oracle))
    }

    fn execute(&mut self, actor: usize, place: Place, fate: Fate) -> Result<(), Violation> {
        if fate != Fate::Fine {
            self.left.faults -= 1;
        }
        let request = self.actors[actor].asked(place).request.clone();
        let reply = match (&request, fate) {
            (Request::GetSlots(..), Fate::Fine) => {
                match self.actors[actor].change(|actor| actor.read_on(place, &self.objects)) {
                    Some(slots) => Reply::Slots(slots),
                    None => return Ok(()),
                }
            }
            (Request::CreateSlot(_) | Request::CreateManifest(_), Fate::Lost) => {
                self.float(request);
                Reply::Unanswered
            }
            (Request::CreateSlot(_) | Request::CreateManifest(_), Fate::Denied) => {
                self.float(request);
                Reply::Exists
            }
            (_, Fate::Lost) => Reply::Unanswered,
            (Request::CreateSlot(_) | Request::CreateManifest(_), _) => {
                let created = self.create(&request);
                self.observe()?;
                match created && fate == Fate::Fine {
                    true => Reply::Created,
                    false => Reply::Exists,
                }
            }
            (_, _) => self.objects.read(&request),
        };
        let Self { actors, oracle, .. } = self;
        actors[actor].change(|actor| actor.reply(place, reply, oracle))
    }

    fn create(&mut self, request: &Request) -> bool {
        self.objects.change(|objects| objects.create(request))
    }

    fn float(&mut self, request: Request) {
        self.afloat.push(request);
        self.afloat.sort_by_key(fingerprint);
    }

    fn collect(&mut self, scenario: &Scenario, index: usize) -> Result<(), Violation> {
        if self.collection.is_idle() {
            self.left.collections -= 1;
            self.collection.begin(scenario.rules, self.actors[0].remembered());
        }
        let Self { collection, objects, .. } = self;
        objects.change(|objects| collection.step(objects, index));
        self.observe()
    }

    /// Every process reads strongly, without being interrupted; the world stays as it is: through
    /// its log if it is idle, by proof if its log is checked. (Reads that are interrupted are part
    /// of the worlds that have a budget for them.)
    pub(super) fn probe(&self) -> Result<(), Violation> {
        for (index, actor) in self.actors.iter().enumerate() {
            if actor.may_read() {
                let mut world = self.clone();
                world.left.reads = 1;
                world.wish(index, Wish::Read)?;
                world.finish(index)?;
            }
            if actor.may_prove() {
                let mut world = self.clone();
                let owed = world.oracle.owed();
                world.actors[index].change(|actor| actor.begin_proof(owed));
                world.execute(index, Place::Proof, Fate::Fine)?;
            }
        }
        Ok(())
    }

    /// For a trace: the request that `action` is about.
    pub(super) fn pending(&self, action: Action) -> String {
        let request = match action {
            Action::Execute(actor, place, _) => Some(&self.actors[actor].asked(place).request),
            Action::Surface(index) => self.afloat.get(index),
            Action::Begin(..) | Action::Deliver(..) | Action::Collect(_) => None,
        };
        match request {
            Some(Request::CreateSlot(slot)) => format!(": create slot {}", slot.seq),
            Some(Request::CreateManifest(made)) => {
                format!(": create manifest {} floor {}", made.number, made.floor)
            }
            Some(request) => format!(": {request:?}"),
            None => String::new(),
        }
    }

    fn observe(&mut self) -> Result<(), Violation> {
        self.oracle.observe(&self.objects)
    }
}
