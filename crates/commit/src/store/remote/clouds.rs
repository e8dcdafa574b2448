//! The settings of `object_store`'s clients: S3, GCS and Azure.

use std::time::Duration;

use object_store::aws::{AmazonS3Builder, S3ConditionalPut};
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::{ClientOptions, RetryConfig};

use super::transport::Connector;
use super::{RemoteOptions, check_endpoint};
use crate::error::StoreError;

/// Reads an environment variable that is set and not empty.
pub(super) type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(3);

/// Idle connections are closed before stores close them (20 s is the least that is known): a
/// request on a connection that is being closed has no answer.
const IDLE: Duration = Duration::from_secs(15);

/// Options of the HTTP client. Times of requests are the transport's. Plain HTTP needs no
/// certificates, and a machine without any (a small container) could not make the client.
pub(super) fn client(plain_http: bool) -> ClientOptions {
    ClientOptions::new()
        .with_allow_http(plain_http)
        .with_no_system_certificates(plain_http)
        .with_timeout_disabled()
        .with_connect_timeout(CONNECT)
        .with_pool_idle_timeout(IDLE)
}

/// Repetitions are the transport's.
fn no_retries() -> RetryConfig {
    RetryConfig { max_retries: 0, ..RetryConfig::default() }
}

pub(super) fn s3(
    options: &RemoteOptions,
    connector: Connector,
    env: Env<'_>,
) -> Result<AmazonS3Builder, StoreError> {
    let names = ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"];
    let endpoint = names.into_iter().find_map(env);
    let plain =
        endpoint.as_deref().map(|endpoint| check_endpoint(options, endpoint)).transpose()?;
    let builder = AmazonS3Builder::from_env()
        .with_bucket_name(&options.bucket)
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .with_client_options(client(plain.unwrap_or(false)))
        .with_retry(no_retries())
        .with_http_connector(connector);
    Ok(match endpoint {
        Some(endpoint) => builder.with_endpoint(endpoint),
        None => builder,
    })
}

pub(super) fn gcs(
    options: &RemoteOptions,
    connector: Connector,
    env: Env<'_>,
) -> Result<GoogleCloudStorageBuilder, StoreError> {
    let emulator = env("STORAGE_EMULATOR_HOST").map(|host| match host.contains("://") {
        true => host,
        false => format!("http://{host}"),
    });
    let endpoint = emulator.clone().or_else(|| env("GOOGLE_BASE_URL"));
    let plain =
        endpoint.as_deref().map(|endpoint| check_endpoint(options, endpoint)).transpose()?;
    let builder = GoogleCloudStorageBuilder::from_env()
        .with_bucket_name(&options.bucket)
        .with_client_options(client(plain.unwrap_or(false)))
        .with_retry(no_retries())
        .with_http_connector(connector);
    let builder = match endpoint {
        Some(endpoint) => builder.with_base_url(endpoint.trim_end_matches('/')),
        None => builder,
    };
    // Google's own libraries send no credentials to an emulator; without any this client would ask
    // the machine's metadata service for some.
    Ok(match emulator {
        Some(_) => builder.with_bearer_token("emulator"),
        None => builder,
    })
}

pub(super) fn azure(
    options: &RemoteOptions,
    connector: Connector,
    env: Env<'_>,
) -> Result<MicrosoftAzureBuilder, StoreError> {
    let emulator = env("AZURE_STORAGE_USE_EMULATOR").is_some_and(|value| value == "true");
    let endpoint = match emulator {
        true => env("AZURITE_BLOB_STORAGE_URL").or(Some("http://127.0.0.1:10000".into())),
        false => ["AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"].into_iter().find_map(env),
    };
    let plain =
        endpoint.as_deref().map(|endpoint| check_endpoint(options, endpoint)).transpose()?;
    let builder = MicrosoftAzureBuilder::from_env()
        .with_container_name(&options.bucket)
        .with_use_emulator(emulator)
        .with_client_options(client(plain.unwrap_or(false)))
        .with_retry(no_retries())
        .with_http_connector(connector);
    Ok(match endpoint.filter(|_| !emulator) {
        Some(endpoint) => builder.with_endpoint(endpoint),
        None => builder,
    })
}
