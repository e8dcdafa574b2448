//! How one setting is read from text and shown again.
//!
//! The same text form serves TOML, environment and flags, so that a value means the same wherever
//! it comes from. Invariant: `parse(show(v)) == v` for every value that is not secret.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use vb_commit::RemoteOptions;
use vb_kernel::Level;

/// A value that a setting can hold.
pub(crate) trait Value: Sized {
    /// Reads the value; the error says what would be accepted.
    fn parse(text: &str) -> Result<Self, String>;
    /// The text that reads back as this value. Secrets show as `***`.
    fn show(&self) -> String;
}

/// A number of bytes, written `1048576`, `512KiB`, `64MiB` or `2GiB` (`KB`, `MB`, `GB` mean the same).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

impl ByteSize {
    /// `n` mebibytes.
    #[must_use]
    pub const fn mib(n: u64) -> Self {
        Self(n << 20)
    }

    /// The number as an index-sized integer, saturating.
    #[must_use]
    pub fn usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

/// Text that is never printed: a secret.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself, for the one place that signs with it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

/// Where objects live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreUrl {
    /// A folder of this machine.
    Local(PathBuf),
    /// Nothing survives the process.
    Memory,
    /// A bucket of an object store that other machines reach, too.
    Remote(RemoteOptions),
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Human on a terminal, JSON otherwise.
    Auto,
    /// One readable line per event.
    Human,
    /// One JSON object per event.
    Json,
}

impl Value for String {
    fn parse(text: &str) -> Result<Self, String> {
        Ok(text.trim().to_owned())
    }
    fn show(&self) -> String {
        self.clone()
    }
}

impl Value for Secret {
    fn parse(text: &str) -> Result<Self, String> {
        Ok(Self(text.trim().to_owned()))
    }
    fn show(&self) -> String {
        if self.0.is_empty() { String::new() } else { "***".to_owned() }
    }
}

impl Value for SocketAddr {
    fn parse(text: &str) -> Result<Self, String> {
        text.trim().parse().map_err(|_| "expected ADDRESS:PORT, for example 127.0.0.1:9100".into())
    }
    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for bool {
    fn parse(text: &str) -> Result<Self, String> {
        match text.trim() {
            "true" | "1" | "on" | "yes" => Ok(true),
            "false" | "0" | "off" | "no" => Ok(false),
            _ => Err("expected true or false".into()),
        }
    }
    fn show(&self) -> String {
        ToString::to_string(self)
    }
}

impl Value for u32 {
    fn parse(text: &str) -> Result<Self, String> {
        text.trim().parse().map_err(|_| "expected a whole number".into())
    }
    fn show(&self) -> String {
        ToString::to_string(self)
    }
}

impl Value for u64 {
    fn parse(text: &str) -> Result<Self, String> {
        text.trim().parse().map_err(|_| "expected a whole number".into())
    }
    fn show(&self) -> String {
        ToString::to_string(self)
    }
}

impl Value for PathBuf {
    fn parse(text: &str) -> Result<Self, String> {
        match text.trim() {
            "" => Err("expected a path".into()),
            path => Ok(Self::from(path)),
        }
    }
    fn show(&self) -> String {
        self.display().to_string()
    }
}

impl Value for Vec<String> {
    fn parse(text: &str) -> Result<Self, String> {
        let parts = text.split(',').map(str::trim).filter(|p| !p.is_empty());
        Ok(parts.map(str::to_owned).collect())
    }
    fn show(&self) -> String {
        self.join(",")
    }
}

/// An empty text means "not set"; what that stands for is said by the setting.
impl<T: Value> Value for Option<T> {
    fn parse(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() { Ok(None) } else { T::parse(text).map(Some) }
    }
    fn show(&self) -> String {
        self.as_ref().map(T::show).unwrap_or_default()
    }
}

const SIZE_UNITS: [(&str, u32); 10] = [
    ("GIB", 30),
    ("MIB", 20),
    ("KIB", 10),
    ("GB", 30),
    ("MB", 20),
    ("KB", 10),
    ("G", 30),
    ("M", 20),
    ("K", 10),
    ("B", 0),
];

impl Value for ByteSize {
    fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim().to_ascii_uppercase();
        let unit = SIZE_UNITS.iter().find(|(name, _)| text.ends_with(name));
        let (number, shift) = unit
            .map_or((text.as_str(), 0), |(name, shift)| (&text[..text.len() - name.len()], *shift));
        let number: u64 = number.trim().parse().map_err(|_| size_hint())?;
        number.checked_mul(1 << shift).map(Self).ok_or_else(size_hint)
    }
    fn show(&self) -> String {
        match self.0 {
            0 => "0".to_owned(),
            n if n % (1 << 30) == 0 => format!("{}GiB", n >> 30),
            n if n % (1 << 20) == 0 => format!("{}MiB", n >> 20),
            n if n % (1 << 10) == 0 => format!("{}KiB", n >> 10),
            n => n.to_string(),
        }
    }
}

fn size_hint() -> String {
    "expected a size such as 1048576, 512KiB, 64MiB or 2GiB".into()
}

impl Value for Duration {
    fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let number: u64 = text[..split].parse().map_err(|_| duration_hint())?;
        let scale_ms = match text[split..].trim() {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return Err(duration_hint()),
        };
        number.checked_mul(scale_ms).map(Self::from_millis).ok_or_else(duration_hint)
    }
    fn show(&self) -> String {
        match self.as_millis() {
            ms if ms % 1_000 == 0 => format!("{}s", ms / 1_000),
            ms => format!("{ms}ms"),
        }
    }
}

fn duration_hint() -> String {
    "expected a time such as 500ms, 30s, 5m or 1h".into()
}

impl Value for StoreUrl {
    fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        match text.split_once(':') {
            _ if text.is_empty() => Err(store_hint()),
            Some(("memory", "" | "//")) => Ok(Self::Memory),
            Some(("file", path)) => local_url(path),
            Some(("s3" | "oss" | "gs" | "az", rest)) if rest.starts_with("//") => {
                RemoteOptions::parse(text).map(Self::Remote)
            }
            Some((_, rest)) if rest.starts_with("//") => Err(store_hint()),
            _ => Ok(Self::Local(PathBuf::from(text))),
        }
    }
    fn show(&self) -> String {
        match self {
            Self::Local(path) => path.display().to_string(),
            Self::Memory => "memory:".to_owned(),
            Self::Remote(options) => options.to_string(),
        }
    }
}

fn local_url(after_scheme: &str) -> Result<StoreUrl, String> {
    match after_scheme.strip_prefix("//") {
        Some(path) if path.starts_with('/') => Ok(StoreUrl::Local(PathBuf::from(path))),
        _ => {
            Err("a file URL holds an absolute path, for example file:///var/lib/vectorbucket"
                .into())
        }
    }
}

fn store_hint() -> String {
    "expected a folder such as ./data, file:///dir, s3://bucket/prefix, gs://, az://, oss://, or \
     memory:"
        .into()
}

impl Value for LogFormat {
    fn parse(text: &str) -> Result<Self, String> {
        match text.trim() {
            "auto" => Ok(Self::Auto),
            "human" => Ok(Self::Human),
            "json" => Ok(Self::Json),
            _ => Err("expected auto, human or json".into()),
        }
    }
    fn show(&self) -> String {
        match self {
            Self::Auto => "auto".into(),
            Self::Human => "human".into(),
            Self::Json => "json".into(),
        }
    }
}

impl Value for Level {
    fn parse(text: &str) -> Result<Self, String> {
        text.trim().parse().map_err(|_| "expected scalar, avx2 or avx512".into())
    }
    fn show(&self) -> String {
        ToString::to_string(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reads_back<T: Value + PartialEq + std::fmt::Debug>(text: &str, expected: &T) {
        let value = T::parse(text).unwrap();
        assert_eq!(&value, expected, "{text}");
        assert_eq!(&T::parse(&value.show()).unwrap(), expected, "{text} shown");
    }

    #[test]
    fn sizes_read_back() {
        for (text, bytes) in
            [("0", 0), ("17", 17), ("1KiB", 1024), ("64 MB", 64 << 20), ("2g", 2 << 30)]
        {
            reads_back(text, &ByteSize(bytes));
        }
        for bad in ["", "MiB", "-1", "1.5GiB", "99999999999GiB", "1TBX"] {
            assert!(ByteSize::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn durations_read_back() {
        for (text, ms) in [("250ms", 250), ("30s", 30_000), ("5m", 300_000), ("1h", 3_600_000)] {
            reads_back(text, &Duration::from_millis(ms));
        }
        for bad in ["", "5", "s", "-1s", "1d", "99999999999999999999h"] {
            assert!(Duration::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn stores_read_back() {
        reads_back("./data", &StoreUrl::Local("./data".into()));
        reads_back("/var/lib/x", &StoreUrl::Local("/var/lib/x".into()));
        assert_eq!(StoreUrl::parse("file:///srv").unwrap(), StoreUrl::Local("/srv".into()));
        reads_back("memory:", &StoreUrl::Memory);
        for url in ["s3://bucket/prefix", "gs://bucket", "az://container/a/b", "oss://bucket/x"] {
            reads_back(url, &StoreUrl::Remote(RemoteOptions::parse(url).unwrap()));
        }
        for bad in ["", "file://relative", "s3://", "s3://bucket//x", "http://x"] {
            assert!(StoreUrl::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let secret = Secret::parse("hush").unwrap();
        assert_eq!((secret.show().as_str(), format!("{secret:?}").as_str()), ("***", "***"));
        assert_eq!(secret.reveal(), "hush");
    }
}
