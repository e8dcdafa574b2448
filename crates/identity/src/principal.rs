//! The caller of a request, after authentication.

use crate::AccountId;

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
}

impl Principal {
    /// The caller's account.
    pub fn account(&self) -> Option<&AccountId> {
        match self {
            Principal::Anonymous => None,
            Principal::Root { account, .. } => Some(account),
        }
    }

    /// The access key that signed the request.
    pub fn access_key_id(&self) -> Option<&str> {
        match self {
            Principal::Anonymous => None,
            Principal::Root { access_key_id, .. } => Some(access_key_id),
        }
    }

    /// Whether the caller is the root of an account.
    pub fn is_root_of(&self, owner: &AccountId) -> bool {
        matches!(self, Principal::Root { account, .. } if account == owner)
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
        assert_eq!(Principal::Anonymous.account(), None);
    }
}
