//! The verbs, and the commands of the identity store that they stand for.

use std::sync::Arc;

use clap::ArgMatches;
use vb_identity::{Action, Holder, KeyId, Networks, Sessions};

use super::{argument, parse_name};
use crate::failure::Failure;

/// The nouns with what they are.
pub(super) const NOUNS: &[(&str, &str)] = &[
    ("account", "Tenants"),
    ("user", "Users of an account"),
    ("group", "Users with policies in common"),
    ("role", "Rights that can be assumed"),
    ("key", "Access keys of users"),
    ("policy", "RAM policies, and what they decide"),
    ("session", "Temporary credentials"),
    ("ring", "The keys that secrets are sealed with"),
    ("bucket", "Buckets whose policy shuts everybody out"),
];

/// One verb of a noun.
pub(super) struct Verb {
    pub(super) noun: &'static str,
    pub(super) verb: &'static str,
    /// Arguments by place.
    pub(super) names: &'static [&'static str],
    pub(super) flags: &'static [&'static str],
    pub(super) about: &'static str,
}

macro_rules! verbs {
    ($($noun:literal $verb:literal [$($name:literal)*] [$($flag:literal)*] $about:literal,)*) => {
        /// Every verb.
        pub(super) const VERBS: &[Verb] = &[$(Verb {
            noun: $noun, verb: $verb, names: &[$($name),*], flags: &[$($flag),*], about: $about,
        },)*];
    };
}

verbs! {
    "account" "list" [] [] "All accounts with a record",
    "account" "show" [] [] "Everything that is known of an account",
    "account" "create" [] ["comment"] "Make the record of an account",
    "account" "delete" [] [] "Delete an account that holds nothing",
    "account" "suspend" [] [] "Let nobody of the account in, its root included",
    "account" "resume" [] [] "End a suspension",
    "account" "block-public-access" ["on-off-default"] [] "Whether bucket policies may let everybody in",
    "user" "list" [] [] "The users",
    "user" "create" ["user"] ["comment"] "A user without keys and rights",
    "user" "delete" ["user"] ["force"] "Delete a user",
    "user" "enable" ["user"] [] "Let a user in again",
    "user" "disable" ["user"] [] "Refuse all keys and sessions of a user",
    "group" "list" [] [] "The groups",
    "group" "create" ["group"] ["comment"] "A group without members",
    "group" "delete" ["group"] ["force"] "Delete a group",
    "group" "add" ["group" "user"] [] "Put a user into a group",
    "group" "remove" ["group" "user"] [] "Take a user out of a group",
    "role" "list" [] [] "The roles",
    "role" "create" ["role" "trust-file"] ["comment" "session-max"] "A role that those whom the trust policy names may assume",
    "role" "delete" ["role"] ["force"] "Delete a role and end its sessions",
    "role" "trust" ["role" "trust-file"] [] "Replace the trust policy",
    "role" "session-max" ["role" "seconds"] [] "Longest session",
    "key" "list" [] [] "The access keys",
    "key" "create" ["user"] [] "Make an access key and show its secret, once",
    "key" "enable" ["user" "key"] [] "Accept a key again",
    "key" "disable" ["user" "key"] [] "Refuse a key",
    "key" "delete" ["user" "key"] [] "Delete a key",
    "key" "limit" ["user" "key" "networks"] [] "Accept a key from these networks only (a.b.c.d/n,... or any)",
    "policy" "list" [] [] "The policies that can be attached",
    "policy" "create" ["policy" "file"] ["comment"] "A policy that can be attached",
    "policy" "set" ["policy" "file"] [] "Replace a policy's document",
    "policy" "delete" ["policy"] [] "Delete a policy that is attached nowhere",
    "policy" "attach" ["policy"] ["user" "group" "role"] "Attach a policy to a user, group or role",
    "policy" "detach" ["policy"] ["user" "group" "role"] "Detach it",
    "policy" "put-inline" ["policy" "file"] ["user" "group" "role"] "Give a policy of its own to a user, group or role",
    "policy" "delete-inline" ["policy"] ["user" "group" "role"] "Take it away",
    "policy" "explain" ["caller" "action" "resource"] ["source-ip"] "Which statement decides, and why the others do not",
    "session" "open" ["role" "session"] ["duration" "policy"] "Assume a role as root; prints what credentials providers read",
    "session" "revoke" [] ["user" "role" "all"] "End sessions",
    "ring" "generate" ["id"] [] "Make an entry for the key ring",
    "ring" "rekey" [] [] "Seal all secrets with the first entry of the ring",
    "bucket" "drop-policy" ["bucket"] [] "Remove a bucket's policy, for a root that it shuts out",
}

/// What a flag means.
pub(super) fn flag_help(flag: &str) -> &'static str {
    match flag {
        "comment" => "for people",
        "session-max" => "longest session, seconds, 3600 to 43200",
        "user" => "name of a user",
        "group" => "name of a group",
        "role" => "name of a role",
        "duration" => "seconds that the session lasts",
        "policy" => "file with a policy that narrows the session",
        "source-ip" => "address the request would come from",
        _ => "",
    }
}

/// The command that a verb stands for.
pub(super) fn action(noun: &str, verb: &str, a: &ArgMatches) -> Result<Action, Failure> {
    match noun {
        "account" => account(verb, a),
        "user" => user(verb, a),
        "group" => group(verb, a),
        "role" => role(verb, a),
        "key" => key(verb, a),
        "policy" => policy(verb, a),
        "session" => Ok(Action::RevokeSessions { of: sessions(a)? }),
        _ => Err(unknown(verb)),
    }
}

fn unknown(verb: &str) -> Failure {
    Failure::Configuration(format!("{verb} is not known here"))
}

fn account(verb: &str, a: &ArgMatches) -> Result<Action, Failure> {
    Ok(match verb {
        "create" => Action::CreateAccount { comment: comment(a) },
        "delete" => Action::DeleteAccount,
        "suspend" => Action::SuspendAccount { suspended: true },
        "resume" => Action::SuspendAccount { suspended: false },
        "block-public-access" => Action::SetBlockPublicAccess { block: on_off_default(a)? },
        _ => return Err(unknown(verb)),
    })
}

fn user(verb: &str, a: &ArgMatches) -> Result<Action, Failure> {
    let user = parse_name(a, "user")?;
    Ok(match verb {
        "create" => Action::CreateUser { user, comment: comment(a) },
        "delete" => Action::DeleteUser { user, force: a.get_flag("force") },
        "enable" => Action::EnableUser { user, enabled: true },
        "disable" => Action::EnableUser { user, enabled: false },
        _ => return Err(unknown(verb)),
    })
}

fn group(verb: &str, a: &ArgMatches) -> Result<Action, Failure> {
    let group = parse_name(a, "group")?;
    Ok(match verb {
        "create" => Action::CreateGroup { group, comment: comment(a) },
        "delete" => Action::DeleteGroup { group, force: a.get_flag("force") },
        "add" => Action::AddMember { group, user: parse_name(a, "user")? },
        "remove" => Action::RemoveMember { group, user: parse_name(a, "user")? },
        _ => return Err(unknown(verb)),
    })
}

fn role(verb: &str, a: &ArgMatches) -> Result<Action, Failure> {
    let role = parse_name(a, "role")?;
    Ok(match verb {
        "create" => Action::CreateRole {
            role,
            comment: comment(a),
            trust: file(a, "trust-file")?,
            session_s_max: number(a, "session-max")?.unwrap_or(3600),
        },
        "delete" => Action::DeleteRole { role, force: a.get_flag("force") },
        "trust" => Action::SetTrust { role, trust: file(a, "trust-file")? },
        "session-max" => {
            Action::SetSessionMax { role, session_s_max: number(a, "seconds")?.unwrap_or_default() }
        }
        _ => return Err(unknown(verb)),
    })
}

fn key(verb: &str, a: &ArgMatches) -> Result<Action, Failure> {
    let user = parse_name(a, "user")?;
    let text = argument(a, "key").unwrap_or_default();
    let wrong = || Failure::Configuration(format!("{text} is no access key id"));
    let key = KeyId::parse(text).ok_or_else(wrong)?;
    Ok(match verb {
        "enable" => Action::EnableKey { user, key, enabled: true },
        "disable" => Action::EnableKey { user, key, enabled: false },
        "delete" => Action::DeleteKey { user, key },
        "limit" => Action::LimitKey { user, key, networks: networks(a)? },
        _ => return Err(unknown(verb)),
    })
}

fn policy(verb: &str, a: &ArgMatches) -> Result<Action, Failure> {
    let policy = parse_name(a, "policy")?;
    Ok(match verb {
        "create" => Action::CreatePolicy { policy, comment: comment(a), text: file(a, "file")? },
        "set" => Action::SetPolicy { policy, text: file(a, "file")?, version: None },
        "delete" => Action::DeletePolicy { policy },
        "attach" => Action::Attach { to: holder(a)?, policy },
        "detach" => Action::Detach { from: holder(a)?, policy },
        "put-inline" => Action::PutInline { to: holder(a)?, name: policy, text: file(a, "file")? },
        "delete-inline" => Action::DeleteInline { from: holder(a)?, name: policy },
        _ => return Err(unknown(verb)),
    })
}

fn comment(a: &ArgMatches) -> Box<str> {
    argument(a, "comment").unwrap_or_default().into()
}

fn on_off_default(a: &ArgMatches) -> Result<Option<bool>, Failure> {
    match argument(a, "on-off-default").unwrap_or_default() {
        "on" => Ok(Some(true)),
        "off" => Ok(Some(false)),
        "default" => Ok(None),
        other => Err(Failure::Configuration(format!("{other}: expected on, off or default"))),
    }
}

/// The one user, group or role that is named.
fn holder(a: &ArgMatches) -> Result<Holder, Failure> {
    let given = |flag| argument(a, flag).is_some();
    match (given("user"), given("group"), given("role")) {
        (true, false, false) => Ok(Holder::User(parse_name(a, "user")?)),
        (false, true, false) => Ok(Holder::Group(parse_name(a, "group")?)),
        (false, false, true) => Ok(Holder::Role(parse_name(a, "role")?)),
        _ => Err(Failure::Configuration("set one of --user, --group and --role".to_owned())),
    }
}

fn sessions(a: &ArgMatches) -> Result<Sessions, Failure> {
    let given = |flag| argument(a, flag).is_some();
    match (given("user"), given("role"), a.get_flag("all")) {
        (true, false, false) => Ok(Sessions::OfUser(parse_name(a, "user")?)),
        (false, true, false) => Ok(Sessions::OfRole(parse_name(a, "role")?)),
        (false, false, true) => Ok(Sessions::OfAccount),
        _ => Err(Failure::Configuration("set one of --user, --role and --all".to_owned())),
    }
}

fn networks(a: &ArgMatches) -> Result<Networks, Failure> {
    let text = argument(a, "networks").unwrap_or_default();
    let wrong = || {
        Failure::Configuration(format!(
            "{text}: expected any, or up to 20 networks a.b.c.d/n, addresses or a.b.*.d, \
             separated by commas"
        ))
    };
    match text {
        "any" => Ok(Networks::default()),
        list => Networks::parse(list.split(',')).ok_or_else(wrong),
    }
}

/// A whole number, if the argument is there.
pub(super) fn number(a: &ArgMatches, name: &str) -> Result<Option<u32>, Failure> {
    let parse = |text: &str| {
        let wrong = |_| Failure::Configuration(format!("{name}: {text} is no number of seconds"));
        text.parse().map_err(wrong)
    };
    argument(a, name).map(parse).transpose()
}

fn file(a: &ArgMatches, name: &str) -> Result<Arc<str>, Failure> {
    read_file(argument(a, name).unwrap_or_default()).map(Arc::from)
}

/// The text of a document.
pub(super) fn read_file(path: &str) -> Result<String, Failure> {
    let failed = |error| Failure::Configuration(format!("cannot read {path}: {error}"));
    std::fs::read_to_string(path).map_err(failed)
}
