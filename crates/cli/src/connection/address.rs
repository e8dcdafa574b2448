//! Endpoint and bucket to URL.
//!
//! A bucket is a label of the host (`bucket-account.host`, virtual host) or the first segment of
//! the path (`host/bucket/`, path style). The signature is the same for both. Addresses and
//! `localhost` have no subdomains that a plain resolver finds, so `auto` uses the path there.

use std::net::IpAddr;
use std::str::FromStr;

/// How a bucket gets into the URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Addressing {
    /// Path style for IP addresses and `localhost`, virtual host otherwise.
    #[default]
    Auto,
    Path,
    Virtual,
}

impl FromStr for Addressing {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "path" => Ok(Self::Path),
            "virtual" => Ok(Self::Virtual),
            _ => Err(format!("{text:?} is not an addressing style: auto, path or virtual")),
        }
    }
}

/// A service's base address: scheme, host and perhaps a port. A value that exists is valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    scheme: &'static str,
    /// Host and port as they stand in the URL.
    authority: String,
}

impl FromStr for Endpoint {
    type Err = String;

    /// Parses `http://host:port`; without a scheme it is https, as in the SDKs.
    fn from_str(text: &str) -> Result<Self, String> {
        let (scheme, rest) = match text.split_once("://") {
            Some(("http", rest)) => ("http", rest),
            Some(("https", rest)) => ("https", rest),
            Some((other, _)) => {
                return Err(format!("endpoint {text:?}: scheme {other} is neither http nor https"));
            }
            None => ("https", text),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let parsed: http::uri::Authority = authority.parse().map_err(|_| wrong(text))?;
        if parsed.host().is_empty() || authority.contains('@') {
            return Err(wrong(text));
        }
        Ok(Self { scheme, authority: authority.to_owned() })
    }
}

fn wrong(text: &str) -> String {
    format!("endpoint {text:?} is not of the form http://HOST:PORT")
}

/// The URL a request goes to, before its query string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) scheme: &'static str,
    pub(crate) authority: String,
    /// `/` or `/bucket/`.
    pub(crate) path: String,
}

impl Target {
    /// The URL with a query string (without its question mark), which may be empty.
    pub(crate) fn url(&self, query: &str) -> String {
        let mark = if query.is_empty() { "" } else { "?" };
        format!("{}://{}{}{mark}{query}", self.scheme, self.authority, self.path)
    }
}

impl Endpoint {
    /// Where requests about `bucket` of `account` go; `None` is the account itself.
    pub(crate) fn target(
        &self,
        addressing: Addressing,
        bucket: Option<&str>,
        account: &str,
    ) -> Target {
        let whole = |authority, path| Target { scheme: self.scheme, authority, path };
        match bucket {
            None => whole(self.authority.clone(), "/".to_owned()),
            Some(bucket) if self.path_style(addressing) => {
                whole(self.authority.clone(), format!("/{}/", crate::call::encode(bucket)))
            }
            Some(bucket) => whole(format!("{bucket}-{account}.{}", self.authority), "/".to_owned()),
        }
    }

    /// Scheme and authority, without a path.
    pub(crate) fn origin(&self) -> String {
        format!("{}://{}", self.scheme, self.authority)
    }

    /// Whether what is sent can be read on the way: neither TLS nor this machine.
    pub(crate) fn is_in_the_clear(&self) -> bool {
        self.scheme == "http" && !self.is_loopback()
    }

    /// Whether the endpoint is this machine, which no proxy leads to.
    pub(crate) fn is_loopback(&self) -> bool {
        match self.host().parse::<IpAddr>() {
            Ok(address) => address.is_loopback(),
            Err(_) => is_localhost(self.host()),
        }
    }

    fn path_style(&self, addressing: Addressing) -> bool {
        match addressing {
            Addressing::Path => true,
            Addressing::Virtual => false,
            Addressing::Auto => self.host().parse::<IpAddr>().is_ok() || self.host() == "localhost",
        }
    }

    /// The host without port and without the brackets of an IPv6 address.
    fn host(&self) -> &str {
        match self.authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((address, _)) => address,
            None => self.authority.rsplit_once(':').map_or(&*self.authority, |(host, _)| host),
        }
    }
}

/// `localhost` and every name under it mean this machine (RFC 6761), whatever the resolver knows.
pub(crate) fn is_localhost(host: &str) -> bool {
    host == "localhost" || host.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::{Addressing, Endpoint};

    #[test]
    fn buckets_are_addressed_as_the_endpoint_allows() {
        use Addressing::{Auto, Path, Virtual};
        for (endpoint, addressing, url) in [
            ("http://127.0.0.1:9100", Auto, "http://127.0.0.1:9100/b/?q"),
            ("http://[::1]:9100/", Auto, "http://[::1]:9100/b/?q"),
            ("http://localhost:9100", Auto, "http://localhost:9100/b/?q"),
            ("http://localhost:9100", Virtual, "http://b-42.localhost:9100/?q"),
            ("vectors.example.org", Auto, "https://b-42.vectors.example.org/?q"),
            ("https://vectors.example.org", Path, "https://vectors.example.org/b/?q"),
        ] {
            let endpoint: Endpoint = endpoint.parse().unwrap();
            assert_eq!(endpoint.target(addressing, Some("b"), "42").url("q"), url);
        }
        let endpoint: Endpoint = "http://localhost:9100".parse().unwrap();
        assert_eq!(endpoint.target(Virtual, None, "42").url(""), "http://localhost:9100/");
    }

    #[test]
    fn wrong_endpoints_are_refused() {
        for text in [
            "",
            "ftp://host",
            "http://",
            "http://a/b",
            "http://user@host",
            "http://a b",
            "http://host?x",
        ] {
            assert!(text.parse::<Endpoint>().is_err(), "{text}");
        }
    }

    #[test]
    fn loopback_is_recognised() {
        for (endpoint, expected) in [
            ("http://[::1]:1", true),
            ("http://x.localhost", true),
            ("http://127.9.0.1", true),
            ("http://10.0.0.1", false),
            ("example.org", false),
        ] {
            assert_eq!(endpoint.parse::<Endpoint>().unwrap().is_loopback(), expected, "{endpoint}");
        }
    }
}
