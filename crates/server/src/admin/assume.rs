//! AssumeRole: temporary credentials for whoever signs, by the cloud's names.

use http::request::Parts;
use serde_json::{Map, Value, json};
use vb_identity::{AccountId, AssumeRole, AssumeRoleError, IdentityStore};

use super::caller::{Who, context, plain};
use super::link::Link;
use super::record::Record;
use crate::administration::{Code, Refusal, credentials};

/// The arguments, all of them.
const ARGUMENTS: [&str; 4] = ["RoleArn", "RoleSessionName", "DurationSeconds", "Policy"];

/// Opens a session: the role must trust the caller, and the caller's policies allow
/// `sts:AssumeRole` on it.
///
/// # Errors
/// A caller without a signature of its own; an argument that is missing or wrong; a role that may
/// not be assumed.
pub(super) async fn run(
    identities: &IdentityStore,
    given: &Map<String, Value>,
    head: &Parts,
    link: Link,
    record: &mut Record,
) -> Result<Value, Refusal> {
    record.arguments = told(given);
    let (account, role) = role(given)?;
    record.account = Some(account.clone());
    let caller = match &record.who {
        Some(Who::Caller(caller)) => caller,
        Some(Who::Operator(_)) | None => {
            let text = "a token is nobody that a role could trust: sign with an access key";
            return Err(Refusal::new(Code::AuthenticationRequired, text));
        }
    };
    let Some(candidate) = caller.candidate() else {
        return Err(Refusal::new(Code::AuthenticationRequired, "nobody signed"));
    };
    let policy = optional_text(given, "Policy")?;
    let request = AssumeRole {
        account: &account,
        role,
        session: text(given, "RoleSessionName")?,
        duration_s: duration(given)?,
        policy,
        context: context(head, link, caller),
    };
    let opened = identities.assume_role(candidate, &request).await;
    record.verdict = match &opened {
        Ok(_) => Some(plain(true, "granted")),
        Err(AssumeRoleError::NotTrusted) => Some(plain(false, "not_trusted")),
        Err(AssumeRoleError::NotAllowed) => Some(plain(false, "not_granted")),
        Err(_) => None,
    };
    let session = opened?;
    Ok(json!({
        "Credentials": credentials(&session),
        "AssumedRoleUser": { "Arn": &*session.arn, "AssumedRoleId": &*session.assumed_role_id },
        "RequestId": record.id.as_str(),
    }))
}

/// For the audit: everything but the policy, of which the length is told.
fn told(given: &Map<String, Value>) -> Value {
    let tell = |name: &&str| {
        let value = match (*name, given.get(*name)?) {
            ("Policy", policy) => format!("{} bytes", policy.as_str().map_or(0, str::len)).into(),
            (_, value) => value.clone(),
        };
        Some(((*name).to_owned(), value))
    };
    Value::Object(ARGUMENTS.iter().filter_map(tell).collect())
}

/// Account and name of the role, `acs:ram::{account}:role/{name}`.
fn role(given: &Map<String, Value>) -> Result<(AccountId, &str), Refusal> {
    if let Some(name) = given.keys().find(|name| !ARGUMENTS.contains(&name.as_str())) {
        let name: String = name.chars().take(64).collect();
        let all = ARGUMENTS.join(" ");
        return Err(Refusal::invalid(format!("{name} is no argument; there are {all}")));
    }
    let arn = text(given, "RoleArn")?;
    let parts = || {
        let (account, name) = arn.strip_prefix("acs:ram::")?.split_once(":role/")?;
        Some((AccountId::parse(account)?, name))
    };
    parts().ok_or_else(|| Refusal::invalid("RoleArn is not acs:ram::ACCOUNT:role/NAME"))
}

fn text<'a>(given: &'a Map<String, Value>, name: &str) -> Result<&'a str, Refusal> {
    let missing = || Refusal::invalid(format!("the argument {name} is missing"));
    optional_text(given, name)?.ok_or_else(missing)
}

fn optional_text<'a>(
    given: &'a Map<String, Value>,
    name: &str,
) -> Result<Option<&'a str>, Refusal> {
    match given.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Refusal::invalid(format!("the argument {name} is not a string"))),
    }
}

fn duration(given: &Map<String, Value>) -> Result<Option<u32>, Refusal> {
    let wrong = || Refusal::invalid("DurationSeconds is not a whole number");
    let parse = |value: &Value| {
        value.as_u64().and_then(|seconds| u32::try_from(seconds).ok()).ok_or_else(wrong)
    };
    given.get("DurationSeconds").map(parse).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(value: Value) -> Map<String, Value> {
        let Value::Object(given) = value else { panic!("no object") };
        given
    }

    #[test]
    fn roles_are_named_by_their_arns() {
        let good = given(json!({"RoleArn": "acs:ram::1234567890123456:role/reader"}));
        let (account, name) = role(&good).unwrap();
        assert_eq!((account.as_str(), name), ("1234567890123456", "reader"));
        for bad in [
            json!({}),
            json!({"RoleArn": 7}),
            json!({"RoleArn": "acs:ram::12:role/reader"}),
            json!({"RoleArn": "acs:ram::1234567890123456:user/reader"}),
            json!({"RoleArn": "acs:ram::1234567890123456:role/r", "Role": "r"}),
        ] {
            assert_eq!(role(&given(bad)).unwrap_err().code, Code::InvalidRequest);
        }
    }

    #[test]
    fn durations_are_whole_numbers() {
        assert_eq!(duration(&given(json!({"DurationSeconds": 900}))).unwrap(), Some(900));
        assert_eq!(duration(&given(json!({}))).unwrap(), None);
        assert!(duration(&given(json!({"DurationSeconds": -1}))).is_err());
        assert!(duration(&given(json!({"DurationSeconds": 1u64 << 33}))).is_err());
    }

    #[test]
    fn the_audit_is_told_no_documents() {
        let asked = given(json!({"RoleArn": "r", "Policy": "0123456789"}));
        assert_eq!(told(&asked), json!({"RoleArn": "r", "Policy": "10 bytes"}));
    }
}
