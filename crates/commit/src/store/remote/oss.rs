//! Alibaba Cloud OSS as an object store, by its own protocol.
//!
//! A create carries `x-oss-forbid-overwrite: true`, and only a create: OSS serves such requests at
//! a lower rate, so they are also spaced (see `pace`). In a bucket with versioning, enabled or
//! suspended, that header has no effect; [`OssStore::refuse_versioning`] finds that out at start.
//! OSS answers a create of a taken name with 409 `FileAlreadyExists`. Reads ask for the standard
//! behaviour of ranges, lists for keys behind a key, which OSS returns in byte order.

mod list;
mod sign;
mod upload;
pub(super) mod xml;

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};
use http::{Method, Response};
use object_store::client::{HttpClient, HttpConnector, HttpRequestBody};
use object_store::path::Path;
use object_store::{
    Attributes, CopyOptions, Error, GetOptions, GetRange, GetResult, GetResultPayload, ListResult,
    MultipartUpload, ObjectMeta, ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, Result,
};
use time::OffsetDateTime;
use time::macros::format_description;
use tokio::time::Instant;

use self::sign::{Credentials, Unsigned};
use super::clouds::{Env, client};
use super::refusal::{Refusal, judge};
use super::transport::{Connector, wait_until};
use super::{RemoteOptions, check_endpoint, wrong};
use crate::error::{StoreError, StoreErrorKind};
use crate::store::pace::Pace;

/// How errors of `object_store` name this store.
const STORE: &str = "OSS";

/// How many deletes are under way at once.
const DELETES_AT_ONCE: usize = 10;

/// A bucket of OSS; clones share the connections.
#[derive(Debug, Clone)]
pub(in crate::store) struct OssStore(Arc<Bucket>);

#[derive(Debug)]
struct Bucket {
    client: HttpClient,
    credentials: Credentials,
    region: String,
    name: String,
    /// Before `/key`: with the bucket as host name, or behind the host of an IP address.
    base: String,
    pace: Mutex<Pace>,
    opened: Instant,
}

/// One request before it is signed.
#[derive(Debug, Default)]
struct Ask<'a> {
    key: &'a str,
    parameters: &'a [(&'a str, &'a str)],
    headers: &'a [(&'a str, String)],
    body: PutPayload,
}

impl fmt::Display for OssStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OSS({})", self.0.name)
    }
}

impl OssStore {
    /// Makes the client from the variables `OSS_*` (or `ALIBABA_CLOUD_*` for keys). Sends nothing.
    ///
    /// # Errors
    ///
    /// `Invalid` for a missing region or a wrong endpoint, `Denied` for missing keys.
    pub(super) fn open(
        options: &RemoteOptions,
        connector: &Connector,
        env: Env<'_>,
    ) -> Result<Self, StoreError> {
        let credentials = credentials(env).ok_or_else(|| {
            StoreError::new(StoreErrorKind::Denied, options.to_string())
                .with_source("set OSS_ACCESS_KEY_ID and OSS_ACCESS_KEY_SECRET")
        })?;
        let endpoint = env("OSS_ENDPOINT").map(with_scheme);
        let region = env("OSS_REGION").map(|region| region.trim_start_matches("oss-").to_owned());
        let region = region.or_else(|| region_of(endpoint.as_deref()?));
        let region = region.ok_or_else(|| wrong(options, "set OSS_REGION, such as cn-hangzhou"))?;
        let endpoint = endpoint.unwrap_or_else(|| format!("https://oss-{region}.aliyuncs.com"));
        let plain = check_endpoint(options, &endpoint)?;
        let invalid = |error| wrong(options, format!("{error}"));
        let client = connector.connect(&client(plain)).map_err(invalid)?;
        let (name, base) = (options.bucket.clone(), base(&endpoint, &options.bucket));
        let (pace, opened) = (Mutex::default(), Instant::now());
        Ok(Self(Arc::new(Bucket { client, credentials, region, name, base, pace, opened })))
    }

    /// Makes sure that versioning was never enabled in the bucket.
    ///
    /// # Errors
    ///
    /// `Corrupt` if it was: creates would overwrite. Else what OSS answered.
    pub(in crate::store) async fn refuse_versioning(&self) -> Result<(), StoreError> {
        let ask = Ask { parameters: &[("versioning", "")], ..Ask::default() };
        let answer = match self.0.send(Method::GET, ask).await {
            Ok(answer) => answer,
            Err(error) => {
                let (kind, _) = judge(&error).unwrap_or((StoreErrorKind::NotFound, true));
                return Err(StoreError::new(kind, self.to_string()).with_source(error));
            }
        };
        let text = String::from_utf8_lossy(answer.body());
        match xml::first(&text, "Status").filter(|status| !status.is_empty()) {
            None => Ok(()),
            Some(status) => Err(StoreError::new(StoreErrorKind::Corrupt, self.to_string())
                .with_source(format!(
                    "versioning is {status} in this bucket, so a create would overwrite: use a \
                     bucket in which versioning was never enabled"
                ))),
        }
    }
}

impl Bucket {
    /// Sends a request and returns the answer, if it is a success.
    async fn send(&self, method: Method, ask: Ask<'_>) -> Result<Response<Bytes>> {
        let query = sign::query(ask.parameters);
        let time = now();
        let unsigned = Unsigned {
            method: method.as_str(),
            region: &self.region,
            bucket: &self.name,
            key: ask.key,
            query: &query,
            headers: ask.headers,
            time: &time,
        };
        let mark = if query.is_empty() { "" } else { "?" };
        let uri = format!("{}/{}{mark}{query}", self.base, sign::path(ask.key));
        let mut request = http::Request::builder().method(&method).uri(uri);
        for (name, value) in sign::sign(&unsigned, &self.credentials) {
            request = request.header(name, value);
        }
        let length = ask.body.content_length();
        let body = HttpRequestBody::from(ask.body);
        let request = request.header(http::header::CONTENT_LENGTH, length).body(body);
        let answer = self.client.execute(request.map_err(generic)?).await.map_err(generic)?;
        let (parts, body) = answer.into_parts();
        let answer = Response::from_parts(parts, body.bytes().await.map_err(generic)?);
        if answer.status().is_success() { Ok(answer) } else { Err(refused(ask.key, &answer)) }
    }

    /// Waits for the turn of a create.
    async fn turn(&self) {
        let now = self.opened.elapsed();
        let turn = self.pace.lock().unwrap_or_else(PoisonError::into_inner).turn(now);
        wait_until(self.opened, turn).await;
    }

    fn note_create(&self, result: &Result<PutResult>) {
        let failed = |error| matches!(judge(error), Some((StoreErrorKind::Unavailable, _)));
        let too_many = result.as_ref().is_err_and(failed);
        self.pace.lock().unwrap_or_else(PoisonError::into_inner).note(too_many);
    }

    async fn put(&self, key: &str, body: PutPayload, create: bool) -> Result<PutResult> {
        let forbid = [("x-oss-forbid-overwrite", "true".to_owned())];
        let headers = if create { &forbid[..] } else { &[] };
        let answer = self.send(Method::PUT, Ask { key, headers, body, ..Ask::default() }).await?;
        Ok(put_result(&answer))
    }
}

#[async_trait]
impl ObjectStore for OssStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        match options.mode {
            PutMode::Overwrite => self.0.put(location.as_ref(), payload, false).await,
            PutMode::Create => {
                self.0.turn().await;
                let result = self.0.put(location.as_ref(), payload, true).await;
                self.0.note_create(&result);
                result
            }
            PutMode::Update(_) => Err(unsupported("updating an object if it is unchanged")),
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        _options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        Ok(Box::new(upload::Upload::begin(self, location).await?))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let mut headers = vec![("x-oss-range-behavior", "standard".to_owned())];
        if let Some(range) = &options.range {
            headers.push(("range", range_header(range)));
        }
        let method = if options.head { Method::HEAD } else { Method::GET };
        let ask = Ask { key: location.as_ref(), headers: &headers, ..Ask::default() };
        got(location, self.0.send(method, ask).await?)
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        let delete = move |location: Result<Path>| {
            let store = store.clone();
            async move {
                let location = location?;
                let ask = Ask { key: location.as_ref(), ..Ask::default() };
                store.0.send(Method::DELETE, ask).await?;
                Ok(location)
            }
        };
        locations.map(delete).buffered(DELETES_AT_ONCE).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        list::flat(self, prefix, None)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        list::flat(self, prefix, Some(offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let pages: Vec<_> = list::pages(self, prefix, None, true).try_collect().await?;
        let mut all = ListResult {
            common_prefixes: Vec::new(),
            objects: Vec::new(),
            extensions: http::Extensions::new(),
        };
        for page in pages {
            all.common_prefixes.extend(page.prefixes);
            all.objects.extend(page.objects);
        }
        Ok(all)
    }

    async fn copy_opts(&self, _from: &Path, _to: &Path, _options: CopyOptions) -> Result<()> {
        Err(unsupported("copying an object"))
    }
}

fn credentials(env: Env<'_>) -> Option<Credentials> {
    let either =
        |name: &str| env(&format!("OSS_{name}")).or_else(|| env(&format!("ALIBABA_CLOUD_{name}")));
    let token = env("OSS_SESSION_TOKEN").or_else(|| env("ALIBABA_CLOUD_SECURITY_TOKEN"));
    Some(Credentials { id: either("ACCESS_KEY_ID")?, secret: either("ACCESS_KEY_SECRET")?, token })
}

fn with_scheme(endpoint: String) -> String {
    let whole = if endpoint.contains("://") { endpoint } else { format!("https://{endpoint}") };
    whole.trim_end_matches('/').to_owned()
}

/// The region in `https://oss-cn-hangzhou-internal.aliyuncs.com`.
fn region_of(endpoint: &str) -> Option<String> {
    let host = endpoint.split_once("://")?.1;
    let region = host.strip_prefix("oss-")?.split('.').next()?;
    Some(region.trim_end_matches("-internal").to_owned())
}

fn base(endpoint: &str, bucket: &str) -> String {
    let (scheme, host) = endpoint.split_once("://").unwrap_or(("https", endpoint));
    match super::is_loopback(host) {
        true => format!("{endpoint}/{bucket}"),
        false => format!("{scheme}://{bucket}.{host}"),
    }
}

fn now() -> String {
    let form = format_description!("[year][month][day]T[hour][minute][second]Z");
    OffsetDateTime::now_utc().format(&form).expect("a date of our time can be written")
}

fn generic(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Generic { store: STORE, source: Box::new(error) }
}

fn unsupported(what: &str) -> Error {
    Error::NotImplemented { operation: what.to_owned(), implementer: STORE.to_owned() }
}

fn refused(key: &str, answer: &Response<Bytes>) -> Error {
    let refusal = Refusal::new(answer.status().as_u16(), answer.body());
    let path = key.to_owned();
    match (refusal.status, refusal.code.as_str()) {
        (404, _) => Error::NotFound { path, source: Box::new(refusal) },
        (409, "FileAlreadyExists") => Error::AlreadyExists { path, source: Box::new(refusal) },
        (304, _) => Error::NotModified { path, source: Box::new(refusal) },
        (412, _) => Error::Precondition { path, source: Box::new(refusal) },
        _ => generic(refusal),
    }
}

fn header<'a>(answer: &'a Response<Bytes>, name: &str) -> Option<&'a str> {
    answer.headers().get(name)?.to_str().ok()
}

fn put_result(answer: &Response<Bytes>) -> PutResult {
    let e_tag = header(answer, "etag").map(str::to_owned);
    PutResult { e_tag, version: None, extensions: http::Extensions::new() }
}

fn range_header(range: &GetRange) -> String {
    match range {
        GetRange::Bounded(range) => format!("bytes={}-{}", range.start, range.end.max(1) - 1),
        GetRange::Offset(from) => format!("bytes={from}-"),
        GetRange::Suffix(length) => format!("bytes=-{length}"),
    }
}

fn got(location: &Path, answer: Response<Bytes>) -> Result<GetResult> {
    let length = header(&answer, "content-length").and_then(|length| length.parse().ok());
    let length = length.unwrap_or(answer.body().len() as u64);
    let part = header(&answer, "content-range").and_then(content_range);
    let (range, size) = part.unwrap_or((0..length, length));
    let meta = ObjectMeta {
        location: location.clone(),
        last_modified: std::time::SystemTime::now().into(),
        size,
        e_tag: header(&answer, "etag").map(str::to_owned),
        version: None,
    };
    let body = answer.into_body();
    let payload = GetResultPayload::Stream(stream::once(async { Ok(body) }).boxed());
    let (attributes, extensions) = (Attributes::new(), http::Extensions::new());
    Ok(GetResult { payload, meta, range, attributes, extensions })
}

/// `bytes 0-9/100`: the range and the length of the whole.
fn content_range(text: &str) -> Option<(Range<u64>, u64)> {
    let (range, size) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (from, to) = range.split_once('-')?;
    Some((from.parse().ok()?..to.parse::<u64>().ok()?.checked_add(1)?, size.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_tell_region_and_address() {
        let internal = with_scheme("oss-cn-beijing-internal.aliyuncs.com/".into());
        assert_eq!(region_of(&internal).as_deref(), Some("cn-beijing"));
        assert_eq!(base(&internal, "b"), "https://b.oss-cn-beijing-internal.aliyuncs.com");
        assert_eq!(base("http://127.0.0.1:9", "b"), "http://127.0.0.1:9/b");
        assert_eq!(region_of("https://example.com"), None);
    }

    #[test]
    fn settings_come_from_the_usual_variables() {
        let counters = Arc::default();
        let options = RemoteOptions::parse("oss://bucket").unwrap();
        let open = |names: &[(&str, &str)]| {
            let env = |name: &str| {
                names.iter().find(|(known, _)| *known == name).map(|(_, value)| value.to_string())
            };
            OssStore::open(&options, &Connector::new(Arc::clone(&counters)), &env)
        };
        let keys = [("OSS_ACCESS_KEY_ID", "id"), ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "secret")];
        assert_eq!(open(&[]).unwrap_err().kind(), StoreErrorKind::Denied);
        let no_region = open(&keys).unwrap_err();
        assert!(no_region.to_string().contains("OSS_REGION"), "{no_region}");
        let store = open(&[keys[0], keys[1], ("OSS_REGION", "oss-cn-hangzhou")]).unwrap();
        assert_eq!(store.0.base, "https://bucket.oss-cn-hangzhou.aliyuncs.com");
        let plain = open(&[keys[0], keys[1], ("OSS_ENDPOINT", "http://oss-cn-x.aliyuncs.com")]);
        assert_eq!(plain.unwrap_err().kind(), StoreErrorKind::Invalid);
    }

    #[test]
    fn ranges_read_back() {
        assert_eq!(range_header(&GetRange::Bounded(3..7)), "bytes=3-6");
        assert_eq!(content_range("bytes 3-6/10"), Some((3..7, 10)));
        for bad in ["bytes */10", "3-6/10", "bytes 3-18446744073709551615/1"] {
            assert_eq!(content_range(bad), None, "{bad}");
        }
    }
}
