//! `cargo xtask soak`: runs that take minutes to an hour and prove what short tests cannot.

use clap::{Args, Subcommand};

use crate::process::{self, Outcome};

/// Which run, and its own flags.
#[derive(Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    what: Soak,
}

#[derive(Subcommand)]
enum Soak {
    /// Sustained random overwrites and deletes under a memory limit: space, segments, throughput.
    Overwrite(Rest),
    /// 100,000 idle indexes in 1,000 buckets: memory, start-up, first query.
    Idle(Rest),
    /// PutVectors over the real S3 server with 50 ms added to each of its answers.
    Latency(Rest),
    /// Three processes over the real S3 server behind a proxy that breaks things.
    Reliability(Rest),
    /// 10,000 logged requests with two kills: every one is in the delivered logs.
    Logging(Rest),
    /// The engine under fresh seeds of the simulation.
    Sim(Rest),
}

/// Flags handed on as they are.
#[derive(Args)]
struct Rest {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// # Errors
/// When building or the run itself fails.
pub(crate) fn run(options: &Options) -> Outcome {
    match &options.what {
        Soak::Overwrite(rest) => bench("overwrite", rest),
        Soak::Idle(rest) => bench("idle", rest),
        Soak::Latency(rest) => python("tests/reliability/latency.py", rest),
        Soak::Reliability(rest) => python("tests/reliability/run.py", rest),
        Soak::Logging(rest) => {
            // Given again, a flag counts as it was given last.
            let many = ["--requests", "10000"].map(str::to_owned).into_iter();
            let arguments = many.chain(rest.arguments.iter().cloned()).collect();
            python("tests/logging/run.py", &Rest { arguments })
        }
        Soak::Sim(rest) => {
            let example = ["run", "--release", "-p", "vb-sim", "--locked", "--example", "engine"];
            go_on("cargo", &[&example[..], &["--"]].concat(), rest)
        }
    }
}

fn bench(name: &str, rest: &Rest) -> Outcome {
    build_server()?;
    let bench = ["run", "--release", "--package", "vb-bench", "--locked", "--", name];
    go_on("cargo", &bench, rest)
}

fn python(script: &str, rest: &Rest) -> Outcome {
    build_server()?;
    let mut command = process::command("python3", &["-u", script]);
    command.args(&rest.arguments);
    command.env("VECTORBUCKET_BIN", process::root().join("target/release/vectorbucket"));
    process::run(command)
}

fn go_on(program: &str, arguments: &[&str], rest: &Rest) -> Outcome {
    let mut command = process::command(program, arguments);
    command.args(&rest.arguments);
    process::run(command)
}

fn build_server() -> Outcome {
    let build = ["build", "--release", "--package", "vb-server", "--locked"];
    process::run(process::command("cargo", &build))
}
