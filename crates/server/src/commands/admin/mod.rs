//! `admin`: who may call, managed through a running service or over the store itself.
//!
//! With `--endpoint` (or `VECTORBUCKET_ADMIN_URL`) orders go to the admin API of a running service.
//! Without it they are carried out over the store, by whoever can open it: break-glass, and the way
//! to begin. What is changed takes effect on every running node within three seconds. On a local
//! folder the service has to be stopped first, as for every command of this group.

mod table;

use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::{Map, Value, json};
use vb_cli::admin::{AdminClient, Failed};
use vb_identity::{AccountId, KeyRing, SystemRandom};

use super::{argument, config, print, switch, text};
use crate::admin::generate_token;
use crate::administration::{
    Argument, Arguments, Buckets, Code, Desk, Form, NOUNS, Order, Refusal, Right, VERBS, Verb,
};
use crate::command::store_args;
use crate::config::StoreUrl;
use crate::failure::Failure;
use crate::open;

/// Names and flags of the whole tree.
pub(super) fn command() -> Command {
    let nouns = NOUNS.iter().map(|(noun, about)| {
        let verbs = VERBS.iter().filter(|verb| verb.noun == *noun).map(verb_command);
        Command::new(*noun).about(*about).subcommand_required(true).subcommands(verbs)
    });
    Command::new("admin")
        .about("Manage accounts, users, groups, roles, access keys and policies")
        .after_help(
            "With --endpoint: through a running service. Without: over the store, which no service \
             may have open if it is a folder.",
        )
        .subcommand_required(true)
        .subcommands(nouns)
}

fn verb_command(verb: &Verb) -> Command {
    let positional =
        verb.required.iter().map(|argument| Arg::new(argument.flag).help(argument.help));
    let flags = verb.optional.iter().map(|argument| match argument.form {
        Form::Switch => switch(argument.flag, argument.help),
        _ => text(argument.flag, "VALUE", argument.help),
    });
    let json =
        Arg::new("json").long("json").action(ArgAction::SetTrue).help("print the result as JSON");
    Command::new(verb.verb)
        .about(verb.about)
        .args(positional.map(|argument| argument.required(true)))
        .args(flags)
        .args(store_args())
        .arg(text("account", "ACCOUNT", "the account; default: that of the configuration"))
        .arg(json)
        .args(vb_cli::admin::flags())
}

/// Runs one verb.
pub(super) fn run(arguments: &ArgMatches) -> Result<u8, Failure> {
    // Both levels are required.
    let Some((noun, arguments)) = arguments.subcommand() else { return Ok(2) };
    let Some((verb, arguments)) = arguments.subcommand() else { return Ok(2) };
    let Some(verb) = Verb::find(noun, verb) else { return Ok(2) };
    match (verb.noun, verb.verb) {
        ("ring", "generate") => return generate_ring_entry(arguments),
        ("token", "generate") => {
            let token = generate_token();
            print(arguments, &json!({ "token": &*token }), &format!("{}\n", &*token));
            return Ok(0);
        }
        _ => {}
    }
    let given = given(verb, arguments)?;
    let told = match AdminClient::named(arguments).map_err(|failed| over_the_wire(&failed))? {
        Some(client) => remote(&client, verb, given)?,
        None => super::on_runtime(at_rest(verb, given, arguments))?,
    };
    print(arguments, &told, &table::human(verb, &told));
    Ok(0)
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

/// Through a running service.
fn remote(client: &AdminClient, verb: &Verb, given: Map<String, Value>) -> Result<Value, Failure> {
    if verb.right == Right::Nobody {
        return Err(Failure::Configuration(format!(
            "{} {} does not go over a network; for a session of a role there is `vectorbucket sts \
             assume-role`",
            verb.noun, verb.verb
        )));
    }
    let body = Value::Object(given).to_string();
    let told = client.call(&format!("{}/{}", verb.noun, verb.verb), body.as_bytes());
    told.map_err(|failed| over_the_wire(&failed))
}

fn over_the_wire(failed: &Failed) -> Failure {
    match failed {
        Failed::Settings(text) => Failure::Configuration(text.clone()),
        Failed::Refused(text) => Failure::Refused(text.clone()),
        Failed::Unreachable(text) => Failure::Unreachable(text.clone()),
    }
}

/// Over the store, which only this process may have open if it is a folder.
async fn at_rest(
    verb: &'static Verb,
    mut given: Map<String, Value>,
    arguments: &ArgMatches,
) -> Result<Value, Failure> {
    let config = config(arguments)?;
    // The store is enough; roots are needed to open sessions only.
    let (roots, ring) = (open::roots(&config)?, open::key_ring(&config)?);
    let named = given.remove("account");
    let given = Arguments::of(verb, given).map_err(refused)?;
    let order = Order::parse(verb, &given).map_err(refused)?;
    let account = named.as_ref().and_then(Value::as_str).unwrap_or(&config.account_id);
    let account = Some(account).filter(|id| !id.is_empty()).map(parse_account).transpose()?;
    let store = super::open_source(&config.store, &config).await;
    let store = store.map_err(|failure| in_use(failure, &config.store))?;
    let identities = open::identities(&store, roots, ring).await?;
    let desk = Desk {
        identities,
        region: config.region.as_str().into(),
        block_public_access: config.block_public_access,
        root: Some(&*config.root_access_key_id).filter(|id| !id.is_empty()).map(Box::from),
        buckets: Buckets::AtRest { config: Box::new(config), store },
    };
    let served = desk.serve(order, account.as_ref()).await;
    desk.identities.close().await;
    served.map_err(refused)
}

/// A folder that cannot be opened is most often that of a running service.
fn in_use(failure: Failure, url: &StoreUrl) -> Failure {
    match (failure, url) {
        (Failure::Store(text), StoreUrl::Local(_)) => Failure::Store(format!(
            "{text}; to change identities while the service runs, name its admin address with \
             --endpoint or VECTORBUCKET_ADMIN_URL"
        )),
        (failure, _) => failure,
    }
}

/// The arguments as JSON has them.
fn given(verb: &Verb, arguments: &ArgMatches) -> Result<Map<String, Value>, Failure> {
    let mut given = Map::new();
    if let Some(account) = argument(arguments, "account") {
        given.insert("account".to_owned(), account.into());
    }
    for known in verb.arguments() {
        if let Some(value) = value(known, arguments)? {
            given.insert(known.member.to_owned(), value);
        }
    }
    Ok(given)
}

fn value(known: &Argument, arguments: &ArgMatches) -> Result<Option<Value>, Failure> {
    if known.form == Form::Switch {
        return Ok(Some(true.into()).filter(|_| arguments.get_flag(known.flag)));
    }
    let Some(text) = argument(arguments, known.flag) else { return Ok(None) };
    Ok(Some(match known.form {
        Form::Text | Form::Switch => text.into(),
        Form::Document => read_file(text)?.into(),
        Form::Number => {
            let wrong = |_| Failure::Configuration(format!("{}: {text} is no number", known.flag));
            text.parse::<u64>().map_err(wrong)?.into()
        }
        Form::List if text == "any" => json!([]),
        Form::List => text.split(',').collect::<Vec<_>>().into(),
        Form::OnOffDefault => on_off_default(text)?,
    }))
}

fn on_off_default(text: &str) -> Result<Value, Failure> {
    match text {
        "on" => Ok(true.into()),
        "off" => Ok(false.into()),
        "default" => Ok(Value::Null),
        other => Err(Failure::Configuration(format!("{other}: expected on, off or default"))),
    }
}

/// The text of a document.
fn read_file(path: &str) -> Result<String, Failure> {
    let failed = |error| Failure::Configuration(format!("cannot read {path}: {error}"));
    std::fs::read_to_string(path).map_err(failed)
}

fn parse_account(text: &str) -> Result<AccountId, Failure> {
    let wrong = || Failure::Configuration(format!("{text} is no account; it has 16 digits"));
    AccountId::parse(text).ok_or_else(wrong)
}

/// Why an order was not carried out: the caller's matter or the store's.
fn refused(refusal: Refusal) -> Failure {
    let Refusal { code, message } = refusal;
    match code {
        Code::NoKeyRing | Code::AuthenticationRequired => {
            Failure::Credentials(format!("{message}; {}", code.next_step()))
        }
        Code::StoreUnavailable | Code::OutcomeUnknown | Code::NotReady => Failure::Store(message),
        Code::StoreDamaged | Code::Internal => Failure::Engine(message),
        _ => Failure::Configuration(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_well_formed() {
        command().debug_assert();
        for verb in VERBS {
            assert!(NOUNS.iter().any(|(noun, _)| *noun == verb.noun), "{}", verb.noun);
        }
    }
}
