//! `cargo xtask bench`: builds the benchmark in release and runs it.

use std::path::PathBuf;

use clap::Args;

use crate::process::{self, Outcome};

/// Arguments handed to the benchmark program.
#[derive(Args)]
pub(crate) struct Options {
    /// `ingest`, `query`, `store`, `search` (side by side with other engines; --help for what can be
    /// chosen), or nothing for the first two; flags after `--`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// # Errors
/// When building or a measurement fails.
pub(crate) fn run(options: &Options) -> Outcome {
    if let Some(("search", rest)) =
        options.arguments.split_first().map(|(a, rest)| (a.as_str(), rest))
    {
        return search(rest);
    }
    // Those have no server.
    if !options.arguments.iter().any(|argument| ["store", "cold"].contains(&argument.as_str())) {
        build("vb-server")?;
    }
    let mut bench =
        process::command("cargo", &["run", "--release", "--package", "vb-bench", "--locked", "--"]);
    bench.args(&options.arguments);
    process::run(bench)
}

/// The program that drives this project's engine and others lies beside the others' adapters, in Python.
fn search(arguments: &[String]) -> Outcome {
    build("vb-server")?;
    build("vb-bench")?;
    let mut run = process::command("python3", &["-u", "bench/search/run.py", "--binaries"]);
    run.arg(target().join("release")).args(arguments);
    process::run(run)
}

fn build(package: &str) -> Outcome {
    process::run(process::command(
        "cargo",
        &["build", "--release", "--package", package, "--locked"],
    ))
}

/// Where cargo puts what it builds.
pub(crate) fn target() -> PathBuf {
    let named = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    process::root().join(named.unwrap_or_else(|| "target".into()))
}
