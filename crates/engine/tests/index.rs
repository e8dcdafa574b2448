//! One index: replay, flush, deletion, errors of the caller.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::{
    Model, Record, batch, bucket, check_all, engine, get, index, key, list_all, one_field, page,
    query, quiet, record, shared, sole,
};
use vb_commit::{LocalOptions, Store};
use vb_engine::{Engine, Error, IndexHandle, Options, PutBatch, VectorColumn};
use vb_search::{Attributes, Filter, Number, Scalar, Test, Value};

fn local(dir: &tempfile::TempDir) -> Store {
    Store::local(dir.path(), LocalOptions { fsync: false }).unwrap()
}

async fn put(index: &IndexHandle, model: &mut Model, numbers: std::ops::Range<usize>, value: f32) {
    let rows: Vec<_> = numbers.map(|n| (key(n), record(&[n as f32 % 7.0, value]))).collect();
    index.put(batch(index.schema(), &rows)).await.unwrap();
    model.put(&rows);
}

async fn delete(index: &IndexHandle, model: &mut Model, numbers: std::ops::Range<usize>) {
    let keys: Vec<_> = numbers.map(key).collect();
    index.delete(keys.clone()).await.unwrap();
    model.delete(&keys);
}

#[tokio::test]
async fn a_restart_finds_every_acknowledged_write_in_log_and_segments() {
    let dir = tempfile::tempdir().unwrap();
    let mut model = Model::default();
    for round in 0..4usize {
        let engine = engine(&local(&dir), quiet()).await;
        let index = match engine.resolve(&bucket(), b"index").await {
            Ok(index) => index,
            Err(_) => index(&engine, "index", one_field(2)).await,
        };
        check_all(&index, &model).await;
        put(&index, &mut model, round * 20..round * 20 + 40, round as f32).await;
        delete(&index, &mut model, round * 20 + 5..round * 20 + 10).await;
        if round % 2 == 0 {
            index.flush().await.unwrap();
        }
        put(&index, &mut model, round * 10..round * 10 + 3, 0.5).await;
        check_all(&index, &model).await;
        engine.shutdown().await;
    }
}

/// What kill -9 leaves: nothing was closed, nothing flushed.
#[tokio::test]
async fn an_engine_that_just_vanishes_loses_nothing() {
    let store = sole();
    let mut model = Model::default();
    {
        let engine = engine(&store, quiet()).await;
        let index = index(&engine, "index", one_field(2)).await;
        put(&index, &mut model, 0..30, 1.0).await;
        index.flush().await.unwrap();
        put(&index, &mut model, 20..50, 2.0).await;
        delete(&index, &mut model, 0..10).await;
    }
    let engine = engine(&store, quiet()).await;
    let index = engine.resolve(&bucket(), b"index").await.unwrap();
    check_all(&index, &model).await;
}

#[tokio::test]
async fn a_flush_folds_and_removes_what_it_folded() {
    let store = sole();
    let engine = engine(&store, quiet()).await;
    let index = index(&engine, "index", one_field(2)).await;
    let mut model = Model::default();
    for round in 0..10 {
        put(&index, &mut model, 0..20, round as f32).await;
    }
    index.flush().await.unwrap();
    check_all(&index, &model).await;
    let paths = objects(&store, &index).await;
    assert_eq!(count(&paths, "/segment/"), 1, "{paths:?}");
    assert!(count(&paths, "/log/") <= 1, "only the highest slot stays: {paths:?}");
    assert_eq!(engine.stats().flushes, 1);
    assert_eq!(engine.stats().memtable_bytes, 0);
    // Nothing to fold: nothing happens.
    index.flush().await.unwrap();
    assert_eq!(engine.stats().flushes, 1);
    // Deletes alone are folded, and a segment without a live record disappears.
    delete(&index, &mut model, 0..20).await;
    index.flush().await.unwrap();
    check_all(&index, &model).await;
    let paths = objects(&store, &index).await;
    assert_eq!(count(&paths, "/segment/"), 0, "{paths:?}");
}

async fn objects(store: &Store, index: &IndexHandle) -> Vec<String> {
    let listed = store.list_after(&format!("index/{}", index.id()), None).await.unwrap();
    listed.into_iter().map(|object| object.path).collect()
}

fn count(paths: &[String], part: &str) -> usize {
    paths.iter().filter(|path| path.contains(part)).count()
}

/// What a crash in the middle of a flush left behind goes when the index is next opened.
#[tokio::test]
async fn strays_of_a_crashed_flush_are_removed() {
    let store = sole();
    let first = engine(&store, quiet()).await;
    let handle = index(&first, "index", one_field(2)).await;
    let mut model = Model::default();
    put(&handle, &mut model, 0..20, 1.0).await;
    handle.flush().await.unwrap();
    first.shutdown().await;
    let before = objects(&store, &handle).await;
    for folder in ["segment", "bitmap"] {
        let stray = format!("index/{}/{folder}/{:032x}", handle.id(), 7);
        store.put(&stray, "half of a flush".into()).await.unwrap();
    }
    let second = engine(&store, quiet()).await;
    check_all(&second.resolve(&bucket(), b"index").await.unwrap(), &model).await;
    // In the background, some time after the index was opened.
    let removed = async {
        while objects(&store, &handle).await != before {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), removed).await.unwrap();
}

/// A deletion bitmap too large for the manifest goes into an object, is read back after a restart,
/// is kept while it does not change and replaced when it does.
#[tokio::test]
async fn large_deletion_bitmaps_are_objects() {
    let store = sole();
    let mut engine = engine(&store, quiet()).await;
    let mut index = index(&engine, "index", one_field(1)).await;
    // Every third of 600,000 documents: 8 KiB per 65,536 of them, more than 64 KiB.
    let rows = 600_000usize;
    for start in (0..rows).step_by(50_000) {
        let numbers = start..start + 50_000;
        let batch = PutBatch {
            keys: numbers.clone().map(key).collect(),
            vectors: vec![VectorColumn {
                values: numbers.clone().map(|n| n as f32).collect(),
                present: None,
            }],
            metadata: vec![None; numbers.len()],
            attributes: vec![Default::default(); numbers.len()],
        };
        index.put(batch).await.unwrap();
    }
    index.flush().await.unwrap();
    let doomed = |n: &usize| n.is_multiple_of(3);
    for start in (0..rows).step_by(50_000) {
        let keys = (start..start + 50_000).filter(doomed).map(key).collect();
        index.delete(keys).await.unwrap();
    }
    index.flush().await.unwrap();
    let bitmaps = |paths: Vec<String>| -> Vec<String> {
        paths.into_iter().filter(|path| path.contains("/bitmap/")).collect()
    };
    let first = bitmaps(objects(&store, &index).await);
    assert_eq!(first.len(), 1);
    for round in 0..2 {
        engine.shutdown().await;
        engine = common::engine(&store, quiet()).await;
        index = engine.resolve(&bucket(), b"index").await.unwrap();
        let found = index.get(get(vec![key(3), key(4)])).await.unwrap();
        assert_eq!((found[0].is_some(), found[1].is_some()), (false, round == 0));
        let hits = index.query(query(&[300_000.0], 3)).await.unwrap();
        let keys: Vec<&[u8]> = hits.iter().map(|hit| hit.key.as_ref()).collect();
        assert_eq!(keys, [&b"key-299999"[..], b"key-300001", b"key-299998"]);
        let other = (key(rows + round), record(&[1.0]));
        index.put(batch(index.schema(), &[other])).await.unwrap();
        if round == 0 {
            index.flush().await.unwrap();
            assert_eq!(bitmaps(objects(&store, &index).await), first, "it did not change");
            index.delete(vec![key(4)]).await.unwrap();
        }
        index.flush().await.unwrap();
    }
    let last = bitmaps(objects(&store, &index).await);
    assert_eq!(last.len(), 1);
    assert_ne!(last, first);
}

/// Writers, deleters, readers and flushes at the same time; at the end the index is the model.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flushes_run_beside_writes_deletes_and_reads() {
    let store = sole();
    let options = Options { memtable_bytes_max: 20_000, ..quiet() };
    let engine = engine(&store, options).await;
    let index = index(&engine, "index", one_field(2)).await;
    let stop = Arc::new(AtomicBool::new(false));
    // Each writer owns its keys, so that it knows what it must read back.
    let writers = (0..4usize).map(|writer| {
        let index = index.clone();
        tokio::spawn(async move {
            let mut model = Model::default();
            for round in 0..60usize {
                let base = writer * 1000 + round % 17 * 10;
                put(&index, &mut model, base..base + 10, round as f32).await;
                delete(&index, &mut model, base + round % 10..base + round % 10 + 2).await;
                let keys: Vec<_> = (base..base + 10).map(key).collect();
                let expected: Vec<_> = keys.iter().map(|key| model.row(key, true, true)).collect();
                assert_eq!(index.get(get(keys)).await.unwrap(), expected, "own writes are seen");
            }
            model
        })
    });
    let writers: Vec<_> = writers.collect();
    let flusher = tokio::spawn({
        let (index, stop) = (index.clone(), Arc::clone(&stop));
        async move {
            while !stop.load(Ordering::Relaxed) {
                match index.flush().await {
                    Ok(()) | Err(Error::Conflict) => tokio::task::yield_now().await,
                    Err(error) => panic!("{error}"),
                }
            }
        }
    });
    let reader = tokio::spawn({
        let (index, stop) = (index.clone(), Arc::clone(&stop));
        async move {
            while !stop.load(Ordering::Relaxed) {
                // A stable set of keys can only grow here: no key is listed twice.
                let rows = list_all(&index, page(50)).await;
                let mut keys: Vec<_> = rows.iter().map(|row| row.key.clone()).collect();
                keys.sort_unstable();
                assert!(keys.is_sorted_by(|a, b| a < b), "a key is listed once");
                let hits = index.query(query(&[1.0, 1.0], 20)).await.unwrap();
                assert!(hits.is_sorted_by(|a, b| (a.distance, &a.key) < (b.distance, &b.key)));
            }
        }
    });
    let mut model = Model::default();
    for writer in writers {
        model.records.extend(writer.await.unwrap().records);
    }
    stop.store(true, Ordering::Relaxed);
    flusher.await.unwrap();
    reader.await.unwrap();
    check_all(&index, &model).await;
    assert!(engine.stats().flushes > 3, "{:?}", engine.stats());
    engine.shutdown().await;
    let engine = common::engine(&store, quiet()).await;
    let index = engine.resolve(&bucket(), b"index").await.unwrap();
    check_all(&index, &model).await;
}

#[tokio::test]
async fn the_driver_flushes_full_memtables_and_closes_idle_indexes() {
    let store = sole();
    let options =
        Options { memtable_bytes_max: 4000, idle_after: Duration::from_millis(300), ..quiet() };
    let engine = engine(&store, options).await;
    let index = index(&engine, "index", one_field(2)).await;
    let mut model = Model::default();
    put(&index, &mut model, 0..100, 1.0).await;
    until(|| engine.stats().flushes >= 1).await;
    until(|| engine.stats().indexes_open == 0 && engine.stats().buckets_open == 0).await;
    // The handle opens it again.
    check_all(&index, &model).await;
    put(&index, &mut model, 50..120, 2.0).await;
    check_all(&index, &model).await;
    assert!(engine.stats().opens >= 2);
}

async fn until(condition: impl Fn() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(60), async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    waited.await.expect("the condition comes true");
}

#[tokio::test]
async fn a_deleted_index_is_gone_for_handles_names_and_objects() {
    deleted_index_is_gone(sole(), quiet()).await;
}

/// With other writers about, the last trace goes after the grace period.
#[tokio::test]
async fn a_deleted_index_is_gone_from_a_shared_store() {
    let options = Options { sweep_grace: Duration::from_millis(200), ..quiet() };
    deleted_index_is_gone(shared(), options).await;
}

async fn deleted_index_is_gone(store: Store, options: Options) {
    let engine = engine(&store, options).await;
    let old = index(&engine, "index", one_field(2)).await;
    let mut model = Model::default();
    put(&old, &mut model, 0..10, 1.0).await;
    old.flush().await.unwrap();
    put(&old, &mut model, 0..5, 2.0).await;
    engine.delete_index(&bucket(), b"index").await.unwrap();
    assert!(matches!(engine.resolve(&bucket(), b"index").await, Err(Error::NoSuchIndex)));
    assert_eq!(engine.list_indexes(&bucket()).await.unwrap(), Vec::new());
    assert_gone(&old).await;
    let new = index(&engine, "index", one_field(2)).await;
    check_all(&new, &Model::default()).await;
    assert_gone(&old).await;
    until_removed(&store, &old).await;
}

async fn assert_gone(index: &IndexHandle) {
    let rows = [(key(1), record(&[1.0, 1.0]))];
    assert!(matches!(index.put(batch(index.schema(), &rows)).await, Err(Error::NoSuchIndex)));
    assert!(matches!(index.delete(vec![key(1)]).await, Err(Error::NoSuchIndex)));
    assert!(matches!(index.get(get(vec![key(1)])).await, Err(Error::NoSuchIndex)));
    assert!(matches!(index.list(page(1)).await, Err(Error::NoSuchIndex)));
    assert!(matches!(index.query(query(&[0.0, 0.0], 1)).await, Err(Error::NoSuchIndex)));
}

async fn until_removed(store: &Store, index: &IndexHandle) {
    let waited = tokio::time::timeout(Duration::from_secs(60), async {
        while !objects(store, index).await.is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    waited.await.expect("the objects are removed");
}

#[tokio::test]
async fn a_batch_of_another_shape_is_refused() {
    let store = sole();
    let engine = engine(&store, quiet()).await;
    let index = index(&engine, "index", one_field(2)).await;
    let good = || batch(index.schema(), &[(key(1), record(&[1.0, 2.0]))]);
    let mut short = good();
    short.vectors[0].values.pop();
    let mut fields = good();
    fields.vectors.clear();
    let mut columns = good();
    columns.metadata.clear();
    for bad in [short, fields, columns] {
        assert!(matches!(index.put(bad).await, Err(Error::Invalid(_))));
    }
    assert!(matches!(index.query(query(&[1.0], 1)).await, Err(Error::Invalid(_))));
    assert!(matches!(index.query(query(&[1.0, f32::NAN], 1)).await, Err(Error::Invalid(_))));
    check_all(&index, &Model::default()).await;
    index.put(PutBatch::default()).await.unwrap_err();
    index.delete(Vec::new()).await.unwrap();
}

#[tokio::test]
async fn a_batch_larger_than_a_slot_is_refused_and_one_that_fits_is_not() {
    let store = sole();
    let engine = engine(&store, quiet()).await;
    let index = index(&engine, "index", one_field(4096)).await;
    let rows = |count: usize| PutBatch {
        keys: (0..count).map(key).collect(),
        vectors: vec![VectorColumn { values: vec![1.0; count * 4096], present: None }],
        metadata: vec![Some(bytes::Bytes::from(vec![b'x'; 40_000])); count],
        attributes: vec![Default::default(); count],
    };
    index.put(rows(500)).await.unwrap();
    assert!(matches!(index.put(rows(700)).await, Err(Error::TooLarge { .. })));
    assert_eq!(index.query(query(&[1.0; 4096], 600)).await.unwrap().len(), 500);
}

#[tokio::test]
async fn many_concurrent_puts_share_commits() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::local(dir.path(), LocalOptions { fsync: true }).unwrap();
    let engine: Engine = engine(&store, quiet()).await;
    let index = index(&engine, "index", one_field(2)).await;
    let puts = (0..200usize).map(|n| {
        let index = index.clone();
        async move { index.put(batch(index.schema(), &[(key(n), record(&[1.0, 1.0]))])).await }
    });
    for done in futures_util::future::join_all(puts).await {
        done.unwrap();
    }
    let stats = engine.stats();
    assert_eq!(stats.batches, 200);
    assert!(stats.commits < 100, "{} commits", stats.commits);
    assert_eq!(stats.records, 200);
    engine.shutdown().await;
}

/// Enough rows for many chunks, several segments and scans that are shared out, with coordinates so
/// coarse that most distances are tied.
#[tokio::test]
async fn large_scans_agree_with_the_model() {
    let store = sole();
    let engine = engine(&store, quiet()).await;
    let index = index(&engine, "index", one_field(16)).await;
    let mut model = Model::default();
    for part in 0..8usize {
        let vector = |n: usize| -> Vec<f32> {
            (0..16).map(|at| ((n * 7919 + at * 104_729) % 31 % 3) as f32).collect()
        };
        let rows: Vec<_> = (part * 5000..part * 5000 + 6000)
            .map(|n| {
                let attributes =
                    vec![("n".into(), Value::One(Scalar::Integer((n * 31 % 1000) as i64)))];
                let attributes = Attributes::from_pairs(attributes);
                (key(n), Record { attributes, ..record(&vector(n)) })
            })
            .collect();
        index.put(batch(index.schema(), &rows)).await.unwrap();
        model.put(&rows);
        delete(&index, &mut model, part * 4000..part * 4000 + 300).await;
        if part % 3 == 1 {
            index.flush().await.unwrap();
        }
    }
    for (top_k, below) in [(1, None), (10, None), (500, None), (10, Some(1)), (50, Some(500))] {
        let mut query = query(&[1.0; 16], top_k);
        // So many records are equally near that nothing else says which are the nearest.
        query.precision = vb_engine::Precision::Exact;
        if let Some(below) = below {
            let test = Test::Lt(Number::Integer(below));
            query.filter = Filter::Test { key: "n".into(), test };
        }
        let expected = model.query(index.schema(), &query);
        assert_eq!(index.query(query).await.unwrap(), expected);
    }
    check_all(&index, &model).await;
}

/// Closing what is idle never loses or fails a call, however often it happens.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_go_on_while_their_index_is_closed_and_opened_again() {
    let store = sole();
    let engine = engine(&store, Options { idle_after: Duration::ZERO, ..quiet() }).await;
    let index = index(&engine, "index", one_field(2)).await;
    let tasks = (0..3usize).map(|task| {
        let (engine, index) = (engine.clone(), index.clone());
        tokio::spawn(async move {
            let mut model = Model::default();
            let mut round = 0usize;
            while engine.stats().opens < 4 {
                round += 1;
                let base = task * 100 + round % 9;
                put(&index, &mut model, base..base + 3, round as f32).await;
                let keys: Vec<_> = (base..base + 3).map(key).collect();
                let expected: Vec<_> = keys.iter().map(|key| model.row(key, true, true)).collect();
                assert_eq!(index.get(get(keys)).await.unwrap(), expected);
                engine.bucket(&bucket()).await.unwrap();
            }
            model
        })
    });
    let tasks: Vec<_> = tasks.collect();
    let mut model = Model::default();
    for task in tasks {
        model.records.extend(task.await.unwrap().records);
    }
    check_all(&index, &model).await;
}

/// Clients that go away in the middle of a put: each batch is there whole or not at all, and what was
/// answered is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn puts_whose_callers_vanish_are_whole_or_nothing() {
    let store = sole();
    let first = engine(&store, quiet()).await;
    let handle = index(&first, "index", one_field(2)).await;
    let mut answered = Vec::new();
    for round in 0..60usize {
        let rows: Vec<_> =
            (0..20).map(|n| (key(round * 20 + n), record(&[round as f32, n as f32]))).collect();
        let put = tokio::spawn({
            let handle = handle.clone();
            async move { handle.put(batch(handle.schema(), &rows)).await }
        });
        // From before the request is sent to after it is answered.
        for _ in 0..round % 12 {
            tokio::task::yield_now().await;
        }
        put.abort();
        if let Ok(done) = put.await {
            done.unwrap();
            answered.push(round);
        }
        if round % 20 == 7 {
            handle.flush().await.unwrap();
        }
    }
    let check = async |handle: &IndexHandle| {
        for round in 0..60usize {
            let keys: Vec<_> = (0..20).map(|n| key(round * 20 + n)).collect();
            let found = handle.get(get(keys)).await.unwrap().iter().flatten().count();
            assert!(found == 20 || found == 0 && !answered.contains(&round), "{round}: {found}");
        }
    };
    check(&handle).await;
    first.shutdown().await;
    let second = engine(&store, quiet()).await;
    check(&second.resolve(&bucket(), b"index").await.unwrap()).await;
}

/// The widest schema, the largest numbers, records without some or all of their fields; in memory, in
/// a segment, after a restart.
#[tokio::test]
async fn the_widest_schema_holds_the_largest_numbers() {
    let schema = vb_search::Schema {
        vector_fields: vec![
            common::field("a", 4096, vb_search::Metric::Euclidean),
            common::field("b", 4096, vb_search::Metric::Cosine),
            common::field("c", 4096, vb_search::Metric::InnerProduct),
        ],
        non_filterable: Vec::new(),
    };
    let scales = [3e38f32, 1e38, 1.0, 1e-30, 1e-44, 0.0];
    let vector = |n: usize, field: usize| -> Option<Vec<f32>> {
        let value = |i: usize| ((n * 31 + i * 7 + field) % 11) as f32 / 11.0 - 0.4;
        let scale = scales[(n + field) % scales.len()];
        (n % 5 != field && n != 9).then(|| (0..4096).map(|i| value(i) * scale).collect())
    };
    let rows: Vec<_> = (0..40usize)
        .map(|n| {
            let vectors = (0..3).map(|field| vector(n, field)).collect();
            (key(n), Record { vectors, metadata: None, attributes: Attributes::default() })
        })
        .collect();
    let store = sole();
    let first = engine(&store, quiet()).await;
    let handle = index(&first, "index", schema).await;
    handle.put(batch(handle.schema(), &rows)).await.unwrap();
    let in_memory = widest_answers(&handle).await;
    for (field, hits) in in_memory.iter().enumerate() {
        let having = rows.iter().filter(|row| row.1.vectors[field % 3].is_some()).count();
        assert_eq!(hits.len(), having);
        assert!(hits.iter().all(|hit| hit.distance.is_finite()));
        assert!(hits.is_sorted_by(|a, b| a.distance <= b.distance), "{field}");
    }
    handle.flush().await.unwrap();
    assert_eq!(widest_answers(&handle).await, in_memory);
    first.shutdown().await;
    let second = engine(&store, quiet()).await;
    let handle = second.resolve(&bucket(), b"index").await.unwrap();
    assert_eq!(widest_answers(&handle).await, in_memory);
    let got = handle.get(get(rows.iter().map(|row| row.0.clone()).collect())).await.unwrap();
    for ((_, expected), row) in rows.iter().zip(got) {
        assert_eq!(row.unwrap().vectors, expected.vectors);
    }
}

/// Queries of several magnitudes on the three fields.
async fn widest_answers(handle: &IndexHandle) -> Vec<Vec<vb_engine::Hit>> {
    let mut answers = Vec::new();
    for value in [3e38f32, 1.0, 1e-38] {
        for field in 0..3 {
            let mut query = query(&vec![value; 4096], 100);
            query.field = field;
            answers.push(handle.query(query).await.unwrap());
        }
    }
    answers
}
