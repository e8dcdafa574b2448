//! What authentication costs per request: `cargo run --release -p vb-identity --example authenticate`.
//!
//! 1,000 users with a key each; 100 statements per policy; sessions with a session policy of 2 KB.
//! Each line is the time of one call on one core: half, 99 and 99.9 of 100 took no longer.

#![expect(clippy::print_stdout, reason = "prints its measurements")]
#![expect(clippy::unwrap_used, reason = "a measurement that cannot be made ends")]

use std::hint::black_box;
use std::time::Instant;

use vb_commit::Store;
use vb_identity::{
    AccessKey, AccountId, Action, AssumeRole, Command, Holder, IdentityStore, KeyRing, Name,
    Options, Roots, Session, SystemRandom,
};
use vb_policy::Context;

const USERS: usize = 1000;
const STATEMENTS: usize = 100;
const CALLS: usize = 200_000;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let entry = KeyRing::generate_entry("bench", &SystemRandom).unwrap();
    let ring = KeyRing::parse(&entry).unwrap();
    let account = AccountId::parse("1234567890123456").unwrap();
    let mut roots = Roots::default();
    let secret = vb_identity::Secret::parse("root-secret").unwrap();
    roots.insert(AccessKey { id: "root".into(), secret, account: account.clone() }).unwrap();
    let (store, options) = (Store::memory(), Options::default());
    let identities =
        IdentityStore::open(&store, roots.clone(), Some(ring.clone()), options).await.unwrap();
    let (keys, sessions) = populate(&identities, &account).await;
    let start = Instant::now();
    let again = IdentityStore::open(&store, roots, Some(ring), Options::default()).await.unwrap();
    println!("open, {USERS} users: {:.1} ms", start.elapsed().as_secs_f64() * 1e3);

    let snapshot = again.snapshot();
    let now_ms = 1_800_000_000_000;
    measure("snapshot, key of a user", |n| {
        let key = &keys[n % keys.len()];
        black_box(snapshot.authenticate(&key.id, None, now_ms).unwrap());
    });
    measure("snapshot, unknown key", |n| {
        let key = if n % 2 == 0 { "LTAI5tNobodyAtAll0000000" } else { "x" };
        black_box(snapshot.authenticate(key, None, now_ms).unwrap_err());
    });
    let now_ms = sessions[0].expires_ms - 1000;
    measure("snapshot, session seen before", |n| {
        let session = &sessions[n % 10];
        let key = session.access_key_id.as_str();
        black_box(snapshot.authenticate(key, Some(&session.token), now_ms).unwrap());
    });
    let mut firsts = sessions.iter();
    measure_calls("snapshot, session for the first time", sessions.len() - 10, |_| {
        let session = firsts.next_back().unwrap();
        let key = session.access_key_id.as_str();
        black_box(snapshot.authenticate(key, Some(&session.token), now_ms).unwrap());
    });
    let mut forged = sessions[0].token.to_string();
    forged.replace_range(100..101, if &forged[100..101] == "A" { "B" } else { "A" });
    measure("snapshot, forged token", |_| {
        let key = sessions[0].access_key_id.as_str();
        black_box(snapshot.authenticate(key, Some(&forged), now_ms).unwrap_err());
    });
    let mut times = Vec::with_capacity(CALLS);
    for n in 0..CALLS {
        let start = Instant::now();
        black_box(again.authenticate(&keys[n % keys.len()].id, None).await.unwrap());
        times.push(start.elapsed().as_nanos());
    }
    print("store, key of a user", &mut times);
}

async fn populate(
    identities: &IdentityStore,
    account: &AccountId,
) -> (Vec<AccessKey>, Vec<Session>) {
    let run = |action| identities.execute(Command { account: account.clone(), action });
    let comment = || Box::<str>::from("");
    let mut keys = Vec::new();
    for number in 0..USERS {
        let user = Name::parse(&format!("user{number}")).unwrap();
        run(Action::CreateUser { user: user.clone(), comment: comment() }).await.unwrap();
        let (to, name) = (Holder::User(user.clone()), Name::parse("own").unwrap());
        run(Action::PutInline { to, name, text: policy(number).into() }).await.unwrap();
        keys.push(identities.create_access_key(account, &user).await.unwrap());
    }
    let role = Name::parse("reader").unwrap();
    let trust = r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"RAM":["acs:ram::1234567890123456:root"]}}]}"#;
    let (trust, session_s_max) = (trust.into(), 3600);
    run(Action::CreateRole { role, comment: comment(), trust, session_s_max }).await.unwrap();
    let root = identities.authenticate("root", None).await.unwrap();
    let narrow = format!(
        r#"{{"Version":"1","Statement":[{{"Effect":"Allow","Action":"oss:GetVectors","Resource":"acs:ossvector:*:*:{}"}}]}}"#,
        "b".repeat(1900),
    );
    let mut sessions = Vec::new();
    for _ in 0..1500 {
        let request = AssumeRole {
            account,
            role: "reader",
            session: "bench",
            duration_s: None,
            policy: Some(&narrow),
            context: Context::default(),
        };
        sessions.push(identities.assume_role(&root, &request).await.unwrap());
    }
    (keys, sessions)
}

fn policy(number: usize) -> String {
    let statement = |n: usize| {
        format!(
            r#"{{"Effect":"Allow","Action":"oss:GetVectors","Resource":"acs:ossvector:*:*:b{number}/i{n}/*"}}"#
        )
    };
    let statements: Vec<_> = (0..STATEMENTS).map(statement).collect();
    format!(r#"{{"Version":"1","Statement":[{}]}}"#, statements.join(","))
}

fn measure(what: &str, call: impl FnMut(usize)) {
    measure_calls(what, CALLS, call);
}

fn measure_calls(what: &str, calls: usize, mut call: impl FnMut(usize)) {
    let mut times = Vec::with_capacity(calls);
    for n in 0..calls {
        let start = Instant::now();
        call(n);
        times.push(start.elapsed().as_nanos());
    }
    print(what, &mut times);
}

fn print(what: &str, times: &mut [u128]) {
    times.sort_unstable();
    let at = |share: f64| times[((times.len() as f64 * share) as usize).min(times.len() - 1)];
    let (half, most, nearly) = (at(0.5), at(0.99), at(0.999));
    println!("{what:38} {half:>7} ns  p99 {most:>7} ns  p99.9 {nearly:>7} ns");
}
