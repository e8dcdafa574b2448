//! TLS towards other nodes: their data listeners show certificates, which are checked.

use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::certificate::chain_file;
use super::tls::HTTP_1;
use super::{Stream, provider};
use crate::config::Config;
use crate::failure::Failure;

/// How connections to other nodes are secured; the same for all of them.
#[derive(Clone)]
pub(crate) struct PeerTls {
    connector: TlsConnector,
    /// The name that every node's certificate must be for, where that is not the node's own.
    name: Option<Arc<str>>,
}

impl std::fmt::Debug for PeerTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PeerTls")
    }
}

impl PeerTls {
    /// What the configuration says; `None` if data listeners speak plain HTTP. Blocks to read the
    /// file of roots.
    ///
    /// # Errors
    /// [`Failure::Configuration`]: a file that cannot be read or holds no certificate.
    pub(crate) fn configured(config: &Config) -> Result<Option<Self>, Failure> {
        let Some(file) = &config.tls.peer_ca_file else { return Ok(None) };
        let refuse = |why| Failure::Configuration(format!("tls.peer_ca_file: {why}"));
        let mut roots = RootCertStore::empty();
        for certificate in chain_file(file).map_err(refuse)? {
            let added = roots.add(certificate);
            added.map_err(|error| refuse(format!("{}: {error}", file.display())))?;
        }
        let mut client = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .expect("the provider has suites of both versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        client.alpn_protocols = vec![HTTP_1.to_vec()];
        let dns_name = config.nodes.dns_name().map(host);
        let name = Some(config.tls.peer_name.as_str()).filter(|name| !name.is_empty()).or(dns_name);
        let name = name.map(Arc::from);
        Ok(Some(Self { connector: TlsConnector::from(Arc::new(client)), name }))
    }

    /// The handshake with the node at `host:port`.
    ///
    /// # Errors
    /// A text that says why there is no connection.
    pub(crate) async fn connect(&self, place: &str, stream: TcpStream) -> Result<Stream, String> {
        let name = self.name.as_deref().unwrap_or_else(|| host(place)).to_owned();
        let name = ServerName::try_from(name).map_err(|error| error.to_string())?;
        let handshake = self.connector.connect(name, stream).await;
        handshake.map(|stream| Stream::Secure(Box::new(stream.into()))).map_err(|e| e.to_string())
    }
}

/// The host of `host:port`, an IPv6 address without its brackets.
fn host(place: &str) -> &str {
    let host = place.rsplit_once(':').map_or(place, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_has_a_host() {
        for (place, expected) in [
            ("node-a:9100", "node-a"),
            ("10.0.0.1:9100", "10.0.0.1"),
            ("[2001:db8::1]:9100", "2001:db8::1"),
        ] {
            assert_eq!(host(place), expected);
            assert!(ServerName::try_from(host(place).to_owned()).is_ok());
        }
    }
}
