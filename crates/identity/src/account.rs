//! Account ids.

use std::fmt;

/// A 16-digit numeric account id; the tenant that owns buckets.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountId(Box<str>);

impl AccountId {
    /// Checks the rule: exactly 16 digits. `None` if it is broken.
    pub fn parse(text: &str) -> Option<Self> {
        let valid = text.len() == 16 && text.bytes().all(|b| b.is_ascii_digit());
        valid.then(|| Self(text.into()))
    }

    /// The id as a number.
    pub(crate) fn number(&self) -> u64 {
        self.0.bytes().fold(0, |number, digit| number * 10 + u64::from(digit - b'0'))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

crate::codec::format_of_text!(AccountId, "not an account id");

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixteen_digits() {
        assert!(AccountId::parse("1234567890123456").is_some());
        for bad in ["", "123456789012345", "12345678901234567", "123456789012345x", "１２３４"]
        {
            assert!(AccountId::parse(bad).is_none(), "{bad}");
        }
    }
}
