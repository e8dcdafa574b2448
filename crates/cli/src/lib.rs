//! Client commands over the wire, compiled into the `vectorbucket` binary.
//!
//! Everything here talks to a service through its documented HTTP interface and nothing else, so
//! each command works against any server of that interface.
//!
//! | command | does |
//! |---|---|
//! | `vectors-api` | one operation, with the flags and the JSON output of `ossutil vectors-api` |
//! | `sign` | prints the same operation as a signed `curl` command instead of sending it |
//! | `nearest` | the nearest records to records that are in an index |
//! | `sts` | temporary credentials, for the SDKs' credentials providers |
//! | `import`, `export` | whole indexes from and to JSONL or .npy files |
//!
//! A command is turned into [`call::Call`]s by pure functions, and [`client::Client`] is the only
//! place that opens a connection.

pub mod admin;
mod call;
mod client;
mod commands;
mod connection;
mod failure;
mod nearest;
mod output;
mod sign;
mod signing;
mod sts;
mod transfer;
mod values;

#[cfg(test)]
mod stub;

use std::process::ExitCode;

use clap::{ArgMatches, Command};

use failure::Failure;

/// The client commands, to be mounted under the binary's root command.
#[must_use]
pub fn commands() -> Vec<Command> {
    vec![
        commands::command(),
        transfer::import::command(),
        transfer::export::command(),
        nearest::command(),
        sign::command(),
        sts::command(),
    ]
}

/// Runs the client command `name` with its own matches; `None` if it is not one of [`commands()`].
///
/// A failure is printed to standard error with what to do next; the exit code tells its kind
/// (see `docs/cli.md`).
#[must_use]
pub fn run(name: &str, matches: &ArgMatches) -> Option<ExitCode> {
    let outcome = match name {
        "vectors-api" => commands::run(matches),
        "import" => transfer::import::run(matches),
        "export" => transfer::export::run(matches),
        "nearest" => nearest::run(matches),
        "sign" => sign::run(matches),
        "sts" => sts::run(matches),
        _ => return None,
    };
    Some(exit_code(outcome))
}

fn exit_code(outcome: Result<(), Failure>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::complain(&failure.to_string());
            ExitCode::from(failure.exit_code())
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Command;

    use super::{commands, run};

    #[test]
    fn every_command_is_well_formed_and_handled() {
        let root = Command::new("vectorbucket").subcommands(commands());
        root.clone().debug_assert();
        let empty = Command::new("other").get_matches_from(["other"]);
        assert!(run("serve", &empty).is_none());
        let names: Vec<_> = root.get_subcommands().map(|c| c.get_name().to_owned()).collect();
        assert_eq!(names, ["vectors-api", "import", "export", "nearest", "sign", "sts"]);
    }
}
