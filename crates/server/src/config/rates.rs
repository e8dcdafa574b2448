//! Settings of request rates.

use std::fmt;
use std::time::Duration;

use super::value::Value;

/// So many requests per second, minute or hour on average, and so many at once: `100/s`,
/// `100/s:500`, `600/m`. Without a burst it is the number itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Requests in one period.
    pub count: u32,
    /// The period.
    pub per: Duration,
    /// Requests at once after a rest.
    pub burst: u32,
}

impl Rate {
    /// A rate per second.
    #[must_use]
    pub const fn per_second(count: u32, burst: u32) -> Self {
        Self { count, per: Duration::from_secs(1), burst }
    }
}

/// Periods and their letters.
const PERIODS: [(&str, u64); 3] = [("s", 1), ("m", 60), ("h", 3600)];

impl Value for Rate {
    fn parse(text: &str) -> Result<Self, String> {
        let hint = || "expected a rate such as 100/s, 600/m, or 100/s:500 with a burst".to_owned();
        let number = |text: &str| text.trim().parse().ok().filter(|count| *count > 0);
        let (rate, burst) = match text.split_once(':') {
            Some((rate, burst)) => (rate, Some(number(burst).ok_or_else(hint)?)),
            None => (text, None),
        };
        let (count, letter) = rate.split_once('/').ok_or_else(hint)?;
        let count = number(count).ok_or_else(hint)?;
        let period = PERIODS.iter().find(|(name, _)| *name == letter.trim());
        let (_, seconds) = period.ok_or_else(hint)?;
        Ok(Self { count, per: Duration::from_secs(*seconds), burst: burst.unwrap_or(count) })
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.per.as_secs();
        let letter = PERIODS.iter().find(|(_, period)| *period == seconds).map_or("s", |(l, _)| l);
        write!(f, "{}/{letter}", self.count)?;
        if self.burst == self.count { Ok(()) } else { write!(f, ":{}", self.burst) }
    }
}

/// How often may be asked. Each node counts what clients send to it.
#[derive(Clone, Debug)]
pub struct RateConfig {
    /// Requests of one access key; `None`: no limit.
    pub key: Option<Rate>,
    /// Requests of all access keys of one account; `None`: no limit.
    pub account: Option<Rate>,
    /// Failed authentications from one address; `None`: no limit.
    pub source_failures: Option<Rate>,
}

impl Default for RateConfig {
    fn default() -> Self {
        Self { key: None, account: None, source_failures: Some(Rate::per_second(100, 1000)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_read_back() {
        for (text, count, seconds, burst, shown) in [
            ("100/s", 100, 1, 100, "100/s"),
            (" 600 / m ", 600, 60, 600, "600/m"),
            ("5/h:1", 5, 3600, 1, "5/h:1"),
            ("100/s:500", 100, 1, 500, "100/s:500"),
        ] {
            let rate = Rate::parse(text).unwrap();
            assert_eq!(rate, Rate { count, per: Duration::from_secs(seconds), burst }, "{text}");
            assert_eq!(rate.show(), shown);
            assert_eq!(Rate::parse(&rate.show()), Ok(rate));
        }
        for bad in ["", "0/s", "5", "5/d", "/s", "5/s:0", "5/s:", "-1/s", "99999999999/s"] {
            assert!(Rate::parse(bad).is_err(), "{bad}");
        }
    }
}
