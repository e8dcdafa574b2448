//! Shares of a scan to other nodes. What is in a request and in its answer is the engine's matter.

use bytes::Bytes;
use http::{Method, StatusCode};
use vb_engine::{Helper, IndexId, NotScanned, Scanning, Spread};

use super::Nodes;
use super::mark::MARK;

/// Path at which nodes ask each other for a share of a scan. No bucket can have it.
pub(crate) const SCAN_PATH: &str = "/.vectorbucket/scan";

/// Largest request for a share: mostly deletion bitmaps.
pub(crate) const SCAN_BYTES_MAX: u64 = 64 << 20;

impl Spread for Nodes {
    fn helpers(&self, index: IndexId, bytes: u64) -> Vec<Helper> {
        if bytes < self.config.spread_bytes_min.0 {
            return Vec::new();
        }
        let peers = self.ranked(index).into_iter().flatten();
        peers.map(|peer| Helper { name: peer.name().to_owned() }).collect()
    }

    fn scan(&self, helper: &Helper, request: Bytes) -> Scanning<'_> {
        let name = helper.name.clone();
        Box::pin(async move {
            if request.len() as u64 > SCAN_BYTES_MAX {
                return Err(NotScanned("its deletions are too many to send".to_owned()));
            }
            let peers = self.peers();
            let peer = peers.iter().find(|peer| *peer.name == *name && peer.down().is_none());
            let peer = peer.ok_or_else(|| NotScanned("the node is down".to_owned()))?;
            let request = self.own_request(peer, Method::POST, SCAN_PATH, request);
            let answer = self.ask(peer, request, self.config.peer_timeout).await;
            let answer = answer.map_err(|failed| NotScanned(failed.cause))?;
            match answer.status {
                StatusCode::OK if !answer.headers.contains_key(MARK) => Ok(answer.body),
                status => Err(NotScanned(format!("answered with {status}"))),
            }
        })
    }
}
