//! Segments of a large index scanned by several processes for one query.
//!
//! A segment is immutable and every process over a shared store can read it, so a scan of some
//! segments is a function of bytes that are the same everywhere: the request names the segments,
//! brings the deletions that the asking snapshot has and the query itself, and the answer is the
//! best candidates. The asking process merges them with its own. Nothing of the helper's own state
//! (its log, its memtable, its catalog) takes part, so the result is what a local scan gives.
//!
//! [`Spread`] is how requests reach other processes; what is in them is this module's business.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;

use crate::records::IndexId;

/// Another process that can take a share of a scan, by its place in a list of [`Spread::helpers`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Helper {
    /// Name of the process, for logs.
    pub name: String,
}

/// A share was not scanned; the asking process scans it itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotScanned(pub String);

impl fmt::Display for NotScanned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotScanned {}

/// An answer that will come.
pub type Scanning<'a> = Pin<Box<dyn Future<Output = Result<Bytes, NotScanned>> + Send + 'a>>;

/// How scans reach other processes over the same store.
pub trait Spread: fmt::Debug + Send + Sync {
    /// Processes beside this one that can take a share of a scan of this index now, best first.
    fn helpers(&self, index: IndexId) -> Vec<Helper>;

    /// Has `helper` answer `request` (by `Engine::scan_share` there), within a bounded time.
    fn scan(&self, helper: &Helper, request: Bytes) -> Scanning<'_>;
}
