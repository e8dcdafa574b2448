//! The caller of a request, after authentication.

use std::fmt;
use std::sync::Arc;

use crate::{AccountId, Name};

/// Who makes a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// Nobody: the request carried no credentials.
    Anonymous,
    /// The root of an account.
    Root {
        /// The account.
        account: AccountId,
        /// The access key that signed.
        access_key_id: Box<str>,
    },
    /// A user of an account.
    User {
        /// The account.
        account: AccountId,
        /// The user's numeric id.
        uid: Arc<str>,
        /// The user's name.
        name: Name,
        /// The access key that signed.
        access_key_id: Box<str>,
    },
    /// Whoever assumed a role, with temporary credentials.
    RoleSession {
        /// The role's account.
        account: AccountId,
        /// The role's numeric id.
        uid: Arc<str>,
        /// The role's name.
        role: Name,
        /// The name the caller gave to the session.
        session: Arc<str>,
        /// The temporary access key that signed.
        access_key_id: Box<str>,
    },
}

impl Principal {
    /// The caller's account.
    pub fn account(&self) -> Option<&AccountId> {
        match self {
            Principal::Anonymous => None,
            Principal::Root { account, .. }
            | Principal::User { account, .. }
            | Principal::RoleSession { account, .. } => Some(account),
        }
    }

    /// The access key that signed the request.
    pub fn access_key_id(&self) -> Option<&str> {
        match self {
            Principal::Anonymous => None,
            Principal::Root { access_key_id, .. }
            | Principal::User { access_key_id, .. }
            | Principal::RoleSession { access_key_id, .. } => Some(access_key_id),
        }
    }

    /// The caller's number: of the account, the user or the role.
    pub fn uid(&self) -> Option<&str> {
        match self {
            Principal::Anonymous => None,
            Principal::Root { account, .. } => Some(account.as_str()),
            Principal::User { uid, .. } | Principal::RoleSession { uid, .. } => Some(uid),
        }
    }

    /// Whether the caller is the root of an account.
    pub fn is_root_of(&self, owner: &AccountId) -> bool {
        matches!(self, Principal::Root { account, .. } if account == owner)
    }

    /// The caller as policies know it.
    pub fn caller(&self) -> vb_policy::Caller<'_> {
        use vb_policy::Caller;
        match self {
            Principal::Anonymous => Caller::Anonymous,
            Principal::Root { account, .. } => Caller::Root { account: account.as_str() },
            Principal::User { account, uid, name, .. } => {
                Caller::User { account: account.as_str(), id: uid, name: name.as_str() }
            }
            Principal::RoleSession { account, uid, role, session, .. } => {
                Caller::Role { account: account.as_str(), id: uid, name: role.as_str(), session }
            }
        }
    }
}

/// The name of the caller for logs: an ARN, or `anonymous`.
impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Principal::Anonymous => f.write_str("anonymous"),
            Principal::Root { account, .. } => write!(f, "acs:ram::{account}:root"),
            Principal::User { account, name, .. } => write!(f, "acs:ram::{account}:user/{name}"),
            Principal::RoleSession { account, role, session, .. } => {
                write!(f, "acs:ram::{account}:assumed-role/{role}/{session}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_is_root_of_one_account() {
        let account = |text| AccountId::parse(text).unwrap();
        let root =
            Principal::Root { account: account("1234567890123456"), access_key_id: "k".into() };
        assert!(root.is_root_of(&account("1234567890123456")));
        assert!(!root.is_root_of(&account("1234567890123457")));
        assert!(!Principal::Anonymous.is_root_of(&account("1234567890123456")));
        assert_eq!(root.access_key_id(), Some("k"));
        assert_eq!(root.uid(), Some("1234567890123456"));
        assert_eq!(Principal::Anonymous.account(), None);
        let user = Principal::User {
            account: account("1234567890123456"),
            uid: "2".into(),
            name: Name::parse("alice").unwrap(),
            access_key_id: "k".into(),
        };
        assert!(!user.is_root_of(&account("1234567890123456")));
        assert_eq!(user.to_string(), "acs:ram::1234567890123456:user/alice");
    }
}
