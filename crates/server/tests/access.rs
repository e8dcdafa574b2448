//! Who may do what: identities and policies against a running server.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::people::{Keys, People, allow, name, statement, with_people};
use common::{ACCOUNT, Answer, Call, OTHER_ACCOUNT, TestServer};
use serde_json::{Value, json};
use tempfile::TempDir;
use vb_api::oss::{Level, Operation};
use vb_identity::{Action, Holder, KeyId, Networks, Sessions};
use vb_server::Config;

const NOT_GRANTED: &str = "0003-00000202";
const ANONYMOUS: &str = "0003-00000001";

struct World {
    server: TestServer,
    _dir: TempDir,
}

impl World {
    /// Bucket `vec` with the indexes `docs` and `other`, each with the vector `k`.
    async fn start() -> Self {
        Self::with(|_| ()).await
    }

    async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let server = TestServer::with(|config| {
            with_people(config, dir.path());
            change(config);
        })
        .await;
        server.bucket("vec").await;
        for index in ["docs", "other"] {
            server.ok(&put_index(index)).await;
            server.ok(&put("vec", index)).await;
        }
        Self { server, _dir: dir }
    }

    fn people(&self) -> People<'_> {
        People(self.server.handle.identities())
    }

    async fn send(&self, keys: &Keys, call: &Call) -> Answer {
        self.server.send(&keys.sign(call)).await
    }

    async fn policy(&self, text: &str) -> Answer {
        self.server.send(&Call::new("PUT", "vec", "policy").with_body(text)).await
    }

    /// What the root finds: nothing was changed.
    async fn check_untouched(&self) {
        let ok = |call: Call| async move { self.server.ok(&call).await.json() };
        for query in ["logging", "tagging"] {
            let text = ok(Call::new("GET", "vec", query)).await.to_string();
            assert!(!text.contains("Target") && !text.contains("Key"), "{query}: {text}");
        }
        assert_eq!(self.server.send(&Call::new("GET", "vec", "policy")).await.status, 404);
        let list = ok(Call::post("vec", "listVectorIndexes", &json!({}))).await;
        let names: Vec<&Value> =
            list["indexes"].as_array().unwrap().iter().map(|i| &i["indexName"]).collect();
        assert_eq!(names, ["docs", "other"]);
        for index in ["docs", "other"] {
            let rows = ok(Call::post("vec", "listVectors", &json!({"indexName": index}))).await;
            assert_eq!(rows["vectors"].as_array().unwrap().len(), 1, "{rows}");
        }
        let buckets = ok(Call::account("GET", "")).await;
        assert_eq!(buckets["ListAllMyBucketsResult"]["Buckets"].as_array().map(Vec::len), Some(1));
    }
}

fn put_index(index: &str) -> Call {
    let body = json!({"indexName": index, "dataType": "float32", "dimension": 2,
                      "distanceMetric": "euclidean"});
    Call::post("vec", "putVectorIndex", &body)
}

fn put(bucket: &str, index: &str) -> Call {
    let rows = json!([{"key": "k", "data": {"float32": [1.0, 2.0]}}]);
    Call::post(bucket, "putVectors", &json!({"indexName": index, "vectors": rows}))
}

fn query(bucket: &str, index: &str) -> Call {
    let body = json!({"indexName": index, "topK": 1, "queryVector": {"float32": [1.0, 2.0]}});
    Call::post(bucket, "queryVectors", &body)
}

fn get(bucket: &str, index: &str) -> Call {
    Call::post(bucket, "getVectors", &json!({"indexName": index, "keys": ["k"]}))
}

/// A call of the operation that would change something, if it can.
fn call(operation: Operation, bucket: &str) -> Call {
    if operation.level() == Level::Account {
        return Call::account(operation.method(), operation.key());
    }
    let body = match operation {
        Operation::PutBucketPolicy => {
            json!({"Version": "1", "Statement": [{"Effect": "Allow", "Action": "*",
                   "Resource": "*", "Principal": [OTHER_ACCOUNT]}]})
        }
        Operation::PutBucketLogging => {
            json!({"BucketLoggingStatus": {"LoggingEnabled": {"TargetBucket": "logs"}}})
        }
        Operation::PutBucketTags => {
            json!({"Tagging": {"TagSet": {"Tag": [{"Key": "k", "Value": "v"}]}}})
        }
        Operation::PutVectorIndex => json!({"indexName": "new", "dataType": "float32",
                                            "dimension": 2, "distanceMetric": "cosine"}),
        Operation::PutVectors => json!({"indexName": "docs", "vectors": [
            {"key": "new", "data": {"float32": [1.0, 2.0]}}]}),
        Operation::DeleteVectors | Operation::GetVectors => {
            json!({"indexName": "docs", "keys": ["k"]})
        }
        Operation::QueryVectors => {
            json!({"indexName": "docs", "topK": 1, "queryVector": {"float32": [1.0, 2.0]}})
        }
        _ => json!({"indexName": "docs"}),
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

#[tokio::test]
async fn every_operation_is_refused_without_a_grant_and_tells_nothing() {
    let world = World::start().await;
    let people = world.people();
    people.role(ACCOUNT, "idle").await;
    people.role(OTHER_ACCOUNT, "idle").await;
    let mut callers = vec![
        ("user", people.user(ACCOUNT, "alice").await),
        ("session", people.session(ACCOUNT, "idle", None).await),
        ("other root", Keys::other_root()),
        ("other user", people.user(OTHER_ACCOUNT, "carol").await),
        ("other session", people.session(OTHER_ACCOUNT, "idle", None).await),
    ];
    // What somebody may do at home opens no door abroad.
    let all = allow(&["*"], &["*"]);
    people.grant(OTHER_ACCOUNT, Holder::User(name("carol")), &all).await;
    people.grant(OTHER_ACCOUNT, Holder::Role(name("idle")), &all).await;
    callers.push(("anonymous", Keys::root()));
    let mut refused = 0;
    for (who, keys) in &callers {
        for operation in Operation::ALL {
            // Everybody may list what is in an account of their own.
            if *operation == Operation::ListVectorBuckets && who.starts_with("other") {
                continue;
            }
            let (signed, ec) = match *who {
                "anonymous" => (false, ANONYMOUS),
                _ => (true, NOT_GRANTED),
            };
            let mut answers = Vec::new();
            for bucket in ["vec", "gone"] {
                let call = call(*operation, bucket).with(|call| call.signed = signed);
                let answer = match signed {
                    true => world.send(keys, &call).await,
                    false => world.server.send(&call).await,
                };
                answer.check_error(403, "AccessDenied", ec);
                answers.push(told(&answer, bucket));
                refused += 1;
            }
            assert_eq!(answers[0], answers[1], "{who} {operation:?}");
        }
    }
    assert!(refused > 6 * 2 * 20, "{refused}");
    world.check_untouched().await;
}

#[tokio::test]
async fn a_refused_body_is_not_asked_for() {
    let world = World::start().await;
    let alice = world.people().user(ACCOUNT, "alice").await;
    let large = put("vec", "docs")
        .with_header("Expect", "100-continue")
        .with_header("Content-Length", "40000000")
        .with(|call| call.body.clear());
    let mut connection = world.server.connect().await;
    connection.write(&alice.sign(&large).head()).await;
    connection.answer("POST").await.check_error(403, "AccessDenied", NOT_GRANTED);
    // A grant on any index of the bucket lets the server look which one is meant.
    world
        .people()
        .grant_user("alice", &allow(&["oss:PutVectors"], &["acs:ossvector:*:*:vec/docs/*"]))
        .await;
    let mut connection = world.server.connect().await;
    connection.write(&alice.sign(&large).head()).await;
    assert_eq!(connection.answer("POST").await.status, 100);
}

#[tokio::test]
async fn a_user_reaches_the_indexes_it_was_granted() {
    let world = World::start().await;
    let people = world.people();
    let alice = people.user(ACCOUNT, "alice").await;
    let docs = ["acs:ossvector:*:*:vec/docs/*", "acs:ossvector:*:*:gone/docs/*"];
    people.grant_user("alice", &allow(&["oss:PutVectors", "ossvector:query*"], &docs)).await;
    assert_eq!(world.send(&alice, &put("vec", "docs")).await.status, 200);
    assert_eq!(world.send(&alice, &query("vec", "docs")).await.status, 200);
    let denied = world.send(&alice, &query("vec", "other")).await;
    denied.check_error(403, "AccessDenied", NOT_GRANTED);
    let error = &denied.json()["Error"];
    assert_eq!(error["AuthAction"], "oss:QueryVectors");
    assert_eq!(error["NoPermissionType"], "ImplicitDeny");
    assert_eq!(error["PolicyType"], "AccountLevelIdentityBasedPolicy");
    let absent = world.send(&alice, &query("vec", "absent")).await;
    absent.check_error(403, "AccessDenied", NOT_GRANTED);
    world.send(&alice, &get("vec", "docs")).await.check_error(403, "AccessDenied", NOT_GRANTED);
    // The index itself is another resource than its vectors.
    let index = Call::post("vec", "getVectorIndex", &json!({"indexName": "docs"}));
    world.send(&alice, &index).await.check_error(403, "AccessDenied", NOT_GRANTED);
    let gone = world.send(&alice, &query("gone", "docs")).await;
    gone.check_error(404, "NoSuchBucket", "0015-00000101");
    people.grant_user("alice", &allow(&["oss:*"], &["acs:ossvector:*:*:vec/docs"])).await;
    assert_eq!(world.send(&alice, &index).await.status, 200);
    world.send(&alice, &put("vec", "docs")).await.check_error(403, "AccessDenied", NOT_GRANTED);
}

#[tokio::test]
async fn lists_and_buckets_are_rights_of_their_own() {
    let world = World::start().await;
    let people = world.people();
    let alice = people.user(ACCOUNT, "alice").await;
    people.grant_user("alice", &allow(&["oss:ListVectorBuckets"], &["*"])).await;
    assert_eq!(world.send(&alice, &Call::account("GET", "")).await.status, 200);
    let new = Call::new("PUT", "new", "");
    world.send(&alice, &new).await.check_error(403, "AccessDenied", NOT_GRANTED);
    people.grant_user("alice", &allow(&["oss:PutVectorBucket"], &["acs:ossvector:*:*:new"])).await;
    assert_eq!(world.send(&alice, &new).await.status, 200);
    let other = Call::new("PUT", "newer", "");
    world.send(&alice, &other).await.check_error(403, "AccessDenied", NOT_GRANTED);
    world.send(&alice, &Call::account("GET", "")).await.check_error(
        403,
        "AccessDenied",
        NOT_GRANTED,
    );
}

#[tokio::test]
async fn a_log_target_needs_a_right_of_its_own() {
    let world = World::start().await;
    let people = world.people();
    let alice = people.user(ACCOUNT, "alice").await;
    let put = call(Operation::PutBucketLogging, "vec");
    people.grant_user("alice", &allow(&["oss:PutBucketLogging"], &["*"])).await;
    let denied = world.send(&alice, &put).await;
    denied.check_error(403, "AccessDenied", NOT_GRANTED);
    assert_eq!(denied.json()["Error"]["AuthAction"], "oss:PutObject");
    let both = ["oss:PutBucketLogging", "oss:PutObject"];
    people.grant_user("alice", &allow(&both, &["*"])).await;
    assert_eq!(world.send(&alice, &put).await.status, 200);
}

/// A bucket policy of statements.
fn bucket_policy(statements: &[Value]) -> String {
    json!({"Version": "1", "Statement": statements}).to_string()
}

fn for_principal(effect: &str, action: &str, principal: &str) -> Value {
    json!({"Effect": effect, "Action": [action], "Resource": ["*"], "Principal": [principal]})
}

#[tokio::test]
async fn bucket_policies_grant_across_accounts_and_deny_at_home() {
    let world = World::start().await;
    let people = world.people();
    let alice = people.user(ACCOUNT, "alice").await;
    let carol = people.user(OTHER_ACCOUNT, "carol").await;
    let (alice_id, carol_id) = (people.uid(ACCOUNT, "alice"), people.uid(OTHER_ACCOUNT, "carol"));
    // That the bucket was asked for before it has a policy must not be remembered.
    assert_eq!(world.send(&carol, &query("vec", "docs")).await.status, 403);
    let text = bucket_policy(&[
        for_principal("Allow", "oss:QueryVectors", &carol_id),
        for_principal("Deny", "oss:DeleteVectors", &alice_id),
    ]);
    assert_eq!(world.policy(&text).await.status, 200);
    assert_eq!(world.send(&carol, &query("vec", "docs")).await.status, 200);
    world.send(&carol, &put("vec", "docs")).await.check_error(403, "AccessDenied", NOT_GRANTED);
    let delete = call(Operation::DeleteVectors, "vec");
    world.send(&alice, &delete).await.check_error(403, "AccessDenied", "0003-00000101");
    people.grant_user("alice", &allow(&["oss:*"], &["*"])).await;
    world.send(&alice, &delete).await.check_error(403, "AccessDenied", "0003-00000101");
    assert_eq!(world.send(&alice, &query("vec", "docs")).await.status, 200);
    people.grant_user("alice", &statement("Deny", &["oss:*"], &["*"])).await;
    world.send(&alice, &delete).await.check_error(403, "AccessDenied", "0003-00000203");
    let denied = world.send(&alice, &query("vec", "docs")).await;
    denied.check_error(403, "AccessDenied", "0003-00000201");
    assert_eq!(denied.json()["Error"]["NoPermissionType"], "ExplicitDeny");
}

#[tokio::test]
async fn everybody_gets_in_only_where_that_is_not_blocked() {
    let world = World::start().await;
    let open = bucket_policy(&[for_principal("Allow", "oss:QueryVectors", "*")]);
    world.policy(&open).await.check_error(403, "AccessDenied", "0900-00000105");
    assert_eq!(world.server.send(&Call::new("GET", "vec", "policy")).await.status, 404);
    let block = |block| Action::SetBlockPublicAccess { block: Some(block) };
    world.people().run(ACCOUNT, block(false)).await;
    let anonymous = query("vec", "docs").with(|call| call.signed = false);
    world.server.send(&anonymous).await.check_error(403, "AccessDenied", ANONYMOUS);
    assert_eq!(world.policy(&open).await.status, 200);
    assert_eq!(world.server.send(&anonymous).await.status, 200);
    assert_eq!(world.send(&Keys::other_root(), &query("vec", "docs")).await.status, 200);
    let put = put("vec", "docs").with(|call| call.signed = false);
    world.server.send(&put).await.check_error(403, "AccessDenied", ANONYMOUS);
    world.people().run(ACCOUNT, block(true)).await;
    world.server.send(&anonymous).await.check_error(403, "AccessDenied", ANONYMOUS);
    let other = world.send(&Keys::other_root(), &query("vec", "docs")).await;
    other.check_error(403, "AccessDenied", NOT_GRANTED);
}

#[tokio::test]
async fn a_conditional_deny_binds_the_owner_too() {
    let world = World::start().await;
    let text = json!({"Version": "1", "Statement": [{
        "Effect": "Deny", "Action": ["oss:QueryVectors"], "Resource": ["*"], "Principal": ["*"],
        "Condition": {"NotIpAddress": {"acs:SourceIp": ["10.0.0.0/8"]}}}]});
    assert_eq!(world.policy(&text.to_string()).await.status, 200);
    let denied = world.server.send(&query("vec", "docs")).await;
    denied.check_error(403, "AccessDenied", "0003-00000101");
    assert_eq!(world.server.send(&put("vec", "docs")).await.status, 200);
}

#[tokio::test]
async fn sessions_have_their_roles_rights_narrowed() {
    let world = World::start().await;
    let people = world.people();
    people.role(ACCOUNT, "reader").await;
    let reads = allow(&["oss:GetVectors", "oss:QueryVectors"], &["*"]);
    people.grant(ACCOUNT, Holder::Role(name("reader")), &reads).await;
    let whole = people.session(ACCOUNT, "reader", None).await;
    let only_get = allow(&["oss:GetVectors"], &["*"]);
    let narrow = people.session(ACCOUNT, "reader", Some(&only_get)).await;
    for (keys, query_status) in [(&whole, 200), (&narrow, 403)] {
        assert_eq!(world.send(keys, &get("vec", "docs")).await.status, 200);
        assert_eq!(world.send(keys, &query("vec", "docs")).await.status, query_status);
    }
    let denied = world.send(&narrow, &query("vec", "docs")).await;
    denied.check_error(403, "AccessDenied", "0003-00000301");
    // Tokens: of another key, changed, missing, with a key that has none.
    let with_token = |keys: &Keys, token: Option<String>| Keys { token, ..keys.clone() };
    let mixed = world.send(&with_token(&whole, narrow.token.clone()), &get("vec", "docs")).await;
    mixed.check_error(403, "AccessKeyIdAndSecurityTokenNotMatch", "0900-00000103");
    let mut changed = whole.token.clone().unwrap();
    changed.replace_range(20..21, if &changed[20..21] == "A" { "B" } else { "A" });
    let invalid = world.send(&with_token(&whole, Some(changed)), &get("vec", "docs")).await;
    invalid.check_error(403, "InvalidSecurityToken", "0002-00000006");
    let missing = world.send(&with_token(&whole, None), &get("vec", "docs")).await;
    missing.check_error(403, "AccessDenied", "0002-00000005");
    let root = with_token(&Keys::root(), whole.token.clone());
    let answer = world.send(&root, &get("vec", "docs")).await;
    answer.check_error(403, "InvalidSecurityToken", "0002-00000006");
    people.run(ACCOUNT, Action::RevokeSessions { of: Sessions::OfRole(name("reader")) }).await;
    let revoked = world.send(&whole, &get("vec", "docs")).await;
    revoked.check_error(403, "InvalidSecurityToken", "0002-00000006");
}

#[tokio::test]
async fn keys_can_be_disabled_and_bound_to_networks() {
    let world = World::start().await;
    let people = world.people();
    let alice = people.user(ACCOUNT, "alice").await;
    people.grant_user("alice", &allow(&["oss:*"], &["*"])).await;
    let (user, key) = (name("alice"), KeyId::parse(&alice.id).unwrap());
    let call = query("vec", "docs");
    assert_eq!(world.send(&alice, &call).await.status, 200);
    for (networks, status) in [("10.0.0.0/8", 403), ("127.0.0.0/8", 200)] {
        let networks = Networks::parse([networks]).unwrap();
        let (user, key) = (user.clone(), key.clone());
        people.run(ACCOUNT, Action::LimitKey { user, key, networks }).await;
        let answer = world.send(&alice, &call).await;
        assert_eq!(answer.status, status);
        if status == 403 {
            answer.check_error(403, "InvalidAccessKeyId", "0002-00000904");
        }
    }
    let wrong = Keys { secret: "wrong".into(), ..alice.clone() };
    let answer = world.send(&wrong, &call).await;
    answer.check_error(403, "SignatureDoesNotMatch", "0002-00000040");
    people.run(ACCOUNT, Action::EnableKey { user, key, enabled: false }).await;
    let answer = world.send(&alice, &call).await;
    answer.check_error(403, "InvalidAccessKeyId", "0002-00000903");
    people.run(ACCOUNT, Action::SuspendAccount { suspended: true }).await;
    world.server.send(&call).await.check_error(403, "UserDisable", "0003-00000801");
}

#[tokio::test]
async fn identities_outlive_the_process() {
    let dir = tempfile::tempdir().unwrap();
    let mut server = TestServer::with(|config| {
        with_people(config, dir.path());
        config.store = vb_server::StoreUrl::Local(dir.path().join("store"));
    })
    .await;
    server.index("vec", "docs", 2, "euclidean").await;
    let people = People(server.handle.identities());
    let alice = people.user(ACCOUNT, "alice").await;
    people.grant_user("alice", &allow(&["oss:QueryVectors"], &["*"])).await;
    server = server.restart().await;
    assert_eq!(server.send(&alice.sign(&query("vec", "docs"))).await.status, 200);
    // Without the ring nobody but roots gets in.
    let TestServer { handle, mut config, .. } = server;
    handle.shutdown().await.unwrap();
    config.key_ring = vb_server::Secret::default();
    let handle = vb_server::Server::start(&config).await.unwrap();
    let server = TestServer { handle, config, dir: None };
    let answer = server.send(&alice.sign(&query("vec", "docs"))).await;
    answer.check_error(503, "ServiceUnavailable", "0900-00000702");
    assert_eq!(server.send(&query("vec", "docs")).await.status, 200);
}
