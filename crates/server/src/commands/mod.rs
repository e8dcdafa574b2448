//! Commands for the operator that open a store themselves: `fsck`, `stat`, `backup`, `restore`,
//! `admin`.
//!
//! They need no running service. On a local folder they take its lock, so the service has to be
//! stopped first; on a shared store they work beside it. Results go to standard output, as text or
//! (`--json`) as one JSON value; progress goes to standard error, if that is a terminal.

mod admin;
mod backup;
mod fsck;
mod progress;
mod restore;
mod stat;

use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use vb_commit::{Store, StoreErrorKind};
use vb_engine::{BucketId, Error};

use crate::command::{effective, say, store_args};
use crate::config::{Config, StoreUrl, Value as _};
use crate::failure::Failure;
use crate::open;

/// Their names and flags.
pub(crate) fn commands() -> [Command; 5] {
    [fsck::command(), stat::command(), backup::command(), restore::command(), admin::command()]
}

/// Runs one of them; `None`: it is none of them. The number is the exit code.
pub(crate) fn run(name: &str, arguments: &ArgMatches) -> Option<Result<u8, Failure>> {
    let work = match name {
        "fsck" => on_runtime(fsck::run(arguments)),
        "stat" => on_runtime(stat::run(arguments)),
        "backup" => on_runtime(backup::run(arguments)),
        "restore" => on_runtime(restore::run(arguments)),
        "admin" => admin::run(arguments),
        _ => return None,
    };
    Some(work)
}

fn on_runtime<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    Runtime::new().map_err(Failure::System)?.block_on(work)
}

/// A command with the flags that all of them have.
fn base(name: &'static str, about: &'static str) -> Command {
    let json =
        Arg::new("json").long("json").action(ArgAction::SetTrue).help("print the result as JSON");
    Command::new(name).about(about).args(store_args()).arg(json)
}

fn text(name: &'static str, value_name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value_name).help(help)
}

fn switch(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

fn config(arguments: &ArgMatches) -> Result<Config, Failure> {
    Ok(effective(arguments)?.config)
}

fn argument<'a>(arguments: &'a ArgMatches, name: &str) -> Option<&'a str> {
    arguments.get_one::<String>(name).map(String::as_str)
}

fn url(text: &str) -> Result<StoreUrl, Failure> {
    StoreUrl::parse(text).map_err(Failure::Configuration)
}

/// Opens a store that must hold something, for reading.
async fn open_source(url: &StoreUrl, config: &Config) -> Result<Store, Failure> {
    let nothing = || Failure::Store(format!("there is nothing in {}", url.show()));
    match url {
        StoreUrl::Memory => return Err(nothing()),
        StoreUrl::Local(dir) if !dir.is_dir() => return Err(nothing()),
        StoreUrl::Local(_) | StoreUrl::Remote(_) => {}
    }
    let store = open::connect(url, config.fsync)?;
    let top = store.list_level("").await.map_err(|error| Failure::Store(error.to_string()))?;
    let empty = top.objects.is_empty() && top.prefixes.is_empty();
    if empty { Err(nothing()) } else { Ok(store) }
}

/// Opens a store for writing: probed.
async fn open_target(url: &StoreUrl, config: &Config) -> Result<Store, Failure> {
    match url {
        StoreUrl::Memory => {
            Err(Failure::Configuration("memory: would be gone with this command".to_owned()))
        }
        StoreUrl::Local(_) | StoreUrl::Remote(_) => open::store_at(url, config.fsync).await,
    }
}

/// What an engine call failed for, as the command's end.
fn failed(what: &str, error: &Error) -> Failure {
    let text = format!("{what}: {error}");
    match error {
        Error::Storage(source) if source.kind() != StoreErrorKind::Corrupt => Failure::Store(text),
        Error::StorageFull => Failure::Store(text),
        _ => Failure::Engine(text),
    }
}

/// What a call of the store of identities failed for, as the command's end.
fn failed_identities(what: &str, error: &vb_identity::Error) -> Failure {
    let text = format!("{what}: {error}");
    match error {
        vb_identity::Error::Store { kind, .. } if *kind != StoreErrorKind::Corrupt => {
            Failure::Store(text)
        }
        _ => Failure::Engine(text),
    }
}

/// The bucket that `--bucket` names, of `--account` or the account of the configuration.
fn bucket(arguments: &ArgMatches, config: &Config) -> Result<Option<BucketId>, Failure> {
    let Some(name) = argument(arguments, "bucket") else { return Ok(None) };
    let account = account(arguments, config);
    let account = account.ok_or_else(|| {
        Failure::Configuration("--bucket needs --account or VECTORBUCKET_ACCOUNT_ID".to_owned())
    })?;
    Ok(Some(BucketId::new(account, name)))
}

fn account(arguments: &ArgMatches, config: &Config) -> Option<String> {
    let given = argument(arguments, "account").map(str::to_owned);
    given.or_else(|| Some(config.account_id.clone()).filter(|account| !account.is_empty()))
}

fn account_and_bucket() -> [Arg; 2] {
    [
        text("account", "ACCOUNT", "account of the bucket; default: that of the configuration"),
        text("bucket", "NAME", "the bucket; default: all"),
    ]
}

/// Prints the result.
fn print(arguments: &ArgMatches, json: &Value, human: &str) {
    let text = if arguments.get_flag("json") { format!("{json:#}\n") } else { human.to_owned() };
    say(&mut std::io::stdout(), &text);
}

/// A name of bytes as text.
fn shown(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

fn bucket_json(bucket: &BucketId) -> Value {
    json!({ "account": shown(&bucket.account), "bucket": shown(&bucket.name) })
}
