//! What went wrong, named by what the caller should do.

use std::fmt;
use std::sync::Arc;

use vb_commit::{StoreError, StoreErrorKind};

/// Why an engine call failed. Cheap to clone: one failed commit answers every waiting batch.
#[derive(Clone, Debug)]
pub enum Error {
    /// The bucket does not exist.
    NoSuchBucket,
    /// The bucket exists and belongs to the same account, with other settings.
    BucketExists,
    /// The bucket still has indexes.
    BucketNotEmpty,
    /// The account has as many buckets as it may.
    TooManyBuckets,
    /// The index does not exist, or is being deleted.
    NoSuchIndex,
    /// An index of this name exists.
    IndexExists,
    /// The bucket has as many indexes as it may.
    TooManyIndexes,
    /// Another operation changed the same thing meanwhile; try again.
    Conflict,
    /// Writes arrive faster than they can be folded; try again later. Nothing was written.
    Busy,
    /// The store did not answer and the write may or may not have happened; repeat the request.
    OutcomeUnknown,
    /// The store has no room. Nothing was written.
    StorageFull,
    /// The batch does not fit into one log slot. Nothing was written.
    TooLarge {
        /// Encoded size of the batch.
        bytes: usize,
        /// Largest size that fits.
        bytes_max: usize,
    },
    /// The request does not fit the index: a programming error of the caller, named.
    Invalid(&'static str),
    /// The store failed.
    Storage(Arc<StoreError>),
    /// An object's bytes are not what was written.
    Corrupt {
        /// The object.
        path: String,
        /// Where in the object, in bytes.
        offset: u64,
        /// What is wrong there.
        reason: String,
    },
    /// The engine is shutting down.
    Closed,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSuchBucket => f.write_str("no such bucket"),
            Self::BucketExists => f.write_str("the bucket exists with other settings"),
            Self::BucketNotEmpty => f.write_str("the bucket still has indexes"),
            Self::TooManyBuckets => f.write_str("the account has as many buckets as it may"),
            Self::NoSuchIndex => f.write_str("no such index"),
            Self::IndexExists => f.write_str("an index of this name exists"),
            Self::TooManyIndexes => f.write_str("the bucket has as many indexes as it may"),
            Self::Conflict => f.write_str("another operation changed the same thing"),
            Self::Busy => f.write_str("writes arrive faster than they can be folded"),
            Self::OutcomeUnknown => f.write_str("the outcome of the write is unknown"),
            Self::StorageFull => f.write_str("the store has no room"),
            Self::TooLarge { bytes, bytes_max } => {
                write!(f, "a batch of {bytes} bytes does not fit a log slot of {bytes_max} bytes")
            }
            Self::Invalid(what) => write!(f, "invalid request: {what}"),
            Self::Storage(source) => write!(f, "storage: {source}"),
            Self::Corrupt { path, offset, reason } => {
                write!(f, "corrupt object {path} at byte {offset}: {reason}")
            }
            Self::Closed => f.write_str("the engine is shutting down"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Storage(source) => Some(source.as_ref()),
            _ => None,
        }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error.kind() {
            StoreErrorKind::Full => Self::StorageFull,
            StoreErrorKind::Corrupt => Self::Corrupt {
                path: error.path().to_owned(),
                offset: 0,
                reason: error.to_string(),
            },
            StoreErrorKind::AlreadyExists
            | StoreErrorKind::NotFound
            | StoreErrorKind::Denied
            | StoreErrorKind::Locked
            | StoreErrorKind::Unavailable
            | StoreErrorKind::Invalid => Self::Storage(Arc::new(error)),
        }
    }
}
