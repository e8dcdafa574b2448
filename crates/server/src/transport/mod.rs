//! What lies between a socket and HTTP: TLS or not, who is behind a proxy, and how long a
//! connection may wait for what.
//!
//! ```text
//! stream.rs       one connection's bytes, plain or TLS; writes that stall fail
//! tls.rs          handshakes of a listener
//! certificate.rs  certificate chain and private key from files, checked
//! expiry.rs       when a certificate ends (pure)
//! watch.rs        new files replace what handshakes use, without closing connections
//! peer_tls.rs     TLS towards other nodes
//! client.rs       whose request it is, behind trusted proxies (pure)
//! counters.rs     handshakes and certificates, counted
//! places.rs       connections per source address
//! pulse.rs        what a connection waits for, and until when
//! ```
//!
//! Invariants:
//! - Bytes of a TLS listener that are not TLS never reach HTTP.
//! - A header says who the client is only if every hop to its right is a trusted proxy.
//! - A pair of files that does not make a certificate never replaces one that did.

mod certificate;
mod client;
mod counters;
mod expiry;
mod peer_tls;
mod places;
mod pulse;
mod stream;
mod tls;
mod watch;

pub(crate) use client::Client;
pub(crate) use counters::TlsCounters;
pub(crate) use peer_tls::PeerTls;
pub(crate) use places::{Place, Places, source};
pub(crate) use pulse::{Overdue, Pulse};
pub(crate) use stream::{StallGuard, Stream};
pub(crate) use tls::{Side, Tls};

/// The provider of all cryptography, the one that signatures use, too.
fn provider() -> std::sync::Arc<rustls::crypto::CryptoProvider> {
    std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
