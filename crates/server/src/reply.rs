//! Answers: what an operation returns, what a refusal carries, and the response either becomes.
//!
//! Every response has `Date`, `Server`, `x-oss-request-id`, `x-oss-server-time` and `Connection`;
//! an error has exactly `application/json` and `x-oss-ec`, and, when a body is not allowed
//! (HEAD), the body in `x-oss-err`.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use hyper::body::{Body, Frame, SizeHint};
use vb_api::oss::response::{CONTENT_TYPE_JSON, common_headers, error_headers};
use vb_api::oss::{Error, Fault, RequestId};
use vb_commit::{StoreError, StoreErrorKind};

use crate::admission::Permit;
use crate::nodes::{Answer, MARK};

/// What an operation answers on success, or what another node answered.
#[derive(Debug)]
pub(crate) struct Reply {
    status: StatusCode,
    /// Headers that say something of the content.
    headers: HeaderMap,
    body: Option<Bytes>,
    /// The fault that another node answered with.
    fault: Option<Fault>,
}

impl Reply {
    /// A status without a body.
    pub(crate) fn empty(status: u16) -> Self {
        let status = StatusCode::from_u16(status).expect("the wire's statuses are valid");
        Self { status, headers: HeaderMap::new(), body: None, fault: None }
    }

    /// 200 with a JSON body.
    pub(crate) fn json(body: impl Into<Bytes>) -> Self {
        Self::empty(200).with_body(CONTENT_TYPE_JSON, body.into())
    }

    /// 200 with a body that only nodes read.
    pub(crate) fn bytes(body: Bytes) -> Self {
        Self::empty(200).with_body(HeaderValue::from_static("application/octet-stream"), body)
    }

    /// 200 without a body, naming the created resource.
    pub(crate) fn created(location: HeaderValue) -> Self {
        let mut reply = Self::empty(200);
        reply.headers.insert(header::LOCATION, location);
        reply
    }

    /// What another node answered, success or refusal, as it came.
    pub(crate) fn relayed(answer: Answer) -> Self {
        let ec = answer.headers.get(EC).and_then(|value| value.to_str().ok());
        let fault = ec.and_then(|ec| Fault::ALL.iter().find(|fault| fault.ec() == ec)).copied();
        let body = (!answer.body.is_empty()).then_some(answer.body);
        Self { status: answer.status, headers: answer.headers, body, fault }
    }

    fn with_body(mut self, kind: HeaderValue, body: Bytes) -> Self {
        self.headers.insert(header::CONTENT_TYPE, kind);
        self.body = Some(body);
        self
    }
}

const EC: HeaderName = HeaderName::from_static("x-oss-ec");

/// How a request ended.
pub(crate) struct Outcome(pub(crate) Result<Reply, Refusal>);

impl Outcome {
    /// The fault that the client is told of.
    pub(crate) fn fault(&self) -> Option<Fault> {
        match &self.0 {
            Ok(reply) => reply.fault,
            Err(refusal) => Some(refusal.error.fault()),
        }
    }

    /// What only the log is told.
    pub(crate) fn cause(&self) -> Option<&str> {
        self.0.as_ref().err()?.cause.as_deref()
    }

    /// The response it becomes.
    pub(crate) fn response(&self, origin: &Origin<'_>) -> Response<ReplyBody> {
        match &self.0 {
            Ok(reply) => success(reply, origin),
            Err(refusal) => failure(&refusal.error, origin),
        }
    }
}

/// Why a request was not done: the client's side and, where there is one, the operator's.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// What the client is told.
    pub(crate) error: Error,
    /// What only the log is told.
    pub(crate) cause: Option<String>,
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self { error, cause: None }
    }
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Error::from(fault).into()
    }
}

impl Refusal {
    /// 500 with a cause for the log.
    pub(crate) fn internal(cause: impl Into<String>) -> Self {
        Self { error: Fault::Internal.into(), cause: Some(cause.into()) }
    }
}

impl From<vb_engine::Error> for Refusal {
    fn from(failed: vb_engine::Error) -> Self {
        use vb_engine::Error as E;
        let fault = match &failed {
            E::NoSuchBucket => return Fault::NoSuchBucket.into(),
            E::BucketExists => return Fault::BucketExists.into(),
            E::BucketNotEmpty => return Fault::BucketNotEmpty.into(),
            E::TooManyBuckets => return Fault::TooManyBuckets.into(),
            E::NoSuchIndex => return Fault::NoSuchIndex.into(),
            E::IndexExists => return Fault::IndexExists.into(),
            E::TooManyIndexes => return Fault::TooManyIndexes.into(),
            E::Conflict => return Fault::IndexBusy.into(),
            E::Busy => Fault::Throttled,
            E::OutcomeUnknown => Fault::OutcomeUnknown,
            E::StorageFull => Fault::StorageFull,
            E::TooLarge { .. } => Fault::BodyTooLarge,
            E::Closed => Fault::Unavailable,
            E::Storage(source) => storage_fault(source),
            E::Invalid(_) | E::Corrupt { .. } => Fault::Internal,
        };
        Self { error: fault.into(), cause: Some(failed.to_string()) }
    }
}

/// A store that is full or away may come back: the client should repeat. The rest is ours.
fn storage_fault(source: &StoreError) -> Fault {
    match source.kind() {
        StoreErrorKind::Full => Fault::StorageFull,
        StoreErrorKind::Denied | StoreErrorKind::Unavailable | StoreErrorKind::Locked => {
            Fault::Unavailable
        }
        StoreErrorKind::AlreadyExists
        | StoreErrorKind::NotFound
        | StoreErrorKind::Corrupt
        | StoreErrorKind::Invalid => Fault::Internal,
    }
}

/// What the response needs to know of its request.
pub(crate) struct Origin<'a> {
    /// The request's id.
    pub(crate) id: &'a RequestId,
    /// The Host the client used.
    pub(crate) host: &'a str,
    /// The bucket it named, if any.
    pub(crate) bucket: Option<&'a str>,
    /// Whether the answer may have no body.
    pub(crate) is_head: bool,
    /// Whether the connection stays open afterwards.
    pub(crate) keep_alive: bool,
    /// Time since the request's head.
    pub(crate) elapsed: Duration,
}

/// The response of a success.
fn success(reply: &Reply, origin: &Origin<'_>) -> Response<ReplyBody> {
    let mut response = skeleton(reply.status, origin);
    for (name, value) in &reply.headers {
        response.headers_mut().insert(name, value.clone());
    }
    response.body_mut().data = reply.body.clone();
    response
}

/// The response of a refusal.
fn failure(error: &Error, origin: &Origin<'_>) -> Response<ReplyBody> {
    let status = StatusCode::from_u16(error.status()).expect("the wire's statuses are valid");
    let mut response = skeleton(status, origin);
    error_headers(response.headers_mut(), error);
    if error.fault() == Fault::NodeMark {
        // Tells a node that it is its mark, not its client, that is refused.
        response.headers_mut().insert(MARK, HeaderValue::from_static("refused"));
    }
    let body = error.body(origin.id.as_str(), origin.host, origin.bucket);
    if origin.is_head {
        let encoded = HeaderValue::try_from(STANDARD.encode(body)).expect("base64 is ASCII");
        response.headers_mut().insert(HeaderName::from_static("x-oss-err"), encoded);
    } else {
        response.body_mut().data = Some(body.into());
    }
    response
}

fn skeleton(status: StatusCode, origin: &Origin<'_>) -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::default());
    *response.status_mut() = status;
    let server_ms = u64::try_from(origin.elapsed.as_millis()).unwrap_or(u64::MAX);
    *response.headers_mut() = common_headers(origin.id, SystemTime::now(), server_ms);
    let connection = if origin.keep_alive { "keep-alive" } else { "close" };
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static(connection));
    response
}

/// The bytes of an answer, and the room they take until they are sent.
#[derive(Default)]
pub(crate) struct ReplyBody {
    data: Option<Bytes>,
    /// Held for its drop.
    _permit: Option<Permit>,
}

impl ReplyBody {
    /// Bytes of the body.
    pub(crate) fn len(&self) -> u64 {
        self.data.as_ref().map_or(0, |data| data.len() as u64)
    }

    /// Keeps the request's room until the answer is sent.
    pub(crate) fn hold(&mut self, permit: Option<Permit>) {
        self._permit = permit;
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.get_mut().data.take().map(|data| Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.data.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn origin(id: &RequestId, is_head: bool) -> Origin<'_> {
        Origin {
            id,
            host: "b-1.localhost",
            bucket: Some("b"),
            is_head,
            keep_alive: true,
            elapsed: Duration::from_millis(7),
        }
    }

    #[test]
    fn an_error_is_json_and_for_head_a_header() {
        let id = RequestId::from_random([7; 12]);
        let error = Error::from(Fault::NoSuchBucket);
        let plain = failure(&error, &origin(&id, false));
        assert_eq!(plain.status().as_u16(), 404);
        for (name, value) in [
            ("content-type", "application/json"),
            ("x-oss-ec", "0015-00000101"),
            ("x-oss-request-id", "070707070707070707070707"),
            ("x-oss-server-time", "7"),
            ("server", "AliyunOSS"),
            ("connection", "keep-alive"),
        ] {
            assert_eq!(plain.headers()[name], value, "{name}");
        }
        assert!(plain.headers().contains_key("date") && plain.body().len() > 0);
        let head = failure(&error, &origin(&id, true));
        assert_eq!(head.body().len(), 0);
        let decoded = STANDARD.decode(head.headers()["x-oss-err"].as_bytes()).unwrap();
        assert!(String::from_utf8(decoded).unwrap().contains("\"Code\":\"NoSuchBucket\""));
    }

    #[test]
    fn clients_repeat_what_may_pass_and_nothing_else() {
        let status = |e: vb_engine::Error| Refusal::from(e).error.status();
        let store = |kind| vb_engine::Error::Storage(Arc::new(StoreError::new(kind, "x")));
        assert_eq!(status(vb_engine::Error::Busy), 429);
        assert_eq!(status(vb_engine::Error::OutcomeUnknown), 503);
        assert_eq!(status(store(StoreErrorKind::Full)), 503);
        assert_eq!(status(store(StoreErrorKind::Unavailable)), 503);
        assert_eq!(status(vb_engine::Error::Conflict), 409);
        assert_eq!(status(vb_engine::Error::TooLarge { bytes: 2, bytes_max: 1 }), 400);
    }

    /// The failures that no client can bring about on demand, whole: status, code, EC and body.
    #[test]
    fn failures_of_the_engine_are_answered_in_the_shape_of_the_wire() {
        use vb_engine::Error as E;
        let full = E::Storage(Arc::new(StoreError::new(StoreErrorKind::Full, "x")));
        let id = RequestId::from_random([7; 12]);
        for (failed, status, code, ec) in [
            (E::Conflict, 409, "VectorIndexOperationConflict", "0900-00000506"),
            (E::Busy, 429, "QpsLimitExceeded", "0900-00000701"),
            (E::Closed, 503, "ServiceUnavailable", "0900-00000702"),
            (E::OutcomeUnknown, 503, "ServiceUnavailable", "0900-00000703"),
            (full, 503, "ServiceUnavailable", "0900-00000704"),
            (E::Invalid("a fault of ours"), 500, "InternalError", "0900-00000705"),
        ] {
            let answer = failure(&Refusal::from(failed).error, &origin(&id, false));
            assert_eq!(answer.status().as_u16(), status, "{code}");
            assert_eq!(answer.headers()["x-oss-ec"], ec, "{code}");
            assert_eq!(answer.headers()["content-type"], "application/json", "{code}");
            let body: serde_json::Value =
                serde_json::from_slice(answer.body().data.as_ref().unwrap()).unwrap();
            let error = &body["Error"];
            assert_eq!((&error["Code"], &error["EC"]), (&code.into(), &ec.into()));
            assert_eq!(error["RequestId"], "070707070707070707070707", "{code}");
            assert_eq!(error["HostId"], "b-1.localhost", "{code}");
            assert!(!error["Message"].as_str().unwrap().contains("fault of ours"), "{code}");
        }
    }
}
