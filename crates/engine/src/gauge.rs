//! A number that others wait for.
//!
//! As a `tokio::sync::watch` of it, but waiters go on in the order in which they came: a `watch`
//! wakes them in an order drawn at random, and a simulation would not be a function of its seed.

use parking_lot::Mutex;
use tokio::sync::Notify;

/// A number and those who wait for it to change.
#[derive(Debug, Default)]
pub(crate) struct Gauge {
    value: Mutex<usize>,
    changed: Notify,
}

impl Gauge {
    pub(crate) fn get(&self) -> usize {
        *self.value.lock()
    }

    /// Sets the number and returns the one before.
    pub(crate) fn set(&self, value: usize) -> usize {
        let before = std::mem::replace(&mut *self.value.lock(), value);
        self.changed.notify_waiters();
        before
    }

    /// Replaces the number by what `change` makes of it.
    pub(crate) fn modify(&self, change: impl FnOnce(usize) -> usize) {
        let mut value = self.value.lock();
        *value = change(*value);
        drop(value);
        self.changed.notify_waiters();
    }

    /// Returns once the number is so; it is looked at whenever it was set.
    pub(crate) async fn wait_until(&self, is_so: impl Fn(usize) -> bool) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // From here on no change is missed.
            changed.as_mut().enable();
            if is_so(self.get()) {
                return;
            }
            changed.await;
        }
    }
}
