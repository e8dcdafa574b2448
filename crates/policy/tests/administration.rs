//! Administering an account: the caller's own policies alone decide, and buckets' have no say.

use std::sync::Arc;

use vb_policy::{
    Action, Caller, Cause, Context, Document, Kind, Policy, PolicySet, Request, Resource, Target,
    evaluate,
};

const A: &str = "1000000000000001";
const B: &str = "2000000000000002";
const ALICE: Caller<'_> = Caller::User { account: A, id: "11", name: "alice" };

fn policy(kind: Kind, statement: &str) -> Arc<Policy> {
    let text = format!(r#"{{"Version":"1","Statement":[{statement}]}}"#);
    Arc::new(Policy::new("p", Document::parse(kind, text.as_bytes()).expect(&text)))
}

fn decide(own: &str, caller: Caller<'_>, account: &str, action: Action, name: &str) -> Cause {
    let own: Vec<Arc<Policy>> =
        (!own.is_empty()).then(|| policy(Kind::Identity, own)).into_iter().collect();
    let open = r#"{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}"#;
    let bucket = policy(Kind::Bucket, open);
    let set = PolicySet {
        identity: &own,
        session: None,
        bucket: Some(&bucket),
        block_public_access: false,
    };
    let resource = Resource { region: "cn-hangzhou", account, target: Target::Identity(name) };
    let request = Request { caller, action, resource, context: Context::default() };
    evaluate(&set, &request).cause
}

fn allow(action: &str, resource: &str) -> String {
    format!(r#"{{"Effect":"Allow","Action":"{action}","Resource":"{resource}"}}"#)
}

#[test]
fn rights_reach_what_the_policy_names() {
    let keys = Action::AdminKeys;
    let own_keys = allow("vectorbucket:AdminKeys", "acs:ram:*:*:user/alice");
    let cases = [
        (&own_keys, keys, "user/alice", Cause::Granted),
        (&own_keys, keys, "user/bob", Cause::NotGranted),
        (&own_keys, Action::AdminUsers, "user/alice", Cause::NotGranted),
        (&allow("vectorbucket:Admin*", "*"), Action::AdminAccount, "account", Cause::Granted),
        (&allow("vectorbucket:Admin*", "acs:ram::*:*"), keys, "user/bob", Cause::Granted),
        (&allow("*", "*"), keys, "user/bob", Cause::Granted),
        // What is granted on data opens nothing else.
        (&allow("*", "acs:ossvector:*:*:*"), keys, "user/bob", Cause::NotGranted),
        (&allow("oss:*", "*"), Action::AdminRead, "account", Cause::NotGranted),
        (&String::new(), Action::AdminRead, "account", Cause::NotGranted),
    ];
    for (own, action, name, expected) in cases {
        assert_eq!(decide(own, ALICE, A, action, name), expected, "{own} {action:?} {name}");
    }
}

#[test]
fn an_account_is_administered_by_its_own() {
    let all = allow("*", "*");
    let read = Action::AdminRead;
    assert_eq!(decide("", Caller::Root { account: A }, A, read, "account"), Cause::Owner);
    let stranger = Caller::Root { account: B };
    assert_eq!(decide("", stranger, A, read, "account"), Cause::NotGrantedToStranger);
    assert_eq!(decide(&all, ALICE, B, read, "account"), Cause::NotGrantedToStranger);
    assert_eq!(decide("", Caller::Anonymous, A, read, "account"), Cause::Anonymous);
}

#[test]
fn a_session_needs_the_right_in_both() {
    let own = [policy(Kind::Identity, &allow("vectorbucket:*", "*"))];
    let narrow = policy(Kind::Session, &allow("vectorbucket:AdminRead", "*"));
    let role = Caller::Role { account: A, id: "31", name: "r", session: "s" };
    let decide = |action| {
        let set = PolicySet {
            identity: &own,
            session: Some(&*narrow),
            bucket: None,
            block_public_access: true,
        };
        let target = Target::Identity("user/bob");
        let resource = Resource { region: "", account: A, target };
        let context = Context::default();
        evaluate(&set, &Request { caller: role, action, resource, context }).cause
    };
    assert_eq!(decide(Action::AdminRead), Cause::Granted);
    assert_eq!(decide(Action::AdminKeys), Cause::NotGrantedBySession);
}
