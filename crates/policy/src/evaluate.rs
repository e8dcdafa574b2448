//! The order of evaluation.
//!
//! ```text
//! anonymous, and public access is blocked            -> refused
//! a session policy that does not allow               -> refused
//! any Deny, of the caller's policies or the bucket's -> refused
//! the root of the owning account                     -> allowed
//! any Allow (not a public one while blocked)         -> allowed
//! otherwise                                          -> refused
//! ```
//!
//! The caller's own policies count for resources of its own account only. The bucket's policy does
//! not count for PutVectorBucket and ListVectorBuckets, which come before any bucket.

use std::sync::Arc;

use crate::decision::{Cause, Decision, Source, StatementRef};
use crate::policy::{Policy, Rule};
use crate::question::{Question, Verdict};
use crate::{Caller, Context, Request};

/// Everything that may have a say about a request.
#[derive(Clone, Copy, Debug)]
pub struct PolicySet<'p> {
    /// The policies of the user and its groups, or of the role; empty for roots and nobody.
    pub identity: &'p [Arc<Policy>],
    /// What the role session was narrowed to.
    pub session: Option<&'p Policy>,
    /// The policy of the bucket that is addressed.
    pub bucket: Option<&'p Policy>,
    /// Whether public access is blocked for the bucket.
    pub block_public_access: bool,
}

/// Decides a request.
///
/// With [`Target::SomeIndex`](crate::Target::SomeIndex) this is the coarse check: it refuses only
/// what would be refused for every index of the bucket.
pub fn evaluate<'p>(policies: &PolicySet<'p>, request: &Request<'_>) -> Decision<'p> {
    let question = Question::new(request);
    let identity = if question.is_of_the_account() { policies.identity } else { &[] };
    let without_bucket = request.action.is_without_bucket_policy();
    let bucket = policies.bucket.filter(|_| !without_bucket);
    decide(&PolicySet { identity, bucket, ..*policies }, &question)
}

/// Decides whether a caller may assume a role of an account.
///
/// Two sides must agree: the role's trust policy, and the caller's own policies with
/// `sts:AssumeRole` on `acs:ram:*:{account}:role/{role}`, also where the role belongs to another
/// account. Roots need the trust alone.
pub fn assume_role<'p>(
    trust: &'p Policy,
    policies: &PolicySet<'p>,
    role: (&str, &str),
    caller: Caller<'_>,
    context: Context<'_>,
) -> Decision<'p> {
    let (account, name) = role;
    let question = Question::about_role(caller, account, name, context);
    let trusted = scan(trust, Source::Trust, &question, false);
    if let Some(deny) = trusted.deny {
        return Decision::by(Cause::DeniedByTrust, deny);
    }
    if trusted.allow.is_none() {
        return Decision::without(Cause::NotTrusted);
    }
    decide(&PolicySet { bucket: None, ..*policies }, &question)
}

fn decide<'p>(policies: &PolicySet<'p>, question: &Question<'_>) -> Decision<'p> {
    let is_anonymous = question.caller == Caller::Anonymous;
    if is_anonymous && policies.block_public_access {
        return Decision::without(Cause::Anonymous);
    }
    if let Some(refused) = policies.session.and_then(|session| narrowed(session, question)) {
        return refused;
    }
    let own = scan_all(policies.identity, question);
    let bucket = policies.bucket.map_or(Found::default(), |policy| {
        scan(policy, Source::Bucket, question, policies.block_public_access)
    });
    match (bucket.deny, own.deny) {
        (Some(deny), Some(_)) => return Decision::by(Cause::DeniedByBoth, deny),
        (Some(deny), None) => return Decision::by(Cause::DeniedByBucket, deny),
        (None, Some(deny)) => return Decision::by(Cause::DeniedByIdentity, deny),
        (None, None) => {}
    }
    if question.is_owner {
        return Decision::without(Cause::Owner);
    }
    match own.allow.or(bucket.allow) {
        Some(allow) => Decision::by(Cause::Granted, allow),
        None if is_anonymous => Decision::without(Cause::Anonymous),
        None if question.is_of_the_account() => Decision::without(Cause::NotGranted),
        None => Decision::without(Cause::NotGrantedToStranger),
    }
}

/// The refusal of a session policy, if it does not allow.
fn narrowed<'p>(session: &'p Policy, question: &Question<'_>) -> Option<Decision<'p>> {
    let found = scan(session, Source::Session, question, false);
    match (found.deny, found.allow) {
        (Some(deny), _) => Some(Decision::by(Cause::DeniedBySession, deny)),
        (None, None) => Some(Decision::without(Cause::NotGrantedBySession)),
        (None, Some(_)) => None,
    }
}

/// The first Deny and the first Allow that apply.
#[derive(Clone, Copy, Default)]
struct Found<'p> {
    deny: Option<StatementRef<'p>>,
    allow: Option<StatementRef<'p>>,
}

fn scan_all<'p>(policies: &'p [Arc<Policy>], question: &Question<'_>) -> Found<'p> {
    policies.iter().fold(Found::default(), |found, policy| {
        let next = scan(policy, Source::Identity, question, false);
        Found { deny: found.deny.or(next.deny), allow: found.allow.or(next.allow) }
    })
}

/// Ends at the first Deny that applies; an Allow is looked for only until one is found.
fn scan<'p>(
    policy: &'p Policy,
    source: Source,
    question: &Question<'_>,
    block_public_access: bool,
) -> Found<'p> {
    let mut found = Found::default();
    for (index, is_deny) in policy.candidates(question) {
        if !is_deny && found.allow.is_some() {
            continue;
        }
        if judge(&policy.rules()[index], question, block_public_access) != Verdict::Applies {
            continue;
        }
        let statement = StatementRef { source, policy: policy.name(), index };
        if is_deny {
            return Found { deny: Some(statement), ..found };
        }
        found.allow = Some(statement);
    }
    found
}

/// How a statement answers, with public grants left out while public access is blocked.
pub(crate) fn judge(rule: &Rule, question: &Question<'_>, block_public_access: bool) -> Verdict {
    match question.judge(rule) {
        Verdict::Applies if block_public_access && rule.is_public => Verdict::PublicAccessBlocked,
        verdict => verdict,
    }
}
