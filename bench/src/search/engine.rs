//! The engine's public calls, in this process, over a local folder that is synced, with a server's settings.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::runtime::Runtime;
use vb_commit::{LocalOptions, Store};
use vb_engine::{
    BucketId, BucketSettings, IndexHandle, IndexSettings, Precision, PutBatch, Query, VectorColumn,
};
use vb_search::{Filter, Metric, Schema, VectorField};

use super::service::{Ask, Background, Door};
use super::set::{Batch, attributes};
use super::{K, Options};
use crate::{Outcome, server};

pub(super) struct InProcess {
    runtime: Runtime,
    engine: vb_engine::Engine,
    index: OnceLock<IndexHandle>,
    folder: PathBuf,
    opened: f64,
}

pub(super) const INDEX: &[u8] = b"index";
/// How long a writer waits that is told to.
const BUSY_WAIT: Duration = Duration::from_millis(20);

impl InProcess {
    /// Opens the engine over the folder, and its index if there is one.
    ///
    /// # Errors
    /// When the folder cannot be used.
    pub(super) fn start(options: &Options) -> Outcome<Self> {
        let start = Instant::now();
        let runtime = Runtime::new().map_err(|error| error.to_string())?;
        let store = Store::local(&options.folder, LocalOptions::default());
        let store = store.map_err(|error| error.to_string())?;
        let settings = settings(options)?;
        let engine = runtime.block_on(vb_engine::Engine::open(store, settings));
        let engine = engine.map_err(|error| error.to_string())?;
        let index = OnceLock::new();
        if let Ok(found) = runtime.block_on(engine.resolve(&bucket(), INDEX)) {
            index.get_or_init(|| found);
        }
        let opened = start.elapsed().as_secs_f64();
        Ok(Self { runtime, engine, index, folder: options.folder.clone(), opened })
    }

    fn index(&self) -> Outcome<&IndexHandle> {
        self.index.get().ok_or_else(|| "there is no index".into())
    }
}

impl Drop for InProcess {
    fn drop(&mut self) {
        self.runtime.block_on(self.engine.shutdown());
    }
}

/// What the server makes of its defaults on this machine.
fn settings(options: &Options) -> Outcome<vb_engine::Options> {
    let memory = match &options.memory_limit {
        Some(text) => bytes_of(text)?,
        None => machine_memory() / 4,
    };
    let defaults = vb_engine::Options::default();
    Ok(vb_engine::Options {
        memory_limit: memory,
        memtable_bytes_max: (memory / 16).clamp(16 << 20, 64 << 20),
        flush_age: options.flush_age.map_or(defaults.flush_age, Duration::from_secs),
        ..defaults
    })
}

fn bytes_of(text: &str) -> Outcome<usize> {
    let (number, unit) =
        text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let shift = match unit {
        "" => 0,
        "MiB" => 20,
        "GiB" => 30,
        _ => return Err(format!("{text:?} is no size")),
    };
    number.parse::<usize>().map(|number| number << shift).map_err(|error| error.to_string())
}

fn machine_memory() -> usize {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<usize>().ok());
    kib.unwrap_or(4 << 20) * 1024
}

pub(super) fn bucket() -> BucketId {
    BucketId::new("000000000000", "bench")
}

pub(super) fn put_batch(batch: Batch) -> PutBatch {
    let text = |key: usize| key.to_string().into_bytes().into_boxed_slice();
    let json = |metadata| serde_json::to_vec(metadata).map(Bytes::from).ok();
    PutBatch {
        keys: batch.keys.map(text).collect(),
        vectors: vec![VectorColumn { values: batch.values, present: None }],
        attributes: batch.metadata.iter().map(attributes).collect(),
        metadata: batch.metadata.iter().map(json).collect(),
    }
}

/// A failure, for a person.
pub(super) fn told<T>(result: Result<T, vb_engine::Error>) -> Outcome<T> {
    result.map_err(|error| error.to_string())
}

impl Door for InProcess {
    type Query = Query;
    type Line = ();

    fn pid(&self) -> u32 {
        std::process::id()
    }

    fn cpu(&self) -> f64 {
        server::cpu_seconds_of(std::process::id())
    }

    fn opened(&self) -> f64 {
        self.opened
    }

    fn create(&self, dimension: usize) -> Outcome {
        let dimension = u32::try_from(dimension).map_err(|error| error.to_string())?;
        let field = VectorField { name: "v".into(), dimension, metric: Metric::Cosine };
        let schema = Schema { vector_fields: vec![field], non_filterable: Vec::new() };
        let settings = IndexSettings { schema, wire: Bytes::from_static(b"{}") };
        let index = self.runtime.block_on(async {
            told(self.engine.create_bucket(&bucket(), BucketSettings::default()).await)?;
            told(self.engine.create_index(&bucket(), INDEX, settings).await)?;
            told(self.engine.resolve(&bucket(), INDEX).await)
        })?;
        self.index.set(index).map_err(|_| "there is an index already".to_owned())
    }

    fn line(&self) -> Outcome<()> {
        Ok(())
    }

    fn prepare(&self, ask: &Ask<'_>) -> Query {
        Query {
            field: 0,
            vector: ask.vector.to_vec(),
            top_k: K,
            filter: ask.filter.map_or(Filter::All, |filter| filter.typed()),
            with_metadata: false,
            precision: ask.target.map_or(Precision::Usual, Precision::Recall),
        }
    }

    fn ask(&self, (): &mut (), query: &Query) -> Outcome<Vec<u64>> {
        let hits = told(self.runtime.block_on(self.index()?.query(query.clone())))?;
        hits.iter().map(|hit| number(&hit.key)).collect()
    }

    fn put(&self, (): &mut (), batch: Batch) -> Outcome {
        let batch = put_batch(batch);
        loop {
            match self.runtime.block_on(self.index()?.put(batch.clone())) {
                // As clients do.
                Err(vb_engine::Error::Busy) => std::thread::sleep(BUSY_WAIT),
                done => return told(done),
            }
        }
    }

    fn delete(&self, (): &mut (), keys: &[usize]) -> Outcome {
        let keys = keys.iter().map(|key| key.to_string().into_bytes().into_boxed_slice());
        told(self.runtime.block_on(self.index()?.delete(keys.collect())))
    }

    fn background(&self) -> Outcome<Background> {
        let stats = self.engine.stats();
        Ok(Background {
            memtable_bytes: stats.memtable_bytes as f64,
            segments: stats.segments as f64,
            flushes: stats.flushes as f64,
            merges: stats.merges as f64,
        })
    }

    fn bytes(&self, query: &Query) -> Outcome<Option<f64>> {
        let answer = told(self.runtime.block_on(self.index()?.search(query.clone())))?;
        Ok(Some(answer.explain.bytes as f64))
    }

    fn disk(&self) -> u64 {
        bytes_in(&self.folder)
    }
}

fn number(key: &[u8]) -> Outcome<u64> {
    let number = std::str::from_utf8(key).ok().and_then(|text| text.parse().ok());
    number.ok_or_else(|| format!("{key:?} is none of the keys"))
}

/// Bytes of all files under a folder; one that goes meanwhile counts nothing.
pub(super) fn bytes_in(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let bytes = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => bytes_in(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    };
    entries.flatten().map(bytes).sum()
}
