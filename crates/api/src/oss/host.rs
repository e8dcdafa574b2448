//! Host forms: which bucket and account a request addresses.
//!
//! | Host | path | meaning |
//! |---|---|---|
//! | `{bucket}-{account}.{base}` | `/` | bucket, virtual-host style; the label is cut at its last hyphen |
//! | `{bucket}-{account}.{IPv4 address}` | `/` | the same; SDKs build it for IP endpoints and a proxy delivers it |
//! | `{base}`, IP address | `/` | account level |
//! | `{base}`, IP address | `/{bucket}` or `/{bucket}/` | bucket, path style; the account is the access key's |
//!
//! A base is a configured domain or a subdomain-free name such as `localhost`. Host names outside
//! every base are refused, or with [`Domains::any`] read as `{bucket}-{16 digits}.{anything}`
//! and else as an endpoint, so that a container or service name works unconfigured.
//!
//! The bucket name is not checked here: clients observe that check after the signature.

use std::net::{Ipv4Addr, Ipv6Addr};

use http::{HeaderMap, Uri, header};

use crate::oss::query::decode;
use crate::oss::{AccountId, Error, Fault};

/// The configured base domains, lowercase and without port, longest first.
#[derive(Clone, Debug)]
pub struct Domains {
    bases: Vec<Box<str>>,
    /// The first one given, for the answer to those that use another.
    preferred: Option<Box<str>>,
    any: bool,
}

impl Domains {
    /// Domains from configured names; a port or a trailing dot is dropped.
    pub fn new<S: AsRef<str>>(bases: impl IntoIterator<Item = S>) -> Self {
        let clean =
            |base: S| without_port(base.as_ref()).trim_end_matches('.').to_ascii_lowercase();
        let mut bases: Vec<Box<str>> = bases.into_iter().map(|b| clean(b).into()).collect();
        let preferred = bases.first().cloned();
        bases.sort_by_key(|base| std::cmp::Reverse(base.len()));
        Self { bases, preferred, any: false }
    }

    /// The documented domains of a region, public and internal, and `localhost`.
    pub fn of_region(region: &str) -> Self {
        Self::new([
            format!("{region}.oss-vectors.aliyuncs.com"),
            format!("{region}-internal.oss-vectors.aliyuncs.com"),
            "localhost".to_owned(),
        ])
    }

    /// Also accepts host names outside every base.
    #[must_use]
    pub fn any(mut self, any: bool) -> Self {
        self.any = any;
        self
    }

    /// The labels before the longest base that a host ends in: `Some("")` for the base itself.
    fn prefix<'h>(&self, host: &'h str) -> Option<&'h str> {
        self.bases.iter().find_map(|base| {
            let rest = host.len().checked_sub(base.len())?;
            let (head, tail) = (host.get(..rest)?, host.get(rest..)?);
            let matches = tail.eq_ignore_ascii_case(base);
            match head.strip_suffix('.') {
                Some(labels) if matches => Some(labels),
                None if matches && head.is_empty() => Some(""),
                _ => None,
            }
        })
    }
}

/// How the bucket was named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// `{bucket}-{account}.{base}`.
    Virtual,
    /// `/{bucket}/` on an endpoint host.
    Path,
    /// No bucket.
    Account,
}

/// What a request addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The host as the client used it, port included; goes into `HostId`.
    pub host: Box<str>,
    /// How the bucket was named.
    pub style: Style,
    /// The account of the host label; `None` in path style and at account level, where it is the
    /// access key's.
    pub account: Option<AccountId>,
    /// The bucket as named, not yet checked.
    pub bucket: Option<Box<str>>,
}

impl Target {
    /// Reads request line and Host header.
    ///
    /// Errors: [`Fault::HostMissing`], [`Fault::HostRepeated`], [`Fault::HostInvalid`],
    /// [`Fault::HostDiffers`] (absolute-form authority other than Host), [`Fault::BucketTwice`],
    /// [`Fault::PathInvalid`], [`Fault::WrongEndpoint`] (host name outside every base),
    /// [`Fault::BucketNameInvalid`] (a label below a base without `-{account}`).
    pub fn parse(uri: &Uri, headers: &HeaderMap, domains: &Domains) -> Result<Self, Error> {
        let host = host_header(headers)?;
        if let Some(authority) = uri.authority() {
            check_authority(authority.as_str(), host)?;
        }
        let path_bucket = path_bucket(uri.path())?;
        let label = host_label(host, domains)?;
        let (style, account, bucket) = match (label, path_bucket) {
            (Some(_), Some(_)) => return Err(Error::new(Fault::BucketTwice)),
            (Some((bucket, account)), None) => (Style::Virtual, Some(account), Some(bucket.into())),
            (None, Some(bucket)) => (Style::Path, None, Some(bucket)),
            (None, None) => (Style::Account, None, None),
        };
        Ok(Self { host: host.into(), style, account, bucket })
    }

    /// Whether a bucket is named.
    pub fn has_bucket(&self) -> bool {
        self.bucket.is_some()
    }
}

fn host_header(headers: &HeaderMap) -> Result<&str, Error> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next().ok_or(Error::new(Fault::HostMissing))?;
    if hosts.next().is_some() {
        return Err(Error::new(Fault::HostRepeated));
    }
    let text = host.to_str().map_err(|_| Error::new(Fault::HostInvalid))?.trim();
    if text.is_empty() { Err(Error::new(Fault::HostMissing)) } else { check_host(text) }
}

/// Refuses what cannot be a host: other characters, a wrong port, overlong names.
fn check_host(text: &str) -> Result<&str, Error> {
    let invalid = || Error::new(Fault::HostInvalid);
    if text.len() > 300 {
        return Err(invalid());
    }
    if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once(']').ok_or_else(invalid)?;
        let fine = address.parse::<Ipv6Addr>().is_ok() && (port.is_empty() || is_port(port));
        return if fine { Ok(text) } else { Err(invalid()) };
    }
    let name = without_port(text);
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    let fine = !name.is_empty() && name.bytes().all(allowed) && !name.contains("..");
    let port_fine = name.len() == text.len() || is_port(&text[name.len()..]);
    if fine && port_fine { Ok(text) } else { Err(invalid()) }
}

fn is_port(text: &str) -> bool {
    text.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok() && !port.starts_with('+'))
}

/// The host without `:port`; IPv6 literals keep their brackets.
fn without_port(host: &str) -> &str {
    match host.rfind(']') {
        Some(end) => &host[..=end],
        None => host.split(':').next().unwrap_or(host),
    }
}

/// An absolute-form authority must name the Host; a default port may be spelled out or not.
fn check_authority(authority: &str, host: &str) -> Result<(), Error> {
    let plain = |text: &str| {
        let text = text.strip_suffix(":80").or(text.strip_suffix(":443")).unwrap_or(text);
        text.to_ascii_lowercase()
    };
    if plain(authority) == plain(host) { Ok(()) } else { Err(Error::new(Fault::HostDiffers)) }
}

/// Bucket and account of the host label; `None` for an endpoint host.
fn host_label<'h>(host: &'h str, domains: &Domains) -> Result<Option<(&'h str, AccountId)>, Error> {
    let name = without_port(host);
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.starts_with('[') || name.parse::<Ipv4Addr>().is_ok() {
        return Ok(None);
    }
    let below_address = name.split_once('.').filter(|(_, rest)| rest.parse::<Ipv4Addr>().is_ok());
    match below_address.map(|(label, _)| label).or_else(|| domains.prefix(name)) {
        Some("") => Ok(None),
        Some(labels) => split_label(labels).map(Some).ok_or(Error::with_message(
            Fault::BucketNameInvalid,
            "The host name must be {bucket}-{accountId}.{endpoint}.",
        )),
        None if domains.any => {
            let first = name.split('.').next().unwrap_or(name);
            Ok(split_label(first).filter(|(_, account)| account.as_str().len() == 16))
        }
        None => Err(wrong_endpoint(name, domains)),
    }
}

/// Names an endpoint that would do, and the bucket if the host has the form of one.
fn wrong_endpoint(name: &str, domains: &Domains) -> Error {
    let first = name.split('.').next().unwrap_or(name);
    let mut error = Error::new(Fault::WrongEndpoint);
    if let Some((bucket, _)) = split_label(first) {
        error = error.field("Bucket", bucket);
    }
    match &domains.preferred {
        Some(endpoint) => error.field("Endpoint", &**endpoint),
        None => error,
    }
}

/// Cuts at the last hyphen: bucket names hold hyphens and digits, account ids only digits.
fn split_label(label: &str) -> Option<(&str, AccountId)> {
    let (bucket, account) = label.rsplit_once('-')?;
    Some((bucket, AccountId::parse(account)?))
}

/// The bucket of a path-style request; `None` for `/`.
fn path_bucket(path: &str) -> Result<Option<Box<str>>, Error> {
    let inner = path.strip_prefix('/').unwrap_or(path);
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    if path.starts_with("//") || inner.contains('/') {
        return Err(Error::new(Fault::PathInvalid));
    }
    if inner.is_empty() {
        return Ok(None);
    }
    let name = decode(inner).map_err(|_| Error::new(Fault::PathInvalid))?;
    Ok(Some(name.into()))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const ID: &str = "1234567890123456";

    fn domains() -> Domains {
        Domains::new(["cn-hangzhou.oss-vectors.aliyuncs.com", "localhost", "Vec.Example.com:9100"])
    }

    fn parse(uri: &str, host: &str) -> Result<Target, Fault> {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_str(host).unwrap());
        Target::parse(&uri.parse().unwrap(), &headers, &domains()).map_err(|e| e.fault())
    }

    fn check(uri: &str, host: &str, style: Style, account: Option<&str>, bucket: Option<&str>) {
        let target = parse(uri, host).unwrap_or_else(|fault| panic!("{uri} {host}: {fault:?}"));
        assert_eq!(target.style, style, "{uri} {host}");
        assert_eq!(target.account.as_ref().map(AccountId::as_str), account, "{uri} {host}");
        assert_eq!(target.bucket.as_deref(), bucket, "{uri} {host}");
        assert_eq!(&*target.host, host);
    }

    #[test]
    fn virtual_hosts_are_cut_at_the_last_hyphen() {
        let hosts = [
            format!("my-vec-1-{ID}.cn-hangzhou.oss-vectors.aliyuncs.com"),
            format!("my-vec-1-{ID}.localhost:9100"),
            format!("my-vec-1-{ID}.VEC.example.com."),
            format!("my-vec-1-{ID}.127.0.0.1:9100"),
        ];
        for host in hosts {
            check("/?putVectors", &host, Style::Virtual, Some(ID), Some("my-vec-1"));
            let absolute = format!("http://{host}/?putVectors=");
            check(&absolute, &host, Style::Virtual, Some(ID), Some("my-vec-1"));
        }
        check("/", &format!("Bad_Name-{ID}.localhost"), Style::Virtual, Some(ID), Some("Bad_Name"));
    }

    #[test]
    fn endpoints_are_account_level_or_path_style() {
        for host in
            ["localhost", "LOCALHOST:9100", "127.0.0.1:9000", "[::1]:9000", "vec.example.com"]
        {
            check("/?max-keys=1", host, Style::Account, None, None);
            check("/my-vec/?op", host, Style::Path, None, Some("my-vec"));
            check("/my%2Dvec?op", host, Style::Path, None, Some("my-vec"));
        }
    }

    #[test]
    fn refusals() {
        let both = format!("b-{ID}.localhost");
        assert_eq!(parse("/b/", &both), Err(Fault::BucketTwice));
        assert_eq!(parse("/b/key", "localhost"), Err(Fault::PathInvalid));
        assert_eq!(parse("/%FF/", "localhost"), Err(Fault::PathInvalid));
        assert_eq!(parse("http://other/", "localhost"), Err(Fault::HostDiffers));
        assert!(parse("http://localhost:80/", "localhost").is_ok());
        assert_eq!(parse("/", "mybucket.localhost"), Err(Fault::BucketNameInvalid));
        assert_eq!(parse("/", "example.org"), Err(Fault::WrongEndpoint));
        assert_eq!(parse("/", "notlocalhost"), Err(Fault::WrongEndpoint));
        for bad in
            ["a b", "a/b", "localhost:99999", "localhost:", "[::1", "[x]:1", "a..b", "localhost:+1"]
        {
            assert_eq!(parse("/", bad), Err(Fault::HostInvalid), "{bad}");
        }
        assert_eq!(parse("/", " "), Err(Fault::HostMissing));
        let mut headers = HeaderMap::new();
        let uri: Uri = "/".parse().unwrap();
        let fault =
            |headers: &HeaderMap| Target::parse(&uri, headers, &domains()).unwrap_err().fault();
        assert_eq!(fault(&headers), Fault::HostMissing);
        headers.append(header::HOST, HeaderValue::from_static("localhost"));
        headers.append(header::HOST, HeaderValue::from_static("localhost"));
        assert_eq!(fault(&headers), Fault::HostRepeated);
    }

    #[test]
    fn a_wrong_endpoint_is_told_the_right_one() {
        let fields = |host: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_str(host).unwrap());
            let error = Target::parse(&"/".parse().unwrap(), &headers, &domains()).unwrap_err();
            assert_eq!(error.fault(), Fault::WrongEndpoint);
            error.fields().to_vec()
        };
        let endpoint = ("Endpoint", "cn-hangzhou.oss-vectors.aliyuncs.com".to_owned());
        let bucket = ("Bucket", "my-vec".to_owned());
        assert_eq!(fields(&format!("my-vec-{ID}.cn-x.example")), [bucket, endpoint.clone()]);
        assert_eq!(fields("example.org"), [endpoint]);
    }

    #[test]
    fn unknown_domains_can_be_allowed() {
        let domains = domains().any(true);
        let parse = |host: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_str(host).unwrap());
            Target::parse(&"/".parse().unwrap(), &headers, &domains).unwrap()
        };
        assert_eq!(parse(&format!("b-x-{ID}.any.example")).bucket.as_deref(), Some("b-x"));
        assert_eq!(parse("node-1.cluster.example").style, Style::Account);
        assert_eq!(parse("vectorbucket").style, Style::Account);
    }
}
