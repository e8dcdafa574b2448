//! `vectorbucket backup`: buckets, and who may call, copied to another store, incrementally and checked.

use std::fmt::Write as _;

use clap::{Arg, ArgMatches, Command, value_parser};
use indicatif::{HumanBytes, HumanCount};
use serde_json::{Value, json};
use vb_commit::Store;
use vb_engine::inspect::{
    self,
    backup::{self, BackupInfo, IdentitiesInfo, Pruned, Taken},
};
use vb_engine::{BucketId, Error};

use super::progress::Progress;
use super::{
    account, account_and_bucket, base, bucket, bucket_json, config, failed, failed_identities,
    open_source, open_target, print, switch, text, url,
};
use crate::clock::unix_ms;
use crate::config::Config;
use crate::failure::Failure;

/// Exit code when a backup was found damaged.
const EXIT_DAMAGE: u8 = 11;

pub(super) fn command() -> Command {
    let to = text("to", "URL", "where backups are kept: a folder, s3://, gs://, az:// or oss://");
    let keep = Arg::new("keep")
        .long("keep")
        .value_name("COUNT")
        .value_parser(value_parser!(u64).range(1..))
        .help("afterwards keep so many backups of each bucket and remove older ones");
    base("backup", "Copy buckets and identities to another store; what is there is not copied again")
        .args(account_and_bucket())
        .arg(to.required(true))
        .arg(switch("list", "list the backups instead").conflicts_with("keep"))
        .arg(switch("verify", "afterwards read the new backups back; with --list: all listed"))
        .arg(keep)
        .after_help(
            "With --bucket only the bucket is copied; otherwise also accounts, users, roles, policies \
             and sealed access keys. The key ring that they are sealed with is in no backup: keep it \
             elsewhere.\n\
             Interrupted, the same command goes on. On a local folder the service must be stopped; \
             on a shared store it may run.\nExit codes: 0 done, 11 a backup is damaged, 2 \
             configuration, 5 store, 7 store contents.",
        )
}

pub(super) async fn run(arguments: &ArgMatches) -> Result<u8, Failure> {
    let config = config(arguments)?;
    let to = url(super::argument(arguments, "to").unwrap_or_default())?;
    if arguments.get_flag("list") {
        let place = open_source(&to, &config).await?;
        return list(arguments, &config, &place).await;
    }
    let source = open_source(&config.store, &config).await?;
    let place = open_target(&to, &config).await?;
    let (mut json, mut human) = (Vec::new(), String::new());
    let mut damaged = false;
    for id in buckets(arguments, &config, &source).await? {
        let taken = take(&source, &place, &id).await?;
        let _ = writeln!(human, "{}", taken_text(&id, &taken));
        let mut entry = taken_json(&id, &taken);
        if arguments.get_flag("verify") {
            let wrong = verify(&place, &id, Some(taken.number)).await?;
            damaged |= !wrong.is_empty();
            human.extend(wrong.iter().map(|wrong| format!("DAMAGE   {wrong}\n")));
            entry["damage"] = wrong.into();
        }
        json.push(entry);
    }
    // After the buckets: whoever one of their policies names is in it.
    let mut identities = Value::Null;
    if bucket(arguments, &config)?.is_none()
        && let Some((number, bytes)) = take_identities(&source, &place).await?
    {
        let _ = writeln!(human, "identities: backup {number}, {}", HumanBytes(bytes));
        identities = json!({ "number": number, "bytes": bytes });
        if arguments.get_flag("verify") {
            let wrong = verify_identities(&place, Some(number)).await?;
            damaged |= wrong.is_some();
            human.extend(wrong.iter().map(|wrong| format!("DAMAGE   {wrong}\n")));
            identities["damage"] = Vec::from_iter(wrong).into();
        }
    }
    let pruned = prune(arguments, &config, &place).await?;
    if let Some(pruned) = &pruned {
        let _ = writeln!(human, "{}", pruned_text(pruned));
    }
    let pruned = pruned.map(|pruned| {
        json!({ "backups": pruned.backups, "objects": pruned.objects, "bytes": pruned.bytes })
    });
    let json = json!({ "backups": json, "identities": identities, "pruned": pruned });
    print(arguments, &json, &human);
    Ok(if damaged { EXIT_DAMAGE } else { 0 })
}

/// The bucket named, or all buckets of the account, or of the store.
async fn buckets(
    arguments: &ArgMatches,
    config: &Config,
    source: &Store,
) -> Result<Vec<BucketId>, Failure> {
    if let Some(bucket) = bucket(arguments, config)? {
        return Ok(vec![bucket]);
    }
    let account = account(arguments, config);
    let found = inspect::live_buckets(source, account.as_deref().map(str::as_bytes)).await;
    found.map_err(|error| failed("the buckets cannot be listed", &error))
}

async fn take(source: &Store, place: &Store, bucket: &BucketId) -> Result<Taken, Failure> {
    let progress = Progress::new("copying");
    let taken = backup::backup(source, place, bucket, unix_ms(), &progress).await;
    taken.map_err(|error| match error {
        Error::Conflict => Failure::Store(format!(
            "{bucket:?} was not backed up: the place of backups is being pruned, or the bucket \
             changes too fast; try again"
        )),
        error => failed(&format!("{bucket:?} was not backed up"), &error),
    })
}

/// Copies who may call; the backup's number and bytes. `None`: the store knows nobody.
async fn take_identities(source: &Store, place: &Store) -> Result<Option<(u64, u64)>, Failure> {
    let exported = vb_identity::copy::export(source).await;
    let exported = exported
        .map_err(|error| failed_identities("the identities of the store cannot be read", &error))?;
    let Some(content) = exported else { return Ok(None) };
    let bytes = content.len() as u64;
    let number = backup::put_identities(source, place, content, unix_ms()).await;
    let number = number.map_err(|error| failed("the identities were not backed up", &error))?;
    Ok(Some((number, bytes)))
}

/// What is wrong with a backup of identities, if it is there and anything is.
pub(super) async fn verify_identities(
    place: &Store,
    number: Option<u64>,
) -> Result<Option<String>, Failure> {
    match backup::identities(place, number).await {
        Ok(None) => Ok(None),
        Ok(Some((path, _, content))) => {
            let checked = vb_identity::copy::account_count(&path, &content);
            Ok(checked.err().map(|error| error.to_string()))
        }
        Err(damaged @ Error::Corrupt { .. }) => Ok(Some(damaged.to_string())),
        Err(error) => Err(failed("the identities cannot be verified", &error)),
    }
}

/// What is wrong with a backup, a line for each object.
pub(super) async fn verify(
    place: &Store,
    bucket: &BucketId,
    number: Option<u64>,
) -> Result<Vec<String>, Failure> {
    let progress = Progress::new("verifying");
    let verified = backup::verify(place, bucket, number, &progress).await;
    let (_, wrong) =
        verified.map_err(|error| failed(&format!("{bucket:?} cannot be verified"), &error))?;
    Ok(wrong.iter().map(ToString::to_string).collect())
}

async fn prune(
    arguments: &ArgMatches,
    config: &Config,
    place: &Store,
) -> Result<Option<Pruned>, Failure> {
    let Some(keep) = arguments.get_one::<u64>("keep") else { return Ok(None) };
    let keep = usize::try_from(*keep).unwrap_or(usize::MAX);
    let bucket = bucket(arguments, config)?;
    let pruned = backup::prune(place, bucket.as_ref(), keep, unix_ms()).await;
    pruned.map(Some).map_err(|error| match error {
        Error::Conflict => Failure::Store(
            "old backups were not removed: another backup into the same place is under way, or \
             was interrupted less than a day ago; finish it and try again"
                .to_owned(),
        ),
        error => failed("old backups were not removed", &error),
    })
}

async fn list(arguments: &ArgMatches, config: &Config, place: &Store) -> Result<u8, Failure> {
    let bucket = bucket(arguments, config)?;
    let infos = backup::list(place, bucket.as_ref()).await;
    let infos = infos.map_err(|error| failed("the backups cannot be listed", &error))?;
    let (mut json, mut human) = (Vec::new(), String::new());
    let mut damaged = false;
    for info in &infos {
        let _ = writeln!(human, "{}", info_text(info));
        let mut entry = info_json(info);
        if arguments.get_flag("verify") {
            let wrong = verify(place, &info.bucket, Some(info.number)).await?;
            damaged |= !wrong.is_empty();
            human.extend(wrong.iter().map(|wrong| format!("DAMAGE   {wrong}\n")));
            entry["damage"] = wrong.into();
        }
        json.push(entry);
    }
    if bucket.is_none() {
        for info in infos_of_identities(place).await? {
            let _ = writeln!(human, "{}", identities_text(&info));
            let mut entry = identities_json(&info);
            if arguments.get_flag("verify") {
                let wrong = verify_identities(place, Some(info.number)).await?;
                damaged |= wrong.is_some();
                human.extend(wrong.iter().map(|wrong| format!("DAMAGE   {wrong}\n")));
                entry["damage"] = Vec::from_iter(wrong).into();
            }
            json.push(entry);
        }
    }
    print(arguments, &Value::Array(json), &human);
    Ok(if damaged { EXIT_DAMAGE } else { 0 })
}

fn taken_json(bucket: &BucketId, taken: &Taken) -> Value {
    let mut json = bucket_json(bucket);
    json["number"] = taken.number.into();
    json["indexes"] = taken.indexes.into();
    json["objects"] = taken.objects.into();
    json["bytes"] = taken.bytes.into();
    json["objects_copied"] = taken.objects_copied.into();
    json["bytes_copied"] = taken.bytes_copied.into();
    json
}

fn taken_text(bucket: &BucketId, taken: &Taken) -> String {
    format!(
        "{bucket:?}: backup {} of {} indexes, {} objects, {}; {} of them new, {}",
        taken.number,
        HumanCount(taken.indexes),
        HumanCount(taken.objects),
        HumanBytes(taken.bytes),
        HumanCount(taken.objects_copied),
        HumanBytes(taken.bytes_copied),
    )
}

fn pruned_text(pruned: &Pruned) -> String {
    format!(
        "{} old backups and {} copies that no other needs are removed, {}",
        HumanCount(pruned.backups),
        HumanCount(pruned.objects),
        HumanBytes(pruned.bytes),
    )
}

fn info_json(info: &BackupInfo) -> Value {
    let mut json = bucket_json(&info.bucket);
    json["number"] = info.number.into();
    json["taken_ms"] = info.taken_ms.into();
    json["indexes"] = info.indexes.into();
    json["objects"] = info.objects.into();
    json["bytes"] = info.bytes.into();
    json
}

fn info_text(info: &BackupInfo) -> String {
    let taken = i64::try_from(info.taken_ms).unwrap_or(i64::MAX);
    format!(
        "{:?} {:>4}  {}  {} indexes, {} objects, {}",
        info.bucket,
        info.number,
        vb_api::oss::iso_millis(taken),
        HumanCount(info.indexes),
        HumanCount(info.objects),
        HumanBytes(info.bytes),
    )
}

async fn infos_of_identities(place: &Store) -> Result<Vec<IdentitiesInfo>, Failure> {
    let infos = backup::list_identities(place).await;
    infos.map_err(|error| failed("the backups of identities cannot be listed", &error))
}

fn identities_json(info: &IdentitiesInfo) -> Value {
    json!({
        "identities": true,
        "number": info.number,
        "taken_ms": info.taken_ms,
        "bytes": info.bytes,
    })
}

fn identities_text(info: &IdentitiesInfo) -> String {
    let taken = i64::try_from(info.taken_ms).unwrap_or(i64::MAX);
    let (number, taken) = (info.number, vb_api::oss::iso_millis(taken));
    format!("identities {number:>4}  {taken}  {}", HumanBytes(info.bytes))
}
