//! The engine's door: buckets and indexes of one store, and handles to the indexes' records.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::{StreamExt, TryStreamExt, stream};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use vb_commit::Store;
use vb_kernel::Kernels;

use crate::catalog::command::{Command, CreateIndex};
use crate::catalog::read::RecordCache;
use crate::catalog::state::{Applied, Bucket};
use crate::catalog::walk::Walk;
use crate::catalog::{AskError, OpenBucket};
use crate::context::Context;
use crate::driver;
use crate::error::Error;
use crate::format;
use crate::handle::IndexHandle;
use crate::index::{self, OpenIndex, WriteError};
use crate::options::Options;
use crate::paths;
use crate::records::{
    BucketChange, BucketId, BucketRecord, BucketSettings, Created, IndexId, IndexRecord,
    IndexSettings, IndexState,
};
use crate::registry::{Opened, Registry};
use crate::stats::{MeasuredRecall, Stats};

/// Buckets of one listing that are read at the same time.
const BUCKET_READS_MAX: usize = 64;
/// How often a call repeats on a task that was just ending.
const REPEATS_MAX: usize = 8;

/// Buckets, indexes and records over one store. Cheap to clone; all clones are the same engine.
///
/// Every write is durable and visible before its call returns: to every later call on this engine,
/// and, on a shared store, on every other engine over it.
#[derive(Clone, Debug)]
pub struct Engine {
    pub(crate) inner: Arc<Inner>,
}

/// One engine.
#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) context: Arc<Context>,
    pub(crate) buckets: Registry<BucketId, OpenBucket>,
    pub(crate) indexes: Registry<IndexId, OpenIndex>,
    /// Records of buckets that are not open.
    records: RecordCache,
    /// The search for half-done deletions.
    pub(crate) walk: Walk,
    /// Bucket creations go one by one, so that the quota holds exactly within one process.
    creations: Semaphore,
    closing: AtomicBool,
    driver: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(driver) = self.driver.lock().take() {
            driver.abort();
        }
    }
}

impl Engine {
    /// An engine over a store, and its background work. Must be called in a tokio runtime.
    ///
    /// Reads the store's label, or labels a new store; all else is read when it is needed. Deletions
    /// that a crash left half done are completed in the background.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the CPU lacks the wanted instruction level, [`Error::Corrupt`] if the
    /// store has another format, or as the store fails.
    pub async fn open(store: Store, options: Options) -> Result<Self, Error> {
        let kernels = match options.level {
            None => Kernels::detect(),
            Some(level) => {
                Kernels::at(level).ok_or(Error::Invalid("the CPU lacks this instruction level"))?
            }
        };
        let store_id = format::check(&store, options.random.id()).await?;
        let opens_max = options.opens_max;
        let inner = Arc::new(Inner {
            context: Arc::new(Context::new(store, store_id, options, kernels)),
            buckets: Registry::new(opens_max),
            indexes: Registry::new(opens_max),
            records: RecordCache::default(),
            walk: Walk::default(),
            creations: Semaphore::new(1),
            closing: AtomicBool::new(false),
            driver: Mutex::new(None),
        });
        *inner.driver.lock() = Some(tokio::spawn(driver::run(Arc::downgrade(&inner))));
        Ok(Self { inner })
    }

    /// Refuses further work, answers what was accepted, and lets go of the store.
    ///
    /// Records that are not in a segment yet stay in their logs: the next start replays them, which
    /// takes less time than writing segments would now.
    pub async fn shutdown(&self) {
        let inner = &self.inner;
        inner.closing.store(true, Ordering::Release);
        let driver = inner.driver.lock().take();
        if let Some(driver) = driver {
            driver.abort();
            // Aborted on purpose.
            let _ = driver.await;
        }
        inner.buckets.close();
        inner.indexes.close();
        for (id, index) in inner.indexes.all() {
            index.close().await;
            inner.indexes.forget(&id, &index);
        }
        for (id, bucket) in inner.buckets.all() {
            bucket.close().await;
            inner.buckets.forget(&id, &bucket);
        }
    }

    /// What the engine has done and holds.
    pub fn stats(&self) -> Stats {
        let inner = &self.inner;
        let mut stats = inner.context.meters.stats();
        let indexes = inner.indexes.all();
        stats.indexes_open = indexes.len() as u64;
        stats.buckets_open = inner.buckets.all().len() as u64;
        for (_, index) in indexes {
            stats.memtable_bytes += index.status.unflushed_bytes() as u64;
            stats.segments += index.status.segment_count() as u64;
            stats.records += index.published().view().live;
        }
        stats.memtables_full = u64::from(inner.context.budget.memtables.are_full());
        stats.cache = inner.context.cache.stats();
        let counts = inner.context.store.counts();
        let verbs = [counts.create, counts.put, counts.get, counts.list, counts.delete];
        stats.store_requests = verbs.iter().map(|verb| verb.requests).sum();
        stats.store_failures = verbs.iter().map(|verb| verb.failures).sum();
        stats.store_bytes_read = counts.get.bytes;
        stats.store_bytes_written = counts.create.bytes + counts.put.bytes;
        stats
    }

    /// Measured recall of every index whose queries were sampled, in the order of their ids.
    pub fn recalls(&self) -> Vec<MeasuredRecall> {
        self.inner.context.recalls.all()
    }

    /// Creates a bucket; one that exists already is left as it is.
    ///
    /// # Errors
    /// [`Error::TooManyBuckets`], or as the store fails. The quota is exact within one process;
    /// processes that create at the same moment may go beyond it by one each.
    pub async fn create_bucket(
        &self,
        bucket: &BucketId,
        settings: BucketSettings,
    ) -> Result<Created, Error> {
        self.create_bucket_within(bucket, settings, self.inner.context.options.buckets_max).await
    }

    /// As [`Engine::create_bucket`], with another quota than the engine's own.
    ///
    /// # Errors
    /// As [`Engine::create_bucket`].
    pub async fn create_bucket_within(
        &self,
        bucket: &BucketId,
        settings: BucketSettings,
        buckets_max: usize,
    ) -> Result<Created, Error> {
        let _one = self.inner.creations.acquire().await.map_err(|_| Error::Closed)?;
        match self.inner.state(bucket).await {
            Ok(state) if state.live.is_some() => return Ok(Created::Same),
            Ok(_) | Err(Error::NoSuchBucket) => {}
            Err(error) => return Err(error),
        }
        // Names of deleted buckets are among them: only near the quota does it matter who lives.
        let names = self.inner.bucket_names(&bucket.account).await?;
        if names.len() >= buckets_max
            && self.inner.bucket_records(names).await?.len() >= buckets_max
        {
            return Err(Error::TooManyBuckets);
        }
        let created_ms = self.inner.context.unix_ms();
        let command = Command::CreateBucket { created_ms, settings };
        self.inner.command(bucket, command, true).await.map(Created::from)
    }

    /// The bucket as of now.
    ///
    /// # Errors
    /// [`Error::NoSuchBucket`], or as the store fails.
    pub async fn bucket(&self, bucket: &BucketId) -> Result<BucketRecord, Error> {
        let state = self.inner.state(bucket).await?;
        record(&state, bucket)
    }

    /// The bucket as of at most `catalog_age_max` ago: for name resolution and authorization.
    ///
    /// # Errors
    /// [`Error::NoSuchBucket`], or as the store fails.
    pub async fn bucket_cached(&self, bucket: &BucketId) -> Result<BucketRecord, Error> {
        match record(&*self.inner.recent_state(bucket).await?, bucket) {
            Err(Error::NoSuchBucket) => self.bucket(bucket).await,
            found => found,
        }
    }

    /// Every bucket of an account, sorted by name.
    ///
    /// # Errors
    /// As the store fails.
    pub async fn list_buckets(&self, account: &[u8]) -> Result<Vec<BucketRecord>, Error> {
        let names = self.inner.bucket_names(account).await?;
        let mut records = self.inner.bucket_records(names).await?;
        records.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(records)
    }

    /// Deletes a bucket.
    ///
    /// # Errors
    /// [`Error::NoSuchBucket`], [`Error::BucketNotEmpty`], or as the store fails.
    pub async fn delete_bucket(&self, bucket: &BucketId) -> Result<(), Error> {
        self.inner.complete_drops(bucket).await?;
        self.inner.command(bucket, Command::DeleteBucket, false).await.map(drop)
    }

    /// Changes a bucket's configuration.
    ///
    /// # Errors
    /// [`Error::NoSuchBucket`], or as the store fails.
    pub async fn configure_bucket(
        &self,
        bucket: &BucketId,
        change: BucketChange,
    ) -> Result<(), Error> {
        self.inner.command(bucket, Command::Configure(change), false).await.map(drop)
    }

    /// Creates an index. Two store writes: the index's manifest, then the slot in the bucket's log
    /// that makes the index exist.
    ///
    /// # Errors
    /// [`Error::NoSuchBucket`], [`Error::IndexExists`], [`Error::TooManyIndexes`], or as the store
    /// fails.
    pub async fn create_index(
        &self,
        bucket: &BucketId,
        name: &[u8],
        settings: IndexSettings,
    ) -> Result<IndexRecord, Error> {
        let indexes_max = self.inner.context.options.indexes_max;
        self.create_index_within(bucket, name, settings, indexes_max).await
    }

    /// As [`Engine::create_index`], with another quota than the engine's own.
    ///
    /// # Errors
    /// As [`Engine::create_index`].
    pub async fn create_index_within(
        &self,
        bucket: &BucketId,
        name: &[u8],
        settings: IndexSettings,
        indexes_max: usize,
    ) -> Result<IndexRecord, Error> {
        self.inner.complete_drops(bucket).await?;
        let context = &self.inner.context;
        let create = CreateIndex {
            name: name.into(),
            id: IndexId(context.random()),
            created_ms: context.unix_ms(),
            indexes_max: u32::try_from(indexes_max).unwrap_or(u32::MAX),
            settings: Arc::new(settings),
        };
        let command = Command::CreateIndex(create.clone());
        self.inner.state(bucket).await?.judge(&command)?;
        index::create(context, create.id, &create.settings.schema).await?;
        let outcome = self.inner.command(bucket, command, false).await;
        self.inner.index_created(bucket, create, outcome).await
    }

    /// The index as of now, also while it is being deleted.
    ///
    /// # Errors
    /// [`Error::NoSuchBucket`], [`Error::NoSuchIndex`], or as the store fails.
    pub async fn index(&self, bucket: &BucketId, name: &[u8]) -> Result<IndexRecord, Error> {
        let state = self.inner.state(bucket).await?;
        let live = state.live.as_ref().ok_or(Error::NoSuchBucket)?;
        live.indexes.get(name).cloned().ok_or(Error::NoSuchIndex)
    }

    /// Every index of a bucket, sorted by name, also those being deleted.
    ///
    /// # Errors
    /// [`Error::NoSuchBucket`], or as the store fails.
    pub async fn list_indexes(&self, bucket: &BucketId) -> Result<Vec<IndexRecord>, Error> {
        let state = self.inner.state(bucket).await?;
        let live = state.live.as_ref().ok_or(Error::NoSuchBucket)?;
        Ok(live.indexes.iter().cloned().collect())
    }

    /// Deletes an index and all its records. When it returns, no write to the index can be
    /// acknowledged any more, on any process; its objects are removed in the background.
    ///
    /// # Errors
    /// [`Error::NoSuchBucket`], [`Error::NoSuchIndex`], or as the store fails. After a failure the
    /// index may stay half deleted; whoever meets it completes the deletion.
    pub async fn delete_index(&self, bucket: &BucketId, name: &[u8]) -> Result<(), Error> {
        let id = self.index(bucket, name).await?.id;
        self.inner.command(bucket, Command::MarkDeleting(id), false).await?;
        self.inner.complete_drop(bucket, id).await
    }

    /// A handle to a live index. Reads no more than the bucket's record, mostly from memory.
    ///
    /// # Errors
    /// [`Error::NoSuchBucket`], [`Error::NoSuchIndex`], or as the store fails.
    pub async fn resolve(&self, bucket: &BucketId, name: &[u8]) -> Result<IndexHandle, Error> {
        let recent = self.inner.recent_state(bucket).await?;
        let record = match live_index(&recent, name) {
            Ok(record) => record,
            // On a store with other writers it may have been made since.
            Err(_) => live_index(&*self.inner.state(bucket).await?, name)?,
        };
        Ok(IndexHandle::new(self.clone(), bucket.clone(), &record))
    }
}

fn record(state: &Bucket, bucket: &BucketId) -> Result<BucketRecord, Error> {
    let live = state.live.as_ref().ok_or(Error::NoSuchBucket)?;
    Ok(live.record(&bucket.name))
}

fn live_index(state: &Bucket, name: &[u8]) -> Result<IndexRecord, Error> {
    let live = state.live.as_ref().ok_or(Error::NoSuchBucket)?;
    let record = live.indexes.get(name).ok_or(Error::NoSuchIndex)?;
    if record.state == IndexState::Live { Ok(record.clone()) } else { Err(Error::NoSuchIndex) }
}

impl Inner {
    /// Names of all buckets that an account ever had.
    pub(crate) async fn bucket_names(&self, account: &[u8]) -> Result<Vec<BucketId>, Error> {
        let folder = paths::account(account);
        let listing = self.context.store.list_level(&folder).await?;
        let parts = listing.prefixes.iter().filter_map(|path| path.rsplit('/').next());
        let names = parts.filter_map(paths::decode_name);
        Ok(names.map(|name| BucketId { account: account.into(), name }).collect())
    }

    /// Accounts that ever had a bucket.
    pub(crate) async fn accounts(&self) -> Result<Vec<Box<[u8]>>, Error> {
        let listing = self.context.store.list_level(paths::CATALOG).await?;
        let parts = listing.prefixes.iter().filter_map(|path| path.rsplit('/').next());
        Ok(parts.filter_map(paths::decode_name).collect())
    }

    /// Records of those of the buckets that exist, as of now. Opens none of them.
    async fn bucket_records(&self, names: Vec<BucketId>) -> Result<Vec<BucketRecord>, Error> {
        let reads: Vec<_> = names.into_iter().map(|id| self.bucket_record(id)).collect();
        let records: Vec<Option<BucketRecord>> =
            stream::iter(reads).buffered(BUCKET_READS_MAX).try_collect().await?;
        Ok(records.into_iter().flatten().collect())
    }

    async fn bucket_record(&self, id: BucketId) -> Result<Option<BucketRecord>, Error> {
        self.check_open()?;
        if let Some(open) = self.buckets.open(&id) {
            match open.now().await {
                Ok(state) => return Ok(state.live.as_ref().map(|live| live.record(&id.name))),
                Err(AskError::Failed(error)) => return Err(error),
                // It closes at this moment.
                Err(AskError::NotSent) => {}
            }
        }
        let record = self.records.record(&self.context, &id).await?;
        Ok(record.map(|record| (*record).clone()))
    }

    /// Closes an open bucket; what it has still to sweep is remembered.
    pub(crate) async fn close_bucket(&self, id: &BucketId, bucket: &Arc<OpenBucket>) {
        bucket.close().await;
        self.buckets.forget(id, bucket);
        self.walk.remember(id, &bucket.last_known(), self.context.options.sweep_grace);
    }

    fn check_open(&self) -> Result<(), Error> {
        if self.closing.load(Ordering::Acquire) { Err(Error::Closed) } else { Ok(()) }
    }

    async fn open_bucket(&self, id: &BucketId, create: bool) -> Result<Arc<OpenBucket>, Error> {
        self.check_open()?;
        let open = || OpenBucket::open(&self.context, id, create);
        self.buckets.get_or_open(id, open).await
    }

    /// The bucket's state as of now.
    pub(crate) async fn state(&self, id: &BucketId) -> Result<Arc<Bucket>, Error> {
        self.on_bucket(id, false, |bucket| async move { bucket.now().await }).await
    }

    async fn recent_state(&self, id: &BucketId) -> Result<Arc<Bucket>, Error> {
        self.on_bucket(id, false, |bucket| async move { bucket.recent().await }).await
    }

    /// Commits a command; `create` makes the bucket's log if there is none.
    pub(crate) async fn command(
        &self,
        id: &BucketId,
        command: Command,
        create: bool,
    ) -> Result<Applied, Error> {
        let commit = |bucket: Arc<OpenBucket>| {
            let command = command.clone();
            async move { bucket.command(command).await }
        };
        self.on_bucket(id, create, commit).await
    }

    /// Runs a call on the open bucket, again if its task was just ending.
    async fn on_bucket<T, F>(
        &self,
        id: &BucketId,
        create: bool,
        call: impl Fn(Arc<OpenBucket>) -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, AskError>>,
    {
        for _ in 0..REPEATS_MAX {
            let bucket = self.open_bucket(id, create).await?;
            match call(bucket).await {
                Ok(value) => return Ok(value),
                Err(AskError::Failed(error)) => return Err(error),
                Err(AskError::NotSent) => {}
            }
        }
        Err(Error::Conflict)
    }

    /// The outcome of an index's slot in the bucket's log. An index that certainly does not exist
    /// leaves no manifest behind.
    async fn index_created(
        &self,
        bucket: &BucketId,
        create: CreateIndex,
        outcome: Result<Applied, Error>,
    ) -> Result<IndexRecord, Error> {
        match outcome {
            Ok(_) => Ok(IndexRecord {
                name: create.name,
                id: create.id,
                created_ms: create.created_ms,
                state: IndexState::Live,
                settings: create.settings,
            }),
            Err(Error::OutcomeUnknown) => {
                let state = self.state(bucket).await.map_err(|_| Error::OutcomeUnknown)?;
                state.index_of(create.id).cloned().ok_or(Error::OutcomeUnknown)
            }
            Err(error) => {
                let definite = matches!(
                    error,
                    Error::IndexExists | Error::TooManyIndexes | Error::NoSuchBucket
                );
                if definite {
                    // Nobody else ever learnt of the id.
                    index::remove(&self.context, create.id, true).await?;
                }
                Err(error)
            }
        }
    }

    /// Completes every deletion of the bucket that was begun and not finished.
    pub(crate) async fn complete_drops(&self, bucket: &BucketId) -> Result<(), Error> {
        for id in self.state(bucket).await?.half_dropped() {
            self.complete_drop(bucket, id).await?;
        }
        Ok(())
    }

    /// Fences the log of an index that is marked deleting, and marks it deleted.
    async fn complete_drop(&self, bucket: &BucketId, id: IndexId) -> Result<(), Error> {
        self.fence(id).await?;
        let at_ms = self.context.unix_ms();
        let marked = self.command(bucket, Command::MarkDeleted { id, at_ms }, false).await;
        match marked {
            // Somebody else did it, and the bucket may be gone since.
            Ok(_) | Err(Error::NoSuchIndex | Error::NoSuchBucket) => {}
            Err(error) => return Err(error),
        }
        self.context.wake.notify_one();
        Ok(())
    }

    /// Ends an index's log, through its writer task if it is open.
    ///
    /// Somebody may be opening the index at this moment, and have read the log before it ended. His
    /// task would go on when the log's objects are gone already, so it is ended afterwards.
    async fn fence(&self, id: IndexId) -> Result<(), Error> {
        self.fence_open(id).await?;
        index::fence(&self.context, id).await?;
        self.fence_open(id).await
    }

    async fn fence_open(&self, id: IndexId) -> Result<(), Error> {
        let Some(index) = self.indexes.settled(&id).await else { return Ok(()) };
        match index.fence().await {
            Err(WriteError::Failed(error)) if !index.is_ending() => return Err(error),
            // Whatever made the task end, the log itself is looked at.
            Ok(()) | Err(WriteError::Failed(_) | WriteError::NotSent) => {}
        }
        index.ended().await;
        self.indexes.forget(&id, &index);
        Ok(())
    }

    /// Whether a sweep now finds everything that writers of a dropped index can still leave behind.
    pub(crate) fn sweep_is_last(&self, dropped_ms: u64) -> bool {
        let grace = u64::try_from(self.context.options.sweep_grace.as_millis()).unwrap_or(u64::MAX);
        let age = self.context.unix_ms().saturating_sub(dropped_ms);
        self.context.store.sole_writer() || age >= grace
    }

    /// The open index, opened if it is not.
    pub(crate) async fn open_index(
        &self,
        id: IndexId,
        settings: &IndexSettings,
    ) -> Result<Arc<OpenIndex>, Error> {
        self.check_open()?;
        let index =
            self.indexes.get_or_open(&id, || OpenIndex::open(&self.context, id, settings)).await?;
        index.touch();
        Ok(index)
    }
}
