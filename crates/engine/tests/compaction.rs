//! Merges of the whole engine: what they leave behind, crashes in the middle of them, writes beside
//! them, and two engines that merge and collect against each other.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use common::{Model, batch, bucket, check_all, engine, index, key, one_field, quiet, record, sole};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use vb_commit::Store;
use vb_engine::{Compaction, Error, IndexHandle, Options};

/// A store of which nothing more is heard after so many writes and deletes.
#[derive(Debug)]
struct Crashing {
    objects: Arc<InMemory>,
    left: AtomicI64,
}

impl fmt::Display for Crashing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Crashing")
    }
}

impl Crashing {
    fn alive(&self, cost: i64) -> Result<()> {
        match self.left.fetch_sub(cost, Ordering::Relaxed) {
            left if left > 0 => Ok(()),
            _ => Err(object_store::Error::Generic { store: "crashing", source: "crashed".into() }),
        }
    }
}

#[async_trait::async_trait]
impl ObjectStore for Crashing {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        self.alive(1)?;
        self.objects.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.alive(1)?;
        self.objects.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.alive(0)?;
        self.objects.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        match self.alive(1) {
            Ok(()) => self.objects.delete_stream(locations),
            Err(error) => futures_util::stream::iter([Err(error)]).boxed(),
        }
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.alive(0) {
            Ok(()) => self.objects.list(prefix),
            Err(error) => futures_util::stream::iter([Err(error)]).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.alive(0)?;
        self.objects.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.objects.copy_opts(from, to, options).await
    }
}

async fn put(index: &IndexHandle, model: &mut Model, numbers: std::ops::Range<usize>, value: f32) {
    let rows: Vec<_> = numbers.map(|n| (key(n), record(&[n as f32 % 5.0, value]))).collect();
    index.put(batch(index.schema(), &rows)).await.unwrap();
    model.put(&rows);
}

/// Three segments with overwritten and deleted records, and a tail over them.
async fn some_segments(index: &IndexHandle, model: &mut Model) {
    for round in 0..3usize {
        put(index, model, round * 10..round * 10 + 25, round as f32).await;
        let doomed = vec![key(round * 10), key(round * 10 + 17)];
        index.delete(doomed.clone()).await.unwrap();
        model.delete(&doomed);
        index.flush().await.unwrap();
    }
    put(index, model, 20..28, 9.0).await;
}

async fn objects(store: &Store, index: &IndexHandle, folder: &str) -> usize {
    let prefix = format!("index/{}/{folder}", index.id());
    store.list_after(&prefix, None).await.unwrap().len()
}

/// Waits until the index has so many segment objects.
async fn settled(store: &Store, index: &IndexHandle, segments: usize) {
    let waited = tokio::time::timeout(Duration::from_secs(60), async {
        while objects(store, index, "segment").await != segments {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("{segments} segments are left in the end"));
}

#[tokio::test]
async fn a_merge_leaves_one_segment_of_live_records() {
    let store = sole();
    let engine = engine(&store, quiet()).await;
    let index = index(&engine, "index", one_field(2)).await;
    let mut model = Model::default();
    some_segments(&index, &mut model).await;
    index.compact().await.unwrap();
    check_all(&index, &model).await;
    settled(&store, &index, 1).await;
    check_all(&index, &model).await;
    let stats = engine.stats();
    assert_eq!((stats.merges, stats.segments, stats.merges_failed), (1, 1, 0));
    // Nothing to gain.
    index.compact().await.unwrap();
    assert_eq!(engine.stats().merges, 1);
    // All records deleted: no segment is left.
    let all: Vec<_> = model.records.keys().cloned().collect();
    index.delete(all.clone()).await.unwrap();
    model.delete(&all);
    // As long as only the log says so, their documents stay.
    index.compact().await.unwrap();
    settled(&store, &index, 1).await;
    check_all(&index, &model).await;
    index.flush().await.unwrap();
    check_all(&index, &model).await;
    settled(&store, &index, 0).await;
    index.flush().await.unwrap();
    engine.shutdown().await;
    let engine = common::engine(&store, quiet()).await;
    check_all(&engine.resolve(&bucket(), b"index").await.unwrap(), &model).await;
}

/// What was asked of the engine when it crashed may have taken place or not; all else is certain.
#[tokio::test]
async fn a_crash_between_any_two_writes_of_a_merge_loses_nothing() {
    for alone in [true, false] {
        let mut writes = 0;
        let mut crashed = true;
        while crashed {
            crashed = crash_after(writes, alone).await;
            writes += 1;
        }
        assert!(writes > 6, "{writes} writes were enough for all of it");
    }
}

async fn crash_after(writes: i64, alone: bool) -> bool {
    let plain = Arc::new(InMemory::new());
    let crashing = Arc::new(Crashing { objects: plain.clone(), left: AtomicI64::new(i64::MAX) });
    let store = Store::from_object_store(crashing.clone(), alone);
    let first = engine(&store, quiet()).await;
    let handle = index(&first, "index", one_field(2)).await;
    let mut model = Model::default();
    some_segments(&handle, &mut model).await;
    crashing.left.store(writes, Ordering::Relaxed);
    let mut crashed = handle.compact().await.is_err();
    let rows: Vec<_> = (3..9).map(|n| (key(n), record(&[7.0, 7.0]))).collect();
    let mut perhaps = model.clone();
    perhaps.put(&rows);
    match handle.put(batch(handle.schema(), &rows)).await {
        Ok(()) => model = perhaps.clone(),
        Err(_) => crashed = true,
    }
    crashed |= handle.flush().await.is_err();
    crashed |= handle.compact().await.is_err();
    first.shutdown().await;
    drop((first, handle, store));

    let store = Store::from_object_store(plain, alone);
    let second = engine(&store, quiet()).await;
    let handle = second.resolve(&bucket(), b"index").await.unwrap();
    let found = common::list_all(&handle, common::page(100)).await;
    let after = found.iter().any(|row| row.vectors == [Some(vec![7.0, 7.0])]);
    let model = if after { perhaps } else { model };
    check_all(&handle, &model).await;
    handle.flush().await.unwrap();
    handle.compact().await.unwrap();
    check_all(&handle, &model).await;
    if alone {
        // What the crash left behind goes as well.
        settled(&store, &handle, 1).await;
        check_all(&handle, &model).await;
    }
    second.shutdown().await;
    crashed
}

/// Overwrites, deletes and a flush while a merge is on its way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_beside_a_merge_are_carried_over() {
    for round in 0..20usize {
        let store = sole();
        let engine = engine(&store, quiet()).await;
        let index = index(&engine, "index", one_field(2)).await;
        let mut model = Model::default();
        some_segments(&index, &mut model).await;
        let merging = tokio::spawn({
            let index = index.clone();
            async move { index.compact().await }
        });
        for step in 0..round {
            put(&index, &mut model, step * 3..step * 3 + 4, 100.0 + step as f32).await;
            let doomed = vec![key(step * 2), key(step + 30)];
            index.delete(doomed.clone()).await.unwrap();
            model.delete(&doomed);
            if step % 4 == 3 {
                index.flush().await.unwrap();
            }
        }
        match merging.await.unwrap() {
            // A flush beside it emptied one of its inputs.
            Ok(()) | Err(Error::Conflict) => {}
            Err(error) => panic!("{error}"),
        }
        check_all(&index, &model).await;
        engine.shutdown().await;
        let engine = common::engine(&store, quiet()).await;
        let index = engine.resolve(&bucket(), b"index").await.unwrap();
        check_all(&index, &model).await;
        index.flush().await.unwrap();
        index.compact().await.unwrap();
        check_all(&index, &model).await;
        settled(&store, &index, 1).await;
        engine.shutdown().await;
    }
}

/// Two engines over one store write, flush, merge and collect at once, with no grace at all: each finds
/// objects of its snapshot gone now and then, and manifests of the other in its way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_engines_merge_and_collect_against_each_other() {
    let objects = Arc::new(InMemory::new());
    let options = || Options { collect_grace: Duration::ZERO, ..quiet() };
    let store = || Store::from_object_store(objects.clone(), false);
    let engines = [engine(&store(), options()).await, engine(&store(), options()).await];
    index(&engines[0], "index", one_field(2)).await;
    let mut handles = Vec::new();
    for engine in &engines {
        handles.push(engine.resolve(&bucket(), b"index").await.unwrap());
    }
    let work = |number: usize, index: IndexHandle| async move {
        let mut model = Model::default();
        for round in 0..30usize {
            let base = number * 1000 + round % 7 * 10;
            put(&index, &mut model, base..base + 10, round as f32).await;
            let doomed = vec![key(base + round % 10)];
            index.delete(doomed.clone()).await.unwrap();
            model.delete(&doomed);
            for done in [index.flush().await, index.compact().await] {
                match done {
                    Ok(()) | Err(Error::Conflict) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        }
        model
    };
    let works = handles.iter().cloned().enumerate();
    let works: Vec<_> = works.map(|(number, index)| tokio::spawn(work(number, index))).collect();
    let mut model = Model::default();
    for work in works {
        model.records.extend(work.await.unwrap().records);
    }
    for index in &handles {
        check_all(index, &model).await;
    }
    let merges: u64 = engines.iter().map(|engine| engine.stats().merges).sum();
    assert!(merges > 0, "some merges came through");
    let third = engine(&store(), quiet()).await;
    check_all(&third.resolve(&bucket(), b"index").await.unwrap(), &model).await;
}

/// Nobody asks for anything: an index under small flushes stays in few segments, and in fewer at rest.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_left_alone_comes_to_rest() {
    let store = sole();
    let compaction = Compaction { rest_after: Duration::from_millis(200), ..Compaction::default() };
    let options = Options { memtable_bytes_max: 64 << 10, compaction, ..quiet() };
    let engine = engine(&store, options).await;
    let index = index(&engine, "index", one_field(2)).await;
    let mut model = Model::default();
    let mut most = 0;
    for round in 0..120usize {
        let start = round * 173 % 2000;
        put(&index, &mut model, start..start + 200, round as f32).await;
        most = most.max(engine.stats().segments);
    }
    assert!(most <= 12, "{most} segments under load");
    let waited = tokio::time::timeout(Duration::from_secs(60), async {
        // Merged, flushed as far as it matters, and collected.
        while engine.stats().segments > 6 || objects(&store, &index, "segment").await > 6 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    waited.await.unwrap();
    assert!(engine.stats().merges > 0);
    check_all(&index, &model).await;
    engine.shutdown().await;
}

/// Another process merges what a snapshot names and removes it, without a single new slot: the proof
/// of the tip does not show it, the missing object does.
#[tokio::test(start_paused = true)]
async fn a_snapshot_whose_segments_are_gone_goes_over_to_the_newest_manifest() {
    let objects = Arc::new(InMemory::new());
    let store = || Store::from_object_store(objects.clone(), false);
    // No memory for parts: every read of a segment asks the store.
    let options = || Options {
        collect_grace: Duration::ZERO,
        cache_memory_bytes: Some(0),
        threads: Some(0),
        ..quiet()
    };
    let (writer, reader) = (engine(&store(), options()).await, engine(&store(), options()).await);
    let index = index(&writer, "index", one_field(2)).await;
    let mut model = Model::default();
    some_segments(&index, &mut model).await;
    let read = reader.resolve(&bucket(), b"index").await.unwrap();
    check_all(&read, &model).await;
    index.flush().await.unwrap();
    index.compact().await.unwrap();
    settled(&store(), &index, 1).await;
    check_all(&read, &model).await;
}
