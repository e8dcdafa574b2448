//! Who the client is behind proxies: only trusted ones are believed.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::path::Path;

use common::{ACCOUNT, Answer, Call, TestServer};
use serde_json::{Value, json};
use tempfile::TempDir;
use vb_server::{AuditOutput, Config, StoreUrl};

/// A server that denies its own account what comes from 203.0.113.0/24 or over plain HTTP.
struct Guarded {
    server: TestServer,
    dir: TempDir,
}

fn get_index() -> Call {
    Call::post("vec", "getVectorIndex", &json!({"indexName": "idx"}))
}

impl Guarded {
    async fn start(proxies: &str, denied: Value) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let text = format!("trusted_proxies = '{proxies}'");
        let sources = vb_server::Sources { file: Some(&text), ..vb_server::Sources::default() };
        let trusted = vb_server::load(&sources).unwrap().config.trusted_proxies;
        let server = TestServer::with(|config: &mut Config| {
            config.trusted_proxies = trusted;
            config.store = StoreUrl::Local(dir.path().join("store"));
            config.audit.output = AuditOutput::File(dir.path().join("audit.jsonl"));
        })
        .await;
        server.index("vec", "idx", 2, "euclidean").await;
        let policy = json!({"Version": "1", "Statement": [{
            "Effect": "Deny", "Principal": [ACCOUNT], "Action": "oss:GetVectorIndex",
            "Resource": "*", "Condition": denied,
        }]});
        let call = Call::new("PUT", "vec", "policy").with_body(policy.to_string());
        server.ok(&call).await;
        let target = json!({"TargetBucket": "log-target", "TargetPrefix": "p-"});
        let body = json!({"BucketLoggingStatus": {"LoggingEnabled": target}});
        server.ok(&Call::new("PUT", "vec", "logging").with_body(body.to_string())).await;
        Self { server, dir }
    }

    async fn get(&self, headers: &[(&str, &str)]) -> Answer {
        let mut call = get_index();
        for (name, value) in headers {
            call = call.with_header(name, value);
        }
        self.server.send(&call).await
    }

    /// Stops the server; what its audit and access log say of where each request came from.
    async fn stop(self) -> (Vec<Value>, String) {
        self.server.handle.shutdown().await.unwrap();
        let audit = std::fs::read_to_string(self.dir.path().join("audit.jsonl")).unwrap();
        let events = audit.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let mut lines = String::new();
        collect(&self.dir.path().join("store/logs"), &mut lines);
        (events, lines)
    }
}

fn collect(folder: &Path, lines: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => collect(&path, lines),
            false => lines.push_str(&std::fs::read_to_string(&path).unwrap()),
        }
    }
}

fn from(network: &str) -> Value {
    json!({"IpAddress": {"acs:SourceIp": network}})
}

#[tokio::test]
async fn a_trusted_proxy_says_who_the_client_is_to_policies_and_logs() {
    let guarded = Guarded::start("127.0.0.0/8,10.0.0.0/8", from("203.0.113.0/24")).await;
    let named = [("X-Forwarded-For", "198.51.100.7, 203.0.113.9, 10.1.1.1")];
    assert_eq!(guarded.get(&[]).await.status, 200);
    guarded.get(&named).await.check_error(403, "AccessDenied", "0003-00000101");
    let invented = [("X-Forwarded-For", "203.0.113.9, 198.51.100.7")];
    assert_eq!(guarded.get(&invented).await.status, 200);
    let (events, lines) = guarded.stop().await;
    let sources: Vec<_> =
        events.iter().rev().take(3).map(|e| e["source"].as_str().unwrap()).collect();
    assert_eq!(sources, ["198.51.100.7", "203.0.113.9", "127.0.0.1"]);
    for source in ["203.0.113.9 - - [", "198.51.100.7 - - [", "127.0.0.1 - - ["] {
        assert!(lines.lines().any(|line| line.starts_with(source)), "{source} in {lines}");
    }
}

#[tokio::test]
async fn nobody_else_does() {
    for proxies in ["", "10.0.0.0/8,127.0.0.2"] {
        let guarded = Guarded::start(proxies, from("203.0.113.0/24")).await;
        let claims = [("X-Forwarded-For", "203.0.113.9"), ("X-Forwarded-Proto", "https")];
        assert_eq!(guarded.get(&claims).await.status, 200, "trusted: {proxies}");
        let (events, lines) = guarded.stop().await;
        let last = events.last().unwrap();
        assert_eq!(
            (&last["source"], &last["secure_transport"]),
            (&"127.0.0.1".into(), &false.into())
        );
        assert!(!lines.lines().any(|line| line.starts_with("203.0.113.9")), "{lines}");
    }
}

#[tokio::test]
async fn tls_at_a_trusted_proxy_counts_if_every_hop_had_it() {
    let plain = json!({"Bool": {"acs:SecureTransport": "false"}});
    let guarded = Guarded::start("127.0.0.1", plain).await;
    let said = |value: &'static str| [("X-Forwarded-Proto", value)];
    assert_eq!(guarded.get(&said("https")).await.status, 200);
    for value in ["http", "https, http", "http, https", "", "httpss", "https;"] {
        assert_eq!(guarded.get(&said(value)).await.status, 403, "{value}");
    }
    let twice = [("X-Forwarded-Proto", "https"), ("X-Forwarded-Proto", "http")];
    assert_eq!(guarded.get(&twice).await.status, 403);
    assert_eq!(guarded.get(&[]).await.status, 403);
    let (events, _) = guarded.stop().await;
    let secure: Vec<_> = events.iter().map(|e| e["secure_transport"].as_bool().unwrap()).collect();
    assert_eq!(secure.iter().filter(|secure| **secure).count(), 1);
}

#[tokio::test]
async fn hostile_headers_make_nobody_of_the_client() {
    let guarded = Guarded::start("127.0.0.1", from("127.0.0.1")).await;
    let long = "1.1.1.1,".repeat(4000);
    let hops = format!("203.0.113.9{}", ", 127.0.0.1".repeat(2000));
    for value in [
        "",
        ",",
        ", ,",
        "unknown",
        "::ffff:127.0.0.1",
        "127.0.0.1",
        "[127.0.0.1]",
        "localhost",
        "127.0.0.1\t,\tx",
        "203.0.113.9,",
        "203.0.113.9, 999.1.1.1",
        "1.2.3.4:99999",
        &long,
    ] {
        let answer = guarded.get(&[("X-Forwarded-For", value)]).await;
        assert!([400, 403].contains(&answer.status), "{value}: {answer:?}");
    }
    assert_eq!(
        guarded.get(&[("X-Forwarded-For", &hops)]).await.status,
        200,
        "named by trusted hops"
    );
    assert_eq!(
        guarded.get(&[("Forwarded", "for=203.0.113.9"), ("X-Real-IP", "203.0.113.9")]).await.status,
        403
    );
    let (events, _) = guarded.stop().await;
    assert_eq!(events.last().unwrap()["source"], "127.0.0.1");
}
