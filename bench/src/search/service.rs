//! What is asked of the service is the same in process and over HTTP: records in, keys out.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::meter::{self, Run};
use super::set::{Batch, NamedFilter, Records};
use super::{Churn, Engine, Put, Set, TARGETS, target};
use crate::Outcome;

/// A way to the service.
pub(super) trait Door: Sync {
    /// A query as this way takes it, ready to be sent over and over.
    type Query: Sync;
    /// What one caller uses.
    type Line: Send;

    /// The process that does the work.
    fn pid(&self) -> u32;
    /// CPU seconds of it so far.
    fn cpu(&self) -> f64;
    /// Seconds from its start until it took calls.
    fn opened(&self) -> f64;
    fn create(&self, dimension: usize) -> Outcome;
    fn line(&self) -> Outcome<Self::Line>;
    fn prepare(&self, ask: &Ask<'_>) -> Self::Query;
    fn ask(&self, line: &mut Self::Line, query: &Self::Query) -> Outcome<Vec<u64>>;
    fn put(&self, line: &mut Self::Line, batch: Batch) -> Outcome;
    fn delete(&self, line: &mut Self::Line, keys: &[usize]) -> Outcome;
    fn background(&self) -> Outcome<Background>;
    /// Bytes of codes and vectors that a query goes over, if this way tells.
    fn bytes(&self, _query: &Self::Query) -> Outcome<Option<f64>> {
        Ok(None)
    }
    /// Bytes of its folder.
    fn disk(&self) -> u64;
}

/// A query.
pub(super) struct Ask<'a> {
    pub(super) vector: &'a [f32],
    pub(super) target: Option<f32>,
    pub(super) filter: Option<&'a NamedFilter>,
}

/// How far the work behind puts is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Background {
    /// Of records not in a segment yet.
    pub(super) memtable_bytes: f64,
    pub(super) segments: f64,
    pub(super) flushes: f64,
    pub(super) merges: f64,
}

/// With nothing flushed or merged for so long, nothing more will be: longer than what an index is looked at for
/// to be at rest.
const AT_REST: Duration = Duration::from_secs(15);
/// Queries that are asked what they read.
const EXPLAINED: usize = 100;
/// Keys of a delete.
const DELETES: usize = 500;

pub(super) struct Service<D> {
    set: Set,
    door: D,
}

impl<D: Door> Service<D> {
    pub(super) fn new(set: Set, door: D) -> Self {
        Self { set, door }
    }

    fn queries(&self, run: &Run) -> Outcome<Vec<D::Query>> {
        let filter = match &run.filter {
            Some(name) => Some(self.set.filter(name)?),
            None => None,
        };
        let target = target(&run.setting)?;
        let queries = self.set.array(&run.queries)?;
        let prepare = |vector| self.door.prepare(&Ask { vector, target, filter });
        Ok(queries.rows().map(prepare).collect())
    }

    /// Of some queries, the mean.
    fn bytes(&self, queries: &[D::Query]) -> Outcome<Option<f64>> {
        let some = &queries[..queries.len().min(EXPLAINED)];
        let bytes = some.iter().map(|query| self.door.bytes(query));
        let told: Option<f64> = bytes.collect::<Outcome<Vec<_>>>()?.into_iter().sum();
        Ok(told.map(|sum| sum / some.len() as f64))
    }

    fn cost(&self, start: Instant, cpu: f64) -> Value {
        json!({
            "cpu": self.door.cpu() - cpu,
            "wall": start.elapsed().as_secs_f64(),
            "disk": self.door.disk(),
            "notes": self.notes(),
        })
    }

    fn notes(&self) -> Value {
        let Background { memtable_bytes, segments, flushes, merges } =
            self.door.background().unwrap_or_default();
        json!({
            "memtable_bytes": memtable_bytes,
            "segments": segments,
            "flushes": flushes,
            "merges": merges,
        })
    }
}

fn put_all<D: Door>(door: &D, records: &Records, acknowledged: &AtomicUsize) -> Outcome {
    let mut line = door.line()?;
    for batch in records.batches() {
        let end = batch.keys.end;
        door.put(&mut line, batch)?;
        acknowledged.store(end, Ordering::Release);
    }
    Ok(())
}

impl<D: Door> Engine for Service<D> {
    fn hello(&mut self) -> Outcome<Value> {
        Ok(json!({
            "version": env!("CARGO_PKG_VERSION"),
            // Two groups: how exact the default is says nothing about where to end the others.
            "settings": [&TARGETS[..1], &TARGETS[1..]],
            "can": ["filter", "put", "delete", "churn", "open", "settle"],
            "pid": self.door.pid(),
        }))
    }

    fn build(&mut self, rows: usize) -> Outcome<Value> {
        self.door.create(self.set.dimension)?;
        self.put(&Put { from: 0, to: rows, vectors: "base".into(), offset: 0 })
    }

    fn settle(&mut self, seconds: f64) -> Outcome<Value> {
        let (start, cpu) = (Instant::now(), self.door.cpu());
        let (mut last, mut since) = (self.door.background()?, start);
        while start.elapsed().as_secs_f64() < seconds {
            let now = self.door.background()?;
            if now != last {
                (last, since) = (now, Instant::now());
            }
            if now.memtable_bytes == 0.0 && since.elapsed() > AT_REST {
                break;
            }
            thread::sleep(Duration::from_millis(100));
        }
        Ok(self.cost(start, cpu))
    }

    fn open(&mut self) -> Outcome<Value> {
        let queries = self.set.array("query")?;
        let mut line = self.door.line()?;
        let query = self.door.prepare(&Ask { vector: queries.row(0), target: None, filter: None });
        let asked = Instant::now();
        self.door.ask(&mut line, &query)?;
        Ok(json!({"open": self.door.opened(), "first": asked.elapsed().as_secs_f64()}))
    }

    fn run(&mut self, run: &Run) -> Outcome<Value> {
        let queries = self.queries(run)?;
        let mut line = self.door.line()?;
        meter::warm(queries.len(), |place| self.door.ask(&mut line, &queries[place]))?;
        let cpu = self.door.cpu();
        let others = 1..run.connections.unwrap_or(1);
        let measured = thread::scope(|scope| {
            let measure = |first: usize, mut line| {
                let ask = |place: usize| {
                    self.door.ask(&mut line, &queries[(first * 61 + place) % queries.len()])
                };
                meter::measure(run, queries.len(), ask)
            };
            let threads: Vec<_> = others
                .map(|number| {
                    let line = self.door.line()?;
                    Ok(scope.spawn(move || measure(number, line)))
                })
                .collect::<Outcome<_>>()?;
            let mut measured = measure(0, line)?;
            for thread in threads {
                measured.add(thread.join().map_err(|_| "a connection panicked")??);
            }
            Outcome::Ok(measured)
        })?;
        let mut answer = measured.answer(self.door.cpu() - cpu);
        if let Some(bytes) = self.bytes(&queries)? {
            answer["bytes"] = bytes.into();
        }
        Ok(answer)
    }

    fn put(&mut self, put: &Put) -> Outcome<Value> {
        let records = self.set.records(put)?;
        let (start, cpu) = (Instant::now(), self.door.cpu());
        put_all(&self.door, &records, &AtomicUsize::new(0))?;
        Ok(self.cost(start, cpu))
    }

    fn delete(&mut self, keys: Vec<usize>) -> Outcome<Value> {
        let (start, cpu) = (Instant::now(), self.door.cpu());
        let mut line = self.door.line()?;
        keys.chunks(DELETES).try_for_each(|keys| self.door.delete(&mut line, keys))?;
        Ok(self.cost(start, cpu))
    }

    fn churn(&mut self, churn: &Churn) -> Outcome<Value> {
        let records = self.set.records(&churn.put)?;
        let queries = self.set.array(&churn.queries)?;
        let prepare = |vector| self.door.prepare(&Ask { vector, target: None, filter: None });
        let queries: Vec<D::Query> = queries.rows().map(prepare).collect();
        let acknowledged = AtomicUsize::new(churn.put.from);
        let (start, cpu) = (Instant::now(), self.door.cpu());
        let samples = thread::scope(|scope| {
            let writer = scope.spawn(|| put_all(&self.door, &records, &acknowledged));
            let samples =
                sample(&self.door, churn, &queries, &acknowledged, || writer.is_finished());
            writer.join().map_err(|_| "the writer panicked")??;
            samples
        })?;
        let mut answer = self.cost(start, cpu);
        answer["samples"] = samples.into();
        Ok(answer)
    }
}

/// Some queries every so often, each with what had been acknowledged before and after it.
fn sample<D: Door>(
    door: &D,
    churn: &Churn,
    queries: &[D::Query],
    acknowledged: &AtomicUsize,
    is_finished: impl Fn() -> bool,
) -> Outcome<Vec<Value>> {
    let (mut line, start, mut samples) = (door.line()?, Instant::now(), Vec::new());
    let mut next = 0;
    loop {
        let was_finished = is_finished();
        for _ in 0..churn.at_a_time {
            let (at, before) =
                (start.elapsed().as_secs_f64(), acknowledged.load(Ordering::Acquire));
            let ids = door.ask(&mut line, &queries[next % queries.len()])?;
            let after = acknowledged.load(Ordering::Acquire);
            let took = start.elapsed().as_secs_f64() - at;
            samples.push(json!({
                "at": at, "query": next % queries.len(), "ids": ids,
                "before": before, "after": after, "seconds": took,
            }));
            next += 1;
        }
        if was_finished {
            return Ok(samples);
        }
        let pause = churn.every - start.elapsed().as_secs_f64() % churn.every;
        thread::sleep(Duration::from_secs_f64(pause));
    }
}
