//! Which store a target's name stands for, and what objects are called there.
//!
//! ```text
//! own store     logs/{account}/{target}/{prefix}{bucket}YYYY-mm-DD-HH-00-00-{unique}
//! named sink    {account}/{prefix}{bucket}YYYY-mm-DD-HH-00-00-{unique}
//! ```
//!
//! The account keeps tenants apart that name the same target. Minutes and seconds are zero; the
//! hour is the one in which the requests began, in UTC.

use std::collections::HashMap;

use vb_api::oss::{Error, Fault, to_basic};
use vb_commit::Store;

use crate::config::{Config, LoggingConfig};
use crate::failure::Failure;
use crate::open;

use super::piece::Key;

/// Folder of logs in the service's own store.
const FOLDER: &str = "logs";

/// Longest part of a prefix between slashes: with all that follows, a file name has 255 bytes.
const PART_BYTES_MAX: usize = 160;

/// The names that a bucket may give as its target.
pub(crate) struct LogTargets {
    names: Vec<Box<str>>,
    any: bool,
}

impl LogTargets {
    /// Those of the configuration.
    pub(crate) fn new(config: &LoggingConfig) -> Self {
        let names = config.sinks.iter().map(|(name, _)| name.into());
        Self { names: names.collect(), any: config.allow_any_target }
    }

    /// Whether logs can go there.
    ///
    /// # Errors
    /// [`Fault::LoggingTarget`].
    pub(crate) fn check(&self, name: &str) -> Result<(), Error> {
        match self.any || self.names.iter().any(|known| **known == *name) {
            true => Ok(()),
            false => Err(Fault::LoggingTarget.into()),
        }
    }
}

/// The stores of all targets.
pub(super) struct Sinks {
    own: Store,
    named: HashMap<Box<str>, Store>,
}

impl Sinks {
    /// Opens the configured sinks; nothing is sent to them yet.
    ///
    /// # Errors
    /// A sink that cannot be right, or a folder that is in use or cannot be written.
    pub(super) fn open(config: &Config, own: Store) -> Result<Self, Failure> {
        let open = |(name, url): (&str, _)| {
            let store = open::connect(url, config.fsync);
            let store = store.map_err(|failure| sink_failure(name, &failure))?;
            Ok((name.into(), store))
        };
        let named = config.logging.sinks.iter().map(open).collect::<Result<_, Failure>>()?;
        Ok(Self { own, named })
    }

    /// The store and the path of a piece's object.
    pub(super) fn place(&self, key: &Key, unique: &str) -> (&Store, String) {
        let (account, sink) = (&key.destination.account, &key.destination.sink);
        let name = object_name(key, unique);
        match self.named.get(sink) {
            Some(store) => (store, format!("{account}/{name}")),
            // Also of a sink that was configured once: its lines must go somewhere.
            None => (&self.own, format!("{FOLDER}/{account}/{sink}/{name}")),
        }
    }
}

fn sink_failure(name: &str, failure: &Failure) -> Failure {
    Failure::Store(format!("logging.sinks, {name}: {failure}"))
}

/// The documented name, its prefix encoded as far as paths need it.
fn object_name(key: &Key, unique: &str) -> String {
    let basic = to_basic(key.hour);
    let part = |from: usize, to: usize| &basic[from..to];
    format!(
        "{}{}{}-{}-{}-{}-00-00-{unique}",
        encoded(&key.destination.prefix),
        key.destination.bucket,
        part(0, 4),
        part(4, 6),
        part(6, 8),
        part(9, 11),
    )
}

/// Percent-encodes all but letters, digits, `-`, `_`, `.`, `~` and slashes between parts; no part is
/// empty, `.` or `..`, and none is too long for a file system.
fn encoded(prefix: &str) -> String {
    let mut out = String::with_capacity(prefix.len());
    let mut part_start = 0;
    for byte in prefix.bytes() {
        let part = &out[part_start..];
        let is_end = byte == b'/' && !matches!(part, "" | "." | "..");
        if is_end {
            out.push('/');
            part_start = out.len();
        } else if part.len() < PART_BYTES_MAX {
            push_encoded(&mut out, byte);
        }
    }
    out
}

fn push_encoded(out: &mut String, byte: u8) {
    match byte {
        b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
        _ if byte.is_ascii_alphanumeric() => out.push(char::from(byte)),
        _ => out.push_str(&format!("%{byte:02X}")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::piece::Destination;
    use super::*;

    fn key(sink: &str, prefix: &str) -> Key {
        let destination = Destination {
            account: "1234567890123456".into(),
            bucket: "vb".into(),
            sink: sink.into(),
            prefix: prefix.into(),
        };
        Key { destination: destination.into(), hour: 1_767_322_800 }
    }

    #[test]
    fn objects_have_the_documented_name_in_the_place_of_their_target() {
        let named = HashMap::from([("audit".into(), Store::memory())]);
        let sinks = Sinks { own: Store::memory(), named };
        let path = |sink, prefix| sinks.place(&key(sink, prefix), "U1").1;
        let name = "vb2026-01-02-03-00-00-U1";
        assert_eq!(path("logs", "MyLog-"), format!("logs/1234567890123456/logs/MyLog-{name}"));
        assert_eq!(path("audit", "a/b/"), format!("1234567890123456/a/b/{name}"));
        assert_eq!(path("audit", ""), format!("1234567890123456/{name}"));
    }

    #[tokio::test]
    async fn any_prefix_is_a_path_that_stores_accept() {
        for (prefix, expected) in [
            ("a b", "a%20b"),
            ("/a", "%2Fa"),
            ("a//b", "a/%2Fb"),
            ("./x", ".%2Fx"),
            ("../x", "..%2Fx"),
            ("a/../../x", "a/..%2F../x"),
            ("ü#1/", "%C3%BC%231/"),
            ("%2e", "%252e"),
        ] {
            assert_eq!(encoded(prefix), expected, "{prefix}");
        }
        let dir = tempfile::tempdir().unwrap();
        let folder = Store::local(dir.path(), vb_commit::LocalOptions::default()).unwrap();
        let sinks = Sinks { own: folder, named: HashMap::new() };
        for prefix in ["/", "//", "..", "a/./b", &"x".repeat(255), &"ü/".repeat(80), "a\\b"] {
            let (store, path) = sinks.place(&key("logs", prefix), "00112233445566778899AABB");
            store.create(&path, "line\n".into()).await.unwrap_or_else(|e| panic!("{prefix}: {e}"));
            assert!(path.starts_with("logs/1234567890123456/logs/"), "{path}");
            assert_eq!(&store.get(&path).await.unwrap()[..], b"line\n");
        }
    }

    #[test]
    fn unknown_targets_are_refused_where_sinks_are_named() {
        use crate::config::{LogSinks, Value as _};
        let sinks = LogSinks::parse("audit=memory:").unwrap();
        let mut config = LoggingConfig { sinks, ..LoggingConfig::default() };
        assert!(LogTargets::new(&config).check("other").is_ok());
        config.allow_any_target = false;
        let targets = LogTargets::new(&config);
        assert!(targets.check("audit").is_ok());
        assert_eq!(targets.check("other").unwrap_err().fault(), Fault::LoggingTarget);
    }
}
