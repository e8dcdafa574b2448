//! Conditions: operator, key, values.

use crate::node::Node;
use crate::value::{Network, Values, parse_bool, parse_date, parse_number};
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

            /// The operator of a name, with case.
            pub fn parse(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|operator| operator.name() == name)
            }

            /// Whether it holds when no value matches, and when the key is absent.
            pub const fn is_negated(self) -> bool {
                match self { $(Operator::$name => $negated,)* }
            }

            pub(crate) const fn family(self) -> Family {
                match self { $(Operator::$name => Family::$family,)* }
            }
        }
    };
}

/// What an operator compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
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

    /// The name in a document.
    pub fn name(&self) -> &str {
        match self {
            Self::SourceIp => "acs:SourceIp",
            Self::SourceVpc => "acs:SourceVpc",
            Self::UserAgent => "acs:UserAgent",
            Self::CurrentTime => "acs:CurrentTime",
            Self::SecureTransport => "acs:SecureTransport",
            Self::AccessId => "acs:AccessId",
            Self::MfaPresent => "acs:MFAPresent",
            Self::Foreign(name) => name,
        }
    }

    /// Whether an operator family can say something about the key.
    ///
    /// A comparison that can never hold would be a restriction, or a permission, in name only.
    fn takes(&self, family: Family) -> bool {
        match self {
            Self::SourceIp => matches!(family, Family::Ip | Family::String),
            Self::SourceVpc | Self::AccessId => matches!(family, Family::String),
            Self::UserAgent => matches!(family, Family::String),
            Self::CurrentTime => matches!(family, Family::Date),
            Self::SecureTransport | Self::MfaPresent => {
                matches!(family, Family::Bool | Family::String)
            }
            Self::Foreign(_) => true,
        }
    }
}

/// One condition: all conditions of a statement must hold.
///
/// It holds when some value matches; negated operators, when none does. Where the request has no
/// such key, positive operators do not hold and negated ones do.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// The comparison.
    pub operator: Operator,
    /// What is compared.
    pub key: ConditionKey,
    /// With what, as written; not empty.
    pub texts: Vec<Box<str>>,
    /// The same, typed.
    pub values: Values,
}

/// Reads the `Condition` element.
pub(crate) fn parse_conditions(node: Node) -> Result<Vec<Condition>, PolicyError> {
    let mut conditions = Vec::new();
    for (name, keys) in members(node, "Condition")? {
        for (key, values) in members(keys, &name)? {
            conditions.push(parse_condition(&name, &key, values)?);
        }
    }
    Ok(conditions)
}

/// What of a stored `Condition` element can be understood, and whether it restricts at all.
///
/// What cannot be understood is left out, so that a Deny applies without it.
pub(crate) fn salvage_conditions(node: Node) -> (Vec<Condition>, bool) {
    let Ok(operators) = members(node, "Condition") else { return (Vec::new(), true) };
    let (mut conditions, mut restricts) = (Vec::new(), false);
    for (name, keys) in operators {
        let Ok(keys) = members(keys, &name) else {
            restricts = true;
            continue;
        };
        for (key, values) in keys {
            restricts = true;
            conditions.extend(parse_condition(&name, &key, values));
        }
    }
    (conditions, restricts)
}

fn members(node: Node, what: &str) -> Result<Vec<(String, Node)>, PolicyError> {
    match node {
        Node::Object(members) => Ok(members),
        _ => Err(PolicyError::syntax(format!("{what} must be an object"))),
    }
}

fn parse_condition(operator: &str, key: &str, values: Node) -> Result<Condition, PolicyError> {
    let refuse = |text| Err(PolicyError::syntax(text));
    let Some(operator) = Operator::parse(operator) else {
        return refuse(format!("unknown condition operator {operator:?}"));
    };
    let Some(parsed) = ConditionKey::parse(key) else {
        return refuse(format!("unknown condition key {key:?}"));
    };
    if !parsed.takes(operator.family()) {
        return refuse(format!("{} cannot compare {key}", operator.name()));
    }
    let texts = value_texts(key, values)?;
    match typed_values(operator, &parsed, &texts) {
        Some(values) => Ok(Condition { operator, key: parsed, texts, values }),
        None => refuse(format!("a value of {key} is not valid for {}", operator.name())),
    }
}

/// Values as text; unquoted numbers and booleans are taken as their text.
fn value_texts(key: &str, values: Node) -> Result<Vec<Box<str>>, PolicyError> {
    let items = match values {
        Node::Array(items) => items,
        single => vec![single],
    };
    let text = |node| match node {
        Node::String(text) | Node::Number(text) => Ok(text.into()),
        Node::Bool(value) => Ok(value.to_string().into()),
        Node::Array(_) | Node::Object(_) => {
            Err(PolicyError::syntax(format!("the values of {key} must be strings")))
        }
    };
    if items.is_empty() {
        return Err(PolicyError::syntax(format!("{key} has no values")));
    }
    items.into_iter().map(text).collect()
}

fn typed_values(operator: Operator, key: &ConditionKey, texts: &[Box<str>]) -> Option<Values> {
    let takes_scheme = *key == ConditionKey::SecureTransport;
    Some(match operator.family() {
        Family::String => Values::Strings(texts.iter().map(|text| Glob::new(text)).collect()),
        Family::Numeric => Values::Numbers(all(texts, parse_number)?),
        Family::Date => Values::Dates(all(texts, parse_date)?),
        Family::Bool => Values::Bools(all(texts, |text| parse_bool(text, takes_scheme))?),
        Family::Ip => Values::Networks(all(texts, Network::parse)?),
    })
}

fn all<T>(texts: &[Box<str>], parse: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
    texts.iter().map(|text| parse(text)).collect()
}
