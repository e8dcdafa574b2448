//! Makes records durable and searchable.
//!
//! An [`Engine`] keeps buckets, their indexes and the indexes' records in one object store:
//!
//! ```text
//! engine.rs, handle.rs    the calls
//!   catalog/              one log per bucket: a replicated state machine
//!   index/                one log per index: writer task, memtable, segments, flush, replay
//!   query.rs, read.rs     nearest records; records by key and in listing order
//!   driver.rs, plan.rs    background work: what to do (pure) and the one task that does it
//!   fetch.rs, pool.rs     how immutable objects come in; where computing happens
//! ```
//!
//! Invariants:
//! - A call that returns success is durable, and visible to every later call.
//! - A batch is visible whole or not at all.
//! - Readers work on immutable snapshots and hold no lock over a scan or a wait.
//! - Bytes from the store never cause a panic or a wrong answer: they decode, or the call fails with
//!   [`Error::Corrupt`].
//! - Time, chance and objects come in through [`vb_commit::Clock`], [`Random`] and [`vb_commit::Store`] alone.

mod budget;
mod cache;
mod catalog;
mod codec;
mod context;
mod driver;
mod engine;
mod error;
mod fetch;
mod format;
#[doc(hidden)]
pub mod fuzz;
mod gauge;
mod handle;
mod index;
pub mod inspect;
mod mailbox;
mod matching;
mod options;
mod paths;
mod plan;
mod pool;
mod query;
mod read;
mod recall;
mod records;
mod registry;
mod requests;
mod spread;
mod stats;
mod usage;

pub use cache::CacheStats;
pub use engine::Engine;
pub use error::Error;
pub use handle::IndexHandle;
pub use options::{
    Background, Compaction, DiskCache, Options, Random, ReadConsistency, Recall, Sabotage,
    SystemRandom,
};
pub use records::{
    BucketChange, BucketId, BucketRecord, BucketSettings, Created, IndexId, IndexRecord,
    IndexSettings, IndexState, LoggingTarget,
};
pub use requests::{
    Answer, Explain, GetRequest, Hit, ListPage, ListRequest, Position, Precision, PutBatch, Query,
    Row, VectorColumn,
};
pub use spread::{Helper, NotScanned, Scanning, Spread};
pub use stats::{MeasuredRecall, Stats};
pub use usage::Usage;
