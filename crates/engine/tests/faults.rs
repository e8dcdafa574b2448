//! A store that fails: full, silent, or losing its replies.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::{Model, batch, bucket, check_all, engine, index, key, one_field, quiet, record};
use futures_util::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use parking_lot::Mutex;
use tokio::sync::watch;
use vb_commit::Store;
use vb_engine::{Error, IndexHandle, Options};

/// What happens to writes of objects whose path contains a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// No room left: an error that leaves open whether the write took place.
    Full,
    /// Refused.
    Denied,
    /// Done, but the reply is lost.
    LostReply,
}

#[derive(Debug)]
struct Faulty {
    objects: InMemory,
    fault: Mutex<Option<(&'static str, Fault)>>,
    /// Writes of objects whose path contains the text, and replies to reads of them, wait until it is
    /// taken away.
    held: watch::Sender<Option<&'static str>>,
    /// How many have come so far that had to wait.
    waiting: AtomicUsize,
}

impl Faulty {
    async fn hold(&self, location: &Path) {
        let is_held = |part: &Option<&str>| part.is_some_and(|p| location.as_ref().contains(p));
        let mut held = self.held.subscribe();
        if is_held(&held.borrow()) {
            self.waiting.fetch_add(1, Ordering::Relaxed);
        }
        held.wait_for(|part| !is_held(part)).await.unwrap();
    }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Faulty")
    }
}

fn failure(kind: std::io::ErrorKind) -> object_store::Error {
    object_store::Error::Generic { store: "faulty", source: Box::new(std::io::Error::from(kind)) }
}

#[async_trait::async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        self.hold(location).await;
        let fault = *self.fault.lock();
        match fault.filter(|(part, _)| location.as_ref().contains(part)) {
            Some((_, Fault::Full)) => Err(failure(std::io::ErrorKind::StorageFull)),
            Some((_, Fault::Denied)) => Err(object_store::Error::PermissionDenied {
                path: location.to_string(),
                source: "read-only".into(),
            }),
            Some((_, Fault::LostReply)) => {
                self.objects.put_opts(location, payload, options).await?;
                Err(failure(std::io::ErrorKind::TimedOut))
            }
            None => self.objects.put_opts(location, payload, options).await,
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.objects.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let read = self.objects.get_opts(location, options).await;
        self.hold(location).await;
        read
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.objects.delete_stream(locations)
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

fn faulty(sole: bool) -> (Arc<Faulty>, Store) {
    let objects = Arc::new(Faulty {
        objects: InMemory::new(),
        fault: Mutex::new(None),
        held: watch::Sender::new(None),
        waiting: AtomicUsize::new(0),
    });
    (objects.clone(), Store::from_object_store(objects, sole))
}

async fn put(index: &IndexHandle, model: &mut Model, numbers: std::ops::Range<usize>, value: f32) {
    let rows: Vec<_> = numbers.map(|n| (key(n), record(&[n as f32 % 5.0, value]))).collect();
    index.put(batch(index.schema(), &rows)).await.unwrap();
    model.put(&rows);
}

#[tokio::test]
async fn a_store_that_takes_no_writes_serves_reads_and_recovers() {
    let (objects, store) = faulty(true);
    let engine = engine(&store, quiet()).await;
    let index = index(&engine, "index", one_field(2)).await;
    let mut model = Model::default();
    put(&index, &mut model, 0..10, 1.0).await;
    for (fault, known) in [(Fault::Denied, true), (Fault::Full, false)] {
        *objects.fault.lock() = Some(("/log/", fault));
        let rows = [(key(1), record(&[9.0, 9.0]))];
        for refused in
            [index.put(batch(index.schema(), &rows)).await, index.delete(vec![key(1)]).await]
        {
            match refused {
                Err(Error::Storage(_)) => assert!(known),
                Err(Error::OutcomeUnknown) => assert!(!known),
                other => panic!("{other:?}"),
            }
        }
        check_all(&index, &model).await;
    }
    *objects.fault.lock() = None;
    put(&index, &mut model, 5..15, 2.0).await;
    check_all(&index, &model).await;
}

#[tokio::test]
async fn a_flush_that_fails_is_tried_again_and_loses_nothing() {
    for part in ["/segment/", "/manifest/"] {
        let (objects, store) = faulty(true);
        let options = Options { memtable_bytes_max: 3000, ..quiet() };
        let engine = engine(&store, options).await;
        let index = index(&engine, "index", one_field(2)).await;
        let mut model = Model::default();
        *objects.fault.lock() = Some((part, Fault::Full));
        put(&index, &mut model, 0..30, 1.0).await;
        until(|| engine.stats().flushes_failed > 0).await;
        // Writes go on over the frozen records.
        put(&index, &mut model, 20..25, 2.0).await;
        index.delete(vec![key(3), key(22)]).await.unwrap();
        model.delete(&[key(3), key(22)]);
        check_all(&index, &model).await;
        *objects.fault.lock() = None;
        until(|| engine.stats().flushes > 0).await;
        check_all(&index, &model).await;
        engine.shutdown().await;
        let engine = common::engine(&store, quiet()).await;
        check_all(&engine.resolve(&bucket(), b"index").await.unwrap(), &model).await;
    }
}

/// Nothing can be flushed: writes are delayed, then refused without effect; then all goes on.
#[tokio::test]
async fn writes_are_refused_while_too_much_is_unflushed() {
    let (objects, store) = faulty(true);
    let options =
        Options { memtable_bytes_max: 1000, write_delay_max: Duration::from_millis(20), ..quiet() };
    let engine = engine(&store, options).await;
    let index = index(&engine, "index", one_field(2)).await;
    let mut accepted = Model::default();
    *objects.fault.lock() = Some(("/segment/", Fault::Full));
    let mut refused = 0;
    for n in 0..100 {
        let rows = [(key(n), record(&[1.0, 1.0]))];
        match index.put(batch(index.schema(), &rows)).await {
            Ok(()) => accepted.put(&rows),
            Err(Error::Busy) => refused += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert!((1..100).contains(&refused), "{refused}");
    let stats = engine.stats();
    assert_eq!(stats.writes_refused, refused);
    assert!(stats.write_delay_micros >= refused * 20_000);
    assert!((4000..5000).contains(&stats.memtable_bytes), "{stats:?}");
    check_all(&index, &accepted).await;
    *objects.fault.lock() = None;
    until(|| engine.stats().memtable_bytes < 4000).await;
    put(&index, &mut accepted, 0..1, 3.0).await;
    check_all(&index, &accepted).await;
}

/// Somebody opens an index while it is being deleted, and has read its log already: what he opens
/// must not outlive the deletion, or take writes when the log's objects are gone.
#[tokio::test]
async fn an_index_that_is_being_opened_does_not_survive_its_deletion() {
    let (objects, store) = faulty(true);
    let first = engine(&store, quiet()).await;
    let handle = index(&first, "index", one_field(2)).await;
    let mut model = Model::default();
    put(&handle, &mut model, 0..5, 1.0).await;
    handle.flush().await.unwrap();
    first.shutdown().await;

    let second = engine(&store, quiet()).await;
    let handle = second.resolve(&bucket(), b"index").await.unwrap();
    objects.held.send_replace(Some("/segment/"));
    // A key that the segment has: the write has to look for the older record there.
    let rows = [(key(2), record(&[1.0, 1.0]))];
    let late = batch(handle.schema(), &rows);
    let opening = tokio::spawn({
        let (handle, late) = (handle.clone(), late.clone());
        async move { handle.put(late).await }
    });
    until(|| objects.waiting.load(Ordering::Relaxed) > 0).await;
    let deletion = tokio::spawn({
        let engine = second.clone();
        async move { engine.delete_index(&bucket(), b"index").await }
    });
    let prefix = format!("index/{}", handle.id());
    // Long enough for a deletion that does not look at what is being opened to remove everything.
    let _ = tokio::time::timeout(Duration::from_millis(300), removed(&store, &prefix)).await;
    objects.held.send_replace(None);
    deletion.await.unwrap().unwrap();
    // A write that was there in time may have been accepted; none is from now on.
    let _ = opening.await.unwrap();
    assert!(matches!(handle.put(late).await, Err(Error::NoSuchIndex)));
    removed(&store, &prefix).await;
}

/// What a flush writes after its index was dropped and removed does not stay for ever.
#[tokio::test]
async fn a_flush_that_meets_a_dropped_index_leaves_nothing_behind() {
    let (objects, store) = faulty(true);
    let engine = engine(&store, quiet()).await;
    let handle = index(&engine, "index", one_field(2)).await;
    put(&handle, &mut Model::default(), 0..5, 1.0).await;
    objects.held.send_replace(Some("/segment/"));
    let flushing = tokio::spawn({
        let handle = handle.clone();
        async move { handle.flush().await }
    });
    until(|| objects.waiting.load(Ordering::Relaxed) > 0).await;
    engine.delete_index(&bucket(), b"index").await.unwrap();
    let prefix = format!("index/{}", handle.id());
    removed(&store, &prefix).await;
    objects.held.send_replace(None);
    assert!(flushing.await.unwrap().is_err());
    assert_eq!(store.list_after(&prefix, None).await.unwrap(), []);
}

async fn removed(store: &Store, prefix: &str) {
    while !store.list_after(prefix, None).await.unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn until(condition: impl Fn() -> bool) {
    let waited = tokio::time::timeout(Duration::from_secs(60), async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    waited.await.expect("the condition comes true");
}

/// A write that took place although its reply was lost is there exactly once, or reported unknown
/// and then there once it has been seen.
#[tokio::test]
async fn lost_replies_lose_and_double_nothing() {
    for sole in [true, false] {
        let (objects, store) = faulty(sole);
        let engine = engine(&store, quiet()).await;
        let index = index(&engine, "index", one_field(2)).await;
        let mut model = Model::default();
        for round in 0..6usize {
            *objects.fault.lock() = (round % 2 == 1).then_some(("/log/", Fault::LostReply));
            let rows: Vec<_> =
                (round..round + 3).map(|n| (key(n), record(&[1.0, round as f32]))).collect();
            match index.put(batch(index.schema(), &rows)).await {
                // The store did execute it, so known or unknown: it is there.
                Ok(()) | Err(Error::OutcomeUnknown) => model.put(&rows),
                Err(error) => panic!("{error}"),
            }
            *objects.fault.lock() = None;
            put(&index, &mut model, 10..12, round as f32).await;
            check_all(&index, &model).await;
        }
        *objects.fault.lock() = Some(("/manifest/", Fault::LostReply));
        match index.flush().await {
            Ok(()) | Err(Error::OutcomeUnknown) => {}
            Err(error) => panic!("{error}"),
        }
        *objects.fault.lock() = None;
        check_all(&index, &model).await;
        put(&index, &mut model, 0..2, 7.0).await;
        index.flush().await.unwrap();
        put(&index, &mut model, 1..3, 8.0).await;
        check_all(&index, &model).await;
        engine.shutdown().await;
        let engine = common::engine(&store, quiet()).await;
        check_all(&engine.resolve(&bucket(), b"index").await.unwrap(), &model).await;
    }
}
