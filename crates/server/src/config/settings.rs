//! The table of settings: each stands here once, with everything that can be said about it.

use super::Config;
use super::value::Value as _;

/// One setting: how it is named in each source and how it is read and shown.
pub(crate) struct Setting {
    /// Key in the TOML file, dotted for tables.
    pub(crate) key: &'static str,
    /// Name of the flag without dashes, for the common ones.
    pub(crate) flag: Option<&'static str>,
    /// A flag that needs no value.
    pub(crate) switch: bool,
    /// One line for `--help` and `docs/operations.md`.
    pub(crate) help: &'static str,
    /// Reads a text into its place.
    pub(crate) set: fn(&mut Config, &str) -> Result<(), String>,
    /// The text that reads back as the present value; `***` for secrets.
    pub(crate) show: fn(&Config) -> String,
}

impl Setting {
    /// The environment variable of this setting.
    pub(crate) fn variable(&self) -> String {
        format!("VECTORBUCKET_{}", self.key.replace('.', "_").to_ascii_uppercase())
    }
}

macro_rules! setting {
    ($key:literal, $flag:expr, $switch:literal, $($field:ident).+, $help:literal) => {
        Setting {
            key: $key,
            flag: $flag,
            switch: $switch,
            help: $help,
            set: |config, text| {
                config.$($field).+ = super::value::Value::parse(text)?;
                Ok(())
            },
            show: |config| config.$($field).+.show(),
        }
    };
    ($key:literal, --$flag:literal switch, $($field:ident).+, $help:literal) => {
        setting!($key, Some($flag), true, $($field).+, $help)
    };
    ($key:literal, --$flag:literal, $($field:ident).+, $help:literal) => {
        setting!($key, Some($flag), false, $($field).+, $help)
    };
    ($key:literal, $($field:ident).+, $help:literal) => {
        setting!($key, None, false, $($field).+, $help)
    };
}

/// Every setting, in the order in which it is printed.
pub(crate) static SETTINGS: &[Setting] = &[
    setting!("listen", --"listen", listen, "address of the data listener"),
    setting!(
        "admin_listen",
        --"admin-listen",
        admin_listen,
        "address of the admin listener: health, readiness, metrics"
    ),
    setting!("insecure_http", --"insecure-http" switch, insecure_http, "serve plain HTTP on an address other than loopback"),
    setting!(
        "trusted_proxies",
        --"trusted-proxies",
        trusted_proxies,
        "addresses and networks whose X-Forwarded-For and X-Forwarded-Proto count"
    ),
    setting!(
        "store",
        --"store",
        store,
        "where objects live: a folder, file:///dir, s3://bucket/prefix, gs://, az://, oss://, or memory:"
    ),
    setting!(
        "fsync",
        fsync,
        "wait for the disk before acknowledging a write; false loses acknowledged writes in a power failure"
    ),
    setting!(
        "cache_dir",
        --"cache-dir",
        cache_dir,
        "folder for cached blocks of a remote store; a local store is its own disk tier"
    ),
    setting!(
        "cache_bytes_max",
        --"cache-bytes-max",
        cache_bytes_max,
        "bytes of that folder at most; what was used least recently goes first"
    ),
    setting!(
        "memory_limit",
        --"memory-limit",
        memory_limit,
        "memory to plan with, empty for a quarter of the machine's"
    ),
    setting!("region", --"region", region, "region in signatures and resource names"),
    setting!(
        "endpoint",
        --"endpoint",
        endpoint,
        "base domains after bucket-account., separated by commas; {region} is replaced"
    ),
    setting!("account_id", --"account-id", account_id, "16-digit account of the root key"),
    setting!("root_access_key_id", root_access_key_id, "root access key id"),
    setting!("root_access_key_secret", root_access_key_secret, "root access key secret"),
    setting!(
        "root_access_key_secret_file",
        root_access_key_secret_file,
        "file with that secret, mode 0600, instead of the setting"
    ),
    setting!(
        "root_access_key_id_2",
        root_access_key_id_2,
        "second root access key id, valid beside the first for rotation"
    ),
    setting!(
        "root_access_key_secret_2",
        root_access_key_secret_2,
        "secret of the second root access key"
    ),
    setting!(
        "root_access_key_secret_2_file",
        root_access_key_secret_2_file,
        "file with that secret, mode 0600, instead of the setting"
    ),
    setting!(
        "root_credentials_file",
        --"root-credentials-file",
        root_credentials_file,
        "file with accounts and their root keys, mode 0600, in addition to the settings above"
    ),
    setting!(
        "key_ring",
        key_ring,
        "id:key entries that secrets of access keys and sessions are sealed with, the first seals"
    ),
    setting!(
        "key_ring_file",
        --"key-ring-file",
        key_ring_file,
        "file with them, mode 0600, instead of the setting"
    ),
    setting!(
        "key_ring_command",
        key_ring_command,
        "program with arguments that prints them, instead of the setting"
    ),
    setting!(
        "admin_token",
        admin_token,
        "one or two tokens of the admin API, of whoever operates the whole store"
    ),
    setting!(
        "admin_token_file",
        --"admin-token-file",
        admin_token_file,
        "file with them, mode 0600, instead of the setting"
    ),
    setting!(
        "admin_token_command",
        admin_token_command,
        "program with arguments that prints them, instead of the setting"
    ),
    setting!(
        "block_public_access",
        --"block-public-access",
        block_public_access,
        "bucket policies let in nobody whom they do not name, and public ones are refused"
    ),
    setting!(
        "kernels",
        --"kernels",
        kernels,
        "instruction set of the distance kernels: scalar, avx2, avx512; empty for the best"
    ),
    setting!("threads", --"threads", threads, "threads that compute, empty for one per CPU"),
    setting!(
        "peers",
        --"peers",
        nodes.peers,
        "the nodes over the same store: host:port,... or dns:name:port; empty for one node"
    ),
    setting!(
        "advertise",
        --"advertise",
        nodes.advertise,
        "host:port under which the peers know this node, empty for the data listener's address"
    ),
    setting!(
        "cluster_key",
        nodes.cluster_key,
        "secret that all nodes share, 32 characters or more"
    ),
    setting!(
        "cluster_key_file",
        --"cluster-key-file",
        nodes.cluster_key_file,
        "file with that secret, mode 0600, instead of the setting"
    ),
    setting!(
        "peer_timeout",
        nodes.peer_timeout,
        "time for a peer to begin its answer to a forwarded request"
    ),
    setting!(
        "spread_bytes_min",
        nodes.spread_bytes_min,
        "bytes of an index's segments from which its scans are spread over the nodes"
    ),
    setting!(
        "read_consistency",
        --"read-consistency",
        read_consistency,
        "strong, or bounded=MS: reads may miss what other nodes wrote within so many milliseconds"
    ),
    setting!(
        "collect_grace",
        collect_grace,
        "how long replaced objects are kept for readers on other nodes"
    ),
    setting!(
        "drain_delay",
        --"drain-delay",
        drain_delay,
        "time that connections are still accepted after readiness ended, for load balancers"
    ),
    setting!(
        "drain_timeout",
        --"drain-timeout",
        drain_timeout,
        "time for requests in flight once the service is asked to stop"
    ),
    setting!(
        "log",
        --"log",
        log.level,
        "log levels by target, for example info or warn,vb_engine=debug"
    ),
    setting!(
        "log_format",
        --"log-format",
        log.format,
        "auto (human on a terminal, JSON otherwise), human or json"
    ),
    setting!("log_access", log.access, "one log line per request"),
    setting!(
        "tls.certificate_file",
        --"tls-certificate-file",
        tls.certificate_file,
        "PEM file with the data listener's certificate chain; empty for plain HTTP"
    ),
    setting!("tls.key_file", --"tls-key-file", tls.key_file, "PEM file with its private key"),
    setting!(
        "tls.admin_certificate_file",
        tls.admin_certificate_file,
        "PEM file with the admin listener's certificate chain; empty for plain HTTP"
    ),
    setting!("tls.admin_key_file", tls.admin_key_file, "PEM file with its private key"),
    setting!(
        "tls.check_interval",
        tls.check_interval,
        "how often these files are looked at for a new certificate"
    ),
    setting!("tls.handshake_timeout", tls.handshake_timeout, "longest time of a handshake"),
    setting!(
        "tls.peer_ca_file",
        tls.peer_ca_file,
        "PEM file with the roots that the certificates of other nodes must lead to"
    ),
    setting!(
        "tls.peer_name",
        tls.peer_name,
        "name that certificates of other nodes must be for, empty for each node's own"
    ),
    setting!(
        "logging.sinks",
        logging.sinks,
        "stores that buckets may name as targets of their access logs: name=STORE,..."
    ),
    setting!(
        "logging.allow_any_target",
        logging.allow_any_target,
        "targets that name no sink become folders logs/ACCOUNT/TARGET of the service's store"
    ),
    setting!(
        "logging.spool_dir",
        logging.spool_dir,
        "folder of log lines to be delivered, empty for log-spool in a local store, else memory"
    ),
    setting!(
        "logging.spool_bytes_max",
        logging.spool_bytes_max,
        "bytes of log lines to be delivered, beyond which lines are dropped"
    ),
    setting!(
        "logging.object_bytes_max",
        logging.object_bytes_max,
        "bytes of log lines at which an object is delivered before its hour is over"
    ),
    setting!(
        "logging.object_age_max",
        logging.object_age_max,
        "age at which an object of log lines is delivered before its hour is over"
    ),
    setting!(
        "audit.output",
        --"audit-output",
        audit.output,
        "where one JSON line per request goes: off, stdout or a file"
    ),
    setting!("audit.requests", audit.requests, "which requests the audit tells of: all, denied"),
    setting!(
        "audit.file_bytes_max",
        audit.file_bytes_max,
        "size at which the audit file is renamed to FILE.1, empty for never"
    ),
    setting!("limits.connections_max", limits.connections_max, "open data connections"),
    setting!(
        "limits.connections_per_address_max",
        limits.connections_per_address_max,
        "data connections of one source address"
    ),
    setting!(
        "limits.head_bytes_max",
        limits.head_bytes_max,
        "bytes of a request line with its headers"
    ),
    setting!("limits.headers_max", limits.headers_max, "number of headers of a request"),
    setting!("limits.header_timeout", limits.header_timeout, "time for a request head"),
    setting!(
        "limits.idle_timeout",
        limits.idle_timeout,
        "longest time that a connection is kept without a request"
    ),
    setting!(
        "limits.write_timeout",
        limits.write_timeout,
        "longest time that an answer makes no progress towards the client"
    ),
    setting!("limits.body_timeout", limits.body_timeout, "longest pause inside a body"),
    setting!(
        "limits.body_rate_min",
        limits.body_rate_min,
        "slowest average rate of a body, bytes per second"
    ),
    setting!("limits.put_vectors_bytes_max", limits.put_vectors_bytes_max, "body of PutVectors"),
    setting!("limits.body_bytes_max", limits.body_bytes_max, "body of every other operation"),
    setting!(
        "admission.write_bytes_max",
        admission.write_bytes_max,
        "bytes of write bodies in flight, empty for an eighth of the memory limit"
    ),
    setting!(
        "admission.query_bytes_max",
        admission.query_bytes_max,
        "bytes of query bodies and answers in flight, empty for an eighth of the memory limit"
    ),
    setting!(
        "admission.wait_max",
        admission.wait_max,
        "longest wait for room before a request is refused with 503"
    ),
    setting!("quotas.buckets_max", quotas.buckets_max, "buckets of an account"),
    setting!("quotas.indexes_max", quotas.indexes_max, "indexes of a bucket"),
    setting!("quotas.top_k_max", quotas.top_k_max, "largest topK of a query"),
    setting!("quotas.index_vectors_max", quotas.index_vectors_max, "vectors of an index"),
    setting!("quotas.vectors_max", quotas.vectors_max, "vectors of an account, empty for no limit"),
    setting!(
        "quotas.bytes_max",
        quotas.bytes_max,
        "stored bytes of an account, empty for no limit"
    ),
    setting!(
        "quotas.usage_age_max",
        quotas.usage_age_max,
        "age at which vectors and bytes of an account that writes are counted again"
    ),
    setting!(
        "rates.key",
        rates.key,
        "requests of an access key, such as 100/s or 100/s:500 with a burst, empty for no limit"
    ),
    setting!(
        "rates.account",
        rates.account,
        "requests of all access keys of an account, empty for no limit"
    ),
    setting!(
        "rates.source_failures",
        rates.source_failures,
        "failed authentications of a client address before it is refused unheard, empty for no limit"
    ),
    setting!(
        "flush.memtable_bytes_max",
        flush.memtable_bytes_max,
        "bytes of an index's unflushed writes at which they are folded, empty to follow the memory limit"
    ),
    setting!("flush.age_max", flush.age_max, "age at which unflushed writes are folded"),
    setting!(
        "background.jobs_max",
        background.jobs_max,
        "flushes, merges and collections at a time, over all indexes"
    ),
    setting!("background.merges_max", background.merges_max, "merges among them"),
    setting!(
        "background.bytes_per_second",
        background.bytes_per_second,
        "bytes per second that merges read and write, empty for no limit"
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_reads_back_from_what_it_shows() {
        let defaults = Config::default();
        for setting in SETTINGS {
            let mut config = Config::default();
            let shown = (setting.show)(&defaults);
            (setting.set)(&mut config, &shown).unwrap_or_else(|e| panic!("{}: {e}", setting.key));
            assert_eq!((setting.show)(&config), shown, "{}", setting.key);
        }
    }

    #[test]
    fn names_are_unique_and_variables_follow_keys() {
        let mut variables: Vec<String> = SETTINGS.iter().map(Setting::variable).collect();
        assert!(variables.contains(&"VECTORBUCKET_ROOT_ACCESS_KEY_SECRET".to_owned()));
        assert!(variables.contains(&"VECTORBUCKET_LIMITS_PUT_VECTORS_BYTES_MAX".to_owned()));
        variables.sort();
        variables.dedup();
        assert_eq!(variables.len(), SETTINGS.len());
    }
}
