//! What a connection waits for, and until when.
//!
//! ```text
//!            first byte            head complete            answer written
//!   Idle ----------------> Head ------------------> Busy, Answer ----------> Idle
//! ```
//!
//! A new connection begins in `Head`: who connects has something to ask. While it is `Busy` the
//! pace of the body bounds it, in `Answer` the guard on writes, not this. One timer per connection looks at
//! the pulse now and then; requests only store a number.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::config::LimitConfig;

/// What a connection waited for too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overdue {
    /// The rest of a head.
    Head,
    /// The next request.
    Request,
}

impl Overdue {
    /// The word in metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Head => "head",
            Self::Request => "request",
        }
    }
}

const IDLE: u64 = 0;
const HEAD: u64 = 1;
const BUSY: u64 = 2;
const ANSWER: u64 = 3;

/// The state of one connection: milliseconds since its begin in the upper 62 bits, what it waits
/// for in the lower two. Stream, service and timer of a connection run in one task, so the order
/// of stores is theirs.
#[derive(Debug)]
pub(crate) struct Pulse {
    begin: Instant,
    state: AtomicU64,
}

impl Pulse {
    /// Of a connection that begins now.
    pub(crate) fn new() -> Self {
        Self { begin: Instant::now(), state: AtomicU64::new(HEAD) }
    }

    /// Milliseconds since the begin.
    fn now(&self) -> u64 {
        u64::try_from(self.begin.elapsed().as_millis()).unwrap_or(u64::MAX >> 2)
    }

    fn set(&self, state: u64) {
        self.state.store(self.now() << 2 | state, Ordering::Relaxed);
    }

    fn is(&self, state: u64) -> bool {
        self.state.load(Ordering::Relaxed) & 3 == state
    }

    /// Bytes arrived.
    pub(crate) fn read(&self) {
        if self.is(IDLE) {
            self.set(HEAD);
        }
    }

    /// Bytes of an answer went out.
    pub(crate) fn wrote(&self) {
        if self.is(IDLE) {
            self.set(IDLE);
        }
    }

    /// Nothing of an answer waits any more. One that comes in several parts may be flushed in
    /// between; then each part that goes out begins the wait anew.
    pub(crate) fn flushed(&self) {
        if self.is(ANSWER) {
            self.set(IDLE);
        }
    }

    /// A head is complete.
    pub(crate) fn asked(&self) {
        self.state.store(BUSY, Ordering::Relaxed);
    }

    /// The answer is made; what is left is to write it.
    pub(crate) fn answered(&self) {
        self.state.store(ANSWER, Ordering::Relaxed);
    }

    /// Resolves when the client is late.
    pub(crate) async fn overdue(&self, limits: &LimitConfig) -> Overdue {
        let waits = Waits::new(limits);
        loop {
            match waits.look(self.state.load(Ordering::Relaxed), self.now()) {
                Look::Late(overdue) => return overdue,
                Look::Again(ms) => {
                    tokio::time::sleep_until(self.begin + Duration::from_millis(ms)).await;
                }
            }
        }
    }
}

/// How long each wait may last, milliseconds.
#[derive(Clone, Copy, Debug)]
struct Waits {
    head: u64,
    idle: u64,
}

/// What the timer does after a look at the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    Late(Overdue),
    /// Look again at this time, milliseconds since the connection's begin.
    Again(u64),
}

impl Waits {
    fn new(limits: &LimitConfig) -> Self {
        let ms = |wait: Duration| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX >> 2);
        Self { head: ms(limits.header_timeout), idle: ms(limits.idle_timeout) }
    }

    /// Decides at a time since the connection's begin. A wait that begins after this look ends after
    /// the next at the earliest, because the next is not further away than the shortest wait.
    fn look(self, state: u64, now: u64) -> Look {
        let (since, next) = (state >> 2, now.saturating_add(self.head.min(self.idle)));
        let (overdue, longest) = match state & 3 {
            HEAD => (Overdue::Head, self.head),
            IDLE => (Overdue::Request, self.idle),
            _ => return Look::Again(next),
        };
        match since.saturating_add(longest) {
            late if late <= now => Look::Late(overdue),
            late => Look::Again(late.min(next)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAITS: Waits = Waits { head: 10, idle: 60 };

    /// What happens to a connection in the end: `changes` are states with the times at which they
    /// begin; the timer's looks are played through.
    fn late(changes: &[(u64, u64)]) -> Option<(Overdue, u64)> {
        let mut now = 0;
        while now < 10_000 {
            let state = changes.iter().rev().find(|(at, _)| *at <= now);
            let (at, state) = state.expect("a state from the begin on");
            match WAITS.look(at << 2 | state, now) {
                Look::Late(overdue) => return Some((overdue, now)),
                Look::Again(next) => {
                    assert!(next > now, "the timer moves on");
                    now = next;
                }
            }
        }
        None
    }

    #[test]
    fn each_wait_has_its_time() {
        assert_eq!(late(&[(0, HEAD)]), Some((Overdue::Head, 10)));
        assert_eq!(late(&[(0, IDLE)]), Some((Overdue::Request, 60)));
        assert_eq!(late(&[(0, BUSY)]), None);
        assert_eq!(late(&[(0, ANSWER)]), None);
    }

    #[test]
    fn a_wait_that_begins_while_the_timer_sleeps_is_not_late_too_late() {
        for begin in 1..200 {
            let head = late(&[(0, BUSY), (begin, HEAD)]);
            assert_eq!(head, Some((Overdue::Head, begin + 10)), "{begin}");
            let idle = late(&[(0, BUSY), (begin, IDLE)]);
            assert_eq!(idle, Some((Overdue::Request, begin + 60)), "{begin}");
        }
        for begin in 1..60 {
            let head = late(&[(0, IDLE), (begin, HEAD)]);
            assert_eq!(head, Some((Overdue::Head, begin + 10)), "{begin}");
        }
    }

    #[test]
    fn an_answer_that_flows_and_a_client_that_asks_are_never_late() {
        let flowing: Vec<_> = (0..500).map(|n| (n * 50, IDLE)).collect();
        assert_eq!(late(&flowing), None);
        let asking: Vec<_> = (0..500)
            .flat_map(|n| [(n * 20, BUSY), (n * 20 + 5, IDLE), (n * 20 + 15, HEAD)])
            .collect();
        assert_eq!(late(&asking), None);
    }

    #[test]
    fn bytes_move_the_pulse() {
        let pulse = Pulse::new();
        assert!(pulse.is(HEAD), "a new connection has something to ask");
        pulse.asked();
        pulse.read();
        pulse.wrote();
        assert!(pulse.is(BUSY), "a body is no head");
        pulse.answered();
        pulse.wrote();
        pulse.read();
        assert!(pulse.is(ANSWER), "the guard on writes has its turn");
        pulse.flushed();
        pulse.wrote();
        assert!(pulse.is(IDLE));
        pulse.read();
        let began = pulse.state.load(Ordering::Relaxed);
        assert!(pulse.is(HEAD));
        std::thread::sleep(Duration::from_millis(5));
        pulse.read();
        assert_eq!(pulse.state.load(Ordering::Relaxed), began, "a head that drips gains no time");
    }
}
