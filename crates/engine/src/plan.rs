//! What background work an open index needs: pure functions of a few facts.
//!
//! [`plan`] says what to do with an index now, [`choose`] which of its segments become one. The
//! arithmetic behind the rules is in `docs/design/compaction.md`; the simulation in `tests.rs` holds
//! them to their bounds over many workloads.

#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::options::Compaction;

/// A memtable of this many log slots is flushed: each is one object to read at the next start.
const SLOTS_FLUSHED: usize = 4096;
/// This many unfolded slots hold writers up.
pub(crate) const SLOTS_MAX: usize = 4 * SLOTS_FLUSHED;
/// Age alone flushes a memtable only from this share of its full size on: smaller ones replay in no
/// time, and every flush makes one more segment to search.
const AGED_SHARE: usize = 64;
/// What an index at rest may keep in its log: this many bytes, or this share of its live ones.
const REST_TAIL_BYTES: usize = 256 << 10;
const REST_TAIL_SHARE: u64 = 16;
/// At rest the largest segment of a merge is at most two thirds of it: so every rewriting of a record makes its segment
/// half as large again, and queries, each of which goes through every segment, find few.
const REST_SHARES: (u64, u64) = (3, 2);
/// Of so few bytes it is at most seven eighths: rewriting them takes seconds, and one segment is searched in two thirds of the
/// time that two take.
const REST_SMALL_BYTES: u64 = 512 << 20;
const REST_SMALL_SHARES: (u64, u64) = (8, 7);
/// Deleted bytes that are not worth a rewrite, whatever their share.
const REST_DELETED_BYTES: u64 = 256 << 10;

/// Bounds that `plan` and `choose` keep.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// A memtable of this many bytes is full.
    pub(crate) memtable_bytes_max: usize,
    pub(crate) flush_age: Duration,
    pub(crate) idle_after: Duration,
    pub(crate) compaction: Compaction,
    /// Documents of a segment at most, about: a merge holds their keys in memory.
    pub(crate) docs_max: u64,
}

/// What is known about an open index.
#[derive(Clone, Debug, Default)]
pub(crate) struct IndexFacts {
    /// Bytes in the memtable that takes writes.
    pub(crate) active_bytes: usize,
    /// Slots since the last freeze.
    pub(crate) slots: usize,
    /// Age of the oldest of them.
    pub(crate) age: Duration,
    /// Memtables of all indexes take too much together, and this one's is the largest.
    pub(crate) crowded: bool,
    /// Records are set aside: their flush is under way or failed.
    pub(crate) frozen: bool,
    /// A flush is being carried out, or a failed one waits before it is tried again.
    pub(crate) flush_rests: bool,
    /// The same of a merge.
    pub(crate) merge_rests: bool,
    /// A merge is being carried out.
    pub(crate) merging: bool,
    /// Time since the last write.
    pub(crate) unwritten: Duration,
    /// Time since the last use.
    pub(crate) idle: Duration,
    pub(crate) segments: Vec<SegmentFacts>,
}

/// What is known about a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SegmentFacts {
    pub(crate) name: u128,
    /// Bytes of the object.
    pub(crate) bytes: u64,
    /// Documents, deleted ones too.
    pub(crate) docs: u64,
    /// Documents that a rewrite leaves out: their deletion is in the manifest.
    pub(crate) deleted: u64,
    /// Further ones that are deleted, but only by slots: they go after the next flush.
    pub(crate) unfolded: u64,
}

impl SegmentFacts {
    fn live(&self) -> u64 {
        self.docs.saturating_sub(self.deleted)
    }

    /// Bytes that a rewrite would keep, about.
    fn live_bytes(&self) -> u64 {
        let share = u128::from(self.bytes) * u128::from(self.live());
        u64::try_from(share / u128::from(self.docs.max(1))).unwrap_or(u64::MAX)
    }

    /// Bytes of documents that a flush makes removable, about.
    fn unfolded_bytes(&self) -> u64 {
        let share = u128::from(self.bytes) * u128::from(self.unfolded);
        u64::try_from(share / u128::from(self.docs.max(1))).unwrap_or(u64::MAX)
    }

    fn deleted_share(&self) -> f64 {
        self.deleted as f64 / self.docs.max(1) as f64
    }
}

/// What to do with an index now. A flush and a merge may go on side by side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Steps {
    pub(crate) flush: bool,
    /// Names of the segments that become one.
    pub(crate) merge: Option<Vec<u128>>,
    pub(crate) close: bool,
}

/// Decides. An index is closed once there is nothing else to do; its tail stays in the log.
pub(crate) fn plan(facts: &IndexFacts, limits: &Limits) -> Steps {
    let compaction = &limits.compaction;
    let at_rest = facts.unwritten >= compaction.rest_after;
    let merge = (compaction.automatic && !facts.merging && !facts.merge_rests)
        .then(|| choose(&facts.segments, at_rest, limits))
        .flatten();
    let due = is_flush_due(facts, at_rest, limits);
    // Records wait while a merge makes room; if merges fail they do not wait for ever. What is set
    // aside already does not wait: the merge may be waiting for it.
    let full = counted(&facts.segments, limits).count() >= compaction.segments_max;
    let held = full && !facts.frozen && (facts.merging || merge.is_some());
    let flush = due && !facts.flush_rests && !held;
    let busy = due || merge.is_some() || facts.merging;
    Steps { flush, merge, close: facts.idle >= limits.idle_after && !busy }
}

fn is_flush_due(facts: &IndexFacts, at_rest: bool, limits: &Limits) -> bool {
    let bytes = facts.active_bytes;
    let full = bytes >= limits.memtable_bytes_max;
    let aged = facts.age >= limits.flush_age && bytes >= limits.memtable_bytes_max / AGED_SHARE;
    let live: u64 = facts.segments.iter().map(SegmentFacts::live_bytes).sum();
    let unfolded: u64 = facts.segments.iter().map(SegmentFacts::unfolded_bytes).sum();
    let long_tail = bytes >= REST_TAIL_BYTES && bytes as u64 >= live / REST_TAIL_SHARE;
    // A delete takes few bytes of the tail and many of a segment.
    let frees = unfolded >= REST_DELETED_BYTES.max(live / REST_TAIL_SHARE);
    let rests = limits.compaction.automatic && at_rest && bytes > 0 && (long_tail || frees);
    let crowded = facts.crowded && bytes > 0;
    facts.frozen || full || aged || rests || crowded || facts.slots >= SLOTS_FLUSHED
}

/// Segments that can still be merged with others: those near the largest size are left alone, and do
/// not count.
fn counted<'a>(
    segments: &'a [SegmentFacts],
    limits: &'a Limits,
) -> impl Iterator<Item = &'a SegmentFacts> {
    let is_small = |segment: &&SegmentFacts| {
        segment.live_bytes() < limits.compaction.segment_bytes_max / 2
            && segment.live() < limits.docs_max / 2
    };
    segments.iter().filter(is_small)
}

/// Which segments become one now, if any: two or more, or one that has much deleted.
///
/// 1. Under load: when segments of about one size are `fan_in` or more, they and all smaller ones. At rest: when the
///    smaller ones together have half of what a larger one has, they and that one.
/// 2. Too many segments: as many of the smallest as it takes.
/// 3. Much is deleted: under load segments beyond the share, at rest as many as it takes.
pub(crate) fn choose(
    segments: &[SegmentFacts],
    at_rest: bool,
    limits: &Limits,
) -> Option<Vec<u128>> {
    let mut by_size: Vec<SegmentFacts> = counted(segments, limits).copied().collect();
    by_size.sort_unstable_by_key(|segment| (segment.live_bytes(), segment.name));
    let chosen = choose_tier(&by_size, at_rest, limits)
        .or_else(|| choose_for_count(&by_size, at_rest, limits))
        .or_else(|| choose_deleted(segments, at_rest, limits))?;
    Some(chosen.into_iter().map(|segment| segment.name).collect())
}

/// How many of the first segments fit in one.
fn fitting(segments: &[SegmentFacts], limits: &Limits) -> usize {
    let (mut bytes, mut docs) = (0u64, 0u64);
    let fits = |segment: &&SegmentFacts| {
        bytes = bytes.saturating_add(segment.live_bytes());
        docs = docs.saturating_add(segment.live());
        bytes <= limits.compaction.segment_bytes_max && docs <= limits.docs_max
    };
    segments.iter().take_while(fits).count()
}

/// The longest run of the smallest segments whose largest is not much more than its share of all:
/// each record's segment then grows by nearly `fan_in` whenever it is written again.
fn choose_tier(
    by_size: &[SegmentFacts],
    at_rest: bool,
    limits: &Limits,
) -> Option<Vec<SegmentFacts>> {
    let fan_in = limits.compaction.fan_in.max(2);
    let count_min = if at_rest { 2 } else { fan_in };
    let shares = |total: u64| match at_rest {
        false => (fan_in as u64 - 1, 1),
        true if total <= REST_SMALL_BYTES => REST_SMALL_SHARES,
        true => REST_SHARES,
    };
    let run = &by_size[..fitting(by_size, limits)];
    let mut total = 0;
    let mut best = None;
    for (number, segment) in run.iter().enumerate() {
        total += segment.live_bytes();
        let (own, all) = shares(total);
        let even = segment.live_bytes().saturating_mul(own) <= total.saturating_mul(all);
        if number + 1 >= count_min && even {
            best = Some(run[..=number].to_vec());
        }
    }
    best
}

/// Under load merging begins two below the bound, so that flushes find room meanwhile.
fn choose_for_count(
    by_size: &[SegmentFacts],
    at_rest: bool,
    limits: &Limits,
) -> Option<Vec<SegmentFacts>> {
    let compaction = &limits.compaction;
    let count_max = if at_rest {
        compaction.segments_at_rest
    } else {
        compaction.segments_max.saturating_sub(2).max(compaction.segments_at_rest)
    };
    let surplus = by_size.len().checked_sub(count_max.max(1)).filter(|surplus| *surplus > 0)?;
    let wanted =
        if at_rest { surplus + 1 } else { by_size.len() - compaction.segments_at_rest + 1 };
    let count = wanted.min(fitting(by_size, limits));
    (count >= 2).then(|| by_size[..count].to_vec())
}

/// The segments with the largest share of deleted documents, as far as they fit in one.
fn choose_deleted(
    segments: &[SegmentFacts],
    at_rest: bool,
    limits: &Limits,
) -> Option<Vec<SegmentFacts>> {
    let mut by_share: Vec<SegmentFacts> =
        segments.iter().filter(|segment| segment.deleted > 0).copied().collect();
    by_share.sort_unstable_by(|a, b| {
        b.deleted_share().total_cmp(&a.deleted_share()).then(a.name.cmp(&b.name))
    });
    let wanted = if at_rest {
        rewrites_at_rest(segments, &by_share, limits)
    } else {
        let share_max = limits.compaction.deleted_share_max;
        by_share.iter().take_while(|segment| segment.deleted_share() >= share_max).count()
    };
    let count = wanted.min(fitting(&by_share, limits).max(1));
    (count > 0).then(|| by_share[..count].to_vec())
}

/// How many of the segments must be rewritten until all take no more bytes than allowed.
fn rewrites_at_rest(
    segments: &[SegmentFacts],
    by_share: &[SegmentFacts],
    limits: &Limits,
) -> usize {
    let live: u64 = segments.iter().map(SegmentFacts::live_bytes).sum();
    let allowed = (live as f64 * limits.compaction.bytes_at_rest_max) as u64;
    let allowed = allowed.max(live.saturating_add(REST_DELETED_BYTES));
    let mut bytes: u64 = segments.iter().map(|segment| segment.bytes).sum();
    let mut count = 0;
    for segment in by_share {
        if bytes <= allowed {
            break;
        }
        bytes -= segment.bytes - segment.live_bytes();
        count += 1;
    }
    count
}
