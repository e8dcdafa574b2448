//! The check of a store: nothing on a healthy one, and each kind of damage by its name.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use common::{
    batch, bucket, engine, half_delete, index, key, one_field, quiet, record, settings, sole,
    two_fields,
};
use roaring::RoaringBitmap;
use vb_commit::{LocalOptions, Log, Manifest, Store, WriterId};
use vb_engine::inspect::{self, CheckOptions, FindingKind, Level, Report};
use vb_engine::{Compaction, Engine, IndexHandle, IndexId, Options};

/// Everything is old: nothing counts as work in progress.
fn options(level: Level) -> CheckOptions {
    CheckOptions { level, grace: Duration::from_secs(3600), now_ms: u64::MAX / 2 }
}

async fn check(store: &Store, level: Level) -> Report {
    inspect::check(store, &options(level), &()).await.unwrap()
}

/// No merges: segments stay as they were flushed.
fn no_merges() -> Options {
    Options { compaction: Compaction { automatic: false, ..Compaction::default() }, ..quiet() }
}

fn rows(keys: std::ops::Range<usize>) -> Vec<(Box<[u8]>, common::Record)> {
    keys.map(|number| (key(number), record(&[number as f32, 1.0]))).collect()
}

/// A store with two indexes, each with two segments, deletions in both and three slots of tail.
async fn build(store: &Store) -> [IndexId; 2] {
    let engine = engine(store, no_merges()).await;
    let one = fill(&engine, "one").await;
    let two = fill(&engine, "two").await;
    engine.shutdown().await;
    [one.id(), two.id()]
}

async fn fill(engine: &Engine, name: &str) -> IndexHandle {
    let index = index(engine, name, one_field(2)).await;
    let schema = index.schema().clone();
    for part in [0..40, 30..90] {
        index.put(batch(&schema, &rows(part))).await.unwrap();
        index.delete(vec![key(3), key(35)]).await.unwrap();
        index.flush().await.unwrap();
    }
    for number in 0..3 {
        index.put(batch(&schema, &rows(number * 50..number * 50 + 10))).await.unwrap();
    }
    index
}

/// The paths under a prefix, sorted.
async fn paths(store: &Store, prefix: &str) -> Vec<String> {
    let listed = store.list_after(prefix, None).await.unwrap();
    listed.into_iter().map(|object| object.path).collect()
}

async fn last(store: &Store, prefix: String) -> String {
    paths(store, &prefix).await.pop().unwrap()
}

async fn flip(store: &Store, path: &str, at: usize) {
    let mut bytes = store.get(path).await.unwrap().to_vec();
    bytes[at] ^= 0x20;
    store.put(path, bytes.into()).await.unwrap();
}

/// The body of an index's manifest, cut where its layout (docs/format.md) allows to change it.
struct Body {
    head: Vec<u8>,
    counters: [u64; 5],
    count: u32,
    entries: Vec<u8>,
}

impl Body {
    fn cut(body: &[u8]) -> Self {
        let number = |at: usize| u64::from_le_bytes(body[at..at + 8].try_into().unwrap());
        let schema = u32::from_le_bytes(body[1..5].try_into().unwrap()) as usize;
        let at = 5 + schema;
        let count = u32::from_le_bytes(body[at + 40..at + 44].try_into().unwrap());
        Self {
            head: body[..at].to_vec(),
            counters: [0, 1, 2, 3, 4].map(|place| number(at + place * 8)),
            count,
            entries: body[at + 44..].to_vec(),
        }
    }

    fn join(&self) -> Bytes {
        let counters = self.counters.iter().flat_map(|counter| counter.to_le_bytes());
        let mut out = self.head.clone();
        out.extend(counters);
        out.extend(self.count.to_le_bytes());
        out.extend(&self.entries);
        out.into()
    }
}

async fn newest(store: &Store, id: IndexId) -> (String, Manifest) {
    let path = last(store, format!("index/{id}/manifest")).await;
    let manifest = Manifest::decode(store.get(&path).await.unwrap()).unwrap();
    (path, manifest)
}

/// Changes the newest manifest's body as a program with a defect would: the checksum is right.
async fn rewrite(store: &Store, id: IndexId, change: impl FnOnce(&mut Body)) {
    let (path, mut manifest) = newest(store, id).await;
    let mut body = Body::cut(&manifest.body);
    change(&mut body);
    manifest.body = body.join();
    store.put(&path, manifest.encode().concat().into()).await.unwrap();
}

/// The path of the segment with the most documents, and where its sections begin.
async fn segment(store: &Store, id: IndexId) -> String {
    let listed = store.list_after(&format!("index/{id}/segment"), None).await.unwrap();
    listed.into_iter().max_by_key(|object| object.size).unwrap().path
}

#[track_caller]
fn expect(report: &Report, kind: FindingKind, path: &str, what: &str) {
    let found = report.findings.iter().any(|finding| {
        finding.kind == kind && (finding.path == path || finding.path.starts_with(path))
    });
    assert!(found, "{what}: no {} of {path} in {:#?}", kind.code(), report.findings);
    assert_eq!(report.is_damaged(), report.findings.iter().any(|f| f.kind.is_damage()));
}

/// Builds a store, damages it, and requires the finding at this level; nothing is found before.
async fn planted<F>(level: Level, kind: FindingKind, plant: impl FnOnce(Store, [IndexId; 2]) -> F)
where
    F: Future<Output = String>,
{
    let store = sole();
    let ids = build(&store).await;
    let healthy = check(&store, level).await;
    assert_eq!(healthy.findings, [], "{} before it was planted", kind.code());
    let path = plant(store.clone(), ids).await;
    let report = check(&store, level).await;
    expect(&report, kind, &path, "planted");
    assert_eq!(report.is_damaged(), kind.is_damage(), "{:#?}", report.findings);
}

#[tokio::test]
async fn a_healthy_store_has_no_findings() {
    let store = sole();
    build(&store).await;
    for level in [Level::Quick, Level::Keys, Level::Deep] {
        let report = check(&store, level).await;
        assert_eq!(report.findings, []);
        assert_eq!((report.counts.buckets, report.counts.indexes), (1, 2));
        assert_eq!((report.counts.segments, report.counts.slots), (4, 6));
        assert_eq!(report.counts.records, 2 * (90 - 2));
    }
    assert_eq!(check(&Store::memory(), Level::Deep).await.findings, []);
}

/// A store of the first release, whose segments have fewer sections.
#[tokio::test]
async fn a_released_store_has_no_findings() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/store-v1");
    let folder = tempfile::tempdir().unwrap();
    copy_folder(&fixture, folder.path());
    let store = Store::local(folder.path(), LocalOptions { fsync: false }).unwrap();
    let report = check(&store, Level::Deep).await;
    assert_eq!(report.findings, []);
    assert!(report.counts.segments > 0);
}

fn copy_folder(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let path: PathBuf = entry.unwrap().path();
        let copy = to.join(path.file_name().unwrap());
        if path.is_dir() {
            std::fs::create_dir_all(&copy).unwrap();
            copy_folder(&path, &copy);
        } else {
            std::fs::copy(&path, &copy).unwrap();
        }
    }
}

#[tokio::test]
async fn a_missing_segment_is_found() {
    planted(Level::Quick, FindingKind::SegmentMissing, |store, [id, _]| async move {
        let path = segment(&store, id).await;
        store.delete(&path).await.unwrap();
        path
    })
    .await;
}

#[tokio::test]
async fn a_truncated_segment_is_found() {
    planted(Level::Quick, FindingKind::SegmentLength, |store, [id, _]| async move {
        let path = segment(&store, id).await;
        let bytes = store.get(&path).await.unwrap();
        store.put(&path, bytes.slice(..bytes.len() - 1)).await.unwrap();
        path
    })
    .await;
}

/// Wherever in a segment a bit flips, a deep check says so.
#[tokio::test]
async fn a_flipped_bit_in_a_segment_is_found() {
    let store = sole();
    let [id, _] = build(&store).await;
    let path = segment(&store, id).await;
    let bytes = store.get(&path).await.unwrap();
    let mut found = 0;
    for at in (0..bytes.len()).step_by(29) {
        flip(&store, &path, at).await;
        let report = check(&store, Level::Deep).await;
        let damaged = report
            .findings
            .iter()
            .any(|finding| finding.kind == FindingKind::SegmentDamaged && finding.path == path);
        // Between sections there are up to 63 bytes of padding, which nothing reads.
        assert!(damaged || report.findings.is_empty(), "at {at}: {:#?}", report.findings);
        found += usize::from(damaged);
        store.put(&path, bytes.clone()).await.unwrap();
    }
    assert!(found > bytes.len() / 29 / 3, "{found} of {}", bytes.len() / 29);
    assert_eq!(check(&store, Level::Deep).await.findings, []);
}

/// A bit of a vector: keys and directories are right, so only a deep check reads it.
#[tokio::test]
async fn a_flipped_bit_of_a_vector_is_found_by_a_deep_check() {
    let plant = |store: Store, [id, _]: [IndexId; 2]| async move {
        let path = segment(&store, id).await;
        let bytes = store.get(&path).await.unwrap();
        // The first coordinate of key 77, which no other number of the segment equals.
        let wanted = 77f32.to_le_bytes();
        let at = bytes.windows(4).position(|window| window == wanted).unwrap();
        flip(&store, &path, at).await;
        path
    };
    planted(Level::Deep, FindingKind::SegmentDamaged, plant).await;
    let store = sole();
    let ids = build(&store).await;
    plant(store.clone(), ids).await;
    assert_eq!(check(&store, Level::Keys).await.findings, []);
}

/// Turns the deletions of an index with one segment into an object of their own.
async fn deletions_as_object(store: &Store, deleted: &[u32], named: bool) -> (IndexId, String) {
    let engine = engine(store, no_merges()).await;
    let index = index(&engine, "three", one_field(2)).await;
    index.put(batch(&one_field(2), &rows(0..20))).await.unwrap();
    index.flush().await.unwrap();
    engine.shutdown().await;
    let bitmap: RoaringBitmap = deleted.iter().copied().collect();
    let mut bytes = Vec::new();
    bitmap.serialize_into(&mut bytes).unwrap();
    let path = format!("index/{}/bitmap/{:032x}", index.id(), 7);
    if named {
        store.put(&path, bytes.clone().into()).await.unwrap();
    }
    rewrite(store, index.id(), |body| {
        assert_eq!(body.entries.pop(), Some(0), "nothing is deleted");
        body.entries.push(2);
        body.entries.extend(7u128.to_le_bytes());
        body.entries.extend((bytes.len() as u64).to_le_bytes());
        body.entries.extend(vb_search::checksum(&bytes).to_le_bytes());
        body.counters[0] -= deleted.len() as u64;
        body.counters[2] += deleted.len() as u64;
    })
    .await;
    (index.id(), path)
}

#[tokio::test]
async fn a_missing_bitmap_is_found() {
    planted(Level::Quick, FindingKind::BitmapMissing, |store, _| async move {
        let (_, path) = deletions_as_object(&store, &[1, 2], true).await;
        assert_eq!(check(&store, Level::Deep).await.findings, []);
        store.delete(&path).await.unwrap();
        path
    })
    .await;
}

#[tokio::test]
async fn a_damaged_bitmap_is_found() {
    planted(Level::Quick, FindingKind::BitmapDamaged, |store, _| async move {
        let (_, path) = deletions_as_object(&store, &[1, 2], true).await;
        flip(&store, &path, 9).await;
        path
    })
    .await;
}

#[tokio::test]
async fn deletions_of_records_that_do_not_exist_are_found() {
    planted(Level::Quick, FindingKind::BitmapDamaged, |store, _| async move {
        deletions_as_object(&store, &[1, 20], true).await.1
    })
    .await;
}

#[tokio::test]
async fn a_wrong_counter_is_found() {
    planted(Level::Quick, FindingKind::CounterWrong, |store, [id, _]| async move {
        rewrite(&store, id, |body| {
            body.counters[0] -= 1;
            body.counters[2] += 1;
        })
        .await;
        newest(&store, id).await.0
    })
    .await;
}

#[tokio::test]
async fn counters_that_do_not_add_up_are_found() {
    planted(Level::Quick, FindingKind::ManifestDamaged, |store, [id, _]| async move {
        rewrite(&store, id, |body| body.counters[0] -= 1).await;
        newest(&store, id).await.0
    })
    .await;
}

#[tokio::test]
async fn a_gap_in_the_tail_is_found() {
    planted(Level::Quick, FindingKind::SlotMissing, |store, [_, id]| async move {
        let slots = paths(&store, &format!("index/{id}/log")).await;
        let path = slots[slots.len() - 2].clone();
        store.delete(&path).await.unwrap();
        path
    })
    .await;
}

/// The highest slot is never deleted: without it nobody can tell what came after.
#[tokio::test]
async fn a_log_without_its_highest_slot_is_found() {
    let store = sole();
    let engine = engine(&store, no_merges()).await;
    let index = index(&engine, "folded", one_field(2)).await;
    index.put(batch(&one_field(2), &rows(0..4))).await.unwrap();
    index.flush().await.unwrap();
    engine.shutdown().await;
    let slots = paths(&store, &format!("index/{}/log", index.id())).await;
    let [only] = slots.as_slice() else { panic!("one slot is left of a folded log: {slots:?}") };
    store.delete(only).await.unwrap();
    expect(&check(&store, Level::Quick).await, FindingKind::SlotMissing, only, "highest");
}

#[tokio::test]
async fn a_damaged_slot_is_found() {
    planted(Level::Quick, FindingKind::SlotDamaged, |store, [_, id]| async move {
        let path = last(&store, format!("index/{id}/log")).await;
        flip(&store, &path, 70).await;
        path
    })
    .await;
}

#[tokio::test]
async fn a_damaged_manifest_is_found() {
    planted(Level::Quick, FindingKind::ManifestDamaged, |store, [_, id]| async move {
        let (path, _) = newest(&store, id).await;
        flip(&store, &path, 100).await;
        path
    })
    .await;
}

#[tokio::test]
async fn a_damaged_catalog_is_found() {
    planted(Level::Quick, FindingKind::SlotDamaged, |store, _| async move {
        let path = last(&store, "catalog/1234567890123456/bucket/log".to_owned()).await;
        flip(&store, &path, 70).await;
        path
    })
    .await;
    planted(Level::Quick, FindingKind::ManifestDamaged, |store, _| async move {
        let path = last(&store, "catalog/1234567890123456/bucket/manifest".to_owned()).await;
        flip(&store, &path, 90).await;
        path
    })
    .await;
}

#[tokio::test]
async fn objects_that_nothing_names_are_found_when_they_are_old() {
    let plant = |store: Store, [id, _]: [IndexId; 2]| async move {
        let path = format!("index/{id}/segment/{:032x}", 9);
        store.put(&path, Bytes::from_static(b"left by a crash")).await.unwrap();
        path
    };
    planted(Level::Quick, FindingKind::Orphan, plant).await;
    let store = sole();
    let ids = build(&store).await;
    plant(store.clone(), ids).await;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let now_ms = u64::try_from(now.as_millis()).unwrap();
    let young = CheckOptions { now_ms, ..options(Level::Quick) };
    assert_eq!(inspect::check(&store, &young, &()).await.unwrap().findings, []);
}

#[tokio::test]
async fn foreign_objects_are_found() {
    for path in ["index/readme", "catalog/x.y/z", "stray", "index/xyz/log/1", "backup/1"] {
        planted(Level::Quick, FindingKind::Foreign, |store, _| async move {
            store.put(path, Bytes::from_static(b"?")).await.unwrap();
            path.split('/').next().unwrap().to_owned()
        })
        .await;
    }
    planted(Level::Quick, FindingKind::Foreign, |store, [id, _]| async move {
        let path = format!("index/{id}/segment/notes");
        store.put(&path, Bytes::from_static(b"?")).await.unwrap();
        path
    })
    .await;
}

#[tokio::test]
async fn a_catalog_entry_without_a_log_is_found() {
    planted(Level::Quick, FindingKind::IndexMissing, |store, [id, _]| async move {
        let prefix = format!("index/{id}");
        store.delete_all(&paths(&store, &prefix).await).await.unwrap();
        prefix
    })
    .await;
    planted(Level::Quick, FindingKind::IndexMissing, |store, [id, _]| async move {
        let prefix = format!("index/{id}");
        let (mut log, _) = Log::open(&store, &prefix, WriterId(1)).await.unwrap().unwrap();
        log.close().await.unwrap();
        prefix
    })
    .await;
}

#[tokio::test]
async fn a_log_without_a_catalog_entry_is_found() {
    planted(Level::Quick, FindingKind::IndexLeaked, |store, [id, _]| async move {
        let leaked = format!("index/{:032x}", 5);
        for path in paths(&store, &format!("index/{id}")).await {
            let copy = path.replace(&format!("index/{id}"), &leaked);
            store.put(&copy, store.get(&path).await.unwrap()).await.unwrap();
        }
        leaked
    })
    .await;
}

#[tokio::test]
async fn a_half_done_deletion_is_found() {
    for fenced in [false, true] {
        planted(Level::Quick, FindingKind::IndexHalfDropped, |store, [id, _]| async move {
            half_delete(&store, &bucket(), id, fenced).await;
            format!("index/{id}")
        })
        .await;
    }
}

/// Two live records of one key, as a merge that lost a deletion would leave them.
#[tokio::test]
async fn a_key_with_two_live_records_is_found() {
    planted(Level::Keys, FindingKind::DuplicateKey, |store, _| async move {
        let engine = engine(&store, no_merges()).await;
        let mut ids = Vec::new();
        for (name, keys) in [("three", 0..20), ("four", 19..25)] {
            let index = index(&engine, name, one_field(2)).await;
            index.put(batch(&one_field(2), &rows(keys))).await.unwrap();
            index.flush().await.unwrap();
            ids.push(index.id());
        }
        engine.shutdown().await;
        // The second index's segment is grafted onto the first: key 19 is in both.
        let (_, other) = newest(&store, ids[1]).await;
        let other = Body::cut(&other.body);
        let path = segment(&store, ids[1]).await;
        let graft = path.replace(&ids[1].to_string(), &ids[0].to_string());
        store.put(&graft, store.get(&path).await.unwrap()).await.unwrap();
        rewrite(&store, ids[0], |body| {
            for (counter, more) in body.counters.iter_mut().zip(other.counters) {
                *counter += more;
            }
            body.count += other.count;
            body.entries.extend(&other.entries);
        })
        .await;
        let report = check(&store, Level::Keys).await;
        let [finding] = report.findings.as_slice() else { panic!("{:#?}", report.findings) };
        assert!(finding.detail.contains("\"key-19\""), "{finding}");
        format!("index/{}/segment", ids[0])
    })
    .await;
}

#[tokio::test]
async fn a_wrong_hash_range_is_found() {
    planted(Level::Keys, FindingKind::SegmentInconsistent, |store, [id, _]| async move {
        // The first segment's last hash: behind name, length, docs and first hash.
        rewrite(&store, id, |body| body.entries[36..44].fill(0xff)).await;
        format!("index/{id}/segment")
    })
    .await;
}

#[tokio::test]
async fn another_schema_than_the_catalogs_is_found() {
    planted(Level::Quick, FindingKind::SchemaDiffers, |store, [id, _]| async move {
        let engine = engine(&store, no_merges()).await;
        let other = engine.create_index(&bucket(), b"other", settings(two_fields())).await.unwrap();
        engine.shutdown().await;
        let (_, other) = newest(&store, other.id).await;
        let head = Body::cut(&other.body).head;
        rewrite(&store, id, |body| body.head = head).await;
        newest(&store, id).await.0
    })
    .await;
}

#[tokio::test]
async fn a_damaged_label_is_found() {
    for label in
        [&b""[..], b"{}", b"{\"format\":2,\"store\":\"00000000000000000000000000000abc\"}\n"]
    {
        planted(Level::Quick, FindingKind::Label, |store, _| async move {
            store.put("format.json", Bytes::from_static(label)).await.unwrap();
            "format.json".to_owned()
        })
        .await;
    }
    planted(Level::Quick, FindingKind::Label, |store, _| async move {
        store.delete("format.json").await.unwrap();
        "format.json".to_owned()
    })
    .await;
}

/// A check beside an engine that writes, flushes and drops finds nothing that is not so.
#[tokio::test]
async fn a_check_beside_a_service_finds_nothing() {
    let store = common::shared();
    let engine = engine(&store, quiet()).await;
    let index = index(&engine, "busy", one_field(2)).await;
    let schema = index.schema().clone();
    let writer = async {
        for round in 0..60usize {
            index.put(batch(&schema, &rows(round * 3..round * 3 + 9))).await.unwrap();
            if round % 5 == 0 {
                index.flush().await.unwrap();
            }
            let name = format!("passing-{round}");
            engine.create_index(&bucket(), name.as_bytes(), settings(one_field(3))).await.unwrap();
            if round % 2 == 0 {
                engine.delete_index(&bucket(), name.as_bytes()).await.unwrap();
            }
        }
    };
    let checker = async {
        for _ in 0..20 {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
            let now_ms = u64::try_from(now.as_millis()).unwrap();
            let young = CheckOptions { now_ms, ..options(Level::Deep) };
            let report = inspect::check(&store, &young, &()).await.unwrap();
            let real: Vec<_> = report
                .findings
                .iter()
                .filter(|finding| finding.kind != FindingKind::IndexHalfDropped)
                .collect();
            assert!(real.is_empty(), "{real:#?}");
            tokio::task::yield_now().await;
        }
    };
    tokio::join!(writer, checker);
    engine.shutdown().await;
}
