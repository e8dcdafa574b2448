//! What the service counts, in Prometheus text form. `docs/operations.md` lists every name.

use std::sync::atomic::{AtomicI64, AtomicU64};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use vb_commit::{Store, VerbCount};
use vb_engine::{Engine, Stats};

use crate::access_log::Counters as AccessLogCounters;
use crate::audit::Counters as AuditCounters;
use crate::limits::LIMITS;
use crate::nodes::Nodes;
use crate::transport::TlsCounters;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OutcomeLabels {
    operation: &'static str,
    status: u16,
    code: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RouteLabel {
    route: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct PeerStateLabel {
    state: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OperationLabel {
    operation: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct BudgetLabel {
    budget: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct VerbLabel {
    verb: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct IndexLabel {
    index: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct CodeLabel {
    code: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct WaitLabel {
    waited_for: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct LimitLabel {
    limit: &'static str,
}

/// What is asked for its own counters, while it is open.
type Watched = Arc<Mutex<Option<(Engine, Store)>>>;

type Latencies = Family<OperationLabel, Histogram, fn() -> Histogram>;

/// Every counter of the process. Shared by reference; all updates are atomic.
pub(crate) struct Metrics {
    registry: Registry,
    watched: Watched,
    nodes: Arc<OnceLock<Arc<Nodes>>>,
    requests: Family<OutcomeLabels, Counter>,
    routes: Family<RouteLabel, Counter>,
    latencies: Latencies,
    bytes_in: Family<OperationLabel, Counter>,
    bytes_out: Family<OperationLabel, Counter>,
    auth_failures: Family<CodeLabel, Counter>,
    limited: Family<LimitLabel, Counter>,
    admission_waits: Family<BudgetLabel, Counter>,
    admission_refused: Family<BudgetLabel, Counter>,
    admission_bytes: Family<BudgetLabel, Gauge<i64, AtomicI64>>,
    /// Requests between their head and the end of their answer.
    pub(crate) in_flight: Gauge<i64, AtomicI64>,
    /// Data connections that are open.
    pub(crate) connections: Gauge<i64, AtomicI64>,
    /// Data connections accepted since the start.
    pub(crate) accepted: Counter<u64, AtomicU64>,
    /// Data connections closed at once, because their address had as many as it may.
    pub(crate) connections_over_cap: Counter<u64, AtomicU64>,
    timeouts: Family<WaitLabel, Counter>,
    /// Handshakes and certificates.
    pub(crate) tls: TlsCounters,
    /// Connections whose bytes were no HTTP request.
    pub(crate) heads_refused: Counter<u64, AtomicU64>,
    /// Requests that panicked.
    pub(crate) panics: Counter<u64, AtomicU64>,
    /// Lines of access logs on their way.
    pub(crate) access_log: Arc<AccessLogCounters>,
    /// Lines of the audit.
    pub(crate) audit: AuditCounters,
    /// Access keys whose secrets the key ring does not open.
    pub(crate) keys_unavailable: Gauge<i64, AtomicI64>,
}

/// What one finished request adds to the counters.
pub(crate) struct Finished {
    /// Operation name, `-` when none was recognised.
    pub(crate) operation: &'static str,
    /// Status of the answer.
    pub(crate) status: u16,
    /// Error code of the answer, `-` on success.
    pub(crate) code: &'static str,
    /// Its EC, `-` on success.
    pub(crate) ec: &'static str,
    /// Which node served it.
    pub(crate) route: &'static str,
    /// Bytes of the request body.
    pub(crate) bytes_in: u64,
    /// Bytes of the answer's body.
    pub(crate) bytes_out: u64,
    /// From the end of the head to the end of the answer's making.
    pub(crate) elapsed: Duration,
}

impl Metrics {
    /// All counters at zero, registered under their names.
    pub(crate) fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("vectorbucket"),
            watched: Watched::default(),
            nodes: Arc::default(),
            routes: Family::default(),
            requests: Family::default(),
            latencies: Family::new_with_constructor(latency_histogram),
            bytes_in: Family::default(),
            bytes_out: Family::default(),
            auth_failures: Family::default(),
            limited: Family::default(),
            admission_waits: Family::default(),
            admission_refused: Family::default(),
            admission_bytes: Family::default(),
            in_flight: Gauge::default(),
            connections: Gauge::default(),
            accepted: Counter::default(),
            connections_over_cap: Counter::default(),
            timeouts: Family::default(),
            tls: TlsCounters::default(),
            heads_refused: Counter::default(),
            panics: Counter::default(),
            access_log: Arc::default(),
            audit: AuditCounters::default(),
            keys_unavailable: Gauge::default(),
        };
        metrics.register_requests();
        metrics.register_connections();
        metrics.register_process();
        metrics.access_log.register(&mut metrics.registry);
        let audit = metrics.audit.dropped.clone();
        metrics.registry.register("audit_lines_dropped", "Lines of the audit not written", audit);
        metrics.begin_at_zero();
        metrics
    }

    fn register_requests(&mut self) {
        let r = &mut self.registry;
        r.register("requests", "Requests answered", self.requests.clone());
        r.register(
            "routed_requests",
            "Requests answered, by the node that served them",
            self.routes.clone(),
        );
        r.register_with_unit(
            "request_duration",
            "Time from the head of a request to its answer",
            Unit::Seconds,
            self.latencies.clone(),
        );
        r.register("request_body_bytes", "Bytes of request bodies", self.bytes_in.clone());
        r.register("response_body_bytes", "Bytes of response bodies", self.bytes_out.clone());
        r.register("requests_in_flight", "Requests being answered", self.in_flight.clone());
        r.register(
            "auth_failures",
            "Requests refused by authentication",
            self.auth_failures.clone(),
        );
        r.register(
            "limit_refusals",
            "Requests refused because of a rate or a quota",
            self.limited.clone(),
        );
        r.register("panics", "Requests that panicked", self.panics.clone());
        r.register(
            "admission_waits",
            "Requests that waited for room in a byte budget",
            self.admission_waits.clone(),
        );
        r.register(
            "admission_refused",
            "Requests refused because no room came free",
            self.admission_refused.clone(),
        );
        r.register(
            "admission_bytes",
            "Bytes of a budget that are taken",
            self.admission_bytes.clone(),
        );
    }

    /// Counters that alerts watch exist from the start, so that their first rise is seen.
    fn begin_at_zero(&self) {
        for route in ["here", "from_peer", "probe", "fallback", "forwarded", "unknown"] {
            drop(self.routes.get_or_create(&RouteLabel { route }));
        }
        for (limit, _) in LIMITS {
            drop(self.limited.get_or_create(&LimitLabel { limit }));
        }
        for budget in ["write", "query", "peer_write", "peer_query"] {
            let label = BudgetLabel { budget };
            drop(self.admission_waits.get_or_create(&label));
            drop(self.admission_refused.get_or_create(&label));
            drop(self.admission_bytes.get_or_create(&label));
        }
        for waited_for in ["head", "request", "write"] {
            drop(self.timeouts.get_or_create(&WaitLabel { waited_for }));
        }
    }

    fn register_connections(&mut self) {
        let r = &mut self.registry;
        r.register("connections_open", "Open data connections", self.connections.clone());
        r.register("connections_accepted", "Accepted data connections", self.accepted.clone());
        r.register(
            "connections_over_address_cap",
            "Data connections closed at once because their address had too many",
            self.connections_over_cap.clone(),
        );
        r.register(
            "connections_timed_out",
            "Data connections closed because the client was late",
            self.timeouts.clone(),
        );
        self.tls.register(r);
        r.register(
            "heads_refused",
            "Connections closed because their bytes were no HTTP request",
            self.heads_refused.clone(),
        );
    }

    fn register_process(&mut self) {
        let r = &mut self.registry;
        r.register(
            "access_keys_unavailable",
            "Access keys that nobody can use because the key ring does not open them",
            self.keys_unavailable.clone(),
        );
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        r.register("build", "The running build", version);
        r.register_collector(Box::new(EngineCollector(Arc::clone(&self.watched))));
        r.register_collector(Box::new(ProcessCollector));
        r.register_collector(Box::new(NodesCollector(Arc::clone(&self.nodes))));
    }

    /// From now on the counters of engine and store are part of the answer.
    pub(crate) fn watch(&self, engine: Engine, store: Store) {
        *self.watched.lock().unwrap_or_else(PoisonError::into_inner) = Some((engine, store));
    }

    /// The engine, while it is open.
    pub(crate) fn engine(&self) -> Option<Engine> {
        let watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        watched.as_ref().map(|(engine, _)| engine.clone())
    }

    /// The nodes, if this is one of several.
    pub(crate) fn nodes(&self) -> Option<&Arc<Nodes>> {
        self.nodes.get()
    }

    /// Lets go of engine and store, so that the store's lock can be released.
    pub(crate) fn unwatch(&self) {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// From now on the states of the other nodes are part of the answer.
    pub(crate) fn watch_nodes(&self, nodes: Arc<Nodes>) {
        // Called once, at the start.
        let _ = self.nodes.set(nodes);
    }

    /// Adds one finished request.
    pub(crate) fn finish(&self, request: &Finished) {
        let operation = OperationLabel { operation: request.operation };
        let outcome = OutcomeLabels {
            operation: request.operation,
            status: request.status,
            code: request.code,
        };
        self.requests.get_or_create(&outcome).inc();
        self.routes.get_or_create(&RouteLabel { route: request.route }).inc();
        self.latencies.get_or_create(&operation).observe(request.elapsed.as_secs_f64());
        self.bytes_in.get_or_create(&operation).inc_by(request.bytes_in);
        self.bytes_out.get_or_create(&operation).inc_by(request.bytes_out);
    }

    /// Counts a request that authentication refused.
    pub(crate) fn auth_failed(&self, code: &'static str) {
        self.auth_failures.get_or_create(&CodeLabel { code }).inc();
    }

    /// Counts a connection that was closed because its client was late with this.
    pub(crate) fn timed_out(&self, waited_for: &'static str) {
        self.timeouts.get_or_create(&WaitLabel { waited_for }).inc();
    }

    /// Counts a request that a limit refused.
    pub(crate) fn limited(&self, limit: &'static str) {
        self.limited.get_or_create(&LimitLabel { limit }).inc();
    }

    /// Counts a request that had to wait for room.
    pub(crate) fn admission_waited(&self, budget: &'static str) {
        self.admission_waits.get_or_create(&BudgetLabel { budget }).inc();
    }

    /// Counts a request that no room came free for.
    pub(crate) fn admission_refused(&self, budget: &'static str) {
        self.admission_refused.get_or_create(&BudgetLabel { budget }).inc();
    }

    /// Adds to (or takes from) the bytes of a budget that are taken.
    pub(crate) fn admission_taken(&self, budget: &'static str, bytes: i64) {
        self.admission_bytes.get_or_create(&BudgetLabel { budget }).inc_by(bytes);
    }

    /// Everything in Prometheus (OpenMetrics) text form.
    pub(crate) fn render(&self) -> String {
        let mut text = String::with_capacity(16 << 10);
        encode(&mut text, &self.registry).expect("writing to a string does not fail");
        text
    }
}

fn latency_histogram() -> Histogram {
    Histogram::new([
        0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
        10.0, 30.0,
    ])
}

/// The numbers of engine and store, read when they are asked for.
struct EngineCollector(Watched);

impl std::fmt::Debug for EngineCollector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EngineCollector")
    }
}

impl Collector for EngineCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let watched = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some((engine, store)) = watched else { return Ok(()) };
        let stats = engine.stats();
        for (name, help, value) in counters(&stats) {
            counter(&mut encoder, name, help, value)?;
        }
        for (name, help, value) in gauges(&stats) {
            gauge(&mut encoder, name, help, value)?;
        }
        recalls(&mut encoder, &engine)?;
        verbs(&mut encoder, &store)
    }
}

/// What samples say about the queries of each index.
fn recalls(encoder: &mut DescriptorEncoder<'_>, engine: &Engine) -> std::fmt::Result {
    let (recall, look) = (FloatFamily::default(), FloatFamily::default());
    for measured in engine.recalls() {
        let label = IndexLabel { index: format!("{:032x}", measured.index.0) };
        recall.get_or_create(&label).set(f64::from(measured.recall));
        look.get_or_create(&label).set(f64::from(measured.calibration));
    }
    encode_metric(encoder, "index_recall", "Share of the nearest that queries find", &recall)?;
    let help = "How much further than by themselves queries look";
    encode_metric(encoder, "index_recall_effort", help, &look)
}

type FloatFamily = Family<IndexLabel, Gauge<f64, AtomicU64>>;

/// How many of the other nodes are asked, and how many not.
struct NodesCollector(Arc<OnceLock<Arc<Nodes>>>);

impl std::fmt::Debug for NodesCollector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NodesCollector")
    }
}

impl Collector for NodesCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let Some(nodes) = self.0.get() else { return Ok(()) };
        let peers = nodes.peers();
        let up = peers.iter().filter(|peer| peer.down().is_none()).count();
        let family = Family::<PeerStateLabel, Gauge>::default();
        for (state, count) in [("up", up), ("down", peers.len() - up)] {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            family.get_or_create(&PeerStateLabel { state }).set(count);
        }
        encode_metric(&mut encoder, "peers", "Other nodes, by whether they are asked", &family)
    }
}

type VerbField = (&'static str, &'static str, fn(&VerbCount) -> u64);

/// Requests, bytes and failures of the store, each by verb.
fn verbs(encoder: &mut DescriptorEncoder<'_>, store: &Store) -> std::fmt::Result {
    let counts = store.counts();
    let by_verb = [
        ("create", counts.create),
        ("put", counts.put),
        ("get", counts.get),
        ("list", counts.list),
        ("delete", counts.delete),
    ];
    let fields: [VerbField; 5] = [
        ("store_requests", "Requests to the store", |c| c.requests),
        ("store_bytes", "Payload bytes to and from the store", |c| c.bytes),
        ("store_failures", "Requests that the store failed", |c| c.failures),
        ("store_retries", "Requests sent again after a failure", |c| c.retries),
        ("store_hedges", "Reads sent a second time because the first was slow", |c| c.hedges),
    ];
    for (name, help, value) in fields {
        let family = Family::<VerbLabel, Counter>::default();
        for (verb, count) in &by_verb {
            family.get_or_create(&VerbLabel { verb }).inc_by(value(count));
        }
        encode_metric(encoder, name, help, &family)?;
    }
    Ok(())
}

fn counters(s: &Stats) -> Vec<(&'static str, &'static str, u64)> {
    vec![
        ("engine_opens", "Indexes opened", s.opens),
        ("engine_flushes", "Flushes committed", s.flushes),
        ("engine_flushes_failed", "Flushes that failed and are tried again", s.flushes_failed),
        ("engine_segment_bytes_written", "Bytes of segments written", s.segment_bytes_written),
        ("engine_merges", "Merges of segments committed", s.merges),
        ("engine_merges_failed", "Merges that failed and are tried again", s.merges_failed),
        (
            "engine_merge_bytes_written",
            "Bytes of segments written by merges",
            s.merge_bytes_written,
        ),
        (
            "engine_merge_commit_microseconds",
            "Time in which merges held up writes",
            s.merge_commit_micros,
        ),
        ("engine_objects_collected", "Objects deleted that nothing names", s.objects_collected),
        ("engine_commits", "Group commits", s.commits),
        ("engine_batches", "Batches in group commits", s.batches),
        ("engine_commit_microseconds", "Time in group commits", s.commit_micros),
        ("engine_puts", "Records put", s.puts),
        ("engine_deletes", "Keys named in deletes", s.deletes),
        ("engine_writes_refused", "Writes refused by back-pressure", s.writes_refused),
        ("engine_write_delay_microseconds", "Time writes were delayed", s.write_delay_micros),
        ("engine_gets", "Get calls", s.gets),
        ("engine_lists", "List pages", s.lists),
        ("engine_queries", "Queries", s.queries),
        ("engine_query_microseconds", "Time in queries", s.query_micros),
        ("engine_shares", "Shares of scans that peers were asked for", s.shares),
        ("engine_shares_failed", "Such shares that were scanned here after all", s.shares_failed),
        ("engine_shares_served", "Shares of scans answered for peers", s.shares_served),
        ("engine_rows_scanned", "Vectors whose distance was computed", s.rows_scanned),
        ("engine_cache_memory_hits", "Parts of segments found in memory", s.cache.memory_hits),
        ("engine_cache_memory_misses", "Parts that were not in memory", s.cache.memory_misses),
        ("engine_cache_memory_evictions", "Parts pushed out of memory", s.cache.memory_evictions),
        ("engine_cache_disk_hits", "Parts and objects found on disk", s.cache.disk_hits),
        ("engine_cache_disk_misses", "Parts and objects that were not", s.cache.disk_misses),
        ("engine_cache_disk_evictions", "Files pushed off the disk", s.cache.disk_evictions),
        ("engine_cache_disk_damaged", "Files of the cache that were damaged", s.cache.disk_damaged),
        ("engine_cache_reads", "Reads of the store for the cache", s.cache.reads),
        ("engine_cache_read_bytes", "Bytes that they read", s.cache.read_bytes),
    ]
}

fn gauges(s: &Stats) -> Vec<(&'static str, &'static str, u64)> {
    vec![
        (
            "engine_memtables_full",
            "Whether unflushed records take so much memory that writes wait",
            s.memtables_full,
        ),
        ("engine_indexes_open", "Indexes that are open", s.indexes_open),
        ("engine_buckets_open", "Buckets that are open", s.buckets_open),
        ("engine_memtable_bytes", "Bytes of records not in a segment yet", s.memtable_bytes),
        ("engine_segments", "Segments of all open indexes", s.segments),
        ("engine_records", "Live records of all open indexes", s.records),
        ("engine_cache_memory_bytes", "Bytes of parts in memory", s.cache.memory_bytes),
        ("engine_cache_disk_bytes", "Bytes of the cache's files", s.cache.disk_bytes),
    ]
}

/// Memory and open files of this process, where the system tells.
#[derive(Debug)]
struct ProcessCollector;

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        if let Some(bytes) = resident_bytes() {
            gauge(&mut encoder, "process_resident_memory_bytes", "Resident memory", bytes)?;
        }
        if let Ok(entries) = std::fs::read_dir("/proc/self/fd") {
            gauge(
                &mut encoder,
                "process_open_fds",
                "Open file descriptors",
                entries.count() as u64,
            )?;
        }
        Ok(())
    }
}

fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

fn counter(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: u64,
) -> std::fmt::Result {
    encode_metric(encoder, name, help, &ConstCounter::new(value))
}

fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: u64,
) -> std::fmt::Result {
    encode_metric(encoder, name, help, &ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX)))
}

fn encode_metric(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    metric: &impl EncodeMetric,
) -> std::fmt::Result {
    let encoder = encoder.encode_descriptor(name, help, None, metric.metric_type())?;
    metric.encode(encoder)
}

/// Names of what engine and store are asked for, as they are exposed.
#[cfg(test)]
pub(crate) fn engine_names() -> Vec<String> {
    let stats = Stats::default();
    let counted = counters(&stats).into_iter().map(|(name, _, _)| format!("{name}_total"));
    let verbs = ["requests", "bytes", "failures", "retries", "hedges"];
    let gauged = gauges(&stats).into_iter().map(|(name, _, _)| name.to_owned());
    counted.chain(gauged).chain(verbs.map(|name| format!("store_{name}_total"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every field of the engine's counters is a metric; those of the store are exposed by verb.
    #[test]
    fn every_counter_of_the_engine_is_exposed() {
        let text = format!("{:#?}", Stats::default());
        let numbers = text.lines().filter_map(|line| line.strip_suffix(" 0,")?.strip_suffix(':'));
        // What stands in a field of its own is indented once more.
        let fields = numbers.map(|line| match line.strip_prefix("        ") {
            Some(of_the_cache) => format!("cache_{of_the_cache}"),
            None => line.trim().to_owned(),
        });
        let names = engine_names();
        let mut count = 0;
        for field in fields.filter(|field| !field.starts_with("store_")) {
            let name = format!("engine_{}", field.replace("micros", "microseconds"));
            assert!(names.contains(&name) || names.contains(&format!("{name}_total")), "{name}");
            count += 1;
        }
        assert!(count > 20, "the fields were found");
    }

    #[test]
    fn a_finished_request_shows_in_every_family() {
        let metrics = Metrics::new();
        metrics.finish(&Finished {
            operation: "PutVectors",
            status: 200,
            code: "-",
            ec: "-",
            route: "here",
            bytes_in: 7,
            bytes_out: 0,
            elapsed: Duration::from_millis(3),
        });
        metrics.auth_failed("SignatureDoesNotMatch");
        metrics.admission_taken("write", 10);
        let text = metrics.render();
        for line in [
            r#"vectorbucket_requests_total{operation="PutVectors",status="200",code="-"} 1"#,
            r#"vectorbucket_routed_requests_total{route="here"} 1"#,
            r#"vectorbucket_request_body_bytes_total{operation="PutVectors"} 7"#,
            r#"vectorbucket_request_duration_seconds_bucket{le="0.005",operation="PutVectors"} 1"#,
            r#"vectorbucket_auth_failures_total{code="SignatureDoesNotMatch"} 1"#,
            r#"vectorbucket_admission_bytes{budget="write"} 10"#,
        ] {
            assert!(text.contains(line), "{line} missing in:\n{text}");
        }
        assert!(text.contains("vectorbucket_build_info{version="));
        assert!(text.contains("vectorbucket_process_resident_memory_bytes "));
    }
}
