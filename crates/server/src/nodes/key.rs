//! The secret that all nodes share.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use aws_lc_rs::hmac;

use crate::config::{CLUSTER_KEY_CHARS_MIN, NodeConfig};
use crate::failure::Failure;

/// Longest file that is read as a key.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// Permissions of a file that others than its owner have.
const OTHERS: u32 = 0o077;

/// Seals and checks what nodes tell each other. Never printed.
pub(crate) struct ClusterKey(hmac::Key);

impl ClusterKey {
    /// The configured key; `None` when there is none.
    ///
    /// # Errors
    /// [`Failure::Configuration`]: two sources, a file that cannot be read or that others can
    /// read, a key that is too short.
    pub(crate) fn configured(config: &NodeConfig) -> Result<Option<Self>, Failure> {
        let refuse = |text: String| Err(Failure::Configuration(format!("cluster_key: {text}")));
        let set = config.cluster_key.reveal();
        let text = match &config.cluster_key_file {
            None if set.is_empty() => return Ok(None),
            None => set.to_owned(),
            Some(_) if !set.is_empty() => {
                return refuse("set either cluster_key or cluster_key_file".into());
            }
            Some(path) => match read(path) {
                Ok(text) => text,
                Err(text) => return refuse(text),
            },
        };
        match text.trim() {
            key if key.len() >= CLUSTER_KEY_CHARS_MIN => Ok(Some(Self::new(key.as_bytes()))),
            _ => refuse(format!(
                "expected at least {CLUSTER_KEY_CHARS_MIN} characters, for example of \
                 `openssl rand -hex 32`"
            )),
        }
    }

    /// A key of these bytes.
    pub(super) fn new(secret: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// The authentication code of a text, in lowercase hex.
    pub(super) fn seal(&self, text: &[u8]) -> String {
        hex(hmac::sign(&self.0, text).as_ref())
    }

    /// Whether `code` is the text's, compared in constant time.
    pub(super) fn is_sealed(&self, text: &[u8], code: &str) -> bool {
        unhex::<32>(code).is_some_and(|code| hmac::verify(&self.0, text, &code).is_ok())
    }
}

fn read(path: &Path) -> Result<String, String> {
    let shown = path.display();
    let failed = |error: std::io::Error| format!("cannot read {shown}: {error}");
    let file = File::open(path).map_err(failed)?;
    if file.metadata().map_err(failed)?.mode() & OTHERS != 0 {
        return Err(format!("{shown} can be read by other users; run: chmod 600 {shown}"));
    }
    let mut text = String::new();
    file.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}

/// Bytes as lowercase hex digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).expect("four bits");
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// Exactly `N` bytes from hex digits of either case.
pub(super) fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let mut out = [0; N];
    if text.len() != 2 * N {
        return None;
    }
    for (byte, pair) in out.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;
    use std::os::unix::fs::PermissionsExt as _;

    fn refused(config: &NodeConfig) -> String {
        ClusterKey::configured(config).err().expect("refused").to_string()
    }

    #[test]
    fn a_key_comes_from_one_private_place_and_is_long() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, format!("{}\n", "k".repeat(32))).unwrap();
        let mode = |mode| {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        let config = NodeConfig { cluster_key_file: Some(path.clone()), ..NodeConfig::default() };
        mode(0o644);
        assert!(refused(&config).contains("chmod 600"));
        mode(0o600);
        let from_file = ClusterKey::configured(&config).unwrap().unwrap();
        let config = NodeConfig { cluster_key: Secret::new("k".repeat(32)), ..config };
        assert!(refused(&config).contains("either"));
        let config = NodeConfig { cluster_key_file: None, ..config };
        let from_setting = ClusterKey::configured(&config).unwrap().unwrap();
        assert_eq!(from_file.seal(b"x"), from_setting.seal(b"x"));
        let config = NodeConfig { cluster_key: Secret::new("k".repeat(31)), ..config };
        assert!(refused(&config).contains("at least 32"));
        assert!(ClusterKey::configured(&NodeConfig::default()).unwrap().is_none());
        let missing =
            NodeConfig { cluster_key_file: Some("/nonexistent".into()), ..NodeConfig::default() };
        assert!(refused(&missing).contains("/nonexistent"));
    }

    #[test]
    fn codes_are_those_of_the_text_and_the_key() {
        let (key, other) = (ClusterKey::new(b"one"), ClusterKey::new(b"two"));
        let code = key.seal(b"text");
        assert!(key.is_sealed(b"text", &code));
        assert!(!key.is_sealed(b"texT", &code) && !other.is_sealed(b"text", &code));
        assert!(!key.is_sealed(b"text", "") && !key.is_sealed(b"text", &code[1..]));
    }
}
