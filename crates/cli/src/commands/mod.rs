//! `vectorbucket vectors-api`: a subcommand per operation, with the flags of `ossutil vectors-api`.
//!
//! An operation is a row of data ([`Operation`]): how it is addressed and which flag becomes which
//! part of the request. One function, [`Operation::call`], turns the flags of any of them into a
//! [`Call`]; nothing here knows about connections.

mod bucket;
mod index;
mod invoke;
mod logging;
mod operation;
mod policy;
mod vector;

use clap::{ArgMatches, Command};

use crate::call::Call;
use crate::client::Client;
use crate::connection;
use crate::failure::Failure;
use crate::output;

use operation::Operation;
pub(crate) use operation::object;

/// All operations, in the order help shows them.
fn operations() -> impl Iterator<Item = &'static Operation> {
    [
        bucket::OPERATIONS,
        policy::OPERATIONS,
        logging::OPERATIONS,
        index::OPERATIONS,
        vector::OPERATIONS,
    ]
    .into_iter()
    .flatten()
}

/// One subcommand per operation, `invoke-operation` last.
pub(crate) fn subcommands() -> Vec<Command> {
    operations().map(Operation::command).chain([invoke::command()]).collect()
}

pub(crate) fn command() -> Command {
    Command::new("vectors-api")
        .about("Call one operation, with the flags and the JSON output of `ossutil vectors-api`")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .args(connection::flags())
        .subcommands(subcommands())
}

pub(crate) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    let (call, matches) = call(matches)?;
    let client = Client::new(connection::read(matches)?)?;
    output::answer(&client.send(&call)?)
}

/// The call of the chosen subcommand, and that subcommand's matches.
pub(crate) fn call(matches: &ArgMatches) -> Result<(Call, &ArgMatches), Failure> {
    let (name, matches) = matches.subcommand().expect("clap requires a subcommand");
    let call = match operations().find(|operation| operation.name == name) {
        Some(operation) => operation.call(matches)?,
        None => invoke::call(matches)?,
    };
    Ok((call, matches))
}

#[cfg(test)]
mod tests;
