//! Whether a peer is asked at all: the circuit breaker as a pure machine.
//!
//! A peer is asked while it is *up*. A failed request takes it down at once, so that the next ones
//! do not wait for the same failure; from then on only the prober asks it, once per round, and the
//! first answer that says "ready" brings it up again (the half-open state of a circuit breaker,
//! without a client's request as the guinea pig). A peer that answers probes and fails requests is
//! held down for a time that doubles with each failure, until a request succeeds.

use std::time::Duration;

/// How long a first failed request holds a peer down; doubles with each further one.
const HOLD_MIN: Duration = Duration::from_secs(1);
/// Probes without an answer, one after the other, that take a peer down: a busy node may be late.
const SILENT_PROBES_MAX: u32 = 3;
/// Longest time that failures hold a peer down.
const HOLD_MAX: Duration = Duration::from_secs(60);

/// Why a peer is not asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Down {
    /// Nothing was heard of it yet.
    Unknown,
    /// No connection, or a connection that broke.
    Unreachable,
    /// It does not answer in time.
    Silent,
    /// It is starting or stopping.
    NotReady,
    /// It does not accept this node's marks: another key, or clocks apart.
    Refusing,
}

impl Down {
    /// One word for the admin listener and the log.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Unreachable => "unreachable",
            Self::Silent => "silent",
            Self::NotReady => "not ready",
            Self::Refusing => "refuses our marks",
        }
    }
}

/// What is known of a peer. Times are since the start of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Health {
    down: Option<Down>,
    /// Requests that failed since the last that succeeded.
    failures: u32,
    /// Probes without an answer since the last that was answered.
    silent_probes: u32,
    held_until: Duration,
}

impl Health {
    /// Nothing is known: not asked until it answered a probe.
    pub(super) fn new() -> Self {
        Self {
            down: Some(Down::Unknown),
            failures: 0,
            silent_probes: 0,
            held_until: Duration::ZERO,
        }
    }

    /// Why the peer is not to be asked; `None`: it is.
    pub(super) fn down(&self) -> Option<Down> {
        self.down
    }

    /// A request was answered.
    pub(super) fn answered(&mut self) {
        self.failures = 0;
    }

    /// A request failed.
    pub(super) fn failed(&mut self, why: Down, now: Duration) {
        let hold = HOLD_MIN.saturating_mul(1 << self.failures.min(16)).min(HOLD_MAX);
        self.failures = self.failures.saturating_add(1);
        self.down = Some(why);
        self.held_until = now + hold;
    }

    /// The peer says that it stops. Not a failure: it comes back as soon as a probe says so.
    pub(super) fn leaving(&mut self) {
        self.down = Some(Down::NotReady);
    }

    /// The outcome of a probe.
    pub(super) fn probed(&mut self, outcome: Result<(), Down>, now: Duration) {
        let silent = outcome == Err(Down::Silent);
        self.silent_probes = if silent { self.silent_probes.saturating_add(1) } else { 0 };
        match outcome {
            Ok(()) if now >= self.held_until => self.down = None,
            Err(Down::Silent) if self.silent_probes < SILENT_PROBES_MAX => {}
            Ok(()) => {}
            Err(why) => self.down = Some(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_peer_is_asked_once_it_answered_a_probe_and_until_it_fails() {
        let mut health = Health::new();
        assert_eq!(health.down(), Some(Down::Unknown));
        health.probed(Err(Down::Unreachable), at(0));
        assert_eq!(health.down(), Some(Down::Unreachable));
        health.probed(Ok(()), at(1));
        assert_eq!(health.down(), None);
        health.failed(Down::Unreachable, at(2));
        assert_eq!(health.down(), Some(Down::Unreachable));
        health.probed(Ok(()), at(3));
        assert_eq!(health.down(), None);
    }

    #[test]
    fn a_peer_that_fails_requests_is_held_down_longer_each_time() {
        let mut health = Health::new();
        let mut now = at(0);
        for hold in [1, 2, 4, 8, 16, 32, 60, 60] {
            health.failed(Down::Silent, now);
            health.probed(Ok(()), now + at(hold) - Duration::from_millis(1));
            assert_eq!(health.down(), Some(Down::Silent), "{hold}");
            now += at(hold);
            health.probed(Ok(()), now);
            assert_eq!(health.down(), None, "{hold}");
        }
        health.answered();
        health.failed(Down::Silent, now);
        health.probed(Ok(()), now + at(1));
        assert_eq!(health.down(), None);
    }

    #[test]
    fn one_late_answer_to_a_probe_is_no_failure() {
        let mut health = Health::new();
        health.probed(Ok(()), at(0));
        for outcome in [Err(Down::Silent), Err(Down::Silent), Ok(()), Err(Down::Silent)] {
            health.probed(outcome, at(1));
            assert_eq!(health.down(), None);
        }
        health.probed(Err(Down::Silent), at(2));
        health.probed(Err(Down::Silent), at(3));
        assert_eq!(health.down(), Some(Down::Silent));
    }

    #[test]
    fn a_peer_that_leaves_comes_back_at_once() {
        let mut health = Health::new();
        health.probed(Ok(()), at(1));
        health.leaving();
        assert_eq!(health.down(), Some(Down::NotReady));
        health.probed(Ok(()), at(1));
        assert_eq!(health.down(), None);
    }
}
