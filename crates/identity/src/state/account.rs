//! What commands do to one account.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Outcome, Rejection};
use crate::command::{Action, Entry, Holder, KeyUse, Limits, Resealed, Sessions};
use crate::record::{Account, Grants, Group, Key, ManagedPolicy, Role, User};
use crate::{KeyId, Name, Networks, Uid};

/// Whether something may be added to `there` under this name.
fn check_new<T>(there: &BTreeMap<Name, T>, name: &Name, max: u32) -> Outcome {
    if there.keys().any(|other| other.is_like(name)) {
        return Err(Rejection::Exists);
    }
    check_room(there.len(), max)
}

fn check_room(count: usize, max: u32) -> Outcome {
    if count >= max as usize { Err(Rejection::TooMany) } else { Ok(()) }
}

impl Account {
    /// Applies what is about this account; a rejected action changes nothing.
    pub(super) fn apply(&mut self, action: &Action, entry: &Entry) -> Outcome {
        match action {
            Action::SetAccountComment { comment } => self.comment.clone_from(comment),
            Action::SuspendAccount { suspended } => self.suspended = *suspended,
            Action::SetBlockPublicAccess { block } => self.block_public_access = *block,
            Action::SetQuotas { quotas } => self.quotas = *quotas,
            Action::RevokeSessions { of } => return self.revoke(of),
            Action::Reseal { secrets } => return self.reseal(secrets),
            Action::NoteUse { keys } => self.note_use(keys),
            _ => return self.apply_to_member(action, entry),
        }
        Ok(())
    }

    /// Users and groups; what is about roles, policies and keys is passed on.
    fn apply_to_member(&mut self, action: &Action, entry: &Entry) -> Outcome {
        match action {
            Action::CreateUser { user, comment } => return self.create_user(user, comment, entry),
            Action::SetUserComment { user, comment } => {
                self.user_mut(user)?.comment.clone_from(comment);
            }
            Action::EnableUser { user, enabled } => self.user_mut(user)?.enabled = *enabled,
            Action::DeleteUser { user, force } => return self.delete_user(user, *force),
            Action::CreateGroup { group, comment } => {
                return self.create_group(group, comment, entry);
            }
            Action::SetGroupComment { group, comment } => {
                self.group_mut(group)?.comment.clone_from(comment);
            }
            Action::DeleteGroup { group, force } => return self.delete_group(group, *force),
            Action::AddMember { group, user } => {
                return self.add_member(group, user, &entry.limits);
            }
            Action::RemoveMember { group, user } => return self.remove_member(group, user),
            _ => return self.apply_to_grant(action, entry),
        }
        Ok(())
    }

    /// Roles, policies and who has them; what is about keys is passed on.
    fn apply_to_grant(&mut self, action: &Action, entry: &Entry) -> Outcome {
        match action {
            Action::CreateRole { role, comment, trust, session_s_max } => {
                return self.create_role(role, comment, trust, *session_s_max, entry);
            }
            Action::SetRoleComment { role, comment } => {
                self.role_mut(role)?.comment.clone_from(comment);
            }
            Action::SetTrust { role, trust } => self.role_mut(role)?.trust.clone_from(trust),
            Action::SetSessionMax { role, session_s_max } => {
                self.role_mut(role)?.session_s_max = *session_s_max;
            }
            Action::DeleteRole { role, force } => return self.delete_role(role, *force),
            Action::CreatePolicy { policy, comment, text } => {
                return self.create_policy(policy, comment, text, entry);
            }
            Action::SetPolicy { policy, text, version } => {
                return self.set_policy(policy, text, *version, entry.at_ms);
            }
            Action::SetPolicyComment { policy, comment } => {
                self.policy_mut(policy)?.comment.clone_from(comment);
            }
            Action::DeletePolicy { policy } => return self.delete_policy(policy),
            Action::Attach { to, policy } => return self.attach(to, policy, &entry.limits),
            Action::Detach { from, policy } => {
                let detached = self.grants_mut(from)?.attached.remove(policy);
                return if detached { Ok(()) } else { Err(Rejection::NotAttached) };
            }
            Action::PutInline { to, name, text } => {
                return self.grants_mut(to)?.put_inline(name, text, &entry.limits);
            }
            Action::DeleteInline { from, name } => {
                let removed = self.grants_mut(from)?.inline.remove(name);
                return removed.map(drop).ok_or(Rejection::NoSuchPolicy);
            }
            _ => return self.apply_to_key(action, entry),
        }
        Ok(())
    }

    fn apply_to_key(&mut self, action: &Action, entry: &Entry) -> Outcome {
        match action {
            Action::AddKey { user, uid, key, secret } => {
                let user = self.user_mut(user)?;
                // The secret is bound to the id of a user who was deleted meanwhile.
                if user.id != *uid {
                    return Err(Rejection::Changed);
                }
                check_room(user.keys.len(), entry.limits.keys_per_user)?;
                user.keys.push(Key {
                    id: key.clone(),
                    created_ms: entry.at_ms,
                    enabled: true,
                    networks: Networks::default(),
                    used_ms: 0,
                    secret: secret.clone(),
                });
            }
            Action::EnableKey { user, key, enabled } => {
                self.key_mut(user, key)?.enabled = *enabled;
            }
            Action::LimitKey { user, key, networks } => {
                self.key_mut(user, key)?.networks = networks.clone();
            }
            Action::DeleteKey { user, key } => {
                self.key_mut(user, key)?;
                self.user_mut(user)?.keys.retain(|other| other.id != *key);
            }
            _ => unreachable!("every other action was applied before"),
        }
        Ok(())
    }

    /// Whether what is attached exists, and the users' groups do.
    pub(super) fn references_exist(&self) -> bool {
        let attached_exist =
            |grants: &Grants| grants.attached.iter().all(|name| self.policies.contains_key(name));
        let groups_exist =
            |user: &User| user.groups.iter().all(|name| self.groups.contains_key(name));
        self.users.values().all(|user| groups_exist(user)) && self.grants().all(attached_exist)
    }

    /// The grants of all users, groups and roles.
    fn grants(&self) -> impl Iterator<Item = &Grants> {
        let users = self.users.values().map(|user| &user.grants);
        let groups = self.groups.values().map(|group| &group.grants);
        users.chain(groups).chain(self.roles.values().map(|role| &role.grants))
    }

    fn user_mut(&mut self, name: &Name) -> Result<&mut User, Rejection> {
        self.users.get_mut(name).map(Arc::make_mut).ok_or(Rejection::NoSuchUser)
    }

    fn group_mut(&mut self, name: &Name) -> Result<&mut Group, Rejection> {
        self.groups.get_mut(name).map(Arc::make_mut).ok_or(Rejection::NoSuchGroup)
    }

    fn role_mut(&mut self, name: &Name) -> Result<&mut Role, Rejection> {
        self.roles.get_mut(name).map(Arc::make_mut).ok_or(Rejection::NoSuchRole)
    }

    fn policy_mut(&mut self, name: &Name) -> Result<&mut ManagedPolicy, Rejection> {
        self.policies.get_mut(name).map(Arc::make_mut).ok_or(Rejection::NoSuchPolicy)
    }

    fn grants_mut(&mut self, holder: &Holder) -> Result<&mut Grants, Rejection> {
        match holder {
            Holder::User(name) => Ok(&mut self.user_mut(name)?.grants),
            Holder::Group(name) => Ok(&mut self.group_mut(name)?.grants),
            Holder::Role(name) => Ok(&mut self.role_mut(name)?.grants),
        }
    }

    fn key_mut(&mut self, user: &Name, key: &KeyId) -> Result<&mut Key, Rejection> {
        let keys = &mut self.user_mut(user)?.keys;
        keys.iter_mut().find(|other| other.id == *key).ok_or(Rejection::NoSuchKey)
    }

    fn create_user(&mut self, name: &Name, comment: &str, entry: &Entry) -> Outcome {
        check_new(&self.users, name, entry.limits.users)?;
        let user = User {
            id: Uid::user(entry.fresh.into()),
            comment: comment.into(),
            created_ms: entry.at_ms,
            enabled: true,
            revoked: 0,
            groups: BTreeSet::new(),
            grants: Grants::default(),
            keys: Vec::new(),
        };
        self.users.insert(name.clone(), Arc::new(user));
        Ok(())
    }

    fn delete_user(&mut self, name: &Name, force: bool) -> Outcome {
        let user = self.user_mut(name)?;
        let empty = user.keys.is_empty() && user.groups.is_empty() && user.grants.is_empty();
        if !(empty || force) {
            return Err(Rejection::NotEmpty);
        }
        self.users.remove(name);
        Ok(())
    }

    fn create_group(&mut self, name: &Name, comment: &str, entry: &Entry) -> Outcome {
        check_new(&self.groups, name, entry.limits.groups)?;
        let (comment, created_ms) = (comment.into(), entry.at_ms);
        let group = Group { comment, created_ms, grants: Grants::default() };
        self.groups.insert(name.clone(), Arc::new(group));
        Ok(())
    }

    fn delete_group(&mut self, name: &Name, force: bool) -> Outcome {
        let is_empty = self.group_mut(name)?.grants.is_empty();
        let is_member = |user: &&Name| self.users[*user].groups.contains(name);
        let members: Vec<Name> = self.users.keys().filter(is_member).cloned().collect();
        if !(force || is_empty && members.is_empty()) {
            return Err(Rejection::NotEmpty);
        }
        for member in members {
            self.user_mut(&member)?.groups.remove(name);
        }
        self.groups.remove(name);
        Ok(())
    }

    fn add_member(&mut self, group: &Name, user: &Name, limits: &Limits) -> Outcome {
        self.group_mut(group)?;
        let groups = &mut self.user_mut(user)?.groups;
        if !groups.contains(group) {
            check_room(groups.len(), limits.groups_per_user)?;
            groups.insert(group.clone());
        }
        Ok(())
    }

    fn remove_member(&mut self, group: &Name, user: &Name) -> Outcome {
        self.group_mut(group)?;
        let removed = self.user_mut(user)?.groups.remove(group);
        if removed { Ok(()) } else { Err(Rejection::NotMember) }
    }

    fn create_role(
        &mut self,
        name: &Name,
        comment: &str,
        trust: &Arc<str>,
        session_s_max: u32,
        entry: &Entry,
    ) -> Outcome {
        check_new(&self.roles, name, entry.limits.roles)?;
        let role = Role {
            id: Uid::role(entry.fresh.into()),
            comment: comment.into(),
            created_ms: entry.at_ms,
            trust: Arc::clone(trust),
            session_s_max,
            revoked: 0,
            grants: Grants::default(),
        };
        self.roles.insert(name.clone(), Arc::new(role));
        Ok(())
    }

    fn delete_role(&mut self, name: &Name, force: bool) -> Outcome {
        if !(force || self.role_mut(name)?.grants.is_empty()) {
            return Err(Rejection::NotEmpty);
        }
        self.roles.remove(name).map(drop).ok_or(Rejection::NoSuchRole)
    }

    fn create_policy(
        &mut self,
        name: &Name,
        comment: &str,
        text: &Arc<str>,
        entry: &Entry,
    ) -> Outcome {
        check_new(&self.policies, name, entry.limits.policies)?;
        let policy = ManagedPolicy {
            comment: comment.into(),
            created_ms: entry.at_ms,
            changed_ms: entry.at_ms,
            version: 1,
            text: Arc::clone(text),
        };
        self.policies.insert(name.clone(), Arc::new(policy));
        Ok(())
    }

    fn set_policy(
        &mut self,
        name: &Name,
        text: &Arc<str>,
        version: Option<u32>,
        at_ms: u64,
    ) -> Outcome {
        let policy = self.policy_mut(name)?;
        if version.is_some_and(|version| version != policy.version) {
            return Err(Rejection::Changed);
        }
        policy.text = Arc::clone(text);
        policy.version = policy.version.wrapping_add(1);
        policy.changed_ms = at_ms;
        Ok(())
    }

    fn delete_policy(&mut self, name: &Name) -> Outcome {
        self.policy_mut(name)?;
        if self.grants().any(|grants| grants.attached.contains(name)) {
            return Err(Rejection::InUse);
        }
        self.policies.remove(name);
        Ok(())
    }

    fn attach(&mut self, holder: &Holder, policy: &Name, limits: &Limits) -> Outcome {
        self.policy_mut(policy)?;
        let attached = &mut self.grants_mut(holder)?.attached;
        if !attached.contains(policy) {
            check_room(attached.len(), limits.attached)?;
            attached.insert(policy.clone());
        }
        Ok(())
    }

    fn revoke(&mut self, of: &Sessions) -> Outcome {
        let revoked = match of {
            Sessions::OfAccount => &mut self.revoked,
            Sessions::OfUser(name) => &mut self.user_mut(name)?.revoked,
            Sessions::OfRole(name) => &mut self.role_mut(name)?.revoked,
        };
        *revoked = revoked.saturating_add(1);
        Ok(())
    }

    /// All or none.
    fn reseal(&mut self, secrets: &[Resealed]) -> Outcome {
        for Resealed { user, key, old, .. } in secrets {
            if self.key_mut(user, key)?.secret != *old {
                return Err(Rejection::Changed);
            }
        }
        for Resealed { user, key, new, .. } in secrets {
            self.key_mut(user, key)?.secret = new.clone();
        }
        Ok(())
    }

    fn note_use(&mut self, uses: &[KeyUse]) {
        for KeyUse { user, key, used_ms } in uses {
            if let Ok(key) = self.key_mut(user, key) {
                key.used_ms = key.used_ms.max(*used_ms);
            }
        }
    }
}

impl Grants {
    fn is_empty(&self) -> bool {
        self.attached.is_empty() && self.inline.is_empty()
    }

    fn put_inline(&mut self, name: &Name, text: &Arc<str>, limits: &Limits) -> Outcome {
        if !self.inline.contains_key(name) {
            check_new(&self.inline, name, limits.inline)?;
        }
        self.inline.insert(name.clone(), Arc::clone(text));
        Ok(())
    }
}
