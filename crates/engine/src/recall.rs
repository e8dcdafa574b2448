//! Recall as a promise: sampled queries are answered a second time, exactly, and what the first answer
//! missed turns how far later queries of the index look.
//!
//! ```text
//! query --> answer                          every index: calibration, recall of late samples
//!    \
//!     +-- now and then, afterwards --> the same snapshot, every record --> share found --> adapt
//! ```
//!
//! A sample costs much more than its query. After one that took t the index rests for t divided by
//! [`crate::Recall::sample_share`], and indexes too large to be gone over are compared with a search
//! that looks much further instead. [`adapt`] is pure.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::records::IndexId;
use crate::requests::{Answer, Hit};
use crate::stats::MeasuredRecall;

/// Samples that the measured recall is a mean of, about.
const SAMPLES: f32 = 32.0;
/// After this many samples a verdict is possible.
const SAMPLES_MIN: u32 = 8;
/// Where calibration starts: a little too far until samples say that less will do.
const START: f32 = 1.2;
/// Bounds of calibration.
const CALIBRATION: std::ops::RangeInclusive<f32> = 0.5..=16.0;
/// One step up or down.
const STEP_UP: f32 = 1.3;
const STEP_DOWN: f32 = 0.93;
/// Share of the distance between target and 1 that is too good.
const TOO_GOOD: f32 = 0.75;
/// Shortest time between two samples of an index.
const REST_MIN: Duration = Duration::from_millis(200);
/// Indexes of which samples are kept; others start anew.
const INDEXES_MAX: usize = 4096;

/// What is known of an index's recall.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Known {
    /// Above 1: queries look further than they would.
    pub(crate) calibration: f32,
    /// Mean share found, of late samples.
    pub(crate) recall: f32,
    /// Samples since the calibration was turned.
    samples: u32,
    /// Samples in all.
    total: u64,
}

impl Default for Known {
    fn default() -> Self {
        Self { calibration: START, recall: 1.0, samples: 0, total: 0 }
    }
}

/// What is known after one more sample, of which `found` is the share that the query found.
pub(crate) fn adapt(known: Known, found: f32, target: f32) -> Known {
    let samples = known.samples + 1;
    let weight = 1.0 / (samples as f32).min(SAMPLES);
    let recall = known.recall + (found - known.recall) * weight;
    let mut next = Known { recall, samples, total: known.total + 1, ..known };
    let step = if samples >= SAMPLES_MIN && recall < target {
        STEP_UP
    } else if samples >= SAMPLES as u32 && recall > target + (1.0 - target) * TOO_GOOD {
        STEP_DOWN
    } else {
        return next;
    };
    let turned = (known.calibration * step).clamp(*CALIBRATION.start(), *CALIBRATION.end());
    if turned != known.calibration {
        // What follows is measured anew, from the mean so far.
        (next.calibration, next.samples) = (turned, 0);
    }
    next
}

/// Which share of the reference a query found. Records at the same distance stand for each other.
pub(crate) fn share_found(answer: &[Hit], reference: &[Hit]) -> f32 {
    let Some(last) = reference.last() else { return 1.0 };
    let near = answer.iter().filter(|hit| hit.distance <= last.distance).count();
    near.min(reference.len()) as f32 / reference.len() as f32
}

#[derive(Debug)]
struct State {
    known: Known,
    /// No sample before; `None` while one is being taken.
    next: Option<Instant>,
}

/// Recall of every index that was queried.
#[derive(Debug, Default)]
pub(crate) struct Recalls(Mutex<HashMap<IndexId, State>>);

/// A sample to be taken. Dropped without an answer it counts as nothing.
#[derive(Debug)]
pub(crate) struct Sample {
    recalls: Arc<Recalls>,
    id: IndexId,
    started: Instant,
    share: f64,
}

impl Recalls {
    pub(crate) fn calibration(&self, id: IndexId) -> f32 {
        self.0.lock().get(&id).map_or(START, |state| state.known.calibration)
    }

    /// Measured recall of every index with samples, and its calibration.
    pub(crate) fn all(&self) -> Vec<MeasuredRecall> {
        let states = self.0.lock();
        let measured = states.iter().filter(|(_, state)| state.known.total > 0);
        let mut all: Vec<_> = measured
            .map(|(id, state)| MeasuredRecall {
                index: *id,
                recall: state.known.recall,
                calibration: state.known.calibration,
                samples: state.known.total,
            })
            .collect();
        all.sort_unstable_by_key(|measured| measured.index.0);
        all
    }

    /// Whether a query of this index, just answered, is to be sampled. `share` of the time may go
    /// into samples.
    pub(crate) fn take(self: &Arc<Self>, id: IndexId, share: f64) -> Option<Sample> {
        if share <= 0.0 {
            return None;
        }
        let now = Instant::now();
        let mut states = self.0.lock();
        if states.len() >= INDEXES_MAX && !states.contains_key(&id) {
            states.clear();
        }
        let state =
            states.entry(id).or_insert_with(|| State { known: Known::default(), next: Some(now) });
        if state.next.is_none_or(|next| next > now) {
            return None;
        }
        state.next = None;
        drop(states);
        Some(Sample { recalls: Arc::clone(self), id, started: now, share })
    }
}

impl Sample {
    /// Takes in what the reference found.
    pub(crate) fn judge(self, answer: &[Hit], reference: &Answer, target: f32) {
        let found = share_found(answer, &reference.hits);
        if let Some(state) = self.recalls.0.lock().get_mut(&self.id) {
            state.known = adapt(state.known, found, target);
        }
    }
}

impl Drop for Sample {
    fn drop(&mut self) {
        let took = self.started.elapsed();
        let rest = took.mul_f64(1.0 / self.share).max(REST_MIN);
        if let Some(state) = self.recalls.0.lock().get_mut(&self.id) {
            state.next = Some(Instant::now() + rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hits(distances: &[f32]) -> Vec<Hit> {
        let hit =
            |distance: &f32| Hit { key: Default::default(), distance: *distance, metadata: None };
        distances.iter().map(hit).collect()
    }

    #[test]
    fn a_record_as_near_as_the_last_is_found() {
        let reference = hits(&[1.0, 2.0, 2.0]);
        assert_eq!(share_found(&hits(&[1.0, 2.0, 2.0]), &reference), 1.0);
        assert_eq!(share_found(&hits(&[1.0, 2.0, 3.0]), &reference), 2.0 / 3.0);
        assert_eq!(share_found(&[], &reference), 0.0);
        assert_eq!(share_found(&[], &[]), 1.0);
    }

    fn after(found: f32, samples: usize) -> Known {
        (0..samples).fold(Known::default(), |known, _| adapt(known, found, 0.98))
    }

    #[test]
    fn searches_look_further_until_enough_is_found_and_less_far_when_all_is() {
        assert_eq!(after(0.9, 7).calibration, START, "a verdict takes some samples");
        assert!(after(0.9, 8).calibration > START);
        assert_eq!(after(0.9, 10_000).calibration, *CALIBRATION.end());
        assert_eq!(after(0.985, 10_000).calibration, START);
        assert!(after(1.0, 100).calibration < START);
        assert_eq!(after(1.0, 10_000).calibration, *CALIBRATION.start());
    }

    #[tokio::test(start_paused = true)]
    async fn samples_take_their_share_of_the_time_and_one_at_a_time() {
        let recalls = Arc::new(Recalls::default());
        let id = IndexId(1);
        assert!(recalls.take(id, 0.0).is_none());
        let sample = recalls.take(id, 0.1).unwrap();
        assert!(recalls.take(id, 0.1).is_none(), "one is being taken");
        tokio::time::advance(Duration::from_millis(100)).await;
        sample.judge(&hits(&[2.0]), &Answer { hits: hits(&[1.0]), ..Answer::default() }, 0.98);
        tokio::time::advance(Duration::from_millis(990)).await;
        assert!(recalls.take(id, 0.1).is_none());
        tokio::time::advance(Duration::from_millis(20)).await;
        drop(recalls.take(id, 0.1).unwrap());
        assert_eq!(recalls.all()[0].recall, 0.0);
        assert_eq!(recalls.calibration(id), START);
    }
}
