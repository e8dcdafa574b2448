//! The OSS vector bucket dialect.
//!
//! The life of a request, in the order in which clients observe the checks:
//!
//! 1. [`Target::parse`]: host forms and path style give bucket and account.
//! 2. [`Operation::resolve`]: method and query key.
//! 3. [`signature::Claim::parse`], [`signature::Signed::verify`]: who asks.
//! 4. [`BucketName::parse`]: the name rule; then the bucket must exist.
//! 5. [`request`]: the body, checked against [`Limits`].
//! 6. [`response`]: the answer, or [`Error::body`].
//!
//! Invariants: hostile bytes never panic; a value of a parsed type is valid; nothing is allocated
//! that the body's own length does not bound.

mod arn;
mod error;
mod filter;
pub mod fuzz;
mod host;
mod json;
mod limits;
mod metadata;
mod names;
mod operation;
mod query;
pub mod request;
mod request_id;
pub mod response;
pub mod signature;
mod timestamp;
mod token;

pub use arn::{Resource, bucket_arn};
pub use error::{Code, Error, Fault};
pub use filter::{Filter, Number, Test};
pub use host::{Domains, Style, Target};
pub use limits::Limits;
pub use metadata::{Attribute, Scalar, Value};
pub use names::{AccountId, BucketName, IndexName, Metric};
pub use operation::{Level, Operation};
pub use query::Query;
pub use request_id::RequestId;
pub use timestamp::{iso_millis, parse_basic, to_basic};
pub use token::{ListScope, Position};
