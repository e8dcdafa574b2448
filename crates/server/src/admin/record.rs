//! What is remembered of one order for the log and the audit stream.

use std::time::Instant;

use serde_json::{Value, json};
use vb_api::oss::{RequestId, iso_millis};
use vb_identity::AccountId;

use super::answer::Failed;
use super::caller::Who;
use super::link::Link;
use crate::audit::{self, Verdict};
use crate::clock::unix_ms;

/// The account of one order, filled as it comes to be known.
pub(super) struct Record {
    pub(super) id: RequestId,
    started: Instant,
    started_ms: u64,
    link: Link,
    /// `{noun}/{verb}` as sent, bounded.
    operation: Box<str>,
    pub(super) who: Option<Who>,
    pub(super) account: Option<AccountId>,
    /// What was asked for, without documents.
    pub(super) arguments: Value,
    pub(super) verdict: Option<Verdict>,
}

/// Longest operation that is repeated in logs; no known one is as long.
const OPERATION_CHARS_MAX: usize = 64;

impl Record {
    pub(super) fn begin(link: Link, operation: &str) -> Self {
        let mut random = [0; 12];
        getrandom::fill(&mut random).expect("the operating system has a random source");
        Self {
            id: RequestId::from_random(random),
            started: Instant::now(),
            started_ms: unix_ms(),
            link,
            operation: operation.chars().take(OPERATION_CHARS_MAX).collect(),
            who: None,
            account: None,
            arguments: Value::Null,
            verdict: None,
        }
    }

    /// The line of the log.
    pub(super) fn log(&self, told: &Result<Value, Failed>) {
        let failed = told.as_ref().err();
        tracing::info!(
            target: "administration",
            request_id = self.id.as_str(),
            peer = %self.link.peer,
            secure = self.link.tls,
            caller = self.who.as_ref().map_or("-".to_owned(), Who::to_string),
            account = self.account.as_ref().map_or("-", |account| account.as_str()),
            operation = &*self.operation,
            status = failed.map_or(200, |failed| failed.status),
            code = failed.map_or("-", |failed| failed.code),
            ms = self.started.elapsed().as_secs_f64() * 1e3,
            "order"
        );
        if let Some(failed) = failed.filter(|failed| failed.status >= 500) {
            let (id, cause) = (self.id.as_str(), &*failed.message);
            tracing::error!(request_id = id, cause, "an order was not carried out");
        }
    }

    /// The line of the audit stream.
    pub(super) fn event(&self, told: &Result<Value, Failed>) -> Value {
        let failed = told.as_ref().err();
        let verdict = self.verdict.as_ref();
        json!({
            "time": iso_millis(i64::try_from(self.started_ms).unwrap_or(i64::MAX)),
            "request_id": self.id.as_str(),
            "source": self.link.peer.ip().to_canonical().to_string(),
            "source_port": self.link.peer.port(),
            "secure_transport": self.link.tls,
            "principal": self.who.as_ref().map_or(Value::Null, principal),
            "operation": format!("admin:{}", self.operation),
            "account": self.account.as_ref().map(|account| account.as_str()),
            "arguments": self.arguments,
            "decision": verdict.map_or("none", |v| if v.allowed { "allow" } else { "deny" }),
            "reason": verdict.map(|verdict| &*verdict.reason),
            "statement": verdict.and_then(|verdict| verdict.statement.as_deref()),
            "status": failed.map_or(200, |failed| failed.status),
            "code": failed.map(|failed| failed.code),
            "ec": failed.and_then(|failed| failed.ec),
            "ms": u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
        })
    }
}

fn principal(who: &Who) -> Value {
    match who {
        Who::Operator(fingerprint) => json!({ "type": "operator", "token": fingerprint }),
        Who::Caller(caller) => audit::principal(caller.principal()),
    }
}
