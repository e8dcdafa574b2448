//! The log on stores whose requests fail, hang and are executed late.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use object_store::memory::InMemory;
use vb_commit::{CommitError, Event, Fold, FoldError, Log, Slot, Store, StoreErrorKind, WriterId};
use vb_sim::fault_store::{Fault, FaultStore, Gate, Script, Verb};

const PREFIX: &str = "index/1";

/// One store seen by several processes, each through faults of its own.
fn process(objects: &Arc<InMemory>) -> (Store, Script) {
    let faulty = FaultStore::new(Arc::clone(objects) as _);
    let script = faulty.script().clone();
    (Store::from_object_store(Arc::new(faulty), false), script)
}

/// A log and what its owner has applied: payloads of four bytes.
struct Owner {
    log: Log,
    script: Script,
    content: Vec<u32>,
}

impl Owner {
    async fn create(objects: &Arc<InMemory>, writer: u128) -> Self {
        let (store, script) = process(objects);
        let log = Log::create(&store, PREFIX, WriterId(writer), Bytes::new()).await.unwrap();
        Self { log, script, content: Vec::new() }
    }

    async fn open(objects: &Arc<InMemory>, writer: u128) -> Self {
        let (store, script) = process(objects);
        let (log, opened) = Log::open(&store, PREFIX, WriterId(writer)).await.unwrap().unwrap();
        let mut owner = Self { log, script, content: Vec::new() };
        owner.apply(vec![Event::Reopened { manifest: opened.manifest, slots: opened.slots }]);
        owner
    }

    fn apply(&mut self, events: Vec<Event>) {
        for event in events {
            match event {
                Event::Slot(slot) => self.content.extend(numbers(&slot)),
                Event::Reopened { manifest, slots } => {
                    self.content = manifest.body.chunks(4).map(number).collect();
                    self.content.extend(slots.iter().flat_map(numbers));
                }
            }
        }
    }

    async fn commit(&mut self, batch: u32) -> Result<u64, CommitError> {
        let committed = self.log.commit(vec![Bytes::copy_from_slice(&batch.to_le_bytes())]).await?;
        self.apply(committed.events);
        assert!(self.content.contains(&batch), "an acknowledged batch was handed out");
        Ok(committed.seq)
    }

    async fn read(&mut self) -> Result<Vec<u32>, CommitError> {
        let events = self.log.catch_up().await?;
        self.apply(events);
        Ok(self.content.clone())
    }

    fn whole(&self) -> Fold {
        let body: Vec<u8> = self.content.iter().flat_map(|batch| batch.to_le_bytes()).collect();
        let manifest = self.log.manifest();
        let (base, from) = (manifest.number, manifest.floor);
        Fold { base, from, floor: self.log.tip() + 1, body: body.into() }
    }

    async fn fold(&mut self, fold: Fold) -> Result<(), FoldError> {
        match self.log.fold(fold).await {
            Ok(folded) => self.apply(folded.events),
            Err(FoldError::Superseded(events)) => {
                self.apply(events);
                return Err(FoldError::Superseded(Vec::new()));
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

fn number(bytes: &[u8]) -> u32 {
    u32::from_le_bytes(bytes.try_into().expect("four bytes"))
}

fn numbers(slot: &Slot) -> impl Iterator<Item = u32> + '_ {
    slot.batches.iter().map(|(_, payload)| number(payload))
}

async fn truth(objects: &Arc<InMemory>) -> Vec<u32> {
    Owner::open(objects, 99).await.content
}

#[tokio::test]
async fn a_lost_reply_is_read_back() {
    for fault in [Fault::ErrorAfter, Fault::Echo] {
        let objects = Arc::new(InMemory::new());
        let mut a = Owner::create(&objects, 1).await;
        a.script.push(Verb::Write, fault);
        assert_eq!(a.commit(1).await.unwrap(), 1);
        assert_eq!(a.commit(2).await.unwrap(), 2);
        assert_eq!(truth(&objects).await, [1, 2]);
    }
}

#[tokio::test]
async fn a_lost_request_is_sent_again() {
    let objects = Arc::new(InMemory::new());
    let mut a = Owner::create(&objects, 1).await;
    a.script.push(Verb::Write, Fault::ErrorBefore);
    a.script.push(Verb::Write, Fault::ErrorBefore);
    assert_eq!(a.commit(1).await.unwrap(), 1);
    assert_eq!(truth(&objects).await, [1]);
}

#[tokio::test]
async fn a_store_that_does_not_answer_leaves_the_outcome_unknown_and_recovers() {
    let objects = Arc::new(InMemory::new());
    let mut a = Owner::create(&objects, 1).await;
    (0..3).for_each(|_| a.script.push(Verb::Write, Fault::ErrorBefore));
    let error = a.commit(1).await.unwrap_err();
    let CommitError::Unknown(cause) = &error else { panic!("{error}") };
    assert_eq!(cause.kind(), StoreErrorKind::Unavailable);
    assert!(a.log.is_stale());
    a.commit(2).await.unwrap();
    assert_eq!(a.read().await.unwrap(), [2]);
}

#[tokio::test]
async fn an_unknown_batch_that_comes_late_is_seen_by_all_and_stays() {
    let objects = Arc::new(InMemory::new());
    let mut a = Owner::create(&objects, 1).await;
    let gate = Gate::new();
    (0..3).for_each(|_| a.script.push(Verb::Write, Fault::Late(gate.clone())));
    assert!(matches!(a.commit(1).await, Err(CommitError::Unknown(_))));
    gate.open();
    gate.executed().await;
    a.commit(2).await.unwrap();
    assert_eq!(a.read().await.unwrap(), [1, 2]);
    assert_eq!(truth(&objects).await, [1, 2]);
}

/// The history by which a log without the check after each create loses what it acknowledged.
#[tokio::test]
async fn a_create_on_a_collected_number_is_not_acknowledged_there() {
    let objects = Arc::new(InMemory::new());
    let mut a = Owner::create(&objects, 1).await;
    let mut b = Owner::open(&objects, 2).await;
    let gate = Gate::new();
    b.script.push(Verb::Write, Fault::DelayBefore(gate.clone()));
    let stalled = tokio::spawn(async move { (b.commit(100).await, b) });
    gate.arrived().await;
    for batch in [1, 2, 3] {
        a.commit(batch).await.unwrap();
    }
    a.fold(a.whole()).await.unwrap();
    let (store, _) = process(&objects);
    Log::collect(&store, PREFIX, i64::MAX).await.unwrap();
    gate.open();
    let (seq, mut b) = stalled.await.unwrap();
    assert_eq!(seq.unwrap(), 4, "the create of slot 1 was executed but does not count");
    assert_eq!(b.read().await.unwrap(), [1, 2, 3, 100]);
    assert_eq!(a.read().await.unwrap(), [1, 2, 3, 100]);
}

#[tokio::test]
async fn a_manifest_on_a_collected_number_does_not_count() {
    let objects = Arc::new(InMemory::new());
    let mut a = Owner::create(&objects, 1).await;
    a.commit(1).await.unwrap();
    let mut b = Owner::open(&objects, 2).await;
    let gate = Gate::new();
    b.script.push(Verb::Write, Fault::DelayBefore(gate.clone()));
    let stalled = tokio::spawn(async move { (b.fold(b.whole()).await, b) });
    gate.arrived().await;
    a.fold(a.whole()).await.unwrap();
    a.commit(2).await.unwrap();
    a.fold(a.whole()).await.unwrap();
    let (store, _) = process(&objects);
    Log::collect(&store, PREFIX, i64::MAX).await.unwrap();
    gate.open();
    let (folded, mut b) = stalled.await.unwrap();
    assert!(matches!(folded, Err(FoldError::Superseded(_))));
    assert_eq!(b.read().await.unwrap(), [1, 2]);
}

#[tokio::test]
async fn a_fold_whose_reply_is_lost_is_read_back() {
    for fault in [Fault::ErrorAfter, Fault::ErrorBefore, Fault::Echo] {
        let objects = Arc::new(InMemory::new());
        let mut a = Owner::create(&objects, 1).await;
        a.commit(1).await.unwrap();
        a.script.push(Verb::Write, fault);
        a.fold(a.whole()).await.unwrap();
        assert_eq!((a.log.floor(), truth(&objects).await), (2, vec![1]));
    }
}

#[tokio::test]
async fn a_read_that_cannot_prove_the_tip_fails_and_the_next_one_does() {
    let objects = Arc::new(InMemory::new());
    let mut a = Owner::create(&objects, 1).await;
    a.commit(1).await.unwrap();
    (0..3).for_each(|_| a.script.push(Verb::List, Fault::ErrorBefore));
    assert!(matches!(a.read().await, Err(CommitError::Store(_))));
    assert_eq!(a.read().await.unwrap(), [1]);
    (0..2).for_each(|_| a.script.push(Verb::List, Fault::ErrorBefore));
    assert_eq!(a.read().await.unwrap(), [1], "two failures are bridged");
}

#[tokio::test]
async fn a_commit_that_is_dropped_midway_corrupts_nothing() {
    let objects = Arc::new(InMemory::new());
    let mut a = Owner::create(&objects, 1).await;
    for fault in [Fault::DelayBefore, Fault::DelayAfter] {
        let gate = Gate::new();
        a.script.push(Verb::Write, fault(gate.clone()));
        tokio::select! {
            _ = a.commit(7) => panic!("the gate is closed"),
            () = gate.arrived() => {}
        }
        // The group is on its way; the next call sees it to its end first.
        gate.open();
    }
    a.commit(8).await.unwrap();
    assert_eq!(a.read().await.unwrap(), [7, 7, 8]);
    assert_eq!(truth(&objects).await, [7, 7, 8]);
}

/// A fixed sequence of pseudo-random numbers (splitmix64).
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ (word >> 31)) % bound
    }

    fn fault(&mut self) -> (Verb, Fault) {
        let fault = match self.below(4) {
            0 => Fault::ErrorBefore,
            1 => Fault::ErrorAfter,
            2 => Fault::Echo,
            _ => Fault::None,
        };
        match self.below(4) {
            0 => (Verb::List, fault),
            1 => (Verb::Read, fault),
            _ => (Verb::Write, fault),
        }
    }
}

/// Three owners at once, random faults, folds and collections: nothing acknowledged is lost,
/// nothing is there twice, what was once seen stays, in the same order for everybody.
#[tokio::test]
async fn random_faults_lose_and_double_nothing() {
    let runs: Vec<_> = (0..100).map(|seed| tokio::spawn(run(seed))).collect();
    for run in runs {
        run.await.unwrap();
    }
}

async fn run(seed: u64) {
    let objects = Arc::new(InMemory::new());
    drop(Owner::create(&objects, 50).await);
    let owners: Vec<_> =
        (1..=3).map(|writer| tokio::spawn(work(Arc::clone(&objects), writer, seed))).collect();
    let mut acknowledged = BTreeSet::new();
    let mut seen = Vec::new();
    for owner in owners {
        let (acked, content) = owner.await.unwrap();
        acknowledged.extend(acked);
        seen.push(content);
    }
    let last = truth(&objects).await;
    let unique: BTreeSet<_> = last.iter().copied().collect();
    assert_eq!(unique.len(), last.len(), "seed {seed}: a batch is there twice");
    assert!(acknowledged.is_subset(&unique), "seed {seed}: an acknowledged batch is lost");
    assert!(seen.iter().all(|content| last.starts_with(content)), "seed {seed}: order");
}

/// Commits, folds, collects and reads at random; returns what was acknowledged and what it saw.
async fn work(objects: Arc<InMemory>, writer: u32, seed: u64) -> (Vec<u32>, Vec<u32>) {
    let mut draw = Draw(seed << 8 | u64::from(writer));
    let mut owner = Owner::open(&objects, u128::from(writer)).await;
    let mut acked = Vec::new();
    for step in 0..12 {
        if draw.below(3) == 0 {
            let (verb, fault) = draw.fault();
            owner.script.push(verb, fault);
        }
        match draw.below(6) {
            0 => drop(owner.fold(owner.whole()).await),
            1 => drop(Log::collect(&process(&objects).0, PREFIX, i64::MAX).await),
            2 => check_read(&mut owner, &acked).await,
            _ => {
                let batch = writer * 1000 + step;
                match owner.commit(batch).await {
                    Ok(_) => acked.push(batch),
                    Err(error) => assert!(!matches!(error, CommitError::Closed), "{error}"),
                }
            }
        }
        tokio::task::yield_now().await;
    }
    (acked, owner.content)
}

async fn check_read(owner: &mut Owner, acked: &[u32]) {
    if let Ok(content) = owner.read().await {
        assert!(acked.iter().all(|batch| content.contains(batch)), "a strong read misses a batch");
    }
}
