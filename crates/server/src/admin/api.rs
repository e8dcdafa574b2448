//! The admin API: orders over HTTP. `docs/admin-api.md` is its description.
//!
//! The life of an order, which clients observe in this order: the way it came, the operation, who
//! gives it, its body, whether they may, the order itself. Each is recorded, carried out or not.
//! Nothing of a body is read before it is known who sent it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use serde_json::{Map, Value};
use vb_api::oss::Fault;
use vb_api::oss::signature::BodyCheck;
use vb_identity::AccountId;

use super::answer::{Failed, response};
use super::assume;
use super::caller::{Who, bearer, context, decide};
use super::link::Link;
use super::record::Record;
use super::token::Tokens;
use crate::administration::{Arguments, Code, Desk, Order, Refusal, Right, Verb};
use crate::audit::Audit;
use crate::authenticate::Authenticator;
use crate::body::{self, Pace};
use crate::clock::unix_seconds;
use crate::limits::Rates;
use crate::metrics::Metrics;

/// Largest body: a document of 16 KB, escaped, with room to spare.
const BODY_BYTES_MAX: u64 = 64 << 10;

/// Bodies are small: nobody needs longer.
const PACE: Pace = Pace { pause_max: Duration::from_secs(10), rate_min: 16 << 10 };

/// What orders need.
pub(crate) struct Api {
    pub(crate) desk: Desk,
    pub(crate) authenticator: Authenticator,
    pub(crate) tokens: Tokens,
    /// The account that a token means if it names none.
    pub(crate) account: Option<AccountId>,
    pub(crate) audit: Option<Arc<Audit>>,
    /// Of this listener alone: who fails on the other shuts no administrator out.
    pub(crate) rates: Rates,
    pub(crate) metrics: Arc<Metrics>,
}

/// What a path asks for.
enum Asked {
    Verb(&'static Verb),
    /// Temporary credentials, which no verb over a store is: it takes a caller.
    AssumeRole,
}

impl Api {
    /// Answers one order and records it. `operation` is the path behind [`vb_api::admin::PREFIX`].
    pub(crate) async fn respond(
        &self,
        request: Request<Incoming>,
        operation: &str,
        link: Link,
    ) -> Response<Full<Bytes>> {
        let mut record = Record::begin(link, operation);
        let (head, mut body) = request.into_parts();
        let told = self.answer(&head, &mut body, operation, link, &mut record).await;
        record.log(&told);
        if let Some(audit) = &self.audit {
            audit.note_order(&record.event(&told));
        }
        response(&told, &record.id)
    }

    /// Access keys whose secrets the key ring does not open.
    pub(crate) fn keys_unavailable(&self) -> usize {
        self.desk.identities.snapshot().unavailable().count()
    }

    async fn answer(
        &self,
        head: &Parts,
        body: &mut Incoming,
        operation: &str,
        link: Link,
        record: &mut Record,
    ) -> Result<Value, Failed> {
        if !link.may_administer() {
            let text = "the admin API answers over TLS and on loopback only";
            return Err(Refusal::new(Code::TransportRefused, text).into());
        }
        let asked = asked(head, operation)?;
        if self.rates.check_source(link.peer.ip()).is_err() {
            let text = "too many requests from this address failed to authenticate";
            return Err(Refusal::new(Code::TooManyFailures, text).into());
        }
        let who = self.who(head, operation, link).await;
        let who = who.inspect_err(|failed| {
            self.metrics.auth_failed(failed.code);
            self.rates.note_failure(link.peer.ip(), failed.status);
        })?;
        let who = record.who.insert(who);
        let given = given(head, body, who).await?;
        match asked {
            Asked::Verb(verb) => self.carry_out(verb, given, head, link, record).await,
            Asked::AssumeRole => {
                let identities = &self.desk.identities;
                Ok(assume::run(identities, &given, head, link, record).await?)
            }
        }
    }

    /// Who gives the order.
    async fn who(&self, head: &Parts, operation: &str, link: Link) -> Result<Who, Failed> {
        if let Some(token) = bearer(head) {
            let wrong = || Refusal::new(Code::InvalidToken, "the token is not one of this server");
            return Ok(Who::Operator(self.tokens.check(token).ok_or_else(wrong)?));
        }
        let client = link.peer.ip();
        let caller =
            self.authenticator.administrator(head, operation, client, unix_seconds()).await?;
        if caller.is_anonymous() {
            let text = "the order carries neither a signature nor a token";
            return Err(Refusal::new(Code::AuthenticationRequired, text).into());
        }
        Ok(Who::Caller(caller))
    }

    async fn carry_out(
        &self,
        verb: &'static Verb,
        given: Map<String, Value>,
        head: &Parts,
        link: Link,
        record: &mut Record,
    ) -> Result<Value, Failed> {
        let given = Arguments::of(verb, given)?;
        record.arguments = given.told(verb);
        let order = Order::parse(verb, &given)?;
        let account = given.account()?.or_else(|| self.account_of(record.who.as_ref()));
        record.account.clone_from(&account);
        let Some(who) = &record.who else {
            return Err(Refusal::new(Code::Internal, "an order of nobody").into());
        };
        let context = match who {
            Who::Operator(_) => vb_policy::Context::default(),
            Who::Caller(caller) => context(head, link, caller),
        };
        let (verdict, decided) = decide(who, context, verb, &order, account.as_ref());
        record.verdict = Some(verdict);
        decided?;
        Ok(self.desk.serve(order, account.as_ref()).await?)
    }

    /// The account that is meant if none is named.
    fn account_of(&self, who: Option<&Who>) -> Option<AccountId> {
        match who? {
            Who::Operator(_) => self.account.clone(),
            Who::Caller(caller) => caller.principal().account().cloned(),
        }
    }
}

/// What the path asks for, if it is asked in the right way.
fn asked(head: &Parts, operation: &str) -> Result<Asked, Refusal> {
    let unknown = || {
        let shown: String = operation.chars().take(64).collect();
        Refusal::new(Code::UnknownOperation, format!("there is no operation {shown}"))
    };
    let (noun, verb) = operation.split_once('/').ok_or_else(unknown)?;
    let asked = match (noun, verb) {
        ("sts", "assume-role") => Asked::AssumeRole,
        _ => Asked::Verb(Verb::find(noun, verb).ok_or_else(unknown)?),
    };
    if let Asked::Verb(Verb { right: Right::Nobody, .. }) = asked {
        let text = format!("{operation} does not go over a network");
        return Err(Refusal::new(Code::LocalOnly, text));
    }
    if head.method != Method::POST {
        let text = format!("{} is not a method of {operation}", head.method);
        return Err(Refusal::new(Code::MethodNotAllowed, text));
    }
    match head.uri.query() {
        // Nothing that counts may stand where logs of proxies would keep it.
        Some(query) if !query.is_empty() => {
            Err(Refusal::invalid("an order has no query: send JSON in the body"))
        }
        _ => Ok(asked),
    }
}

/// The body as an object. A signature must cover it.
async fn given(head: &Parts, body: &mut Incoming, who: &Who) -> Result<Map<String, Value>, Failed> {
    let digest = head.headers.get("x-oss-content-sha256").map(http::HeaderValue::as_bytes);
    let is_digest = |value: &[u8]| value.len() == 64;
    if matches!(who, Who::Caller(_)) && !digest.is_some_and(is_digest) {
        let text = "the signature does not cover the body";
        return Err(Refusal::new(Code::UnsignedBody, text).into());
    }
    let mut check = BodyCheck::new(&head.headers)?;
    let declared = body::declared(&head.method, &head.headers, BODY_BYTES_MAX);
    let read = match declared {
        Ok(declared) => body::read(body, declared, BODY_BYTES_MAX, PACE).await,
        Err(error) => Err(error),
    };
    let bytes = read.map_err(broken)?;
    check.update(&bytes);
    check.finish()?;
    if bytes.is_empty() {
        return Ok(Map::new());
    }
    // The parser's own message may quote the body.
    serde_json::from_slice(&bytes)
        .map_err(|_| Refusal::invalid("the body is not a JSON object").into())
}

fn broken(error: vb_api::oss::Error) -> Failed {
    match error.fault() {
        Fault::BodyTooLarge => {
            Refusal::new(Code::BodyTooLarge, "the body has more than 64 KiB").into()
        }
        Fault::BodyTimeout => Refusal::new(Code::BodyTimeout, "the body came too slowly").into(),
        _ => error.into(),
    }
}
