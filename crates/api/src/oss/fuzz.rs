//! Bodies of fuzz targets: total functions on bytes that assert what must hold.
//!
//! Each takes any bytes, must never panic but for a broken promise, and checks that what was
//! accepted is written and read back consistently.
#![doc(hidden)]

use http::{HeaderMap, HeaderName, HeaderValue, Uri, header};

use crate::oss::json::Reader;
use crate::oss::request::{
    DeleteBucketTags, DeleteVectors, GetVectors, IndexOnly, IndexShape, ListVectorBuckets,
    ListVectorIndexes, ListVectors, PutBucketLogging, PutBucketResourceGroup, PutBucketTags,
    PutVectorBucket, PutVectorIndex, PutVectors, QueryVectors, index_name,
};
use crate::oss::response::{VectorRow, bucket_logging, resource_group, tagging, vector_list};
use crate::oss::signature::{BodyCheck, Claim, Request, Rules, SigningKey};
use crate::oss::{
    BucketName, Domains, Error, Filter, IndexName, Limits, ListScope, Metric, Operation, Query,
    Target,
};

/// A name and what runs on bytes.
pub type FuzzTarget = (&'static str, fn(&[u8]));

/// Every target by name.
pub const TARGETS: &[FuzzTarget] = &[
    ("host", host),
    ("query", query),
    ("headers", headers),
    ("signature", signature),
    ("bodies", bodies),
    ("put_vectors", put_vectors),
    ("filter", filter),
    ("token", token),
    ("names", names),
];

/// Any error can be answered.
fn check_error(error: &Error) {
    let body = error.body("0123456789ABCDEF01234567", "host", Some("bucket"));
    let parsed: serde_json::Value = serde_json::from_slice(&body).expect("an error body is JSON");
    let object = parsed["Error"].as_object().expect("the root is Error");
    assert!(object.values().all(serde_json::Value::is_string));
}

fn checked<T>(result: Result<T, Error>) -> Option<T> {
    result.inspect_err(check_error).ok()
}

/// First line: request target; second: Host.
pub fn host(bytes: &[u8]) {
    let (line, rest) = split_line(bytes);
    let Ok(uri) = Uri::try_from(line) else { return };
    let Ok(value) = HeaderValue::from_bytes(split_line(rest).0) else { return };
    let headers = HeaderMap::from_iter([(header::HOST, value)]);
    for domains in [Domains::of_region("cn-hangzhou"), Domains::of_region("r").any(true)] {
        let Some(target) = checked(Target::parse(&uri, &headers, &domains)) else { continue };
        let again = Target::parse(&uri, &headers, &domains);
        assert_eq!(again.as_ref(), Ok(&target));
        if let Some(name) = &target.bucket {
            checked(BucketName::parse(name));
        }
    }
}

/// A raw query string against every method.
pub fn query(bytes: &[u8]) {
    let Ok(raw) = std::str::from_utf8(bytes) else { return };
    let query = Query::parse(raw);
    for method in ["GET", "PUT", "POST", "DELETE", "HEAD", ""] {
        for has_bucket in [false, true] {
            if let Some(operation) = checked(Operation::resolve(method, &query, has_bucket)) {
                assert_eq!(operation.method(), method);
                assert!(operation.key().is_empty() || query.has(operation.key()));
            }
        }
    }
    checked(ListVectorBuckets::decode(&query, &HeaderMap::new(), &Limits::default()));
    checked(DeleteBucketTags::decode(&query));
}

/// Lines `name:value`.
pub fn headers(bytes: &[u8]) {
    let headers = header_lines(bytes);
    checked(PutVectorBucket::decode(&headers, &Limits::default()));
    if let Some(mut check) = checked(BodyCheck::new(&headers)) {
        check.update(bytes);
        checked(check.finish());
    }
}

/// First line: query string; then header lines.
pub fn signature(bytes: &[u8]) {
    let (line, rest) = split_line(bytes);
    let Ok(query) = std::str::from_utf8(line) else { return };
    let headers = header_lines(rest);
    let request = Request { method: "POST", query, headers: &headers };
    let rules = Rules { region: "cn-hangzhou", now: 1_758_097_845 };
    let Some(Claim::Signed(signed)) = checked(Claim::parse(request, &rules)) else { return };
    let key = SigningKey::derive("secret", signed.day(), signed.region());
    let token = signed.token().map(str::to_owned);
    if let Err(error) = signed.verify(&key, Some(("1234567890123456", "bucket"))) {
        check_error(&error);
        // A token of some length cannot stand in the answer by chance.
        if let Some(token) = token.filter(|token| token.len() > 80) {
            let masked = |text: &String| !text.contains(&token);
            let canonical = error.fields().iter().filter(|(name, _)| *name == "CanonicalRequest");
            assert!(canonical.map(|(_, text)| text).all(masked) || line_has(rest, &token));
        }
    }
    check_error(&signed.unknown_key());
}

/// Whether other headers than the token's hold a text.
fn line_has(bytes: &[u8], text: &str) -> bool {
    String::from_utf8_lossy(bytes).matches(text).count() > 1
}

/// A body for every operation but PutVectors.
pub fn bodies(bytes: &[u8]) {
    let limits = Limits::default();
    checked(PutVectorIndex::decode(bytes, &limits));
    checked(IndexOnly::decode(bytes));
    checked(ListVectorIndexes::decode(bytes, &limits));
    checked(GetVectors::decode(bytes, &limits));
    checked(DeleteVectors::decode(bytes, &limits));
    if let Some(list) = checked(ListVectors::decode(bytes, &limits)) {
        assert!(list.segment_index < list.segment_count && list.max > 0);
    }
    if let Some(query) = checked(QueryVectors::decode(bytes, &limits)) {
        assert!(query.vector.iter().all(|number| number.is_finite()));
    }
    if let Some(put) = checked(PutBucketTags::decode(bytes, &limits)) {
        let again = PutBucketTags::decode(&tagging(&put.tags), &limits);
        assert_eq!(again, Ok(put));
    }
    if let Some(put) = checked(PutBucketLogging::decode(bytes)) {
        assert_eq!(PutBucketLogging::decode(&bucket_logging(put.target.as_ref())), Ok(put));
    }
    if let Some(PutBucketResourceGroup { id: Some(id) }) =
        checked(PutBucketResourceGroup::decode(bytes))
    {
        let again = PutBucketResourceGroup::decode(&resource_group(&id));
        assert_eq!(again, Ok(PutBucketResourceGroup { id: Some(id) }));
    }
}

/// A PutVectors body; what is accepted is written as ListVectors would and read again.
pub fn put_vectors(bytes: &[u8]) {
    let limits = Limits::default();
    let non_filterable: [Box<str>; 1] = ["note".into()];
    let name = checked(index_name(bytes));
    for (dimension, metric) in [(1, Metric::Cosine), (2, Metric::Euclidean)] {
        let shape = IndexShape { dimension, metric, non_filterable: &non_filterable };
        let Some(batch) = checked(PutVectors::decode(bytes, &shape, &limits)) else { continue };
        assert_eq!(name.as_ref(), Some(&batch.index));
        let rewritten = rewrite(&batch, dimension as usize);
        assert_eq!(PutVectors::decode(&rewritten, &shape, &limits).as_ref(), Ok(&batch));
    }
}

fn rewrite(batch: &PutVectors<'_>, dimension: usize) -> Vec<u8> {
    assert_eq!(batch.values.len(), batch.keys.len() * dimension);
    let rows = batch.keys.iter().zip(batch.values.chunks_exact(dimension)).zip(&batch.metadata);
    let rows = rows.map(|((key, data), metadata)| VectorRow {
        key: key.as_bytes(),
        data: Some(data),
        metadata: metadata.map(str::as_bytes),
    });
    let list = vector_list(rows, None);
    let mut body = format!("{{\"indexName\":\"{}\",", batch.index).into_bytes();
    body.extend_from_slice(&list[1..]);
    body
}

/// A filter; its own JSON reads back to the same filter.
pub fn filter(bytes: &[u8]) {
    let Ok(mut reader) = Reader::new(bytes) else { return };
    let Some(filter) = checked(Filter::read(&mut reader, &Limits::default())) else { return };
    checked(filter.check_keys(&["note".into()]));
    // Shorthand is written out, so the text may be longer and nested deeper than the original.
    let limits = Limits {
        filter_bytes_max: usize::MAX / 2,
        filter_depth_max: usize::MAX,
        ..Limits::default()
    };
    let json = filter.to_json();
    let mut again = Reader::new(&json).expect("a written filter is UTF-8");
    assert_eq!(Filter::read(&mut again, &limits).as_ref(), Ok(&filter));
}

/// A token; what is accepted encodes to itself.
pub fn token(bytes: &[u8]) {
    let Ok(token) = std::str::from_utf8(bytes) else { return };
    let scope = ListScope::new(b"index", 0, 1, &Filter::All);
    if let Some(position) = checked(scope.decode(token)) {
        assert!(position.key.len() > 1480 || scope.encode(&position) == token);
    }
}

/// Names.
pub fn names(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Some(name) = checked(BucketName::parse(text)) {
        assert_eq!(name.as_str(), text);
    }
    if let Some(name) = checked(IndexName::parse(text)) {
        assert_eq!(name.as_str(), text);
    }
}

fn split_line(bytes: &[u8]) -> (&[u8], &[u8]) {
    match bytes.iter().position(|b| *b == b'\n') {
        Some(at) => (&bytes[..at], &bytes[at + 1..]),
        None => (bytes, &[]),
    }
}

fn header_lines(bytes: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in bytes.split(|b| *b == b'\n').take(64) {
        let Some(colon) = line.iter().position(|b| *b == b':') else { continue };
        let name = HeaderName::from_bytes(&line[..colon]);
        let value = HeaderValue::from_bytes(&line[colon + 1..]);
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    headers
}

#[cfg(test)]
#[path = "fuzz_tests.rs"]
mod tests;
