//! Reading a policy that was stored by someone else: an import, another version of this program.
//!
//! Refusing it is too late, and ignoring what is not understood could widen access. So reading
//! never fails, and it errs on one side: **an Allow that is not understood as a whole never
//! applies; a Deny applies as if what is not understood were not there.** A document that is no
//! policy at all is one Deny of everything (which does not reach the root of the bucket's owner,
//! who can replace it).

use crate::condition::salvage_conditions;
use crate::document::{
    Actions, Document, Effect, Kind, STATEMENT_ELEMENTS, Statement, check_version, parse_actions,
    parse_effect, parse_node, parse_principals, parse_resources, parse_statement,
};
use crate::node::Node;
use crate::{ActionPattern, PolicyError, PrincipalPattern, ResourcePattern};

/// The document that a stored text stands for.
pub(crate) fn salvage(kind: Kind, text: &[u8]) -> Document {
    // Nearly every text is one that could be stored today.
    if let Ok(document) = Document::parse(kind, text) {
        return document;
    }
    let statements =
        statements(kind, text).unwrap_or_else(|error| vec![Statement::refusing_all(kind, &error)]);
    Document { kind, statements }
}

/// The statements of a document whose frame is understood.
fn statements(kind: Kind, text: &[u8]) -> Result<Vec<Statement>, PolicyError> {
    let Node::Object(members) = parse_node(text)? else {
        return Err(PolicyError::syntax("the policy must be an object"));
    };
    let (mut version, mut items, mut unknown) = (None, None, None);
    for (name, value) in members {
        match (name.as_str(), value) {
            ("Version", value) => version = Some(value),
            ("Statement", Node::Array(array)) => items = Some(array),
            _ => unknown = Some(format!("the policy has an unknown element {name:?}")),
        }
    }
    check_version(version.as_ref())?;
    let items = items.ok_or_else(|| PolicyError::syntax("Statement must be an array"))?;
    let frame_flaw = unknown.map(PolicyError::syntax);
    let parsed = items.into_iter().map(|item| {
        let copy = item.clone();
        match (parse_statement(kind, item), &frame_flaw) {
            (Ok(statement), None) => statement,
            (Ok(statement), Some(flaw)) => statement.flawed(flaw),
            (Err(error), _) => salvage_statement(kind, copy, &error),
        }
    });
    Ok(parsed.collect())
}

fn salvage_statement(kind: Kind, node: Node, error: &PolicyError) -> Statement {
    let Node::Object(members) = node else { return Statement::refusing_all(kind, error) };
    let mut found = STATEMENT_ELEMENTS.map(|_| None);
    for (name, value) in members {
        if let Some(place) = STATEMENT_ELEMENTS.iter().position(|known| *known == name) {
            found[place] = Some(value);
        }
    }
    let [effect, action, not_action, resource, principal, condition] = found;
    let whole = Statement::refusing_all(kind, error);
    let (conditions, is_conditioned) = condition.map_or((Vec::new(), false), salvage_conditions);
    Statement {
        effect: parse_effect(effect.as_ref()).unwrap_or(Effect::Deny),
        actions: parse_actions(kind, action, not_action).unwrap_or(whole.actions),
        resources: parse_resources(kind, resource).unwrap_or(whole.resources),
        principals: parse_principals(kind, principal).unwrap_or(whole.principals),
        conditions,
        is_conditioned,
        flaw: whole.flaw,
    }
}

impl Statement {
    fn flawed(self, error: &PolicyError) -> Self {
        Self { flaw: Some(error.message.as_str().into()), ..self }
    }

    /// Denies everything to everybody whom a statement without a condition can reach.
    fn refusing_all(kind: Kind, error: &PolicyError) -> Self {
        let all = ActionPattern::parse(Kind::Identity, "*").expect("a star is an action pattern");
        let has_principal = matches!(kind, Kind::Bucket | Kind::Trust);
        Self {
            effect: Effect::Deny,
            actions: Actions::Only(vec![all]),
            resources: vec![ResourcePattern::everything()],
            principals: has_principal.then(|| vec![PrincipalPattern::Everyone]),
            conditions: Vec::new(),
            is_conditioned: false,
            flaw: Some(error.message.as_str().into()),
        }
    }
}
