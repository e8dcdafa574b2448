//! Index requests: create, get, delete, list.

use crate::oss::{Error, IndexName, Limits, Metric};

/// PutVectorIndex.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutVectorIndex {
    /// The name.
    pub index: IndexName,
    /// 1 to 4096; default 512.
    pub dimension: u32,
    /// Default euclidean.
    pub metric: Metric,
    /// Keys kept out of filters, unique, in written order; empty when not given.
    pub non_filterable: Vec<Box<str>>,
}

impl PutVectorIndex {
    /// Reads the body. Errors: `MalformedJson`, `VectorIndexParameterInvalid`.
    pub fn decode(_body: &[u8], _limits: &Limits) -> Result<Self, Error> {
        unimplemented!()
    }
}

/// GetVectorIndex and DeleteVectorIndex.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexOnly {
    /// The name.
    pub index: IndexName,
}

impl IndexOnly {
    /// Reads the body. Errors: `MalformedJson`, [`Fault::IndexName`](crate::oss::Fault::IndexName).
    pub fn decode(_body: &[u8]) -> Result<Self, Error> {
        unimplemented!()
    }
}

/// ListVectorIndexes: one page, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListVectorIndexes {
    /// Page size.
    pub max: usize,
    /// Only names after this; the token is the last name of the previous page.
    pub after: Option<String>,
    /// Only names that start with this.
    pub prefix: Option<String>,
}

impl ListVectorIndexes {
    /// Reads the body; no bytes stand for `{}`.
    pub fn decode(_body: &[u8], _limits: &Limits) -> Result<Self, Error> {
        unimplemented!()
    }
}
