//! Object stores of other services: S3 and what speaks its language, GCS, Azure, Alibaba OSS.
//!
//! ```text
//! Store -> ObjectStore of the cloud -> Transport: deadlines, retries, hedged reads, counters -> HTTP
//! ```
//!
//! The clients are `object_store`'s, with their own retries off, and one of ours for OSS. All send
//! their requests through one [`transport`], so that what is counted and what is repeated is the
//! same for each. Credentials come from the environment variables that each cloud's own SDK reads.

mod clouds;
mod oss;
mod refusal;
mod transport;

use std::fmt;
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::path::Path;
use object_store::prefix::PrefixStore;

pub(super) use self::oss::OssStore;
pub(super) use self::refusal::judge;
use self::transport::Connector;
use super::count::Counters;
use crate::error::{StoreError, StoreErrorKind};

/// A service that keeps objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cloud {
    /// Amazon S3, or any service that speaks its protocol with `If-None-Match: *`.
    S3,
    /// Google Cloud Storage.
    Gcs,
    /// Azure Blob Storage; the bucket is the container.
    Azure,
    /// Alibaba Cloud OSS.
    Oss,
}

/// Where in which service the objects lie: `s3://bucket/prefix`, `gs://`, `az://` or `oss://`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteOptions {
    /// The service.
    pub cloud: Cloud,
    /// The bucket; on Azure the container.
    pub bucket: String,
    /// Every object's path begins with it and a `/`; empty for the whole bucket.
    pub prefix: String,
}

impl Cloud {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::S3, Self::Gcs, Self::Azure, Self::Oss];

    /// The scheme of URLs.
    pub fn scheme(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Gcs => "gs",
            Self::Azure => "az",
            Self::Oss => "oss",
        }
    }

    /// The environment variables to look at if a bucket is not found or access is denied.
    pub fn variables(self) -> &'static str {
        match self {
            Self::S3 => "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION and AWS_ENDPOINT_URL",
            Self::Gcs => "GOOGLE_APPLICATION_CREDENTIALS and STORAGE_EMULATOR_HOST",
            Self::Azure => "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
            Self::Oss => "OSS_ACCESS_KEY_ID, OSS_ACCESS_KEY_SECRET, OSS_REGION and OSS_ENDPOINT",
        }
    }
}

impl RemoteOptions {
    /// Reads `scheme://bucket` or `scheme://bucket/prefix`; a `/` at the end is dropped.
    ///
    /// # Errors
    ///
    /// One line that says what was expected.
    pub fn parse(url: &str) -> Result<Self, String> {
        let expected =
            "expected s3://bucket/prefix, gs://, az:// or oss://, the prefix is optional";
        let (scheme, rest) = url.split_once("://").ok_or(expected)?;
        let cloud = Cloud::ALL.into_iter().find(|cloud| cloud.scheme() == scheme);
        let cloud = cloud.ok_or(expected)?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
        let is_name = |c: char| c.is_ascii_alphanumeric() || "-._$".contains(c);
        if bucket.is_empty() || !bucket.chars().all(is_name) {
            return Err(format!("{bucket:?} is no bucket name; {expected}"));
        }
        if Path::parse(prefix).map_or(true, |path| path.as_ref() != prefix) {
            return Err(format!("{prefix:?} is no prefix: no empty, . or .. parts, please"));
        }
        Ok(Self { cloud, bucket: bucket.to_owned(), prefix: prefix.to_owned() })
    }
}

impl fmt::Display for RemoteOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.cloud.scheme(), self.bucket)?;
        if self.prefix.is_empty() { Ok(()) } else { write!(f, "/{}", self.prefix) }
    }
}

/// An opened service: its client, and again by its own type if it needs a check at start.
pub(super) struct Remote {
    pub(super) objects: Arc<dyn ObjectStore>,
    pub(super) oss: Option<Arc<OssStore>>,
}

/// Makes the client. Sends nothing.
///
/// # Errors
///
/// `Invalid` for settings that cannot be right, `Denied` for missing credentials.
pub(super) fn open(
    options: &RemoteOptions,
    counters: &Arc<Counters>,
) -> Result<Remote, StoreError> {
    let connector = Connector::new(Arc::clone(counters));
    let env = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let invalid = |error: object_store::Error| {
        StoreError::new(StoreErrorKind::Invalid, options.to_string()).with_source(error)
    };
    let plain = |objects| Remote { objects, oss: None };
    match options.cloud {
        Cloud::S3 => {
            let store = clouds::s3(options, connector, &env)?.build().map_err(invalid)?;
            Ok(plain(under(&options.prefix, store)))
        }
        Cloud::Gcs => {
            let store = clouds::gcs(options, connector, &env)?.build().map_err(invalid)?;
            Ok(plain(under(&options.prefix, store)))
        }
        Cloud::Azure => {
            let store = clouds::azure(options, connector, &env)?.build().map_err(invalid)?;
            Ok(plain(under(&options.prefix, store)))
        }
        Cloud::Oss => {
            let store = Arc::new(OssStore::open(options, &connector, &env)?);
            let objects = under(&options.prefix, Arc::clone(&store));
            Ok(Remote { objects, oss: Some(store) })
        }
    }
}

fn under<T: ObjectStore>(prefix: &str, store: T) -> Arc<dyn ObjectStore> {
    match prefix {
        "" => Arc::new(store),
        prefix => Arc::new(PrefixStore::new(store, prefix)),
    }
}

/// A setting that cannot be right.
fn wrong(options: &RemoteOptions, why: impl Into<String>) -> StoreError {
    StoreError::new(StoreErrorKind::Invalid, options.to_string()).with_source(why.into())
}

/// Checks an endpoint: `https://host`, or `http://` and an address of this machine. Returns
/// whether it is plain HTTP.
fn check_endpoint(options: &RemoteOptions, endpoint: &str) -> Result<bool, StoreError> {
    let (scheme, rest) = endpoint.split_once("://").unwrap_or(("", endpoint));
    let authority = rest.split('/').next().unwrap_or_default();
    match scheme {
        "https" if !authority.is_empty() => Ok(false),
        "http" if is_loopback(authority) => Ok(true),
        "http" => Err(wrong(
            options,
            format!(
                "{endpoint} sends keys and data in the clear: use https, or a loopback address"
            ),
        )),
        _ => Err(wrong(options, format!("{endpoint:?} is no endpoint, https://host is expected"))),
    }
}

fn is_loopback(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    let address = host.parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests;
