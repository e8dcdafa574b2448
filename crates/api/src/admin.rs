//! What clients and servers of the admin API agree on beside its JSON.
//!
//! A request is a POST of a JSON object to `/admin/v1/{noun}/{verb}`. It carries a bearer token, or
//! the V4 signature of [`crate::oss::signature`] in its headers: over the resource of
//! [`signed_resource`], which no request about a bucket has, and over the digest of its body.

use aws_lc_rs::digest;

/// What all paths begin with; `{noun}/{verb}` follows.
pub const PREFIX: &str = "/admin/v1/";

/// Account and bucket that the signature of an operation names: `admin`, which is no account, and
/// the operation. The canonical URI is `/acs:ossvector:{region}:admin:{noun}/{verb}/`, encoded.
pub fn signed_resource(operation: &str) -> (&'static str, &str) {
    ("admin", operation)
}

/// The value of `x-oss-content-sha256`: 64 lowercase hexadecimal digits.
pub fn body_digest(body: &[u8]) -> String {
    let digest = digest::digest(&digest::SHA256, body);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_hexadecimal() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(body_digest(b""), empty);
    }
}
