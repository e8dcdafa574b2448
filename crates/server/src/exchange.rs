//! One request as seen from outside: what the log line and the counters say of it.
//!
//! Fields are filled in as the request is understood, so that a refusal at any step is logged with
//! what was known by then. Headers and the query, where secrets are, are kept in [`Asked`] alone,
//! which only the masking writer of access logs reads.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use http::{HeaderMap, Method, Request, Response, header};
use vb_api::oss::{RequestId, Target};
use vb_engine::BucketId;
use vb_identity::Principal;

use crate::access_log::{Asked, Destination, Line, Told};
use crate::admission::Permit;
use crate::audit::{Event, Verdict};
use crate::limits::limit_of;
use crate::metrics::{Finished, Metrics};
use crate::nodes::Mark;
use crate::reply::{Origin, Outcome, ReplyBody};
use crate::serve::wants_keep_alive;
use crate::transport::Client;

/// Longest Host that is repeated to the client.
const HOST_BYTES_MAX: usize = 300;

/// The record of one request.
pub(crate) struct Exchange {
    id: RequestId,
    id_bytes: [u8; 12],
    started: Instant,
    client: Client,
    /// The valid mark of the node that sent the request on.
    mark: Option<Mark>,
    /// Who served it, as far as the request has come.
    pub(crate) route: Route,
    /// Not worth a log line.
    pub(crate) quiet: bool,
    is_head: bool,
    host: Box<str>,
    bucket: Option<Box<str>>,
    account: Option<Box<str>>,
    principal: Option<Principal>,
    asked: Asked,
    logging: Logging,
    verdict: Option<Verdict>,
    /// Name of the operation, `-` until it is recognised.
    pub(crate) operation: &'static str,
    /// Index that the body named.
    pub(crate) index: Option<Box<str>>,
    /// Bytes of the request's body.
    pub(crate) bytes_in: u64,
    /// Whether reading of the body has begun.
    pub(crate) body_read: bool,
    /// Whether the connection stays open.
    pub(crate) keep_alive: bool,
    /// Room that the request takes.
    pub(crate) permit: Option<Permit>,
    _in_flight: InFlight,
}

/// Where the request's line in an access log goes.
enum Logging {
    /// The bucket's record was not read.
    Unread,
    /// What the record says.
    Read(Option<Arc<Destination>>),
}

/// Which node served a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Route {
    /// This one; nothing spoke for another.
    #[default]
    Here,
    /// This one; another node forwarded it, or asked for a share of a scan.
    FromPeer,
    /// This one; another node asked whether it is ready.
    Probe,
    /// This one, because the owner gave no answer.
    Fallback(Box<str>),
    /// The owner.
    Forwarded(Box<str>),
    /// Perhaps the owner: it gave no answer, and may have executed the request.
    Unknown(Box<str>),
}

impl Route {
    /// The word in logs and metrics.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Here => "here",
            Self::FromPeer => "from_peer",
            Self::Probe => "probe",
            Self::Fallback(_) => "fallback",
            Self::Forwarded(_) => "forwarded",
            Self::Unknown(_) => "unknown",
        }
    }

    fn node(&self) -> &str {
        match self {
            Self::Here | Self::FromPeer | Self::Probe => "-",
            Self::Fallback(node) | Self::Forwarded(node) | Self::Unknown(node) => node,
        }
    }
}

/// Counts a request as in flight while it lives, also when the client goes away.
struct InFlight(Arc<Metrics>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.dec();
    }
}

impl Exchange {
    /// A record of a request whose head has arrived.
    pub(crate) fn begin<B>(request: &Request<B>, client: Client, metrics: &Arc<Metrics>) -> Self {
        metrics.in_flight.inc();
        let id_bytes = random_id();
        Self {
            id: RequestId::from_random(id_bytes),
            id_bytes,
            started: Instant::now(),
            client,
            mark: None,
            route: Route::Here,
            quiet: false,
            is_head: request.method() == Method::HEAD,
            host: host(request.headers()),
            bucket: None,
            account: None,
            principal: None,
            asked: Asked::of(request),
            logging: Logging::Unread,
            verdict: None,
            operation: "-",
            index: None,
            bytes_in: 0,
            body_read: false,
            keep_alive: wants_keep_alive(request.version(), request.headers()),
            permit: None,
            _in_flight: InFlight(Arc::clone(metrics)),
        }
    }

    /// Another node sent the request on: id and client are those it says.
    pub(crate) fn sent_on(&mut self, mark: Mark) {
        self.id = mark.request_id();
        self.client = mark.client;
        self.route = Route::FromPeer;
        self.mark = Some(mark);
    }

    /// The valid mark that the request carries.
    pub(crate) fn mark(&self) -> Option<&Mark> {
        self.mark.as_ref()
    }

    /// The mark with which this request goes on to another node.
    pub(crate) fn outgoing_mark(&self) -> Mark {
        Mark { client: self.client, id: self.id_bytes, digest: None }
    }

    /// What the request addresses.
    pub(crate) fn addressed(&mut self, target: &Target) {
        self.host = target.host.clone();
        self.bucket = target.bucket.clone();
        self.account = target.account.as_ref().map(|account| account.as_str().into());
    }

    /// Who the caller is.
    pub(crate) fn called_by(&mut self, principal: &Principal) {
        self.principal = Some(principal.clone());
        if self.account.is_none() {
            self.account = principal.account().map(|account| account.as_str().into());
        }
    }

    /// Where the client is.
    pub(crate) fn client(&self) -> IpAddr {
        self.client.addr.ip()
    }

    /// Whether nobody else could read what the client sent.
    pub(crate) fn is_secure(&self) -> bool {
        self.client.secure
    }

    /// What the bucket's record says of its access log.
    pub(crate) fn logged_to(&mut self, destination: Option<Arc<Destination>>) {
        self.logging = Logging::Read(destination);
    }

    /// What was decided about the caller's right; the last word counts.
    pub(crate) fn decided(&mut self, verdict: Verdict) {
        self.verdict = Some(verdict);
    }

    /// How it is known where the line in an access log goes; `None`: there is none to write here.
    pub(crate) fn told(&self) -> Option<Told> {
        // The node that served it knows its index, and writes.
        if matches!(self.route, Route::Forwarded(_)) {
            return None;
        }
        match &self.logging {
            Logging::Read(destination) => destination.clone().map(Told::ByBucket),
            Logging::Unread => {
                let (account, bucket) = (self.account.as_deref()?, self.bucket.as_deref()?);
                Some(Told::ByMemory(BucketId::new(account, bucket)))
            }
        }
    }

    fn access_key_id(&self) -> Option<&str> {
        self.principal.as_ref().and_then(Principal::access_key_id)
    }

    /// The line in an access log. `at_s` is when the head arrived, seconds since 1970.
    pub(crate) fn line<'a>(&'a self, at_s: i64, finished: &Finished, region: &'a str) -> Line<'a> {
        Line {
            client: self.client(),
            at_s,
            asked: &self.asked,
            status: finished.status,
            bytes_out: finished.bytes_out,
            ms: finished.elapsed.as_millis(),
            host: &self.host,
            request_id: self.id.as_str(),
            requester: self.principal.as_ref().and_then(Principal::uid),
            operation: self.operation,
            bucket: self.bucket.as_deref().unwrap_or(""),
            index: self.index.as_deref(),
            code: finished.code,
            bytes_in: finished.bytes_in,
            owner: self.account.as_deref().unwrap_or(""),
            access_key_id: self.access_key_id(),
            region,
        }
    }

    /// What the audit is told.
    pub(crate) fn event(&self, finished: &Finished) -> Event<'_> {
        Event {
            request_id: self.id.as_str(),
            source: self.client.addr,
            secure: self.client.secure,
            principal: self.principal.as_ref(),
            operation: self.operation,
            account: self.account.as_deref(),
            bucket: self.bucket.as_deref(),
            index: self.index.as_deref(),
            verdict: self.verdict.as_ref(),
            status: finished.status,
            code: finished.code,
            ec: finished.ec,
            bytes_in: finished.bytes_in,
            bytes_out: finished.bytes_out,
            elapsed: finished.elapsed,
        }
    }

    /// What the response is made from.
    pub(crate) fn origin(&self) -> Origin<'_> {
        Origin {
            id: &self.id,
            host: &self.host,
            bucket: self.bucket.as_deref(),
            is_head: self.is_head,
            keep_alive: self.keep_alive,
            elapsed: self.started.elapsed(),
        }
    }

    /// Counts and logs the request with its response.
    pub(crate) fn account(
        &self,
        metrics: &Metrics,
        outcome: &Outcome,
        response: &Response<ReplyBody>,
        log: bool,
    ) -> Finished {
        let finished = Finished {
            operation: self.operation,
            status: response.status().as_u16(),
            code: outcome.fault().map_or("-", |fault| fault.code().as_str()),
            ec: outcome.fault().map_or("-", |fault| fault.ec()),
            route: self.route.name(),
            bytes_in: self.bytes_in,
            bytes_out: response.body().len(),
            elapsed: self.started.elapsed(),
        };
        metrics.finish(&finished);
        if let Some(limit) = outcome.fault().and_then(limit_of) {
            metrics.limited(limit);
        }
        if let Some(cause) = outcome.cause() {
            tracing::error!(request_id = %self.id, operation = self.operation, cause, "failed");
        }
        if log && !self.quiet {
            self.log(&finished);
        }
        finished
    }

    fn log(&self, finished: &Finished) {
        tracing::info!(
            target: "access",
            request_id = %self.id,
            peer = %self.client.addr,
            secure = self.client.secure,
            account = self.account.as_deref().unwrap_or("-"),
            access_key_id = self.access_key_id().unwrap_or("-"),
            operation = finished.operation,
            bucket = self.bucket.as_deref().unwrap_or("-"),
            index = self.index.as_deref().unwrap_or("-"),
            status = finished.status,
            code = finished.code,
            ec = finished.ec,
            route = finished.route,
            node = self.route.node(),
            bytes_in = finished.bytes_in,
            bytes_out = finished.bytes_out,
            ms = finished.elapsed.as_secs_f64() * 1e3,
            "request"
        );
    }
}

/// The Host as sent, for error answers to requests that were not understood.
fn host(headers: &HeaderMap) -> Box<str> {
    let text = headers.get(header::HOST).and_then(|value| value.to_str().ok());
    text.filter(|text| text.len() <= HOST_BYTES_MAX).unwrap_or("").into()
}

fn random_id() -> [u8; 12] {
    let mut random = [0; 12];
    getrandom::fill(&mut random).expect("the operating system has a random source");
    random
}
