//! What background work an open index needs: a pure function of a few facts.

use std::time::Duration;

use crate::options::Options;

/// A memtable of this many log slots is flushed: each is one object to read at the next start.
const SLOTS_MAX: usize = 4096;
/// Age alone flushes a memtable only from this share of its full size on: smaller ones replay in no
/// time, and every flush makes one more segment to search.
const AGED_SHARE: usize = 64;

/// What is known about an open index.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct IndexFacts {
    /// Bytes in the memtable that takes writes.
    pub(crate) active_bytes: usize,
    /// Slots since the last freeze.
    pub(crate) slots: usize,
    /// Age of the oldest of them.
    pub(crate) age: Duration,
    /// Records are set aside: their flush is under way or failed.
    pub(crate) frozen: bool,
    /// A flush is being carried out, or a failed one waits before it is tried again.
    pub(crate) resting: bool,
    /// Time since the last use.
    pub(crate) idle: Duration,
}

/// What to do with an index now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Nothing,
    Flush,
    Close,
}

/// Decides. Flushing goes before closing; an idle index is closed with its records in the log.
pub(crate) fn plan(facts: &IndexFacts, options: &Options) -> Step {
    let full = facts.active_bytes >= options.memtable_bytes_max;
    let aged = facts.age >= options.flush_age
        && facts.active_bytes >= options.memtable_bytes_max / AGED_SHARE;
    let due = facts.frozen || full || aged || facts.slots >= SLOTS_MAX;
    if due && !facts.resting {
        return Step::Flush;
    }
    if facts.idle >= options.idle_after && !due { Step::Close } else { Step::Nothing }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(facts: IndexFacts, expected: Step) {
        let options = Options {
            memtable_bytes_max: 6400,
            flush_age: Duration::from_secs(10),
            idle_after: Duration::from_secs(100),
            ..Options::default()
        };
        assert_eq!(plan(&facts, &options), expected, "{facts:?}");
    }

    #[test]
    fn size_age_and_slots_flush_and_idleness_closes() {
        let old = Duration::from_secs(10);
        let idle = Duration::from_secs(100);
        let facts = IndexFacts::default();
        check(facts, Step::Nothing);
        check(IndexFacts { active_bytes: 6400, ..facts }, Step::Flush);
        check(IndexFacts { active_bytes: 6399, ..facts }, Step::Nothing);
        check(IndexFacts { active_bytes: 100, age: old, ..facts }, Step::Flush);
        check(IndexFacts { active_bytes: 99, age: old, ..facts }, Step::Nothing);
        check(IndexFacts { slots: SLOTS_MAX, ..facts }, Step::Flush);
        check(IndexFacts { frozen: true, ..facts }, Step::Flush);
        check(IndexFacts { frozen: true, resting: true, idle, ..facts }, Step::Nothing);
        check(IndexFacts { active_bytes: 6400, idle, ..facts }, Step::Flush);
        check(IndexFacts { active_bytes: 99, idle, ..facts }, Step::Close);
    }
}
