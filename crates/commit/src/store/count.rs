//! Requests and bytes per verb.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{StoreError, StoreErrorKind};

/// What a request does.
#[derive(Debug, Clone, Copy)]
pub(super) enum Verb {
    Create,
    Put,
    Get,
    List,
    Delete,
}

/// Requests and bytes of one verb since the store was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct VerbCount {
    /// Requests sent.
    pub requests: u64,
    /// Payload bytes sent or received.
    pub bytes: u64,
    /// Requests that failed, not counting "already exists" and "not found".
    pub failures: u64,
}

/// Requests and bytes per verb since the store was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StoreCounts {
    /// Creates.
    pub create: VerbCount,
    /// Overwriting puts.
    pub put: VerbCount,
    /// Reads, whole or ranged.
    pub get: VerbCount,
    /// Lists.
    pub list: VerbCount,
    /// Deletes.
    pub delete: VerbCount,
}

#[derive(Debug, Default)]
struct Counter {
    requests: AtomicU64,
    bytes: AtomicU64,
    failures: AtomicU64,
}

impl Counter {
    fn read(&self) -> VerbCount {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        VerbCount {
            requests: load(&self.requests),
            bytes: load(&self.bytes),
            failures: load(&self.failures),
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    create: Counter,
    put: Counter,
    get: Counter,
    list: Counter,
    delete: Counter,
}

impl Counters {
    /// Counts one request; `bytes` only if it succeeded.
    pub(super) fn note(&self, verb: Verb, bytes: u64, error: Option<&StoreError>) {
        let counter = match verb {
            Verb::Create => &self.create,
            Verb::Put => &self.put,
            Verb::Get => &self.get,
            Verb::List => &self.list,
            Verb::Delete => &self.delete,
        };
        counter.requests.fetch_add(1, Ordering::Relaxed);
        match error.map(StoreError::kind) {
            None => counter.bytes.fetch_add(bytes, Ordering::Relaxed),
            Some(StoreErrorKind::AlreadyExists | StoreErrorKind::NotFound) => 0,
            Some(_) => counter.failures.fetch_add(1, Ordering::Relaxed),
        };
    }

    pub(super) fn read(&self) -> StoreCounts {
        StoreCounts {
            create: self.create.read(),
            put: self.put.read(),
            get: self.get.read(),
            list: self.list.read(),
            delete: self.delete.read(),
        }
    }
}
