//! `vectorbucket stat`: what is in the store, per index.

use std::cmp::Reverse;
use std::fmt::Write as _;

use clap::{Arg, ArgMatches, Command};
use indicatif::{HumanBytes, HumanCount};
use serde_json::{Value, json};
use vb_engine::IndexState;
use vb_engine::inspect::{self, IndexStat};

use super::progress::Progress;
use super::{account_and_bucket, base, bucket, config, failed, open_source, print, shown};
use crate::failure::Failure;

const ORDERS: [&str; 7] = ["name", "records", "bytes", "segments", "tail", "deleted", "dead"];

pub(super) fn command() -> Command {
    let sort = Arg::new("sort")
        .long("sort")
        .value_name("COLUMN")
        .value_parser(ORDERS)
        .default_value("name")
        .help("order of the indexes; numbers descend");
    base("stat", "Show records, bytes, segments, tails and deletions per index")
        .args(account_and_bucket())
        .arg(sort)
        .after_help(
            "Records are those in segments; what is in the log's tail is told in slots and bytes.\n\
             On a local folder the service must be stopped; on a shared store it may run.",
        )
}

pub(super) async fn run(arguments: &ArgMatches) -> Result<u8, Failure> {
    let config = config(arguments)?;
    let bucket = bucket(arguments, &config)?;
    let store = open_source(&config.store, &config).await?;
    let stats = {
        let progress = Progress::new("reading");
        inspect::stat(&store, bucket.as_ref(), &progress).await
    };
    let mut stats = stats.map_err(|error| failed("the store cannot be read", &error))?;
    sort(&mut stats, super::argument(arguments, "sort").unwrap_or("name"));
    let json = Value::Array(stats.iter().map(to_json).collect());
    print(arguments, &json, &to_text(&stats));
    Ok(0)
}

/// Stable, so that equal numbers stay in the order of names.
fn sort(stats: &mut [IndexStat], order: &str) {
    match order {
        "records" => stats.sort_by_key(|stat| Reverse(stat.records)),
        "bytes" => stats.sort_by_key(|stat| Reverse(stat.bytes)),
        "segments" => stats.sort_by_key(|stat| Reverse(stat.segments)),
        "tail" => stats.sort_by_key(|stat| Reverse(stat.tail_bytes)),
        "deleted" => stats.sort_by_key(|stat| Reverse(stat.deleted)),
        "dead" => stats.sort_by(|a, b| b.dead_share().total_cmp(&a.dead_share())),
        _ => {}
    }
}

fn to_json(stat: &IndexStat) -> Value {
    json!({
        "account": shown(&stat.bucket.account),
        "bucket": shown(&stat.bucket.name),
        "index": shown(&stat.name),
        "id": stat.id.to_string(),
        "deleting": stat.state == IndexState::Deleting,
        "dimensions": stat.dimensions,
        "records": stat.records,
        "deleted": stat.deleted,
        "dead_share": stat.dead_share(),
        "segments": stat.segments,
        "segment_bytes": stat.segment_bytes,
        "tail_slots": stat.tail_slots,
        "tail_bytes": stat.tail_bytes,
        "manifests": stat.manifests,
        "bytes": stat.bytes,
    })
}

fn to_text(stats: &[IndexStat]) -> String {
    let heads = [
        "records",
        "deleted",
        "dead",
        "segments",
        "segment bytes",
        "tail slots",
        "tail bytes",
        "manifests",
        "all bytes",
        "index",
    ];
    let mut rows = vec![heads.map(str::to_owned)];
    rows.extend(stats.iter().map(row));
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..heads.len()).map(width).collect();
    let mut out = String::new();
    for row in &rows {
        let (name, numbers) = row.split_last().expect("a row has columns");
        for (number, width) in numbers.iter().zip(&widths) {
            let _ = write!(out, "{number:>width$}  ");
        }
        let _ = writeln!(out, "{name}");
    }
    let records: u64 = stats.iter().map(|stat| stat.records).sum();
    let bytes: u64 = stats.iter().map(|stat| stat.bytes).sum();
    let count = HumanCount(stats.len() as u64);
    let records = HumanCount(records);
    let _ = writeln!(out, "{count} indexes, {records} records, {}", HumanBytes(bytes));
    out
}

fn row(stat: &IndexStat) -> [String; 10] {
    let name = format!(
        "{}/{}/{}{}",
        shown(&stat.bucket.account),
        shown(&stat.bucket.name),
        shown(&stat.name),
        if stat.state == IndexState::Deleting { " (being deleted)" } else { "" }
    );
    [
        HumanCount(stat.records).to_string(),
        HumanCount(stat.deleted).to_string(),
        format!("{:.1} %", stat.dead_share() * 100.0),
        stat.segments.to_string(),
        HumanBytes(stat.segment_bytes).to_string(),
        stat.tail_slots.to_string(),
        HumanBytes(stat.tail_bytes).to_string(),
        stat.manifests.to_string(),
        HumanBytes(stat.bytes).to_string(),
        name,
    ]
}
