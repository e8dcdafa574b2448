//! How many bytes of requests may be in memory at once.
//!
//! Admission is counted in bytes, not in requests: one budget for writes, one for everything else,
//! so that bulk loads cannot starve queries. A request that finds no room waits a bounded time in
//! arrival order and is then refused. Invariant: the bytes of all permits of a budget that are
//! alive never exceed the budget.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::metrics::Metrics;

/// Room that a request of the query budget takes for its answer, in bytes.
pub(crate) const ANSWER_BYTES: u64 = 1 << 20;

/// Permits are counted in units of this many bytes, so that budgets beyond 4 GiB fit.
const UNIT: u64 = 1 << 10;

/// Which budget a request draws from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Budget {
    /// Requests that change records.
    Write,
    /// Everything else.
    Query,
}

impl Budget {
    fn name(self, from_peers: bool) -> &'static str {
        match (self, from_peers) {
            (Self::Write, false) => "write",
            (Self::Query, false) => "query",
            (Self::Write, true) => "peer_write",
            (Self::Query, true) => "peer_query",
        }
    }
}

/// No room came free in time; the client should come back later.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Overloaded;

/// Both budgets.
pub(crate) struct Admission {
    write: Pool,
    query: Pool,
    wait_max: Duration,
    metrics: Arc<Metrics>,
    from_peers: bool,
}

struct Pool {
    semaphore: Arc<Semaphore>,
    units: u32,
}

impl Pool {
    fn new(bytes: u64) -> Self {
        let units = u32::try_from(bytes / UNIT).unwrap_or(u32::MAX).max(1);
        let units = units.min(u32::try_from(Semaphore::MAX_PERMITS).unwrap_or(u32::MAX));
        Self { semaphore: Arc::new(Semaphore::new(units as usize)), units }
    }

    /// Units that stand for `bytes`; a request larger than the budget takes all of it.
    fn units(&self, bytes: u64) -> u32 {
        u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).clamp(1, self.units)
    }
}

/// Room for one request, given back when dropped.
pub(crate) struct Permit {
    _permit: OwnedSemaphorePermit,
    bytes: i64,
    budget: &'static str,
    metrics: Arc<Metrics>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.metrics.admission_taken(self.budget, -self.bytes);
    }
}

impl Admission {
    /// Budgets in bytes.
    pub(crate) fn new(write: u64, query: u64, wait_max: Duration, metrics: Arc<Metrics>) -> Self {
        let (write, query) = (Pool::new(write), Pool::new(query));
        Self { write, query, wait_max, metrics, from_peers: false }
    }

    /// The same for requests that other nodes forward. They have budgets of their own: with one for
    /// both, two nodes whose clients fill it would wait for each other's room.
    pub(crate) fn of_peers(self) -> Self {
        Self { from_peers: true, ..self }
    }

    /// Room for `bytes`, waited for in arrival order.
    ///
    /// # Errors
    /// [`Overloaded`] when none came free within the configured wait.
    pub(crate) async fn admit(&self, budget: Budget, bytes: u64) -> Result<Permit, Overloaded> {
        let pool = match budget {
            Budget::Write => &self.write,
            Budget::Query => &self.query,
        };
        let name = budget.name(self.from_peers);
        let units = pool.units(bytes);
        let semaphore = Arc::clone(&pool.semaphore);
        let permit = match Arc::clone(&semaphore).try_acquire_many_owned(units) {
            Ok(permit) => permit,
            Err(_) => self.wait(name, semaphore, units).await?,
        };
        let bytes = i64::from(units) * UNIT as i64;
        self.metrics.admission_taken(name, bytes);
        Ok(Permit { _permit: permit, bytes, budget: name, metrics: Arc::clone(&self.metrics) })
    }

    async fn wait(
        &self,
        budget: &'static str,
        semaphore: Arc<Semaphore>,
        units: u32,
    ) -> Result<OwnedSemaphorePermit, Overloaded> {
        self.metrics.admission_waited(budget);
        match tokio::time::timeout(self.wait_max, semaphore.acquire_many_owned(units)).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => {
                self.metrics.admission_refused(budget);
                Err(Overloaded)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(write: u64, wait: Duration) -> Admission {
        Admission::new(write, 4096, wait, Arc::new(Metrics::new()))
    }

    #[tokio::test]
    async fn a_full_write_budget_refuses_writes_and_admits_queries() {
        let admission = admission(4096, Duration::from_millis(10));
        let held = admission.admit(Budget::Write, 4096).await.unwrap();
        assert_eq!(admission.admit(Budget::Write, 1).await.err(), Some(Overloaded));
        assert!(admission.admit(Budget::Query, 4096).await.is_ok());
        drop(held);
        assert!(admission.admit(Budget::Write, 4096).await.is_ok());
    }

    #[tokio::test]
    async fn a_waiting_request_enters_when_room_comes_free() {
        let admission = Arc::new(admission(2048, Duration::from_secs(5)));
        let held = admission.admit(Budget::Write, 2000).await.unwrap();
        let waiting = {
            let admission = Arc::clone(&admission);
            tokio::spawn(async move { admission.admit(Budget::Write, 2048).await.is_ok() })
        };
        tokio::task::yield_now().await;
        drop(held);
        assert!(waiting.await.unwrap());
        assert!(admission.metrics.render().contains("admission_waits_total{budget=\"write\"} 1"));
        assert!(admission.metrics.render().contains("admission_bytes{budget=\"write\"} 0"));
    }

    #[tokio::test]
    async fn a_body_larger_than_the_budget_takes_all_of_it() {
        let admission = admission(2048, Duration::ZERO);
        let held = admission.admit(Budget::Write, 1 << 40).await.unwrap();
        assert!(admission.admit(Budget::Write, 1).await.is_err());
        drop(held);
    }
}
