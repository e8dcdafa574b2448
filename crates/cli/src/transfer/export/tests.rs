//! Exports from a stub that lists what it holds.

use std::path::Path;

use clap::Command;

use super::{Listing, Output, command, export};
use crate::failure::Failure;
use crate::stub::{Reply, Request, Stub, client};
use crate::transfer::index::Place;
use crate::transfer::npy::{Header, decode_row};

const COUNT: u64 = 25;

fn record(number: u64) -> serde_json::Value {
    let mut record =
        serde_json::json!({"key": format!("k\n{number}"), "data": {"float32": [number, 0.1]}});
    if number.is_multiple_of(2) {
        record["metadata"] = serde_json::json!({"n": number});
    }
    record
}

/// Record n is in segment n mod segments; pages have 3 records; the token is the next record's place.
fn list(_: usize, request: &Request) -> Reply {
    let body = request.json();
    let (segments, segment) =
        (body["segmentCount"].as_u64().unwrap(), body["segmentIndex"].as_u64().unwrap());
    assert_eq!((&body["returnData"], &body["returnMetadata"]), (&true.into(), &true.into()));
    let mine: Vec<u64> = (0..COUNT).filter(|n| n % segments == segment).collect();
    let start: usize = body["nextToken"].as_str().map_or(0, |token| token.parse().unwrap());
    let page: Vec<_> = mine.iter().skip(start).take(3).map(|n| record(*n)).collect();
    let mut answer = serde_json::json!({ "vectors": page });
    if start + 3 < mine.len() {
        answer["nextToken"] = (start + 3).to_string().into();
    }
    Reply::ok(&answer.to_string())
}

fn output(path: &Path, flags: &[&str]) -> Result<Output, Failure> {
    let fixed =
        ["vectorbucket", "export", path.to_str().unwrap(), "--bucket", "b-1", "--index-name", "i"];
    let matches = Command::new("vectorbucket")
        .subcommand(command())
        .get_matches_from(fixed.iter().chain(flags));
    Output::read(matches.subcommand_matches("export").unwrap())
}

fn listing(segments: u32) -> Listing {
    let place = Place { bucket: "b-1".into(), index: "i".into() };
    Listing { place, filter: None, segments, dimension: 2 }
}

#[test]
fn lines_hold_every_record_once_and_import_reads_them() {
    for segments in [1, 4, 16] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.jsonl");
        let stub = Stub::answering(list);
        let saved =
            export(&client(&stub), &listing(segments), &output(&path, &[]).unwrap()).unwrap();
        assert_eq!(saved, COUNT);
        let text = std::fs::read_to_string(&path).unwrap();
        let mut lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        lines.sort_by_key(|line| line["data"]["float32"][0].as_u64());
        assert_eq!(lines, (0..COUNT).map(record).collect::<Vec<_>>());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no parts are left");
    }
}

#[test]
fn arrays_have_keys_and_metadata_in_the_same_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.npy");
    let stub = Stub::answering(list);
    export(&client(&stub), &listing(3), &output(&path, &[]).unwrap()).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let header = Header::read(&mut bytes.as_slice()).unwrap();
    assert_eq!((header.rows, header.columns, header.file_bytes()), (COUNT, 2, bytes.len() as u64));
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    let (keys, metadata) = (read("out_keys.jsonl"), read("out_metadata.jsonl"));
    let rows = bytes[usize::try_from(header.data_offset).unwrap()..].chunks(header.row_bytes());
    for ((row, key), metadata) in rows.zip(keys.lines()).zip(metadata.lines()) {
        let row = decode_row(header.element, row);
        let number = row[0];
        assert_eq!(serde_json::from_str::<String>(key).unwrap(), format!("k\n{number}"));
        assert_eq!(metadata == "{}", number % 2.0 == 1.0);
    }
    assert_eq!(keys.lines().count(), usize::try_from(COUNT).unwrap());
}

#[test]
fn a_failed_export_leaves_nothing_and_replaces_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.jsonl");
    std::fs::write(&path, "old").unwrap();
    assert!(
        matches!(output(&path, &[]), Err(Failure::Usage(_))),
        "an existing file needs --overwrite"
    );
    let stub = Stub::answering(|number, request| {
        if number < 4 { list(number, request) } else { Reply::error(403, "AccessDenied") }
    });
    let output = output(&path, &["--overwrite"]).unwrap();
    assert_eq!(
        export(&client(&stub), &listing(4), &output).unwrap_err().code(),
        Some("AccessDenied")
    );
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "old");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn keys_with_newlines_need_a_json_file() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys.txt");
    let output =
        output(&folder.path().join("out.npy"), &["--keys", keys.to_str().unwrap()]).unwrap();
    let stub = Stub::answering(list);
    let failure = export(&client(&stub), &listing(1), &output).unwrap_err();
    assert!(failure.to_string().contains("ends in .jsonl"), "{failure}");
}
