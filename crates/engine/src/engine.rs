//! The engine's door: buckets, indexes and records over one store.

use std::sync::Arc;

use vb_commit::Store;
use vb_search::Schema;

use crate::{
    BucketChange, BucketId, BucketRecord, BucketSettings, Created, Error, GetRequest, Hit, IndexId,
    IndexRecord, IndexSettings, ListPage, ListRequest, Options, PutBatch, Query, Row, Stats,
};

/// An engine over one store. Cheap to clone; all clones are the same engine.
#[derive(Clone)]
pub struct Engine(Arc<()>);

impl Engine {
    /// Opens the store's engine and starts its background work. Must be called in a tokio runtime.
    pub async fn open(store: Store, options: Options) -> Result<Self, Error> {
        unimplemented!()
    }
    /// Stops background work, answers waiting writes and closes every log.
    pub async fn shutdown(&self) {
        unimplemented!()
    }
    /// What the engine has done and holds.
    pub fn stats(&self) -> Stats {
        unimplemented!()
    }
    /// Creates a bucket; one that exists already is left as it is.
    pub async fn create_bucket(&self, bucket: &BucketId, settings: BucketSettings) -> Result<Created, Error> {
        unimplemented!()
    }
    /// The bucket as of now.
    pub async fn bucket(&self, bucket: &BucketId) -> Result<BucketRecord, Error> {
        unimplemented!()
    }
    /// The bucket from the cache (at most `catalog_age_max` old): for authorization.
    pub async fn bucket_cached(&self, bucket: &BucketId) -> Result<BucketRecord, Error> {
        unimplemented!()
    }
    /// Every bucket of an account, sorted by name.
    pub async fn list_buckets(&self, account: &[u8]) -> Result<Vec<BucketRecord>, Error> {
        unimplemented!()
    }
    /// Deletes a bucket without indexes.
    pub async fn delete_bucket(&self, bucket: &BucketId) -> Result<(), Error> {
        unimplemented!()
    }
    /// Changes a bucket's configuration.
    pub async fn configure_bucket(&self, bucket: &BucketId, change: BucketChange) -> Result<(), Error> {
        unimplemented!()
    }
    /// Creates an index.
    pub async fn create_index(&self, bucket: &BucketId, name: &[u8], settings: IndexSettings) -> Result<IndexRecord, Error> {
        unimplemented!()
    }
    /// The index as of now.
    pub async fn index(&self, bucket: &BucketId, name: &[u8]) -> Result<IndexRecord, Error> {
        unimplemented!()
    }
    /// Every index of a bucket, sorted by name.
    pub async fn list_indexes(&self, bucket: &BucketId) -> Result<Vec<IndexRecord>, Error> {
        unimplemented!()
    }
    /// Deletes an index and all its records.
    pub async fn delete_index(&self, bucket: &BucketId, name: &[u8]) -> Result<(), Error> {
        unimplemented!()
    }
    /// A handle to a live index. Cheap: opens nothing.
    pub async fn resolve(&self, bucket: &BucketId, name: &[u8]) -> Result<IndexHandle, Error> {
        unimplemented!()
    }
}

/// A live index, for calls on its records.
#[derive(Clone)]
pub struct IndexHandle(Arc<()>);

impl IndexHandle {
    /// Identity of the index.
    pub fn id(&self) -> IndexId {
        unimplemented!()
    }
    /// What the index was created with.
    pub fn settings(&self) -> &Arc<IndexSettings> {
        unimplemented!()
    }
    /// Vector fields and non-filterable keys.
    pub fn schema(&self) -> &Schema {
        unimplemented!()
    }
    /// Puts a batch; returns once it is durable and visible.
    pub async fn put(&self, batch: PutBatch) -> Result<(), Error> {
        unimplemented!()
    }
    /// Deletes keys; missing keys are not an error. Returns once durable and visible.
    pub async fn delete(&self, keys: Vec<Box<[u8]>>) -> Result<(), Error> {
        unimplemented!()
    }
    /// Reads records, one answer per key in request order.
    pub async fn get(&self, request: GetRequest) -> Result<Vec<Option<Row>>, Error> {
        unimplemented!()
    }
    /// Reads one page of the listing.
    pub async fn list(&self, request: ListRequest) -> Result<ListPage, Error> {
        unimplemented!()
    }
    /// The nearest matching records, by (distance, key).
    pub async fn query(&self, query: Query) -> Result<Vec<Hit>, Error> {
        unimplemented!()
    }
}
