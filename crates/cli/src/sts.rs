//! `sts assume-role`: temporary credentials, printed as the SDKs' process providers read them.

use clap::{Arg, ArgMatches, Command};
use serde_json::{Map, Value, json};

use crate::admin::{self, AdminClient};
use crate::failure::Failure;
use crate::output;

/// The command with its flags.
pub(crate) fn command() -> Command {
    let text = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    let assume = Command::new("assume-role")
        .about("Take on a role for a while; prints the JSON that process providers read")
        .arg(text("role-arn", "ARN", "The role: acs:ram::ACCOUNT:role/NAME").required(true))
        .arg(
            text("session-name", "NAME", "Shows in logs: 2 to 64 characters of 0-9A-Za-z.@-_")
                .required(true),
        )
        .arg(
            text("duration-seconds", "SECONDS", "900 to what the role allows [default: 3600]")
                .value_parser(clap::value_parser!(u32)),
        )
        .arg(text("policy-file", "FILE", "A policy that narrows the session"))
        .args(admin::flags().into_iter().filter(|flag| flag.get_id() != "token-file"));
    Command::new("sts")
        .about("Temporary credentials")
        .after_help("Asks the service's admin address [default: http://127.0.0.1:9101].")
        .subcommand_required(true)
        .subcommand(assume)
}

/// Runs `sts assume-role`.
pub(crate) fn run(matches: &ArgMatches) -> Result<(), Failure> {
    // The only subcommand, and one is required.
    let Some((_, matches)) = matches.subcommand() else { return Ok(()) };
    let body = Value::Object(request(matches)?).to_string();
    let answer = AdminClient::signing(matches)?.send("sts/assume-role", body.as_bytes())?;
    let credentials =
        provided(&answer).ok_or_else(|| Failure::Answer("it has no credentials".to_owned()))?;
    output::answer(credentials.to_string().as_bytes())
}

fn request(matches: &ArgMatches) -> Result<Map<String, Value>, Failure> {
    let text = |name: &str| matches.get_one::<String>(name).cloned();
    let mut request = Map::new();
    let mut add = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            request.insert(name.to_owned(), value);
        }
    };
    add("RoleArn", text("role-arn").map(Value::from));
    add("RoleSessionName", text("session-name").map(Value::from));
    add("DurationSeconds", matches.get_one::<u32>("duration-seconds").copied().map(Value::from));
    let read =
        |path: String| std::fs::read_to_string(&path).map_err(|cause| Failure::file(&path, cause));
    add("Policy", text("policy-file").map(read).transpose()?.map(Value::from));
    Ok(request)
}

/// The four members, as the Go SDK's process provider names them.
fn provided(answer: &Value) -> Option<Value> {
    let credentials = answer.get("Credentials")?;
    let member = |name: &str| credentials.get(name)?.as_str();
    Some(json!({
        "AccessKeyId": member("AccessKeyId")?,
        "AccessKeySecret": member("AccessKeySecret")?,
        "SecurityToken": member("SecurityToken")?,
        "Expiration": member("Expiration")?,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_has_the_clouds_names() {
        let root = Command::new("vectorbucket").subcommand(command());
        let line = "vectorbucket sts assume-role --role-arn acs:ram::1:role/r --session-name n \
                    --duration-seconds 900";
        let matches = root.try_get_matches_from(line.split_whitespace()).unwrap();
        let (_, sts) = matches.subcommand().unwrap();
        let (_, assume) = sts.subcommand().unwrap();
        let expected = json!({
            "RoleArn": "acs:ram::1:role/r", "RoleSessionName": "n", "DurationSeconds": 900
        });
        assert_eq!(Value::Object(request(assume).unwrap()), expected);
    }

    #[test]
    fn an_answer_without_credentials_is_none() {
        let whole = json!({"Credentials": {"AccessKeyId": "STS.a", "AccessKeySecret": "b",
            "SecurityToken": "c", "Expiration": "2026-01-02T03:04:05Z"}, "RequestId": "x"});
        let told = provided(&whole).unwrap();
        assert_eq!(told, whole["Credentials"]);
        assert!(provided(&json!({"Credentials": {"AccessKeyId": "STS.a"}})).is_none());
    }
}
