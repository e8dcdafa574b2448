//! The threads that connections live on.
//!
//! ```text
//! accept --> worker 1: its connections, their timers, their sockets
//!        \-> worker 2: ...                 (in turn, one per core)
//!                |  what a request starts that outlives it
//!                v
//!          the server's runtime: writers, flushes, the catalog, deliveries
//! ```
//!
//! A connection stays on one thread, so that a request is read, answered and written without waking another one: with
//! threads that steal from each other that cost a fifth of a small query. Requests may compute for some hundred
//! microseconds here; more than that belongs on the CPU pool.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use tokio::runtime::{Builder, Handle};
use tokio::sync::watch;

/// Single-threaded runtimes, each on a thread of its own. They end, with all that runs on them, when this is dropped.
pub(crate) struct Workers {
    runtimes: Vec<Handle>,
    next: AtomicUsize,
    /// Workers end when it is gone.
    _alive: watch::Sender<()>,
}

impl Workers {
    /// One per core.
    ///
    /// # Errors
    /// When the operating system lets no thread or event queue be made.
    pub(crate) fn start() -> io::Result<Self> {
        let count = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let alive = watch::Sender::new(());
        let mut runtimes = Vec::with_capacity(count);
        for number in 0..count {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            runtimes.push(runtime.handle().clone());
            let mut stopped = alive.subscribe();
            let run = move || {
                // An error says that the sender is gone, which is what is waited for.
                runtime.block_on(async { while stopped.changed().await.is_ok() {} });
            };
            std::thread::Builder::new().name(format!("worker-{number}")).spawn(run)?;
        }
        Ok(Self { runtimes, next: AtomicUsize::new(0), _alive: alive })
    }

    /// Runs a connection on the worker whose turn it is.
    pub(crate) fn spawn(&self, connection: impl Future<Output = ()> + Send + 'static) {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        self.runtimes[turn % self.runtimes.len()].spawn(connection);
    }
}

/// A future that is polled here, but starts tasks on another runtime.
pub(crate) struct StartsTasksOn<'a, F> {
    runtime: &'a Handle,
    future: Pin<&'a mut F>,
}

impl<'a, F: Future> StartsTasksOn<'a, F> {
    pub(crate) fn new(runtime: &'a Handle, future: Pin<&'a mut F>) -> Self {
        Self { runtime, future }
    }
}

impl<F: Future> Future for StartsTasksOn<'_, F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let _entered = self.runtime.enter();
        self.future.as_mut().poll(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    async fn thread_of(workers: &Workers) -> String {
        let (reply, answer) = oneshot::channel();
        workers.spawn(async move {
            reply.send(std::thread::current().name().unwrap_or_default().to_owned()).unwrap();
        });
        answer.await.unwrap()
    }

    #[tokio::test]
    async fn connections_are_shared_out_in_turn() {
        let workers = Workers::start().unwrap();
        let count = workers.runtimes.len();
        for turn in 0..2 * count {
            assert_eq!(thread_of(&workers).await, format!("worker-{}", turn % count));
        }
    }

    #[tokio::test]
    async fn a_task_of_a_request_outlives_the_workers() {
        let workers = Workers::start().unwrap();
        let main = Handle::current();
        let (begun, is_begun) = oneshot::channel();
        let (go_on, may_go_on) = oneshot::channel::<()>();
        let (reply, answer) = oneshot::channel();
        workers.spawn(async move {
            let request = std::pin::pin!(async {
                tokio::spawn(async move {
                    may_go_on.await.unwrap();
                    reply.send(7).unwrap();
                });
            });
            StartsTasksOn::new(&main, request).await;
            begun.send(()).unwrap();
        });
        is_begun.await.unwrap();
        drop(workers);
        go_on.send(()).unwrap();
        assert_eq!(answer.await, Ok(7));
    }

    #[tokio::test]
    async fn what_runs_on_workers_ends_with_them() {
        let workers = Workers::start().unwrap();
        let (kept, gone) = oneshot::channel::<()>();
        workers.spawn(async move {
            let _kept = kept;
            std::future::pending::<()>().await;
        });
        drop(workers);
        assert!(gone.await.is_err(), "its sender was dropped");
    }
}
