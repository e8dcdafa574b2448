//! What is open: at most one of each key, opened on demand, closed when idle.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{OnceCell, Semaphore};

use crate::error::Error;

/// Something a task owns and can end.
pub(crate) trait Opened {
    /// Whether it takes no more requests.
    fn is_ending(&self) -> bool;
    /// Waits until its task is gone, so that it may be opened again.
    fn ended(&self) -> impl Future<Output = ()> + Send;
}

type Cell<V> = Arc<OnceCell<Arc<V>>>;

/// Open things by key.
#[derive(Debug)]
pub(crate) struct Registry<K, V> {
    cells: Mutex<BTreeMap<K, Cell<V>>>,
    opens: Semaphore,
}

/// A caller's interest in a cell: a cell that nobody fills is forgotten with the last of them.
struct Interest<'a, K: Ord + Clone, V> {
    registry: &'a Registry<K, V>,
    key: &'a K,
    cell: Cell<V>,
}

impl<K: Ord + Clone, V: Opened> Registry<K, V> {
    /// `opens_max` things are opened at the same time.
    pub(crate) fn new(opens_max: usize) -> Self {
        Self { cells: Mutex::default(), opens: Semaphore::new(opens_max.max(1)) }
    }

    /// The open thing, opened if it is not; callers that come meanwhile wait for the same opening.
    pub(crate) async fn get_or_open<F>(
        &self,
        key: &K,
        open: impl Fn() -> F,
    ) -> Result<Arc<V>, Error>
    where
        F: Future<Output = Result<Arc<V>, Error>>,
    {
        loop {
            let interest = self.interest(key);
            let opening = interest.cell.get_or_try_init(|| async {
                let _permit = self.opens.acquire().await.map_err(|_| Error::Closed)?;
                open().await
            });
            let value = Arc::clone(opening.await?);
            if !value.is_ending() {
                return Ok(value);
            }
            value.ended().await;
            self.forget(key, &value);
        }
    }

    /// The thing if it is open, or once an opening under way has made it so.
    pub(crate) async fn settled(&self, key: &K) -> Option<Arc<V>> {
        if !self.cells.lock().contains_key(key) {
            return None;
        }
        let interest = self.interest(key);
        let waited = interest.cell.get_or_try_init(|| async { Err(()) }).await;
        waited.ok().cloned()
    }

    /// Everything open, by key.
    pub(crate) fn all(&self) -> Vec<(K, Arc<V>)> {
        let cells = self.cells.lock();
        let open = cells.iter().filter_map(|(key, cell)| Some((key.clone(), cell.get()?.clone())));
        open.collect()
    }

    /// The thing if it is open now.
    pub(crate) fn open(&self, key: &K) -> Option<Arc<V>> {
        self.cells.lock().get(key)?.get().cloned().filter(|value| !value.is_ending())
    }

    /// Forgets a thing whose task has ended.
    pub(crate) fn forget(&self, key: &K, value: &Arc<V>) {
        let mut cells = self.cells.lock();
        let is_this = |cell: &Cell<V>| cell.get().is_some_and(|open| Arc::ptr_eq(open, value));
        if cells.get(key).is_some_and(is_this) {
            cells.remove(key);
        }
    }

    /// No further opening succeeds.
    pub(crate) fn close(&self) {
        self.opens.close();
    }

    fn interest<'a>(&'a self, key: &'a K) -> Interest<'a, K, V> {
        let cell = self.cells.lock().entry(key.clone()).or_default().clone();
        Interest { registry: self, key, cell }
    }
}

impl<K: Ord + Clone, V> Drop for Interest<'_, K, V> {
    fn drop(&mut self) {
        let mut cells = self.registry.cells.lock();
        // The map's reference and this one: no other caller waits for the cell.
        let last = Arc::strong_count(&self.cell) == 2;
        let ours = cells.get(self.key).is_some_and(|cell| Arc::ptr_eq(cell, &self.cell));
        if last && ours && self.cell.get().is_none() {
            cells.remove(self.key);
        }
    }
}
