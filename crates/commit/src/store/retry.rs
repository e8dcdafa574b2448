//! When a request to a remote store is sent again: decisions over plain values.
//!
//! ```text
//! failure            create              anything else
//! not sent           again               again            (no connection came about)
//! overload, 5xx      told to the caller  again
//! no answer in time  told to the caller  again
//! refused            told to the caller  told to the caller
//! ```
//!
//! A create is never sent twice once it may have been executed: the second copy would be answered
//! "exists", and only the commit protocol can tell whose the object is. Pauses double from
//! [`PAUSE`] and are drawn from their upper half, so that processes that failed together do not
//! return together.

use std::time::Duration;

/// How long one attempt may take, besides its bytes.
pub(super) const ATTEMPT: Duration = Duration::from_secs(5);

/// How long a request may take with all its repetitions, besides its bytes.
pub(super) const REQUEST: Duration = Duration::from_secs(20);

/// The slowest pace at which bytes may travel, per second.
const BYTES_PER_SECOND_MIN: u64 = 1 << 20;

/// The pause before the first repetition.
const PAUSE: Duration = Duration::from_millis(50);

/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Why an attempt did not succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// No connection came about: the request was not sent.
    NotSent,
    /// The store was too busy, or failed.
    Overload,
    /// No answer, or not all of it: executed or not.
    NoAnswer,
    /// An answer that sending again will not change.
    Final,
}

/// The pause before the next attempt, or `None` to tell the caller.
///
/// `attempts`: how many were made. `left`: what is left of the request's time. `chance`: a random
/// number.
pub(super) fn pause(
    failure: Failure,
    is_create: bool,
    attempts: u32,
    left: Duration,
    chance: u64,
) -> Option<Duration> {
    let again = match failure {
        Failure::NotSent => true,
        Failure::Overload | Failure::NoAnswer => !is_create,
        Failure::Final => false,
    };
    let whole = PAUSE.saturating_mul(1 << attempts.saturating_sub(1).min(10)).min(PAUSE_MAX);
    let upper_half = whole / 2 + (whole / 2).mul_f64((chance % 1024) as f64 / 1024.0);
    (again && upper_half < left).then_some(upper_half)
}

/// `base` and the time that `bytes` may take on their way.
pub(super) fn with_bytes(base: Duration, bytes: u64) -> Duration {
    base + Duration::from_millis(bytes.saturating_mul(1000) / BYTES_PER_SECOND_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEFT: Duration = Duration::from_secs(10);

    #[test]
    fn a_create_that_may_have_been_executed_is_not_repeated() {
        for failure in [Failure::Overload, Failure::NoAnswer, Failure::Final] {
            assert_eq!(pause(failure, true, 1, LEFT, 0), None, "{failure:?}");
        }
        assert!(pause(Failure::NotSent, true, 1, LEFT, 0).is_some());
    }

    #[test]
    fn everything_else_is_repeated_unless_the_answer_is_final() {
        for failure in [Failure::NotSent, Failure::Overload, Failure::NoAnswer] {
            assert!(pause(failure, false, 1, LEFT, 0).is_some(), "{failure:?}");
        }
        assert_eq!(pause(Failure::Final, false, 1, LEFT, 0), None);
    }

    #[test]
    fn pauses_double_up_to_a_bound_and_end_with_the_time() {
        let mut last = Duration::ZERO;
        for attempts in 1..40 {
            for chance in [0, 511, 1023, u64::MAX] {
                let pause = pause(Failure::NoAnswer, false, attempts, LEFT, chance).unwrap();
                assert!(pause >= PAUSE / 2 && pause <= PAUSE_MAX, "{attempts}: {pause:?}");
            }
            let lowest = pause(Failure::NoAnswer, false, attempts, LEFT, 0).unwrap();
            assert!(lowest >= last);
            last = lowest;
        }
        assert_eq!(pause(Failure::NoAnswer, false, 9, Duration::from_millis(500), 0), None);
    }

    #[test]
    fn large_bodies_get_more_time() {
        assert_eq!(with_bytes(ATTEMPT, 0), ATTEMPT);
        assert_eq!(with_bytes(ATTEMPT, 8 << 20), ATTEMPT + Duration::from_secs(8));
    }
}
