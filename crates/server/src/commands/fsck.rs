//! `vectorbucket fsck`: is everything in the store there, and is it what was written?

use std::fmt::Write as _;
use std::time::Duration;

use clap::{ArgMatches, Command};
use indicatif::{HumanBytes, HumanCount};
use serde_json::{Value, json};
use vb_commit::{Store, StoreErrorKind};
use vb_engine::inspect::{self, CheckOptions, Finding, FindingKind, Level, Report};

use super::progress::Progress;
use super::{base, config, failed, failed_identities, open_source, print, switch, text};
use crate::clock::unix_ms;
use crate::config::Value as _;
use crate::failure::Failure;

/// Exit code when something only takes room.
const EXIT_LEFTOVERS: u8 = 10;
/// Exit code when records are lost or wrong.
const EXIT_DAMAGE: u8 = 11;

pub(super) fn command() -> Command {
    let quick = switch("quick", "logs, lengths of objects, bitmaps and counters only");
    let deep = switch("deep", "read every byte of every segment");
    let grace = text(
        "grace",
        "TIME",
        "report what nothing names when it is older than this; default: collect_grace, 1h",
    );
    base("fsck", "Check a store: reads it and reports what is damaged, missing or left over")
        .arg(quick.conflicts_with("deep"))
        .arg(deep)
        .arg(grace)
        .after_help(
            "On a local folder the service must be stopped; on a shared store it may run.\n\
             Exit codes: 0 nothing found, 10 only leftovers that take room, 11 damage, 2 \
             configuration, 5 store, 7 store contents.",
        )
}

pub(super) async fn run(arguments: &ArgMatches) -> Result<u8, Failure> {
    let config = config(arguments)?;
    let options =
        CheckOptions { level: level(arguments), grace: grace(arguments)?, now_ms: unix_ms() };
    let store = open_source(&config.store, &config).await?;
    let report = {
        let progress = Progress::new("checking");
        inspect::check(&store, &options, &progress).await
    };
    let mut report = report.map_err(|error| failed("the check stopped", &error))?;
    report.findings.extend(identities(&store).await?);
    print(arguments, &to_json(&report), &to_text(&report));
    Ok(match (report.is_damaged(), report.findings.is_empty()) {
        (true, _) => EXIT_DAMAGE,
        (false, false) => EXIT_LEFTOVERS,
        (false, true) => 0,
    })
}

/// What is wrong with the log of who may call.
async fn identities(store: &Store) -> Result<Option<Finding>, Failure> {
    let finding = |path: &str, detail: String| {
        Some(Finding { kind: FindingKind::IdentityDamaged, path: path.to_owned(), detail })
    };
    match vb_identity::copy::export(store).await {
        Ok(_) => Ok(None),
        Err(vb_identity::Error::Corrupt { path, offset, reason }) => {
            Ok(finding(&path, format!("at byte {offset} of its content: {reason}")))
        }
        Err(vb_identity::Error::Store { kind: StoreErrorKind::Corrupt, message }) => {
            Ok(finding("identity", message.to_string()))
        }
        Err(error) => Err(failed_identities("the identities were not checked", &error)),
    }
}

fn level(arguments: &ArgMatches) -> Level {
    match (arguments.get_flag("quick"), arguments.get_flag("deep")) {
        (true, _) => Level::Quick,
        (_, true) => Level::Deep,
        (false, false) => Level::Keys,
    }
}

fn grace(arguments: &ArgMatches) -> Result<Duration, Failure> {
    match super::argument(arguments, "grace") {
        Some(text) => Duration::parse(text)
            .map_err(|expected| Failure::Configuration(format!("--grace: {expected}"))),
        None => Ok(Duration::from_secs(3600)),
    }
}

fn to_json(report: &Report) -> Value {
    let counts = &report.counts;
    let findings: Vec<Value> = report
        .findings
        .iter()
        .map(|finding| {
            json!({
                "kind": finding.kind.code(),
                "damage": finding.kind.is_damage(),
                "path": finding.path,
                "detail": finding.detail,
            })
        })
        .collect();
    json!({
        "damaged": report.is_damaged(),
        "buckets": counts.buckets,
        "indexes": counts.indexes,
        "segments": counts.segments,
        "records_in_segments": counts.records,
        "tail_slots": counts.slots,
        "bytes": counts.bytes,
        "findings": findings,
        "findings_more": report.findings_more,
    })
}

fn to_text(report: &Report) -> String {
    let mut out = String::new();
    for finding in &report.findings {
        let mark = if finding.kind.is_damage() { "DAMAGE" } else { "leftover" };
        let _ = writeln!(out, "{mark:8} {finding}");
    }
    if report.findings_more > 0 {
        let _ = writeln!(out, "... and {} more", report.findings_more);
    }
    let counts = &report.counts;
    let _ = write!(
        out,
        "{} buckets, {} indexes, {} segments with {} records, {} log slots, {}: ",
        HumanCount(counts.buckets),
        HumanCount(counts.indexes),
        HumanCount(counts.segments),
        HumanCount(counts.records),
        HumanCount(counts.slots),
        HumanBytes(counts.bytes),
    );
    let damage = report.findings.iter().filter(|finding| finding.kind.is_damage()).count();
    let _ = match (damage, report.findings.len() - damage) {
        (0, 0) => writeln!(out, "nothing to report"),
        (damage, leftovers) => writeln!(out, "{damage} damaged, {leftovers} left over"),
    };
    out
}
