//! Connections of the data listener: accepted, bounded in number and in idleness, drained at the end.
//!
//! What never reaches the service is answered by the HTTP library itself, without a body: a head
//! that does not parse (400), a head or a number of headers beyond the limits (431), a request
//! line beyond them (414). Such a connection is closed.

use std::convert::Infallible;
use std::error::Error as _;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::{Config, LimitConfig, TrustedProxies};
use crate::phase::{Phase, Phases};
use crate::serve::Service;
use crate::transport::{Client, Overdue, Place, Places, Pulse, StallGuard, Stream, Tls};
use crate::workers::{StartsTasksOn, Workers};

/// Number of headers for which the HTTP library reads a head without allocating.
const HEADERS_MAX_BUILT_IN: u32 = 100;

/// The data listener and the bound on its connections.
#[derive(Clone)]
pub(crate) struct Connections {
    service: Arc<Service>,
    phases: Phases,
    limits: LimitConfig,
    proxies: TrustedProxies,
    tls: Option<Arc<Tls>>,
    permits: Arc<Semaphore>,
    places: Arc<Places>,
    workers: Arc<Workers>,
    /// The server's runtime, for what outlives a request.
    runtime: Handle,
}

/// What the requests of one connection share.
pub(crate) struct Connected {
    other_end: Client,
    /// Held until the other end proves to be a node, whose connections are not counted.
    place: Mutex<Option<Place>>,
}

impl Connected {
    /// Who is at the other end, which may be a proxy.
    pub(crate) fn other_end(&self) -> Client {
        self.other_end
    }

    /// The other end is a node of the cluster.
    pub(crate) fn is_a_node(&self) {
        self.place.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// Why a connection ended, other than by its client's wish.
enum Ended {
    Overdue(Overdue),
    Broken(hyper::Error),
}

impl Connections {
    /// Connections that `service` will answer, over TLS if there is some. Must be called in the server's runtime.
    pub(crate) fn new(
        service: Arc<Service>,
        phases: Phases,
        config: &Config,
        tls: Option<Arc<Tls>>,
        workers: Workers,
    ) -> Self {
        let limits = config.limits.clone();
        let permits = Arc::new(Semaphore::new(limits.connections_max as usize));
        let places = Places::new(limits.connections_per_address_max);
        let proxies = config.trusted_proxies.clone();
        let (workers, runtime) = (Arc::new(workers), Handle::current());
        Self { service, phases, limits, proxies, tls, permits, places, workers, runtime }
    }

    /// Accepts until [`Phase::Draining`]; then the listening socket is closed.
    pub(crate) async fn run(self, listener: TcpListener) {
        let phases = self.phases.clone();
        tokio::select! {
            () = self.accept(&listener) => {}
            () = phases.reached(Phase::Draining) => {}
        }
    }

    /// Resolves when no connection is open any more.
    pub(crate) async fn closed(&self) {
        // The semaphore is never closed, so the only outcome is that all permits are back.
        let _ = self.permits.acquire_many(self.limits.connections_max).await;
    }

    /// What answers them.
    pub(crate) fn service(&self) -> &Arc<Service> {
        &self.service
    }

    /// Connections that are open.
    pub(crate) fn open(&self) -> usize {
        (self.limits.connections_max as usize).saturating_sub(self.permits.available_permits())
    }

    async fn accept(&self, listener: &TcpListener) {
        loop {
            let Ok(permit) = Arc::clone(&self.permits).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, peer)) => self.spawn(stream, peer, permit),
                Err(error) => {
                    // Out of descriptors, or the peer is gone already: neither ends the service.
                    tracing::warn!(%error, "accept failed");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    fn spawn(&self, stream: TcpStream, peer: SocketAddr, permit: OwnedSemaphorePermit) {
        let metrics = Arc::clone(self.service.metrics());
        metrics.accepted.inc();
        let Ok(place) = self.place(peer) else {
            metrics.connections_over_cap.inc();
            tracing::debug!(%peer, "too many connections from this address");
            return;
        };
        // The socket's events are to wake the worker that has the connection.
        let stream = match stream.into_std() {
            Ok(stream) => stream,
            Err(error) => return tracing::warn!(%error, %peer, "connection lost"),
        };
        let connections = self.clone();
        self.workers.spawn(async move {
            let _permit = permit;
            let stream = match TcpStream::from_std(stream) {
                Ok(stream) => stream,
                Err(error) => return tracing::warn!(%error, %peer, "connection lost"),
            };
            metrics.connections.inc();
            tokio::select! {
                () = connections.connection(stream, peer, place) => {}
                () = connections.phases.reached(Phase::Stopped) => {}
            }
            metrics.connections.dec();
        });
    }

    /// Room for one more connection from there; a proxy's are many clients' and need none.
    fn place(&self, peer: SocketAddr) -> Result<Option<Place>, ()> {
        match self.proxies.contain(peer.ip()) {
            true => Ok(None),
            false => self.places.take(peer.ip()).map(Some).ok_or(()),
        }
    }

    async fn connection(&self, stream: TcpStream, peer: SocketAddr, place: Option<Place>) {
        // Answers are written in one piece; waiting for more bytes only delays them.
        let _ = stream.set_nodelay(true);
        let Some(stream) = self.secured(stream, peer).await else { return };
        let other_end = Client { addr: peer, secure: stream.is_secure() };
        let connected = Connected { other_end, place: Mutex::new(place) };
        match self.serve(stream, &connected).await {
            Ok(()) => {}
            Err(Ended::Overdue(overdue)) => {
                self.service.metrics().timed_out(overdue.name());
                tracing::debug!(%peer, waited_for = overdue.name(), "connection timed out");
            }
            Err(Ended::Broken(error)) => self.note(&error, peer),
        }
    }

    /// The connection after its handshake, if there is one to be made; `None` if that fails or
    /// the service stops meanwhile.
    async fn secured(&self, stream: TcpStream, peer: SocketAddr) -> Option<Stream> {
        let Some(tls) = &self.tls else { return Some(Stream::Plain(stream)) };
        tokio::select! {
            accepted = tls.accept(stream) => accepted
                .inspect_err(|refused| tracing::info!(%peer, %refused, "no TLS connection"))
                .ok(),
            () = self.phases.reached(Phase::Draining) => None,
        }
    }

    /// Answers requests until either side has enough.
    async fn serve(&self, stream: Stream, connected: &Connected) -> Result<(), Ended> {
        let pulse = Arc::new(Pulse::new());
        let service = service_fn(|request: Request<Incoming>| {
            let (service, pulse) = (Arc::clone(&self.service), Arc::clone(&pulse));
            pulse.asked();
            async move {
                let respond = std::pin::pin!(service.respond(request, connected));
                let response = StartsTasksOn::new(&self.runtime, respond).await;
                pulse.answered();
                Ok::<_, Infallible>(response)
            }
        });
        let guard = StallGuard::new(stream, Arc::clone(&pulse), self.limits.write_timeout);
        let connection = self.http().serve_connection(TokioIo::new(guard), service);
        tokio::pin!(connection);
        let overdue = pulse.overdue(&self.limits);
        tokio::pin!(overdue);
        tokio::select! {
            ended = &mut connection => return ended.map_err(Ended::Broken),
            overdue = &mut overdue => return Err(Ended::Overdue(overdue)),
            () = self.phases.reached(Phase::Draining) => connection.as_mut().graceful_shutdown(),
        }
        tokio::select! {
            ended = connection => ended.map_err(Ended::Broken),
            overdue = overdue => Err(Ended::Overdue(overdue)),
        }
    }

    fn http(&self) -> http1::Builder {
        let mut builder = http1::Builder::new();
        builder
            // The connection's pulse is what times heads out.
            .header_read_timeout(None)
            .max_header_size(self.limits.head_bytes_max.usize());
        // Any other number costs an allocation per request.
        if self.limits.headers_max != HEADERS_MAX_BUILT_IN {
            builder.max_headers(self.limits.headers_max as usize);
        }
        builder
    }

    fn note(&self, error: &hyper::Error, peer: SocketAddr) {
        if error.is_parse() || error.is_parse_too_large() {
            self.service.metrics().heads_refused.inc();
            tracing::info!(%peer, %error, "no HTTP request");
            return;
        }
        if is_stalled(error) {
            self.service.metrics().timed_out("write");
        }
        tracing::debug!(%peer, %error, "connection ended");
    }
}

/// Whether the client stopped reading its answer.
fn is_stalled(error: &hyper::Error) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::TimedOut)
}
