//! Typed condition values.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::Glob;

/// The values of one condition key, typed by the operator's family. One match is enough.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// Text; a pattern only under the Like operators.
    Strings(Vec<Glob>),
    /// Finite numbers.
    Numbers(Vec<f64>),
    /// Seconds since 1970.
    Dates(Vec<i64>),
    /// Booleans.
    Bools(Vec<bool>),
    /// Networks.
    Networks(Vec<Network>),
}

/// A network of an IP condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// An address and its prefix length.
    Block {
        /// The address as written.
        address: IpAddr,
        /// Leading bits that count.
        prefix: u8,
    },
    /// IPv4 octets of which some may be anything, `101.*.*.100`.
    Octets([Option<u8>; 4]),
    /// `*`.
    Everywhere,
}

impl Network {
    /// Parses a CIDR block, a single address, or IPv4 octets with `*`.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::Everywhere);
        }
        if text.contains('*') {
            return octets(text).map(Self::Octets);
        }
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => bits,
            Some(text) if text.bytes().all(|b| b.is_ascii_digit()) => text.parse().ok()?,
            Some(_) => return None,
        };
        (prefix <= bits).then(|| Self::block(address, prefix))
    }

    /// A block of IPv4 addresses written inside IPv6 is a block of IPv4 addresses.
    fn block(address: IpAddr, prefix: u8) -> Self {
        match address.to_canonical() {
            v4 @ IpAddr::V4(_) if address.is_ipv6() && prefix >= 96 => {
                Self::Block { address: v4, prefix: prefix - 96 }
            }
            _ => Self::Block { address, prefix },
        }
    }

    /// Whether an address lies in the network; IPv4 inside IPv6 counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        match (self, address) {
            (Network::Everywhere, _) => true,
            (Network::Octets(wanted), IpAddr::V4(v4)) => {
                wanted.iter().zip(v4.octets()).all(|(want, got)| want.is_none_or(|w| w == got))
            }
            (Network::Block { address: IpAddr::V4(net), prefix }, IpAddr::V4(v4)) => {
                let shift = 32 - u32::from(*prefix);
                v4_bits(*net).checked_shr(shift) == v4_bits(v4).checked_shr(shift)
            }
            (Network::Block { address: IpAddr::V6(net), prefix }, IpAddr::V6(v6)) => {
                let shift = 128 - u32::from(*prefix);
                v6_bits(*net).checked_shr(shift) == v6_bits(v6).checked_shr(shift)
            }
            _ => false,
        }
    }
}

fn v4_bits(address: Ipv4Addr) -> u32 {
    u32::from(address)
}

fn v6_bits(address: Ipv6Addr) -> u128 {
    u128::from(address)
}

fn octets(text: &str) -> Option<[Option<u8>; 4]> {
    let parts: Vec<&str> = text.split('.').collect();
    let parts: [&str; 4] = parts.try_into().ok()?;
    let mut out = [None; 4];
    for (slot, part) in out.iter_mut().zip(parts) {
        if part != "*" {
            let digits = (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
            *slot = Some(digits.then(|| part.parse().ok())??);
        }
    }
    Some(out)
}

/// A finite number.
pub(crate) fn parse_number(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

/// `true` or `false`, in any case. `acs:SecureTransport` was once documented with the values HTTP
/// and HTTPS; `takes_scheme` says that they count.
pub(crate) fn parse_bool(text: &str, takes_scheme: bool) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" => Some(true),
        "false" => Some(false),
        "https" if takes_scheme => Some(true),
        "http" if takes_scheme => Some(false),
        _ => None,
    }
}

/// ISO 8601 with seconds and a zone, `2019-09-29T00:00:00+08:00`, to seconds since 1970; a
/// fraction of a second is dropped.
pub(crate) fn parse_date(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    let number = |from: usize, len: usize| -> Option<i64> {
        let part = bytes.get(from..from + len)?;
        part.iter().try_fold(0, |n, b| b.is_ascii_digit().then(|| n * 10 + i64::from(b - b'0')))
    };
    let mark = |at: usize, wanted: u8| bytes.get(at) == Some(&wanted);
    let marks =
        mark(4, b'-') && mark(7, b'-') && mark(10, b'T') && mark(13, b':') && mark(16, b':');
    let (year, month, day) = (number(0, 4)?, number(5, 2)?, number(8, 2)?);
    let (hour, minute, second) = (number(11, 2)?, number(14, 2)?, number(17, 2)?);
    let in_range = (1..=12).contains(&month)
        && (1..=days_of(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    if !marks || !in_range {
        return None;
    }
    let zone = zone_seconds(strip_fraction(text.get(19..)?)?)?;
    let time = hour * 3600 + minute * 60 + second;
    Some(days_since_1970(year, month, day) * 86_400 + time - zone)
}

fn strip_fraction(text: &str) -> Option<&str> {
    let Some(rest) = text.strip_prefix('.') else { return Some(text) };
    let zone = rest.trim_start_matches(|c: char| c.is_ascii_digit());
    (zone.len() < rest.len()).then_some(zone)
}

fn zone_seconds(text: &str) -> Option<i64> {
    let sign = match text.as_bytes().first()? {
        b'Z' => return (text.len() == 1).then_some(0),
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, minutes) = text[1..].split_once(':')?;
    let two =
        |t: &str| (t.len() == 2 && t.bytes().all(|b| b.is_ascii_digit())).then(|| t.parse::<i64>());
    let (hours, minutes) = (two(hours)?.ok()?, two(minutes)?.ok()?);
    (hours < 24 && minutes < 60).then_some(sign * (hours * 3600 + minutes * 60))
}

fn days_of(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Howard Hinnant's `days_from_civil`: years start in March, so that the leap day is the last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year - era * 400;
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_take_zones_and_fractions() {
        assert_eq!(parse_date("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(parse_date("2019-09-29T00:00:00+08:00"), Some(1_569_686_400));
        assert_eq!(parse_date("2000-02-29T12:00:00.125Z"), Some(951_825_600));
        let bad = [
            "2019-09-29",
            "2019-02-29T00:00:00Z",
            "2019-09-29T24:00:00Z",
            "2019-09-29T00:00:00",
            "2019-09-29T00:00:00+8",
            "2019-09-29T00:00:00.Z",
            "２019-09-29T00:00:00Z",
            "2019-09-29T00:00:00+é0:00",
        ];
        for text in bad {
            assert_eq!(parse_date(text), None, "{text}");
        }
    }

    #[test]
    fn networks_contain_addresses() {
        let cases = [
            ("10.0.0.0/8", "10.1.2.3", true),
            ("10.0.0.0/8", "11.1.2.3", false),
            ("0.0.0.0/0", "1.2.3.4", true),
            ("1.2.3.4", "1.2.3.4", true),
            ("1.2.3.4", "::ffff:1.2.3.4", true),
            ("101.*.*.100", "101.1.2.100", true),
            ("101.*.*.100", "101.1.2.101", false),
            ("*", "::1", true),
            ("::/0", "::1", true),
            ("2001:db8::/32", "2001:db8::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("::/0", "1.2.3.4", false),
            ("::ffff:10.0.0.0/104", "10.1.2.3", true),
            ("::ffff:10.0.0.0/104", "11.1.2.3", false),
        ];
        for (network, address, expected) in cases {
            let network_parsed = Network::parse(network).unwrap();
            assert_eq!(
                network_parsed.contains(address.parse().unwrap()),
                expected,
                "{network} {address}"
            );
        }
        for bad in
            ["", "10.0.0.0/33", "10.0.0/8", "10.0.0.0/+8", "1.*.3", "*.*.*.300", "::1/129", "a"]
        {
            assert!(Network::parse(bad).is_none(), "{bad}");
        }
    }
}
