//! Several nodes in one process over one store in memory.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::net::TcpListener;
use vb_commit::Store;
use vb_server::{Config, Given, Handle, Secret, Server};

use super::{Answer, Call, Connection, config};

/// Longest time that nodes may take to learn of each other.
const PATIENCE: Duration = Duration::from_secs(30);

pub const CLUSTER_KEY: &str = "0123456789abcdef0123456789abcdef";

pub struct Cluster {
    pub store: Store,
    pub configs: Vec<Config>,
    pub handles: Vec<Option<Handle>>,
}

impl Cluster {
    /// `count` nodes that know each other.
    pub async fn start(count: usize) -> Self {
        Self::with(count, |_, _| ()).await
    }

    /// The same with changed settings; they are waited for until each asks each.
    pub async fn with(count: usize, change: impl FnMut(usize, &mut Config)) -> Self {
        let cluster = Self::begin(count, Vec::new(), change).await;
        cluster.settled().await;
        cluster
    }

    /// Nodes that also know `strangers`, which are none of ours; nothing is waited for.
    pub async fn begin(
        count: usize,
        strangers: Vec<String>,
        mut change: impl FnMut(usize, &mut Config),
    ) -> Self {
        let mut listeners = Vec::new();
        for _ in 0..count {
            listeners.push(TcpListener::bind("127.0.0.1:0").await.expect("a free port"));
        }
        let addrs: Vec<SocketAddr> =
            listeners.iter().map(|l| l.local_addr().expect("a bound socket")).collect();
        let mut peers = strangers;
        peers.extend(addrs.iter().map(ToString::to_string));
        let mut cluster = Self { store: Store::memory(), configs: Vec::new(), handles: Vec::new() };
        for (number, (listener, addr)) in listeners.into_iter().zip(addrs).enumerate() {
            let mut config = config();
            config.listen = addr;
            config.nodes.peers = peers.clone();
            config.nodes.cluster_key = Secret::new(CLUSTER_KEY);
            change(number, &mut config);
            let given = Given { listener: Some(listener), store: Some(cluster.store.clone()) };
            let handle = Server::start_with(&config, given).await.expect("the node starts");
            cluster.configs.push(config);
            cluster.handles.push(Some(handle));
        }
        cluster
    }

    /// Stops one node as SIGTERM does.
    pub async fn stop(&mut self, node: usize) {
        let handle = self.handles[node].take().expect("the node runs");
        handle.shutdown().await.expect("a clean stop");
    }

    /// Starts a stopped node at its old address.
    pub async fn start_again(&mut self, node: usize) {
        let given = Given { listener: None, store: Some(self.store.clone()) };
        let handle = Server::start_with(&self.configs[node], given).await;
        self.handles[node] = Some(handle.expect("the node starts again"));
    }

    pub fn addr(&self, node: usize) -> SocketAddr {
        self.configs[node].listen
    }

    /// Sends one call to one node.
    pub async fn send(&self, node: usize, call: &Call) -> Answer {
        Connection::open(self.addr(node)).await.call(call).await
    }

    /// Sends a call that must succeed.
    pub async fn ok(&self, node: usize, call: &Call) -> Answer {
        let answer = self.send(node, call).await;
        assert!(answer.status < 300, "node {node}: {} {}: {answer:?}", call.method, call.query);
        answer
    }

    /// One request on a node's admin listener.
    pub async fn admin(&self, node: usize, method: &str, target: &str) -> Answer {
        let handle = self.handles[node].as_ref().expect("the node runs");
        let mut connection = Connection::open(handle.admin_addr()).await;
        let head = format!("{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        connection.write(head.as_bytes()).await;
        connection.answer(method).await
    }

    /// The node that owns an index.
    pub async fn owner(&self, bucket: &str, index: &str) -> usize {
        let running = self.running()[0];
        let target = format!("/nodes?bucket={bucket}&index={index}");
        let told: Value = self.admin(running, "GET", &target).await.json();
        let owner = told["owner"].as_str().expect("an owner").to_owned();
        let addrs = self.configs.iter().map(|config| config.listen.to_string());
        addrs.into_iter().position(|addr| addr == owner).expect("one of the nodes")
    }

    fn running(&self) -> Vec<usize> {
        (0..self.handles.len()).filter(|node| self.handles[*node].is_some()).collect()
    }

    /// Waits until every running node asks exactly the other running ones.
    pub async fn settled(&self) {
        let running = self.running();
        let wanted: Vec<String> = running.iter().map(|n| self.addr(*n).to_string()).collect();
        for node in &running {
            self.until(*node, |peers| {
                peers.iter().all(|(name, why)| wanted.contains(name) == why.is_none())
            })
            .await;
        }
    }

    /// Waits until what a node knows of its peers (name, and why it is down) is as wanted.
    pub async fn until(&self, node: usize, wanted: impl Fn(&[(String, Option<String>)]) -> bool) {
        let waiting = async {
            loop {
                let told: Value = self.admin(node, "GET", "/nodes").await.json();
                let text = |value: &Value| value.as_str().map(str::to_owned);
                let peers = told["peers"].as_array().expect("a list").iter();
                let peers: Vec<_> = peers
                    .map(|peer| (text(&peer["node"]).expect("a name"), text(&peer["why"])))
                    .collect();
                if wanted(&peers) {
                    return;
                }
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("the nodes learn of each other");
    }

    /// The value of one line of a node's metrics.
    pub async fn metric(&self, node: usize, line: &str) -> u64 {
        let text = self.admin(node, "GET", "/metrics").await.text().to_owned();
        let found = text.lines().find_map(|l| l.strip_prefix(line)).unwrap_or_else(|| {
            panic!("{line} missing in:\n{text}");
        });
        found.trim().parse().expect("a number")
    }

    /// How many requests a node answered by a route.
    pub async fn routed(&self, node: usize, route: &str) -> u64 {
        let line = format!("vectorbucket_routed_requests_total{{route=\"{route}\"}}");
        self.metric(node, &line).await
    }
}
