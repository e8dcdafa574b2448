//! A policy in the form that decides.
//!
//! Statements are kept as parsed; beside them stand [`Sieves`], and most statements
//! are ruled out by these without being looked at.

use crate::action::ActionSet;
use crate::document::{Actions, Document, Effect, Kind, Statement};
use crate::public::is_public;
use crate::question::Question;
use crate::salvage::salvage;
use crate::sieve::Sieves;

/// A named policy, ready to decide; cheap to share.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    name: Box<str>,
    kind: Kind,
    sieves: Sieves,
    rules: Box<[Rule]>,
}

/// A statement and what was found out about it once.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rule {
    pub(crate) statement: Statement,
    pub(crate) actions: ActionSet,
    pub(crate) is_public: bool,
}

impl Policy {
    /// A policy from a document that was found valid.
    pub fn new(name: &str, document: Document) -> Self {
        let rule = |statement: Statement| {
            let is_public = document.kind == Kind::Bucket && is_public(&statement);
            Rule { actions: actions(&statement.actions), statement, is_public }
        };
        let rules: Box<[Rule]> = document.statements.into_iter().map(rule).collect();
        let sieves = Sieves::of(&rules);
        Self { name: name.into(), kind: document.kind, sieves, rules }
    }

    /// A policy from stored text, whoever wrote it; never fails.
    ///
    /// What is not understood fails closed: an Allow with it never applies, a Deny with it applies
    /// as if it were not there, and text that is no policy denies everything.
    pub fn stored(kind: Kind, name: &str, text: &[u8]) -> Self {
        Self::new(name, salvage(kind, text))
    }

    /// The name, for people and logs.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the policy is attached to.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// How many statements there are.
    pub fn statement_count(&self) -> usize {
        self.rules.len()
    }

    /// Whether a statement lets strangers in: what GetBucketPolicyStatus tells, and what is
    /// refused and ignored while public access is blocked.
    pub fn is_public(&self) -> bool {
        self.rules.iter().any(|rule| rule.is_public)
    }

    /// Statement by number and why each stored one could not be understood.
    pub fn flaws(&self) -> impl Iterator<Item = (usize, &str)> {
        let numbered = self.rules.iter().enumerate();
        numbered.filter_map(|(at, rule)| Some((at, rule.statement.flaw.as_deref()?)))
    }

    pub(crate) fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// Numbers of the statements that their sieves do not rule out, and whether each is a Deny.
    pub(crate) fn candidates(
        &self,
        question: &Question<'_>,
    ) -> impl Iterator<Item = (usize, bool)> {
        self.sieves.passed(question)
    }
}

/// The actions that a statement means.
fn actions(actions: &Actions) -> ActionSet {
    let (Actions::Only(patterns) | Actions::Except(patterns)) = actions;
    let named = patterns.iter().fold(ActionSet::EMPTY, |set, p| set.union(p.meant()));
    match actions {
        Actions::Only(_) => named,
        Actions::Except(_) => named.complement(),
    }
}

impl Rule {
    /// Whether the statement may grant at all.
    pub(crate) fn is_inert(&self) -> bool {
        self.statement.effect == Effect::Allow && self.statement.flaw.is_some()
    }
}
