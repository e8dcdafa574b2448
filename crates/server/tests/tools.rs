//! The operator's commands, as the binary runs them: results, exit codes, and what they refuse.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::path::Path;
use std::process::{Command, Output};

use common::people::{Keys, People, with_people};
use common::{Call, TestServer};
use serde_json::{Value, json as object};
use tempfile::TempDir;
use vb_commit::{LocalOptions, Store};
use vb_engine::{
    BucketId, BucketSettings, Engine, GetRequest, IndexSettings, Options, PutBatch, VectorColumn,
};
use vb_search::{Attributes, Metric, Schema, VectorField};
use vb_server::{Config, StoreUrl};

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

/// A service over a folder, with a key ring.
async fn serve(folder: &Path, people: &TempDir) -> TestServer {
    TestServer::with(|config: &mut Config| {
        with_people(config, people.path());
        config.store = StoreUrl::Local(folder.to_owned());
    })
    .await
}

/// A user with a key whom the policy of `vec` lets look at the bucket; nothing else does.
async fn build_with_alice(folder: &Path, people: &TempDir) -> Keys {
    let server = serve(folder, people).await;
    server.index("vec", "docs", 2, "euclidean").await;
    let all = People(server.handle.identities());
    let alice = all.user(ACCOUNT, "alice").await;
    let policy = object!({"Version": "1", "Statement": [{"Effect": "Allow",
        "Action": ["oss:GetVectorBucket"], "Resource": ["*"],
        "Principal": [all.uid(ACCOUNT, "alice")]}]});
    server.ok(&Call::new("PUT", "vec", "policy").with_body(policy.to_string())).await;
    server.handle.shutdown().await.unwrap();
    alice
}

fn look() -> Call {
    Call::new("GET", "vec", "bucketInfo")
}

#[tokio::test]
async fn who_may_call_comes_back_with_the_buckets() {
    let (folder, people) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (store, place, other) = (path("store"), path("place"), path("other"));
    let alice = build_with_alice(Path::new(&store), &people).await;

    let first = json(&["backup", "--store", &store, "--to", &place, "--verify"], 0);
    assert_eq!(first["identities"]["number"], 1);
    assert_eq!(first["identities"]["damage"], Value::Array(Vec::new()));
    let alone = json(&["backup", "--store", &store, "--to", &place, "--bucket", "vec"], 0);
    assert_eq!(alone["identities"], Value::Null);
    let again = json(&["backup", "--store", &store, "--to", &place, "--keep", "1"], 0);
    assert_eq!(
        (&again["identities"]["number"], &again["pruned"]["backups"]),
        (&2.into(), &3.into())
    );
    let listed = json(&["backup", "--to", &place, "--list", "--verify"], 0);
    assert_eq!(listed[1]["identities"], true);
    assert_eq!(listed.as_array().unwrap().len(), 2);
    for file in walk(Path::new(&place)) {
        let bytes = std::fs::read(&file).unwrap();
        let has = |text: &str| bytes.windows(text.len()).any(|part| part == text.as_bytes());
        assert!(!has(&alice.secret), "a secret in {}", file.display());
    }

    let restored = json(&["restore", "--from", &place, "--store", &other, "--verify"], 0);
    assert_eq!(restored["identities"], object!({"number": 2, "outcome": "restored"}));
    let server = serve(Path::new(&other), &people).await;
    assert_eq!(server.send(&alice.sign(&look())).await.status, 200);
    let indexes = Call::post("vec", "listVectorIndexes", &object!({}));
    assert_eq!(server.send(&alice.sign(&indexes)).await.status, 403);
    server.handle.shutdown().await.unwrap();
    json(&["fsck", "--store", &other], 0);
}

#[tokio::test]
async fn a_store_keeps_its_own_identities() {
    let (folder, people) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (store, place, other, new) = (path("store"), path("place"), path("other"), path("new"));
    build_with_alice(Path::new(&store), &people).await;
    json(&["backup", "--store", &store, "--to", &place], 0);
    let only = |to| ["restore", "--from", &place, "--store", to, "--identities"];
    assert_eq!(json(&only(&new), 0)["identities"]["outcome"], "restored");
    assert_eq!(json(&only(&new), 0)["identities"]["outcome"], "there");
    assert_eq!(json(&["stat", "--store", &new], 0), Value::Array(Vec::new()));

    let server = serve(Path::new(&other), &people).await;
    let bob = People(server.handle.identities()).user(ACCOUNT, "bob").await;
    server.handle.shutdown().await.unwrap();
    refused(&only(&other), 7, "of its own");
    let restored = json(&["restore", "--from", &place, "--store", &other], 0);
    assert_eq!(restored["identities"]["outcome"], "kept");
    assert_eq!(restored["restored"][0]["bucket"], "vec");
    let server = serve(Path::new(&other), &people).await;
    // Known, and without a right.
    assert_eq!(server.send(&bob.sign(&look())).await.json()["Error"]["Code"], "AccessDenied");
    server.handle.shutdown().await.unwrap();
    refused(
        &["restore", "--from", &place, "--store", &path("x"), "--identities", "--number", "9"],
        7,
        "no such backup",
    );
}

#[tokio::test]
async fn damaged_identities_are_found_and_not_restored() {
    let (folder, people) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (store, place, other) = (path("store"), path("place"), path("other"));
    build_with_alice(Path::new(&store), &people).await;
    json(&["backup", "--store", &store, "--to", &place], 0);
    damage(&walk(&Path::new(&place).join("identity"))[0]);
    let listed = run(&["backup", "--to", &place, "--list"]);
    assert!(!listed.status.success());
    let report = json(&["restore", "--from", &place, "--store", &other, "--verify"], 11);
    assert!(report["damage"][0].as_str().unwrap().contains("identity/"), "{report}");
    refused(&["restore", "--from", &place, "--store", &other], 7, "identity/");

    let manifest = walk(&Path::new(&store).join("identity/manifest"));
    damage(manifest.last().unwrap());
    let report = json(&["fsck", "--store", &store], 11);
    assert_eq!(report["findings"][0]["kind"], "identity-damaged");
}

/// Every file of a folder.
fn walk(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(walk(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// Changes the last byte of a file.
fn damage(file: &Path) {
    let mut bytes = std::fs::read(file).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(file, bytes).unwrap();
}
