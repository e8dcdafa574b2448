//! One contract for all stores, and what is special to a local folder.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::Path as FilePath;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::{LocalOptions, Store};
use crate::error::StoreErrorKind;

fn local(dir: &std::path::Path) -> Store {
    Store::local(dir, LocalOptions::default()).unwrap()
}

/// A staged file as an earlier process left it.
pub(super) fn leave_staged(path: &FilePath) {
    fs::write(path, b"half").unwrap();
    let before = SystemTime::now() - Duration::from_secs(60);
    File::options().append(true).open(path).unwrap().set_modified(before).unwrap();
}

pub(super) async fn until_swept(path: &FilePath) {
    let swept = async {
        while path.exists() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), swept).await.expect("leftovers are swept");
}

#[tokio::test]
async fn every_store_keeps_the_contract() {
    let dir = tempfile::tempdir().unwrap();
    let folder = object_store::local::LocalFileSystem::new_with_prefix(dir.path()).unwrap();
    let other = tempfile::tempdir().unwrap();
    let any = Store::from_object_store(Arc::new(folder), true);
    for store in [Store::memory(), any, local(other.path())] {
        store.probe().await.unwrap();
        contract(&store).await;
    }
}

async fn contract(store: &Store) {
    let bytes = |text: &'static str| Bytes::from_static(text.as_bytes());
    store.create("a/b/1", bytes("one")).await.unwrap();
    let again = store.create("a/b/1", bytes("two")).await.unwrap_err();
    assert_eq!(again.kind(), StoreErrorKind::AlreadyExists);
    store.create_parts("a/b/2", vec![bytes("tw"), bytes("o")]).await.unwrap();
    store.put("a/c%23x", bytes("other")).await.unwrap();
    store.put("a/c%23x", bytes("another")).await.unwrap();
    assert_eq!(store.get("a/b/2").await.unwrap(), bytes("two"));
    assert_eq!(store.get("a/c%23x").await.unwrap(), bytes("another"));
    assert_eq!(store.get_range("a/c%23x", 2..5).await.unwrap(), bytes("oth"));
    let ranges = store.get_ranges("a/c%23x", &[0..2, 5..7]).await.unwrap();
    assert_eq!(ranges, [bytes("an"), bytes("er")]);
    assert!(store.get_range("a/c%23x", 2..100).await.is_err(), "a range beyond the end");
    assert_eq!(store.get("a/b/3").await.unwrap_err().kind(), StoreErrorKind::NotFound);
    let listed = store.list_after("a", Some("a/b/1")).await.unwrap();
    let paths: Vec<_> = listed.iter().map(|object| (object.path.as_str(), object.size)).collect();
    assert_eq!(paths, [("a/b/2", 3), ("a/c%23x", 7)]);
    let level = store.list_level("a").await.unwrap();
    assert_eq!(level.prefixes, ["a/b"]);
    assert_eq!(level.objects.len(), 1);
    assert!(store.list_after("nothing", None).await.unwrap().is_empty());
    store.delete("a/b/3").await.unwrap();
    store.delete_all(&["a/b/1".into(), "a/b/2".into(), "a/b/9".into()]).await.unwrap();
    assert_eq!(store.list_after("a", None).await.unwrap().len(), 1);
    for path in ["", "/a", "a//b", "a/../b", "a/", "a/b\0"] {
        let refused = store.create(path, Bytes::new()).await.unwrap_err();
        assert_eq!(refused.kind(), StoreErrorKind::Invalid, "{path:?}");
        assert!(refused.is_not_executed());
    }
}

#[tokio::test]
async fn requests_and_bytes_are_counted() {
    let store = Store::memory();
    store.create("a", Bytes::from_static(b"12345")).await.unwrap();
    store.create("a", Bytes::from_static(b"12345")).await.unwrap_err();
    store.get("a").await.unwrap();
    store.list_after("", None).await.unwrap();
    store.delete("a").await.unwrap();
    let counts = store.counts();
    assert_eq!((counts.create.requests, counts.create.bytes, counts.create.failures), (2, 5, 0));
    assert_eq!((counts.get.requests, counts.get.bytes), (1, 5));
    assert_eq!((counts.list.requests, counts.delete.requests), (1, 1));
}

#[test]
fn a_folder_has_one_owner_and_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("deep/store");
    let first = local(&path);
    let error = Store::local(&path, LocalOptions::default()).unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Locked);
    let text = error.to_string();
    assert!(text.contains("deep/store"), "{text}");
    assert!(text.contains(&std::process::id().to_string()), "{text}");
    let clone = first.clone();
    drop(first);
    assert!(Store::local(&path, LocalOptions::default()).is_err(), "a clone still holds it");
    drop(clone);
    local(&path);
}

#[tokio::test]
async fn staged_uploads_of_a_killed_owner_are_swept_and_never_listed() {
    let dir = tempfile::tempdir().unwrap();
    let store = local(dir.path());
    store.create("index/1/log/1", Bytes::from_static(b"x")).await.unwrap();
    // As a killed owner leaves it: the lock file is not emptied, an upload is staged.
    let signed = fs::read(dir.path().join("lock#0")).unwrap();
    drop(store);
    let staged = dir.path().join("index/1/log/2#1");
    fs::write(dir.path().join("lock#0"), signed).unwrap();
    leave_staged(&staged);
    let other = dir.path().join("index/1/log/3#4#x");
    fs::write(&other, b"not staged by that name").unwrap();
    let store = local(dir.path());
    until_swept(&staged).await;
    assert!(other.exists());
    let listed = store.list_after("index", None).await.unwrap();
    assert!(listed.iter().any(|object| object.path == "index/1/log/1"));
    assert!(store.list_level("").await.unwrap().objects.is_empty(), "the lock is no object");
    store.create("index/1/log/2", Bytes::from_static(b"y")).await.unwrap();
}

#[tokio::test]
async fn a_staged_upload_that_is_still_there_stops_no_create() {
    let dir = tempfile::tempdir().unwrap();
    let store = local(dir.path());
    fs::create_dir_all(dir.path().join("log")).unwrap();
    fs::write(dir.path().join("log/1#1"), b"half").unwrap();
    assert!(store.list_after("log", None).await.unwrap().is_empty());
    store.create("log/1", Bytes::from_static(b"whole")).await.unwrap();
    assert_eq!(store.get("log/1").await.unwrap(), Bytes::from_static(b"whole"));
}

/// Rights do not bind the superuser; then a file in the folder's place must do.
#[tokio::test]
async fn an_unwritable_folder_is_denied_and_recovers() {
    let dir = tempfile::tempdir().unwrap();
    let store = local(dir.path());
    store.create("log/1", Bytes::new()).await.unwrap();
    let log = dir.path().join("log");
    fs::set_permissions(&log, fs::Permissions::from_mode(0o500)).unwrap();
    let result = store.create("log/2", Bytes::new()).await;
    fs::set_permissions(&log, fs::Permissions::from_mode(0o700)).unwrap();
    if let Err(error) = result {
        assert_eq!(error.kind(), StoreErrorKind::Denied);
        assert!(error.is_not_executed(), "{error}");
    } else {
        assert!(rustix::process::geteuid().is_root(), "only the superuser may write there");
    }
    store.put("log/2", Bytes::new()).await.unwrap();
}

#[test]
fn a_file_in_the_folders_place_is_a_clear_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    fs::write(&path, b"x").unwrap();
    let error = Store::local(&path, LocalOptions::default()).unwrap_err();
    assert!(error.to_string().contains("file"), "{error}");
}

/// What the operating system says is found behind the object store's own error.
#[test]
fn a_full_disk_and_missing_rights_are_told_apart() {
    let check = |errno: rustix::io::Errno, expected: StoreErrorKind| {
        let cause = std::io::Error::from(errno);
        let nested = std::io::Error::new(cause.kind(), cause);
        let error = object_store::Error::Generic { store: "test", source: nested.into() };
        let told = super::from_prefix("log/1", error);
        assert_eq!(told.kind(), expected, "{errno:?}");
        assert!(!told.is_not_executed(), "only a look at the folder can tell that");
    };
    check(rustix::io::Errno::NOSPC, StoreErrorKind::Full);
    check(rustix::io::Errno::DQUOT, StoreErrorKind::Full);
    check(rustix::io::Errno::ROFS, StoreErrorKind::Denied);
    check(rustix::io::Errno::ACCESS, StoreErrorKind::Denied);
    check(rustix::io::Errno::IO, StoreErrorKind::Unavailable);
}

#[tokio::test]
async fn a_failed_create_leaves_nothing_and_the_next_one_succeeds() {
    let dir = tempfile::tempdir().unwrap();
    let store = local(dir.path());
    // A file where the log's folder belongs stands in for any failure before the link.
    fs::write(dir.path().join("log"), b"in the way").unwrap();
    let error = store.create("log/1", Bytes::from_static(b"x")).await.unwrap_err();
    assert!(error.is_not_executed(), "{error}");
    fs::remove_file(dir.path().join("log")).unwrap();
    store.create("log/1", Bytes::from_static(b"x")).await.unwrap();
}
