//! Build, test and benchmark commands: `cargo xtask <command>`.
//!
//! Nothing here ships. Each command is a list of child processes run from the workspace root;
//! the first one that fails ends the command with its status.

mod bench;
mod demo;
mod process;
mod soak;
mod test;
mod tidy;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Build, test and benchmark vectorbucket")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run every test: format, tidy, clippy, docs, Rust tests, simulation, official SDKs.
    Test(test::Options),
    /// Check room arrows, the dependency allow-list and the habits of the repository.
    Tidy,
    /// Measure speed and write target/bench/*.json (see docs/benchmarks.md).
    Bench(bench::Options),
    /// Long runs: overwrites, idle indexes, latency, reliability, simulation (see docs/testing.md).
    Soak(soak::Options),
    /// Import 340,479 word vectors over HTTP and answer "nearest words to ..." queries.
    Demo(demo::Options),
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Test(options) => test::run(&options),
        Command::Tidy => tidy::run(),
        Command::Bench(options) => bench::run(&options),
        Command::Soak(options) => soak::run(&options),
        Command::Demo(options) => demo::run(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            process::say(&format!("xtask: {error}"));
            ExitCode::FAILURE
        }
    }
}
