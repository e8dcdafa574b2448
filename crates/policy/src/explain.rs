//! Which statement decides, and why the others do not: the policy simulator.

use std::fmt;

use crate::decision::{Decision, Source, StatementRef};
use crate::document::Effect;
use crate::evaluate::{PolicySet, evaluate, judge};
use crate::policy::Policy;
use crate::question::{Question, Verdict};
use crate::{ConditionKey, Operator, Request};

/// A decision and how every statement answered.
#[derive(Clone, Debug)]
pub struct Explanation<'p> {
    /// The decision, the same as [`evaluate`]'s.
    pub decision: Decision<'p>,
    /// Every statement of every policy, in the order session, identity, bucket.
    pub lines: Vec<Line<'p>>,
}

/// How a statement answered.
#[derive(Clone, Copy, Debug)]
pub struct Line<'p> {
    /// The statement.
    pub statement: StatementRef<'p>,
    /// Allow or Deny.
    pub effect: Effect,
    /// Its answer.
    pub verdict: Verdict,
    /// Whether its policy has a say about this request at all: a caller's own policies have none
    /// about another account's bucket.
    pub counts: bool,
    /// The condition that does not hold.
    pub failing: Option<(Operator, &'p ConditionKey)>,
    /// Why the statement was not understood as a whole.
    pub flaw: Option<&'p str>,
}

/// Decides like [`evaluate`] and tells how every statement answered.
pub fn explain<'p>(policies: &PolicySet<'p>, request: &Request<'_>) -> Explanation<'p> {
    let question = Question::new(request);
    let block = policies.block_public_access;
    let bucket_counts = !request.action.is_without_bucket_policy();
    let mut lines = Vec::new();
    let mut add = |policy: &'p Policy, source, counts, block| {
        lines.extend(answers(policy, &question, block).map(|(index, effect, verdict)| {
            let statement = StatementRef { source, policy: policy.name(), index };
            line(policy, statement, effect, verdict, counts)
        }));
    };
    if let Some(session) = policies.session {
        add(session, Source::Session, true, false);
    }
    for policy in policies.identity {
        add(policy, Source::Identity, question.is_of_the_account(), false);
    }
    if let Some(bucket) = policies.bucket {
        add(bucket, Source::Bucket, bucket_counts, block);
    }
    Explanation { decision: evaluate(policies, request), lines }
}

fn answers(
    policy: &Policy,
    question: &Question<'_>,
    block: bool,
) -> impl Iterator<Item = (usize, Effect, Verdict)> {
    let answer = move |(index, rule): (usize, &crate::policy::Rule)| {
        (index, rule.statement.effect, judge(rule, question, block))
    };
    policy.rules().iter().enumerate().map(answer)
}

fn line<'p>(
    policy: &'p Policy,
    statement: StatementRef<'p>,
    effect: Effect,
    verdict: Verdict,
    counts: bool,
) -> Line<'p> {
    let parsed = &policy.rules()[statement.index].statement;
    let failing = match verdict {
        Verdict::ConditionFails(at) => parsed.conditions.get(at).map(|c| (c.operator, &c.key)),
        _ => None,
    };
    Line { statement, effect, verdict, counts, failing, flaw: parsed.flaw.as_deref() }
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:?}): ", self.statement, self.effect)?;
        if !self.counts {
            return f.write_str("has no say about this resource");
        }
        match (self.verdict, self.failing) {
            (Verdict::Applies, _) => f.write_str("applies"),
            (Verdict::OtherAction, _) => f.write_str("is about other actions"),
            (Verdict::OtherPrincipal, _) => f.write_str("is about other callers"),
            (Verdict::OwnerSpared, _) => f.write_str("does not bind the owner without a condition"),
            (Verdict::OtherResource, _) => f.write_str("is about other resources"),
            (Verdict::ConditionFails(_), Some((operator, key))) => {
                write!(f, "its condition {} on {} does not hold", operator.name(), key.name())
            }
            (Verdict::ConditionFails(at), None) => write!(f, "its condition {at} does not hold"),
            (Verdict::NotUnderstood, _) => f.write_str("is not understood and grants nothing"),
            (Verdict::PublicAccessBlocked, _) => f.write_str("is public, which is blocked"),
        }?;
        self.flaw.map_or(Ok(()), |flaw| write!(f, " [{flaw}]"))
    }
}

impl fmt::Display for Explanation<'_> {
    /// The decision, then a line per statement.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.decision)?;
        self.lines.iter().try_for_each(|line| writeln!(f, "  {line}"))
    }
}
