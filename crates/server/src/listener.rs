//! Connections of the data listener: accepted, bounded in number and in idleness, drained at the end.
//!
//! What never reaches the service is answered by the HTTP library itself, without a body: a head
//! that does not parse (400), a head or a number of headers beyond the limits (431), a request
//! line beyond them (414). Such a connection is closed.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};

use crate::config::LimitConfig;
use crate::phase::{Phase, Phases};
use crate::serve::Service;

/// Longest time an answer may make no progress towards the client.
const WRITE_STALL_MAX: Duration = Duration::from_secs(60);

/// Number of headers for which the HTTP library reads a head without allocating.
const HEADERS_MAX_BUILT_IN: u32 = 100;

/// The data listener and the bound on its connections.
#[derive(Clone)]
pub(crate) struct Connections {
    service: Arc<Service>,
    phases: Phases,
    limits: LimitConfig,
    permits: Arc<Semaphore>,
}

impl Connections {
    /// Connections that `service` will answer.
    pub(crate) fn new(service: Arc<Service>, phases: Phases, limits: LimitConfig) -> Self {
        let permits = Arc::new(Semaphore::new(limits.connections_max as usize));
        Self { service, phases, limits, permits }
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
        let connections = self.clone();
        tokio::spawn(async move {
            let _permit = permit;
            let metrics = Arc::clone(connections.service.metrics());
            metrics.accepted.inc();
            metrics.connections.inc();
            connections.connection(stream, peer).await;
            metrics.connections.dec();
        });
    }

    async fn connection(&self, stream: TcpStream, peer: SocketAddr) {
        // Answers are written in one piece; waiting for more bytes only delays them.
        let _ = stream.set_nodelay(true);
        let service = service_fn(|request: Request<Incoming>| {
            let service = Arc::clone(&self.service);
            async move { Ok::<_, Infallible>(service.respond(request, peer).await) }
        });
        let io = TokioIo::new(StallGuard::new(stream, WRITE_STALL_MAX));
        let connection = self.http().serve_connection(io, service);
        tokio::pin!(connection);
        let ended = tokio::select! {
            ended = &mut connection => ended,
            () = self.phases.reached(Phase::Draining) => {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    ended = &mut connection => ended,
                    () = self.phases.reached(Phase::Stopped) => return,
                }
            }
        };
        if let Err(error) = ended {
            self.note(&error, peer);
        }
    }

    fn http(&self) -> http1::Builder {
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.header_timeout)
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
        } else {
            tracing::debug!(%peer, %error, "connection ended");
        }
    }
}

/// A stream whose writes fail once they made no progress for `stall_max`: a client that stops
/// reading must not hold an answer in memory for ever.
struct StallGuard {
    stream: TcpStream,
    stall_max: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
}

impl StallGuard {
    fn new(stream: TcpStream, stall_max: Duration) -> Self {
        Self { stream, stall_max, stalled: None }
    }

    /// Ends the stall after progress, or fails it once it lasted too long.
    fn watch<T>(&mut self, cx: &mut Context<'_>, poll: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if poll.is_ready() {
            self.stalled = None;
            return poll;
        }
        let deadline = Instant::now() + self.stall_max;
        let sleep =
            self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        ready!(sleep.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for StallGuard {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let poll = Pin::new(&mut this.stream).poll_read(cx, buffer);
        if poll.is_ready() && buffer.remaining() > 0 {
            acknowledge_now(&this.stream);
        }
        poll
    }
}

/// Tells the client at once that its bytes arrived, instead of up to 40 ms later.
///
/// A client that writes head and body apart without `TCP_NODELAY` (urllib3 does behind a proxy
/// setting, which is how the Python SDK reaches a server without DNS) holds the body back until the
/// head is acknowledged; the kernel delays that in the hope of an answer to carry it. A read that
/// did not fill its buffer has drained the socket, so this is when somebody may be waiting. Linux
/// forgets the setting, so it is made anew each time; it is advice, and a failure changes nothing.
#[cfg(target_os = "linux")]
fn acknowledge_now(stream: &TcpStream) {
    let _ = rustix::net::sockopt::set_tcp_quickack(stream, true);
}

#[cfg(not(target_os = "linux"))]
fn acknowledge_now(_: &TcpStream) {}

impl AsyncWrite for StallGuard {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let poll = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.watch(cx, poll)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let poll = Pin::new(&mut this.stream).poll_write_vectored(cx, slices);
        this.watch(cx, poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let poll = Pin::new(&mut this.stream).poll_flush(cx);
        this.watch(cx, poll)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let poll = Pin::new(&mut this.stream).poll_shutdown(cx);
        this.watch(cx, poll)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt as _;

    #[tokio::test]
    async fn a_reader_that_stops_fails_the_writer() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let silent = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let mut guard = StallGuard::new(stream, Duration::from_millis(50));
        let outcome = guard.write_all(&vec![0; 64 << 20]).await;
        assert_eq!(outcome.unwrap_err().kind(), io::ErrorKind::TimedOut);
        drop(silent);
    }
}
