//! What connections do: stay open, carry bodies in every form, refuse slow and large ones, drain.

mod common;

use std::time::{Duration, Instant};

use common::cluster::Cluster;
use common::{Call, Connection, TestServer};
use serde_json::json;
use vb_server::{ByteSize, Failure};

/// Waits for a line of the metrics.
async fn until(server: &TestServer, line: &str) {
    let waiting = async { while !server.admin("/metrics").await.text().contains(line) {} };
    let done = tokio::time::timeout(Duration::from_secs(30), waiting).await;
    assert!(done.is_ok(), "{line} missing in:\n{}", server.admin("/metrics").await.text());
}

fn get_index() -> Call {
    Call::post("vec", "getVectorIndex", &json!({"indexName": "idx"}))
}

#[tokio::test]
async fn a_connection_survives_errors() {
    let server = TestServer::start().await;
    server.index("vec", "idx", 2, "euclidean").await;
    let mut connection = server.connect().await;
    for call in [
        get_index().with(|c| c.secret = "wrong-secret".into()),
        Call::new("POST", "missing", "putVectors").with_body("x".repeat(3 << 20)),
        Call::new("POST", "vec", "queryVectors").with_body("{ not json"),
        Call::new("POST", "vec", "getVectorIndex").with_body("y".repeat(9 << 20)),
        Call::new("PUT", "vec", "acl"),
    ] {
        let answer = connection.call(&call).await;
        assert!((400..500).contains(&answer.status), "{answer:?}");
        assert_eq!(answer.header("connection"), Some("keep-alive"));
        assert_eq!(connection.call(&get_index()).await.status, 200);
    }
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let server = TestServer::start().await;
    server.index("vec", "idx", 2, "euclidean").await;
    let mut connection = server.connect().await;
    let calls = [
        get_index(),
        Call::new("GET", "missing", "bucketInfo"),
        Call::new("POST", "vec", "getVectorIndex").with_body("{"),
        get_index(),
    ];
    let mut bytes = Vec::new();
    for call in &calls {
        bytes.extend(call.head());
        bytes.extend(&call.body);
    }
    connection.write(&bytes).await;
    let mut statuses = Vec::new();
    for call in &calls {
        statuses.push(connection.answer(&call.method).await.status);
    }
    assert_eq!(statuses, [200, 404, 400, 200]);
}

#[tokio::test]
async fn a_client_that_wants_to_leave_is_let_go() {
    let server = TestServer::start().await;
    let mut connection = server.connect().await;
    let call = Call::account("GET", "").with_header("Connection", "Close");
    let answer = connection.call(&call).await;
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    assert!(connection.is_closed().await);
}

#[tokio::test]
async fn chunked_bodies_are_read() {
    let server = TestServer::start().await;
    server.index("vec", "idx", 2, "euclidean").await;
    let call = get_index().with_header("Transfer-Encoding", "chunked");
    let mut connection = server.connect().await;
    connection.write(&call.head()).await;
    for piece in call.body.chunks(5) {
        connection.write(format!("{:x}\r\n", piece.len()).as_bytes()).await;
        connection.write(piece).await;
        connection.write(b"\r\n").await;
    }
    connection.write(b"0\r\ntrailer: x\r\n\r\n").await;
    assert_eq!(connection.answer("POST").await.status, 200);
    assert_eq!(connection.call(&get_index()).await.status, 200);
}

#[tokio::test]
async fn a_chunked_empty_body_is_fine_where_none_is_meant() {
    let server = TestServer::start().await;
    server.bucket("vec").await;
    let mut connection = server.connect().await;
    for call in [Call::new("GET", "vec", "bucketInfo"), Call::new("DELETE", "vec", "policy")] {
        connection.write(&call.with_header("Transfer-Encoding", "chunked").head()).await;
        connection.write(b"0\r\n\r\n").await;
        assert!(connection.answer("GET").await.status < 300);
    }
}

#[tokio::test]
async fn a_broken_chunk_is_an_incomplete_body() {
    let server = TestServer::start().await;
    server.index("vec", "idx", 2, "euclidean").await;
    let call = get_index().with_header("Transfer-Encoding", "chunked");
    let mut connection = server.connect().await;
    connection.write(&call.head()).await;
    connection.write(b"zz\r\n").await;
    let answer = connection.answer("POST").await;
    answer.check_error(400, "IncompleteBody", "0900-00000303");
    assert_eq!(answer.header("connection"), Some("close"));
}

#[tokio::test]
async fn a_post_without_any_length_is_refused() {
    let server = TestServer::start().await;
    server.index("vec", "idx", 2, "euclidean").await;
    let call = get_index();
    let head = String::from_utf8(call.head()).unwrap();
    let head: Vec<&str> = head.split("\r\n").filter(|l| !l.starts_with("Content-Length")).collect();
    let mut connection = server.connect().await;
    connection.write(head.join("\r\n").as_bytes()).await;
    connection.answer("POST").await.check_error(411, "MissingContentLength", "0900-00000301");
}

#[tokio::test]
async fn bodies_beyond_the_limit_of_their_operation_are_refused() {
    let server = TestServer::with(|config| {
        config.limits.put_vectors_bytes_max = ByteSize::mib(1);
        config.limits.body_bytes_max = ByteSize(64 << 10);
    })
    .await;
    server.index("vec", "idx", 2, "euclidean").await;
    for (operation, bytes) in [("putVectors", (1 << 20) + 1), ("getVectors", (64 << 10) + 1)] {
        let call = Call::new("POST", "vec", operation).with_body(vec![b' '; bytes]);
        server.send(&call).await.check_error(400, "EntityTooLarge", "0900-00000302");
        let call = Call::new("POST", "vec", operation).with_body(vec![b' '; bytes - 1]);
        server.send(&call).await.check_error(400, "MalformedJson", "0900-00000310");
    }
    let call = get_index().with_header("Transfer-Encoding", "chunked");
    let mut connection = server.connect().await;
    connection.write(&call.head()).await;
    for _ in 0..3 {
        let piece = [format!("{:x}\r\n", 32 << 10).as_bytes(), &[b' '; 32 << 10], b"\r\n"].concat();
        connection.write(&piece).await;
    }
    connection.write(b"0\r\n\r\n").await;
    let answer = connection.answer("POST").await;
    answer.check_error(400, "EntityTooLarge", "0900-00000302");
    assert_eq!(connection.call(&get_index()).await.status, 200);
}

#[tokio::test]
async fn a_length_beyond_reason_is_refused_at_once() {
    let server = TestServer::start().await;
    server.index("vec", "idx", 2, "euclidean").await;
    let huge = (1_u64 << 33).to_string();
    let call = Call::new("POST", "vec", "putVectors").with_header("Content-Length", &huge);
    let mut connection = server.connect().await;
    let started = Instant::now();
    connection.write(&call.head()).await;
    let answer = connection.answer("POST").await;
    answer.check_error(400, "EntityTooLarge", "0900-00000302");
    assert_eq!(answer.header("connection"), Some("close"));
    assert!(started.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn a_client_that_asks_first_is_answered_before_it_sends() {
    let server = TestServer::start().await;
    server.index("vec", "idx", 2, "euclidean").await;
    let mut connection = server.connect().await;
    let call = get_index().with_header("Expect", "100-continue");
    connection.write(&call.head()).await;
    assert_eq!(connection.answer("POST").await.status, 100);
    connection.write(&call.body).await;
    assert_eq!(connection.answer("POST").await.status, 200);
    let refused = call.with(|c| c.secret = "wrong-secret".into());
    connection.write(&refused.head()).await;
    let answer = connection.answer("POST").await;
    assert_eq!((answer.status, answer.header("connection")), (403, Some("close")));
    assert!(connection.is_closed().await);
}

#[tokio::test]
async fn a_slow_body_ends_in_a_timeout() {
    let server = TestServer::with(|config| {
        config.limits.body_timeout = Duration::from_millis(200);
    })
    .await;
    server.index("vec", "idx", 2, "euclidean").await;
    let call = get_index();
    let mut connection = server.connect().await;
    connection.write(&call.head()).await;
    connection.write(&call.body[..5]).await;
    let answer = connection.answer("POST").await;
    answer.check_error(400, "RequestTimeout", "0900-00000304");
    assert_eq!(answer.header("connection"), Some("close"));
}

#[tokio::test]
async fn a_body_that_drips_is_cut_off_by_its_rate() {
    let server = TestServer::with(|config| {
        config.limits.body_timeout = Duration::from_millis(300);
        config.limits.body_rate_min = ByteSize(1 << 20);
    })
    .await;
    server.index("vec", "idx", 2, "euclidean").await;
    let call = Call::new("POST", "vec", "putVectors").with_body(vec![b' '; 1 << 20]);
    let mut connection = server.connect().await;
    connection.write(&call.head()).await;
    let started = Instant::now();
    let mut ticks = tokio::time::interval(Duration::from_millis(50));
    let answer = loop {
        tokio::select! {
            _ = ticks.tick() => connection.write(b" ").await,
            answer = connection.try_answer("POST") => break answer.expect("an answer"),
        }
    };
    answer.check_error(400, "RequestTimeout", "0900-00000304");
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_slow_head_is_closed() {
    let server =
        TestServer::with(|config| config.limits.header_timeout = Duration::from_millis(200)).await;
    let mut connection = server.connect().await;
    connection.write(b"GET / HTTP/1.1\r\nHost: ").await;
    assert!(connection.is_closed().await);
    until(&server, "connections_timed_out_total{waited_for=\"head\"} 1").await;
    let mut silent = server.connect().await;
    assert!(silent.is_closed().await, "the first head has its time from the connection's begin");
    until(&server, "connections_timed_out_total{waited_for=\"head\"} 2").await;
}

#[tokio::test]
async fn a_head_that_drips_is_closed() {
    let server =
        TestServer::with(|config| config.limits.header_timeout = Duration::from_millis(300)).await;
    let mut connection = server.connect().await;
    assert_eq!(connection.call(&Call::account("GET", "")).await.status, 200);
    let started = Instant::now();
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    loop {
        tokio::select! {
            _ = ticks.tick() => connection.write_what_is_read(b"x").await,
            closed = connection.is_closed() => break assert!(closed),
        }
    }
    assert!(started.elapsed() < Duration::from_secs(5));
    until(&server, "connections_timed_out_total{waited_for=\"head\"} 1").await;
}

#[tokio::test]
async fn a_connection_without_requests_is_closed() {
    let server = TestServer::with(|config| {
        config.limits.header_timeout = Duration::from_secs(600);
        config.limits.idle_timeout = Duration::from_millis(200);
    })
    .await;
    let mut connection = server.connect().await;
    for _ in 0..3 {
        assert_eq!(connection.call(&Call::account("GET", "")).await.status, 200);
    }
    assert!(connection.is_closed().await);
    until(&server, "connections_timed_out_total{waited_for=\"request\"} 1").await;
}

#[tokio::test]
async fn a_request_that_takes_longer_than_idle_connections_may_is_answered() {
    let server = TestServer::with(|config| {
        config.limits.header_timeout = Duration::from_millis(100);
        config.limits.idle_timeout = Duration::from_millis(100);
    })
    .await;
    server.index("vec", "idx", 2, "euclidean").await;
    let call = get_index();
    let mut connection = server.connect().await;
    connection.write(&call.head()).await;
    let (last, most) = call.body.split_last().expect("a body");
    connection.write(most).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    connection.write(&[*last]).await;
    assert_eq!(connection.answer("POST").await.status, 200);
}

#[tokio::test]
async fn a_client_that_does_not_read_its_answers_is_closed() {
    let server = TestServer::with(|config| {
        config.limits.write_timeout = Duration::from_millis(400);
        config.limits.idle_timeout = Duration::from_millis(100);
    })
    .await;
    server.index("vec", "idx", 1024, "euclidean").await;
    let vectors: Vec<_> = (0..100)
        .map(|key| json!({"key": key.to_string(), "data": {"float32": vec![0.123_456_7; 1024]}}))
        .collect();
    let put = json!({"indexName": "idx", "vectors": vectors});
    server.ok(&Call::post("vec", "putVectors", &put)).await;
    let list = json!({"indexName": "idx", "returnData": true});
    let list = Call::post("vec", "listVectors", &list);
    let mut connection = server.connect().await;
    let bytes = [list.head(), list.body.clone()].concat().repeat(40);
    connection.write_what_is_read(&bytes).await;
    until(&server, "connections_timed_out_total{waited_for=\"write\"} 1").await;
    assert_eq!(server.send(&get_index()).await.status, 200);
}

/// A connection from this address of the loopback network.
async fn connect_from(server: &TestServer, from: [u8; 4]) -> Connection {
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.bind((from, 0).into()).expect("a loopback address");
    Connection::over(socket.connect(server.addr()).await.expect("the server listens"))
}

#[tokio::test]
async fn one_address_does_not_take_all_connections() {
    let server = TestServer::with(|config| config.limits.connections_per_address_max = 2).await;
    let call = Call::account("GET", "");
    let (mut one, mut two) = (server.connect().await, server.connect().await);
    for connection in [&mut one, &mut two] {
        assert_eq!(connection.call(&call).await.status, 200);
    }
    assert!(server.connect().await.is_closed().await, "the third is closed at once");
    until(&server, "connections_over_address_cap_total 1").await;
    assert_eq!(connect_from(&server, [127, 0, 0, 2]).await.call(&call).await.status, 200);
    drop(one);
    until(&server, "connections_open 1").await;
    assert_eq!(server.send(&call).await.status, 200);
}

#[tokio::test]
async fn connections_of_trusted_proxies_are_not_counted_by_address() {
    let text = "trusted_proxies = '127.0.0.1'";
    let sources = vb_server::Sources { file: Some(text), ..vb_server::Sources::default() };
    let proxies = vb_server::load(&sources).expect("a configuration").config.trusted_proxies;
    let server = TestServer::with(|config| {
        config.limits.connections_per_address_max = 1;
        config.trusted_proxies = proxies;
    })
    .await;
    let mut open = Vec::new();
    for _ in 0..3 {
        let mut connection = server.connect().await;
        assert_eq!(connection.call(&Call::account("GET", "")).await.status, 200);
        open.push(connection);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_of_nodes_are_not_counted_by_address() {
    let cluster = Cluster::with(3, |_, config| config.limits.connections_per_address_max = 1).await;
    // Both peers keep a connection to each node, from the address that the client has.
    let answer = cluster.send(0, &Call::account("GET", "")).await;
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn connections_beyond_the_cap_wait_for_a_place() {
    let server = TestServer::with(|config| config.limits.connections_max = 1).await;
    let mut first = server.connect().await;
    assert_eq!(first.call(&Call::account("GET", "")).await.status, 200);
    let mut second = server.connect().await;
    let call = Call::account("GET", "");
    second.write(&call.head()).await;
    let waiting = tokio::time::timeout(Duration::from_millis(200), second.try_answer("GET")).await;
    assert!(waiting.is_err(), "no place yet");
    drop(first);
    assert_eq!(second.answer("GET").await.status, 200);
}

#[tokio::test]
async fn writes_beyond_the_byte_budget_are_told_to_come_back() {
    let server = TestServer::with(|config| {
        config.limits.put_vectors_bytes_max = ByteSize(64 << 10);
        config.admission.write_bytes_max = Some(ByteSize(64 << 10));
        config.admission.wait_max = Duration::from_millis(100);
    })
    .await;
    server.index("vec", "idx", 2, "euclidean").await;
    let call = Call::new("POST", "vec", "putVectors").with_body(vec![b' '; 64 << 10]);
    let mut holding = server.connect().await;
    holding.write(&call.head()).await;
    holding.write(&call.body[..100]).await;
    let in_flight = async {
        while !server
            .admin("/metrics")
            .await
            .text()
            .contains("admission_bytes{budget=\"write\"} 65536")
        {}
    };
    tokio::time::timeout(Duration::from_secs(10), in_flight).await.expect("the first is admitted");
    let answer = server.send(&call).await;
    answer.check_error(503, "ServiceUnavailable", "0900-00000702");
    assert_eq!(server.send(&get_index()).await.status, 200, "queries have a budget of their own");
    holding.write(&call.body[100..]).await;
    holding.answer("POST").await.check_error(400, "MalformedJson", "0900-00000310");
}

#[tokio::test]
async fn a_drain_finishes_what_has_begun_and_accepts_nothing_new() {
    let server = TestServer::start().await;
    server.index("vec", "idx", 2, "euclidean").await;
    let addr = server.addr();
    let admin = server.handle.admin_addr();
    let call = get_index();
    let mut begun = server.connect().await;
    begun.write(&call.head()).await;
    let mut idle = server.connect().await;
    assert_eq!(idle.call(&get_index()).await.status, 200);
    while !server.admin("/metrics").await.text().contains("requests_in_flight 1") {}
    let stopping = tokio::spawn(server.handle.shutdown());
    assert!(idle.is_closed().await, "idle connections are closed");
    let mut probe = Connection::open(admin).await;
    probe.write(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(probe.answer("GET").await.status, 503);
    assert!(tokio::net::TcpStream::connect(addr).await.is_err(), "nothing new is accepted");
    begun.write(&call.body).await;
    let answer = begun.answer("POST").await;
    assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    assert!(begun.is_closed().await);
    stopping.await.unwrap().expect("a clean stop");
}

#[tokio::test]
async fn a_drain_that_takes_too_long_cuts_and_says_so() {
    let server = TestServer::with(|config| config.drain_timeout = Duration::from_millis(100)).await;
    server.index("vec", "idx", 2, "euclidean").await;
    let call = get_index();
    let mut begun = server.connect().await;
    begun.write(&call.head()).await;
    while !server.admin("/metrics").await.text().contains("requests_in_flight 1") {}
    let failure = server.handle.shutdown().await.unwrap_err();
    assert!(matches!(failure, Failure::DrainTimeout { connections: 1 }), "{failure}");
    assert!(begun.is_closed().await);
}

#[tokio::test]
async fn health_readiness_and_metrics_are_served() {
    let server = TestServer::start().await;
    server.index("vec", "idx", 2, "euclidean").await;
    assert_eq!(server.admin("/healthz").await.text(), "ok\n");
    assert_eq!(server.admin("/readyz").await.text(), "ready\n");
    let metrics = server.admin("/metrics").await;
    for line in [
        "vectorbucket_requests_total{operation=\"PutVectorBucket\",status=\"200\",code=\"-\"} 1",
        "vectorbucket_requests_total{operation=\"PutVectorIndex\",status=\"200\",code=\"-\"} 1",
        "vectorbucket_request_duration_seconds_count{operation=\"PutVectorIndex\"} 1",
        "vectorbucket_store_requests_total{verb=\"create\"}",
        "vectorbucket_engine_buckets_open",
        "vectorbucket_connections_accepted_total 2",
        "# EOF",
    ] {
        assert!(metrics.text().contains(line), "{line} missing in:\n{}", metrics.text());
    }
    assert_eq!(server.admin("/elsewhere").await.status, 404);
}
