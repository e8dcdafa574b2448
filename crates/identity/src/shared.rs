//! What the task that owns the log and its callers share: the snapshot, and how old it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::Instant;

use crate::state::State;
use crate::{Error, Snapshot};

/// After a failed proof, how long requests do not wait for another one.
const FAILURE_REST: Duration = Duration::from_secs(5);

/// What the task and its callers share.
#[derive(Debug)]
pub(crate) struct Shared {
    snapshot: ArcSwap<Snapshot>,
    started: Instant,
    /// Uptime at which the newest successful proof was begun.
    proven_ms: AtomicU64,
    /// Uptime of the last failed proof, plus one; 0: the last one succeeded.
    failed_ms: AtomicU64,
    /// Whether the snapshot was used since the last tick.
    used: AtomicBool,
}

impl Shared {
    pub(crate) fn new(snapshot: Snapshot) -> Self {
        Self {
            snapshot: ArcSwap::from_pointee(snapshot),
            started: Instant::now(),
            proven_ms: AtomicU64::new(0),
            failed_ms: AtomicU64::new(0),
            used: AtomicBool::new(false),
        }
    }

    pub(crate) fn uptime_ms(&self) -> u64 {
        millis(self.started.elapsed())
    }

    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    pub(crate) fn take_used(&self) -> bool {
        self.used.swap(false, Ordering::Relaxed)
    }

    /// Written only when it changes: every request comes by here.
    pub(crate) fn note_used(&self) {
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
    }

    pub(crate) fn note_proof(&self, begun_ms: u64) {
        self.proven_ms.store(begun_ms, Ordering::Relaxed);
        if self.failed_ms.swap(0, Ordering::Relaxed) != 0 {
            tracing::info!("the store of identities is reached again");
        }
        self.snapshot.load().stale.store(false, Ordering::Relaxed);
    }

    pub(crate) fn note_failure(&self, error: &Error) {
        if self.failed_ms.swap(self.uptime_ms() + 1, Ordering::Relaxed) == 0 {
            tracing::warn!(%error, "the store of identities is not reached");
        }
    }

    /// The snapshot is too old to vouch for anybody but roots.
    pub(crate) fn give_up(&self) {
        self.snapshot.load().stale.store(true, Ordering::Relaxed);
    }

    /// Whether the published snapshot is of this state.
    pub(crate) fn shows(&self, state: &Arc<State>) -> bool {
        Arc::ptr_eq(&self.snapshot.load().state, state)
    }

    pub(crate) fn publish(&self, state: &Arc<State>) {
        let before = self.snapshot.load_full();
        let snapshot = Snapshot::derive(Arc::clone(state), &before);
        let (was, is) = (before.unavailable().count(), snapshot.unavailable().count());
        if let Some((key, error)) = snapshot.unavailable().next().filter(|_| is > was) {
            tracing::error!(keys = is, example = %key, %error, "secrets cannot be opened");
        }
        self.snapshot.store(Arc::new(snapshot));
    }

    pub(crate) fn age(&self) -> Duration {
        let proven = self.proven_ms.load(Ordering::Relaxed);
        Duration::from_millis(self.uptime_ms().saturating_sub(proven))
    }

    pub(crate) fn failed_lately(&self) -> bool {
        match self.failed_ms.load(Ordering::Relaxed) {
            0 => false,
            failed => self.uptime_ms() + 1 < failed + millis(FAILURE_REST),
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
