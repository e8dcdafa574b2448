//! One account of a snapshot: policies compiled, secrets opened.

use std::collections::HashMap;
use std::sync::Arc;

use vb_policy::{Kind, Policy};

use crate::candidate::LastUse;
use crate::record::{Account, Grants, Key, User};
use crate::seal::{self, OpenError, Purpose};
use crate::token::Lineage;
use crate::{
    AccountId, AuthenticateError, Candidate, KeyId, KeyRing, Name, Principal, Secret, SecretError,
    Uid,
};

/// One account, ready for requests.
#[derive(Debug)]
pub(crate) struct Compiled {
    pub(crate) id: AccountId,
    pub(crate) record: Arc<Account>,
    pub(crate) keys: Vec<CompiledKey>,
    /// Of roles, by id.
    pub(crate) roles: HashMap<Uid, Arc<[Arc<Policy>]>>,
    policies: HashMap<Box<str>, (Arc<str>, Arc<Policy>)>,
}

/// One access key, ready for requests.
#[derive(Debug)]
pub(crate) struct CompiledKey {
    pub(crate) user: Name,
    uid: Uid,
    pub(crate) record: Key,
    pub(crate) used: Arc<LastUse>,
    pub(crate) answer: Result<Arc<Candidate>, AuthenticateError>,
}

impl Compiled {
    pub(crate) fn new(
        id: &AccountId,
        record: &Arc<Account>,
        ring: Option<&KeyRing>,
        before: Option<&Self>,
    ) -> Self {
        let policies = compile_policies(id, record, before);
        let mut compiled = Self {
            id: id.clone(),
            record: Arc::clone(record),
            keys: Vec::new(),
            roles: HashMap::new(),
            policies,
        };
        let roles = record.roles.iter().map(|(name, role)| {
            let holder = format!("role/{name}");
            (role.id, compiled.of_grants(id, &holder, &role.grants).into())
        });
        compiled.roles = roles.collect();
        let known = known_keys(before);
        let users = record.users.iter().filter(|(_, user)| !user.keys.is_empty());
        let keys = users.flat_map(|(name, user)| {
            let policies: Arc<[_]> = compiled.user_policies(id, name, user).into();
            let uid: Arc<str> = user.id.to_string().into();
            let compile = |key: &Key| {
                let caller = KeyOwner { account: id, name, user, uid: &uid, policies: &policies };
                compiled.compile_key(&caller, key, ring, known.get(&key.id).copied())
            };
            user.keys.iter().map(compile).collect::<Vec<_>>()
        });
        compiled.keys = keys.collect();
        compiled
    }

    /// A user's own policies and those of its groups.
    pub(crate) fn user_policies(
        &self,
        id: &AccountId,
        name: &Name,
        user: &User,
    ) -> Vec<Arc<Policy>> {
        let mut policies = self.of_grants(id, &format!("user/{name}"), &user.grants);
        for group in &user.groups {
            if let Some(record) = self.record.groups.get(group) {
                policies.extend(self.of_grants(id, &format!("group/{group}"), &record.grants));
            }
        }
        policies
    }

    fn of_grants(&self, id: &AccountId, holder: &str, grants: &Grants) -> Vec<Arc<Policy>> {
        let attached = grants.attached.iter().map(|name| label(id, "policy", name));
        let inline = grants.inline.keys().map(|name| label(id, holder, name));
        let find = |label: String| {
            let (_, policy) = self.policies.get(&*label).expect("every policy was compiled");
            Arc::clone(policy)
        };
        attached.chain(inline).map(find).collect()
    }

    fn compile_key(
        &self,
        owner: &KeyOwner<'_>,
        key: &Key,
        ring: Option<&KeyRing>,
        known: Option<&CompiledKey>,
    ) -> CompiledKey {
        let used = match known {
            Some(known) => Arc::clone(&known.used),
            None => Arc::new(LastUse::new(key.used_ms)),
        };
        // What was opened for another user is not open for this one.
        let reusable =
            known.filter(|known| known.record.secret == key.secret && known.uid == owner.user.id);
        let secret = reusable.and_then(|known| known.answer.as_ref().ok()).map_or_else(
            || open_secret(owner, key, ring),
            |candidate| Ok(candidate.secret.clone()),
        );
        let answer = match secret {
            _ if self.record.suspended => Err(AuthenticateError::AccountSuspended),
            _ if !(owner.user.enabled && key.enabled) => Err(AuthenticateError::DisabledKey),
            Err(error) => Err(AuthenticateError::SecretUnavailable(error)),
            Ok(secret) => Ok(Arc::new(Candidate {
                secret,
                principal: owner.principal(key),
                policies: Arc::clone(owner.policies),
                session_policy: None,
                networks: key.networks.clone(),
                expires_ms: None,
                lineage: Lineage(vec![
                    (owner.account.number(), self.record.revoked),
                    (owner.user.id.0, owner.user.revoked),
                ]),
                used: Some(Arc::clone(&used)),
            })),
        };
        CompiledKey {
            user: owner.name.clone(),
            uid: owner.user.id,
            record: key.clone(),
            used,
            answer,
        }
    }
}

/// A user with what its keys have in common.
struct KeyOwner<'a> {
    account: &'a AccountId,
    name: &'a Name,
    user: &'a User,
    uid: &'a Arc<str>,
    policies: &'a Arc<[Arc<Policy>]>,
}

impl KeyOwner<'_> {
    fn principal(&self, key: &Key) -> Principal {
        Principal::User {
            account: self.account.clone(),
            uid: Arc::clone(self.uid),
            name: self.name.clone(),
            access_key_id: key.id.as_str().into(),
        }
    }
}

fn known_keys(before: Option<&Compiled>) -> HashMap<&KeyId, &CompiledKey> {
    let keys = before.into_iter().flat_map(|account| &account.keys);
    keys.map(|key| (&key.record.id, key)).collect()
}

/// What a secret is bound to when it is sealed.
pub(crate) fn secret_owner(account: &AccountId, user: Uid, key: &KeyId) -> Vec<u8> {
    // The first two have a fixed length, so that no two owners have the same bytes.
    [account.as_str().as_bytes(), &user.0.to_le_bytes(), key.as_str().as_bytes()].concat()
}

fn open_secret(
    owner: &KeyOwner<'_>,
    key: &Key,
    ring: Option<&KeyRing>,
) -> Result<Secret, SecretError> {
    let ring = ring.ok_or(SecretError::NoKeyRing)?;
    let bound_to = secret_owner(owner.account, owner.user.id, &key.id);
    let ring_key = key.secret.ring_key().unwrap_or_default();
    let refused = || SecretError::Refused(ring_key.into());
    match seal::open(ring.keys(), Purpose::Secret, &bound_to, &key.secret.0) {
        Ok(text) => std::str::from_utf8(&text).ok().and_then(Secret::parse).ok_or_else(refused),
        Err(OpenError::UnknownRingKey(id)) => Err(SecretError::UnknownRingKey(id)),
        Err(OpenError::Malformed | OpenError::Refused) => Err(refused()),
    }
}

/// The name of a policy in logs and explanations.
fn label(account: &AccountId, holder: &str, name: &Name) -> String {
    format!("acs:ram::{account}:{holder}/{name}")
}

/// All policies of an account by their labels.
fn compile_policies(
    id: &AccountId,
    record: &Account,
    before: Option<&Compiled>,
) -> HashMap<Box<str>, (Arc<str>, Arc<Policy>)> {
    let managed =
        record.policies.iter().map(|(name, policy)| (label(id, "policy", name), &policy.text));
    let users = record.users.iter().map(|(name, user)| (format!("user/{name}"), &user.grants));
    let groups = record.groups.iter().map(|(name, group)| (format!("group/{name}"), &group.grants));
    let roles = record.roles.iter().map(|(name, role)| (format!("role/{name}"), &role.grants));
    let inline = users.chain(groups).chain(roles).flat_map(|(holder, grants)| {
        grants.inline.iter().map(move |(name, text)| (label(id, &holder, name), text))
    });
    let compile = |(label, text): (String, &Arc<str>)| {
        let known = before.and_then(|before| before.policies.get(&*label));
        let policy = match known {
            Some((old, policy)) if old == text => Arc::clone(policy),
            _ => Arc::new(Policy::stored(Kind::Identity, &label, text.as_bytes())),
        };
        (label.into(), (Arc::clone(text), policy))
    };
    managed.chain(inline).map(compile).collect()
}
