//! Callers without a grant: what they are told, and that nothing is done for them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::{Duration, Instant};

use common::people::{Keys, People, allow, name, with_people};
use common::{ACCOUNT, Answer, Call, OTHER_ACCOUNT, TestServer, config};
use serde_json::json;
use tempfile::TempDir;
use vb_api::oss::{Level, Operation};
use vb_commit::Store;
use vb_identity::{Action, Holder, KeyId};
use vb_server::{Given, Server};

/// How long a look at a bucket's record counts, whether it is there or not, and one at identities.
const LOOK_AGE_MAX: Duration = Duration::from_secs(2);
/// Requests to the store of one look at both, at most.
const LOOK_REQUESTS_MAX: u64 = 10;

/// A caller who may do nothing, and what it is told.
struct Nobody {
    who: &'static str,
    keys: Option<Keys>,
    code: &'static str,
    ec: &'static str,
}

struct World {
    server: TestServer,
    store: Store,
    _dir: TempDir,
}

impl World {
    /// Bucket `vec` with the index `docs` and the vector `k`.
    async fn start() -> Self {
        let (dir, store) = (tempfile::tempdir().unwrap(), Store::memory());
        let mut config = config();
        with_people(&mut config, dir.path());
        // Failures are this test's business, and are to be answered as such.
        config.rates.source_failures = None;
        let given = Given { store: Some(store.clone()), ..Given::default() };
        let handle = Server::start_with(&config, given).await.unwrap();
        let server = TestServer { handle, config, dir: None };
        server.index("vec", "docs", 2, "euclidean").await;
        let rows = json!([{"key": "k", "data": {"float32": [1.0, 2.0]}}]);
        server
            .ok(&Call::post("vec", "putVectors", &json!({"indexName": "docs", "vectors": rows})))
            .await;
        Self { server, store, _dir: dir }
    }

    async fn callers(&self) -> Vec<Nobody> {
        let people = People(self.server.handle.identities());
        let disabled = people.user(ACCOUNT, "disabled").await;
        let all = allow(&["*"], &["*"]);
        people.grant(ACCOUNT, Holder::User(name("disabled")), &all).await;
        let (user, key) = (name("disabled"), KeyId::parse(&disabled.id).unwrap());
        people.run(ACCOUNT, Action::EnableKey { user, key, enabled: false }).await;
        people.role(ACCOUNT, "idle").await;
        people.role(OTHER_ACCOUNT, "idle").await;
        // What somebody may do at home opens no door abroad.
        people.grant(OTHER_ACCOUNT, Holder::Role(name("idle")), &all).await;
        let carol = people.user(OTHER_ACCOUNT, "carol").await;
        people.grant(OTHER_ACCOUNT, Holder::User(name("carol")), &all).await;
        let unknown = Keys { id: "LTAInobody".into(), secret: "x".into(), token: None };
        let denied = |who, keys| Nobody { who, keys, code: "AccessDenied", ec: "0003-00000202" };
        vec![
            Nobody { ec: "0003-00000001", ..denied("anonymous", None) },
            denied("user", Some(people.user(ACCOUNT, "alice").await)),
            denied("session", Some(people.session(ACCOUNT, "idle", None).await)),
            denied("other root", Some(Keys::other_root())),
            denied("other user", Some(carol)),
            denied("other session", Some(people.session(OTHER_ACCOUNT, "idle", None).await)),
            Nobody {
                who: "disabled key",
                keys: Some(disabled),
                code: "InvalidAccessKeyId",
                ec: "0002-00000903",
            },
            Nobody {
                who: "unknown key",
                keys: Some(unknown),
                code: "InvalidAccessKeyId",
                ec: "0002-00000902",
            },
        ]
    }

    async fn ask(&self, caller: &Nobody, call: Call) -> Answer {
        match &caller.keys {
            Some(keys) => self.server.send(&keys.sign(&call)).await,
            None => self.server.send(&call.with(|call| call.signed = false)).await,
        }
    }

    /// What the engine did for requests so far.
    async fn engine_calls(&self) -> Vec<String> {
        let metrics = self.server.admin("/metrics").await;
        let is_call = |line: &&str| {
            ["puts", "deletes", "gets", "lists", "queries", "opens", "batches"]
                .iter()
                .any(|name| line.starts_with(&format!("vectorbucket_engine_{name}_total ")))
        };
        metrics.text().lines().filter(is_call).map(str::to_owned).collect()
    }

    fn writes(&self) -> u64 {
        let counts = self.store.counts();
        counts.create.requests + counts.put.requests + counts.delete.requests
    }

    fn reads(&self) -> u64 {
        let counts = self.store.counts();
        counts.get.requests + counts.list.requests
    }
}

/// A call that would change or show something, for whoever may.
fn call(operation: Operation, bucket: &str, index: &str) -> Call {
    if operation.level() == Level::Account {
        return Call::account(operation.method(), operation.key());
    }
    let body = match operation {
        Operation::PutBucketPolicy => json!({"Version": "1", "Statement": []}),
        Operation::PutVectorIndex => json!({"indexName": "new", "dataType": "float32",
                                            "dimension": 2, "distanceMetric": "cosine"}),
        Operation::PutVectors => json!({"indexName": index, "vectors": [
            {"key": "new", "data": {"float32": [1.0, 2.0]}}]}),
        Operation::QueryVectors => {
            json!({"indexName": index, "topK": 1, "queryVector": {"float32": [1.0, 2.0]}})
        }
        _ => json!({"indexName": index, "keys": ["k"]}),
    };
    let call = Call::new(operation.method(), bucket, operation.key());
    if operation.has_body() { call.with_body(body.to_string()) } else { call }
}

/// The answer without what differs between any two.
fn told(answer: &Answer, bucket: &str) -> String {
    let id = answer.header("x-oss-request-id").unwrap();
    let (host, name) = (format!("{bucket}-{ACCOUNT}"), format!("\"{bucket}\""));
    answer.text().replace(id, "ID").replace(&host, "HOST").replace(&name, "NAME")
}

/// Everybody may list what is in an account of their own.
fn is_at_home(caller: &Nobody, operation: Operation) -> bool {
    operation == Operation::ListVectorBuckets && caller.who.starts_with("other")
}

#[tokio::test]
async fn nothing_is_read_or_written_and_nothing_told_apart() {
    let world = World::start().await;
    let callers = world.callers().await;
    let (engine, writes) = (world.engine_calls().await, world.writes());
    assert!(engine.len() >= 7, "{engine:?}");
    let mut answers: Vec<Vec<String>> = Vec::new();
    let mut reads = Vec::new();
    for (bucket, index) in [("vec", "docs"), ("vec", "gone"), ("gone", "docs")] {
        let (begun, mut read) = (Instant::now(), 0);
        let mut told_here = Vec::new();
        for caller in &callers {
            for operation in Operation::ALL.iter().filter(|op| !is_at_home(caller, **op)) {
                let before = world.reads();
                let answer = world.ask(caller, call(*operation, bucket, index)).await;
                // For a key that nobody has identities are read anew, five times a second at most.
                if caller.who != "unknown key" {
                    read += world.reads() - before;
                }
                answer.check_error(403, caller.code, caller.ec);
                told_here.push(format!("{} {operation:?} {}", caller.who, told(&answer, bucket)));
            }
        }
        assert!(told_here.len() > 8 * 20, "{}", told_here.len());
        answers.push(told_here);
        reads.push((read, begun.elapsed()));
    }
    for other in &answers[1..] {
        for (one, other) in answers[0].iter().zip(other) {
            assert_eq!(one, other);
        }
    }
    // The store is asked for a bucket's record as often as it grows old, and not once per request:
    // as seldom for one that is not there as for one that is.
    for (read, elapsed) in &reads {
        let looks = elapsed.as_secs() / LOOK_AGE_MAX.as_secs() + 1;
        assert!(*read <= looks * LOOK_REQUESTS_MAX, "{reads:?}");
    }
    assert_eq!(world.writes(), writes);
    assert_eq!(world.engine_calls().await, engine);
}
