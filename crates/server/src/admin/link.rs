//! How a request reached the admin listener.

use std::net::SocketAddr;

/// The connection that a request came on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    /// The other end.
    pub(crate) peer: SocketAddr,
    /// It is encrypted to this process.
    pub(crate) tls: bool,
}

impl Link {
    /// Whether orders may come and secrets go this way: nobody on a network can read it. A header
    /// that says so does not count. Everything of the admin API asks here and nowhere else.
    pub(crate) fn may_administer(self) -> bool {
        self.tls || self.peer.ip().to_canonical().is_loopback()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_and_tls_are_private() {
        for (peer, tls, expected) in [
            ("127.0.0.1:1", false, true),
            ("127.9.0.1:1", false, true),
            ("[::1]:1", false, true),
            ("[::ffff:127.0.0.1]:1", false, true),
            ("10.0.0.1:1", false, false),
            ("[::ffff:10.0.0.1]:1", false, false),
            ("192.0.2.1:1", true, true),
        ] {
            let link = Link { peer: peer.parse().unwrap(), tls };
            assert_eq!(link.may_administer(), expected, "{link:?}");
        }
    }
}
