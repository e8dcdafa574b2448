//! TLS of the listeners and between nodes.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use common::certificates::{self, Authority, Pair};
use common::cluster::Cluster;
use common::{ACCOUNT, Call, Connection, TestServer};
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use vb_server::{Config, Failure, Server};

const NAMES: [&str; 2] = ["localhost", "*.cn-hangzhou.oss-vectors.aliyuncs.com"];

/// A server over TLS and the CA of its certificate.
struct Secure {
    server: TestServer,
    authority: Authority,
    dir: TempDir,
}

fn with_files(config: &mut Config, pair: &Pair, folder: &Path) {
    let files = pair.write(folder);
    config.tls.certificate_file = Some(files.certificate);
    config.tls.key_file = Some(files.key);
    config.tls.check_interval = Duration::from_millis(100);
}

impl Secure {
    async fn start() -> Self {
        Self::with(|_| ()).await
    }

    async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let (authority, dir) = (Authority::new(), tempfile::tempdir().unwrap());
        let pair = authority.issue(&NAMES);
        let server = TestServer::with(|config| {
            with_files(config, &pair, dir.path());
            change(config);
        })
        .await;
        Self { server, authority, dir }
    }

    async fn connect(&self) -> Connection {
        let stream = self.authority.connect(self.server.addr(), "localhost").await;
        Connection::over(stream.expect("a handshake"))
    }

    async fn send(&self, call: &Call) -> common::Answer {
        self.connect().await.call(call).await
    }

    /// The certificate that a new connection is shown.
    async fn shown(&self) -> Vec<u8> {
        let stream = self.authority.connect(self.server.addr(), "localhost").await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
    }

    /// Waits for a line of the metrics.
    async fn until(&self, line: &str) {
        let waiting = async { while !self.server.admin("/metrics").await.text().contains(line) {} };
        let done = tokio::time::timeout(Duration::from_secs(30), waiting).await;
        if done.is_err() {
            panic!("{line} missing in:\n{}", self.server.admin("/metrics").await.text());
        }
    }
}

fn list() -> Call {
    Call::account("GET", "")
}

#[tokio::test]
async fn both_versions_are_spoken_and_bucket_hosts_are_covered() {
    let secure = Secure::start().await;
    let addr = secure.server.addr();
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let mut client = secure.authority.client(&[version]);
        client.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let host = format!("vec-{ACCOUNT}.{}", common::DOMAIN);
        let stream = certificates::connect(client, addr, &host).await.unwrap();
        let spoken = &stream.get_ref().1;
        assert_eq!(spoken.protocol_version(), Some(version.version));
        assert_eq!(spoken.alpn_protocol(), Some(&b"http/1.1"[..]));
        assert_eq!(Connection::over(stream).call(&list()).await.status, 200);
    }
    let elsewhere = secure.authority.connect(addr, "elsewhere.example").await;
    assert!(elsewhere.unwrap_err().to_string().contains("certificate"));
}

/// A ClientHello for TLS 1.1, the newest of the refused ones.
fn old_hello() -> Vec<u8> {
    let body = [&[3, 2][..], &[7; 32], &[0], &[0, 2, 0xc0, 0x13], &[1, 0]].concat();
    let handshake = [&[1, 0, 0, body.len() as u8][..], &body].concat();
    [&[0x16, 3, 1, 0, handshake.len() as u8][..], &handshake].concat()
}

#[tokio::test]
async fn what_is_no_tls_of_today_never_reaches_http() {
    let secure = Secure::start().await;
    let addr = secure.server.addr();
    for bytes in [old_hello(), list().head(), vec![0xff; 64]] {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.write_all(&bytes).await.unwrap();
        let mut answer = Vec::new();
        // The server closes with bytes unread, so the end may be a reset.
        let _ = stream.read_to_end(&mut answer).await;
        let is_alert = answer.first() == Some(&0x15);
        assert!(is_alert && !answer.starts_with(b"HTTP"), "{answer:?}");
    }
    let mut client = secure.authority.client(rustls::ALL_VERSIONS);
    client.alpn_protocols = vec![b"h2".to_vec()];
    assert!(certificates::connect(client, addr, "localhost").await.is_err(), "HTTP/2 only");
    secure.until("tls_handshakes_refused_total{listener=\"data\",reason=\"failed\"} 4").await;
    assert!(secure.server.admin("/metrics").await.text().contains("heads_refused_total 0"));
    assert_eq!(secure.send(&list()).await.status, 200);
}

#[tokio::test]
async fn a_handshake_has_its_time() {
    let secure =
        Secure::with(|config| config.tls.handshake_timeout = Duration::from_millis(100)).await;
    let mut silent = Connection::open(secure.server.addr()).await;
    assert!(silent.is_closed().await);
    let hello = old_hello();
    let mut slow = Connection::open(secure.server.addr()).await;
    slow.write(&hello[..10]).await;
    assert!(slow.is_closed().await);
    secure.until("tls_handshakes_refused_total{listener=\"data\",reason=\"timeout\"} 2").await;
    secure.until("connections_open 0").await;
}

#[tokio::test]
async fn a_new_certificate_is_shown_and_open_connections_stay() {
    let secure = Secure::start().await;
    let mut open = secure.connect().await;
    assert_eq!(open.call(&list()).await.status, 200);
    let renewed = secure.authority.issue_until(&NAMES, "401231235959Z");
    renewed.write(secure.dir.path());
    secure.until("tls_certificate_not_after_seconds{listener=\"data\"} 2240611199").await;
    assert_eq!(secure.shown().await, renewed.der);
    assert_eq!(open.call(&list()).await.status, 200, "the old connection goes on");
}

#[tokio::test]
async fn a_broken_certificate_leaves_the_old_one_and_is_counted() {
    let secure = Secure::start().await;
    let before = secure.shown().await;
    let files = secure.authority.issue(&NAMES).write(secure.dir.path());
    let good = std::fs::read(&files.key).unwrap();
    // The pair was replaced by a good one; from here on every step is a bad one.
    secure.until("tls_certificates_read_total{listener=\"data\",outcome=\"replaced\"}").await;
    let waiting = async { while secure.shown().await == before {} };
    tokio::time::timeout(Duration::from_secs(30), waiting).await.unwrap();
    let shown = secure.shown().await;
    let refused = |n: usize| {
        format!("tls_certificates_read_total{{listener=\"data\",outcome=\"refused\"}} {n}")
    };
    // Writing the pair may have been seen between its two files.
    let text = secure.server.admin("/metrics").await.text().to_owned();
    let already = if text.contains(&refused(0)) { 0 } else { 1 };
    let other = secure.authority.issue(&NAMES);
    let steps: [(&Path, &[u8]); 4] = [
        (&files.key, other.key.as_bytes()),
        (&files.key, b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
        (&files.certificate, b"no certificate"),
        (&files.certificate, b""),
    ];
    for (step, (path, bytes)) in steps.into_iter().enumerate() {
        std::fs::write(path, bytes).unwrap();
        secure.until(&refused(already + step + 1)).await;
        assert_eq!(secure.shown().await, shown);
    }
    std::fs::remove_file(&files.certificate).unwrap();
    secure.until(&refused(already + 5)).await;
    std::fs::write(&files.certificate, &other.certificate).unwrap();
    secure.until(&refused(already + 6)).await;
    assert_ne!(good, other.key.as_bytes());
    std::fs::write(&files.key, &other.key).unwrap();
    let waiting = async { while secure.shown().await != other.der {} };
    tokio::time::timeout(Duration::from_secs(30), waiting).await.unwrap();
}

#[tokio::test]
async fn certificates_are_read_again_when_asked_for() {
    let secure = Secure::with(|config| config.tls.check_interval = Duration::from_secs(3600)).await;
    let renewed = secure.authority.issue(&NAMES);
    renewed.write(secure.dir.path());
    secure.server.handle.reload_certificates();
    let waiting = async { while secure.shown().await != renewed.der {} };
    tokio::time::timeout(Duration::from_secs(30), waiting).await.unwrap();
}

#[tokio::test]
async fn files_that_make_no_certificate_stop_the_start() {
    let (authority, dir) = (Authority::new(), tempfile::tempdir().unwrap());
    let (one, other) = (authority.issue(&NAMES), authority.issue(&NAMES));
    let mut config = common::config();
    with_files(&mut config, &one, dir.path());
    let refused = async |config: &Config, needle: &str| match Server::start(config).await {
        Err(Failure::Configuration(text)) => {
            assert!(text.contains(needle) && text.contains("data listener"), "{text}");
        }
        Err(failure) => panic!("{failure}"),
        Ok(_) => panic!("started: {needle}"),
    };
    let key_file = config.tls.key_file.clone().unwrap();
    std::fs::write(&key_file, &other.key).unwrap();
    refused(&config, "is not the key of").await;
    std::fs::write(&key_file, &one.certificate).unwrap();
    refused(&config, "holds no private key").await;
    std::fs::remove_file(&key_file).unwrap();
    refused(&config, "cannot read").await;
    std::fs::write(&key_file, &one.key).unwrap();
    std::fs::write(config.tls.certificate_file.as_ref().unwrap(), &one.key).unwrap();
    refused(&config, "no certificate").await;
}

#[tokio::test]
async fn the_admin_listener_has_a_certificate_of_its_own() {
    let (authority, dir) = (Authority::new(), tempfile::tempdir().unwrap());
    let files = authority.issue(&["admin.internal"]).write(dir.path());
    let server = TestServer::with(|config| {
        config.tls.admin_certificate_file = Some(files.certificate);
        config.tls.admin_key_file = Some(files.key);
        config.tls.check_interval = Duration::from_millis(100);
    })
    .await;
    let addr = server.handle.admin_addr();
    let get = async |path: &str| {
        let stream = authority.connect(addr, "admin.internal").await.unwrap();
        let mut connection = Connection::over(stream);
        let head = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        connection.write(head.as_bytes()).await;
        connection.answer("GET").await
    };
    assert_eq!(get("/readyz").await.text(), "ready\n");
    let mut plain = Connection::open(addr).await;
    plain.write(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(plain.try_answer("GET").await.is_none(), "plain HTTP is not answered");
    let metrics = get("/metrics").await.text().to_owned();
    let refused = "tls_handshakes_refused_total{listener=\"admin\",reason=\"failed\"} 1";
    assert!(metrics.contains(refused), "{metrics}");
    let renewed = authority.issue_until(&["admin.internal"], "401231235959Z");
    renewed.write(dir.path());
    let ends = "tls_certificate_not_after_seconds{listener=\"admin\"} 2240611199";
    let waiting = async { while !get("/metrics").await.text().contains(ends) {} };
    tokio::time::timeout(Duration::from_secs(30), waiting).await.unwrap();
    assert_eq!(server.send(&list()).await.status, 200, "data is plain here");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_client_commands_trust_the_ca_they_are_told() {
    let secure = Secure::start().await;
    assert_eq!(secure.send(&Call::new("PUT", "vec", "")).await.status, 200);
    let ca = secure.dir.path().join("ca.pem");
    std::fs::write(&ca, secure.authority.pem()).unwrap();
    let list = |trusted: Option<&Path>| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_vectorbucket"));
        command.env_clear().args(["vectors-api", "list-vector-buckets", "--retry-times", "1"]);
        command
            .env("VECTORBUCKET_URL", format!("https://localhost:{}", secure.server.addr().port()));
        command.env("VECTORBUCKET_ACCOUNT_ID", ACCOUNT);
        command.env("VECTORBUCKET_ACCESS_KEY_ID", common::ACCESS_KEY_ID);
        command.env("VECTORBUCKET_ACCESS_KEY_SECRET", common::SECRET);
        trusted.map(|path| command.env("SSL_CERT_FILE", path));
        let done = tokio::task::block_in_place(|| command.output().unwrap());
        let text = [done.stdout, done.stderr].concat();
        (done.status.success(), String::from_utf8(text).unwrap())
    };
    let (good, text) = list(Some(&ca));
    assert!(good && text.contains("vec"), "{text}");
    let (good, text) = list(None);
    assert!(!good && text.contains("certificate"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_admin_listener_off_loopback_takes_orders_over_tls() {
    let (authority, dir) = (Authority::new(), tempfile::tempdir().unwrap());
    let files = authority.issue(&["localhost"]).write(dir.path());
    let server = TestServer::with(|config| {
        config.admin_listen = SocketAddr::from(([0, 0, 0, 0], 0));
        config.tls.admin_certificate_file = Some(files.certificate);
        config.tls.admin_key_file = Some(files.key);
    })
    .await;
    let ca = dir.path().join("ca.pem");
    std::fs::write(&ca, authority.pem()).unwrap();
    let order = |scheme: &str, trusted: Option<&Path>, arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_vectorbucket"));
        let url = format!("{scheme}://localhost:{}", server.handle.admin_addr().port());
        command.env_clear().arg("admin").args(arguments).args(["--endpoint", &url, "--json"]);
        command.env("OSS_ACCESS_KEY_ID", common::ACCESS_KEY_ID);
        command.env("OSS_ACCESS_KEY_SECRET", common::SECRET);
        trusted.map(|path| command.env("SSL_CERT_FILE", path));
        let done = tokio::task::block_in_place(|| command.output().unwrap());
        let text = [done.stdout, done.stderr].concat();
        (done.status.success(), String::from_utf8(text).unwrap())
    };
    let create = ["user", "create", "alice"];
    let (good, text) = order("http", Some(&ca), &create);
    assert!(!good, "plain HTTP is not answered: {text}");
    let (good, text) = order("https", None, &create);
    assert!(!good && text.contains("certificate"), "{text}");
    let (good, text) = order("https", Some(&ca), &["user", "list"]);
    assert!(good && !text.contains("alice"), "nothing was done before: {text}");
    let (good, text) = order("https", Some(&ca), &create);
    assert!(good, "{text}");
    let (good, text) = order("https", Some(&ca), &["user", "list"]);
    assert!(good && text.contains("alice"), "{text}");
}

/// A policy that denies the account itself what does not come over TLS.
fn only_secure() -> Call {
    let policy = json!({"Version": "1", "Statement": [{
        "Effect": "Deny", "Principal": [ACCOUNT], "Action": "oss:GetVectorIndex", "Resource": "*",
        "Condition": {"Bool": {"acs:SecureTransport": "false"}},
    }]});
    Call::new("PUT", "vec", "policy").with_body(policy.to_string())
}

fn put_index() -> Call {
    let body = json!({"indexName": "idx", "dataType": "float32", "dimension": 2,
                      "distanceMetric": "euclidean"});
    Call::post("vec", "putVectorIndex", &body)
}

fn get_index() -> Call {
    Call::post("vec", "getVectorIndex", &json!({"indexName": "idx"}))
}

#[tokio::test]
async fn conditions_know_tls_from_plain_http() {
    let secure = Secure::start().await;
    for call in [Call::new("PUT", "vec", ""), put_index(), only_secure(), get_index()] {
        assert_eq!(secure.send(&call).await.status, 200);
    }
    let plain = TestServer::start().await;
    plain.index("vec", "idx", 2, "euclidean").await;
    assert_eq!(plain.send(&get_index()).await.status, 200);
    plain.ok(&only_secure()).await;
    plain.send(&get_index()).await.check_error(403, "AccessDenied", "0003-00000101");
}

/// Nodes that serve TLS; `roots` are what they trust.
async fn nodes(authority: &Authority, dir: &TempDir, roots: &Authority) -> Cluster {
    let (pair, ca) = (authority.issue(&["nodes.internal", "localhost"]), dir.path().join("ca.pem"));
    std::fs::write(&ca, roots.pem()).unwrap();
    Cluster::begin(2, Vec::new(), |_, config| {
        with_files(config, &pair, dir.path());
        config.tls.peer_ca_file = Some(ca.clone());
        config.tls.peer_name = "nodes.internal".into();
    })
    .await
}

async fn send(authority: &Authority, addr: SocketAddr, call: &Call) -> common::Answer {
    let stream = authority.connect(addr, "localhost").await.expect("a handshake");
    Connection::over(stream).call(call).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_speak_tls_to_each_other_and_pass_on_that_the_client_did() {
    let (authority, dir) = (Authority::new(), tempfile::tempdir().unwrap());
    let cluster = nodes(&authority, &dir, &authority).await;
    cluster.settled().await;
    let deny = only_secure();
    let deny = deny.with(|c| {
        c.body = String::from_utf8(c.body.clone())
            .unwrap()
            .replace("GetVectorIndex", "GetVectors")
            .into();
    });
    for call in [Call::new("PUT", "vec", ""), put_index(), deny] {
        assert_eq!(send(&authority, cluster.addr(0), &call).await.status, 200);
    }
    let get = Call::post("vec", "getVectors", &json!({"indexName": "idx", "keys": ["k"]}));
    let other = 1 - cluster.owner("vec", "idx").await;
    let answer = send(&authority, cluster.addr(other), &get).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(cluster.routed(other, "forwarded").await, 1);
    let mut plain = Connection::open(cluster.addr(other)).await;
    plain.write(&get.head()).await;
    assert!(plain.try_answer("POST").await.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_shows_another_ca_is_not_asked() {
    let (authority, dir) = (Authority::new(), tempfile::tempdir().unwrap());
    let cluster = nodes(&authority, &dir, &Authority::new()).await;
    for node in 0..2 {
        cluster
            .until(node, |peers| peers.iter().all(|(_, why)| why.as_deref() == Some("unreachable")))
            .await;
    }
    assert_eq!(send(&authority, cluster.addr(0), &list()).await.status, 200, "served alone");
}
