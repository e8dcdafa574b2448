//! Settings of bucket logging and of the audit stream.

use std::path::PathBuf;
use std::time::Duration;

use super::value::{ByteSize, StoreUrl, Value};

/// Where the access logs of buckets go, and what waits on this machine until it is there.
#[derive(Clone, Debug)]
pub struct LoggingConfig {
    /// Stores that a bucket may name as its target.
    pub sinks: LogSinks,
    /// A target that names no sink is a folder of the service's own store; otherwise it is refused.
    pub allow_any_target: bool,
    /// Folder of lines that are not delivered yet; `None`: inside a local store, else in memory.
    pub spool_dir: Option<PathBuf>,
    /// Bytes of lines that are not delivered yet, at most.
    pub spool_bytes_max: ByteSize,
    /// Bytes of lines at which an object is delivered before its hour is over.
    pub object_bytes_max: ByteSize,
    /// Age at which it is.
    pub object_age_max: Duration,
}

impl Default for LoggingConfig {
    fn default() -> Self {
        Self {
            sinks: LogSinks::default(),
            allow_any_target: true,
            spool_dir: None,
            spool_bytes_max: ByteSize::mib(1 << 10),
            object_bytes_max: ByteSize::mib(64),
            object_age_max: Duration::from_secs(3600),
        }
    }
}

/// The audit stream: one JSON object per request.
#[derive(Clone, Debug, Default)]
pub struct AuditConfig {
    /// Where it goes.
    pub output: AuditOutput,
    /// Which requests it tells of.
    pub requests: AuditRequests,
    /// Size at which the file is renamed and begun anew; `None`: never.
    pub file_bytes_max: Option<ByteSize>,
}

/// Where the audit stream goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AuditOutput {
    /// Nowhere.
    #[default]
    Off,
    /// Standard output.
    Stdout,
    /// A file, appended to.
    File(PathBuf),
}

/// Which requests the audit stream tells of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AuditRequests {
    /// Every one.
    #[default]
    All,
    /// Those that were denied.
    Denied,
}

impl Value for AuditOutput {
    fn parse(text: &str) -> Result<Self, String> {
        Ok(match text.trim() {
            "" | "off" => Self::Off,
            "stdout" => Self::Stdout,
            path => Self::File(path.into()),
        })
    }

    fn show(&self) -> String {
        match self {
            Self::Off => "off".to_owned(),
            Self::Stdout => "stdout".to_owned(),
            Self::File(path) => path.display().to_string(),
        }
    }
}

impl Value for AuditRequests {
    fn parse(text: &str) -> Result<Self, String> {
        match text.trim() {
            "all" => Ok(Self::All),
            "denied" => Ok(Self::Denied),
            _ => Err("expected all or denied".into()),
        }
    }

    fn show(&self) -> String {
        match self {
            Self::All => "all".to_owned(),
            Self::Denied => "denied".to_owned(),
        }
    }
}

/// Stores for logs by the name under which buckets ask for them; no name twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogSinks(Vec<(String, StoreUrl)>);

impl LogSinks {
    /// Names with their stores.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &StoreUrl)> {
        self.0.iter().map(|(name, url)| (name.as_str(), url))
    }
}

impl Value for LogSinks {
    fn parse(text: &str) -> Result<Self, String> {
        let mut sinks: Vec<(String, StoreUrl)> = Vec::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (name, url) = part.split_once('=').ok_or_else(hint)?;
            if !is_bucket_name(name) {
                return Err(format!(
                    "{name} is no sink's name: 3 to 63 lower-case letters, digits and hyphens"
                ));
            }
            if sinks.iter().any(|(known, _)| known == name) {
                return Err(format!("the sink {name} is named twice"));
            }
            sinks.push((name.to_owned(), StoreUrl::parse(url)?));
        }
        Ok(Self(sinks))
    }

    fn show(&self) -> String {
        let parts = self.0.iter().map(|(name, url)| format!("{name}={}", url.show()));
        parts.collect::<Vec<_>>().join(",")
    }
}

fn hint() -> String {
    "expected name=STORE,..., for example audit=s3://bucket/prefix".into()
}

/// What PutBucketLogging accepts as a target's name.
fn is_bucket_name(name: &str) -> bool {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (3..=63).contains(&name.len())
        && name.bytes().all(fits)
        && !name.starts_with('-')
        && !name.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sinks_read_back() {
        let text = "audit=s3://bucket/prefix,local-logs=/srv/logs";
        let sinks = LogSinks::parse(text).unwrap();
        assert_eq!(sinks.show(), text);
        assert_eq!(sinks.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["audit", "local-logs"]);
        assert_eq!(LogSinks::parse("").unwrap(), LogSinks::default());
        for bad in ["audit", "A=/x", "ab=/x", "abc=", "abc=http://x", "abc=/x,abc=/y", "-ab=/x"] {
            assert!(LogSinks::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn outputs_read_back() {
        for (text, output) in [
            ("off", AuditOutput::Off),
            ("stdout", AuditOutput::Stdout),
            ("/var/log/audit.jsonl", AuditOutput::File("/var/log/audit.jsonl".into())),
        ] {
            assert_eq!(AuditOutput::parse(text).unwrap(), output);
            assert_eq!(output.show(), text);
        }
        assert_eq!(AuditRequests::parse("denied"), Ok(AuditRequests::Denied));
        assert!(AuditRequests::parse("some").is_err());
    }
}
