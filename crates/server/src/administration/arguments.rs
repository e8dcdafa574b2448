//! The arguments of an order, as JSON says them: read by name, and no others than the verb has.

use std::net::IpAddr;
use std::sync::Arc;

use serde_json::{Map, Value};
use vb_identity::{AccountId, Holder, KeyId, Name, Networks, Sessions};

use super::{Refusal, Verb};

/// The member that names the account, which every order may have.
const ACCOUNT: &str = "account";

/// What was given to a verb.
#[derive(Debug)]
pub(crate) struct Arguments(Map<String, Value>);

type Found<T> = Result<T, Refusal>;

impl Arguments {
    /// Takes arguments that the verb has; all that it requires must be there.
    pub(crate) fn of(verb: &Verb, given: Map<String, Value>) -> Found<Self> {
        let known = |name: &str| {
            name == ACCOUNT || verb.arguments().any(|argument| argument.member == name)
        };
        if let Some(name) = given.keys().find(|name| !known(name)) {
            let members: Vec<&str> = verb.arguments().map(|argument| argument.member).collect();
            let name: String = name.chars().take(64).collect();
            return Err(Refusal::invalid(format!(
                "{name} is no argument of {}/{}; it has account {}",
                verb.noun,
                verb.verb,
                members.join(" ")
            )));
        }
        match verb.required.iter().find(|argument| !given.contains_key(argument.member)) {
            Some(argument) => Err(missing(argument.member)),
            None => Ok(Self(given)),
        }
    }

    /// The account that is named.
    pub(crate) fn account(&self) -> Found<Option<AccountId>> {
        let parse = |text: &str| {
            let wrong = || Refusal::invalid(format!("{text} is no account; it has 16 digits"));
            AccountId::parse(text).ok_or_else(wrong)
        };
        self.optional_text(ACCOUNT)?.map(parse).transpose()
    }

    /// Whether it is given at all.
    pub(crate) fn has(&self, member: &str) -> bool {
        self.0.get(member).is_some_and(|value| !value.is_null())
    }

    pub(crate) fn optional_text(&self, member: &str) -> Found<Option<&str>> {
        match self.0.get(member) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(wrong(member, "a string")),
        }
    }

    pub(crate) fn text(&self, member: &str) -> Found<&str> {
        self.optional_text(member)?.ok_or_else(|| missing(member))
    }

    /// A name by the rule of names.
    pub(crate) fn name(&self, member: &str) -> Found<Name> {
        let text = self.text(member)?;
        let rule = "is no name; it has 1 to 64 characters of 0-9A-Za-z._-";
        Name::parse(text).ok_or_else(|| Refusal::invalid(format!("{text} {rule}")))
    }

    pub(crate) fn key(&self) -> Found<KeyId> {
        let text = self.text("key")?;
        let wrong = || Refusal::invalid(format!("{text} is no access key id"));
        KeyId::parse(text).ok_or_else(wrong)
    }

    pub(crate) fn comment(&self) -> Found<Box<str>> {
        Ok(self.optional_text("comment")?.unwrap_or_default().into())
    }

    /// The text of a document. A string is kept as it is; an object is written anew, which may
    /// change the order of its members.
    pub(crate) fn document(&self, member: &str) -> Found<Arc<str>> {
        match self.0.get(member) {
            Some(Value::String(text)) => Ok(text.as_str().into()),
            Some(object @ Value::Object(_)) => Ok(object.to_string().into()),
            None | Some(Value::Null) => Err(missing(member)),
            Some(_) => Err(wrong(member, "a policy document, as a string or an object")),
        }
    }

    pub(crate) fn optional_document(&self, member: &str) -> Found<Option<Arc<str>>> {
        self.has(member).then(|| self.document(member)).transpose()
    }

    pub(crate) fn large_number(&self, member: &str) -> Found<Option<u64>> {
        match self.0.get(member) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => value.as_u64().map(Some).ok_or_else(|| wrong(member, "a whole number")),
        }
    }

    pub(crate) fn number(&self, member: &str) -> Found<Option<u32>> {
        let number = self.large_number(member)?;
        let fits = |number: u64| u32::try_from(number).map_err(|_| wrong(member, "below 2^32"));
        number.map(fits).transpose()
    }

    pub(crate) fn switch(&self, member: &str) -> Found<bool> {
        Ok(self.on_off_default(member)?.unwrap_or(false))
    }

    /// `None` for `null`.
    pub(crate) fn on_off_default(&self, member: &str) -> Found<Option<bool>> {
        match self.0.get(member) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(*value)),
            Some(_) => Err(wrong(member, "true, false or null")),
        }
    }

    /// Networks; an empty list: anywhere.
    pub(crate) fn networks(&self, member: &str) -> Found<Networks> {
        let wrong = || {
            wrong(member, "a list of up to 20 networks a.b.c.d/n, addresses or a.b.*.d (none: any)")
        };
        let list = self.0.get(member).and_then(Value::as_array).ok_or_else(wrong)?;
        let texts: Option<Vec<&str>> = list.iter().map(Value::as_str).collect();
        texts.and_then(Networks::parse).ok_or_else(wrong)
    }

    pub(crate) fn address(&self, member: &str) -> Found<Option<IpAddr>> {
        let parse = |text: &str| {
            text.parse().map_err(|_| Refusal::invalid(format!("{text} is no address")))
        };
        self.optional_text(member)?.map(parse).transpose()
    }

    /// The one user, group or role that is named.
    pub(crate) fn holder(&self) -> Found<Holder> {
        match (self.has("user"), self.has("group"), self.has("role")) {
            (true, false, false) => Ok(Holder::User(self.name("user")?)),
            (false, true, false) => Ok(Holder::Group(self.name("group")?)),
            (false, false, true) => Ok(Holder::Role(self.name("role")?)),
            _ => Err(Refusal::invalid("set one of --user, --group and --role")),
        }
    }

    /// Whose sessions are meant.
    pub(crate) fn sessions(&self) -> Found<Sessions> {
        match (self.has("user"), self.has("role"), self.switch("all")?) {
            (true, false, false) => Ok(Sessions::OfUser(self.name("user")?)),
            (false, true, false) => Ok(Sessions::OfRole(self.name("role")?)),
            (false, false, true) => Ok(Sessions::OfAccount),
            _ => Err(Refusal::invalid("set one of --user, --role and --all")),
        }
    }

    /// For the audit: everything but documents, of which the length is told.
    pub(crate) fn told(&self, verb: &Verb) -> Value {
        let is_document = |name: &str| {
            let mut arguments = verb.arguments();
            arguments.any(|a| a.member == name && a.form == super::Form::Document)
        };
        let tell = |(name, value): (&String, &Value)| {
            let shown = match is_document(name) {
                true => format!("{} bytes", value.as_str().map_or(0, str::len)).into(),
                false => value.clone(),
            };
            (name.clone(), shown)
        };
        Value::Object(self.0.iter().map(tell).collect())
    }
}

fn missing(member: &str) -> Refusal {
    Refusal::invalid(format!("the argument {member} is missing"))
}

fn wrong(member: &str, expected: &str) -> Refusal {
    Refusal::invalid(format!("the argument {member} is not {expected}"))
}
