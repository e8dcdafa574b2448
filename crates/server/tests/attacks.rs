//! Attacks on signed requests: each is refused with its code, and nothing has changed afterwards.
//!
//! The attacker sees and changes requests on their way, or keeps them for later; the secret is not
//! known. What the signature does not cover is said in `docs/security.md`.

mod common;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::prey::{
    Expected, MISMATCH, Prey, REPEATED, delete, head, swap, value, with_line, without,
};
use common::{ACCESS_KEY_ID, ACCOUNT, Call, DOMAIN, OTHER_ACCOUNT, now};
use md5::{Digest as _, Md5};
use serde_json::json;
use vb_api::oss::to_basic;

const SKEWED: Expected = (403, "RequestTimeTooSkewed", "0002-00000504");
const ANONYMOUS: Expected = (403, "AccessDenied", "0003-00000001");
const EXPIRED: Expected = (403, "AccessDenied", "0002-00000236");
const VERSION: Expected = (403, "AccessDenied", "0002-00000066");
const SCHEME: Expected = (400, "InvalidArgument", "0002-00000061");
const LISTED_MISSING: Expected = (400, "InvalidArgument", "0002-00000211");
const DIGEST: Expected = (400, "InvalidDigest", "0900-00000306");
const PAYLOAD: Expected = (400, "InvalidDigest", "0900-00000307");
const NOT_IMPLEMENTED: Expected = (400, "NotImplemented", "0900-00000214");
const WRONG_METHOD: Expected = (405, "MethodNotAllowed", "0900-00000213");

#[tokio::test]
async fn a_request_kept_for_later_is_refused() {
    let prey = Prey::start().await;
    for shift in [-901, 960] {
        let call = delete().with(|c| c.shift = shift);
        prey.refuses_call(&format!("{shift} s off"), &call, SKEWED).await;
    }
    let far = delete().with(|c| c.shift = -8 * 86_400);
    let expected = (400, "InvalidArgument", "0002-00000212");
    prey.refuses_call("of last week", &far, expected).await;
    // Made to look new: the time, and with it the day of the scope.
    let old = delete().with(|c| c.shift = -1000);
    let (kept, fresh) = (head(&old), to_basic(now()));
    let date = value(&kept, "x-oss-date").to_owned();
    let renewed = swap(&kept, &date, &fresh);
    let renewed = swap(&renewed, &format!("/{}/", &date[..8]), &format!("/{}/", &fresh[..8]));
    prey.refuses("a new date", &renewed, &old.body, MISMATCH).await;
    let kept = head(&delete());
    let date = httpdate::fmt_http_date(std::time::SystemTime::now());
    let other = with_line(&without(&kept, "x-oss-date"), &format!("Date: {date}"), false);
    prey.refuses("a date that is not signed", &other, &delete().body, MISMATCH).await;
}

#[tokio::test]
async fn changed_headers_are_refused() {
    let prey = Prey::start().await;
    let create = Call::new("PUT", "fresh", "")
        .with_header("x-oss-resource-group-id", "rg-mine")
        .with_header("x-oss-bucket-tagging", "k=v");
    let sent = head(&create);
    for (what, changed) in [
        ("another group", swap(&sent, "rg-mine", "rg-yours")),
        ("another tag", swap(&sent, "k=v", "k=w")),
        ("no tag", without(&sent, "x-oss-bucket-tagging")),
        ("one more", with_line(&sent, "x-oss-meta: 1", false)),
        ("a token", with_line(&sent, "x-oss-security-token: x", false)),
        ("another type", swap(&sent, "application/json", "application/xml")),
        ("no type", without(&sent, "content-type")),
        ("no digest of the payload", without(&sent, "x-oss-content-sha256")),
    ] {
        let expected = match what {
            "a token" => (403, "InvalidSecurityToken", "0002-00000006"),
            _ => MISMATCH,
        };
        prey.refuses(what, &changed, b"", expected).await;
    }
}

#[tokio::test]
async fn smuggled_query_parameters_are_refused() {
    let prey = Prey::start().await;
    let call = delete();
    let sent = head(&call);
    let target = |query: &str| swap(&sent, "?deleteVectors", &format!("?{query}"));
    let conflict = (400, "InvalidArgument", "0900-00000208");
    for (query, expected) in [
        ("deleteVectors&x=1", MISMATCH),
        ("deleteVectors&x-oss-meta=1", MISMATCH),
        ("deleteVectors=1", MISMATCH),
        ("deleteVectors&%64eleteVectors", MISMATCH),
        ("deleteVectors%00", NOT_IMPLEMENTED),
        ("deleteVectors+", NOT_IMPLEMENTED),
        ("deletevectors", NOT_IMPLEMENTED),
        ("deleteVectors&deleteVectors", conflict),
        ("deleteVectors&deleteVectorIndex", conflict),
        ("deleteVectors&policy=", conflict),
    ] {
        prey.refuses(query, &target(query), &call.body, expected).await;
    }
    let index = swap(&sent, "?deleteVectors", "?deleteVectorIndex");
    prey.refuses("another operation", &index, &call.body, MISMATCH).await;
    // Signed by the owner, yet they must not mean something else than they say.
    for (method, query, expected) in [
        ("PUT", "%70olicy", NOT_IMPLEMENTED),
        ("DELETE", "polic%79", NOT_IMPLEMENTED),
        ("DELETE", "Policy", NOT_IMPLEMENTED),
        ("POST", "delete%56ectors", NOT_IMPLEMENTED),
        ("POST", "deleteVectors&x-oss-a=1&x-oss-a=2", REPEATED),
    ] {
        let call = Call::new(method, "vec", query).with_body(delete().body);
        prey.refuses_call(query, &call, expected).await;
    }
    let twice = Call::account("GET", "max-keys=1&max-keys=1000");
    prey.refuses_call("twice", &twice, (400, "InvalidArgument", "0900-00000212")).await;
}

#[tokio::test]
async fn another_method_is_refused() {
    let prey = Prey::start().await;
    let policy = json!({"Version": "1", "Statement": []}).to_string();
    for (signed, query, sent, expected) in [
        ("PUT", "", "DELETE", MISMATCH),
        ("GET", "tagging", "DELETE", MISMATCH),
        ("GET", "policy", "PUT", MISMATCH),
        ("GET", "logging", "DELETE", MISMATCH),
        ("GET", "bucketInfo", "DELETE", WRONG_METHOD),
        ("DELETE", "", "delete", WRONG_METHOD),
    ] {
        let call = Call::new(signed, "vec", query);
        let body = if sent == "PUT" { policy.as_bytes() } else { b"" };
        let call = if sent == "PUT" { call.with_body(body) } else { call };
        let changed = swap(&head(&call), signed, sent);
        prey.refuses(&format!("{signed} as {sent} {query}"), &changed, body, expected).await;
    }
    // Headers that other servers take the method from.
    for name in ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"] {
        let sent = head(&Call::new("GET", "vec", "tagging"));
        let answer = prey.send(&with_line(&sent, &format!("{name}: DELETE"), false), b"").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        prey.check_untouched(name).await;
    }
}

#[tokio::test]
async fn another_body_is_refused() {
    let prey = Prey::start().await;
    let call = delete();
    let (sent, mut body) = (head(&call), call.body.clone());
    let at = body.len() - 3;
    body[at] = b'x';
    let digest: [u8; 16] = Md5::digest(&body).into();
    let digest = STANDARD.encode(digest);
    prey.refuses("a body", &sent, &body, DIGEST).await;
    let own = value(&sent, "content-md5").to_owned();
    prey.refuses("body and digest", &swap(&sent, &own, &digest), &body, MISMATCH).await;
    let bare = without(&sent, "content-md5");
    prey.refuses("no digest", &bare, &body, MISMATCH).await;
    let twice = with_line(&sent, &format!("Content-MD5: {digest}"), true);
    prey.refuses("two digests", &twice, &body, REPEATED).await;
    let shorter = swap(&sent, &format!("Content-Length: {}", body.len()), "Content-Length: 2");
    prey.refuses("a part", &shorter, b"{}", DIGEST).await;
    // A large write is hashed beside its decoding.
    let rows: Vec<_> = (0..300)
        .map(|i| json!({"key": format!("k{i}"), "data": {"float32": [1.0, 2.0]}}))
        .collect();
    let put = Call::post("vec", "putVectors", &json!({"indexName": "docs", "vectors": rows}));
    let changed = String::from_utf8(put.body.clone()).unwrap().replace("k299", "k999");
    prey.refuses("a large body", &head(&put), changed.as_bytes(), DIGEST).await;
    let elsewhere = String::from_utf8(put.body.clone()).unwrap().replace("docs", "note");
    prey.refuses("another index", &head(&put), elsewhere.as_bytes(), DIGEST).await;
}

#[tokio::test]
async fn another_payload_than_the_signed_digest_is_refused() {
    let prey = Prey::start().await;
    let call = delete().with(|c| c.content_md5 = false);
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &call.body);
    let digest: String = digest.as_ref().iter().map(|b| format!("{b:02x}")).collect();
    let call = call.with(|c| c.payload = digest.clone());
    let sent = head(&call);
    assert_eq!(value(&sent, "x-oss-content-sha256"), digest);
    let mut body = call.body.clone();
    let at = body.len() - 3;
    body[at] = b'x';
    prey.refuses("a body", &sent, &body, PAYLOAD).await;
    let unsigned = swap(&sent, &digest, "UNSIGNED-PAYLOAD");
    prey.refuses("without digest", &unsigned, &body, MISMATCH).await;
    let garbled = swap(&sent, &digest, &digest[1..]);
    prey.refuses("no digest", &garbled, &body, (400, "InvalidArgument", "0002-00000214")).await;
    // The real one is served: what was refused above is the change.
    let last = prey.send(&sent, &call.body).await;
    assert_eq!(last.status, 204, "{last:?}");
}

#[tokio::test]
async fn another_host_or_account_is_refused() {
    let prey = Prey::start().await;
    let call = delete();
    let sent = head(&call);
    let host = format!("vec-{ACCOUNT}.{DOMAIN}");
    let at = |other: &str| swap(&sent, &host, other);
    let endpoint = (403, "AccessDenied", "0003-00001403");
    for (other, expected) in [
        (format!("other-{ACCOUNT}.{DOMAIN}"), MISMATCH),
        (format!("vec-{OTHER_ACCOUNT}.{DOMAIN}"), MISMATCH),
        (format!("vec--{ACCOUNT}.{DOMAIN}"), MISMATCH),
        (format!("vec-0{ACCOUNT}.{DOMAIN}"), MISMATCH),
        (format!("VEC-{ACCOUNT}.{DOMAIN}"), MISMATCH),
        (format!("vec-{ACCOUNT}.example.org"), endpoint),
        (DOMAIN.to_owned(), (400, "InvalidArgument", "0900-00000209")),
    ] {
        prey.refuses(&other, &at(&other), &call.body, expected).await;
    }
    let path = swap(&at("localhost"), "POST /?", "POST /other/?");
    prey.refuses("in the path", &path, &call.body, MISMATCH).await;
    let both = swap(&sent, "POST /?", "POST /other/?");
    prey.refuses("in both", &both, &call.body, (400, "InvalidArgument", "0900-00000205")).await;
    let absolute = swap(&sent, "POST /?", &format!("POST http://other-{ACCOUNT}.{DOMAIN}/?"));
    let differs = (400, "InvalidArgument", "0900-00000204");
    prey.refuses("in the line", &absolute, &call.body, differs).await;
    let twice = with_line(&sent, &format!("Host: other-{ACCOUNT}.{DOMAIN}"), true);
    let repeated = (400, "InvalidArgument", "0900-00000202");
    prey.refuses("twice", &twice, &call.body, repeated).await;
    // Headers that other servers take the host from.
    for name in ["X-Forwarded-Host", "X-Host", "Forwarded", "X-Original-URL"] {
        let sent = head(&Call::new("GET", "vec", "bucketInfo"));
        let line = format!("{name}: other-{ACCOUNT}.{DOMAIN}");
        let answer = prey.send(&with_line(&sent, &line, false), b"").await;
        assert!(answer.status == 200 && !answer.text().contains("other"), "{answer:?}");
    }
}

#[tokio::test]
async fn other_versions_of_the_signature_are_refused() {
    let prey = Prey::start().await;
    let call = delete();
    let sent = head(&call);
    let own = value(&sent, "authorization").to_owned();
    for other in [
        format!("OSS {ACCESS_KEY_ID}:c2lnbmF0dXJl"),
        format!("OSS2 AccessKeyId:{ACCESS_KEY_ID},Signature:ff"),
        format!("AWS {ACCESS_KEY_ID}:c2lnbmF0dXJl"),
        own.replace("OSS4-HMAC-SHA256", "AWS4-HMAC-SHA256"),
        own.replace("OSS4-HMAC-SHA256", "OSS4-HMAC-SHA1"),
        own.replace("OSS4-HMAC-SHA256", "oss4-hmac-sha256"),
        format!("Bearer {ACCESS_KEY_ID}"),
        "Basic dXNlcjpwYXNz".to_owned(),
    ] {
        prey.refuses(&other, &swap(&sent, &own, &other), &call.body, SCHEME).await;
    }
    let bare = without(&sent, "authorization");
    prey.refuses("none", &bare, &call.body, ANONYMOUS).await;
    for (query, expected) in [
        (format!("OSSAccessKeyId={ACCESS_KEY_ID}&Expires=4000000000&Signature=x"), VERSION),
        (format!("x-oss-signature-version=OSS2&x-oss-access-key-id={ACCESS_KEY_ID}"), VERSION),
        (format!("x-oss-credential={ACCESS_KEY_ID}"), VERSION),
    ] {
        let url = swap(&bare, "?deleteVectors", &format!("?deleteVectors&{query}"));
        prey.refuses(&query, &url, &call.body, expected).await;
    }
    let url = head(&delete().presigned(600));
    let older = swap(&url, "OSS4-HMAC-SHA256", "OSS1-HMAC-SHA256");
    prey.refuses("an older URL", &older, &call.body, VERSION).await;
}

#[tokio::test]
async fn repeated_headers_are_refused() {
    let prey = Prey::start().await;
    let call = delete();
    let sent = head(&call);
    let fresh = to_basic(now() + 60);
    for line in [
        format!("x-oss-date: {}", value(&sent, "x-oss-date")),
        format!("x-oss-date: {fresh}"),
        "x-oss-content-sha256: UNSIGNED-PAYLOAD".to_owned(),
        "Content-Type: application/xml".to_owned(),
    ] {
        for first in [false, true] {
            let expected =
                match line.contains(&fresh) && first && fresh[..8] != to_basic(now())[..8] {
                    // A minute before midnight the other date is of another day than the scope.
                    true => (400, "InvalidArgument", "0002-00000212"),
                    false => REPEATED,
                };
            let twice = with_line(&sent, &line, first);
            prey.refuses(&line, &twice, &call.body, expected).await;
        }
    }
    let own = format!("Authorization: {}", value(&sent, "authorization"));
    prey.refuses("authorization", &with_line(&sent, &own, false), &call.body, REPEATED).await;
    // One header with a comma and two headers would be signed alike.
    let create = Call::new("PUT", "fresh", "").with_header("x-oss-bucket-tagging", "a=1,b=2");
    let split = swap(
        &head(&create),
        "x-oss-bucket-tagging: a=1,b=2",
        "x-oss-bucket-tagging: a=1\r\nx-oss-bucket-tagging: b=2",
    );
    prey.refuses("a split header", &split, b"", REPEATED).await;
}

#[tokio::test]
async fn games_with_additional_headers_are_refused() {
    let prey = Prey::start().await;
    let call = delete()
        .with_header("User-Agent", "probe/1")
        .with(|c| c.additional = vec!["host", "user-agent"]);
    let sent = head(&call);
    let listed = "AdditionalHeaders=host;user-agent";
    let list = |other: &str| swap(&sent, listed, &format!("AdditionalHeaders={other}"));
    for (what, changed, expected) in [
        ("value", swap(&sent, "probe/1", "probe/2"), MISMATCH),
        ("dropped header", without(&sent, "user-agent"), LISTED_MISSING),
        ("dropped name", list("host"), MISMATCH),
        ("dropped host", list("user-agent"), MISMATCH),
        ("dropped list", swap(&sent, &format!("{listed},"), ""), MISMATCH),
        ("empty list", list(""), (400, "InvalidArgument", "0002-00000209")),
        ("list of nothing", list(";;"), MISMATCH),
        ("one that is missing", list("host;user-agent;x-none"), LISTED_MISSING),
        ("an underscore", list("host;user_agent"), LISTED_MISSING),
        ("one more", list("content-length;host;user-agent"), MISMATCH),
        ("one that is signed anyway", list("content-type;host;user-agent"), MISMATCH),
        ("header twice", with_line(&sent, "User-Agent: probe/1", false), REPEATED),
        (
            "two lists",
            swap(&sent, listed, &format!("{listed},{listed}")),
            (400, "InvalidArgument", "0002-00000202"),
        ),
    ] {
        prey.refuses(what, &changed, &call.body, expected).await;
    }
    // However the list is spelt, what it names is bound.
    for spelling in
        ["user-agent;host", "host;host;user-agent", "Host;USER-AGENT", " host ; user-agent "]
    {
        let changed = swap(&list(spelling), "probe/1", "probe/2");
        prey.refuses(spelling, &changed, &call.body, MISMATCH).await;
    }
    let internal = swap(&sent, ".cn-hangzhou.oss", ".cn-hangzhou-internal.oss");
    prey.refuses("another endpoint", &internal, &call.body, MISMATCH).await;
}

#[tokio::test]
async fn signed_urls_are_good_for_what_was_signed_and_until_they_expire() {
    let prey = Prey::start().await;
    let call = Call::new("DELETE", "vec", "tagging");
    let late = head(&call.clone().with(|c| c.shift = -700).presigned(600));
    prey.refuses("late", &late, b"", EXPIRED).await;
    let longer = swap(&late, "x-oss-expires=600", "x-oss-expires=6000");
    prey.refuses("longer", &longer, b"", MISMATCH).await;
    let again = swap(&late, "?tagging", "?tagging&x-oss-expires=6000");
    prey.refuses("twice", &again, b"", REPEATED).await;
    let again = swap(&late, "x-oss-expires=600", "x-oss-expires=600&x-oss-expires=6000");
    prey.refuses("twice, the old one first", &again, b"", EXPIRED).await;
    let old = to_basic(now() - 700);
    let at = late.find("x-oss-date=").unwrap() + "x-oss-date=".len();
    let renewed = late.replace(&late[at..at + 16], &to_basic(now()));
    let renewed = renewed
        .replace(&format!("%2F{}%2F", &old[..8]), &format!("%2F{}%2F", &to_basic(now())[..8]));
    prey.refuses("a new date", &renewed, b"", MISMATCH).await;
    let early = head(&call.clone().with(|c| c.shift = 960).presigned(600));
    prey.refuses("early", &early, b"", EXPIRED).await;
    let endless = head(&call.clone().presigned(604_801));
    prey.refuses("for ever", &endless, b"", (400, "InvalidArgument", "0002-00000232")).await;
    let read = head(&Call::new("GET", "vec", "tagging").presigned(600));
    let other_bucket = swap(&read, "Host: vec-", "Host: other-");
    let missing = (403, "AccessDenied", "0002-00000219");
    let credential = (403, "AccessDenied", "0002-00000215");
    for (what, changed, expected) in [
        ("to write", swap(&read, "GET", "DELETE"), MISMATCH),
        ("another operation", swap(&read, "?tagging", "?policy"), MISMATCH),
        ("another bucket", other_bucket, MISMATCH),
        ("a parameter", swap(&read, "?tagging", "?tagging&x=1"), MISMATCH),
        ("a header", with_line(&read, "x-oss-meta: 1", false), MISMATCH),
        ("a type", with_line(&read, "Content-Type: text/plain", false), MISMATCH),
        ("no signature", swap(&read, "&x-oss-signature=", "&x="), missing),
        ("an encoded name", swap(&read, "x-oss-signature=", "x-oss-%73ignature="), missing),
        ("no credential", swap(&read, "x-oss-credential", "x"), credential),
        ("no version", swap(&read, "x-oss-signature-version", "x"), VERSION),
    ] {
        prey.refuses(what, &changed, b"", expected).await;
    }
    let header = value(&head(&call), "authorization").to_owned();
    let both = with_line(&read, &format!("Authorization: {header}"), false);
    prey.refuses("both", &both, b"", (400, "InvalidArgument", "0900-00000101")).await;
    // With every name encoded it is no signed URL any more, but a request of nobody.
    let nobody = read.replace("x-oss-", "x%2Doss-");
    prey.refuses("nobody", &nobody, b"", ANONYMOUS).await;
}
