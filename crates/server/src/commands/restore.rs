//! `vectorbucket restore`: buckets brought back from a place of backups.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use clap::{Arg, ArgMatches, Command, value_parser};
use indicatif::{HumanBytes, HumanCount};
use serde_json::{Value, json};
use vb_commit::Store;
use vb_engine::inspect::backup::{self, Restored};
use vb_engine::{BucketId, Error};

use super::progress::Progress;
use super::{
    account_and_bucket, base, bucket, bucket_json, config, failed, open_source, open_target, print,
    switch, text, url,
};
use crate::failure::Failure;

/// Exit code when a backup was found damaged.
const EXIT_DAMAGE: u8 = 11;

pub(super) fn command() -> Command {
    let number = Arg::new("number")
        .long("number")
        .value_name("NUMBER")
        .value_parser(value_parser!(u64))
        .requires("bucket")
        .help("which backup of the bucket; default: the newest (backup --list shows them)");
    base("restore", "Bring buckets back from backups; a bucket that exists is left alone")
        .args(account_and_bucket())
        .arg(text("from", "URL", "where the backups are kept").required(true))
        .arg(number)
        .arg(text("to-account", "ACCOUNT", "restore into another account").requires("bucket"))
        .arg(text("to-bucket", "NAME", "restore under another name").requires("bucket"))
        .arg(switch("verify", "read the whole backup before anything is written"))
        .after_help(
            "A bucket appears when all of it is there. Interrupted, the same command goes on. On a \
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
    let buckets = match bucket(arguments, &config)? {
        Some(bucket) => vec![bucket],
        None => all(&place).await?,
    };
    let (mut json, mut human) = (Vec::new(), String::new());
    for id in buckets {
        if arguments.get_flag("verify") {
            let wrong = super::backup::verify(&place, &id, number).await?;
            if !wrong.is_empty() {
                human.extend(wrong.iter().map(|wrong| format!("DAMAGE   {wrong}\n")));
                print(arguments, &json!({ "restored": json, "damage": wrong }), &human);
                return Ok(EXIT_DAMAGE);
            }
        }
        let to = target(arguments, &id);
        let restored = restore(&place, &id, number, &store, &to).await?;
        let _ = writeln!(human, "{}", restored_text(&id, &to, &restored));
        json.push(restored_json(&id, &to, &restored));
    }
    print(arguments, &json!({ "restored": json }), &human);
    Ok(0)
}

/// Every bucket that has a backup.
async fn all(place: &Store) -> Result<Vec<BucketId>, Failure> {
    let infos = backup::list(place, None).await;
    let infos = infos.map_err(|error| failed("the backups cannot be listed", &error))?;
    let buckets: BTreeSet<BucketId> = infos.into_iter().map(|info| info.bucket).collect();
    if buckets.is_empty() {
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
) -> Result<Restored, Failure> {
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

fn restored_json(from: &BucketId, to: &BucketId, restored: &Restored) -> Value {
    let mut json = bucket_json(from);
    json["number"] = restored.number.into();
    json["to"] = bucket_json(to);
    json["indexes"] = restored.indexes.into();
    json["objects"] = restored.objects.into();
    json["bytes"] = restored.bytes.into();
    json
}

fn restored_text(from: &BucketId, to: &BucketId, restored: &Restored) -> String {
    format!(
        "{to:?}: restored from backup {} of {from:?}, {} indexes, {} objects, {}",
        restored.number,
        HumanCount(restored.indexes),
        HumanCount(restored.objects),
        HumanBytes(restored.bytes),
    )
}
