//! Benchmarks of the running service: a release server in a process of its own, driven over loopback
//! with signed requests, so that what is measured is what a client gets.
//!
//! The figure that survives a noisy machine is work per second of the *server's* CPU time; every
//! measurement stands beside the limit of the same machine in the same run: parse and hash of the
//! same bodies for ingest, streaming reads for scans, append and fsync for durability.

mod bodies;
mod client;
mod idle;
mod ingest;
mod machine;
mod npy;
mod overwrite;
mod query;
mod report;
mod search;
mod server;
mod store;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// What a measurement ends with when it cannot go on: one line for a person.
pub(crate) type Outcome<T = ()> = Result<T, String>;

#[derive(Parser)]
#[command(name = "vb-bench", about = "Measure vectorbucket over its wire")]
struct Arguments {
    /// The server to measure.
    #[arg(long, default_value = "target/release/vectorbucket")]
    server: PathBuf,
    /// Folder with the real data sets (made by bench/data/make.py).
    #[arg(long, default_value = "bench/data/work")]
    data: PathBuf,
    /// Folder under which servers keep their data; its file system is what fsync is measured on.
    #[arg(long, default_value = "target/bench")]
    work: PathBuf,
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Subcommand, Clone)]
enum What {
    /// PutVectors at 100, 384, 768 and 1536 dimensions.
    Ingest,
    /// QueryVectors on the real sets, then a restart.
    Query,
    /// A million puts to 100,000 keys, deletes mixed in, under a memory limit.
    Overwrite(overwrite::Options),
    /// 100,000 idle indexes in 1,000 buckets: memory, start-up, first query.
    Idle(idle::Options),
    /// Requests, sequential rounds and bytes per query, cold and warm, per store; no server.
    Store(store::Options),
    /// First queries of new processes over a slow store, on a set that bench/search/run.py prepared: recall, time, waits, bytes.
    Cold(search::cold::Options),
    /// One engine for bench/search/run.py, which says on standard input what to measure.
    SearchWorker(search::Options),
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report::say(&format!("bench: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Outcome {
    let in_process =
        matches!(arguments.what, Some(What::Store(_) | What::Cold(_) | What::SearchWorker(_)));
    if !in_process && !arguments.server.is_file() {
        return Err(format!(
            "{} is not there; run it as `cargo xtask bench`",
            arguments.server.display()
        ));
    }
    std::fs::create_dir_all(&arguments.work)
        .map_err(|e| format!("{}: {e}", arguments.work.display()))?;
    if let Some(What::SearchWorker(options)) = &arguments.what {
        return search::serve(&arguments.server, options);
    }
    let mut report = report::Report::new();
    match &arguments.what {
        None => {
            ingest_all(arguments, &mut report)?;
            query_all(arguments, &mut report)?;
        }
        Some(What::Ingest) => ingest_all(arguments, &mut report)?,
        Some(What::Query) => query_all(arguments, &mut report)?,
        Some(What::Overwrite(options)) => overwrite::measure(arguments, options, &mut report)?,
        Some(What::Idle(options)) => idle::measure(arguments, options, &mut report)?,
        Some(What::Store(options)) => store::measure(options, &arguments.work, &mut report)?,
        Some(What::Cold(options)) => search::cold::measure(options, &arguments.work, &mut report)?,
        Some(What::SearchWorker(_)) => {}
    }
    report.write(&arguments.work)
}

fn ingest_all(arguments: &Arguments, report: &mut report::Report) -> Outcome {
    [100, 384, 768, 1536]
        .into_iter()
        .try_for_each(|dimension| ingest::measure(arguments, dimension, report))
}

fn query_all(arguments: &Arguments, report: &mut report::Report) -> Outcome {
    ["glove100", "minilm384"].into_iter().try_for_each(|set| query::measure(arguments, set, report))
}

impl Arguments {
    fn start_server(&self, folder: &std::path::Path) -> Outcome<server::Server> {
        server::Server::start(&self.server, folder)
    }

    fn start_server_with(
        &self,
        folder: &std::path::Path,
        settings: &[(&str, &str)],
    ) -> Outcome<server::Server> {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        server::Server::start_with(&self.server, folder, settings.iter().map(own).collect())
    }
}
