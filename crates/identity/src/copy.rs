//! All identities of a store as one piece of bytes: what backups hold.
//!
//! The bytes are the body of an identity manifest (`docs/format.md`): accounts, users, roles, policies,
//! and access keys whose secrets are sealed. Without the key ring, which is in no backup, nobody gets
//! in with them.
//!
//! Taken from the newest manifest and the slots above it, as requests would meet them at that moment;
//! brought back by creating the log with that manifest, in one step: there are all of them or none.

use bytes::Bytes;
use vb_commit::{CreateError, Event, Log, Store, WriterId};

use crate::Error;
use crate::codec::Format;
use crate::owner::apply_event;
use crate::state::State;
use crate::store::PREFIX;

/// What became of identities that were to be brought back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restored {
    /// They are there now.
    All,
    /// The same were there already.
    Same,
    /// The store has other identities, and keeps them.
    Kept,
}

/// The identities of a store as of now; `None` if it never had any.
///
/// Beside a service: every command that was answered before the call is in it.
///
/// # Errors
///
/// The store cannot be reached, or what it holds is damaged.
pub async fn export(store: &Store) -> Result<Option<Bytes>, Error> {
    Ok(read(store).await?.map(|state| state.encode()))
}

/// How many accounts a copy holds.
///
/// # Errors
///
/// [`Error::Corrupt`], which names `path`, if it is not what [`export`] made.
pub fn account_count(path: &str, copy: &[u8]) -> Result<usize, Error> {
    let state = State::decode(copy).map_err(|error| Error::Corrupt {
        path: path.into(),
        offset: error.offset,
        reason: error.reason,
    })?;
    Ok(state.accounts.len())
}

/// Brings identities back into a store that has none.
///
/// # Errors
///
/// [`Error::Corrupt`] if it is not what [`export`] made; [`Error::OutcomeUnknown`]: repeat; or as the
/// store fails.
pub async fn import(store: &Store, path: &str, copy: Bytes) -> Result<Restored, Error> {
    account_count(path, &copy)?;
    match Log::create(store, PREFIX, WriterId::random(), copy.clone()).await {
        Ok(_) => Ok(Restored::All),
        Err(CreateError::AlreadyExists) => {
            let same = export(store).await?.is_some_and(|there| there == copy);
            Ok(if same { Restored::Same } else { Restored::Kept })
        }
        Err(error) => Err(error.into()),
    }
}

async fn read(store: &Store) -> Result<Option<State>, Error> {
    let opened = Log::open(store, PREFIX, WriterId::random()).await;
    let Some((mut log, opened)) = opened.map_err(|error| Error::from(&error))? else {
        return Ok(None);
    };
    let mut state = State::default();
    let first = Event::Reopened { manifest: opened.manifest, slots: opened.slots };
    let newer = log.catch_up().await?;
    for event in std::iter::once(first).chain(newer) {
        apply_event(&mut state, event, log.writer(), &[], &mut Vec::new())?;
    }
    Ok(Some(state))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        AccountId, Action, Command, IdentityStore, KeyRing, Name, Options, Roots, SystemRandom,
    };

    fn account() -> AccountId {
        AccountId::parse("1234567890123456").unwrap()
    }

    fn ring(id: &str) -> KeyRing {
        KeyRing::parse(&KeyRing::generate_entry(id, &SystemRandom).unwrap()).unwrap()
    }

    async fn open(store: &Store, ring: &KeyRing) -> IdentityStore {
        let ring = Some(ring.clone());
        IdentityStore::open(store, Roots::default(), ring, Options::default()).await.unwrap()
    }

    async fn add_user(identities: &IdentityStore, name: &str) {
        let action = Action::CreateUser { user: Name::parse(name).unwrap(), comment: "".into() };
        identities.execute(Command { account: account(), action }).await.unwrap();
    }

    #[tokio::test]
    async fn keys_work_where_the_copy_and_the_ring_are() {
        let (store, ring) = (Store::memory(), ring("a"));
        assert_eq!(export(&store).await, Ok(None));
        let identities = open(&store, &ring).await;
        let create = Action::CreateAccount { comment: "".into() };
        identities.execute(Command { account: account(), action: create }).await.unwrap();
        add_user(&identities, "alice").await;
        let key = identities.create_access_key(&account(), &Name::parse("alice").unwrap()).await;
        let key = key.unwrap();
        // More commands than fit between two manifests, so that both are read.
        for number in 0..40 {
            add_user(&identities, &format!("user{number}")).await;
        }
        let copy = export(&store).await.unwrap().unwrap();
        assert_eq!(account_count("copy", &copy), Ok(1));
        assert!(!copy.windows(8).any(|part| key.secret.expose().as_bytes().starts_with(part)));

        let other = Store::memory();
        assert_eq!(import(&other, "copy", copy.clone()).await, Ok(Restored::All));
        assert_eq!(import(&other, "copy", copy.clone()).await, Ok(Restored::Same));
        let restored = open(&other, &ring).await;
        let found = restored.authenticate(&key.id, None).await.unwrap();
        assert_eq!(found.secret, key.secret);
        let users =
            |store: &IdentityStore| store.snapshot().account(&account()).unwrap().users.len();
        assert_eq!(users(&restored), users(&identities));
        // The restored store goes on as any other.
        add_user(&restored, "later").await;
        assert_eq!(users(&restored), users(&identities) + 1);
        assert_eq!(import(&other, "copy", copy).await, Ok(Restored::Kept));
        assert_eq!(users(&open(&other, &ring).await), users(&restored));
    }

    #[tokio::test]
    async fn without_the_ring_nobody_gets_in() {
        let (store, ours) = (Store::memory(), ring("a"));
        let identities = open(&store, &ours).await;
        let create = Action::CreateAccount { comment: "".into() };
        identities.execute(Command { account: account(), action: create }).await.unwrap();
        add_user(&identities, "alice").await;
        let key = identities.create_access_key(&account(), &Name::parse("alice").unwrap()).await;
        let copy = export(&store).await.unwrap().unwrap();
        let other = Store::memory();
        import(&other, "copy", copy).await.unwrap();
        let restored = open(&other, &ring("a")).await;
        assert!(restored.authenticate(&key.unwrap().id, None).await.is_err());
        assert_eq!(restored.snapshot().unavailable().count(), 1);
    }

    #[tokio::test]
    async fn damaged_copies_are_refused_and_nothing_is_written() {
        let store = Store::memory();
        for bad in [&b""[..], b"\x07", b"\x01\xff\xff\xff\xff"] {
            let refused = import(&store, "copy", Bytes::from_static(bad)).await;
            assert!(matches!(refused, Err(Error::Corrupt { .. })), "{bad:?}");
        }
        assert_eq!(export(&store).await, Ok(None));
    }
}
