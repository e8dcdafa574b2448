//! What nodes ask each other: is this one ready, and shares of scans.
//!
//! Such a request rests on its mark alone, so the mark must bring the digest of its body. Neither call
//! changes anything. Without a valid mark these paths are what they are to a client: no path of a
//! bucket.

use bytes::Bytes;
use http::request::Parts;
use hyper::body::Incoming;
use vb_api::oss::{Error, Fault};

use crate::admission::{ANSWER_BYTES, Budget};
use crate::body::{self, Declared};
use crate::exchange::{Exchange, Route};
use crate::nodes::{Mark, PROBE_PATH, SCAN_BYTES_MAX, SCAN_PATH, is_digest_of};
use crate::phase::Phase;
use crate::reply::{Refusal, Reply};
use crate::serve::Service;

/// One of the calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PeerCall {
    /// Is this node ready?
    Probe,
    /// Scan these segments.
    Scan,
}

impl PeerCall {
    /// The call at a path, if a node made it.
    pub(crate) fn resolve(head: &Parts, mark: Option<&Mark>) -> Option<Self> {
        let made_by_a_node = mark.is_some_and(|mark| mark.digest.is_some());
        match (head.method.as_str(), head.uri.path()) {
            ("GET", PROBE_PATH) if made_by_a_node => Some(Self::Probe),
            ("POST", SCAN_PATH) if made_by_a_node => Some(Self::Scan),
            _ => None,
        }
    }

    /// The name in logs and metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Probe => "PeerProbe",
            Self::Scan => "PeerScan",
        }
    }
}

impl Service {
    /// Answers a call of another node.
    pub(crate) async fn answer_peer(
        &self,
        call: PeerCall,
        head: &Parts,
        incoming: &mut Incoming,
        exchange: &mut Exchange,
    ) -> Result<Reply, Refusal> {
        exchange.operation = call.name();
        if call == PeerCall::Probe {
            (exchange.quiet, exchange.route) = (true, Route::Probe);
        }
        let declared = body::declared(&head.method, &head.headers, SCAN_BYTES_MAX)?;
        let bytes = declared.bytes(SCAN_BYTES_MAX) + ANSWER_BYTES;
        let room = self.peer_admission.admit(Budget::Query, bytes).await;
        exchange.permit = Some(room.map_err(|_| Error::new(Fault::Unavailable))?);
        let body = self.peer_body(declared, incoming, exchange).await?;
        match call {
            PeerCall::Probe => Ok(self.readiness()),
            PeerCall::Scan => Ok(Reply::bytes(self.context().engine.scan_share(body).await?)),
        }
    }

    async fn peer_body(
        &self,
        declared: Declared,
        incoming: &mut Incoming,
        exchange: &mut Exchange,
    ) -> Result<Bytes, Refusal> {
        let read = body::read(incoming, declared, SCAN_BYTES_MAX, self.pace).await;
        exchange.body_read = true;
        let body = read?;
        exchange.bytes_in = body.len() as u64;
        match exchange.mark().and_then(|mark| mark.digest) {
            Some(digest) if is_digest_of(digest, &body) => Ok(body),
            _ => Err(Fault::NodeMark.into()),
        }
    }

    fn readiness(&self) -> Reply {
        match self.phases.now() {
            Phase::Ready => Reply::empty(200),
            Phase::Starting | Phase::Leaving | Phase::Draining | Phase::Stopped => {
                Reply::empty(503)
            }
        }
    }
}
