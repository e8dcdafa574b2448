//! Request bodies: how long they may be, how slow they may be, and whether they are what was signed.
//!
//! A body is read only after the caller is known and room for it was admitted. Length and pace are
//! bounded while reading, so that a client can neither fill memory nor hold its place for ever.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, header};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use tokio::time::{Instant, timeout_at};
use vb_api::oss::signature::BodyCheck;
use vb_api::oss::{Error, Fault};

use crate::config::LimitConfig;
use crate::cpu::Pool;

/// What the head says about the body's length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Declared {
    /// `Content-Length`, or no body at all.
    Bytes(u64),
    /// `Transfer-Encoding: chunked`: known at its end.
    Chunked,
}

/// What the head says about the length of the body that follows.
///
/// # Errors
/// [`Fault::LengthMissing`] for a method that carries a body and says nothing about its length;
/// [`Fault::BodyTooLarge`] when the declared length is beyond `bytes_max`.
pub(crate) fn declared(
    method: &Method,
    headers: &HeaderMap,
    bytes_max: u64,
) -> Result<Declared, Error> {
    if headers.contains_key(header::TRANSFER_ENCODING) {
        return Ok(Declared::Chunked);
    }
    let length = headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse().ok());
    match length {
        Some(length) if length > bytes_max => Err(too_large(bytes_max)),
        Some(length) => Ok(Declared::Bytes(length)),
        None if matches!(*method, Method::POST | Method::PUT) => Err(Fault::LengthMissing.into()),
        None => Ok(Declared::Bytes(0)),
    }
}

impl Declared {
    /// Bytes to keep room for: the declared length, or the most the operation may have.
    pub(crate) fn bytes(self, bytes_max: u64) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Chunked => bytes_max,
        }
    }
}

fn too_large(bytes_max: u64) -> Error {
    Error::new(Fault::BodyTooLarge).field("MaxSizeAllowed", bytes_max.to_string())
}

/// Longest pause inside a body that is only read to be forgotten.
const DISCARD_PAUSE_MAX: Duration = Duration::from_secs(2);

/// The pace a body must keep.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Longest pause between two pieces.
    pub(crate) pause_max: Duration,
    /// Slowest average after the first pause, bytes per second.
    pub(crate) rate_min: u64,
}

impl Pace {
    /// The pace that the limits demand.
    pub(crate) fn new(limits: &LimitConfig) -> Self {
        Self { pause_max: limits.body_timeout, rate_min: limits.body_rate_min.0 }
    }

    /// The pace of a body that is only read to be forgotten: a client that is not sending it now
    /// may be waiting for the answer.
    pub(crate) fn hurried(self) -> Self {
        Self { pause_max: self.pause_max.min(DISCARD_PAUSE_MAX), ..self }
    }

    /// When a body of `bytes` must be complete.
    fn allowance(self, bytes: u64) -> Duration {
        self.pause_max + Duration::from_millis(bytes.saturating_mul(1000) / self.rate_min.max(1))
    }
}

/// Reads the whole body.
///
/// # Errors
/// [`Fault::BodyTooLarge`], [`Fault::BodyTimeout`] (too slow), [`Fault::BodyIncomplete`] (the
/// client went away or broke the framing).
pub(crate) async fn read(
    body: &mut Incoming,
    declared: Declared,
    bytes_max: u64,
    pace: Pace,
) -> Result<Bytes, Error> {
    let started = Instant::now();
    let mut buffer = BytesMut::new();
    if let Declared::Bytes(bytes) = declared {
        buffer.reserve(usize::try_from(bytes).unwrap_or(usize::MAX));
    }
    while let Some(piece) = next_piece(body, started, buffer.len() as u64, pace).await? {
        if (buffer.len() + piece.len()) as u64 > bytes_max {
            return Err(too_large(bytes_max));
        }
        // The common small body arrives in one piece and needs no copy.
        if buffer.is_empty() && body.is_end_stream() {
            return Ok(piece);
        }
        buffer.extend_from_slice(&piece);
    }
    Ok(buffer.freeze())
}

/// The next data piece; trailers are dropped. `None` at the end.
async fn next_piece(
    body: &mut Incoming,
    started: Instant,
    have: u64,
    pace: Pace,
) -> Result<Option<Bytes>, Error> {
    loop {
        let pause_ends = Instant::now() + pace.pause_max;
        let deadline = pause_ends.min(started + pace.allowance(have + 1));
        match timeout_at(deadline, body.frame()).await {
            Err(_) => return Err(Fault::BodyTimeout.into()),
            Ok(None) => return Ok(None),
            Ok(Some(Err(error))) => {
                tracing::debug!(%error, "body broke off");
                return Err(Fault::BodyIncomplete.into());
            }
            Ok(Some(Ok(frame))) => {
                if let Ok(piece) = frame.into_data() {
                    return Ok(Some(piece));
                }
            }
        }
    }
}

/// Reads and forgets what is left of a refused request's body, so that the client, which may not
/// read before it has written all, sees the answer. Bounded in length and pace like a body that is
/// kept; a body that announces more is not waited for. Returns whether the body's end was reached,
/// so that the connection can go on.
pub(crate) async fn discard(mut body: Incoming, bytes_max: u64, pace: Pace) -> bool {
    if body.size_hint().lower() > bytes_max {
        return false;
    }
    let started = Instant::now();
    let mut have = 0;
    loop {
        match next_piece(&mut body, started, have, pace).await {
            Ok(Some(piece)) => have += piece.len() as u64,
            Ok(None) => return true,
            Err(_) => return false,
        }
        if have > bytes_max {
            return false;
        }
    }
}

/// Compares the body with the digests that were sent for it: in place when it is small, on the
/// CPU pool when it is large.
///
/// # Errors
/// [`Fault::DigestMismatch`], [`Fault::PayloadMismatch`].
pub(crate) async fn verify(pool: &Pool, mut check: BodyCheck, body: Bytes) -> Result<(), Error> {
    pool.run_sized(body.len(), move || {
        check.update(&body);
        check.finish()
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn headers(list: &[(&'static str, &'static str)]) -> HeaderMap {
        list.iter().map(|(k, v)| (k.parse().unwrap(), HeaderValue::from_static(v))).collect()
    }

    #[test]
    fn lengths_follow_the_head() {
        let check = |method: Method, list: &[(&'static str, &'static str)]| {
            declared(&method, &headers(list), 100).map_err(|e| e.fault())
        };
        assert_eq!(check(Method::POST, &[("content-length", "100")]), Ok(Declared::Bytes(100)));
        assert_eq!(check(Method::POST, &[("content-length", "101")]), Err(Fault::BodyTooLarge));
        assert_eq!(check(Method::POST, &[("transfer-encoding", "chunked")]), Ok(Declared::Chunked));
        assert_eq!(check(Method::POST, &[]), Err(Fault::LengthMissing));
        assert_eq!(check(Method::GET, &[]), Ok(Declared::Bytes(0)));
        assert_eq!(check(Method::DELETE, &[]), Ok(Declared::Bytes(0)));
    }

    #[test]
    fn a_slow_body_gets_a_pause_and_then_its_rate() {
        let pace = Pace { pause_max: Duration::from_secs(10), rate_min: 1000 };
        assert_eq!(pace.allowance(0), Duration::from_secs(10));
        assert_eq!(pace.allowance(60_000), Duration::from_secs(70));
    }
}
