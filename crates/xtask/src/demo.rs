//! `cargo xtask demo`: real data through the front door, as a user would.

use clap::Args;

use crate::process::Outcome;

/// What the demonstration asks for.
#[derive(Args)]
pub(crate) struct Options {
    /// Words to look up.
    #[arg(default_values = ["king", "paris", "guitar", "linux"])]
    words: Vec<String>,
}

pub(crate) fn run(options: &Options) -> Outcome {
    Err(format!("not yet: {:?}", options.words))
}
