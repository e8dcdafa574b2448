//! Access logs of buckets and the audit stream, of a live server.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::path::Path;

use common::cluster::Cluster;
use common::{ACCESS_KEY_ID, ACCOUNT, Call, OTHER_ACCOUNT, SECRET, TestServer};
use serde_json::{Value, json};
use vb_server::{AuditOutput, StoreUrl};

fn logging(bucket: &str, prefix: &str) -> Call {
    let target = json!({ "TargetBucket": "log-target", "TargetPrefix": prefix });
    let body = json!({ "BucketLoggingStatus": { "LoggingEnabled": target } });
    Call::new("PUT", bucket, "logging").with_body(body.to_string())
}

/// The fields of a line: split at single spaces outside of quotes and brackets.
fn fields(line: &str) -> Vec<&str> {
    let (mut fields, mut rest) = (Vec::new(), line);
    loop {
        let end = match rest.as_bytes().first() {
            Some(b'"') => rest[1..].find('"').unwrap() + 2,
            Some(b'[') => rest.find(']').unwrap() + 1,
            _ => rest.find(' ').unwrap_or(rest.len()),
        };
        let (field, after) = rest.split_at(end);
        fields.push(field.trim_matches('"'));
        match after.strip_prefix(' ') {
            Some(after) => rest = after,
            None => {
                assert_eq!((after, fields.len()), ("", 29), "{line}");
                return fields;
            }
        }
    }
}

/// All files below a folder, with their text.
fn files(folder: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => {
                    let text = std::fs::read_to_string(&path).unwrap();
                    found.push((path.file_name().unwrap().to_str().unwrap().to_owned(), text));
                }
            }
        }
    }
    found
}

fn lines(files: &[(String, String)]) -> Vec<Vec<&str>> {
    files.iter().flat_map(|(_, text)| text.lines()).map(fields).collect()
}

#[tokio::test]
async fn requests_of_a_logged_bucket_become_lines_without_secrets() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    let server = TestServer::with(|config| config.store = StoreUrl::Local(store.clone())).await;
    server.index("vec", "idx", 2, "euclidean").await;
    server.bucket("other").await;
    server.ok(&logging("vec", "My Log/")).await;

    let agent = "a\"b\\ \u{e9} x";
    let body = json!({ "indexName": "idx", "vectors": [{ "key": "k", "data": { "float32": [1.0, 2.0] } }] });
    let put = Call::post("vec", "putVectors&x-tag=7", &body).with_header("User-Agent", agent);
    let put = server.ok(&put.with_header("Referer", "http://h/?security-token=SECRET-TOKEN")).await;
    server.ok(&Call::new("GET", "other", "bucketInfo")).await;
    let presigned = Call::new("GET", "vec", "bucketInfo").presigned(600);
    let signature = presigned.query.rsplit('=').next().unwrap().to_owned();
    server.ok(&presigned).await;
    let forged =
        Call::new("GET", "vec", "bucketInfo").with(|call| call.secret = "wrong-one".into());
    assert_eq!(server.send(&forged).await.status, 403);
    let anonymous = Call::new("GET", "vec", "policy").with(|call| call.signed = false);
    assert_eq!(server.send(&anonymous).await.status, 403);
    server.ok(&Call::new("DELETE", "vec", "logging")).await;
    server.ok(&Call::new("GET", "vec", "bucketInfo")).await;
    server.handle.shutdown().await.unwrap();

    let place = store.join("logs").join(ACCOUNT).join("log-target").join("My%20Log");
    let files = files(&place);
    for (name, text) in &files {
        assert!(name.starts_with("vec20") && name.contains("-00-00-"), "{name}");
        for secret in [signature.as_str(), SECRET, "SECRET-TOKEN", "wrong-one"] {
            assert!(!text.contains(secret), "{text}");
        }
    }
    let lines = lines(&files);
    let column = |n: usize| lines.iter().map(|fields| fields[n - 1]).collect::<Vec<_>>();
    let operations = [
        "PutVectors",
        "GetVectorBucket",
        "GetVectorBucket",
        "GetBucketPolicy",
        "DeleteBucketLogging",
    ];
    assert_eq!(column(15), operations);
    assert_eq!(column(6), ["200", "200", "403", "403", "204"]);
    assert_eq!(column(20), ["-", "-", "SignatureDoesNotMatch", "AccessDenied", "-"]);
    assert_eq!(column(14), [ACCOUNT, ACCOUNT, "-", "-", ACCOUNT]);
    assert_eq!(column(28), [ACCESS_KEY_ID, ACCESS_KEY_ID, "-", "-", ACCESS_KEY_ID]);
    assert_eq!(column(17), ["idx", "-", "-", "-", "-"]);
    let first = &lines[0];
    assert_eq!(first[0], "127.0.0.1");
    assert_eq!(first[4], "POST /?putVectors&x-tag=7 HTTP/1.1");
    assert_eq!(first[8], "http://h/?security-token=***");
    assert_eq!(first[9], r"a\x22b\x5C \xC3\xA9 x");
    assert_eq!(first[11], put.header("x-oss-request-id").unwrap());
    assert!(first[20].parse::<usize>().unwrap() > body.to_string().len() + 200, "{first:?}");
    assert_eq!(first[28], format!("acs:ossvector:cn-hangzhou:{ACCOUNT}:vec"));
    assert!(lines[1][4].contains("x-oss-signature=***"), "{:?}", lines[1]);
}

#[tokio::test]
async fn targets_must_be_sinks_where_that_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config.toml");
    let text = format!(
        "[logging]\nsinks = 'audit={}'\nallow_any_target = false",
        dir.path().join("sink").display()
    );
    std::fs::write(&file, &text).unwrap();
    let loaded = vb_server::load(&vb_server::Sources { file: Some(&text), ..Default::default() });
    let server = TestServer::with(|config| config.logging = loaded.unwrap().config.logging).await;
    server.bucket("vec").await;
    let refused = server.send(&logging("vec", "p")).await;
    assert_eq!((refused.status, refused.header("x-oss-ec")), (400, Some("0900-00000405")));
    let named = logging("vec", "p-");
    let body = String::from_utf8(named.body.clone()).unwrap().replace("log-target", "audit");
    server.ok(&named.with_body(body)).await;
    server.ok(&Call::new("GET", "vec", "bucketInfo")).await;
    server.handle.shutdown().await.unwrap();
    let files = files(&dir.path().join("sink").join(ACCOUNT));
    assert!(files[0].0.starts_with("p-vec20"), "{files:?}");
    assert_eq!(lines(&files)[0][14], "GetVectorBucket");
}

#[tokio::test]
async fn a_forwarded_request_is_one_line_wherever_it_arrives() {
    let mut cluster = Cluster::start(2).await;
    let create = json!({ "indexName": "idx", "dataType": "float32", "dimension": 2, "distanceMetric": "euclidean" });
    cluster.ok(0, &Call::new("PUT", "vec", "")).await;
    cluster.ok(0, &Call::post("vec", "putVectorIndex", &create)).await;
    cluster.ok(0, &logging("vec", "p-")).await;
    let body = json!({ "indexName": "idx" });
    let mut ids = Vec::new();
    for node in [0, 1, 0, 1] {
        let answer = cluster.ok(node, &Call::post("vec", "listVectors", &body)).await;
        ids.push(answer.header("x-oss-request-id").unwrap().to_owned());
    }
    assert_eq!(cluster.routed(0, "forwarded").await + cluster.routed(1, "forwarded").await, 2);
    for node in [0, 1] {
        cluster.stop(node).await;
    }
    let mut seen = Vec::new();
    for object in cluster.store.list_after("logs", None).await.unwrap() {
        let bytes = cluster.store.get(&object.path).await.unwrap();
        for line in std::str::from_utf8(&bytes).unwrap().lines() {
            let fields = fields(line);
            assert_eq!((fields[0], fields[14], fields[16]), ("127.0.0.1", "ListVectors", "idx"));
            seen.push(fields[11].to_owned());
        }
    }
    ids.sort();
    seen.sort();
    assert_eq!(seen, ids);
}

#[tokio::test]
async fn the_audit_tells_every_request_with_its_decision() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("audit.jsonl");
    let server =
        TestServer::with(|config| config.audit.output = AuditOutput::File(path.clone())).await;
    server.bucket("vec").await;
    let foreign = Call::new("GET", "vec", "bucketInfo").with(|call| {
        call.account = OTHER_ACCOUNT.into();
        call.host = call.host.replace(ACCOUNT, OTHER_ACCOUNT);
    });
    assert_eq!(server.send(&foreign).await.status, 403);
    let wrong = Call::new("GET", "vec", "bucketInfo").with(|call| call.secret = "wrong-one".into());
    let presigned = wrong.presigned(600);
    assert_eq!(server.send(&presigned).await.status, 403);
    server.handle.shutdown().await.unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(!text.contains(SECRET) && !text.contains(presigned.query.rsplit('=').next().unwrap()));
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let column = |name: &str| events.iter().map(|event| event[name].clone()).collect::<Vec<_>>();
    assert_eq!(column("decision"), ["allow", "deny", "none"]);
    assert_eq!(
        column("action"),
        ["oss:PutVectorBucket", "oss:GetVectorBucket", "oss:GetVectorBucket"]
    );
    assert_eq!(column("status"), [200, 403, 403]);
    assert_eq!(events[1]["principal"]["id"], ACCOUNT);
    assert_eq!(events[1]["resource"], format!("acs:ossvector:cn-hangzhou:{OTHER_ACCOUNT}:vec"));
    assert_eq!(events[1]["ec"], "0003-00000202");
    assert_eq!(events[2]["principal"], Value::Null);
}
