//! Assuming roles: the trust policy and the caller's own policies must agree.

use std::sync::Arc;

use vb_policy::{Caller, Cause, Context, Document, Kind, Policy, PolicySet, assume_role};

const A: &str = "1000000000000001";
const B: &str = "2000000000000002";
const ALICE: Caller<'_> = Caller::User { account: A, id: "11", name: "alice" };
const CAROL: Caller<'_> = Caller::User { account: B, id: "21", name: "carol" };

fn policy(kind: Kind, statements: &str) -> Policy {
    let text = format!(r#"{{"Version":"1","Statement":[{statements}]}}"#);
    Policy::new("p", Document::parse(kind, text.as_bytes()).expect(&text))
}

fn trust(effect: &str, principal: &str, extra: &str) -> String {
    format!(
        r#"{{"Effect":"{effect}","Action":"sts:AssumeRole","Principal":{{"RAM":{principal}}}{extra}}}"#
    )
}

fn assume(trust: &str, own: &str, caller: Caller<'_>, context: Context<'_>) -> Cause {
    let trust = policy(Kind::Trust, trust);
    let own: Vec<Arc<Policy>> =
        (!own.is_empty()).then(|| Arc::new(policy(Kind::Identity, own))).into_iter().collect();
    let set = PolicySet { identity: &own, session: None, bucket: None, block_public_access: true };
    assume_role(&trust, &set, (A, "reader"), caller, context).cause
}

const MAY_ASSUME: &str = r#"{"Effect":"Allow","Action":"sts:AssumeRole","Resource":"*"}"#;

#[test]
fn trust_and_permission_must_agree() {
    let all = trust("Allow", &format!(r#""acs:ram::{A}:root""#), "");
    let alice = trust("Allow", &format!(r#"["acs:ram::{A}:user/alice"]"#), "");
    let bob = trust("Allow", &format!(r#"["acs:ram::{A}:user/bob"]"#), "");
    let stranger = trust("Allow", &format!(r#"["acs:ram::{B}:user/carol"]"#), "");
    let only_reader =
        r#"{"Effect":"Allow","Action":"sts:*","Resource":"acs:ram::1000000000000001:role/reader"}"#;
    let only_writer = r#"{"Effect":"Allow","Action":"sts:*","Resource":"acs:ram:*:*:role/writer"}"#;
    let oss_only = r#"{"Effect":"Allow","Action":"oss:*","Resource":"*"}"#;
    let denied = r#"{"Effect":"Allow","Action":"*","Resource":"*"},{"Effect":"Deny","Action":"sts:AssumeRole","Resource":"acs:ram:*:*:role/*"}"#;
    let root = Caller::Root { account: A };
    let cases = [
        (&all, MAY_ASSUME, ALICE, Cause::Granted),
        (&alice, MAY_ASSUME, ALICE, Cause::Granted),
        (&alice, only_reader, ALICE, Cause::Granted),
        (&alice, only_writer, ALICE, Cause::NotGranted),
        (&alice, oss_only, ALICE, Cause::NotGranted),
        (&alice, "", ALICE, Cause::NotGranted),
        (&alice, denied, ALICE, Cause::DeniedByIdentity),
        (&bob, MAY_ASSUME, ALICE, Cause::NotTrusted),
        (&all, MAY_ASSUME, CAROL, Cause::NotTrusted),
        (&stranger, MAY_ASSUME, CAROL, Cause::Granted),
        (&stranger, "", CAROL, Cause::NotGrantedToStranger),
        (&all, "", root, Cause::Owner),
        (&alice, "", root, Cause::NotTrusted),
        (&all, "", Caller::Anonymous, Cause::NotTrusted),
    ];
    for (trust, own, caller, expected) in cases {
        assert_eq!(assume(trust, own, caller, Context::default()), expected, "{trust} {own}");
    }
}

#[test]
fn trust_may_deny_and_have_conditions() {
    let account = format!(r#""acs:ram::{A}:root""#);
    let secure = r#","Condition":{"Bool":{"acs:SecureTransport":"true"}}"#;
    let both = [
        trust("Allow", &account, secure),
        trust("Deny", &format!(r#""acs:ram::{A}:user/alice""#), ""),
    ];
    let tls = Context { secure_transport: true, ..Context::default() };
    assert_eq!(assume(&both[0], MAY_ASSUME, ALICE, Context::default()), Cause::NotTrusted);
    assert_eq!(assume(&both[0], MAY_ASSUME, ALICE, tls), Cause::Granted);
    assert_eq!(assume(&both.join(","), MAY_ASSUME, ALICE, tls), Cause::DeniedByTrust);
}

#[test]
fn trust_policies_are_strict() {
    let refused = [
        r#"{"Effect":"Allow","Action":"*","Principal":{"RAM":"acs:ram::1:root"}}"#,
        r#"{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"Service":"ecs.aliyuncs.com"}}"#,
        r#"{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"RAM":"*"}}"#,
        r#"{"Effect":"Allow","Action":"sts:AssumeRole","Principal":"1"}"#,
        r#"{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"RAM":[]}}"#,
        r#"{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"RAM":"acs:ram::1:root"},"Resource":"*"}"#,
        r#"{"Effect":"Allow","NotAction":"sts:AssumeRole","Principal":{"RAM":"acs:ram::1:root"}}"#,
    ];
    for statement in refused {
        let text = format!(r#"{{"Version":"1","Statement":[{statement}]}}"#);
        assert!(Document::parse(Kind::Trust, text.as_bytes()).is_err(), "{statement}");
        // Stored all the same, it lets nobody in.
        let stored = Policy::stored(Kind::Trust, "p", text.as_bytes());
        let own = [Arc::new(policy(Kind::Identity, MAY_ASSUME))];
        let set =
            PolicySet { identity: &own, session: None, bucket: None, block_public_access: true };
        let caller = Caller::User { account: "1", id: "2", name: "u" };
        let decision = assume_role(&stored, &set, ("1", "r"), caller, Context::default());
        assert!(!decision.is_allowed(), "{statement}");
    }
}
