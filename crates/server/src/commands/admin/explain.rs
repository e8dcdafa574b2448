//! The policy simulator over what is stored: which statement decides, and why the others do not.

use std::net::IpAddr;
use std::sync::Arc;

use clap::ArgMatches;
use serde_json::json;
use vb_engine::BucketId;
use vb_identity::{AccountId, Name, Snapshot};
use vb_policy::{
    Action, Caller, Context, Kind, Policy, PolicySet, Request, Resource, Target, explain,
};

use super::{Desk, argument, print, refused};
use crate::clock::unix_seconds;
use crate::failure::Failure;
use crate::open;

/// A caller with its policies.
struct Asker {
    kind: AskerKind,
    policies: Vec<Arc<Policy>>,
}

enum AskerKind {
    Anonymous,
    Root,
    User { id: String, name: String },
    Role { id: String, name: String, session: String },
}

impl Asker {
    /// `root`, `anonymous`, `user:NAME` or `role:NAME/SESSION`, of the account.
    fn parse(text: &str, account: &AccountId, snapshot: &Snapshot) -> Result<Self, Failure> {
        let plain = |kind| Ok(Self { kind, policies: Vec::new() });
        match text.split_once(':') {
            None if text == "anonymous" => plain(AskerKind::Anonymous),
            None if text == "root" => plain(AskerKind::Root),
            Some(("user", name)) => Self::user(name, account, snapshot).ok_or_else(|| absent(text)),
            Some(("role", rest)) => Self::role(rest, account, snapshot).ok_or_else(|| absent(text)),
            _ => Err(Failure::Configuration(format!(
                "{text}: expected root, anonymous, user:NAME or role:NAME/SESSION"
            ))),
        }
    }

    fn user(name: &str, account: &AccountId, snapshot: &Snapshot) -> Option<Self> {
        let parsed = Name::parse(name)?;
        let record = snapshot.account(account)?.users.get(&parsed)?;
        let kind = AskerKind::User { id: record.id.to_string(), name: name.to_owned() };
        Some(Self { kind, policies: snapshot.policies_of_user(account, &parsed)? })
    }

    fn role(text: &str, account: &AccountId, snapshot: &Snapshot) -> Option<Self> {
        let (name, session) = text.split_once('/').unwrap_or((text, "session"));
        let parsed = Name::parse(name)?;
        let id = snapshot.account(account)?.roles.get(&parsed)?.id.to_string();
        let (name, session) = (name.to_owned(), session.to_owned());
        let policies = snapshot.policies_of_role(account, &parsed)?.to_vec();
        Some(Self { kind: AskerKind::Role { id, name, session }, policies })
    }

    fn caller<'a>(&'a self, account: &'a str) -> Caller<'a> {
        match &self.kind {
            AskerKind::Anonymous => Caller::Anonymous,
            AskerKind::Root => Caller::Root { account },
            AskerKind::User { id, name } => Caller::User { account, id, name },
            AskerKind::Role { id, name, session } => Caller::Role { account, id, name, session },
        }
    }
}

fn absent(text: &str) -> Failure {
    Failure::Configuration(format!("there is no {text} in the account"))
}

/// Explains one decision.
pub(super) async fn run(desk: &Desk, arguments: &ArgMatches) -> Result<(), Failure> {
    let text = |name| argument(arguments, name).unwrap_or_default();
    let account = desk.account()?;
    let snapshot = desk.identities.now().await.map_err(|error| refused(&error))?;
    let asker = Asker::parse(text("caller"), account, &snapshot)?;
    let action = Action::parse(text("action")).ok_or_else(|| {
        Failure::Configuration(format!("{}: expected an action as oss:PutVectors", text("action")))
    })?;
    let target = target(action, text("resource"));
    let bucket = bucket_policy(desk, account, text("resource")).await?;
    let override_block = snapshot.account(account).and_then(|record| record.block_public_access);
    let policies = PolicySet {
        identity: &asker.policies,
        session: None,
        bucket: bucket.as_ref(),
        block_public_access: override_block.unwrap_or(desk.config.block_public_access),
    };
    let source_ip = argument(arguments, "source-ip").map(parse_address).transpose()?;
    let request = Request {
        caller: asker.caller(account.as_str()),
        action,
        resource: Resource { region: &desk.config.region, account: account.as_str(), target },
        context: Context { source_ip, time: unix_seconds(), ..Context::default() },
    };
    let explanation = explain(&policies, &request);
    let told = json!({
        "allowed": explanation.decision.is_allowed(),
        "ec": explanation.decision.ec(),
        "statement": explanation.decision.statement.map(|statement| statement.to_string()),
        "explanation": explanation.to_string(),
    });
    print(arguments, &told, &format!("{}\n", explanation.to_string().trim_end()));
    Ok(())
}

fn parse_address(text: &str) -> Result<IpAddr, Failure> {
    text.parse().map_err(|_| Failure::Configuration(format!("{text} is no address")))
}

/// `*`, `bucket` or `bucket/index`, as the action is done to it.
fn target(action: Action, resource: &str) -> Target<'_> {
    let is_data = matches!(
        action,
        Action::PutVectors
            | Action::GetVectors
            | Action::ListVectors
            | Action::DeleteVectors
            | Action::QueryVectors
            | Action::QueryVectorsFusion
    );
    match resource.split_once('/') {
        Some((bucket, index)) if is_data => Target::Data { bucket, index },
        Some((bucket, index)) => Target::Index { bucket, index },
        None if resource == "*" => Target::Account,
        None if action == Action::ListVectorIndexes => Target::Indexes(resource),
        None if action == Action::PutObject => Target::Objects(resource),
        None => Target::Bucket(resource),
    }
}

/// The stored policy of the bucket that the resource names, if there are both.
async fn bucket_policy(
    desk: &Desk,
    account: &AccountId,
    resource: &str,
) -> Result<Option<Policy>, Failure> {
    let name = resource.split('/').next().unwrap_or_default();
    if name == "*" {
        return Ok(None);
    }
    let engine = open::engine(&desk.config, desk.store.clone(), None).await?;
    let found = engine.bucket(&BucketId::new(account.as_str(), name)).await;
    engine.shutdown().await;
    match found {
        Ok(record) => Ok(record.policy.map(|text| Policy::stored(Kind::Bucket, name, &text))),
        Err(vb_engine::Error::NoSuchBucket) => Ok(None),
        Err(error) => Err(super::failed("the bucket's policy cannot be read", &error)),
    }
}
