//! Many idle indexes: what they cost a server in memory and start-up, and the first query on any.

use std::thread;
use std::time::{Duration, Instant};

use clap::Args;

use crate::client::{Client, request, request_of};
use crate::report::{Report, say};
use crate::server::Server;
use crate::{Arguments, Outcome};

const DIMENSION: usize = 16;

#[derive(Args, Clone)]
pub(crate) struct Options {
    /// Buckets.
    #[arg(long, default_value_t = 1000)]
    buckets: usize,
    /// Indexes in each.
    #[arg(long, default_value_t = 100)]
    indexes: usize,
    /// One index in so many holds records; the others are empty.
    #[arg(long, default_value_t = 50)]
    filled: usize,
    /// Indexes that get a first query.
    #[arg(long, default_value_t = 200)]
    sample: usize,
    /// Connections that create.
    #[arg(long, default_value_t = 8)]
    clients: usize,
}

/// # Errors
/// When the server refuses, or a promise is not kept: 200 MiB of memory, 5 seconds of start-up.
pub(crate) fn measure(arguments: &Arguments, options: &Options, report: &mut Report) -> Outcome {
    let folder = tempfile::tempdir_in(&arguments.work).map_err(|e| e.to_string())?;
    let store = folder.path().join("store");
    let buckets_max = options.buckets.to_string();
    let indexes_max = options.indexes.to_string();
    let settings = [
        ("VECTORBUCKET_QUOTAS_BUCKETS_MAX", buckets_max.as_str()),
        ("VECTORBUCKET_QUOTAS_INDEXES_MAX", indexes_max.as_str()),
        // Only how fast the indexes are made depends on it.
        ("VECTORBUCKET_FSYNC", "false"),
    ];
    let group = format!("idle {}x{}", options.buckets, options.indexes);
    let server = arguments.start_server_with(&store, &settings)?;
    create(&server, options, report, &group)?;
    drop(server);

    let started = Instant::now();
    let server = arguments.start_server_with(&store, &settings)?;
    let start = started.elapsed();
    report.add(&group, "start until it is ready", start.as_secs_f64() * 1e3, "ms");
    let mut peak = note(&server, report, &group, "memory right after the start");
    first_queries(&server, options, report, &group)?;
    peak = peak.max(note(&server, report, &group, "memory after the first queries"));
    list(&server, options, report, &group)?;
    peak = peak.max(note(&server, report, &group, "memory after every bucket was used"));
    thread::sleep(Duration::from_secs(60));
    peak = peak.max(note(&server, report, &group, "memory a minute later"));
    report.add(&group, "memory, peak", server.memory("VmHWM") / f64::from(1 << 20), "MiB");
    promise(start < Duration::from_secs(5), "start-up takes 5 seconds or more")?;
    promise(peak < f64::from(200 << 20), "memory reaches 200 MiB")
}

fn promise(kept: bool, broken: &str) -> Outcome {
    if kept { Ok(()) } else { Err(broken.to_owned()) }
}

/// Resident memory in bytes, reported.
fn note(server: &Server, report: &mut Report, group: &str, name: &str) -> f64 {
    let memory = server.memory("VmRSS");
    report.add(group, name, memory / f64::from(1 << 20), "MiB");
    memory
}

fn bucket(number: usize) -> String {
    format!("idle-{number:04}")
}

fn index(number: usize) -> String {
    format!("index{number:03}")
}

fn is_filled(options: &Options, bucket: usize, index: usize) -> bool {
    (bucket * options.indexes + index).is_multiple_of(options.filled)
}

fn create(server: &Server, options: &Options, report: &mut Report, group: &str) -> Outcome {
    let started = Instant::now();
    let create_some = |client: usize| -> Outcome {
        let mut connection = Client::connect(server.address)?;
        for number in (client..options.buckets).step_by(options.clients) {
            fill_bucket(&mut connection, options, number)?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let some = (0..options.clients).map(|client| scope.spawn(move || create_some(client)));
        let some: Vec<_> = some.collect();
        some.into_iter()
            .try_for_each(|creator| creator.join().map_err(|_| "a creator panicked".to_owned())?)
    })?;
    let count = (options.buckets * options.indexes) as f64;
    report.add(group, "indexes made", count / started.elapsed().as_secs_f64(), "indexes/s");
    say(&format!("  {count} indexes in {:.0} s", started.elapsed().as_secs_f64()));
    Ok(())
}

fn fill_bucket(connection: &mut Client, options: &Options, number: usize) -> Outcome {
    let bucket = bucket(number);
    connection.expect_ok(&request_of("PUT", "", &bucket, b""))?;
    for place in 0..options.indexes {
        let name = index(place);
        let body = format!(
            "{{\"indexName\": \"{name}\", \"dataType\": \"float32\", \"dimension\": {DIMENSION}, \
             \"distanceMetric\": \"euclidean\"}}"
        );
        connection.expect_ok(&request("putVectorIndex", &bucket, body.as_bytes()))?;
        if is_filled(options, number, place) {
            connection.expect_ok(&request("putVectors", &bucket, records(&name).as_bytes()))?;
        }
    }
    Ok(())
}

/// Twenty records.
fn records(index: &str) -> String {
    let vectors: Vec<String> = (0..20)
        .map(|key| {
            let values: Vec<String> =
                (0..DIMENSION).map(|place| ((key * place) % 7).to_string()).collect();
            format!("{{\"key\": \"k{key}\", \"data\": {{\"float32\": [{}]}}}}", values.join(", "))
        })
        .collect();
    format!("{{\"indexName\": \"{index}\", \"vectors\": [{}]}}", vectors.join(", "))
}

/// The first query on indexes that nobody touched since the start, each in another bucket if there
/// are enough, empty and filled ones in turn.
fn first_queries(server: &Server, options: &Options, report: &mut Report, group: &str) -> Outcome {
    let mut connection = Client::connect(server.address)?;
    let before = requests(server)?;
    let mut times = Vec::new();
    let mut found = 0;
    let step = (options.buckets / options.sample.max(1)).max(1);
    for number in (0..options.buckets).step_by(step).take(options.sample) {
        let filled = (0..options.indexes).find(|place| is_filled(options, number, *place));
        let name = index(filled.unwrap_or(number % options.indexes));
        let values = vec!["1"; DIMENSION].join(", ");
        let body = format!(
            "{{\"indexName\": \"{name}\", \"queryVector\": {{\"float32\": [{values}]}}, \"topK\": 3}}"
        );
        let started = Instant::now();
        let answer =
            connection.expect_ok(&request("queryVectors", &bucket(number), body.as_bytes()))?;
        times.push(started.elapsed().as_secs_f64() * 1e3);
        found += usize::from(String::from_utf8_lossy(&answer).contains("\"k"));
    }
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    report.add(group, "first query, median", at(0.5), "ms");
    report.add(group, "first query, slowest", at(1.0), "ms");
    report.add(group, "first queries that found records", found as f64, "queries");
    let each = (requests(server)? - before) / times.len() as f64;
    report.add(group, "store requests per first query, walk included", each, "requests");
    Ok(())
}

/// Requests to the store so far.
fn requests(server: &Server) -> Outcome<f64> {
    ["create", "put", "get", "list", "delete"].iter().try_fold(0.0, |sum, verb| {
        let name = format!("store_requests_total{{verb=\"{verb}\"}}");
        Ok(sum + server.metric(&name)?)
    })
}

/// Lists the buckets, then the indexes of each.
fn list(server: &Server, options: &Options, report: &mut Report, group: &str) -> Outcome {
    let mut connection = Client::connect(server.address)?;
    for name in ["bucket list, first", "bucket list, again"] {
        let started = Instant::now();
        let answer = connection.expect_ok(&request_of("GET", "max-keys=1000", "", b""))?;
        report.add(group, name, started.elapsed().as_secs_f64() * 1e3, "ms");
        let listed = String::from_utf8_lossy(&answer).matches("idle-").count();
        promise(listed >= options.buckets.min(1000), "a bucket is missing in the list")?;
    }
    let started = Instant::now();
    for number in 0..options.buckets {
        let body = b"{\"maxResults\": 500}";
        let answer = connection.expect_ok(&request("listVectorIndexes", &bucket(number), body))?;
        let listed = String::from_utf8_lossy(&answer).matches("\"indexName\"").count();
        promise(listed >= options.indexes.min(500), "an index is missing in the list")?;
    }
    let each = started.elapsed().as_secs_f64() * 1e3 / options.buckets as f64;
    report.add(group, "index list of a bucket, first", each, "ms");
    Ok(())
}
