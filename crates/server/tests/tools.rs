//! The operator's commands, as the binary runs them: results, exit codes, and what they refuse.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use vb_commit::{LocalOptions, Store};
use vb_engine::{
    BucketId, BucketSettings, Engine, GetRequest, IndexSettings, Options, PutBatch, VectorColumn,
};
use vb_search::{Attributes, Metric, Schema, VectorField};

const ACCOUNT: &str = "1234567890123456";

fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vectorbucket"));
    command.env_clear().env("VECTORBUCKET_ACCOUNT_ID", ACCOUNT).args(arguments);
    command.output().unwrap()
}

#[track_caller]
fn json(arguments: &[&str], code: i32) -> Value {
    let output = run(&[arguments, &["--json"]].concat());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[track_caller]
fn refused(arguments: &[&str], code: i32, needle: &str) {
    let output = run(arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert!(stderr.contains(needle), "{needle} missing in: {stderr}");
}

async fn open(folder: &Path) -> Engine {
    let store = Store::local(folder, LocalOptions { fsync: false }).unwrap();
    Engine::open(store, Options::default()).await.unwrap()
}

/// A bucket with one index of 30 records, some in a segment, some in the log.
async fn build(folder: &Path) {
    let engine = open(folder).await;
    let bucket = BucketId::new(ACCOUNT, "bucket");
    engine.create_bucket(&bucket, BucketSettings::default()).await.unwrap();
    let field = VectorField { name: "float32".into(), dimension: 2, metric: Metric::Euclidean };
    let schema = Schema { vector_fields: vec![field], non_filterable: Vec::new() };
    let settings = IndexSettings { schema, wire: bytes::Bytes::from_static(b"oss/standard/1") };
    engine.create_index(&bucket, b"index", settings).await.unwrap();
    let index = engine.resolve(&bucket, b"index").await.unwrap();
    for part in [0..20, 15..30] {
        let keys: Vec<Box<[u8]>> = part.clone().map(key).collect();
        let batch = PutBatch {
            vectors: vec![VectorColumn {
                values: part.flat_map(|number| [number as f32, 0.5]).collect(),
                present: None,
            }],
            metadata: vec![None; keys.len()],
            attributes: vec![Attributes::default(); keys.len()],
            keys,
        };
        index.put(batch).await.unwrap();
        if index.get(get(0)).await.unwrap()[0].is_some() {
            index.flush().await.unwrap();
        }
    }
    engine.shutdown().await;
}

fn key(number: usize) -> Box<[u8]> {
    format!("key-{number}").into_bytes().into()
}

fn get(number: usize) -> GetRequest {
    GetRequest { keys: vec![key(number)], with_data: true, with_metadata: true }
}

#[tokio::test]
async fn a_store_is_checked_counted_backed_up_and_restored() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (store, place, other) = (path("store"), path("place"), path("other"));
    build(Path::new(&store)).await;

    let report = json(&["fsck", "--store", &store, "--deep"], 0);
    assert_eq!((&report["indexes"], &report["damaged"]), (&1.into(), &false.into()));
    let stats = json(&["stat", "--store", &store, "--sort", "bytes"], 0);
    assert_eq!(stats[0]["index"], "index");
    assert!(stats[0]["records"].as_u64().unwrap() >= 20, "{stats}");

    let first = json(&["backup", "--store", &store, "--to", &place, "--verify"], 0);
    assert_eq!(first["backups"][0]["number"], 1);
    assert_eq!(first["backups"][0]["damage"], Value::Array(Vec::new()));
    let again = json(
        &["backup", "--store", &store, "--to", &place, "--bucket", "bucket", "--keep", "1"],
        0,
    );
    assert_eq!(again["backups"][0]["objects_copied"], 0);
    assert_eq!(again["pruned"]["backups"], 1);
    let listed = json(&["backup", "--to", &place, "--list"], 0);
    assert_eq!(listed.as_array().unwrap().len(), 1);

    let to = ["--bucket", "bucket", "--to-bucket", "second"];
    json(&[&["restore", "--from", &place, "--store", &store][..], &to].concat(), 0);
    json(&["restore", "--from", &place, "--store", &other], 0);
    for (folder, name) in [(&store, "second"), (&other, "bucket"), (&store, "bucket")] {
        let engine = open(Path::new(folder)).await;
        let bucket = BucketId::new(ACCOUNT, name);
        let index = engine.resolve(&bucket, b"index").await.unwrap();
        for number in 0..30 {
            let row = index.get(get(number)).await.unwrap()[0].clone().unwrap();
            assert_eq!(row.vectors[0].as_deref(), Some(&[number as f32, 0.5][..]), "{name}");
        }
        engine.shutdown().await;
    }
    json(&["fsck", "--store", &store], 0);
    refused(&["restore", "--from", &place, "--store", &other], 7, "--to-bucket");
}

#[tokio::test]
async fn damage_and_leftovers_have_exit_codes() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    build(&store).await;
    let text = store.to_str().unwrap();
    std::fs::write(store.join("index/notes"), "x").unwrap();
    let report = json(&["fsck", "--store", text], 10);
    assert_eq!(report["findings"][0]["kind"], "foreign");
    let index = std::fs::read_dir(store.join("index")).unwrap();
    let index = index.map(|entry| entry.unwrap().path()).find(|path| path.is_dir()).unwrap();
    let segment = std::fs::read_dir(index.join("segment")).unwrap().next().unwrap().unwrap();
    std::fs::remove_file(segment.path()).unwrap();
    let report = json(&["fsck", "--store", text], 11);
    assert_eq!(report["damaged"], true);
    let human = run(&["fsck", "--store", text, "--quick"]);
    let human = String::from_utf8_lossy(&human.stdout).into_owned();
    assert!(human.contains("DAMAGE   segment-missing"), "{human}");
    let place = folder.path().join("place");
    refused(&["backup", "--store", text, "--to", place.to_str().unwrap()], 7, "segment");
}

#[tokio::test]
async fn what_cannot_be_opened_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (store, nothing) = (path("store"), path("nothing"));
    build(Path::new(&store)).await;
    refused(&["fsck", "--store", &nothing], 5, "nothing in");
    assert!(!Path::new(&nothing).exists(), "looking makes no folder");
    refused(&["fsck", "--store", "memory:"], 5, "nothing in");
    refused(&["backup", "--store", &store, "--to", &store], 5, "in use");
    refused(&["restore", "--from", &store, "--store", &nothing], 7, "no");
    let held = Store::local(&store, LocalOptions { fsync: false }).unwrap();
    for command in ["fsck", "stat"] {
        refused(&[command, "--store", &store], 5, "in use by another vectorbucket process");
    }
    drop(held);
    refused(&["stat", "--store", &store, "--bucket", "nobody"], 7, "no such bucket");
}
