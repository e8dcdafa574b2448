//! What is known of accounts. Secrets are not in it.

use serde_json::{Value, json};
use vb_api::oss::iso_millis;
use vb_identity::{Account, AccountId, Grants, Key, Snapshot};

use super::{Code, Refusal};

/// All accounts.
pub(super) fn accounts(snapshot: &Snapshot) -> Value {
    let row = |(id, account): (&AccountId, &Account)| {
        json!({
            "account": id.as_str(),
            "comment": &*account.comment,
            "suspended": account.suspended,
            "users": account.users.len(),
            "roles": account.roles.len(),
        })
    };
    snapshot.accounts().map(row).collect()
}

/// One part of an account as a list, or with `account` all parts as an object.
///
/// # Errors
/// An account of which nothing is stored.
pub(super) fn part(snapshot: &Snapshot, id: &AccountId, noun: &str) -> Result<Value, Refusal> {
    let none = || {
        let text = format!("nothing is stored about the account {id}");
        Refusal::new(Code::NoSuchAccount, text)
    };
    let account = match snapshot.account(id) {
        Some(account) => account,
        // It has a root and nothing else yet.
        None if snapshot.has_account(id) && noun != "account" => return Ok(json!([])),
        None => return Err(none()),
    };
    if noun != "account" {
        return Ok(rows(snapshot, account, noun).into());
    }
    let quotas = &account.quotas;
    Ok(json!({
        "account": id.as_str(),
        "comment": &*account.comment,
        "suspended": account.suspended,
        "block_public_access": account.block_public_access,
        "quotas": {
            "buckets": quotas.buckets,
            "indexes_per_bucket": quotas.indexes_per_bucket,
            "vectors": quotas.vectors,
            "bytes": quotas.bytes,
        },
        "users": rows(snapshot, account, "user"),
        "groups": rows(snapshot, account, "group"),
        "roles": rows(snapshot, account, "role"),
        "keys": rows(snapshot, account, "key"),
        "policies": rows(snapshot, account, "policy"),
    }))
}

fn rows(snapshot: &Snapshot, account: &Account, noun: &str) -> Vec<Value> {
    match noun {
        "user" => users(account),
        "group" => groups(account),
        "role" => roles(account),
        "key" => keys(snapshot, account),
        _ => policies(account),
    }
}

fn users(account: &Account) -> Vec<Value> {
    let row = |(name, user): (&vb_identity::Name, &std::sync::Arc<vb_identity::User>)| {
        json!({
            "user": name.as_str(),
            "id": user.id.to_string(),
            "enabled": user.enabled,
            "groups": user.groups.iter().map(|group| group.as_str()).collect::<Vec<_>>(),
            "policies": granted(&user.grants),
            "keys": user.keys.len(),
            "comment": &*user.comment,
        })
    };
    account.users.iter().map(row).collect()
}

fn groups(account: &Account) -> Vec<Value> {
    let row = |(name, group): (&vb_identity::Name, &std::sync::Arc<vb_identity::Group>)| {
        let members = account.users.iter().filter(|(_, user)| user.groups.contains(name));
        json!({
            "group": name.as_str(),
            "members": members.map(|(user, _)| user.as_str()).collect::<Vec<_>>(),
            "policies": granted(&group.grants),
            "comment": &*group.comment,
        })
    };
    account.groups.iter().map(row).collect()
}

fn roles(account: &Account) -> Vec<Value> {
    let row = |(name, role): (&vb_identity::Name, &std::sync::Arc<vb_identity::Role>)| {
        json!({
            "role": name.as_str(),
            "id": role.id.to_string(),
            "session_max": role.session_s_max,
            "policies": granted(&role.grants),
            "trust": &*role.trust,
            "comment": &*role.comment,
        })
    };
    account.roles.iter().map(row).collect()
}

fn keys(snapshot: &Snapshot, account: &Account) -> Vec<Value> {
    let row = |user: &str, key: &Key| {
        let used = snapshot.used_ms(key.id.as_str()).map(time);
        json!({
            "key": key.id.as_str(),
            "user": user,
            "enabled": key.enabled,
            "networks": key.networks.iter().collect::<Vec<_>>(),
            "created": time(key.created_ms),
            "used": used,
            "sealed_with": key.secret.ring_key(),
        })
    };
    let of_user = |(name, user): (&vb_identity::Name, &std::sync::Arc<vb_identity::User>)| {
        user.keys.iter().map(|key| row(name.as_str(), key)).collect::<Vec<_>>()
    };
    account.users.iter().flat_map(of_user).collect()
}

fn policies(account: &Account) -> Vec<Value> {
    let row =
        |(name, policy): (&vb_identity::Name, &std::sync::Arc<vb_identity::ManagedPolicy>)| {
            json!({
                "policy": name.as_str(),
                "version": policy.version,
                "changed": time(policy.changed_ms),
                "comment": &*policy.comment,
                "document": &*policy.text,
            })
        };
    account.policies.iter().map(row).collect()
}

/// Names of attached policies, and of inline ones with a star.
fn granted(grants: &Grants) -> Vec<String> {
    let attached = grants.attached.iter().map(|name| name.as_str().to_owned());
    attached.chain(grants.inline.keys().map(|name| format!("{name}*"))).collect()
}

fn time(ms: u64) -> String {
    iso_millis(i64::try_from(ms).unwrap_or(i64::MAX))
}
