//! What `bench/search/run.py` measures of this project: one engine per process, told what to do line by line.
//!
//! ```text
//! standard input    one request per line, JSON ([`Request`])
//! standard output   one answer per line, JSON; {"error": "..."} if it could not be done
//! ```
//!
//! The adapters of the other engines (`bench/search/peers`) speak the same, so that all are measured by one program
//! that counts recall from the ids alone. Here are three: the vector index without a service around it, the engine's
//! public calls in process, and a server over HTTP with signatures.

pub(crate) mod cold;
mod core;
mod engine;
mod http;
mod meter;
mod service;
mod set;

use std::io::BufRead;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::Outcome;
use crate::report::say;
use meter::Run;
use set::Set;

/// Which engine over which prepared set.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    #[arg(long)]
    engine: Which,
    /// A folder that `bench/search/run.py` prepared.
    #[arg(long)]
    set: PathBuf,
    /// Where the engine keeps its files.
    #[arg(long)]
    folder: PathBuf,
    /// Seconds after which a memtable is flushed, if not as by default.
    #[arg(long)]
    flush_age: Option<u64>,
    /// Bytes of memory, as `memory_limit` of the server takes it, if not as by default.
    #[arg(long)]
    memory_limit: Option<String>,
}

#[derive(ValueEnum, Clone, Copy, Debug)]
enum Which {
    Core,
    Engine,
    Http,
}

/// One line of standard input.
#[derive(Deserialize, Debug)]
#[serde(tag = "do", rename_all = "snake_case")]
enum Request {
    /// What can be asked of this engine.
    Hello,
    /// Puts the first rows of the set, in batches as clients send them.
    Build { rows: usize },
    /// Waits until the engine has nothing to do in the background, at most so long.
    Settle { seconds: f64 },
    /// Opens what an earlier process built, and answers one query.
    Open,
    /// Queries, as many as fit into the time, each at least once if `all`.
    Run(Run),
    /// Puts records.
    Put(Put),
    /// Deletes keys.
    Delete { from: usize, to: usize, step: usize },
    /// Puts at full rate while some queries are answered every so often.
    Churn(Churn),
}

/// Keys `from..to`; key `k` gets row `(k + offset) % rows` of an array of the set.
#[derive(Deserialize, Clone, Debug)]
struct Put {
    from: usize,
    to: usize,
    vectors: String,
    offset: usize,
}

#[derive(Deserialize, Clone, Debug)]
struct Churn {
    #[serde(flatten)]
    put: Put,
    /// The array whose rows are asked for.
    queries: String,
    /// How many of them at a time.
    at_a_time: usize,
    /// Seconds between.
    every: f64,
}

/// How many nearest are asked for.
const K: usize = 10;
/// Records of a put: the most the wire allows, as clients are told to send.
const BATCH: usize = 500;

/// One of the engines here.
trait Engine {
    fn hello(&mut self) -> Outcome<Value>;
    fn build(&mut self, rows: usize) -> Outcome<Value>;
    fn settle(&mut self, seconds: f64) -> Outcome<Value>;
    fn open(&mut self) -> Outcome<Value>;
    fn run(&mut self, run: &Run) -> Outcome<Value>;
    fn put(&mut self, put: &Put) -> Outcome<Value>;
    fn delete(&mut self, keys: Vec<usize>) -> Outcome<Value>;
    fn churn(&mut self, churn: &Churn) -> Outcome<Value>;
}

/// Answers requests until standard input ends.
///
/// # Errors
/// When the engine or the set cannot be opened; later failures are answers.
pub(crate) fn serve(server: &std::path::Path, options: &Options) -> Outcome {
    let set = Set::open(&options.set)?;
    let mut engine: Box<dyn Engine> = match options.engine {
        Which::Core => Box::new(core::Core::new(set)),
        Which::Engine => Box::new(service::Service::new(set, engine::InProcess::start(options)?)),
        Which::Http => Box::new(service::Service::new(set, http::Http::start(server, options)?)),
    };
    for line in std::io::stdin().lock().lines() {
        let line = line.map_err(|error| error.to_string())?;
        let answer = answer(engine.as_mut(), &line).unwrap_or_else(|error| json!({"error": error}));
        say(&answer.to_string());
    }
    Ok(())
}

fn answer(engine: &mut dyn Engine, line: &str) -> Outcome<Value> {
    match serde_json::from_str(line).map_err(|error| error.to_string())? {
        Request::Hello => engine.hello(),
        Request::Build { rows } => engine.build(rows),
        Request::Settle { seconds } => engine.settle(seconds),
        Request::Open => engine.open(),
        Request::Run(run) => engine.run(&run),
        Request::Put(put) => engine.put(&put),
        Request::Delete { from, to, step } => {
            engine.delete((from..to).step_by(step.max(1)).collect())
        }
        Request::Churn(churn) => engine.churn(&churn),
    }
}

/// The targets that curves go through, and the default, which is not told to the engine.
const TARGETS: [&str; 10] =
    ["default", "0.8", "0.9", "0.93", "0.95", "0.97", "0.98", "0.99", "0.995", "0.999"];

/// A recall to aim at; `None`: as the engine does by itself.
fn target(setting: &str) -> Outcome<Option<f32>> {
    match setting {
        "default" => Ok(None),
        number => number.parse().map(Some).map_err(|_| format!("{setting:?} is no recall")),
    }
}
