//! What is known of accounts, as JSON and as tables. Secrets are not in it.

use clap::ArgMatches;
use serde_json::{Value, json};
use vb_api::oss::iso_millis;
use vb_identity::{Account, AccountId, Grants, Key, Snapshot};

use super::{cell, print};
use crate::failure::Failure;

/// All accounts.
pub(super) fn accounts(arguments: &ArgMatches, snapshot: &Snapshot) {
    let row = |(id, account): (&AccountId, &Account)| {
        json!({
            "account": id.as_str(),
            "comment": &*account.comment,
            "suspended": account.suspended,
            "users": account.users.len(),
            "roles": account.roles.len(),
        })
    };
    let rows: Vec<Value> = snapshot.accounts().map(row).collect();
    tell(arguments, &rows);
}

/// One part of an account, or with `account` all parts.
pub(super) fn part(
    arguments: &ArgMatches,
    snapshot: &Snapshot,
    id: &AccountId,
    noun: &str,
) -> Result<(), Failure> {
    let none = || Failure::Configuration(format!("nothing is stored about the account {id}"));
    let account = snapshot.account(id).ok_or_else(none)?;
    if noun == "account" {
        let whole = json!({
            "account": id.as_str(),
            "comment": &*account.comment,
            "suspended": account.suspended,
            "block_public_access": account.block_public_access,
            "users": rows(snapshot, account, "user"),
            "groups": rows(snapshot, account, "group"),
            "roles": rows(snapshot, account, "role"),
            "keys": rows(snapshot, account, "key"),
            "policies": rows(snapshot, account, "policy"),
        });
        print(arguments, &whole, &format!("{whole:#}\n"));
    } else {
        tell(arguments, &rows(snapshot, account, noun));
    }
    Ok(())
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

fn tell(arguments: &ArgMatches, rows: &[Value]) {
    print(arguments, &Value::from(rows.to_vec()), &table(rows));
}

/// A table with one line per row; the first row names the columns.
fn table(rows: &[Value]) -> String {
    let Some(Value::Object(first)) = rows.first() else { return "none\n".to_owned() };
    let header: Vec<String> = first.keys().map(|name| name.to_uppercase()).collect();
    let line = |row: &Value| row.as_object().map(|row| row.values().map(cell).collect());
    let mut lines: Vec<Vec<String>> = vec![header];
    lines.extend(rows.iter().filter_map(line));
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max();
    let widths: Vec<usize> = (0..lines[0].len()).map(|c| width(c).unwrap_or(0)).collect();
    let padded = |line: &Vec<String>| {
        let cells = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    lines.iter().map(padded).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let rows = [json!({"a": "long one", "b": ["x", "y"]}), json!({"a": null, "b": 7})];
        assert_eq!(table(&rows), "A         B\nlong one  x,y\n-         7\n");
        assert_eq!(table(&[]), "none\n");
    }
}
