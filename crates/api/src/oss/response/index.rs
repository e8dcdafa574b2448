//! Index answers.

use crate::oss::Metric;

/// The life of an index on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexStatus {
    /// Being created.
    Creating,
    /// In service.
    Enable,
    /// Being deleted.
    Deleting,
}

/// What the answers say of an index.
#[derive(Clone, Copy, Debug)]
pub struct IndexInfo<'a> {
    /// The name.
    pub name: &'a str,
    /// The region of the service.
    pub region: &'a str,
    /// The owner of the bucket.
    pub account: &'a str,
    /// The plain bucket name.
    pub bucket: &'a str,
    /// Milliseconds since 1970.
    pub created_ms: i64,
    /// Its state.
    pub status: IndexStatus,
    /// Components of a vector.
    pub dimension: u32,
    /// Its metric.
    pub metric: Metric,
    /// As given at creation; `metadata` is left out when empty.
    pub non_filterable: &'a [Box<str>],
}

/// `{"index":{...}}`.
pub fn index_info(_index: &IndexInfo<'_>) -> Vec<u8> {
    unimplemented!()
}

/// `{"indexes":[...],"nextToken":"..."}`.
pub fn index_list<'a>(
    _indexes: impl IntoIterator<Item = IndexInfo<'a>>,
    _next_token: Option<&str>,
) -> Vec<u8> {
    unimplemented!()
}
