//! `vectorbucket admin`: what is made over a stopped service's folder works when it runs.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use common::people::{KEY_RING, Keys, allow, with_people};
use common::{ACCESS_KEY_ID, ACCOUNT, Call, SECRET, TestServer};
use serde_json::{Value, json};
use tempfile::TempDir;
use vb_server::StoreUrl;

struct Folder {
    dir: TempDir,
}

impl Folder {
    /// The folder of a service that has a bucket with an index and was stopped.
    async fn new() -> Self {
        let folder = Self { dir: tempfile::tempdir().unwrap() };
        let server = folder.serve().await;
        server.index("vec", "docs", 2, "euclidean").await;
        server.handle.shutdown().await.unwrap();
        folder
    }

    async fn serve(&self) -> TestServer {
        TestServer::with(|config| {
            with_people(config, self.dir.path());
            config.store = StoreUrl::Local(self.store());
        })
        .await
    }

    fn store(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command().arg("admin").args(arguments).output().unwrap()
    }

    /// Through the running service.
    fn ask(&self, server: &TestServer, keys: &Keys, arguments: &[&str]) -> Output {
        let mut command = self.command();
        command
            .env("VECTORBUCKET_ADMIN_URL", format!("http://{}", server.handle.admin_addr()))
            .env("OSS_ACCESS_KEY_ID", &keys.id)
            .env("OSS_ACCESS_KEY_SECRET", &keys.secret);
        if let Some(token) = &keys.token {
            command.env("OSS_SESSION_TOKEN", token);
        }
        command.args(arguments).output().unwrap()
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vectorbucket"));
        command
            .env_clear()
            .env("VECTORBUCKET_ACCOUNT_ID", ACCOUNT)
            .env("VECTORBUCKET_ROOT_ACCESS_KEY_ID", ACCESS_KEY_ID)
            .env("VECTORBUCKET_ROOT_ACCESS_KEY_SECRET", SECRET)
            .env("VECTORBUCKET_KEY_RING", KEY_RING)
            .env("VECTORBUCKET_STORE", self.store());
        command
    }

    #[track_caller]
    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[arguments, &["--json"]].concat());
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {stderr}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    #[track_caller]
    fn refused(&self, arguments: &[&str], code: i32, needle: &str) {
        let output = self.run(arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
        assert!(stderr.contains(needle), "{needle} missing in: {stderr}");
    }

    /// A file with this text.
    fn file(&self, name: &str, text: &str) -> String {
        let path: &Path = self.dir.path();
        let path = path.join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }
}

fn keys(told: &Value) -> Keys {
    Keys {
        id: told["AccessKeyId"].as_str().unwrap().to_owned(),
        secret: told["AccessKeySecret"].as_str().unwrap().to_owned(),
        token: told["SecurityToken"].as_str().map(str::to_owned),
    }
}

fn list() -> Call {
    Call::post("vec", "listVectors", &json!({"indexName": "docs"}))
}

#[tokio::test]
async fn users_and_their_keys_work_once_the_service_runs() {
    let folder = Folder::new().await;
    let policy = folder.file("policy.json", &allow(&["oss:ListVectors"], &["*"]));
    folder.json(&["user", "create", "alice", "--comment", "of the test"]);
    let key = folder.json(&["key", "create", "alice"]);
    folder.json(&["policy", "create", "lists", &policy]);
    folder.json(&["policy", "attach", "lists", "--user", "alice"]);
    let users = folder.json(&["user", "list"]);
    assert_eq!(users[0]["user"], "alice");
    assert_eq!(users[0]["policies"], json!(["lists"]));
    let shown = String::from_utf8(folder.run(&["account", "show"]).stdout).unwrap();
    let secret = key["AccessKeySecret"].as_str().unwrap();
    assert!(shown.contains("alice") && !shown.contains(secret), "{shown}");
    let server = folder.serve().await;
    let answer = server.send(&keys(&key).sign(&list())).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    folder.refused(&["user", "list"], 5, "in use");
    server.handle.shutdown().await.unwrap();
    folder.json(&["user", "disable", "alice"]);
    let server = folder.serve().await;
    let answer = server.send(&keys(&key).sign(&list())).await;
    answer.check_error(403, "InvalidAccessKeyId", "0002-00000903");
}

#[track_caller]
fn told(output: &Output) -> Value {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[track_caller]
fn failed(output: &Output, code: i32, needles: &[&str]) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    for needle in needles {
        assert!(stderr.contains(needle), "{needle} missing in: {stderr}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_service_is_asked_at_its_admin_address() {
    let folder = Folder::new().await;
    let server = folder.serve().await;
    let root = Keys::root();
    // Without an address the folder is needed, which the service has.
    failed(&folder.run(&["user", "list"]), 5, &["in use", "--endpoint"]);
    let ask = |keys: &Keys, line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        folder.ask(&server, keys, &[&["admin"][..], &words].concat())
    };
    told(&ask(&root, "user create alice --comment nightly --json"));
    let alice = keys(&told(&ask(&root, "key create alice --json")));
    let policy = folder.file("p.json", &allow(&["oss:ListVectors", "sts:AssumeRole"], &["*"]));
    told(&ask(&root, &format!("policy put-inline own {policy} --user alice --json")));
    assert_eq!(server.send(&alice.sign(&list())).await.status, 200);
    let listed = ask(&root, "user list");
    let text = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(text.contains("COMMENT") && text.contains("nightly"), "{text}");
    failed(&ask(&alice, "user list"), 1, &["AccessDenied", "vectorbucket:AdminRead", "next:"]);
    failed(&ask(&root, "user delete nobody"), 1, &["NoSuchUser", "user list"]);
    failed(&ask(&root, "user create no/name"), 1, &["InvalidRequest", "is no name"]);
    failed(&ask(&root, "session open r s"), 2, &["sts assume-role"]);
    // A session, as the SDKs' process providers read it.
    let principal = format!("acs:ram::{ACCOUNT}:user/alice");
    let trust = json!({"Version": "1", "Statement": [{"Effect": "Allow",
        "Action": "sts:AssumeRole", "Principal": {"RAM": [principal]}}]});
    let trust = folder.file("trust.json", &trust.to_string());
    told(&ask(&root, &format!("role create reader {trust} --json")));
    told(&ask(&root, &format!("policy put-inline own {policy} --role reader --json")));
    let arn = format!("acs:ram::{ACCOUNT}:role/reader");
    let assume = ["sts", "assume-role", "--role-arn", &arn, "--session-name", "nightly"];
    let session = keys(&told(&folder.ask(&server, &alice, &assume)));
    assert!(session.id.starts_with("STS.") && session.token.is_some());
    assert_eq!(server.send(&session.sign(&list())).await.status, 200);
    failed(&folder.ask(&server, &root, &assume), 1, &["NoPermission", "trust"]);
    let bucket_policy = ask(&root, "bucket drop-policy vec");
    assert_eq!(String::from_utf8_lossy(&bucket_policy.stdout), "done\n");
    server.handle.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_service_that_is_not_there_is_said() {
    let folder = Folder::new().await;
    let nobody = ["user", "list", "--endpoint", "http://127.0.0.1:1", "-i", "AK", "-k", "secret-1"];
    failed(&folder.run(&nobody), 3, &["no answer", "127.0.0.1:1"]);
    let far = ["user", "list", "--endpoint", "http://192.0.2.1:1", "-i", "AK", "-k", "secret-1"];
    failed(&folder.run(&far), 2, &["neither https nor this machine"]);
}

#[tokio::test]
async fn a_session_is_printed_as_credentials_providers_read_it() {
    let folder = Folder::new().await;
    let trust = json!({"Version": "1", "Statement": [{"Effect": "Allow",
        "Action": "sts:AssumeRole", "Principal": {"RAM": [format!("acs:ram::{ACCOUNT}:root")]}}]});
    let trust = folder.file("trust.json", &trust.to_string());
    let policy = folder.file("policy.json", &allow(&["oss:ListVectors"], &["*"]));
    folder.json(&["role", "create", "reader", &trust]);
    folder.json(&["policy", "put-inline", "reads", &policy, "--role", "reader"]);
    let output = folder.run(&["session", "open", "reader", "nightly", "--duration", "900"]);
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let expiration = told["Expiration"].as_str().unwrap();
    assert!(expiration.len() == 20 && expiration.ends_with('Z'), "{expiration}");
    let server = folder.serve().await;
    assert_eq!(server.send(&keys(&told).sign(&list())).await.status, 200);
}

#[tokio::test]
async fn a_policy_that_shuts_the_root_out_can_be_dropped_and_explained() {
    let folder = Folder::new().await;
    let server = folder.serve().await;
    let text = json!({"Version": "1", "Statement": [{
        "Effect": "Deny", "Action": ["*"], "Resource": ["*"], "Principal": ["*"],
        "Condition": {"NotIpAddress": {"acs:SourceIp": ["10.0.0.0/8"]}}}]});
    server.ok(&Call::new("PUT", "vec", "policy").with_body(text.to_string())).await;
    let delete = Call::new("DELETE", "vec", "policy");
    server.send(&delete).await.check_error(403, "AccessDenied", "0003-00000101");
    server.handle.shutdown().await.unwrap();
    let explain = |ip: &str| {
        folder.json(&[
            "policy",
            "explain",
            "root",
            "oss:ListVectors",
            "vec/docs",
            "--source-ip",
            ip,
        ])
    };
    let denied = explain("127.0.0.1");
    assert_eq!((&denied["allowed"], &denied["ec"]), (&json!(false), &json!("0003-00000101")));
    assert_eq!(denied["statement"], "bucket policy vec, Statement[0]");
    assert_eq!(explain("10.1.2.3")["allowed"], true);
    folder.json(&["bucket", "drop-policy", "vec"]);
    let server = folder.serve().await;
    assert_eq!(server.send(&list()).await.status, 200);
}

#[tokio::test]
async fn what_cannot_be_done_is_said() {
    let folder = Folder::new().await;
    folder.refused(&["user", "delete", "nobody"], 2, "");
    folder.refused(&["user", "create", "no/name"], 2, "is no name");
    folder.refused(&["policy", "attach", "p"], 2, "--user, --group and --role");
    let broken = folder.file("broken.json", "{}");
    folder.refused(&["policy", "create", "p", &broken], 2, "");
    folder.refused(&["policy", "create", "p", "absent.json"], 2, "cannot read");
    folder.refused(
        &["policy", "explain", "user:nobody", "oss:PutVectors", "vec/docs"],
        2,
        "no user",
    );
    let entry = folder.json(&["ring", "generate", "2026-11"]);
    assert!(entry["entry"].as_str().unwrap().starts_with("2026-11:"), "{entry}");
    assert_eq!(folder.json(&["ring", "rekey"])["resealed"], 0);
    assert!(folder.json(&["token", "generate"])["token"].as_str().unwrap().len() >= 43);
}
