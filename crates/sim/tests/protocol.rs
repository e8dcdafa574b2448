//! The commit protocol, model-checked: the sound rules hold in every state of bounded worlds, and
//! every known-bad variant is found. `cargo test -p vb-sim --test protocol -- --nocapture` prints
//! the state counts; `cargo run --release -p vb-sim --example protocol` explores larger worlds.

#![expect(clippy::print_stdout, reason = "the state counts are a result")]

use vb_commit::rules::Rules;
use vb_sim::protocol::{Scenario, explore, known_bad, quick};

#[test]
fn the_sound_rules_hold_in_every_state() {
    for scenario in quick() {
        let explored = explore(&scenario, false);
        println!("{}: {} states, {} steps", scenario.name, explored.states, explored.steps);
        assert_eq!(explored.violation, None, "{}", scenario.name);
    }
}

#[test]
fn every_known_bad_variant_is_found() {
    for scenario in known_bad() {
        let explored = explore(&scenario, true);
        let violation = explored.violation.expect(scenario.name);
        println!("{}: {violation}", scenario.name);
        let sound = Scenario { rules: Rules::SOUND, hasty_proofs: false, ..scenario };
        assert_eq!(explore(&sound, false).violation, None, "{} repaired", sound.name);
    }
}

/// The reductions leave out orders of steps, not outcomes: where they are switched off, more states
/// are visited and no other verdict is reached.
#[test]
fn unreduced_worlds_agree() {
    for scenario in quick().into_iter().filter(|scenario| scenario.batches == [1, 1]) {
        let reduced = explore(&scenario, false);
        let whole = explore(&Scenario { reduced: false, ..scenario.clone() }, false);
        println!("{}: {} of {} states", scenario.name, reduced.states, whole.states);
        assert!(whole.states >= reduced.states);
        assert_eq!(whole.violation, reduced.violation, "{}", scenario.name);
    }
}
