//! Batch numbers: one rising series per process, over all its logs.

use std::sync::atomic::{AtomicU64, Ordering};

static NEXT: AtomicU64 = AtomicU64::new(1);

/// Takes `count` consecutive numbers and returns the first.
pub(crate) fn take(count: usize) -> u64 {
    NEXT.fetch_add(count as u64, Ordering::Relaxed)
}
