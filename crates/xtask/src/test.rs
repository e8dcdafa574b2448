//! `cargo xtask test`: everything that must hold before a change lands, in order of cost.

use clap::Args;

use crate::process::{self, Count, Outcome};
use crate::tidy;

/// What to leave out while working; CI leaves out nothing.
#[derive(Args)]
pub(crate) struct Options {
    /// Leave out the official SDKs (they need Python, Go and Java).
    #[arg(long)]
    no_sdk: bool,
    /// Leave out the services that stores are tried against and the three-process run (they need
    /// Python, Go and npm).
    #[arg(long)]
    no_stores: bool,
}

/// Runs the checks and closes with one line that adds up all test runners.
///
/// # Errors
/// The first step that failed; the closing line is printed all the same.
pub(crate) fn run(options: &Options) -> Outcome {
    let mut count = Count::default();
    let done = steps(options, &mut count);
    if done.is_err() && count.failed == 0 {
        count.failed = 1;
    }
    if let Err(error) = &done {
        process::say(&format!("\nxtask test: {error}"));
    }
    process::say(&format!(
        "\ntotal: {} passed, {} failed, {} skipped",
        count.passed, count.failed, count.skipped
    ));
    done.map_err(|_| "some checks failed".to_owned())
}

fn steps(options: &Options, count: &mut Count) -> Outcome {
    process::run(process::command("cargo", &["fmt", "--all", "--", "--check"]))?;
    tidy::run()?;
    let clippy = ["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
    process::run(process::command("cargo", &clippy))?;
    let document = ["doc", "--workspace", "--no-deps", "--document-private-items", "--locked"];
    let mut docs = process::command("cargo", &document);
    docs.env("RUSTDOCFLAGS", "-D warnings -A rustdoc::private_intra_doc_links");
    process::run(docs)?;
    install_tracer()?;
    let tests = ["test", "--workspace", "--locked", "--no-fail-fast"];
    process::run_counted(process::command("cargo", &tests), count)?;
    if options.no_sdk && options.no_stores {
        return Ok(());
    }
    process::run(process::command("cargo", &["build", "--package", "vb-server", "--locked"]))?;
    search_bench(count)?;
    process::run_counted(process::command("python3", &["-u", "tests/logging/run.py"]), count)?;
    if !options.no_sdk {
        process::run_counted(process::command("python3", &["-u", "tests/sdk/run.py"]), count)?;
    }
    if options.no_stores {
        return Ok(());
    }
    process::run_counted(process::command("python3", &["-u", "tests/stores/run.py"]), count)?;
    let reliability = ["-u", "tests/reliability/run.py", "--seconds", "75"];
    process::run_counted(process::command("python3", &reliability), count)?;
    if options.no_sdk {
        return Ok(());
    }
    process::run_counted(process::command("python3", &["-u", "tests/nodes/rolling.py"]), count)
}

/// The search benchmark measures rightly, and its way to the engine works; what it measures of a debug build counts nothing.
fn search_bench(count: &mut Count) -> Outcome {
    let program = ["-u", "bench/search/run.py"];
    process::run_counted(
        process::command("python3", &[&program[..], &["--check"]].concat()),
        count,
    )?;
    process::run(process::command("cargo", &["build", "--package", "vb-bench", "--locked"]))?;
    let generated = ["--quick", "--scale", "--scale-rows", "10000", "--only", "topics256"];
    let mut quick = process::command("python3", &[&program[..], &generated].concat());
    quick.arg("--binaries").arg(crate::bench::target().join("debug"));
    process::run(quick)
}

/// The proof that a write is synced before its reply reads a system-call trace; install the tracer
/// where Debian's package manager can, else let the test itself say what is missing.
fn install_tracer() -> Outcome {
    if process::exists("strace") || !process::exists("apt-get") || !is_root() {
        return Ok(());
    }
    let _ = process::run(process::command("apt-get", &["update", "-qq"]));
    let install = ["install", "-y", "-qq", "--no-install-recommends", "strace"];
    let installed = process::run(process::command("apt-get", &install));
    if process::in_ci() { installed } else { Ok(()) }
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| {
        use std::os::unix::fs::MetadataExt;
        own.uid() == 0
    })
}
