//! Whose request it is: the other end of the connection, or whom a trusted proxy names.
//!
//! `X-Forwarded-For` grows to the right: each proxy adds whom it was called by. So the list is read
//! from its right end, one hop after the other, only as long as the hop that wrote the entry is
//! trusted; what stands further left may be anybody's invention.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName};

use crate::config::TrustedProxies;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Who sent a request, and whether nobody else could read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Client {
    /// Port 0 where a proxy does not tell it.
    pub(crate) addr: SocketAddr,
    /// The client spoke TLS, with this process or with a trusted proxy.
    pub(crate) secure: bool,
}

impl Client {
    /// The client of a request with these headers, if `self` is the other end of its connection.
    ///
    /// An entry that is no address ends the list: the hop that wrote it is the client then. If
    /// `X-Forwarded-Proto` is there, every value in it must be `https`; if not, the connection
    /// counts.
    pub(crate) fn of(self, headers: &HeaderMap, proxies: &TrustedProxies) -> Self {
        if !proxies.contain(self.addr.ip()) {
            return self;
        }
        Self {
            addr: furthest(self.addr, headers, proxies),
            secure: proto_is_https(headers).unwrap_or(self.secure),
        }
    }
}

/// The first hop from the right that is no trusted proxy, or the last that is.
fn furthest(peer: SocketAddr, headers: &HeaderMap, proxies: &TrustedProxies) -> SocketAddr {
    let values = headers.get_all(FORWARDED_FOR).iter().collect::<Vec<_>>();
    let lines = values.into_iter().rev();
    let entries = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
    let mut hop = peer;
    for entry in entries {
        if !proxies.contain(hop.ip()) {
            break;
        }
        let Some(named) = address(entry) else { break };
        hop = named;
    }
    hop
}

/// An address as proxies write it: alone, with a port, IPv6 in brackets or without.
fn address(entry: &[u8]) -> Option<SocketAddr> {
    let text = std::str::from_utf8(entry).ok()?.trim_matches([' ', '\t']);
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let alone = bare.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 0));
    alone.or_else(|_| text.parse()).ok()
}

/// Whether all values say `https`; `None` without any.
fn proto_is_https(headers: &HeaderMap) -> Option<bool> {
    let mut values = headers.get_all(FORWARDED_PROTO).iter().peekable();
    values.peek()?;
    let is_https = |value: &[u8]| value.trim_ascii().eq_ignore_ascii_case(b"https");
    Some(values.all(|line| line.as_bytes().split(|byte| *byte == b',').all(is_https)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Value as _;
    use http::HeaderValue;
    use proptest::prelude::*;

    const PROXY: &str = "10.0.0.1:7";

    fn proxies() -> TrustedProxies {
        TrustedProxies::parse("10.0.0.0/8, 2001:db8::/32").unwrap()
    }

    fn headers(list: &[(HeaderName, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in list {
            headers.append(name.clone(), HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        headers
    }

    fn client(peer: &str, secure: bool, list: &[(HeaderName, &str)]) -> (String, bool) {
        let peer = Client { addr: peer.parse().unwrap(), secure };
        let client = peer.of(&headers(list), &proxies());
        (client.addr.ip().to_string(), client.secure)
    }

    /// Whom these lines of the header name, from a trusted proxy.
    fn named(lines: &[&str]) -> String {
        let lines: Vec<_> = lines.iter().map(|line| (FORWARDED_FOR, *line)).collect();
        client(PROXY, false, &lines).0
    }

    #[test]
    fn strangers_name_nobody() {
        let claims = [(FORWARDED_FOR, "192.0.2.1"), (FORWARDED_PROTO, "https")];
        assert_eq!(client("192.0.2.9:5", false, &claims), ("192.0.2.9".into(), false));
        assert!(client("192.0.2.9:5", true, &[(FORWARDED_PROTO, "http")]).1);
        assert_eq!(client("[2001:db9::1]:5", false, &claims).0, "2001:db9::1");
    }

    #[test]
    fn the_nearest_stranger_is_the_client() {
        for (lines, expected) in [
            (&["192.0.2.1"][..], "192.0.2.1"),
            (&["203.0.113.5, 192.0.2.1"], "192.0.2.1"),
            (&["203.0.113.5", "192.0.2.1"], "192.0.2.1"),
            (&["203.0.113.5, 192.0.2.1, 10.9.9.9"], "192.0.2.1"),
            (&["192.0.2.1", "10.9.9.9,10.2.2.2"], "192.0.2.1"),
            (&["192.0.2.1 ,\t2001:db8::7"], "192.0.2.1"),
            (&["192.0.2.1:4711"], "192.0.2.1"),
            (&["[2001:db9::1]:443"], "2001:db9::1"),
            (&["[2001:db9::1]"], "2001:db9::1"),
            (&["2001:db9::1"], "2001:db9::1"),
            // All of them proxies: the furthest.
            (&["10.3.3.3, 10.2.2.2"], "10.3.3.3"),
            (&[], "10.0.0.1"),
        ] {
            assert_eq!(named(lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn what_is_no_address_ends_the_list() {
        for (lines, expected) in [
            (&["unknown"][..], "10.0.0.1"),
            (&[""], "10.0.0.1"),
            (&["192.0.2.1,"], "10.0.0.1"),
            (&["192.0.2.1, unknown"], "10.0.0.1"),
            (&["192.0.2.1, _hidden, 10.2.2.2"], "10.2.2.2"),
            (&["192.0.2.999"], "10.0.0.1"),
            (&["192.0.2.1 192.0.2.2"], "10.0.0.1"),
            (&["192.0.2.1;10.0.0.1"], "10.0.0.1"),
            (&["0x7f000001"], "10.0.0.1"),
            (&["192.0.2.01"], "10.0.0.1"),
            (&["for=192.0.2.1"], "10.0.0.1"),
            (&["[::1"], "10.0.0.1"),
            (&["\u{ff11}.2.3.4"], "10.0.0.1"),
        ] {
            assert_eq!(named(lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn every_hop_must_have_had_tls() {
        let secure = |own: bool, values: &[&str]| {
            let list: Vec<_> = values.iter().map(|value| (FORWARDED_PROTO, *value)).collect();
            client(PROXY, own, &list).1
        };
        assert!(secure(false, &["https"]) && secure(false, &["HTTPS"]));
        assert!(secure(false, &["https, https"]) && secure(false, &["https", " https "]));
        for values in
            [&["http"][..], &["https, http"], &["http", "https"], &[""], &["https,"], &["wss"]]
        {
            assert!(!secure(true, values) && !secure(false, values), "{values:?}");
        }
        assert!(secure(true, &[]) && !secure(false, &[]));
    }

    proptest! {
        /// What a client writes to the left of a proxy's entry changes nothing.
        #[test]
        fn inventions_change_nothing(invented in "[ -~]{0,60}", own in any::<[u8; 4]>()) {
            let own = IpAddr::from(own);
            prop_assume!(!proxies().contain(own));
            let line = format!("{invented}, {own}");
            prop_assert_eq!(named(&[&line]), own.to_string());
            prop_assert_eq!(named(&[&invented, &own.to_string()]), own.to_string());
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let Ok(value) = HeaderValue::from_bytes(&bytes) else { return Ok(()) };
            let mut headers = HeaderMap::new();
            headers.append(FORWARDED_FOR, value.clone());
            headers.append(FORWARDED_PROTO, value);
            let peer = Client { addr: PROXY.parse().unwrap(), secure: false };
            let _ = peer.of(&headers, &proxies());
        }
    }
}
