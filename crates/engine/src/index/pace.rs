//! When a group that gathers is sent: a pure decider.
//!
//! Callers who were just answered tend to write again at once, one shortly after the other. A group
//! that is sent with the first of them makes all others wait for a whole create more; so it waits until
//! as many callers have come as were answered since the last group was sent, but at most half as long
//! as a create takes. A lone caller never waits, nor does a group whose first batch came while
//! the last create was under way for that long.
//!
//! ```text
//!              answered: 8        1st        8th
//! callers   ------|----------------|- gather -|---------------
//! store           |                           |-- create --|-- check --|
//! ```

use std::time::Duration;

use tokio::time::Instant;

/// How much of a create's usual time a group waits for further callers.
const WAIT_PART: f64 = 0.5;

/// The longest wait, whatever the store takes.
const WAIT_MAX: Duration = Duration::from_millis(50);

/// Weight of the newest create in the usual time.
const NEWEST_WEIGHT: f64 = 0.25;

/// What was seen of the groups so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    /// How long a create takes, a moving average.
    create: Duration,
    /// When the create under way was sent.
    sent: Option<Instant>,
    /// Callers answered since the last group was sent.
    answered: usize,
}

impl Pace {
    /// A group was sent.
    pub(super) fn sent(&mut self, now: Instant) {
        self.sent = Some(now);
        self.answered = 0;
    }

    /// The create of the last group returned.
    pub(super) fn returned(&mut self, now: Instant) {
        let Some(sent) = self.sent.take() else { return };
        let took = now - sent;
        self.create = match self.create.is_zero() {
            true => took,
            false => self.create.mul_f64(1.0 - NEWEST_WEIGHT) + took.mul_f64(NEWEST_WEIGHT),
        };
    }

    /// So many callers of a group were answered.
    pub(super) fn answered(&mut self, callers: usize) {
        self.answered += callers;
    }

    /// When a group of `callers`, the first of which came at `since`, is to be sent at the latest.
    pub(super) fn due(&self, callers: usize, since: Instant) -> Instant {
        if callers >= self.answered {
            return since;
        }
        since + self.create.mul_f64(WAIT_PART).min(WAIT_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CREATE: Duration = Duration::from_millis(40);

    fn pace(answered: usize) -> (Pace, Instant) {
        let now = Instant::now();
        let mut pace = Pace::default();
        pace.sent(now);
        pace.returned(now + CREATE);
        pace.answered(answered);
        (pace, now + CREATE)
    }

    #[test]
    fn a_lone_caller_never_waits() {
        let (pace, now) = pace(1);
        assert_eq!(pace.due(1, now), now);
        assert_eq!(Pace::default().due(1, now), now);
    }

    #[test]
    fn a_group_waits_for_those_just_answered_and_no_longer_than_half_a_create() {
        let (pace, now) = pace(3);
        assert_eq!(pace.due(1, now), now + CREATE / 2);
        assert_eq!(pace.due(2, now), now + CREATE / 2);
        assert_eq!(pace.due(3, now), now);
    }

    #[test]
    fn nobody_is_expected_twice() {
        let (mut pace, now) = pace(3);
        pace.sent(now);
        assert_eq!(pace.due(1, now), now);
    }

    #[test]
    fn a_slow_store_is_not_waited_for_without_end() {
        let now = Instant::now();
        let mut pace = Pace::default();
        pace.sent(now);
        pace.returned(now + Duration::from_secs(30));
        pace.answered(2);
        assert_eq!(pace.due(1, now), now + WAIT_MAX);
    }
}
