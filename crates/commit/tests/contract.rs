//! One contract for all stores: what the commit protocol and the engine ask of them.
//!
//! Memory, a local folder and wrappers of them are tried on every run. A remote store is tried when
//! `CONTRACT_STORE` names one (`s3://bucket/prefix`, ...): `tests/stores/run.py` starts services on
//! loopback and does that for each. Two stores that break the promise the protocol rests on show
//! that the start-up probe refuses them.
//!
//! The contract writes about 1,200 objects and 25 MB under a random prefix and removes them.

#![expect(clippy::unwrap_used, reason = "a panic is a test failure")]

#[path = "contract/broken.rs"]
mod broken;
#[path = "contract/life.rs"]
mod life;

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::{StreamExt, TryStreamExt};
use object_store::ObjectStore;
use object_store::memory::InMemory;
use object_store::prefix::PrefixStore;
use vb_commit::{LocalOptions, RemoteOptions, Store, StoreErrorKind, WriterId};

use broken::{Broken, Flaw};

#[tokio::test]
async fn memory_keeps_the_contract() {
    contract(&Store::memory()).await;
}

#[tokio::test]
async fn a_local_folder_keeps_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    contract(&Store::local(dir.path(), LocalOptions { fsync: false }).unwrap()).await;
}

#[tokio::test]
async fn wrapped_stores_keep_the_contract() {
    let wrappers: [Arc<dyn ObjectStore>; 2] = [
        Arc::new(PrefixStore::new(InMemory::new(), "below/here")),
        Arc::new(Broken::new(Flaw::None)),
    ];
    for objects in wrappers {
        contract(&Store::from_object_store(objects, false)).await;
    }
}

#[tokio::test]
#[ignore = "needs CONTRACT_STORE; tests/stores/run.py sets it for each service that it starts"]
async fn a_remote_store_keeps_the_contract() {
    let url = std::env::var("CONTRACT_STORE").expect("CONTRACT_STORE names a store");
    let store = Store::open(&RemoteOptions::parse(&url).unwrap()).unwrap();
    assert!(!store.sole_writer(), "others may write to a remote store");
    contract(&store).await;
    counted(&store);
}

/// A probe that finds nothing wrong proves little, unless it finds what is wrong.
#[tokio::test]
async fn the_probe_refuses_a_store_that_ignores_conditional_writes() {
    let store = Store::from_object_store(Arc::new(Broken::new(Flaw::IgnoresConditions)), false);
    let error = store.probe().await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Corrupt);
    assert!(error.to_string().contains("a create is refused if the name is taken"), "{error}");
}

#[tokio::test]
async fn the_probe_refuses_a_store_that_loses_the_create_race() {
    let store = Store::from_object_store(Arc::new(Broken::new(Flaw::LosesRace)), false);
    let error = store.probe().await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Corrupt);
    assert!(error.to_string().contains("exactly one succeeds"), "{error}");
}

#[tokio::test]
async fn the_probe_refuses_a_store_that_lists_late() {
    let store = Store::from_object_store(Arc::new(Broken::new(Flaw::ListsLate)), false);
    let error = store.probe().await.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Corrupt);
    assert!(error.to_string().contains("a list shows a new object"), "{error}");
}

async fn contract(store: &Store) {
    let root = format!("contract-{:032x}", WriterId::random().0);
    let under = |part: &str| format!("{root}/{part}");
    store.probe().await.unwrap();
    assert!(store.list_after("probe", None).await.unwrap().is_empty(), "the probe leaves nothing");
    creates(store, &under("create")).await;
    races(store, &under("race")).await;
    reads(store, &under("read")).await;
    overwrites(store, &under("put")).await;
    lists(store, &under("list")).await;
    long_lists(store, &under("long")).await;
    deletes(store, &under("delete")).await;
    large_objects(store, &under("large")).await;
    errors(store, &under("error")).await;
    life::of_a_log(store, &under("log")).await;
    life::of_two_writers(store, &under("writers")).await;
    let left: Vec<_> = store.list_after(&root, None).await.unwrap();
    let left: Vec<_> = left.into_iter().map(|object| object.path).collect();
    store.delete_all(&left).await.unwrap();
    assert!(store.list_after(&root, None).await.unwrap().is_empty());
}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

async fn paths(store: &Store, prefix: &str, after: Option<&str>) -> Vec<String> {
    let listed = store.list_after(prefix, after).await.unwrap();
    listed.into_iter().map(|object| object.path).collect()
}

async fn creates(store: &Store, root: &str) {
    let path = format!("{root}/1");
    store.create(&path, bytes("first")).await.unwrap();
    let again = store.create(&path, bytes("second")).await.unwrap_err();
    assert_eq!(again.kind(), StoreErrorKind::AlreadyExists);
    assert_eq!(store.get(&path).await.unwrap(), "first");
    store.delete(&path).await.unwrap();
    store.create_parts(&path, vec![bytes("th"), bytes("ird")]).await.unwrap();
    assert_eq!(store.get(&path).await.unwrap(), "third");
    let empty = format!("{root}/2");
    store.create(&empty, Bytes::new()).await.unwrap();
    assert_eq!(store.get(&empty).await.unwrap(), "");
    let again = store.create(&empty, bytes("x")).await.unwrap_err();
    assert_eq!(again.kind(), StoreErrorKind::AlreadyExists);
}

/// Of many creates of one name at once exactly one succeeds, and its bytes are the object's.
async fn races(store: &Store, root: &str) {
    for round in 0..12 {
        let path = format!("{root}/{round:020}");
        let body = |racer: u8| Bytes::from(vec![racer; 1 + usize::from(racer) * 3000]);
        let racers = (0..16).map(|racer| store.create(&path, body(racer)));
        let mut winners = Vec::new();
        for (racer, result) in (0..16).zip(join_all(racers).await) {
            match result {
                Ok(()) => winners.push(racer),
                Err(error) => assert_eq!(error.kind(), StoreErrorKind::AlreadyExists, "{error}"),
            }
        }
        assert_eq!(winners.len(), 1, "round {round}: {winners:?}");
        assert_eq!(store.get(&path).await.unwrap(), body(winners[0]), "round {round}");
    }
}

async fn reads(store: &Store, root: &str) {
    let path = format!("{root}/object");
    let whole: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
    store.put(&path, whole.clone().into()).await.unwrap();
    assert_eq!(store.get(&path).await.unwrap(), whole);
    for range in [0..1, 0..300_000, 17..18, 299_999..300_000, 4096..70_000] {
        let read = store.get_range(&path, range.clone()).await.unwrap();
        assert_eq!(read, whole[range.start as usize..range.end as usize], "{range:?}");
    }
    let ranges = [0..10, 20..30, 250_000..250_001, 5..25];
    let read = store.get_ranges(&path, &ranges).await.unwrap();
    for (read, range) in read.iter().zip(&ranges) {
        assert_eq!(read, &whole[range.start as usize..range.end as usize], "{range:?}");
    }
    for beyond in [299_999..300_001, 300_000..300_010, 0..1_000_000] {
        assert!(store.get_range(&path, beyond.clone()).await.is_err(), "{beyond:?}");
    }
}

async fn overwrites(store: &Store, root: &str) {
    let path = format!("{root}/object");
    for text in ["one", "another", "", "the last"] {
        store.put(&path, bytes(text)).await.unwrap();
        assert_eq!(store.get(&path).await.unwrap(), text, "a read sees the newest");
        let listed = store.list_after(root, None).await.unwrap();
        assert_eq!((listed.len(), listed[0].size), (1, text.len() as u64));
    }
}

/// Names as the engine makes them: fixed-width numbers, hex, and percent-encoded bytes.
async fn lists(store: &Store, root: &str) {
    let names =
        ["00000000000000000002", "00000000000000000010", "Z", "a%2Fb", "a%20b", "a-b", "a.b"];
    let mut all = BTreeSet::new();
    for folder in ["log", "log-2", "manifest"] {
        for name in names {
            let path = format!("{root}/{folder}/{name}");
            store.create(&path, bytes("x")).await.unwrap();
            assert!(paths(store, root, None).await.contains(&path), "{path}: listed at once");
            all.insert(path);
        }
    }
    let all: Vec<_> = all.into_iter().collect();
    assert_eq!(paths(store, root, None).await, all, "in byte order");
    for (place, after) in all.iter().enumerate() {
        assert_eq!(paths(store, root, Some(after)).await, all[place + 1..], "behind {after}");
    }
    let missing = format!("{root}/log/00000000000000000005");
    let behind: Vec<_> = all.iter().filter(|path| **path > missing).cloned().collect();
    assert_eq!(paths(store, root, Some(&missing)).await, behind, "behind a name that is free");
    let log = paths(store, &format!("{root}/log"), None).await;
    assert_eq!(log.len(), names.len(), "a prefix ends at a slash: {log:?}");
    let level = store.list_level(root).await.unwrap();
    let folders = ["log", "log-2", "manifest"].map(|folder| format!("{root}/{folder}"));
    assert_eq!((level.objects.len(), level.prefixes), (0, folders.to_vec()));
    let level = store.list_level(&format!("{root}/log")).await.unwrap();
    let listed: Vec<_> = level.objects.into_iter().map(|object| object.path).collect();
    assert_eq!((listed, level.prefixes.len()), (log, 0));
    assert!(paths(store, &format!("{root}/nothing"), None).await.is_empty());
}

/// More objects than one answer to a list holds.
async fn long_lists(store: &Store, root: &str) {
    let all: Vec<_> = (0..1_050).map(|n| format!("{root}/{n:020}")).collect();
    let puts: Vec<_> = all.iter().map(|path| store.put(path, Bytes::new())).collect();
    futures_util::stream::iter(puts).buffer_unordered(16).try_collect::<()>().await.unwrap();
    assert_eq!(paths(store, root, None).await, all);
    assert_eq!(paths(store, root, Some(&all[20])).await, all[21..]);
    assert_eq!(paths(store, root, Some(&all[1_045])).await, all[1_046..]);
    assert_eq!(store.list_level(root).await.unwrap().objects.len(), all.len());
    store.delete_all(&all[..1_040]).await.unwrap();
    assert_eq!(paths(store, root, None).await, all[1_040..]);
    store.delete_all(&all).await.unwrap();
    assert!(paths(store, root, None).await.is_empty());
}

async fn deletes(store: &Store, root: &str) {
    let path = format!("{root}/object");
    store.delete(&path).await.expect("deleting what is not there is no error");
    store.create(&path, bytes("x")).await.unwrap();
    store.delete(&path).await.unwrap();
    assert_eq!(store.get(&path).await.unwrap_err().kind(), StoreErrorKind::NotFound);
    assert!(paths(store, root, None).await.is_empty(), "no list shows a deleted object");
    store.create(&path, bytes("y")).await.expect("the name is free again");
    store.delete_all(&[path, format!("{root}/never")]).await.unwrap();
}

/// Objects written in parts, seen only once they are whole.
async fn large_objects(store: &Store, root: &str) {
    let (whole, aborted) = (format!("{root}/whole"), format!("{root}/aborted"));
    let piece = |n: u32| Bytes::from(vec![(n % 253) as u8; 1_300_001]);
    let mut writer = store.writer(&whole);
    for n in 0..16 {
        writer.write(piece(n)).await.unwrap();
    }
    assert!(paths(store, root, None).await.is_empty(), "not seen before it is finished");
    let length = writer.written();
    writer.finish().await.unwrap();
    assert_eq!(length, 16 * 1_300_001);
    assert_eq!(store.list_after(root, None).await.unwrap()[0].size, length);
    for n in 0..16_u32 {
        let from = u64::from(n) * 1_300_001;
        assert_eq!(store.get_range(&whole, from..from + 1_300_001).await.unwrap(), piece(n));
    }
    let mut writer = store.writer(&aborted);
    for n in 0..8 {
        writer.write(piece(n)).await.unwrap();
    }
    writer.abort().await;
    assert_eq!(paths(store, root, None).await, [whole]);
}

async fn errors(store: &Store, root: &str) {
    let missing = format!("{root}/missing");
    assert_eq!(store.get(&missing).await.unwrap_err().kind(), StoreErrorKind::NotFound);
    let read = store.get_range(&missing, 0..4).await.unwrap_err();
    assert_eq!(read.kind(), StoreErrorKind::NotFound);
    for path in ["", "/a", "a//b", "a/../b", "a/", "a/b\0"] {
        let refused = store.create(path, Bytes::new()).await.unwrap_err();
        assert_eq!(refused.kind(), StoreErrorKind::Invalid, "{path:?}");
        assert!(refused.is_not_executed());
    }
}

fn counted(store: &Store) {
    let counts = store.counts();
    for (verb, count) in [
        ("create", counts.create),
        ("put", counts.put),
        ("get", counts.get),
        ("list", counts.list),
        ("delete", counts.delete),
    ] {
        assert!(count.requests > 0, "{verb}: {count:?}");
        assert!(count.requests >= count.retries + count.hedges, "{verb}: {count:?}");
    }
    assert!(counts.put.bytes > 20_000_000 && counts.get.bytes > 20_000_000, "{counts:?}");
}
