//! Single decisions, and whole lives of simulated indexes.

use std::collections::HashMap;

use super::*;

fn limits() -> Limits {
    Limits {
        memtable_bytes_max: 64 << 20,
        flush_age: Duration::from_secs(10),
        idle_after: Duration::from_secs(100),
        compaction: Compaction::default(),
        docs_max: 1 << 40,
    }
}

fn steps(facts: &IndexFacts) -> Steps {
    plan(facts, &limits())
}

#[test]
fn size_age_slots_and_crowding_flush_and_idleness_closes() {
    let idle = Duration::from_secs(100);
    let old = Duration::from_secs(10);
    let flush = |facts: IndexFacts| steps(&facts).flush;
    let facts = IndexFacts::default;
    assert_eq!(steps(&facts()), Steps::default());
    assert!(flush(IndexFacts { active_bytes: 64 << 20, ..facts() }));
    assert!(!flush(IndexFacts { active_bytes: (64 << 20) - 1, ..facts() }));
    assert!(flush(IndexFacts { active_bytes: 1 << 20, age: old, ..facts() }));
    assert!(!flush(IndexFacts { active_bytes: (1 << 20) - 1, age: old, ..facts() }));
    assert!(flush(IndexFacts { slots: SLOTS_FLUSHED, ..facts() }));
    assert!(flush(IndexFacts { frozen: true, ..facts() }));
    assert!(flush(IndexFacts { active_bytes: 1, crowded: true, ..facts() }));
    let resting = IndexFacts { frozen: true, flush_rests: true, idle, ..facts() };
    assert_eq!(steps(&resting), Steps::default());
    assert!(steps(&IndexFacts { active_bytes: 99, idle, ..facts() }).close);
    assert!(!steps(&IndexFacts { merging: true, idle, ..facts() }).close);
}

#[test]
fn a_tail_that_matters_is_flushed_at_rest() {
    let unwritten = Duration::from_secs(10);
    let flush = |active_bytes, bytes| {
        let segments = vec![SegmentFacts { name: 1, bytes, docs: 10, ..SegmentFacts::default() }];
        steps(&IndexFacts { active_bytes, unwritten, segments, ..IndexFacts::default() }).flush
    };
    assert!(flush(256 << 10, 1 << 20));
    assert!(!flush((256 << 10) - 1, 0));
    assert!(!flush(1 << 20, 64 << 20));
    assert!(flush(4 << 20, 64 << 20));
}

#[test]
fn a_short_tail_that_deletes_much_is_flushed_at_rest() {
    let flush = |active_bytes, unfolded, unwritten| {
        let segments =
            vec![SegmentFacts { name: 1, bytes: 64 << 20, docs: 64, deleted: 0, unfolded }];
        let unwritten = Duration::from_secs(unwritten);
        steps(&IndexFacts { active_bytes, unwritten, segments, ..IndexFacts::default() })
    };
    assert!(flush(100, 4, 10).flush);
    assert!(!flush(100, 3, 10).flush);
    assert!(!flush(100, 64, 9).flush);
    // A rewrite would leave nothing out yet.
    assert_eq!(flush(100, 64, 10).merge, None);
}

/// Segments of these live sizes (in MiB) and shares of deleted documents, named by place.
fn segments(of: &[(u64, f64)]) -> Vec<SegmentFacts> {
    let segment = |(name, (live, deleted)): (u128, &(u64, f64))| {
        let docs = 1000;
        let gone = (docs as f64 * deleted) as u64;
        let bytes = (live << 20) * docs / (docs - gone);
        SegmentFacts { name, bytes, docs, deleted: gone, unfolded: 0 }
    };
    (0..).zip(of).map(segment).collect()
}

fn check_choice(of: &[(u64, f64)], at_rest: bool, expected: Option<&[u128]>) {
    let chosen = choose(&segments(of), at_rest, &limits());
    let chosen = chosen.map(|mut names| {
        names.sort_unstable();
        names
    });
    assert_eq!(chosen.as_deref(), expected, "{of:?}, at rest: {at_rest}");
}

#[test]
fn segments_of_one_size_become_one_and_take_smaller_ones_along() {
    check_choice(&[(64, 0.0); 3], false, None);
    check_choice(&[(64, 0.0); 4], false, Some(&[0, 1, 2, 3]));
    check_choice(&[(256, 0.0), (64, 0.0), (64, 0.0), (64, 0.0)], false, None);
    let cascade = [(256, 0.0), (64, 0.0), (256, 0.0), (64, 0.0), (256, 0.0), (64, 0.0)];
    check_choice(&cascade, false, Some(&[0, 1, 2, 3, 4, 5]));
    // Near the largest size nothing is merged for its number.
    check_choice(&[(3000, 0.0); 20], false, None);
    check_choice(&[(3000, 0.0); 20], true, None);
    // No more than fits.
    check_choice(&[(1500, 0.0); 5], false, None);
}

#[test]
fn at_rest_segments_become_one_unless_the_largest_is_most_of_it() {
    check_choice(&[(100, 0.0), (15, 0.0)], true, Some(&[0, 1]));
    check_choice(&[(100, 0.0), (15, 0.0)], false, None);
    check_choice(&[(100, 0.0), (14, 0.0)], true, None);
    check_choice(&[(400, 0.0), (201, 0.0)], true, Some(&[0, 1]));
    check_choice(&[(400, 0.0), (199, 0.0)], true, None);
    check_choice(&[(400, 0.0), (49, 0.0), (51, 0.0), (60, 0.0)], true, Some(&[1, 2, 3]));
}

/// Sizes of which no four are about equal.
fn growing(count: i32) -> Vec<(u64, f64)> {
    (0..count).map(|at| ((8.0 * 1.6f64.powi(at)) as u64, 0.0)).collect()
}

#[test]
fn too_many_segments_become_fewer() {
    let sizes = [1, 3, 10, 31, 96, 298, 923].map(|size| (size, 0.0));
    check_choice(&sizes, false, None);
    check_choice(&sizes, true, Some(&[0, 1, 2, 3, 4, 5]));
    check_choice(&growing(10), false, None);
    check_choice(&growing(11), false, Some(&[0, 1, 2, 3, 4, 5]));
}

#[test]
fn much_deleted_segments_are_rewritten() {
    check_choice(&[(100, 0.49)], false, None);
    check_choice(&[(100, 0.5)], false, Some(&[0]));
    check_choice(&[(100, 0.2)], true, Some(&[0]));
    check_choice(&[(100, 0.1)], true, None);
    // Only as many as it takes, the worst first.
    check_choice(&[(1000, 0.4), (300, 0.05), (40, 0.04)], true, Some(&[0]));
    // A full segment, too.
    check_choice(&[(3000, 0.5)], false, Some(&[0]));
    check_choice(&[(64, 1.0 - 1e-3)], false, Some(&[0]));
    // Not for a few kilobytes.
    let small = [SegmentFacts { name: 0, bytes: 300 << 10, docs: 10, deleted: 4, unfolded: 0 }];
    assert_eq!(choose(&small, true, &limits()), None);
}

#[test]
fn a_full_index_holds_flushes_while_a_merge_makes_room() {
    let facts = IndexFacts {
        active_bytes: 64 << 20,
        segments: segments(&growing(12)),
        ..IndexFacts::default()
    };
    let planned = steps(&facts);
    assert!(!planned.flush && planned.merge.is_some());
    let merging = steps(&IndexFacts { merging: true, ..facts.clone() });
    assert_eq!((merging.flush, merging.merge), (false, None));
    // The merge waits until records that are set aside are flushed, however often that fails.
    assert!(steps(&IndexFacts { frozen: true, merging: true, ..facts.clone() }).flush);
    // Writes do not stop because merges fail.
    let failing = steps(&IndexFacts { merge_rests: true, ..facts });
    assert_eq!((failing.flush, failing.merge), (true, None));
}

/// An index in numbers: where each key's live document is.
struct World {
    limits: Limits,
    /// Bytes of a record.
    row: u64,
    place: HashMap<u64, u128>,
    segments: Vec<SegmentFacts>,
    /// Inputs of the merge under way and the flushes until it is done.
    merging: Option<(Vec<u128>, u64)>,
    next: u128,
    flushed: u64,
    merged: u64,
    count_max: usize,
    random: u64,
}

impl World {
    fn new(row: u64) -> Self {
        Self {
            limits: limits(),
            row,
            place: HashMap::new(),
            segments: Vec::new(),
            merging: None,
            next: 0,
            flushed: 0,
            merged: 0,
            count_max: 0,
            random: 7,
        }
    }

    /// A number below `bound` (SplitMix64).
    fn random(&mut self, bound: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound.max(1)
    }

    fn segment(&mut self, name: u128) -> &mut SegmentFacts {
        self.segments.iter_mut().find(|segment| segment.name == name).expect("it is there")
    }

    fn kill(&mut self, key: u64) {
        if let Some(name) = self.place.remove(&key) {
            self.segment(name).deleted += 1;
        }
    }

    fn add_segment(&mut self, keys: &[u64]) {
        let name = self.next;
        self.next += 1;
        self.place.extend(keys.iter().map(|key| (*key, name)));
        let docs = keys.len() as u64;
        if docs > 0 {
            let bytes = docs * self.row;
            self.segments.push(SegmentFacts { name, bytes, docs, deleted: 0, unfolded: 0 });
        }
        let counted = counted(&self.segments, &self.limits).count();
        self.count_max = self.count_max.max(counted);
    }

    /// One full memtable is flushed, and merges get as much time as that took: they write `speed`
    /// times as fast as records come in.
    fn flush(&mut self, puts: &[u64], deletes: &[u64], speed: u64) {
        let mut keys = puts.to_vec();
        keys.sort_unstable();
        keys.dedup();
        puts.iter().chain(deletes).for_each(|key| self.kill(*key));
        keys.retain(|key| !deletes.contains(key));
        while self.is_held() {
            self.work(u64::MAX);
        }
        self.flushed += keys.len() as u64 * self.row;
        self.add_segment(&keys);
        self.work(speed * puts.len().max(1) as u64 * self.row);
    }

    fn is_held(&self) -> bool {
        let facts = IndexFacts {
            active_bytes: self.limits.memtable_bytes_max,
            merging: self.merging.is_some(),
            segments: self.segments.clone(),
            ..IndexFacts::default()
        };
        !plan(&facts, &self.limits).flush
    }

    /// Lets merges write so many bytes, under load.
    fn work(&mut self, mut bytes: u64) {
        loop {
            if self.merging.is_none() {
                let chosen = choose(&self.segments, false, &self.limits);
                self.merging = chosen.map(|inputs| {
                    let rows: u64 = inputs.iter().map(|name| self.segment(*name).live()).sum();
                    (inputs, rows * self.row)
                });
            }
            let Some((inputs, left)) = self.merging.take() else { return };
            if left > bytes {
                self.merging = Some((inputs, left - bytes));
                return;
            }
            bytes -= left;
            self.merge(&inputs);
        }
    }

    fn merge(&mut self, inputs: &[u128]) {
        let mut keys: Vec<u64> = self
            .place
            .iter()
            .filter(|(_, name)| inputs.contains(name))
            .map(|(key, _)| *key)
            .collect();
        keys.sort_unstable();
        self.segments.retain(|segment| !inputs.contains(&segment.name));
        self.merged += keys.len() as u64 * self.row;
        self.add_segment(&keys);
    }

    fn rest(&mut self) {
        if let Some((inputs, _)) = self.merging.take() {
            self.merge(&inputs);
        }
        for _ in 0..100 {
            match choose(&self.segments, true, &self.limits) {
                Some(inputs) => self.merge(&inputs),
                None => return,
            }
        }
        panic!("an index at rest comes to rest");
    }

    fn check(&mut self, what: &str, amplification_max: f64) {
        assert!(self.count_max <= 12, "{what}: {} segments under load", self.count_max);
        self.rest();
        let counted = counted(&self.segments, &self.limits).count();
        assert!(counted <= 6, "{what}: {counted} segments at rest");
        let bytes: u64 = self.segments.iter().map(|segment| segment.bytes).sum();
        let live = self.place.len() as u64 * self.row;
        let allowed = (live as f64 * 1.15).max((live + REST_DELETED_BYTES) as f64);
        assert!(bytes as f64 <= allowed + 1.0, "{what}: {bytes} bytes for {live} live ones");
        let written = (self.flushed + self.merged) as f64 / self.flushed.max(1) as f64;
        assert!(written <= amplification_max, "{what}: written {written:.2} times");
    }
}

/// Rows of a flush: a memtable of 32 MiB with records of 64 KiB, so that a simulation is quick.
const FLUSH: u64 = 512;
const ROW: u64 = 64 << 10;

#[test]
fn growing_indexes_stay_within_their_bounds() {
    for flushes in [1u64, 3, 17, 100, 400] {
        let mut world = World::new(ROW);
        for flush in 0..flushes {
            let keys: Vec<u64> = (flush * FLUSH..(flush + 1) * FLUSH).collect();
            world.flush(&keys, &[], 4);
        }
        world.check(&format!("{flushes} flushes of new keys"), 5.0);
    }
}

#[test]
fn overwritten_indexes_stay_within_their_bounds() {
    for (keys, flushes) in [(FLUSH / 4, 60), (FLUSH, 60), (FLUSH * 5, 120), (FLUSH * 40, 300)] {
        for deletes in [0, FLUSH / 10] {
            for speed in [2, 8] {
                let mut world = World::new(ROW);
                for _ in 0..flushes {
                    let puts: Vec<u64> = (0..FLUSH).map(|_| world.random(keys)).collect();
                    let gone: Vec<u64> = (0..deletes).map(|_| world.random(keys)).collect();
                    world.flush(&puts, &gone, speed);
                }
                world.check(
                    &format!("overwrites of {keys} keys, {deletes} deletes, speed {speed}"),
                    5.0,
                );
            }
        }
    }
}

#[test]
fn flushes_of_any_size_and_skewed_keys_stay_within_their_bounds() {
    for seed in 1..30 {
        let mut world = World::new(ROW);
        world.random = seed;
        for _ in 0..150 {
            let size = 1 + world.random(10);
            let rows = 1 + world.random(1 << size);
            let bits = world.random(14);
            let puts: Vec<u64> = (0..rows).map(|_| world.random(1 << bits)).collect();
            let count = world.random(rows / 2 + 1);
            let gone: Vec<u64> = (0..count).map(|_| world.random(1 << bits)).collect();
            world.flush(&puts, &gone, 3);
        }
        world.check(&format!("seed {seed}"), 8.0);
    }
}

#[test]
fn an_emptied_index_keeps_nothing() {
    let mut world = World::new(ROW);
    let keys: Vec<u64> = (0..FLUSH * 4).collect();
    keys.chunks(FLUSH as usize).for_each(|keys| world.flush(keys, &[], 4));
    keys.chunks(FLUSH as usize).for_each(|keys| world.flush(&[], keys, 4));
    world.check("all deleted", 5.0);
    assert_eq!(world.segments, []);
}
