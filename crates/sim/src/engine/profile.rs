//! What kind of run a seed is: how many nodes, how the store behaves, how the engine is set.

use std::time::Duration;

use super::draw::Draw;

/// How often requests go wrong, of 1000 each.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Faults {
    /// Not executed; answered "unavailable".
    pub(super) before: u64,
    /// Executed; answered "unavailable".
    pub(super) after: u64,
    /// Executed so late that the sender has given up.
    pub(super) late: u64,
    /// Never executed, never answered.
    pub(super) hang: u64,
    /// A create is executed and answered "exists", as a client's own repetition is.
    pub(super) echo: u64,
    /// A create is not executed and answered 409 or 412.
    pub(super) conflict: u64,
    /// A read's bytes end early.
    pub(super) torn: u64,
    /// A byte of a read is another.
    pub(super) flipped: u64,
}

/// Stalls at the worst moment: a node stands still just when it has sent a create, and the request
/// is executed at any time until it goes on.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Ambush {
    /// Of creates whose path holds this.
    pub(super) path: &'static str,
    /// So many of 1000 of them.
    pub(super) permille: u64,
    /// For up to so long.
    pub(super) max_ms: u64,
}

/// A seed's world.
#[derive(Debug, Clone)]
pub(super) struct Profile {
    pub(super) nodes: usize,
    /// The one node is the store's only writer, as on a local folder.
    pub(super) sole: bool,
    pub(super) clients: usize,
    pub(super) keys: u64,
    pub(super) indexes: u64,
    /// Chaos and calm alternate so often.
    pub(super) rounds: u64,
    /// How long chaos lasts, milliseconds.
    pub(super) chaos_ms: u64,
    /// A client's pause between two calls is below this, milliseconds.
    pub(super) think_ms: u64,
    /// A request takes 1 to so many milliseconds each way.
    pub(super) latency_ms: u64,
    /// Only requests whose path holds this go wrong.
    pub(super) focus: &'static str,
    pub(super) faults: Faults,
    /// Mean time between two crashes, and between two stalls of a node; 0: none.
    pub(super) crash_ms: u64,
    pub(super) stall_ms: u64,
    /// A stall is up to so long.
    pub(super) stall_max_ms: u64,
    pub(super) ambush: Ambush,
    /// Calm begins with so long without a call: long enough for collections, at times.
    pub(super) pause_ms: u64,
    /// The first two nodes are one process that has every log open twice.
    pub(super) twins: bool,
    /// Weights of the calls, in the order of `Call`.
    pub(super) weights: [u64; 9],
    pub(super) memtable_bytes_max: usize,
    pub(super) flush_age: Duration,
    pub(super) idle_after: Duration,
    pub(super) collect_grace: Duration,
    pub(super) fan_in: usize,
}

/// How long a request waits for its answer.
pub(super) const DEADLINE_MS: u64 = 4000;
/// An index that was dropped is swept for the last time after this, by when no request is late.
pub(super) const SWEEP_GRACE: Duration = Duration::from_secs(300);
/// No request is executed later than this after it was sent.
pub(super) const LATE_MAX_MS: u64 = 60_000;

impl Profile {
    pub(super) fn draw(draw: &mut Draw) -> Self {
        let sole = draw.chance(150);
        let nodes = if sole { 1 } else { draw.weighted(&[0, 1, 5, 3]) };
        let mut profile = Self {
            nodes,
            sole,
            clients: draw.range(2, 6) as usize,
            keys: draw.pick(&[3, 6, 12, 20]),
            indexes: draw.pick(&[1, 1, 2]),
            rounds: 2,
            chaos_ms: draw.range(6, 20) * 1000,
            think_ms: draw.pick(&[50, 200, 600]),
            latency_ms: draw.pick(&[2, 10, 40, 150]),
            focus: draw.pick(&["", "", "", "/log/", "/manifest/", "/segment/", "index/"]),
            faults: Faults::default(),
            crash_ms: draw.pick(&[0, 4000, 10_000]),
            stall_ms: if sole { 0 } else { draw.pick(&[0, 1500, 4000]) },
            stall_max_ms: draw.pick(&[500, 3000, 20_000]),
            ambush: Ambush::default(),
            pause_ms: draw.pick(&[0, 0, 12_000, 30_000]),
            twins: false,
            weights: [30, 12, 16, 14, 6, 8, 3, 0, 0],
            memtable_bytes_max: draw.pick(&[300, 1000, 4000]),
            flush_age: Duration::from_millis(draw.pick(&[300, 1500, 60_000])),
            idle_after: Duration::from_millis(draw.pick(&[1000, 4000, 60_000])),
            collect_grace: Duration::from_millis(draw.pick(&[0, 1000, 5000, 20_000])),
            fan_in: draw.pick(&[2, 3, 4]),
        };
        if draw.chance(350) {
            (profile.weights[7], profile.weights[8]) = (draw.range(1, 5), draw.range(0, 2));
        }
        profile.faults = faults(draw, sole);
        if nodes > 1 && draw.chance(400) {
            profile.ambush(draw);
        }
        profile
    }

    /// What it takes that a number is folded and collected while somebody is about to create it: long
    /// stalls, small memtables, little grace, and nodes that go on meanwhile.
    fn ambush(&mut self, draw: &mut Draw) {
        let path = draw.pick(&["/manifest/", "/log/"]);
        self.ambush = Ambush { path, permille: draw.pick(&[20, 60, 150]), max_ms: 25_000 };
        self.chaos_ms = draw.range(15, 40) * 1000;
        self.think_ms = draw.pick(&[200, 600, 1500]);
        self.memtable_bytes_max = draw.pick(&[300, 1000]);
        self.collect_grace = Duration::from_millis(draw.pick(&[0, 0, 1000]));
        self.twins = draw.chance(500);
        if draw.chance(400) {
            // Manifests follow each other by merges, beside which the floor stays.
            self.memtable_bytes_max = 4000;
            self.flush_age = Duration::from_secs(60);
            (self.weights[5], self.weights[6]) = (20, 12);
        }
    }
}

/// A quarter of the seeds have no faults but crashes and stalls; the others some kinds of them.
fn faults(draw: &mut Draw, sole: bool) -> Faults {
    let mut faults = Faults::default();
    if draw.chance(250) {
        return faults;
    }
    let heavy = draw.pick(&[10, 40, 120]);
    let kind = |draw: &mut Draw| if draw.chance(400) { draw.range(1, heavy) } else { 0 };
    faults.before = kind(draw);
    faults.after = kind(draw);
    faults.torn = kind(draw) / 8;
    faults.flipped = kind(draw) / 8;
    // A folder that nobody else writes to executes nothing behind its writer's back.
    if !sole {
        faults.late = kind(draw);
        faults.hang = kind(draw) / 2;
        faults.echo = kind(draw);
        faults.conflict = kind(draw);
    }
    faults
}
