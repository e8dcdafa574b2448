//! How callers reach the one task that owns a log.
//!
//! A task ends in two steps: it closes its inbox (nobody can send any more), answers what is already
//! in there, and ends. Only then may the log be opened again, so that one process never has two
//! writers on a log; [`Mailbox::ended`] waits for that moment.

use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc, oneshot};

/// Requests that wait for a task at most; further senders wait for room.
const CAPACITY: usize = 1024;

/// The callers' side.
#[derive(Debug)]
pub(crate) struct Mailbox<R> {
    sender: mpsc::Sender<R>,
    ended: Arc<Semaphore>,
}

/// The task's side; dropping it is the end of the task.
#[derive(Debug)]
pub(crate) struct Inbox<R> {
    pub(crate) receiver: mpsc::Receiver<R>,
    _end: End,
}

/// The end of a task: a semaphore without permits, whose waiters go on, in their order, when it is
/// closed.
#[derive(Debug)]
struct End(Arc<Semaphore>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Why a request has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unanswered {
    /// The task is ending and never saw it.
    NotSent,
    /// The task died over it.
    Lost,
}

/// A connected pair.
pub(crate) fn mailbox<R>() -> (Mailbox<R>, Inbox<R>) {
    let (sender, receiver) = mpsc::channel(CAPACITY);
    let ended = Arc::new(Semaphore::new(0));
    let end = End(Arc::clone(&ended));
    (Mailbox { sender, ended }, Inbox { receiver, _end: end })
}

impl<R> Mailbox<R> {
    /// Sends a request and waits for its answer.
    pub(crate) async fn ask<T>(
        &self,
        request: impl FnOnce(oneshot::Sender<T>) -> R,
    ) -> Result<T, Unanswered> {
        let (reply, answer) = oneshot::channel();
        self.sender.send(request(reply)).await.map_err(|_| Unanswered::NotSent)?;
        answer.await.map_err(|_| Unanswered::Lost)
    }

    /// Sends a request that has no answer.
    pub(crate) async fn send(&self, request: R) -> Result<(), Unanswered> {
        self.sender.send(request).await.map_err(|_| Unanswered::NotSent)
    }

    /// Whether the task takes no more requests.
    pub(crate) fn is_ending(&self) -> bool {
        self.sender.is_closed()
    }

    /// Waits until the task is gone.
    pub(crate) async fn ended(&self) {
        // There is never a permit: it returns when the semaphore is closed.
        let _ = self.ended.acquire().await;
    }
}
