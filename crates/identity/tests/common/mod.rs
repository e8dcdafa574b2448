//! What the tests of the store share: a clock that is set by hand, stores, shorthands.

#![allow(dead_code, reason = "each test uses a part of it")]
#![allow(clippy::unwrap_used, reason = "tests")]
#![allow(unreachable_pub, reason = "shared by several test binaries")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use vb_commit::{Clock, Store};
use vb_identity::{
    AccessKey, AccountId, Action, Command, Error, Holder, IdentityStore, KeyId, KeyRing, Name,
    Options, Roots, Secret, Snapshot,
};

pub const ACCOUNT: &str = "1234567890123456";
pub const OTHER: &str = "6543210987654321";
pub const ROOT_SECRET: &str = "root-secret-of-the-test";

/// Wall-clock time that goes on only when told.
#[derive(Debug)]
pub struct ManualClock(pub AtomicU64);

impl Clock for ManualClock {
    fn unix_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl ManualClock {
    pub fn new() -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(1_800_000_000_000)))
    }

    pub fn advance_s(&self, seconds: u64) {
        self.0.fetch_add(seconds * 1000, Ordering::Relaxed);
    }
}

pub fn account(text: &str) -> AccountId {
    AccountId::parse(text).unwrap()
}

pub fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

/// A ring of keys that are told by one byte each.
pub fn ring(keys: &[(&str, u8)]) -> KeyRing {
    use base64::Engine;
    let encode = |byte: &u8| base64::engine::general_purpose::STANDARD.encode([*byte; 32]);
    let entries = keys.iter().map(|(id, byte)| format!("{id}:{} ", encode(byte)));
    KeyRing::parse(&entries.collect::<String>()).unwrap()
}

/// Roots of both accounts: `root` and `other-root`.
pub fn roots() -> Roots {
    let mut roots = Roots::default();
    for (id, owner) in [("root", ACCOUNT), ("other.root", OTHER)] {
        let secret = Secret::parse(ROOT_SECRET).unwrap();
        roots.insert(AccessKey { id: id.into(), secret, account: account(owner) }).unwrap();
    }
    roots
}

pub async fn open(store: &Store) -> IdentityStore {
    open_with(store, Some(ring(&[("one", 1)])), Options::default()).await
}

pub async fn open_with(store: &Store, ring: Option<KeyRing>, options: Options) -> IdentityStore {
    IdentityStore::open(store, roots(), ring, options).await.unwrap()
}

pub async fn run(identities: &IdentityStore, action: Action) -> Result<Arc<Snapshot>, Error> {
    identities.execute(Command { account: account(ACCOUNT), action }).await
}

pub async fn create_user(identities: &IdentityStore, user: &str) {
    let action = Action::CreateUser { user: name(user), comment: "".into() };
    run(identities, action).await.unwrap();
}

/// A user with a key.
pub async fn user_with_key(identities: &IdentityStore, user: &str) -> AccessKey {
    create_user(identities, user).await;
    identities.create_access_key(&account(ACCOUNT), &name(user)).await.unwrap()
}

pub async fn grant(identities: &IdentityStore, to: Holder, text: &str) {
    let action = Action::PutInline { to, name: name("test"), text: text.into() };
    run(identities, action).await.unwrap();
}

pub async fn create_role(identities: &IdentityStore, role: &str, trusted: &str) {
    let action = Action::CreateRole {
        role: name(role),
        comment: "".into(),
        trust: trust(trusted).into(),
        session_s_max: 7200,
    };
    run(identities, action).await.unwrap();
}

/// A trust policy for one principal.
pub fn trust(principal: &str) -> String {
    format!(
        r#"{{"Version":"1","Statement":[{{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{{"RAM":["{principal}"]}}}}]}}"#
    )
}

pub fn allow(action: &str, resource: &str) -> String {
    format!(
        r#"{{"Version":"1","Statement":[{{"Effect":"Allow","Action":"{action}","Resource":"{resource}"}}]}}"#
    )
}

pub fn enable_key(user: &str, key: &AccessKey, enabled: bool) -> Action {
    Action::EnableKey { user: name(user), key: key_id(key), enabled }
}

pub fn key_id(key: &AccessKey) -> KeyId {
    KeyId::parse(&key.id).unwrap()
}
