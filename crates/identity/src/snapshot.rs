//! What the store said at one moment, ready for requests: nothing is locked, parsed or opened.
//!
//! A snapshot is derived from the state and the snapshot before it: accounts that did not change
//! are taken over whole; within one that did, policies whose text is the same stay compiled and
//! secrets whose seal is the same stay open.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use vb_policy::{Kind, Policy};

use crate::candidate::LastUse;
use crate::credential::SESSION_KEY_ID_PREFIX;
use crate::record::{Account, Grants, Key, User};
use crate::seal::{self, OpenError, Purpose};
use crate::state::State;
use crate::token::{Lineage, Opened, Tokens};
use crate::{
    AccessKey, AccountId, AuthenticateError, Candidate, KeyId, KeyRing, Name, Networks, Principal,
    Roots, Secret, SecretError, Uid,
};

/// All identities at one moment.
#[derive(Debug)]
pub struct Snapshot {
    pub(crate) state: Arc<State>,
    pub(crate) roots: Arc<Roots>,
    pub(crate) tokens: Arc<Tokens>,
    root_candidates: HashMap<Box<str>, Arc<Candidate>>,
    accounts: HashMap<AccountId, Arc<Compiled>>,
    keys: HashMap<KeyId, KeyPlace>,
    standing: HashMap<u64, Standing>,
    /// The store was not heard of for longer than can be vouched for.
    pub(crate) stale: AtomicBool,
}

/// Where an access key is found.
#[derive(Debug)]
struct KeyPlace {
    account: Arc<Compiled>,
    place: usize,
}

/// One account, ready for requests.
#[derive(Debug)]
struct Compiled {
    id: AccountId,
    record: Arc<Account>,
    keys: Vec<CompiledKey>,
    /// Of roles, by id.
    roles: HashMap<Uid, Arc<[Arc<Policy>]>>,
    policies: HashMap<Box<str>, (Arc<str>, Arc<Policy>)>,
}

/// One access key, ready for requests.
#[derive(Debug)]
struct CompiledKey {
    user: Name,
    record: Key,
    used: Arc<LastUse>,
    answer: Result<Arc<Candidate>, AuthenticateError>,
}

/// Whether somebody's sessions hold.
#[derive(Clone, Copy, Debug)]
struct Standing {
    lives: bool,
    revoked: u32,
}

/// What a caller who is not in a snapshot may be: perhaps too new for it.
pub(crate) enum Lookup {
    Found(Arc<Candidate>),
    /// The answer, unless the snapshot is too old to know.
    Missing(AuthenticateError),
    Refused(AuthenticateError),
}

impl Snapshot {
    pub(crate) fn derive(state: Arc<State>, before: &Self) -> Self {
        Self::build(state, Arc::clone(&before.roots), Arc::clone(&before.tokens), &before.accounts)
    }

    pub(crate) fn first(state: Arc<State>, roots: Arc<Roots>, tokens: Arc<Tokens>) -> Self {
        Self::build(state, roots, tokens, &HashMap::new())
    }

    fn build(
        state: Arc<State>,
        roots: Arc<Roots>,
        tokens: Arc<Tokens>,
        before: &HashMap<AccountId, Arc<Compiled>>,
    ) -> Self {
        let compile = |(id, record): (&AccountId, &Arc<Account>)| {
            let old = before.get(id);
            let compiled = match old {
                Some(old) if Arc::ptr_eq(&old.record, record) => Arc::clone(old),
                _ => Arc::new(Compiled::new(id, record, tokens.ring.as_ref(), old.map(|o| &**o))),
            };
            (id.clone(), compiled)
        };
        let accounts: HashMap<_, _> = state.accounts.iter().map(compile).collect();
        let places = accounts.values().flat_map(|account| {
            account.keys.iter().enumerate().map(|(place, key)| {
                (key.record.id.clone(), KeyPlace { account: Arc::clone(account), place })
            })
        });
        let keys = places.collect();
        let standing = state.accounts.iter().flat_map(|(id, record)| standing_of(id, record));
        let standing = standing.collect();
        let root_candidates = roots.iter().map(|key| (key.id.clone(), root(key, &state))).collect();
        let stale = AtomicBool::new(false);
        Self { state, roots, tokens, root_candidates, accounts, keys, standing, stale }
    }

    /// Who an access key id and a security token claim to be, at this moment.
    ///
    /// Constant time in the number of identities; no lock. What a session's token says is
    /// remembered, so that it is opened once and not per request.
    ///
    /// # Errors
    ///
    /// See [`AuthenticateError`].
    pub fn authenticate(
        &self,
        access_key_id: &str,
        token: Option<&str>,
        now_ms: u64,
    ) -> Result<Arc<Candidate>, AuthenticateError> {
        match self.look_up(access_key_id, token, now_ms) {
            Lookup::Found(candidate) => Ok(candidate),
            Lookup::Missing(error) | Lookup::Refused(error) => Err(error),
        }
    }

    pub(crate) fn look_up(&self, key: &str, token: Option<&str>, now_ms: u64) -> Lookup {
        if let Some(root) = self.root_candidates.get(key) {
            return self.look_up_root(root, token);
        }
        if self.stale.load(Ordering::Relaxed) {
            return Lookup::Refused(AuthenticateError::Stale);
        }
        if key.starts_with(SESSION_KEY_ID_PREFIX) {
            return self.look_up_session(key, token, now_ms);
        }
        match self.keys.get(key).map(KeyPlace::key) {
            None => Lookup::Missing(AuthenticateError::UnknownKey),
            Some(_) if token.is_some() => Lookup::Refused(AuthenticateError::TokenUnexpected),
            Some(key) => match &key.answer {
                Ok(candidate) => Lookup::Found(Arc::clone(candidate)),
                Err(error) => Lookup::Refused(error.clone()),
            },
        }
    }

    fn look_up_root(&self, root: &Arc<Candidate>, token: Option<&str>) -> Lookup {
        let account = root.principal.account().and_then(|id| self.account(id));
        if account.is_some_and(|account| account.suspended) {
            return Lookup::Refused(AuthenticateError::AccountSuspended);
        }
        match token {
            Some(_) => Lookup::Refused(AuthenticateError::TokenUnexpected),
            None => Lookup::Found(Arc::clone(root)),
        }
    }

    fn look_up_session(&self, key: &str, token: Option<&str>, now_ms: u64) -> Lookup {
        let Some(token) = token else {
            return Lookup::Refused(AuthenticateError::TokenMissing);
        };
        let opened = match self.tokens.open(key, token, now_ms) {
            Ok(opened) => opened,
            Err(error) => return Lookup::Refused(error),
        };
        let claims = &opened.claims;
        let role = self.accounts.get(&claims.account).and_then(|a| a.roles.get(&claims.role));
        let Some(role) = role else {
            return Lookup::Missing(AuthenticateError::SessionRevoked);
        };
        match self.holds(&claims.lineage) {
            Some(true) => Lookup::Found(Arc::new(session(&opened, Arc::clone(role)))),
            Some(false) => Lookup::Refused(AuthenticateError::SessionRevoked),
            None => Lookup::Missing(AuthenticateError::SessionRevoked),
        }
    }

    /// Whether everybody of a lineage still stands behind it. `None`: somebody is not known.
    fn holds(&self, lineage: &Lineage) -> Option<bool> {
        let mut all = true;
        for (id, revoked) in &lineage.0 {
            let standing = self.standing_of(*id)?;
            all &= standing.lives && *revoked >= standing.revoked;
        }
        Some(all)
    }

    /// Of roots whose account has no record there is nothing to tell but that they are there.
    fn standing_of(&self, id: u64) -> Option<Standing> {
        let root = || {
            let rooted = self.roots.iter().any(|key| key.account.number() == id);
            rooted.then_some(Standing { lives: true, revoked: 0 })
        };
        self.standing.get(&id).copied().or_else(root)
    }

    /// The lineage of somebody who is known: the account, and the user or role.
    pub(crate) fn lineage_of(&self, ids: impl IntoIterator<Item = u64>) -> Vec<(u64, u32)> {
        let of = |id| (id, self.standing_of(id).map_or(0, |standing| standing.revoked));
        ids.into_iter().map(of).collect()
    }

    /// An account's record; roots need none.
    pub fn account(&self, id: &AccountId) -> Option<&Account> {
        self.state.accounts.get(id).map(|account| &**account)
    }

    /// All accounts with a record, by id.
    pub fn accounts(&self) -> impl ExactSizeIterator<Item = (&AccountId, &Account)> {
        self.state.accounts.iter().map(|(id, account)| (id, &**account))
    }

    /// Whether an account is known, by a record or by its root's keys.
    pub fn has_account(&self, id: &AccountId) -> bool {
        self.state.accounts.contains_key(id) || self.roots.has_account(id)
    }

    /// Whose access key it is.
    pub fn owner_of(&self, access_key_id: &str) -> Option<(&AccountId, &Name)> {
        let place = self.keys.get(access_key_id)?;
        Some((&place.account.id, &place.key().user))
    }

    /// The compiled policies of a user and its groups, as its requests would meet them.
    pub fn policies_of_user(&self, account: &AccountId, user: &Name) -> Option<Vec<Arc<Policy>>> {
        let compiled = self.accounts.get(account)?;
        let record = compiled.record.users.get(user)?;
        Some(compiled.user_policies(account, user, record))
    }

    /// The compiled policies of a role, as its sessions would meet them.
    pub fn policies_of_role(&self, account: &AccountId, role: &Name) -> Option<Arc<[Arc<Policy>]>> {
        let compiled = self.accounts.get(account)?;
        compiled.roles.get(&compiled.record.roles.get(role)?.id).cloned()
    }

    /// Keys whose secrets cannot be opened, and why: nobody gets in with them.
    pub fn unavailable(&self) -> impl Iterator<Item = (&KeyId, &SecretError)> {
        self.keys.values().filter_map(|place| match &place.key().answer {
            Err(AuthenticateError::SecretUnavailable(error)) => {
                Some((&place.key().record.id, error))
            }
            _ => None,
        })
    }

    /// Keys whose last use is later than their record says, by `by_ms` at least.
    pub(crate) fn used_since(&self, by_ms: u64) -> Vec<(AccountId, Name, KeyId, u64)> {
        let of_account = |(id, account): (&AccountId, &Arc<Compiled>)| {
            let used = account
                .keys
                .iter()
                .filter(|key| key.used.ms() >= key.record.used_ms.saturating_add(by_ms.max(1)));
            used.map(|key| (id.clone(), key.user.clone(), key.record.id.clone(), key.used.ms()))
                .collect::<Vec<_>>()
        };
        self.accounts.iter().flat_map(of_account).collect()
    }

    /// When a key was last used: as stored, or seen here since.
    pub fn used_ms(&self, access_key_id: &str) -> Option<u64> {
        self.keys.get(access_key_id).map(|place| place.key().used.ms()).filter(|ms| *ms > 0)
    }
}

impl KeyPlace {
    fn key(&self) -> &CompiledKey {
        &self.account.keys[self.place]
    }
}

fn root(key: &AccessKey, state: &State) -> Arc<Candidate> {
    let revoked = state.accounts.get(&key.account).map_or(0, |account| account.revoked);
    let access_key_id = key.id.clone();
    Arc::new(Candidate {
        secret: key.secret.clone(),
        principal: Principal::Root { account: key.account.clone(), access_key_id },
        policies: Arc::new([]),
        session_policy: None,
        networks: Networks::default(),
        expires_ms: None,
        lineage: Lineage(vec![(key.account.number(), revoked)]),
        used: None,
    })
}

fn session(opened: &Opened, policies: Arc<[Arc<Policy>]>) -> Candidate {
    let claims = &opened.claims;
    Candidate {
        secret: claims.secret.clone(),
        principal: Principal::RoleSession {
            account: claims.account.clone(),
            uid: Arc::clone(&opened.uid),
            role: claims.role_name.clone(),
            session: Arc::clone(&claims.session),
            access_key_id: claims.key.as_str().into(),
        },
        policies,
        session_policy: opened.policy.clone(),
        networks: Networks::default(),
        expires_ms: Some(claims.expires_ms),
        lineage: claims.lineage.clone(),
        used: None,
    }
}

fn standing_of(id: &AccountId, record: &Account) -> Vec<(u64, Standing)> {
    let standing = |lives, revoked| Standing { lives, revoked };
    let users = record.users.values().map(|u| (u.id.0, standing(u.enabled, u.revoked)));
    let roles = record.roles.values().map(|r| (r.id.0, standing(true, r.revoked)));
    let account = (id.number(), standing(!record.suspended, record.revoked));
    users.chain(roles).chain([account]).collect()
}

impl Compiled {
    fn new(
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
    fn user_policies(&self, id: &AccountId, name: &Name, user: &User) -> Vec<Arc<Policy>> {
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
        let reusable = known.filter(|known| known.record.secret == key.secret);
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
        CompiledKey { user: owner.name.clone(), record: key.clone(), used, answer }
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
