//! Many idle indexes: what a start, a first query, a creation and a list cost in requests.
//!
//! Rounds are counted with a paused clock: each request of the store takes one virtual tick, so that
//! the ticks a call takes are the requests that had to follow one another.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use common::{batch, engine, half_delete, key, one_field, query, quiet, record, settings};
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use tokio::time::Instant;
use vb_commit::Store;
use vb_engine::{BucketChange, BucketId, BucketSettings, Compaction, Engine, Options};

const TICK: Duration = Duration::from_millis(10);
const BUCKETS: usize = 20;
const INDEXES: usize = 100;

/// A store in which every request takes one tick.
#[derive(Debug)]
struct Slow(Arc<InMemory>);

impl fmt::Display for Slow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Slow")
    }
}

async fn tick() {
    tokio::time::sleep(TICK).await;
}

#[async_trait::async_trait]
impl ObjectStore for Slow {
    async fn put_opts(
        &self,
        path: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        tick().await;
        self.0.put_opts(path, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        tick().await;
        self.0.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        tick().await;
        self.0.get_opts(path, options).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.0.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let listed = self.0.list(prefix);
        Box::pin(futures_util::stream::once(tick()).flat_map(|()| nothing()).chain(listed))
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let listed = self.0.list_with_offset(prefix, offset);
        Box::pin(futures_util::stream::once(tick()).flat_map(|()| nothing()).chain(listed))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        tick().await;
        self.0.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.0.copy_opts(from, to, options).await
    }
}

/// Nothing but the tick comes before the list.
fn nothing() -> BoxStream<'static, Result<ObjectMeta>> {
    futures_util::stream::empty().boxed()
}

fn fast(objects: &Arc<InMemory>, sole: bool) -> Store {
    Store::from_object_store(Arc::clone(objects) as Arc<dyn ObjectStore>, sole)
}

fn slow(objects: &Arc<InMemory>, sole: bool) -> Store {
    Store::from_object_store(Arc::new(Slow(Arc::clone(objects))), sole)
}

/// Everything runs where it is called, as far as the clock can tell.
fn options() -> Options {
    Options {
        threads: Some(0),
        opens_max: 64,
        indexes_max: 1000,
        compaction: Compaction { automatic: false, ..Compaction::default() },
        ..quiet()
    }
}

fn numbered(bucket: usize) -> BucketId {
    BucketId::new("1234567890123456", format!("b{bucket:02}"))
}

fn name(index: usize) -> Vec<u8> {
    format!("i{index:03}").into_bytes()
}

/// Buckets of indexes. In each bucket the first index has records in its log, the second has some in
/// a segment, and some of both; all others are empty.
async fn populate(objects: &Arc<InMemory>, buckets: usize, indexes: usize) {
    let store = fast(objects, true);
    let engine = engine(&store, options()).await;
    let made = settings(one_field(2));
    for bucket in 0..buckets {
        let id = numbered(bucket);
        engine.create_bucket(&id, BucketSettings::default()).await.unwrap();
        for index in 0..indexes {
            engine.create_index(&id, &name(index), made.clone()).await.unwrap();
        }
        for index in 0..2 {
            let handle = engine.resolve(&id, &name(index)).await.unwrap();
            let rows: Vec<_> = (0..9).map(|n| (key(n), record(&[n as f32, 1.0]))).collect();
            handle.put(batch(handle.schema(), &rows)).await.unwrap();
            if index == 1 {
                handle.flush().await.unwrap();
                handle.put(batch(handle.schema(), &rows[..3])).await.unwrap();
            }
        }
    }
    engine.shutdown().await;
}

/// How many ticks a call takes.
async fn rounds<T>(call: impl Future<Output = T>) -> (u64, T) {
    let started = Instant::now();
    let value = call.await;
    let ticks = started.elapsed().as_millis() / TICK.as_millis();
    (u64::try_from(ticks).unwrap(), value)
}

/// What a request of a query does: name resolution and authorization, then the query.
async fn first_query(engine: &Engine, bucket: usize, index: usize) -> usize {
    let id = numbered(bucket);
    engine.bucket_cached(&id).await.unwrap();
    let handle = engine.resolve(&id, &name(index)).await.unwrap();
    handle.query(query(&[1.0, 1.0], 5)).await.unwrap().len()
}

#[tokio::test(start_paused = true)]
async fn the_first_query_on_any_index_takes_at_most_six_rounds() {
    for sole in [true, false] {
        let objects = Arc::new(InMemory::new());
        populate(&objects, BUCKETS, INDEXES).await;
        for index in [0, 1, 2, 99] {
            let store = slow(&objects, sole);
            let (open, engine) = rounds(Engine::open(store.clone(), options())).await;
            let engine = engine.unwrap();
            assert!(open <= 1, "a start waits for {open} rounds");
            let (query, found) = rounds(first_query(&engine, 7, index)).await;
            assert_eq!(found, if index < 2 { 5 } else { 0 });
            assert!(query <= 6, "sole {sole}, index {index}: {query} rounds");
            engine.shutdown().await;
        }
    }
}

#[tokio::test]
async fn creating_an_index_is_two_writes() {
    for sole in [true, false] {
        let objects = Arc::new(InMemory::new());
        let store = fast(&objects, sole);
        let engine = engine(&store, options()).await;
        engine.create_bucket(&numbered(0), BucketSettings::default()).await.unwrap();
        for index in 0..10 {
            let before = store.counts();
            let made = settings(one_field(2));
            engine.create_index(&numbered(0), &name(index), made).await.unwrap();
            let after = store.counts();
            assert_eq!(after.create.requests - before.create.requests, 2);
            assert_eq!(after.put.requests, before.put.requests);
            assert_eq!(after.delete.requests, before.delete.requests);
        }
        engine.shutdown().await;
    }
}

/// A catalog's log is folded, and what was folded goes, on shared stores too.
#[tokio::test]
async fn a_catalog_stays_small() {
    for sole in [true, false] {
        let objects = Arc::new(InMemory::new());
        populate(&objects, 1, 250).await;
        let store = fast(&objects, sole);
        let engine = engine(&store, options()).await;
        for round in 0..100 {
            let tags = vec![("round".to_owned(), round.to_string())];
            engine.configure_bucket(&numbered(0), BucketChange::Tags(tags)).await.unwrap();
        }
        engine.shutdown().await;
        let left = store.list_after("catalog", None).await.unwrap();
        assert!(left.len() <= 40, "sole {sole}: {} objects", left.len());
    }
}

/// The walk after a start reads each bucket once, keeps none open, and leaves the rest of the day
/// alone.
#[tokio::test(start_paused = true)]
async fn the_walk_reads_each_bucket_once_and_keeps_none_open() {
    let objects = Arc::new(InMemory::new());
    populate(&objects, BUCKETS, 5).await;
    let store = slow(&objects, false);
    let engine = engine(&store, options()).await;
    let requests = |store: &Store| {
        let counts = store.counts();
        counts.get.requests + counts.list.requests
    };
    tokio::time::sleep(Duration::from_secs(60)).await;
    let walked = requests(&store);
    assert!(walked >= 2 * BUCKETS as u64, "the walk takes place: {walked}");
    assert!(walked <= 20 * BUCKETS as u64, "{walked} requests");
    assert_eq!(engine.stats().buckets_open, 0);
    tokio::time::sleep(Duration::from_secs(23 * 3600)).await;
    assert_eq!(requests(&store), walked, "idle buckets are not read again");
    tokio::time::sleep(Duration::from_secs(2 * 3600)).await;
    assert!(requests(&store) > walked, "but once a day");
    assert_eq!(engine.stats().buckets_open, 0);
    engine.shutdown().await;
}

/// A deletion that another process left half done, in a bucket that nobody uses, is completed; the
/// last sweep comes after the grace period, though the bucket is long closed then.
#[tokio::test(start_paused = true)]
async fn the_walk_completes_what_nobody_meets() {
    let objects = Arc::new(InMemory::new());
    populate(&objects, BUCKETS, 5).await;
    let store = fast(&objects, false);
    let clock = Arc::new(Ticking(Instant::now()));
    let grace = Duration::from_secs(3600);
    let options = Options { clock, sweep_grace: grace, ..options() };
    let engine = engine(&store, options).await;
    let doomed = engine.index(&numbered(11), &name(1)).await.unwrap().id;
    tokio::time::sleep(Duration::from_secs(700)).await;
    assert_eq!(engine.stats().buckets_open, 0);
    half_delete(&store, &numbered(11), doomed, false).await;
    let objects_left = async || {
        let prefix = format!("index/{doomed}");
        store.list_after(&prefix, None).await.unwrap().len()
    };
    assert!(objects_left().await > 2);
    // The next walk is a day later.
    tokio::time::sleep(Duration::from_secs(24 * 3600)).await;
    assert!(objects_left().await <= 2, "nothing but the fence is left");
    tokio::time::sleep(Duration::from_secs(2 * 3600)).await;
    assert_eq!(objects_left().await, 0, "and after the grace period not even that");
    assert_eq!(engine.stats().buckets_open, 0);
    assert_eq!(engine.list_indexes(&numbered(11)).await.unwrap().len(), 4);
    engine.shutdown().await;
}

/// Wall-clock time that goes with the runtime's.
#[derive(Debug)]
struct Ticking(Instant);

impl vb_commit::Clock for Ticking {
    fn unix_ms(&self) -> u64 {
        1_800_000_000_000 + u64::try_from(self.0.elapsed().as_millis()).unwrap()
    }
}

/// Lists open no bucket; what was read once is proven by one small list each; and every change by
/// anybody is seen.
#[tokio::test(start_paused = true)]
async fn a_list_of_buckets_opens_none() {
    for sole in [true, false] {
        let objects = Arc::new(InMemory::new());
        populate(&objects, BUCKETS, 3).await;
        let store = slow(&objects, sole);
        let walk_every = Duration::from_secs(1 << 30);
        let engine = engine(&store, Options { walk_every, ..options() }).await;
        // After the walk, so that only lists send requests.
        tokio::time::sleep(Duration::from_secs(60)).await;
        let account = numbered(0).account;
        let (first, listed) = rounds(engine.list_buckets(&account)).await;
        assert_eq!(listed.unwrap().len(), BUCKETS);
        assert!(first <= 4, "{first} rounds");
        let before = store.counts();
        let (again, listed) = rounds(engine.list_buckets(&account)).await;
        let after = store.counts();
        assert_eq!(listed.unwrap().len(), BUCKETS);
        assert!(again <= 2, "{again} rounds");
        assert_eq!(after.get.requests, before.get.requests, "records are remembered");
        assert_eq!(after.list.requests - before.list.requests, 1 + BUCKETS as u64);
        assert_eq!(engine.stats().buckets_open, 0);

        let other = fast(&objects, false);
        let other = if sole { engine.clone() } else { common::engine(&other, options()).await };
        let tags = vec![("seen".to_owned(), "now".to_owned())];
        other.configure_bucket(&numbered(4), BucketChange::Tags(tags.clone())).await.unwrap();
        other.create_bucket(&numbered(77), BucketSettings::default()).await.unwrap();
        let listed = engine.list_buckets(&account).await.unwrap();
        assert_eq!(listed.len(), BUCKETS + 1);
        assert_eq!(listed[4].tags, tags);
        other.delete_bucket(&numbered(77)).await.unwrap();
        assert_eq!(engine.list_buckets(&account).await.unwrap().len(), BUCKETS);
        engine.shutdown().await;
    }
}

/// Whoever uses many buckets in turn does not have them all open.
#[tokio::test(start_paused = true)]
async fn buckets_beyond_the_limit_are_closed_soon() {
    let objects = Arc::new(InMemory::new());
    populate(&objects, BUCKETS, 2).await;
    let store = fast(&objects, false);
    let engine = engine(&store, Options { buckets_open_max: 5, ..options() }).await;
    let uses = futures_util::stream::iter(0..BUCKETS).map(Ok);
    uses.try_for_each(|bucket| {
        let engine = engine.clone();
        async move { engine.list_indexes(&numbered(bucket)).await.map(drop) }
    })
    .await
    .unwrap();
    assert_eq!(engine.stats().buckets_open, BUCKETS as u64);
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert!(engine.stats().buckets_open <= 5, "{}", engine.stats().buckets_open);
    assert_eq!(engine.list_indexes(&numbered(3)).await.unwrap().len(), 2);
    engine.shutdown().await;
}
