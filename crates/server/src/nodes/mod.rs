//! Several processes over one store.
//!
//! Nodes keep nothing that another could not read from the store, so **any node may serve any
//! request**. What is shared out is warmth: each index has one owner, the node whose memory and log
//! position are current for it, and the others forward requests on its vectors there.
//!
//! ```text
//! rank.rs         which node owns an index (pure)
//! mark.rs, key.rs the mark on a forwarded request, under the cluster key
//! health.rs       whether a peer is asked at all (pure)
//! connection.rs   connections to a peer
//! forward.rs      one request to its owner, and what to do without an answer
//! probe.rs        the list of nodes and the state of each, kept current
//! scan.rs         shares of a scan to other nodes
//! ```
//!
//! Invariants:
//! - A request makes one hop at most: one that carries a mark is served where it is.
//! - A mark that does not verify is refused, with and without a cluster key; so no client can
//!   pretend to be a node, or another client.
//! - A write is executed by a second node only if the first certainly never executes it.

mod connection;
mod forward;
mod health;
mod key;
mod mark;
mod probe;
mod rank;
mod scan;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::request::Parts;
use tokio::sync::watch;
use tokio::time::Instant;
use vb_engine::IndexId;

use crate::clock::unix_ms;
use crate::config::{Config, NodeConfig};
use crate::failure::Failure;
use crate::transport::PeerTls;

pub(crate) use forward::{Answer, Forwarded, Request};
pub(crate) use health::Down;
pub(crate) use mark::{MARK, Mark, NotValid, is_digest_of};
pub(crate) use scan::{SCAN_BYTES_MAX, SCAN_PATH};

use connection::Connections;
use health::Health;
use key::ClusterKey;
use mark::Marked;

/// Path at which nodes ask each other whether they are ready. No bucket can have it.
pub(crate) const PROBE_PATH: &str = "/.vectorbucket/ready";

/// This node's view of all nodes.
pub(crate) struct Nodes {
    key: ClusterKey,
    config: NodeConfig,
    own: Box<str>,
    own_addr: SocketAddr,
    /// How the others are reached; `None`: over plain HTTP.
    tls: Option<PeerTls>,
    peers: watch::Sender<Arc<[Arc<Peer>]>>,
    started: Instant,
}

/// Another node.
pub(crate) struct Peer {
    name: Box<str>,
    connections: Connections,
    health: Mutex<Health>,
}

impl std::fmt::Debug for Nodes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Nodes({})", self.own)
    }
}

impl Nodes {
    /// The nodes that the configuration names; `None` without a cluster key. `own_addr` is where
    /// the data listener is bound.
    ///
    /// # Errors
    /// [`Failure::Configuration`]: peers without a cluster key, a key that does not do.
    pub(crate) fn configured(
        config: &Config,
        own_addr: SocketAddr,
    ) -> Result<Option<Self>, Failure> {
        let nodes = &config.nodes;
        let Some(key) = ClusterKey::configured(nodes)? else {
            return match nodes.peers.is_empty() {
                true => Ok(None),
                false => Err(Failure::Configuration("cluster_key: several nodes need one".into())),
            };
        };
        let tls = PeerTls::configured(config)?;
        let own = match nodes.advertise.as_str() {
            "" => own_addr.to_string(),
            advertise => advertise.to_owned(),
        };
        let peers: Vec<Arc<Peer>> = match nodes.dns_name() {
            Some(_) => Vec::new(),
            None => {
                let others = nodes.peers.iter().filter(|name| **name != own);
                others.map(|name| Peer::new(name, tls.as_ref())).collect()
            }
        };
        Ok(Some(Self {
            key,
            config: nodes.clone(),
            own: own.into(),
            own_addr,
            tls,
            peers: watch::Sender::new(peers.into()),
            started: Instant::now(),
        }))
    }

    /// Name of this node, as the others know it.
    pub(crate) fn own(&self) -> &str {
        &self.own
    }

    /// The other nodes as of now.
    pub(crate) fn peers(&self) -> Arc<[Arc<Peer>]> {
        Arc::clone(&self.peers.borrow())
    }

    /// The node that requests on an index go to; `None`: this one.
    pub(crate) fn owner(&self, index: IndexId) -> Option<Arc<Peer>> {
        self.ranked(index).into_iter().next().flatten()
    }

    /// The nodes that are up, the owner first; `None` is this one.
    fn ranked(&self, index: IndexId) -> Vec<Option<Arc<Peer>>> {
        let peers = self.peers();
        let mut nodes: Vec<Option<&Arc<Peer>>> = vec![None];
        nodes.extend(peers.iter().filter(|peer| peer.down().is_none()).map(Some));
        let names: Vec<&str> =
            nodes.iter().map(|node| node.map_or(self.own(), |peer| peer.name())).collect();
        rank::ranked(&names, index).into_iter().map(|at| nodes[at].cloned()).collect()
    }

    /// The mark of an arrived request, if it has one.
    ///
    /// # Errors
    /// [`NotValid`]: it has one that no node of this cluster put on it just now.
    pub(crate) fn mark_of(nodes: Option<&Self>, head: &Parts) -> Result<Option<Mark>, NotValid> {
        match nodes {
            _ if !head.headers.contains_key(MARK) => Ok(None),
            None => Err(NotValid),
            Some(nodes) => Mark::open(&nodes.key, Marked::of(head), unix_ms()).map(Some),
        }
    }

    fn uptime(&self) -> Duration {
        self.started.elapsed()
    }
}

impl Peer {
    fn new(name: &str, tls: Option<&PeerTls>) -> Arc<Self> {
        Arc::new(Self {
            name: name.into(),
            connections: Connections::new(name, tls.cloned()),
            health: Mutex::new(Health::new()),
        })
    }

    /// `host:port` of its data listener.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Why it is not asked; `None`: it is.
    pub(crate) fn down(&self) -> Option<Down> {
        self.health(|health| health.down())
    }

    /// Changes what is known of the peer; a change between up and down is logged.
    fn health<T>(&self, change: impl FnOnce(&mut Health) -> T) -> T {
        let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        let before = health.down();
        let outcome = change(&mut health);
        let after = health.down();
        drop(health);
        match (before, after) {
            (Some(_), None) => tracing::info!(peer = &*self.name, "peer is up"),
            (was, Some(why)) if was != after => {
                self.connections.close_idle();
                tracing::warn!(peer = &*self.name, why = why.name(), "peer is down");
            }
            _ => {}
        }
        outcome
    }
}
