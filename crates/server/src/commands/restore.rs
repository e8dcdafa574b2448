//! `vectorbucket restore`: buckets, and who may call, brought back from a place of backups.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use clap::{Arg, ArgGroup, ArgMatches, Command, value_parser};
use indicatif::{HumanBytes, HumanCount};
use serde_json::{Value, json};
use vb_commit::Store;
use vb_engine::inspect::backup::{self, Restored as RestoredBucket};
use vb_engine::{BucketId, Error};
use vb_identity::copy::{self, Restored};

use super::progress::Progress;
use super::{
    account_and_bucket, base, bucket, bucket_json, config, failed, failed_identities, open_source,
    open_target, print, switch, text, url,
};
use crate::failure::Failure;

/// Exit code when a backup was found damaged.
const EXIT_DAMAGE: u8 = 11;

pub(super) fn command() -> Command {
    let number = Arg::new("number")
        .long("number")
        .value_name("NUMBER")
        .value_parser(value_parser!(u64))
        .help("which backup of it; default: the newest (backup --list shows them)");
    let one = ArgGroup::new("one").args(["bucket", "identities"]);
    base("restore", "Bring buckets and identities back from backups; what exists is left alone")
        .args(account_and_bucket())
        .arg(text("from", "URL", "where the backups are kept").required(true))
        .arg(switch("identities", "restore only who may call"))
        .arg(number.requires("one"))
        .arg(text("to-account", "ACCOUNT", "restore into another account").requires("bucket"))
        .arg(text("to-bucket", "NAME", "restore under another name").requires("bucket"))
        .arg(switch("verify", "read the whole backup before anything is written"))
        .group(one)
        .after_help(
            "With neither --bucket nor --identities everything is restored: who may call, if the \
             store knows nobody yet, and every bucket. Access keys work with the key ring that they \
             were sealed with.\n\
             A bucket appears when all of it is there. Interrupted, the same command goes on. On a \
             local folder the service must be stopped; on a shared store it may run.\nExit codes: 0 \
             done, 11 a backup is damaged, 2 configuration, 5 store, 7 store contents.",
        )
}

pub(super) async fn run(arguments: &ArgMatches) -> Result<u8, Failure> {
    let config = config(arguments)?;
    let from = url(super::argument(arguments, "from").unwrap_or_default())?;
    let place = open_source(&from, &config).await?;
    let store = open_target(&config.store, &config).await?;
    let number = arguments.get_one::<u64>("number").copied();
    let (mut json, mut human) = (json!({ "restored": [], "identities": null }), String::new());
    let one = bucket(arguments, &config)?;
    if one.is_none() {
        if arguments.get_flag("verify")
            && let Some(wrong) = super::backup::verify_identities(&place, number).await?
        {
            return Ok(damaged(arguments, json, human, vec![wrong]));
        }
        let required = arguments.get_flag("identities");
        json["identities"] = identities(&place, number, &store, required, &mut human).await?;
        if required {
            print(arguments, &json, &human);
            return Ok(0);
        }
    }
    let buckets = match one {
        Some(bucket) => vec![bucket],
        None => all(&place, !json["identities"].is_null()).await?,
    };
    let mut done = Vec::new();
    for id in buckets {
        if arguments.get_flag("verify") {
            let wrong = super::backup::verify(&place, &id, number).await?;
            if !wrong.is_empty() {
                json["restored"] = done.into();
                return Ok(damaged(arguments, json, human, wrong));
            }
        }
        let to = target(arguments, &id);
        let restored = restore(&place, &id, number, &store, &to).await?;
        let _ = writeln!(human, "{}", restored_text(&id, &to, &restored));
        done.push(restored_json(&id, &to, &restored));
    }
    json["restored"] = done.into();
    print(arguments, &json, &human);
    Ok(0)
}

/// Tells what is wrong with a backup, of which nothing was restored.
fn damaged(arguments: &ArgMatches, mut json: Value, mut human: String, wrong: Vec<String>) -> u8 {
    human.extend(wrong.iter().map(|wrong| format!("DAMAGE   {wrong}\n")));
    json["damage"] = wrong.into();
    print(arguments, &json, &human);
    EXIT_DAMAGE
}

/// Brings back who may call, if there is a backup of it. If it is `required` there must be, and the
/// store must not know anybody else.
async fn identities(
    place: &Store,
    number: Option<u64>,
    store: &Store,
    required: bool,
    human: &mut String,
) -> Result<Value, Failure> {
    let found = backup::identities(place, number).await;
    let found = found.map_err(|error| failed("the backup of identities cannot be read", &error))?;
    let Some((path, info, content)) = found else {
        let none = "there is no such backup of identities; see backup --list";
        return if required { Err(Failure::Engine(none.to_owned())) } else { Ok(Value::Null) };
    };
    backup::prepare(store).await.map_err(|error| failed("the store is not usable", &error))?;
    let restored = copy::import(store, &path, content).await;
    let restored =
        restored.map_err(|error| failed_identities("the identities were not restored", &error))?;
    let (outcome, told) = match restored {
        Restored::All => ("restored", "restored from"),
        Restored::Same => ("there", "are the same as in"),
        Restored::Kept if required => {
            let kept = "the store has identities of its own and keeps them";
            return Err(Failure::Engine(kept.to_owned()));
        }
        Restored::Kept => ("kept", "of the store itself are kept, not those of"),
    };
    let _ = writeln!(human, "identities: {told} backup {}", info.number);
    Ok(json!({ "number": info.number, "outcome": outcome }))
}

/// Every bucket that has a backup. There must be one, unless `none_is_fine`.
async fn all(place: &Store, none_is_fine: bool) -> Result<Vec<BucketId>, Failure> {
    let infos = backup::list(place, None).await;
    let infos = infos.map_err(|error| failed("the backups cannot be listed", &error))?;
    let buckets: BTreeSet<BucketId> = infos.into_iter().map(|info| info.bucket).collect();
    if buckets.is_empty() && !none_is_fine {
        let place = "there are no backups in the place that --from names";
        return Err(Failure::Engine(place.to_owned()));
    }
    Ok(buckets.into_iter().collect())
}

fn target(arguments: &ArgMatches, from: &BucketId) -> BucketId {
    let other = |name: &str, same: &[u8]| -> Box<[u8]> {
        super::argument(arguments, name).map_or(same, str::as_bytes).into()
    };
    let account = other("to-account", &from.account);
    BucketId { account, name: other("to-bucket", &from.name) }
}

async fn restore(
    place: &Store,
    bucket: &BucketId,
    number: Option<u64>,
    store: &Store,
    to: &BucketId,
) -> Result<RestoredBucket, Failure> {
    let progress = Progress::new("copying");
    let restored = backup::restore(place, bucket, number, store, to, &progress).await;
    restored.map_err(|error| match error {
        Error::BucketExists => Failure::Engine(format!(
            "{to:?} exists already; delete it first, or choose another name with --to-bucket"
        )),
        Error::Conflict => Failure::Engine(format!(
            "the restore of another backup to {to:?} was interrupted; run that one to its end first"
        )),
        Error::NoSuchBucket => {
            Failure::Engine(format!("there is no such backup of {bucket:?}; see backup --list"))
        }
        error => failed(&format!("{bucket:?} was not restored"), &error),
    })
}

fn restored_json(from: &BucketId, to: &BucketId, restored: &RestoredBucket) -> Value {
    let mut json = bucket_json(from);
    json["number"] = restored.number.into();
    json["to"] = bucket_json(to);
    json["indexes"] = restored.indexes.into();
    json["objects"] = restored.objects.into();
    json["bytes"] = restored.bytes.into();
    json
}

fn restored_text(from: &BucketId, to: &BucketId, restored: &RestoredBucket) -> String {
    format!(
        "{to:?}: restored from backup {} of {from:?}, {} indexes, {} objects, {}",
        restored.number,
        HumanCount(restored.indexes),
        HumanCount(restored.objects),
        HumanBytes(restored.bytes),
    )
}
