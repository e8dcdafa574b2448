//! The CPU pool: scans, segment builds, checksums. Async threads do brief things only.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use rayon::prelude::*;
use tokio::sync::oneshot;

/// A fixed set of threads for work that computes and never waits. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Pool(Threads);

#[derive(Clone, Debug)]
enum Threads {
    /// Threads of its own.
    Own(Arc<rayon::ThreadPool>),
    /// The caller's, so that a simulation is a function of its seed.
    Callers,
}

impl Pool {
    /// Starts the threads. `None`: one per core; none at all: work runs on the thread that asks.
    pub(crate) fn new(threads: Option<usize>) -> Self {
        if threads == Some(0) {
            return Self(Threads::Callers);
        }
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads.unwrap_or(0))
            .thread_name(|number| format!("cpu-{number}"))
            .build()
            .expect("the operating system lets the process start threads");
        Self(Threads::Own(Arc::new(pool)))
    }

    /// Half as many threads, one at least, for work that others need not wait for.
    pub(crate) fn background(threads: Option<usize>) -> Self {
        let all = threads.unwrap_or_else(|| {
            std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
        });
        Self::new(Some(if all == 0 { 0 } else { (all / 2).max(1) }))
    }

    /// Has `work` done some time soon; without threads of its own, at once. It must not panic.
    pub(crate) fn spawn(&self, work: impl FnOnce() + Send + 'static) {
        match &self.0 {
            Threads::Own(pool) => pool.spawn(work),
            Threads::Callers => {
                keep_iterators_here();
                work();
            }
        }
    }

    /// Runs work of some hundred microseconds, without parallel iterators, on the thread that asks: handing it over and
    /// waking up again takes about as long.
    pub(crate) async fn run_here<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        match &self.0 {
            Threads::Own(_) => work(),
            Threads::Callers => self.run(work).await,
        }
    }

    /// Runs `work` on the pool; parallel iterators inside it use the same threads.
    ///
    /// A panic of the work goes on in the caller. A caller that goes away does not stop the work.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        match &self.0 {
            Threads::Own(pool) => run_on(pool, work).await,
            Threads::Callers => {
                keep_iterators_here();
                let value = work();
                // As with a pool, other tasks go on before the caller does.
                tokio::task::yield_now().await;
                value
            }
        }
    }
}

/// Does `work` with each item: shared out on the pool, one after the other on any other thread.
pub(crate) fn map<T: Send, R: Send>(items: Vec<T>, work: impl Fn(T) -> R + Send + Sync) -> Vec<R> {
    match rayon::current_thread_index() {
        Some(_) => items.into_par_iter().map(work).collect(),
        None => items.into_iter().map(work).collect(),
    }
}

async fn run_on<T: Send + 'static>(
    pool: &rayon::ThreadPool,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    let (reply, answer) = oneshot::channel();
    pool.spawn(move || {
        // Nobody waits any more when the receiver is gone.
        let _ = reply.send(catch_unwind(AssertUnwindSafe(work)));
    });
    match answer.await.expect("a pool job always answers") {
        Ok(value) => value,
        Err(panic) => resume_unwind(panic),
    }
}

/// Makes this thread a pool of its own: parallel iterators would else go to rayon's global threads.
fn keep_iterators_here() {
    thread_local! {
        static POOL: Option<rayon::ThreadPool> =
            // It fails on a thread that is part of a pool already, which is as good.
            rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build().ok();
    }
    POOL.with(|_| {});
}
