//! One run: lets time pass, starts calls, breaks things, heals them, and asks for the verdict.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use vb_commit::{Clock, Manifest, Process, Store};
use vb_engine::inspect::{self, CheckOptions, Level};
use vb_engine::{Compaction, Engine, Error, Options, Random};

use super::calls::{self, Call, Outcome, Told};
use super::client::Client;
use super::draw::Draw;
use super::history::History;
use super::node::Node;
use super::objects::{EPOCH_MS, Objects};
use super::profile::{Ambush, Faults, Profile, SWEEP_GRACE};
use super::record::Wish;
use super::trace::Trace;
use super::{Report, Variant, check};

/// A call that takes longer than this in calm is lost.
const CALL_MS_MAX: u64 = 600_000;

/// Calls in one round of chaos, so that every seed takes about as long.
const CALLS_MAX: usize = 200;

/// Further walks of an inspection that found something.
const WALKS_MAX: usize = 3;

/// How far one node's clock may run ahead of the world, and so of the others.
const LOOK_AHEAD_MS: u64 = 50;

/// A client: one call at a time.
#[derive(Debug, Clone, Copy)]
enum ClientState {
    /// Makes its next call then.
    Idle(u64),
    /// Waits for the answer to this call.
    Busy(u64),
}

/// What nodes tell the world: answered calls, and engines that have opened.
#[derive(Debug, Default)]
struct Mail {
    calls: Vec<(u64, Told)>,
    inspected: Option<Result<inspect::Report, Error>>,
    opened: Vec<(usize, u64, Result<Engine, Error>)>,
}

type MailBox = Arc<Mutex<Mail>>;

/// The state of a run.
pub(super) struct World {
    seed: u64,
    variant: Variant,
    profile: Profile,
    draw: Draw,
    objects: Objects,
    nodes: Vec<Option<Node>>,
    lives: Vec<u64>,
    /// When a crashed node starts again.
    restarts: Vec<u64>,
    /// What the first two nodes have in common if they are one process: its batch numbers and its
    /// identity as a writer.
    twins: Option<(Process, u128)>,
    mail: MailBox,
    clients: Vec<ClientState>,
    history: History,
    /// Of flushes under way: the number of the store's next request when they began.
    flushes: BTreeMap<u64, u64>,
    crashes: u64,
    violation: Option<String>,
    now: u64,
}

impl World {
    pub(super) fn new(seed: u64, variant: Variant, prints: bool) -> Self {
        let mut draw = Draw::new(seed, 0);
        let profile = Profile::draw(&mut draw);
        let trace = Trace::new(prints);
        let nodes = profile.nodes + 1;
        let objects = Objects::new(Draw::new(seed, 1), nodes, profile.latency_ms, trace);
        objects.note(format_args!("{profile:?}"));
        let ids = Ids::new(seed, u64::MAX);
        let identity = ids.id();
        let twins =
            profile.twins.then(|| (Process::simulated(variant.rules, move || ids.id()), identity));
        Self {
            twins,
            seed,
            variant,
            draw,
            objects,
            nodes: (0..nodes).map(|_| None).collect(),
            lives: vec![0; nodes],
            restarts: vec![0; nodes],
            mail: MailBox::default(),
            clients: vec![ClientState::Idle(0); profile.clients],
            history: History::default(),
            flushes: BTreeMap::new(),
            crashes: 0,
            violation: None,
            now: 0,
            profile,
        }
    }

    pub(super) fn run(mut self) -> Report {
        panics::watch(true);
        let ran = self.phases();
        panics::watch(false);
        let ran = ran.and_then(|()| check::check(&self.history));
        let digest = self.objects.digest();
        let (requests, faults) = self.objects.counts();
        let report = Report {
            seed: self.seed,
            digest: digest.0,
            events: digest.1,
            calls: self.history.entries.len() as u64,
            requests,
            faults,
            crashes: self.crashes,
            lasted_ms: self.now,
            violation: self.violation.take().or(ran.err()),
        };
        for node in self.nodes.into_iter().flatten() {
            node.kill();
        }
        report
    }

    fn phases(&mut self) -> Result<(), String> {
        for number in 0..self.profile.nodes {
            self.start(number);
        }
        self.prepare()?;
        for _ in 0..self.profile.rounds {
            self.chaos()?;
            self.heal()?;
            self.read_everything()?;
            self.inspect(None)?;
        }
        self.rest()?;
        self.read_everything()?;
        self.fold_everything()?;
        let records = self.read_everything()?;
        self.inspect(Some(records))
    }

    /// Every live index is flushed, so that its manifest counts all its records.
    fn fold_everything(&mut self) -> Result<(), String> {
        for index in 0..self.profile.indexes {
            let id = self.call(0, Call::Flush { index })?;
            self.await_calls(&[id])?;
        }
        Ok(())
    }

    /// Walks the whole store: nothing may be damaged or missing, and the manifests count so many
    /// records where all of them are folded. What is removed behind a walk's back is no damage, and
    /// found only once.
    fn inspect(&mut self, records: Option<u64>) -> Result<(), String> {
        let mut found = self.inspect_once(records)?;
        for _ in 0..WALKS_MAX {
            if found.is_none() {
                return Ok(());
            }
            self.pause(5_000)?;
            found = self.inspect_once(records)?;
        }
        found.map_or(Ok(()), Err)
    }

    /// What `vectorbucket fsck` finds, looking at every byte.
    fn inspect_once(&mut self, records: Option<u64>) -> Result<Option<String>, String> {
        let (mail, now_ms) = (Arc::clone(&self.mail), EPOCH_MS + self.now);
        let node = self.nodes[0].as_ref().ok_or("node 0 is down")?;
        let (store, _) = self.surroundings(node);
        let signal = Arc::clone(&node.signal);
        node.spawn(async move {
            let options = CheckOptions { level: Level::Deep, grace: SWEEP_GRACE, now_ms };
            post(&mail).inspected = Some(inspect::check(&store, &options, &()).await);
            signal.raise();
        });
        self.touch(0);
        self.wait(CALL_MS_MAX, |world| post(&world.mail).inspected.is_some())?;
        let report = post(&self.mail).inspected.take().expect("it was waited for");
        let report = report.map_err(|error| format!("an inspection failed in calm: {error}"))?;
        if let Some(damage) = report.findings.iter().find(|finding| finding.kind.is_damage()) {
            return Ok(Some(format!("an inspection found {damage}")));
        }
        let counted = report.counts.records;
        let differ = records.filter(|listed| report.counts.slots == 0 && *listed != counted);
        Ok(differ.map(|listed| format!("manifests count {counted} records, {listed} are listed")))
    }

    /// Makes the bucket and the indexes.
    fn prepare(&mut self) -> Result<(), String> {
        self.wait(30_000, |world| world.all_open())?;
        let engine = self.node(0)?.engine.clone().ok_or("node 0 is not open")?;
        let mail = Arc::clone(&self.mail);
        let signal = Arc::clone(&self.node(0)?.signal);
        self.node(0)?.spawn(async move {
            let made = engine.create_bucket(&calls::bucket(), Default::default()).await;
            let told = match made {
                Ok(_) => Outcome::Done,
                Err(error) => Outcome::Failed(error),
            };
            post(&mail).calls.push((0, Told::new(None, told)));
            signal.raise();
        });
        self.touch(0);
        self.wait(30_000, |world| world.history.prepared)?;
        for index in 0..self.profile.indexes {
            let id = self.call(0, Call::CreateIndex { index })?;
            self.await_calls(&[id])?;
        }
        Ok(())
    }

    /// Everything goes wrong for a while.
    fn chaos(&mut self) -> Result<(), String> {
        self.objects.set_faults(self.profile.faults, self.profile.focus, self.profile.ambush);
        let end = self.now + self.profile.chaos_ms;
        let mut crash_at = self.later(self.profile.crash_ms);
        let mut stall_at = self.later(self.profile.stall_ms);
        let most = self.history.entries.len() + CALLS_MAX;
        while self.now < end && self.history.entries.len() < most {
            self.clients_act()?;
            if self.now >= crash_at {
                let number = self.draw.index(self.profile.nodes);
                self.crash(number);
                crash_at = self.later(self.profile.crash_ms);
            }
            if self.now >= stall_at {
                let number = self.draw.index(self.profile.nodes);
                self.stall(number);
                stall_at = self.later(self.profile.stall_ms);
            }
            let next = self.next_action().min(crash_at).min(stall_at).min(end);
            self.step(next)?;
        }
        Ok(())
    }

    fn later(&mut self, mean_ms: u64) -> u64 {
        match mean_ms {
            0 => u64::MAX,
            mean => self.now + self.draw.range(mean / 4, mean * 2),
        }
    }

    /// Nothing goes wrong any more; waits until everything under way is answered.
    fn heal(&mut self) -> Result<(), String> {
        self.objects.note(format_args!("calm"));
        self.objects.set_faults(Faults::default(), "", Ambush::default());
        for node in self.nodes.iter_mut().flatten() {
            node.stalled_until = self.now;
        }
        self.wait(CALL_MS_MAX, |world| world.all_open() && world.all_idle())?;
        self.wait(CALL_MS_MAX, |world| world.objects.is_quiet())?;
        self.pause(self.profile.pause_ms)
    }

    fn pause(&mut self, ms: u64) -> Result<(), String> {
        let until = self.now + ms;
        self.wait(ms + 1, |world| world.now >= until)
    }

    /// Every node reads everything in every way; in calm nothing fails. Returns how many records the
    /// last node listed.
    fn read_everything(&mut self) -> Result<u64, String> {
        let mut records = 0;
        for number in 0..self.nodes.len() {
            if self.nodes[number].is_none() {
                continue;
            }
            records = 0;
            for index in 0..self.profile.indexes {
                let keys: Vec<u64> = (0..self.profile.keys).collect();
                let count = keys.len() + 5;
                let target = vec![1.0; 4];
                let page = self.draw.range(1, 5) as usize;
                let parts = self.draw.range(1, 3) as u32;
                let mut calls = vec![
                    Call::Get { index, keys },
                    Call::Query { index, target: target.clone(), count, wish: Wish::All },
                    Call::List { index, page, parts, wish: Wish::All },
                ];
                let colors = (0..3).map(Wish::Color);
                calls.extend(colors.map(|wish| {
                    let target = target.clone();
                    Call::Query { index, target, count, wish }
                }));
                for call in calls {
                    let lists = matches!(call, Call::List { .. });
                    let id = self.call(number, call)?;
                    self.await_calls(&[id])?;
                    self.must_succeed(id)?;
                    if let (true, Some(Outcome::Found(found))) =
                        (lists, self.history.entry(id).outcome())
                    {
                        records += found.len() as u64;
                    }
                }
            }
            for call in [Call::ListIndexes, Call::ListBuckets] {
                let id = self.call(number, call)?;
                self.await_calls(&[id])?;
                self.must_succeed(id)?;
            }
        }
        Ok(records)
    }

    /// A fresh node joins, the others restart, and the background comes to rest.
    fn rest(&mut self) -> Result<(), String> {
        for number in 0..self.profile.nodes {
            if self.draw.chance(500) {
                self.crash(number);
            }
        }
        if !self.profile.sole {
            self.start(self.profile.nodes);
        }
        self.wait(CALL_MS_MAX, |world| world.all_open())?;
        self.pause(5_000)
    }

    fn must_succeed(&mut self, id: u64) -> Result<(), String> {
        let entry = self.history.entry(id);
        match entry.outcome() {
            Some(Outcome::Failed(error)) => {
                Err(format!("call {id} ({:?}) failed in calm: {error}", entry.call))
            }
            Some(Outcome::Unknown) | None => Err(format!("call {id} is unknown in calm")),
            _ => Ok(()),
        }
    }

    fn all_open(&self) -> bool {
        let crashed = self.nodes[..self.profile.nodes].iter().any(Option::is_none);
        !crashed && self.nodes.iter().flatten().all(|node| node.engine.is_some())
    }

    fn all_idle(&self) -> bool {
        self.clients.iter().all(|client| matches!(client, ClientState::Idle(_)))
    }

    /// Lets time pass until the condition holds, for so long at most.
    fn wait(&mut self, ms_max: u64, until: impl Fn(&Self) -> bool) -> Result<(), String> {
        let end = self.now + ms_max;
        while !until(self) {
            if self.now >= end {
                return Err(format!("nothing came of waiting for {ms_max} ms"));
            }
            self.step(end)?;
        }
        Ok(())
    }

    fn await_calls(&mut self, ids: &[u64]) -> Result<(), String> {
        let ids = ids.to_vec();
        self.wait(CALL_MS_MAX, |world| {
            ids.iter().all(|id| world.history.entries[*id as usize - 1].told.is_some())
        })
        .map_err(|wrong| format!("calls {ids:?}: {wrong}"))
    }

    // ---- time ----

    /// Lets the next thing happen, at `limit` at the latest.
    fn step(&mut self, limit: u64) -> Result<(), String> {
        self.restart_due();
        let mut next = self.objects.next_event().unwrap_or(u64::MAX).min(limit);
        next = next.min(self.now + LOOK_AHEAD_MS);
        for (number, node) in self.nodes.iter().enumerate() {
            next = match node {
                Some(node) if node.is_stalled(self.now) => next.min(node.stalled_until),
                None if self.restarts[number] > self.now => next.min(self.restarts[number]),
                _ => next,
            };
        }
        let next = next.max(self.now);
        for number in 0..self.nodes.len() {
            self.run_node(number, next);
        }
        self.read_mail()?;
        for (number, until) in self.objects.take_ambushed() {
            self.stand_still(number, until);
        }
        // What a node just sent may be due before that.
        let due = self.objects.next_event().unwrap_or(u64::MAX).min(next).max(self.now);
        self.now = due;
        let answered = self.objects.run_to(due);
        for number in answered {
            self.touch(number);
        }
        for number in 0..self.nodes.len() {
            let (lowest, _) = self.objects.horizon(number);
            self.history.settle(number, lowest);
        }
        self.read_mail()
    }

    fn run_node(&mut self, number: usize, until: u64) {
        let now = self.now;
        let Some(node) = &mut self.nodes[number] else { return };
        if node.is_stalled(now) {
            return;
        }
        if node.stalled_until > 0 {
            self.objects.note(format_args!("n{number} goes on"));
            node.stalled_until = 0;
            node.resume(now);
        }
        node.run_to(until);
    }

    /// Runs what is ready on a node that does not stand still.
    fn touch(&mut self, number: usize) {
        let now = self.now;
        if let Some(node) = self.nodes[number]
            .as_mut()
            .filter(|node| node.stalled_until == 0 || !node.is_stalled(now))
        {
            node.run_ready();
        }
    }

    fn read_mail(&mut self) -> Result<(), String> {
        let mut mail = post(&self.mail);
        let (calls, opened) = (std::mem::take(&mut mail.calls), std::mem::take(&mut mail.opened));
        drop(mail);
        for (number, life, engine) in opened {
            self.opened(number, life, engine);
        }
        for (id, told) in calls {
            self.answered(id, told)?;
        }
        match panics::take() {
            Some(panic) => Err(format!("a panic: {panic}")),
            None => Ok(()),
        }
    }

    fn answered(&mut self, id: u64, told: Told) -> Result<(), String> {
        self.objects.note(format_args!("call {id} -> {}", show(&told)));
        if id == 0 {
            self.history.prepared = matches!(told.outcome, Outcome::Done);
            return Ok(());
        }
        let node = self.history.entry(id).node;
        if let Outcome::Failed(Error::Corrupt { path, reason, .. }) = &told.outcome
            && !self.objects.gave_damaged(node, path)
        {
            return Err(format!("call {id}: {path} is said to be corrupt: {reason}"));
        }
        if let (Some(since), Outcome::Done, Some(prefix)) =
            (self.flushes.remove(&id), &told.outcome, &told.prefix)
        {
            let checked = self.check_flush(node, prefix, since);
            checked.map_err(|wrong| format!("call {id}: {wrong}"))?;
        }
        let (_, next) = self.objects.horizon(node);
        self.history.end(id, told, next);
        let think = self.draw.range(1, self.profile.think_ms);
        for client in &mut self.clients {
            if matches!(client, ClientState::Busy(call) if *call == id) {
                *client = ClientState::Idle(self.now + think);
            }
        }
        Ok(())
    }

    /// What a flush has folded that is said to be done stays folded: its manifest is the newest, or
    /// those that followed were derived from it.
    fn check_flush(&self, node: usize, prefix: &str, since: u64) -> Result<(), String> {
        let created = self.objects.manifests_created(node, prefix, since);
        let floors =
            created.into_iter().filter_map(|bytes| Some(Manifest::decode(bytes).ok()?.floor));
        let newest = self.objects.newest_manifest(prefix).map(Manifest::decode);
        match (newest, floors.max()) {
            (Some(Ok(newest)), Some(floor)) if newest.floor < floor => Err(format!(
                "flushed up to slot {floor}, but manifest {} begins at slot {}",
                newest.number, newest.floor
            )),
            (Some(Err(error)), _) => Err(format!("the newest manifest of {prefix}: {error}")),
            _ => Ok(()),
        }
    }

    // ---- nodes ----

    fn node(&mut self, number: usize) -> Result<&mut Node, String> {
        self.nodes[number].as_mut().ok_or_else(|| format!("node {number} is down"))
    }

    fn start(&mut self, number: usize) {
        self.lives[number] += 1;
        let life = self.lives[number];
        self.objects.note(format_args!("n{number} starts life {life}"));
        let node = Node::start(number, life, self.now);
        let (store, options) = self.surroundings(&node);
        let (mail, signal) = (Arc::clone(&self.mail), Arc::clone(&node.signal));
        node.spawn(async move {
            let engine = Engine::open(store, options).await;
            post(&mail).opened.push((number, life, engine));
            signal.raise();
        });
        self.nodes[number] = Some(node);
        self.touch(number);
    }

    fn opened(&mut self, number: usize, life: u64, engine: Result<Engine, Error>) {
        if self.lives[number] != life {
            return;
        }
        match engine {
            Ok(engine) => {
                self.objects.note(format_args!("n{number} is open"));
                if let Some(node) = &mut self.nodes[number] {
                    node.engine = Some(engine);
                }
            }
            // As a process that cannot read its store at the start: it is started again.
            Err(error) => {
                self.objects.note(format_args!("n{number} does not open: {error}"));
                self.crash(number);
            }
        }
    }

    fn crash(&mut self, number: usize) {
        let Some(node) = self.nodes[number].take() else { return };
        self.objects.note(format_args!("n{number} crashes"));
        self.crashes += 1;
        node.kill();
        self.objects.orphan(number, self.profile.sole);
        let (_, next) = self.objects.horizon(number);
        let now = self.now;
        for client in &mut self.clients {
            let ClientState::Busy(id) = *client else { continue };
            if self.history.entry(id).node == number {
                self.history.abandon(id, next);
                *client = ClientState::Idle(now + 1);
            }
        }
        self.restarts[number] = now + self.draw.range(1, 3000);
    }

    fn restart_due(&mut self) {
        for number in 0..self.profile.nodes {
            if self.nodes[number].is_none() && self.restarts[number] <= self.now {
                self.start(number);
            }
        }
    }

    fn stall(&mut self, number: usize) {
        let until = self.now + self.draw.range(50, self.profile.stall_max_ms);
        self.stand_still(number, until);
    }

    fn stand_still(&mut self, number: usize, until: u64) {
        if let Some(node) = &mut self.nodes[number] {
            node.stalled_until = until;
            self.objects.note(format_args!("n{number} stands still until {until}"));
        }
    }

    fn surroundings(&self, node: &Node) -> (Store, Options) {
        let stream = (node.number as u64 + 1) << 32 | node.life;
        let mut ids = Ids::new(self.seed, stream);
        let incarnations = ids.clone();
        let process = match &self.twins {
            Some((process, identity)) if node.number < 2 && node.life == 1 => {
                ids.begin_with(*identity);
                process.clone()
            }
            _ => Process::simulated(self.variant.rules, move || incarnations.id()),
        };
        let client = Client {
            objects: self.objects.clone(),
            node: node.number,
            signal: Arc::clone(&node.signal),
        };
        let store = Store::simulated(Arc::new(client), self.profile.sole, process);
        let clock = SimulatedClock(self.objects.clock());
        let compaction = Compaction {
            fan_in: self.profile.fan_in,
            segments_at_rest: 2,
            segments_max: 5,
            rest_after: Duration::from_secs(2),
            ..Compaction::default()
        };
        let options = Options {
            memtable_bytes_max: self.profile.memtable_bytes_max,
            flush_age: self.profile.flush_age,
            write_delay_max: Duration::from_secs(2),
            idle_after: self.profile.idle_after,
            sweep_grace: SWEEP_GRACE,
            collect_grace: self.profile.collect_grace,
            compaction,
            memory_limit: 64 << 20,
            sabotage: self.variant.sabotage,
            threads: Some(0),
            clock: Arc::new(clock),
            random: Arc::new(ids),
            ..Options::default()
        };
        (store, options)
    }

    // ---- clients ----

    fn next_action(&self) -> u64 {
        let idle = self.clients.iter().filter_map(|client| match client {
            ClientState::Idle(at) => Some(*at),
            ClientState::Busy(_) => None,
        });
        idle.min().unwrap_or(u64::MAX).max(self.now + 1)
    }

    fn clients_act(&mut self) -> Result<(), String> {
        for number in 0..self.clients.len() {
            let ClientState::Idle(at) = self.clients[number] else { continue };
            if at > self.now {
                continue;
            }
            let open: Vec<usize> = (0..self.profile.nodes).filter(|n| self.is_open(*n)).collect();
            if open.is_empty() {
                self.clients[number] = ClientState::Idle(self.now + 50);
                continue;
            }
            let node = self.draw.pick(&open);
            let call = self.draw_call();
            let id = self.call(node, call)?;
            self.clients[number] = ClientState::Busy(id);
        }
        Ok(())
    }

    fn is_open(&self, number: usize) -> bool {
        self.nodes[number].as_ref().is_some_and(|node| node.engine.is_some())
    }

    /// Makes a call on a node that is open.
    fn call(&mut self, number: usize, call: Call) -> Result<u64, String> {
        let id = self.history.begin(number, call.clone());
        if matches!(call, Call::Flush { .. }) {
            self.flushes.insert(id, self.objects.horizon(number).1);
        }
        self.objects.note(format_args!("call {id} on n{number}: {call:?}"));
        let mail = Arc::clone(&self.mail);
        let node = self.node(number)?;
        let engine = node.engine.clone().ok_or_else(|| format!("node {number} is not open"))?;
        let signal = Arc::clone(&node.signal);
        node.spawn(async move {
            let told = calls::perform(engine, id, call).await;
            post(&mail).calls.push((id, told));
            signal.raise();
        });
        self.touch(number);
        Ok(id)
    }

    fn draw_call(&mut self) -> Call {
        let index = self.draw.below(self.profile.indexes);
        match self.draw.weighted(&self.profile.weights) {
            0 => Call::Put { index, keys: self.draw_keys(4) },
            1 => Call::Delete { index, keys: self.draw_keys(3) },
            2 => Call::Get { index, keys: self.draw_keys(6) },
            3 => {
                let target = (0..4).map(|_| self.draw.below(20) as f32).collect();
                let count = self.draw.pick(&[1, 3, 10, 30]);
                Call::Query { index, target, count, wish: self.draw_wish() }
            }
            4 => {
                let (page, parts) = (self.draw.range(1, 8) as usize, self.draw.range(1, 3) as u32);
                Call::List { index, page, parts, wish: self.draw_wish() }
            }
            5 => Call::Flush { index },
            6 => Call::Compact { index },
            7 => match self.draw.below(5) {
                0 | 1 => Call::DropIndex { index },
                2 | 3 => Call::CreateIndex { index },
                _ => Call::ListIndexes,
            },
            _ => match self.draw.below(4) {
                0 => Call::CreateBucket,
                1 => Call::DropBucket,
                2 => Call::ListBuckets,
                _ => Call::TagBucket,
            },
        }
    }

    fn draw_keys(&mut self, max: u64) -> Vec<u64> {
        let count = self.draw.range(1, max.min(self.profile.keys)) as usize;
        let mut keys: Vec<u64> = (0..self.profile.keys).collect();
        for place in 0..count {
            let other = place + self.draw.index(keys.len() - place);
            keys.swap(place, other);
        }
        keys.truncate(count);
        keys
    }

    fn draw_wish(&mut self) -> Wish {
        match self.draw.below(4) {
            0 => Wish::Color(self.draw.below(3)),
            1 => Wish::From(self.draw.below(self.history.entries.len() as u64 + 1)),
            _ => Wish::All,
        }
    }
}

fn post(mail: &MailBox) -> MutexGuard<'_, Mail> {
    mail.lock().unwrap_or_else(PoisonError::into_inner)
}

fn show(told: &Told) -> String {
    match told.creation {
        None => format!("{:?}", told.outcome),
        Some(creation) => format!("(index of {creation}) {:?}", told.outcome),
    }
}

/// Time by the world's clock.
#[derive(Debug)]
struct SimulatedClock(Arc<AtomicU64>);

impl Clock for SimulatedClock {
    fn unix_ms(&self) -> u64 {
        EPOCH_MS + self.0.load(Ordering::Relaxed)
    }
}

/// Ids from the seed.
#[derive(Debug, Clone)]
struct Ids {
    draw: Arc<Mutex<Draw>>,
    /// The next ids, if they are given.
    given: Arc<Mutex<Vec<u128>>>,
}

impl Ids {
    fn new(seed: u64, stream: u64) -> Self {
        Self { draw: Arc::new(Mutex::new(Draw::new(seed, stream))), given: Arc::default() }
    }

    /// Gives an engine its identity as a writer: the second id that it takes. The first is for the
    /// store's label, should it write it.
    fn begin_with(&mut self, identity: u128) {
        self.given = Arc::new(Mutex::new(vec![identity; 2]));
    }
}

impl Random for Ids {
    fn id(&self) -> u128 {
        if let Some(id) = self.given.lock().unwrap_or_else(PoisonError::into_inner).pop() {
            return id;
        }
        let mut draw = self.draw.lock().unwrap_or_else(PoisonError::into_inner);
        u128::from(draw.word()) << 64 | u128::from(draw.word())
    }
}

/// Panics of tasks, which the runtime swallows.
mod panics {
    use std::cell::RefCell;
    use std::sync::Once;

    thread_local! {
        static LAST: RefCell<Option<String>> = const { RefCell::new(None) };
        static WATCHED: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
    }

    static HOOK: Once = Once::new();

    /// From now on panics of this thread's tasks are kept.
    pub(super) fn watch(on: bool) {
        WATCHED.set(on);
        HOOK.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic| {
                if WATCHED.get() {
                    LAST.with(|last| *last.borrow_mut() = Some(panic.to_string()));
                }
                before(panic);
            }));
        });
    }

    pub(super) fn take() -> Option<String> {
        LAST.with(|last| last.borrow_mut().take())
    }
}
