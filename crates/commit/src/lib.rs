//! A log of numbered objects on an object store: create-if-absent, read-back, fold, collect.
mod error;
mod log;
mod manifest;
mod slot;
mod store;

pub use error::{CommitError, StoreError, StoreErrorKind};
pub use log::{Collected, Committed, CreateError, Event, Fold, FoldError, Folded, Log, Opened};
pub use manifest::{FoldedWriter, Manifest};
pub use slot::{SLOT_BYTES_MAX, Slot, WriterId, groups, slot_bytes};
pub use store::{Listing, LocalOptions, ObjectInfo, Store, StoreCounts, VerbCount};
