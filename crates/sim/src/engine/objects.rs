//! The simulated object store: linearizable, strongly consistent, and as unreliable as it is told.
//!
//! A request lives here and not in the process that sent it: it is executed at its time also when
//! the sender has given up, is stalled, or is dead. Creates are refused if the name is taken; lists
//! and reads show every write executed before them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use object_store::path::Path;
use object_store::{Error, ListResult, ObjectMeta};
use tokio::sync::oneshot;

use super::draw::Draw;
use super::profile::{Ambush, DEADLINE_MS, Faults, LATE_MAX_MS};
use super::trace::Trace;

/// Milliseconds since 1970 at the beginning of every run.
pub(super) const EPOCH_MS: u64 = 1_800_000_000_000;

/// What a request asks for.
#[derive(Debug, Clone)]
pub(super) enum Ask {
    Put {
        path: String,
        bytes: Bytes,
        create: bool,
    },
    Get {
        path: String,
        range: Wanted,
    },
    List {
        prefix: Option<String>,
        after: Option<String>,
    },
    Level {
        prefix: Option<String>,
    },
    Delete {
        path: String,
    },
    /// A part of an upload: kept by the client, visible to nobody.
    Part {
        path: String,
    },
}

/// Which bytes of an object.
#[derive(Debug, Clone)]
pub(super) enum Wanted {
    All,
    Nothing,
    Range(std::ops::Range<u64>),
    From(u64),
    Last(u64),
}

/// What a request is answered.
#[derive(Debug)]
pub(super) enum Answer {
    Done,
    Got { meta: ObjectMeta, range: std::ops::Range<u64>, bytes: Bytes },
    Listed(Vec<ObjectMeta>),
    Level(ListResult),
}

type Replied = object_store::Result<Answer>;

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Sound,
    Before,
    After,
    Late,
    Hang,
    Echo,
    Conflict,
    Torn,
    Flipped,
}

/// A request under way.
#[derive(Debug)]
struct Flight {
    node: usize,
    ask: Ask,
    fate: Fate,
    reply: Option<oneshot::Sender<Replied>>,
    replied: Option<Replied>,
}

#[derive(Debug)]
struct Object {
    bytes: Bytes,
    modified_ms: u64,
}

/// A request's next event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Execute,
    Reply,
}

/// The store and everything that is under way to it. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Objects {
    state: Arc<Mutex<State>>,
    now: Arc<AtomicU64>,
}

#[derive(Debug)]
struct State {
    objects: BTreeMap<String, Object>,
    flights: BTreeMap<u64, Flight>,
    queue: BTreeSet<(u64, Due, u64)>,
    next: u64,
    draw: Draw,
    latency_ms: u64,
    focus: &'static str,
    faults: Faults,
    ambush: Ambush,
    /// Manifests as they were created, by node and number of the request.
    manifests: BTreeMap<(usize, u64), (String, Bytes)>,
    /// Nodes that stand still from now on, and until when.
    ambushed: Vec<(usize, u64)>,
    trace: Trace,
    /// Per node: requests under way, by number.
    under_way: Vec<BTreeSet<u64>>,
    /// Objects whose bytes a node was given damaged, per node.
    damaged: Vec<BTreeSet<String>>,
    requests: u64,
    injected: u64,
}

impl Objects {
    pub(super) fn new(draw: Draw, nodes: usize, latency_ms: u64, trace: Trace) -> Self {
        let state = State {
            objects: BTreeMap::new(),
            flights: BTreeMap::new(),
            queue: BTreeSet::new(),
            next: 1,
            draw,
            latency_ms,
            focus: "",
            faults: Faults::default(),
            ambush: Ambush::default(),
            manifests: BTreeMap::new(),
            ambushed: Vec::new(),
            trace,
            under_way: vec![BTreeSet::new(); nodes],
            damaged: vec![BTreeSet::new(); nodes],
            requests: 0,
            injected: 0,
        };
        Self { state: Arc::new(Mutex::new(state)), now: Arc::default() }
    }

    /// The world's time, milliseconds since the run began.
    pub(super) fn now(&self) -> u64 {
        self.now.load(Ordering::Relaxed)
    }

    /// The world's time for clocks that outlive this borrow.
    pub(super) fn clock(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.now)
    }

    pub(super) fn note(&self, event: std::fmt::Arguments<'_>) {
        let now = self.now();
        self.lock().trace.note(now, event);
    }

    pub(super) fn digest(&self) -> (u64, u64) {
        self.lock().trace.digest()
    }

    /// Requests so far, and how many of them went wrong.
    pub(super) fn counts(&self) -> (u64, u64) {
        let state = self.lock();
        (state.requests, state.injected)
    }

    pub(super) fn set_faults(&self, faults: Faults, focus: &'static str, ambush: Ambush) {
        let mut state = self.lock();
        (state.faults, state.focus, state.ambush) = (faults, focus, ambush);
    }

    /// Nodes that were ambushed since the last call, and until when they stand still.
    pub(super) fn take_ambushed(&self) -> Vec<(usize, u64)> {
        std::mem::take(&mut self.lock().ambushed)
    }

    /// Sends a request at `at`; the answer comes through the channel, or never.
    pub(super) fn send(&self, node: usize, at: u64, ask: Ask) -> oneshot::Receiver<Replied> {
        self.lock().send(node, at.max(self.now()), ask)
    }

    /// When something happens next.
    pub(super) fn next_event(&self) -> Option<u64> {
        self.lock().queue.first().map(|(at, ..)| *at)
    }

    /// Lets everything happen that is due at `now`; returns the nodes that were answered.
    pub(super) fn run_to(&self, now: u64) -> BTreeSet<usize> {
        self.now.store(now, Ordering::Relaxed);
        let mut state = self.lock();
        let mut answered = BTreeSet::new();
        while let Some(&(at, due, id)) = state.queue.first().filter(|(at, ..)| *at <= now) {
            state.queue.pop_first();
            match due {
                Due::Execute => state.execute(at, id),
                Due::Reply => answered.extend(state.answer(id)),
            }
        }
        answered
    }

    /// A process is gone: its requests are answered to nobody. Some were not on their way yet;
    /// those of a process that alone writes its folder were executed or are not executed any more.
    pub(super) fn orphan(&self, node: usize, sole: bool) {
        let now = self.now();
        let mut state = self.lock();
        let ids: Vec<u64> = state.under_way[node].iter().copied().collect();
        for id in ids {
            let lost = state.draw.chance(500);
            let flight = state.flights.get_mut(&id).expect("it is under way");
            flight.reply = None;
            let executed = flight.replied.is_some();
            if sole && !executed && !lost {
                state.execute(now, id);
            }
            if sole || (lost && !executed) {
                state.forget(id);
            }
        }
    }

    /// The lowest request of the node that is still under way, and the number that the next one gets.
    pub(super) fn horizon(&self, node: usize) -> (Option<u64>, u64) {
        let state = self.lock();
        (state.under_way[node].first().copied(), state.next)
    }

    /// The manifests of a log that a node has created with requests from this number on.
    pub(super) fn manifests_created(&self, node: usize, prefix: &str, since: u64) -> Vec<Bytes> {
        let state = self.lock();
        let of_log = |path: &str| path.strip_prefix(prefix).is_some_and(|p| p.starts_with('/'));
        let created = state.manifests.range((node, since)..(node + 1, 0));
        created.filter(|(_, (path, _))| of_log(path)).map(|(_, (_, bytes))| bytes.clone()).collect()
    }

    /// The newest manifest of a log, as it lies there.
    pub(super) fn newest_manifest(&self, prefix: &str) -> Option<Bytes> {
        let state = self.lock();
        let folder = format!("{prefix}/manifest/");
        let (path, object) = state.objects.range(..format!("{folder}~")).next_back()?;
        path.starts_with(&folder).then(|| object.bytes.clone())
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.lock().flights.is_empty()
    }

    /// Whether the node was ever given damaged bytes of the object.
    pub(super) fn gave_damaged(&self, node: usize, path: &str) -> bool {
        let state = self.lock();
        state.damaged[node].iter().any(|damaged| path.contains(damaged.as_str()))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn send(&mut self, node: usize, at: u64, ask: Ask) -> oneshot::Receiver<Replied> {
        let (reply, receiver) = oneshot::channel();
        let id = self.next;
        self.next += 1;
        self.requests += 1;
        let fate = self.fate(&ask);
        self.injected += u64::from(fate != Fate::Sound);
        self.trace.note(at, format_args!("n{node} #{id} {} {fate:?}", show(&ask)));
        let mut execute_at = at + self.draw.range(1, self.latency_ms);
        if fate == Fate::Sound && self.is_ambushed(&ask) {
            let until = at + self.draw.range(1000, self.ambush.max_ms);
            execute_at = self.draw.range(execute_at, until.max(execute_at));
            self.ambushed.push((node, until));
        }
        let flight = Flight { node, ask, fate, reply: Some(reply), replied: None };
        self.under_way[node].insert(id);
        self.flights.insert(id, flight);
        match fate {
            Fate::Hang => self.queue.insert((at + 2 * DEADLINE_MS, Due::Reply, id)),
            Fate::Late => {
                let late = self.draw.range(DEADLINE_MS / 4, LATE_MAX_MS - DEADLINE_MS);
                self.queue.insert((at + late, Due::Execute, id))
            }
            _ => self.queue.insert((execute_at, Due::Execute, id)),
        };
        receiver
    }

    fn is_ambushed(&mut self, ask: &Ask) -> bool {
        let Ambush { path: part, permille, .. } = self.ambush;
        let meant = matches!(ask, Ask::Put { path, create: true, .. } if path.contains(part));
        permille > 0 && meant && self.draw.chance(permille)
    }

    fn fate(&mut self, ask: &Ask) -> Fate {
        let faults = self.faults;
        let path = match ask {
            Ask::Put { path, .. } | Ask::Get { path, .. } | Ask::Delete { path } => path.as_str(),
            Ask::Part { path } => path.as_str(),
            Ask::List { prefix, .. } | Ask::Level { prefix } => prefix.as_deref().unwrap_or(""),
        };
        // A list's prefix has no slash at its end.
        if !self.focus.is_empty() && !format!("{path}/").contains(self.focus) {
            return Fate::Sound;
        }
        let (create, read) = match ask {
            Ask::Put { create, .. } => (*create, false),
            Ask::Get { .. } => (false, true),
            _ => (false, false),
        };
        let only = |kind: bool, permille: u64| if kind { permille } else { 0 };
        let kinds = [
            (Fate::Before, faults.before),
            (Fate::After, faults.after),
            (Fate::Late, faults.late),
            (Fate::Hang, faults.hang),
            (Fate::Echo, only(create, faults.echo)),
            (Fate::Conflict, only(create, faults.conflict)),
            (Fate::Torn, only(read, faults.torn)),
            (Fate::Flipped, only(read, faults.flipped)),
        ];
        let mut drawn = self.draw.below(1000);
        for (fate, permille) in kinds {
            match drawn.checked_sub(permille) {
                Some(rest) => drawn = rest,
                None => return fate,
            }
        }
        Fate::Sound
    }

    fn execute(&mut self, at: u64, id: u64) {
        let Some(flight) = self.flights.get(&id) else { return };
        let (node, ask, fate) = (flight.node, flight.ask.clone(), flight.fate);
        let skipped = matches!(fate, Fate::Before | Fate::Conflict | Fate::Hang);
        let done = if skipped { Ok(Answer::Done) } else { self.apply(at, &ask) };
        if let (Ask::Put { path, bytes, create: true }, Ok(_), false) = (&ask, &done, skipped)
            && path.contains("/manifest/")
        {
            self.manifests.insert((node, id), (path.clone(), bytes.clone()));
        }
        let replied = match fate {
            Fate::Sound | Fate::Late | Fate::Hang => done,
            Fate::Before | Fate::After => Err(unavailable("503 Slow Down")),
            Fate::Echo => done.and(Err(taken(&ask, "a repetition met its own object"))),
            Fate::Conflict => Err(conflict(&ask, self.draw.chance(500))),
            Fate::Torn | Fate::Flipped => done.map(|answer| self.damage(node, fate, answer)),
        };
        self.trace.note(at, format_args!("n{node} #{id} -> {}", show_reply(&replied)));
        let latency = self.draw.range(1, self.latency_ms);
        let flight = self.flights.get_mut(&id).expect("it was there above");
        flight.replied = Some(replied);
        self.queue.insert((at + latency, Due::Reply, id));
    }

    /// Hands the reply over; returns the node if it is still waiting for it.
    fn answer(&mut self, id: u64) -> Option<usize> {
        let flight = self.forget(id)?;
        let (reply, replied) = (flight.reply?, flight.replied?);
        // Who has given up does not mind.
        reply.send(replied).ok().map(|()| flight.node)
    }

    fn forget(&mut self, id: u64) -> Option<Flight> {
        let flight = self.flights.remove(&id)?;
        self.under_way[flight.node].remove(&id);
        Some(flight)
    }

    fn apply(&mut self, at: u64, ask: &Ask) -> Replied {
        match ask {
            Ask::Put { path, create: true, .. } if self.objects.contains_key(path) => {
                Err(taken(ask, "the object exists"))
            }
            Ask::Put { path, bytes, .. } => {
                let object = Object { bytes: bytes.clone(), modified_ms: EPOCH_MS + at };
                self.objects.insert(path.clone(), object);
                Ok(Answer::Done)
            }
            Ask::Get { path, range } => self.get(path, range),
            Ask::List { prefix, after } => {
                Ok(Answer::Listed(self.list(prefix.as_deref(), after.as_deref())))
            }
            Ask::Level { prefix } => Ok(Answer::Level(self.level(prefix.as_deref()))),
            Ask::Delete { path } => match self.objects.remove(path) {
                Some(_) => Ok(Answer::Done),
                None => Err(missing(path)),
            },
            Ask::Part { .. } => Ok(Answer::Done),
        }
    }

    fn get(&self, path: &str, wanted: &Wanted) -> Replied {
        let object = self.objects.get(path).ok_or_else(|| missing(path))?;
        let length = object.bytes.len() as u64;
        let range = match wanted {
            Wanted::All => 0..length,
            Wanted::Nothing => 0..0,
            Wanted::Range(range) => range.start.min(length)..range.end.min(length),
            Wanted::From(start) => (*start).min(length)..length,
            Wanted::Last(count) => length.saturating_sub(*count)..length,
        };
        let bytes = object.bytes.slice(range.start as usize..range.end as usize);
        Ok(Answer::Got { meta: meta(path, object), range, bytes })
    }

    fn list(&self, prefix: Option<&str>, after: Option<&str>) -> Vec<ObjectMeta> {
        let folder = prefix.map_or_else(String::new, |prefix| format!("{prefix}/"));
        let listed = self.objects.range(folder.clone()..);
        let inside = listed.take_while(|(path, _)| path.starts_with(&folder));
        let behind = inside.filter(|(path, _)| after.is_none_or(|after| path.as_str() > after));
        behind.map(|(path, object)| meta(path, object)).collect()
    }

    fn level(&self, prefix: Option<&str>) -> ListResult {
        let depth = prefix.map_or(0, |prefix| prefix.len() + 1);
        let mut level = ListResult {
            common_prefixes: Vec::new(),
            objects: Vec::new(),
            extensions: Default::default(),
        };
        for object in self.list(prefix, None) {
            let path = object.location.as_ref();
            match path[depth..].find('/') {
                None => level.objects.push(object),
                Some(end) => {
                    let folder = Path::from(&path[..depth + end]);
                    if level.common_prefixes.last() != Some(&folder) {
                        level.common_prefixes.push(folder);
                    }
                }
            }
        }
        level
    }

    fn damage(&mut self, node: usize, fate: Fate, answer: Answer) -> Answer {
        let Answer::Got { meta, range, bytes } = answer else { return answer };
        if bytes.is_empty() {
            return Answer::Got { meta, range, bytes };
        }
        self.damaged[node].insert(meta.location.to_string());
        let place = self.draw.index(bytes.len());
        let bytes = match fate {
            Fate::Torn => bytes.slice(..place),
            _ => {
                let mut bytes = bytes.to_vec();
                bytes[place] ^= 1 << self.draw.below(8);
                bytes.into()
            }
        };
        Answer::Got { meta, range, bytes }
    }
}

fn meta(path: &str, object: &Object) -> ObjectMeta {
    ObjectMeta {
        location: Path::from(path),
        last_modified: (UNIX_EPOCH + Duration::from_millis(object.modified_ms)).into(),
        size: object.bytes.len() as u64,
        e_tag: None,
        version: None,
    }
}

/// An error that leaves open whether the request was executed.
pub(super) fn unavailable(what: &'static str) -> Error {
    Error::Generic { store: "simulated", source: what.into() }
}

fn missing(path: &str) -> Error {
    Error::NotFound { path: path.to_owned(), source: "no such object".into() }
}

fn taken(ask: &Ask, why: &'static str) -> Error {
    Error::AlreadyExists { path: show(ask), source: why.into() }
}

fn conflict(ask: &Ask, precondition: bool) -> Error {
    match precondition {
        true => Error::Precondition { path: show(ask), source: "412".into() },
        false => taken(ask, "409"),
    }
}

fn show(ask: &Ask) -> String {
    match ask {
        Ask::Put { path, bytes, create } => {
            format!("{} {path} ({})", if *create { "create" } else { "put" }, bytes.len())
        }
        Ask::Get { path, range } => format!("get {path} {range:?}"),
        Ask::List { prefix, after } => format!("list {prefix:?} after {after:?}"),
        Ask::Level { prefix } => format!("level {prefix:?}"),
        Ask::Delete { path } => format!("delete {path}"),
        Ask::Part { path } => format!("part of {path}"),
    }
}

fn show_reply(replied: &Replied) -> String {
    match replied {
        Ok(Answer::Done) => "done".to_owned(),
        Ok(Answer::Got { bytes, .. }) => format!("{} bytes", bytes.len()),
        Ok(Answer::Listed(listed)) => format!("{} listed", listed.len()),
        Ok(Answer::Level(level)) => format!("{} folders", level.common_prefixes.len()),
        Err(error) => match error {
            Error::NotFound { .. } => "not found".to_owned(),
            Error::AlreadyExists { .. } | Error::Precondition { .. } => "exists".to_owned(),
            _ => "unavailable".to_owned(),
        },
    }
}
