//! Settings of a client command: flag, else environment, else file, else default.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Arg, ArgMatches};
use vb_api::oss::signature::Credentials;

use super::file::{self, Entries};
use super::{Addressing, Endpoint};
use crate::failure::Failure;

/// Everything a client needs to know before its first request.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) endpoint: Endpoint,
    pub(crate) addressing: Addressing,
    pub(crate) region: String,
    /// The bucket owner's account; part of the signature of every call about a bucket.
    pub(crate) account: Option<String>,
    /// `None` sends unsigned requests.
    pub(crate) credentials: Option<Credentials>,
    pub(crate) proxy: Option<String>,
    /// Connect here whatever the URL's host is.
    pub(crate) connect_to: Option<SocketAddr>,
    pub(crate) attempts_max: u32,
    pub(crate) read_timeout: Duration,
}

/// A setting by its flag, its environment variables in order, and its folded name in a file.
struct Source {
    flag: &'static str,
    environment: &'static [&'static str],
    file: &'static [&'static str],
}

const ENDPOINT: Source =
    Source { flag: "endpoint", environment: &["VECTORBUCKET_URL"], file: &["endpoint"] };
const ADMIN_ENDPOINT: Source =
    Source { flag: "endpoint", environment: &["VECTORBUCKET_ADMIN_URL"], file: &["adminendpoint"] };
const ADMIN_TOKEN: Source =
    Source { flag: "", environment: &["VECTORBUCKET_ADMIN_TOKEN"], file: &["admintoken"] };
const ADMIN_TOKEN_FILE: Source = Source {
    flag: "token-file",
    environment: &["VECTORBUCKET_ADMIN_TOKEN_FILE"],
    file: &["admintokenfile"],
};
const REGION: Source = Source {
    flag: "region",
    environment: &["VECTORBUCKET_REGION", "OSS_REGION"],
    file: &["region"],
};
const ACCOUNT: Source = Source {
    flag: "account-id",
    environment: &["VECTORBUCKET_ACCOUNT_ID", "OSS_ACCOUNT_ID"],
    file: &["accountid"],
};
const KEY_ID: Source = Source {
    flag: "access-key-id",
    environment: &["VECTORBUCKET_ACCESS_KEY_ID", "OSS_ACCESS_KEY_ID"],
    file: &["accesskeyid"],
};
const KEY_SECRET: Source = Source {
    flag: "access-key-secret",
    environment: &["VECTORBUCKET_ACCESS_KEY_SECRET", "OSS_ACCESS_KEY_SECRET"],
    file: &["accesskeysecret"],
};
const TOKEN: Source = Source {
    flag: "sts-token",
    environment: &["VECTORBUCKET_SESSION_TOKEN", "OSS_SESSION_TOKEN"],
    file: &["sessiontoken", "ststoken"],
};
const ADDRESSING: Source = Source {
    flag: "addressing-style",
    environment: &["VECTORBUCKET_ADDRESSING"],
    file: &["addressing", "addressingstyle"],
};
const PROXY: Source =
    Source { flag: "proxy", environment: &["VECTORBUCKET_PROXY"], file: &["proxy", "proxyhost"] };

const REGION_DEFAULT: &str = "cn-hangzhou";
const ENDPOINT_DEFAULT: &str = "http://127.0.0.1:9100";
const ADMIN_ENDPOINT_DEFAULT: &str = "http://127.0.0.1:9101";

/// The connection flags every client command takes.
pub(crate) fn flags() -> Vec<Arg> {
    let text = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .value_name(value)
            .help(help)
            .global(true)
            .help_heading("Connection")
    };
    vec![
        text(
            "endpoint",
            "URL",
            "Address of the service [env: VECTORBUCKET_URL] [default: \
                    http://127.0.0.1:9100]",
        )
        .short('e'),
        text(
            "region",
            "REGION",
            "Region in the signature [env: VECTORBUCKET_REGION] [default: \
                    cn-hangzhou]",
        ),
        text("account-id", "DIGITS", "Account that owns the bucket [env: VECTORBUCKET_ACCOUNT_ID]"),
        text(
            "access-key-id",
            "ID",
            "Access key id [env: VECTORBUCKET_ACCESS_KEY_ID, OSS_ACCESS_KEY_ID]",
        )
        .short('i'),
        text(
            "access-key-secret",
            "SECRET",
            "Access key secret; the environment or a file keep it out of the \
                    process list [env: VECTORBUCKET_ACCESS_KEY_SECRET, \
                    OSS_ACCESS_KEY_SECRET]",
        )
        .short('k'),
        text(
            "sts-token",
            "TOKEN",
            "Security token of temporary credentials [env: \
                    VECTORBUCKET_SESSION_TOKEN, OSS_SESSION_TOKEN]",
        )
        .short('t'),
        text(
            "config-file",
            "FILE",
            "Client settings, .toml or ossutil's ini [env: \
                    VECTORBUCKET_CLIENT_CONFIG] [default: \
                    ~/.config/vectorbucket/client.toml, else ~/.ossutilconfig]",
        )
        .short('c')
        .alias("client-config"),
        text("profile", "NAME", "Profile in the configuration file [default: default]"),
        text(
            "addressing-style",
            "STYLE",
            "Where the bucket stands in the URL: auto, path or virtual \
                    [default: auto]",
        ),
        text(
            "proxy",
            "URL",
            "HTTP proxy that understands CONNECT [default: the environment's, \
                    never for this machine]",
        ),
        text(
            "connect-to",
            "ADDRESS:PORT",
            "Connect there whatever the host in the URL is, so that host names \
                    need no DNS",
        )
        .value_parser(clap::value_parser!(SocketAddr)),
        text("retry-times", "N", "Attempts per request, the first included [default: 3]")
            .value_parser(clap::value_parser!(u32).range(1..=100)),
        text("read-timeout", "SECONDS", "Longest wait for an answer [default: 60]")
            .value_parser(clap::value_parser!(u64).range(1..=86_400)),
    ]
}

/// The connection flags of commands that ask the admin API.
pub(crate) fn admin_flags() -> Vec<Arg> {
    let of_buckets = ["endpoint", "account-id", "addressing-style", "retry-times"];
    let mut flags = flags();
    flags.retain(|flag| !of_buckets.contains(&flag.get_id().as_str()));
    let text = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help).help_heading("Connection")
    };
    flags.push(
        text("endpoint", "URL", "Admin address of the service [env: VECTORBUCKET_ADMIN_URL]")
            .short('e'),
    );
    flags.push(text(
        "token-file",
        "FILE",
        "File with a token of the admin API, which is used instead of an access key [env: \
                    VECTORBUCKET_ADMIN_TOKEN_FILE, or the token itself in VECTORBUCKET_ADMIN_TOKEN]",
    ));
    flags
}

/// How to ask the admin API.
pub(crate) struct AdminSettings {
    pub(crate) settings: Settings,
    /// Whether the address was given, not assumed.
    pub(crate) is_named: bool,
    /// To be used instead of the access key.
    pub(crate) token: Option<String>,
}

/// As [`read`], for the admin API.
pub(crate) fn read_admin(matches: &ArgMatches) -> Result<AdminSettings, Failure> {
    let environment = |name: &str| std::env::var(name).ok();
    let entries = read_file(matches, &environment)?;
    let find = |source: &Source| find(matches, &environment, &entries, source);
    let named = find(&ADMIN_ENDPOINT);
    let is_named = named.is_some();
    let endpoint = named.unwrap_or_else(|| ADMIN_ENDPOINT_DEFAULT.to_owned());
    let settings =
        decide_for(&endpoint, matches, &environment, &entries).map_err(Failure::Usage)?;
    let token = match find(&ADMIN_TOKEN_FILE) {
        Some(path) => Some(
            std::fs::read_to_string(&path)
                .map_err(|cause| Failure::file(Path::new(&path), cause))?,
        ),
        None => find(&ADMIN_TOKEN),
    };
    // A server's setting may hold two, of which the first is the newer.
    let first = |text: String| {
        let mut tokens = text.split([',', ' ', '\t', '\r', '\n']);
        tokens.find(|token| !token.is_empty()).map(str::to_owned)
    };
    Ok(AdminSettings { settings, is_named, token: token.and_then(first) })
}

/// The settings of this process: `matches` over its environment over the configuration file.
pub(crate) fn read(matches: &ArgMatches) -> Result<Settings, Failure> {
    let environment = |name: &str| std::env::var(name).ok();
    let entries = read_file(matches, &environment)?;
    decide(matches, &environment, &entries).map_err(Failure::Usage)
}

fn read_file(
    matches: &ArgMatches,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Entries, Failure> {
    let profile = given(matches, "profile");
    let path = given(matches, "config-file")
        .or_else(|| environment("VECTORBUCKET_CLIENT_CONFIG"))
        .map(PathBuf::from);
    let path = path.or_else(|| default_file(environment));
    match path {
        None if profile.is_some() => {
            Err(Failure::usage("--profile needs a configuration file: give --config-file"))
        }
        None => Ok(Entries::new()),
        Some(path) => {
            let text =
                std::fs::read_to_string(&path).map_err(|cause| Failure::file(&path, cause))?;
            file::parse(&path, &text, profile.as_deref().unwrap_or("default"))
                .map_err(Failure::Usage)
        }
    }
}

/// The first default file that exists.
fn default_file(environment: &dyn Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let home = environment("HOME")?;
    let home = Path::new(&home);
    let candidates = [home.join(".config/vectorbucket/client.toml"), home.join(".ossutilconfig")];
    candidates.into_iter().find(|path| path.is_file())
}

/// The pure part: where each setting comes from.
fn decide(
    matches: &ArgMatches,
    environment: &dyn Fn(&str) -> Option<String>,
    entries: &Entries,
) -> Result<Settings, String> {
    let endpoint = find(matches, environment, entries, &ENDPOINT);
    let endpoint = endpoint.unwrap_or_else(|| ENDPOINT_DEFAULT.to_owned());
    decide_for(&endpoint, matches, environment, entries)
}

/// The value of one setting, from the first place that has it.
fn find(
    matches: &ArgMatches,
    environment: &dyn Fn(&str) -> Option<String>,
    entries: &Entries,
    source: &Source,
) -> Option<String> {
    let given_value = |value: &String| !value.is_empty();
    let variable =
        || source.environment.iter().find_map(|name| environment(name).filter(given_value));
    let entry = || {
        source.file.iter().find_map(|name| entries.get(*name).filter(|v| given_value(v)).cloned())
    };
    given(matches, source.flag).or_else(variable).or_else(entry)
}

fn decide_for(
    endpoint: &str,
    matches: &ArgMatches,
    environment: &dyn Fn(&str) -> Option<String>,
    entries: &Entries,
) -> Result<Settings, String> {
    let find = |source: &Source| find(matches, environment, entries, source);
    let region = find(&REGION).unwrap_or_else(|| REGION_DEFAULT.to_owned());
    let endpoint = endpoint.parse()?;
    let account = find(&ACCOUNT).map(|text| account_id(&text)).transpose()?;
    Ok(Settings {
        addressing: find(&ADDRESSING).map(|text| text.parse()).transpose()?.unwrap_or_default(),
        endpoint,
        region,
        account,
        credentials: credentials(find(&KEY_ID), find(&KEY_SECRET), find(&TOKEN))?,
        proxy: find(&PROXY),
        connect_to: matches.get_one("connect-to").copied(),
        attempts_max: option(matches, "retry-times").unwrap_or(3),
        read_timeout: Duration::from_secs(matches.get_one("read-timeout").copied().unwrap_or(60)),
    })
}

/// The value of a flag, which the command may not have.
fn given(matches: &ArgMatches, flag: &str) -> Option<String> {
    matches.try_get_one::<String>(flag).ok().flatten().cloned()
}

fn option(matches: &ArgMatches, flag: &str) -> Option<u32> {
    matches.try_get_one::<u32>(flag).ok().flatten().copied()
}

fn account_id(text: &str) -> Result<String, String> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        Ok(text.to_owned())
    } else {
        Err(format!("account id {text:?} is not a number"))
    }
}

/// An id without its secret, or a secret without its id, is a mistake and not anonymity.
fn credentials(
    id: Option<String>,
    secret: Option<String>,
    token: Option<String>,
) -> Result<Option<Credentials>, String> {
    match (id, secret) {
        (Some(access_key_id), Some(secret)) => {
            Ok(Some(Credentials { access_key_id, secret, token }))
        }
        (None, None) => Ok(None),
        (Some(_), None) => {
            Err("an access key id without its secret: set OSS_ACCESS_KEY_SECRET too".to_owned())
        }
        (None, Some(_)) => {
            Err("an access key secret without its id: set OSS_ACCESS_KEY_ID too".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Command;

    use super::{Entries, Settings, decide, flags};

    fn settings(
        arguments: &[&str],
        environment: &[(&str, &str)],
        file: &[(&str, &str)],
    ) -> Result<Settings, String> {
        let matches =
            Command::new("x").no_binary_name(true).args(flags()).get_matches_from(arguments);
        let lookup = |name: &str| {
            environment.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        };
        let entries: Entries =
            file.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        decide(&matches, &lookup, &entries)
    }

    #[test]
    fn flag_wins_over_environment_over_file() {
        let file = [("region", "from-file"), ("accountid", "1"), ("endpoint", "http://file")];
        let environment = [
            ("VECTORBUCKET_REGION", "from-env"),
            ("OSS_REGION", "later"),
            ("VECTORBUCKET_ACCOUNT_ID", ""),
        ];
        let found = settings(&["--region", "from-flag"], &environment, &file).unwrap();
        assert_eq!(found.region, "from-flag");
        let found = settings(&[], &environment, &file).unwrap();
        assert_eq!((found.region.as_str(), found.account.as_deref()), ("from-env", Some("1")));
        assert_eq!(settings(&[], &[], &file).unwrap().region, "from-file");
        let found = settings(&[], &[], &[]).unwrap();
        assert_eq!(found.region, "cn-hangzhou");
        assert_eq!(found.endpoint, "http://127.0.0.1:9100".parse().unwrap());
        assert!(found.credentials.is_none());
    }

    #[test]
    fn half_a_credential_and_wrong_values_are_refused() {
        for (arguments, word) in [
            (&["-i", "AK"][..], "OSS_ACCESS_KEY_SECRET"),
            (&["-k", "SK"], "OSS_ACCESS_KEY_ID"),
            (&["--account-id", "abc"], "not a number"),
            (&["--endpoint", "ftp://x"], "neither http nor https"),
            (&["--addressing-style", "cname"], "addressing style"),
        ] {
            let error = settings(arguments, &[], &[]).unwrap_err();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        let found = settings(&["-i", "AK", "-k", "hunter2", "-t", "tok3n"], &[], &[]).unwrap();
        let shown = format!("{found:?}");
        assert!(
            shown.contains("AK") && !shown.contains("hunter2") && !shown.contains("tok3n"),
            "{shown}"
        );
    }
}
