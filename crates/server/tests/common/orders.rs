//! Orders to the admin API of a running server.

use std::net::SocketAddr;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use vb_api::admin::{PREFIX, body_digest, signed_resource};
use vb_api::oss::signature::{Credentials, SignInput, authorization};
use vb_api::oss::to_basic;

use super::people::Keys;
use super::{Answer, Connection, REGION, TestServer, now};

/// One order; every part can be changed before it is sent.
#[derive(Clone, Debug)]
pub struct Order {
    pub method: String,
    /// The operation in the path.
    pub operation: String,
    /// The operation that the signature names.
    pub signed_operation: String,
    pub query: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// What `x-oss-content-sha256` says; `None`: the digest of the body.
    pub digest: Option<String>,
    /// Shift of the signing time, seconds.
    pub shift: i64,
    pub keys: Option<Keys>,
}

impl Order {
    pub fn new(operation: &str, given: &Value) -> Self {
        Self {
            method: "POST".into(),
            operation: operation.into(),
            signed_operation: operation.into(),
            query: String::new(),
            headers: vec![("Content-Type".into(), "application/json".into())],
            body: given.to_string().into_bytes(),
            digest: None,
            shift: 0,
            keys: None,
        }
    }

    #[must_use]
    pub fn signed(mut self, keys: &Keys) -> Self {
        self.keys = Some(keys.clone());
        self
    }

    #[must_use]
    pub fn token(mut self, token: &str) -> Self {
        self.headers.push(("Authorization".into(), format!("Bearer {token}")));
        self
    }

    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    pub async fn send(&self, to: SocketAddr) -> Answer {
        let mut headers = self.headers.clone();
        if let Some(keys) = &self.keys {
            self.sign(keys, &mut headers);
        }
        let query = if self.query.is_empty() { String::new() } else { format!("?{}", self.query) };
        let mut text = format!(
            "{} {PREFIX}{}{query} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n",
            self.method,
            self.operation,
            self.body.len()
        );
        for (name, value) in headers {
            text += &format!("{name}: {value}\r\n");
        }
        let mut connection = Connection::open(to).await;
        connection.write(format!("{text}\r\n").as_bytes()).await;
        connection.write_what_is_read(&self.body).await;
        connection.answer(&self.method).await
    }

    fn sign(&self, keys: &Keys, headers: &mut Vec<(String, String)>) {
        let at = now() + self.shift;
        let digest = self.digest.clone().unwrap_or_else(|| body_digest(&self.body));
        headers.push(("x-oss-date".into(), to_basic(at)));
        headers.push(("x-oss-content-sha256".into(), digest));
        if let Some(token) = &keys.token {
            headers.push(("x-oss-security-token".into(), token.clone()));
        }
        let pair = |(name, value): &(String, String)| -> (HeaderName, HeaderValue) {
            (name.parse().expect("a name"), value.parse().expect("a value"))
        };
        let map: HeaderMap = headers.iter().map(pair).collect();
        let input = SignInput {
            method: &self.method,
            region: REGION,
            resource: Some(signed_resource(&self.signed_operation)),
            query: &self.query,
            headers: &map,
            additional: &[],
            at,
        };
        let (access_key_id, secret) = (keys.id.clone(), keys.secret.clone());
        let credentials = Credentials { access_key_id, secret, token: None };
        headers.push(("Authorization".into(), authorization(&credentials, &input)));
    }
}

impl TestServer {
    /// Sends an order to the admin API.
    pub async fn order(&self, order: &Order) -> Answer {
        order.send(self.handle.admin_addr()).await
    }

    /// An order by these keys that must be carried out.
    pub async fn ordered(&self, keys: &Keys, operation: &str, given: &Value) -> Value {
        let answer = self.order(&Order::new(operation, given).signed(keys)).await;
        assert_eq!(answer.status, 200, "{operation}: {answer:?}");
        answer.json()
    }

    /// An order by these keys that must be refused.
    pub async fn order_refused(&self, keys: &Keys, operation: &str, given: &Value, code: &str) {
        let order = Order::new(operation, given).signed(keys);
        self.refuses(&order, code).await;
    }

    /// An order that must be refused, with all that a refusal says.
    pub async fn refuses(&self, order: &Order, code: &str) {
        let answer = self.order(order).await;
        let error = answer.json()["Error"].clone();
        assert_eq!(error["Code"], code, "{order:?}: {answer:?}");
        assert!(answer.status >= 400 && answer.status != 401, "{answer:?}");
        assert_eq!(error["RequestId"].as_str(), answer.header("x-oss-request-id"));
        for member in ["Message", "NextStep"] {
            assert!(error[member].as_str().is_some_and(|text| !text.is_empty()), "{answer:?}");
        }
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
}
