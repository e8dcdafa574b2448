//! Loading root credentials from the environment and from a file.
//!
//! Environment (one account):
//!
//! ```text
//! VECTORBUCKET_ACCOUNT_ID                 16 digits
//! VECTORBUCKET_ROOT_ACCESS_KEY_ID         and VECTORBUCKET_ROOT_ACCESS_KEY_SECRET
//! VECTORBUCKET_ROOT_ACCESS_KEY_ID_2       and VECTORBUCKET_ROOT_ACCESS_KEY_SECRET_2  (rotation)
//! VECTORBUCKET_ROOT_CREDENTIALS_FILE      path of the file below, in addition
//! ```
//!
//! A secret variable may end in `_FILE` instead and then names a file that holds the secret.
//!
//! File (any number of accounts), readable by its owner only:
//!
//! ```toml
//! [[account]]
//! id = "1234567890123456"
//! keys = [{ id = "LTAI...", secret = "..." }]   # up to two
//! ```

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::credential::is_access_key_id;
use crate::{AccessKey, AccountId, Secret};

const KEYS_PER_ACCOUNT_MAX: usize = 2;
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Why credentials could not be loaded. Never holds a secret.
#[derive(Debug)]
pub enum LoadError {
    /// A setting is missing, has the wrong form or contradicts another; the text says what to do.
    Setting(String),
    /// Other users of the machine can read or write a file that holds secrets.
    Exposed(PathBuf),
    /// A file cannot be read.
    File(PathBuf, io::Error),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoadError::Setting(text) => f.write_str(text),
            LoadError::Exposed(path) => {
                let path = path.display();
                write!(f, "{path} can be read by other users; run: chmod 600 {path}")
            }
            LoadError::File(path, cause) => write!(f, "cannot read {}: {cause}", path.display()),
        }
    }
}

impl std::error::Error for LoadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            LoadError::File(_, cause) => Some(cause),
            LoadError::Setting(_) | LoadError::Exposed(_) => None,
        }
    }
}

pub(crate) fn setting(text: impl Into<String>) -> LoadError {
    LoadError::Setting(text.into())
}

/// The root credentials of all accounts, by access key id. Immutable.
#[derive(Clone, Debug, Default)]
pub struct Roots {
    keys: HashMap<Box<str>, AccessKey>,
}

impl Roots {
    /// Reads the environment through `variable`, and the file it names, if any.
    ///
    /// Empty variables count as unset. No credentials at all is not an error: [`Roots::is_empty`].
    pub fn from_env(variable: impl Fn(&str) -> Option<String>) -> Result<Self, LoadError> {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let mut roots = match variable("VECTORBUCKET_ROOT_CREDENTIALS_FILE") {
            Some(path) => Self::from_file(Path::new(&path))?,
            None => Self::default(),
        };
        let account = variable("VECTORBUCKET_ACCOUNT_ID");
        for suffix in ["", "_2"] {
            if let Some((id, secret)) = env_pair(&variable, suffix)? {
                let text = account.as_deref().ok_or_else(|| {
                    setting("VECTORBUCKET_ACCOUNT_ID must be set together with a root access key")
                })?;
                roots.insert(access_key(text, &id, &secret)?)?;
            }
        }
        Ok(roots)
    }

    /// Reads a TOML file; refuses one that its group or others can access.
    pub fn from_file(path: &Path) -> Result<Self, LoadError> {
        let text = read_secret_file(path)?;
        Self::from_toml(&text).map_err(|error| setting(format!("{}: {error}", path.display())))
    }

    /// Reads the text of such a file.
    pub fn from_toml(text: &str) -> Result<Self, LoadError> {
        // The parser's own message would quote the line, which may hold a secret.
        let file: File = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(0, |span| text[..span.start].lines().count().max(1));
            setting(format!("not a credentials file: line {line} is malformed"))
        })?;
        let mut roots = Self::default();
        for account in &file.account {
            for key in &account.keys {
                roots.insert(access_key(&account.id, &key.id, &key.secret)?)?;
            }
        }
        Ok(roots)
    }

    /// Adds a key. Errors: the id is taken, or the account has two keys already.
    pub fn insert(&mut self, key: AccessKey) -> Result<(), LoadError> {
        if self.keys.contains_key(&key.id) {
            return Err(setting(format!("the access key id {} is configured twice", key.id)));
        }
        if self.of_account(&key.account).count() == KEYS_PER_ACCOUNT_MAX {
            let account = key.account;
            return Err(setting(format!("account {account} has more than two access keys")));
        }
        self.keys.insert(key.id.clone(), key);
        Ok(())
    }

    /// The key of an id.
    pub fn lookup(&self, access_key_id: &str) -> Option<&AccessKey> {
        self.keys.get(access_key_id)
    }

    /// Whether an account is known.
    pub fn has_account(&self, account: &AccountId) -> bool {
        self.of_account(account).next().is_some()
    }

    /// All keys, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &AccessKey> {
        self.keys.values()
    }

    /// Whether there are no credentials.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    fn of_account(&self, account: &AccountId) -> impl Iterator<Item = &AccessKey> {
        self.keys.values().filter(move |key| key.account == *account)
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    account: Vec<FileAccount>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileAccount {
    id: String,
    #[serde(default)]
    keys: Vec<FileKey>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileKey {
    id: String,
    secret: String,
}

/// Id and secret of one pair of variables; both or neither must be set.
fn env_pair(
    variable: &impl Fn(&str) -> Option<String>,
    suffix: &str,
) -> Result<Option<(String, String)>, LoadError> {
    let id_name = format!("VECTORBUCKET_ROOT_ACCESS_KEY_ID{suffix}");
    let secret_name = format!("VECTORBUCKET_ROOT_ACCESS_KEY_SECRET{suffix}");
    let file = variable(&format!("{secret_name}_FILE"));
    let secret = match (variable(&secret_name), file) {
        (Some(_), Some(_)) => {
            return Err(setting(format!("set {secret_name} or {secret_name}_FILE, not both")));
        }
        (Some(secret), None) => Some(secret),
        (None, Some(path)) => Some(read_secret_file(Path::new(&path))?.trim_end().to_owned()),
        (None, None) => None,
    };
    match (variable(&id_name), secret) {
        (Some(id), Some(secret)) => Ok(Some((id, secret))),
        (None, None) => Ok(None),
        _ => Err(setting(format!("{id_name} and {secret_name} must be set together"))),
    }
}

fn access_key(account: &str, id: &str, secret: &str) -> Result<AccessKey, LoadError> {
    let account = AccountId::parse(account)
        .ok_or_else(|| setting(format!("the account id {account:?} must have 16 digits")))?;
    if !is_access_key_id(id) {
        return Err(setting(format!(
            "the access key id {id:?} must have 1 to 128 characters of 0-9A-Za-z . _ ="
        )));
    }
    let secret = Secret::parse(secret).ok_or_else(|| {
        setting(format!("the secret of {id} must have 8 to 128 printable ASCII characters"))
    })?;
    Ok(AccessKey { id: id.into(), secret, account })
}

pub(crate) fn read_secret_file(path: &Path) -> Result<String, LoadError> {
    let fail = |cause| LoadError::File(path.to_owned(), cause);
    // The checks are made on the opened file, not on a name that may change meanwhile.
    let mut file = std::fs::File::open(path).map_err(fail)?;
    let meta = file.metadata().map_err(fail)?;
    if is_exposed(&meta) {
        return Err(LoadError::Exposed(path.to_owned()));
    }
    if meta.len() > FILE_BYTES_MAX {
        return Err(fail(io::Error::new(io::ErrorKind::FileTooLarge, "more than 1 MB")));
    }
    let mut text = String::new();
    io::Read::read_to_string(&mut file, &mut text).map_err(fail)?;
    Ok(text)
}

#[cfg(unix)]
fn is_exposed(meta: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    meta.permissions().mode() & 0o077 != 0
}

#[cfg(not(unix))]
fn is_exposed(_meta: &std::fs::Metadata) -> bool {
    false
}

#[cfg(test)]
#[path = "load_tests.rs"]
mod tests;
