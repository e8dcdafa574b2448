//! What a remote store's failed answer means for the caller.

use std::error::Error;
use std::fmt;

use object_store::client::{HttpError, HttpErrorKind};

use crate::error::StoreErrorKind;

/// An answer that is no success, and none that the clients tell apart themselves.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: u16,
    /// The service's code, such as `NoSuchBucket`; empty if it gave none.
    pub(super) code: String,
    /// Its words.
    pub(super) message: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HTTP {}", self.status)?;
        for part in [&self.code, &self.message].into_iter().filter(|part| !part.is_empty()) {
            write!(f, " {part}")?;
        }
        Ok(())
    }
}

impl Error for Refusal {}

impl Refusal {
    /// Of an answer's status and body, which is XML with `Code` and `Message` as a rule.
    pub(super) fn new(status: u16, body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(&body[..body.len().min(4096)]);
        let part = |tag: &str| -> String {
            let text = super::oss::xml::first(&text, tag).unwrap_or_default();
            text.chars().filter(|c| !c.is_control()).take(200).collect()
        };
        Self { status, code: part("Code"), message: part("Message") }
    }

    /// The kind, and whether the request certainly was not executed.
    fn kind(&self) -> (StoreErrorKind, bool) {
        match (self.status, self.code.as_str()) {
            (507, _) | (_, "QuotaExceeded" | "XMinioStorageFull") => (StoreErrorKind::Full, false),
            // The body did not arrive in time; or the service is too busy to look at it.
            (408, _) | (_, "RequestTimeout") => (StoreErrorKind::Unavailable, false),
            // Another request for the object was under way; nobody looked which was first.
            (_, "ConditionalRequestConflict" | "OperationAborted") => {
                (StoreErrorKind::Unavailable, false)
            }
            (429, _) => (StoreErrorKind::Unavailable, true),
            (401 | 403, _) => (StoreErrorKind::Denied, true),
            (404, _) => (StoreErrorKind::NotFound, true),
            (300..=499 | 501, _) => (StoreErrorKind::Invalid, true),
            _ => (StoreErrorKind::Unavailable, false),
        }
    }

    /// Whether sending the request again may help.
    pub(super) fn is_passing(&self) -> bool {
        self.kind().0 == StoreErrorKind::Unavailable
    }
}

/// The kind of the remote failure behind `error`, and whether it certainly had no effect; `None` if
/// the error is of another sort.
pub(in crate::store) fn judge(error: &object_store::Error) -> Option<(StoreErrorKind, bool)> {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(refusal) = error.downcast_ref::<Refusal>() {
            return Some(refusal.kind());
        }
        let http = error.downcast_ref::<HttpError>().map(HttpError::kind);
        if http == Some(HttpErrorKind::Connect) {
            return Some((StoreErrorKind::Unavailable, true));
        }
        cause = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_by_what_the_caller_can_do() {
        let check = |status: u16, code: &str, expected: (StoreErrorKind, bool)| {
            let body = format!("<Error><Code>{code}</Code><Message>words\nhere</Message></Error>");
            let refusal = Refusal::new(status, body.as_bytes());
            assert_eq!(refusal.kind(), expected, "{refusal}");
            assert_eq!(refusal.to_string(), format!("HTTP {status} {code} wordshere"));
            let kind = HttpErrorKind::Unknown;
            let source = Box::new(HttpError::new(kind, refusal));
            let error = object_store::Error::Generic { store: "test", source };
            assert_eq!(judge(&error), Some(expected));
        };
        check(503, "SlowDown", (StoreErrorKind::Unavailable, false));
        check(500, "InternalError", (StoreErrorKind::Unavailable, false));
        check(400, "RequestTimeout", (StoreErrorKind::Unavailable, false));
        check(429, "TooManyRequests", (StoreErrorKind::Unavailable, true));
        check(403, "SignatureDoesNotMatch", (StoreErrorKind::Denied, true));
        check(400, "AuthorizationHeaderMalformed", (StoreErrorKind::Invalid, true));
        check(301, "PermanentRedirect", (StoreErrorKind::Invalid, true));
        check(501, "NotImplemented", (StoreErrorKind::Invalid, true));
        check(507, "XMinioStorageFull", (StoreErrorKind::Full, false));
    }

    #[test]
    fn a_connection_that_did_not_come_about_had_no_effect() {
        let io = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let source = Box::new(HttpError::new(HttpErrorKind::Connect, io));
        let error = object_store::Error::Generic { store: "test", source };
        assert_eq!(judge(&error), Some((StoreErrorKind::Unavailable, true)));
        let other = object_store::Error::Generic { store: "test", source: "text".into() };
        assert_eq!(judge(&other), None);
    }

    #[test]
    fn bodies_of_any_kind_are_survived() {
        for body in [&b""[..], b"\xff<Code>", b"<Code></Code>", b"{\"error\": 1}"] {
            assert_eq!(Refusal::new(500, body).to_string(), "HTTP 500");
        }
    }
}
