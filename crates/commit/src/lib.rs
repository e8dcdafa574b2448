//! A log of numbered objects on an object store: create-if-absent, read-back, fold, collect.
//!
//! [`Store`] is the one narrow place through which objects are read and written. A [`Log`] under a
//! prefix of it is a series of slots (`log/{seq}`), each one group commit, and a series of
//! manifests (`manifest/{n}`), each saying which slots were folded into what. The only primitive is
//! to create a numbered object if it is absent; neither leases nor clocks take part in safety.
//!
//! Decisions are apart from doing: [`rules`] are predicates over plain values, [`machine`] is the
//! protocol without I/O, and `Log` executes the machine's requests. The model checker drives the
//! same machine. `docs/commit-protocol.md` has the formats, the rules and why they are sound.

mod clock;
mod collect;
mod error;
mod format;
pub mod fuzz;
mod log;
pub mod machine;
mod manifest;
mod names;
mod process;
pub mod rules;
mod slot;
mod store;

pub use clock::{Clock, SystemClock};
pub use collect::{Collector, CollectorStep};
pub use error::{CommitError, CreateError, StoreError, StoreErrorKind};
pub use format::FormatError;
pub use log::{
    Collected, Committed, Event, Fold, FoldError, Folded, Log, Opened, Progress, Prover, Tip,
};
pub use manifest::{FOLDED_WRITERS_MAX, FoldedWriter, MANIFEST_BYTES_MAX, Manifest};
#[doc(hidden)]
pub use process::Process;
pub use slot::{SLOT_BYTES_MAX, Slot, WriterId, groups, slot_bytes};
pub use store::{
    Cloud, Listing, LocalOptions, ObjectInfo, ObjectWriter, RemoteOptions, Store, StoreCounts,
    VerbCount,
};
