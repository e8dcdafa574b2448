//! Buckets and indexes: creation, configuration, quotas, deletion, restarts.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use bytes::Bytes;
use common::{bucket, engine, index, one_field, quiet, record, settings, sole};
use vb_commit::Store;
use vb_engine::{
    BucketChange, BucketId, BucketSettings, Created, Engine, Error, IndexState, LoggingTarget,
    Options,
};

fn named(name: &str) -> BucketId {
    BucketId::new("1234567890123456", name)
}

async fn reopen(engine: Engine, store: &Store) -> Engine {
    engine.shutdown().await;
    common::engine(store, quiet()).await
}

#[tokio::test]
async fn a_bucket_keeps_everything_it_was_given() {
    let store = sole();
    let mut engine = engine(&store, quiet()).await;
    let tags = vec![("k1".to_owned(), "v1".to_owned()), ("k2".to_owned(), String::new())];
    let settings = BucketSettings { resource_group: "rg-1".to_owned(), tags: tags.clone() };
    assert_eq!(engine.create_bucket(&bucket(), settings.clone()).await.unwrap(), Created::New);
    assert_eq!(engine.create_bucket(&bucket(), settings).await.unwrap(), Created::Same);
    let policy = Bytes::from_static(b"{ \"Version\" : \"1\" }\n");
    let target = LoggingTarget {
        bucket: "logs".to_owned(),
        prefix: "p/".to_owned(),
        role: "role".to_owned(),
    };
    for change in [
        BucketChange::Policy(Some(policy.clone())),
        BucketChange::Logging(Some(target.clone())),
        BucketChange::RemoveTags(Some(vec!["k1".to_owned(), "absent".to_owned()])),
        BucketChange::ResourceGroup("rg-2".to_owned()),
    ] {
        engine.configure_bucket(&bucket(), change).await.unwrap();
    }
    for _ in 0..2 {
        let record = engine.bucket(&bucket()).await.unwrap();
        assert_eq!(record.policy, Some(policy.clone()));
        assert_eq!(record.logging, Some(target.clone()));
        assert_eq!(record.tags, tags[1..]);
        assert_eq!(record.resource_group, "rg-2");
        assert_eq!(engine.bucket_cached(&bucket()).await.unwrap(), record);
        engine = reopen(engine, &store).await;
    }
    for change in [
        BucketChange::Policy(None),
        BucketChange::Logging(None),
        BucketChange::RemoveTags(None),
        BucketChange::ResourceGroup(String::new()),
    ] {
        engine.configure_bucket(&bucket(), change).await.unwrap();
    }
    let record = engine.bucket(&bucket()).await.unwrap();
    assert_eq!((record.policy, record.logging, record.tags.len()), (None, None, 0));
}

#[tokio::test]
async fn what_does_not_exist_is_said_to_not_exist() {
    let store = sole();
    let engine = engine(&store, quiet()).await;
    let none = named("none");
    assert!(matches!(engine.bucket(&none).await, Err(Error::NoSuchBucket)));
    assert!(matches!(engine.bucket_cached(&none).await, Err(Error::NoSuchBucket)));
    assert!(matches!(engine.delete_bucket(&none).await, Err(Error::NoSuchBucket)));
    let tags = BucketChange::Tags(Vec::new());
    assert!(matches!(engine.configure_bucket(&none, tags).await, Err(Error::NoSuchBucket)));
    let created = engine.create_index(&none, b"i", settings(one_field(2))).await;
    assert!(matches!(created, Err(Error::NoSuchBucket)));
    assert!(matches!(engine.resolve(&none, b"i").await, Err(Error::NoSuchBucket)));
    engine.create_bucket(&bucket(), BucketSettings::default()).await.unwrap();
    assert!(matches!(engine.resolve(&bucket(), b"i").await, Err(Error::NoSuchIndex)));
    assert!(matches!(engine.index(&bucket(), b"i").await, Err(Error::NoSuchIndex)));
    assert!(matches!(engine.delete_index(&bucket(), b"i").await, Err(Error::NoSuchIndex)));
    assert_eq!(engine.list_buckets(b"another account").await.unwrap(), Vec::new());
}

#[tokio::test]
async fn buckets_are_listed_by_name_and_account_within_their_quota() {
    let store = sole();
    let engine = engine(&store, Options { buckets_max: 3, ..quiet() }).await;
    let names: [&[u8]; 3] = [b"c", b"a/../b", b"a"];
    for name in names {
        let id = BucketId::new("1", name);
        engine.create_bucket(&id, BucketSettings::default()).await.unwrap();
    }
    let one_more = BucketId::new("1", "d");
    let refused = engine.create_bucket(&one_more, BucketSettings::default()).await;
    assert!(matches!(refused, Err(Error::TooManyBuckets)));
    let there = BucketId::new("1", "a");
    let same = engine.create_bucket(&there, BucketSettings::default()).await.unwrap();
    assert_eq!(same, Created::Same);
    engine.create_bucket(&BucketId::new("2", "x"), BucketSettings::default()).await.unwrap();
    let listed = engine.list_buckets(b"1").await.unwrap();
    let listed: Vec<&[u8]> = listed.iter().map(|record| record.name.as_ref()).collect();
    assert_eq!(listed, [&b"a"[..], b"a/../b", b"c"]);
    engine.delete_bucket(&there).await.unwrap();
    engine.create_bucket(&one_more, BucketSettings::default()).await.unwrap();
    assert_eq!(engine.list_buckets(b"1").await.unwrap().len(), 3);
}

#[tokio::test]
async fn concurrent_creations_stay_within_the_quota() {
    let store = sole();
    let engine = engine(&store, Options { buckets_max: 5, indexes_max: 5, ..quiet() }).await;
    let buckets = (0..12).map(|number| {
        let (engine, id) = (engine.clone(), named(&format!("b{number}")));
        tokio::spawn(async move { engine.create_bucket(&id, BucketSettings::default()).await })
    });
    let created = futures_util::future::join_all(buckets).await;
    assert_eq!(created.iter().filter(|created| created.as_ref().unwrap().is_ok()).count(), 5);
    let first = engine.list_buckets(b"1234567890123456").await.unwrap()[0].name.clone();
    let first = BucketId::new("1234567890123456", first);
    let indexes = (0..12).map(|number| {
        let (engine, first) = (engine.clone(), first.clone());
        let name = format!("i{}", number % 8);
        tokio::spawn(async move {
            engine.create_index(&first, name.as_bytes(), settings(one_field(2))).await
        })
    });
    let created = futures_util::future::join_all(indexes).await;
    assert_eq!(created.iter().filter(|created| created.as_ref().unwrap().is_ok()).count(), 5);
    let listed = engine.list_indexes(&first).await.unwrap();
    assert_eq!(listed.len(), 5);
    assert!(listed.is_sorted_by(|a, b| a.name < b.name));
    // Nothing is left of those that were refused.
    let prefixes = store.list_level("index").await.unwrap().prefixes;
    assert_eq!(prefixes.len(), 5, "{prefixes:?}");
}

#[tokio::test]
async fn an_index_keeps_its_settings_and_its_name_is_taken() {
    let store = sole();
    let mut engine = engine(&store, quiet()).await;
    index(&engine, "index", common::two_fields()).await;
    let again = engine.create_index(&bucket(), b"index", settings(one_field(9))).await;
    assert!(matches!(again, Err(Error::IndexExists)));
    let record = engine.index(&bucket(), b"index").await.unwrap();
    engine = reopen(engine, &store).await;
    assert_eq!(engine.index(&bucket(), b"index").await.unwrap(), record);
    assert_eq!(record.state, IndexState::Live);
    assert_eq!(*record.settings, settings(common::two_fields()));
    let handle = engine.resolve(&bucket(), b"index").await.unwrap();
    assert_eq!((handle.id(), handle.schema()), (record.id, &common::two_fields()));
}

#[tokio::test]
async fn a_bucket_with_an_index_is_not_deleted() {
    let store = sole();
    let mut engine = engine(&store, quiet()).await;
    let before = index(&engine, "index", one_field(1)).await;
    assert!(matches!(engine.delete_bucket(&bucket()).await, Err(Error::BucketNotEmpty)));
    engine.delete_index(&bucket(), b"index").await.unwrap();
    engine.delete_bucket(&bucket()).await.unwrap();
    assert!(matches!(engine.bucket(&bucket()).await, Err(Error::NoSuchBucket)));
    engine = reopen(engine, &store).await;
    assert!(matches!(engine.bucket(&bucket()).await, Err(Error::NoSuchBucket)));
    let after = index(&engine, "index", one_field(1)).await;
    assert_ne!(before.id(), after.id());
    let batch = common::batch(after.schema(), &[(common::key(1), record(&[1.0]))]);
    assert!(matches!(before.put(batch).await, Err(Error::Closed | Error::NoSuchIndex)));
}

/// More commands than one manifest's worth of slots, over restarts: the folded state is the state.
#[tokio::test]
async fn a_long_catalog_log_is_folded_and_reads_the_same() {
    let store = sole();
    let mut engine = engine(&store, quiet()).await;
    engine.create_bucket(&bucket(), BucketSettings::default()).await.unwrap();
    for round in 0..150 {
        let tags = vec![("round".to_owned(), round.to_string())];
        engine.configure_bucket(&bucket(), BucketChange::Tags(tags.clone())).await.unwrap();
        if round % 40 == 0 {
            engine = reopen(engine, &store).await;
        }
        assert_eq!(engine.bucket(&bucket()).await.unwrap().tags, tags);
    }
    let objects = store.list_after("catalog", None).await.unwrap();
    assert!(objects.iter().any(|object| object.path.contains("/manifest/")));
}

/// A deletion that stopped after each of its steps is completed by the next start.
#[tokio::test]
async fn a_half_done_deletion_is_completed() {
    for step in 0..2 {
        let store = sole();
        let first = engine(&store, quiet()).await;
        let index = index(&first, "index", one_field(1)).await;
        let other = first.create_index(&bucket(), b"other", settings(one_field(1))).await.unwrap();
        first.shutdown().await;
        common::half_delete(&store, &bucket(), index.id(), step == 1).await;
        let second = engine(&store, quiet()).await;
        // A name being deleted is free again as soon as somebody asks for it.
        let anew = second.create_index(&bucket(), b"index", settings(one_field(1))).await.unwrap();
        assert_ne!(anew.id, index.id());
        let prefixes = async || {
            let listed = store.list_level("index").await.unwrap().prefixes;
            listed.into_iter().map(|path| path.replace("index/", "")).collect::<Vec<_>>()
        };
        while prefixes().await.contains(&index.id().to_string()) {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        let mut left = vec![anew.id.to_string(), other.id.to_string()];
        left.sort();
        assert_eq!(prefixes().await, left);
        second.shutdown().await;
        // Nobody has to ask: the start alone completes it.
        common::half_delete(&store, &bucket(), anew.id, step == 1).await;
        let third = engine(&store, quiet()).await;
        while prefixes().await.len() > 1 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        assert_eq!(third.list_indexes(&bucket()).await.unwrap().len(), 1);
        third.shutdown().await;
    }
}
