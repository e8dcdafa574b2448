//! Access keys and their secrets.

use std::borrow::Borrow;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use vb_policy::Network;
use zeroize::Zeroizing;

use crate::AccountId;
use crate::outside::{Random, alphanumeric};

/// Random characters of a generated access key id, and of a secret: 107 and 178 bits.
const KEY_ID_CHARS: usize = 18;
const SECRET_CHARS: usize = 30;

/// The secret of an access key. `Debug` shows nothing of it; memory is wiped with the last clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<Zeroizing<Box<str>>>);

impl Secret {
    /// A secret of 8 to 128 printable ASCII characters; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let valid = (8..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        valid.then(|| Self(Arc::new(Zeroizing::new(text.into()))))
    }

    /// The secret itself, for deriving a signing key.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// A fresh one.
    pub(crate) fn generate(random: &dyn Random) -> Self {
        let text = Zeroizing::new(alphanumeric(random, SECRET_CHARS));
        Self::parse(&text).expect("letters and digits are printable")
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

/// The id of a stored access key: 1 to 128 characters of `0-9A-Za-z . _ =`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId(Arc<str>);

impl KeyId {
    /// Checks the rule; `None` if it is broken.
    pub fn parse(text: &str) -> Option<Self> {
        is_access_key_id(text).then(|| Self(text.into()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

crate::codec::format_of_text!(KeyId, "not an access key id");

impl Borrow<str> for KeyId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Prefix of the ids of users' access keys.
const KEY_ID_PREFIX: &str = "LTAI5t";
/// Prefix of the ids of temporary access keys.
pub(crate) const SESSION_KEY_ID_PREFIX: &str = "STS.";

/// A fresh access key id.
pub(crate) fn generate_key_id(random: &dyn Random) -> KeyId {
    KeyId(format!("{KEY_ID_PREFIX}{}", alphanumeric(random, KEY_ID_CHARS)).into())
}

/// A fresh id of a temporary access key.
pub(crate) fn generate_session_key_id(random: &dyn Random) -> KeyId {
    KeyId(format!("{SESSION_KEY_ID_PREFIX}NT{}", alphanumeric(random, KEY_ID_CHARS)).into())
}

/// Whether a text can be an access key id.
pub(crate) fn is_access_key_id(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'=');
    (1..=128).contains(&text.len()) && text.bytes().all(allowed)
}

/// Networks per access key at most.
const NETWORKS_MAX: usize = 20;

/// The source addresses an access key may be used from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Networks(Arc<[(Box<str>, Network)]>);

impl Networks {
    /// Parses up to 20 CIDR blocks, addresses, or IPv4 octets with `*`. None at all: anywhere.
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let one = |text: &str| Some((Box::from(text), Network::parse(text)?));
        let networks: Arc<[_]> = texts.into_iter().map(one).collect::<Option<_>>()?;
        (networks.len() <= NETWORKS_MAX).then_some(Self(networks))
    }

    /// Whether a request may come from there.
    pub fn allow(&self, address: IpAddr) -> bool {
        self.0.is_empty() || self.0.iter().any(|(_, network)| network.contains(address))
    }

    /// The networks as written.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &str> {
        self.0.iter().map(|(text, _)| &**text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SystemRandom;

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
        let (one, two) = (generate_key_id(&SystemRandom), generate_session_key_id(&SystemRandom));
        assert!(is_access_key_id(one.as_str()) && is_access_key_id(two.as_str()), "{one} {two}");
        assert_ne!(Secret::generate(&SystemRandom), Secret::generate(&SystemRandom));
    }

    #[test]
    fn networks_limit_addresses() {
        let networks = Networks::parse(["10.0.0.0/8", "::1"]).unwrap();
        assert!(networks.allow("10.1.2.3".parse().unwrap()));
        assert!(networks.allow("::1".parse().unwrap()));
        assert!(!networks.allow("11.1.2.3".parse().unwrap()));
        assert!(Networks::default().allow("11.1.2.3".parse().unwrap()));
        assert!(Networks::parse(["10.0.0.0/33"]).is_none());
        assert!(Networks::parse(["::1"; NETWORKS_MAX + 1]).is_none());
    }
}
