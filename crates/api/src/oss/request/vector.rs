//! Vector requests of a Standard index.

use crate::oss::{Attribute, Error, Filter, IndexName, Limits, Metric};

/// What a vector request is checked against: the settings of its index.
#[derive(Clone, Copy, Debug)]
pub struct IndexShape<'a> {
    /// Components of a vector.
    pub dimension: u32,
    /// The metric; cosine refuses zero vectors.
    pub metric: Metric,
    /// Metadata keys kept out of filters.
    pub non_filterable: &'a [Box<str>],
}

/// The `indexName` of a body, found without decoding the rest.
///
/// The index decides what the rest is checked against, so it is looked up first. Errors:
/// `MalformedJson` as far as the body was read, [`Fault::IndexName`](crate::oss::Fault::IndexName).
pub fn index_name(_body: &[u8]) -> Result<IndexName, Error> {
    unimplemented!()
}

/// PutVectors: a checked batch. Row `i` is `keys[i]`, `values[i * dimension..][..dimension]`,
/// `metadata[i]`, `attributes[i]`.
#[derive(Clone, Debug, PartialEq)]
pub struct PutVectors<'a> {
    /// The index.
    pub index: IndexName,
    /// Unique keys.
    pub keys: Vec<Box<str>>,
    /// All rows one after the other; finite numbers.
    pub values: Vec<f32>,
    /// Metadata objects as written.
    pub metadata: Vec<Option<&'a str>>,
    /// Filterable metadata, in written order, keys unique.
    pub attributes: Vec<Vec<Attribute>>,
}

impl<'a> PutVectors<'a> {
    /// Reads the body in one pass. Errors: `MalformedJson`, `VectorIndexParameterInvalid`.
    pub fn decode(
        _body: &'a [u8],
        _shape: &IndexShape<'_>,
        _limits: &Limits,
    ) -> Result<Self, Error> {
        unimplemented!()
    }
}

/// GetVectors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GetVectors {
    /// The index.
    pub index: IndexName,
    /// Keys in request order, possibly repeated.
    pub keys: Vec<Box<str>>,
    /// Whether to answer with the vectors.
    pub return_data: bool,
    /// Whether to answer with the metadata.
    pub return_metadata: bool,
}

impl GetVectors {
    /// Reads the body. Errors: `MalformedJson`, `VectorIndexParameterInvalid`.
    pub fn decode(_body: &[u8], _limits: &Limits) -> Result<Self, Error> {
        unimplemented!()
    }
}

/// ListVectors.
#[derive(Clone, Debug, PartialEq)]
pub struct ListVectors {
    /// The index.
    pub index: IndexName,
    /// Page size.
    pub max: usize,
    /// The token of the previous page, still encoded; see [`ListScope`](crate::oss::ListScope).
    pub token: Option<String>,
    /// Whether to answer with the vectors.
    pub return_data: bool,
    /// Whether to answer with the metadata.
    pub return_metadata: bool,
    /// Number of disjoint parts, 1 when absent.
    pub segment_count: u32,
    /// The part, below `segment_count`.
    pub segment_index: u32,
    /// Only vectors that match.
    pub filter: Filter,
}

impl ListVectors {
    /// Reads the body. Errors: `MalformedJson`, `VectorIndexParameterInvalid`.
    pub fn decode(_body: &[u8], _limits: &Limits) -> Result<Self, Error> {
        unimplemented!()
    }

    /// Checks against the index. Error: [`Fault::FilterKey`](crate::oss::Fault::FilterKey).
    pub fn check(&self, _shape: &IndexShape<'_>) -> Result<(), Error> {
        unimplemented!()
    }
}

/// DeleteVectors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteVectors {
    /// The index.
    pub index: IndexName,
    /// Distinct keys, in order of first occurrence.
    pub keys: Vec<Box<str>>,
}

impl DeleteVectors {
    /// Reads the body. Errors: `MalformedJson`, `VectorIndexParameterInvalid`.
    pub fn decode(_body: &[u8], _limits: &Limits) -> Result<Self, Error> {
        unimplemented!()
    }
}

/// QueryVectors.
#[derive(Clone, Debug, PartialEq)]
pub struct QueryVectors {
    /// The index.
    pub index: IndexName,
    /// The query; finite numbers.
    pub vector: Vec<f32>,
    /// Number of results wanted.
    pub top_k: usize,
    /// Only vectors that match.
    pub filter: Filter,
    /// Whether to answer with distances.
    pub return_distance: bool,
    /// Whether to answer with the metadata.
    pub return_metadata: bool,
}

impl QueryVectors {
    /// Reads the body. Errors: `MalformedJson`, `VectorIndexParameterInvalid`.
    pub fn decode(_body: &[u8], _limits: &Limits) -> Result<Self, Error> {
        unimplemented!()
    }

    /// Checks against the index. Errors: [`Fault::VectorDimension`](crate::oss::Fault::VectorDimension),
    /// [`Fault::VectorZero`](crate::oss::Fault::VectorZero),
    /// [`Fault::FilterKey`](crate::oss::Fault::FilterKey).
    pub fn check(&self, _shape: &IndexShape<'_>) -> Result<(), Error> {
        unimplemented!()
    }
}
