//! The commands of the identity store that verbs stand for.

use vb_identity::{Action, Quotas};

use super::{Arguments, Code, Refusal, Verb};

/// Longest session of a role that is not told another.
const SESSION_MAX_DEFAULT: u32 = 3600;

type Made = Result<Action, Refusal>;

/// The command that a verb stands for.
pub(super) fn action(verb: &Verb, a: &Arguments) -> Made {
    match verb.noun {
        "account" => account(verb.verb, a),
        "user" => user(verb.verb, a),
        "group" => group(verb.verb, a),
        "role" => role(verb.verb, a),
        "key" => key(verb.verb, a),
        "policy" => policy(verb.verb, a),
        "session" => Ok(Action::RevokeSessions { of: a.sessions()? }),
        other => Err(unknown(other)),
    }
}

fn unknown(what: &str) -> Refusal {
    Refusal::new(Code::UnknownOperation, format!("{what} is not known here"))
}

fn account(verb: &str, a: &Arguments) -> Made {
    Ok(match verb {
        "create" => Action::CreateAccount { comment: a.comment()? },
        "comment" => Action::SetAccountComment { comment: a.comment()? },
        "delete" => Action::DeleteAccount,
        "suspend" => Action::SuspendAccount { suspended: true },
        "resume" => Action::SuspendAccount { suspended: false },
        "quotas" => Action::SetQuotas { quotas: quotas(a)? },
        "block-public-access" => Action::SetBlockPublicAccess { block: a.on_off_default("block")? },
        other => return Err(unknown(other)),
    })
}

fn quotas(a: &Arguments) -> Result<Quotas, Refusal> {
    Ok(Quotas {
        buckets: a.large_number("buckets")?,
        indexes_per_bucket: a.large_number("indexes_per_bucket")?,
        vectors: a.large_number("vectors")?,
        bytes: a.large_number("bytes")?,
    })
}

fn user(verb: &str, a: &Arguments) -> Made {
    let user = a.name("user")?;
    Ok(match verb {
        "create" => Action::CreateUser { user, comment: a.comment()? },
        "delete" => Action::DeleteUser { user, force: a.switch("force")? },
        "enable" => Action::EnableUser { user, enabled: true },
        "disable" => Action::EnableUser { user, enabled: false },
        other => return Err(unknown(other)),
    })
}

fn group(verb: &str, a: &Arguments) -> Made {
    let group = a.name("group")?;
    Ok(match verb {
        "create" => Action::CreateGroup { group, comment: a.comment()? },
        "delete" => Action::DeleteGroup { group, force: a.switch("force")? },
        "add" => Action::AddMember { group, user: a.name("user")? },
        "remove" => Action::RemoveMember { group, user: a.name("user")? },
        other => return Err(unknown(other)),
    })
}

fn role(verb: &str, a: &Arguments) -> Made {
    let role = a.name("role")?;
    Ok(match verb {
        "create" => Action::CreateRole {
            role,
            comment: a.comment()?,
            trust: a.document("trust")?,
            session_s_max: a.number("session_max")?.unwrap_or(SESSION_MAX_DEFAULT),
        },
        "delete" => Action::DeleteRole { role, force: a.switch("force")? },
        "trust" => Action::SetTrust { role, trust: a.document("trust")? },
        "session-max" => {
            Action::SetSessionMax { role, session_s_max: a.number("seconds")?.unwrap_or_default() }
        }
        other => return Err(unknown(other)),
    })
}

fn key(verb: &str, a: &Arguments) -> Made {
    let (user, key) = (a.name("user")?, a.key()?);
    Ok(match verb {
        "enable" => Action::EnableKey { user, key, enabled: true },
        "disable" => Action::EnableKey { user, key, enabled: false },
        "delete" => Action::DeleteKey { user, key },
        "limit" => Action::LimitKey { user, key, networks: a.networks("networks")? },
        other => return Err(unknown(other)),
    })
}

fn policy(verb: &str, a: &Arguments) -> Made {
    let policy = a.name("policy")?;
    Ok(match verb {
        "create" => {
            Action::CreatePolicy { policy, comment: a.comment()?, text: a.document("document")? }
        }
        "set" => Action::SetPolicy {
            policy,
            text: a.document("document")?,
            version: a.number("version")?,
        },
        "delete" => Action::DeletePolicy { policy },
        "attach" => Action::Attach { to: a.holder()?, policy },
        "detach" => Action::Detach { from: a.holder()?, policy },
        "put-inline" => {
            Action::PutInline { to: a.holder()?, name: policy, text: a.document("document")? }
        }
        "delete-inline" => Action::DeleteInline { from: a.holder()?, name: policy },
        other => return Err(unknown(other)),
    })
}
