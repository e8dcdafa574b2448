//! The one narrow place through which objects are read and written.
use std::ops::Range;
use std::path::Path as FilePath;
use std::sync::Arc;
use bytes::Bytes;
use object_store::ObjectStore;
use crate::error::StoreError;

/// How a local folder is used as a store.
#[derive(Debug, Clone, Copy)]
pub struct LocalOptions {
    /// Sync files and folders before a write is acknowledged. Off only in tests and benchmarks.
    pub fsync: bool,
}
impl Default for LocalOptions { fn default() -> Self { Self { fsync: true } } }

/// One listed object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Full path in the store.
    pub path: String,
    /// Length in bytes.
    pub size: u64,
    /// Last modification, milliseconds since 1970, by the store's clock.
    pub modified_ms: i64,
}

/// One level of the store, as listed with the delimiter `/`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// Objects directly under the prefix, sorted by path.
    pub objects: Vec<ObjectInfo>,
    /// "Folders" directly under the prefix (full path, no trailing `/`), sorted.
    pub prefixes: Vec<String>,
}

/// Requests and bytes of one verb since the store was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct VerbCount { 
    /// Requests sent.
    pub requests: u64,
    /// Payload bytes sent or received.
    pub bytes: u64,
    /// Requests that failed (not counting "already exists" and "not found").
    pub failures: u64 }

/// Requests and bytes per verb since the store was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StoreCounts { 
    /// Creates.
    pub create: VerbCount, 
    /// Overwriting puts.
    pub put: VerbCount, 
    /// Reads, whole or ranged.
    pub get: VerbCount, 
    /// Lists.
    pub list: VerbCount, 
    /// Deletes.
    pub delete: VerbCount }

/// A store of objects; clones share it. The last clone of a local store releases the folder's lock.
#[derive(Debug, Clone)]
pub struct Store(Arc<dyn ObjectStore>);

#[expect(clippy::unimplemented, clippy::unused_async, reason = "signatures first")]
#[allow(unused_variables, missing_docs)]
impl Store {
    pub fn local(dir: impl AsRef<FilePath>, options: LocalOptions) -> Result<Self, StoreError> { unimplemented!() }
    pub fn memory() -> Self { unimplemented!() }
    pub fn from_object_store(objects: Arc<dyn ObjectStore>, sole_writer: bool) -> Self { unimplemented!() }
    pub fn sole_writer(&self) -> bool { unimplemented!() }
    pub fn counts(&self) -> StoreCounts { unimplemented!() }
    pub async fn probe(&self) -> Result<(), StoreError> { unimplemented!() }
    pub async fn create(&self, path: &str, bytes: Bytes) -> Result<(), StoreError> { unimplemented!() }
    pub async fn put(&self, path: &str, bytes: Bytes) -> Result<(), StoreError> { unimplemented!() }
    pub async fn get(&self, path: &str) -> Result<Bytes, StoreError> { unimplemented!() }
    pub async fn get_range(&self, path: &str, range: Range<u64>) -> Result<Bytes, StoreError> { unimplemented!() }
    pub async fn get_ranges(&self, path: &str, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, StoreError> { unimplemented!() }
    /// All objects under `prefix/`, sorted by path, strictly after `start_after`.
    pub async fn list_after(&self, prefix: &str, start_after: Option<&str>) -> Result<Vec<ObjectInfo>, StoreError> { unimplemented!() }
    /// One level under `prefix/` ("" = root).
    pub async fn list_level(&self, prefix: &str) -> Result<Listing, StoreError> { unimplemented!() }
    /// Deleting what is not there succeeds.
    pub async fn delete(&self, path: &str) -> Result<(), StoreError> { unimplemented!() }
    /// Deletes all; on a local store the folders are synced before this returns.
    pub async fn delete_all(&self, paths: Vec<String>) -> Result<(), StoreError> { unimplemented!() }
}
