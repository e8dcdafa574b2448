//! The document and its statements.

use crate::condition::{Condition, parse_conditions};
use crate::error::ErrorKind;
use crate::node::Node;
use crate::{ActionPattern, PolicyError, PrincipalPattern, ResourcePattern};

const DOCUMENT_BYTES_MAX: usize = 16 << 10;
const ITEM_BYTES_MAX: usize = 4095;

/// A parsed bucket policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// The statements, in written order; not empty.
    pub statements: Vec<Statement>,
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

/// One statement of a bucket policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Statement {
    /// Grant or refusal.
    pub effect: Effect,
    /// Which actions.
    pub actions: Actions,
    /// On which resources; not empty.
    pub resources: Vec<ResourcePattern>,
    /// By whom; not empty (an empty list in the document means everybody).
    pub principals: Vec<PrincipalPattern>,
    /// Under which conditions; all must hold.
    pub conditions: Vec<Condition>,
}

impl Document {
    /// Parses a bucket policy.
    ///
    /// Refused, each with its documented class: more than 16 KB, a version other than `"1"`, a
    /// string of more than 4095 bytes, and everything the language does not know: other elements
    /// (`NotPrincipal` and `NotResource` among them), operators, condition keys, an element twice.
    pub fn parse(text: &[u8]) -> Result<Self, PolicyError> {
        if text.len() > DOCUMENT_BYTES_MAX {
            let message = "the policy is larger than 16 KB".to_owned();
            return Err(PolicyError { kind: ErrorKind::TooLarge, message });
        }
        let node: Node = serde_json::from_slice(text)
            .map_err(|error| PolicyError::syntax(format!("not a policy document: {error}")))?;
        check_items(&node)?;
        let [version, statements] = elements(node, "the policy", ["Version", "Statement"])?;
        check_version(version.as_ref())?;
        let Some(Node::Array(items)) = statements else {
            return Err(PolicyError::syntax("Statement must be an array"));
        };
        if items.is_empty() {
            return Err(PolicyError::syntax("Statement is empty"));
        }
        let statements = items.into_iter().map(parse_statement).collect::<Result<_, _>>()?;
        Ok(Self { statements })
    }
}

fn check_version(version: Option<&Node>) -> Result<(), PolicyError> {
    match version {
        Some(Node::String(text)) if text == "1" => Ok(()),
        Some(Node::String(_)) | None => {
            let message = "Version must be \"1\"".to_owned();
            Err(PolicyError { kind: ErrorKind::Version, message })
        }
        Some(_) => Err(PolicyError::syntax("Version must be the string \"1\"")),
    }
}

fn parse_statement(node: Node) -> Result<Statement, PolicyError> {
    let names = ["Effect", "Action", "NotAction", "Resource", "Principal", "Condition"];
    let [effect, action, not_action, resource, principal, condition] =
        elements(node, "a statement", names)?;
    let effect = match effect {
        Some(Node::String(text)) if text == "Allow" => Effect::Allow,
        Some(Node::String(text)) if text == "Deny" => Effect::Deny,
        _ => return Err(PolicyError::syntax("Effect must be \"Allow\" or \"Deny\"")),
    };
    let actions = match (action, not_action) {
        (Some(node), None) => Actions::Only(list(node, "Action", ActionPattern::parse)?),
        (None, Some(node)) => Actions::Except(list(node, "NotAction", ActionPattern::parse)?),
        _ => return Err(PolicyError::syntax("a statement has one of Action and NotAction")),
    };
    let missing = |name: &str| PolicyError::syntax(format!("a statement has no {name}"));
    let resource = resource.ok_or_else(|| missing("Resource"))?;
    let principal = principal.ok_or_else(|| missing("Principal"))?;
    Ok(Statement {
        effect,
        actions,
        resources: list(resource, "Resource", ResourcePattern::parse)?,
        principals: principals(principal)?,
        conditions: condition.map_or(Ok(Vec::new()), parse_conditions)?,
    })
}

fn principals(node: Node) -> Result<Vec<PrincipalPattern>, PolicyError> {
    match node {
        Node::Array(items) if items.is_empty() => Ok(vec![PrincipalPattern::Everyone]),
        node => list(node, "Principal", PrincipalPattern::parse),
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
