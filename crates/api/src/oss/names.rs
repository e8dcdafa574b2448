//! Names and their rules: bucket, account, index, distance metric.

use std::fmt;

use crate::oss::{Error, Fault};

macro_rules! text {
    ($name:ident) => {
        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The name as bytes.
            pub fn as_bytes(&self) -> &[u8] {
                self.0.as_bytes()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

/// A vector bucket name: 3 to 32 lowercase letters, digits and hyphens, no hyphen at either end.
///
/// The name `bucket` is refused: in resource names `bucket/x` is the long spelling of bucket `x`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BucketName(Box<str>);
text!(BucketName);

impl BucketName {
    /// Checks the rule. Error: [`Fault::BucketNameInvalid`].
    pub fn parse(text: &str) -> Result<Self, Error> {
        let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let valid = (3..=32).contains(&text.len())
            && text.bytes().all(allowed)
            && !text.starts_with('-')
            && !text.ends_with('-')
            && text != "bucket";
        let rule = match text {
            "bucket" => "The name bucket is reserved: it is a prefix in policy resources.",
            _ => {
                "A vector bucket name must have 3 to 32 lowercase letters, digits and hyphens, \
                 and no hyphen at either end."
            }
        };
        let invalid = || Error::with_message(Fault::BucketNameInvalid, rule);
        if valid { Ok(Self(text.into())) } else { Err(invalid()) }
    }
}

/// A numeric account id: 1 to 32 digits (16 in practice).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountId(Box<str>);
text!(AccountId);

impl AccountId {
    /// Checks the rule; `None` if it is broken.
    pub fn parse(text: &str) -> Option<Self> {
        let valid = (1..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        valid.then(|| Self(text.into()))
    }
}

/// An index name: 1 to 63 letters and digits, the first a letter; case matters.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IndexName(Box<str>);
text!(IndexName);

impl IndexName {
    /// Checks the rule. Error: [`Fault::IndexName`].
    pub fn parse(text: &str) -> Result<Self, Error> {
        let valid = (1..=63).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric())
            && text.as_bytes()[0].is_ascii_alphabetic();
        if valid {
            Ok(Self(text.into()))
        } else {
            Err(Error::with_message(
                Fault::IndexName,
                "indexName must have 1 to 63 letters and digits and start with a letter.",
            ))
        }
    }
}

/// Whether a name may stand in `nonFilterableMetadataKeys`: 1 to 63 letters, digits and
/// underscores, the first not a digit.
pub(crate) fn is_non_filterable_key(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && !text.as_bytes()[0].is_ascii_digit()
}

/// The distance metric of a Standard index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Metric {
    /// Straight-line distance.
    Euclidean,
    /// One minus the cosine of the angle; zero vectors are refused.
    Cosine,
}

impl Metric {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Metric::Euclidean => "euclidean",
            Metric::Cosine => "cosine",
        }
    }

    /// The metric of a wire name, case-sensitive.
    pub fn parse(text: &str) -> Option<Self> {
        [Metric::Euclidean, Metric::Cosine].into_iter().find(|m| m.as_str() == text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_rule() {
        for good in ["abc", "a-b", "0-0", &"x".repeat(32), "bucket1", "a--b"] {
            assert!(BucketName::parse(good).is_ok(), "{good}");
        }
        for bad in
            ["", "ab", "-ab", "ab-", "aBc", "a_b", "a.b", "bücket", "bucket", &"x".repeat(33)]
        {
            assert!(BucketName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn index_rule() {
        for good in ["a", "Idx1", &"x".repeat(63)] {
            assert!(IndexName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "1a", "a-b", "a_b", "ä", &"x".repeat(64)] {
            assert!(IndexName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn non_filterable_rule() {
        assert!(is_non_filterable_key("_a1") && is_non_filterable_key(&"k".repeat(63)));
        for bad in ["", "1a", "a-b", "ä", &"k".repeat(64)] {
            assert!(!is_non_filterable_key(bad), "{bad}");
        }
    }
}
