//! Settings of TLS and of the proxies in front of the service.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use vb_policy::Network;

use super::value::Value;

/// Certificates of the listeners, and how other nodes are recognised.
#[derive(Clone, Debug)]
pub struct TlsConfig {
    /// PEM file with the data listener's certificate and those that lead to a root; `None`: the
    /// listener speaks plain HTTP.
    pub certificate_file: Option<PathBuf>,
    /// PEM file with its private key.
    pub key_file: Option<PathBuf>,
    /// The same of the admin listener.
    pub admin_certificate_file: Option<PathBuf>,
    /// PEM file with its private key.
    pub admin_key_file: Option<PathBuf>,
    /// How often the files are looked at for a new certificate.
    pub check_interval: Duration,
    /// How long a handshake may take.
    pub handshake_timeout: Duration,
    /// PEM file with the roots that certificates of other nodes must lead to.
    pub peer_ca_file: Option<PathBuf>,
    /// Name that certificates of other nodes must be for; empty: the node's own host name.
    pub peer_name: String,
}

impl Default for TlsConfig {
    fn default() -> Self {
        Self {
            certificate_file: None,
            key_file: None,
            admin_certificate_file: None,
            admin_key_file: None,
            check_interval: Duration::from_secs(5),
            handshake_timeout: Duration::from_secs(10),
            peer_ca_file: None,
            peer_name: String::new(),
        }
    }
}

impl TlsConfig {
    /// Checks what belongs together; the text names the setting.
    pub(super) fn check(&self, has_peers: bool) -> Result<(), String> {
        let pairs = [
            ("tls.certificate_file", "tls.key_file", &self.certificate_file, &self.key_file),
            (
                "tls.admin_certificate_file",
                "tls.admin_key_file",
                &self.admin_certificate_file,
                &self.admin_key_file,
            ),
        ];
        for (certificate, key, has_certificate, has_key) in pairs {
            if has_certificate.is_some() != has_key.is_some() {
                return Err(format!("{certificate}, {key}: set both or neither"));
            }
        }
        let (serves_tls, asks_tls) = (self.certificate_file.is_some(), self.peer_ca_file.is_some());
        match (serves_tls, asks_tls) {
            (true, false) if has_peers => Err(
                "tls.peer_ca_file: nodes that serve TLS speak it to each other; set the PEM file of \
                 the CA that issued their certificates"
                    .into(),
            ),
            (false, true) => Err(
                "tls.peer_ca_file: nodes speak TLS to each other where they serve it; set \
                 tls.certificate_file and tls.key_file, too"
                    .into(),
            ),
            _ => Ok(()),
        }
    }
}

/// The networks of proxies that are believed when they say who their client is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies(Arc<[(Box<str>, Network)]>);

impl TrustedProxies {
    /// Whether an address is a proxy's.
    pub(crate) fn contain(&self, address: IpAddr) -> bool {
        self.0.iter().any(|(_, network)| network.contains(address))
    }
}

impl Value for TrustedProxies {
    fn parse(text: &str) -> Result<Self, String> {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let one = |part: &str| match Network::parse(part) {
            Some(Network::Block { prefix: 0, .. } | Network::Everywhere) => {
                Err(format!("{part} is everybody; name the proxies' own addresses"))
            }
            Some(network @ Network::Block { .. }) => Ok((part.into(), network)),
            Some(Network::Octets(_)) | None => {
                Err(format!("{part} is no address or network such as 10.0.0.0/8 or fd00::/8"))
            }
        };
        parts.map(one).collect::<Result<_, _>>().map(Self)
    }

    fn show(&self) -> String {
        self.0.iter().map(|(text, _)| &**text).collect::<Vec<_>>().join(",")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_read_back() {
        let proxies = TrustedProxies::parse("10.0.0.0/8, ::1,192.0.2.7").unwrap();
        assert_eq!(proxies.show(), "10.0.0.0/8,::1,192.0.2.7");
        assert_eq!(TrustedProxies::parse(&proxies.show()), Ok(proxies.clone()));
        for (address, expected) in [
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("::1", true),
            ("192.0.2.8", false),
            ("::2", false),
        ] {
            assert_eq!(proxies.contain(address.parse().unwrap()), expected, "{address}");
        }
        assert!(!TrustedProxies::default().contain("10.0.0.1".parse().unwrap()));
        for bad in ["*", "0.0.0.0/0", "::/0", "10.*.*.*", "proxy.example", "10.0.0.0/33"] {
            assert!(TrustedProxies::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn files_come_in_pairs() {
        let file = || Some(PathBuf::from("/x.pem"));
        let whole =
            || TlsConfig { certificate_file: file(), key_file: file(), ..TlsConfig::default() };
        assert_eq!(TlsConfig::default().check(true), Ok(()));
        assert_eq!(whole().check(false), Ok(()));
        assert_eq!(TlsConfig { peer_ca_file: file(), ..whole() }.check(true), Ok(()));
        for (config, has_peers, needle) in [
            (TlsConfig { key_file: None, ..whole() }, false, "tls.certificate_file, tls.key_file"),
            (TlsConfig { admin_key_file: file(), ..whole() }, false, "tls.admin_certificate_file"),
            (whole(), true, "tls.peer_ca_file: nodes that serve"),
            (TlsConfig { peer_ca_file: file(), ..TlsConfig::default() }, true, "serve it"),
        ] {
            assert!(config.check(has_peers).unwrap_err().contains(needle), "{needle}");
        }
    }
}
