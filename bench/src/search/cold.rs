//! First queries of processes that have just started, over a store that takes its time.
//!
//! A prepared set is put in batches into a shared store on a local folder, flushed and merged. Then each query is asked of an
//! engine of its own, which has opened the index's log (it knows the manifest) and read nothing else, over a line that delays
//! every request. Keys and metadata are returned. Recall is counted against exact answers.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use clap::Args;
use object_store::local::LocalFileSystem;
use vb_commit::Store;
use vb_engine::{
    Answer, BucketSettings, Compaction, Engine, IndexHandle, IndexSettings, Precision, Query,
};
use vb_search::{Filter, Metric, Schema, VectorField};

use super::engine::{INDEX, bucket, put_batch, told};
use super::set::Set;
use super::{K, Put};
use crate::Outcome;
use crate::report::{Report, say};
use crate::store::Line;

#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// A folder that `bench/search/run.py` prepared.
    #[arg(long)]
    set: PathBuf,
    /// How many queries of each kind, each of a new process.
    #[arg(long, default_value_t = 100)]
    queries: usize,
    /// What every request takes, in milliseconds.
    #[arg(long, default_value_t = 50)]
    delay: u64,
    /// The recall that is asked for.
    #[arg(long, default_value_t = 0.95)]
    recall: f32,
    /// The filter of the filtered queries, by its name in the set.
    #[arg(long, default_value = "random 1%")]
    filter: String,
}

/// Fills a store, and measures queries without and with a filter.
pub(crate) fn measure(options: &Options, work: &std::path::Path, report: &mut Report) -> Outcome {
    let set = Set::open(&options.set)?;
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    let folder = tempfile::tempdir_in(work).map_err(|error| error.to_string())?;
    let objects = LocalFileSystem::new_with_prefix(folder.path()).map_err(|e| e.to_string())?;
    let bench = Bench { line: Line::new(Arc::new(objects)), set, options };
    runtime.block_on(bench.fill())?;
    let filter = bench.set.filter(&options.filter)?.typed();
    let filtered = options.filter.clone();
    runtime.block_on(bench.queries("unfiltered", &Filter::All, report))?;
    runtime.block_on(bench.queries(&filtered, &filter, report))
}

struct Bench<'a> {
    line: Line,
    set: Set,
    options: &'a Options,
}

impl Bench<'_> {
    /// An engine as a process that has just started has it, and its index.
    async fn start(&self) -> Outcome<(Engine, IndexHandle)> {
        let engine = self.engine().await?;
        let index = told(engine.resolve(&bucket(), INDEX).await)?;
        Ok((engine, index))
    }

    async fn engine(&self) -> Outcome<Engine> {
        let store = Store::from_object_store(Arc::new(self.line.clone()), false);
        let options = vb_engine::Options {
            memory_limit: 4 << 30,
            flush_age: Duration::from_secs(1 << 20),
            compaction: Compaction { automatic: false, ..Compaction::default() },
            ..vb_engine::Options::default()
        };
        told(Engine::open(store, options).await)
    }

    async fn fill(&self) -> Outcome {
        let engine = self.engine().await?;
        told(engine.create_bucket(&bucket(), BucketSettings::default()).await)?;
        let dimension = u32::try_from(self.set.dimension).map_err(|error| error.to_string())?;
        let field = VectorField { name: "v".into(), dimension, metric: Metric::Cosine };
        let schema = Schema { vector_fields: vec![field], non_filterable: Vec::new() };
        let settings = IndexSettings { schema, wire: Bytes::from_static(b"{}") };
        told(engine.create_index(&bucket(), INDEX, settings).await)?;
        let index = told(engine.resolve(&bucket(), INDEX).await)?;
        let rows = self.set.array("base")?.rows().len();
        let put = Put { from: 0, to: rows, vectors: "base".into(), offset: 0 };
        for batch in self.set.records(&put)?.batches() {
            let batch = put_batch(batch);
            while let Err(error) = index.put(batch.clone()).await {
                match error {
                    vb_engine::Error::Busy => told(index.flush().await)?,
                    other => return Err(other.to_string()),
                }
            }
        }
        told(index.flush().await)?;
        told(index.compact().await)?;
        say(&format!("{rows} x {dimension} put, flushed and merged"));
        engine.shutdown().await;
        Ok(())
    }

    async fn queries(&self, name: &str, filter: &Filter, report: &mut Report) -> Outcome {
        let array = self.set.array("query")?;
        let vectors: Vec<&[f32]> = array.rows().take(self.options.queries).collect();
        let exact = self.exact(&vectors, filter).await?;
        let (mut found, mut times, mut waves, mut bytes) =
            (0.0, Vec::new(), Vec::new(), Vec::new());
        for (vector, exact) in vectors.iter().zip(&exact) {
            let (engine, index) = self.start().await?;
            // Opens its log, and has nothing to flush.
            told(index.flush().await)?;
            let precision = Precision::Recall(self.options.recall);
            let query = Query { precision, with_metadata: true, ..question(vector, filter) };
            self.line.delay(Duration::from_millis(self.options.delay));
            let start = Instant::now();
            let answer = told(index.search(query).await)?;
            times.push(start.elapsed().as_secs_f64() * 1e3);
            self.line.delay(Duration::ZERO);
            found += share(&answer, exact);
            waves.push(answer.explain.waves as f64);
            bytes.push(answer.explain.bytes_read as f64);
            engine.shutdown().await;
        }
        report.add(name, "recall@10", found / vectors.len() as f64, "");
        for (what, mut values, unit) in
            [("time", times, "ms"), ("waves", waves, ""), ("bytes read", bytes, "B")]
        {
            values.sort_by(f64::total_cmp);
            report.add(name, &format!("{what}, p50"), values[values.len() / 2], unit);
            report.add(name, &format!("{what}, most"), values[values.len() - 1], unit);
        }
        Ok(())
    }

    async fn exact(&self, vectors: &[&[f32]], filter: &Filter) -> Outcome<Vec<Answer>> {
        let (engine, index) = self.start().await?;
        let mut answers = Vec::new();
        for vector in vectors {
            let query = Query { precision: Precision::Exact, ..question(vector, filter) };
            answers.push(told(index.search(query).await)?);
        }
        engine.shutdown().await;
        Ok(answers)
    }
}

fn question(vector: &[f32], filter: &Filter) -> Query {
    Query {
        field: 0,
        vector: vector.to_vec(),
        top_k: K,
        filter: filter.clone(),
        with_metadata: false,
        precision: Precision::Usual,
    }
}

fn share(answer: &Answer, exact: &Answer) -> f64 {
    let nearest: BTreeSet<&[u8]> = exact.hits.iter().map(|hit| &*hit.key).collect();
    let near = answer.hits.iter().filter(|hit| nearest.contains(&*hit.key)).count();
    near as f64 / exact.hits.len().max(1) as f64
}
