//! Every documented limit, with the newest documented value as default.

use crate::oss::Operation;

/// Limits and quotas of the service. All sizes are bytes, all counts are inclusive maxima.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Vector buckets of one account.
    pub buckets_max: usize,
    /// Indexes of one bucket.
    pub indexes_max: usize,
    /// Dimension of an index.
    pub dimension_max: u32,
    /// Names in `nonFilterableMetadataKeys`.
    pub non_filterable_max: usize,
    /// Vectors in one PutVectors.
    pub put_max: usize,
    /// Keys in one GetVectors.
    pub get_max: usize,
    /// Distinct keys in one DeleteVectors.
    pub delete_max: usize,
    /// `topK` of QueryVectors.
    pub top_k_max: usize,
    /// `maxResults` of ListVectors.
    pub list_max: usize,
    /// `maxResults` of ListVectors when absent or zero.
    pub list_default: usize,
    /// Size of one ListVectors page.
    pub list_bytes_max: usize,
    /// `maxResults` of ListVectorIndexes.
    pub list_indexes_max: usize,
    /// `maxResults` of ListVectorIndexes when absent or zero.
    pub list_indexes_default: usize,
    /// `max-keys` of ListVectorBuckets.
    pub list_buckets_max: usize,
    /// `max-keys` of ListVectorBuckets when absent.
    pub list_buckets_default: usize,
    /// `segmentCount` of ListVectors.
    pub segments_max: u32,
    /// Length of a `nextToken`.
    pub token_bytes_max: usize,
    /// Characters of a vector key.
    pub key_chars_max: usize,
    /// Metadata of one vector, as compact JSON.
    pub metadata_bytes_max: usize,
    /// Filterable metadata of one vector, as compact JSON.
    pub filterable_bytes_max: usize,
    /// Filterable metadata keys of one vector.
    pub filterable_keys_max: usize,
    /// One filter, as compact JSON.
    pub filter_bytes_max: usize,
    /// Conditions in one filter.
    pub filter_items_max: usize,
    /// Nesting of `$and` and `$or`.
    pub filter_depth_max: usize,
    /// Tags of a bucket.
    pub tags_max: usize,
    /// Body of PutVectors.
    pub put_body_bytes_max: usize,
    /// Body of every other operation.
    pub body_bytes_max: usize,
    /// Body of PutBucketPolicy that is still read; the policy's own limit is 16 KB.
    pub policy_body_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            buckets_max: 100,
            indexes_max: 100,
            dimension_max: 4096,
            non_filterable_max: 10,
            put_max: 500,
            get_max: 100,
            delete_max: 500,
            top_k_max: 500,
            list_max: 1000,
            list_default: 500,
            list_bytes_max: 1 << 20,
            list_indexes_max: 500,
            list_indexes_default: 100,
            list_buckets_max: 1000,
            list_buckets_default: 100,
            segments_max: 16,
            token_bytes_max: 2048,
            key_chars_max: 1024,
            metadata_bytes_max: 40 << 10,
            filterable_bytes_max: 2 << 10,
            filterable_keys_max: 10,
            filter_bytes_max: 64 << 10,
            filter_items_max: 1024,
            filter_depth_max: 8,
            tags_max: 20,
            put_body_bytes_max: 64 << 20,
            body_bytes_max: 8 << 20,
            policy_body_bytes_max: 64 << 10,
        }
    }
}

impl Limits {
    /// The largest body of an operation.
    pub const fn body_bytes_max(&self, operation: Operation) -> usize {
        match operation {
            Operation::PutVectors => self.put_body_bytes_max,
            Operation::PutBucketPolicy => self.policy_body_bytes_max,
            _ => self.body_bytes_max,
        }
    }
}
