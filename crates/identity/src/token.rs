//! Session tokens: temporary credentials as sealed, stateless text.
//!
//! A token is the base64 (URL alphabet, no padding) of these bytes, sealed for the purpose *token*:
//!
//! ```text
//! version u8 = 1 | access key id, secret, account: strings | role u64 | role name, session: strings
//! issued_ms u64 | expires_ms u64 | lineage: list of (u64 id, u32 revoked) | option of policy string
//! ```
//!
//! Any node with the ring opens it; nothing is stored. The *lineage* names everybody the session
//! depends on: the account and role, and whoever opened it, back to a user or root. Each is counted
//! how often its sessions were revoked; a session whose count is lower than today's is over. No
//! clock takes part, so nodes whose clocks differ agree.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use quick_cache::sync::Cache;
use vb_policy::{Kind, Policy};
use zeroize::Zeroizing;

use crate::codec::{DecodeError, Format, Reader, Write, format_of_fields};
use crate::name::is_session_name;
use crate::outside::Random;
use crate::seal::{self, Purpose};
use crate::{AccountId, AuthenticateError, KeyId, KeyRing, Name, Secret, Uid};

/// Longest session policy, bytes.
pub const SESSION_POLICY_BYTES_MAX: usize = 2048;
/// Longest token, characters.
pub const TOKEN_CHARS_MAX: usize = 4096;
/// Opened tokens kept: opening one and compiling its policy takes longer than all else.
const OPENED_MAX: usize = 2048;
/// Ids a session may depend on.
const LINEAGE_MAX: usize = 12;

const VERSION: u8 = 1;

/// Everybody a session depends on, and how often each one's sessions had been revoked.
///
/// Ids are those of accounts, users and roles, told apart by their digits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lineage(pub(crate) Vec<(u64, u32)>);

impl Lineage {
    /// Adds whoever is not in it yet. `None`: the chain of sessions is too long.
    pub(crate) fn and(&self, others: impl IntoIterator<Item = (u64, u32)>) -> Option<Self> {
        let mut all = self.0.clone();
        for (id, revoked) in others {
            if !all.iter().any(|(known, _)| *known == id) {
                all.push((id, revoked));
            }
        }
        (all.len() <= LINEAGE_MAX).then_some(Self(all))
    }
}

/// What a token says.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Claims {
    pub(crate) key: KeyId,
    pub(crate) secret: Secret,
    pub(crate) account: AccountId,
    pub(crate) role: Uid,
    pub(crate) role_name: Name,
    pub(crate) session: Arc<str>,
    pub(crate) issued_ms: u64,
    pub(crate) expires_ms: u64,
    pub(crate) lineage: Lineage,
    pub(crate) policy: Option<Arc<str>>,
}

format_of_fields!(Claims {
    key,
    secret,
    account,
    role,
    role_name,
    session,
    issued_ms,
    expires_ms,
    lineage,
    policy,
});

impl fmt::Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Claims({} of {}/{})", self.key, self.role_name, self.session)
    }
}

impl Format for Secret {
    fn write(&self, out: &mut Vec<u8>) {
        out.put_str(self.expose());
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Self::parse(reader.string()?).ok_or_else(|| reader.error("not a secret"))
    }
}

impl Format for Lineage {
    fn write(&self, out: &mut Vec<u8>) {
        self.0.write(out);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let list = Vec::read(reader)?;
        match list.len() {
            1..=LINEAGE_MAX => Ok(Self(list)),
            _ => Err(reader.error("nobody, or too many, to depend on")),
        }
    }
}

impl Claims {
    /// The token of these claims; at most [`TOKEN_CHARS_MAX`] long.
    pub(crate) fn seal(&self, ring: &KeyRing, random: &dyn Random) -> String {
        let mut content = Zeroizing::new(Vec::with_capacity(TOKEN_CHARS_MAX));
        content.push(VERSION);
        self.write(&mut content);
        let sealed = ring.newest().seal(Purpose::Token, b"", &content, random);
        URL_SAFE_NO_PAD.encode(sealed)
    }

    /// What a token of this ring says; `None` for any other text.
    pub(crate) fn open(ring: &KeyRing, token: &str) -> Option<Self> {
        if token.len() > TOKEN_CHARS_MAX {
            return None;
        }
        let sealed = URL_SAFE_NO_PAD.decode(token).ok()?;
        let content = seal::open(ring.keys(), Purpose::Token, b"", &sealed).ok()?;
        Self::decode_content(&content).ok()
    }

    pub(crate) fn decode_content(content: &[u8]) -> Result<Self, DecodeError> {
        match content.split_first() {
            Some((&VERSION, claims)) => Self::decode(claims).and_then(Self::checked),
            _ => Err(Reader::new(content).error("unknown version of a token")),
        }
    }

    fn checked(self) -> Result<Self, DecodeError> {
        let short = self.policy.as_ref().is_none_or(|text| text.len() <= SESSION_POLICY_BYTES_MAX);
        match self.role.is_role() && is_session_name(&self.session) && short {
            true => Ok(self),
            false => Err(DecodeError { offset: 0, reason: "claims that are never made" }),
        }
    }
}

/// An opened token.
pub(crate) struct Opened {
    token: Box<str>,
    pub(crate) claims: Claims,
    pub(crate) uid: Arc<str>,
    pub(crate) policy: Option<Arc<Policy>>,
}

/// Opens tokens, and remembers those that did open. `Debug` shows no token.
pub(crate) struct Tokens {
    pub(crate) ring: Option<KeyRing>,
    opened: Cache<KeyId, Arc<Opened>>,
}

impl Tokens {
    pub(crate) fn new(ring: Option<KeyRing>) -> Self {
        Self { ring, opened: Cache::new(OPENED_MAX) }
    }

    /// What a token says, if it belongs to the access key and is not over.
    pub(crate) fn open(
        &self,
        key: &str,
        token: &str,
        now_ms: u64,
    ) -> Result<Arc<Opened>, AuthenticateError> {
        let opened = match self.opened.get(key) {
            Some(opened) if *opened.token == *token => opened,
            _ => self.open_anew(key, token)?,
        };
        match now_ms < opened.claims.expires_ms {
            true => Ok(opened),
            false => Err(AuthenticateError::TokenExpired),
        }
    }

    fn open_anew(&self, key: &str, token: &str) -> Result<Arc<Opened>, AuthenticateError> {
        let ring = self.ring.as_ref().ok_or(AuthenticateError::TokenInvalid)?;
        let claims = Claims::open(ring, token).ok_or(AuthenticateError::TokenInvalid)?;
        if claims.key.as_str() != key {
            return Err(AuthenticateError::TokenOfOtherKey);
        }
        let compiled =
            |text: &str| Arc::new(Policy::stored(Kind::Session, "session", text.as_bytes()));
        let policy = claims.policy.as_deref().map(compiled);
        let uid = claims.role.to_string().into();
        let opened = Arc::new(Opened { token: token.into(), uid, policy, claims });
        self.opened.insert(opened.claims.key.clone(), Arc::clone(&opened));
        Ok(opened)
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tokens({:?})", self.ring)
    }
}
