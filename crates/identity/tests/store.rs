//! The store through its door: commands, nodes, revocation, sealing, outages.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::*;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult,
};
use tokio::time::{Instant, sleep};
use vb_commit::Store;
use vb_identity::{
    Action, AuthenticateError, Command, Error, Holder, Networks, Options, Principal, Rejection,
    SecretError,
};

#[tokio::test]
async fn a_user_gets_in_with_its_policies_and_those_of_its_groups() {
    let identities = open(&Store::memory()).await;
    let key = user_with_key(&identities, "alice").await;
    let text = allow("oss:GetVectors", "*");
    let policy = name("read");
    let create =
        Action::CreatePolicy { policy: policy.clone(), comment: "".into(), text: text.into() };
    run(&identities, create).await.unwrap();
    run(&identities, Action::CreateGroup { group: name("dev"), comment: "".into() }).await.unwrap();
    let to = Holder::Group(name("dev"));
    run(&identities, Action::Attach { to, policy }).await.unwrap();
    run(&identities, Action::AddMember { group: name("dev"), user: name("alice") }).await.unwrap();
    grant(&identities, Holder::User(name("alice")), &allow("oss:PutVectors", "*")).await;
    let candidate = identities.authenticate(&key.id, None).await.unwrap();
    assert_eq!(candidate.secret, key.secret);
    let labels: Vec<_> = candidate.policies.iter().map(|policy| policy.name()).collect();
    let label = |rest| format!("acs:ram::{ACCOUNT}:{rest}");
    assert_eq!(labels, [label("user/alice/test"), label("policy/read")]);
    assert!(
        matches!(&candidate.principal, Principal::User { name, .. } if name.as_str() == "alice")
    );
    let uid = identities.snapshot().account(&account(ACCOUNT)).unwrap().users["alice"].id;
    assert_eq!(candidate.principal.uid(), Some(uid.to_string().as_str()));
    assert_eq!(identities.snapshot().owner_of(&key.id).unwrap().1.as_str(), "alice");
}

#[tokio::test]
async fn roots_need_no_record_and_no_ring() {
    let identities = open_with(&Store::memory(), None, Options::default()).await;
    let root = identities.authenticate("root", None).await.unwrap();
    assert!(root.principal.is_root_of(&account(ACCOUNT)) && root.policies.is_empty());
    let with_token = identities.authenticate("root", Some("x")).await;
    assert_eq!(with_token.unwrap_err(), AuthenticateError::TokenUnexpected);
    create_user(&identities, "alice").await;
    let refused = identities.create_access_key(&account(ACCOUNT), &name("alice")).await;
    assert_eq!(refused.unwrap_err(), Error::NoKeyRing);
    run(&identities, Action::SuspendAccount { suspended: true }).await.unwrap();
    let suspended = identities.authenticate("root", None).await;
    assert_eq!(suspended.unwrap_err(), AuthenticateError::AccountSuspended);
    assert!(identities.authenticate("other.root", None).await.is_ok());
}

#[tokio::test]
async fn what_is_not_valid_is_refused_before_it_is_written() {
    let store = Store::memory();
    let identities = open(&store).await;
    let policy = |text: &str| Action::CreatePolicy {
        policy: name("p"),
        comment: "".into(),
        text: text.into(),
    };
    let unknown =
        r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":"oss:*","NotResource":"*"}]}"#;
    for text in ["", "{}", unknown, &trust("acs:ram::1234567890123456:root")] {
        let refused = run(&identities, policy(text)).await;
        assert!(matches!(refused, Err(Error::Policy(_))), "{text}: {refused:?}");
    }
    let role = |trust: String, session_s_max| Action::CreateRole {
        role: name("r"),
        comment: "".into(),
        trust: trust.into(),
        session_s_max,
    };
    let trusting = trust("acs:ram::1234567890123456:root");
    assert!(matches!(
        run(&identities, role(allow("oss:*", "*"), 3600)).await,
        Err(Error::Policy(_))
    ));
    assert!(matches!(run(&identities, role(trusting, 60)).await, Err(Error::Invalid(_))));
    let comment = "two\nlines".into();
    let comment = run(&identities, Action::CreateAccount { comment }).await;
    assert!(matches!(comment, Err(Error::Invalid(_))));
    assert_eq!(store.counts().create.requests, 0, "nothing was written");
}

#[tokio::test]
async fn limits_hold_and_accounts_are_not_made_up() {
    let identities = open(&Store::memory()).await;
    user_with_key(&identities, "alice").await;
    let (own, alice) = (account(ACCOUNT), name("alice"));
    let add = || identities.create_access_key(&own, &alice);
    add().await.unwrap();
    assert_eq!(add().await.unwrap_err(), Error::Rejected(Rejection::TooMany));
    let stranger = account("1111111111111111");
    let action = Action::CreateUser { user: name("eve"), comment: "".into() };
    let refused = identities.execute(Command { account: stranger, action }).await;
    assert_eq!(refused.unwrap_err(), Error::Rejected(Rejection::NoSuchAccount));
}

#[tokio::test]
async fn keys_are_bound_to_networks_and_remember_their_use() {
    let store = Store::memory();
    let identities = open(&store).await;
    let key = user_with_key(&identities, "alice").await;
    let networks = Networks::parse(["10.0.0.0/8"]).unwrap();
    let limit = Action::LimitKey { user: name("alice"), key: key_id(&key), networks };
    run(&identities, limit).await.unwrap();
    let candidate = identities.authenticate(&key.id, None).await.unwrap();
    assert!(!candidate.networks.allow("11.0.0.1".parse().unwrap()));
    assert_eq!(identities.snapshot().used_ms(&key.id), None);
    identities.note_use(&candidate);
    let used = identities.snapshot().used_ms(&key.id).unwrap();
    identities.close().await;
    assert_eq!(run(&identities, Action::DeleteAccount).await.unwrap_err(), Error::Closed);
    let again = open(&store).await;
    assert_eq!(again.snapshot().used_ms(&key.id), Some(used));
}

#[tokio::test]
async fn everything_is_there_after_a_crash_and_after_folds() {
    let folder = tempfile::tempdir().unwrap();
    let local = || vb_commit::LocalOptions { fsync: false };
    let mut keys = Vec::new();
    for round in 0..3 {
        let store = Store::local(folder.path(), local()).unwrap();
        let identities = open(&store).await;
        for number in 0..15 {
            keys.push(user_with_key(&identities, &format!("u{round}.{number}")).await);
        }
        // Not closed: the task ends with the last handle, as in a crash nothing is written.
        drop(identities);
        let folded = store.list_level("identity/manifest").await.unwrap().objects;
        assert!(
            round == 0
                || folded.iter().any(|object| !object.path.ends_with("/00000000000000000000"))
        );
        drop(store);
        wait_for_unlock(folder.path()).await;
    }
    let store = Store::local(folder.path(), local()).unwrap();
    let identities = open(&store).await;
    for key in keys {
        assert_eq!(identities.authenticate(&key.id, None).await.unwrap().secret, key.secret);
    }
    let slots = store.list_level("identity/log").await.unwrap().objects;
    assert!(slots.len() < 40, "{} slots are left", slots.len());
}

/// The task that owns the log lets go of the store a moment after its last handle.
async fn wait_for_unlock(folder: &std::path::Path) {
    while Store::local(folder, vb_commit::LocalOptions::default()).is_err() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_key_works_on_another_node_at_once() {
    let store = Store::memory();
    let (one, two) = (open(&store).await, open(&store).await);
    let key = user_with_key(&one, "alice").await;
    let before = Instant::now();
    assert_eq!(two.authenticate(&key.id, None).await.unwrap().secret, key.secret);
    assert!(before.elapsed() < Duration::from_secs(1));
    let unknown = two.authenticate("LTAInobody", None).await;
    assert_eq!(unknown.unwrap_err(), AuthenticateError::UnknownKey);
}

/// Asks the second node every tenth of a second until it refuses.
async fn refused_after(
    two: &vb_identity::IdentityStore,
    key: &str,
    token: Option<&str>,
) -> Duration {
    let start = Instant::now();
    while two.authenticate(key, token).await.is_ok() {
        assert!(start.elapsed() < Duration::from_secs(60), "never refused");
        sleep(Duration::from_millis(100)).await;
    }
    start.elapsed()
}

#[tokio::test(start_paused = true)]
async fn revocation_is_seen_by_another_node_within_three_seconds() {
    let store = Store::memory();
    let (one, two) = (open(&store).await, open(&store).await);
    let key = user_with_key(&one, "alice").await;
    for idle_s in [0, 1, 60, 3600] {
        assert!(two.authenticate(&key.id, None).await.is_ok());
        run(&one, enable_key("alice", &key, false)).await.unwrap();
        sleep(Duration::from_secs(idle_s)).await;
        let after = refused_after(&two, &key.id, None).await;
        let bound = Duration::from_secs(3_u64.saturating_sub(idle_s));
        assert!(after < bound.max(Duration::from_millis(1)), "idle {idle_s} s: {after:?}");
        assert_eq!(
            two.authenticate(&key.id, None).await.unwrap_err(),
            AuthenticateError::DisabledKey
        );
        run(&one, enable_key("alice", &key, true)).await.unwrap();
        two.now().await.unwrap();
    }
    let disable = Action::EnableUser { user: name("alice"), enabled: false };
    run(&one, disable).await.unwrap();
    assert!(refused_after(&two, &key.id, None).await < Duration::from_secs(3));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_nobody_uses_sends_no_requests() {
    let store = Store::memory();
    let identities = open(&store).await;
    let key = user_with_key(&identities, "alice").await;
    identities.authenticate(&key.id, None).await.unwrap();
    sleep(Duration::from_secs(5)).await;
    let before = store.counts();
    sleep(Duration::from_secs(1800)).await;
    assert_eq!(store.counts(), before);
    identities.authenticate(&key.id, None).await.unwrap();
    assert!(store.counts().list.requests > before.list.requests, "it is proven anew before use");
}

#[tokio::test(start_paused = true)]
async fn unknown_keys_cause_five_proofs_a_second_at_most() {
    let store = Store::memory();
    let identities = open(&store).await;
    create_user(&identities, "alice").await;
    let (start, before) = (Instant::now(), store.counts().list.requests);
    let attempts = (0..2000).map(|n| {
        let identities = identities.clone();
        async move { identities.authenticate(&format!("LTAI{n}"), None).await.unwrap_err() }
    });
    let errors: Vec<_> = futures_util::stream::iter(attempts).buffer_unordered(100).collect().await;
    assert!(errors.iter().all(|error| *error == AuthenticateError::UnknownKey));
    let lists = store.counts().list.requests - before;
    let bound = start.elapsed().as_secs_f64() * 5.5 + 4.0;
    assert!((lists as f64) < bound, "{lists} lists in {:?}", start.elapsed());
}

#[tokio::test]
async fn nodes_that_write_at_once_agree_and_names_are_unique() {
    let store = Store::memory();
    let nodes = [open(&store).await, open(&store).await, open(&store).await];
    create_user(&nodes[0], "first").await;
    let writers = nodes.iter().enumerate().map(|(node, identities)| async move {
        let mut won = Vec::new();
        for number in 0..25 {
            let shared = Action::CreateUser {
                user: name(&format!("shared{number}")),
                comment: node.to_string().into(),
            };
            match run(identities, shared).await {
                Ok(snapshot) => {
                    let users = &snapshot.account(&account(ACCOUNT)).unwrap().users;
                    let user = &users[format!("shared{number}").as_str()];
                    assert_eq!(*user.comment, node.to_string(), "my write is in my snapshot");
                    won.push(number);
                }
                Err(error) => assert_eq!(error, Error::Rejected(Rejection::Exists)),
            }
            create_user(identities, &format!("own{node}.{number}")).await;
        }
        won
    });
    let won: Vec<Vec<i32>> = futures_util::future::join_all(writers).await;
    let mut all: Vec<i32> = won.concat();
    all.sort_unstable();
    assert_eq!(all, (0..25).collect::<Vec<_>>(), "each name was given once");
    let reference = open(&store).await.now().await.unwrap();
    assert_eq!(reference.account(&account(ACCOUNT)).unwrap().users.len(), 1 + 25 + 75);
    for node in &nodes {
        let snapshot = node.now().await.unwrap();
        assert!(snapshot.accounts().eq(reference.accounts()));
    }
}

#[tokio::test]
async fn rekeying_makes_old_ring_keys_superfluous() {
    let store = Store::memory();
    let old = open_with(&store, Some(ring(&[("old", 1)])), Options::default()).await;
    let key = user_with_key(&old, "alice").await;
    old.close().await;
    let both = open_with(&store, Some(ring(&[("new", 2), ("old", 1)])), Options::default()).await;
    let fresh = both.create_access_key(&account(ACCOUNT), &name("alice")).await.unwrap();
    let done = both.rekey().await.unwrap();
    assert_eq!((done.resealed, done.current, done.unavailable.len()), (1, 1, 0));
    let again = both.rekey().await.unwrap();
    assert_eq!((again.resealed, again.current), (0, 2));
    assert_eq!(both.authenticate(&key.id, None).await.unwrap().secret, key.secret);
    both.close().await;
    let new = open_with(&store, Some(ring(&[("new", 2)])), Options::default()).await;
    for key in [&key, &fresh] {
        assert_eq!(new.authenticate(&key.id, None).await.unwrap().secret, key.secret);
    }
    assert_eq!(new.snapshot().unavailable().count(), 0);
}

#[tokio::test]
async fn wrong_and_missing_ring_keys_let_nobody_in_and_say_why() {
    let store = Store::memory();
    let identities = open(&store).await;
    let key = user_with_key(&identities, "alice").await;
    identities.close().await;
    let cases = [
        (None, SecretError::NoKeyRing),
        (Some(ring(&[("two", 1)])), SecretError::UnknownRingKey("one".into())),
        (Some(ring(&[("one", 9)])), SecretError::Refused("one".into())),
    ];
    for (ring, expected) in cases {
        let identities = open_with(&store, ring.clone(), Options::default()).await;
        let refused = identities.authenticate(&key.id, None).await.unwrap_err();
        assert_eq!(refused, AuthenticateError::SecretUnavailable(expected.clone()));
        let told: Vec<_> = identities.snapshot().unavailable().map(|(_, e)| e.clone()).collect();
        assert_eq!(told, [expected]);
        assert!(identities.authenticate("root", None).await.is_ok());
        if ring.is_some() {
            let rekeyed = identities.rekey().await.unwrap();
            assert_eq!((rekeyed.resealed, rekeyed.unavailable.len()), (0, 1));
        }
        identities.close().await;
    }
}

#[tokio::test]
async fn a_sealed_secret_does_not_open_for_another_key_or_user() {
    let store = Store::memory();
    let identities = open(&store).await;
    let alice = user_with_key(&identities, "alice").await;
    let two = open(&store).await;
    assert!(two.authenticate(&alice.id, None).await.is_ok());
    create_user(&identities, "mallory").await;
    let snapshot = identities.now().await.unwrap();
    let users = &snapshot.account(&account(ACCOUNT)).unwrap().users;
    let stolen = users["alice"].keys[0].secret.clone();
    let key = vb_identity::KeyId::parse("LTAImallory").unwrap();
    let (user, uid) = (name("mallory"), users["mallory"].id);
    let add = Action::AddKey { user, uid, key, secret: stolen };
    run(&identities, add).await.unwrap();
    let refused = identities.authenticate("LTAImallory", None).await.unwrap_err();
    let expected = SecretError::Refused("one".into());
    assert_eq!(refused, AuthenticateError::SecretUnavailable(expected));
    // The same id for a user who was deleted and created again: another owner as well.
    let delete = Action::DeleteUser { user: name("alice"), force: true };
    run(&identities, delete).await.unwrap();
    create_user(&identities, "alice").await;
    let snapshot = identities.now().await.unwrap();
    let uid = snapshot.account(&account(ACCOUNT)).unwrap().users["alice"].id;
    let secret = users["alice"].keys[0].secret.clone();
    let add = Action::AddKey { user: name("alice"), uid, key: key_id(&alice), secret };
    run(&identities, add).await.unwrap();
    assert!(identities.authenticate(&alice.id, None).await.is_err());
    // Also where the secret was open, and the change of owners is learnt at once.
    two.now().await.unwrap();
    assert!(two.authenticate(&alice.id, None).await.is_err());
}

#[tokio::test]
async fn secrets_appear_nowhere() {
    let store = Store::memory();
    let identities = open(&store).await;
    let mut secrets = vec![ROOT_SECRET.to_owned()];
    let mut shown = String::new();
    for number in 0..40 {
        let key = user_with_key(&identities, &format!("user{number}")).await;
        secrets.push(key.secret.expose().to_owned());
        let candidate = identities.authenticate(&key.id, None).await.unwrap();
        shown += &format!("{key:?}{candidate:?}{}", candidate.principal);
    }
    shown += &format!("{identities:?}{:#?}{:?}", identities.snapshot(), roots());
    let mut objects = 0;
    for object in store.list_after("identity", None).await.unwrap() {
        let bytes = store.get(&object.path).await.unwrap();
        shown += &String::from_utf8_lossy(&bytes);
        objects += 1;
    }
    assert!(objects > 1);
    for secret in secrets {
        assert!(!shown.contains(&secret), "a secret is shown");
    }
}

/// A store that answers nothing while it is down.
#[derive(Debug, Default)]
struct Outage {
    objects: InMemory,
    down: AtomicBool,
}

impl Outage {
    fn check(&self) -> object_store::Result<()> {
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        match self.down.load(Ordering::Relaxed) {
            false => Ok(()),
            true => Err(object_store::Error::Generic { store: "down", source: refused.into() }),
        }
    }
}

impl fmt::Display for Outage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Outage")
    }
}

#[async_trait::async_trait]
impl ObjectStore for Outage {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> object_store::Result<PutResult> {
        self.check()?;
        self.objects.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> object_store::Result<Box<dyn MultipartUpload>> {
        self.objects.put_multipart_opts(location, options).await
    }

    async fn get_opts(
        &self,
        location: &Path,
        options: GetOptions,
    ) -> object_store::Result<GetResult> {
        self.check()?;
        self.objects.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, object_store::Result<Path>>,
    ) -> BoxStream<'static, object_store::Result<Path>> {
        self.objects.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
        match self.check() {
            Ok(()) => self.objects.list(prefix),
            Err(error) => futures_util::stream::iter([Err(error)]).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
        self.check()?;
        self.objects.list_with_delimiter(prefix).await
    }

    async fn copy_opts(
        &self,
        from: &Path,
        to: &Path,
        options: CopyOptions,
    ) -> object_store::Result<()> {
        self.objects.copy_opts(from, to, options).await
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_bridged_for_a_while_and_then_only_roots_get_in() {
    let objects = Arc::new(Outage::default());
    let store = Store::from_object_store(objects.clone(), false);
    let identities = open(&store).await;
    let key = user_with_key(&identities, "alice").await;
    objects.down.store(true, Ordering::Relaxed);
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(14 * 60) {
        let asked = Instant::now();
        assert!(identities.authenticate(&key.id, None).await.is_ok());
        assert!(asked.elapsed() <= Duration::from_secs(2), "nobody waits for long");
        sleep(Duration::from_secs(7)).await;
    }
    let failed = run(&identities, Action::DeleteAccount).await.unwrap_err();
    assert!(matches!(failed, Error::Store { .. }), "{failed:?}");
    sleep(Duration::from_secs(120)).await;
    let refused = identities.authenticate(&key.id, None).await.unwrap_err();
    assert_eq!(refused, AuthenticateError::Stale);
    assert!(identities.authenticate("root", None).await.is_ok());
    objects.down.store(false, Ordering::Relaxed);
    sleep(Duration::from_secs(10)).await;
    assert!(identities.authenticate(&key.id, None).await.is_ok());
}
