//! By whom: the principals of bucket policies and of the trust policies of roles.

use crate::{Caller, PolicyError};

/// A principal pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PrincipalPattern {
    /// `*` in a bucket policy: everybody, also anonymous callers.
    Everyone,
    /// A numeric id: of an account, which means its root alone, or of a user or role.
    Id(Box<str>),
    /// `arn:sts::{account}:assumed-role/{role}/{session}` in a bucket policy, with case.
    AssumedRole {
        /// The account.
        account: Box<str>,
        /// The role.
        role: Box<str>,
        /// The session; `None` for `*`.
        session: Option<Box<str>>,
    },
    /// `acs:ram::{account}:root` in a trust policy: everybody of the account.
    Account(Box<str>),
    /// `acs:ram::{account}:user/{name}` in a trust policy.
    User {
        /// The account.
        account: Box<str>,
        /// The user's name.
        name: Box<str>,
    },
    /// `acs:ram::{account}:role/{name}` in a trust policy.
    Role {
        /// The account.
        account: Box<str>,
        /// The role's name.
        name: Box<str>,
    },
}

impl PrincipalPattern {
    /// Parses a principal of a bucket policy.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        if text == "*" {
            return Ok(Self::Everyone);
        }
        if is_id(text) {
            return Ok(Self::Id(text.into()));
        }
        let role = text.strip_prefix("arn:sts::").and_then(|rest| {
            let (account, rest) = rest.split_once(":assumed-role/")?;
            let (role, session) = rest.split_once('/')?;
            let fine = is_id(account) && is_name(role) && (session == "*" || is_name(session));
            let session = (session != "*").then(|| session.into());
            fine.then(|| Self::AssumedRole { account: account.into(), role: role.into(), session })
        });
        role.ok_or_else(|| refuse(text))
    }

    /// Parses a member of `RAM` in a trust policy.
    pub fn parse_trusted(text: &str) -> Result<Self, PolicyError> {
        let parsed = text.strip_prefix("acs:ram::").and_then(|rest| {
            let (account, rest) = rest.split_once(':')?;
            let account: Box<str> = is_id(account).then(|| account.into())?;
            let name = |name: &str| is_name(name).then(|| name.into());
            match rest.split_once('/') {
                None => (rest == "root").then_some(Self::Account(account)),
                Some(("user", user)) => Some(Self::User { account, name: name(user)? }),
                Some(("role", role)) => Some(Self::Role { account, name: name(role)? }),
                Some(_) => None,
            }
        });
        parsed.ok_or_else(|| refuse(text))
    }

    /// The principal as it is written.
    pub fn to_text(&self) -> String {
        match self {
            Self::Everyone => "*".to_owned(),
            Self::Id(id) => id.to_string(),
            Self::AssumedRole { account, role, session } => {
                let session = session.as_deref().unwrap_or("*");
                format!("arn:sts::{account}:assumed-role/{role}/{session}")
            }
            Self::Account(account) => format!("acs:ram::{account}:root"),
            Self::User { account, name } => format!("acs:ram::{account}:user/{name}"),
            Self::Role { account, name } => format!("acs:ram::{account}:role/{name}"),
        }
    }

    /// Whether a caller is meant.
    pub fn matches(&self, caller: &Caller<'_>) -> bool {
        match (self, caller) {
            (Self::Everyone, _) => true,
            (Self::Id(wanted), Caller::Root { account: id })
            | (Self::Id(wanted), Caller::User { id, .. } | Caller::Role { id, .. }) => {
                **wanted == **id
            }
            (
                Self::AssumedRole { account, role, session },
                Caller::Role { account: own, name, session: own_session, .. },
            ) => {
                **account == **own
                    && **role == **name
                    && session.as_deref().is_none_or(|wanted| wanted == *own_session)
            }
            (Self::Account(account), caller) => caller.account() == Some(account),
            (Self::User { account, name }, Caller::User { account: own, name: own_name, .. })
            | (Self::Role { account, name }, Caller::Role { account: own, name: own_name, .. }) => {
                **account == **own && **name == **own_name
            }
            _ => false,
        }
    }

    /// Whether the principal is written without a wildcard.
    pub(crate) fn is_fixed(&self) -> bool {
        !matches!(self, Self::Everyone | Self::AssumedRole { session: None, .. })
    }
}

fn refuse(text: &str) -> PolicyError {
    PolicyError::syntax(format!("the principal {text:?} is not valid"))
}

fn is_id(text: &str) -> bool {
    (1..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit())
}

/// User, role and session names.
fn is_name(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'@' | b'-' | b'_');
    (1..=64).contains(&text.len()) && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_policies_name_ids_sessions_and_everybody() {
        for good in ["*", "1234", "arn:sts::1:assumed-role/Role.x/*", "arn:sts::1:assumed-role/r/s"]
        {
            assert_eq!(PrincipalPattern::parse(good).unwrap().to_text(), good);
        }
        let bad = [
            "",
            "12*",
            "user",
            "acs:ram::1:root",
            "arn:sts::1:assumed-role/x",
            "arn:sts::1:assumed-role//s",
            "arn:sts::x:assumed-role/r/s",
            "arn:sts::1:assumed-role/r/s/t",
        ];
        for bad in bad {
            assert!(PrincipalPattern::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn trust_policies_name_accounts_users_and_roles() {
        for good in ["acs:ram::1:root", "acs:ram::1:user/bob", "acs:ram::1:role/r"] {
            assert_eq!(PrincipalPattern::parse_trusted(good).unwrap().to_text(), good);
        }
        for bad in ["*", "1", "acs:ram::*:root", "acs:ram::1:user/", "acs:ram::1:group/g"] {
            assert!(PrincipalPattern::parse_trusted(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_account_id_means_its_root_alone() {
        let id = PrincipalPattern::parse("1").unwrap();
        assert!(id.matches(&Caller::Root { account: "1" }));
        assert!(!id.matches(&Caller::User { account: "1", id: "2", name: "u" }));
        let trusted = PrincipalPattern::parse_trusted("acs:ram::1:root").unwrap();
        assert!(trusted.matches(&Caller::User { account: "1", id: "2", name: "u" }));
        assert!(!trusted.matches(&Caller::Anonymous));
    }
}
