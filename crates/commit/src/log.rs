//! One open log.
use bytes::Bytes;
use crate::{error::{CommitError, StoreError}, manifest::Manifest, slot::{Slot, WriterId}, store::Store};

/// What a log's owner must apply, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The next slot of the log (another writer's or our own).
    Slot(Slot),
    /// The log was read anew: replaces everything applied so far.
    Reopened {
        /// The newest manifest.
        manifest: Manifest,
        /// All slots from its floor to the tip.
        slots: Vec<Slot>,
        /// Batches of ours whose outcome was reported unknown and that are now known to be committed.
        recovered: Vec<u64>,
    },
}

/// A committed group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The slot that holds the group.
    pub seq: u64,
    /// Numbers of the group's batches, in order.
    pub batches: Vec<u64>,
    /// To be applied in order before the group is acknowledged; holds our own group exactly once
    /// (as a slot of its own, in the slots of a re-open, or folded into its manifest).
    pub events: Vec<Event>,
}

/// The state in which [`Log::open`] found a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// The newest manifest.
    pub manifest: Manifest,
    /// All slots from its floor to the tip.
    pub slots: Vec<Slot>,
}

/// A fold to be committed.
#[derive(Debug, Clone)]
pub struct Fold {
    /// Number of the manifest the body was derived from.
    pub base: u64,
    /// The floor the flush started from.
    pub from: u64,
    /// The new floor: slots below it are in the body.
    pub floor: u64,
    /// The new manifest's body.
    pub body: Bytes,
}

/// A committed fold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folded { 
    /// The manifest that is now the newest.
    pub manifest: Manifest,
    /// Slots of others learnt meanwhile, to be applied.
    pub events: Vec<Event> }

/// Why a fold did not commit.
#[derive(Debug)]
pub enum FoldError {
    /// Another manifest came first. Apply the events; if the floor is still the one the flush
    /// started from, rebuild the body on the new manifest, else discard the flush.
    Superseded(Vec<Event>),
    /// The log failed as a commit does.
    Failed(CommitError),
}

/// Why a log could not be created.
#[derive(Debug)]
pub enum CreateError { 
    /// A live log is there already.
    AlreadyExists,
    /// It is not known whether the log was created.
    Unknown(StoreError), 
    /// The store refused; nothing was written.
    Store(StoreError) }

/// One open log; owned by one task.
#[derive(Debug)]
pub struct Log { }

#[expect(clippy::unimplemented, clippy::unused_async, reason = "signatures first")]
#[allow(unused_variables, missing_docs)]
impl Log {
    pub async fn create(store: &Store, prefix: &str, writer: WriterId, body: Bytes) -> Result<Self, CreateError> { unimplemented!() }
    /// None: no manifest, or a closed one: dropped or never existed.
    pub async fn open(store: &Store, prefix: &str, writer: WriterId) -> Result<Option<(Self, Opened)>, StoreError> { unimplemented!() }
    pub async fn commit(&mut self, group: Vec<Bytes>) -> Result<Committed, CommitError> { unimplemented!() }
    pub async fn catch_up(&mut self) -> Result<Vec<Event>, CommitError> { unimplemented!() }
    pub async fn fold(&mut self, fold: Fold) -> Result<Folded, FoldError> { unimplemented!() }
    /// Writes the Close slot and the closed manifest; idempotent; then every use gives Closed.
    pub async fn close(&mut self) -> Result<(), CommitError> { unimplemented!() }
    pub fn manifest(&self) -> &Manifest { unimplemented!() }
    /// Highest known slot (manifest().floor - 1 when none is unfolded).
    pub fn tip(&self) -> u64 { unimplemented!() }
    pub fn floor(&self) -> u64 { unimplemented!() }
    pub fn is_closed(&self) -> bool { unimplemented!() }
    /// Completes a drop that was begun (Close slot there, closed manifest or removal missing), then
    /// removes the prefix. Ok(()) also when nothing is there.
    pub async fn remove(store: &Store, prefix: &str, writer: WriterId) -> Result<(), CommitError> { unimplemented!() }
    /// Deletes folded slots and superseded manifests, decided from a fresh LIST.
    pub async fn collect(store: &Store, prefix: &str, keep_manifests_since_ms: i64) -> Result<Collected, StoreError> { unimplemented!() }
}

/// What a collection removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Collected { 
    /// Slots.
    pub slots: u64, 
    /// Manifests.
    pub manifests: u64 }
