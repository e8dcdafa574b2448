//! Access keys and their secrets.

use std::fmt;

use crate::AccountId;

/// The secret of an access key. `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<str>);

impl Secret {
    /// A secret of 8 to 128 printable ASCII characters; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let valid = (8..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        valid.then(|| Self(text.into()))
    }

    /// The secret itself, for deriving a signing key.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// An access key of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessKey {
    /// The id: 1 to 128 characters of `0-9A-Za-z . _ =`.
    pub id: Box<str>,
    /// The secret.
    pub secret: Secret,
    /// The account it belongs to.
    pub account: AccountId,
}

/// Whether a text can be an access key id.
pub(crate) fn is_access_key_id(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'=');
    (1..=128).contains(&text.len()) && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_never_shows_the_secret() {
        let key = AccessKey {
            id: "LTAItest".into(),
            secret: Secret::parse("hunter2hunter2").unwrap(),
            account: AccountId::parse("1234567890123456").unwrap(),
        };
        let shown = format!("{key:?} {:#?}", Some(&key));
        assert!(shown.contains("LTAItest") && !shown.contains("hunter"), "{shown}");
    }

    #[test]
    fn secrets_and_ids_have_rules() {
        assert!(Secret::parse("short").is_none() && Secret::parse("with space 1").is_none());
        assert!(
            is_access_key_id("LTAI5t.x_=") && !is_access_key_id("a-b") && !is_access_key_id("")
        );
    }
}
