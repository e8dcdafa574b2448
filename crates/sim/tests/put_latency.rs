//! How long a put takes on a shared store, told in its requests' latency: the real engine on a
//! simulated clock, so the figures depend on the order of requests alone and not on the machine.
//! `cargo test -p vb-sim --test put_latency -- --nocapture` prints them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "the latencies are a result")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use object_store::memory::InMemory;
use object_store::throttle::{ThrottleConfig, ThrottledStore};
use tokio::time::Instant;
use vb_commit::Store;
use vb_engine::{
    BucketId, BucketSettings, Engine, GetRequest, IndexHandle, IndexSettings, Options, PutBatch,
    VectorColumn,
};
use vb_search::{Attributes, Metric, Schema, VectorField};

/// What every request takes.
const LATENCY: Duration = Duration::from_millis(50);

const CLIENTS: usize = 16;
const PUTS: usize = 60;

fn throttled() -> Store {
    let config = ThrottleConfig {
        wait_delete_per_call: LATENCY,
        wait_get_per_call: LATENCY,
        wait_list_per_call: LATENCY,
        wait_list_with_delimiter_per_call: LATENCY,
        wait_put_per_call: LATENCY,
        ..ThrottleConfig::default()
    };
    Store::from_object_store(Arc::new(ThrottledStore::new(InMemory::new(), config)), false)
}

async fn index(store: &Store) -> (Engine, IndexHandle) {
    let options = Options { threads: Some(0), ..Options::default() };
    let engine = Engine::open(store.clone(), options).await.unwrap();
    let bucket = BucketId::new("1234567890123456", "bucket");
    engine.create_bucket(&bucket, BucketSettings::default()).await.unwrap();
    let field = VectorField { name: "float32".into(), dimension: 4, metric: Metric::Euclidean };
    let schema = Schema { vector_fields: vec![field], non_filterable: Vec::new() };
    let settings = IndexSettings { schema, wire: Bytes::from_static(b"{}") };
    engine.create_index(&bucket, b"index", settings).await.unwrap();
    let index = engine.resolve(&bucket, b"index").await.unwrap();
    (engine, index)
}

fn one_row(key: String) -> PutBatch {
    PutBatch {
        keys: vec![key.into_bytes().into()],
        vectors: vec![VectorColumn { values: vec![1.0; 4], present: None }],
        metadata: vec![None],
        attributes: vec![Attributes::default()],
    }
}

/// A client that puts again as soon as it was answered and has thought a random while, up to
/// `think` milliseconds; the latencies of its puts.
async fn putter(index: IndexHandle, client: usize, think: u64) -> Vec<Duration> {
    let mut random = (client as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut latencies = Vec::new();
    for put in 0..PUTS {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        tokio::time::sleep(Duration::from_micros(random % (think * 1000 + 1))).await;
        let begun = Instant::now();
        index.put(one_row(format!("{client}-{put}"))).await.unwrap();
        latencies.push(begun.elapsed());
    }
    latencies
}

/// A client that reads what is being written, beside the others; the latencies of its reads.
async fn reader(index: IndexHandle) -> Vec<Duration> {
    let mut latencies = Vec::new();
    for read in 0..PUTS {
        tokio::time::sleep(Duration::from_millis(read as u64 % 37)).await;
        let keys = vec![format!("0-{read}").into_bytes().into()];
        let begun = Instant::now();
        let request = GetRequest { keys, with_data: true, with_metadata: false };
        index.get(request).await.unwrap();
        latencies.push(begun.elapsed());
    }
    latencies
}

/// The latency that `percent` of the requests do not exceed, in latencies of one request.
fn percentile(latencies: &mut [Duration], percent: usize) -> f64 {
    latencies.sort_unstable();
    latencies[(latencies.len() - 1) * percent / 100].as_secs_f64() / LATENCY.as_secs_f64()
}

#[tokio::test(start_paused = true)]
async fn a_put_takes_two_to_three_requests_at_the_median() {
    // Those who write again at once find a group that waited for them; others find a create under way.
    for (think, median_max) in [(0, 2.1), (10, 2.3), (50, 2.8), (200, 2.8)] {
        let (engine, index) = index(&throttled()).await;
        let clients = (0..CLIENTS).map(|client| tokio::spawn(putter(index.clone(), client, think)));
        let clients: Vec<_> = clients.collect();
        let reads = tokio::spawn(reader(index.clone()));
        let mut puts = Vec::new();
        for client in clients {
            puts.extend(client.await.unwrap());
        }
        let mut reads = reads.await.unwrap();
        let (median, tail) = (percentile(&mut puts, 50), percentile(&mut puts, 95));
        let (read, read_tail) = (percentile(&mut reads, 50), percentile(&mut reads, 95));
        println!(
            "think up to {think} ms: put p50 {median:.2}, p95 {tail:.2}; \
             strong read p50 {read:.2}, p95 {read_tail:.2} request latencies"
        );
        assert!(median <= median_max, "think {think}: p50 is {median}");
        assert!(read <= 1.5, "think {think}: a strong read takes {read}");
        engine.shutdown().await;
    }
}
