//! Calls on the records of one index.

use std::sync::Arc;

use futures_util::future::join;
use tokio::time::Instant;
use vb_search::Schema;

use crate::context::Context;
use crate::engine::Engine;
use crate::error::Error;
use crate::fetch::{self, Job, Origin};
use crate::index::event::{check_batch, encode_delete, encode_put};
use crate::index::view::SegmentView;
use crate::index::{OpenIndex, WriteError};
use crate::paths;
use crate::query::{Found, Search, Warming};
use crate::read::{Lookup, Page};
use crate::records::{BucketId, IndexId, IndexRecord, IndexSettings};
use crate::requests::{
    Answer, Explain, GetRequest, Hit, ListPage, ListRequest, Precision, PutBatch, Query, Row,
};
use crate::spread::Spreading;

/// How far a search looks that others are compared with, where exact ones would read too much.
const REFERENCE_RECALL: f32 = 0.999;

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
        self.context().meters.gets.add(1);
        self.read(
            |origin, segments| Lookup::new(origin, segments, request.clone()),
            |job, index| job.start(index.published()),
        )
        .await
    }

    /// Reads one page of the listing, from one snapshot.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the part does not exist; else as [`IndexHandle::get`].
    pub async fn list(&self, request: ListRequest) -> Result<ListPage, Error> {
        if request.segment_index >= request.segment_count {
            return Err(Error::Invalid("a listing's part is below their count"));
        }
        self.context().meters.lists.add(1);
        self.read(
            |origin, segments| Page::new(origin, segments, request.clone()),
            |job, index| job.start(index.published().view()),
        )
        .await
    }

    /// The nearest matching records, by (distance, key): `top_k` of them, or all if fewer match.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the field or the vector does not fit the schema; else as
    /// [`IndexHandle::get`].
    pub async fn query(&self, query: Query) -> Result<Vec<Hit>, Error> {
        Ok(self.search(query).await?.hits)
    }

    /// As [`IndexHandle::query`], and how the answer was found.
    ///
    /// # Errors
    /// As [`IndexHandle::query`].
    pub async fn search(&self, query: Query) -> Result<Answer, Error> {
        self.check_query(&query)?;
        let started = Instant::now();
        let query = Arc::new(query);
        let found = match self.spread(&query).await? {
            Some(found) => found,
            None => self.search_here(&query).await?,
        };
        let meters = &self.context().meters;
        meters.queries.add(1);
        meters.rows_scanned.add(found.explain.rows_compared());
        meters.query_micros.add_time(started.elapsed());
        let Found { hits, explain, .. } = found;
        self.sample(&query, &hits, &explain);
        Ok(Answer { hits, explain })
    }

    /// Has some answers compared with better ones, in the background.
    fn sample(&self, query: &Arc<Query>, hits: &[Hit], explain: &Explain) {
        let context = self.context();
        let recall = context.options.recall;
        if explain.segments_probed == 0 || query.precision != Precision::Usual {
            return;
        }
        let Some(sample) = context.recalls.take(self.id, recall.sample_share) else { return };
        let (index, hits) = (self.clone(), hits.to_vec());
        let query = Query { with_metadata: false, ..Query::clone(query) };
        tokio::spawn(async move {
            if let Ok(reference) = index.reference(query, recall.sample_bytes_max).await {
                sample.judge(&hits, &reference, recall.target);
            }
        });
    }

    /// A better answer to a query than the usual one. It counts nowhere as a query.
    async fn reference(&self, query: Query, bytes_max: u64) -> Result<Answer, Error> {
        let segments = self.open().await?.published().likely_segments();
        let bytes: u64 = segments.iter().map(|segment| segment.meta.length).sum();
        let precision = match bytes <= bytes_max {
            true => Precision::Exact,
            false => Precision::Recall(REFERENCE_RECALL),
        };
        let found = self.search_here(&Arc::new(Query { precision, ..query })).await?;
        Ok(Answer { hits: found.hits, explain: found.explain })
    }

    async fn search_here(&self, query: &Arc<Query>) -> Result<Found, Error> {
        self.read(
            |origin, segments| Search::new(Arc::clone(query), origin, segments),
            |job, index| job.start(index.published().view()),
        )
        .await
    }

    /// The query answered together with other processes; `None` if the index is not worth it, or
    /// there are none.
    async fn spread(&self, query: &Arc<Query>) -> Result<Option<Found>, Error> {
        let Some(spread) = self.context().options.spread.clone() else { return Ok(None) };
        let segments = self.open().await?.published().likely_segments();
        let bytes = segments.iter().map(|segment| segment.meta.length).sum();
        let helpers = match segments.len() {
            0 | 1 => Vec::new(),
            _ => spread.helpers(self.id, bytes),
        };
        if helpers.is_empty() {
            return Ok(None);
        }
        let _first = self.context().budget.pace.foreground();
        let run = async || {
            let index = self.readable().await?;
            let (origin, view) = (index.origin(), &*index.published().view());
            Spreading { origin, view, query, helpers: &helpers, spread: &*spread }.run().await
        };
        match run().await {
            Err(error) if fetch::is_gone(&error) => {
                self.read_anew().await?;
                run().await.map_err(fetch::lost)
            }
            done => done,
        }
        .map(Some)
    }

    /// Reads what a query needs into the cache, as far as it has room: keys, posting lists, vectors.
    /// A later query then finds it in memory.
    ///
    /// # Errors
    /// As [`IndexHandle::get`].
    pub async fn warm(&self) -> Result<(), Error> {
        self.read(Warming::new, |job, index| job.start(&index.published().view())).await
    }

    /// Makes the index current and runs a job on it. While the writer is asked, the job reads what it
    /// will most likely need.
    ///
    /// Objects can be gone because a newer manifest replaced them: then all is done once more, on the
    /// newest manifest.
    async fn read<J: Job>(
        &self,
        new: impl Fn(Origin, Arc<[SegmentView]>) -> J,
        start: impl Fn(J, &OpenIndex) -> J,
    ) -> Result<J::Output, Error> {
        let _first = self.context().budget.pace.foreground();
        match self.try_read(&new, &start).await {
            Err(error) if fetch::is_gone(&error) => {
                self.read_anew().await?;
                self.try_read(&new, &start).await.map_err(fetch::lost)
            }
            read => read,
        }
    }

    async fn try_read<J: Job>(
        &self,
        new: impl Fn(Origin, Arc<[SegmentView]>) -> J,
        start: impl Fn(J, &OpenIndex) -> J,
    ) -> Result<J::Output, Error> {
        for _ in 0..REPEATS_MAX {
            let index = self.open().await?;
            let mut job = new(index.origin().clone(), index.published().likely_segments());
            if !index.is_current() {
                // What fails early fails again when it is needed, or is not needed.
                let early = fetch::prepare(self.context(), &mut job);
                let (current, _) = join(index.catch_up(), early).await;
                match current {
                    Ok(()) => {}
                    Err(WriteError::Failed(error)) => return Err(self.gone(error).await),
                    Err(WriteError::NotSent) => continue,
                }
            }
            return fetch::run(self.context(), start(job, &index)).await;
        }
        Err(Error::Conflict)
    }

    /// Goes over to the newest manifest. Where nobody else writes there is no newer one than the
    /// one known.
    async fn read_anew(&self) -> Result<(), Error> {
        if self.context().store.sole_writer() {
            return Ok(());
        }
        for _ in 0..REPEATS_MAX {
            match self.open().await?.read_anew().await {
                Ok(()) => return Ok(()),
                Err(WriteError::Failed(error)) => return Err(self.gone(error).await),
                Err(WriteError::NotSent) => {}
            }
        }
        Err(Error::Conflict)
    }

    fn context(&self) -> &Context {
        &self.engine.inner.context
    }

    /// Folds the records that are not in a segment yet into one now, without waiting for the memtable
    /// to fill. Writes go on meanwhile. After a flush that failed, what that one had set aside is
    /// folded, and newer records wait for the next; an index that was closed meanwhile keeps its log.
    ///
    /// # Errors
    /// [`Error::Conflict`] if another flush came first; else as [`IndexHandle::get`].
    pub async fn flush(&self) -> Result<(), Error> {
        self.readable().await?.flush().await
    }

    /// Merges all segments into one now, which leaves out what is deleted; what was deleted since the
    /// last flush goes with a later merge. Writes go on meanwhile.
    ///
    /// # Errors
    /// [`Error::Conflict`] if another process changed them first; else as [`IndexHandle::get`].
    pub async fn compact(&self) -> Result<(), Error> {
        self.readable().await?.merge(None).await
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
                Err(WriteError::Failed(error)) => return Err(self.ended(error).await),
                Err(WriteError::NotSent) => {}
            }
        }
        Err(Error::Conflict)
    }

    /// As [`Self::gone`], for a write: others may have seen it before the index came to its end, so
    /// where the catalog cannot be asked nothing is said of it.
    async fn ended(&self, error: Error) -> Error {
        let ended = matches!(error, Error::NoSuchIndex);
        match self.gone(error).await {
            Error::Storage(_) if ended => Error::OutcomeUnknown,
            told => told,
        }
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
}

fn is_live(record: &IndexRecord) -> bool {
    record.state == crate::records::IndexState::Live
}
