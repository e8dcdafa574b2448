//! What the operator may set, where each value came from, and what is refused.
//!
//! One table ([`settings`]) names every setting once: its TOML key, its environment variable
//! (`VECTORBUCKET_` and the key in capitals, dots as underscores), its flag when it has one.
//! Order: flag over environment over file over default. Reading is pure: the caller passes the
//! three sources as text. Invariant: a [`Config`] that [`load()`] returned passed every check.

mod load;
mod logging;
mod nodes;
mod rates;
mod settings;
mod tls;
mod value;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use vb_kernel::Level;

pub use load::{Effective, Invalid, Source, Sources, load};
pub use logging::{AuditConfig, AuditOutput, AuditRequests, LogSinks, LoggingConfig};
pub(crate) use nodes::CLUSTER_KEY_CHARS_MIN;
pub use nodes::{NodeConfig, ReadConsistency};
pub use rates::{Rate, RateConfig};
pub(crate) use settings::{SETTINGS, Setting};
pub use tls::{TlsConfig, TrustedProxies};
pub(crate) use value::Value;
pub use value::{ByteSize, LogFormat, Secret, StoreUrl};

/// Everything an operator may set. [`Config::default`] holds the documented defaults.
#[derive(Clone, Debug)]
pub struct Config {
    /// Address of the data listener.
    pub listen: SocketAddr,
    /// Address of the admin listener (health, readiness, metrics).
    pub admin_listen: SocketAddr,
    /// Allow plain HTTP on addresses other than loopback.
    pub insecure_http: bool,
    /// Certificates of the listeners.
    pub tls: TlsConfig,
    /// Proxies that are believed about who their client is.
    pub trusted_proxies: TrustedProxies,
    /// Where objects live.
    pub store: StoreUrl,
    /// Wait for the disk before acknowledging (local store).
    pub fsync: bool,
    /// Folder for cached blocks; a local store is its own disk tier and does not use it.
    pub cache_dir: Option<PathBuf>,
    /// Bytes of that folder at most.
    pub cache_bytes_max: ByteSize,
    /// Memory the service may plan with; `None` is a quarter of the machine's.
    pub memory_limit: Option<ByteSize>,
    /// Region in signatures and resource names.
    pub region: String,
    /// Base domains after `bucket-account.`; `{region}` is replaced.
    pub endpoint: Vec<String>,
    /// Account (16 digits) the root key belongs to.
    pub account_id: String,
    /// Root access key id.
    pub root_access_key_id: String,
    /// Root access key secret.
    pub root_access_key_secret: Secret,
    /// File holding the root access key secret, instead of the setting.
    pub root_access_key_secret_file: Option<PathBuf>,
    /// A second root key, valid beside the first while keys are rotated.
    pub root_access_key_id_2: String,
    /// Secret of the second root key.
    pub root_access_key_secret_2: Secret,
    /// File holding that secret, instead of the setting.
    pub root_access_key_secret_2_file: Option<PathBuf>,
    /// File holding the account and root keys, in addition to the settings above.
    pub root_credentials_file: Option<PathBuf>,
    /// The keys that secrets of access keys and sessions are sealed with.
    pub key_ring: Secret,
    /// File holding them, instead of the setting.
    pub key_ring_file: Option<PathBuf>,
    /// Program that prints them, instead of the setting.
    pub key_ring_command: String,
    /// One or two tokens of the admin API.
    pub admin_token: Secret,
    /// File holding them, instead of the setting.
    pub admin_token_file: Option<PathBuf>,
    /// Program that prints them, instead of the setting.
    pub admin_token_command: String,
    /// Bucket policies let nobody in who is not named.
    pub block_public_access: bool,
    /// Instruction set of the distance kernels; `None` is the best the CPU has.
    pub kernels: Option<Level>,
    /// Threads that compute; `None` is one per CPU.
    pub threads: Option<u32>,
    /// Log settings.
    pub log: LogConfig,
    /// Delivery of the access logs of buckets.
    pub logging: LoggingConfig,
    /// The audit stream.
    pub audit: AuditConfig,
    /// Limits of connections and requests.
    pub limits: LimitConfig,
    /// Byte budgets of requests in flight.
    pub admission: AdmissionConfig,
    /// How often may be asked.
    pub rates: RateConfig,
    /// Quotas of an account.
    pub quotas: QuotaConfig,
    /// How writes become segments.
    pub flush: FlushConfig,
    /// Shares of background work.
    pub background: BackgroundConfig,
    /// How long replaced objects are kept for readers on other nodes.
    pub collect_grace: Duration,
    /// How current reads are on a store with other writers.
    pub read_consistency: ReadConsistency,
    /// The other nodes over the same store.
    pub nodes: NodeConfig,
    /// How long connections are still accepted once the service is asked to stop, so that load
    /// balancers notice first.
    pub drain_delay: Duration,
    /// How long requests in flight may take once the service is asked to stop.
    pub drain_timeout: Duration,
}

/// What is logged and how.
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// Levels by target, `tracing` filter syntax: `info`, `warn,vb_engine=debug`.
    pub level: String,
    /// Human or JSON lines.
    pub format: LogFormat,
    /// One line per request.
    pub access: bool,
}

/// Limits of connections and requests.
#[derive(Clone, Debug)]
pub struct LimitConfig {
    /// Open data connections; further ones wait in the listen queue.
    pub connections_max: u32,
    /// Bytes of a request line with its headers.
    pub head_bytes_max: ByteSize,
    /// Number of headers.
    pub headers_max: u32,
    /// Data connections of one source address, of which more are closed at once.
    pub connections_per_address_max: u32,
    /// Time for a request head, from its first byte; of the first one from the connection's begin.
    pub header_timeout: Duration,
    /// Longest time that a connection is kept without a request.
    pub idle_timeout: Duration,
    /// Longest time that an answer makes no progress towards the client.
    pub write_timeout: Duration,
    /// Longest pause inside a body.
    pub body_timeout: Duration,
    /// Slowest average rate of a body, bytes per second, after one `body_timeout` of grace.
    pub body_rate_min: ByteSize,
    /// Body of PutVectors.
    pub put_vectors_bytes_max: ByteSize,
    /// Body of every other operation.
    pub body_bytes_max: ByteSize,
}

/// Byte budgets of requests in flight: one for writes, one for everything else.
#[derive(Clone, Debug)]
pub struct AdmissionConfig {
    /// Bytes of write bodies in flight; `None` is an eighth of the memory limit.
    pub write_bytes_max: Option<ByteSize>,
    /// Bytes of query bodies and answers in flight; `None` is an eighth of the memory limit.
    pub query_bytes_max: Option<ByteSize>,
    /// Longest wait for room, after which the request is refused with 503.
    pub wait_max: Duration,
}

/// Quotas of an account.
#[derive(Clone, Debug)]
pub struct QuotaConfig {
    /// Buckets of an account.
    pub buckets_max: u32,
    /// Indexes of a bucket.
    pub indexes_max: u32,
    /// Largest `topK` of a query.
    pub top_k_max: u32,
    /// Vectors of an index.
    pub index_vectors_max: u32,
    /// Vectors of an account; `None`: no limit.
    pub vectors_max: Option<u64>,
    /// Stored bytes of an account; `None`: no limit.
    pub bytes_max: Option<ByteSize>,
    /// Age at which what an account uses is counted again.
    pub usage_age_max: Duration,
}

impl Default for QuotaConfig {
    fn default() -> Self {
        Self {
            buckets_max: 100,
            indexes_max: 100,
            top_k_max: 500,
            index_vectors_max: 2_000_000_000,
            vectors_max: None,
            bytes_max: None,
            usage_age_max: Duration::from_secs(60),
        }
    }
}

/// How much of the machine flushes, merges and collections may take.
#[derive(Clone, Debug)]
pub struct BackgroundConfig {
    /// Jobs at a time, over all indexes.
    pub jobs_max: u32,
    /// Merges among them.
    pub merges_max: u32,
    /// Bytes per second that merges read and write; `None`: as fast as it goes.
    pub bytes_per_second: Option<ByteSize>,
}

/// When writes in memory are folded into a segment.
#[derive(Clone, Debug)]
pub struct FlushConfig {
    /// Bytes of an index's unflushed writes at which they are folded; `None` follows the memory limit.
    pub memtable_bytes_max: Option<ByteSize>,
    /// Age at which they are folded regardless of size.
    pub age_max: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 9100)),
            admin_listen: SocketAddr::from(([127, 0, 0, 1], 9101)),
            insecure_http: false,
            tls: TlsConfig::default(),
            trusted_proxies: TrustedProxies::default(),
            store: StoreUrl::Local(PathBuf::from("./data")),
            fsync: true,
            cache_dir: None,
            cache_bytes_max: ByteSize::mib(16 << 10),
            memory_limit: None,
            region: "cn-hangzhou".to_owned(),
            endpoint: [
                "{region}.oss-vectors.aliyuncs.com",
                "{region}-internal.oss-vectors.aliyuncs.com",
                "localhost",
            ]
            .map(str::to_owned)
            .to_vec(),
            account_id: String::new(),
            root_access_key_id: String::new(),
            root_access_key_secret: Secret::default(),
            root_access_key_secret_file: None,
            root_access_key_id_2: String::new(),
            root_access_key_secret_2: Secret::default(),
            root_access_key_secret_2_file: None,
            root_credentials_file: None,
            key_ring: Secret::default(),
            key_ring_file: None,
            key_ring_command: String::new(),
            admin_token: Secret::default(),
            admin_token_file: None,
            admin_token_command: String::new(),
            block_public_access: true,
            kernels: None,
            threads: None,
            log: LogConfig { level: "info".to_owned(), format: LogFormat::Auto, access: true },
            logging: LoggingConfig::default(),
            audit: AuditConfig::default(),
            limits: LimitConfig::default(),
            admission: AdmissionConfig {
                write_bytes_max: None,
                query_bytes_max: None,
                wait_max: Duration::from_secs(5),
            },
            rates: RateConfig::default(),
            quotas: QuotaConfig::default(),
            flush: FlushConfig { memtable_bytes_max: None, age_max: Duration::from_secs(300) },
            background: BackgroundConfig { jobs_max: 4, merges_max: 2, bytes_per_second: None },
            collect_grace: Duration::from_secs(3600),
            read_consistency: ReadConsistency::Strong,
            nodes: NodeConfig::default(),
            drain_delay: Duration::ZERO,
            drain_timeout: Duration::from_secs(30),
        }
    }
}

impl Default for LimitConfig {
    fn default() -> Self {
        Self {
            connections_max: 4096,
            head_bytes_max: ByteSize(64 << 10),
            headers_max: 100,
            connections_per_address_max: 1024,
            header_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(60),
            body_timeout: Duration::from_secs(20),
            body_rate_min: ByteSize(16 << 10),
            put_vectors_bytes_max: ByteSize::mib(64),
            body_bytes_max: ByteSize::mib(8),
        }
    }
}

impl Config {
    /// The base domains with `{region}` filled in.
    #[must_use]
    pub fn domains(&self) -> Vec<String> {
        self.endpoint.iter().map(|d| d.replace("{region}", &self.region)).collect()
    }

    /// The first base domain, the one shown to clients.
    #[must_use]
    pub fn main_domain(&self) -> String {
        self.domains().into_iter().next().unwrap_or_else(|| "localhost".to_owned())
    }

    /// Bytes the service plans with: the setting, or a quarter of the machine's memory.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.memory_limit.map_or_else(|| machine_memory() / 4, |size| size.0)
    }

    /// Where requests come from: clients, and with several nodes also peers. Each has a budget of
    /// its own, an equal share of what is planned.
    fn sources(&self) -> u64 {
        if self.nodes.peers.is_empty() { 1 } else { 2 }
    }

    /// Bytes of write bodies in flight: at least one body of the largest allowed size.
    #[must_use]
    pub fn write_budget(&self) -> u64 {
        let planned = self.admission.write_bytes_max.map_or(self.memory_bytes() / 8, |b| b.0);
        (planned / self.sources()).max(self.limits.put_vectors_bytes_max.0)
    }

    /// Bytes of an index's unflushed writes at which they are folded into a segment.
    #[must_use]
    pub fn memtable_bytes(&self) -> u64 {
        let planned = self.memory_bytes() / 16;
        self.flush.memtable_bytes_max.map_or(planned.clamp(16 << 20, 64 << 20), |b| b.0)
    }

    /// Bytes of query bodies and answers in flight: at least room for one.
    #[must_use]
    pub fn query_budget(&self) -> u64 {
        let planned = self.admission.query_bytes_max.map_or(self.memory_bytes() / 8, |b| b.0);
        (planned / self.sources())
            .max(self.limits.body_bytes_max.0 + crate::admission::ANSWER_BYTES)
    }
}

/// Total memory of the machine in bytes, 4 GiB where the system does not say.
fn machine_memory() -> u64 {
    std::fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| total_memory(&text))
        .unwrap_or(4 << 30)
}

fn total_memory(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|l| l.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_from_meminfo() {
        assert_eq!(total_memory("MemTotal:       16 kB\nMemFree: 3 kB\n"), Some(16 << 10));
        assert_eq!(total_memory("MemFree: 3 kB\n"), None);
        assert_eq!(total_memory("MemTotal: x kB\n"), None);
    }

    #[test]
    fn a_write_budget_admits_the_largest_body() {
        let mut config = Config { memory_limit: Some(ByteSize::mib(8)), ..Config::default() };
        assert_eq!(config.write_budget(), 64 << 20);
        config.memory_limit = Some(ByteSize::mib(4096));
        assert_eq!(config.write_budget(), 512 << 20);
        config.nodes.peers = vec!["other:9100".into()];
        assert_eq!(config.write_budget(), 256 << 20);
    }

    #[test]
    fn domains_carry_the_region() {
        let config = Config { region: "cn-beijing".into(), ..Config::default() };
        assert_eq!(config.main_domain(), "cn-beijing.oss-vectors.aliyuncs.com");
        assert_eq!(config.domains().last().map(String::as_str), Some("localhost"));
    }
}
