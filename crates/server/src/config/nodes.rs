//! Settings of several nodes over one store, and of how current their reads are.

use std::path::PathBuf;
use std::time::Duration;

use super::value::{ByteSize, Secret, Value};

/// Shortest cluster key: 32 characters, for example of `openssl rand -hex 32`.
pub(crate) const CLUSTER_KEY_CHARS_MIN: usize = 32;

/// What precedes a name that is resolved to the addresses of all nodes.
pub(crate) const DNS_PREFIX: &str = "dns:";

/// How this process works together with others over the same store.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// The nodes, `host:port` of their data listeners, with or without this one; or one
    /// `dns:name:port`, all of whose addresses are nodes. Empty: this is the only one.
    pub peers: Vec<String>,
    /// `host:port` under which the peers know this node; empty: the data listener's address.
    pub advertise: String,
    /// The secret that all nodes share.
    pub cluster_key: Secret,
    /// File holding that secret, instead of the setting.
    pub cluster_key_file: Option<PathBuf>,
    /// How long a peer may take to begin its answer.
    pub peer_timeout: Duration,
    /// Bytes of an index's segments from which its scans are spread over the nodes.
    pub spread_bytes_min: ByteSize,
}

impl Default for NodeConfig {
    fn default() -> Self {
        Self {
            peers: Vec::new(),
            advertise: String::new(),
            cluster_key: Secret::default(),
            cluster_key_file: None,
            peer_timeout: Duration::from_secs(10),
            spread_bytes_min: ByteSize::mib(256),
        }
    }
}

impl NodeConfig {
    /// The name whose addresses are the nodes, if they are not listed one by one.
    #[must_use]
    pub fn dns_name(&self) -> Option<&str> {
        self.peers.first().and_then(|peer| peer.strip_prefix(DNS_PREFIX))
    }

    /// Checks the list as far as no key is concerned; the text names the setting.
    pub(super) fn check(&self, listens_everywhere: bool) -> Result<(), String> {
        if self.peers.is_empty() {
            return Ok(());
        }
        if self.dns_name().is_some() && self.peers.len() > 1 {
            return Err("peers: a dns: name stands alone".into());
        }
        for peer in &self.peers {
            let place = peer.strip_prefix(DNS_PREFIX).unwrap_or(peer);
            if !is_place(place) {
                return Err(format!("peers: {peer} is not host:port or dns:name:port"));
            }
        }
        self.check_advertise(listens_everywhere)?;
        match self.cluster_key.reveal().is_empty() && self.cluster_key_file.is_none() {
            true => Err("cluster_key: several nodes need a secret that all of them share, for \
                         example of `openssl rand -hex 32`; set cluster_key_file or cluster_key"
                .into()),
            false => Ok(()),
        }
    }

    fn check_advertise(&self, listens_everywhere: bool) -> Result<(), String> {
        let own = self.advertise.as_str();
        if own.is_empty() && listens_everywhere {
            return Err("advertise: expected host:port under which the peers reach this node, \
                        because listen names no address of its own"
                .into());
        }
        if !own.is_empty() && !is_place(own) {
            return Err(format!("advertise: {own} is not host:port"));
        }
        let is_address = own.is_empty() || own.parse::<std::net::SocketAddr>().is_ok();
        match self.dns_name().is_some() && !is_address {
            true => Err("advertise: with peers = dns:... expected this node's own address and \
                         port, as the name resolves to it"
                .into()),
            false => Ok(()),
        }
    }
}

/// Whether a text is `host:port`.
fn is_place(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let host_fits = |b: u8| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b);
    !host.is_empty()
        && host.len() <= 255
        && host.bytes().all(host_fits)
        && port.parse::<u16>().is_ok_and(|port| port != 0)
}

/// How current a read is on a store with other writers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadConsistency {
    /// Sees every write acknowledged before it, on any node.
    Strong,
    /// May miss what other nodes acknowledged within this time.
    Bounded(Duration),
}

impl Value for ReadConsistency {
    fn parse(text: &str) -> Result<Self, String> {
        let hint =
            || "expected strong, or bounded= and milliseconds such as bounded=500".to_owned();
        match text.trim().split_once('=') {
            None if text.trim() == "strong" => Ok(Self::Strong),
            Some(("bounded", ms)) => {
                let ms = ms.trim().strip_suffix("ms").unwrap_or(ms.trim());
                let ms: u64 = ms.parse().map_err(|_| hint())?;
                Ok(Self::Bounded(Duration::from_millis(ms)))
            }
            _ => Err(hint()),
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Strong => "strong".to_owned(),
            Self::Bounded(age) => format!("bounded={}", age.as_millis()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(peers: &[&str], advertise: &str, everywhere: bool) -> Result<(), String> {
        let config = NodeConfig {
            peers: peers.iter().map(|&peer| peer.to_owned()).collect(),
            advertise: advertise.to_owned(),
            cluster_key: Secret::new("x".repeat(CLUSTER_KEY_CHARS_MIN)),
            ..NodeConfig::default()
        };
        config.check(everywhere)
    }

    #[test]
    fn node_lists_are_checked() {
        assert_eq!(check(&["a:1", "b.example:2", "[::1]:3", "10.0.0.1:4"], "a:1", true), Ok(()));
        assert_eq!(check(&["dns:nodes.svc:9100"], "10.0.0.1:9100", true), Ok(()));
        assert_eq!(check(&["dns:nodes.svc:9100"], "", false), Ok(()));
        assert_eq!(check(&[], "", true), Ok(()));
        for (peers, advertise, everywhere, needle) in [
            (&["a"][..], "", false, "peers: a is not"),
            (&["a:0"], "", false, "peers: a:0"),
            (&["a:x"], "", false, "peers: a:x"),
            (&["a b:1"], "", false, "peers: a b:1"),
            (&["dns:a:1", "b:1"], "", false, "stands alone"),
            (&["a:1"], "", true, "advertise: expected"),
            (&["a:1"], "nowhere", false, "advertise: nowhere"),
            (&["dns:a:1"], "host:1", false, "own address"),
        ] {
            let refused = check(peers, advertise, everywhere).unwrap_err();
            assert!(refused.contains(needle), "{refused}");
        }
        let keyless = NodeConfig { peers: vec!["a:1".into()], ..NodeConfig::default() };
        assert!(keyless.check(false).unwrap_err().starts_with("cluster_key:"));
    }

    #[test]
    fn consistencies_read_back() {
        for (text, value) in [
            ("strong", ReadConsistency::Strong),
            ("bounded=500", ReadConsistency::Bounded(Duration::from_millis(500))),
            ("bounded=2ms", ReadConsistency::Bounded(Duration::from_millis(2))),
        ] {
            let read = ReadConsistency::parse(text).unwrap();
            assert_eq!(read, value);
            assert_eq!(ReadConsistency::parse(&read.show()), Ok(value));
        }
        for bad in ["", "weak", "bounded", "bounded=", "bounded=1s", "strong=1"] {
            assert!(ReadConsistency::parse(bad).is_err(), "{bad}");
        }
    }
}
