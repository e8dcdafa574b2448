//! Random commands against a naive model: flat relations, searched from end to end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::command::{Holder, KeyUse, Limits, Resealed, Sessions};
use crate::record::{Grants, Quotas, SealedSecret};
use crate::seal::{Purpose, RingKey};
use crate::{Name, Networks, SystemRandom};

const ACCOUNT: &str = "1234567890123456";

const LIMITS: Limits = Limits {
    users: 3,
    groups: 2,
    roles: 2,
    policies: 3,
    attached: 2,
    inline: 2,
    groups_per_user: 1,
    keys_per_user: 2,
};

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn account() -> AccountId {
    AccountId::parse(ACCOUNT).unwrap()
}

fn entry(fresh: u64, action: Action) -> Entry {
    Entry {
        at_ms: 1000 + fresh,
        fresh,
        limits: LIMITS,
        command: Command { account: account(), action },
    }
}

fn sealed(number: u8) -> SealedSecret {
    let key = RingKey::new("k", &[number; 32]);
    SealedSecret(key.seal(Purpose::Secret, b"", b"secret", &SystemRandom).into())
}

/// Who may hold a policy: kind and name.
type HolderKey = (u8, Name);

fn holder_key(holder: &Holder) -> HolderKey {
    match holder {
        Holder::User(name) => (0, name.clone()),
        Holder::Group(name) => (1, name.clone()),
        Holder::Role(name) => (2, name.clone()),
    }
}

/// The account as relations.
#[derive(Debug, Default, PartialEq)]
struct Model {
    there: bool,
    suspended: bool,
    revoked: u32,
    /// Users with their ids, whether enabled, and how often revoked.
    users: BTreeMap<Name, (Uid, bool, u32)>,
    groups: BTreeSet<Name>,
    roles: BTreeMap<Name, (Uid, u32)>,
    policies: BTreeMap<Name, (Arc<str>, u32)>,
    /// Group and user.
    members: BTreeSet<(Name, Name)>,
    attached: BTreeSet<(HolderKey, Name)>,
    inline: BTreeMap<(HolderKey, Name), Arc<str>>,
    /// By id: the user, whether enabled, last use.
    keys: BTreeMap<KeyId, (Name, bool, u64)>,
}

fn taken<'n>(mut names: impl Iterator<Item = &'n Name>, name: &Name) -> bool {
    names.any(|other| other.as_str().to_lowercase() == name.as_str().to_lowercase())
}

fn require(condition: bool, rejection: Rejection) -> Outcome {
    if condition { Ok(()) } else { Err(rejection) }
}

impl Model {
    fn holder_there(&self, holder: &Holder) -> Outcome {
        match holder {
            Holder::User(name) => require(self.users.contains_key(name), Rejection::NoSuchUser),
            Holder::Group(name) => require(self.groups.contains(name), Rejection::NoSuchGroup),
            Holder::Role(name) => require(self.roles.contains_key(name), Rejection::NoSuchRole),
        }
    }

    fn has_policies(&self, holder: &HolderKey) -> bool {
        self.attached.iter().any(|(h, _)| h == holder)
            || self.inline.keys().any(|(h, _)| h == holder)
    }

    fn forget_holder(&mut self, holder: &HolderKey) {
        self.attached.retain(|(h, _)| h != holder);
        self.inline.retain(|(h, _), _| h != holder);
    }

    fn own_key(&self, user: &Name, key: &KeyId) -> Outcome {
        require(self.users.contains_key(user), Rejection::NoSuchUser)?;
        let own = self.keys.get(key).is_some_and(|(owner, ..)| owner == user);
        require(own, Rejection::NoSuchKey)
    }

    fn apply(&mut self, entry: &Entry) -> Outcome {
        let action = &entry.command.action;
        if let Action::CreateAccount { .. } = action {
            require(!self.there, Rejection::Exists)?;
            self.there = true;
            return Ok(());
        }
        // Ids are looked for before the account is.
        self.check_ids(entry)?;
        require(self.there, Rejection::NoSuchAccount)?;
        match action {
            Action::DeleteAccount => {
                let empty = self.users.is_empty()
                    && self.groups.is_empty()
                    && self.roles.is_empty()
                    && self.policies.is_empty();
                require(empty, Rejection::NotEmpty)?;
                *self = Self::default();
            }
            Action::SuspendAccount { suspended } => self.suspended = *suspended,
            Action::RevokeSessions { of } => match of {
                Sessions::OfAccount => self.revoked += 1,
                Sessions::OfUser(name) => {
                    self.users.get_mut(name).ok_or(Rejection::NoSuchUser)?.2 += 1;
                }
                Sessions::OfRole(name) => {
                    self.roles.get_mut(name).ok_or(Rejection::NoSuchRole)?.1 += 1;
                }
            },
            _ => return self.apply_to_names(action, entry.fresh),
        }
        Ok(())
    }

    fn check_ids(&self, entry: &Entry) -> Outcome {
        let fresh = u128::from(entry.fresh);
        let id_taken = self.users.values().any(|(uid, ..)| *uid == Uid::user(fresh))
            || self.roles.values().any(|(uid, _)| *uid == Uid::role(fresh));
        match &entry.command.action {
            Action::CreateUser { .. } | Action::CreateRole { .. } => {
                require(!id_taken, Rejection::IdTaken)
            }
            Action::AddKey { key, .. } => require(!self.keys.contains_key(key), Rejection::IdTaken),
            _ => Ok(()),
        }
    }

    fn apply_to_names(&mut self, action: &Action, fresh: u64) -> Outcome {
        match action {
            Action::CreateUser { user, .. } => {
                require(!taken(self.users.keys(), user), Rejection::Exists)?;
                require(self.users.len() < 3, Rejection::TooMany)?;
                self.users.insert(user.clone(), (Uid::user(fresh.into()), true, 0));
            }
            Action::EnableUser { user, enabled } => {
                self.users.get_mut(user).ok_or(Rejection::NoSuchUser)?.1 = *enabled;
            }
            Action::DeleteUser { user, force } => {
                require(self.users.contains_key(user), Rejection::NoSuchUser)?;
                let holder = (0, user.clone());
                let busy = self.has_policies(&holder)
                    || self.members.iter().any(|(_, member)| member == user)
                    || self.keys.values().any(|(owner, ..)| owner == user);
                require(!busy || *force, Rejection::NotEmpty)?;
                self.forget_holder(&holder);
                self.members.retain(|(_, member)| member != user);
                self.keys.retain(|_, (owner, ..)| owner != user);
                self.users.remove(user);
            }
            Action::CreateGroup { group, .. } => {
                require(!taken(self.groups.iter(), group), Rejection::Exists)?;
                require(self.groups.len() < 2, Rejection::TooMany)?;
                self.groups.insert(group.clone());
            }
            Action::DeleteGroup { group, force } => {
                require(self.groups.contains(group), Rejection::NoSuchGroup)?;
                let holder = (1, group.clone());
                let busy =
                    self.has_policies(&holder) || self.members.iter().any(|(of, _)| of == group);
                require(!busy || *force, Rejection::NotEmpty)?;
                self.forget_holder(&holder);
                self.members.retain(|(of, _)| of != group);
                self.groups.remove(group);
            }
            Action::AddMember { group, user } => {
                require(self.groups.contains(group), Rejection::NoSuchGroup)?;
                require(self.users.contains_key(user), Rejection::NoSuchUser)?;
                let others = self.members.iter().filter(|(of, m)| m == user && of != group);
                let there = self.members.contains(&(group.clone(), user.clone()));
                require(there || others.count() < 1, Rejection::TooMany)?;
                self.members.insert((group.clone(), user.clone()));
            }
            Action::RemoveMember { group, user } => {
                require(self.groups.contains(group), Rejection::NoSuchGroup)?;
                require(self.users.contains_key(user), Rejection::NoSuchUser)?;
                let removed = self.members.remove(&(group.clone(), user.clone()));
                require(removed, Rejection::NotMember)?;
            }
            Action::CreateRole { role, .. } => {
                require(!taken(self.roles.keys(), role), Rejection::Exists)?;
                require(self.roles.len() < 2, Rejection::TooMany)?;
                self.roles.insert(role.clone(), (Uid::role(fresh.into()), 0));
            }
            Action::DeleteRole { role, force } => {
                let holder = (2, role.clone());
                let busy = self.has_policies(&holder);
                require(self.roles.contains_key(role), Rejection::NoSuchRole)?;
                require(!busy || *force, Rejection::NotEmpty)?;
                self.forget_holder(&holder);
                self.roles.remove(role);
            }
            _ => return self.apply_to_policies(action),
        }
        Ok(())
    }

    fn apply_to_policies(&mut self, action: &Action) -> Outcome {
        match action {
            Action::CreatePolicy { policy, text, .. } => {
                require(!taken(self.policies.keys(), policy), Rejection::Exists)?;
                require(self.policies.len() < 3, Rejection::TooMany)?;
                self.policies.insert(policy.clone(), (text.clone(), 1));
            }
            Action::SetPolicy { policy, text, version } => {
                let there = self.policies.get_mut(policy).ok_or(Rejection::NoSuchPolicy)?;
                require(version.is_none_or(|v| v == there.1), Rejection::Changed)?;
                *there = (text.clone(), there.1 + 1);
            }
            Action::DeletePolicy { policy } => {
                require(self.policies.contains_key(policy), Rejection::NoSuchPolicy)?;
                let used = self.attached.iter().any(|(_, name)| name == policy);
                require(!used, Rejection::InUse)?;
                self.policies.remove(policy);
            }
            Action::Attach { to, policy } => {
                require(self.policies.contains_key(policy), Rejection::NoSuchPolicy)?;
                self.holder_there(to)?;
                let pair = (holder_key(to), policy.clone());
                let count = self.attached.iter().filter(|(h, _)| *h == pair.0).count();
                require(self.attached.contains(&pair) || count < 2, Rejection::TooMany)?;
                self.attached.insert(pair);
            }
            Action::Detach { from, policy } => {
                self.holder_there(from)?;
                let removed = self.attached.remove(&(holder_key(from), policy.clone()));
                require(removed, Rejection::NotAttached)?;
            }
            Action::PutInline { to, name, text } => {
                self.holder_there(to)?;
                let holder = holder_key(to);
                if !self.inline.contains_key(&(holder.clone(), name.clone())) {
                    let names =
                        || self.inline.keys().filter(|(h, _)| *h == holder).map(|(_, name)| name);
                    require(!taken(names(), name), Rejection::Exists)?;
                    require(names().count() < 2, Rejection::TooMany)?;
                }
                self.inline.insert((holder, name.clone()), text.clone());
            }
            Action::DeleteInline { from, name } => {
                self.holder_there(from)?;
                let removed = self.inline.remove(&(holder_key(from), name.clone()));
                require(removed.is_some(), Rejection::NoSuchPolicy)?;
            }
            _ => return self.apply_to_keys(action),
        }
        Ok(())
    }

    fn apply_to_keys(&mut self, action: &Action) -> Outcome {
        match action {
            Action::AddKey { user, uid, key, .. } => {
                let there = self.users.get(user).ok_or(Rejection::NoSuchUser)?;
                require(there.0 == *uid, Rejection::Changed)?;
                let count = self.keys.values().filter(|(owner, ..)| owner == user).count();
                require(count < 2, Rejection::TooMany)?;
                self.keys.insert(key.clone(), (user.clone(), true, 0));
            }
            Action::EnableKey { user, key, enabled } => {
                self.own_key(user, key)?;
                self.keys.get_mut(key).unwrap().1 = *enabled;
            }
            Action::DeleteKey { user, key } => {
                self.own_key(user, key)?;
                self.keys.remove(key);
            }
            Action::NoteUse { keys } => {
                for KeyUse { user, key, used_ms } in keys {
                    if self.own_key(user, key).is_ok() {
                        let used = &mut self.keys.get_mut(key).unwrap().2;
                        *used = (*used).max(*used_ms);
                    }
                }
            }
            other => panic!("the model does not know {other:?}"),
        }
        Ok(())
    }

    /// What the state says, as relations.
    fn of(state: &State) -> Self {
        let Some(record) = state.accounts.get(&account()) else { return Self::default() };
        let mut model = Self {
            there: true,
            suspended: record.suspended,
            revoked: record.revoked,
            groups: record.groups.keys().cloned().collect(),
            ..Self::default()
        };
        for (name, user) in &record.users {
            model.users.insert(name.clone(), (user.id, user.enabled, user.revoked));
            model.members.extend(user.groups.iter().map(|group| (group.clone(), name.clone())));
            let keys = user.keys.iter();
            model
                .keys
                .extend(keys.map(|key| (key.id.clone(), (name.clone(), key.enabled, key.used_ms))));
            model.note_grants(&(0, name.clone()), &user.grants);
        }
        for (name, role) in &record.roles {
            model.roles.insert(name.clone(), (role.id, role.revoked));
            model.note_grants(&(2, name.clone()), &role.grants);
        }
        for (name, group) in &record.groups {
            model.note_grants(&(1, name.clone()), &group.grants);
        }
        let policies = record.policies.iter();
        model.policies =
            policies.map(|(name, p)| (name.clone(), (p.text.clone(), p.version))).collect();
        model
    }

    fn note_grants(&mut self, holder: &HolderKey, grants: &Grants) {
        let attached = grants.attached.iter().map(|name| (holder.clone(), name.clone()));
        self.attached.extend(attached);
        let inline = grants.inline.iter();
        self.inline
            .extend(inline.map(|(name, text)| ((holder.clone(), name.clone()), text.clone())));
    }
}

fn names() -> impl Strategy<Value = Name> {
    prop_oneof!["a", "A", "b", "c", "d"].prop_map(|text| name(&text))
}

fn texts() -> impl Strategy<Value = Arc<str>> {
    prop_oneof!["one", "two"].prop_map(Arc::from)
}

fn key_ids() -> impl Strategy<Value = KeyId> {
    "K[0-5]".prop_map(|text| KeyId::parse(&text).unwrap())
}

fn holders() -> impl Strategy<Value = Holder> {
    prop_oneof![
        names().prop_map(Holder::User),
        names().prop_map(Holder::Group),
        names().prop_map(Holder::Role),
    ]
}

fn actions() -> impl Strategy<Value = Action> {
    let comment = || Just(Box::<str>::from("for people"));
    let versions = || prop_oneof![Just(None), (1u32..3).prop_map(Some)];
    // More than ten arms: the macro boxes them, and the stack is spared.
    prop_oneof![
        3 => comment().prop_map(|comment| Action::CreateAccount { comment }),
        1 => any::<bool>().prop_map(|suspended| Action::SuspendAccount { suspended }),
        1 => Just(Action::DeleteAccount),
        1 => Just(Action::RevokeSessions { of: Sessions::OfAccount }),
        1 => names().prop_map(|name| Action::RevokeSessions { of: Sessions::OfUser(name) }),
        1 => names().prop_map(|name| Action::RevokeSessions { of: Sessions::OfRole(name) }),
        3 => (names(), comment()).prop_map(|(user, comment)| Action::CreateUser { user, comment }),
        1 => (names(), any::<bool>()).prop_map(|(user, enabled)| Action::EnableUser { user, enabled }),
        1 => (names(), any::<bool>()).prop_map(|(user, force)| Action::DeleteUser { user, force }),
        3 => (names(), comment()).prop_map(|(group, comment)| Action::CreateGroup { group, comment }),
        1 => (names(), any::<bool>()).prop_map(|(group, force)| Action::DeleteGroup { group, force }),
        2 => (names(), names()).prop_map(|(group, user)| Action::AddMember { group, user }),
        1 => (names(), names()).prop_map(|(group, user)| Action::RemoveMember { group, user }),
        3 => (names(), comment(), texts()).prop_map(|(role, comment, trust)| {
            Action::CreateRole { role, comment, trust, session_s_max: 3600 }
        }),
        1 => (names(), any::<bool>()).prop_map(|(role, force)| Action::DeleteRole { role, force }),
        3 => (names(), comment(), texts())
            .prop_map(|(policy, comment, text)| Action::CreatePolicy { policy, comment, text }),
        1 => (names(), texts(), versions())
            .prop_map(|(policy, text, version)| Action::SetPolicy { policy, text, version }),
        1 => names().prop_map(|policy| Action::DeletePolicy { policy }),
        3 => (holders(), names()).prop_map(|(to, policy)| Action::Attach { to, policy }),
        1 => (holders(), names()).prop_map(|(from, policy)| Action::Detach { from, policy }),
        3 => (holders(), names(), texts())
            .prop_map(|(to, name, text)| Action::PutInline { to, name, text }),
        1 => (holders(), names()).prop_map(|(from, name)| Action::DeleteInline { from, name }),
        4 => (names(), 0u64..4, key_ids()).prop_map(|(user, fresh, key)| {
            Action::AddKey { user, uid: Uid::user(fresh.into()), key, secret: sealed(1) }
        }),
        1 => (names(), key_ids(), any::<bool>())
            .prop_map(|(user, key, enabled)| Action::EnableKey { user, key, enabled }),
        1 => (names(), key_ids()).prop_map(|(user, key)| Action::DeleteKey { user, key }),
        1 => (names(), key_ids(), 0u64..9).prop_map(|(user, key, used_ms)| {
            Action::NoteUse { keys: vec![KeyUse { user, key, used_ms }] }
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Ids are drawn from so few that they meet.
    #[test]
    fn commands_do_what_a_naive_model_does(
        script in prop::collection::vec((0u64..4, actions()), 1..80),
    ) {
        let (mut state, mut model) = (State::default(), Model::default());
        // Most scripts would otherwise be about an account that is not there.
        let begin = (9, Action::CreateAccount { comment: "".into() });
        for (fresh, action) in [begin].into_iter().chain(script) {
            let entry = entry(fresh, action);
            let decoded = Entry::decode(&entry.encode()).unwrap();
            prop_assert_eq!(&decoded, &entry);
            let (judged, before) = (state.judge(&entry), state.clone());
            let outcome = state.apply(&decoded);
            prop_assert_eq!(judged, outcome);
            prop_assert_eq!(outcome, model.apply(&entry), "{:?}", entry.command.action);
            if outcome.is_err() {
                prop_assert_eq!(&state, &before, "a rejected command changes nothing");
            }
            prop_assert_eq!(&Model::of(&state), &model);
        }
        let decoded = State::decode(&state.encode());
        prop_assert_eq!(decoded, Ok(state));
    }

    #[test]
    fn damaged_bytes_are_refused_or_read_as_what_they_are(
        script in prop::collection::vec((0u64..4, actions()), 1..30),
        at in any::<prop::sample::Index>(),
        bit in 0..8u32,
        cut in any::<prop::sample::Index>(),
    ) {
        let mut state = State::default();
        let _ = state.apply(&entry(0, Action::CreateAccount { comment: "".into() }));
        for (fresh, action) in script {
            let entry = entry(fresh, action);
            let bytes = entry.encode();
            crate::fuzz::identity_command(&bytes[..cut.index(bytes.len())]);
            let mut damaged = bytes.to_vec();
            damaged[at.index(bytes.len())] ^= 1 << bit;
            crate::fuzz::identity_command(&damaged);
            let _ = state.apply(&entry);
        }
        let bytes = state.encode();
        prop_assert!(State::decode(&bytes[..cut.index(bytes.len())]).is_err());
        let mut damaged = bytes.to_vec();
        damaged[at.index(bytes.len())] ^= 1 << bit;
        crate::fuzz::identity_manifest(&damaged);
    }

    #[test]
    fn any_bytes_are_taken_by_every_decoder(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        crate::fuzz::identity_command(&bytes);
        crate::fuzz::identity_manifest(&bytes);
        crate::fuzz::session_token(&bytes);
        crate::fuzz::key_ring(&bytes);
    }
}

/// The actions that the random scripts do without, and all tags.
#[test]
fn every_action_is_read_as_written() {
    let (user, key) = (name("alice"), KeyId::parse("LTAI").unwrap());
    let actions = [
        Action::SetAccountComment { comment: "é".into() },
        Action::SetBlockPublicAccess { block: Some(false) },
        Action::SetQuotas { quotas: Quotas { vectors: Some(u64::MAX), ..Quotas::default() } },
        Action::SetUserComment { user: user.clone(), comment: "c".into() },
        Action::SetGroupComment { group: user.clone(), comment: "c".into() },
        Action::SetRoleComment { role: user.clone(), comment: "c".into() },
        Action::SetTrust { role: user.clone(), trust: "t".into() },
        Action::SetSessionMax { role: user.clone(), session_s_max: 7200 },
        Action::SetPolicyComment { policy: user.clone(), comment: "c".into() },
        Action::LimitKey {
            user: user.clone(),
            key: key.clone(),
            networks: Networks::parse(["10.0.0.0/8", "::1"]).unwrap(),
        },
        Action::Reseal { secrets: vec![Resealed { user, key, old: sealed(1), new: sealed(2) }] },
    ];
    for action in actions {
        let entry = entry(1, action);
        assert_eq!(Entry::decode(&entry.encode()).as_ref(), Ok(&entry));
    }
}

#[test]
fn secrets_are_sealed_anew_only_if_they_are_the_old_ones() {
    let (user, key) = (name("alice"), KeyId::parse("LTAI").unwrap());
    let (old, new) = (sealed(1), sealed(2));
    let mut state = State::default();
    let mut apply = |action| state.apply(&entry(7, action));
    let uid = Uid::user(7);
    apply(Action::CreateAccount { comment: "".into() }).unwrap();
    apply(Action::CreateUser { user: user.clone(), comment: "".into() }).unwrap();
    let (secret, id) = (old.clone(), key.clone());
    apply(Action::AddKey { user: user.clone(), uid, key: id, secret }).unwrap();
    let reseal = |old: &SealedSecret, new: &SealedSecret| {
        let (old, new) = (old.clone(), new.clone());
        Action::Reseal {
            secrets: vec![Resealed { user: user.clone(), key: key.clone(), old, new }],
        }
    };
    assert_eq!(apply(reseal(&new, &old)), Err(Rejection::Changed));
    assert_eq!(apply(reseal(&old, &new)), Ok(()));
    assert_eq!(apply(reseal(&old, &new)), Err(Rejection::Changed));
}
