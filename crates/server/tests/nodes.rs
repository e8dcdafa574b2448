//! Several nodes over one store: any may be asked, one owns, one may be down.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use common::cluster::Cluster;
use common::{Answer, Call, Connection, OTHER_ACCOUNT};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use vb_server::{ByteSize, Config, Failure, Given, Secret, Server};

fn put_index(bucket: &str, index: &str, dimension: u32) -> Call {
    let body = json!({"indexName": index, "dataType": "float32", "dimension": dimension,
                      "distanceMetric": "euclidean"});
    Call::post(bucket, "putVectorIndex", &body)
}

fn on_index(bucket: &str, operation: &str, index: &str) -> Call {
    Call::post(bucket, operation, &json!({"indexName": index}))
}

fn put(index: &str, key: &str, vector: &[f32]) -> Call {
    let rows = json!([{"key": key, "data": {"float32": vector}}]);
    Call::post("vec", "putVectors", &json!({"indexName": index, "vectors": rows}))
}

fn get(index: &str, key: &str) -> Call {
    let body = json!({"indexName": index, "keys": [key], "returnData": true});
    Call::post("vec", "getVectors", &body)
}

fn query(index: &str, vector: &[f32]) -> Call {
    let body = json!({"indexName": index, "topK": 3, "queryVector": {"float32": vector}});
    Call::post("vec", "queryVectors", &body)
}

fn keys(answer: &Answer) -> Vec<String> {
    let rows = answer.json()["vectors"].as_array().unwrap().clone();
    rows.iter().map(|row| row["key"].as_str().unwrap().to_owned()).collect()
}

/// A cluster with bucket `vec` and index `idx` of dimension 2; and the index's owner.
async fn cluster(count: usize) -> (Cluster, usize) {
    let cluster = Cluster::start(count).await;
    cluster.ok(0, &Call::new("PUT", "vec", "")).await;
    cluster.ok(0, &put_index("vec", "idx", 2)).await;
    let owner = cluster.owner("vec", "idx").await;
    (cluster, owner)
}

#[tokio::test]
async fn every_node_answers_and_the_owner_does_the_work() {
    let (cluster, owner) = cluster(3).await;
    for node in 0..3 {
        let key = format!("k{node}");
        cluster.ok(node, &put("idx", &key, &[node as f32, 0.0])).await;
        for reader in 0..3 {
            assert_eq!(
                keys(&cluster.ok(reader, &get("idx", &key)).await),
                std::slice::from_ref(&key)
            );
        }
    }
    for node in 0..3 {
        let nearest = cluster.ok(node, &query("idx", &[2.0, 0.0])).await;
        nearest.check_common();
        assert_eq!(keys(&nearest), ["k2", "k1", "k0"]);
        // A put, three gets and a query each, on the two that do not own.
        let forwarded = if node == owner { 0 } else { 5 };
        assert_eq!(cluster.routed(node, "forwarded").await, forwarded);
        assert_eq!(cluster.routed(node, "fallback").await, 0);
    }
    assert!(cluster.routed(owner, "from_peer").await >= 10);
    let opened = "vectorbucket_engine_opens_total";
    for node in (0..3).filter(|node| *node != owner) {
        assert_eq!(cluster.metric(node, opened).await, 0, "only the owner opens the index");
    }
}

#[tokio::test]
async fn a_forwarded_request_is_answered_as_a_local_one() {
    let (cluster, owner) = cluster(2).await;
    let other = 1 - owner;
    let wrong = query("idx", &[1.0]);
    let missing = on_index("vec", "listVectors", "none");
    let digest =
        put("idx", "k", &[1.0, 2.0]).with_header("Content-MD5", "1B2M2Y8AsgTpgAmY7PhCfg==");
    for node in [owner, other] {
        let answer = cluster.send(node, &wrong).await;
        answer.check_error(400, "VectorIndexParameterInvalid", "0900-00000605");
        let host = answer.json()["Error"]["HostId"].clone();
        assert_eq!(
            (host, answer.json()["Error"]["BucketName"].clone()),
            (wrong.host.clone().into(), "vec".into())
        );
        let answer = cluster.send(node, &missing).await;
        answer.check_error(404, "NoSuchVectorIndex", "0900-00000503");
        cluster.send(node, &digest).await.check_error(400, "InvalidDigest", "0900-00000306");
        let unsigned = get("idx", "k").with(|call| call.signed = false);
        cluster.send(node, &unsigned).await.check_error(403, "AccessDenied", "0003-00000001");
    }
    let line = "vectorbucket_requests_total{operation=\"QueryVectors\",status=\"400\",\
                code=\"VectorIndexParameterInvalid\"}";
    assert_eq!(cluster.metric(other, line).await, 1, "counted with the owner's code");
}

/// Every way in which a client names a bucket, signs and frames goes through a forwarding node.
#[tokio::test]
async fn all_forms_of_requests_are_forwarded() {
    let (cluster, owner) = cluster(2).await;
    let other = 1 - owner;
    type Change = fn(&mut Call);
    let forms: [(&str, Change); 5] = [
        ("absolute form", |c| c.absolute = true),
        ("path style", |c| {
            c.host = "127.0.0.1".into();
            c.path = "/vec/".into();
        }),
        ("additional headers", |c| c.additional = vec!["host", "content-length"]),
        ("host with a port", |c| c.host += ":9100"),
        ("no digest", |c| c.content_md5 = false),
    ];
    let mut forwarded = 0;
    for (form, change) in forms {
        let mut call = put("idx", form, &[1.0, 2.0]);
        if form == "additional headers" {
            let length = call.body.len().to_string();
            call = call.with_header("Content-Length", &length);
        }
        let answer = cluster.send(other, &call.with(change)).await;
        assert_eq!(answer.status, 200, "{form}: {answer:?}");
        forwarded += 1;
        assert_eq!(cluster.routed(other, "forwarded").await, forwarded, "{form}");
        assert_eq!(keys(&cluster.ok(owner, &get("idx", form)).await), [form]);
    }
    let signed_url = get("idx", "no digest").presigned(600);
    assert_eq!(keys(&cluster.ok(other, &signed_url).await), ["no digest"]);
    assert_eq!(cluster.routed(other, "forwarded").await, forwarded + 1);
    // Signed over a header that ends at this connection: served where it is.
    let call = get("idx", "no digest").with_header("Connection", "keep-alive");
    let answer = cluster.ok(other, &call.with(|c| c.additional = vec!["connection"])).await;
    assert_eq!(keys(&answer), ["no digest"]);
    assert_eq!(cluster.routed(other, "fallback").await, 1);
}

#[tokio::test]
async fn chunked_and_large_bodies_and_answers_are_forwarded() {
    let (cluster, owner) = cluster(2).await;
    let other = 1 - owner;
    cluster.ok(other, &put_index("vec", "wide", 1024)).await;
    let owner = cluster.owner("vec", "wide").await;
    let other = 1 - owner;
    let row = |n: usize| {
        let vector: Vec<f32> = (0..1024).map(|at| (n * 1024 + at) as f32 * 0.37).collect();
        json!({"key": format!("k{n}"), "data": {"float32": vector}})
    };
    let rows: Vec<Value> = (0..500).map(row).collect();
    let body = json!({"indexName": "wide", "vectors": rows}).to_string();
    assert!(body.len() > 4 << 20);
    let mut chunked = format!("{:x}\r\n", body.len()).into_bytes();
    chunked.extend_from_slice(body.as_bytes());
    chunked.extend_from_slice(b"\r\n0\r\n\r\n");
    let call = Call::post("vec", "putVectors", &json!({}))
        .with(|c| c.content_md5 = false)
        .with_header("Transfer-Encoding", "chunked")
        .with_body(chunked);
    cluster.ok(other, &call).await;
    let list = json!({"indexName": "wide", "maxResults": 500, "returnData": true});
    let list = Call::post("vec", "listVectors", &list);
    let (far, near) = (cluster.ok(other, &list).await, cluster.ok(owner, &list).await);
    assert!(far.body.len() > 2 << 20);
    assert_eq!(far.body, near.body);
    assert_eq!(cluster.routed(other, "forwarded").await, 2);
}

#[tokio::test]
async fn marks_of_nobody_are_refused() {
    let (cluster, _) = cluster(2).await;
    let forged = "1;1800000000000;000000000000000000000000;127.0.0.1:1;-;00";
    for mark in [forged, "", "1"] {
        let call = get("idx", "k").with_header("x-vectorbucket-hop", mark);
        let answer = cluster.send(0, &call).await;
        answer.check_error(403, "AccessDenied", "0900-00000104");
        assert_eq!(answer.header("x-vectorbucket-hop"), Some("refused"));
    }
    // What nodes ask each other is no path for clients, marked or signed.
    for path in ["/.vectorbucket/ready", "/.vectorbucket/scan"] {
        for method in ["GET", "POST"] {
            let call = Call::account(method, "").with(|c| c.path = path.into());
            cluster.send(0, &call).await.check_error(400, "InvalidArgument", "0900-00000206");
            let call = call.with_header("x-vectorbucket-hop", forged);
            cluster.send(0, &call).await.check_error(403, "AccessDenied", "0900-00000104");
        }
    }
    let single = common::TestServer::start().await;
    let call = Call::account("GET", "").with_header("x-vectorbucket-hop", forged);
    single.send(&call).await.check_error(403, "AccessDenied", "0900-00000104");
}

#[tokio::test]
async fn nodes_of_different_keys_serve_each_for_itself() {
    let cluster = Cluster::begin(2, Vec::new(), |node, config| {
        if node == 1 {
            config.nodes.cluster_key = Secret::new("another key of at least 32 characters");
        }
    })
    .await;
    for node in 0..2 {
        let refusing = |peers: &[(String, Option<String>)]| {
            peers.iter().all(|(_, why)| why.as_deref() == Some("refuses our marks"))
        };
        cluster.until(node, refusing).await;
    }
    cluster.ok(0, &Call::new("PUT", "vec", "")).await;
    cluster.ok(1, &put_index("vec", "idx", 2)).await;
    for node in 0..2 {
        let key = format!("k{node}");
        cluster.ok(node, &put("idx", &key, &[1.0, 2.0])).await;
        assert_eq!(keys(&cluster.ok(1 - node, &get("idx", &key)).await), [key]);
        assert_eq!(cluster.routed(node, "forwarded").await, 0);
    }
}

#[tokio::test]
async fn nodes_find_each_other_by_a_name() {
    let mut cluster = Cluster::start(1).await;
    let port = cluster.addr(0).port();
    let mut config = cluster.configs[0].clone();
    config.listen = std::net::SocketAddr::from(([127, 0, 0, 2], port));
    config.nodes.peers = vec![format!("dns:localhost:{port}")];
    let given = Given { listener: None, store: Some(cluster.store.clone()) };
    let handle = Server::start_with(&config, given).await.unwrap();
    cluster.configs.push(config);
    cluster.handles.push(Some(handle));
    let found = format!("127.0.0.1:{port}");
    cluster.until(1, |peers| peers.contains(&(found.clone(), None))).await;
    cluster.ok(1, &Call::new("PUT", "vec", "")).await;
    let index = index_of_node(&cluster, 1, &found, 2).await;
    cluster.ok(1, &put(&index, "k", &[1.0, 2.0])).await;
    assert_eq!(cluster.routed(1, "forwarded").await, 1);
    let line = "vectorbucket_requests_total{operation=\"PutVectors\",status=\"200\",code=\"-\"}";
    assert_eq!(cluster.metric(0, line).await, 1);
}

#[tokio::test]
async fn several_nodes_need_a_key() {
    let mut config = common::config();
    config.nodes.peers = vec!["127.0.0.1:1".into()];
    let failure = Server::start(&config).await.err().unwrap();
    assert!(matches!(failure, Failure::Configuration(_)));
    assert!(failure.to_string().contains("cluster_key"), "{failure}");
}

#[tokio::test]
async fn what_an_owner_held_is_served_by_the_others_once_it_is_gone() {
    let (mut cluster, owner) = cluster(3).await;
    let others: Vec<usize> = (0..3).filter(|node| *node != owner).collect();
    cluster.ok(others[0], &put("idx", "before", &[1.0, 0.0])).await;
    assert_eq!(cluster.routed(others[0], "forwarded").await, 1);
    cluster.stop(owner).await;
    for node in &others {
        let key = format!("after{node}");
        cluster.ok(*node, &put("idx", &key, &[2.0, 0.0])).await;
        for reader in &others {
            for key in ["before", &key] {
                assert_eq!(keys(&cluster.ok(*reader, &get("idx", key)).await), [key]);
            }
        }
    }
    cluster.settled().await;
    let next = cluster.owner("vec", "idx").await;
    assert!(others.contains(&next), "the next in rank owns it");
    cluster.start_again(owner).await;
    cluster.settled().await;
    assert_eq!(cluster.owner("vec", "idx").await, owner, "and gives it back");
    for reader in 0..3 {
        let nearest = cluster.ok(reader, &query("idx", &[1.0, 0.0])).await;
        assert_eq!(keys(&nearest).len(), 3);
    }
}

/// A peer that answers probes, takes requests whole and never answers them.
async fn swallowing_peer() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let name = listener.local_addr().unwrap().to_string();
    let swallowed = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&swallowed);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let count = Arc::clone(&count);
            tokio::spawn(async move {
                let mut buffer = vec![0; 64 << 10];
                while let Ok(n @ 1..) = stream.read(&mut buffer).await {
                    if !buffer[..n].starts_with(b"GET ") {
                        count.fetch_add(1, Ordering::SeqCst);
                        return;
                    }
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
                }
            });
        }
    });
    (name, swallowed)
}

/// Creates indexes until one is owned by the node of this name.
async fn index_of(cluster: &Cluster, owner: &str, dimension: u32) -> String {
    index_of_node(cluster, 0, owner, dimension).await
}

/// The same as one node sees it.
async fn index_of_node(cluster: &Cluster, node: usize, owner: &str, dimension: u32) -> String {
    for number in 0.. {
        let index = format!("idx{number}");
        cluster.ok(node, &put_index("vec", &index, dimension)).await;
        let target = format!("/nodes?bucket=vec&index={index}");
        if cluster.admin(node, "GET", &target).await.json()["owner"] == owner {
            return index;
        }
    }
    unreachable!("numbers do not end")
}

#[tokio::test]
async fn a_write_that_an_owner_may_have_taken_is_not_run_again_behind_the_clients_back() {
    let (stranger, swallowed) = swallowing_peer().await;
    let cluster = Cluster::begin(1, vec![stranger.clone()], |_, _| ()).await;
    cluster.until(0, |peers| peers.iter().all(|(_, why)| why.is_none())).await;
    cluster.ok(0, &Call::new("PUT", "vec", "")).await;
    let index = index_of(&cluster, &stranger, 2).await;
    let call = put(&index, "k", &[1.0, 2.0]);
    cluster.send(0, &call).await.check_error(503, "ServiceUnavailable", "0900-00000703");
    assert_eq!(swallowed.load(Ordering::SeqCst), 1);
    assert_eq!(cluster.routed(0, "unknown").await, 1);
    // The repetition finds the owner known to be down.
    cluster.ok(0, &call).await;
    assert_eq!(swallowed.load(Ordering::SeqCst), 1);
    cluster.until(0, |peers| peers.iter().all(|(_, why)| why.is_none())).await;
    // A read is served here at once.
    assert_eq!(keys(&cluster.ok(0, &get(&index, "k")).await), ["k"]);
    assert_eq!(swallowed.load(Ordering::SeqCst), 2);
    assert_eq!(cluster.routed(0, "fallback").await, 1);
}

#[tokio::test]
async fn an_owner_that_is_silent_costs_one_wait() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stranger = listener.local_addr().unwrap().to_string();
    let frozen = Arc::new(AtomicBool::new(false));
    let is_frozen = Arc::clone(&frozen);
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = [0; 4];
            let is_probe = stream.read_exact(&mut head).await.is_ok() && &head == b"GET ";
            if is_probe && !is_frozen.load(Ordering::SeqCst) {
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                let _ = stream.write_all(answer).await;
            } else {
                is_frozen.store(true, Ordering::SeqCst);
                held.push(stream);
            }
        }
    });
    let cluster = Cluster::begin(1, vec![stranger.clone()], |_, config| {
        config.nodes.peer_timeout = Duration::from_millis(300);
    })
    .await;
    cluster.ok(0, &Call::new("PUT", "vec", "")).await;
    cluster.until(0, |peers| peers.iter().all(|(_, why)| why.is_none())).await;
    let index = index_of(&cluster, &stranger, 2).await;
    for round in 0..5 {
        let list = cluster.ok(0, &on_index("vec", "listVectors", &index)).await;
        assert_eq!(keys(&list).len(), 0);
        assert_eq!(cluster.routed(0, "fallback").await, 1, "{round}: asked once");
    }
}

#[tokio::test]
async fn catalogs_are_one_whatever_node_is_asked() {
    let cluster = Cluster::start(3).await;
    let names = |answer: &Answer| -> Vec<String> {
        let list = answer.json()["indexes"].as_array().unwrap().clone();
        list.iter().map(|index| index["indexName"].as_str().unwrap().to_owned()).collect()
    };
    let buckets = |answer: &Answer| answer.text().matches(":vec\"").count();
    for round in 0..4 {
        let (a, b, c) = (round % 3, (round + 1) % 3, (round + 2) % 3);
        cluster.ok(a, &Call::new("PUT", "vec", "")).await;
        for node in [b, c, a] {
            let listed = cluster.ok(node, &Call::account("GET", "")).await;
            assert_eq!(buckets(&listed), 1, "{listed:?}");
            cluster.ok(node, &Call::new("GET", "vec", "bucketInfo")).await;
        }
        cluster.ok(b, &put_index("vec", "idx", 2)).await;
        for node in [c, a, b] {
            assert_eq!(
                names(&cluster.ok(node, &Call::new("POST", "vec", "listVectorIndexes")).await),
                ["idx"]
            );
            cluster.ok(node, &on_index("vec", "getVectorIndex", "idx")).await;
            let key = format!("k{node}");
            cluster.ok(node, &put("idx", &key, &[1.0, 2.0])).await;
            assert_eq!(keys(&cluster.ok((node + 1) % 3, &get("idx", &key)).await), [key]);
        }
        // Deleted and made anew by one, used by the others, whose records are older.
        cluster.ok(c, &on_index("vec", "deleteVectorIndex", "idx")).await;
        cluster.ok(c, &put_index("vec", "idx", 3)).await;
        for node in [a, b, c] {
            cluster.ok(node, &put("idx", "new", &[1.0, 2.0, 3.0])).await;
            assert_eq!(keys(&cluster.ok(node, &query("idx", &[0.0, 0.0, 0.0])).await), ["new"]);
        }
        cluster.ok(a, &on_index("vec", "deleteVectorIndex", "idx")).await;
        for node in [b, c, a] {
            let gone = cluster.send(node, &on_index("vec", "getVectorIndex", "idx")).await;
            gone.check_error(404, "NoSuchVectorIndex", "0900-00000503");
            let gone = cluster.send(node, &query("idx", &[0.0; 3])).await;
            gone.check_error(404, "NoSuchVectorIndex", "0900-00000503");
            assert!(
                names(&cluster.ok(node, &Call::new("POST", "vec", "listVectorIndexes")).await)
                    .is_empty()
            );
        }
        cluster.ok(b, &Call::new("DELETE", "vec", "")).await;
        for node in [c, a, b] {
            let gone = cluster.send(node, &Call::new("GET", "vec", "bucketInfo")).await;
            gone.check_error(404, "NoSuchBucket", "0015-00000101");
            assert_eq!(buckets(&cluster.ok(node, &Call::account("GET", "")).await), 0);
        }
    }
    let other = Call::new("GET", "vec", "bucketInfo").with(|c| c.account = OTHER_ACCOUNT.into());
    assert_eq!(cluster.send(0, &other).await.status, 403);
}

/// A client behind a balancer that knows nothing: three attempts as the SDKs make them, each at
/// the next node.
async fn attempts(
    addrs: &[std::net::SocketAddr],
    first: usize,
    call: &Call,
) -> Result<Answer, String> {
    let mut last = String::new();
    for attempt in 0..3 {
        let addr = addrs[(first + attempt) % addrs.len()];
        match once(addr, call).await {
            Some(answer) if answer.status < 500 => return Ok(answer),
            Some(answer) => last = format!("{answer:?}"),
            None => last = format!("{addr}: no answer"),
        }
    }
    Err(last)
}

async fn once(addr: std::net::SocketAddr, call: &Call) -> Option<Answer> {
    let stream = tokio::net::TcpStream::connect(addr).await.ok()?;
    let mut connection = Connection::over(stream);
    let mut bytes = call.head();
    bytes.extend_from_slice(&call.body);
    connection.write_what_is_read(&bytes).await;
    connection.try_answer(&call.method).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_under_load_fails_no_request() {
    let mut cluster = Cluster::start(3).await;
    cluster.ok(0, &Call::new("PUT", "vec", "")).await;
    for index in 0..4 {
        cluster.ok(0, &put_index("vec", &format!("idx{index}"), 2)).await;
    }
    let addrs: Arc<[_]> = (0..3).map(|node| cluster.addr(node)).collect();
    let stop = Arc::new(AtomicBool::new(false));
    let done = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..6)
        .map(|client| {
            let (addrs, stop, done) = (Arc::clone(&addrs), Arc::clone(&stop), Arc::clone(&done));
            tokio::spawn(async move {
                let index = format!("idx{}", client % 4);
                let mut count = 0;
                while !stop.load(Ordering::SeqCst) {
                    let key = format!("c{client}-{count}");
                    let vector = [client as f32, count as f32];
                    let first = client + count;
                    attempts(&addrs, first, &put(&index, &key, &vector)).await.expect("put");
                    let found = attempts(&addrs, first + 1, &get(&index, &key)).await.expect("get");
                    assert_eq!(keys(&found), [key], "acknowledged is visible on the next node");
                    attempts(&addrs, first + 2, &query(&index, &vector)).await.expect("query");
                    count += 1;
                    done.fetch_add(3, Ordering::SeqCst);
                }
                count
            })
        })
        .collect();
    let progress = || {
        let done = Arc::clone(&done);
        async move {
            let target = done.load(Ordering::SeqCst) + 150;
            while done.load(Ordering::SeqCst) < target {
                tokio::task::yield_now().await;
            }
        }
    };
    progress().await;
    for node in 0..3 {
        cluster.stop(node).await;
        progress().await;
        cluster.start_again(node).await;
        cluster.settled().await;
        progress().await;
    }
    stop.store(true, Ordering::SeqCst);
    for (client, task) in clients.into_iter().enumerate() {
        let count = task.await.expect("a client that never failed");
        assert!(count > 0);
        for number in 0..count {
            let (key, index) = (format!("c{client}-{number}"), format!("idx{}", client % 4));
            let found = cluster.ok(number % 3, &get(&index, &key)).await;
            let row = found.json()["vectors"][0].clone();
            assert_eq!(row["data"]["float32"], json!([client as f32, number as f32]), "{key}");
        }
    }
}

#[tokio::test]
async fn the_admin_listener_warms_indexes_and_knows_the_nodes() {
    let (cluster, owner) = cluster(2).await;
    cluster.ok(0, &put("idx", "k", &[1.0, 2.0])).await;
    let other = 1 - owner;
    let warmed = cluster.admin(other, "POST", "/warmup?bucket=vec&index=idx").await;
    assert_eq!((warmed.status, warmed.text()), (200, "warm\n"));
    assert_eq!(cluster.metric(other, "vectorbucket_engine_opens_total").await, 1);
    let missing = cluster.admin(owner, "POST", "/warmup?bucket=vec&index=none").await;
    assert_eq!(missing.status, 404);
    let told = cluster.admin(owner, "GET", "/nodes").await.json();
    assert_eq!(told["state"], "ready");
    assert_eq!(told["node"], cluster.addr(owner).to_string());
    let peer = json!([{"node": cluster.addr(other).to_string(), "state": "up"}]);
    assert_eq!(told["peers"], peer);
    assert_eq!(cluster.metric(owner, "vectorbucket_peers{state=\"up\"}").await, 1);
}

/// Rows of small whole numbers, so that distances are exact and most of them are shared by many.
fn small_row(number: usize, version: usize) -> Value {
    let vector: Vec<f32> =
        (0..4).map(|at| ((number * 7 + version * 3) >> (2 * at) & 3) as f32).collect();
    json!({"key": format!("k{number:04}"), "data": {"float32": vector},
           "metadata": {"group": number % 5, "version": version}})
}

/// Settings with which every scan of segments is shared, and segments are soon there.
fn spreading(config: &mut Config) {
    config.nodes.spread_bytes_min = ByteSize(0);
    config.nodes.peer_timeout = Duration::from_secs(2);
    config.flush.memtable_bytes_max = Some(ByteSize(24 << 10));
}

/// Puts, overwrites and deletes through one node until there are several segments, and gives what
/// is live then.
async fn fill(cluster: &Cluster, owner: usize, index: &str) -> Vec<Value> {
    const KEYS: usize = 900;
    let write = async |version: usize, of: fn(usize) -> bool| {
        let numbers: Vec<usize> = (0..KEYS).filter(|number| of(*number)).collect();
        for batch in numbers.chunks(60) {
            let rows: Vec<Value> = batch.iter().map(|number| small_row(*number, version)).collect();
            let body = json!({"indexName": index, "vectors": rows});
            cluster.ok(owner, &Call::post("vec", "putVectors", &body)).await;
        }
    };
    write(0, |_| true).await;
    write(1, |number| number % 3 == 0).await;
    let dead: Vec<String> = (0..KEYS).filter(|n| n % 7 == 0).map(|n| format!("k{n:04}")).collect();
    let body = json!({"indexName": index, "keys": dead});
    cluster.ok(owner, &Call::post("vec", "deleteVectors", &body)).await;
    while cluster.metric(owner, "vectorbucket_engine_segments").await < 3 {
        write(1, |number| number % 3 == 0 && number % 7 != 0).await;
    }
    let live = (0..KEYS).filter(|number| number % 7 != 0);
    live.map(|number| small_row(number, usize::from(number % 3 == 0))).collect()
}

/// Compares answers with a scan of all rows by the test itself.
async fn check_queries(cluster: &Cluster, node: usize, index: &str, rows: &[Value]) {
    let floats = |value: &Value| -> Vec<f64> {
        value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
    };
    for (round, top_k) in [1, 10, 100, 500].into_iter().enumerate() {
        for group in [None, Some(round % 5)] {
            let target: Vec<f64> = (0..4).map(|at| ((round + at) % 4) as f64).collect();
            let mut body = json!({"indexName": index, "topK": top_k, "returnMetadata": true,
                                  "returnDistance": true, "queryVector": {"float32": target}});
            if let Some(group) = group {
                body["filter"] =
                    json!({"$and": [{"group": {"$eq": group}}, {"version": {"$gte": 0}}]});
            }
            let answer = cluster.ok(node, &Call::post("vec", "queryVectors", &body)).await.json();
            let squared = |row: &Value| -> f64 {
                let row = floats(&row["data"]["float32"]);
                row.iter().zip(&target).map(|(a, b)| (a - b) * (a - b)).sum()
            };
            let matching =
                rows.iter().filter(|row| group.is_none_or(|g| row["metadata"]["group"] == g));
            let mut expected: Vec<_> = matching
                .map(|row| (squared(row), row["key"].as_str().unwrap(), &row["metadata"]))
                .collect();
            expected.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(b.1)));
            expected.truncate(top_k);
            let found = answer["vectors"].as_array().unwrap();
            assert_eq!(found.len(), expected.len());
            for (found, (squared, key, metadata)) in found.iter().zip(expected) {
                assert_eq!((&found["key"], &found["metadata"]), (&json!(key), metadata));
                let distance = found["distance"].as_f64().unwrap();
                assert!((distance - squared.sqrt()).abs() < 1e-6, "{key}: {distance}");
            }
        }
    }
}

/// How often a test has its index filled until there is what it is about.
const FILLS_MAX: usize = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scans_of_large_indexes_are_shared_out_and_find_the_same() {
    let cluster = Cluster::with(3, |_, config| spreading(config)).await;
    cluster.ok(0, &Call::new("PUT", "vec", "")).await;
    cluster.ok(0, &put_index("vec", "idx", 4)).await;
    let owner = cluster.owner("vec", "idx").await;
    let others = || (0..3).filter(|node| *node != owner);
    let served = async |node| cluster.metric(node, "vectorbucket_engine_shares_served_total").await;
    // Segments may be merged into two before the queries come; the next ones are not.
    for _ in 0..FILLS_MAX {
        let rows = fill(&cluster, owner, "idx").await;
        for node in 0..3 {
            check_queries(&cluster, node, "idx", &rows).await;
        }
        let counts = futures_util::future::join_all(others().map(&served)).await;
        if counts.iter().all(|count| *count > 0) {
            break;
        }
    }
    let shares = cluster.metric(owner, "vectorbucket_engine_shares_total").await;
    assert!(shares > 0, "the owner asks the others");
    let mut all = 0;
    for node in others() {
        let here = served(node).await;
        assert!(here > 0, "node {node} takes shares");
        assert_eq!(cluster.metric(node, "vectorbucket_engine_opens_total").await, 0);
        all += here;
    }
    assert_eq!(all, shares);
    assert_eq!(cluster.metric(owner, "vectorbucket_engine_shares_failed_total").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_share_that_a_node_does_not_scan_is_scanned_by_the_asking_one() {
    let (stranger, swallowed) = swallowing_peer().await;
    let cluster = Cluster::begin(1, vec![stranger], |_, config| spreading(config)).await;
    cluster.ok(0, &Call::new("PUT", "vec", "")).await;
    cluster.until(0, |peers| peers.iter().all(|(_, why)| why.is_none())).await;
    let own = cluster.addr(0).to_string();
    let index = index_of(&cluster, &own, 4).await;
    let rows = fill(&cluster, 0, &index).await;
    let before = swallowed.load(Ordering::SeqCst);
    check_queries(&cluster, 0, &index, &rows).await;
    assert!(swallowed.load(Ordering::SeqCst) > before, "it was asked");
}
