//! One request as seen from outside: what the log line and the counters say of it.
//!
//! Fields are filled in as the request is understood, so that a refusal at any step is logged with
//! what was known by then. No field can hold a secret: neither headers nor queries are kept.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use http::{HeaderMap, Method, Request, Response, header};
use vb_api::oss::{RequestId, Target};
use vb_identity::Principal;

use crate::admission::Permit;
use crate::metrics::{Finished, Metrics};
use crate::reply::{Origin, Refusal, ReplyBody};
use crate::serve::wants_keep_alive;

/// Longest Host that is repeated to the client.
const HOST_BYTES_MAX: usize = 300;

/// The record of one request.
pub(crate) struct Exchange {
    id: RequestId,
    started: Instant,
    peer: SocketAddr,
    is_head: bool,
    host: Box<str>,
    bucket: Option<Box<str>>,
    account: Option<Box<str>>,
    access_key_id: Option<Box<str>>,
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

/// Counts a request as in flight while it lives, also when the client goes away.
struct InFlight(Arc<Metrics>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.dec();
    }
}

impl Exchange {
    /// A record of a request whose head has arrived.
    pub(crate) fn begin<B>(request: &Request<B>, peer: SocketAddr, metrics: &Arc<Metrics>) -> Self {
        metrics.in_flight.inc();
        Self {
            id: request_id(),
            started: Instant::now(),
            peer,
            is_head: request.method() == Method::HEAD,
            host: host(request.headers()),
            bucket: None,
            account: None,
            access_key_id: None,
            operation: "-",
            index: None,
            bytes_in: 0,
            body_read: false,
            keep_alive: wants_keep_alive(request.version(), request.headers()),
            permit: None,
            _in_flight: InFlight(Arc::clone(metrics)),
        }
    }

    /// What the request addresses.
    pub(crate) fn addressed(&mut self, target: &Target) {
        self.host = target.host.clone();
        self.bucket = target.bucket.clone();
        self.account = target.account.as_ref().map(|account| account.as_str().into());
    }

    /// Who the caller is.
    pub(crate) fn called_by(&mut self, principal: &Principal) {
        self.access_key_id = principal.access_key_id().map(Into::into);
        if self.account.is_none() {
            self.account = principal.account().map(|account| account.as_str().into());
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
        refusal: Option<&Refusal>,
        response: &Response<ReplyBody>,
        log: bool,
    ) {
        let finished = Finished {
            operation: self.operation,
            status: response.status().as_u16(),
            code: refusal.map_or("-", |r| r.error.code().as_str()),
            bytes_in: self.bytes_in,
            bytes_out: response.body().len(),
            elapsed: self.started.elapsed(),
        };
        metrics.finish(&finished);
        if let Some(cause) = refusal.and_then(|r| r.cause.as_deref()) {
            tracing::error!(request_id = %self.id, operation = self.operation, cause, "failed");
        }
        if log {
            self.log(&finished, refusal);
        }
    }

    fn log(&self, finished: &Finished, refusal: Option<&Refusal>) {
        tracing::info!(
            target: "access",
            request_id = %self.id,
            peer = %self.peer,
            account = self.account.as_deref().unwrap_or("-"),
            access_key_id = self.access_key_id.as_deref().unwrap_or("-"),
            operation = finished.operation,
            bucket = self.bucket.as_deref().unwrap_or("-"),
            index = self.index.as_deref().unwrap_or("-"),
            status = finished.status,
            code = finished.code,
            ec = refusal.map_or("-", |r| r.error.ec()),
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

fn request_id() -> RequestId {
    let mut random = [0; 12];
    getrandom::fill(&mut random).expect("the operating system has a random source");
    RequestId::from_random(random)
}
