//! The client's side.

use std::fmt;

use http::HeaderMap;
use percent_encoding::utf8_percent_encode;

use crate::oss::signature::SigningKey;
use crate::oss::signature::canonical::{
    self, ALGORITHM, Canonical, STRICT, TOKEN, is_default_signed,
};
use crate::oss::to_basic;

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

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("access_key_id", &self.access_key_id)
            .finish_non_exhaustive()
    }
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
    /// Further headers to sign, such as `host`; those that are absent, empty or signed anyway are
    /// skipped.
    pub additional: &'a [&'a str],
    /// Seconds since 1970.
    pub at: i64,
}

impl SignInput<'_> {
    /// The names to list, lowercase and sorted.
    fn additional(&self) -> Vec<String> {
        let mut names: Vec<String> =
            self.additional.iter().map(|name| name.to_ascii_lowercase()).collect();
        let filled = |name: &str| self.headers.get(name).is_some_and(|value| !value.is_empty());
        names.retain(|name| !is_default_signed(name) && filled(name));
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The signature of this input with the given query.
    fn signature(&self, secret: &str, query: &str, additional: &[String]) -> String {
        let date = to_basic(self.at);
        let canonical = Canonical {
            method: self.method,
            region: self.region,
            resource: self.resource,
            query,
            headers: self.headers,
            additional,
        };
        let scope = canonical::scope(&date[..8], self.region);
        let text = canonical::string_to_sign(&date, &scope, &canonical.request());
        SigningKey::derive(secret, &date[..8], self.region).sign(&text)
    }
}

/// The value of the `Authorization` header.
pub fn authorization(credentials: &Credentials, input: &SignInput<'_>) -> String {
    let additional = input.additional();
    let signature = input.signature(&credentials.secret, input.query, &additional);
    let scope = canonical::scope(&to_basic(input.at)[..8], input.region);
    let listed = match additional.is_empty() {
        true => String::new(),
        false => format!(",AdditionalHeaders={}", additional.join(";")),
    };
    let id = &credentials.access_key_id;
    format!("{ALGORITHM} Credential={id}/{scope}{listed},Signature={signature}")
}

/// The query string of a presigned URL, `x-oss-signature` last.
pub fn presign(credentials: &Credentials, input: &SignInput<'_>, expires_seconds: u32) -> String {
    let encode = |text: &str| utf8_percent_encode(text, STRICT).to_string();
    let date = to_basic(input.at);
    let scope = canonical::scope(&date[..8], input.region);
    let additional = input.additional();
    let mut pairs = vec![
        ("x-oss-signature-version", ALGORITHM.to_owned()),
        ("x-oss-date", date),
        ("x-oss-expires", expires_seconds.to_string()),
        ("x-oss-credential", encode(&format!("{}/{scope}", credentials.access_key_id))),
    ];
    if let Some(token) = &credentials.token {
        pairs.push((TOKEN, encode(token)));
    }
    if !additional.is_empty() {
        pairs.push(("x-oss-additional-headers", encode(&additional.join(";"))));
    }
    let mut query = input.query.to_owned();
    for (name, value) in pairs {
        let separator = if query.is_empty() { "" } else { "&" };
        query = format!("{query}{separator}{name}={value}");
    }
    let signature = input.signature(&credentials.secret, &query, &additional);
    format!("{query}&x-oss-signature={signature}")
}
