//! Model-checks the commit protocol in large bounded worlds and prints the state counts.
//!
//! `cargo run --release -p vb-sim --example protocol`

use std::io::Write;
use std::process::ExitCode;
use std::time::Instant;

use vb_sim::protocol::{Scenario, explore, full, known_bad, quick};

fn main() -> ExitCode {
    let sound = quick().into_iter().chain(full()).map(|scenario| (scenario, false));
    let bad = known_bad().into_iter().map(|scenario| (scenario, true));
    let wrong = bad.chain(sound).filter(|(scenario, bad)| !check(scenario, *bad)).count();
    if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Explores one world; whether the verdict is the expected one.
fn check(scenario: &Scenario, bad: bool) -> bool {
    let begun = Instant::now();
    let explored = explore(scenario, bad);
    let seconds = begun.elapsed().as_secs_f64();
    let verdict = explored.violation.as_deref().unwrap_or("no violation");
    let line = format!(
        "{}: {} states, {} steps, {seconds:.1} s: {verdict}\n",
        scenario.name, explored.states, explored.steps
    );
    let written = std::io::stdout().write_all(line.as_bytes());
    written.is_ok() && explored.violation.is_some() == bad
}
