//! Runs seeds of the simulation of the engine, or replays one with a trace.
//!
//!     cargo run --release -p vb-sim --example engine -- --seeds 10000 [--start N]
//!     cargo run --release -p vb-sim --example engine -- --seed N
//!
//! With `--variant NAME` one rule is missing (`--variants` lists them), and a violation is expected:
//! the seeds end with the first.

#![expect(clippy::print_stdout, reason = "a command")]

use std::process::ExitCode;
use std::time::Instant;

use vb_sim::engine::{Variant, known_bad, run};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let value = |name: &str| -> Option<u64> {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1)?.parse().ok()
    };
    if arguments.iter().any(|argument| argument == "--variants") {
        known_bad().iter().for_each(|(name, _)| println!("{name}"));
        return ExitCode::SUCCESS;
    }
    let named = arguments.iter().position(|argument| argument == "--variant");
    let named = named.and_then(|at| arguments.get(at + 1));
    let variant = named.map_or(Some(Variant::SOUND), |name| {
        known_bad().into_iter().find(|(known, _)| known == name).map(|(_, variant)| variant)
    });
    let Some(variant) = variant else {
        println!("no such variant; --variants lists them");
        return ExitCode::FAILURE;
    };
    if let Some(seed) = value("--seed") {
        let report = run(seed, variant, true);
        println!("{report:#?}");
        return exit(report.violation.is_none());
    }
    let (start, seeds) = (value("--start").unwrap_or(1), value("--seeds").unwrap_or(300));
    let began = Instant::now();
    let mut totals = [0; 5];
    let mut failed = 0;
    for seed in start..start + seeds {
        let report = run(seed, variant, false);
        let counts =
            [report.calls, report.requests, report.faults, report.crashes, report.lasted_ms];
        totals.iter_mut().zip(counts).for_each(|(total, count)| *total += count);
        if let Some(violation) = report.violation {
            failed += 1;
            println!("seed {seed}: {violation}");
            println!("  replay: cargo run --release -p vb-sim --example engine -- --seed {seed}");
            if variant != Variant::SOUND {
                println!("  caught with seed {}", seed - start + 1);
                return ExitCode::SUCCESS;
            }
        }
    }
    let [calls, requests, faults, crashes, lasted_ms] = totals;
    let took = began.elapsed();
    println!(
        "{seeds} seeds from {start} in {took:.1?} ({:.1?} each): {failed} violations; {calls} calls, \
         {requests} requests, {faults} of them faulty, {crashes} crashes, {:.1} virtual hours",
        took / u32::try_from(seeds).unwrap_or(1).max(1),
        lasted_ms as f64 / 3.6e6,
    );
    exit(failed == 0)
}

fn exit(sound: bool) -> ExitCode {
    if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
