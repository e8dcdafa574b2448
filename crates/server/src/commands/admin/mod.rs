//! `admin`: who may call, managed over the store itself.
//!
//! What is changed takes effect on every running node within three seconds. On a local folder the
//! service has to be stopped first, as for every command of this group.

mod change;
mod explain;
mod show;

use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::{Value, json};
use vb_engine::{BucketChange, BucketId};
use vb_identity::{
    AccountId, AssumeRole, Command as Change, IdentityStore, KeyRing, Name, SystemRandom,
};

use super::{account, argument, config, failed, print, switch, text};
use crate::clock::unix_seconds;
use crate::command::store_args;
use crate::config::Config;
use crate::failure::Failure;
use crate::open;

/// Names and flags of the whole tree.
pub(super) fn command() -> Command {
    let nouns = change::NOUNS.iter().map(|(noun, about)| {
        let verbs = change::VERBS.iter().filter(|verb| verb.noun == *noun).map(verb_command);
        Command::new(*noun).about(*about).subcommand_required(true).subcommands(verbs)
    });
    Command::new("admin")
        .about("Manage accounts, users, groups, roles, access keys and policies in a store")
        .subcommand_required(true)
        .subcommands(nouns)
}

fn verb_command(verb: &change::Verb) -> Command {
    let positional = verb.names.iter().map(|name| Arg::new(*name).required(true));
    let flags = verb.flags.iter().map(|flag| match *flag {
        "force" => switch("force", "also what is not empty"),
        "all" => switch("all", "of the whole account"),
        name => text(name, "VALUE", change::flag_help(name)),
    });
    let json =
        Arg::new("json").long("json").action(ArgAction::SetTrue).help("print the result as JSON");
    Command::new(verb.verb)
        .about(verb.about)
        .args(positional)
        .args(flags)
        .args(store_args())
        .arg(text("account", "ACCOUNT", "the account; default: that of the configuration"))
        .arg(json)
}

/// Runs one verb.
pub(super) async fn run(arguments: &ArgMatches) -> Result<u8, Failure> {
    // Both levels are required.
    let Some((noun, arguments)) = arguments.subcommand() else { return Ok(2) };
    let Some((verb, arguments)) = arguments.subcommand() else { return Ok(2) };
    if (noun, verb) == ("ring", "generate") {
        return generate_ring_entry(arguments);
    }
    let desk = Desk::open(arguments).await?;
    let done = desk.serve(noun, verb, arguments).await;
    desk.identities.close().await;
    done.map(|()| 0)
}

/// Needs no store: it only makes a secret.
fn generate_ring_entry(arguments: &ArgMatches) -> Result<u8, Failure> {
    let id = argument(arguments, "id").unwrap_or_default();
    let entry = KeyRing::generate_entry(id, &SystemRandom).ok_or_else(|| {
        Failure::Configuration("an id has 1 to 32 characters of 0-9A-Za-z._-".to_owned())
    })?;
    print(arguments, &json!({ "entry": &**entry }), &format!("{}\n", &**entry));
    Ok(0)
}

/// An opened store and the account that is meant.
struct Desk {
    config: Config,
    store: vb_commit::Store,
    identities: IdentityStore,
    account: Option<AccountId>,
}

impl Desk {
    async fn open(arguments: &ArgMatches) -> Result<Self, Failure> {
        let config = config(arguments)?;
        // The store is enough; roots are needed to open sessions only.
        let (roots, ring) = (open::roots(&config)?, open::key_ring(&config)?);
        let store = super::open_source(&config.store, &config).await?;
        let identities = open::identities(&store, roots, ring).await?;
        let account = account(arguments, &config).map(|id| parse_account(&id)).transpose()?;
        Ok(Self { config, store, identities, account })
    }

    fn account(&self) -> Result<&AccountId, Failure> {
        self.account.as_ref().ok_or_else(|| {
            Failure::Configuration("set --account or VECTORBUCKET_ACCOUNT_ID".to_owned())
        })
    }

    async fn serve(&self, noun: &str, verb: &str, arguments: &ArgMatches) -> Result<(), Failure> {
        match (noun, verb) {
            ("account", "list") => {
                let snapshot = self.identities.now().await.map_err(|e| refused(&e))?;
                show::accounts(arguments, &snapshot);
                Ok(())
            }
            (_, "list" | "show") => {
                let snapshot = self.identities.now().await.map_err(|e| refused(&e))?;
                show::part(arguments, &snapshot, self.account()?, noun)
            }
            ("key", "create") => self.create_key(arguments).await,
            ("session", "open") => self.open_session(arguments).await,
            ("ring", "rekey") => self.rekey(arguments).await,
            ("bucket", "drop-policy") => self.drop_policy(arguments).await,
            ("policy", "explain") => explain::run(self, arguments).await,
            _ => self.change(noun, verb, arguments).await,
        }
    }

    async fn change(&self, noun: &str, verb: &str, arguments: &ArgMatches) -> Result<(), Failure> {
        let action = change::action(noun, verb, arguments)?;
        let command = Change { account: self.account()?.clone(), action };
        self.identities.execute(command).await.map_err(|e| refused(&e))?;
        print(arguments, &json!({ "done": true }), "done\n");
        Ok(())
    }

    async fn create_key(&self, arguments: &ArgMatches) -> Result<(), Failure> {
        let user = parse_name(arguments, "user")?;
        let made = self.identities.create_access_key(self.account()?, &user).await;
        let key = made.map_err(|e| refused(&e))?;
        let told = json!({
            "AccessKeyId": &*key.id,
            "AccessKeySecret": key.secret.expose(),
            "UserName": user.as_str(),
        });
        let human = format!(
            "access key id      {}\naccess key secret  {}\n\nThe secret is not shown again.\n",
            key.id,
            key.secret.expose()
        );
        print(arguments, &told, &human);
        Ok(())
    }

    /// Prints what the SDKs' process credentials providers read.
    async fn open_session(&self, arguments: &ArgMatches) -> Result<(), Failure> {
        let account = self.account()?;
        let no_root =
            || Failure::Credentials("opening a session needs the root's access key".into());
        let root = Some(self.config.root_access_key_id.as_str()).filter(|id| !id.is_empty());
        let caller = self.identities.authenticate(root.ok_or_else(no_root)?, None).await;
        let caller = caller.map_err(|e| Failure::Credentials(e.to_string()))?;
        let policy = argument(arguments, "policy").map(change::read_file).transpose()?;
        let request = AssumeRole {
            account,
            role: argument(arguments, "role").unwrap_or_default(),
            session: argument(arguments, "session").unwrap_or_default(),
            duration_s: change::number(arguments, "duration")?,
            policy: policy.as_deref(),
            context: vb_policy::Context {
                time: unix_seconds(),
                access_key_id: root,
                ..vb_policy::Context::default()
            },
        };
        let opened = self.identities.assume_role(&caller, &request).await;
        let session = opened.map_err(|e| Failure::Configuration(e.to_string()))?;
        let told = json!({
            "AccessKeyId": session.access_key_id.as_str(),
            "AccessKeySecret": session.secret.expose(),
            "SecurityToken": &*session.token,
            "Expiration": expiration(session.expires_ms),
        });
        // A credentials provider reads JSON, whatever the flags.
        print(arguments, &told, &format!("{told}\n"));
        Ok(())
    }

    async fn rekey(&self, arguments: &ArgMatches) -> Result<(), Failure> {
        let rekeyed = self.identities.rekey().await.map_err(|e| refused(&e))?;
        let unavailable: Vec<&str> = rekeyed.unavailable.iter().map(|key| key.as_str()).collect();
        let told = json!({
            "resealed": rekeyed.resealed,
            "current": rekeyed.current,
            "unavailable": unavailable,
        });
        let human = format!(
            "{} secrets sealed anew, {} were current, {} cannot be opened\n",
            rekeyed.resealed,
            rekeyed.current,
            unavailable.len()
        );
        print(arguments, &told, &human);
        Ok(())
    }

    /// For a root that a bucket policy shut out.
    async fn drop_policy(&self, arguments: &ArgMatches) -> Result<(), Failure> {
        let bucket = argument(arguments, "bucket").unwrap_or_default();
        let bucket = BucketId::new(self.account()?.as_str(), bucket);
        let engine = open::engine(&self.config, self.store.clone(), None).await?;
        let done = engine.configure_bucket(&bucket, BucketChange::Policy(None)).await;
        engine.shutdown().await;
        done.map_err(|error| failed("the policy was not dropped", &error))?;
        print(arguments, &json!({ "done": true }), "done\n");
        Ok(())
    }
}

/// `2026-01-02T03:04:05Z`.
fn expiration(ms: u64) -> String {
    let text = vb_api::oss::iso_millis(i64::try_from(ms / 1000 * 1000).unwrap_or(i64::MAX));
    text.replace(".000Z", "Z")
}

fn parse_account(text: &str) -> Result<AccountId, Failure> {
    let wrong = || Failure::Configuration(format!("{text} is no account; it has 16 digits"));
    AccountId::parse(text).ok_or_else(wrong)
}

/// A name that an argument holds.
fn parse_name(arguments: &ArgMatches, argument_name: &str) -> Result<Name, Failure> {
    let text = argument(arguments, argument_name).unwrap_or_default();
    let rule = "is no name; it has 1 to 64 characters of 0-9A-Za-z._-";
    Name::parse(text).ok_or_else(|| Failure::Configuration(format!("{text} {rule}")))
}

/// Why a change was not made: the caller's matter or the store's.
fn refused(error: &vb_identity::Error) -> Failure {
    use vb_identity::Error as E;
    let text = error.to_string();
    match error {
        E::Rejected(_) | E::Invalid(_) | E::Policy(_) => Failure::Configuration(text),
        E::NoKeyRing => Failure::Credentials(format!(
            "{text}; `vectorbucket admin ring generate` makes an entry for key_ring_file"
        )),
        _ => Failure::Store(text),
    }
}

/// The value of a JSON object's members as text, for tables.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_well_formed() {
        command().debug_assert();
        for verb in change::VERBS {
            assert!(change::NOUNS.iter().any(|(noun, _)| *noun == verb.noun), "{}", verb.noun);
        }
    }

    #[test]
    fn times_are_whole_seconds() {
        assert_eq!(expiration(1_767_323_045_678), "2026-01-02T03:04:05Z");
    }
}
