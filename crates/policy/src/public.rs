//! Does a statement let strangers in?
//!
//! The documented test: an Allow is public unless its principals are all fixed, or a condition
//! pins the caller's network or access key. Action and Resource are not looked at.

use crate::document::{Effect, Statement};
use crate::value::{Network, Values};
use crate::{Condition, ConditionKey, Operator, PrincipalPattern};

/// Whether the statement of a bucket policy is public. An Allow that is not understood grants
/// nothing and is not.
pub(crate) fn is_public(statement: &Statement) -> bool {
    let is_fixed = |list: &Vec<PrincipalPattern>| list.iter().all(PrincipalPattern::is_fixed);
    statement.effect == Effect::Allow
        && statement.flaw.is_none()
        && !statement.principals.as_ref().is_some_and(is_fixed)
        && !statement.conditions.iter().any(pins)
}

/// Whether the condition lets only callers from some fixed place pass.
fn pins(condition: &Condition) -> bool {
    match &condition.key {
        ConditionKey::SourceIp => pins_network(condition),
        ConditionKey::SourceVpc | ConditionKey::AccessId => pins_text(condition),
        ConditionKey::Foreign(name) => match &**name {
            "acs:SourceVpcId" => pins_text(condition),
            "acs:SourceVpcIp" => pins_network(condition),
            _ => false,
        },
        _ => false,
    }
}

/// Fixed values under a positive operator. The empty text is none: every request without a VPC
/// has it.
fn pins_text(condition: &Condition) -> bool {
    let is_positive = matches!(
        condition.operator,
        Operator::StringEquals | Operator::StringEqualsIgnoreCase | Operator::StringLike
    );
    let is_fixed = |text: &str| !text.is_empty() && !text.contains(['*', '?']);
    is_positive && condition.texts.iter().all(|text| is_fixed(text))
}

/// Networks of a mask of at least 8 (IPv4) or 32 (IPv6).
fn pins_network(condition: &Condition) -> bool {
    let Values::Networks(networks) = &condition.values else { return pins_text(condition) };
    !condition.operator.is_negated() && networks.iter().all(is_narrow)
}

fn is_narrow(network: &Network) -> bool {
    match network {
        Network::Block { address, prefix } => *prefix >= if address.is_ipv4() { 8 } else { 32 },
        // Inside the /8 of its first octet.
        Network::Octets(octets) => octets[0].is_some(),
        Network::Everywhere => false,
    }
}

#[cfg(test)]
mod tests {
    use crate::{Document, Kind, Policy};

    fn is_public(effect: &str, principal: &str, condition: &str) -> bool {
        let text = format!(
            r#"{{"Version":"1","Statement":[{{"Effect":"{effect}","Action":"oss:GetVectors",
               "Principal":{principal},"Resource":"acs:ossvector:*:*:vec/*",
               "Condition":{{{condition}}}}}]}}"#
        );
        let document = Document::parse(Kind::Bucket, text.as_bytes()).expect(&text);
        Policy::new("bucket", document).is_public()
    }

    #[test]
    fn principals_decide_first() {
        let cases = [
            (r#""*""#, true),
            ("[]", true),
            (r#"["1","*"]"#, true),
            (r#"["1","2"]"#, false),
            (r#""arn:sts::1:assumed-role/r/s""#, false),
            (r#""arn:sts::1:assumed-role/r/*""#, true),
        ];
        for (principal, expected) in cases {
            assert_eq!(is_public("Allow", principal, ""), expected, "{principal}");
            assert!(!is_public("Deny", principal, ""));
        }
    }

    #[test]
    fn conditions_that_pin() {
        let cases = [
            (r#""IpAddress":{"acs:SourceIp":"10.0.0.0/8"}"#, false),
            (r#""IpAddress":{"acs:SourceIp":"10.0.0.0/7"}"#, true),
            (r#""IpAddress":{"acs:SourceIp":["1.2.3.4","0.0.0.0/0"]}"#, true),
            (r#""IpAddress":{"acs:SourceIp":"2001:db8::/32"}"#, false),
            (r#""IpAddress":{"acs:SourceIp":"2001::/31"}"#, true),
            (r#""IpAddress":{"acs:SourceIp":"::ffff:0.0.0.0/96"}"#, true),
            (r#""IpAddress":{"acs:SourceIp":"101.*.*.100"}"#, false),
            (r#""IpAddress":{"acs:SourceIp":"*.1.1.100"}"#, true),
            (r#""IpAddress":{"acs:SourceIp":"*"}"#, true),
            (r#""IpAddressIncludeBorder":{"acs:SourceIp":"10.0.0.0/8"}"#, false),
            (r#""NotIpAddress":{"acs:SourceIp":"10.0.0.0/8"}"#, true),
            (r#""IpAddress":{"acs:SourceVpcIp":"10.0.0.0/8"}"#, false),
            (r#""StringEquals":{"acs:SourceVpc":"vpc-1"}"#, false),
            (r#""StringEquals":{"acs:SourceVpc":""}"#, true),
            (r#""StringLike":{"acs:SourceVpc":"vpc-*"}"#, true),
            (r#""StringLike":{"acs:SourceVpc":"vpc-1"}"#, false),
            (r#""StringNotEquals":{"acs:SourceVpc":"vpc-1"}"#, true),
            (r#""StringEquals":{"acs:SourceVpcId":"vpc-1"}"#, false),
            (r#""StringEquals":{"acs:AccessId":["a","b"]}"#, false),
            (r#""StringLike":{"acs:AccessId":["a","b*"]}"#, true),
            (r#""StringEquals":{"acs:UserAgent":"a"}"#, true),
            (r#""Bool":{"acs:SecureTransport":"true"}"#, true),
        ];
        for (condition, expected) in cases {
            assert_eq!(is_public("Allow", r#""*""#, condition), expected, "{condition}");
        }
    }
}
