//! From three sources of text to one checked configuration.

use std::fmt;

use super::settings::{SETTINGS, Setting};
use super::value::Value as _;
use super::{ByteSize, Config, StoreUrl};

/// Where a value came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Nobody set it.
    Default,
    /// The TOML file.
    File,
    /// An environment variable.
    Environment,
    /// The command line.
    Flag,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Default => "default",
            Self::File => "file",
            Self::Environment => "environment",
            Self::Flag => "flag",
        })
    }
}

/// A setting that cannot be accepted; the text says which one and what would be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid(pub String);

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Invalid {}

/// The three sources, as text.
#[derive(Default)]
pub struct Sources<'a> {
    /// Contents of the TOML file, when one was named.
    pub file: Option<&'a str>,
    /// The process environment, `VECTORBUCKET_` names only matter.
    pub environment: &'a [(String, String)],
    /// Flags by setting key.
    pub flags: &'a [(&'static str, String)],
}

/// A checked configuration with the source of each value.
#[derive(Clone, Debug)]
pub struct Effective {
    /// The configuration.
    pub config: Config,
    /// Source per setting, in the order of the table.
    sources: Vec<Source>,
    /// Environment variables with our prefix that name no setting.
    pub unknown_variables: Vec<String>,
}

impl fmt::Display for Effective {
    /// The whole configuration as a TOML file, each line ending with its source.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = "";
        for (setting, source) in SETTINGS.iter().zip(&self.sources) {
            let (group, name) = setting.key.rsplit_once('.').unwrap_or(("", setting.key));
            self.table_line(f, &mut table, group)?;
            writeln!(f, "{name} = {} # {source}", toml_value((setting.show)(&self.config)))?;
        }
        let config = &self.config;
        let show = |bytes: u64| ByteSize(bytes).show();
        writeln!(f, "\n# In effect where a setting is left empty:")?;
        writeln!(f, "#   memory_limit               {}", show(config.memory_bytes()))?;
        writeln!(f, "#   admission.write_bytes_max  {}", show(config.write_budget()))?;
        writeln!(f, "#   admission.query_bytes_max  {}", show(config.query_budget()))?;
        writeln!(f, "#   flush.memtable_bytes_max   {}", show(config.memtable_bytes()))?;
        writeln!(f, "#   endpoint                   {}", config.domains().join(","))
    }
}

/// Numbers and truths as TOML has them, everything else as text; either reads back the same.
fn toml_value(text: String) -> toml::Value {
    let is_number = text.len() < 16 && text.parse::<i64>().is_ok_and(|n| n.to_string() == text);
    match text.as_str() {
        "true" => true.into(),
        "false" => false.into(),
        number if is_number => number.parse::<i64>().map_or(0.into(), toml::Value::from),
        _ => text.into(),
    }
}

impl Effective {
    fn table_line<'t>(
        &self,
        f: &mut fmt::Formatter<'_>,
        table: &mut &'t str,
        group: &'t str,
    ) -> fmt::Result {
        if *table != group {
            *table = group;
            writeln!(f, "\n[{group}]")?;
        }
        Ok(())
    }

    /// Where the value of `key` came from.
    #[must_use]
    pub fn source(&self, key: &str) -> Option<Source> {
        SETTINGS.iter().position(|s| s.key == key).map(|i| self.sources[i])
    }
}

/// Reads every setting from its highest source and checks the whole.
///
/// # Errors
/// Broken TOML, unknown TOML keys (with the nearest known one), values that do not read, and
/// combinations that must not be served.
pub fn load(sources: &Sources<'_>) -> Result<Effective, Invalid> {
    let file = sources.file.map(file_values).transpose()?.unwrap_or_default();
    let mut config = Config::default();
    let mut used = Vec::with_capacity(SETTINGS.len());
    for setting in SETTINGS {
        used.push(read_one(&mut config, setting, sources, &file)?);
    }
    check(&config)?;
    let unknown_variables = unknown_variables(sources.environment);
    Ok(Effective { config, sources: used, unknown_variables })
}

fn read_one(
    config: &mut Config,
    setting: &Setting,
    sources: &Sources<'_>,
    file: &[(String, String)],
) -> Result<Source, Invalid> {
    let variable = setting.variable();
    let flag = sources.flags.iter().find(|(key, _)| *key == setting.key).map(|(_, v)| v);
    let environment = sources.environment.iter().find(|(k, _)| *k == variable).map(|(_, v)| v);
    let file = file.iter().find(|(key, _)| key == setting.key).map(|(_, v)| v);
    let (text, source, name) = match (flag, environment, file) {
        (Some(text), _, _) => (text, Source::Flag, format!("--{}", setting.flag.unwrap_or("set"))),
        (None, Some(text), _) => (text, Source::Environment, variable),
        (None, None, Some(text)) => (text, Source::File, format!("key {}", setting.key)),
        (None, None, None) => return Ok(Source::Default),
    };
    (setting.set)(config, text).map_err(|hint| Invalid(format!("{name}: {hint}")))?;
    Ok(source)
}

/// The file's values as text by dotted key; every key must be known.
fn file_values(text: &str) -> Result<Vec<(String, String)>, Invalid> {
    let table: toml::Table =
        text.parse().map_err(|e: toml::de::Error| Invalid(format!("configuration file: {e}")))?;
    let mut values = Vec::new();
    flatten("", &table, &mut values)?;
    match values.iter().find(|(key, _)| !SETTINGS.iter().any(|s| s.key == key)) {
        Some((key, _)) => Err(Invalid(unknown_key(key))),
        None => Ok(values),
    }
}

/// Nested tables become dotted keys. The settings have two levels at most, so has the recursion
/// before an unknown key stops it; TOML itself bounds the nesting of what it parses.
fn flatten(
    prefix: &str,
    table: &toml::Table,
    out: &mut Vec<(String, String)>,
) -> Result<(), Invalid> {
    for (name, value) in table {
        let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        match value {
            toml::Value::Table(inner) => flatten(&key, inner, out)?,
            value => out.push((key.clone(), value_text(&key, value)?)),
        }
    }
    Ok(())
}

fn value_text(key: &str, value: &toml::Value) -> Result<String, Invalid> {
    match value {
        toml::Value::String(text) => Ok(text.clone()),
        toml::Value::Integer(n) => Ok(n.to_string()),
        toml::Value::Boolean(b) => Ok(b.to_string()),
        toml::Value::Array(items) => {
            let items: Result<Vec<_>, _> = items.iter().map(|v| value_text(key, v)).collect();
            Ok(items?.join(","))
        }
        _ => Err(Invalid(format!("key {key}: expected text, a whole number, true or false"))),
    }
}

fn unknown_key(key: &str) -> String {
    let nearest = SETTINGS.iter().min_by_key(|s| edit_distance(key, s.key));
    match nearest {
        Some(s) if edit_distance(key, s.key) <= 1 + key.len() / 3 => {
            format!("unknown key {key} in the configuration file; did you mean {}?", s.key)
        }
        _ => format!(
            "unknown key {key} in the configuration file; `vectorbucket config print` lists the known ones"
        ),
    }
}

/// Levenshtein distance over bytes.
fn edit_distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let substituted = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// Variables of the client commands, which are no settings of the service.
const CLIENT_VARIABLES: [&str; 7] = [
    "VECTORBUCKET_CONFIG",
    "VECTORBUCKET_CLIENT_CONFIG",
    "VECTORBUCKET_URL",
    "VECTORBUCKET_ADMIN_URL",
    "VECTORBUCKET_ACCESS_KEY_ID",
    "VECTORBUCKET_ACCESS_KEY_SECRET",
    "VECTORBUCKET_SESSION_TOKEN",
];

fn unknown_variables(environment: &[(String, String)]) -> Vec<String> {
    let ours = environment.iter().map(|(name, _)| name).filter(|n| n.starts_with("VECTORBUCKET_"));
    ours.filter(|name| !CLIENT_VARIABLES.contains(&name.as_str()))
        .filter(|name| !SETTINGS.iter().any(|s| s.variable() == **name))
        .cloned()
        .collect()
}

fn check(config: &Config) -> Result<(), Invalid> {
    check_listeners(config)?;
    check_region(config)?;
    check_nodes(config)?;
    check_limits(config)
}

fn check_nodes(config: &Config) -> Result<(), Invalid> {
    config.nodes.check(config.listen.ip().is_unspecified()).map_err(Invalid)?;
    let alone = matches!(config.store, StoreUrl::Local(_) | StoreUrl::Memory);
    match alone && !config.nodes.peers.is_empty() {
        true => Err(Invalid(
            "peers: several nodes need a store that all of them reach; a folder is one process's \
             own and memory ends with it"
                .into(),
        )),
        false => Ok(()),
    }
}

fn check_listeners(config: &Config) -> Result<(), Invalid> {
    let tls = &config.tls;
    tls.check(!config.nodes.peers.is_empty()).map_err(Invalid)?;
    let open = |address: std::net::SocketAddr| !config.insecure_http && !address.ip().is_loopback();
    if tls.certificate_file.is_none() && open(config.listen) {
        return Err(Invalid(format!(
            "listen: {} is not loopback and would speak plain HTTP; set tls.certificate_file and \
             tls.key_file, or put a TLS proxy in front of a loopback address, or accept plain HTTP \
             with --insecure-http",
            config.listen
        )));
    }
    if tls.admin_certificate_file.is_none() && open(config.admin_listen) {
        return Err(Invalid(format!(
            "admin_listen: {} is not loopback and would speak plain HTTP; keep it on loopback, or \
             set tls.admin_certificate_file and tls.admin_key_file, or accept plain HTTP with \
             --insecure-http",
            config.admin_listen
        )));
    }
    if config.listen == config.admin_listen && config.listen.port() != 0 {
        return Err(Invalid("listen and admin_listen are the same address".into()));
    }
    Ok(())
}

fn check_region(config: &Config) -> Result<(), Invalid> {
    let word = |text: &str| {
        !text.is_empty()
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    if !word(&config.region) {
        return Err(Invalid("region: expected lower-case letters, digits and hyphens".into()));
    }
    if config.endpoint.is_empty() {
        return Err(Invalid("endpoint: expected at least one base domain".into()));
    }
    match config.domains().iter().find(|d| !d.split('.').all(word)) {
        Some(bad) => Err(Invalid(format!("endpoint: {bad} is not a domain name in lower case"))),
        None => Ok(()),
    }
}

fn check_limits(config: &Config) -> Result<(), Invalid> {
    let limits = &config.limits;
    let rules = [
        (limits.connections_max >= 1, "limits.connections_max: at least 1"),
        (limits.head_bytes_max.0 >= 8 << 10, "limits.head_bytes_max: at least 8KiB"),
        (limits.head_bytes_max.0 <= 16 << 20, "limits.head_bytes_max: at most 16MiB"),
        (limits.headers_max >= 16, "limits.headers_max: at least 16"),
        (!limits.header_timeout.is_zero(), "limits.header_timeout: more than zero"),
        (!limits.idle_timeout.is_zero(), "limits.idle_timeout: more than zero"),
        (!limits.write_timeout.is_zero(), "limits.write_timeout: more than zero"),
        (!limits.body_timeout.is_zero(), "limits.body_timeout: more than zero"),
        (limits.connections_per_address_max >= 1, "limits.connections_per_address_max: at least 1"),
        (!config.tls.handshake_timeout.is_zero(), "tls.handshake_timeout: more than zero"),
        (config.tls.check_interval.as_millis() >= 100, "tls.check_interval: at least 100ms"),
        (limits.body_rate_min.0 >= 1, "limits.body_rate_min: at least 1"),
        (limits.body_bytes_max.0 >= 64 << 10, "limits.body_bytes_max: at least 64KiB"),
        (limits.body_bytes_max.0 <= 1 << 30, "limits.body_bytes_max: at most 1GiB"),
        (
            limits.put_vectors_bytes_max.0 >= 64 << 10,
            "limits.put_vectors_bytes_max: at least 64KiB",
        ),
        (limits.put_vectors_bytes_max.0 <= 1 << 30, "limits.put_vectors_bytes_max: at most 1GiB"),
        (config.quotas.buckets_max >= 1, "quotas.buckets_max: at least 1"),
        (config.quotas.indexes_max >= 1, "quotas.indexes_max: at least 1"),
        (config.quotas.top_k_max >= 1, "quotas.top_k_max: at least 1"),
        (config.threads != Some(0), "threads: at least 1"),
        (config.background.jobs_max >= 1, "background.jobs_max: at least 1"),
        (config.background.merges_max >= 1, "background.merges_max: at least 1"),
        (
            config.background.bytes_per_second.is_none_or(|rate| rate.0 >= 1 << 20),
            "background.bytes_per_second: at least 1MiB",
        ),
        (config.logging.spool_bytes_max.0 >= 1 << 20, "logging.spool_bytes_max: at least 1MiB"),
        (config.logging.object_bytes_max.0 >= 4 << 10, "logging.object_bytes_max: at least 4KiB"),
        (config.logging.object_bytes_max.0 <= 1 << 30, "logging.object_bytes_max: at most 1GiB"),
        (config.logging.object_age_max.as_secs() >= 1, "logging.object_age_max: at least 1s"),
        (
            config.audit.file_bytes_max.is_none_or(|bytes| bytes.0 >= 4 << 10),
            "audit.file_bytes_max: at least 4KiB",
        ),
        (config.nodes.peer_timeout.as_millis() >= 100, "peer_timeout: at least 100ms"),
        (
            matches!(config.store, StoreUrl::Memory) || config.memory_bytes() >= 64 << 20,
            "memory_limit: at least 64MiB",
        ),
    ];
    match rules.iter().find(|(holds, _)| !holds) {
        Some((_, rule)) => Err(Invalid((*rule).to_owned())),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
        list.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    fn refused(file: &str) -> String {
        load(&Sources { file: Some(file), ..Sources::default() }).unwrap_err().0
    }

    #[test]
    fn a_flag_beats_the_environment_which_beats_the_file() {
        let environment = pairs(&[("VECTORBUCKET_REGION", "env"), ("VECTORBUCKET_STORE", "/env")]);
        let sources = Sources {
            file: Some("region = 'file'\nstore = '/file'\nthreads = 3"),
            environment: &environment,
            flags: &[("region", "flag".to_owned())],
        };
        let effective = load(&sources).unwrap();
        assert_eq!(effective.config.region, "flag");
        assert_eq!(effective.config.store, StoreUrl::Local("/env".into()));
        assert_eq!(effective.config.threads, Some(3));
        let sources = ["region", "store", "threads", "kernels"].map(|k| effective.source(k));
        let expected = [Source::Flag, Source::Environment, Source::File, Source::Default];
        assert_eq!(sources, expected.map(Some));
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_nearest_known_one() {
        assert!(refused("lissten = 'x'").contains("did you mean listen?"));
        assert!(refused("[limits]\nheader_max = 5").contains("did you mean limits.headers_max?"));
        assert!(refused("completely_else = 5").contains("config print"));
    }

    #[test]
    fn plain_http_stays_on_loopback_unless_asked() {
        assert!(refused("listen = '0.0.0.0:9100'").contains("--insecure-http"));
        assert!(refused("admin_listen = '10.0.0.1:9101'").contains("--insecure-http"));
        let pair = |prefix: &str| {
            format!("tls.{prefix}certificate_file = '/c'\ntls.{prefix}key_file = '/k'\n")
        };
        let listen = "listen = '0.0.0.0:9100'\nadmin_listen = '10.0.0.1:9101'\n";
        assert!(refused(&format!("{listen}{}", pair(""))).contains("admin_listen"));
        assert!(refused(&format!("{listen}{}", pair("admin_"))).starts_with("listen"));
        for allowed in ["insecure_http = true".to_owned(), pair("") + &pair("admin_")] {
            let file = format!("{listen}{allowed}");
            assert!(load(&Sources { file: Some(&file), ..Sources::default() }).is_ok());
        }
    }

    #[test]
    fn bad_values_name_their_place() {
        for (file, needle) in [
            ("threads = 'x'", "key threads: expected a whole number"),
            ("endpoint = []", "at least one base domain"),
            ("endpoint = ['Bad_Domain']", "Bad_Domain"),
            ("region = 'a b'", "region"),
            ("limits = 3", "unknown key limits"),
            ("[limits]\nheaders_max = 1", "headers_max"),
            ("fsync = 1.5", "key fsync"),
            ("= 3", "configuration file"),
        ] {
            let message = refused(file);
            assert!(message.contains(needle), "{file}: {message}");
        }
    }

    #[test]
    fn printing_hides_secrets_names_sources_and_reads_back() {
        let file = "account_id = '1234567890123456'\nroot_access_key_id = 'AK'\n\
                    root_access_key_secret = 'hush'\nendpoint = ['a.example', 'b.example']";
        let effective = load(&Sources { file: Some(file), ..Sources::default() }).unwrap();
        let printed = effective.to_string();
        assert!(!printed.contains("hush"));
        assert!(printed.contains("root_access_key_secret = \"***\" # file"), "{printed}");
        assert!(printed.contains("endpoint = \"a.example,b.example\" # file"), "{printed}");
        let again = load(&Sources { file: Some(&printed), ..Sources::default() }).unwrap();
        assert_eq!(again.config.domains(), effective.config.domains());
        for key in ["drain_timeout", "limits.headers_max", "quotas.top_k_max"] {
            assert_eq!(again.source(key), Some(Source::File), "{key}");
        }
    }

    #[test]
    fn a_mistyped_variable_is_reported() {
        let environment =
            pairs(&[("VECTORBUCKET_LISSTEN", "x"), ("VECTORBUCKET_ACCESS_KEY_ID", "y")]);
        let effective = load(&Sources { environment: &environment, ..Sources::default() }).unwrap();
        assert_eq!(effective.unknown_variables, ["VECTORBUCKET_LISSTEN"]);
    }
}
