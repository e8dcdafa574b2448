//! What authentication finds: who a request claims to be, and what is needed to check it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use vb_policy::Policy;

use crate::token::Lineage;
use crate::{Networks, Principal, Secret};

/// Who a request claims to be. It is not proven yet: that takes a signature made with the secret,
/// and a source address that the networks allow.
#[derive(Debug)]
pub struct Candidate {
    /// What the signature must have been made with.
    pub secret: Secret,
    /// Who it is.
    pub principal: Principal,
    /// The policies of a user and its groups, or of a role; none of a root.
    pub policies: Arc<[Arc<Policy>]>,
    /// What narrows the rights of a session.
    pub session_policy: Option<Arc<Policy>>,
    /// From where the access key may be used.
    pub networks: Networks,
    /// When a session ends, milliseconds since 1970.
    pub expires_ms: Option<u64>,
    /// Whose standing the caller's own sessions depend on.
    pub(crate) lineage: Lineage,
    /// When the key was last used.
    pub(crate) used: Option<Arc<LastUse>>,
}

impl Candidate {
    /// Notes that the key was used: once a signature was verified with it.
    pub fn note_use(&self, now_ms: u64) {
        if let Some(used) = &self.used {
            used.note(now_ms);
        }
    }
}

/// When a key was last used, in this process or as stored.
#[derive(Debug)]
pub(crate) struct LastUse(AtomicU64);

/// How exact it is.
const USE_RESOLUTION_MS: u64 = 60_000;

impl LastUse {
    pub(crate) fn new(used_ms: u64) -> Self {
        Self(AtomicU64::new(used_ms))
    }

    /// Written once a minute at most: keys in use are shared by all cores.
    fn note(&self, now_ms: u64) {
        if now_ms >= self.ms().saturating_add(USE_RESOLUTION_MS) {
            self.0.fetch_max(now_ms, Ordering::Relaxed);
        }
    }

    pub(crate) fn ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Why nobody is behind an access key id. Section headings are what the client is to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthenticateError {
    /// No such access key: InvalidAccessKeyId.
    UnknownKey,
    /// The key, or its user, is disabled: InvalidAccessKeyId, "... is disabled".
    DisabledKey,
    /// The account is suspended: UserDisable.
    AccountSuspended,
    /// A temporary key without its token: InvalidSecurityToken.
    TokenMissing,
    /// A token with a key that is not temporary: InvalidSecurityToken.
    TokenUnexpected,
    /// Not a token of ours, or a changed one: InvalidSecurityToken.
    TokenInvalid,
    /// The token of another temporary key: AccessKeyIdAndSecurityTokenNotMatch.
    TokenOfOtherKey,
    /// The session is over: SecurityTokenExpired.
    TokenExpired,
    /// The session was revoked, or its role or whoever opened it is gone: InvalidSecurityToken.
    SessionRevoked,
    /// The key's secret cannot be opened: nobody can be told apart by it. An operator's matter.
    SecretUnavailable(SecretError),
    /// The store was not heard of for too long to vouch for anybody but roots. Try again later.
    Stale,
}

impl fmt::Display for AuthenticateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::UnknownKey => "no such access key",
            Self::DisabledKey => "the access key is disabled",
            Self::AccountSuspended => "the account is suspended",
            Self::TokenMissing => "a temporary access key needs its security token",
            Self::TokenUnexpected => "a security token comes with a temporary access key only",
            Self::TokenInvalid => "the security token is not valid",
            Self::TokenOfOtherKey => "the security token belongs to another access key",
            Self::TokenExpired => "the security token has expired",
            Self::SessionRevoked => "the session was revoked",
            Self::SecretUnavailable(error) => return error.fmt(f),
            Self::Stale => "the store of identities was not reached for too long",
        };
        f.write_str(text)
    }
}

impl std::error::Error for AuthenticateError {}

/// Why a stored secret cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretError {
    /// There is no key ring.
    NoKeyRing,
    /// The ring does not hold the key of this id.
    UnknownRingKey(Box<str>),
    /// The ring key of this id is not the one it was sealed with, or the bytes were changed.
    Refused(Box<str>),
}

impl fmt::Display for SecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoKeyRing => f.write_str("secrets are stored, but there is no key ring"),
            Self::UnknownRingKey(id) => {
                write!(f, "a secret is sealed with the ring key {id}, which the ring lacks")
            }
            Self::Refused(id) => write!(
                f,
                "a secret does not open with the ring key {id}: another key has this id, or the \
                 store was tampered with"
            ),
        }
    }
}

impl std::error::Error for SecretError {}
