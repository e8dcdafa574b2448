//! Request rates, failed authentications and quotas of a running server.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use common::people::{Keys, People, account, allow, with_people};
use common::{ACCOUNT, Answer, Call, Connection, TestServer};
use serde_json::json;
use tokio::net::TcpSocket;
use vb_identity::{Action, Quotas};
use vb_server::{ByteSize, Config, Rate};

/// So many requests, and then none for longer than a test lasts.
fn only(burst: u32) -> Option<Rate> {
    Some(Rate { count: 1, per: Duration::from_secs(3600), burst })
}

fn list() -> Call {
    Call::account("GET", "")
}

fn check_throttled(answer: &Answer, ec: &str) {
    answer.check_error(429, "QpsLimitExceeded", ec);
    assert_eq!(answer.json()["Error"]["Message"], "Please reduce your request rate.");
    assert_eq!(answer.header("retry-after"), None, "the wire documents none");
}

async fn check_counted(server: &TestServer, limit: &str, refusals: u32) {
    let metrics = server.admin("/metrics").await;
    let line = format!("vectorbucket_limit_refusals_total{{limit=\"{limit}\"}} {refusals}\n");
    assert!(metrics.text().contains(&line), "{line}{}", metrics.text());
}

#[tokio::test]
async fn a_key_that_asks_too_often_is_throttled_alone() {
    let dir = tempfile::tempdir().unwrap();
    let server = TestServer::with(|config| {
        with_people(config, dir.path());
        config.rates.key = only(5);
    })
    .await;
    for _ in 0..5 {
        server.ok(&list()).await;
    }
    for _ in 0..3 {
        check_throttled(&server.send(&list()).await, "0900-00000706");
    }
    // A wrong signature takes nothing from the key's owner, and says nothing of the key's rate.
    let forged = Keys { secret: "wrong".into(), ..Keys::other_root() };
    for _ in 0..10 {
        assert_eq!(server.send(&forged.sign(&list())).await.status, 403);
    }
    for _ in 0..5 {
        server.ok(&Keys::other_root().sign(&list())).await;
    }
    check_counted(&server, "key", 3).await;
}

#[tokio::test]
async fn the_keys_of_an_account_share_its_rate() {
    let dir = tempfile::tempdir().unwrap();
    let server = TestServer::with(|config| {
        with_people(config, dir.path());
        config.rates.account = only(6);
    })
    .await;
    let people = People(server.handle.identities());
    let alice = people.user(ACCOUNT, "alice").await;
    people.grant_user("alice", &allow(&["oss:*"], &["*"])).await;
    for _ in 0..3 {
        server.ok(&list()).await;
        server.ok(&alice.sign(&list())).await;
    }
    check_throttled(&server.send(&list()).await, "0900-00000707");
    check_throttled(&server.send(&alice.sign(&list())).await, "0900-00000707");
    server.ok(&Keys::other_root().sign(&list())).await;
    check_counted(&server, "account", 2).await;
}

/// Sends from another address of this machine.
async fn send_from(address: [u8; 4], server: &TestServer, call: &Call) -> Answer {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from((address, 0))).unwrap();
    Connection::over(socket.connect(server.addr()).await.unwrap()).call(call).await
}

#[tokio::test]
async fn a_source_that_fails_too_often_is_refused_unheard() {
    let server = TestServer::with(|config| config.rates.source_failures = only(4)).await;
    let wrong = list().with(|c| c.secret = "wrong".into());
    let unknown = list().with(|c| c.access_key_id = "LTAInobody".into());
    for call in [&wrong, &unknown, &wrong, &unknown] {
        server.ok(&list()).await;
        assert_eq!(server.send(call).await.status, 403);
    }
    // Nothing is looked at any more, not even who is right.
    for call in [&wrong, &unknown, &list()] {
        check_throttled(&server.send(call).await, "0900-00000708");
    }
    let garbage = list().with(|c| c.signed = false).with_header("Authorization", "x");
    check_throttled(&server.send(&garbage).await, "0900-00000708");
    let metrics = server.admin("/metrics").await;
    let line = "vectorbucket_auth_failures_total{code=\"SignatureDoesNotMatch\"} 2\n";
    assert!(metrics.text().contains(line), "{}", metrics.text());
    check_counted(&server, "source", 4).await;
    assert_eq!(send_from([127, 0, 0, 2], &server, &list()).await.status, 200);
}

/// A put of vectors `k{first}` to `k{last - 1}`, with metadata of some length.
fn put(keys: std::ops::Range<u32>, note: usize) -> Call {
    let row = |n: u32| {
        json!({"key": format!("k{n}"), "data": {"float32": [n, 1]},
               "metadata": {"note": "x".repeat(note)}})
    };
    let rows: Vec<_> = keys.map(row).collect();
    Call::post("vec", "putVectors", &json!({"indexName": "docs", "vectors": rows}))
}

async fn vectors(server: &TestServer) -> usize {
    let body = json!({"indexName": "docs", "maxResults": 1000});
    let listed = server.ok(&Call::post("vec", "listVectors", &body)).await.json();
    listed["vectors"].as_array().unwrap().len()
}

async fn with_quota(change: impl FnOnce(&mut Config)) -> TestServer {
    let server = TestServer::with(change).await;
    server.index("vec", "docs", 2, "euclidean").await;
    server
}

/// Sends until it succeeds, as a client would that was told of a quota and made room.
async fn until_ok(server: &TestServer, call: &Call) {
    let began = Instant::now();
    while server.send(call).await.status != 200 {
        assert!(began.elapsed() < Duration::from_secs(30), "room that was made is not seen");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn an_account_has_no_more_vectors_than_its_quota() {
    let server = with_quota(|config| config.quotas.vectors_max = Some(10)).await;
    server.ok(&put(0..8, 1)).await;
    // Overwrites are not taken for growth.
    for _ in 0..5 {
        server.ok(&put(0..8, 1)).await;
    }
    let over = server.send(&put(6..11, 1)).await;
    over.check_error(400, "VectorIndexParameterInvalid", "0900-00000617");
    assert_eq!(vectors(&server).await, 8, "a refused batch writes nothing");
    server.ok(&put(6..10, 1)).await;
    server.ok(&put(0..10, 1)).await;
    let other = Call::post(
        "vec",
        "putVectorIndex",
        &json!({"indexName": "more",
        "dataType": "float32", "dimension": 2, "distanceMetric": "euclidean"}),
    );
    server.ok(&other).await;
    let elsewhere = put(0..1, 1).with(|call| {
        let text = String::from_utf8(call.body.clone()).unwrap();
        call.body = text.replace("docs", "more").into_bytes();
    });
    let over = server.send(&elsewhere).await;
    over.check_error(400, "VectorIndexParameterInvalid", "0900-00000617");
    let keys = json!({"indexName": "docs", "keys": ["k0", "k1", "k2"]});
    server.ok(&Call::post("vec", "deleteVectors", &keys)).await;
    until_ok(&server, &put(20..23, 1)).await;
    assert_eq!(vectors(&server).await, 10);
}

#[tokio::test]
async fn an_account_stores_no_more_bytes_than_its_quota() {
    let server = with_quota(|config| config.quotas.bytes_max = Some(ByteSize(20_000))).await;
    server.ok(&put(0..10, 1000)).await;
    let over = server.send(&put(10..30, 1000)).await;
    over.check_error(400, "VectorIndexParameterInvalid", "0900-00000618");
    // The same, or less, in the place of what is there always fits; more of it does not.
    for _ in 0..10 {
        server.ok(&put(0..10, 1000)).await;
    }
    server.ok(&put(0..5, 900)).await;
    let over = server.send(&put(0..10, 20_000)).await;
    over.check_error(400, "VectorIndexParameterInvalid", "0900-00000618");
    check_counted(&server, "bytes", 2).await;
}

#[tokio::test]
async fn an_index_has_no_more_vectors_than_its_quota() {
    let server = with_quota(|config| config.quotas.index_vectors_max = 5).await;
    server.ok(&put(0..5, 1)).await;
    server.ok(&put(0..5, 2)).await;
    let over = server.send(&put(4..6, 1)).await;
    over.check_error(400, "VectorIndexParameterInvalid", "0900-00000619");
    assert_eq!(vectors(&server).await, 5);
    let key = json!({"indexName": "docs", "keys": ["k0"]});
    server.ok(&Call::post("vec", "deleteVectors", &key)).await;
    server.ok(&put(4..6, 1)).await;
    check_counted(&server, "index_vectors", 1).await;
}

#[tokio::test]
async fn an_accounts_own_quotas_come_first() {
    let server = with_quota(|config| {
        config.quotas.buckets_max = 5;
        config.quotas.vectors_max = Some(1);
    })
    .await;
    let quotas =
        Quotas { buckets: Some(1), indexes_per_bucket: Some(2), vectors: Some(3), bytes: None };
    People(server.handle.identities()).run(ACCOUNT, Action::SetQuotas { quotas }).await;
    assert!(server.handle.identities().snapshot().account(&account(ACCOUNT)).is_some());
    let bucket = server.send(&Call::new("PUT", "second", "")).await;
    bucket.check_error(400, "TooManyBuckets", "0900-00000402");
    let index = |name: &str| {
        Call::post(
            "vec",
            "putVectorIndex",
            &json!({"indexName": name,
            "dataType": "float32", "dimension": 2, "distanceMetric": "euclidean"}),
        )
    };
    server.ok(&index("second")).await;
    let third = server.send(&index("third")).await;
    third.check_error(400, "VectorBucketIndexExceedLimit", "0900-00000505");
    server.ok(&put(0..3, 1)).await;
    let over = server.send(&put(3..4, 1)).await;
    over.check_error(400, "VectorIndexParameterInvalid", "0900-00000617");
    for limit in ["buckets", "indexes", "vectors"] {
        check_counted(&server, limit, 1).await;
    }
}
