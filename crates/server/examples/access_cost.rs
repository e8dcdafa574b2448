//! What access control costs: `cargo run --release -p vb-server --example access_cost`.
//!
//! First the path of a request from its head to the decision, on one core and without a socket, with
//! 1,000 users and 100 statements in each policy: the signature, the caller's rights on what the
//! head names, and those on the index that the body would name. Then how long refusals take over
//! HTTP, for buckets that are there and buckets that are not, in turns.

#![expect(clippy::print_stdout, reason = "prints its measurements")]
#![expect(clippy::unwrap_used, reason = "a measurement that cannot be made ends")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue, Request};
use vb_api::oss::signature::{Credentials, SignInput, authorization};
use vb_api::oss::to_basic;
use vb_identity::{
    AccountId, Action, AssumeRole, Command, Holder, IdentityStore, KeyRing, Name, SystemRandom,
};
use vb_server::{AccessPath, Config, Handle, Secret, Server, StoreUrl};

const ACCOUNT: &str = "1234567890123456";
const DOMAIN: &str = "cn-hangzhou.oss-vectors.aliyuncs.com";
const USERS: usize = 1000;
const STATEMENTS: usize = 100;
const CALLS: usize = 100_000;
/// Sessions that fill the memories of a server that has just begun, and as many that come then.
const SESSIONS: usize = 5_000;
const REFUSALS: usize = 5_000;

#[tokio::main(flavor = "multi_thread", worker_threads = 1)]
async fn main() {
    let handle = Server::start(&config()).await.unwrap();
    let root =
        Credentials { access_key_id: "root".into(), secret: "root-secret".into(), token: None };
    let path = handle.access_path();
    create_bucket(handle.addr(), &root);
    let users = users(handle.identities()).await;
    for (about, resource, condition) in [
        ("a bucket per statement", "acs:ossvector:*:*:vec-{}/docs/*", ""),
        ("an index per statement", "acs:ossvector:*:*:vec/docs{}/*", ""),
        ("a wildcard per statement", "acs:ossvector:*:*:*-{}/docs/*", ""),
        (
            "an address per statement",
            "*",
            r#","Condition":{"IpAddress":{"acs:SourceIp":"10.0.{}.0/24"}}"#,
        ),
        (
            "a user agent per statement",
            "*",
            r#","Condition":{"StringLike":{"acs:UserAgent":"agent-*-{}"}}"#,
        ),
        (
            "two networks per statement",
            "*",
            r#","Condition":{"IpAddress":{"acs:SourceIp":["10.0.{}.0/24","10.1.{}.0/24"]}}"#,
        ),
    ] {
        grant(handle.identities(), resource, condition).await;
        measure(about, &path, &users, CALLS).await;
    }
    grant(handle.identities(), "acs:ossvector:*:*:vec-{}/docs/*", "").await;
    measure("a bucket per statement, again", &path, &users, CALLS).await;
    let sessions = sessions(handle.identities()).await;
    let (first, later) = sessions.split_at(SESSIONS);
    measure("the first sessions after a start", &path, first, SESSIONS).await;
    measure("sessions, each for the first time", &path, later, SESSIONS).await;
    measure("sessions seen before", &path, &later[SESSIONS - 1000..], CALLS).await;
    refusals(&handle, &root);
}

fn config() -> Config {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut config = Config {
        listen: any,
        admin_listen: any,
        store: StoreUrl::Memory,
        account_id: ACCOUNT.into(),
        root_access_key_id: "root".into(),
        root_access_key_secret: Secret::new("root-secret"),
        key_ring: Secret::new(KeyRing::generate_entry("bench", &SystemRandom).unwrap().as_str()),
        ..Config::default()
    };
    config.log.access = false;
    config.rates.source_failures = None;
    config
}

/// From now on the users may query `vec/docs` by the last statement of their policy alone.
async fn grant(identities: &IdentityStore, resource: &str, condition: &str) {
    let account = AccountId::parse(ACCOUNT).unwrap();
    let run = |action| identities.execute(Command { account: account.clone(), action });
    let statements: Vec<String> = (0..STATEMENTS)
        .map(|number| {
            let (resource, condition) = match number + 1 == STATEMENTS {
                true => ("acs:ossvector:*:*:vec/docs/*".to_owned(), String::new()),
                false => {
                    let number = (number + 100).to_string();
                    (resource.replace("{}", &number), condition.replace("{}", &number))
                }
            };
            format!(r#"{{"Effect":"Allow","Action":"oss:*","Resource":"{resource}"{condition}}}"#)
        })
        .collect();
    let text = format!(r#"{{"Version":"1","Statement":[{}]}}"#, statements.join(","));
    for number in 0..USERS {
        let (to, name) = (Holder::User(user(number)), Name::parse("own").unwrap());
        run(Action::PutInline { to, name, text: text.as_str().into() }).await.unwrap();
    }
}

fn user(number: usize) -> Name {
    Name::parse(&format!("user{number}")).unwrap()
}

/// Users with a key each, and no rights.
async fn users(identities: &IdentityStore) -> Vec<Credentials> {
    let account = AccountId::parse(ACCOUNT).unwrap();
    let mut users = Vec::new();
    for number in 0..USERS {
        let user = user(number);
        let action = Action::CreateUser { user: user.clone(), comment: "".into() };
        identities.execute(Command { account: account.clone(), action }).await.unwrap();
        let key = identities.create_access_key(&account, &user).await.unwrap();
        users.push(Credentials {
            access_key_id: key.id.to_string(),
            secret: key.secret.expose().to_owned(),
            token: None,
        });
    }
    users
}

/// Sessions of a role that may query `vec/docs`.
async fn sessions(identities: &IdentityStore) -> Vec<Credentials> {
    let account = AccountId::parse(ACCOUNT).unwrap();
    let run = |action| identities.execute(Command { account: account.clone(), action });
    let role = Name::parse("reader").unwrap();
    let trust = format!(
        r#"{{"Version":"1","Statement":[{{"Effect":"Allow","Action":"sts:AssumeRole",
           "Principal":{{"RAM":["acs:ram::{ACCOUNT}:root"]}}}}]}}"#
    );
    let trust = trust.as_str().into();
    let create =
        Action::CreateRole { role: role.clone(), comment: "".into(), trust, session_s_max: 3600 };
    run(create).await.unwrap();
    let text =
        r#"{"Version":"1","Statement":[{"Effect":"Allow","Action":"oss:*","Resource":"*"}]}"#;
    let (to, name) = (Holder::Role(role), Name::parse("own").unwrap());
    run(Action::PutInline { to, name, text: text.into() }).await.unwrap();
    let root = identities.authenticate("root", None).await.unwrap();
    let mut sessions = Vec::new();
    for _ in 0..2 * SESSIONS {
        let request = AssumeRole {
            account: &account,
            role: "reader",
            session: "bench",
            duration_s: None,
            policy: Some(text),
            context: vb_policy::Context::default(),
        };
        let session = identities.assume_role(&root, &request).await.unwrap();
        sessions.push(Credentials {
            access_key_id: session.access_key_id.as_str().to_owned(),
            secret: session.secret.expose().to_owned(),
            token: Some(session.token.to_string()),
        });
    }
    sessions
}

/// The signed headers of a call on a bucket.
fn headers(credentials: &Credentials, method: &str, bucket: &str, query: &str) -> HeaderMap {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let at = i64::try_from(since.as_secs()).unwrap();
    let mut headers = HeaderMap::new();
    let mut set = |name: &'static str, value: &str| {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    };
    set("host", &format!("{bucket}-{ACCOUNT}.{DOMAIN}"));
    set("content-type", "application/json");
    set("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg==");
    set("content-length", "0");
    set("user-agent", "alibabacloud-python-sdk-v2/1.4.1 vector-client");
    set("x-oss-date", &to_basic(at));
    set("x-oss-content-sha256", "UNSIGNED-PAYLOAD");
    if let Some(token) = &credentials.token {
        set("x-oss-security-token", token);
    }
    let input = SignInput {
        method,
        region: "cn-hangzhou",
        resource: Some((ACCOUNT, bucket)),
        query,
        headers: &headers,
        additional: &[],
        at,
    };
    let value = authorization(credentials, &input);
    headers.insert("authorization", HeaderValue::from_str(&value).unwrap());
    headers
}

async fn measure(about: &str, path: &AccessPath, callers: &[Credentials], calls: usize) {
    let heads: Vec<Request<()>> = callers
        .iter()
        .map(|caller| {
            let mut request = Request::post("/?queryVectors").body(()).unwrap();
            *request.headers_mut() = headers(caller, "POST", "vec", "queryVectors");
            request
        })
        .collect();
    let (mut times, mut state) = (Vec::with_capacity(calls), 1u64);
    for call in 0..calls {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // Callers at random, so that little of them is in the processor's caches.
        let number = if calls <= heads.len() { call } else { (state >> 33) as usize % heads.len() };
        let request = heads[number].clone();
        let begun = Instant::now();
        let decided = path.decide(request, "docs").await;
        times.push(begun.elapsed().as_nanos());
        assert_eq!(decided, Ok(()), "{about}");
    }
    print(about, &mut times);
}

fn print(about: &str, times: &mut [u128]) {
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    println!("{about:36} p50 {:>7} ns  p99 {:>7} ns  p99.9 {:>7} ns", at(0.5), at(0.99), at(0.999));
}

fn create_bucket(addr: SocketAddr, root: &Credentials) {
    let mut connection = TcpStream::connect(addr).unwrap();
    assert_eq!(send(&mut connection, "PUT", "", &headers(root, "PUT", "vec", "")), 200);
}

/// Sends a head and reads its answer; the status.
fn send(connection: &mut TcpStream, method: &str, query: &str, headers: &HeaderMap) -> u16 {
    let mut head = format!("{method} /?{query} HTTP/1.1\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {}\r\n", value.to_str().unwrap());
    }
    connection.write_all((head + "\r\n").as_bytes()).unwrap();
    let (mut answer, mut buffer) = (Vec::new(), [0; 8192]);
    loop {
        let read = connection.read(&mut buffer).unwrap();
        answer.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&answer);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let lower = head.to_ascii_lowercase();
        let length = lower.split("content-length: ").nth(1).and_then(|s| s.lines().next());
        if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
            return head[9..12].parse().unwrap();
        }
    }
}

/// Refusals of a bucket that is there and one that is not, in turns, on one connection.
fn refusals(handle: &Handle, root: &Credentials) {
    let forged = Credentials { secret: "wrong".into(), ..root.clone() };
    let mut connection = TcpStream::connect(handle.addr()).unwrap();
    connection.set_nodelay(true).unwrap();
    for (who, caller) in [("anonymous", None), ("forged", Some(forged))] {
        let heads = ["vec", "gone"].map(|bucket| {
            let mut all = headers(caller.as_ref().unwrap_or(root), "POST", bucket, "queryVectors");
            if caller.is_none() {
                all.remove("authorization");
            }
            all
        });
        let mut times = [Vec::new(), Vec::new()];
        for turn in 0..2 * REFUSALS {
            let begun = Instant::now();
            let status = send(&mut connection, "POST", "queryVectors", &heads[turn % 2]);
            times[turn % 2].push(begun.elapsed().as_nanos());
            assert_eq!(status, 403, "{who}");
        }
        let [there, gone] = &mut times;
        print(&format!("refused, {who}, bucket there"), there);
        print(&format!("refused, {who}, no bucket"), gone);
        println!("{:36} {:.3} standard deviations apart", "", distance(there, gone));
    }
}

/// How far two means are apart, in units of the deviation of their difference, of the lower nine
/// tenths (Welch's t). Beyond about 4 the two can be told apart by that many requests.
fn distance(a: &[u128], b: &[u128]) -> f64 {
    let moments = |times: &[u128]| {
        let kept: Vec<f64> = times[..times.len() * 9 / 10].iter().map(|t| *t as f64).collect();
        let count = kept.len() as f64;
        let mean = kept.iter().sum::<f64>() / count;
        let square = kept.iter().map(|t| (t - mean).powi(2)).sum::<f64>() / (count - 1.0);
        (mean, square / count)
    };
    let ((mean_a, error_a), (mean_b, error_b)) = (moments(a), moments(b));
    (mean_a - mean_b) / (error_a + error_b).sqrt()
}
