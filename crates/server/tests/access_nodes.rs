//! Access with several nodes: what is decided where, and how soon a revocation holds everywhere.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::{Duration, Instant};

use common::cluster::Cluster;
use common::people::{Keys, People, allow, name, with_people};
use common::{ACCOUNT, Answer, Call};
use serde_json::json;
use tempfile::TempDir;
use vb_identity::{Action, Holder, KeyId, Sessions};

/// How soon all nodes must know.
const REVOKED_WITHIN: Duration = Duration::from_secs(3);

struct Nodes {
    cluster: Cluster,
    _dir: TempDir,
}

impl Nodes {
    /// Two nodes; bucket `vec` with the indexes `docs` and `other`.
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let cluster = Cluster::with(2, |_, config| with_people(config, dir.path())).await;
        cluster.ok(0, &Call::new("PUT", "vec", "")).await;
        for index in ["docs", "other"] {
            let body = json!({"indexName": index, "dataType": "float32", "dimension": 2,
                              "distanceMetric": "euclidean"});
            cluster.ok(0, &Call::post("vec", "putVectorIndex", &body)).await;
        }
        Self { cluster, _dir: dir }
    }

    fn people(&self, node: usize) -> People<'_> {
        People(self.cluster.handles[node].as_ref().unwrap().identities())
    }

    async fn send(&self, node: usize, keys: &Keys, call: &Call) -> Answer {
        self.cluster.send(node, &keys.sign(call)).await
    }

    /// Repeats a call on the second node until it is refused; it must be soon.
    async fn refused_soon(&self, keys: &Keys, call: &Call, code: &str) {
        let begun = Instant::now();
        loop {
            let answer = self.send(1, keys, call).await;
            if answer.status != 200 {
                assert_eq!(answer.json()["Error"]["Code"], code, "{answer:?}");
                break;
            }
            assert!(begun.elapsed() < REVOKED_WITHIN, "{code}: still let in");
        }
    }
}

fn list(index: &str) -> Call {
    Call::post("vec", "listVectors", &json!({"indexName": index}))
}

#[tokio::test]
async fn what_one_node_revokes_another_refuses_within_three_seconds() {
    let nodes = Nodes::start().await;
    let people = nodes.people(0);
    let all = allow(&["oss:*"], &["*"]);
    // New keys are good everywhere at once.
    let alice = people.user(ACCOUNT, "alice").await;
    people.grant_user("alice", &all).await;
    let bob = people.user(ACCOUNT, "bob").await;
    people.grant_user("bob", &all).await;
    people.role(ACCOUNT, "reader").await;
    people.grant(ACCOUNT, Holder::Role(name("reader")), &all).await;
    let session = people.session(ACCOUNT, "reader", None).await;
    let bucket = Call::new("GET", "vec", "bucketInfo");
    for keys in [&alice, &bob, &session] {
        assert_eq!(nodes.send(1, keys, &bucket).await.status, 200);
    }
    let (user, key) = (name("alice"), KeyId::parse(&alice.id).unwrap());
    people.run(ACCOUNT, Action::EnableKey { user, key, enabled: false }).await;
    nodes.refused_soon(&alice, &bucket, "InvalidAccessKeyId").await;
    people.grant_user("bob", &allow(&["oss:GetVectors"], &["*"])).await;
    nodes.refused_soon(&bob, &bucket, "AccessDenied").await;
    people.run(ACCOUNT, Action::RevokeSessions { of: Sessions::OfRole(name("reader")) }).await;
    nodes.refused_soon(&session, &bucket, "InvalidSecurityToken").await;
}

#[tokio::test]
async fn a_bucket_policy_changed_on_one_node_holds_on_another() {
    let nodes = Nodes::start().await;
    let policy = |effect: &str| {
        json!({"Version": "1", "Statement": [{"Effect": effect, "Action": ["oss:GetVectorBucket"],
               "Resource": ["*"], "Principal": [nodes.people(0).uid(ACCOUNT, "alice")]}]})
        .to_string()
    };
    let alice = nodes.people(0).user(ACCOUNT, "alice").await;
    let bucket = Call::new("GET", "vec", "bucketInfo");
    let put = |effect: &str| Call::new("PUT", "vec", "policy").with_body(policy(effect));
    nodes.cluster.ok(1, &put("Allow")).await;
    assert_eq!(nodes.send(1, &alice, &bucket).await.status, 200);
    nodes.cluster.ok(0, &put("Deny")).await;
    nodes.refused_soon(&alice, &bucket, "AccessDenied").await;
}

#[tokio::test]
async fn the_owner_decides_what_is_forwarded_to_it_again() {
    let nodes = Nodes::start().await;
    let people = nodes.people(0);
    let alice = people.user(ACCOUNT, "alice").await;
    let docs = ["acs:ossvector:*:*:vec/docs/*"];
    people.grant_user("alice", &allow(&["oss:ListVectors"], &docs)).await;
    let owner = nodes.cluster.owner("vec", "docs").await;
    let entry = 1 - owner;
    assert_eq!(nodes.send(entry, &alice, &list("docs")).await.status, 200);
    assert_eq!(nodes.cluster.routed(entry, "forwarded").await, 1);
    assert_eq!(nodes.cluster.routed(owner, "from_peer").await, 1);
    // What the entry refuses does not travel.
    for node in 0..2 {
        let denied = nodes.send(node, &alice, &list("other")).await;
        denied.check_error(403, "AccessDenied", "0003-00000202");
    }
    assert_eq!(nodes.cluster.routed(entry, "forwarded").await, 1);
    assert_eq!(nodes.cluster.routed(owner, "forwarded").await, 0);
}
