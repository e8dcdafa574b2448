//! Random and mutated requests: none gets a 5xx, none panics, none touches what it does not name.
//!
//! Bodies are mutated before they are signed, so that they reach the decoders and the engine; heads
//! are mutated as bytes, after signing. Proptest prints the smallest failing case.

mod common;

use common::{Call, Connection, TestServer};
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

/// Pieces that decoders stumble over.
const PIECES: [&str; 36] = [
    "NaN",
    "Infinity",
    "-Infinity",
    "1e39",
    "1e999",
    "-1e999",
    "1e-999",
    "-0",
    "0.1e-45",
    "9223372036854775808",
    "340282350000000000000000000000000000000",
    "null",
    "true",
    "\"\\ud800\"",
    "\"\\udfff\\ud800\"",
    "\"\\u0000\"",
    "\u{1F980}",
    "\\",
    "\"",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
    "{\"a\":{\"a\":{\"a\":",
    "\"indexName\":\"idx\",",
    "\"$and\":[",
    "\"$or\":[]",
    "{\"$gt\":\"x\"}",
    "\"key\":\"a\",",
    "\"float32\":[0,0]",
    "\u{feff}",
    "/*x*/",
    "\r\n\r\n",
];

/// One change of a byte string; positions are taken modulo its length.
#[derive(Clone, Debug)]
enum Change {
    Replace(usize, u8),
    Insert(usize, &'static str),
    Remove(usize, usize),
    Double(usize, usize),
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        (any::<usize>(), any::<u8>()).prop_map(|(at, byte)| Change::Replace(at, byte)),
        (any::<usize>(), 0..PIECES.len()).prop_map(|(at, piece)| Change::Insert(at, PIECES[piece])),
        (any::<usize>(), 1..40_usize).prop_map(|(at, length)| Change::Remove(at, length)),
        (any::<usize>(), 1..200_usize).prop_map(|(at, length)| Change::Double(at, length)),
    ]
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    let place = |at: usize| at % (bytes.len() + 1);
    match *change {
        Change::Replace(at, byte) => {
            let at = place(at);
            if let Some(old) = bytes.get_mut(at) {
                *old = byte;
            }
        }
        Change::Insert(at, piece) => {
            let at = place(at);
            bytes.splice(at..at, piece.bytes());
        }
        Change::Remove(at, length) => {
            let (start, end) = (place(at), (place(at) + length).min(bytes.len()));
            bytes.drain(start..end);
        }
        Change::Double(at, length) => {
            let (start, end) = (place(at), (place(at) + length).min(bytes.len()));
            let copy = bytes[start..end].to_vec();
            bytes.splice(end..end, copy);
        }
    }
}

/// A well-formed request of every kind that has a body.
fn bodies() -> Vec<(&'static str, &'static str, Value)> {
    let row = json!({"key": "a", "data": {"float32": [0.25, -1]},
                     "metadata": {"s": "x", "n": 1, "f": 1.5, "b": true, "many": ["p", "q"], "note": "n"}});
    let filter = json!({"$or": [{"s": {"$in": ["x", "y"]}}, {"n": {"$gte": 1, "$lt": 5}}, {"b": {"$exists": true}}]});
    vec![
        (
            "POST",
            "putVectors",
            json!({"indexName": "idx", "vectors": [row, {"key": "b", "data": {"float32": [1, 2]}}]}),
        ),
        (
            "POST",
            "getVectors",
            json!({"indexName": "idx", "keys": ["a", "b"], "returnData": true, "returnMetadata": true}),
        ),
        (
            "POST",
            "listVectors",
            json!({"indexName": "idx", "maxResults": 3, "segmentCount": 2, "segmentIndex": 1, "filter": filter}),
        ),
        ("POST", "deleteVectors", json!({"indexName": "idx", "keys": ["b"]})),
        (
            "POST",
            "queryVectors",
            json!({"indexName": "idx", "topK": 3, "queryVector": {"float32": [1, 2]}, "filter": filter,
                                        "returnDistance": true, "returnMetadata": true}),
        ),
        (
            "POST",
            "putVectorIndex",
            json!({"indexName": "other", "dataType": "float32", "dimension": 2, "distanceMetric": "cosine",
                                          "metadata": {"nonFilterableMetadataKeys": ["k"]}}),
        ),
        ("POST", "getVectorIndex", json!({"indexName": "idx"})),
        ("POST", "listVectorIndexes", json!({"maxResults": 3, "prefix": "i"})),
        (
            "PUT",
            "policy",
            json!({"Version": "1", "Statement": [{"Effect": "Deny", "Action": ["oss:*"], "Principal": ["*"],
                                 "Resource": ["*"], "Condition": {"IpAddress": {"acs:SourceIp": ["10.0.0.0/8"]}}}]}),
        ),
        (
            "PUT",
            "logging",
            json!({"BucketLoggingStatus": {"LoggingEnabled": {"TargetBucket": "logs", "TargetPrefix": "p"}}}),
        ),
        ("PUT", "tagging", json!({"Tagging": {"TagSet": {"Tag": [{"Key": "k", "Value": "v"}]}}})),
        (
            "PUT",
            "resourceGroup",
            json!({"BucketResourceGroupConfiguration": {"ResourceGroupId": "rg-1"}}),
        ),
    ]
}

#[derive(Clone, Debug)]
struct Case {
    request: usize,
    body: Vec<Change>,
    head: Vec<Change>,
}

fn case() -> impl Strategy<Value = Case> {
    let some = || proptest::collection::vec(change(), 1..6);
    let place = prop_oneof![
        3 => (some(), Just(Vec::new())),
        1 => (Just(Vec::new()), some()),
    ];
    (0..bodies().len(), place).prop_map(|(request, (body, head))| Case { request, body, head })
}

/// Sends a case; the status of the answer, if there is one.
async fn send(server: &TestServer, case: &Case) -> Option<u16> {
    let (method, query, body) = bodies().swap_remove(case.request);
    let mut body = body.to_string().into_bytes();
    case.body.iter().for_each(|change| apply(&mut body, change));
    let call = Call::new(method, "vec", query).with_body(body).with_header("Connection", "close");
    let mut bytes = call.head();
    case.head.iter().for_each(|change| apply(&mut bytes, change));
    bytes.extend_from_slice(&call.body);
    let mut connection = Connection::open(server.addr()).await;
    connection.write_what_is_read(&bytes).await;
    connection.try_answer(method).await.map(|answer| answer.status)
}

/// What nobody may touch: an index in a bucket that no mutated request is signed for.
async fn kept(server: &TestServer) -> Value {
    let list = json!({"indexName": "idx", "returnData": true, "returnMetadata": true});
    server.ok(&Call::post("kept", "listVectors", &list)).await.json()
}

#[test]
fn no_request_breaks_the_service() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let server = runtime.block_on(async {
        let server = TestServer::with(|config| {
            config.limits.header_timeout = std::time::Duration::from_millis(300);
            config.limits.body_timeout = std::time::Duration::from_millis(300);
        })
        .await;
        server.index("vec", "idx", 2, "cosine").await;
        server.index("kept", "idx", 2, "cosine").await;
        let row = json!({"indexName": "idx", "vectors": [
            {"key": "k", "data": {"float32": [1, 2]}, "metadata": {"s": "x"}}]});
        server.ok(&Call::post("kept", "putVectors", &row)).await;
        server
    });
    let before = runtime.block_on(kept(&server));
    let mut runner = TestRunner::new(Config { cases: 1500, ..Config::default() });
    let outcome = runner.run(&case(), |case| {
        let status = runtime.block_on(send(&server, &case));
        proptest::prop_assert!(status.is_none_or(|status| status < 500), "{status:?}");
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(runtime.block_on(kept(&server)), before);
    let metrics = runtime.block_on(server.admin("/metrics"));
    assert!(metrics.text().contains("vectorbucket_panics_total 0"), "{}", metrics.text());
    runtime.block_on(server.handle.shutdown()).expect("a clean stop");
}
