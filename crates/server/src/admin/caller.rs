//! Who gives an order, and may they.

use std::fmt;

use http::header::{AUTHORIZATION, USER_AGENT};
use http::request::Parts;
use vb_identity::AccountId;
use vb_policy::{Action, Context, PolicySet, Request, Resource, Target, evaluate};

use super::link::Link;
use super::token::Fingerprint;
use crate::administration::{Code, Order, Refusal, Right, Touched, Verb};
use crate::audit::Verdict;
use crate::authenticate::Caller;
use crate::authorize::verdict;
use crate::clock::unix_seconds;

/// Who gives an order.
pub(crate) enum Who {
    /// Whoever holds a token: operates the whole store.
    Operator(Fingerprint),
    /// A root, user or session, by its signature.
    Caller(Caller),
}

/// The token of an Authorization header.
pub(super) fn bearer(head: &Parts) -> Option<&str> {
    let text = head.headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = text.split_once(' ').unwrap_or((text, ""));
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

/// What conditions look at.
pub(super) fn context<'a>(head: &'a Parts, link: Link, caller: &'a Caller) -> Context<'a> {
    Context {
        source_ip: Some(link.peer.ip()),
        secure_transport: link.tls,
        time: unix_seconds(),
        user_agent: head.headers.get(USER_AGENT).and_then(|value| value.to_str().ok()),
        access_key_id: caller.principal().access_key_id(),
    }
}

/// Decides: a token may everything; others what the verb leaves to accounts, in their own account,
/// if their policies allow it on everything that the order touches.
///
/// # Errors
/// The refusal. The verdict is told either way.
pub(super) fn decide(
    who: &Who,
    context: Context<'_>,
    verb: &Verb,
    order: &Order,
    account: Option<&AccountId>,
) -> (Verdict, Result<(), Refusal>) {
    let (caller, account) = match (who, account) {
        (Who::Operator(_), _) => return (plain(true, "operator"), Ok(())),
        (Who::Caller(caller), Some(account)) => (caller, account),
        (Who::Caller(_), None) => {
            let refusal = Refusal::invalid("the argument account is missing");
            return (plain(false, "no_account"), Err(refusal));
        }
    };
    let Right::Account(action) = verb.right else {
        let text = format!("{}/{} is left to the operator's token", verb.noun, verb.verb);
        return (plain(false, "operator_only"), Err(Refusal::new(Code::AccessDenied, text)));
    };
    let mut last = plain(false, "nothing_touched");
    for touched in order.touches() {
        last = decide_on(caller, context, action, account, &touched);
        if !last.allowed {
            let refusal = denied(caller, action, account, &touched);
            return (last, Err(refusal));
        }
    }
    (last, Ok(()))
}

fn decide_on(
    caller: &Caller,
    context: Context<'_>,
    action: Action,
    account: &AccountId,
    touched: &Touched,
) -> Verdict {
    let target = match touched {
        Touched::Identity(name) => Target::Identity(name),
        Touched::Bucket(name) => Target::Bucket(name),
    };
    let policies = PolicySet {
        identity: caller.policies(),
        session: caller.session_policy(),
        bucket: None,
        block_public_access: true,
    };
    let resource = Resource { region: "", account: account.as_str(), target };
    let caller = caller.principal().caller();
    verdict(&evaluate(&policies, &Request { caller, action, resource, context }))
}

fn denied(caller: &Caller, action: Action, account: &AccountId, touched: &Touched) -> Refusal {
    let resource = match touched {
        Touched::Identity(name) => format!("acs:ram:*:{account}:{name}"),
        Touched::Bucket(name) => format!("acs:ossvector:*:{account}:{name}"),
    };
    let text = format!("{} may not {} on {resource}", caller.principal(), action.name());
    Refusal::new(Code::AccessDenied, text)
}

/// A verdict that no policy was asked for.
pub(super) fn plain(allowed: bool, reason: &str) -> Verdict {
    Verdict { allowed, reason: reason.into(), statement: None }
}

/// For logs.
impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operator(fingerprint) => write!(f, "operator (token {fingerprint})"),
            Self::Caller(caller) => caller.principal().fmt(f),
        }
    }
}
