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
    /// How many strong reads by proof, beside whatever the process does.
    pub proofs: u8,
    /// How many times a process may open the log anew, as after a restart.
    pub opens: u8,
    /// A process may create a slot while the one before it is checked.
    pub pipelined: bool,
    /// Known bad: a proof does not wait for the process's own slots that are on their way.
    pub hasty_proofs: bool,
    /// How many requests may be lost, answered wrongly or executed late.
    pub faults: u8,
    /// How many processes may close the log, one after the other or at once.
    pub closes: u8,
    /// How many times a log may be created again where one was closed.
    pub lives: u8,
    /// Leave out orders of steps that cannot differ (see `reduction`).
    pub reduced: bool,
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
        proofs: 0,
        opens: 0,
        pipelined: false,
        hasty_proofs: false,
        faults: 0,
        closes: 0,
        lives: 0,
        reduced: true,
    };
}

/// Worlds that are explored whole in well under a minute each.
pub fn quick() -> Vec<Scenario> {
    let quiet = Scenario::QUIET;
    let pair = || Scenario { batches: vec![1, 1], ..Scenario::QUIET };
    let in_a_row = || Scenario { pipelined: true, flushes: 1, collections: 1, ..Scenario::QUIET };
    let guess = |guess_slots| Rules { guess_slots, ..Rules::SOUND };
    vec![
        Scenario {
            name: "2 writers x 2 batches, 2 folds, collection, any stall",
            batches: vec![2, 2],
            flushes: 2,
            collections: 1,
            ..quiet.clone()
        },
        Scenario {
            name: "2 writers x 2 batches in a row, fold, collection, any stall",
            batches: vec![2, 2],
            ..in_a_row()
        },
        Scenario {
            name: "2 in a row and 1 batch, fold, collection, 1 fault",
            batches: vec![2, 1],
            faults: 1,
            ..in_a_row()
        },
        Scenario {
            name: "2 in a row and 1 batch of one process, fold, collection",
            batches: vec![2, 1],
            one_identity: true,
            ..in_a_row()
        },
        Scenario {
            name: "1 batch each, fold, collection, strong read, 1 fault",
            flushes: 1,
            collections: 1,
            reads: 1,
            faults: 1,
            ..pair()
        },
        Scenario {
            name: "1 batch each, fold, collection, 2 faults",
            flushes: 1,
            collections: 1,
            faults: 2,
            ..pair()
        },
        Scenario {
            name: "2 and 1 batches, 2 folds, collection in any order, strong read",
            batches: vec![2, 1],
            flushes: 2,
            collections: 1,
            reads: 1,
            any_order: true,
            ..quiet.clone()
        },
        Scenario {
            name: "a reader beside a writer of 3 batches, 2 folds, collection, 2 strong reads",
            batches: vec![3, 0],
            flushes: 2,
            collections: 1,
            reads: 2,
            ..quiet.clone()
        },
        Scenario {
            name: "3 batches in a row, a reader, fold, collection, strong read and proof",
            batches: vec![3, 0],
            reads: 1,
            proofs: 1,
            ..in_a_row()
        },
        Scenario {
            name: "2 and 1 batches, 2 folds, collection, opened anew, read slot by slot",
            rules: guess(1),
            batches: vec![2, 1],
            flushes: 2,
            collections: 1,
            opens: 1,
            ..quiet.clone()
        },
        Scenario {
            name: "1 batch each, fold, collection, opened anew, 1 fault",
            flushes: 1,
            collections: 1,
            opens: 1,
            faults: 1,
            ..pair()
        },
        Scenario {
            name: "2 and 1 batches, fold, collection, closed and created again",
            batches: vec![2, 1],
            flushes: 1,
            collections: 1,
            closes: 1,
            lives: 1,
            ..quiet
        },
        Scenario {
            name: "closed twice at once, collection, strong read, 1 fault",
            collections: 1,
            reads: 1,
            faults: 1,
            closes: 2,
            ..pair()
        },
    ]
}

/// Worlds that take minutes and gigabytes.
pub fn full() -> Vec<Scenario> {
    let world = |batches: u8, name| Scenario {
        name,
        batches: vec![batches, batches],
        flushes: 2,
        collections: 1,
        ..Scenario::QUIET
    };
    vec![
        world(3, "2 writers x 3 batches, 2 folds, collection, any stall"),
        Scenario {
            faults: 1,
            ..world(2, "2 writers x 2 batches, 2 folds, collection, any stall, 1 fault")
        },
        Scenario {
            pipelined: true,
            ..world(2, "2 writers x 2 batches in a row, 2 folds, collection, any stall")
        },
        Scenario {
            pipelined: true,
            batches: vec![3, 1],
            ..world(0, "3 batches in a row and 1, 2 folds, collection, any stall")
        },
        Scenario {
            pipelined: true,
            flushes: 1,
            faults: 1,
            ..world(2, "2 writers x 2 batches in a row, fold, collection, 1 fault")
        },
        Scenario {
            pipelined: true,
            batches: vec![2, 1],
            flushes: 1,
            faults: 2,
            ..world(0, "2 in a row and 1 batch, fold, collection, 2 faults")
        },
        Scenario {
            pipelined: true,
            batches: vec![2, 1],
            proofs: 1,
            reads: 1,
            faults: 1,
            flushes: 1,
            ..world(0, "2 in a row and 1 batch, fold, collection, read and proof, 1 fault")
        },
        Scenario {
            opens: 2,
            faults: 1,
            batches: vec![2, 1],
            ..world(0, "2 and 1 batches, 2 folds, collection, opened anew twice, 1 fault")
        },
        Scenario {
            faults: 1,
            reads: 1,
            batches: vec![2, 1],
            ..world(0, "2 and 1 batches, 2 folds, collection, interrupted strong read, 1 fault")
        },
        Scenario {
            pipelined: true,
            batches: vec![2, 1],
            flushes: 1,
            closes: 1,
            lives: 1,
            ..world(0, "2 in a row and 1 batch, fold, collection, closed and created again")
        },
    ]
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
            ..world.clone()
        },
        Scenario {
            name: "an opened log taken for current unchecked",
            rules: Rules { check_opened: false, ..sound },
            batches: vec![1, 1],
            faults: 1,
            opens: 1,
            ..world.clone()
        },
        Scenario {
            name: "a check that covers a slot created after it was sent",
            rules: Rules { check_behind_create: false, ..sound },
            batches: vec![2, 2],
            pipelined: true,
            ..world.clone()
        },
        Scenario {
            name: "a proof that passes over the process's own slots",
            hasty_proofs: true,
            batches: vec![1, 0],
            reads: 1,
            flushes: 0,
            collections: 0,
            ..world
        },
    ]
}
