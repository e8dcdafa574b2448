//! Assuming roles: temporary credentials for whoever a role trusts.

use std::fmt;
use std::sync::Arc;

use vb_policy::{Cause, Context, Document, Kind, Policy, PolicyError, PolicySet};

use crate::credential::generate_session_key_id;
use crate::name::is_session_name;
use crate::outside::Random;
use crate::record::Role;
use crate::token::Claims;
use crate::{AccountId, Candidate, KeyId, Name, Principal, Secret, Snapshot};

/// Shortest session, seconds.
pub const SESSION_S_MIN: u32 = 900;
/// Session when nothing else is asked for, seconds.
pub const SESSION_S_DEFAULT: u32 = 3600;
/// Longest session that a role can allow, seconds.
pub const SESSION_S_MAX: u32 = 43_200;
/// Longest session that is opened out of another session, seconds.
pub const CHAINED_SESSION_S_MAX: u32 = 3600;

/// A request for temporary credentials.
#[derive(Clone, Copy, Debug)]
pub struct AssumeRole<'a> {
    /// The role's account.
    pub account: &'a AccountId,
    /// The role's name.
    pub role: &'a str,
    /// The session's name: 2 to 64 characters of `0-9A-Za-z . @ - _`.
    pub session: &'a str,
    /// How long, seconds; an hour, or what the role allows if that is less, if not said.
    pub duration_s: Option<u32>,
    /// A policy that narrows the session's rights.
    pub policy: Option<&'a str>,
    /// The circumstances of the request.
    pub context: Context<'a>,
}

/// Temporary credentials. `Debug` shows neither secret nor token.
#[derive(Clone)]
pub struct Session {
    /// The temporary access key's id; begins with `STS.`.
    pub access_key_id: KeyId,
    /// Its secret.
    pub secret: Secret,
    /// The security token that goes with every request.
    pub token: Box<str>,
    /// When all of them end, milliseconds since 1970.
    pub expires_ms: u64,
    /// `acs:ram::{account}:assumed-role/{role}/{session}`.
    pub arn: Box<str>,
    /// `{role id}:{session}`.
    pub assumed_role_id: Box<str>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session({} of {}, until {} ms)", self.access_key_id, self.arn, self.expires_ms)
    }
}

/// Why there are no temporary credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AssumeRoleError {
    /// The role does not trust the caller (NoPermission). Also if it is another account's and there
    /// is none, or the caller's policies do not allow it.
    NotTrusted,
    /// The caller's policies do not allow it (NoPermission).
    NotAllowed,
    /// The caller's account has no such role (EntityNotExist.Role).
    NoSuchRole,
    /// The session's name breaks the rule (InvalidParameter.RoleSessionName).
    InvalidSessionName,
    /// The duration is out of bounds (InvalidParameter.DurationSeconds).
    InvalidDuration {
        /// The longest session possible here, seconds.
        max_s: u32,
    },
    /// The session policy is not valid (InvalidParameter.Policy).
    InvalidPolicy(PolicyError),
    /// The session hangs on a chain of too many sessions (InvalidParameter).
    ChainTooLong,
    /// There is no key ring to seal tokens with: an operator's matter.
    NoKeyRing,
}

impl fmt::Display for AssumeRoleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotTrusted => f.write_str("the role does not trust the caller"),
            Self::NotAllowed => {
                f.write_str("the caller's policies do not allow sts:AssumeRole on the role")
            }
            Self::NoSuchRole => f.write_str("there is no such role"),
            Self::InvalidSessionName => f.write_str(
                "a session name has 2 to 64 characters of letters, digits, '.', '@', '-' and '_'",
            ),
            Self::InvalidDuration { max_s } => {
                write!(f, "the duration must be {SESSION_S_MIN} to {max_s} seconds")
            }
            Self::InvalidPolicy(error) => write!(f, "the session policy is not valid: {error}"),
            Self::ChainTooLong => f.write_str("too many roles were assumed one out of the other"),
            Self::NoKeyRing => f.write_str("no key ring is configured, so no token can be sealed"),
        }
    }
}

impl std::error::Error for AssumeRoleError {}

impl Snapshot {
    /// Issues temporary credentials of a role to an authenticated caller.
    ///
    /// Nothing is stored; every node that has the same key ring accepts them, until they expire or
    /// are revoked.
    ///
    /// # Errors
    ///
    /// See [`AssumeRoleError`].
    pub fn assume_role(
        &self,
        caller: &Candidate,
        request: &AssumeRole<'_>,
        now_ms: u64,
        random: &dyn Random,
    ) -> Result<Session, AssumeRoleError> {
        if !is_session_name(request.session) {
            return Err(AssumeRoleError::InvalidSessionName);
        }
        let (name, role) = self.trusting_role(caller, request)?;
        let duration_s = duration(caller, role, request.duration_s)?;
        let check = |text: &str| Document::parse(Kind::Session, text.as_bytes());
        request.policy.map(check).transpose().map_err(AssumeRoleError::InvalidPolicy)?;
        let ring = self.tokens.ring.as_ref().ok_or(AssumeRoleError::NoKeyRing)?;
        let depends = self.lineage_of([request.account.number(), role.id.0]);
        let claims = Claims {
            key: generate_session_key_id(random),
            secret: Secret::generate(random),
            account: request.account.clone(),
            role: role.id,
            role_name: name.clone(),
            session: request.session.into(),
            issued_ms: now_ms,
            expires_ms: now_ms.saturating_add(u64::from(duration_s) * 1000),
            lineage: caller.lineage.and(depends).ok_or(AssumeRoleError::ChainTooLong)?,
            policy: request.policy.map(Arc::from),
        };
        Ok(Session::of(&claims, claims.seal(ring, random)))
    }

    /// The role, if it trusts the caller and the caller may assume it.
    fn trusting_role<'s>(
        &'s self,
        caller: &Candidate,
        request: &AssumeRole<'_>,
    ) -> Result<(&'s Name, &'s Role), AssumeRoleError> {
        let own = caller.principal.account() == Some(request.account);
        let account = self.account(request.account).filter(|account| !account.suspended);
        let role = account.and_then(|account| account.roles.get_key_value(request.role));
        let Some((name, role)) = role else {
            // Whether another account has a role is none of the caller's business.
            return Err(if own {
                AssumeRoleError::NoSuchRole
            } else {
                AssumeRoleError::NotTrusted
            });
        };
        let trust = Policy::stored(Kind::Trust, "trust", role.trust.as_bytes());
        let policies = PolicySet {
            identity: &caller.policies,
            session: caller.session_policy.as_deref(),
            bucket: None,
            block_public_access: false,
        };
        let asks = caller.principal.caller();
        let place = (request.account.as_str(), name.as_str());
        let decision = vb_policy::assume_role(&trust, &policies, place, asks, request.context);
        match decision.cause {
            _ if decision.is_allowed() => Ok((name, role)),
            Cause::NotTrusted | Cause::DeniedByTrust => Err(AssumeRoleError::NotTrusted),
            _ if own => Err(AssumeRoleError::NotAllowed),
            // That it would be trusted is none of a stranger's business either.
            _ => Err(AssumeRoleError::NotTrusted),
        }
    }
}

/// How long a session may be, seconds.
fn duration(
    caller: &Candidate,
    role: &Role,
    wanted_s: Option<u32>,
) -> Result<u32, AssumeRoleError> {
    let chained = matches!(caller.principal, Principal::RoleSession { .. });
    let bound_s = if chained { CHAINED_SESSION_S_MAX } else { SESSION_S_MAX };
    let max_s = role.session_s_max.min(bound_s);
    match wanted_s {
        None => Ok(SESSION_S_DEFAULT.min(max_s)),
        Some(wanted_s) if (SESSION_S_MIN..=max_s).contains(&wanted_s) => Ok(wanted_s),
        Some(_) => Err(AssumeRoleError::InvalidDuration { max_s }),
    }
}

impl Session {
    fn of(claims: &Claims, token: String) -> Self {
        let Claims { account, role, role_name, session, .. } = claims;
        Self {
            access_key_id: claims.key.clone(),
            secret: claims.secret.clone(),
            token: token.into(),
            expires_ms: claims.expires_ms,
            arn: format!("acs:ram::{account}:assumed-role/{role_name}/{session}").into(),
            assumed_role_id: format!("{role}:{session}").into(),
        }
    }
}
