//! The admin API: who may order what, and what becomes of it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use common::orders::Order;
use common::people::{Keys, allow, with_people};
use common::{ACCOUNT, Call, OTHER_ACCOUNT, SECRET, TestServer};
use serde_json::{Value, json};
use tempfile::TempDir;
use vb_server::{AuditOutput, Rate, Secret};

const TOKEN: &str = "admin-token-1-ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
const OLD_TOKEN: &str = "admin-token-2-ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

struct Place {
    server: TestServer,
    root: Keys,
    dir: TempDir,
}

impl Place {
    /// A server with two accounts, two tokens, an audit file, and the index `vec/docs`.
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let server = TestServer::with(|config| {
            with_people(config, dir.path());
            config.admin_token = Secret::new(format!("{TOKEN}\n{OLD_TOKEN}"));
            config.audit.output = AuditOutput::File(dir.path().join("audit.jsonl"));
        })
        .await;
        server.index("vec", "docs", 2, "euclidean").await;
        Self { server, root: Keys::root(), dir }
    }

    async fn by_root(&self, operation: &str, given: Value) -> Value {
        self.server.ordered(&self.root, operation, &given).await
    }

    /// A user with a key and these rights.
    async fn user(&self, user: &str, actions: &[&str], resources: &[&str]) -> Keys {
        self.by_root("user/create", json!({"user": user})).await;
        let document = allow(actions, resources);
        let inline = json!({"policy": "own", "user": user, "document": document});
        self.by_root("policy/put-inline", inline).await;
        keys(&self.by_root("key/create", json!({"user": user})).await)
    }

    /// The lines of the audit about orders, once the server has ended.
    async fn audited(self) -> Vec<Value> {
        let Self { server, dir, .. } = self;
        server.handle.shutdown().await.unwrap();
        let text = std::fs::read_to_string(dir.path().join("audit.jsonl")).unwrap();
        for secret in [TOKEN, OLD_TOKEN, SECRET] {
            assert!(!text.contains(secret));
        }
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let is_order = |line: &Value| {
            line["operation"].as_str().is_some_and(|operation| operation.starts_with("admin:"))
        };
        lines.filter(is_order).collect()
    }
}

fn keys(told: &Value) -> Keys {
    let text = |name: &str| told[name].as_str().map(str::to_owned);
    Keys {
        id: text("AccessKeyId").unwrap(),
        secret: text("AccessKeySecret").unwrap(),
        token: text("SecurityToken"),
    }
}

fn list() -> Call {
    Call::post("vec", "listVectors", &json!({"indexName": "docs"}))
}

#[tokio::test]
async fn a_root_manages_its_account_while_the_service_runs() {
    let place = Place::new().await;
    let server = &place.server;
    let alice = place.user("alice", &["oss:ListVectors"], &["*"]).await;
    assert_eq!(server.send(&alice.sign(&list())).await.status, 200);
    let users = place.by_root("user/list", json!({})).await;
    assert_eq!((&users[0]["user"], &users[0]["policies"]), (&json!("alice"), &json!(["own*"])));
    let shown = place.by_root("account/show", json!({})).await;
    assert!(!shown.to_string().contains(&alice.secret), "{shown}");
    let key = json!({"user": "alice", "key": alice.id});
    place.by_root("key/disable", key.clone()).await;
    server.send(&alice.sign(&list())).await.check_error(403, "InvalidAccessKeyId", "0002-00000903");
    place.by_root("key/enable", key).await;
    let limit = json!({"user": "alice", "key": alice.id, "networks": ["192.0.2.0/24"]});
    place.by_root("key/limit", limit).await;
    assert_eq!(server.send(&alice.sign(&list())).await.status, 403);
    // Groups and attached policies: a document may be an object.
    let document = serde_json::from_str::<Value>(&allow(&["oss:GetVectorBucket"], &["*"])).unwrap();
    place.by_root("policy/create", json!({"policy": "sees", "document": document})).await;
    place.by_root("group/create", json!({"group": "team"})).await;
    place.by_root("policy/attach", json!({"policy": "sees", "group": "team"})).await;
    let bob = place.user("bob", &["oss:ListVectors"], &["*"]).await;
    let bucket = Call::new("GET", "vec", "bucketInfo");
    assert_eq!(server.send(&bob.sign(&bucket)).await.status, 403);
    place.by_root("group/add", json!({"group": "team", "user": "bob"})).await;
    assert_eq!(server.send(&bob.sign(&bucket)).await.status, 200);
    let explain = json!({"caller": "user:bob", "action": "oss:PutVectors", "resource": "vec/docs"});
    assert_eq!(place.by_root("policy/explain", explain).await["allowed"], false);
    place.by_root("user/delete", json!({"user": "bob", "force": true})).await;
    assert_eq!(server.send(&bob.sign(&bucket)).await.status, 403);
}

#[tokio::test]
async fn a_root_that_is_shut_out_of_a_bucket_gets_in_again() {
    let place = Place::new().await;
    let text = json!({"Version": "1", "Statement": [{
        "Effect": "Deny", "Action": ["*"], "Resource": ["*"], "Principal": ["*"],
        "Condition": {"NotIpAddress": {"acs:SourceIp": ["10.0.0.0/8"]}}}]});
    place.server.ok(&Call::new("PUT", "vec", "policy").with_body(text.to_string())).await;
    place.server.send(&list()).await.check_error(403, "AccessDenied", "0003-00000101");
    place.by_root("bucket/drop-policy", json!({"bucket": "vec"})).await;
    assert_eq!(place.server.send(&list()).await.status, 200);
    let none = json!({"bucket": "none"});
    place.server.order_refused(&place.root, "bucket/drop-policy", &none, "NoSuchBucket").await;
}

#[tokio::test]
async fn an_address_that_fails_too_often_is_refused_unheard() {
    let server = TestServer::with(|config| {
        config.admin_token = Secret::new(TOKEN);
        config.rates.source_failures =
            Some(Rate { count: 1, per: Duration::from_secs(3600), burst: 3 });
    })
    .await;
    let order = |token: &str| Order::new("account/list", &json!({})).token(token);
    assert_eq!(server.order(&order(TOKEN)).await.status, 200);
    let wrong_root = Keys { secret: "wrong".into(), ..Keys::root() };
    server.refuses(&order("x"), "InvalidToken").await;
    server.order_refused(&wrong_root, "user/list", &json!({}), "SignatureDoesNotMatch").await;
    server.refuses(&order("y"), "InvalidToken").await;
    for token in ["x", TOKEN] {
        server.refuses(&order(token), "TooManyFailures").await;
    }
    // Who fails to administer may have right keys for data.
    server.index("vec", "docs", 2, "euclidean").await;
}

#[tokio::test]
async fn tokens_operate_the_whole_store() {
    let place = Place::new().await;
    let server = &place.server;
    for token in [TOKEN, OLD_TOKEN] {
        let of_other = json!({"account": OTHER_ACCOUNT, "user": format!("u{}", token.len())});
        let answer = server.order(&Order::new("user/create", &of_other).token(token)).await;
        // The second finds the name taken: it was let in.
        assert!(matches!(answer.status, 200 | 409), "{answer:?}");
    }
    let list = server.order(&Order::new("account/list", &json!({})).token(TOKEN)).await;
    assert_eq!(list.json()[0]["account"], OTHER_ACCOUNT);
    let suspend = Order::new("account/suspend", &json!({"account": OTHER_ACCOUNT})).token(TOKEN);
    assert_eq!(server.order(&suspend).await.status, 200);
    let other = Keys::other_root();
    server.order_refused(&other, "user/list", &json!({}), "UserDisable").await;
    for operation in ["account/list", "account/suspend", "account/delete", "ring/rekey"] {
        server.order_refused(&place.root, operation, &json!({}), "AccessDenied").await;
    }
    let quotas = json!({"buckets": 3, "vectors": 1_000_000});
    server.order_refused(&place.root, "account/quotas", &quotas, "AccessDenied").await;
    let set = Order::new("account/quotas", &quotas).token(TOKEN);
    assert_eq!(server.order(&set).await.status, 200);
    let shown = place.by_root("account/show", json!({})).await;
    assert_eq!(shown["quotas"]["buckets"], 3);
    for wrong in ["", "x", &TOKEN[1..], &format!("{TOKEN}x")] {
        let order = Order::new("account/list", &json!({})).token(wrong);
        server.refuses(&order, "InvalidToken").await;
    }
    // A token is nobody that a role could trust.
    let role =
        json!({"RoleArn": format!("acs:ram::{ACCOUNT}:role/r"), "RoleSessionName": "session"});
    let assume = Order::new("sts/assume-role", &role).token(TOKEN);
    server.refuses(&assume, "AuthenticationRequired").await;
}

#[tokio::test]
async fn users_do_what_their_policies_name_and_nothing_else() {
    let place = Place::new().await;
    let server = &place.server;
    let own = format!("acs:ram:*:{ACCOUNT}:user/alice");
    let alice = place.user("alice", &["vectorbucket:AdminKeys"], &[&own]).await;
    place.user("bob", &["oss:*"], &["*"]).await;
    let second = server.ordered(&alice, "key/create", &json!({"user": "alice"})).await;
    let old = json!({"user": "alice", "key": alice.id});
    server.ordered(&keys(&second), "key/delete", &old).await;
    let alice = keys(&second);
    for (operation, given) in [
        ("key/create", json!({"user": "bob"})),
        ("user/list", json!({})),
        ("user/create", json!({"user": "eve"})),
        ("policy/put-inline", json!({"policy": "p", "user": "alice", "document": {}})),
        ("session/revoke", json!({"user": "alice"})),
        ("bucket/drop-policy", json!({"bucket": "vec"})),
        ("account/block-public-access", json!({"block": false})),
        ("account/list", json!({})),
    ] {
        server.order_refused(&alice, operation, &given, "AccessDenied").await;
    }
    // Both what is attached and what it is attached to count.
    let half = place.user("half", &["vectorbucket:AdminPolicies"], &["acs:ram:*:*:user/*"]).await;
    let document = allow(&["*"], &["*"]);
    place.by_root("policy/create", json!({"policy": "all", "document": document})).await;
    let attach = json!({"policy": "all", "user": "half"});
    server.order_refused(&half, "policy/attach", &attach, "AccessDenied").await;
    // All of an account is not another's.
    let boss = place.user("boss", &["*"], &["*"]).await;
    server.ordered(&boss, "user/list", &json!({})).await;
    let other = json!({"account": OTHER_ACCOUNT});
    let nobody = json!({"account": "1111222233334444"});
    for keys in [&boss, &place.root] {
        server.order_refused(keys, "user/list", &other, "AccessDenied").await;
        server.order_refused(keys, "user/list", &nobody, "AccessDenied").await;
    }
    let lines = place.audited().await;
    let denied = lines.iter().find(|line| line["decision"] == "deny").unwrap();
    assert_eq!(denied["operation"], "admin:key/create");
    assert_eq!(denied["principal"]["name"], "alice");
    assert_eq!(denied["arguments"], json!({"user": "bob"}));
    assert_eq!(
        (&denied["reason"], &denied["code"]),
        (&json!("not_granted"), &json!("AccessDenied"))
    );
}

#[tokio::test]
async fn signatures_cover_operation_and_body() {
    let place = Place::new().await;
    let server = &place.server;
    let given = json!({"user": "alice"});
    let good = Order::new("user/create", &given).signed(&place.root);
    let unsigned = Order::new("user/create", &given);
    let cases: Vec<(Order, &str)> = vec![
        (unsigned.clone(), "AuthenticationRequired"),
        (good.clone().with(|o| o.signed_operation = "user/list".into()), "SignatureDoesNotMatch"),
        (good.clone().with(|o| o.signed_operation = "vec".into()), "SignatureDoesNotMatch"),
        (good.clone().with(|o| o.digest = Some("UNSIGNED-PAYLOAD".into())), "UnsignedBody"),
        (good.clone().with(|o| o.shift = -1000), "RequestTimeTooSkewed"),
        (good.clone().with(|o| o.query = "force=true".into()), "InvalidRequest"),
        (good.clone().with(|o| o.operation = "user/destroy".into()), "UnknownOperation"),
        (good.clone().with(|o| o.operation = "session/open".into()), "LocalOnly"),
        (good.clone().with(|o| o.method = "PUT".into()), "MethodNotAllowed"),
        (
            good.clone().with(|o| o.keys.as_mut().unwrap().secret = "wrong-secret".into()),
            "SignatureDoesNotMatch",
        ),
        (
            good.clone().with(|o| o.keys.as_mut().unwrap().id = "LTAInobody".into()),
            "InvalidAccessKeyId",
        ),
        (good.clone().with(|o| o.body = b"{".to_vec()), "InvalidRequest"),
        (good.clone().with(|o| o.body = b"[]".to_vec()), "InvalidRequest"),
        (good.clone().with(|o| o.body = vec![b' '; (64 << 10) + 1]), "BodyTooLarge"),
    ];
    for (order, code) in cases {
        server.refuses(&order, code).await;
    }
    // Another body than was signed.
    let digest = vb_api::admin::body_digest(&good.body);
    let swapped = good.clone().with(|o| {
        o.digest = Some(digest);
        o.body = json!({"user": "mallory"}).to_string().into_bytes();
    });
    let answer = server.order(&swapped).await;
    assert_eq!(answer.status, 400, "{answer:?}");
    assert_eq!(place.by_root("user/list", json!({})).await, json!([]));
    assert_eq!(server.order(&good).await.status, 200);
}

#[tokio::test]
async fn roles_are_assumed_by_whoever_they_trust() {
    let place = Place::new().await;
    let server = &place.server;
    let alice = place.user("alice", &["sts:AssumeRole"], &["*"]).await;
    let bob = place.user("bob", &["sts:AssumeRole"], &["*"]).await;
    let eve = place.user("eve", &["oss:*"], &["*"]).await;
    let trust = json!({"Version": "1", "Statement": [{"Effect": "Allow",
        "Action": "sts:AssumeRole", "Principal": {"RAM": [
            format!("acs:ram::{ACCOUNT}:user/alice"), format!("acs:ram::{ACCOUNT}:user/eve")]}}]});
    place.by_root("role/create", json!({"role": "reader", "trust": trust})).await;
    let reads = allow(&["oss:ListVectors", "oss:GetVectors"], &["*"]);
    let inline = json!({"policy": "reads", "role": "reader", "document": reads});
    place.by_root("policy/put-inline", inline).await;
    let asked = |extra: Value| {
        let mut asked = json!({
            "RoleArn": format!("acs:ram::{ACCOUNT}:role/reader"), "RoleSessionName": "nightly"});
        for (name, value) in extra.as_object().unwrap() {
            asked[name] = value.clone();
        }
        asked
    };
    let told =
        server.ordered(&alice, "sts/assume-role", &asked(json!({"DurationSeconds": 900}))).await;
    let arn = format!("acs:ram::{ACCOUNT}:assumed-role/reader/nightly");
    assert_eq!(told["AssumedRoleUser"]["Arn"], arn);
    let session = keys(&told["Credentials"]);
    assert_eq!(server.send(&session.sign(&list())).await.status, 200);
    let narrow = asked(json!({"Policy": allow(&["oss:GetVectors"], &["*"])}));
    let narrowed = server.ordered(&alice, "sts/assume-role", &narrow).await;
    let narrowed = keys(&narrowed["Credentials"]);
    assert_eq!(server.send(&narrowed.sign(&list())).await.status, 403);
    for (keys, given, code) in [
        (&bob, asked(json!({})), "NoPermission"),
        (&eve, asked(json!({})), "NoPermission"),
        (&Keys::other_root(), asked(json!({})), "NoPermission"),
        (&alice, asked(json!({"RoleArn": format!("acs:ram::{ACCOUNT}:role/none")})), "NoSuchRole"),
        (
            &alice,
            asked(json!({"RoleArn": format!("acs:ram::{OTHER_ACCOUNT}:role/none")})),
            "NoPermission",
        ),
        (&alice, asked(json!({"RoleArn": "reader"})), "InvalidRequest"),
        (&alice, asked(json!({"DurationSeconds": 899})), "InvalidDuration"),
        (&alice, asked(json!({"DurationSeconds": 3601})), "InvalidDuration"),
        (&alice, asked(json!({"RoleSessionName": "a b"})), "InvalidSessionName"),
        (&alice, asked(json!({"Policy": "{}"})), "InvalidPolicyDocument"),
    ] {
        server.order_refused(keys, "sts/assume-role", &given, code).await;
    }
    // A session has no right to administer that its role does not have, and ends when it is revoked.
    server.order_refused(&session, "user/list", &json!({}), "AccessDenied").await;
    place.by_root("session/revoke", json!({"role": "reader"})).await;
    server.send(&session.sign(&list())).await.check_error(
        403,
        "InvalidSecurityToken",
        "0002-00000006",
    );
    server.order_refused(&session, "user/list", &json!({}), "InvalidSecurityToken").await;
}

#[tokio::test]
async fn every_order_is_audited_without_documents_and_secrets() {
    let place = Place::new().await;
    let alice = place.user("alice", &["vectorbucket:AdminRead"], &["*"]).await;
    place.server.ordered(&alice, "user/list", &json!({})).await;
    let order = Order::new("account/list", &json!({})).token(TOKEN);
    assert_eq!(place.server.order(&order).await.status, 200);
    place.server.refuses(&Order::new("account/list", &json!({})).token("x"), "InvalidToken").await;
    let broken = json!({"policy": "p", "document": "{}"});
    place
        .server
        .order_refused(&place.root, "policy/create", &broken, "InvalidPolicyDocument")
        .await;
    let lines = place.audited().await;
    let operations: Vec<&str> =
        lines.iter().map(|line| line["operation"].as_str().unwrap()).collect();
    assert_eq!(
        operations,
        [
            "admin:user/create",
            "admin:policy/put-inline",
            "admin:key/create",
            "admin:user/list",
            "admin:account/list",
            "admin:account/list",
            "admin:policy/create"
        ]
    );
    assert_eq!(lines[0]["arguments"], json!({"user": "alice"}));
    assert_eq!((&lines[0]["decision"], &lines[0]["reason"]), (&json!("allow"), &json!("owner")));
    assert_eq!((&lines[0]["status"], &lines[0]["account"]), (&json!(200), &json!(ACCOUNT)));
    let document = lines[1]["arguments"]["document"].as_str().unwrap();
    assert!(document.ends_with(" bytes"), "{document}");
    assert_eq!(
        lines[3]["statement"],
        format!("RAM policy acs:ram::{ACCOUNT}:user/alice/own, Statement[0]")
    );
    assert_eq!(lines[4]["principal"]["type"], "operator");
    assert_eq!(lines[4]["principal"]["token"].as_str().unwrap().len(), 8);
    assert_eq!((&lines[5]["principal"], &lines[5]["decision"]), (&Value::Null, &json!("none")));
    assert_eq!(lines[6]["code"], "InvalidPolicyDocument");
    for line in &lines {
        assert!(!line.to_string().contains(&alice.secret));
    }
}

#[tokio::test]
async fn weak_tokens_are_refused_at_start() {
    let mut config = common::config();
    config.admin_token = Secret::new("hunter2");
    let failure = vb_server::Server::start(&config).await.err().unwrap();
    assert_eq!(failure.code(), 4);
    let text = failure.to_string();
    assert!(text.contains("token generate") && !text.contains("hunter2"), "{text}");
}

#[tokio::test]
async fn a_ring_that_opens_nothing_stops_the_start_and_one_that_opens_some_is_told_of() {
    let dir = tempfile::tempdir().unwrap();
    let server = TestServer::with(|config| {
        with_people(config, dir.path());
        config.store = vb_server::StoreUrl::Local(dir.path().join("store"));
    })
    .await;
    let root = Keys::root();
    server.ordered(&root, "user/create", &json!({"user": "alice"})).await;
    server.ordered(&root, "key/create", &json!({"user": "alice"})).await;
    assert_eq!(server.admin("/readyz").await.text(), "ready\n");
    let TestServer { handle, mut config, .. } = server;
    handle.shutdown().await.unwrap();
    let (own, two) = (config.key_ring.clone(), "two:EAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
    config.key_ring = Secret::new(two);
    let failure = vb_server::Server::start(&config).await.err().unwrap();
    assert_eq!(failure.code(), 4);
    assert!(failure.to_string().contains("opens none of the 1 access keys"), "{failure}");
    // The newest entry seals; when it is taken out again, what it sealed is lost and told of.
    config.key_ring = Secret::new(format!("{two} {}", own.reveal()));
    let handle = vb_server::Server::start(&config).await.unwrap();
    let server = TestServer { handle, config, dir: None };
    server.ordered(&root, "key/create", &json!({"user": "alice"})).await;
    let TestServer { handle, mut config, .. } = server;
    handle.shutdown().await.unwrap();
    config.key_ring = own;
    let handle = vb_server::Server::start(&config).await.unwrap();
    let server = TestServer { handle, config, dir: None };
    let ready = server.admin("/readyz").await;
    assert_eq!(ready.status, 200);
    assert!(ready.text().contains("warning: the key ring does not open 1 access keys"));
    let metrics = server.admin("/metrics").await;
    assert!(metrics.text().contains("vectorbucket_access_keys_unavailable 1"));
}
