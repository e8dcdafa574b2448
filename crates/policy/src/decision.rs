//! What was decided, by which statement, and what the caller is told.

use std::fmt;

use crate::Action;

/// A decision about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision<'p> {
    /// Why.
    pub cause: Cause,
    /// The statement that decided; `None` where ownership or the lack of a grant did.
    pub statement: Option<StatementRef<'p>>,
}

/// Why a request is allowed or refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// Allowed: the caller is the root of the owning account and nothing denies.
    Owner,
    /// Allowed: a statement grants and nothing denies.
    Granted,
    /// Refused: nobody signed, and nothing opens the bucket to strangers.
    Anonymous,
    /// Refused: no policy grants.
    NotGranted,
    /// Refused: the bucket is another account's and its policy does not grant.
    NotGrantedToStranger,
    /// Refused: a Deny of the bucket policy.
    DeniedByBucket,
    /// Refused: a Deny of a policy of the caller.
    DeniedByIdentity,
    /// Refused: a Deny on either side.
    DeniedByBoth,
    /// Refused: the session policy does not grant.
    NotGrantedBySession,
    /// Refused: a Deny of the session policy.
    DeniedBySession,
    /// Refused: the role's trust policy does not name the caller.
    NotTrusted,
    /// Refused: a Deny of the role's trust policy.
    DeniedByTrust,
}

/// A statement by its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatementRef<'p> {
    /// Which side the policy stands on.
    pub source: Source,
    /// The policy's name.
    pub policy: &'p str,
    /// The statement's number, from 0.
    pub index: usize,
}

/// The sides that have a say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// A policy of the user, of a group of it, or of the role.
    Identity,
    /// The policy of a role session.
    Session,
    /// The bucket's policy.
    Bucket,
    /// A role's trust policy.
    Trust,
}

/// The three members of AccessDeniedDetail that answer most questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denial {
    /// What was asked for, `oss:PutVectors`.
    pub action: &'static str,
    /// `ExplicitDeny`, or `ImplicitDeny` where a grant is missing.
    pub no_permission_type: &'static str,
    /// The kind of policy that denies or fails to grant.
    pub policy_type: &'static str,
}

impl<'p> Decision<'p> {
    pub(crate) fn by(cause: Cause, statement: StatementRef<'p>) -> Self {
        Self { cause, statement: Some(statement) }
    }

    pub(crate) fn without(cause: Cause) -> Self {
        Self { cause, statement: None }
    }

    /// Whether the request may go on.
    pub fn is_allowed(&self) -> bool {
        self.cause.is_allowed()
    }

    /// The fine-grained code of a refusal.
    pub fn ec(&self) -> Option<&'static str> {
        self.cause.ec()
    }

    /// The detail fields of a refusal.
    pub fn denial(&self, action: Action) -> Option<Denial> {
        let (no_permission_type, policy_type) = self.cause.detail()?;
        Some(Denial { action: action.name(), no_permission_type, policy_type })
    }
}

impl Cause {
    /// Whether the request may go on.
    pub const fn is_allowed(self) -> bool {
        matches!(self, Cause::Owner | Cause::Granted)
    }

    /// The documented fine-grained code; `None` where the request is allowed, and for roles,
    /// whose refusals are another service's.
    pub const fn ec(self) -> Option<&'static str> {
        match self {
            Cause::Owner | Cause::Granted | Cause::NotTrusted | Cause::DeniedByTrust => None,
            Cause::Anonymous => Some("0003-00000001"),
            Cause::DeniedByBucket => Some("0003-00000101"),
            Cause::DeniedByIdentity => Some("0003-00000201"),
            Cause::NotGranted | Cause::NotGrantedToStranger => Some("0003-00000202"),
            Cause::DeniedByBoth => Some("0003-00000203"),
            Cause::NotGrantedBySession | Cause::DeniedBySession => Some("0003-00000301"),
        }
    }

    /// NoPermissionType and PolicyType.
    const fn detail(self) -> Option<(&'static str, &'static str)> {
        const IMPLICIT: &str = "ImplicitDeny";
        const EXPLICIT: &str = "ExplicitDeny";
        match self {
            Cause::Owner | Cause::Granted => None,
            Cause::NotGranted => Some((IMPLICIT, "AccountLevelIdentityBasedPolicy")),
            Cause::Anonymous | Cause::NotGrantedToStranger => Some((IMPLICIT, "BucketPolicy")),
            Cause::DeniedByBucket | Cause::DeniedByBoth => Some((EXPLICIT, "BucketPolicy")),
            Cause::DeniedByIdentity => Some((EXPLICIT, "AccountLevelIdentityBasedPolicy")),
            Cause::NotGrantedBySession => Some((IMPLICIT, "SessionPolicy")),
            Cause::DeniedBySession => Some((EXPLICIT, "SessionPolicy")),
            Cause::NotTrusted => Some((IMPLICIT, "AssumeRolePolicy")),
            Cause::DeniedByTrust => Some((EXPLICIT, "AssumeRolePolicy")),
        }
    }

    /// One sentence for people.
    pub const fn sentence(self) -> &'static str {
        match self {
            Cause::Owner => {
                "Allowed: the root of the account may do everything that no policy denies."
            }
            Cause::Granted => "Allowed by a statement.",
            Cause::Anonymous => {
                "Refused: the request is anonymous and nothing opens the bucket to strangers."
            }
            Cause::NotGranted => "Refused: no policy of the caller or of the bucket allows it.",
            Cause::NotGrantedToStranger => {
                "Refused: the bucket belongs to another account and its policy does not allow it."
            }
            Cause::DeniedByBucket => "Refused by a Deny of the bucket policy.",
            Cause::DeniedByIdentity => "Refused by a Deny of the caller's policies.",
            Cause::DeniedByBoth => {
                "Refused by a Deny of the bucket policy and one of the caller's policies."
            }
            Cause::NotGrantedBySession => "Refused: the session policy does not allow it.",
            Cause::DeniedBySession => "Refused by a Deny of the session policy.",
            Cause::NotTrusted => "Refused: the role's trust policy does not name the caller.",
            Cause::DeniedByTrust => "Refused by a Deny of the role's trust policy.",
        }
    }
}

impl fmt::Display for StatementRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = match self.source {
            Source::Identity => "RAM policy",
            Source::Session => "session policy",
            Source::Bucket => "bucket policy",
            Source::Trust => "trust policy",
        };
        write!(f, "{source} {}, Statement[{}]", self.policy, self.index)
    }
}

impl fmt::Display for Decision<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.cause.sentence())?;
        self.statement.map_or(Ok(()), |statement| write!(f, " ({statement})"))
    }
}
