//! Sustained random overwrites and deletes under a memory limit: how fast, how much memory, how many
//! segments, and how many bytes are left in the store a minute later.
//!
//! Every writer has keys of its own, so it knows what must be there in the end; a sample is read back.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::bodies::Random;
use crate::client::{self, Client};
use crate::report::Report;
use crate::server::Server;
use crate::{Arguments, Outcome};

const DIMENSION: usize = 384;
/// Vectors of a request.
const BATCH: usize = 500;
/// Keys deleted after every batch.
const DELETES: usize = 25;
const WRITERS: usize = 4;
/// Different vectors that are sent; a record's vector tells which put it comes from.
const TEMPLATES: usize = 2000;
/// How long after the last write the store may take to come to rest.
const REST: Duration = Duration::from_secs(60);
const INDEX: &str = "overwrite";

/// What is put, and how the server is limited.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Options {
    /// Records to put.
    #[arg(long, default_value_t = 1_000_000)]
    puts: usize,
    /// Keys that they are put to.
    #[arg(long, default_value_t = 100_000)]
    keys: usize,
    /// The server's `--memory-limit`.
    #[arg(long, default_value = "512MiB")]
    memory_limit: String,
}

/// What is sampled while the server works.
#[derive(Default)]
struct Peaks {
    segments: f64,
    memory: f64,
    store: u64,
}

/// Runs the workload and adds its figures to the report.
///
/// # Errors
/// When the server fails a request for good, or what is read back is not what was put.
pub(crate) fn measure(arguments: &Arguments, options: &Options, report: &mut Report) -> Outcome {
    let group = "overwrite 384d";
    let folder = tempfile::tempdir_in(&arguments.work).map_err(|e| e.to_string())?;
    let store = folder.path().join("store");
    let settings = [("VECTORBUCKET_MEMORY_LIMIT", options.memory_limit.as_str())];
    let server = arguments.start_server_with(&store, &settings)?;
    client::create_index(server.address, "bench", INDEX, DIMENSION, "euclidean")?;
    let templates = templates();

    let ended = AtomicBool::new(false);
    let (peaks, written) = thread::scope(|scope| {
        let sampler = scope.spawn(|| sample(&server, &store, &ended));
        let written = write_all(&server, options, &templates);
        ended.store(true, Ordering::Relaxed);
        (sampler.join().expect("sampling does not panic"), written)
    });
    let written = written?;
    written.report(report, group);
    report.add(group, "segments under load, most", peaks.segments, "");
    report.add(group, "bytes in the store under load, most", peaks.store as f64 / 1e6, "MB");
    rest(&server, &store, &written, report, group)?;
    check(&server, &written)?;
    report.add(group, "memory of the server, most (sampled)", peaks.memory / 1e6, "MB");
    report.add(group, "memory of the server, most (VmHWM)", server.memory("VmHWM") / 1e6, "MB");
    report.add(group, "server CPU", server.cpu_seconds(), "s");
    Ok(())
}

/// The text of each vector, with its number as the first value.
fn templates() -> Vec<String> {
    let mut random = Random(384);
    let text = |number: usize| {
        let mut text = format!("{number}.0");
        for _ in 1..DIMENSION {
            let _ = write!(text, ", {:?}", random.symmetric());
        }
        text
    };
    (0..TEMPLATES).map(text).collect()
}

/// What the writers did.
struct Written {
    /// By key: the template of its last put; `None` if it was deleted since, or never put.
    last: Vec<Option<usize>>,
    /// Seconds at which each tenth of the puts was acknowledged.
    tenths: Vec<f64>,
    puts: usize,
    deletes: u64,
    refused: u64,
}

impl Written {
    fn rate(&self, tenth: usize) -> f64 {
        let start = if tenth == 0 { 0.0 } else { self.tenths[tenth - 1] };
        self.puts as f64 / 10.0 / (self.tenths[tenth] - start)
    }

    fn live(&self) -> usize {
        self.last.iter().flatten().count()
    }

    /// Bytes of the live records as they were put: keys, float32 values, metadata.
    fn live_bytes(&self) -> f64 {
        let live = self.last.iter().enumerate().filter(|(_, template)| template.is_some());
        let bytes = |key: usize| key_text(key).len() + DIMENSION * 4 + metadata(key).len();
        live.map(|(key, _)| bytes(key) as f64).sum()
    }

    fn report(&self, report: &mut Report, group: &str) {
        report.add(group, "records put", self.puts as f64, "");
        report.add(group, "keys deleted", self.deletes as f64, "");
        report.add(group, "keys live in the end", self.live() as f64, "");
        report.add(group, "puts per second", self.puts as f64 / self.tenths[9], "vectors/s");
        for tenth in 0..10 {
            let name = format!("puts per second, tenth {}", tenth + 1);
            report.add(group, &name, self.rate(tenth), "vectors/s");
        }
        report.add(group, "last tenth of first tenth", 100.0 * self.rate(9) / self.rate(0), "%");
        report.add(group, "requests told to slow down", self.refused as f64, "");
    }
}

/// Counts what all writers had acknowledged.
struct Progress {
    start: Instant,
    puts: AtomicU64,
    refused: AtomicU64,
    deletes: AtomicU64,
    tenths: Mutex<Vec<f64>>,
    tenth: u64,
}

impl Progress {
    fn add(&self, puts: usize) {
        let puts = puts as u64;
        let before = self.puts.fetch_add(puts, Ordering::Relaxed);
        let crossed = before / self.tenth < (before + puts) / self.tenth;
        if crossed {
            self.tenths.lock().expect("no writer panics").push(self.start.elapsed().as_secs_f64());
        }
    }
}

fn write_all(server: &Server, options: &Options, templates: &[String]) -> Outcome<Written> {
    let puts = options.puts / (10 * WRITERS * BATCH) * (10 * WRITERS * BATCH);
    if puts == 0 || options.keys < WRITERS * BATCH {
        return Err(format!("at least {} puts and {} keys", 10 * WRITERS * BATCH, WRITERS * BATCH));
    }
    let progress = Progress {
        start: Instant::now(),
        puts: AtomicU64::new(0),
        refused: AtomicU64::new(0),
        deletes: AtomicU64::new(0),
        tenths: Mutex::default(),
        tenth: (puts / 10) as u64,
    };
    let lasts = thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let progress = &progress;
                scope.spawn(move || {
                    write(server, writer, options.keys, puts / WRITERS, templates, progress)
                })
            })
            .collect();
        let join = |writer: thread::ScopedJoinHandle<'_, _>| writer.join().expect("no panic");
        writers.into_iter().map(join).collect::<Outcome<Vec<_>>>()
    })?;
    let mut last = vec![None; options.keys];
    for (key, template) in last.iter_mut().enumerate() {
        *template = lasts[key % WRITERS][key / WRITERS];
    }
    let tenths = progress.tenths.into_inner().expect("no writer panics");
    let (refused, deletes) = (progress.refused.into_inner(), progress.deletes.into_inner());
    Ok(Written { last, tenths, puts, deletes, refused })
}

/// Puts and deletes of one writer, to every [`WRITERS`]th key; returns the last template of each.
fn write(
    server: &Server,
    writer: usize,
    keys: usize,
    puts: usize,
    templates: &[String],
    progress: &Progress,
) -> Outcome<Vec<Option<usize>>> {
    let mut random = Random(writer as u64 + 1);
    let mut last = vec![None; (keys - writer).div_ceil(WRITERS)];
    let mut connection = Client::connect(server.address)?;
    let mut taken = vec![0usize; last.len()];
    for round in 1..=puts / BATCH {
        let mut body = format!("{{\"indexName\": \"{INDEX}\", \"vectors\": [");
        let mut rows = 0;
        while rows < BATCH {
            let own = random.below(last.len());
            // A batch names a key once.
            if std::mem::replace(&mut taken[own], round) == round {
                continue;
            }
            let (key, template) = (own * WRITERS + writer, random.below(TEMPLATES));
            let separator = if rows == 0 { "" } else { ", " };
            let _ = write!(
                body,
                "{separator}{{\"data\": {{\"float32\": [{}]}}, \"key\": \"{}\", \"metadata\": {}}}",
                templates[template],
                key_text(key),
                metadata(key),
            );
            last[own] = Some(template);
            rows += 1;
        }
        body.push_str("]}");
        send(&mut connection, "putVectors", &body, progress)?;
        progress.add(BATCH);
        let doomed: Vec<usize> = (0..DELETES).map(|_| random.below(last.len())).collect();
        let names: Vec<String> =
            doomed.iter().map(|own| format!("\"{}\"", key_text(own * WRITERS + writer))).collect();
        let body = format!("{{\"indexName\": \"{INDEX}\", \"keys\": [{}]}}", names.join(", "));
        send(&mut connection, "deleteVectors", &body, progress)?;
        progress.deletes.fetch_add(DELETES as u64, Ordering::Relaxed);
        doomed.into_iter().for_each(|own| last[own] = None);
    }
    Ok(last)
}

/// Sends until it is taken: a server that is busy says so.
fn send(connection: &mut Client, operation: &str, body: &str, progress: &Progress) -> Outcome {
    loop {
        let (status, answer) =
            connection.attempt(&client::request(operation, "bench", body.as_bytes()))?;
        match status {
            200..300 => return Ok(()),
            429 | 503 => {
                progress.refused.fetch_add(1, Ordering::Relaxed);
                thread::sleep(Duration::from_millis(100));
            }
            _ => return Err(format!("status {status}: {}", String::from_utf8_lossy(&answer))),
        }
    }
}

fn key_text(key: usize) -> String {
    format!("key-{key:07}")
}

fn metadata(key: usize) -> String {
    format!("{{\"group\": \"g{}\", \"number\": {key}}}", key % 100)
}

fn sample(server: &Server, store: &Path, ended: &AtomicBool) -> Peaks {
    let mut peaks = Peaks::default();
    while !ended.load(Ordering::Relaxed) {
        peaks.memory = peaks.memory.max(server.memory("VmRSS"));
        peaks.segments = peaks.segments.max(server.metric("engine_segments").unwrap_or(0.0));
        peaks.store = peaks.store.max(bytes_under(store));
        thread::sleep(Duration::from_millis(250));
    }
    peaks
}

/// Bytes of all files under a folder; files that go meanwhile do not count.
fn bytes_under(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let bytes = |entry: fs::DirEntry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => bytes_under(&entry.path()),
        Ok(meta) => meta.len(),
        Err(_) => 0,
    };
    entries.map(bytes).sum()
}

/// Watches the store for a minute after the last write.
fn rest(
    server: &Server,
    store: &Path,
    written: &Written,
    report: &mut Report,
    group: &str,
) -> Outcome {
    let live = written.live_bytes();
    let start = Instant::now();
    let mut rested = None;
    while start.elapsed() < REST {
        let segments = server.metric("engine_segments")?;
        let share = bytes_under(store) as f64 / live;
        if segments <= 6.0 && share <= 1.3 && rested.is_none() {
            rested = Some(start.elapsed().as_secs_f64());
        }
        thread::sleep(Duration::from_millis(500));
    }
    let bytes = bytes_under(store) as f64;
    report.add(group, "live data (keys, vectors, metadata)", live / 1e6, "MB");
    report.add(group, "bytes in the store after 60 s", bytes / 1e6, "MB");
    report.add(group, "bytes in the store of live data", bytes / live, "x");
    report.add(group, "segments after 60 s", server.metric("engine_segments")?, "");
    report.add(group, "at rest after", rested.unwrap_or(f64::INFINITY), "s");
    let merged = server.metric("engine_merge_bytes_written_total").unwrap_or(0.0);
    let flushed = server.metric("engine_segment_bytes_written_total").unwrap_or(0.0) - merged;
    report.add(group, "written by flushes", flushed / 1e6, "MB");
    report.add(group, "written by merges", merged / 1e6, "MB");
    Ok(())
}

/// Reads a sample of keys back.
fn check(server: &Server, written: &Written) -> Outcome {
    let mut connection = Client::connect(server.address)?;
    for chunk in (0..written.last.len()).step_by(97).collect::<Vec<_>>().chunks(100) {
        let names: Vec<String> =
            chunk.iter().map(|key| format!("\"{}\"", key_text(*key))).collect();
        let body = format!(
            "{{\"indexName\": \"{INDEX}\", \"keys\": [{}], \"returnData\": true}}",
            names.join(", ")
        );
        let answer =
            connection.expect_ok(&client::request("getVectors", "bench", body.as_bytes()))?;
        let answer: Value = serde_json::from_slice(&answer).map_err(|e| e.to_string())?;
        let rows = answer["vectors"].as_array().cloned().unwrap_or_default();
        for key in chunk {
            let name = key_text(*key);
            let row = rows.iter().find(|row| row["key"] == name.as_str());
            let first = row.and_then(|row| row["data"]["float32"][0].as_f64());
            if first != written.last[*key].map(|template| template as f64) {
                let expected = written.last[*key];
                return Err(format!("{name}: {first:?} is stored instead of {expected:?}"));
            }
        }
    }
    Ok(())
}
