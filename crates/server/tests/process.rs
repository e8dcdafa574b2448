//! The binary itself: starts that fail with one useful line, dev mode, signals, exit codes.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use common::certificates::Authority;
use common::{ACCESS_KEY_ID, ACCOUNT, Call, Connection, SECRET};

/// The binary with a clean environment and free ports.
fn binary(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vectorbucket"));
    command.env_clear().args(arguments);
    command.env("VECTORBUCKET_LISTEN", "127.0.0.1:0");
    command.env("VECTORBUCKET_ADMIN_LISTEN", "127.0.0.1:0");
    command
}

fn with_keys(command: &mut Command) -> &mut Command {
    command
        .env("VECTORBUCKET_ACCOUNT_ID", ACCOUNT)
        .env("VECTORBUCKET_ROOT_ACCESS_KEY_ID", ACCESS_KEY_ID)
        .env("VECTORBUCKET_ROOT_ACCESS_KEY_SECRET", SECRET)
}

#[track_caller]
fn check_failed(output: &Output, code: i32, needles: &[&str]) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{text}");
    let line = text.lines().last().unwrap_or("");
    assert!(line.starts_with("vectorbucket: "), "{text}");
    for needle in needles {
        assert!(line.contains(needle), "{needle} missing in: {text}");
    }
}

#[test]
fn a_failed_start_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().to_str().unwrap();
    let none = binary(&["serve", "--store", store]).output().unwrap();
    check_failed(&none, 4, &["VECTORBUCKET_ROOT_ACCESS_KEY_ID", "--dev"]);

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let in_use =
        with_keys(&mut binary(&["serve", "--store", store, "--listen", &address])).output();
    check_failed(&in_use.unwrap(), 3, &[&address, "--listen"]);

    let open = with_keys(&mut binary(&["serve", "--listen", "0.0.0.0:0"])).output().unwrap();
    check_failed(&open, 2, &["--insecure-http"]);

    let file = folder.path().join("bad.toml");
    std::fs::write(&file, "lisen = 'x'").unwrap();
    let unknown = binary(&["serve", "--config", file.to_str().unwrap()]).output().unwrap();
    check_failed(&unknown, 2, &["did you mean listen?"]);

    let missing = binary(&["serve", "--config", "/nonexistent.toml"]).output().unwrap();
    check_failed(&missing, 2, &["/nonexistent.toml"]);

    let nameless = with_keys(&mut binary(&["serve", "--store", "s3://"])).output().unwrap();
    check_failed(&nameless, 2, &["--store"]);

    let peers = ["serve", "--store", "s3://b/p", "--peers", "10.0.0.1:9100,10.0.0.2:9100"];
    let keyless = with_keys(&mut binary(&peers)).output().unwrap();
    check_failed(&keyless, 2, &["cluster_key", "openssl rand"]);
    let alone = ["serve", "--store", store, "--peers", "10.0.0.1:9100"];
    let alone = with_keys(&mut binary(&alone))
        .env("VECTORBUCKET_CLUSTER_KEY", "0123456789abcdef0123456789abcdef")
        .output();
    check_failed(&alone.unwrap(), 2, &["peers", "store that all of them reach"]);

    let in_the_way = folder.path().join("file");
    std::fs::write(&in_the_way, "x").unwrap();
    let path = in_the_way.join("store");
    let no_folder = with_keys(&mut binary(&["serve", "--store", path.to_str().unwrap()])).output();
    check_failed(&no_folder.unwrap(), 5, &["file/store"]);
}

/// A running binary, killed when dropped.
struct Running {
    child: Child,
    data: String,
}

impl Running {
    /// Starts and waits until it serves.
    fn start(command: &mut Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let data = loop {
            let line = lines.next().expect("it serves before its log ends").unwrap();
            let event: serde_json::Value = serde_json::from_str(&line).unwrap();
            if event["message"] == "serving" {
                break event["listen"].as_str().unwrap().to_owned();
            }
        };
        // Keep reading, so that the log never blocks the process.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, data }
    }

    fn terminate(mut self) -> Option<i32> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.child.wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_folder_in_use_is_refused_and_free_again_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().to_str().unwrap();
    let serve = || {
        let mut command = binary(&["serve", "--store", store]);
        with_keys(&mut command);
        command
    };
    let running = Running::start(&mut serve());
    let second = serve().output().unwrap();
    check_failed(&second, 5, &["in use by another", store]);
    drop(running);
    let third = Running::start(&mut serve());
    assert_eq!(third.terminate(), Some(0), "SIGTERM stops cleanly");
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

#[tokio::test]
async fn dev_mode_makes_its_keys_once_and_prints_no_secret_to_a_pipe() {
    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("data");
    let arguments = ["serve", "--dev", "--store", store.to_str().unwrap()];
    let mut running = Running::start(&mut binary(&arguments));
    let mut printed = String::new();
    let mut out = BufReader::new(running.child.stdout.take().unwrap());
    while !printed.contains("NewVectorsClient") {
        assert!(out.read_line(&mut printed).unwrap() > 0, "{printed}");
    }
    let file = store.join("dev-credentials.toml");
    let table: toml::Table = text(&file).parse().unwrap();
    let field = |name: &str| table[name].as_str().unwrap().to_owned();
    for path in [&file, &store.join("dev.env")] {
        assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert!(!printed.contains(&field("access_key_secret")));
    for needle in ["dev-credentials.toml", "dev.env", "proxy_host", &running.data] {
        assert!(printed.contains(needle), "{needle} missing in {printed}");
    }
    assert_eq!(field("endpoint"), format!("http://{}", running.data));
    let call = Call::account("GET", "").with(|c| {
        c.account = field("account_id");
        c.access_key_id = field("access_key_id");
        c.secret = field("access_key_secret");
    });
    let mut connection = Connection::open(running.data.parse().unwrap()).await;
    assert_eq!(connection.call(&call).await.status, 200);
    drop(connection);
    assert_eq!(running.terminate(), Some(0));
    let again = Running::start(&mut binary(&arguments));
    let mut connection = Connection::open(again.data.parse().unwrap()).await;
    assert_eq!(connection.call(&call).await.status, 200, "the keys are kept");
}

#[tokio::test]
async fn a_second_signal_ends_a_drain_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = binary(&["serve", "--store", folder.path().to_str().unwrap()]);
    let mut running = Running::start(with_keys(&mut command));
    let mut busy = Connection::open(running.data.parse().unwrap()).await;
    let call = Call::new("PUT", "vec", "policy").with_body("{}");
    assert_eq!(busy.call(&Call::new("PUT", "vec", "")).await.status, 200);
    busy.write(&call.head()).await;
    let mut idle = Connection::open(running.data.parse().unwrap()).await;
    assert_eq!(idle.call(&Call::account("GET", "")).await.status, 200);
    let pid = rustix::process::Pid::from_child(&running.child);
    let signal = || rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    signal();
    assert!(idle.is_closed().await, "the drain has begun");
    assert!(running.child.try_wait().unwrap().is_none(), "it waits for the busy connection");
    signal();
    assert_eq!(running.child.wait().unwrap().code(), Some(130));
}

#[tokio::test]
async fn a_hang_up_reads_certificates_again() {
    let (authority, folder) = (Authority::new(), tempfile::tempdir().unwrap());
    let files = authority.issue(&["localhost"]).write(folder.path());
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let mut command = binary(&["serve", "--store", "memory:"]);
    with_keys(&mut command)
        .args(["--tls-certificate-file", &path(&files.certificate)])
        .args(["--tls-key-file", &path(&files.key)])
        .env("VECTORBUCKET_TLS_CHECK_INTERVAL", "1h");
    let running = Running::start(&mut command);
    let addr = running.data.parse().unwrap();
    let stream = authority.connect(addr, "localhost").await.unwrap();
    let mut open = Connection::over(stream);
    assert_eq!(open.call(&Call::account("GET", "")).await.status, 200);
    let renewed = authority.issue(&["localhost"]);
    renewed.write(folder.path());
    let pid = rustix::process::Pid::from_child(&running.child);
    rustix::process::kill_process(pid, rustix::process::Signal::HUP).unwrap();
    let shown = async || {
        let stream = authority.connect(addr, "localhost").await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
    };
    let waiting = async { while shown().await != renewed.der {} };
    tokio::time::timeout(std::time::Duration::from_secs(30), waiting).await.unwrap();
    assert_eq!(open.call(&Call::account("GET", "")).await.status, 200);
    drop(open);
    assert_eq!(running.terminate(), Some(0));
}

#[test]
fn dev_mode_refuses_to_serve_others() {
    let open = ["serve", "--dev", "--listen", "0.0.0.0:0", "--insecure-http"];
    check_failed(&binary(&open).output().unwrap(), 2, &["loopback"]);
    let tls = ["serve", "--dev", "--tls-certificate-file", "/c.pem", "--tls-key-file", "/k.pem"];
    check_failed(&binary(&tls).output().unwrap(), 2, &["plain HTTP", "tls.certificate_file"]);
}

#[test]
fn the_configuration_is_printed_with_sources_and_without_secrets() {
    let mut command = binary(&["config", "print", "--region", "cn-beijing"]);
    let output = with_keys(&mut command).output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    for line in [
        "region = \"cn-beijing\" # flag",
        "fsync = true # default",
        "connections_max = 4096 # default",
        "listen = \"127.0.0.1:0\" # environment",
        "store = \"./data\" # default",
        "root_access_key_secret = \"***\" # environment",
    ] {
        assert!(printed.lines().any(|l| l == line), "{line} missing in {printed}");
    }
    assert!(!printed.contains(SECRET));
}

#[test]
fn the_log_holds_no_secret_and_one_line_per_request() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = binary(&["serve", "--store", folder.path().to_str().unwrap()]);
    let mut child = with_keys(&mut command).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut log = Vec::new();
    let address: String = loop {
        let line = lines.next().unwrap().unwrap();
        let event: serde_json::Value = serde_json::from_str(&line).unwrap();
        log.push(line);
        if event["message"] == "serving" {
            break event["listen"].as_str().unwrap().to_owned();
        }
    };
    let call = Call::account("GET", "").presigned(600);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let id = runtime.block_on(async {
        let mut connection = Connection::open(address.parse().unwrap()).await;
        let answer = connection.call(&call).await;
        answer.header("x-oss-request-id").unwrap().to_owned()
    });
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let mut rest = String::new();
    for line in lines {
        rest += &(line.unwrap() + "\n");
    }
    assert!(child.wait().unwrap().success());
    let access: Vec<serde_json::Value> = rest
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|event: &serde_json::Value| event["target"] == "access")
        .collect();
    assert_eq!(access.len(), 1, "{rest}");
    assert_eq!(access[0]["request_id"], id);
    assert_eq!(access[0]["operation"], "ListVectorBuckets");
    assert_eq!(access[0]["status"], 200);
    assert_eq!(access[0]["account"], ACCOUNT);
    let signature = call.query.rsplit('=').next().unwrap();
    let whole = log.join("\n") + &rest;
    assert!(!whole.contains(signature) && !whole.contains(SECRET), "{whole}");
}
