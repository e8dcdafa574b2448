//! How many sequential rounds of store requests calls take: every request of a store takes the same
//! simulated time, so elapsed time / that time is the number of rounds.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use common::{batch, bucket, field, get, key, page, query, quiet, settings};
use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};
use vb_commit::Store;
use vb_engine::{Answer, BucketSettings, Engine, IndexHandle, Options, Query};
use vb_search::{Attributes, Filter, Metric, Number, Scalar, Schema, Test, Value};

/// What every request takes.
const DELAY: Duration = Duration::from_millis(10);

/// A store in memory behind a slow line.
#[derive(Debug)]
struct Slow {
    objects: Arc<InMemory>,
    /// What was asked for, and when.
    requests: Arc<Mutex<Vec<(Duration, String)>>>,
    started: Instant,
}

impl fmt::Display for Slow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Slow")
    }
}

impl Slow {
    async fn pass(&self, what: &str, path: &str) {
        self.note(what, path);
        sleep(DELAY).await;
    }

    fn note(&self, what: &str, path: &str) {
        self.requests.lock().push((self.started.elapsed(), format!("{what} {path}")));
    }
}

#[async_trait::async_trait]
impl ObjectStore for Slow {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        self.pass("put", location.as_ref()).await;
        self.objects.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.pass("upload", location.as_ref()).await;
        self.objects.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let range = options.range.as_ref().map(ToString::to_string).unwrap_or_default();
        self.pass("get", &format!("{location} {range}")).await;
        self.objects.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.objects.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.note("list", prefix.map_or("", Path::as_ref));
        let (objects, prefix) = (Arc::clone(&self.objects), prefix.cloned());
        sleep(DELAY).map(move |()| objects.list(prefix.as_ref())).flatten_stream().boxed()
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.note("list", prefix.map_or("", Path::as_ref));
        let (objects, prefix) = (Arc::clone(&self.objects), prefix.cloned());
        let offset = offset.clone();
        sleep(DELAY)
            .map(move |()| objects.list_with_offset(prefix.as_ref(), &offset))
            .flatten_stream()
            .boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.pass("list", prefix.map_or("", Path::as_ref)).await;
        self.objects.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.pass("copy", from.as_ref()).await;
        self.objects.copy_opts(from, to, options).await
    }
}

/// A bucket with one index in a slow store.
struct Bench {
    objects: Arc<InMemory>,
    requests: Arc<Mutex<Vec<(Duration, String)>>>,
    started: Instant,
    sole_writer: bool,
}

impl Bench {
    fn new(sole_writer: bool) -> Self {
        let (objects, requests) = (Arc::default(), Arc::default());
        Self { objects, requests, started: Instant::now(), sole_writer }
    }

    fn store(&self) -> Store {
        let (objects, requests) = (Arc::clone(&self.objects), Arc::clone(&self.requests));
        let slow = Slow { objects, requests, started: self.started };
        Store::from_object_store(Arc::new(slow), self.sole_writer)
    }

    /// An engine as a process that has just started has it.
    async fn start(&self) -> Engine {
        // Computing takes no time, and happens on this thread.
        let options = Options { threads: Some(0), ..quiet() };
        Engine::open(self.store(), options).await.unwrap()
    }

    /// A call, its rounds, and what it asked of the store, by rounds.
    async fn count<T>(&self, call: impl Future<Output = T>) -> (usize, Vec<String>, T) {
        self.requests.lock().clear();
        let started = Instant::now();
        let value = call.await;
        let round = |since: Duration| (since.as_millis() / DELAY.as_millis()) as usize;
        let start = started - self.started;
        let requests = self.requests.lock();
        let told = |(at, what): &(Duration, String)| format!("{}: {what}", round(*at - start));
        let told = requests.iter().map(told).collect();
        (round(started.elapsed()), told, value)
    }
}

const DIMENSION: usize = 64;

fn schema() -> Schema {
    Schema {
        vector_fields: vec![field("float32", DIMENSION as u32, Metric::Cosine)],
        non_filterable: Vec::new(),
    }
}

fn record(n: usize, version: usize) -> common::Record {
    let colour = Value::One(Scalar::String(["red", "green", "blue"][n % 3].into()));
    let value = |at: usize| ((n * 31 + at * 7 + version) % 19) as f32 - 9.0;
    common::Record {
        vectors: vec![Some((0..DIMENSION).map(value).collect())],
        metadata: Some(format!("{{\"number\":{n},\"version\":{version}}}").into()),
        attributes: Attributes::from_pairs(vec![
            ("colour".into(), colour),
            ("number".into(), Value::One(Scalar::Integer(n as i64))),
        ]),
    }
}

async fn put(index: &IndexHandle, numbers: std::ops::Range<usize>, version: usize) {
    let numbers: Vec<_> = numbers.collect();
    for part in numbers.chunks(2000) {
        let rows: Vec<_> = part.iter().map(|n| (key(*n), record(*n, version))).collect();
        index.put(batch(index.schema(), &rows)).await.unwrap();
    }
}

/// An index with a segment of `folded` records and a tail of `tail` puts, half of them overwrites.
async fn fill(bench: &Bench, folded: usize, tail: usize) {
    let engine = bench.start().await;
    engine.create_bucket(&bucket(), BucketSettings::default()).await.unwrap();
    engine.create_index(&bucket(), b"index", settings(schema())).await.unwrap();
    let index = engine.resolve(&bucket(), b"index").await.unwrap();
    put(&index, 0..folded, 1).await;
    index.flush().await.unwrap();
    put(&index, folded - tail / 2..folded + tail / 2, 2).await;
    engine.shutdown().await;
}

fn red() -> Filter {
    Filter::Test { key: "colour".into(), test: Test::Eq(Scalar::String("red".into())) }
}

fn question(filter: Filter) -> Query {
    Query { filter, ..query(record(7, 1).vectors[0].as_ref().unwrap(), 10) }
}

const OPEN_BUCKET: usize = 2;
const OPEN_INDEX: usize = 2;

/// From the start of a process to the first answer.
async fn check_cold(sole_writer: bool, folded: usize, tail: usize, waves: usize) {
    let bench = Bench::new(sole_writer);
    fill(&bench, folded, tail).await;
    for filter in [Filter::All, red()] {
        let engine = bench.start().await;
        let (rounds, _, index) = bench.count(engine.resolve(&bucket(), b"index")).await;
        let index = index.unwrap();
        assert!(rounds <= OPEN_BUCKET, "{rounds} rounds to find the index");
        let (rounds, requests, hits) = bench.count(index.query(question(filter.clone()))).await;
        assert_eq!(hits.unwrap().len(), 10);
        let most = OPEN_INDEX + waves;
        assert!(rounds <= most, "{rounds} rounds of a cold query: {requests:#?}");
        let (rounds, requests, again) = bench.count(index.query(question(filter))).await;
        assert_eq!(again.unwrap().len(), 10);
        let proof = usize::from(!sole_writer);
        assert_eq!(rounds, proof, "a warm query proves the tip and reads nothing");
        assert!(requests.len() <= 2 * proof, "a warm query: {requests:#?}");
        engine.shutdown().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_small_index_is_read_in_one_wave() {
    for sole_writer in [true, false] {
        check_cold(sole_writer, 1000, 100, 1).await;
        check_cold(sole_writer, 1000, 0, 1).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_cold_query_over_a_long_tail_takes_three_waves() {
    for sole_writer in [true, false] {
        check_cold(sole_writer, 20_000, 10_000, 3).await;
    }
}

/// A query of a process that has just started, of a large segment: three waves and few bytes.
async fn check_cold_by_clusters(bench: &Bench, filter: Filter) -> Answer {
    const BYTES_MAX: u64 = 3 << 20;
    let engine = bench.start().await;
    let index = engine.resolve(&bucket(), b"index").await.unwrap();
    let (rounds, requests, answer) = bench.count(index.search(question(filter.clone()))).await;
    let answer = answer.unwrap();
    assert_eq!(answer.hits.len(), 10);
    assert_eq!(answer.explain.segments_probed, 1);
    assert!(rounds <= OPEN_INDEX + 3, "{rounds} rounds: {requests:#?}");
    assert!(answer.explain.waves <= 3, "{:?}", answer.explain);
    assert!(answer.explain.bytes_read <= BYTES_MAX, "{:?}", answer.explain);
    let (rounds, _, again) = bench.count(index.query(question(filter))).await;
    assert_eq!(rounds, 1, "a warm query proves the tip and reads nothing");
    assert!(again.unwrap().iter().zip(&answer.hits).all(|(again, first)| again.key == first.key));
    engine.shutdown().await;
    answer
}

/// Of a large segment a query reads the tree of its clusters, some lists, and the rows of candidates.
#[tokio::test(start_paused = true)]
async fn a_cold_query_by_clusters_takes_three_waves_and_few_bytes() {
    let bench = Bench::new(false);
    fill(&bench, 60_000, 0).await;
    let answer = check_cold_by_clusters(&bench, Filter::All).await;
    // Row codes came with their lists, and left few vectors to look at: 16, and some of which nothing but a bound is known.
    assert!(answer.explain.row_codes > 0, "{:?}", answer.explain);
    assert!(answer.explain.candidates <= 70, "{:?}", answer.explain);
}

/// What a filter needs of the attributes comes beside the lists, before it is known which rows count.
#[tokio::test(start_paused = true)]
async fn a_cold_filtered_query_by_clusters_takes_three_waves_and_few_bytes() {
    let bench = Bench::new(false);
    fill(&bench, 60_000, 0).await;
    for test in [Test::Lt(Number::Integer(3000)), Test::Gte(Number::Integer(3000))] {
        let filter = Filter::Test { key: "number".into(), test };
        check_cold_by_clusters(&bench, filter).await;
    }
}

/// A warmed index answers filters that it never saw without a read.
#[tokio::test(start_paused = true)]
async fn a_warmed_index_has_all_that_filters_need() {
    let bench = Bench::new(false);
    fill(&bench, 60_000, 0).await;
    let engine = bench.start().await;
    let index = engine.resolve(&bucket(), b"index").await.unwrap();
    index.warm().await.unwrap();
    for test in [Test::Lt(Number::Integer(3000)), Test::Exists(true)] {
        let filter = Filter::Test { key: "number".into(), test };
        let query = Query { with_metadata: false, ..question(filter) };
        let (rounds, requests, hits) = bench.count(index.query(query)).await;
        assert_eq!(hits.unwrap().len(), 10);
        assert_eq!(rounds, 1, "proof of the tip: {requests:#?}");
    }
    engine.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn cold_gets_and_pages_take_three_waves() {
    let bench = Bench::new(false);
    fill(&bench, 20_000, 100).await;
    let engine = bench.start().await;
    let index = engine.resolve(&bucket(), b"index").await.unwrap();
    let keys = vec![key(3), key(19_999), key(1 << 40)];
    let (rounds, requests, rows) = bench.count(index.get(get(keys.clone()))).await;
    assert_eq!(rows.unwrap().iter().flatten().count(), 2);
    assert!(rounds <= OPEN_INDEX + 3, "{rounds} rounds of a cold get: {requests:#?}");
    let (rounds, _, _) = bench.count(index.get(get(keys))).await;
    assert_eq!(rounds, 1, "a warm get proves the tip and reads nothing");
    engine.shutdown().await;
    let engine = bench.start().await;
    let index = engine.resolve(&bucket(), b"index").await.unwrap();
    let (rounds, requests, rows) = bench.count(index.list(page(50))).await;
    assert_eq!(rows.unwrap().rows.len(), 50);
    assert!(rounds <= OPEN_INDEX + 3, "{rounds} rounds of a cold page: {requests:#?}");
}

/// New keys cost the segments' filters, once, beside the commit.
#[tokio::test(start_paused = true)]
async fn a_warm_put_of_new_keys_reads_nothing() {
    let bench = Bench::new(true);
    fill(&bench, 20_000, 0).await;
    let engine = bench.start().await;
    let index = engine.resolve(&bucket(), b"index").await.unwrap();
    put(&index, 30_000..30_001, 1).await;
    let (rounds, requests, ()) = bench.count(put(&index, 30_001..30_002, 1)).await;
    assert_eq!((rounds, requests.len()), (1, 1), "one create: {requests:#?}");
    engine.shutdown().await;
}
