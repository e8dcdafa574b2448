//! Names and numeric ids of users, groups, roles and policies.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// A name of a user, group, role or policy: 1 to 64 characters of `0-9A-Za-z . _ -`.
///
/// Names are compared with case, but no two of a kind in one account differ in case alone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Arc<str>);

impl Name {
    /// Checks the rule; `None` if it is broken.
    pub fn parse(text: &str) -> Option<Self> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        let valid = (1..=64).contains(&text.len()) && text.bytes().all(allowed);
        valid.then(|| Self(text.into()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether two names are the same but for case.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

crate::codec::format_of_text!(Name, "not a name");

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The numeric id of a user or role: 18 digits, never used again.
///
/// Users begin with 2 and roles with 3; account ids have 16 digits. So one number says what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Uid(pub u64);

const KIND: u64 = 100_000_000_000_000_000;

impl Uid {
    /// A user's id, of a random number.
    pub(crate) fn user(random: u128) -> Self {
        Self(2 * KIND + low(random))
    }

    /// A role's id, of a random number.
    pub(crate) fn role(random: u128) -> Self {
        Self(3 * KIND + low(random))
    }

    pub(crate) fn is_user(self) -> bool {
        self.0 / KIND == 2
    }

    pub(crate) fn is_role(self) -> bool {
        self.0 / KIND == 3
    }
}

fn low(random: u128) -> u64 {
    u64::try_from(random % u128::from(KIND)).expect("the remainder has 17 digits")
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:018}", self.0)
    }
}

/// Whether a text can name a role session: 2 to 64 characters of `0-9A-Za-z . @ - _`.
pub(crate) fn is_session_name(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'@' | b'-' | b'_');
    (2..=64).contains(&text.len()) && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_a_rule() {
        for good in ["a", "Alice.B_c-9", &"x".repeat(64)] {
            assert!(Name::parse(good).is_some(), "{good}");
        }
        for bad in ["", "a b", "a/b", "é", "a@b", "*", "a:b", &"x".repeat(65)] {
            assert!(Name::parse(bad).is_none(), "{bad}");
        }
        for bad in ["a", "a b", "a/b", &"x".repeat(65)] {
            assert!(!is_session_name(bad), "{bad}");
        }
        assert!(is_session_name("a@b"));
    }

    #[test]
    fn ids_say_what_they_are() {
        for random in [0, 1, u128::MAX] {
            assert!(Uid::user(random).is_user() && !Uid::user(random).is_role());
            assert!(Uid::role(random).is_role() && Uid::role(random).to_string().len() == 18);
        }
    }
}
