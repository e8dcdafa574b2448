//! The canonical text of a document.
//!
//! Compact JSON: elements in the order of the grammar, lists always as arrays, values always as
//! strings, resources in their short spelling, an empty condition left out. Parsing it gives the
//! same document, and printing that gives the same text.

use std::fmt::Write;

use crate::document::{Actions, Document, Effect, Kind, Statement};
use crate::{ActionPattern, Condition, PrincipalPattern, ResourcePattern};

impl Document {
    /// The canonical text.
    pub fn print(&self) -> String {
        let statements: Vec<String> =
            self.statements.iter().map(|statement| print_statement(self.kind, statement)).collect();
        format!(r#"{{"Version":"1","Statement":[{}]}}"#, statements.join(","))
    }
}

fn print_statement(kind: Kind, statement: &Statement) -> String {
    let effect = match statement.effect {
        Effect::Allow => "Allow",
        Effect::Deny => "Deny",
    };
    let (name, actions) = match &statement.actions {
        Actions::Only(actions) => ("Action", actions),
        Actions::Except(actions) => ("NotAction", actions),
    };
    let actions = array(actions.iter().map(ActionPattern::as_str));
    let mut text = format!(r#"{{"Effect":"{effect}","{name}":{actions}"#);
    if let Some(principals) = &statement.principals {
        let list = array(principals.iter().map(PrincipalPattern::to_text));
        let list = if kind == Kind::Trust { format!(r#"{{"RAM":{list}}}"#) } else { list };
        push(&mut text, "Principal", &list);
    }
    if kind != Kind::Trust {
        let list = array(statement.resources.iter().map(ResourcePattern::to_text));
        push(&mut text, "Resource", &list);
    }
    if !statement.conditions.is_empty() {
        push(&mut text, "Condition", &print_conditions(&statement.conditions));
    }
    text + "}"
}

/// Conditions of one operator stand side by side, as they were written.
fn print_conditions(conditions: &[Condition]) -> String {
    let groups = conditions.chunk_by(|a, b| a.operator == b.operator).map(|group| {
        let keys = group.iter().map(|condition| {
            let values = array(condition.texts.iter());
            format!("{}:{values}", quoted(condition.key.name()))
        });
        let keys: Vec<String> = keys.collect();
        format!(r#""{}":{{{}}}"#, group[0].operator.name(), keys.join(","))
    });
    format!("{{{}}}", groups.collect::<Vec<_>>().join(","))
}

fn push(text: &mut String, name: &str, value: &str) {
    write!(text, r#","{name}":{value}"#).expect("writing to a String cannot fail");
}

fn array(items: impl Iterator<Item = impl AsRef<str>>) -> String {
    let items: Vec<String> = items.map(|item| quoted(item.as_ref())).collect();
    format!("[{}]", items.join(","))
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a string is always JSON")
}
