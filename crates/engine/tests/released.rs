//! Stores that released versions have written open, and hold exactly what was put into them.
//!
//! `fixtures/store-v1` is what [`write_the_fixture`] left when format 1 was settled. It is never
//! written again: a format that changes gets a fixture of its own beside it.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::{Model, Record, batch, bucket, check_all, engine, key, query, quiet, two_fields};
use vb_commit::{Clock, LocalOptions, Store};
use vb_engine::{BucketChange, BucketSettings, Engine, IndexState, LoggingTarget, Options};
use vb_search::{Attributes, Filter, Number, Scalar, Test, Value};

const CREATED_MS: u64 = 1_700_000_000_123;

#[derive(Debug)]
struct Fixed;

impl Clock for Fixed {
    fn unix_ms(&self) -> u64 {
        CREATED_MS
    }
}

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/store-v1")
}

fn local(dir: &Path) -> Store {
    Store::local(dir, LocalOptions { fsync: false }).unwrap()
}

fn options() -> Options {
    Options { clock: Arc::new(Fixed), ..quiet() }
}

/// Every kind of value, records that lack a field, and one that has nothing but a key.
fn record(n: usize) -> Record {
    let text = |text: &str| Scalar::String(text.into());
    let pairs = vec![
        ("colour".into(), Value::One(text(["red", "green", "bl\u{fc}"][n % 3]))),
        ("size".into(), Value::One(Scalar::Integer(n as i64 - 8))),
        ("weight".into(), Value::One(Scalar::Float(n as f64 / 4.0))),
        ("fresh".into(), Value::One(Scalar::Bool(n.is_multiple_of(2)))),
        ("tags".into(), Value::Many((0..n % 4).map(|tag| text(&format!("t{tag}"))).collect())),
    ];
    if n == 13 {
        let vectors = vec![None, None];
        return Record { vectors, metadata: None, attributes: Attributes::default() };
    }
    Record {
        vectors: vec![
            (!n.is_multiple_of(5)).then(|| vec![n as f32, (n % 3) as f32, -1.0]),
            (!n.is_multiple_of(4)).then(|| vec![(n % 7) as f32, 2.0]),
        ],
        metadata: (!n.is_multiple_of(6)).then(|| format!("{{\"text\":\"number {n}\"}}").into()),
        attributes: Attributes::from_pairs(pairs),
    }
}

fn rows(numbers: std::ops::Range<usize>) -> Vec<(Box<[u8]>, Record)> {
    numbers.map(|n| (key(n), record(n))).collect()
}

/// One step of what was done to the index.
enum Step {
    Put(Vec<(Box<[u8]>, Record)>),
    Delete(Vec<Box<[u8]>>),
    Flush,
}

/// Leaves two segments, one with deleted documents, and a tail of two slots, which overwrites and
/// deletes records of the segments.
fn steps() -> Vec<Step> {
    vec![
        Step::Put(rows(0..16)),
        Step::Delete(vec![key(2), key(99)]),
        Step::Flush,
        Step::Put(rows(12..24)),
        Step::Flush,
        Step::Put(vec![(key(3), record(30)), (key(40), record(40))]),
        Step::Delete(vec![key(5), key(20)]),
    ]
}

fn model() -> Model {
    let mut model = Model::default();
    for step in steps() {
        match step {
            Step::Put(rows) => model.put(&rows),
            Step::Delete(keys) => model.delete(&keys),
            Step::Flush => {}
        }
    }
    model
}

fn target() -> LoggingTarget {
    LoggingTarget { bucket: "logs".into(), prefix: "a/".into(), role: "writer".into() }
}

fn bucket_settings() -> BucketSettings {
    BucketSettings { resource_group: "rg-1".into(), tags: vec![("team".into(), "search".into())] }
}

/// Makes the fixture where there is none yet: `cargo test -p vb-engine --test released -- --ignored`.
#[tokio::test]
#[ignore = "writes the fixture"]
async fn write_the_fixture() {
    assert!(!fixture().exists(), "a released fixture is not written again");
    let store = local(&fixture());
    let engine = engine(&store, options()).await;
    engine.create_bucket(&bucket(), bucket_settings()).await.unwrap();
    for change in [
        BucketChange::Policy(Some("{\"Version\":\"1\"}".into())),
        BucketChange::Logging(Some(target())),
    ] {
        engine.configure_bucket(&bucket(), change).await.unwrap();
    }
    engine.create_index(&bucket(), b"index", common::settings(two_fields())).await.unwrap();
    let index = engine.resolve(&bucket(), b"index").await.unwrap();
    for step in steps() {
        match step {
            Step::Put(rows) => index.put(batch(index.schema(), &rows)).await.unwrap(),
            Step::Delete(keys) => index.delete(keys).await.unwrap(),
            Step::Flush => index.flush().await.unwrap(),
        }
    }
    check_all(&index, &model()).await;
    engine.shutdown().await;
    drop((index, engine, store));
    std::fs::remove_file(fixture().join("lock#0")).unwrap();
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}

#[tokio::test]
async fn a_store_of_format_1_holds_what_was_put_into_it() {
    let dir = tempfile::tempdir().unwrap();
    copy(&fixture(), dir.path());
    let first = engine(&local(dir.path()), options()).await;
    check_catalog(&first).await;
    check_index(&first).await;
    assert_eq!(first.stats().segments, 2);
    // It can be written and folded, and found again by the next process.
    let index = first.resolve(&bucket(), b"index").await.unwrap();
    index.flush().await.unwrap();
    check_index(&first).await;
    assert_eq!(first.stats().segments, 3);
    first.shutdown().await;
    drop((index, first));
    let second = engine(&local(dir.path()), options()).await;
    check_catalog(&second).await;
    check_index(&second).await;
    second.shutdown().await;
}

async fn check_catalog(engine: &Engine) {
    let records = engine.list_buckets(&bucket().account).await.unwrap();
    let [record] = records.as_slice() else { panic!("one bucket, not {records:?}") };
    assert_eq!((&*record.name, record.created_ms), (&b"bucket"[..], CREATED_MS));
    assert_eq!(record.resource_group, bucket_settings().resource_group);
    assert_eq!(record.tags, bucket_settings().tags);
    assert_eq!(record.policy.as_deref(), Some(&b"{\"Version\":\"1\"}"[..]));
    assert_eq!(record.logging, Some(target()));
    let indexes = engine.list_indexes(&bucket()).await.unwrap();
    let [index] = indexes.as_slice() else { panic!("one index, not {indexes:?}") };
    assert_eq!((&*index.name, index.created_ms), (&b"index"[..], CREATED_MS));
    assert_eq!(index.state, IndexState::Live);
    assert_eq!(*index.settings, common::settings(two_fields()));
}

async fn check_index(engine: &Engine) {
    let index = engine.resolve(&bucket(), b"index").await.unwrap();
    let model = model();
    check_all(&index, &model).await;
    let one = |key: &str, test| Filter::Test { key: key.into(), test };
    for filter in [
        one("colour", Test::Eq(Scalar::String("bl\u{fc}".into()))),
        one("size", Test::Lt(Number::Float(0.5))),
        one("weight", Test::In(vec![Scalar::Integer(2), Scalar::Float(3.25)])),
        one("fresh", Test::Ne(Scalar::Bool(true))),
        one("tags", Test::NotIn(vec![Scalar::String("t1".into())])),
        one("tags", Test::Exists(false)),
    ] {
        let mut query = query(&[4.0, 1.0, 0.0], 50);
        query.filter = filter;
        assert_eq!(index.query(query.clone()).await.unwrap(), model.query(index.schema(), &query));
    }
}
