//! A store whose bytes were changed: a clear error or the right answer, never a wrong one.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::path::{Path, PathBuf};

use common::{
    Model, batch, bucket, check_all, engine, get, index, key, list_all, page, query, quiet,
    two_fields,
};
use vb_commit::{LocalOptions, Store};
use vb_engine::{Error, IndexHandle, Options};
use vb_search::{Attributes, Filter, Scalar, Test, Value};

/// A store folder with catalog and index logs, manifests, two segments, a deletion bitmap.
async fn build(dir: &Path) -> Model {
    let store = Store::local(dir, LocalOptions { fsync: false }).unwrap();
    let engine = engine(&store, quiet()).await;
    let index = index(&engine, "index", two_fields()).await;
    let mut model = Model::default();
    for round in 0..3usize {
        let rows: Vec<_> = (round * 20..round * 20 + 40).map(|n| (key(n), record(n))).collect();
        index.put(batch(index.schema(), &rows)).await.unwrap();
        model.put(&rows);
        let doomed: Vec<_> = (round * 9..round * 9 + 4).map(key).collect();
        index.delete(doomed.clone()).await.unwrap();
        model.delete(&doomed);
        if round < 2 {
            index.flush().await.unwrap();
        }
    }
    check_all(&index, &model).await;
    engine.shutdown().await;
    model
}

fn record(n: usize) -> common::Record {
    let colour = Value::One(Scalar::String(["red", "green", "blue"][n % 3].into()));
    let size = Value::One(Scalar::Integer(n as i64 % 11));
    common::Record {
        vectors: vec![
            (!n.is_multiple_of(5)).then(|| vec![n as f32, (n % 3) as f32, 1.0]),
            (!n.is_multiple_of(4)).then(|| vec![(n % 7) as f32, 2.0]),
        ],
        metadata: (!n.is_multiple_of(6))
            .then(|| format!("{{\"text\":\"number {n} of many\"}}").into()),
        attributes: Attributes::from_pairs(vec![("colour".into(), colour), ("size".into(), size)]),
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Reads everything in every way; every answer is right or an error. Returns whether any failed.
async fn read_all(dir: &Path, model: &Model) -> bool {
    let options = Options { threads: Some(1), ..quiet() };
    let store = match Store::local(dir, LocalOptions { fsync: false }) {
        Ok(store) => store,
        Err(_) => return true,
    };
    let engine = engine(&store, options).await;
    let damaged = match engine.resolve(&bucket(), b"index").await {
        Ok(index) => read_index(&index, model).await,
        Err(error) => is_clear(&error),
    };
    engine.shutdown().await;
    damaged
}

async fn read_index(index: &IndexHandle, model: &Model) -> bool {
    let red = Filter::Test { key: "colour".into(), test: Test::Eq(Scalar::String("red".into())) };
    let mut damaged = false;
    let mut query = query(&[3.0, 1.0, 1.0], 100);
    for (field, filter) in [(0, Filter::All), (0, red.clone()), (1, Filter::All), (1, red)] {
        query.field = field;
        query.vector.truncate(if field == 0 { 3 } else { 2 });
        query.filter = filter;
        match index.query(query.clone()).await {
            Ok(hits) => assert_eq!(hits, model.query(index.schema(), &query)),
            Err(error) => damaged |= is_clear(&error),
        }
    }
    let keys: Vec<_> = (0..80).map(key).collect();
    match index.get(get(keys.clone())).await {
        Ok(rows) => {
            let expected: Vec<_> = keys.iter().map(|key| model.row(key, true, true)).collect();
            assert_eq!(rows, expected);
        }
        Err(error) => damaged |= is_clear(&error),
    }
    match index.list(page(1000)).await {
        Ok(_) => assert_eq!(list_all(index, page(1000)).await.len(), model.records.len()),
        Err(error) => damaged |= is_clear(&error),
    }
    damaged
}

/// A damaged object is named.
fn is_clear(error: &Error) -> bool {
    match error {
        Error::Corrupt { path, .. } => assert!(!path.is_empty()),
        Error::Storage(_) | Error::NoSuchBucket | Error::NoSuchIndex => {}
        other => panic!("not an error of a damaged store: {other}"),
    }
    true
}

/// One bit in every object, at many places: never a panic, never a wrong answer; and wherever it
/// matters the damage is told.
#[tokio::test]
async fn a_flipped_bit_is_an_error_or_harmless() {
    let dir = tempfile::tempdir().unwrap();
    let model = build(dir.path()).await;
    assert!(!read_all(dir.path(), &model).await);
    let mut flips = 0;
    let mut told = 0;
    for path in files(dir.path()).into_iter().filter(|path| is_object(path)) {
        let whole = std::fs::read(&path).unwrap();
        let step = (whole.len() / 60).max(1);
        for at in (0..whole.len()).step_by(step) {
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << (at % 8);
            std::fs::write(&path, flipped).unwrap();
            flips += 1;
            told += usize::from(read_all(dir.path(), &model).await);
        }
        std::fs::write(&path, whole).unwrap();
    }
    // What may go unnoticed: padding between sections, and folded slots that only keep the tip.
    assert!(told * 10 > flips * 6, "{told} of {flips} flipped bits were told");
    assert!(!read_all(dir.path(), &model).await, "the store is whole again");
}

/// Every object cut short, emptied, or lost.
#[tokio::test]
async fn a_cut_or_missing_object_is_an_error_or_harmless() {
    let dir = tempfile::tempdir().unwrap();
    let model = build(dir.path()).await;
    for path in files(dir.path()).into_iter().filter(|path| is_object(path)) {
        let whole = std::fs::read(&path).unwrap();
        for length in [0, whole.len() / 2, whole.len() - 1] {
            std::fs::write(&path, &whole[..length]).unwrap();
            read_all(dir.path(), &model).await;
        }
        if path.to_string_lossy().contains("/segment/") {
            std::fs::remove_file(&path).unwrap();
            assert!(read_all(dir.path(), &model).await);
        }
        std::fs::write(&path, &whole).unwrap();
    }
    assert!(!read_all(dir.path(), &model).await, "the store is whole again");
}

fn is_object(path: &Path) -> bool {
    let path = path.to_string_lossy();
    path.contains("/catalog/") || path.contains("/index/")
}
