//! `cargo xtask bench`: builds the benchmark in release and runs it.

use clap::Args;

use crate::process::{self, Outcome};

/// Arguments handed to the benchmark program.
#[derive(Args)]
pub(crate) struct Options {
    /// `ingest`, `query`, `store`, or nothing for the first two; flags after `--`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// # Errors
/// When building or a measurement fails.
pub(crate) fn run(options: &Options) -> Outcome {
    // That one has no server.
    if options.arguments.iter().all(|argument| argument != "store") {
        process::run(process::command(
            "cargo",
            &["build", "--release", "--package", "vb-server", "--locked"],
        ))?;
    }
    let mut bench =
        process::command("cargo", &["run", "--release", "--package", "vb-bench", "--locked", "--"]);
    bench.args(&options.arguments);
    process::run(bench)
}
