//! What a request says of its sender, checked as far as possible without the secret.

use http::HeaderMap;

use crate::oss::Error;
use crate::oss::signature::SigningKey;

/// The parts of a request that are signed. The URL path is not among them.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The HTTP method.
    pub method: &'a str,
    /// The raw query string, without `?`.
    pub query: &'a str,
    /// All headers.
    pub headers: &'a HeaderMap,
}

/// What the server accepts.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// The one signing region.
    pub region: &'a str,
    /// Seconds since 1970.
    pub now: i64,
}

/// Who a request claims to come from.
pub enum Claim<'a> {
    /// No credentials at all.
    Anonymous,
    /// Signed; to be verified with the secret of its access key.
    Signed(Signed<'a>),
}

impl<'a> Claim<'a> {
    /// Reads header or query authentication and checks everything that needs no secret, in the
    /// documented order. Errors: the rows of the signature table in `docs/compatibility.md`.
    pub fn parse(_request: Request<'a>, _rules: &Rules<'_>) -> Result<Self, Error> {
        unimplemented!()
    }
}

/// A parsed signature whose scope and time are fine.
pub struct Signed<'a> {
    request: Request<'a>,
}

impl Signed<'_> {
    /// The access key id.
    pub fn access_key_id(&self) -> &str {
        unimplemented!()
    }

    /// The day of the scope, `YYYYMMDD`.
    pub fn day(&self) -> &str {
        unimplemented!()
    }

    /// The region of the scope.
    pub fn region(&self) -> &str {
        unimplemented!()
    }

    /// The security token, if one was sent.
    pub fn token(&self) -> Option<&str> {
        unimplemented!()
    }

    /// Compares the signature in constant time.
    ///
    /// `resource` is account and bucket of the canonical URI, `None` for the bucket list. Error:
    /// [`Fault::SignatureMismatch`](crate::oss::Fault::SignatureMismatch) with its fields, the
    /// token masked.
    pub fn verify(&self, _key: &SigningKey, _resource: Option<(&str, &str)>) -> Result<(), Error> {
        unimplemented!()
    }

    /// The answer to an access key nobody has, after the same work as a comparison.
    pub fn unknown_key(&self) -> Error {
        unimplemented!()
    }

    /// The answer to a disabled access key.
    pub fn disabled_key(&self) -> Error {
        unimplemented!()
    }

    /// Without session tokens: refuses a token next to a long-term key.
    pub fn refuse_token(&self) -> Result<(), Error> {
        unimplemented!()
    }
}
