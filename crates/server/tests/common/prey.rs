//! Something to lose: a server whose whole content can be compared before and after an attack.

use serde_json::json;
use tempfile::TempDir;

use super::people::{People, with_people};
use super::{Answer, Call, TestServer};

/// Buckets `vec` and `other`, each with the indexes `docs` and `notes` of one vector `k`.
pub struct Prey {
    pub server: TestServer,
    before: String,
    _dir: TempDir,
}

/// Status, code and EC of a refusal.
pub type Expected = (u16, &'static str, &'static str);

pub const MISMATCH: Expected = (403, "SignatureDoesNotMatch", "0002-00000040");
pub const REPEATED: Expected = (400, "InvalidArgument", "0900-00000102");

const BUCKETS: [&str; 2] = ["vec", "other"];
const INDEXES: [&str; 2] = ["docs", "notes"];

impl Prey {
    pub async fn start() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let server = TestServer::with(|config| with_people(config, dir.path())).await;
        for bucket in BUCKETS {
            for index in INDEXES {
                server.index(bucket, index, 2, "euclidean").await;
                let rows = json!([{"key": "k", "data": {"float32": [1.0, 2.0]}}]);
                let body = json!({"indexName": index, "vectors": rows});
                server.ok(&Call::post(bucket, "putVectors", &body)).await;
            }
            let tags = json!({"Tagging": {"TagSet": {"Tag": [{"Key": "k", "Value": "v"}]}}});
            let call = Call::new("PUT", bucket, "tagging").with_body(tags.to_string());
            server.ok(&call).await;
        }
        let before = content(&server).await;
        Self { server, before, _dir: dir }
    }

    pub fn people(&self) -> People<'_> {
        People(self.server.handle.identities())
    }

    /// Sends a head as it stands, and a body.
    pub async fn send(&self, head: &str, body: &[u8]) -> Answer {
        let method = head.split(' ').next().expect("a request line").to_owned();
        let mut connection = self.server.connect().await;
        connection.write(head.as_bytes()).await;
        connection.write_what_is_read(body).await;
        connection.answer(&method).await
    }

    /// An attack must be answered as expected and change nothing.
    pub async fn refuses(&self, what: &str, head: &str, body: &[u8], expected: Expected) {
        let answer = self.send(head, body).await;
        let (status, code, ec) = expected;
        let told = (answer.status, answer.header("x-oss-ec"));
        assert_eq!(told, (status, Some(ec)), "{what}: {answer:?}");
        answer.check_error(status, code, ec);
        self.check_untouched(what).await;
    }

    /// As [`Prey::refuses`], of a call that is sent as it was signed.
    pub async fn refuses_call(&self, what: &str, call: &Call, expected: Expected) {
        self.refuses(what, &head(call), &call.body, expected).await;
    }

    pub async fn check_untouched(&self, what: &str) {
        assert_eq!(content(&self.server).await, self.before, "{what} changed something");
    }
}

/// Everything that the root finds.
async fn content(server: &TestServer) -> String {
    let mut content = server.ok(&Call::account("GET", "")).await.text().to_owned();
    for bucket in BUCKETS {
        for query in ["bucketInfo", "policy", "logging", "tagging", "resourceGroup"] {
            let answer = server.send(&Call::new("GET", bucket, query)).await;
            content += &format!("\n{bucket} {query} {}", answer.status);
            if answer.status == 200 {
                content += answer.text();
            }
        }
        content += server.ok(&Call::post(bucket, "listVectorIndexes", &json!({}))).await.text();
        for index in INDEXES {
            let body = json!({"indexName": index, "returnData": true, "returnMetadata": true});
            content += server.ok(&Call::post(bucket, "listVectors", &body)).await.text();
        }
    }
    content
}

/// The signed head of a call, as text.
pub fn head(call: &Call) -> String {
    String::from_utf8(call.head()).expect("an ASCII head")
}

/// One text in the place of another that must be there.
pub fn swap(head: &str, from: &str, to: &str) -> String {
    assert!(head.contains(from), "{from:?} is not in {head}");
    head.replacen(from, to, 1)
}

/// A head without the header of this name.
pub fn without(head: &str, name: &str) -> String {
    let is_it = |line: &str| line.split(':').next().is_some_and(|n| n.eq_ignore_ascii_case(name));
    let lines: Vec<&str> = head.split("\r\n").collect();
    let kept: Vec<&str> = lines.iter().copied().filter(|line| !is_it(line)).collect();
    assert_eq!(kept.len() + 1, lines.len(), "{name} stands once in {head}");
    kept.join("\r\n")
}

/// A head with one more header line, the first or the last.
pub fn with_line(head: &str, line: &str, first: bool) -> String {
    match first {
        true => head.replacen("\r\n", &format!("\r\n{line}\r\n"), 1),
        false => format!("{}{line}\r\n\r\n", head.strip_suffix("\r\n").expect("a whole head")),
    }
}

/// The value of a header.
pub fn value<'h>(head: &'h str, name: &str) -> &'h str {
    let pairs = head.split("\r\n").filter_map(|line| line.split_once(": "));
    let mut found = pairs.filter(|(have, _)| have.eq_ignore_ascii_case(name));
    found.next().unwrap_or_else(|| panic!("no {name} in {head}")).1
}

/// The call that an attacker has got hold of: it takes a vector away.
pub fn delete() -> Call {
    let body = json!({"indexName": "docs", "keys": ["k"]});
    Call::post("vec", "deleteVectors", &body)
}
