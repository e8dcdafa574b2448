//! Parts that most states have in common: cloned by reference, hashed once.

use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

use super::fingerprint::fingerprint;

/// A part of a state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shared<T> {
    part: Arc<T>,
    print: u128,
}

impl<T: Hash + Clone> Shared<T> {
    pub(super) fn new(part: T) -> Self {
        let print = fingerprint(&part);
        Self { part: Arc::new(part), print }
    }

    /// Changes this state's part.
    pub(super) fn change<R>(&mut self, change: impl FnOnce(&mut T) -> R) -> R {
        let part = Arc::make_mut(&mut self.part);
        let result = change(part);
        self.print = fingerprint(part);
        result
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.part
    }
}

impl<T> Hash for Shared<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u128(self.print);
    }
}
