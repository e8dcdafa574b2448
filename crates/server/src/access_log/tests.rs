//! From a request's line to the object of its hour, with a clock of the test's own.

use std::path::Path;
use std::sync::atomic::AtomicU64;

use vb_commit::LocalOptions;

use super::*;
use crate::config::ByteSize;

const HOUR: i64 = 1_767_322_800;
const PATIENCE: Duration = Duration::from_secs(20);

fn bucket() -> BucketId {
    BucketId::new("1234567890123456", "vb")
}

fn target(sink: &str) -> LoggingTarget {
    LoggingTarget { bucket: sink.to_owned(), prefix: "p-".to_owned(), role: String::new() }
}

/// A clock that the test moves.
#[derive(Debug)]
struct ManualClock(AtomicU64);

impl Clock for ManualClock {
    fn unix_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

fn unix_ms(seconds: i64) -> u64 {
    u64::try_from(seconds).unwrap() * 1000
}

/// A log over a store, with such a clock.
struct Bench {
    log: Arc<AccessLog>,
    clock: Arc<ManualClock>,
    counters: Arc<Counters>,
    store: Store,
}

impl Bench {
    fn start(config: &Config, store: &Store) -> Self {
        let clock = Arc::new(ManualClock(AtomicU64::new(unix_ms(HOUR))));
        let counters = Arc::<Counters>::default();
        let (of, told) = (Arc::clone(&clock), Arc::clone(&counters));
        let log = AccessLog::start(config, store.clone(), told, of).unwrap();
        Self { log: Arc::new(log), clock, counters, store: store.clone() }
    }

    fn at(&self, seconds: i64) {
        self.clock.0.store(unix_ms(HOUR + seconds), Ordering::Relaxed);
    }

    async fn line(&self, sink: &str, text: &str) {
        let destination = self.log.learn(&bucket(), Some(&target(sink))).unwrap();
        let told = Some(Told::ByBucket(destination));
        self.log.note(told, Duration::ZERO, |at_s| format!("{} {text}", at_s - HOUR)).await;
    }

    /// Names (without the unique end) and texts of all delivered objects, by name.
    async fn objects(&self) -> Vec<(String, String)> {
        let mut found = Vec::new();
        for object in self.store.list_after("logs", None).await.unwrap() {
            let bytes = self.store.get(&object.path).await.unwrap();
            let (name, unique) = object.path.rsplit_once('-').unwrap();
            assert_eq!((unique.len(), unique.chars().all(|c| c.is_ascii_hexdigit())), (24, true));
            found.push((name.to_owned(), String::from_utf8(bytes.to_vec()).unwrap()));
        }
        found.sort();
        found
    }

    /// Waits for so many objects.
    async fn until(&self, count: usize) -> Vec<(String, String)> {
        let waiting = async {
            loop {
                let objects = self.objects().await;
                if objects.len() >= count {
                    return objects;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("the objects are delivered")
    }
}

fn at(hour: u32) -> String {
    format!("logs/1234567890123456/sink/p-vb2026-01-02-{hour:02}-00-00")
}

fn on_disk(dir: &Path) -> Config {
    let mut config = Config { store: StoreUrl::Memory, ..Config::default() };
    config.logging.spool_dir = Some(dir.join("spool"));
    config
}

#[tokio::test]
async fn each_hour_is_an_object_once_it_is_over() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Store::local(dir.path().join("store"), LocalOptions::default()).unwrap();
    for store in [Store::memory(), folder] {
        let bench = Bench::start(&on_disk(dir.path()), &store);
        bench.line("sink", "first").await;
        bench.at(3599);
        bench.line("sink", "last").await;
        bench.at(3601);
        bench.line("sink", "of the next hour").await;
        assert!(bench.objects().await.is_empty(), "the first hour may still get lines");
        bench.at(3600 + plan::GRACE_S);
        let first = (at(3), "0 first\n3599 last\n".to_owned());
        assert_eq!(bench.until(1).await, std::slice::from_ref(&first));
        bench.log.close().await;
        let second = (at(4), "3601 of the next hour\n".to_owned());
        assert_eq!(bench.objects().await, [first, second]);
        assert_eq!(bench.counters.seen(), (3, 2));
        assert_eq!(bench.counters.spool_bytes(), 0);
        let left = std::fs::read_dir(dir.path().join("spool")).unwrap().count();
        assert_eq!(left, 1, "only the lock is left");
    }
}

#[tokio::test]
async fn without_a_disk_lines_wait_in_memory() {
    let config = Config { store: StoreUrl::Memory, ..Config::default() };
    let bench = Bench::start(&config, &Store::memory());
    bench.line("sink", "a").await;
    bench.at(MEMORY_AGE_MAX_S);
    assert_eq!(bench.until(1).await, [(at(3), "0 a\n".to_owned())]);
    bench.line("sink", "b").await;
    bench.log.close().await;
    assert_eq!(bench.objects().await.len(), 2);
}

#[tokio::test]
async fn what_a_killed_process_left_is_delivered_by_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let config = on_disk(dir.path());
    let key =
        Key { destination: Arc::new(Destination::new(&bucket(), &target("sink"))), hour: HOUR };
    let (rules, bytes_max) = rules(&config, true);
    let spool_dir = config.logging.spool_dir.as_deref();
    let (mut spool, _) = Spool::open(spool_dir, rules, bytes_max, Arc::default()).unwrap();
    spool.add(&key, "kept", HOUR).unwrap();
    drop(spool);
    let bench = Bench::start(&config, &Store::memory());
    assert_eq!(bench.until(1).await, [(at(3), "kept\n".to_owned())]);
    bench.log.close().await;
}

#[tokio::test]
async fn a_delivery_that_is_repeated_makes_no_second_object() {
    let dir = tempfile::tempdir().unwrap();
    let key =
        Key { destination: Arc::new(Destination::new(&bucket(), &target("sink"))), hour: HOUR };
    let rules = Rules { bytes_max: 1 << 20, age_max_s: 3600, open_max: 1 };
    let (mut spool, _) = Spool::open(Some(dir.path()), rules, 1 << 20, Arc::default()).unwrap();
    spool.add(&key, "once", HOUR).unwrap();
    let sealed = spool.seal_all().remove(0);
    let piece::Content::File(path) = &sealed.content else { panic!("a file") };
    let bytes = std::fs::read(path).unwrap();
    let store = Store::memory();
    let sinks = Sinks::open(&Config::default(), store.clone()).unwrap();
    let (backlog, counters) = (Arc::default(), Arc::<Counters>::default());
    let deliverer = Deliverer { sinks, backlog, counters: Arc::clone(&counters) };
    deliverer.deliver(&sealed).await.unwrap();
    assert!(!path.exists());
    // As after a kill between the creation and the removal, or a power failure behind both.
    std::fs::write(path, &bytes).unwrap();
    deliverer.deliver(&sealed).await.unwrap();
    assert_eq!((counters.seen().1, path.exists()), (1, false));
    assert_eq!(store.list_after("logs", None).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_sink_that_fails_is_tried_again_and_holds_up_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("store");
    let store = Store::local(&folder, LocalOptions::default()).unwrap();
    let in_the_way = folder.join("logs/1234567890123456/broken");
    std::fs::create_dir_all(in_the_way.parent().unwrap()).unwrap();
    std::fs::write(&in_the_way, "a file where a folder must be").unwrap();
    let mut config = on_disk(dir.path());
    config.logging.object_bytes_max = ByteSize(1);
    let bench = Bench::start(&config, &store);
    bench.line("broken", "waits").await;
    bench.line("sink", "goes on").await;
    let delivered = async {
        while bench.counters.seen().1 == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, delivered).await.unwrap();
    std::fs::remove_file(&in_the_way).unwrap();
    let texts = bench.until(2).await.into_iter().map(|(_, text)| text);
    assert_eq!(texts.collect::<Vec<_>>(), ["0 waits\n", "0 goes on\n"]);
    bench.log.close().await;
}

#[tokio::test]
async fn a_spool_that_cannot_be_written_drops_and_delays_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::start(&on_disk(dir.path()), &Store::memory());
    std::fs::remove_dir_all(dir.path()).unwrap();
    let noted = async {
        for _ in 0..1000 {
            bench.line("sink", "lost").await;
        }
    };
    tokio::time::timeout(PATIENCE, noted).await.expect("nothing waits for the disk");
    assert_eq!(bench.counters.seen().0, 0);
    bench.log.close().await;
}

#[tokio::test]
async fn settings_are_remembered_until_they_change() {
    let config = Config { store: StoreUrl::Memory, ..Config::default() };
    let bench = Bench::start(&config, &Store::memory());
    let refused = || async {
        let told = Some(Told::ByMemory(bucket()));
        bench.log.note(told, Duration::ZERO, |_| "refused".to_owned()).await;
    };
    refused().await;
    let first = bench.log.learn(&bucket(), Some(&target("sink"))).unwrap();
    assert!(Arc::ptr_eq(&first, &bench.log.learn(&bucket(), Some(&target("sink"))).unwrap()));
    refused().await;
    assert!(!first.is(&target("other")));
    assert!(bench.log.learn(&bucket(), Some(&target("other"))).unwrap().is(&target("other")));
    refused().await;
    assert!(bench.log.learn(&bucket(), None).is_none());
    refused().await;
    bench.log.close().await;
    let texts: Vec<_> = bench.objects().await;
    assert_eq!(texts.len(), 2, "one for each target, none before and after: {texts:?}");
}
