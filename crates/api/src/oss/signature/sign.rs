//! The client's side.

use http::HeaderMap;

/// An access key with its secret; `Debug` shows neither secret nor token.
#[derive(Clone)]
pub struct Credentials {
    /// The access key id.
    pub access_key_id: String,
    /// The secret.
    pub secret: String,
    /// A session token.
    pub token: Option<String>,
}

/// What is signed.
#[derive(Clone, Copy)]
pub struct SignInput<'a> {
    /// The HTTP method.
    pub method: &'a str,
    /// The signing region.
    pub region: &'a str,
    /// Account and bucket; `None` for the bucket list.
    pub resource: Option<(&'a str, &'a str)>,
    /// The raw query string without `?`.
    pub query: &'a str,
    /// All headers that will be sent. In header mode they must hold `x-oss-date` for `at` (and
    /// `x-oss-security-token` for a token).
    pub headers: &'a HeaderMap,
    /// Further headers to sign, such as `host`.
    pub additional: &'a [&'a str],
    /// Seconds since 1970.
    pub at: i64,
}

/// The value of the `Authorization` header.
pub fn authorization(_credentials: &Credentials, _input: &SignInput<'_>) -> String {
    unimplemented!()
}

/// The query string of a presigned URL, `x-oss-signature` last.
pub fn presign(
    _credentials: &Credentials,
    _input: &SignInput<'_>,
    _expires_seconds: u32,
) -> String {
    unimplemented!()
}
