//! Every HTTP request to a remote store: its deadline, its repetitions, its second copy, its count.
//!
//! ```text
//! call -> attempt (at most 5 s and 1 s per MiB) -> whole answer
//!   ^         |  a read that takes longer than most: a second copy; the first answer counts
//!   +- pause -+  (at most 20 s and 1 s per MiB in all; which failures: see `retry`)
//! ```
//!
//! Invariants: a create is sent once, unless no connection came about. An answer is handed on only
//! once all of it has arrived. Failed answers are told by status and code ([`Refusal`]), but those
//! that the clients tell apart themselves are handed on as they are.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Method, Response};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
    HttpResponseBody, HttpService, ReqwestConnector,
};
use tokio::time::{Instant, sleep, timeout};

use super::refusal::Refusal;
use crate::store::count::{Counters, Verb};
use crate::store::hedge::Hedge;
use crate::store::retry::{self, ATTEMPT, Failure, REQUEST};

/// Headers that make a write a create: S3 and Azure, GCS, OSS.
const CREATE_HEADERS: [(&str, &str); 3] = [
    ("if-none-match", "*"),
    ("x-goog-if-generation-match", "0"),
    ("x-oss-forbid-overwrite", "true"),
];

/// Makes clients whose requests go through one [`Transport`].
#[derive(Debug, Clone)]
pub(super) struct Connector {
    traffic: Arc<Traffic>,
}

/// What all requests to one store share.
#[derive(Debug)]
struct Traffic {
    counters: Arc<Counters>,
    hedge: Mutex<Hedge>,
}

impl Connector {
    pub(super) fn new(counters: Arc<Counters>) -> Self {
        Self { traffic: Arc::new(Traffic { counters, hedge: Mutex::default() }) }
    }
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(Transport { client, traffic: Arc::clone(&self.traffic) }))
    }
}

/// The HTTP client of a remote store.
#[derive(Debug)]
struct Transport {
    client: HttpClient,
    traffic: Arc<Traffic>,
}

/// What is known of a request before it is sent.
#[derive(Debug, Clone, Copy)]
struct Plan {
    /// `None`: a request for credentials.
    verb: Option<Verb>,
    /// Bytes that are sent or asked for, as far as known.
    bytes: u64,
}

type Answer = Result<Response<Bytes>, HttpError>;

#[async_trait]
impl HttpService for Transport {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let plan = plan(&request);
        let end = Instant::now() + retry::with_bytes(REQUEST, plan.bytes);
        let mut attempts = 0;
        loop {
            attempts += 1;
            let answer = self.attempt(plan, &request).await;
            let left = end.saturating_duration_since(Instant::now());
            let is_create = matches!(plan.verb, Some(Verb::Create));
            let pause = retry::pause(failure(&answer), is_create, attempts, left, chance());
            let Some(pause) = pause.filter(|_| plan.verb.is_some() || attempts < 3) else {
                return tell(plan, answer);
            };
            self.traffic.counters.retried(plan.verb);
            sleep(pause).await;
        }
    }
}

impl Transport {
    async fn attempt(&self, plan: Plan, request: &HttpRequest) -> Answer {
        if !matches!(plan.verb, Some(Verb::Get)) {
            return self.send(plan, request).await;
        }
        let began = Instant::now();
        let answer = self.hedged(plan, request).await;
        if answer.is_ok() {
            self.traffic.hedge().note(plan.bytes, began.elapsed());
        }
        answer
    }

    /// A read, and a second copy of it if the first takes long.
    async fn hedged(&self, plan: Plan, request: &HttpRequest) -> Answer {
        let mut first = std::pin::pin!(self.send(plan, request));
        let wait = self.traffic.hedge().wait(plan.bytes);
        if let Ok(answer) = timeout(wait, &mut first).await {
            return answer;
        }
        if !self.traffic.hedge().spend() {
            return first.await;
        }
        self.traffic.counters.hedged(plan.verb);
        let mut second = std::pin::pin!(self.send(plan, request));
        tokio::select! {
            biased;
            answer = &mut first => match answer { Ok(answer) => Ok(answer), Err(_) => second.await },
            answer = &mut second => match answer { Ok(answer) => Ok(answer), Err(_) => first.await },
        }
    }

    /// One request and the whole answer to it.
    async fn send(&self, plan: Plan, request: &HttpRequest) -> Answer {
        self.traffic.counters.sent(plan.verb);
        let head = within(plan.bytes, self.client.execute(request.clone())).await?;
        let (parts, body) = head.into_parts();
        let length = parts.headers.get(http::header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
        let body = within(length.unwrap_or(plan.bytes), body.bytes()).await?;
        Ok(Response::from_parts(parts, body))
    }
}

impl Traffic {
    fn hedge(&self) -> MutexGuard<'_, Hedge> {
        self.hedge.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn plan(request: &HttpRequest) -> Plan {
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let query = request.uri().query().unwrap_or_default();
    let names = |name: &str| query.split('&').any(|pair| pair.split('=').next() == Some(name));
    let verb = match *request.method() {
        _ if is_of_this_link(request.uri().host()) => None,
        Method::GET if query.contains("comp=list") || names("list-type") => Some(Verb::List),
        Method::GET | Method::HEAD => Some(Verb::Get),
        Method::PUT if CREATE_HEADERS.iter().any(|(name, value)| header(name) == Some(*value)) => {
            Some(Verb::Create)
        }
        Method::PUT => Some(Verb::Put),
        Method::DELETE => Some(Verb::Delete),
        Method::POST if names("delete") || query.contains("comp=batch") => Some(Verb::Delete),
        Method::POST if names("uploads") || names("uploadId") => Some(Verb::Put),
        _ => None,
    };
    let asked = header("range").or_else(|| header("x-ms-range")).and_then(range_length);
    Plan { verb, bytes: asked.unwrap_or(request.body().content_length() as u64) }
}

/// Whether this is a machine's own metadata service, which hands out credentials.
fn is_of_this_link(host: Option<&str>) -> bool {
    host.is_some_and(|host| {
        host.starts_with("169.254.")
            || host == "100.100.100.200"
            || host == "metadata.google.internal"
    })
}

/// The length of `bytes=from-to`.
fn range_length(range: &str) -> Option<u64> {
    let (from, to) = range.strip_prefix("bytes=")?.split_once('-')?;
    let (from, to) = (from.parse::<u64>().ok()?, to.parse::<u64>().ok()?);
    to.checked_sub(from)?.checked_add(1)
}

async fn within<T>(
    bytes: u64,
    work: impl Future<Output = Result<T, HttpError>>,
) -> Result<T, HttpError> {
    match timeout(retry::with_bytes(ATTEMPT, bytes), work).await {
        Ok(result) => result,
        Err(late) => Err(HttpError::new(HttpErrorKind::Timeout, late)),
    }
}

fn failure(answer: &Answer) -> Failure {
    match answer {
        Ok(answer) => match refusal(answer) {
            Some(refusal) if refusal.is_passing() => Failure::Overload,
            Some(_) | None => Failure::Final,
        },
        Err(error) if error.kind() == HttpErrorKind::Connect => Failure::NotSent,
        Err(_) => Failure::NoAnswer,
    }
}

/// What a failed answer says; `None` for success and for the refusals that the clients have kinds
/// for. A 409 is such a one unless it only says that another request was under way.
fn refusal(answer: &Response<Bytes>) -> Option<Refusal> {
    let status = answer.status().as_u16();
    if matches!(status, 200..300 | 304 | 404 | 412) {
        return None;
    }
    let refusal = Refusal::new(status, answer.body());
    (status != 409 || refusal.is_passing()).then_some(refusal)
}

fn tell(plan: Plan, answer: Answer) -> Result<HttpResponse, HttpError> {
    let answer = answer?;
    // Clients read the failures of credential services themselves.
    match refusal(&answer).filter(|_| plan.verb.is_some()) {
        Some(refusal) => Err(HttpError::new(HttpErrorKind::Unknown, refusal)),
        None => Ok(answer.map(HttpResponseBody::from)),
    }
}

fn chance() -> u64 {
    let mut bytes = [0; 8];
    // Without randomness processes merely pause alike.
    let _ = getrandom::fill(&mut bytes);
    u64::from_le_bytes(bytes)
}

/// The pause of a queue whose turn comes at `at`, both since `origin`.
pub(super) async fn wait_until(origin: Instant, at: Duration) {
    tokio::time::sleep_until(origin + at).await;
}
