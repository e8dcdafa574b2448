//! What the store said at one moment, ready for requests: nothing is locked, parsed or opened.
//!
//! A snapshot is derived from the state and the snapshot before it: accounts that did not change
//! are taken over whole; within one that did, policies whose text is the same stay compiled and
//! secrets whose seal is the same stay open.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use vb_policy::Policy;

use crate::compiled::{Compiled, CompiledKey};
use crate::credential::SESSION_KEY_ID_PREFIX;
use crate::record::Account;
use crate::state::State;
use crate::token::{Lineage, Opened, Tokens};
use crate::{
    AccessKey, AccountId, AuthenticateError, Candidate, KeyId, Name, Networks, Principal, Roots,
    SecretError,
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
        let key = self.keys.get(access_key_id)?.key();
        Some(key.used.ms().max(key.record.used_ms)).filter(|ms| *ms > 0)
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
