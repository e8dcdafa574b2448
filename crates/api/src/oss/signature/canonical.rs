//! The canonical request and the string to sign.
//!
//! ```text
//! canonical request = method \n URI \n query \n headers \n additional names \n payload hash
//! URI               = encoded "/acs:ossvector:{region}:{account}:{bucket}/"
//!                     or "/acs:ossvector:{region}::/" without a bucket
//! string to sign    = OSS4-HMAC-SHA256 \n x-oss-date \n scope \n hex(sha256(canonical request))
//! ```
//!
//! The URL path is no part of it, so path style and virtual-host style sign the same text.

use aws_lc_rs::digest;
use http::HeaderMap;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

pub(super) const ALGORITHM: &str = "OSS4-HMAC-SHA256";
pub(super) const UNSIGNED: &str = "UNSIGNED-PAYLOAD";
pub(super) const TOKEN: &str = "x-oss-security-token";
const MASK: &str = "***";

/// Everything but unreserved characters.
pub(super) const STRICT: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const KEEP_SLASH: &AsciiSet = &STRICT.remove(b'/');

/// The inputs of a canonical request.
pub(super) struct Canonical<'a> {
    pub(super) method: &'a str,
    pub(super) region: &'a str,
    /// Account and bucket.
    pub(super) resource: Option<(&'a str, &'a str)>,
    pub(super) query: &'a str,
    pub(super) headers: &'a HeaderMap,
    /// Lowercase, sorted, without repetition.
    pub(super) additional: &'a [String],
}

impl Canonical<'_> {
    /// The canonical request. Header values need not be UTF-8, so it is bytes.
    pub(super) fn request(&self) -> Vec<u8> {
        self.render(false)
    }

    /// The canonical request for an error answer: the security token is masked.
    pub(super) fn masked(&self) -> String {
        String::from_utf8_lossy(&self.render(true)).into_owned()
    }

    fn render(&self, mask: bool) -> Vec<u8> {
        let mut out = Vec::with_capacity(1024);
        out.extend_from_slice(self.method.as_bytes());
        out.push(b'\n');
        self.write_uri(&mut out);
        out.push(b'\n');
        out.extend_from_slice(canonical_query(self.query, mask).as_bytes());
        out.push(b'\n');
        self.write_headers(&mut out, mask);
        out.push(b'\n');
        out.extend_from_slice(self.additional.join(";").as_bytes());
        out.push(b'\n');
        let hash = self.headers.get("x-oss-content-sha256");
        out.extend_from_slice(hash.map_or(UNSIGNED.as_bytes(), |value| value.as_bytes()));
        out
    }

    fn write_uri(&self, out: &mut Vec<u8>) {
        let mut encoded = |text| {
            utf8_percent_encode(text, KEEP_SLASH)
                .for_each(|part| out.extend_from_slice(part.as_bytes()));
        };
        encoded("/acs:ossvector:");
        encoded(self.region);
        match self.resource {
            Some((account, bucket)) => {
                [":", account, ":", bucket, "/"].into_iter().for_each(encoded);
            }
            None => encoded("::/"),
        }
    }

    fn write_headers(&self, out: &mut Vec<u8>, mask: bool) {
        let is_additional = |name: &str| self.additional.iter().any(|listed| listed == name);
        let mut names: Vec<&str> = self.headers.keys().map(http::HeaderName::as_str).collect();
        names.retain(|name| is_default_signed(name) || is_additional(name));
        names.sort_unstable();
        for name in names {
            out.extend_from_slice(name.as_bytes());
            out.push(b':');
            if mask && name == TOKEN {
                out.extend_from_slice(MASK.as_bytes());
            } else {
                self.write_value(out, name);
            }
            out.push(b'\n');
        }
    }

    /// The trimmed values of a header, joined with commas.
    fn write_value(&self, out: &mut Vec<u8>, name: &str) {
        for (place, value) in self.headers.get_all(name).iter().enumerate() {
            if place > 0 {
                out.push(b',');
            }
            out.extend_from_slice(value.as_bytes().trim_ascii());
        }
    }
}

/// Headers that are signed whenever they are present.
pub(super) fn is_default_signed(name: &str) -> bool {
    name.starts_with("x-oss-") || name == "content-type" || name == "content-md5"
}

/// Pairs as received, sorted; an empty value leaves the bare key; the signature itself is left out.
fn canonical_query(query: &str, mask: bool) -> String {
    let query = query.replace('+', "%20");
    let pieces = query.split('&').filter(|piece| !piece.is_empty());
    let mut pairs: Vec<(&str, &str)> =
        pieces.map(|piece| piece.split_once('=').unwrap_or((piece, ""))).collect();
    pairs.retain(|(name, _)| *name != "x-oss-signature");
    pairs.sort_unstable();
    let mut out = String::with_capacity(query.len());
    for (name, value) in pairs {
        if !out.is_empty() {
            out.push('&');
        }
        out.push_str(name);
        if !value.is_empty() {
            out.push('=');
            out.push_str(if mask && name == TOKEN { MASK } else { value });
        }
    }
    out
}

/// The credential scope.
pub(super) fn scope(day: &str, region: &str) -> String {
    format!("{day}/{region}/oss/aliyun_v4_request")
}

/// The string to sign; `date` is the value of `x-oss-date`.
pub(super) fn string_to_sign(date: &str, scope: &str, canonical: &[u8]) -> String {
    let hash = hex(digest::digest(&digest::SHA256, canonical).as_ref());
    format!("{ALGORITHM}\n{date}\n{scope}\n{hash}")
}

/// Lowercase hex.
pub(super) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut out = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        out.push(char::from(DIGITS[usize::from(byte >> 4)]));
        out.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_is_sorted_by_key_then_value() {
        assert_eq!(
            canonical_query("b=2&a=&a-b=1&&c&x-oss-signature=ff&a=0", false),
            "a&a=0&a-b=1&b=2&c"
        );
        assert_eq!(canonical_query("k=a+b", false), "k=a%20b");
        assert_eq!(
            canonical_query("x-oss-security-token=secret&a", true),
            "a&x-oss-security-token=***"
        );
    }
}
