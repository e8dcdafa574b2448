//! The document and its statements.

use crate::condition::{Condition, parse_conditions};
use crate::error::ErrorKind;
use crate::node::Node;
use crate::{ActionPattern, PolicyError, PrincipalPattern, ResourcePattern};

const ITEM_BYTES_MAX: usize = 4095;

/// What a document is attached to. The language is the same; the elements differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A bucket policy: every statement has a Principal.
    Bucket,
    /// A RAM policy of a user, group or role: no statement has a Principal.
    Identity,
    /// What a role session was narrowed to: like [`Kind::Identity`].
    Session,
    /// Who may assume a role: Principal `{"RAM": [..]}`, the action `sts:AssumeRole`, no Resource.
    Trust,
}

impl Kind {
    /// The longest document, in bytes.
    pub const fn bytes_max(self) -> usize {
        match self {
            Kind::Bucket | Kind::Identity => 16 << 10,
            Kind::Session => 2 << 10,
            Kind::Trust => 4 << 10,
        }
    }
}

/// A parsed policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    pub(crate) kind: Kind,
    pub(crate) statements: Vec<Statement>,
}

/// Whether a statement grants or refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Grants.
    Allow,
    /// Refuses, whatever else grants.
    Deny,
}

/// The actions of a statement; not empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Actions {
    /// `Action`: these.
    Only(Vec<ActionPattern>),
    /// `NotAction`: all but these.
    Except(Vec<ActionPattern>),
}

/// One statement of a policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Statement {
    /// Grant or refusal.
    pub(crate) effect: Effect,
    /// Which actions.
    pub(crate) actions: Actions,
    /// On which resources; not empty.
    pub(crate) resources: Vec<ResourcePattern>,
    /// By whom; not empty (an empty list in the document means everybody). `None` where the kind
    /// of document has no Principal: by whom it is attached to.
    pub(crate) principals: Option<Vec<PrincipalPattern>>,
    /// Under which conditions; all must hold.
    pub(crate) conditions: Vec<Condition>,
    /// Whether a condition was written, even one that is no longer understood.
    pub(crate) is_conditioned: bool,
    /// Why a stored statement could not be understood as a whole. Such an Allow never applies.
    pub(crate) flaw: Option<Box<str>>,
}

impl Statement {
    /// Grant or refusal.
    pub fn effect(&self) -> Effect {
        self.effect
    }
}

impl Document {
    /// Parses a policy that is about to be stored.
    ///
    /// Refused, each with its documented class: more than [`Kind::bytes_max`], a version other
    /// than `"1"`, a string of more than 4095 bytes, and everything the language does not know:
    /// other elements (`NotPrincipal`, `NotResource` and `Sid` among them), operators, condition
    /// keys, comparisons that can never hold, an element twice.
    pub fn parse(kind: Kind, text: &[u8]) -> Result<Self, PolicyError> {
        if text.len() > kind.bytes_max() {
            let message = format!("the policy is larger than {} bytes", kind.bytes_max());
            return Err(PolicyError { kind: ErrorKind::TooLarge, message });
        }
        let node = parse_node(text)?;
        check_items(&node)?;
        let [version, statements] = elements(node, "the policy", ["Version", "Statement"])?;
        check_version(version.as_ref())?;
        let Some(Node::Array(items)) = statements else {
            return Err(PolicyError::syntax("Statement must be an array"));
        };
        if items.is_empty() {
            return Err(PolicyError::syntax("Statement is empty"));
        }
        let statements = items.into_iter().map(|item| parse_statement(kind, item));
        Ok(Self { kind, statements: statements.collect::<Result<_, _>>()? })
    }

    /// What the document is attached to.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The statements, in written order; not empty.
    pub fn statements(&self) -> &[Statement] {
        &self.statements
    }
}

pub(crate) fn parse_node(text: &[u8]) -> Result<Node, PolicyError> {
    serde_json::from_slice(text)
        .map_err(|error| PolicyError::syntax(format!("not a policy document: {error}")))
}

pub(crate) fn check_version(version: Option<&Node>) -> Result<(), PolicyError> {
    match version {
        Some(Node::String(text)) if text == "1" => Ok(()),
        Some(Node::String(_)) | None => {
            let message = "Version must be \"1\"".to_owned();
            Err(PolicyError { kind: ErrorKind::Version, message })
        }
        Some(_) => Err(PolicyError::syntax("Version must be the string \"1\"")),
    }
}

pub(crate) const STATEMENT_ELEMENTS: [&str; 6] =
    ["Effect", "Action", "NotAction", "Resource", "Principal", "Condition"];

pub(crate) fn parse_statement(kind: Kind, node: Node) -> Result<Statement, PolicyError> {
    let [effect, action, not_action, resource, principal, condition] =
        elements(node, "a statement", STATEMENT_ELEMENTS)?;
    let conditions = condition.map_or(Ok(Vec::new()), parse_conditions)?;
    Ok(Statement {
        effect: parse_effect(effect.as_ref())?,
        actions: parse_actions(kind, action, not_action)?,
        resources: parse_resources(kind, resource)?,
        principals: parse_principals(kind, principal)?,
        is_conditioned: !conditions.is_empty(),
        conditions,
        flaw: None,
    })
}

pub(crate) fn parse_effect(node: Option<&Node>) -> Result<Effect, PolicyError> {
    match node {
        Some(Node::String(text)) if text == "Allow" => Ok(Effect::Allow),
        Some(Node::String(text)) if text == "Deny" => Ok(Effect::Deny),
        _ => Err(PolicyError::syntax("Effect must be \"Allow\" or \"Deny\"")),
    }
}

pub(crate) fn parse_actions(
    kind: Kind,
    action: Option<Node>,
    not_action: Option<Node>,
) -> Result<Actions, PolicyError> {
    let parse = |text: &str| ActionPattern::parse(kind, text);
    match (action, not_action) {
        (Some(node), None) => Ok(Actions::Only(list(node, "Action", parse)?)),
        (None, Some(_)) if kind == Kind::Trust => {
            Err(PolicyError::syntax("a trust policy has no NotAction"))
        }
        (None, Some(node)) => Ok(Actions::Except(list(node, "NotAction", parse)?)),
        _ => Err(PolicyError::syntax("a statement has one of Action and NotAction")),
    }
}

pub(crate) fn parse_resources(
    kind: Kind,
    node: Option<Node>,
) -> Result<Vec<ResourcePattern>, PolicyError> {
    match (kind, node) {
        (Kind::Trust, None) => Ok(vec![ResourcePattern::everything()]),
        (Kind::Trust, Some(_)) => Err(PolicyError::syntax("a trust policy has no Resource")),
        (_, None) => Err(PolicyError::syntax("a statement has no Resource")),
        (_, Some(node)) => list(node, "Resource", |text| ResourcePattern::parse(kind, text)),
    }
}

pub(crate) fn parse_principals(
    kind: Kind,
    node: Option<Node>,
) -> Result<Option<Vec<PrincipalPattern>>, PolicyError> {
    match (kind, node) {
        (Kind::Identity | Kind::Session, None) => Ok(None),
        (Kind::Identity | Kind::Session, Some(_)) => {
            Err(PolicyError::syntax("a RAM policy has no Principal"))
        }
        (_, None) => Err(PolicyError::syntax("a statement has no Principal")),
        (Kind::Bucket, Some(Node::Array(items))) if items.is_empty() => {
            Ok(Some(vec![PrincipalPattern::Everyone]))
        }
        (Kind::Bucket, Some(node)) => list(node, "Principal", PrincipalPattern::parse).map(Some),
        (Kind::Trust, Some(node)) => {
            let [ram] = elements(node, "Principal", ["RAM"])?;
            let ram = ram.ok_or_else(|| PolicyError::syntax("Principal has no RAM"))?;
            list(ram, "RAM", PrincipalPattern::parse_trusted).map(Some)
        }
    }
}

/// A string or an array of strings, each parsed; not empty.
fn list<T>(
    node: Node,
    name: &str,
    parse: impl Fn(&str) -> Result<T, PolicyError>,
) -> Result<Vec<T>, PolicyError> {
    let items = match node {
        Node::Array(items) if items.is_empty() => {
            return Err(PolicyError::syntax(format!("{name} is empty")));
        }
        Node::Array(items) => items,
        single => vec![single],
    };
    let one = |item: Node| match item {
        Node::String(text) => parse(&text),
        _ => Err(PolicyError::syntax(format!("{name} must be a string or an array of strings"))),
    };
    items.into_iter().map(one).collect()
}

/// The named elements of an object; any other element is refused.
fn elements<const N: usize>(
    node: Node,
    what: &str,
    names: [&str; N],
) -> Result<[Option<Node>; N], PolicyError> {
    let Node::Object(members) = node else {
        return Err(PolicyError::syntax(format!("{what} must be an object")));
    };
    let mut found = [const { None }; N];
    for (name, value) in members {
        let place = names.iter().position(|known| **known == name);
        let place = place.ok_or_else(|| {
            PolicyError::syntax(format!("{what} has an unknown element {name:?}"))
        })?;
        found[place] = Some(value);
    }
    Ok(found)
}

/// No string may be longer than 4095 bytes.
fn check_items(node: &Node) -> Result<(), PolicyError> {
    let too_long = |text: &str| text.len() > ITEM_BYTES_MAX;
    let refuse = || {
        let message = "an item of the policy is longer than 4095 bytes".to_owned();
        Err(PolicyError { kind: ErrorKind::ItemTooLong, message })
    };
    match node {
        Node::Bool(_) | Node::Number(_) => Ok(()),
        Node::String(text) if too_long(text) => refuse(),
        Node::String(_) => Ok(()),
        Node::Array(items) => items.iter().try_for_each(check_items),
        Node::Object(members) => {
            members.iter().try_for_each(
                |(name, value)| {
                    if too_long(name) { refuse() } else { check_items(value) }
                },
            )
        }
    }
}

#[cfg(test)]
#[path = "document_tests.rs"]
mod tests;
