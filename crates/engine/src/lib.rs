//! Makes records durable and searchable.

mod engine;
mod error;
mod options;
mod records;
mod requests;
mod stats;

pub use engine::{Engine, IndexHandle};
pub use error::Error;
pub use options::{Clock, Options, Random, SystemClock, SystemRandom};
pub use records::{
    BucketChange, BucketId, BucketRecord, BucketSettings, Created, IndexId, IndexRecord,
    IndexSettings, IndexState, LoggingTarget,
};
pub use requests::{
    GetRequest, Hit, ListPage, ListRequest, Position, PutBatch, Query, Row, VectorColumn,
};
pub use stats::Stats;
