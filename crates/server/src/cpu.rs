//! Work that computes, kept off the threads that serve sockets.

use std::sync::Arc;

use tokio::sync::Semaphore;

/// Bytes below which work is done in place: moving it to another thread costs more.
const INLINE_BYTES_MAX: usize = 32 << 10;

/// A bound on how much is computed at once, so that large bodies wait instead of crowding the CPU.
#[derive(Clone)]
pub(crate) struct Pool(Arc<Semaphore>);

impl Pool {
    /// A pool that runs `threads` pieces of work at once.
    pub(crate) fn new(threads: usize) -> Self {
        Self(Arc::new(Semaphore::new(threads.max(1))))
    }

    /// Runs work on `bytes` bytes: in place when they are few, else on a computing thread.
    pub(crate) async fn run_sized<T: Send + 'static>(
        &self,
        bytes: usize,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        if bytes < INLINE_BYTES_MAX { work() } else { self.run(work).await }
    }

    /// Runs `work` on a computing thread. A panic of `work` goes on in the caller.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        let permit = Arc::clone(&self.0).acquire_owned().await;
        let done = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work()
        });
        match done.await {
            Ok(value) => value,
            Err(failed) => match failed.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // Work that has begun is not cancelled; what had not begun ends with the runtime,
                // and then nobody is left to wait.
                Err(_) => std::future::pending().await,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;
    use std::panic::AssertUnwindSafe;

    #[tokio::test]
    async fn values_and_panics_come_back() {
        let pool = Pool::new(1);
        assert_eq!(pool.run(|| 6 * 7).await, 42);
        let panicked = AssertUnwindSafe(pool.run(|| panic!("on purpose"))).catch_unwind().await;
        assert!(panicked.is_err());
        assert_eq!(pool.run(|| 1).await, 1);
    }
}
