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
    /// Requests sent; on a remote store every HTTP request: repetitions, second copies, the pages
    /// of a long list and the parts of an upload are counted one by one.
    pub requests: u64,
    /// Payload bytes sent or received.
    pub bytes: u64,
    /// Requests that failed in the end, not counting "already exists" and "not found".
    pub failures: u64,
    /// Requests that were sent again after a failure; only on remote stores.
    pub retries: u64,
    /// Second copies of slow reads; only on remote stores.
    pub hedges: u64,
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
    retries: AtomicU64,
    hedges: AtomicU64,
}

impl Counter {
    fn read(&self) -> VerbCount {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        VerbCount {
            requests: load(&self.requests),
            bytes: load(&self.bytes),
            failures: load(&self.failures),
            retries: load(&self.retries),
            hedges: load(&self.hedges),
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    /// Requests are counted one by one where they are sent, see [`Self::sent`].
    by_wire: bool,
    create: Counter,
    put: Counter,
    get: Counter,
    list: Counter,
    delete: Counter,
}

impl Counters {
    /// Counters of a store whose HTTP requests are counted where they are sent.
    pub(super) fn by_wire() -> Self {
        Self { by_wire: true, ..Self::default() }
    }

    fn of(&self, verb: Verb) -> &Counter {
        match verb {
            Verb::Create => &self.create,
            Verb::Put => &self.put,
            Verb::Get => &self.get,
            Verb::List => &self.list,
            Verb::Delete => &self.delete,
        }
    }

    /// Counts an HTTP request; `None` is one for credentials, which is not counted.
    pub(super) fn sent(&self, verb: Option<Verb>) {
        self.add(verb, |counter| &counter.requests);
    }

    /// Counts the repetition of a failed request.
    pub(super) fn retried(&self, verb: Option<Verb>) {
        self.add(verb, |counter| &counter.retries);
    }

    /// Counts a second copy of a slow read.
    pub(super) fn hedged(&self, verb: Option<Verb>) {
        self.add(verb, |counter| &counter.hedges);
    }

    fn add(&self, verb: Option<Verb>, which: impl Fn(&Counter) -> &AtomicU64) {
        if let Some(verb) = verb {
            which(self.of(verb)).fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts one request; `bytes` only if it succeeded.
    pub(super) fn note(&self, verb: Verb, bytes: u64, error: Option<&StoreError>) {
        let counter = self.of(verb);
        counter.requests.fetch_add(u64::from(!self.by_wire), Ordering::Relaxed);
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
