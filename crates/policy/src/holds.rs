//! Whether a condition holds in the circumstances of a request.

use std::cmp::Ordering;

use crate::condition::Family;
use crate::value::{Values, parse_bool, parse_number};
use crate::{Condition, ConditionKey, Context, Operator};

impl Condition {
    /// Whether the condition holds.
    ///
    /// Several values are alternatives. A negated operator is the negation of its positive twin,
    /// also with several values, and therefore holds where the request lacks the key.
    pub fn holds(&self, context: &Context<'_>) -> bool {
        self.some_value_matches(context).unwrap_or(false) != self.operator.is_negated()
    }

    /// `None` if the request does not have the key.
    fn some_value_matches(&self, context: &Context<'_>) -> Option<bool> {
        let operator = self.operator;
        match &self.values {
            Values::Networks(networks) if self.key == ConditionKey::SourceIp => {
                let address = context.source_ip?;
                Some(networks.iter().any(|network| network.contains(address)))
            }
            Values::Dates(dates) if self.key == ConditionKey::CurrentTime => {
                Some(dates.iter().any(|date| compares(operator, context.time.cmp(date))))
            }
            Values::Networks(_) | Values::Dates(_) => None,
            Values::Strings(globs) => {
                let text = context.text(&self.key)?;
                Some(globs.iter().any(|glob| match operator {
                    Operator::StringLike | Operator::StringNotLike => glob.matches(&text),
                    Operator::StringEqualsIgnoreCase | Operator::StringNotEqualsIgnoreCase => {
                        equals_ignoring_case(glob.as_str(), &text)
                    }
                    _ => glob.as_str() == text,
                }))
            }
            Values::Numbers(numbers) => {
                let number = parse_number(&context.text(&self.key)?)?;
                let ordered = |wanted: &f64| number.partial_cmp(wanted);
                Some(numbers.iter().filter_map(ordered).any(|order| compares(operator, order)))
            }
            Values::Bools(bools) => {
                let value = parse_bool(&context.text(&self.key)?, false)?;
                Some(bools.contains(&value))
            }
        }
    }
}

/// Whether an ordering of request value to policy value is what the operator looks for; negated
/// operators look for what they negate.
fn compares(operator: Operator, order: Ordering) -> bool {
    debug_assert!(matches!(operator.family(), Family::Numeric | Family::Date));
    match operator {
        Operator::NumericLessThan | Operator::DateLessThan => order.is_lt(),
        Operator::NumericLessThanEquals | Operator::DateLessThanEquals => order.is_le(),
        Operator::NumericGreaterThan | Operator::DateGreaterThan => order.is_gt(),
        Operator::NumericGreaterThanEquals | Operator::DateGreaterThanEquals => order.is_ge(),
        _ => order.is_eq(),
    }
}

fn equals_ignoring_case(a: &str, b: &str) -> bool {
    let lower = |text: &str| text.chars().flat_map(char::to_lowercase).collect::<String>();
    a.eq_ignore_ascii_case(b) || lower(a) == lower(b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Document, Kind};

    fn holds(operator: &str, key: &str, values: &str, context: &Context<'_>) -> bool {
        let text = format!(
            r#"{{"Version":"1","Statement":[{{"Effect":"Allow","Action":"*","Resource":"*",
               "Condition":{{"{operator}":{{"{key}":{values}}}}}}}]}}"#
        );
        let document = Document::parse(Kind::Identity, text.as_bytes()).expect(&text);
        document.statements()[0].conditions[0].holds(context)
    }

    fn context() -> Context<'static> {
        Context {
            source_ip: Some("10.1.2.3".parse().unwrap()),
            secure_transport: true,
            time: 1_569_686_400, // 2019-09-29T00:00:00+08:00
            user_agent: Some("SDK/2.0 (é)"),
            access_key_id: Some("LTAItest"),
        }
    }

    #[test]
    fn every_operator_compares() {
        let now = r#""2019-09-28T16:00:00Z""#;
        let later = r#"["2019-09-28T16:00:01Z"]"#;
        let cases = [
            ("StringEquals", "acs:AccessId", r#"["x","LTAItest"]"#, true),
            ("StringEquals", "acs:AccessId", r#""LTAI*""#, false),
            ("StringEquals", "acs:AccessId", r#""ltaitest""#, false),
            ("StringNotEquals", "acs:AccessId", r#"["x","LTAItest"]"#, false),
            ("StringNotEquals", "acs:AccessId", r#"["x","y"]"#, true),
            ("StringEqualsIgnoreCase", "acs:UserAgent", r#""sdk/2.0 (É)""#, true),
            ("StringNotEqualsIgnoreCase", "acs:UserAgent", r#""sdk/2.0 (É)""#, false),
            ("StringLike", "acs:UserAgent", r#""SDK/?.*""#, true),
            ("StringLike", "acs:UserAgent", r#""sdk/*""#, false),
            ("StringNotLike", "acs:UserAgent", r#"["x*","SDK*"]"#, false),
            ("StringEquals", "acs:SourceIp", r#""10.1.2.3""#, true),
            ("StringEquals", "acs:SecureTransport", r#""true""#, true),
            ("Bool", "acs:SecureTransport", "true", true),
            ("Bool", "acs:SecureTransport", r#""HTTP""#, false),
            ("Bool", "acs:MFAPresent", r#""true""#, false),
            ("Bool", "acs:MFAPresent", r#""False""#, true),
            ("IpAddress", "acs:SourceIp", r#"["1.1.1.1","10.0.0.0/8"]"#, true),
            ("IpAddress", "acs:SourceIp", r#""10.1.*.3""#, true),
            ("NotIpAddress", "acs:SourceIp", r#"["1.1.1.1","10.0.0.0/8"]"#, false),
            ("NotIpAddress", "acs:SourceIp", r#"["1.1.1.1","2.0.0.0/8"]"#, true),
            ("IpAddressIncludeBorder", "acs:SourceIp", r#""10.1.2.3/32""#, true),
            ("NotIpAddressIncludeBorder", "acs:SourceIp", r#""10.1.2.0/30""#, false),
            ("DateEquals", "acs:CurrentTime", now, true),
            ("DateNotEquals", "acs:CurrentTime", now, false),
            ("DateNotEquals", "acs:CurrentTime", later, true),
            ("DateLessThan", "acs:CurrentTime", now, false),
            ("DateLessThan", "acs:CurrentTime", later, true),
            ("DateLessThanEquals", "acs:CurrentTime", now, true),
            ("DateGreaterThan", "acs:CurrentTime", now, false),
            ("DateGreaterThanEquals", "acs:CurrentTime", now, true),
            ("DateGreaterThanEquals", "acs:CurrentTime", later, false),
        ];
        for (operator, key, values, expected) in cases {
            assert_eq!(holds(operator, key, values, &context()), expected, "{operator} {values}");
        }
    }

    /// A positive operator fails on what is not there, a negated one holds.
    #[test]
    fn absent_keys() {
        let nothing = Context::default();
        let cases = [
            ("StringLike", "acs:UserAgent", r#""*""#, false),
            ("StringNotLike", "acs:UserAgent", r#""*""#, true),
            ("StringEquals", "acs:AccessId", r#""""#, false),
            ("IpAddress", "acs:SourceIp", r#""0.0.0.0/0""#, false),
            ("NotIpAddress", "acs:SourceIp", r#""0.0.0.0/0""#, true),
            ("StringLike", "oss:Prefix", r#""*""#, false),
            ("StringNotEquals", "oss:BucketTag/a", r#""b""#, true),
            ("NumericLessThan", "oss:BucketTag/a", "3", false),
            ("NumericNotEquals", "oss:BucketTag/a", "3", true),
            ("Bool", "oss:BucketTag/a", "true", false),
            ("IpAddress", "acs:SourceVpcIp", r#""*""#, false),
            ("DateNotEquals", "oss:BucketTag/a", r#""2019-09-28T16:00:00Z""#, true),
            // There is no VPC here, but the key is there: the empty text.
            ("StringLike", "acs:SourceVpc", r#""*""#, true),
            ("StringLike", "acs:SourceVpc", r#""vpc-*""#, false),
            ("StringNotLike", "acs:SourceVpc", r#""vpc-*""#, true),
            ("StringEquals", "acs:SourceVpcId", r#""""#, false),
        ];
        for (operator, key, values, expected) in cases {
            assert_eq!(holds(operator, key, values, &nothing), expected, "{operator} {key}");
        }
    }

    #[test]
    fn numbers_compare_in_every_direction() {
        let cases = [
            (Operator::NumericEquals, [false, true, false]),
            (Operator::NumericNotEquals, [false, true, false]), // what it negates
            (Operator::NumericLessThan, [true, false, false]),
            (Operator::NumericLessThanEquals, [true, true, false]),
            (Operator::NumericGreaterThan, [false, false, true]),
            (Operator::NumericGreaterThanEquals, [false, true, true]),
        ];
        for (operator, expected) in cases {
            let orders = [Ordering::Less, Ordering::Equal, Ordering::Greater];
            assert_eq!(orders.map(|order| compares(operator, order)), expected, "{operator:?}");
        }
    }
}
