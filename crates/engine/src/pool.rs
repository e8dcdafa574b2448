//! The CPU pool: scans, segment builds, checksums. Never the async threads.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use tokio::sync::oneshot;

/// A fixed set of threads for work that computes and never waits. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Pool(Arc<rayon::ThreadPool>);

impl Pool {
    /// Starts the threads; `None`: one per core.
    pub(crate) fn new(threads: Option<usize>) -> Self {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads.unwrap_or(0))
            .thread_name(|number| format!("cpu-{number}"))
            .build()
            .expect("the operating system lets the process start threads");
        Self(Arc::new(pool))
    }

    /// Runs `work` on the pool; parallel iterators inside it use the same threads.
    ///
    /// A panic of the work goes on in the caller. A caller that goes away does not stop the work.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        let (reply, answer) = oneshot::channel();
        self.0.spawn(move || {
            // Nobody waits any more when the receiver is gone.
            let _ = reply.send(catch_unwind(AssertUnwindSafe(work)));
        });
        match answer.await.expect("a pool job always answers") {
            Ok(value) => value,
            Err(panic) => resume_unwind(panic),
        }
    }
}
