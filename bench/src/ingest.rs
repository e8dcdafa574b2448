//! PutVectors over HTTP: durable, signed, with Content-MD5, against the parse and hash limit of the same bodies.

use std::hint::black_box;
use std::path::Path;
use std::thread;
use std::time::Instant;

use md5::{Digest, Md5};
use serde::Deserialize;
use vb_api::oss::request::{IndexShape, PutVectors};
use vb_api::oss::{Limits, Metric};

use crate::bodies::{self, Random};
use crate::client::{self, Client};
use crate::report::Report;
use crate::{Arguments, Outcome, machine};

/// Vectors in a request: the most the wire allows, as the SDK's users are told to send.
const BATCH: usize = 500;
/// Connections that write at the same time.
const WRITERS: usize = 4;
/// Bytes of bodies sent per measurement.
const BODY_BYTES: usize = 600 << 20;

/// Measures one dimension and adds its figures to the report.
///
/// # Errors
/// When the server cannot be started or refuses a request.
pub(crate) fn measure(arguments: &Arguments, dimension: usize, report: &mut Report) -> Outcome {
    let group = format!("ingest {dimension}d");
    let bodies = make_bodies(dimension);
    let body_bytes = bodies.iter().map(Vec::len).sum::<usize>() / bodies.len();
    let limit = parse_and_hash_limit(&bodies);
    report.add(&group, "body bytes per vector", body_bytes as f64 / BATCH as f64, "B");
    report.add(&group, "parse (serde_json, typed) + MD5 limit", limit, "vectors/s per core");
    let own_limit = decode_and_hash_limit(&bodies, dimension);
    report.add(&group, "parse (own decoder) + MD5 limit", own_limit, "vectors/s per core");

    let folder = tempfile::tempdir_in(&arguments.work).map_err(|e| e.to_string())?;
    let server = arguments.start_server(&folder.path().join("store"))?;
    client::create_index(server.address, "bench", "put", dimension, "euclidean")?;
    single_put_latency(&server, dimension, report, &group)?;

    let (cpu, wall) = (server.cpu_seconds(), Instant::now());
    let sent = send_all(&server, &bodies)?;
    let (cpu, wall) = (server.cpu_seconds() - cpu, wall.elapsed().as_secs_f64());
    let per_core = sent as f64 / cpu;
    report.add(&group, "vectors per server CPU second", per_core, "vectors/s per core");
    report.add(&group, "share of the serde_json + MD5 limit", 100.0 * per_core / limit, "%");
    report.add(&group, "share of the own decoder + MD5 limit", 100.0 * per_core / own_limit, "%");
    report.add(
        &group,
        "vectors per second, client on the same cores",
        sent as f64 / wall,
        "vectors/s",
    );
    compare_with_append(folder.path(), dimension, sent as f64 / wall, report, &group)?;
    report.add(&group, "peak memory of the server", server.memory("VmHWM") / 1e6, "MB");
    Ok(())
}

fn make_bodies(dimension: usize) -> Vec<Vec<u8>> {
    let mut random = Random(dimension as u64);
    let per_batch = 22 * dimension * BATCH;
    let distinct = (256 << 20) / per_batch;
    (0..distinct.clamp(4, 64))
        .map(|at| {
            let rows: Vec<Vec<f64>> =
                (0..BATCH).map(|_| (0..dimension).map(|_| random.symmetric()).collect()).collect();
            bodies::put("put", at * BATCH, &rows)
        })
        .collect()
}

/// The body as typed reads see it: every member kept, nothing checked.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Typed<'a> {
    index_name: &'a str,
    #[serde(borrow)]
    vectors: Vec<TypedVector<'a>>,
}

#[derive(Deserialize)]
struct TypedVector<'a> {
    key: &'a str,
    data: TypedData,
    #[serde(borrow)]
    metadata: &'a serde_json::value::RawValue,
}

#[derive(Deserialize)]
struct TypedData {
    float32: Vec<f32>,
}

/// Vectors per second of one core that does nothing but read the bodies with serde_json into typed
/// vectors and hash them.
fn parse_and_hash_limit(bodies: &[Vec<u8>]) -> f64 {
    rate(bodies, |body| {
        let typed: Typed<'_> = serde_json::from_slice(body).expect("our own body is valid");
        let floats: usize = typed.vectors.iter().map(|v| v.data.float32.len() + v.key.len()).sum();
        let raw: usize = typed.vectors.iter().map(|v| v.metadata.get().len()).sum();
        black_box((typed.index_name.len(), floats, raw, Md5::digest(body)));
    })
}

/// The same with the service's own decoder, all its checks included.
fn decode_and_hash_limit(bodies: &[Vec<u8>], dimension: usize) -> f64 {
    let dimension = u32::try_from(dimension).expect("at most 4096");
    let shape = IndexShape { dimension, metric: Metric::Euclidean, non_filterable: &[] };
    let limits = Limits::default();
    rate(bodies, |body| {
        let put = PutVectors::decode(body, &shape, &limits).expect("our own body is valid");
        black_box((put, Md5::digest(body)));
    })
}

/// Vectors per second of `work` on this thread: the best of three passes.
fn rate(bodies: &[Vec<u8>], work: impl Fn(&[u8])) -> f64 {
    let pass = || {
        let start = Instant::now();
        let taken = bodies.len().min(12);
        bodies.iter().take(taken).for_each(|body| work(body));
        (taken * BATCH) as f64 / start.elapsed().as_secs_f64()
    };
    (0..3).map(|_| pass()).fold(0.0, f64::max)
}

fn single_put_latency(
    server: &crate::server::Server,
    dimension: usize,
    report: &mut Report,
    group: &str,
) -> Outcome {
    let mut random = Random(7);
    let mut connection = Client::connect(server.address)?;
    let mut micros = Vec::new();
    for at in 0..300 {
        let row: Vec<f64> = (0..dimension).map(|_| random.symmetric()).collect();
        let request = client::request("putVectors", "bench", &bodies::put("put", at, &[row]));
        let start = Instant::now();
        connection.expect_ok(&request)?;
        micros.push(start.elapsed().as_secs_f64() * 1e6);
    }
    micros.sort_by(f64::total_cmp);
    report.add(group, "one vector, one connection, p50", micros[150] / 1e3, "ms");
    report.add(group, "one vector, one connection, p99", micros[297] / 1e3, "ms");
    Ok(())
}

/// Sends `BODY_BYTES` of bodies over `WRITERS` connections and returns the vectors acknowledged.
fn send_all(server: &crate::server::Server, bodies: &[Vec<u8>]) -> Outcome<usize> {
    let requests: Vec<Vec<u8>> =
        bodies.iter().map(|body| client::request("putVectors", "bench", body)).collect();
    let rounds = (BODY_BYTES / bodies[0].len()).max(WRITERS);
    thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let requests = &requests;
                scope.spawn(move || -> Outcome<usize> {
                    let mut connection = Client::connect(server.address)?;
                    let mut sent = 0;
                    for at in (writer..rounds).step_by(WRITERS) {
                        connection.expect_ok(&requests[at % requests.len()])?;
                        sent += BATCH;
                    }
                    Ok(sent)
                })
            })
            .collect();
        writers.into_iter().map(|w| w.join().expect("a writer does not panic")).sum()
    })
}

/// Sets the wall-clock rate beside appending and syncing the same float bytes without any service.
fn compare_with_append(
    folder: &Path,
    dimension: usize,
    vectors_per_second: f64,
    report: &mut Report,
    group: &str,
) -> Outcome {
    let group_bytes = BATCH * dimension * 4;
    let raw = machine::append_and_sync(folder, group_bytes)?;
    let ours = vectors_per_second * dimension as f64 * 4.0;
    report.add(group, "raw append + fsync of one batch at a time", raw / 1e6, "MB/s");
    report.add(group, "float bytes made durable", ours / 1e6, "MB/s");
    report.add(group, "share of raw append + fsync", 100.0 * ours / raw, "%");
    Ok(())
}
