//! How long a decision takes: `cargo run --release -p vb-policy --example decide`.
//!
//! One thousand users with a policy of one hundred statements each, and a bucket policy of one
//! hundred; callers are taken at random, so that little of it is in the processor's caches. Then
//! the most hostile documents that fit into 16 KB.
#![expect(clippy::print_stdout, reason = "the example's purpose is its output")]

use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use vb_policy::{
    Action, Caller, Context, Document, Kind, Policy, PolicySet, Request, Resource, Target, evaluate,
};

const ACCOUNT: &str = "1000000000000001";
const USERS: usize = 1000;
const STATEMENTS: usize = 100;
const DECISIONS: usize = 200_000;

fn main() {
    for (about, resource, condition) in [
        ("a bucket per statement", "bucket-{}/docs/*", ""),
        ("a wildcard per statement", "*-{}/docs/*", ""),
        ("all about the bucket", "bucket-7/docs-{}/*", ""),
        ("with conditions", "*", r#","Condition":{"IpAddress":{"acs:SourceIp":"10.{}.0.0/16"}}"#),
    ] {
        report(about, &mut random_callers(resource, condition));
    }
    for (about, pattern, value) in hostile() {
        println!("hostile, {about}: {:?}", hostile_decision(&pattern, &value));
    }
}

fn random_callers(resource: &str, condition: &str) -> Vec<Duration> {
    let users: Vec<[Arc<Policy>; 1]> = (0..USERS)
        .map(|user| [Arc::new(policy(Kind::Identity, user, resource, condition))])
        .collect();
    let bucket = policy(Kind::Bucket, USERS, resource, condition);
    let mut state = 1u64;
    let decide = |_| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let user = (state >> 33) as usize % USERS;
        let set = PolicySet {
            identity: &users[user],
            session: None,
            bucket: Some(&bucket),
            block_public_access: true,
        };
        let caller = Caller::User { account: ACCOUNT, id: "11", name: "u" };
        let target = Target::Data { bucket: "bucket-7", index: "docs" };
        let resource = Resource { region: "cn-hangzhou", account: ACCOUNT, target };
        let context = Context { source_ip: Some([10, 200, 0, 1].into()), ..Context::default() };
        let request = Request { caller, action: Action::QueryVectors, resource, context };
        let start = Instant::now();
        std::hint::black_box(evaluate(&set, &request));
        start.elapsed()
    };
    (0..DECISIONS).map(decide).collect()
}

/// Statements that all mean the action, none of which settles the matter early.
fn policy(kind: Kind, user: usize, resource: &str, condition: &str) -> Policy {
    let mut text = String::from(r#"{"Version":"1","Statement":["#);
    for at in 0..STATEMENTS {
        let number = (user + at).to_string();
        let principal = if kind == Kind::Bucket { r#","Principal":["11"]"# } else { "" };
        let resource = if resource == "*" {
            "*".to_owned()
        } else {
            format!("acs:ossvector:*:*:{}", resource.replace("{}", &number))
        };
        let condition = condition.replace("{}", &(at % 200).to_string());
        let comma = if at == 0 { "" } else { "," };
        write!(
            text,
            r#"{comma}{{"Effect":"Allow","Action":"oss:*","Resource":"{resource}"{principal}{condition}}}"#
        )
        .expect("writing to a String cannot fail");
    }
    stored(kind, &(text + "]}"))
}

/// These documents may be larger than a client could store.
fn stored(kind: Kind, text: &str) -> Policy {
    let policy = Policy::stored(kind, "p", text.as_bytes());
    assert_eq!(policy.statement_count(), STATEMENTS);
    assert_eq!(policy.flaws().count(), 0, "{text:.200}");
    policy
}

fn report(about: &str, times: &mut [Duration]) {
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    println!(
        "2 x {STATEMENTS} statements, {about}: p50 {:?}, p99 {:?}, p99.9 {:?}",
        at(0.5),
        at(0.99),
        at(0.999)
    );
}

/// About, a pattern of the User-Agent, the User-Agent.
fn hostile() -> [(&'static str, String, String); 4] {
    let agent = "a".repeat(8000);
    [
        ("4 KB of stars", "*".repeat(4095), agent.clone()),
        ("stars and letters", "*a".repeat(2047) + "b", agent.clone()),
        ("stars and question marks", "*a?".repeat(1364) + "b", agent.clone()),
        ("a long piece of question marks", format!("*{}b*", "a?".repeat(2045)), agent),
    ]
}

/// The median of many decisions over a 16 KB document made of one pattern.
fn hostile_decision(pattern: &str, agent: &str) -> Duration {
    let condition = |name: &str| format!(r#""{name}":{{"acs:UserAgent":["{pattern}"]}}"#);
    let three = [condition("StringLike"), condition("StringNotLike"), condition("StringEquals")];
    let text = format!(
        r#"{{"Version":"1","Statement":[{{"Effect":"Deny","Action":"*:*","Resource":"*","Condition":{{{}}}}}]}}"#,
        three.join(",")
    );
    let document = Document::parse(Kind::Identity, text.as_bytes()).expect("within the limits");
    let own = [Arc::new(Policy::new("p", document))];
    let set = PolicySet { identity: &own, session: None, bucket: None, block_public_access: true };
    let caller = Caller::User { account: ACCOUNT, id: "11", name: "u" };
    let resource = Resource { region: "r", account: ACCOUNT, target: Target::Bucket("vec") };
    let context = Context { user_agent: Some(agent), ..Context::default() };
    let request = Request { caller, action: Action::GetVectorBucket, resource, context };
    let once = |_| {
        let start = Instant::now();
        std::hint::black_box(evaluate(&set, &request));
        start.elapsed()
    };
    let mut times: Vec<Duration> = (0..201).map(once).collect();
    times.sort_unstable();
    times[100]
}
