//! The k best candidates seen so far.

use crate::DocId;
use std::cmp::Ordering;

/// Where a candidate's record lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The caller's number for what was scanned: a segment, a part of a memtable.
    pub source: u32,
    /// The document inside it.
    pub doc: DocId,
}

/// A record and how near it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// Smaller is nearer; never NaN. [`crate::Metric::distance`] makes it a distance.
    pub rank: f64,
    /// The record.
    pub place: Place,
}

/// Orders two places by the keys of their records. Asked only when ranks are equal.
pub type KeyOrder<'a> = &'a (dyn Fn(Place, Place) -> Ordering + Sync);

/// The k best candidates by (rank, key) of all that were offered.
///
/// Never holds more than k: at the boundary, candidates of equal rank compete by key. As keys are
/// distinct, that order is total, so the result depends neither on the order of offers nor on how
/// they were spread over several `TopK`s merged later.
#[derive(Clone, Debug)]
pub struct TopK {
    k: usize,
    /// A binary heap: no candidate is better than its parent, so the first is the worst.
    heap: Vec<Candidate>,
}

impl TopK {
    /// Room for `k` candidates.
    pub fn new(k: usize) -> Self {
        Self { k, heap: Vec::new() }
    }

    /// Keeps the candidate if it is one of the k best so far.
    ///
    /// # Panics
    /// If its rank is NaN.
    pub fn offer(&mut self, candidate: Candidate, order: KeyOrder<'_>) {
        assert!(!candidate.rank.is_nan(), "ranks are ordered");
        if self.heap.len() < self.k {
            self.heap.push(candidate);
            self.sift_up(order);
        } else if self.heap.first().is_some_and(|worst| compare(&candidate, worst, order).is_lt()) {
            self.heap[0] = candidate;
            self.sift_down(order);
        }
    }

    /// Offers everything that `other` holds.
    pub fn merge(&mut self, other: TopK, order: KeyOrder<'_>) {
        other.heap.into_iter().for_each(|candidate| self.offer(candidate, order));
    }

    /// The candidates, nearest first, ties in the order of keys.
    pub fn into_sorted(mut self, order: KeyOrder<'_>) -> Vec<Candidate> {
        self.heap.sort_unstable_by(|a, b| compare(a, b, order));
        self.heap
    }

    /// No candidate whose rank is a greater float32 can enter. Rounding the worst rank to float32
    /// does no harm: no float32 lies between the two.
    pub(super) fn bound(&self) -> f32 {
        if self.heap.len() < self.k {
            return f32::INFINITY;
        }
        self.heap.first().map_or(f32::NEG_INFINITY, |worst| worst.rank as f32)
    }

    fn sift_up(&mut self, order: KeyOrder<'_>) {
        let mut child = self.heap.len() - 1;
        while child > 0 {
            let parent = (child - 1) / 2;
            if compare(&self.heap[child], &self.heap[parent], order).is_le() {
                return;
            }
            self.heap.swap(child, parent);
            child = parent;
        }
    }

    fn sift_down(&mut self, order: KeyOrder<'_>) {
        let mut parent = 0;
        while let Some(child) = self.worse_child(parent, order) {
            if compare(&self.heap[child], &self.heap[parent], order).is_le() {
                return;
            }
            self.heap.swap(child, parent);
            parent = child;
        }
    }

    fn worse_child(&self, parent: usize, order: KeyOrder<'_>) -> Option<usize> {
        let (left, right) = (2 * parent + 1, 2 * parent + 2);
        match (self.heap.get(left)?, self.heap.get(right)) {
            (a, Some(b)) if compare(b, a, order).is_gt() => Some(right),
            _ => Some(left),
        }
    }
}

fn compare(a: &Candidate, b: &Candidate, order: KeyOrder<'_>) -> Ordering {
    a.rank.partial_cmp(&b.rank).expect("ranks are ordered").then_with(|| order(a.place, b.place))
}
