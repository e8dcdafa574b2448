//! TLS of one listener: who it says it is, and the handshakes.
//!
//! TLS 1.2 and 1.3 with the suites that rustls has on (all with forward secrecy and authenticated
//! encryption), one certificate for every name that a client asks for, no client certificates:
//! callers are known by their signatures.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::certificate::{Certificate, Files};
use super::{Stream, TlsCounters, provider};
use crate::config::TlsConfig;
use crate::failure::Failure;

/// What is spoken inside of TLS.
pub(super) const HTTP_1: &[u8] = b"http/1.1";

/// Which listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Side {
    Data,
    Admin,
}

impl Side {
    /// The word in logs and metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Admin => "admin",
        }
    }

    /// Both of a listener's files, `None` if it has none.
    pub(crate) fn files(self, config: &TlsConfig) -> Option<Files> {
        let (certificate, key) = match self {
            Self::Data => (&config.certificate_file, &config.key_file),
            Self::Admin => (&config.admin_certificate_file, &config.admin_key_file),
        };
        let path = |path: &Option<std::path::PathBuf>| path.as_deref().map(Path::to_owned);
        Some(Files { certificate: path(certificate)?, key: path(key)? })
    }
}

/// Why a connection did not become one of TLS.
#[derive(Debug)]
pub(crate) enum Refused {
    /// The handshake took longer than it may.
    TooSlow,
    /// What arrived was no TLS, or nothing that both sides can speak.
    Failed(io::Error),
}

/// TLS of one listener. Its certificate can be replaced at any time; connections that are open
/// keep the one that they began with.
pub(crate) struct Tls {
    pub(super) side: Side,
    pub(super) files: Files,
    pub(super) counters: TlsCounters,
    /// Of the contents that were looked at last, whether they were good or not.
    pub(super) seen: Mutex<Option<[u8; 32]>>,
    /// When the operator was told last that the certificate ends soon, seconds since 1970.
    pub(super) warned_at: AtomicI64,
    shown: Arc<Shown>,
    acceptor: TlsAcceptor,
    handshake_timeout: Duration,
}

/// The certificate that handshakes show now.
#[derive(Debug)]
struct Shown(RwLock<Arc<Certificate>>);

impl Shown {
    fn now(&self) -> Arc<Certificate> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.now().key))
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tls({})", self.side.name())
    }
}

impl Tls {
    /// TLS of a listener; `None` if none is configured. Blocks to read the files.
    ///
    /// # Errors
    /// [`Failure::Configuration`]: files that cannot be read or do not make a certificate.
    pub(crate) fn configured(
        side: Side,
        config: &TlsConfig,
        counters: &TlsCounters,
    ) -> Result<Option<Arc<Self>>, Failure> {
        let Some(files) = side.files(config) else { return Ok(None) };
        let refuse =
            |why| Failure::Configuration(format!("TLS of the {} listener: {why}", side.name()));
        let contents = files.read().map_err(refuse)?;
        let certificate = contents.certificate(&files).map_err(refuse)?;
        let not_after = certificate.not_after;
        let shown = Arc::new(Shown(RwLock::new(Arc::new(certificate))));
        let resolver = Arc::clone(&shown);
        let mut server = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .expect("the provider has suites of both versions")
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        server.alpn_protocols = vec![HTTP_1.to_vec()];
        let tls = Self {
            side,
            files,
            counters: counters.clone(),
            seen: Mutex::new(Some(contents.digest())),
            warned_at: AtomicI64::new(0),
            shown,
            acceptor: TlsAcceptor::from(Arc::new(server)),
            handshake_timeout: config.handshake_timeout,
        };
        tls.counters.expires(side.name(), not_after);
        if contents.exposed {
            tls.warn_exposed();
        }
        Ok(Some(Arc::new(tls)))
    }

    /// The handshake of a connection that was just accepted.
    ///
    /// # Errors
    /// [`Refused`], which is counted; the connection is closed.
    pub(crate) async fn accept(&self, stream: TcpStream) -> Result<Stream, Refused> {
        let handshake = tokio::time::timeout(self.handshake_timeout, self.acceptor.accept(stream));
        let refused = match handshake.await {
            Ok(Ok(stream)) => return Ok(Stream::Secure(Box::new(stream.into()))),
            Ok(Err(error)) => Refused::Failed(error),
            Err(_) => Refused::TooSlow,
        };
        self.counters.refused(self.side.name(), refused.name());
        Err(refused)
    }

    /// From now on handshakes show this certificate.
    pub(super) fn show(&self, certificate: Certificate) {
        self.counters.expires(self.side.name(), certificate.not_after);
        self.warned_at.store(0, Ordering::Relaxed);
        *self.shown.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(certificate);
    }

    /// When the certificate that is shown ends, seconds since 1970.
    pub(super) fn not_after(&self) -> i64 {
        self.shown.now().not_after
    }

    pub(super) fn warn_exposed(&self) {
        let file = self.files.key.display();
        tracing::warn!(%file, "everybody on this machine may read the private key; chmod 640 or 600");
    }
}

impl Refused {
    /// The word in metrics.
    fn name(&self) -> &'static str {
        match self {
            Self::TooSlow => "timeout",
            Self::Failed(_) => "failed",
        }
    }
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooSlow => f.write_str("the handshake took too long"),
            Self::Failed(error) => error.fmt(f),
        }
    }
}
