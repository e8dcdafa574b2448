//! Which failures are worth another attempt, and how long to wait before it.

use std::time::Duration;

use crate::failure::Failure;

const DELAY_BASE: Duration = Duration::from_millis(200);
const DELAY_MAX: Duration = Duration::from_secs(20);

/// Whether the same request may succeed a moment later. The statuses are those the SDKs retry,
/// without 401, which the service never answers for a passing reason.
pub(super) fn worth_it(failure: &Failure) -> bool {
    match failure {
        Failure::Unreachable { .. } => true,
        Failure::Service(error) => error.status >= 500 || matches!(error.status, 408 | 429),
        Failure::Usage(_) | Failure::File { .. } | Failure::Data(_) | Failure::Answer(_) => false,
    }
}

/// The wait after failed attempt number `attempt` (from 1): doubles, capped, with full jitter so
/// that many clients do not come back at once. `fraction` is random in 0..=1.
pub(super) fn delay(attempt: u32, fraction: f64) -> Duration {
    let ceiling = DELAY_BASE.saturating_mul(1 << attempt.min(10)).min(DELAY_MAX);
    ceiling.mul_f64(fraction.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::delay;

    #[test]
    fn delays_double_up_to_a_cap_and_spread_down_to_zero() {
        let longest: Vec<_> = (1..=9).map(|attempt| delay(attempt, 1.0).as_millis()).collect();
        assert_eq!(longest, [400, 800, 1600, 3200, 6400, 12800, 20000, 20000, 20000]);
        assert_eq!(delay(3, 0.0), Duration::ZERO);
        assert_eq!(delay(u32::MAX, 0.5), Duration::from_secs(10));
    }
}
