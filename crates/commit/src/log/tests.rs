//! The log through its door, on stores that do what they are asked.

use std::sync::Arc;

use bytes::Bytes;
use object_store::memory::InMemory;
use object_store::throttle::{ThrottleConfig, ThrottledStore};

use super::{Committed, Event, Fold, FoldError, Log, Progress, Tip};
use crate::error::{CommitError, CreateError};
use crate::slot::{SLOT_BYTES_MAX, Slot, WriterId};
use crate::store::{LocalOptions, Store};

const PREFIX: &str = "index/1";
const A: WriterId = WriterId(0xa);
const B: WriterId = WriterId(0xb);

/// What an owner that keeps all payloads in a list knows after applying events.
#[derive(Debug, Default, PartialEq, Eq, Clone)]
struct Replica(Vec<Bytes>);

impl Replica {
    fn apply(&mut self, events: Vec<Event>) {
        for event in events {
            match event {
                Event::Slot(slot) => self.push(&slot),
                Event::Reopened { manifest, slots } => {
                    self.0 = manifest.body.chunks(2).map(Bytes::copy_from_slice).collect();
                    slots.iter().for_each(|slot| self.push(slot));
                }
            }
        }
    }

    fn push(&mut self, slot: &Slot) {
        self.0.extend(slot.batches.iter().map(|(_, payload)| payload.clone()));
    }
}

/// A log with its replica; payloads are two bytes long, bodies are payloads one after the other.
#[derive(Debug)]
struct Owner {
    log: Log,
    replica: Replica,
}

impl Owner {
    async fn create(store: &Store, writer: WriterId) -> Self {
        let log = Log::create(store, PREFIX, writer, Bytes::new()).await.unwrap();
        Self { log, replica: Replica::default() }
    }

    async fn open(store: &Store, writer: WriterId) -> Self {
        let (log, opened) = Log::open(store, PREFIX, writer).await.unwrap().unwrap();
        let mut replica = Replica::default();
        replica.apply(vec![Event::Reopened { manifest: opened.manifest, slots: opened.slots }]);
        Self { log, replica }
    }

    async fn commit(&mut self, payloads: &[&'static str]) -> Result<Committed, CommitError> {
        let group = payloads.iter().map(|p| Bytes::from_static(p.as_bytes())).collect();
        let committed = self.log.commit(group).await?;
        self.replica.apply(committed.events.clone());
        Ok(committed)
    }

    async fn catch_up(&mut self) -> Result<Vec<&str>, CommitError> {
        let events = self.log.catch_up().await?;
        self.replica.apply(events);
        Ok(self.content())
    }

    /// Folds all that the replica holds.
    async fn fold(&mut self) -> Result<(), FoldError> {
        let fold = self.whole_fold();
        self.fold_with(fold).await
    }

    fn whole_fold(&self) -> Fold {
        let body = self.replica.0.concat().into();
        let manifest = self.log.manifest();
        Fold { base: manifest.number, from: manifest.floor, floor: self.log.tip() + 1, body }
    }

    async fn fold_with(&mut self, fold: Fold) -> Result<(), FoldError> {
        match self.log.fold(fold).await {
            Ok(folded) => {
                self.replica.apply(folded.events);
                Ok(())
            }
            Err(FoldError::Superseded(events)) => {
                self.replica.apply(events);
                Err(FoldError::Superseded(Vec::new()))
            }
            Err(error) => Err(error),
        }
    }

    fn content(&self) -> Vec<&str> {
        self.replica.0.iter().map(|payload| std::str::from_utf8(payload).unwrap()).collect()
    }
}

fn shared() -> Store {
    Store::memory()
}

fn exclusive() -> Store {
    Store::from_object_store(Arc::new(InMemory::new()), true)
}

#[tokio::test]
async fn committed_groups_are_read_back_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let local = Store::local(dir.path(), LocalOptions { fsync: true }).unwrap();
    for store in [shared(), exclusive(), local] {
        let mut owner = Owner::create(&store, A).await;
        assert_eq!(owner.commit(&["a1", "a2"]).await.unwrap().seq, 1);
        assert_eq!(owner.commit(&["a3"]).await.unwrap().seq, 2);
        assert_eq!(owner.content(), ["a1", "a2", "a3"]);
        let reader = Owner::open(&store, B).await;
        assert_eq!(reader.content(), ["a1", "a2", "a3"], "{store:?}");
        assert_eq!(reader.log.tip(), 2);
    }
}

#[tokio::test]
async fn two_writers_see_each_other_before_their_own_group() {
    let store = shared();
    let mut a = Owner::create(&store, A).await;
    let mut b = Owner::open(&store, B).await;
    a.commit(&["a1"]).await.unwrap();
    let committed = b.commit(&["b1"]).await.unwrap();
    assert_eq!((committed.seq, committed.events.len()), (2, 2));
    a.commit(&["a2"]).await.unwrap();
    assert_eq!(a.content(), ["a1", "b1", "a2"]);
    assert_eq!(b.catch_up().await.unwrap(), ["a1", "b1", "a2"]);
}

#[tokio::test]
async fn a_fold_moves_the_floor_and_keeps_every_batch() {
    for store in [shared(), exclusive()] {
        let mut a = Owner::create(&store, A).await;
        a.commit(&["a1"]).await.unwrap();
        a.commit(&["a2"]).await.unwrap();
        a.fold().await.unwrap();
        a.commit(&["a3"]).await.unwrap();
        assert_eq!((a.log.floor(), a.log.tip(), a.log.manifest().batches), (3, 3, 2));
        assert_eq!(Owner::open(&store, B).await.content(), ["a1", "a2", "a3"]);
    }
}

#[tokio::test]
async fn a_writer_behind_a_fold_opens_anew_and_commits() {
    let store = shared();
    let mut a = Owner::create(&store, A).await;
    let mut b = Owner::open(&store, B).await;
    for payload in ["a1", "a2", "a3"] {
        a.commit(&[payload]).await.unwrap();
    }
    a.fold().await.unwrap();
    let collected = Log::collect(&store, PREFIX, i64::MAX).await.unwrap();
    assert_eq!((collected.slots, collected.manifests), (2, 1), "the highest slot stays");
    b.commit(&["b1"]).await.unwrap();
    assert_eq!(b.content(), ["a1", "a2", "a3", "b1"]);
    assert_eq!(a.catch_up().await.unwrap(), ["a1", "a2", "a3", "b1"]);
}

#[tokio::test]
async fn young_manifests_are_not_collected() {
    let store = shared();
    let mut a = Owner::create(&store, A).await;
    a.commit(&["a1"]).await.unwrap();
    a.fold().await.unwrap();
    let collected = Log::collect(&store, PREFIX, 0).await.unwrap();
    assert_eq!((collected.slots, collected.manifests), (0, 0));
}

#[tokio::test]
async fn a_flush_whose_slots_were_folded_by_another_is_superseded() {
    let store = shared();
    let mut a = Owner::create(&store, A).await;
    a.commit(&["a1"]).await.unwrap();
    let mut b = Owner::open(&store, B).await;
    let started = b.whole_fold();
    a.fold().await.unwrap();
    let result = b.fold_with(started.clone()).await;
    assert!(matches!(result, Err(FoldError::Superseded(_))));
    let rebased = Fold { base: b.log.manifest().number, ..started };
    let result = b.fold_with(rebased).await;
    assert!(
        matches!(result, Err(FoldError::Superseded(_))),
        "the floor is not the one it began at"
    );
    assert_eq!(b.content(), ["a1"]);
}

#[tokio::test]
async fn a_closed_log_acknowledges_nothing() {
    for store in [shared(), exclusive()] {
        let mut a = Owner::create(&store, A).await;
        a.commit(&["a1"]).await.unwrap();
        let mut b = Owner::open(&store, B).await;
        a.log.close().await.unwrap();
        a.log.close().await.unwrap();
        assert!(matches!(a.commit(&["a2"]).await, Err(CommitError::Closed)));
        if !store.sole_writer() {
            assert!(matches!(b.commit(&["b1"]).await, Err(CommitError::Closed)));
            assert!(matches!(b.catch_up().await, Err(CommitError::Closed)));
        }
        assert!(Log::open(&store, PREFIX, B).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn a_removed_log_leaves_its_fence_and_can_live_again() {
    let store = shared();
    let mut a = Owner::create(&store, A).await;
    a.commit(&["a1"]).await.unwrap();
    let mut b = Owner::open(&store, B).await;
    Log::remove(&store, PREFIX, A).await.unwrap();
    assert_eq!(store.list_after(PREFIX, None).await.unwrap().len(), 2);
    assert!(matches!(b.commit(&["b1"]).await, Err(CommitError::Closed)));
    let mut again = Owner::create(&store, A).await;
    again.commit(&["c1"]).await.unwrap();
    assert!(matches!(a.commit(&["a2"]).await, Err(CommitError::Closed)));
    assert_eq!(Owner::open(&store, B).await.content(), ["c1"]);
    Log::remove(&store, PREFIX, A).await.unwrap();
    Log::purge(&store, PREFIX).await.unwrap();
    assert!(store.list_after("", None).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_sole_writer_removes_the_whole_prefix() {
    let store = exclusive();
    let mut a = Owner::create(&store, A).await;
    a.commit(&["a1"]).await.unwrap();
    drop(a);
    Log::remove(&store, PREFIX, A).await.unwrap();
    assert!(store.list_after("", None).await.unwrap().is_empty());
    Log::remove(&store, PREFIX, A).await.unwrap();
}

#[tokio::test]
async fn a_log_is_created_once() {
    let store = shared();
    let _first = Owner::create(&store, A).await;
    let second = Log::create(&store, PREFIX, B, Bytes::new()).await;
    assert!(matches!(second, Err(CreateError::AlreadyExists)));
    assert!(Log::open(&store, "index/2", A).await.unwrap().is_none());
}

#[tokio::test]
async fn a_group_that_fits_no_slot_is_refused_unsent() {
    let store = shared();
    let mut a = Owner::create(&store, A).await;
    let before = store.counts();
    let huge = Bytes::from(vec![0; SLOT_BYTES_MAX]);
    let result = a.log.commit(vec![huge]).await;
    assert!(matches!(result, Err(CommitError::TooLarge { bytes }) if bytes > SLOT_BYTES_MAX));
    assert_eq!(store.counts(), before);
}

#[tokio::test]
async fn a_sole_writer_commits_with_one_request_and_proves_with_none() {
    let store = exclusive();
    let mut a = Owner::create(&store, A).await;
    let before = store.counts();
    a.commit(&["a1"]).await.unwrap();
    a.catch_up().await.unwrap();
    let after = store.counts();
    assert_eq!(after.create.requests - before.create.requests, 1);
    assert_eq!((after.list, after.get), (before.list, before.get));
}

#[tokio::test]
async fn shared_writers_pay_one_list_for_each_commit_and_proof() {
    let store = shared();
    let mut a = Owner::create(&store, A).await;
    a.commit(&["a1"]).await.unwrap();
    let before = store.counts();
    a.commit(&["a2"]).await.unwrap();
    assert_eq!(store.counts().list.requests - before.list.requests, 1);
    a.catch_up().await.unwrap();
    assert_eq!(store.counts().list.requests - before.list.requests, 2);
    assert_eq!(store.counts().get, before.get);
}

fn group(payload: &'static str) -> Vec<Bytes> {
    vec![Bytes::from_static(payload.as_bytes())]
}

/// Waits for the next outcome; whether another group might be started before it came.
async fn told(log: &mut Log) -> (u64, Committed, bool) {
    let mut may_start = false;
    loop {
        match log.progress().await.expect("a group is on its way") {
            Progress::MayStart => may_start = true,
            Progress::Told { ticket, outcome } => return (ticket, outcome.unwrap(), may_start),
        }
    }
}

#[tokio::test]
async fn a_group_is_started_while_the_one_before_is_checked() {
    let store = shared();
    let mut a = Owner::create(&store, A).await;
    let first = a.log.start(group("a1"));
    assert!(!a.log.may_start(), "one create at a time");
    assert!(matches!(a.log.progress().await, Some(Progress::MayStart)));
    let second = a.log.start(group("a2"));
    let (ticket, committed, _) = told(&mut a.log).await;
    assert_eq!((ticket, committed.seq), (first, 1));
    a.replica.apply(committed.events);
    let (ticket, committed, _) = told(&mut a.log).await;
    assert_eq!((ticket, committed.seq), (second, 2));
    a.replica.apply(committed.events);
    assert!(a.log.progress().await.is_none() && !a.log.is_busy());
    assert_eq!(a.content(), ["a1", "a2"]);
    assert_eq!(Owner::open(&store, B).await.content(), ["a1", "a2"]);
}

/// The second number is another's: the group finds its place behind it, and is told in order.
#[tokio::test]
async fn groups_in_a_row_make_way_for_others() {
    let store = shared();
    let mut a = Owner::create(&store, A).await;
    let mut b = Owner::open(&store, B).await;
    a.log.start(group("a1"));
    assert!(matches!(a.log.progress().await, Some(Progress::MayStart)));
    b.commit(&["b1"]).await.unwrap();
    a.log.start(group("a2"));
    for expected in [1, 3] {
        let (_, committed, _) = told(&mut a.log).await;
        assert_eq!(committed.seq, expected);
        a.replica.apply(committed.events);
    }
    assert_eq!(a.content(), ["a1", "b1", "a2"]);
    assert_eq!(b.catch_up().await.unwrap(), ["a1", "b1", "a2"]);
}

/// A task waits for the groups on their way, and hands out what they brought in order.
#[tokio::test]
async fn a_task_behind_started_groups_sees_them_applied() {
    for store in [shared(), exclusive()] {
        let mut a = Owner::create(&store, A).await;
        a.log.start(group("a1"));
        assert_eq!(a.catch_up().await.unwrap(), ["a1"], "{store:?}");
        let (_, committed, _) = told(&mut a.log).await;
        assert!(committed.events.is_empty(), "they were handed out");
        a.fold().await.unwrap();
        assert_eq!(a.content(), ["a1"]);
    }
}

#[tokio::test]
async fn a_call_broken_off_is_made_good_by_the_next() {
    let store = shared();
    let mut a = Owner::create(&store, A).await;
    a.commit(&["a1"]).await.unwrap();
    // Polled once: its first requests are under way.
    let broken = futures_util::poll!(std::pin::pin!(a.log.catch_up()));
    drop(broken);
    a.commit(&["a2"]).await.unwrap();
    assert_eq!(a.content(), ["a1", "a2"]);
}

#[tokio::test]
async fn an_open_reads_two_rounds_and_the_next_proof_checks_it() {
    let store = shared();
    let mut a = Owner::create(&store, A).await;
    for payload in ["a1", "a2", "a3"] {
        a.commit(&[payload]).await.unwrap();
    }
    let before = store.counts();
    let (mut log, opened) = Log::open(&store, PREFIX, B).await.unwrap().unwrap();
    let after = store.counts();
    assert_eq!(opened.slots.len(), 3);
    assert_eq!(after.list.requests - before.list.requests, 2, "both series at once");
    assert_eq!(after.get.requests - before.get.requests, 4, "manifest and slots at once");
    assert!(!log.is_checked() && log.prover().is_none());
    assert!(log.catch_up().await.unwrap().is_empty());
    assert!(log.is_checked() && log.prover().is_some());
    assert_eq!(store.counts().list.requests - after.list.requests, 2);
    assert_eq!(store.counts().get, after.get);
}

#[tokio::test]
async fn a_proof_tells_the_tip_and_is_shared() {
    // Lists that take a while, so that callers meet one that was sent already.
    let wait_list_per_call = std::time::Duration::from_millis(5);
    let slow = ThrottleConfig { wait_list_per_call, ..ThrottleConfig::default() };
    let slow = Arc::new(ThrottledStore::new(InMemory::new(), slow));
    let store = Store::from_object_store(slow, false);
    let mut a = Owner::create(&store, A).await;
    let prover = a.log.prover().expect("a log that was created is checked");
    assert_eq!(prover.tip().await.unwrap(), Tip::Unclear, "no slot was ever written");
    a.commit(&["a1"]).await.unwrap();
    let mut b = Owner::open(&store, B).await;
    b.commit(&["b1"]).await.unwrap();
    let before = store.counts().list.requests;
    let waiting = (0..20).map(|_| prover.tip());
    for tip in futures_util::future::join_all(waiting).await {
        assert_eq!(tip.unwrap(), Tip::At(2));
    }
    let lists = store.counts().list.requests - before;
    assert_eq!(lists, 2, "the first caller's, and one for the nineteen that came meanwhile");
    // Somebody who goes away takes nobody's answer with him.
    drop(futures_util::poll!(std::pin::pin!(prover.tip())));
    assert_eq!(prover.tip().await.unwrap(), Tip::At(2));
    let owned = Owner::create(&exclusive(), A).await;
    assert_eq!(owned.log.prover().unwrap().tip().await.unwrap(), Tip::At(0));
}

/// Objects that nobody wrote through the log: an error or nothing, and no memory that they claim.
#[tokio::test]
async fn hostile_names_and_numbers_are_refused_or_ignored() {
    let store = shared();
    let mut a = Owner::create(&store, A).await;
    a.commit(&["a1"]).await.unwrap();
    for number in [u64::MAX, u64::MAX - 1] {
        for series in ["log", "manifest"] {
            let path = format!("{PREFIX}/{series}/{number:020}");
            store.put(&path, Bytes::from_static(b"x")).await.unwrap();
        }
    }
    assert_eq!(Owner::open(&store, B).await.content(), ["a1"], "no numbers of the log");
    let far = format!("{PREFIX}/log/{:020}", u64::MAX >> 2);
    store.put(&far, Bytes::from_static(b"x")).await.unwrap();
    let error = Log::open(&store, PREFIX, B).await.unwrap_err();
    assert_eq!(error.kind(), crate::StoreErrorKind::Corrupt, "a gap of exabytes is not read");
}

#[tokio::test]
async fn a_manifest_stays_as_long_as_it_was_superseded_lately() {
    let store = shared();
    let mut a = Owner::create(&store, A).await;
    for payload in ["a1", "a2", "a3"] {
        a.commit(&[payload]).await.unwrap();
        a.fold().await.unwrap();
    }
    let listed = store.list_after(&format!("{PREFIX}/manifest"), None).await.unwrap();
    let second = listed[1].modified_ms;
    let collected = Log::collect(&store, PREFIX, second).await.unwrap();
    // The first was superseded when the second was written, which is not before that time.
    assert_eq!((collected.slots, collected.manifests), (2, 0));
    let collected = Log::collect(&store, PREFIX, i64::MAX).await.unwrap();
    assert_eq!((collected.slots, collected.manifests), (0, 3));
}

/// Owners run as spawned tasks, so every future must be `Send` for every lifetime.
#[tokio::test]
async fn all_futures_can_be_spawned() {
    let task = async {
        let store = shared();
        store.probe().await.unwrap();
        let mut log = Log::create(&store, PREFIX, A, Bytes::new()).await.unwrap();
        log.commit(vec![Bytes::from_static(b"a1")]).await.unwrap();
        log.catch_up().await.unwrap();
        let fold = Fold { base: 0, from: 1, floor: 2, body: Bytes::new() };
        log.fold(fold).await.unwrap();
        let (mut log, _) = Log::open(&store, PREFIX, A).await.unwrap().unwrap();
        Log::collect(&store, PREFIX, 0).await.unwrap();
        log.close().await.unwrap();
        Log::remove(&store, PREFIX, A).await.unwrap();
        Log::purge(&store, PREFIX).await.unwrap();
        store.delete_all(&["a".to_owned()]).await.unwrap();
        store.list_level("").await.unwrap()
    };
    fn check<T: Send + Sync>() {}
    check::<(Log, super::Prover)>();
    assert!(tokio::spawn(task).await.unwrap().objects.is_empty());
}
