//! The policy simulator over what is stored: which statement decides, and why the others do not.

use std::sync::Arc;

use serde_json::{Value, json};
use vb_engine::BucketId;
use vb_identity::{AccountId, Name, Snapshot};
use vb_policy::{
    Action, Caller, Context, Kind, Policy, PolicySet, Request, Resource, Target, explain,
};

use super::order::Explain;
use super::{Code, Desk, Refusal};
use crate::clock::unix_seconds;

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
    fn parse(text: &str, account: &AccountId, snapshot: &Snapshot) -> Result<Self, Refusal> {
        let plain = |kind| Ok(Self { kind, policies: Vec::new() });
        match text.split_once(':') {
            None if text == "anonymous" => plain(AskerKind::Anonymous),
            None if text == "root" => plain(AskerKind::Root),
            Some(("user", name)) => {
                Self::user(name, account, snapshot).ok_or_else(|| absent(Code::NoSuchUser, text))
            }
            Some(("role", rest)) => {
                Self::role(rest, account, snapshot).ok_or_else(|| absent(Code::NoSuchRole, text))
            }
            _ => Err(Refusal::invalid(format!(
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

fn absent(code: Code, text: &str) -> Refusal {
    Refusal::new(code, format!("there is no {text} in the account"))
}

/// Explains one decision.
///
/// # Errors
/// A caller or action that there is not; a store that cannot be read.
pub(super) async fn run(
    desk: &Desk,
    account: &AccountId,
    asked: &Explain,
) -> Result<Value, Refusal> {
    let snapshot = desk.snapshot().await?;
    let asker = Asker::parse(&asked.caller, account, &snapshot)?;
    let action = Action::parse(&asked.action).ok_or_else(|| {
        Refusal::invalid(format!("{}: expected an action as oss:PutVectors", asked.action))
    })?;
    let bucket = bucket_policy(desk, account, action, &asked.resource).await?;
    let override_block = snapshot.account(account).and_then(|record| record.block_public_access);
    let policies = PolicySet {
        identity: &asker.policies,
        session: None,
        bucket: bucket.as_ref(),
        block_public_access: override_block.unwrap_or(desk.block_public_access),
    };
    let target = target(action, &asked.resource);
    let request = Request {
        caller: asker.caller(account.as_str()),
        action,
        resource: Resource { region: &desk.region, account: account.as_str(), target },
        context: Context { source_ip: asked.source_ip, time: unix_seconds(), ..Context::default() },
    };
    let explanation = explain(&policies, &request);
    Ok(json!({
        "allowed": explanation.decision.is_allowed(),
        "ec": explanation.decision.ec(),
        "statement": explanation.decision.statement.map(|statement| statement.to_string()),
        "explanation": explanation.to_string(),
    }))
}

/// `*`, `bucket` or `bucket/index`, as the action is done to it; `user/NAME` and so on for actions
/// on identities.
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
    let is_of_buckets = action == Action::AdminBuckets;
    if action == Action::AssumeRole || (action.is_administrative() && !is_of_buckets) {
        return Target::Identity(resource);
    }
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
    action: Action,
    resource: &str,
) -> Result<Option<Policy>, Refusal> {
    let name = resource.split('/').next().unwrap_or_default();
    if name == "*" || action == Action::AssumeRole || action.is_administrative() {
        return Ok(None);
    }
    let text = desk.buckets.policy(&BucketId::new(account.as_str(), name)).await?;
    Ok(text.map(|text| Policy::stored(Kind::Bucket, name, &text)))
}
