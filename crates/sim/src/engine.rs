//! The real engine under a seed: nodes, a store that fails, clients, and a model that judges.
//!
//! A run is a function of its seed and its [`Variant`]: which nodes there are, what clients ask
//! when, what goes wrong with which request, who crashes and who stands still. Time is virtual. At
//! the end everything that was answered must be explained by some order of the calls ([`check`]),
//! and what is left in the store must be whole.
//!
//! ```text
//!   clients ── calls ──> nodes (an engine and a runtime each) ── requests ──> objects (the store)
//!      └───────────────── history ──> check                       faults ──────┘
//! ```

mod calls;
mod check;
mod client;
mod draw;
mod history;
mod node;
mod objects;
mod profile;
mod record;
mod trace;
mod world;

use vb_commit::rules::Rules;
use vb_engine::Sabotage;

use world::World;

/// What is run: the protocol as it is, or with one rule taken out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variant {
    /// The commit protocol's rules.
    pub rules: Rules,
    /// What the engine does wrong.
    pub sabotage: Sabotage,
}

impl Variant {
    /// Nothing is wrong.
    pub const SOUND: Self = Self { rules: Rules::SOUND, sabotage: Sabotage::None };
}

/// Variants in which one rule is missing, by name: the simulation must notice each.
pub fn known_bad() -> Vec<(&'static str, Variant)> {
    let sound = Rules::SOUND;
    let rules = |rules| Variant { rules, ..Variant::SOUND };
    let sabotage = |sabotage| Variant { sabotage, ..Variant::SOUND };
    vec![
        ("no-check-after-slot-create", rules(Rules { check_slots: false, ..sound })),
        ("no-read-back", rules(Rules { read_back: false, ..sound })),
        ("newest-by-get", rules(Rules { newest_by_list: false, ..sound })),
        ("no-check-after-manifest-create", rules(Rules { check_manifests: false, ..sound })),
        ("collection-from-memory", rules(Rules { collect_fresh: false, ..sound })),
        ("covered-by-a-higher-batch", rules(Rules { folded_exactly: false, ..sound })),
        ("flush-without-floor-check", rules(Rules { check_floor: false, ..sound })),
        ("overlay-not-resolved", sabotage(Sabotage::OverlayNotResolved)),
        ("compaction-drops-bitmap", sabotage(Sabotage::CompactionDropsBitmap)),
        ("flush-drops-bitmap", sabotage(Sabotage::FlushDropsBitmap)),
    ]
}

/// What a run came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// A digest of all events: equal for equal seeds and variants.
    pub digest: u64,
    /// Events.
    pub events: u64,
    /// Calls of clients.
    pub calls: u64,
    /// Requests to the store, and how many of them went wrong on purpose.
    pub requests: u64,
    /// See `requests`.
    pub faults: u64,
    /// Crashes of a node.
    pub crashes: u64,
    /// Virtual milliseconds.
    pub lasted_ms: u64,
    /// What cannot be.
    pub violation: Option<String>,
}

/// Runs a seed. `prints` every event, for a replay.
pub fn run(seed: u64, variant: Variant, prints: bool) -> Report {
    World::new(seed, variant, prints).run()
}
