//! The mark that one node puts on a request to another.
//!
//! ```text
//! x-vectorbucket-hop: 2;{unix ms};{id, 24 hex};{client address};{tls or plain};{SHA-256 of the body, hex, or -};{code}
//! ```
//!
//! The code is HMAC-SHA-256 under the cluster key over everything before it and over what the mark
//! stands on: method, target, Host and `Authorization` of the request, each ending in a line feed,
//! which none of them can hold. So a mark fits one request only; a client's cannot be made at all.
//!
//! A mark says four things: this request has made its one hop, this is the client it came from,
//! whether nobody could read it on the way there, and this is its id. It grants no right: a forwarded request is authenticated again by the
//! client's own signature, and only requests between nodes themselves (which bring the digest of
//! their body) rest on the mark alone; those only read.
//!
//! A mark is valid for [`SKEW_MAX`] around the receiver's clock. Within that time a copy of a marked
//! request can be sent again by who reads the network; that gives him nothing that a copy of
//! the client's own request, which is valid for longer, would not.

use std::time::Duration;

use aws_lc_rs::digest;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use vb_api::oss::RequestId;

use super::key::{ClusterKey, hex, unhex};
use crate::transport::Client;

/// Name of the header.
pub(crate) const MARK: HeaderName = HeaderName::from_static("x-vectorbucket-hop");

/// How far the clocks of two nodes may be apart, with the way between them.
pub(super) const SKEW_MAX: Duration = Duration::from_secs(60);

const VERSION: &str = "2";
/// How the client reached the first node.
const TLS: &str = "tls";
const PLAIN: &str = "plain";
/// Stands where there is no digest.
const NO_DIGEST: &str = "-";

/// What a valid mark says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The client that sent the request to the first node; for requests of a node itself, that node.
    pub(crate) client: Client,
    /// Random bytes of the request's id.
    pub(crate) id: [u8; 12],
    /// SHA-256 of the body, of requests that nodes make themselves.
    pub(crate) digest: Option<[u8; 32]>,
}

/// The mark is none of this cluster's, or not one of now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotValid;

/// What a mark stands on.
#[derive(Clone, Copy)]
pub(super) struct Marked<'a> {
    pub(super) method: &'a Method,
    /// Path and query as they go over the wire.
    pub(super) target: &'a str,
    pub(super) headers: &'a HeaderMap,
}

impl<'a> Marked<'a> {
    /// That of a request that arrived.
    pub(super) fn of(head: &'a Parts) -> Self {
        let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
        Self { method: &head.method, target, headers: &head.headers }
    }
}

impl Mark {
    /// The id that the request keeps on every node.
    pub(crate) fn request_id(&self) -> RequestId {
        RequestId::from_random(self.id)
    }

    /// The header's value. `now_ms` is milliseconds since 1970.
    pub(super) fn seal(&self, key: &ClusterKey, on: Marked<'_>, now_ms: u64) -> HeaderValue {
        let digest = self.digest.map_or_else(|| NO_DIGEST.to_owned(), |digest| hex(&digest));
        let way = if self.client.secure { TLS } else { PLAIN };
        let said =
            format!("{VERSION};{now_ms};{};{};{way};{digest}", hex(&self.id), self.client.addr);
        let code = key.seal(&sealed_text(&said, on));
        HeaderValue::try_from(format!("{said};{code}")).expect("digits and punctuation are ASCII")
    }

    /// Reads a mark and checks that this cluster made it, for this request, just now.
    pub(super) fn open(key: &ClusterKey, on: Marked<'_>, now_ms: u64) -> Result<Self, NotValid> {
        let mut values = on.headers.get_all(MARK).iter();
        let value = values.next().and_then(|value| value.to_str().ok()).ok_or(NotValid)?;
        let (said, code) = value.rsplit_once(';').ok_or(NotValid)?;
        if values.next().is_some() || !key.is_sealed(&sealed_text(said, on), code) {
            return Err(NotValid);
        }
        let (mark, at_ms) = parse(said).ok_or(NotValid)?;
        let apart = Duration::from_millis(at_ms.abs_diff(now_ms));
        if apart <= SKEW_MAX { Ok(mark) } else { Err(NotValid) }
    }
}

fn parse(said: &str) -> Option<(Mark, u64)> {
    let mut parts = said.split(';');
    let mut part = || parts.next();
    if part()? != VERSION {
        return None;
    }
    let at_ms = part()?.parse().ok()?;
    let id = unhex(part()?)?;
    let addr = part()?.parse().ok()?;
    let secure = match part()? {
        TLS => true,
        PLAIN => false,
        _ => return None,
    };
    let client = Client { addr, secure };
    let digest = match part()? {
        NO_DIGEST => None,
        text => Some(unhex(text)?),
    };
    parts.next().is_none().then_some((Mark { client, id, digest }, at_ms))
}

fn sealed_text(said: &str, on: Marked<'_>) -> Vec<u8> {
    let value = |name| on.headers.get(name).map_or(&[][..], HeaderValue::as_bytes);
    let lines = [
        b"vectorbucket-hop",
        said.as_bytes(),
        on.method.as_str().as_bytes(),
        on.target.as_bytes(),
        value(header::HOST),
        value(header::AUTHORIZATION),
    ];
    lines.iter().flat_map(|line| line.iter().chain(b"\n")).copied().collect()
}

/// SHA-256 of a body.
pub(super) fn digest_of(body: &[u8]) -> [u8; 32] {
    let digest = digest::digest(&digest::SHA256, body);
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// Whether a body is the one that a mark brings the digest of.
pub(crate) fn is_digest_of(digest: [u8; 32], body: &[u8]) -> bool {
    digest_of(body) == digest
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000_000;

    fn headers() -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static("vec-1.localhost"));
        headers.insert(header::AUTHORIZATION, HeaderValue::from_static("OSS4 x"));
        headers
    }

    fn mark(digest: Option<[u8; 32]>) -> Mark {
        let client = Client { addr: "[2001:db8::1]:77".parse().unwrap(), secure: digest.is_some() };
        Mark { client, id: [0xab; 12], digest }
    }

    fn sealed(key: &ClusterKey, digest: Option<[u8; 32]>) -> HeaderMap {
        let mut headers = headers();
        let on = Marked { method: &Method::POST, target: "/?queryVectors", headers: &headers };
        let value = mark(digest).seal(key, on, NOW);
        headers.insert(MARK, value);
        headers
    }

    fn open(key: &ClusterKey, headers: &HeaderMap, now_ms: u64) -> Result<Mark, NotValid> {
        let on = Marked { method: &Method::POST, target: "/?queryVectors", headers };
        Mark::open(key, on, now_ms)
    }

    #[test]
    fn marks_read_back_within_their_time() {
        let key = ClusterKey::new(b"secret");
        for digest in [None, Some(digest_of(b"body"))] {
            let headers = sealed(&key, digest);
            for now in [NOW - 60_000, NOW, NOW + 60_000] {
                assert_eq!(open(&key, &headers, now), Ok(mark(digest)));
            }
            for now in [NOW - 60_001, NOW + 60_001, 0, u64::MAX] {
                assert_eq!(open(&key, &headers, now), Err(NotValid));
            }
        }
        assert_eq!(mark(None).request_id().as_str(), "AB".repeat(12));
    }

    #[test]
    fn a_mark_fits_its_request_and_cluster_only() {
        let key = ClusterKey::new(b"secret");
        let headers = sealed(&key, None);
        assert_eq!(open(&ClusterKey::new(b"other"), &headers, NOW), Err(NotValid));
        for name in [header::HOST, header::AUTHORIZATION] {
            let mut changed = headers.clone();
            changed.insert(name, HeaderValue::from_static("other"));
            assert_eq!(open(&key, &changed, NOW), Err(NotValid));
        }
        for (method, target) in [(Method::GET, "/?queryVectors"), (Method::POST, "/?putVectors")] {
            let on = Marked { method: &method, target, headers: &headers };
            assert_eq!(Mark::open(&key, on, NOW), Err(NotValid));
        }
    }

    #[test]
    fn forged_and_repeated_marks_are_refused() {
        let key = ClusterKey::new(b"secret");
        let good = sealed(&key, None);
        let text = good[MARK].to_str().unwrap().to_owned();
        let mut twice = good.clone();
        twice.append(MARK, good[MARK].clone());
        assert_eq!(open(&key, &twice, NOW), Err(NotValid));
        assert_eq!(open(&key, &headers(), NOW), Err(NotValid));
        // Any one character changed, any end cut off.
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
            for forged in [&bytes[..], &text.as_bytes()[..at]] {
                let mut headers = headers();
                headers.insert(MARK, HeaderValue::from_bytes(forged).unwrap());
                // Hex digits of the code may change case, nothing else may change.
                assert_eq!(open(&key, &headers, NOW), Err(NotValid), "{at}");
            }
        }
    }
}
