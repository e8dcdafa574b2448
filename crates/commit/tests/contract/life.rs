//! The life of a log on a store, through the door that the engine uses.

use bytes::Bytes;
use vb_commit::{CommitError, CreateError, Event, Fold, Log, Store, WriterId};

/// All that a log holds, as one text: the body of its manifest and the payloads behind it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Content(Vec<u8>);

impl Content {
    fn apply(&mut self, events: Vec<Event>) {
        for event in events {
            match event {
                Event::Slot(slot) => self.extend(slot.batches),
                Event::Reopened { manifest, slots } => {
                    self.0 = manifest.body.to_vec();
                    slots.into_iter().for_each(|slot| self.extend(slot.batches));
                }
            }
        }
    }

    fn extend(&mut self, batches: Vec<(u64, Bytes)>) {
        batches.into_iter().for_each(|(_, payload)| self.0.extend(payload));
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.0).expect("the tests write text")
    }
}

async fn open(store: &Store, prefix: &str, writer: WriterId) -> (Log, Content) {
    let (mut log, opened) = Log::open(store, prefix, writer).await.unwrap().expect("it is there");
    let mut content = Content::default();
    content.apply(vec![Event::Reopened { manifest: opened.manifest, slots: opened.slots }]);
    content.apply(log.catch_up().await.unwrap());
    (log, content)
}

async fn commit(log: &mut Log, content: &mut Content, payload: &str) {
    let group = vec![Bytes::copy_from_slice(payload.as_bytes())];
    content.apply(log.commit(group).await.unwrap().events);
}

async fn fold(log: &mut Log, content: &mut Content) {
    let manifest = log.manifest();
    let (base, from, floor) = (manifest.number, manifest.floor, log.tip() + 1);
    let body = Bytes::copy_from_slice(&content.0);
    let folded = log.fold(Fold { base, from, floor, body }).await;
    content.apply(folded.expect("nobody else folds").events);
}

/// Created, written, folded, collected, opened again, closed, created anew.
pub(crate) async fn of_a_log(store: &Store, prefix: &str) {
    let writer = WriterId::random();
    assert!(Log::open(store, prefix, writer).await.unwrap().is_none());
    let mut log = Log::create(store, prefix, writer, Bytes::new()).await.unwrap();
    let mut content = Content::default();
    let taken = Log::create(store, prefix, writer, Bytes::new()).await;
    assert!(matches!(taken, Err(CreateError::AlreadyExists)));
    for round in 0..3 {
        for payload in ["one ", "two ", "three "] {
            commit(&mut log, &mut content, payload).await;
        }
        fold(&mut log, &mut content).await;
        commit(&mut log, &mut content, &format!("round {round} ")).await;
        Log::collect(store, prefix, i64::MAX).await.unwrap();
        let (other, read) = open(store, prefix, WriterId::random()).await;
        assert_eq!(read, content);
        assert_eq!((other.floor(), other.tip()), (log.floor(), log.tip()));
    }
    assert_eq!(content.text().split(' ').filter(|word| *word == "two").count(), 3);
    log.close().await.unwrap();
    let late = log.commit(vec![Bytes::from_static(b"late")]).await;
    assert!(matches!(late, Err(CommitError::Closed)));
    assert!(Log::open(store, prefix, writer).await.unwrap().is_none());
    Log::remove(store, prefix, writer).await.unwrap();
    let mut again = Log::create(store, prefix, writer, Bytes::new()).await.unwrap();
    let mut content = Content::default();
    commit(&mut again, &mut content, "new life").await;
    assert_eq!(open(store, prefix, writer).await.1.text(), "new life");
}

/// Two writers at once: every acknowledged payload is there once, in an order both agree on.
pub(crate) async fn of_two_writers(store: &Store, prefix: &str) {
    if store.sole_writer() {
        return;
    }
    let writers = [WriterId::random(), WriterId::random()];
    Log::create(store, prefix, writers[0], Bytes::new()).await.unwrap();
    let work = writers.map(|writer| async move {
        let (mut log, mut content) = open(store, prefix, writer).await;
        for n in 0..10 {
            commit(&mut log, &mut content, &format!("{:x}-{n} ", writer.0)).await;
        }
        (log, content)
    });
    let [first, second] = work;
    let ((mut first, mut of_first), (mut second, mut of_second)) =
        futures_util::future::join(first, second).await;
    of_first.apply(first.catch_up().await.unwrap());
    of_second.apply(second.catch_up().await.unwrap());
    assert_eq!(of_first, of_second);
    for writer in writers {
        for n in 0..10 {
            let payload = format!("{:x}-{n} ", writer.0);
            assert_eq!(of_first.text().matches(&payload).count(), 1, "{payload}");
        }
    }
    assert_eq!(open(store, prefix, WriterId::random()).await.1, of_first);
}
