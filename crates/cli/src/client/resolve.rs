//! Host names to addresses, with the two cases a plain resolver may not know.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver as Resolve};
use ureq::unversioned::transport::NextTimeout;

use crate::connection::is_localhost;

/// Resolves `*.localhost` to this machine (many resolvers do not), and everything to `connect_to`
/// when that is set.
#[derive(Debug)]
pub(super) struct Resolver {
    pub(super) connect_to: Option<SocketAddr>,
}

impl Resolve for Resolver {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let mut addresses = self.empty();
        if let Some(address) = self.connect_to {
            addresses.push(address);
        } else if is_localhost(uri.host().unwrap_or("")) {
            let port =
                uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
            addresses.push((Ipv4Addr::LOCALHOST, port).into());
            addresses.push((Ipv6Addr::LOCALHOST, port).into());
        } else {
            return DefaultResolver::default().resolve(uri, config, timeout);
        }
        Ok(addresses)
    }
}
