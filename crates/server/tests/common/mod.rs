//! A server on a free loopback port and a client that can send anything.
//!
//! The client writes bytes and parses answers itself, so that tests can do what no library would:
//! broken heads, slow bodies, pipelining. [`Call`] builds and signs well-formed requests.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own part")]

pub mod certificates;
pub mod cluster;
pub mod orders;
pub mod people;
pub mod prey;

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue};
use md5::{Digest as _, Md5};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use vb_api::oss::signature::{Credentials, SignInput, authorization, presign};
use vb_api::oss::to_basic;
use vb_server::{Config, Handle, Secret, Server, StoreUrl};

pub const ACCOUNT: &str = "1234567890123456";
pub const OTHER_ACCOUNT: &str = "6543210987654321";
pub const REGION: &str = "cn-hangzhou";
pub const ACCESS_KEY_ID: &str = "LTAItestkey";
pub const SECRET: &str = "test-secret-0001";
pub const DOMAIN: &str = "cn-hangzhou.oss-vectors.aliyuncs.com";

/// Longest time a test waits for an answer before it fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running server; its folder, if it has one, is removed with it.
pub struct TestServer {
    pub handle: Handle,
    pub config: Config,
    pub dir: Option<TempDir>,
}

/// The configuration of tests: memory, free ports, one root key.
pub fn config() -> Config {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    Config {
        listen: any,
        admin_listen: any,
        store: StoreUrl::Memory,
        account_id: ACCOUNT.into(),
        root_access_key_id: ACCESS_KEY_ID.into(),
        root_access_key_secret: Secret::new(SECRET),
        ..Config::default()
    }
}

impl TestServer {
    /// A server in memory.
    pub async fn start() -> Self {
        Self::with(|_| ()).await
    }

    /// A server in memory with changed settings.
    pub async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = config();
        change(&mut config);
        let handle = Server::start(&config).await.expect("the test server starts");
        Self { handle, config, dir: None }
    }

    /// A server over a new folder.
    pub async fn local() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut server =
            Self::with(|config| config.store = StoreUrl::Local(dir.path().join("store"))).await;
        server.dir = Some(dir);
        server
    }

    /// Stops and starts again over the same folder.
    pub async fn restart(self) -> Self {
        let Self { handle, config, dir } = self;
        handle.shutdown().await.expect("a clean stop");
        let handle = Server::start(&config).await.expect("the test server starts again");
        Self { handle, config, dir }
    }

    pub fn addr(&self) -> SocketAddr {
        self.handle.addr()
    }

    /// Sends one call on a connection of its own.
    pub async fn send(&self, call: &Call) -> Answer {
        self.connect().await.call(call).await
    }

    pub async fn connect(&self) -> Connection {
        Connection::open(self.addr()).await
    }

    /// Sends a call that must succeed.
    pub async fn ok(&self, call: &Call) -> Answer {
        let answer = self.send(call).await;
        assert!(answer.status < 300, "{} {}: {answer:?}", call.method, call.query);
        answer
    }

    /// Creates a bucket.
    pub async fn bucket(&self, name: &str) {
        self.ok(&Call::new("PUT", name, "")).await;
    }

    /// Creates a bucket and an index in it.
    pub async fn index(&self, bucket: &str, index: &str, dimension: u32, metric: &str) {
        self.bucket(bucket).await;
        let body = serde_json::json!({
            "indexName": index, "dataType": "float32", "dimension": dimension,
            "distanceMetric": metric,
            "metadata": {"nonFilterableMetadataKeys": ["note"]},
        });
        self.ok(&Call::post(bucket, "putVectorIndex", &body)).await;
    }

    /// A GET on the admin listener.
    pub async fn admin(&self, path: &str) -> Answer {
        let mut connection = Connection::open(self.handle.admin_addr()).await;
        let head = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        connection.write(head.as_bytes()).await;
        connection.answer("GET").await
    }
}

/// One signed request; every part can be changed before it is sent.
#[derive(Clone, Debug)]
pub struct Call {
    pub method: String,
    pub bucket: Option<String>,
    /// Raw query without `?`.
    pub query: String,
    pub path: String,
    pub host: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Account that the signature names.
    pub account: String,
    pub access_key_id: String,
    pub secret: String,
    pub region: String,
    /// Shift of the signing time, seconds.
    pub shift: i64,
    pub signed: bool,
    pub content_md5: bool,
    /// The value of `x-oss-content-sha256`.
    pub payload: String,
    pub additional: Vec<&'static str>,
    /// The request target is absolute, as a proxy gets it.
    pub absolute: bool,
}

impl Call {
    /// A call on a bucket, virtual-host style.
    pub fn new(method: &str, bucket: &str, query: &str) -> Self {
        Self {
            bucket: Some(bucket.into()),
            host: format!("{bucket}-{ACCOUNT}.{DOMAIN}"),
            ..Self::account(method, query)
        }
    }

    /// A call on the account host.
    pub fn account(method: &str, query: &str) -> Self {
        Self {
            method: method.into(),
            bucket: None,
            query: query.into(),
            path: "/".into(),
            host: DOMAIN.into(),
            headers: vec![("Content-Type".into(), "application/json".into())],
            body: Vec::new(),
            account: ACCOUNT.into(),
            access_key_id: ACCESS_KEY_ID.into(),
            secret: SECRET.into(),
            region: REGION.into(),
            shift: 0,
            signed: true,
            content_md5: true,
            payload: "UNSIGNED-PAYLOAD".into(),
            additional: Vec::new(),
            absolute: false,
        }
    }

    /// A POST with a JSON body.
    pub fn post(bucket: &str, operation: &str, body: &Value) -> Self {
        Self::new("POST", bucket, operation).with_body(body.to_string())
    }

    #[must_use]
    pub fn with_body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// The request line and headers, ending in the empty line.
    pub fn head(&self) -> Vec<u8> {
        let mut headers = self.headers.clone();
        let has = |list: &[(String, String)], name: &str| {
            list.iter().any(|(have, _)| have.eq_ignore_ascii_case(name))
        };
        if self.content_md5 && !has(&headers, "content-md5") {
            let digest: [u8; 16] = Md5::digest(&self.body).into();
            headers.push(("Content-MD5".into(), STANDARD.encode(digest)));
        }
        let length = !has(&headers, "content-length") && !has(&headers, "transfer-encoding");
        if length && (self.method != "GET" || !self.body.is_empty()) {
            headers.push(("Content-Length".into(), self.body.len().to_string()));
        }
        if self.signed {
            self.sign(&mut headers);
        }
        let query = if self.query.is_empty() { String::new() } else { format!("?{}", self.query) };
        let authority = if self.absolute { format!("http://{}", self.host) } else { String::new() };
        let mut head = format!("{} {authority}{}{query} HTTP/1.1\r\n", self.method, self.path);
        if !self.host.is_empty() {
            head += &format!("Host: {}\r\n", self.host);
        }
        for (name, value) in &headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += "\r\n";
        head.into_bytes()
    }

    fn sign(&self, headers: &mut Vec<(String, String)>) {
        let at = now() + self.shift;
        headers.push(("x-oss-date".into(), to_basic(at)));
        headers.push(("x-oss-content-sha256".into(), self.payload.clone()));
        let mut map: HeaderMap = headers
            .iter()
            .map(|(name, value)| {
                let name: HeaderName = name.parse().expect("a header name");
                (name, HeaderValue::from_bytes(value.as_bytes()).expect("a header value"))
            })
            .collect();
        if let Ok(host) = HeaderValue::from_str(&self.host) {
            map.insert("host", host);
        }
        let resource = self.bucket.as_deref().map(|bucket| (self.account.as_str(), bucket));
        let input = SignInput {
            method: &self.method,
            region: &self.region,
            resource,
            query: &self.query,
            headers: &map,
            additional: &self.additional,
            at,
        };
        headers.push(("Authorization".into(), authorization(&self.credentials(), &input)));
    }

    /// Turns the call into a signed URL's: nothing in headers, everything in the query.
    #[must_use]
    pub fn presigned(mut self, expires_seconds: u32) -> Self {
        let resource = self.bucket.as_deref().map(|bucket| (self.account.as_str(), bucket));
        let input = SignInput {
            method: &self.method,
            region: &self.region,
            resource,
            query: &self.query,
            headers: &HeaderMap::new(),
            additional: &[],
            at: now() + self.shift,
        };
        self.query = presign(&self.credentials(), &input, expires_seconds);
        self.headers.clear();
        self.content_md5 = false;
        self.signed = false;
        self
    }

    fn credentials(&self) -> Credentials {
        Credentials {
            access_key_id: self.access_key_id.clone(),
            secret: self.secret.clone(),
            token: None,
        }
    }
}

pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(since.as_secs()).expect("before the end of time")
}

/// What a raw connection goes over: a socket, or TLS on one.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A raw connection.
pub struct Connection {
    stream: Box<dyn Duplex>,
    unread: Vec<u8>,
}

impl Connection {
    pub async fn open(addr: SocketAddr) -> Self {
        Self::over(TcpStream::connect(addr).await.expect("the server listens"))
    }

    pub fn over(stream: impl Duplex + 'static) -> Self {
        Self { stream: Box::new(stream), unread: Vec::new() }
    }

    pub async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("the server reads");
    }

    /// Writes as much as the server reads; it may answer and close before the end.
    pub async fn write_what_is_read(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
    }

    /// Sends a call and reads its answer.
    pub async fn call(&mut self, call: &Call) -> Answer {
        let mut bytes = call.head();
        bytes.extend_from_slice(&call.body);
        self.write(&bytes).await;
        self.answer(&call.method).await
    }

    /// The next answer to a request of this method.
    pub async fn answer(&mut self, method: &str) -> Answer {
        let reading = self.try_answer(method);
        let answer = tokio::time::timeout(PATIENCE, reading).await.expect("an answer in time");
        answer.expect("an answer before the connection ends")
    }

    /// The next answer; `None` when the connection ends before it.
    pub async fn try_answer(&mut self, method: &str) -> Option<Answer> {
        let end = loop {
            let found = self.unread.windows(4).position(|w| w == b"\r\n\r\n");
            match found {
                Some(at) => break at + 4,
                None => self.fill().await?,
            }
        };
        let head = String::from_utf8(self.unread.drain(..end).collect()).expect("an ASCII head");
        let mut lines = head.split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        let mut answer = Answer { status, headers, body: Vec::new() };
        if method != "HEAD" && status != 100 {
            let length =
                answer.header("content-length").map_or(0, |v| v.parse().expect("a length"));
            while self.unread.len() < length {
                self.fill().await?;
            }
            answer.body = self.unread.drain(..length).collect();
        }
        Some(answer)
    }

    /// Whether the server closes the connection (and sends nothing more).
    pub async fn is_closed(&mut self) -> bool {
        let closing = async { while self.fill().await.is_some() {} };
        tokio::time::timeout(PATIENCE, closing).await.is_ok()
    }

    async fn fill(&mut self) -> Option<()> {
        let mut buffer = [0; 16 << 10];
        match self.stream.read(&mut buffer).await {
            Ok(0) | Err(_) => None,
            Ok(n) => {
                self.unread.extend_from_slice(&buffer[..n]);
                Some(())
            }
        }
    }
}

/// A parsed answer; header names are in lower case.
#[derive(Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let body = String::from_utf8_lossy(&self.body);
        write!(f, "{} {:?} {body}", self.status, self.headers)
    }
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(have, _)| have == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a text body")
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// The headers that every answer has.
    pub fn check_common(&self) {
        let id = self.header("x-oss-request-id").expect("a request id");
        let upper_hex = |b: u8| b.is_ascii_digit() || (b'A'..=b'F').contains(&b);
        assert!(id.len() == 24 && id.bytes().all(upper_hex), "{id}");
        assert_eq!(self.header("server"), Some("AliyunOSS"));
        let date = self.header("date").expect("a date");
        assert!(httpdate::parse_http_date(date).is_ok(), "{date}");
        assert!(self.header("x-oss-server-time").is_some_and(|ms| ms.parse::<u64>().is_ok()));
        assert!(self.header("connection").is_some());
    }

    /// Checks the whole shape of an error: status, code, EC, headers and body.
    #[track_caller]
    pub fn check_error(&self, status: u16, code: &str, ec: &str) {
        self.check_common();
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type"), Some("application/json"));
        assert_eq!(self.header("x-oss-ec"), Some(ec), "{self:?}");
        let body = self.json();
        let members = body.as_object().expect("an object");
        assert_eq!(members.len(), 1);
        let error = members["Error"].as_object().expect("an Error object");
        assert_eq!(error["Code"], code, "{self:?}");
        assert_eq!(error["EC"], ec);
        assert_eq!(error["RequestId"], self.header("x-oss-request-id").expect("checked"));
        assert!(error.values().all(Value::is_string), "{self:?}");
        for name in ["Message", "HostId", "RecommendDoc"] {
            assert!(error.contains_key(name), "{name} missing: {self:?}");
        }
    }
}
