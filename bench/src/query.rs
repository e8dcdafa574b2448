//! QueryVectors on a real set: exact, so recall must be 1, and bytes scanned against memory bandwidth; as clients ask by
//! default; what access control costs; restart.

use std::path::Path;
use std::time::Instant;

use serde::Deserialize;
use vb_api::oss::signature::Credentials;

use crate::bodies;
use crate::client::{self, Client};
use crate::npy::Array;
use crate::report::Report;
use crate::server::{Server, key_ring};
use crate::{Arguments, Outcome, machine};

const TOP_K: usize = 10;
/// Queries per measurement; each is sent as many times as fits into this many seconds.
const SECONDS: f64 = 12.0;

/// Imports `set`, queries it, kills the server, starts it again and queries once more.
///
/// # Errors
/// When the data set is missing or the server refuses a request.
pub(crate) fn measure(arguments: &Arguments, set: &str, report: &mut Report) -> Outcome {
    let group = format!("query {set}");
    let read = |part: &str| Array::read(&arguments.data.join(format!("{set}_{part}.npy")));
    let (base, queries, truth) = (read("base")?, read("query")?, read("gtd")?);
    let folder = tempfile::tempdir_in(&arguments.work).map_err(|e| e.to_string())?;
    let ring = key_ring(&arguments.server)?;
    let settings = [("VECTORBUCKET_KEY_RING", ring.as_str())];
    let server = arguments.start_server_with(&folder.path().join("store"), &settings)?;
    import(&server, &base, report, &group)?;

    let signed = |body: &[u8]| client::request("queryVectors", "bench", body);
    let exact: Vec<Vec<u8>> =
        queries.rows().map(|row| signed(&bodies::exact_query("real", row, TOP_K))).collect();
    let usual: Vec<Vec<u8>> =
        queries.rows().map(|row| signed(&bodies::query("real", row, TOP_K, None))).collect();
    let scanned = base.values.len() as f64 * 4.0;
    server.rest();
    recall(&server, &exact, &truth, report, &format!("{group} exact"))?;
    let pace = speed(&server, &exact, report, &format!("{group} exact"))?;
    share_of_bandwidth(pace, scanned, report, &format!("{group} exact"));
    let user = user(&server, folder.path())?;
    for (kind, usual) in [("exact", false), ("default", true)] {
        let bodies = queries.rows().map(|row| match usual {
            true => bodies::query("real", row, TOP_K, None),
            false => bodies::exact_query("real", row, TOP_K),
        });
        access(&server, &user, &bodies.collect::<Vec<_>>(), report, &format!("{group} {kind}"))?;
    }
    recall(&server, &usual, &truth, report, &group)?;
    speed(&server, &usual, report, &group)?;
    let server = restart(server, &usual[0], report, &group)?;
    speed_after_restart(&server, &usual, report, &group)?;
    report.add(&group, "raw vectors", scanned / 1e6, "MB");
    report.add(&group, "memory after restart and queries", server.memory("VmRSS") / 1e6, "MB");
    Ok(())
}

/// Statements of the user's policy.
const STATEMENTS: usize = 100;
/// Turns of root and user, and seconds of each.
const TURNS: usize = 5;
const TURN_SECONDS: f64 = 2.0;

/// The key of a new user, to whom the last of a hundred statements gives what the queries need.
fn user(server: &Server, folder: &Path) -> Outcome<Credentials> {
    let statement = |number: usize| {
        let index = if number == STATEMENTS { "real".into() } else { format!("real{number}") };
        let resource = format!("acs:ossvector:*:*:bench/{index}/*");
        format!(r#"{{"Effect":"Allow","Action":"oss:*","Resource":"{resource}"}}"#)
    };
    let statements: Vec<String> = (1..=STATEMENTS).map(statement).collect();
    let file = folder.join("policy.json");
    let policy = format!(r#"{{"Version":"1","Statement":[{}]}}"#, statements.join(","));
    std::fs::write(&file, policy).map_err(|e| e.to_string())?;
    server.administer(&["user", "create", "reader"])?;
    let file = file.to_str().ok_or("a folder with a name in UTF-8")?;
    server.administer(&["policy", "put-inline", "own", file, "--user", "reader"])?;
    let key = server.administer(&["key", "create", "reader", "--json"])?;
    let key: NewKey = serde_json::from_str(&key).map_err(|e| format!("{e} in the new key"))?;
    Ok(Credentials { access_key_id: key.access_key_id, secret: key.access_key_secret, token: None })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NewKey {
    access_key_id: String,
    access_key_secret: String,
}

/// The same queries by the root key, which no policy is asked about, and by a user, in turns.
fn access(
    server: &Server,
    user: &Credentials,
    bodies: &[Vec<u8>],
    report: &mut Report,
    group: &str,
) -> Outcome {
    let by_root = |body: &Vec<u8>| client::request("queryVectors", "bench", body);
    let by_user = |body: &Vec<u8>| client::request_by(user, "POST", "queryVectors", "bench", body);
    let requests: [Vec<Vec<u8>>; 2] =
        [bodies.iter().map(by_root).collect(), bodies.iter().map(by_user).collect()];
    let (mut millis, mut cpu) = ([Vec::new(), Vec::new()], [0.0; 2]);
    for turn in 0..2 * TURNS {
        // Root, user, user, root and so on: a trend meets both.
        let caller = (turn / 2 + turn) % 2;
        let before = server.cpu_seconds();
        millis[caller].extend(send_for(server, &requests[caller], TURN_SECONDS)?);
        cpu[caller] += server.cpu_seconds() - before;
    }
    for ((name, millis), cpu) in ["root", "user"].into_iter().zip(&mut millis).zip(cpu) {
        millis.sort_by(f64::total_cmp);
        report.add(group, &format!("p50 by {name}, in turns"), millis[millis.len() / 2], "ms");
        let per_query = cpu * 1e6 / millis.len() as f64;
        report.add(group, &format!("server CPU per query by {name}, in turns"), per_query, "us");
    }
    Ok(())
}

fn import(server: &Server, base: &Array, report: &mut Report, group: &str) -> Outcome {
    client::create_index(server.address, "bench", "real", base.columns, "cosine")?;
    let mut connection = Client::connect(server.address)?;
    let rows: Vec<&[f32]> = base.rows().collect();
    let start = Instant::now();
    for (at, batch) in rows.chunks(500).enumerate() {
        let wide: Vec<Vec<f64>> =
            batch.iter().map(|row| row.iter().map(|v| f64::from(*v)).collect()).collect();
        let body = bodies::put("real", at * 500, &wide);
        connection.expect_ok(&client::request("putVectors", "bench", &body))?;
    }
    report.add(group, "vectors", rows.len() as f64, "");
    report.add(group, "import, one connection", start.elapsed().as_secs_f64(), "s");
    Ok(())
}

#[derive(Deserialize)]
struct Answer {
    vectors: Vec<Hit>,
}

#[derive(Deserialize)]
struct Hit {
    distance: f32,
}

/// Share of answers whose distance is at most the true k-th distance; ties do not distort it.
fn recall(
    server: &Server,
    requests: &[Vec<u8>],
    truth: &Array,
    report: &mut Report,
    group: &str,
) -> Outcome {
    let mut connection = Client::connect(server.address)?;
    let mut found = 0;
    for (request, distances) in requests.iter().zip(truth.rows()) {
        let body = connection.expect_ok(request)?;
        let answer: Answer = serde_json::from_slice(&body).map_err(|e| e.to_string())?;
        let worst = distances[TOP_K - 1] + 2e-6; // one rounding of single precision around 1
        found += answer.vectors.iter().filter(|hit| hit.distance <= worst).count();
    }
    report.add(group, "recall@10", found as f64 / (requests.len() * TOP_K) as f64, "");
    Ok(())
}

/// Queries per second: of the server's CPU time, and of the clock.
#[derive(Clone, Copy, Debug)]
struct Pace {
    per_cpu: f64,
    per_wall: f64,
}

fn speed(server: &Server, requests: &[Vec<u8>], report: &mut Report, group: &str) -> Outcome<Pace> {
    let (cpu, start) = (server.cpu_seconds(), Instant::now());
    let millis = send_for(server, requests, SECONDS)?;
    let (cpu, wall) = (server.cpu_seconds() - cpu, start.elapsed().as_secs_f64());
    let count = millis.len() as f64;
    let pace = Pace { per_cpu: count / cpu, per_wall: count / wall };
    report.add(group, "p50, one connection", millis[millis.len() / 2], "ms");
    report.add(group, "p99, one connection", millis[millis.len() * 99 / 100], "ms");
    report.add(group, "queries per second, one connection", pace.per_wall, "QPS");
    report.add(group, "queries per server CPU second", pace.per_cpu, "QPS per core");
    Ok(pace)
}

/// What scanning `scanned` bytes a query comes to, beside reading memory alone.
fn share_of_bandwidth(pace: Pace, scanned: f64, report: &mut Report, group: &str) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let one = machine::read_bandwidth(1, 1 << 30);
    let all = machine::read_bandwidth(cores, 1 << 30);
    let (per_cpu, per_wall) = (scanned * pace.per_cpu, scanned * pace.per_wall);
    report.add(group, "memory bandwidth, one core", one / 1e9, "GB/s");
    report.add(group, "memory bandwidth, all cores", all / 1e9, "GB/s");
    report.add(group, "vector bytes scanned per CPU second", per_cpu / 1e9, "GB/s");
    report.add(group, "share of one core's bandwidth", 100.0 * per_cpu / one, "%");
    report.add(group, "vector bytes scanned per second", per_wall / 1e9, "GB/s");
    report.add(group, "share of all cores' bandwidth", 100.0 * per_wall / all, "%");
}

/// Sends the queries over one connection for about `seconds`; sorted latencies in milliseconds.
fn send_for(server: &Server, requests: &[Vec<u8>], seconds: f64) -> Outcome<Vec<f64>> {
    let mut connection = Client::connect(server.address)?;
    let start = Instant::now();
    let mut millis = Vec::new();
    for request in requests.iter().cycle() {
        if start.elapsed().as_secs_f64() > seconds {
            break;
        }
        let sent = Instant::now();
        connection.expect_ok(request)?;
        millis.push(sent.elapsed().as_secs_f64() * 1e3);
    }
    millis.sort_by(f64::total_cmp);
    Ok(millis)
}

/// Kills the server and measures from its start to the first answer.
fn restart(server: Server, request: &[u8], report: &mut Report, group: &str) -> Outcome<Server> {
    let start = Instant::now();
    let server = server.kill_and_restart()?;
    let listening = start.elapsed().as_secs_f64();
    Client::connect(server.address)?.expect_ok(request)?;
    report.add(group, "kill -9 to listening again", listening, "s");
    report.add(group, "kill -9 to first answer", start.elapsed().as_secs_f64(), "s");
    Ok(server)
}

fn speed_after_restart(
    server: &Server,
    requests: &[Vec<u8>],
    report: &mut Report,
    group: &str,
) -> Outcome {
    let millis = send_for(server, requests, 3.0)?;
    report.add(group, "p50 after the restart", millis[millis.len() / 2], "ms");
    Ok(())
}
