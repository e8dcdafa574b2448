//! Requests: query parameters, headers and JSON bodies, decoded and checked.
//!
//! Each `decode` is one pass over the bytes. Rules that hold for every body:
//!
//! * malformed JSON, `NaN` and `Infinity` tokens, lone surrogates, bytes that are not UTF-8, a
//!   member that occurs twice in any object, deep nesting and trailing text are `MalformedJson`;
//! * so is a modelled member of another JSON type; a value out of its range is
//!   `VectorIndexParameterInvalid`;
//! * `null` is the same as absent; unknown members are ignored.

mod bucket;
mod fields;
mod index;
mod logging;
mod put_vectors;
mod vector;

pub use bucket::{
    DeleteBucketTags, ListVectorBuckets, PutBucketResourceGroup, PutBucketTags, PutVectorBucket,
};
pub use index::{IndexOnly, ListVectorIndexes, PutVectorIndex};
pub use logging::{LoggingTarget, PutBucketLogging};
pub use put_vectors::{PutVectors, index_name};
pub use vector::{DeleteVectors, GetVectors, IndexShape, ListVectors, Precision, QueryVectors};

#[cfg(test)]
mod vector_tests;
