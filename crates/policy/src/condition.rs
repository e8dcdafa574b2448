//! Conditions: operator, key, values.

use crate::node::Node;
use crate::value::{Network, Values, parse_date};
use crate::{Glob, PolicyError};

macro_rules! operators {
    ($($name:ident $family:ident $negated:literal,)*) => {
        /// A condition operator.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[expect(missing_docs, reason = "the names are the language's own")]
        pub enum Operator { $($name,)* }

        impl Operator {
            /// Every operator.
            pub const ALL: &'static [Operator] = &[$(Operator::$name,)*];

            /// The name in a document.
            pub const fn name(self) -> &'static str {
                match self { $(Operator::$name => stringify!($name),)* }
            }

            /// Whether it holds when no value matches, and when the key is absent.
            pub const fn is_negated(self) -> bool {
                match self { $(Operator::$name => $negated,)* }
            }

            const fn family(self) -> Family {
                match self { $(Operator::$name => Family::$family,)* }
            }
        }
    };
}

enum Family {
    String,
    Numeric,
    Date,
    Bool,
    Ip,
}

operators! {
    StringEquals String false,
    StringNotEquals String true,
    StringEqualsIgnoreCase String false,
    StringNotEqualsIgnoreCase String true,
    StringLike String false,
    StringNotLike String true,
    NumericEquals Numeric false,
    NumericNotEquals Numeric true,
    NumericLessThan Numeric false,
    NumericLessThanEquals Numeric false,
    NumericGreaterThan Numeric false,
    NumericGreaterThanEquals Numeric false,
    DateEquals Date false,
    DateNotEquals Date true,
    DateLessThan Date false,
    DateLessThanEquals Date false,
    DateGreaterThan Date false,
    DateGreaterThanEquals Date false,
    Bool Bool false,
    IpAddress Ip false,
    NotIpAddress Ip true,
    IpAddressIncludeBorder Ip false,
    NotIpAddressIncludeBorder Ip true,
}

/// What a condition looks at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ConditionKey {
    /// `acs:SourceIp`.
    SourceIp,
    /// `acs:SourceVpc`.
    SourceVpc,
    /// `acs:UserAgent`.
    UserAgent,
    /// `acs:CurrentTime`.
    CurrentTime,
    /// `acs:SecureTransport`.
    SecureTransport,
    /// `acs:AccessId`.
    AccessId,
    /// `acs:MFAPresent`.
    MfaPresent,
    /// A documented key of ordinary object operations or of VPC access; never present in a vector
    /// request.
    Foreign(Box<str>),
}

impl ConditionKey {
    /// The key of a documented name, with case; `None` for any other.
    pub fn parse(text: &str) -> Option<Self> {
        let foreign = [
            "acs:SourceVpcId",
            "acs:SourceVpcIp",
            "oss:Prefix",
            "oss:Delimiter",
            "oss:x-oss-acl",
            "oss:x-oss-object-acl",
        ];
        let tags = ["oss:BucketTag/", "oss:ExistingObjectTag/", "oss:RequestObjectTag/"];
        let is_tag = tags.iter().any(|tag| text.len() > tag.len() && text.starts_with(tag));
        Some(match text {
            "acs:SourceIp" => Self::SourceIp,
            "acs:SourceVpc" => Self::SourceVpc,
            "acs:UserAgent" => Self::UserAgent,
            "acs:CurrentTime" => Self::CurrentTime,
            "acs:SecureTransport" => Self::SecureTransport,
            "acs:AccessId" => Self::AccessId,
            "acs:MFAPresent" => Self::MfaPresent,
            other if is_tag || foreign.contains(&other) => Self::Foreign(other.into()),
            _ => return None,
        })
    }
}

/// One condition: all conditions of a statement must hold.
///
/// It holds when some value matches; negated operators, when none does.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// The comparison.
    pub operator: Operator,
    /// What is compared.
    pub key: ConditionKey,
    /// With what; not empty.
    pub values: Values,
}

/// Reads the `Condition` element.
pub(crate) fn parse_conditions(node: Node) -> Result<Vec<Condition>, PolicyError> {
    let Node::Object(operators) = node else {
        return Err(PolicyError::syntax("Condition must be an object"));
    };
    let mut conditions = Vec::new();
    for (name, keys) in operators {
        let operator = Operator::ALL.iter().find(|operator| operator.name() == name);
        let operator = operator
            .ok_or_else(|| PolicyError::syntax(format!("unknown condition operator {name:?}")))?;
        let Node::Object(keys) = keys else {
            return Err(PolicyError::syntax(format!("{name} must be an object")));
        };
        for (key, values) in keys {
            conditions.push(parse_condition(*operator, &key, values)?);
        }
    }
    Ok(conditions)
}

fn parse_condition(operator: Operator, key: &str, values: Node) -> Result<Condition, PolicyError> {
    let parsed = ConditionKey::parse(key)
        .ok_or_else(|| PolicyError::syntax(format!("unknown condition key {key:?}")))?;
    let texts = value_texts(key, values)?;
    let typed = typed_values(operator, &parsed, &texts).ok_or_else(|| {
        PolicyError::syntax(format!("a value of {key} is not valid for {}", operator.name()))
    })?;
    Ok(Condition { operator, key: parsed, values: typed })
}

/// Values as text; unquoted numbers and booleans are taken as their text.
fn value_texts(key: &str, values: Node) -> Result<Vec<String>, PolicyError> {
    let items = match values {
        Node::Array(items) => items,
        single => vec![single],
    };
    let text = |node| match node {
        Node::String(text) | Node::Number(text) => Ok(text),
        Node::Bool(value) => Ok(value.to_string()),
        Node::Array(_) | Node::Object(_) => {
            Err(PolicyError::syntax(format!("the values of {key} must be strings")))
        }
    };
    if items.is_empty() {
        return Err(PolicyError::syntax(format!("{key} has no values")));
    }
    items.into_iter().map(text).collect()
}

fn typed_values(operator: Operator, key: &ConditionKey, texts: &[String]) -> Option<Values> {
    Some(match operator.family() {
        Family::String => Values::Strings(texts.iter().map(|text| Glob::new(text)).collect()),
        Family::Numeric => Values::Numbers(all(texts, parse_number)?),
        Family::Date => Values::Dates(all(texts, parse_date)?),
        Family::Bool => Values::Bools(all(texts, |text| parse_bool(key, text))?),
        Family::Ip => Values::Networks(all(texts, Network::parse)?),
    })
}

fn all<T>(texts: &[String], parse: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
    texts.iter().map(|text| parse(text)).collect()
}

fn parse_number(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

/// `acs:SecureTransport` was once documented with the values HTTP and HTTPS.
fn parse_bool(key: &ConditionKey, text: &str) -> Option<bool> {
    match (text.to_ascii_lowercase().as_str(), key) {
        ("true", _) | ("https", ConditionKey::SecureTransport) => Some(true),
        ("false", _) | ("http", ConditionKey::SecureTransport) => Some(false),
        _ => None,
    }
}
