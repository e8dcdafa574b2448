//! Opening what the service runs on, with failures that say what to do.

use std::path::Path;

use vb_commit::{LocalOptions, Store, StoreError, StoreErrorKind};
use vb_engine::{Engine, Options};
use vb_identity::Roots;

use crate::config::{Config, StoreUrl};
use crate::failure::Failure;

/// The root credentials that the configuration names.
///
/// # Errors
/// None at all, or unusable ones.
pub(crate) fn credentials(config: &Config) -> Result<Roots, Failure> {
    let roots = Roots::from_env(|name| credential_setting(config, name))
        .map_err(|e| Failure::Credentials(e.to_string()))?;
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
        "VECTORBUCKET_ROOT_CREDENTIALS_FILE" => path(&config.root_credentials_file),
        _ => None,
    }
}

/// The store, opened and probed.
///
/// # Errors
/// A folder that is locked, unwritable or full; a store that fails the probe.
pub(crate) async fn store(config: &Config) -> Result<Store, Failure> {
    let store = match &config.store {
        StoreUrl::Memory => Store::memory(),
        StoreUrl::Local(dir) => {
            let options = LocalOptions { fsync: config.fsync };
            Store::local(dir, options).map_err(|e| Failure::Store(folder_advice(dir, &e)))?
        }
    };
    store.probe().await.map_err(|e| probe_failure(config, &e))?;
    Ok(store)
}

fn probe_failure(config: &Config, error: &StoreError) -> Failure {
    match (&config.store, error.kind()) {
        (StoreUrl::Local(dir), StoreErrorKind::Full | StoreErrorKind::Denied) => {
            Failure::Store(folder_advice(dir, error))
        }
        _ => Failure::Probe(error.to_string()),
    }
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
pub(crate) async fn engine(config: &Config, store: Store) -> Result<Engine, Failure> {
    if let Some(level) = config.kernels
        && vb_kernel::Kernels::at(level).is_none()
    {
        return Err(Failure::Configuration(format!("kernels: this CPU does not have {level}")));
    }
    Engine::open(store, options(config)).await.map_err(|e| Failure::Engine(e.to_string()))
}

fn options(config: &Config) -> Options {
    Options {
        memtable_bytes_max: usize::try_from(config.memtable_bytes()).unwrap_or(usize::MAX),
        flush_age: config.flush.age_max,
        level: config.kernels,
        threads: config.threads.map(|n| n as usize),
        buckets_max: config.quotas.buckets_max as usize,
        indexes_max: config.quotas.indexes_max as usize,
        ..Options::default()
    }
}
