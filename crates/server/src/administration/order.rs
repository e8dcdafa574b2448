//! An order: a verb with arguments that were understood.

use std::net::IpAddr;
use std::sync::Arc;

use vb_identity::{Action, Holder, Name, Sessions};

use super::{Arguments, Refusal, Verb, change};

/// What is to be done or told, complete. The account it is about is told beside it.
#[derive(Debug, PartialEq)]
pub(crate) enum Order {
    /// All accounts.
    Accounts,
    /// One part of an account, by its noun; of `account` all parts.
    Show(&'static str),
    /// A change of identities.
    Change(Action),
    /// An access key of a user.
    CreateKey(Name),
    /// Temporary credentials, opened by the account's root.
    OpenSession(OpenSession),
    /// Which statement decides.
    Explain(Explain),
    /// All secrets sealed with the newest key of the ring.
    Rekey,
    /// A bucket without its policy.
    DropPolicy(Box<str>),
}

/// What a session is to be.
#[derive(Debug, PartialEq)]
pub(crate) struct OpenSession {
    pub(crate) role: Box<str>,
    pub(crate) session: Box<str>,
    pub(crate) duration_s: Option<u32>,
    pub(crate) policy: Option<Arc<str>>,
}

/// A request that is only thought of.
#[derive(Debug, PartialEq)]
pub(crate) struct Explain {
    /// `root`, `anonymous`, `user:NAME` or `role:NAME/SESSION`.
    pub(crate) caller: Box<str>,
    /// As `oss:PutVectors`.
    pub(crate) action: Box<str>,
    /// `*`, `bucket` or `bucket/index`.
    pub(crate) resource: Box<str>,
    pub(crate) source_ip: Option<IpAddr>,
}

/// Something of an account that an order reads or changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Touched {
    /// By the end of its ARN: `user/alice`; `account` for the account as a whole.
    Identity(Box<str>),
    /// By its name.
    Bucket(Box<str>),
}

impl Order {
    /// Reads the arguments of a verb.
    ///
    /// # Errors
    /// An argument that is missing or is not what it should be.
    pub(crate) fn parse(verb: &'static Verb, a: &Arguments) -> Result<Self, Refusal> {
        Ok(match (verb.noun, verb.verb) {
            ("account", "list") => Self::Accounts,
            (noun, "list" | "show") => Self::Show(noun),
            ("key", "create") => Self::CreateKey(a.name("user")?),
            ("session", "open") => Self::OpenSession(OpenSession::parse(a)?),
            ("policy", "explain") => Self::Explain(Explain::parse(a)?),
            ("ring", "rekey") => Self::Rekey,
            ("bucket", "drop-policy") => Self::DropPolicy(a.text("bucket")?.into()),
            _ => Self::Change(change::action(verb, a)?),
        })
    }

    /// All that the order reads or changes: whoever gives it needs the right on each.
    pub(crate) fn touches(&self) -> Vec<Touched> {
        match self {
            Self::Change(action) => touched_by(action),
            Self::CreateKey(user) => vec![of("user", user)],
            Self::OpenSession(open) => vec![identity(format!("role/{}", open.role))],
            Self::DropPolicy(bucket) => vec![Touched::Bucket(bucket.clone())],
            Self::Accounts | Self::Show(_) | Self::Explain(_) | Self::Rekey => vec![account()],
        }
    }
}

impl OpenSession {
    fn parse(a: &Arguments) -> Result<Self, Refusal> {
        Ok(Self {
            role: a.text("role")?.into(),
            session: a.text("session")?.into(),
            duration_s: a.number("duration")?,
            policy: a.optional_document("policy")?,
        })
    }
}

impl Explain {
    fn parse(a: &Arguments) -> Result<Self, Refusal> {
        Ok(Self {
            caller: a.text("caller")?.into(),
            action: a.text("action")?.into(),
            resource: a.text("resource")?.into(),
            source_ip: a.address("source_ip")?,
        })
    }
}

fn identity(name: String) -> Touched {
    Touched::Identity(name.into())
}

fn account() -> Touched {
    Touched::Identity("account".into())
}

fn of(kind: &str, name: &Name) -> Touched {
    identity(format!("{kind}/{name}"))
}

fn holder(holder: &Holder) -> Touched {
    match holder {
        Holder::User(name) => of("user", name),
        Holder::Group(name) => of("group", name),
        Holder::Role(name) => of("role", name),
    }
}

fn touched_by(action: &Action) -> Vec<Touched> {
    use Action as A;
    match action {
        A::CreateUser { user, .. }
        | A::SetUserComment { user, .. }
        | A::EnableUser { user, .. }
        | A::DeleteUser { user, .. }
        | A::AddKey { user, .. }
        | A::EnableKey { user, .. }
        | A::LimitKey { user, .. }
        | A::DeleteKey { user, .. }
        | A::RevokeSessions { of: Sessions::OfUser(user) } => vec![of("user", user)],
        A::CreateGroup { group, .. }
        | A::SetGroupComment { group, .. }
        | A::DeleteGroup { group, .. } => vec![of("group", group)],
        A::AddMember { group, user } | A::RemoveMember { group, user } => {
            vec![of("group", group), of("user", user)]
        }
        A::CreateRole { role, .. }
        | A::SetRoleComment { role, .. }
        | A::SetTrust { role, .. }
        | A::SetSessionMax { role, .. }
        | A::DeleteRole { role, .. }
        | A::RevokeSessions { of: Sessions::OfRole(role) } => vec![of("role", role)],
        A::CreatePolicy { policy, .. }
        | A::SetPolicy { policy, .. }
        | A::SetPolicyComment { policy, .. }
        | A::DeletePolicy { policy } => vec![of("policy", policy)],
        A::Attach { to, policy } => vec![of("policy", policy), holder(to)],
        A::Detach { from, policy } => vec![of("policy", policy), holder(from)],
        A::PutInline { to, .. } => vec![holder(to)],
        A::DeleteInline { from, .. } => vec![holder(from)],
        A::CreateAccount { .. }
        | A::SetAccountComment { .. }
        | A::SuspendAccount { .. }
        | A::SetBlockPublicAccess { .. }
        | A::SetQuotas { .. }
        | A::DeleteAccount
        | A::RevokeSessions { of: Sessions::OfAccount }
        | A::Reseal { .. }
        | A::NoteUse { .. } => vec![account()],
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::administration::VERBS;

    fn parse(noun: &str, verb: &str, given: Value) -> Result<Order, Refusal> {
        let verb = Verb::find(noun, verb).unwrap();
        let Value::Object(given) = given else { panic!("no object") };
        Order::parse(verb, &Arguments::of(verb, given)?)
    }

    fn touches(noun: &str, verb: &str, given: Value) -> Vec<String> {
        let name = |touched| match touched {
            Touched::Identity(name) => String::from(name),
            Touched::Bucket(name) => format!("bucket {name}"),
        };
        parse(noun, verb, given).unwrap().touches().into_iter().map(name).collect()
    }

    #[test]
    fn a_right_is_needed_on_everything_that_is_named() {
        let user = json!({"user": "alice"});
        assert_eq!(touches("key", "create", user.clone()), ["user/alice"]);
        assert_eq!(touches("user", "list", json!({})), ["account"]);
        let member = json!({"group": "admins", "user": "alice"});
        assert_eq!(touches("group", "add", member), ["group/admins", "user/alice"]);
        let attach = json!({"policy": "all", "user": "alice"});
        assert_eq!(touches("policy", "attach", attach), ["policy/all", "user/alice"]);
        let document = json!({"policy": "p", "document": {}, "role": "r"});
        assert_eq!(touches("policy", "put-inline", document), ["role/r"]);
        assert_eq!(touches("session", "revoke", user), ["user/alice"]);
        assert_eq!(touches("session", "revoke", json!({"all": true})), ["account"]);
        assert_eq!(touches("bucket", "drop-policy", json!({"bucket": "vec"})), ["bucket vec"]);
    }

    #[test]
    fn arguments_are_checked_by_name_and_form() {
        for (noun, verb, given, needle) in [
            ("user", "create", json!({}), "user is missing"),
            ("user", "create", json!({"user": 7}), "not a string"),
            ("user", "create", json!({"user": "no/name"}), "is no name"),
            ("user", "create", json!({"user": "a", "usr": "b"}), "usr is no argument"),
            ("user", "delete", json!({"user": "a", "force": "yes"}), "true, false or null"),
            ("role", "session-max", json!({"role": "r", "seconds": -1}), "whole number"),
            ("role", "session-max", json!({"role": "r", "seconds": 1u64 << 40}), "below 2^32"),
            ("role", "create", json!({"role": "r", "trust": 7}), "policy document"),
            ("key", "limit", json!({"user": "a", "key": "k", "networks": "any"}), "a list"),
            ("key", "limit", json!({"user": "a", "key": "k", "networks": ["x"]}), "a list"),
            ("key", "delete", json!({"user": "a", "key": "a-b"}), "no access key id"),
            ("policy", "attach", json!({"policy": "p"}), "--user, --group and --role"),
            ("session", "revoke", json!({"user": "a", "all": true}), "--user, --role and --all"),
            (
                "policy",
                "explain",
                json!({"caller": "root", "action": "a", "resource": "*", "source_ip": "x"}),
                "no address",
            ),
        ] {
            let refusal = parse(noun, verb, given).unwrap_err();
            assert!(refusal.message.contains(needle), "{needle}: {}", refusal.message);
        }
    }

    #[test]
    fn every_verb_becomes_an_order() {
        for verb in VERBS.iter().filter(|verb| verb.verb != "generate") {
            let value = |argument: &crate::administration::Argument| match argument.form {
                crate::administration::Form::Text if argument.member == "key" => json!("k"),
                crate::administration::Form::Text => json!("name"),
                crate::administration::Form::Document => json!({}),
                crate::administration::Form::Number => json!(3600),
                crate::administration::Form::Switch => json!(true),
                crate::administration::Form::List => json!(["10.0.0.0/8"]),
                crate::administration::Form::OnOffDefault => json!(null),
            };
            let mut given: serde_json::Map<String, Value> =
                verb.required.iter().map(|a| (a.member.to_owned(), value(a))).collect();
            if verb.optional.iter().any(|a| a.member == "role") {
                given.insert("role".to_owned(), "r".into());
            }
            let order = parse(verb.noun, verb.verb, Value::Object(given));
            assert!(!order.unwrap().touches().is_empty(), "{} {}", verb.noun, verb.verb);
        }
    }
}
