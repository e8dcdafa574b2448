//! Bucket requests: create, list, tags, resource group.

use http::HeaderMap;

use crate::oss::{Error, Limits, Query};

/// PutVectorBucket: optional headers `x-oss-resource-group-id` and `x-oss-bucket-tagging`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutVectorBucket {
    /// The resource group, `None` for the default one.
    pub resource_group: Option<String>,
    /// Tags of the new bucket, keys unique.
    pub tags: Vec<(String, String)>,
}

impl PutVectorBucket {
    /// Reads the headers. Errors: [`Fault::TagInvalid`](crate::oss::Fault::TagInvalid),
    /// [`Fault::ResourceGroupInvalid`](crate::oss::Fault::ResourceGroupInvalid).
    pub fn decode(_headers: &HeaderMap, _limits: &Limits) -> Result<Self, Error> {
        unimplemented!()
    }
}

/// ListVectorBuckets: one page of the account's buckets, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListVectorBuckets {
    /// Only names that start with this.
    pub prefix: Option<String>,
    /// Only names after this.
    pub marker: Option<String>,
    /// Page size, 1 to the limit.
    pub max_keys: usize,
    /// Only buckets of this resource group.
    pub resource_group: Option<String>,
}

impl ListVectorBuckets {
    /// Reads query and headers. Error: [`Fault::ArgumentInvalid`](crate::oss::Fault::ArgumentInvalid).
    pub fn decode(
        _query: &Query<'_>,
        _headers: &HeaderMap,
        _limits: &Limits,
    ) -> Result<Self, Error> {
        unimplemented!()
    }
}

/// PutBucketTags: the tags that replace a bucket's tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutBucketTags {
    /// Tags, keys unique, in written order; a missing value is empty.
    pub tags: Vec<(String, String)>,
}

impl PutBucketTags {
    /// Reads the body. Errors: `MalformedJson`, [`Fault::TagInvalid`](crate::oss::Fault::TagInvalid).
    pub fn decode(_body: &[u8], _limits: &Limits) -> Result<Self, Error> {
        unimplemented!()
    }
}

/// DeleteBucketTags: all tags, or the named ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteBucketTags {
    /// The keys of `?tagging=k1,k2`; `None` removes all.
    pub keys: Option<Vec<String>>,
}

impl DeleteBucketTags {
    /// Reads the query. Error: [`Fault::QueryInvalid`](crate::oss::Fault::QueryInvalid).
    pub fn decode(_query: &Query<'_>) -> Result<Self, Error> {
        unimplemented!()
    }
}

/// PutBucketResourceGroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PutBucketResourceGroup {
    /// The group; `None` moves the bucket to the default group.
    pub id: Option<String>,
}

impl PutBucketResourceGroup {
    /// Reads the body. Errors: `MalformedJson`,
    /// [`Fault::ResourceGroupInvalid`](crate::oss::Fault::ResourceGroupInvalid).
    pub fn decode(_body: &[u8]) -> Result<Self, Error> {
        unimplemented!()
    }
}
