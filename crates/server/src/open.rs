//! Opening what the service runs on, with failures that say what to do.

use std::path::Path;
use std::sync::Arc;

use vb_commit::{LocalOptions, RemoteOptions, Store, StoreError, StoreErrorKind};
use vb_engine::{Background, DiskCache, Engine, Options, Spread};
use vb_identity::{Account, IdentityStore, KeyRing, Roots, Snapshot};

use crate::admin::Tokens;
use crate::config::{Config, ReadConsistency, StoreUrl};
use crate::failure::Failure;
use crate::nodes::Nodes;

/// The root credentials that the configuration names.
///
/// # Errors
/// None at all, or unusable ones.
pub(crate) fn credentials(config: &Config) -> Result<Roots, Failure> {
    let roots = roots(config)?;
    if roots.is_empty() {
        return Err(Failure::Credentials(
            "none are set; set VECTORBUCKET_ACCOUNT_ID, VECTORBUCKET_ROOT_ACCESS_KEY_ID and \
             VECTORBUCKET_ROOT_ACCESS_KEY_SECRET, or root_credentials_file, or try \
             `vectorbucket serve --dev`"
                .into(),
        ));
    }
    Ok(roots)
}

/// The root credentials that the configuration names, perhaps none.
///
/// # Errors
/// Unusable ones.
pub(crate) fn roots(config: &Config) -> Result<Roots, Failure> {
    Roots::from_env(|name| credential_setting(config, name))
        .map_err(|e| Failure::Credentials(e.to_string()))
}

/// The keys that secrets are sealed with, if any are configured.
///
/// # Errors
/// Keys that cannot be read.
pub(crate) fn key_ring(config: &Config) -> Result<Option<KeyRing>, Failure> {
    KeyRing::from_env(|name| credential_setting(config, name))
        .map_err(|e| Failure::Credentials(e.to_string()))
}

/// The tokens of the admin API, perhaps none.
///
/// # Errors
/// Tokens that cannot be read, more than two, or ones that could be guessed.
pub(crate) fn admin_tokens(config: &Config) -> Result<Tokens, Failure> {
    let text = vb_identity::secret_text(
        |name| credential_setting(config, name),
        "VECTORBUCKET_ADMIN_TOKEN",
    );
    let text = text.map_err(|e| Failure::Credentials(e.to_string()))?;
    match text {
        None => Ok(Tokens::default()),
        Some(text) => Tokens::parse(&text).map_err(Failure::Credentials),
    }
}

/// The identities over an opened store. Nothing is written before somebody changes them.
///
/// # Errors
/// Contents that cannot be read.
pub(crate) async fn identities(
    store: &Store,
    roots: Roots,
    ring: Option<KeyRing>,
) -> Result<IdentityStore, Failure> {
    let opened = IdentityStore::open(store, roots, ring, vb_identity::Options::default()).await;
    opened.map_err(|e| Failure::Engine(format!("identities: {e}")))
}

/// Whether the ring fits what is stored. If it opens some of the access keys, or there is none, the
/// others are served; the log, a metric and `/readyz` tell of those that are not.
///
/// # Errors
/// A ring that opens none of them is another store's: what would be sealed with it, nodes with the
/// right one could not open.
pub(crate) fn check_ring(snapshot: &Snapshot, has_ring: bool) -> Result<(), Failure> {
    let shut_out = snapshot.unavailable().count();
    let Some((example, reason)) = snapshot.unavailable().next() else { return Ok(()) };
    let keys: usize = snapshot.accounts().map(|(_, account)| keys_of(account)).sum();
    if has_ring && shut_out == keys {
        return Err(Failure::Credentials(format!(
            "the key ring opens none of the {keys} access keys in the store ({example}: {reason}); \
             it is another one's: set the ring that the other nodes have, or, if it is lost, start \
             without one and delete the keys"
        )));
    }
    Ok(())
}

fn keys_of(account: &Account) -> usize {
    account.users.values().map(|user| user.keys.len()).sum()
}

/// The setting behind a variable name, wherever it was set.
fn credential_setting(config: &Config, name: &str) -> Option<String> {
    let path = |path: &Option<std::path::PathBuf>| Some(path.as_ref()?.display().to_string());
    match name {
        "VECTORBUCKET_ACCOUNT_ID" => Some(config.account_id.clone()),
        "VECTORBUCKET_ROOT_ACCESS_KEY_ID" => Some(config.root_access_key_id.clone()),
        "VECTORBUCKET_ROOT_ACCESS_KEY_SECRET" => {
            Some(config.root_access_key_secret.reveal().to_owned())
        }
        "VECTORBUCKET_ROOT_ACCESS_KEY_SECRET_FILE" => path(&config.root_access_key_secret_file),
        "VECTORBUCKET_ROOT_ACCESS_KEY_ID_2" => Some(config.root_access_key_id_2.clone()),
        "VECTORBUCKET_ROOT_ACCESS_KEY_SECRET_2" => {
            Some(config.root_access_key_secret_2.reveal().to_owned())
        }
        "VECTORBUCKET_ROOT_ACCESS_KEY_SECRET_2_FILE" => path(&config.root_access_key_secret_2_file),
        "VECTORBUCKET_KEY_RING" => Some(config.key_ring.reveal().to_owned()),
        "VECTORBUCKET_KEY_RING_FILE" => path(&config.key_ring_file),
        "VECTORBUCKET_KEY_RING_COMMAND" => Some(config.key_ring_command.clone()),
        "VECTORBUCKET_ADMIN_TOKEN" => Some(config.admin_token.reveal().to_owned()),
        "VECTORBUCKET_ADMIN_TOKEN_FILE" => path(&config.admin_token_file),
        "VECTORBUCKET_ADMIN_TOKEN_COMMAND" => Some(config.admin_token_command.clone()),
        "VECTORBUCKET_ROOT_CREDENTIALS_FILE" => path(&config.root_credentials_file),
        _ => None,
    }
}

/// The store of the configuration, opened and probed.
///
/// # Errors
/// As [`store_at`].
pub(crate) async fn store(config: &Config) -> Result<Store, Failure> {
    store_at(&config.store, config.fsync).await
}

/// A store, opened and probed.
///
/// # Errors
/// As [`connect`]; a bucket that is not found, refuses the keys or cannot be reached; a store that
/// fails the probe.
pub(crate) async fn store_at(url: &StoreUrl, fsync: bool) -> Result<Store, Failure> {
    let store = connect(url, fsync)?;
    store.probe().await.map_err(|e| probe_failure(url, &e))?;
    Ok(store)
}

/// A store, opened and, if it is a folder, locked; not probed, which is enough for reading.
///
/// # Errors
/// A folder that is locked, unwritable or full; settings of a bucket that cannot be right.
pub(crate) fn connect(url: &StoreUrl, fsync: bool) -> Result<Store, Failure> {
    match url {
        StoreUrl::Memory => Ok(Store::memory()),
        StoreUrl::Local(dir) => {
            let options = LocalOptions { fsync };
            Store::local(dir, options).map_err(|e| Failure::Store(folder_advice(dir, &e)))
        }
        StoreUrl::Remote(options) => {
            Store::open(options).map_err(|e| Failure::Store(bucket_advice(options, &e)))
        }
    }
}

fn probe_failure(url: &StoreUrl, error: &StoreError) -> Failure {
    match (url, error.kind()) {
        (StoreUrl::Local(dir), StoreErrorKind::Full | StoreErrorKind::Denied) => {
            Failure::Store(folder_advice(dir, error))
        }
        (StoreUrl::Remote(options), StoreErrorKind::Corrupt) => {
            Failure::Probe(format!("{error}; {options} cannot be used, choose another store"))
        }
        (StoreUrl::Remote(options), _) => Failure::Store(bucket_advice(options, error)),
        (StoreUrl::Local(_) | StoreUrl::Memory, _) => Failure::Probe(error.to_string()),
    }
}

/// One line about a bucket that cannot be used, with what to do next.
fn bucket_advice(options: &RemoteOptions, error: &StoreError) -> String {
    let (bucket, variables) = (&options.bucket, options.cloud.variables());
    match error.kind() {
        StoreErrorKind::NotFound => format!(
            "{options}: there is no bucket {bucket}; create it, or check --store and {variables}"
        ),
        StoreErrorKind::Denied => {
            format!("{options}: access is denied ({}); check {variables}", cause(error))
        }
        StoreErrorKind::Full => {
            format!("{options}: the store has no room left ({}); raise its quota", cause(error))
        }
        StoreErrorKind::Unavailable => format!(
            "{options} cannot be reached ({}); check the network, the service and {variables}",
            cause(error)
        ),
        StoreErrorKind::Invalid
        | StoreErrorKind::AlreadyExists
        | StoreErrorKind::Locked
        | StoreErrorKind::Corrupt => {
            format!("{options} cannot be used ({}); check --store and {variables}", cause(error))
        }
    }
}

/// The innermost cause, without the layers that repeat each other around it.
fn cause(error: &StoreError) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string().replace(char::is_control, " ")
}

fn folder_advice(dir: &Path, error: &StoreError) -> String {
    let folder = dir.display();
    match error.kind() {
        StoreErrorKind::Locked => format!(
            "{folder} is in use by another vectorbucket process; stop it, or set --store to \
             another folder"
        ),
        StoreErrorKind::Denied => format!(
            "{folder} cannot be written by this user ({error}); fix its owner and mode, or set \
             --store to another folder"
        ),
        StoreErrorKind::Full => format!("the disk of {folder} is full ({error}); free some space"),
        StoreErrorKind::AlreadyExists
        | StoreErrorKind::NotFound
        | StoreErrorKind::Unavailable
        | StoreErrorKind::Corrupt
        | StoreErrorKind::Invalid => format!("{folder} cannot be opened: {error}"),
    }
}

/// The engine over an opened store.
///
/// # Errors
/// Contents that cannot be read, a kernel level that this CPU lacks.
pub(crate) async fn engine(
    config: &Config,
    store: Store,
    nodes: Option<&Arc<Nodes>>,
) -> Result<Engine, Failure> {
    if let Some(level) = config.kernels
        && vb_kernel::Kernels::at(level).is_none()
    {
        return Err(Failure::Configuration(format!("kernels: this CPU does not have {level}")));
    }
    let spread = nodes.map(|nodes| Arc::clone(nodes) as Arc<dyn Spread>);
    let options = Options { spread, ..options(config) };
    Engine::open(store, options).await.map_err(|e| Failure::Engine(e.to_string()))
}

fn options(config: &Config) -> Options {
    Options {
        memtable_bytes_max: usize::try_from(config.memtable_bytes()).unwrap_or(usize::MAX),
        flush_age: config.flush.age_max,
        memory_limit: usize::try_from(config.memory_bytes()).unwrap_or(usize::MAX),
        cache: config
            .cache_dir
            .clone()
            .map(|dir| DiskCache { dir, bytes_max: config.cache_bytes_max.0 }),
        read_consistency: match config.read_consistency {
            ReadConsistency::Strong => vb_engine::ReadConsistency::Strong,
            ReadConsistency::Bounded(age) => vb_engine::ReadConsistency::Bounded(age),
        },
        collect_grace: config.collect_grace,
        background: Background {
            jobs_max: config.background.jobs_max as usize,
            merges_max: config.background.merges_max as usize,
            bytes_per_second: config.background.bytes_per_second.map(|rate| rate.0),
        },
        level: config.kernels,
        threads: config.threads.map(|n| n as usize),
        buckets_max: config.quotas.buckets_max as usize,
        indexes_max: config.quotas.indexes_max as usize,
        ..Options::default()
    }
}
