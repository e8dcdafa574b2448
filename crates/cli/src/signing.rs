//! A call with everything a server wants to see: URL, headers, signature.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, CONTENT_TYPE, DATE, HeaderMap, HeaderName, HeaderValue};
use md5::{Digest as _, Md5};
use vb_api::oss::signature::{Credentials, SignInput, authorization, presign};
use vb_api::oss::to_basic;

use crate::call::Call;
use crate::connection::{Settings, Target};
use crate::failure::Failure;

/// A request ready to be sent; its body is the call's.
#[derive(Debug)]
pub(crate) struct Signed {
    pub(crate) url: String,
    pub(crate) headers: HeaderMap,
}

/// Whether the body's MD5 goes along and is checked by the service.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Digest {
    Md5,
    /// For requests whose body may still be edited.
    None,
}

/// Signs in the headers; valid for 15 minutes around `now`. Unsigned without credentials.
pub(crate) fn headers(
    call: &Call,
    target: &Target,
    settings: &Settings,
    now: SystemTime,
    digest: Digest,
) -> Result<Signed, Failure> {
    let query = call.query_string();
    let mut headers = content_headers(call, digest)?;
    headers.insert(DATE, value(&httpdate::fmt_http_date(now))?);
    if let Some(credentials) = &settings.credentials {
        let at = seconds(now);
        headers.insert("x-oss-date", value(&to_basic(at))?);
        headers.insert("x-oss-content-sha256", HeaderValue::from_static("UNSIGNED-PAYLOAD"));
        if let Some(token) = &credentials.token {
            headers.insert("x-oss-security-token", value(token)?);
        }
        let input = input(call, settings, &query, &headers, at)?;
        let signature = authorization(credentials, &input);
        headers.insert(AUTHORIZATION, value(&signature)?);
    }
    Ok(Signed { url: target.url(&query), headers })
}

/// Signs in the URL; valid for `expires_seconds` from `now`. The headers returned must be sent too.
pub(crate) fn in_url(
    call: &Call,
    target: &Target,
    settings: &Settings,
    now: SystemTime,
    expires_seconds: u32,
) -> Result<Signed, Failure> {
    let credentials: &Credentials = settings.credentials.as_ref().ok_or_else(no_credentials)?;
    let query = call.query_string();
    let headers = content_headers(call, Digest::None)?;
    let input = input(call, settings, &query, &headers, seconds(now))?;
    let query = presign(credentials, &input, expires_seconds);
    Ok(Signed { url: target.url(&query), headers })
}

/// What to tell someone who wants a signature but gave no key.
pub(crate) fn no_credentials() -> Failure {
    Failure::usage("there is nothing to sign with: set OSS_ACCESS_KEY_ID and OSS_ACCESS_KEY_SECRET")
}

fn input<'a>(
    call: &'a Call,
    settings: &'a Settings,
    query: &'a str,
    headers: &'a HeaderMap,
    at: i64,
) -> Result<SignInput<'a>, Failure> {
    let resource = match (&settings.account, &call.bucket) {
        (Some(account), Some(bucket)) => Some((account.as_str(), bucket.as_str())),
        (None, Some(_)) => return Err(no_account()),
        (_, None) => None,
    };
    Ok(SignInput {
        method: call.method,
        region: &settings.region,
        resource,
        query,
        headers,
        additional: &[],
        at,
    })
}

/// What to tell someone whose call needs an account id that is not there.
pub(crate) fn no_account() -> Failure {
    Failure::usage(
        "the account id is part of every bucket's address and signature: \
                    give --account-id or VECTORBUCKET_ACCOUNT_ID \
                    (`serve --dev` writes it to DATA/dev.env)",
    )
}

/// The headers that say what the body is, and the call's own.
fn content_headers(call: &Call, digest: Digest) -> Result<HeaderMap, Failure> {
    let mut headers = HeaderMap::new();
    if !call.body.is_empty() {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if digest == Digest::Md5 {
            headers.insert("content-md5", value(&STANDARD.encode(Md5::digest(&call.body)))?);
        }
    }
    for (name, text) in &call.headers {
        headers.insert(HeaderName::from_static(name), value(text)?);
    }
    Ok(headers)
}

fn value(text: &str) -> Result<HeaderValue, Failure> {
    HeaderValue::from_str(text)
        .map_err(|_| Failure::usage(format!("{text:?} cannot stand in an HTTP header")))
}

fn seconds(now: SystemTime) -> i64 {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    use super::{Digest, headers, in_url};
    use crate::call::Call;
    use crate::stub::example_settings;

    /// 2025-09-17T08:30:45Z, the signing time of the published examples.
    fn example_time() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_758_097_845)
    }

    #[test]
    fn header_signature_matches_the_known_answer() {
        let settings = example_settings("http://oss.example");
        let mut call =
            Call::json("my-vec-bucket", "getVectorIndex", br#"{"indexName": "idx1"}"#.to_vec());
        let target = crate::client::target(&settings, &call).unwrap();
        let signed = headers(&call, &target, &settings, example_time(), Digest::Md5).unwrap();
        assert_eq!(signed.url, "http://my-vec-bucket-1234567890123456.oss.example/?getVectorIndex");
        assert_eq!(signed.headers["content-md5"], "zOPR5TqFiJfnbiU3tm2p5Q==");
        assert_eq!(signed.headers["x-oss-date"], "20250917T083045Z");
        assert_eq!(signed.headers["date"], "Wed, 17 Sep 2025 08:30:45 GMT");
        assert_eq!(
            signed.headers["authorization"],
            "OSS4-HMAC-SHA256 \
                    Credential=LTAI5tExampleAccessKey00/20250917/cn-hangzhou/oss/aliyun_v4_request,Signature=2be92b2fe57e0d597b062eb68606d231ce49daa886f0d35521ecd25d1e5ac7f5"
        );
        call.body.clear();
        let unsigned = headers(&call, &target, &settings, example_time(), Digest::None).unwrap();
        assert!(!unsigned.headers.contains_key("content-md5"));
    }

    #[test]
    fn url_signature_matches_the_known_answer() {
        let settings = example_settings("http://127.0.0.1:9100");
        let call = Call { method: "GET", ..Call::json("my-vec-bucket", "bucketInfo", Vec::new()) };
        let target = crate::client::target(&settings, &call).unwrap();
        let signed = in_url(&call, &target, &settings, example_time(), 600).unwrap();
        assert!(signed.headers.is_empty());
        assert!(signed.url.starts_with("http://127.0.0.1:9100/my-vec-bucket/?"), "{}", signed.url);
        assert!(
            signed.url.ends_with(
                "x-oss-signature=9e373332681fe31e03e905510f23fcfaea4aaebbaefae055f6b3a8baf2f5954e"
            ),
            "{}",
            signed.url
        );
    }

    #[test]
    fn text_that_no_header_can_hold_is_refused() {
        let settings = example_settings("http://127.0.0.1:9100");
        let call = Call {
            headers: vec![("x-oss-resource-group-id", "a\r\nb".to_owned())],
            ..Call::json("b", "x", Vec::new())
        };
        let target = crate::client::target(&settings, &call).unwrap();
        assert!(headers(&call, &target, &settings, example_time(), Digest::Md5).is_err());
    }
}
