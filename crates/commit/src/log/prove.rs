//! Proving where a log ends, without its owner.
//!
//! ```text
//! callers:  a b     c d e                      f
//! lists:    |---- for a, b ----||---- for c, d, e, f? no: f comes after it was sent ...
//! ```
//!
//! A list serves all callers that began to wait before it was sent; those who come later share the
//! next one. So a caller waits for two lists at most, however many there are.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use tokio::sync::Semaphore;

use super::run::highest_slot;
use crate::error::StoreError;
use crate::store::Store;

/// Where a log ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tip {
    /// With this slot, or one before it.
    ///
    /// Every batch that was acknowledged, or shown by a strong read, anywhere before the question,
    /// lies in slots up to this number (or was folded). So any checked state of the log that was
    /// applied up to this slot or a later one shows them all.
    At(u64),
    /// No slot was ever written, or the log is gone: its owner must catch up to tell.
    Unclear,
}

/// Proves where a log ends. Clones share the requests.
#[derive(Clone)]
pub struct Prover(Arc<Inner>);

struct Inner {
    store: Store,
    prefix: Arc<str>,
    /// A slot that was the log's highest once: lists begin with it.
    from: AtomicU64,
    /// The list that is yet to be sent, if somebody waits for it.
    next: Mutex<Option<Flight>>,
    /// Held by the list under way.
    turn: Semaphore,
}

type Flight = Shared<BoxFuture<'static, Result<Tip, Arc<StoreError>>>>;

impl std::fmt::Debug for Prover {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Prover({} from {})", self.0.prefix, self.0.from.load(Ordering::Relaxed))
    }
}

impl Prover {
    pub(super) fn new(store: &Store, prefix: &Arc<str>, tip: u64) -> Self {
        Self(Arc::new(Inner {
            store: store.clone(),
            prefix: Arc::clone(prefix),
            from: AtomicU64::new(tip),
            next: Mutex::default(),
            turn: Semaphore::new(1),
        }))
    }

    /// Notes the log's tip, so that lists stay short.
    pub(super) fn note(&self, tip: u64) {
        self.0.from.fetch_max(tip, Ordering::Relaxed);
    }

    /// Where the log ends now, or a moment after the call. One list, shared by all who wait for it;
    /// none on a store with a sole writer, whose owner knows.
    ///
    /// # Errors
    ///
    /// What the store answered: then nothing is known about newer batches.
    pub async fn tip(&self) -> Result<Tip, StoreError> {
        if self.0.store.sole_writer() {
            return Ok(Tip::At(0));
        }
        let told = self.join().await;
        told.map_err(|error| {
            StoreError::new(error.kind(), error.path()).with_source(error.to_string())
        })
    }

    /// The list that is yet to be sent.
    fn join(&self) -> Flight {
        let mut next = self.0.next.lock().unwrap_or_else(PoisonError::into_inner);
        // Weak: `next` is the prover's own.
        let inner = Arc::downgrade(&self.0);
        next.get_or_insert_with(|| list(inner).boxed().shared()).clone()
    }
}

async fn list(inner: Weak<Inner>) -> Result<Tip, Arc<StoreError>> {
    // Those who wait hold the prover.
    let Some(inner) = inner.upgrade() else { return Ok(Tip::Unclear) };
    let _turn = inner.turn.acquire().await.expect("the semaphore is never closed");
    // From here on, newcomers wait for another one.
    drop(inner.next.lock().unwrap_or_else(PoisonError::into_inner).take());
    let from = inner.from.load(Ordering::Relaxed);
    let highest = highest_slot(&inner.store, &inner.prefix, from).await.map_err(Arc::new)?;
    Ok(highest.map_or(Tip::Unclear, Tip::At))
}
