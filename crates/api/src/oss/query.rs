//! The raw query string, split but not decoded.
//!
//! The signature works on the bytes as received, so pairs stay encoded; [`Query::value`] decodes
//! one value when an operation reads it.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use crate::oss::{Error, Fault};

/// A query string split at `&` and then at the first `=`; empty pieces are dropped.
#[derive(Clone, Debug, Default)]
pub struct Query<'a> {
    pairs: Vec<(&'a str, &'a str)>,
}

impl<'a> Query<'a> {
    /// Splits a raw query string (without `?`). Total.
    pub fn parse(raw: &'a str) -> Self {
        let pieces = raw.split('&').filter(|piece| !piece.is_empty());
        Self { pairs: pieces.map(|piece| piece.split_once('=').unwrap_or((piece, ""))).collect() }
    }

    /// The pairs as received, still percent-encoded.
    pub fn pairs(&self) -> &[(&'a str, &'a str)] {
        &self.pairs
    }

    /// Whether a key is present, with or without a value.
    pub fn has(&self, key: &str) -> bool {
        self.raw(key).is_some()
    }

    /// The first value of a key, still encoded.
    pub fn raw(&self, key: &str) -> Option<&'a str> {
        self.pairs.iter().find(|(name, _)| *name == key).map(|(_, value)| *value)
    }

    /// How often a key occurs.
    pub fn count(&self, key: &str) -> usize {
        self.pairs.iter().filter(|(name, _)| *name == key).count()
    }

    /// The decoded value of a key that may occur once. `+` stands for a space.
    ///
    /// Errors: [`Fault::ArgumentInvalid`] if it occurs twice, [`Fault::QueryInvalid`] if the
    /// decoded bytes are not UTF-8.
    pub fn value(&self, key: &str) -> Result<Option<Cow<'a, str>>, Error> {
        if self.count(key) > 1 {
            let text = format!("The query parameter {key} occurs more than once.");
            return Err(Error::with_message(Fault::ArgumentInvalid, text));
        }
        self.raw(key).map(decode_value).transpose()
    }
}

/// Decodes a value of the query. `+` stands for a space, because the signature reads it so: were it
/// anything else, either could be put in the place of the other on the way.
///
/// Error: [`Fault::QueryInvalid`].
pub(crate) fn decode_value(text: &str) -> Result<Cow<'_, str>, Error> {
    if !text.contains('+') {
        return decode(text);
    }
    decode(&text.replace('+', " ")).map(|value| Cow::Owned(value.into_owned()))
}

/// Percent-decodes one piece of a URL. Error: [`Fault::QueryInvalid`].
pub(crate) fn decode(text: &str) -> Result<Cow<'_, str>, Error> {
    percent_decode_str(text).decode_utf8().map_err(|_| Error::new(Fault::QueryInvalid))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_and_decodes() {
        let query = Query::parse("a=b%2Fc&&flag&=x&e=&d=1=2&d=3");
        assert_eq!(query.value("a").unwrap().as_deref(), Some("b/c"));
        assert!(query.has("flag") && query.raw("flag") == Some(""));
        assert_eq!(query.raw("e"), Some(""));
        assert_eq!(query.raw("d"), Some("1=2"));
        assert_eq!(query.value("d").unwrap_err().fault(), Fault::ArgumentInvalid);
        for raw in ["a=b+c", "a=b%20c"] {
            assert_eq!(Query::parse(raw).value("a").unwrap().as_deref(), Some("b c"), "{raw}");
        }
        assert_eq!(Query::parse("a=b%2Bc").value("a").unwrap().as_deref(), Some("b+c"));
        assert_eq!(Query::parse("a=%FF").value("a").unwrap_err().fault(), Fault::QueryInvalid);
        assert!(query.value("none").unwrap().is_none());
    }
}
