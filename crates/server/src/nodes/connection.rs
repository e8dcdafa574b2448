//! Connections to one peer: kept alive, reused, and closed when a request on one does not end well.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout, timeout_at};

use crate::transport::{PeerTls, Stream};

/// Idle connections that are kept to one peer.
const IDLE_MAX: usize = 64;
/// An idle connection is not reused after this long; less than what a peer keeps one for.
const IDLE_AGE_MAX: Duration = Duration::from_secs(30);
/// Longest wait for a connection: peers are close by.
const CONNECT_MAX: Duration = Duration::from_secs(1);
/// A body is handed over in pieces of this many bytes, so that it is known how far it went.
const PIECE_BYTES: usize = 64 << 10;

/// How far a request came that was not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reached {
    /// The peer cannot have had the whole request, and never will: it has not executed it.
    NotWhole,
    /// The peer may have had all of it.
    Perhaps,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) struct NoAnswer {
    pub(super) reached: Reached,
    pub(super) timed_out: bool,
    pub(super) cause: String,
}

/// Connections to one place. Cheap to create; connects when asked.
#[derive(Debug)]
pub(super) struct Connections {
    place: Box<str>,
    tls: Option<PeerTls>,
    idle: Mutex<Vec<Idle>>,
}

#[derive(Debug)]
struct Idle {
    connection: Connection,
    since: Instant,
}

/// One connection. Dropping it closes it, also in the middle of a request: a peer that was sent a
/// part of a body never gets the rest.
#[derive(Debug)]
pub(super) struct Connection {
    sender: SendRequest<Pieces>,
    task: AbortHandle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Connections {
    /// Connections to `host:port`, over TLS if there is some.
    pub(super) fn new(place: &str, tls: Option<PeerTls>) -> Self {
        Self { place: place.into(), tls, idle: Mutex::default() }
    }

    /// Sends a request and waits for the head of its answer.
    ///
    /// The connection is given back with the answer, to be returned by [`Connections::keep`] once the
    /// answer's body was read.
    ///
    /// # Errors
    /// [`NoAnswer`]: nothing was answered within `time_max`.
    pub(super) async fn send(
        &self,
        request: Request<Bytes>,
        time_max: Duration,
    ) -> Result<(Response<Incoming>, Connection), NoAnswer> {
        // Of a request without a body the head is all.
        let whole = Arc::new(AtomicBool::new(request.body().is_empty()));
        let mut request = request.map(|body| Pieces::new(body, Arc::clone(&whole)));
        let deadline = Instant::now() + time_max;
        // A peer may close a kept connection at any time; a request that was not begun on one goes
        // to the next, at last to a fresh one.
        loop {
            let (mut connection, kept) = self.connection(time_max).await?;
            let sending = connection.sender.try_send_request(request);
            let mut failed = match timeout_at(deadline, sending).await {
                Ok(Ok(response)) => return Ok((response, connection)),
                Ok(Err(failed)) => failed,
                Err(_) => return Err(no_answer(&whole, true, "no answer in time")),
            };
            match failed.take_message() {
                Some(unsent) if kept => request = unsent,
                Some(_) => {
                    return Err(NoAnswer {
                        reached: Reached::NotWhole,
                        timed_out: false,
                        cause: failed.error().to_string(),
                    });
                }
                None => return Err(no_answer(&whole, false, &failed.error().to_string())),
            }
        }
    }

    /// Keeps a connection whose answer was read to its end.
    pub(super) fn keep(&self, connection: Connection) {
        let mut idle = self.lock();
        if idle.len() < IDLE_MAX && !connection.sender.is_closed() {
            idle.push(Idle { connection, since: Instant::now() });
        }
    }

    /// Closes what is idle.
    pub(super) fn close_idle(&self) {
        self.lock().clear();
    }

    /// A connection, and whether it was used before.
    async fn connection(&self, time_max: Duration) -> Result<(Connection, bool), NoAnswer> {
        while let Some(mut connection) = self.newest_idle() {
            if connection.sender.ready().await.is_ok() {
                return Ok((connection, true));
            }
        }
        let failed = |timed_out, cause| NoAnswer { reached: Reached::NotWhole, timed_out, cause };
        match timeout(time_max.min(CONNECT_MAX), connect(&self.place, self.tls.as_ref())).await {
            Ok(Ok(connection)) => Ok((connection, false)),
            Ok(Err(cause)) => Err(failed(false, cause)),
            Err(_) => Err(failed(true, "no connection in time".to_owned())),
        }
    }

    /// The one used last, so that what is not needed grows old.
    fn newest_idle(&self) -> Option<Connection> {
        let mut idle = self.lock();
        idle.retain(|one| !one.connection.sender.is_closed() && one.since.elapsed() < IDLE_AGE_MAX);
        idle.pop().map(|one| one.connection)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn no_answer(whole: &AtomicBool, timed_out: bool, cause: &str) -> NoAnswer {
    let reached = match whole.load(Ordering::Acquire) {
        true => Reached::Perhaps,
        false => Reached::NotWhole,
    };
    NoAnswer { reached, timed_out, cause: cause.to_owned() }
}

async fn connect(place: &str, tls: Option<&PeerTls>) -> Result<Connection, String> {
    let stream = TcpStream::connect(place).await.map_err(|error| error.to_string())?;
    // Requests are written in one piece; waiting for more bytes only delays them.
    let _ = stream.set_nodelay(true);
    let stream = match tls {
        Some(tls) => tls.connect(place, stream).await?,
        None => Stream::Plain(stream),
    };
    let handshake = http1::handshake(TokioIo::new(stream)).await;
    let (sender, connection) = handshake.map_err(|error| error.to_string())?;
    let task = tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "connection to a peer ended");
        }
    });
    Ok(Connection { sender, task: task.abort_handle() })
}

/// A body in pieces that notes when its last piece is taken.
pub(super) struct Pieces {
    rest: Bytes,
    whole: Arc<AtomicBool>,
}

impl Pieces {
    fn new(body: Bytes, whole: Arc<AtomicBool>) -> Self {
        Self { rest: body, whole }
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        let piece = this.rest.split_to(this.rest.len().min(PIECE_BYTES));
        if this.rest.is_empty() {
            this.whole.store(true, Ordering::Release);
        }
        Poll::Ready((!piece.is_empty()).then_some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}
