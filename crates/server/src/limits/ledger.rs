//! The debts of many callers in a fixed amount of memory.
//!
//! ```text
//! set 0     (who, debt) x 8
//! set 1     (who, debt) x 8          `who` is a keyed hash of the caller
//! ...       4,096 sets: 32,768 callers in 512 KiB, made once, never more
//! ```
//!
//! A caller has its place in one set. Where the set is full the smallest debt is forgotten, which
//! most often is one that is paid. So an exact answer is given to at least eight callers at a time,
//! and to all as long as no more than some thousands are in debt; beyond that some are admitted who
//! would have to wait, and nobody is refused for what others did. The hash is keyed, so that nobody
//! can choose callers that share a set.

use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::{Mutex, PoisonError};

use super::pace::Pace;

/// Callers in a set.
const WAYS: usize = 8;
/// Sets; a power of two.
const SETS: usize = 4096;

/// Debts at one pace.
pub(super) struct Ledger {
    pace: Pace,
    sets: Box<[Mutex<Set>]>,
    hasher: RandomState,
}

/// Places of a set; a debt of 0 is an empty place.
#[derive(Clone, Copy, Debug, Default)]
struct Set {
    who: [u64; WAYS],
    debts: [u64; WAYS],
}

impl Set {
    /// The caller's place, or the one it would take.
    fn place(&self, who: u64) -> usize {
        let own = (0..WAYS).find(|&at| self.who[at] == who && self.debts[at] != 0);
        let smallest = || (0..WAYS).min_by_key(|&at| self.debts[at]).expect("a set has places");
        own.unwrap_or_else(smallest)
    }

    fn debt(&self, place: usize, who: u64) -> u64 {
        if self.who[place] == who { self.debts[place] } else { 0 }
    }
}

impl Ledger {
    pub(super) fn new(pace: Pace) -> Self {
        let sets = (0..SETS).map(|_| Mutex::default()).collect();
        Self { pace, sets, hasher: RandomState::new() }
    }

    /// Takes a request into account, if it may come now.
    pub(super) fn admit(&self, caller: impl Hash, now: u64) -> bool {
        let after = self.change(caller, |debt| self.pace.admit(debt, now));
        after.is_some()
    }

    /// Takes a request into account that has happened.
    pub(super) fn charge(&self, caller: impl Hash, now: u64) {
        let _ = self.change(caller, |debt| Some(self.pace.charge(debt, now)));
    }

    /// Whether a request may come now.
    pub(super) fn is_open(&self, caller: impl Hash, now: u64) -> bool {
        let mut open = false;
        let _ = self.change(caller, |debt| {
            open = self.pace.is_open(debt, now);
            None
        });
        open
    }

    fn change(&self, caller: impl Hash, next: impl FnOnce(u64) -> Option<u64>) -> Option<u64> {
        let who = self.hasher.hash_one(caller);
        #[expect(clippy::cast_possible_truncation, reason = "the low bits choose the set")]
        let number = who as usize % SETS;
        let mut set = self.sets[number].lock().unwrap_or_else(PoisonError::into_inner);
        let place = set.place(who);
        let after = next(set.debt(place, who))?;
        (set.who[place], set.debts[place]) = (who, after);
        Some(after)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;
    use crate::config::Rate;

    const MS: u64 = 1_000_000;

    fn ledger(count: u32, burst: u32) -> Ledger {
        Ledger::new(Pace::new(Rate::per_second(count, burst)))
    }

    #[test]
    fn callers_do_not_share() {
        let ledger = ledger(10, 2);
        for caller in ["a", "b"] {
            assert!(ledger.admit(caller, MS) && ledger.admit(caller, MS));
            assert!(!ledger.admit(caller, MS) && !ledger.is_open(caller, MS));
        }
        assert!(ledger.is_open("c", MS));
        assert!(ledger.admit("a", 101 * MS));
    }

    #[test]
    fn many_callers_take_no_more_memory_and_are_not_refused_for_each_other() {
        let ledger = ledger(1, 1);
        for caller in 0..200_000u32 {
            assert!(ledger.admit(caller, MS), "{caller}");
        }
        assert_eq!(ledger.sets.len(), SETS);
        // Whoever came last is remembered, or at most forgotten: never refused before its time.
        let held = (0..200_000u32).filter(|caller| !ledger.is_open(caller, MS)).count();
        assert!(held > SETS * WAYS * 9 / 10 && held <= SETS * WAYS, "{held}");
        assert!((0..200_000u32).all(|caller| ledger.is_open(caller, 1002 * MS)));
    }

    #[test]
    fn small_debts_are_forgotten_before_large_ones() {
        let ledger = ledger(1, 1000);
        for _ in 0..1000 {
            assert!(ledger.admit("greedy", MS));
        }
        for caller in 0..100_000u32 {
            ledger.charge(caller, MS);
        }
        assert!(!ledger.admit("greedy", MS));
    }

    proptest! {
        #[test]
        fn few_callers_are_counted_as_by_a_model(
            calls in prop::collection::vec((0u8..40, 0u64..40 * MS), 1..400),
            burst in 1u32..6,
        ) {
            let pace = Pace::new(Rate::per_second(20, burst));
            let ledger = Ledger::new(pace);
            let mut model: HashMap<u8, u64> = HashMap::new();
            let mut now = MS;
            for (caller, step) in calls {
                now += step;
                let debt = model.get(&caller).copied().unwrap_or(0);
                let after = pace.admit(debt, now);
                prop_assert_eq!(ledger.is_open(caller, now), pace.is_open(debt, now));
                prop_assert_eq!(ledger.admit(caller, now), after.is_some());
                if let Some(after) = after {
                    model.insert(caller, after);
                }
            }
        }
    }
}
