//! What the conditions of a statement demand of a request, in a few words.
//!
//! Most conditions that do not hold can be told from little: the address is of another network, a
//! pattern has letters that the User-Agent has not. That little is copied out of the statements of a
//! policy and lies side by side in memory, so that a hundred conditions are gone through without
//! following a pointer:
//!
//! ```text
//! statement   ( alternative or alternative ) and ( alternative ) ...
//!               ^ IpAddress a, b                   ^ StringLike c
//! ```
//!
//! Invariant: conditions that hold are never ruled out. The reverse is not so: what is left is
//! judged by [`Condition::holds`].

use crate::question::Question;
use crate::value::{Network, Values};
use crate::{Condition, ConditionKey, Operator};

/// One alternative of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Alternative {
    demand: Demand,
    /// Whether it is the last one of its condition.
    is_last: bool,
}

/// What must be so for an alternative to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Demand {
    /// The request comes from a network.
    From(Network),
    /// It does not.
    NotFrom(Network),
    /// The text of a key has all these pairs of letters, as two halves.
    Letters(TextKey, [u64; 2]),
    /// The server's time lies between these, both included.
    Between(i64, i64),
    /// The request came over TLS, or did not.
    Secure(bool),
    /// Nothing that a request could bring.
    Impossible,
}

/// A key whose value is text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TextKey {
    SourceIp,
    SourceVpc,
    UserAgent,
    SecureTransport,
    AccessId,
    MfaPresent,
}

impl TextKey {
    /// How many there are.
    pub(crate) const COUNT: usize = 6;

    fn of(key: &ConditionKey) -> Option<Self> {
        match key {
            ConditionKey::SourceIp => Some(Self::SourceIp),
            ConditionKey::SourceVpc => Some(Self::SourceVpc),
            ConditionKey::UserAgent => Some(Self::UserAgent),
            ConditionKey::SecureTransport => Some(Self::SecureTransport),
            ConditionKey::AccessId => Some(Self::AccessId),
            ConditionKey::MfaPresent => Some(Self::MfaPresent),
            ConditionKey::CurrentTime | ConditionKey::Foreign(_) => None,
        }
    }

    /// The key as documents name it.
    pub(crate) fn key(self) -> ConditionKey {
        match self {
            Self::SourceIp => ConditionKey::SourceIp,
            Self::SourceVpc => ConditionKey::SourceVpc,
            Self::UserAgent => ConditionKey::UserAgent,
            Self::SecureTransport => ConditionKey::SecureTransport,
            Self::AccessId => ConditionKey::AccessId,
            Self::MfaPresent => ConditionKey::MfaPresent,
        }
    }
}

/// What all these conditions together demand, as far as a few words can say.
pub(crate) fn demands(conditions: &[Condition]) -> Vec<Alternative> {
    let mut all = Vec::new();
    for condition in conditions {
        if condition.operator.is_negated() {
            // None of the values may match: each is a condition of its own.
            let alone = |demand| Alternative { demand, is_last: true };
            all.extend(refusals(condition).into_iter().map(alone));
        } else if let Some(demands) = alternatives(condition) {
            let last = demands.len() - 1;
            let placed = |(at, demand)| Alternative { demand, is_last: at == last };
            all.extend(demands.into_iter().enumerate().map(placed));
        }
    }
    all
}

/// Whether conditions with these alternatives may hold.
pub(crate) fn may_hold(alternatives: &[Alternative], question: &Question<'_>) -> bool {
    let mut some = false;
    for Alternative { demand, is_last } in alternatives {
        some = some || demand.may_hold(question);
        if *is_last && !some {
            return false;
        }
        some &= !is_last;
    }
    true
}

/// What a condition that is no negation demands, one for each value; not empty.
fn alternatives(condition: &Condition) -> Option<Vec<Demand>> {
    if matches!(condition.key, ConditionKey::Foreign(_)) {
        return Some(vec![Demand::Impossible]);
    }
    let of_time = condition.key == ConditionKey::CurrentTime;
    let of_address = condition.key == ConditionKey::SourceIp;
    let demands = match &condition.values {
        Values::Networks(networks) if of_address => {
            networks.iter().map(|network| Demand::From(*network)).collect()
        }
        Values::Dates(dates) if of_time => {
            dates.iter().map(|date| between(condition.operator, *date)).collect()
        }
        Values::Bools(bools) if condition.key == ConditionKey::SecureTransport => {
            bools.iter().map(|value| Demand::Secure(*value)).collect()
        }
        Values::Strings(globs) => {
            let key = TextKey::of(&condition.key)?;
            globs.iter().map(|glob| Demand::Letters(key, halves(letters(glob.as_str())))).collect()
        }
        Values::Networks(_) | Values::Dates(_) | Values::Bools(_) | Values::Numbers(_) => {
            return None;
        }
    };
    Some(demands)
}

/// What a negation demands for each of its values, as far as that can be said.
fn refusals(condition: &Condition) -> Vec<Demand> {
    match &condition.values {
        Values::Networks(networks) if condition.key == ConditionKey::SourceIp => {
            networks.iter().map(|network| Demand::NotFrom(*network)).collect()
        }
        _ => Vec::new(),
    }
}

fn between(operator: Operator, date: i64) -> Demand {
    match operator {
        Operator::DateLessThan | Operator::DateLessThanEquals => Demand::Between(i64::MIN, date),
        Operator::DateGreaterThan | Operator::DateGreaterThanEquals => {
            Demand::Between(date, i64::MAX)
        }
        _ => Demand::Between(date, date),
    }
}

impl Demand {
    fn may_hold(&self, question: &Question<'_>) -> bool {
        let time = question.context.time;
        match self {
            Self::From(network) => question.comes_from(network),
            Self::NotFrom(network) => !question.comes_from(network),
            Self::Letters(key, wanted) => {
                let has = halves(question.letters(*key));
                wanted[0] & !has[0] == 0 && wanted[1] & !has[1] == 0
            }
            Self::Between(from, until) => (*from..=*until).contains(&time),
            Self::Secure(wanted) => question.context.secure_transport == *wanted,
            Self::Impossible => false,
        }
    }
}

/// The pairs of letters of a request's text, whatever their case. In a text that is not ASCII each
/// pair may be: letters beyond it have ASCII letters as their small ones.
pub(crate) fn letters_of_text(text: &str) -> u128 {
    if text.is_ascii() { letters(text) } else { !0 }
}

/// The bits of the pairs of neighbouring ASCII letters, whatever their case. Wildcards are in none.
fn letters(text: &str) -> u128 {
    let counts = |byte: u8| byte.is_ascii() && !matches!(byte, b'*' | b'?');
    let pairs = text.as_bytes().windows(2).filter(|pair| counts(pair[0]) && counts(pair[1]));
    let small = |byte: u8| byte.to_ascii_lowercase();
    pairs.fold(0, |bits, pair| bits | crate::sieve::pair_bit(small(pair[0]), small(pair[1])))
}

fn halves(bits: u128) -> [u64; 2] {
    [bits as u64, (bits >> 64) as u64]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Action, Caller, Context, Document, Kind, Request, Resource, Target};

    fn conditions(text: &str) -> Option<Vec<Condition>> {
        let text = format!(
            r#"{{"Version":"1","Statement":[{{"Effect":"Allow","Action":"*","Resource":"*",
               "Condition":{{{text}}}}}]}}"#
        );
        let document = Document::parse(Kind::Identity, text.as_bytes()).ok()?;
        Some(document.statements()[0].conditions.clone())
    }

    fn request(context: Context<'_>) -> Request<'_> {
        let caller = Caller::User { account: "1", id: "11", name: "u" };
        let target = Target::Bucket("b");
        let resource = Resource { region: "r", account: "1", target };
        Request { caller, action: Action::QueryVectors, resource, context }
    }

    fn may(text: &str, context: Context<'_>) -> bool {
        let demands = demands(&conditions(text).expect(text));
        may_hold(&demands, &Question::new(&request(context)))
    }

    fn value() -> impl Strategy<Value = String> {
        let known = [
            "10.0.0.0/8",
            "10.1.2.3",
            "10.1.2.4",
            "11.*.*.1",
            "*",
            "::/0",
            "true",
            "FALSE",
            "https",
            "",
            "1970-01-01T00:00:05Z",
            "1970-01-01T00:00:06Z",
            "1970-01-01T00:00:04Z",
            "5",
            "K?",
        ];
        prop_oneof![
            prop::sample::select(known.to_vec()).prop_map(str::to_owned),
            "[abAB*?.kK\u{212a}é]{0,4}"
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]
        #[test]
        fn conditions_that_hold_are_not_ruled_out(
            parts in prop::collection::vec(
                (
                    prop::sample::select(Operator::ALL.to_vec()),
                    prop::sample::select(vec![
                        "acs:SourceIp", "acs:SourceVpc", "acs:UserAgent", "acs:CurrentTime",
                        "acs:SecureTransport", "acs:AccessId", "acs:MFAPresent", "oss:Prefix",
                    ]),
                    prop::collection::vec(value(), 1..3),
                ),
                1..3,
            ),
            agent in prop::option::of("[abAB.kK\u{212a}é]{0,5}"),
            id in prop::option::of("[abAB]{0,3}"),
            ip in prop::option::of(prop::sample::select(vec!["10.1.2.3", "11.0.0.1", "::1", "::ffff:10.1.2.4"])),
            secure_transport: bool,
        ) {
            let one = |(operator, key, values): &(Operator, &str, Vec<String>)| {
                format!(r#""{}":{{"{key}":{values:?}}}"#, operator.name())
            };
            let all: Vec<String> = parts.iter().map(one).collect();
            let Some(conditions) = conditions(&all.join(",")) else { return Ok(()) };
            let context = Context {
                source_ip: ip.map(|ip| ip.parse().unwrap()),
                secure_transport,
                time: 5,
                user_agent: agent.as_deref(),
                access_key_id: id.as_deref(),
            };
            if conditions.iter().all(|condition| condition.holds(&context)) {
                let request = request(context);
                let demands = demands(&conditions);
                prop_assert!(may_hold(&demands, &Question::new(&request)), "{all:?} {context:?}");
            }
        }
    }

    /// Each of these must be told at a glance, or policies with many of them are slow.
    #[test]
    fn most_conditions_that_do_not_hold_are_ruled_out() {
        let context = Context {
            source_ip: Some([10, 1, 2, 3].into()),
            secure_transport: false,
            time: 1000,
            user_agent: Some("alibabacloud-python-sdk-v2/1.4.1"),
            access_key_id: Some("LTAItest"),
        };
        for text in [
            r#""IpAddress":{"acs:SourceIp":["11.0.0.0/8","10.1.2.4"]}"#,
            r#""NotIpAddress":{"acs:SourceIp":["11.0.0.0/8","10.0.0.0/8"]}"#,
            r#""StringLike":{"acs:UserAgent":["agent-*","ossutil*"]}"#,
            r#""StringEqualsIgnoreCase":{"acs:UserAgent":"OSSUTIL"}"#,
            r#""StringEquals":{"acs:AccessId":"LTAIother"}"#,
            r#""StringLike":{"acs:SourceIp":"192.168.*"}"#,
            r#""Bool":{"acs:SecureTransport":"true"}"#,
            r#""DateLessThan":{"acs:CurrentTime":"1970-01-01T00:00:00Z"}"#,
            r#""DateGreaterThan":{"acs:CurrentTime":"2026-01-01T00:00:00Z"}"#,
            r#""StringEquals":{"oss:Prefix":"a"}"#,
            r#""IpAddress":{"acs:SourceIp":"10.0.0.0/8"},"Bool":{"acs:SecureTransport":"true"}"#,
        ] {
            assert!(!may(text, context), "{text}");
        }
        let same =
            r#""StringEqualsIgnoreCase":{"acs:UserAgent":"ALIBABACLOUD-python-sdk-v2/1.4.1"}"#;
        assert!(may(same, context));
        assert!(may(r#""NotIpAddress":{"acs:SourceIp":"10.0.0.0/8"}"#, Context::default()));
    }
}
