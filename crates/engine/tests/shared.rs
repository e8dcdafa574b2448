//! Two engines over one store, neither its sole writer: each sees what the other acknowledged.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::sync::Arc;

use common::{Model, batch, bucket, check_all, engine, get, index, key, one_field, quiet, record};
use object_store::memory::InMemory;
use vb_commit::Store;
use vb_engine::{BucketChange, BucketSettings, Engine, Error, IndexHandle};

async fn two() -> (Engine, Engine) {
    let objects = Arc::new(InMemory::new());
    let store = || Store::from_object_store(objects.clone(), false);
    (engine(&store(), quiet()).await, engine(&store(), quiet()).await)
}

async fn resolve(engine: &Engine) -> IndexHandle {
    engine.resolve(&bucket(), b"index").await.unwrap()
}

async fn put(index: &IndexHandle, model: &mut Model, numbers: std::ops::Range<usize>, value: f32) {
    let rows: Vec<_> = numbers.map(|n| (key(n), record(&[n as f32 % 5.0, value]))).collect();
    index.put(batch(index.schema(), &rows)).await.unwrap();
    model.put(&rows);
}

#[tokio::test]
async fn catalog_changes_are_seen_by_the_other_engine() {
    let (a, b) = two().await;
    a.create_bucket(&bucket(), BucketSettings::default()).await.unwrap();
    b.bucket(&bucket()).await.unwrap();
    for round in 0..80 {
        let (writer, reader) = if round % 2 == 0 { (&a, &b) } else { (&b, &a) };
        let tags = vec![("round".to_owned(), round.to_string())];
        writer.configure_bucket(&bucket(), BucketChange::Tags(tags.clone())).await.unwrap();
        assert_eq!(reader.bucket(&bucket()).await.unwrap().tags, tags);
    }
    index(&a, "index", one_field(2)).await;
    assert_eq!(b.list_indexes(&bucket()).await.unwrap().len(), 1);
    let again = b.create_index(&bucket(), b"index", common::settings(one_field(2))).await;
    assert!(matches!(again, Err(Error::IndexExists)));
    assert!(matches!(b.delete_bucket(&bucket()).await, Err(Error::BucketNotEmpty)));
    b.delete_index(&bucket(), b"index").await.unwrap();
    a.delete_bucket(&bucket()).await.unwrap();
    assert!(matches!(b.bucket(&bucket()).await, Err(Error::NoSuchBucket)));
}

#[tokio::test]
async fn records_are_seen_by_the_other_engine_also_across_its_flushes() {
    let (a, b) = two().await;
    index(&a, "index", one_field(2)).await;
    let (of_a, of_b) = (resolve(&a).await, resolve(&b).await);
    let mut model = Model::default();
    for round in 0..12usize {
        let (writer, reader) = if round % 2 == 0 { (&of_a, &of_b) } else { (&of_b, &of_a) };
        put(writer, &mut model, round * 5..round * 5 + 10, round as f32).await;
        check_all(reader, &model).await;
        let keys = vec![key(round * 5), key(round)];
        reader.delete(keys.clone()).await.unwrap();
        model.delete(&keys);
        check_all(writer, &model).await;
        if round % 3 == 0 {
            match writer.flush().await {
                Ok(()) | Err(Error::Conflict) => {}
                Err(error) => panic!("{error}"),
            }
            check_all(reader, &model).await;
            check_all(writer, &model).await;
        }
    }
    assert!(a.stats().flushes + b.stats().flushes >= 2);
}

/// Both write and flush at once; nothing is lost, doubled or resurrected.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_engines_write_and_flush_at_once() {
    let (a, b) = two().await;
    index(&a, "index", one_field(2)).await;
    let handles = [resolve(&a).await, resolve(&b).await];
    let writers = handles.iter().cloned().enumerate().map(|(number, index)| {
        tokio::spawn(async move {
            let mut model = Model::default();
            for round in 0..25usize {
                let base = number * 1000 + round % 7 * 10;
                put(&index, &mut model, base..base + 10, round as f32).await;
                let doomed = vec![key(base + round % 10)];
                index.delete(doomed.clone()).await.unwrap();
                model.delete(&doomed);
                if round % 5 == number {
                    match index.flush().await {
                        Ok(()) | Err(Error::Conflict) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            }
            model
        })
    });
    let writers: Vec<_> = writers.collect();
    let mut model = Model::default();
    for writer in writers {
        model.records.extend(writer.await.unwrap().records);
    }
    for index in &handles {
        check_all(index, &model).await;
    }
}

/// An index that the other engine deleted, and made anew under the same name.
#[tokio::test]
async fn a_drop_by_the_other_engine_is_noticed() {
    let (a, b) = two().await;
    index(&a, "index", one_field(2)).await;
    let (of_a, of_b) = (resolve(&a).await, resolve(&b).await);
    let mut model = Model::default();
    put(&of_a, &mut model, 0..10, 1.0).await;
    check_all(&of_b, &model).await;
    a.delete_index(&bucket(), b"index").await.unwrap();
    let rows = [(key(1), record(&[1.0, 1.0]))];
    assert!(matches!(of_b.get(get(vec![key(1)])).await, Err(Error::NoSuchIndex)));
    assert!(matches!(of_b.put(batch(of_b.schema(), &rows)).await, Err(Error::NoSuchIndex)));
    let new = index(&a, "index", one_field(2)).await;
    put(&new, &mut Model::default(), 0..1, 2.0).await;
    assert_eq!(resolve(&b).await.id(), new.id());
    assert!(matches!(of_b.get(get(vec![key(1)])).await, Err(Error::NoSuchIndex)));
    let found = resolve(&b).await.get(get(vec![key(0)])).await.unwrap();
    assert!(found[0].is_some());
}
