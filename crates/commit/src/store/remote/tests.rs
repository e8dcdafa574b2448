//! Settings; and requests to a server that answers by a script: what is repeated, counted and told.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::transport::Connector;
use super::{RemoteOptions, check_endpoint, clouds, under};
use crate::error::{StoreError, StoreErrorKind};
use crate::store::count::Counters;
use crate::store::{Inner, Process, Store};

/// What the server does with one request.
#[derive(Debug, Clone, Copy)]
enum Answer {
    Status(u16, &'static str),
    /// 200 with this body.
    Body(&'static str),
    /// Nothing, with the connection left open.
    Silence,
    /// The connection is closed.
    Cut,
}

/// A server on loopback; the last answer of the script is repeated.
struct Scripted {
    store: Store,
    seen: Arc<Mutex<usize>>,
}

impl Scripted {
    async fn new(script: &[Answer]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (script, seen) =
            (Arc::new(Mutex::new(VecDeque::from(script.to_vec()))), Arc::default());
        let count = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&script), Arc::clone(&count)));
            }
        });
        Self { store: store(port), seen }
    }

    /// How many requests came.
    fn seen(&self) -> usize {
        *self.seen.lock().unwrap()
    }
}

fn store(port: u16) -> Store {
    let options = RemoteOptions::parse("s3://bucket/prefix").unwrap();
    let counters = Arc::new(Counters::by_wire());
    let env = |name: &str| (name == "AWS_ENDPOINT_URL").then(|| format!("http://127.0.0.1:{port}"));
    let builder = clouds::s3(&options, Connector::new(Arc::clone(&counters)), &env).unwrap();
    let keys = builder.with_access_key_id("id").with_secret_access_key("secret");
    let objects = under(&options.prefix, keys.with_region("somewhere").build().unwrap());
    let (local, oss, sole_writer, process) = (None, None, false, Process::real());
    Store(Arc::new(Inner { objects, local, sole_writer, counters, oss, process }))
}

async fn serve(
    mut stream: TcpStream,
    script: Arc<Mutex<VecDeque<Answer>>>,
    seen: Arc<Mutex<usize>>,
) -> Option<()> {
    loop {
        request(&mut stream).await?;
        *seen.lock().unwrap() += 1;
        let answer = {
            let mut script = script.lock().unwrap();
            if script.len() > 1 { script.pop_front() } else { script.front().copied() }
        };
        match answer? {
            Answer::Cut => return None,
            Answer::Silence => std::future::pending().await,
            Answer::Status(status, code) => {
                let body = format!("<Error><Code>{code}</Code></Error>");
                write(&mut stream, status, &body).await?;
            }
            Answer::Body(body) => write(&mut stream, 200, body).await?,
        }
    }
}

/// Reads one request whole.
async fn request(stream: &mut TcpStream) -> Option<()> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        bytes.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(bytes).ok()?.to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).await.ok().map(drop)
}

async fn write(stream: &mut TcpStream, status: u16, body: &str) -> Option<()> {
    let head = format!(
        "HTTP/1.1 {status} Said\r\ncontent-length: {}\r\netag: \"e\"\r\n\
         last-modified: Wed, 21 Oct 2015 07:28:00 GMT\r\n\r\n",
        body.len()
    );
    stream.write_all((head + body).as_bytes()).await.ok()
}

const BUSY: Answer = Answer::Status(503, "SlowDown");

async fn create_fails(script: &[Answer]) -> (StoreError, Scripted) {
    let server = Scripted::new(script).await;
    let error = server.store.create("log/1", Bytes::from_static(b"x")).await.unwrap_err();
    (error, server)
}

#[tokio::test]
async fn reads_that_fail_are_repeated_and_counted() {
    let server = Scripted::new(&[BUSY, Answer::Cut, Answer::Body("bytes")]).await;
    assert_eq!(server.store.get("log/1").await.unwrap(), "bytes");
    let count = server.store.counts().get;
    assert_eq!((count.requests, count.retries, count.failures, count.bytes), (3, 2, 0, 5));
    assert_eq!(server.seen(), 3);
}

#[tokio::test]
async fn a_create_that_may_have_been_executed_is_sent_once() {
    for answer in [BUSY, Answer::Status(500, "InternalError"), Answer::Cut] {
        let (error, server) = create_fails(&[answer]).await;
        assert_eq!(error.kind(), StoreErrorKind::Unavailable, "{error}");
        assert!(!error.is_not_executed(), "{error}");
        assert_eq!(server.seen(), 1, "{answer:?}");
        let count = server.store.counts().create;
        assert_eq!((count.requests, count.retries, count.failures), (1, 0, 1));
    }
}

/// S3 answers 409 to a create that met another one under way: it did not look who was first.
#[tokio::test]
async fn a_conflict_is_no_proof_that_the_object_exists() {
    let (error, _) = create_fails(&[Answer::Status(409, "ConditionalRequestConflict")]).await;
    assert_eq!(error.kind(), StoreErrorKind::Unavailable);
    assert!(!error.is_not_executed());
    let (error, _) = create_fails(&[Answer::Status(412, "PreconditionFailed")]).await;
    assert_eq!(error.kind(), StoreErrorKind::AlreadyExists);
}

#[tokio::test]
async fn refusals_are_told_by_kind_and_not_repeated() {
    for (status, code, kind) in [
        (403, "SignatureDoesNotMatch", StoreErrorKind::Denied),
        (400, "AuthorizationHeaderMalformed", StoreErrorKind::Invalid),
        (301, "PermanentRedirect", StoreErrorKind::Invalid),
        (501, "NotImplemented", StoreErrorKind::Invalid),
    ] {
        let (error, server) = create_fails(&[Answer::Status(status, code)]).await;
        assert_eq!((error.kind(), server.seen()), (kind, 1), "{error}");
        assert!(error.is_not_executed() && error.to_string().contains(code), "{error}");
    }
    let server = Scripted::new(&[Answer::Status(404, "NoSuchKey")]).await;
    let error = server.store.get("log/1").await.unwrap_err();
    assert_eq!((error.kind(), server.seen()), (StoreErrorKind::NotFound, 1));
}

#[tokio::test]
async fn a_slow_read_is_sent_a_second_time_and_the_first_answer_counts() {
    let server = Scripted::new(&[Answer::Silence, Answer::Body("bytes")]).await;
    let read = tokio::time::timeout(Duration::from_secs(4), server.store.get("log/1"));
    assert_eq!(read.await.expect("the second copy is answered").unwrap(), "bytes");
    let count = server.store.counts().get;
    assert_eq!((count.requests, count.hedges, count.retries), (2, 1, 0));
}

#[test]
fn urls_read_back() {
    for url in ["s3://b", "s3://b/p/q", "gs://my-bucket_1/x", "az://c/%41", "oss://b.c/a b"] {
        assert_eq!(RemoteOptions::parse(url).unwrap().to_string(), url);
    }
    assert_eq!(RemoteOptions::parse("s3://b/p/").unwrap().prefix, "p");
    for bad in ["s3:/b", "s3://", "s3:///p", "http://b", "s3://b//p", "s3://b/../p", "s3://a@b"] {
        assert!(RemoteOptions::parse(bad).is_err(), "{bad}");
    }
}

#[test]
fn plain_http_is_for_this_machine_only() {
    let options = RemoteOptions::parse("s3://b").unwrap();
    for local in ["http://127.0.0.1:9000", "http://localhost", "http://[::1]:80/x"] {
        assert!(check_endpoint(&options, local).unwrap(), "{local}");
    }
    assert!(!check_endpoint(&options, "https://s3.example.com").unwrap());
    for bad in ["http://10.0.0.1:9000", "http://localhost.example.com", "s3.example.com", "ftp://x"]
    {
        assert!(check_endpoint(&options, bad).is_err(), "{bad}");
    }
}
