//! All identities as a replicated state machine.
//!
//! Every process that reads the log applies the same commands in the same order and so reaches the
//! same state and the same outcomes; nothing here looks at a clock or at the texts of policies.
//!
//! Rules:
//! - no two users (groups, roles, policies) of an account have names that differ in case alone;
//! - ids of users and roles and of access keys are unique in the whole store;
//! - what is attached exists, and a user's groups exist;
//! - limits hold when something is added; lowering one takes nothing away.
//!
//! The manifest body is `format u8 = 1`, then the accounts by id.

mod account;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::codec::{DecodeError, Format, Reader};
use crate::command::{Action, Command, Entry};
use crate::record::{Account, Quotas};
use crate::{AccountId, KeyId, Uid};

const FORMAT: u8 = 1;

/// Everything one identity log says.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct State {
    pub(crate) accounts: BTreeMap<AccountId, Arc<Account>>,
}

/// Why a command had no effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Rejection {
    NoSuchAccount,
    NoSuchUser,
    NoSuchGroup,
    NoSuchRole,
    NoSuchPolicy,
    NoSuchKey,
    /// The policy is not attached there.
    NotAttached,
    /// The user is not in the group.
    NotMember,
    /// The name is taken, perhaps in other case.
    Exists,
    /// The limit of such things is reached.
    TooMany,
    /// It still has keys, members, groups, policies, or an account anything.
    NotEmpty,
    /// The policy is still attached.
    InUse,
    /// It was changed meanwhile.
    Changed,
    /// A random id met one that is there: try again.
    IdTaken,
}

pub(crate) type Outcome = Result<(), Rejection>;

impl State {
    /// Applies one command; a rejected one changes nothing.
    pub(crate) fn apply(&mut self, entry: &Entry) -> Outcome {
        let Command { account: id, action } = &entry.command;
        match action {
            Action::CreateAccount { comment } => self.create_account(id, comment, entry.at_ms),
            Action::DeleteAccount => self.delete_account(id),
            Action::CreateUser { .. } | Action::CreateRole { .. } if self.has_uid(entry) => {
                Err(Rejection::IdTaken)
            }
            Action::AddKey { key, .. } if self.has_key(key) => Err(Rejection::IdTaken),
            _ => self.account_mut(id)?.apply(action, entry),
        }
    }

    /// What [`Self::apply`] would answer now.
    pub(crate) fn judge(&self, entry: &Entry) -> Outcome {
        self.clone().apply(entry)
    }

    fn account_mut(&mut self, id: &AccountId) -> Result<&mut Account, Rejection> {
        self.accounts.get_mut(id).map(Arc::make_mut).ok_or(Rejection::NoSuchAccount)
    }

    fn create_account(&mut self, id: &AccountId, comment: &str, at_ms: u64) -> Outcome {
        if self.accounts.contains_key(id) {
            return Err(Rejection::Exists);
        }
        let account = Account {
            comment: comment.into(),
            created_ms: at_ms,
            suspended: false,
            block_public_access: None,
            quotas: Quotas::default(),
            revoked: 0,
            users: BTreeMap::new(),
            groups: BTreeMap::new(),
            roles: BTreeMap::new(),
            policies: BTreeMap::new(),
        };
        self.accounts.insert(id.clone(), Arc::new(account));
        Ok(())
    }

    fn delete_account(&mut self, id: &AccountId) -> Outcome {
        let account = self.account_mut(id)?;
        let empty = account.users.is_empty()
            && account.groups.is_empty()
            && account.roles.is_empty()
            && account.policies.is_empty();
        if !empty {
            return Err(Rejection::NotEmpty);
        }
        self.accounts.remove(id);
        Ok(())
    }

    fn has_uid(&self, entry: &Entry) -> bool {
        let (user, role) = (Uid::user(entry.fresh.into()), Uid::role(entry.fresh.into()));
        self.accounts.values().any(|account| {
            account.users.values().any(|other| other.id == user)
                || account.roles.values().any(|other| other.id == role)
        })
    }

    fn has_key(&self, key: &KeyId) -> bool {
        let mut users = self.accounts.values().flat_map(|account| account.users.values());
        users.any(|user| user.keys.iter().any(|other| other.id == *key))
    }

    /// What the rules say of a state that somebody else wrote down.
    fn keeps_the_rules(&self) -> bool {
        let (mut uids, mut keys) = (BTreeSet::new(), BTreeSet::new());
        self.accounts.values().all(|account| {
            account.references_exist()
                && account.users.values().all(|user| user.id.is_user() && uids.insert(user.id))
                && account.roles.values().all(|role| role.id.is_role() && uids.insert(role.id))
                && account
                    .users
                    .values()
                    .flat_map(|user| &user.keys)
                    .all(|key| keys.insert(&key.id))
        })
    }
}

impl Format for State {
    fn write(&self, out: &mut Vec<u8>) {
        out.push(FORMAT);
        self.accounts.write(out);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        if reader.u8()? != FORMAT {
            return Err(reader.error("unknown format of an identity manifest"));
        }
        let state = Self { accounts: Format::read(reader)? };
        match state.keeps_the_rules() {
            true => Ok(state),
            false => Err(reader.error("identities that break their own rules")),
        }
    }
}
