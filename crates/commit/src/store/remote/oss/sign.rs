//! The signature of requests to OSS, version 4 (`OSS4-HMAC-SHA256`) in the `Authorization` header.
//!
//! ```text
//! canonical = method LF /bucket/key LF query LF {name:value LF}.. LF LF UNSIGNED-PAYLOAD
//! to sign   = OSS4-HMAC-SHA256 LF time LF scope LF hex(sha256(canonical))
//! scope     = day/region/oss/aliyun_v4_request
//! key       = hmac(hmac(hmac(hmac("aliyun_v4" secret, day), region), "oss"), "aliyun_v4_request")
//! ```
//!
//! Signed headers are `content-type`, `content-md5` and all `x-oss-*`. Source: "Signature version
//! 4 (recommended)" of the OSS developer reference.

use std::fmt::Write as _;

use aws_lc_rs::{digest, hmac};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

const ALGORITHM: &str = "OSS4-HMAC-SHA256";
const TERMINATOR: &str = "aliyun_v4_request";
const UNSIGNED: &str = "UNSIGNED-PAYLOAD";

const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
const PATH: &AsciiSet = &QUERY.remove(b'/');

/// Who signs. Debug output has no secret.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Credentials {
    pub(super) id: String,
    pub(super) secret: String,
    /// Of temporary credentials.
    pub(super) token: Option<String>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credentials({})", self.id)
    }
}

/// What is signed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unsigned<'a> {
    pub(super) method: &'a str,
    pub(super) region: &'a str,
    pub(super) bucket: &'a str,
    /// Not encoded; empty for the bucket itself.
    pub(super) key: &'a str,
    /// As [`query`] wrote it.
    pub(super) query: &'a str,
    /// Lower-case names with values.
    pub(super) headers: &'a [(&'a str, String)],
    /// `YYYYMMDDTHHMMSSZ`.
    pub(super) time: &'a str,
}

/// Parameters, encoded and in the order in which they are signed.
pub(super) fn query(parameters: &[(&str, &str)]) -> String {
    let encode = |text: &str| utf8_percent_encode(text, QUERY).to_string();
    let mut pairs: Vec<_> =
        parameters.iter().map(|(name, value)| (encode(name), encode(value))).collect();
    pairs.sort_unstable();
    let pair = |(name, value): (String, String)| match value.is_empty() {
        true => name,
        false => format!("{name}={value}"),
    };
    pairs.into_iter().map(pair).collect::<Vec<_>>().join("&")
}

/// A key as it stands in a URL.
pub(super) fn path(key: &str) -> String {
    utf8_percent_encode(key, PATH).to_string()
}

/// All headers to send: those given and the signature's own.
pub(super) fn sign<'a>(
    unsigned: &Unsigned<'a>,
    credentials: &Credentials,
) -> Vec<(&'a str, String)> {
    let mut headers = unsigned.headers.to_vec();
    headers.push(("x-oss-content-sha256", UNSIGNED.to_owned()));
    headers.push(("x-oss-date", unsigned.time.to_owned()));
    if let Some(token) = &credentials.token {
        headers.push(("x-oss-security-token", token.clone()));
    }
    headers.sort_unstable();
    let day = unsigned.time.get(..8).unwrap_or_default();
    let scope = format!("{day}/{}/oss/{TERMINATOR}", unsigned.region);
    let canonical = canonical(unsigned, &headers);
    let hash = hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
    let to_sign = format!("{ALGORITHM}\n{}\n{scope}\n{hash}", unsigned.time);
    let mut key = format!("aliyun_v4{}", credentials.secret).into_bytes();
    for part in [day, unsigned.region, "oss", TERMINATOR] {
        key = mac(&key, part);
    }
    let signature = hex(&mac(&key, &to_sign));
    let id = &credentials.id;
    headers.push((
        "authorization",
        format!("{ALGORITHM} Credential={id}/{scope},Signature={signature}"),
    ));
    headers
}

fn canonical(unsigned: &Unsigned<'_>, headers: &[(&str, String)]) -> String {
    let path = path(&format!("/{}/{}", unsigned.bucket, unsigned.key));
    let mut text = format!("{}\n{path}\n{}\n", unsigned.method, unsigned.query);
    for (name, value) in headers {
        let signed = name.starts_with("x-oss-") || ["content-type", "content-md5"].contains(name);
        if signed {
            let _ = writeln!(text, "{name}:{}", value.trim());
        }
    }
    text + "\n\n" + UNSIGNED
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    hmac::sign(&key, text.as_bytes()).as_ref().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values of the Go SDK's own test of its signer (`v4_test.go`, header with token).
    #[test]
    fn a_known_request_gets_the_known_signature() {
        let credentials = Credentials { id: "ak".into(), secret: "sk".into(), token: None };
        let query = query(&[
            ("+param1", "value3"),
            ("|param1", "value4"),
            ("+param2", ""),
            ("|param2", ""),
            ("param1", "value1"),
            ("param2", ""),
        ]);
        let headers =
            [("content-type", "text/plain".to_owned()), ("x-oss-head1", "value".to_owned())];
        let unsigned = Unsigned {
            method: "PUT",
            region: "cn-hangzhou",
            bucket: "bucket",
            key: "1234+-/123/1.txt",
            query: &query,
            headers: &headers,
            time: "20231216T162057Z",
        };
        let signed = sign(&unsigned, &credentials);
        let authorization = &signed.iter().find(|(name, _)| *name == "authorization").unwrap().1;
        let expected = "OSS4-HMAC-SHA256 \
            Credential=ak/20231216/cn-hangzhou/oss/aliyun_v4_request,\
            Signature=e21d18daa82167720f9b1047ae7e7f1ce7cb77a31e8203a7d5f4624fa0284afe";
        assert_eq!(authorization, expected);
    }

    #[test]
    fn parameters_are_encoded_and_sorted() {
        let text = query(&[("prefix", "a/b c"), ("list-type", "2"), ("versioning", "")]);
        assert_eq!(text, "list-type=2&prefix=a%2Fb%20c&versioning");
        assert_eq!(path("a/b c%41~"), "a/b%20c%2541~");
    }

    #[test]
    fn secrets_are_not_shown() {
        let credentials =
            Credentials { id: "ak".into(), secret: "hush".into(), token: Some("hush".into()) };
        assert_eq!(format!("{credentials:?}"), "Credentials(ak)");
    }
}
