//! The list of nodes and the state of each, kept current by one task.
//!
//! Once per round every peer is asked whether it is ready; a name is resolved again every few
//! rounds. Requests never wait for either.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::{HeaderValue, Method, StatusCode, header};

use super::connection::NoAnswer;
use super::forward::{Answer, ask};
use super::mark::{MARK, Mark, Marked, digest_of};
use super::{Down, Nodes, PROBE_PATH, Peer, unix_ms};
use crate::phase::{Phase, Phases};
use crate::transport::{Client, PeerTls};

/// Time between two rounds.
const ROUND: Duration = Duration::from_secs(1);
/// Longest wait for the answer to a probe.
const ANSWER_MAX: Duration = Duration::from_secs(1);
/// Rounds between two resolutions of a name.
const ROUNDS_PER_RESOLUTION: u32 = 5;
/// Nodes of a name at most; more are a mistake.
const NODES_MAX: usize = 256;

impl Nodes {
    /// Keeps list and states current until the process stops.
    pub(crate) async fn watch(self: Arc<Self>, phases: Phases) {
        tokio::select! {
            () = self.rounds() => {}
            () = phases.reached(Phase::Stopped) => {}
        }
    }

    async fn rounds(&self) {
        let mut ticks = tokio::time::interval(ROUND);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        for round in 0u32.. {
            ticks.tick().await;
            if let Some(name) = self.config.dns_name()
                && round % ROUNDS_PER_RESOLUTION == 0
            {
                self.resolve(name).await;
            }
            let peers = self.peers();
            join_all(peers.iter().map(|peer| self.probe(peer))).await;
        }
    }

    /// Replaces the list by the addresses of a name. One that does not resolve leaves the list as it
    /// is: the nodes are more likely there than the name server.
    async fn resolve(&self, name: &str) {
        match tokio::net::lookup_host(name).await {
            Ok(addresses) => {
                let found = addresses.map(|address| address.to_string());
                let names: BTreeSet<String> = found.filter(|n| **n != *self.own).collect();
                let names = names.into_iter().take(NODES_MAX);
                let peers = renewed(&self.peers(), names, self.tls.as_ref());
                self.peers.send_replace(peers);
            }
            Err(error) => tracing::warn!(name, %error, "the nodes' name does not resolve"),
        }
    }

    async fn probe(&self, peer: &Peer) {
        let request = self.own_request(peer, Method::GET, PROBE_PATH, Bytes::new());
        let outcome = judge(ask(peer, request, ANSWER_MAX).await);
        peer.health(|health| health.probed(outcome, self.uptime()));
    }

    /// A request of this node itself.
    pub(super) fn own_request(
        &self,
        peer: &Peer,
        method: Method,
        target: &'static str,
        body: Bytes,
    ) -> http::Request<Bytes> {
        let mut id = [0; 12];
        getrandom::fill(&mut id).expect("the operating system has a random source");
        let client = Client { addr: self.own_addr, secure: self.tls.is_some() };
        let mark = Mark { client, id, digest: Some(digest_of(&body)) };
        let mut request = http::Request::new(body);
        *request.uri_mut() = http::Uri::from_static(target);
        // A name that is no header value is no host name either, and then nothing connects.
        let host = HeaderValue::from_str(peer.name()).unwrap_or(HeaderValue::from_static("peer"));
        request.headers_mut().insert(header::HOST, host);
        let on = Marked { method: &method, target, headers: request.headers() };
        let mark = mark.seal(&self.key, on, unix_ms());
        request.headers_mut().insert(MARK, mark);
        *request.method_mut() = method;
        request
    }
}

/// The peers of these names: those known already with what is known of them.
fn renewed(
    known: &[Arc<Peer>],
    names: impl Iterator<Item = String>,
    tls: Option<&PeerTls>,
) -> Arc<[Arc<Peer>]> {
    let peer = |name: String| match known.iter().find(|peer| *peer.name == *name) {
        Some(peer) => Arc::clone(peer),
        None => Peer::new(&name, tls),
    };
    names.map(peer).collect()
}

/// What the answer to a probe says.
fn judge(answer: Result<Answer, NoAnswer>) -> Result<(), Down> {
    match answer {
        Ok(answer) if answer.headers.contains_key(MARK) => Err(Down::Refusing),
        Ok(answer) if answer.status == StatusCode::OK => Ok(()),
        Ok(_) => Err(Down::NotReady),
        Err(failed) if failed.timed_out => Err(Down::Silent),
        Err(_) => Err(Down::Unreachable),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_renewed_list_keeps_what_is_known() {
        let known = [Peer::new("a:1", None), Peer::new("b:1", None)];
        known[0].health(|health| health.probed(Ok(()), Duration::ZERO));
        let peers = renewed(&known, ["a:1", "c:1"].map(str::to_owned).into_iter(), None);
        let states: Vec<_> = peers.iter().map(|peer| (peer.name(), peer.down())).collect();
        assert_eq!(states, [("a:1", None), ("c:1", Some(Down::Unknown))]);
    }
}
