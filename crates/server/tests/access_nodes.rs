//! Access with several nodes: what is decided where, and how soon a revocation holds everywhere.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::cluster::Cluster;
use common::people::{KEY_RING, Keys, People, account, allow, name, with_people};
use common::{ACCESS_KEY_ID, ACCOUNT, Answer, Call, SECRET};
use serde_json::json;
use tempfile::TempDir;
use vb_commit::{Clock, SystemClock};
use vb_identity::{
    AccessKey, Action, Holder, IdentityStore, KeyId, KeyRing, Options, Roots, Secret, Sessions,
};
use vb_server::Config;

/// How soon all nodes must know.
const REVOKED_WITHIN: Duration = Duration::from_secs(3);

struct Nodes {
    cluster: Cluster,
    _dir: TempDir,
}

impl Nodes {
    /// Two nodes; bucket `vec` with the indexes `docs` and `other`.
    async fn start() -> Self {
        Self::with(|_| ()).await
    }

    async fn with(change: impl Fn(&mut Config)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let cluster = Cluster::with(2, |_, config| {
            with_people(config, dir.path());
            change(config);
        })
        .await;
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

/// The clock of a service that opened sessions some time ago.
#[derive(Debug)]
struct Behind(Duration);

impl Clock for Behind {
    fn unix_ms(&self) -> u64 {
        SystemClock.unix_ms() - u64::try_from(self.0.as_millis()).unwrap()
    }
}

/// A session of `reader` that was opened so long ago; sessions last an hour.
async fn session_opened(nodes: &Nodes, ago: Duration) -> Keys {
    let mut roots = Roots::default();
    let secret = Secret::parse(SECRET).unwrap();
    let root = AccessKey { id: ACCESS_KEY_ID.into(), secret, account: account(ACCOUNT) };
    roots.insert(root).unwrap();
    let ring = Some(KeyRing::parse(KEY_RING).unwrap());
    let options = Options { clock: Arc::new(Behind(ago)), ..Options::default() };
    let past = IdentityStore::open(&nodes.cluster.store, roots, ring, options).await.unwrap();
    People(&past).session(ACCOUNT, "reader", None).await
}

#[tokio::test]
async fn a_session_ends_on_every_node_when_its_token_says() {
    let nodes = Nodes::start().await;
    let people = nodes.people(0);
    people.role(ACCOUNT, "reader").await;
    people.grant(ACCOUNT, Holder::Role(name("reader")), &allow(&["oss:*"], &["*"])).await;
    let (hour, left) = (Duration::from_secs(3600), Duration::from_secs(5));
    let session = session_opened(&nodes, hour - left).await;
    let (begun, bucket) = (Instant::now(), Call::new("GET", "vec", "bucketInfo"));
    for node in [0, 1] {
        assert_eq!(nodes.send(node, &session, &bucket).await.status, 200);
    }
    while nodes.send(1, &session, &bucket).await.status == 200 {
        assert!(begun.elapsed() < left + Duration::from_secs(1), "still let in");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(begun.elapsed() > left - Duration::from_secs(1), "refused before its time");
    let over = session_opened(&nodes, hour + left).await;
    for (node, keys) in [(0, &session), (1, &session), (0, &over), (1, &over)] {
        let answer = nodes.send(node, keys, &bucket).await;
        answer.check_error(403, "SecurityTokenExpired", "0002-00000007");
    }
}

/// Puts five new vectors into an index of the node `at`.
fn put_five(index: &str, turn: usize) -> Call {
    let row = |n: usize| json!({"key": format!("k{turn}-{n}"), "data": {"float32": [n, 1]}});
    let rows: Vec<_> = (0..5).map(row).collect();
    Call::post("vec", "putVectors", &json!({"indexName": index, "vectors": rows}))
}

async fn vectors(nodes: &Nodes, index: &str) -> usize {
    let body = json!({"indexName": index, "maxResults": 1000});
    let listed = nodes.cluster.ok(0, &Call::post("vec", "listVectors", &body)).await.json();
    listed["vectors"].as_array().unwrap().len()
}

/// What a quota promises where two nodes write: no index alone exceeds it; together they do by what
/// the other node wrote since the last count at most, which is less than the quota; and once a node
/// has counted, it lets nothing more in.
#[tokio::test]
async fn a_quota_holds_over_two_nodes_as_far_as_they_have_counted() {
    const QUOTA: usize = 40;
    let nodes = Nodes::with(|config| {
        config.quotas.vectors_max = Some(QUOTA as u64);
        config.quotas.usage_age_max = Duration::from_secs(1);
    })
    .await;
    let mut owned: [Option<String>; 2] = [None, None];
    for number in 0..32 {
        let index = format!("i{number}");
        let body = json!({"indexName": index, "dataType": "float32", "dimension": 2,
                          "distanceMetric": "euclidean"});
        nodes.cluster.ok(0, &Call::post("vec", "putVectorIndex", &body)).await;
        let owner = nodes.cluster.owner("vec", &index).await;
        owned[owner].get_or_insert(index);
        if owned.iter().all(Option::is_some) {
            break;
        }
    }
    let owned = owned.map(|index| index.expect("both nodes own some of 32 indexes"));
    let mut refused = [false; 2];
    let mut written = [0; 2];
    for turn in 0..200 {
        for (at, index) in owned.iter().enumerate() {
            // Through the node that does not own it: where it is carried out it is counted.
            let answer = nodes.cluster.send(1 - at, &put_five(index, turn)).await;
            if answer.status == 200 {
                assert!(!refused[at], "node {at} refused before");
                written[at] += 5;
            } else {
                answer.check_error(400, "VectorIndexParameterInvalid", "0900-00000617");
                refused[at] = true;
            }
        }
        if refused == [true; 2] && turn > 2 * QUOTA {
            break;
        }
    }
    assert_eq!(refused, [true; 2]);
    assert!(written.iter().all(|written| *written <= QUOTA), "{written:?}");
    assert!((QUOTA..2 * QUOTA).contains(&(written[0] + written[1])), "{written:?}");
    for (index, written) in owned.iter().zip(written) {
        assert_eq!(vectors(&nodes, index).await, written, "a refused batch writes nothing");
    }
}
