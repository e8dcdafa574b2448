//! Sessions: who gets one, for how long, and what ends it. Attacks on tokens.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::*;
use vb_commit::Store;
use vb_identity::{
    AccountId, Action, AssumeRole, AssumeRoleError, AuthenticateError, Candidate, Command, Holder,
    IdentityStore, Options, Principal, Session, Sessions, TOKEN_CHARS_MAX,
};
use vb_policy::Context;

/// Two nodes on one store, one clock.
struct Scene {
    clock: Arc<ManualClock>,
    one: IdentityStore,
    two: IdentityStore,
}

/// Alice may assume the role `reader`, which trusts her.
async fn scene() -> (Scene, Arc<Candidate>) {
    let store = Store::memory();
    let clock = ManualClock::new();
    let options = Options { clock: clock.clone(), ..Options::default() };
    let ring = || Some(ring(&[("one", 1)]));
    let one = open_with(&store, ring(), options.clone()).await;
    let two = open_with(&store, ring(), options).await;
    let key = user_with_key(&one, "alice").await;
    create_role(&one, "reader", &format!("acs:ram::{ACCOUNT}:user/alice")).await;
    grant(&one, Holder::User(name("alice")), &allow("sts:AssumeRole", "*")).await;
    grant(&one, Holder::Role(name("reader")), &allow("oss:GetVectors", "*")).await;
    let alice = one.authenticate(&key.id, None).await.unwrap();
    two.now().await.unwrap();
    (Scene { clock, one, two }, alice)
}

fn ask<'a>(account: &'a AccountId, role: &'a str) -> AssumeRole<'a> {
    let context = Context::default();
    AssumeRole { account, role, session: "nightly", duration_s: None, policy: None, context }
}

impl Scene {
    async fn assume(&self, caller: &Candidate) -> Session {
        self.one.assume_role(caller, &ask(&account(ACCOUNT), "reader")).await.unwrap()
    }

    /// What the second node says.
    async fn authenticate(&self, session: &Session) -> Result<Arc<Candidate>, AuthenticateError> {
        self.with(session.access_key_id.as_str(), Some(&session.token)).await
    }

    async fn with(
        &self,
        key: &str,
        token: Option<&str>,
    ) -> Result<Arc<Candidate>, AuthenticateError> {
        self.two.authenticate(key, token).await
    }

    /// A change on the first node that the second has seen.
    async fn change(&self, action: Action) {
        run(&self.one, action).await.unwrap();
        self.two.now().await.unwrap();
    }
}

#[tokio::test]
async fn a_session_works_on_every_node_until_it_expires() {
    let (scene, alice) = scene().await;
    let session = scene.assume(&alice).await;
    assert!(session.access_key_id.as_str().starts_with("STS."));
    assert_eq!(&*session.arn, format!("acs:ram::{ACCOUNT}:assumed-role/reader/nightly"));
    assert_eq!(session.assumed_role_id.split_once(':').unwrap().1, "nightly");
    let candidate = scene.authenticate(&session).await.unwrap();
    assert_eq!(candidate.secret, session.secret);
    assert_eq!(candidate.expires_ms, Some(session.expires_ms));
    assert_eq!(candidate.policies[0].name(), format!("acs:ram::{ACCOUNT}:role/reader/test"));
    assert!(candidate.session_policy.is_none());
    let Principal::RoleSession { role, session: name, uid, .. } = &candidate.principal else {
        panic!("{:?}", candidate.principal)
    };
    assert_eq!((role.as_str(), &**name), ("reader", "nightly"));
    assert_eq!(Some(&**uid), session.assumed_role_id.split_once(':').map(|(uid, _)| uid));
    scene.clock.advance_s(3599);
    assert!(scene.authenticate(&session).await.is_ok());
    scene.clock.advance_s(1);
    let expired = scene.authenticate(&session).await.unwrap_err();
    assert_eq!(expired, AuthenticateError::TokenExpired);
    assert!(!format!("{session:?}").contains(&*session.token));
    assert!(!format!("{session:?}").contains(session.secret.expose()));
}

#[tokio::test]
async fn tokens_and_keys_belong_together() {
    let (scene, alice) = scene().await;
    let (one, two) = (scene.assume(&alice).await, scene.assume(&alice).await);
    let (key, other) = (one.access_key_id.as_str(), two.access_key_id.as_str());
    let cases = [
        (key, Some(&*two.token), AuthenticateError::TokenOfOtherKey),
        (other, Some(&*one.token), AuthenticateError::TokenOfOtherKey),
        ("STS.made.up", Some(&*one.token), AuthenticateError::TokenOfOtherKey),
        (key, None, AuthenticateError::TokenMissing),
        (key, Some(""), AuthenticateError::TokenInvalid),
        (key, Some("no token"), AuthenticateError::TokenInvalid),
        ("root", Some(&*one.token), AuthenticateError::TokenUnexpected),
        (
            alice.principal.access_key_id().unwrap(),
            Some(&*one.token),
            AuthenticateError::TokenUnexpected,
        ),
        ("LTAInobody", Some(&*one.token), AuthenticateError::UnknownKey),
    ];
    // Also once the good pairs were remembered.
    for _ in 0..2 {
        for (key, token, expected) in &cases {
            assert_eq!(scene.with(key, *token).await.unwrap_err(), *expected, "{key}");
        }
        assert!(scene.authenticate(&one).await.is_ok() && scene.authenticate(&two).await.is_ok());
    }
}

#[tokio::test]
async fn tampered_tokens_are_invalid() {
    let (scene, alice) = scene().await;
    let session = scene.assume(&alice).await;
    scene.authenticate(&session).await.unwrap();
    let key = session.access_key_id.as_str();
    for at in 0..session.token.len() {
        let mut tampered = session.token.to_string().into_bytes();
        tampered[at] = if tampered[at] == b'A' { b'B' } else { b'A' };
        let tampered = String::from_utf8(tampered).unwrap();
        let refused = scene.with(key, Some(&tampered)).await.unwrap_err();
        assert_eq!(refused, AuthenticateError::TokenInvalid, "character {at}");
    }
    let variants = [
        session.token[1..].to_owned(),
        session.token[..session.token.len() - 1].to_owned(),
        format!("{}A", session.token),
        format!("{}=", session.token),
        format!(" {}", session.token),
        session.token.to_lowercase(),
        "A".repeat(TOKEN_CHARS_MAX + 1),
        session.token.repeat(20),
    ];
    for variant in variants {
        let refused = scene.with(key, Some(&variant)).await.unwrap_err();
        assert_eq!(refused, AuthenticateError::TokenInvalid, "{variant}");
    }
}

#[tokio::test]
async fn tokens_of_other_rings_are_invalid() {
    let (scene, alice) = scene().await;
    let session = scene.assume(&alice).await;
    let store = Store::memory();
    let rings = [None, Some(ring(&[("two", 1)])), Some(ring(&[("one", 2)]))];
    for ring in rings {
        let foreign = open_with(&store, ring, Options::default()).await;
        let key = session.access_key_id.as_str();
        let refused = foreign.authenticate(key, Some(&session.token)).await.unwrap_err();
        assert_eq!(refused, AuthenticateError::TokenInvalid);
    }
    // The right ring of another store: the role is not known there.
    let foreign = open(&store).await;
    let key = session.access_key_id.as_str();
    let refused = foreign.authenticate(key, Some(&session.token)).await.unwrap_err();
    assert!(matches!(refused, AuthenticateError::SessionRevoked | AuthenticateError::TokenExpired));
}

#[tokio::test]
async fn a_rotated_ring_opens_the_tokens_of_before() {
    let store = Store::memory();
    let clock = ManualClock::new();
    let options = Options { clock, ..Options::default() };
    let old = open_with(&store, Some(ring(&[("old", 1)])), options.clone()).await;
    create_role(&old, "reader", &format!("acs:ram::{ACCOUNT}:root")).await;
    let root = old.authenticate("root", None).await.unwrap();
    let request = ask_owned();
    let session = old.assume_role(&root, &ask(&request, "reader")).await.unwrap();
    let new = open_with(&store, Some(ring(&[("new", 2), ("old", 1)])), options).await;
    let key = session.access_key_id.as_str();
    assert!(new.authenticate(key, Some(&session.token)).await.is_ok());
}

fn ask_owned() -> AccountId {
    account(ACCOUNT)
}

#[tokio::test]
async fn sessions_end_when_whoever_stands_behind_them_does() {
    let ends = [
        Action::RevokeSessions { of: Sessions::OfRole(name("reader")) },
        Action::RevokeSessions { of: Sessions::OfUser(name("alice")) },
        Action::RevokeSessions { of: Sessions::OfAccount },
        Action::EnableUser { user: name("alice"), enabled: false },
        Action::DeleteUser { user: name("alice"), force: true },
        Action::DeleteRole { role: name("reader"), force: true },
        Action::SuspendAccount { suspended: true },
    ];
    for end in ends {
        let (scene, alice) = scene().await;
        let session = scene.assume(&alice).await;
        assert!(scene.authenticate(&session).await.is_ok());
        scene.change(end.clone()).await;
        let refused = scene.authenticate(&session).await.unwrap_err();
        assert_eq!(refused, AuthenticateError::SessionRevoked, "{end:?}");
    }
}

#[tokio::test]
async fn revoking_ends_older_sessions_and_not_newer_ones() {
    let (scene, alice) = scene().await;
    let old = scene.assume(&alice).await;
    scene.change(Action::RevokeSessions { of: Sessions::OfRole(name("reader")) }).await;
    scene.change(Action::RevokeSessions { of: Sessions::OfUser(name("alice")) }).await;
    assert!(scene.authenticate(&old).await.is_err());
    let key = alice.principal.access_key_id().unwrap();
    let alice = scene.one.authenticate(key, None).await.unwrap();
    let new = scene.assume(&alice).await;
    assert!(scene.authenticate(&new).await.is_ok());
    // A role of the same name is another role.
    scene.change(Action::DeleteRole { role: name("reader"), force: true }).await;
    create_role(&scene.one, "reader", &format!("acs:ram::{ACCOUNT}:user/alice")).await;
    scene.two.now().await.unwrap();
    assert_eq!(scene.authenticate(&new).await.unwrap_err(), AuthenticateError::SessionRevoked);
}

#[tokio::test(start_paused = true)]
async fn a_revoked_session_is_refused_everywhere_within_three_seconds() {
    let (scene, alice) = scene().await;
    let session = scene.assume(&alice).await;
    assert!(scene.authenticate(&session).await.is_ok());
    let revoke = Action::RevokeSessions { of: Sessions::OfRole(name("reader")) };
    run(&scene.one, revoke).await.unwrap();
    let start = tokio::time::Instant::now();
    while scene.authenticate(&session).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(start.elapsed() < Duration::from_secs(3));
    }
}

#[tokio::test]
async fn a_new_role_on_one_node_has_sessions_on_another_at_once() {
    let (scene, alice) = scene().await;
    create_role(&scene.one, "late", &format!("acs:ram::{ACCOUNT}:user/alice")).await;
    let session = scene.one.assume_role(&alice, &ask(&account(ACCOUNT), "late")).await.unwrap();
    assert!(scene.authenticate(&session).await.is_ok());
}

#[tokio::test]
async fn only_the_trusted_and_allowed_get_a_session() {
    let (scene, alice) = scene().await;
    let mut denials = Vec::new();
    let own = account(ACCOUNT);
    let bob = user_with_key(&scene.one, "bob").await;
    grant(&scene.one, Holder::User(name("bob")), &allow("sts:AssumeRole", "*")).await;
    let bob = scene.one.authenticate(&bob.id, None).await.unwrap();
    denials.push((bob, "reader", AssumeRoleError::NotTrusted));
    create_role(&scene.one, "carols", &format!("acs:ram::{ACCOUNT}:user/carol")).await;
    let carol = user_with_key(&scene.one, "carol").await;
    let carol = scene.one.authenticate(&carol.id, None).await.unwrap();
    denials.push((carol, "carols", AssumeRoleError::NotAllowed));
    denials.push((Arc::clone(&alice), "nobody", AssumeRoleError::NoSuchRole));
    let other = scene.one.authenticate("other.root", None).await.unwrap();
    denials.push((Arc::clone(&other), "reader", AssumeRoleError::NotTrusted));
    denials.push((other, "nobody", AssumeRoleError::NotTrusted));
    let nobody = vb_policy::Caller::Anonymous;
    assert_eq!(Principal::Anonymous.caller(), nobody);
    for (caller, role, expected) in denials {
        let refused = scene.one.assume_role(&caller, &ask(&own, role)).await.unwrap_err();
        assert_eq!(refused, expected, "{} {role}", caller.principal);
    }
    let bad = [
        AssumeRole { session: "x", ..ask(&own, "reader") },
        AssumeRole { session: "a/b", ..ask(&own, "reader") },
        AssumeRole { session: "é-session", ..ask(&own, "reader") },
    ];
    for request in bad {
        let refused = scene.one.assume_role(&alice, &request).await.unwrap_err();
        assert_eq!(refused, AssumeRoleError::InvalidSessionName);
    }
    for duration_s in [0, 899, 7201, u32::MAX] {
        let request = AssumeRole { duration_s: Some(duration_s), ..ask(&own, "reader") };
        let refused = scene.one.assume_role(&alice, &request).await.unwrap_err();
        assert_eq!(refused, AssumeRoleError::InvalidDuration { max_s: 7200 });
    }
    let request = AssumeRole { duration_s: Some(900), ..ask(&own, "reader") };
    let session = scene.one.assume_role(&alice, &request).await.unwrap();
    scene.clock.advance_s(900);
    assert_eq!(scene.authenticate(&session).await.unwrap_err(), AuthenticateError::TokenExpired);
}

#[tokio::test]
async fn session_policies_travel_in_the_token() {
    let (scene, alice) = scene().await;
    let own = account(ACCOUNT);
    let text = allow("oss:GetVectors", "acs:ossvector:*:*:one/*");
    let request = AssumeRole { policy: Some(&text), ..ask(&own, "reader") };
    let session = scene.one.assume_role(&alice, &request).await.unwrap();
    let candidate = scene.authenticate(&session).await.unwrap();
    assert_eq!(candidate.session_policy.as_ref().unwrap().statement_count(), 1);
    for bad in ["", "{}", &trust("acs:ram::1234567890123456:root")] {
        let request = AssumeRole { policy: Some(bad), ..ask(&own, "reader") };
        let refused = scene.one.assume_role(&alice, &request).await.unwrap_err();
        assert!(matches!(refused, AssumeRoleError::InvalidPolicy(_)), "{bad}");
    }
    let filler = "a".repeat(3000);
    let long = allow("oss:GetVectors", &format!("acs:ossvector:*:*:{filler}"));
    let request = AssumeRole { policy: Some(&long), ..ask(&own, "reader") };
    assert!(scene.one.assume_role(&alice, &request).await.is_err());
    // The longest that is allowed fits a token.
    let room =
        vb_identity::SESSION_POLICY_BYTES_MAX - allow("oss:GetVectors", "acs:ossvector:*:*:").len();
    let longest = allow("oss:GetVectors", &format!("acs:ossvector:*:*:{}", "a".repeat(room)));
    let name = "s".repeat(64);
    let request = AssumeRole { policy: Some(&longest), session: &name, ..ask(&own, "reader") };
    let session = scene.one.assume_role(&alice, &request).await.unwrap();
    assert!(session.token.len() <= TOKEN_CHARS_MAX, "{}", session.token.len());
    assert!(scene.authenticate(&session).await.is_ok());
}

#[tokio::test]
async fn sessions_out_of_sessions_are_short_and_end_with_the_first() {
    let (scene, alice) = scene().await;
    let own = account(ACCOUNT);
    create_role(&scene.one, "second", &format!("acs:ram::{ACCOUNT}:role/reader")).await;
    let text = allow("sts:AssumeRole", "*");
    grant(&scene.one, Holder::Role(name("reader")), &text).await;
    let first = scene.assume(&alice).await;
    let key = first.access_key_id.as_str();
    let first = scene.one.authenticate(key, Some(&first.token)).await.unwrap();
    let long = AssumeRole { duration_s: Some(3601), ..ask(&own, "second") };
    let refused = scene.one.assume_role(&first, &long).await.unwrap_err();
    assert_eq!(refused, AssumeRoleError::InvalidDuration { max_s: 3600 });
    let second = scene.one.assume_role(&first, &ask(&own, "second")).await.unwrap();
    assert!(scene.authenticate(&second).await.is_ok());
    scene.change(Action::RevokeSessions { of: Sessions::OfUser(name("alice")) }).await;
    assert_eq!(scene.authenticate(&second).await.unwrap_err(), AuthenticateError::SessionRevoked);
}

#[tokio::test]
async fn a_role_of_another_account_can_be_assumed_and_both_can_end_it() {
    let ends = [(ACCOUNT, true), (OTHER, true), (OTHER, false)];
    for (whose, suspend) in ends {
        let (scene, alice) = scene().await;
        let other = account(OTHER);
        let action = Action::CreateRole {
            role: name("guest"),
            comment: "".into(),
            trust: trust(&format!("acs:ram::{ACCOUNT}:user/alice")).into(),
            session_s_max: 3600,
        };
        scene.one.execute(Command { account: other.clone(), action }).await.unwrap();
        let session = scene.one.assume_role(&alice, &ask(&other, "guest")).await.unwrap();
        let candidate = scene.authenticate(&session).await.unwrap();
        assert_eq!(candidate.principal.account(), Some(&other));
        let end = match suspend {
            true => Action::SuspendAccount { suspended: true },
            false => Action::RevokeSessions { of: Sessions::OfAccount },
        };
        scene.one.execute(Command { account: account(whose), action: end }).await.unwrap();
        scene.two.now().await.unwrap();
        let refused = scene.authenticate(&session).await.unwrap_err();
        assert_eq!(refused, AuthenticateError::SessionRevoked, "{whose} {suspend}");
    }
}
