//! Backup and restore: what comes back is what was there, and nothing in between is taken for it.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use common::{
    Model, batch, bucket, check_all, engine, index, key, list_all, one_field, page, quiet,
    settings, two_fields,
};
use futures_util::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use vb_commit::{LocalOptions, Store};
use vb_engine::inspect::backup::{self, Taken};
use vb_engine::inspect::{self, CheckOptions, Level};
use vb_engine::{BucketChange, BucketId, Compaction, Engine, Error, LoggingTarget, Options};
use vb_search::{Attributes, Scalar, Value};

const NOW_MS: u64 = 1_800_000_000_000;

fn options() -> Options {
    Options { compaction: Compaction { automatic: false, ..Compaction::default() }, ..quiet() }
}

/// A small generator of random numbers: the seed is the test's.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        ((self.0 >> 33) as usize) % bound
    }

    fn record(&mut self) -> common::Record {
        let mut vector =
            |dimension: usize| (0..dimension).map(|_| self.below(9) as f32 - 4.0).collect();
        let vectors = vec![Some(vector(3)), Some(vector(2))];
        let mut record = common::Record {
            vectors,
            metadata: Some(Bytes::from(format!("{{\"n\":{}}}", self.below(1000)))),
            attributes: Attributes::from_pairs(vec![(
                "size".into(),
                Value::One(Scalar::Integer(self.below(5) as i64)),
            )]),
        };
        match self.below(4) {
            0 => record.vectors[0] = None,
            1 => record.vectors[1] = None,
            2 => record.metadata = None,
            _ => {}
        }
        record
    }
}

/// Random puts, overwrites and deletes, some of them flushed, some left in the log.
async fn fill(engine: &Engine, name: &str, chance: &mut Chance, model: &mut Model, rounds: usize) {
    let index = match engine.resolve(&bucket(), name.as_bytes()).await {
        Ok(index) => index,
        Err(_) => index(engine, name, two_fields()).await,
    };
    for round in 0..rounds {
        let rows: Vec<_> =
            (0..1 + chance.below(30)).map(|_| (key(chance.below(60)), chance.record())).collect();
        index.put(batch(index.schema(), &rows)).await.unwrap();
        model.put(&rows);
        let doomed: Vec<_> = (0..chance.below(6)).map(|_| key(chance.below(60))).collect();
        if !doomed.is_empty() {
            index.delete(doomed.clone()).await.unwrap();
            model.delete(&doomed);
        }
        if round % 3 == 1 {
            index.flush().await.unwrap();
        }
    }
}

fn elsewhere() -> BucketId {
    BucketId::new("9999999999999999", "restored")
}

async fn take(source: &Store, place: &Store) -> Taken {
    backup::backup(source, place, &bucket(), NOW_MS, &()).await.unwrap()
}

async fn healthy(store: &Store) {
    let options = CheckOptions { level: Level::Deep, grace: Duration::ZERO, now_ms: u64::MAX / 2 };
    assert_eq!(inspect::check(store, &options, &()).await.unwrap().findings, []);
}

/// What a bucket holds, as far as anybody can ask.
async fn check_bucket(store: &Store, id: &BucketId, models: &[(&str, &Model)]) {
    let engine = engine(store, options()).await;
    for (name, model) in models {
        let handle = engine.resolve(id, name.as_bytes()).await.unwrap();
        check_all(&handle, model).await;
    }
    assert_eq!(engine.list_indexes(id).await.unwrap().len(), models.len());
    engine.shutdown().await;
}

#[tokio::test]
async fn a_restored_bucket_equals_the_original() {
    for seed in 0..12 {
        let folder = tempfile::tempdir().unwrap();
        let source = match seed % 2 {
            0 => common::shared(),
            _ => Store::local(folder.path(), LocalOptions { fsync: false }).unwrap(),
        };
        let place = Store::memory();
        let mut chance = Chance(seed);
        let (mut one, mut two) = (Model::default(), Model::default());
        let first = engine(&source, options()).await;
        fill(&first, "one", &mut chance, &mut one, 7).await;
        fill(&first, "two", &mut chance, &mut two, 2).await;
        let policy = BucketChange::Policy(Some(Bytes::from_static(b"{\"Version\":\"1\"}")));
        first.configure_bucket(&bucket(), policy).await.unwrap();
        let target =
            LoggingTarget { bucket: "logs".into(), prefix: "p/".into(), role: "role".into() };
        first.configure_bucket(&bucket(), BucketChange::Logging(Some(target))).await.unwrap();
        let tags = BucketChange::Tags(vec![("a".into(), "b".into())]);
        first.configure_bucket(&bucket(), tags).await.unwrap();
        // Neither a dropped index nor one being dropped is part of it.
        fill(&first, "gone", &mut chance, &mut Model::default(), 2).await;
        first.delete_index(&bucket(), b"gone").await.unwrap();
        let record = first.bucket(&bucket()).await.unwrap();
        let records = first.list_indexes(&bucket()).await.unwrap();
        first.shutdown().await;

        let taken = take(&source, &place).await;
        assert_eq!((taken.number, taken.indexes), (1, 2), "seed {seed}");
        assert_eq!(taken.objects, taken.objects_copied);
        let (_, wrong) = backup::verify(&place, &bucket(), None, &()).await.unwrap();
        assert!(wrong.is_empty(), "{wrong:?}");

        let target = common::shared();
        for to in [bucket(), elsewhere()] {
            let restored = backup::restore(&place, &bucket(), None, &target, &to, &()).await;
            assert_eq!(restored.unwrap().indexes, 2);
            check_bucket(&target, &to, &[("one", &one), ("two", &two)]).await;
            let second = engine(&target, options()).await;
            let again = second.bucket(&to).await.unwrap();
            assert_eq!(again, vb_engine::BucketRecord { name: to.name.clone(), ..record.clone() });
            for (was, is) in records.iter().zip(second.list_indexes(&to).await.unwrap()) {
                assert_ne!(was.id, is.id);
                assert_eq!(*was, vb_engine::IndexRecord { id: was.id, ..is });
            }
            // And it lives on.
            let handle = second.resolve(&to, b"one").await.unwrap();
            let rows = vec![(key(1), chance.record())];
            handle.put(batch(handle.schema(), &rows)).await.unwrap();
            handle.flush().await.unwrap();
            handle.delete(vec![key(1)]).await.unwrap();
            second.shutdown().await;
        }
        healthy(&target).await;
        let exists = backup::restore(&place, &bucket(), None, &target, &bucket(), &()).await;
        assert!(matches!(exists, Err(Error::BucketExists)));
    }
}

#[tokio::test]
async fn a_later_backup_copies_only_what_is_new() {
    let (source, place) = (common::shared(), Store::memory());
    let mut chance = Chance(5);
    let mut model = Model::default();
    let engine = engine(&source, options()).await;
    fill(&engine, "one", &mut chance, &mut model, 6).await;
    let before = model.clone();
    let first = take(&source, &place).await;
    let again = take(&source, &place).await;
    assert_eq!((again.number, again.objects_copied, again.bytes_copied), (2, 0, 0));
    assert_eq!((again.objects, again.bytes), (first.objects, first.bytes));
    fill(&engine, "one", &mut chance, &mut model, 1).await;
    let third = take(&source, &place).await;
    assert!((1..=2).contains(&third.objects_copied), "a slot or two: {third:?}");
    engine.shutdown().await;
    let infos = backup::list(&place, None).await.unwrap();
    let numbers: Vec<u64> = infos.iter().map(|info| info.number).collect();
    assert_eq!(numbers, [1, 2, 3]);
    assert_eq!(infos[0].objects, first.objects);

    // Each is restored as it was.
    for (number, model) in [(1, &before), (3, &model)] {
        let target = common::shared();
        let to = elsewhere();
        backup::restore(&place, &bucket(), Some(number), &target, &to, &()).await.unwrap();
        check_bucket(&target, &to, &[("one", model)]).await;
    }

    let pruned = backup::prune(&place, None, 1, NOW_MS).await.unwrap();
    assert_eq!(pruned.backups, 2);
    let (number, wrong) = backup::verify(&place, &bucket(), None, &()).await.unwrap();
    assert!(number == 3 && wrong.is_empty(), "{wrong:?}");
    let left = place.list_after("data", None).await.unwrap();
    assert_eq!(left.len() as u64, third.objects, "copies that no backup names are gone");
    let gone = backup::restore(&place, &bucket(), Some(1), &place, &elsewhere(), &()).await;
    assert!(matches!(gone, Err(Error::NoSuchBucket)));
}

#[tokio::test]
async fn a_damaged_copy_is_found_and_not_restored() {
    let (source, place) = (common::shared(), Store::memory());
    let mut model = Model::default();
    let engine = engine(&source, options()).await;
    fill(&engine, "one", &mut Chance(8), &mut model, 6).await;
    engine.shutdown().await;
    take(&source, &place).await;
    for object in place.list_after("data", None).await.unwrap() {
        let good = place.get(&object.path).await.unwrap();
        let mut bad = good.to_vec();
        let at = bad.len() / 2;
        bad[at] ^= 1;
        place.put(&object.path, bad.into()).await.unwrap();
        let (_, wrong) = backup::verify(&place, &bucket(), None, &()).await.unwrap();
        let [Error::Corrupt { path, .. }] = wrong.as_slice() else { panic!("{wrong:?}") };
        assert_eq!(*path, object.path);
        let target = common::shared();
        let restored = backup::restore(&place, &bucket(), None, &target, &bucket(), &()).await;
        assert!(matches!(restored, Err(Error::Corrupt { .. })), "{}", object.path);
        let nobody = common::engine(&target, options()).await;
        assert!(matches!(nobody.bucket(&bucket()).await, Err(Error::NoSuchBucket)));
        nobody.shutdown().await;
        place.put(&object.path, good).await.unwrap();
    }
    place.delete(&place.list_after("data", None).await.unwrap()[0].path).await.unwrap();
    let (_, wrong) = backup::verify(&place, &bucket(), None, &()).await.unwrap();
    assert_eq!(wrong.len(), 1);
}

/// A store whose writes fail from some number on, as if the process had been killed there.
#[derive(Debug)]
struct Dying {
    objects: Arc<InMemory>,
    writes_left: AtomicUsize,
}

impl fmt::Display for Dying {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Dying")
    }
}

impl Dying {
    fn write(&self, path: &Path) -> Result<()> {
        let left = |left: usize| left.checked_sub(1);
        match self.writes_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, left) {
            Ok(_) => Ok(()),
            Err(_) => Err(object_store::Error::PermissionDenied {
                path: path.to_string(),
                source: "dead".into(),
            }),
        }
    }
}

#[async_trait::async_trait]
impl ObjectStore for Dying {
    async fn put_opts(
        &self,
        path: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        self.write(path)?;
        self.objects.put_opts(path, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.write(path)?;
        self.objects.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.objects.get_opts(path, options).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        if self.writes_left.load(Ordering::Relaxed) == 0 {
            let dead = |path: Result<Path>| {
                let path = path?.to_string();
                Err(object_store::Error::PermissionDenied { path, source: "dead".into() })
            };
            return Box::pin(futures_util::StreamExt::map(paths, dead));
        }
        self.objects.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.objects.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.objects.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.objects.copy_opts(from, to, options).await
    }
}

fn dying(objects: &Arc<InMemory>, writes: usize) -> Store {
    let dying = Dying { objects: Arc::clone(objects), writes_left: AtomicUsize::new(writes) };
    Store::from_object_store(Arc::new(dying), false)
}

fn alive(objects: &Arc<InMemory>) -> Store {
    Store::from_object_store(Arc::clone(objects) as Arc<dyn ObjectStore>, false)
}

/// Killed before any of its writes, a backup lists nothing; run again it comes to its end.
#[tokio::test]
async fn a_backup_that_was_killed_goes_on() {
    let source = common::shared();
    let mut model = Model::default();
    let engine = engine(&source, options()).await;
    fill(&engine, "one", &mut Chance(3), &mut model, 5).await;
    engine.shutdown().await;
    let mut killed = 0;
    for writes in 0.. {
        let objects = Arc::new(InMemory::new());
        let died = backup::backup(&source, &dying(&objects, writes), &bucket(), NOW_MS, &()).await;
        let place = alive(&objects);
        let listed = backup::list(&place, None).await.unwrap();
        if died.is_ok() {
            break;
        }
        killed += 1;
        // Dead after the list was created, before the mark was removed, it is whole.
        for info in &listed {
            let (_, wrong) =
                backup::verify(&place, &bucket(), Some(info.number), &()).await.unwrap();
            assert!(wrong.is_empty(), "{wrong:?}");
        }
        let copied = place.list_after("data", None).await.unwrap().len() as u64;
        let taken = take(&source, &place).await;
        assert_eq!(taken.objects_copied + copied, taken.objects, "killed at write {writes}");
        assert_eq!(place.list_after("running", None).await.unwrap(), []);
        let target = common::shared();
        backup::restore(&place, &bucket(), None, &target, &bucket(), &()).await.unwrap();
        check_bucket(&target, &bucket(), &[("one", &model)]).await;
    }
    assert!(killed > 5, "{killed}");
}

/// Killed before any of its writes, a restore shows nothing of the bucket; run again it comes to
/// its end, with nothing left over.
#[tokio::test]
async fn a_restore_that_was_killed_goes_on() {
    let (source, place) = (common::shared(), Store::memory());
    let (mut one, mut two) = (Model::default(), Model::default());
    let first = engine(&source, options()).await;
    fill(&first, "one", &mut Chance(4), &mut one, 5).await;
    fill(&first, "two", &mut Chance(5), &mut two, 2).await;
    first.shutdown().await;
    take(&source, &place).await;
    let mut killed = 0;
    for writes in 0.. {
        let objects = Arc::new(InMemory::new());
        let died =
            backup::restore(&place, &bucket(), None, &dying(&objects, writes), &bucket(), &())
                .await;
        let store = alive(&objects);
        if died.is_ok() {
            break;
        }
        killed += 1;
        let somebody = engine(&store, options()).await;
        match somebody.list_indexes(&bucket()).await {
            Err(Error::NoSuchBucket) => {}
            // Dead between the slot that makes it all visible and the journal's removal.
            Ok(indexes) => assert_eq!(indexes.len(), 2),
            Err(error) => panic!("{error}"),
        }
        somebody.shutdown().await;
        let again = backup::restore(&place, &bucket(), None, &store, &bucket(), &()).await;
        assert_eq!(again.unwrap().indexes, 2, "killed at write {writes}");
        check_bucket(&store, &bucket(), &[("one", &one), ("two", &two)]).await;
        healthy(&store).await;
    }
    assert!(killed >= 8, "{killed}");
}

/// Two keys are always written together: whatever snapshot a backup takes, they agree.
#[tokio::test]
async fn a_backup_beside_writers_is_a_state_that_was() {
    let (source, place) = (common::shared(), Store::memory());
    let engine = engine(&source, options()).await;
    let index = index(&engine, "busy", one_field(1)).await;
    let schema = index.schema().clone();
    let writer = async {
        for version in 1..=120usize {
            let rows: Vec<_> =
                (0..4).map(|number| (key(number), common::record(&[version as f32]))).collect();
            index.put(batch(&schema, &rows)).await.unwrap();
            if version % 9 == 0 {
                index.flush().await.unwrap();
            }
            if version % 20 == 0 {
                let name = format!("passing-{version}");
                let made = settings(one_field(1));
                engine.create_index(&bucket(), name.as_bytes(), made).await.unwrap();
                engine.delete_index(&bucket(), name.as_bytes()).await.unwrap();
            }
            tokio::task::yield_now().await;
        }
    };
    let backups = async {
        let mut taken = Vec::new();
        for _ in 0..8 {
            match backup::backup(&source, &place, &bucket(), NOW_MS, &()).await {
                Ok(done) => taken.push(done.number),
                Err(Error::Conflict) => {}
                Err(error) => panic!("{error}"),
            }
        }
        taken
    };
    let ((), taken) = tokio::join!(writer, backups);
    engine.shutdown().await;
    assert!(!taken.is_empty());
    let mut last = 0.0;
    for number in taken {
        let target = common::shared();
        let to = elsewhere();
        backup::restore(&place, &bucket(), Some(number), &target, &to, &()).await.unwrap();
        let reader = common::engine(&target, options()).await;
        let handle = reader.resolve(&to, b"busy").await.unwrap();
        let rows = list_all(&handle, page(100)).await;
        let versions: Vec<f32> =
            rows.iter().map(|row| row.vectors[0].as_ref().unwrap()[0]).collect();
        assert!(versions.is_empty() || versions.len() == 4, "{versions:?}");
        assert!(versions.iter().all(|version| *version == versions[0]), "{versions:?}");
        let version = versions.first().copied().unwrap_or_default();
        assert!(version >= last, "a later backup is not older");
        last = version;
        reader.shutdown().await;
    }
}

#[tokio::test]
async fn places_and_stores_are_not_mixed_up() {
    let (source, place) = (common::shared(), Store::memory());
    let engine = engine(&source, options()).await;
    fill(&engine, "one", &mut Chance(1), &mut Model::default(), 1).await;
    engine.shutdown().await;
    let into_itself = backup::backup(&source, &source, &bucket(), NOW_MS, &()).await;
    assert!(matches!(into_itself, Err(Error::Invalid(_))));
    let none = backup::restore(&place, &bucket(), None, &source, &elsewhere(), &()).await;
    assert!(matches!(none, Err(Error::Invalid(_))));
    let nobody = backup::backup(&source, &place, &elsewhere(), NOW_MS, &()).await;
    assert!(matches!(nobody, Err(Error::NoSuchBucket)));
    take(&source, &place).await;
    let other = backup::restore(&place, &elsewhere(), None, &source, &elsewhere(), &()).await;
    assert!(matches!(other, Err(Error::NoSuchBucket)));
    // A mark of a backup under way keeps copies that nothing names yet.
    place.put("running/1/b", Bytes::from_static(b"x")).await.unwrap();
    let pruned = backup::prune(&place, None, 1, NOW_MS / 2).await;
    assert!(matches!(pruned, Err(Error::Conflict)));
    assert_eq!(place.list_after("running", None).await.unwrap().len(), 1);
    let stale = backup::prune(&place, None, 1, u64::MAX / 2).await.unwrap();
    assert_eq!((stale.backups, stale.objects), (0, 0));
}
