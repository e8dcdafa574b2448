//! When a certificate ends, read from its bytes.
//!
//! ```text
//! Certificate     SEQUENCE { tbs, ... }
//! tbs             SEQUENCE { [0] version OPTIONAL, serial INTEGER, algorithm SEQUENCE,
//!                            issuer SEQUENCE, validity SEQUENCE { notBefore, notAfter }, ... }
//! ```
//!
//! DER as RFC 5280, section 4.1 has it; nothing else of a certificate is looked at here. The TLS
//! library has parsed the certificate by then and does not tell this one field.

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// Seconds since 1970 after which a certificate is not valid any more; `None` if the bytes are
/// none.
pub(super) fn not_after(certificate: &[u8]) -> Option<i64> {
    let (whole, _) = element(certificate, SEQUENCE)?;
    let (tbs, _) = element(whole, SEQUENCE)?;
    let rest = element(tbs, VERSION).map_or(tbs, |(_, rest)| rest);
    let (_, rest) = element(rest, INTEGER)?;
    let (_, rest) = element(rest, SEQUENCE)?;
    let (_, rest) = element(rest, SEQUENCE)?;
    let (validity, _) = element(rest, SEQUENCE)?;
    let (_, _, not_after) = first(validity)?;
    let (tag, text, _) = first(not_after)?;
    time(tag, text)
}

/// The contents of the first element, which must have this tag, and what follows it.
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, contents, rest) = first(bytes)?;
    (found == tag).then_some((contents, rest))
}

/// Tag and contents of the first element, and what follows it.
fn first(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&short, rest) = rest.split_first()?;
    let (length, rest) = match short {
        0..=0x7f => (usize::from(short), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(short - 0x80))?;
            (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    let (contents, rest) = rest.split_at_checked(length)?;
    Some((tag, contents, rest))
}

/// `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ`.
fn time(tag: u8, text: &[u8]) -> Option<i64> {
    let digits = text.strip_suffix(b"Z")?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = |part: &[u8]| part.iter().fold(0, |n, digit| n * 10 + i64::from(digit - b'0'));
    let (year, rest) = match (tag, digits.len()) {
        // Two digits of a year stand for 1950 to 2049.
        (UTC_TIME, 12) => match number(&digits[..2]) {
            year @ 50.. => (1900 + year, &digits[2..]),
            year => (2000 + year, &digits[2..]),
        },
        (GENERALIZED_TIME, 14) => (number(&digits[..4]), &digits[4..]),
        _ => return None,
    };
    let part = |at: usize| number(&rest[at..at + 2]);
    let (month, day) = (part(0), part(2));
    let fits = (1..=12).contains(&month) && (1..=31).contains(&day);
    let seconds = part(4) * 3600 + part(6) * 60 + part(8);
    fits.then(|| days(year, month, day) * 86_400 + seconds)
}

/// Days from 1970-01-01, by the calendar that certificates use for all years (H. Hinnant,
/// `days_from_civil`).
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;

    /// Made by OpenSSL to end at 2036-11-19 23:57:23; its key is gone.
    const UNTIL_2036: &str = "\
        MIIBLDCB36ADAgECAhRG9W6HkQNSMTuMBP2PlK1h2XrITzAFBgMrZXAwDDEKMAgGA1UEAwwBYTAeFw0yNjExMjIyMzU3\
        MjNaFw0zNjExMTkyMzU3MjNaMAwxCjAIBgNVBAMMAWEwKjAFBgMrZXADIQAXhzkJTb/npJ1VkL1dK87Hkr0HHGTE0LDg\
        xYbzTyjoFKNTMFEwHQYDVR0OBBYEFFgSSHbSuute3aNUND6joYpH5/NxMB8GA1UdIwQYMBaAFFgSSHbSuute3aNUND6j\
        oYpH5/NxMA8GA1UdEwEB/wQFMAMBAf8wBQYDK2VwA0EAcsgSHamalRQZ6siXhy72Ck+VdJ/K/5uxd0PHUheWQ6JzQA1d\
        bsJqSjAqZnO7xuPKTz37qFb34c1D3VbxeZcbCQ==";

    /// The same, to end at 2081-08-25 23:57:23.
    const UNTIL_2081: &str = "\
        MIIBLjCB4aADAgECAhQhVovCd4ykxawWozXSnPoALGPrNTAFBgMrZXAwDDEKMAgGA1UEAwwBYjAgFw0yNjExMjIyMzU3\
        MjNaGA8yMDgxMDgyNTIzNTcyM1owDDEKMAgGA1UEAwwBYjAqMAUGAytlcAMhAPD+oQuYIHhfq0LajYZJ6tMWU2jg14/s\
        5I9lC5lv7tZ2o1MwUTAdBgNVHQ4EFgQUUlktvLhRdqm5N8KG2m75eJ7AQhMwHwYDVR0jBBgwFoAUUlktvLhRdqm5N8KG\
        2m75eJ7AQhMwDwYDVR0TAQH/BAUwAwEB/zAFBgMrZXADQQDe+2CsDB/qC/30Gu19wvz3UIVz3P4dRF4rXHiU5kIg7sTy\
        xFbE+Zk+XzgQrestSBbXN30w3MFBWUUDyP4ODtUK";

    fn certificate(base64: &str) -> Vec<u8> {
        STANDARD.decode(base64).unwrap()
    }

    #[test]
    fn the_end_of_a_certificate_is_read() {
        assert_eq!(not_after(&certificate(UNTIL_2036)), Some(2_110_751_843));
        assert_eq!(not_after(&certificate(UNTIL_2081)), Some(3_523_391_843));
    }

    #[test]
    fn times_have_two_forms() {
        for (tag, text, expected) in [
            (UTC_TIME, "991231000000Z", Some(946_598_400)),
            (UTC_TIME, "500101000000Z", Some(-631_152_000)),
            (UTC_TIME, "491231235959Z", Some(2_524_607_999)),
            (GENERALIZED_TIME, "20500101000000Z", Some(2_524_608_000)),
            (GENERALIZED_TIME, "24000229010203Z", Some(13_574_563_200 + 3_723)),
            (UTC_TIME, "20500101000000Z", None),
            (GENERALIZED_TIME, "500101000000Z", None),
            (UTC_TIME, "991331000000Z", None),
            (UTC_TIME, "991200000000Z", None),
            (UTC_TIME, "99123100000Z", None),
            (UTC_TIME, "9912310000 0Z", None),
            (UTC_TIME, "991231000000", None),
            (INTEGER, "991231000000Z", None),
        ] {
            assert_eq!(time(tag, text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn what_is_cut_off_has_no_end() {
        let whole = certificate(UNTIL_2036);
        for end in 0..whole.len() {
            assert_eq!(not_after(&whole[..end]), None, "{end}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), at in 0usize..300) {
            let _ = not_after(&bytes);
            let mut changed = certificate(UNTIL_2036);
            changed[at] = bytes.first().copied().unwrap_or(0xff);
            let _ = not_after(&changed);
        }
    }
}
