//! Calls on the records of one index.

use std::sync::Arc;

use tokio::time::Instant;
use vb_search::Schema;

use crate::engine::Engine;
use crate::error::Error;
use crate::index::event::{check_batch, encode_delete, encode_put};
use crate::index::{OpenIndex, WriteError};
use crate::paths;
use crate::query::{self, Damaged};
use crate::read;
use crate::records::{BucketId, IndexId, IndexRecord, IndexSettings};
use crate::requests::{GetRequest, Hit, ListPage, ListRequest, PutBatch, Query, Row};

/// How often a call repeats on a writer task that was just ending.
const REPEATS_MAX: usize = 8;

/// A live index, as of when it was resolved. Cheap to clone; keeps nothing open.
///
/// Once the index is deleted every call fails with [`Error::NoSuchIndex`], also after another of
/// the same name was created.
#[derive(Clone, Debug)]
pub struct IndexHandle {
    engine: Engine,
    bucket: BucketId,
    id: IndexId,
    settings: Arc<IndexSettings>,
}

impl IndexHandle {
    pub(crate) fn new(engine: Engine, bucket: BucketId, record: &IndexRecord) -> Self {
        Self { engine, bucket, id: record.id, settings: Arc::clone(&record.settings) }
    }

    /// Identity of the index.
    pub fn id(&self) -> IndexId {
        self.id
    }

    /// What the index was created with.
    pub fn settings(&self) -> &Arc<IndexSettings> {
        &self.settings
    }

    /// Vector fields and non-filterable keys.
    pub fn schema(&self) -> &Schema {
        &self.settings.schema
    }

    /// Puts a batch; returns once it is durable and visible, whole.
    ///
    /// # Errors
    /// [`Error::NoSuchIndex`], [`Error::Busy`], [`Error::StorageFull`], [`Error::TooLarge`]: nothing
    /// was written. [`Error::OutcomeUnknown`]: repeat the call. Others as the store fails.
    pub async fn put(&self, batch: PutBatch) -> Result<(), Error> {
        check_batch(self.schema(), &batch)?;
        if batch.keys.is_empty() {
            return Ok(());
        }
        let puts = batch.keys.len();
        self.write(encode_put(self.schema(), &batch)).await?;
        self.engine.inner.context.meters.puts.add(puts);
        Ok(())
    }

    /// Deletes keys; missing ones are no error. Returns once durable and visible, whole.
    ///
    /// # Errors
    /// As [`IndexHandle::put`].
    pub async fn delete(&self, keys: Vec<Box<[u8]>>) -> Result<(), Error> {
        if keys.is_empty() {
            return Ok(());
        }
        self.write(encode_delete(&keys)).await?;
        self.engine.inner.context.meters.deletes.add(keys.len());
        Ok(())
    }

    /// Reads records: one answer per key, in request order, `None` where there is no record.
    ///
    /// # Errors
    /// [`Error::NoSuchIndex`], [`Error::Corrupt`], or as the store fails.
    pub async fn get(&self, request: GetRequest) -> Result<Vec<Option<Row>>, Error> {
        let context = &self.engine.inner.context;
        context.meters.gets.add(1);
        let index = self.readable().await?;
        let settings = Arc::clone(&self.settings);
        let read = move || read::get(index.published(), &settings.schema, &request);
        context.pool.run(read).await.map_err(|damaged| self.corrupt(&damaged))
    }

    /// Reads one page of the listing, from one snapshot.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the part does not exist; else as [`IndexHandle::get`].
    pub async fn list(&self, request: ListRequest) -> Result<ListPage, Error> {
        if request.segment_index >= request.segment_count {
            return Err(Error::Invalid("a listing's part is below their count"));
        }
        let context = &self.engine.inner.context;
        context.meters.lists.add(1);
        let view = self.readable().await?.view();
        let settings = Arc::clone(&self.settings);
        let read = move || read::list(&view, &settings.schema, &request);
        context.pool.run(read).await.map_err(|damaged| self.corrupt(&damaged))
    }

    /// The nearest matching records, by (distance, key): `top_k` of them, or all if fewer match.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the field or the vector does not fit the schema; else as
    /// [`IndexHandle::get`].
    pub async fn query(&self, query: Query) -> Result<Vec<Hit>, Error> {
        self.check_query(&query)?;
        let context = &self.engine.inner.context;
        let started = Instant::now();
        let view = self.readable().await?.view();
        let (settings, kernels) = (Arc::clone(&self.settings), context.kernels);
        let answer = move || query::run(&view, &settings.schema, kernels, &query);
        let found = context.pool.run(answer).await.map_err(|damaged| self.corrupt(&damaged))?;
        context.meters.queries.add(1);
        context.meters.rows_scanned.add(found.scanned);
        context.meters.query_micros.add_time(started.elapsed());
        Ok(found.hits)
    }

    /// Folds every record that is not in a segment yet into one now, without waiting for the
    /// memtable to fill. Writes go on meanwhile.
    ///
    /// # Errors
    /// [`Error::Conflict`] if another flush came first; else as [`IndexHandle::get`].
    pub async fn flush(&self) -> Result<(), Error> {
        self.readable().await?.flush().await
    }

    fn check_query(&self, query: &Query) -> Result<(), Error> {
        let Some(field) = self.schema().vector_fields.get(query.field) else {
            return Err(Error::Invalid("no such vector field"));
        };
        if query.vector.len() != field.dimension as usize {
            return Err(Error::Invalid("the query vector has another dimension than the field"));
        }
        if query.vector.iter().any(|value| !value.is_finite()) {
            return Err(Error::Invalid("the query vector is not finite"));
        }
        Ok(())
    }

    /// The open index, current: every write acknowledged before now is visible in it.
    async fn readable(&self) -> Result<Arc<OpenIndex>, Error> {
        for _ in 0..REPEATS_MAX {
            let index = self.open().await?;
            match index.catch_up().await {
                Ok(()) => return Ok(index),
                Err(WriteError::Failed(error)) => return Err(self.gone(error).await),
                Err(WriteError::NotSent) => {}
            }
        }
        Err(Error::Conflict)
    }

    async fn write(&self, payload: bytes::Bytes) -> Result<(), Error> {
        for _ in 0..REPEATS_MAX {
            let index = self.open().await?;
            match index.write(payload.clone()).await {
                Ok(()) => return Ok(()),
                Err(WriteError::Failed(error)) => return Err(self.gone(error).await),
                Err(WriteError::NotSent) => {}
            }
        }
        Err(Error::Conflict)
    }

    async fn open(&self) -> Result<Arc<OpenIndex>, Error> {
        match self.engine.inner.open_index(self.id, &self.settings).await {
            Ok(index) => Ok(index),
            Err(error) => Err(self.gone(error).await),
        }
    }

    /// A log that has ended forces a look at the catalog: the next resolution must not find the
    /// index in a stale record.
    async fn gone(&self, error: Error) -> Error {
        if !matches!(error, Error::NoSuchIndex) {
            return error;
        }
        match self.engine.inner.state(&self.bucket).await {
            Ok(state) if state.index_of(self.id).is_some_and(is_live) => Error::Corrupt {
                path: paths::index(self.id),
                offset: 0,
                reason: "the catalog has the index, but its log is gone".to_owned(),
            },
            Ok(_) | Err(Error::NoSuchBucket) => Error::NoSuchIndex,
            Err(error) => error,
        }
    }

    fn corrupt(&self, damaged: &Damaged) -> Error {
        Error::Corrupt {
            path: paths::segment(self.id, damaged.segment),
            offset: 0,
            reason: damaged.cause.to_string(),
        }
    }
}

fn is_live(record: &IndexRecord) -> bool {
    record.state == crate::records::IndexState::Live
}
