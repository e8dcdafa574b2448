//! One request to the node that owns its index, and what to do when no answer comes.
//!
//! The request goes on as it came: method, target, Host, every header that is not about the
//! connection, the body. Its body was read whole before (that is what admission counted), so that
//! it is still there when the owner turns out to be down.
//!
//! Reads that are not answered are served here. Writes are idempotent, but that alone does not
//! make a second execution harmless: an owner that was stopped after it took a write could commit
//! it *after* this node committed it again and after a later write to the same key was
//! acknowledged, and so bring the older value back. Therefore a write is served here only if the
//! owner certainly does not have the whole request ([`Reached::NotWhole`]): no connection, or one that
//! ended before the body did; an owner executes nothing of which the end is missing. Otherwise the
//! outcome is unknown, and the client is told so with a code that SDKs repeat; by then the owner is
//! known to be down, and the repetition is served here.

use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use tokio::time::timeout;
use vb_api::oss::Query;

use super::connection::{NoAnswer, Reached};
use super::mark::{MARK, Mark, Marked};
use super::{Down, Nodes, Peer, unix_ms};

/// Largest answer that is passed on.
const ANSWER_BYTES_MAX: usize = 1 << 30;

/// Headers of one connection, which do not go further, and our own mark.
const OF_THE_CONNECTION: [&str; 10] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "expect",
    "http2-settings",
    "x-vectorbucket-hop",
];

/// Headers of an answer that say something of its content.
const OF_THE_ANSWER: [HeaderName; 3] =
    [header::CONTENT_TYPE, header::LOCATION, HeaderName::from_static("x-oss-ec")];

/// A request to be forwarded.
pub(crate) struct Request<'a> {
    pub(crate) head: &'a Parts,
    pub(crate) body: Bytes,
    /// Client and id.
    pub(crate) mark: Mark,
    pub(crate) is_write: bool,
}

/// What became of it.
#[derive(Debug)]
pub(crate) enum Forwarded {
    /// The owner's answer.
    Answered(Answer),
    /// The owner did not execute it and never will, or it only reads: serve it here.
    ServeHere,
    /// The owner may have executed it, or may yet.
    Unknown,
}

/// An answer of a peer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// What the answer says of its content, nothing else.
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Nodes {
    /// Sends a client's request to its owner.
    pub(crate) async fn forward(&self, peer: &Peer, request: Request<'_>) -> Forwarded {
        if signs_the_connection(request.head) {
            return Forwarded::ServeHere;
        }
        let is_write = request.is_write;
        let (mark, body) = (request.mark, request.body.clone());
        let outgoing = self.outgoing(request.head, body, mark);
        match self.ask(peer, outgoing, self.config.peer_timeout).await {
            Ok(answer) if answer.headers.contains_key(MARK) => {
                peer.health(|health| health.failed(Down::Refusing, self.uptime()));
                Forwarded::ServeHere
            }
            Ok(answer) => {
                peer.health(|health| health.answered());
                Forwarded::Answered(answer)
            }
            Err(failed) => {
                tracing::info!(peer = peer.name(), cause = failed.cause, "not forwarded");
                after_failure(failed.reached, is_write)
            }
        }
    }

    /// Sends a request and reads its answer; a failure takes the peer down.
    pub(super) async fn ask(
        &self,
        peer: &Peer,
        request: http::Request<Bytes>,
        time_max: Duration,
    ) -> Result<Answer, NoAnswer> {
        let outcome = ask(peer, request, time_max).await;
        if let Err(failed) = &outcome {
            let why = if failed.timed_out { Down::Silent } else { Down::Unreachable };
            peer.health(|health| health.failed(why, self.uptime()));
        }
        outcome
    }

    fn outgoing(&self, head: &Parts, body: Bytes, mark: Mark) -> http::Request<Bytes> {
        let on = Marked::of(head);
        let mut request = http::Request::new(body);
        *request.method_mut() = head.method.clone();
        // What arrived as a target is one.
        *request.uri_mut() = on.target.parse().unwrap_or_default();
        let kept = head.headers.iter().filter(|(name, _)| !is_of_the_connection(name.as_str()));
        let headers = request.headers_mut();
        headers.extend(kept.map(|(name, value)| (name.clone(), value.clone())));
        headers.insert(MARK, mark.seal(&self.key, on, unix_ms()));
        request
    }
}

/// Sends a request and reads its answer to the end.
pub(super) async fn ask(
    peer: &Peer,
    mut request: http::Request<Bytes>,
    time_max: Duration,
) -> Result<Answer, NoAnswer> {
    let length = HeaderValue::from(request.body().len());
    request.headers_mut().insert(header::CONTENT_LENGTH, length);
    let (response, connection) = peer.connections.send(request, time_max).await?;
    let lasts = !says_close(&response);
    let answer = match timeout(time_max, read(response)).await {
        Ok(answer) => answer?,
        Err(_) => return Err(cut(true, "the answer's body stopped")),
    };
    match lasts {
        true => peer.connections.keep(connection),
        // A node closes kept connections only when it stops.
        false => peer.health(|health| health.leaving()),
    }
    Ok(answer)
}

async fn read(response: Response<Incoming>) -> Result<Answer, NoAnswer> {
    let (head, body) = response.into_parts();
    let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
    let body = body.map_err(|error| cut(false, &error.to_string()))?.to_bytes();
    let mut headers = HeaderMap::new();
    for name in OF_THE_ANSWER.iter().chain([&MARK]) {
        if let Some(value) = head.headers.get(name) {
            headers.insert(name, value.clone());
        }
    }
    Ok(Answer { status: head.status, headers, body })
}

fn cut(timed_out: bool, cause: &str) -> NoAnswer {
    NoAnswer { reached: Reached::Perhaps, timed_out, cause: cause.to_owned() }
}

fn says_close(response: &Response<Incoming>) -> bool {
    let value = response.headers().get(header::CONNECTION);
    value.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"close"))
}

/// What to do with a request that was not answered.
fn after_failure(reached: Reached, is_write: bool) -> Forwarded {
    match (reached, is_write) {
        (Reached::NotWhole, _) | (Reached::Perhaps, false) => Forwarded::ServeHere,
        (Reached::Perhaps, true) => Forwarded::Unknown,
    }
}

fn is_of_the_connection(name: &str) -> bool {
    OF_THE_CONNECTION.contains(&name)
}

/// Whether the signature covers a header that does not go further; such a request cannot be
/// verified by another node.
fn signs_the_connection(head: &Parts) -> bool {
    let stays = |list: &str| {
        list.split(';').any(|name| is_of_the_connection(&name.trim().to_ascii_lowercase()))
    };
    let header = head.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let in_header = header.is_some_and(|text| {
        let parts = text.split([',', ' ']).filter_map(|part| part.split_once('='));
        parts.filter(|(name, _)| *name == "AdditionalHeaders").any(|(_, list)| stays(list))
    });
    let query = Query::parse(head.uri.query().unwrap_or(""));
    let in_query = query.value("x-oss-additional-headers");
    in_header || in_query.ok().flatten().is_some_and(|list| stays(&list))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(headers: &[(&'static str, &'static str)], target: &str) -> Parts {
        let mut request = http::Request::new(());
        *request.uri_mut() = target.parse().unwrap();
        for (name, value) in headers {
            request.headers_mut().append(*name, HeaderValue::from_static(value));
        }
        request.into_parts().0
    }

    #[test]
    fn a_write_runs_twice_only_if_its_owner_never_gets_all_of_it() {
        let is_local =
            |reached, is_write| matches!(after_failure(reached, is_write), Forwarded::ServeHere);
        assert!(is_local(Reached::NotWhole, true));
        assert!(is_local(Reached::NotWhole, false));
        assert!(is_local(Reached::Perhaps, false));
        assert!(!is_local(Reached::Perhaps, true));
    }

    #[test]
    fn requests_that_sign_their_connection_stay() {
        let signs = |list: &str, query: &str| {
            let text = format!("OSS4-HMAC-SHA256 Credential=a/b,{list}Signature=ab");
            let mut head = head(&[], &format!("/?putVectors{query}"));
            head.headers.insert(header::AUTHORIZATION, text.parse().unwrap());
            signs_the_connection(&head)
        };
        assert!(!signs("", ""));
        assert!(!signs("AdditionalHeaders=host;user-agent,", ""));
        assert!(signs("AdditionalHeaders=host;Connection,", ""));
        assert!(signs("AdditionalHeaders=transfer-encoding, ", ""));
        assert!(signs("", "&x-oss-additional-headers=host%3Bexpect"));
        assert!(!signs("", "&x-oss-additional-headers=host"));
    }
}
