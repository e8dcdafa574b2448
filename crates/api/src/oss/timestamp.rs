//! The two spellings of time on the wire.

use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time};

/// `20260102T030405Z` to seconds since 1970; strict, `None` for anything else.
pub fn parse_basic(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    if bytes.len() != 16 || bytes[8] != b'T' || bytes[15] != b'Z' {
        return None;
    }
    let number = |from: usize, to: usize| digits(&bytes[from..to]);
    let month = Month::try_from(u8::try_from(number(4, 6)?).ok()?).ok()?;
    let date = Date::from_calendar_date(
        i32::try_from(number(0, 4)?).ok()?,
        month,
        u8::try_from(number(6, 8)?).ok()?,
    );
    let part = |from: usize| number(from, from + 2).and_then(|n| u8::try_from(n).ok());
    let time = Time::from_hms(part(9)?, part(11)?, part(13)?);
    Some(PrimitiveDateTime::new(date.ok()?, time.ok()?).assume_utc().unix_timestamp())
}

fn digits(bytes: &[u8]) -> Option<u32> {
    bytes.iter().try_fold(0, |sum, b| b.is_ascii_digit().then(|| sum * 10 + u32::from(b - b'0')))
}

/// Seconds since 1970 to `20260102T030405Z`. Times outside the years 0 to 9999 are clamped.
pub fn to_basic(seconds: i64) -> String {
    let at = at(seconds);
    format!(
        "{:04}{:02}{:02}T{:02}{:02}{:02}Z",
        at.year(),
        u8::from(at.month()),
        at.day(),
        at.hour(),
        at.minute(),
        at.second()
    )
}

/// Milliseconds since 1970 to `2026-01-02T03:04:05.000Z`. Clamped like [`to_basic`].
pub fn iso_millis(millis: i64) -> String {
    let at = at(millis.div_euclid(1000));
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        at.year(),
        u8::from(at.month()),
        at.day(),
        at.hour(),
        at.minute(),
        at.second(),
        millis.rem_euclid(1000)
    )
}

fn at(seconds: i64) -> OffsetDateTime {
    let (year_0, year_9999) = (-62_167_219_200, 253_402_300_799);
    let clamped = seconds.clamp(year_0, year_9999);
    OffsetDateTime::from_unix_timestamp(clamped).expect("clamped to the supported years")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn basic_form_round_trips() {
        assert_eq!(parse_basic("20260102T030405Z"), Some(1_767_323_045));
        for seconds in [0, 1_767_323_045, 951_782_400, -1, 253_402_300_799] {
            assert_eq!(parse_basic(&to_basic(seconds)), Some(seconds));
        }
    }

    #[test]
    fn basic_form_is_strict() {
        let bad = [
            "",
            "20260102T030405",
            "20261302T030405Z",
            "20260230T030405Z",
            "20260102T240000Z",
            "2026-1-2T030405Z",
            "20260102 030405Z",
            "+0260102T030405Z",
            "２０２６T030405Z",
        ];
        for text in bad {
            assert_eq!(parse_basic(text), None, "{text}");
        }
    }

    #[test]
    fn iso_has_milliseconds() {
        assert_eq!(iso_millis(1_767_323_045_007), "2026-01-02T03:04:05.007Z");
        assert_eq!(iso_millis(-1), "1969-12-31T23:59:59.999Z");
        assert_eq!(iso_millis(i64::MAX).len(), 24);
    }
}
