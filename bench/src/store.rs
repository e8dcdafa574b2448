//! What one query asks of the store: requests, sequential rounds, bytes; cold and warm, per store.
//!
//! The engine runs in this process over a line that delays every request by the same time, far
//! longer than sending a burst of them takes, and notes it. A request belongs to the *round* after the
//! latest one of which any request had been answered when it was sent: so the number of rounds is that of
//! waits, one after another, for the store.
//!
//! The index has one folded segment and a tail of puts that are not folded yet, half of them overwrites of
//! folded records, which is the worst that a query finds: nothing of it is written down where the
//! overwritten documents are. Metadata is returned. A cold query is the first of an engine that
//! has resolved the index's name; it opens the index's log first, and its rounds are counted from its start
//! and from the answer with the newest manifest. Vectors beyond some 32 MiB are read window by window, a
//! round each; the index is small enough for one, unless `--rows` says otherwise.

use std::fmt;
use std::path::Path as FilePath;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt, StreamExt};
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult,
};
use parking_lot::Mutex;
use vb_commit::Store;
use vb_engine::{
    BucketId, BucketSettings, Compaction, Engine, IndexHandle, IndexSettings, PutBatch, Query,
    VectorColumn,
};
use vb_search::{Attributes, Filter, Metric, Scalar, Schema, Test, Value, VectorField};

use crate::Outcome;
use crate::report::{Report, say};

/// Where another store to measure is named, as `--store` of the server takes it. Its credentials come
/// from the environment variables of the service's own tools.
const STORE_URL: &str = "VB_BENCH_STORE";

/// How large the index is.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Records in the segment.
    #[arg(long, default_value_t = 20_000)]
    rows: usize,
    #[arg(long, default_value_t = 384)]
    dimension: usize,
    /// Puts that are not folded, half of them overwrites.
    #[arg(long, default_value_t = 10_000)]
    tail: usize,
    /// What every request takes, in milliseconds.
    #[arg(long, default_value_t = 50)]
    delay: u64,
    /// Print every request.
    #[arg(long)]
    requests: bool,
}

/// Measures every store at hand.
pub(crate) fn measure(options: &Options, work: &FilePath, report: &mut Report) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let memory = Arc::new(InMemory::new());
    runtime.block_on(measure_store("shared memory", memory, false, options, report))?;
    let folder = tempfile::tempdir_in(work).map_err(|error| error.to_string())?;
    let local = LocalFileSystem::new_with_prefix(folder.path()).map_err(|e| e.to_string())?;
    runtime.block_on(measure_store("local folder", Arc::new(local), true, options, report))?;
    let Ok(url) = std::env::var(STORE_URL) else {
        say(&format!("  no other store: {STORE_URL} is not set"));
        return Ok(());
    };
    let (name, objects) = remote(&url)?;
    runtime.block_on(measure_store(&name, objects, false, options, report))
}

/// A remote store, under a prefix of this run's own.
fn remote(url: &str) -> Outcome<(String, Arc<dyn ObjectStore>)> {
    let told = |error: &dyn fmt::Display| format!("{STORE_URL}: {error}");
    let (scheme, _) = url.split_once("://").ok_or(told(&"not a URL"))?;
    let parsed = url.parse().map_err(|_| told(&"not a URL"))?;
    let (objects, prefix) =
        object_store::parse_url_opts(&parsed, std::env::vars()).map_err(|error| told(&error))?;
    let own = prefix.join(format!("bench-store-{}", std::process::id()));
    Ok((scheme.to_owned(), Arc::new(PrefixStore::new(objects, own))))
}

async fn measure_store(
    name: &str,
    objects: Arc<dyn ObjectStore>,
    sole_writer: bool,
    options: &Options,
    report: &mut Report,
) -> Outcome {
    let line = Line::new(objects);
    let bench = Bench { line, sole_writer, options };
    say(&format!(
        "{name}: {} x {} folded, {} puts on top",
        options.rows, options.dimension, options.tail
    ));
    bench.fill().await?;
    for (filtered, filter) in [("all", Filter::All), ("filtered", red())] {
        let engine = bench.start().await?;
        let index = bench.index(&engine).await?;
        let cold = bench.query(&index, &filter).await?;
        cold.report(name, &format!("cold, {filtered}"), options, report);
        let after = cold.rounds() - cold.manifest_round();
        report.add(name, &format!("cold, {filtered}: rounds after manifest"), after as f64, "");
        let warm = bench.query(&index, &filter).await?;
        warm.report(name, &format!("warm, {filtered}"), options, report);
        engine.shutdown().await;
    }
    Ok(())
}

/// An index in a store.
struct Bench<'a> {
    line: Line,
    sole_writer: bool,
    options: &'a Options,
}

impl Bench<'_> {
    /// An engine as a process that has just started has it.
    async fn start(&self) -> Outcome<Engine> {
        let store = Store::from_object_store(Arc::new(self.line.clone()), self.sole_writer);
        let options = vb_engine::Options {
            memory_limit: 4 << 30,
            memtable_bytes_max: 1 << 30,
            // Nothing happens by itself meanwhile.
            flush_age: Duration::from_secs(1 << 20),
            compaction: Compaction { automatic: false, ..Compaction::default() },
            ..vb_engine::Options::default()
        };
        Engine::open(store, options).await.map_err(|error| error.to_string())
    }

    async fn index(&self, engine: &Engine) -> Outcome<IndexHandle> {
        engine.resolve(&bucket(), b"index").await.map_err(|error| error.to_string())
    }

    async fn fill(&self) -> Outcome {
        let Options { rows, dimension, tail, .. } = *self.options;
        let engine = self.start().await?;
        let failed = |error: vb_engine::Error| error.to_string();
        engine.create_bucket(&bucket(), BucketSettings::default()).await.map_err(failed)?;
        let settings = IndexSettings { schema: schema(dimension), wire: Bytes::from_static(b"{}") };
        engine.create_index(&bucket(), b"index", settings).await.map_err(failed)?;
        let index = self.index(&engine).await?;
        self.put(&index, 0..rows, 1).await?;
        index.flush().await.map_err(failed)?;
        self.put(&index, rows - tail / 2..rows + tail / 2, 2).await?;
        engine.shutdown().await;
        Ok(())
    }

    async fn put(
        &self,
        index: &IndexHandle,
        numbers: std::ops::Range<usize>,
        version: usize,
    ) -> Outcome {
        let numbers: Vec<usize> = numbers.collect();
        for part in numbers.chunks(500) {
            let put = index.put(batch(part, version, self.options.dimension));
            put.await.map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// One query, and what it asked of the store.
    async fn query(&self, index: &IndexHandle, filter: &Filter) -> Outcome<Asked> {
        let query = Query {
            field: 0,
            vector: vector(7, 1, self.options.dimension),
            top_k: 10,
            filter: filter.clone(),
            with_metadata: true,
            precision: vb_engine::Precision::Usual,
        };
        self.line.notes.start(Duration::from_millis(self.options.delay));
        let hits = index.query(query).await;
        let asked = self.line.notes.stop();
        let hits = hits.map_err(|error| error.to_string())?;
        if hits.len() != 10 || hits.iter().any(|hit| hit.metadata.is_none()) {
            return Err("a query did not find ten records with metadata".to_owned());
        }
        Ok(asked)
    }
}

fn bucket() -> BucketId {
    BucketId::new("000000000000", "bench")
}

fn schema(dimension: usize) -> Schema {
    let field =
        VectorField { name: "v".into(), dimension: dimension as u32, metric: Metric::Cosine };
    Schema { vector_fields: vec![field], non_filterable: Vec::new() }
}

fn red() -> Filter {
    Filter::Test { key: "colour".into(), test: Test::Eq(Scalar::String("red".into())) }
}

fn colour(number: usize) -> &'static str {
    ["red", "green", "blue"][number % 3]
}

/// Values in -1..1 (xorshift).
fn vector(number: usize, version: usize, dimension: usize) -> Vec<f32> {
    let mut state = (number as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ version as u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    };
    std::iter::repeat_with(next).take(dimension).collect()
}

fn batch(numbers: &[usize], version: usize, dimension: usize) -> PutBatch {
    let key = |number: &usize| format!("record-{number:08}").into_bytes().into_boxed_slice();
    let metadata = |number: &usize| {
        let (colour, text) = (colour(*number), "some words of a record ".repeat(8));
        format!("{{\"colour\":\"{colour}\",\"number\":{number},\"text\":\"{text}\"}}").into()
    };
    let attributes = |number: &usize| {
        let colour = Value::One(Scalar::String(colour(*number).into()));
        Attributes::from_pairs(vec![("colour".into(), colour)])
    };
    let values = numbers.iter().flat_map(|number| vector(*number, version, dimension)).collect();
    PutBatch {
        keys: numbers.iter().map(key).collect(),
        vectors: vec![VectorColumn { values, present: None }],
        metadata: numbers.iter().map(|number| Some(metadata(number))).collect(),
        attributes: numbers.iter().map(attributes).collect(),
    }
}

/// What was asked of the store, in the order it was sent.
struct Asked(Vec<Request>);

#[derive(Clone, Debug)]
struct Request {
    /// From 1.
    round: usize,
    what: String,
    path: String,
    /// Payload bytes of the answer.
    bytes: u64,
}

impl Asked {
    fn rounds(&self) -> usize {
        self.0.iter().map(|request| request.round).max().unwrap_or(0)
    }

    /// The round that read the newest manifest; 0 if none did.
    fn manifest_round(&self) -> usize {
        let manifests = self.0.iter().filter(|request| {
            request.what.starts_with("get") && request.path.contains("/manifest/")
        });
        manifests.map(|request| request.round).max().unwrap_or(0)
    }

    fn report(&self, store: &str, query: &str, options: &Options, report: &mut Report) {
        if options.requests {
            for Request { round, what, path, bytes } in &self.0 {
                say(&format!("    {round}: {what} {path}, {bytes} bytes"));
            }
        }
        let bytes: u64 = self.0.iter().map(|request| request.bytes).sum();
        report.add(store, &format!("{query}: requests"), self.0.len() as f64, "");
        report.add(store, &format!("{query}: rounds"), self.rounds() as f64, "");
        report.add(store, &format!("{query}: bytes"), bytes as f64, "B");
    }
}

/// A store behind a slow line on which requests are noted.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    objects: Arc<dyn ObjectStore>,
    notes: Arc<Notes>,
}

#[derive(Debug, Default)]
struct Notes {
    /// Milliseconds that a request waits; 0: nothing is measured.
    delay: AtomicU64,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    requests: Vec<Request>,
    /// The latest round of which a request was answered.
    answered: usize,
}

impl Notes {
    fn start(&self, delay: Duration) {
        *self.taken.lock() = Taken::default();
        self.delay.store(delay.as_millis() as u64, Ordering::Relaxed);
    }

    fn stop(&self) -> Asked {
        self.delay.store(0, Ordering::Relaxed);
        Asked(std::mem::take(&mut *self.taken.lock()).requests)
    }

    /// Lets a request wait, and notes it if it is about an index: what the engine asks about its
    /// catalog meanwhile is no part of a query. Returns its number.
    async fn send(&self, what: &str, path: &str) -> Option<usize> {
        let number = path.starts_with("index/").then(|| {
            let mut taken = self.taken.lock();
            let round = taken.answered + 1;
            let (what, path) = (what.to_owned(), path.to_owned());
            taken.requests.push(Request { round, what, path, bytes: 0 });
            taken.requests.len() - 1
        });
        let delay = self.delay.load(Ordering::Relaxed);
        if delay > 0 {
            tokio::time::sleep(Duration::from_millis(delay)).await;
        }
        number
    }

    fn answer(&self, number: Option<usize>, bytes: u64) {
        let mut taken = self.taken.lock();
        // A request that began before the measurement is none of it.
        let noted = number.and_then(|number| taken.requests.get_mut(number));
        let round = noted.map(|request| {
            request.bytes = bytes;
            request.round
        });
        taken.answered = taken.answered.max(round.unwrap_or(0));
    }
}

impl Line {
    pub(crate) fn new(objects: Arc<dyn ObjectStore>) -> Self {
        Self { objects, notes: Arc::default() }
    }

    /// From now on every request takes so much longer, and is noted from the first again.
    pub(crate) fn delay(&self, delay: Duration) {
        self.notes.start(delay);
    }

    fn listed(
        &self,
        what: &'static str,
        prefix: Option<&Path>,
        list: impl FnOnce(&dyn ObjectStore) -> BoxStream<'static, object_store::Result<ObjectMeta>>
        + Send
        + 'static,
    ) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        let (line, prefix) = (self.clone(), prefix.map(ToString::to_string).unwrap_or_default());
        let listing = async move {
            let number = line.notes.send(what, &prefix).await;
            let objects: Vec<_> = list(&line.objects).collect().await;
            line.notes.answer(number, 0);
            futures_util::stream::iter(objects)
        };
        listing.flatten_stream().boxed()
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} behind a slow line", self.objects)
    }
}

#[async_trait::async_trait]
impl ObjectStore for Line {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> object_store::Result<PutResult> {
        let number = self.notes.send("put", location.as_ref()).await;
        let result = self.objects.put_opts(location, payload, options).await;
        self.notes.answer(number, 0);
        result
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        let number = self.notes.send("upload", location.as_ref()).await;
        let result = self.objects.put_multipart_opts(location, options).await;
        self.notes.answer(number, 0);
        result
    }

    async fn get_opts(
        &self,
        location: &Path,
        options: GetOptions,
    ) -> object_store::Result<GetResult> {
        let range = options.range.as_ref().map(ToString::to_string).unwrap_or_default();
        let number = self.notes.send(&format!("get {range}"), location.as_ref()).await;
        let result = self.objects.get_opts(location, options).await;
        let bytes = result.as_ref().map_or(0, |got| got.range.end - got.range.start);
        self.notes.answer(number, bytes);
        result
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        self.objects.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        let own = prefix.cloned();
        self.listed("list", prefix, move |objects| objects.list(own.as_ref()))
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        let (own, offset) = (prefix.cloned(), offset.clone());
        self.listed("list", prefix, move |objects| objects.list_with_offset(own.as_ref(), &offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        let path = prefix.map(ToString::to_string).unwrap_or_default();
        let number = self.notes.send("list", &path).await;
        let result = self.objects.list_with_delimiter(prefix).await;
        self.notes.answer(number, 0);
        result
    }

    async fn copy_opts(
        &self,
        from: &Path,
        to: &Path,
        options: CopyOptions,
    ) -> object_store::Result<()> {
        let number = self.notes.send("copy", from.as_ref()).await;
        let result = self.objects.copy_opts(from, to, options).await;
        self.notes.answer(number, 0);
        result
    }
}
