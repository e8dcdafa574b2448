//! Bounded worlds: who takes part, and how much of everything may happen.

use vb_commit::rules::Rules;

/// A bounded world.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scenario {
    /// For the reader of results.
    pub name: &'static str,
    /// The rules that all processes keep.
    pub rules: Rules,
    /// Batches that each process has to commit, one after the other.
    pub batches: Vec<u8>,
    /// All processes are logs of one process: one writer id, one series of batch numbers.
    pub one_identity: bool,
    /// How many flushes may begin, in any process.
    pub flushes: u8,
    /// How many collections may begin.
    pub collections: u8,
    /// A collection deletes in any order, not slots and then manifests by number.
    pub any_order: bool,
    /// How many strong reads may begin, in any process.
    pub reads: u8,
    /// How many requests may be lost, answered wrongly or executed late.
    pub faults: u8,
    /// How many processes may close the log, one after the other or at once.
    pub closes: u8,
    /// How many times a log may be created again where one was closed.
    pub lives: u8,
}

impl Scenario {
    /// Two processes under the sound rules; the rest is to be filled in.
    pub const QUIET: Self = Self {
        name: "quiet",
        rules: Rules::SOUND,
        batches: Vec::new(),
        one_identity: false,
        flushes: 0,
        collections: 0,
        any_order: false,
        reads: 0,
        faults: 0,
        closes: 0,
        lives: 0,
    };
}

/// Every known-bad variant of the protocol that shows without segments, each in a world that is
/// large enough to show it. Under the sound rules the same worlds are fine.
pub fn known_bad() -> Vec<Scenario> {
    let sound = Rules::SOUND;
    let world = Scenario { batches: vec![2, 1], flushes: 1, collections: 1, ..Scenario::QUIET };
    let larger = Scenario { batches: vec![2, 1], flushes: 2, collections: 1, ..Scenario::QUIET };
    vec![
        Scenario {
            name: "no check after slot create",
            rules: Rules { check_slots: false, ..sound },
            ..world.clone()
        },
        Scenario {
            name: "no read-back",
            rules: Rules { read_back: false, ..sound },
            batches: vec![1, 0],
            faults: 1,
            flushes: 0,
            collections: 0,
            ..world.clone()
        },
        Scenario {
            name: "newest by GET of n + 1",
            rules: Rules { newest_by_list: false, ..sound },
            batches: vec![3, 1],
            ..larger.clone()
        },
        Scenario {
            name: "no check after manifest create",
            rules: Rules { check_manifests: false, ..sound },
            flushes: 3,
            ..larger.clone()
        },
        Scenario {
            name: "collection from memory",
            rules: Rules { collect_fresh: false, ..sound },
            ..world.clone()
        },
        Scenario {
            name: "a batch covered by a higher folded batch number",
            rules: Rules { folded_exactly: false, ..sound },
            one_identity: true,
            ..world.clone()
        },
        Scenario {
            name: "flush without the floor check",
            rules: Rules { check_floor: false, ..sound },
            batches: vec![1, 1],
            flushes: 2,
            collections: 0,
            ..world
        },
    ]
}
