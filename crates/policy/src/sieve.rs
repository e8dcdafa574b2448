//! What rules a statement out at a glance.
//!
//! A policy may have a hundred statements, of which a request concerns one or two. Each statement is
//! therefore described by a few words that lie side by side in memory, and only what these do not
//! rule out is looked at:
//!
//! ```text
//! actions   one bit per action the statement means
//! buckets   one hashed bit per bucket it can be about; all bits if it has a wildcard
//! indexes   the same of indexes, where the bucket has no wildcard
//! pairs     one hashed bit per pair of neighbouring letters that stand in every resource it names
//! demands   where its conditions stand in short, see `demand.rs`
//! ```
//!
//! Invariant: what applies passes. The reverse does not hold, so statements that pass are judged.

use crate::ResourcePattern;
use crate::demand::{Alternative, demands, may_hold};
use crate::document::Effect;
use crate::policy::Rule;
use crate::question::Question;

/// One statement in short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sieve {
    pairs: u128,
    actions: u64,
    buckets: u64,
    indexes: u64,
    /// The first of its alternatives in [`Sieves::alternatives`], and the first of the next one's.
    demands: [u32; 2],
    is_deny: bool,
}

/// The statements of a policy in short, and what their conditions demand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sieves {
    sieves: Box<[Sieve]>,
    alternatives: Box<[Alternative]>,
}

impl Sieves {
    pub(crate) fn of(rules: &[Rule]) -> Self {
        let mut alternatives = Vec::new();
        let sieves = rules.iter().map(|rule| Sieve::of(rule, &mut alternatives)).collect();
        Self { sieves, alternatives: alternatives.into() }
    }

    /// Numbers of the statements that are not ruled out, and whether each is a Deny.
    pub(crate) fn passed(&self, question: &Question<'_>) -> impl Iterator<Item = (usize, bool)> {
        let numbered = self.sieves.iter().enumerate();
        let passed = numbered.filter(|(_, sieve)| sieve.passes(question, &self.alternatives));
        passed.map(|(at, sieve)| (at, sieve.is_deny))
    }
}

impl Sieve {
    fn of(rule: &Rule, alternatives: &mut Vec<Alternative>) -> Self {
        let and = |bits: u64, name: Option<&str>| bits | name.map_or(!0, name_bit);
        let place = |len| u32::try_from(len).expect("a policy is a few KB long");
        let statement = &rule.statement;
        let resources = statement.resources.iter();
        let from = place(alternatives.len());
        alternatives.extend(demands(&statement.conditions));
        Self {
            pairs: resources.clone().fold(!0, |pairs, resource| pairs & pairs_of(resource)),
            actions: rule.actions.bits(),
            buckets: resources.clone().map(ResourcePattern::only_bucket).fold(0, and),
            indexes: resources.map(ResourcePattern::only_index).fold(0, and),
            demands: [from, place(alternatives.len())],
            is_deny: statement.effect == Effect::Deny,
        }
    }

    /// Whether the statement may apply.
    fn passes(&self, question: &Question<'_>, alternatives: &[Alternative]) -> bool {
        let pairs = if self.is_deny { question.pairs_denied } else { question.pairs_allowed };
        let demands = self.demands[0] as usize..self.demands[1] as usize;
        self.actions & question.action_bit != 0
            && self.buckets & question.bucket_bits != 0
            && self.indexes & question.index_bits != 0
            && self.pairs & !pairs == 0
            && may_hold(&alternatives[demands], question)
    }
}

fn pairs_of(resource: &ResourcePattern) -> u128 {
    pairs(resource.name().as_str())
}

/// The bits of the pairs of neighbouring bytes in a pattern or text. A wildcard is in no pair.
pub(crate) fn pairs(text: &str) -> u128 {
    let is_wild = |byte: &u8| matches!(byte, b'*' | b'?');
    let literal = text.as_bytes().windows(2).filter(|pair| !pair.iter().any(is_wild));
    literal.fold(0, |bits, pair| bits | pair_bit(pair[0], pair[1]))
}

/// One of 128 bits for a pair (Fibonacci hashing).
pub(crate) fn pair_bit(first: u8, second: u8) -> u128 {
    let pair = u32::from(u16::from_le_bytes([first, second]));
    1 << (pair.wrapping_mul(0x9e37_79b9) >> 25)
}

/// One of 64 bits for the name of a bucket or index: FNV-1a, whose upper bits do not depend on the
/// last bytes, and a multiplication that makes them. Names often differ in their last bytes alone.
pub(crate) fn name_bit(name: &str) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325, step);
    1 << (hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 58)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::question::Verdict;
    use crate::{Action, Caller, Context, Kind, Policy, Request, Resource, Target};

    const ACCOUNT: &str = "1000000000000001";

    fn target<'a>(kind: u8, bucket: &'a str, index: &'a str) -> Target<'a> {
        match kind {
            0 => Target::Bucket(bucket),
            1 => Target::Indexes(bucket),
            2 => Target::Index { bucket, index },
            3 => Target::Data { bucket, index },
            4 => Target::SomeIndex(bucket),
            5 => Target::Objects(bucket),
            _ => Target::Account,
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]
        #[test]
        fn what_applies_passes(
            names in prop::collection::vec("(bucket/)?[ab*?]{1,4}(/[ab*?]{1,3}(/\\*)?)?", 1..3),
            service in prop::sample::select(vec!["ossvector", "oss", "*"]),
            deny: bool,
            network in prop::option::of(prop::sample::select(vec!["10.0.0.0/8", "10.1.2.3", "11.*.*.1", "*"])),
            bucket in "[ab]{1,4}",
            index in "[ab]{1,3}",
            kind in 0u8..7,
        ) {
            let resources: Vec<String> =
                names.iter().map(|name| format!("\"acs:{service}:*:*:{name}\"")).collect();
            let condition = network.map_or(String::new(), |network| {
                format!(r#","Condition":{{"IpAddress":{{"acs:SourceIp":"{network}"}}}}"#)
            });
            let effect = if deny { "Deny" } else { "Allow" };
            let text = format!(
                r#"{{"Version":"1","Statement":[{{"Effect":"{effect}","Action":"*","Resource":[{}]{condition}}}]}}"#,
                resources.join(","),
            );
            let policy = Policy::stored(Kind::Identity, "p", text.as_bytes());
            let context = Context { source_ip: Some([10, 1, 2, 3].into()), ..Context::default() };
            let target = target(kind, &bucket, &index);
            let resource = Resource { region: "r", account: ACCOUNT, target };
            let caller = Caller::User { account: ACCOUNT, id: "11", name: "u" };
            let request = Request { caller, action: Action::QueryVectors, resource, context };
            let question = Question::new(&request);
            let sieves = Sieves::of(policy.rules());
            for (at, rule) in policy.rules().iter().enumerate() {
                if question.judge(rule) == Verdict::Applies {
                    let passed = sieves.passed(&question).any(|(passed, _)| passed == at);
                    prop_assert!(passed, "{text} {target:?}");
                }
            }
        }
    }

    #[test]
    fn names_that_differ_at_their_ends_have_different_bits() {
        for prefix in ["vec-", "bucket-", "a"] {
            let bits = (100..200).map(|n| name_bit(&format!("{prefix}{n}"))).fold(0, |a, b| a | b);
            assert!(bits.count_ones() > 40, "{prefix}: {}", bits.count_ones());
        }
    }

    #[test]
    fn most_of_what_does_not_apply_is_ruled_out() {
        let statement = |n: usize| {
            format!(
                r#"{{"Effect":"Allow","Action":"*","Resource":"acs:ossvector:*:*:*-{n}/docs/*"}}"#
            )
        };
        let all: Vec<String> = (0..100).map(statement).collect();
        let text = format!(r#"{{"Version":"1","Statement":[{}]}}"#, all.join(","));
        let policy = Policy::stored(Kind::Identity, "p", text.as_bytes());
        let target = Target::Data { bucket: "bucket-57", index: "docs" };
        let resource = Resource { region: "r", account: ACCOUNT, target };
        let caller = Caller::User { account: ACCOUNT, id: "11", name: "u" };
        let context = Context::default();
        let request = Request { caller, action: Action::QueryVectors, resource, context };
        let question = Question::new(&request);
        let passed = Sieves::of(policy.rules()).passed(&question).count();
        assert!((1..20).contains(&passed), "{passed}");
    }
}
