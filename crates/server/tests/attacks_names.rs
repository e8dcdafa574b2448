//! Attacks with tokens that are not one's own, and with names that only look like others.

mod common;

use common::people::{Keys, allow, name};
use common::prey::{Expected, MISMATCH, Prey, delete, head, swap, value, without};
use common::{ACCOUNT, Call, DOMAIN};
use http::HeaderMap;
use serde_json::json;
use vb_api::oss::signature::{Credentials, SignInput, presign};
use vb_identity::{Action, Command, Holder, Name};

const TOKEN: &str = "x-oss-security-token";
const INVALID: Expected = (403, "InvalidSecurityToken", "0002-00000006");
const OF_ANOTHER: Expected = (403, "AccessKeyIdAndSecurityTokenNotMatch", "0900-00000103");
const NO_TOKEN: Expected = (403, "AccessDenied", "0002-00000005");
const NOT_GRANTED: Expected = (403, "AccessDenied", "0003-00000202");
const BAD_BUCKET: Expected = (400, "InvalidVectorBucketName", "0900-00000401");
const BAD_INDEX: Expected = (400, "VectorIndexParameterInvalid", "0900-00000502");
const TWICE: Expected = (400, "MalformedJson", "0900-00000312");

/// A session of a role that may do everything.
async fn session(prey: &Prey, role: &str) -> Keys {
    let people = prey.people();
    people.role(ACCOUNT, role).await;
    people.grant(ACCOUNT, Holder::Role(name(role)), &allow(&["oss:*"], &["*"])).await;
    people.session(ACCOUNT, role, None).await
}

fn with_token(keys: &Keys, token: &str) -> Keys {
    Keys { token: Some(token.to_owned()), ..keys.clone() }
}

#[tokio::test]
async fn a_token_serves_its_own_key_alone() {
    let prey = Prey::start().await;
    let (mine, other) = (session(&prey, "mine").await, session(&prey, "other").await);
    let again = prey.people().session(ACCOUNT, "mine", None).await;
    let (token, call) = (mine.token.clone().unwrap(), delete());
    for (what, keys, expected) in [
        ("of another role", with_token(&mine, other.token.as_deref().unwrap()), OF_ANOTHER),
        ("of another session", with_token(&mine, again.token.as_deref().unwrap()), OF_ANOTHER),
        ("with a lasting key", with_token(&Keys::root(), &token), INVALID),
        ("none", Keys { token: None, ..mine.clone() }, NO_TOKEN),
        ("an empty one", with_token(&mine, ""), INVALID),
        ("with another secret", Keys { secret: other.secret.clone(), ..mine.clone() }, MISMATCH),
        ("with a made-up key", Keys { id: format!("{}x", mine.id), ..mine.clone() }, OF_ANOTHER),
    ] {
        prey.refuses_call(what, &keys.sign(&call), expected).await;
    }
    // Exchanged or taken away after signing.
    let sent = head(&mine.sign(&call));
    let swapped = swap(&sent, &token, again.token.as_deref().unwrap());
    prey.refuses("exchanged", &swapped, &call.body, OF_ANOTHER).await;
    prey.refuses("taken away", &without(&sent, TOKEN), &call.body, NO_TOKEN).await;
    let line = format!("{TOKEN}: {token}");
    let twice = swap(&sent, &line, &format!("{line}\r\n{line}"));
    let repeated = (400, "InvalidArgument", "0900-00000102");
    prey.refuses("twice", &twice, &call.body, repeated).await;
    let moved = swap(&without(&sent, TOKEN), "?", &format!("?{TOKEN}={token}&"));
    prey.refuses("in the query", &moved, &call.body, NO_TOKEN).await;
}

#[tokio::test]
async fn a_changed_or_cut_token_is_refused() {
    let prey = Prey::start().await;
    let keys = session(&prey, "mine").await;
    let (token, call) = (keys.token.clone().unwrap(), delete());
    let mut changed: Vec<String> = Vec::new();
    for at in (0..token.len() - 1).step_by(23) {
        let other = if &token[at..=at] == "A" { "B" } else { "A" };
        changed.push(format!("{}{other}{}", &token[..at], &token[at + 1..]));
    }
    for length in [1, token.len() / 2, token.len() - 4, token.len() - 1] {
        changed.push(token[..length].to_owned());
    }
    changed.push(format!("{token}AAAA"));
    changed.push(format!("{token}="));
    changed.push(format!("{token},{token}"));
    changed.push(token.repeat(12));
    changed.push(token.to_uppercase());
    changed.push(format!("{} {}", &token[..8], &token[8..]));
    for token in &changed {
        let answer = with_token(&keys, token);
        prey.refuses_call(&format!("{token:.40}"), &answer.sign(&call), INVALID).await;
    }
    assert!(changed.len() > 15, "{}", changed.len());
}

#[tokio::test]
async fn a_signed_url_needs_the_token_it_was_signed_with() {
    let prey = Prey::start().await;
    let (mine, other) = (session(&prey, "mine").await, session(&prey, "other").await);
    let credentials = Credentials {
        access_key_id: mine.id.clone(),
        secret: mine.secret.clone(),
        token: mine.token.clone(),
    };
    let input = SignInput {
        method: "DELETE",
        region: common::REGION,
        resource: Some((ACCOUNT, "vec")),
        query: "tagging",
        headers: &HeaderMap::new(),
        additional: &[],
        at: common::now(),
    };
    let query = presign(&credentials, &input, 600);
    let url = Call::new("DELETE", "vec", "").with(|c| {
        c.query = query;
        c.signed = false;
        c.content_md5 = false;
        c.headers.clear();
    });
    let (sent, token) = (head(&url), mine.token.as_deref().unwrap());
    let exchanged = swap(&sent, token, other.token.as_deref().unwrap());
    prey.refuses("exchanged", &exchanged, b"", OF_ANOTHER).await;
    let removed = swap(&sent, &format!("&{TOKEN}={token}"), "");
    prey.refuses("removed", &removed, b"", NO_TOKEN).await;
    let encoded = swap(&sent, &format!("{TOKEN}="), "x-oss-security%2Dtoken=");
    prey.refuses("an encoded name", &encoded, b"", NO_TOKEN).await;
    prey.refuses("cut", &swap(&sent, token, &token[..token.len() - 8]), b"", INVALID).await;
}

/// Names that are not `vec`, as a path has them and as they are read.
const LOOKALIKES: [(&str, &str); 15] = [
    ("VEC", "VEC"),
    ("Vec", "Vec"),
    ("vec.", "vec."),
    ("vec%00", "vec\0"),
    ("vec%20", "vec "),
    ("%20vec", " vec"),
    ("v%D0%B5c", "v\u{435}c"),
    ("%EF%BD%96ec", "\u{ff56}ec"),
    ("ve%CC%81c", "ve\u{301}c"),
    ("v%C3%A9c", "v\u{e9}c"),
    ("vec%E2%80%8B", "vec\u{200b}"),
    ("%E2%80%AEcev", "\u{202e}cev"),
    ("..", ".."),
    ("%2e%2e", ".."),
    ("v%2565c", "v%65c"),
];

#[tokio::test]
async fn names_of_buckets_that_look_alike_lead_nowhere() {
    let prey = Prey::start().await;
    let people = prey.people();
    let alice = people.user(ACCOUNT, "alice").await;
    let own = ["acs:ossvector:*:*:vec", "acs:ossvector:*:*:vec/*"];
    people.grant_user("alice", &allow(&["oss:*"], &own)).await;
    let in_path = |path: &str, read: &str| {
        Call::new("DELETE", read, "tagging").with(|c| {
            c.host = "localhost".into();
            c.path = format!("/{path}/");
        })
    };
    for (path, read) in LOOKALIKES {
        let call = in_path(path, read);
        prey.refuses_call(path, &call, BAD_BUCKET).await;
        prey.refuses_call(path, &alice.sign(&call), NOT_GRANTED).await;
        // Signed for the real one.
        let real = call.with(|c| c.bucket = Some("vec".into()));
        prey.refuses_call(path, &real, MISMATCH).await;
    }
    // What holds a slash may look like something in the bucket, but is no bucket.
    for (path, read) in [("vec%2Fdocs", "vec/docs"), ("other%2F..%2Fvec", "other/../vec")] {
        prey.refuses_call(path, &in_path(path, read), BAD_BUCKET).await;
    }
    let bad_path = (400, "InvalidArgument", "0900-00000206");
    for path in ["%FF", "other/../vec", "./vec", "/vec"] {
        prey.refuses_call(path, &in_path(path, "vec"), bad_path).await;
    }
    let bad_host = (400, "InvalidArgument", "0900-00000203");
    for (host, expected) in [
        (format!("VEC-{ACCOUNT}.{DOMAIN}"), BAD_BUCKET),
        (format!("v.ec-{ACCOUNT}.{DOMAIN}"), BAD_BUCKET),
        (format!("v_ec-{ACCOUNT}.{DOMAIN}"), BAD_BUCKET),
        (format!("%76ec-{ACCOUNT}.{DOMAIN}"), bad_host),
        (format!("vec..-{ACCOUNT}.{DOMAIN}"), bad_host),
        (format!("vec-{ACCOUNT}.{DOMAIN}/other"), bad_host),
        (format!("vec-{ACCOUNT}.{DOMAIN}@other"), bad_host),
    ] {
        let bucket = host.split('-').next().unwrap().to_owned();
        let call = Call::new("DELETE", &bucket, "tagging").with(|c| c.host.clone_from(&host));
        prey.refuses_call(&host, &call, expected).await;
    }
    // Bytes beyond ASCII are in no host.
    let raw = swap(&head(&Call::new("DELETE", "vec", "tagging")), "Host: vec", "Host: v\u{435}c");
    prey.refuses("bytes", &raw, b"", bad_host).await;
}

/// A deletion in the index of a body that is written by hand.
fn delete_in(body: String) -> Call {
    Call::new("POST", "vec", "deleteVectors").with_body(body)
}

#[tokio::test]
async fn names_of_indexes_that_look_alike_lead_nowhere() {
    let prey = Prey::start().await;
    let people = prey.people();
    let alice = people.user(ACCOUNT, "alice").await;
    people.grant_user("alice", &allow(&["oss:*"], &["acs:ossvector:*:*:vec/docs/*"])).await;
    for index in ["notes", "Docs", "DOCS", "docsx"] {
        let call = delete_in(json!({"indexName": index, "keys": ["k"]}).to_string());
        prey.refuses_call(index, &alice.sign(&call), NOT_GRANTED).await;
    }
    for index in [
        "docs ",
        " docs",
        "docs\0",
        "docs/",
        "docs/k",
        "../docs",
        "docs/../notes",
        "do\u{441}s",
        "\u{ff44}ocs",
        "doc\u{17f}",
        "docs\u{301}",
        "docs\u{200b}",
        "docs*",
        "*",
        "?ocs",
        "",
    ] {
        let call = delete_in(json!({"indexName": index, "keys": ["k"]}).to_string());
        prey.refuses_call(index, &alice.sign(&call), BAD_INDEX).await;
        prey.refuses_call(index, &call, BAD_INDEX).await;
    }
    // Escapes are another spelling of the same name, and reach no further.
    let spelt = |index: &str| format!("{{\"indexName\":\"{index}\",\"keys\":[\"k\"]}}");
    let escaped = delete_in(spelt("\\u006eotes"));
    prey.refuses_call("an escape", &alice.sign(&escaped), NOT_GRANTED).await;
    let row = r#"{"key":"k","data":{"float32":[9,9]}}"#;
    for (first, second) in [("docs", "notes"), ("notes", "docs")] {
        for member in ["indexName", "index\\u004eame"] {
            let names = format!("\"indexName\":\"{first}\",\"{member}\":\"{second}\"");
            let call = delete_in(format!("{{{names},\"keys\":[\"k\"]}}"));
            prey.refuses_call(&names, &alice.sign(&call), TWICE).await;
            let body = format!("{{{names},\"vectors\":[{row}]}}");
            let put = Call::new("POST", "vec", "putVectors").with_body(body);
            let expected = if first == "docs" { TWICE } else { NOT_GRANTED };
            prey.refuses_call(&names, &alice.sign(&put), expected).await;
            let padding = format!("\"x\":\"{}\"", "x".repeat(100_000));
            let body = format!(
                "{{\"indexName\":\"{first}\",{padding},\"vectors\":[{row}],\"{member}\":\"{second}\"}}"
            );
            let put = Call::new("POST", "vec", "putVectors").with_body(body);
            prey.refuses_call("far apart", &alice.sign(&put), expected).await;
        }
    }
    let others = r#"{"indexName":"docs","IndexName":"notes","indexname":"notes","keys":["none"]}"#;
    let answer = prey.server.send(&alice.sign(&delete_in(others.into()))).await;
    assert_eq!(answer.status, 204, "other members are nobody's business: {answer:?}");
    prey.check_untouched("other members").await;
}

#[tokio::test]
async fn composed_and_decomposed_keys_are_two_keys() {
    let prey = Prey::start().await;
    let rows = json!([
        {"key": "\u{e9}", "data": {"float32": [1.0, 0.0]}},
        {"key": "e\u{301}", "data": {"float32": [2.0, 0.0]}},
    ]);
    let put = Call::post("vec", "putVectors", &json!({"indexName": "docs", "vectors": rows}));
    prey.server.ok(&put).await;
    let body = json!({"indexName": "docs", "keys": ["e\u{301}"]});
    prey.server.ok(&Call::post("vec", "deleteVectors", &body)).await;
    let body = json!({"indexName": "docs", "keys": ["\u{e9}", "e\u{301}"]});
    let left = prey.server.ok(&Call::post("vec", "getVectors", &body)).await.json();
    let keys: Vec<_> = left["vectors"].as_array().unwrap().iter().map(|v| &v["key"]).collect();
    assert_eq!(keys, ["\u{e9}"]);
}

#[tokio::test]
async fn names_of_callers_that_look_alike_are_nobodys() {
    let prey = Prey::start().await;
    let people = prey.people();
    let alice = people.user(ACCOUNT, "alice").await;
    people.grant_user("alice", &allow(&["oss:*"], &["*"])).await;
    // No second user whose name differs by case alone, and none beyond ASCII.
    let create = Action::CreateUser { user: name("Alice"), comment: "".into() };
    let command = Command { account: common::people::account(ACCOUNT), action: create };
    assert!(prey.server.handle.identities().execute(command).await.is_err());
    for text in ["alice\u{301}", "\u{430}lice", "alice\0", "alice ", "ali/ce", "alice%00"] {
        assert!(Name::parse(text).is_none(), "{text}");
    }
    let call = delete();
    let unknown = (403, "InvalidAccessKeyId", "0002-00000902");
    let characters = (403, "InvalidAccessKeyId", "0002-00000901");
    let swapped_case: String = alice
        .id
        .chars()
        .map(|c| if c.is_uppercase() { c.to_ascii_lowercase() } else { c.to_ascii_uppercase() })
        .collect();
    for (id, expected) in [
        (swapped_case, unknown),
        (format!("{}.", alice.id), unknown),
        (format!("{}%20", alice.id), characters),
        (format!("{}*", alice.id), characters),
        (format!("{} ", alice.id), characters),
    ] {
        let keys = Keys { id: id.clone(), ..alice.clone() };
        prey.refuses_call(&id, &keys.sign(&call), expected).await;
    }
    let sent = head(&alice.sign(&call));
    let own = value(&sent, "authorization").to_owned();
    let strange = own.replacen(&alice.id[..1], "\u{41b}", 1);
    let malformed = (400, "InvalidArgument", "0002-00000202");
    prey.refuses("beyond ASCII", &swap(&sent, &own, &strange), &call.body, malformed).await;
}
