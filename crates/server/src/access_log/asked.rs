//! What of a request's head is kept for its line.

use http::{HeaderValue, Method, Request, Uri, Version, header};

/// The head of a request as far as a line tells of it, as it arrived.
///
/// The target may hold a signature: only [`super::Line`] reads this, which masks and escapes, and
/// there is no `Debug`. Clones of a head's parts share its bytes.
pub(crate) struct Asked {
    pub(super) method: Method,
    pub(super) target: Uri,
    pub(super) version: Version,
    pub(super) referer: Option<HeaderValue>,
    pub(super) user_agent: Option<HeaderValue>,
    /// Length of the head in bytes, as it is usually written.
    pub(super) head_bytes: u64,
}

impl Asked {
    /// That of a request.
    pub(crate) fn of<B>(request: &Request<B>) -> Self {
        let headers = request.headers();
        Self {
            method: request.method().clone(),
            target: request.uri().clone(),
            version: request.version(),
            referer: headers.get(header::REFERER).cloned(),
            user_agent: headers.get(header::USER_AGENT).cloned(),
            head_bytes: head_bytes(request),
        }
    }

    pub(super) fn version(&self) -> &'static str {
        if self.version == Version::HTTP_10 { "HTTP/1.0" } else { "HTTP/1.1" }
    }
}

/// `METHOD target HTTP/1.1`, one line per header and an empty one, each ended by two bytes.
fn head_bytes<B>(request: &Request<B>) -> u64 {
    let target = request.uri().path_and_query().map_or(1, |target| target.as_str().len());
    let first = request.method().as_str().len() + target + " ".len() * 2 + "HTTP/1.1\r\n".len();
    let headers = request.headers().iter();
    let lines = headers.map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len());
    (first + lines.sum::<usize>() + "\r\n".len()) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_is_measured_as_it_is_written() {
        let head = "GET /?policy HTTP/1.1\r\nhost: b\r\nreferer: r\r\n\r\n";
        let request = Request::get("/?policy").header("host", "b").header("referer", "r").body(());
        assert_eq!(Asked::of(&request.unwrap()).head_bytes, head.len() as u64);
    }
}
