//! A signed client on a blocking socket that costs next to nothing, so that the server is what is measured.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue};
use md5::{Digest, Md5};
use vb_api::oss::signature::{Credentials, SignInput, authorization};
use vb_api::oss::to_basic;

use crate::Outcome;

/// The root key that measured servers are started with; it opens nothing but them.
pub(crate) const ACCESS_KEY_ID: &str = "BENCHKEY";
pub(crate) const SECRET: &str = "bench-secret-for-loopback-only";
pub(crate) const ACCOUNT: &str = "1234567890123456";
const REGION: &str = "cn-hangzhou";

/// One keep-alive connection.
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
}

impl Client {
    /// # Errors
    /// When nobody listens.
    pub(crate) fn connect(address: SocketAddr) -> Outcome<Self> {
        let stream = TcpStream::connect(address).map_err(|e| format!("{address}: {e}"))?;
        stream.set_nodelay(true).map_err(|e| e.to_string())?;
        Ok(Self { stream: BufReader::with_capacity(1 << 16, stream) })
    }

    /// Sends prepared bytes and returns the body of a 2xx answer.
    ///
    /// # Errors
    /// When the connection breaks or the answer is an error.
    pub(crate) fn expect_ok(&mut self, request: &[u8]) -> Outcome<Vec<u8>> {
        let (status, body) = self.attempt(request)?;
        match status {
            200..300 => Ok(body),
            _ => Err(format!("status {status}: {}", String::from_utf8_lossy(&body))),
        }
    }

    /// Sends prepared bytes and returns status and body, whatever they are.
    ///
    /// # Errors
    /// When the connection breaks.
    pub(crate) fn attempt(&mut self, request: &[u8]) -> Outcome<(u16, Vec<u8>)> {
        self.send(request).map_err(|e| format!("connection: {e}"))
    }

    fn send(&mut self, request: &[u8]) -> std::io::Result<(u16, Vec<u8>)> {
        self.stream.get_mut().write_all(request)?;
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0);
        let mut length = 0;
        loop {
            line.clear();
            self.stream.read_line(&mut line)?;
            match line.trim_end().split_once(": ") {
                None => break,
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    length = value.parse().unwrap_or(0);
                }
                Some(_) => {}
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        Ok((status, body))
    }
}

/// Creates the bucket (again is fine) and one index in it.
///
/// # Errors
/// When the server refuses.
pub(crate) fn create_index(
    address: SocketAddr,
    bucket: &str,
    index: &str,
    dimension: usize,
    metric: &str,
) -> Outcome {
    let mut connection = Client::connect(address)?;
    connection.expect_ok(&request_of("PUT", "", bucket, b""))?;
    let body = format!(
        "{{\"indexName\": \"{index}\", \"dataType\": \"float32\", \"dimension\": {dimension}, \"distanceMetric\": \"{metric}\"}}"
    );
    connection.expect_ok(&request("putVectorIndex", bucket, body.as_bytes())).map(drop)
}

/// The bytes of a signed POST with Content-MD5, in path style, valid for fifteen minutes.
pub(crate) fn request(operation: &str, bucket: &str, body: &[u8]) -> Vec<u8> {
    request_of("POST", operation, bucket, body)
}

/// As [`request`], with any method; without a bucket it goes to the account.
pub(crate) fn request_of(method: &str, query: &str, bucket: &str, body: &[u8]) -> Vec<u8> {
    let root =
        Credentials { access_key_id: ACCESS_KEY_ID.into(), secret: SECRET.into(), token: None };
    request_by(&root, method, query, bucket, body)
}

/// As [`request_of`], signed with another key.
pub(crate) fn request_by(
    credentials: &Credentials,
    method: &str,
    query: &str,
    bucket: &str,
    body: &[u8],
) -> Vec<u8> {
    let at = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs().cast_signed());
    let mut headers = HeaderMap::new();
    let mut set = |name: &'static str, value: &str| {
        let value = HeaderValue::from_str(value).expect("our own header values are plain text");
        headers.insert(HeaderName::from_static(name), value);
    };
    set("content-type", "application/json");
    set("content-md5", &BASE64_STANDARD.encode(Md5::digest(body)));
    set("x-oss-content-sha256", "UNSIGNED-PAYLOAD");
    set("x-oss-date", &to_basic(at));
    let signature = authorization(
        credentials,
        &SignInput {
            method,
            region: REGION,
            resource: (!bucket.is_empty()).then_some((ACCOUNT, bucket)),
            query,
            headers: &headers,
            additional: &[],
            at,
        },
    );
    let question = if query.is_empty() { "" } else { "?" };
    let folder = if bucket.is_empty() { String::new() } else { format!("{bucket}/") };
    let mut bytes =
        format!("{method} /{folder}{question}{query} HTTP/1.1\r\nhost: 127.0.0.1\r\n").into_bytes();
    for (name, value) in &headers {
        bytes.extend_from_slice(name.as_str().as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(format!("authorization: {signature}\r\n").as_bytes());
    bytes.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
    bytes.extend_from_slice(body);
    bytes
}
