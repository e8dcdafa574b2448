//! Large objects, on stores that take them and one that loses a part.

use std::fs;
use std::ops::Range;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};

use crate::store::tests::{leave_staged, until_swept};
use crate::store::{LocalOptions, Store};

fn local(dir: &FilePath) -> Store {
    Store::local(dir, LocalOptions::default()).unwrap()
}

/// 20 MiB that differ everywhere, in pieces of all sizes.
fn pieces() -> Vec<Bytes> {
    let whole: Vec<u8> = (0..20u32 << 18).flat_map(u32::to_le_bytes).collect();
    let whole = Bytes::from(whole);
    let cuts = [0, 1, 1000, 9 << 20, (9 << 20) + 1, 19 << 20, 20 << 20];
    cuts.windows(2).map(|cut| whole.slice(cut[0]..cut[1])).collect()
}

#[tokio::test]
async fn an_object_written_in_pieces_is_seen_once_it_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    for store in [Store::memory(), local(dir.path())] {
        let mut writer = store.writer("a/b/large");
        for piece in pieces() {
            writer.write(piece).await.unwrap();
            assert!(store.list_after("a", None).await.unwrap().is_empty(), "{store:?}");
        }
        assert_eq!(writer.written(), 20 << 20);
        writer.finish().await.unwrap();
        let read = store.get("a/b/large").await.unwrap();
        assert!(read == pieces().concat(), "{store:?}");
        let mut small = store.writer("a/b/large");
        small.write(Bytes::from_static(b"re")).await.unwrap();
        small.write(Bytes::from_static(b"placed")).await.unwrap();
        small.finish().await.unwrap();
        assert_eq!(store.get("a/b/large").await.unwrap(), Bytes::from_static(b"replaced"));
        store.writer("a/empty").finish().await.unwrap();
        assert!(store.get("a/empty").await.unwrap().is_empty());
        assert!(store.writer("../a").finish().await.is_err(), "{store:?}");
        assert_eq!(store.counts().put.bytes, (20 << 20) + 8);
    }
}

/// All files below a folder.
fn files(dir: &FilePath) -> Vec<PathBuf> {
    let (folders, mut found): (Vec<_>, Vec<_>) = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .partition(|path| path.is_dir());
    found.extend(folders.iter().flat_map(|folder| files(folder)));
    found
}

/// Writers are kept in tasks that are spawned.
#[test]
fn a_writer_can_be_shared_between_threads() {
    fn check<T: Send + Sync>(_: &T) {}
    check(&Store::memory().writer("a"));
}

#[tokio::test]
async fn an_unfinished_object_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = local(dir.path());
    let before = files(dir.path());
    let mut aborted = store.writer("a/b/1");
    let mut dropped = store.writer("a/b/2");
    for piece in pieces() {
        aborted.write(piece.clone()).await.unwrap();
        dropped.write(piece).await.unwrap();
    }
    assert_eq!(files(dir.path()).len(), before.len() + 2, "both are staged");
    aborted.abort().await;
    drop(dropped);
    // What a dropped writer leaves is removed by a task of its own.
    while files(dir.path()) != before {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_staged_large_object_of_a_killed_owner_is_swept() {
    let dir = tempfile::tempdir().unwrap();
    let store = local(dir.path());
    let mut writer = store.writer("index/1/segment/1");
    for piece in pieces() {
        writer.write(piece).await.unwrap();
    }
    let staged: Vec<_> = files(dir.path()).into_iter().filter(|f| !f.ends_with("lock#0")).collect();
    assert_eq!(staged.len(), 1, "{staged:?}");
    let signed = fs::read(dir.path().join("lock#0")).unwrap();
    writer.abort().await;
    drop(store);
    // As a kill at that moment would have left it.
    leave_staged(&staged[0]);
    fs::write(dir.path().join("lock#0"), signed).unwrap();
    let store = local(dir.path());
    until_swept(&staged[0]).await;
    assert!(store.list_after("index", None).await.unwrap().is_empty());
}

#[tokio::test]
async fn an_object_that_lost_a_part_is_never_completed() {
    let store = Store::from_object_store(Arc::new(LosingStore(InMemory::new())), false);
    let mut writer = store.writer("a");
    for piece in pieces().into_iter().chain(pieces()) {
        // The loss of the second part shows with one of the next, and from then on.
        let _ = writer.write(piece).await;
    }
    writer.write(Bytes::new()).await.unwrap_err();
    writer.finish().await.unwrap_err();
    assert!(store.list_after("", None).await.unwrap().is_empty());
}

/// A store that loses the second part of every upload.
#[derive(Debug)]
struct LosingStore(InMemory);

#[derive(Debug)]
struct LosingUpload(Box<dyn MultipartUpload>, usize);

#[async_trait]
impl MultipartUpload for LosingUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        self.1 += 1;
        match self.1 {
            2 => Box::pin(async { Err(Error::Generic { store: "losing", source: "lost".into() }) }),
            _ => self.0.put_part(data),
        }
    }

    async fn complete(&mut self) -> Result<PutResult> {
        self.0.complete().await
    }

    async fn abort(&mut self) -> Result<()> {
        self.0.abort().await
    }
}

impl std::fmt::Display for LosingStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LosingStore")
    }
}

#[async_trait]
impl ObjectStore for LosingStore {
    async fn put_opts(&self, at: &Path, bytes: PutPayload, how: PutOptions) -> Result<PutResult> {
        self.0.put_opts(at, bytes, how).await
    }

    async fn put_multipart_opts(
        &self,
        at: &Path,
        how: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        Ok(Box::new(LosingUpload(self.0.put_multipart_opts(at, how).await?, 0)))
    }

    async fn get_opts(&self, at: &Path, how: GetOptions) -> Result<GetResult> {
        self.0.get_opts(at, how).await
    }

    async fn get_ranges(&self, at: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.0.get_ranges(at, ranges).await
    }

    fn delete_stream(
        &self,
        at: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.0.delete_stream(at)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.0.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, how: CopyOptions) -> Result<()> {
        self.0.copy_opts(from, to, how).await
    }
}
