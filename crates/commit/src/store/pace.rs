//! How creates are spaced on a store that takes few of them at a time.
//!
//! Alibaba OSS serves requests that forbid overwriting at a lower rate than others and answers 503
//! beyond it. Each log has one create in flight, and what arrives meanwhile joins the next group:
//! a create that waits for its turn makes the groups larger, so fewer creates carry the same
//! writes. The spacing doubles with each refusal and shrinks slowly while there is none.

use std::time::Duration;

/// The closest spacing: 500 creates a second.
const SPACE_MIN: Duration = Duration::from_millis(2);

/// The widest.
const SPACE_MAX: Duration = Duration::from_millis(250);

/// The spacing of creates of one process. Times are since any fixed moment.
#[derive(Debug)]
pub(super) struct Pace {
    space: Duration,
    /// When the next create may be sent.
    next: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { space: SPACE_MIN, next: Duration::ZERO }
    }
}

impl Pace {
    /// Takes the next turn; the caller waits until that time.
    pub(super) fn turn(&mut self, now: Duration) -> Duration {
        let turn = self.next.max(now);
        self.next = turn + self.space;
        turn
    }

    /// Learns whether a create was refused for being one too many.
    pub(super) fn note(&mut self, too_many: bool) {
        self.space = match too_many {
            true => (self.space * 2).min(SPACE_MAX),
            false => self.space.mul_f64(0.98).max(SPACE_MIN),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn creates_are_spaced_and_idle_time_is_not_saved_up() {
        let mut pace = Pace::default();
        assert_eq!([pace.turn(MS), pace.turn(MS), pace.turn(MS)], [MS, 3 * MS, 5 * MS]);
        assert_eq!([pace.turn(900 * MS), pace.turn(900 * MS)], [900 * MS, 902 * MS]);
    }

    #[test]
    fn refusals_widen_the_spacing_and_success_narrows_it() {
        let mut pace = Pace::default();
        for _ in 0..20 {
            pace.note(true);
        }
        assert_eq!(pace.space, SPACE_MAX);
        for _ in 0..1000 {
            pace.note(false);
        }
        assert_eq!(pace.space, SPACE_MIN);
    }
}
